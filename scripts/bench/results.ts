// All runs of a bench, and what follows from them.
import type { Commit } from "./cluster.ts";
import type { Metrics } from "./scenario.ts";
import { median, pairedMedian, sum } from "./statistics.ts";
import type { Variant } from "./variants.ts";

export type Run = { commit: Commit; scenario: string; variant: Variant; round: number; metrics: Metrics };

/** The runs of one scenario at one cost of a commit, in the order of their rounds. */
export class Measured {
  readonly #runs: Run[];

  constructor(runs: Run[], commit: Commit, scenario: string) {
    this.#runs = runs.filter((run) => run.commit === commit && run.scenario === scenario);
  }

  has(variant: Variant): boolean {
    return this.#runs.some((run) => run.variant === variant);
  }

  median(variant: Variant, metric: string): number {
    return median(this.#values(variant, metric));
  }

  total(variant: Variant, metric: string): number {
    return sum(this.#values(variant, metric));
  }

  /** Ours in multiples of the other; undefined where one of them was not measured. */
  ratio(metric: string, ours: Variant, theirs: Variant): number | undefined {
    return this.#compare(metric, ours, theirs, (our, their) => our / their);
  }

  /** What a variant adds to the unaudited metric. */
  added(metric: string, variant: Variant): number | undefined {
    return this.#compare(metric, variant, "unaudited", (audited, unaudited) => audited - unaudited);
  }

  #compare(metric: string, ours: Variant, theirs: Variant, how: (ours: number, theirs: number) => number) {
    if (!this.has(ours) || !this.has(theirs)) return undefined;
    return pairedMedian(this.#values(ours, metric), this.#values(theirs, metric), how);
  }

  #values(variant: Variant, metric: string): number[] {
    return this.#runs.filter((run) => run.variant === variant).map(({ metrics }) => metrics[metric] ?? NaN);
  }
}
