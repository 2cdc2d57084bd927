// What keeping the search index up to date costs the writers. They never touch the index; a job follows them, as pg_cron
// would, and takes processor time that they would have had.
import { inBothOrders } from "./both_orders.ts";
import { besideIndexJob, INDEX_EVERY_MS } from "./index_job.ts";
import { runLoad } from "./load.ts";
import type { Scenario } from "./scenario.ts";
import { mean } from "./statistics.ts";

/** So many times as long as other runs: the job is due several times in each. */
const LONGER = 4;

export const SEARCH_INDEX: Scenario[] = [
  searchIndex("search-index-one-writer", "1 writer", 1),
  searchIndex("search-index", "16 writers, one organisation", 16),
];

function searchIndex(name: string, title: string, clients: number): Scenario {
  return {
    name,
    title,
    kind: "index",
    variants: ["ours"],
    run: async ({ url }, { seconds }) => {
      const alone = () => runLoad(url, { clients, organizations: 1, seconds: LONGER * seconds });
      const runs = await inBothOrders(alone, () => besideIndexJob(url, INDEX_EVERY_MS, alone));
      const [first, second] = runs.beside;
      const without = mean(runs.alone.map(({ tps }) => tps));
      const beside = mean(runs.beside.map(({ result }) => result.tps));
      const indexed = first.indexing.entries + second.indexing.entries;
      return {
        tps_without: without,
        tps_with: beside,
        ratio: beside / without,
        indexed,
        behind: mean(runs.beside.map(({ indexing }) => indexing.behind)),
        index_us: (first.indexing.cpu_seconds + second.indexing.cpu_seconds) * 1e6 / indexed,
      };
    },
  };
}
