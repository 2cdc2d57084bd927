// Rules and alerts through HTTP: what is asked reaches SQL as meant, the answers fit their schemas, refusals are problems.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { Alert, AlertList, Rule, RuleList, RulePreview, RuleTests } from "../../functions/audit/schemas.ts";
import { ACME, ALICE, type Api, BOB, OSCAR, startApi, VERA } from "./server.ts";

let api: Api;
const DEFAULT = "00000000-0000-4000-a000-000000000622";
const DRAFT = {
  organization_id: ACME,
  name: "Keys deleted",
  kind: "count",
  match: "action:api_key.deleted",
  window: "1h",
  threshold: 2,
  group_by: ["actor"],
};
const DRAFT_ANOMALY = { organization_id: ACME, name: "Two", kind: "anomaly" };

beforeAll(async () => {
  api = await startApi();
});
afterAll(() => api.stop());

async function asked(
  path: string,
  { status = 200, ...options }: { as?: string; method?: string; body?: unknown; status?: number } = {},
) {
  const response = await api.call(path, options);
  const answer = await response.json();
  expect(response.status, JSON.stringify(answer)).toBe(status);
  if (status >= 400) {
    expect(answer).toMatchObject({
      status,
      type: expect.stringContaining("urn:audit-logs:problem:"),
      request_id: expect.any(String),
    });
  }
  return answer;
}

async function evaluate(): Promise<void> {
  const client = await api.db.connect();
  for (let taken = 1; taken > 0;) taken = (await client.query("select audit.evaluate_rules() as n")).rows[0].n;
}

test("a rule is made, listed, changed, previewed, tested and deleted", async () => {
  const rule = Rule.parse(await asked("/rules", { body: DRAFT, status: 201 }));
  expect(rule).toMatchObject({ name: "Keys deleted", version: 1, default: false, quiet_period: "1h" });
  const { rules } = RuleList.parse(await asked(`/rules?organization_id=${ACME}`));
  expect(rules.filter((each) => each.default).length).toBeGreaterThan(25);
  expect(rules.find(({ id }) => id === rule.id)).toMatchObject({ match: "action:api_key.deleted", threshold: 2 });

  expect(
    Rule.parse(
      await asked(`/rules/${rule.id}`, {
        method: "PATCH",
        body: { version: 1, threshold: 3, match: { field: "action", op: "eq", value: "api_key.added" } },
      }),
    ),
  )
    .toMatchObject({ version: 2, threshold: 3, match: "action:api_key.added", window: "1h" });
  await asked(`/rules/${rule.id}`, { method: "PATCH", body: { version: 1, threshold: 4 }, status: 422 });
  await asked(`/rules/${rule.id}`, { method: "PATCH", body: { hours: "learned" } });
  expect(await asked(`/rules/${rule.id}`, { method: "PATCH", body: { hours: null } })).not.toHaveProperty("hours");
  expect(await asked(`/rules/${rule.id}`, { method: "PATCH", body: { window: null }, status: 422 }))
    .toMatchObject({ path: "/window" });
  expect(await asked("/rules", { body: { ...DRAFT, name: "Keys deleted" }, status: 422 })).toMatchObject({
    path: "/name",
  });

  const client = await api.db.connect();
  await client.query(
    "insert into public.api_keys (organization_id, created_by, name) select $1, $2, n::text from generate_series(1, 3) n",
    [ACME, BOB],
  );
  const preview = RulePreview.parse(
    await asked("/rules/preview", { body: { organization_id: ACME, id: rule.id, from: "1h" } }),
  );
  expect(preview).toMatchObject({ alerts: 1, next: null, would_fire: [{ group: `{"actor": "${BOB}"}`, seen: 3 }] });
  const { organization_id: _, ...unsaved } = DRAFT;
  expect(await asked("/rules/preview", { body: { organization_id: ACME, rule: unsaved } })).toMatchObject({
    alerts: 0,
  });

  const tests = [
    { name: "two", alerts: 1, entries: [{ action: "api_key.deleted", actor: "ada", times: 2 }] },
    {
      name: "of two people",
      alerts: 1,
      entries: [{ action: "api_key.deleted", actor: "ada" }, { action: "api_key.deleted", actor: "bob" }],
    },
  ];
  expect(RuleTests.parse(await asked("/rules/test", { body: { organization_id: ACME, rule: unsaved, tests } })).tests)
    .toEqual([
      { name: "two", expected: 1, alerts: 1, passed: true },
      { name: "of two people", expected: 1, alerts: 0, passed: false },
    ]);
  expect(RuleTests.parse(await asked("/rules/test", { body: { organization_id: ACME, id: DEFAULT } })).tests)
    .toHaveLength(3);

  expect(Rule.parse(await asked(`/rules/${rule.id}`, { method: "DELETE" }))).toMatchObject({ version: 4 });
  await asked(`/rules/${rule.id}`, { method: "DELETE", status: 404 });
});

