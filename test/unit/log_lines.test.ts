// Lines of logs in the shapes of every version and way, and what they stand for.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { eventsOf } from "../../functions/_shared/logs/log_events.ts";
import { LineError, readLine } from "../../functions/_shared/logs/log_line.ts";
import { parseLogTime } from "../../functions/_shared/logs/log_time.ts";
import {
  asCollected,
  authEvent,
  authFailure,
  type DrainLine,
  edge,
  functionEdge,
  postgres,
  storage,
} from "../../scripts/bench/log_lines.ts";

const NOW = Date.UTC(2026, 0, 1, 0, 0, 5) * 1_000;
const USER = "a0000000-0000-4000-8000-000000000001";
const told = (line: unknown) => eventsOf(readLine(line, Date.now() * 1_000));

describe("a time", () => {
  test.each([
    ["microseconds, as drains have it", 1_767_225_601_234_567, 1_767_225_601_234_567],
    ["milliseconds", 1_767_225_601_234, 1_767_225_601_234_000],
    ["seconds with a fraction", 1_767_225_601.5, 1_767_225_601_500_000],
    ["nanoseconds, as a text", "1767225601234567891", 1_767_225_601_234_567],
    ["ISO 8601", "2026-01-01T00:00:01.234567Z", 1_767_225_601_234_567],
    ["ClickHouse's, without a zone", "2026-01-01T00:00:01.234567", 1_767_225_601_234_567],
    ["another zone", "2025-12-31T19:00:01-05:00", 1_767_225_601_000_000],
    ["PostgreSQL's", "2026-01-01 00:00:01.234 UTC", 1_767_225_601_234_000],
    ["PostgreSQL's with a zone", "2026-01-01 01:00:01.234+01", 1_767_225_601_234_000],
    ["syslog's of last year", "Dec 31 23:59:58", Date.UTC(2025, 11, 31, 23, 59, 58) * 1_000],
    ["syslog's of this year", "Jan  1 00:00:01", Date.UTC(2026, 0, 1, 0, 0, 1) * 1_000],
    ["syslog's, a moment ahead of the clock", "Jan  1 00:00:09", Date.UTC(2026, 0, 1, 0, 0, 9) * 1_000],
  ])("as %s", (_, text, expected) => expect(parseLogTime(text, NOW)).toBe(expected));

  test("of 29 February is of a year that has one", () => {
    const inMarch = Date.UTC(2028, 2, 1) * 1_000;
    expect(parseLogTime("Feb 29 12:00:00", inMarch)).toBe(Date.UTC(2028, 1, 29, 12) * 1_000);
  });

  test.each([undefined, null, "", "yesterday", "2026-13-45T99:99:99Z", {}, Number.NaN, -1, "Feb 31 12:00:00"])(
    "is not %s",
    (value) => expect(parseLogTime(value, NOW)).toBeUndefined(),
  );
});

