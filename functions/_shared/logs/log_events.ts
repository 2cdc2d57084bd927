// What lines of a project's logs say that the audit log should: failed logins and what else Auth did, requests that were
// denied, and requests at all. Several logs tell of one request; each kind of event is taken from one of them:
//
//   user.*          auth_logs, auth_audit_logs; postgres_logs for roles of the database
//   access.denied   edge_logs and function_edge_logs (401, 403); storage_logs where Storage answers 400 for a policy that
//                   refused; postgres_logs (42501) of connections other than PostgREST's, Storage's and Auth's
//   api.accessed    edge_logs, function_edge_logs
import type { LogLine } from "./log_line.ts";

export type LogEvent = {
  /** The same for one real event, whichever way its line came, and for no other. */
  key: string;
  kind: "auth" | "denied" | "accessed";
  happened_at: string;
  /** What Auth says of an event, in its own words; then it names action, person and details. */
  payload?: Record<string, unknown>;
  action?: string;
  outcome?: "success" | "failure" | "denied";
  actor_type?: "user" | "service" | "database" | undefined;
  user_id?: string | undefined;
  email?: string | undefined;
  ip_address?: string | undefined;
  user_agent?: string | undefined;
  session_id?: string | undefined;
  request_id?: string | undefined;
  resource_type?: string | undefined;
  resource_id?: string | undefined;
  details?: Record<string, unknown>;
};

type Told = Omit<LogEvent, "key" | "happened_at"> & { key: (string | undefined)[] };

/** A logger that folded more repetitions than this is not believed further. */
const MOST_TIMES = 1_000;

/** What is told of a user by Auth's own name of it; the database has ours (audit.auth_audit_action). */
const TRAITS = [
  "provider",
  "provider_type",
  "channel",
  "factor_id",
  "factor_type",
  "factor_status",
  "passkey_id",
  "identity_id",
  "user_id",
  "user_email",
];

/** What Auth's error codes mean where somebody tried to sign in. */
const FAILED_LOGINS = [
  "invalid_credentials",
  "user_banned",
  "email_not_confirmed",
  "phone_not_confirmed",
  "otp_expired",
  "bad_code_verifier",
  "captcha_failed",
  "user_not_found",
  "webauthn_verification_failed",
  "webauthn_credential_not_found",
];
const FAILED_FACTORS = [
  "mfa_verification_failed",
  "mfa_verification_rejected",
  "mfa_challenge_expired",
  "mfa_ip_address_mismatch",
  "otp_expired",
  "webauthn_verification_failed",
];
/** Older versions say it in words only. */
const IN_WORDS: [RegExp, string][] = [
  [/invalid login credentials|invalid_grant/i, "invalid_credentials"],
  [/user is banned|user banned/i, "user_banned"],
  [/email not confirmed/i, "email_not_confirmed"],
  [/phone not confirmed/i, "phone_not_confirmed"],
  [/invalid totp code|invalid mfa/i, "mfa_verification_failed"],
  [/mfa challenge .*expired/i, "mfa_challenge_expired"],
  [/rate limit/i, "over_request_rate_limit"],
  [/(token|link).* (has )?expired|link is invalid/i, "otp_expired"],
];
const SIGN_IN = /^\/(token|verify|otp|magiclink|passkeys\/.*|callback|sso)$/;
const FACTOR = /^\/factors\/([^/]+)\/(verify|challenge)$/;
/** Where Auth's own log says more than the gateway's. */
const AUTH_SAYS = /^\/auth\/v1\/(token|verify|otp|magiclink|passkeys|callback|sso|factors)(\/|$)/;
/** Ours: a line of theirs that made an entry would come back as a line. */
const OWN_FUNCTIONS = /^(?:\/functions\/v1)?\/audit(?:-ingest|-jobs|-viewer)?(?:\/|$)/;
/** Services that connect for others, and have lines of their own for what was refused. */
const SERVICE_ROLES = ["authenticator", "supabase_storage_admin", "supabase_auth_admin"];

/** The events that a line stands for; none where it says nothing that belongs into the log. */
export function eventsOf(line: LogLine): LogEvent[] {
  const told = TOLD_BY[line.source]?.(line);
  if (told === undefined) return [];
  const { key, ...event } = told;
  const happened_at = formatTime(line.time);
  // Where the log has no name of its own for the request, the line's name and words tell it from others.
  const named = key.some((part) => part !== undefined) ? key : [line.id ?? line.message];
  const whole = [event.action ?? event.kind, ...named.map((part) => part ?? "")].join("\n");
  if (line.times === 1) return [{ ...event, key: whole, happened_at }];
  // Each counts, and the request of one is not the request of all.
  return Array.from({ length: Math.min(line.times, MOST_TIMES) }, (_, at) => ({
    ...event,
    key: `${whole}\n#${at}`,
    happened_at,
    request_id: undefined,
    details: { ...event.details, repeated: line.times, repetition: at + 1 },
  }));
}

