/**
 * One log, verified from its entries up. Trusted is the key that its checkpoint is signed with, and nothing else: every
 * hash is recomputed, tiles are compared and never believed.
 */
import { ArchiveError } from "../../../functions/_shared/archive/archive.ts";
import { type Checkpoint, openCheckpoint } from "../../../functions/_shared/tlog/checkpoint.ts";
import type { Cosignature } from "../../../functions/_shared/tlog/cosignature.ts";
import { TlogError } from "../../../functions/_shared/tlog/error.ts";
import { HASH_BYTES, type Tree } from "../../../functions/_shared/tlog/hash.ts";
import { renameKey, type VerifierKey } from "../../../functions/_shared/tlog/key.ts";
import { noteVerifier, type Verifier } from "../../../functions/_shared/tlog/note.ts";
import { TILE_WIDTH, tilePath, tileWidth } from "../../../functions/_shared/tlog/tile.ts";
import type { BundleJob, BundleResult, CheckBundle } from "./bundle_check.ts";
import type { Break, Head } from "./chains.ts";
import type { LogFiles } from "./files.ts";
import { GrowingTree, joined } from "./growing_tree.ts";
import { sameBytes } from "./hashing.ts";
import { count, type Finding, type Ledger } from "./ledger.ts";
import { explain } from "./explain.ts";
import { inOrder } from "./order.ts";

/** What is the same for all logs of a verification. */
export type Kit = {
  keys: VerifierKey[];
  witnesses: Verifier[];
  check: CheckBundle;
  /** The entries of a bundle; of one that breaks, those before. */
  entries(job: BundleJob): Promise<Uint8Array[]>;
  /** How many bundles to have under way at once. */
  width: number;
  ledger: Ledger;
  /** Told how many entries a log has, and then how many more of them were read. */
  progress: { begin(origin: string, entries: number): void; advance(entries: number): void };
};

/** A tree that this log once had, as somebody else remembers it. */
export type Remembered = { tree: Tree; what: string };

export type LogTask = {
  origin: string;
  files: LogFiles;
  organizationId?: string | undefined;
  remembered: Remembered[];
  /** Bundles that end before this entry are not read: a log may have let go of them. */
  fromIndex: number;
};

/** Who reads the entries in their order, and says what does not fit. */
export type Follower = {
  take(result: BundleResult, first: number): Break[];
  /** Where each chain stands. */
  heads: ReadonlyMap<number, Head>;
};

export type LogVerdict = {
  origin: string;
  /**
   * verified: all of it is what was signed, and nothing was found. expired: only the checkpoint is left. unread: not even
   * that could be believed.
   */
  state: "verified" | "broken" | "expired" | "unread";
  checkpoint?: Checkpoint;
  cosignatures: Cosignature[];
  /** Whether its entries, recomputed, lead to the root that was signed. */
  isSigned: boolean;
  /** How many entries were read. */
  entries: number;
};

/** After so many bundles in a row that are not there, nobody looks for more. */
const MOST_MISSING = 100;

export async function verifyLog(task: LogTask, kit: Kit, follower: Follower): Promise<LogVerdict> {
  const { origin, files } = task;
  const { ledger } = kit;
  const earlier = ledger.count(origin);
  const opened = await openLog(task, kit);
  if (opened === undefined) return { origin, state: "unread", cosignatures: [], isSigned: false, entries: 0 };
  const { checkpoint, cosignatures } = opened;
  const { size } = checkpoint;
  const verdict = (state: LogVerdict["state"], isSigned: boolean, entries: number): LogVerdict => ({
    origin,
    state,
    checkpoint,
    cosignatures,
    isSigned,
    entries,
  });
  if (await isExpired(files, size)) return verdict("expired", false, 0);

  kit.progress.begin(origin, size);
  const walk = await walkBundles(task, kit, follower, size);
  const tree = walk.tree.tree();
  if (!walk.isWhole) return verdict("broken", false, walk.entries);
  const isSigned = sameBytes(tree.root, checkpoint.root);
  if (isSigned) {
    await compareTiles(task, kit, walk, size);
    for (const found of walk.breaks) if (!isOfUnread(found, walk)) ledger.found(found);
    compareRemembered(task, kit, walk, checkpoint);
  } else {
    await explain(task, kit, walk, checkpoint, follower.heads);
  }
  if (!isSigned && ledger.count(origin) === earlier) {
    ledger.found({ code: "entries_changed", message: "The entries are not those that were signed.", log: origin });
  }
  const isSound = ledger.count(origin) === earlier;
  return verdict(isSound ? "verified" : "broken", isSigned && walk.unread.size === 0, walk.entries);
}

