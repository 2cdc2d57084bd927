// A project whose alerts are delivered in the test's own process, to a receiver that knows ids.
import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type pg from "pg";
import { Webhook } from "standardwebhooks";
import type { Database, Statement } from "../../functions/_shared/database.ts";
import {
  type AlertDeliveriesResult,
  type AlertDeliveryDeps,
  deliverAlerts,
} from "../../functions/audit-jobs/alert_deliveries.ts";
import { createDatabase, type TestDatabase } from "./database.ts";
import { type TestNetwork, testNetwork } from "./network.ts";
import { jobDatabase } from "./sealing.ts";

export const ACME = "0a000000-0000-4000-8000-000000000001";
export const PROJECT_URL = "https://ref.supabase.example";

/** What the receiver does with a request, before or after it took it. */
export type Behaviour = (request: { id: string; path: string; headers: IncomingMessage["headers"]; text: string }) =>
  | undefined
  | "reset before"
  | "reset after"
  | "hang"
  | "hang after"
  | { status: number; headers?: Record<string, string> };

export type Taken = {
  id: string;
  path: string;
  headers: IncomingMessage["headers"];
  text: string;
  // deno-lint-ignore no-explicit-any -- of webhooks, Slack and mail
  body: any;
};

export type AlertReceiver = {
  url: string;
  /** What it took, in order, each as often as it came. */
  taken: Taken[];
  /** All requests. */
  requests: number;
  behave: Behaviour;
  stop(): Promise<void>;
};

/** Takes whatever is sent to it; the path says to which channel it was. */
export async function startAlertReceiver(): Promise<AlertReceiver> {
  const server = createServer(async (incoming, outgoing) => {
    incoming.on("error", () => {});
    outgoing.on("error", () => {});
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const text = Buffer.concat(chunks).toString();
    const { headers, url: path = "" } = incoming;
    const id = String(headers["webhook-id"] ?? headers["idempotency-key"] ?? "");
    receiver.requests++;
    const what = receiver.behave({ id, path, headers, text });
    answer(what, { id, path, headers, text, body: JSON.parse(text) }, incoming, outgoing);
  });
  function answer(
    what: ReturnType<Behaviour>,
    taken: Taken,
    incoming: IncomingMessage,
    outgoing: ServerResponse,
  ): void {
    if (what === "reset before") return void incoming.socket.resetAndDestroy();
    if (what === "hang") return;
    if (typeof what === "object") return void outgoing.writeHead(what.status, what.headers).end();
    receiver.taken.push(taken);
    if (what === "reset after") return void incoming.socket.resetAndDestroy();
    if (what !== "hang after") outgoing.writeHead(200).end("ok");
  }
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const receiver: AlertReceiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    taken: [],
    requests: 0,
    behave: () => undefined,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return receiver;
}

type DeliverMore = { database?: Database; timeout?: number; key?: string; signUrls?: AlertDeliveryDeps["signUrls"] };

export type Alerting = {
  db: TestDatabase;
  client: pg.Client;
  database: Database;
  network: TestNetwork;
  /** Makes a channel and answers it, with its secret. */
  channel(request: object): Promise<{ id: string; secret: string }>;
  /** Opens an alert in a transaction of its own. */
  alert(more?: Parameters<typeof openAlert>[1] & { client?: pg.Client }): Promise<string>;
  /** As many runs of the job at once. */
  deliver(more?: DeliverMore): Promise<AlertDeliveriesResult>;
  /** Every pause and every lease is over. */
  later(): Promise<void>;
  value<T>(text: string, values?: unknown[]): Promise<T>;
  end(): Promise<void>;
};

export async function startAlerting(): Promise<Alerting> {
  const db = await createDatabase();
  const client = await db.connect();
  const database = jobDatabase(db.url());
  const network = testNetwork();
  await client.query("select audit.configure('local_channels', 'true')");
  async function value<T>(text: string, values: unknown[] = []): Promise<T> {
    const { rows } = await client.query({ text, values, rowMode: "array" });
    return rows[0]?.[0] as T;
  }
  return {
    db,
    client,
    database,
    network,
    value,
    channel: (request) =>
      value("select audit.create_channel($1)", [
        JSON.stringify({ organization_id: ACME, kind: "webhook", ...request }),
      ]),
    alert: ({ client: by = client, ...more } = {}) => openAlert(by, more),
    deliver: ({ database: by = database, timeout = 1_000, key, signUrls = () => Promise.resolve(new Map()) } = {}) =>
      deliverAlerts({
        database: by,
        network,
        projectUrl: PROJECT_URL,
        signUrls,
        mail: { key, from: undefined },
        timeout,
      }),
    async later() {
      // Beside runs that are under way: what they settle at this moment is not touched.
      await client.query(
        `update audit.deliveries d set next_try_at = now() - interval '1 second', lease_until = '-infinity'
         from (select id from audit.deliveries where state = 'waiting' for update skip locked) w where w.id = d.id`,
      );
      await client.query(
        `update audit.channels c set next_try_at = '-infinity'
         from (select id from audit.channels order by id for no key update) w where w.id = c.id`,
      );
    },
    async end() {
      await database.end();
      await db.drop();
    },
  };
}

/** Opens an alert of a rule, past what rules do against too many. */
export async function openAlert(
  client: pg.Client,
  { title = "3 failed logins", reason = { seen: 3 }, organization = ACME }: {
    title?: string;
    reason?: object;
    organization?: string;
  } = {},
): Promise<string> {
  const { rows: [row] } = await client.query<{ id: string }>(
    `insert into audit.alerts (organization_id, rule_id, group_key, severity, title, reason, state, first_seen_at, last_seen_at, occurrences, entries)
     values ($1, gen_random_uuid(), $2, 'high', $3, $4, 'open', now(), now(), 1, '{3-17,4-9}')
     returning id`,
    [organization, crypto.randomUUID(), title, JSON.stringify(reason)],
  );
  await client.query("select audit.queue_alert($1, 'opened')", [row!.id]);
  return row!.id;
}

/** Whether a message verifies, as the library of receivers has it. */
export function verifies({ text, headers }: Taken, secret: string): boolean {
  try {
    new Webhook(secret).verify(text, headers as Record<string, string>);
    return true;
  } catch {
    return false;
  }
}

/** A process that dies now and then, before or after a statement took effect. */
export function dying(database: Database, dies: (statement: Statement) => "before" | "after" | undefined): Database {
  return {
    ...database,
    async askAsOwner(statement) {
      const when = dies(statement);
      if (when === "before") throw new Error("killed");
      const answer = await database.askAsOwner(statement);
      if (when === "after") throw new Error("killed");
      return answer;
    },
  };
}
