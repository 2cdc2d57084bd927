// A project with logs that are sealed, in the test's own process: what jobs after sealing begin with.
import type pg from "pg";
import type { Database, Statement } from "../../functions/_shared/database.ts";
import type { LogKeys } from "../../functions/_shared/log_keys.ts";
import { sealLogs } from "../../functions/audit-jobs/seal.ts";
import { createDatabase, type TestDatabase } from "./database.ts";
import { type JobDatabase, jobDatabase, type MemoryArchive, memoryArchive, newLogKeys } from "./sealing.ts";

export const ACME = "0a000000-0000-4000-8000-000000000001";
export const GLOBEX = "0b000000-0000-4000-8000-000000000002";

export type SealedProject = {
  db: TestDatabase;
  client: pg.Client;
  database: JobDatabase;
  archive: MemoryArchive;
  keys: LogKeys;
  anchor: string;
  /** Writes so many entries, seals them, anchors their checkpoint and seals the anchor log. Answers its size. */
  grow(entries?: number, organization?: string): Promise<number>;
  /** The first value of the first row. */
  value<T>(text: string, values?: unknown[]): Promise<T>;
  /** Every run that was given a lease is over, and every pause. */
  later(): Promise<void>;
  end(): Promise<void>;
};

export async function sealedProject(): Promise<SealedProject> {
  const db = await createDatabase();
  const client = await db.connect();
  const database = jobDatabase(db.url());
  const archive = memoryArchive();
  const keys = newLogKeys();
  await client.query("insert into public.organizations (id, name) values ($1, 'Acme'), ($2, 'Globex')", [ACME, GLOBEX]);

  async function seal(): Promise<void> {
    for (let run = 0; run < 20; run++) {
      const { more, failed } = await sealLogs({ database, archive, keys }, { dueNow: true });
      if (failed > 0) throw new Error("sealing fails");
      if (!more) return;
    }
    throw new Error("sealing does not come to its end");
  }
  async function value<T>(text: string, values: unknown[] = []): Promise<T> {
    const { rows } = await client.query({ text, values, rowMode: "array" });
    return rows[0]?.[0] as T;
  }

  return {
    db,
    client,
    database,
    archive,
    keys,
    anchor: `${keys.base}/anchor`,
    value,
    async grow(entries = 1, organization = ACME) {
      await client.query(
        "insert into public.budgets (organization_id, name) select $1, 'B' || n from generate_series(1, $2::int) n",
        [organization, entries],
      );
      await seal();
      await client.query("select audit.anchor_checkpoints()");
      await seal();
      return Number(await value("select published from audit.logs where month is null"));
    },
    async later() {
      await client.query("update audit.receivers set lease_until = '-infinity', next_try_at = '-infinity'");
      await client.query("update audit.receiver_logs set next_try_at = '-infinity'");
    },
    async end() {
      await database.end();
      await db.drop();
    },
  };
}

/** A database that a process loses, before or after a statement of this name took effect. */
export function crashing(database: Database, name: string, when: "before" | "after"): Database {
  return {
    ...database,
    async askAsOwner(statement: Statement) {
      if (statement.name !== name) return await database.askAsOwner(statement);
      if (when === "after") await database.askAsOwner(statement);
      throw new Error(`killed ${when} ${name}`);
    },
  };
}
