// Loads our small Supabase base into a database, as superuser, before any migration. One SQL file is one concept.
import { readFile } from "node:fs/promises";
import pg from "pg";

export type BaseOptions = {
  /** Default privileges in `public`: as before or after Supabase's change of 2026. */
  defaultPrivileges?: "before" | "after";
  /** Set for every role that may log in; not needed where loopback is trusted. */
  password?: string;
  /** Default: our stand-in. `extension` needs a server that has pg_cron loaded. */
  cron?: "stand-in" | "extension";
};

const LOGIN_ROLES = [
  "postgres",
  "authenticator",
  "supabase_auth_admin",
  "supabase_storage_admin",
  "supabase_read_only_user",
];

/** All or nothing; a database that has the base already only gets its roles' passwords and attributes again. */
export async function loadBase(adminUrl: string, options: BaseOptions = {}): Promise<void> {
  await asAdmin(adminUrl, async (client) => {
    await client.query("begin");
    // Roles belong to the cluster: two databases of one cluster may be loaded at the same time.
    await client.query(`select pg_advisory_xact_lock(hashtext('supabase base roles'))`);
    await client.query(await baseFile("roles"));
    for (const role of options.password === undefined ? [] : LOGIN_ROLES) {
      await client.query(`alter role ${role} password ${pg.escapeLiteral(options.password!)}`);
    }
    const { rowCount: loaded } = await client.query(`select from pg_namespace where nspname = 'auth'`);
    if (loaded === 0) {
      const files = ["schemas", "default_privileges_before"];
      if (options.defaultPrivileges !== "before") files.push("default_privileges_after");
      const cron = options.cron === "extension" ? "cron_extension" : "cron";
      for (const name of [...files, "auth", "storage", "vault", cron, "net"]) {
        await client.query(await baseFile(name));
      }
    }
    await client.query("commit");
  });
}

/**
 * Stand-in for supautils, run after the migrations. Hosted, `postgres` may create event triggers; plain PostgreSQL
 * wants a superuser. Not imitated: supautils skips event triggers for superusers.
 */
export async function createEventTriggers(adminUrl: string): Promise<void> {
  await asAdmin(adminUrl, async (client) => {
    for (const event of ["ddl_command_end", "sql_drop"]) {
      const { rows } = await client.query<{ wanted: boolean }>(
        `select to_regprocedure('audit.on_' || $1 || '()') is not null
           and not exists (select from pg_event_trigger where evtname = 'audit_on_' || $1) as wanted`,
        [event],
      );
      if (!rows[0]?.wanted) continue;
      await client.query(`create event trigger audit_on_${event} on ${event} execute function audit.on_${event}()`);
    }
  });
}

async function asAdmin(adminUrl: string, work: (client: pg.Client) => Promise<void>): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl });
  await client.connect();
  try {
    await work(client);
  } finally {
    await client.end();
  }
}

async function baseFile(name: string): Promise<string> {
  return `set local search_path = '';\n${await readFile(new URL(`base/${name}.sql`, import.meta.url), "utf8")}`;
}