test("a default is tuned, and is itself again", async () => {
  const choose = (choice: object) => asked(`/rules/${DEFAULT}/choice`, { body: { organization_id: ACME, ...choice } });
  expect(Rule.parse(await choose({ threshold: 500, enabled: false }))).toMatchObject({
    threshold: 500,
    enabled: false,
    default: true,
  });
  const { rules } = await asked(`/rules?organization_id=${ACME}`) as { rules: { id: string; tuned: boolean }[] };
  expect(rules.find(({ id }) => id === DEFAULT)).toMatchObject({ tuned: true, threshold: 500 });
  expect(await choose({})).toMatchObject({ threshold: 100, enabled: true });
});

test("an alert is listed, acknowledged, silenced, resolved and reopened", async () => {
  await asked("/rules", {
    body: { organization_id: ACME, name: "Budgets", kind: "event", match: "action:budget.created", quiet_period: null },
    status: 201,
  });
  const client = await api.db.connect();
  await client.query("insert into public.budgets (organization_id, created_by) values ($1, $2)", [ACME, ALICE]);
  await evaluate();
  const { alerts } = AlertList.parse(
    await asked("/alerts?state=unresolved&severity=medium&limit=200"
      .concat(`&organization_id=${ACME}`)),
  );
  const alert = alerts.find(({ title }) => title === "Budgets")!;
  expect(alert.entries).toHaveLength(1);
  expect((await api.call(`/logs/${alert.entries[0]}?organization_id=${ACME}`)).status).toBe(200);
  const move = async (to: string, body: object = {}) =>
    Alert.parse(await asked(`/alerts/${alert.id}/${to}`, { body })).state;
  expect(await move("acknowledge", { note: "Looking" })).toBe("acknowledged");
  expect(await move("silence", { until: "2h" })).toBe("silenced");
  expect(await move("resolve")).toBe("resolved");
  expect(await move("reopen")).toBe("open");
  await asked(`/alerts/${alert.id}/reopen`, { body: {}, status: 422 });
  const page = await asked(`/alerts?organization_id=${ACME}&limit=1`) as { next: string };
  expect(await asked(`/alerts?organization_id=${ACME}&limit=1&cursor=${page.next}`)).toMatchObject({ alerts: [{}] });
});

test("what an anomaly told is accepted as the new normal", async () => {
  const rule = Rule.parse(
    await asked("/rules", {
      body: {
        organization_id: ACME,
        name: "Google",
        kind: "anomaly",
        value: "cost",
        match: "provider:google",
        parameters: { score: 6, least_cost: 100 },
      },
      status: 201,
    }),
  );
  expect(rule).toMatchObject({ match: "provider:google", value: "cost", parameters: { score: 6, least_cost: 100 } });
  const client = await api.db.connect("supabase_admin");
  const { rows: [{ id }] } = await client.query(
    `select audit.raise_alert($2, $1, 'g', now(), 'Google: 300 in an hour', '{}', '{}') as id`,
    [ACME, rule.id],
  );
  await client.query(
    `insert into audit.activity_baselines values ($1, $2, now() - interval '20 days', now());`.replace(
      "$1",
      `'${ACME}'`,
    )
      .replace("$2", `'${rule.id}'`),
  );
  await client.query(
    `insert into audit.judgements (organization_id, metric, hour, seen, made_of, unusual, alerts, alert)
     values ($1, $2, date_trunc('hour', now()), 300, 300, true, 1, $3)`,
    [ACME, rule.id, id],
  );
  for (const as of [BOB, VERA, OSCAR]) await asked(`/alerts/${id}/accept`, { as, body: {}, status: 404 });
  expect(Alert.parse(await asked(`/alerts/${id}/accept`, { body: { note: "We moved" } })).state).toBe("resolved");
  await asked(`/alerts/${id}/accept`, { body: {}, status: 422 });
  const { rows } = await client.query(
    "select created_by, resource_id from public.audit_logs where action = 'anomaly.accepted'",
  );
  expect(rows).toEqual([{ created_by: ALICE, resource_id: rule.id }]);
});

