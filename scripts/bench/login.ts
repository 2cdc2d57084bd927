// What capture adds to a login, beside the same login without it, one by one in turn; and how many events of a log are
// settled in a second.
import type pg from "pg";
import { type Cluster, databaseUrl } from "../stack/postgres.ts";
import { withCluster } from "./cluster.ts";
import { checkLog } from "./log_check.ts";
import { type Machine, readMachine } from "./machine.ts";
import { percentile } from "./statistics.ts";
import { judge, type Judged, LOGIN_GOALS } from "./targets.ts";
import { type Database, makeTemplates, withClient } from "./variants.ts";

export type LoginOptions = { logins: number; dir?: string; onProgress(line: string): void };

/** Milliseconds in ascending order, without capture and with it. */
type Step = { title: string; without: number[]; with: number[] };
type Ingestion = { title: string; batch: number; events: number; seconds: number };
export type LoginReport = {
  machine: Machine;
  steps: Step[];
  hook: number[];
  ingestions: Ingestion[];
  targets: Judged[];
};

const USERS = 200;
const EVENTS = 20_000;

export function benchLogin({ logins, dir, onProgress }: LoginOptions): Promise<LoginReport> {
  return withCluster("disk", dir, async (cluster) => {
    const machine = await readMachine(cluster.adminUrl());
    await makeTemplates(cluster, undefined);
    const bare = await prepare(cluster, "unaudited");
    const ours = await prepare(cluster, "ours");
    return withClient(authUrl(cluster, bare), (without) =>
      withClient(authUrl(cluster, ours), async (captured) => {
        const steps: Step[] = [];
        for (const auditRows of [false, true]) {
          const title = auditRows ? "login, with Auth's own row" : "login";
          const step: Step = { title, without: [], with: [] };
          for (let turn = -20; turn < logins; turn++) {
            const times = [await login(without, turn, auditRows), await login(captured, turn, auditRows)];
            if (turn < 0) continue; // plans are made
            step.without.push(times[0]!);
            step.with.push(times[1]!);
          }
          steps.push({ title, without: step.without.sort(ascending), with: step.with.sort(ascending) });
          onProgress(title);
        }
        const hook: number[] = [];
        for (let turn = -20; turn < logins; turn++) {
          const time = await failedLogin(captured, turn);
          if (turn >= 0) hook.push(time);
        }
        hook.sort(ascending);
        const ingestions = await ingestAll(ours.url, onProgress);
        await checkLog(ours);
        const added = (step: Step) => percentile(step.with, 0.95) - percentile(step.without, 0.95);
        const slowest = Math.min(...ingestions.map(({ events, seconds }) => events / seconds));
        return {
          machine,
          steps,
          hook,
          ingestions,
          targets: [
            judge(LOGIN_GOALS.added, Math.max(...steps.map(added))),
            judge(LOGIN_GOALS.hook, percentile(hook, 0.95)),
            judge(LOGIN_GOALS.ingestion, slowest),
          ],
        };
      }));
  });
}

const ascending = (a: number, b: number) => a - b;

function authUrl(cluster: Cluster, { variant }: Database): string {
  return databaseUrl(cluster.port, "supabase_auth_admin", undefined, `login_${variant}`);
}

/** Two hundred people, each in one or two of twenty organisations. */
async function prepare(cluster: Cluster, variant: Database["variant"]): Promise<Database> {
  const name = `login_${variant}`;
  await withClient(cluster.adminUrl(), (admin) => admin.query(`create database ${name} template template_${variant}`));
  const url = databaseUrl(cluster.port, "postgres", undefined, name);
  await withClient(cluster.adminUrl(name), async (admin) => {
    await admin.query(
      `create table public.organization_members (organization_id uuid, user_id uuid, role text, primary key (user_id, organization_id));
       insert into public.organization_members
       select substr(md5('o' || (n + o) % 20), 1, 32)::uuid, md5('u' || n)::uuid, 'member'
       from generate_series(0, ${USERS - 1}) n, generate_series(0, 1) o where o <= n % 2;
       insert into auth.users (id, email, encrypted_password, raw_app_meta_data, created_at)
       select md5('u' || n)::uuid, 'user' || n || '@acme.example', 'hash', '{"provider": "email"}', now() - interval '1 day'
       from generate_series(0, ${USERS - 1}) n`,
    );
    if (variant === "ours") await admin.query("select audit.use_membership('public.organization_members')");
    await admin.query("vacuum analyze");
  });
  return { variant, url, adminUrl: cluster.adminUrl(name) };
}

