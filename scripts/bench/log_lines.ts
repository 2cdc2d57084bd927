// Lines of a project's logs in the shapes in which Log Drains send them and the Management API answers them, as Auth
// v2.196, the API gateway, Storage and PostgreSQL 17 write them.

export type DrainLine = { id?: string; timestamp?: unknown; event_message: string; metadata: Record<string, unknown> };

/** A row of the Management API's table `logs`. */
export type CollectedLine = {
  id: string;
  timestamp: string;
  source: string;
  event_message: string;
  log_attributes: Record<string, string>;
};

type Common = { at?: number; id?: string };

const micros = (at = Date.now()) => at * 1_000;

/** A request to Auth that failed. Null: the field is missing, as `error_code` and `request_id` are in older versions. */
export function authFailure({
  at = Date.now(),
  id = crypto.randomUUID(),
  request_id = crypto.randomUUID(),
  ip = "203.0.113.7",
  path = "/token",
  grant_type = "password",
  error_code = "invalid_credentials",
  error = "400: Invalid login credentials",
  status = 400,
  ...more
}: Common & {
  request_id?: string | null;
  ip?: string;
  path?: string;
  grant_type?: string | null;
  error_code?: string | null;
  error?: string;
  status?: number;
} & Record<string, unknown> = {}): DrainLine {
  const metadata = {
    component: "api",
    duration: 76_000_000,
    error,
    ...(error_code === null ? {} : { error_code }),
    ...(grant_type === null ? {} : { grant_type }),
    host: "db-abcdefghijklmnopqrst",
    level: "info",
    method: "POST",
    msg: "request completed",
    path,
    referer: "http://localhost:3000",
    remote_addr: ip,
    ...(request_id === null ? {} : { request_id }),
    status,
    time: new Date(at).toISOString().replace(/\.\d+Z$/, "Z"),
    ...more,
  };
  return { id, timestamp: micros(at), event_message: JSON.stringify(metadata), metadata };
}

/** What Auth writes of an event that succeeded, by itself (`auth_audit_event`) or with its request (`auth_event`). */
export function authEvent({
  at = Date.now(),
  id = crypto.randomUUID(),
  request_id = crypto.randomUUID(),
  action,
  user,
  email,
  ip = "203.0.113.7",
  as = "auth_audit_event",
  traits = { provider: "email" },
}: Common & {
  request_id?: string;
  action: string;
  user: string;
  email: string;
  ip?: string;
  as?: "auth_audit_event" | "auth_event";
  traits?: Record<string, unknown>;
}): DrainLine {
  const event = { action, actor_id: user, actor_username: email, actor_via_sso: false, log_type: "account", traits };
  const metadata = as === "auth_event"
    ? {
      auth_event: event,
      component: "api",
      level: "info",
      method: "POST",
      msg: "request completed",
      path: "/token",
      grant_type: "password",
      remote_addr: ip,
      request_id,
      status: 200,
    }
    : {
      auth_audit_event: {
        ...event,
        audit_log_id: id,
        created_at: new Date(at).toISOString(),
        ip_address: "",
        request_id,
        user_agent: "Mozilla/5.0",
      },
      level: "info",
      msg: "audit_event",
    };
  return { id, timestamp: micros(at), event_message: JSON.stringify(metadata), metadata };
}

/** A request at the API gateway. */
export function edge({
  at = Date.now(),
  id = crypto.randomUUID(),
  method = "GET",
  path = "/rest/v1/budgets",
  search = "?select=*",
  status = 200,
  ip = "203.0.113.7",
  ray = crypto.randomUUID().slice(0, 16),
  user,
  role = "authenticated",
}: Common & {
  method?: string;
  path?: string;
  search?: string;
  status?: number;
  ip?: string;
  ray?: string;
  user?: string | undefined;
  role?: string;
} = {}): DrainLine {
  const host = "abcdefghijklmnopqrst.supabase.co";
  const payload = { role, ...(user === undefined ? {} : { subject: user }) };
  return {
    id,
    timestamp: micros(at),
    event_message: `${method} | ${status} | ${ip} | ${ray} | https://${host}${path}${search} | Mozilla/5.0`,
    metadata: {
      identifier: "abcdefghijklmnopqrst",
      load_balancer_redirect_identifier: null,
      request: {
        cf: { asn: 64_500, country: "DE", city: "Berlin", botManagement: { score: 99, detectionIds: [] } },
        headers: { cf_connecting_ip: ip, cf_ipcountry: "DE", cf_ray: ray, host, user_agent: "Mozilla/5.0" },
        host,
        method,
        path,
        protocol: "https:",
        search,
        sb: { jwt: { authorization: { payload } }, ...(user === undefined ? {} : { auth_user: user }) },
        url: `https://${host}${path}${search}`,
      },
      response: { headers: { cf_ray: ray, content_type: "application/json" }, origin_time: 30, status_code: status },
    },
  };
}

