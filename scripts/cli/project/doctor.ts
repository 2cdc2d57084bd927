// Whether an installation is whole: one line a check, with the way out where it is not. Reads, and changes nothing.
import pg from "pg";
import type { Payload } from "./payload.ts";
import { suggest, type Suggestion } from "./suggest.ts";

export type Check = { check: string; state: "ok" | "warn" | "fail"; message: string; way_out?: string };
export type Diagnosis = { checks: Check[]; suggestions: Suggestion[]; membership: string | null };

type Client = pg.Client;
/** What a check says; several lines where several things are wrong. */
type Answer = Omit<Check, "check"> | Omit<Check, "check">[];

const ok = (message: string) => ({ state: "ok" as const, message });
const warn = (message: string, way_out?: string) => ({ state: "warn" as const, message, ...way(way_out) });
const fail = (message: string, way_out?: string) => ({ state: "fail" as const, message, ...way(way_out) });
const way = (way_out: string | undefined) => way_out === undefined ? {} : { way_out };

/** The migration loads twice without harm. */
const AGAIN =
  "supabase migration repair --status reverted <version of our migration>, then supabase db push --include-all";

export async function diagnose(client: Client, payload: Payload, schemas: string[]): Promise<Diagnosis> {
  const checks: Check[] = [];
  const add = async (check: string, work: () => Promise<Answer>): Promise<boolean> => {
    const answers = await work().catch((error: Error) => fail(`could not be checked: ${error.message}`));
    for (const answer of [answers].flat()) checks.push({ check, ...answer });
    return [answers].flat().every(({ state }) => state !== "fail");
  };

  await add("server", () => server(client));
  const installed = await add("version", () => version(client, payload));
  const { tables, membership } = await suggest(client, schemas, payload.migration);
  if (!installed) return { checks, suggestions: tables, membership };
  await add("privileges", () => privileges(client));
  await add("coverage", () => coverage(client));
  await add(
    "tables",
    async () =>
      tables.length === 0 ? ok(`every table of ${schemas.join(", ")} is tracked`) : warn(
        `${tables.length} of ${schemas.join(", ")} not tracked: ${tables.map(({ table }) => table).join(", ")}`,
        "see below",
      ),
  );
  await add("members", () => members(client, membership));
  await add("schedules", () => schedules(client, payload));
  await add("pg_net", () => network(client));
  const target = await functionsOf(client);
  await add("vault", async () => target.answer);
  if (target.url !== undefined) {
    for (const each of await functions(target.url, target.secret, payload.version)) checks.push(each);
  }
  await add("sealing", () => sealing(client));
  await add("verification", () => verification(client));
  await add("findings", () => findings(client));
  await add("backups", () => backups(client));
  await add("auth", () => auth(client));
  await add("retention", () => retention(client));
  await add("settings", () => settings(client));
  return { checks, suggestions: tables, membership };
}

async function server(client: Client): Promise<Answer> {
  const row = await one<{ version: number; text: string; role: string; supabase: boolean; prepared: string }>(
    client,
    `select current_setting('server_version_num')::int as version, current_setting('server_version') as text, current_user as role,
       to_regprocedure('auth.uid()') is not null and to_regrole('authenticated') is not null as supabase,
       current_setting('max_prepared_transactions') as prepared`,
  );
  if (row.version < 150000) {
    return fail(`PostgreSQL ${row.text} is too old`, "upgrade the project to PostgreSQL 15 or later");
  }
  if (!row.supabase) return fail("this is no Supabase database: auth.uid() or a role is missing");
  return ok(`PostgreSQL ${row.text}, as ${row.role}`);
}

async function version(client: Client, { version }: Payload): Promise<Answer> {
  const row = await one<{ log: boolean; version: boolean }>(
    client,
    `select to_regclass('public.audit_logs') is not null as log, to_regprocedure('audit.version()') is not null as version`,
  );
  if (!row.log) return fail("the audit log is not installed", "npx supabase-audit-logs init, then supabase db push");
  if (!row.version) {
    return fail("an early version is installed", "npx supabase-audit-logs upgrade, then supabase db push");
  }
  const { version: found } = await one<{ version: string }>(client, "select audit.version() as version");
  if (found === version) return ok(version);
  return warn(
    `the database has ${found}, this package is ${version}`,
    "npx supabase-audit-logs upgrade, then supabase db push",
  );
}

