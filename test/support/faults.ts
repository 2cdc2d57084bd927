// A server in front of another that fails as told: before the request takes effect, after it, in the middle.
import { Buffer } from "node:buffer";
import { createServer, type IncomingMessage, request as send, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export type Fault =
  /** The connection ends and nothing was passed on. */
  | "before"
  /** It was passed on and took effect; the connection ends without an answer. */
  | "after"
  /** Half of the request's body is passed on, then both connections end. */
  | "half request"
  /** Half of the answer's body arrives. */
  | "half answer"
  /** No answer, ever, and nothing was passed on. */
  | "hang"
  /** The answer begins, and then nothing more. */
  | "hang in the middle"
  /** An answer of its own, in place of the server's. */
  | { status: number; headers?: Record<string, string>; body?: string }
  /** Bytes in place of the answer's body. */
  | { instead: (body: Buffer) => Uint8Array; headers?: Record<string, string> };

export type FaultyServer = {
  url: string;
  /** What happens to the next requests, in order; those after them are passed on. */
  next: Fault[];
  /** What happens to every request, as long as it is set. */
  always: Fault | undefined;
  /** "PUT /path" for every request. */
  requests: string[];
  /** When each came, in milliseconds. */
  times: number[];
  stop(): Promise<void>;
};

export async function startFaults(target: string): Promise<FaultyServer> {
  const server = createServer(async (incoming, outgoing) => {
    const fault = faulty.always ?? faulty.next.shift();
    faulty.requests.push(`${incoming.method} ${incoming.url}`);
    faulty.times.push(performance.now());
    incoming.on("error", () => {});
    outgoing.on("error", () => {});
    const body = await bytesOf(incoming).catch(() => Buffer.alloc(0));
    if (fault === "hang") return;
    if (fault === "before") return void incoming.socket.destroy();
    if (fault === "half request") {
      await passHalf(target, incoming, body);
      return void incoming.socket.destroy();
    }
    if (typeof fault === "object" && "status" in fault) {
      return void outgoing.writeHead(fault.status, fault.headers).end(fault.body);
    }
    await pass(target, incoming, body, fault, outgoing).catch(() => outgoing.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const faulty: FaultyServer = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    next: [],
    always: undefined,
    requests: [],
    times: [],
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
  return faulty;
}

type Passed = Exclude<Fault, { status: number }> | undefined;

async function pass(target: string, incoming: IncomingMessage, body: Buffer, fault: Passed, outgoing: ServerResponse) {
  // The host stays: a signature may be over it.
  const { method, headers, url } = incoming;
  const answer = await new Promise<IncomingMessage>((resolve, reject) =>
    send(new URL(url ?? "/", target), { method, headers }, resolve).on("error", reject).end(body)
  );
  let bytes = await bytesOf(answer);
  if (fault === "after") return void incoming.socket.destroy();
  const { "transfer-encoding": _, connection: __, ...sent } = answer.headers;
  if (typeof fault === "object") {
    bytes = Buffer.from(fault.instead(bytes));
    Object.assign(sent, fault.headers);
    delete sent["content-length"];
  }
  const isCut = fault === "half answer" || fault === "hang in the middle";
  outgoing.writeHead(answer.statusCode ?? 500, { ...sent, "content-length": String(bytes.length) });
  if (!isCut) return void outgoing.end(bytes);
  outgoing.write(bytes.subarray(0, bytes.length / 2), () => fault === "half answer" && outgoing.destroy());
}

/** What reaches a server when the client dies while it sends. */
function passHalf(target: string, { method, headers, url }: IncomingMessage, body: Buffer): Promise<void> {
  return new Promise((resolve) => {
    const passed = send(new URL(url ?? "/", target), { method, headers });
    passed.on("error", () => resolve()).on("close", () => resolve());
    passed.write(body.subarray(0, body.length / 2), () => setTimeout(() => passed.destroy(), 50));
  });
}

async function bytesOf(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}
