// Trees, tiles and proofs: against RFC 6962 written down once more in its own words, against vectors that others made,
// and against everything that is slightly wrong.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { entryHash, MAX_ENTRY_BYTES } from "../../functions/_shared/entry.ts";
import { decodeBundle, encodeBundle, MAX_BUNDLE_BYTES } from "../../functions/_shared/tlog/bundle.ts";
import {
  appendEntry,
  type Edge,
  emptyEdge,
  type LogFile,
  openEdge,
  partialFiles,
} from "../../functions/_shared/tlog/edge.ts";
import { TlogError } from "../../functions/_shared/tlog/error.ts";
import {
  emptyFrontier,
  packFrontier,
  pushLeaf,
  treeOf,
  unpackFrontier,
} from "../../functions/_shared/tlog/frontier.ts";
import { emptyRoot, leafHash, nodeHash, type Tree } from "../../functions/_shared/tlog/hash.ts";
import { verifyConsistency, verifyInclusion } from "../../functions/_shared/tlog/proof.ts";
import { proveConsistency, proveInclusion, treeAt } from "../../functions/_shared/tlog/prove.ts";
import {
  parseTilePath,
  partialTiles,
  rememberTiles,
  tileHashes,
  tilePath,
  type TileReader,
  tileWidth,
} from "../../functions/_shared/tlog/tile.ts";

const BOUNDARIES = [255, 256, 257, 511, 512, 513, 65_535, 65_536, 65_537];
const LARGEST = 70_000;
const SMALL = 130;

const bytes = (text: string) => new TextEncoder().encode(text);
const entry = (index: number) => bytes(`entry ${index}`);
const hex = (value: Uint8Array) => Buffer.from(value).toString("hex");
const base64 = (value: Uint8Array) => Buffer.from(value).toString("base64");
const unbase64 = (text: string) => Uint8Array.from(Buffer.from(text, "base64"));
const unhex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));
// expect() costs more than what is tested here, where it stands in a loop.
const equal = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;
const allEqual = (a: Uint8Array[], b: Uint8Array[]) =>
  equal(Buffer.concat(a), Buffer.concat(b)) && a.length === b.length;
const failing = (code: string) => expect.objectContaining({ name: "TlogError", code });

/** RFC 6962, sections 2.1 to 2.1.2, word for word, over "entry 0", "entry 1" and so on. Shares nothing with the source. */
const rfc6962 = {
  memory: new Map<string, Buffer>(),
  /** MTH(D[from:to]) */
  mth(from: number, to: number): Buffer {
    const key = `${from}:${to}`;
    let root = this.memory.get(key);
    if (root === undefined) {
      const sha256 = createHash("sha256");
      if (to - from === 1) sha256.update("\0").update(`entry ${from}`);
      if (to - from > 1) {
        const k = this.k(to - from);
        sha256.update("\x01").update(this.mth(from, from + k)).update(this.mth(from + k, to));
      }
      root = sha256.digest();
      this.memory.set(key, root);
    }
    return root;
  },
  /** PATH(m, D[from:to]) */
  path(m: number, from: number, to: number): Buffer[] {
    if (to - from === 1) return [];
    const k = this.k(to - from);
    return m < k
      ? [...this.path(m, from, from + k), this.mth(from + k, to)]
      : [...this.path(m - k, from + k, to), this.mth(from, from + k)];
  },
  /** SUBPROOF(m, D[from:to], b) */
  subproof(m: number, from: number, to: number, b: boolean): Buffer[] {
    if (m === to - from) return b ? [] : [this.mth(from, to)];
    const k = this.k(to - from);
    return m <= k
      ? [...this.subproof(m, from, from + k, b), this.mth(from + k, to)]
      : [...this.subproof(m - k, from + k, to, false), this.mth(from, from + k)];
  },
  k(n: number): number {
    return n <= 2 ? 1 : 2 * this.k(Math.ceil(n / 2));
  },
};

/** A log in memory, with the files of every full tile and the partial ones of the sizes that were asked for. */
class MemoryLog {
  readonly files = new Map<string, Uint8Array>();
  readonly trees = new Map<number, Tree>();
  readonly edge: Edge = emptyEdge();

