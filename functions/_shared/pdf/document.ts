/**
 * PDF 1.7 files (ISO 32000-1): objects, pages, embedded fonts, bookmarks. Only what reports draw: text lines, rectangles and
 * rules. The same calls give the same bytes.
 *
 * Measures are in points (1/72 inch) from the top left corner of the page.
 */
import { createHash } from "node:crypto";
import { deflate } from "./bytes.ts";
import type { Face, Glyph } from "./fonts.ts";
import { keepGlyphs } from "./sfnt.ts";
import type { Line, PlainSpan } from "./text.ts";

/** Red, green and blue, each 0 to 1. */
export type Colour = readonly [number, number, number];

export type DocumentInfo = {
  title: string;
  subject: string;
  author: string;
  /** The only time in the file. */
  createdAt: Date;
};

/** A PDF file that is being made. */
export class PdfDocument {
  readonly pages: Page[] = [];
  readonly #info: DocumentInfo;
  readonly #fonts = new UsedFonts();
  readonly #bookmarks: { title: string; page: Page; y: number }[] = [];

  constructor(info: DocumentInfo) {
    this.#info = info;
  }

  /** A new last page. */
  addPage(width: number, height: number): Page {
    const page = new Page(width, height, this.#fonts);
    this.pages.push(page);
    return page;
  }

  /** An entry of the outline that readers show beside the pages. */
  bookmark(title: string, page: Page, y: number): void {
    this.#bookmarks.push({ title, page, y });
  }

  /** The file. */
  finish(): Uint8Array {
    const file = new ObjectFile();
    const [catalog, pages, info] = [file.reserve(), file.reserve(), file.reserve()];
    const fonts = [...this.#fonts].map((font) => `/${font.name} ${addFont(file, font)} 0 R`);
    const resources = file.add(`<< /Font << ${fonts.join(" ")} >> >>`);
    const kids = this.pages.map((page) => {
      const contents = file.addStream("", BYTES.encode(page.operators()));
      return file.add(
        `<< /Type /Page /Parent ${pages} 0 R /MediaBox [0 0 ${number(page.width)} ${number(page.height)}]` +
          ` /Resources ${resources} 0 R /Contents ${contents} 0 R >>`,
      );
    });
    file.put(
      pages,
      `<< /Type /Pages /Count ${kids.length} /Kids [${kids.map((kid) => `${kid} 0 R`).join(" ")}] >>`,
    );
    const outlines = this.#addBookmarks(file, kids);
    file.put(
      catalog,
      `<< /Type /Catalog /Pages ${pages} 0 R /Lang (en) /ViewerPreferences << /DisplayDocTitle true >>${outlines} >>`,
    );
    const { title, subject, author, createdAt } = this.#info;
    file.put(
      info,
      `<< /Title ${textString(title)} /Subject ${textString(subject)} /Author ${textString(author)}` +
        ` /Creator (Supabase Audit Logs) /CreationDate (${pdfDate(createdAt)}) >>`,
    );
    return file.finish(catalog, info);
  }

  #addBookmarks(file: ObjectFile, kids: number[]): string {
    if (this.#bookmarks.length === 0) return "";
    const root = file.reserve();
    const items = this.#bookmarks.map(() => file.reserve());
    this.#bookmarks.forEach(({ title, page, y }, i) => {
      const before = i > 0 ? ` /Prev ${items[i - 1]} 0 R` : "";
      const after = i + 1 < items.length ? ` /Next ${items[i + 1]} 0 R` : "";
      const target = `[${kids[this.pages.indexOf(page)]} 0 R /XYZ 0 ${number(page.height - y)} null]`;
      file.put(items[i]!, `<< /Title ${textString(title)} /Parent ${root} 0 R${before}${after} /Dest ${target} >>`);
    });
    file.put(root, `<< /Type /Outlines /First ${items[0]} 0 R /Last ${items.at(-1)} 0 R /Count ${items.length} >>`);
    return ` /Outlines ${root} 0 R /PageMode /UseOutlines`;
  }
}

/** One page. Its content may be added to until the document is finished. */
export class Page {
  readonly width: number;
  readonly height: number;
  readonly #operators: string[] = [];
  readonly #fonts: UsedFonts;
  #fill: Colour | undefined;

