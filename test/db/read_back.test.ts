// Reading the archive back, attacked: every kind of damage to every kind of object, in the database and on the way.
// Afterwards each is found by its path or its entry's name, what can be proved is repaired with the bytes that were there,
// and nothing counts as read back that is not the same in both places.
import { createHash } from "node:crypto";
import { gzipSync } from "node:zlib";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { type Archive, ArchiveError } from "../../functions/_shared/archive/archive.ts";
import { encryptedBundles } from "../../functions/_shared/archive/encrypted_bundles.ts";
import { parseArchiveKeys } from "../../functions/_shared/archive/bundle_encryption.ts";
import { readBack, type ReadBackDeps, type ReadBackResult } from "../../functions/audit-jobs/read_back.ts";
import { sealLogs } from "../../functions/audit-jobs/seal.ts";
import type { LogKeys } from "../../functions/_shared/log_keys.ts";
import { decodeBundle, encodeBundle } from "../../functions/_shared/tlog/bundle.ts";
import { formatCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import { leafHash } from "../../functions/_shared/tlog/hash.ts";
import { formatNote, signNote } from "../../functions/_shared/tlog/note.ts";
import { concatBytes, encodeText } from "../../functions/_shared/tlog/text.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { type JobDatabase, jobDatabase, memoryArchive, newLogKeys } from "../support/sealing.ts";

const ACME = "0a000000-0000-4000-8000-000000000001";
const GLOBEX = "0b000000-0000-4000-8000-000000000002";
const MONTH = new Date().toISOString().slice(0, 7);
const LOG = `${ACME}/${MONTH}`;

let db: TestDatabase;
let client: pg.Client;
let database: JobDatabase;
let files: Map<string, Uint8Array>;
let archive: Archive;
let keys: LogKeys;
let deps: ReadBackDeps;

beforeEach(async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  db = await createDatabase();
  client = await db.connect();
  database = jobDatabase(db.url());
  const memory = memoryArchive();
  files = memory.files;
  // Storage lets everything be written over.
  archive = { ...memory, put: (path, bytes) => Promise.resolve(void files.set(path, bytes.slice())) };
  keys = newLogKeys();
  deps = { database, archive, keys };
  await client.query("insert into public.organizations (id, name) values ($1, 'Acme'), ($2, 'Globex')", [ACME, GLOBEX]);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await database.end();
  await db.drop();
});

async function write(entries: number, organization = ACME): Promise<void> {
  await client.query(
    "insert into public.budgets (organization_id, name) select $1, 'B' || n from generate_series(1, $2::int) n",
    [organization, entries],
  );
}

async function seal(): Promise<void> {
  for (let more = true; more;) {
    const result = await sealLogs(deps, { dueNow: true });
    expect(result.failed).toBe(0);
    more = result.more;
  }
}

/** Entries of Acme, until its log has exactly so many. */
async function sealLogOf(size: number): Promise<void> {
  await seal();
  await write(size - await published());
  await seal();
  expect(await published()).toBe(size);
}

async function published(): Promise<number> {
  const { rows } = await client.query("select published::int from audit.logs where organization_id = $1", [ACME]);
  return rows[0]?.published ?? 0;
}

/** Reads until nothing is left to read, and sums up. */
async function readAll(over: Partial<ReadBackDeps> = {}): Promise<ReadBackResult> {
  const sum = { readings: 0, entries: 0, bytes: 0, found: 0, repaired: 0, failed: 0, more: true };
  for (let run = 0; sum.more; run++) {
    if (run === 50) throw new Error("reading back does not come to its end");
    const result = await readBack({ ...deps, ...over }, { patience: "0" });
    for (const key of ["readings", "entries", "bytes", "found", "repaired", "failed"] as const) sum[key] += result[key];
    sum.more = result.more;
    if (result.failed > 0) break;
  }
  return sum;
}

/** As if a week had passed: the next run reads every log from its start. */
async function readAgain(over: Partial<ReadBackDeps> = {}): Promise<ReadBackResult> {
  await client.query("update audit.readings set begun_at = begun_at - interval '8 days', next_at = '-infinity'");
  await client.query("update audit.logs set opened_at = opened_at - interval '8 days'");
  return await readAll(over);
}

/** Open findings, and those that were settled as "kind subject resolved". */
async function findings(): Promise<string[]> {
  const { rows } = await client.query(
    `select kind || ' ' || subject || case when resolved_at is not null then ' resolved' else '' end as finding
     from audit.findings order by id`,
  );
  return rows.map((row) => row.finding as string);
}