/** A call of an Edge Function. */
export function functionEdge(
  { at = Date.now(), id = crypto.randomUUID(), name = "hello", status = 200, method = "POST" }: Common & {
    name?: string;
    status?: number;
    method?: string;
  } = {},
): DrainLine {
  const url = `https://abcdefghijklmnopqrst.supabase.co/functions/v1/${name}`;
  return {
    id,
    timestamp: micros(at),
    event_message: `${method} | ${status} | ${url}`,
    metadata: {
      deployment_id: "abcdefghijklmnopqrst_1",
      execution_id: crypto.randomUUID(),
      execution_time_ms: 51,
      function_id: "6a0c1c1e-5b0b-4c4e-9a27-1f7c0c9d6c1a",
      project_ref: "abcdefghijklmnopqrst",
      request: { headers: { user_agent: "Deno/2.1.4" }, method, pathname: `/functions/v1/${name}`, url },
      response: { status_code: status },
      version: "1",
    },
  };
}

/** A line of PostgreSQL's. */
export function postgres({
  at = Date.now(),
  id = crypto.randomUUID(),
  message = "permission denied for table salaries",
  state = "42501",
  severity = "ERROR",
  user = "reporting",
  from = "198.51.100.9:50214",
  session = crypto.randomUUID().slice(0, 13),
  line = 3,
}: Common & {
  message?: string;
  state?: string;
  severity?: string;
  user?: string;
  from?: string;
  session?: string;
  line?: number;
} = {}): DrainLine {
  return {
    id,
    timestamp: micros(at),
    event_message: message,
    metadata: {
      host: "db-abcdefghijklmnopqrst",
      parsed: {
        application_name: "psql",
        backend_type: "client backend",
        command_tag: "SELECT",
        connection_from: from,
        database_name: "postgres",
        error_severity: severity,
        process_id: 4711,
        session_id: session,
        session_line_num: line,
        sql_state_code: state,
        timestamp: `${new Date(at).toISOString().replace("T", " ").replace("Z", "")} UTC`,
        user_name: user,
      },
    },
  };
}

/** A request to Storage that a policy refused. */
export function storage(
  { at = Date.now(), id = crypto.randomUUID(), reqId = crypto.randomUUID(), status = 400 }: Common & {
    reqId?: string;
    status?: number;
  } = {},
): DrainLine {
  return {
    id,
    timestamp: micros(at),
    event_message: `abcdefghijklmnopqrst | POST | ${status} | 203.0.113.7 | - | /object/private/plan.pdf | Mozilla/5.0`,
    metadata: {
      level: "warn",
      project: "abcdefghijklmnopqrst",
      rawError: '{"message":"new row violates row-level security policy","code":"AccessDenied","statusCode":"403"}',
      req: {
        headers: { cf_connecting_ip: "203.0.113.7", user_agent: "Mozilla/5.0" },
        method: "POST",
        remoteAddress: "10.0.0.3",
        url: "/object/private/plan.pdf?token=secret",
      },
      reqId,
      res: { statusCode: status },
    },
  };
}

const SOURCES: [string, string][] = [
  ["auth_audit_event", "auth_audit_logs"],
  ["component", "auth_logs"],
  ["parsed", "postgres_logs"],
  ["function_id", "function_edge_logs"],
  ["req", "storage_logs"],
  ["request", "edge_logs"],
];

/** The same line as the Management API answers it. */
export function asCollected({ id, timestamp, event_message, metadata }: DrainLine): CollectedLine {
  const log_attributes: Record<string, string> = {};
  const flatten = (value: unknown, path: string): void => {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) {
      for (const [name, each] of Object.entries(value)) flatten(each, path === "" ? name : `${path}.${name}`);
    } else if (value !== null && value !== undefined) {
      log_attributes[path] = typeof value === "object" ? JSON.stringify(value) : String(value);
    }
  };
  flatten(metadata, "");
  const at = Number(timestamp);
  return {
    id: id ?? crypto.randomUUID(),
    timestamp: new Date(at / 1_000).toISOString().replace(/Z$/, String(at % 1_000).padStart(3, "0")),
    source: SOURCES.find(([name]) => name in metadata)?.[1] ?? "other_logs",
    event_message,
    log_attributes,
  };
}
