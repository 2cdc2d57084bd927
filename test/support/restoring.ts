// What restores need: a deployment with a history to lose, its backups in files, and its archive as restores read it.
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import type pg from "pg";
import { parseBackupKeys } from "../../functions/_shared/backup_format.ts";
import type { LogKeys } from "../../functions/_shared/log_keys.ts";
import { type BackupDeps, type BackupResult, makeBackup } from "../../functions/audit-jobs/backup.ts";
import { sealLogs } from "../../functions/audit-jobs/seal.ts";
import type { Source } from "../../scripts/cli/restore/source.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { asUser } from "./acting.ts";
import { createDatabase, type TestDatabase } from "./database.ts";
import { setRetention, writeOldChain } from "./old_log.ts";
import { type JobDatabase, jobDatabase, type MemoryArchive, memoryArchive, newLogKeys } from "./sealing.ts";

export const ACME = "0a000000-0000-4000-8000-000000000001";
export const GLOBEX = "0b000000-0000-4000-8000-000000000002";
export const SYSTEM = "00000000-0000-0000-0000-000000000000";
export const ALICE = "a0000000-0000-4000-8000-000000000001";
export const BOB = "b0000000-0000-4000-8000-000000000002";

export type Deployment = {
  db: TestDatabase;
  client: pg.Client;
  admin: pg.Client;
  database: JobDatabase;
  archive: MemoryArchive;
  keys: LogKeys;
  storage: MemoryArchive;
  backupKey: string;
  /** Seals all that waits. */
  seal(): Promise<void>;
  /** As a person of Acme. */
  write(person: string, budgets: number): Promise<void>;
  backup(over?: Partial<BackupDeps>): Promise<BackupResult>;
  /** The parts of a backup, as files. */
  files(name: string): Promise<string[]>;
  drop(): Promise<void>;
};

/** An empty deployment: two organisations, nothing sealed. */
export async function deploy(): Promise<Deployment> {
  const db = await createDatabase();
  const [client, admin] = [await db.connect(), await db.connect(ADMIN)];
  const database = jobDatabase(db.url());
  const [archive, storage] = [memoryArchive(), memoryArchive()];
  const keys = newLogKeys();
  const backupKey = randomBytes(32).toString("base64");
  const folder = await mkdtemp(join(tmpdir(), "audit-backup-"));
  await client.query("insert into public.organizations (id, name) values ($1, 'Acme'), ($2, 'Globex')", [ACME, GLOBEX]);
  await client.query(
    "insert into public.organization_members (organization_id, user_id, role) values ($1, $2, 'admin'), ($1, $3, 'admin')",
    [ACME, ALICE, BOB],
  );
  return {
    db,
    client,
    admin,
    database,
    archive,
    keys,
    storage,
    backupKey,
    async seal() {
      for (let more = true; more;) {
        const result = await sealLogs({ database, archive, keys }, { dueNow: true });
        if (result.failed > 0) throw new Error("sealing failed");
        more = result.more;
      }
    },
    write: (person, budgets) =>
      asUser(client, {
        sub: person,
        email: `${person[0]}@acme.example`,
        headers: { "x-forwarded-for": "203.0.113.7", "user-agent": "Test" },
      }, async () => {
        await client.query(
          "insert into public.budgets (organization_id, name) select $1, 'B' || n from generate_series(1, $2::int) n",
          [ACME, budgets],
        );
      }),
    backup: (over = {}) =>
      makeBackup({
        database,
        storage,
        keys: parseBackupKeys(backupKey),
        ...over,
      }),
    async files(name) {
      const parts = [...storage.files.keys()].filter((path) => path.startsWith(`backups/${name}.`)).sort();
      return await Promise.all(parts.map(async (path, at) => {
        const file = join(folder, `${name}.${at + 1}`);
        await writeFile(file, storage.files.get(path)!);
        return file;
      }));
    },
    async drop() {
      await database.end();
      await db.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** An archive in memory, as restores read it. */
export function sourceOf({ files }: MemoryArchive): Source {
  return {
    folders: () =>
      Promise.resolve([...files.keys()].flatMap((path) => /^(.*)\/checkpoint$/.exec(path)?.[1] ?? []).sort()),
    read: (path) => Promise.resolve(files.get(path)?.slice() ?? null),
  };
}

/** Two months, people, a chain whose beginning was purged, settings of every kind; all of it sealed. */
export async function giveHistory({ client, admin, seal, write }: Deployment): Promise<void> {
  await writeOldChain(admin, { organization: ACME, chain: 900_001, entries: 600, from: 300 });
  await writeOldChain(admin, { organization: GLOBEX, chain: 900_002, entries: 10, from: 300, to: 200 });
  await client.query("select audit.track('public.organization_members', '{\"personal\": [\"role\"]}')");
  await write(ALICE, 5);
  await write(BOB, 3);
  await inLastMonth(client, seal);
  await client.query("update audit.logs set read_back = size");
  for (const organization of [ACME, GLOBEX]) await setRetention(admin, organization, 100, 1000);
  await client.query("select audit.purge(100000)");
  await client.query("select audit.configure('seal_after', '30', $1)", [ACME]);
  await client.query("select audit.place_hold($1, 'Case 1', 'Court order')", [GLOBEX]);
  await client.query("select audit.grant_auditor($1, gen_random_uuid(), now() + interval '1 day', true)", [ACME]);
  await client.query(
    "insert into public.organization_members (organization_id, user_id) values ($1, gen_random_uuid())",
    [ACME],
  );
  await write(BOB, 400);
  await seal();
  await client.query("select audit.anchor_checkpoints()");
  await seal();
}

/** Runs `work` with logs opened for the month before this one. */
export async function inLastMonth(client: pg.Client, work: () => Promise<void>): Promise<void> {
  const { rows: [{ source }] } = await client.query(
    "select pg_get_functiondef('audit.open_log(uuid, text)'::regprocedure) as source",
  );
  await client.query(source.replaceAll("clock_timestamp()", "(clock_timestamp() - interval '1 month')"));
  await work();
  await client.query(source);
}

/** Erases a person, up to the entry that says so. Answers the hashes of the identities that went. */
export async function erase(client: pg.Client, organization: string, person: string): Promise<string[]> {
  const { rows } = await client.query(
    "select encode(identity_hash, 'hex') as hash from audit.identities where organization_id = $1 and user_id = $2",
    [organization, person],
  );
  await client.query("select audit.erase_subject($1, $2, '17(1)(a)', dry_run => false)", [organization, person]);
  for (let run = 0; run < 3; run++) await client.query("select audit.continue_erasures()");
  return rows.map(({ hash }) => hash as string);
}