async function readBackTo(): Promise<number> {
  const { rows: [{ read_back }] } = await client.query(
    "select read_back::int from audit.logs where organization_id = $1",
    [ACME],
  );
  return read_back;
}

const paths = (pattern: RegExp) =>
  [...files.keys()].filter((path) =>
    path.startsWith(`${LOG}/`) && pattern.test(path) && !/\/(0|entries)\/000\.p/.test(path)
  ).sort();

/** Every object's path, and a digest of its bytes. */
function digests(): Map<string, string> {
  return new Map([...files].map(([path, bytes]) => [path, createHash("sha256").update(bytes).digest("hex")]));
}

/** By a superuser who takes the guards off. */
async function alter(statement: string, values: unknown[] = []): Promise<void> {
  const owner = await db.connect("supabase_admin");
  await owner.query("begin; set local session_replication_role = replica");
  for (
    const { member } of (await owner.query("select audit.with_children('public.audit_logs')::text as member")).rows
  ) {
    await owner.query(`alter table ${member} disable trigger user`);
  }
  await owner.query(statement, values);
  for (
    const { member } of (await owner.query("select audit.with_children('public.audit_logs')::text as member")).rows
  ) {
    await owner.query(`alter table ${member} enable always trigger refuse_update_delete`);
  }
  await owner.query("commit");
}

describe("an archive in order", () => {
  test.each([2, 255, 256, 257, 513])("of %i entries is the same", async (size) => {
    await sealLogOf(size);
    const before = digests();
    expect(await readAll()).toMatchObject({ found: 0, repaired: 0, failed: 0 });
    expect(await readBackTo()).toBe(size - size % 256);
    expect(await readAgain()).toMatchObject({ found: 0, repaired: 0, failed: 0 });
    expect(await findings()).toEqual([]);
    expect(digests()).toEqual(before);
  });

  test("that grows is read on, full bundles at once, a partial one after a while", async () => {
    await seal();
    await readAll();
    await sealLogOf(100);
    expect(await readBack(deps)).toMatchObject({ readings: 0, more: false });
    await client.query("update audit.readings set ended_at = ended_at - interval '1 hour'");
    expect(await readBack(deps)).toMatchObject({ readings: 1, entries: 100 });
    await sealLogOf(200);
    expect(await readBack(deps)).toMatchObject({ readings: 0 });
    await sealLogOf(300);
    expect(await readBack(deps)).toMatchObject({ readings: 1, entries: 300, found: 0 });
    expect(await readBackTo()).toBe(256);
    await sealLogOf(1000);
    expect(await readBack(deps)).toMatchObject({ readings: 1, entries: 744, found: 0 });
    expect(await readBackTo()).toBe(768);
  });

  test("counts its last entries when the log is closed", async () => {
    await sealLogOf(300);
    await readAll();
    expect(await readBackTo()).toBe(256);
    await client.query("update audit.logs set closed_at = clock_timestamp() where organization_id = $1", [ACME]);
    expect(await readAll()).toMatchObject({ readings: 1, entries: 44, found: 0 });
    expect(await readBackTo()).toBe(300);
    expect(await readBack(deps)).toMatchObject({ readings: 0, more: false });
  });

  test("is left alone when the log is past its retention", async () => {
    await sealLogOf(300);
    await readAll();
    await client.query("update audit.logs set archive_deletion_began_at = now() where organization_id = $1", [ACME]);
    for (const path of paths(/tile/)) files.delete(path);
    expect(await readAgain()).toMatchObject({ found: 0 });
  });

  test("of many logs is read in turns", async () => {
    await write(11_000);
    await write(11_000, GLOBEX);
    await seal();
    expect(await readBack(deps)).toMatchObject({ more: true, found: 0 });
    const { rows } = await client.query("select count(*)::int as logs from audit.readings where size > 4000");
    expect(rows).toEqual([{ logs: 2 }]);
    await readAll();
    expect(await readBackTo()).toBe(Math.floor(await published() / 256) * 256);
  });

  test("holds objects that are gzip of what they should be", async () => {
    await sealLogOf(300);
    for (const [path, bytes] of files) {
      files.set(path, new Uint8Array(gzipSync(bytes)));
    }
    expect(await readAll({ archive: encryptedBundles(archive, undefined) })).toMatchObject({ found: 0 });
  });

  test("is read where its entries were purged: the signatures alone are enough", async () => {
    await sealLogOf(600);
    await readAll();
    await purge(400);
    expect(await readAgain()).toMatchObject({ found: 0, failed: 0 });
    expect(await findings()).toEqual([]);
  });

  test("holds the anchor log too", async () => {
    await sealLogOf(10);
    await client.query("select audit.anchor_checkpoints()");
    await seal();
    expect(await readAll()).toMatchObject({ found: 0 });
    const [path] = [...files.keys()].filter((other) => other.startsWith("anchor/tile/entries/"));
    const bundle = files.get(path!)!;
    files.delete(path!);
    expect(await readAgain()).toMatchObject({ found: 1, repaired: 1 });
    expect(files.get(path!)).toEqual(bundle);
    await alter("update audit.anchor_entries set entry = replace(entry, 'audit', 'other') where index = 1");
    expect(await readAgain()).toMatchObject({ found: 1, repaired: 0 });
    expect(await findings()).toEqual([`archive_missing ${path} resolved`, `entry_altered ${keys.base}/anchor 1`]);
  });
});

