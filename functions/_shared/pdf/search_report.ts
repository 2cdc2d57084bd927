/** The PDF report of a search: what was asked, a summary with charts, every entry, and how to check them. */
import { createHash } from "node:crypto";
import { type Count, dayBars, grouped, rankings } from "./charts.ts";
import { PdfDocument } from "./document.ts";
import { fontFile, type FontSource } from "./fonts.ts";
import { A4, COLOURS, Flow } from "./page.ts";
import { type Cell, type Column, table } from "./table.ts";
import { clean, isolated, Typesetter } from "./text.ts";
import { type Filter, inWords } from "./words.ts";

/** An entry as the functions answer it. */
export type ReportEntry = {
  name: string;
  created_at: string;
  action: string;
  outcome: string;
  resource_type: string | null;
  resource_id: string | null;
  created_by: string | null;
  actor_type: string;
  email: string | null;
  provider: string | null;
  /** Exact digits. */
  cost: string | null;
  details: Record<string, unknown>;
  /** Lower-case hex. */
  hash: string;
};

/** Counts by value. */
export type ReportFacets = {
  /** Of how many entries. */
  of: number;
  action: readonly Count[];
  actor: readonly (Count & { email?: string | null })[];
  provider: readonly Count[];
  /** Values YYYY-MM-DD, UTC. */
  day: readonly Count[];
};

export type SearchReport = {
  title: string;
  organization: { id: string; name?: string };
  /** The canonical query string; empty where every entry matches. */
  query: string;
  /** The same query as a tree, told in words. */
  filter?: Filter | null;
  /** A statement: "oldest first". */
  order: string;
  /** E-mail or user id. */
  generatedBy: string;
  /** Never read from the clock here: the same report is the same file. */
  generatedAt: Date;
  /** What the search covers, as it is to be shown: dates, instants, or null for no limit. */
  period: { from: string | null; to: string | null };
  /** `before`: entries in the parts before this one. */
  export: { id: string; part: number; before: number };
  /** Entries that match the search, those of all parts. */
  count: number;
  /** Counts for the charts; those of `rows` where they are left out. */
  facets?: ReportFacets;
  /** The entries of this part, in order. */
  rows: readonly ReportEntry[];
  /** What is said of the export's manifest: "unsigned until …". */
  manifestNote?: string;
};

export type RenderedReport = {
  pdf: Uint8Array;
  pages: number;
  /** SHA-256 of the content, in hex: see contentHash(). */
  contentHash: string;
};

/**
 * Rows of one part. A hosted function has 2 s of CPU for a request; 1,000 rows take 0.6 to 0.7 s in a cold isolate, and 1.3 to
 * 1.9 s where every row is of random characters out of all scripts.
 */
export const ROWS_PER_PART = 1_000;

/** The report as a PDF file. `fonts` is where its fonts come from. */
export async function searchReport(report: SearchReport, fonts: FontSource = fontFile): Promise<RenderedReport> {
  const hash = contentHash(report.rows);
  const cells = report.rows.map(entryCells);
  const facets = report.facets ?? countsOf(report.rows);
  const words = inWords(report.filter).slice(0, MOST_CONDITIONS + 1);
  const type = await Typesetter.load(textsOf(report, words, facets, cells), fonts);

  const { title, organization } = report;
  const document = new PdfDocument({
    title,
    subject: `Audit log entries of ${organization.name ?? organization.id}`,
    author: report.generatedBy,
    createdAt: report.generatedAt,
  });
  const flow = new Flow(document, type, {
    size: A4.landscape,
    header: `${title} · ${organization.name ?? organization.id}`,
    footer: `Export ${report.export.id} · part ${report.export.part} · content SHA-256 ${hash}`,
  });

  cover(flow, report);
  filters(flow, report, words);
  summary(flow, report, facets);
  entries(flow, report, cells);
  integrity(flow, report, hash);
  flow.finish();
  return { pdf: document.finish(), pages: document.pages.length, contentHash: hash };
}

/**
 * SHA-256 of the content: of each entry in order its name, a space, its hash and a line feed, in UTF-8. An entry's hash is
 * over all of the entry (sql/FORMAT.md), so this is over all of the content, also of what the table shows shortened.
 */
