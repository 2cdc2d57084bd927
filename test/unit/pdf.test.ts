// The PDF report, read back by another PDF library: every entry is there, in any script, whatever the values are.
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import fc from "fast-check";
import * as mupdf from "mupdf";
import { beforeAll, describe, expect, it } from "vitest";
import { fontFile } from "../../functions/_shared/pdf/fonts.ts";
import {
  contentHash,
  type ReportEntry,
  ROWS_PER_PART,
  type SearchReport,
  searchReport,
  sumOf,
} from "../../functions/_shared/pdf/search_report.ts";
import { clean, isolated, Typesetter } from "../../functions/_shared/pdf/text.ts";
import { inWords } from "../../functions/_shared/pdf/words.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** A text in each script. */
const SCRIPTS = {
  Latin: "Żółć Søndergaard naïve",
  Greek: "Γιώργος Παπαδόπουλος",
  Cyrillic: "Екатерина Їжакевич",
  Arabic: "محمد عبد الرحمن",
  Hebrew: "דוד בן גוריון",
  Devanagari: "प्रिया क्षत्रिय",
  Bengali: "শ্রীমতী বন্দ্যোপাধ্যায়",
  Gurmukhi: "ਪੰਜਾਬੀ ਸਿੰਘ",
  Gujarati: "ગુજરાતી શ્રી",
  Oriya: "ଓଡ଼ିଆ ଶ୍ରୀ",
  Tamil: "தமிழ்ச்செல்வன்",
  Telugu: "తెలుగు శ్రీనివాస్",
  Kannada: "ಕನ್ನಡ ಶ್ರೀ",
  Malayalam: "മലയാളം ശ്രീ",
  Sinhala: "සිංහල ශ්‍රී",
  Thai: "สมชาย ใจดี",
  Lao: "ພາສາລາວ",
  Khmer: "សុខា ខ្មែរ",
  Myanmar: "မောင်မောင် မြန်မာ",
  Tibetan: "བོད་ཡིག",
  Georgian: "ქეთევან",
  Armenian: "Հայկ Պետրոսյան",
  Ethiopic: "አበበ በቀለ",
  Thaana: "ދިވެހި",
  Chinese: "王小明 國際",
  Japanese: "山田太郎さん、東京。",
  Korean: "김철수",
  Emoji: "🚀 🔒",
};

function entry(seq: number, some: Partial<ReportEntry> = {}): ReportEntry {
  return {
    name: `0-${seq}`,
    created_at: `2026-11-${String(1 + (seq % 20)).padStart(2, "0")}T08:00:00.${String(seq).padStart(6, "0")}Z`,
    action: seq % 3 === 0 ? "api_key.added" : "contract.updated",
    outcome: seq % 7 === 0 ? "denied" : "success",
    resource_type: "contract",
    resource_id: `00000000-0000-4000-a000-${String(seq).padStart(12, "0")}`,
    created_by: "11111111-1111-4111-a111-111111111111",
    actor_type: "user",
    email: "jane@example.com",
    provider: "openai",
    cost: "0.10",
    details: { changes: { limit: { old: 1200, new: 1200 + seq } } },
    hash: createHash("sha256").update(`entry ${seq}`).digest("hex"),
    ...some,
  };
}

function report(rows: ReportEntry[], some: Partial<SearchReport> = {}): SearchReport {
  return {
    title: "Changes to contracts",
    organization: { id: "22222222-2222-4222-a222-222222222222", name: "Acme" },
    query: "action:contract.* cost:>0.05",
    filter: { and: [{ field: "action", op: "like", value: "contract.*" }, { field: "cost", op: "gt", value: "0.05" }] },
    order: "oldest first",
    generatedBy: "auditor@example.com",
    generatedAt: new Date("2026-11-23T03:00:00Z"),
    period: { from: "2026-11-01", to: null },
    export: { id: "33333333-3333-4333-a333-333333333333", part: 1, before: 0 },
    count: rows.length,
    rows,
    manifestNote: "The manifest is unsigned until signing keys exist.",
    ...some,
  };
}