async function privileges(client: Client): Promise<Answer> {
  const { owner, member } = await one<{ owner: string; member: boolean }>(
    client,
    `select n.nspowner::regrole::text as owner, pg_has_role(n.nspowner, 'usage') as member
     from pg_namespace n where n.nspname = 'audit'`,
  );
  if (!member) return fail(`schema audit belongs to ${owner}, whose rights this role lacks`, `connect as ${owner}`);
  const { rows } = await client.query<{ grantee: string; privilege: string }>(
    `select a.grantee::regrole::text as grantee, string_agg(a.privilege_type, ', ' order by a.privilege_type) as privilege
     from pg_class c cross join lateral aclexplode(c.relacl) a
     where c.oid = 'public.audit_logs'::regclass and a.grantee <> all (array['audit_writer'::regrole, 'audit_purger'::regrole]::oid[])
       and a.privilege_type in ('INSERT', 'UPDATE', 'DELETE', 'TRUNCATE')
     group by 1`,
  );
  if (rows.length === 0) return ok("nobody who can log in may write the log");
  return rows.map(({ grantee, privilege }) =>
    fail(`${grantee} has ${privilege} on the log`, `revoke ${privilege} on public.audit_logs from ${grantee}`)
  );
}

async function coverage(client: Client): Promise<Answer> {
  const { rows } = await client.query<
    { table_name: string; tracked: boolean; healthy: boolean; finding: string; way_out: string }
  >(
    "select table_name, tracked, healthy, finding, way_out from audit.coverage order by table_name",
  );
  const broken = rows.filter(({ healthy }) => !healthy);
  if (broken.length > 0) return broken.map((each) => fail(`${each.table_name}: ${each.finding}`, each.way_out));
  const { tracked } = await one<{ tracked: number }>(
    client,
    "select count(*)::int as tracked from audit.tracked_tables",
  );
  if (tracked === 0) return warn("no table of the application is tracked", "select audit.track('public.…')");
  return ok(`${tracked} tables tracked, capture whole`);
}

async function members(client: Client, suggestion: string | null): Promise<Answer> {
  const { unknown } = await one<{ unknown: boolean }>(
    client,
    "select prosrc ~ 'where false' as unknown from pg_proc where oid = 'audit.memberships(uuid)'::regprocedure",
  );
  if (!unknown) return ok("the table of memberships is known");
  return warn(
    "nobody reads the log through the API: the table of memberships is not known",
    suggestion ?? "select audit.use_membership('public.…', organization_column, user_column, role_column)",
  );
}

