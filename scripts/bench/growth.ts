// Whether capture slows down as the log grows: the same loads in an empty log and in one of millions of entries, both in
// one cluster, in turn. In either one the load's organisations have chains when it is measured; in the large one, a past.
import type pg from "pg";
import { databaseUrl } from "../stack/postgres.ts";
import { BULK } from "./bulk.ts";
import type { Commit } from "./cluster.ts";
import { type LogDatabase, withLogDatabase } from "./generated_log_database.ts";
import { runLoad } from "./load.ts";
import { type Machine, readMachine } from "./machine.ts";
import { SAMPLE_TABLE, sessionSettings } from "./sample.ts";
import type { Metrics, Scenario } from "./scenario.ts";
import { mean, median } from "./statistics.ts";
import { GROWTH_BAR, judge, type Judged } from "./targets.ts";
import { type Database, makeTemplate, withClient, withDatabase } from "./variants.ts";
import { WRITERS } from "./writers.ts";

export const GROWTH_SCENARIOS: Scenario[] = [...WRITERS, BULK[0]!];

/** Ten million entries are too large for memory. */
export const GROWTH_COMMIT = "1ms+disk" satisfies Commit;

export type GrowthOptions = {
  entries: number;
  seconds: number;
  rounds: number;
  keep?: string;
  dir?: string;
  onProgress(line: string): void;
};

export type GrowthRun = { scenario: string; log: "empty" | "large"; round: number; metrics: Metrics };

export type GrowthReport = {
  machine: Machine;
  entries: number;
  /** How many of them are in the partition that the load writes to: it has only these indexes to descend. */
  month: number;
  /** Of an entry of the large log before the load: in the table, and in each of its indexes. */
  bytes: Record<string, number>;
  runs: GrowthRun[];
  /** All of the large log in the end. */
  verified: { entries: number; seconds: number };
  targets: Judged[];
};

/** The widest of the loads: it makes all heads, and takes the first writes after a checkpoint, which log whole pages. */
const WARM_UP = { clients: 16, organizations: 100, seconds: 3 };

/** Before each round: an empty table of the application, and what the planner knows is true. */
const READY = [
  "set event_triggers = off",
  "truncate public.llm_queries",
  "vacuum (analyze) public.llm_queries, audit.heads, audit.identities",
  "create temp table before as select organization_id, chain, seq, hash from audit.heads",
  "checkpoint",
];

/** Capture never touches the search index: the job that follows it runs in neither log, and the generated one has none. */
export function benchGrowth(options: GrowthOptions): Promise<GrowthReport> {
  const { entries, rounds, onProgress } = options;
  return withLogDatabase(
    { ...options, searched: false, commit: GROWTH_COMMIT },
    (log) =>
      withLargeLog(log, async (large) => {
        const machine = await readMachine(large.adminUrl);
        const bytes = await withClient(large.adminUrl, bytesPerEntry);
        const month = await withClient(large.adminUrl, entriesOfMonth);
        const runs: GrowthRun[] = [];
        for (const scenario of GROWTH_SCENARIOS) {
          for (let round = 0; round < rounds; round++) {
            await withDatabase(log.cluster, "ours", async (empty) => {
              const own = await compare({ empty, large }, scenario, { ...options, round });
              runs.push(...own);
              const each = (["empty", "large"] as const).map((log) => `${log} ${meanOf(own, log).toFixed(0)}`).join(
                ", ",
              );
              const ratio = roundRatios(own, scenario.name)[0]!.toFixed(3);
              onProgress(`  ${scenario.name} ${round + 1}/${rounds}: ${each} rows/s; ratio ${ratio}`);
            });
          }
        }
        const verified = await withClient(large.adminUrl, verifyAll);
        const targets = GROWTH_SCENARIOS.map(({ name, title }) =>
          judge(
            { title: `${title}: throughput in the large log, of the empty one`, ...GROWTH_BAR },
            median(roundRatios(runs, name)),
          )
        );
        return { machine, entries, month, bytes, runs, verified, targets };
      }),
  );
}

/** Rows a second. */
export function throughput({ tps, us_per_row }: Metrics): number {
  return tps ?? 1e6 / us_per_row!;
}

/** The large log's throughput of the empty one's, round by round. */
export function roundRatios(runs: GrowthRun[], scenario: string): number[] {
  const own = runs.filter((run) => run.scenario === scenario);
  return [...new Set(own.map(({ round }) => round))].map((round) => {
    const runsOfRound = own.filter((run) => run.round === round);
    return meanOf(runsOfRound, "large") / meanOf(runsOfRound, "empty");
  });
}

function meanOf(runs: GrowthRun[], log: GrowthRun["log"]): number {
  return mean(runs.filter((run) => run.log === log).map(({ metrics }) => throughput(metrics)));
}

