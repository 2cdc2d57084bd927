/** The PDF of a report: cover, contents, controls with their evidence, how the log stood, and how to check all of it. */
import type { Report, ReportCell, ReportItem, Section } from "../report_schema.ts";
import { dayBars, grouped, rankings } from "./charts.ts";
import { type Page, PdfDocument } from "./document.ts";
import { fontFile, type FontSource } from "./fonts.ts";
import { A4, COLOURS, Flow } from "./page.ts";
import { type Cell, type Column, table } from "./table.ts";
import { clean, Typesetter } from "./text.ts";

type Control = Extract<Section, { kind: "control" }>;

/** The file, and how many pages it has. `fonts` is where its fonts come from. */
export async function complianceReport(
  report: Report,
  fonts: FontSource = fontFile,
): Promise<{ pdf: Uint8Array; pages: number }> {
  const { report: { id, title }, content, content_sha256 } = report;
  const organization = report.report.organization ?? report.report.organization_id;
  const type = await Typesetter.load(textsOf(report), fonts);
  const document = new PdfDocument({
    title,
    subject: `${title} of ${clean(organization)}`,
    author: "Audit logs for Supabase",
    createdAt: new Date(report.report.generated_at),
  });
  const flow = new Flow(document, type, {
    size: A4.portrait,
    header: `${title} · ${clean(organization)}`,
    footer: `Report ${id} · content SHA-256 ${content_sha256.slice(0, 32)}…`,
  });
  const contents: Line[] = [];
  const writer = new Writer(flow, contents, new Map(report.people.map(({ user_id, email }) => [user_id, email])));

  cover(writer, report);
  const pages = reserve(flow, content.sections.length + 3);
  flow.breakPage();
  glance(writer, content.sections);
  for (const section of content.sections) writer.section(section);
  integrity(writer, report);
  check(writer, report);
  fill(flow, pages, contents);
  flow.finish();
  return { pdf: document.finish(), pages: document.pages.length };
}

/** A line of the contents. */
type Line = { title: string; page: number };

/** Writes sections down the pages, with the names of those who may be shown. */
class Writer {
  readonly flow: Flow;
  readonly #contents: Line[];
  readonly #people: Map<string, string>;

  constructor(flow: Flow, contents: Line[], people: Map<string, string>) {
    this.flow = flow;
    this.#contents = contents;
    this.#people = people;
  }

  person(user: string | null): string {
    return user === null ? "" : this.#people.get(user) ?? user;
  }

  heading(title: string, height: number): void {
    this.flow.y += 8;
    this.flow.heading(title, height);
    this.#contents.push({ title, page: this.flow.document.pages.length });
  }