type Character = { text: string; x: number; right: number; y: number };
type ReadPage = { text: string; width: number; height: number; characters: Character[] };

/** The pages as another library reads them. */
function read(pdf: Uint8Array): ReadPage[] {
  const document = mupdf.Document.openDocument(pdf, "application/pdf");
  return Array.from({ length: document.countPages() }, (_, i) => {
    const page = document.loadPage(i);
    const [left, top, right, bottom] = page.getBounds();
    const structured = page.toStructuredText("preserve-whitespace");
    const characters: Character[] = [];
    structured.walk({
      onChar(text, origin, _font, _size, quad) {
        // A joiner is wide only to the reader.
        if (text !== "\u200d") characters.push({ text, x: quad[0], right: quad[2], y: origin[1] });
      },
    });
    return { text: structured.asText(), width: right - left, height: bottom - top, characters };
  });
}

function allText(pdf: Uint8Array): string {
  return read(pdf).map((page) => page.text).join("\n");
}

/** Without the line breaks and spaces that a page's layout brings. */
function joined(text: string): string {
  return text.replace(/\s+/g, "");
}

describe("a report of 250 entries", () => {
  const rows = Array.from({ length: 250 }, (_, i) => entry(i + 1));
  let pdf: Uint8Array;
  let pages: ReadPage[];

  beforeAll(async () => {
    const made = await searchReport(report(rows, { count: 1250, export: { id: "e", part: 2, before: 500 } }));
    pdf = made.pdf;
    pages = read(pdf);
    expect(made.pages).toBe(pages.length);
  });

  it("numbers its pages", () => {
    expect(pages.length).toBeGreaterThan(10);
    pages.forEach(({ text }, i) => expect(text).toContain(`page ${i + 1} of ${pages.length}`));
  });

  it("shows each entry once, in order", () => {
    const names = pages.flatMap(({ text }) => [...text.matchAll(/^0-(\d+)$/gm)].map((match) => Number(match[1])));
    expect(names).toEqual(rows.map((_, i) => i + 1));
  });

  it("repeats the header of the table on each page that has rows", () => {
    for (const { text } of pages.filter(({ text }) => /^0-\d+$/m.test(text))) {
      for (const title of ["Entry", "When (UTC)", "Actor", "Outcome", "Changes"]) expect(text).toContain(title);
    }
  });

  it("says which entries of how many it shows, under which filters", () => {
    expect(pages[0]!.text).toContain("501 to 750 of 1,250");
    expect(pages[0]!.text).toContain("Action matches contract.*");
    expect(pages[0]!.text).toContain("Cost is more than 0.05");
    expect(pages[0]!.text).toContain("action:contract.* cost:>0.05");
    expect(pages[0]!.text).toContain("25.00");
    expect(pages.at(-1)!.text).toContain("This part shows 250 entries; none is left out.");
    expect(pages.at(-1)!.text).toContain("unsigned until");
  });

  it("keeps every character within the margins and apart from the next column", () => {
    for (const { width, characters } of pages) {
      for (const { x, right } of characters) {
        expect(x).toBeGreaterThan(40);
        expect(right).toBeLessThan(width - 40);
      }
      const sorted = characters.sort((a, b) => a.y - b.y || a.x - b.x);
      sorted.forEach(({ right, y }, i) => {
        const next = sorted[i + 1];
        if (next?.y === y) expect(next.x).toBeGreaterThan(right - 0.7);
      });
    }
  });

  it("is the same file for the same input, and another for another time", async () => {
    const input = report(rows, { count: 1250, export: { id: "e", part: 2, before: 500 } });
    expect(Buffer.compare((await searchReport(input)).pdf, pdf)).toBe(0);
    const later = await searchReport({ ...input, generatedAt: new Date("2026-11-23T03:00:01Z") });
    expect(Buffer.compare(later.pdf, pdf)).not.toBe(0);
  });

  it("prints the hash of its content, which can be computed again from names and hashes", () => {
    const lines = rows.map(({ name, hash }) => `${name} ${hash}\n`).join("");
    const hash = createHash("sha256").update(lines).digest("hex");
    expect(contentHash(rows)).toBe(hash);
    for (const { text } of pages) expect(joined(text)).toContain(hash);
    const tampered = rows.map((row, i) => (i === 100 ? { ...row, hash: "0".repeat(64) } : row));
    expect(contentHash(tampered)).not.toBe(hash);
  });

  it("has bookmarks to its sections", () => {
    const outline = mupdf.Document.openDocument(pdf, "application/pdf").loadOutline();
    expect(outline?.map(({ title }) => title)).toEqual(["Filters", "Summary", "Entries", "How to check this report"]);
  });
});

