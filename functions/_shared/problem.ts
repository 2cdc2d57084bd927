// What goes wrong, as problem details (RFC 9457). What callers may know is said here; nothing else leaves: no SQL, no
// stack, no message of another's making.
import pg from "pg";
import { isUnreachable } from "./database.ts";

/** The stable names of problems that are not the database's, with HTTP status and title. */
const PROBLEMS = {
  invalid_request: [400, "The request could not be read."],
  not_authenticated: [401, "The request does not say who makes it."],
  not_a_person: [403, "The token is a project's key, not a person's."],
  route_not_found: [404, "There is no such address."],
  not_proved: [409, "The entry is not the one that was sealed, or its log is damaged."],
  not_anchored: [409, "The anchor log does not tell of the entry's log yet."],
  archive_encrypted: [409, "Only who has the archive's key can read it."],
  method_not_allowed: [405, "The address does not take this method."],
  too_large: [413, "The request is too large."],
  too_many_requests: [429, "More was sent than is taken in that time."],
  unsupported_media_type: [415, "The body is not JSON."],
  internal_error: [500, "Something failed that should not."],
  not_configured: [503, "The project has not set this up."],
  unavailable: [503, "The service cannot answer at the moment."],
  timeout: [504, "It took too long."],
} as const satisfies Record<string, readonly [number, string]>;

/** What the database raises: audit.error_codes, and codes of PostgreSQL's own that a request can cause. */
export const DATABASE_PROBLEMS: Record<
  string,
  readonly [number, string, string]
> = {
  AUARG: [422, "invalid_argument", "An argument is missing or out of range."],
  AUQRY: [400, "invalid_query", "A query could not be read."],
  AUCUR: [400, "invalid_cursor", "A cursor was edited, or belongs to another search."],
  AURUL: [422, "invalid_rule", "A rule has an unknown field, or a value that it cannot have."],
  AUNOT: [404, "not_found", "There is no such thing that the caller may read."],
  AUPND: [409, "not_sealed", "The entry is not in a signed log yet."],
  AUDEN: [403, "access_denied", "The caller may not do this."],
  AUIMM: [409, "log_immutable", "Entries of the log are never changed or deleted."],
  AUOPT: [422, "invalid_option", "An option is unknown or of the wrong type."],
  AURAT: [429, "too_many_requests", "The caller does this more often than is allowed."],
  AUVLT: [409, "vault_missing", "The project has no Vault to keep a secret in."],
  AUORG: [422, "no_organization", "The organisation could not be determined."],
};

type Name = keyof typeof PROBLEMS;

export type Place = {
  /** The query parameter. */
  parameter?: string;
  /** A JSON pointer into the body. */
  path?: string;
  /** The character of the query string, from 1. */
  position?: number;
};

export type ProblemDetails = Place & {
  type: string;
  title: string;
  status: number;
  code: string;
  detail?: string;
  hint?: string;
  request_id: string;
};

/** A failure that is the caller's to know of. */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly code: string;
  readonly hint: string | undefined;
  readonly place: Place;
  readonly headers: Record<string, string>;

  constructor(
    name: Name | readonly [status: number, code: string, title: string],
    detail: string,
    more: {
      hint?: string | undefined;
      place?: Place;
      headers?: Record<string, string>;
      cause?: unknown;
    } = {},
  ) {
    super(detail, { cause: more.cause });
    [this.status, this.code, this.title] = typeof name === "string"
      ? [PROBLEMS[name][0], name, PROBLEMS[name][1]]
      : name;
    this.hint = more.hint;
    this.place = more.place ?? {};
    this.headers = more.headers ?? {};
  }

  toResponse(requestId: string): Response {
    const body: ProblemDetails = {
      type: `urn:audit-logs:problem:${this.code}`,
      title: this.title,
      status: this.status,
      detail: this.message,
      code: this.code,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...this.place,
      request_id: requestId,
    };
    return Response.json(body, {
      status: this.status,
      headers: { ...this.headers, "content-type": "application/problem+json" },
    });
  }
}

/** The problem that an error is; for an error that nobody foresaw, one that says nothing of it. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof pg.DatabaseError) {
    const known = DATABASE_PROBLEMS[error.code ?? ""];
    if (known !== undefined) {
      const { place, text } = placeOf(error.detail);
      const hint = [error.hint, text].filter(Boolean).join(" ") || undefined;
      return new Problem(known, error.message, { hint, place, cause: error });
    }
    const own = postgresProblem(error.code);
    if (own !== undefined) {
      return new Problem(own[0], own[1], { hint: own[2], cause: error });
    }
  }
  if (isUnreachable(error)) {
    return unavailable("The database cannot be reached.", error);
  }
  return new Problem(
    "internal_error",
    "The request failed. Its id finds the reason in the project's logs.",
    { cause: error },
  );
}

/** For what passes: clients may try again, and are told when. */
export function unavailable(detail: string, cause?: unknown, seconds = 2): Problem {
  const hint = `Try again in ${seconds} seconds.`;
  return new Problem("unavailable", detail, { hint, cause, headers: { "retry-after": String(seconds) } });
}

function postgresProblem(code: string | undefined): [Name, string, string] | undefined {
  switch (code) {
    case "57014":
      return [
        "timeout",
        "The statement was ended because it took too long.",
        "Ask for a shorter period or fewer entries.",
      ];
    case "54001":
      return ["invalid_request", "The query is nested too deep.", "Write it with fewer levels."];
    case "22P02":
    case "22P05":
    case "22021":
      return [
        "invalid_request",
        "The request holds a text that is none.",
        "NUL and half characters cannot be searched for.",
      ];
  }
  return undefined;
}

/** The detail of an AUQRY is a JSON object that says where; other details are text. */
function placeOf(detail: string | undefined): { place: Place; text?: string } {
  if (!detail?.startsWith("{")) {
    return { place: {}, ...(detail ? { text: detail } : {}) };
  }
  try {
    const { path, position } = JSON.parse(detail) as {
      path?: unknown;
      position?: unknown;
    };
    return {
      place: { ...(typeof path === "string" ? { path } : {}), ...(typeof position === "number" ? { position } : {}) },
    };
  } catch {
    return { place: {}, text: detail };
  }
}
