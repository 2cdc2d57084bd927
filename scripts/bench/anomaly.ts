// How good the anomaly detection is: audit.judge_activity(), as it is shipped, on series of NAB with NAB's scoring, and
// on quiet tenants that were made up, for false alerts.
import { withCluster } from "./cluster.ts";
import { type Machine, readMachine } from "./machine.ts";
import {
  falseAlerts,
  findNab,
  HOUR,
  hours,
  normalizedScore,
  PROFILE_NAMES,
  type ProfileName,
  PROFILES,
  rawScore,
  readSeries,
  type Series,
} from "./nab.ts";
import { seededRandom } from "./random.ts";
import { median, sum } from "./statistics.ts";
import { ANOMALY_GOALS, judge, type Judged } from "./targets.ts";
import { quietTenants, WARM_UP_DAYS } from "./quiet_tenants.ts";
import { makeTemplates, withClient, withDatabase } from "./variants.ts";
import type pg from "pg";

export type AnomalyOptions = {
  nab?: string;
  tenants: number;
  days: number;
  dir?: string;
  onProgress(line: string): void;
};

export type Scores = Record<ProfileName, number>;
export type SeriesScore = {
  name: string;
  windows: number;
  found: number;
  falseAlerts: number;
  quietDays: number;
  standard: number;
};
export type QuietScore = { kind: string; tenants: number; days: number; alerts: number };
export type AnomalyReport = {
  machine: Machine;
  series: SeriesScore[];
  /** On the six series that the numbers were chosen with. */
  chosen: Scores | undefined;
  /** On others of NAB's series, where its checkout is given. */
  heldOut: { series: number; scores: Scores } | undefined;
  /** With each series scored at the threshold that is best for the others. */
  leaveOneOut: Scores | undefined;
  /** At other thresholds and without a least number, on the six. */
  variants: { title: string; scores: Scores }[];
  quiet: QuietScore[];
  seconds: number;
  hours_judged: number;
  targets: Judged[];
};

const TUNED = [
  "realAWSCloudwatch/elb_request_count_8c0756.csv",
  ...["AAPL", "CRM", "FB", "KO", "PFE"].map(tweets),
];
const HELD_OUT = ["AMZN", "CVS", "GOOG", "IBM", "UPS"].map(tweets);

const VARIANTS = [
  { title: "as shipped: score 4, at least 50", parameters: {} },
  { title: "score 3.5", parameters: { score: 3.5 } },
  { title: "score 4.5", parameters: { score: 4.5 } },
  { title: "score 5", parameters: { score: 5 } },
  { title: "at least 100", parameters: { least_queries: 100 } },
  { title: "at least 1", parameters: { least_queries: 1 } },
];
/** Which of them differ in their threshold only. */
const THRESHOLDS = [0, 1, 2, 3];

type Tenant = { id: string; parameters: object; buckets: { hour: number; queries: number; cost: number }[] };

export function benchAnomaly(
  { nab = findNab(), tenants, days, dir, onProgress }: AnomalyOptions,
): Promise<AnomalyReport> {
  return withCluster("disk", dir, async (cluster) => {
    const machine = await readMachine(cluster.adminUrl());
    await makeTemplates(cluster, undefined);
    return await withDatabase(cluster, "ours", async ({ adminUrl }) => {
      const series = nab === undefined ? [] : await readSeries(nab, [...TUNED, ...HELD_OUT]);
      if (series.length === 0) onProgress("NAB's series are not there: set NAB_DATA to a checkout of numenta/NAB");
      const quiet = quietTenants(tenants, days, seededRandom(1));
      const all: Tenant[] = [
        ...series.flatMap((each, number) =>
          VARIANTS.map(({ parameters }, variant) => ({
            id: organizationId(1, number, variant),
            parameters,
            buckets: hours(each).map(({ hour, count }) => ({ hour, queries: Math.round(count), cost: 0 })),
          }))
        ),
        ...quiet.map(({ buckets }, number) => ({ id: organizationId(2, number), parameters: {}, buckets })),
      ];
      const start = performance.now();
      const opened = await withClient(adminUrl, async (client) => {
        for (const tenant of all) await load(client, tenant);
        await judgeAll(client, all, onProgress);
        return await readOpened(client);
      });
      const seconds = (performance.now() - start) / 1000;
      const alertRows = (number: number, variant: number) => {
        const at = new Set(opened.get(organizationId(1, number, variant)) ?? []);
        return hours(series[number]!).filter(({ hour }) => at.has(hour)).map(({ lastRow }) => lastRow);
      };
      const scoresOf = (names: string[], choose: (name: string) => number) =>
        scores(
          series.flatMap((each, number) =>
            names.includes(each.name) ? [{ series: each, alerts: alertRows(number, choose(each.name)) }] : []
          ),
        );
      const isWhole = TUNED.every((name) => series.some((each) => each.name === name));
      const heldOut = HELD_OUT.filter((name) => series.some((each) => each.name === name));
      const best = (without: string) => {
        const standards = THRESHOLDS.map((variant) =>
          scoresOf(TUNED.filter((name) => name !== without), () => variant).standard
        );
        return THRESHOLDS[standards.indexOf(Math.max(...standards))]!;
      };
      const quietScores = scoreQuiet(quiet, (number) => opened.get(organizationId(2, number)) ?? []);
      const chosen = isWhole ? scoresOf(TUNED, () => 0) : undefined;
      return {
        machine,
        series: series.map((each, number) => scoreSeries(each, alertRows(number, 0))),
        chosen,
        heldOut: heldOut.length > 0 ? { series: heldOut.length, scores: scoresOf(heldOut, () => 0) } : undefined,
        leaveOneOut: isWhole ? scoresOf(TUNED, best) : undefined,
        variants: isWhole
          ? VARIANTS.map(({ title }, variant) => ({ title, scores: scoresOf(TUNED, () => variant) }))
          : [],
        quiet: quietScores,
        seconds,
        hours_judged: sum(all.map(({ buckets }) => buckets.length)),
        targets: [
          judge(ANOMALY_GOALS.nab, chosen?.standard),
          judge(
            ANOMALY_GOALS.quiet,
            sum(quietScores.map(({ alerts }) => alerts)) / sum(quietScores.map(({ tenants, days }) => tenants * days)),
          ),
        ],
      };
    });
  });
}

