// Each default, raised by what really happens, through triggers and the writer where a table tells it; beside each what
// is near and must not raise it. The table of rules and tests in docs/alerts.md is made of the names here.
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { identity, writeAt } from "../../scripts/bench/entries_at.ts";
import { asUser } from "../support/acting.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified } from "../support/log.ts";

let db: TestDatabase;
let admin: pg.Client;
let client: pg.Client;
let organization: string;
const ADA = "a0000000-0000-4000-8000-00000000000a";
const BOB = "b0000000-0000-4000-8000-00000000000b";

beforeAll(async () => {
  db = await createDatabase();
  admin = await db.connect("supabase_admin");
  client = await db.connect();
  await admin.query("select audit.configure('alerts_per_hour', '1000')");
  await admin.query(`
    insert into audit.places (id, country, city, latitude, longitude, radius_km) values (1, 'DE', 'Berlin', 52.52, 13.405, 100),
      (2, 'DE', 'Hamburg', 53.55, 9.993, 100), (3, 'US', 'New York', 40.713, -74.006, 100), (4, 'NZ', null, -40.5, 173.2, 1967);
    insert into audit.place_ranges values ('192.0.2.0', 3), ('192.0.2.128', null), ('198.51.100.0', 1), ('198.51.100.128', 2),
      ('198.51.101.0', null), ('203.0.113.0', 4), ('203.0.114.0', null);
    insert into audit.place_data (attribution) values ('Us, CC0');
  `);
});
afterAll(() => db.drop());
beforeEach(async () => {
  organization = crypto.randomUUID();
  await client.query("insert into public.organizations (id) values ($1)", [organization]);
});
afterEach(() => expectVerified(client));

async function evaluate(): Promise<void> {
  for (let taken = 1; taken > 0;) taken = (await client.query("select audit.evaluate_rules() as n")).rows[0].n;
}

/** Titles of what the organisation's alerts are, those that are over included. */
async function raised(of = organization): Promise<string[]> {
  await evaluate();
  const { rows } = await client.query("select title from audit.alerts where organization_id = $1 order by title", [of]);
  return rows.map(({ title }) => title);
}

const record = (action: string, { outcome = "success", resource = ["user", ADA] } = {}) =>
  client.query("select audit.record($1, $2, $3, $4, '{}', $5)", [organization, action, ...resource, outcome]);
const asService = (sub: string | undefined, ip: string, work: () => Promise<unknown>) =>
  asUser(
    client,
    { role: "service_role", ...(sub === undefined ? {} : { sub }), headers: { "x-forwarded-for": ip } },
    work,
  );

/** A login that failed, as the capture of logins writes it. */
const failed = (who: string | undefined, ip: string) =>
  asService(who, ip, () => record("user.login_failed", { outcome: "failure" }));
const succeeded = (who: string, ip: string) => asService(who, ip, () => record("user.login"));

