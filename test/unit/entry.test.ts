// The twin of the entry format agrees with the database on shared vectors, and finds every kind of break.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  entryHash,
  type EntryRow,
  entryText,
  firstPrevHash,
  type Identity,
  identityHash,
  identityText,
  type KeptEntry,
  MAX_ENTRY_BYTES,
  parseEntryText,
  personalValueHash,
  verifyChain,
} from "../../functions/_shared/entry.ts";

type Vectors = {
  entries: { row: Omit<EntryRow, "created_at"> & { created_at: string }; text: string; hash: string }[];
  identities: { identity: Identity; salt: string; text: string; hash: string }[];
  personal_values: { value: string; salt: string; hash: string }[];
};

const vectors: Vectors = JSON.parse(readFileSync(new URL("../vectors/entries.json", import.meta.url), "utf8"));
const entries = vectors.entries.map(({ row, text, hash }) => ({
  row: { ...row, created_at: BigInt(row.created_at) } as EntryRow,
  text,
  hash,
}));
const bytes = (text: string) => new TextEncoder().encode(text);
const unhex = (hex: string) => Uint8Array.from(Buffer.from(hex, "hex"));

describe("one entry", () => {
  it.each(entries)("entryText() agrees with the database on $row.action", ({ row, text }) => {
    expect(entryText(row)).toBe(text);
  });

  it.each(entries)("entryHash() agrees with the database on $row.action", ({ text, hash }) => {
    expect(entryHash(text)).toBe(hash);
    expect(entryHash(bytes(text))).toBe(hash);
  });

  it.each(entries)("parseEntryText() reads $row.action back whole, from text and from bytes", ({ row, text }) => {
    expect(parseEntryText(text)).toEqual(row);
    expect(parseEntryText(bytes(text))).toEqual(row);
  });

  it.each(entries)("the text of $row.action is one line of JSON", ({ text }) => {
    expect(text).not.toMatch(/[\n\r]/);
    expect(() => JSON.parse(text)).not.toThrow();
  });
});

it("the examples of FORMAT.md are vectors, with their hashes", () => {
  const page = readFileSync(new URL("../../sql/FORMAT.md", import.meta.url), "utf8");
  const examples = [...page.matchAll(/^(\{"v":1,.*\})$/gm)].map((match) => match[1]!);
  expect(examples).toHaveLength(3);
  for (const example of examples) {
    const vector = [...vectors.entries, ...vectors.identities].find(({ text }) => text === example);
    expect(page).toContain(vector?.hash);
  }
});

describe("commitments", () => {
  it.each(vectors.identities)("identityText() and identityHash() agree with the database on $text", (vector) => {
    expect(identityText(vector.identity)).toBe(vector.text);
    expect(identityHash(unhex(vector.salt), vector.text)).toBe(vector.hash);
  });

  it.each(vectors.personal_values)("personalValueHash() agrees with the database on $value", (vector) => {
    expect(personalValueHash(unhex(vector.salt), vector.value)).toBe(vector.hash);
  });
});

