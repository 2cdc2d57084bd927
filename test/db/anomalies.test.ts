// Counting and judging, attacked: writers, runs at once, runs that are killed, entries that come late; and what tenants do
// that must raise an alert, or must not.
import fc from "fast-check";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { type EntryAt, writeAt } from "../../scripts/bench/entries_at.ts";
import { expectVerified } from "../support/log.ts";

const ACME = "0a000000-0000-4000-8000-000000000001";
const GLOBEX = "0b000000-0000-4000-8000-000000000002";
const HOUR = 3_600_000;
const LEVELS = ["read committed", "repeatable read", "serializable"];

let db: TestDatabase;
let admin: pg.Client;
let owner: pg.Client;
/** The hour that is judged last in most tests: over, and not long ago. */
let now: number;

beforeEach(async () => {
  db = await createDatabase();
  [admin, owner] = [await db.connect(ADMIN), await db.connect()];
  now = Math.floor(Date.now() / HOUR) * HOUR - 2 * HOUR;
});
afterEach(async () => {
  await db.drop();
});

const counted = (client = owner, atMost = 20_000): Promise<number | null> =>
  client.query("select audit.count_activity($1) as n", [atMost]).then(({ rows }) => rows[0].n);

/** What counting would come to if it were done at once, in other words than the function's. */
async function expectCounted(): Promise<void> {
  const { rows } = await admin.query(`
    with entry as (
      select a.*, date_trunc('hour', a.created_at at time zone 'utc') at time zone 'utc' as hour,
        coalesce(a.details -> 'new' ->> 'model', a.details ->> 'model', (
          select max(q.details -> 'new' ->> 'model') from public.audit_logs q
          where q.action = 'query.executed' and q.resource_id = a.resource_id and q.organization_id = a.organization_id and a.cost is not null
        )) as model
      from public.audit_logs a
    ),
    recounted as (
      select hour, organization_id, 'all' as dimension, '' as value, count(*) as entries,
        sum((action = 'query.executed')::int) as queries, count(cost) as costs, coalesce(sum(cost), 0) as cost from entry group by 1, 2
      union all select hour, organization_id, 'actor', coalesce(created_by::text, actor_type), count(*), sum((action = 'query.executed')::int), count(cost), coalesce(sum(cost), 0) from entry group by 1, 2, 4
      union all select hour, organization_id, 'provider', provider, count(*), sum((action = 'query.executed')::int), count(cost), coalesce(sum(cost), 0) from entry where provider is not null group by 1, 2, 4
      union all select hour, organization_id, 'model', model, count(*), sum((action = 'query.executed')::int), count(cost), coalesce(sum(cost), 0) from entry where model is not null group by 1, 2, 4
      union all select hour, organization_id, 'action', action, count(*), sum((action = 'query.executed')::int), count(cost), coalesce(sum(cost), 0) from entry group by 1, 2, 4
    )
    select r.*, c.* from recounted r
    full join audit.activity c using (hour, organization_id, dimension, value)
    where (r.entries, r.queries, r.costs, r.cost) is distinct from (c.entries, c.queries, c.costs, c.cost)
  `);
  expect(rows).toEqual([]);
}

