// Verification of the logs in SQL: it makes the same trees as the Merkle library, and says of every alteration that can be
// seen without the archive where it is and of what kind.
import fc from "fast-check";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import type { LogKeys } from "../../functions/_shared/log_keys.ts";
import { emptyFrontier, packFrontier, pushLeaf, treeOf } from "../../functions/_shared/tlog/frontier.ts";
import { leafHash } from "../../functions/_shared/tlog/hash.ts";
import { encodeText, formatHex } from "../../functions/_shared/tlog/text.ts";
import { sealLogs } from "../../functions/audit-jobs/seal.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { type JobDatabase, jobDatabase, memoryArchive, newLogKeys } from "../support/sealing.ts";

const ACME = "0a000000-0000-4000-8000-000000000001";

describe("a tree", () => {
  let db: TestDatabase;
  let client: pg.Client;
  beforeAll(async () => {
    db = await createDatabase();
    client = await db.connect("supabase_admin");
    await client.query("set statement_timeout = 0");
    await client.query(
      "insert into audit.logs (organization_id, origin) values (audit.system_organization(), 'x/anchor')",
    );
  });
  afterAll(() => db.drop());

  const leaf = (index: number) => `entry ${index}\n`;

  /** Root and frontier at each size, of a log whose entries are leaf(0), leaf(1), … */
  async function inSql(size: number, sizes: number[]): Promise<string[]> {
    await client.query("truncate audit.anchor_entries, audit.checkpoints");
    await client.query(
      `insert into audit.anchor_entries (index, log, size, entry)
       select n, l.id, n, 'entry ' || n || E'\\n' from audit.logs l, generate_series(0, $1::int - 1) n`,
      [size],
    );
    await client.query("update audit.logs set sequenced = $1, size = $1", [size]);
    await client.query(
      "insert into audit.checkpoints (log, size, root, frontier) select l.id, s, sha256(''), '' from audit.logs l, unnest($1::bigint[]) s",
      [sizes],
    );
    const { rows } = await client.query("select t.* from audit.logs l, audit.log_trees(l.id) t order by t.size");
    return rows.map(({ size, root, frontier }) => `${size} ${root.toString("hex")} ${frontier.toString("hex")}`);
  }

  function inTypeScript(sizes: number[]): string[] {
    const frontier = emptyFrontier();
    return [...new Set(sizes)].sort((a, b) => a - b).map((size) => {
      while (frontier.size < size) pushLeaf(frontier, leafHash(encodeText(leaf(frontier.size))));
      return `${size} ${formatHex(treeOf(frontier).root)} ${formatHex(packFrontier(frontier))}`;
    });
  }

  test("of any size up to 70, at once", async () => {
    const sizes = Array.from({ length: 70 }, (_, at) => at + 1);
    expect(await inSql(70, sizes)).toEqual(inTypeScript(sizes));
  });

  test.each([1, 255, 256, 257, 65_535, 65_536, 65_537])("of %i entries", async (size) => {
    expect(await inSql(size, [size])).toEqual(inTypeScript([size]));
  });

  test("of any size, and all before it that have a checkpoint", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(fc.integer({ min: 1, max: 3000 }), { minLength: 1, maxLength: 20 }),
        async (sizes) => {
          expect(await inSql(Math.max(...sizes), sizes)).toEqual(inTypeScript(sizes));
        },
      ),
      { numRuns: 25 },
    );
  });

  test("whose entries are not all there has no root", async () => {
    await inSql(600, [100, 300, 600]);
    await client.query("delete from audit.anchor_entries where index = 200");
    const { rows } = await client.query(
      "select t.size::int, t.root is null as is_unknown from audit.logs l, audit.log_trees(l.id) t order by t.size",
    );
    expect(rows).toEqual([{ size: 100, is_unknown: false }, { size: 300, is_unknown: true }, {
      size: 600,
      is_unknown: true,
    }]);
  });
});

type Verdict = {
  status: string;
  finding: string | null;
  broken_entry: string | null;
  explanation: string | null;
  origin: string;
};

