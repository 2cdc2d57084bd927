// Alerts from their opening to their end: what people do with them, what happens by itself, what is too much, and what
// nobody may.
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { writeAt } from "../../scripts/bench/entries_at.ts";
import { asUser, inTransaction } from "../support/acting.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified, failure } from "../support/log.ts";

let db: TestDatabase;
let admin: pg.Client;
let client: pg.Client;
let organization: string;

beforeAll(async () => {
  db = await createDatabase();
  admin = await db.connect("supabase_admin");
  client = await db.connect();
  await client.query("select audit.use_membership('public.organization_members')");
});
afterAll(() => db.drop());
beforeEach(() => {
  organization = crypto.randomUUID();
});
afterEach(() => expectVerified(client));

async function createRule(rule: object = {}): Promise<string> {
  const { rows } = await client.query("select audit.create_rule($1) ->> 'id' as id", [JSON.stringify({
    organization_id: organization,
    name: crypto.randomUUID(),
    kind: "event",
    match: "action:thing.made",
    ...rule,
  })]);
  await evaluate();
  return rows[0].id;
}
async function evaluate(): Promise<void> {
  for (let taken = 1; taken > 0;) taken = (await client.query("select audit.evaluate_rules() as n")).rows[0].n;
}
// The millisecond that begins next: what the database has just stamped is in the middle of this one, and must be before.
const ago = (minutes: number) => new Date(Date.now() + 1 - minutes * 60_000);
async function happen(...minutesAgo: number[]): Promise<void> {
  await writeAt(
    admin,
    minutesAgo.map((minutes) => ({ organization, chain: 1001, at: ago(minutes), action: "thing.made" })),
  );
  await evaluate();
}
type Alert = { id: string; state: string; occurrences: number; silenced_until: Date | null; entries: string[] };
async function alerts(): Promise<Alert[]> {
  const { rows } = await client.query(
    "select id, state, occurrences::int, silenced_until, entries from audit.alerts where organization_id = $1 order by first_seen_at, opened_at",
    [organization],
  );
  return rows;
}
const change = (request: object) => client.query("select audit.change_alert($1)", [JSON.stringify(request)]);
async function transitions(): Promise<string[]> {
  const { rows } = await client.query(
    "select action from public.audit_logs where organization_id = $1 and action like 'alert.%' order by created_at, seq",
    [organization],
  );
  return rows.map(({ action }) => action.slice("alert.".length));
}
const states = async () => (await alerts()).map(({ state, occurrences }) => `${state} ${occurrences}`);