describe("counting", () => {
  const entry = fc.record({
    organization: fc.constantFrom(ACME, GLOBEX),
    chain: fc.constantFrom(900_001, 900_002, 900_003),
    minutes: fc.integer({ min: 0, max: 300 }),
    actor: fc.constantFrom("a0000000-0000-4000-8000-000000000001", "a0000000-0000-4000-8000-000000000002"),
    provider: fc.constantFrom("openai", "anthropic"),
    query: fc.integer({ min: 1, max: 9 }),
    kind: fc.constantFrom("query.executed", "query.completed", "api_key.added"),
    cost: fc.constantFrom(0, 0.25, 1e-6, 12),
  }, { requiredKeys: ["organization", "chain", "minutes", "query", "kind", "cost"] });

  test("in batches of any size, between writes, comes to what counting at once would", async () => {
    // A response has the model of its query, which was there before it.
    await writeAt(
      admin,
      [ACME, GLOBEX].flatMap((organization) =>
        Array.from({ length: 9 }, (_, n): EntryAt => ({
          organization,
          chain: 900_000,
          at: new Date(now - 6 * HOUR),
          action: "query.executed",
          resource: `query/q${n + 1}`,
          details: { new: { model: `m${(n + 1) % 3}` } },
        }))
      ),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.array(entry, { maxLength: 30 }), fc.integer({ min: 1, max: 40 })), { maxLength: 6 }),
        async (rounds) => {
          for (const [drafts, atMost] of rounds) {
            await writeAt(
              admin,
              drafts.map(({ minutes, kind, query, cost, ...rest }): EntryAt => ({
                ...rest,
                at: new Date(now - minutes * 60_000),
                action: kind,
                resource: `query/q${query}`,
                ...(kind === "query.executed" ? { details: { new: { model: `m${query % 3}` } } } : {}),
                ...(kind === "query.completed" ? { cost } : {}),
              })),
            );
            await counted(owner, atMost);
          }
          while (await counted(owner, 7) !== 0);
        },
      ),
      { numRuns: 15 },
    );
    await expectCounted();
    await expectVerified(admin);
  });

  test.each(LEVELS)(
    "at once at %s, beside writers, with runs that are killed, takes each entry once",
    async (level) => {
      const [writers, counters] = [await db.connectAll(3), await db.connectAll(3)];
      let written = 0;
      const writing = Promise.all(writers.map(async (client) => {
        for (let n = 0; n < 40; n++, written++) {
          await client.query(
            "select audit.record($1, 'query.executed', 'query', $2::text, '{\"model\": \"m\"}', 'success', 'openai', 0.5)",
            [n % 2 ? ACME : GLOBEX, String(n)],
          );
        }
      }));
      const killer = (async () => {
        for (let n = 0; n < 10; n++) {
          const victim = await db.connect();
          victim.on("error", () => {});
          const { rows: [{ pid }] } = await victim.query("select pg_backend_pid() as pid");
          await victim.query(`begin isolation level ${level}`);
          await counted(victim, 5).catch(() => {});
          await admin.query("select pg_terminate_backend($1)", [pid]);
        }
      })();
      const counting = Promise.all(counters.map(async (client) => {
        while (written < 120) {
          await client.query(`begin isolation level ${level}`);
          // Who began before another run committed fails, and has counted nothing.
          await counted(client, 11).then(() => client.query("commit"), async (error) => {
            await client.query("rollback");
            expect(error.code).toBe("40001");
          });
        }
      }));
      await Promise.all([writing, killer, counting]);
      while (await counted() !== 0);
      await expectCounted();
      expect((await admin.query("select sum(queries)::int as n from audit.activity where dimension = 'all'")).rows[0].n)
        .toBe(120);
    },
  );

  test("costs that are no amount count for nothing; a secret or an e-mail address is in no count", async () => {
    await owner.query("select audit.record($1, 'query.completed', 'query', '1', '{}', 'success', 'openai', 'NaN')", [
      ACME,
    ]);
    await owner.query(
      "select audit.record($1, 'query.completed', 'query', '2', '{}', 'success', 'openai', 'Infinity')",
      [ACME],
    );
    await owner.query("select set_config('request.jwt.claims', $1, false)", [
      JSON.stringify({ sub: "a0000000-0000-4000-8000-000000000009", email: "ada@example.com", role: "authenticated" }),
    ]);
    await owner.query("select audit.record($1, 'query.executed', 'query', '3')", [ACME]);
    await owner.query("select set_config('request.jwt.claims', '', false)");
    await counted();
    const { rows } = await admin.query(
      "select dimension, value, costs, cost from audit.activity where organization_id = $1",
      [ACME],
    );
    expect(rows.filter(({ costs, cost }) => costs !== "0" || Number(cost) !== 0)).toEqual([]);
    expect(rows.map(({ value }) => value)).toContain("a0000000-0000-4000-8000-000000000009");
    expect(JSON.stringify(rows)).not.toContain("ada");
  });
});

/** Hours of activity, the last of them `now`; each a number of queries at a cost of 0.1 each. */
async function fill(organization: string, queries: number[], end = now): Promise<void> {
  await admin.query(
    `insert into audit.activity (hour, organization_id, dimension, value, entries, queries, costs, cost, late)
     select to_timestamp(($2::float8 - (cardinality($3::int[]) - n) * 3600000) / 1000), $1, d.dimension, d.value, q, q, q, q * 0.1, 0
     from unnest($3::int[]) with ordinality u (q, n), (values ('all', ''), ('provider', 'openai')) d (dimension, value) where q > 0`,
    [organization, end, queries],
  );
}

