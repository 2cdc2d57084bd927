// Capture of Auth, broken in every way we could think of: signing up, in and out, failing and factors go on as if it were
// not there. What could not be written is written after the repair, or is a finding.
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { totp } from "../../scripts/stack/totp.ts";
import { authEntries, type AuthServer, PASSWORD, startAuth } from "../support/auth.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified } from "../support/log.ts";

let db: TestDatabase;
let admin: pg.Client;
let auth: AuthServer;

beforeEach(async () => {
  db = await createDatabase();
  admin = await db.connect(ADMIN);
  auth = await startAuth(db, { hooks: true, auditRows: true });
  await auth.signIn("before@acme.example");
  await admin.query("select audit.settle_waiting_auth()");
});
afterEach(async () => {
  await auth.stop();
  await db.drop();
});

/** Every kind of request that capture sees. */
async function everything(email: string): Promise<void> {
  const ask = async (status: number, path: string, options = {}) => {
    const answer = await auth.ask(path, options);
    expect([path, answer.status], JSON.stringify(answer.body)).toEqual([path, status]);
    return answer.body;
  };
  const { access_token: token, user } = await ask(200, "/signup", { body: { email, password: PASSWORD } });
  await ask(400, "/token?grant_type=password", { body: { email, password: "wrong" } });
  await ask(200, "/token?grant_type=password", { body: { email, password: PASSWORD } });
  const factor = await ask(200, "/factors", { token, body: { factor_type: "totp" } });
  const { id } = await ask(200, `/factors/${factor.id}/challenge`, { token });
  await ask(422, `/factors/${factor.id}/verify`, { token, body: { challenge_id: id, code: "000000" } });
  await ask(200, `/factors/${factor.id}/verify`, { token, body: { challenge_id: id, code: totp(factor.totp.secret) } });
  await ask(200, "/user", { method: "PUT", token, body: { password: "another password" } });
  await ask(200, `/admin/users/${user.id}`, {
    method: "PUT",
    token: auth.serviceKey,
    body: { app_metadata: { role: "x" } },
  });
  await ask(200, "/recover", { body: { email } });
  await ask(204, "/logout", { token });
  await ask(200, `/admin/users/${user.id}`, { method: "DELETE", token: auth.serviceKey });
}
const EVERYTHING = [
  "permission.granted",
  "user.deleted",
  "user.login",
  "user.login",
  "user.login_failed",
  "user.logout",
  "user.mfa_challenged",
  "user.mfa_enabled",
  "user.mfa_enrolled",
  "user.mfa_failed",
  "user.mfa_verified",
  "user.password_changed",
  "user.password_reset_requested",
  "user.session_revoked",
  "user.signed_up",
];

const raising = (name: string, signature: string, returns: string, what: string) =>
  `create or replace function audit.${name}(${signature}) returns ${returns} language plpgsql as 'begin ${what}; end'`;
const RAISE = "raise exception ''boom''";

