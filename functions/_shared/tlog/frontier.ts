/**
 * The right edge of a tree in as few hashes as can be: the roots of the perfect subtrees that it consists of, largest
 * first, one for each bit of its size. With it a tree grows and its root is known without reading anything else.
 * (Elsewhere a "compact range": https://github.com/transparency-dev/merkle/blob/main/docs/compact_ranges.md.)
 */
import { TlogError } from "./error.ts";
import { emptyRoot, type Hash, HASH_BYTES, nodeHash, type Tree } from "./hash.ts";
import { concatBytes } from "./text.ts";

export type Frontier = { size: number; peaks: Hash[] };

export function emptyFrontier(): Frontier {
  return { size: 0, peaks: [] };
}

/**
 * Adds a leaf at the end, in place. `onSubtree` learns the root of every perfect subtree that the leaf completes, from
 * the leaf itself (height 0) upwards.
 */
export function pushLeaf(frontier: Frontier, leaf: Hash, onSubtree?: (height: number, root: Hash) => void): void {
  let root = leaf;
  onSubtree?.(0, root);
  // Arithmetic, not shifts: those end at 32 bits.
  for (let rest = frontier.size, height = 1; rest % 2 === 1; rest = (rest - 1) / 2, height++) {
    root = nodeHash(frontier.peaks.pop()!, root);
    onSubtree?.(height, root);
  }
  frontier.peaks.push(root);
  frontier.size++;
}

export function treeOf(frontier: Frontier): Tree {
  const root = frontier.peaks.reduceRight<Hash | undefined>(
    (right, peak) => right === undefined ? peak : nodeHash(peak, right),
    undefined,
  );
  return { size: frontier.size, root: root ?? emptyRoot() };
}

/** The peaks as they are stored: one after the other, largest first. */
export function packFrontier(frontier: Frontier): Uint8Array {
  return concatBytes(...frontier.peaks);
}

export function unpackFrontier(size: number, packed: Uint8Array): Frontier {
  if (!Number.isSafeInteger(size) || size < 0 || packed.length !== HASH_BYTES * countOnes(size)) {
    throw new TlogError("malformed_frontier", `${packed.length} bytes are not the frontier of ${size} entries`);
  }
  const peaks: Hash[] = [];
  for (let at = 0; at < packed.length; at += HASH_BYTES) peaks.push(packed.slice(at, at + HASH_BYTES));
  return { size, peaks };
}

function countOnes(size: number): number {
  let ones = 0;
  for (let rest = size; rest > 0; rest = Math.floor(rest / 2)) ones += rest % 2;
  return ones;
}