/** Reads the checkpoint, as far as a key of the log has signed it. */
export async function openLog(
  { origin, files }: Pick<LogTask, "origin" | "files">,
  { keys, witnesses, ledger }: Pick<Kit, "keys" | "witnesses" | "ledger">,
): Promise<{ checkpoint: Checkpoint; cosignatures: Cosignature[] } | undefined> {
  try {
    const note = await files.checkpoint();
    if (note !== null) return openCheckpoint(note, { origin, log: verifiersOf(keys, origin), witnesses });
    ledger.found({
      code: "missing_checkpoint",
      log: origin,
      message: "There is no checkpoint: nothing vouches for it.",
    });
  } catch (error) {
    const message = `The checkpoint is not to be believed: ${faultOf(error)}.`;
    ledger.found({ code: "bad_checkpoint", log: origin, message });
  }
  return undefined;
}

/** One key signs for many logs, under the name of each. */
export function verifiersOf(keys: VerifierKey[], origin: string): Verifier[] {
  return keys.map((key) => noteVerifier(renameKey(key, origin)));
}

/** What is wrong with what was read. Trouble on the way is thrown on. */
export function faultOf(error: unknown): string {
  if (error instanceof TlogError || error instanceof ArchiveError) return withoutStop(error.message);
  throw error;
}

/** What reading all bundles has shown. */
export type Walk = {
  tree: GrowingTree;
  /** The roots at sizes that others remember. */
  trees: Map<number, Tree>;
  breaks: Break[];
  moreBreaks: number;
  /** Bundles of which not every entry could be read, which has been said. */
  unread: Set<number>;
  /** Places in tiles of level 0 that are not what the entries hash to. */
  differing: number[];
  entries: number;
  /** False where it was given up. */
  isWhole: boolean;
};

async function walkBundles(task: LogTask, kit: Kit, follower: Follower, size: number): Promise<Walk> {
  const { origin, files, organizationId, fromIndex } = task;
  const { ledger } = kit;
  const walk: Walk = {
    tree: new GrowingTree(),
    trees: new Map(),
    breaks: [],
    moreBreaks: 0,
    unread: new Set(),
    differing: [],
    entries: 0,
    isWhole: true,
  };
  const sizes = new Set(task.remembered.map(({ tree }) => tree.size));
  const bundles = inOrder(Math.ceil(size / TILE_WIDTH), kit.width, async (n) => {
    const width = tileWidth("entries", n, size);
    const isPruned = (n + 1) * TILE_WIDTH <= fromIndex;
    const [tile, bundle] = await Promise.all([
      readTile(files, n, width),
      isPruned ? null : readBundle(files, n, width),
    ]);
    const result = bundle === null || bundle.fault !== undefined
      ? undefined
      : await kit.check({ ...bundle, width, tile: tile.hashes, organizationId });
    return { n, width, tile, bundle, result, isPruned };
  });
  let missing = 0;
  for await (const { n, width, tile, bundle, result, isPruned } of bundles) {
    const first = n * TILE_WIDTH;
    const isMissing = result === undefined && !isPruned;
    missing = isMissing ? missing + 1 : 0;
    reportFiles(task, kit, { n, width, tile, bundle: isPruned ? undefined : bundle });
    if (isMissing || result?.fault !== undefined) walk.unread.add(n);
    if (missing === MOST_MISSING) {
      const message = `${count(MOST_MISSING)} bundles in a row are missing; the rest was not read.`;
      ledger.found({ code: "missing_bundle", message, log: origin, index: first });
      walk.isWhole = false;
      return walk;
    }
    if (result !== undefined) {
      walk.entries += result.leaves.length / HASH_BYTES;
      if (result.fault === undefined) {
        for (const position of result.differing) walk.differing.push(first + position);
      }
      reportEntries(task, kit, result, n, width);
      takeBreaks(walk, follower.take(result, first));
    }
    // Where entries are not there, hashes stand in for them: so the others can be proved all the same.
    const isRead = result !== undefined && result.fault === undefined;
    const leaves = isRead ? result.leaves : tile.hashes ?? new Uint8Array(width * HASH_BYTES);
    for (const tree of walk.tree.add(leaves, isRead ? result.root : undefined, sizes)) walk.trees.set(tree.size, tree);
    kit.progress.advance(width);
  }
  if (walk.moreBreaks > 0) {
    const message = `${count(walk.moreBreaks)} more entries do not follow the ones before them.`;
    ledger.found({ code: "link_mismatch", message, log: origin });
  }
  return walk;
}

