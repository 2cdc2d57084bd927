// Sealing, attacked: every external call fails before and after it took effect, runs overlap, months end, clocks go back,
// somebody writes into the log's tables. Afterwards every committed entry is in the archive exactly once, each chain's in
// order, no path ever changed its bytes, and no size has two roots.
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Archive } from "../../functions/_shared/archive/archive.ts";
import { type SealDeps, sealLogs } from "../../functions/audit-jobs/seal.ts";
import type { LogKeys } from "../../functions/_shared/log_keys.ts";
import { parseCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import { parseNote } from "../../functions/_shared/tlog/note.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified } from "../support/log.ts";
import {
  type JobDatabase,
  jobDatabase,
  type MemoryArchive,
  memoryArchive,
  newLogKeys,
  readArchive,
} from "../support/sealing.ts";

const ACME = "0a000000-0000-4000-8000-000000000001";
const GLOBEX = "0b000000-0000-4000-8000-000000000002";

let db: TestDatabase;
let client: pg.Client;
let database: JobDatabase;
let archive: MemoryArchive;
let keys: LogKeys;
let deps: SealDeps;

beforeEach(async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  db = await createDatabase();
  client = await db.connect();
  database = jobDatabase(db.url());
  archive = memoryArchive();
  keys = newLogKeys();
  deps = { database, archive, keys };
  await client.query("insert into public.organizations (id, name) values ($1, 'Acme'), ($2, 'Globex')", [ACME, GLOBEX]);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await database.end();
  await db.drop();
});

async function write(entries: number, organization = ACME, by = client): Promise<void> {
  await by.query(
    "insert into public.budgets (organization_id, name) select $1, 'B' || n from generate_series(1, $2::int) n",
    [organization, entries],
  );
}

/** What not even the owner may do by the way. */
async function asAdmin(statement: string, values: unknown[] = []): Promise<void> {
  const admin = await db.connect(ADMIN);
  await admin.query("set session_replication_role = replica");
  await admin.query("alter table public.audit_logs disable trigger user");
  await admin.query(statement, values);
  await admin.query("alter table public.audit_logs enable always trigger refuse_update_delete");
}

const sealAll = (over: Partial<SealDeps> = {}) => sealLogs({ ...deps, ...over }, { dueNow: true });

/** Until nothing waits, whoever fails on the way. */
async function sealToTheEnd(): Promise<void> {
  for (let run = 0; run < 50; run++) {
    await client.query("update audit.logs set lease_until = '-infinity'");
    const { more, failed } = await sealAll().catch(() => ({ more: true, failed: 1 }));
    if (!more && failed === 0) return;
  }
  throw new Error("sealing does not come to its end");
}

/** Every entry of the database is in the archive, once, at the index that the ranges say. */
async function expectSealed(): Promise<Map<string, string[]>> {
  await expectVerified(client);
  const logs = readArchive(archive, keys);
  const archived = [...logs].filter(([folder]) => folder !== "anchor").flatMap(([, entries]) => entries);
  const { rows } = await client.query("select audit.entry_text(a) as text from public.audit_logs a");
  const kept = rows.map((row) => row.text as string);
  expect(archived.length).toBe(kept.length);
  expect(new Set(archived)).toEqual(new Set(kept));
  // No path of the archive holds what the ranges do not say.
  const { rows: [{ wrong }] } = await client.query(
    `select count(*) as wrong from audit.logs l where l.published <> l.sequenced or l.size <> l.sequenced`,
  );
  expect(Number(wrong)).toBe(0);
  return logs;
}

async function roots(): Promise<string[]> {
  const { rows } = await client.query(
    "select log || '/' || size || ' ' || encode(root, 'hex') as root from audit.checkpoints",
  );
  return rows.map((row) => row.root as string);
}

