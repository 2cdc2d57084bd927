// Retention, attacked: writers, readers, holds and crashes in the middle of a purge, two purgers at once. Whatever happens,
// no writer fails, every chain verifies after each step, and only what may go is gone.
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { expireArchives, type ExpireDeps } from "../../functions/audit-jobs/expire.ts";
import { readBack } from "../../functions/audit-jobs/read_back.ts";
import { sealLogs } from "../../functions/audit-jobs/seal.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { inTransaction } from "../support/acting.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified, failure } from "../support/log.ts";
import { nextDay, sealAndReadBack, setRetention, writeOldChain } from "../support/old_log.ts";
import { jobDatabase, memoryArchive, newLogKeys, readArchive } from "../support/sealing.ts";

const ACME = "0a000000-0000-4000-8000-000000000001";
const GLOBEX = "0b000000-0000-4000-8000-000000000002";
const KEPT = 100;

let db: TestDatabase;
let admin: pg.Client;
let owner: pg.Client;
let watcher: pg.Client;

beforeEach(async () => {
  db = await createDatabase();
  [admin, owner, watcher] = [await db.connect(ADMIN), await db.connect(), await db.connect()];
});
afterEach(async () => {
  await expectVerified(watcher);
  await db.drop();
});

const pause = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Two thirds of each chain are past the retention. */
async function prepare(organization: string, chains: number[], entries = 300): Promise<void> {
  for (const chain of chains) await writeOldChain(admin, { organization, chain, entries, from: 3 * KEPT });
  await sealAndReadBack(admin);
  await setRetention(admin, organization, KEPT);
}

async function purge(client = owner, mostEntries = 5000): Promise<number> {
  const { rows: [{ purge }] } = await client.query("select audit.purge($1)", [mostEntries]);
  return purge;
}

async function purgeAll(client = owner, mostEntries = 5000): Promise<number> {
  let entries = 0;
  for (let more = 1; more > 0;) entries += more = await purge(client, mostEntries);
  return entries;
}

/** Entries of the chains that prepare() made, by organisation. */
async function left(client = watcher): Promise<{ all: number; expired: number }> {
  const { rows: [row] } = await client.query(
    `select count(*)::int as all, (count(*) filter (where created_at < date_trunc('day', now() - $1::int * interval '1 day', 'utc')))::int as expired
     from public.audit_logs where action = 'thing.done'`,
    [KEPT],
  );
  return row;
}

async function stated(): Promise<{ entries: number; bounds: [number, number, string][] }[]> {
  const { rows } = await watcher.query(
    "select details from public.audit_logs where action = 'log.purged' order by created_at, seq",
  );
  return rows.map((row) => row.details);
}

