// The command line of the benches; see `npm run bench -- --help`.
import { access, writeFile } from "node:fs/promises";
import { Command, InvalidArgumentError, Option } from "commander";
import { benchAlerts } from "./alerts.ts";
import { benchAnomaly } from "./anomaly.ts";
import { benchCapture, SCENARIOS } from "./capture.ts";
import type { Commit } from "./cluster.ts";
import { benchDelivery } from "./delivery.ts";
import { benchDrain } from "./drain.ts";
import { benchExport } from "./export.ts";
import { benchGrowth } from "./growth.ts";
import {
  formatAlerts,
  formatAnomaly,
  formatCapture,
  formatDelivery,
  formatDrain,
  formatExport,
  formatGrowth,
  formatJudged,
  formatLogin,
  formatMachine,
  formatReports,
  formatSeal,
  formatSearch,
  formatVerify,
  formatViewer,
} from "./report.ts";
import { benchLogin } from "./login.ts";
import type { Scenario } from "./scenario.ts";
import { benchReports } from "./reports.ts";
import { benchSeal } from "./seal.ts";
import { benchSearch } from "./search.ts";
import { benchVerify } from "./verify.ts";
import { benchViewer } from "./viewer.ts";

type CaptureArguments = {
  supaAudit?: string;
  json?: string;
  dir?: string;
  commitDelay: Commit | "both";
  seconds: number;
  rounds: number;
  only?: Scenario[];
};

type GrowthArguments = {
  entries: number;
  seconds: number;
  rounds: number;
  keep?: string;
  dir?: string;
  json?: string;
};

type VerifyArguments = { entries: number; json?: string; dir?: string };

type SearchArguments = {
  entries?: number[];
  requests: number;
  explain?: string;
  keep?: string;
  dir?: string;
  json?: string;
};

type LoginArguments = { logins: number; json?: string; dir?: string };

type AlertsArguments = { entries?: number[]; rounds: number; keep?: string; dir?: string; json?: string };

type SealArguments = { entries: number; seconds: number; rounds: number; json?: string; dir?: string };

type DrainArguments = { lines: number; rounds: number; json?: string; dir?: string };

type DeliveryArguments = { deliveries: number; seconds: number; json?: string; dir?: string };

type ExportArguments = { entries: number; rounds: number; keep?: string; dir?: string; json?: string };

type ViewerArguments = {
  entries: number;
  scroll: number;
  rounds: number;
  keep?: string;
  dir?: string;
  json?: string;
};

type AnomalyArguments = { nab?: string; tenants: number; days: number; dir?: string; json?: string };

const program = new Command("npm run bench --").description(
  "Measures capture, verification, search, export, sealing, alerts, anomalies and the viewer, on servers of its own.",
);

program.command("capture").description(
  "compare unaudited tables, ours and supa_audit; after every run each chain must verify",
).option("--supa-audit <file>", "the peer's supa_audit--0.3.1.sql; without it the comparison is left out").addOption(
  new Option("--commit-delay <kind>", "cost of a commit: the disk's own, 1 ms in memory, or one after the other")
    .choices(["disk", "1ms", "both"]).default("both"),
).option("--seconds <number>", "length of a run with several writers", positive, 5).option(
  "--rounds <number>",
  "runs of each scenario and variant; medians are shown",
  positive,
  3,
).option("--only <names...>", `scenarios, also by the beginning of their names: ${names()}`, choose).option(
  "--dir <folder>",
  "where the disk's database is made (default: the system's temporary folder)",
).option("--json <file>", "also write every single run to a file").action(capture);

withLog(program.command("growth")).description(
  "compare capture in a large log with capture in an empty one; after every run all that it wrote must verify",
).option("--entries <number>", "size of the large log", positive, 10_000_000).option(
  "--seconds <number>",
  "length of a run with writers",
  positive,
  10,
).option("--rounds <number>", "runs of each scenario in each log; medians are judged", positive, 5).action(growth);