  constructor(width: number, height: number, fonts: UsedFonts) {
    this.width = width;
    this.height = height;
    this.#fonts = fonts;
  }

  /** Draws a line of text from x on, on the baseline y. */
  text(line: Line, x: number, y: number, size: number, colour: Colour): void {
    if (line.pieces.length === 0) return;
    this.#setFill(colour);
    let out = `BT 1 0 0 1 ${number(x)} ${number(this.height - y)} Tm`;
    let current: UsedFont | undefined;
    let open = "";
    const close = () => {
      if (open !== "") out += ` <${open}> Tj`;
      open = "";
    };
    for (const span of line.pieces.flatMap(({ spans }) => spans)) {
      const font = this.#fonts.of(span.face);
      if (font !== current) {
        close();
        out += ` /${font.name} ${number(size)} Tf`;
        current = font;
      }
      if ("ids" in span) {
        open += font.plain(span);
      } else {
        close();
        out += shapedGlyphs(span.glyphs, font, size);
      }
    }
    close();
    this.#operators.push(`${out} ET`);
  }

  /** Fills a rectangle whose top left corner is at x, y. */
  rectangle(x: number, y: number, width: number, height: number, colour: Colour): void {
    this.#setFill(colour);
    this.#operators.push(
      `${number(x)} ${number(this.height - y - height)} ${number(width)} ${number(height)} re f`,
    );
  }

  /** A horizontal line, as a thin rectangle below y. */
  rule(x: number, y: number, width: number, colour: Colour, thickness = 0.5): void {
    this.rectangle(x, y, width, thickness, colour);
  }

  /** The content stream. */
  operators(): string {
    return this.#operators.join("\n");
  }

  #setFill(colour: Colour): void {
    if (this.#fill === colour) return;
    this.#operators.push(`${colour.map(number).join(" ")} rg`);
    this.#fill = colour;
  }
}

/** The fonts that the pages of a document use. */
class UsedFonts {
  readonly #fonts = new Map<Face, UsedFont>();

  of(face: Face): UsedFont {
    let font = this.#fonts.get(face);
    if (font === undefined) {
      font = new UsedFont(face, `F${this.#fonts.size}`);
      this.#fonts.set(face, font);
    }
    return font;
  }

  [Symbol.iterator](): Iterator<UsedFont> {
    return this.#fonts.values();
  }
}

/**
 * A font of the document and the codes that its glyphs are drawn by. A code stands for one text, by which readers search and
 * copy: a glyph that stands for several texts, such as a letter without the dots that tell it from others, has several codes.
 */
class UsedFont {
  readonly face: Face;
  /** In the resources of the pages. */
  readonly name: string;
  /** By code. */
  readonly glyphs = new Map<number, { id: number; text: string }>();
  readonly #codes = new Map<string, number>();
  readonly #plain = new Map<PlainSpan, string>();
  #next: number;

  constructor(face: Face, name: string) {
    this.face = face;
    this.name = name;
    this.#next = face.glyphs;
  }

