// The Numenta Anomaly Benchmark: its series, and its scoring, written from its published description and checked against
// the scores that it publishes (test/unit/nab.test.ts).
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export type Series = {
  name: string;
  /** Milliseconds since 1970. */
  times: number[];
  values: number[];
  /** First and last row of each labelled window, in order. */
  windows: [number, number][];
};

/** What an alert outside of every window costs, and a window without an alert; an early one in a window earns 1. */
export type Profile = { falsePositive: number; falseNegative: number };

export const PROFILES = {
  standard: { falsePositive: 0.11, falseNegative: 1 },
  "low FP": { falsePositive: 0.22, falseNegative: 1 },
  "low FN": { falsePositive: 0.11, falseNegative: 2 },
} satisfies Record<string, Profile>;

export type ProfileName = keyof typeof PROFILES;
export const PROFILE_NAMES = Object.keys(PROFILES) as ProfileName[];

/** The rows at the beginning that are not scored: 15 %, of 5,000 at most. */
export function probation(rows: number): number {
  return Math.floor(0.15 * Math.min(rows, 5_000));
}

/** From 1 far before a window's end through 0 at it to -1 far behind it; a window's width is 1. */
function sigmoid(position: number): number {
  return position > 3 ? -1 : 2 / (1 + Math.exp(5 * position)) - 1;
}

/** Each window counts by its earliest alert, or is missed; every alert outside costs, less just behind a window. */
export function rawScore(
  { times, windows }: Pick<Series, "times" | "windows">,
  alerts: Iterable<number>,
  { falsePositive, falseNegative }: Profile,
): number {
  const scored = [...alerts].filter((row) => row >= probation(times.length));
  const won = windows.map(([first, last]) => {
    const earliest = Math.min(...scored.filter((row) => row >= first && row <= last));
    return earliest === Infinity ? -falseNegative : sigmoid(-(last - earliest + 1) / (last - first + 1)) / sigmoid(-1);
  });
  const lost = falseAlerts({ times, windows }, scored).map((row) => {
    const [first, last] = windows.filter(([, end]) => end < row).at(-1) ?? [];
    return falsePositive * (first === undefined ? -1 : sigmoid((row - last!) / (last! - first)));
  });
  return [...won, ...lost].reduce((total, each) => total + each, 0);
}

/** Scored alerts that are in no window. */
export function falseAlerts({ times, windows }: Pick<Series, "times" | "windows">, alerts: Iterable<number>): number[] {
  return [...alerts].filter((row) =>
    row >= probation(times.length) && !windows.some(([first, last]) => row >= first && row <= last)
  );
}

/** 100 for all windows at their beginnings and nothing else, 0 for no alert at all. */
export function normalizedScore(raw: number, windows: number, { falseNegative }: Profile): number {
  return 100 * (raw + falseNegative * windows) / (windows + falseNegative * windows);
}

/** The folder that NAB_DATA names, else the one beside the checkout; undefined where there is none. */
export function findNab(): string | undefined {
  const folder = process.env["NAB_DATA"] ?? fileURLToPath(new URL("../../../shared/data/nab", import.meta.url));
  return existsSync(folder) ? folder : undefined;
}

/** Those of the named series that are there. The folder is NAB's checkout, or has its data and windows in one place. */
export async function readSeries(folder: string, names: string[]): Promise<Series[]> {
  const whole = existsSync(join(folder, "labels"));
  const windows = JSON.parse(
    await readFile(join(folder, whole ? "labels" : "", "combined_windows.json"), "utf8"),
  ) as Record<string, [string, string][]>;
  const files = names.map((name) => ({ name, file: join(folder, whole ? "data" : "", name) }));
  return Promise.all(
    files.filter(({ file }) => existsSync(file)).map(async ({ name, file }) =>
      parseSeries(name, await readFile(file, "utf8"), windows[name] ?? [])
    ),
  );
}

export function parseSeries(name: string, text: string, windows: [string, string][]): Series {
  const [, ...lines] = text.trim().split("\n");
  const rows = lines.map((line) => line.split(",") as [string, string]);
  const times = rows.map(([time]) => milliseconds(time));
  return {
    name,
    times,
    values: rows.map(([, value]) => Number(value)),
    windows: windows.map((window) => window.map((time) => times.indexOf(milliseconds(time))) as [number, number]),
  };
}

function milliseconds(time: string): number {
  return Date.parse(`${time.trim().slice(0, 19).replace(" ", "T")}Z`);
}

/** What each hour adds up to, from the first to the last, by the hour's beginning; and its last row. */
export function hours({ times, values }: Series): { hour: number; count: number; lastRow: number }[] {
  const first = Math.floor(times[0]! / HOUR);
  const result = Array.from({ length: Math.floor(times.at(-1)! / HOUR) - first + 1 }, (_, index) => ({
    hour: (first + index) * HOUR,
    count: 0,
    lastRow: -1,
  }));
  times.forEach((time, row) => {
    const bucket = result[Math.floor(time / HOUR) - first]!;
    bucket.count += values[row]!;
    bucket.lastRow = row;
  });
  // An hour without rows is judged where the next row would have been.
  result.forEach((bucket, index) => {
    if (bucket.lastRow < 0) bucket.lastRow = result[index - 1]!.lastRow;
  });
  return result;
}

export const HOUR = 3_600_000;
