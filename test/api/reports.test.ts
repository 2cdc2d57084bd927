// Reports over HTTP: asked for, made by the job, downloaded, verified by themselves; schedules; names in any script; erasure.
import { createHash } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { unzipSync } from "fflate";
import * as mupdf from "mupdf";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Report } from "../../functions/_shared/report_schema.ts";
import { ReportStatus, Schedule, ScheduleList, Templates } from "../../functions/audit/schemas.ts";
import { runVerification } from "../../scripts/cli/verify/run.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { asUser } from "../support/acting.ts";
import { type AlertReceiver, startAlertReceiver, verifies } from "../support/alerting.ts";
import { ACME, ALICE, type Api, BETTY, BOB, OSCAR, OTHER, startApi, VERA } from "./server.ts";

const QUIET = { begin: () => {}, advance: () => {} };

let api: Api;
let client: pg.Client;

beforeAll(async () => {
  api = await startApi();
  client = await api.db.connect();
  for (const [sub, email] of [[ALICE, "a@acme.example"], [BOB, "b@acme.example"]] as const) {
    await asUser(client, { sub, email, headers: { "user-agent": "Test" } }, async () => {
      await client.query(
        "insert into public.budgets (organization_id, name) select $1, 'B' || n from generate_series(1, 40) n",
        [ACME],
      );
      await client.query("insert into public.api_keys (organization_id) values ($1)", [ACME]);
    });
  }
  await job("/seal?due_now=true");
});
afterAll(() => api.stop());

async function job(name: string): Promise<Record<string, unknown>> {
  const headers = { authorization: `Bearer ${api.keys.jobs_secret}` };
  const response = await api.call(name, { of: "audit-jobs", method: "POST", headers });
  expect(response.status).toBe(200);
  return await response.json() as Record<string, unknown>;
}

async function request(body: object, as = ALICE): Promise<string> {
  const response = await api.call("/reports", { body, as });
  const status = await response.json() as { id: string };
  expect([response.status, status]).toMatchObject([202, { state: "queued" }]);
  ReportStatus.parse(status);
  return status.id;
}

async function make(body: object, as = ALICE) {
  const id = await request(body, as);
  expect(await job("/reports")).toMatchObject({ reports: 1, failed: 0 });
  return await fetched(id, as);
}

async function fetched(id: string, as = ALICE) {
  const status = ReportStatus.parse(await (await api.call(`/reports/${id}`, { as })).json());
  expect(status).toMatchObject({ state: "done", error: null });
  const files = new Map<string, Uint8Array>();
  for (const { name, url, bytes, sha256 } of status.files) {
    const content = new Uint8Array(await (await fetch(url!)).arrayBuffer());
    expect([content.length, digest(content)]).toEqual([bytes, sha256]);
    files.set(name, content);
  }
  expect([...files.keys()]).toEqual(["report.pdf", "report.json", "evidence.zip"]);
  const report = Report.parse(JSON.parse(text(files.get("report.json")!)));
  return { id, status, files, report, pack: unzipSync(files.get("evidence.zip")!) };
}

const digest = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

function pdfText(bytes: Uint8Array): string {
  const document = mupdf.Document.openDocument(bytes, "application/pdf");
  return Array.from(
    { length: document.countPages() },
    (_, at) => document.loadPage(at).toStructuredText("preserve-whitespace").asText(),
  )
    .join("\n");
}

