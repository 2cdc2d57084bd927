// Searches as the functions make them: in a transaction of the caller, who is verified by then.
import pg from "pg";
import type { LogDatabase } from "./generated_log_database.ts";
import type { Request } from "./search_requests.ts";
import { withClient } from "./variants.ts";

export type Page = { entries: { name: string }[]; next: string | null };

export type SearchClient = {
  /** The process id of its server's side. */
  pid: number;
  /** One page, and how many milliseconds the statement took, seen from here: the answer read, but not parsed. */
  search(request: Request & { cursor?: string; limit?: number }): Promise<{ page: Page; milliseconds: number }>;
  /** The milliseconds of the whole transaction, claims and commit included. */
  transaction(request: Request): Promise<number>;
};

export function withSearchClient<T>(log: LogDatabase, work: (client: SearchClient) => Promise<T>): Promise<T> {
  return withClient(log.url, async (client) => work(await searchClient(client, log)));
}

export async function searchClient(client: pg.Client, log: LogDatabase): Promise<SearchClient> {
  const { rows: [backend] } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
  const claims = JSON.stringify({ sub: log.admin, role: "authenticated" });
  const asAdmin = async <T>(work: () => Promise<T>): Promise<T> => {
    await client.query("begin");
    await client.query(
      "select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)",
      [claims],
    );
    const result = await work();
    await client.query("commit");
    return result;
  };
  const ask = (request: object) =>
    client.query<{ page: string }>({
      name: "search",
      text: "select audit.search_page($1)::text as page",
      values: [JSON.stringify({ organization_id: log.organization, ...request })],
    });
  return {
    pid: backend!.pid,
    search: (request) =>
      asAdmin(async () => {
        const start = performance.now();
        const { rows: [row] } = await ask(request);
        const milliseconds = performance.now() - start;
        return { page: JSON.parse(row!.page) as Page, milliseconds };
      }),
    async transaction(request) {
      const start = performance.now();
      await asAdmin(() => ask(request));
      return performance.now() - start;
    },
  };
}
