// The bench's statistics: what it says of runs that it did not have to make.
import { platform } from "node:os";
import { describe, expect, test } from "vitest";
import { type GrowthRun, roundRatios, throughput } from "../../scripts/bench/growth.ts";
import { cpuSeconds, peakMemory, resetPeakMemory, schedule } from "../../scripts/bench/process_usage.ts";
import { Measured, type Run } from "../../scripts/bench/results.ts";
import { mean, median, pairedMedian, percentile, verdict } from "../../scripts/bench/statistics.ts";
import { CAPTURE_TARGETS, judge } from "../../scripts/bench/targets.ts";

describe("median and percentile", () => {
  test("take the middle, or the mean of the two in the middle, in any order", () => {
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([7])).toBe(7);
  });

  test("interpolate between neighbours", () => {
    expect(percentile([0, 10, 20, 30, 40], 0.95)).toBeCloseTo(38);
    expect(percentile([0, 10, 20], 0)).toBe(0);
    expect(percentile([0, 10, 20], 1)).toBe(20);
  });

  test("are no number of no values", () => {
    expect(median([])).toBeNaN();
  });

  test("leave the values as they were", () => {
    const values = [3, 1, 2];
    median(values);
    expect(values).toEqual([3, 1, 2]);
  });
});

test("a mean is a number of some values, and no number of none", () => {
  expect(mean([1, 2, 6])).toBe(3);
  expect(mean([])).toBeNaN();
});

describe.runIf(platform() === "linux")("what a process used", () => {
  test("is what it ran and held", async () => {
    const before = await cpuSeconds(process.pid);
    const end = process.cpuUsage().user + 200_000;
    while (process.cpuUsage().user < end);
    expect(await cpuSeconds(process.pid) - before).toBeGreaterThan(0.15);
    await resetPeakMemory(process.pid);
    const held = await peakMemory(process.pid);
    expect(held).toBeGreaterThan(20);
    const block = Buffer.alloc(100 * 2 ** 20, 1);
    expect(await peakMemory(process.pid) - held).toBeGreaterThan(80);
    expect(block).toHaveLength(100 * 2 ** 20);
  });

  test("is unknown, and no error, where there is none", async () => {
    expect(await schedule(2 ** 30)).toEqual({ ran: NaN, waited: NaN });
  });
});

describe("paired median", () => {
  test("compares round by round, so a slow spell of the machine cancels out", () => {
    expect(pairedMedian([100, 50, 100], [200, 100, 200], (ours, theirs) => ours / theirs)).toBe(0.5);
  });

  test("refuses rounds without a partner", () => {
    expect(() => pairedMedian([1, 2], [1], (ours, theirs) => ours / theirs)).toThrow("same number of rounds");
  });
});

describe("verdict", () => {
  const more = { atLeast: 2, aim: 2.6 };
  const less = { atLeast: 0.1, aim: 0, lessIsBetter: true };

  test.each([[2.6, "aim"], [2.59, "at least"], [2, "at least"], [1.99, "below"]])(
    "more is better: %d",
    (value, expected) => {
      expect(verdict(value, more)).toBe(expected);
    },
  );

  test.each([[0, "aim"], [0.1, "at least"], [0.11, "below"]])("less is better: %d", (value, expected) => {
    expect(verdict(value, less)).toBe(expected);
  });

  test("what is no number reaches nothing", () => {
    expect(verdict(NaN, more)).toBe("below");
    expect(verdict(NaN, less)).toBe("below");
  });

  test("what was not measured has none", () => {
    expect(judge({ title: "", ...more }, undefined).verdict).toBeUndefined();
  });
});

describe("runs", () => {
  const run = (variant: Run["variant"], round: number, metrics: Run["metrics"]): Run => ({
    commit: "1ms",
    scenario: "bulk-10000",
    variant,
    round,
    metrics,
  });
  const runs = [
    ...[10, 30, 12].map((us_per_row, round) => run("unaudited", round, { us_per_row })),
    ...[30, 70, 32].map((us_per_row, round) => run("ours", round, { us_per_row })),
  ];
  const target = (title: string) => CAPTURE_TARGETS.find((each) => each.title === title)!;

  test("give medians, totals, ratios and what is added", () => {
    const measured = new Measured(runs, "1ms", "bulk-10000");
    expect(measured.median("ours", "us_per_row")).toBe(32);
    expect(measured.total("ours", "us_per_row")).toBe(132);
    expect(measured.ratio("us_per_row", "ours", "unaudited")).toBeCloseTo(32 / 12);
    expect(measured.added("us_per_row", "ours")).toBe(20);
    expect(measured.ratio("us_per_row", "ours", "supa_audit")).toBeUndefined();
  });

  test("are judged by their targets; another cost of a commit is another matter", () => {
    const added = target("10,000 rows in one INSERT: added per row");
    expect(judge(added, added.value(new Measured(runs, "1ms", "bulk-10000"))).verdict).toBe("aim");
    expect(added.value(new Measured(runs, "disk", "bulk-10000"))).toBeUndefined();
  });

  test("count failures as a share of all transactions", () => {
    const serializable = target("SERIALIZABLE: transactions that capture makes fail");
    const some = run("ours", 0, { transactions: 998, deadlocks: 0, serialization_failures: 2 });
    const value = serializable.value(new Measured([{ ...some, scenario: "serializable" }], "1ms", "serializable"));
    expect(value).toBeCloseTo(0.2);
    expect(judge(serializable, value).verdict).toBe("below");
  });
});

describe("growth", () => {
  const run = (scenario: string, log: GrowthRun["log"], round: number, metrics: GrowthRun["metrics"]): GrowthRun => ({
    scenario,
    log,
    round,
    metrics,
  });

  test("is judged by rows a second, whatever was measured", () => {
    expect(throughput({ tps: 700, p50_ms: 1 })).toBe(700);
    expect(throughput({ us_per_row: 40 })).toBe(25_000);
  });

  test("compares the turns of a round, of one scenario", () => {
    const runs = [
      ...[800, 1_200].map((tps) => run("one-writer", "empty", 0, { tps })),
      ...[850, 950].map((tps) => run("one-writer", "large", 0, { tps })),
      run("one-writer", "large", 1, { tps: 500 }),
      run("one-writer", "empty", 1, { tps: 400 }),
      run("bulk-10000", "empty", 0, { us_per_row: 20 }),
      run("bulk-10000", "large", 0, { us_per_row: 25 }),
    ];
    expect(roundRatios(runs, "one-writer")).toEqual([0.9, 1.25]);
    expect(roundRatios(runs, "bulk-10000")).toEqual([0.8]);
  });
});
