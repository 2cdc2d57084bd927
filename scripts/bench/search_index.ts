// What keeping the search index up to date costs the writers. They never touch the index; a job follows them, as pg_cron
// would, and takes processor time that they would have had.
import { besideIndexJob, INDEX_EVERY_MS } from "./index_job.ts";
import { runLoad } from "./load.ts";
import type { Scenario } from "./scenario.ts";

/** The job is due several times in each. */
const LEAST_SECONDS = 20;

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
    run: async ({ url }, { seconds, round }) => {
      const load = () => runLoad(url, { clients, organizations: 1, seconds: Math.max(seconds, LEAST_SECONDS) });
      // The second half has the fuller log; which half that is changes with the round.
      const early = round % 2 === 0 ? await load() : undefined;
      const { result: { tps }, indexing } = await besideIndexJob(url, INDEX_EVERY_MS, load);
      const { tps: without } = early ?? await load();
      return {
        tps_without: without,
        tps_with: tps,
        ratio: tps / without,
        indexed: indexing.entries,
        behind: indexing.behind,
        index_us: indexing.cpu_seconds * 1e6 / indexing.entries,
      };
    },
  };
}
