// What reports and erasures cost in an organisation of a million entries by one person: processor time and memory of the
// function for each report, its longest section, and how long an erasure takes, and what a writer beside it waits.
import type pg from "pg";
import { withCluster } from "./cluster.ts";
import { type JobServer, withJobServer } from "./job_server.ts";
import { type Machine, readMachine } from "./machine.ts";
import { cpuSeconds, peakMemory, resetPeakMemory } from "./process_usage.ts";
import { insertMany } from "./sample.ts";
import { judge, type Judged, REPORT_GOALS } from "./targets.ts";
import { type Database, makeTemplates, withClient, withDatabase } from "./variants.ts";

export type ReportsOptions = { entries: number; dir?: string; onProgress(line: string): void };

export type ReportCost = {
  template: string;
  pages: number;
  invocations: number;
  /** Of all invocations, and of the dearest. */
  cpu_seconds: number;
  most_cpu_seconds: number;
  memory_mb: number;
  seconds: number;
  longest_section_s: number;
};

export type ErasureCost = { identities: number; seconds: number; writes: number; p50_ms: number; most_ms: number };

export type ReportsReport = { machine: Machine; reports: ReportCost[]; erasures: ErasureCost[]; targets: Judged[] };

const ROWS = 10_000;
const PERSON = "a1000000-0000-4000-8000-000000000001";
const EMAIL = "ann@acme.example";
/** The first report finds the function cold, as a hosted one mostly is. */
const TEMPLATES = [
  "soc2",
  "gdpr",
  "pci_dss",
  "hipaa",
  "annual",
  "costs",
  "access_review",
  "attestation",
  "incident",
  "subject_access",
];

export function benchReports({ entries, dir, onProgress }: ReportsOptions): Promise<ReportsReport> {
  return withCluster("disk", dir, async (cluster) => {
    const machine = await readMachine(cluster.adminUrl());
    await makeTemplates(cluster, undefined);
    return await withDatabase(cluster, "ours", async (database) => {
      const organization = await fill(database, entries, onProgress);
      const reports = await withJobServer(database, (server) => costs(database, server, organization, onProgress));
      const erasures: ErasureCost[] = [];
      // As they are, one a context; and at worst, one an entry.
      for (const more of [0, entries]) erasures.push(await erasure(database, organization, more));
      for (const each of erasures) onProgress(JSON.stringify(each));
      const most = Math.max(...reports.map(({ most_cpu_seconds }) => most_cpu_seconds));
      return {
        machine,
        reports,
        erasures,
        targets: [
          judge(REPORT_GOALS.cpu, most),
          judge(REPORT_GOALS.pages, fiftyPages(reports)),
          judge(REPORT_GOALS.memory, Math.max(...reports.map(({ memory_mb }) => memory_mb))),
          judge(REPORT_GOALS.erasure, Math.max(...erasures.map(({ seconds }) => seconds))),
        ],
      };
    });
  });
}

async function fill({ url }: Database, entries: number, onProgress: (line: string) => void): Promise<string> {
  return await withClient(url, async (client) => {
    for (let done = 0; done < entries; done += ROWS) {
      await act(client, `Agent/${done / ROWS}`);
      await client.query(insertMany(Math.min(ROWS, entries - done), "1"));
      if ((done / ROWS) % 20 === 0) onProgress(`written ${done + ROWS} of ${entries}`);
    }
    await client.query("vacuum analyze public.audit_logs");
    for (let left = true; left;) {
      const { rows: [{ n }] } = await client.query("select audit.index_entries(50000) as n");
      left = n > 0;
      if (left) onProgress(`indexed ${n}`);
    }
    await client.query("vacuum analyze audit.search_index");
    const { rows: [{ id }] } = await client.query(
      "select organization_id as id from audit.heads group by 1 order by sum(seq) desc limit 1",
    );
    return id as string;
  });
}

async function act(client: pg.Client, agent: string): Promise<void> {
  await client.query("select set_config('request.jwt.claims', $1, false), set_config('request.headers', $2, false)", [
    JSON.stringify({ sub: PERSON, role: "authenticated", email: EMAIL }),
    JSON.stringify({ "x-forwarded-for": "198.51.100.77", "user-agent": agent }),
  ]);
}

