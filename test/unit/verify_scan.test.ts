// What the verifier does its own way for speed, held to what it must be the same as.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type EntryRow, entryText, MAX_ENTRY_BYTES, parseEntryText } from "../../functions/_shared/entry.ts";
import { leafHash, perfectRoot } from "../../functions/_shared/tlog/hash.ts";
import { formatHex } from "../../functions/_shared/tlog/text.ts";
import { isHexOf, newScanned, scanEntry, unhex } from "../../scripts/cli/verify/entry_scan.ts";
import { leafHashes, perfectRootOf, sameBytes } from "../../scripts/cli/verify/hashing.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const { entries }: { entries: { text: string }[] } = JSON.parse(
  readFileSync(new URL("../vectors/entries.json", import.meta.url), "utf8"),
);

/** Fails where the scan and the parser do not agree on a text; answers whether both take it. */
function agree(text: Uint8Array): boolean {
  const scanned = newScanned();
  const row = parseEntryText(text);
  const isScanned = scanEntry(text, scanned);
  if (isScanned !== (row !== undefined)) {
    throw new Error(
      `${isScanned ? "scanned" : "parsed"} only: ${new TextDecoder("latin1").decode(text.slice(0, 2_000))}`,
    );
  }
  if (row === undefined) return false;
  // expect() costs more than what is tested here.
  const fields = [scanned.chain, scanned.seq, scanned.createdAt, formatHex(unhex(text, scanned.prevHashAt))];
  if (fields.join() !== [row.chain, row.seq, row.created_at, row.prev_hash].join()) throw new Error(fields.join());
  return true;
}

const hex = (digits: number) =>
  fc.string({ minLength: digits, maxLength: digits, unit: fc.constantFrom(..."0123456789abcdef") });
const orNull = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: null });
const string = fc.string({ unit: "binary", maxLength: 20 }).filter((text) => !/\p{Surrogate}/u.test(text));
const row: fc.Arbitrary<EntryRow> = fc.record({
  organization_id: fc.uuid(),
  chain: fc.nat(),
  seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
  created_at: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n }),
  action: string,
  outcome: fc.constantFrom("success", "failure", "denied"),
  resource_type: orNull(string),
  resource_id: orNull(string),
  created_by: orNull(fc.uuid()),
  actor_type: fc.constantFrom("user", "api_key", "service", "database", "system"),
  identity_hash: orNull(hex(64)),
  provider: orNull(string),
  cost: orNull(fc.oneof(fc.constantFrom("NaN", "Infinity", "-Infinity", "0.10", "-1"), fc.nat().map(String))),
  request_id: orNull(string),
  details: fc.dictionary(string, fc.jsonValue()).map((value) => JSON.stringify(value)),
  prev_hash: hex(64),
});

/** Pieces that make a text almost right. */
const pieces = [...[
  "",
  " ",
  "0",
  "00",
  "-",
  "-0",
  "1.",
  ".5",
  "1e5",
  "1E+5",
  "1e",
  "null",
  "nul",
  "true",
  "tru",
  "false",
  "[]",
  "{}",
  "[",
  "]",
], ...[
  "{",
  "}",
  ",",
  ":",
  '"',
  '""',
  "\\",
  "\\\\",
  '\\"',
  "\\/",
  "\\b",
  "\\u0000",
  "\\u0008",
  "\\u000b",
  "\\u001F",
  "\\u001f",
], ...[
  "\\u0020",
  "\\u00e9",
  "\\ud800",
  "\\uD83D\\uDE00",
  "\\x41",
  "\t",
  "\n",
  "\r",
  "\0",
  "\x7f",
  "é",
  "\u2028",
  "\ufeff",
  "😀",
  "_",
], ...[
  "9007199254740991",
  "9007199254740993",
  "99999999999999999999",
  "NaN",
  "-Infinity",
  "Infinity",
  '"prev_hash"',
  '"details":',
], ...[
  '{"a": {"b": [1, {"c": null}]}}',
  '{"a":1,"a":2}',
  '{"a" : 1 , "b":[ ]}',
  '{"a":1,}',
  "[1,]",
  "{,}",
  '{"a"}',
  '"x":1',
]].map(bytes);

