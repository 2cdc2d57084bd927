// Bad and strange input: refused with a code, the reason and the way out, or captured as it is.
import { describe, expect, test } from "vitest";
import { asUser } from "../support/acting.ts";
import { failure } from "../support/log.ts";
import { actions, client, db, last, logged, organization, track, tracked } from "../support/workbench.ts";

const ALICE = "a11ce000-0000-4000-8000-000000000001";

describe("track() refuses", () => {
  test.each([
    ["a table that is not there", "", "public.nowhere", "AUTBL", "There is no table public.nowhere.", "schema"],
    ["no name", "", null, "AUTBL", "There is no table (null).", "schema"],
    ["what is not the form of a name", "", 'public."', "AUTBL", 'There is no table public.".', "schema"],
    ["an SQL injection", "", "x; drop table y", "AUTBL", "There is no table x; drop table y.", "schema"],
    ["a view", "create view public.v as select 1", "public.v", "AUKND", "public.v is a view.", "behind it"],
    [
      "a materialized view",
      "create materialized view public.m as select 1 as id",
      "public.m",
      "AUKND",
      "public.m is a materialized view.",
      "behind it",
    ],
    [
      "a sequence",
      "create sequence public.s",
      "public.s",
      "AUKND",
      "public.s is a sequence.",
      "",
    ],
    [
      "a temporary table",
      "create temp table tmp (id int primary key, organization_id uuid)",
      "pg_temp.tmp",
      "AUKND",
      "tmp is a temporary table.",
      "",
    ],
    [
      "a partition",
      "create table public.p (id int primary key, organization_id uuid) partition by range (id); create table public.p1 partition of public.p for values from (0) to (9)",
      "public.p1",
      "AUPRT",
      "public.p1 is a partition.",
      "audit.track('public.p')",
    ],
    [
      "the log",
      "",
      "public.audit_logs",
      "AULOG",
      "public.audit_logs belongs to the audit log itself.",
      "its own chain",
    ],
    [
      "the log's own tables",
      "",
      "audit.heads",
      "AULOG",
      "audit.heads belongs to the audit log itself.",
      "its own chain",
    ],
    [
      "a table without a primary key",
      "create table public.k (organization_id uuid)",
      "public.k",
      "AUNPK",
      "Table public.k has no primary key.",
      '{"id": ["column"]}',
    ],
    [
      "a table without an organisation",
      "create table public.o (id int primary key, name text)",
      "public.o",
      "AUORG",
      "Table public.o has no column that names its organisation.",
      'option "organization"',
    ],
    [
      "an organisation that is a number",
      "create table public.n (id int primary key, org_id bigint)",
      "public.n",
      "AUORG",
      "Column org_id of table public.n is neither uuid nor text.",
      'option "organization"',
    ],
  ])("%s", async (_, setup, table, code, message, hint) => {
    await client.query("begin");
    if (setup !== "") await client.query(setup);
    const refused = await failure(track(table));
    await client.query("rollback");
    expect(refused).toMatchObject({ code, message });
    expect(refused.hint).toContain(hint);
    expect(refused.hint).not.toBe("");
  });

  test("a foreign table", async () => {
    const admin = await db.connect("supabase_admin");
    await admin.query("begin");
    await admin.query("create foreign data wrapper none");
    await admin.query("create server nowhere foreign data wrapper none");
    await admin.query("create foreign table public.f (id int, organization_id uuid) server nowhere");
    const refused = await failure(admin.query("select audit.track('public.f')"));
    await admin.query("rollback");
    expect(refused).toMatchObject({ code: "AUKND", message: "public.f is a foreign table." });
  });

  test.each([
    ["an unknown option", { nonsense: 1 }, "nonsense"],
    ["an option of the wrong type", { organization: 5 }, "organization"],
    ["an ignored column that is not there", { ignore: ["nowhere"] }, "nowhere"],
    ["an organisation that is not there", { organization: "nowhere" }, "nowhere"],
    ["an organisation behind no foreign key", { organization: "name.id" }, "name.id"],
    ["an action that is none", { actions: { insert: "Not an action" } }, "insert"],
    ["an outcome without a column", { outcome: {} }, "outcome"],
    ["an outcome whose column is not there", { outcome: { column: "nowhere" } }, "nowhere"],
    ["an id that is not text", { id: [1] }, "1"],
    ["an empty id", { id: [] }, ""],
    ["a list instead of options", [], ""],
    ["text instead of options", "organization", ""],
    ["an update_of whose column is not there", { update_of: { nowhere: "a.b" } }, "nowhere"],
    ["an action that is no text", { actions: { insert: 7 } }, "insert"],
  ])("%s", async (_, options, named) => {
    const refused = await failure(track("public.budgets", options));
    expect(["AUOPT", "AUNPK"]).toContain(refused.code);
    expect(refused.message).toContain(named);
    expect(refused.hint).not.toBe("");
  });

  test("every code it uses is registered with a status", async () => {
    const { rows } = await client.query("select code, http_status from audit.error_codes");
    const codes = new Map(rows.map((row) => [row.code, row.http_status]));
    for (const code of ["AUTBL", "AUKND", "AUPRT", "AULOG", "AUNPK", "AUORG", "AUOPT", "AUARG", "AUSTL", "AUIMM"]) {
      expect(codes.get(code)).toBeGreaterThanOrEqual(400);
    }
  });
});

