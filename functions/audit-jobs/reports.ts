// Reports: gathered by PostgreSQL section by section (sql/730 to 760), made into files here, stored and signed.
//
// Each section is kept when it is gathered, and files are written over, so a run that is killed leaves work and no question:
//   while gathering                 the next run goes on at the section that is next
//   while storing entries           the next run goes on at the file that is next (report_parts.ts)
//   before the report is complete   the next run makes its files again, at the same paths
import { createHash } from "node:crypto";
import { Cron } from "croner";
import type { SupabaseClient } from "@supabase/supabase-js";
import type { Archive } from "../_shared/archive/archive.ts";
import { tilesOf } from "../_shared/archive/tiles.ts";
import type { Database } from "../_shared/database.ts";
import type { LogKeys } from "../_shared/log_keys.ts";
import { asProblem } from "../_shared/problem.ts";
import type { PackFile, RenderFiles, ReportSource } from "../_shared/report_files.ts";
import { openBucket } from "../_shared/storage.ts";
import { parseCheckpoint } from "../_shared/tlog/checkpoint.ts";
import { parseNote } from "../_shared/tlog/note.ts";
import { proveInclusion } from "../_shared/tlog/prove.ts";
import { formatReceipt } from "../_shared/tlog/receipt.ts";
import { encodeText, parseHex } from "../_shared/tlog/text.ts";
import { rememberTiles } from "../_shared/tlog/tile.ts";
import { signManifest } from "./manifests.ts";
import { type ReportPart, storePart } from "./report_parts.ts";

export type ReportJobDeps = {
  database: Database;
  openStorage(): Promise<SupabaseClient["storage"]>;
  /** The archive as it is stored. */
  archive: Pick<Archive, "get">;
  keys: LogKeys;
  render: RenderFiles;
};

export type ReportJobResult = { scheduled: number; reports: number; failed: number; more: boolean };

/** Where a listed entry stands, as audit.report_to_render() says. */
type Place = {
  name: string;
  system: boolean;
  folder: string;
  index: number;
  checkpoint: string;
  hash: string;
  entry_text: string;
};
type Source = Omit<ReportSource, "parts"> & { places: Place[]; parts: ReportPart[] };
type Claim = { report: string; attempt: number; gathered: boolean };

/** After so many milliseconds nothing further is begun: a hosted function has 150 s. */
const MOST_TIME = 20_000;
/** Milliseconds that a section may take; a few seconds on a million entries. */
const SECTION_TIMEOUT = 60_000;
/** Making the files of one report takes most of the 2 s of CPU that a hosted function has. */
const MOST_REPORTS = 1;
/** After so many bytes of entries none are stored further in the same run: they are CPU time, too. */
const MOST_BYTES = 30_000_000;

/** Asks for what is due by schedule, gathers, and makes the files of one report. */
export async function makeReports(deps: ReportJobDeps): Promise<ReportJobResult> {
  const until = performance.now() + MOST_TIME;
  const result = { scheduled: await runSchedules(deps.database), reports: 0, failed: 0, more: true };
  while (result.reports + result.failed < MOST_REPORTS && performance.now() < until) {
    const claim = await ask<Claim>(deps.database, "claim_report", []);
    if (claim === null) {
      result.more = false;
      break;
    }
    try {
      if (await gather(deps.database, claim, until) && await storeParts(deps, claim, until)) {
        await makeFiles(deps, claim);
        result.reports++;
      } else {
        // Not to be taken up again by this run, whose CPU is spent.
        await giveBack(deps.database, claim, "It goes on in another run.", true);
        break;
      }
    } catch (error) {
      result.failed++;
      const { status, message } = asProblem(error);
      const { name, code } = error as { name?: string; code?: string };
      console.error(JSON.stringify({ level: "error", job: "reports", report: claim.report, name, code }));
      if (code !== "AULSE") await giveBack(deps.database, claim, message, status >= 500);
    }
  }
  return result;
}

/** Each due time asks once, whoever comes first; one that was missed is caught up once. */
async function runSchedules(database: Database): Promise<number> {
  type Due = { schedule: string; cron: string; time_zone: string; next_at: string | null };
  let reports = 0;
  for (const { schedule, cron, time_zone, next_at } of await ask<Due[]>(database, "due_schedules", []) ?? []) {
    const next = nextRun(cron, time_zone);
    // A schedule that never comes round is left far in the future.
    const values = [schedule, next_at, (next ?? new Date("9999-01-01T00:00:00Z")).toISOString()];
    reports += Number(await ask<number>(database, "run_schedule", values));
  }
  return reports;
}

/** When a cron expression comes round next, in a time zone; null where it never does, or is none. */
export function nextRun(cron: string, timezone: string, after = new Date()): Date | null {
  try {
    return new Cron(cron, { timezone, mode: "5-part" }).nextRun(after);
  } catch {
    return null;
  }
}

/** Answers whether all sections are there; what is not, the next run gathers. */
async function gather(database: Database, claim: Claim, until: number): Promise<boolean> {
  while (!claim.gathered) {
    if (performance.now() > until) return false;
    Object.assign(claim, await gatherNext(database, claim));
  }
  return true;
}

