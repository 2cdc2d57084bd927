// A deployment to break: a server of its own that flushes to disk, the functions in Deno behind the gateway, Storage behind
// a server that fails as told, a receiver of alerts that knows ids, and writers who note what was acknowledged.
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { stat } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import pg from "pg";
import { ARCHIVE_BUCKET } from "../../functions/_shared/archive/storage_archive.ts";
import { readLogKeys } from "../../functions/_shared/log_keys.ts";
import { seededRandom } from "../../scripts/bench/random.ts";
import { childrenOf, commandLine, waitFor } from "../../scripts/stack/processes.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { ACME, ALICE, type Api, OTHER, startApi } from "../api/server.ts";
import { type AlertReceiver, openAlert, startAlertReceiver } from "../support/alerting.ts";
import { startTestCluster, type TestCluster } from "../support/cluster.ts";
import { type FaultyServer, startFaults } from "../support/faults.ts";
import { memoryArchive, readArchive } from "../support/sealing.ts";

export { ACME, OTHER };

/** Every job of function audit-jobs that has work in this deployment. */
export const JOBS = ["seal", "read-back", "exports", "manifests", "reports", "deliver-alerts", "expire"] as const;
/** What the clock runs in the database, each by itself. */
export const SCHEDULED = ["index_entries", "evaluate_rules", "anchor_checkpoints", "purge", "continue_verification"];

/** What a fault does to a statement: the connection or the server is gone, a time is over, there is no room. */
const EXPECTED = /^(ECONNRESET|EPIPE|ECONNREFUSED|57P0[123]|57014|55P03|53300|53100|58030|25P03|XX000)$/;

export type World = {
  cluster: TestCluster;
  api: Api;
  storage: FaultyServer;
  receiver: AlertReceiver;
  random: () => number;
  below(n: number): number;
  pick<T>(values: readonly T[]): T;
  connect(role?: "postgres" | typeof ADMIN): Promise<pg.Client>;
  /** On a connection of the superuser's own: the first value of the first row. */
  value<T>(text: string, values?: unknown[]): Promise<T>;
  /** Writers until `work` is over. They connect again after whatever happens to them. */
  underLoad<T>(work: (load: Load) => Promise<T>, writers?: number): Promise<T>;
  job(name: typeof JOBS[number]): Promise<number>;
  /** One of the functions of SCHEDULED. */
  scheduled(name: string): Promise<unknown>;
  /** Work for every job. */
  order(exported?: string): Promise<void>;
  /** Leases and pauses are over. */
  later(): Promise<void>;
  /** How many entries are under checkpoints in the archive. */
  published(): Promise<number>;
  /** Kills the function's process; whether there was one. */
  killJobs(): Promise<boolean>;
  /** Without any fault, everything that waits is done; then everything must be true. Answers what was looked at. */
  settle(): Promise<Settled>;
  end(): Promise<void>;
};

export type Load = { commits: number; failures: number };
export type Settled = {
  entries: number;
  chains: number;
  sealed: number;
  delivered: number;
  exports: number;
  given_up: number;
};

export async function startWorld(seed: number): Promise<World> {
  const random = seededRandom(seed);
  const cluster = await startTestCluster({ fsync: "on", max_connections: "60", log_min_messages: "fatal" });
  let storage!: FaultyServer;
  const api = await startApi({
    cluster: cluster.port,
    inFront: async (gateway) => (storage = await startFaults(gateway)).url,
  });
  const receiver = await startAlertReceiver();
  const acknowledged = new Map<string, number>();
  const world: World = {
    cluster,
    api,
    storage,
    receiver,
    random,
    below: (n) => Math.floor(random() * n),
    pick: (values) => values[Math.floor(random() * values.length)]!,
    connect: (role) => connect(api, role),
    value: (text, values) => value(api, text, values),
    underLoad: (work, writers = 6) => underLoad(api, random, acknowledged, work, writers),
    job: (name) => job(api, name),
    scheduled: (name) => value(api, `select audit.${name}()`),
    order: (exported = "action:budget.*") => order(api, exported),
    later: () => later(api),
    published: async () => Number(await value(api, "select sum(published) from audit.logs")),
    killJobs,
    settle: () => settle(world, acknowledged),
    async end() {
      await api.stop().catch(() => {}); // its database goes with the cluster
      await receiver.stop();
      await storage.stop();
      await cluster.remove();
    },
  };
  await value(api, "select audit.configure('local_channels', 'true')");
  await value(api, "select audit.create_channel($1)", [
    JSON.stringify({ organization_id: ACME, kind: "webhook", name: "hook", url: `${receiver.url}/hook` }),
  ]);
  return world;
}

