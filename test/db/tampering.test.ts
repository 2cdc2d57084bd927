// Whoever may not change the log is refused; whoever can (a superuser who takes the guards off) is found out, at the
// entry that was touched. Each attack runs in a transaction that is rolled back, so each starts from the same log.
import type pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified, failure } from "../support/log.ts";

const ALICE = "a11ce000-0000-4000-8000-000000000001";
const ACME = "acacacac-0000-4000-8000-000000000001";
const BOLT = "b0b0b0b0-0000-4000-8000-000000000002";
/** Entries that each of the two organisations has, in one chain. */
const LENGTH = 5;

let db: TestDatabase;
let admin: pg.Client;
let owner: pg.Client;
let partition: string;

beforeAll(async () => {
  db = await createDatabase();
  [admin, owner] = [await db.connect("supabase_admin"), await db.connect()];
  for (let n = 1; n <= LENGTH; n++) {
    for (const organization of [ACME, BOLT]) {
      await owner.query(
        "select set_config('request.jwt.claims', $1, false), set_config('request.headers', $2, false)",
        [
          JSON.stringify({ sub: ALICE, email: "alice@acme.example" }),
          JSON.stringify({ "x-request-id": `request-${n}` }),
        ],
      );
      await owner.query(
        `select audit.record($1, 'report.generated', 'report', $2, '{"pages": 3}', 'success', 'openai', 1.50)`,
        [organization, `report-${n}`],
      );
    }
  }
  await owner.query("discard all");
  const { rows: [place] } = await admin.query(
    "select distinct tableoid::regclass::text as partition from public.audit_logs where organization_id = $1",
    [ACME],
  );
  partition = place.partition;
});
afterAll(() => db.drop());
afterEach(() => expectVerified(owner));

type Break = { organization_id: string; broken_seq: number; finding: string };

/** What verify() finds after `attack` by a superuser who has taken the guards off. */
async function foundAfter(attack: () => Promise<unknown>): Promise<Break[]> {
  await admin.query("begin");
  try {
    await disableGuards();
    await attack();
    const { rows } = await admin.query<Break>(
      "select organization_id, broken_seq::int, finding from audit.verify() where status <> 'verified'",
    );
    return rows;
  } finally {
    await admin.query("rollback");
  }
}

async function disableGuards(): Promise<void> {
  await admin.query("alter table public.audit_logs disable trigger all");
  await admin.query(`alter table ${partition} disable trigger all`);
}

const at = (broken_seq: number, finding: string, organization_id = ACME): Break => ({
  organization_id,
  broken_seq,
  finding,
});

/** Runs on an entry of Acme: `edit("provider = null", 3)`. */
function edit(set: string, seq: number): Promise<unknown> {
  return admin.query(`update public.audit_logs a set ${set} where organization_id = $1 and seq = $2`, [ACME, seq]);
}

/** Makes hashes and links right again from one entry on, as a forger would who knows how entries are hashed. */
async function rehash(from: number, to = LENGTH): Promise<void> {
  for (let seq = from; seq <= to; seq++) {
    await edit(
      `prev_hash = coalesce((select p.hash from public.audit_logs p
         where p.organization_id = a.organization_id and p.chain = a.chain and p.seq = a.seq - 1), a.prev_hash)`,
      seq,
    );
    await edit("hash = audit.hash_of(audit.entry_text(a))", seq);
  }
}

