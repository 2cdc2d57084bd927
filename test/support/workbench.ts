// A workbench for tests of one file: importing it gives the file a database of its own, and each test a connection, an
// organisation, and a check that every chain still verifies when the test is over.
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach } from "vitest";
import { createDatabase, type TestDatabase } from "./database.ts";
import { entries, type Entry, expectVerified } from "./log.ts";

export let db: TestDatabase;
export let client: pg.Client;
export let organization: string;

beforeAll(async () => {
  db = await createDatabase();
});
afterAll(() => db.drop());
beforeEach(async () => {
  client = await db.connect();
  organization = crypto.randomUUID();
});
afterEach(async () => {
  await expectVerified(client);
  await client.end();
});

/** Entries of this test's organisation. */
export const logged = (): Promise<Entry[]> => entries(client, "where organization_id = $1", [organization]);
export const actions = async (): Promise<string[]> => (await logged()).map((entry) => entry.action);
export const last = async (): Promise<Entry> => (await logged()).at(-1)!;

let tables = 0;
/** Creates a table of one's own with an organisation column, and tracks it. */
export async function tracked(columns: string, options = "{}"): Promise<string> {
  const table = `public.t${++tables}`;
  await client.query(`create table ${table} (id int primary key, organization_id uuid, ${columns})`);
  await client.query("select audit.track($1, $2)", [table, options]);
  return table;
}

export const track = (table: string | null, options: unknown = {}): Promise<pg.QueryResult> =>
  client.query("select audit.track($1, $2)", [table, JSON.stringify(options)]);
