// Backups by the function as it is deployed: from the clock's request to what is read back with the key alone.
import { randomBytes } from "node:crypto";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseBackupKeys, readBackup } from "../../functions/_shared/backup_format.ts";
import { openStorage } from "../../functions/_shared/storage.ts";
import { ACME, ALICE, type Api, startApi } from "./server.ts";

const KEY = randomBytes(32).toString("base64");

let api: Api;
let client: pg.Client;
beforeAll(async () => {
  api = await startApi({ secrets: { AUDIT_BACKUP_KEY: KEY } });
  client = await api.db.connect();
  await client.query("insert into public.budgets (organization_id, name, created_by) values ($1, 'B', $2)", [
    ACME,
    ALICE,
  ]);
  await api.call("/logs"); // whose entry has an identity
});
afterAll(() => api.stop());

const post = (of: Api, secret = of.keys.jobs_secret) =>
  of.call("/backup", { of: "audit-jobs", method: "POST", headers: { authorization: `Bearer ${secret}` } });

async function storage() {
  return (await openStorage(api.url, api.keys.service_role_key)).from("audit-backups");
}

async function rowsIn(name: string, key = KEY): Promise<Map<string, string[]>> {
  const { data, error } = await (await storage()).download(`backups/${name}.1`);
  if (error !== null) throw error;
  const bytes = new Uint8Array(await data.arrayBuffer());
  async function* once() {
    yield bytes;
  }
  const sections = new Map<string, string[]>();
  for await (const { section, row } of readBackup(parseBackupKeys(key), once())) {
    sections.set(section, [...sections.get(section) ?? [], row]);
  }
  return sections;
}

test("on request one is made: private, encrypted, read back, counted, and an entry", async () => {
  const response = await post(api);
  expect(response.status).toBe(200);
  const { made, bytes, deleted } = await response.json() as { made: string; bytes: number; deleted: string[] };
  expect(deleted).toEqual([]);
  const sections = await rowsIn(made);
  for (
    const section of ["backup", "settings", "membership", "tracked_tables", "heads", "identities", "entries", "end"]
  ) {
    expect(sections.get(section)?.length, section).toBeGreaterThan(0);
  }
  const { rows: [{ text }] } = await client.query(
    "select audit.entry_text(a) as text from public.audit_logs a where action = 'budget.created'",
  );
  expect(sections.get("entries")!.map((row) => JSON.parse(row).text)).toContain(text);
  const { rows: [noted] } = await client.query("select * from audit.backups");
  expect(noted).toMatchObject({ name: made, bytes: String(bytes), parts: 1, deleted_at: null });
  expect(noted.rows).toEqual(JSON.parse(sections.get("end")![0]!).rows);
  const { rows: entries } = await client.query(
    "select resource_id, details from public.audit_logs where action = 'backup.made'",
  );
  expect(entries).toMatchObject([{ resource_id: made, details: { sha256: noted.sha256, parts: 1 } }]);

  const open = await fetch(`${api.url}/storage/v1/object/public/audit-backups/backups/${made}.1`);
  expect(open.ok).toBe(false);
  const { data } = await (await storage()).download(`backups/${made}.1`);
  expect(Buffer.from(await data!.arrayBuffer()).includes("acme.example")).toBe(false);
});

test("rows are as the database has them, whatever is in them", async () => {
  const nasty = 'tab\t quote" backslash\\ \u2028 é 𝄞 \u0001 \\. \r\n end';
  await client.query("select audit.record($1, 'report.generated', 'report', $2, $3)", [
    ACME,
    nasty,
    JSON.stringify({ nasty }),
  ]);
  await client.query(
    "insert into audit.identities (organization_id, user_agent, salt, identity_hash, lookup) values ($1, $2, $3, $4, $4)",
    [ACME, nasty, randomBytes(16), randomBytes(32)],
  );
  const { made } = await (await post(api)).json() as { made: string };
  const sections = await rowsIn(made);
  const { rows } = await client.query("select to_jsonb(i)::text as row from audit.identities i");
  expect([...sections.get("identities")!].sort()).toEqual(rows.map(({ row }) => row).sort());
  const { rows: texts } = await client.query(
    "select audit.entry_text(a) as text from public.audit_logs a where action = 'report.generated'",
  );
  expect(sections.get("entries")!.map((row) => JSON.parse(row).text)).toContain(texts[0].text);
});

test("a second run beside it does no harm, and neither connection is left in a transaction", async () => {
  const answers = await Promise.all([post(api), post(api), post(api)]);
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200]);
  const { rows: [{ open }] } = await client.query(
    "select count(*)::int as open from pg_stat_activity where application_name = 'audit-functions' and datname = current_database() and state like 'idle in%'",
  );
  expect(open).toBe(0);
});

test("only the clock asks for it", async () => {
  expect((await post(api, "wrong")).status).toBe(401);
  expect((await api.call("/backup", { of: "audit-jobs", method: "POST" })).status).toBe(401);
});

test("a thousand identities more are a part more, and all of it is there", { timeout: 120_000 }, async () => {
  await client.query(
    `insert into audit.identities (organization_id, user_id, user_agent, salt, identity_hash, lookup)
     select $1, gen_random_uuid(), (select string_agg(md5(random()::text || n || m), '') from generate_series(1, 1200) m), audit.random_salt(), sha256(n::text::bytea), sha256(n::text::bytea)
     from generate_series(1, 1000) n`,
    [ACME],
  );
  const { made, bytes } = await (await post(api)).json() as { made: string; bytes: number };
  const { rows: [{ parts }] } = await client.query("select parts from audit.backups where name = $1", [made]);
  expect(parts).toBe(Math.ceil(bytes / 16_777_216));
  expect(parts).toBeGreaterThan(1);
  const files = await Promise.all(Array.from({ length: parts }, async (_, at) => {
    const { data } = await (await storage()).download(`backups/${made}.${at + 1}`);
    return new Uint8Array(await data!.arrayBuffer());
  }));
  let identities = 0;
  // In their order; in another one they are no backup.
  async function* all(of: Uint8Array[]) {
    yield* of;
  }
  for await (const { section } of readBackup(parseBackupKeys(KEY), all(files))) {
    identities += section === "identities" ? 1 : 0;
  }
  expect(identities).toBeGreaterThan(1000);
  await expect(async () => {
    for await (const _ of readBackup(parseBackupKeys(KEY), all([...files].reverse())));
  }).rejects.toThrow();
});

test.each([["without a key", { AUDIT_BACKUP_KEY: "" }, /AUDIT_BACKUP_KEY is missing/], ["with a key that is none", {
  AUDIT_BACKUP_KEY: "secret",
}, /AUDIT_BACKUP_KEY is not the base64/], ["with a bucket that is none", {
  AUDIT_BACKUP_KEY: KEY,
  AUDIT_BACKUP_S3: '{"endpoint": "hunter2"}',
}, /AUDIT_BACKUP_S3: /]])(
  "%s none is made, and the answer says what is to be set without quoting it",
  async (_, secrets, said) => {
    const bare = await startApi({ secrets });
    try {
      const response = await post(bare);
      expect(response.status).toBe(503);
      const problem = await response.text();
      expect(JSON.parse(problem)).toMatchObject({ code: "not_configured", detail: expect.stringMatching(said) });
      expect(problem).not.toMatch(/hunter2|"secret"|secret\b.*secret/);
    } finally {
      await bare.stop();
    }
  },
);
