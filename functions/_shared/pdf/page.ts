/** The furniture of a report's pages: margins, running header and footer, headings, and text that flows down the pages. */
import type { Colour, Page, PdfDocument } from "./document.ts";
import type { Style, Typesetter } from "./text.ts";

/** Ink and paper of all reports. */
export const COLOURS = {
  ink: [0.11, 0.12, 0.14],
  muted: [0.38, 0.41, 0.45],
  line: [0.84, 0.86, 0.88],
  wash: [0.955, 0.963, 0.97],
  accent: [0.11, 0.43, 0.33],
  bar: [0.35, 0.62, 0.52],
  alarm: [0.7, 0.13, 0.13],
} as const satisfies Record<string, Colour>;

/** A4, 210 × 297 mm. */
export const A4 = { portrait: [595.28, 841.89], landscape: [841.89, 595.28] } as const;

export type Furniture = {
  size: readonly [number, number];
  /** Left of the header of every page but the first. */
  header: string;
  /** Left of every footer; the page number is on the right. */
  footer: string;
};

/** How a text is set. */
export type Setting = { style?: Style; size?: number; colour?: Colour };

const MARGIN = 42;
const HEADER = 24;
const FOOTER = 26;

/** Pages that are filled from top to bottom. */
export class Flow {
  readonly document: PdfDocument;
  readonly type: Typesetter;
  readonly left = MARGIN;
  readonly width: number;
  /** Texts that were shortened so far, each with a visible ellipsis. */
  shortened = 0;
  page!: Page;
  /** Where the next thing is drawn. */
  y = 0;
  readonly #furniture: Furniture;

  constructor(document: PdfDocument, type: Typesetter, furniture: Furniture) {
    this.document = document;
    this.type = type;
    this.#furniture = furniture;
    this.width = furniture.size[0] - 2 * MARGIN;
    this.breakPage();
  }

  /** Where the space for content ends. */
  get bottom(): number {
    return this.#furniture.size[1] - MARGIN - FOOTER;
  }

  breakPage(): void {
    const first = this.document.pages.length === 0;
    this.page = this.document.addPage(...this.#furniture.size);
    this.y = first ? MARGIN : MARGIN + HEADER;
  }

  /** Breaks the page where less than this height is left. */
  need(height: number): void {
    if (this.y + height > this.bottom) this.breakPage();
  }

  /** One line, cut to the width where it is longer. Draws nothing else and does not move down. */
  put(text: string, x: number, y: number, width: number, setting: Setting & { align?: "left" | "right" } = {}): void {
    const { style = "regular", size = 8.5, colour = COLOURS.ink, align = "left" } = setting;
    const { lines, shortened } = this.type.wrap(text, style, (width * 1000) / size, 1);
    if (shortened) this.shortened += 1;
    const line = lines[0]!;
    this.page.text(line, align === "left" ? x : x + width - (line.width * size) / 1000, y, size, colour);
  }

  /** A text over the whole width, in at most `most` lines, over as many pages as it needs. */
  paragraph(text: string, setting: Setting & { most?: number; indent?: number; width?: number } = {}): void {
    const { style = "regular", size = 8.5, colour = COLOURS.ink, most = Infinity, indent = 0 } = setting;
    const width = (setting.width ?? this.width) - indent;
    const { lines, shortened } = this.type.wrap(text, style, (width * 1000) / size, most);
    if (shortened) this.shortened += 1;
    const step = lineHeight(size);
    for (const line of lines) {
      this.need(step);
      this.page.text(line, this.left + indent, this.y + baseline(size), size, colour);
      this.y += step;
    }
  }

  /** A section's title, kept together with `height` of what follows, and a bookmark to it. */
  heading(text: string, height: number): void {
    this.need(22 + height);
    this.document.bookmark(text, this.page, this.y);
    this.put(text, this.left, this.y + baseline(11.5), this.width, { style: "bold", size: 11.5 });
    this.y += 22;
  }

  /** Names and values in columns of equal width. */
  definitions(entries: readonly (readonly [name: string, value: string])[], columns: number, most = 3): void {
    const gap = 18;
    const width = (this.width - gap * (columns - 1)) / columns;
    for (let from = 0; from < entries.length; from += columns) {
      const row = entries.slice(from, from + columns).map(([name, value]) => {
        const { lines, shortened } = this.type.wrap(value, "regular", (width * 1000) / 8.5, most);
        if (shortened) this.shortened += 1;
        return { name, lines };
      });
      const height = 11 + lineHeight(8.5) * Math.max(...row.map(({ lines }) => lines.length)) + 7;
      this.need(height);
      row.forEach(({ name, lines }, column) => {
        const x = this.left + column * (width + gap);
        this.put(name, x, this.y + baseline(7), width, { size: 7, colour: COLOURS.muted });
        lines.forEach((line, i) =>
          this.page.text(line, x, this.y + 11 + i * lineHeight(8.5) + baseline(8.5), 8.5, COLOURS.ink)
        );
      });
      this.y += height;
    }
  }

  /** Draws headers and footers, now that the number of pages is known. */
  finish(): void {
    const pages = this.document.pages;
    const [, height] = this.#furniture.size;
    pages.forEach((page, i) => {
      this.page = page;
      if (i > 0) {
        this.put(this.#furniture.header, this.left, MARGIN + 4, this.width, { size: 7, colour: COLOURS.muted });
        page.rule(this.left, MARGIN + 11, this.width, COLOURS.line);
      }
      const y = height - MARGIN;
      page.rule(this.left, y - 13, this.width, COLOURS.line);
      this.put(this.#furniture.footer, this.left, y, this.width - 90, { size: 7, colour: COLOURS.muted });
      this.put(`page ${i + 1} of ${pages.length}`, this.left + this.width - 80, y, 80, {
        size: 7,
        colour: COLOURS.muted,
        align: "right",
      });
    });
  }
}

/** From one line to the next. Noto's scripts with marks above and below need this much. */
export function lineHeight(size: number): number {
  return size * 1.38;
}

/** From the top of a line to its baseline. */
export function baseline(size: number): number {
  return size * 1.05;
}