function tweets(symbol: string): string {
  return `realTweets/Twitter_volume_${symbol}.csv`;
}

function organizationId(kind: number, number: number, variant = 0): string {
  return `0${kind}000000-0000-4000-8000-${String(variant).padStart(4, "0")}${String(number).padStart(8, "0")}`;
}

async function load(client: pg.Client, { id, parameters, buckets }: Tenant): Promise<void> {
  await client.query(
    `insert into audit.activity (hour, organization_id, dimension, value, entries, queries, costs, cost, late)
     select to_timestamp(b.hour / 1000), $1, 'all', '', b.queries, b.queries, case when b.cost > 0 then b.queries else 0 end, b.cost, 0
     from unnest($2::float8[], $3::bigint[], $4::numeric[]) b (hour, queries, cost) where b.queries > 0`,
    [id, buckets.map(({ hour }) => hour), buckets.map(({ queries }) => queries), buckets.map(({ cost }) => cost)],
  );
  await client.query(
    "insert into audit.rule_choices (rule_id, organization_id, choice) values (audit.anomaly_rule(), $1, $2)",
    [
      id,
      { parameters },
    ],
  );
}

/** As the schedule would, hour by hour. */
async function judgeAll(client: pg.Client, tenants: Tenant[], onProgress: (line: string) => void): Promise<void> {
  const all = [...new Set(tenants.flatMap(({ buckets }) => buckets.map(({ hour }) => hour)))].sort((a, b) => a - b);
  await client.query("analyze audit.activity");
  for (const [index, hour] of all.entries()) {
    await client.query("select audit.judge_activity(to_timestamp($1::float8 / 1000))", [hour]);
    if (index % 200 === 199) {
      await client.query("vacuum analyze audit.judgements, audit.activity_baselines");
      onProgress(`${index + 1} of ${all.length} hours judged`);
    }
  }
}

/** The hours in which an alert was opened, not those in which one went on. */
async function readOpened(client: pg.Client): Promise<Map<string, number[]>> {
  const { rows } = await client.query<{ id: string; hours: string[] }>(`
    select a.organization_id as id, array_agg(extract(epoch from a.hour)::bigint * 1000 order by a.hour) as hours
    from (
      select j.*, max(j.alerts) over (
        partition by j.organization_id, j.metric order by j.hour
        range between interval '23 hours' preceding and interval '1 hour' preceding
      ) as before
      from audit.judgements j
    ) a
    where a.alerts > coalesce(a.before, 0)
    group by 1
  `);
  return new Map(rows.map(({ id, hours }) => [id, hours.map(Number)]));
}

function scores(scored: { series: Series; alerts: number[] }[]): Scores {
  const windows = sum(scored.map(({ series }) => series.windows.length));
  return Object.fromEntries(PROFILE_NAMES.map((name) => {
    const raw = sum(scored.map(({ series, alerts }) => rawScore(series, alerts, PROFILES[name])));
    return [name, normalizedScore(raw, windows, PROFILES[name])];
  })) as Scores;
}

function scoreSeries(series: Series, alerts: number[]): SeriesScore {
  const { name, times, windows } = series;
  const step = median(times.slice(1).map((time, index) => time - times[index]!));
  const labelled = sum(windows.map(([first, last]) => last - first + 1));
  return {
    name,
    windows: windows.length,
    found: windows.filter(([first, last]) => alerts.some((row) => row >= first && row <= last)).length,
    falseAlerts: falseAlerts(series, alerts).length,
    quietDays: (times.length * 0.85 - labelled) * step / (24 * HOUR),
    standard: scores([{ series, alerts }]).standard,
  };
}

function scoreQuiet(tenants: ReturnType<typeof quietTenants>, opened: (number: number) => number[]): QuietScore[] {
  const counted = tenants.map(({ kind, buckets }, number) => {
    const from = buckets[0]!.hour + WARM_UP_DAYS * 24 * HOUR;
    return {
      kind,
      days: buckets.length / 24 - WARM_UP_DAYS,
      alerts: opened(number).filter((hour) => hour >= from).length,
    };
  });
  return [...new Set(counted.map(({ kind }) => kind))].map((kind) => {
    const those = counted.filter((each) => each.kind === kind);
    return { kind, tenants: those.length, days: those[0]!.days, alerts: sum(those.map(({ alerts }) => alerts)) };
  });
}