export function contentHash(rows: readonly { name: string; hash: string }[]): string {
  const hash = createHash("sha256");
  for (const { name, hash: entry } of rows) hash.update(`${name} ${entry}\n`);
  return hash.digest("hex");
}

/** Adds exact decimals exactly; `others` counts those that are no finite number. */
export function sumOf(costs: Iterable<string | null>): { sum: string; counted: number; others: number } {
  let [sum, scale, counted, others] = [0n, 0, 0, 0];
  for (const cost of costs) {
    if (cost === null) continue;
    const digits = /^(-?\d+)(?:\.(\d+))?$/.exec(cost);
    if (digits === null) {
      others += 1;
      continue;
    }
    const fraction = digits[2] ?? "";
    if (fraction.length > scale) {
      sum *= 10n ** BigInt(fraction.length - scale);
      scale = fraction.length;
    }
    sum += BigInt(digits[1]! + fraction.padEnd(scale, "0"));
    counted += 1;
  }
  const digits = String(sum < 0n ? -sum : sum).padStart(scale + 1, "0");
  const whole = digits.slice(0, digits.length - scale);
  const text = scale === 0 ? whole : `${whole}.${digits.slice(-scale)}`;
  return { sum: sum < 0n ? `-${text}` : text, counted, others };
}

function cover(flow: Flow, report: SearchReport): void {
  const { title, organization, period, rows, count } = report;
  flow.put("AUDIT LOG · SEARCH REPORT", flow.left, flow.y + 7, flow.width, { size: 7, colour: COLOURS.accent });
  flow.y += 16;
  flow.paragraph(title, { style: "bold", size: 20, most: 3 });
  flow.y += 2;
  flow.paragraph(organization.name ?? "", { size: 11, most: 2, colour: COLOURS.muted });
  flow.y += 10;
  flow.page.rule(flow.left, flow.y, flow.width, COLOURS.accent, 1);
  flow.y += 12;
  const { id, part, before } = report.export;
  flow.definitions([
    ["Organisation", organization.id],
    ["Period covered", `${period.from ?? "the first entry"} to ${period.to ?? "the time of the export"}`],
    ["Generated", `${instant(report.generatedAt.toISOString())} UTC by ${report.generatedBy}`],
    ["Export", `${id}, part ${part}`],
    [
      "Entries shown",
      rows.length === 0
        ? `none of ${grouped(count)}`
        : `${grouped(before + 1)} to ${grouped(before + rows.length)} of ${grouped(count)}`,
    ],
    ["Order", report.order],
  ], 3);
  flow.y += 4;
}

function filters(flow: Flow, { query }: SearchReport, words: readonly string[]): void {
  flow.heading("Filters", 30);
  if (words.length === 0) {
    flow.paragraph(query === "" ? "None: every entry that the reader may see." : "As the query says.");
  }
  for (const sentence of words.slice(0, MOST_CONDITIONS)) flow.paragraph(`· ${sentence}`, { most: 3 });
  if (words.length > MOST_CONDITIONS) flow.paragraph("· … and more conditions: the query states all of them.");
  if (query !== "") {
    flow.y += 5;
    flow.paragraph("Query", { size: 7, colour: COLOURS.muted });
    flow.paragraph(query, { style: "mono", size: 7.5, most: 40 });
  }
  flow.y += 12;
}

function summary(flow: Flow, { rows, count }: SearchReport, facets: ReportFacets): void {
  flow.heading("Summary", 60);
  const outcomes = new Map<string, number>([["success", 0], ["failure", 0], ["denied", 0]]);
  for (const { outcome } of rows) outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  const { sum, counted, others } = sumOf(rows.map(({ cost }) => cost));
  const times = rows.map(({ created_at }) => created_at).sort();
  flow.definitions([
    ["Entries in this part", grouped(rows.length)],
    ["First", times.length === 0 ? "–" : `${instant(times[0]!)} UTC`],
    ["Last", times.length === 0 ? "–" : `${instant(times.at(-1)!)} UTC`],
    ["Total cost", `${sum} (${grouped(counted)} with a cost${others > 0 ? `, ${others} not finite` : ""})`],
    ["Outcomes", [...outcomes].map(([outcome, of]) => `${grouped(of)} ${outcome}`).join(" · ")],
  ], 5);
  if (facets.of !== rows.length) {
    const scope = facets.of === count ? `all ${grouped(count)} entries of the search` : `${grouped(facets.of)} entries`;
    flow.paragraph(`The figures above are of this part; the charts count ${scope}.`, {
      size: 7,
      colour: COLOURS.muted,
    });
  }
  flow.y += 2;
  dayBars(flow, facets.day, 64);
  flow.y += 8;
  rankings(flow, [
    { title: "Actions", counts: named(facets.action) },
    {
      title: "Actors",
      counts: facets.actor.map(({ value, email, count }) => ({ value: email ?? value ?? NOBODY, count })),
    },
    { title: "Providers", counts: named(facets.provider) },
  ], 8);
}

