// What the rules cost: evaluating 10,000 new entries with 50 rules, as a log grows; and what the defaults raise where
// nothing is wrong.
import type pg from "pg";
import { benchQuiet, type QuietReport } from "./alerts_quiet.ts";
import { RULES } from "./alerts_rules.ts";
import { type LogDatabase, withLogDatabase } from "./generated_log_database.ts";
import { type Machine, readMachine } from "./machine.ts";
import { schedule } from "./process_usage.ts";
import { median } from "./statistics.ts";
import { ALERT_GOALS, judge, type Judged } from "./targets.ts";
import { withClient } from "./variants.ts";

export type AlertsOptions = {
  entries: number[];
  rounds: number;
  keep?: string;
  dir?: string;
  onProgress(line: string): void;
};

/** Seconds of the backend's processor time, medians. */
export type EvaluationSize = { entries: number; burst: number; backlog: number; idle: number; slots: number };

export type AlertsReport = {
  machine: Machine;
  rules: number;
  sizes: EvaluationSize[];
  quiet: QuietReport;
  targets: Judged[];
};

const BATCH = 10_000;
const IN_FORCE = 50;

export async function benchAlerts(options: AlertsOptions): Promise<AlertsReport> {
  const sizes: EvaluationSize[] = [];
  let machine: Machine | undefined;
  for (const entries of options.entries) {
    options.onProgress(`${entries.toLocaleString("en")} entries`);
    await withLogDatabase({ ...options, entries, searched: false }, async (log) => {
      machine ??= await readMachine(log.adminUrl);
      sizes.push(await measureSize(log, entries, options));
    });
  }
  const quiet = await benchQuiet(options);
  const smallest = sizes[0]!;
  const largest = sizes.at(-1)!;
  const dearest = (size: EvaluationSize) => Math.max(size.burst, size.backlog);
  return {
    machine: machine!,
    rules: IN_FORCE,
    sizes,
    quiet,
    targets: [
      judge(ALERT_GOALS.evaluation, dearest(largest)),
      judge(
        ALERT_GOALS.growth,
        sizes.length < 2 ? undefined : Math.max(largest.burst / smallest.burst, largest.backlog / smallest.backlog),
      ),
      judge(ALERT_GOALS.quiet, quiet.alerts / quiet.organizationDays),
    ],
  };
}

async function measureSize(log: LogDatabase, entries: number, options: AlertsOptions): Promise<EvaluationSize> {
  await withClient(log.url, async (client) => {
    await client.query("select audit.skip_to_now()");
    await client.query("delete from audit.rules where organization_id = $1", [log.organization]);
    const { rows: [built] } = await client.query(
      "select count(*)::int as rules from audit.rules where compiled is not null",
    );
    for (const [n, rule] of RULES.slice(0, IN_FORCE - built.rules).entries()) {
      const request = { organization_id: log.organization, name: `Bench ${n}`, ...rule };
      await client.query("select audit.create_rule($1)", [JSON.stringify(request)]);
    }
    await client.query("select audit.skip_to_now()");
  });
  const measured: Record<"burst" | "backlog" | "idle", number[]> = { burst: [], backlog: [], idle: [] };
  let slots = 0;
  for (let round = 0; round < options.rounds; round++) {
    for (const kind of ["burst", "backlog", "idle"] as const) {
      // A connection each, as pg_cron makes them: planning is part of it. What it wrote is taken back.
      const { seconds, taken, held } = await withClient(
        log.url,
        (client) => measureOnce(client, log.organization, PREPARE[kind]),
      );
      if (kind !== "idle" && taken !== BATCH) throw new Error(`${taken} entries were evaluated, not ${BATCH}`);
      measured[kind].push(seconds);
      slots = Math.max(slots, held);
      options.onProgress(`  ${kind} ${round + 1}/${options.rounds}: ${seconds.toFixed(3)} s`);
    }
  }
  return {
    entries,
    burst: median(measured.burst),
    backlog: median(measured.backlog),
    idle: median(measured.idle),
    slots,
  };
}

async function measureOnce(client: pg.Client, organization: string, prepare: string[]) {
  const { rows: [backend] } = await client.query("select pg_backend_pid() as pid");
  await client.query("begin");
  for (const statement of prepare) await client.query(statement, statement.includes("$1") ? [organization] : []);
  const before = (await schedule(backend.pid)).ran;
  const { rows: [evaluated] } = await client.query("select audit.evaluate_rules($1) as taken", [BATCH]);
  const seconds = ((await schedule(backend.pid)).ran - before) / 1000;
  const { rows: [windows] } = await client.query("select count(*)::int as slots from audit.rule_windows");
  await client.query("rollback");
  return { seconds, taken: evaluated.taken as number, held: windows.slots as number };
}

const PREPARE = {
  // The newest entries of the organisation once more, all at this moment.
  burst: [
    `select audit.append_all(array_agg(row(
       e.organization_id, e.action, e.outcome, e.resource_type, e.resource_id, e.created_by, e.provider, e.cost, e.details, false
     )::audit.draft))
     from (select * from public.audit_logs where organization_id = $1 order by created_at desc limit ${BATCH}) e`,
  ],
  // As if nobody had looked at them yet: their times are those of days.
  backlog: [
    `with newest as (
       select e.chain, min(e.seq) - 1 as seq from (
         select chain, seq from public.audit_logs where organization_id = $1 order by created_at desc, chain desc, seq desc limit ${BATCH}
       ) e
       group by e.chain
     )
     update audit.rule_positions p set seq = n.seq, upto = n.seq, last_at = '-infinity'
     from newest n where p.organization_id = $1 and p.chain = n.chain`,
  ],
  idle: [],
};