describe("from open to resolved", () => {
  test("opened once, counted, over after quiet, opened anew", async () => {
    await createRule({ quiet_period: "10m" });
    await happen(100, 95, 90);
    await happen(85);
    expect(await states()).toEqual(["resolved 4"]);
    await happen(70);
    await happen(1);
    expect(await states()).toEqual(["resolved 4", "resolved 1", "open 1"]);
    expect(await transitions()).toEqual(["opened", "resolved", "opened", "resolved", "opened"]);
    expect((await alerts())[0]!.entries).toEqual(["1001-1", "1001-2", "1001-3"]);
  });
  test("without a quiet period it is open until somebody says that it is over, and then a new one", async () => {
    await createRule({ quiet_period: null });
    await happen(100_000, 50_000, 1);
    expect(await states()).toEqual(["open 3"]);
    await change({ id: (await alerts())[0]!.id, do: "resolve", note: "It was us" });
    await happen(0);
    expect(await states()).toEqual(["resolved 3", "open 1"]);
    const { rows } = await client.query(
      "select details ->> 'note' as note from public.audit_logs where organization_id = $1 and action = 'alert.resolved'",
      [organization],
    );
    expect(rows).toEqual([{ note: "It was us" }]);
  });
  test("acknowledged, it stays that; silenced, it is told of again when the time is over", async () => {
    await createRule({ quiet_period: "1h" });
    await happen(3);
    const { id } = (await alerts())[0]!;
    await change({ id, do: "acknowledge" });
    await happen(2);
    expect(await states()).toEqual(["acknowledged 2"]);
    await change({ id, do: "silence", until: "1h" });
    await happen(1);
    expect(await states()).toEqual(["silenced 3"]);
    await admin.query("update audit.alerts set silenced_until = now() - interval '10 seconds' where id = $1", [id]);
    await happen(0);
    expect(await states()).toEqual(["open 4"]);
    expect(await transitions()).toEqual(["opened", "acknowledged", "silenced", "reopened"]);
  });
  test("reopened, unless there is a newer one", async () => {
    await createRule({ quiet_period: null });
    await happen(2);
    const { id } = (await alerts())[0]!;
    await change({ id, do: "resolve" });
    await change({ id, do: "reopen" });
    expect(await states()).toEqual(["open 1"]);
    await change({ id, do: "resolve" });
    await happen(0);
    expect(await failure(change({ id, do: "reopen" }))).toMatchObject({
      code: "AUARG",
      message: expect.stringContaining("newer"),
    });
    expect(await states()).toEqual(["resolved 1", "open 1"]);
  });
  test("of a rule that is deleted, resolved", async () => {
    const rule = await createRule({ quiet_period: null });
    await happen(1);
    await client.query("select audit.delete_rule($1)", [JSON.stringify({ id: rule })]);
    expect(await states()).toEqual(["resolved 1"]);
  });
  test.each([
    ["nothing", {}],
    ["what there is not", { do: "delete" }],
    ["an unknown field", { do: "resolve", why: "x" }],
    ["silence without end", { do: "silence" }],
    ["silence in the past", { do: "silence", until: "2020-01-01T00:00:00Z" }],
    ["silence for ever", { do: "silence", until: "9y" }],
    ["silence until no time", { do: "silence", until: "tomorrow" }],
    ["an end of what has none", { do: "resolve", until: "1h" }],
    ["reopening what is open", { do: "reopen" }],
    ["a note without end", { do: "resolve", note: "x".repeat(2001) }],
  ])("%s is refused", async (_, request) => {
    await createRule({ quiet_period: null });
    await happen(0);
    expect((await failure(change({ id: (await alerts())[0]!.id, ...request }))).code).toBe("AUARG");
    expect(await states()).toEqual(["open 1"]);
  });
  test("an id that is none", async () => {
    for (const id of ["x", crypto.randomUUID(), null]) {
      expect((await failure(change({ id, do: "resolve" }))).code).toBe("AUNOT");
    }
  });
});

describe("raise_alert, for other detectors", () => {
  const raise = (rule: string, group: string, at = new Date(), severity: string | null = null) =>
    client.query("select audit.raise_alert($1, $2, $3, $4, 'Too many', '{\"score\": 5}', array['1-1'], $5) as id", [
      rule,
      organization,
      group,
      at,
      severity,
    ])
      .then(({ rows }) => rows[0].id);
  const ANOMALY = "00000000-0000-4000-a000-000000000624";

  test.each(["read committed", "repeatable read", "serializable"])(
    "by many at once, at %s, it is one",
    async (isolation) => {
      const clients = await db.connectAll(6);
      const work = (each: pg.Client) =>
        inTransaction(
          each,
          () =>
            each.query("select audit.raise_alert($1, $2, 'g', now(), 'Too many', '{}', '{}')", [ANOMALY, organization]),
          `isolation level ${isolation}`,
        );
      const settled = await Promise.allSettled(clients.map((each) => work(each)));
      const done = settled.filter(({ status }) => status === "fulfilled").length;
      for (const each of settled) if (each.status === "rejected") expect(each.reason.code).toMatch(/40001|23505/);
      expect(await states()).toEqual([`open ${done}`]);
      expect(await transitions()).toEqual(["opened"]);
    },
  );
  test("a group each, as loud as is said", async () => {
    const id = await raise(ANOMALY, "a");
    expect(await raise(ANOMALY, "a")).toBe(id);
    expect(await raise(ANOMALY, "b", new Date(), "critical")).not.toBe(id);
    const { rows } = await client.query(
      "select group_key, severity, reason, title from audit.alerts where organization_id = $1 order by 1",
      [organization],
    );
    expect(rows).toEqual([
      { group_key: "a", severity: "medium", reason: { score: 5 }, title: "Too many" },
      { group_key: "b", severity: "critical", reason: { score: 5 }, title: "Too many" },
    ]);
  });
});

