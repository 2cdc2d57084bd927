/** Charts of counts: bars over days, and bars by name. */
import { baseline, COLOURS, type Flow } from "./page.ts";

/** How often a value occurs. */
export type Count = { value: string; count: number };

const SIZE = 7;

/** Whole numbers with commas: 12,345. */
export function grouped(count: number): string {
  return String(count).replace(/\B(?=(\d{3})+(?!\d))/g, ",");
}

/** Bars over days (values YYYY-MM-DD, UTC), days without entries included; over months or years where they are too many. */
export function dayBars(flow: Flow, counts: readonly Count[], height: number): void {
  const { unit, bars } = timeline(counts);
  flow.need(height + 34);
  flow.put(`Entries by ${unit} (UTC)`, flow.left, flow.y + baseline(SIZE), flow.width, { style: "bold", size: SIZE });
  flow.y += 16;
  const highest = bars.reduce((most, { count }) => Math.max(most, count), 0);
  if (highest === 0) {
    flow.put("no entries", flow.left, flow.y + baseline(SIZE), flow.width, { size: SIZE, colour: COLOURS.muted });
    flow.y += 16;
    return;
  }
  const top = niceCeiling(highest);
  const [left, width] = [flow.left + 34, flow.width - 34];
  const foot = flow.y + height;
  for (const tick of new Set([0, Math.floor(top / 2), top])) {
    const y = foot - (tick / top) * height;
    flow.page.rule(left, y, width, COLOURS.line, 0.4);
    flow.put(grouped(tick), flow.left, y + 2.5, 29, { size: 6.5, colour: COLOURS.muted, align: "right" });
  }
  const step = width / bars.length;
  const bar = Math.min(step * 0.8, 26);
  bars.forEach(({ count }, i) => {
    const tall = (count / top) * height;
    if (tall > 0) flow.page.rectangle(left + i * step + (step - bar) / 2, foot - tall, bar, tall, COLOURS.bar);
  });
  // As many labels as there is room for.
  const every = Math.ceil(bars.length / Math.floor(width / 52));
  for (let i = 0; i < bars.length; i += every) {
    const center = left + i * step + step / 2;
    const wide = (flow.type.line(bars[i]!.value).width * 6.5) / 1000;
    const x = Math.max(left, Math.min(center - wide / 2, left + width - wide));
    flow.put(bars[i]!.value, x, foot + 10, wide + 1, { size: 6.5, colour: COLOURS.muted });
  }
  flow.y = foot + 22;
}

/** Several charts of the most frequent values side by side. What is not among the `most` is told as a sum. */
export function rankings(
  flow: Flow,
  charts: readonly { title: string; counts: readonly Count[] }[],
  most: number,
): void {
  const gap = 24;
  const width = (flow.width - gap * (charts.length - 1)) / charts.length;
  const rows = charts.map(({ counts }) => {
    const sorted = [...counts].sort((a, b) => b.count - a.count || (a.value < b.value ? -1 : 1));
    const rest = sorted.slice(most);
    return {
      shown: sorted.slice(0, most),
      rest: rest.length === 0
        ? ""
        : `${grouped(rest.length)} more, together ${grouped(rest.reduce((sum, { count }) => sum + count, 0))}`,
    };
  });
  const height = 16 + 12 * Math.max(1, ...rows.map(({ shown, rest }) => shown.length + (rest === "" ? 0 : 1))) + 6;
  flow.need(height);
  charts.forEach(({ title }, column) => {
    const x = flow.left + column * (width + gap);
    const [label, number] = [width * 0.5, 34];
    flow.put(title, x, flow.y + baseline(SIZE), width, { style: "bold", size: SIZE });
    const { shown, rest } = rows[column]!;
    const highest = Math.max(1, shown[0]?.count ?? 0);
    shown.forEach(({ value, count }, i) => {
      const y = flow.y + 16 + 12 * i;
      flow.put(value, x, y + baseline(SIZE), label - 6, { size: SIZE });
      const room = width - label - number;
      flow.page.rectangle(x + label, y + 1, Math.max(0.6, (count / highest) * room), 7, COLOURS.bar);
      flow.put(grouped(count), x + width - number, y + baseline(SIZE), number, { size: SIZE, align: "right" });
    });
    const y = flow.y + 16 + 12 * shown.length + baseline(SIZE);
    const note = shown.length === 0 ? "none" : rest;
    if (note !== "") flow.put(note, x, y, width, { size: SIZE, colour: COLOURS.muted });
  });
  flow.y += height;
}

/**
 * The days from first to last without a gap; the months or years where those are more than bars can show. Without the gaps
 * where even the years are too many.
 */
function timeline(counts: readonly Count[]): { unit: string; bars: Count[] } {
  const days = counts.filter(({ value }) => /^\d{4}-\d\d-\d\d$/.test(value));
  const values = days.map(({ value }) => value).sort();
  if (values.length === 0) return { unit: "day", bars: [] };
  const [first, last] = [new Date(values[0]!), new Date(values.at(-1)!)];
  const span = (last.getTime() - first.getTime()) / 86_400_000;
  const unit = span < 150 ? "day" : span < 150 * 30 ? "month" : "year";
  const length = { day: 10, month: 7, year: 4 }[unit];
  const sums = new Map<string, number>();
  if (span < 150 * 365) {
    const at = new Date(`${values[0]!.slice(0, length)}-01-01`.slice(0, 10));
    for (; at <= last; step(at, unit)) sums.set(at.toISOString().slice(0, length), 0);
  }
  for (const { value, count } of days) {
    sums.set(value.slice(0, length), (sums.get(value.slice(0, length)) ?? 0) + count);
  }
  const bars = [...sums].map(([value, count]) => ({ value, count }));
  return { unit, bars: bars.sort((a, b) => (a.value < b.value ? -1 : 1)) };
}

function step(date: Date, unit: string): void {
  if (unit === "day") date.setUTCDate(date.getUTCDate() + 1);
  else if (unit === "month") date.setUTCMonth(date.getUTCMonth() + 1);
  else date.setUTCFullYear(date.getUTCFullYear() + 1);
}

/** The next of 1, 2, 4, 5, 10, 20 …: an axis that ends there reads well. */
function niceCeiling(count: number): number {
  const power = 10 ** Math.floor(Math.log10(count));
  return [1, 2, 4, 5, 10].map((factor) => factor * power).find((ceiling) => ceiling >= count)!;
}
