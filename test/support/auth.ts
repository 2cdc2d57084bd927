// The stand-in for Auth, over HTTP, on a test's database; and the entries that come of it.
import pg from "pg";
import { SignJWT } from "jose";
import { createAuth } from "../../scripts/stack/auth.ts";
import { startGateway } from "../../scripts/stack/gateway.ts";
import type { TestDatabase } from "./database.ts";
import type { Entry as LogEntry } from "./log.ts";

export type Mail = { email: string; type: "recovery" | "invite"; token: string };

export type AuthServer = {
  /** Asks with a JSON body; the status, and the answer. */
  ask(path: string, options?: AskOptions): Promise<{ status: number; body: Answer }>;
  /** Signs in, or up where there is no such account; the answer of Auth. */
  signIn(email: string, password?: string, options?: AskOptions): Promise<Answer>;
  serviceKey: string;
  mails: Mail[];
  stop(): Promise<void>;
};

export type AskOptions = { method?: string; body?: unknown; token?: string; ip?: string; userAgent?: string };
// deno-lint-ignore no-explicit-any -- the answers of another's API
type Answer = any;

const SECRET = "a-secret-that-is-long-enough-for-hs256-tokens";
export const PASSWORD = "correct horse battery";
export const HOOKS = {
  password_verification_attempt: "audit.hook_password_verification_attempt",
  mfa_verification_attempt: "audit.hook_mfa_verification_attempt",
};

export async function startAuth(
  db: TestDatabase,
  { hooks = false, auditRows = false, modes }: { hooks?: boolean; auditRows?: boolean; modes?: string } = {},
): Promise<AuthServer> {
  const mails: Mail[] = [];
  const pool = new pg.Pool({
    connectionString: db.url("supabase_auth_admin"),
    max: 8,
    ...(modes === undefined ? {} : { options: `-c default_transaction_isolation=${modes}` }),
  });
  // A database that is dropped ends connections that are still closing.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));
  const gateway = await startGateway({
    port: 0,
    apiKeys: ["key"],
    auth: createAuth({
      pool,
      jwtSecret: SECRET,
      issuer: "http://auth.example",
      auditRows,
      ...(hooks ? { hooks: HOOKS } : {}),
      onMail: (mail) => mails.push(mail),
    }),
    storage: () => Promise.resolve(new Response(null, { status: 404 })),
    functions: {
      names: () => Promise.resolve([]),
      call: () => Promise.reject(new Error()),
      stop: () => Promise.resolve(),
    },
  });
  const serviceKey = await new SignJWT({ role: "service_role", exp: 4_000_000_000 })
    .setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(SECRET));

  const ask: AuthServer["ask"] = async (path, { method = "POST", body, token, ip = "203.0.113.5", userAgent } = {}) => {
    const response = await fetch(`http://127.0.0.1:${gateway.port}/auth/v1${path}`, {
      method,
      headers: {
        apikey: "key",
        "x-forwarded-for": ip,
        "user-agent": userAgent ?? "browser/1.0",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: text === "" ? null : JSON.parse(text) };
  };
  return {
    ask,
    async signIn(email, password = PASSWORD, options = {}) {
      const body = { email, password };
      const signedIn = await ask("/token?grant_type=password", { ...options, body });
      if (signedIn.status === 200) return signedIn.body;
      const signedUp = await ask("/signup", { ...options, body });
      if (signedUp.status !== 200) throw new Error(`${signedUp.status}: ${JSON.stringify(signedUp.body)}`);
      return signedUp.body;
    },
    serviceKey,
    mails,
    async stop() {
      await gateway.stop();
      await pool.end();
    },
  };
}

/** What a view of the log says of it. */
export type Entry =
  & Omit<LogEntry, "chain" | "seq" | "created_at" | "identity_hash" | "provider" | "cost" | "request_id">
  & Record<"email" | "ip_address" | "user_agent", string | null>;

/** Entries of Auth's events, in order; those that wait are settled first. */
export async function authEntries(client: pg.Client, action = "%"): Promise<Entry[]> {
  await client.query("select audit.settle_waiting_auth()");
  const { rows } = await client.query<Entry>(
    `select organization_id, action, outcome, resource_type, resource_id, created_by, actor_type, email, ip_address,
       user_agent, details
     from public.audit_events where details ? 'source' and action like $1 order by created_at, chain, seq`,
    [action],
  );
  return rows;
}

/** The actions since this was called last. */
export function following(client: pg.Client): () => Promise<string[]> {
  let seen = 0;
  return async () => {
    const entries = await authEntries(client);
    const actions = entries.slice(seen).map(({ action }) => action);
    seen = entries.length;
    return actions;
  };
}