describe("parseEntryText() refuses", () => {
  const text = entries.find(({ row }) => row.action === "query.completed")!.text;
  const malformed: [string, string][] = [
    ["nothing", ""],
    ["another version", text.replace('"v":1', '"v":2')],
    ["a space that JSON allows", text.replace('"chain":', '"chain": ')],
    ["a line feed at the end", `${text}\n`],
    ["a byte order mark", `\ufeff${text}`],
    ["fields in another order", text.replace(/("action":"[^"]*"),("outcome":"[^"]*")/, "$2,$1")],
    ["a field too few", text.replace(/,"provider":"[^"]*"/, "")],
    ["a field too many", text.replace(',"prev_hash"', ',"more":1,"prev_hash"')],
    ["a field twice", text.replace(',"outcome"', ',"action":"x.y","outcome"')],
    ["a number with leading zeros", text.replace('"seq":3', '"seq":03')],
    ["a number in scientific notation", text.replace('"seq":3', '"seq":3e0')],
    ["a chain beyond 32 bits in digits", text.replace('"chain":3', '"chain":99999999999')],
    ["a position of 0", text.replace('"seq":3', '"seq":0')],
    ["a position beyond 2^53", text.replace('"seq":3', '"seq":9007199254740993')],
    ["a time of minus zero", text.replace(/"created_at":\d+/, '"created_at":-0')],
    ["an outcome that is none", text.replace('"outcome":"success"', '"outcome":"succeeded"')],
    ["a kind of actor that is none", text.replace('"actor_type":"user"', '"actor_type":"robot"')],
    ["an organisation in capitals", text.replace(/"organization_id":"[^"]*"/, (match) => match.toUpperCase())],
    ["a hash in capitals", text.replace(/"prev_hash":"[^"]*"/, (match) => match.replace(/[a-f]/g, "A"))],
    ["a hash that is too short", text.replace(/"prev_hash":"../, '"prev_hash":"')],
    ["a cost that is a number", text.replace('"cost":"0.00123400"', '"cost":0.00123400')],
    ["a cost with an exponent", text.replace("0.00123400", "1.234e-3")],
    ["an escape that the database does not write", text.replace("query.completed", "query\\u002ecompleted")],
    ["an escaped slash", text.replace("query.completed", "query\\/completed")],
    ["a raw control character", text.replace("query.completed", "query\u0001completed")],
    ["a surrogate without its half", text.replace("query.completed", "query\ud83ecompleted")],
    ["an escaped surrogate without its half", text.replace("query.completed", "query\\ud83ecompleted")],
    ["details that are no JSON", text.replace('"details":{', '"details":{,')],
    ["details that are no object", text.replace(/"details":\{.*\},"prev_hash"/, '"details":[],"prev_hash"')],
    ["a line feed in the details", text.replace('"details":{', '"details":{\n')],
    ["a text longer than an entry may be", text.replace("query.completed", "q".repeat(MAX_ENTRY_BYTES))],
  ];

  it.each(malformed)("%s", (_, changed) => {
    expect(changed).not.toBe(text);
    expect(parseEntryText(changed)).toBeUndefined();
  });

  it("bytes that are no UTF-8", () => {
    const broken = bytes(text);
    broken[broken.indexOf("q".charCodeAt(0))] = 0xff;
    expect(parseEntryText(broken)).toBeUndefined();
  });

  it("nothing that has the most bytes an entry may have", () => {
    const row = parseEntryText(text)!;
    const missing = MAX_ENTRY_BYTES - bytes(entryText({ ...row, details: '{"x": ""}' })).length;
    const longest = { ...row, details: `{"x": "${"x".repeat(missing)}"}` };
    expect(bytes(entryText(longest))).toHaveLength(MAX_ENTRY_BYTES);
    expect(parseEntryText(entryText(longest))).toEqual(longest);
    expect(parseEntryText(entryText({ ...longest, details: `{"x": "${"x".repeat(missing + 1)}"}` }))).toBeUndefined();
  });

  it("every text that differs from a vector in one byte, or reads another row in it", () => {
    fc.assert(
      fc.property(fc.constantFrom(...entries), fc.nat(), fc.integer({ min: 1, max: 255 }), (entry, at, flip) => {
        const changed = bytes(entry.text);
        changed[at % changed.length]! ^= flip;
        const row = parseEntryText(changed);
        expect(row).not.toEqual(entry.row);
        if (row !== undefined) expect(bytes(entryText(row))).toEqual(changed);
        expect(entryHash(changed)).not.toBe(entry.hash);
      }),
    );
  });
});

it("parseEntryText() reads back what entryText() writes, whatever a row holds", () => {
  const text = fc.string({ unit: "binary" }).map((value) => value.replaceAll("\0", ""));
  const maybe = fc.option(text, { nil: null });
  const hash = fc.uint8Array({ minLength: 32, maxLength: 32 }).map((value) => Buffer.from(value).toString("hex"));
  const row: fc.Arbitrary<EntryRow> = fc.record({
    organization_id: fc.uuid(),
    chain: fc.nat({ max: 2 ** 31 - 1 }),
    seq: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    created_at: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    action: text,
    outcome: fc.constantFrom("success", "failure", "denied"),
    resource_type: maybe,
    resource_id: maybe,
    created_by: fc.option(fc.uuid(), { nil: null }),
    actor_type: fc.constantFrom("user", "api_key", "service", "database", "system"),
    identity_hash: fc.option(hash, { nil: null }),
    provider: maybe,
    cost: fc.option(fc.constantFrom("0.00", "-12.5", "NaN", "Infinity", "-Infinity", "1".repeat(50)), { nil: null }),
    request_id: maybe,
    details: fc.dictionary(text, fc.jsonValue()).map((value) => JSON.stringify(value)),
    prev_hash: hash,
  });
  fc.assert(fc.property(row, (value) => {
    expect(parseEntryText(entryText(value))).toEqual(value);
  }));
});

describe("verifyChain()", () => {
  const chainOf = (chain: number) =>
    entries.filter(({ row }) => row.organization_id.startsWith("0a") && row.chain === chain);
  const chain: KeptEntry[] = chainOf(3).map(({ text, hash }) => ({ text, hash }));
  const last = chainOf(3).at(-1)!;
  const edited = (text: string | Uint8Array) => (text as string).replace('"action":"', '"action":"x');
  const spliced = (at: number, removed: number, ...added: KeptEntry[]) => [
    ...chain.slice(0, at),
    ...added,
    ...chain.slice(at + removed),
  ];
  const rewritten = (at: number, change: Partial<EntryRow>) => {
    const text = entryText({ ...chainOf(3)[at]!.row, ...change });
    return spliced(at, 1, { text, hash: entryHash(text) });
  };

  it("follows a chain to its end", () => {
    expect(verifyChain(chain)).toEqual({
      ok: true,
      end: {
        organization_id: last.row.organization_id,
        chain: 3,
        seq: chain.length,
        created_at: last.row.created_at,
        hash: last.hash,
      },
    });
    expect(verifyChain(chainOf(0).map(({ text }) => ({ text })))).toMatchObject({ ok: true, end: { seq: 29 } });
  });

  it("goes on where an earlier verdict ended, to the same end", () => {
    const first = verifyChain(chain.slice(0, 2));
    expect(first).toMatchObject({ ok: true, end: { seq: 2 } });
    expect(verifyChain(chain.slice(2), first.ok ? first.end : null)).toEqual(verifyChain(chain));
  });

  it("of no entries ends nowhere", () => expect(verifyChain([])).toEqual({ ok: true, end: null }));

  it("does not accept a first entry that links to another chain's beginning", () => {
    expect(firstPrevHash(last.row.organization_id, 3)).toBe(chainOf(3)[0]!.row.prev_hash);
    const prev_hash = firstPrevHash(last.row.organization_id, 4);
    expect(verifyChain(rewritten(0, { prev_hash }))).toEqual({ ok: false, seq: 1, reason: "link_mismatch" });
  });

  const breaks: [string, KeptEntry[], number, string][] = [
    ["an edited entry", spliced(2, 1, { ...chain[2]!, text: edited(chain[2]!.text) }), 3, "hash_mismatch"],
    [
      "an edited entry whose hash was not kept, at the entry after it",
      spliced(2, 1, { text: edited(chain[2]!.text) }),
      4,
      "link_mismatch",
    ],
    [
      "an edited entry that was hashed again, at the entry after it",
      rewritten(2, { action: "x.y" }),
      4,
      "link_mismatch",
    ],
    ["a removed entry", spliced(2, 1), 3, "gap"],
    ["a removed first entry", chain.slice(1), 1, "gap"],
    ["an entry that stands twice", spliced(2, 0, chain[1]!), 3, "duplicate"],
    ["two entries in each other's place", [chain[0]!, chain[2]!, chain[1]!, ...chain.slice(3)], 2, "gap"],
    ["an entry dated before its predecessor", rewritten(4, { created_at: 0n }), 5, "time_reversed"],
    ["an entry of another chain", [...chain, { text: chainOf(0)[0]!.text }], 7, "other_chain"],
    [
      "an entry replayed into another organisation",
      rewritten(3, { organization_id: "0b000000-0000-4000-8000-000000000002" }),
      4,
      "other_chain",
    ],
    ["what is no entry text", spliced(1, 1, { text: "{}" }), 2, "malformed"],
  ];

  it.each(breaks)("finds %s", (_, broken, seq, reason) => {
    expect(verifyChain(broken)).toEqual({ ok: false, seq, reason });
  });

  it("hashes the bytes it was given before it reads them", () => {
    expect(verifyChain([{ text: "not an entry", hash: entryHash("another text") }])).toEqual({
      ok: false,
      seq: 1,
      reason: "hash_mismatch",
    });
  });
});
