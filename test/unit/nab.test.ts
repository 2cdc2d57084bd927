// NAB's scoring: known values of its own tests and documentation, and the ends of its scale.
import { describe, expect, test } from "vitest";
import {
  falseAlerts,
  hours,
  normalizedScore,
  parseSeries,
  probation,
  PROFILE_NAMES,
  PROFILES,
  rawScore,
} from "../../scripts/bench/nab.ts";

const rows = (length: number) => Array.from({ length }, (_, index) => index);

test.each([[100, 15], [4032, 604], [5000, 750], [15902, 750]])(
  "of %d rows the first %d are not scored",
  (length, unscored) => {
    expect(probation(length)).toBe(unscored);
  },
);

describe.each(PROFILE_NAMES)("profile %s", (name) => {
  const profile = PROFILES[name];
  const series = { times: rows(1000), windows: [[300, 399], [700, 749]] as [number, number][] };
  const score = (alerts: number[]) => normalizedScore(rawScore(series, alerts, profile), 2, profile);

  test("is 100 where every window is alerted at its first row, 0 without any alert", () => {
    expect(score([300, 700])).toBeCloseTo(100, 10);
    expect(score([])).toBe(0);
  });

  test("counts the earliest alert of a window only, and the earlier the more", () => {
    expect(score([300, 700, 701, 749, 399])).toBeCloseTo(100, 10);
    expect(score([310, 700])).toBeLessThan(score([305, 700]));
    expect(score([399, 700])).toBeGreaterThan(score([700]));
  });

  test("charges alerts outside of windows, in full before the first, and none in the probation", () => {
    expect(rawScore(series, [149], profile)).toBe(-2 * profile.falseNegative);
    expect(rawScore(series, [150], profile)).toBeCloseTo(-2 * profile.falseNegative - profile.falsePositive, 10);
    expect(falseAlerts(series, [149, 150, 299, 300, 399, 400])).toEqual([150, 299, 400]);
    const behind = rawScore(series, [401], profile) - rawScore(series, [], profile);
    expect(behind).toBeLessThan(0);
    expect(behind).toBeGreaterThan(-profile.falsePositive / 5);
    expect(rawScore(series, [699], profile) - rawScore(series, [], profile)).toBeCloseTo(-profile.falsePositive, 5);
  });
});

test("positions have the values of NAB's documentation", () => {
  // Scaled sigmoid 0.98661 at the left edge, 0.84828 in the middle, -0.98661 one width behind the right edge.
  const one = { times: rows(10_000), windows: [[2000, 2099]] as [number, number][] };
  const standard = PROFILES.standard;
  expect(rawScore(one, [2050], standard)).toBeCloseTo(0.84828 / 0.98661, 4);
  expect(rawScore(one, [2099 + 99], standard)).toBeCloseTo(-1 - 0.11 * 0.98661, 4);
  expect(rawScore(one, [2099 + 4 * 99], standard)).toBeCloseTo(-1 - 0.11, 10);
});

test("a series is read with its windows as rows, and added up by hours", () => {
  const text =
    "timestamp,value\n2015-02-26 21:42:53,104\n2015-02-26 21:57:53,1\n2015-02-26 22:02:53,7\n2015-02-27 00:02:53,2\n";
  const series = parseSeries("x", text, [["2015-02-26 21:57:53.000000", "2015-02-26 22:02:53.000000"]]);
  expect(series.windows).toEqual([[1, 2]]);
  expect(hours(series).map(({ hour, ...rest }) => ({ hour: new Date(hour).toISOString().slice(11, 16), ...rest })))
    .toEqual([
      { hour: "21:00", count: 105, lastRow: 1 },
      { hour: "22:00", count: 7, lastRow: 2 },
      { hour: "23:00", count: 0, lastRow: 2 },
      { hour: "00:00", count: 2, lastRow: 3 },
    ]);
});