describe("what is sealed", () => {
  test.each([1, 2, 254, 255, 256, 257, 600])("%i entries", async (entries) => {
    await write(entries, GLOBEX);
    await sealToTheEnd();
    const logs = await expectSealed();
    expect([...logs.keys()].filter((folder) => folder.startsWith(GLOBEX))).toHaveLength(1);
  });

  test("in steps of any size makes the same files as at once", async () => {
    for (const entries of [1, 3, 250, 1, 1, 256, 255, 7]) {
      await write(entries);
      await sealToTheEnd();
      await expectSealed();
    }
  });

  test("65,536 and 65,537 entries: a tile of level 2 begins", { timeout: 120_000 }, async () => {
    await write(65_534); // with organization.created and log.opened
    await sealToTheEnd();
    await write(1);
    await sealToTheEnd();
    const logs = await expectSealed();
    const folder = [...logs.keys()].find((name) => name.startsWith(ACME))!;
    expect(archive.files.has(`${folder}/tile/1/000`)).toBe(true);
    expect(archive.files.has(`${folder}/tile/2/000.p/1`)).toBe(true);
  });

  test("nothing where nothing is, and an organisation without entries has no log", async () => {
    await sealToTheEnd();
    const files = archive.files.size;
    expect(await sealAll()).toEqual({ logs: 0, entries: 0, failed: 0, more: false });
    expect(archive.files.size).toBe(files);
  });

  test("a log begins with log.opened, a month with the checkpoint that the one before ended with", async () => {
    await write(10);
    await sealToTheEnd();
    await client.query(
      `update audit.logs set month = month - interval '1 month', origin = replace(origin, to_char(month, 'YYYY-MM'), to_char(month - interval '1 month', 'YYYY-MM'))
       where organization_id = $1`,
      [ACME],
    );
    for (const path of archive.files.keys()) if (path.startsWith(ACME)) archive.files.delete(path); // it was that month's
    const { rows: [before] } = await client.query(
      "select l.origin, l.published, encode(c.root, 'base64') as root from audit.logs l join audit.checkpoints c on c.log = l.id and c.size = l.published where l.organization_id = $1",
      [ACME],
    );
    await write(3);
    await sealToTheEnd();
    const { rows: [opened] } = await client.query(
      "select details from public.audit_logs where organization_id = $1 and action = 'log.opened' order by seq desc limit 1",
      [ACME],
    );
    expect(opened.details.previous).toEqual({
      origin: before.origin,
      size: Number(before.published),
      root: before.root,
    });
    const { rows: logs } = await client.query(
      "select closed_at is null as open, published from audit.logs where organization_id = $1 order by month",
      [ACME],
    );
    expect(logs.map(({ open }) => open)).toEqual([false, true]);
    expect(Number(logs[1].published)).toBe(4);
  });

  test("a clock that was set back opens no earlier month and keeps nothing waiting", async () => {
    await write(10);
    await sealToTheEnd();
    await client.query(`update audit.logs set month = month + interval '1 month' where organization_id = $1`, [ACME]);
    await write(1);
    await asAdmin("update audit.heads set last_at = last_at + interval '1 day'");
    await sealToTheEnd();
    const { rows } = await client.query("select count(*) as logs from audit.logs where organization_id = $1", [ACME]);
    expect(Number(rows[0].logs)).toBe(1);
  });

  test("an hour of silence leaves a heartbeat that says where the chains stand", async () => {
    await write(10);
    await sealToTheEnd();
    await asAdmin(
      "update audit.heads set last_at = last_at - interval '61 minutes' where chain = audit.log_chain() and organization_id = $1",
      [ACME],
    );
    await sealLogs(deps);
    const { rows } = await client.query(
      "select details from public.audit_logs where organization_id = $1 and action = 'log.heartbeat'",
      [ACME],
    );
    const { rows: heads } = await client.query(
      "select chain, seq, encode(hash, 'hex') as hash from audit.heads where organization_id = $1 and chain <> audit.log_chain() order by chain",
      [ACME],
    );
    expect(rows).toHaveLength(1);
    expect(rows[0].details.heads).toEqual(heads.map(({ chain, seq, hash }) => [chain, Number(seq), hash]));
    await expectSealed();
    await sealLogs(deps);
    expect((await client.query("select from public.audit_logs where action = 'log.heartbeat'")).rowCount).toBe(1);
  });
});