describe("signing in", () => {
  test("three failures of one user, from three addresses", async () => {
    await failed(ADA, "203.0.113.1");
    await failed(ADA, "203.0.113.2");
    expect(await raised()).toEqual([]);
    await failed(ADA, "203.0.113.3");
    expect(await raised()).toEqual(["Failed logins of one user"]);
  });
  test("three of three users from one address, whose address the alert does not keep", async () => {
    for (const who of [ADA, BOB]) await failed(who, "203.0.113.9");
    expect(await raised()).toEqual([]);
    await failed(undefined, "203.0.113.9");
    expect(await raised()).toEqual(["Failed logins from one address"]);
    const { rows } = await client.query(
      `select a::text || (select string_agg(w::text, '') from audit.rule_windows w) || (select string_agg(e.details::text, '') from public.audit_logs e where e.organization_id = a.organization_id) as kept
       from audit.alerts a where a.organization_id = $1`,
      [organization],
    );
    expect(rows[0].kept).not.toContain("203.0.113.9");
    // Who may see identities finds it by what the alert does keep.
    const { rows: found } = await client.query(
      `select i.ip_address from audit.alerts a
       join audit.identities i on encode(i.identity_hash, 'hex') = a.group_key::jsonb ->> 'ip' where a.organization_id = $1`,
      [organization],
    );
    expect(found).toEqual([{ ip_address: "203.0.113.9" }]);
  });
  test("users with dirty names are told apart by their addresses", async () => {
    for (const email of [" ada@example.com", "0", "ada@example.com"]) {
      for (const ip of ["host.example", "203.0.113.1"]) {
        await asUser(client, { role: "service_role", headers: { "x-forwarded-for": ip } }, async () => {
          await client.query(
            "select set_config('request.jwt.claims', '', true), set_config('audit.actor', 'x', true), set_config('audit.actor_email', $1, true)",
            [email],
          );
          await record("user.login_failed", { outcome: "failure" });
        });
      }
    }
    // Two of each name; but three from each address.
    expect(await raised()).toEqual(["Failed logins from one address", "Failed logins from one address"]);
  });
  test("failures and then success", async () => {
    for (const ip of ["203.0.113.1", "203.0.113.2", "203.0.113.3"]) await failed(ADA, ip);
    await succeeded(BOB, "203.0.113.4");
    expect(await raised()).toEqual(["Failed logins of one user"]);
    await succeeded(ADA, "203.0.113.4");
    expect(await raised()).toEqual(["Failed logins of one user", "Failed logins, then success"]);
  });
  test("a new country, once it is known which are old", async () => {
    const home = await identity(admin, organization, { user: ADA, ip: "198.51.100.1" });
    const away = await identity(admin, organization, { user: ADA, ip: "203.0.113.1" });
    const day = (n: number) => new Date(Date.now() - (20 - n) * 86_400_000);
    const login = (n: number, from: Uint8Array) => ({
      organization,
      chain: 1001,
      at: day(n),
      action: "user.login",
      actor: ADA,
      identity: from,
    });
    await writeAt(admin, [0, 1, 2, 3].map((n) => login(n, home)));
    await writeAt(admin, [login(4, away)]);
    expect(await raised()).toEqual([]); // too early to say
    await writeAt(admin, [5, 6, 7, 8].map((n) => login(n, home)));
    await writeAt(admin, [login(9, away), login(10, home)]);
    expect(await raised()).toEqual([]); // known by now
    await client.query(
      "update audit.rule_values set last_at = last_at - interval '15 days' where organization_id = $1 and value = 'NZ'",
      [organization],
    );
    await writeAt(admin, [login(11, away)]);
    expect(await raised()).toEqual(["Login from a new country"]);
  });
});

