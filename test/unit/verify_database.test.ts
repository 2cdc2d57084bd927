// The show-case: the owner of the database changes an old entry, hashes its whole chain again, and nothing in the
// database is wrong any more. The archive names the entry, also where the archive was rewritten with it.
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { SampleLog } from "../../scripts/bench/sample_archive.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { GLOBEX, sealedProject } from "../support/sealed_project.ts";
import { BASE, type Files, KEY, ORGANIZATION, verify } from "./verify_archive.ts";

const ENTRIES = 300;
const LOG = `${ORGANIZATION}/2026-10`;

let db: TestDatabase;
let admin: pg.Client;
let files: Files;

/** The log as sealing would make it of what the database has now. */
async function archived(): Promise<Files> {
  const sealed: Files = new Map();
  const log = new SampleLog(`${BASE}/${LOG}`, LOG, {
    keys: [KEY],
    write: (path, bytes) => void sealed.set(path, bytes),
  });
  const { rows } = await admin.query<{ text: string }>(
    `select audit.entry_text(a) as text from public.audit_logs a where a.organization_id = $1
     order by a.chain <> audit.log_chain(), a.chain, a.seq`,
    [ORGANIZATION],
  );
  for (const { text } of rows) await log.append(new TextEncoder().encode(text));
  await log.publish();
  return sealed;
}

beforeAll(async () => {
  db = await createDatabase("product");
  admin = await db.connect("supabase_admin");
  const owner = await db.connect();
  const opened = { origin: `${BASE}/${LOG}`, previous: null };
  await owner.query("select audit.append_to_log_chain($1, 'log.opened', $2, $3)", [
    ORGANIZATION,
    opened.origin,
    JSON.stringify(opened),
  ]);
  await owner.query(
    `select audit.record($1, 'report.generated', 'report', 'report-' || n, '{"pages": 3}', 'success', 'openai', 1.50)
     from generate_series(1, $2::int) n`,
    [ORGANIZATION, ENTRIES],
  );
  files = await archived();
});
afterAll(() => db.drop());

const compare = (archive: Files) => verify(archive, { database: db.url("supabase_admin") });

describe("an archive beside its database", () => {
  it("has the same entries", async () => {
    const report = await compare(files);
    expect(report.findings).toEqual([]);
    expect(report.proved.join("\n")).toContain(`The database has ${ENTRIES + 1} entries of ${ORGANIZATION} exactly as`);
  });

  it("names what the owner changed, whatever he did to hide it", async () => {
    const { rows: [place] } = await admin.query<{ partition: string; chain: number }>(
      `select distinct tableoid::regclass::text as partition, chain from public.audit_logs
       where organization_id = $1 and chain <> audit.log_chain()`,
      [ORGANIZATION],
    );
    const { partition, chain } = place!;
    await admin.query(
      `alter table public.audit_logs disable trigger all; alter table ${partition} disable trigger all`,
    );
    await admin.query(
      "update public.audit_logs set action = 'report.forged' where organization_id = $1 and chain = $2 and seq = 40",
      [ORGANIZATION, chain],
    );
    await admin.query(`do $$
       declare
         v_entry public.audit_logs;
         v_hash bytea;
       begin
         for v_entry in select * from public.audit_logs a where a.chain = ${chain} and a.seq >= 40 order by a.seq loop
           v_entry.prev_hash := coalesce(v_hash, v_entry.prev_hash);
           v_hash := audit.hash_of(audit.entry_text(v_entry));
           update public.audit_logs a set prev_hash = v_entry.prev_hash, hash = v_hash
           where a.organization_id = v_entry.organization_id and a.chain = v_entry.chain and a.seq = v_entry.seq;
         end loop;
         update audit.heads h set prev_hash = a.prev_hash, hash = a.hash from public.audit_logs a
         where h.chain = ${chain} and a.chain = h.chain and a.organization_id = h.organization_id and a.seq = h.seq;
       end
       $$`);
    const { rows: broken } = await admin.query(
      "select * from audit.verify() where status <> 'verified' and chain = $1",
      [chain],
    );
    expect(broken).toEqual([]);

    const onlyDatabase = await compare(files);
    expect(onlyDatabase.findings).toMatchObject([{ code: "database_differs", entry: `${chain}-40` }]);
    expect(onlyDatabase.findings[0]!.message).toContain(
      `So with ${ENTRIES - 40} entries behind it, to ${chain}-${ENTRIES}.`,
    );

    // Entries rewritten in the archive as in the database; hash tiles are as they were.
    const rewritten = await archived();
    const both = new Map(
      [...files].map(([path, bytes]) => [path, path.includes("/entries/") ? rewritten.get(path)! : bytes]),
    );
    const report = await compare(both);
    expect(report.findings).toMatchObject([{ code: "entry_changed", entry: `${chain}-40`, index: 40 }]);
    expect(report.findings[0]!.message).toContain(
      `${ENTRIES - 40} later entries of its chain were hashed again to fit.`,
    );
    expect(await verify(files)).toMatchObject({ verified: true });
  });
});

describe("what the function audit-jobs seals", () => {
  it("verifies, month logs and anchor log, and beside its database", async () => {
    const project = await sealedProject();
    try {
      for (const entries of [1, 254, 3, 600]) await project.grow(entries);
      await project.grow(5, GLOBEX);
      const report = await verify(project.archive.files, {
        keys: project.keys.vkeys,
        database: project.db.url("supabase_admin"),
      });
      expect(report.findings).toEqual([]);
      expect(report.logs.map(({ state }) => state)).toEqual(report.logs.map(() => "verified"));
      expect(report.logs.length).toBeGreaterThanOrEqual(3);
      expect(report.entries).toBeGreaterThan(860);
    } finally {
      await project.end();
    }
  });
});
