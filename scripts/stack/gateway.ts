// Stand-in for Supabase's API gateway: one HTTP server in front of Auth, Storage and the functions.
// Not imitated: PostgREST, GraphQL, Realtime (answer 501), TLS, rate limits.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { isIP } from "node:net";
import { PassThrough, Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import type { ReadableStream } from "node:stream/web";
import type { Client } from "./auth.ts";
import type { Functions } from "./functions.ts";

export type GatewayOptions = {
  port: number;
  /** The keys that a client may show, as JWT: anon and service_role. */
  apiKeys: string[];
  auth: (request: Request, path: string, client: Client) => Promise<Response>;
  storage: (request: Request, path: string) => Promise<Response>;
  functions: Functions;
};

export type Gateway = { port: number; stop(): Promise<void> };

export async function startGateway(options: GatewayOptions): Promise<Gateway> {
  const server = createServer((incoming, outgoing) => {
    serve(incoming, outgoing).catch((error: Error) => {
      // A client that went away while it waited, or in the middle of a download, is no failure of ours.
      if (outgoing.destroyed) return;
      console.error(`gateway: ${incoming.method} ${incoming.url}: ${error.stack}`);
      if (!outgoing.headersSent) outgoing.writeHead(500, { "content-type": "application/problem+json" });
      outgoing.end(
        JSON.stringify({ type: "about:blank", title: "Internal error", status: 500, detail: error.message }),
      );
    });
  });
  await listen(server, options.port);
  const address = server.address();
  return {
    port: typeof address === "object" && address !== null ? address.port : options.port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };

  async function serve(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const aborted = new AbortController();
    outgoing.once("close", () => outgoing.writableFinished || aborted.abort());
    const body = new PassThrough();
    incoming.pipe(body);
    const request = toRequest(incoming, body, aborted.signal);
    const response = request.method === "OPTIONS"
      ? new Response(null, { status: 204 })
      : await route(request, { ip: clientAddress(incoming) });
    const headers = new Headers(response.headers);
    if (!headers.has("access-control-allow-origin")) allowEveryOrigin(headers, request);
    outgoing.writeHead(response.status, Object.fromEntries(headers));
    if (response.body === null) outgoing.end();
    else {
      await pipeline(Readable.fromWeb(response.body as ReadableStream), outgoing);
    }
    // What nobody wanted to read must still be taken in, or the client waits for ever to send it.
    incoming.unpipe(body).resume();
  }

  async function route(request: Request, client: Client): Promise<Response> {
    const { pathname } = new URL(request.url);
    const [, service = "", version, ...rest] = pathname.split("/");
    const path = `/${rest.join("/")}`;
    if (pathname === "/health") return Response.json({ status: "ok" });
    if (version === "v1" && service === "auth") {
      // As on hosted, what everybody may know needs no key.
      const open = ["/health", "/.well-known/jwks.json"].includes(path);
      return open ? options.auth(request, path, client) : await guarded(request, path, client);
    }
    if (version === "v1" && service === "storage") return options.storage(request, path);
    if (version === "v1" && service === "functions") return callFunction(request, rest);
    if (version === "v1" && ["rest", "graphql", "realtime"].includes(service)) {
      return problem(
        501,
        "Not part of the local stack",
        `/${service}/v1 is not imitated here. Use SQL with the database URL of .local/stack.json, ` +
          "or run the same migrations with `supabase start`, which needs Docker.",
      );
    }
    return problem(404, "Not found", `Nothing answers at ${pathname}. Try /auth/v1, /storage/v1 or /functions/v1.`);
  }

  async function guarded(request: Request, path: string, client: Client): Promise<Response> {
    const key = request.headers.get("apikey") ?? new URL(request.url).searchParams.get("apikey");
    if (key === null) {
      const hint = "No `apikey` request header or url param was found.";
      return Response.json({ message: "No API key found in request", hint }, { status: 401 });
    }
    if (!options.apiKeys.includes(key)) return Response.json({ message: "Invalid API key" }, { status: 401 });
    return options.auth(request, path, client);
  }

  async function callFunction(request: Request, [name = "", ...rest]: string[]): Promise<Response> {
    const served = await options.functions.names();
    if (!served.includes(name)) {
      const list = served.length === 0 ? "none yet" : served.join(", ");
      return problem(404, "No such function", `There is no function "${name}". Functions served: ${list}.`);
    }
    return options.functions.call(name, request, rest.length === 0 ? "" : `/${rest.join("/")}`);
  }
}

function listen(server: Server, port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, "127.0.0.1", resolve);
  });
}

function toRequest(incoming: IncomingMessage, body: Readable, signal: AbortSignal): Request {
  const headers = new Headers();
  for (const [name, value] of Object.entries(incoming.headers)) {
    for (const each of Array.isArray(value) ? value : [value ?? ""]) headers.append(name, each);
  }
  const method = incoming.method ?? "GET";
  const hasBody = method !== "GET" && method !== "HEAD" &&
    (incoming.headers["content-length"] !== undefined || incoming.headers["transfer-encoding"] !== undefined);
  return new Request(new URL(incoming.url ?? "/", `http://${incoming.headers.host ?? "127.0.0.1"}`), {
    method,
    headers,
    signal,
    ...(hasBody ? { body: Readable.toWeb(body) as BodyInit, duplex: "half" } : {}),
  } as RequestInit);
}

/** The first address in X-Forwarded-For, so that a demonstration can come from many places; else the connection's. */
function clientAddress(incoming: IncomingMessage): string | null {
  const forwarded = String(incoming.headers["x-forwarded-for"] ?? "").split(",")[0]!.trim();
  const address = forwarded || incoming.socket.remoteAddress || "";
  return isIP(address) === 0 ? null : address;
}

function allowEveryOrigin(headers: Headers, request: Request): void {
  headers.set("access-control-allow-origin", "*");
  if (request.method !== "OPTIONS") return;
  headers.set("access-control-allow-methods", "GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS");
  headers.set("access-control-allow-headers", request.headers.get("access-control-request-headers") ?? "*");
}

function problem(status: number, title: string, detail: string): Response {
  return Response.json({ type: "about:blank", title, status, detail }, {
    status,
    headers: { "content-type": "application/problem+json" },
  });
}
