// Erasure where it takes more than one transaction: beside writers of the same person, holds, crashes, several organisations;
// and a search of the server's files for what was erased.
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { expireArchives } from "../../functions/audit-jobs/expire.ts";
import { signManifests } from "../../functions/audit-jobs/manifests.ts";
import { runVerification } from "../../scripts/cli/verify/run.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { asUser, inTransaction } from "../support/acting.ts";
import { startTestCluster } from "../support/cluster.ts";
import { createDatabase } from "../support/database.ts";
import { expectVerified, failure } from "../support/log.ts";
import { ACME, GLOBEX, type SealedProject, sealedProject } from "../support/sealed_project.ts";
import { type MemoryArchive, memoryArchive } from "../support/sealing.ts";

const ANN = "a1000000-0000-4000-8000-000000000001";
const BEN = "b1000000-0000-4000-8000-000000000002";
const QUIET = { begin: () => {}, advance: () => {} };
const EMAIL = "ann.erased@acme.example";

let project: SealedProject;
let client: pg.Client;
let exported: MemoryArchive;

beforeEach(async () => {
  project = await sealedProject();
  client = project.client;
  exported = memoryArchive();
});
afterEach(() => project.end());

type Acting = { email?: string; agent?: string; organization?: string };

function act(who: pg.Client, sub: string, { email = EMAIL, agent = "Agent/1", organization = ACME }: Acting = {}) {
  const headers = { "x-forwarded-for": "198.51.100.77", "user-agent": agent };
  return asUser(
    who,
    { sub, email, headers },
    () => who.query("insert into public.budgets (organization_id) values ($1)", [organization]),
  );
}

async function request(subject: string, organization = ACME): Promise<string> {
  const answer = await project.value<{ id: string; state: string }>(
    "select audit.erase_subject($1, $2, '17(1)(a)', 'Asked for it', false)",
    [organization, subject],
  );
  expect(answer.state).toBe("values");
  return answer.id;
}

/** What the schedules do; answers the state that it came to. */
async function finish(id: string, runs = 6): Promise<string> {
  for (let run = 0; run < runs; run++) {
    await client.query("select audit.continue_erasures()");
    await expireArchives({ database: project.database, archive: project.archive, exported });
    await client.query("select audit.continue_verification()");
  }
  return await project.value("select state from audit.erasures where id = $1", [id]);
}

async function states(): Promise<string[]> {
  const { rows } = await client.query("select distinct state from audit.verify_identities() order by 1");
  return rows.map(({ state }) => state as string);
}

async function count(user: string | null, organization = ACME): Promise<number> {
  return Number(
    await project.value(
      "select count(*) from audit.identities where user_id is not distinct from $1 and organization_id = $2",
      [user, organization],
    ),
  );
}

