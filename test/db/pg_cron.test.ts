// The real pg_cron, where there is one: PG_BIN names Debian's PostgreSQL 15 with postgresql-15-cron, which is version 1.4
// and knows minutes only. pg_net stays our stand-in, without the worker that would send what is queued.
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createEventTriggers, loadBase } from "../../scripts/stack/base.ts";
import { type Cluster, databaseUrl, startPostgres } from "../../scripts/stack/postgres.ts";
import { productSql } from "../support/cluster.ts";
import { expectVerified } from "../support/log.ts";

const BIN = process.env.PG_BIN;
const ACME = "0a000000-0000-4000-8000-000000000001";

describe.skipIf(BIN === undefined || !existsSync(join(BIN, "../lib/pg_cron.so")))("the real pg_cron", () => {
  let folder: string;
  let cluster: Cluster;
  let client: pg.Client;
  let admin: pg.Client;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "audit-cron-"));
    await chmod(folder, 0o755);
    cluster = await startPostgres({
      dataDir: join(folder, "data"),
      bin: BIN!,
      settings: { fsync: "off", shared_preload_libraries: "pg_cron", "cron.database_name": "project" },
    });
    const maintenance = await connect(cluster.adminUrl());
    await maintenance.query("create database project");
    await maintenance.end();
    admin = await connect(cluster.adminUrl("project"));
    await loadBase(cluster.adminUrl("project"), { cron: "extension" });
    client = await connect(databaseUrl(cluster.port, "postgres", undefined, "project"));
    for (const source of await productSql()) await client.query(source);
    await createEventTriggers(cluster.adminUrl("project"));
    await client.query(await readFile(new URL("../support/application.sql", import.meta.url), "utf8"));
  });
  afterAll(async () => {
    await client?.end();
    await admin?.end();
    await cluster?.stop("immediate");
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  });

  async function connect(connectionString: string): Promise<pg.Client> {
    const made = new pg.Client({ connectionString });
    await made.connect();
    return made;
  }

  /** The first value of the first row. */
  async function value<T>(text: string): Promise<T> {
    return (await client.query({ text, rowMode: "array" })).rows[0]?.[0] as T;
  }

  test("takes every schedule; those of seconds as minutes where it knows no seconds", async () => {
    const { rows } = await client.query<{ schedule: string; jobs: number }>(
      "select schedule, count(*)::int as jobs from cron.job where jobname like 'audit-%' and username = 'postgres' group by 1",
    );
    const knowsSeconds = await value<boolean>("select extversion >= '1.5' from pg_extension where extname = 'pg_cron'");
    expect(rows.some(({ schedule }) => /seconds$/.test(schedule))).toBe(knowsSeconds);
    expect(rows.find(({ schedule }) => schedule === "* * * * *")!.jobs).toBeGreaterThan(knowsSeconds ? 3 : 12);
    // Loaded again, nothing is scheduled twice.
    const before = await value<string>("select count(*) from cron.job");
    for (const source of await productSql()) await client.query(source);
    expect(await value<string>("select count(*) from cron.job")).toBe(before);
  });

  test("runs each of them, and each does its work", async () => {
    await client.query("insert into public.organizations (id) values ($1)", [ACME]);
    await client.query("select audit.create_rule($1)", [
      JSON.stringify({ organization_id: ACME, name: "Budget made", kind: "event", match: "action:budget.created" }),
    ]);
    await client.query("insert into public.budgets (organization_id) select $1 from generate_series(1, 300)", [ACME]);
    await client.query(
      "select vault.create_secret('http://127.0.0.1:9/audit-jobs', 'audit_jobs_url'), vault.create_secret('s', 'audit_jobs_secret')",
    );
    // Months away from being needed, so that there is a partition to make.
    const newest = await value<string>(
      "select max(c.relname) from pg_class c where c.relname ~ '^audit_logs_\\d{4}_\\d\\d$' and c.relkind = 'r'",
    );
    await admin.query(`drop table public.${newest}`);
    await client.query(
      `insert into cron.job_run_details (runid, command, username, status, start_time, end_time)
       select n, c, 'postgres', 'succeeded', now() - interval '2 hours', now() - interval '2 hours'
       from (values (1000001, 'select audit.purge()'), (1000002, 'select mine()')) v (n, c)`,
    );
    // What is due once an hour, or in the night, is due at the next minute for once: nobody waits for it here.
    await admin.query(
      "select cron.alter_job(jobid, schedule => '* * * * *') from cron.job where jobname like 'audit-%' and schedule !~ 'seconds$'",
    );

    type Run = { jobname: string; status: string; return_message: string };
    const runs = async () =>
      (await client.query<Run>(
        `select j.jobname, d.status, d.return_message from cron.job_run_details d join cron.job j using (jobid)
         where j.jobname like 'audit-%' and d.status in ('succeeded', 'failed')`,
      )).rows;
    const jobs = Number(await value<string>("select count(*) from cron.job where jobname like 'audit-%'"));
    const ran = async () => new Set((await runs()).map(({ jobname }) => jobname)).size;
    for (let second = 0; second < 150 && await ran() < jobs; second++) await sleep(1000);
    expect((await runs()).filter(({ status }) => status !== "succeeded")).toEqual([]);
    expect(await ran()).toBe(jobs);

    // What other jobs wrote in the same minute is indexed in the next.
    const indexed = `select count(*) from audit.search_index where organization_id = '${ACME}'`;
    expect(Number(await value<string>(indexed))).toBeGreaterThanOrEqual(300);
    // Rules may have had their turn before the entries were there: the next is a minute later.
    const alerted = () => value<string>(`select occurrences from audit.alerts where organization_id = '${ACME}'`);
    for (let second = 0; second < 90 && await alerted() === undefined; second++) await sleep(1000);
    const evaluations = (await runs()).filter(({ jobname }) => jobname === "audit-rules");
    expect(await alerted(), JSON.stringify(evaluations)).toBe("300");
    expect(await value<boolean>(`select to_regclass('public.${newest}') is not null`)).toBe(true);
    expect(await value<string>("select string_agg(command, ' ') from cron.job_run_details where runid > 1000000")).toBe(
      "select mine()",
    );
    expect(await value<string>("select count(*) from net.http_request_queue where url like '%/audit-jobs/seal'")).not
      .toBe("0");
    await expectVerified(client);
  }, 240_000);
});
