/**
 * Proofs out of tiles: PATH and PROOF of RFC 6962, sections 2.1.1 and 2.1.2. Tiles are not trusted: a proof that does
 * not verify against the tree is not handed out but is the error `root_mismatch`.
 */
import { TlogError } from "./error.ts";
import { emptyRoot, type Hash, HASH_BYTES, nodeHash, perfectRoot, type Tree } from "./hash.ts";
import { verifyConsistency, verifyInclusion } from "./proof.ts";
import { rememberTiles, TILE_HEIGHT, TILE_WIDTH, tileHashes, type TileReader, tileWidth } from "./tile.ts";

/** The entries from `from` to before `to`. */
type Range = { from: number; to: number };

/** That the leaf stands at `index` of the tree: hashes from the leaf's sibling to the root's child. */
export async function proveInclusion(tree: Tree, index: number, leaf: Hash, read: TileReader): Promise<Hash[]> {
  if (!Number.isSafeInteger(index) || index < 0 || index >= tree.size) {
    throw new TlogError("out_of_range", `there is no entry ${index} in a log of ${tree.size}`);
  }
  const path = await rootsOf(inclusionRanges(index, { from: 0, to: tree.size }), tree.size, read);
  if (!verifyInclusion(leaf, index, tree, path)) {
    throw new TlogError("root_mismatch", `the tiles do not prove entry ${index} of ${tree.size}`);
  }
  return path;
}

/** That the tree begins with all that it had at an older size. */
export async function proveConsistency(olderSize: number, tree: Tree, read: TileReader): Promise<Hash[]> {
  const tiles = rememberTiles(read);
  const older = await treeAt(olderSize, tree.size, tiles);
  const ranges = olderSize === 0 ? [] : consistencyRanges(olderSize, { from: 0, to: tree.size }, true);
  const path = await rootsOf(ranges, tree.size, tiles);
  if (!verifyConsistency(older, tree, path)) {
    throw new TlogError("root_mismatch", `the tiles do not prove that ${tree.size} entries continue ${olderSize}`);
  }
  return path;
}

/** The tree of the first entries, by the tiles of a log that has more. It is as true as these tiles are. */
export async function treeAt(size: number, tilesOfSize: number, read: TileReader): Promise<Tree> {
  if (!Number.isSafeInteger(size) || size < 0 || size > tilesOfSize) {
    throw new TlogError("out_of_range", `there are no ${size} entries in a log of ${tilesOfSize}`);
  }
  if (size === 0) return { size, root: emptyRoot() };
  const [root] = await rootsOf([{ from: 0, to: size }], tilesOfSize, read);
  return { size, root: root! };
}

/** RFC 6962, section 2.1.1: PATH. */
function inclusionRanges(index: number, { from, to }: Range): Range[] {
  if (to - from === 1) return [];
  const middle = from + split(to - from);
  return index < middle
    ? [...inclusionRanges(index, { from, to: middle }), { from: middle, to }]
    : [...inclusionRanges(index, { from: middle, to }), { from, to: middle }];
}

/** RFC 6962, section 2.1.2: SUBPROOF, with m counted from the first entry of all. */
function consistencyRanges(older: number, { from, to }: Range, complete: boolean): Range[] {
  if (older === to) return complete ? [] : [{ from, to }];
  const middle = from + split(to - from);
  return older <= middle
    ? [...consistencyRanges(older, { from, to: middle }, complete), { from: middle, to }]
    : [...consistencyRanges(older, { from: middle, to }, false), { from, to: middle }];
}

/** MTH of each range; the tiles that they need are asked for all at once. */
function rootsOf(ranges: Range[], size: number, read: TileReader): Promise<Hash[]> {
  const tiles = rememberTiles(read);
  return Promise.all(ranges.map((range) => rootOf(range, size, tiles)));
}

async function rootOf({ from, to }: Range, size: number, read: TileReader): Promise<Hash> {
  const count = to - from;
  const height = heightOf(count);
  if (height !== undefined && from % count === 0) return perfectRoot(await subtree(height, from / count, size, read));
  const middle = from + split(count);
  const [left, right] = await Promise.all([
    rootOf({ from, to: middle }, size, read),
    rootOf({ from: middle, to }, size, read),
  ]);
  return nodeHash(left, right);
}

/** The hashes in a tile whose perfect tree is the subtree of this height. */
async function subtree(height: number, index: number, size: number, read: TileReader): Promise<Uint8Array> {
  const level = Math.floor(height / TILE_HEIGHT);
  const count = 2 ** (height % TILE_HEIGHT);
  const tile = Math.floor(index * count / TILE_WIDTH);
  const width = tileWidth(level, tile, size);
  const from = index * count - tile * TILE_WIDTH;
  const hashes = tileHashes(await read(level, tile, width), width);
  return hashes.subarray(from * HASH_BYTES, (from + count) * HASH_BYTES);
}

/** The largest power of two below a count. */
function split(count: number): number {
  let power = 1;
  while (power * 2 < count) power *= 2;
  return power;
}

/** The k of a count that is 2^k. */
function heightOf(count: number): number | undefined {
  let height = 0;
  let rest = count;
  for (; rest % 2 === 0; rest /= 2) height++;
  return rest === 1 ? height : undefined;
}