describe("beside others", () => {
  test("8 writers fail nowhere, and every chain verifies after each batch", { timeout: 60_000 }, async () => {
    await prepare(ACME, [900_001, 900_002, 900_003], 3_000);
    const { all, expired } = await left();
    expect(expired).toBeGreaterThan(5_000);
    const writers = await db.connectAll(8);
    const errors: unknown[] = [];
    let written = 0;
    let done = false;
    const writing = Promise.all(writers.map(async (client, writer) => {
      await client.query("select set_config('request.headers', $1, false)", [`{"user-agent": "writer ${writer}"}`]);
      while (!done) {
        await inTransaction(client, async () => {
          await client.query("insert into public.budgets (organization_id) values ($1)", [ACME]);
          await client.query(
            'update public.budgets set "limit" = 2 where organization_id = $1 and id = (select id from public.budgets limit 1)',
            [GLOBEX],
          );
        }, `isolation level ${["read committed", "repeatable read"][writer % 2]}`).then(
          () => written++,
          (error) => errors.push(error),
        );
      }
    }));
    let purged = 0;
    for (let more = 1; more > 0;) {
      purged += more = await purge(owner, 700);
      await expectVerified(watcher);
      // A batch is well under what somebody would notice.
      await pause(20);
    }
    done = true;
    await writing;
    expect(errors).toEqual([]);
    expect(written).toBeGreaterThan(20);
    expect(purged).toBe(expired);
    expect(await left()).toEqual({ all: all - expired, expired: 0 });
  });

  test("a repeatable-read reader sees what it saw, and one that begins later sees what is left", async () => {
    await prepare(ACME, [900_001]);
    const { all, expired } = await left();
    const reader = await db.connect();
    await reader.query("begin isolation level repeatable read");
    expect(await left(reader)).toEqual({ all, expired });
    expect(await purgeAll()).toBe(expired);
    expect(await left(reader)).toEqual({ all, expired });
    await expectVerified(reader);
    await reader.query("commit");
    expect(await left(reader)).toEqual({ all: all - expired, expired: 0 });
  });

  test("two purgers at once: one purges, the other has nothing to do, and nothing goes twice", async () => {
    await prepare(ACME, [900_001, 900_002], 2_000);
    const { expired } = await left();
    const other = await db.connect();
    await owner.query("begin");
    expect(await purge(owner, 100)).toBe(100);
    expect(await purge(other, 100)).toBe(0);
    await owner.query("commit");
    const purgers = [owner, other, ...await db.connectAll(2)];
    let purged = 100;
    for (let round = 0; purged < expired && round < 500; round++) {
      purged += (await Promise.all(purgers.map((client) => purge(client, 50)))).reduce((sum, entries) => sum + entries);
    }
    expect(purged).toBe(expired);
    await purgeAll();
    expect((await stated()).map(({ entries }) => entries)).toEqual([expired]);
  });

  test("a writer that is about to use an identity again keeps it", async () => {
    const agent = (client: pg.Client) =>
      client.query(`select set_config('request.headers', '{"user-agent": "agent"}', false)`);
    await agent(owner);
    await owner.query("insert into public.budgets (organization_id) values ($1)", [ACME]);
    const { rows: [{ identity }] } = await owner.query(
      "select identity_hash as identity from audit.identities where user_agent = 'agent'",
    );
    await owner.query("discard all");
    // That entry, as if it were old: made anew with the same identity.
    await admin.query(`alter table public.audit_logs disable trigger user;
       create temporary table old as select * from public.audit_logs where identity_hash is not null;
       delete from public.audit_logs a using old o where (a.organization_id, a.chain, a.seq) = (o.organization_id, o.chain, o.seq);
       delete from audit.heads h using old o where (h.organization_id, h.chain) = (o.organization_id, o.chain);
       update old set created_at = created_at - interval '300 days';
       update old set hash = audit.hash_of(audit.entry_text(
         organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, created_by, actor_type, identity_hash,
         provider, cost, request_id, details, prev_hash));
       insert into public.audit_logs select * from old;
       insert into audit.heads select organization_id, chain, seq, created_at, prev_hash, hash from old;
       alter table public.audit_logs enable always trigger refuse_update_delete;
       alter table public.audit_logs enable always trigger refuse_truncate;`);
    await sealAndReadBack(admin);
    await setRetention(admin, ACME, KEPT);

    const writer = await db.connect();
    await agent(writer);
    await writer.query("begin");
    await writer.query("insert into public.budgets (organization_id) values ($1)", [ACME]);
    expect(await purge()).toBe(1);
    const marked = () =>
      watcher.query("select identity_hash from audit.identities where user_agent = 'agent' and check_at is not null");
    expect((await marked()).rows).toEqual([{ identity_hash: identity }]);
    await writer.query("commit");
    await admin.query("update audit.identities set check_at = check_at - interval '2 days'");
    await purge();
    expect((await marked()).rows).toEqual([]);
    const { rows } = await watcher.query(
      "select user_agent from public.audit_events where organization_id = $1 and action = 'budget.created'",
      [ACME],
    );
    expect(rows).toEqual([{ user_agent: "agent" }]);
  });
});