describe("record() refuses", () => {
  test.each([
    ["no action", "null, null, null, '{}', 'success'"],
    ["an action with capitals", "'Report.Generated', null, null, '{}', 'success'"],
    ["an action without a dot", "'report', null, null, '{}', 'success'"],
    ["an action with a line break", "E'report.generated\\n', null, null, '{}', 'success'"],
    ["an action of 101 characters", `'a.${"b".repeat(99)}', null, null, '{}', 'success'`],
    ["an outcome that is none", "'a.b', null, null, '{}', 'maybe'"],
    ["details that are a list", "'a.b', null, null, '[]', 'success'"],
    ["no details", "'a.b', null, null, null, 'success'"],
  ])("%s", async (_, args) => {
    expect(await failure(client.query(`select audit.record(null, ${args})`))).toMatchObject({ code: "AUARG" });
  });
});

describe("a malformed context costs no change", () => {
  const add = () => client.query("insert into public.budgets (organization_id) values ($1)", [organization]);
  const set = (name: string, value: string) => client.query("select set_config($1, $2, false)", [name, value]);

  test.each([
    "{",
    "garbage",
    "[]",
    "null",
    "5",
    '"text"',
    "{}",
    " ",
    '{"sub": {}}',
    '{"sub": 5}',
    '{"sub": null}',
    '{"sub": ""}',
    '{"sub": "not-a-uuid"}',
    '{"sub": "\\u0000"}',
    '{"sub": "\\ud800"}',
    '{"email": "\\u0000"}',
    '{"role": []}',
    `{"sub": "${ALICE}", "email": ["x"]}`,
    `{"sub": "${ALICE}", "sub": "other"}`,
    "é😀",
    '{"a":'.repeat(20_000),
    `{"sub": "${"x".repeat(1_000_000)}"}`,
    `{"sub": "${ALICE}", "email": "${"e".repeat(1_000_000)}"}`,
  ])("claims %#", async (claims) => {
    await set("request.jwt.claims", claims);
    await add();
    await client.query("insert into public.budgets (organization_id) select $1 from generate_series(1, 3)", [
      organization,
    ]);
    expect(await actions()).toEqual(Array(4).fill("budget.created"));
  });

  test.each([
    "{",
    "[]",
    "7",
    '{"x-forwarded-for": "999.999.999.999"}',
    '{"x-forwarded-for": ", ,"}',
    '{"x-forwarded-for": "\\u0000"}',
    '{"user-agent": "\\ud83d"}',
    '{"x-request-id": {}}',
    '{"x-forwarded-for": null}',
    `{"x-forwarded-for": "${"1".repeat(100_000)}"}`,
    `{"user-agent": "${"😀".repeat(100_000)}"}`,
    `{"x-request-id": "${"\\\\".repeat(100_000)}"}`,
  ])("headers %#", async (headers) => {
    await set("request.headers", headers);
    await set("audit.request_id", '\\"\n\t\u0001'.repeat(1000));
    await set("audit.actor_type", "nonsense");
    await set("audit.actor", "someone");
    await add();
    await client.query("insert into public.budgets (organization_id) select $1 from generate_series(1, 3)", [
      organization,
    ]);
    expect(await actions()).toEqual(Array(4).fill("budget.created"));
  });

  test("malformed claims are said to have been malformed", async () => {
    await set("request.jwt.claims", "{");
    await add();
    expect((await last()).details).toMatchObject({ malformed_claims: true });
    expect((await last()).created_by).toBeNull();
  });

  test("malformed headers take nothing from well-formed claims", async () => {
    await set("request.jwt.claims", JSON.stringify({ sub: ALICE, role: "authenticated" }));
    await set("request.headers", "{");
    await add();
    expect(await last()).toMatchObject({ created_by: ALICE, actor_type: "user", details: { malformed_headers: true } });
  });

  test.each([
    ["203.0.113.7", "203.0.113.7"],
    ["203.0.113.7, 10.0.0.1", "203.0.113.7"],
    ["203.0.113.7:443", "203.0.113.7"],
    ["2001:DB8::0:1", "2001:db8::1"],
    ["[2001:db8::1]:443", "2001:db8::1"],
    ["fe80::1%eth0", "fe80::1"],
    ["203.0.113.7/24", "203.0.113.7"],
    ["unknown", "unknown"],
    ["<script>", "<script>"],
  ])("the address %s is kept as %s", async (header, kept) => {
    await asUser(client, { sub: ALICE, role: "service_role", headers: { "x-forwarded-for": header } }, add);
    const { rows } = await client.query("select ip_address from public.audit_events where organization_id = $1", [
      organization,
    ]);
    expect(rows).toEqual([{ ip_address: kept }]);
  });
});

