// Every way in which rows change leaves its entries: each changed row one, and nothing else any.
import type pg from "pg";
import { beforeEach, describe, expect, test } from "vitest";
import { entries } from "../support/log.ts";
import { actions, client, last, logged, organization, track, tracked } from "../support/workbench.ts";

describe("statements", () => {
  test("that touch no row leave no entry", async () => {
    await client.query("insert into public.budgets (organization_id) select $1::uuid where false", [organization]);
    await client.query("update public.budgets set name = 'x' where organization_id = $1", [organization]);
    await client.query("delete from public.budgets where organization_id = $1", [organization]);
    expect(await actions()).toEqual([]);
  });

  test("that change nothing, or only what is ignored, leave no entry", async () => {
    await client.query("insert into public.organizations values ($1)", [organization]);
    await client.query("insert into public.api_keys (organization_id, name) values ($1, 'a'), ($1, 'b')", [
      organization,
    ]);
    await client.query("update public.api_keys set name = name where organization_id = $1", [organization]);
    await client.query("update public.api_keys set last_used_at = now() where organization_id = $1", [organization]);
    await client.query("update public.api_keys set last_used_at = now() where organization_id = $1 and name = 'a'", [
      organization,
    ]);
    expect(await actions()).toEqual(["organization.created", "api_key.added", "api_key.added"]);
  });

  test("of many rows log only the rows that changed", async () => {
    const table = await tracked("v int");
    await client.query(`insert into ${table} select n, $1, n from generate_series(1, 10) n`, [organization]);
    await client.query(`update ${table} set v = 5`);
    const updates = (await logged()).filter((entry) => entry.action.endsWith("updated"));
    expect(updates.map((entry) => entry.resource_id)).toEqual(["1", "2", "3", "4", "6", "7", "8", "9", "10"]);
  });

  test("that swap primary keys pair each row with its own old state", async () => {
    await client.query(
      "create table public.swapped (id int, organization_id uuid, v text, primary key (id) deferrable)",
    );
    await track("public.swapped");
    await client.query("insert into public.swapped values (1, $1, 'one'), (2, $1, 'two')", [organization]);
    await client.query("update public.swapped set id = 3 - id");
    const changes = (await logged()).slice(2).map((entry) => entry.details.changes);
    expect(changes).toEqual([{ id: { old: 1, new: 2 } }, { id: { old: 2, new: 1 } }]);
  });

  test("that move a row to another organisation are in the log of the new one, naming the old", async () => {
    const table = await tracked("v text");
    const other = crypto.randomUUID();
    await client.query(`insert into ${table} values (1, $1, 'a')`, [other]);
    await client.query(`update ${table} set organization_id = $1`, [organization]);
    expect((await last()).details.changes).toMatchObject({ organization_id: { old: other, new: organization } });
  });

  test("ON CONFLICT DO UPDATE logs inserted rows as added and updated rows as changed", async () => {
    const table = await tracked("v text");
    await client.query(`insert into ${table} values (1, $1, 'a')`, [organization]);
    await client.query(
      `insert into ${table} values (1, $1, 'b'), (2, $1, 'b') on conflict (id) do update set v = excluded.v`,
      [organization],
    );
    await client.query(`insert into ${table} values (1, $1, 'c') on conflict do nothing`, [organization]);
    const log = (await logged()).map((entry) => [entry.action.split(".")[1], entry.resource_id]);
    expect(log[0]).toEqual(["created", "1"]);
    expect(log.slice(1).sort()).toEqual([["created", "2"], ["updated", "1"]]);
  });

  test("MERGE logs each of its actions", async () => {
    const table = await tracked("v text");
    await client.query(`insert into ${table} values (1, $1, 'a'), (2, $1, 'a')`, [organization]);
    await client.query(
      `merge into ${table} t using (values (1), (2), (3)) as s (id) on s.id = t.id
       when matched and t.id = 1 then delete
       when matched then update set v = 'b'
       when not matched then insert values (s.id, '${organization}', 'b')`,
    );
    const log = (await logged()).slice(2).map((entry) => [entry.action.split(".")[1], entry.resource_id]);
    expect(log.sort()).toEqual([["created", "3"], ["deleted", "1"], ["updated", "2"]]);
  });

  test("COPY logs each row", async () => {
    const table = await tracked("v text");
    await copy(
      client,
      `copy ${table} from stdin with (format csv)`,
      [1, 2, 3].map((n) => `${n},${organization},"v, ${n}"\n`),
    );
    expect((await logged()).map((entry) => entry.details.new.v)).toEqual(["v, 1", "v, 2", "v, 3"]);
  });

  test("writes in one WITH statement are all logged", async () => {
    const table = await tracked("v text");
    await client.query(`insert into ${table} values (1, $1, 'a')`, [organization]);
    await client.query(
      `with a as (insert into ${table} values (2, '${organization}', 'a') returning 1),
         b as (update ${table} set v = 'b' where id = 1 returning 1)
       delete from ${table} where id = 99`,
    );
    expect((await actions()).map((action) => action.split(".")[1]).sort()).toEqual(["created", "created", "updated"]);
  });

  test("a row trigger that writes back, and one that writes another tracked table, are logged too", async () => {
    const [table, other] = [await tracked("v text"), await tracked("v text")];
    await client.query(`
      create function public.echo() returns trigger language plpgsql as $$
      begin
        new.v := upper(new.v);
        insert into ${other} values (new.id, new.organization_id, 'echo of ' || new.v);
        return new;
      end $$;
      create trigger echo before insert on ${table} for each row execute function public.echo()`);
    await client.query(`insert into ${table} values (1, $1, 'a'), (2, $1, 'b')`, [organization]);
    expect((await logged()).map((entry) => entry.details.new.v).sort()).toEqual(["A", "B", "echo of A", "echo of B"]);
  });

  test("TRUNCATE of several tables and by cascade leaves an entry a table and organisation", async () => {
    await client.query(`
      create table public.parents (id int primary key, organization_id uuid);
      create table public.children (id int primary key, organization_id uuid, parent int references public.parents);
      select audit.track('public.parents'), audit.track('public.children')`);
    const other = crypto.randomUUID();
    await client.query("insert into public.parents values (1, $1), (2, $1), (3, $2)", [organization, other]);
    await client.query("insert into public.children values (1, $1, 1)", [organization]);
    const lone = await tracked("v text");
    await client.query(`insert into ${lone} values (1, $1, 'a')`, [organization]);
    await client.query(`truncate public.parents, ${lone} cascade`);
    const truncated = (await logged()).filter((entry) => entry.details.truncated);
    expect(truncated.map((entry) => [entry.resource_type, entry.details.rows]).sort()).toEqual([
      ["children", 1],
      ["parent", 2],
      [lone.slice(7), 1],
    ].sort());
    expect((await entries(client, "where organization_id = $1", [other])).at(-1)!.details).toMatchObject({ rows: 1 });
    await client.query("truncate public.parents cascade");
    const { rows } = await client.query(
      "select count(*)::int from public.audit_logs where resource_type = 'parent' and details @> '{\"truncated\": true, \"rows\": 0}'",
    );
    expect(rows).toEqual([{ count: 1 }]);
  });

  test("capture goes on under session_replication_role = replica", async () => {
    const table = await tracked("v text");
    await client.query("set session_replication_role = replica");
    await client.query(`insert into ${table} values (1, $1, 'a')`, [organization]);
    await client.query(`update ${table} set v = 'b'`);
    await client.query(`truncate ${table}`);
    expect((await actions()).length).toBe(3);
  });
});