describe("refused", () => {
  test.each<[string, string, object, number, object]>([
    ["an anomaly of two things", "/rules", { ...DRAFT_ANOMALY, match: "action:a.b provider:openai" }, 422, {
      code: "invalid_rule",
    }],
    ["the new normal of what is none", "/alerts/0190a5b2-4c3d-7e5f-8a6b-9c0d1e2f3a4b/accept", {}, 404, {
      code: "not_found",
    }],
    ["an unknown field", "/rules", { ...DRAFT, treshold: 1 }, 400, { code: "invalid_request", path: "/treshold" }],
    ["a field of another kind", "/rules", { ...DRAFT, then: "action:a.b" }, 422, { code: "invalid_rule" }],
    ["threshold 0", "/rules", { ...DRAFT, threshold: 0 }, 422, { code: "invalid_rule", path: "/threshold" }],
    ["no window", "/rules", { ...DRAFT, window: undefined }, 422, { code: "invalid_rule", path: "/window" }],
    ["no query", "/rules", { ...DRAFT, match: 'action:"' }, 400, {
      code: "invalid_query",
      path: "/match",
      position: 8,
    }],
    [
      "a tree with a field that is none",
      "/rules",
      {
        ...DRAFT,
        match: { and: [{ field: "action", op: "exists" }, { field: "x", op: "exists" }] },
      },
      400,
      { code: "invalid_query", path: "/match/and/1" },
    ],
    ["a place that rules do not have", "/rules", { ...DRAFT, match: "seq:1" }, 422, { path: "/match" }],
    ["a default's name", "/rules", { ...DRAFT, name: " " }, 422, { code: "invalid_rule", path: "/name" }],
    [
      "in a preview",
      "/rules/preview",
      {
        organization_id: ACME,
        rule: { name: "x", kind: "count", match: "action:a.b", window: "1h", threshold: 1.5 },
      },
      422,
      { code: "invalid_rule", path: "/rule/threshold" },
    ],
    ["no organisation", "/rules", { ...DRAFT, organization_id: undefined }, 400, {
      code: "invalid_request",
      path: "/organization_id",
    }],
    ["a preview of nothing", "/rules/preview", {}, 422, { code: "invalid_argument" }],
    ["an alert that is none", "/alerts/0190a5b2-4c3d-7e5f-8a6b-9c0d1e2f3a4b/resolve", {}, 404, { code: "not_found" }],
    ["silence without end", "/alerts/0190a5b2-4c3d-7e5f-8a6b-9c0d1e2f3a4b/silence", {}, 400, {
      code: "invalid_request",
    }],
    ["an id that is none", "/alerts/x/resolve", {}, 400, { code: "invalid_request" }],
  ])("%s", async (_, path, body, status, problem) => {
    expect(await asked(path, { body, status })).toMatchObject(problem);
  });
  test("to members, viewers and strangers", async () => {
    for (const as of [BOB, VERA, OSCAR]) {
      await asked("/rules", { as, body: DRAFT, status: 403 });
      await asked(`/rules?organization_id=${ACME}`, { as, status: 403 });
      await asked(`/alerts?organization_id=${ACME}`, { as, status: 403 });
      await asked(`/rules/${DEFAULT}/choice`, { as, body: { organization_id: ACME }, status: 403 });
      await asked("/rules/preview", { as, body: { organization_id: ACME, id: DEFAULT }, status: 403 });
    }
  });
});
