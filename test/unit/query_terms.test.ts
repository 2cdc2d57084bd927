// Chips and completion of the viewer's query box: a query is taken apart and put together, and means the same.
import { describe, expect, test } from "vitest";
import { completionsAt } from "../../functions/audit-viewer/page/completion.ts";
import { quoted, termsOf, withoutTerm, withTerm } from "../../functions/audit-viewer/page/query_terms.ts";

test("a value that needs quotes is completed by its beginning", () => {
  const facets = { of: 1, complete: true, action: [], actor: [], provider: [{ value: "Open AI", count: 1 }], day: [] };
  expect(completionsAt("provider:op", 11, facets).options).toEqual([`provider:"Open AI"`]);
  expect(completionsAt(`provider:"op`, 12, facets).options).toEqual([`provider:"Open AI"`]);
  expect(completionsAt("provider:x", 10, facets).options).toEqual([]);
});

test("what stands in every object is no field with values of its own", () => {
  expect(completionsAt("constructor:x", 13, undefined).options).toEqual([]);
});

describe("terms", () => {
  test.each([
    ["", []],
    ["  a:b   c ", ["a:b", "c"]],
    [`action:"two words" "and \\" more" x`, [`action:"two words"`, `"and \\" more"`, "x"]],
    ["action:(a or b) -provider:x", ["action:(a or b)", "-provider:x"]],
    ["a:1 and not (b:2 or c:3)", ["a:1", "not (b:2 or c:3)"]],
    ["a:1 or b:2", ["a:1 or b:2"]],
    [`"a or b" c`, [`"a or b"`, "c"]],
    [`"unclosed (and so on`, [`"unclosed (and so on`]],
    ["a:1 not", ["a:1", "not"]],
  ])("of %s", (query, terms) => expect(termsOf(query)).toEqual(terms));

  test("are taken away and added one by one", () => {
    expect(withoutTerm("a:1 b:2 c:3", 1)).toBe("a:1 c:3");
    expect(withTerm("a:1", "b", "2")).toBe("a:1 b:2");
    expect(withTerm("a:1 b:2", "b", "2")).toBe("a:1 b:2");
    expect(withTerm("created:7d a:1", "created", "2026-01-01..2026-01-31")).toBe("a:1 created:2026-01-01..2026-01-31");
    expect(withTerm("a:1 or b:2", "c", "3")).toBe("(a:1 or b:2) c:3");
  });

  test.each([
    ["api_key.added", "api_key.added"],
    ["ada@example.com", "ada@example.com"],
    ["or", '"or"'],
    ["", '""'],
    ["a*", '"a*"'],
    ["-a", '"-a"'],
    [`a "b" \\`, `"a \\"b\\" \\\\"`],
    ["1..2", '"1..2"'],
  ])("%s as a value is %s", (value, written) => expect(quoted(value)).toBe(written));
});

describe("completion", () => {
  const facets = {
    of: 1,
    complete: true,
    action: [{ value: "api_key.added", count: 1 }, { value: "two words", count: 1 }],
    actor: [{ value: "a0000000-0000-4000-8000-000000000001", email: "ada@example.com", count: 1 }],
    provider: [],
    day: [],
  };
  test.each([
    ["act", ["action:", "actor:", "actor_type:"]],
    ["a:1 -outc", ["outcome:"]],
    ["(provider:x or outcome:f", ["outcome:failure"]],
    ["action:", ["action:api_key.added", 'action:"two words"']],
    ["actor:a", ["actor:ada@example.com"]],
    ["action:api_key.added", []],
    ["a:1 ", []],
    ["nope:", []],
  ])("after %s", (query, options) => expect(completionsAt(query, query.length, facets).options).toEqual(options));

  test("replaces the word before the caret alone", () => {
    expect(completionsAt("-act provider:x", 4, facets)).toMatchObject({ from: 1, to: 4 });
  });
});
