// What a session sets changes neither what is logged nor whether it verifies.
import { describe, expect, test } from "vitest";
import { expectVerified } from "../support/log.ts";
import { actions, client, logged, organization, tracked } from "../support/workbench.ts";

describe("session settings change neither values nor verification", () => {
  const SETTINGS: Record<string, string[]> = {
    timezone: ["Pacific/Chatham", "America/St_Johns", "UTC", "<+05>-5"],
    datestyle: ["German, DMY", "SQL, MDY", "Postgres, YMD"],
    intervalstyle: ["iso_8601", "sql_standard", "postgres_verbose"],
    extra_float_digits: ["-15", "0", "3"],
    bytea_output: ["escape", "hex"],
    standard_conforming_strings: ["off", "on"],
    escape_string_warning: ["off", "on"],
    backslash_quote: ["on", "safe_encoding"],
    xmlbinary: ["hex", "base64"],
    lc_monetary: ["C"],
    quote_all_identifiers: ["on", "off"],
    client_encoding: ["LATIN1", "UTF8"],
    plan_cache_mode: ["force_generic_plan", "force_custom_plan"],
    enable_indexscan: ["off", "on"],
    jit: ["on", "off"],
    row_security: ["on"],
    default_toast_compression: ["pglz"],
    array_nulls: ["off", "on"],
    transform_null_equals: ["on", "off"],
  };

  test("each of them, over values that they would render differently", async () => {
    const table = await tracked(
      `a timestamptz, b timestamp, c date, d interval, e float8, f float4, g bytea, h timetz, i tstzrange, j timestamptz[],
       k float8[], l bytea[], m xml, n text`,
    );
    await client.query(`create table public.reference (like ${table})`);
    await client.query(
      `insert into public.reference values (0, null, '2026-03-29 01:30:00+00', '2026-03-29 01:30:00', '2026-03-29',
         '1 year -2 days 03:04:05.678', 0.1::float8 + 0.2::float8, 1.1, '\\x00ff5c', '12:00:00+02',
         '["2026-01-01 00:00:00+00","2026-02-01 00:00:00+00")', array['2026-03-29 01:30:00+00'::timestamptz],
         array[0.1::float8 + 0.2::float8], array['\\x00ff5c'::bytea], '<a/>', E'back\\\\slash')`,
    );
    let id = 0;
    const add = () =>
      client.query(
        `insert into ${table} select ${++id}, '${organization}', a, b, c, d, e, f, g, h, i, j, k, l, m, n from public.reference`,
      );
    await add();
    for (const [name, options] of Object.entries(SETTINGS)) {
      for (const option of options) {
        await client.query("select set_config($1, $2, false)", [name, option]);
        await add();
        await client.query(`update ${table} set n = 'changed' where id = ${id}`);
        await client.query(`delete from ${table} where id = ${id}`);
        await expectVerified(client);
      }
    }
    await client.query("discard all");
    const { rows } = await client.query(
      "select details ->> 'new' as details, count(*)::int from public.audit_logs where organization_id = $1 and action like '%created' group by 1",
      [organization],
    );
    expect(rows.map((row) => row.count)).toEqual([id]);
    const { rows: deleted } = await client.query(
      "select count(distinct details)::int from public.audit_logs where organization_id = $1 and action like '%deleted'",
      [organization],
    );
    expect(deleted).toEqual([{ count: 1 }]);
  });

  test("a search path full of shadows is not searched", async () => {
    const table = await tracked("v text, n numeric, t timestamptz, j json");
    await client.query(`
      create schema if not exists hostile;
      create or replace function hostile.clock_timestamp() returns timestamptz language sql as $$ select '2000-01-01'::timestamptz $$;
      create or replace function hostile.to_jsonb(anyelement) returns jsonb language sql as $$ select '"shadow"'::jsonb $$;
      create or replace function hostile.to_json(text) returns json language sql as $$ select '"shadow"'::json $$;
      create or replace function hostile.sha256(bytea) returns bytea language sql as $$ select ''::bytea $$;
      create or replace function hostile.now() returns timestamptz language sql as $$ select '2000-01-01'::timestamptz $$;
      create or replace function hostile.encode(bytea, text) returns text language sql as $$ select 'shadow' $$;
      create or replace function hostile.never(text, text) returns boolean language sql as $$ select false $$;
      create or replace function hostile.shadow(text, text) returns text language sql as $$ select 'shadow' $$;
      create or replace function hostile.merge(jsonb, jsonb) returns jsonb language sql as $$ select '{}'::jsonb $$`);
    await client.query(`
      create operator hostile.= (leftarg = text, rightarg = text, function = hostile.never);
      create operator hostile.|| (leftarg = text, rightarg = text, function = hostile.shadow);
      create operator hostile.|| (leftarg = jsonb, rightarg = jsonb, function = hostile.merge)`);
    await client.query("set search_path = hostile, pg_catalog, public");
    await client.query(`insert into ${table} values (1, $1, 'a', 1.5, '2026-01-01Z', '{"b":1}')`, [organization]);
    await client.query(
      `insert into ${table} values (2, $1, 'a', 1.5, '2026-01-01Z', '{"b":1}'), (3, $1, 'a', 1.5, '2026-01-01Z', '{"b":1}')`,
      [organization],
    );
    await client.query(`update ${table} set v = 'b' where id operator(pg_catalog.=) 1`);
    await expectVerified(client);
    await client.query("reset search_path");
    const log = await logged();
    const whole = { v: "a", n: 1.5, t: "2026-01-01T00:00:00Z", j: { b: 1 } };
    expect(log.map((entry) => entry.details)).toMatchObject([
      { new: whole },
      { new: whole },
      { new: whole },
      { changes: { v: { old: "a", new: "b" } } },
    ]);
  });

  test("temporary tables, functions and types in the way are not taken for ours", async () => {
    const table = await tracked("v text");
    await client.query(`
      create temp table audit_logs (id int); create temp table heads (id int); create temp table new_rows (id int);
      create temp table organizations (id int); create temp table n (id int);
      create function pg_temp.append_all(audit.draft[]) returns void language sql as 'select 1 / 0'`);
    await client.query("set search_path = pg_temp, public, audit");
    await client.query(`insert into ${table} values (1, $1, 'a'), (2, $1, 'a')`, [organization]);
    await client.query(`update ${table} set v = 'b' where id = 1`);
    await client.query("reset search_path");
    expect((await actions()).length).toBe(3);
  });
});
