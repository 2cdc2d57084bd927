// Reading back: every object of the archive is read again and compared with the entries in the database and with the
// checkpoints that were signed. What was signed is true: whatever differs from it is found, and an object that can be
// made of what is true is written again.
//
// A reading goes from checkpoint to checkpoint, and is recorded when all between them was looked at (sql/332_read_back.sql).
// A run that is killed, or that another overtakes, does no harm: the same is read again, what was found is counted twice,
// and what was written is written again with the same bytes.
import { type Archive, ArchiveError } from "../_shared/archive/archive.ts";
import type { Database } from "../_shared/database.ts";
import { type EntryRow, parseEntryText } from "../_shared/entry.ts";
import type { LogKeys } from "../_shared/log_keys.ts";
import { decodeBundle, encodeBundle } from "../_shared/tlog/bundle.ts";
import { type Checkpoint, openCheckpoint } from "../_shared/tlog/checkpoint.ts";
import { TlogError } from "../_shared/tlog/error.ts";
import {
  emptyFrontier,
  type Frontier,
  packFrontier,
  pushLeaf,
  treeOf,
  unpackFrontier,
} from "../_shared/tlog/frontier.ts";
import { emptyRoot, type Hash, HASH_BYTES, leafHash, perfectRoot } from "../_shared/tlog/hash.ts";
import { concatBytes, encodeText, equalBytes, formatHex, parseHex } from "../_shared/tlog/text.ts";
import { parseTilePath, partialTiles, TILE_WIDTH, type TileId, tilePath, tileWidth } from "../_shared/tlog/tile.ts";
import { type Grown, sealedLeaves, type Sources } from "./sealed_leaves.ts";

export type ReadBackDeps = { database: Database; archive: Archive; keys: LogKeys };

export type ReadBackOptions = {
  /** How long a partial bundle that was read is left alone though it grew: an interval. */
  patience?: string;
};

/** `found` counts what was not as it should be, `repaired` what is again; `more` is whether another run has work to do. */
export type ReadBackResult = {
  readings: number;
  entries: number;
  bytes: number;
  found: number;
  repaired: number;
  failed: number;
  more: boolean;
};

/** What audit.claim_reading() answers. */
type Claim = {
  log: number;
  again: boolean;
  organization_id: string;
  origin: string;
  folder: string;
  /** Where the reading stands, and the checkpoint it is to go to. */
  size: number;
  frontier: string;
  to: number;
  published: number;
  /** Where it stands, and on its way. */
  checkpoints: { size: number; note: string | null; frontier: string }[];
  /** Findings of the organisation that are open, of entries and objects. */
  findings: { kind: string; subject: string }[];
};

type Reading = ReadBackDeps & {
  claim: Claim;
  result: ReadBackResult;
  /** Roots of checkpoints whose signature was verified, by size. */
  signed: Map<number, Hash>;
  /** Whether database, archive and signatures say the same so far. */
  same: boolean;
  /** Whether every object could be read so far. */
  isReadable: boolean;
};

/** What can be wrong with an object, and ends when it is read in order again. */
const OBJECT_FINDINGS = ["archive_missing", "archive_damaged", "archive_unreadable", "archive_rolled_back"] as const;

type Problem = { kind: typeof OBJECT_FINDINGS[number]; problem: string };

/** A bundle or tile as it was read: the hashes of its entries, or in it; or what is wrong with it already. */
type Found = { tile: TileId; path: string } & ({ hashes: Hash[] } | Problem);

/** What was read between two checkpoints, from the bundle on in which it begins. */
type Stretch = {
  from: number;
  to: number;
  bundles: Found[];
  tiles: Found[];
  sources: Sources;
  /** Indexes of entries that the database does not have, though nobody purged them. */
  missing: number[];
};

/** A file whose hashes are known, and what makes it. */
type Expected = { found: Found; isRight(hashes: Hash[]): boolean; make(): Promise<Uint8Array | undefined> };

