// The query language against generated and hostile input: what is read is written back the same, what cannot be read is
// an error with its place, and no value, path or pattern is ever more than a value.
import fc from "fast-check";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { groupOf, writeQuery } from "../../functions/audit-viewer/page/query_tree.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified, failure } from "../support/log.ts";
import { createPeople, ORGANIZATIONS, readRows, type Row, type Tree, trees, writeEntries } from "./search_support.ts";

/** GENERATED_QUERIES asks for more than a quick run has, GENERATED_SEED for the same again. */
const RUNS = Number(process.env.GENERATED_QUERIES ?? 300);
const SEED = Number(process.env.GENERATED_SEED ?? Date.now() % 2 ** 31);
const OPTIONS = { numRuns: RUNS, seed: SEED, endOnFailure: true };
/** Longer than this no query may take, however bad. */
const MOST_MS = 2000;

let db: TestDatabase;
let client: pg.Client;
let rows: Row[];

beforeAll(async () => {
  db = await createDatabase();
  const superuser = await db.connect(ADMIN);
  await createPeople(superuser);
  await writeEntries(superuser, 60, SEED);
  rows = await readRows(superuser);
  client = await db.connect();
});
afterAll(() => db.drop());

/** What a function of schema audit says of an argument. */
async function ask(name: string, argument: unknown): Promise<unknown> {
  const sent = typeof argument === "string" ? argument : JSON.stringify(argument);
  const { rows } = await client.query(`select audit.${name}($1) as answer`, [sent]);
  return rows[0].answer;
}

/** The names of the entries that a request finds, of the first 200. */
async function search(request: { query: string } | { filter: unknown }): Promise<string[]> {
  const page = await ask("search_page", { organization_id: ORGANIZATIONS[0], limit: 200, ...request });
  return (page as { entries: { name: string }[] }).entries.map(({ name }) => name);
}

// ---------------------------------------------------------------------------------------------- there and back

/** Strings of all sorts: what the language itself is made of, what SQL, JSON, jsonpath and patterns are made of. */
const NASTY = [
  ..."\"'\\`$*()[]{}<>=!:;,.|&%_-+~^?@#/ \t\n\r\u0001\u007f\u00a0\u2028é漢🦕".match(/./gsu)!,
  "..",
  ":",
  ">=",
  "or",
  "AND",
  "not",
  "$$",
  "E'",
  "''",
  "--",
  "/*",
  "*/",
  "\\'",
  '\\"',
  "\\u0041",
  "\\x",
  "%s",
  "%L",
  "$1",
  "null",
  "true",
  "1",
  "2026-01-01",
  "7d",
  "a",
  "Abc",
  "and",
  "details.",
  "action:",
  "cost:>",
  "'; drop table public.audit_logs; --",
  "' or '1'='1",
  '" or "1"="1',
  "' || pg_sleep(5) || '",
  "@? '$ ? (1 == 1)'",
  '") || (1 == 1',
];
const nasty = fc.oneof(
  fc.array(fc.constantFrom(...NASTY), { minLength: 1, maxLength: 8 }).map((parts) => parts.join("")),
  fc.string({ unit: "binary", minLength: 1, maxLength: 12 }).filter((each) => !/[\0\p{Surrogate}]/u.test(each)),
);
const step = nasty.map((each) => /^[A-Za-z0-9_]+$/.test(each) ? each : `"${each.replace(/["\\]/g, "\\$&")}"`);
const path = fc.tuple(
  fc.constantFrom("new", "old", "changes", "details"),
  fc.array(step, { minLength: 1, maxLength: 4 }),
)
  .map(([root, steps]) => [root, ...steps].join("."));
const field = fc.oneof(
  {
    weight: 1,
    arbitrary: fc.constantFrom("action", "resource", "resource_id", "provider", "request_id", "email", "actor", "ip"),
  },
  { weight: 2, arbitrary: path },
);
const nastyLeaf: fc.Arbitrary<Tree> = fc.oneof(
  fc.record({ field, op: fc.constantFrom("eq", "like"), value: nasty }),
  fc.record({ field, op: fc.constant("in"), value: fc.array(nasty, { minLength: 1, maxLength: 3 }) }),
  fc.record({ field: path, op: fc.constantFrom("lt", "lte", "gt", "gte"), value: nasty }),
  fc.record({ field: path, op: fc.constant("between"), value: fc.tuple(nasty, nasty) }),
  fc.record({ field, op: fc.constant("exists") }),
  nasty.map((each) => ({ text: `${each}word` })),
);