program.command("verify").description(
  "time the verification of a log in SQL and in TypeScript, as it grows to a tenth, half and all",
).option("--entries <number>", "size of the log", positive, 1_000_000).option(
  "--dir <folder>",
  "where the database is made (default: the system's temporary folder)",
).option("--json <file>", "also write the figures to a file").action(verify);

withLog(program.command("search")).description(
  "time searches in an organisation that has a tenth of a generated log; medians and percentiles",
).option("--entries <numbers>", "sizes of the log, with commas between (default: 1000000,10000000)", sizes).option(
  "--requests <number>",
  "searches of each class",
  positive,
  40,
).option("--explain <file>", "write what the planner made of the slowest classes to a file").action(search);

withLog(program.command("export")).description(
  "time exports of an organisation that has a tenth of a generated log, beside psql's \\copy of it",
).option("--entries <number>", "size of the log", positive, 10_000_000).option(
  "--rounds <number>",
  "exports in each format; medians are shown",
  positive,
  3,
).action(exportLog);

program.command("seal").description(
  "time sealing by the function, what waits for it and what it takes from writers, and offline verification",
).option("--entries <number>", "size of the backlog", positive, 1_000_000).option(
  "--seconds <number>",
  "length of a run with writers: at least 30, in which purging comes round once",
  positive,
  30,
).option("--rounds <number>", "runs with and without sealing beside the writers; medians are judged", positive, 3)
  .option("--dir <folder>", "where the databases are made (default: the system's temporary folder)").option(
    "--json <file>",
    "also write all figures to a file",
  ).action(seal);

program.command("login").description(
  "time logins with and without capture, in turn, and how fast events of a log are settled",
).option("--logins <number>", "logins of each kind", positive, 1_000).option(
  "--dir <folder>",
  "where the databases are made (default: the system's temporary folder)",
).option("--json <file>", "also write all figures to a file").action(login);

program.command("drain").description(
  "count the lines of log drains that the function takes in a second, and what a batch costs it",
).option("--lines <number>", "lines of a run", positive, 20_000).option(
  "--rounds <number>",
  "runs of each kind",
  positive,
  1,
)
  .option("--dir <folder>", "where the databases are made (default: the system's temporary folder)").option(
    "--json <file>",
    "also write all figures to a file",
  ).action(drain);

program.command("delivery").description(
  "time entries on their way through rules to webhooks: from commit to receipt, and how many a run of the job delivers",
).option("--deliveries <number>", "size of the backlog", positive, 5_000).option(
  "--seconds <number>",
  "how long entries are written that raise alerts",
  positive,
  60,
).option("--dir <folder>", "where the databases are made (default: the system's temporary folder)").option(
  "--json <file>",
  "also write all figures to a file",
).action(delivery);

program.command("reports").description(
  "time reports and erasures in an organisation of so many entries, all of one person",
).option("--entries <number>", "size of the log", positive, 1_000_000).option(
  "--dir <folder>",
  "where the database is made (default: the system's temporary folder)",
).option("--json <file>", "also write the figures to a file").action(reports);

withLog(program.command("alerts")).description(
  "time the evaluation of new entries by 50 rules, and count what the defaults raise where nothing is wrong",
).option("--entries <numbers>", "sizes of the log, with commas between (default: 100000,1000000)", sizes).option(
  "--rounds <number>",
  "evaluations of each kind; medians are shown",
  positive,
  5,
).action(alerts);

program.command("viewer").description(
  "time the viewer's first page in Chromium, and scroll over a long list; on a local stack of its own",
).option("--entries <number>", "entries of the organisation", positive, 1_000_000).option(
  "--scroll <number>",
  "entries that are scrolled over",
  positive,
  100_000,
).option("--rounds <number>", "first pages of each search", positive, 10)
  .option("--keep <folder>", "make the stack there, or find it").option(
    "--dir <folder>",
    "where a stack that is not kept is made (default: the system's temporary folder)",
  ).option("--json <file>", "also write all figures to a file").action(viewer);