describe("values", () => {
  const insert = (table: string, values: string, parameters: unknown[] = []) =>
    client.query(`insert into ${table} values (1, '${organization}', ${values})`, parameters);

  test("1 MB is cut to its size and digest, beside values that stay readable", async () => {
    const table = await tracked("body text, note text, config jsonb");
    const big = "é".repeat(500_000);
    await insert(table, `$1, 'kept', $2`, [big, JSON.stringify({ small: 1, big })]);
    const { details } = await last();
    expect(details.new.note).toBe("kept");
    expect(details.new.body.cut).toMatchObject({ sha256: expect.stringMatching(/^[0-9a-f]{64}$/) });
    expect(details.new.body.cut.bytes).toBeGreaterThanOrEqual(1_000_000);
    await client.query(`update ${table} set body = body || 'x'`);
    expect((await last()).details.changes.body).toMatchObject({
      old: { cut: expect.anything() },
      new: { cut: expect.anything() },
    });
  });

  test("no entry text is longer than 65,535 bytes, whatever the client sends", async () => {
    // Characters that JSON spells with six bytes, in every field that a client fills.
    const nasty = "\u0001".repeat(1_000_000);
    await client.query(
      "create table public.keyed (id text primary key, organization_id uuid, provider text, body text)",
    );
    await track("public.keyed");
    await client.query("select set_config('request.jwt.claims', $1, false), set_config('request.headers', $2, false)", [
      JSON.stringify({ sub: nasty, role: "authenticated" }),
      JSON.stringify({ "x-request-id": nasty, "user-agent": nasty }),
    ]);
    await client.query("alter table public.keyed drop constraint keyed_pkey");
    await client.query("insert into public.keyed values ($1, $2, $1, $1)", [nasty, organization]);
    await client.query("insert into public.keyed values ($1, $2, $1, $1), ($1 || '2', $2, $1, $1)", [
      nasty,
      organization,
    ]);
    const { rows } = await client.query(
      "select max(octet_length(audit.entry_text(a)))::int as longest, count(*)::int from public.audit_logs a where organization_id = $1",
      [organization],
    );
    expect(rows[0].count).toBe(3);
    expect(rows[0].longest).toBeLessThanOrEqual(65_535);
  });

  test("very many small values that are too much together are cut to one digest", async () => {
    const table = await tracked("config jsonb");
    const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, n) => [`key ${n}`, n]));
    await insert(table, "$1", [JSON.stringify(many)]);
    expect(JSON.stringify((await last()).details)).toContain('"cut"');
  });

  test("deep JSON is captured or cut", async () => {
    const table = await tracked("config jsonb, other json");
    const deep = "[".repeat(2000) + "]".repeat(2000);
    await insert(table, "$1, $2", [deep, deep]);
    const nested = '{"a":'.repeat(1500) + "1" + "}".repeat(1500);
    await client.query(`update ${table} set config = $1, other = $2`, [nested, nested]);
    expect(await actions()).toEqual([`${table.slice(7)}.created`, `${table.slice(7)}.updated`]);
  });

  test.each(['"\\u0000"', '{"a": "\\u0000", "b": 1}', '"\\ud800"', '["\\udc00\\ud800"]', '{"\\u0000": 1}'])(
    "%s in a json column is kept as its text",
    async (json) => {
      const table = await tracked("value json");
      await insert(table, "$1", [json]);
      await client.query(`insert into ${table} select n, '${organization}', $1 from generate_series(2, 4) n`, [json]);
      expect((await logged()).map((entry) => entry.details.new.value)).toEqual(Array(4).fill(json));
    },
  );

  test("numbers that a double cannot hold travel as strings", async () => {
    const table = await tracked("n numeric, b bigint, f float8, r float4");
    await insert(table, "12345678901234567890.123456789, 9223372036854775807, 1e308, 3.4e38");
    expect((await last()).details.new).toEqual({
      n: "12345678901234567890.123456789",
      b: "9223372036854775807",
      f: 1e308,
      r: 3.4e38,
    });
    await client.query(`update ${table} set n = 1e130000, b = -9007199254740991, f = 1e-308`);
    const { changes } = (await last()).details;
    expect(changes.b.new).toBe(-9007199254740991);
    expect(changes.f.new).toBe(1e-308);
    expect(JSON.stringify(changes.n.new)).toContain("cut");
  });

  test("NaN and both infinities", async () => {
    const table = await tracked("n numeric, f float8, d date, t timestamptz, l timestamp");
    await insert(table, "'NaN', 'NaN', 'infinity', 'infinity', 'infinity'");
    await client.query(
      `update ${table} set n = '-Infinity', f = 'Infinity', d = '-infinity', t = '-infinity', l = '-infinity'`,
    );
    const [created, updated] = (await logged()).map((entry) => entry.details);
    expect(created.new).toEqual({ n: "NaN", f: "NaN", d: "infinity", t: "infinity", l: "infinity" });
    expect(updated.changes.n).toEqual({ old: "NaN", new: "-Infinity" });
    expect(updated.changes.f).toEqual({ old: "NaN", new: "Infinity" });
    expect(updated.changes.t).toEqual({ old: "infinity", new: "-infinity" });
  });

  test("a cost of NaN, infinity or minus zero is kept as it is", async () => {
    const table = await tracked("cost numeric");
    const rows = `('NaN'::numeric), ('Infinity'), ('-0.000'), (1e99)`;
    await client.query(
      `insert into ${table} select row_number() over (), '${organization}', c from (values ${rows}) r (c)`,
    );
    expect((await logged()).map((entry) => entry.cost)).toEqual(["NaN", "Infinity", "0.000", `1${"0".repeat(99)}`]);
  });

  test.each([1, 2])(
    "a cost of 131,072 digits in a statement of %d rows is cut to its size and digest",
    async (count) => {
      const table = await tracked("cost numeric");
      await client.query(`insert into ${table} select n, $1, 1e131071 from generate_series(1, ${count}) n`, [
        organization,
      ]);
      for (const entry of await logged()) {
        expect(entry).toMatchObject({ cost: null, details: { cost: { cut: { bytes: 131_072 } } } });
      }
      expect((await logged()).length).toBe(count);
    },
  );

  test("dates before Christ and after year 9999", async () => {
    const table = await tracked("d date, t timestamptz");
    await insert(table, "'0044-03-15 BC', '0044-03-15 12:00:00Z BC'");
    await client.query(`update ${table} set d = '12345-06-07', t = '12345-06-07 00:00:00Z'`);
    expect((await logged()).map((entry) => entry.details)).toMatchObject([
      { new: { d: "0044-03-15 BC", t: "0044-03-15T12:00:00 BCZ" } },
      { changes: { d: { new: "12345-06-07" }, t: { new: "12345-06-07T00:00:00Z" } } },
    ]);
  });

  test("types of every kind", async () => {
    const admin = await db.connect("supabase_admin");
    await admin.query("create extension if not exists hstore with schema extensions");
    await client.query(`
      create type public.mood as enum ('sad', 'happy');
      create type public.pair as (a int, b text);
      create domain public.short as text check (length(value) < 10)`);
    const table = await tracked(
      `a int[], b text[][], c public.mood, d public.pair, e public.short, f inet, g cidr, h macaddr, i point, j polygon,
       k int4range, l tstzrange, m nummultirange, n xml, o tsvector, p bit(3), q varbit, r money, s "char", t name, u oid,
       v interval, w time, x timetz, y bytea, z extensions.hstore, aa box, ab public.pair[], ac regclass, ad pg_lsn`,
    );
    await insert(
      table,
      `'{1,2}', '{{a,b},{c,d}}', 'happy', '(1,"x y")', 'short', '::1', '10.0.0.0/8', '08:00:2b:01:02:03', '(1,2)',
       '((0,0),(1,1))', '[1,5)', '[2026-01-01,2026-02-01)', '{[1,2),[5,6)}', '<a b="c">d</a>', 'to be', '101', '1',
       '12.34', 'x', 'name', 42, '1 year 2 days', '12:34:56', '12:34:56+02', '\\x00ff', 'k=>v', '((0,0),(1,1))',
       array[row(1,'a')::public.pair], 'public.budgets', '16/B374D848'`,
    );
    await client.query(`update ${table} set i = '(3,4)', n = '<z/>', j = '((5,5),(6,6))', d = '(2,y)', y = '\\x01'`);
    await client.query(`delete from ${table}`);
    const [created, updated, deleted] = (await logged()).map((entry) => entry.details);
    expect(created.new).toMatchObject({ a: [1, 2], b: [["a", "b"], ["c", "d"]], c: "happy", d: { a: 1, b: "x y" } });
    expect(Object.keys(updated.changes).sort()).toEqual(["d", "i", "j", "n", "y"]);
    expect(deleted.old.i).toBe("(3,4)");
  });

  test("generated and identity columns, defaults and nulls", async () => {
    await client.query(`create table public.made (
      id bigint generated always as identity primary key, organization_id uuid, a int default 2,
      b int generated always as (a * 2) stored, c text)`);
    await track("public.made");
    await client.query("insert into public.made (organization_id) values ($1)", [organization]);
    await client.query("update public.made set a = 5");
    const [created, updated] = await logged();
    expect(created!.details).toMatchObject({ new: { a: 2, b: 4 } });
    expect(updated!.details.changes).toEqual({ a: { old: 2, new: 5 }, b: { old: 4, new: 10 } });
  });

  test("a row whose organisation is null or no UUID belongs to the system organisation", async () => {
    await client.query("create table public.loose (id int primary key, tenant_id text)");
    await track("public.loose");
    await client.query("insert into public.loose values (1, null), (2, 'not a uuid'), (3, $1)", [organization]);
    const { rows } = await client.query(
      "select resource_id, organization_id from public.audit_logs where resource_type = 'loose' order by 1",
    );
    const nil = "00000000-0000-0000-0000-000000000000";
    expect(rows.map((row) => row.organization_id)).toEqual([nil, nil, organization]);
  });
});