describe("an entry text is scanned exactly as it is parsed", () => {
  it("where it is one", () => {
    for (const { text } of entries) expect(agree(bytes(text))).toBe(true);
    let taken = 0;
    fc.assert(fc.property(row, (row) => void (taken += Number(agree(bytes(entryText(row)))))), { numRuns: 2_000 });
    expect(taken).toBe(2_000);
  });

  it("where anything in it was changed", () => {
    const text = fc.oneof(
      fc.constantFrom(...entries.map(({ text }) => bytes(text))),
      row.map((row) => bytes(entryText(row))),
    );
    const edit = fc.record({
      at: fc.nat(),
      cut: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 2 }) }, { weight: 1, arbitrary: fc.nat(40) }),
      put: fc.oneof(fc.constantFrom(...pieces), fc.uint8Array({ maxLength: 3 })),
    });
    let taken = 0;
    fc.assert(
      fc.property(text, fc.array(edit, { minLength: 1, maxLength: 3 }), (original, edits) => {
        let edited = Buffer.from(original);
        for (const { at, cut, put } of edits) {
          const from = at % (edited.length + 1);
          edited = Buffer.concat([edited.subarray(0, from), put, edited.subarray(from + cut)]);
        }
        taken += Number(agree(new Uint8Array(edited)));
      }),
      { numRuns: 20_000 },
    );
    // Most are refused; those that are not have been changed in a string or in the details.
    expect(taken).toBeGreaterThan(500);
  });

  it("where its details are any text that looks like JSON", () => {
    const [before, after] = entries[0]!.text.split(/(?<="details":)\{.*\}(?=,"prev_hash")/) as [string, string];
    const token = fc.constantFrom(
      ...'{}[]:, "'.split(""),
      '"a"',
      "1",
      "-0.5e+3",
      "01",
      "true",
      "null",
      '"\\u00AF"',
      '"\\q"',
      "nul",
    );
    let taken = 0;
    fc.assert(
      fc.property(fc.array(token, { maxLength: 12 }), fc.boolean(), (tokens, wrap) => {
        const details = wrap ? `{"x":${tokens.join("")}}` : tokens.join("");
        taken += Number(agree(bytes(`${before}${details}${after}`)));
      }),
      { numRuns: 20_000 },
    );
    expect(taken).toBeGreaterThan(200);
  });

  it("where it is as long or as deep as can be", () => {
    const [before, after] = entries[0]!.text.split(/(?<="details":)\{.*\}(?=,"prev_hash")/) as [string, string];
    const filled = (details: string) => bytes(`${before}${details}${after}`);
    const room = MAX_ENTRY_BYTES - filled('{"x":}').length;
    expect(agree(filled(`{"x":${"[".repeat(room / 2 | 0)}${"]".repeat(room / 2 | 0)}}`))).toBe(true);
    expect(agree(filled(`{"x":${"[".repeat(room)}}`))).toBe(false);
    expect(agree(filled(`{"x":"${"é".repeat(room / 2 - 1 | 0)}"}`))).toBe(true);
    expect(agree(filled(`{"x":"${"y".repeat(room - 1)}"}`))).toBe(false);
    for (const length of [0, 1, 25, 26, 62, 100]) expect(agree(bytes(entries[0]!.text.slice(0, length)))).toBe(false);
  });
});

describe("hashes are those of the Merkle library", () => {
  it("of leaves and of perfect trees", () => {
    fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 300 }), { minLength: 1, maxLength: 20 }), (entries) => {
      expect(Buffer.from(leafHashes(entries))).toEqual(Buffer.concat(entries.map(leafHash)));
    }));
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 8 }),
        fc.uint8Array({ minLength: 8_192, maxLength: 8_192 }),
        (height, tile) => {
          const hashes = tile.slice(0, 32 * 2 ** height);
          const copy = hashes.slice();
          expect(perfectRootOf(hashes)).toEqual(new Uint8Array(perfectRoot(hashes)));
          expect(hashes).toEqual(copy);
        },
      ),
    );
  });

  it("and are compared whole", () => {
    const hash = leafHash(bytes("x"));
    const digits = bytes(Buffer.from(hash).toString("hex"));
    expect(isHexOf(digits, 0, hash, 0)).toBe(true);
    expect(sameBytes(hash, hash.slice())).toBe(true);
    for (let at = 0; at < 32; at++) {
      const other = hash.slice();
      other[at]! ^= 1;
      expect(isHexOf(digits, 0, other, 0)).toBe(false);
      expect(sameBytes(hash, other)).toBe(false);
    }
    expect(sameBytes(hash, hash.slice(1))).toBe(false);
    expect(isHexOf(bytes(Buffer.from(hash).toString("hex").toUpperCase()), 0, hash, 0)).toBe(false);
  });
});
