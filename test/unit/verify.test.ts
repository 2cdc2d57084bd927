// Archives that somebody has tampered with, in every way that we could think of. Each test says what the verifier must
// find; the ones that find nothing are there so that the others mean something.
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { encryptBundle, parseArchiveKeys } from "../../functions/_shared/archive/bundle_encryption.ts";
import { decoded } from "../../functions/_shared/archive/decoded.ts";
import type { EntryRow } from "../../functions/_shared/entry.ts";
import { decodeBundle, encodeBundle } from "../../functions/_shared/tlog/bundle.ts";
import { formatCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import { emptyRoot, leafHash } from "../../functions/_shared/tlog/hash.ts";
import { formatVerifierKey, generateKey, renameKey } from "../../functions/_shared/tlog/key.ts";
import { formatNote, noteSigner, signNote } from "../../functions/_shared/tlog/note.ts";
import { concatBytes } from "../../functions/_shared/tlog/text.ts";
import { LOG_CHAIN } from "../../scripts/cli/verify/bundle_check.ts";
import { SampleLog } from "../../scripts/bench/sample_archive.ts";
import {
  BASE,
  codes,
  type Files,
  flipped,
  folderOf,
  KEY,
  oneLog,
  ORGANIZATION,
  OTHER,
  sample,
  targetOf,
  verify,
  VKEY,
} from "./verify_archive.ts";

const text = (value: string) => new TextEncoder().encode(value);
const LOG = `${ORGANIZATION}/2026-10`;

/** What an owner does: changes an entry of chain 1, and hashes the chain again to its end. */
const forge = (seq: number, chain = 1) => (row: EntryRow): EntryRow =>
  row.chain === chain && row.seq === seq ? { ...row, action: "query.forged" } : row;

/** The genuine archive with some of its files replaced by those of a forged one. */
function replaced(genuine: Files, forged: Files, which: (path: string) => boolean): Files {
  return new Map([...genuine].map(([path, bytes]) => [path, which(path) ? forged.get(path)! : bytes]));
}

const isBundle = (path: string) => path.includes("/tile/entries/");
const isTile = (level: number) => (path: string) => path.includes(`/tile/${level}/`);
const isCheckpoint = (path: string) => path.endsWith("/checkpoint");

describe("an archive that is as it was signed", () => {
  it.each([1, 2, 3, 255, 256, 257, 511, 513, 1_000])("verifies with %d entries", async (size) => {
    const { files } = await oneLog(size);
    const report = await verify(files);
    expect(report.findings).toEqual([]);
    expect(report).toMatchObject({ verified: true, entries: size });
  });

  it.each([65_535, 65_536, 65_537])("verifies with %d entries", async (size) => {
    const { files } = await oneLog(size);
    expect(await verify(files)).toMatchObject({ verified: true, entries: size, findings: [] });
  });

  it("verifies in threads as without", async () => {
    const { files } = await oneLog(30_000);
    const forged = replaced(files, (await oneLog(30_000, { change: forge(9_000) })).files, isBundle);
    const [alone, threads] = [await verify(forged), await verify(forged, { threads: 2 })];
    expect(threads.findings).toEqual(alone.findings);
    expect(threads.findings[0]).toMatchObject({ code: "entry_changed", entry: "1-9000" });
    expect(await verify(files, { threads: 2 })).toMatchObject({ verified: true, entries: 30_000 });
  });

  it("has one organisation beside another, month after month", async () => {
    const files = await manyLogs();
    const report = await verify(files);
    expect(report.findings).toEqual([]);
    expect(report.logs.map(({ origin, state }) => [origin, state])).toEqual([
      [`${BASE}/anchor`, "verified"],
      ...["2026-08", "2026-09", "2026-10"].map((month) => [`${BASE}/${ORGANIZATION}/${month}`, "verified"]),
      ...["2026-09", "2026-10"].map((month) => [`${BASE}/${OTHER}/${month}`, "verified"]),
    ]);
    expect(report.proved.join("\n")).toContain("1,862 entries in 6 logs");
  });

  it("needs no entries at all", async () => {
    const { files } = await oneLog(0);
    expect(await verify(files)).toMatchObject({ verified: true, entries: 0 });
  });

  it("may have kept full files in place of partial ones", async () => {
    const { files } = await oneLog(600, {}, [500]);
    for (const path of files.keys()) if (/\.p\/24[0-9]$/.test(path)) files.delete(path);
    expect(files.has(`${LOG}/tile/0/001.p/244`)).toBe(false);
    const old = new Map([...files, [`${LOG}/checkpoint`, text((await oneLog(600, {}, [500])).checkpoints.get(500)!)]]);
    expect(await verify(old as Files)).toMatchObject({ verified: true, entries: 500 });
  });

  it("may be gzip, every file of it", async () => {
    const { files } = await oneLog(700);
    const zipped: Files = new Map([...files].map(([path, bytes]) => [path, new Uint8Array(gzipSync(bytes))]));
    expect(await verify(zipped)).toMatchObject({ verified: true, entries: 700 });
  });

  it("may be encrypted, and is not read without the key, with another, or from another path", async () => {
    const { files } = await oneLog(700);
    const keys = Buffer.alloc(32, 7).toString("base64");
    const encrypted: Files = new Map();
    for (const [path, bytes] of files) {
      encrypted.set(path, isBundle(path) ? await encryptBundle(parseArchiveKeys(keys), path, bytes) : bytes);
    }
    expect(await verify(encrypted, { archiveKeys: keys })).toMatchObject({ verified: true, entries: 700 });
    expect(codes(await verify(encrypted))).toEqual(["unreadable_bundle"]);
    const other = Buffer.alloc(32, 8).toString("base64");
    expect(codes(await verify(encrypted, { archiveKeys: other }))).toEqual(["unreadable_bundle"]);
    expect(await verify(encrypted, { archiveKeys: `${other} ${keys}` })).toMatchObject({ verified: true });
    const [a, b] = [`${LOG}/tile/entries/000`, `${LOG}/tile/entries/001`];
    const moved = new Map([...encrypted, [a, encrypted.get(b)!]] as [string, Uint8Array][]);
    expect(codes(await verify(moved, { archiveKeys: keys }))).toEqual(["unreadable_bundle"]);
  });

  it("is signed by one of two keys during a change, and by a key of one log's name", async () => {
    const next = generateKey(BASE, "note");
    const { files, origin } = await oneLog(10, {}, [], [KEY, next]);
    for (const keys of [[VKEY], [formatVerifierKey(next)], [VKEY, formatVerifierKey(next)]]) {
      expect(await verify(files, { keys })).toMatchObject({ verified: true });
    }
    expect(await verify(files, { keys: [formatVerifierKey(renameKey(KEY, origin))] })).toMatchObject({
      verified: true,
    });
  });
});

describe("an owner changes an old entry and hashes its chain again", () => {
  let genuine: Files;
  let forged: Files;
  const name = "1-40";
  beforeAll(async () => {
    genuine = (await oneLog(2_000)).files;
    forged = (await oneLog(2_000, { change: forge(40) })).files;
    expect(await verify(forged)).toMatchObject({ verified: true }); // whoever has the key signs what he likes
  });

  it("in the bundles: the entry is named, and how many were hashed again", async () => {
    const report = await verify(replaced(genuine, forged, isBundle));
    // The heartbeats say what they saw, so he had to change these as well.
    expect(report.findings.map(({ code, entry }) => [code, entry])).toEqual([["entry_changed", name], [
      "entry_changed",
      "999999999-2",
    ]]);
    expect(report.findings[0]).toMatchObject({ code: "entry_changed", entry: name, log: `${BASE}/${LOG}` });
    expect(report.findings[0]!.message).toMatch(
      /^Entry 1-40 \(index \d+\) is not the one that was signed.* 1,040 later/,
    );
  });

  it("in the full bundles and the tiles over them: the bundle and the chains in doubt are named", async () => {
    const isFull = (path: string) => !path.includes(".p/");
    const report = await verify(
      replaced(genuine, forged, (path) => isBundle(path) && isFull(path) || isTile(0)(path) && isFull(path)),
    );
    expect(report.findings[0]).toMatchObject({ code: "entries_changed", index: expect.any(Number) });
    // Not chains 2 and 3: entries behind, which are as they were signed, vouch for them.
    expect(report.findings[0]!.message).toMatch(
      /among entries 999999999-1 to 999999999-2, 1-1 to 1-140 \(with index 0 to 255\)/,
    );
    expect(report.findings[0]!.message).toContain("1,536 entries behind are in doubt");
    // And the last that was changed: its successor was not.
    expect(report.findings[1]).toMatchObject({ code: "entry_changed", entry: "1-966" });
  });

  it("in every file but the checkpoint: it is found, and what others remember narrows it", async () => {
    const all = replaced(genuine, forged, (path) => !isCheckpoint(path));
    const report = await verify(all);
    expect(codes(report)).toEqual(["entries_changed"]);
    expect(report.findings[0]!.message).toContain("agree with each other, but not with the signed checkpoint");

    const { checkpoints } = await oneLog(2_000, {}, [50, 90]);
    const old = await folderOf([["50", checkpoints.get(50)!], ["90", checkpoints.get(90)!]]);
    const remembered = await verify(all, { oldFiles: [`${old}/50`, `${old}/90`] });
    expect(codes(remembered)).toEqual(["entries_changed"]);
    expect(remembered.findings[0]!.index).toBe(50);
    expect(remembered.findings[0]!.message).toMatch(/among entries .*1-3\d to .*\(with index 50 to 89\)/);
  });

  it("in every file but the checkpoint, and what others remember contradicts itself: it is found all the same", async () => {
    const all = replaced(genuine, forged, (path) => !isCheckpoint(path));
    // One has the genuine log at 90 entries, one the forged log at 500.
    const [a, b] = [await oneLog(2_000, {}, [90]), await oneLog(2_000, { change: forge(40) }, [500])];
    const old = await folderOf([["a", a.checkpoints.get(90)!], ["b", b.checkpoints.get(500)!]]);
    const report = await verify(all, { oldFiles: [`${old}/a`, `${old}/b`] });
    expect(report.verified).toBe(false);
    expect(codes(report)).toEqual(["entries_changed"]);
  });

  it("and every other entry besides, each by itself: it is found in no time", async () => {
    const { files } = await oneLog(20_000);
    const { files: changed } = await oneLog(20_000, {
      change: (row) => ({ ...row, action: "x", prev_hash: "00".repeat(32) }),
    });
    const report = await verify(replaced(files, changed, isBundle));
    expect(report.verified).toBe(false);
    expect(report.findings.length).toBeLessThanOrEqual(200);
    expect(report.seconds).toBeLessThan(20);
  });

  it("in every file but the checkpoint and the heartbeats: they tell between which entries it was", async () => {
    // He hashes chain 1 again, but leaves the log's own chain as it was.
    const heads = new Map<number, string>();
    await oneLog(2_000, {
      change: (row) => {
        if (row.chain === LOG_CHAIN) heads.set(row.seq, row.details);
        return row;
      },
    });
    const careless = await oneLog(2_000, {
      change: (row) => row.chain === LOG_CHAIN ? { ...row, details: heads.get(row.seq)! } : forge(150)(row),
    });
    const report = await verify(replaced(genuine, careless.files, (path) => !isCheckpoint(path)));
    expect(codes(report)).toEqual(["entries_changed", "heartbeat_mismatch"]);
    const { entry, message } = report.findings.find(({ code }) => code === "heartbeat_mismatch")!;
    expect(message).toMatch(/1-(\d+) is as it was seen, so the change is behind it/);
    const agreed = Number(/1-(\d+) is as/.exec(message)![1]);
    expect(agreed).toBeLessThan(150);
    expect(Number(entry!.slice(2))).toBeGreaterThanOrEqual(150);
  });

  it("without hashing it again: the entry is named, whatever else was replaced with it", async () => {
    for (const withTile of [false, true]) {
      const files: Files = new Map(genuine);
      rewriteEntry(files, 0, 101, (entry) => entry.replace("query.executed", "query.execute_"), withTile);
      const report = await verify(files);
      expect(codes(report)).toEqual(["entry_changed"]);
      expect(report.findings[0]).toMatchObject({ index: 101 });
    }
  });

  it("and signs it with another key", async () => {
    const other = generateKey(BASE, "note");
    const { files } = await oneLog(2_000, { change: forge(40) }, [], [other]);
    expect(codes(await verify(files))).toEqual(["bad_checkpoint"]);
  });
});

describe("an archive of which something is missing, cut or replaced", () => {
  let files: Files;
  beforeAll(async () => void (files = await manyLogs()));
  const changed = (path: string, change: (bytes: Uint8Array) => Uint8Array | undefined): Files => {
    const copy = new Map(files);
    const bytes = change(copy.get(path)!);
    if (bytes === undefined) copy.delete(path);
    else copy.set(path, bytes);
    return copy;
  };
  const bundle = `${LOG}/tile/entries/001`;
  const cases: [string, string, (bytes: Uint8Array) => Uint8Array | undefined, string[]][] = [
    ["a bundle is missing", bundle, () => undefined, ["missing_bundle"]],
    ["a partial bundle is missing", `${LOG}/tile/entries/002.p/88`, () => undefined, ["missing_bundle"]],
    ["a tile is missing", `${LOG}/tile/0/001`, () => undefined, ["missing_tile"]],
    ["a partial tile is missing", `${LOG}/tile/0/002.p/88`, () => undefined, ["missing_tile"]],
    ["a tile of level 1 is missing", `${LOG}/tile/1/000.p/2`, () => undefined, ["missing_tile"]],
    ["a checkpoint is missing", `${LOG}/checkpoint`, () => undefined, ["missing_checkpoint"]],
    ["a bundle is cut", bundle, (bytes) => bytes.slice(0, -1), ["unreadable_bundle"]],
    ["a bundle is cut in its middle", bundle, (bytes) => bytes.slice(0, 30_000), ["unreadable_bundle"]],
    ["a bundle is empty", bundle, () => new Uint8Array(), ["unreadable_bundle"]],
    ["a bundle has more at its end", bundle, (bytes) => concatBytes(bytes, text("x")), ["unreadable_bundle"]],
    ["a bundle has an entry more", bundle, (bytes) => concatBytes(bytes, Uint8Array.of(0, 1, 65)), [
      "unreadable_bundle",
    ]],
    ["a bundle is of 20 MB", bundle, () => new Uint8Array(20_000_000), ["unreadable_bundle"]],
    ["a bundle is gzip of 2 GB", bundle, () => bomb(), ["unreadable_bundle"]],
    ["a bundle is gzip that is cut", bundle, (bytes) => gzipSync(bytes).subarray(0, -9), ["unreadable_bundle"]],
    ["a bundle is another", bundle, () => files.get(`${LOG}/tile/entries/000`), ["entry_changed"]],
    ["a bundle is another organisation's", bundle, () => files.get(`${OTHER}/2026-10/tile/entries/001`), [
      "entry_changed",
      "foreign_entry",
    ]],
    ["a bundle is another month's", bundle, () => files.get(`${ORGANIZATION}/2026-08/tile/entries/000`), [
      "entry_changed",
    ]],
    ["a tile is cut", `${LOG}/tile/0/001`, (bytes) => bytes.slice(0, -32), ["unreadable_tile"]],
    ["a tile is another", `${LOG}/tile/0/001`, () => files.get(`${LOG}/tile/0/000`), ["tile_changed"]],
    ["a tile of level 1 is changed", `${LOG}/tile/1/000.p/2`, (bytes) => flipped(bytes, 40), ["tile_changed"]],
    ["a tile of level 1 is too large", `${LOG}/tile/1/000.p/2`, () => new Uint8Array(20_000), ["unreadable_tile"]],
    ["a checkpoint is of 10 MB", `${LOG}/checkpoint`, () => new Uint8Array(10_000_000).fill(65), ["bad_checkpoint"]],
    ["a checkpoint is gzip of 10 MB", `${LOG}/checkpoint`, () => gzipSync(new Uint8Array(10_000_000)), [
      "bad_checkpoint",
    ]],
    ["a checkpoint is empty", `${LOG}/checkpoint`, () => new Uint8Array(), ["bad_checkpoint"]],
    ["a checkpoint is binary", `${LOG}/checkpoint`, () => Uint8Array.of(0xff, 0xfe, 10, 10), ["bad_checkpoint"]],
    ["a checkpoint has another size", `${LOG}/checkpoint`, edited("\n600\n", "\n599\n"), ["bad_checkpoint"]],
    ["a checkpoint has another origin", `${LOG}/checkpoint`, edited("2026-10\n", "2026-11\n"), ["bad_checkpoint"]],
    ["a checkpoint has a line more", `${LOG}/checkpoint`, edited("=\n\n", "=\nmore\n\n"), ["bad_checkpoint"]],
    ["a checkpoint has no signature", `${LOG}/checkpoint`, edited(/\n\n.*/s, "\n\n"), ["bad_checkpoint"]],
    ["a checkpoint ends in a line of garbage", `${LOG}/checkpoint`, edited(/$/, "garbage\n"), ["bad_checkpoint"]],
    ["a checkpoint is another month's", `${LOG}/checkpoint`, () => files.get(`${ORGANIZATION}/2026-09/checkpoint`), [
      "bad_checkpoint",
    ]],
  ];

  it.each(cases)("%s", async (_, path, change, expected) => {
    const report = await verify(changed(path, change));
    expect(codes(report)).toEqual(expected);
    const folder = path.split("/").slice(0, 2).join("/");
    expect(report.findings.every(({ log }) => log === `${BASE}/${folder}`)).toBe(true);
    // The other logs are none the worse for it.
    const others = report.logs.filter(({ origin }) => origin !== `${BASE}/${folder}`);
    expect(others.every(({ state }) => state === "verified")).toBe(true);
  });

  it("a checkpoint may have lines more that were signed, and signatures of others", async () => {
    const { files, origin } = await oneLog(3);
    const log = files.get(`${LOG}/checkpoint`)!;
    const body = new TextDecoder().decode(log).split("\n\n")[0]!.split("\n");
    const root = Uint8Array.from(Buffer.from(body[2]!, "base64"));
    const extended = formatCheckpoint({ origin, size: 3, root, extensions: ["an extension", "and another"] });
    const signers = [renameKey(KEY, origin), generateKey("witness.example/1", "note")].map(noteSigner);
    files.set(`${LOG}/checkpoint`, text(formatNote(await signNote(extended, signers))));
    expect(await verify(files)).toMatchObject({ verified: true });
  });

  it("two bundles were swapped, alone or with their tiles", async () => {
    for (const kinds of [["entries"], ["entries", "0"]]) {
      const copy = new Map(files);
      for (const kind of kinds) {
        const [a, b] = [`${LOG}/tile/${kind}/000`, `${LOG}/tile/${kind}/001`];
        copy.set(a, files.get(b)!).set(b, files.get(a)!);
      }
      const report = await verify(copy);
      expect(report.verified).toBe(false);
      expect(codes(report)).toContain(kinds.length === 1 ? "entry_changed" : "entries_changed");
    }
  });

  it("two months, or two organisations, were swapped", async () => {
    for (const [a, b] of [[`${ORGANIZATION}/2026-09`, LOG], [`${OTHER}/2026-10`, LOG]] as const) {
      const swapped = new Map(
        [...files].map(([path, bytes]) => [
          path.startsWith(`${a}/`)
            ? b + path.slice(a.length)
            : path.startsWith(`${b}/`)
            ? a + path.slice(b.length)
            : path,
          bytes,
        ]),
      );
      const report = await verify(swapped);
      expect(codes(report)).toContain("bad_checkpoint");
      expect(report.findings.filter(({ code }) => code === "bad_checkpoint").map(({ log }) => log).sort()).toEqual(
        [`${BASE}/${a}`, `${BASE}/${b}`].sort(),
      );
    }
  });

  it("hundreds of bundles are missing: it does not look for all of them", async () => {
    const { files } = await oneLog(60_000);
    for (const path of files.keys()) if (isBundle(path) && !path.endsWith("/000")) files.delete(path);
    const report = await verify(files);
    expect(codes(report)).toEqual(["missing_bundle"]);
    expect(report.findings.at(-1)!.message).toContain("the rest was not read");
  });

  it("there is nothing", async () => {
    const folder = await folderOf([]);
    expect(codes(await verify(files, { target: folder }))).toEqual(["nothing_to_verify"]);
  });
});

const edited = (pattern: string | RegExp, by: string) => (bytes: Uint8Array) =>
  text(new TextDecoder().decode(bytes).replace(pattern, by));

/** Gzip of so many zeros that they must not be made. */
function bomb(): Uint8Array {
  const zeros = gzipSync(new Uint8Array(100_000_000));
  return concatBytes(...Array.from({ length: 20 }, () => new Uint8Array(zeros)));
}

describe("a history that was not signed as it should be", () => {
  /** Makes the log once more of other entries, and signs it. */
  async function relogged(files: Files, change: (entries: string[]) => string[], folder = LOG): Promise<Files> {
    const entries = entriesOf(files, folder);
    const copy: Files = new Map([...files].filter(([path]) => !path.startsWith(`${folder}/`)));
    const log = new SampleLog(`${BASE}/${folder}`, folder, {
      keys: [KEY],
      write: (path, bytes) => void copy.set(path, bytes),
    });
    for (const entry of change(entries)) await log.append(text(entry));
    await log.publish();
    return copy;
  }
  const nameOf = (entry: string) => /"chain":(\d+),"seq":(\d+)/.exec(entry)!.slice(1).join("-");
  const without = (...names: string[]) => (entries: string[]) =>
    entries.filter((entry) => !names.includes(nameOf(entry)));

  const cases: [string, (entries: string[]) => string[], { code: string; entry?: string }[]][] = [
    ["an entry is left out", without("2-7"), [{ code: "entries_missing", entry: "2-8" }]],
    ["the first entry of a chain is left out", without("2-1"), [{ code: "entries_missing", entry: "2-2" }]],
    ["an entry stands in it twice", (entries) => [...entries.slice(0, 50), ...entries.slice(49)], [{
      code: "entry_repeated",
    }]],
    ["two entries are swapped", swapped("2-7", "2-8"), [{ code: "entries_missing", entry: "2-8" }, {
      code: "entry_repeated",
      entry: "2-7",
    }, { code: "entries_missing", entry: "2-9" }]],
    ["an entry was changed, and its chain not hashed again", replaceIn("2-7", "query.executed", "query.execute_"), [{
      code: "link_mismatch",
      entry: "2-8",
    }]],
    ["a first entry does not begin its chain", replaceIn("2-1", /"prev_hash":"../, '"prev_hash":"00'), [{
      code: "link_mismatch",
      entry: "2-1",
    }, { code: "link_mismatch", entry: "2-2" }]],
    ["an entry is of another organisation", replaceIn("2-7", ORGANIZATION, OTHER), [{ code: "foreign_entry" }, {
      code: "entries_missing",
      entry: "2-8",
    }]],
    ["an entry is no entry text", replaceIn("2-7", '{"v":1,', '{"v":2,'), [{ code: "malformed_entry" }, {
      code: "entries_missing",
      entry: "2-8",
    }]],
    ["it is not opened", (entries) => entries.slice(1), [{ code: "bad_opening" }]],
    ["its opening is of another log", replaceIn("999999999-1", /2026-10/g, "2026-11"), [{ code: "link_mismatch" }, {
      code: "bad_opening",
    }]],
    ["a heartbeat saw another entry", replaceIn("999999999-2", /\[1, (\d+), "../, '[1, $1, "00'), [{
      code: "heartbeat_mismatch",
    }, { code: "link_mismatch", entry: "999999999-3" }]],
    [
      "a chain ends before what heartbeats saw",
      (entries) => entries.filter((entry) => !/"chain":3,"seq":(?!\d,)/.test(entry)),
      [{ code: "entries_withheld" }],
    ],
    ["a whole chain is left out", (entries) => entries.filter((entry) => !entry.includes('"chain":3,')), [{
      code: "entries_withheld",
    }]],
  ];

  it.each(cases)("%s", async (_, change, expected) => {
    const { files } = await oneLog(900);
    const report = await verify(await relogged(files, change));
    expect(report.verified).toBe(false);
    const found = report.findings.map(({ code, entry }) => ({ code, entry }));
    for (const finding of expected) expect(found).toContainEqual(expect.objectContaining(finding));
    expect(found).toHaveLength(expected.length);
  });

  it("time runs back in a chain", async () => {
    const change = (row: EntryRow) =>
      row.chain === 2 && row.seq === 7 ? { ...row, created_at: row.created_at - 10n ** 12n } : row;
    expect((await verify((await oneLog(900, { change })).files)).findings).toMatchObject([{
      code: "time_reversed",
      entry: "2-7",
    }]);
  });

  it("times beyond 2^53 are compared exactly", async () => {
    const at = (offset: bigint) => (row: EntryRow) =>
      row.chain === 2 ? { ...row, created_at: 2n ** 60n + BigInt(row.seq) * offset } : row;
    expect(await verify((await oneLog(90, { change: at(1n) })).files)).toMatchObject({ verified: true });
    expect(codes(await verify((await oneLog(90, { change: at(-1n) })).files))).toEqual(["time_reversed"]);
  });

  it("a month in the middle is missing; the oldest may be", async () => {
    const files = await manyLogs();
    const drop = (month: string) =>
      new Map([...files].filter(([path]) => !path.startsWith(`${ORGANIZATION}/${month}/`)));
    const middle = await verify(drop("2026-09"));
    expect(codes(middle)).toEqual(["entries_missing", "missing_log", "month_missing"]);
    const oldest = await verify(drop("2026-08"));
    expect(oldest.findings).toEqual([]);
    expect(oldest.not_proved.join("\n")).toMatch(/2026-08 \(300 entries\) is not in this archive/);
    const newest = await verify(drop("2026-10"));
    expect(newest.findings).toMatchObject([{ code: "missing_log", log: `${BASE}/${LOG}` }]);
  });

  it("only the checkpoint of a month is left: a later log says that retention let go of the rest, or not", async () => {
    const files = await manyLogs();
    const drop = (files: Files, month: string) =>
      new Map([...files].filter(([path]) => !path.startsWith(`${ORGANIZATION}/${month}/`) || isCheckpoint(path)));
    expect(codes(await verify(drop(files, "2026-08")))).toEqual(["missing_bundle"]);
    expect(codes(await verify(drop(files, "2026-09")))).toEqual(["entries_missing", "missing_bundle"]);
    expect(codes(await verify(drop(files, "2026-10")))).toEqual(["missing_bundle"]);

    const checkpoint = new TextDecoder().decode(files.get(`${ORGANIZATION}/2026-08/checkpoint`));
    const [origin, size, root] = checkpoint.split("\n");
    const purged = (size: string) => async () => {
      const files: Files = new Map();
      const organization = sample(files, {
        change: (row) =>
          row.chain === 2 && row.seq === 170
            ? { ...row, action: "log.purged", details: `{"root": "${root}", "size": ${size}, "origin": "${origin}"}` }
            : row,
      });
      await organization.month("2026-08", 300);
      await organization.month("2026-09", 257);
      await organization.month("2026-10", 600);
      return drop(files, "2026-08");
    };
    const report = await verify(await purged(size!)());
    expect(report.findings).toEqual([]);
    expect(report.not_proved.join("\n")).toMatch(
      /The 300 entries of .*2026-08: retention let go of them, as entry 2-170 says/,
    );
    expect(codes(await verify(await purged("299")()))).toEqual(["missing_bundle"]);
  });

  it("a month continues another history than the one before it in the archive", async () => {
    const files = await manyLogs();
    const other: Files = new Map();
    const organization = sample(other, { change: forge(3) });
    await organization.month("2026-08", 300);
    for (const [path, bytes] of other) files.set(path, bytes);
    // The month itself is signed and whole, and so is the next.
    const report = await verify(files, { target: targetWithoutAnchor(files) });
    expect(codes(report)).toEqual(["link_mismatch", "previous_mismatch"]);
    expect(codes(await verify(files))).toEqual(["forked", "link_mismatch", "previous_mismatch"]);
  });

  it("a month ends earlier than the next one says", async () => {
    const files: Files = new Map();
    const organization = sample(files);
    const published = await organization.month("2026-09", 400, { checkpoints: [300] });
    await organization.month("2026-10", 10);
    files.set(`${ORGANIZATION}/2026-09/checkpoint`, text(published.get(300)!));
    const report = await verify(files);
    expect(codes(report)).toContain("rolled_back");
    expect(report.findings.find(({ code }) => code === "rolled_back")!.log).toBe(`${BASE}/${ORGANIZATION}/2026-09`);
  });

  it("says that it is the first log, but is not", async () => {
    const files: Files = new Map();
    await sample(files).month("2026-09", 10);
    const other: Files = new Map();
    await sample(other).month("2026-10", 10);
    for (const [path, bytes] of other) files.set(path, bytes);
    expect(codes(await verify(files))).toEqual(["entry_repeated", "previous_mismatch"]);
  });

  it("continues a log that is not older", async () => {
    const { files } = await oneLog(20);
    const previous = `"previous": {"origin": "${BASE}/${LOG}", "size": 1, "root": "${
      Buffer.from(emptyRoot()).toString("base64")
    }"}`;
    const broken = await relogged(
      files,
      (entries) => [entries[0]!.replace('"previous": null', previous), ...entries.slice(1)],
    );
    expect(codes(await verify(broken))).toContain("bad_opening");
  });

  it("was off for hours: it is said, and no doubt", async () => {
    const { files } = await oneLog(200, {});
    const gaps = await relogged(files, (entries) => entries);
    expect(await verify(gaps)).toMatchObject({ verified: true });
    const slow: Files = new Map();
    await sample(slow).month("2026-10", 60, { interval: 700_000_000n });
    const report = await verify(slow);
    expect(report.findings).toEqual([]);
    expect(report.not_proved.join("\n")).toMatch(/was on from 2026-10-01T\S+ to 2026-10-01T\S+: no heartbeat says so/);
  });
});