async function judge(hours: number, end = now): Promise<void> {
  await owner.query(
    `select count(audit.judge_activity(h)) from generate_series(
       to_timestamp(($1::float8 - ($2::float8 - 1) * 3600000) / 1000), to_timestamp($1::float8 / 1000), interval '1 hour'
     ) h`,
    [end, hours],
  );
}

type Judgement = {
  hour: number;
  seen: number;
  expected: number | null;
  spread: number | null;
  score: number | null;
  unusual: boolean;
  alerts: number;
};

async function judgements(organization: string, metric = "queries"): Promise<Judgement[]> {
  const { rows } = await admin.query(
    `select extract(epoch from hour)::float8 * 1000 as hour, seen::float8, expected, spread, score, unusual, alerts
     from audit.judgements where organization_id = $1 and metric = $2 order by hour`,
    [organization, metric],
  );
  return rows;
}

/** Days of a tenant that works by day, a little differently each hour; `change` says what is different when. */
function days(count: number, change = (queries: number, _index: number) => queries): number[] {
  return Array.from(
    { length: count * 24 },
    (_, index) =>
      Math.round(
        change(60 + 140 * Math.max(0, Math.sin((index % 24) / 24 * 2 * Math.PI)) + (index * 7919 % 23), index),
      ),
  );
}

const unusual = (list: Judgement[]) => list.filter((each) => each.unusual).length;

