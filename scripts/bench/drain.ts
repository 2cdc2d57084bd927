// How many lines a second function audit-ingest takes from log drains, in the size of batches in which they come, and
// what a batch costs it; as a project's log is, and where every line is a failed login from another address.
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { createFunctions } from "../stack/functions.ts";
import { withCluster } from "./cluster.ts";
import { findWorker } from "./function_server.ts";
import { authEvent, authFailure, type DrainLine, edge, functionEdge, postgres, storage } from "./log_lines.ts";
import { type Machine, readMachine } from "./machine.ts";
import { cpuSeconds, peakMemory, resetPeakMemory } from "./process_usage.ts";
import { seededRandom } from "./random.ts";
import { median } from "./statistics.ts";
import { DRAIN_GOALS, judge, type Judged } from "./targets.ts";
import { type Database, makeTemplates, withClient, withDatabase } from "./variants.ts";

export type DrainOptions = { lines: number; rounds: number; dir?: string; onProgress(line: string): void };

export type DrainRun = {
  kind: string;
  batch: number;
  senders: number;
  lines: number;
  entries: number;
  seconds: number;
  /** Milliseconds of processor time of the function, for a batch. */
  cpu_ms: number;
  memory_mb: number;
};

export type DrainReport = { machine: Machine; runs: DrainRun[]; place_us: number; targets: Judged[] };

type Kind = { name: string; access: string; line(n: number, random: () => number): DrainLine };

const USERS = 200;
const ORGANIZATIONS = 10;
const user = (n: number) => `a0000000-0000-4000-8000-${String(n % USERS).padStart(12, "0")}`;
const address = (random: () => number) =>
  `198.${18 + Math.floor(random() * 2)}.${Math.floor(random() * 256)}.${Math.floor(random() * 256)}`;

const mixed = (_: number, random: () => number): DrainLine => {
  const share = random();
  const ip = address(random);
  const who = user(Math.floor(random() * USERS));
  if (share < 0.6) return edge({ ip, user: who });
  if (share < 0.64) return edge({ ip, user: who, status: random() < 0.5 ? 401 : 403 });
  if (share < 0.7) return authFailure({ ip });
  if (share < 0.74) return authEvent({ action: "token_revoked", user: who, email: "somebody@example.com", ip });
  if (share < 0.76) {
    return authEvent({ action: "user_recovery_requested", user: who, email: "somebody@example.com", ip });
  }
  if (share < 0.86) return functionEdge();
  if (share < 0.87) return storage();
  if (share < 0.88) return postgres();
  return postgres({ message: "checkpoint complete: wrote 31 buffers (0.0%)", state: "00000", severity: "LOG" });
};

const KINDS: Kind[] = [
  { name: "mixed, routine requests left out", access: '"off"', line: mixed },
  { name: "mixed, every request an entry", access: '"all"', line: mixed },
  { name: "every line a failed login", access: '"off"', line: (_, random) => authFailure({ ip: address(random) }) },
];

/** A drain sends 250 lines at most; a backlog may come in larger batches. */
const BATCHES = [{ batch: 250, senders: 6 }, { batch: 1_000, senders: 2 }];

export function benchDrain({ lines, rounds, dir, onProgress }: DrainOptions): Promise<DrainReport> {
  return withCluster("disk", dir, async (cluster) => {
    const machine = await readMachine(cluster.adminUrl());
    await makeTemplates(cluster, undefined);
    const runs: DrainRun[] = [];
    for (const kind of KINDS) {
      for (const size of BATCHES) {
        for (let round = 0; round < rounds; round++) {
          const run = await withDatabase(cluster, "ours", (database) => measure(database, kind, size, lines));
          runs.push(run);
          onProgress(`${kind.name}, ${run.batch} a batch: ${Math.round(run.lines / run.seconds)} lines/s`);
        }
      }
    }
    const place_us = await withDatabase(cluster, "ours", lookUp);
    const speed = (name: string) =>
      Math.max(
        ...BATCHES.map(({ batch }) =>
          median(runs.filter((run) => run.kind === name && run.batch === batch).map((run) => run.lines / run.seconds))
        ),
      );
    return {
      machine,
      runs,
      place_us,
      targets: [
        judge(DRAIN_GOALS.mixed, speed(KINDS[0]!.name)),
        judge(DRAIN_GOALS.accessed, speed(KINDS[1]!.name)),
        judge(DRAIN_GOALS.failures, speed(KINDS[2]!.name)),
        judge(DRAIN_GOALS.cpu, Math.max(...runs.map(({ cpu_ms }) => cpu_ms)) / 1_000),
        judge(DRAIN_GOALS.place, place_us / 1_000),
      ],
    };
  });
}

