// What is verified beside archives: receipts, remembered checkpoints, exports, witnesses, databases, archives behind
// HTTP; and the command line.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { entryHash, type EntryRow, parseEntryText } from "../../functions/_shared/entry.ts";
import { decodeBundle } from "../../functions/_shared/tlog/bundle.ts";
import { parseCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import { cosigner } from "../../functions/_shared/tlog/cosignature.ts";
import { leafHash } from "../../functions/_shared/tlog/hash.ts";
import { formatVerifierKey, generateKey, renameKey } from "../../functions/_shared/tlog/key.ts";
import { formatNote, noteSigner, parseNote, signNote, withSignatures } from "../../functions/_shared/tlog/note.ts";
import { proveInclusion } from "../../functions/_shared/tlog/prove.ts";
import { formatReceipt } from "../../functions/_shared/tlog/receipt.ts";
import { tilePath } from "../../functions/_shared/tlog/tile.ts";
import { LOG_CHAIN } from "../../scripts/cli/verify/bundle_check.ts";
import { Chains } from "../../scripts/cli/verify/chains.ts";
import { compareRows, type Row } from "../../scripts/cli/verify/database.ts";
import { manifestText } from "../../scripts/cli/verify/export.ts";
import { Ledger } from "../../scripts/cli/verify/ledger.ts";
import type { Purge } from "../../scripts/cli/verify/month.ts";
import { SampleLog } from "../../scripts/bench/sample_archive.ts";
import {
  BASE,
  codes,
  type Files,
  folderOf,
  KEY,
  oneLog,
  ORGANIZATION,
  OTHER,
  sample,
  verify,
  VKEY,
} from "./verify_archive.ts";

const text = (value: string) => new TextEncoder().encode(value);
const string = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
const LOG = `${ORGANIZATION}/2026-10`;
const forge = (row: EntryRow): EntryRow => row.chain === 1 && row.seq === 40 ? { ...row, action: "query.forged" } : row;

function entriesOf(files: Files, folder = LOG): Uint8Array[] {
  return [...files.keys()].filter((path) => path.startsWith(`${folder}/tile/entries/`)).sort().flatMap((path) =>
    decodeBundle(files.get(path)!, path.includes(".p/") ? Number(path.split(".p/")[1]) : 256)
  );
}

async function receiptOf(files: Files, index: number, extra?: Uint8Array, folder = LOG): Promise<string> {
  const checkpoint = parseNote(files.get(`${folder}/checkpoint`)!);
  const path = await proveInclusion(
    parseCheckpoint(checkpoint.text),
    index,
    leafHash(entriesOf(files, folder)[index]!),
    async (level, index, width) => files.get(`${folder}/${tilePath({ level, index, width })}`)!,
  );
  return formatReceipt({ index, path, checkpoint, ...(extra === undefined ? {} : { extra }) });
}

describe("a receipt", () => {
  let files: Files;
  let entry: Uint8Array;
  let folder: string;
  beforeAll(async () => {
    files = (await oneLog(600)).files;
    entry = entriesOf(files)[300]!;
  });
  const given = async (more: Record<string, Uint8Array | string> = {}) => {
    folder = await folderOf(
      Object.entries({
        "r.tlog-proof": await receiptOf(files, 300),
        "full.tlog-proof": await receiptOf(files, 300, entry),
        "e.json": entry,
        "line.json": `${string(entry)}\n`,
        ...more,
      }),
    );
    return (receipt: string, entryFile?: string, request: object = {}) =>
      verify(files, {
        target: undefined,
        receiptFiles: [`${folder}/${receipt}`],
        entryFile: entryFile && `${folder}/${entryFile}`,
        ...request,
      });
  };

  it("proves an entry that is given, that it holds, or that stands in the archive; alone and against it", async () => {
    const check = await given();
    for (
      const [receipt, entryFile] of [["r.tlog-proof", "e.json"], ["r.tlog-proof", "line.json"], [
        "full.tlog-proof",
      ]] as const
    ) {
      const report = await check(receipt, entryFile);
      expect(report).toMatchObject({ verified: true, findings: [] });
      const row = parseEntryText(entry)!;
      expect(report.proved[0]).toContain(`entry ${row.chain}-${row.seq} is in ${BASE}/${LOG}, at index 300`);
    }
    const against = await verify(files, { receiptFiles: [`${folder}/r.tlog-proof`] });
    expect(against).toMatchObject({ verified: true, entries: 600 });
    expect(against.proved.join("\n")).toContain("(600 entries) is the beginning of");
  });

  it.each<[string, (receipt: string, entry: string) => { receipt?: string; entry?: string; keys?: string[] }]>([
    ["without its entry", () => ({ entry: undefined! })],
    ["of another entry", (_, entry) => ({ entry: entry.replace("query.executed", "query.execute_") })],
    ["of what is no entry", () => ({ entry: "hello" })],
    ["of an entry of another organisation", (_, entry) => ({ entry: entry.replace(ORGANIZATION, OTHER) })],
    ["with two line feeds behind the entry", (_, entry) => ({ entry: `${entry}\n\n` })],
    ["with another index", (receipt) => ({ receipt: receipt.replace("index 300", "index 301") })],
    ["with another path", (receipt) => ({ receipt: receipt.replace(/(index 300\n)(..)/, "$1AA") })],
    ["with a checkpoint that was changed", (receipt) => ({ receipt: receipt.replace("\n600\n", "\n601\n") })],
    ["of another log", (receipt) => ({ receipt: receipt.replace("/2026-10\n", "/2026-11\n") })],
    ["of another deployment", (receipt) => ({ receipt: receipt.replace("localhost/audit/", "elsewhere/audit/") })],
    ["signed by an unknown key", () => ({ keys: [formatVerifierKey(generateKey(BASE, "note"))] })],
    ["that is cut", (receipt) => ({ receipt: receipt.slice(0, -20) })],
    ["that is empty", () => ({ receipt: "" })],
    ["of 10 MB", () => ({ receipt: "x".repeat(10_000_000) })],
  ])("%s proves nothing", async (_, change) => {
    const genuine = await receiptOf(files, 300);
    const { receipt = genuine, keys, ...rest } = change(genuine, string(entry));
    const changed = "entry" in rest ? rest.entry : string(entry);
    const check = await given({ "x.tlog-proof": receipt, ...(changed === undefined ? {} : { "x.json": changed }) });
    const report = await check("x.tlog-proof", changed === undefined ? undefined : "x.json", keys && { keys });
    expect(codes(report)).toEqual(["bad_receipt"]);
    expect(report.proved).toEqual([]);
  });

  it("shows an archive that was signed anew: a fork", async () => {
    await given();
    const forged = (await oneLog(700, { change: forge })).files;
    const report = await verify(forged, { receiptFiles: [`${folder}/full.tlog-proof`], entryFile: `${folder}/e.json` });
    expect(codes(report)).toEqual(["forked"]);
  });
});

describe("a remembered checkpoint", () => {
  it("is the beginning of the log, or shows a rollback or a fork", async () => {
    const { files, checkpoints } = await oneLog(700, {}, [1, 255, 256, 300, 600]);
    const forged = await oneLog(900, { change: forge }, [300]);
    const folder = await folderOf([
      ...[1, 255, 256, 300, 600, 700].map((size): [string, string] => [`${size}`, checkpoints.get(size)!]),
      ["forged-300", forged.checkpoints.get(300)!],
      ["forged-900", forged.checkpoints.get(900)!],
      ["large", "x".repeat(500_000)],
      ["huge", "x".repeat(10_000_000)],
    ]);
    const oldFiles = (...names: (string | number)[]) => ({ oldFiles: names.map((name) => `${folder}/${name}`) });
    const all = await verify(files, oldFiles(1, 255, 256, 300, 600, 700));
    expect(all).toMatchObject({ verified: true });
    expect(all.proved.filter((statement) => statement.includes("is the beginning of"))).toHaveLength(6);

    const back: Files = new Map(files).set(`${LOG}/checkpoint`, text(checkpoints.get(600)!));
    back.set(`${LOG}/tile/entries/002.p/88`, files.get(`${LOG}/tile/entries/002.p/88`)!);
    const rolled = await verify(back, oldFiles(700));
    expect(rolled.findings).toMatchObject([{ code: "rolled_back", log: `${BASE}/${LOG}` }]);
    expect(rolled.findings[0]!.message).toMatch(/has 700 entries and this archive only 600/);

    expect((await verify(files, oldFiles("forged-300"))).findings).toMatchObject([{ code: "forked" }]);
    expect((await verify(forged.files, oldFiles(300, 700))).findings).toMatchObject([{ code: "forked" }, {
      code: "forked",
    }]);
    expect(codes(await verify(files, oldFiles("large")))).toEqual(["bad_checkpoint"]);
    expect(codes(await verify(files, oldFiles("huge")))).toEqual(["bad_checkpoint"]);
    await expect(verify(files, oldFiles("nothing"))).rejects.toThrow("cannot be read");
    // Of a log that is not there.
    const other: Files = new Map();
    await sample(other, {}, OTHER).month("2026-10", 5);
    expect(codes(await verify(other, oldFiles(300)))).toEqual(["missing_log"]);
  });

  it("of a log whose entries have expired cannot be compared", async () => {
    const { files, checkpoints } = await oneLog(300, {}, [200]);
    const folder = await folderOf([["old", checkpoints.get(200)!]]);
    const expired = new Map([...files].filter(([path]) => path.endsWith("/checkpoint")));
    expect(codes(await verify(expired, { oldFiles: [`${folder}/old`] }))).toEqual(["missing_bundle"]);
  });
});

describe("a log that let go of its beginning", () => {
  it("verifies from an index on, by the hashes of what is gone", async () => {
    const { files } = await oneLog(900);
    const pruned = new Map([...files].filter(([path]) => !/entries\/00[01]$/.test(path)));
    expect(codes(await verify(pruned))).toEqual(["missing_bundle"]);
    const report = await verify(pruned, { fromIndex: 512 });
    expect(report).toMatchObject({ verified: true, entries: 900 - 512 });
    expect(report.not_proved.join("\n")).toMatch(/before index 512: they were not read, only their hashes/);
    expect(codes(await verify(pruned, { fromIndex: 511 }))).toEqual(["missing_bundle"]);
    pruned.set(`${LOG}/tile/0/001`, pruned.get(`${LOG}/tile/0/000`)!);
    expect((await verify(pruned, { fromIndex: 512 })).verified).toBe(false);
  });
});

describe("witnesses", () => {
  const witnesses = ["a", "b", "c"].map((name) => generateKey(`witness.example/${name}`, "cosignature"));
  const policy = (quorum: string) =>
    [
      ...witnesses.map((key, at) => `witness w${at} ${formatVerifierKey(key)}`),
      "group two 2 w0 w1 w2",
      `quorum ${quorum}`,
      "",
    ].join("\n");
  const cosigned = async (note: Uint8Array, number: number): Promise<Uint8Array> => {
    const parsed = parseNote(note);
    const signed = await signNote(parsed.text, witnesses.slice(0, number).map((key) => cosigner(key, 1_790_000_000)));
    return text(formatNote(withSignatures(parsed, signed.signatures)));
  };

  it("have cosigned enough, or too few", async () => {
    const { files } = await oneLog(20);
    const path = `${LOG}/checkpoint`;
    const by = async (number: number) => new Map(files).set(path, await cosigned(files.get(path)!, number));
    expect(await verify(await by(2), { policy: policy("two") })).toMatchObject({ verified: true });
    expect((await verify(await by(2), { policy: policy("two") })).proved.join()).toContain("Witnesses have seen 1 log");
    expect(codes(await verify(await by(1), { policy: policy("two") }))).toEqual(["not_witnessed"]);
    expect(codes(await verify(await by(3), { policy: policy("w2") }))).toEqual([]);
    // A cosignature of a known witness that does not verify.
    const broken = string((await by(3)).get(path)!).replace(/(witness.example\/c \S{30})../, "$1AA");
    expect(codes(await verify(new Map(files).set(path, text(broken)), { policy: policy("two") }))).toEqual([
      "bad_checkpoint",
    ]);
    await expect(verify(files, { policy: "quorum nobody\n" })).rejects.toThrow("nobody");
  });

  it("have seen a log through the anchor log, as far as that goes", async () => {
    const { files, checkpoints } = await oneLog(60, {}, [50]);
    const anchor = new SampleLog(`${BASE}/anchor`, "anchor", {
      keys: [KEY],
      write: (path, bytes) => void files.set(path, bytes),
    });
    await anchor.append(text(checkpoints.get(50)!.split("\n\n")[0]! + "\n"));
    await anchor.publish();
    expect(codes(await verify(files, { policy: policy("two") }))).toEqual(["not_witnessed"]);
    files.set("anchor/checkpoint", await cosigned(files.get("anchor/checkpoint")!, 2));
    const report = await verify(files, { policy: policy("two") });
    expect(report).toMatchObject({ verified: true });
    expect(report.not_proved.join("\n")).toContain("That witnesses have seen the last 10 entries of");
  });

  it("have seen the entry of a receipt, by the anchor log's receipt of its log", async () => {
    const { files, checkpoints } = await oneLog(60, {}, [50]);
    const anchor = new SampleLog(`${BASE}/anchor`, "anchor", {
      keys: [KEY],
      write: (path, bytes) => void files.set(path, bytes),
    });
    const anchored = [50, 60].map((size) => text(checkpoints.get(size)!.split("\n\n")[0]! + "\n"));
    for (const checkpoint of anchored) await anchor.append(checkpoint);
    await anchor.publish();
    const plain = await receiptOf(files, 1, anchored[1], "anchor");
    files.set("anchor/checkpoint", await cosigned(files.get("anchor/checkpoint")!, 2));
    const genuine = await receiptOf(files, 1, anchored[1], "anchor");
    const folder = await folderOf(
      Object.entries({
        receipt: await receiptOf(files, 30, entriesOf(files)[30]!),
        genuine,
        plain,
        "of another checkpoint": await receiptOf(files, 0, anchored[0], "anchor"),
        "without its checkpoint": await receiptOf(files, 1, undefined, "anchor"),
        "of what is no checkpoint": genuine.replace(/^extra .*$/m, "extra AAAA"),
        "at another place": genuine.replace("index 1", "index 0"),
        "of the log itself": await receiptOf(files, 30, anchored[1]),
        "that is empty": "",
      }),
    );
    const check = (anchorFile: string, request: object = {}) =>
      verify(files, {
        target: undefined,
        receiptFiles: [`${folder}/receipt`],
        anchorFile: `${folder}/${anchorFile}`,
        policy: policy("two"),
        ...request,
      });
    const report = await check("genuine");
    expect(report).toMatchObject({ verified: true, findings: [] });
    expect(report.proved.join("\n")).toMatch(/is in localhost\/audit\/anchor, at index 1\.\n.*enough witnesses/);
    expect(codes(await check("plain"))).toEqual(["not_witnessed"]);
    expect(codes(await check("plain", { policy: undefined }))).toEqual([]);
    expect(codes(await check("genuine", { keys: [formatVerifierKey(generateKey(BASE, "note"))] }))).toEqual([
      "bad_receipt",
    ]);
    for (
      const wrong of [
        "of another checkpoint",
        "without its checkpoint",
        "of what is no checkpoint",
        "at another place",
        "of the log itself",
        "that is empty",
      ]
    ) {
      expect([wrong, codes(await check(wrong))]).toEqual([wrong, ["bad_receipt", "not_witnessed"]]);
      expect(codes(await check(wrong, { policy: undefined }))).toEqual(["bad_receipt"]);
    }
    // Against the archive, the anchor log there is the one that the receipt is of.
    const against = await verify(files, { receiptFiles: [`${folder}/receipt`], anchorFile: `${folder}/genuine` });
    expect(against).toMatchObject({ verified: true });
    expect(against.proved.join("\n")).toContain("(2 entries) is the beginning of localhost/audit/anchor");
  });
});

describe("an export", () => {
  const name = (row: EntryRow) => `${row.chain}-${row.seq}`;
  let files: Files;
  let rows: EntryRow[];
  beforeAll(async () => {
    files = (await oneLog(400)).files;
    rows = entriesOf(files).map((entry) => parseEntryText(entry)!).sort((a, b) =>
      Number(a.created_at - b.created_at) || a.chain - b.chain || a.seq - b.seq
    );
  });
  const texts = () => new Map(entriesOf(files).map((entry) => [name(parseEntryText(entry)!), string(entry)]));
  const line = (entry: string) =>
    `{"hash":"${entryHash(entry)}","email":"a\\"b@example.com","ip_address":null,"user_agent":"x","entry":${entry}}\n`;

  type Change = {
    rows?: (rows: EntryRow[]) => EntryRow[];
    line?: (line: string, at: number) => string;
    manifest?: (manifest: Record<string, unknown>) => void;
    files?: (files: Map<string, Uint8Array | string>) => void;
    gzip?: boolean;
    filter?: unknown;
    format?: string;
  };
  async function made(change: Change = {}): Promise<string> {
    const all = texts();
    const chosen = (change.rows ?? ((same) => same))(rows);
    const parts = [chosen.slice(0, 150), chosen.slice(150)].filter((part) => part.length > 0);
    let at = 0;
    const contents = parts.map((part) =>
      part.map((row) => (change.line ?? ((same) => same))(line(all.get(name(row))!), at++)).join("")
    );
    const manifest: Record<string, unknown> = {
      version: 1,
      organization_id: ORGANIZATION,
      format: change.format ?? "ndjson",
      filter: change.filter ?? { and: [] },
      complete: true,
      entries: chosen.length,
      first: chosen.length === 0 ? null : name(chosen[0]!),
      last: chosen.length === 0 ? null : name(chosen.at(-1)!),
      checkpoint: string(files.get(`${LOG}/checkpoint`)!),
      parts: parts.map((part, index) => ({
        part: index + 1,
        entries: part.length,
        bytes: text(contents[index]!).length,
        sha256: createHash("sha256").update(contents[index]!).digest("hex"),
        first: name(part[0]!),
        last: name(part.at(-1)!),
      })),
    };
    change.manifest?.(manifest);
    const bytes = text(JSON.stringify(manifest));
    const out = new Map<string, Uint8Array | string>([
      ["manifest.json", bytes],
      ["manifest.note", formatNote(await signNote(manifestText(bytes), [noteSigner(KEY)]))],
      ...contents.map((content, index): [string, Uint8Array | string] =>
        change.gzip ? [`part-000${index + 1}.ndjson.gz`, gzipSync(content)] : [`part-000${index + 1}.ndjson`, content]
      ),
    ]);
    change.files?.(out);
    return folderOf(out);
  }
  const check = async (change: Change = {}, withArchive = false) =>
    verify(files, { exportFolder: await made(change), ...(withArchive ? {} : { target: undefined }) });

  it("is what was signed, whole and linked; alone, against the archive, and compressed", async () => {
    for (const gzip of [false, true]) {
      const alone = await check({ gzip });
      expect(alone).toMatchObject({ verified: true, findings: [] });
      expect(alone.proved.join("\n")).toContain("The export has 400 entries of 4 chains");
    }
    const against = await check({}, true);
    expect(against).toMatchObject({ verified: true, findings: [] });
    expect(against.proved.join("\n")).toContain(
      "Every entry of the export is the one in the archive, and it leaves none out",
    );
  });

  it("of nothing, or of what a filter finds", async () => {
    expect(await check({ rows: () => [] })).toMatchObject({ verified: true });
    const filter = { field: "action", value: "query.executed" };
    const some = await check({ rows: (rows) => rows.filter(({ seq }) => seq % 3 === 1), filter }, true);
    expect(some).toMatchObject({ verified: true });
    expect(some.proved.join("\n")).toContain("Every entry of the export is the one in the archive.");
    expect(some.not_proved.join("\n")).toContain("every entry that its filter asks for");
  });

  it("in a format without entry texts is only compared with what was signed", async () => {
    const report = await check({ format: "csv" });
    expect(report).toMatchObject({ verified: true });
    expect(report.not_proved.join("\n")).toContain("format csv has no entry texts");
  });

  it.each<[string, Change, string[]]>([
    ["a part is missing", { files: (out) => void out.delete("part-0002.ndjson") }, ["export_incomplete"]],
    ["a part was changed", { files: (out) => void out.set("part-0001.ndjson", `${out.get("part-0001.ndjson")}x`) }, [
      "bad_export",
      "export_incomplete",
    ]],
    ["there is another file", { files: (out) => void out.set("part-0003.ndjson", "x") }, ["bad_export"]],
    ["the manifest was changed", {
      files: (out) => void out.set("manifest.json", `${string(out.get("manifest.json") as Uint8Array)} `),
    }, ["bad_export"]],
    ["nobody signed it", { files: (out) => void out.delete("manifest.note") }, ["bad_export"]],
    ["the signature is garbage", { files: (out) => void out.set("manifest.note", "x") }, ["bad_export"]],
    ["the manifest is none", {
      manifest: (manifest) => void (manifest["version"] = 2),
    }, ["bad_export"]],
    ["it was not made to its end", { manifest: (manifest) => void (manifest["complete"] = false) }, [
      "export_incomplete",
    ]],
    ["the sum is wrong", { manifest: (manifest) => void (manifest["entries"] = 401) }, ["bad_export"]],
    ["a part has other bounds", {
      manifest: (manifest) => void ((manifest["parts"] as { first: string }[])[0]!.first = "1-2"),
    }, ["bad_export"]],
    ["an entry is left out", { rows: (rows) => rows.filter((row) => name(row) !== "2-7") }, ["export_incomplete"]],
    [
      "an entry stands in it twice",
      { rows: (rows) => rows.flatMap((row) => name(row) === "2-7" ? [row, row] : [row]) },
      ["export_incomplete"],
    ],
    [
      "an entry was changed",
      { line: (line, at) => at === 7 ? line.replace("query.executed", "query.execute_") : line },
      ["bad_export"],
    ],
    ["a hash was changed", { line: (line, at) => at === 7 ? line.replace(/"hash":"../, '"hash":"00') : line }, [
      "bad_export",
      "export_incomplete",
    ]],
    ["a line is no entry", { line: (line, at) => at === 7 ? "{}\n" : line }, ["bad_export", "export_incomplete"]],
  ])("%s", async (_, change, expected) => {
    const report = await check(change);
    expect(codes(report)).toEqual(expected);
  });

  it("is signed by another key, or of another archive", async () => {
    const folder = await made();
    const keys = [formatVerifierKey(generateKey(BASE, "note"))];
    expect(codes(await verify(files, { target: undefined, exportFolder: folder, keys }))).toContain("bad_export");
    const forged = (await oneLog(400, { change: forge })).files;
    const report = await verify(forged, { exportFolder: folder });
    expect(codes(report)).toEqual(["export_mismatch", "forked"]);
    expect(report.findings.some(({ entry }) => entry === "1-40")).toBe(true);
    const other: Files = new Map();
    await sample(other, {}, OTHER).month("2026-10", 5);
    expect(codes(await verify(other, { exportFolder: folder }))).toEqual(["export_mismatch", "missing_log"]);
  });
});

describe("a database beside the archive", () => {
  const rowsOf = (files: Files): Row[] =>
    entriesOf(files).map((entry) => {
      const { chain, seq } = parseEntryText(entry)!;
      return { chain, seq, text: string(entry), hash: entryHash(entry) };
    }).sort((a, b) => a.chain - b.chain || a.seq - b.seq);

  async function compared(change: (rows: Row[]) => Row[], purges: Purge[] = []) {
    const { files } = await oneLog(500);
    const rows = rowsOf(files);
    const chains = new Chains(ORGANIZATION);
    for (const { chain, seq, hash, text: entry } of rows) {
      const { created_at: at, prev_hash: prevHash } = parseEntryText(entry)!;
      const segment = {
        chain,
        seq,
        count: 1,
        prevHash,
        firstAt: at,
        lastAt: at,
        position: 0,
        lastPosition: 0,
        hashAt: 0,
      };
      expect(chains.join(segment, new Uint8Array(Buffer.from(hash, "hex")), "log", 0)).toBeUndefined();
    }
    const ledger = new Ledger();
    await compareRows(change(rows), { organizationId: ORGANIZATION, chains, logs: [], purges }, ledger);
    return ledger;
  }

  it("has the same entries", async () => {
    const ledger = await compared((rows) => rows);
    expect(ledger.findings).toEqual([]);
    expect(ledger.proved[0]).toContain("The database has 500 entries");
  });

  it("was rewritten: an old entry changed and its chain hashed again to the end", async () => {
    const forged = rowsOf((await oneLog(500, { change: forge })).files);
    const { findings } = await compared(() => forged);
    // The heartbeats' own chain, too: they say what they saw.
    expect(findings).toMatchObject([{ code: "database_differs", entry: "1-40" }, { entry: `${LOG_CHAIN}-2` }]);
    expect(findings[0]!.message).toMatch(
      /^Entry 1-40 was changed in the database: .* So with \d+ entries behind it, to 1-\d+\.$/,
    );
  });

  it.each<[string, (rows: Row[]) => Row[], string[]]>([
    ["lacks an entry", (rows) => rows.filter(({ chain, seq }) => chain !== 2 || seq !== 9), ["2-9"]],
    ["lacks the end of a chain", (rows) => rows.filter(({ chain, seq }) => chain !== 2 || seq < 9), ["2-9"]],
    [
      "has another hash beside an entry",
      (rows) => rows.map((row) => row.chain === 3 && row.seq === 4 ? { ...row, hash: "00".repeat(32) } : row),
      ["3-4"],
    ],
    [
      "has an entry changed",
      (rows) =>
        rows.map((row) =>
          row.chain === 3 && row.seq === 4 ? { ...row, text: row.text.replace("query", "quary") } : row
        ),
      ["3-4"],
    ],
    ["has an entry twice", (rows) => rows.flatMap((row) => row.chain === 3 && row.seq === 4 ? [row, row] : [row]), [
      "3-4",
    ]],
  ])("%s", async (_, change, expected) => {
    const { findings } = await compared(change);
    expect(findings.map(({ entry }) => entry)).toEqual(expected);
    expect(new Set(findings.map(({ code }) => code))).toEqual(new Set(["database_differs"]));
  });

  it("has let go of the oldest, as the log says or not, and has some that are not sealed yet", async () => {
    const purge = (seq: number): Purge => ({ name: "3-1", bounds: [{ chain: 1, seq, hash: "" }] });
    const without = (
      rows: Row[],
    ) => [...rows.filter(({ chain, seq }) => chain !== 1 || seq > 10), {
      chain: LOG_CHAIN,
      seq: rows.at(-1)!.seq + 1,
      text: "x",
      hash: "",
    }];
    const ledger = await compared(without, [purge(4), purge(10)]);
    expect(ledger.findings).toEqual([]);
    expect(ledger.notProved.join("\n")).toMatch(
      /The oldest 10 entries .* retention let go .*\n1 entry .* not sealed yet/,
    );
    const [beyond] = (await compared(without, [purge(4)])).findings;
    expect(beyond).toMatchObject({ entry: "1-5", message: expect.stringContaining("to 1-10") });
    const all = await compared((rows) => rows.filter(({ chain }) => chain !== 1));
    expect(all.findings).toMatchObject([{ code: "database_differs", entry: "1-1" }]);
  });
});

describe("an archive behind HTTP", () => {
  /** Serves files as the function `audit` does, and notes what it was asked. */
  async function serve(
    files: Files,
    respond?: (request: IncomingMessage, response: ServerResponse, path: string) => boolean,
  ): Promise<{ url: string; requests: IncomingMessage[] }> {
    const requests: IncomingMessage[] = [];
    const server = createServer((request, response) => {
      requests.push(request);
      const path = request.url!.replace("/archive/", "");
      if (respond?.(request, response, path)) return;
      const bytes = files.get(path);
      response.writeHead(bytes === undefined ? 404 : 200).end(bytes);
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    onTestFinished(() => void server.close());
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/archive`, requests };
  }
  let files: Files;
  beforeAll(async () => {
    files = new Map();
    const organization = sample(files);
    await organization.month("2026-08", 30);
    await organization.month("2026-09", 300);
    await organization.month("2026-10", 600);
  });

  it("is followed from the newest month to the oldest, with the token", async () => {
    const { url, requests } = await serve(files);
    for (const request of [{ target: `${url}/${LOG}` }, { target: `${url}/${ORGANIZATION}/`, month: "2026-10" }]) {
      const report = await verify(files, { ...request, token: "secret" });
      expect(report).toMatchObject({ verified: true, entries: 930, findings: [] });
    }
    expect(requests.every(({ headers }) => headers.authorization === "Bearer secret")).toBe(true);
    // Partial files that no checkpoint implies are never asked for.
    expect(requests.every(({ url }) => !url!.includes(".p/") || files.has(url!.replace("/archive/", "")))).toBe(true);
  });

  it("ends where earlier months are not there, which is said", async () => {
    const { url } = await serve(new Map([...files].filter(([path]) => !path.includes("2026-08"))));
    const report = await verify(files, { target: `${url}/${LOG}` });
    expect(report).toMatchObject({ verified: true, entries: 900 });
    expect(report.not_proved.join("\n")).toContain("2026-08 (30 entries) is not in this archive");
  });

  it("takes the 400 of Storage for what it is, and tries again what passes", async () => {
    let busy = 0;
    const { url } = await serve(files, (_, response, path) => {
      if (path.endsWith("tile/0/001") && busy++ === 0) {
        response.writeHead(429, { "retry-after": "0" }).end();
        return true;
      }
      if (files.has(path)) return false;
      response.writeHead(400).end('{"statusCode":"404","error":"not_found","message":"Object not found"}');
      return true;
    });
    expect(await verify(files, { target: `${url}/${LOG}` })).toMatchObject({ verified: true, entries: 930 });
    expect(busy).toBeGreaterThan(1);
    expect(codes(await verify(files, { target: `${url}/${OTHER}/2026-10` }))).toEqual(["missing_checkpoint"]);
  });

  it("never learns a token through a redirect", async () => {
    const elsewhere = await serve(files);
    const { url } = await serve(files, (request, response) => {
      response.writeHead(302, { location: elsewhere.url.replace("/archive", "") + request.url! }).end();
      return true;
    });
    // To another origin over plain HTTP: not at all.
    await expect(verify(files, { target: `${url}/${LOG}`, token: "secret" })).rejects.toThrow("redirects to http://");
    expect(elsewhere.requests).toEqual([]);
    const loop = await serve(files, (request, response) => {
      response.writeHead(302, { location: request.url! }).end();
      return true;
    });
    await expect(verify(files, { target: `${loop.url}/${LOG}` })).rejects.toThrow("again and again");
  });

  it("is not read without a limit", async () => {
    const { url } = await serve(files, (_, response, path) => {
      if (!path.endsWith("tile/0/001")) return false;
      response.writeHead(200);
      const more = () => {
        while (response.write(new Uint8Array(65_536)));
        response.once("drain", more);
      };
      response.on("error", () => {});
      more();
      return true;
    });
    expect(codes(await verify(files, { target: `${url}/${LOG}` }))).toEqual(["unreadable_tile"]);
  });

  it("is refused: it is said what is missing", async () => {
    const { url } = await serve(files, (_, response) => {
      response.writeHead(401).end();
      return true;
    });
    await expect(verify(files, { target: `${url}/${LOG}` })).rejects.toThrow("AUDIT_TOKEN");
    await expect(verify(files, { target: `${url}/${ORGANIZATION}` })).rejects.toThrow("--month");
  });
});

describe("the command line", () => {
  const run = async (...args: string[]) => {
    const root = fileURLToPath(new URL("../../", import.meta.url));
    const child = spawn(process.execPath, ["--import", "tsx", "scripts/cli/verify.ts", ...args], { cwd: root });
    const output = { out: "", err: "" };
    child.stdout.on("data", (chunk) => output.out += chunk);
    child.stderr.on("data", (chunk) => output.err += chunk);
    const [code] = await once(child, "close");
    return { code, ...output };
  };

  it("exits with 0 where everything was proved, 1 on doubt, 2 on wrong usage, and says why", async () => {
    const { files, folder: log } = await oneLog(300);
    const folder = await folderOf(files);
    const good = await run(folder, "--key", VKEY);
    expect(good).toMatchObject({ code: 0, err: "" });
    expect(good.out).toMatch(/\nProved, .*\n.*300 entries in 1 log.*\n\nNot proved\n.*\nVERIFIED\n/s);
    expect((await run(`${folder}/${ORGANIZATION}`, "--key", VKEY)).code).toBe(0);
    expect((await run(`${folder}/${log}`, "--key", VKEY)).code).toBe(0);

    const forged = (await oneLog(300, { change: forge })).files;
    for (const path of files.keys()) if (path.includes("/entries/")) files.set(path, forged.get(path)!);
    const bad = await run(await folderOf(files), "--key", VKEY, "--json");
    expect(bad.code).toBe(1);
    expect(JSON.parse(bad.out)).toMatchObject({
      verified: false,
      logs: [{ origin: `${BASE}/${LOG}`, state: "broken", size: 300, entries_read: 300 }],
      findings: [{ code: "entry_changed", entry: "1-40" }, { entry: `${LOG_CHAIN}-2` }],
    });

    const wrong: [string[], string][] = [
      [[], "--key"],
      [[folder], "--key"],
      [[folder, "--key", "x"], "cannot be used"],
      [[folder, "--key", VKEY, "--key", formatVerifierKey(generateKey("other", "note"))], "one deployment"],
      [["--key", VKEY], "Say what to verify"],
      [[`${folder}/nothing`, "--key", VKEY], "no folder"],
      [["--key", VKEY, "--old", "x", "--receipt", "x"], "--old"],
      [[folder, "--key", VKEY, "--entry", "x"], "--entry"],
      [[folder, "--key", VKEY, "--anchor", "x"], "--anchor"],
      [[folder, "--key", VKEY, "--from-index", "-1"], "whole number"],
      [[folder, "--key", VKEY, "--unknown"], "unknown option"],
      [[folder, "--key", VKEY, "--old", `${folder}/nothing`], "cannot be read"],
      [[folder, "--key", VKEY, "--archive-key-file", `${folder}/${log}/checkpoint`], "AUDIT_ARCHIVE_KEY"],
      [[folder, "--key", VKEY, "--witness-policy", `${folder}/nothing`], "cannot be read"],
    ];
    await Promise.all(wrong.map(async ([args, message]) => {
      expect({ args, ...await run(...args) }).toMatchObject({
        code: 2,
        out: "",
        err: expect.stringContaining(message),
      });
    }));
    expect(await run("--help")).toMatchObject({ code: 0, out: expect.stringContaining("Examples:") });
  });

  it("reads folders that were renamed by what their checkpoints say", async () => {
    const { files } = await oneLog(30);
    const renamed = await folderOf(
      [...files].map(([path, bytes]): [string, Uint8Array] => [path.replace(LOG, "log"), bytes]),
    );
    expect((await run(`${renamed}/log`, "--key", VKEY)).code).toBe(0);
    const checkpoint = await readFile(`${renamed}/log/checkpoint`, "utf8");
    expect(checkpoint).toContain(renameKey(KEY, `${BASE}/${LOG}`).name);
  });
});
