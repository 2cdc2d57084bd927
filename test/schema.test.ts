// Every road leads to one schema: the source, the source loaded again, the migration, and the golden file beside this
// test. After a deliberate change, `npx vitest run test/schema.test.ts --update` rewrites the golden file; its diff is
// what the change means.
import pg from "pg";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { buildMigration } from "../scripts/build-migration.ts";
import { dumpSchema } from "../scripts/schema-dump.ts";
import { createEventTriggers, loadBase } from "../scripts/stack/base.ts";
import { ADMIN, databaseUrl } from "../scripts/stack/postgres.ts";
import { productSql } from "./support/cluster.ts";
import { createDatabase, type TestDatabase } from "./support/database.ts";

let db: TestDatabase;
let fresh: string;
beforeAll(async () => {
  db = await createDatabase("product");
  fresh = await dumpSchema(await db.connect());
});
afterAll(() => db.drop());

test("the source loads twice, and nothing is different the second time", async () => {
  const client = await db.connect();
  // One transaction, as a migration is: roles belong to the cluster, and other tests look at them meanwhile.
  await client.query(`begin; ${(await productSql()).join("\n")}; commit`);
  expect(await dumpSchema(client)).toBe(fresh);
});

test("the migration makes what the source makes", async () => {
  const name = `migrated_${crypto.randomUUID().replaceAll("-", "")}`;
  const url = (role: string, database = name) => databaseUrl(inject("clusterPort"), role, undefined, database);
  await as(url(ADMIN, "postgres"), (admin) => admin.query(`create database ${name} template template0`));
  try {
    await loadBase(url(ADMIN));
    await as(url("postgres"), async (client) => client.query(`begin; ${await buildMigration()}; commit`));
    await createEventTriggers(url(ADMIN));
    expect(await as(url("postgres"), dumpSchema)).toBe(fresh);
  } finally {
    await as(url(ADMIN, "postgres"), (admin) => admin.query(`drop database ${name} with (force)`));
  }
});

// What the catalogues print differs between versions of PostgreSQL; the golden file is of the one that npm installs.
if (process.env.PG_BIN === undefined) {
  test("the schema is the golden one", () => expect(fresh).toMatchFileSnapshot("schema.sql"));
}

async function as<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