function entries(flow: Flow, { rows }: SearchReport, cells: readonly Cell[][]): void {
  flow.y += 6;
  flow.heading("Entries", 60);
  if (rows.length === 0) {
    flow.paragraph("No entry matches.");
    return;
  }
  table(flow, COLUMNS, cells);
}

function integrity(flow: Flow, report: SearchReport, hash: string): void {
  const { rows, manifestNote } = report;
  flow.y += 14;
  flow.heading("How to check this report", 120);
  flow.paragraph(
    rows.length === 1
      ? "This part shows 1 entry; none is left out."
      : `This part shows ${grouped(rows.length)} entries; none is left out.`,
  );
  if (flow.shortened > 0) {
    flow.paragraph(
      `${
        grouped(flow.shortened)
      } texts were too long for their place and end with “…”. The JSON export of the same search ` +
        "holds every value in full.",
    );
  }
  flow.paragraph(
    "Characters that are invisible or that reorder text, such as line breaks and direction overrides, are written as " +
      "escapes (\\n, \\u202e).",
  );
  if (flow.type.missing.size > 0) {
    const some = [...flow.type.missing].sort((a, b) => a - b).slice(0, 12).map(codePointName);
    flow.paragraph(
      `${
        grouped(flow.type.missing.size)
      } characters have no glyph in this report's fonts and are drawn as an empty box: ` +
        `${some.join(", ")}${flow.type.missing.size > some.length ? ", …" : ""}. The JSON export holds them.`,
    );
  }
  flow.y += 6;
  flow.need(80);
  flow.paragraph("SHA-256 of the content", { size: 7, colour: COLOURS.muted });
  flow.paragraph(hash, { style: "mono", size: 8.5 });
  flow.y += 4;
  flow.paragraph(
    "It is over one line for each entry shown, in this order: the entry's name, a space, the entry's hash in lower-case " +
      "hexadecimal, a line feed. An entry's hash covers all of the entry. From the JSON export of the same part:",
  );
  flow.paragraph(`jq -r '.entries[] | "\\(.name) \\(.hash)"' export.json | sha256sum`, {
    style: "mono",
    size: 7.5,
    indent: 10,
  });
  if (manifestNote !== undefined) {
    flow.y += 6;
    flow.paragraph("Manifest", { size: 7, colour: COLOURS.muted });
    flow.paragraph(manifestNote, { most: 40 });
  }
}

/** One entry's row, in the order of COLUMNS. */
function entryCells(entry: ReportEntry): Cell[] {
  const actor = entry.email ?? entry.created_by;
  const resource = [entry.resource_type, entry.resource_id].filter((part) => part !== null);
  return [
    { text: clean(entry.name), colour: COLOURS.muted },
    { text: instant(clean(entry.created_at)) },
    {
      text: actor === null
        ? entry.actor_type
        : entry.actor_type === "user"
        ? cell(actor)
        : `${value(actor)} (${entry.actor_type})`,
    },
    { text: cell(entry.action) },
    entry.outcome === "success" ? { text: entry.outcome } : { text: cell(entry.outcome), colour: COLOURS.alarm },
    { text: resource.map(value).join("/") },
    { text: cell(entry.provider ?? "") },
    { text: cell(entry.cost ?? "") },
    { text: changesOf(entry.details) },
  ];
}

/** What is shown alone in its cell. */
function cell(text: string): string {
  return clean(beginning(text));
}