describe("when it is due", () => {
  test("after 256 entries, or when the oldest has waited long enough, and not before", async () => {
    await client.query("select audit.configure('seal_after', '3600')");
    await write(3);
    expect(await sealLogs(deps)).toMatchObject({ logs: 0, more: false });
    await write(256);
    expect(await sealLogs(deps)).toMatchObject({ logs: 1, more: false });
    await write(1);
    expect(await sealLogs(deps)).toMatchObject({ logs: 0 });
    await client.query("select audit.configure('seal_after', '1', $1)", [ACME]);
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    expect(await sealLogs(deps)).toMatchObject({ logs: 1 });
  });

  test("a busy chain keeps no other waiting", async () => {
    const others = await db.connectAll(4);
    await write(3_000);
    for (const other of others) await write(5, ACME, other);
    for (let log = 0; log < 3; log++) {
      await client.query("select audit.claim_log('test.example/audit', most_entries => 100, due_now => true)");
    }
    const { rows } = await client.query(
      `select count(distinct chain) as chains from audit.log_ranges where organization_id = $1 and chain <> audit.log_chain()`,
      [ACME],
    );
    expect(Number(rows[0].chains)).toBe(5);
    await sealToTheEnd();
    await expectSealed();
  });

  test("large entries make small batches", async () => {
    await client.query(
      `select count(audit.record($1, 'report.generated', 'report', n::text, jsonb_build_object('text', repeat(md5(n::text), 1500))))
       from generate_series(1, 500) n`,
      [ACME],
    );
    for (let log = 0; log < 3; log++) {
      await client.query("select audit.claim_log('test.example/audit', due_now => true)");
    }
    const { rows: [{ sequenced }] } = await client.query(
      "select sequenced from audit.logs where organization_id = $1",
      [ACME],
    );
    expect(Number(sequenced)).toBeGreaterThan(200);
    expect(Number(sequenced)).toBeLessThan(400);
    await sealToTheEnd();
    await expectSealed();
  });
});

// The fault table. A call is anything that leaves the process: a statement, a file put or got.
type Fault = "before" | "after";

/** Counts the calls, and fails the one with the given number; a process that is killed does not go on either. */
function faulty(at: number, fault: Fault): { deps: SealDeps; calls: string[] } {
  const calls: string[] = [];
  let dead = false;
  async function call<T>(name: string, work: () => Promise<T>, undo?: (result: T) => void): Promise<T> {
    if (dead) throw new Error("killed");
    calls.push(name);
    const isHit = calls.length - 1 === at;
    if (isHit && fault === "before") {
      dead = true;
      throw new Error("killed");
    }
    const result = await work();
    if (isHit) {
      dead = true;
      undo?.(result);
      throw new Error("killed");
    }
    return result;
  }
  const broken: Archive = {
    ...archive,
    put: (path, bytes, kind) => call(`put ${kind}`, () => archive.put(path, bytes, kind)),
    get: (path) => call("get", () => archive.get(path)),
  };
  return {
    calls,
    deps: {
      keys,
      archive: broken,
      database: {
        ...database,
        askAsOwner: (statement) => call(statement.name, () => database.askAsOwner(statement)),
        connect: () => call("log_entries", () => database.connect(), (client) => client.release(true)),
      },
    },
  };
}