describe("interrupted", () => {
  test("a batch that is rolled back, or whose connection dies, changed nothing; the next finishes the same", async () => {
    await prepare(ACME, [900_001, 900_002]);
    await owner.query("select audit.index_entries()");
    const before = await left();
    const state = async () =>
      (await watcher.query(
        `select (select count(*) from audit.search_index) as indexed, (select count(*) from audit.chain_bounds) as bounds,
           (select count(*) from audit.purges) as purges, (select count(*) from public.audit_logs) as entries`,
      )).rows;
    const untouched = await state();
    await owner.query("begin");
    expect(await purge(owner, 150)).toBe(150);
    await owner.query("rollback");
    expect([await left(), await state()]).toEqual([before, untouched]);

    const victim = await db.connect();
    victim.on("error", () => {});
    const { rows: [{ pid }] } = await victim.query("select pg_backend_pid() as pid");
    await victim.query("begin");
    await purge(victim, 150);
    await admin.query("select pg_terminate_backend($1)", [pid]);
    await victim.query("commit").catch(() => {});
    await vi.waitFor(async () =>
      expect((await watcher.query("select from pg_stat_activity where pid = $1", [pid])).rowCount).toBe(0)
    );
    expect([await left(), await state()]).toEqual([before, untouched]);

    expect(await purgeAll(owner, 150)).toBe(before.expired);
    expect((await stated()).map(({ entries }) => entries)).toEqual([before.expired]);
  });

  test("a lock on the log is not waited for long, and costs nothing", async () => {
    await prepare(ACME, [900_001]);
    const before = await left();
    await admin.query("begin; lock table public.audit_logs in access exclusive mode");
    const start = performance.now();
    expect(await failure(purge())).toMatchObject({ code: "55P03" });
    expect(performance.now() - start).toBeLessThan(5_000);
    await admin.query("rollback");
    expect(await purgeAll()).toBe(before.expired);
  });

  test("at another isolation level it does not begin, as it would not see a hold of the moment", async () => {
    await prepare(ACME, [900_001]);
    for (const level of ["repeatable read", "serializable"]) {
      expect(await failure(inTransaction(owner, () => purge(), `isolation level ${level}`))).toMatchObject({
        code: "AUARG",
      });
    }
  });
});

describe("decided otherwise in the middle", () => {
  const HOLD = "select audit.place_hold($1, 'Case', 'Court order')";

  test("a hold waits for the batch that runs; when it is there nothing more goes", async () => {
    await prepare(ACME, [900_001]);
    const { all } = await left();
    await owner.query("begin");
    await purge(owner, 50);
    let placed = false;
    const placing = watcher.query(HOLD, [ACME]).then(() => placed = true);
    await pause(200);
    expect(placed).toBe(false);
    await owner.query("commit");
    await placing;
    expect(await purgeAll()).toBe(0);
    expect((await left()).all).toBe(all - 50);
    expect((await stated()).map(({ entries }) => entries), "what was purged until then is said").toEqual([50]);
  });

  test("a purge does not begin while a hold is being placed, and waits for nobody", async () => {
    await prepare(ACME, [900_001]);
    await watcher.query("begin");
    await watcher.query(HOLD, [ACME]);
    expect(await purge()).toBe(0);
    await watcher.query("commit");
    expect(await purge()).toBe(0);
    await watcher.query("select audit.release_hold($1, 'Case')", [ACME]);
    expect(await purgeAll()).toBe(200);
  });

  test("one organisation's hold holds nobody else, the project's everybody", async () => {
    await prepare(ACME, [900_001]);
    await prepare(GLOBEX, [900_001]);
    await watcher.query(HOLD, [ACME]);
    expect(await purge(owner, 50)).toBe(50);
    await watcher.query(HOLD, ["00000000-0000-0000-0000-000000000000"]);
    expect(await purgeAll()).toBe(0);
    await watcher.query("select audit.release_hold('00000000-0000-0000-0000-000000000000', 'Case')");
    expect(await purgeAll()).toBe(150);
    const { rows } = await watcher.query("select distinct organization_id as id from audit.chain_bounds");
    expect(rows).toEqual([{ id: GLOBEX }]);
  });

  test("a longer period stops it, a shorter one lets it go on, each when it applies", async () => {
    await prepare(ACME, [900_001]);
    expect(await purge(owner, 50)).toBe(50);
    await watcher.query("select audit.set_retention($1, 250, null)", [ACME]);
    expect(await purgeAll(), "50 entries are 50 days").toBe(0);
    await watcher.query("select audit.set_retention($1, 200, null)", [ACME]);
    expect(await purgeAll(), "it waits seven days").toBe(0);
    await admin.query("update audit.retention_periods set effective_at = clock_timestamp()");
    await nextDay(admin);
    expect(await purgeAll()).toBe(50);
    expect((await stated()).map(({ entries }) => entries)).toEqual([50, 50]);
  });

  test("entries that are sealed and read back later go on a later day", async () => {
    await prepare(ACME, [900_001]);
    await admin.query(
      "update audit.logs l set read_back = r.start + 10 from audit.log_ranges r where r.log = l.id and r.chain = 900001",
    );
    await writeOldChain(admin, { organization: ACME, chain: 900_002, entries: 20, from: 200, to: 150 });
    expect(await purgeAll()).toBe(10);
    await admin.query("update audit.logs set read_back = sequenced");
    await nextDay(admin);
    expect(await purgeAll()).toBe(190);
    await sealAndReadBack(admin);
    await nextDay(admin);
    expect(await purgeAll()).toBe(20);
    expect((await stated()).map(({ entries }) => entries)).toEqual([10, 190, 20]);
  });
});

