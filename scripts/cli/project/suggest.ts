// Which tables of a project could be tracked, how, and what is missing where they cannot: asked of audit.capture_plan(),
// which changes nothing.
import type pg from "pg";

export type Suggestion = {
  table: string;
  /** The statement to run; null where something has to be done first. */
  statement: string | null;
  /** What capture would do, or what is missing. */
  note: string;
};

/** Statements of the source that the plan of a table needs, up to this file of sql/. */
const NEEDED = /^-- sql\/0\d\d_|^-- sql\/1[0-3]\d_/;

/** Ordinary tables of these schemas that nobody tracks, each with its suggestion; and whose memberships they hold. */
export async function suggest(
  client: pg.Client,
  schemas: string[],
  migration: string,
): Promise<{ tables: Suggestion[]; membership: string | null }> {
  // Where nothing is installed yet, what plans is loaded for a moment and rolled back; it locks no table of the project.
  const { rows: [installed] } = await client.query("select to_regproc('audit.capture_plan') is not null as installed");
  await client.query("begin");
  try {
    await client.query("set local lock_timeout = '3s'");
    if (!installed.installed) {
      await client.query("set local check_function_bodies = off");
      const sections = migration.split(/^(?=-- sql\/\d{3}_\w+\.sql$)/m).filter((section) => NEEDED.test(section));
      for (const section of sections) await client.query(section);
    }
    const { rows } = await client.query<{ oid: number; name: string; tenants: boolean; key: string | null }>(TABLES, [
      schemas,
    ]);
    const tables: Suggestion[] = [];
    for (const table of rows) tables.push(await suggestionFor(client, table));
    const { rows: [found] } = await client.query<{ statement: string }>(MEMBERSHIP, [schemas]);
    return { tables, membership: found?.statement ?? null };
  } finally {
    await client.query("rollback");
  }
}

type Plan = {
  organization: { column?: string; key?: string; system?: boolean };
  actor?: { column: string };
  columns: Record<string, string>;
};

async function suggestionFor(
  client: pg.Client,
  { oid, name, tenants, key }: { oid: number; name: string; tenants: boolean; key: string | null },
): Promise<Suggestion> {
  // A table that others point to as their tenant is the tenants' own.
  const first = tenants && key !== null ? { organization: key } : {};
  const found = await planOf(client, oid, first);
  if (!("code" in found)) return { table: name, statement: statementFor(name, first), note: describe(found) };
  if (found.code !== "AUORG") return { table: name, statement: null, note: found.note };
  const system = { organization: "system" };
  const plan = await planOf(client, oid, system);
  return "code" in plan ? { table: name, statement: null, note: plan.note } : {
    table: name,
    statement: statementFor(name, system),
    note: `${describe(plan)}; or name the tenant's column instead`,
  };
}

/** What audit.track() would do, or why it would refuse. */
async function planOf(client: pg.Client, oid: number, options: object): Promise<Plan | { code: string; note: string }> {
  await client.query("savepoint plan");
  try {
    const { rows } = await client.query<{ plan: Plan }>("select audit.capture_plan($1, $2) as plan", [
      oid,
      JSON.stringify(options),
    ]);
    await client.query("release savepoint plan");
    return rows[0]!.plan;
  } catch (error) {
    await client.query("rollback to savepoint plan");
    const { code, message, hint } = error as { code?: string; message: string; hint?: string };
    if (code === undefined || !code.startsWith("AU")) throw error;
    return { code, note: `${message} ${hint ?? ""}`.trim() };
  }
}

function statementFor(name: string, options: object): string {
  const given = Object.keys(options).length === 0 ? "" : `, '${JSON.stringify(options).replaceAll(":", ": ")}'`;
  return `select audit.track('${name.replaceAll("'", "''")}'${given});`;
}

function describe({ organization, actor, columns }: Plan): string {
  const treated = (how: string) => Object.keys(columns).filter((column) => columns[column] === how);
  const parts = [
    `organisation: ${[organization.key, organization.column].filter(Boolean).join(".") || "none, the system's"}`,
    actor === undefined ? "" : `actor: ${actor.column}`,
    ...["mask", "personal", "content", "ignore"].map((how) =>
      treated(how).length === 0 ? "" : `${how}: ${treated(how).join(", ")}`
    ),
  ];
  return parts.filter((part) => part !== "").join("; ");
}

const CANDIDATES =
  `array['organization_id', 'organisation_id', 'org_id', 'tenant_id', 'team_id', 'workspace_id', 'account_id']`;

const TABLES = `
  select c.oid, format('%I.%I', n.nspname, c.relname) as name,
    exists (
      select from pg_constraint f
      join pg_attribute a on a.attrelid = f.conrelid and a.attnum = f.conkey[1]
      where f.confrelid = c.oid and f.contype = 'f' and cardinality(f.conkey) = 1 and f.conrelid <> c.oid and a.attname = any (${CANDIDATES})
    ) and not exists (
      select from pg_attribute a where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attname = any (${CANDIDATES})
    ) as tenants,
    (
      select a.attname from pg_index i
      join pg_attribute a on a.attrelid = i.indrelid and a.attnum = i.indkey[0]
      where i.indrelid = c.oid and i.indisprimary and i.indnkeyatts = 1 and a.atttypid = 'uuid'::regtype
    ) as key
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  where n.nspname = any ($1) and n.nspname not in ('audit', 'auth', 'storage', 'vault', 'cron', 'net', 'supabase_migrations')
    and c.relkind in ('r', 'p') and not c.relispartition and c.relpersistence <> 't' and c.relname <> 'audit_logs'
    and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')
    and not exists (select from audit.tracked_tables t where t.table_name = c.oid)
  order by 2`;

/** A table with a tenant, a user and a role, where no table of memberships is known yet. */
const MEMBERSHIP = `
  select format('select audit.use_membership(%L, %L, %L, %L);', format('%I.%I', n.nspname, c.relname), o.attname, u.attname, r.attname) as statement
  from pg_class c
  join pg_namespace n on n.oid = c.relnamespace
  join pg_attribute o on o.attrelid = c.oid and o.attname = any (${CANDIDATES}) and o.atttypid = 'uuid'::regtype
  join pg_attribute u on u.attrelid = c.oid and u.attname in ('user_id', 'profile_id', 'member_id') and u.atttypid = 'uuid'::regtype
  join pg_attribute r on r.attrelid = c.oid and r.attname in ('role', 'member_role', 'access_level') and not r.attisdropped
  where n.nspname = any ($1) and c.relkind in ('r', 'p')
    and (select p.prosrc from pg_proc p where p.oid = to_regprocedure('audit.memberships(uuid)')) ~ 'where false'
  order by array_position(${CANDIDATES}, o.attname::text), c.relname
  limit 1`;