const TOLD_BY: Partial<Record<LogLine["source"], (line: LogLine) => Told | undefined>> = {
  auth: toldByAuth,
  edge: (line) => toldByGateway(line, line.field("request.path") ?? pathOf(line.field("request.url"))),
  function_edge: (line) => toldByGateway(line, functionPath(line)),
  postgres: toldByPostgres,
  storage: toldByStorage,
};

function toldByAuth(line: LogLine): Told | undefined {
  const { field } = line;
  for (const event of ["auth_audit_event", "auth_event"]) {
    const action = field(`${event}.action`);
    if (action === undefined) continue;
    // The old half of every refresh.
    if (action === "token_revoked") return undefined;
    const request_id = field(`${event}.request_id`) ?? field("request_id");
    const payload = without({
      action,
      actor_id: field(`${event}.actor_id`)?.toLowerCase(),
      actor_username: field(`${event}.actor_username`),
      traits: without(Object.fromEntries(TRAITS.map((name) => [name, field(`${event}.traits.${name}`)]))),
    });
    return {
      // Auth writes it twice, with the request and by itself; the request's id is in both.
      key: request_id === undefined
        ? [field(`${event}.audit_log_id`)]
        : [request_id, action, field(`${event}.actor_id`), field(`${event}.traits.user_id`)],
      kind: "auth",
      ip_address: field(`${event}.ip_address`) ?? field("remote_addr"),
      user_agent: field(`${event}.user_agent`),
      request_id,
      payload,
    };
  }
  const path = field("path");
  const error = field("error");
  const reason = field("error_code") ?? IN_WORDS.find(([words]) => words.test(error ?? field("msg") ?? ""))?.[1];
  if (path === undefined || reason === undefined) return undefined;
  const factor = FACTOR.exec(path)?.[1];
  const limited = reason === "over_request_rate_limit";
  const action = factor !== undefined
    ? limited || FAILED_FACTORS.includes(reason) ? "user.mfa_failed" : undefined
    : path === "/recover"
    ? limited || reason === "over_email_send_rate_limit" ? "user.password_reset_requested" : undefined
    : SIGN_IN.test(path) && field("grant_type") !== "refresh_token" && (limited || FAILED_LOGINS.includes(reason))
    ? "user.login_failed"
    : undefined;
  if (action === undefined) return undefined;
  return {
    // Together with the time: whoever could choose the request's id must not hide one attempt behind another.
    key: [String(line.time), field("request_id") ?? line.id ?? line.message],
    kind: "auth",
    action,
    outcome: limited || path === "/recover" ? "denied" : "failure",
    user_id: known(field("user_id")),
    email: asEmail(field("auth_event.actor_username")) ?? asEmail(field("email")),
    ip_address: field("remote_addr"),
    user_agent: field("user_agent"),
    request_id: field("request_id"),
    details: without({
      reason,
      path,
      grant_type: field("grant_type"),
      factor_id: factor,
      status: status(line, "status"),
      // Older versions name no request: two of one second are told apart by this.
      log_id: field("request_id") === undefined ? line.id : undefined,
    }),
  };
}

function toldByGateway(line: LogLine, path: string | undefined): Told | undefined {
  const { field } = line;
  const code = status(line, "response.status_code");
  const method = field("request.method");
  if (path === undefined || code === undefined || method === "OPTIONS" || OWN_FUNCTIONS.test(path)) return undefined;
  // The gateway's log may have calls of functions too; the functions' log has them all.
  if (line.source === "edge" && path.startsWith("/functions/v1/")) return undefined;
  const denied = code === 401 || code === 403;
  if (AUTH_SAYS.test(path) && code !== 401) return undefined;
  const token = "request.sb.jwt.authorization.payload";
  const user = known(field("request.sb.auth_user")) ?? known(field(`${token}.subject`));
  const role = field(`${token}.role`) ?? field("request.sb.jwt.apikey.payload.role");
  const ray = field("request.headers.cf_ray") ?? field("response.headers.cf_ray");
  return {
    key: [String(line.time), ray ?? field("execution_id") ?? line.id ?? line.message],
    kind: denied ? "denied" : "accessed",
    action: denied ? "access.denied" : "api.accessed",
    outcome: denied ? "denied" : code >= 400 ? "failure" : "success",
    actor_type: role === "service_role" ? "service" : "user",
    user_id: user,
    ip_address: field("request.headers.cf_connecting_ip") ?? field("request.headers.x_real_ip"),
    user_agent: field("request.headers.user_agent"),
    session_id: known(field(`${token}.session_id`)),
    request_id: field("request.headers.sb_request_id") ?? field("response.headers.sb_request_id") ?? ray,
    resource_type: "api",
    resource_id: path,
    details: without({
      method,
      status: code,
      service: line.source === "function_edge" ? "functions" : /^\/([a-z]+)\/v1\//.exec(path)?.[1],
      country: field("request.cf.country") ?? field("request.headers.cf_ipcountry"),
      role: user === undefined ? role : undefined,
    }),
  };
}

