// Job deliver-alerts: takes what is due from the outbox (sql/650_deliveries.sql), tells the channels, and says what became
// of it. A run that is killed in between leaves a lease; when that is over, another tells the same, under the same id.
import type { Database } from "../_shared/database.ts";
import { guardedSend } from "../_shared/guarded_post.ts";
import { sendMail } from "../_shared/mail.ts";
import { checkSuccess, OutsideError } from "../_shared/outside.ts";
import type { Network } from "../_shared/public_address.ts";
import { type Send, sendWebhook } from "../_shared/webhook.ts";
import { mailOf, type Message, slackBody, webhookBody } from "./alert_messages.ts";

export type AlertDeliveryDeps = {
  database: Database;
  network: Network;
  /** Where the project's API answers. */
  projectUrl: string;
  /** Makes addresses under which files in Storage can be read for LINK_SECONDS; none of what is not there. */
  signUrls(paths: string[]): Promise<Map<string, string>>;
  /** Of e-mail channels without a key of their own. */
  mail: { key: string | undefined; from: string | undefined };
  /** Milliseconds for an attempt. */
  timeout?: number;
};

export type AlertDeliveriesResult = { delivered: number; failed: number; more: boolean };

/** What audit.take_deliveries() answers of each. */
type Delivery = {
  id: string;
  lease: string;
  type: string;
  at: string;
  message: Message;
  channel: string;
  secret: string | null;
} & Target;

type Target =
  | { kind: "webhook"; config: { url: string } }
  | { kind: "slack"; config: object }
  | { kind: "email"; config: { to: string[]; from?: string; api?: string } }
  | { kind: "smtp"; config: { to: string[]; from: string; host: string; port: number; username?: string } };

/** At once. Some of them wait for servers that hang. */
const MOST_AT_ONCE = 32;
/** After so many milliseconds, or deliveries, nothing further is begun: a hosted function has 150 s, and 2 s of CPU. */
const MOST_TIME = 20_000;
const MOST_DELIVERIES = 400;
const RESEND = "https://api.resend.com/emails";
/** A mail is read after a week-end, and what is sent again within 75 hours still has a few days. */
export const LINK_SECONDS = 7 * 86_400;

/** Delivers until nothing is due, or the time is over. */
export async function deliverAlerts(deps: AlertDeliveryDeps): Promise<AlertDeliveriesResult> {
  const end = performance.now() + MOST_TIME;
  const result = { delivered: 0, failed: 0, more: false };
  const underWay = new Set<Promise<void>>();
  let begun = 0;
  let broken: { error: unknown } | undefined;
  for (;;) {
    const isOver = broken !== undefined || begun >= MOST_DELIVERIES || performance.now() > end;
    if (!isOver && underWay.size < MOST_AT_ONCE) {
      const { send, deliveries } = await take(deps, MOST_AT_ONCE - underWay.size);
      begun += deliveries.length;
      for (const delivery of deliveries) {
        const work = deliver(deps, send, delivery).then(
          (isDelivered) => void result[isDelivered ? "delivered" : "failed"]++,
          // The database: nothing further can be noted.
          (error) => void (broken ??= { error }),
        ).finally(() => underWay.delete(work));
        underWay.add(work);
      }
    }
    result.more = isOver;
    if (underWay.size === 0) break;
    await Promise.race(underWay);
  }
  if (broken !== undefined) throw broken.error;
  return result;
}

async function take(
  { database, network, timeout }: AlertDeliveryDeps,
  most: number,
): Promise<{ send: Sending; deliveries: Delivery[] }> {
  const answer = await database.askAsOwner({
    name: "take_deliveries",
    text: "select audit.take_deliveries($1)::text",
    values: [most],
  });
  const { local, deliveries } = JSON.parse(answer!) as { local: boolean; deliveries: Delivery[] };
  const options = { local, ...(timeout === undefined ? {} : { timeout }) };
  return {
    send: { post: guardedSend(network, options), mail: (server, mail) => sendMail(network, server, mail, options) },
    deliveries,
  };
}

