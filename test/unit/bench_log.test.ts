// The generated log of the benches: what is planned, and that what is written are valid entries.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generateLog } from "../../scripts/bench/generated_log.ts";
import { fillSearchIndex } from "../../scripts/bench/generated_log_index.ts";
import {
  actorEmail,
  actorId,
  apportion,
  type LogPlan,
  planLog,
  rareWord,
  stride,
  WORDS,
} from "../../scripts/bench/generated_log_plan.ts";
import { besideIndexJob } from "../../scripts/bench/index_job.ts";
import { requestClasses } from "../../scripts/bench/search_requests.ts";
import { seededRandom, shuffled } from "../../scripts/bench/random.ts";
import { withClient } from "../../scripts/bench/variants.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified } from "../support/log.ts";

const END = new Date("2026-11-23T06:00:00Z");
/** Entries of the installation itself: Auth's tables are captured. */
const INSTALLED = 6;

describe("plan", () => {
  test("gives the measured organisation exactly a tenth, and the others the rest, unevenly", () => {
    const plan = planLog({ entries: 10_000_000, seed: 1, end: END });
    const units = plan.organizations.map((organization) => organization.units);
    expect(units[0]! * 2).toBe(1_000_000);
    expect(units.reduce((a, b) => a + b) * 2).toBe(10_000_000);
    expect(units.filter((each) => each < 10_000).length).toBeGreaterThan(200);
    expect(Math.max(...units) * 2).toBeGreaterThan(1_000_000);
    expect(plan.start).toEqual(new Date("2025-09-23T06:00:00Z"));
  });

  test("names organisations as the load does, so that it writes for them", () => {
    const plan = planLog({ entries: 10_000_000, seed: 1, end: END });
    const md5OfOne = "c4ca4238-a0b9-2382-0dcc-509a6f75849b";
    expect(plan.organizations[0]!.id).toBe(md5OfOne);
    expect(plan.organizations.length).toBeGreaterThan(100);
  });

  test("refuses sizes that do not come out even", () => {
    expect(() => planLog({ entries: 1_000, seed: 1, end: END })).toThrow("at least 4,000");
    expect(() => planLog({ entries: 100_001, seed: 1, end: END })).toThrow("multiple of 40");
  });

  test("apportions without a rest", () => {
    expect(apportion(10, [1, 1, 1])).toEqual([3, 4, 3]);
    expect(apportion(7, [0, 5])).toEqual([0, 7]);
  });

  test.each([1, 2, 7, 30, 97, 1_000, 250_000])("strides visit all of %d places", (count) => {
    const visited = new Set(Array.from({ length: count }, (_, index) => index * stride(count) % count));
    expect(visited.size).toBe(count);
  });
});

describe("random", () => {
  test("comes again for the same seed, and shuffling keeps what it shuffles", () => {
    const random = () => {
      const next = seededRandom(7);
      return [next(), next(), next()];
    };
    expect(random()).toEqual(random());
    expect(shuffled([1, 2, 3, 4, 5], seededRandom(1)).sort()).toEqual([1, 2, 3, 4, 5]);
  });
});