describe("too much", () => {
  test("10,000 groups are so many alerts an hour, and one that says what the others were", async () => {
    await createRule({ group_by: ["resource_id"], name: "Groups" });
    await client.query(
      `select audit.append_all(array_agg(row($1, 'thing.made', 'success', 'thing', n::text, null, null, null, '{}', false)::audit.draft)) from generate_series(1, 10000) n`,
      [organization],
    );
    await evaluate();
    const found = await alerts();
    expect(found).toHaveLength(21);
    const { rows } = await client.query(
      "select title, reason, occurrences::int from audit.alerts where organization_id = $1 and title = 'Too many alerts'",
      [organization],
    );
    expect(rows).toEqual([{
      title: "Too many alerts",
      reason: { alerts: 9980, of: { Groups: 9980 } },
      occurrences: 9980,
    }]);
  });
  test("noise does not keep what is critical from being heard, nor others' noise", async () => {
    await createRule({ group_by: ["resource_id"] });
    await createRule({ severity: "critical", quiet_period: null });
    await client.query("select audit.record($1, 'thing.made', 'thing', n::text) from generate_series(1, 50) n", [
      organization,
    ]);
    await evaluate();
    const { rows } = await client.query(
      "select severity, count(*)::int as n from audit.alerts where organization_id = $1 group by 1 order by 1",
      [organization],
    );
    expect(rows).toEqual([{ severity: "critical", n: 1 }, { severity: "medium", n: 21 }]);
  });
  test("a rule about everything raises nothing about alerts; one about alerts is told once, and not of itself", async () => {
    await createRule({ match: "action:alert.*", group_by: ["resource_id"], quiet_period: null });
    await createRule({ match: "action:alert.opened", group_by: ["resource_id"], quiet_period: null });
    await createRule({ kind: "count", match: "", window: "1s", threshold: 1, quiet_period: null });
    await client.query("select audit.record($1, 'thing.made')", [organization]);
    await evaluate();
    await evaluate();
    // The count's alert, and an alert about it from each of the other two.
    expect(await alerts()).toHaveLength(3);
  });
});