describe("a log", () => {
  let db: TestDatabase;
  let client: pg.Client;
  let admin: pg.Client;
  let database: JobDatabase;
  const archive = memoryArchive();
  /** Entries of Acme in one chain, by their index in the log. */
  let names: string[];

  beforeAll(async () => {
    db = await createDatabase();
    client = await db.connect();
    admin = await db.connect("supabase_admin");
    database = jobDatabase(db.url());
    await client.query("insert into public.organizations (id, name) values ($1, 'Acme')", [ACME]);
    const october = newLogKeys("october.example/audit");
    await write(300);
    await seal(october);
    // A month goes by.
    await client.query("update audit.logs set month = month - interval '1 month'");
    const november = newLogKeys("november.example/audit");
    await write(20);
    await seal(november);
    await write(1);
    await seal(november);
    await write(50);
    await seal(november);
    await client.query("select audit.anchor_checkpoints()");
    await seal(november);
    const { rows } = await client.query(
      "select audit.entry_at(l.id, n) as name from audit.logs l, generate_series(0, l.size - 1) n where organization_id = $1 and origin like 'nov%' order by n",
      [ACME],
    );
    names = rows.map(({ name }) => name);
  });
  afterAll(async () => {
    await database.end();
    await db.drop();
  });
  afterEach(async () => {
    expect((await broken()).map(({ finding }) => finding)).toEqual([]);
  });

  async function write(entries: number): Promise<void> {
    await client.query(
      "insert into public.budgets (organization_id, name) select $1, 'B' || n from generate_series(1, $2::int) n",
      [ACME, entries],
    );
  }

  async function seal(keys: LogKeys): Promise<void> {
    for (let more = true; more;) {
      more = (await sealLogs({ database, archive, keys }, { dueNow: true })).more;
    }
  }

  async function broken(): Promise<Verdict[]> {
    const { rows } = await admin.query("select * from audit.verify_logs() where status = 'broken' order by origin");
    return rows;
  }

  /** What is found after a superuser's `attack`, who has taken the guards off; then all is as before. */
  async function foundAfter(...attack: string[]): Promise<(string | null)[][]> {
    await admin.query("begin");
    try {
      for (
        const { member } of (await admin.query("select audit.with_children('public.audit_logs')::text as member")).rows
      ) {
        await admin.query(`alter table ${member} disable trigger user`);
      }
      for (const statement of attack) await admin.query(statement);
      return (await broken()).map(({ origin, finding, broken_entry, explanation }) => {
        expect(explanation).toBeTruthy();
        return [origin.split(".")[0]!, finding, broken_entry];
      });
    } finally {
      await admin.query("rollback");
    }
  }

  const november = `(select id from audit.logs where origin like 'november%/${ACME}/%')`;
  const october = `(select id from audit.logs where origin like 'october%/${ACME}/%')`;
  const entry = (name: string) =>
    `organization_id = '${ACME}' and chain = ${name.split("-")[0]} and seq = ${name.split("-")[1]}`;
  const edit = (name: string, set = "provider = 'nobody'") =>
    `update public.audit_logs set ${set} where ${entry(name)}`;
  const rehash = (name: string) =>
    `update public.audit_logs a set hash = audit.hash_of(audit.entry_text(a)) where ${entry(name)}`;

  test("as it was sealed is verified, with the anchor log", async () => {
    const { rows } = await client.query(
      "select status, count(*)::int as logs from audit.verify_logs() group by status",
    );
    expect(rows).toEqual([{ status: "verified", logs: 4 }]);
    const { rows: [one] } = await client.query("select count(*)::int as logs from audit.verify_logs($1)", [ACME]);
    expect(one).toEqual({ logs: 2 });
  });

  test("in which an entry was edited", async () => {
    for (const index of [0, 3, names.length - 1]) {
      expect(await foundAfter(edit(names[index]!))).toEqual([["november", "entry_altered", names[index]]]);
    }
  });

  test("in which an entry was edited and hashed again: as near as the checkpoints tell", async () => {
    // Entry 22 was sealed alone: log.opened, 20 entries and another one before.
    const { rows } = await client.query(
      `select size::int from audit.checkpoints where log = ${november} order by size`,
    );
    const sizes = rows.map(({ size }) => size as number);
    const alone = sizes.find((size, at) => size === sizes[at - 1]! + 1)! - 1;
    expect(await foundAfter(edit(names[alone]!), rehash(names[alone]!))).toEqual([[
      "november",
      "entry_altered",
      names[alone],
    ]]);
    expect(await foundAfter(edit(names[3]!), rehash(names[3]!))).toEqual([["november", "entry_altered", null]]);
  });

  test("whose entry was deleted, at the beginning, in between, at the end", async () => {
    for (const index of [0, 7, names.length - 1]) {
      expect(await foundAfter(`delete from public.audit_logs where ${entry(names[index]!)}`)).toEqual([[
        "november",
        "entries_missing",
        names[index],
      ]]);
    }
  });

  test("whose entry was moved to another time", async () => {
    expect(await foundAfter(edit(names[7]!, "created_at = created_at + interval '1 hour'"))).toEqual([[
      "november",
      "entries_missing",
      names[7],
    ]]);
    expect(await foundAfter(edit(names[7]!, "created_at = created_at - interval '1 microsecond'"))).toEqual([[
      "november",
      expect.any(String),
      names[7],
    ]]);
    expect((await foundAfter(edit(names[7]!, "created_at = 'infinity'")))[0]!.slice(1)).toEqual([
      "entries_missing",
      names[7],
    ]);
  });

  test("of which entries were purged is partial, and what is left is checked", async () => {
    const { rows: [bound] } = await client.query(
      `select chain, from_seq + 5 as seq from audit.log_ranges where log = ${november} and start > 0 order by start limit 1`,
    );
    const purge = [
      `insert into audit.chain_bounds (organization_id, chain, seq, created_at, hash) select organization_id, chain, seq, created_at, hash from public.audit_logs where ${
        entry(`${bound.chain}-${bound.seq}`)
      }`,
      `delete from public.audit_logs where organization_id = '${ACME}' and chain = ${bound.chain} and seq <= ${bound.seq}`,
    ];
    expect(await foundAfter(...purge)).toEqual([]);
    expect(await foundAfter(...purge, edit(names.at(-1)!))).toEqual([["november", "entry_altered", names.at(-1)]]);
    expect(
      await foundAfter(
        ...purge,
        `delete from public.audit_logs where ${entry(`${bound.chain}-${Number(bound.seq) + 2}`)}`,
      ),
    ).toEqual([["november", "entries_missing", `${bound.chain}-${Number(bound.seq) + 2}`]]);
    await admin.query("begin");
    for (
      const { member } of (await admin.query("select audit.with_children('public.audit_logs')::text as member")).rows
    ) {
      await admin.query(`alter table ${member} disable trigger user`);
    }
    for (const statement of purge) await admin.query(statement);
    const { rows } = await admin.query("select status from audit.verify_logs($1)", [ACME]);
    await admin.query("rollback");
    expect(rows).toEqual([{ status: "partial" }, { status: "partial" }]);
  });

  test.each([
    [
      "begins one later",
      "update audit.log_ranges set start = start + 1 where log = $ and start = (select max(start) from audit.log_ranges where log = $)",
      "ranges_broken",
    ],
    [
      "is gone",
      "delete from audit.log_ranges where log = $ and start = (select max(start) from audit.log_ranges where log = $)",
      "ranges_broken",
    ],
    ["in between is gone", "delete from audit.log_ranges where log = $ and start = 1", "ranges_broken"],
    ["is all there is not", "delete from audit.log_ranges where log = $", "ranges_broken"],
    [
      "is longer",
      "update audit.log_ranges set to_seq = to_seq + 1 where log = $ and start = (select max(start) from audit.log_ranges where log = $)",
      "ranges_broken",
    ],
    ["is of another chain", "update audit.log_ranges set chain = 77 where log = $ and start = 1", "entries_skipped"],
    [
      "skips entries",
      "update audit.log_ranges set from_seq = from_seq + 2, to_seq = to_seq + 2 where log = $ and start = (select max(start) from audit.log_ranges where log = $)",
      "entries_skipped",
    ],
  ])("one of whose ranges %s", async (_, statement, finding) => {
    expect((await foundAfter(statement.replaceAll("$", november)))[0]!.slice(0, 2)).toEqual(["november", finding]);
  });

  test.each([
    ["root was rewritten", "update audit.checkpoints set root = sha256('x') where log = $", "checkpoint_altered"],
    ["frontier was rewritten", "update audit.checkpoints set frontier = 'x' where log = $", "checkpoint_altered"],
    [
      "note is of another size",
      "update audit.checkpoints set note = replace(note, E'\\n' || size || E'\\n', E'\\n1\\n') where log = $",
      "checkpoint_altered",
    ],
    ["note is of another log", "update audit.checkpoints set note = 'x' || note where log = $", "checkpoint_altered"],
    ["note is gone", "update audit.checkpoints set note = null where log = $", "checkpoint_altered"],
    [
      "note and root were rewritten",
      "update audit.checkpoints set root = sha256('x'), note = replace(note, encode(root, 'base64'), encode(sha256('x'), 'base64')) where log = $",
      "entry_altered",
    ],
    [
      "row is gone",
      "delete from audit.checkpoints where log = $ and size = (select max(size) from audit.checkpoints where log = $)",
      "checkpoint_missing",
    ],
    ["rows are all gone", "delete from audit.checkpoints where log = $", "checkpoint_missing"],
  ])("whose checkpoint's %s", async (_, statement, finding) => {
    expect((await foundAfter(statement.replaceAll("$", november)))[0]!.slice(0, 2)).toEqual(["november", finding]);
  });

  test("whose month before ends otherwise", async () => {
    const found = await foundAfter(`update audit.checkpoints set root = sha256('x') where log = ${october}`);
    expect(found).toEqual([["november", "opening_altered", names[0]], ["october", "checkpoint_altered", null]]);
    expect(await foundAfter(`delete from audit.checkpoints where log = ${october}`)).toContainEqual([
      "november",
      "opening_altered",
      names[0],
    ]);
  });

  test("that anchors what nobody published", async () => {
    expect(await foundAfter("update audit.anchor_entries set entry = 'x' where index = 1")).toEqual([[
      "october",
      "entry_altered",
      null,
    ]]);
    expect(await foundAfter("delete from audit.anchor_entries where index = 1")).toEqual([[
      "october",
      "ranges_broken",
      null,
    ]]);
  });

  test("is verified by schedule, with findings, and shown on a line", async () => {
    await admin.query("begin");
    try {
      for (
        const { member } of (await admin.query("select audit.with_children('public.audit_logs')::text as member")).rows
      ) {
        await admin.query(`alter table ${member} disable trigger user`);
      }
      await admin.query("set local role postgres");
      for (let step = 1; step > 0;) {
        step = (await admin.query("select audit.continue_verification(7, '0') as step")).rows[0].step;
      }
      const line = async () =>
        (await admin.query(
          "select was_verified, open_findings::int, entries_archived > 300 as archived from audit.integrity where organization_id = $1",
          [ACME],
        )).rows[0];
      expect(await line()).toEqual({ was_verified: true, open_findings: 0, archived: true });
      await admin.query("reset role");
      await admin.query(edit(names[30]!));
      await admin.query("set local role postgres");
      // Within the cycle nothing is due.
      expect((await admin.query("select audit.continue_verification() as step")).rows[0].step).toBe(0);
      await admin.query("update audit.verifications set begun_at = begun_at - interval '1 day'");
      for (let step = 1; step > 0;) {
        step = (await admin.query("select audit.continue_verification(7, '0') as step")).rows[0].step;
      }
      expect(await line()).toEqual({ was_verified: false, open_findings: 2, archived: true });
      const { rows } = await admin.query(
        "select kind, subject, detail ->> 'finding' as finding from audit.findings order by kind",
      );
      expect(rows).toEqual([{ kind: "chain_broken", subject: names[30], finding: "hash_mismatch" }, {
        kind: "log_broken",
        subject: expect.stringContaining("november"),
        finding: "entry_altered",
      }]);
    } finally {
      await admin.query("rollback");
    }
  });
});