describe("an edited column is found at its entry", () => {
  const EDITS: Record<string, string> = {
    created_at: "created_at + interval '1 microsecond'",
    action: "'report.deleted'",
    outcome: "'failure'",
    resource_type: "'invoice'",
    resource_id: "'report-99'",
    created_by: "gen_random_uuid()",
    actor_type: "'system'",
    identity_hash: "sha256('other')",
    provider: "'anthropic'",
    cost: "1.51",
    request_id: "'another'",
    details: `'{"pages": 4}'`,
    prev_hash: "sha256('other')",
    hash: "sha256('other')",
  };

  test.each(Object.entries(EDITS))("%s", async (column, value) => {
    for (const seq of [1, 3, LENGTH]) {
      expect(await foundAfter(() => edit(`${column} = ${value}`, seq))).toEqual([at(seq, "hash_mismatch")]);
    }
  });

  test.each(["resource_type", "resource_id", "created_by", "identity_hash", "provider", "cost", "request_id"])(
    "%s set to null",
    async (column) => {
      expect(await foundAfter(() => edit(`${column} = null`, 3))).toEqual([at(3, "hash_mismatch")]);
    },
  );

  test("organization_id, chain and seq: the entry is missing where it was and wrong where it is", async () => {
    const other = "cccccccc-0000-4000-8000-000000000003";
    expect(await foundAfter(() => edit(`organization_id = '${other}'`, 3))).toEqual([
      at(4, "gap"),
      at(3, "hash_mismatch", other),
    ]);
    expect(await foundAfter(() => edit("chain = chain + 1000", 3))).toEqual([at(4, "gap"), at(3, "hash_mismatch")]);
    expect(await foundAfter(() => edit("seq = 99", 3))).toEqual([at(4, "gap")]);
  });

  test("every column is covered", async () => {
    const { rows } = await admin.query(
      "select attname from pg_attribute where attrelid = 'public.audit_logs'::regclass and attnum > 0",
    );
    expect(rows.map((row) => row.attname).sort()).toEqual(
      ["organization_id", "chain", "seq", ...Object.keys(EDITS)].sort(),
    );
  });

  test("a cost of the same value in another spelling", async () => {
    expect(await foundAfter(() => edit("cost = 1.5", 3))).toEqual([at(3, "hash_mismatch")]);
    expect(await foundAfter(() => edit("cost = 'NaN'", 3))).toEqual([at(3, "hash_mismatch")]);
  });

  test.each(["infinity", "-infinity", "4713-01-01 BC", "294276-12-31"])(
    "a time of %s, which must not stop the verification either",
    async (time) => {
      expect(await foundAfter(() => edit(`created_at = '${time}'`, 3))).toEqual([at(3, "hash_mismatch")]);
    },
  );

  test("an entry hashed again no longer fits the next", async () => {
    expect(
      await foundAfter(async () => {
        await edit("provider = 'anthropic'", 3);
        await rehash(3, 3);
      }),
    ).toEqual([at(4, "link_mismatch")]);
  });

  test("a chain hashed again to its end no longer fits its head", async () => {
    expect(
      await foundAfter(async () => {
        await edit("provider = 'anthropic'", 3);
        await rehash(3);
      }),
    ).toEqual([at(LENGTH, "head_mismatch")]);
  });

  test("a first entry that starts from another value", async () => {
    expect(
      await foundAfter(async () => {
        await edit("prev_hash = sha256('elsewhere')", 1);
        await edit("hash = audit.hash_of(audit.entry_text(a))", 1);
        await rehash(2);
        await admin.query(
          `update audit.heads h set hash = a.hash, prev_hash = a.prev_hash from public.audit_logs a
           where h.organization_id = $1 and a.organization_id = $1 and a.seq = $2`,
          [ACME, LENGTH],
        );
      }),
    ).toEqual([at(1, "link_mismatch")]);
  });

  test("an entry dated before its predecessor, everything hashed again and the head made to fit", async () => {
    expect(
      await foundAfter(async () => {
        await edit("created_at = created_at - interval '1 hour'", 3);
        await rehash(3);
        await admin.query(
          `update audit.heads h set hash = a.hash, prev_hash = a.prev_hash from public.audit_logs a
           where h.organization_id = $1 and a.organization_id = $1 and a.seq = $2`,
          [ACME, LENGTH],
        );
      }),
    ).toEqual([at(3, "time_reversed")]);
  });
});

