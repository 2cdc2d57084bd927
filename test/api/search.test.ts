// Searching, viewing and adding up through HTTP: what is asked arrives in SQL as meant, and what SQL answers comes back.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ACME, ALICE, type Api, BETTY, BOB, OSCAR, OTHER, startApi, VERA } from "./server.ts";

type Entry = {
  name: string;
  action: string;
  created_by: string | null;
  organization_id: string;
  request_id: string | null;
};
type Page = {
  entries: Entry[];
  next: string | null;
  query: string;
  total?: { value: number };
  facets?: object;
};

let api: Api;
const KEY = "f0000000-0000-4000-8000-000000000001";

beforeAll(async () => {
  api = await startApi();
  const client = await api.db.connect();
  await client.query(
    `insert into public.api_keys (id, organization_id, provider, name, created_by) values
       ('${KEY}', '${ACME}', 'openai', 'Quarterly report', '${ALICE}'),
       (gen_random_uuid(), '${ACME}', 'anthropic', 'Other', '${BOB}');
     update public.api_keys set name = 'Renamed' where id = '${KEY}';
     insert into public.budgets (organization_id, "limit", created_by)
       select '${ACME}', n, '${ALICE}' from generate_series(1, 30) n;
     insert into public.api_keys (organization_id, created_by) values ('${OTHER}', '${OSCAR}');
     insert into public.llm_queries (id, organization_id, user_id)
       values ('90000000-0000-4000-8000-000000000009', '${ACME}', '${ALICE}');
     insert into public.llm_responses (query_id, total_cost) values ('90000000-0000-4000-8000-000000000009', 0.75);`,
  );
});
afterAll(() => api.stop());

async function search(parameters: Record<string, string>, as = ALICE): Promise<Page> {
  const response = await api.call(`/logs?${new URLSearchParams(parameters)}`, { as });
  const page = await response.json() as Page;
  expect(page, JSON.stringify(page)).toHaveProperty("entries");
  return page;
}

