// What sealing costs: processor time and memory of the function, how long an entry waits for a signature beside writers,
// and what sealing takes from them; and how fast what is past its retention is purged.
import { setTimeout as sleep } from "node:timers/promises";
import { inBothOrders } from "./both_orders.ts";
import { withCluster } from "./cluster.ts";
import { type JobServer, withJobServer } from "./job_server.ts";
import { runLoad } from "./load.ts";
import { type Machine, readMachine } from "./machine.ts";
import { cpuSeconds, peakMemory, resetPeakMemory } from "./process_usage.ts";
import { insertMany } from "./sample.ts";
import { mean, median } from "./statistics.ts";
import { judge, type Judged, SEAL_GOALS } from "./targets.ts";
import { type Database, makeTemplates, withClient, withDatabase } from "./variants.ts";
import { verifySpeed } from "./verify_archive.ts";

export type SealOptions = {
  entries: number;
  seconds: number;
  rounds: number;
  dir?: string;
  onProgress(line: string): void;
};

export type Backlog = {
  entries: number;
  invocations: number;
  seconds: number;
  cpu_seconds: number;
  idle_mb: number;
  memory_mb: number;
};

export type Waiting = { entries: number; tps: number; p50_s: number; p95_s: number; most_s: number };

/** Transactions a second of each round, without and with sealing and purging beside. */
export type Beside = { clients: number; without: number[]; with: number[] };

export type SealReport = {
  machine: Machine;
  backlog: Backlog;
  waiting: Waiting;
  beside: Beside[];
  purged: { entries: number; seconds: number };
  verified: { entries: number; seconds: number };
  targets: Judged[];
};

/** As pg_cron does. */
const TICK = 5_000;
/** The schedule of purging. */
const PURGE_TICK = 30_000;
const ROWS = 10_000;
const OLD = 50_000;

export function benchSeal({ entries, seconds, rounds, dir, onProgress }: SealOptions): Promise<SealReport> {
  return withCluster("disk", dir, async (cluster) => {
    const machine = await readMachine(cluster.adminUrl());
    await makeTemplates(cluster, undefined);
    const backlog = await withDatabase(cluster, "ours", async (database) => {
      await fill(database, entries, onProgress);
      return await withJobServer(database, (server) => sealBacklog(server, onProgress));
    });
    const waiting = await withDatabase(
      cluster,
      "ours",
      (database) => withJobServer(database, (server) => waitingTimes(database, server, seconds)),
    );
    onProgress(`under load: ${JSON.stringify(waiting)}`);
    const beside: Beside[] = [];
    // One writer is judged; what eight lose, who leave no processor idle, is shown.
    for (const [clients, most] of [[1, rounds], [8, 1]] as const) {
      const turns: Beside = { clients, without: [], with: [] };
      for (let round = 0; round < most; round++) {
        await withDatabase(cluster, "ours", (database) =>
          withJobServer(database, async (server) => {
            await fillOld(database, server);
            const alone = async () => (await runLoad(database.url, { clients, organizations: 1, seconds })).tps;
            const together = async () => {
              await sealBacklog(server, () => {});
              return await besideJobs(database, server, alone);
            };
            const runs = await inBothOrders(alone, together);
            turns.without.push(mean(runs.alone));
            turns.with.push(mean(runs.beside));
          }));
        onProgress(`${clients} writers, round ${round + 1}: ${JSON.stringify(turns)}`);
      }
      beside.push(turns);
    }
    const purged = await withDatabase(cluster, "ours", async (database) => {
      await withJobServer(database, (server) => fillOld(database, server));
      return await purgeAll(database);
    });
    onProgress(`purged: ${JSON.stringify(purged)}`);
    const verified = await verifySpeed(entries);
    return {
      machine,
      backlog,
      waiting,
      beside,
      purged,
      verified,
      targets: judgeAll({ backlog, waiting, beside, verified }),
    };
  });
}

async function fill({ url }: Database, entries: number, onProgress: (line: string) => void): Promise<void> {
  await withClient(url, async (client) => {
    for (let done = 0; done < entries; done += ROWS) {
      await client.query(insertMany(Math.min(ROWS, entries - done), "1"));
      if ((done / ROWS) % 20 === 0) onProgress(`written ${done + ROWS} of ${entries}`);
    }
    await client.query("vacuum analyze public.audit_logs");
  });
}

/** Entries that are sealed, and wait for nothing but the next run of the purge. */
async function fillOld(database: Database, server: JobServer): Promise<void> {
  await fill(database, OLD, () => {});
  await sealBacklog(server, () => {});
  await ageLog(database);
}