program.command("anomaly").description(
  "score the detection of anomalies on series of NAB, and count false alerts of quiet tenants",
).option(
  "--nab <folder>",
  "NAB's data: its checkout, or a folder like it (default: NAB_DATA, else beside this checkout)",
)
  .option("--tenants <number>", "made-up tenants of each kind", positive, 10).option(
    "--days <number>",
    "how long they are watched",
    positive,
    56,
  ).option("--dir <folder>", "where the database is made (default: the system's temporary folder)").option(
    "--json <file>",
    "also write all figures to a file",
  ).action(anomaly);

try {
  await program.parseAsync();
} catch (error) {
  console.error(`\nError: ${(error as Error).message}`);
  process.exitCode = 1;
}

function withLog(command: Command): Command {
  return command
    .option("--keep <folder>", "make the log there, or find it: 10 million entries take many minutes and 20 GB")
    .option("--dir <folder>", "where a log that is not kept is made (default: the system's temporary folder)")
    .option("--json <file>", "also write all figures to a file");
}

async function capture({ commitDelay, only = SCENARIOS, json, ...rest }: CaptureArguments): Promise<void> {
  if (rest.supaAudit !== undefined) await access(rest.supaAudit); // before half an hour's work
  const report = await benchCapture({
    ...rest,
    commits: commitDelay === "both" ? ["1ms", "disk"] : [commitDelay],
    scenarios: only,
    onProgress: (line) => console.error(line),
  });
  console.log([
    `\n${formatMachine(report.machine)}`,
    `Rounds: ${rest.rounds}, medians shown; load runs of ${rest.seconds} s; after each run every chain verified`,
    formatCapture(report.runs, only),
    formatJudged(report.targets),
  ].join("\n\n"));
  if (json !== undefined) await writeJson(json, report);
}

async function growth({ json, ...rest }: GrowthArguments): Promise<void> {
  const report = await benchGrowth({ ...rest, onProgress: (line) => console.error(line) });
  console.log([
    `\n${formatMachine(report.machine)}`,
    `Rounds: ${rest.rounds}, in turn, medians shown; runs of ${rest.seconds} s; all that a run wrote verified after it`,
    formatGrowth(report),
    formatJudged(report.targets),
  ].join("\n\n"));
  if (json !== undefined) await writeJson(json, report);
}

async function verify({ json, ...rest }: VerifyArguments): Promise<void> {
  const report = await benchVerify({ ...rest, onProgress: (line) => console.error(line) });
  console.log([
    `\n${formatMachine(report.machine)}`,
    "Medians of 3 runs; the log is spread over 8 organisations; every run found every chain verified",
    formatVerify(report),
    formatJudged(report.targets),
  ].join("\n\n"));
  if (json !== undefined) await writeJson(json, report);
}

async function search({ json, entries = [1_000_000, 10_000_000], ...rest }: SearchArguments): Promise<void> {
  const report = await benchSearch({ ...rest, entries, onProgress: (line) => console.error(line) });
  console.log([
    `\n${formatMachine(report.machine)}`,
    `${rest.requests} searches of each class, in random order; as an admin, under row level security`,
    formatSearch(report),
    formatJudged(report.targets),
  ].join("\n\n"));
  if (json !== undefined) await writeJson(json, report);
}

async function login({ json, ...rest }: LoginArguments): Promise<void> {
  const report = await benchLogin({ ...rest, onProgress: (line) => console.error(line) });
  console.log([
    `\n${formatMachine(report.machine)}`,
    `${rest.logins} logins of each kind, one connection, with and without capture in turn; every chain verified`,
    formatLogin(report),
    formatJudged(report.targets),
  ].join("\n\n"));
  if (json !== undefined) await writeJson(json, report);
}

async function seal({ json, ...rest }: SealArguments): Promise<void> {
  const report = await benchSeal({ ...rest, onProgress: (line) => console.error(line) });
  console.log(
    [
      `\n${formatMachine(report.machine)}`,
      "Function, database, Storage's stand-in and writers share the machine",
      formatSeal(report),
      formatJudged(report.targets),
    ].join("\n\n"),
  );
  if (json !== undefined) await writeJson(json, report);
}