function toldByPostgres(line: LogLine): Told | undefined {
  const { field } = line;
  const state = field("parsed.sql_state_code");
  // The name as it was sent: " postgres" and "0" are others than "postgres" and none.
  const role = field("parsed.user_name") ?? /failed for user "([^]*)"$/.exec(line.message)?.[1] ??
    /, user "([^]*?)", database/.exec(line.message)?.[1];
  const session = field("parsed.session_id");
  const common = {
    key: session === undefined ? [] : [session, field("parsed.session_line_num") ?? line.message],
    outcome: "denied",
    actor_type: "database",
    ip_address: hostOf(field("parsed.connection_from")),
  } as const;
  const details = without({ database_role: role, sqlstate: state, application: field("parsed.application_name") });
  if (state === "28P01" || state === "28000") {
    return {
      ...common,
      kind: "denied",
      action: "user.login_failed",
      outcome: "failure",
      resource_type: "database_role",
      resource_id: role,
      details,
    };
  }
  if (state !== "42501" || role !== undefined && SERVICE_ROLES.includes(role)) return undefined;
  const object = /permission denied for (?:(foreign table|[a-z]+) )?(\S+)|must be owner of ([a-z ]+?) (\S+)/.exec(
    line.message,
  );
  const refused = /row-level security policy .*for table "([^"]+)"/.exec(line.message);
  return {
    ...common,
    kind: "denied",
    action: "access.denied",
    resource_type: refused === null ? object?.[1] ?? object?.[3] : "table",
    resource_id: refused === null ? object?.[2] ?? object?.[4] : refused[1],
    details: { ...details, reason: refused === null ? "privilege" : "row_level_security" },
  };
}

/** Storage answers 400 where a policy refused; what it answers 401 or 403 to, the gateway's log has. */
function toldByStorage(line: LogLine): Told | undefined {
  const { field } = line;
  if (status(line, "res.statusCode") !== 400) return undefined;
  if (
    !/row-level security|AccessDenied|"statusCode":"?403|Unauthorized/i.test(`${field("rawError")} ${line.message}`)
  ) {
    return undefined;
  }
  const user = known(field("owner"));
  return {
    key: [String(line.time), field("reqId") ?? line.id ?? line.message],
    kind: "denied",
    action: "access.denied",
    outcome: "denied",
    actor_type: "user",
    user_id: user,
    ip_address: field("req.headers.cf_connecting_ip") ?? field("req.remoteAddress"),
    user_agent: field("req.headers.user_agent"),
    request_id: field("reqId"),
    resource_type: "api",
    resource_id: `/storage/v1${pathOf(field("req.url")) ?? ""}`,
    details: without({ method: field("req.method"), status: 400, service: "storage", reason: "row_level_security" }),
  };
}

function functionPath({ field }: LogLine): string | undefined {
  const path = field("request.pathname") ?? pathOf(field("request.url"));
  return path === undefined || path.startsWith("/functions/v1/") ? path : `/functions/v1${path}`;
}

/** Without the query, which may hold tokens and personal data. */
function pathOf(url: string | undefined): string | undefined {
  return url?.replace(/^[a-z]+:\/\/[^/]*/i, "").replace(/[?#][^]*$/, "") || undefined;
}

function status({ field }: LogLine, path: string): number | undefined {
  const code = Number(field(path));
  return Number.isInteger(code) ? code : undefined;
}

/** "203.0.113.7:5432", "::1:5432", "[local]". */
function hostOf(peer: string | undefined): string | undefined {
  return peer === undefined || peer === "[local]" ? undefined : peer.replace(/:\d+$/, "");
}

/** A UUID other than the nil one, which stands for nobody. */
function known(id: string | undefined): string | undefined {
  return id !== undefined && /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(id) && !/^[0-]+$/.test(id)
    ? id.toLowerCase()
    : undefined;
}

function asEmail(name: string | undefined): string | undefined {
  return name?.includes("@") ? name : undefined;
}

function without(fields: Record<string, unknown>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function formatTime(microseconds: number): string {
  const milliseconds = Math.floor(microseconds / 1_000);
  const rest = String(microseconds - milliseconds * 1_000).padStart(3, "0");
  return new Date(milliseconds).toISOString().replace("Z", `${rest}Z`);
}