async function connect(api: Api, role: "postgres" | typeof ADMIN = "postgres"): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: api.db.url(role), statement_timeout: 120_000 });
  client.on("error", () => {}); // the statement in flight, or the next, reports it
  await client.connect();
  return client;
}

async function value<T>(api: Api, text: string, values: unknown[] = []): Promise<T> {
  const client = await connect(api, ADMIN);
  try {
    const { rows } = await client.query({ text, values, rowMode: "array" });
    return rows[0]?.[0] as T;
  } finally {
    await client.end();
  }
}

export function isExpected(error: unknown): boolean {
  const { code = "", message = "" } = error as { code?: string; message?: string };
  return EXPECTED.test(code) || /Connection terminated|not queryable|connection error|Connection ended/.test(message);
}

async function underLoad<T>(
  api: Api,
  random: () => number,
  acknowledged: Map<string, number>,
  work: (load: Load) => Promise<T>,
  writers: number,
): Promise<T> {
  const load: Load = { commits: 0, failures: 0 };
  let over = false;
  const running = Promise.all(Array.from({ length: writers }, async () => {
    let client: pg.Client | undefined;
    const mine: string[] = [];
    while (!over) {
      try {
        client ??= await connect(api);
        await write(client, random, acknowledged, mine);
        load.commits++;
        await sleep(3); // the log is looked at whole after each kind of fault: it need not be long
      } catch (error) {
        if (!isExpected(error)) throw error;
        load.failures++;
        await client?.end().catch(() => {});
        client = undefined;
        await sleep(5);
      }
    }
    await client?.end().catch(() => {});
  }));
  try {
    return await Promise.race([
      work(load),
      running.then((): never => {
        throw new Error("the writers ended");
      }),
    ]);
  } finally {
    over = true;
    await running;
  }
}

/** One transaction: rows inserted in one or many statements, or rows of one's own changed. Noted once it is committed. */
async function write(client: pg.Client, random: () => number, acknowledged: Map<string, number>, mine: string[]) {
  const ids = Array.from({ length: random() < 0.1 ? 40 : 1 + Math.floor(random() * 3) }, () => crypto.randomUUID());
  const changed = mine.length > 0 && random() < 0.3 ? mine[Math.floor(random() * mine.length)] : undefined;
  await client.query("begin");
  for (let from = 0; from < ids.length; from += 20) {
    await client.query("insert into public.budgets (id, organization_id) select unnest($1::uuid[]), $2", [
      ids.slice(from, from + 20),
      random() < 0.7 ? ACME : OTHER,
    ]);
  }
  if (changed !== undefined) {
    await client.query(`update public.budgets set "limit" = "limit" + 1 where id = $1`, [changed]);
  }
  await client.query("commit");
  for (const id of ids) acknowledged.set(id, 0);
  mine.push(ids[0]!);
  if (changed !== undefined) acknowledged.set(changed, acknowledged.get(changed)! + 1);
}

async function job(api: Api, name: typeof JOBS[number]): Promise<number> {
  const response = await api.call(`/${name}${name === "seal" ? "?due_now=true" : ""}`, {
    of: "audit-jobs",
    method: "POST",
    headers: { authorization: `Bearer ${api.keys.jobs_secret}` },
  });
  await response.text();
  return response.status;
}

async function order(api: Api, exported: string): Promise<void> {
  const client = await connect(api);
  await client.query("insert into public.budgets (organization_id) select $1 from generate_series(1, 600)", [ACME]);
  await openAlert(client, { organization: ACME });
  await client.query("begin");
  await client.query("select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)", [
    JSON.stringify({ sub: ALICE, role: "authenticated" }),
  ]);
  await client.query("select audit.request_export($1)", [{ organization_id: ACME, format: "ndjson", query: exported }]);
  await client.query(`select audit.request_report('{"organization_id": "${ACME}", "template": "costs"}')`);
  await client.query("commit");
  await client.end();
}

function later(api: Api): Promise<unknown> & Promise<void> {
  return value(
    api,
    `with l as (update audit.logs set lease_until = '-infinity' where lease_until > '-infinity'),
       x as (update audit.exports set lease_until = '-infinity' where lease_until > '-infinity'),
       r as (update audit.reports set lease_until = '-infinity' where lease_until > '-infinity'),
       g as (update audit.readings set next_at = '-infinity'),
       d as (update audit.deliveries set next_try_at = '-infinity', lease_until = '-infinity' where state = 'waiting')
     update audit.channels set next_try_at = '-infinity'`,
  );
}