async function costs(
  { url }: Database,
  { run, pid }: JobServer,
  organization: string,
  onProgress: (line: string) => void,
): Promise<ReportCost[]> {
  return await withClient(url, async (client) => {
    const costs: ReportCost[] = [];
    // By the database itself: who asks is nobody's member here.
    await client.query("select set_config('request.jwt.claims', '', false)");
    for (const template of TEMPLATES) {
      const own = {
        incident: { at: await middle(client, organization), minutes: 1440 },
        subject_access: { subject: PERSON },
      }[template] ??
        { from: "2020-01-01" };
      const { rows: [{ id }] } = await client.query("select audit.request_report($1) ->> 'id' as id", [
        { organization_id: organization, template, ...own },
      ]);
      const cost = {
        template,
        pages: 0,
        invocations: 0,
        cpu_seconds: 0,
        most_cpu_seconds: 0,
        memory_mb: 0,
        seconds: 0,
        longest_section_s: 0,
      };
      const start = performance.now();
      for (let made = false; !made;) {
        await resetPeakMemory(pid);
        const before = await cpuSeconds(pid);
        const { reports, failed, more } = await run<{ reports: number; failed: number; more: boolean }>("reports");
        if (failed > 0 || reports === 0 && !more) throw new Error(`${template} fails`);
        const used = await cpuSeconds(pid) - before;
        cost.invocations++;
        cost.cpu_seconds += used;
        cost.most_cpu_seconds = Math.max(cost.most_cpu_seconds, used);
        cost.memory_mb = Math.max(cost.memory_mb, await peakMemory(pid));
        made = reports > 0;
      }
      cost.seconds = (performance.now() - start) / 1000;
      cost.longest_section_s = await longestSection(client, id);
      cost.pages = await pagesOf(client, id);
      onProgress(JSON.stringify(cost));
      costs.push(cost);
    }
    return costs;
  });
}

async function middle(client: pg.Client, organization: string): Promise<string> {
  const { rows: [{ at }] } = await client.query(
    "select audit.instant_text(min(created_at)) as at from public.audit_logs where organization_id = $1",
    [organization],
  );
  return at as string;
}

/** Gathered once more, section by section. */
async function longestSection(client: pg.Client, id: string): Promise<number> {
  const { rows } = await client.query("select unnest(steps) as step from audit.reports where id = $1", [id]);
  let longest = 0;
  for (const { step } of rows) {
    const start = performance.now();
    await client.query(
      step === "integrity"
        ? "select audit.verify_for_report(jsonb_populate_record(r, '{\"resume\": null}')) from audit.reports r where id = $1"
        : `select audit.report_sections(r, '${step}') from audit.reports r where id = $1`,
      [id],
    );
    longest = Math.max(longest, (performance.now() - start) / 1000);
  }
  return longest;
}

async function pagesOf(client: pg.Client, id: string): Promise<number> {
  const { complianceReport } = await import("../../functions/_shared/pdf/compliance_report.ts");
  await client.query("update audit.reports set state = 'running', attempts = 1 where id = $1", [id]);
  const { rows: [{ s }] } = await client.query("select audit.report_to_render($1, 1) as s", [id]);
  await client.query("update audit.reports set state = 'done' where id = $1", [id]);
  return (await complianceReport({ ...s, content: JSON.parse(s.content) })).pages;
}

/** Seconds of processor time for 50 pages, by the report with the most, its first invocation's start included. */
function fiftyPages(reports: ReportCost[]): number {
  const { pages, most_cpu_seconds } = [...reports].sort((a, b) => b.pages - a.pages)[0]!;
  return most_cpu_seconds * 50 / pages;
}

/** Erases the person, with a writer beside who is the same person; `more` identities are added to those of the log. */
async function erasure({ url }: Database, organization: string, more: number): Promise<ErasureCost> {
  return await withClient(url, (writer) =>
    withClient(url, async (client) => {
      await client.query(
        `insert into audit.identities (organization_id, user_id, email, ip_address, user_agent, salt, identity_hash, lookup)
         select $1, $2, $3, '198.51.100.77', 'Agent/' || n, audit.random_salt(), sha256(n::text::bytea), sha256(n::text::bytea)
         from generate_series(1, $4::int) n`,
        [organization, PERSON, EMAIL, more],
      );
      const { rows: [{ n }] } = await client.query(
        "select count(*)::int as n from audit.identities where user_id = $1",
        [PERSON],
      );
      const waits: number[] = [];
      let goes = true;
      const writing = (async () => {
        for (let at = 0; goes; at++) {
          const start = performance.now();
          await act(writer, `Beside/${at % 5}`);
          await writer.query(insertMany(1, "1"));
          waits.push(performance.now() - start);
        }
      })();
      const start = performance.now();
      await client.query("select audit.erase_subject($1, $2, '17(1)(a)', dry_run => false)", [organization, PERSON]);
      let state = "values";
      while (!["files", "verifying"].includes(state)) {
        await client.query("select audit.continue_erasures()");
        const { rows } = await client.query("select state from audit.erasures order by requested_at desc limit 1");
        state = rows[0].state;
      }
      const seconds = (performance.now() - start) / 1000;
      goes = false;
      await writing;
      await client.query("update audit.erasures set state = 'done'");
      waits.sort((a, b) => a - b);
      return {
        identities: n,
        seconds,
        writes: waits.length,
        p50_ms: waits[waits.length >> 1]!,
        most_ms: waits.at(-1)!,
      };
    }));
}
