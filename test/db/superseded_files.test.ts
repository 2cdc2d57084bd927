// Partial files that a full one replaced are removed: never before the full ones were read back and right, and so that
// every checkpoint that was ever published is still proved by what is left.
import type pg from "pg";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { tilesOf } from "../../functions/_shared/archive/tiles.ts";
import type { LogKeys } from "../../functions/_shared/log_keys.ts";
import { treeAt } from "../../functions/_shared/tlog/prove.ts";
import { formatHex } from "../../functions/_shared/tlog/text.ts";
import { expireArchives, type ExpireDeps } from "../../functions/audit-jobs/expire.ts";
import { readBack } from "../../functions/audit-jobs/read_back.ts";
import { sealLogs } from "../../functions/audit-jobs/seal.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import {
  type JobDatabase,
  jobDatabase,
  type MemoryArchive,
  memoryArchive,
  newLogKeys,
  readArchive,
} from "../support/sealing.ts";

const ACME = "0a000000-0000-4000-8000-000000000001";
const LOG = `${ACME}/${new Date().toISOString().slice(0, 7)}`;
/** Checkpoints on both sides of full bundles, and on them. */
const SIZES = [2, 3, 200, 255, 256, 257, 400, 512, 513, 700, 1024];

let db: TestDatabase;
let client: pg.Client;
let database: JobDatabase;
let archive: MemoryArchive;
let keys: LogKeys;

beforeEach(async () => {
  db = await createDatabase();
  client = await db.connect();
  database = jobDatabase(db.url());
  archive = memoryArchive();
  keys = newLogKeys();
  await client.query("insert into public.organizations (id, name) values ($1, 'Acme')", [ACME]);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await database.end();
  await db.drop();
});

async function sealLogOf(size: number): Promise<void> {
  const { rows: [log] } = await client.query("select published::int from audit.logs where organization_id = $1", [
    ACME,
  ]);
  await client.query(
    "insert into public.budgets (organization_id, name) select $1, 'B' || n from generate_series(1, $2::int) n",
    [ACME, size - (log?.published ?? 1) - (log === undefined ? 1 : 0)],
  );
  while ((await sealLogs({ database, archive, keys }, { dueNow: true })).more);
  await client.query("select audit.anchor_checkpoints()");
  while ((await sealLogs({ database, archive, keys }, { dueNow: true })).more);
}

async function readAll(): Promise<number> {
  for (let found = 0;;) {
    const result = await readBack({ database, archive, keys }, { patience: "0" });
    found += result.found;
    if (!result.more) return found;
  }
}

const age = (interval: string) =>
  client.query("update audit.checkpoints set published_at = published_at - $1::interval", [interval]);

const expire = (over: Partial<ExpireDeps["archive"]> = {}) =>
  expireArchives({ database, archive: { ...archive, ...over }, exported: memoryArchive() });

const partials = () => [...archive.files.keys()].filter((path) => /\.p\/\d+$/.test(path)).sort();
const full = (path: string) => path.replace(/\.p\/\d+$/, "");
const superseded = () => partials().filter((path) => archive.files.has(full(path)));

/** Every root that was ever signed, out of the files that are there. */
async function expectProved(): Promise<void> {
  readArchive(archive, keys);
  const { rows } = await client.query(
    "select c.size::int, encode(c.root, 'hex') as root from audit.checkpoints c join audit.logs l on l.id = c.log where l.organization_id = $1",
    [ACME],
  );
  expect(rows.length).toBeGreaterThanOrEqual(SIZES.length);
  for (const { size, root } of rows) {
    expect(formatHex((await treeAt(size, size, tilesOf(archive, LOG))).root)).toBe(root);
  }
}

test("they go an hour after the full ones were there and right, and every checkpoint is still proved", async () => {
  for (const size of SIZES) await sealLogOf(size);
  const before = superseded();
  expect(before.length).toBeGreaterThan(10);
  await age("2 hours");
  expect(await expire()).toMatchObject({ trimmed: 0, files: 0, failed: 0 });

  expect(await readAll()).toBe(0);
  await age("-90 minutes");
  expect(await expire(), "readers may still have the checkpoint before").toMatchObject({ trimmed: 0, files: 0 });
  await age("90 minutes");
  const others = [...archive.files.keys()].filter((path) => !before.includes(path)).sort();
  expect(await expire()).toMatchObject({ trimmed: 1, files: before.length, failed: 0, more: false });
  expect([...archive.files.keys()].sort()).toEqual(others);
  expect(superseded()).toEqual([]);
  await expectProved();
  expect(await expire()).toMatchObject({ trimmed: 0, files: 0 });

  // It goes on, and what is partial now goes later.
  for (const size of [1100, 1300, 1301]) await sealLogOf(size);
  await client.query("update audit.readings set begun_at = begun_at - interval '8 days', next_at = '-infinity'");
  await client.query("update audit.logs set opened_at = opened_at - interval '8 days'");
  expect(await readAll()).toBe(0);
  await age("2 hours");
  expect(await expire()).toMatchObject({ trimmed: 1, failed: 0 });
  expect(superseded()).toEqual([]);
  await expectProved();
  expect((await client.query("select kind from audit.findings")).rows).toEqual([]);
});

test("a full file that is damaged keeps the partial ones before it", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  for (const size of SIZES) await sealLogOf(size);
  archive.files.set(`${LOG}/tile/entries/001`, archive.files.get(`${LOG}/tile/entries/000`)!);
  // Nor can it be made again, for an entry in the database was altered with it.
  const owner = await db.connect("supabase_admin");
  await owner.query("set session_replication_role = replica");
  await owner.query("alter table public.audit_logs disable trigger user");
  await owner.query(
    "update public.audit_logs set details = '{}' where (chain, seq) = (select r.chain, r.from_seq + 300 - r.start from audit.log_ranges r where r.organization_id = $1 and 300 between r.start and r.start + r.to_seq - r.from_seq)",
    [ACME],
  );
  const left = superseded().filter((path) => !/\/000\.p\//.test(path));
  expect(await readAll()).toBeGreaterThan(0);
  await age("2 hours");
  await expire();
  expect(superseded()).toEqual(expect.arrayContaining(left.filter((path) => /\/001\.p\//.test(path))));
});

test("a removal that fails, or that nobody heard of, is done again", async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  for (const size of SIZES) await sealLogOf(size);
  await readAll();
  await age("2 hours");
  for (const takesEffect of [false, true]) {
    const failing = await expire({
      async remove(paths) {
        if (takesEffect) await archive.remove(paths);
        throw new Error("lost");
      },
    });
    expect(failing).toMatchObject({ trimmed: 0, files: 0, failed: 3, more: true });
    await expectProved();
  }
  expect(await expire()).toMatchObject({ trimmed: 1, failed: 0, more: false });
  expect(superseded()).toEqual([]);
  await expectProved();
});
