// Exports in the background, part by part into Storage, each with the rights that who asked has at that moment.
//
// Every part is claimed with a lease, and has a path of its own that is written over. So two runs at once take different
// parts or the second takes none, and a run that is killed leaves a part that the next run makes again:
//   after the claim               the lease ends, the next run claims the same part
//   after the upload              the same, and writes the same object again
//   after the part was recorded   the part is done, and what is next is in the queue
import type { SupabaseClient } from "@supabase/supabase-js";
import type { Caller, Database } from "../_shared/database.ts";
import {
  type Closing,
  closingStatement,
  CONTENT_TYPES,
  extensionOf,
  type Format,
  gzipped,
  openPart,
  PART_ENTRIES,
  type Render,
} from "../_shared/export_part.ts";
import { asProblem } from "../_shared/problem.ts";
import { openBucket } from "../_shared/storage.ts";

export type ExportJobDeps = {
  database: Database;
  openStorage(): Promise<SupabaseClient["storage"]>;
  render: Render;
};

export type ExportJobResult = { parts: number; failed: number; more: boolean };

/** What audit.claim_export() answers. */
type Claim = {
  id: string;
  organization_id: string;
  requested_by: string;
  format: Format;
  gzip: boolean;
  cursor: string | null;
};

/** After so many milliseconds no further part is begun: a hosted function has 150 s, and a part takes a few. */
const MOST_TIME = 20_000;
/** Nor after so many bytes, which are CPU time, of which a hosted function has 2 s. Compressed ones cost five times that. */
const MOST_BYTES = 100_000_000;
const GZIP_FACTOR = 5;
/** Entries of a part: a file in Storage has at most 50 MB on the free plan. */
const MOST_ENTRIES = 100_000;
const GZIP_MOST_ENTRIES = 50_000;
const LEASE = "5 minutes";

/** Makes parts until none waits, or the time is over. */
export async function makeExports(deps: ExportJobDeps): Promise<ExportJobResult> {
  const start = performance.now();
  const result = { parts: 0, failed: 0, more: true };
  let bytes = 0;
  while (bytes < MOST_BYTES && performance.now() - start < MOST_TIME) {
    const claim = await claimExport(deps.database);
    if (claim === null) {
      result.more = false;
      break;
    }
    try {
      bytes += await makePart(deps, claim) * (claim.gzip ? GZIP_FACTOR : 1);
      result.parts++;
    } catch (error) {
      result.failed++;
      await failExport(deps.database, claim, error);
    }
  }
  return result;
}

async function claimExport(database: Database): Promise<Claim | null> {
  const answer = await database.askAsOwner({
    name: "claim_export",
    text: "select audit.claim_export($1)::text",
    values: [LEASE],
  });
  return answer === null ? null : JSON.parse(answer) as Claim;
}

/** Answers how many bytes it has. */
async function makePart({ database, openStorage, render }: ExportJobDeps, claim: Claim): Promise<number> {
  const { id, organization_id, requested_by, format, gzip, cursor } = claim;
  const bucket = await openBucket(await openStorage());
  const caller: Caller = { claims: { sub: requested_by, role: "authenticated" }, headers: {} };
  const limit = Math.min(PART_ENTRIES[format], gzip ? GZIP_MOST_ENTRIES : MOST_ENTRIES);
  let closing: Closing | undefined;
  const part = await openPart(
    database,
    caller,
    { export: id, limit, ...(cursor === null ? {} : { cursor }) },
    // Sent is not stored: the part is closed when Storage has it.
    { render, close: (told) => Promise.resolve(void (closing = told)) },
  );
  const number = String(part.part).padStart(4, "0");
  const path = `${organization_id}/${id}/part-${number}.${extensionOf(format)}${gzip ? ".gz" : ""}`;
  const { error } = await bucket.upload(
    path,
    gzip ? gzipped(part.body) : part.body,
    { contentType: gzip ? "application/gzip" : CONTENT_TYPES[format], duplex: "half", upsert: true },
  );
  if (error !== null) {
    await part.abandon();
    throw error;
  }
  if (!closing?.complete) {
    throw new Error("The part was stored before it was read to its end.");
  }
  await database.askAsOwner(closingStatement({ ...closing, path }));
  return closing.bytes;
}

/** What passes is tried again; what the database refused will be refused again. */
async function failExport(database: Database, { id }: Claim, error: unknown): Promise<void> {
  const { status, message } = asProblem(error);
  const { name, code } = error as { name?: string; code?: string };
  console.error(JSON.stringify({ level: "error", job: "exports", export: id, name, code }));
  await database.askAsOwner({
    name: "fail_export",
    text: "select audit.fail_export($1)::text",
    values: [JSON.stringify({ export: id, error: message, retry: status >= 500 })],
  });
}