describe("names", () => {
  test.each([
    `O'Brien`,
    `say "hi"`,
    "dot.ted.name",
    "Mixed Case",
    "emoji 😀",
    "select",
    "percent %s %I %L",
    "back\\slash",
    "$$",
    "$source$",
    "日本語",
    "new_rows",
    "n",
    "line\nbreak",
    "--comment",
    "x".repeat(63),
    "and there are more",
    "position in the statement",
    "d",
    "o",
    "tg_op",
    "v_many",
    "found",
  ])("a table and a column called %j", async (name) => {
    const quoted = `"${name.replaceAll('"', '""')}"`;
    await client.query(`drop schema if exists odd cascade; create schema odd`);
    await client.query(
      `create table odd.${quoted} (${quoted} int primary key, organization_id uuid, "value ${"😀"}" text)`,
    );
    await track(`odd.${quoted}`);
    await client.query(`insert into odd.${quoted} values (1, $1, 'a')`, [organization]);
    await client.query(`insert into odd.${quoted} values (2, $1, 'a'), (3, $1, 'a')`, [organization]);
    await client.query(`update odd.${quoted} set "value 😀" = 'b' where ${quoted} = 1`);
    await client.query(`update odd.${quoted} set "value 😀" = 'c'`);
    await client.query(`delete from odd.${quoted} where ${quoted} = 1`);
    await client.query(`truncate odd.${quoted}`);
    const log = await logged();
    expect(log.map((entry) => entry.resource_id)).toEqual(["1", "2", "3", "1", "2", "3", "1", "1", null]);
    expect(log[3]!.details.changes).toEqual({ "value 😀": { old: "a", new: "b" } });
    expect(log.at(-1)!.details).toMatchObject({ truncated: true, rows: 2 });
  });

  test("a record column named like a secret is masked, whatever its case", async () => {
    const table = await tracked(`"apiKey" text, "API_KEY" text, "Password" text, client_secret text`);
    await client.query(`insert into ${table} values (1, $1, 'planted', 'planted', 'planted', 'planted')`, [
      organization,
    ]);
    expect(JSON.stringify(await logged())).not.toContain("planted");
  });
});

describe("1,600 columns", () => {
  test("each change is captured", async () => {
    const names = Array.from({ length: 1598 }, (_, n) => `c${n}`);
    const table = await tracked(names.map((name) => `${name} int`).join(", "));
    await client.query(
      `insert into ${table} (id, organization_id, ${names.join(", ")}) values (1, $1, ${
        names.map((_, n) => n).join(", ")
      })`,
      [organization],
    );
    await client.query(`update ${table} set c0 = 7, c1597 = 8`);
    await client.query(`insert into ${table} (id, organization_id, c5) values (2, $1, 5), (3, $1, 6)`, [organization]);
    await client.query(`update ${table} set c1 = -1`);
    await client.query(`delete from ${table}`);
    const log = await logged();
    expect(log.length).toBe(1 + 1 + 2 + 3 + 3);
    expect(Object.keys(log[0]!.details.new).length).toBe(1598);
    expect(log[1]!.details.changes).toEqual({ c0: { old: 0, new: 7 }, c1597: { old: 1597, new: 8 } });
  });
});