describe("log", () => {
  const ENTRIES = 40_000;
  let db: TestDatabase;
  let plan: LogPlan;
  beforeAll(async () => {
    db = await createDatabase("product");
    plan = await generateLog(db.url(ADMIN), { entries: ENTRIES, seed: 1, end: END, onProgress: () => {} });
  });
  afterAll(() => db.drop());

  const one = async <T>(sql: string, values: unknown[] = []): Promise<T> => {
    const client = await db.connect();
    const { rows } = await client.query(sql, values);
    return rows[0] as T;
  };

  test("is whole: every chain verifies, every identity opens", async () => {
    const chains = await expectVerified(await db.connect());
    expect(chains.reduce((sum, { entries }) => sum + Number(entries), 0)).toBe(ENTRIES + INSTALLED);
    const { states } = await one<{ states: string[] }>(
      "select array_agg(distinct state) as states from audit.verify_identities()",
    );
    expect(states).toEqual(["verified"]);
  });

  test("has the planned entries, in secured partitions of 15 months, and in the order of time", async () => {
    const { measured, months } = await one<{ measured: string; months: string }>(
      `select count(*) filter (where organization_id = $1) as measured,
         count(distinct date_trunc('month', created_at, 'UTC')) filter (where created_at < $2) as months
       from public.audit_logs`,
      [plan.organizations[0]!.id, END],
    );
    expect([Number(measured), Number(months)]).toEqual([ENTRIES / 10, 15]);
    const { open } = await one<{ open: string }>(
      `select count(*) as open from audit.partition_ranges() r join pg_class c on c.oid = r.partition
       where not c.relrowsecurity or c.relowner <> 'postgres'::regrole
         or to_regclass(format('public.%I', c.relname || '_name_idx')) is null
         or has_table_privilege('authenticated', c.oid, 'select')`,
    );
    expect(Number(open)).toBe(0);
    // Two connections wrote side by side, so not without exception.
    const { ascending } = await one<{ ascending: number }>(
      `select avg((created_at >= before)::int)::float8 as ascending
       from (
         select created_at, lag(created_at) over (partition by tableoid order by ctid) as before from public.audit_logs
       ) entry
       where before is not null`,
    );
    expect(ascending).toBeGreaterThan(0.95);
    const { waiting } = await one<{ waiting: string }>("select count(*) as waiting from public.audit_logs_default");
    expect(Number(waiting)).toBe(0);
  });

  test("holds what the requests of the bench look for", async () => {
    const { words, batched, gone, denied } = await one<Record<string, boolean>>(
      `select
         bool_or(details::text ~ $1) as words,
         count(*) > count(distinct (organization_id, created_at)) as batched,
         max(created_at) filter (where provider = 'cohere') < $2 as gone,
         bool_or(outcome = 'denied') as denied
       from public.audit_logs`,
      [`${WORDS[0]} .*${rareWord(1)}`, new Date("2026-02-01")],
    );
    expect({ words, batched, gone, denied }).toEqual({ words: true, batched: true, gone: true, denied: true });
    const { email } = await one<{ email: string }>("select email from audit.identities where user_id = $1 limit 1", [
      actorId(plan.organizations[0]!.id, 3),
    ]);
    expect(email).toBe(actorEmail(1, 3));
  });

  test("is made again in the same way by another number of connections, and is not made twice", async () => {
    const other = await createDatabase("product");
    try {
      const again = { entries: ENTRIES, seed: 1, end: END, onProgress: () => {} };
      await generateLog(other.url(ADMIN), { ...again, workers: 1 });
      const heads = "select organization_id, chain, seq, hash from audit.heads order by 1, 2";
      const read = (url: string) => withClient(url, async (client) => (await client.query(heads)).rows);
      expect(await read(other.url(ADMIN))).toEqual(await read(db.url(ADMIN)));
      await generateLog(db.url(ADMIN), again);
      const { entries } = await one<{ entries: string }>("select count(*) as entries from public.audit_logs");
      expect(Number(entries)).toBe(ENTRIES + INSTALLED);
      await expect(generateLog(db.url(ADMIN), { ...again, seed: 2 })).rejects.toThrow("holds another log");
    } finally {
      await other.drop();
    }
  });
});

describe("search index", () => {
  let db: TestDatabase;
  beforeAll(async () => {
    db = await createDatabase("product");
    await generateLog(db.url(ADMIN), { entries: 4_000, seed: 1, end: END, onProgress: () => {} });
  });
  afterAll(() => db.drop());

  const SQL = `
    select i.organization_id, i.chain, i.seq, i.created_at, array(select unnest(i.terms) order by 1) as terms,
      p.seq as upto, p.last_at
    from audit.search_index i join audit.search_positions p using (organization_id, chain)
    order by 1, 2, 3`;
  const indexed = () => withClient(db.url(ADMIN), async (client) => (await client.query(SQL)).rows);
  const indexes = () =>
    withClient(db.url(ADMIN), async (client) => {
      const { rows } = await client.query(
        "select indexdef from pg_indexes where tablename = 'search_index' order by 1",
      );
      return rows;
    });

  test("is filled wholesale with what the job would have put there", async () => {
    const made = await indexes();
    await fillSearchIndex(db.url(ADMIN), () => {}, 1);
    const wholesale = await indexed();
    expect(wholesale).toHaveLength(4_000 + INSTALLED);
    expect(await indexes()).toEqual(made);
    const admin = await db.connect(ADMIN);
    await admin.query("select audit.rebuild_search_index()");
    const { result, indexing } = await besideIndexJob(db.url(ADMIN), 10, () => Promise.resolve("done"));
    expect(result).toBe("done");
    expect(indexing.entries).toBe(0); // they were there before the work began
    expect(await indexed()).toEqual(wholesale);
  });

  test("follows writers while work goes on, and the last of them after it", async () => {
    const client = await db.connect();
    const organization = crypto.randomUUID();
    const record = () => client.query("select audit.record($1, 'report.generated')", [organization]);
    const { indexing } = await besideIndexJob(db.url(), 20, async () => {
      await record();
      await expect.poll(async () => (await indexed()).length).toBe(4_001 + INSTALLED);
      await record();
    });
    expect(indexing.entries).toBe(2);
    expect(await indexed()).toHaveLength(4_002 + INSTALLED);
  });
});

test.each([40_000, 10_000_000])("people are searched for who are in a log of %d entries", (entries) => {
  const plan = planLog({ entries, seed: 1, end: END });
  const { id, actors } = plan.organizations[0]!;
  const people = new Set(Array.from({ length: actors }, (_, index) => actorId(id, index + 1)));
  const random = seededRandom(1);
  for (const { title, make } of requestClasses(plan)) {
    for (let turn = 0; turn < 50; turn++) {
      const [, actor] = /actor:([0-9a-f-]{36})/.exec(make(random).query ?? "") ?? [];
      if (actor !== undefined) expect(people.has(actor), title).toBe(!title.includes("never"));
    }
  }
});