/** What is wrong with the files themselves. */
function reportFiles(
  { origin }: LogTask,
  { ledger }: Kit,
  { n, width, tile, bundle }: { n: number; width: number; tile: ReadTile; bundle: ReadBundle | undefined },
): void {
  const first = n * TILE_WIDTH;
  const at = { log: origin, index: first };
  if (tile.hashes === null) {
    const path = tilePath({ level: 0, index: n, width });
    ledger.found(
      tile.fault === undefined
        ? { code: "missing_tile", message: `${path} is missing.`, ...at }
        : { code: "unreadable_tile", message: `${path} is no hash tile: ${tile.fault}.`, ...at },
    );
  }
  const path = tilePath({ level: "entries", index: n, width });
  const entries = `entries ${count(first)} to ${count(first + width - 1)}`;
  if (bundle === null) {
    ledger.found({ code: "missing_bundle", message: `${path} is missing, and with it ${entries}.`, ...at });
  } else if (bundle?.fault !== undefined) {
    const message = `${path} with ${entries} cannot be read: ${bundle.fault}.`;
    ledger.found({ code: "unreadable_bundle", message, ...at });
  }
}

/** More are counted: an archive may be made to have one at every entry. */
const MOST_BREAKS = 10_000;

function takeBreaks(walk: Walk, breaks: Break[]): void {
  for (const found of breaks) {
    if (walk.breaks.length < MOST_BREAKS) walk.breaks.push(found);
    else walk.moreBreaks++;
  }
}

type ReadTile = { hashes: Uint8Array | null; fault?: string };
type ReadBundle = { bytes: Uint8Array; path: string; fault?: never } | { fault: string } | null;

export async function readTile(files: LogFiles, index: number, width: number, level = 0): Promise<ReadTile> {
  try {
    return { hashes: await files.tile(level, index, width) };
  } catch (error) {
    return { hashes: null, fault: faultOf(error) };
  }
}

export async function readBundle(files: LogFiles, index: number, width: number): Promise<ReadBundle> {
  try {
    return await files.bundle(index, width);
  } catch (error) {
    return { fault: faultOf(error) };
  }
}

/** What is wrong with the entries of a bundle by themselves. */
function reportEntries(
  { origin, organizationId }: LogTask,
  { ledger }: Kit,
  { fault, differing, malformed, foreign }: BundleResult,
  n: number,
  width: number,
): void {
  const first = n * TILE_WIDTH;
  if (fault !== undefined) {
    // A length that was changed swallows the entries behind it: where it begins is where the tile first differs.
    const index = first + Math.min(fault.position, ...differing);
    const path = tilePath({ level: "entries", index: n, width });
    const message = `${path} breaks at the entry with index ${count(index)}: ${withoutStop(fault.message)}.`;
    return ledger.found({ code: "unreadable_bundle", message, log: origin, index });
  }
  const report = (code: "malformed_entry" | "foreign_entry", positions: number[], what: string) => {
    if (positions.length === 0) return;
    const index = first + positions[0]!;
    const others = positions.length === 1 ? "" : ` So with ${count(positions.length - 1)} more in its bundle.`;
    ledger.found({ code, message: `The entry at index ${count(index)} is ${what}.${others}`, log: origin, index });
  };
  report("malformed_entry", malformed, "not an entry of format version 1");
  report("foreign_entry", foreign, `not one of organisation ${organizationId}`);
}

