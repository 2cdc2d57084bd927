// Sealing: entries that have their index become part of a log that is signed. PostgreSQL says what is to be done and is
// the lock (sql/310_sequence.sql, sql/320_checkpoints.sql); the archive is written to, and never asked who comes first.
//
// Every step may fail before or after it took effect; whoever claims the log next does the same again, with the same bytes:
//   claim (indexes given)   the lease ends, the next run claims the log
//   tiles and bundles put   put again; their bytes are what the indexes and the entries make them
//   root recorded           found recorded, and the same
//   note kept               Ed25519 signs the same again; the note that was kept first is published
//   checkpoint put          put again; whoever lost the lease meanwhile does not get here, so an old one replaces no newer
//   published recorded      done
//
// Nothing is signed where the archive has a checkpoint that the database does not know: it was put back to an earlier moment.
import type { Archive } from "../_shared/archive/archive.ts";
import { readFile, tilesOf } from "../_shared/archive/tiles.ts";
import type { Database } from "../_shared/database.ts";
import type { LogKeys } from "../_shared/log_keys.ts";
import { decodeBundle } from "../_shared/tlog/bundle.ts";
import { type Checkpoint, formatCheckpoint, openCheckpoint } from "../_shared/tlog/checkpoint.ts";
import { appendEntry, type Edge, emptyEdge, type LogFile, openEdge, partialFiles } from "../_shared/tlog/edge.ts";
import { TlogError } from "../_shared/tlog/error.ts";
import { packFrontier, treeOf, unpackFrontier } from "../_shared/tlog/frontier.ts";
import { leafHash } from "../_shared/tlog/hash.ts";
import { formatNote, signNote } from "../_shared/tlog/note.ts";
import { concatBytes, encodeText, equalBytes, formatHex, parseHex } from "../_shared/tlog/text.ts";
import { partialTiles, TILE_WIDTH, tilePath } from "../_shared/tlog/tile.ts";
import { noteFinding } from "./findings.ts";
import { readEntries } from "./log_entries.ts";

export type SealDeps = { database: Database; archive: Archive; keys: LogKeys };

export type SealOptions = {
  /** Seals all that waits, however short. */
  dueNow?: boolean;
};

/** `more` is whether another run has work to do at once. */
export type SealResult = { logs: number; entries: number; failed: number; more: boolean };

/** What audit.claim_log() answers: the checkpoint that readers have, and the size of the next one. */
type Claim = {
  lease: string;
  log: number;
  organization_id: string;
  origin: string;
  folder: string;
  published: number;
  note: string | null;
  frontier: string | null;
  size: number;
};

/** A hosted function has 2 s of CPU and 150 s: after so many entries or milliseconds no further log is begun. */
const MOST_ENTRIES = 30_000;
const MOST_TIME = 20_000;
/** Storage that is down fails for every log: the next run may find it up again. */
const MOST_FAILURES = 3;
const LEASE = "2 minutes";
/** Entries that are read at once: two bundles, which are put side by side. More of them take memory, not less time. */
const CHUNK = 2 * TILE_WIDTH;

/** Seals what is due, log by log. What fails is left to a later run, which finishes it. */
export async function sealLogs(deps: SealDeps, { dueNow = false }: SealOptions = {}): Promise<SealResult> {
  const start = performance.now();
  const result: SealResult = { logs: 0, entries: 0, failed: 0, more: true };
  while (result.entries < MOST_ENTRIES && result.failed < MOST_FAILURES && performance.now() - start < MOST_TIME) {
    const claim = await claimLog(deps, dueNow);
    if (claim === null) {
      result.more = false;
      break;
    }
    try {
      await sealLog(deps, claim);
      result.logs++;
      result.entries += claim.size - claim.published;
    } catch (error) {
      result.failed++;
      await report(deps, claim, error);
    }
  }
  return result;
}

async function claimLog({ database, keys }: SealDeps, dueNow: boolean): Promise<Claim | null> {
  const answer = await database.askAsOwner({
    name: "claim_log",
    text: "select audit.claim_log(base => $1, lease => $2, due_now => $3)::text",
    values: [keys.base, LEASE, dueNow],
  });
  return answer === null ? null : JSON.parse(answer) as Claim;
}

async function sealLog(deps: SealDeps, claim: Claim): Promise<void> {
  const { database, archive, keys } = deps;
  const { log, origin, published, folder, lease } = claim;
  const edge = await openPublished(deps, claim);
  await refuseNewer(deps, claim);
  await extend(deps, claim, edge);
  const tree = treeOf(edge.frontier);
  await database.askAsOwner({
    name: "record_root",
    text: "select audit.record_root($1, $2, $3, decode($4, 'hex'), decode($5, 'hex'))::text",
    values: [log, published, tree.size, formatHex(tree.root), formatHex(packFrontier(edge.frontier))],
  });
  const note = await signNote(formatCheckpoint({ origin, ...tree, extensions: [] }), keys.signers(origin));
  const kept = await database.askAsOwner({
    name: "record_note",
    text: "select audit.record_note($1, $2, $3, $4)",
    values: [log, tree.size, formatNote(note), lease],
  });
  await archive.put(`${folder}/checkpoint`, encodeText(kept!), "checkpoint");
  await database.askAsOwner({
    name: "record_published",
    text: "select audit.record_published($1, $2, $3)::text",
    values: [log, tree.size, lease],
  });
}

