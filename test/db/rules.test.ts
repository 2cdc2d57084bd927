// Rules on new entries: what random rules raise on random entries, in whatever order these arrive, against a reference
// written from the rules' meaning and not from the SQL; and that each entry counts once, whoever dies or runs twice.
import fc from "fast-check";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { type EntryAt as AnyEntry, identity, writeAt } from "../../scripts/bench/entries_at.ts";
import { expectVerified } from "../support/log.ts";

let db: TestDatabase;
let admin: pg.Client;
let client: pg.Client;
let organization: string;

beforeAll(async () => {
  db = await createDatabase();
  admin = await db.connect("supabase_admin");
  client = await db.connect();
});
afterAll(() => db.drop());
beforeEach(() => {
  organization = crypto.randomUUID();
});
afterEach(() => expectVerified(client));

// ---------------------------------------------------------------------------------------------- reference

type EntryAt = AnyEntry & { at: Date };

type Rule = {
  kind: "event" | "count" | "distinct" | "sum" | "sequence";
  action: string;
  then?: string;
  window: number;
  threshold: number;
  grouped: boolean;
  quiet: number | null;
};

type Raised = { group: string; occurrences: number; first: number; last: number };

const ACTIONS = ["thing.made", "thing.read", "thing.lost"];
const ACTORS = [1, 2, 3].map((n) => `${n}0000000-0000-4000-8000-000000000000`);

/** The alerts of a rule on all entries, whatever their order. */
function reference(rule: Rule, entries: EntryAt[]): Raised[] {
  const slot = Math.max(1, Math.ceil(rule.window * 1e6 / (rule.kind === "sequence" ? 1e6 : 1000)));
  const span = Math.ceil(rule.window * 1e6 / slot);
  const hits = entries.flatMap((entry) => {
    const group = rule.grouped ? JSON.stringify(entry.actor ?? null) : "";
    const at = entry.at.getTime();
    const hit = { group, at, slot: Math.floor(at * 1000 / slot), value: entry.provider, cost: entry.cost };
    const steps = [];
    if (entry.action === rule.action && (rule.kind !== "distinct" || hit.value) && (rule.kind !== "sum" || hit.cost)) {
      steps.push({ ...hit, step: "first" });
    }
    if (rule.kind === "sequence" && entry.action === rule.then) steps.push({ ...hit, step: "then" });
    return steps;
  });
  const firing = hits.filter((hit) => {
    if (rule.kind === "event") return true;
    if (rule.kind === "sequence" && hit.step !== "then") return false;
    const within = hits.filter((other) =>
      other.group === hit.group && other.slot <= hit.slot && other.slot >= hit.slot - span &&
      (rule.kind !== "sequence" || other.step === "first")
    );
    const total = rule.kind === "distinct"
      ? new Set(within.map(({ value }) => value)).size
      : rule.kind === "sum"
      ? within.reduce((sum, { cost }) => sum + cost!, 0)
      : within.length;
    return total >= rule.threshold;
  }).sort((one, other) => one.at - other.at);

  const raised: Raised[] = [];
  for (const { group, at } of firing) {
    const open = raised.filter((each) => each.group === group).at(-1);
    if (open !== undefined && (rule.quiet === null || at <= open.last + rule.quiet * 1000)) {
      open.occurrences += 1;
      open.last = at;
    } else {
      raised.push({ group, occurrences: 1, first: at, last: at });
    }
  }
  return raised.sort(inOrder);
}

const inOrder = (one: Raised, other: Raised) =>
  one.group < other.group ? -1 : one.group > other.group ? 1 : one.first - other.first;

const NOW = Math.floor(Date.now() / 1000) * 1000 - 3_600_000;

const aRule = (quiet: fc.Arbitrary<number | null>): fc.Arbitrary<Rule> =>
  fc.record({
    kind: fc.constantFrom("event", "count", "distinct", "sum", "sequence"),
    action: fc.constantFrom(...ACTIONS),
    then: fc.constantFrom(...ACTIONS),
    window: fc.constantFrom(1, 60, 600, 3600, 86_400, 31_536_000),
    threshold: fc.integer({ min: 1, max: 4 }),
    grouped: fc.boolean(),
    quiet,
  }).map((rule) => ({
    ...rule,
    // Times closer than a thousandth of the window are not told apart.
    quiet: rule.quiet === null || rule.kind === "event"
      ? rule.quiet
      : Math.max(rule.quiet, Math.ceil(rule.window / 1000)),
  }));

