import type { Client } from "pg";
import type { StackInfo } from "../stack/info.ts";
import { totp } from "../stack/totp.ts";
import { formatTable } from "./table.ts";

/** Signs in, fails, enrols a factor and signs out against the stand-in of Auth, and answers the entries that came of it. */
export async function useAuth(client: Client, { api_url, anon_key, users }: StackInfo): Promise<string> {
  const person = users.find(({ role }) => role === "member") ?? users[0]!;
  const ask = async (path: string, { method = "POST", body, token }: Asked = {}): Promise<Answer> => {
    const response = await fetch(`${api_url}/auth/v1${path}`, {
      method,
      headers: {
        apikey: anon_key,
        "content-type": "application/json",
        "user-agent": "Mozilla/5.0 (demo)",
        "x-forwarded-for": "203.0.113.42",
        ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return response.status === 204 ? {} : await response.json() as Answer;
  };
  const { rows: [start] } = await client.query<{ now: Date }>("select clock_timestamp() as now");

  await ask("/token?grant_type=password", { body: { email: person.email, password: "not it" } });
  const { email, password } = person;
  const { access_token: token } = await ask("/token?grant_type=password", { body: { email, password } });
  const factor = await ask("/factors", { token, body: { factor_type: "totp", friendly_name: "demo" } });
  const challenge = await ask(`/factors/${factor.id}/challenge`, { token });
  const verified = await ask(`/factors/${factor.id}/verify`, {
    token,
    body: { challenge_id: challenge.id, code: totp(factor.totp!.secret) },
  });
  await ask(`/factors/${factor.id}`, { method: "DELETE", token: verified.access_token });
  await ask("/logout", { token: verified.access_token });

  await client.query("select audit.settle_waiting_auth()"); // the clock would within seconds
  const { rows } = await client.query<Record<"action" | "outcome" | "email" | "ip_address" | "source", string>>(
    `select action, outcome, email, ip_address, details ->> 'source' as source
     from public.audit_events where details ? 'source' and resource_id = $1 and created_at >= $2
     order by created_at, chain, seq`,
    [person.id, start!.now],
  );
  return formatTable(
    ["action", "outcome", "who", "from", "seen by"],
    rows.map((row) => [row.action, row.outcome, row.email, row.ip_address ?? "", row.source]),
  );
}

type Asked = { method?: string; body?: unknown; token?: string | undefined };
type Answer = { id?: string; access_token?: string; totp?: { secret: string } };