describe("foreign keys", () => {
  beforeEach(async () => {
    await client.query("insert into public.organizations values ($1)", [organization]);
  });

  async function queryWithResponses(count: number): Promise<string> {
    const { rows } = await client.query("insert into public.llm_queries (organization_id) values ($1) returning id", [
      organization,
    ]);
    await client.query("insert into public.llm_responses (query_id) select $1 from generate_series(1, $2)", [
      rows[0].id,
      count,
    ]);
    return rows[0].id;
  }

  test("a response belongs to the organisation and provider of its query", async () => {
    const query = await queryWithResponses(1);
    expect(await last()).toMatchObject({
      action: "query.completed",
      resource_id: query,
      provider: "openai",
      cost: "0.001",
    });
  });

  test.each([1, 3])(
    "responses (%d) deleted in the cascade of their query stay with its organisation",
    async (count) => {
      const query = await queryWithResponses(count);
      await client.query("delete from public.llm_queries where id = $1", [query]);
      expect((await actions()).slice(2 + count).sort()).toEqual([
        "query.deleted",
        ...Array(count).fill("query.response_deleted"),
      ]);
    },
  );

  test("everything deleted in the cascade of an organisation stays with it", async () => {
    await queryWithResponses(2);
    await client.query("insert into public.api_keys (organization_id) values ($1)", [organization]);
    const before = (await logged()).length;
    await client.query("delete from public.organizations where id = $1", [organization]);
    expect((await actions()).slice(before).sort()).toEqual([
      "api_key.deleted",
      "organization.deleted",
      "query.deleted",
      "query.response_deleted",
      "query.response_deleted",
    ]);
  });
});