describe("travel", () => {
  const RULE = "00000000-0000-4000-a000-000000000606";
  const [BERLIN, HAMBURG, NEW_YORK, NEW_ZEALAND] = ["198.51.100.1", "198.51.100.129", "192.0.2.1", "203.0.113.1"];
  const ago = (hours: number) => new Date(Date.now() - hours * 3_600_000);
  type Login = { hours: number; ip: string; who?: string; chain?: number; action?: string; details?: object };
  /** Logins so many hours ago, written in this order. */
  async function logins(...list: Login[]): Promise<string[]> {
    for (const { hours, ip, who = ADA, chain = 1001, action = "user.login", details = {} } of list) {
      await writeAt(admin, [{
        organization,
        chain,
        at: ago(hours),
        action,
        outcome: action === "user.login" ? "success" : "failure",
        actor: who,
        details,
        identity: await identity(admin, organization, { user: who, ip }),
      }]);
      await evaluate();
    }
    return (await raised()).filter((title) => title === "Impossible travel");
  }
  const choose = (choice: object) =>
    client.query("select audit.choose_rule($1)", [
      JSON.stringify({ id: RULE, organization_id: organization, ...choice }),
    ]);
  const TOLD = ["Impossible travel"];

  test("from Berlin to New York in an hour, explained, with both entries", async () => {
    expect(await logins({ hours: 3, ip: BERLIN }, { hours: 2, ip: NEW_YORK })).toEqual(TOLD);
    const { rows } = await client.query(
      "select severity, group_key, entries, reason from audit.alerts where organization_id = $1",
      [organization],
    );
    // 6,385 km between the cities, whose addresses are each where they are said to be within 100; a slot is 86 seconds.
    expect(rows).toEqual([{
      severity: "low",
      group_key: `{"actor": "${ADA}"}`,
      entries: ["1001-1", "1001-2"],
      reason: {
        from: "Berlin, DE",
        to: "New York, US",
        km: 6184,
        hours: expect.closeTo(1.01, 1),
        km_per_hour: expect.closeTo(6100, -3),
        places_by: "Us, CC0",
        window: "1d",
      },
    }]);
  });
  test.each<[string, Login[], boolean]>([
    ["the first sight of somebody is no journey", [{ hours: 1, ip: NEW_YORK }], false],
    ["six hours to New York", [{ hours: 7, ip: BERLIN }, { hours: 1, ip: NEW_YORK }], true],
    ["six and a half hours to New York", [{ hours: 7.5, ip: BERLIN }, { hours: 1, ip: NEW_YORK }], false],
    ["a minute to Hamburg", [{ hours: 1.02, ip: BERLIN }, { hours: 1, ip: HAMBURG }], false],
    ["to somewhere in New Zealand in fifteen hours", [{ hours: 16, ip: BERLIN }, { hours: 1, ip: NEW_ZEALAND }], true],
    [
      "to somewhere in New Zealand in seventeen hours",
      [{ hours: 18, ip: BERLIN }, { hours: 1, ip: NEW_ZEALAND }],
      false,
    ],
    ["to a private address", [{ hours: 2, ip: BERLIN }, { hours: 1, ip: "10.0.0.1" }], false],
    ["to an address that nobody knows", [{ hours: 2, ip: BERLIN }, { hours: 1, ip: "192.0.2.200" }], false],
    ["to what is no address", [{ hours: 2, ip: BERLIN }, { hours: 1, ip: "a host" }], false],
    ["of two people", [{ hours: 2, ip: BERLIN }, { hours: 1, ip: NEW_YORK, who: BOB }], false],
    [
      "a login there that failed",
      [{ hours: 2, ip: BERLIN }, { hours: 1, ip: NEW_YORK, action: "user.login_failed" }],
      false,
    ],
    ["written in another order", [{ hours: 1, ip: NEW_YORK }, { hours: 2, ip: BERLIN, chain: 1002 }], true],
    ["in another order, slowly", [{ hours: 1, ip: NEW_YORK }, { hours: 9, ip: BERLIN, chain: 1002 }], false],
    [
      "a line of a log of nine hours before",
      [{ hours: 1.1, ip: BERLIN, details: { source: "log", happened_at: ago(10).toISOString() } }, {
        hours: 1,
        ip: NEW_YORK,
      }],
      false,
    ],
    [
      "a line of a log that comes nine hours late",
      [{ hours: 10, ip: BERLIN }, {
        hours: 1,
        ip: NEW_YORK,
        details: { source: "log", happened_at: ago(9).toISOString() },
      }],
      true,
    ],
    [
      "what a client says of the time is not believed",
      [
        { hours: 1.1, ip: BERLIN, details: { reported_by: "client", happened_at: ago(10).toISOString() } },
        { hours: 1, ip: NEW_YORK },
      ],
      true,
    ],
    [
      "a time that is none is as if it were not said",
      [{ hours: 1.1, ip: BERLIN, details: { happened_at: "2026-99-99T99:99:99Z" } }, { hours: 1, ip: NEW_YORK }],
      true,
    ],
  ])("%s", async (_, list, told) => {
    expect(await logins(...list)).toEqual(told ? TOLD : []);
  });
  test.each<[string, object, boolean]>([
    ["the company's network is allowed", { allowed: ["192.0.2.0/28"] }, false],
    ["its country is", { allowed: ["US"] }, false],
    ["another network is", { allowed: ["192.0.3.0/24", "FR"] }, true],
    ["all is as it was", { allowed: null }, true],
    ["only what is faster counts", { speed: 8000 }, false],
    ["only what is farther counts", { distance: 6500 }, false],
  ])("%s", async (_, choice, told) => {
    await choose(choice);
    expect(await logins({ hours: 2, ip: BERLIN }, { hours: 1, ip: NEW_YORK })).toEqual(told ? TOLD : []);
  });
  test("of an account at 1,000 places, in time", async () => {
    await admin.query(`
      insert into audit.places (id, country, city, latitude, longitude, radius_km)
        select 1000 + n, 'XX', 'City ' || n, (n * 7919) % 170 - 85, (n * 104729) % 360 - 180, 100 from generate_series(0, 999) n;
      insert into audit.place_ranges select '10.99.0.0'::inet + n, 1000 + n from generate_series(0, 999) n;
      insert into audit.place_ranges values ('10.99.4.0', null);
    `);
    const entries = [];
    for (let n = 0; n < 1000; n++) {
      entries.push({
        organization,
        chain: 1001,
        at: new Date(Date.now() - (1000 - n) * 60_000),
        action: "user.login",
        actor: ADA,
        identity: await identity(admin, organization, { user: ADA, ip: `10.99.${n >> 8}.${n % 256}` }),
      });
    }
    await writeAt(admin, entries);
    const begun = performance.now();
    expect((await raised()).filter((title) => title === "Impossible travel")).toEqual(TOLD);
    expect(performance.now() - begun).toBeLessThan(10_000);
  });
});