describe("no login is held up", () => {
  test.each([
    ["the log is dropped", "drop table public.audit_logs cascade"],
    ["heads are dropped", "drop table audit.heads cascade"],
    ["sightings are dropped", "drop table audit.auth_sightings cascade"],
    ["the waiting room is dropped", "drop table audit.waiting_auth_events cascade"],
    [
      "log, waiting room and findings are dropped",
      "drop table public.audit_logs, audit.waiting_auth_events, audit.findings cascade",
    ],
    ["the type of events is dropped", "drop type audit.auth_event cascade"],
    ["the writer is dropped", "drop function audit.append_all cascade"],
    ["the mapping is dropped", "drop function audit.capture_auth, audit.answer_attempt cascade"],
    [
      "what maps and what notes it is dropped",
      "drop function audit.capture_auth, audit.note_auth_failure, audit.answer_attempt cascade",
    ],
    [
      "the schema is moved away",
      "alter schema audit rename to elsewhere; create schema audit; grant usage on schema audit to supabase_auth_admin;" +
      `create function audit.hook_password_verification_attempt(jsonb) returns jsonb language sql as $$ select '{}'::jsonb $$;` +
      `create function audit.hook_mfa_verification_attempt(jsonb) returns jsonb language sql as $$ select '{}'::jsonb $$`,
    ],
    ["the mapping fails", raising("capture_auth", "table_name text, operation text, changes jsonb[]", "void", RAISE)],
    ["a row cannot be read", raising("auth_change", "old_row jsonb, new_row jsonb", "jsonb", RAISE)],
    ["memberships fail", raising("memberships", "user_id uuid", "table (organization_id uuid, role text)", RAISE)],
    [
      "an assertion fails",
      raising("capture_auth", "table_name text, operation text, changes jsonb[]", "void", "assert false"),
    ],
    [
      "it recurses for ever",
      raising(
        "capture_auth",
        "table_name text, operation text, changes jsonb[]",
        "void",
        "perform audit.capture_auth(table_name, operation, changes)",
      ),
    ],
    ["the writer may not insert", "revoke insert on public.audit_logs from audit_writer"],
    ["the writer may not enter", "revoke usage on schema audit from audit_writer"],
    ["the owner may not execute", "revoke execute on all functions in schema audit from postgres, public"],
    ["Auth's tables cannot be read", "revoke select on all tables in schema auth from postgres"],
    ["the log is a view", "drop table public.audit_logs cascade; create view public.audit_logs as select 1 as x"],
    [
      "other triggers stand before ours",
      `create function public.swallow() returns trigger language plpgsql as 'begin return null; end';
      create trigger swallow before insert on audit.auth_sightings for each row execute function public.swallow()`,
    ],
  ])("%s", async (_, statement) => {
    await admin.query(statement);
    await everything("during@acme.example");
  });
});

describe("what could not be written is written after the repair", () => {
  const failing = (state: string) => `
    create function public.fail() returns trigger language plpgsql as $$ begin raise exception 'no' using errcode = '${state}'; end $$;
    create trigger fail before insert on public.audit_logs for each row execute function public.fail()`;
  const unfailing = "drop trigger fail on public.audit_logs";
  test.each([
    ["the disk is full", failing("53100"), unfailing],
    ["memory is short", failing("53200"), unfailing],
    ["a serialization failure", failing("40001"), unfailing],
    ["a deadlock", failing("40P01"), unfailing],
    ["a statement that is cancelled", failing("57014"), unfailing],
    [
      "the month has no partition",
      `create table public.detached as
         select partition::text as name, from_time, to_time from audit.partition_ranges()
         union all select 'public.audit_logs_default', null, null;
       do $$ declare d record; begin for d in select * from public.detached loop
         execute format('alter table public.audit_logs detach partition %s', d.name);
       end loop; end $$`,
      `do $$ declare d record; begin for d in select * from public.detached loop
         execute format('alter table public.audit_logs attach partition %s ', d.name)
           || case when d.from_time is null then 'default' else format('for values from (%L) to (%L)', d.from_time, d.to_time) end;
       end loop; end $$`,
    ],
    [
      "deciding fails",
      raising("settle_auth", "events audit.auth_event[]", "table (n int, verdict text)", RAISE),
      "original settle_auth",
    ],
  ])("%s", async (_, broken, repair) => {
    const { rows: [original] } = await admin.query("select pg_get_functiondef('audit.settle_auth'::regproc) as source");
    await admin.query(broken);
    await everything("during@acme.example");
    const { rows: [waiting] } = await admin.query("select count(*)::int as events from audit.waiting_auth_events");
    expect(waiting.events).toBeGreaterThanOrEqual(EVERYTHING.length);
    await admin.query(repair.startsWith("original") ? original.source : repair);
    const client = await db.connect();
    const entries = (await authEntries(client)).filter(({ email }) => email !== "before@acme.example");
    expect(entries.map(({ action }) => action).sort()).toEqual(EVERYTHING);
    expect((await admin.query("select from audit.waiting_auth_events")).rowCount).toBe(0);
    await expectVerified(client);
  });
});

