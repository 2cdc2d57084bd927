// The database that a generated log lies in: with the product of this checkout, its search index up to date, in a
// cluster that is thrown away or, with `keep`, stays for the next run.
import { createHash } from "node:crypto";
import type pg from "pg";
import { createEventTriggers, loadBase } from "../stack/base.ts";
import { type Cluster, databaseUrl } from "../stack/postgres.ts";
import { type Commit, withCluster, withKeptCluster } from "./cluster.ts";
import { generateLog } from "./generated_log.ts";
import { fillSearchIndex } from "./generated_log_index.ts";
import { actorId, type LogPlan } from "./generated_log_plan.ts";
import { loadProduct, productSources, withClient } from "./variants.ts";

export type LogDatabase = {
  plan: LogPlan;
  cluster: Cluster;
  /** Of the database. */
  name: string;
  /** Of role postgres, which is no superuser, as the functions connect. */
  url: string;
  adminUrl: string;
  /** The organisation that is measured, and one of its admins. */
  organization: string;
  admin: string;
};

export type LogDatabaseOptions = {
  entries: number;
  seed?: number;
  /** Without it the search index stays empty, which takes most of the time. */
  searched?: boolean;
  /** What a commit costs; default: the disk's own flush. */
  commit?: Exclude<Commit, "1ms">;
  /** The folder of a cluster that stays. */
  keep?: string;
  /** Where a cluster that does not stay is made. */
  dir?: string;
  onProgress(line: string): void;
};

/** What is read from the search index's own file decides whether it must be made anew. */
const INDEX_FILE = /^\d+_search_index\.sql$/;

/** Of what these define nothing is stored in, and while they are written their signatures change. */
const READ_FILE = /^5\d\d_/;

/** In memory and without flushing, loading is the processor's work alone; what is measured runs with the usual settings. */
const LOADING = ["fsync = off", "full_page_writes = off", "autovacuum = off", "max_wal_size = '8GB'"];

export function withLogDatabase<T>(options: LogDatabaseOptions, work: (log: LogDatabase) => Promise<T>): Promise<T> {
  const { keep, dir, commit = "disk" } = options;
  const run = async (cluster: Cluster) => work(await openLog(cluster, options));
  return keep === undefined ? withCluster(commit, dir, run) : withKeptCluster(commit, keep, run);
}

async function openLog(
  cluster: Cluster,
  { entries, seed = 1, searched = true, onProgress }: LogDatabaseOptions,
): Promise<LogDatabase> {
  const name = `log_${entries}`;
  const adminUrl = cluster.adminUrl(name);
  const url = databaseUrl(cluster.port, "postgres", undefined, name);
  await withClient(cluster.adminUrl(), async (admin) => {
    await set(admin, LOADING);
    const { rowCount } = await admin.query("select from pg_database where datname = $1", [name]);
    if (rowCount === 0) {
      await admin.query(`create database ${name}`);
      await loadBase(adminUrl);
      await admin.query(`alter database ${name} owner to postgres`);
    }
  });
  await bringUpToDate(adminUrl, url, onProgress);
  const end = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000);
  const plan = await generateLog(adminUrl, { entries, seed, end, onProgress });
  if (searched) await fillSearchIndex(adminUrl, onProgress);
  await withClient(cluster.adminUrl(), async (admin) => {
    await reset(admin, LOADING);
    await admin.query("checkpoint");
  });
  const organization = plan.organizations[0]!.id;
  return { plan, cluster, name, url, adminUrl, organization, admin: actorId(organization, 1) };
}

/** Loads the product where it is missing, or is not the one of this checkout. */
async function bringUpToDate(adminUrl: string, url: string, onProgress: (line: string) => void): Promise<void> {
  const sources = await productSources();
  const digests = Object.fromEntries(
    sources.map(({ name, source }) => [name, createHash("sha256").update(source).digest("hex")]),
  );
  await withClient(adminUrl, async (admin) => {
    await admin.query("set event_triggers = off");
    await admin.query("create table if not exists public.bench_sources (name text primary key, digest text not null)");
    const { rows } = await admin.query<{ name: string; digest: string }>(
      "select name, digest from public.bench_sources",
    );
    const loaded = new Map(rows.map(({ name, digest }) => [name, digest]));
    const changed = Object.keys(digests).filter((name) => loaded.get(name) !== digests[name]);
    if (changed.length === 0 && loaded.size === sources.length) return;
    onProgress(`Loading the product: ${rows.length === 0 ? "new" : `changed: ${changed.join(", ")}`}`);
    if (changed.some((name) => INDEX_FILE.test(name))) {
      await admin.query("drop table if exists audit.search_index, audit.search_positions cascade");
    }
    for (const { name, source } of sources) {
      if (changed.includes(name) && READ_FILE.test(name)) await dropDefinitions(admin, source);
    }
    await withClient(url, loadProduct);
    await createEventTriggers(adminUrl);
    await admin.query("truncate public.bench_sources");
    await admin.query("insert into public.bench_sources select key, value from jsonb_each_text($1)", [digests]);
  });
}

/** `create or replace` would leave the old function beside a new one with other parameters, and an old type as it is. */
async function dropDefinitions(admin: pg.Client, source: string): Promise<void> {
  for (const [, kind, name] of source.matchAll(/create (?:or replace )?(function|type) audit\.(\w+)/g)) {
    const { rows } = await admin.query<{ definition: string }>(
      kind === "type"
        ? `select format('type %s', oid::regtype) as definition from pg_type
           where typnamespace = to_regnamespace('audit') and typname = $1`
        : `select format('function %s', oid::regprocedure) as definition from pg_proc
           where pronamespace = to_regnamespace('audit') and proname = $1`,
      [name],
    );
    for (const { definition } of rows) await admin.query(`drop ${definition} cascade`);
  }
}

async function set(admin: pg.Client, settings: string[]): Promise<void> {
  for (const setting of settings) await admin.query(`alter system set ${setting}`);
  await admin.query("select pg_reload_conf()");
}

async function reset(admin: pg.Client, settings: string[]): Promise<void> {
  for (const setting of settings) await admin.query(`alter system reset ${setting.split(" ")[0]}`);
  await admin.query("select pg_reload_conf()");
}
