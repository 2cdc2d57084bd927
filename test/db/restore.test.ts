// The drill: a deployment with a history is backed up, lives on, and is lost. What is restored from archive and backup
// verifies like what was lost, goes on where it was, and whatever is wrong with archive, backup or target leaves nothing.
import { execFile } from "node:child_process";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { randomBytes } from "node:crypto";
import pg from "pg";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Archive } from "../../functions/_shared/archive/archive.ts";
import { parseArchiveKeys } from "../../functions/_shared/archive/bundle_encryption.ts";
import { encryptedBundles } from "../../functions/_shared/archive/encrypted_bundles.ts";
import { sealLogs } from "../../functions/audit-jobs/seal.ts";
import { restore, restoreEntries, type RestoreRequest } from "../../scripts/cli/restore/run.ts";
import { targetOf } from "../../scripts/cli/restore/source.ts";
import { runVerification } from "../../scripts/cli/verify/run.ts";
import { asUser } from "../support/acting.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified, failure } from "../support/log.ts";
import {
  ACME,
  ALICE,
  BOB,
  deploy,
  type Deployment,
  erase,
  giveHistory,
  GLOBEX,
  sourceOf,
  SYSTEM,
} from "../support/restoring.ts";
import { type JobDatabase, jobDatabase, newLogKeys, readArchive } from "../support/sealing.ts";

const QUIET = { begin: () => {}, advance: () => {} };
const WATCH = { progress: QUIET, onStep: () => {} };

let lost: Deployment;
let target: TestDatabase;
let restored: JobDatabase;
let client: pg.Client;
let folder: string;

beforeEach(async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  [lost, target] = [await deploy(), await createDatabase()];
  client = await target.connect();
  restored = jobDatabase(target.url());
  folder = await mkdtemp(join(tmpdir(), "audit-restore-"));
});
afterEach(async () => {
  vi.restoreAllMocks();
  await restored.end();
  await target.drop();
  await lost.drop();
  await rm(folder, { recursive: true, force: true });
});

async function attempt(over: Partial<RestoreRequest> = {}) {
  return await restore({
    archive: sourceOf(lost.archive),
    database: target.url(),
    keys: lost.keys.vkeys,
    backupFiles: [],
    backupKeys: lost.backupKey,
    threads: 0,
    ...over,
  }, WATCH);
}

async function rebuild(over: Partial<RestoreRequest> = {}) {
  const { verification, restored } = await attempt(over);
  expect(verification.findings).toEqual([]);
  return restored!;
}

/** The rows of a query, as JSON: the same question to both. */
async function rows(of: pg.Client, query: string): Promise<unknown[]> {
  const { rows } = await of.query(`select to_jsonb(q) as row from (${query}) q`);
  return rows.map(({ row }) => row);
}

async function same(query: string): Promise<unknown[]> {
  const [before, after] = [await rows(lost.client, query), await rows(client, query)];
  expect(after).toEqual(before);
  return before;
}

const number = async (query: string, of = client): Promise<number> =>
  Number(Object.values((await of.query(query)).rows[0])[0]);

/** Nothing but what installing has left. */
async function expectUntouched(): Promise<void> {
  expect(await number("select count(*) from public.audit_logs where action not like 'capture.%'")).toBe(0);
  expect(await number("select count(*) from audit.logs")).toBe(0);
  expect(await number("select count(*) from audit.restores")).toBe(0);
  expect(await number("select count(*) from audit.identities")).toBe(0);
  await expectVerified(client);
}

/** Every log of the archive as the verifier sees it, and that it continues these checkpoints. */
async function verifyArchive(checkpoints: Map<string, Uint8Array> = new Map()) {
  const oldFiles = await Promise.all([...checkpoints].map(async ([path, note]) => {
    const file = join(folder, path.replaceAll("/", "_"));
    await writeFile(file, note);
    return file;
  }));
  const target = await targetOf(sourceOf(lost.archive));
  return await runVerification({ target, keys: lost.keys.vkeys, oldFiles, threads: 0 }, QUIET);
}

function checkpointsOf({ files }: { files: Map<string, Uint8Array> }): Map<string, Uint8Array> {
  return new Map(
    [...files].filter(([path]) => path.endsWith("/checkpoint")).map(([path, note]) => [path, note.slice()]),
  );
}

async function sealRestored() {
  for (let more = true; more;) {
    const result = await sealLogs({ database: restored, archive: lost.archive, keys: lost.keys }, { dueNow: true });
    expect(result.failed).toBe(0);
    more = result.more;
  }
}