describe("a missing entry is found", () => {
  const remove = (where: string) =>
    admin.query(`delete from public.audit_logs where organization_id = $1 and ${where}`, [ACME]);

  test.each([
    ["the first", "seq = 1", at(2, "gap")],
    ["one in the middle", "seq = 3", at(4, "gap")],
    ["two in the middle", "seq in (2, 3)", at(4, "gap")],
    ["the last", `seq = ${LENGTH}`, at(LENGTH, "tail_missing")],
    ["the last two", `seq > ${LENGTH - 2}`, at(LENGTH - 1, "tail_missing")],
    ["the whole chain", "true", at(1, "tail_missing")],
  ])("%s", async (_, where, expected) => {
    expect(await foundAfter(() => remove(where))).toEqual([expected]);
  });

  test("all of a truncated partition, in every organisation", async () => {
    const found = await foundAfter(() => admin.query(`truncate ${partition}`));
    expect(found).toContainEqual(at(1, "tail_missing", ACME));
    expect(found).toContainEqual(at(1, "tail_missing", BOLT));
  });

  test("all of a detached partition", async () => {
    const found = await foundAfter(() => admin.query(`alter table public.audit_logs detach partition ${partition}`));
    expect(found).toContainEqual(at(1, "tail_missing", ACME));
  });

  test("with everything behind it moved up and hashed again", async () => {
    const found = await foundAfter(async () => {
      await remove("seq = 3");
      await edit("seq = 3", 4);
      await edit("seq = 4", 5);
      await rehash(3, 4);
    });
    expect(found).toEqual([at(5, "tail_missing")]);
  });
});

describe("a forged entry is found", () => {
  /** A copy of entry `from` of Acme with some columns changed, hashed as it should be for its place. */
  const forge = (from: number, changes: Record<string, string>, fitting = true) => async () => {
    const { rows } = await admin.query(
      "select attname from pg_attribute where attrelid = 'public.audit_logs'::regclass and attnum > 0 order by attnum",
    );
    const columns = rows.map((row) => changes[row.attname] ?? row.attname);
    await admin.query(
      `insert into public.audit_logs select ${columns} from public.audit_logs where organization_id = $1 and seq = $2`,
      [ACME, from],
    );
    if (!fitting) return;
    const [organization, seq] = [changes.organization_id ?? `'${ACME}'`, changes.seq ?? from];
    const forged = `organization_id = ${organization} and seq = ${seq} and resource_id = ${changes.resource_id}`;
    await admin.query(
      `update public.audit_logs a set prev_hash = coalesce((select p.hash from public.audit_logs p
         where p.organization_id = a.organization_id and p.chain = a.chain and p.seq = a.seq - 1),
         audit.first_prev_hash(a.organization_id, a.chain)) where ${forged}`,
    );
    await admin.query(`update public.audit_logs a set hash = audit.hash_of(audit.entry_text(a)) where ${forged}`);
  };
  const later = { resource_id: "'forged'", created_at: "created_at + interval '1 minute'" };

  test("behind the last", async () => {
    const seq = String(LENGTH + 1);
    expect(await foundAfter(forge(LENGTH, { ...later, seq }))).toEqual([at(LENGTH + 1, "beyond_head")]);
    expect(await foundAfter(forge(LENGTH, { ...later, seq }, false))).toEqual([at(LENGTH + 1, "hash_mismatch")]);
  });

  test("in a place that is taken", async () => {
    expect(await failure(foundAfter(forge(3, { resource_id: "'forged'" })))).toMatchObject({ code: "23505" });
    // Names are unique in a partition; the forger takes another one.
    const nextMonth = { resource_id: "'forged'", created_at: "created_at + interval '1 month'" };
    const found = await foundAfter(forge(3, nextMonth));
    expect(found).toEqual([at(3, "duplicate")]);
  });

  test("in a chain that nobody wrote", async () => {
    const other = "dddddddd-0000-4000-8000-000000000004";
    expect(await foundAfter(forge(1, { resource_id: "'forged'", organization_id: `'${other}'` }))).toEqual([
      at(1, "head_missing", other),
    ]);
  });

  test("replayed into another organisation", async () => {
    const replay = { organization_id: `'${BOLT}'`, seq: String(LENGTH + 1), resource_id: "'forged'" };
    expect(await foundAfter(forge(3, replay, false))).toEqual([at(LENGTH + 1, "hash_mismatch", BOLT)]);
    expect(await foundAfter(forge(LENGTH, { ...replay, ...later }))).toEqual([at(LENGTH + 1, "beyond_head", BOLT)]);
  });

  test("attached with a partition of its own", async () => {
    const found = await foundAfter(async () => {
      await admin.query("create table public.smuggled (like public.audit_logs including constraints)");
      await admin.query(
        `insert into public.smuggled
         select (jsonb_populate_record(a, '{"created_at": "2019-06-01Z", "seq": 6}')).* from public.audit_logs a
         where organization_id = $1 and seq = 5`,
        [ACME],
      );
      await admin.query(
        "alter table public.audit_logs attach partition public.smuggled for values from ('2019-01-01Z') to ('2020-01-01Z')",
      );
    });
    expect(found).toEqual([at(6, "hash_mismatch")]);
  });
});