  /** The code of a glyph that stands for a text, in hexadecimal. */
  code(id: number, text: string): string {
    const first = this.glyphs.get(id);
    if (first === undefined) this.glyphs.set(id, { id, text });
    if (first === undefined || first.text === text) return code(id);
    const key = `${id} ${text}`;
    let other = this.#codes.get(key);
    if (other === undefined) {
      // Two bytes end here; a font that has so many glyphs is not among those in use.
      if (this.#next > 0xffff) return code(id);
      other = this.#next++;
      this.#codes.set(key, other);
      this.glyphs.set(other, { id, text });
    }
    return code(other);
  }

  plain(span: PlainSpan): string {
    let codes = this.#plain.get(span);
    if (codes === undefined) {
      let i = 0;
      codes = "";
      for (const character of span.text) codes += this.code(span.ids[i++]!, character);
      this.#plain.set(span, codes);
    }
    return codes;
  }
}

/** Glyphs each at its place: kerned, joined, stacked. */
function shapedGlyphs(glyphs: readonly Glyph[], font: UsedFont, size: number): string {
  let out = "";
  let array = "";
  let rise = 0;
  // Where the text cursor is, and where the glyphs so far end.
  let [cursor, pen] = [0, 0];
  const close = () => {
    if (array !== "") out += ` [${array}] TJ`;
    array = "";
  };
  const moveTo = (x: number) => {
    // Positive numbers of TJ move left.
    if (Math.abs(cursor - x) < 0.5) return;
    array += number(cursor - x);
    cursor = x;
  };
  for (const group of groupsOf(glyphs)) {
    const text = group[0]!.text;
    // The codes of several glyphs for one text cannot tell it all alike; what they are together is stated.
    const stated = group.length > 1;
    if (stated) {
      close();
      out += ` /Span << /ActualText ${textString(text)} >> BDC`;
    }
    const placed = group.map((glyph) => {
      const x = pen + glyph.dx;
      pen += glyph.advance;
      return { ...glyph, x };
    });
    // The letter before its marks: readers that do not heed what is stated take the text from its code.
    placed.sort((a, b) => b.advance - a.advance).forEach(({ id, x, dy }, i) => {
      if (dy !== rise) {
        close();
        out += ` ${number((dy * size) / 1000)} Ts`;
        rise = dy;
      }
      moveTo(x);
      array += `<${font.code(id, i === 0 ? text : "")}>`;
      cursor += font.face.advance(id);
    });
    if (stated) {
      close();
      out += " EMC";
    }
  }
  moveTo(pen);
  close();
  return rise === 0 ? out : `${out} 0 Ts`;
}

/** Glyphs that together stand for a text. */
function groupsOf(glyphs: readonly Glyph[]): Glyph[][] {
  const groups: Glyph[][] = [];
  for (const glyph of glyphs) {
    if (glyph.text !== "" || groups.length === 0) groups.push([glyph]);
    else groups.at(-1)!.push(glyph);
  }
  return groups;
}

/** The objects of one font; the number of the one that pages refer to. */
function addFont(file: ObjectFile, { face, glyphs }: UsedFont): number {
  const codes = [...glyphs].sort(([a], [b]) => a - b);
  const ids = [...new Set(codes.map(([, { id }]) => id))].sort((a, b) => a - b);
  const program = keepGlyphs(face.tables, ids);
  const fontFile = file.addStream(`/Length1 ${program.length}`, program);
  // The name of a subset begins with six letters of its own.
  const digits = createHash("sha256").update(`${face.name} ${ids}`).digest("hex").slice(0, 6);
  const tag = digits.replace(/./g, (digit) => "ABCDEFGHIJKLMNOP"[parseInt(digit, 16)]!);
  const name = `${tag}+${face.name}`;
  const descriptor = file.add(
    `<< /Type /FontDescriptor /FontName /${name} /Flags 4 /FontBBox [${face.box.join(" ")}] /ItalicAngle 0` +
      ` /Ascent ${number(face.ascent)} /Descent ${number(face.descent)} /CapHeight 714 /StemV 80` +
      ` /FontFile2 ${fontFile} 0 R >>`,
  );
  const last = codes.at(-1)![0];
  const toGlyphs = last < face.glyphs ? "/Identity" : `${file.addStream("", glyphMap(glyphs, last))} 0 R`;
  const widths = codes.map(([code, { id }]) => `${code} [${number(face.advance(id))}]`).join(" ");
  const descendant = file.add(
    `<< /Type /Font /Subtype /CIDFontType2 /BaseFont /${name} /CIDToGIDMap ${toGlyphs} /FontDescriptor ${descriptor} 0 R` +
      ` /CIDSystemInfo << /Registry (Adobe) /Ordering (Identity) /Supplement 0 >> /DW 0 /W [${widths}] >>`,
  );
  const texts = codes.map(([code, { text }]) => [code, text] as const);
  const toUnicode = file.addStream("", BYTES.encode(unicodeMap(texts)));
  return file.add(
    `<< /Type /Font /Subtype /Type0 /BaseFont /${name} /Encoding /Identity-H /DescendantFonts [${descendant} 0 R]` +
      ` /ToUnicode ${toUnicode} 0 R >>`,
  );
}

/** Two bytes a code: the number of its glyph. */
function glyphMap(glyphs: UsedFont["glyphs"], last: number): Uint8Array {
  const map = new Uint8Array(2 * (last + 1));
  const view = new DataView(map.buffer);
  for (const [code, { id }] of glyphs) view.setUint16(2 * code, id);
  return map;
}

/** The CMap from codes to texts. */
function unicodeMap(texts: readonly (readonly [code: number, text: string])[]): string {
  const lines = texts.filter(([, text]) => text !== "").map(([id, text]) => `<${code(id)}> <${utf16(text)}>`);
  const sections: string[] = [];
  for (let i = 0; i < lines.length; i += 100) {
    const some = lines.slice(i, i + 100);
    sections.push(`${some.length} beginbfchar\n${some.join("\n")}\nendbfchar`);
  }
  return "/CIDInit /ProcSet findresource begin\n12 dict begin\nbegincmap\n" +
    "/CIDSystemInfo << /Registry (Adobe) /Ordering (UCS) /Supplement 0 >> def\n" +
    "/CMapName /Adobe-Identity-UCS def\n/CMapType 2 def\n1 begincodespacerange\n<0000> <ffff>\nendcodespacerange\n" +
    `${sections.join("\n")}\nendcmap\nCMapName currentdict /CMap defineresource pop\nend\nend`;
}

/** Numbered objects, their places in the file, and the table of these. */
class ObjectFile {
  readonly #chunks: Uint8Array[] = [];
  readonly #offsets: number[] = [];
  readonly #hash = createHash("sha256");
  #length = 0;