describe("a log of 65,537 entries", () => {
  test("is read in many runs, and its highest tiles are made again", { timeout: 240_000 }, async () => {
    await client.query("update audit.logs set archive_deletion_began_at = now() where organization_id <> $1", [ACME]);
    await sealLogOf(65_537);
    expect(await readBack(deps)).toMatchObject({ more: true, found: 0 });
    expect(await readAll()).toMatchObject({ found: 0 });
    expect(await readBackTo()).toBe(65_536);
    const before = digests();
    const damaged = ["0/200", "1/000", "2/000.p/1", "entries/255"].map((tile) => `${LOG}/tile/${tile}`);
    for (const path of damaged) files.set(path, flip(files.get(path)!));
    const result = await readAgain();
    expect(result).toMatchObject({ found: damaged.length, repaired: damaged.length, failed: 0 });
    expect(digests()).toEqual(before);
  });
});

/** What the purge leaves: the bound of each chain, and fewer entries. */
async function purge(index: number): Promise<void> {
  await alter(`
    insert into audit.chain_bounds (organization_id, chain, seq, created_at, hash)
    select distinct on (a.chain) a.organization_id, a.chain, a.seq, a.created_at, a.hash
    from audit.logs l
    join audit.log_ranges r on r.log = l.id and r.start < ${index}
    join public.audit_logs a on a.organization_id = r.organization_id and a.chain = r.chain
      and a.seq between r.from_seq and least(r.to_seq, r.from_seq + ${index} - 1 - r.start)
    where l.organization_id = '${ACME}'
    order by a.chain, a.seq desc;
    delete from public.audit_logs a using audit.chain_bounds b
    where a.organization_id = b.organization_id and a.chain = b.chain and a.seq <= b.seq;
  `);
}

const BUNDLE = /tile\/entries\/000$/;
const flip = (bytes: Uint8Array, at = bytes.length >> 1) => bytes.map((byte, index) => index === at ? byte ^ 1 : byte);