const someEntries: fc.Arbitrary<EntryAt[]> = fc.array(
  fc.record({
    // Beyond the slots of a server: a connection of ours that wrote in the chain would have moved its time.
    chain: fc.integer({ min: 1001, max: 1004 }),
    // Seconds and tenths of them ago: many at once, many far apart.
    at: fc.oneof(
      fc.integer({ min: 0, max: 50 }),
      fc.integer({ min: 0, max: 5000 }),
      fc.integer({ min: 0, max: 36_000 }),
    )
      .map((tenths) => new Date(NOW - tenths * 100)),
    action: fc.constantFrom(...ACTIONS),
    actor: fc.constantFrom(...ACTORS, undefined),
    provider: fc.constantFrom("a", "b", "c", undefined),
    cost: fc.constantFrom(1, 2, undefined),
  }),
  { minLength: 1, maxLength: 60 },
).map((entries) =>
  entries.map(({ actor, provider, cost, ...entry }) => ({
    ...entry,
    organization: "",
    ...(actor === undefined ? {} : { actor }),
    ...(provider === undefined ? {} : { provider }),
    ...(cost === undefined ? {} : { cost }),
  })).sort((one, other) => one.at.getTime() - other.at.getTime())
);

async function createRule(
  { kind, action, then, window, threshold, grouped, quiet }: Rule,
  of: string,
): Promise<string> {
  const { rows } = await client.query("select audit.create_rule($1) ->> 'id' as id", [JSON.stringify({
    organization_id: of,
    name: crypto.randomUUID(),
    kind,
    match: `action:${action}`,
    ...(grouped ? { group_by: ["actor"] } : {}),
    ...(kind === "event" ? {} : { window: `${window}s`, threshold }),
    ...(kind === "distinct" ? { value: "provider" } : {}),
    ...(kind === "sequence" ? { then: `action:${then}` } : {}),
    quiet_period: quiet === null ? null : `${quiet}s`,
  })]);
  return rows[0].id;
}

async function raisedBy(rule: string): Promise<Raised[]> {
  const { rows } = await client.query<{ group_key: string; occurrences: string; first: Date; last: Date }>(
    `select group_key, occurrences, first_seen_at as first, last_seen_at as last from audit.alerts where rule_id = $1`,
    [rule],
  );
  return rows.map(({ group_key, occurrences, first, last }) => ({
    group: group_key === "" ? "" : JSON.stringify(JSON.parse(group_key).actor),
    occurrences: Number(occurrences),
    first: first.getTime(),
    last: last.getTime(),
  })).sort(inOrder);
}

/** Evaluates until nothing waits; a batch has at most so many entries. */
async function evaluate(atMost = 10_000): Promise<void> {
  for (;;) {
    const { rows } = await client.query("select audit.evaluate_rules($1) as taken", [atMost]);
    // What alerts write is new, too.
    if (rows[0].taken === 0) return;
  }
}

const runs = { numRuns: 60 };