describe("a line", () => {
  test.each(
    [
      ["a failed login", authFailure()],
      ["a login", authEvent({ action: "login", user: USER, email: "ada@example.com" })],
      ["a denied request", edge({ status: 403, user: USER })],
      ["a function's", functionEdge({ status: 401 })],
      ["PostgreSQL's", postgres()],
      ["Storage's", storage()],
    ] as [string, DrainLine][],
  )("of %s says the same whichever way it comes", (_, line) => {
    const [event] = told(line);
    expect(event).toBeDefined();
    expect(told(asCollected(line))).toEqual([event]);
    // BigQuery had lists of one.
    const listed = (value: unknown): unknown =>
      typeof value === "object" && value !== null && !Array.isArray(value)
        ? [Object.fromEntries(Object.entries(value).map(([name, each]) => [name, listed(each)]))]
        : value;
    expect(told({ ...line, metadata: listed(line.metadata) })).toEqual([event]);
  });

  test("of Auth that nobody took apart is read from its message", () => {
    const { metadata: _, ...line } = authFailure();
    expect(told(line)).toEqual(told({ ...line, metadata: {} }));
    expect(told(line)[0]).toMatchObject({ action: "user.login_failed", ip_address: "203.0.113.7" });
  });

  test.each([null, 5, "text", [], [{}], { event_message: "no time" }, { timestamp: "never", event_message: "x" }])(
    "is not %j",
    (raw) => expect(() => readLine(raw, NOW)).toThrow(LineError),
  );

  test("of any shape is read, left out or refused, and is never more than that", () => {
    const path = fc.constantFrom("auth_event", "request", "parsed", "req", "response", "metadata", "path", "error");
    fc.assert(
      fc.property(
        fc.dictionary(path, fc.jsonValue()),
        fc.oneof(fc.constant(1_767_225_601_234_567), fc.jsonValue()),
        fc.string({ unit: "binary" }),
        (metadata, timestamp, event_message) => {
          try {
            for (const event of eventsOf(readLine({ timestamp, event_message, metadata }, NOW))) {
              expect(JSON.stringify(event)).not.toMatch(/\\u0000|\\ud[89a-f]/i);
            }
          } catch (error) {
            expect(error).toBeInstanceOf(LineError);
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  test("with NUL and half characters is one that PostgreSQL can keep", () => {
    const [event] = told(authFailure({ ip: "a\0b\ud800c" }));
    expect(event!.ip_address).toBe("a\ufffdb\ufffdc");
  });

  test("that was folded counts as often as it was repeated, up to a bound", () => {
    const { event_message, ...line } = authFailure();
    const folded = (times: number) =>
      told({ ...line, metadata: {}, event_message: `message repeated ${times} times: [ ${event_message}]` });
    expect(folded(3).map(({ action }) => action)).toEqual(Array(3).fill("user.login_failed"));
    expect(new Set(folded(3).map(({ key }) => key)).size).toBe(3);
    expect(folded(3)[2]!.details).toMatchObject({ repeated: 3, repetition: 3 });
    expect(folded(999_999_999)).toHaveLength(1_000);
    expect(folded(0)).toHaveLength(1);
  });
});

describe("Auth's lines", () => {
  test.each([
    [{ error_code: "invalid_credentials" }, "user.login_failed", "failure"],
    [{ error_code: "user_banned", status: 400 }, "user.login_failed", "failure"],
    [{ error_code: "email_not_confirmed" }, "user.login_failed", "failure"],
    [
      { error_code: "otp_expired", path: "/verify", grant_type: null, status: 403 },
      "user.login_failed",
      "failure",
    ],
    [{ error_code: "over_request_rate_limit", status: 429 }, "user.login_failed", "denied"],
    [
      { error_code: "mfa_verification_failed", path: `/factors/${USER}/verify`, status: 422 },
      "user.mfa_failed",
      "failure",
    ],
    [
      { error_code: "over_request_rate_limit", path: `/factors/${USER}/verify`, status: 429 },
      "user.mfa_failed",
      "denied",
    ],
    [
      { error_code: "over_email_send_rate_limit", path: "/recover", status: 429 },
      "user.password_reset_requested",
      "denied",
    ],
    // Without codes, as they were before 2024.
    [{ error_code: null }, "user.login_failed", "failure"],
    [{ error_code: null, error: "400: Email not confirmed" }, "user.login_failed", "failure"],
    [{ error_code: null, error: "429: Request rate limit reached", status: 429 }, "user.login_failed", "denied"],
    [
      { error_code: null, error: "422: Invalid TOTP code entered", path: `/factors/${USER}/verify` },
      "user.mfa_failed",
      "failure",
    ],
  ])("%j is %s, %s", (fields, action, outcome) => {
    expect(told(authFailure(fields))).toMatchObject([{ action, outcome, kind: "auth" }]);
  });

  test.each([
    [{ grant_type: "refresh_token", error_code: "refresh_token_not_found" }],
    [{ path: "/user", error_code: "bad_jwt", status: 403 }],
    [{ path: "/signup", error_code: "user_already_exists", status: 422 }],
    [{ path: "/token", error_code: "validation_failed" }],
    [{ path: "/token", error_code: "unexpected_failure", status: 500, error: "500: Database error" }],
  ])("%j is no event", (fields) => expect(told(authFailure(fields))).toEqual([]));

  test.each(["login", "logout", "user_signedup", "user_recovery_requested", "a_later_version_s"])(
    "of %s are told once, though the request and the event are a line each",
    (action) => {
      const event = { action, user: USER, email: "ada@example.com", request_id: "r-1" };
      const [alone] = told(authEvent(event));
      const [within] = told(authEvent({ ...event, as: "auth_event" }));
      expect(alone).toMatchObject({
        kind: "auth",
        payload: { action, actor_id: USER, actor_username: "ada@example.com", traits: { provider: "email" } },
      });
      expect(within!.key).toBe(alone!.key);
    },
  );

  test("of the old half of a refresh are none", () => {
    expect(told(authEvent({ action: "token_revoked", user: USER, email: "ada@example.com" }))).toEqual([]);
  });

  test("of one request's id at two times are two events", () => {
    const keys = [1, 2].map((second) =>
      told(authFailure({ request_id: "same", at: Date.now() - second * 1_000 }))[0]!.key
    );
    expect(new Set(keys).size).toBe(2);
  });
});

describe("the gateway's lines", () => {
  test.each([401, 403])("with %i are denied requests", (status) => {
    expect(told(edge({ status, user: USER }))).toMatchObject([{
      kind: "denied",
      action: "access.denied",
      outcome: "denied",
      user_id: USER,
      ip_address: "203.0.113.7",
      resource_id: "/rest/v1/budgets",
      details: { status, service: "rest", method: "GET", country: "DE" },
    }]);
  });

  test("never bring the query, which may hold tokens", () => {
    const line = edge({ search: "?apikey=secret" });
    expect(JSON.stringify(told(line)[0]!.details) + told(line)[0]!.resource_id).not.toContain("secret");
  });

  test.each([
    [200, "success"],
    [404, "failure"],
    [500, "failure"],
  ])("with %i are requests: %s", (status, outcome) => {
    expect(told(edge({ status }))).toMatchObject([{ kind: "accessed", action: "api.accessed", outcome }]);
  });

  test.each([
    ["what Auth says better", edge({ path: "/auth/v1/token", status: 400 })],
    ["what Auth says better", edge({ path: "/auth/v1/verify", status: 403 })],
    ["preflights", edge({ method: "OPTIONS" })],
    ["functions, which have a log of their own", edge({ path: "/functions/v1/hello", status: 401 })],
    ["our own functions", functionEdge({ name: "audit-ingest/log-drain" })],
    ["our own functions", functionEdge({ name: "audit-jobs/seal", status: 401 })],
    ["our own functions", functionEdge({ name: "audit/logs", status: 403 })],
  ])("leave out %s", (_, line) => expect(told(line)).toEqual([]));

  test("of functions with names like ours are others'", () => {
    expect(told(functionEdge({ name: "auditor", status: 401 }))).toHaveLength(1);
  });

  test("of a key that the gateway refused before Auth are denied requests", () => {
    expect(told(edge({ path: "/auth/v1/token", status: 401 }))).toMatchObject([{ action: "access.denied" }]);
  });
});

describe("PostgreSQL's lines", () => {
  test.each([
    ["permission denied for table salaries", "table", "salaries", "privilege"],
    ["permission denied for schema audit", "schema", "audit", "privilege"],
    ["permission denied for function seal", "function", "seal", "privilege"],
    ["must be owner of table salaries", "table", "salaries", "privilege"],
    ['new row violates row-level security policy for table "plans"', "table", "plans", "row_level_security"],
    ['new row violates row-level security policy "mine" for table "plans"', "table", "plans", "row_level_security"],
  ])("%s", (message, resource_type, resource_id, reason) => {
    expect(told(postgres({ message }))).toMatchObject([{
      action: "access.denied",
      actor_type: "database",
      ip_address: "198.51.100.9",
      resource_type,
      resource_id,
      details: { reason, database_role: "reporting", sqlstate: "42501" },
    }]);
  });

  test.each(["postgres", " postgres", "0", "-", "null", 'o"brien'])(
    "of a failed login as %j have that name",
    (user) => {
      const message = `password authentication failed for user "${user}"`;
      const [event] = told(postgres({ message, state: "28P01", severity: "FATAL", user, from: "2001:db8::7:50214" }));
      expect(event).toMatchObject({
        action: "user.login_failed",
        resource_type: "database_role",
        resource_id: user,
        ip_address: "2001:db8::7",
        details: { database_role: user },
      });
      const { user_name: _, ...parsed } = postgres({ message, state: "28P01" }).metadata.parsed as {
        user_name: string;
      };
      const without = { ...postgres({ message }), metadata: { parsed } };
      expect(told(without)[0]!.resource_id).toBe(user);
    },
  );

  test.each(["authenticator", "supabase_storage_admin", "supabase_auth_admin"])(
    "of %s are left to the service that connects so",
    (user) => expect(told(postgres({ user }))).toEqual([]),
  );

  test("in one millisecond from two sessions are two events", () => {
    const at = Date.now();
    expect(told(postgres({ at }))[0]!.key).not.toBe(told(postgres({ at }))[0]!.key);
  });
});

describe("Storage's lines", () => {
  test("of a policy that refused are denied requests; others are the gateway's", () => {
    expect(told(storage())).toMatchObject([{
      action: "access.denied",
      resource_id: "/storage/v1/object/private/plan.pdf",
    }]);
    expect(told(storage({ status: 403 }))).toEqual([]);
    expect(told(storage({ status: 200 }))).toEqual([]);
  });
});