describe("a crash", () => {
  test("at every call, before and after it took effect, loses nothing, doubles nothing, forks nothing", {
    timeout: 300_000,
  }, async () => {
    await write(300);
    await sealToTheEnd();
    const table = new Map<string, number>();
    let crashes = 0;
    for (const fault of ["before", "after"] as const) {
      for (let at = 0;; at++) {
        await write(at % 3 === 0 ? 257 : 2);
        await write(1, GLOBEX);
        await client.query("select audit.anchor_checkpoints()");
        const { deps: crashing, calls } = faulty(at, fault);
        const isHit = await sealLogs(crashing, { dueNow: true }).then(() => calls.length > at, () => true);
        if (!isHit) break;
        crashes++;
        table.set(`${calls[at]} ${fault}`, (table.get(`${calls[at]} ${fault}`) ?? 0) + 1);
        const before = await roots();
        await sealToTheEnd();
        const after = await roots();
        // A root that was once recorded stays.
        expect(after).toEqual(expect.arrayContaining(before));
        expect(new Set(after.map((root) => root.split(" ")[0])).size).toBe(after.length);
        await expectSealed();
      }
    }
    expect([...table.keys()].map((step) => step.replace(/ (before|after)$/, ""))).toEqual(
      expect.arrayContaining([
        "claim_log",
        "log_entries",
        "put bundle",
        "put tile",
        "record_root",
        "record_note",
        "put checkpoint",
        "record_published",
        "get",
      ]),
    );
    expect(crashes).toBeGreaterThan(60);
    console.log(`${crashes} crashes: ${[...table].map(([step, count]) => `${step} ${count}`).join(", ")}`);
  });

  test("of a connection in the middle of a statement is survived", async () => {
    await write(600);
    const { rows: [{ pid }] } = await database.pool.query("select pg_backend_pid() as pid");
    expect(Number(pid)).toBeGreaterThan(0);
    const killing = await db.connect();
    let killed: Promise<unknown> = Promise.resolve();
    const killer = setInterval(() => {
      killed = killing.query(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and query like '%audit.%'",
      );
    }, 3);
    for (let run = 0; run < 15; run++) {
      await write(20).catch(() => {});
      await sealAll().catch(() => {});
    }
    clearInterval(killer);
    await killed; // and all before it
    await sealToTheEnd();
    await expectSealed();
  });
});

describe("runs that overlap", () => {
  test("eight at once, beside writers, and leases that end too early", { timeout: 120_000 }, async () => {
    const writers = await db.connectAll(4);
    let done = false;
    const writing = Promise.all(writers.map(async (writer, at) => {
      for (let round = 0; round < 25; round++) await write(1 + (round * 7) % 40, at % 2 === 0 ? ACME : GLOBEX, writer);
    })).then(() => (done = true));
    // Every run believes that it alone works, and is slow at the worst places.
    const slow: Archive = {
      ...archive,
      async put(path, bytes, kind) {
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 5));
        await archive.put(path, bytes, kind);
      },
    };
    const run = async () => {
      while (!done) {
        await sealLogs({ ...deps, archive: slow }, { dueNow: true });
        await database.pool.query("update audit.logs set lease_until = '-infinity' where random() < 0.3");
      }
    };
    await Promise.all([writing, ...Array.from({ length: 8 }, run)]);
    await sealToTheEnd();
    await expectSealed();
  });

  test("whoever lost the lease publishes nothing: an older checkpoint never replaces a newer one", async () => {
    await write(10);
    let release = () => {};
    const reached = new Promise<void>((resolve) => {
      const held: Archive = {
        ...archive,
        put: async (path, bytes, kind) => {
          if (kind === "tile") {
            resolve();
            await new Promise<void>((go) => (release = go));
          }
          await archive.put(path, bytes, kind);
        },
      };
      void sealLogs({ ...deps, archive: held }, { dueNow: true });
    });
    await reached;
    await client.query("update audit.logs set lease_until = '-infinity'");
    await write(5);
    await sealToTheEnd();
    const newest = [...archive.files].filter(([path]) => path.endsWith("/checkpoint")).map(([, note]) =>
      parseCheckpoint(parseNote(note).text).size
    );
    release();
    await new Promise((resolve) => setTimeout(resolve, 200));
    const after = [...archive.files].filter(([path]) => path.endsWith("/checkpoint")).map(([, note]) =>
      parseCheckpoint(parseNote(note).text).size
    );
    expect(after).toEqual(newest);
    await sealToTheEnd();
    await expectSealed();
  });
});