describe("hours", () => {
  const RULE = "00000000-0000-4000-a000-000000000605";
  const at = (clock: string, zone: string) => ({
    organization,
    chain: 1001,
    at: `${clock} ${zone}`,
    action: "settings.viewed",
    actor: ADA,
  });
  /** The Monday of last week and its neighbours, as dates. */
  const monday = new Date(Date.now() - 7 * 86_400_000);
  monday.setUTCDate(monday.getUTCDate() - (monday.getUTCDay() + 6) % 7);
  const date = (days: number) => new Date(monday.getTime() + days * 86_400_000).toISOString().slice(0, 10);
  const choose = (hours: unknown) =>
    client.query("select audit.choose_rule($1)", [JSON.stringify({ id: RULE, organization_id: organization, hours })]);
  const threeAt = (clock: string, zone: string) =>
    writeAt(admin, [0, 1, 2].map((second) => at(`${clock}:0${second}`, zone)));

  test.each([
    ["Asia/Kathmandu", "before eight", 0, "07:58", true],
    ["Asia/Kathmandu", "from eight", 0, "08:00", false],
    ["Asia/Kathmandu", "half past six", 0, "18:29", false],
    ["Asia/Kathmandu", "after half past six", 0, "18:31", true],
    ["Asia/Kathmandu", "Saturday", 5, "11:00", true],
    ["Europe/Berlin", "in the morning", 2, "09:00", false],
  ])("set to 08:00 to 18:30 on workdays in %s: %s", async (zone, _, day, clock, alerts) => {
    await client.query("select audit.configure('time_zone', $1, $2)", [JSON.stringify(zone), organization]);
    await choose({ days: [1, 2, 3, 4, 5], from: "08:00", to: "18:30" });
    await threeAt(`${date(day)} ${clock}`, zone);
    expect(await raised()).toEqual(alerts ? ["Activity at unusual hours"] : []);
  });
  test.each([[0, "23:00", false], [1, "05:59", false], [1, "06:01", true], [5, "05:30", false], [5, "23:00", true], [
    6,
    "03:00",
    true,
  ]])(
    "set to 22:00 to 06:00 on workdays, across midnight: day %s, %s",
    async (day, clock, alerts) => {
      await choose({ days: [1, 2, 3, 4, 5], from: "22:00", to: "06:00" });
      await threeAt(`${date(day)} ${clock}`, "UTC");
      expect(await raised()).toEqual(alerts ? ["Activity at unusual hours"] : []);
    },
  );
  test("when clocks change, hours are those on the wall", async () => {
    const { rows } = await client.query(
      `select audit.is_at_work('{"days": [7], "from": "02:00", "to": "03:00"}', t at time zone 'Europe/Berlin') as at_work
       from unnest(array['2026-03-29 00:59Z', '2026-03-29 01:00Z', '2026-10-25 00:30Z', '2026-10-25 01:30Z', '2026-10-25 02:00Z']::timestamptz[]) t`,
    );
    // In spring two o'clock does not come; in autumn it comes twice.
    expect(rows.map((row) => row.at_work)).toEqual([false, false, true, true, false]);
  });
  test("learned: who works by day is told of a night, and of no evening that is usual", async () => {
    const days = Array.from({ length: 50 }, (_, n) => n - 50).filter((n) => ((n % 7) + 7) % 7 < 5);
    await writeAt(admin, days.flatMap((n) => ["09", "13", "17"].map((hour) => at(`${date(n)} ${hour}:10`, "UTC"))));
    await evaluate();
    await threeAt(`${date(0)} 10:00`, "UTC");
    expect(await raised()).toEqual([]);
    await threeAt(`${date(1)} 03:00`, "UTC");
    expect(await raised()).toEqual(["Activity at unusual hours"]);
    // Two actions are no activity.
    organization = crypto.randomUUID();
    await writeAt(admin, days.map((n) => at(`${date(n)} 09:10`, "UTC")));
    await evaluate();
    await writeAt(admin, [at(`${date(1)} 03:00`, "UTC"), at(`${date(1)} 03:01`, "UTC")]);
    expect(await raised()).toEqual([]);
  });
});