/** What is shown beside other values. */
function value(text: string): string {
  return isolated(beginning(text));
}

/** Far more than a cell shows, as a rule; where it shows all of that, this mark tells that there was more. */
function beginning(text: string): string {
  return text.length > LONGEST_CHANGES ? `${text.slice(0, LONGEST_CHANGES)}…` : text;
}

/** What changed, in short: the changes of an update, else the new or old values, else the other details. */
function changesOf(details: Record<string, unknown>): string {
  const { changes, new: came, old: went } = details;
  let out = "";
  const add = (text: string) => {
    if (out.length < LONGEST_CHANGES) out += out === "" ? text : `; ${text}`;
    else if (!out.endsWith("; …")) out += "; …";
  };
  if (isObject(changes)) {
    for (const [column, change] of Object.entries(changes)) {
      if (isObject(change)) add(`${value(column)}: ${short(change.old)} → ${short(change.new)}`);
      else add(`${value(column)}: ${short(change)}`);
    }
    return out;
  }
  const values = isObject(came) ? came : isObject(went) ? went : details;
  for (const [column, content] of Object.entries(values)) {
    if (content !== null) add(`${value(column)}: ${short(content)}`);
  }
  return out;
}

function short(content: unknown): string {
  if (content === undefined) return "–";
  return value(typeof content === "string" ? content : JSON.stringify(content));
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Counts of the rows themselves. */
function countsOf(rows: readonly ReportEntry[]): ReportFacets {
  const count = (values: (string | null)[]): Count[] => {
    const counts = new Map<string, number>();
    for (const value of values) counts.set(value ?? NOBODY, (counts.get(value ?? NOBODY) ?? 0) + 1);
    return [...counts].map(([value, count]) => ({ value, count }));
  };
  return {
    of: rows.length,
    action: count(rows.map(({ action }) => action)),
    actor: count(rows.map(({ email, created_by }) => email ?? created_by)),
    provider: count(rows.map(({ provider }) => provider)),
    day: count(rows.map(({ created_at }) => created_at.slice(0, 10))),
  };
}

function named(counts: readonly Count[]): Count[] {
  return counts.map(({ value, count }) => ({ value: value ?? NOBODY, count }));
}

/** Every text that is drawn and may need fonts of its own. */
function* textsOf(
  report: SearchReport,
  words: readonly string[],
  facets: ReportFacets,
  cells: readonly Cell[][],
): Generator<string> {
  const { title, organization, period, order, generatedBy, query, manifestNote } = report;
  yield "→·–…“”";
  yield* [title, organization.id, organization.name, period.from, period.to, order, generatedBy, query, manifestNote]
    .map((text) => (text ?? "").slice(0, LONGEST_TEXT));
  yield* words.map((sentence) => sentence.slice(0, LONGEST_TEXT));
  for (const { value } of [...facets.action, ...facets.provider]) yield (value ?? "").slice(0, LONGEST_CHANGES);
  for (const { value, email } of facets.actor) yield (email ?? value ?? "").slice(0, LONGEST_CHANGES);
  for (const row of cells) for (const { text } of row) yield text.slice(0, 2 * LONGEST_CHANGES);
}

/** 2026-11-22T23:59:59.123456Z as 2026-11-22 23:59:59.123456. */
function instant(iso: string): string {
  return iso.replace("T", " ").replace(/(?:\.0+)?Z$/, "");
}

function codePointName(codePoint: number): string {
  return `U+${codePoint.toString(16).toUpperCase().padStart(4, "0")}`;
}

const NOBODY = "(none)";
/** More than is shown of a cell, and of any other text. */
const LONGEST_CHANGES = 400;
const LONGEST_TEXT = 20_000;

const MOST_CONDITIONS = 40;

/** Together as wide as a page of A4 landscape within its margins. */
const COLUMNS: readonly Column[] = [
  { title: "Entry", width: 46 },
  { title: "When (UTC)", width: 62 },
  { title: "Actor", width: 124 },
  { title: "Action", width: 100 },
  { title: "Outcome", width: 44 },
  { title: "Resource", width: 122 },
  { title: "Provider", width: 54 },
  { title: "Cost", width: 50, align: "right" },
  { title: "Changes", width: 155.89 },
];
