// From the first release to this source, as an upgrade does it: the whole source again, in one transaction, on a log with
// data, while people write, sign in, search and read. Nothing is lost, nobody who writes waits for it, and what comes out
// is the schema that a new installation has.
//
// test/data/first_release.sql.gz is the migration that was installed first. It never changes.
import { readFile } from "node:fs/promises";
import { performance } from "node:perf_hooks";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sealLogs } from "../../functions/audit-jobs/seal.ts";
import { buildMigration } from "../../scripts/build-migration.ts";
import { dumpSchema } from "../../scripts/schema-dump.ts";
import { createEventTriggers } from "../../scripts/stack/base.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { asUser } from "../support/acting.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified } from "../support/log.ts";
import { jobDatabase, memoryArchive, newLogKeys, readArchive } from "../support/sealing.ts";

const ACME = "0a000000-0000-4000-8000-000000000001";
const ADMIN_OF_ACME = "0a000000-0000-4000-8000-00000000000a";
/** How long the transaction of the upgrade stays open when all is loaded: who needs a lock of it waits at least as long. */
const HELD = 3_000;

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase("base");
  const client = await db.connect();
  const first = gunzipSync(await readFile(new URL("../data/first_release.sql.gz", import.meta.url))).toString();
  await client.query(`begin; ${first}; commit`);
  await createEventTriggers(db.url(ADMIN));
  await client.query(await readFile(new URL("../support/application.sql", import.meta.url), "utf8"));
  await fill(client);
});
afterAll(() => db?.drop());

test("an upgrade of a log with data leads to the schema of a new installation, and no writer waits for it", async () => {
  const client = await db.connect();
  const { rows: [before] } = await client.query("select count(*)::int as entries from public.audit_logs");
  const old = await client.query("select organization_id, chain, seq, hash from public.audit_logs");

  const end = new AbortController();
  const writers = Array.from({ length: 4 }, (_, n) => repeat(end.signal, WRITERS[n % WRITERS.length]!));
  const jobs = repeat(end.signal, (each) => each.query("select audit.index_entries(), audit.evaluate_rules()"), true);
  await sleep(1_000);
  const upgrade = await db.connect();
  const start = performance.now();
  // With those at work behind the writers it may meet a lock that it cannot have, and is repeated then, as the docs say.
  let attempts = 0;
  const migration = await buildMigration();
  for (let done = false; !done;) {
    attempts += 1;
    await upgrade.query("begin");
    try {
      await upgrade.query(migration);
      done = true;
    } catch (error) {
      await upgrade.query("rollback");
      if (!/^(55P03|40P01)$/.test((error as { code: string }).code) || attempts === 5) throw error;
    }
  }
  const loaded = performance.now();
  const { rows: locks } = await upgrade.query(LOCKS);
  await sleep(HELD);
  await upgrade.query("commit");
  await sleep(1_000);
  end.abort();
  const waits = await Promise.all(writers);
  await jobs;

  const longest = Math.max(...waits.flatMap(({ durations }) => durations));
  const written = waits.reduce((sum, { durations }) => sum + durations.length, 0);
  console.log(
    `${before.entries} entries upgraded in ${(loaded - start).toFixed(0)} ms, attempt ${attempts}; ` +
      `${written} transactions meanwhile, the longest ${longest.toFixed(0)} ms`,
  );
  expect(locks, "locks that writers wait for").toEqual([]);
  expect(longest).toBeLessThan(HELD);
  expect(written).toBeGreaterThan(100);

  // Nothing is lost: what was there is there, unchanged, and each change that was acknowledged has its entry.
  const now = await client.query("select organization_id, chain, seq, hash from public.audit_logs");
  const kept = new Set(now.rows.map(nameOf));
  expect(old.rows.filter((entry) => !kept.has(nameOf(entry)))).toEqual([]);
  const { rows: [unlogged] } = await client.query(
    `select count(*)::int as budgets from public.budgets b
     where not exists (
       select from public.audit_logs l where l.resource_id = b.id::text and l.action = 'budget.created'
     )`,
  );
  expect(unlogged.budgets).toBe(0);
  await expectVerified(client);
  // What was indexed before is found by all that it is found by now.
  await client.query("select audit.index_entries(100000)");
  const { rows: [indexed] } = await client.query(
    `select count(*)::int as entries, count(*) filter (where s.terms @> t.terms and s.terms <@ t.terms)::int as found
     from public.audit_logs a
     cross join lateral (select array(select t from audit.search_terms(a) t) as terms offset 0) t
     left join audit.search_index s using (organization_id, chain, seq, created_at)`,
  );
  expect(indexed.found).toBe(indexed.entries);
  const { rows: [version] } = await client.query("select audit.version() as installed");
  const { version: packaged } = JSON.parse(await readFile(new URL("../../package.json", import.meta.url), "utf8"));
  expect(version.installed).toBe(packaged);
});