async function measure(
  database: Database,
  kind: Kind,
  { batch, senders }: typeof BATCHES[number],
  lines: number,
): Promise<DrainRun> {
  await withClient(database.adminUrl, (client) => client.query("create schema app authorization postgres"));
  await withClient(database.url, async (client) => {
    await client.query("select audit.configure('api_access', $1)", [kind.access]);
    await client.query(
      `create table app.organization_members (organization_id uuid, user_id uuid primary key, role text);
       insert into auth.users (id, email)
       select ('a0000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'user' || n || '@example.com' from generate_series(0, ${
        USERS - 1
      }) n;
       insert into app.organization_members
       select ('10000000-0000-4000-8000-' || lpad((n % ${ORGANIZATIONS})::text, 12, '0'))::uuid, ('a0000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid, 'member'
       from generate_series(0, ${USERS - 1}) n;
       select audit.use_membership('app.organization_members');`,
    );
  });
  const run = await withIngest(database, async ({ url, pid, secret }) => {
    const random = seededRandom(1);
    const make = () => gzipSync(JSON.stringify(Array.from({ length: batch }, (_, n) => kind.line(n, random))));
    const send = async (body: Uint8Array) => {
      const headers = { authorization: `Bearer ${secret}`, "content-encoding": "gzip" };
      const response = await fetch(`${url}/log-drain`, { method: "POST", headers, body: body as BodyInit });
      if (!response.ok) throw new Error(`log-drain answers ${response.status}: ${await response.text()}`);
      const { refused } = await response.json() as { refused: number };
      if (refused > 0) throw new Error(`${refused} lines were refused`);
    };
    const bodies = Array.from({ length: Math.ceil(lines / batch) }, make);
    const batches = bodies.length;
    // Code and plans are loaded by the first, on each connection.
    await Promise.all(Array.from({ length: senders }, () => send(make())));
    const entries = await entriesOf(database);
    await resetPeakMemory(pid);
    const cpu = await cpuSeconds(pid);
    const start = performance.now();
    await Promise.all(Array.from({ length: senders }, async () => {
      for (let body = bodies.pop(); body !== undefined; body = bodies.pop()) await send(body);
    }));
    return {
      kind: kind.name,
      batch,
      senders,
      lines: batches * batch,
      seconds: (performance.now() - start) / 1_000,
      entries: await entriesOf(database) - entries,
      cpu_ms: 1_000 * (await cpuSeconds(pid) - cpu) / batches,
      memory_mb: await peakMemory(pid),
    };
  });
  if (run.entries === 0) throw new Error("no line became an entry");
  await withClient(database.url, async (client) => {
    const { rows } = await client.query("select * from audit.verify() where status <> 'verified'");
    if (rows.length > 0) throw new Error(`chains that do not verify:\n${JSON.stringify(rows, null, 2)}`);
  });
  return run;
}

type Ingest = { url: string; pid: number; secret: string };

/** The function itself, without the gateway, which is our stand-in and no part of the product. */
async function withIngest<T>({ url }: Database, work: (ingest: Ingest) => Promise<T>): Promise<T> {
  const secret = randomBytes(32).toString("base64url");
  const logDir = await mkdtemp(join(tmpdir(), "audit-bench-ingest-"));
  const functions = createFunctions({
    root: fileURLToPath(new URL("../../", import.meta.url)),
    logDir,
    env: { SUPABASE_DB_URL: url, AUDIT_DRAIN_SECRET: secret },
  });
  try {
    await functions.call("audit-ingest", new Request("http://127.0.0.1/"), "/");
    const { pid, port } = await findWorker();
    return await work({ url: `http://127.0.0.1:${port}/audit-ingest`, pid, secret });
  } finally {
    await functions.stop();
    await rm(logDir, { recursive: true, force: true });
  }
}

async function entriesOf({ url }: Database): Promise<number> {
  return await withClient(
    url,
    async (client) => Number((await client.query("select count(*) from public.audit_logs")).rows[0].count),
  );
}

/** Microseconds for a place among as many ranges as a data set of countries has. */
async function lookUp({ url }: Database): Promise<number> {
  return await withClient(url, async (client) => {
    await client.query(
      `insert into audit.places select n, 'C' || n from generate_series(1, 240) n;
       insert into audit.place_ranges select '1.0.0.0'::inet + n::bigint * 10000, 1 + n % 240 from generate_series(0, 350000) n;
       insert into audit.place_ranges values ('::', null);
       insert into audit.place_ranges select '2001::'::inet + n::bigint * 1000000007, 1 + n % 240 from generate_series(0, 350000) n;
       analyze audit.place_ranges;`,
    );
    const addresses = Array.from({ length: 20_000 }, () => [...randomBytes(4)].join("."));
    const query = "select count((audit.place_of(a)).country) from unnest($1::text[]) a";
    await client.query(query, [addresses]);
    const start = performance.now();
    await client.query(query, [addresses]);
    return (performance.now() - start) * 1_000 / addresses.length;
  });
}
