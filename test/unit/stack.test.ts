// The local stack's parts: the cluster, the Supabase base, and the stand-ins, each against what hosted Supabase does.
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { decodeJwt } from "jose";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createAuth } from "../../scripts/stack/auth.ts";
import { createEventTriggers, loadBase } from "../../scripts/stack/base.ts";
import { isDue, startClock } from "../../scripts/stack/cron.ts";
import { openPool } from "../../scripts/stack/database.ts";
import { createFunctions } from "../../scripts/stack/functions.ts";
import { type Gateway, startGateway } from "../../scripts/stack/gateway.ts";
import { type Keys, logVkey, makeKeys } from "../../scripts/stack/keys.ts";
import { startNetWorker } from "../../scripts/stack/net.ts";
import { assertPortFree, freePort } from "../../scripts/stack/ports.ts";
import { type Cluster, databaseUrl, startPostgres } from "../../scripts/stack/postgres.ts";
import { createStorage } from "../../scripts/stack/storage.ts";

const PASSWORD = "a password/with:signs";
let dir: string;
let cluster: Cluster;
let keys: Keys;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "stack-"));
  // As root the server runs as another user, who must get in.
  await chmod(dir, 0o755);
  keys = await makeKeys();
  cluster = await startPostgres({ dataDir: join(dir, "data"), password: PASSWORD, settings: { fsync: "off" } });
  await loadBase(cluster.adminUrl(), { password: PASSWORD });
  await withClient(cluster.adminUrl(), (admin) => admin.query("create database old_project"));
  await loadBase(cluster.adminUrl("old_project"), { password: PASSWORD, defaultPrivileges: "before" });
}, 60_000);

afterAll(async () => {
  await cluster?.stop("immediate");
  await rm(dir, { recursive: true, force: true });
});

async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {});
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

function roleUrl(role: string, database?: string): string {
  return databaseUrl(cluster.port, role, PASSWORD, database);
}

async function rows<R extends pg.QueryResultRow>(url: string, text: string, values?: unknown[]): Promise<R[]> {
  return withClient(url, async (client) => (await client.query<R>(text, values)).rows);
}

describe("cluster", () => {
  test("keeps committed data through kill and restart, and leaves no process", async () => {
    const own = await startPostgres({ dataDir: join(dir, "killed") });
    await rows(own.adminUrl(), "create table t as select 1 as n");
    const busy = withClient(own.adminUrl(), (client) => client.query("select pg_sleep(60)")).catch((error) => error);
    await sleep(100);
    const { pid } = own;
    await own.kill();
    expect(await busy).toBeInstanceOf(Error);
    expect(() => process.kill(pid, 0)).toThrow();
    await own.restart();
    expect(await rows(own.adminUrl(), "select n from t")).toEqual([{ n: 1 }]);
    await own.stop();
    expect(existsSync(join(dir, "killed", "postmaster.pid"))).toBe(false);
  });

  test("starts over a pid file whose number now belongs to another program", async () => {
    const dataDir = join(dir, "stale");
    const first = await startPostgres({ dataDir });
    await first.stop();
    await writeFile(join(dataDir, "postmaster.pid"), `${process.pid}\n${dataDir}\n`);
    const second = await startPostgres({ dataDir });
    await second.stop();
  });

  test("reports a crash to its owner, but not a stop", async () => {
    const reasons: string[] = [];
    const own = await startPostgres({ dataDir: join(dir, "crash"), onCrash: (reason) => reasons.push(reason) });
    process.kill(own.pid, "SIGKILL");
    await expect.poll(() => reasons.join(), { timeout: 5000 }).toContain("SIGKILL");
    await own.restart();
    await own.stop();
    expect(reasons).toHaveLength(1);
  });

  test("refuses a folder that holds something else", async () => {
    const dataDir = join(dir, "other");
    await mkdir(dataDir);
    await writeFile(join(dataDir, "precious"), "");
    await expect(startPostgres({ dataDir })).rejects.toThrow("holds no PostgreSQL cluster");
  });

  test("wants a password where one was set", async () => {
    await expect(rows(databaseUrl(cluster.port, "postgres", "wrong"), "select 1")).rejects.toThrow("password");
  });

  test("names a taken port and the way out", async () => {
    await expect(assertPortFree(cluster.port, "API", "--port")).rejects.toThrow(
      `port ${cluster.port} (API) is taken by another program. Choose another with --port`,
    );
    await expect(startPostgres({ dataDir: join(dir, "taken"), port: cluster.port })).rejects.toThrow("is taken");
  });
});

