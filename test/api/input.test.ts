// Bad input: each is refused with a status of 4xx, a stable code and its place, and nothing of the inside.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ACME, ALICE, type Api, type CallOptions, OSCAR, startApi } from "./server.ts";

let api: Api;
beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

type Refusal = [name: string, path: string, options: CallOptions, expected: Record<string, unknown>];

async function refusal(path: string, options: CallOptions): Promise<Record<string, unknown>> {
  const response = await api.call(path, options);
  const text = await response.text();
  expect(response.headers.get("content-type"), text.slice(0, 500)).toBe("application/problem+json");
  const body = JSON.parse(text) as Record<string, unknown>;
  expect(body).toMatchObject({
    type: expect.any(String),
    title: expect.any(String),
    status: response.status,
    code: expect.any(String),
    request_id: response.headers.get("x-request-id"),
  });
  expect(body.status).toBeGreaterThanOrEqual(400);
  expect(body.status).toBeLessThan(500);
  expect(text).not.toMatch(/select |audit\.\w+\(|\.ts:|\.sql|node_modules|PL\/pgSQL|postgres(ql)?:/i);
  return body;
}

const deep = (levels: number) => `${'{"not":'.repeat(levels)}{"text":"deep"}${"}".repeat(levels)}`;
const query = (q: string) => `/logs?q=${encodeURIComponent(q)}`;

const refusals: Refusal[] = [
  ["an unknown parameter", "/logs?tabel=notes", {}, { status: 400, code: "invalid_request", parameter: "tabel" }],
  ["a parameter twice", "/logs?actor=a&actor=b", {}, { status: 400, parameter: "actor" }],
  ["an unknown parameter of another route", "/access?limit=1", {}, { status: 400, parameter: "limit" }],
  ["a limit that is no number", "/logs?limit=1e2", {}, { status: 400, parameter: "limit" }],
  ["a limit of none", "/logs?limit=0", {}, { status: 400, parameter: "limit" }],
  ["a limit of too many", "/logs?limit=201", {}, { status: 400, parameter: "limit" }],
  ["an unknown sort", "/logs?sort=hash", {}, { status: 400, parameter: "sort" }],
  ["an organisation that is no UUID", "/logs?organization_id=1", {}, { status: 400, parameter: "organization_id" }],
  ["a cost that is no number", "/logs?cost_min=cheap", {}, { status: 400, parameter: "cost_min" }],
  ["a list with an empty item", "/logs?action=a,,b", {}, { status: 400, parameter: "action" }],
  ["an unknown outcome", "/logs?outcome=maybe", {}, { status: 400, code: "invalid_query", parameter: "outcome" }],
  ["a day that does not exist", "/logs?from=2026-02-30", {}, { status: 400, code: "invalid_query", parameter: "from" }],
  ["an hour that does not exist", "/logs?to=2026-02-01T25:00:00Z", {}, { status: 400, parameter: "to" }],
  ["an unknown include", "/logs?include=all", {}, { status: 400, parameter: "include" }],
  ["SQL for a date", "/logs?from=now()", {}, { status: 400, parameter: "from" }],
  ["unbalanced quotes", query('"open'), {}, {
    status: 400,
    code: "invalid_query",
    parameter: "q",
    position: expect.any(Number),
  }],
  ["unbalanced parentheses", query("(action:x"), {}, { status: 400, code: "invalid_query", parameter: "q" }],
  ["an unknown field", query("colour:red"), {}, { status: 400, code: "invalid_query", position: 1 }],
  ["a wrong operator", query("action:>x"), {}, { status: 400, code: "invalid_query" }],
  ["a query of 100 kB", "/logs/search", {
    body: { query: "action:x ".repeat(11_000) },
  }, { status: expect.any(Number) }],
  ["a word of 100 kB", "/logs/search", { body: { query: "x".repeat(100_000) } }, { status: expect.any(Number) }],
  ["a tree of 10,000 terms", "/logs/search", {
    body: { filter: { or: Array.from({ length: 10_000 }, (_, n) => ({ field: "chain", op: "eq", value: n })) } },
  }, { code: "invalid_query", path: expect.stringMatching(/^\/filter/) }],
  ["a tree 100 deep", "/logs/search", { body: `{"filter":${deep(100)}}` }, { code: "invalid_query" }],
  ["a tree 20,000 deep", "/logs/search", { body: `{"filter":${deep(20_000)}}` }, { status: 400 }],
  ["an unknown field in the body", "/logs/search", { body: { fliter: {} } }, {
    code: "invalid_request",
    path: "/fliter",
  }],
  ["a tree with an unknown operator", "/logs/search", {
    body: { filter: { and: [{ text: "a" }, { field: "action", op: "matches", value: "x" }] } },
  }, { code: "invalid_query", path: "/filter/and/1" }],
  ["a filter that is a list", "/logs/search", { body: { filter: [] } }, { code: "invalid_request", path: "/filter" }],
  ["a limit that is a string", "/logs/search", { body: { limit: "5" } }, { code: "invalid_request", path: "/limit" }],
  ["a body that is no object", "/logs/search", { body: "[]" }, { status: 400 }],
  ["a body that is no JSON", "/logs/search", { body: "{" }, { status: 400, code: "invalid_request" }],
  ["no body", "/logs/search", { method: "POST" }, { status: 400 }],
  ["a form", "/logs/search", {
    body: "limit=5",
    headers: { "content-type": "application/x-www-form-urlencoded" },
  }, { status: expect.any(Number) }],
  ["a body of 1 MB", "/logs/search", { body: { query: "x".repeat(1_000_000) } }, { status: 413, code: "too_large" }],
  ["a NUL in the query", "/logs/search", { body: { query: "a\u0000b" } }, { status: 400 }],
  ["half a character in the query", "/logs/search", { body: '{"query": "\\ud800"}' }, { status: 400 }],
  ["neither query nor filter", "/query", { body: {} }, { status: 400 }],
  ["both", "/query", { body: { query: "a", filter: { text: "a" } } }, { status: 400 }],
  ["a cursor that is none", "/logs?cursor=abc", {}, { status: 400, code: "invalid_cursor" }],
  ["an entry's name that is none", "/logs/first", {}, { status: 400, parameter: "name" }],
  ["an entry's name with SQL", "/logs/1-1'%20or%201=1", {}, { status: 400, parameter: "name" }],
  ["an entry that is not there", "/logs/1-999999999", {}, { status: 404, code: "not_found" }],
  ["costs by nothing", "/costs", {}, { status: 400, parameter: "by" }],
  ["costs by something else", "/costs?by=colour", {}, { status: 400, parameter: "by" }],
  ["an unknown format", "/export?format=xlsx", {}, { status: 400, parameter: "format" }],
  ["no format", "/export", {}, { status: 400, parameter: "format" }],
  ["an export's HEAD", "/export?format=csv", { method: "HEAD" }, {}],
  ["an export that is not there", `/exports/${ACME}`, {}, { status: 404, code: "not_found" }],
  ["an export that is no UUID", "/exports/mine", {}, { status: 400, parameter: "id" }],
  ["to continue an export that is not there", `/export?format=csv&export=${ACME}&cursor=x`, {}, { status: 404 }],
  ["to continue an export with another filter", `/export?format=csv&export=${ACME}&actor=x`, {}, {
    status: 400,
    parameter: "actor",
  }],
  ["an address that does not exist", "/log", {}, { status: 404, code: "route_not_found" }],
  ["a method that an address does not take", "/logs", { method: "DELETE" }, {
    status: 405,
    code: "method_not_allowed",
  }],
];

describe("refused", () => {
  test.each(refusals.filter(([, , { method }]) => method !== "HEAD"))(
    "%s",
    async (_, path, options, expected) => {
      expect(await refusal(path, options)).toMatchObject(expected);
    },
  );

  test("an export's HEAD, which would leave an entry and send nothing", async () => {
    const response = await api.call("/export?format=csv", { method: "HEAD" });
    expect(response.status).toBe(405);
    for (const path of ["/export?format=csv", "/logs"]) {
      const anonymous = await fetch(`${api.url}/functions/v1/audit${path}`, { method: "HEAD" });
      expect(anonymous.status).toBe(401);
    }
  });

  test("405 says what the address takes", async () => {
    const response = await api.call("/exports", { method: "PUT" });
    expect([response.status, response.headers.get("allow")]).toEqual([405, "POST, GET"]);
    await response.text();
  });

  test("SQL in every parameter is a value", async () => {
    const sql = "x' or 1=1; drop table public.audit_logs; --";
    for (const name of ["actor", "action", "resource_type", "resource_id", "provider", "text", "request_id"]) {
      // Without the entries of these searches, which have the text in them.
      const response = await api.call(`/logs?${new URLSearchParams({ [name]: sql, q: "-action:log.searched" })}`);
      const body = await response.json() as { entries: unknown[] };
      expect([name, response.status, body.entries]).toEqual([name, 200, []]);
    }
  });

  test("a pattern made to take for ever", async () => {
    const start = performance.now();
    const response = await api.call(`/logs?${new URLSearchParams({ action: "a*".repeat(500) + "b" })}`);
    await response.text();
    expect(response.status).toBeLessThan(500);
    expect(performance.now() - start).toBeLessThan(8_000);
  });

  test("cursors that were edited, or come from another search or organisation", async () => {
    const first = await (await api.call("/logs?limit=1")).json() as {
      next: string;
    };
    const others = await (await api.call("/logs?limit=1", { as: OSCAR }))
      .json() as { next: string };
    const edited = (first.next.startsWith("A") ? "B" : "A") +
      first.next.slice(1);
    for (
      const [cursor, parameters] of [[edited, ""], [others.next, ""], [
        first.next,
        "&action=x",
      ], [first.next, "&sort=cost"]]
    ) {
      const body = await refusal(`/logs?limit=1&cursor=${encodeURIComponent(cursor!)}${parameters}`, { as: ALICE });
      expect(body).toMatchObject({ status: 400, code: "invalid_cursor" });
    }
  });

  test("no token where one is needed, and none where none is", async () => {
    for (const path of ["/logs", "/export?format=csv", "/exports", "/access", "/costs?by=day"]) {
      expect(await refusal(path, { headers: { authorization: "" } }))
        .toMatchObject({ status: 401 });
    }
    for (const path of ["/health", "/reference", "/openapi.json"]) {
      const response = await fetch(`${api.url}/functions/v1/audit${path}`);
      await response.text();
      expect(response.status).toBe(200);
    }
  });
});

describe("failures that are not the caller's", () => {
  test("what takes too long ends, and says so", async () => {
    const client = await api.db.connect();
    await client.query("begin; lock table public.audit_logs in access exclusive mode");
    try {
      const response = await api.call("/logs");
      expect(await response.json()).toMatchObject({ status: 504, code: "timeout", hint: expect.any(String) });
    } finally {
      await client.query("rollback");
    }
  }, 20_000);

  test("what nobody foresaw says nothing, and leaves a line for operators", async () => {
    const admin = await api.db.connect("supabase_admin");
    await admin.query("alter function audit.access_page() rename to access_page_gone");
    try {
      const response = await api.call("/access");
      const body = await response.json() as { request_id: string };
      expect(body).toMatchObject({ status: 500, code: "internal_error" });
      expect(JSON.stringify(body)).not.toMatch(/access_page|function|42883/);
      expect(await api.output()).toContain(body.request_id);
    } finally {
      await admin.query("alter function audit.access_page_gone() rename to access_page");
    }
  });
});