const { tree: nastyTrees } = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    { weight: 3, arbitrary: nastyLeaf },
    { weight: 1, arbitrary: fc.array(tie("tree"), { maxLength: 4 }).map((and) => ({ and })) },
    { weight: 1, arbitrary: fc.array(tie("tree"), { minLength: 1, maxLength: 4 }).map((or) => ({ or })) },
    { weight: 1, arbitrary: tie("tree").map((not) => ({ not })) },
  ),
}));

async function expectThereAndBack(tree: Tree): Promise<void> {
  const canonical = await ask("canonical_query", tree);
  expect(await ask("canonical_query", canonical)).toEqual(canonical);
  const query = await ask("format_query", tree) as string;
  if (query.length > 8000) return;
  expect(await ask("parse_query", query), query).toEqual(canonical);
  expect(await ask("format_query", canonical)).toBe(query);
}

describe(`${RUNS} trees each, GENERATED_SEED=${SEED}`, () => {
  test("a string that was made of a tree is read as the same tree", async () => {
    await fc.assert(fc.asyncProperty(trees(rows), expectThereAndBack), OPTIONS);
  });

  test("also where its values and paths are made of signs", async () => {
    await fc.assert(fc.asyncProperty(nastyTrees, expectThereAndBack), OPTIONS);
  });

  test("and what the viewer's builder writes of a tree, with the place of each condition", async () => {
    const expectBuilt = async (tree: Tree) => {
      const canonical = await ask("canonical_query", tree) as Tree;
      const { query, places } = writeQuery(groupOf(canonical));
      if (query.length > 4000) return;
      expect(await ask("parse_query", query), query).toEqual(canonical);
      for (const { from, to } of places) {
        const term = [...query].slice(from - 1, to - 1).join("");
        expect(await ask("parse_query", term), term).not.toHaveProperty("and");
      }
    };
    await fc.assert(fc.asyncProperty(fc.oneof(trees(rows), nastyTrees), expectBuilt), OPTIONS);
  });

  test("as deep as trees may be", async () => {
    for (
      const wrap of [
        (not: Tree) => ({ not }),
        (each: Tree) => ({ and: [{ field: "chain", op: "eq", value: "1" }, each] }),
      ]
    ) {
      let tree: Tree = { text: "b" };
      for (let depth = 0; depth < 28; depth++) {
        tree = depth % 2 === 0 ? wrap({ or: [{ field: "seq", op: "eq", value: "1" }, tree] }) : tree;
      }
      await expectThereAndBack(tree);
    }
  });
});

// ---------------------------------------------------------------------------------------------- bad input

/** A tree that runs, or AUQRY that says where; never another error, never long. */
async function expectAnswer(request: { query: string } | { filter: unknown }): Promise<string | undefined> {
  const start = performance.now();
  let code: string | undefined;
  try {
    await search(request);
  } catch (error) {
    const { detail = "" } = error as { detail?: string };
    code = (error as { code?: string }).code;
    expect({ code, message: (error as Error).message }).toMatchObject({ code: "AUQRY" });
    const place = JSON.parse(detail);
    if ("query" in request) {
      expect(place).toEqual({ position: expect.any(Number) });
      expect(place.position).toBeGreaterThanOrEqual(1);
      expect(place.position).toBeLessThanOrEqual([...request.query].length + 1);
    } else expect(place).toEqual({ path: expect.stringMatching(/^(\/(and|or|not|\d+))*$/) });
  }
  expect(performance.now() - start).toBeLessThan(MOST_MS);
  return code;
}