const SEALED = `
  select a.organization_id, a.chain, a.seq, encode(a.hash, 'hex') as hash, p - array['checkpoint', 'size', 'anchored'] as place
  from public.audit_logs a cross join lateral audit.place_in_log(a.organization_id, a.chain, a.seq) p
  where p is not null order by 1, 2, 3`;

describe("the drill", () => {
  test("lost after a backup: everything sealed, and everything of the backup, is back and goes on", {
    timeout: 180_000,
  }, async () => {
    await giveHistory(lost);
    await lost.client.query(
      'select audit.register_receivers(array[\'webhook\'], \'[{"kind": "webhook", "name": "w", "all_logs": true}]\')',
    );
    await lost.write(BOB, 7); // waits to be sealed
    const { made } = await lost.backup();
    // It lives on.
    const erased = await erase(lost.client, ACME, ALICE);
    expect(erased.length).toBeGreaterThan(0);
    await lost.write(BOB, 20);
    await lost.seal();
    await lost.client.query("select audit.anchor_checkpoints()");
    await lost.seal();
    const sealed = await rows(lost.client, SEALED);
    const before = checkpointsOf(lost.archive);
    // This nobody will see again.
    const written = await number("select count(*) from public.audit_logs", lost.client);
    await lost.write(BOB, 3);

    const result = await rebuild({ backupFiles: await lost.files(made!) });
    expect(result).toMatchObject({
      incarnation: 2,
      lost: [],
      erased: 1,
      missingTables: [],
      membership: true,
      broken: [],
    });
    expect(result.newerBackup).toBeUndefined();

    // Every entry that was sealed, at its place, with its hash.
    expect((await rows(client, SEALED)).length).toBe(sealed.length);
    expect(await rows(client, SEALED)).toEqual(sealed);
    await same(`select audit.entry_text(a) as entry from public.audit_logs a where exists (
         select from audit.place_in_log(a.organization_id, a.chain, a.seq) p where p is not null) order by 1`);
    expect(result.entries).toBe(written);
    const chains = await expectVerified(client);
    expect(chains.length).toBeGreaterThan(4);
    const logs = await rows(client, "select organization_id, origin, size, status from audit.verify_logs()");
    expect(logs.length).toBe(7); // two months of three organisations, and the anchor log
    expect(logs.filter((log) => !["verified", "partial"].includes((log as { status: string }).status))).toEqual([]);
    await same("select origin, size, published, sequenced, closed_at is null as open from audit.logs order by 1");
    await same(
      "select l.origin, c.size, c.root, c.frontier, c.note from audit.logs l join audit.checkpoints c on c.log = l.id and c.size = l.size order by 1",
    );
    await same("select e.index, e.entry from audit.anchor_entries e order by 1");

    // What only the backup had.
    for (
      const query of [
        "select organization_id, name, value from audit.settings order by 1, 2",
        "select * from audit.auditors order by 1, 2",
        "select * from audit.retention_periods order by 1",
        "select * from audit.holds order by 1",
        "select * from audit.chain_bounds order by 1, 2",
        "select kind, name, all_logs from audit.receivers order by 1, 2",
        "select * from audit.identities order by identity_hash",
        "select * from audit.personal_values order by value_hash",
      ]
    ) expect((await same(query)).length, query).toBeGreaterThan(0);
    // Whom the log says was erased stays erased; nobody else is.
    expect(await number(`select count(*) from audit.identities where user_id = '${ALICE}'`)).toBe(0);
    expect(await number(`select count(*) from audit.identities where user_id = '${BOB}'`)).toBeGreaterThan(0);

    // It says so, to everybody.
    const said = await rows(
      client,
      "select organization_id, details - 'database_role' as details from public.audit_logs where action = 'log.restored' order by 1",
    ) as { organization_id: string; details: Record<string, unknown> }[];
    expect(said.map(({ organization_id }) => organization_id)).toEqual([SYSTEM, ACME, GLOBEX]);
    expect(said[1]!.details).toMatchObject({
      incarnation: 2,
      lost: [],
      backup: { sha256: expect.stringMatching(/^[0-9a-f]{64}$/) },
      checkpoint: { origin: expect.stringContaining(ACME), size: expect.any(Number) },
    });
    expect(await number("select audit.incarnation()")).toBe(2);
    await client.query("select audit.index_entries(100000)");
    expect(await number("select count(*) from audit.search_index")).toBeGreaterThan(0);

    // It goes on: captured, sealed, and every checkpoint of before is the beginning of what is now.
    await client.query(
      "insert into public.budgets (organization_id, name) select $1, 'N' || n from generate_series(1, 300) n",
      [ACME],
    );
    await sealRestored();
    await client.query("select audit.anchor_checkpoints()");
    await sealRestored();
    await expectVerified(client);
    expect(await rows(client, "select origin from audit.verify_logs() where status = 'broken'")).toEqual([]);
    const verdict = await verifyArchive(before);
    expect(verdict.findings).toEqual([]);
    expect(verdict.verified).toBe(true);
    readArchive(lost.archive, lost.keys);
    expect(checkpointsOf(lost.archive)).not.toEqual(before);
  });

  test("lost at once after a backup: what waited to be sealed is sealed in its new life", async () => {
    await giveHistory(lost);
    await lost.write(ALICE, 30);
    const { made } = await lost.backup();
    const result = await rebuild({ backupFiles: await lost.files(made!) });
    expect(result.unsealed).toBeGreaterThanOrEqual(30);
    await same(
      "select audit.entry_text(a) as entry from public.audit_logs a where action not in ('backup.made', 'log.restored') and action not like 'capture.%' order by 1",
    );
    await sealRestored();
    await expectVerified(client);
    expect((await verifyArchive()).findings).toEqual([]);
  });

  test("lost before anything was sealed, and with entries that are known to be missing", async () => {
    await lost.write(ALICE, 10);
    const { made } = await lost.backup();
    const result = await rebuild({ backupFiles: await lost.files(made!) });
    expect(result).toMatchObject({ logs: 0, lost: [] });
    await same("select * from audit.identities order by identity_hash");
    await sealRestored();
    expect((await verifyArchive()).findings).toEqual([]);
  });

  test("from the archive alone: every sealed entry, and what heartbeats knew of beyond is named", async () => {
    await giveHistory(lost);
    await lost.write(BOB, 5);
    // A heartbeat is sealed, and what it saw is not.
    const { rows: [head] } = await lost.client.query(
      `select chain, seq from audit.heads where organization_id = '${ACME}' and chain < 900000 order by last_at desc limit 1`,
    );
    await lost.admin.query(
      "update audit.heads set last_at = last_at - interval '61 minutes' where chain = audit.log_chain() and organization_id = $1",
      [ACME],
    );
    const { rows: [{ beat }] } = await lost.client.query("select audit.beat($1), 1 as beat", [ACME]);
    expect(beat).toBe(1);
    await lost.admin.query("update audit.heads set seq = seq - 5 where organization_id = $1 and chain = $2", [
      ACME,
      head.chain,
    ]);
    await lost.seal();
    const result = await rebuild();
    expect(result.lost).toEqual([{
      organizationId: ACME,
      chains: [[head.chain, Number(head.seq) - 4, Number(head.seq)]],
    }]);
    expect(result).toMatchObject({ membership: false, unsealed: 0 });
    // Without the backup nobody knows what was purged: all that the archive has is back.
    const there = new Set((await rows(client, SEALED)).map((row) => JSON.stringify(row)));
    const sealed = await rows(lost.client, SEALED);
    expect(sealed.filter((row) => !there.has(JSON.stringify(row)))).toEqual([]);
    // How many that were depends on the hour: a purge goes by whole days.
    const { rows: [{ purged }] } = await lost.client.query("select sum(seq)::int as purged from audit.chain_bounds");
    expect(purged).toBeGreaterThan(400);
    expect(there.size).toBe(sealed.length + purged);
    await expectVerified(client);
    const { rows: [{ details }] } = await client.query(
      "select details from public.audit_logs where action = 'log.restored' and organization_id = $1",
      [ACME],
    );
    expect(details.lost).toEqual([[head.chain, Number(head.seq) - 4, Number(head.seq)]]);
    expect(details.backup).toBeNull();
  });

  test("twice: the second life is lost too", { timeout: 120_000 }, async () => {
    await giveHistory(lost);
    const first = await lost.backup();
    await rebuild({ backupFiles: await lost.files(first.made!) });
    await client.query("insert into public.budgets (organization_id, name) values ($1, 'second life')", [ACME]);
    await sealRestored();
    const second = await lost.backup({ database: restored });
    const third = await createDatabase();
    try {
      const again = await rebuild({ backupFiles: await lost.files(second.made!), database: third.url() });
      expect(again.incarnation).toBe(3);
      const there = await third.connect();
      await expectVerified(there);
      expect(await number("select audit.incarnation()", there)).toBe(3);
      // Without the backup, the log itself tells how many lives it had.
      const fourth = await createDatabase();
      await rebuild({ database: fourth.url() }).then(({ incarnation }) => expect(incarnation).toBe(3));
      await fourth.drop();
    } finally {
      await third.drop();
    }
  });
});