/** A hosted function has 2 s of CPU and 150 s: after so many entries, bytes or milliseconds no further log is begun. */
const MOST_ENTRIES = 20_000;
const MOST_BYTES = 20_000_000;
const MOST_TIME = 20_000;
/** After so many bytes a reading ends at the next checkpoint. */
const READING_BYTES = 8_000_000;
/** Storage that is down fails for every log: the next run may find it up again. */
const MOST_FAILURES = 3;
/** The largest bundles have 16 MB. */
const BUNDLES_AT_ONCE = 4;
/** Entries of one reading that are named; whoever alters thousands must not fill the log with findings. */
const MOST_NAMED = 20;
/** What audit.hashes_in_log() says of an entry that was purged, and of one that is missing. */
const PURGED = emptyRoot();
const MISSING = new Uint8Array(HASH_BYTES);

/** Reads on in the logs that are due, in turns. What fails is left to a later run. */
export async function readBack(deps: ReadBackDeps, options: ReadBackOptions = {}): Promise<ReadBackResult> {
  const { patience = "1 hour" } = options;
  const start = performance.now();
  const result: ReadBackResult = { readings: 0, entries: 0, bytes: 0, found: 0, repaired: 0, failed: 0, more: true };
  while (
    result.entries < MOST_ENTRIES && result.bytes < MOST_BYTES &&
    result.failed < MOST_FAILURES &&
    performance.now() - start < MOST_TIME
  ) {
    const answer = await ask(deps, "claim_reading", [patience]);
    if (answer === null) {
      result.more = false;
      break;
    }
    const claim = JSON.parse(answer) as Claim;
    try {
      await readOn({ ...deps, claim, result, signed: new Map(), same: true, isReadable: true });
      result.readings++;
    } catch (error) {
      result.failed++;
      const { name, code, message } = error as { name?: string; code?: string; message?: string };
      console.error(JSON.stringify({ level: "error", job: "read-back", log: claim.origin, name, code, message }));
    }
  }
  return result;
}

async function readOn(reading: Reading): Promise<void> {
  const { claim, result, signed } = reading;
  await openCheckpoints(reading);
  if (claim.to === claim.published) await checkCheckpoint(reading);
  const start = startOf(reading);
  if (start === undefined) return await record(reading, emptyFrontier());
  const to = Math.max(start.size, ...signed.keys());
  if (to < claim.to && to <= claim.size) return; // none of the checkpoints on the way is signed, which was noted

  const stretch = await readStretch(reading, start.size, to);
  const roots = new Map([...signed].filter(([size]) => size <= stretch.to));
  const grown = sealedLeaves(start, stretch.sources, roots);
  const { frontier, frontier: { size } } = grown;
  result.entries += grown.leaves.length;
  if (!await checkFiles(reading, stretch, grown)) return;
  await checkEntries(reading, stretch, grown);
  if (size === stretch.to) return await record(reading, frontier);

  // Nobody knows the entries that come next. Behind the next root there may be more to find.
  const next = Math.min(stretch.to, ...[...roots.keys()].filter((root) => root > Math.max(size, claim.size)));
  await note(reading, "root_mismatch", claim.origin, { from: size, to: next });
  for (const found of [...stretch.bundles, ...stretch.tiles]) {
    const { index } = found.tile;
    if (!("kind" in found) || (index + 1) * TILE_WIDTH <= size || index * TILE_WIDTH >= next) continue;
    await note(reading, found.kind, found.path, { problem: found.problem, log: claim.origin });
  }
  const behind = frontierAt(reading, next, claim.checkpoints.find((checkpoint) => checkpoint.size === next)?.frontier);
  if (behind !== undefined) await record(reading, behind);
}

