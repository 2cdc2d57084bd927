// Whether page 1,000 costs what page 1 does. The walk there also shows that pages neither overlap nor leave gaps.
import type { LogDatabase } from "./generated_log_database.ts";
import { type SearchClient, withSearchClient } from "./search_client.ts";
import type { Request } from "./search_requests.ts";
import { median } from "./statistics.ts";

export type Depth = {
  title: string;
  pages: number;
  /** Median milliseconds of the first page, and of pages around the last. */
  first: number;
  last: number;
  ratio: number;
};

/** Up to the end of the generated log: before it stand the entries that the bench's own searches left. */
function walks({ plan }: LogDatabase): { title: string; request: Request }[] {
  const until = `created:<${plan.end.toISOString()}`;
  return [
    { title: "everything", request: { query: until } },
    { title: "everything, oldest first", request: { query: until, sort: "created_at" } },
    { title: "provider:openai", request: { query: `provider:openai ${until}` } },
    {
      title: "action:query.completed cost:>0.0001",
      request: { query: `action:query.completed cost:>0.0001 ${until}` },
    },
    { title: "a word of two in five entries", request: { query: `sent ${until}` } },
  ];
}

const PAGES = 1_000;
const AROUND = 10;
const ROUNDS = 4;
/** So many entries a page that the walk ends in time. */
const LIMIT = 50;

export function measureDepth(log: LogDatabase, onProgress: (line: string) => void): Promise<Depth[]> {
  return withSearchClient(log, async (client) => {
    const depths: Depth[] = [];
    for (const { title, request } of walks(log)) {
      const cursors = await walk(client, request);
      const pages = cursors.length;
      const first: number[] = [];
      const last: number[] = [];
      const lastCursors = cursors.slice(-AROUND);
      for (let round = 0; round < ROUNDS; round++) {
        for (const cursor of lastCursors) {
          first.push((await client.search({ ...request, limit: LIMIT })).milliseconds);
          last.push((await client.search({ ...request, limit: LIMIT, cursor })).milliseconds);
        }
      }
      const depth = { title, pages, first: median(first), last: median(last), ratio: median(last) / median(first) };
      onProgress(`  page ${pages} of ${title}: ${depth.last.toFixed(2)} ms, page 1: ${depth.first.toFixed(2)} ms`);
      depths.push(depth);
    }
    return depths;
  });
}

/** The cursors that lead to page 2 and so on. */
async function walk(client: SearchClient, request: Request): Promise<string[]> {
  const cursors: string[] = [];
  const seen = new Set<string>();
  let entries = 0;
  for (let cursor: string | null = null; cursors.length < PAGES;) {
    const { page }: Awaited<ReturnType<SearchClient["search"]>> = await client.search({
      ...request,
      limit: LIMIT,
      ...(cursor === null ? {} : { cursor }),
    });
    for (const { name } of page.entries) seen.add(name);
    entries += page.entries.length;
    if (page.next === null) break;
    cursors.push(cursor = page.next);
  }
  if (seen.size !== entries) throw new Error(`${entries - seen.size} entries stand on two pages`);
  return cursors;
}