test("500 chains and more: every boundary is said, in as few entries as hold them", async () => {
  for (let chain = 0; chain < 620; chain++) {
    await writeOldChain(admin, { organization: ACME, chain: 900_000 + chain, entries: 2, from: 300, to: 200 });
  }
  await sealAndReadBack(admin);
  await setRetention(admin, ACME, KEPT);
  expect(await purgeAll(owner, 100)).toBe(1240);
  const said = await stated();
  expect(said.map(({ entries, bounds }) => [entries, bounds.length])).toEqual([[1240, 500], [0, 120]]);
  const { rows } = await watcher.query(
    "select chain, seq::int, encode(hash, 'hex') as hash from audit.chain_bounds order by chain",
  );
  expect(said.flatMap(({ bounds }) => bounds)).toEqual(rows.map(({ chain, seq, hash }) => [chain, seq, hash]));
});

describe("partitions", () => {
  const MONTH = "public.audit_logs_2001_01";
  const drop = async () => (await owner.query("select audit.drop_empty_partition() as dropped")).rows[0].dropped;

  beforeEach(async () => {
    await owner.query(
      `create table ${MONTH} partition of public.audit_logs for values from ('2001-01-01 00:00:00+00') to ('2001-02-01 00:00:00+00');
       select audit.secure_partition('${MONTH}')`,
    );
  });

  test("one that a reader has open stays, and nobody waits long for the attempt", async () => {
    const reader = await db.connect();
    await reader.query("begin");
    await reader.query("select count(*) from public.audit_logs");
    const writer = await db.connect();
    let slowest = 0;
    let done = false;
    const writing = (async () => {
      while (!done) {
        const start = performance.now();
        await writer.query("insert into public.budgets (organization_id) values ($1)", [ACME]);
        slowest = Math.max(slowest, performance.now() - start);
      }
    })();
    for (let attempt = 0; attempt < 5; attempt++) expect(await drop()).toBe(null);
    done = true;
    await writing;
    expect(slowest).toBeLessThan(1_000);
    await reader.query("select count(*) from public.audit_logs");
    await reader.query("commit");
    expect(await drop()).toBe(MONTH);
    expect(await drop()).toBe(null);
  });

  test("beside writers it goes, and none of them fails", async () => {
    const writers = await db.connectAll(8);
    const errors: unknown[] = [];
    let done = false;
    const writing = Promise.all(writers.map(async (client) => {
      while (!done) {
        await client.query("insert into public.budgets (organization_id) values ($1)", [ACME]).catch((error) =>
          errors.push(error)
        );
      }
    }));
    await pause(200);
    await vi.waitFor(async () => expect(await drop()).toBe(MONTH), { timeout: 10_000 });
    await pause(200);
    done = true;
    await writing;
    expect(errors).toEqual([]);
  });

  test("an entry that was written to it meanwhile is not lost", async () => {
    const writer = await db.connect(ADMIN);
    await writer.query("begin");
    await writeOldChain(writer, {
      organization: ACME,
      chain: 900_001,
      entries: 1,
      from: (Date.now() - Date.UTC(2001, 0, 15)) / 86_400_000,
    });
    expect(await drop()).toBe(null);
    await writer.query("commit");
    expect(await drop()).toBe(null);
    expect((await left()).all).toBe(1);
  });
});