describe("bad rules", () => {
  const rule = { name: "R", kind: "count", match: "action:thing.made", window: "1h", threshold: 3 };
  test.each<[string, object, string?]>([
    ["an unknown field", { ...rule, treshold: 3 }],
    ["a field of another kind", { ...rule, then: "action:x.y" }],
    ["no kind", { ...rule, kind: undefined }],
    ["no such kind", { ...rule, kind: "magic" }],
    ["no name", { ...rule, name: " " }],
    ["an endless name", { ...rule, name: "x".repeat(201) }],
    ["threshold 0", { ...rule, threshold: 0 }],
    ["a negative threshold", { ...rule, threshold: -1 }],
    ["half a threshold", { ...rule, threshold: 1.5 }],
    ["a threshold in words", { ...rule, threshold: "3" }],
    ["no window", { ...rule, window: undefined }],
    ["a window of nothing", { ...rule, window: "0s" }],
    ["a negative window", { ...rule, window: "-1h" }],
    ["a window of two years", { ...rule, window: "2y" }],
    ["a window in words", { ...rule, window: "an hour" }],
    ["a number as window", { ...rule, window: 3600 }],
    ["a quiet period that times cannot be told apart in", { ...rule, window: "1y", quiet_period: "1s" }],
    ["four groups", { ...rule, group_by: ["actor", "ip", "action", "provider"] }],
    ["a group twice", { ...rule, group_by: ["actor", "actor"] }],
    ["a group that is no field", { ...rule, group_by: ["e.hash); drop table x; --"] }],
    ["a group of nothing", { ...rule, group_by: [null] }],
    ["no such severity", { ...rule, severity: "loud" }],
    ["enabled in words", { ...rule, enabled: "yes" }],
    ["channels that are none", { ...rule, channels: ["x"] }],
    ["a query that is none", { ...rule, match: 'action:"' }, "AUQRY"],
    ["a tree that is none", { ...rule, match: { or: [] } }, "AUQRY"],
    ["a field that queries do not have", { ...rule, match: "nothing:x" }, "AUQRY"],
    ["a query as a number", { ...rule, match: 5 }],
    ["ages in a query", { ...rule, match: "created:7d" }],
    ["a position in a query", { ...rule, match: "action:a.b or (-seq:7)" }],
    ["too many texts", { ...rule, match: "one two three four" }],
    ["everything, one by one", { name: "R", kind: "event", match: "" }],
    ["a sum of words", { ...rule, kind: "sum", value: "action" }],
    ["a sum of budgets in a window", { ...rule, kind: "sum", against: "budgets" }],
    ["distinct what", { ...rule, kind: "distinct" }],
    ["new what", { name: "R", kind: "new_value", match: "action:a.b" }],
    ["a sequence of one", { ...rule, kind: "sequence" }],
    ["no such check", { name: "R", kind: "schedule", check: "weather" }],
    ["a schedule of nothing", { name: "R", kind: "schedule" }],
    ["hours without days", { ...rule, hours: { from: "08:00", to: "18:00" } }],
    ["an eighth day", { ...rule, hours: { days: [8], from: "08:00", to: "18:00" } }],
    ["hours of no length", { ...rule, hours: { days: [1], from: "08:00", to: "08:00" } }],
    ["hours by the minute", { ...rule, hours: { days: [1], from: "08:01", to: "18:00" } }],
    ["a version", { ...rule, version: 1 }],
    ["tests that are none", { ...rule, tests: [{ name: "x" }] }],
  ])("%s is refused", async (_, request, code = "AURUL") => {
    const said = await failure(
      client.query("select audit.create_rule($1)", [JSON.stringify({ organization_id: organization, ...request })]),
    );
    expect(said).toMatchObject({ code });
    expect(said.message).not.toMatch(/syntax|null value|invalid input/);
  });
  test("windows of a second and a year, overlapping rules, and what matches nothing", async () => {
    await createRule({ kind: "count", window: "1s", threshold: 2, quiet_period: null });
    await createRule({ kind: "count", window: "1y", threshold: 3, quiet_period: null });
    await createRule({ kind: "count", window: "1y", threshold: 4, quiet_period: null });
    await createRule({ match: "action:thing.made -action:thing.made", quiet_period: null });
    await happen(360 * 24 * 60, 30 * 60, 1);
    expect(await states()).toEqual(["open 1"]);
  });
  test("two of one name, and more than a hundred", async () => {
    await createRule({ name: "Twice" });
    expect((await failure(createRule({ name: "Twice" }))).code).toBe("AURUL");
    await client.query(
      "select audit.create_rule(jsonb_build_object('organization_id', $1::text, 'name', n::text, 'kind', 'event', 'match', 'action:a.b')) from generate_series(1, 99) n",
      [organization],
    );
    expect((await failure(createRule({ name: "101" }))).code).toBe("AURUL");
    await admin.query("delete from audit.rules where organization_id = $1", [organization]);
  });
  test("changes are versions and entries; a version that is no longer is refused", async () => {
    const id = await createRule({ name: "Before", kind: "count", window: "1h", threshold: 3 });
    await client.query("select audit.change_rule($1)", [
      JSON.stringify({ id, name: "After", threshold: 5, version: 1 }),
    ]);
    expect(
      (await failure(client.query("select audit.change_rule($1)", [JSON.stringify({ id, threshold: 7, version: 1 })])))
        .code,
    ).toBe("AURUL");
    await client.query("select audit.delete_rule($1)", [JSON.stringify({ id })]);
    const { rows } = await client.query(
      "select details - 'database_role' as details from public.audit_logs where organization_id = $1 and action = 'rule.changed' order by seq",
      [organization],
    );
    expect(rows[0].details.new).toMatchObject({ name: "Before", version: 1, threshold: 3, match: "action:thing.made" });
    expect(rows[1].details).toEqual({
      changes: { name: { old: "Before", new: "After" }, threshold: { old: 3, new: 5 }, version: { old: 1, new: 2 } },
    });
    expect(rows[2].details.old).toMatchObject({ name: "After", version: 2 });
  });
  test("a default is tuned and switched off for one organisation, and for nobody else", async () => {
    const id = "00000000-0000-4000-a000-000000000622";
    const other = crypto.randomUUID();
    const choose = (choice: object) =>
      client.query("select audit.choose_rule($1)", [JSON.stringify({ id, organization_id: organization, ...choice })]);
    const batch = async (of: string) => {
      await client.query(
        "select audit.append_all(array_agg(row($1, 'query.executed', 'success', 'query', n::text, null, null, null, '{}', false)::audit.draft)) from generate_series(1, 60) n",
        [of],
      );
      await evaluate();
      return (await client.query("select count(*)::int as n from audit.alerts where organization_id = $1", [of]))
        .rows[0].n;
    };
    await choose({ threshold: 50, severity: "high" });
    expect(await batch(other)).toBe(0);
    expect(await batch(organization)).toBe(1);
    await choose({ enabled: false });
    await admin.query("delete from audit.alerts where organization_id = $1", [organization]);
    expect(await batch(organization)).toBe(0);
    for (const choice of [{ match: "action:a.b" }, { kind: "event" }, { threshold: 0 }, { nothing: 1 }]) {
      expect((await failure(choose(choice))).code).toBe("AURUL");
    }
    expect((await failure(client.query("select audit.change_rule($1)", [JSON.stringify({ id, threshold: 1 })]))).code)
      .toBe("AURUL");
    expect((await failure(client.query("select audit.delete_rule($1)", [JSON.stringify({ id })]))).code).toBe("AURUL");
  });
});