async function schedules(client: Client, { migration }: Payload): Promise<Answer> {
  const { there } = await one<{ there: boolean }>(client, "select to_regclass('cron.job') is not null as there");
  if (!there) {
    return fail(
      "pg_cron is not installed: nothing runs by itself",
      `enable pg_cron in the dashboard; then ${AGAIN}`,
    );
  }
  const wanted = new Set([...migration.matchAll(/\bschedule\(\s*'(audit-[\w-]+)'/g)].map(([, name]) => name!));
  const { rows } = await client.query<
    { name: string; active: boolean; status: string | null; message: string | null; late: boolean; ran: boolean }
  >(
    `select j.jobname as name, j.active, l.status, left(l.return_message, 120) as message, l.status is not null as ran,
       coalesce(j.schedule ~ 'second|^\\* ' and l.start_time < now() - interval '10 minutes', false) as late
     from cron.job j
     left join lateral (
       select d.status, d.return_message, d.start_time from cron.job_run_details d
       where d.jobid = j.jobid and d.status in ('succeeded', 'failed') order by d.runid desc limit 1
     ) l on true
     where j.jobname like 'audit-%' order by j.jobname`,
  );
  const known = new Set(rows.map(({ name }) => name));
  const missing = [...wanted].filter((name) => !known.has(name));
  const answers = [
    ...missing.length === 0 ? [] : [fail(`missing: ${missing.join(", ")}`, AGAIN)],
    ...rows.filter(({ active }) => !active).map(({ name }) =>
      fail(
        `${name} is not active`,
        `select cron.alter_job(jobid, active := true) from cron.job where jobname = '${name}'`,
      )
    ),
    ...rows.filter(({ status }) => status === "failed").map(({ name, message }) =>
      fail(
        `${name} fails: ${message}`,
        `select * from cron.job_run_details where command = (select command from cron.job where jobname = '${name}') order by runid desc`,
      )
    ),
    ...rows.filter(({ late }) => late).map(({ name }) =>
      fail(`${name} has not run for ten minutes`, "restart the database: pg_cron hangs")
    ),
  ];
  if (answers.length > 0) return answers;
  const ran = rows.filter((row) => row.ran).length;
  return ran === 0
    ? warn(`${rows.length} schedules, none has run yet`, "look again in a minute")
    : ok(`${rows.length} schedules, ${ran} have run, none failed`);
}

async function network(client: Client): Promise<Answer> {
  const { there } = await one<{ there: boolean }>(client, "select to_regproc('net.http_post') is not null as there");
  return there ? ok("installed") : fail("not installed: the functions are never called", "create extension pg_net");
}

async function functionsOf(client: Client): Promise<{ answer: Answer; url?: string; secret?: string }> {
  const { there } = await one<{ there: boolean }>(
    client,
    "select to_regclass('vault.decrypted_secrets') is not null as there",
  );
  if (!there) return { answer: fail("the Vault is not installed", "create extension supabase_vault") };
  const { url, secret } = await one<{ url: string | null; secret: string | null }>(
    client,
    `select max(s.decrypted_secret) filter (where s.name = 'audit_jobs_url') as url,
       max(s.decrypted_secret) filter (where s.name = 'audit_jobs_secret') as secret
     from vault.decrypted_secrets s`,
  );
  if (url === null || secret === null || !/^https?:\/\//.test(url)) {
    const name = secret === null ? "audit_jobs_secret" : "audit_jobs_url";
    return {
      answer: fail(`${name} is missing or no URL`, "npx supabase-audit-logs init --secrets, then supabase db push"),
    };
  }
  return {
    answer: ok("audit_jobs_url and audit_jobs_secret are there"),
    url: url.replace(/\/audit-jobs\/?$/, ""),
    secret,
  };
}

/** Each function is asked something that shows that it is ours and works; the secret goes to the Vault's URL only. */
async function functions(base: string, secret: string | undefined, version: string): Promise<Check[]> {
  const ask = async (
    path: string,
    init: RequestInit = {},
  ): Promise<{ status: number; body: Record<string, unknown> }> => {
    const response = await fetch(`${base}/${path}`, {
      ...init,
      redirect: "error",
      signal: AbortSignal.timeout(20_000),
    });
    return { status: response.status, body: await response.json().catch(() => ({})) as Record<string, unknown> };
  };
  const deploy = "supabase functions deploy --use-api";
  const secrets = "supabase secrets set --env-file supabase/.env.local";
  const tries: [string, () => Promise<Answer>][] = [
    ["audit", async () => {
      const { status, body } = await ask("audit/health");
      if (status === 200 && body.version === version) return ok(`answers, version ${version}`);
      if (status === 200) return warn(`answers with version ${body.version}, this package is ${version}`, deploy);
      return fail(`answers ${status}${body.database === undefined ? "" : `, database ${body.database}`}`, deploy);
    }],
    ["audit-jobs", async () => {
      // A job that there is none of: the secret is looked at first.
      const { status, body } = await ask("audit-jobs/none", {
        method: "POST",
        headers: { authorization: `Bearer ${secret}` },
      });
      if (status === 404 && body.code === "route_not_found") return ok("answers, and takes the Vault's secret");
      if (status === 401) {
        return fail("does not take the Vault's audit_jobs_secret", `${secrets}; both are AUDIT_JOBS_SECRET`);
      }
      return fail(`answers ${status}`, status >= 500 ? `${secrets}, then ${deploy}` : deploy);
    }],
    ["audit-ingest", async () => {
      const { status, body } = await ask("audit-ingest/none");
      return status === 404 && body.code === "route_not_found" ? ok("answers") : fail(`answers ${status}`, deploy);
    }],
    ["audit-viewer", async () => {
      const { status, body } = await ask("audit-viewer/config.json");
      if (status !== 200) return fail(`answers ${status}`, deploy);
      return (body.log_keys as string[] | undefined)?.length
        ? ok("answers, and knows the log's key")
        : warn("does not know the log's key: the page verifies nothing", `set AUDIT_LOG_VKEYS: ${secrets}`);
    }],
  ];
  return Promise.all(tries.map(async ([name, work]) => {
    const answer = await work().catch((error: Error) => fail(`cannot be reached at ${base}: ${error.message}`, deploy));
    return { check: `function ${name}`, ...answer as Omit<Check, "check"> };
  }));
}

async function sealing(client: Client): Promise<Answer> {
  const row = await one<{ published: string; entries: string; seconds: string | null }>(
    client,
    `select (select coalesce(sum(l.published), 0) from audit.logs l) as published,
       coalesce(sum(w.to_seq - w.from_seq + 1), 0) as entries, extract(epoch from now() - min(w.since))::int as seconds
     from audit.waiting_chains() w`,
  );
  const waiting = Number(row.seconds ?? 0);
  const out = "see the check of function audit-jobs; its log says why, as a rule that AUDIT_LOG_KEY is missing";
  if (waiting > 600) return fail(`${row.entries} entries wait, the oldest for ${waiting} s`, out);
  if (row.published === "0") {
    return warn(
      `nothing is sealed yet; ${row.entries} entries wait, the oldest for ${waiting} s`,
      "look again in two minutes",
    );
  }
  return ok(`${row.published} entries sealed; ${row.entries} wait, the oldest for ${waiting} s`);
}

async function verification(client: Client): Promise<Answer> {
  const row = await one<{ organizations: number; verified: number; broken: number }>(
    client,
    `select count(*)::int as organizations, count(*) filter (where was_verified)::int as verified,
       count(*) filter (where not was_verified)::int as broken from audit.integrity`,
  );
  if (row.broken > 0) {
    return fail(
      `the logs of ${row.broken} organisations do not verify`,
      "select * from audit.verify() where status = 'broken'",
    );
  }
  if (row.verified < row.organizations) {
    return warn(
      `${row.verified} of ${row.organizations} organisations verified so far`,
      "look again later, or select * from audit.verify()",
    );
  }
  return ok(`the logs of all ${row.organizations} organisations were verified`);
}

async function findings(client: Client): Promise<Answer> {
  const { rows } = await client.query<{ kind: string; number: number; subject: string }>(
    `select kind, count(*)::int as number, min(subject) as subject from audit.findings where resolved_at is null group by kind order by kind`,
  );
  if (rows.length === 0) return ok("none open");
  return rows.map(({ kind, number, subject }) =>
    fail(
      `${number} × ${kind}, first ${subject}`,
      `select * from audit.findings where kind = '${kind}' and resolved_at is null`,
    )
  );
}

async function backups(client: Client): Promise<Answer> {
  const row = await one<{ days: string; newest: string | null; late: boolean }>(
    client,
    `select audit.setting('backup_days')::text as days, max(b.made_at)::text as newest,
       coalesce(max(b.made_at) < now() - interval '2 days', false) as late
     from audit.backups b where b.deleted_at is null`,
  );
  if (row.days === "0") return warn("switched off", "select audit.configure('backup_days', '35')");
  if (row.newest === null) return warn("none yet", "one is made within a day; AUDIT_BACKUP_KEY must be set");
  return row.late
    ? fail(`the newest is of ${row.newest}`, "see the log of function audit-jobs")
    : ok(`the newest is of ${row.newest}`);
}

async function auth(client: Client): Promise<Answer> {
  const { rows } = await client.query<{ path: string; captures: string; state: string; way_out: string | null }>(
    "select path, captures, state, way_out from audit.auth_coverage",
  );
  const gaps = rows.filter(({ way_out }) => way_out !== null);
  if (gaps.length === 0) return ok("every path is open");
  return gaps.map(({ path, captures, state, way_out }) =>
    (path === "trigger" || path === "waiting" ? fail : warn)(`${path}, ${captures}: ${state}`, way_out!)
  );
}

async function retention(client: Client): Promise<Answer> {
  const { chosen } = await one<{ chosen: number }>(
    client,
    "select count(*)::int as chosen from audit.retention_periods",
  );
  return chosen === 0 ? ok("no period is chosen: entries stay for ever") : ok(`${chosen} chosen`);
}

async function settings(client: Client): Promise<Answer> {
  const { rows } = await client.query<{ name: string; value: string }>(
    `select name, value::text from audit.settings where organization_id = audit.system_organization() order by name`,
  );
  return ok(rows.map(({ name, value }) => `${name} ${value}`).join(", "));
}

async function one<Row extends object>(client: Client, text: string): Promise<Row> {
  return (await client.query<Row>(text)).rows[0]!;
}

/** Opens the database; neither password nor address is in the error. */
export async function connectTo(url: string): Promise<Client> {
  const client = new pg.Client({
    connectionString: url,
    application_name: "supabase-audit-logs",
    connectionTimeoutMillis: 15_000,
  });
  client.on("error", () => {});
  await client.connect();
  return client;
}