/**
 * The right edge of the log at the checkpoint that readers have. Only that, being signed, is believed: so nothing is ever
 * signed that does not continue what was signed before, whoever wrote into the database or the archive meanwhile.
 */
async function openPublished(deps: SealDeps, claim: Claim): Promise<Edge> {
  const { origin, published: size } = claim;
  if (size === 0) return emptyEdge();
  const { checkpoint } = openCheckpoint(claim.note ?? "", { origin, log: deps.keys.verifiers(origin) });
  const frontier = unpackFrontier(size, parseHex(claim.frontier ?? ""));
  const tree = treeOf(frontier);
  if (checkpoint.size !== size || !equalBytes(tree.root, checkpoint.root)) {
    throw new TlogError("root_mismatch", "the frontier in the database is not that of the last checkpoint");
  }
  const read = tilesOf(deps.archive, claim.folder);
  try {
    const bundle = partialTiles(size).find(({ level }) => level === "entries");
    const entries = bundle === undefined
      ? []
      : decodeBundle(await readFile(deps.archive, claim.folder, bundle), bundle.width);
    return await openEdge(frontier, read, entries);
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    // The archive was damaged since: what its newest files held is in the database too, and is checked all the same.
    await note(deps, claim, "archive_damaged", `${claim.folder}/checkpoint`, { size, problem: error.message });
    const kept = [...await readEntries(deps.database, claim.log, size - size % TILE_WIDTH, size)];
    const leaves = concatBytes(...kept.map(({ entry }) => leafHash(entry)));
    return await openEdge(
      frontier,
      (level, index, width) => level === 0 ? Promise.resolve(leaves) : read(level, index, width),
      kept.map(({ entry }) => entry),
    );
  }
}

/**
 * A database that was put back to an earlier moment, as from a snapshot, is behind what readers have; what it would sign
 * now would be a second history. Only a checkpoint whose root it knows may be newer than what it calls published: the run
 * that put it was killed before it could say so.
 */
async function refuseNewer({ database, archive, keys }: SealDeps, claim: Claim): Promise<void> {
  const { log, origin, folder, published } = claim;
  const put = await archive.get(`${folder}/checkpoint`);
  if (put === null) return;
  let newest: Checkpoint;
  try {
    newest = openCheckpoint(put, { origin, log: keys.verifiers(origin) }).checkpoint;
  } catch (error) {
    if (error instanceof TlogError) return; // damaged: reading back finds it, and puts the published one in its place
    throw error;
  }
  if (newest.size <= published) return;
  const known = await database.askAsOwner({
    name: "recorded_root",
    text: "select (select encode(c.root, 'hex') from audit.checkpoints c where c.log = $1 and c.size = $2)",
    values: [log, newest.size],
  });
  if (known !== formatHex(newest.root)) {
    throw new TlogError(
      "root_mismatch",
      `the archive has a checkpoint of ${newest.size} entries that this database does not know: it is older than its archive`,
    );
  }
}

/** Appends the entries of the next checkpoint and puts every file that it implies. */
async function extend(deps: SealDeps, claim: Claim, edge: Edge): Promise<void> {
  for (let from = claim.published; from < claim.size; from += CHUNK) {
    const files: LogFile[] = [];
    for (const entry of await readEntries(deps.database, claim.log, from, Math.min(from + CHUNK, claim.size))) {
      const leaf = leafHash(entry.entry);
      // Sealed as it is now: refusing would let whoever altered it stop all sealing. The next entry's link shows it too.
      if (!equalBytes(leaf, entry.hash)) {
        await note(deps, claim, "entry_altered", nameOf(entry.entry), { index: entry.index });
      }
      files.push(...appendEntry(edge, entry.entry, leaf));
    }
    await putFiles(deps, claim, files);
  }
  await putFiles(deps, claim, partialFiles(edge));
}

async function putFiles({ archive }: SealDeps, { folder }: Claim, files: LogFile[]): Promise<void> {
  await Promise.all(
    files.map(({ tile, bytes }) =>
      archive.put(`${folder}/${tilePath(tile)}`, bytes, tile.level === "entries" ? "bundle" : "tile")
    ),
  );
}

/** What passes is only printed: the next run tries again. What does not is a finding. */
async function report(deps: SealDeps, claim: Claim, error: unknown): Promise<void> {
  const { name, code, message } = error as { name?: string; code?: string; message?: string };
  console.error(JSON.stringify({ level: "error", job: "seal", log: claim.origin, name, code, message }));
  if (error instanceof TlogError) {
    await note(deps, claim, "log_broken", claim.origin, { code, problem: message });
  }
}

function note(
  { database }: SealDeps,
  { organization_id, origin }: Claim,
  kind: string,
  subject: string,
  detail: Record<string, unknown>,
): Promise<void> {
  return noteFinding(database, organization_id, kind, subject, { log: origin, ...detail });
}

function nameOf(entry: Uint8Array): string {
  const [, chain, seq] = /"chain":(\d+),"seq":(\d+)/.exec(new TextDecoder().decode(entry)) ?? [];
  return `${chain}-${seq}`;
}