/** The entries are those that were signed. Tiles that say otherwise would mislead whoever trusts them. */
async function compareTiles({ origin, files }: LogTask, { ledger }: Kit, walk: Walk, size: number): Promise<void> {
  const changed = new Map<number, number[]>();
  for (const index of walk.differing) {
    const tile = Math.floor(index / TILE_WIDTH);
    const indexes = changed.get(tile);
    if (indexes === undefined) changed.set(tile, [index]);
    else indexes.push(index);
  }
  for (const [tile, [index, ...others]] of changed) {
    const path = tilePath({ level: 0, index: tile, width: tileWidth(0, tile, size) });
    const rest = others.length === 0 ? "" : ` So with ${count(others.length)} more.`;
    const message = `${path} has another hash for the entry at index ${
      count(index!)
    }, which is itself as it was signed.${rest}`;
    ledger.found({ code: "tile_changed", message, log: origin, index: index! });
  }
  for (const [level, hashes] of walk.tree.levels.entries()) {
    if (level === 0) continue;
    for (let index = 0; index * TILE_WIDTH < hashes.length; index++) {
      const ours = joined(hashes.slice(index * TILE_WIDTH, (index + 1) * TILE_WIDTH));
      const path = tilePath({ level, index, width: ours.length / HASH_BYTES });
      const { hashes: theirs, fault } = await readTile(files, index, ours.length / HASH_BYTES, level);
      if (fault !== undefined) {
        ledger.found({ code: "unreadable_tile", message: `${path} is no hash tile: ${fault}.`, log: origin });
      } else if (theirs === null) {
        ledger.found({ code: "missing_tile", message: `${path} is missing.`, log: origin });
      } else if (!sameBytes(ours, theirs)) {
        const message = `${path} is not what the entries hash to, which are themselves as they were signed.`;
        ledger.found({ code: "tile_changed", message, log: origin });
      }
    }
  }
}

/** Whether what others remember of the log is its beginning. */
function compareRemembered({ origin, remembered }: LogTask, { ledger }: Kit, walk: Walk, checkpoint: Checkpoint): void {
  const here = count(checkpoint.size);
  const found = remembered.flatMap(({ tree, what }): Finding[] => {
    const there = count(tree.size);
    if (tree.size > checkpoint.size) {
      const message =
        `${what} has ${there} entries and this archive only ${here}: it is older than what was seen before, ` +
        "or its end was cut off.";
      return [{ code: "rolled_back", message, log: origin }];
    }
    if (tree.size === 0 || sameBytes(walk.trees.get(tree.size)!.root, tree.root)) return [];
    const message = tree.size === checkpoint.size
      ? `${what} is of the same size, ${there} entries, but of others: two histories were signed.`
      : `${what} is over ${there} entries that are not the first ones of this log: two histories were signed.`;
    return [{ code: "forked", message, log: origin }];
  });
  for (const finding of found.slice(0, MOST_REMEMBERED)) ledger.found(finding);
  const [next] = found.slice(MOST_REMEMBERED);
  if (next === undefined) return;
  ledger.found({
    ...next,
    message: `So with ${count(found.length - MOST_REMEMBERED)} more checkpoints that others remember.`,
  });
}

/** After a fork every later checkpoint in the anchor log is another one, too. */
const MOST_REMEMBERED = 10;

/** Whether a chain has a gap because of a bundle that could not be read, which has been said. */
export function isOfUnread({ code, log, index, before }: Break, { unread }: Walk): boolean {
  const from = before?.log === log ? before!.index : 0;
  return code === "entries_missing" && [...unread].some((n) => (n + 1) * TILE_WIDTH > from && n * TILE_WIDTH <= index!);
}

/** A log of which only the checkpoint was kept. */
async function isExpired(files: LogFiles, size: number): Promise<boolean> {
  if (size === 0) return false;
  const width = tileWidth(0, 0, size);
  const [tile, bundle] = await Promise.all([readTile(files, 0, width), readBundle(files, 0, width)]);
  return bundle === null && tile.hashes === null && tile.fault === undefined;
}

function withoutStop(message: string): string {
  return message.replace(/\.$/, "");
}