describe("what was signed stays signed", () => {
  test("an archive whose checkpoint was put back is continued from the newest, which the backup has", async () => {
    await giveHistory(lost);
    const older = checkpointsOf(lost.archive);
    await lost.write(BOB, 300);
    await lost.seal();
    const { made } = await lost.backup();
    const newest = checkpointsOf(lost.archive);
    for (const [path, note] of older) lost.archive.files.set(path, note);
    await rebuild({ backupFiles: await lost.files(made!) });
    await client.query("insert into public.budgets (organization_id, name) values ($1, 'x')", [ACME]);
    await sealRestored();
    const verdict = await verifyArchive(newest);
    expect(verdict.findings).toEqual([]);
  });

  test("an archive that is behind a checkpoint kept elsewhere is refused", async () => {
    await giveHistory(lost);
    const { made } = await lost.backup();
    const copy = new Map([...lost.archive.files].map(([path, bytes]) => [path, bytes.slice()]));
    await lost.write(BOB, 3);
    await lost.seal();
    const path = [...checkpointsOf(lost.archive).keys()].filter((each) => each.startsWith(ACME)).sort().at(-1)!;
    const old = join(folder, "kept");
    await writeFile(old, lost.archive.files.get(path)!);
    const outcome = await attempt({
      archive: sourceOf({ ...lost.archive, files: copy }),
      backupFiles: await lost.files(made!),
      oldFiles: [old],
    });
    expect(outcome.restored).toBeUndefined();
    expect(outcome.verification.findings.map(({ code }) => code)).toContain("rolled_back");
    await expectUntouched();
  });

  test("a log that was signed twice is refused: the backup remembers the other history", async () => {
    await giveHistory(lost);
    const fork = new Map([...lost.archive.files].map(([path, bytes]) => [path, bytes.slice()]));
    await lost.write(BOB, 3);
    await lost.seal();
    const { made } = await lost.backup();
    // The same sizes again, of other entries, by whoever has the key.
    const other = await deploy();
    try {
      const first = await lost.files(made!);
      expect(fork.size).toBeGreaterThan(10);
      await giveHistory({
        ...other,
        seal: async () => {
          for (let more = true; more;) {
            more =
              (await sealLogs({ database: other.database, archive: other.archive, keys: lost.keys }, { dueNow: true }))
                .more;
          }
        },
      });
      const { message } = await failure(
        attempt({ archive: sourceOf(other.archive), backupFiles: first }).then((outcome) => {
          if (outcome.restored === undefined) {
            throw new Error(outcome.verification.findings.map(({ code }) => code).join(" "));
          }
        }),
      );
      expect(message).toMatch(/history|histories|missing_bundle|missing_tile|changed|mismatch/);
      await expectUntouched();
    } finally {
      await other.drop();
    }
  });
});