/** The findings of the verifier about an unpacked evidence pack, after `change`. */
async function findings(
  pack: Record<string, Uint8Array>,
  change: (pack: Record<string, Uint8Array>) => void = () => {},
) {
  const changed = { ...pack };
  change(changed);
  const folder = await mkdtemp(join(tmpdir(), "audit-pack-"));
  try {
    for (const [name, bytes] of Object.entries(changed)) await writeFile(join(folder, name), bytes);
    const { rows: [{ note }] } = await client.query(
      "select manifest_note as note from audit.reports where state = 'done' limit 1",
    );
    expect(note).toContain("—");
    return (await runVerification({ keys: [await vkey()], exportFolder: folder }, QUIET)).findings.map(({ code }) =>
      code
    );
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function vkey(): Promise<string> {
  const { readLogKeys } = await import("../../functions/_shared/log_keys.ts");
  return readLogKeys(api.keys.log_key).vkeys[0]!;
}

describe("a report", () => {
  test("is made, proves itself, and is the same again for the same period", async () => {
    const to = new Date().toISOString();
    const first = await make({ template: "soc2", from: "2026-01-01", to });
    const { pack, report } = first;
    expect(digest(pack["content.json"]!)).toBe(report.content_sha256);
    expect(report.content_sha256).toBe(first.status.content_sha256);
    const listed = report.content.sections.flatMap((section) =>
      section.kind === "control" ? [...section.sample.items, ...(section.exceptions?.items ?? [])] : []
    );
    const names = new Set(listed.map(({ name }) => name));
    expect(names.size).toBeGreaterThan(20);
    const lines = text(pack["entries.ndjson"]!).trimEnd().split("\n").map((line) => JSON.parse(line));
    for (const name of names) {
      expect(pack[`${name}.tlog-proof`], name).toBeDefined();
      expect(lines.some(({ entry }) => `${entry.chain}-${entry.seq}` === name), name).toBe(true);
    }
    expect(await findings(pack)).toEqual([]);
    const flip = (name: string) => (files: Record<string, Uint8Array>) => {
      files[name] = files[name]!.map((byte, at) => at === 100 ? byte ^ 1 : byte);
    };
    for (
      const name of ["content.json", "report.pdf", "entries.ndjson", "manifest.json", [...names][0] + ".tlog-proof"]
    ) {
      expect(await findings(pack, flip(name)), name).not.toEqual([]);
    }
    expect(await findings(pack, (files) => delete files["content.json"])).toEqual(["export_incomplete"]);
    const shown = pdfText(first.files.get("report.pdf")!);
    for (
      const expected of ["SOC 2 evidence", "Contents", "CC6.1", "page 1 of", "b@acme.example", report.content_sha256]
    ) {
      expect(shown).toContain(expected);
    }
    expect(text(pack["content.json"]!)).not.toContain("@acme");

    const second = await make({ template: "soc2", organization_id: ACME, from: "2026-01-01", to }, BETTY);
    expect(second.report.content_sha256).toBe(report.content_sha256);
    const { rows } = await client.query(
      "select details ->> 'content_sha256' as hash from audit_logs where action = 'report.generated' and resource_id = any ($1)",
      [[first.id, second.id]],
    );
    expect(rows).toEqual([{ hash: report.content_sha256 }, { hash: report.content_sha256 }]);
  });

  test("of every template can be made and has its schema", { timeout: 180_000 }, async () => {
    const { templates } = Templates.parse(await (await api.call("/report-templates")).json());
    expect(templates).toHaveLength(11);
    for (const { template } of templates) {
      const own = { incident: { at: new Date().toISOString() }, subject_access: { subject: BOB } }[template] ??
        { from: "2026-01-01" };
      const { report } = await make({ template, ...own });
      expect(report.content.template).toBe(template);
    }
    const schema = await (await api.call("/report-schema")).json() as { properties: object };
    expect(Object.keys(schema.properties)).toEqual(["report", "content_sha256", "content", "people", "integrity"]);
  });

  test("of a log that was altered says in which chain, and is the same again when the entry is", async () => {
    const admin = await api.db.connect(ADMIN);
    const to = new Date().toISOString();
    const alter = async (from: string, to: string) => {
      await admin.query(
        `begin;
         alter table public.audit_logs disable trigger refuse_update_delete;
         update public.audit_logs set resource_type = '${to}' where organization_id = '${ACME}' and resource_type = '${from}' and seq = 3;
         alter table public.audit_logs enable always trigger refuse_update_delete;
         commit`,
      );
    };
    await alter("budget", "forged");
    const altered = await make({ template: "annual", from: "2026-01-01", to });
    await alter("forged", "budget");
    const { chains } = altered.report.integrity;
    expect(chains!.broken).toEqual([expect.objectContaining({ seq: 3, finding: "hash_mismatch" })]);
    expect(pdfText(altered.files.get("report.pdf")!)).toContain("1 BROKEN");
    const again = await make({ template: "annual", from: "2026-01-01", to });
    expect(again.report.integrity.chains!.broken).toEqual([]);
    const once = await make({ template: "annual", from: "2026-01-01", to });
    expect(once.report.content_sha256).toBe(again.report.content_sha256);
  });

  test("of an empty period says that it is empty", async () => {
    const { report } = await make({ template: "hipaa", from: "2020-01-01", to: "2020-02-01" });
    const controls = report.content.sections.filter((section) => section.kind === "control");
    expect(controls.map(({ population }) => population)).toEqual([0, 0, 0, 0]);
  });

  test("prints names of any script, emoji, and 10 kB of one", async () => {
    const names = [
      "مؤسسة الأرشيف",
      "חברה בע״מ",
      "株式会社さくら",
      "🦊 Fox 👨‍👩‍👧",
      `${"ä".repeat(10_000)}`,
      "\u202eevil\u0000".replace("\u0000", ""),
    ];
    for (const name of names) {
      await client.query("update public.organizations set name = $1 where id = $2", [name, ACME]);
      const { files, report } = await make({ template: "access_review", from: "2026-01-01" });
      expect(report.report.organization).toBe(name);
      const shown = pdfText(files.get("report.pdf")!);
      expect(shown).toContain("Access review");
      expect(shown).not.toContain("\u202e");
      expect(files.get("report.pdf")!.length).toBeLessThan(2_000_000);
    }
  });

  test("about a person has what they did and what was done to them; erased, it is taken back, and others lose the name", async () => {
    const other = await make({ template: "annual", from: "2026-01-01", to: new Date().toISOString() });
    expect(pdfText(other.files.get("report.pdf")!)).toContain("b@acme.example");
    const about = await make({ template: "subject_access", subject: "b@acme.example" });
    expect(about.report.content.parameters).toEqual({ subject: BOB });
    expect(text(about.pack["content.json"]!)).toContain("b@acme.example");
    const erasure = await (await api.call("/erasures", { body: { subject: BOB, ground: "17(1)(a)", dry_run: false } }))
      .json() as { id: string };
    for (let run = 0; run < 30; run++) {
      await client.query("select audit.continue_erasures()");
      await job("/expire");
      await job("/reports");
      await client.query("select audit.continue_verification()");
    }
    const state = await (await api.call(`/erasures/${erasure.id}`)).json() as { state: string };
    expect(state.state).toBe("done");
    expect((await api.call(`/reports/${about.id}`)).status).toBe(404);
    const { rows } = await client.query("select name from storage.objects where name like $1", [`%${about.id}%`]);
    expect(rows).toEqual([]);
    const again = await fetched(other.id);
    expect(again.report.content_sha256).toBe(other.report.content_sha256);
    const everything = [...Object.values(again.pack), pdfText(again.files.get("report.pdf")!)].map((part) =>
      typeof part === "string" ? part : text(part)
    );
    expect(everything.filter((part) => part.includes("b@acme.example"))).toEqual([]);
    expect(await findings(again.pack)).toEqual([]);
  });

  test("of more entries than go into the pack has all of them, in signed files beside it, whatever interrupts", {
    timeout: 240_000,
  }, async () => {
    const CARL = "ca000000-0000-4000-8000-000000000007";
    await asUser(client, { sub: CARL, email: "carl@acme.example", headers: { "user-agent": "Test" } }, async () => {
      await client.query(
        "insert into public.budgets (organization_id, name) select $1, 'B' || n from generate_series(1, 50000) n",
        [ACME],
      );
    });
    const from = new Date(Date.now() - 3_600_000).toISOString();
    for (
      const [body, own] of [
        [{ template: "subject_access", subject: CARL }, "r.created_by = $1 or r.details::text like '%' || $1 || '%'"],
        [{ template: "incident", from, to: new Date().toISOString(), actor: CARL }, "r.created_by = $1"],
      ] as const
    ) {
      const id = await request(body);
      // A run that dies when the second file is stored and not noted.
      await client.query(
        `create function public.die() returns trigger language plpgsql as $$ begin raise 'killed'; end $$;
         create trigger die before update on audit.reports for each row when (jsonb_array_length(new.parts) = 2) execute function public.die()`,
      );
      expect(await job("/reports")).toMatchObject({ reports: 0, failed: 1 });
      await client.query("drop trigger die on audit.reports; drop function public.die()");
      const { rows: [kept] } = await client.query(
        "select jsonb_array_length(parts) as parts from audit.reports where id = $1",
        [id],
      );
      expect(kept).toEqual({ parts: 1 });
      // Storing them is a run's work, and making the files another's: each has 2 s of CPU.
      expect(await job("/reports")).toMatchObject({ reports: 0, failed: 0, more: true });
      expect(await job("/reports")).toMatchObject({ reports: 1, failed: 0 });
      const status = ReportStatus.parse(await (await api.call(`/reports/${id}`)).json());
      expect(status).toMatchObject({ state: "done", error: null });
      const files = new Map<string, Uint8Array>();
      for (const { name, url } of status.files) {
        files.set(name, new Uint8Array(await (await fetch(url!)).arrayBuffer()));
      }
      expect([...files.keys()]).toEqual([
        "report.pdf",
        "report.json",
        "evidence.zip",
        "entries-0001.ndjson",
        "entries-0002.ndjson",
      ]);
      const pack = unzipSync(files.get("evidence.zip")!);
      const parts = Object.fromEntries([...files].filter(([name]) => name.endsWith(".ndjson")));
      expect(pack["entries.ndjson"]).toBeUndefined();
      expect(await findings({ ...pack, ...parts })).toEqual([]);
      expect(await findings(pack)).toEqual(Array(2).fill("export_incomplete"));
      expect(
        await findings({ ...pack, ...parts }, (files) => {
          const altered = files["entries-0002.ndjson"]!.slice();
          altered[500_000]! ^= 1;
          files["entries-0002.ndjson"] = altered;
        }),
      ).toContain("export_incomplete");

      // Each entry once, in order, and none but those of the log.
      const lines = Object.values(parts).flatMap((part) => text(part).trimEnd().split("\n"));
      const names = lines.map((line) => JSON.parse(line)).map(({ entry }) => `${entry.chain}-${entry.seq}`);
      const { rows: expected } = await client.query(
        `select r.chain || '-' || r.seq as name from audit_logs r
         where r.organization_id = $2 and r.created_at < $3 and (${own}) order by r.created_at, r.chain, r.seq`,
        [CARL, ACME, status.to],
      );
      expect(expected.length).toBeGreaterThan(50_000 - 1);
      expect(names).toEqual(expected.map(({ name }) => name));
      const manifest = JSON.parse(text(pack["manifest.json"]!));
      const receipts = Object.keys(pack).filter((name) => name.endsWith(".tlog-proof")).length;
      expect(manifest.evidence).toEqual({
        entries: names.length,
        of: "all that the report is about",
        receipts,
        listed: expect.any(Number),
      });
      const entries = manifest.parts.slice(-2).map(({ entries }: { entries: number }) => entries);
      expect(entries).toEqual([40_000, names.length - 40_000]);
      expect(text(pack["README.txt"]!)).toContain(`${names.length} in 2 files`);
    }
  });

  test("left by a run that was killed is taken up by the next, and two runs make it once", async () => {
    const id = await request({ template: "costs", from: "2026-01-01" });
    await client.query("select audit.claim_report('1 hour')");
    expect(await job("/reports")).toMatchObject({ reports: 0, more: false });
    await client.query("update audit.reports set lease_until = '-infinity' where id = $1", [id]);
    const runs = await Promise.all([job("/reports"), job("/reports")]);
    expect(runs.reduce((sum, { reports }) => sum + Number(reports), 0)).toBe(1);
    await fetched(id);
  });
});

describe("what is refused", () => {
  test.each([
    ["a member", BOB, { template: "soc2" }, 403],
    ["a viewer", VERA, { template: "soc2" }, 403],
    ["another organisation's admin", OSCAR, { template: "soc2", organization_id: ACME }, 403],
    ["no template", ALICE, {}, 400],
    ["an unknown template", ALICE, { template: "iso" }, 400],
    ["an unknown field", ALICE, { template: "soc2", until: "2026-01-01" }, 400],
    ["an inverted period", ALICE, { template: "soc2", from: "2026-02-01", to: "2026-01-01" }, 422],
    ["a period to come", ALICE, { template: "soc2", from: "2026-02-01", to: "2990-01-01" }, 422],
    ["no date", ALICE, { template: "soc2", from: "2026-02-31" }, 422],
    ["an unknown person", ALICE, { template: "subject_access", subject: "who@acme.example" }, 404],
  ])("%s", async (_, as, body, status) => {
    const response = await api.call("/reports", { body, as });
    expect([response.status, await response.json()]).toMatchObject([status, { code: expect.any(String) }]);
  });
});

describe("a schedule", () => {
  test("is reckoned, comes due, is caught up once, and ends", async () => {
    const made = Schedule.parse(
      await (await api.call("/report-schedules", {
        body: { template: "costs", cron: "0 6 1 * *", time_zone: "Asia/Tokyo" },
      })).json(),
    );
    await job("/reports");
    const next = async () => {
      const { schedules } = ScheduleList.parse(await (await api.call("/report-schedules")).json());
      return schedules.find(({ id }) => id === made.id)!.next_at!;
    };
    expect(new Date(await next()).getUTCHours()).toBe(21);
    // As if nobody had run it for three months.
    await client.query("update audit.report_schedules set next_at = now() - interval '95 days' where id = $1", [
      made.id,
    ]);
    expect(await job("/reports")).toMatchObject({ scheduled: 1 });
    expect(await job("/reports")).toMatchObject({ scheduled: 0 });
    expect(Date.parse(await next())).toBeGreaterThan(Date.now());
    const { rows } = await client.query("select state, requested_by from audit.reports where schedule = $1", [made.id]);
    expect(rows).toEqual([{ state: "done", requested_by: null }]);
    expect((await api.call(`/report-schedules/${made.id}`, { method: "DELETE" })).status).toBe(200);
    expect((await api.call(`/report-schedules/${made.id}`, { method: "DELETE" })).status).toBe(404);
  });

  describe("tells its recipients", () => {
    let receiver: AlertReceiver;
    const channels = new Map<string, { id: string; secret: string }>();

    beforeAll(async () => {
      receiver = await startAlertReceiver();
      await client.query("select audit.configure('local_channels', 'true')");
      for (const [name, personal] of [["ops", false], ["people", true], ["usual", false]] as const) {
        const body = { kind: "webhook", name, url: `${receiver.url}/${name}`, personal, default: name === "usual" };
        channels.set(name, await (await api.call("/channels", { body })).json() as { id: string; secret: string });
      }
    });
    beforeEach(() => {
      receiver.taken = [];
      receiver.behave = () => undefined;
    });
    afterAll(() => receiver.stop());

    const ids = (...names: string[]) => names.map((name) => channels.get(name)!.id);
    /** Made, and due as if nobody had run it since. */
    async function due(body: object, since = "1 day"): Promise<string> {
      const response = await api.call("/report-schedules", { body: { cron: "0 6 1 * *", ...body } });
      const { id } = Schedule.parse(await response.json());
      await job("/reports");
      await client.query("update audit.report_schedules set next_at = now() - $2::interval where id = $1", [id, since]);
      return id;
    }
    /** Each message's files, by the channel that got it; as whoever has their addresses reads them. */
    async function read(): Promise<Map<string, { report: Report; pdf: string }>> {
      const read = new Map();
      for (const { path, body, ...message } of receiver.taken) {
        expect(verifies({ path, body, ...message }, channels.get(path.slice(1))!.secret)).toBe(true);
        const { files, report } = body.data.links as { files: Record<string, string>; report: string };
        expect(report).toBe(`${api.url}/functions/v1/audit/reports/${body.data.report_id}`);
        const [json, pdf, zip] = await Promise.all(
          ["report.json", "report.pdf", "evidence.zip"].map(async (name) => {
            const response = await fetch(files[name]!);
            expect(response.status).toBe(200);
            return new Uint8Array(await response.arrayBuffer());
          }),
        );
        expect(await findings(unzipSync(zip!))).toEqual([]);
        const parsed = Report.parse(JSON.parse(text(json!)));
        expect(parsed.content_sha256).toBe(body.data.content_sha256);
        read.set(path.slice(1), { report: parsed, pdf: pdfText(pdf!) });
      }
      return read;
    }

    test("each channel that it names, with files that may be shown to all of them", async () => {
      const schedule = await due({ template: "access_review", channels: ids("ops", "people") });
      expect(await job("/reports")).toMatchObject({ scheduled: 1, reports: 1 });
      expect(await job("/deliver-alerts")).toMatchObject({ delivered: 2, failed: 0 });
      const files = await read();
      expect([...files.keys()].sort()).toEqual(["ops", "people"]);
      expect(files.get("ops")!.pdf).not.toContain("@acme.example");
      expect(await job("/reports")).toMatchObject({ scheduled: 0, reports: 0 });
      expect(await job("/deliver-alerts")).toMatchObject({ delivered: 0 });
      await client.query("update audit.report_schedules set channels = $2, next_at = now() where id = $1", [
        schedule,
        ids("people"),
      ]);
      receiver.taken = [];
      await job("/reports");
      await job("/deliver-alerts");
      expect((await read()).get("people")!.pdf).toContain("a@acme.example");
    });

    test("what was missed for months is caught up and told once, to the default channels", async () => {
      await due({ template: "costs" }, "400 days");
      expect(await job("/reports")).toMatchObject({ scheduled: 1, reports: 1 });
      await job("/reports");
      await job("/deliver-alerts");
      expect([...(await read()).keys()]).toEqual(["usual"]);
    });

    test("the monthly statement goes to the default channels of each organisation", async () => {
      await client.query(
        "update audit.report_schedules set next_at = now() - interval '1 day' where template = 'attestation'",
      );
      const { scheduled } = await job("/reports");
      expect(scheduled).toBeGreaterThanOrEqual(2); // of the project, and of each organisation that has entries
      for (let run = 0; run < 5; run++) await job("/reports");
      await job("/deliver-alerts");
      const files = await read();
      expect([...files.keys()]).toEqual(["usual"]);
      expect(files.get("usual")!.report.report).toMatchObject({
        title: "Statement of integrity",
        organization_id: ACME,
      });
    });

    test("a crash between finishing and telling leaves neither; the next run does both, once", async () => {
      await due({ template: "policies", channels: ids("ops") });
      await client.query(
        `create function public.die() returns trigger language plpgsql as $$ begin raise 'killed'; end $$;
         create trigger die before insert on audit.deliveries for each row execute function public.die()`,
      );
      expect(await job("/reports")).toMatchObject({ scheduled: 1, reports: 0, failed: 1 });
      const state = async () =>
        (await client.query("select state from audit.reports where template = 'policies' and schedule is not null"))
          .rows;
      expect(await state()).toEqual([{ state: "queued" }]);
      await client.query("drop trigger die on audit.deliveries; drop function public.die()");
      expect(await job("/reports")).toMatchObject({ reports: 1, failed: 0 });
      expect(await state()).toEqual([{ state: "done" }]);
      await job("/deliver-alerts");
      expect([...(await read()).keys()]).toEqual(["ops"]);
      const { rows } = await client.query(
        `select count(*)::int as n from audit_logs l join audit.reports r on r.id::text = l.resource_id
         where l.action = 'report.generated' and r.template = 'policies' and r.schedule is not null`,
      );
      expect(rows).toEqual([{ n: 1 }]);
    });

    test("late, after the channel failed, with links that still hold", async () => {
      await due({ template: "costs", channels: ids("ops") });
      await job("/reports");
      receiver.behave = () => ({ status: 500 });
      expect(await job("/deliver-alerts")).toMatchObject({ delivered: 0, failed: 1 });
      receiver.behave = () => undefined;
      await client.query(
        `update audit.deliveries set next_try_at = now(), message = message || '{"links_until": "2026-01-01T00:00:00Z"}'
         where state = 'waiting'`,
      );
      expect(await job("/deliver-alerts")).toMatchObject({ delivered: 1 });
      expect([...(await read()).keys()]).toEqual(["ops"]);
    });

    test("no channel of another organisation can be named", async () => {
      const body = { template: "costs", cron: "0 6 1 * *", channels: ids("ops") };
      const response = await api.call("/report-schedules", { body: { ...body, organization_id: OTHER }, as: OSCAR });
      expect([response.status, await response.json()]).toMatchObject([422, { code: "invalid_argument" }]);
    });
  });

  test.each([
    ["every minute", "* * * * *", 400],
    ["twice an hour", "0,30 * * * *", 400],
    ["never", "0 0 31 2 *", 400],
    ["no expression", "now and then", 400],
    ["six fields", "0 0 6 1 * *", 400],
    ["hourly", "0 * * * *", 200],
  ])("%s", async (_, cron, status) => {
    expect((await api.call("/report-schedules", { body: { template: "costs", cron } })).status).toBe(status);
  });
});