describe("keys, roles and guards", () => {
  test("a key is added, changed, deleted", async () => {
    const [key] =
      (await client.query("insert into public.api_keys (organization_id) values ($1) returning id", [organization]))
        .rows;
    expect(await raised()).toEqual(["API key added"]);
    await client.query("update public.api_keys set last_used_at = now() where id = $1", [key.id]);
    expect(await raised()).toEqual(["API key added"]);
    await client.query("update public.api_keys set name = 'Other' where id = $1", [key.id]);
    expect(await raised()).toEqual(["API key added", "API key changed"]);
    await client.query("delete from public.api_keys where id = $1", [key.id]);
    expect(await raised()).toEqual(["API key added", "API key changed", "API key deleted"]);
  });
  test("a role is escalated, not lowered", async () => {
    await client.query("insert into public.organization_members values ($1, $2, 'viewer'), ($1, $3, 'member')", [
      organization,
      ADA,
      BOB,
    ]);
    await client.query("update public.organization_members set role = 'member' where user_id = $1", [ADA]);
    expect(await raised()).toEqual([]);
    await client.query("update public.organization_members set role = 'admin' where user_id = $1", [ADA]);
    expect(await raised()).toEqual(["Administrator made"]);
    await client.query("update public.organization_members set role = 'viewer' where user_id = $1", [ADA]);
    await client.query("insert into public.organization_members values ($1, gen_random_uuid(), 'admin')", [
      organization,
    ]);
    expect(await raised()).toEqual(["Administrator made", "Administrator made"]);
  });
  test("a table is untracked; tracking one is nothing", async () => {
    const system = "00000000-0000-0000-0000-000000000000";
    await client.query("create table public.leases (id int primary key, organization_id uuid)");
    await client.query("select audit.track('public.leases')");
    const before = await raised(system);
    await client.query("select audit.untrack('public.leases')");
    expect(await raised(system)).toEqual([...before, "Capture weakened"].sort());
  });
  test("retention is shortened, a hold released", async () => {
    await client.query("select audit.place_hold($1, 'Case', 'Court')", [organization]);
    expect(await raised()).toEqual([]);
    await client.query("select audit.set_retention($1, 90, null)", [organization]);
    await client.query("select audit.release_hold($1, 'Case')", [organization]);
    expect(await raised()).toEqual(["Retention changed or hold released", "Retention changed or hold released"]);
  });
  test("verification fails, and stays open until somebody says that it is settled", async () => {
    await client.query("select audit.note_finding($1, 'chain_broken', '3-17', '{}')", [organization]);
    expect(await raised()).toEqual(["Verification failed"]);
    const { rows } = await client.query("select severity, state from audit.alerts where organization_id = $1", [
      organization,
    ]);
    expect(rows).toEqual([{ severity: "critical", state: "open" }]);
  });
});