describe("base", () => {
  test("roles have the attributes of a hosted project", async () => {
    const found = await rows<Record<string, boolean | string>>(
      cluster.adminUrl(),
      `select rolname, rolsuper, rolinherit, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication, rolbypassrls
       from pg_roles where rolname !~ '^pg_' order by rolname`,
    );
    const letters = found.map(({ rolname, ...attributes }) => [
      rolname,
      Object.values(attributes).map((set) => set ? "y" : "-").join(""),
    ]);
    // super, inherit, createrole, createdb, login, replication, bypassrls
    expect(Object.fromEntries(letters)).toEqual({
      anon: "-y-----",
      authenticated: "-y-----",
      authenticator: "----y--",
      dashboard_user: "-yyy-y-",
      postgres: "-yyyyyy",
      service_role: "-y----y",
      supabase_admin: "yyyyyyy",
      supabase_auth_admin: "--y-y--",
      supabase_read_only_user: "-y--y-y",
      supabase_storage_admin: "--y-y--",
    });
    const [member] = await rows(
      cluster.adminUrl(),
      `select pg_has_role('postgres', 'service_role', 'member') as of_service_role,
         pg_has_role('postgres', 'authenticator', 'member') as of_authenticator,
         pg_has_role('postgres', 'supabase_auth_admin', 'member') as of_auth_admin`,
    );
    expect(member).toEqual({ of_service_role: true, of_authenticator: true, of_auth_admin: false });
  });

  test.each([
    ["old_project", "SELECT,INSERT,UPDATE,DELETE,TRUNCATE", true],
    ["postgres", "TRUNCATE", false],
  ])("a new table in %s grants the API roles %s", async (database, privileges, usage) => {
    await withClient(roleUrl("postgres", database), async (client) => {
      await client.query("create table public.fresh (id bigint generated always as identity)");
      for (const role of ["anon", "authenticated", "service_role"]) {
        const { rows } = await client.query(
          `select string_agg(privilege, ',' order by position) as granted
           from unnest(array['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) with ordinality as p (privilege, position)
           where has_table_privilege($1, 'public.fresh', privilege)`,
          [role],
        );
        expect(rows[0].granted).toBe(privileges);
        const sequence = await client.query(`select has_sequence_privilege($1, 'public.fresh_id_seq', 'usage') as u`, [
          role,
        ]);
        expect(sequence.rows[0].u).toBe(usage);
      }
    });
  });

  test("postgres may put triggers on auth tables and not change them", async () => {
    await withClient(roleUrl("postgres"), async (client) => {
      await client.query("begin");
      await client.query(
        `create function public.nothing() returns trigger language plpgsql as 'begin return null; end'`,
      );
      for (const table of ["auth.users", "auth.sessions", "auth.mfa_factors", "storage.objects"]) {
        await client.query(
          `create or replace trigger t after insert on ${table} for each statement execute function public.nothing()`,
        );
      }
      await client.query("set local session_replication_role = replica");
      await client.query("rollback");
      await expect(client.query("alter table auth.users add extra integer")).rejects.toThrow("must be owner");
      await expect(client.query("create table auth.mine ()")).rejects.toThrow("permission denied");
      await expect(client.query("create event trigger e on ddl_command_end execute function auth.uid()")).rejects
        .toThrow("permission denied");
    });
  });

  test("claims reach auth.uid() and its like", async () => {
    await withClient(roleUrl("authenticator"), async (client) => {
      await client.query("set role authenticated");
      expect((await client.query("select auth.uid(), auth.jwt()")).rows).toEqual([{ uid: null, jwt: null }]);
      const sub = "11111111-1111-4111-8111-111111111111";
      await client.query(`select set_config('request.jwt.claims', $1, false)`, [
        JSON.stringify({ sub, role: "authenticated", email: "a@b.example" }),
      ]);
      const { rows } = await client.query("select auth.uid(), auth.role(), auth.email()");
      expect(rows).toEqual([{ uid: sub, role: "authenticated", email: "a@b.example" }]);
    });
  });

  test("storage rows cannot be deleted in SQL; vault returns what it was given", async () => {
    await withClient(roleUrl("postgres"), async (client) => {
      await expect(client.query("delete from storage.objects")).rejects.toThrow("Use the Storage API");
      await client.query(`select vault.create_secret('hush', 'jobs')`);
      const { rows } = await client.query(`select decrypted_secret from vault.decrypted_secrets where name = 'jobs'`);
      expect(rows).toEqual([{ decrypted_secret: "hush" }]);
    });
  });

  test("event triggers are made where their functions exist, once", async () => {
    await withClient(roleUrl("postgres", "old_project"), async (client) => {
      await client.query("create schema audit");
      await client.query(
        `create function audit.on_sql_drop() returns event_trigger language plpgsql as 'begin end'`,
      );
    });
    await createEventTriggers(cluster.adminUrl("old_project"));
    await createEventTriggers(cluster.adminUrl("old_project"));
    expect(await rows(cluster.adminUrl("old_project"), "select evtname, evtevent from pg_event_trigger")).toEqual([
      { evtname: "audit_on_sql_drop", evtevent: "sql_drop" },
    ]);
  });
});