describe("an object that was damaged is found and written again with the same bytes", () => {
  const KINDS: [string, RegExp][] = [
    ["a full bundle", BUNDLE],
    ["the partial bundle", /tile\/entries\/002\.p\/88$/],
    ["a full tile", /tile\/0\/001$/],
    ["the partial tile", /tile\/0\/002\.p\/88$/],
    ["the tile above", /tile\/1\/000\.p\/2$/],
    ["the checkpoint", /\/checkpoint$/],
  ];
  const DAMAGES: [string, (bytes: Uint8Array, path: string) => Uint8Array | null][] = [
    ["missing", () => null],
    ["empty", () => new Uint8Array()],
    ["cut", (bytes) => bytes.slice(0, -7)],
    ["cut by a half", (bytes) => bytes.slice(0, bytes.length >> 1)],
    ["longer", (bytes) => concatBytes(bytes, new Uint8Array(32))],
    ["twice", (bytes) => concatBytes(bytes, bytes)],
    ["flipped in its first byte", (bytes) => flip(bytes, 0)],
    ["flipped in the middle", (bytes) => flip(bytes)],
    ["flipped in its last byte", (bytes) => flip(bytes, bytes.length - 1)],
    ["another organisation's", (_, path) => [...files].find(([other]) => other === path.replace(ACME, GLOBEX))![1]],
    ["half of something compressed", (bytes) => new Uint8Array(gzipSync(bytes)).slice(0, -9)],
  ];

  test.each(DAMAGES)("%s", { timeout: 120_000 }, async (_, damage) => {
    await write(598, GLOBEX);
    await sealLogOf(600);
    await readAll();
    for (const [what, pattern] of KINDS) {
      const [path] = paths(pattern);
      expect(path, what).toBeDefined();
      const original = files.get(path!)!;
      const bytes = damage(original, path!);
      if (bytes === null) files.delete(path!);
      else files.set(path!, bytes);
      expect(await readAgain({ archive: encryptedBundles(archive, undefined) }), what).toMatchObject({
        found: 1,
        repaired: 1,
        failed: 0,
      });
      expect(files.get(path!), what).toEqual(original);
      const kind = bytes === null ? "archive_missing" : "archive_damaged";
      expect((await findings()).at(-1), what).toBe(`${kind} ${path} resolved`);
    }
    const { rows } = await client.query(
      "select count(*)::int as entries from public.audit_logs where action in ('verification.failed', 'finding.resolved')",
    );
    expect(rows).toEqual([{ entries: 2 * KINDS.length }]);
    expect(await findings()).toHaveLength(KINDS.length);
    expect(await readAgain()).toMatchObject({ found: 0 });
  });

  test("all of them at once", async () => {
    await sealLogOf(600);
    await readAll();
    const before = digests();
    for (const path of paths(/./)) files.delete(path);
    expect(await readAgain()).toMatchObject({ found: 8, repaired: 8 });
    expect(digests()).toEqual(before);
  });

  test("while it is read for the first time", async () => {
    await sealLogOf(600);
    const before = digests();
    for (const path of paths(/tile/)) files.set(path, flip(files.get(path)!));
    expect(await readAll()).toMatchObject({ found: 7, repaired: 7 });
    expect(digests()).toEqual(before);
    expect(await readBackTo()).toBe(512);
  });

  test("a bundle that holds another month's entries, and its tile with it", async () => {
    await write(299, GLOBEX);
    await sealLogOf(300);
    await readAll();
    const before = digests();
    for (const path of paths(/tile\/(0|entries)\/000$/)) {
      files.set(path, files.get(path.replace(ACME, GLOBEX))!);
    }
    expect(await readAgain()).toMatchObject({ found: 2, repaired: 2 });
    expect(digests()).toEqual(before);
  });

  test("a partial bundle and tile that go on beyond their width", async () => {
    await sealLogOf(300);
    await readAll();
    const before = digests();
    const path = `${LOG}/tile/entries/001.p/44`;
    const entries = decodeBundle(files.get(path)!, 44);
    files.set(path, encodeBundle(Array.from({ length: 256 }, (_, at) => entries[at] ?? encodeText("{}"))));
    const tile = `${LOG}/tile/0/001.p/44`;
    files.set(tile, concatBytes(files.get(tile)!, new Uint8Array(212 * 32)));
    expect(await readAgain()).toMatchObject({ found: 2, repaired: 2 });
    expect(digests()).toEqual(before);
  });

  test("bundle and tile replaced together, so that they agree", async () => {
    await sealLogOf(300);
    await readAll();
    const before = digests();
    const entries = decodeBundle(files.get(`${LOG}/tile/entries/000`)!, 256);
    entries[7] = encodeText(new TextDecoder().decode(entries[7]).replace("budget.created", "budget.deleted"));
    files.set(`${LOG}/tile/entries/000`, encodeBundle(entries));
    files.set(`${LOG}/tile/0/000`, concatBytes(...entries.map((entry) => leafHash(entry))));
    expect(await readAgain()).toMatchObject({ found: 2, repaired: 2 });
    expect(digests()).toEqual(before);
    expect(await findings()).toEqual([
      `archive_damaged ${LOG}/tile/entries/000 resolved`,
      `archive_damaged ${LOG}/tile/0/000 resolved`,
    ]);
  });

  test("an encrypted bundle: who cannot read it does not write it, and it is not counted", async () => {
    const secret = encryptedBundles(archive, parseArchiveKeys(btoa("k".repeat(32))));
    deps = { ...deps, archive: secret };
    await sealLogOf(300);
    await readAll();
    const [path] = paths(BUNDLE);
    const original = files.get(path!)!;
    for (
      const over of [
        encryptedBundles(archive, undefined),
        encryptedBundles(archive, parseArchiveKeys(btoa("x".repeat(32)))),
      ]
    ) {
      expect(await readAgain({ archive: over })).toMatchObject({ repaired: 0 });
      expect(files.get(path!)).toBe(original);
    }
    expect((await findings()).filter((finding) => finding.includes(LOG))).toEqual([`archive_unreadable ${path}`]);
    // With the right key everything is in order again.
    expect(await readAgain()).toMatchObject({ found: 0 });
    expect((await findings()).every((finding) => finding.endsWith(" resolved"))).toBe(true);
  });

  test("a bundle of which the database has no entries any more stays found", async () => {
    await sealLogOf(600);
    await readAll();
    await purge(300);
    const [path] = paths(BUNDLE);
    files.set(path!, flip(files.get(path!)!));
    expect(await readAgain()).toMatchObject({ found: 1, repaired: 0 });
    files.delete(path!);
    expect(await readAgain()).toMatchObject({ found: 1, repaired: 0 });
    expect(await findings()).toEqual([`archive_damaged ${path}`, `archive_missing ${path}`]);
  });
});