/** The next section, for which a large log may be read whole: nobody waits for it, and it is the database's time. */
async function gatherNext(database: Database, { report, attempt }: Claim): Promise<Partial<Claim>> {
  const client = await database.connect();
  let isBroken = true;
  try {
    await client.query(`begin; set local statement_timeout = ${SECTION_TIMEOUT}`);
    const { rows: [row] } = await client.query<[string]>({
      name: "gather_report",
      text: "select audit.gather_report($1, $2)::text",
      values: [report, attempt],
      rowMode: "array",
    });
    await client.query("commit");
    isBroken = false;
    return JSON.parse(row![0]) as Partial<Claim>;
  } catch (error) {
    isBroken = await client.query("rollback").then(() => false, () => true);
    throw error;
  } finally {
    client.release(isBroken);
  }
}

/** Answers whether files can be made: all entries that lie beside the pack were stored, by runs before this one. */
async function storeParts({ database, openStorage }: ReportJobDeps, claim: Claim, until: number): Promise<boolean> {
  let bytes = 0;
  while (bytes < MOST_BYTES && performance.now() < until) {
    const stored = await storePart(database, openStorage, claim);
    if (stored === undefined) return bytes === 0;
    claim.attempt = stored.attempt;
    bytes += stored.bytes;
  }
  return false;
}

async function makeFiles(deps: ReportJobDeps, claim: Claim): Promise<void> {
  const { database, keys } = deps;
  const source = (await ask<Source>(database, "report_to_render", [claim.report, claim.attempt]))!;
  const { report: { organization_id, id }, parts } = source;
  const lines = await entriesFile(database, id);
  const files = await deps.render(source, [
    ...lines.files,
    ...await receipts(deps.archive, source.places),
  ], { vkeys: keys.vkeys });
  const inPack = files.pack.map(({ name, bytes }) => ({
    name,
    entries: 0,
    bytes: bytes.length,
    sha256: sha256(bytes),
    first: null,
    last: null,
  }));
  const manifest = JSON.stringify({
    version: 1,
    organization_id,
    format: "report",
    filter: null,
    complete: true,
    entries: 0,
    first: null,
    last: null,
    checkpoint: source.integrity.checkpoint,
    report: { id, title: source.report.title, content_sha256: source.content_sha256 },
    evidence: {
      entries: lines.count + parts.reduce((sum, part) => sum + part.entries, 0),
      of: source.is_whole ? "all that the report is about" : "those that the report lists",
      receipts: source.places.length,
      listed: source.listed,
    },
    parts: [...inPack, ...parts].map(({ name, entries, bytes, sha256, first, last }, at) => (
      { part: at + 1, name, entries, bytes, sha256, first, last }
    )),
  });
  const note = await signManifest(manifest, keys);
  const stored: PackFile[] = [
    ...files.shown,
    { name: "evidence.zip", type: "application/zip", bytes: files.zip(manifest, note) },
  ];
  const bucket = await openBucket(await deps.openStorage());
  for (const { name, type, bytes } of stored) {
    const { error } = await bucket.upload(`${organization_id}/${id}/${name}`, bytes, {
      contentType: type,
      upsert: true,
    });
    if (error !== null) throw error;
  }
  const told = [
    ...stored.map(({ name, bytes }) => ({
      name,
      bytes: bytes.length,
      sha256: sha256(bytes),
      path: `${organization_id}/${id}/${name}`,
    })),
    ...parts.map(({ name, bytes, sha256, path }) => ({ name, bytes, sha256, path })),
  ];
  await ask(database, "complete_report", [id, claim.attempt, JSON.stringify(told), manifest, note]);
}

/** The entries in the pack, a line each, and how many; no file where there are none. */
async function entriesFile(database: Database, id: string): Promise<{ count: number; files: PackFile[] }> {
  const client = await database.connect();
  try {
    const { rows } = await client.query<[string]>({
      name: "report_lines",
      text: "select l from audit.report_lines($1) l",
      values: [id],
      rowMode: "array",
    });
    if (rows.length === 0) return { count: 0, files: [] };
    const bytes = encodeText(rows.map(([line]) => `${line}\n`).join(""));
    return { count: rows.length, files: [{ name: "entries.ndjson", type: "application/x-ndjson", bytes }] };
  } finally {
    client.release();
  }
}

/** A receipt for each entry that is sealed. */
async function receipts(archive: Pick<Archive, "get">, places: readonly Place[]): Promise<PackFile[]> {
  const readers = new Map(
    [...new Set(places.map(({ folder }) => folder))].map((folder) => [folder, rememberTiles(tilesOf(archive, folder))]),
  );
  return await Promise.all(
    places.map(async ({ name, system, folder, index, checkpoint, hash, entry_text }): Promise<PackFile> => {
      const note = parseNote(checkpoint);
      const path = await proveInclusion(parseCheckpoint(note.text), index, parseHex(hash), readers.get(folder)!);
      const receipt = formatReceipt({ index, path, checkpoint: note, extra: encodeText(entry_text) });
      return { name: `${system ? "system-" : ""}${name}.tlog-proof`, type: "text/plain", bytes: encodeText(receipt) };
    }),
  );
}

async function giveBack(database: Database, claim: Claim, error: string, retry: boolean): Promise<void> {
  await ask(database, "fail_report", [claim.report, claim.attempt, error, retry]);
}

async function ask<T>(database: Database, name: string, values: unknown[]): Promise<T | null> {
  const parameters = values.map((_, at) => `$${at + 1}`).join(", ");
  const answer = await database.askAsOwner({ name, text: `select audit.${name}(${parameters})::text`, values });
  return answer === null || answer === "" ? null : JSON.parse(answer) as T;
}

function sha256(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}