describe("pg_cron and pg_net", () => {
  test.each([
    ["5 seconds", "2026-01-01T00:00:05Z", "2026-01-01T00:00:00Z", true],
    ["5 seconds", "2026-01-01T00:00:04Z", "2026-01-01T00:00:00Z", false],
    ["* * * * *", "2026-01-01T00:01:00Z", "2026-01-01T00:00:59Z", true],
    ["* * * * *", "2026-01-01T00:00:59Z", "2026-01-01T00:00:01Z", false],
    ["*/15 3-5 * * *", "2026-01-01T04:45:10Z", "2026-01-01T00:00:00Z", true],
    ["*/15 3-5 * * *", "2026-01-01T06:45:10Z", "2026-01-01T00:00:00Z", false],
    ["0 0 $ * *", "2026-02-28T00:00:00Z", "2026-02-01T00:00:00Z", true],
    ["0 0 $ * *", "2026-02-27T00:00:00Z", "2026-02-01T00:00:00Z", false],
    ["0 0 1 * mon", "2026-01-05T00:00:00Z", "2026-01-01T00:00:00Z", true],
    ["0 0 * jan 7", "2026-01-04T00:00:00Z", "2026-01-01T00:00:00Z", true],
    ["0 0 * feb *", "2026-01-04T00:00:00Z", "2026-01-01T00:00:00Z", false],
  ])("%s at %s, last at %s: %s", (schedule, now, last, due) => {
    expect(isDue(schedule, Date.parse(now), Date.parse(last))).toBe(due);
  });

  test("a job runs as its owner, queues a request, and the answer arrives", async () => {
    const seen: string[] = [];
    const server = createServer((request, response) => {
      request.on("data", (chunk) => seen.push(`${request.headers["x-secret"]} ${chunk}`));
      request.on("end", () => response.writeHead(202, { "content-type": "text/plain" }).end("taken"));
    }).listen(0, "127.0.0.1");
    const address = await new Promise<number>((resolve) =>
      server.once("listening", () => resolve((server.address() as { port: number }).port))
    );
    const pool = openPool(cluster.adminUrl());
    const clock = startClock({ pool, urlFor: (role) => roleUrl(role) });
    const worker = startNetWorker(pool);
    try {
      await withClient(roleUrl("postgres"), async (client) => {
        await client.query(`select cron.schedule('call', '1 second', $1)`, [
          `select net.http_post('http://127.0.0.1:${address}/', jsonb_build_object('who', current_user),
             headers => '{"Content-Type": "application/json", "x-secret": "s"}')`,
        ]);
        await client.query(`select cron.schedule('broken', '1 second', 'select 1 / 0')`);
        const answers = () => rows(cluster.adminUrl(), "select status_code, content from net._http_response limit 1");
        await expect.poll(answers, { timeout: 8000 }).toEqual([{ status_code: 202, content: "taken" }]);
        expect(seen[0]).toBe('s {"who": "postgres"}');
        const runs = await rows(
          cluster.adminUrl(),
          `select distinct status, return_message from cron.job_run_details where status in ('succeeded', 'failed')`,
        );
        expect(runs).toContainEqual({ status: "succeeded", return_message: "1 rows" });
        expect(runs).toContainEqual({ status: "failed", return_message: "ERROR:  division by zero" });
        await client.query(`select cron.unschedule('call'), cron.unschedule('broken')`);
        await expect(client.query(`select cron.unschedule('call')`)).rejects.toThrow("could not find valid entry");
        await expect(client.query(`select cron.schedule('x', '61 seconds', '')`)).rejects.toThrow("invalid schedule");
        await expect(client.query(`insert into cron.job (schedule, command) values ('', '')`)).rejects
          .toThrow("permission denied");
      });
    } finally {
      await clock.stop();
      await worker.stop();
      await pool.end();
      server.close();
    }
  });
});

