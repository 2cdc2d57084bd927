// Expiry: files that are past their retention are removed from Storage, and partial ones that a full one replaced.
// PostgreSQL says which (sql/420_expire.sql, sql/425_superseded_files.sql, sql/540_export.sql, sql/750_report_queue.sql);
// what fails, or is interrupted, is still expired when the next run asks.
import type { Archive } from "../_shared/archive/archive.ts";
import type { Database } from "../_shared/database.ts";
import { type TileId, tilePath } from "../_shared/tlog/tile.ts";

type Files = Pick<Archive, "list" | "remove">;

export type ExpireDeps = {
  database: Database;
  /** The archive as it is stored. */
  archive: Files;
  /** The bucket of exports and reports. */
  exported: Files;
};

/**
 * Of archives, exports and reports, how many are gone for good, and of how many logs superseded files; `more` is whether
 * the run ended before its work.
 */
export type ExpireResult = {
  archives: number;
  exports: number;
  reports: number;
  trimmed: number;
  files: number;
  failed: number;
  more: boolean;
};

/** What audit.expired_logs(), and audit.expired_exports() and audit.expired_reports() answer. */
type ExpiredLog = { log: number; origin: string; folder: string };
type ExpiredExport = { export: string; folder: string | null };
/** What audit.superseded_files() answers. */
type Superseded = { log: number; folder: string; size: number; tiles: TileId[] };

/** What Storage removes at once. */
const BATCH = 1_000;
/** A hosted function has 150 s: after so many milliseconds nothing further is begun. */
const MOST_TIME = 20_000;
/** Storage that is down fails for everything: the next run may find it up again. */
const MOST_FAILURES = 3;

/** Removes what is expired, the oldest months first. */
export async function expireArchives(deps: ExpireDeps): Promise<ExpireResult> {
  const until = performance.now() + MOST_TIME;
  const result = { archives: 0, files: 0, failed: 0 };
  const isOver = () => result.failed >= MOST_FAILURES || performance.now() > until;

  for (const expired of await ask<ExpiredLog>(deps.database, "expired_logs")) {
    if (isOver()) break;
    await attempt(result, "archive", expired.origin, async () => {
      if (await deleteArchive(deps, expired, result, isOver)) result.archives++;
    });
  }
  const gone = { exports: [] as string[], reports: [] as string[] };
  for (const kind of ["exports", "reports"] as const) {
    for (const expired of await ask<ExpiredExport>(deps.database, `expired_${kind}`)) {
      if (isOver()) break;
      await attempt(result, kind, expired.export, async () => {
        if (expired.folder !== null) {
          const paths = await deps.exported.list(expired.folder);
          await deps.exported.remove(paths);
          result.files += paths.length;
        }
        gone[kind].push(expired.export);
      });
    }
    await deps.database.askAsOwner({
      name: `forget_${kind}`,
      text: `select audit.forget_${kind}($1)::text`,
      values: [gone[kind]],
    });
  }
  const trimmed = await removeSuperseded(deps, result, isOver);
  return { ...result, exports: gone.exports.length, reports: gone.reports.length, trimmed, more: isOver() };
}

/** Whether all of it but the checkpoint is gone: not where a hold was placed, or the time is over. */
async function deleteArchive(
  { database, archive }: ExpireDeps,
  { log, folder }: ExpiredLog,
  result: { files: number },
  isOver: () => boolean,
): Promise<boolean> {
  const paths = (await archive.list(folder)).filter((path) => path !== `${folder}/checkpoint`);
  for (let at = 0; at === 0 || at < paths.length; at += BATCH) {
    if (isOver() || !await mayDelete(database, log)) return false;
    const batch = paths.slice(at, at + BATCH);
    await archive.remove(batch);
    result.files += batch.length;
  }
  await database.askAsOwner({
    name: "record_archive_deleted",
    text: "select audit.record_archive_deleted($1)::text",
    values: [log],
  });
  return true;
}

/** Removes partial files that a full one replaced. Answers of how many logs. */
async function removeSuperseded(
  { database, archive }: ExpireDeps,
  result: { files: number; failed: number },
  isOver: () => boolean,
): Promise<number> {
  const trimmed = new Set<number>();
  for (let due = await ask<Superseded>(database, "superseded_files"); due.length > 0 && !isOver();) {
    for (const { log, folder, size, tiles } of due) {
      if (isOver()) break;
      await attempt(result, "archive", folder, async () => {
        const paths = tiles.flatMap((tile) =>
          tile.level === 0 ? [tile, { ...tile, level: "entries" as const }] : [tile]
        )
          .map((tile) => `${folder}/${tilePath(tile)}`);
        await archive.remove(paths);
        await database.askAsOwner({
          name: "record_trimmed",
          text: "select audit.record_trimmed($1, $2)::text",
          values: [log, size],
        });
        result.files += paths.length;
        trimmed.add(log);
      });
    }
    due = await ask<Superseded>(database, "superseded_files");
  }
  return trimmed.size;
}

async function mayDelete(database: Database, log: number): Promise<boolean> {
  const answer = await database.askAsOwner({
    name: "begin_archive_deletion",
    text: "select audit.begin_archive_deletion($1)::text",
    values: [log],
  });
  return answer === "true";
}

async function ask<T>(
  database: Database,
  what: "expired_logs" | "expired_exports" | "expired_reports" | "superseded_files",
): Promise<T[]> {
  const answer = await database.askAsOwner({
    name: what,
    text: `select coalesce(json_agg(e), '[]')::text from audit.${what}() e`,
    values: [],
  });
  return JSON.parse(answer!) as T[];
}

async function attempt(
  result: { failed: number },
  what: string,
  subject: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work();
  } catch (error) {
    result.failed++;
    const { name, code, message } = error as { name?: string; code?: string; message?: string };
    console.error(JSON.stringify({ level: "error", job: "expire", [what]: subject, name, code, message }));
  }
}