describe("against the reference", () => {
  test("in any order of arrival, in batches of any size, once over or as they come", async () => {
    await client.query("select audit.configure('alerts_per_hour', '1000')");
    await fc.assert(
      fc.asyncProperty(
        fc.array(aRule(fc.constant(null)), { minLength: 1, maxLength: 4 }),
        someEntries,
        // Which chain goes on next, and whether it is looked at then.
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 12 }), fc.boolean(), fc.integer({ min: 1, max: 30 })), {
          minLength: 1,
          maxLength: 30,
        }),
        async (rules, drafts, arrivals) => {
          const of = crypto.randomUUID();
          const entries = drafts.map((draft) => ({ ...draft, organization: of }));
          const ids = [];
          for (const rule of rules) ids.push(await createRule(rule, of));
          await evaluate();
          const chains = [1001, 1002, 1003, 1004].map((chain) => entries.filter((entry) => entry.chain === chain));
          for (let n = 0; chains.some((chain) => chain.length > 0); n++) {
            const [which, count, looked, atMost] = arrivals[n % arrivals.length]!;
            const left = chains.filter((chain) => chain.length > 0);
            await writeAt(admin, left[which % left.length]!.splice(0, count));
            if (looked) await client.query("select audit.evaluate_rules($1)", [atMost]);
          }
          await evaluate(arrivals[0]![3]);
          for (const [n, rule] of rules.entries()) {
            expect(await raisedBy(ids[n]!), JSON.stringify(rule)).toEqual(reference(rule, entries));
          }
        },
      ),
      runs,
    );
  }, 240_000);

  test("in order, with quiet periods, as each alert begins and ends", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(aRule(fc.constantFrom(1, 30, 600)), { minLength: 1, maxLength: 4 }),
        someEntries,
        fc.integer({ min: 1, max: 60 }),
        async (rules, drafts, atMost) => {
          const of = crypto.randomUUID();
          const entries = drafts.map((draft) => ({ ...draft, organization: of, chain: 1001 }));
          const ids = [];
          for (const rule of rules) ids.push(await createRule(rule, of));
          await evaluate();
          await writeAt(admin, entries);
          await evaluate(atMost);
          for (const [n, rule] of rules.entries()) {
            expect(await raisedBy(ids[n]!), JSON.stringify(rule)).toEqual(reference(rule, entries));
          }
          const { rows } = await client.query(
            `select count(*)::int as open from audit.alerts a join audit.rules r on r.id = a.rule_id
             where a.organization_id = $1 and a.state <> 'resolved' and a.last_seen_at + r.quiet_period < now()`,
            [of],
          );
          expect(rows[0].open).toBe(0);
        },
      ),
      runs,
    );
  }, 240_000);
});

describe("travel", () => {
  /** Circles, in degrees and kilometres, and an address in each. */
  const PLACES = [
    { ip: "198.51.100.1", country: "DE", latitude: 52.52, longitude: 13.405, radius: 100 },
    { ip: "198.51.101.1", country: "US", latitude: 40.713, longitude: -74.006, radius: 100 },
    { ip: "198.51.102.1", country: "PL", latitude: 52.2, longitude: 21, radius: 400 },
    { ip: "198.51.103.1", country: "NZ", latitude: -40.5, longitude: 173.2, radius: 2000 },
    { ip: "198.51.104.1", country: "ES", latitude: 40.4, longitude: -3.7, radius: 100 },
  ];
  type Sighting = { at: number; actor: string; place: number };

  /** The journeys of each, whatever the order in which they are told. */
  function journeys(sightings: Sighting[], names: string[]): Raised[] {
    const [slot, span] = [3_600_000 / 1000, 1000];
    const slotOf = ({ at }: Sighting) => Math.floor(at / slot);
    const km = (one: number, other: number) => {
      const [a, b] = [PLACES[one]!, PLACES[other]!];
      const [x, y] = [a, b].map(({ latitude, longitude }) => {
        const [north, east] = [latitude * Math.PI / 180, longitude * Math.PI / 180];
        return [Math.cos(north) * Math.cos(east), Math.cos(north) * Math.sin(east), Math.sin(north)];
      });
      return 6371 * Math.acos(x!.reduce((sum, each, n) => sum + each * y![n]!, 0)) - a.radius - b.radius;
    };
    const impossible = sightings.filter((to) =>
      sightings.some((from) =>
        from.actor === to.actor && km(from.place, to.place) >= 500 && slotOf(from) <= slotOf(to) &&
        slotOf(from) >= slotOf(to) - span &&
        (slotOf(from) < slotOf(to) || names[from.place]! < names[to.place]!) &&
        (slotOf(to) - slotOf(from) + 1) * slot < km(from.place, to.place) / 20_000 * 3_600_000
      )
    );
    return [...new Set(impossible.map(({ actor }) => actor))].map((actor) => {
      const times = impossible.filter((each) => each.actor === actor).map(({ at }) => at);
      return {
        group: JSON.stringify(actor),
        occurrences: times.length,
        first: Math.min(...times),
        last: Math.max(...times),
      };
    }).sort(inOrder);
  }

  test("in any order of arrival and in batches of any size", async () => {
    for (const [n, { ip, country, latitude, longitude, radius }] of PLACES.entries()) {
      await admin.query("insert into audit.places values ($1, $2, null, null, $3, $4, $5)", [
        n,
        country,
        latitude,
        longitude,
        radius,
      ]);
      await admin.query("insert into audit.place_ranges values ($1, $2)", [ip, n]);
    }
    let found = 0;
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({
            chain: fc.integer({ min: 1001, max: 1003 }),
            minutes: fc.integer({ min: 0, max: 200 }),
            actor: fc.constantFrom(...ACTORS.slice(0, 2)),
            place: fc.nat(PLACES.length - 1),
          }),
          { minLength: 2, maxLength: 30 },
        ),
        fc.array(fc.tuple(fc.nat(), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 20 })), {
          minLength: 1,
          maxLength: 15,
        }),
        async (drafts, arrivals) => {
          const of = crypto.randomUUID();
          const { rows: [made] } = await client.query("select audit.create_rule($1) ->> 'id' as id", [JSON.stringify({
            organization_id: of,
            name: "Travel",
            kind: "travel",
            match: "action:thing.seen",
            group_by: ["actor"],
            window: "1h",
            speed: 20_000,
            quiet_period: null,
          })]);
          const identities = new Map<string, Uint8Array>();
          const names = [];
          for (const [place, { ip }] of PLACES.entries()) {
            for (const actor of ACTORS.slice(0, 2)) {
              identities.set(`${actor} ${place}`, await identity(admin, of, { user: actor, ip }));
            }
            const { rows: [seen] } = await admin.query("select audit.sighting($1, $2, $3) as name", [
              identities.get(`${ACTORS[0]} ${place}`),
              of,
              made.id,
            ]);
            names.push(seen.name as string);
          }
          await evaluate();
          const entries = drafts.map(({ minutes, ...rest }) => ({ ...rest, at: NOW - minutes * 60_000 }))
            .sort((one, other) => one.at - other.at);
          const chains = [1001, 1002, 1003].map((chain) => entries.filter((entry) => entry.chain === chain));
          for (let n = 0; chains.some((chain) => chain.length > 0); n++) {
            const [which, count, atMost] = arrivals[n % arrivals.length]!;
            const left = chains.filter((chain) => chain.length > 0);
            await writeAt(
              admin,
              left[which % left.length]!.splice(0, count).map(({ chain, at, actor, place }) => ({
                organization: of,
                chain,
                at: new Date(at),
                action: "thing.seen",
                actor,
                identity: identities.get(`${actor} ${place}`)!,
              })),
            );
            await client.query("select audit.evaluate_rules($1)", [atMost]);
          }
          await evaluate();
          const expected = journeys(entries, names);
          found += expected.length;
          expect(await raisedBy(made.id)).toEqual(expected);
        },
      ),
      runs,
    );
    expect(found).toBeGreaterThan(20);
  }, 240_000);
});

