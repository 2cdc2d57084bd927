// What the catalogue says of every function, view and policy of the product, new ones included.
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";

let db: TestDatabase;
let client: pg.Client;

beforeAll(async () => {
  db = await createDatabase();
  client = await db.connect();
});
afterAll(() => db.drop());

const OURS =
  "(p.pronamespace = 'audit'::regnamespace or p.pronamespace = 'public'::regnamespace and p.proname ~ 'audit')";

async function names(query: string): Promise<string[]> {
  const { rows } = await client.query<string[]>({ text: query, rowMode: "array" });
  return rows.map(([name]) => name!);
}

const functions = (condition: string) =>
  names(`select p.oid::regprocedure::text from pg_proc p where ${OURS} and ${condition} order by 1`);

test("what runs with more than the caller's rights belongs to one of three roles, none a superuser", async () => {
  expect(
    await functions("p.prosecdef and p.proowner::regrole::text not in ('postgres', 'audit_writer', 'audit_purger')"),
  )
    .toEqual([]);
  expect(
    await names(
      `select rolname from pg_roles where rolname in ('audit_writer', 'audit_purger')
       and (rolsuper or rolcanlogin or rolcreaterole or rolcreatedb or rolbypassrls or rolreplication)`,
    ),
  ).toEqual([]);
});

test("names are found the same whoever calls: a pinned, empty search path, or names bound when it was made", async () => {
  expect(await functions(`p.prosecdef and not coalesce('search_path=""' = any (p.proconfig), false)`)).toEqual([]);
  // `return …` and `begin atomic` are parsed when a function is made: no search path changes them, and they can be inlined.
  expect(
    await functions(
      `not coalesce('search_path=""' = any (p.proconfig), false) and p.prosqlbody is null
       and p.prolang <> (select oid from pg_language where lanname = 'internal')`,
    ),
  ).toEqual([]);
});

test("nobody executes because everybody may", async () => {
  expect(
    await functions(
      "exists (select from aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a where a.grantee = 0)",
    ),
  )
    .toEqual([]);
});

test("no function that says it reads nothing runs with more than the caller's rights", async () => {
  expect(await functions("p.prosecdef and p.provolatile = 'i'")).toEqual([]);
});

test("each function with more than the caller's rights says why, where it is defined", async () => {
  const { productSql } = await import("../support/cluster.ts");
  const unexplained = (await productSql()).join("\n").split("\n")
    .filter((line) => /^\s*security definer\b/.test(line) && !/security definer -- \S/.test(line));
  expect(unexplained).toEqual([]);
});

/** Functions that build SQL from something that is no constant, no `%I` and no `%L`; each with what makes it safe. */
const BUILDS_SQL: Record<string, string> = {
  "audit.search_candidates": "conditions of numbers (terms), of literals by format %L, and two constants",
  "audit.candidates_by_cost": 'the same; a limit that is a number or "all"',
};

test("SQL is not made of what is not quoted, where it runs with more than the caller's rights", async () => {
  const { rows } = await client.query<{ name: string; source: string }>(
    `select p.oid::regproc::text as name, p.prosrc as source from pg_proc p
     where ${OURS} and p.prosecdef and p.prosrc ~* '\\mexecute\\M' and p.proname !~ '^capture_'`,
  );
  const suspicious = rows.filter(({ source }) => /%(\d+\$)?s|\|\|\s*(?!')/.test(source)).map(({ name }) => name);
  expect(suspicious.filter((name) => BUILDS_SQL[name] === undefined)).toEqual([]);
  expect(Object.keys(BUILDS_SQL).filter((name) => !suspicious.includes(name)), "explained, but no longer there")
    .toEqual([]);
});

test("generated functions quote what names and values a table brings", async () => {
  const hostile = [`o'"; drop table public.audit_logs; --`, `$capture$ $$`, `%s %I %L`, `select`, "ü\u202e\\"];
  for (const [n, name] of hostile.entries()) {
    const quoted = `"${name.replaceAll('"', '""')}"`;
    await client.query(`create table public.${quoted} (${quoted} int primary key, organization_id uuid, "a'b" text)`);
    await client.query("select audit.track($1)", [`public.${quoted}`]);
    await client.query(`insert into public.${quoted} values (${n}, $1, $2)`, [crypto.randomUUID(), name]);
    await client.query(`update public.${quoted} set "a'b" = $1 || '!'`, [name]);
    await client.query(`truncate public.${quoted}`);
  }
  const { rows: [{ entries }] } = await client.query(
    "select count(*)::int as entries from public.audit_logs where created_at > now() - interval '1 hour' and action ~ '(created|updated)$'",
  );
  expect(entries).toBeGreaterThanOrEqual(2 * hostile.length);
});

test("views that people read show them no more than the tables would", async () => {
  expect(
    await names(
      `select c.oid::regclass::text from pg_class c
     where c.relkind = 'v' and (c.relnamespace = 'audit'::regnamespace or c.relname = 'audit_events')
       and has_table_privilege('authenticated', c.oid, 'select')
       and not coalesce(c.reloptions @> array['security_invoker=on'] or c.reloptions @> array['security_invoker=true'], false)
     order by 1`,
    ),
  ).toEqual([]);
});

test("what people read has row level security", async () => {
  expect(
    await names(
      `select c.oid::regclass::text from pg_class c
     where c.relkind in ('r', 'p') and (c.relnamespace = 'audit'::regnamespace or c.relname ~ '^audit_')
       and has_table_privilege('authenticated', c.oid, 'select') and not c.relrowsecurity`,
    ),
  ).toEqual([]);
});

test("nobody makes anything in our schema, and roles of the product are nobody's", async () => {
  expect(
    await names(
      `select r::text from unnest(array['anon', 'authenticated', 'service_role', 'audit_writer', 'audit_purger', 'authenticator']) r
     where has_schema_privilege(r, 'audit', 'create')`,
    ),
  ).toEqual([]);
  expect(
    await names(
      `select m.member::regrole::text from pg_auth_members m
     where m.roleid in ('audit_writer'::regrole, 'audit_purger'::regrole)
       and m.member in ('anon'::regrole, 'authenticated'::regrole, 'service_role'::regrole, 'authenticator'::regrole)`,
    ),
  ).toEqual([]);
});
