// What capture costs: every scenario in rounds, the variants one after another within a round, each in a new database.
import { BULK } from "./bulk.ts";
import { type Commit, COMMIT_NAMES, withCluster } from "./cluster.ts";
import { IDLE_TRANSACTION } from "./idle_transaction.ts";
import { checkLog } from "./log_check.ts";
import { LONG_TRANSACTION } from "./long_transaction.ts";
import { type Machine, readMachine } from "./machine.ts";
import { Measured, type Run } from "./results.ts";
import type { Scenario } from "./scenario.ts";
import { SEARCH_INDEX } from "./search_index.ts";
import { CAPTURE_TARGETS, judge, type Judged } from "./targets.ts";
import { makeTemplates, type Variant, withDatabase } from "./variants.ts";
import { ISOLATION, WRITERS } from "./writers.ts";

export const SCENARIOS: Scenario[] = [
  ...WRITERS,
  ...BULK,
  ...LONG_TRANSACTION,
  IDLE_TRANSACTION,
  ...ISOLATION,
  ...SEARCH_INDEX,
];

export type CaptureOptions = {
  commits: Commit[];
  scenarios: Scenario[];
  seconds: number;
  rounds: number;
  supaAudit?: string;
  dir?: string;
  onProgress(line: string): void;
};

export type CaptureReport = { machine: Machine; runs: Run[]; targets: Judged[] };

export async function benchCapture(options: CaptureOptions): Promise<CaptureReport> {
  const runs: Run[] = [];
  let machine: Machine | undefined;
  for (const [index, commit] of options.commits.entries()) {
    // Only throughput depends so much on the cost of a commit that it is measured at each.
    const scenarios = options.scenarios.filter(({ kind }) => index === 0 || kind === "writers");
    if (scenarios.length === 0) continue;
    options.onProgress(`Commit: ${COMMIT_NAMES[commit]}`);
    await withCluster(commit, options.dir, async (cluster) => {
      machine ??= await readMachine(cluster.adminUrl());
      const present = await makeTemplates(cluster, options.supaAudit);
      for (const { scenario, round, variant } of plan(scenarios, present, options.rounds)) {
        const metrics = await withDatabase(cluster, variant, async (database) => {
          const measured = await scenario.run(database, { seconds: options.seconds, round });
          if (variant === "ours") await checkLog(database);
          return measured;
        });
        runs.push({ commit, scenario: scenario.name, variant, round, metrics });
        const figures = Object.entries(metrics).map(([name, value]) => `${name} ${Number(value.toPrecision(4))}`);
        options.onProgress(`  ${scenario.name} ${round + 1}/${options.rounds} ${variant}: ${figures.join(", ")}`);
      }
    });
  }
  return { machine: machine!, runs, targets: judgeAll(runs, options) };
}

/** Round by round; within one the variants follow each other, in an order that turns with the round. */
function* plan(scenarios: Scenario[], present: Variant[], rounds: number) {
  for (const scenario of scenarios) {
    const variants = present.filter((each) => scenario.variants.includes(each));
    for (let round = 0; round < rounds; round++) {
      for (let turn = 0; turn < variants.length; turn++) {
        yield { scenario, round, variant: variants[(round + turn) % variants.length]! };
      }
    }
  }
}

/** Only of what was to be measured; where the commit does not matter, the first. */
function judgeAll(runs: Run[], { commits, scenarios }: CaptureOptions): Judged[] {
  return CAPTURE_TARGETS
    .filter(({ scenario, commit }) =>
      scenarios.some(({ name }) => name === scenario) && (commit === undefined || commits.includes(commit))
    )
    .map(({ scenario, commit, value, ...goal }) => {
      const title = commit === undefined ? goal.title : `${goal.title} (${commit})`;
      return judge({ ...goal, title }, value(new Measured(runs, commit ?? commits[0]!, scenario)));
    });
}