test("what was sealed before goes on, and every log verifies", async () => {
  const client = await db.connect();
  const database = jobDatabase(db.url());
  const deps = { database, archive: memoryArchive(), keys: newLogKeys() };
  try {
    for (let more = true; more;) {
      const result = await sealLogs(deps, { dueNow: true });
      expect(result.failed).toBe(0);
      more = result.more;
    }
  } finally {
    await database.end();
  }
  const { rows: [waiting] } = await client.query("select count(*)::int as chains from audit.waiting_chains()");
  expect(waiting.chains).toBe(0);
  const logs = readArchive(deps.archive, deps.keys);
  const { rows: [log] } = await client.query("select count(*)::int as entries from public.audit_logs");
  expect([...logs.values()].reduce((sum, entries) => sum + entries.length, 0)).toBe(log.entries);
  const { rows: broken } = await client.query("select * from audit.verify_logs() where status = 'broken'");
  expect(broken).toEqual([]);
});

test("the upgraded schema is that of a new installation", async () => {
  const fresh = await createDatabase();
  try {
    const client = await fresh.connect();
    await choose(client);
    expect(await dumpSchema(await db.connect())).toBe(await dumpSchema(client));
  } finally {
    await fresh.drop();
  }
});

test("the same upgrade again changes nothing", async () => {
  const client = await db.connect();
  const before = await dumpSchema(client);
  await client.query(`begin; ${await buildMigration()}; commit`);
  expect(await dumpSchema(client)).toBe(before);
  const { rows } = await client.query("select table_name, finding from audit.coverage where not healthy");
  expect(rows).toEqual([]);
});

/** What a log has after a while: entries of people, an auditor, settings, rules, periods, searches, open logs. */
async function fill(client: pg.Client): Promise<void> {
  await client.query("insert into public.organizations (id, name) values ($1, 'Acme')", [ACME]);
  await client.query(
    "insert into public.organization_members (organization_id, user_id, role) values ($1, $2, 'admin')",
    [ACME, ADMIN_OF_ACME],
  );
  await client.query(
    "insert into auth.users (id, email, encrypted_password) values ($1, 'admin@acme.example', 'x')",
    [ADMIN_OF_ACME],
  );
  await choose(client);
  await client.query(
    "insert into public.notes select n, $1, 'x', n || '@acme.example' from generate_series(1, 500) n",
    [
      ACME,
    ],
  );
  for (let n = 0; n < 20; n++) for (const write of WRITERS) await write(client);
  await client.query("select audit.set_retention($1, 400, 800), audit.place_hold($1, 'case', 'Litigation')", [ACME]);
  await client.query("select audit.grant_auditor($1, gen_random_uuid(), now() + interval '1 day', true)", [ACME]);
  await client.query("select audit.index_entries(), audit.evaluate_rules(), audit.detect_anomalies()");
  await client.query("select count(*) from audit.search('action:budget.*', $1)", [ACME]);
  await client.query("select audit.continue_verification()");
  // Indexes are given; who sealed it died then.
  await client.query("select audit.claim_log('test.example/audit', interval '0', due_now => true)");
}

/** What of it is compiled into the schema. */
async function choose(client: pg.Client): Promise<void> {
  await client.query("create table public.notes (id int primary key, team_id uuid, text text, email text)");
  await client.query(`select audit.track('public.notes', '{"organization": "team_id", "ignore": ["text"]}')`);
  await client.query("select audit.configure('query_text', 'true')");
  await client.query("select audit.configure('ip_addresses', '\"truncated\"', $1)", [ACME]);
}

type Write = (client: pg.Client) => Promise<unknown>;

const WRITERS: Write[] = [
  (client) => client.query("insert into public.budgets (organization_id) values ($1)", [ACME]),
  (client) =>
    asUser(client, {
      sub: ADMIN_OF_ACME,
      email: "admin@acme.example",
      headers: { "x-forwarded-for": `203.0.113.${Math.floor(Math.random() * 250)}`, "user-agent": "test" },
    }, () => client.query("insert into public.api_keys (organization_id) values ($1)", [ACME])),
  (client) => client.query("update public.notes set email = gen_random_uuid() || '@acme.example' where id = 7"),
  (client) =>
    client.query("insert into auth.sessions (id, user_id, ip) values (gen_random_uuid(), $1, '203.0.113.7')", [
      ADMIN_OF_ACME,
    ]),
];

/** Does the same on a connection of its own until it is told to end; how long each time took, in milliseconds. */
async function repeat(signal: AbortSignal, work: Write, patient = false): Promise<{ durations: number[] }> {
  const client = await db.connect();
  const durations: number[] = [];
  while (!signal.aborted) {
    const start = performance.now();
    try {
      await work(client);
    } catch (error) {
      // Schedules run again; whoever writes must not see the upgrade.
      if (!patient) throw error;
    }
    durations.push(performance.now() - start);
    await sleep(5);
  }
  return { durations };
}

const nameOf = (entry: { organization_id: string; chain: number; seq: string; hash: Uint8Array }): string =>
  `${entry.organization_id}/${entry.chain}-${entry.seq} ${Array.from(entry.hash).join()}`;

/** Locks of this transaction that an INSERT, UPDATE or DELETE waits for, on what is written with a change or a login. */
const LOCKS = `
  select l.relation::regclass::text as relation, l.mode
  from pg_locks l
  join pg_class c on c.oid = l.relation
  where l.pid = pg_backend_pid() and l.mode in ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
    and (
      c.relnamespace = any (array['public'::regnamespace, 'auth'::regnamespace]) and c.relkind in ('r', 'p')
      or c.relname in ('heads', 'identities', 'personal_values', 'auth_sightings', 'waiting_auth_events')
        and c.relnamespace = 'audit'::regnamespace
    )
  order by 1, 2`;
