/**
 * What was changed in a log whose entries do not lead to the signed root: as exactly as its files, its links and what
 * others remember of it allow. An owner who changes an old entry will hash its chain again to the end, so that every link
 * fits; the first of the changed entries is the one to name.
 */
import type { Checkpoint } from "../../../functions/_shared/tlog/checkpoint.ts";
import { formatHex } from "../../../functions/_shared/tlog/text.ts";
import { TILE_WIDTH, tileWidth } from "../../../functions/_shared/tlog/tile.ts";
import { HASH_BYTES } from "../../../functions/_shared/tlog/hash.ts";
import type { Break, Head } from "./chains.ts";
import { newScanned, scanEntry, unhex } from "./entry_scan.ts";
import { joined } from "./growing_tree.ts";
import { leafHashes, sameBytes } from "./hashing.ts";
import { count, plural } from "./ledger.ts";
import { locate } from "./locate.ts";
import { isOfUnread, type Kit, type LogTask, readBundle, readTile, type Walk } from "./log.ts";
import { isIn, type Range, Ranges } from "./ranges.ts";

/** An entry as it stands in the archive. */
type Standing = { index: number; chain: number; seq: number; hash: string; prevHash: string };

/** So many bundles are read once more to tell the chains in them apart. */
const MOST_READ_AGAIN = 64;
/** So many entries are named one by one. */
const MOST_NAMED = 50;

export async function explain(
  task: LogTask,
  kit: Kit,
  walk: Walk,
  checkpoint: Checkpoint,
  heads: ReadonlyMap<number, Head>,
): Promise<void> {
  const log = task.origin;
  const { ledger } = kit;
  const leaves = rememberedLeaves(task, kit, checkpoint.size);
  const located = await locate(
    checkpoint,
    async (level, index, width) => (await readTile(task.files, index, width, level)).hashes,
    async (level, index, width) =>
      level === 0
        ? leaves(index)
        : joined(walk.tree.levels[level]!.slice(index * TILE_WIDTH, index * TILE_WIDTH + width)),
  );
  const bounds = boundsOf(task, walk, checkpoint.size);
  const suspects = (located ?? [bounds]).filter(({ from, to }) => !isUnread(walk, from, to));
  const exact = suspects.filter(({ from, to }) => to - from === 1).map(({ from }) => from);
  const wide = suspects.filter(({ from, to }) => to - from > 1);

  await nameExact(exact, task, kit, checkpoint.size);
  const named = new Ranges(suspects.filter(({ from, to }) => to - from === 1));
  const breaks = walk.breaks.filter((found) => !isOfUnread(found, walk) && !isExact(named, found, log));
  // Where nothing vouches for what is behind, all of it is in doubt.
  const inDoubt = located === undefined ? [{ from: bounds.from, to: checkpoint.size }] : suspects;
  const doubt = new Doubt(log, new Ranges(inDoubt), breaks, heads);
  const told = breaks.map((found) => doubt.tell(found));
  const isTold = wide.length === 1 &&
    told.some(({ code, index }) => code === "entry_changed" && isIn(wide[0]!, index!));
  if (wide.length > 0 && !isTold) await nameWide(wide, located === undefined, doubt, task, kit, checkpoint.size);
  for (const found of told) ledger.found(found);
}

/** Which entries are not proved. Beside hashes, links prove: an entry that is as it was signed vouches for all before it. */
class Doubt {
  readonly #log: string;
  readonly #suspects: Ranges;
  readonly #breaks: Break[];
  /** Where the last break of each chain is. */
  readonly #lastBreaks = new Map<number, number>();
  readonly #heads: ReadonlyMap<number, Head>;

  constructor(log: string, suspects: Ranges, breaks: Break[], heads: ReadonlyMap<number, Head>) {
    this.#log = log;
    this.#suspects = suspects;
    this.#breaks = breaks;
    this.#heads = heads;
    for (const { chain, index } of breaks) this.#lastBreaks.set(chain!, index!);
  }