describe("somebody with the owner's rights", () => {
  test("alters an entry before it is sealed: it is sealed as it is, and found", async () => {
    await write(10);
    await asAdmin(
      "update public.audit_logs set action = 'budget.deleted' where organization_id = $1 and seq = 4 and action = 'budget.created'",
      [ACME],
    );
    expect(await sealAll()).toMatchObject({ failed: 0 });
    const { rows } = await client.query("select kind from audit.findings where organization_id = $1", [ACME]);
    expect(rows).toEqual([{ kind: "entry_altered" }]);
    const { rowCount } = await client.query(
      "select from public.audit_logs where action = 'verification.failed' and organization_id = $1",
      [ACME],
    );
    expect(rowCount).toBe(1);
  });

  test("deletes an entry before it is sealed: the rest is sealed, and it is found", async () => {
    await write(10);
    await asAdmin(
      "delete from public.audit_logs where organization_id = $1 and seq in (4, 5, 9) and action = 'budget.created'",
      [ACME],
    );
    expect(await sealAll()).toMatchObject({ failed: 0 });
    const { rows } = await client.query(
      "select kind, detail ->> 'there' as there from audit.findings where organization_id = $1",
      [ACME],
    );
    expect(rows).toEqual([{ kind: "entries_missing", there: "8" }]);
    await sealToTheEnd();
    readArchive(archive, keys);
  });

  test("rewrites root, frontier or size: nothing is signed that does not continue what was signed", async () => {
    await write(300);
    await sealToTheEnd();
    const published = new Map(archive.files);
    for (
      const forged of [
        "update audit.checkpoints set root = sha256('forged'), frontier = sha256('forged')",
        "update audit.checkpoints set note = replace(note, 'test.example', 'evil.example')",
        "update audit.logs set published = 1, size = 1 where month is not null",
        "delete from audit.checkpoints",
      ]
    ) {
      await client.query("create table if not exists public.kept_checkpoints as table audit.checkpoints");
      await client.query("create table if not exists public.kept_logs as table audit.logs");
      await client.query(forged);
      await write(2);
      await client.query("update audit.logs set lease_until = '-infinity'");
      await sealAll();
      for (const [path, bytes] of published) {
        if (path.endsWith("/checkpoint") && path.startsWith(ACME)) expect(archive.files.get(path)).toEqual(bytes);
      }
      await client.query(
        "delete from audit.checkpoints; insert into audit.checkpoints select * from public.kept_checkpoints",
      );
      await client.query(
        "update audit.logs l set published = k.published, size = k.size from public.kept_logs k where k.id = l.id",
      );
    }
    await sealToTheEnd();
    await expectSealed();
  });
});

describe("an archive that was damaged", () => {
  test.each(["tile/0", "tile/entries"])("partial files below %s are made from the database again", async (below) => {
    await write(300);
    await sealToTheEnd();
    for (const path of [...archive.files.keys()]) {
      if (path.startsWith(ACME) && path.includes(`/${below}/`) && path.includes(".p/")) archive.files.delete(path);
    }
    await write(2);
    expect(await sealAll()).toMatchObject({ failed: 0 });
    expect((await client.query("select kind from audit.findings")).rows).toEqual([{ kind: "archive_damaged" }]);
    await sealToTheEnd();
    readArchive(archive, keys);
  });
});

describe("a database that was put back to an earlier moment", () => {
  test.each([[200, 100, 30], [200, 100, 300], [30, 300, 500], [1, 300, 20]])(
    "after %i entries, while %i more were sealed, signs nothing when %i others follow",
    async (before, lost, others) => {
      await write(before);
      await sealToTheEnd();
      await client.end();
      await database.end();
      const older = await createDatabase(db.name as "application"); // a copy of it as it is now
      client = await db.connect();
      database = jobDatabase(db.url());
      deps = { database, archive, keys };
      await write(lost);
      await sealToTheEnd();

      const checkpoints = () => [...archive.files].filter(([path]) => path.endsWith("/checkpoint"));
      const signed = checkpoints();
      const put = await older.connect();
      const behind = jobDatabase(older.url());
      try {
        await write(others, ACME, put);
        expect(await sealAll({ database: behind })).toMatchObject({ logs: 0, failed: 1 });
        expect(checkpoints()).toEqual(signed);
        const { rows } = await put.query(
          "select organization_id, detail ->> 'problem' as problem from audit.findings where kind = 'log_broken'",
        );
        expect(rows).toEqual([{ organization_id: ACME, problem: expect.stringContaining("older than its archive") }]);
        await expectVerified(put);
      } finally {
        await behind.end();
        await older.drop();
      }
      // The one that lived on goes on.
      await write(1);
      await sealToTheEnd();
      await expectSealed();
    },
  );
});