  constructor() {
    this.#write("%PDF-1.7\n%âãÏÓ\n");
  }

  reserve(): number {
    this.#offsets.push(0);
    return this.#offsets.length;
  }

  add(object: string): number {
    const id = this.reserve();
    this.put(id, object);
    return id;
  }

  put(id: number, object: string): void {
    this.#offsets[id - 1] = this.#length;
    this.#write(`${id} 0 obj\n${object}\nendobj\n`);
  }

  addStream(entries: string, bytes: Uint8Array): number {
    const id = this.reserve();
    const packed = deflate(bytes);
    this.#offsets[id - 1] = this.#length;
    this.#write(`${id} 0 obj\n<< /Length ${packed.length} /Filter /FlateDecode ${entries} >>\nstream\n`);
    this.#write(packed);
    this.#write("\nendstream\nendobj\n");
    return id;
  }

  finish(catalog: number, info: number): Uint8Array {
    const start = this.#length;
    const id = this.#hash.copy().digest("hex").slice(0, 32);
    const places = this.#offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`);
    this.#write(`xref\n0 ${places.length + 1}\n0000000000 65535 f \n${places.join("")}`);
    this.#write(
      `trailer\n<< /Size ${places.length + 1} /Root ${catalog} 0 R /Info ${info} 0 R /ID [<${id}> <${id}>] >>\n` +
        `startxref\n${start}\n%%EOF\n`,
    );
    const file = new Uint8Array(this.#length);
    let at = 0;
    for (const chunk of this.#chunks) {
      file.set(chunk, at);
      at += chunk.length;
    }
    return file;
  }

  #write(data: string | Uint8Array): void {
    const chunk = typeof data === "string" ? BYTES.encode(data) : data;
    this.#chunks.push(chunk);
    this.#hash.update(chunk);
    this.#length += chunk.length;
  }
}

/** A text string object: UTF-16 with a byte order mark, in hexadecimal, so that nothing needs an escape. */
function textString(text: string): string {
  return `<feff${utf16(text)}>`;
}

function code(value: number): string {
  return value.toString(16).padStart(4, "0");
}

function utf16(text: string): string {
  let out = "";
  for (let i = 0; i < text.length; i++) out += text.charCodeAt(i).toString(16).padStart(4, "0");
  return out;
}

function pdfDate(date: Date): string {
  return `D:${date.toISOString().replace(/\.\d+/, "").replace(/[-:T]/g, "").replace("Z", "+00'00'")}`;
}

/** At most three decimals, and no exponent. */
function number(value: number): string {
  return String(Math.round(value * 1000) / 1000);
}

const BYTES = new TextEncoder();
