// The local Supabase stack as one object: cluster, base, migrations, seed, stand-ins, and what scripts may know of it.
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import pg from "pg";
import { createAuth } from "./auth.ts";
import { createEventTriggers, loadBase } from "./base.ts";
import { startClock } from "./cron.ts";
import { openPool } from "./database.ts";
import { createFunctions } from "./functions.ts";
import { startGateway } from "./gateway.ts";
import type { StackInfo, StackOrganization, StackUser } from "./info.ts";
import { type Keys, loadKeys, logVkey, writePrivately } from "./keys.ts";
import { applyMigrations, applySeed, type MigrateOptions } from "./migrate.ts";
import { startNetWorker } from "./net.ts";
import { assertPortFree } from "./ports.ts";
import { ADMIN, clusterFolder, databaseUrl, startPostgres } from "./postgres.ts";
import { createStorage } from "./storage.ts";
import { buildViewer } from "./viewer.ts";

export type StackOptions = {
  /** The checkout. */
  root: string;
  /** Everything that the stack keeps, `.local` of the checkout. */
  dir: string;
  /** The API's; the database has `dbPort`. */
  port: number;
  dbPort: number;
  /** Without seed. */
  empty?: boolean;
  defaultPrivileges?: "before" | "after";
  /** Gives up before the next step. */
  signal?: AbortSignal;
  /** Called as a step ends. */
  onStep?: (step: string, milliseconds: number) => void;
  /** Called when the database ends by itself. */
  onCrash?: (reason: string) => void;
};

export type Stack = { info: StackInfo; stop(): Promise<void> };

/** What the seed gives every demo user. */
const DEMO_PASSWORD = "demo-password";