describe("attacked", () => {
  let backupFiles: string[];
  let bytes: Uint8Array;
  beforeEach(async () => {
    await giveHistory(lost);
    const { made } = await lost.backup();
    backupFiles = await lost.files(made!);
    bytes = lost.storage.files.get(`backups/${made}.1`)!;
  });

  async function withBackup(changed: Uint8Array): Promise<string> {
    const file = join(folder, "backup");
    await writeFile(file, changed);
    return file;
  }

  test("a backup that is cut, changed, empty, of another key, or no backup: nothing is written", async () => {
    const flipped = bytes.slice();
    flipped[bytes.length >> 1]! ^= 1;
    const cases: [Uint8Array, string, string?][] = [
      [bytes.subarray(0, bytes.length - 1), "damaged"],
      [bytes.subarray(0, 46), "cut"],
      [bytes.subarray(0, 20), "cut"],
      [new Uint8Array(), "not_a_backup"],
      [new TextEncoder().encode("SQLite format 3"), "not_a_backup"],
      [flipped, "damaged"],
      [bytes, "unknown_key", randomBytes(32).toString("base64")],
    ];
    for (const [changed, code, key = lost.backupKey] of cases) {
      const { code: said } = await failure(attempt({ backupFiles: [await withBackup(changed)], backupKeys: key }));
      expect(said).toBe(code);
    }
    await expectUntouched();
  });

  test.each([["a bundle is missing", (path: string) => /entries\/000$/.test(path), () => undefined], [
    "a byte of an entry is another",
    (path: string) => /entries\/000$/.test(path),
    (old: Uint8Array) => {
      const changed = old.slice();
      changed[1000]! ^= 1;
      return changed;
    },
  ], [
    "a checkpoint is missing",
    (path: string) => path.startsWith(ACME) && path.endsWith("checkpoint"),
    () => undefined,
  ], [
    "a checkpoint is of another key",
    (path: string) => path.startsWith(ACME) && path.endsWith("checkpoint"),
    (old: Uint8Array) => {
      const changed = old.slice();
      changed[changed.length - 20] = changed[changed.length - 20] === 65 ? 66 : 65; // still base64
      return changed;
    },
  ]])("an archive where %s is refused, and nothing is written", async (_, isIt, change) => {
    const path = [...lost.archive.files.keys()].find(isIt)!;
    const changed = change(lost.archive.files.get(path)!);
    if (changed === undefined) lost.archive.files.delete(path);
    else lost.archive.files.set(path, changed);
    const outcome = await attempt({ backupFiles }).catch((error) => ({ restored: undefined, verification: error }));
    expect(outcome.restored).toBeUndefined();
    await expectUntouched();
    // Nor with all doubts set aside: an entry that is not the one that was signed is not restored.
    await expect(attempt({ backupFiles, despiteFindings: true })).rejects.toThrow();
    await expectUntouched();
  });

  test("an archive of another deployment's key is refused", async () => {
    const outcome = await attempt({ backupFiles, keys: newLogKeys("test.example/audit").vkeys });
    expect(outcome.restored).toBeUndefined();
    await expectUntouched();
  });

  test("a target that has entries, or logs, is refused; a second restore too", async () => {
    await client.query("insert into public.budgets (organization_id, name) values ($1, 'x')", [ACME]);
    expect(await failure(attempt({ backupFiles }))).toMatchObject({ code: "AURST" });
    expect(await number("select count(*) from audit.restores")).toBe(0);
    const clean = await createDatabase();
    try {
      await rebuild({ backupFiles, database: clean.url() });
      expect(await failure(attempt({ backupFiles, database: clean.url() }))).toMatchObject({ code: "AURST" });
      const there = await clean.connect();
      await expectVerified(there);
      expect(await number("select count(*) from audit.restores", there)).toBe(1);
    } finally {
      await clean.drop();
    }
  });

  test("killed at any moment it leaves nothing, and the next one succeeds", { timeout: 180_000 }, async () => {
    const killer = await target.connect();
    let kills = 0;
    for (let statement = 1; statement <= 40; statement += 3) {
      let steps = 0;
      const query = pg.Client.prototype.query;
      const spy = vi.spyOn(pg.Client.prototype, "query").mockImplementation(
        function (this: pg.Client, ...given: unknown[]) {
          const isRestore =
            (this as unknown as { connectionParameters: { application_name?: string } }).connectionParameters
              .application_name === "audit-restore";
          const answer = (query as (...values: unknown[]) => unknown).apply(this, given);
          if (!isRestore || ++steps !== statement) return answer as never;
          kills++;
          const pid = (this as unknown as { processID: number }).processID;
          return Promise.resolve(answer).then(async () => {
            await (query as (...values: unknown[]) => unknown).apply(killer, ["select pg_terminate_backend($1)", [
              pid,
            ]]);
            throw new Error("killed");
          }) as never;
        },
      );
      const outcome = await attempt({ backupFiles }).then(() => "restored", (error: Error) => error.message);
      spy.mockRestore();
      if (outcome === "restored") break;
      expect(outcome).toMatch(/killed|terminat/i);
      await vi.waitFor(expectUntouched);
    }
    expect(kills).toBeGreaterThan(5);
    expect(
      await number("select count(*) from audit.restores") === 1 || (await rebuild({ backupFiles })).incarnation === 2,
    ).toBe(true);
    await expectVerified(client);
  });

  test("writers wait until all of it is there, and go on behind it", async () => {
    const writer = await target.connect();
    await client.query("begin");
    await client.query("select audit.begin_restore()");
    let written = false;
    const writing = writer.query("insert into public.budgets (organization_id, name) values ($1, 'x')", [ACME]).then(
      () => written = true,
    );
    await new Promise((resolve) => setTimeout(resolve, 200));
    expect(written).toBe(false);
    await client.query("rollback");
    await writing;
  });

  test("the older of two backups is restored with a word on the newer", async () => {
    const { made } = await lost.backup();
    await lost.seal();
    expect((await rebuild({ backupFiles })).newerBackup).toBe(made);
  });
});

