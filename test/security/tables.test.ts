// Whatever table, view or sequence the product has, each actor tries everything with it. What is expected stands in
// tables.json; what is not named there is refused, so a new table that somebody can reach fails here until it is added.
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Actor, ACTORS, GLOBEX, type TwoTenants, twoTenants } from "../support/two_tenants.ts";

type Relation = { name: string; kind: string; column: string; has_organization: boolean };

/** Who selects from what: signed-in people what is their own organisations', or what is the same for everybody. */
type Expected = { signed_in_own: string[]; signed_in_all: string[]; service_role: string[] };

const EXPECTED: Expected = JSON.parse(await readFile(new URL("tables.json", import.meta.url), "utf8"));
const REFUSED = "42501";
/** Before privileges are looked at: a view that cannot be updated, a column that is always generated. */
const IMPOSSIBLE = ["55000", "0A000"];

function expectedOf(actor: Actor, relation: string): "all" | "own" | "42501" {
  if (actor === "anon" || actor === "login") return REFUSED;
  if (actor === "service_role") return EXPECTED.service_role.includes(relation) ? "all" : REFUSED;
  if (EXPECTED.signed_in_all.includes(relation)) return "all";
  return EXPECTED.signed_in_own.includes(relation) ? "own" : REFUSED;
}

let tenants: TwoTenants;
let relations: Relation[];

beforeAll(async () => {
  tenants = await twoTenants();
  ({ rows: relations } = await tenants.admin.query<Relation>(
    `select c.oid::regclass::text as name, c.relkind as kind,
       (
         select quote_ident(a.attname) from pg_attribute a
         where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attidentity = '' and a.attgenerated = ''
         order by a.attnum limit 1
       ) as column,
       exists (select from pg_attribute a where a.attrelid = c.oid and a.attname = 'organization_id') as has_organization
     from pg_class c
     where c.relkind in ('r', 'p', 'v', 'm', 'f', 'S')
       and (c.relnamespace = 'audit'::regnamespace or c.relnamespace = 'public'::regnamespace and c.relname ~ '^audit_')
     order by 1`,
  ));
});
afterAll(() => tenants?.end());

/** The SQLSTATE, or the rows of the answer. */
async function attempt(actor: Actor, statement: string): Promise<string | Record<string, unknown>[]> {
  const { admin, become } = tenants;
  await admin.query("begin");
  try {
    await become(admin, actor);
    return (await admin.query(statement)).rows;
  } catch (error) {
    return (error as { code: string }).code;
  } finally {
    await admin.query("rollback");
  }
}

test("what is expected is there, with something of Globex's in it", async () => {
  for (const name of EXPECTED.signed_in_own) {
    const { rows: [found] } = await tenants.admin.query(
      `select count(*)::int as theirs from ${name} where organization_id = $1`,
      [GLOBEX],
    );
    expect([name, found.theirs > 0]).toEqual([name, true]);
  }
  const names = relations.map(({ name }) => name);
  expect(Object.values(EXPECTED).flat().filter((name) => !names.includes(name))).toEqual([]);
});

describe.each(ACTORS)("%s", (actor) => {
  test("selects what is expected, and nothing else", async () => {
    const wrong: string[] = [];
    for (const { name, has_organization } of relations) {
      const expected = expectedOf(actor, name);
      const theirs = has_organization ? `count(*) filter (where organization_id = '${GLOBEX}')::int` : "count(*)::int";
      const answer = await attempt(actor, `select ${theirs} as theirs from ${name}`);
      const found = typeof answer === "string" ? answer : Number(answer[0]!.theirs) > 0 ? "all" : expected;
      if (found !== expected || (typeof answer !== "string" && expected === REFUSED)) {
        wrong.push(`${name}: ${found}, not ${expected}`);
      }
    }
    expect(wrong).toEqual([]);
  });

  test("writes nothing", async () => {
    const allowed: string[] = [];
    for (const { name, kind, column } of relations) {
      const statements = kind === "S" ? [`select nextval('${name}')`, `select setval('${name}', 1)`] : [
        `insert into ${name} default values`,
        `insert into ${name} overriding system value select * from ${name}`,
        `update ${name} set ${column} = ${column}`,
        `delete from ${name}`,
        ...(kind === "v" ? [] : [
          `truncate ${name}`,
          `lock table ${name} in share row exclusive mode`,
          `create trigger mine before insert on ${name} execute function suppress_redundant_updates_trigger()`,
          `alter table ${name} disable trigger all`,
        ]),
        `drop ${kind === "v" ? "view" : "table"} ${name} cascade`,
        `merge into ${name} t using (values (1)) s on true when matched then delete`,
      ];
      for (const statement of statements) {
        const answer = await attempt(actor, statement);
        if (typeof answer !== "string" || ![REFUSED, ...IMPOSSIBLE].includes(answer)) {
          allowed.push(`${statement}: ${typeof answer === "string" ? answer : "done"}`);
        }
      }
    }
    expect(allowed).toEqual([]);
  });
});

test("a table that somebody may reach by mistake is noticed", async () => {
  await tenants.admin.query(
    "create table audit.forgotten (organization_id uuid); grant insert, select on audit.forgotten to authenticated",
  );
  try {
    for (const statement of ["insert into audit.forgotten default values", "select count(*) from audit.forgotten"]) {
      expect(await attempt("viewer", statement)).not.toBe(REFUSED);
    }
    expect(expectedOf("viewer", "audit.forgotten")).toBe(REFUSED);
  } finally {
    await tenants.admin.query("drop table audit.forgotten");
  }
});
