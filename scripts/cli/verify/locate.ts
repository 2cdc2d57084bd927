/**
 * Where a log differs from what was signed. The signed root vouches for the hashes at the right edge of the tree, these
 * vouch for the tiles below them, and so on downwards, as far as tiles are as they were signed: to single entries where
 * the lowest tile is, to the 256 entries of a bundle where only the one above it is, and so on.
 */
import { treeOf } from "../../../functions/_shared/tlog/frontier.ts";
import { type Hash, HASH_BYTES, type Tree } from "../../../functions/_shared/tlog/hash.ts";
import { partialTiles, TILE_WIDTH } from "../../../functions/_shared/tlog/tile.ts";
import { perfectRootOf, sameBytes } from "./hashing.ts";
import type { Range } from "./ranges.ts";

/** The hashes of a tile; null where there is none. */
export type TileHashes = (level: number, index: number, width: number) => Promise<Uint8Array | null>;

/**
 * Ranges at least one entry of which is not the one that was signed; all others are. Undefined where not even the tiles at the right edge lead to the signed
 * root: then nothing vouches for any of them.
 */
export async function locate(signed: Tree, stored: TileHashes, recomputed: TileHashes): Promise<Range[] | undefined> {
  const edge = partialTiles(signed.size).flatMap(({ level, index, width }) =>
    level === "entries" ? [] : [{ level, index, width }]
  );
  const candidates = await Promise.all(edge.map(async ({ level, index, width }) => {
    const ours = (await recomputed(level, index, width))!;
    const theirs = await stored(level, index, width);
    return theirs === null || sameBytes(ours, theirs) ? [ours] : [ours, theirs];
  }));
  const signedEdge = combinations(candidates).find((tiles) => sameBytes(rootOf(signed.size, tiles), signed.root));
  if (signedEdge === undefined) return undefined;

  const suspects: Range[] = [];
  /** Follows the hashes of a tile that is as it was signed. */
  const follow = async (level: number, index: number, hashes: Uint8Array): Promise<void> => {
    const width = hashes.length / HASH_BYTES;
    const ours = (await recomputed(level, index, width))!;
    for (let at = 0; at < width; at++) {
      const hash = hashes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES);
      if (sameBytes(hash, ours.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES))) continue;
      await descend(level, index * TILE_WIDTH + at, hash);
    }
  };
  const descend = async (level: number, index: number, hash: Hash): Promise<void> => {
    const below = level === 0 ? null : await stored(level - 1, index, TILE_WIDTH);
    if (below !== null && sameBytes(perfectRootOf(below), hash)) return follow(level - 1, index, below);
    const span = TILE_WIDTH ** level;
    suspects.push({ from: index * span, to: (index + 1) * span });
  };
  for (const [at, { level, index }] of edge.entries()) await follow(level, index, signedEdge[at]!);
  return suspects.sort((a, b) => a.from - b.from);
}

/** The root over what the tiles at the right edge hold, the lowest first. */
function rootOf(size: number, tiles: Uint8Array[]): Hash {
  const peaks: Hash[] = [];
  for (const tile of [...tiles].reverse()) {
    const width = tile.length / HASH_BYTES;
    let from = 0;
    for (let count = TILE_WIDTH / 2; count >= 1; count /= 2) {
      if (width - from < count) continue;
      peaks.push(perfectRootOf(tile.subarray(from * HASH_BYTES, (from + count) * HASH_BYTES)));
      from += count;
    }
  }
  return treeOf({ size, peaks }).root;
}

/** Every way to take one of each: at most two of each of the seven levels that 2^53 entries need. */
function combinations<T>(candidates: T[][]): T[][] {
  return candidates.reduce<T[][]>((ways, choices) => ways.flatMap((way) => choices.map((choice) => [...way, choice])), [
    [],
  ]);
}
