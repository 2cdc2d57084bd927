// What telling channels costs: how long after its commit an entry that a rule is about is at a webhook, how many alerts a
// run delivers, and what of the processor and the memory that takes.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { openPool } from "../stack/database.ts";
import { startClock } from "../stack/cron.ts";
import { startNetWorker } from "../stack/net.ts";
import { withCluster } from "./cluster.ts";
import { type JobServer, withJobServer } from "./job_server.ts";
import { type Machine, readMachine } from "./machine.ts";
import { cpuSeconds, peakMemory, resetPeakMemory } from "./process_usage.ts";
import { percentile } from "./statistics.ts";
import { DELIVERY_GOALS, judge, type Judged } from "./targets.ts";
import { type Database, makeTemplates, withClient, withDatabase } from "./variants.ts";

export type DeliveryOptions = { deliveries: number; seconds: number; dir?: string; onProgress(line: string): void };

export type Latency = { entries: number; p50_s: number; p95_s: number; most_s: number };

export type DeliveryBacklog = {
  channels: number;
  deliveries: number;
  invocations: number;
  seconds: number;
  cpu_seconds: number;
  memory_mb: number;
};

export type DeliveryReport = { machine: Machine; latency: Latency; backlogs: DeliveryBacklog[]; targets: Judged[] };

/** Mean milliseconds between two entries, which come when they like. */
const BETWEEN = 250;
const SYSTEM = "00000000-0000-0000-0000-000000000000";

export function benchDelivery({ deliveries, seconds, dir, onProgress }: DeliveryOptions): Promise<DeliveryReport> {
  return withCluster("disk", dir, async (cluster) => {
    const machine = await readMachine(cluster.adminUrl());
    await makeTemplates(cluster, undefined);
    const run = <T>(work: (database: Database, server: JobServer) => Promise<T>) =>
      withDatabase(cluster, "ours", (database) => withJobServer(database, (server) => work(database, server)));
    const latency = await run((database, server) => measureLatency(database, server, seconds));
    onProgress(`latency: ${JSON.stringify(latency)}`);
    const backlogs: DeliveryBacklog[] = [];
    for (const channels of [1, 8]) {
      backlogs.push(await run((database, server) => measureBacklog(database, server, channels, deliveries)));
      onProgress(`backlog: ${JSON.stringify(backlogs.at(-1))}`);
    }
    return { machine, latency, backlogs, targets: [judge(DELIVERY_GOALS.latency, latency.p95_s)] };
  });
}

/** With the stack's clock and its worker for HTTP, as on a hosted project pg_cron and pg_net. */
function measureLatency({ url, adminUrl }: Database, server: JobServer, seconds: number): Promise<Latency> {
  return withReceiver((hook, received) =>
    withClient(url, async (client) => {
      await makeChannels(url, hook, 1);
      // One alert an entry, however many there are.
      await client.query("select audit.configure('alerts_per_hour', '1000')");
      await client.query("select audit.create_rule($1)", [JSON.stringify({
        organization_id: SYSTEM,
        name: "Alarm",
        kind: "event",
        match: "action:bench.alarmed",
        group_by: ["resource_id"],
      })]);
      await client.query("select audit.evaluate_rules()");
      await withClient(adminUrl, async (admin) => {
        await admin.query("update cron.job set database = current_database()");
        await admin.query(
          "select vault.create_secret($1, 'audit_jobs_url'), vault.create_secret($2, 'audit_jobs_secret')",
          [server.url, server.keys.jobs_secret],
        );
      });
      const pool = openPool(adminUrl);
      const net = startNetWorker(pool);
      const clock = startClock({ pool, urlFor: () => url });
      const committed = new Map<string, number>();
      try {
        const end = performance.now() + seconds * 1_000;
        while (performance.now() < end) {
          await sleep(-Math.log(1 - Math.random()) * BETWEEN);
          const id = crypto.randomUUID();
          await client.query("select audit.record($1, 'bench.alarmed', 'alarm', $2)", [SYSTEM, id]);
          committed.set(`{"resource_id": "${id}"}`, performance.now());
        }
        for (let wait = 0; received.size < committed.size && wait < 300; wait++) await sleep(100);
      } finally {
        await clock.stop();
        await net.stop();
        await pool.end();
      }
      const times = [...committed].map(([id, at]) => ((received.get(id) ?? Infinity) - at) / 1_000).sort((a, b) =>
        a - b
      );
      return {
        entries: times.length,
        p50_s: percentile(times, 0.5),
        p95_s: percentile(times, 0.95),
        most_s: times.at(-1) ?? NaN,
      };
    })
  );
}

/** Everything is due at once, and a run follows the other. */
function measureBacklog(
  { url }: Database,
  { run, pid }: JobServer,
  channels: number,
  deliveries: number,
): Promise<DeliveryBacklog> {
  return withReceiver(async (hook, received) => {
    await makeChannels(url, hook, channels);
    await withClient(url, (client) => openAlerts(client, Math.ceil(deliveries / channels)));
    await run("deliver-alerts"); // the function has all that it needs
    const before = { cpu: await cpuSeconds(pid), at: performance.now(), received: received.count };
    await resetPeakMemory(pid);
    let invocations = 0;
    for (let more = true; more; invocations++) more = (await run<{ more: boolean }>("deliver-alerts")).more;
    return {
      channels,
      deliveries: received.count - before.received,
      invocations,
      seconds: (performance.now() - before.at) / 1_000,
      cpu_seconds: await cpuSeconds(pid) - before.cpu,
      memory_mb: await peakMemory(pid),
    };
  });
}

/** So many alerts in one transaction, with all that channels are told of them. */
async function openAlerts(client: pg.Client, count: number): Promise<void> {
  await client.query("begin");
  const { rows } = await client.query<{ id: string }>(
    `insert into audit.alerts (organization_id, rule_id, group_key, severity, title, reason, state, first_seen_at, last_seen_at, occurrences, entries)
     select audit.system_organization(), gen_random_uuid(), n::text, 'high', 'Failed logins', '{"threshold": 3, "seen": 3}', 'open', now(), now(), 1,
       array['3-17', '4-9', '4-10']
     from generate_series(1, $1::int) n
     returning id`,
    [count],
  );
  await client.query("select audit.queue_alert(id, 'opened') from unnest($1::uuid[]) id", [rows.map(({ id }) => id)]);
  await client.query("commit");
}

async function makeChannels(url: string, hook: string, count: number): Promise<void> {
  await withClient(url, async (client) => {
    await client.query("select audit.configure('local_channels', 'true')");
    await client.query(
      `select audit.create_channel(jsonb_build_object(
         'organization_id', audit.system_organization(), 'kind', 'webhook', 'name', 'hook ' || n, 'url', $1 || n
       )) from generate_series(1, $2::int) n`,
      [`${hook}/`, count],
    );
  });
}

type Received = Map<string, number> & { count: number };

/** A receiver that takes everything, and when each group came first. */
async function withReceiver<T>(work: (hook: string, received: Received) => Promise<T>): Promise<T> {
  const received = Object.assign(new Map<string, number>(), { count: 0 });
  const server = createServer(async (incoming, outgoing) => {
    let text = "";
    for await (const chunk of incoming) text += chunk;
    outgoing.writeHead(204).end();
    received.count++;
    const { data } = JSON.parse(text) as { data: { group: string } };
    if (!received.has(data.group)) received.set(data.group, performance.now());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    return await work(`http://127.0.0.1:${(server.address() as AddressInfo).port}`, received);
  } finally {
    server.close();
    server.closeAllConnections();
  }
}