/** Verifies the signatures of the recorded checkpoints: a root in the database is only believed if it was signed. */
async function openCheckpoints(reading: Reading): Promise<void> {
  const { claim, signed } = reading;
  for (const { size, note: text } of claim.checkpoints) {
    const checkpoint = opened(reading, encodeText(text ?? ""));
    if ("root" in checkpoint && checkpoint.size === size) {
      signed.set(size, checkpoint.root);
    } else {
      const problem = "root" in checkpoint ? `the note is of size ${checkpoint.size}` : checkpoint.problem;
      await note(reading, "checkpoint_altered", `${claim.origin} ${size}`, { problem });
    }
  }
}

/** Looks at the object `checkpoint`: it is the one that was published last, or that is being published now. */
async function checkCheckpoint(reading: Reading): Promise<void> {
  const { claim, signed } = reading;
  const path = `${claim.folder}/checkpoint`;
  const object = await get(reading, path);
  const checkpoint = object instanceof Uint8Array ? opened(reading, object) : object;
  if ("kind" in checkpoint) return await republish(reading, path, checkpoint);
  const { size, root } = checkpoint;
  if (size < claim.published) {
    return await republish(reading, path, { kind: "archive_rolled_back", problem: `it is the one of size ${size}` });
  }
  const known = size === claim.published ? signed.get(size) ?? root : await recordedRoot(reading, size);
  if (known === undefined || !equalBytes(known, root)) {
    return await note(reading, "log_forked", path, { size, problem: "it is signed, and not the one in the database" });
  }
  // Where the database's own was altered, this one stands for it.
  if (size === claim.published) signed.set(size, root);
  await settle(reading, path);
}

/** What a signed checkpoint says, or what is wrong with it. */
function opened({ claim, keys }: Reading, bytes: Uint8Array): Checkpoint | Problem {
  try {
    return openCheckpoint(bytes, { origin: claim.origin, log: keys.verifiers(claim.origin) }).checkpoint;
  } catch (error) {
    return damaged(error);
  }
}

/** The root of a checkpoint beyond the published one, if the database has it: somebody is about to publish it. */
async function recordedRoot(reading: Reading, size: number): Promise<Hash | undefined> {
  const text = await reading.database.askAsOwner({
    name: "checkpoint_note",
    text: "select (select c.note from audit.checkpoints c where c.log = $1 and c.size = $2)",
    values: [reading.claim.log, size],
  });
  const checkpoint = opened(reading, encodeText(text ?? ""));
  return "root" in checkpoint && checkpoint.size === size ? checkpoint.root : undefined;
}

/** Puts the published checkpoint in its place again, unless it was altered in the database or a newer one is under way. */
async function republish(reading: Reading, path: string, { kind, problem }: Problem): Promise<void> {
  const { claim, archive, signed, same } = reading;
  const { published } = claim;
  await note(reading, kind, path, { problem, size: published });
  reading.same = same; // the tree itself is proved by what the database has
  const kept = claim.checkpoints.find(({ size }) => size === published)?.note;
  if (kind === "archive_unreadable" || !signed.has(published) || typeof kept !== "string") return;
  const lease = await ask(reading, "lease_checkpoint", [claim.log, published]);
  if (lease === null) return;
  await archive.put(path, encodeText(kept), "checkpoint");
  await ask(reading, "record_published", [claim.log, published, lease]);
  await noteRepair(reading, kind, path);
}

/** The log at the last full bundle before where the reading stands; undefined where what was recorded is not right. */
function startOf(reading: Reading): Frontier | undefined {
  const { size, frontier: packed } = reading.claim;
  if (size === 0) return emptyFrontier();
  const frontier = frontierAt(reading, size, packed);
  const open = size % TILE_WIDTH;
  return frontier && { size: size - open, peaks: frontier.peaks.slice(0, frontier.peaks.length - peaksIn(open)) };
}

/** A frontier that was recorded, if it leads to the root that was signed. */
function frontierAt({ signed }: Reading, size: number, packed = ""): Frontier | undefined {
  const root = signed.get(size);
  try {
    const frontier = unpackFrontier(size, parseHex(packed));
    return root !== undefined && equalBytes(treeOf(frontier).root, root) ? frontier : undefined;
  } catch (error) {
    if (error instanceof TlogError) return undefined;
    throw error;
  }
}

