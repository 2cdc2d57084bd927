// How fast search is, as an admin of an organisation that has a tenth of a large log: first pages by what is asked for,
// pages far behind, and what the function adds to the SQL.
import { appendFile, writeFile } from "node:fs/promises";
import { type LogDatabase, withLogDatabase } from "./generated_log_database.ts";
import { ENTRIES_PER_UNIT } from "./generated_log_plan.ts";
import { besideIndexJob, INDEX_EVERY_MS } from "./index_job.ts";
import { type Machine, readMachine } from "./machine.ts";
import { schedule } from "./process_usage.ts";
import { seededRandom, shuffled } from "./random.ts";
import { explainSearch } from "./search_explain.ts";
import { withSearchClient } from "./search_client.ts";
import { type Depth, measureDepth } from "./search_depth.ts";
import { measureOverhead, type Overhead } from "./search_overhead.ts";
import { type Request, requestClasses } from "./search_requests.ts";
import { mean, median, percentile } from "./statistics.ts";
import { judge, type Judged, SEARCH_GOALS } from "./targets.ts";

export type SearchOptions = {
  /** Sizes of the logs. */
  entries: number[];
  /** Of each class of requests. */
  requests: number;
  keep?: string;
  dir?: string;
  explain?: string;
  onProgress(line: string): void;
};

export type ClassTimes = {
  group: string;
  title: string;
  /** Ascending. */
  milliseconds: number[];
  /** On an average page. */
  entries: number;
  /** Milliseconds for which an average search ran, and waited because others had the processor; NaN where unknown. */
  cpu: number;
  waited: number;
  slowest: Request;
};

export type SizeReport = {
  entries: number;
  organization: number;
  classes: ClassTimes[];
  depth: Depth[];
  /** Undefined where there is no function yet. */
  overhead: Overhead[] | undefined;
};

export type SearchReport = { machine: Machine; sizes: SizeReport[]; targets: Judged[] };

const EXPLAINED = 8;

export async function benchSearch(options: SearchOptions): Promise<SearchReport> {
  const sizes: SizeReport[] = [];
  let machine: Machine | undefined;
  if (options.explain !== undefined) await writeFile(options.explain, "");
  for (const entries of options.entries) {
    options.onProgress(`${entries.toLocaleString("en")} entries`);
    await withLogDatabase({ ...options, entries }, async (log) => {
      machine ??= await readMachine(log.adminUrl);
      // Every search leaves an entry: without the job they would pile up unindexed, as nowhere else.
      const { result } = await besideIndexJob(log.url, INDEX_EVERY_MS, () => measureSize(log, options));
      sizes.push(result);
    });
  }
  const largest = sizes.at(-1)!;
  const ofGroup = (group: string) => p95(groupTimes(largest.classes, group));
  return {
    machine: machine!,
    sizes,
    targets: [
      judge(SEARCH_GOALS.filters, ofGroup("filters")),
      judge(SEARCH_GOALS.text, ofGroup("text and details")),
      judge(SEARCH_GOALS.depth, Math.max(...largest.depth.map(({ ratio }) => ratio))),
      judge(SEARCH_GOALS.overhead, largest.overhead && median(largest.overhead.map(({ added }) => added))),
    ],
  };
}

async function measureSize(log: LogDatabase, options: SearchOptions): Promise<SizeReport> {
  const classes = await measureClasses(log, options);
  if (options.explain !== undefined) await explainSlowest(log, classes, options.explain);
  return {
    entries: log.plan.entries,
    organization: log.plan.organizations[0]!.units * ENTRIES_PER_UNIT,
    classes,
    depth: await measureDepth(log, options.onProgress),
    overhead: await measureOverhead(log, options),
  };
}

async function explainSlowest(log: LogDatabase, classes: ClassTimes[], file: string): Promise<void> {
  const slowest = [...classes].sort((a, b) => p95(b.milliseconds) - p95(a.milliseconds)).slice(0, EXPLAINED);
  for (const { title, slowest: request } of slowest) {
    const plans = await explainSearch(log, request);
    await appendFile(file, `${log.plan.entries} entries: ${title}\n${JSON.stringify(request)}\n\n${plans}\n\n`);
  }
}

/** All requests of a group, ascending. */
export function groupTimes(classes: ClassTimes[], group: string): number[] {
  return classes.filter((each) => each.group === group).flatMap(({ milliseconds }) => milliseconds).sort((a, b) =>
    a - b
  );
}

function p95(ascending: number[]): number {
  return percentile(ascending, 0.95);
}

type Measurement = {
  milliseconds: number;
  entries: number;
  request: Request;
  cpu: number;
  waited: number;
};

/** Every class in turn would keep its own pages warm: all are mixed. */
async function measureClasses(log: LogDatabase, { requests, onProgress }: SearchOptions): Promise<ClassTimes[]> {
  const classes = requestClasses(log.plan);
  const random = seededRandom(1);
  const measured = classes.map((): Measurement[] => []);
  await withSearchClient(log, async (client) => {
    for (const each of classes) {
      await client.search(each.make(random)).catch((error) => {
        throw new Error(`${each.title}: ${error.message}`, { cause: error });
      });
    }
    const turns = classes.flatMap((_, index) => Array.from({ length: requests }, () => index));
    for (const [turn, index] of shuffled(turns, random).entries()) {
      const request = classes[index]!.make(random);
      const before = await schedule(client.pid);
      const { page, milliseconds } = await client.search(request);
      const after = await schedule(client.pid);
      measured[index]!.push({
        milliseconds,
        entries: page.entries.length,
        request,
        cpu: after.ran - before.ran,
        waited: after.waited - before.waited,
      });
      if ((turn + 1) % Math.ceil(turns.length / 4) === 0) onProgress(`  ${turn + 1} of ${turns.length} searches`);
    }
  });
  return classes.map(({ group, title }, index) => {
    const runs = measured[index]!.sort((a, b) => a.milliseconds - b.milliseconds);
    return {
      group,
      title,
      milliseconds: runs.map(({ milliseconds }) => milliseconds),
      entries: mean(runs.map(({ entries }) => entries)),
      cpu: mean(runs.map(({ cpu }) => cpu)),
      waited: mean(runs.map(({ waited }) => waited)),
      slowest: runs.at(-1)!.request,
    };
  });
}