describe("scripts", () => {
  const entries = Object.entries(SCRIPTS);

  it("prints every script with glyphs of its own, and gives the text back", async () => {
    const rows = entries.map(([script, name], i) => entry(i + 1, { action: script, email: name }));
    const { pdf } = await searchReport(report(rows));
    const shown = allText(pdf);
    expect(shown).not.toContain("have no glyph");
    const back = joined(shown).normalize("NFC");
    for (const [script, name] of entries) {
      // Readers disagree on which comes first where a letter and its vowel sign run from right to left.
      if (script === "Thaana") continue;
      for (const word of name.normalize("NFC").split(" ")) expect(back, script).toContain(joined(word));
    }
  });

  it.each(entries)("shapes %s without a missing glyph", async (_, text) => {
    const type = await Typesetter.load([text], fontFile);
    const line = type.line(text);
    expect([...type.missing]).toEqual([]);
    for (const piece of line.pieces) {
      for (const span of piece.spans) {
        if ("ids" in span) expect(span.ids).not.toContain(0);
        else expect(span.glyphs.map(({ id }) => id)).not.toContain(0);
      }
    }
  });

  it("joins Arabic letters: they have other glyphs than apart", async () => {
    const word = "محمد";
    const type = await Typesetter.load([word], fontFile);
    const glyphs = (text: string) =>
      type.line(text).pieces.flatMap(({ spans }) => spans.flatMap((span) => "glyphs" in span ? span.glyphs : []));
    const apart = [...word].reverse().flatMap(glyphs).map(({ id }) => id);
    const joined = glyphs(word).map(({ id }) => id);
    expect(joined).toHaveLength(4);
    joined.forEach((id, i) => expect(id).not.toBe(apart[i]));
  });

  it("puts right-to-left words in visual order, and numbers among them from left to right", async () => {
    const text = "שלום 123 עולם";
    const type = await Typesetter.load([text], fontFile);
    expect(type.line(text).pieces.map((piece) => piece.text).filter((word) => word !== " ")).toEqual([
      "עולם",
      "123",
      "שלום",
    ]);
  });

  it("keeps old before new where both run from right to left", async () => {
    const text = `limit: ${isolated("ישן")} → ${isolated("חדש")}`;
    const type = await Typesetter.load([text], fontFile);
    expect(type.line(text).pieces.map((piece) => piece.text).join("")).toBe("limit: ישן → חדש");
    const { pdf } = await searchReport(
      report([entry(1, { details: { changes: { "שם": { old: "ישן", new: "חדש" } } } })]),
    );
    const characters = read(pdf).flatMap((page) => page.characters);
    const place = (letter: string) => characters.find(({ text }) => text === letter)!.x;
    expect(place("ן")).toBeLessThan(place("→"));
    expect(place("→")).toBeLessThan(place("ח"));
  });

  it("writes Han characters as in Japan beside kana, else as in China", async () => {
    const type = await Typesetter.load(["東京です", "東京"], fontFile);
    const fonts = (text: string) => type.line(text).pieces.flatMap(({ spans }) => spans.map(({ face }) => face.name));
    expect(fonts("東京です").every((name) => name.includes("-jp-"))).toBe(true);
    expect(fonts("東京").every((name) => name.includes("-sc-"))).toBe(true);
  });

  it("draws a box for what no font has, and says so", async () => {
    const { pdf } = await searchReport(report([entry(1, { email: "a\u{10fffd}b" })]));
    expect(allText(pdf)).toContain("1 characters have no glyph");
    expect(allText(pdf)).toContain("U+10FFFD");
  });

  it("says what is missing where the fonts are not installed", async () => {
    await expect(searchReport(report([]), async () => null)).rejects.toThrow(/fonts of PDF reports are not installed/);
  });

  it("prints boxes where only the fonts of a script are not installed", async () => {
    const latinOnly = (path: string) =>
      path.startsWith("noto-sans/") || path.startsWith("noto-sans-mono/") ? fontFile(path) : Promise.resolve(null);
    const { pdf } = await searchReport(report([entry(1, { email: "தமிழ்" })]), latinOnly);
    expect(allText(pdf)).toContain("have no glyph");
  });
});