describe("the anchor log", () => {
  const anchored = async (change: (bodies: string[]) => string[]): Promise<Files> => {
    const files = await manyLogs();
    const bodies = entriesOf(files, "anchor");
    for (const path of files.keys()) if (path.startsWith("anchor/")) files.delete(path);
    const log = new SampleLog(`${BASE}/anchor`, "anchor", {
      keys: [KEY],
      write: (path, bytes) => void files.set(path, bytes),
    });
    for (const body of change(bodies)) await log.append(text(body));
    await log.publish();
    return files;
  };

  it.each<[string, (bodies: string[]) => string[], string[]]>([
    ["is as it should be", (bodies) => bodies, []],
    ["lists a log twice at one size", (bodies) => [...bodies, bodies.at(-1)!], []],
    ["lets a log shrink", (bodies) => [...bodies].reverse(), ["anchor_shrinks"]],
    ["has two roots at one size", (bodies) => [...bodies, rooted(bodies.at(-1)!)], ["anchor_shrinks", "forked"]],
    ["has a root that is not the log's", (bodies) => [rooted(bodies[0]!), ...bodies.slice(1)], ["forked"]],
    ["has more of a log than the archive", (bodies) => [...bodies, bodies[0]!.replace("\n300\n", "\n301\n")], [
      "rolled_back",
    ]],
    ["tells of a log that is not there", (bodies) => [...bodies, bodies[0]!.replace("2026-08", "2026-12")], [
      "missing_log",
    ]],
    ["tells of an organisation that is not there", (bodies) => [...bodies, bodies[0]!.replace("0a0", "0c0")], [
      "missing_log",
    ]],
    ["has an entry of another deployment", (bodies) => [...bodies, bodies[0]!.replace("localhost", "remotehost")], [
      "bad_anchor_entry",
    ]],
    ["has an entry that is no checkpoint", (bodies) => [...bodies, "hello\n"], ["bad_anchor_entry"]],
    ["has an entry with a line more", (bodies) => [...bodies, `${bodies[0]}more\n`], ["bad_anchor_entry"]],
  ])("%s", async (_, change, expected) => {
    const files = await anchored(change);
    const report = await verify(files);
    expect(codes(report)).toEqual(expected);
  });

  it("has only its checkpoint left, which retention never does", async () => {
    const files = await manyLogs();
    for (const path of files.keys()) if (path.startsWith("anchor/tile/")) files.delete(path);
    expect((await verify(files)).findings).toMatchObject([{ code: "missing_bundle", log: `${BASE}/anchor` }]);
  });

  it("narrows where a log was changed that agrees with itself", async () => {
    const files = await manyLogs();
    const forged: Files = new Map();
    const organization = sample(forged, {
      change: (row) => row.chain === 1 && row.seq === 400 ? { ...row, action: "x" } : row,
    });
    await organization.month("2026-08", 300);
    await organization.month("2026-09", 257);
    await organization.month("2026-10", 600);
    for (const [path, bytes] of forged) if (path.startsWith(LOG) && !isCheckpoint(path)) files.set(path, bytes);
    const { findings } = await verify(files);
    expect(findings[0]).toMatchObject({ code: "entries_changed", index: 100 });
    expect(findings[0]!.message).toContain("(with index 100 to 399)");
  });
});