describe("judging", () => {
  test("a tenant that does what it always does is never unusual, a burst is, a missing hour too", async () => {
    const last = 20 * 24 - 1;
    await fill(ACME, days(20, (queries, index) => index === last ? 5 * queries : queries));
    await fill(GLOBEX, days(20, (queries, index) => index >= last - 3 ? 0 : queries));
    await judge(20 * 24);
    const [burst, gone] = [await judgements(ACME), await judgements(GLOBEX)];
    expect(burst.slice(0, -1).filter((each) => each.unusual)).toEqual([]);
    expect(burst.at(-1)).toMatchObject({ unusual: true, alerts: 2 });
    expect(unusual(gone.slice(0, -4))).toBe(0);
    expect(gone.slice(-4).every(({ score, unusual }) => unusual && score! < -4)).toBe(true);
    expect(unusual(await judgements(ACME, "cost"))).toBe(1);
  });

  test("nothing raises an alert before there is experience: three days, 48 active hours", async () => {
    await fill(ACME, days(4, (queries, index) => index % 24 === 12 ? 40 * queries : queries));
    await fill(GLOBEX, Array.from({ length: 30 * 24 }, (_, index) => index % 24 === 3 ? 100 + index : 0));
    await judge(30 * 24);
    expect((await judgements(ACME)).filter(({ score }) => score !== null)).toEqual([]);
    expect((await judgements(GLOBEX)).filter(({ score }) => score !== null), "one hour a day is too little to judge by")
      .toEqual([]);
  });

  test("few queries are not many, however rare; a batch an hour early or late is no news", async () => {
    await fill(ACME, Array.from({ length: 20 * 24 }, (_, index) => index === 20 * 24 - 1 ? 40 : index % 3));
    await fill(
      GLOBEX,
      Array.from({ length: 20 * 24 }, (_, index) => {
        const day = Math.floor(index / 24);
        return index % 24 === (day === 18 ? 4 : day === 19 ? 6 : 5) ? 800 : 10 + index % 5;
      }),
    );
    await judge(20 * 24);
    expect(unusual(await judgements(ACME))).toBe(0);
    expect((await judgements(ACME)).at(-1)!.score, "it is far from what is expected").toBeGreaterThan(4);
    expect(unusual(await judgements(GLOBEX))).toBe(0);
  });

  test("an hour is judged from hours before it only", async () => {
    await fill(ACME, days(20));
    await fill(GLOBEX, days(20, (queries, index) => index > 18 * 24 ? 100 * queries : queries));
    await judge(20 * 24);
    const upto = 18 * 24 + 1;
    expect((await judgements(ACME)).slice(0, upto)).toEqual((await judgements(GLOBEX)).slice(0, upto));
    await judge(1, now - 36 * HOUR); // again, with all the later ones there
    expect((await judgements(ACME)).slice(0, upto)).toEqual((await judgements(GLOBEX)).slice(0, upto));
  });

  test("three days of attack do not become normal, and teach nothing: their size leaves no trace", async () => {
    const attack = (times: number) => (queries: number, index: number) =>
      index >= 15 * 24 && index < 18 * 24 ? times * queries : queries;
    await fill(ACME, days(24, attack(8)));
    await fill(GLOBEX, days(24, attack(80)));
    await judge(24 * 24);
    const [small, large] = [await judgements(ACME), await judgements(GLOBEX)];
    expect(small.slice(15 * 24, 18 * 24).every((each) => each.unusual && each.alerts > 0)).toBe(true);
    expect(unusual(small), "and the days after it are as usual").toBe(72);
    const baselines = (list: Judgement[]) =>
      list.map(({ hour, expected, spread, unusual }) => ({ hour, expected, spread, unusual }));
    expect(baselines(small)).toEqual(baselines(large));
  });

  test("an incident is one alert, unless it becomes very unusual; a second one soon after has to be plainer", async () => {
    const first = 16 * 24 + 6;
    const more = new Map([[first, 170], [first + 1, 175], [first + 4, 900], [first + 72, 170], [first + 96, 250]]);
    await fill(ACME, days(21, (queries, index) => queries + index * 104_729 % 89 + (more.get(index) ?? 0)));
    await judge(21 * 24);
    const list = (await judgements(ACME)).map((each, index) => ({ ...each, index: index - first })).filter((each) =>
      each.unusual
    );
    expect(list.map(({ index, alerts }) => [index, alerts])).toEqual([[0, 1], [1, 1], [4, 2], [72, 0], [96, 2]]);
  });

  test("a lasting change is learned after seven days, at once if an admin accepts it, and both leave an entry", async () => {
    const shifted = days(30, (queries, index) => index >= 18 * 24 ? 4 * queries : queries);
    await fill(ACME, shifted);
    await fill(GLOBEX, shifted);
    const step = async (from: number, to: number) => {
      for (let index = from; index < to; index++) {
        const hour = new Date(now - (30 * 24 - 1 - index) * HOUR);
        await owner.query("select audit.judge_activity($1)", [hour]);
        await owner.query("select audit.learn_lasting_changes($1)", [hour]);
      }
    };
    await step(0, 19 * 24);
    await owner.query("select audit.accept_activity($1, 'queries', $2)", [
      GLOBEX,
      new Date(now - (12 * 24 - 1) * HOUR),
    ]);
    await step(19 * 24, 30 * 24);
    const [learned, accepted] = [await judgements(ACME), await judgements(GLOBEX)];
    expect(learned.slice(25 * 24 + 1).some((each) => each.unusual), "after seven days").toBe(false);
    expect(accepted.slice(18 * 24).some((each) => each.unusual), "after it was accepted").toBe(false);
    // From then on it is judged by the new level: 4 times less would be unusual.
    expect(learned.at(-1)!.expected).toBeGreaterThan(200);
    expect(learned.at(-1)!.score).not.toBeNull();
    const { rows } = await admin.query(
      "select organization_id, resource_id, details ->> 'why' as why from public.audit_logs where action = 'anomaly.accepted' order by 1, 2",
    );
    expect(rows).toEqual([
      { organization_id: ACME, resource_id: "cost", why: "lasted seven days" },
      { organization_id: ACME, resource_id: "queries", why: "lasted seven days" },
      { organization_id: GLOBEX, resource_id: "cost", why: "lasted seven days" },
      { organization_id: GLOBEX, resource_id: "queries", why: "accepted" },
    ]);
  });

  test("after a long absence experience begins anew", async () => {
    await fill(ACME, days(16), now - 20 * 24 * HOUR);
    await fill(ACME, days(2, (queries) => 50 * queries));
    await judge(36 * 24);
    expect((await judgements(ACME)).slice(-48).filter(({ score }) => score !== null)).toEqual([]);
  });

  test.each([
    ["America/New_York", "2026-03-08T07:00:00Z"],
    ["Europe/Berlin", "2026-10-25T01:00:00Z"],
    ["Australia/Lord_Howe", "2026-04-04T15:00:00Z"],
    ["Asia/Kathmandu", "2026-04-04T15:00:00Z"],
  ])("who works by the clock of %s is as usual when the clocks change", async (zone, change) => {
    const end = Date.parse(change) + 6 * 24 * HOUR;
    const clock = new Intl.DateTimeFormat("en-GB", { timeZone: zone, hour: "2-digit", hourCycle: "h23" });
    const work = Array.from({ length: 24 * 24 }, (_, index) => {
      const local = Number(clock.format(new Date(end - (24 * 24 - 1 - index) * HOUR)));
      return local >= 9 && local < 18 ? 1000 + index * 7919 % 60 : 5 + index % 3;
    });
    await fill(ACME, work, end);
    await fill(GLOBEX, work, end);
    await owner.query("select audit.configure('time_zone', to_jsonb($1::text), $2)", [zone, ACME]);
    await judge(24 * 24, end);
    const [local, utc] = [await judgements(ACME), await judgements(GLOBEX)];
    expect(unusual(local)).toBe(0);
    const strange = (list: Judgement[]) => list.filter(({ score }) => Math.abs(score ?? 0) >= 4).length;
    expect(strange(local)).toBe(0);
    if (zone === "America/New_York") expect(strange(utc), "by UTC it would be strange").toBeGreaterThan(0);
  });
});