describe("an erasure", () => {
  test("ends with a signed certificate, and every chain, log and bundle verifies as before", async () => {
    for (let n = 0; n < 5; n++) await act(client, ANN, { agent: `Agent/${n}` });
    await act(client, BEN, { email: "ben@acme.example" });
    await project.grow(300);
    const bundles = new Map(project.archive.files);
    const id = await request("Ann.Erased@acme.example");
    expect(await finish(id)).toBe("done");
    expect(await states()).toEqual(["erased", "verified"]);
    await expectVerified(client);
    for (const [path, bytes] of bundles) {
      if (!path.endsWith("checkpoint") && !path.includes(".p/")) expect(project.archive.files.get(path)).toEqual(bytes);
    }
    const sign = () => signManifests({ database: project.database, keys: project.keys });
    expect(await sign(), "its entry is not sealed yet").toEqual({ signed: 0 });
    await project.grow();
    expect(await sign()).toEqual({ signed: 1 });
    const logs = await client.query("select status from audit.verify_logs()");
    expect(logs.rows.filter(({ status }) => status === "broken")).toEqual([]);

    const { manifest, note } = await project.value<{ manifest: string; note: string }>(
      "select audit.signed_certificate($1)",
      [{ erasure: id }],
    );
    expect(JSON.parse(manifest).certificate).toMatchObject({
      erasure: id,
      subject: ANN,
      erased: { identities: 5, personal_values: 0, exports: 0 },
      verification: { chains_and_logs_verify: true },
      remains: { entries: 5, entries_with_address: [], elsewhere: {}, backups_until: null },
    });
    expect(manifest).not.toMatch(/ann\.erased/i);
    const folder = await mkdtemp(join(tmpdir(), "audit-certificate-"));
    try {
      await writeFile(join(folder, "manifest.json"), manifest);
      await writeFile(join(folder, "manifest.note"), note);
      expect((await runVerification({ keys: project.keys.vkeys, exportFolder: folder }, QUIET)).findings).toEqual([]);
      await writeFile(join(folder, "manifest.json"), manifest.replace(ANN, BEN));
      expect((await runVerification({ keys: project.keys.vkeys, exportFolder: folder }, QUIET)).findings).not.toEqual(
        [],
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  test("is of one organisation; in another the person stays, and so does who has the address later", async () => {
    await act(client, ANN);
    await act(client, ANN, { organization: GLOBEX });
    const first = await request(ANN);
    expect(await finish(first)).toBe("done");
    expect(await count(ANN)).toBe(0);
    expect(await count(ANN, GLOBEX)).toBe(1);
    await act(client, BEN);
    expect(await count(BEN)).toBe(1);
    // Asked again by the address, it is another person.
    const scope = await project.value<{ subject: string }>("select audit.erase_subject($1, $2)", [ACME, EMAIL]);
    expect(scope.subject).toBe(BEN);
    const again = await request(ANN);
    expect(await finish(again)).toBe("done");
    expect(await count(BEN)).toBe(1);
    expect(await states()).toEqual(["erased", "verified"]);
  });

  test("of an address without a user names the commitments, so that a restore erases them again", async () => {
    for (let n = 0; n < 900; n++) {
      await client.query("select audit.identify($1, null, $2, null, $3)", [ACME, EMAIL, `Agent/${n}`]);
    }
    await asUser(client, { email: EMAIL }, () => client.query("select audit.record($1, 'user.login_failed')", [ACME]))
      .catch(() => {});
    const { rows: kept } = await client.query("select to_jsonb(i) as i from audit.identities i where user_id is null");
    await client.query("select audit.record($1, 'note.written', 'note', '1', $2)", [ACME, { text: `to ${EMAIL}` }]);
    const id = await request(EMAIL);
    expect(await finish(id)).toBe("done");
    expect(await count(null)).toBe(0);
    const status = await project.value<{ remains: { entries_with_address: string[] } }>(
      "select audit.erasure_status($1)",
      [{ erasure: id }],
    );
    expect(status.remains.entries_with_address, "an entry that holds it in plain text is told").toHaveLength(1);
    // As from a backup that is older.
    await client.query("select audit.load_rows('identities', $1)", [JSON.stringify(kept.map(({ i }) => i))]);
    expect(await count(null)).toBeGreaterThan(899);
    await client.query(
      `select audit.erase_again(organization_id, created_at, details) from public.audit_logs where action = 'subject.erased'`,
    );
    expect(await count(null)).toBe(0);
  });

  test.each(["read committed", "repeatable read", "serializable"])(
    "beside the person writing at %s loses no entry and tells erased from missing",
    async (level) => {
      const writers = await project.db.connectAll(4);
      await act(client, ANN);
      // Each found the identity before it went, and commits after.
      for (const writer of writers) {
        await writer.query(`begin isolation level ${level}`);
        await writer.query(
          `select set_config('request.jwt.claims', $1, true), set_config('request.headers', $2, true)`,
          [
            JSON.stringify({ sub: ANN, role: "authenticated", email: EMAIL }),
            JSON.stringify({ "x-forwarded-for": "198.51.100.77", "user-agent": "Agent/1" }),
          ],
        );
        await writer.query("insert into public.budgets (organization_id) values ($1)", [ACME]);
      }
      // One more came into being that nobody else sees yet.
      await writers[0]!.query(`select set_config('request.headers', '{"user-agent": "Agent/2"}', true)`);
      await writers[0]!.query("insert into public.budgets (organization_id) values ($1)", [ACME]);
      const id = await request(ANN);
      expect(await finish(id, 2)).toBe("settling");
      for (const writer of writers) {
        await writer.query("insert into public.budgets (organization_id) values ($1)", [ACME]);
        await writer.query("commit");
      }
      expect(await finish(id)).toBe("done");
      expect(await states()).not.toContain("missing");
      // What came to light from before the request went too; what is from after it is another thing.
      expect(
        await project.value(
          "select count(*)::int from audit.identities i, audit.erasures e where i.user_id = e.subject and i.created_at <= e.until",
        ),
      ).toBe(0);
      // Who goes on is a person again, from then on.
      await act(client, ANN, { agent: "Agent/3" });
      expect(await count(ANN)).toBeGreaterThan(0);
      expect(await states()).toEqual(["erased", "verified"]);
      await expectVerified(client);
    },
  );

  test("beside writers that do not stop comes to its end, and they never fail", async () => {
    await act(client, ANN);
    const writers = await project.db.connectAll(3);
    let goes = true;
    const writing = Promise.all(writers.map(async (writer, w) => {
      let written = 0;
      for (; goes; written++) await act(writer, ANN, { agent: `Agent/${w}-${written % 7}` });
      return written;
    }));
    const id = await request(ANN);
    let state = "";
    for (let run = 0; run < 40 && state !== "files" && state !== "verifying"; run++) {
      await client.query("select audit.continue_erasures()");
      state = await project.value("select state from audit.erasures where id = $1", [id]);
    }
    goes = false;
    const written = (await writing).reduce((sum, each) => sum + each, 1);
    expect(state).not.toBe("settling");
    expect(await finish(id)).toBe("done");
    expect(Number(await project.value("select count(*) from public.audit_logs where created_by = $1", [ANN]))).toBe(
      written,
    );
    expect((await states()).filter((each) => each !== "verified")).toEqual(["erased"]);
    await expectVerified(client);
  });

  test("does not wait for autovacuum", async () => {
    const cluster = await startTestCluster({ autovacuum_naptime: "1s" });
    const db = await createDatabase("product", cluster.port);
    try {
      const owner = await db.connect();
      const define = (body: string) =>
        owner.query(
          `create or replace function public.slow(n int) returns int language plpgsql immutable as $$ begin ${body} return n; end $$`,
        );
      await define("");
      await owner.query(
        "create table public.busy (n int) with (autovacuum_analyze_threshold = 0, autovacuum_analyze_scale_factor = 0)",
      );
      await owner.query("create index on public.busy (public.slow(n))");
      await owner.query("insert into public.busy values (1)");
      await define("perform pg_catalog.pg_sleep(600);");
      await expect.poll(async () => {
        const { rowCount } = await owner.query(
          "select from pg_locks l join pg_stat_activity a using (pid) where l.locktype = 'virtualxid' and a.backend_type = 'autovacuum worker' and a.datname = current_database()",
        );
        return rowCount;
      }, { timeout: 60_000 }).toBe(1);
      expect((await owner.query("select audit.open_transactions() as open")).rows[0].open).toEqual([]);
    } finally {
      await db.drop();
      await cluster.remove();
    }
  });

  test("of a million small steps goes on after each, however it is interrupted", async () => {
    for (let n = 0; n < 40; n++) await act(client, ANN, { agent: `Agent/${n}` });
    const id = await request(ANN);
    const step = "select audit.continue_erasures('0 seconds', 7)";
    for (let run = 0; run < 30; run++) {
      await inTransaction(client, async () => {
        await client.query(step);
        throw new Error("killed");
      }).catch(() => {});
      const before = await project.value("select state || counts from audit.erasures where id = $1", [id]);
      await client.query(step);
      const state = await project.value<string>("select state from audit.erasures where id = $1", [id]);
      if (state === "files") break;
      expect(await project.value("select state || counts from audit.erasures where id = $1", [id])).not.toBe(before);
    }
    expect(await finish(id)).toBe("done");
    expect(await project.value("select counts from audit.erasures where id = $1", [id])).toMatchObject({
      identities: 40,
    });
    expect(Number(await project.value("select count(*) from public.audit_logs where action = 'subject.erased'"))).toBe(
      1,
    );
  });

  test("done by two runs at once is done once", async () => {
    for (let n = 0; n < 50; n++) await act(client, ANN, { agent: `Agent/${n}` });
    const id = await request(ANN);
    const runs = await project.db.connectAll(2);
    for (let run = 0; run < 4; run++) {
      await Promise.all(runs.map((each) => each.query("select audit.continue_erasures('1 second', 5)")));
    }
    expect(await finish(id)).toBe("done");
    expect(await project.value("select counts from audit.erasures where id = $1", [id])).toMatchObject({
      identities: 50,
    });
  });

  test("waits for a hold that is being placed, and stops for it", async () => {
    await act(client, ANN);
    const id = await request(ANN);
    const holder = await project.db.connect();
    await holder.query("begin");
    await holder.query("select audit.place_hold($1, 'Case', 'Court order')", [ACME]);
    const run = client.query("select audit.continue_erasures()");
    await holder.query("commit");
    await run;
    expect(await count(ANN)).toBe(1);
    expect(await finish(id)).toBe("values");
    await client.query("select audit.release_hold($1, 'Case')", [ACME]);
    expect(await finish(id)).toBe("done");
  });

  test("takes files back that may hold the person, also those that are being made", async () => {
    await client.query("insert into public.organization_members values ($1, $2, 'admin')", [ACME, BEN]);
    await client.query("select audit.use_membership('public.organization_members')");
    await act(client, ANN);
    const ask = async (query: string) =>
      await asUser(client, { sub: BEN }, async () => {
        const { rows: [{ x }] } = await client.query("select audit.request_export($1) as x", [{
          format: "csv",
          query,
        }]);
        return x.id as string;
      });
    const [made, running] = [await ask(`email:${EMAIL}`), await ask("action:*")];
    for (const path of ["part-0001.csv"]) {
      await exported.put(`${ACME}/${made}/${path}`, new TextEncoder().encode(EMAIL), "bundle");
      await exported.put(`${ACME}/${running}/${path}`, new TextEncoder().encode(EMAIL), "bundle");
    }
    await client.query("update audit.exports set state = 'done' where id = $1", [made]);
    await client.query(
      "update audit.exports set state = 'running', lease_until = now() + interval '1 hour' where id = $1",
      [running],
    );
    const id = await request(ANN);
    expect(await finish(id)).toBe("files");
    expect([...exported.files.keys()]).toEqual([`${ACME}/${running}/part-0001.csv`]);
    await client.query("update audit.exports set lease_until = now() where id = $1", [running]);
    expect(await finish(id)).toBe("done");
    expect([...exported.files.keys()]).toEqual([]);
    expect(await project.value("select counts ->> 'exports' from audit.erasures where id = $1", [id])).toBe("2");
  });

  test("is refused at levels that do not see a hold of the moment", async () => {
    for (const level of ["repeatable read", "serializable"]) {
      const { code } = await failure(
        inTransaction(client, () => client.query("select audit.continue_erasures()"), `isolation level ${level}`),
      );
      expect(code).toBe("AUARG");
    }
  });
});

test("after erasing, vacuum and checkpoint no file of the server but the write-ahead log holds a value", {
  timeout: 180_000,
}, async () => {
  const marks = [EMAIL, "Zed-Agent/9.9", "203.0.113.251", "+49 30 5550123", "ann.second@acme.example"];
  const cluster = await startTestCluster();
  const db = await createDatabase("application", cluster.port);
  try {
    const owner = await db.connect();
    await owner.query("insert into public.organizations (id, name) values ($1, 'Acme')", [ACME]);
    await owner.query(
      "create table public.profiles (id uuid primary key, organization_id uuid, phone text, email text)",
    );
    await owner.query("select audit.track('public.profiles')");
    await owner.query("insert into public.organization_members values ($1, $2, 'admin'), ($1, $3, 'admin')", [
      ACME,
      ANN,
      BEN,
    ]);
    await owner.query("select audit.use_membership('public.organization_members')");
    const headers = { "x-forwarded-for": marks[2]!, "user-agent": marks[1]! };
    for (const email of [EMAIL, marks[4]!]) {
      await asUser(
        owner,
        { sub: ANN, email, headers },
        () =>
          owner.query("insert into public.budgets (organization_id) select $1 from generate_series(1, 500)", [ACME]),
      );
    }
    await owner.query("insert into public.profiles values ($1, $2, $3, $4)", [ANN, ACME, marks[3], EMAIL]);
    await owner.query("update public.profiles set phone = null, email = null");
    await asUser(owner, { sub: BEN, email: "ben@acme.example" }, async () => {
      await owner.query("select count(*) from audit.search($1, $2)", [`email:${EMAIL} ip:${marks[2]}`, ACME]);
      await owner.query("select count(*) from audit.search($1, $2)", [`user_agent:Zed-Agent* "${marks[4]}"`, ACME]);
      await owner.query("select audit.request_export($1)", [{
        format: "csv",
        query: `email:${EMAIL} or ip:${marks[2]}`,
      }]);
    });
    await owner.query("select audit.index_entries(100000)");
    const admin = await db.connect(ADMIN);
    await admin.query("analyze");
    await admin.query("checkpoint");
    const before = await filesWith(cluster.dataDir, marks);
    expect(marks.filter((mark) => !before.some((found) => found.endsWith(mark)))).toEqual([]);

    await owner.query("select audit.erase_subject($1, $2, '17(1)(a)', dry_run => false)", [ACME, EMAIL]);
    for (let run = 0; run < 3; run++) await owner.query("select audit.continue_erasures()");
    await owner.query("select audit.forget_exports(array(select export from audit.expired_exports()))");
    const { rows: [{ state, counts }] } = await owner.query("select state, counts from audit.erasures");
    expect([state, counts]).toMatchObject(["files", { identities: 2, exports: 1 }]);
    await admin.query("analyze");
    await admin.query("vacuum full");
    await admin.query("checkpoint");
    expect(await filesWith(cluster.dataDir, marks)).toEqual([]);
    await expectVerified(owner);
  } finally {
    await db.drop();
    await cluster.remove();
  }
});

/** Files below a folder, the write-ahead log aside, that hold one of the texts as bytes, and which. */
async function filesWith(folder: string, texts: string[]): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (!entry.isFile() || path.includes("/pg_wal/")) continue;
    const bytes = await readFile(path);
    for (const text of texts) if (bytes.includes(text)) found.push(`${path.slice(folder.length + 1)}: ${text}`);
  }
  return found;
}