/** Makes what is sealed old, read back and past its retention, so that there is something to purge all the while. */
async function ageLog({ adminUrl }: Database): Promise<void> {
  await withClient(adminUrl, async (admin) => {
    await admin.query("set session_replication_role = replica");
    await admin.query("alter table public.audit_logs disable trigger user");
    await admin.query("update public.audit_logs set created_at = created_at - interval '120 days'");
    await admin.query("update audit.sequenced set last_at = last_at - interval '120 days'");
    await admin.query(
      `update audit.logs set read_back = published, first_at = first_at - interval '120 days', last_at = last_at - interval '120 days'`,
    );
    await admin.query("alter table public.audit_logs enable always trigger refuse_update_delete");
    await admin.query("select audit.set_retention(audit.system_organization(), 90, null)");
    await admin.query("update audit.retention_periods set effective_at = now() - interval '1 day'");
    await admin.query("vacuum analyze public.audit_logs");
  });
}

/** Run after run, as the schedule would, without the time between them. */
function purgeAll({ url }: Database): Promise<SealReport["purged"]> {
  return withClient(url, async (client) => {
    const start = performance.now();
    let entries = 0;
    for (let batch = -1; batch !== 0; entries += batch) {
      const { rows: [run] } = await client.query<{ entries: number }>("select audit.purge() as entries");
      batch = run!.entries;
    }
    return { entries, seconds: (performance.now() - start) / 1000 };
  });
}

async function sealBacklog({ run, pid }: JobServer, onProgress: (line: string) => void): Promise<Backlog> {
  const idle = await peakMemory(pid);
  await resetPeakMemory(pid);
  const [start, cpu] = [performance.now(), await cpuSeconds(pid)];
  let [entries, invocations] = [0, 0];
  for (let more = true; more;) {
    const sealed = await run<{ entries: number; failed: number; more: boolean }>("seal?due_now=true");
    if (sealed.failed > 0) throw new Error("sealing failed");
    entries += sealed.entries;
    invocations++;
    more = sealed.more;
    if (invocations % 10 === 0) onProgress(`sealed ${entries}`);
  }
  return {
    entries,
    invocations,
    seconds: (performance.now() - start) / 1000,
    cpu_seconds: await cpuSeconds(pid) - cpu,
    idle_mb: idle,
    memory_mb: await peakMemory(pid),
  };
}

/** From an entry's created_at until its checkpoint was published, for those that were written during the load. */
async function waitingTimes(database: Database, server: JobServer, seconds: number): Promise<Waiting> {
  const { result: { tps } } = await besideSealing(
    server,
    () => runLoad(database.url, { clients: 4, organizations: 4, seconds: Math.max(seconds * 4, 30) }),
  );
  return await withClient(database.url, async (client) => {
    const { rows: [times] } = await client.query<Omit<Waiting, "tps">>(
      `select count(*)::int as entries, ${
        [["p50_s", 0.5], ["p95_s", 0.95], ["most_s", 1]].map(([name, part]) =>
          `percentile_cont(${part}) within group (order by extract(epoch from c.published_at - a.created_at)) as ${name}`
        ).join(", ")
      }
       from public.audit_logs a
       join audit.log_ranges r on r.organization_id = a.organization_id and r.chain = a.chain and a.seq between r.from_seq and r.to_seq
       cross join lateral (
         select c.published_at from audit.checkpoints c
         where c.log = r.log and c.size > r.start + a.seq - r.from_seq and c.published_at is not null order by c.size limit 1
       ) c
       where a.action = 'query.executed'`,
    );
    return { ...times!, tps };
  });
}

async function besideSealing<T>(server: JobServer, work: () => Promise<T>): Promise<{ result: T }> {
  const end = new AbortController();
  const ticking = tick(end.signal, TICK, () => server.run("seal"));
  const result = await work().finally(() => end.abort());
  await ticking;
  await sealBacklog(server, () => {});
  return { result };
}

/** Sealing and purging, as the schedules set them off. */
async function besideJobs<T>({ url }: Database, server: JobServer, work: () => Promise<T>): Promise<T> {
  const end = new AbortController();
  const sealing = tick(end.signal, TICK, () => server.run("seal"));
  const purging = withClient(
    url,
    (client) => tick(end.signal, PURGE_TICK, () => client.query("select audit.purge()")),
  );
  const result = await work().finally(() => end.abort());
  await Promise.all([sealing, purging]);
  return result;
}

/** As pg_cron and pg_net do: at every tick, whether the last one has ended or not. */
async function tick(end: AbortSignal, every: number, job: () => Promise<unknown>): Promise<void> {
  const runs: Promise<unknown>[] = [];
  while (!end.aborted) {
    const run = job();
    run.catch(() => {}); // told in the end
    runs.push(run);
    await sleep(every, undefined, { signal: end }).catch(() => {});
  }
  await Promise.all(runs);
}

function judgeAll(
  { backlog, waiting, beside, verified }: Omit<SealReport, "machine" | "purged" | "targets">,
): Judged[] {
  const [one] = beside;
  return [
    judge(SEAL_GOALS.cpu, backlog.cpu_seconds * 10_000 / backlog.entries),
    judge(SEAL_GOALS.memory, backlog.memory_mb),
    judge(SEAL_GOALS.waiting, waiting.p95_s),
    judge(SEAL_GOALS.verification, verified.entries / verified.seconds),
    judge(SEAL_GOALS.writers, 100 * (1 - median(one!.with.map((tps, round) => tps / one!.without[round]!)))),
  ];
}