describe("alerts", () => {
  const alerts = async (organization = ACME) =>
    (await admin.query("select * from audit.alerts where organization_id = $1 order by first_seen_at, group_key", [
      organization,
    ])).rows;
  const raise = async (hour = now) =>
    (await owner.query(
      "select audit.raise_anomalies(to_timestamp($1::float8 / 1000), to_timestamp($1::float8 / 1000) + interval '65 minutes') as n",
      [hour],
    )).rows[0].n;
  const MALLORY = "a0000000-0000-4000-8000-000000000666";
  const ADA = "a0000000-0000-4000-8000-000000000001";

  /** Twenty usual days in the counts, and an hour of them in the log, of which Mallory has most. */
  async function attacked(queries = 400): Promise<void> {
    await fill(ACME, days(20).slice(0, -1), now - HOUR);
    await judge(20 * 24 - 1, now - HOUR);
    await writeAt(
      admin,
      Array.from({ length: queries }, (_, n): EntryAt => ({
        organization: ACME,
        chain: 900_001,
        at: new Date(now + n * 3_000),
        action: "query.executed",
        actor: n % 10 === 0 ? ADA : MALLORY,
        provider: "anthropic",
        resource: `query/${n}`,
        details: { new: { model: "large" } },
      })),
    );
    await counted();
    await judge(1);
  }

  test("say what was expected and seen, how unusual it is, who contributed, and lead to the entries", async () => {
    await attacked();
    expect(await raise()).toBe(1);
    const [alert, ...others] = await alerts();
    expect(others).toEqual([]);
    expect(alert.title).toMatch(/^Unusual number of queries: 400 in an hour, \d+(\.\d+)? expected$/);
    expect(alert).toMatchObject({ severity: "medium", state: "open", occurrences: "1" });
    expect(JSON.parse(alert.group_key)).toEqual({ metric: "queries", degree: "very unusual" });
    expect(alert.reason).toMatchObject({ metric: "queries", seen: 400 });
    expect(alert.reason.score).toBeGreaterThan(6);
    expect(alert.reason.usual[1]).toBeLessThan(300);
    expect(alert.reason.meaning).toMatch(/^very unusual: [\d.]+ times/);
    expect(alert.reason.contributors.slice(0, 4)).toEqual([
      { dimension: "actor", value: MALLORY, seen: 360, expected: 0 },
      { dimension: "actor", value: ADA, seen: 40, expected: 0 },
      { dimension: "provider", value: "anthropic", seen: 400, expected: 0 },
      { dimension: "model", value: "large", seen: 400, expected: 0 },
    ]);
    const { rows } = await admin.query(
      "select distinct created_by, action from public.audit_logs where organization_id = $1 and chain || '-' || seq = any ($2)",
      [ACME, alert.entries],
    );
    expect(alert.entries).toHaveLength(20);
    expect(rows).toEqual([{ created_by: MALLORY, action: "query.executed" }]);
  });

  test("are raised once, however often the hour is judged and raised, and hours that go on are repetitions", async () => {
    await attacked();
    expect([await raise(), await raise()]).toEqual([1, 0]);
    await judge(1);
    expect(await raise()).toBe(0);
    await fill(ACME, [900], now + HOUR);
    await judge(1, now + HOUR);
    expect(await raise(now + HOUR), "of the costs, too").toBe(2);
    const list = await alerts();
    expect(list.map(({ occurrences }) => occurrences).sort()).toEqual(["1", "2"]);
    // Resolved, the next hour of it is not heard of again.
    await admin.query("update audit.alerts set state = 'resolved', resolved_at = clock_timestamp()");
    await fill(ACME, [900], now + 2 * HOUR);
    await judge(1, now + 2 * HOUR);
    expect(await raise(now + 2 * HOUR)).toBe(0);
    expect(await alerts()).toHaveLength(2);
  });

  test("are raised as the organisation has tuned the rule, or not at all", async () => {
    await admin.query(
      "insert into audit.rule_choices (rule_id, organization_id, choice) values (audit.anomaly_rule(), $1, $2)",
      [
        ACME,
        { enabled: false },
      ],
    );
    await attacked();
    expect(await raise()).toBe(0);
    await admin.query("update audit.rule_choices set choice = $1", [{ parameters: { least_queries: 500 } }]);
    await judge(1);
    expect((await judgements(ACME)).at(-1)).toMatchObject({ unusual: false, alerts: 0 });
    // What is no number is as if it were not said.
    await admin.query("update audit.rule_choices set choice = $1", [{
      parameters: { least_queries: "many", score: null },
    }]);
    await judge(1);
    expect(await raise()).toBe(1);
  });

  test("come for what comes late too: an hour that entries are added to is judged again, and says so", async () => {
    await attacked(100);
    expect((await judgements(ACME)).at(-1)).toMatchObject({ unusual: false });
    await admin.query("update audit.activity_clock set judged_to = to_timestamp($1::float8 / 1000)", [now + HOUR]);
    await writeAt(
      admin,
      Array.from({ length: 300 }, (_, n): EntryAt => ({
        organization: ACME,
        chain: 900_002,
        at: new Date(now + n),
        action: "query.executed",
        actor: MALLORY,
      })),
    );
    await owner.query("select audit.detect_anomalies()");
    await expectLogCounted();
    const [alert] = await alerts();
    expect(alert.reason).toMatchObject({ seen: 400, late: 300 });
    expect(Date.parse(alert.first_seen_at)).toBe(now);
    expect((await admin.query("select count(*)::int as n from audit.judgements where late")).rows[0].n).toBe(0);
  });

  /** The counts of the log's own entries, beside those that fill() made. */
  async function expectLogCounted(): Promise<void> {
    const { rows } = await admin.query(
      `select (select count(*) from public.audit_logs where organization_id = $1 and action = 'query.executed') = sum(a.queries) as same
       from audit.activity a where a.organization_id = $1 and a.dimension = 'all' and a.hour >= to_timestamp($2::float8 / 1000)`,
      [ACME, now],
    );
    expect(rows).toEqual([{ same: true }]);
  }

  test("of what is long over are not raised when the schedule comes back, and its hours teach nothing all the same", async () => {
    await fill(ACME, days(20, (queries, index) => index === 17 * 24 + 6 ? 9 * queries : queries), now);
    const detect = async () => (await owner.query("select audit.detect_anomalies() as n")).rows[0].n;
    await detect();
    const list = await judgements(ACME);
    expect(list.filter((each) => each.unusual && each.hour <= now).map(({ alerts }) => alerts)).toEqual([2]);
    expect((await alerts()).filter(({ first_seen_at }) => Date.parse(first_seen_at) <= now)).toEqual([]);
    expect(await detect(), "and what is judged is judged").toBe(0);
    const { rows: [{ parts, hours }] } = await admin.query(
      `select count(*) filter (where hour < clock_timestamp() - interval '16 days' and dimension <> 'all')::int as parts, count(*)::int as hours from audit.activity`,
    );
    expect(parts, "parts are kept for 15 days").toBe(0);
    expect(hours).toBeGreaterThan(480);
  });

  test("two runs at once: one works, the other has nothing to do", async () => {
    await fill(ACME, days(5), now);
    const other = await db.connect();
    await owner.query("begin");
    await owner.query("select audit.detect_anomalies()");
    expect((await other.query("select audit.detect_anomalies() as n")).rows[0].n).toBe(0);
    await owner.query("rollback");
    expect((await judgements(ACME)).length).toBe(0);
    await other.query("select audit.detect_anomalies()");
    expect((await judgements(ACME)).length).toBeGreaterThanOrEqual(120);
  });
});