describe("previews", () => {
  test("what a rule would have raised is what it raises, and nothing of it stays", async () => {
    const rule = {
      name: "P",
      kind: "count",
      match: "action:thing.made",
      window: "10m",
      threshold: 3,
      quiet_period: "10m",
    };
    await happen(300, 299, 298, 200, 190, 100, 99, 98, 97);
    const state =
      "select (select count(*) from audit.rule_windows) as a, (select count(*) from audit.rules) as b, (select count(*) from public.audit_logs) as c, (select count(*) from audit.identities) as d";
    const before = (await client.query(state)).rows;
    const preview = async (request: object) =>
      (await client.query("select audit.preview_rule($1) as p", [
        JSON.stringify({ organization_id: organization, rule, ...request }),
      ])).rows[0].p;
    const whole = await preview({ from: "1d" });
    expect(whole).toMatchObject({ alerts: 2, next: null });
    expect(
      whole.would_fire.map((
        { occurrences, entries }: { occurrences: number; entries: string[] },
      ) => [occurrences, entries]),
    ).toEqual([
      [1, ["1001-1", "1001-2", "1001-3"]],
      [2, ["1001-6", "1001-7", "1001-8", "1001-9"]],
    ]);
    // A window that begins before it is seen whole.
    expect(await preview({ from: ago(98.5).toISOString() })).toMatchObject({ alerts: 1 });
    expect((await client.query(state)).rows).toEqual(before);
    for (
      const wrong of [{ from: "later" }, { from: "2030", to: "2029" }, { id: crypto.randomUUID() }, {
        rule: { ...rule, threshold: 0 },
      }, { rule: undefined }]
    ) {
      expect((await failure(preview(wrong))).code).toMatch(/AUARG|AURUL/);
    }
    expect((await failure(preview({ rule: { name: "S", kind: "schedule", check: "cron" } }))).code).toBe("AURUL");
  });
});

