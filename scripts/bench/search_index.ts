// What keeping the search index up to date costs the writers. They never touch the index; a job follows them, as pg_cron
// would, and takes processor time that they would have had.
import { besideIndexJob, INDEX_EVERY_MS } from "./index_job.ts";
import { runLoad } from "./load.ts";
import type { Scenario } from "./scenario.ts";

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
      const together = () => besideIndexJob(url, INDEX_EVERY_MS, alone);
      // What changes with time, a fuller log or a slower machine, weighs on both alike.
      const [first, second, third, last] = [await alone(), await together(), await together(), await alone()];
      const without = (first.tps + last.tps) / 2;
      const beside = (second.result.tps + third.result.tps) / 2;
      const indexed = second.indexing.entries + third.indexing.entries;
      return {
        tps_without: without,
        tps_with: beside,
        ratio: beside / without,
        indexed,
        behind: (second.indexing.behind + third.indexing.behind) / 2,
        index_us: (second.indexing.cpu_seconds + third.indexing.cpu_seconds) * 1e6 / indexed,
      };
    },
  };
}