describe("rules of one's own", () => {
  const json = JSON.stringify;
  const ADA = "a0000000-0000-4000-8000-000000000001";
  const EVE = "a0000000-0000-4000-8000-000000000002";
  const draft = (rule: object) => ({ organization_id: ACME, name: "Own", kind: "anomaly", ...rule });
  const create = async (rule: object): Promise<string> =>
    (await owner.query("select audit.create_rule($1) ->> 'id' as id", [json(draft(rule))])).rows[0].id;
  const change = (rule: object) => owner.query("select audit.change_rule($1)", [json(rule)]);

  /** Counts of one part of the organisation: so many entries an hour, the last of them `now`. */
  const part = (dimension: string, value: string, entries: number[], organization = ACME) =>
    admin.query(
      `insert into audit.activity (hour, organization_id, dimension, value, entries, queries, costs, cost, late)
       select to_timestamp(($2::float8 - (cardinality($3::int[]) - n) * 3600000) / 1000), $1, $4, $5, q, q, q, q * 0.1, 0
       from unnest($3::int[]) with ordinality u (q, n) where q > 0`,
      [organization, now, entries, dimension, value],
    );
  /** Up to the hour before the last it is judged; then the rule is made, and then the last hour is over. */
  const judgedBefore = () =>
    admin.query("update audit.activity_clock set judged_to = to_timestamp($1::float8 / 1000)", [now]);
  async function lastHour(): Promise<string[]> {
    await judge(1);
    await owner.query(
      "select audit.raise_anomalies(to_timestamp($1::float8 / 1000), to_timestamp($1::float8 / 1000) + interval '65 minutes')",
      [now],
    );
    const { rows } = await admin.query("select title from audit.alerts where organization_id = $1 order by title", [
      ACME,
    ]);
    return rows.map(({ title }) => title.replace(/ in an hour, .*/, ""));
  }
  const usual = (count = 20, change = (queries: number, _index: number) => queries) => days(count, change);
  const last = 20 * 24 - 1;
  const burst = (times: number) => usual(20, (queries, index) => index === last ? times * queries : queries);

  test("watch each provider, with the experience of the days before; what others do is nothing", async () => {
    await part("provider", "openai", usual());
    await part("provider", "google", burst(5));
    await part("provider", "rare", Array.from({ length: 480 }, (_, n) => n === last ? 900 : 0));
    await judgedBefore();
    const id = await create({ value: "queries", group_by: ["provider"] });
    expect(await lastHour()).toEqual([expect.stringMatching(/^Own \(google\): \d+$/)]);
    const [alert] = (await admin.query("select rule_id, group_key::jsonb as group, reason from audit.alerts")).rows;
    expect(alert).toMatchObject({
      rule_id: id,
      group: { metric: "queries", provider: "google" },
      reason: { metric: "queries", of: { provider: "google" } },
    });
  });

  test.each<[string, object, boolean]>([
    ["of one user", { value: "queries", match: `actor:${ADA}` }, true],
    ["of another user", { value: "queries", match: `actor:${EVE}` }, false],
    ["of each user", { group_by: ["actor"] }, true],
    ["of their costs, which are small", { value: "cost", match: `actor:${ADA}` }, false],
    [
      "of their costs, where less is enough",
      { value: "cost", match: `actor:${ADA}`, parameters: { least_cost: 5 } },
      true,
    ],
    ["of far more only", { match: `actor:${ADA}`, parameters: { score: 40 } }, false],
    ["of what is many", { match: `actor:${ADA}`, parameters: { least_entries: 1000 } }, false],
    ["of an action", { match: "action:user.login_failed" }, true],
    ["of another action", { match: "action:user.login" }, false],
    ["switched off", { match: `actor:${ADA}`, enabled: false }, false],
  ])("%s", async (_, rule, raised) => {
    const night = usual(20, (_, index) => index === last ? 95 : 8 + index % 3);
    await part("actor", ADA, night);
    await part("action", "user.login_failed", night);
    await part("actor", EVE, usual());
    await part("action", "user.login", usual());
    await judgedBefore();
    await create(rule);
    expect(await lastHour()).toHaveLength(raised ? 1 : 0);
  });

  test("for everything are apart from the default; entries lead to what it is of", async () => {
    await fill(ACME, burst(5));
    await part("provider", "google", burst(5));
    await writeAt(
      admin,
      ["openai", "google"].map((provider, n): EntryAt => ({
        organization: ACME,
        chain: 900_001,
        at: new Date(now + n * 1000),
        action: "query.executed",
        actor: ADA,
        provider,
      })),
    );
    await judge(20 * 24 - 1, now - HOUR);
    await judgedBefore();
    await create({ value: "queries" });
    await create({ name: "Google", match: "provider:google" });
    expect(await lastHour()).toEqual([
      expect.stringMatching(/^Google: /),
      expect.stringMatching(/^Own: /),
      expect.stringMatching(/^Unusual cost: /),
      expect.stringMatching(/^Unusual number of queries: /),
    ]);
    const { rows } = await admin.query("select title, entries from audit.alerts where title like 'Google%'");
    expect(rows[0].entries).toEqual(["900001-2"]);
  });

  test("are forgotten when they are deleted or about something else, not when they are tuned or renamed", async () => {
    await part("provider", "openai", usual());
    await judgedBefore();
    const id = await create({ group_by: ["provider"] });
    const held = async () =>
      (await admin.query("select count(*)::int as n from audit.judgements where metric like $1 || '%'", [id])).rows[0]
        .n;
    expect(await held()).toBe(336);
    await change({ id, parameters: { score: 6 }, name: "Renamed" });
    expect(await held()).toBe(336);
    await change({ id, group_by: ["action"] });
    expect(await held()).toBe(0);
    await change({ id, group_by: ["provider"], enabled: false });
    expect(await held()).toBe(0);
    await change({ id, enabled: true });
    expect(await held()).toBe(336);
    await owner.query("select audit.delete_rule($1)", [json({ id })]);
    expect(await held()).toBe(0);
    expect((await admin.query("select from audit.activity_baselines where metric like $1 || '%'", [id])).rowCount).toBe(
      0,
    );
  });

  test("tell 200 apart at most, and others when these are gone", async () => {
    await admin.query(
      `insert into audit.activity (hour, organization_id, dimension, value, entries, queries, costs, cost, late)
       select to_timestamp($2::float8 / 1000), $1, 'actor', n::text, n, 0, 0, 0, 0 from generate_series(1, 300) n`,
      [ACME, now],
    );
    const id = await create({ group_by: ["actor"] });
    await judge(1);
    const held = async () =>
      (await admin.query("select count(*)::int as n from audit.activity_baselines where metric like $1 || '%'", [id]))
        .rows[0].n;
    expect(await held()).toBe(200);
    await judge(1);
    expect(await held()).toBe(200);
  });

  test("of a change that is accepted by its alert are quiet; of another rule's alert there is nothing to accept", async () => {
    await part("provider", "google", burst(5));
    await judgedBefore();
    await create({ match: "provider:google" });
    expect(await lastHour()).toHaveLength(1);
    const [alert] = (await admin.query("select id from audit.alerts")).rows;
    const move = (id: string) =>
      owner.query("select audit.change_alert($1)", [json({ id, do: "accept", note: "Moved" })]);
    await move(alert.id);
    const { rows } = await admin.query(
      `select a.state, (select bool_or(j.unusual) from audit.judgements j where j.organization_id = a.organization_id) as unusual,
         (select e.details ->> 'note' from public.audit_logs e where e.action = 'alert.resolved') as note,
         (select e.details ->> 'why' from public.audit_logs e where e.action = 'anomaly.accepted') as why
       from audit.alerts a`,
    );
    expect(rows).toEqual([{ state: "resolved", unusual: false, note: "Moved", why: "accepted" }]);
    const { rows: [other] } = await owner.query(
      "select audit.raise_alert('00000000-0000-4000-a000-000000000622', $1, 'g', now(), 'T', '{}', '{}') as id",
      [ACME],
    );
    await expect(move(other.id)).rejects.toMatchObject({ code: "AUARG" });
  });

  test.each<[string, object]>([
    ["a threshold", { threshold: 3 }],
    ["a window", { window: "1h" }],
    ["what is not counted", { value: "details.tokens" }],
    ["two groups", { group_by: ["actor", "provider"] }],
    ["a group that is not counted", { group_by: ["ip"] }],
    ["a query of two things", { match: "action:a.b provider:openai" }],
    ["a pattern", { match: "action:user.*" }],
    ["a list", { match: "provider:(openai or google)" }],
    ["what is not", { match: "-provider:openai" }],
    ["another field", { match: "outcome:failure" }],
    ["a user by address", { match: "actor:ada@example.com" }],
    ["a group of one thing", { match: "provider:openai", group_by: ["action"] }],
    ["a parameter that there is not", { parameters: { sensitivity: 3 } }],
    ["a parameter in words", { parameters: { score: "high" } }],
    ["score 0", { parameters: { score: 0 } }],
    ["less than nothing", { parameters: { least_entries: -1 } }],
  ])("with %s are refused", async (_, rule) => {
    await expect(create(rule)).rejects.toMatchObject({ code: "AURUL" });
  });
});
