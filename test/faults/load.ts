// Everything at once for a while: writers, people who search and export, alerts and their delivery, sealing, reading back
// and purging. Then everything must be true, and figures are printed. `npm run test:load -- --help`.
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { percentile } from "../../scripts/bench/statistics.ts";
import { nextDay, setRetention, writeOldChain } from "../support/old_log.ts";
import { ACME, type JOBS, startWorld, type World } from "./world.ts";

const SEED = Number(process.env.SEED ?? 1);
const SECONDS = Number(process.env.SECONDS ?? 300);
const OLD = 50_000;
const SEARCHES = [
  "action:budget.created",
  "budget",
  "outcome:success -provider:openai",
  "created:>=2026-01-01 action:*.updated",
];

let world: World;

beforeAll(async () => {
  world = await startWorld(SEED);
}, 300_000);
afterAll(() => world?.end());

type Times = { milliseconds: number[]; failures: number };

/** At every tick until the time is over, as clocks do, or as soon as the last one has ended. */
async function every(tick: number, left: () => number, work: () => Promise<unknown>, times?: Times): Promise<void> {
  while (left() > 0) {
    const start = performance.now();
    try {
      await work();
      times?.milliseconds.push(performance.now() - start);
    } catch (error) {
      if (times === undefined) throw error;
      times.failures++;
    }
    await sleep(Math.max(Math.min(tick - (performance.now() - start), left()), 0));
  }
}

const p95 = (values: number[], digits = 0) => percentile([...values].sort((a, b) => a - b), 0.95).toFixed(digits);

test(`${SECONDS} seconds of mixed load`, async () => {
  const organization = crypto.randomUUID();
  const admin = await world.connect("supabase_admin");
  await writeOldChain(admin, { organization, chain: 1, entries: OLD, from: 200, to: 100 });
  await setRetention(admin, organization, 90, 400);
  await admin.query("select audit.create_rule($1)", [
    JSON.stringify({
      organization_id: ACME,
      name: "Many budgets",
      kind: "count",
      match: "action:budget.created",
      window: "1m",
      threshold: 100,
    }),
  ]);
  const writes: Times = { milliseconds: [], failures: 0 };
  const searches: Times = { milliseconds: [], failures: 0 };
  const exports: Times = { milliseconds: [], failures: 0 };
  const jobs: Times = { milliseconds: [], failures: 0 };
  const lags = { sequenced: [] as number[], rule_positions: [] as number[], search_positions: [] as number[] };
  const failed = () => [writes, searches, exports, jobs].reduce((sum, { failures }) => sum + failures, 0);
  const start = performance.now();
  const left = () => start + SECONDS * 1000 - performance.now();
  const ok = async (response: Response) => {
    await response.text();
    if (!response.ok) throw new Error(`${response.status}`);
  };
  const job = (name: typeof JOBS[number]) => async () => {
    if (await world.job(name) !== 200) throw new Error(name);
  };
  const commits = await world.underLoad(async (load) => {
    const progress = every(30_000, left, () => {
      console.log(
        `  ${
          Math.round((performance.now() - start) / 1000)
        } s: ${load.commits} commits, ${searches.milliseconds.length} searches, ${failed()} calls failed; waits for rules ${
          (lags.rule_positions.at(-1) ?? 0).toFixed(0)
        } s`,
      );
      return Promise.resolve();
    });
    const writer = await world.connect();
    await Promise.all([
      progress,
      // One writer among the others is timed; the others are as fast as they can.
      every(20, left, () => writer.query("insert into public.budgets (organization_id) values ($1)", [ACME]), writes),
      every(
        200,
        left,
        () => world.api.call(`/logs?${new URLSearchParams({ q: world.pick(SEARCHES) })}`).then(ok),
        searches,
      ),
      every(15_000, left, () => world.api.call("/export?format=ndjson&action=budget.updated").then(ok), exports),
      every(60_000, left, () => world.order("action:budget.* created:5m")),
      every(2_000, left, job("deliver-alerts"), jobs),
      every(5_000, left, job("seal"), jobs),
      every(10_000, left, job("exports"), jobs),
      every(10_000, left, job("reports"), jobs),
      every(10_000, left, job("manifests"), jobs),
      every(30_000, left, job("read-back"), jobs),
      every(5_000, left, () => world.scheduled("index_entries")),
      every(3_000, left, () => world.scheduled("evaluate_rules")),
      // It looks at an organisation once a day, and may have looked before anything was read back.
      every(30_000, left, async () => {
        await nextDay(admin);
        await world.scheduled("purge");
      }),
      every(60_000, left, () => world.scheduled("continue_verification")),
      every(60_000, left, () => world.scheduled("anchor_checkpoints")),
      every(1_000, left, async () => {
        for (const [positions, lag] of Object.entries(lags)) {
          lag.push(Number(
            await world.value(
              `select coalesce(max(extract(epoch from clock_timestamp() - a.created_at)), 0)
             from audit.heads h left join audit.${positions} s using (organization_id, chain)
             cross join lateral (
               select a.created_at from public.audit_logs a
               where a.organization_id = h.organization_id and a.chain = h.chain and a.seq = coalesce(s.seq, 0) + 1
             ) a
             where h.organization_id = $1 and h.seq > coalesce(s.seq, 0)`,
              [ACME],
            ),
          ));
        }
      }),
    ]);
    await writer.end();
    expect(load.failures).toBe(0);
    return load.commits;
  }, 4);
  const seconds = (performance.now() - start) / 1000;
  const purged = OLD -
    Number(
      await world.value("select count(*) from public.audit_logs where organization_id = $1 and action = 'thing.done'", [
        organization,
      ]),
    );
  await admin.end();
  await world.order(); // all that was written, in one export
  const settled = await world.settle();
  console.log([
    `${Math.round(seconds)} s of load, seed ${SEED}; all times p95`,
    `  ${Math.round(commits / seconds)} transactions a second by 4 writers; 1 more: ${p95(writes.milliseconds, 1)} ms`,
    `  ${searches.milliseconds.length} searches: ${p95(searches.milliseconds)} ms`,
    `  ${exports.milliseconds.length} exports: ${p95(exports.milliseconds)} ms; ${jobs.milliseconds.length} jobs`,
    `  the oldest entry had waited for its place in a log ${p95(lags.sequenced, 1)} s, for the rules ${
      p95(lags.rule_positions, 1)
    } s, for the search index ${p95(lags.search_positions, 1)} s`,
    `  ${purged} entries purged; ${failed()} calls failed`,
    `  then ${JSON.stringify(settled)}`,
  ].join("\n"));
  expect(failed()).toBe(0);
  expect(searches.milliseconds.length).toBeGreaterThan(0);
}, SECONDS * 2000 + 600_000);