describe("use and cost", () => {
  async function spend(cost: number, provider = "openai"): Promise<void> {
    const { rows } = await client.query(
      "insert into public.llm_queries (organization_id, provider) values ($1, $2) returning id",
      [organization, provider],
    );
    await client.query("insert into public.llm_responses (query_id, total_cost) values ($1, $2)", [rows[0].id, cost]);
  }
  const shares = async () => {
    await evaluate();
    const { rows } = await client.query(
      "select group_key::jsonb ->> 'share' as share, severity, occurrences::int as n from audit.alerts where organization_id = $1 order by opened_at, 1",
      [organization],
    );
    return rows.map(({ share, severity, n }) => `${share} ${severity} ${n}`).sort();
  };

  test("a budget at 50, 80, 100 percent and above, each once a period and limit", async () => {
    const [budget] =
      (await client.query('insert into public.budgets (organization_id, "limit") values ($1, 100) returning id', [
        organization,
      ])).rows;
    await spend(49.9);
    expect(await shares()).toEqual([]);
    await spend(0.1);
    expect(await shares()).toEqual(["50 medium 1"]);
    await spend(10);
    expect(await shares()).toEqual(["50 medium 1"]);
    await spend(20);
    await spend(20);
    expect(await shares()).toEqual(["50 medium 1", "80 medium 1", "100 high 1"].sort());
    await spend(0.01);
    await spend(50);
    expect(await shares()).toEqual(["50 medium 1", "80 medium 1", "100 high 1", "exceeded high 1"].sort());
    // Another limit is another budget: half of 300 is reached at once.
    await client.query('update public.budgets set "limit" = 300 where id = $1', [budget.id]);
    expect((await shares()).filter((share) => share.startsWith("50"))).toEqual(["50 medium 1", "50 medium 1"]);
    await client.query("delete from public.budgets where id = $1", [budget.id]);
    await spend(1000);
    expect(await shares()).toHaveLength(5);
  });
  test("a budget of one provider counts its costs only; one that changed is told of alone", async () => {
    const at = (entry: object) => ({
      organization,
      chain: 1001,
      at: new Date(Date.now() - 60_000),
      action: "query.completed",
      ...entry,
    });
    const budget = (id: string, limits: object) => ({
      action: "budget.created",
      resource: `budget/${id}`,
      details: { new: { limit_usd: 100, ...limits } },
    });
    const told = async () => {
      await evaluate();
      const { rows } = await client.query(
        `select (group_key::jsonb ->> 'budget') || ' ' || (group_key::jsonb ->> 'share') as told
         from audit.alerts where organization_id = $1 order by 1`,
        [organization],
      );
      return rows.map((row) => row.told);
    };
    await writeAt(admin, [
      at(budget("all", { alert_thresholds: [60] })),
      at(budget("openai", { provider: "openai" })),
      at({ cost: 55, provider: "anthropic" }),
      at({ cost: 45 }),
      at({ cost: 30, provider: "openai" }),
    ]);
    expect(await told()).toEqual(["all 60", "all exceeded"]);
    await writeAt(admin, [at({ cost: 25, provider: "openai" })]);
    expect(await told()).toEqual(["all 60", "all exceeded", "openai 50"]);
    await writeAt(admin, [
      at({ action: "budget.updated", resource: "budget/openai", details: { changes: { limit_usd: { new: 60 } } } }),
    ]);
    expect(await told()).toEqual(["all 60", "all exceeded", "openai 50", "openai 50", "openai 80"]);
  });
  test("a new period begins where the organisation is", async () => {
    await client.query("select audit.configure('time_zone', '\"Asia/Kathmandu\"', $1)", [organization]);
    const at = (clock: string, entry: object) => ({
      organization,
      chain: 1001,
      at: clock,
      action: "query.completed",
      ...entry,
    });
    const month = new Date(Date.now() - 40 * 86_400_000).toISOString().slice(0, 7);
    await writeAt(admin, [
      at(`${month}-01 00:00 Asia/Kathmandu`, {
        action: "budget.created",
        resource: "budget/1",
        details: { new: { limit_usd: 100, period: "daily" } },
      }),
      at(`${month}-02 23:59 Asia/Kathmandu`, { cost: 45 }),
      at(`${month}-03 00:01 Asia/Kathmandu`, { cost: 45 }),
    ]);
    expect(await shares()).toEqual([]);
    await writeAt(admin, [at(`${month}-03 23:58 Asia/Kathmandu`, { cost: 10 })]);
    expect(await shares()).toEqual(["50 medium 1"]);
  });
  test("a hundred queries of one actor in ten minutes", async () => {
    const query = (n: number, who: string) =>
      client.query(
        "insert into public.llm_queries (organization_id, user_id) select $1, $2 from generate_series(1, $3::int)",
        [organization, who, n],
      );
    await query(99, ADA);
    await query(60, BOB);
    expect(await raised()).toEqual([]);
    await query(1, ADA);
    await query(30, ADA);
    expect(await raised()).toEqual(["Batch of queries"]);
  });
  test("a provider that nobody used for two weeks; with a list, every one that is not on it", async () => {
    const day = (n: number, provider: string) => ({
      organization,
      chain: 1001,
      at: new Date(Date.now() - (10 - n) * 86_400_000),
      action: "query.executed",
      provider,
    });
    await writeAt(admin, [0, 1, 2, 3, 4].map((n) => day(n, "openai")));
    expect(await raised()).toEqual([]);
    await writeAt(admin, [day(5, "openai"), day(6, "unheard-of"), day(7, "unheard-of")]);
    expect(await raised()).toEqual(["Unexpected provider"]);
    await client.query("select audit.choose_rule($1)", [
      JSON.stringify({
        id: "00000000-0000-4000-a000-000000000623",
        organization_id: organization,
        allowed: ["openai"],
      }),
    ]);
    await writeAt(admin, [day(8, "openai"), day(9, "perplexity")]);
    expect(await raised()).toEqual(["Unexpected provider", "Unexpected provider"]);
  });
  test("many exports, and a large one of the log", async () => {
    for (let n = 0; n < 9; n++) await record("data.exported");
    expect(await raised()).toEqual([]);
    await record("data.exported");
    expect(await raised()).toEqual(["Many exports"]);
    await client.query("select audit.record($1, 'log.exported', 'export', null, '{\"entries\": 99999}')", [
      organization,
    ]);
    expect(await raised()).toEqual(["Many exports"]);
    await client.query("select audit.record($1, 'log.exported', 'export', null, '{\"entries\": 1}')", [organization]);
    expect(await raised()).toEqual(["Large export of the log", "Many exports"]);
  });
});