  growTo(size: number): this {
    while (this.edge.frontier.size < size) this.put(appendEntry(this.edge, entry(this.edge.frontier.size)));
    this.put(partialFiles(this.edge));
    this.trees.set(size, treeOf(this.edge.frontier));
    return this;
  }

  readonly read: TileReader = async (level, index, width) => {
    const file = this.files.get(tilePath({ level, index, width }));
    if (file === undefined) throw new Error(`no ${tilePath({ level, index, width })}`);
    return file;
  };

  put(files: LogFile[]): void {
    for (const file of files) {
      const path = tilePath(file.tile);
      if (!equal(this.files.get(path) ?? file.bytes, file.bytes)) {
        throw new Error(`${path} was written with other bytes`);
      }
      this.files.set(path, file.bytes);
    }
  }
}

const large = new MemoryLog();
beforeAll(() => {
  for (const size of [...BOUNDARIES, LARGEST]) large.growTo(size);
});

type Vectors = {
  trees: { size: number; root: string }[];
  inclusion: { size: number; index: number; path: string[] }[];
  consistency: { older: number; size: number; path: string[] }[];
  tiles: { path: string; sha256: string }[];
};
const vectors: Vectors = JSON.parse(readFileSync(new URL("../vectors/tlog.json", import.meta.url), "utf8"));

type Published = {
  inclusion: {
    name: string;
    leafIdx: number | string;
    treeSize: number;
    root: string;
    leafHash: string;
    proof: string[] | null;
    wantErr: boolean;
  }[];
  consistency: {
    name: string;
    size1: number;
    size2: number;
    root1: string;
    root2: string;
    proof: string[] | null;
    wantErr: boolean;
  }[];
};
const published: Published = JSON.parse(
  readFileSync(new URL("../vectors/tlog_proofs.json", import.meta.url), "utf8"),
);