  section(section: Section): void {
    const { flow } = this;
    this.heading(clean(headingOf(section)), 60);
    switch (section.kind) {
      case "text":
        for (const paragraph of section.paragraphs) this.paragraph(paragraph);
        break;
      case "chart":
        this.query(section.query);
        this.paragraph(`${entriesOf(section.total)}.`);
        dayBars(flow, section.days, 70);
        rankings(flow, [{ title: "Outcomes", counts: section.outcomes }], 5);
        break;
      case "table":
        if (section.note !== null) this.paragraph(section.note);
        if (section.rows.length === 0) this.paragraph("None.");
        else table(flow, columnsOf(section.columns, flow.width), section.rows.map((row) => row.map(this.#cell)));
        this.rest(section.rows.length, section.total ?? section.rows.length);
        break;
      case "entries":
        if (section.note !== null) this.paragraph(section.note);
        this.query(section.query);
        this.items(section.items, "No entry of this kind in the period.");
        this.rest(section.items.length, section.total);
        break;
      case "control":
        this.#control(section);
    }
    flow.y += 10;
  }

  paragraph(text: string, colour: Cell["colour"] = COLOURS.ink): void {
    this.flow.paragraph(clean(text), { most: 60, ...(colour === undefined ? {} : { colour }) });
    this.flow.y += 3;
  }

  label(text: string): void {
    this.flow.need(30);
    this.flow.paragraph(text, { size: 7, colour: COLOURS.muted });
  }

  query(query: string): void {
    this.label("Query, to be asked again");
    this.flow.paragraph(clean(query), { style: "mono", size: 7, most: 12 });
    this.flow.y += 4;
  }

  items(items: readonly ReportItem[], none: string): void {
    if (items.length === 0) return this.paragraph(none, COLOURS.muted);
    table(this.flow, ITEM_COLUMNS, items.map((item) => this.#item(item)));
    this.flow.y += 4;
  }

  rest(shown: number, total: number): void {
    if (total > shown) this.paragraph(`${grouped(shown)} of ${grouped(total)} are shown.`, COLOURS.muted);
  }

  #control(control: Control): void {
    const { exceptions, sample } = control;
    this.label(BASIS[control.basis]);
    this.paragraph(control.wording);
    if (control.of_system) this.paragraph("Looked at in the whole project's log, not the organisation's.");
    this.query(control.query);
    this.flow.definitions([
      ["Population", entriesOf(control.population)],
      ["Exceptions", exceptions === null ? "none is one by itself" : grouped(exceptions.count)],
      ["Sample", `${entriesOf(sample.size)}, seed ${sample.seed}`],
    ], 3);
    this.label("Result");
    this.paragraph(control.result, exceptions !== null && exceptions.count > 0 ? COLOURS.alarm : COLOURS.ink);
    if (exceptions !== null && exceptions.items.length > 0) {
      this.label(`Exceptions: ${exceptions.means}`);
      this.items(exceptions.items, "");
      this.rest(exceptions.items.length, exceptions.count);
    }
    if (sample.items.length > 0) {
      this.label("Sample");
      this.items(sample.items, "");
    }
  }

  #item({ name, at, action, outcome, actor, actor_type, resource, hash }: ReportItem): Cell[] {
    return [
      { text: clean(name), colour: COLOURS.muted },
      { text: instant(at) },
      { text: clean(action) },
      outcome === "success" ? { text: outcome } : { text: clean(outcome), colour: COLOURS.alarm },
      { text: clean(actor === null ? actor_type : this.person(actor)) },
      { text: clean(resource.slice(0, LONGEST)) },
      { text: hash.slice(0, 10), colour: COLOURS.muted },
    ];
  }

  readonly #cell = (cell: ReportCell): Cell => ({
    text: clean((typeof cell === "string" ? cell : this.person(cell.user)).slice(0, LONGEST)),
  });
}

function cover(writer: Writer, { report, content, content_sha256, people }: Report): void {
  const { flow } = writer;
  const name = report.organization === null ? report.organization_id : clean(report.organization);
  flow.y += 90;
  flow.page.rectangle(flow.left, flow.y, 46, 4, COLOURS.accent);
  flow.y += 22;
  flow.paragraph("AUDIT LOG", { size: 8, colour: COLOURS.accent });
  flow.y += 4;
  flow.paragraph(report.title, { style: "bold", size: 26, most: 3 });
  flow.y += 6;
  flow.paragraph(report.framework, { size: 11, colour: COLOURS.muted, most: 3 });
  flow.y += 26;
  flow.paragraph(name, { style: "bold", size: 14, most: 3 });
  flow.y += 20;
  flow.page.rule(flow.left, flow.y, flow.width, COLOURS.line);
  flow.y += 16;
  const who = report.requested_by === null
    ? report.scheduled ? "by schedule" : "in the database"
    : `by ${people.find(({ user_id }) => user_id === report.requested_by)?.email ?? report.requested_by}`;
  flow.definitions(
    [
      ["Period (UTC)", `${instant(content.from)} until before ${instant(content.to)}`],
      ["Generated", `${instant(report.generated_at)} UTC, ${clean(who)}`],
      ["Organisation", report.organization_id],
      ["Report", report.id],
      ...Object.entries(content.parameters).map(([name, value]) => [`About (${name})`, writer.person(value)] as const),
    ].map(([title, value]) => [title!, value!] as const),
    2,
  );
  flow.y += 6;
  flow.paragraph("SHA-256 of the content", { size: 7, colour: COLOURS.muted });
  flow.paragraph(content_sha256, { style: "mono", size: 8 });
  flow.y += 16;
  flow.paragraph(report.about, { size: 10, most: 14 });
}

/** All controls on a page. */
function glance(writer: Writer, sections: readonly Section[]): void {
  const controls = sections.filter((section) => section.kind === "control");
  if (controls.length === 0) return;
  writer.heading("At a glance", 60);
  const count = (value: number | undefined): Cell =>
    value === undefined ? { text: "–" } : { text: grouped(value), ...(value > 0 ? { colour: COLOURS.alarm } : {}) };
  table(
    writer.flow,
    columnsOf([
      { title: "Control", width: 2 },
      { title: "Question", width: 6 },
      { title: "Population", width: 1.3, align: "right" },
      { title: "Exceptions", width: 1.3, align: "right" },
      { title: "Sample", width: 1, align: "right" },
    ], writer.flow.width),
    controls.map(({ title, question, population, exceptions, sample }) => [
      { text: clean(title) },
      { text: clean(question) },
      { text: grouped(population) },
      count(exceptions?.count),
      { text: grouped(sample.size) },
    ]),
  );
  writer.flow.y += 12;
}

function integrity(writer: Writer, { integrity }: Report): void {
  const { flow } = writer;
  const { chains, rounds, read_back, not_captured, open_findings, outside } = integrity;
  writer.heading("How the log stood", 80);
  writer.paragraph(
    "When the files of this report were made. It is what the database says of itself, which its owner could forge: the " +
      "signed checkpoint below, and those that others keep, are what it can be held against.",
  );
  flow.definitions([
    [
      "Chains, verified for this report",
      chains === null
        ? "not for this report"
        : chains.broken.length > 0
        ? `${grouped(chains.broken.length)} BROKEN`
        : `${grouped(chains.verified)} chains, ${grouped(chains.entries)} entries: all verify`,
    ],
    [
      "Chains and logs, by schedule",
      rounds?.verified === true
        ? `verified at ${instant(rounds.at ?? "")}`
        : rounds?.verified === false
        ? `BROKEN at ${instant(rounds.at ?? "")}`
        : "no round is finished yet",
    ],
    ["Archive, read back and compared", `${grouped(read_back.entries ?? 0)} of ${grouped(read_back.of ?? 0)} entries`],
    ["Open findings", grouped(open_findings)],
    [
      "Checkpoints are given to",
      outside === 0 ? "nobody outside: set up a receiver or a witness" : `${outside} outside`,
    ],
  ], 2);
  if (chains !== null && chains.broken.length > 0) {
    table(
      flow,
      columnsOf(
        [{ title: "Chain", width: 1 }, { title: "From entry", width: 1 }, { title: "Finding", width: 3 }],
        flow.width,
      ),
      chains.broken.map(({ chain, seq, finding }) => [
        { text: String(chain) },
        { text: String(seq) },
        { text: finding, colour: COLOURS.alarm },
      ]),
    );
    flow.y += 6;
  }
  writer.label("Not captured whole");
  if (not_captured.length === 0) writer.paragraph("Nothing: every table that is or should be captured is.");
  for (const finding of not_captured.slice(0, 30)) writer.paragraph(`· ${finding}`);
  writer.rest(Math.min(30, not_captured.length), not_captured.length);
}

function check(writer: Writer, { content_sha256, integrity, report }: Report): void {
  const { flow } = writer;
  writer.heading("Signature, and how to check this report", 160);
  writer.paragraph(
    "The evidence pack (evidence.zip) has this file, the content for programs, the entries with the exact text that was " +
      "hashed, receipts of listed entries that are sealed, and a manifest with the SHA-256 of every file, which the log's " +
      "key signed; it says how many of each there are, and which entries lie in files beside it. Unpacked into a folder it " +
      "verifies without us, by the public key, which you should have from elsewhere:",
  );
  flow.paragraph("npm run verify -- --export FOLDER --key VKEY", { style: "mono", size: 8, indent: 10 });
  flow.paragraph("npm run verify -- --receipt FOLDER/3-17.tlog-proof --key VKEY", {
    style: "mono",
    size: 8,
    indent: 10,
  });
  flow.y += 5;
  writer.paragraph(
    "The content is the same for the same period and entries, whoever asks when: content.json is it to the byte, without the " +
      "names of persons, and this is its SHA-256:",
  );
  flow.paragraph(content_sha256, { style: "mono", size: 8.5, indent: 10 });
  flow.y += 5;
  writer.paragraph(
    "Samples can be drawn again: of the entries that the query finds, those with the least SHA-256 of the seed, a colon and " +
      "the entry's name (chain-seq).",
  );
  flow.y += 6;
  if (integrity.checkpoint === null) writer.paragraph("There is no signed checkpoint yet.");
  else {
    flow.need(110);
    const [top, page] = [flow.y, flow.page];
    flow.y += 8;
    flow.paragraph("Checkpoint of the log when this report was made, signed (C2SP tlog-checkpoint)", {
      size: 7,
      colour: COLOURS.muted,
      indent: 10,
    });
    for (const line of integrity.checkpoint.trimEnd().split("\n")) {
      flow.paragraph(clean(line), { style: "mono", size: 7, indent: 10, most: 3 });
    }
    flow.y += 8;
    page.rectangle(flow.left, top, 2, flow.y - top, COLOURS.accent);
  }
  flow.y += 8;
  if (flow.shortened > 0) {
    writer.paragraph(
      `${grouped(flow.shortened)} texts were too long for their place and end with “…”: report.json has them whole.`,
    );
  }
  if (flow.type.missing.size > 0) {
    writer.paragraph(
      `${
        grouped(flow.type.missing.size)
      } characters have no glyph in this file's fonts and are drawn as an empty box: ` +
        "report.json has them.",
    );
  }
  writer.paragraph(`Asked for at ${instant(report.requested_at)} UTC.`, COLOURS.muted);
}

/** Pages for so many lines of contents, to be filled when their numbers are known. */
function reserve(flow: Flow, lines: number): Page[] {
  const pages: Page[] = [];
  for (let left = lines; left > 0; left -= linesOf(flow)) {
    flow.breakPage();
    pages.push(flow.page);
  }
  return pages;
}

function fill(flow: Flow, pages: readonly Page[], contents: readonly Line[]): void {
  const most = linesOf(flow);
  pages.forEach((page, at) => {
    flow.page = page;
    let y = 78;
    flow.put("Contents", flow.left, y, flow.width, { style: "bold", size: 14 });
    y += 26;
    for (const line of contents.slice(at * most, (at + 1) * most)) {
      flow.put(line.title, flow.left, y, flow.width - 40, { size: 9 });
      flow.put(String(line.page), flow.left + flow.width - 40, y, 40, { size: 9, align: "right" });
      page.rule(flow.left, y + 4, flow.width, COLOURS.line, 0.3);
      y += LINE;
    }
  });
}

function linesOf(flow: Flow): number {
  return Math.floor((flow.bottom - 110) / LINE);
}

function headingOf(section: Section): string {
  return section.kind === "control" ? `${section.title}  ${section.question}` : section.title;
}

function columnsOf(
  columns: readonly { title: string; width: number; align?: "right" | undefined }[],
  width: number,
): Column[] {
  const all = columns.reduce((sum, column) => sum + column.width, 0);
  return columns.map(({ title, width: share, align }) => ({
    title,
    width: (share / all) * width,
    most: 5,
    ...(align === undefined ? {} : { align }),
  }));
}

function entriesOf(count: number): string {
  return count === 1 ? "1 entry" : `${grouped(count)} entries`;
}

/** Every text that may need fonts of its own. */
function* textsOf(value: unknown): Generator<string> {
  if (typeof value === "string") yield value.slice(0, LONGEST);
  else if (typeof value === "object" && value !== null) {
    for (const part of Object.values(value)) {
      yield* textsOf(part);
    }
  }
  if (value !== null && typeof value === "object" && "report" in value) yield "·–…“”’";
}

function instant(text: string): string {
  return text.slice(0, 19).replace("T", " ");
}

const BASIS = {
  law: "The law says (what stands in “ ” is quoted)",
  standard: "The standard asks, in our words",
  convention: "Convention: what is quoted is law, that it is asked of audit logs is custom",
} as const;

const LINE = 17;
/** Far more than a cell shows. */
const LONGEST = 1_500;
const ITEM_COLUMNS: readonly Column[] = [
  { title: "Entry", width: 44 },
  { title: "Time (UTC)", width: 78 },
  { title: "Action", width: 88 },
  { title: "Outcome", width: 42 },
  { title: "Actor", width: 100 },
  { title: "Resource", width: 105 },
  { title: "Hash begins", width: 54.28 },
];