describe("locks of others", () => {
  test.each([
    ["the log", "public.audit_logs"],
    ["sightings", "audit.auth_sightings"],
    ["log and waiting room", "public.audit_logs, audit.waiting_auth_events"],
    [
      "all that it writes",
      "public.audit_logs, audit.waiting_auth_events, audit.findings, audit.auth_sightings, audit.heads, audit.identities",
    ],
  ])("%s", async (_, tables) => {
    await admin.query(`begin; lock table ${tables} in access exclusive mode`);
    await everything("during@acme.example"); // while the lock is held: it is given back below
    await admin.query("commit");
    const client = await db.connect();
    const actions = (await authEntries(client)).map(({ action }) => action);
    if (!tables.includes("waiting")) expect(actions).toContain("user.login_failed");
    await expectVerified(client);
  });

  test("a transaction of Auth's that stands still with the same person", async () => {
    const { user } = await auth.signIn("before@acme.example");
    const still = await db.connect("supabase_auth_admin");
    const login = "insert into auth.sessions (id, user_id, created_at) values (gen_random_uuid(), $1, now())";
    await still.query("begin");
    await still.query(login, [user.id]);
    await auth.signIn("before@acme.example");
    await auth.signIn("before@acme.example");
    await still.query("rollback");
    const logins = await authEntries(await db.connect(), "user.login");
    expect(logins).toHaveLength(4); // what was rolled back never happened
    await expectVerified(admin);
  });

  test("a log that is being settled", async () => {
    await admin.query(
      `begin; select * from audit.record_auth(array[row('log', 'user.login_failed', 'failure', now(), null, 'x@y.example', null, null, null, null, null)::audit.auth_event])`,
    );
    await everything("during@acme.example");
    await admin.query("commit");
    const entries = (await authEntries(await db.connect())).filter(({ email }) => !/^(before|x)@/.test(email ?? ""));
    expect(entries.map(({ action }) => action).sort()).toEqual(EVERYTHING);
    await expectVerified(admin);
  });
});

test("a statement timeout in the middle of capture does not end the login", async () => {
  await admin.query(
    raising("memberships", "user_id uuid", "table (organization_id uuid, role text)", "perform pg_sleep(20); return"),
  );
  const own = await db.connect("supabase_auth_admin");
  const { rows: [user] } = await own.query("select id from auth.users limit 1");
  await own.query("set statement_timeout = 300");
  await own.query("insert into auth.sessions (id, user_id, created_at) values (gen_random_uuid(), $1, now())", [
    user.id,
  ]);
  const { rows: [answer] } = await own.query("select audit.hook_password_verification_attempt($1) as said", [
    { user_id: user.id, valid: false },
  ]);
  expect(answer.said).toEqual({ decision: "continue" });
  const { rows } = await admin.query("select (event).action from audit.waiting_auth_events order by id");
  expect(rows.map(({ action }) => action)).toEqual(["user.login", "user.login_failed"]);
});

test("nothing of a failure's row is said in the finding but the error", async () => {
  await admin.query(
    raising("memberships", "user_id uuid", "table (organization_id uuid, role text)", "raise exception ''no''"),
  );
  await auth.signIn("during@acme.example");
  const { rows } = await admin.query(
    "select kind, subject, detail from audit.findings where kind = 'auth_capture_failed'",
  );
  expect(rows.length).toBeGreaterThan(0);
  for (const { detail } of rows) expect(Object.keys(detail).sort()).toEqual(["message", "sqlstate"]);
});

