/** The tree over a log's leaf hashes as they come in, bundle by bundle, with its roots at sizes that are asked about. */
import { emptyFrontier, type Frontier, pushLeaf, treeOf } from "../../../functions/_shared/tlog/frontier.ts";
import { type Hash, HASH_BYTES, type Tree } from "../../../functions/_shared/tlog/hash.ts";
import { TILE_WIDTH } from "../../../functions/_shared/tlog/tile.ts";
import { perfectRootOf } from "./hashing.ts";

export class GrowingTree {
  /** Level by level, the hashes that tiles above the leaves hold: of level 1 the root of each full bundle, and so on. */
  readonly levels: Hash[][] = [];
  /** Of full bundles: a tree over their roots has the same peaks as the one over their leaves. */
  readonly #bundles: Frontier = emptyFrontier();
  #last: Frontier = emptyFrontier();

  /** Adds the next bundle's leaves (only the last may have fewer than 256), and answers the roots at sizes in it. */
  add(leaves: Uint8Array, root: Hash | undefined, sizes: Set<number>): Tree[] {
    const before = this.#bundles.size * TILE_WIDTH;
    const width = leaves.length / HASH_BYTES;
    const trees: Tree[] = [];
    const isAsked = Array.from({ length: width }, (_, at) => sizes.has(before + at + 1));
    if (width < TILE_WIDTH || isAsked.includes(true)) {
      this.#last = emptyFrontier();
      for (let at = 0; at < width; at++) {
        pushLeaf(this.#last, leaves.slice(at * HASH_BYTES, (at + 1) * HASH_BYTES));
        if (isAsked[at]) trees.push(this.tree());
      }
    }
    if (width === TILE_WIDTH) {
      this.#last = emptyFrontier();
      this.#push(root ?? perfectRootOf(leaves));
    }
    return trees;
  }

  tree(): Tree {
    return treeOf({
      size: this.#bundles.size * TILE_WIDTH + this.#last.size,
      peaks: [...this.#bundles.peaks, ...this.#last.peaks],
    });
  }

  #push(root: Hash): void {
    pushLeaf(this.#bundles, root);
    for (let level = 1, hash = root;; level++) {
      const hashes = this.levels[level] ??= [];
      hashes.push(hash);
      if (hashes.length % TILE_WIDTH !== 0) return;
      hash = perfectRootOf(joined(hashes.slice(-TILE_WIDTH)));
    }
  }
}

export function joined(hashes: Hash[]): Uint8Array {
  const bytes = new Uint8Array(hashes.length * HASH_BYTES);
  hashes.forEach((hash, at) => bytes.set(hash, at * HASH_BYTES));
  return bytes;
}