describe(`bad input, GENERATED_SEED=${SEED}`, () => {
  test("strings made of the language's own parts", async () => {
    const parts = fc.constantFrom(
      ...[
        "action:",
        "cost:",
        "created:",
        "details.a:",
        'new."a b":',
        "actor:",
        "resource:",
        "-",
        "not ",
        " or ",
        " and ",
        "(",
      ],
      ...[
        ")",
        '"',
        "\\",
        "*",
        ">",
        ">=",
        "..",
        ":",
        " ",
        "a",
        "abc",
        "1",
        "2026-02-30",
        "2026-01-01T10:00+99:00",
        "7d",
        "99y",
      ],
      ...['"a b"', "api_key.added", "0.5", "1e9", "\t", "\n", "é", "漢字", "🦕", "a.b@c.d", "99999999999mo"],
    );
    const strings = fc.array(parts, { maxLength: 14 }).map((list) => list.join(""));
    let read = 0;
    await fc.assert(
      fc.asyncProperty(strings, async (query) => {
        if (await expectAnswer({ query }) === undefined) read++;
      }),
      OPTIONS,
    );
    // Neither everything nor nothing of it makes sense.
    expect(read).toBeGreaterThan(RUNS / 50);
    expect(read).toBeLessThan(RUNS);
  });

  test("garbage", async () => {
    const garbage = fc.oneof(
      nasty,
      fc.string({ unit: "binary", maxLength: 60 }).filter((each) => !/[\0\p{Surrogate}]/u.test(each)),
    );
    await fc.assert(fc.asyncProperty(garbage, async (query) => void await expectAnswer({ query })), OPTIONS);
  });

  test("trees of anything", async () => {
    const json = fc.jsonValue({ maxDepth: 3 }).filter((value) => !/\\u0000|\\ud[89a-f]/i.test(JSON.stringify(value)));
    const { tree } = fc.letrec((tie) => ({
      tree: fc.oneof(
        { maxDepth: 3 },
        fc.record(
          {
            field: fc.oneof(field, json),
            op: fc.oneof(fc.constantFrom("eq", "like", "in", "between", "gt", "exists"), json),
            value: json,
          },
          { requiredKeys: [] },
        ),
        fc.record({ text: json, prefix: json, at: json, and: json }, { requiredKeys: ["text"] }),
        fc.record({ and: fc.oneof(json, fc.array(tie("tree"), { maxLength: 3 })) }),
        fc.record({ or: fc.oneof(json, fc.array(tie("tree"), { maxLength: 3 })) }),
        fc.record({ not: tie("tree") }),
        json.filter((value) => value !== null),
      ),
    }));
    await fc.assert(fc.asyncProperty(tree, async (filter) => void await expectAnswer({ filter })), OPTIONS);
  });

  const text = (n: number): Tree => ({ text: `a${n}` });
  const many = (count: number, of: (n: number) => Tree = text) => Array.from({ length: count }, (_, n) => of(n));
  const deep = (depth: number, wrap: (tree: Tree) => Tree) => {
    let tree: Tree = { text: "a" };
    for (let n = 0; n < depth; n++) tree = wrap(tree);
    return tree;
  };
  const REFUSED: Record<string, { query: string } | { filter: unknown }> = {
    "100 kB": { query: "x".repeat(100_000) },
    "8,001 characters": { query: "x".repeat(8001) },
    "10,000 terms": { query: "x ".repeat(10_000) },
    "4,000 terms": { query: "x ".repeat(4000) },
    "900 phrases": { query: '"a" '.repeat(900) },
    "1,500 values": { query: `action:(${"x or ".repeat(1500)}x)` },
    "deep parentheses": { query: "(".repeat(3000) + "a" + ")".repeat(3000) },
    "deep choices": { query: "(a or ".repeat(200) + "b" + ")".repeat(200) },
    "only open parentheses": { query: "(".repeat(7999) },
    "only quotes": { query: '"'.repeat(7999) },
    "only signs": { query: "-".repeat(7999) },
    "an open quote after escapes": { query: 'provider:"' + '\\"'.repeat(3900) },
    "dots": { query: "details.a:" + ".".repeat(7000) },
    "steps": { query: `new.${"a.".repeat(3900)}a:x` },
    "a tree of 10,000 terms": { filter: { and: many(10_000) } },
    "a tree of 10,000 terms in twenties": { filter: { and: many(500, () => ({ or: many(20) })) } },
    "a tree of 25,000 terms in ands": { filter: { and: many(50, () => ({ and: many(500) })) } },
    "a tree 2,000 deep": { filter: deep(2000, (not) => ({ not })) },
    "a tree 200 wide and deep": { filter: deep(200, (each) => ({ or: [...many(3), each] })) },
    "a list of 10,000 values": { filter: { field: "action", op: "in", value: many(10_000).map(String) } },
    "a value of 1 MB": { filter: { field: "action", op: "eq", value: "x".repeat(1_000_000) } },
    "a path of 1 MB": { filter: { field: `details.${"x".repeat(1_000_000)}`, op: "exists" } },
  };
  test.each(Object.entries(REFUSED))("%s: refused in time, with the place", async (_, request) => {
    expect(await expectAnswer(request)).toBe("AUQRY");
  });

  const a = "a".repeat(2000);
  const PATTERNS = [
    "*".repeat(2000),
    "a*".repeat(1000),
    "*a".repeat(1000),
    "(a+)+$*",
    "(a|a)*b*".repeat(200),
    "*[*",
    "a{1,999}*",
    "\\*",
  ];
  test.each(["details.bomb", "action", "resource_id", "email"])("no pattern on %s is a bomb", async (field) => {
    await client.query("select audit.record($1, 'bomb.planted', 'a', $2, jsonb_build_object('bomb', $2::text))", [
      ORGANIZATIONS[0],
      a,
    ]);
    for (const value of PATTERNS) {
      for (const each of [value, value.slice(0, 300), `${value.slice(0, 40)}b`]) {
        await expectAnswer({ filter: { field, op: "like", value: each } });
      }
    }
  });

  test.each([
    ["many choices of text", { or: many(300) }],
    ["many patterns", { or: many(300, (n) => ({ field: "email", op: "like", value: `a*${n}*` })) }],
    ["many paths", { or: many(300, (n) => ({ field: `details.a${n}`, op: "like", value: `a*${n}*` })) }],
    ["many times", { or: many(300, (n) => ({ field: "created", op: "eq", value: `${n}d` })) }],
  ])("%s run in time, or are refused", async (_, filter) => {
    await expectAnswer({ filter });
  });
});