describe("entries in each other's place are found", () => {
  async function swap(one: number, other: number): Promise<void> {
    await edit("seq = 1000", one);
    await edit(`seq = ${one}`, other);
    await edit(`seq = ${other}`, 1000);
  }

  test("as they are", async () => {
    expect(await foundAfter(() => swap(2, 4))).toEqual([at(2, "hash_mismatch")]);
  });

  test("hashed again", async () => {
    const found = await foundAfter(async () => {
      await swap(2, 3);
      await rehash(2);
    });
    // The swap shows in the dates, the hashing in the head; the first break counts.
    expect(found).toEqual([at(3, "time_reversed")]);
  });
});

describe("a tampered head is found", () => {
  const head = (set: string) => () => admin.query(`update audit.heads set ${set} where organization_id = $1`, [ACME]);

  test.each([
    ["moved forward", "seq = seq + 1", at(LENGTH + 1, "tail_missing")],
    ["moved back", "seq = seq - 1", at(LENGTH, "beyond_head")],
    ["set to the beginning", "seq = 0", at(1, "beyond_head")],
    ["with another hash", "hash = sha256('other')", at(LENGTH, "head_mismatch")],
    ["with another previous hash", "prev_hash = sha256('other')", at(LENGTH, "head_mismatch")],
    ["with another time", "last_at = last_at + interval '1 day'", at(LENGTH, "head_mismatch")],
  ])("%s", async (_, set, expected) => {
    expect(await foundAfter(head(set))).toEqual([expected]);
  });

  test("deleted", async () => {
    const found = await foundAfter(() => admin.query("delete from audit.heads where organization_id = $1", [ACME]));
    expect(found).toEqual([at(LENGTH, "head_missing")]);
  });

  test("given to another organisation", async () => {
    const other = "eeeeeeee-0000-4000-8000-000000000005";
    expect(await foundAfter(head(`organization_id = '${other}'`))).toEqual([
      at(LENGTH, "head_missing"),
      at(1, "tail_missing", other),
    ]);
  });
});

