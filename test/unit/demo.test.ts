import { describe, expect, test } from "vitest";
import { cost, MODELS } from "../../scripts/demo/prices.ts";
import { formatTable } from "../../scripts/demo/table.ts";
import { formatTime, parseTrace, type TraceRow } from "../../scripts/demo/trace.ts";
import { makeWorkload, uuid } from "../../scripts/demo/workload.ts";

const HEADER = "TIMESTAMP,ContextTokens,GeneratedTokens";

describe("trace", () => {
  test("reads CR LF, seven decimals and a last line without end", () => {
    const text = `${HEADER}\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319609,3180,8`;
    expect(parseTrace(text)).toEqual([
      { number: 1, time: 1700158623979960, contextTokens: 4808, generatedTokens: 10 },
      { number: 2, time: 1700158624031960, contextTokens: 3180, generatedTokens: 8 },
    ]);
  });

  test("reads LF and a last line with end", () => {
    expect(parseTrace(`${HEADER}\n2023-11-16 18:17:03.9799600,0,0\n`)).toHaveLength(1);
  });

  test("reads a header alone as an empty trace", () => {
    expect(parseTrace(`${HEADER}\r\n`)).toEqual([]);
  });

  test.each(["", "time,in,out\n", `${HEADER},Extra\n`])("refuses the header of %j", (text) => {
    expect(() => parseTrace(text)).toThrow("line 1 of the trace");
  });

  test.each([
    ["an empty line", ""],
    ["a missing column", "2023-11-16 18:17:03.9799600,4808"],
    ["one column too many", "2023-11-16 18:17:03.9799600,4808,10,1"],
    ["six decimals", "2023-11-16 18:17:03.979960,4808,10"],
    ["a negative count", "2023-11-16 18:17:03.9799600,-1,10"],
    ["a fraction", "2023-11-16 18:17:03.9799600,1.5,10"],
    ["a count beyond integers", "2023-11-16 18:17:03.9799600,99999999999999999999,10"],
    ["a thirteenth month", "2023-13-16 18:17:03.9799600,1,1"],
    ["30 February", "2023-02-30 18:17:03.9799600,1,1"],
    ["hour 25", "2023-11-16 25:17:03.9799600,1,1"],
    ["a time zone", "2023-11-16T18:17:03.9799600Z,1,1"],
  ])("refuses %s and names the line", (_, bad) => {
    const good = "2023-11-16 18:17:03.9799600,1,1";
    expect(() => parseTrace(`${HEADER}\r\n${good}\r\n${bad}\r\n${good}\r\n`)).toThrow("line 3 of the trace");
  });

  test("quotes no more than the start of a bad line", () => {
    expect(() => parseTrace(`${HEADER}\n${"x".repeat(1e6)}`)).toThrow(/^.{1,250}$/);
  });

  test("writes times to the microsecond", () => {
    expect(formatTime(1700158623979960)).toBe("2023-11-16T18:17:03.979960Z");
    expect(formatTime(1700158623000001)).toBe("2023-11-16T18:17:03.000001Z");
  });
});

describe("prices", () => {
  const model = (input: number, output: number) => ({
    provider: "openai" as const,
    name: "m",
    input,
    output,
    weight: 1,
  });

  test("are exact where binary fractions are not", () => {
    expect(cost(model(10, 20), 1, 1)).toBe("0.00000030");
    expect(cost(model(125, 1000), 4808, 10)).toBe("0.00611000");
    expect(cost(model(300, 1500), 1_000_000, 1_000_000)).toBe("18.00000000");
    expect(cost(model(25, 200), 0, 0)).toBe("0.00000000");
  });

  test("stay exact beyond 2^53", () => {
    expect(cost(model(2_000_000_000, 1), 999_999_999, 1)).toBe("19999999980.00000001");
  });

  test("are whole cents per million tokens, so that no cost is rounded", () => {
    for (const { input, output, weight } of MODELS) {
      expect([input, output].every((price) => Number.isInteger(price) && price > 0)).toBe(true);
      expect(weight).toBeGreaterThan(0);
    }
  });
});

describe("workload", () => {
  const rows: TraceRow[] = Array.from({ length: 4000 }, (_, index) => ({
    number: index + 1,
    time: 1700158623000000 + index * 1000,
    contextTokens: 100 + index,
    generatedTokens: 10,
  }));
  const user = (number: number, role: string | null) => ({
    id: `10000000-0000-4000-8000-00000000000${number}`,
    email: `user${number}@example.com`,
    password: "",
    role,
    organization_id: role === null ? null : "a0000000-0000-4000-8000-000000000001",
  });
  const users = [user(1, "admin"), user(2, "member"), user(3, "member"), user(4, "viewer"), user(5, null)];
  const units = makeWorkload(rows, users);
  const requests = units.flatMap((unit) => unit.requests);

  test("is the same every time, whatever the order of the users", () => {
    expect(makeWorkload(rows, [...users].reverse())).toEqual(units);
  });

  test("is the same for a shorter trace as far as it goes", () => {
    const some = makeWorkload(rows.slice(0, 600), users);
    expect(some).toEqual(units.slice(0, some.length));
  });

  test("holds every row once, with ids of its own", () => {
    expect(requests.map(({ row }) => row)).toEqual(rows);
    expect(new Set(requests.flatMap(({ queryId, responseId }) => [queryId, responseId])).size).toBe(2 * rows.length);
  });

  test("is sent by admins and members only, by few of them mostly", () => {
    const sent = new Map<string, number>();
    for (const unit of units) sent.set(unit.user.id, (sent.get(unit.user.id) ?? 0) + unit.requests.length);
    expect([...sent.keys()].sort()).toEqual([users[0]!.id, users[1]!.id, users[2]!.id]);
    expect(Math.max(...sent.values())).toBeGreaterThan(2 * Math.min(...sent.values()));
  });

  test("is half single requests, half batches", () => {
    const single = units.filter((unit) => unit.requests.length === 1).length;
    expect(single).toBeGreaterThan(rows.length * 0.35);
    expect(single).toBeLessThan(rows.length * 0.65);
  });

  test("uses every model, and fails now and then, for nothing", () => {
    expect(new Set(requests.map(({ model }) => model)).size).toBe(MODELS.length);
    const failed = requests.filter(({ error }) => error !== null);
    expect(failed.length).toBeGreaterThan(rows.length * 0.01);
    expect(failed.length).toBeLessThan(rows.length * 0.06);
    expect(new Set(failed.map(({ cost }) => cost))).toEqual(new Set(["0.00000000"]));
  });

  test("says so when nobody may send", () => {
    expect(() => makeWorkload(rows, [user(1, "viewer")])).toThrow("nobody");
  });

  test("makes well-formed UUIDs", () => {
    expect(uuid("a")).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(uuid("a")).toBe(uuid("a"));
    expect(uuid("a")).not.toBe(uuid("b"));
  });
});

test("a table aligns numbers to the right and text to the left", () => {
  expect(formatTable(["user", "USD", "role"], [["a@example.com", "1.00", "admin"], ["b", "10.25", ""]])).toBe(
    "  user             USD  role\n  a@example.com   1.00  admin\n  b              10.25",
  );
});