type Sending = {
  post: Send;
  mail(server: Parameters<typeof sendMail>[1], mail: Parameters<typeof sendMail>[2]): Promise<void>;
};

/** Answers whether the channel took it; throws where the database does not take that. */
async function deliver(deps: AlertDeliveryDeps, sending: Sending, delivery: Delivery): Promise<boolean> {
  let failure: { code: string; retryAfter: number } | undefined;
  try {
    await tell(deps, sending, delivery);
  } catch (error) {
    failure = failureOf(error);
    const { id, channel, kind, type } = delivery;
    console.error(
      JSON.stringify({ level: "error", job: "deliver-alerts", delivery: id, channel, kind, type, code: failure.code }),
    );
  }
  await deps.database.askAsOwner({
    name: "settle_delivery",
    text: "select audit.settle_delivery($1, $2, $3, $4)::text",
    values: [delivery.id, delivery.lease, failure?.code ?? null, failure?.retryAfter ?? 0],
  });
  return failure === undefined;
}

/** What nobody foresaw counts as a failure too, so that it does not come at once again. */
function failureOf(error: unknown): { code: string; retryAfter: number } {
  if (error instanceof OutsideError) return { code: error.code, retryAfter: error.retryAfter ?? 0 };
  return { code: error instanceof NotSent ? error.code : "internal_error", retryAfter: 0 };
}

/** It is our own fault. */
class NotSent extends Error {
  readonly code: "not_configured" | "not_linked";

  constructor(code: NotSent["code"]) {
    super(code);
    this.code = code;
  }
}

async function tell(deps: AlertDeliveryDeps, sending: Sending, taken: Delivery): Promise<void> {
  const { projectUrl, mail } = deps;
  const delivery = { ...taken, message: await withLinks(deps, taken) };
  const { id, kind, config, secret } = delivery;
  switch (kind) {
    case "webhook": {
      const message = { id: `msg_${id.replaceAll("-", "")}`, body: webhookBody(delivery, projectUrl) };
      return await sendWebhook({ url: config.url, secrets: secret!.split(" ") }, message, sending.post);
    }
    case "slack": {
      const headers = { "content-type": "application/json" };
      return checkSuccess(
        await sending.post(secret!, { headers, body: JSON.stringify(slackBody(delivery, projectUrl)) }),
      );
    }
    case "email": {
      const key = secret ?? mail.key;
      const from = config.from ?? mail.from;
      if (key === undefined || from === undefined) throw new NotSent("not_configured");
      const headers = { "content-type": "application/json", authorization: `Bearer ${key}`, "idempotency-key": id };
      const body = JSON.stringify({ from, to: config.to, ...mailOf(delivery, projectUrl) });
      return checkSuccess(await sending.post(config.api ?? RESEND, { headers, body }));
    }
    case "smtp": {
      const { from, to, ...server } = config;
      return await sending.mail({ ...server, password: secret ?? undefined }, {
        id,
        from,
        to,
        ...mailOf(delivery, projectUrl),
      });
    }
  }
}

/** The message, of a report with addresses of its files that hold for a day at least. */
async function withLinks({ database, signUrls }: AlertDeliveryDeps, { id, message }: Delivery): Promise<Message> {
  const now = Date.now();
  if (message.report_id === undefined || Date.parse(message.links_until ?? "") > now + 86_400_000) return message;
  const paths = JSON.parse(
    (await database.askAsOwner({
      name: "delivered_files",
      text: "select audit.delivered_files($1)::text",
      values: [id],
    }))!,
  ) as string[];
  if (paths.length === 0) return message;
  const urls = await signUrls(paths);
  if (urls.size < paths.length) throw new NotSent("not_linked");
  const links = Object.fromEntries([...urls].map(([path, url]) => [path.split("/").at(-1)!, url]));
  const kept = await database.askAsOwner({
    name: "keep_links",
    text: "select audit.keep_links($1, $2, $3)::text",
    values: [id, JSON.stringify(links), new Date(now + LINK_SECONDS * 1000).toISOString()],
  });
  return JSON.parse(kept!) as Message;
}