describe("GET /audit/logs", () => {
  test.each<[string, Record<string, string>, number]>([
    ["action", { action: "api_key.added" }, 2],
    ["action with a wildcard", { action: "api_key.*" }, 3],
    ["a list of actions, one with a wildcard", { action: "api_key.upd*,budget.created" }, 31],
    ["a list without", { action: "api_key.added,api_key.updated" }, 3],
    ["actor by id", { actor: BOB, action: "api_key.*" }, 1],
    ["provider", { provider: "anthropic" }, 1],
    ["resource", { resource_type: "api_key", resource_id: KEY }, 2],
    ["cost", { cost_min: "0.5", cost_max: "0.8" }, 1],
    ["cost above all", { cost_min: "0.8" }, 0],
    ["text", { text: "quarterly" }, 2],
    ["a query", { q: 'action:api_key.added "quarterly report"' }, 1],
    ["a query and a filter together", { q: "quarterly", action: "api_key.updated" }, 1],
    ["an age", { from: "7d", action: "api_key.*" }, 3],
    ["what was before", { to: "2020", action: "api_key.*" }, 0],
    ["outcome", { outcome: "failure,denied" }, 0],
  ])("%s", async (_, parameters, count) => {
    const { entries } = await search({ limit: "200", ...parameters });
    expect(entries).toHaveLength(count);
  });

  test("pages follow each other without a gap, while entries arrive", async () => {
    const whole = (await search({ action: "budget.created", limit: "200" }))
      .entries.map((entry) => entry.name);
    const seen: string[] = [];
    for (let cursor: string | null = ""; cursor !== null;) {
      const page = await search({ action: "budget.created", limit: "7", ...(cursor === "" ? {} : { cursor }) });
      seen.push(...page.entries.map((entry) => entry.name));
      cursor = page.next;
      await api.db.connect().then((client) =>
        client.query(`insert into public.budgets (organization_id, created_by) values ('${ACME}', '${BOB}')`)
      );
    }
    expect(seen).toEqual(whole);
  });

  test("total and facets", async () => {
    const page = await search({ action: "api_key.*", include: "total,facets" });
    expect(page.total).toEqual({ value: 3, exact: true });
    expect(page.facets).toMatchObject({
      action: [{ value: "api_key.added", count: 2 }, { value: "api_key.updated", count: 1 }],
    });
  });

  test("a search is an entry itself, with the request's id, address and person", async () => {
    const id = `test-${crypto.randomUUID()}`;
    const response = await api.call("/logs?text=quarterly", {
      headers: { "x-request-id": id, "x-forwarded-for": "203.0.113.7", "user-agent": "test-browser/1" },
    });
    expect(response.headers.get("x-request-id")).toBe(id);
    await response.text();
    const { entries } = await search({ request_id: id });
    expect(entries).toMatchObject([{
      action: "log.searched",
      created_by: ALICE,
      request_id: id,
      ip_address: "203.0.113.7",
      user_agent: "test-browser/1",
      email: "a@acme.example",
    }]);
  });

  test("an id that does not belong in a header is replaced", async () => {
    const response = await api.call("/logs?limit=1", { headers: { "x-request-id": 'evil"; drop' } });
    expect(response.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
    await response.text();
  });
});

describe("who sees what", () => {
  test("a member sees the own activity", async () => {
    const { entries } = await search({ limit: "200" }, BOB);
    expect(entries.length).toBeGreaterThan(0);
    expect(entries.every((entry) => entry.created_by === BOB)).toBe(true);
  });
  test("a viewer sees nothing", async () => {
    const response = await api.call("/logs", { as: VERA });
    expect(response.status).toBe(403);
    expect(await response.json()).toMatchObject({ code: "access_denied" });
  });
  test("an admin of another organisation sees nothing of this one", async () => {
    const response = await api.call(`/logs?organization_id=${ACME}`, { as: OSCAR });
    expect(response.status).toBe(403);
    await response.text();
    const { entries: denials } = await search({ action: "access.denied", actor: OSCAR, limit: "1" });
    expect(denials[0]).toMatchObject({
      organization_id: ACME,
      outcome: "denied",
      resource_id: "/audit/logs",
      details: { method: "GET", reason: "You do not read the log of this organisation." },
    });
    const { entries } = await search({ limit: "200" }, OSCAR);
    expect(entries.every((entry) => entry.organization_id === OTHER)).toBe(true);
  });
  test("who reads two logs says which", async () => {
    const response = await api.call("/logs", { as: BETTY });
    expect(response.status).toBe(422);
    expect(await response.json()).toMatchObject({ code: "invalid_argument", hint: expect.stringContaining(ACME) });
    expect((await search({ organization_id: OTHER }, BETTY)).entries[0])
      .toMatchObject({ organization_id: OTHER });
  });
  test("access says so", async () => {
    const response = await api.call("/access", { as: BOB });
    expect(await response.json()).toMatchObject({
      user_id: BOB,
      organizations: [{ organization_id: ACME, access: "own" }],
    });
  });
  test("one entry of another organisation is not found", async () => {
    const { entries } = await search({ limit: "200" }, OSCAR);
    const own = new Set((await search({ limit: "200" })).entries.map((entry) => entry.name));
    const name = entries.map((entry) => entry.name).find((each) => !own.has(each)) ??
      "99999-1";
    const response = await api.call(`/logs/${name}`);
    expect(response.status).toBe(404);
    await response.text();
  });
});

describe("other ways to ask", () => {
  test("a tree in the body says the same as filters", async () => {
    const filter = {
      and: [{ field: "action", op: "like", value: "api_key.*" }, {
        not: { field: "provider", op: "eq", value: "anthropic" },
      }],
    };
    const response = await api.call("/logs/search", { body: { filter, sort: "created_at", limit: 5 } });
    const page = await response.json() as Page;
    expect(page.entries.map((entry) => entry.action)).toEqual(["api_key.added", "api_key.updated"]);
    expect(page.query).toBe("action:api_key.* -provider:anthropic");
  });
  test("digits of a number in the body are not lost", async () => {
    const response = await api.call("/query", {
      body: '{"filter": {"field": "cost", "op": "eq", "value": 0.12345678901234567890}}',
    });
    expect(await response.json()).toMatchObject({ query: "cost:0.12345678901234567890" });
  });
  test("string to tree and back", async () => {
    const query = "action:api_key.* (provider:openai or cost:>0.5)";
    const tree = await (await api.call(`/query?q=${encodeURIComponent(query)}`))
      .json() as { filter: object };
    const back = await (await api.call("/query", { body: { filter: tree.filter } }))
      .json();
    expect(back).toEqual({ query, filter: tree.filter });
  });
  test("one entry with its neighbours", async () => {
    const { entries: [entry] } = await search({ action: "api_key.updated" });
    const view = await (await api.call(`/logs/${entry!.name}`)).json();
    expect(view).toMatchObject({
      entry: { name: entry!.name },
      proof: { state: "pending" },
      previous: { chain: expect.any(Number) },
    });
  });
  test("history of a resource, of which a * is no wildcard", async () => {
    const page = await (await api.call(`/resources/api_key/${KEY}/history?sort=created_at`)).json() as Page;
    expect(page.entries.map((entry) => entry.action)).toEqual(["api_key.added", "api_key.updated"]);
    const none = await (await api.call("/resources/api_key/*/history"))
      .json() as Page;
    expect(none.entries).toEqual([]);
  });
  test("costs", async () => {
    const costs = await (await api.call("/costs?by=user,provider&from=7d"))
      .json();
    expect(costs).toMatchObject({ by: ["user", "provider"], total: { cost: "0.75", entries: 1 } });
  });
});
