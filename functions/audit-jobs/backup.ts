// Backups: what the archive does not hold, in one snapshot, encrypted before it leaves. sql/455_backup.sql says what is in
// it, functions/_shared/backup_format.md how it is written, and `npm run restore` puts it back.
//
// A backup counts when all of it was stored, read again and compared, and only then older ones go. A run that is killed
// leaves objects that nobody counts; they go when their time has come, like all others.
import { createHash } from "node:crypto";
import type pg from "pg";
import { type Archive, ArchiveError } from "../_shared/archive/archive.ts";
import { BackupError, type BackupKeys, END_SECTION, sealBackup } from "../_shared/backup_format.ts";
import type { Database } from "../_shared/database.ts";
import { concatBytes, encodeText, equalBytes } from "../_shared/tlog/text.ts";
import { noteFinding } from "./findings.ts";

export type BackupDeps = {
  database: Database;
  /** Where backups lie; nothing else does. */
  storage: Archive;
  keys: BackupKeys;
};

/** `made` is null where another run is at it, or none is wanted. */
export type BackupResult = { made: string | null; bytes: number; deleted: string[] };

type Stored = { parts: number; bytes: number; sha256: string };
type Made = Stored & { name: string; madeAt: string; rows: Record<string, number> };

const FOLDER = "backups";
/** As much as can be read again at once, and less than the smallest limit that Storage has for a file. */
const PART_BYTES = 16 * 1024 * 1024;
const DAY = 86_400_000;
const LINE_FEED = 10;

/** Makes a backup and lets go of those that are older than the setting backup_days allows. What fails is a finding. */
export async function makeBackup(deps: BackupDeps): Promise<BackupResult> {
  const days = Number(await ask(deps, "setting", "select audit.setting('backup_days')::text", []));
  if (days === 0) return { made: null, bytes: 0, deleted: [] };
  const made = await attempt(deps, "backup_failed", () => storeBackup(deps));
  if (made === undefined) return { made: null, bytes: 0, deleted: [] };
  const { name, madeAt, parts, bytes, sha256, rows } = made;
  await ask(deps, "record_backup", "select audit.record_backup($1, $2, $3, $4, $5, $6)::text", [
    name,
    madeAt,
    parts,
    bytes,
    sha256,
    JSON.stringify(rows),
  ]);
  const deleted = await attempt(deps, "backup_not_deleted", () => deleteExpired(deps, made, days));
  await ask(
    deps,
    "settle_finding",
    "select audit.settle_finding(audit.system_organization(), 'backup_not_deleted', 'backup')::text",
    [],
  );
  return { made: name, bytes, deleted };
}

/** Undefined where another run is at it. */
async function storeBackup({ database, storage, keys }: BackupDeps): Promise<Made | undefined> {
  const client = await database.connect();
  let isBroken = true;
  try {
    await client.query("begin isolation level repeatable read read only; set local statement_timeout = 0");
    const { rows: [row] } = await client.query<[string, string]>({
      text: "select pg_try_advisory_xact_lock(hashtext('audit.backup'))::text, audit.instant_text(now())",
      values: [],
      rowMode: "array",
    });
    const [isOurs, madeAt] = row!;
    let made: Made | undefined;
    if (isOurs === "true") {
      const name = madeAt.replace(/[:.]/g, "-");
      const rows: Record<string, number> = {};
      made = {
        name,
        madeAt,
        rows,
        ...await storeParts(storage, name, sealBackup(keys, linesOf(database, client, rows))),
      };
    }
    await client.query("commit");
    isBroken = false;
    return made;
  } finally {
    // What was being copied would stand before all that comes next.
    client.release(isBroken);
  }
}

/** The lines of all sections, counted on their way. */
async function* linesOf(
  database: Database,
  client: pg.PoolClient,
  counts: Record<string, number>,
): AsyncGenerator<Uint8Array> {
  const { rows: sections } = await client.query<[string, string]>({
    text: "select section, query from audit.backup_sections()",
    values: [],
    rowMode: "array",
  });
  for (const [section, query] of sections) {
    yield encodeText(`${JSON.stringify(section)}\n`);
    let rows = 0;
    // Lines as they are: JSON has no control characters, and plain text would double backslashes.
    const text =
      `copy (select q::text from (${query}) q (q)) to stdout with (format csv, quote E'\\x01', delimiter E'\\x02')`;
    for await (const bytes of database.copy(client, text)) {
      for (let at = bytes.indexOf(LINE_FEED); at >= 0; at = bytes.indexOf(LINE_FEED, at + 1)) rows++;
      yield bytes;
    }
    counts[section] = rows;
  }
  yield encodeText(`${JSON.stringify(END_SECTION)}\n${JSON.stringify({ rows: counts })}\n`);
}

async function storeParts(storage: Archive, name: string, sealed: AsyncIterable<Uint8Array>): Promise<Stored> {
  const hash = createHash("sha256");
  let waiting: Uint8Array[] = [];
  let length = 0;
  let parts = 0;
  let bytes = 0;
  async function flush(): Promise<void> {
    const part = concatBytes(...waiting);
    hash.update(part);
    bytes += part.length;
    parts++;
    await storePart(storage, `${FOLDER}/${name}.${parts}`, part);
    waiting = [];
    length = 0;
  }
  for await (const chunk of sealed) {
    if (length + chunk.length > PART_BYTES) await flush();
    waiting.push(chunk);
    length += chunk.length;
  }
  await flush();
  return { parts, bytes, sha256: hash.digest("hex") };
}

async function storePart(storage: Archive, path: string, part: Uint8Array): Promise<void> {
  await storage.put(path, part, "bundle");
  const stored = await storage.get(path);
  if (stored === null || !equalBytes(stored, part)) {
    throw new ArchiveError("conflict", `${path} was stored, and is not what was to be stored.`);
  }
}

/** By what lies there, not by what was noted: also what a run left that was killed. The newest stays in any case. */
async function deleteExpired({ storage, database }: BackupDeps, newest: Made, days: number): Promise<string[]> {
  const before = Date.parse(newest.madeAt) - days * DAY;
  const expired = (await storage.list(FOLDER)).filter((path) => {
    const [, date, hour, minute, second] = /\/(\d{4}-\d\d-\d\d)T(\d\d)-(\d\d)-(\d\d)-\d+Z\.\d+$/.exec(path) ?? [];
    return date !== undefined && Date.parse(`${date}T${hour}:${minute}:${second}Z`) < before;
  });
  if (expired.length === 0) return [];
  await storage.remove(expired);
  const names = [...new Set(expired.map((path) => path.slice(FOLDER.length + 1).replace(/\.\d+$/, "")))];
  await ask({ database }, "record_backups_deleted", "select audit.record_backups_deleted($1)::text", [names]);
  return names;
}

/** Notes what failed, in words that quote nobody. */
async function attempt<T>(deps: BackupDeps, kind: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isSafe = error instanceof ArchiveError || error instanceof BackupError;
    const { name, code } = error as { name?: string; code?: string };
    const detail = {
      code: code ?? name ?? null,
      problem: isSafe ? error.message : "Something failed that should not.",
    };
    await noteFinding(deps.database, undefined, kind, "backup", detail);
    throw error;
  }
}

function ask(
  { database }: Pick<BackupDeps, "database">,
  name: string,
  text: string,
  values: unknown[],
): Promise<string | null> {
  return database.askAsOwner({ name, text, values });
}