describe("gateway", () => {
  let gateway: Gateway;
  let api: string;
  const pools: pg.Pool[] = [];
  const functions: { stop(): Promise<void> }[] = [];

  beforeAll(async () => {
    const port = await freePort();
    api = `http://127.0.0.1:${port}`;
    const [auth, storage] = ["supabase_auth_admin", "supabase_storage_admin"].map((role) => openPool(roleUrl(role)));
    pools.push(auth!, storage!);
    const served = createFunctions({ root: dir, env: {}, logDir: dir });
    functions.push(served);
    gateway = await startGateway({
      port,
      apiKeys: [keys.anon_key, keys.service_role_key],
      auth: createAuth({ pool: auth!, jwtSecret: keys.jwt_secret, issuer: `${api}/auth/v1` }),
      storage: createStorage({ pool: storage!, jwtSecret: keys.jwt_secret, dir: join(dir, "files") }),
      functions: served,
    });
  });

  afterAll(async () => {
    await gateway?.stop();
    for (const each of functions) await each.stop();
    await Promise.all(pools.map((pool) => pool.end()));
  });

  function call(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
    const sent = body === undefined || typeof body === "string" || body instanceof Uint8Array
      ? body
      : JSON.stringify(body);
    return fetch(`${api}${path}`, {
      method,
      headers: { apikey: keys.anon_key, authorization: `Bearer ${keys.anon_key}`, ...headers },
      ...(sent === undefined ? {} : { body: sent as BodyInit }),
    });
  }

  const service = () => ({ authorization: `Bearer ${keys.service_role_key}` });

  test("auth: sign up, sign in with address and agent, refresh, sign out", async () => {
    const credentials = { email: "Ada@Example.com", password: "correct horse" };
    expect((await call("POST", "/auth/v1/signup", credentials)).status).toBe(200);
    const again = await call("POST", "/auth/v1/signup", credentials);
    expect([again.status, (await again.json()).error_code]).toEqual([422, "user_already_exists"]);

    const wrong = await call("POST", "/auth/v1/token?grant_type=password", { ...credentials, password: "no" });
    expect([wrong.status, (await wrong.json()).error_code]).toEqual([400, "invalid_credentials"]);

    const answer = await call("POST", "/auth/v1/token?grant_type=password", credentials, {
      "user-agent": "test/1",
      "x-forwarded-for": "203.0.113.9, 10.0.0.1",
    });
    const session = await answer.json();
    const claims = decodeJwt(session.access_token);
    expect(claims).toMatchObject({
      iss: `${api}/auth/v1`,
      aud: "authenticated",
      role: "authenticated",
      email: "ada@example.com",
      aal: "aal1",
      sub: session.user.id,
    });
    expect(
      await rows(cluster.adminUrl(), "select host(ip) as ip, user_agent from auth.sessions where id = $1", [
        claims.session_id,
      ]),
    ).toEqual([{ ip: "203.0.113.9", user_agent: "test/1" }]);

    const bearer = { authorization: `Bearer ${session.access_token}` };
    expect((await (await call("GET", "/auth/v1/user", undefined, bearer)).json()).email).toBe("ada@example.com");
    const change = { password: "correct horse 2", data: { name: "Ada" } };
    const changed = await (await call("PUT", "/auth/v1/user", change, bearer)).json();
    expect(changed.user_metadata).toEqual({ name: "Ada" });
    const renew = () =>
      call("POST", "/auth/v1/token?grant_type=refresh_token", { refresh_token: session.refresh_token });
    expect((await renew()).status).toBe(200);
    expect((await (await renew()).json()).error_code).toBe("refresh_token_already_used");
    expect((await call("POST", "/auth/v1/logout", undefined, bearer)).status).toBe(204);
    expect((await (await call("GET", "/auth/v1/user", undefined, bearer)).json()).error_code).toBe("session_not_found");
  });

  test("auth: administration needs the service key, everything an API key", async () => {
    const body = { email: "made@example.com", password: "by an admin", app_metadata: { plan: "pro" } };
    expect((await call("POST", "/auth/v1/admin/users", body)).status).toBe(403);
    const made = await (await call("POST", "/auth/v1/admin/users", body, service())).json();
    expect(made.app_metadata).toEqual({ provider: "email", providers: ["email"], plan: "pro" });
    expect((await call("DELETE", `/auth/v1/admin/users/${made.id}`, undefined, service())).status).toBe(200);
    expect((await fetch(`${api}/auth/v1/user`)).status).toBe(401);
    expect((await call("GET", "/auth/v1/user", undefined, { apikey: "x" })).status).toBe(401);
    expect((await call("POST", "/auth/v1/signup", "not json")).status).toBe(400);
  });

  test("storage: keeps bytes and headers, and refuses as the original does", async () => {
    await call("POST", "/storage/v1/bucket", { id: "archive", public: false }, service());
    const path = "/storage/v1/object/archive/tile/0/x001/234.p/7";
    const bytes = new Uint8Array(300_000).map((_, i) => i);
    const headers = { ...service(), "content-type": "application/x-tile", "cache-control": "immutable" };
    const stored = await (await call("POST", path, bytes, headers)).json();
    expect(stored.Key).toBe("archive/tile/0/x001/234.p/7");

    const twice = await call("POST", path, bytes, headers);
    expect([twice.status, (await twice.json()).statusCode]).toEqual([400, "409"]);
    expect((await call("POST", path, bytes, { ...headers, "x-upsert": "true" })).status).toBe(200);

    const read = await call("GET", path, undefined, service());
    expect(Buffer.compare(new Uint8Array(await read.arrayBuffer()), bytes)).toBe(0);
    expect([read.headers.get("content-type"), read.headers.get("cache-control")]).toEqual([
      "application/x-tile",
      "immutable",
    ]);
    const info = await (await call("GET", path.replace("object/", "object/info/"), undefined, service())).json();
    expect(info).toMatchObject({ size: 300_000, content_type: "application/x-tile" });

    const list = async (prefix: string) =>
      (await (await call("POST", "/storage/v1/object/list/archive", { prefix }, service())).json())
        .map(({ name, id }: { name: string; id: string | null }) => [name, id !== null]);
    expect(await list("tile/0")).toEqual([["x001", false]]);
    expect(await list("tile/0/x001/234.p")).toEqual([["7", true]]);

    const { signedURL } =
      await (await call("POST", path.replace("object/", "object/sign/"), { expiresIn: 60 }, service()))
        .json();
    expect((await fetch(`${api}/storage/v1${signedURL}`)).status).toBe(200);
    expect((await fetch(`${api}/storage/v1${signedURL.slice(0, -3)}xyz`)).status).toBe(400);

    const missing = await call("GET", `${path}x`, undefined, service());
    expect([missing.status, (await missing.json()).message]).toEqual([400, "Object not found"]);
    expect((await (await call("GET", path)).json()).message).toBe("Object not found"); // hidden from anon
    const denied = await call("POST", `${path}anon`, bytes);
    expect([denied.status, (await denied.json()).message]).toEqual([400, "new row violates row-level security policy"]);
    expect((await call("POST", "/storage/v1/object/archive/../x", bytes, headers)).status).toBe(400);

    const removed = await call("DELETE", "/storage/v1/object/archive", { prefixes: [stored.Key.slice(8)] }, service());
    expect(await removed.json()).toHaveLength(1);
    expect(await list("")).toEqual([]);
  });

  test("functions: served from their folder, with the path that hosted functions see", async () => {
    const absent = await call("GET", "/functions/v1/audit");
    expect([absent.status, absent.headers.get("content-type")]).toEqual([404, "application/problem+json"]);
    expect((await absent.json()).detail).toContain("none yet");
    expect((await call("GET", "/rest/v1/audit_logs")).status).toBe(501);

    await mkdir(join(dir, "functions", "echo"), { recursive: true });
    await writeFile(
      join(dir, "functions", "echo", "index.ts"),
      "Deno.serve(async (r: Request) => new Response(`${r.method} ${new URL(r.url).pathname} ${await r.text()}`));",
    );
    const answer = await call("POST", "/functions/v1/echo/a/b?c=d", "hello");
    expect(await answer.text()).toBe("POST /echo/a/b hello");
  }, 20_000);
});

test("the checkpoint key is a signed-note verifier key", () => {
  expect(logVkey(keys)).toMatch(/^localhost\/audit-logs\+[0-9a-f]{8}\+A[\w+/]{43}$/);
});