  isAbout(chain: number, index: number): boolean {
    if (!this.#suspects.has(index)) return false;
    const head = this.#heads.get(chain);
    const isHeadProved = head?.log === this.#log && !this.#suspects.has(head.index);
    return !isHeadProved || (this.#lastBreaks.get(chain) ?? -1) > index;
  }

  /** Of two entries that do not fit together, one may be proved: then it is the other. */
  tell(found: Break): Break {
    const { code, chain, before, index, entry, log } = found;
    if (code !== "link_mismatch" || before === undefined || before.log !== log) return found;
    const [first, second] = [this.isAbout(chain!, before.index), this.isAbout(chain!, index!)];
    if (first === second) return found;
    const [name, place, other] = first ? [before.name, before.index, entry] : [entry!, index!, before.name];
    const message =
      `Entry ${name} (index ${count(place)}) is not the one that was signed: ${other}, which is, does not ` +
      "fit to it.";
    return { code: "entry_changed", message, log, index: place, entry: name };
  }

  /** Whether two entries in a range do not fit together. */
  isBroken(range: Range): boolean {
    return this.#breaks.some(({ index, before, log }) =>
      isIn(range, index!) || before !== undefined && before.log === log && isIn(range, before.index)
    );
  }
}

/** Which entries are between what somebody remembers rightly and what somebody remembers otherwise. */
function boundsOf({ remembered }: LogTask, { trees }: Walk, size: number): Range {
  const bounds = { from: 0, to: size };
  for (const { tree } of remembered) {
    const ours = trees.get(tree.size);
    if (ours === undefined) continue;
    if (sameBytes(ours.root, tree.root)) bounds.from = Math.max(bounds.from, tree.size);
    else bounds.to = Math.min(bounds.to, tree.size);
  }
  // Of others who contradict each other, none narrows it.
  return bounds.from < bounds.to ? bounds : { from: 0, to: size };
}

/** Whether it has been said already that these entries could not be read. */
function isUnread({ unread }: Walk, from: number, to: number): boolean {
  for (let n = Math.floor(from / TILE_WIDTH); n * TILE_WIDTH < to; n++) if (!unread.has(n)) return false;
  return true;
}

/** Entries that follow each other by their links, from the first: whoever changes one hashes the others again to fit. */
type Run = { first: number; entry: Standing | undefined; others: number };

async function nameExact(indexes: number[], task: LogTask, kit: Kit, size: number): Promise<void> {
  const log = task.origin;
  const runs: Run[] = [];
  /** Runs by what the next entry of each would link to. */
  const open = new Map<string, Run>();
  let bundle: { n: number; entries: (Standing | undefined)[] } | undefined;
  for (const index of indexes) {
    const n = Math.floor(index / TILE_WIDTH);
    if (bundle?.n !== n) bundle = { n, entries: await read(n, task, kit, size) };
    const entry = bundle.entries[index - n * TILE_WIDTH];
    let run = entry && open.get(`${entry.chain}-${entry.seq} ${entry.prevHash}`);
    if (run === undefined) runs.push(run = { first: index, entry, others: 0 });
    else run.others++;
    if (entry !== undefined) open.set(`${entry.chain}-${entry.seq + 1} ${entry.hash}`, run);
  }
  for (const { first: index, entry, others } of runs.slice(0, MOST_NAMED)) {
    const name = entry === undefined ? undefined : `${entry.chain}-${entry.seq}`;
    const which = name === undefined ? `The entry at index ${count(index)}` : `Entry ${name} (index ${count(index)})`;
    const rest = others === 0
      ? ""
      : ` ${plural(others, "later entry", "later entries")} of its chain ${
        others === 1 ? "was" : "were"
      } hashed again to fit.`;
    const message = `${which} is not the one that was signed: it was changed after it was sealed.${rest}`;
    kit.ledger.found({ code: "entry_changed", message, log, index, ...(name === undefined ? {} : { entry: name }) });
  }
  if (runs.length > MOST_NAMED) {
    const message = `${count(runs.length - MOST_NAMED)} more entries are not those that were signed.`;
    kit.ledger.found({ code: "entries_changed", message, log, index: runs[MOST_NAMED]!.first });
  }
}

/** The entries are known but for a range: links to entries that are proved leave fewer of it. */
async function nameWide(
  wide: Range[],
  nothingVouches: boolean,
  doubt: Doubt,
  task: LogTask,
  kit: Kit,
  size: number,
): Promise<void> {
  const log = task.origin;
  const { from, to } = wide[0]!;
  const range = to - from === size ? "in this log" : `with index ${count(from)} to ${count(to - 1)}`;
  const others = wide.reduce((sum, suspect) => sum + suspect.to - suspect.from, 0) - (to - from);
  const why = nothingVouches
    ? "The files of this log agree with each other, but not with the signed checkpoint: entries and hash tiles were " +
      "changed together."
    : "Bundles and the hash tiles over them were changed together.";
  const parts = [why];
  let first: Standing | undefined;
  if (to - from < size && !doubt.isBroken(wide[0]!) && (to - from) / TILE_WIDTH <= MOST_READ_AGAIN) {
    const candidates = await candidatesIn(wide[0]!, doubt, task, kit, size);
    first = candidates[0]?.[0];
    if (candidates.length > 0 && candidates.length <= MOST_NAMED) {
      const named = candidates.map((entries) => {
        const [a, b] = [entries[0]!, entries.at(-1)!];
        return entries.length === 1 ? `${a.chain}-${a.seq}` : `${a.chain}-${a.seq} to ${b.chain}-${b.seq}`;
      });
      parts.push(`The first that was changed is among entries ${named.join(", ")} (${range}).`);
    }
  }
  if (parts.length === 1) parts.push(`What was changed is among the entries ${range}.`);
  if (others > 0) parts.push(`${count(others)} entries behind are in doubt as well, as if hashed again to fit.`);
  if (nothingVouches) {
    parts.push("A remembered checkpoint (--old), receipts or an older copy of the archive can tell more.");
  }
  const entry = first === undefined ? {} : { entry: `${first.chain}-${first.seq}` };
  kit.ledger.found({ code: "entries_changed", message: parts.join(" "), log, index: first?.index ?? from, ...entry });
}

/** Entries of the first range, by chain: of those chains that no entry behind it vouches for by its links. */
async function candidatesIn(range: Range, doubt: Doubt, task: LogTask, kit: Kit, size: number): Promise<Standing[][]> {
  const chains = new Map<number, Standing[]>();
  for (let n = Math.floor(range.from / TILE_WIDTH); n * TILE_WIDTH < range.to; n++) {
    for (const entry of await read(n, task, kit, size)) {
      if (entry === undefined || !isIn(range, entry.index) || !doubt.isAbout(entry.chain, entry.index)) continue;
      const entries = chains.get(entry.chain);
      if (entries === undefined) chains.set(entry.chain, [entry]);
      else entries.push(entry);
    }
  }
  return [...chains.values()];
}

async function read(n: number, { files, organizationId }: LogTask, kit: Kit, size: number) {
  const width = tileWidth("entries", n, size);
  const bundle = await readBundle(files, n, width);
  const isThere = bundle !== null && bundle.fault === undefined;
  const entries = isThere ? await kit.entries({ ...bundle, width, tile: null, organizationId }) : [];
  const hashes = leafHashes(entries);
  return entries.map((entry, position): Standing | undefined => {
    const scanned = newScanned();
    if (!scanEntry(entry, scanned)) return undefined;
    return {
      index: n * TILE_WIDTH + position,
      chain: scanned.chain,
      seq: scanned.seq,
      hash: formatHex(hashes.subarray(position * HASH_BYTES, (position + 1) * HASH_BYTES)),
      prevHash: formatHex(unhex(entry, scanned.prevHashAt)),
    };
  });
}

/** The leaf hashes of bundles, recomputed; where entries are missing, those of the tile, as when the tree was built. */
function rememberedLeaves({ files }: LogTask, kit: Kit, size: number): (n: number) => Promise<Uint8Array> {
  return async (n) => {
    const width = tileWidth("entries", n, size);
    const bundle = await readBundle(files, n, width);
    const isThere = bundle !== null && bundle.fault === undefined;
    const entries = isThere ? await kit.entries({ ...bundle, width, tile: null }) : [];
    if (entries.length === width) return leafHashes(entries);
    return (await readTile(files, n, width)).hashes ?? new Uint8Array(width * HASH_BYTES);
  };
}

/** Whether a break only shows what has been named exactly: of its two entries, or of what should stand between them. */
function isExact(named: Ranges, { code, log, index, before }: Break, origin: string): boolean {
  if (log !== origin) return false;
  const from = before?.log === log ? before!.index : -1;
  return named.has(index!) || named.has(from) || code === "entries_missing" && named.meets({ from, to: index! });
}