describe("refused", () => {
  const ROLES = ["anon", "authenticated", "service_role", "authenticator", "postgres"];
  const STATEMENTS: Record<string, string> = {
    update: "update $log set action = 'x.y'",
    "update of nothing": "update $log set action = action where false",
    delete: "delete from $log",
    truncate: "truncate $log",
    insert: "insert into $log select * from $log limit 0",
    "insert on conflict": "insert into $log select * from $log limit 0 on conflict do nothing",
    "merge, update": "merge into $log a using (values (1)) v on true when matched then update set action = 'x.y'",
    "merge, delete": "merge into $log a using (values (1)) v on true when matched then delete",
    "merge, insert":
      "merge into $log a using (values (1)) v on false when not matched then insert (action) values ('x.y')",
    copy: "copy $log from stdin",
    "lock for update": "select 1 from $log for update",
  };
  const OWNER_ONLY: Record<string, string> = {
    "disable triggers": "alter table $log disable trigger all",
    "drop trigger": "drop trigger refuse_truncate on $log",
    "replace trigger":
      "create or replace trigger refuse_truncate before truncate on $log for each statement execute function suppress_redundant_updates_trigger()",
    "disable row level security": "alter table $log disable row level security",
    "create rule": "create rule r as on update to $log do instead nothing",
    "drop table": "drop table $log cascade",
    "rename column": "alter table $log rename column action to other",
  };

  async function refusal(client: pg.Client, role: string, statement: string): Promise<string> {
    await client.query("begin");
    try {
      await client.query(`set local role ${role}`);
      return (await failure(client.query(statement))).code;
    } finally {
      await client.query("rollback");
    }
  }

  describe.each(ROLES)("%s", (role) => {
    test.each(Object.entries(STATEMENTS))("%s", async (_, statement) => {
      for (const log of ["public.audit_logs", partition]) {
        expect(await refusal(owner, role, statement.replaceAll("$log", log))).toBe("42501");
      }
      await expectUntouched();
    });

    test("set role to the writer, or its functions and tables", async () => {
      const uses = ["set local role audit_writer", "update audit.heads set seq = 0", "delete from audit.heads"];
      if (role !== "postgres") {
        uses.push(
          "delete from audit.identities",
          "delete from audit.tracked_tables",
          "select audit.untrack('public.budgets')",
        );
      }
      // postgres may call them, because its generated triggers do.
      const { rows: callable } = await owner.query(
        `select p.oid::regprocedure::text from pg_proc p
         where p.proowner = 'audit_writer'::regrole and has_function_privilege($1, p.oid, 'execute')`,
        [role],
      );
      if (role !== "postgres") expect(callable).toEqual([]);
      for (const use of uses) expect([use, await refusal(owner, role, use)]).toEqual([use, "42501"]);
    });
  });

  test.each(ROLES.filter((role) => role !== "postgres"))("%s: what only the owner may do to a table", async (role) => {
    for (const statement of Object.values(OWNER_ONLY)) {
      for (const log of ["public.audit_logs", partition]) {
        expect([statement, await refusal(owner, role, statement.replaceAll("$log", log))]).toEqual([
          statement,
          "42501",
        ]);
      }
    }
    for (
      const statement of [
        "set session_replication_role = replica",
        "create table public.trick partition of public.audit_logs for values from ('1999-01-01') to ('1999-02-01')",
        `alter table public.audit_logs detach partition ${partition}`,
      ]
    ) {
      expect([statement, await refusal(owner, role, statement)]).toEqual([statement, "42501"]);
    }
  });

  test("inheritance from the log, by anybody", async () => {
    expect(await refusal(owner, "postgres", "create table public.trick () inherits (public.audit_logs)")).toBe("42809");
    expect(await refusal(owner, "postgres", `create table public.trick () inherits (${partition})`)).toBe("42809");
  });

  describe.each([["origin"], ["replica"]])("postgres who granted himself everything, as %s", (replication) => {
    test.each(["update", "delete", "truncate", "merge, update", "merge, delete"])("%s", async (name) => {
      for (const log of ["public.audit_logs", partition]) {
        await owner.query("begin");
        try {
          await owner.query(`grant all on public.audit_logs, ${partition} to postgres`);
          await owner.query(`set local session_replication_role = ${replication}`);
          const { code, hint } = await failure(owner.query(STATEMENTS[name]!.replaceAll("$log", log)));
          expect(code).toBe("AUIMM");
          expect(hint).toContain("retention");
        } finally {
          await owner.query("rollback");
        }
      }
    });

    test("an update that moves a conflicting row", async () => {
      await owner.query("begin");
      try {
        await owner.query(`grant all on ${partition} to postgres`);
        await owner.query(`set local session_replication_role = ${replication}`);
        const statement =
          `insert into ${partition} select * from ${partition} limit 1 on conflict (organization_id, chain, seq) do update set action = 'x.y'`;
        expect((await failure(owner.query(statement))).code).toBe("AUIMM");
      } finally {
        await owner.query("rollback");
      }
    });
  });

  test("a superuser, as long as the guards stand, also as replica", async () => {
    for (const replication of ["origin", "replica"]) {
      for (const name of ["update", "delete", "truncate", "merge, update", "merge, delete"]) {
        for (const log of ["public.audit_logs", partition]) {
          await admin.query("begin");
          await admin.query(`set local session_replication_role = ${replication}`);
          const { code } = await failure(admin.query(STATEMENTS[name]!.replaceAll("$log", log)));
          await admin.query("rollback");
          expect([replication, name, log, code]).toEqual([replication, name, log, "AUIMM"]);
        }
      }
    }
  });

  async function expectUntouched(): Promise<void> {
    const { rows } = await admin.query("select count(*)::int from public.audit_logs where action = 'report.generated'");
    expect(rows).toEqual([{ count: 2 * LENGTH }]);
  }
});

test("guards that were taken off show in the coverage view", async () => {
  await admin.query("begin");
  await disableGuards();
  const { rows } = await admin.query("select finding, way_out from audit.coverage where not healthy");
  await admin.query("rollback");
  expect(rows).toContainEqual({
    finding: `refuse_truncate on public.${partition} is not always enabled`,
    way_out: `alter table public.${partition} enable always trigger refuse_truncate`,
  });
});