describe("hashes", () => {
  it("a leaf is the hash that an entry has in its chain", () => {
    expect(hex(leafHash(bytes('{"v":1}')))).toBe(entryHash('{"v":1}'));
  });

  it("an entry that no bundle could hold has none", () => {
    expect(hex(leafHash(new Uint8Array(MAX_ENTRY_BYTES)))).toBe(entryHash(new Uint8Array(MAX_ENTRY_BYTES)));
    expect(() => leafHash(new Uint8Array(MAX_ENTRY_BYTES + 1))).toThrow(failing("too_large"));
  });

  // certificate-transparency's reference leaves; roots as in github.com/transparency-dev/merkle, testonly/constants.go.
  it("reference leaves have the roots that RFC 6962 implementations share", () => {
    const leaves = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"];
    const frontier = emptyFrontier();
    const roots = [
      treeOf(frontier),
      ...leaves.map((leaf) => {
        pushLeaf(frontier, leafHash(unhex(leaf)));
        return treeOf(frontier);
      }),
    ].map(({ root }) => hex(root));
    expect(roots).toEqual([
      "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
      "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
      "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
      "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
      "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
      "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
      "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
      "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
      "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]);
  });
});

describe("frontier", () => {
  it("has the root of RFC 6962 at every size to 600, and is read back from what is stored", () => {
    const wrong: number[] = [];
    let frontier = emptyFrontier();
    for (let size = 0; size <= 600; size++) {
      if (!equal(treeOf(frontier).root, rfc6962.mth(0, size))) wrong.push(size);
      frontier = unpackFrontier(size, packFrontier(frontier));
      pushLeaf(frontier, leafHash(entry(size)));
    }
    expect(wrong).toEqual([]);
  });

  it("tells of each perfect subtree once, when it is complete", () => {
    const frontier = emptyFrontier();
    const seen: string[] = [];
    for (let index = 0; index < 100; index++) {
      pushLeaf(frontier, leafHash(entry(index)), (height, root) => {
        expect(hex(root)).toBe(rfc6962.mth(index + 1 - 2 ** height, index + 1).toString("hex"));
        seen.push(`${height}/${index}`);
      });
    }
    expect(new Set(seen).size).toBe(seen.length);
    expect(seen).toHaveLength(100 + 50 + 25 + 12 + 6 + 3 + 1);
  });

  it("goes on beyond 32 bits", () => {
    const peak = (name: string) => leafHash(bytes(name));
    const frontier = unpackFrontier(2 ** 40 + 1, Buffer.concat([peak("a"), peak("b")]));
    pushLeaf(frontier, peak("c"));
    expect(frontier.size).toBe(2 ** 40 + 2);
    expect(frontier.peaks.map(hex)).toEqual([hex(peak("a")), hex(nodeHash(peak("b"), peak("c")))]);
  });

  it.each([[-1, 0], [1.5, 32], [2 ** 53, 32], [1, 31], [1, 33], [1, 64], [0, 32], [3, 32], [Number.NaN, 0]])(
    "of %d entries is not %d bytes",
    (size, length) => {
      expect(() => unpackFrontier(size, new Uint8Array(length))).toThrow(failing("malformed_frontier"));
    },
  );
});

describe("tiles", () => {
  it.each([
    [{ level: 0, index: 0, width: 256 }, "tile/0/000"],
    [{ level: 0, index: 1_234_067, width: 256 }, "tile/0/x001/x234/067"],
    [{ level: 1, index: 1_000, width: 1 }, "tile/1/x001/000.p/1"],
    [{ level: 63, index: 999, width: 255 }, "tile/63/999.p/255"],
    [{ level: "entries" as const, index: 273, width: 112 }, "tile/entries/273.p/112"],
    [{ level: "entries" as const, index: 2 ** 53 - 1, width: 256 }, "tile/entries/x009/x007/x199/x254/x740/991"],
  ])("%j has its path", (tile, path) => {
    expect(tilePath(tile)).toBe(path);
    expect(parseTilePath(path)).toEqual(tile);
  });

  it("every path is read back", () => {
    const level = fc.oneof(fc.constant("entries" as const), fc.integer({ min: 0, max: 63 }));
    const tile = fc.record({ level, index: fc.maxSafeNat(), width: fc.integer({ min: 1, max: 256 }) });
    fc.assert(fc.property(tile, (tile) => {
      expect(parseTilePath(tilePath(tile))).toEqual(tile);
    }));
  });

  it.each([
    "",
    "checkpoint",
    "tile/0/0",
    "tile/0/0000",
    "tile/00/000",
    "tile/64/000",
    "tile/-1/000",
    "tile/data/000",
    "tile/0/x000/001",
    "tile/0/001/000",
    "tile/0/x001/x000",
    "tile/0/000.p/0",
    "tile/0/000.p/256",
    "tile/0/000.p/01",
    "tile/0/000.p/",
    "tile/0/000.p",
    "tile/0/000/",
    "/tile/0/000",
    "tile/0/000\n",
    "tile/0/x009/x007/x199/x254/x740/992",
    "tile/0/x001/x000/x000/x000/x000/x000/000",
    "tile/0/../000",
    "tile/0/٠٠٠",
  ])("%j is no path", (path) => {
    expect(() => parseTilePath(path)).toThrow(failing("malformed_path"));
  });

  it.each([
    { level: 64, index: 0, width: 1 },
    { level: -1, index: 0, width: 1 },
    { level: 0, index: -1, width: 1 },
    { level: 0, index: 2 ** 53, width: 1 },
    { level: 0, index: 0, width: 0 },
    { level: 0, index: 0, width: 257 },
    { level: 0.5, index: 0, width: 1 },
  ])("%j is no tile", (tile) => {
    expect(() => tilePath(tile)).toThrow(failing("out_of_range"));
  });

  it("a log of 70,000 and one of 256 have the partial tiles of the specification's example", () => {
    expect(partialTiles(70_000).map(tilePath)).toEqual([
      "tile/entries/273.p/112",
      "tile/0/273.p/112",
      "tile/1/001.p/17",
      "tile/2/000.p/1",
    ]);
    expect(partialTiles(256).map(tilePath)).toEqual(["tile/1/000.p/1"]);
    expect(partialTiles(0)).toEqual([]);
  });

  it("widths are those of the partial tiles, 256 before them and 0 after", () => {
    fc.assert(fc.property(fc.oneof(fc.nat(70_000), fc.maxSafeNat()), (size) => {
      for (const { level, index, width } of partialTiles(size)) {
        expect(tileWidth(level, index, size)).toBe(width);
        expect(tileWidth(level, index + 1, size)).toBe(0);
        if (index > 0) expect(tileWidth(level, index - 1, size)).toBe(256);
      }
    }));
  });

  it("each hash is the root over what it stands for", () => {
    const wrong: string[] = [];
    for (const [path, file] of large.files) {
      const { level, index, width } = parseTilePath(path);
      if (level === "entries" || (level === 0 && index > 2 && index < 272)) continue;
      expect(file).toHaveLength(width * 32);
      for (let at = 0; at < width; at++) {
        const from = (index * 256 + at) * 256 ** level;
        if (!equal(file.subarray(at * 32, at * 32 + 32), rfc6962.mth(from, from + 256 ** level))) {
          wrong.push(`${path}:${at}`);
        }
      }
    }
    expect(wrong).toEqual([]);
  });

  it("a full tile stands in for a partial one, and nothing else does", () => {
    const full = large.files.get("tile/0/000")!;
    expect(tileHashes(full, 5)).toEqual(full.subarray(0, 160));
    expect(tileHashes(full.subarray(0, 160), 5)).toEqual(full.subarray(0, 160));
    for (const length of [0, 159, 161, 192, 8191, 8193]) {
      expect(() => tileHashes(new Uint8Array(length), 5)).toThrow(failing("malformed_tile"));
    }
  });

  it("a tile is asked for once, and again only after it could not be read", async () => {
    let reads = 0;
    const read = rememberTiles(async () => {
      if (reads++ === 0) throw new Error("out of reach");
      return new Uint8Array(32);
    });
    await expect(read(0, 0, 1)).rejects.toThrow("out of reach");
    await Promise.all([read(0, 0, 1), read(0, 0, 1)]);
    await read(0, 0, 1);
    expect(reads).toBe(2);
    await read(0, 0, 2);
    expect(reads).toBe(3);
  });
});

describe("bundles", () => {
  it("hold entries of every length an entry can have, in their order", () => {
    const content = fc.oneof({ weight: 20, arbitrary: fc.uint8Array({ maxLength: 600 }) }, {
      weight: 1,
      arbitrary: fc.constantFrom(new Uint8Array(MAX_ENTRY_BYTES).fill(7), new Uint8Array(256)),
    });
    fc.assert(
      fc.property(fc.array(content, { minLength: 1, maxLength: 256 }), (entries) => {
        expect(allEqual(decodeBundle(encodeBundle(entries), entries.length), entries)).toBe(true);
      }),
      { numRuns: 30 },
    );
  });

  it("have two bytes of length, the higher one first", () => {
    expect(hex(encodeBundle([bytes("a"), new Uint8Array(), new Uint8Array(258)]))).toBe(
      `000161` + `0000` + `0102${"00".repeat(258)}`,
    );
  });

  it("a full bundle stands in for a partial one", () => {
    expect(decodeBundle(large.files.get("tile/entries/000")!, 3)).toEqual([entry(0), entry(1), entry(2)]);
  });

  const bundle = encodeBundle([bytes("abc"), bytes("de")]);
  it.each([
    ["nothing", new Uint8Array()],
    ["a length cut", bundle.subarray(0, 6)],
    ["an entry cut", bundle.subarray(0, 8)],
    ["a byte more", Uint8Array.of(...bundle, 0)],
    ["an entry more", Uint8Array.of(...bundle, 0, 0)],
    ["an entry less", bundle.subarray(0, 5)],
    ["257 entries", new Uint8Array(2 * 257)],
  ])("%s is refused", (_, changed) => {
    expect(() => decodeBundle(changed, 2)).toThrow(failing("malformed_bundle"));
  });

  it("too many bytes, entries or none are refused", () => {
    expect(MAX_BUNDLE_BYTES).toBe(16_777_472);
    expect(() => decodeBundle(new Uint8Array(MAX_BUNDLE_BYTES + 1), 256)).toThrow(failing("too_large"));
    expect(() => encodeBundle([])).toThrow(failing("out_of_range"));
    expect(() => encodeBundle(Array(257).fill(bytes("a")))).toThrow(failing("out_of_range"));
    expect(() => encodeBundle([new Uint8Array(MAX_ENTRY_BYTES + 1)])).toThrow(failing("too_large"));
  });
});

describe("a log that grows", () => {
  it("has the roots of RFC 6962 at every tile boundary", () => {
    for (const [size, { root }] of large.trees) expect(hex(root)).toBe(rfc6962.mth(0, size).toString("hex"));
  });

  it("makes the same files however it is split into batches, resumed from what was stored", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.oneof(fc.nat(3), fc.constantFrom(254, 255, 256, 257, 512)), { minLength: 1, maxLength: 6 }),
        async (batches) => {
          const log = new MemoryLog();
          let edge = emptyEdge();
          for (const batch of batches) {
            for (let n = 0; n < batch; n++) log.put(appendEntry(edge, entry(edge.frontier.size)));
            log.put(partialFiles(edge));
            const { size } = edge.frontier;
            const stored = unpackFrontier(size, packFrontier(edge.frontier));
            const open = partialTiles(size).find(({ level }) => level === "entries");
            const entries = open === undefined ? [] : decodeBundle(log.files.get(tilePath(open))!, open.width);
            edge = await openEdge(stored, log.read, entries);
          }
          const atOnce = new MemoryLog().growTo(edge.frontier.size);
          for (const [path, file] of atOnce.files) expect(equal(log.files.get(path)!, file)).toBe(true);
          expect(treeOf(edge.frontier)).toEqual(treeOf(atOnce.edge.frontier));
        },
      ),
      { numRuns: 25 },
    );
  });

  it("takes a leaf hash that was computed before", () => {
    const [a, b] = [emptyEdge(), emptyEdge()];
    appendEntry(a, entry(0));
    appendEntry(b, entry(0), leafHash(entry(0)));
    expect(a).toEqual(b);
  });

  it("refuses an entry that is too long, and stays as it was", () => {
    const edge = emptyEdge();
    expect(() => appendEntry(edge, new Uint8Array(MAX_ENTRY_BYTES + 1))).toThrow(failing("too_large"));
    expect(edge).toEqual(emptyEdge());
  });

  it("an edge that is resumed is a copy", async () => {
    const { frontier, entries } = new MemoryLog().growTo(3).edge;
    const before = packFrontier(frontier);
    const edge = await openEdge(frontier, new MemoryLog().growTo(3).read, entries);
    appendEntry(edge, entry(3));
    expect(packFrontier(frontier)).toEqual(before);
    expect(entries).toHaveLength(3);
  });

  describe("does not resume", () => {
    const size = 259;
    const log = new MemoryLog().growTo(size);
    const { frontier, entries } = log.edge;

    it("from a tile that differs in any byte", async () => {
      for (const path of ["tile/0/001.p/3", "tile/1/000.p/1"]) {
        const file = log.files.get(path)!;
        for (let at = 0; at < file.length; at++) {
          const read: TileReader = async (level, index, width) => {
            const tile = Uint8Array.from(await log.read(level, index, width));
            if (tilePath({ level, index, width }) === path) tile[at]! ^= 1;
            return tile;
          };
          await expect(openEdge(frontier, read, entries)).rejects.toThrow(failing("root_mismatch"));
        }
      }
    });

    it("with entries that are missing, too many, changed or in another order", async () => {
      const [a, b, c] = entries;
      for (const others of [[], [a!, b!], [a!, b!, c!, c!], [a!, b!, bytes("x")], [b!, a!, c!]]) {
        await expect(openEdge(frontier, log.read, others)).rejects.toThrow(failing("root_mismatch"));
      }
    });

    it("from a frontier that has other peaks than its size", async () => {
      const peaks = [...frontier.peaks, leafHash(bytes("x"))];
      await expect(openEdge({ size, peaks }, log.read, entries)).rejects.toThrow(failing("malformed_frontier"));
    });
  });
});