describe("each entry once", () => {
  const MANY: Rule = {
    kind: "event",
    action: "thing.made",
    window: 1,
    threshold: 1,
    grouped: false,
    quiet: null,
  };
  const COUNT: Rule = { ...MANY, kind: "count", window: 86_400, threshold: 1 };

  async function occurrences(rules: string[]): Promise<number[]> {
    const counted = [];
    for (const rule of rules) counted.push((await raisedBy(rule)).reduce((sum, each) => sum + each.occurrences, 0));
    return counted;
  }

  test.each(["read committed", "repeatable read", "serializable"])(
    "writers, many evaluators at %s, each killed now and then",
    async (isolation) => {
      const rules = [await createRule(MANY, organization), await createRule(COUNT, organization)];
      await evaluate();
      let writing = true;
      const writers = (await db.connectAll(4)).map(async (writer) => {
        for (let n = 0; n < 40; n++) {
          await writer.query(
            `begin; select audit.record($1, 'thing.made') from generate_series(1, ${1 + n % 5})`.replace(
              "$1",
              `'${organization}'`,
            ),
          );
          // Some are never committed, some late.
          await writer.query(n % 7 === 0 ? "rollback" : "commit");
        }
      });
      const evaluators = Array.from({ length: 5 }, async (_, which) => {
        const killer = await db.connect("supabase_admin");
        for (let n = 0; writing; n++) {
          const evaluator = new pg.Client({ connectionString: db.url(), statement_timeout: 30_000 });
          evaluator.on("error", () => {});
          await evaluator.connect();
          const { rows } = await evaluator.query("select pg_backend_pid() as pid");
          const work = (async () => {
            for (let turn = 0; turn < 5; turn++) {
              await evaluator.query(`begin isolation level ${isolation}`);
              await evaluator.query("select audit.evaluate_rules($1)", [1 + (n + which) % 40]);
              // Not only in the middle: also between the last statement and the commit.
              await evaluator.query("commit");
            }
          })().catch((error) => {
            if (!/terminat|40001|57P01|not queryable/i.test(`${error.code} ${error.message}`)) throw error;
          });
          if (which > 0) {
            await new Promise((resolve) => setTimeout(resolve, (n * 7 + which * 3) % 25));
            await killer.query("select pg_terminate_backend($1)", [rows[0].pid]);
          }
          await work;
          await evaluator.end().catch(() => {});
        }
      });
      await Promise.all(writers);
      writing = false;
      await Promise.all(evaluators);
      await evaluate();
      const { rows } = await client.query(
        "select count(*)::int as entries from public.audit_logs where organization_id = $1 and action = 'thing.made'",
        [organization],
      );
      expect(rows[0].entries).toBeGreaterThan(100);
      expect(await occurrences(rules)).toEqual([rows[0].entries, rows[0].entries]);
    },
    60_000,
  );

  test("evaluated again, nothing is new; rolled back, everything still is", async () => {
    const rules = [await createRule(MANY, organization), await createRule(COUNT, organization)];
    await client.query("select audit.record($1, 'thing.made') from generate_series(1, 10)", [organization]);
    await client.query("begin");
    await client.query("select audit.evaluate_rules()");
    expect(await occurrences(rules)).toEqual([10, 10]);
    await client.query("rollback");
    expect(await occurrences(rules)).toEqual([0, 0]);
    await evaluate();
    await evaluate();
    expect(await occurrences(rules)).toEqual([10, 10]);
  });

  test("what was there before a rule is history, and what the rule is no longer about is forgotten", async () => {
    await client.query("select audit.record($1, 'thing.made') from generate_series(1, 10)", [organization]);
    await evaluate();
    const rule = await createRule({ ...COUNT, threshold: 3 }, organization);
    await client.query("select audit.record($1, 'thing.made') from generate_series(1, 2)", [organization]);
    await evaluate();
    expect(await occurrences([rule])).toEqual([0]);
    await client.query("select audit.change_rule($1)", [JSON.stringify({ id: rule, window: "2d" })]);
    await client.query("select audit.record($1, 'thing.made')", [organization]);
    await evaluate();
    expect(await occurrences([rule])).toEqual([0]);
    await client.query("select audit.record($1, 'thing.made') from generate_series(1, 2)", [organization]);
    await evaluate();
    expect(await occurrences([rule])).toEqual([3]);
  });

  test("what no window reaches is pruned, and nothing else", async () => {
    await createRule({ ...COUNT, window: 60 }, organization);
    const at = (minutes: number) => new Date(Date.now() - minutes * 60_000);
    await writeAt(
      admin,
      [300, 200, 61.5, 1, 0].map((minutes) => ({ organization, chain: 1001, at: at(minutes), action: "thing.made" })),
    );
    await evaluate();
    // What came late stays for an hour, for what comes with it.
    await client.query(
      "update audit.rule_windows set forget_at = forget_at - interval '60.5 minutes' where organization_id = $1",
      [organization],
    );
    await client.query("select audit.prune_rules()");
    const { rows } = await client.query(
      "select count(*)::int as slots from audit.rule_windows where organization_id = $1",
      [organization],
    );
    expect(rows[0].slots).toBe(2);
  });

  test("a rule that fails on an entry silences no other, and is a finding", async () => {
    const rules = [await createRule(MANY, organization), await createRule(COUNT, organization)];
    await admin.query(
      "update audit.rules set compiled = 'case when 1 / (e.seq - e.seq) = 1 then row($rule$, '''', '''', 1, null)::audit.rule_hit end' where id = $1",
      [rules[1]],
    );
    await client.query("select audit.record($1, 'thing.made') from generate_series(1, 3)", [organization]);
    await evaluate();
    expect(await occurrences(rules)).toEqual([3, 0]);
    const { rows } = await client.query(
      "select subject from audit.findings where kind = 'rule_failed' and organization_id = $1",
      [organization],
    );
    expect(rows).toEqual([{ subject: rules[1] }]);
    await client.query("select audit.delete_rule($1)", [JSON.stringify({ id: rules[1] })]);
  });
});