async function drain({ json, ...rest }: DrainArguments): Promise<void> {
  const report = await benchDrain({ ...rest, onProgress: (line) => console.error(line) });
  console.log(
    [
      `\n${formatMachine(report.machine)}`,
      "Function, database and senders share the machine; after every run each chain verified",
      formatDrain(report),
      formatJudged(report.targets),
    ].join("\n\n"),
  );
  if (json !== undefined) await writeJson(json, report);
}

async function delivery({ json, ...rest }: DeliveryArguments): Promise<void> {
  const report = await benchDelivery({ ...rest, onProgress: (line) => console.error(line) });
  console.log(
    [
      `\n${formatMachine(report.machine)}`,
      "Function, database, clock and receiver share the machine",
      formatDelivery(report),
      formatJudged(report.targets),
    ].join("\n\n"),
  );
  if (json !== undefined) await writeJson(json, report);
}

async function alerts({ json, entries = [100_000, 1_000_000], ...rest }: AlertsArguments): Promise<void> {
  const report = await benchAlerts({ ...rest, entries, onProgress: (line) => console.error(line) });
  console.log([
    `\n${formatMachine(report.machine)}`,
    `${rest.rounds} rounds, medians of the backend's processor time; a connection each, planning included`,
    formatAlerts(report),
    formatJudged(report.targets),
  ].join("\n\n"));
  if (json !== undefined) await writeJson(json, report);
}

async function exportLog({ json, ...rest }: ExportArguments): Promise<void> {
  const report = await benchExport({ ...rest, onProgress: (line) => console.error(line) });
  console.log([
    `\n${formatMachine(report.machine)}`,
    `${rest.rounds} rounds; clients, function and database share the machine`,
    formatExport(report),
    formatJudged(report.targets),
  ].join("\n\n"));
  if (json !== undefined) await writeJson(json, report);
}

async function reports({ json, ...rest }: VerifyArguments): Promise<void> {
  const report = await benchReports({ ...rest, onProgress: (line) => console.error(line) });
  console.log([
    `\n${formatMachine(report.machine)}`,
    "Function, database, Storage's stand-in and writer share the machine",
    formatReports(report),
    formatJudged(report.targets),
  ].join("\n\n"));
  if (json !== undefined) await writeJson(json, report);
}

async function viewer({ json, ...rest }: ViewerArguments): Promise<void> {
  const report = await benchViewer({ ...rest, onProgress: (line) => console.error(line) });
  console.log([
    `\n${formatMachine(report.machine)}`,
    "Browser, function and database share the machine; the stack's schedules are stopped; nothing is cached",
    formatViewer(report),
    formatJudged(report.targets),
  ].join("\n\n"));
  if (json !== undefined) await writeJson(json, report);
}

async function anomaly({ json, ...rest }: AnomalyArguments): Promise<void> {
  const report = await benchAnomaly({ ...rest, onProgress: (line) => console.error(line) });
  console.log(`\n${[formatMachine(report.machine), formatAnomaly(report), formatJudged(report.targets)].join("\n\n")}`);
  if (json !== undefined) await writeJson(json, report);
}

async function writeJson(file: string, report: object): Promise<void> {
  await writeFile(file, `${JSON.stringify(report, null, 2)}\n`);
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("a positive whole number is needed.");
}

function sizes(text: string): number[] {
  return text.split(",").map(positive);
}

/** Called for each name of the list. */
function choose(name: string, chosen: Scenario[] = []): Scenario[] {
  const found = SCENARIOS.filter((scenario) => scenario.name.startsWith(name) && !chosen.includes(scenario));
  if (found.length === 0) throw new InvalidArgumentError(`choose from ${names()}.`);
  return [...chosen, ...found];
}

function names(): string {
  return SCENARIOS.map(({ name }) => name).join(", ");
}