const rooted = (body: string) => body.replace(/\n[^\n]{2}([^\n]*=)\n$/, "\nAA$1\n");

describe("whatever is changed in an archive is found", () => {
  /** Two months and the anchor log, with every file that their checkpoints need and none besides. */
  let files: Files;
  beforeAll(async () => {
    files = new Map();
    const organization = sample(files);
    const notes = [await organization.month("2026-09", 262), await organization.month("2026-10", 7)];
    await writeAnchor(files, notes.flatMap((published) => [...published.values()]));
    expect(await verify(files)).toMatchObject({ verified: true });
    expect(files.size).toBe(12);
  });
  const anyFile = () => fc.nat().map((number) => [...files.keys()][number % files.size]!);

  it("by a single bit, anywhere", async () => {
    await fc.assert(
      fc.asyncProperty(anyFile(), fc.nat(), fc.integer({ min: 0, max: 7 }), async (path, at, bit) => {
        const bytes = files.get(path)!;
        const tampered = new Map(files).set(path, flipped(bytes, at % bytes.length, 1 << bit));
        expect(await verify(tampered)).toMatchObject({ verified: false });
      }),
      { numRuns: 600 },
    );
  });

  it("by a single bit of a compressed file, unless that says the same", async () => {
    const zipped: Files = new Map([...files].map(([path, bytes]) => [path, new Uint8Array(gzipSync(bytes))]));
    let harmless = 0;
    await fc.assert(
      fc.asyncProperty(anyFile(), fc.nat(), fc.integer({ min: 0, max: 7 }), async (path, at, bit) => {
        const bytes = flipped(zipped.get(path)!, at % zipped.get(path)!.length, 1 << bit);
        const { verified } = await verify(new Map(zipped).set(path, bytes));
        // What gzip says beside the content: its time, its system, how hard it tried.
        const isHarmless = (await decoded(bytes, 1e8).catch(() => bytes)).toString() === files.get(path)!.toString();
        harmless += Number(isHarmless);
        expect(verified).toBe(isHarmless);
      }),
      { numRuns: 300 },
    );
    expect(harmless).toBeLessThan(100);
  });

  it("by cutting, adding, removing, replacing and swapping, several times over", async () => {
    const edit = fc.record({
      kind: fc.constantFrom("cut", "add", "remove", "replace", "swap", "rename"),
      path: anyFile(),
      other: anyFile(),
      at: fc.nat(),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(edit, { minLength: 1, maxLength: 4 }), async (edits) => {
        const tampered = new Map(files);
        for (const { kind, path, other, at } of edits) {
          const [bytes, others] = [tampered.get(path), tampered.get(other)];
          if (bytes === undefined || others === undefined) continue;
          if (kind === "cut") tampered.set(path, bytes.slice(0, at % bytes.length));
          if (kind === "add") tampered.set(path, concatBytes(bytes, bytes.slice(at % bytes.length)));
          if (kind === "remove") tampered.delete(path);
          if (kind === "replace") tampered.set(path, others);
          if (kind === "swap") tampered.set(path, others).set(other, bytes);
          if (kind === "rename") tampered.set(`${path}.p/1`, bytes).delete(path);
        }
        const isSame = [...files].every(([path, bytes]) => tampered.get(path)?.toString() === bytes.toString());
        expect((await verify(tampered)).verified).toBe(isSame);
      }),
      { numRuns: 400 },
    );
  });
});

