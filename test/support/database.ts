// Databases for tests: a fresh one each, in a tenth of a second, with nobody else in it.
//
//   let db: TestDatabase;
//   beforeAll(async () => { db = await createDatabase(); });
//   afterAll(() => db.drop());
//
//   test("…", async () => {
//     const client = await db.connect(); // as postgres, who is no superuser
//     await client.query("insert into public.budgets …");
//     await expectVerified(client);
//   });
import pg from "pg";
import { inject } from "vitest";
import { ADMIN, databaseUrl } from "../../scripts/stack/postgres.ts";
import type { Template } from "./cluster.ts";

/** Roles that may log in. For anon, authenticated and service_role connect as postgres and use asUser(). */
export type LoginRole = "postgres" | "authenticator" | "supabase_auth_admin" | typeof ADMIN;

export type TestDatabase = {
  readonly name: string;
  /** For programs that connect by themselves. Loopback is trusted: no password. */
  url(role?: LoginRole): string;
  /** A connection that drop() closes. No statement of it runs longer than 30 seconds, so nothing hangs. */
  connect(role?: LoginRole): Promise<pg.Client>;
  /** As many connections at once. */
  connectAll(count: number, role?: LoginRole): Promise<pg.Client[]>;
  drop(): Promise<void>;
};

/** A new database in the run's shared cluster, or in the one that listens on `port`. */
export async function createDatabase(
  template: Template = "application",
  port: number = inject("clusterPort"),
): Promise<TestDatabase> {
  const name = `test_${crypto.randomUUID().replaceAll("-", "")}`;
  const url = (role: LoginRole = "postgres") => databaseUrl(port, role, undefined, name);
  const clients: pg.Client[] = [];
  await administer(port, `create database ${name} template ${template} owner postgres`);

  async function connect(role?: LoginRole): Promise<pg.Client> {
    const client = new pg.Client({ connectionString: url(role), statement_timeout: 30_000 });
    await client.connect();
    clients.push(client);
    return client;
  }

  return {
    name,
    url,
    connect,
    connectAll: (count, role) => Promise.all(Array.from({ length: count }, () => connect(role))),
    async drop() {
      await Promise.all(clients.map((client) => client.end()));
      await administer(port, `drop database ${name} with (force)`);
    },
  };
}

async function administer(port: number, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: databaseUrl(port, ADMIN, undefined) });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
}
