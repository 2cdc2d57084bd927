import { createHash } from "node:crypto";
import type { Client } from "pg";
import type { StackUser } from "../stack/info.ts";

/** On whose behalf a transaction runs, and with whose rights. */
export interface Actor {
  user: StackUser;
  /** `authenticated`: the person's; `service_role`: the application's service, which works for the person. */
  role: "authenticated" | "service_role";
}

/**
 * Runs one transaction the way the Data API runs a request: role, claims and headers are set for this transaction only.
 * The service passes on the claims and headers of the person it works for, so its entries name that person.
 */
export async function acting<T>(client: Client, actor: Actor, requestId: string, work: () => Promise<T>): Promise<T> {
  await client.query("begin");
  try {
    await client.query({ name: "demo-context", text: CONTEXT, values: context(actor, requestId) });
    const result = await work();
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch(() => undefined); // The first error says why; the connection may be gone.
    throw error;
  }
}

const CONTEXT = `
  select
    set_config('role', $1, true),
    set_config('request.jwt.claims', $2, true),
    set_config('request.headers', $3, true)
`;

function context({ user, role }: Actor, requestId: string): string[] {
  return [
    role,
    JSON.stringify({ sub: user.id, email: user.email, role: "authenticated", aud: "authenticated" }),
    JSON.stringify({ ...place(user), "x-request-id": requestId }),
  ];
}

const USER_AGENTS = [
  "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15",
  "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
  "Mozilla/5.0 (X11; Linux x86_64; rv:142.0) Gecko/20100101 Firefox/142.0",
];

/** Always the same for a person; the addresses belong to nobody (RFC 5737, RFC 3849). */
function place(user: StackUser): { "x-forwarded-for": string; "user-agent": string } {
  const [a = 0, b = 0, c = 0] = createHash("sha256").update(user.id).digest();
  return {
    "x-forwarded-for": c % 4 === 0 ? `2001:db8::${a.toString(16)}:${b.toString(16)}` : `203.0.113.${1 + a % 254}`,
    "user-agent": USER_AGENTS[b % USER_AGENTS.length]!,
  };
}