/** Reads bundles and level-0 tiles up to a checkpoint, or to one before it where they are much. */
async function readStretch(reading: Reading, from: number, to: number): Promise<Stretch> {
  const { claim, result, signed } = reading;
  const sources: Sources = { database: [], bundles: [], tiles: [] };
  const stretch: Stretch = { from, to, bundles: [], tiles: [], sources, missing: [] };
  const bytesBefore = result.bytes;
  for (let first = from / TILE_WIDTH; first * TILE_WIDTH < stretch.to; first += BUNDLES_AT_ONCE) {
    const files = Array.from({ length: BUNDLES_AT_ONCE }, (_, at) => first + at).filter((index) =>
      index * TILE_WIDTH < stretch.to
    ).map((index) => ({ index, width: tileWidth(0, index, claim.published) }));
    const [bundles, tiles] = await Promise.all([
      Promise.all(files.map((file) => readFile(reading, { level: "entries", ...file }))),
      Promise.all(files.map((file) => readFile(reading, { level: 0, ...file }))),
    ]);
    stretch.bundles.push(...bundles);
    stretch.tiles.push(...tiles);
    sources.bundles.push(...bundles.flatMap(hashesOf));
    sources.tiles.push(...tiles.flatMap(hashesOf));
    const end = (first + files.length) * TILE_WIDTH;
    const stops = [...signed.keys()].filter((size) => size > claim.size && size <= end);
    if (result.bytes - bytesBefore > READING_BYTES && stops.length > 0) {
      stretch.to = Math.min(to, Math.max(...stops));
    }
  }
  const kept = await ask(reading, "hashes_in_log", [claim.log, from, stretch.to]);
  split(parseHex(kept ?? "")).forEach((hash, at) => {
    const isMissing = equalBytes(hash, MISSING);
    if (isMissing) stretch.missing.push(from + at);
    sources.database.push(isMissing || equalBytes(hash, PURGED) ? undefined : hash);
  });
  return stretch;
}

/** A bundle or tile of the log. */
async function readFile(reading: Reading, tile: TileId): Promise<Found> {
  const path = `${reading.claim.folder}/${tilePath(tile)}`;
  const object = await get(reading, path);
  if (!(object instanceof Uint8Array)) return { tile, path, ...object };
  try {
    return { tile, path, hashes: hashesIn(tile, object) };
  } catch (error) {
    return { tile, path, ...damaged(error) };
  }
}

/** The bytes of an object, or what is wrong with it. What passes is thrown. */
async function get({ archive, result }: Reading, path: string): Promise<Uint8Array | Problem> {
  try {
    const bytes = await archive.get(path);
    result.bytes += bytes?.length ?? 0;
    return bytes ?? { kind: "archive_missing", problem: "there is no such object" };
  } catch (error) {
    if (!(error instanceof ArchiveError) || error.code === "unavailable") {
      throw error;
    }
    return { kind: error.code === "too_large" ? "archive_damaged" : "archive_unreadable", problem: error.message };
  }
}

/** What a bundle or tile holds. Readers may take a full one for a partial one; at its path it is another object. */
function hashesIn({ level, width }: TileId, object: Uint8Array): Hash[] {
  if (level !== "entries") {
    if (object.length === width * HASH_BYTES) return split(object);
    throw new TlogError("malformed_tile", `a tile of ${width} hashes has ${object.length} bytes`);
  }
  const entries = decodeBundle(object, width);
  const last = entries.at(-1)!;
  if (last.byteOffset + last.length !== object.byteOffset + object.length) {
    throw new TlogError("malformed_bundle", `the bundle holds more entries than ${width}`);
  }
  return entries.map((entry) => leafHash(entry));
}