describe("the checkpoint", () => {
  test("rolled back to an older one is found, and the newest is published again", async () => {
    await sealLogOf(100);
    const old = files.get(`${LOG}/checkpoint`)!;
    await sealLogOf(200);
    const newest = files.get(`${LOG}/checkpoint`)!;
    await readAll();
    files.set(`${LOG}/checkpoint`, old);
    expect(await readAgain()).toMatchObject({ found: 1, repaired: 1 });
    expect(await findings()).toEqual([`archive_rolled_back ${LOG}/checkpoint resolved`]);
    expect(files.get(`${LOG}/checkpoint`)).toEqual(newest);
    // The lease was given back.
    await sealLogOf(300);
  });

  test("is left alone while a run is about to publish a newer one", async () => {
    await sealLogOf(100);
    const old = files.get(`${LOG}/checkpoint`)!;
    await sealLogOf(200);
    await readAll();
    files.set(`${LOG}/checkpoint`, old);
    await client.query("update audit.logs set lease = gen_random_uuid(), lease_until = now() + interval '1 minute'");
    expect(await readAgain()).toMatchObject({ found: 1, repaired: 0 });
    expect(files.get(`${LOG}/checkpoint`)).toEqual(old);
  });

  test("of another key, month or organisation is none", async () => {
    await write(50, GLOBEX);
    await sealLogOf(100);
    await readAll();
    const newest = files.get(`${LOG}/checkpoint`)!;
    const origin = `${keys.base}/${LOG}`;
    const forged = async (signer: LogKeys, name: string) =>
      encodeText(
        formatNote(
          await signNote(
            formatCheckpoint({ origin: name, size: 100, root: new Uint8Array(32), extensions: [] }),
            signer.signers(name),
          ),
        ),
      );
    for (
      const other of [
        await forged(newLogKeys(), origin),
        await forged(keys, origin.replace(MONTH, "1999-01")),
        files.get(`${GLOBEX}/${MONTH}/checkpoint`)!,
      ]
    ) {
      files.set(`${LOG}/checkpoint`, other);
      expect(await readAgain()).toMatchObject({ found: 1, repaired: 1 });
      expect(files.get(`${LOG}/checkpoint`)).toEqual(newest);
    }
  });

  test.each([100, 5000])("that our key signed and the database does not know is a fork, at size %i", async (size) => {
    await sealLogOf(100);
    await readAll();
    const origin = `${keys.base}/${LOG}`;
    const note = await signNote(
      formatCheckpoint({ origin, size, root: new Uint8Array(32), extensions: [] }),
      keys.signers(origin),
    );
    files.set(`${LOG}/checkpoint`, encodeText(formatNote(note)));
    expect(await readAgain()).toMatchObject({ found: 1, repaired: 0 });
    expect(await findings()).toEqual([`log_forked ${LOG}/checkpoint`]);
  });

  test("that is published while the log is read is no finding", async () => {
    await sealLogOf(100);
    await readAll();
    await write(50);
    const { database: real } = deps;
    let isPut = false;
    await sealLogs({
      ...deps,
      database: {
        ...real,
        askAsOwner: (statement) =>
          statement.name === "record_published" ? Promise.reject(new Error("killed")) : real.askAsOwner(statement),
      },
    }, { dueNow: true }).then(() => (isPut = true));
    expect(isPut).toBe(true);
    expect(await readAgain()).toMatchObject({ found: 0 });
  });

  test("altered in the database is found, and the archive's stands for it", async () => {
    await sealLogOf(100);
    await client.query(
      "update audit.checkpoints set note = replace(note, E'\\n100\\n', E'\\n101\\n') where size = 100",
    );
    await readAll();
    expect(await findings()).toEqual([`checkpoint_altered ${keys.base}/${LOG} 100`]);
    expect(await readBackTo()).toBe(0);
  });
});