// ---------------------------------------------------------------------------------------------- injection

const INJECTIONS = [
  "'",
  "''",
  "\\'",
  "\\",
  '"',
  "$$",
  "$q$",
  "E'\\x41'",
  "%L",
  "%1$s",
  "$1",
  "'; drop table public.audit_logs; --",
  "' or true or '",
  "') or (true) or ('",
  "x' union select * from audit.identities --",
  '" ? (1 == 1) || "',
  '") || (1 == 1) || ("',
  "$.** ? (true)",
  "'::jsonpath or true or '",
  "\\u0027 or true --",
  ")\n or true --",
  "/* */",
  "{}",
  "{a,b}",
  "a\u2028b",
  "\u0001",
];

test("signs in values, paths and patterns are looked for and found, and mean nothing more", async () => {
  const organization = ORGANIZATIONS[1]!;
  const found = async (request: object) => {
    const page = await ask("search_page", { organization_id: organization, ...request });
    return (page as { entries: { details: { n?: number } }[] }).entries.map(({ details }) => details.n);
  };
  for (const [n, each] of INJECTIONS.entries()) {
    await client.query(
      "select audit.record($1, 'odd.value', $2, $2, jsonb_build_object('n', $3::int, 'value', $2::text, $2::text, 'x'), 'success', $2)",
      [
        organization,
        each,
        n,
      ],
    );
  }
  for (const [n, each] of INJECTIONS.entries()) {
    const like = each.replace(/[*\\]/g, "\\$&");
    const step = `details."${each.replace(/["\\]/g, "\\$&")}"`;
    const leaves: Tree[] = [
      { field: "resource_id", op: "eq", value: each },
      { field: "resource_type", op: "eq", value: each },
      { field: "provider", op: "in", value: ["nothing", each] },
      { field: "provider", op: "like", value: `${like}*` },
      { field: "details.value", op: "eq", value: each },
      { field: "details.value", op: "in", value: ["nothing", each] },
      { field: "details.value", op: "between", value: [each, each] },
      { field: "details.value", op: "like", value: `${like}*` },
      { field: step, op: "exists" },
      { field: step, op: "eq", value: "x" },
    ];
    for (const leaf of leaves) {
      const alike = (leaf as { op: string }).op === "like"
        ? [...INJECTIONS.entries()].filter(([, other]) => other.startsWith(each)).map(([n]) => n)
        : [n];
      const both = { and: [leaf, { field: "action", op: "eq", value: "odd.value" }] };
      expect((await found({ filter: both })).sort(), JSON.stringify(leaf)).toEqual(alike.sort());
      expect((await found({ query: await ask("format_query", both) })).sort(), JSON.stringify(leaf)).toEqual(
        alike.sort(),
      );
    }
    for (const field of ["email", "ip", "user_agent", "actor", "action", "request_id"]) {
      expect(await found({ filter: { field, op: "eq", value: each } })).toEqual([]);
      expect(await found({ filter: { field, op: "like", value: `${like}*` } })).toEqual([]);
    }
    // As an organisation, cursor, sort or field it is refused.
    for (
      const request of [{ organization_id: each }, { sort: each }, { cursor: each }, { limit: each }, { [each]: 1 }, {
        include: [each],
      }]
    ) {
      const { code } = await failure(ask("search_page", { organization_id: organization, ...request }));
      expect(code).toMatch(/^AU(ARG|CUR)$/);
    }
    expect(await failure(found({ filter: { field: each, op: "eq", value: "x" } }))).toMatchObject({ code: "AUQRY" });
  }
  await expectVerified(client);
}, 120_000);