async function killJobs(): Promise<boolean> {
  for (const pid of await childrenOf(process.pid)) {
    if (!(await commandLine(pid)).includes("functions/audit-jobs/index.ts")) continue;
    process.kill(pid, "SIGKILL");
    await waitFor(async () => !(await childrenOf(process.pid)).includes(pid), 10_000);
    return true;
  }
  return false;
}

async function settle(world: World, acknowledged: Map<string, number>): Promise<Settled> {
  const { api, storage, receiver } = world;
  storage.always = undefined;
  storage.next = [];
  receiver.behave = () => undefined;
  const waits = async () =>
    await value<string | null>(
      api,
      `select string_agg(what, ', ') from (
         select 'seal' as what from audit.logs where sequenced > published
         union all select 'seal' from audit.heads h left join audit.sequenced s using (organization_id, chain) where h.seq > coalesce(s.seq, 0)
         union all select 'export' from audit.exports where state in ('queued', 'running')
         union all select 'report' from audit.reports where state in ('queued', 'running')
         union all select 'delivery' from audit.deliveries where state = 'waiting'
       ) w`,
    );
  // What is delivered, made and sealed leaves entries of its own: at last only entries of the log's own are new.
  for (let round = 0;; round++) {
    await later(api);
    for (const name of SCHEDULED) {
      // Rules and search index take ten thousand entries at a time: until a batch is not full.
      while (Number(await value(api, `select audit.${name}()`)) >= 10_000);
    }
    for (const name of JOBS) {
      const status = await job(api, name);
      if (status !== 200) {
        throw new Error(`${name} answers ${status}: ${(await api.output("audit-jobs")).slice(-2000)}`);
      }
    }
    const still = await waits();
    if (still === null) break;
    if (round === 40) throw new Error(`still waits: ${still}`);
  }
  return await check(world, acknowledged);
}

async function check({ api, receiver }: World, acknowledged: Map<string, number>): Promise<Settled> {
  const client = await connect(api, ADMIN);
  try {
    // Every row has the entry of its making, once, and one of each change; what was acknowledged is there.
    const { rows } = await client.query<{ id: string; row: boolean; made: number; changes: number; changed: number }>(
      `select coalesce(b.id::text, e.id) as id, b.id is not null as row, coalesce(e.made, 0) as made,
         (b."limit" - 100)::int as changes, coalesce(e.changed, 0) as changed
       from public.budgets b
       full join (
         select resource_id as id, (count(*) filter (where action = 'budget.created'))::int as made,
           (count(*) filter (where action ~ '^budget.(updated|changed)$'))::int as changed
         from public.audit_logs where resource_type = 'budget' group by 1
       ) e on e.id = b.id::text`,
    );
    const wrong = rows.filter(({ row, made, changes, changed }) => !row || made !== 1 || changes !== changed);
    if (wrong.length > 0) throw new Error(`rows and entries differ: ${JSON.stringify(wrong.slice(0, 5))}`);
    const found = new Map(rows.map(({ id, changes }) => [id, changes]));
    const lost = [...acknowledged].filter(([id, changes]) => !((found.get(id) ?? -1) >= changes));
    if (lost.length > 0) throw new Error(`acknowledged, but gone: ${JSON.stringify(lost.slice(0, 5))}`);

    const { rows: chains } = await client.query("select * from audit.verify()");
    const broken = chains.filter(({ status }) => status !== "verified");
    if (broken.length > 0) throw new Error(`chains: ${JSON.stringify(broken.slice(0, 3))}`);
    // Of what was purged only the archive has the entries, which is read below.
    const { rows: logs } = await client.query(
      "select * from audit.verify_logs() where status not in ('verified', 'partial')",
    );
    if (logs.length > 0) throw new Error(`logs: ${JSON.stringify(logs.slice(0, 3))}`);
    const sealed = await checkArchive(api, client);

    // Each delivery was taken, under its id, with one content; nothing was taken that is not one.
    const { rows: deliveries } = await client.query<{ id: string; state: string }>(
      "select id, state from audit.deliveries",
    );
    const taken = new Map<string, Set<string>>();
    for (const { id, text } of receiver.taken) taken.set(id, (taken.get(id) ?? new Set()).add(text));
    for (const { id, state } of deliveries) {
      const contents = taken.get(`msg_${id.replaceAll("-", "")}`);
      if (state !== "delivered" || contents?.size !== 1) {
        throw new Error(`delivery ${id} is ${state} and was taken with ${contents?.size ?? 0} contents`);
      }
    }
    if (taken.size !== deliveries.length) throw new Error(`${taken.size} messages for ${deliveries.length} deliveries`);

    const exports = await checkExports(api, client);
    // Given up after so many attempts, and said so to who asked.
    const { rows: [{ given_up, silent }] } = await client.query(
      `select count(*)::int as given_up, (count(*) filter (where error is null))::int as silent
       from (
         select error from audit.reports where state = 'failed' union all select error from audit.exports where state = 'failed'
       ) f`,
    );
    if (silent > 0) throw new Error(`${silent} reports or exports failed without a word`);
    const { rows: [{ entries }] } = await client.query("select count(*)::int as entries from public.audit_logs");
    return { entries, chains: chains.length, sealed, delivered: deliveries.length, exports, given_up };
  } finally {
    await client.end();
  }
}