describe("other versions of Auth", () => {
  test.each([
    [
      "before sessions knew addresses",
      "alter table auth.sessions drop column ip, drop column user_agent, drop column aal, drop column not_after, drop column refreshed_at, drop column tag, drop column oauth_client_id",
    ],
    [
      "before SSO, deletion, anonymous users and bans",
      "drop index auth.users_email_partial_key; alter table auth.users drop column is_sso_user, drop column deleted_at, drop column is_anonymous, drop column banned_until",
    ],
    ["before second factors", "drop table auth.mfa_challenges, auth.mfa_factors, auth.mfa_amr_claims"],
    ["before it kept records", "drop table auth.audit_log_entries, auth.identities"],
    [
      "columns of a later version",
      `alter table auth.users add new_secret text default 's3cret', add embedding float8[]; alter table auth.sessions add device jsonb default '{"token": "s3cret"}'`,
    ],
    [
      "other types",
      "alter table auth.sessions alter ip type text using host(ip), alter aal type text, alter refreshed_at type timestamptz",
    ],
  ])("%s", async (_, statement) => {
    await admin.query(statement);
    const client = await db.connect("supabase_auth_admin");
    const user = crypto.randomUUID();
    const insert = async (table: string, values: Record<string, unknown>) => {
      const { rows } = await client.query(
        "select attname from pg_attribute where attrelid = to_regclass($1) and attnum > 0 and not attisdropped",
        [`auth.${table}`],
      );
      const there = Object.entries(values).filter(([name]) => rows.some(({ attname }) => attname === name));
      if (there.length === 0) return;
      const places = there.map((_, index) => `$${index + 1}`);
      await client.query(
        `insert into auth.${table} (${there.map(([name]) => name)}) values (${places})`,
        there.map(([, value]) => value),
      );
    };
    await insert("users", { id: user, email: "old@acme.example", created_at: new Date() });
    await insert("sessions", {
      id: crypto.randomUUID(),
      user_id: user,
      created_at: new Date(),
      ip: "192.0.2.1",
      aal: "aal1",
    });
    await client.query("update auth.users set encrypted_password = 's3cret' where id = $1", [user]);
    await client.query("delete from auth.sessions where user_id = $1", [user]);
    await client.query("delete from auth.users where id = $1", [user]);
    const owner = await db.connect();
    expect(await owner.query("select audit.track_auth() as tracked").then(({ rows }) => rows[0].tracked)).toBe(0);
    const entries = (await authEntries(owner)).filter(({ resource_id }) => resource_id === user);
    expect(entries.map(({ action }) => action)).toEqual([
      "user.signed_up",
      "user.login",
      "user.password_changed",
      "user.logout",
      "user.deleted",
    ]);
    expect(JSON.stringify(entries)).not.toContain("s3cret");
    expect((await admin.query("select from audit.findings")).rowCount).toBe(0);
    await expectVerified(owner);
  });

  test("a project without Auth's tables", async () => {
    await admin.query("drop schema auth cascade");
    expect((await admin.query("select audit.track_auth() as n")).rows[0].n).toBe(0);
    expect((await admin.query("select distinct state from audit.auth_coverage where path = 'trigger'")).rows.length)
      .toBe(6);
  });
});

test("a trigger that is gone is found, and put back without touching the others", async () => {
  await admin.query(
    "drop trigger audit_insert on auth.sessions; alter table auth.mfa_factors disable trigger audit_update",
  );
  const owner = await db.connect();
  const { rows } = await owner.query(
    "select finding, way_out from audit.coverage where table_name like 'auth.%' and not healthy order by 1",
  );
  expect(rows).toEqual([
    { finding: "trigger audit_insert on auth.sessions is missing", way_out: "select audit.track_auth()" },
    { finding: "trigger audit_update on auth.mfa_factors is disabled", way_out: "select audit.track_auth()" },
  ]);
  expect((await owner.query("select audit.track_auth() as n")).rows[0].n).toBe(2);
  expect((await owner.query("select from audit.coverage where not healthy")).rowCount).toBe(0);
});
