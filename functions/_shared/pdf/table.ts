/** Tables over many pages: the header is repeated, cells wrap, and a cell too long is cut with an ellipsis. */
import type { Colour } from "./document.ts";
import { baseline, COLOURS, type Flow, lineHeight } from "./page.ts";
import type { Paragraph } from "./text.ts";

export type Column = {
  title: string;
  /** In points. */
  width: number;
  align?: "left" | "right";
  /** Most lines of a cell. */
  most?: number;
};

export type Cell = { text: string; colour?: Colour };

const SIZE = 7;
const GAP = 7;
const PADDING = 3;

/** Draws the rows, which may come one by one. Returns how many there were. */
export function table(flow: Flow, columns: readonly Column[], rows: Iterable<readonly Cell[]>): number {
  // Actions, actors and providers repeat: each is broken into lines once. Long texts do not, and would be kept in vain.
  const known = columns.map(() => new Map<string, Paragraph>());
  const places: number[] = [];
  let x = flow.left;
  for (const { width } of columns) {
    places.push(x);
    x += width;
  }
  const header = () => {
    flow.page.rectangle(flow.left, flow.y, flow.width, 15, COLOURS.wash);
    columns.forEach(({ title, width, align = "left" }, i) =>
      flow.put(title, places[i]! + (align === "left" ? 3 : 0), flow.y + 10, width - GAP, {
        style: "bold",
        size: SIZE,
        align,
      })
    );
    flow.y += 15;
  };

  header();
  let count = 0;
  for (const row of rows) {
    const paragraphs = row.map(({ text }, i) => {
      const { width, most = 3 } = columns[i]!;
      let paragraph = known[i]!.get(text);
      if (paragraph === undefined) {
        paragraph = flow.type.wrap(text, "regular", ((width - GAP) * 1000) / SIZE, most);
        if (text.length <= 40) known[i]!.set(text, paragraph);
      }
      if (paragraph.shortened) flow.shortened += 1;
      return paragraph;
    });
    const height = lineHeight(SIZE) * Math.max(1, ...paragraphs.map(({ lines }) => lines.length)) + 2 * PADDING;
    if (flow.y + height > flow.bottom) {
      flow.breakPage();
      header();
    }
    paragraphs.forEach(({ lines }, i) => {
      const { width, align = "left" } = columns[i]!;
      lines.forEach((line, n) => {
        const indent = align === "left" ? 3 : width - GAP - (line.width * SIZE) / 1000;
        const y = flow.y + PADDING + n * lineHeight(SIZE) + baseline(SIZE);
        flow.page.text(line, places[i]! + indent, y, SIZE, row[i]!.colour ?? COLOURS.ink);
      });
    });
    flow.y += height;
    flow.page.rule(flow.left, flow.y - 0.25, flow.width, COLOURS.line, 0.4);
    count += 1;
  }
  return count;
}