describe("partitioned tables", () => {
  let table: string;
  let tables = 0;
  beforeEach(async () => {
    table = `public.parted${++tables}`;
    await client.query(`
      create table ${table} (id int primary key, organization_id uuid, v text) partition by range (id);
      create table ${table}_low partition of ${table} for values from (0) to (100);
      create table ${table}_high partition of ${table} for values from (100) to (200) partition by list (id);
      create table ${table}_high_100 partition of ${table}_high for values in (100);
      create table ${table}_high_rest partition of ${table}_high default`);
    await track(table);
  });

  test("writes through the parent and through each partition are captured once", async () => {
    await client.query(`insert into ${table} values (1, $1, 'a'), (100, $1, 'a')`, [organization]);
    await client.query(`insert into ${table}_low values (2, $1, 'a')`, [organization]);
    await client.query(`insert into ${table}_high values (150, $1, 'a')`, [organization]);
    await client.query(`update ${table}_high_100 set v = 'b'`);
    await client.query(`delete from ${table}_high_rest`);
    expect((await logged()).map((entry) => [entry.action.split(".")[1], entry.resource_id])).toEqual([
      ["created", "1"],
      ["created", "100"],
      ["created", "2"],
      ["created", "150"],
      ["updated", "100"],
      ["deleted", "150"],
    ]);
  });

  test("a row that moves to another partition is one update", async () => {
    await client.query(`insert into ${table} values (1, $1, 'a')`, [organization]);
    await client.query(`update ${table} set id = 100, v = 'b'`);
    const log = await logged();
    expect(log.length).toBe(2);
    expect(log[1]!.details.changes).toEqual({ id: { old: 1, new: 100 }, v: { old: "a", new: "b" } });
  });

  test("many rows that move pair with their own old states", async () => {
    await client.query(`insert into ${table} select n, $1, 'v' || n from generate_series(1, 5) n`, [organization]);
    await client.query(`update ${table} set id = id + 100 where id % 2 = 1`);
    await client.query(`update ${table} set v = v || '!'`);
    const updates = (await logged()).slice(5);
    expect(updates.length).toBe(3 + 5);
    for (const { details: { changes } } of updates.slice(0, 3)) {
      expect(changes).toEqual({ id: { old: changes.id.new - 100, new: changes.id.old + 100 } });
    }
    for (const { details: { changes } } of updates.slice(3)) expect(changes.v.new).toBe(`${changes.v.old}!`);
  });

  test("TRUNCATE of the parent leaves an entry that counts the rows of all partitions", async () => {
    await client.query(`insert into ${table} values (1, $1, 'a'), (100, $1, 'a'), (150, $1, 'a')`, [organization]);
    await client.query(`truncate ${table}`);
    const truncated = (await logged()).filter((entry) => entry.details.truncated);
    expect(truncated.reduce((sum, entry) => sum + entry.details.rows, 0)).toBe(3);
  });

  test.each(["attached", "created"])("a partition %s later is captured", async (how) => {
    if (how === "created") {
      await client.query(`create table ${table}_later partition of ${table} for values from (200) to (300)`);
    } else {
      await client.query(`create table ${table}_later (like ${table} including all)`);
      await client.query(`alter table ${table} attach partition ${table}_later for values from (200) to (300)`);
    }
    await client.query(`insert into ${table}_later values (200, $1, 'direct')`, [organization]);
    await client.query(`insert into ${table} values (201, $1, 'through the parent')`, [organization]);
    await client.query(`truncate ${table}_later`);
    expect((await actions()).length).toBe(3);
    const { rows } = await client.query("select finding from audit.coverage where table_name = $1", [table]);
    expect(rows).toEqual([{ finding: null }]);
  });
});

describe("inheritance", () => {
  test("children are captured once, whether named or reached through the parent", async () => {
    const table = await tracked("v text");
    await client.query(`create table ${table}_child (extra text) inherits (${table})`);
    await track(table);
    await client.query(`insert into ${table}_child values (2, $1, 'child', 'x')`, [organization]);
    await client.query(`insert into ${table} values (1, $1, 'parent')`, [organization]);
    await client.query(`update ${table} set v = v || '!'`);
    await client.query(`delete from ${table}_child`);
    const log = await logged();
    expect(log.map((entry) => entry.action.split(".")[1])).toEqual([
      "created",
      "created",
      "updated",
      "updated",
      "deleted",
    ]);
    expect(log.slice(2, 4).map((entry) => entry.details.changes.v.new).sort()).toEqual(["child!", "parent!"]);
  });
});

/** COPY … FROM STDIN in the wire protocol, which pg knows as a query object of one's own. */
function copy(connection: pg.Client, text: string, lines: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    // deno-lint-ignore no-explicit-any -- the connection of a query object has no public type
    type Wire = any;
    connection.query({
      submit: (wire: Wire) => wire.query(text),
      handleCopyInResponse(wire: Wire) {
        for (const line of lines) wire.sendCopyFromChunk(Buffer.from(line));
        wire.endCopyFrom();
      },
      handleCommandComplete() {},
      handleReadyForQuery: () => resolve(),
      handleError: (error: Error) => reject(error),
    } as unknown as pg.Submittable);
  });
}
