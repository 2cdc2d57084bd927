// The function `audit`, as the page calls it. What it refuses is a value: a Problem; so is a network that is gone.
import type { Auth } from "./session.ts";
import { tokenOf } from "./session.ts";
import type { Config } from "./config.ts";

export type Entry = {
  name: string;
  organization_id: string;
  chain: number;
  seq: number;
  created_at: string;
  action: string;
  outcome: "success" | "failure" | "denied";
  resource_type: string | null;
  resource_id: string | null;
  created_by: string | null;
  actor_type: string;
  email: string | null;
  ip_address: string | null;
  user_agent: string | null;
  provider: string | null;
  cost: string | null;
  request_id: string | null;
  details: Record<string, unknown>;
  prev_hash: string;
  hash: string;
};

export type Count = { value: string | null; count: number; email?: string | null };
export type Facets = {
  of: number;
  complete: boolean;
  action: Count[];
  actor: Count[];
  provider: Count[];
  day: Count[];
};

export type Page = {
  organization_id: string;
  query: string;
  filter: object;
  sort: string;
  entries: Entry[];
  next: string | null;
  archived_before: string | null;
  total?: { value: number; exact: boolean };
  facets?: Facets;
};

export type EntryView = {
  entry: Entry;
  entry_text: string;
  place: { country: string; region: string | null; city: string | null; attribution: string | null } | null;
  previous: Entry | null;
  next: Entry | null;
  request: Entry[];
  proof: { state: string };
};

export type Membership = {
  organization_id: string;
  access: "all" | "own";
  as: "admin" | "member" | "auditor";
  name?: string;
  time_zone: string;
  until?: string;
};
/** How long entries are kept; null for ever. */
export type Retention = {
  database_days: number | null;
  archive_days: number | null;
  chosen: boolean;
  next: { database_days: number | null; archive_days: number | null; at: string } | null;
  shorten_after: number;
  oldest_in_database: string | null;
  oldest_in_archive: string | null;
  holds: { name: string; reason: string; placed_at: string; of: "organization" | "project" }[];
};
export type Access = { user_id: string; organizations: Membership[] };

/** RFC 9457, and what the page itself finds: `offline`, `signed_out`. */
export type Problem = {
  problem: true;
  status: number;
  code: string;
  title: string;
  detail?: string;
  hint?: string;
  parameter?: string;
  path?: string;
  position?: number;
};

export type Answer<T> = T | Problem;

export function isProblem(answer: unknown): answer is Problem {
  return typeof answer === "object" && answer !== null && (answer as Problem).problem === true;
}

export type Api = {
  get<T>(path: string, parameters?: Record<string, string | undefined>, signal?: AbortSignal): Promise<Answer<T>>;
  post<T>(path: string, body: object, signal?: AbortSignal): Promise<Answer<T>>;
  patch<T>(path: string, body: object, signal?: AbortSignal): Promise<Answer<T>>;
  remove<T>(path: string, signal?: AbortSignal): Promise<Answer<T>>;
  /** The response itself, for what is saved as a file or read as bytes. */
  download(
    path: string,
    parameters?: Record<string, string | undefined>,
    signal?: AbortSignal,
  ): Promise<Answer<Response>>;
};

export function openApi(config: Config, auth: Auth): Api {
  const base = `${config.supabase_url}/functions/v1/audit`;

  async function send(path: string, init: RequestInit): Promise<Answer<Response>> {
    const token = await tokenOf(auth);
    if (token === undefined) return problem(401, "signed_out");
    try {
      const response = await fetch(base + path, {
        ...init,
        headers: { ...init.headers, authorization: `Bearer ${token}`, apikey: config.publishable_key },
      });
      if (response.ok) return response;
      if (response.status === 401) {
        await auth.signOut({ scope: "local" });
        return problem(401, "signed_out");
      }
      const body = await response.json().catch(() => ({}));
      return { ...problem(response.status, "internal_error"), ...body, problem: true };
    } catch (error) {
      // Somebody else asks now; the asker looks at its own signal.
      if (init.signal?.aborted) throw error;
      return problem(0, "offline");
    }
  }

  const withParameters = (path: string, parameters: Record<string, string | undefined> = {}) => {
    const search = new URLSearchParams();
    for (const [name, value] of Object.entries(parameters)) {
      if (value !== undefined && value !== "") search.set(name, value);
    }
    return search.size === 0 ? path : `${path}?${search}`;
  };
  const read = async <T>(answer: Answer<Response>) => isProblem(answer) ? answer : await answer.json() as T;
  const sending = (method: string) => async <T>(path: string, body: object, signal?: AbortSignal) =>
    read<T>(
      await send(path, {
        method,
        headers: { "content-type": "application/json" },
        body: JSON.stringify(body),
        signal: signal ?? null,
      }),
    );

  return {
    get: async (path, parameters, signal) =>
      read(await send(withParameters(path, parameters), { signal: signal ?? null })),
    post: sending("POST"),
    patch: sending("PATCH"),
    remove: async (path, signal) => read(await send(path, { method: "DELETE", signal: signal ?? null })),
    download: (path, parameters, signal) => send(withParameters(path, parameters), { signal: signal ?? null }),
  };
}

function problem(status: number, code: string): Problem {
  return { problem: true, status, code, title: code };
}
