// Webhooks as Standard Webhooks (https://www.standardwebhooks.com) has them, so that receivers verify them with its
// libraries.
import { Webhook } from "standardwebhooks";
import { type Answer, checkSuccess, post } from "./outside.ts";
import { parseBase64 } from "./tlog/text.ts";

export type WebhookTarget = {
  url: string;
  /** `whsec_` and the base64 of 24 to 64 bytes; while they are rotated, the new one and the old one. */
  secrets: string[];
};

/** How a message is sent, of whose answer nothing is read but its head. */
export type Send = (address: string, request: { headers: Record<string, string>; body: string }) => Promise<Answer>;

/** Receivers know by the id what they have already. The body is JSON, of which `type`, `timestamp` and `data` are usual. */
export type WebhookMessage = { id: string; body: { type: string; timestamp: string; data: unknown } };

export function isWebhookSecret(secret: string): boolean {
  const bytes = parseBase64(/^whsec_(.*)$/.exec(secret)?.[1] ?? "")?.length ?? 0;
  return bytes >= 24 && bytes <= 64;
}

/** Sends it once. What is no success throws an OutsideError. */
export async function sendWebhook(
  { url, secrets }: WebhookTarget,
  message: WebhookMessage,
  send: Send = (address, request) => post(address, { ...request, mostBytes: 0 }),
): Promise<void> {
  const body = JSON.stringify(message.body);
  const now = new Date();
  const answer = await send(url, {
    headers: {
      "content-type": "application/json",
      "webhook-id": message.id,
      "webhook-timestamp": String(Math.floor(now.getTime() / 1_000)),
      "webhook-signature": secrets.map((secret) => new Webhook(secret).sign(message.id, now, body)).join(" "),
    },
    body,
  });
  checkSuccess(answer);
}