/** Compares the files that are known to their end with what was signed; false where they are no longer those to look at. */
async function checkFiles(reading: Reading, stretch: Stretch, grown: Grown): Promise<boolean> {
  const wrong: Expected[] = [];
  for await (const expected of expectedFiles(reading, stretch, grown)) {
    const { found } = expected;
    if ("hashes" in found && expected.isRight(found.hashes)) {
      await settle(reading, found.path);
    } else wrong.push(expected);
  }
  if (wrong.length > 0 && await isOutdated(reading, wrong)) return false;
  for (const expected of wrong) await mend(reading, expected);
  return true;
}

/** Bundles, then tiles from the lowest level up: each is made of those below it. */
async function* expectedFiles(
  reading: Reading,
  { from, bundles, tiles }: Stretch,
  { leaves, frontier: { size, peaks }, tileRoots }: Grown,
): AsyncGenerator<Expected> {
  const leavesOf = ({ index, width }: TileId) =>
    leaves.slice(index * TILE_WIDTH - from, index * TILE_WIDTH - from + width);
  for (const found of bundles) {
    const truth = leavesOf(found.tile);
    // What goes on behind the last root is compared next time.
    if (truth.length < found.tile.width) break;
    yield { found, isRight: (hashes) => areEqual(hashes, truth), make: () => makeBundle(reading, found.tile) };
  }
  const known = [...tileRoots].map(([path, root]) => ({ tile: parseTilePath(path), own: [root] }));
  let rest = peaks;
  // The last peaks are those of the lowest partial tile.
  for (const tile of size === reading.claim.published ? partialTiles(size) : []) {
    if (tile.level === "entries") continue;
    const others = rest.length - peaksIn(tile.width);
    known.push({ tile, own: rest.slice(others) });
    rest = rest.slice(0, others);
  }
  for (const { tile, own } of known.sort((a, b) => Number(a.tile.level) - Number(b.tile.level))) {
    yield {
      found: tile.level === 0 ? tiles[tile.index - from / TILE_WIDTH]! : await readFile(reading, tile),
      isRight: (hashes) => areEqual(peaksOver(hashes), own),
      make: () => tile.level === 0 ? Promise.resolve(concatBytes(...leavesOf(tile))) : makeTile(reading, tile),
    };
  }
}

/** Notes what is wrong with a file and, where it can be made, writes it again. */
async function mend(reading: Reading, { found, isRight, make }: Expected): Promise<void> {
  const { tile, path } = found;
  const { kind, problem }: Problem = "kind" in found
    ? found
    : { kind: "archive_damaged", problem: "it does not hold what was signed" };
  const { same } = reading;
  if (kind === "archive_unreadable") {
    return await noteUnreadable(reading, path, problem);
  }
  await note(reading, kind, path, { problem, log: reading.claim.origin });
  const bytes = await make();
  if (bytes === undefined || !isRight(hashesIn(tile, bytes))) return;
  await reading.archive.put(path, bytes, tile.level === "entries" ? "bundle" : "tile");
  const again = await readFile(reading, tile);
  if (!("hashes" in again) || !isRight(again.hashes)) return;
  await noteRepair(reading, kind, path);
  reading.same = same;
}

/**
 * Who cannot read an object must not write it either: the key may be missing, and nothing be wrong with the object. Then
 * it is the same with all of them, so only the first of a reading is named.
 */
async function noteUnreadable(reading: Reading, path: string, problem: string): Promise<void> {
  if (!reading.isReadable) return;
  reading.isReadable = false;
  await note(reading, "archive_unreadable", path, { problem, log: reading.claim.origin });
}

/** A bundle of what the database has, if that is all of it. */
async function makeBundle(reading: Reading, { index, width }: TileId): Promise<Uint8Array | undefined> {
  const entries = await keptEntries(reading, index * TILE_WIDTH, index * TILE_WIDTH + width);
  return entries.size === width ? encodeBundle([...entries.values()]) : undefined;
}