describe("proofs", () => {
  const small = new MemoryLog();
  for (let size = 0; size <= SMALL; size++) small.growTo(size);

  // Verifying is cheap and goes through every pair. Making a proof hashes the whole tree once or twice: every pair to 66
  // and around 128, and every fifth between.
  const isMade = (size: number, other: number) => size <= 66 || size >= 127 || (size + other) % 5 === 0;

  it(`include every entry of every tree to ${SMALL}, as RFC 6962 has them, and no other entry`, async () => {
    const wrong: string[] = [];
    for (let size = 1; size <= SMALL; size++) {
      const tree = small.trees.get(size)!;
      for (let index = 0; index < size; index++) {
        const leaf = rfc6962.mth(index, index + 1);
        const path: Uint8Array[] = rfc6962.path(index, 0, size);
        const right = verifyInclusion(leaf, index, tree, path) &&
          (!isMade(size, index) || allEqual(await proveInclusion(tree, index, leaf, small.read), path));
        const refused = !verifyInclusion(leaf, (index + 1) % (size + 1), tree, path) &&
          !verifyInclusion(tree.root, index, tree, [leaf, ...path]) &&
          !verifyInclusion(leaf, index, tree, [...path, leaf]) &&
          (size === 1 || !verifyInclusion(leaf, index, tree, path.slice(1))) &&
          (size === 1 || !verifyInclusion(leaf, index, tree, path.slice(0, -1)));
        if (!right || !refused) wrong.push(`${index} of ${size}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  it(`connect every two trees to ${SMALL}, as RFC 6962 has them, and no others`, async () => {
    const wrong: string[] = [];
    const root = leafHash(bytes("wrong"));
    for (let size = 0; size <= SMALL; size++) {
      const newer = small.trees.get(size)!;
      for (let older = 0; older <= size; older++) {
        const tree = small.trees.get(older)!;
        const path: Uint8Array[] = older === 0 ? [] : rfc6962.subproof(older, 0, size, true);
        const right = verifyConsistency(tree, newer, path) &&
          (!isMade(size, older) || allEqual(await proveConsistency(older, newer, small.read), path));
        const refused = !verifyConsistency({ size: older, root }, newer, path) &&
          !verifyConsistency(tree, newer, [...path, root]) &&
          (older === 0 || !verifyConsistency(tree, { size, root }, path)) &&
          (older === size || !verifyConsistency(newer, tree, path)) &&
          (path.length === 0 || !verifyConsistency(tree, newer, path.slice(1))) &&
          (path.length === 0 || !verifyConsistency(tree, newer, path.slice(0, -1)));
        if (!right || !refused) wrong.push(`${older} and ${size}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  const sizes = fc.constantFrom(...BOUNDARIES, LARGEST);

  it("include any entry of large trees", async () => {
    await fc.assert(fc.asyncProperty(sizes, fc.nat(), async (size, any) => {
      const index = any % size;
      const tree = large.trees.get(size)!;
      const path = await proveInclusion(tree, index, leafHash(entry(index)), large.read);
      expect(path.map(hex)).toEqual(rfc6962.path(index, 0, size).map((hash) => hash.toString("hex")));
    }));
  });

  it("connect a large tree with any older one", async () => {
    await fc.assert(fc.asyncProperty(sizes, fc.oneof(fc.nat(), sizes), async (size, any) => {
      const older = any % (size + 1);
      const newer = large.trees.get(size)!;
      const path = await proveConsistency(older, newer, large.read);
      expect(verifyConsistency({ size: older, root: rfc6962.mth(0, older) }, newer, path)).toBe(true);
      expect(hex((await treeAt(older, size, large.read)).root)).toBe(rfc6962.mth(0, older).toString("hex"));
    }));
  });

  it("with any single byte changed, prove nothing", async () => {
    const [older, size, index] = [257, 65_537, 300];
    const tree = large.trees.get(size)!;
    const leaf = leafHash(entry(index));
    const inclusion = await proveInclusion(tree, index, leaf, large.read);
    const consistency = await proveConsistency(older, tree, large.read);
    const olderTree = large.trees.get(older)!;
    const everyChange = function* (path: Uint8Array[]) {
      for (let hash = 0; hash < path.length; hash++) {
        for (let at = 0; at < 32; at++) {
          const changed = path.map((value) => Uint8Array.from(value));
          changed[hash]![at]! ^= 1 + (at * 37) % 255;
          yield changed;
        }
      }
    };
    for (const path of everyChange(inclusion)) expect(verifyInclusion(leaf, index, tree, path)).toBe(false);
    for (const path of everyChange(consistency)) expect(verifyConsistency(olderTree, tree, path)).toBe(false);
    for (const [root] of everyChange([tree.root])) {
      expect(verifyInclusion(leaf, index, { size, root: root! }, inclusion)).toBe(false);
      expect(verifyConsistency(olderTree, { size, root: root! }, consistency)).toBe(false);
    }
    for (const [root] of everyChange([olderTree.root])) {
      expect(verifyConsistency({ size: older, root: root! }, tree, consistency)).toBe(false);
    }
    for (const [changed] of everyChange([leaf])) expect(verifyInclusion(changed!, index, tree, inclusion)).toBe(false);
  });

  it("are not handed out where a tile differs in any byte that they stand on", async () => {
    const size = 259;
    const log = new MemoryLog().growTo(size);
    const tree = log.trees.get(size)!;
    for (const [path, file] of log.files) {
      if (path.includes("entries")) continue;
      for (let at = 0; at < file.length; at += 31) {
        const read: TileReader = async (level, index, width) => {
          const tile = Uint8Array.from(await log.read(level, index, width));
          if (tilePath({ level, index, width }) === path) tile[at]! ^= 0x80;
          return tile;
        };
        const index = path === "tile/1/000.p/1" ? 257 : 0;
        // The leaf itself is not read from the tile; every other hash of it is.
        if (path === "tile/0/000" && at < 32) continue;
        if (path === "tile/0/001.p/3" || index === 257 || at < 8192) {
          await expect(proveInclusion(tree, index, leafHash(entry(index)), read)).rejects.toThrow(
            failing("root_mismatch"),
          );
        }
      }
    }
    const short: TileReader = async (...tile) => (await log.read(...tile)).subarray(1);
    await expect(proveInclusion(tree, 0, leafHash(entry(0)), short)).rejects.toThrow(failing("malformed_tile"));
    await expect(proveConsistency(100, { size, root: leafHash(bytes("x")) }, log.read)).rejects.toThrow(
      failing("root_mismatch"),
    );
  });

  it("come from full tiles where the partial ones are gone", async () => {
    const read: TileReader = (level, index, width) =>
      large.read(level, index, large.files.has(tilePath({ level, index, width: 256 })) ? 256 : width);
    const tree = large.trees.get(257)!;
    await expect(proveInclusion(tree, 256, leafHash(entry(256)), read)).resolves.toHaveLength(1);
    await expect(proveConsistency(255, tree, read)).resolves.not.toHaveLength(0);
  });

  it("of what a tree does not have are refused", async () => {
    const tree = large.trees.get(257)!;
    for (const index of [-1, 257, 1.5, Number.NaN, 2 ** 53]) {
      await expect(proveInclusion(tree, index, tree.root, large.read)).rejects.toThrow(failing("out_of_range"));
      expect(verifyInclusion(tree.root, index, tree, [])).toBe(false);
    }
    for (const older of [-1, 258, 1.5, Number.NaN]) {
      await expect(proveConsistency(older, tree, large.read)).rejects.toThrow(failing("out_of_range"));
      expect(verifyConsistency({ size: older, root: tree.root }, tree, [])).toBe(false);
    }
  });

  it("take no hash that is not 32 bytes long", () => {
    const tree = { size: 2, root: nodeHash(leafHash(entry(0)), leafHash(entry(1))) };
    const sibling = leafHash(entry(1));
    expect(verifyInclusion(leafHash(entry(0)), 0, tree, [sibling])).toBe(true);
    for (const path of [[sibling.subarray(1)], [Buffer.concat([sibling, sibling])], [new Uint8Array()]]) {
      expect(verifyInclusion(leafHash(entry(0)), 0, tree, path)).toBe(false);
    }
    expect(verifyConsistency({ size: 1, root: leafHash(entry(0)).subarray(1) }, tree, [sibling])).toBe(false);
  });

  it("a failure to read a tile is not another failure", async () => {
    const read: TileReader = () => Promise.reject(new Error("the bucket is closed"));
    const promise = proveInclusion(large.trees.get(257)!, 0, leafHash(entry(0)), read);
    await expect(promise).rejects.toThrow("the bucket is closed");
    await expect(promise).rejects.not.toBeInstanceOf(TlogError);
  });

  it("the empty tree precedes every tree, but only itself and with its own root", () => {
    const empty = { size: 0, root: emptyRoot() };
    const other = { size: 0, root: leafHash(entry(0)) };
    expect(verifyConsistency(empty, empty, [])).toBe(true);
    expect(verifyConsistency(empty, large.trees.get(255)!, [])).toBe(true);
    expect(verifyConsistency(empty, large.trees.get(255)!, [emptyRoot()])).toBe(false);
    expect(verifyConsistency(other, large.trees.get(255)!, [])).toBe(false);
    expect(verifyConsistency(empty, other, [])).toBe(false);
  });
});

// Made with golang.org/x/mod v0.40.0: test/vectors/tlog_generate.go.
describe("golang.org/x/mod/sumdb agrees", () => {
  it("on roots", async () => {
    for (const { size, root } of vectors.trees) {
      expect(base64((await treeAt(size, LARGEST, large.read)).root)).toBe(root);
    }
  });

  it("on inclusion proofs", async () => {
    for (const { size, index, path } of vectors.inclusion) {
      const tree = await treeAt(size, LARGEST, large.read);
      // Partial tiles of sizes that never had a checkpoint do not exist; full ones and those of 70,000 stand in.
      const read: TileReader = (level, index) => large.read(level, index, tileWidth(level, index, LARGEST));
      const proof = await proveInclusion(tree, index, leafHash(entry(index)), cut(read));
      expect(proof.map(base64)).toEqual(path);
    }
  });

  it("on consistency proofs", async () => {
    for (const { older, size, path } of vectors.consistency) {
      const tree = await treeAt(size, LARGEST, large.read);
      const read: TileReader = (level, index) => large.read(level, index, tileWidth(level, index, LARGEST));
      expect((await proveConsistency(older, tree, cut(read))).map(base64)).toEqual(path);
    }
  });

  it("on tiles", () => {
    for (const { path, sha256 } of vectors.tiles) {
      expect(createHash("sha256").update(large.files.get(path)!).digest("hex")).toBe(sha256);
    }
  });

  const cut = (read: TileReader): TileReader => async (level, index, width) =>
    (await read(level, index, width)).subarray(0, width * 32);
});

// test/vectors/tlog_proofs.json names its source.
describe("github.com/transparency-dev/merkle agrees", () => {
  const path = (proof: string[] | null) => (proof ?? []).map(unbase64);

  it.each(published.inclusion)("on $name", ({ leafIdx, treeSize, root, leafHash, proof, wantErr }) => {
    const tree = { size: treeSize, root: unbase64(root) };
    expect(verifyInclusion(unbase64(leafHash), Number(leafIdx), tree, path(proof))).toBe(!wantErr);
  });

  it.each(published.consistency)("on $name", ({ size1, size2, root1, root2, proof, wantErr }) => {
    const [older, newer] = [{ size: size1, root: unbase64(root1) }, { size: size2, root: unbase64(root2) }];
    // One of theirs has roots that are not hashes, because nothing depends on them. We take none.
    expect(verifyConsistency(older, newer, path(proof))).toBe(!wantErr && newer.root.length === 32);
  });
});
