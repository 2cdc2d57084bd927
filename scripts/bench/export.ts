// How fast an export leaves, against psql's \copy of the same query, and what the function's process needs for it.
import { type Download, downloadExport } from "./export_download.ts";
import { copyStatement, copyWithPsql } from "./export_psql.ts";
import { withFunctionServer } from "./function_server.ts";
import { type LogDatabase, withLogDatabase } from "./generated_log_database.ts";
import { ENTRIES_PER_UNIT } from "./generated_log_plan.ts";
import { type Machine, readMachine } from "./machine.ts";
import { cpuSeconds, peakMemory, resetPeakMemory } from "./process_usage.ts";
import { median, pairedMedian } from "./statistics.ts";
import { EXPORT_GOALS, judge, type Judged } from "./targets.ts";

export type ExportOptions = {
  /** Of the whole log; the measured organisation, whose log is exported, has a tenth. */
  entries: number;
  rounds: number;
  keep?: string;
  dir?: string;
  onProgress(line: string): void;
};

export type Variation = { title: string; format: string; gzip?: true; limit?: number };

/** The first is judged: as people get it who ask for nothing else. */
const VARIATIONS: Variation[] = [
  { title: "csv", format: "csv" },
  { title: "csv in one part", format: "csv", limit: 1_000_000 },
  { title: "csv, gzip", format: "csv", gzip: true },
  { title: "ndjson", format: "ndjson" },
  { title: "json", format: "json" },
];

type Round = Download & { seconds: number; cpu_seconds: number; idle_mb: number; memory_mb: number };

export type ExportReport = {
  machine: Machine;
  entries: number;
  psql: { seconds: number[]; bytes: number };
  variations: { title: string; rounds: Round[] }[];
  targets: Judged[];
};

export function benchExport({ rounds, onProgress, ...options }: ExportOptions): Promise<ExportReport> {
  return withLogDatabase({ ...options, onProgress }, async (log) => {
    const machine = await readMachine(log.adminUrl);
    const measured = await measure(log, rounds, onProgress);
    const [{ rounds: csv }] = measured.variations as [ExportReport["variations"][number]];
    const entries = log.plan.organizations[0]!.units * ENTRIES_PER_UNIT;
    return {
      machine,
      entries,
      ...measured,
      targets: [
        judge(
          EXPORT_GOALS.throughput,
          pairedMedian(measured.psql.seconds, csv.map(({ seconds }) => seconds), (psql, ours) => psql / ours),
        ),
        judge(EXPORT_GOALS.cpu, median(csv.map(({ cpu_seconds }) => cpu_seconds)) * 1e6 / entries),
        judge(EXPORT_GOALS.memory, Math.max(...csv.map(({ memory_mb }) => memory_mb))),
      ],
    };
  });
}

/** What is exported: the generated log, without the entries that exports and searches have left since. */
function exported(log: LogDatabase): { organization_id: string; query: string } {
  return { organization_id: log.organization, query: `created:<${log.plan.end.toISOString()}` };
}

async function measure(
  log: LogDatabase,
  rounds: number,
  onProgress: ExportOptions["onProgress"],
): Promise<Pick<ExportReport, "psql" | "variations">> {
  const statement = await copyStatement(log, exported(log));
  const psql = { seconds: [] as number[], bytes: await copyWithPsql(log, statement, "count") };
  const variations = VARIATIONS.map((variation) => ({ ...variation, rounds: [] as Round[] }));
  for (let round = 0; round < rounds; round++) {
    const turns = [
      async () => {
        const start = performance.now();
        await copyWithPsql(log, statement, "discard");
        psql.seconds.push((performance.now() - start) / 1000);
        onProgress(`  ${round + 1}/${rounds} psql: ${psql.seconds.at(-1)!.toFixed(2)} s`);
      },
      ...variations.map(({ rounds: runs, ...variation }) => async () => {
        runs.push(await measureDownload(log, variation));
        const { seconds, cpu_seconds, memory_mb } = runs.at(-1)!;
        onProgress(
          `  ${round + 1}/${rounds} ${variation.title}: ${seconds.toFixed(2)} s, ${cpu_seconds.toFixed(2)} s CPU, ` +
            `${memory_mb.toFixed(0)} MB`,
        );
      }),
    ];
    for (let turn = 0; turn < turns.length; turn++) await turns[(round + turn) % turns.length]!();
  }
  return { psql, variations };
}

/** In a process of its own: memory that one export took does not come back before the next. */
async function measureDownload(log: LogDatabase, variation: Variation): Promise<Round> {
  const round = await withFunctionServer(log, async (server) => {
    await resetPeakMemory(server.pid);
    const idle = await peakMemory(server.pid);
    const cpu = await cpuSeconds(server.pid);
    const start = performance.now();
    const download = await downloadExport(server, exported(log), variation);
    return {
      ...download,
      seconds: (performance.now() - start) / 1000,
      cpu_seconds: await cpuSeconds(server.pid) - cpu,
      idle_mb: idle,
      memory_mb: await peakMemory(server.pid),
    };
  });
  if (round === undefined) throw new Error("there is no function audit");
  const entries = log.plan.organizations[0]!.units * ENTRIES_PER_UNIT;
  if (round.entries !== entries) throw new Error(`${round.entries} entries were exported instead of ${entries}`);
  return round;
}
