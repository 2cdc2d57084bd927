// A receiver of alerts as a customer would have one: it verifies every message with the library of Standard Webhooks, knows
// ids, and prints what it was told.
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { Client } from "pg";
import { Webhook } from "standardwebhooks";
import type { StackInfo } from "../stack/info.ts";
import { signIn } from "../stack/sign_in.ts";

type Told = {
  type: string;
  data: { title: string; severity: string; reason: Record<string, unknown>; entries: string[] };
};

export type AlertReceiver = {
  /** Waits until so many different alerts have come, for a while; answers a line for each. */
  report(different: number): Promise<string[]>;
  stop(): Promise<void>;
};

const CHANNEL = "Local receiver";
const PATIENCE = 15_000;

/** From here on the admin's organisation tells its alerts to a receiver on this machine. */
export async function receiveAlerts(client: Client, stack: StackInfo): Promise<AlertReceiver> {
  const told = new Map<string, Told>();
  let refused = 0;
  let secret = "";
  const server = createServer(async (incoming, outgoing) => {
    let text = "";
    for await (const chunk of incoming) text += chunk;
    try {
      const message = new Webhook(secret).verify(text, incoming.headers as Record<string, string>) as Told;
      told.set(String(incoming.headers["webhook-id"]), message);
      outgoing.writeHead(204).end();
    } catch {
      refused++;
      outgoing.writeHead(401).end();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // A receiver may end with the process: nobody has to stop it.
  server.unref();
  secret = await makeChannel(client, stack, (server.address() as AddressInfo).port);

  const alerts = () => [...told.values()].filter(({ type }) => type.startsWith("alert."));
  return {
    async report(different) {
      const end = performance.now() + PATIENCE;
      while (new Set(alerts().map(({ data }) => data.title)).size < different && performance.now() < end) {
        await sleep(200);
      }
      const lines = alerts().map(({ type, data: { title, severity, reason, entries } }) =>
        `${type.padEnd(14)} [${severity}] ${title}${whyOf(reason)}${
          entries.length === 0 ? "" : `, entries ${entries.slice(0, 3).join(" ")}${entries.length > 3 ? " …" : ""}`
        }`
      );
      return refused === 0 ? lines : [...lines, `${refused} messages did not verify`];
    },
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

/** As an admin makes it; one that an earlier start has left knows another secret and another port. */
async function makeChannel(client: Client, stack: StackInfo, port: number): Promise<string> {
  // Only a local stack may tell alerts to its own machine.
  await client.query(
    "select audit.configure('local_channels', 'true') where audit.setting('local_channels') <> 'true'",
  );
  const admin = stack.users.find(({ role }) => role === "admin")!;
  const token = await signIn(stack, admin);
  const ask = async (path: string, method = "GET", body?: object) => {
    const response = await fetch(`${stack.api_url}/functions/v1/audit${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
    return await response.json();
  };
  const { channels } = await ask("/channels") as { channels: { id: string; name: string }[] };
  const left = channels.find(({ name }) => name === CHANNEL);
  if (left !== undefined) await ask(`/channels/${left.id}`, "DELETE");
  const made = await ask("/channels", "POST", {
    kind: "webhook",
    name: CHANNEL,
    url: `http://127.0.0.1:${port}/alerts`,
  }) as { secret: string };
  return made.secret;
}

function whyOf(reason: Record<string, unknown>): string {
  const parts = Object.entries(reason).slice(0, 4).map(([name, value]) =>
    `${name} ${typeof value === "string" ? value : JSON.stringify(value)}`
  );
  return parts.length === 0 ? "" : `: ${parts.join(", ")}`;
}
