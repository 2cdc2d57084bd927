import { describe, expect, test } from "vitest";
import { filterOf, type FilterParameters, parameterAt } from "../../functions/audit/filters.ts";
import { requestIdOf } from "../../functions/_shared/request_id.ts";
import { createLimiter } from "../../functions/audit/limiter.ts";
import { equalSecrets } from "../../functions/_shared/secrets.ts";

describe("filterOf()", () => {
  test.each<[FilterParameters, unknown]>([
    [{ actor: "ada@example.com" }, { field: "actor", op: "eq", value: "ada@example.com" }],
    [{ action: "api_key.*" }, { field: "action", op: "like", value: "api_key.*" }],
    [{ action: "a.b, c.d" }, { field: "action", op: "in", value: ["a.b", "c.d"] }],
    [{ action: "a.*,c.d" }, {
      or: [{ field: "action", op: "like", value: "a.*" }, { field: "action", op: "eq", value: "c.d" }],
    }],
    [{ resource_id: "a,b" }, { field: "resource_id", op: "eq", value: "a,b" }],
    [{ cost_min: "0.10" }, { field: "cost", op: "gte", value: "0.10" }],
    [{ from: "7d" }, { field: "created", op: "gte", value: "7d" }],
    [{ to: "2026-01" }, { field: "created", op: "lte", value: "2026-01" }],
    [{ text: "a b" }, { text: "a b" }],
  ])("%j", (parameters, condition) => {
    expect(filterOf(parameters)).toMatchObject({ filter: { and: [condition] } });
  });

  test("of nothing is nothing", () => expect(filterOf({ actor: undefined })).toBeUndefined());

  test("a place in the tree is that of its parameter", () => {
    const { names } = filterOf({ from: "x", outcome: "y" })!;
    expect([
      parameterAt("/and/0", names),
      parameterAt("/and/1/or/0", names),
      parameterAt("", names),
    ]).toEqual(["outcome", "from", undefined]);
  });
});

describe("requestIdOf()", () => {
  test.each(["abc-123", "req_1:2", "a".repeat(128)])("keeps %s", (id) => expect(requestIdOf(id)).toBe(id));
  test.each([null, "", "a b", 'a"b', "a\nb", "-a", "a".repeat(129), "ä"])(
    "replaces %j",
    (id) => {
      expect(requestIdOf(id)).toMatch(/^[0-9a-f]{8}-/);
    },
  );
});

test("createLimiter() gives each place once", () => {
  const limiter = createLimiter(1);
  const release = limiter.take()!;
  expect(limiter.take()).toBeUndefined();
  release();
  release();
  expect([limiter.take() === undefined, limiter.take() === undefined]).toEqual([false, true]);
});

test("equalSecrets()", async () => {
  expect(await equalSecrets("secret", "secret")).toBe(true);
  for (const other of ["", "secre", "secrets", "Secret"]) {
    expect(await equalSecrets(other, "secret")).toBe(false);
  }
});
