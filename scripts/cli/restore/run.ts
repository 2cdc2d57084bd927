// A restore from what was asked for to what became of it: the archive is verified first, and only then written from.
import { access, stat } from "node:fs/promises";
import pg from "pg";
import { parseArchiveKeys } from "../../../functions/_shared/archive/bundle_encryption.ts";
import { parseBackupKeys } from "../../../functions/_shared/backup_format.ts";
import { parseVerifierKey, type VerifierKey } from "../../../functions/_shared/tlog/key.ts";
import type { Kit } from "../verify/log.ts";
import { type Report, runVerification, UsageError } from "../verify/run.ts";
import { openBackupFiles, rowsOf } from "./backup.ts";
import type { Backup, BackupCheckpoint, BackupLog } from "./backup.ts";
import type { LogReader } from "./log.ts";
import { type PeriodRestored, restorePeriod } from "./period.ts";
import { rebuild, type Rebuilt } from "./rebuild.ts";
import { folderSource, type Source, targetOf } from "./source.ts";

/** Texts are contents; whatever is named `…Files` or folder are paths. */
export type Common = {
  /** A folder, or where to read. */
  archive: string | Source;
  database: string;
  keys: string[];
  archiveKeys?: string | undefined;
  /** Checkpoints that were kept elsewhere: the archive must continue them. */
  oldFiles?: string[];
  despiteFindings?: boolean;
  threads?: number | undefined;
};

export type RestoreRequest = Common & {
  /** The parts of a backup in their order; none: from the archive alone. */
  backupFiles: string[];
  backupKeys?: string | undefined;
};

export type EntriesRequest = Common & { organizationId: string; from: Date; to: Date; into: string };

export type Watch = { progress: Kit["progress"]; onStep(step: string): void };

/** `restored` is undefined where the archive did not verify: nothing was written. */
export type Outcome<T> = { verification: Report; restored?: T };

/** Makes a lost log again, in an empty database. */
export async function restore(request: RestoreRequest, watch: Watch): Promise<Outcome<Rebuilt>> {
  const backup = await openBackup(request);
  const options = { kept: newestNotes(backup), expired: expiredFolders(backup) };
  const target = await targetOf(await sourceOf(request), options);
  const { reader, base } = readerOf(request);
  return await verified(
    request,
    target,
    watch,
    (client) =>
      rebuild(client, {
        base,
        target,
        reader,
        backup,
        despiteFindings: request.despiteFindings ?? false,
        onStep: watch.onStep,
      }),
  );
}

/** Puts entries of a period into a table of their own, in a database whose log goes on. */
export async function restoreEntries(request: EntriesRequest, watch: Watch): Promise<Outcome<PeriodRestored>> {
  const { organizationId, from, to } = request;
  if (!(from < to)) throw new UsageError("--from is a moment before --to.");
  const { organizations } = await targetOf(await sourceOf(request));
  // An entry is in the log that was open when it was sealed: its month's, or a later one.
  const first = from.toISOString().slice(0, 7);
  const months =
    organizations.find((each) => each.organizationId === organizationId)?.months.filter(({ month }) =>
      month >= first
    ) ?? [];
  if (months.length === 0) throw new UsageError(`The archive has no log of ${organizationId} from ${first} on.`);
  const { reader, base } = readerOf(request);
  const target = { kind: "organization" as const, organizations: [{ organizationId, months }] };
  return await verified(
    request,
    target,
    watch,
    (client) =>
      restorePeriod(client, {
        base,
        organizationId,
        months,
        reader,
        from,
        to,
        into: request.into,
        onStep: watch.onStep,
      }),
  );
}

async function verified<T>(
  { keys, archiveKeys, oldFiles, despiteFindings, threads, database }: Common,
  target: Awaited<ReturnType<typeof targetOf>>,
  { progress }: Watch,
  write: (client: pg.Client) => Promise<T>,
): Promise<Outcome<T>> {
  const verification = await runVerification(
    { target, keys, archiveKeys, oldFiles: oldFiles ?? [], threads },
    progress,
  );
  if (!verification.verified && !despiteFindings) return { verification };
  const client = new pg.Client({ connectionString: database, application_name: "audit-restore" });
  // A connection that ends fails what is running on it, which says so.
  client.on("error", () => {});
  await client.connect();
  try {
    return { verification, restored: await write(client) };
  } finally {
    await client.end();
  }
}

async function sourceOf({ archive }: Common): Promise<Source> {
  if (typeof archive !== "string") return archive;
  const isFolder = await stat(archive).then((found) => found.isDirectory(), () => false);
  if (!isFolder) throw new UsageError(`${archive} is no folder: download the archive, or mount it.`);
  return folderSource(archive);
}

function readerOf({ keys, archiveKeys }: Common): { reader: LogReader; base: string } {
  const parsed: VerifierKey[] = keys.map((key) => parseVerifierKey(key.trim(), "note"));
  const [first] = parsed;
  if (first === undefined || parsed.some(({ name }) => name !== first.name)) {
    throw new UsageError("Give the public keys of the deployment, all with its name.");
  }
  const reader = { keys: parsed, archiveKeys: archiveKeys === undefined ? undefined : parseArchiveKeys(archiveKeys) };
  return { reader, base: first.name };
}

async function openBackup({ backupFiles, backupKeys }: RestoreRequest): Promise<Backup | undefined> {
  if (backupFiles.length === 0) return undefined;
  if (backupKeys === undefined) throw new UsageError("Give the backup's key: --backup-key-file, or AUDIT_BACKUP_KEY.");
  for (const file of backupFiles) {
    await access(file).catch(() => {
      throw new UsageError(`${file} cannot be read.`);
    });
  }
  return await openBackupFiles(backupFiles, parseBackupKeys(backupKeys));
}

/** By folder: what was signed stays signed, also where the archive's own checkpoint was put back to an older one. */
function newestNotes(backup: Backup | undefined): Map<string, string> {
  const newest = new Map<string, BackupCheckpoint>();
  for (const checkpoint of rowsOf<BackupCheckpoint>(backup, "checkpoints")) {
    const folder = folderOf(checkpoint.origin);
    if (checkpoint.note !== null && checkpoint.size > (newest.get(folder)?.size ?? -1)) newest.set(folder, checkpoint);
  }
  return new Map([...newest].map(([folder, { note }]) => [folder, note!]));
}

function expiredFolders(backup: Backup | undefined): Set<string> {
  const expired = rowsOf<BackupLog>(backup, "logs").filter((log) => (log.archive_deletion_began_at ?? null) !== null);
  return new Set(expired.map(({ origin }) => folderOf(origin)));
}

/** A log's folder is its origin without the base. */
function folderOf(origin: string): string {
  return /[^/]+\/\d{4}-\d\d$/.exec(origin)?.[0] ?? "anchor";
}