describe("who may", () => {
  const person = (n: number) => `${n}0000000-0000-4000-8000-00000000000${n}`;
  const [ALICE, BOB, VERA, EVE, IDA] = [1, 2, 3, 4, 5].map(person) as [string, string, string, string, string];

  test("admins write; auditors read; members, viewers and strangers do neither, by function, view or table", async () => {
    const other = crypto.randomUUID();
    await client.query("insert into public.organizations (id) values ($1), ($2)", [organization, other]);
    await client.query(
      "insert into public.organization_members values ($1, $3, 'admin'), ($1, $4, 'member'), ($1, $5, 'viewer'), ($2, $6, 'admin')",
      [organization, other, ALICE, BOB, VERA, EVE],
    );
    await client.query("select audit.grant_auditor($1, $2, now() + interval '1 day')", [organization, IDA]);
    const rule = await createRule({ quiet_period: null });
    await happen(0);
    const { id } = (await alerts()).at(-1)!;
    const said = (sub: string, text: string, ...values: unknown[]) =>
      asUser(client, { sub }, () => client.query(text, values)).then(
        ({ rows }) => Object.values(rows[0] ?? {})[0] ?? "none",
        (error) => error.code,
      );
    const draft = { organization_id: organization, name: crypto.randomUUID(), kind: "event", match: "action:a.b" };
    const json = JSON.stringify;
    const everything: [string, object, string][] = [
      ["create_rule", draft, "AUDEN"],
      ["change_rule", { id: rule, name: crypto.randomUUID() }, "AUDEN"],
      [
        "choose_rule",
        { id: "00000000-0000-4000-a000-000000000622", organization_id: organization, enabled: true },
        "AUDEN",
      ],
      ["change_alert", { id, do: "acknowledge" }, "AUNOT"],
      ["delete_rule", { id: rule }, "AUDEN"],
    ];
    for (const who of [BOB, VERA, EVE]) {
      for (const [name, request, code] of everything) {
        expect(await said(who, `select audit.${name}($1)`, json(request)), `${name} by ${who}`).toBe(code);
      }
      for (const name of ["list_rules", "list_alerts", "preview_rule", "test_rule"]) {
        expect(
          await said(
            who,
            `select audit.${name}($1)`,
            json({
              organization_id: organization,
              ...(name === "list_rules" || name === "list_alerts" ? {} : { id: rule }),
            }),
          ),
          `${name} by ${who}`,
        ).toBe("AUDEN");
      }
      expect(
        await said(
          who,
          "select count(*)::int from audit.alerts where organization_id = $1 and title <> 'Administrator made'",
          organization,
        ),
      ).toBe(0);
      expect(
        await said(
          who,
          "select count(*)::int from audit.open_alerts where organization_id = $1 and title <> 'Administrator made'",
          organization,
        ),
      ).toBe(0);
      expect(await said(who, "select count(*)::int from audit.alert_entries where organization_id = $1", organization))
        .toBe(0);
    }
    for (const [name, request, code] of everything) {
      expect(await said(IDA, `select audit.${name}($1)`, json(request)), name).toBe(code === "AUNOT" ? "AUDEN" : code);
    }
    for (const who of [ALICE, IDA]) {
      expect(
        await said(
          who,
          "select count(*)::int from audit.open_alerts where organization_id = $1 and title <> 'Administrator made'",
          organization,
        ),
      ).toBe(1);
      expect(await said(who, "select chain || '-' || seq from audit.alert_entries where action = 'thing.made'")).toBe(
        "1001-1",
      );
      expect(await said(who, "select audit.list_alerts($1)", json({ organization_id: organization }))).toMatchObject({
        alerts: expect.arrayContaining([expect.objectContaining({ id })]),
        next: null,
      });
      expect((await said(who, "select audit.list_rules($1)", json({ organization_id: organization }))).rules.length)
        .toBeGreaterThan(25);
    }
    for (
      const text of [
        "insert into audit.alerts default values",
        "update audit.alerts set state = 'resolved'",
        "delete from audit.alerts",
        "select * from audit.rules",
        "select * from audit.rule_windows",
        "select audit.evaluate_rules()",
        "select audit.raise_alert(null, null, null, null, null, null, null)",
      ]
    ) {
      expect(await said(ALICE, text), text).toBe("42501");
    }
    for (const [name, request] of everything) {
      expect(await said(ALICE, `select audit.${name}($1)`, json(request)), name).toBeInstanceOf(Object);
    }
    const { rows } = await client.query(
      "select distinct created_by from public.audit_logs where organization_id = $1 and action in ('rule.changed', 'alert.acknowledged') and created_by is not null",
      [organization],
    );
    expect(rows).toEqual([{ created_by: ALICE }]);
  });

  test("pages of alerts follow each other without a gap", async () => {
    await client.query("select audit.configure('alerts_per_hour', '1000', $1)", [organization]);
    await createRule({ group_by: ["resource_id"] });
    await client.query("select audit.record($1, 'thing.made', 'thing', n::text) from generate_series(1, 25) n", [
      organization,
    ]);
    await evaluate();
    const seen: string[] = [];
    let cursor: string | null | undefined;
    while (cursor !== null) {
      const { rows } = await client.query("select audit.list_alerts($1) as page", [
        JSON.stringify({ organization_id: organization, limit: 7, ...(cursor ? { cursor } : {}) }),
      ]);
      seen.push(...rows[0].page.alerts.map((alert: { id: string }) => alert.id));
      cursor = rows[0].page.next;
    }
    expect(new Set(seen).size).toBe(25);
    expect(seen).toHaveLength(25);
    expect(
      (await failure(
        client.query("select audit.list_alerts($1)", [JSON.stringify({ organization_id: organization, cursor: "x" })]),
      )).code,
    ).toBe("AUCUR");
  });
});
