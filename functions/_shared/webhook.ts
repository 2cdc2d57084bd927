// Webhooks as Standard Webhooks (https://www.standardwebhooks.com) has them, so that receivers verify them with its
// libraries.
import { Webhook } from "standardwebhooks";
import { checkSuccess, post } from "./outside.ts";
import { parseBase64 } from "./tlog/text.ts";

export type WebhookTarget = {
  url: string;
  /** `whsec_` and the base64 of 24 to 64 bytes. */
  secret: string;
};

/** Receivers know by the id what they have already. The body is JSON, of which `type`, `timestamp` and `data` are usual. */
export type WebhookMessage = { id: string; body: { type: string; timestamp: string; data: unknown } };

export function isWebhookSecret(secret: string): boolean {
  const bytes = parseBase64(/^whsec_(.*)$/.exec(secret)?.[1] ?? "")?.length ?? 0;
  return bytes >= 24 && bytes <= 64;
}

/** Sends it once. What is no success throws an OutsideError. */
export async function sendWebhook({ url, secret }: WebhookTarget, message: WebhookMessage): Promise<void> {
  const body = JSON.stringify(message.body);
  const now = new Date();
  const answer = await post(url, {
    headers: {
      "content-type": "application/json",
      "webhook-id": message.id,
      "webhook-timestamp": String(Math.floor(now.getTime() / 1_000)),
      "webhook-signature": new Webhook(secret).sign(message.id, now, body),
    },
    body,
    mostBytes: 0,
  });
  checkSuccess(answer);
}
