// What was signed is found again as long as every interval between two checkpoints has it somewhere, and nothing else is
// ever taken for it.
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sealedLeaves, type Sources } from "../../functions/audit-jobs/sealed_leaves.ts";
import { emptyFrontier, packFrontier, pushLeaf, treeOf } from "../../functions/_shared/tlog/frontier.ts";
import type { Hash } from "../../functions/_shared/tlog/hash.ts";
import { perfectRoot } from "../../functions/_shared/tlog/hash.ts";
import { concatBytes, formatHex } from "../../functions/_shared/tlog/text.ts";

const NAMES: (keyof Sources)[] = ["database", "bundles", "tiles"];

const leaf = (text: unknown): Hash => new Uint8Array(createHash("sha256").update(String(text)).digest());

function log(size: number, sizes: number[]) {
  const truth = Array.from({ length: size }, (_, at) => leaf(at));
  const frontier = emptyFrontier();
  const signed = new Map<number, Hash>();
  for (const hash of truth) {
    pushLeaf(frontier, hash);
    if (sizes.includes(frontier.size)) signed.set(frontier.size, treeOf(frontier).root);
  }
  const sources: Sources = { database: [...truth], bundles: [...truth], tiles: [...truth] };
  return { truth, signed, sources, frontier };
}

const hex = (hashes: (Hash | undefined)[]) => hashes.map((hash) => hash && formatHex(hash));

describe("where sources disagree", () => {
  test("what two of them agree on is taken, however many of them are wrong somewhere", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 90 }),
        fc.array(fc.constantFrom(0, 1, 2, 3)),
        fc.boolean(),
        (size, wrong, isGone) => {
          const { truth, signed, sources } = log(size, [size]);
          wrong.slice(0, size).forEach((which, at) => {
            if (which < 3) sources[NAMES[which]!][at] = isGone ? undefined : leaf(`wrong ${at}`);
          });
          // A source that is gone agrees with nobody: the others must.
          expect(hex(sealedLeaves(emptyFrontier(), sources, signed).leaves)).toEqual(hex(truth));
        },
      ),
    );
  });

  test.each(NAMES)("%s alone are enough, whatever the others say", (right) => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 90 }), fc.boolean(), (size, isAlike) => {
      const { truth, signed, sources } = log(size, [size]);
      for (const name of NAMES) {
        if (name !== right) sources[name] = sources[name].map((_, at) => leaf(`${isAlike ? "both" : name} ${at}`));
      }
      expect(hex(sealedLeaves(emptyFrontier(), sources, signed).leaves)).toEqual(hex(truth));
    }));
  });

  test("each interval is decided by itself, and the first that nobody knows ends it", () => {
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.integer({ min: 1, max: 200 }), { minLength: 2, maxLength: 8 }),
        fc.array(fc.constantFrom(...NAMES), { minLength: 8, maxLength: 8 }),
        fc.nat(7),
        (unordered, rights, lost) => {
          const sizes = unordered.sort((a, b) => a - b);
          const { truth, signed, sources } = log(sizes.at(-1)!, sizes);
          sizes.forEach((to, at) => {
            for (const name of NAMES) {
              if (name === rights[at] && at !== lost) continue;
              for (let index = sizes[at - 1] ?? 0; index < to; index++) {
                sources[name][index] = leaf(`wrong ${index}`);
              }
            }
          });
          const reached = lost < sizes.length ? sizes[lost - 1] ?? 0 : sizes.at(-1)!;
          const { leaves, frontier } = sealedLeaves(emptyFrontier(), sources, signed);
          expect(frontier.size).toBe(reached);
          expect(hex(leaves)).toEqual(hex(truth.slice(0, reached)));
        },
      ),
    );
  });

  test("a leaf that nobody has ends it", () => {
    const { signed, sources } = log(10, [5, 10]);
    for (const name of NAMES) sources[name][7] = undefined;
    expect(sealedLeaves(emptyFrontier(), sources, signed).frontier.size).toBe(5);
  });
});

test("it goes on from a frontier, which stays as it was, and tells the roots of the tiles that become full", () => {
  const { truth, signed, sources } = log(65_600, [65_600]);
  const start = emptyFrontier();
  for (const hash of truth.slice(0, 65_280)) pushLeaf(start, hash);
  const before = formatHex(packFrontier(start));
  const rest = Object.fromEntries(NAMES.map((name) => [name, sources[name].slice(65_280)])) as Sources;
  const { leaves, frontier, tileRoots } = sealedLeaves(start, rest, signed);
  expect([frontier.size, leaves.length, formatHex(packFrontier(start))]).toEqual([65_600, 320, before]);
  expect([...tileRoots.keys()]).toEqual(["tile/0/255", "tile/1/000"]);
  expect(formatHex(tileRoots.get("tile/0/255")!)).toBe(
    formatHex(perfectRoot(concatBytes(...truth.slice(65_280, 65_536)))),
  );
  expect(formatHex(tileRoots.get("tile/1/000")!)).toBe(formatHex(perfectRoot(concatBytes(...truth.slice(0, 65_536)))));
});

test("roots that were passed before are not asked for again", () => {
  const { signed, sources, frontier } = log(20, [5, 20]);
  expect(sealedLeaves(frontier, { database: [], bundles: [], tiles: [] }, signed).leaves).toEqual([]);
  expect(sources.database).toHaveLength(20);
});