describe("values of any kind", () => {
  it("shows a report without entries", async () => {
    const { pdf, pages } = await searchReport(report([], { query: "", filter: null, count: 0 }));
    expect(pages).toBe(read(pdf).length);
    expect(allText(pdf)).toContain("No entry matches.");
    expect(allText(pdf)).toContain("none of 0");
    expect(joined(allText(pdf))).toContain(createHash("sha256").digest("hex"));
  });

  it("shortens a long cell with a mark, and says so", async () => {
    const details = { new: { note: "word ".repeat(20_000) } };
    const { pdf } = await searchReport(report([entry(1, { details }), entry(2)]));
    const shown = allText(pdf);
    expect(shown).toContain("word…");
    expect(shown).toContain("1 texts were too long");
    expect(shown).toMatch(/JSON export of the same search holds\s+every value in full/);
  });

  it("marks what is cut also where all that is looked at fits", async () => {
    const { pdf } = await searchReport(report([entry(1, { email: "i\u0301".repeat(250) })]));
    expect(joined(allText(pdf))).toMatch(/í+…/);
  });

  it("writes what is invisible or reorders as escapes", async () => {
    const rows = [entry(1, { email: "a\u0000b\u202ecod.exe\u2068\n\ud800x\u200b" })];
    const { pdf } = await searchReport(report(rows));
    expect(joined(allText(pdf))).toContain(String.raw`a\u0000b\u202ecod.exe\u2068\n\ud800x\u200b`);
  });

  it.each([
    ["100 kB without a space", "x".repeat(100_000)],
    ["100 kB of combining accents", "a" + "\u0301\u0323".repeat(50_000)],
    ["100 kB of overrides", "\u202e\u2067".repeat(50_000)],
    ["100 kB of Arabic without a space", "م".repeat(50_000)],
    ["100 kB of emoji joined to one", "👩\u200d".repeat(20_000)],
    ["10,000 line breaks", "\n".repeat(10_000)],
    ["lone surrogates", "\udc00\ud800".repeat(1000)],
    ["PDF syntax", ") Tj ET endstream endobj <</Type/Catalog>> (\\"],
  ])("survives %s in every place", async (_, value) => {
    const row = entry(1, {
      action: value,
      email: value,
      resource_type: value,
      resource_id: value,
      provider: value,
      details: { changes: { [value]: { old: value, new: { [value]: [value] } } } },
    });
    const input = report([row, entry(2)], {
      title: value,
      organization: { id: value, name: value },
      query: value,
      filter: { text: value },
      generatedBy: value,
      manifestNote: value,
    });
    const { pdf, pages } = await searchReport(input);
    const read_ = read(pdf);
    expect(read_.length).toBe(pages);
    expect(read_.map(({ text }) => text).join("\n")).toMatch(/^0-2$/m);
    for (const { width, characters } of read_) {
      expect(characters.reduce((most, { right }) => Math.max(most, right), 0)).toBeLessThan(width - 40);
    }
  }, 60_000);

  it("makes a readable file of any strings", async () => {
    const value = fc.string({
      unit: fc.oneof(fc.string({ unit: "binary", maxLength: 3 }), fc.constantFrom("\ud800", "\u202e")),
    });
    await fc.assert(
      fc.asyncProperty(value, value, fc.jsonValue(), async (email, action, json) => {
        const { pdf, pages } = await searchReport(report([entry(1, { email, action, details: { new: { json } } })]));
        expect(read(pdf).length).toBe(pages);
      }),
      { numRuns: 25 },
    );
  });

  it("charts counts over days, months and years, and odd counts too", async () => {
    for (
      const [from, to, unit] of [["2026-11-01", "2026-11-20", "day"], ["2025-01-05", "2026-11-20", "month"], [
        "0001-01-01",
        "9999-12-31",
        "year",
      ]]
    ) {
      const facets = {
        of: 3,
        action: [{ value: "a", count: 0 }],
        actor: [],
        provider: Array.from({ length: 30 }, (_, i) => ({ value: `provider ${i}`, count: i })),
        day: [{ value: from!, count: 1 }, { value: to!, count: 999_999_999 }],
      };
      const { pdf } = await searchReport(report([entry(1)], { facets }));
      expect(allText(pdf)).toContain(`Entries by ${unit} (UTC)`);
      expect(allText(pdf)).toContain("22 more, together 231");
    }
  });
});