/** A tile of the roots over those below it. Whether they are the right ones, its own root tells. */
async function makeTile(reading: Reading, { level, index, width }: TileId): Promise<Uint8Array | undefined> {
  const roots: Hash[] = [];
  for (let at = 0; at < width; at++) {
    const tile = { level: Number(level) - 1, index: index * TILE_WIDTH + at, width: TILE_WIDTH };
    const below = await readFile(reading, tile);
    if (!("hashes" in below)) return undefined;
    roots.push(perfectRoot(concatBytes(...below.hashes)));
  }
  return concatBytes(...roots);
}

/** Names the entries that the database has otherwise than they were sealed, or not at all though nobody may have purged them. */
async function checkEntries(reading: Reading, stretch: Stretch, { leaves }: Grown): Promise<void> {
  const { claim } = reading;
  const { from, sources } = stretch;
  const log = claim.origin;
  const altered = leaves.flatMap((leaf, at) => {
    const kept = sources.database[at];
    return kept === undefined || equalBytes(kept, leaf) ? [] : [from + at];
  });
  const missing = stretch.missing.filter((index) => index < from + leaves.length);
  const compare = comparison(reading);
  const chains = new Set(
    claim.findings.filter(({ kind }) => kind === "entry_altered").map(({ subject }) => chainOf(subject)),
  );
  if (missing.length > 0) {
    const { name } = await compare(missing[0]!);
    chains.add(chainOf(name));
    await note(reading, "entries_missing", name, { log, index: missing[0], entries: missing.length });
  }
  for (let at = 0, named = 0; at < altered.length && named < MOST_NAMED; at++) {
    reading.same = false;
    const { name, fields } = await compare(altered[at]!);
    // Whoever hashes again what follows the entry he changed changes all their links, which is not what was done.
    if (fields.join() === "prev_hash" && chains.has(chainOf(name))) continue;
    chains.add(chainOf(name));
    named++;
    await note(reading, "entry_altered", name, { log, index: altered[at], fields, entries: altered.length });
  }
}

/** Tells an entry's name and the fields that are not as they were sealed. Asked in order, it reads each bundle once. */
function comparison(reading: Reading): (index: number) => Promise<{ name: string; fields: string[] }> {
  const { claim } = reading;
  let first = -1;
  let sealed: Map<number, Uint8Array>;
  let kept: Map<number, Uint8Array>;
  return async (index) => {
    if (index < first || index >= first + TILE_WIDTH || first < 0) {
      first = index - index % TILE_WIDTH;
      const width = tileWidth(0, first / TILE_WIDTH, claim.published);
      [sealed, kept] = await Promise.all([
        sealedEntries(reading, { level: "entries", index: first / TILE_WIDTH, width }),
        keptEntries(reading, first, first + width),
      ]);
    }
    const [was, is] = [sealed, kept].map((entries) => parseEntryText(entries.get(index) ?? ""));
    const row = was ?? is;
    const fields = Object.keys(row ?? {}) as (keyof EntryRow)[];
    return {
      name: row === undefined ? `${claim.origin} ${index}` : `${row.chain}-${row.seq}`,
      fields: was === undefined || is === undefined ? [] : fields.filter((field) => was[field] !== is[field]),
    };
  };
}

/** The entries of a bundle by their index, none where it cannot be read. */
async function sealedEntries(reading: Reading, tile: TileId): Promise<Map<number, Uint8Array>> {
  const object = await get(reading, `${reading.claim.folder}/${tilePath(tile)}`);
  try {
    const entries = object instanceof Uint8Array ? decodeBundle(object, tile.width) : [];
    return new Map(entries.map((entry, at) => [tile.index * TILE_WIDTH + at, entry]));
  } catch (error) {
    damaged(error);
    return new Map();
  }
}

