// What the planner made of a search: the plans of the statements inside that took long, by auto_explain.
import type { LogDatabase } from "./generated_log_database.ts";
import { searchClient } from "./search_client.ts";
import type { Request } from "./search_requests.ts";
import { withClient } from "./variants.ts";

const LONG_MS = 1;
/** A page of results is a parameter here and there. */
const MOST = 20_000;

export function explainSearch(log: LogDatabase, request: Request): Promise<string> {
  return withClient(log.adminUrl, async (client) => {
    await client.query(`
      load 'auto_explain';
      set auto_explain.log_min_duration = ${LONG_MS};
      set auto_explain.log_nested_statements = on;
      set auto_explain.log_analyze = on;
      set auto_explain.log_buffers = on;
      set auto_explain.log_level = notice;
      set client_min_messages = notice`);
    const search = await searchClient(client, log);
    await search.search(request);
    const plans: string[] = [];
    const collect = (notice: { message: string | undefined }) => plans.push((notice.message ?? "").slice(0, MOST));
    client.on("notice", collect);
    await search.search(request);
    client.off("notice", collect);
    return plans.join("\n\n");
  });
}