/** In a copy, so that a kept log stays as it was made. */
function withLargeLog<T>({ cluster, name }: LogDatabase, work: (large: Database) => Promise<T>): Promise<T> {
  const large: Database = {
    variant: "ours",
    url: databaseUrl(cluster.port, "postgres", undefined, "large"),
    adminUrl: cluster.adminUrl("large"),
  };
  return withClient(cluster.adminUrl(), async (admin) => {
    const clear = async () => {
      for (const each of ["large", "run", "template_ours"]) {
        await admin.query(`drop database if exists ${each} with (force)`);
      }
    };
    await clear(); // an interrupted run has left them in a cluster that stays
    await makeTemplate(cluster, "ours");
    await admin.query(`create database large owner postgres template ${name} strategy file_copy`);
    await withClient(large.url, async (client) => {
      await client.query(SAMPLE_TABLE);
      await client.query("select audit.track('public.llm_queries')");
    });
    const result = await work(large);
    await clear();
    return result;
  });
}

/** Neither is always first, and what drifts during a round meets both alike. */
function compare(
  databases: Record<GrowthRun["log"], Database>,
  scenario: Scenario,
  options: { seconds: number; round: number },
): Promise<GrowthRun[]> {
  const { round, seconds } = options;
  const turns = round % 2 === 0
    ? ["empty", "large", "large", "empty"] as const
    : ["large", "empty", "empty", "large"] as const;
  return checked(databases.empty, () =>
    checked(databases.large, async () => {
      for (const { url } of Object.values(databases)) await runLoad(url, WARM_UP);
      const runs: GrowthRun[] = [];
      for (const log of turns) {
        // One statement is over in a moment, in which a checkpoint or vacuum weighs as much as the log.
        const end = performance.now() + seconds * 1000;
        do {
          runs.push({ scenario: scenario.name, log, round, metrics: await scenario.run(databases[log], options) });
        } while (performance.now() < end);
      }
      return runs;
    }));
}

async function checked<T>(database: Database, work: () => Promise<T>): Promise<T> {
  return withClient(database.adminUrl, async (admin) => {
    // For this database only: others of a cluster that stays are measured without.
    const { rows: [own] } = await admin.query<{ name: string }>("select current_database() as name");
    await admin.query(sessionSettings(own!.name));
    for (const statement of READY) await admin.query(statement);
    const result = await work();
    await checkWritten(admin);
    return result;
  });
}

/**
 * All that was written in the round: each entry as it was hashed, linked to the one before it, up to the heads; and one for
 * every row. audit.verify() would read a large log whole, and is asked in the end.
 */
async function checkWritten(admin: pg.Client): Promise<void> {
  const { rows: [found] } = await admin.query<Record<"rows" | "entries" | "broken" | "open", number>>(
    `with written as (
       select a.organization_id, a.chain, a.seq, a.hash,
         a.hash = audit.hash_of(audit.entry_text(a))
         and a.seq = coalesce(lag(a.seq) over in_chain, b.seq, 0) + 1
         and a.prev_hash = coalesce(
           lag(a.hash) over in_chain, b.hash, audit.first_prev_hash(a.organization_id, a.chain)
         ) as is_whole
       from public.audit_logs a
       left join before b using (organization_id, chain)
       where a.created_at > now() - interval '1 day' and a.seq > coalesce(b.seq, 0)
       window in_chain as (partition by a.organization_id, a.chain order by a.seq)
     )
     select (select count(*) from public.llm_queries)::int as rows,
       (
         select count(*) from written where organization_id in (select organization_id from public.llm_queries)
       )::int as entries,
       (select count(*) from written where is_whole is not true)::int as broken,
       (
         select count(*) from (
           (select organization_id, chain, seq, hash from audit.heads except table before)
           except
           select organization_id, chain, seq, hash from written
         ) h
       )::int as open`,
  );
  const { rows, entries, broken, open } = found!;
  if (broken > 0 || open > 0) {
    throw new Error(`${broken} entries that do not verify, ${open} heads without their entry`);
  }
  if (rows !== entries) throw new Error(`${rows} rows were written, but ${entries} entries`);
}

async function verifyAll(admin: pg.Client): Promise<GrowthReport["verified"]> {
  const start = performance.now();
  const { rows: [all] } = await admin.query<{ entries: number; broken: number }>(
    `select sum(entries)::int as entries, count(*) filter (where status <> 'verified')::int as broken from audit.verify()`,
  );
  if (all!.broken > 0) throw new Error(`${all!.broken} chains of the large log do not verify`);
  return { entries: all!.entries, seconds: (performance.now() - start) / 1000 };
}

async function bytesPerEntry(admin: pg.Client): Promise<GrowthReport["bytes"]> {
  const { rows } = await admin.query<{ part: string; bytes: number }>(
    `with partitions as (select relid from pg_partition_tree('public.audit_logs') where isleaf),
     parts as (
       select 'table' as part, pg_table_size(relid) as size from partitions
       union all
       select 'index ' || substring(pg_get_indexdef(i.indexrelid) from '\\(.*'), pg_relation_size(i.indexrelid)
       from partitions join pg_index i on i.indrelid = relid
     )
     select part, (sum(size) / (select count(*) from public.audit_logs))::float8 as bytes
     from parts group by part order by part = 'table' desc, bytes desc`,
  );
  return Object.fromEntries(rows.map(({ part, bytes }) => [part, bytes]));
}

async function entriesOfMonth(admin: pg.Client): Promise<number> {
  const { rows: [month] } = await admin.query<{ entries: number }>(
    "select count(*)::int as entries from public.audit_logs where created_at >= date_trunc('month', now(), 'UTC')",
  );
  return month!.entries;
}