describe("special archives", () => {
  test("one whose bundles are encrypted, with its key and not without", async () => {
    const key = randomBytes(32).toString("base64");
    const plain = lost.archive;
    const sealed = encryptedBundles(plain, parseArchiveKeys(key));
    lost.seal = async () => {
      for (let more = true; more;) {
        more = (await sealLogs({ ...lost, archive: sealed }, { dueNow: true })).more;
      }
    };
    await giveHistory(lost);
    const { made } = await lost.backup();
    const backupFiles = await lost.files(made!);
    const { restored: none } = await attempt({ backupFiles });
    expect(none).toBeUndefined();
    await expectUntouched();
    const { restored: all, verification } = await attempt({ backupFiles, archiveKeys: key });
    expect(verification.findings).toEqual([]);
    expect(all).toMatchObject({ broken: [] });
    await expectVerified(client);
  });

  test("one of which a month has expired: only where log or backup say so", async () => {
    await giveHistory(lost);
    const first = await lost.backup();
    const folder = `${GLOBEX}/${
      [...lost.archive.files.keys()].filter((path) => path.startsWith(GLOBEX)).sort()[0]!.split("/")[1]
    }`;
    const { rows: [{ id }] } = await lost.client.query(
      "select id from audit.logs where organization_id = $1 order by month limit 1",
      [GLOBEX],
    );
    const remove = () => {
      for (const path of lost.archive.files.keys()) {
        if (path.startsWith(`${folder}/`) && !path.endsWith("/checkpoint")) lost.archive.files.delete(path);
      }
    };
    // Somebody took the files away.
    const before = new Map(lost.archive.files);
    remove();
    const refused = await lost.files(first.made!).then((backupFiles) => attempt({ backupFiles })).catch(() =>
      undefined
    );
    expect(refused?.restored).toBeUndefined();
    await expectUntouched();
    // They expired: all of the month was purged, and its files were deleted as the product does it.
    for (const [path, bytes] of before) lost.archive.files.set(path, bytes);
    await lost.client.query("select audit.release_hold($1, 'Case 1')", [GLOBEX]);
    await lost.client.query("update audit.logs set read_back = size");
    await lost.admin.query(
      `update audit.retention_periods set database_days = 90, archive_days = 90, effective_at = now() where organization_id = '${GLOBEX}'`,
    );
    await lost.admin.query("alter table public.audit_logs disable trigger user");
    await lost.admin.query(
      `with gone as (
         delete from public.audit_logs a using audit.log_ranges r
         where r.log = $1 and a.organization_id = r.organization_id and a.chain = r.chain and a.seq between r.from_seq and r.to_seq
         returning a.*
       )
       insert into audit.chain_bounds as b (organization_id, chain, seq, hash, created_at)
       select distinct on (organization_id, chain) organization_id, chain, seq, hash, created_at from gone order by organization_id, chain, seq desc
       on conflict on constraint chain_bounds_pkey do update set
         seq = excluded.seq, hash = excluded.hash, created_at = excluded.created_at, stated_chain = null, stated_seq = null, stated_at = null`,
      [id],
    );
    await lost.admin.query("alter table public.audit_logs enable always trigger refuse_update_delete");
    await lost.admin.query(
      "insert into audit.purges (organization_id, before, done, entries) values ($1, now(), true, 12) on conflict (organization_id) do nothing",
      [GLOBEX],
    );
    await lost.admin.query("select audit.state_purge($1)", [GLOBEX]);
    await lost.client.query("update audit.logs set archive_deletion_began_at = now() where id = $1", [id]);
    await lost.client.query("select audit.record_archive_deleted($1)", [id]);
    remove();
    await lost.seal();
    // The backup of before knows nothing of it; the log does.
    const result = await rebuild({ backupFiles: await lost.files(first.made!) });
    expect(result.broken).toEqual([]);
    await same(
      "select origin, size, published, archive_deleted_at is not null as deleted from audit.logs where month is not null order by 1",
    );
    await same(
      `select organization_id, chain, seq, hash from audit.chain_bounds where organization_id = '${GLOBEX}' order by 2`,
    );
    await expectVerified(client);
    await sealRestored();
    expect((await verifyArchive()).findings).toEqual([]);
  });

  test("one with a gap that somebody had made before it was sealed: only if it is wanted all the same", async () => {
    await lost.write(BOB, 20);
    const { rows: [{ chain, seq }] } = await lost.client.query(
      "select chain, seq from public.audit_logs where action = 'budget.created' order by seq offset 10 limit 1",
    );
    await lost.admin.query("alter table public.audit_logs disable trigger user");
    await lost.admin.query("delete from public.audit_logs where organization_id = $1 and chain = $2 and seq = $3", [
      ACME,
      chain,
      seq,
    ]);
    await lost.admin.query("alter table public.audit_logs enable always trigger refuse_update_delete");
    await lost.seal();
    const { made } = await lost.backup();
    const backupFiles = await lost.files(made!);
    expect((await attempt({ backupFiles })).restored).toBeUndefined();
    await expectUntouched();
    const { restored } = await attempt({ backupFiles, despiteFindings: true });
    expect(restored!.broken).toEqual([`${ACME} chain ${chain}: gap`, expect.stringContaining("entries_skipped")]);
    expect(await rows(client, SEALED)).toEqual(await rows(lost.client, SEALED));
  });
});