function entriesOf(files: Files, folder: string): string[] {
  return [...files.keys()].filter((path) => path.startsWith(`${folder}/tile/entries/`)).sort().flatMap((path) => {
    const width = path.includes(".p/") ? Number(path.split(".p/")[1]) : 256;
    return decodeBundle(files.get(path)!, width).map((entry) => new TextDecoder().decode(entry));
  });
}

function replaceIn(name: string, pattern: string | RegExp, by: string) {
  return (entries: string[]) =>
    entries.map((entry) =>
      entry.includes(`"chain":${name.replace("-", ',"seq":')},`) ? entry.replace(pattern, by) : entry
    );
}

function swapped(a: string, b: string) {
  return (entries: string[]) => {
    const at = [a, b].map((name) =>
      entries.findIndex((entry) => entry.includes(`"chain":${name.replace("-", ',"seq":')},`))
    );
    const copy = [...entries];
    [copy[at[0]!], copy[at[1]!]] = [entries[at[1]!]!, entries[at[0]!]!];
    return copy;
  };
}

function targetWithoutAnchor(files: Files) {
  return targetOf(new Map([...files].filter(([path]) => !path.startsWith("anchor/"))));
}

/** Changes one entry of a bundle, and its hash in the tile if asked. */
function rewriteEntry(files: Files, bundle: number, at: number, change: (entry: string) => string, withTile = false) {
  const path = [...files.keys()].find((path) => path.startsWith(`${LOG}/tile/entries/00${bundle}`))!;
  const entries = decodeBundle(files.get(path)!, path.includes(".p/") ? Number(path.split(".p/")[1]) : 256);
  entries[at] = text(change(new TextDecoder().decode(entries[at])));
  files.set(path, encodeBundle(entries));
  if (!withTile) return;
  const tile = files.get(path.replace("/entries/", "/0/"))!.slice();
  tile.set(leafHash(entries[at]!), at * 32);
  files.set(path.replace("/entries/", "/0/"), tile);
}

async function manyLogs(): Promise<Files> {
  const files: Files = new Map();
  const first = sample(files);
  const notes = [
    await first.month("2026-08", 300),
    await first.month("2026-09", 257),
    await first.month("2026-10", 600, { checkpoints: [100, 400] }),
  ];
  const second = sample(files, {}, OTHER);
  notes.push(await second.month("2026-09", 1), await second.month("2026-10", 697));
  await writeAnchor(files, notes.flatMap((published) => [...published.values()]));
  return files;
}

/** An anchor log of what these checkpoints say. */
async function writeAnchor(files: Files, notes: string[]): Promise<string> {
  const anchor = new SampleLog(`${BASE}/anchor`, "anchor", {
    keys: [KEY],
    write: (path, bytes) => void files.set(path, new Uint8Array(bytes)),
  });
  for (const note of notes) await anchor.append(text(note.slice(0, note.indexOf("\n\n") + 1)));
  return anchor.publish();
}