describe("an entry that the owner changed", () => {
  const NAME =
    "select chain || '-' || seq as name, chain, seq from public.audit_logs where organization_id = $1 and action = 'budget.created' order by seq offset 40 limit 1";
  const REHASH = `
    do $$
    declare
      v_entry record;
    begin
      for v_entry in
        select a.chain, a.seq from public.audit_logs a
        where a.organization_id = '${ACME}' and a.chain = %CHAIN% and a.seq >= %SEQ% order by a.seq
      loop
        update public.audit_logs a set prev_hash = p.hash from public.audit_logs p
        where a.organization_id = '${ACME}' and p.organization_id = '${ACME}' and a.chain = v_entry.chain and p.chain = a.chain
          and a.seq = v_entry.seq and p.seq = a.seq - 1;
        update public.audit_logs a set hash = audit.hash_of(audit.entry_text(a))
        where a.organization_id = '${ACME}' and a.chain = v_entry.chain and a.seq = v_entry.seq;
      end loop;
      update audit.heads h set hash = a.hash, prev_hash = a.prev_hash from public.audit_logs a
      where a.organization_id = h.organization_id and a.chain = h.chain and a.seq = h.seq and h.organization_id = '${ACME}';
    end $$`;

  async function forge(set = 'details = \'{"new": {"limit": 1}}\''): Promise<string> {
    const { rows: [{ name, chain, seq }] } = await client.query(NAME, [ACME]);
    await alter(
      `update public.audit_logs set ${set} where organization_id = '${ACME}' and chain = ${chain} and seq = ${seq}`,
    );
    await alter(REHASH.replace("%CHAIN%", chain).replace("%SEQ%", seq));
    return name as string;
  }

  test("is named, and only it, though all that follows was hashed again", async () => {
    await sealLogOf(600);
    await readAll();
    const before = digests();
    const name = await forge();
    const { rows } = await client.query("select from audit.verify() where status <> 'verified'");
    expect(rows).toEqual([]); // the database sees nothing
    expect(await readAgain()).toMatchObject({ found: 1, repaired: 0 });
    expect(await findings()).toEqual([`entry_altered ${name}`]);
    const { rows: [{ detail }] } = await client.query("select detail from audit.findings");
    expect(detail.fields).toEqual(["details", "prev_hash"].filter((field) => detail.fields.includes(field)));
    expect(detail.fields).toContain("details");
    expect(digests()).toEqual(before); // the archive was right
    expect(await readBackTo()).toBe(512); // what counted before counts
  });

  test("before it was read back does not count as read back, nor does what comes after", async () => {
    await sealLogOf(600);
    const name = await forge();
    await readAll();
    expect(await findings()).toEqual([`entry_altered ${name}`]);
    expect(await readBackTo()).toBe(0);
    await sealLogOf(1200);
    await readAll();
    expect(await readBackTo()).toBe(0);
    // Not even when it was put in order, until all was read again.
    expect(await findings()).toEqual([`entry_altered ${name}`]);
  });

  test.each([["action", "action = 'budget.deleted'"], ["created_by", `created_by = '${GLOBEX}'`], [
    "cost",
    "cost = 12.5",
  ], ["created_at", "created_at = created_at - interval '1 microsecond'"]])("in %s", async (field, set) => {
    await sealLogOf(300);
    const name = await forge(set);
    await readAll();
    expect(await findings()).toEqual([`entry_altered ${name}`]);
    const { rows: [{ detail }] } = await client.query("select detail from audit.findings");
    expect(detail.fields).toContain(field);
  });

  test("and checkpoints, roots and frontiers with it, which he cannot sign", async () => {
    await sealLogOf(600);
    const name = await forge();
    await client.query("update audit.checkpoints set root = sha256('forged'), frontier = sha256('forged')");
    await readAll();
    expect(await findings()).toEqual([`entry_altered ${name}`]);
    await client.query("update audit.checkpoints set note = replace(note, encode(root, 'base64'), 'x')");
    await client.query("update audit.checkpoints set note = 'forged'");
    await readAgain();
    expect((await findings()).filter((finding) => !finding.startsWith("checkpoint_altered"))).toEqual([
      `entry_altered ${name}`,
    ]);
  });

  test("to be dated after all others is missing at its place", async () => {
    await sealLogOf(300);
    const name = await forge("created_at = created_at + interval '1 hour'");
    await readAll();
    expect(await findings()).toEqual([`entries_missing ${name}`]);
  });

  test.each([
    ["the readings", "update audit.readings set frontier = sha256('x')"],
    ["the checkpoints", "update audit.checkpoints set frontier = sha256('x')"],
    ["the readings' places", "update audit.readings set size = 300"],
    [
      "all of it",
      "update audit.readings set frontier = sha256('x'), size = 77; update audit.checkpoints set frontier = sha256('x'), root = sha256('x')",
    ],
  ])("is not missed where he rewrites %s too", async (_, statement) => {
    await write(11_000);
    await sealLogOf(12_000);
    await client.query("update audit.logs set archive_deletion_began_at = now() where organization_id <> $1", [ACME]);
    await readAll();
    const { rows: [{ name, chain, seq }] } = await client.query(NAME, [ACME]);
    await alter(
      `update public.audit_logs set cost = 1 where organization_id = '${ACME}' and chain = ${chain} and seq = ${seq}`,
    );
    await client.query("update audit.readings set begun_at = begun_at - interval '8 days', next_at = '-infinity'");
    await client.query("update audit.logs set opened_at = opened_at - interval '8 days'");
    for (let run = 0; run < 20 && (await findings()).length === 0; run++) {
      await client.query(statement);
      await client.query("update audit.readings set next_at = '-infinity'");
      await readBack(deps);
    }
    expect(await findings()).toContain(`entry_altered ${name}`);
  });

  test("while its bundle was damaged as well: found, and nothing is written", async () => {
    await sealLogOf(300);
    await readAll();
    const name = await forge();
    const [path] = paths(BUNDLE);
    const damaged = flip(files.get(path!)!, 9000);
    files.set(path!, damaged);
    await readAgain();
    expect((await findings())[0]).toBe(`archive_damaged ${path}`);
    expect((await findings()).some((finding) => finding.startsWith(`entry_altered ${name}`))).toBe(true);
    expect(files.get(path!)).toEqual(damaged);
  });

  test("and in bundle and tile alike: nobody knows it any more, which is found", async () => {
    await sealLogOf(300);
    await readAll();
    await forge();
    const kept = await client.query(
      "select e.entry from audit.logs l cross join audit.log_entries(l.id, 0, 256) e where l.organization_id = $1 order by e.index",
      [ACME],
    );
    const entries = kept.rows.map(({ entry }) => encodeText(entry));
    files.set(`${LOG}/tile/entries/000`, encodeBundle(entries));
    files.set(`${LOG}/tile/0/000`, concatBytes(...entries.map((entry) => leafHash(entry))));
    await readAgain();
    expect(await findings()).toContain(`root_mismatch ${keys.base}/${LOG}`);
  });

  test("of which nothing is left: what is missing is named, and what comes after is read", async () => {
    await sealLogOf(300);
    await sealLogOf(900);
    await readAll();
    await purge(300);
    const gone = paths(/tile\/(0|entries)\/000$/);
    for (const path of gone) files.delete(path);
    files.set(`${LOG}/tile/0/002`, flip(files.get(`${LOG}/tile/0/002`)!));
    await readAgain();
    expect((await findings()).sort()).toEqual(
      [
        ...gone.map((path) => `archive_missing ${path}`),
        `archive_damaged ${LOG}/tile/0/002 resolved`,
        `root_mismatch ${keys.base}/${LOG}`,
      ].sort(),
    );
  });

  test("that was deleted is missing", async () => {
    await sealLogOf(300);
    const { rows: [{ name, chain, seq }] } = await client.query(NAME, [ACME]);
    await alter(
      `delete from public.audit_logs where organization_id = '${ACME}' and chain = ${chain} and seq = ${seq}`,
    );
    await readAll();
    expect(await findings()).toEqual([`entries_missing ${name}`]);
    expect(await readBackTo()).toBe(0);
  });

  test("many of which do not fill the log with findings", async () => {
    await sealLogOf(600);
    await alter(
      `update public.audit_logs set provider = 'nobody' where organization_id = '${ACME}' and action = 'budget.created'`,
    );
    await readAll();
    expect((await findings()).length).toBeLessThanOrEqual(20);
    expect((await findings()).length).toBeGreaterThan(0);
  });
});