describe("the program", () => {
  const run = (...args: string[]) =>
    promisify(execFile)("npx", ["tsx", "scripts/cli/restore.ts", ...args], {
      env: { ...process.env, AUDIT_BACKUP_KEY: lost.backupKey, NODE_OPTIONS: "" },
    }).then(
      ({ stdout }) => ({ code: 0, stdout, stderr: "" }),
      (error) => error as { code: number; stdout: string; stderr: string },
    );

  test("restores from a folder, and says with its exit code what became of it", async () => {
    await giveHistory(lost);
    const { made } = await lost.backup();
    for (const [path, bytes] of lost.archive.files) {
      await mkdir(join(folder, "archive", dirname(path)), { recursive: true });
      await writeFile(join(folder, "archive", path), bytes);
    }
    const common = ["--archive", join(folder, "archive"), "--database", target.url(), "--key", lost.keys.vkeys[0]!];
    const backup = (await lost.files(made!)).flatMap((file) => ["--backup", file]);
    expect(await run(...common)).toMatchObject({ code: 2, stderr: expect.stringContaining("--without-backup") });
    expect(await run("--archive", join(folder, "nothing"), ...common.slice(2), ...backup)).toMatchObject({ code: 2 });
    expect(await run(...common, ...backup, "--entries", ACME)).toMatchObject({ code: 2 });
    const other = newLogKeys().vkeys[0]!;
    expect(await run(...common.slice(0, 4), "--key", other, ...backup)).toMatchObject({
      code: 1,
      stdout: expect.stringContaining("Nothing was written"),
    });
    await expectUntouched();
    const done = await run(...common, ...backup);
    expect(done).toMatchObject({ code: 0, stdout: expect.stringContaining("RESTORED") });
    expect(done.stdout).not.toContain(lost.backupKey);
    await expectVerified(client);
    expect(await run(...common, ...backup)).toMatchObject({ code: 1, stderr: expect.stringContaining("not empty") });
    const entries = await run(...common, "--entries", ACME, "--from", "2001-01-01", "--to", "2100-01-01", "--json");
    expect(entries.code).toBe(0);
    expect(JSON.parse(entries.stdout).restored).toMatchObject({ table: "audit.restored_entries" });
  });
});

