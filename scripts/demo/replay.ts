import { Client } from "pg";
import { acting } from "./acting.ts";
import { formatTime } from "./trace.ts";
import { type Request, type Unit, uuid } from "./workload.ts";

/** Several connections, so that several chains of an organisation grow side by side. */
const CONNECTIONS = 8;

export interface ReplayOptions {
  dbUrl: string;
  units: Unit[];
  /** Added to the trace's times, in microseconds. */
  shift: number;
  /** Called with the number of requests just done. */
  onProgress: (requests: number) => void;
}

/** Which of the requests have both query and response in the database already. */
export async function findDone(client: Client): Promise<Set<string>> {
  const { rows } = await client.query<{ query_id: string }>("select query_id from public.llm_responses");
  return new Set(rows.map((row) => row.query_id));
}

export async function replay({ dbUrl, units, shift, onProgress }: ReplayOptions): Promise<void> {
  // The connections share one generator: each takes the next unit when it is free. One that fails closes it for all.
  const queue = (function* () {
    yield* units;
  })();
  await Promise.all(Array.from({ length: CONNECTIONS }, async () => {
    const client = new Client({ connectionString: dbUrl, application_name: "demo" });
    await client.connect();
    try {
      const keys = await findKeys(client);
      for (const unit of queue) {
        await send(client, unit, keys, shift);
        onProgress(unit.requests.length);
      }
    } finally {
      await client.end();
    }
  }));
}

/** The person sends the queries; the service then writes what came back, in a transaction of its own. */
async function send(client: Client, { user, requests }: Unit, keys: Map<string, string>, shift: number): Promise<void> {
  const requestId = uuid(`unit of ${requests[0]!.queryId}`);
  const queries = requests.map((request) => queryRow(request, shift, user, keys));
  const responses = requests.map((request) => responseRow(request, shift));
  await acting(client, { role: "authenticated", user }, requestId, () => insert(client, QUERIES, queries));
  await acting(client, { role: "service_role", user }, requestId, () => insert(client, RESPONSES, responses));
}

// `on conflict do nothing`: an interrupted start may have left the query without its response.
const QUERIES = {
  name: "demo-queries",
  text: `
    insert into public.llm_queries (
      id, organization_id, user_id, api_key_id, provider, model, query_text, parameters, status, created_at
    )
    select id, organization_id, user_id, api_key_id, provider, model, query_text, parameters, status, created_at
    from json_populate_recordset(null::public.llm_queries, $1)
    on conflict do nothing
  `,
};
const RESPONSES = {
  name: "demo-responses",
  text: `
    insert into public.llm_responses (
      id, query_id, response_text, success, error_message, prompt_tokens, completion_tokens, total_cost, latency_ms,
      created_at
    )
    select
      id, query_id, response_text, success, error_message, prompt_tokens, completion_tokens, total_cost, latency_ms,
      created_at
    from json_populate_recordset(null::public.llm_responses, $1)
    on conflict do nothing
  `,
};

async function insert(client: Client, statement: { name: string; text: string }, rows: object[]): Promise<void> {
  await client.query({ ...statement, values: [JSON.stringify(rows)] });
}

function queryRow(request: Request, shift: number, user: Unit["user"], keys: Map<string, string>): object {
  return {
    id: request.queryId,
    organization_id: user.organization_id,
    user_id: user.id,
    api_key_id: keys.get(`${user.organization_id} ${request.model.provider}`) ?? null,
    provider: request.model.provider,
    model: request.model.name,
    query_text: request.queryText,
    parameters: { temperature: request.temperature, max_tokens: 2048 },
    status: "sent",
    created_at: formatTime(request.row.time + shift),
  };
}

function responseRow({ row, responseId, queryId, error, cost, latencyMs }: Request, shift: number): object {
  const tokens = error === null ? row.generatedTokens : 0;
  return {
    id: responseId,
    query_id: queryId,
    response_text: error === null ? `(${tokens} tokens of code; the trace does not hold them)` : null,
    success: error === null,
    error_message: error,
    prompt_tokens: row.contextTokens,
    completion_tokens: tokens,
    total_cost: cost,
    latency_ms: latencyMs,
    created_at: formatTime(row.time + shift + latencyMs * 1000),
  };
}

/** The key that each organisation uses for each provider. */
async function findKeys(client: Client): Promise<Map<string, string>> {
  const { rows } = await client.query<{ id: string; organization_id: string; provider: string }>(
    "select id, organization_id, provider from public.api_keys where name = 'Production'",
  );
  return new Map(rows.map((row) => [`${row.organization_id} ${row.provider}`, row.id]));
}
