// Which entries a log was signed over, where those who should know disagree: database, bundles and hash tiles each name a
// leaf hash for every entry, and only the right ones lead to the root that was signed.
import { type Frontier, packFrontier, pushLeaf, treeOf, unpackFrontier } from "../_shared/tlog/frontier.ts";
import type { Hash } from "../_shared/tlog/hash.ts";
import { equalBytes } from "../_shared/tlog/text.ts";
import { TILE_HEIGHT, TILE_WIDTH, tilePath } from "../_shared/tlog/tile.ts";

/** Leaf hashes from the same index on; undefined where a source does not know. */
export type Sources = Record<"database" | "bundles" | "tiles", (Hash | undefined)[]>;

/** A log, read on: its leaves, where it stands now, and the root over every tile that became full, by the tile's path. */
export type Grown = { leaves: Hash[]; frontier: Frontier; tileRoots: Map<string, Hash> };

/**
 * The leaves that lead from a frontier to one signed root after the other, the roots given by the size that they are of.
 * It ends before the first root that none of the sources leads to.
 */
export function sealedLeaves(from: Frontier, sources: Sources, signed: Map<number, Hash>): Grown {
  let grown: Grown = { leaves: [], frontier: from, tileRoots: new Map() };
  const roots = [...signed].filter(([size]) => size > from.size).sort(([a], [b]) => a - b);
  for (const [size, root] of roots) {
    const next = firstOf(CHOICES, (choose) => grow(grown, size - from.size, root, sources, choose));
    if (next === undefined) break;
    grown = next;
  }
  return grown;
}

type Choose = (database: Hash | undefined, bundle: Hash | undefined, tile: Hash | undefined) => Hash | undefined;

/** Two who agree are mostly right; where two were changed alike, the third is. */
const CHOICES: Choose[] = [
  (database, bundle, tile) => isSame(bundle, tile) ? bundle : database ?? bundle ?? tile,
  (database, bundle, tile) => database ?? bundle ?? tile,
  (database, bundle, tile) => bundle ?? tile ?? database,
  (database, bundle, tile) => tile ?? bundle ?? database,
];

/** The log with so many more leaves, if they lead to the root. */
function grow(
  { leaves, frontier, tileRoots }: Grown,
  count: number,
  root: Hash,
  { database, bundles, tiles }: Sources,
  choose: Choose,
): Grown | undefined {
  const grown: Grown = {
    leaves: [...leaves],
    frontier: unpackFrontier(frontier.size, packFrontier(frontier)),
    tileRoots: new Map(tileRoots),
  };
  for (let at = leaves.length; at < count; at++) {
    const leaf = choose(database[at], bundles[at], tiles[at]);
    if (leaf === undefined) return undefined;
    const index = grown.frontier.size;
    pushLeaf(grown.frontier, leaf, (height, subtree) => {
      if (height === 0 || height % TILE_HEIGHT !== 0) return;
      const tile = { level: height / TILE_HEIGHT - 1, index: Math.floor(index / 2 ** height), width: TILE_WIDTH };
      grown.tileRoots.set(tilePath(tile), subtree);
    });
    grown.leaves.push(leaf);
  }
  return equalBytes(treeOf(grown.frontier).root, root) ? grown : undefined;
}

function firstOf<A, B>(candidates: A[], attempt: (candidate: A) => B | undefined): B | undefined {
  for (const candidate of candidates) {
    const result = attempt(candidate);
    if (result !== undefined) return result;
  }
  return undefined;
}

function isSame(a: Hash | undefined, b: Hash | undefined): boolean {
  return a !== undefined && b !== undefined && equalBytes(a, b);
}
