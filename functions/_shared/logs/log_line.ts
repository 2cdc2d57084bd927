// One line of a project's logs, as Log Drains send it (nested `metadata`), as the Management API answers it (flat
// `log_attributes`), or as older versions did either (lists of one around each object; JSON in the message alone).
import { parseLogTime } from "./log_time.ts";

export type LogSource = "auth" | "edge" | "function_edge" | "postgres" | "storage" | "other";

export type LogLine = {
  source: LogSource;
  /** Microseconds since 1970. */
  time: number;
  id: string | undefined;
  message: string;
  /** How many times it happened, where the logger folded repetitions. */
  times: number;
  /** A field by its path: `request.headers.cf_ray`. Undefined where it is missing, empty or no single value. */
  field(path: string): string | undefined;
};

/** Why a line could not be read. */
export class LineError extends Error {}

type Tree = Record<string, unknown>;

const SOURCES: Record<string, LogSource> = {
  auth_logs: "auth",
  auth_audit_logs: "auth",
  edge_logs: "edge",
  function_edge_logs: "function_edge",
  postgres_logs: "postgres",
  storage_logs: "storage",
};

/** Longest text that is kept of a field. */
const MOST = 2_000;

/** `now` in microseconds since 1970. Throws a LineError where it is no line, or says no time. */
export function readLine(raw: unknown, now: number): LogLine {
  if (!isTree(raw)) throw new LineError("It is no JSON object.");
  const repeated = /^message repeated (\d{1,9}) times: \[\s?([^]*)\]$/.exec(String(raw.event_message ?? ""));
  const message = repeated === null ? String(raw.event_message ?? "") : repeated[2]!;
  const metadata = single(raw.metadata);
  const flat = isTree(raw.log_attributes) ? raw.log_attributes : undefined;
  const tree = isTree(metadata) && Object.keys(metadata).length > 0 ? metadata : raw;
  // Auth's own line is JSON; where nobody took it apart, that is all there is.
  const inner = message.startsWith("{") ? parsed(message) : undefined;
  const field = (path: string): string | undefined =>
    textOf(flat?.[path]) ?? textOf(at(tree, path)) ?? (inner === undefined ? undefined : textOf(at(inner, path)));
  const time = parseLogTime(raw.timestamp, now) ?? parseLogTime(field("timestamp") ?? field("time"), now) ??
    parseLogTime(field("parsed.timestamp"), now);
  if (time === undefined) throw new LineError("It says no time that could be read.");
  const said = textOf(raw.source) ?? textOf(raw.source_name);
  return {
    source: (said === undefined ? undefined : SOURCES[said]) ?? sourceOf(field),
    time,
    id: textOf(raw.id),
    message: cleaned(message),
    times: repeated === null ? 1 : Math.max(1, Number(repeated[1])),
    field,
  };
}

/** Drains do not say which log a line is of: its fields do. */
function sourceOf(field: LogLine["field"]): LogSource {
  if (field("auth_audit_event.action") ?? field("auth_event.action")) return "auth";
  if (field("parsed.error_severity") ?? field("parsed.sql_state_code")) return "postgres";
  if (field("response.status_code")) return field("function_id") === undefined ? "edge" : "function_edge";
  if (field("req.method") ?? field("rawError")) return "storage";
  if (field("path") && (field("component") === "api" || field("grant_type"))) return "auth";
  return "other";
}

const steps = new Map<string, string[]>();

function at(tree: Tree, path: string): unknown {
  let way = steps.get(path);
  if (way === undefined) steps.set(path, way = path.split("."));
  let value: unknown = tree;
  for (const step of way) {
    value = single(value);
    if (!isTree(value) || !Object.hasOwn(value, step)) return undefined;
    value = value[step];
  }
  return single(value);
}

/** BigQuery has a list of one around each object. */
function single(value: unknown): unknown {
  return Array.isArray(value) && value.length === 1 ? value[0] : value;
}

function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function parsed(text: string): Tree | undefined {
  try {
    const value = JSON.parse(text);
    return isTree(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

/** "0" and " x" are texts like others; what is empty says nothing. */
function textOf(value: unknown): string | undefined {
  if (typeof value === "number" || typeof value === "boolean") return String(value);
  return typeof value === "string" && value !== "" ? cleaned(value) : undefined;
}

/** As PostgreSQL can keep it: without NUL and half characters. */
function cleaned(text: string): string {
  const cut = text.length > MOST ? `${text.slice(0, MOST)}…` : text;
  return cut.includes("\0") || /\p{Surrogate}/u.test(cut)
    ? cut.replaceAll("\0", "\ufffd").replace(/\p{Surrogate}/gu, "\ufffd")
    : cut;
}