describe("entries that were purged", () => {
  beforeEach(() => giveHistory(lost));

  const period = (over: Partial<Parameters<typeof restoreEntries>[0]> = {}) =>
    restoreEntries({
      archive: sourceOf(lost.archive),
      database: lost.db.url(),
      keys: lost.keys.vkeys,
      threads: 0,
      organizationId: ACME,
      from: new Date(Date.now() - 250 * 86_400_000),
      to: new Date(Date.now() - 150 * 86_400_000),
      into: "audit.restored_entries",
      ...over,
    }, WATCH);

  test("come back into a table of their own, for those who read all of the log", async () => {
    expect(
      await number(
        "select count(*) from public.audit_logs where created_at < now() - interval '150 days'",
        lost.client,
      ),
    ).toBe(0);
    const { restored: result } = await period();
    expect(result).toEqual({ table: "audit.restored_entries", found: 200, added: 200 });
    expect((await period()).restored).toMatchObject({ found: 200, added: 0 });
    const count = () =>
      lost.client.query("select count(*)::int as n from audit.restored_entries").then(({ rows }) => rows[0].n);
    expect(await asUser(lost.client, { sub: ALICE }, count)).toBe(200);
    expect(await asUser(lost.client, { sub: "c0000000-0000-4000-8000-000000000009" }, count)).toBe(0);
    expect(
      await number(
        "select count(*) from audit.restored_entries e where e.hash = audit.hash_of(audit.entry_text(e.organization_id, e.chain, e.seq, e.created_at, e.action, e.outcome, e.resource_type, e.resource_id, e.created_by, e.actor_type, e.identity_hash, e.provider, e.cost, e.request_id, e.details, e.prev_hash))",
        lost.client,
      ),
    ).toBe(200);
    await expectVerified(lost.client);
    await lost.client.query("drop table audit.restored_entries");
  });

  test("not from an archive that does not verify, not into another table, not for an organisation that is not there", async () => {
    expect(await failure(period({ into: "public.budgets" }))).toMatchObject({ code: "AUARG" });
    expect((await failure(period({ organizationId: "0c000000-0000-4000-8000-000000000003" }))).message).toMatch(
      /no log/,
    );
    const path = [...lost.archive.files.keys()].find((each) => each.startsWith(ACME) && /entries\/000$/.test(each))!;
    lost.archive.files.get(path)![500]! ^= 1;
    expect((await period()).restored).toBeUndefined();
    expect(await number("select count(*) from pg_class where relname = 'restored_entries'", lost.client)).toBe(0);
  });
});

