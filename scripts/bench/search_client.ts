// Searches as the functions make them: in a transaction of the caller, who is verified by then.
import pg from "pg";
import type { LogDatabase } from "./generated_log_database.ts";
import type { Request } from "./search_requests.ts";
import { withClient } from "./variants.ts";

export type Page = { entries: { name: string }[]; next: string | null };

/** Longest that a search may take, in milliseconds: what the function gives it. */
const TIMEOUT = 8_000;
const QUERY_CANCELED = "57014";

export type SearchClient = {
  /** The process id of its server's side. */
  pid: number;
  /**
   * One page, and how many milliseconds the statement took, seen from here: the answer read, but not parsed. A search
   * that takes too long is ended, has no entries, and counts with the time that it was given.
   */
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
      `select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true),
         set_config('statement_timeout', $2, true)`,
      [claims, String(TIMEOUT)],
    );
    try {
      const result = await work();
      await client.query("commit");
      return result;
    } catch (error) {
      await client.query("rollback");
      throw error;
    }
  };
  const ask = (request: object) =>
    client.query<{ page: string }>({
      name: "search",
      text: "select audit.search_page($1)::text as page",
      values: [JSON.stringify({ organization_id: log.organization, ...request })],
    });
  return {
    pid: backend!.pid,
    async search(request) {
      const start = performance.now();
      let milliseconds = 0;
      try {
        const text = await asAdmin(async () => {
          const asked = performance.now();
          const { rows: [row] } = await ask(request);
          milliseconds = performance.now() - asked;
          return row!.page;
        });
        return { page: JSON.parse(text) as Page, milliseconds };
      } catch (error) {
        if ((error as { code?: string }).code !== QUERY_CANCELED) throw error;
        return { page: { entries: [], next: null }, milliseconds: performance.now() - start };
      }
    },
    async transaction(request) {
      const start = performance.now();
      await asAdmin(() => ask(request));
      return performance.now() - start;
    },
  };
}