/** The entries that the database has, by their index and in its order. */
async function keptEntries({ database, claim }: Reading, from: number, to: number): Promise<Map<number, Uint8Array>> {
  const answer = await database.askAsOwner({
    name: "kept_entries",
    text:
      "select json_agg(json_build_array(e.index, e.entry) order by e.index)::text from audit.log_entries($1, $2, $3) e",
    values: [claim.log, from, to],
  });
  const entries = JSON.parse(answer ?? "[]") as [number, string][];
  return new Map(entries.map(([index, entry]) => [index, encodeText(entry)]));
}

/** Whether wrong files are no longer those to look at: the log is past its retention, or partial ones have a successor. */
async function isOutdated({ database, claim }: Reading, wrong: Expected[]): Promise<boolean> {
  const answer = await database.askAsOwner({
    name: "newest_files",
    text: "select concat_ws(' ', l.published, l.archive_deletion_began_at) from audit.logs l where l.id = $1",
    values: [claim.log],
  });
  const [published, deletion] = answer!.split(" ");
  const hasPartial = wrong.some(({ found }) => found.tile.width < TILE_WIDTH);
  return deletion !== undefined || hasPartial && published !== String(claim.published);
}

async function record({ database, claim, same }: Reading, frontier: Frontier): Promise<void> {
  const packed = formatHex(packFrontier(frontier));
  await database.askAsOwner({
    name: "record_read_back",
    text: "select audit.record_read_back($1, $2, $3, $4, decode($5, 'hex'), $6)::text",
    values: [claim.log, claim.again, claim.size, frontier.size, packed, same],
  });
}

async function note(reading: Reading, kind: string, subject: string, detail: Record<string, unknown>): Promise<void> {
  reading.same = false;
  reading.result.found++;
  await ask(reading, "note_finding", [reading.claim.organization_id, kind, subject, JSON.stringify(detail)]);
}

async function noteRepair(reading: Reading, kind: string, path: string): Promise<void> {
  reading.result.repaired++;
  await ask(reading, "settle_finding", [reading.claim.organization_id, kind, path, `{"by": "repair"}`]);
}

/** Closes what was found of an object before, now that it is in order. */
async function settle(reading: Reading, path: string): Promise<void> {
  const { organization_id, findings } = reading.claim;
  for (const { kind, subject } of findings) {
    if (subject !== path || !OBJECT_FINDINGS.some((other) => other === kind)) {
      continue;
    }
    await ask(reading, "settle_finding", [organization_id, kind, path, `{"by": "check"}`]);
  }
}

/** What a function of the database answers, as text. */
function ask({ database }: { database: Database }, name: string, values: unknown[]): Promise<string | null> {
  const parameters = values.map((_, at) => `$${at + 1}`).join(", ");
  return database.askAsOwner({ name, text: `select audit.${name}(${parameters})::text`, values });
}

/** What a parser refused. */
function damaged(error: unknown): Problem {
  if (error instanceof TlogError) {
    return { kind: "archive_damaged", problem: error.message };
  }
  throw error;
}

function hashesOf(found: Found): (Hash | undefined)[] {
  return "hashes" in found ? found.hashes : Array.from({ length: found.tile.width });
}

/** The roots of the perfect subtrees that so many nodes of one level consist of. */
function peaksOver(nodes: Hash[]): Hash[] {
  const frontier = emptyFrontier();
  for (const node of nodes) pushLeaf(frontier, node);
  return frontier.peaks;
}

/** How many perfect subtrees a tree consists of. */
function peaksIn(width: number): number {
  return width.toString(2).replaceAll("0", "").length;
}

/** Hashes that stand one after the other, and what is left over. */
function split(bytes: Uint8Array): Hash[] {
  return Array.from(
    { length: Math.ceil(bytes.length / HASH_BYTES) },
    (_, at) => bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES),
  );
}

function areEqual(a: Hash[], b: Hash[]): boolean {
  return a.length === b.length && a.every((hash, at) => equalBytes(hash, b[at]!));
}

/** "3" of the entry "3-17". */
function chainOf(name: string): string {
  return name.split("-")[0]!;
}
