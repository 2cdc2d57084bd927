/**
 * Whether a proof proves: RFC 9162, sections 2.1.3.2 and 2.1.4.2, over the trees of RFC 6962, section 2.1. Nothing that
 * is given here needs to be trusted but the tree.
 */
import { emptyRoot, formatHash, type Hash, HASH_BYTES, nodeHash, parseHash, type Tree } from "./hash.ts";
import { equalBytes } from "./text.ts";

/** The most that C2SP tlog-witness lets a proof have. */
const MAX_PATH_HASHES = 63;

/** Whether the leaf is the one at `index` of the tree. The path begins with the leaf's sibling. */
export function verifyInclusion(leaf: Hash, index: number, tree: Tree, path: Hash[]): boolean {
  if (!isSize(index) || !isSize(tree.size) || index >= tree.size || !areHashes([leaf, tree.root, ...path])) {
    return false;
  }
  let node = index;
  let last = tree.size - 1;
  let root = leaf;
  for (const hash of path) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      root = nodeHash(hash, root);
      while (node % 2 === 0 && node !== 0) [node, last] = [above(node), above(last)];
    } else {
      root = nodeHash(root, hash);
    }
    [node, last] = [above(node), above(last)];
  }
  return last === 0 && equalBytes(root, tree.root);
}

/** Whether the newer tree begins with the entries of the older one, unchanged and in their order. */
export function verifyConsistency(older: Tree, newer: Tree, path: Hash[]): boolean {
  if (!isSize(older.size) || !isSize(newer.size) || older.size > newer.size) return false;
  if (!areHashes([older.root, newer.root, ...path])) return false;
  if (older.size === 0) {
    return path.length === 0 && equalBytes(older.root, emptyRoot()) &&
      (newer.size > 0 || equalBytes(newer.root, older.root));
  }
  if (older.size === newer.size) return path.length === 0 && equalBytes(older.root, newer.root);
  // Of an older tree that is perfect, the root is itself the first node, and left out of the path.
  const [first, ...rest] = isPowerOfTwo(older.size) ? [older.root, ...path] : path;
  if (first === undefined) return false;
  let node = older.size - 1;
  let last = newer.size - 1;
  while (node % 2 === 1) [node, last] = [above(node), above(last)];
  let olderRoot = first;
  let newerRoot = first;
  for (const hash of rest) {
    if (last === 0) return false;
    if (node % 2 === 1 || node === last) {
      olderRoot = nodeHash(hash, olderRoot);
      newerRoot = nodeHash(hash, newerRoot);
      while (node % 2 === 0 && node !== 0) [node, last] = [above(node), above(last)];
    } else {
      newerRoot = nodeHash(newerRoot, hash);
    }
    [node, last] = [above(node), above(last)];
  }
  return last === 0 && equalBytes(olderRoot, older.root) && equalBytes(newerRoot, newer.root);
}

/** A path as receipts and witnesses have it: a line of base64 for each hash. */
export function formatPath(path: Hash[]): string {
  return path.map((hash) => `${formatHash(hash)}\n`).join("");
}

/** Undefined where a line is not a hash, or where no tree is so high. */
export function parsePath(lines: string[]): Hash[] | undefined {
  if (lines.length > MAX_PATH_HASHES) return undefined;
  const path = lines.map(parseHash);
  return path.every((hash) => hash !== undefined) ? path : undefined;
}

function isSize(value: number): boolean {
  return Number.isSafeInteger(value) && value >= 0;
}

function areHashes(values: Uint8Array[]): boolean {
  return values.every((value) => value.length === HASH_BYTES);
}

/** A shift to the right, of numbers that have more than 32 bits. */
function above(node: number): number {
  return Math.floor(node / 2);
}

function isPowerOfTwo(size: number): boolean {
  let rest = size;
  while (rest % 2 === 0) rest /= 2;
  return rest === 1;
}