describe("backups", () => {
  test("of two at once one is made", async () => {
    await lost.write(ALICE, 3);
    const made = await Promise.all([lost.backup(), lost.backup(), lost.backup()]);
    expect(made.filter(({ made }) => made !== null).length).toBeGreaterThan(0);
    expect(await number("select count(*) from audit.backups", lost.client)).toBe(
      made.filter(({ made }) => made !== null).length,
    );
  });

  test("storage that stores other bytes, or none, is a finding, and nothing counts", async () => {
    const broken: Archive[] = [{ ...lost.storage, put: () => Promise.reject(new Error("down")) }, {
      ...lost.storage,
      get: () => Promise.resolve(null),
    }, { ...lost.storage, get: () => Promise.resolve(new Uint8Array(100)) }];
    for (const storage of broken) {
      await expect(lost.backup({ storage })).rejects.toThrow();
      // Its connection is closed by the one side; until the other has noticed, the run has its lock.
      await expect.poll(() =>
        number(
          `select count(*) from pg_locks l join pg_database d on d.oid = l.database
           where l.locktype = 'advisory' and d.datname = current_database()
             and (l.classid::bigint << 32 | l.objid::bigint) = hashtext('audit.backup')`,
          lost.client,
        ), { timeout: 10_000 }).toBe(0);
    }
    expect(await number("select count(*) from audit.backups", lost.client)).toBe(0);
    expect(await rows(lost.client, "select kind, seen, resolved_at is null as open from audit.findings")).toEqual([{
      kind: "backup_failed",
      seen: 3,
      open: true,
    }]);
    await lost.backup();
    expect(await number("select count(*) from audit.findings where resolved_at is null", lost.client)).toBe(0);
  });

  test("older ones go when their time is over, the newest never, and what was never counted goes too", async () => {
    await lost.write(ALICE, 3);
    const first = await lost.backup();
    const stored = [...lost.storage.files.values()][0]!;
    for (const name of ["2001-01-01T00-00-00-000000Z.1", "2001-01-01T00-00-00-000000Z.2", "something-else"]) {
      lost.storage.files.set(`backups/${name}`, stored);
    }
    const second = await lost.backup();
    expect(second.deleted).toEqual(["2001-01-01T00-00-00-000000Z"]);
    expect([...lost.storage.files.keys()].sort()).toEqual(
      [`backups/${first.made}.1`, `backups/${second.made}.1`, "backups/something-else"].sort(),
    );
    await lost.client.query("select audit.configure('backup_days', '0')");
    expect(await lost.backup()).toEqual({ made: null, bytes: 0, deleted: [] });
  });
});
