// The job "expire" as it is deployed: what is past its retention goes from Storage, and searches say where the rest is.
import { Buffer } from "node:buffer";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { encryptBundle, parseArchiveKeys } from "../../functions/_shared/archive/bundle_encryption.ts";
import { storageArchive } from "../../functions/_shared/archive/storage_archive.ts";
import { leafHash } from "../../functions/_shared/tlog/hash.ts";
import { parseVerifierKey, renameKey } from "../../functions/_shared/tlog/key.ts";
import { noteVerifier } from "../../functions/_shared/tlog/note.ts";
import { parseReceipt, verifyReceipt } from "../../functions/_shared/tlog/receipt.ts";
import { logVkey } from "../../scripts/stack/keys.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { nextDay, setRetention, writeOldChain } from "../support/old_log.ts";
import { ACME, type Api, BOB, OSCAR, startApi } from "./server.ts";

let api: Api;
let admin: pg.Client;

beforeAll(async () => {
  api = await startApi();
  admin = await api.db.connect(ADMIN);
  await writeOldChain(admin, { organization: ACME, chain: 900_001, entries: 600, from: 400, to: 300 });
});
afterAll(() => api.stop());

async function run(
  job: string,
  secret = api.keys.jobs_secret,
): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await api.call(job, {
    of: "audit-jobs",
    method: "POST",
    headers: { authorization: `Bearer ${secret}` },
  });
  return { status: response.status, body: await response.json() as Record<string, unknown> };
}

async function stored(bucket: string): Promise<string[]> {
  const { rows } = await admin.query(
    "select name from storage.objects where bucket_id = $1 and starts_with(name, $2) order by name",
    [bucket, ACME],
  );
  return rows.map(({ name }) => name as string);
}

async function archivedBefore(as?: string): Promise<string | null> {
  const response = await api.call("/logs?limit=1", as === undefined ? {} : { as });
  return (await response.json() as { archived_before: string | null }).archived_before;
}

test("is started with the jobs' secret only", async () => {
  expect((await run("/expire", "x".repeat(43))).status).toBe(401);
});

test("where nothing is expired it does nothing", async () => {
  expect(await run("/expire")).toEqual({
    status: 200,
    body: { archives: 0, exports: 0, reports: 0, trimmed: 0, files: 0, failed: 0, more: false },
  });
});

test("an archive goes but for its checkpoint, and searches say where entries are as long as they are anywhere", async () => {
  expect((await run("/seal?due_now=true")).body).toMatchObject({ failed: 0, more: false });
  expect(await archivedBefore()).toBe(null);
  // The month is over, and its log as old as what is in it.
  await admin.query(
    `update audit.logs set read_back = published, closed_at = clock_timestamp(), last_at = last_at - interval '300 days' where organization_id = $1;`,
    [ACME],
  );
  await setRetention(admin, ACME, 90, 200);
  await nextDay(admin);
  expect((await admin.query("select audit.purge()")).rows).toEqual([{ purge: 600 }]);
  expect(await archivedBefore()).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/);
  expect(await archivedBefore(OSCAR)).toBe(null);

  // Their receipts come out of the archive, for who reads all of the log.
  const receipt = await (await api.call("/logs/900001-1/proof")).text();
  const entry = parseReceipt(receipt).extra!;
  expect(new TextDecoder().decode(entry)).toContain('"chain":900001,"seq":1,');
  const origin = `${parseVerifierKey(logVkey(api.keys), "note").name}/${ACME}/${new Date().toISOString().slice(0, 7)}`;
  const log = [noteVerifier(renameKey(parseVerifierKey(logVkey(api.keys), "note"), origin))];
  expect(verifyReceipt(receipt, leafHash(entry), { origin, log }).checkpoint.size).toBeGreaterThan(600);
  expect((await api.call("/logs/900001-1/proof", { as: BOB })).status).toBe(404);
  expect((await api.call(`/logs/900001-1/proof?organization_id=${ACME}`, { as: OSCAR })).status).toBe(403);
  expect((await api.call("/logs/900001-601/proof")).status).toBe(404);
  const [bundle] = (await stored("audit-archive")).filter((path) => path.endsWith("/entries/000"));
  const archive = storageArchive({ projectUrl: api.url, serviceKey: api.keys.service_role_key });
  const keys = parseArchiveKeys(Buffer.alloc(32, 1).toString("base64"));
  await archive.put(bundle!, await encryptBundle(keys, bundle!, (await archive.get(bundle!))!), "bundle");
  const refused = await api.call("/logs/900001-1/proof");
  expect([refused.status, await refused.json()]).toMatchObject([409, {
    code: "archive_encrypted",
    hint: expect.stringContaining("npm run restore"),
  }]);

  const before = await stored("audit-archive");
  expect(before.length).toBeGreaterThan(5);
  expect((await run("/expire")).body, "entries of the month are still in the database").toMatchObject({ archives: 0 });
  await admin.query(
    "delete from audit.log_ranges r using public.organizations o where r.organization_id = o.id and r.chain <> 900001",
  );
  expect((await run("/expire")).body).toEqual({
    archives: 1,
    exports: 0,
    reports: 0,
    trimmed: 0,
    files: before.length - 1,
    failed: 0,
    more: false,
  });
  expect(await stored("audit-archive")).toEqual(before.filter((name) => name.endsWith("/checkpoint")));
  expect(await archivedBefore()).toBe(null);
  expect((await run("/expire")).body).toMatchObject({ archives: 0, files: 0 });
});

test("exports go after 30 days, with their files", async () => {
  for (let n = 0; n < 2; n++) await (await api.call("/exports", { body: { format: "csv" } })).text();
  await run("/exports");
  expect(await stored("audit-exports")).toHaveLength(2);
  const { rows: [{ id }] } = await admin.query(
    "update audit.exports set requested_at = requested_at - interval '31 days' where id = (select id from audit.exports order by requested_at limit 1) returning id",
  );
  expect((await run("/expire")).body).toMatchObject({ exports: 1, reports: 0, files: 1, failed: 0 });
  expect((await stored("audit-exports")).filter((name) => name.includes(id))).toEqual([]);
  expect(await stored("audit-exports")).toHaveLength(1);
  const response = await api.call(`/exports/${id}`);
  expect([response.status, await response.text().then(() => true)]).toEqual([404, true]);
});