function download(api: Api, bucket: string, path: string): Promise<Uint8Array> {
  return fetch(`${api.url}/storage/v1/object/${bucket}/${path.split("/").map(encodeURIComponent).join("/")}`, {
    headers: { authorization: `Bearer ${api.keys.service_role_key}` },
  }).then(async (response) => {
    if (!response.ok) throw new Error(`${path}: ${response.status}`);
    return new Uint8Array(await response.arrayBuffer());
  });
}

/** Every byte of the archive is what the key signed, and every log is there up to what the database calls published. */
async function checkArchive(api: Api, client: pg.Client): Promise<number> {
  const archive = memoryArchive();
  const { rows } = await client.query<{ name: string }>("select name from storage.objects where bucket_id = $1", [
    ARCHIVE_BUCKET,
  ]);
  for (let at = 0; at < rows.length; at += 16) {
    await Promise.all(
      rows.slice(at, at + 16).map(async ({ name }) => {
        archive.files.set(name, await download(api, ARCHIVE_BUCKET, name));
      }),
    );
  }
  const logs = readArchive(archive, readLogKeys(api.keys.log_key));
  const { rows: published } = await client.query<{ origin: string; published: string }>(
    "select origin, published from audit.logs where published > 0",
  );
  let sealed = 0;
  for (const { origin, published: size } of published) {
    const entries = [...logs].find(([folder]) => origin.endsWith(`/${folder}`))?.[1];
    if (entries?.length !== Number(size)) throw new Error(`${origin}: ${entries?.length} entries of ${size}`);
    sealed += entries.length;
  }
  return sealed;
}

/** Every part is there with the bytes that were noted, and the parts have each entry once. */
async function checkExports(api: Api, client: pg.Client): Promise<number> {
  const { rows } = await client.query<{ export: string; path: string; sha256: string; entries: string; state: string }>(
    `select x.id as export, x.state, p.path, p.sha256, p.entries from audit.exports x left join audit.export_parts p on p.export = x.id
     where x.state <> 'failed' and not (x.state in ('streaming', 'done') and p.path is null) -- streamed to who asked
     order by x.id, p.part`,
  );
  const exports = new Set<string>();
  let seen = new Set<bigint>();
  for (const { export: id, state, path, sha256, entries } of rows) {
    if (state !== "done") throw new Error(`export ${id} is ${state}`);
    const bytes = await download(api, "audit-exports", path);
    if (createHash("sha256").update(bytes).digest("hex") !== sha256) throw new Error(`${path} is not what was noted`);
    const lines = new TextDecoder().decode(bytes).trimEnd().split("\n");
    if (!exports.has(id)) seen = new Set();
    exports.add(id);
    for (const line of lines) {
      // A line begins with its entry's hash; sixteen digits of it tell millions apart, and keep no file in memory.
      const hash = BigInt(`0x${/^\{"hash":"([0-9a-f]{16})/.exec(line)![1]}`);
      if (seen.has(hash)) throw new Error(`export ${id} has an entry twice`);
      seen.add(hash);
    }
    if (lines.length !== Number(entries)) throw new Error(`${path} has ${lines.length} entries, not ${entries}`);
  }
  return exports.size;
}

/** Lowers how large a process may make files: a disk that is full, for that process alone. As its own user may. */
export async function limitFiles(pid: number, bytes: number): Promise<void> {
  const { uid, gid } = await stat(`/proc/${pid}`);
  await promisify(execFile)("prlimit", ["--pid", String(pid), `--fsize=${bytes}:`], { uid, gid, cwd: "/" });
}
