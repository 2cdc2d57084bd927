// What a search through the function takes longer than the same transaction by a client that sits beside the database.
import { setTimeout as sleep } from "node:timers/promises";
import { type FunctionServer, withFunctionServer } from "./function_server.ts";
import { actorId } from "./generated_log_plan.ts";
import type { LogDatabase } from "./generated_log_database.ts";
import { withSearchClient } from "./search_client.ts";
import type { Request } from "./search_requests.ts";
import { median, pairedMedian } from "./statistics.ts";

/** Medians in milliseconds of one search. */
export type Overhead = {
  title: string;
  sql: number;
  /** Through the function. */
  direct: number;
  /** And through the gateway's stand-in, too. */
  gateway: number;
  /** By the function to the SQL: the median of what two neighbours in time differ. */
  added: number;
};

const WARM_UP = 10;

export function measureOverhead(
  log: LogDatabase,
  { requests, onProgress }: { requests: number; onProgress(line: string): void },
): Promise<Overhead[] | undefined> {
  const end = `created:<${log.plan.end.toISOString()}`;
  const searches: { title: string; request: Request }[] = [
    { title: "everything", request: { query: end } },
    { title: "one action", request: { query: `action:query.completed ${end}` } },
    { title: "one actor", request: { query: `actor:${actorId(log.organization, 2)} ${end}` } },
    { title: "nothing found", request: { query: `provider:mistral ${end}` } },
  ];
  return withFunctionServer(log, (server) =>
    withSearchClient(log, async (client) => {
      const ways = [
        (request: Request) => client.transaction(request),
        (request: Request) => ask(server.directUrl, server, log, request),
        (request: Request) => ask(server.url, server, log, request),
      ];
      const times = searches.map(() => ways.map((): number[] => []));
      for (let round = -WARM_UP; round < requests; round++) {
        for (const [search, { request }] of searches.entries()) {
          for (let turn = 0; turn < ways.length; turn++) {
            const way = (Math.abs(round) + turn) % ways.length;
            const milliseconds = await ways[way]!(request);
            if (round >= 0) times[search]![way]!.push(milliseconds);
            await sleep(1); // for what the function does after it answered
          }
        }
      }
      return searches.map(({ title }, search) => {
        const [sql, direct, gateway] = times[search] as [number[], number[], number[]];
        const added = pairedMedian(direct, sql, (ours, alone) => ours - alone);
        onProgress(`  ${title}: SQL ${median(sql).toFixed(2)} ms, the function adds ${added.toFixed(2)} ms`);
        return { title, sql: median(sql), direct: median(direct), gateway: median(gateway), added };
      });
    }));
}

async function ask(url: string, { headers }: FunctionServer, log: LogDatabase, request: Request): Promise<number> {
  const start = performance.now();
  const response = await fetch(`${url}/logs/search`, {
    method: "POST",
    headers: { ...headers, "content-type": "application/json" },
    body: JSON.stringify({ organization_id: log.organization, ...request }),
  });
  const answer = await response.text();
  const milliseconds = performance.now() - start;
  if (!response.ok) throw new Error(`function audit answers ${response.status}: ${answer}`);
  return milliseconds;
}
