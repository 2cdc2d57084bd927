// Who reports events: the project's backend by its service key, or a source by its secret, which it sends or signs with
// (Standard Webhooks).
import { Webhook, WebhookVerificationError } from "standardwebhooks";
import type { Database } from "../_shared/database.ts";
import { Problem } from "../_shared/problem.ts";
import { equalSecrets } from "../_shared/secrets.ts";

/** As audit.event_sources has it. */
const SERVICE = "00000000-0000-0000-0000-000000000000";

export function bearerOf(authorization: string | undefined): string {
  return /^Bearer +(\S+)$/i.exec(authorization ?? "")?.[1] ?? "";
}

/** The source whose secret was sent. */
export async function sourceOfBearer(database: Database, serviceKeys: string[], bearer: string): Promise<string> {
  const matches = await Promise.all(serviceKeys.map((key) => equalSecrets(bearer, key)));
  if (matches.includes(true)) return SERVICE;
  const source = await database.askAsOwner({
    name: "find_event_source",
    text: "select audit.find_event_source($1)::text",
    values: [bearer.replaceAll("\0", "")],
  });
  if (source === null) throw denied("The token is no source's secret, and not the service key.");
  return source;
}

/** The source named, whose signature the body has. */
export async function sourceOfSignature(database: Database, headers: Headers, body: Uint8Array): Promise<string> {
  const answer = await database.askAsOwner({
    name: "signing_secrets",
    text: "select audit.signing_secrets($1)::text",
    values: [headers.get("audit-source") ?? ""],
  });
  const { id, secrets } = JSON.parse(answer ?? '{"id": "", "secrets": []}') as { id: string; secrets: string[] };
  const signed = Object.fromEntries(
    ["webhook-id", "webhook-timestamp", "webhook-signature"].map((name) => [name, headers.get(name) ?? ""]),
  );
  const text = new TextDecoder().decode(body);
  if (!secrets.some((secret) => verifies(new Webhook(secret), text, signed))) {
    throw denied("The signature is not that of the source, or is of more than five minutes ago.");
  }
  return id;
}

function verifies(webhook: Webhook, text: string, headers: Record<string, string>): boolean {
  try {
    webhook.verify(text, headers, { jsonParse: false });
    return true;
  } catch (error) {
    if (error instanceof WebhookVerificationError) return false;
    throw error;
  }
}

function denied(detail: string): Problem {
  return new Problem("not_authenticated", detail, {
    hint:
      "Send Authorization: Bearer <secret>; or sign as Standard Webhooks says, and name the source in audit-source.",
    headers: { "www-authenticate": "Bearer" },
  });
}
