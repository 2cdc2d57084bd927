// Stand-in for whoever receives webhooks: it takes every message and verifies it with the library that receivers use.
import { Buffer } from "node:buffer";
import { randomBytes } from "node:crypto";
import { createServer, type IncomingHttpHeaders } from "node:http";
import type { AddressInfo } from "node:net";
import { Webhook } from "standardwebhooks";

export type Message = {
  id: string;
  headers: IncomingHttpHeaders;
  /** As it came. */
  text: string;
  body: { type: string; timestamp: string; data: { origin: string; size: number; checkpoint: string } };
};

export type WebhookReceiver = {
  url: string;
  secret: string;
  /** In the order in which they came; one that is cut or does not verify is not among them. */
  messages: Message[];
  stop(): Promise<void>;
};

export async function startReceiver(): Promise<WebhookReceiver> {
  const secret = `whsec_${randomBytes(24).toString("base64")}`;
  const messages: Message[] = [];
  const server = createServer(async (incoming, outgoing) => {
    const { headers } = incoming;
    try {
      const chunks: Buffer[] = [];
      for await (const chunk of incoming) chunks.push(chunk as Buffer);
      const text = Buffer.concat(chunks).toString();
      const body = new Webhook(secret).verify(text, headers as Record<string, string>) as Message["body"];
      messages.push({ id: String(headers["webhook-id"]), headers, text, body });
      outgoing.writeHead(204).end();
    } catch {
      outgoing.writeHead(401).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    secret,
    messages,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