describe("a run", () => {
  test("finds nothing while storage is down, and goes on when it is up", async () => {
    await sealLogOf(300);
    const down: Archive = { ...archive, get: () => Promise.reject(new ArchiveError("unavailable", "down")) };
    expect(await readBack({ ...deps, archive: down })).toMatchObject({ failed: 3, readings: 0 });
    expect(await findings()).toEqual([]);
    await client.query("update audit.readings set next_at = '-infinity'");
    expect(await readAll()).toMatchObject({ found: 0 });
    expect(await readBackTo()).toBe(256);
  });

  test("finds nothing where the partial files have successors by the time it reads them", async () => {
    await sealLogOf(100);
    let isPassed = false;
    const passed: Archive = {
      ...archive,
      async get(path) {
        if (path.startsWith(`${LOG}/tile/`) && !isPassed) {
          isPassed = true;
          await sealLogOf(300);
          for (
            const old of [...files.keys()].filter((other) => /\/000\.p\/(100|2)$/.test(other) && other.startsWith(LOG))
          ) files.delete(old);
        }
        return await archive.get(path);
      },
    };
    await readBack({ ...deps, archive: passed }, { patience: "0" });
    expect(isPassed).toBe(true);
    expect(await findings()).toEqual([]);
    await client.query("update audit.readings set next_at = '-infinity'");
    expect(await readAll()).toMatchObject({ found: 0 });
    expect(await readBackTo()).toBe(256);
  });

  test("beside others does no harm", async () => {
    await sealLogOf(2000);
    for (const path of paths(/tile\/(0|entries)\/00[1-5]/)) {
      files.set(path, flip(files.get(path)!));
    }
    await Promise.all(Array.from({ length: 6 }, async () => {
      for (let run = 0; run < 4; run++) {
        await client.query("update audit.readings set next_at = '-infinity'");
        await readBack(deps, { patience: "0" });
      }
    }));
    await client.query("update audit.readings set next_at = '-infinity'");
    await readAll();
    expect(await readBackTo()).toBe(1792);
    expect((await findings()).every((finding) => finding.endsWith(" resolved"))).toBe(true);
    expect(await readAgain()).toMatchObject({ found: 0 });
  });

  test("killed at any call leaves what the next one finishes", { timeout: 180_000 }, async () => {
    await sealLogOf(600);
    // Only Acme's log.
    await client.query("update audit.logs set archive_deletion_began_at = now() where organization_id <> $1", [ACME]);
    const damaged = paths(/tile\/(0\/001|entries\/001|1\/)/);
    const whole = new Map(files);
    const before = digests();
    const calls = new Set<string>();
    for (const fault of ["before", "after"] as const) {
      for (let at = 0;; at++) {
        for (const path of damaged) files.set(path, flip(whole.get(path)!));
        files.delete(`${LOG}/checkpoint`);
        await client.query(
          "delete from audit.readings; update audit.logs set read_back = 0, lease_until = '-infinity'",
        );
        let count = 0;
        let isHit = false;
        const call = async <T>(name: string, work: () => Promise<T>): Promise<T> => {
          if (isHit) throw new Error("killed");
          isHit = count++ === at;
          if (isHit) calls.add(name);
          if (isHit && fault === "before") throw new Error("killed");
          const result = await work();
          if (isHit) throw new Error("killed");
          return result;
        };
        await readBack({
          keys,
          archive: {
            ...archive,
            get: (path) => call("get", () => archive.get(path)),
            put: (path, bytes, kind) => call("put", () => archive.put(path, bytes, kind)),
          },
          database: {
            ...database,
            askAsOwner: (statement) => call(statement.name, () => database.askAsOwner(statement)),
          },
        }).catch(() => {});
        await client.query(
          "update audit.readings set next_at = '-infinity'; update audit.logs set lease_until = '-infinity'",
        );
        expect(await readAll()).toMatchObject({ failed: 0 });
        expect(await readBackTo()).toBe(512);
        // An object that was mended before the run died is found in order by who reads it next.
        await readAgain();
        expect(digests()).toEqual(before);
        expect((await findings()).filter((finding) => !finding.endsWith(" resolved"))).toEqual([]);
        if (!isHit) break;
      }
    }
    expect([...calls]).toEqual(
      expect.arrayContaining([
        "claim_reading",
        "get",
        "put",
        "hashes_in_log",
        "note_finding",
        "settle_finding",
        "lease_checkpoint",
        "record_published",
        "record_read_back",
      ]),
    );
  });
});