describe("the product itself", () => {
  const SYSTEM = "00000000-0000-0000-0000-000000000000";
  const open = async () => {
    await client.query("select audit.run_checks()");
    const { rows } = await client.query(
      // Entries of past months stand in the default partition, which is not what these are about.
      `select distinct a.title from audit.alerts a join audit.rules r on r.id = a.rule_id
       where a.organization_id = $1 and a.state <> 'resolved' and r.settings ? 'check' and a.group_key not like '%audit_logs%' order by 1`,
      [SYSTEM],
    );
    return rows.map(({ title }) => title);
  };

  test("capture that is not whole, sealing, archive, rules and index that are behind: raised, and over when in order again", async () => {
    await evaluate();
    await client.query("select audit.index_entries()");
    await client.query("select audit.track_known_tables()");
    const usual = await open();
    await admin.query(`
      alter event trigger audit_on_ddl_command_end disable;
      alter table public.api_keys disable trigger audit_insert;
      alter event trigger audit_on_ddl_command_end enable;
    `);
    await admin.query(
      "insert into audit.logs (organization_id, month, origin, sequenced, size, published) values ($1, '2020-01-01', 'x', 1, 1, 1)",
      [organization],
    );
    await writeAt(admin, [{
      organization,
      chain: 1001,
      at: new Date(Date.now() - 3 * 3_600_000),
      action: "thing.made",
    }]);
    expect(await open()).toEqual(
      [
        ...new Set([
          ...usual,
          "Capture is not whole",
          "Rules are behind",
          "Sealing is behind",
          "The search index is behind",
        ]),
      ].sort(),
    );
    await client.query("select audit.track('public.api_keys')");
    await admin.query("delete from audit.logs where origin = 'x'");
    await evaluate();
    await client.query("select audit.index_entries()");
    expect(await open()).toEqual(usual);
  });
  test("a schedule that fails", async () => {
    await admin.query(
      "insert into cron.job_run_details (jobid, status, start_time, return_message) select jobid, 'failed', now(), 'no' from cron.job where jobname = 'audit-purge'",
    );
    expect(await open()).toContain("A schedule fails");
    await admin.query(
      "insert into cron.job_run_details (jobid, status, start_time) select jobid, 'succeeded', now() from cron.job where jobname = 'audit-purge'",
    );
    expect(await open()).not.toContain("A schedule fails");
  });
  test("an archive that is not read back, until it is", async () => {
    const { rows: [log] } = await admin.query(
      `insert into audit.logs (organization_id, month, origin, sequenced, size, published, sealed_at)
       values ($1, '2020-03-01', 'z', 1, 1, 1, now() - interval '3 days') returning id`,
      [organization],
    );
    const titles = async () => {
      await client.query("select audit.run_checks()");
      const { rows } = await client.query(
        "select title from audit.alerts where organization_id = $1 and state <> 'resolved'",
        [organization],
      );
      return rows.map(({ title }) => title);
    };
    // Where nothing was ever read back, reading back is not set up.
    expect(await titles()).toEqual([]);
    await admin.query(
      "insert into audit.readings (log, again, begun_at, ended_at) values ($1, false, now() - interval '3 days', now() - interval '3 days')",
      [log.id],
    );
    expect(await titles()).toEqual(["The archive is not read back"]);
    await admin.query("update audit.logs set read_back = 1 where id = $1", [log.id]);
    expect(await titles()).toEqual([]);
    await admin.query("delete from audit.readings; delete from audit.logs where origin = 'z'");
  });
  test("an alert that waits for its channel for ten minutes, or was given up", async () => {
    await client.query("select audit.create_channel($1)", [
      JSON.stringify({
        organization_id: organization,
        kind: "webhook",
        name: "ops",
        url: "https://hooks.example.com/",
      }),
    ]);
    const { rows: [delivery] } = await admin.query(
      `select audit.queue_message(c, $1, 'alert.opened', '{"title": "T"}') as id from audit.channels c where c.organization_id = $1`,
      [organization],
    );
    const state = async (change: string) => {
      await admin.query(`update audit.deliveries set ${change} where id = $1`, [delivery.id]);
      await client.query("select audit.run_checks()");
      const { rows } = await client.query(
        "select reason - 'oldest' as reason from audit.alerts where organization_id = $1 and state <> 'resolved' and title = 'Alerts are not delivered'",
        [organization],
      );
      return rows.map(({ reason }) => reason);
    };
    expect(await state("created_at = now() - interval '9 minutes'")).toEqual([]);
    expect(await state("created_at = now() - interval '11 minutes'")).toEqual([
      expect.objectContaining({ waiting: 1 }),
    ]);
    expect(await state("state = 'delivered', settled_at = now()")).toEqual([]);
    expect(await state("state = 'dead'")).toEqual([expect.objectContaining({ given_up: 1 })]);
    await admin.query("delete from audit.channels where organization_id = $1", [organization]);
  });
  test("a receiver without checkpoints", async () => {
    await admin.query(
      "insert into audit.receivers (kind, name, all_logs, registered_at) values ('webhook', 'far', true, now() - interval '3 days')",
    );
    await admin.query(
      "insert into audit.logs (organization_id, month, origin, sequenced, size, published) values ($1, '2020-02-01', 'y', 1, 1, 1)",
      [organization],
    );
    await admin.query(
      "insert into audit.receiver_logs (receiver, log, newest, size) select r.id, l.id, 1, 0 from audit.receivers r, audit.logs l where r.name = 'far' and l.origin = 'y'",
    );
    expect(await open()).toContain("Checkpoints do not leave");
  });
  test("the week in digests: activity and costs, at the hour of the organisation, once", async () => {
    await client.query("select audit.configure('time_zone', '\"Asia/Kathmandu\"', $1)", [organization]);
    // Monday, 2 March 2026, eight in Kathmandu.
    const monday = new Date("2026-03-02T02:15:00Z");
    const made = async (at: Date) => {
      await client.query("select audit.run_digests('1 minute', $1)", [at]);
      const { rows } = await client.query(
        "select title, state, group_key::jsonb ->> 'week' as week, reason from audit.alerts where organization_id = $1 and severity = 'info' order by opened_at, title desc",
        [organization],
      );
      return rows;
    };
    expect(await made(new Date(monday.getTime() - 3 * 86_400_000))).toEqual([]);
    await writeAt(admin, [
      { organization, chain: 1001, at: new Date(monday.getTime() - 8 * 86_400_000), action: "too.early", cost: 1 },
      {
        organization,
        chain: 1001,
        at: new Date(monday.getTime() - 86_400_000),
        action: "query.completed",
        actor: ADA,
        provider: "openai",
        cost: 3,
      },
      {
        organization,
        chain: 1001,
        at: new Date(monday.getTime() - 3_600_000),
        action: "query.failed",
        outcome: "failure",
        actor: BOB,
      },
      { organization, chain: 1001, at: monday, action: "too.late", cost: 1 },
    ]);
    expect(await made(new Date(monday.getTime() - 1000))).toEqual([]);
    const digests = await made(monday);
    expect(digests.map(({ title, state, week }) => [title, state, week])).toEqual(
      [["Weekly costs", "resolved", "2026-02-23"], ["Weekly activity", "resolved", "2026-02-23"]].sort(),
    );
    const activity = digests.find(({ title }) => title === "Weekly activity")!.reason;
    expect(activity).toMatchObject({ entries: 2, not_successful: 1, time_zone: "Asia/Kathmandu" });
    const costs = digests.find(({ title }) => title === "Weekly costs")!.reason;
    expect(costs).toMatchObject({
      cost: "3",
      providers: [{ provider: "openai", cost: "3", count: 1 }],
      dearest: [{ entry: "1001-2", cost: "3" }],
    });
    expect(await made(new Date(monday.getTime() + 3_600_000))).toHaveLength(2);
  });
});

test("samples of the defaults raise what they say", async () => {
  const { rows } = await client.query("select * from audit.test_rules() where not passed");
  expect(rows).toEqual([]);
  const { rows: untested } = await client.query(
    "select r.name from audit.rules r where r.compiled is not null and audit.is_built_in(r.id) and not exists (select from audit.rule_tests t where t.rule_id = r.id)",
  );
  expect(untested).toEqual([]);
});