/** The statements of a password login, as Auth sends them. */
async function login(client: pg.Client, turn: number, auditRow: boolean): Promise<number> {
  const user = `md5('u${Math.abs(turn) % USERS}')::uuid`;
  const session = crypto.randomUUID();
  const start = performance.now();
  await client.query("begin");
  if (auditRow) {
    await client.query(
      `insert into auth.audit_log_entries (instance_id, id, payload, created_at, ip_address)
       values ('00000000-0000-0000-0000-000000000000', gen_random_uuid(),
         json_build_object('action', 'login', 'actor_id', ${user}, 'log_type', 'account'), now(), '')`,
    );
  }
  await client.query(
    `insert into auth.sessions (id, user_id, created_at, updated_at, aal, user_agent, ip)
     values ($1, ${user}, now(), now(), 'aal1', 'Mozilla/5.0 (X11; Linux x86_64)', '203.0.113.${
      Math.abs(turn) % 250
    }')`,
    [session],
  );
  await client.query(
    `insert into auth.mfa_amr_claims (session_id, created_at, updated_at, authentication_method, id)
     values ($1, now(), now(), 'password', gen_random_uuid())`,
    [session],
  );
  await client.query(
    `insert into auth.refresh_tokens (token, user_id, revoked, created_at, updated_at, session_id)
     values ($1, ${user}, false, now(), now(), $2)`,
    [crypto.randomUUID(), session],
  );
  await client.query(`update auth.users set last_sign_in_at = now(), updated_at = now() where id = ${user}`);
  await client.query("commit");
  return performance.now() - start;
}

async function failedLogin(client: pg.Client, turn: number): Promise<number> {
  const start = performance.now();
  await client.query(
    `select audit.hook_password_verification_attempt(jsonb_build_object('user_id', md5('u${
      Math.abs(turn) % USERS
    }')::uuid,
       'valid', false, 'metadata', jsonb_build_object('time', now(), 'ip_address', '203.0.113.9')))`,
  );
  return performance.now() - start;
}

/** Failed logins as a log tells them, every one an entry. */
async function ingestAll(url: string, onProgress: (line: string) => void): Promise<Ingestion[]> {
  const shapes = [
    {
      title: "unknown addresses, each its own",
      email: "'u' || g || '@x.example'",
      ip: "'10.' || g / 65536 || '.' || g / 256 % 256 || '.' || g % 256",
    },
    { title: "no address, one IP", email: "null", ip: "'192.0.2.9'" },
    {
      title: "200 accounts from 50 IPs",
      email: `'user' || g % ${USERS} || '@acme.example'`,
      ip: "'10.0.0.' || g % 50",
    },
  ];
  const ingestions: Ingestion[] = [];
  let from = 0;
  for (const { title, email, ip } of shapes) {
    for (const batch of [250, 1000]) {
      const seconds = await withClient(url, async (client) => {
        let spent = 0;
        for (let told = 0; told < EVENTS; told += batch, from += batch) {
          // Made apart, so that only settling is timed.
          const { rows: [made] } = await client.query<{ events: string }>(
            `select array_agg(row('log', 'user.login_failed', 'failure', now() - g % 60000 * interval '1 ms', null, ${email}, ${ip}, 'curl/8.5',
               null, 'request-' || g, '{"reason": "invalid_credentials"}')::audit.auth_event)::text as events
             from generate_series(${from}, ${from + batch - 1}) g`,
          );
          const start = performance.now();
          await client.query("select count(*) from audit.record_auth($1::audit.auth_event[])", [made!.events]);
          spent += performance.now() - start;
        }
        return spent / 1000;
      });
      ingestions.push({ title, batch, events: EVENTS, seconds });
      onProgress(`${title}, batches of ${batch}: ${Math.round(EVENTS / seconds)} events/s`);
    }
  }
  return ingestions;
}
