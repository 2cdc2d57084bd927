// Tables that are altered, dropped or untracked after they were tracked: capture follows, or says clearly that it cannot.
import { describe, expect, test } from "vitest";
import { createDatabase } from "../support/database.ts";
import { entries, expectVerified, failure } from "../support/log.ts";
import { actions, client, db, last, logged, organization, track, tracked } from "../support/workbench.ts";

describe("tables altered after they were tracked", () => {
  /** The same database as a project without event triggers: capture is not repaired by itself. */
  async function withoutEventTriggers(work: () => Promise<void>): Promise<void> {
    const admin = await db.connect("supabase_admin");
    const all = (state: string) =>
      admin.query(
        `alter event trigger audit_on_ddl_command_end ${state}; alter event trigger audit_on_sql_drop ${state}`,
      );
    await all("disable");
    try {
      await work();
    } finally {
      await all("enable");
    }
  }

  test("an added, renamed, retyped and dropped column: capture follows", async () => {
    const table = await tracked("v text");
    await client.query(`alter table ${table} add column added int default 7`);
    await client.query(`insert into ${table} values (1, $1, 'a')`, [organization]);
    expect((await last()).details.new).toEqual({ v: "a", added: 7 });
    await client.query(`alter table ${table} rename column v to w`);
    await client.query(`update ${table} set w = 'b'`);
    expect((await last()).details.changes).toEqual({ w: { old: "a", new: "b" } });
    await client.query(`alter table ${table} alter column added type text`);
    await client.query(`update ${table} set added = 'x'`);
    expect((await last()).details.changes).toEqual({ added: { old: "7", new: "x" } });
    await client.query(`alter table ${table} drop column added`);
    await client.query(`update ${table} set w = 'c'`);
    expect((await last()).details.changes).toEqual({ w: { old: "b", new: "c" } });
  });

  test.each([
    ["dropped", (table: string) => `alter table ${table} drop column v`],
    ["renamed", (table: string) => `alter table ${table} rename column v to w`],
  ])("a %s column without event triggers: AUSTL, the way out, and the way out works", async (_, alter) => {
    const table = await tracked("v text");
    await client.query(`insert into ${table} values (1, $1, 'a')`, [organization]);
    await withoutEventTriggers(async () => {
      await client.query(alter(table));
    });
    const writes = [
      `insert into ${table} (id, organization_id) values (2, '${organization}')`,
      `insert into ${table} (id, organization_id) values (3, '${organization}'), (4, '${organization}')`,
      `delete from ${table}`,
    ];
    let wayOut = "";
    for (const write of writes) {
      const stale = await failure(client.query(write));
      expect(stale.code).toBe("AUSTL");
      expect(stale.message).toContain(table);
      const { rows } = await client.query(
        "select finding, way_out from audit.coverage where table_name = $1",
        [
          table,
        ],
      );
      expect(rows[0].finding).toContain("columns changed");
      expect(stale.hint).toContain(`select audit.track('${table}')`);
      wayOut = rows[0].way_out;
    }
    await client.query(wayOut);
    for (const write of writes) await client.query(write);
    expect((await actions()).length).toBe(1 + 3 + 4);
  });

  test("a column added without event triggers shows in coverage; until then the rest is captured", async () => {
    const table = await tracked("v text");
    await withoutEventTriggers(async () => {
      await client.query(`alter table ${table} add column added text`);
    });
    await client.query(`insert into ${table} values (1, $1, 'a', 'not seen')`, [organization]);
    expect((await last()).details.new).toEqual({ v: "a" });
    const { rows } = await client.query("select finding from audit.coverage where table_name = $1", [table]);
    expect(rows[0].finding).toContain("added");
  });

  test("a column retyped without event triggers is captured or refused with AUSTL, in the same connection too", async () => {
    const table = await tracked("v int");
    await client.query(`insert into ${table} values (1, $1, 1)`, [organization]);
    await withoutEventTriggers(async () => {
      await client.query(`alter table ${table} alter column v type text`);
    });
    const code = await client.query(`update ${table} set v = 'text'`).then(() => "", (error) => error.code);
    expect(["", "AUSTL"]).toContain(code);
    if (code === "") expect((await last()).details.changes).toEqual({ v: { old: "1", new: "text" } });
  });

  test("a renamed table is captured under its registered meaning", async () => {
    const table = await tracked("v text");
    await client.query(`alter table ${table} rename to renamed_${table.slice(8)}`);
    await client.query(`insert into public.renamed_${table.slice(8)} values (1, $1, 'a')`, [organization]);
    expect((await actions()).length).toBe(1);
  });

  test("a table moved to another schema is captured", async () => {
    const table = await tracked("v text");
    await client.query(`create schema if not exists moved; alter table ${table} set schema moved`);
    await client.query(`insert into moved.${table.slice(7)} values (1, $1, 'a')`, [organization]);
    expect((await actions()).length).toBe(1);
  });

  test("a dropped table leaves an entry, and one created again under its name is not taken for it", async () => {
    const table = await tracked("v text");
    await client.query(`drop table ${table}`);
    const gone = await entries(client, "where action = 'capture.untracked' and resource_id = $1", [table]);
    expect(gone.length).toBe(1);
    await client.query(`create table ${table} (id int primary key, organization_id uuid, w int)`);
    await client.query(`insert into ${table} values (1, $1, 1)`, [organization]);
    expect(await actions()).toEqual([]);
    await track(table);
    await client.query(`insert into ${table} values (2, $1, 1)`, [organization]);
    expect((await last()).details.new).toEqual({ w: 1 });
  });

  test("an untracked table is written without entries and can be tracked again", async () => {
    const table = await tracked("v text");
    await client.query("select audit.untrack($1)", [table]);
    await client.query(`insert into ${table} values (1, $1, 'a')`, [organization]);
    expect(await actions()).toEqual([]);
    await track(table);
    await client.query(`insert into ${table} values (2, $1, 'a')`, [organization]);
    expect((await logged()).map((entry) => entry.resource_id)).toEqual(["2"]);
  });

  test("a known table created later is tracked by itself", async () => {
    const fresh = await createDatabase("product");
    try {
      const other = await fresh.connect();
      const installed = (await entries(other)).length;
      await other.query("create table public.budgets (id int primary key, organization_id uuid)");
      await other.query("insert into public.budgets values (1, $1)", [organization]);
      expect((await entries(other)).slice(installed).map((entry) => entry.action)).toEqual([
        "capture.tracked",
        "budget.created",
      ]);
      await expectVerified(other);
    } finally {
      await fresh.drop();
    }
  });
});