describe("with a real archive", () => {
  const organizations = [ACME, GLOBEX];

  /** Sealed, read back, of a month that is over, and purged from the database. */
  async function archived() {
    const database = jobDatabase(db.url());
    const archive = memoryArchive();
    const keys = newLogKeys();
    for (const organization of organizations) {
      await writeOldChain(admin, { organization, chain: 900_001, entries: 600, from: 400, to: 300 });
    }
    while ((await sealLogs({ database, archive, keys }, { dueNow: true })).more);
    // As if it had been closed then: its own entries are as old as the rest.
    await admin.query("update audit.logs set closed_at = clock_timestamp() where month is not null");
    for (let run = 0; run < 20; run++) await readBack({ database, archive, keys }, { patience: "0" });
    const { rows } = await watcher.query(
      "select organization_id, origin, sequenced::int, read_back::int from audit.logs where organization_id = any ($1) and month is not null",
      [organizations],
    );
    for (const { sequenced, read_back } of rows) expect(read_back).toBe(sequenced);
    return { database, archive, keys };
  }

  /** The month is over for long, and its log's own entry gone with the rest. */
  async function expire(): Promise<void> {
    for (const organization of organizations) await setRetention(admin, organization, KEPT, 200);
    expect(await purgeAll()).toBe(1200);
    await admin.query(`update audit.logs l set last_at = last_at - interval '300 days' where month is not null;
       delete from audit.log_ranges r using audit.logs l where l.id = r.log and r.chain = audit.log_chain()`);
  }

  const deps = (database: ExpireDeps["database"], archive: ExpireDeps["archive"]): ExpireDeps => ({
    database,
    archive,
    exported: memoryArchive(),
  });

  test("what is purged is in the archive, to the byte", async () => {
    const { database, archive, keys } = await archived();
    const { rows } = await watcher.query(
      "select audit.entry_text(a) as text from public.audit_logs a where action = 'thing.done'",
    );
    for (const organization of organizations) await setRetention(admin, organization, KEPT);
    expect(await purgeAll()).toBe(1200);
    const kept = new Set([...readArchive(archive, keys).values()].flat());
    expect(rows.filter(({ text }) => !kept.has(text))).toEqual([]);
    const { rows: [{ gone }] } = await watcher.query(
      "select count(*)::int as gone from audit.logs l cross join lateral audit.log_entries(l.id, 0, l.published) e where e.entry like '%thing.done%'",
    );
    expect(gone).toBe(0);
    await database.end();
  });

  test("an expired archive goes but for its checkpoint, whatever fails on the way", async () => {
    vi.spyOn(console, "error").mockImplementation(() => {});
    const { database, archive } = await archived();
    await expire();
    const folders = [...new Set([...archive.files.keys()].map((path) => path.split("/").slice(0, 2).join("/")))].filter(
      (folder) => organizations.some((organization) => folder.startsWith(organization)),
    );
    expect(folders).toHaveLength(2);
    const of = (folder: string) => [...archive.files.keys()].filter((path) => path.startsWith(`${folder}/`));

    // Every call fails, before and after it took effect.
    for (const call of ["list", "remove"] as const) {
      const before = { ...archive, [call]: () => Promise.reject(new Error("down")) };
      expect(await expireArchives(deps(database, before))).toMatchObject({ archives: 0, failed: 2 });
      const after = {
        ...archive,
        [call]: async (of: never) => {
          await archive[call](of);
          throw new Error("no answer");
        },
      };
      expect(await expireArchives(deps(database, after))).toMatchObject({ archives: 0, failed: 2 });
    }
    const crashing = {
      ...database,
      askAsOwner: (statement: { name: string; text: string; values: unknown[] }) =>
        statement.name === "record_archive_deleted"
          ? Promise.reject(new Error("gone"))
          : database.askAsOwner(statement),
    };
    expect(await expireArchives(deps(crashing, archive))).toMatchObject({ archives: 0, failed: 2 });
    expect(folders.flatMap(of)).toEqual(folders.map((folder) => `${folder}/checkpoint`));

    expect(await expireArchives(deps(database, archive))).toEqual({
      archives: 2,
      exports: 0,
      reports: 0,
      trimmed: 0,
      files: 0,
      failed: 0,
      more: false,
    });
    expect(await expireArchives(deps(database, archive))).toMatchObject({ archives: 0, files: 0 });
    expect(folders.flatMap(of)).toEqual(folders.map((folder) => `${folder}/checkpoint`));
    const { rows } = await watcher.query(
      "select details - 'database_role' as details from public.audit_logs where action = 'log.purged' and details ? 'root'",
    );
    const { rows: checkpoints } = await watcher.query(
      `select jsonb_build_object('origin', l.origin, 'size', c.size, 'root', encode(c.root, 'base64')) as details
       from audit.logs l join audit.checkpoints c on c.log = l.id where l.archive_deleted_at is not null`,
    );
    expect(rows).toHaveLength(2);
    expect(rows).toEqual(expect.arrayContaining(checkpoints));
    await database.end();
  });

  test("a hold in the middle keeps the rest, and another organisation's archive is not concerned", async () => {
    const { database, archive } = await archived();
    await expire();
    let removed = 0;
    const held = {
      ...archive,
      async remove(paths: string[]) {
        removed += paths.length;
        await watcher.query("select audit.place_hold($1, $2, 'x')", [
          "00000000-0000-0000-0000-000000000000",
          `Case ${removed}`,
        ]);
        await archive.remove(paths);
      },
    };
    // The first batch of the first archive goes; the second archive is not begun.
    expect(await expireArchives(deps(database, held))).toMatchObject({ archives: 1 });
    expect((await watcher.query("select from audit.logs where archive_deletion_began_at is not null")).rowCount).toBe(
      1,
    );
    expect(await expireArchives(deps(database, archive))).toMatchObject({ archives: 0, files: 0 });
    await watcher.query("select audit.release_hold(organization_id, name) from audit.holds");
    expect(await expireArchives(deps(database, archive))).toMatchObject({ archives: 1 });
    await database.end();
  });

  test("exports expire with their files, those of which nobody knew included", async () => {
    const database = jobDatabase(db.url());
    const exported = memoryArchive();
    const stale = crypto.randomUUID();
    const fresh = crypto.randomUUID();
    await admin.query(
      `insert into audit.exports (id, organization_id, format, filter, state, requested_at)
       values ($1, $3, 'csv', '{"and": []}', 'failed', now() - interval '31 days'), ($2, $3, 'csv', '{"and": []}', 'done', now())`,
      [stale, fresh, ACME],
    );
    for (const id of [stale, fresh]) await exported.put(`${ACME}/${id}/part-0001.csv`, new Uint8Array([1]), "tile");
    const failing = { ...exported, remove: () => Promise.reject(new Error("down")) };
    const spy = vi.spyOn(console, "error").mockImplementation(() => {});
    expect(await expireArchives({ database, archive: memoryArchive(), exported: failing })).toMatchObject({
      exports: 0,
      failed: 1,
    });
    spy.mockRestore();
    expect(await expireArchives({ database, archive: memoryArchive(), exported })).toMatchObject({
      exports: 1,
      files: 1,
      failed: 0,
    });
    expect([...exported.files.keys()]).toEqual([`${ACME}/${fresh}/part-0001.csv`]);
    const { rows } = await watcher.query("select id from audit.exports");
    expect(rows).toEqual([{ id: fresh }]);
    // A log without entries would verify for nothing.
    await owner.query("insert into public.budgets (organization_id) values ($1)", [ACME]);
    await database.end();
  });
});