export async function startStack(options: StackOptions): Promise<Stack> {
  const { root, dir, port, dbPort } = options;
  // Undone in reverse order, at the end or when a later step fails.
  const undo: (() => Promise<void>)[] = [];
  const stop = async () => {
    for (let last = undo.pop(); last !== undefined; last = undo.pop()) await last();
  };
  const step = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
    options.signal?.throwIfAborted();
    const start = performance.now();
    const result = await work();
    options.onStep?.(name, performance.now() - start);
    return result;
  };

  try {
    await assertPortFree(port, "API", "--port");
    await mkdir(join(dir, "logs"), { recursive: true });
    const keys = await loadKeys(join(dir, "keys.json"));
    const cluster = await step("database", async () => {
      const started = await startPostgres({
        dataDir: join(await clusterFolder(dir), "data"),
        port: dbPort,
        password: keys.db_password,
        logFile: join(dir, "logs", "postgres.log"),
        settings: { shared_preload_libraries: "pg_stat_statements", max_connections: "200", shared_buffers: "256MB" },
        ...(options.onCrash === undefined ? {} : { onCrash: options.onCrash }),
      });
      undo.push(() => started.stop());
      return started;
    });
    const adminUrl = cluster.adminUrl();
    const urlFor = (role: string) => databaseUrl(dbPort, role, keys.db_password);
    const migrate: MigrateOptions = { root, dbUrl: urlFor("postgres"), home: join(dir, "cli") };
    await mkdir(migrate.home, { recursive: true });
    const { defaultPrivileges = "after" } = options;
    await step("Supabase base", () => loadBase(adminUrl, { password: keys.db_password, defaultPrivileges }));
    await step("migrations", () => applyMigrations(migrate));
    await createEventTriggers(adminUrl);
    if (!options.empty) await step("sample application", () => applySeed(migrate));
    await step("viewer", () => buildViewer(root));
    const info = await step("services", async () => {
      const api = await startServices(options, keys, urlFor, undo);
      return describeStack(api, keys, urlFor("postgres"), adminUrl);
    });
    await writePrivately(join(dir, "stack.json"), info);
    return { info, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startServices(
  { root, dir, port }: StackOptions,
  keys: Keys,
  urlFor: (role: string) => string,
  undo: (() => Promise<void>)[],
): Promise<string> {
  const api = `http://127.0.0.1:${port}`;
  const poolOf = (role: string) => {
    const pool = openPool(urlFor(role));
    undo.push(() => pool.end());
    return pool;
  };

  const functions = createFunctions({
    root,
    logDir: join(dir, "logs"),
    env: {
      SUPABASE_URL: api,
      SUPABASE_ANON_KEY: keys.anon_key,
      SUPABASE_SERVICE_ROLE_KEY: keys.service_role_key,
      SUPABASE_DB_URL: urlFor("postgres"),
      // On hosted the functions verify tokens by the project's JWKS; here there is one shared secret.
      JWT_SECRET: keys.jwt_secret,
    },
    secrets: {
      "audit-ingest": { AUDIT_DRAIN_SECRET: keys.drain_secret },
      "audit-jobs": {
        AUDIT_JOBS_SECRET: keys.jobs_secret,
        AUDIT_LOG_KEY: keys.log_key,
        AUDIT_BACKUP_KEY: keys.backup_key,
      },
      "audit-viewer": { AUDIT_LOG_VKEYS: logVkey(keys) },
    },
  });
  undo.push(functions.stop);
  const auth = createAuth({
    pool: poolOf("supabase_auth_admin"),
    jwtSecret: keys.jwt_secret,
    issuer: `${api}/auth/v1`,
    // As a project on a plan with hooks sets them.
    hooks: {
      password_verification_attempt: "audit.hook_password_verification_attempt",
      mfa_verification_attempt: "audit.hook_mfa_verification_attempt",
    },
  });
  const storage = createStorage({
    pool: poolOf("supabase_storage_admin"),
    jwtSecret: keys.jwt_secret,
    dir: join(dir, "storage"),
  });
  const gateway = await startGateway({
    port,
    apiKeys: [keys.anon_key, keys.service_role_key],
    auth,
    storage,
    functions,
  });
  undo.push(gateway.stop);
  const adminPool = poolOf(ADMIN);
  await keepSecrets(adminPool, {
    audit_jobs_url: `${api}/functions/v1/audit-jobs`,
    audit_jobs_secret: keys.jobs_secret,
  });
  const net = startNetWorker(adminPool);
  undo.push(net.stop);
  const clock = startClock({ pool: adminPool, urlFor });
  undo.push(clock.stop);
  return api;
}

/** In the Vault, where the schedules find what they call. */
async function keepSecrets(pool: pg.Pool, secrets: Record<string, string>): Promise<void> {
  await pool.query("delete from vault.secrets where name = any ($1)", [Object.keys(secrets)]);
  await pool.query("select vault.create_secret(value, key) from jsonb_each_text($1)", [JSON.stringify(secrets)]);
}

async function describeStack(api: string, keys: Keys, dbUrl: string, adminUrl: string): Promise<StackInfo> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    return {
      db_url: dbUrl,
      admin_db_url: adminUrl,
      api_url: api,
      anon_key: keys.anon_key,
      service_role_key: keys.service_role_key,
      jwt_secret: keys.jwt_secret,
      jobs_secret: keys.jobs_secret,
      drain_secret: keys.drain_secret,
      viewer_url: `${api}/functions/v1/audit-viewer`,
      log_vkey: logVkey(keys),
      ...await demoPeople(client),
    };
  } finally {
    await client.end();
  }
}

/** The people of the sample application; nobody where it is not loaded. */
async function demoPeople(client: pg.Client): Promise<{ organizations: StackOrganization[]; users: StackUser[] }> {
  const { rows: [loaded] } = await client.query(
    `select to_regclass('public.organizations') is not null
       and to_regclass('public.organization_members') is not null as sample`,
  );
  if (!loaded.sample) return { organizations: [], users: [] };
  const organizations = await client.query<StackOrganization>(
    "select id, name from public.organizations order by name",
  );
  const users = await client.query<StackUser>(
    `select u.id, u.email, $1::text as password, m.role, m.organization_id
     from auth.users as u
     left join public.organization_members as m on m.user_id = u.id
     where u.email is not null
     order by u.email, m.organization_id`,
    [DEMO_PASSWORD],
  );
  return { organizations: organizations.rows, users: users.rows };
}
