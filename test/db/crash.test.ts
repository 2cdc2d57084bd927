// The server dies like in a power cut, again and again, while many write: what was acknowledged is there, whole.
import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestCluster, type TestCluster } from "../support/cluster.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified } from "../support/log.ts";

const CRASHES = 20;
const WRITERS = 8;
const ORGANIZATIONS = Array.from({ length: 3 }, () => crypto.randomUUID());

let cluster: TestCluster;
let db: TestDatabase;

beforeAll(async () => {
  cluster = await startTestCluster({ fsync: "on" });
  db = await createDatabase("application", cluster.port);
});
afterAll(async () => {
  await db?.drop();
  await cluster?.remove();
});

async function survivor(): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: db.url(), statement_timeout: 30_000 });
  client.on("error", () => {}); // the server is about to die; the query in flight reports it
  await client.connect();
  return client;
}

/** Writes until the server is gone, and notes the ids of the budgets whose commit was acknowledged. */
async function writeUntilDeath(writer: number, acknowledged: Set<string>, progress: () => void): Promise<void> {
  const client = await survivor();
  for (let n = 0;; n++) {
    // Some transactions of one row, some of several statements, some of many rows.
    const ids = Array.from({ length: [1, 3, 40][(writer + n) % 3]! }, () => crypto.randomUUID());
    try {
      await client.query("begin");
      for (let from = 0; from < ids.length; from += 20) {
        await client.query(
          "insert into public.budgets (id, organization_id) select unnest($1::uuid[]), $2",
          [ids.slice(from, from + 20), ORGANIZATIONS[(writer + n) % ORGANIZATIONS.length]],
        );
      }
      await client.query("commit");
    } catch (error) {
      if (isDeath(error)) return;
      throw error;
    }
    for (const id of ids) acknowledged.add(id);
    progress();
  }
}

function isDeath(error: unknown): boolean {
  const { code = "", message } = error as { code?: string; message: string };
  return /^(ECONNRESET|EPIPE|57P0[123])$/.test(code) || /Connection terminated|not queryable/.test(message);
}

test(`${CRASHES} kills under load lose no acknowledged change, no entry and break no chain`, async () => {
  const acknowledged = new Set<string>();
  for (let crash = 0; crash < CRASHES; crash++) {
    let load!: Promise<unknown>;
    await new Promise<void>((enough, failed) => {
      let commits = 0;
      const progress = () => {
        // Each time at another moment of the writers' work.
        if (++commits === 20 + 7 * crash) enough();
      };
      load = Promise.all(
        Array.from({ length: WRITERS }, (_, writer) => writeUntilDeath(writer, acknowledged, progress)),
      );
      load.catch(failed);
    });
    await cluster.kill();
    await load;
    await cluster.restart();

    const client = await survivor();
    const { rows } = await client.query<{ id: string; row: boolean; entries: number }>(
      `select coalesce(b.id::text, e.resource_id) as id, b.id is not null as row, coalesce(e.entries, 0) as entries
       from public.budgets b
       full join (
         select resource_id, count(*)::int as entries from public.audit_logs where action = 'budget.created' group by 1
       ) e on e.resource_id = b.id::text`,
    );
    expect(rows.filter(({ row, entries }) => !row || entries !== 1)).toEqual([]);
    const present = new Set(rows.map(({ id }) => id));
    expect([...acknowledged].filter((id) => !present.has(id))).toEqual([]);
    await expectVerified(client);
    await client.end();
  }
  expect(acknowledged.size).toBeGreaterThan(CRASHES * 20);
}, 300_000);