it("adds costs exactly", () => {
  const decimal = fc.tuple(fc.bigInt({ min: -(10n ** 30n), max: 10n ** 30n }), fc.integer({ min: 0, max: 20 }));
  const print = ([digits, scale]: [bigint, number]) => {
    const text = String(digits < 0n ? -digits : digits).padStart(scale + 1, "0");
    const sign = digits < 0n ? "-" : "";
    return scale === 0 ? sign + text : `${sign}${text.slice(0, -scale)}.${text.slice(-scale)}`;
  };
  fc.assert(fc.property(fc.array(decimal, { minLength: 1 }), (decimals) => {
    const scale = Math.max(...decimals.map(([, scale]) => scale));
    const sum = decimals.reduce((sum, [digits, own]) => sum + digits * 10n ** BigInt(scale - own), 0n);
    expect(sumOf(decimals.map(print)).sum).toBe(print([sum, scale]));
  }));
  expect(sumOf(["0.1", "0.2", null, "NaN", "Infinity"])).toEqual({ sum: "0.3", counted: 2, others: 2 });
  expect(sumOf([])).toEqual({ sum: "0", counted: 0, others: 0 });
});

it("tells filters in words", () => {
  const filter = {
    or: [
      { and: [{ field: "created", op: "gte", value: "2026-01-01" }, { field: "actor", op: "exists", value: false }] },
      { not: { field: "provider", op: "in", value: ["openai", "google"] } },
      { text: "quart", prefix: true },
      { field: "changes.limit.new", op: "between", value: [1, 5] },
    ],
  };
  expect(inWords(filter)).toEqual([
    "(time is at or after 2026-01-01 and actor is absent) or not: provider is one of openai, google or " +
    "contains a word that begins with “quart” or changes.limit.new is from 1 to 5",
  ]);
  expect(inWords(null)).toEqual([]);
});

it("leaves plain text as it is", () => {
  fc.assert(fc.property(fc.string({ unit: "grapheme-ascii" }), (text) => {
    expect(clean(text)).toBe(text);
  }));
});

it("runs in Deno as in Node", async () => {
  const rows = Object.values(SCRIPTS).map((email, i) => entry(i + 1, { email }));
  const input = report(rows);
  const here = await searchReport(input);
  const deno = spawn(`${ROOT}node_modules/.bin/deno`, [
    ...["run", "--quiet", "--cached-only", "--node-modules-dir=manual", "--allow-read", "--allow-env"],
    fileURLToPath(new URL("./pdf_in_deno.ts", import.meta.url)),
  ], { cwd: ROOT, stdio: ["pipe", "pipe", "inherit"] });
  deno.stdin.end(JSON.stringify(input));
  const there = JSON.parse(await text(deno.stdout));
  expect(there.contentHash).toBe(here.contentHash);
  expect(there.pages).toBe(here.pages);
  expect(allText(Buffer.from(there.pdf, "base64"))).toBe(allText(here.pdf));
});

it("makes a full part of less than 1 MB", async () => {
  const rows = Array.from({ length: ROWS_PER_PART }, (_, i) => entry(i + 1));
  const { pdf } = await searchReport(report(rows));
  expect(pdf.length).toBeLessThan(2 ** 20);
});
