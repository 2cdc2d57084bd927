// Prints schemas public and audit as text, from the catalogues: pg_dump is not part of the npm PostgreSQL, and this says
// more plainly what an audit log consists of: owners, grants, policies, trigger states.
//
//   npx tsx scripts/schema-dump.ts postgresql://…
import { fileURLToPath } from "node:url";
import pg from "pg";

/** Equal for equal schemas, whatever the month: of the log's monthly partitions it shows one. */
export async function dumpSchema(client: pg.Client): Promise<string> {
  // Names are qualified in what PostgreSQL prints only where they are not on the search path.
  await client.query("set search_path = ''");
  const { rows } = await client.query<{ object: string; definition: string }>(DUMP);
  await client.query("reset search_path");
  return rows
    .map(({ object, definition }) => `-- ${object}\n${definition}\n`)
    .join("\n")
    .replaceAll(/^grant -: /gm, "grant PUBLIC: ")
    .replaceAll(/audit_logs_\d{4}_\d{2}/g, "audit_logs_<month>")
    .replaceAll(/FROM \('[^']*'\) TO \('[^']*'\)/g, "FROM (<month>) TO (<next month>)");
}

// Each part yields (kind, name, line); lines of one object are joined in their order. Privileges are written as
// "role: privileges", sorted; null privileges are spelled out as the defaults that they stand for.
const DUMP = `
with relation as (
  select c.oid::regclass::text as name, c.*
  from pg_catalog.pg_class c
  where c.relnamespace in ('public'::regnamespace, 'audit'::regnamespace) and c.relkind in ('r', 'p', 'v', 'm', 'S', 'f')
    and (
      c.relname !~ '^audit_logs_[0-9]{4}_[0-9]{2}$'
      or c.relname = (
        select min(m.relname) from pg_catalog.pg_class m where m.relname ~ '^audit_logs_[0-9]{4}_[0-9]{2}$' and m.relkind = 'r'
      )
    )
),
routine as (
  select p.*, p.oid::regprocedure::text as name
  from pg_catalog.pg_proc p
  where p.pronamespace in ('public'::regnamespace, 'audit'::regnamespace)
),
line (kind, name, part, position, text) as (
  -- Schemas
  select 1, 'schema ' || n.nspname, 1, 0, format('owner %s', n.nspowner::regrole)
  from pg_catalog.pg_namespace n where n.nspname in ('public', 'audit')
  union all
  select 1, 'schema ' || n.nspname, 2, 0, format('grant %s', g.text)
  from pg_catalog.pg_namespace n
  cross join lateral (
    select format('%s: %s', a.grantee::regrole, string_agg(a.privilege_type, ', ' order by a.privilege_type)) as text
    from aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a group by a.grantee
  ) g
  where n.nspname in ('public', 'audit')
  union all
  -- Roles of the product
  select 2, 'role ' || r.rolname, 1, 0, format(
    'login %s, inherit %s, superuser %s, bypass row level security %s, create roles %s, create databases %s, replication %s',
    r.rolcanlogin, r.rolinherit, r.rolsuper, r.rolbypassrls, r.rolcreaterole, r.rolcreatedb, r.rolreplication
  )
  from pg_catalog.pg_roles r where r.rolname ~ '^audit_'
  union all
  -- Types that are no table's
  select 3, 'type ' || t.oid::regtype, 1, a.attnum, format('%s %s', a.attname, format_type(a.atttypid, a.atttypmod))
  from pg_catalog.pg_type t
  join pg_catalog.pg_class c on c.oid = t.typrelid and c.relkind = 'c'
  join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
  where t.typnamespace in ('public'::regnamespace, 'audit'::regnamespace)
  union all
  select 3, 'type ' || t.oid::regtype, 0, 0, format('%s, owner %s', t.typtype, t.typowner::regrole)
  from pg_catalog.pg_type t
  left join pg_catalog.pg_class c on c.oid = t.typrelid
  where t.typnamespace in ('public'::regnamespace, 'audit'::regnamespace) and t.typelem = 0 and coalesce(c.relkind, 'c') = 'c'
  -- Tables and views
  union all
  select 4, 'relation ' || r.name, 1, 0, format(
    'kind %s, owner %s, persistence %s%s', r.relkind, r.relowner::regrole, r.relpersistence,
    ', with ' || array_to_string(r.reloptions, ', ')
  )
  from relation r
  union all
  select 4, 'relation ' || r.name, 2, 0, case when r.relrowsecurity then 'row level security' else 'no row level security' end
    || case when r.relforcerowsecurity then ', forced on the owner' else '' end
  from relation r where r.relkind in ('r', 'p')
  union all
  select 4, 'relation ' || r.name, 3, 0, 'partition by ' || pg_get_partkeydef(r.oid) from relation r where r.relkind = 'p'
  union all
  select 4, 'relation ' || r.name, 3, 0, format('partition of %s %s', i.inhparent::regclass, pg_get_expr(r.relpartbound, r.oid))
  from relation r join pg_catalog.pg_inherits i on i.inhrelid = r.oid where r.relispartition
  union all
  select 4, 'relation ' || r.name, 4, a.attnum, concat(
    'column ', a.attname, ' ', format_type(a.atttypid, a.atttypmod), case when a.attnotnull then ' not null' end,
    ' default ' || pg_get_expr(d.adbin, d.adrelid), nullif(' identity ' || a.attidentity::text, ' identity '),
    nullif(' generated ' || a.attgenerated::text, ' generated ')
  )
  from relation r
  join pg_catalog.pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
  left join pg_catalog.pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
  union all
  select 4, 'relation ' || r.name, 5, 0, format(
    'constraint %s %s%s', c.conname, pg_get_constraintdef(c.oid), case when not c.convalidated then ' not valid' end
  )
  from relation r join pg_catalog.pg_constraint c on c.conrelid = r.oid
  union all
  select 4, 'relation ' || r.name, 6, 0, pg_get_indexdef(i.indexrelid) || case when not i.indisvalid then ' invalid' else '' end
  from relation r join pg_catalog.pg_index i on i.indrelid = r.oid
  union all
  select 4, 'relation ' || r.name, 7, 0, format('%s (enabled %s)', pg_get_triggerdef(t.oid), t.tgenabled)
  from relation r join pg_catalog.pg_trigger t on t.tgrelid = r.oid where not t.tgisinternal
  union all
  select 4, 'relation ' || r.name, 8, 0, format(
    'policy %s, command %s, %s, to %s, using %s, check %s', quote_ident(p.polname), p.polcmd,
    case when p.polpermissive then 'permissive' else 'restrictive' end,
    (select string_agg(o.role::regrole::text, ', ' order by o.role::regrole::text) from unnest(p.polroles) o (role)),
    coalesce(regexp_replace(pg_get_expr(p.polqual, p.polrelid), '\\s+', ' ', 'g'), '-'),
    coalesce(regexp_replace(pg_get_expr(p.polwithcheck, p.polrelid), '\\s+', ' ', 'g'), '-')
  )
  from relation r join pg_catalog.pg_policy p on p.polrelid = r.oid
  union all
  select 4, 'relation ' || r.name, 9, 0, format('grant %s', g.text)
  from relation r
  cross join lateral (
    select format('%s: %s', a.grantee::regrole, string_agg(
      a.privilege_type || case when a.is_grantable then ' with grant option' else '' end, ', ' order by a.privilege_type
    )) as text
    from aclexplode(coalesce(r.relacl, acldefault(case r.relkind when 'S' then 's' else 'r' end::"char", r.relowner))) a
    group by a.grantee
  ) g
  union all
  select 4, 'relation ' || r.name, 10, a.attnum, format('grant on column %s %s', a.attname, g.text)
  from relation r
  join pg_catalog.pg_attribute a on a.attrelid = r.oid and a.attacl is not null
  cross join lateral (
    select format('%s: %s', x.grantee::regrole, string_agg(x.privilege_type, ', ' order by x.privilege_type)) as text
    from aclexplode(a.attacl) x group by x.grantee
  ) g
  union all
  select 4, 'relation ' || r.name, 11, d.objsubid, format(
    'comment%s: %s', ' on column ' || (select a.attname from pg_catalog.pg_attribute a where a.attrelid = r.oid and a.attnum = d.objsubid and d.objsubid > 0),
    d.description
  )
  from relation r join pg_catalog.pg_description d on d.classoid = 'pg_catalog.pg_class'::regclass and d.objoid = r.oid
  union all
  select 4, 'relation ' || r.name, 12, 0, 'as' || E'\\n' || pg_get_viewdef(r.oid) from relation r where r.relkind in ('v', 'm')
  -- Functions
  union all
  select 5, 'function ' || p.name, 1, 0, case
    when p.prokind <> 'a' then pg_get_functiondef(p.oid)
    else (
      select format('aggregate %s(%s), step %s, state %s, start %s', p.proname, pg_get_function_arguments(p.oid), a.aggtransfn,
        a.aggtranstype::regtype, coalesce(a.agginitval, 'null'))
      from pg_catalog.pg_aggregate a where a.aggfnoid = p.oid
    )
  end
  from routine p
  union all
  select 5, 'function ' || p.name, 2, 0, format('owner %s', p.proowner::regrole) from routine p
  union all
  select 5, 'function ' || p.name, 3, 0, format('grant %s', g.text)
  from routine p
  cross join lateral (
    select format('%s: %s', a.grantee::regrole, a.privilege_type) as text
    from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
  ) g
  union all
  select 5, 'function ' || p.name, 4, 0, 'comment: ' || obj_description(p.oid, 'pg_proc') from routine p
  -- Event triggers
  union all
  select 6, 'event trigger ' || e.evtname, 1, 0, format(
    'on %s execute %s (enabled %s)', e.evtevent, e.evtfoid::regprocedure, e.evtenabled
  )
  from pg_catalog.pg_event_trigger e where e.evtname ~ '^audit_'
)
select l.name as object, string_agg(l.text, E'\\n' order by l.part, l.position, l.text collate "C") as definition
from line l
where l.text is not null
group by l.kind, l.name
order by l.kind, l.name collate "C"`;

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const url = process.argv[2];
  if (url === undefined) throw new Error("name the database: npx tsx scripts/schema-dump.ts postgresql://…");
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    process.stdout.write(await dumpSchema(client));
  } finally {
    await client.end();
  }
}
