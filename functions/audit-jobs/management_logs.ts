// A project's logs by Supabase's Management API, for projects that no drain sends them. The one place that knows the
// endpoint and its SQL (ClickHouse's): since 2026-09-23 all logs are one table there.
import { checkSuccess, get, OutsideError } from "../_shared/outside.ts";

export type ManagementApi = {
  /** `https://api.supabase.com`. */
  url: string;
  project: string;
  token: string;
};

export type LogQuery = {
  /** Only lines behind this one; times as `2026-01-31T23:59:59.123456`, UTC. */
  after: { timestamp: string; id: string };
  /** Up to this time, at most a day later. */
  until: string;
  /** Also requests that were not denied. */
  accessed: boolean;
  limit: number;
};

export type LogRow = { id: string; timestamp: string };

const MOST_BYTES = 32 * 1024 * 1024;
const TIMEOUT = 20_000;

/** The next lines by time and id. Throws an OutsideError where the API does not answer with lines. */
export async function queryLogs({ url, project, token }: ManagementApi, query: LogQuery): Promise<LogRow[]> {
  const address = new URL(`/v1/projects/${encodeURIComponent(project)}/analytics/endpoints/logs`, url);
  address.searchParams.set("iso_timestamp_start", `${query.after.timestamp}Z`);
  address.searchParams.set("iso_timestamp_end", `${query.until}Z`);
  address.searchParams.set("sql", sqlOf(query));
  const answer = await get(address.href, {
    headers: { authorization: `Bearer ${token}`, accept: "application/json" },
    mostBytes: MOST_BYTES,
    timeout: TIMEOUT,
  });
  checkSuccess(answer);
  let rows: unknown;
  try {
    rows = JSON.parse(new TextDecoder().decode(answer.body)).result;
  } catch (error) {
    throw new OutsideError("unreadable", { cause: error });
  }
  // A query that failed is answered with 200 and `error`.
  if (!Array.isArray(rows) || !rows.every(isRow)) throw new OutsideError("unreadable");
  return rows;
}

/** Only what can become an entry (functions/_shared/logs/log_events.ts) is asked for: queries are billed by what they read. */
function sqlOf({ after, accessed, limit }: LogQuery): string {
  const denied = accessed ? "" : " and toInt32OrZero(log_attributes['response.status_code']) in (401, 403)";
  return [
    "select id, timestamp, source, event_message, log_attributes from logs where (",
    "source = 'auth_audit_logs'",
    "or source = 'auth_logs' and (toInt32OrZero(log_attributes['status']) >= 400 or log_attributes['auth_event.action'] != '')",
    `or source in ('edge_logs', 'function_edge_logs')${denied}`,
    "or source = 'postgres_logs' and log_attributes['parsed.sql_state_code'] in ('42501', '28P01', '28000')",
    "or source = 'storage_logs' and log_attributes['res.statusCode'] = '400'",
    `) and (timestamp, id) > (toDateTime64(${quote(after.timestamp.replace("T", " "))}, 6, 'UTC'), ${quote(after.id)})`,
    `order by timestamp, id limit ${limit}`,
  ].join(" ");
}

function isRow(row: unknown): row is LogRow {
  const { id, timestamp } = (row ?? {}) as Record<string, unknown>;
  return typeof id === "string" && typeof timestamp === "string" &&
    /^\d{4}-\d\d-\d\d[T ][\d:.]{8,15}Z?$/.test(timestamp);
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}
