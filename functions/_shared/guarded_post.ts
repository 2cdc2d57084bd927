// POST to servers that tenants name, so that it reaches nobody but the server that was checked: the name is resolved, its
// addresses are checked, and the connection is made to one of these. fetch() would ask for the name once more, and the
// runtime's node:https takes neither a look-up function nor a server's name, so HTTP/1.1 is spoken here, as far as it is
// needed: of the answer the status and two headers are read, and no byte of the body.
import type { Connection } from "./env.ts";
import { type Answer, OutsideError } from "./outside.ts";
import { type Network, permittedAddresses } from "./public_address.ts";
import { secondsOf } from "./retry_after.ts";
import { concatBytes, encodeText } from "./tlog/text.ts";
import { VERSION } from "./version.ts";
import type { Send } from "./webhook.ts";

export type GuardOptions = {
  /** Permits http, and this machine, for local stacks. */
  local?: boolean;
  /** Milliseconds for all of it. */
  timeout?: number;
};

/** Standard Webhooks: 15 to 30 s. */
const TIMEOUT = 20_000;
const MOST_HEAD = 16_384;

export function guardedSend(network: Network, { local = false, timeout = TIMEOUT }: GuardOptions = {}): Send {
  return async (address, { headers, body }) => {
    const end = new Deadline(timeout);
    try {
      const url = new URL(address);
      if (url.protocol !== "https:" && !(local && url.protocol === "http:")) {
        throw new OutsideError("forbidden_address");
      }
      const connection = await end.before(open(network, url, local, end), (late) => late.close());
      end.closes(connection);
      return await end.before(exchange(connection, url, headers, body));
    } catch (error) {
      if (error instanceof OutsideError) throw error;
      throw new OutsideError(end.isOver ? "timeout" : "unreachable", { cause: error });
    } finally {
      end.clear();
    }
  };
}

async function open(network: Network, url: URL, local: boolean, end: Deadline): Promise<Connection> {
  const addresses = await permittedAddresses(network, url.hostname, local);
  const port = Number(url.port || (url.protocol === "https:" ? 443 : 80));
  let failure: unknown;
  for (const address of addresses.slice(0, 4)) {
    if (end.isOver) break;
    let connection: Connection | undefined;
    try {
      connection = await network.connect(address, port);
      if (url.protocol === "http:") return connection;
      end.closes(connection);
      return await network.secure(connection, url.hostname);
    } catch (error) {
      close(connection);
      failure = error;
    }
  }
  throw failure;
}

async function exchange(
  connection: Connection,
  url: URL,
  headers: Record<string, string>,
  body: string,
): Promise<Answer> {
  const bytes = encodeText(body);
  const lines = {
    host: url.host,
    "user-agent": `audit-logs/${VERSION}`,
    accept: "*/*",
    connection: "close",
    "content-length": String(bytes.length),
    ...headers,
  };
  const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`);
  const request = concatBytes(
    encodeText(`POST ${url.pathname}${url.search} HTTP/1.1\r\n${head.join("")}\r\n`),
    bytes,
  );
  // Who answers before all is sent, to refuse it, is heard. Who has gone does not answer either.
  write(connection, request).catch(() => {});
  return await readHead(connection);
}

async function write(connection: Connection, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}

async function readHead(connection: Connection): Promise<Answer> {
  const buffer = new Uint8Array(4_096);
  const decoder = new TextDecoder("latin1");
  for (let text = "";;) {
    const end = text.indexOf("\r\n\r\n");
    if (end >= 0) {
      const answer = parseHead(text.slice(0, end));
      if (answer.status >= 200) return answer;
      // 100 and 103 are followed by the answer.
      text = text.slice(end + 4);
      continue;
    }
    if (text.length > MOST_HEAD) throw new OutsideError("too_large");
    const length = await connection.read(buffer);
    if (length === null) throw new OutsideError(text === "" ? "unreachable" : "not_http");
    text += decoder.decode(buffer.subarray(0, length));
  }
}

function parseHead(text: string): Answer {
  const [first = "", ...lines] = text.split("\r\n");
  const status = /^HTTP\/1\.[01] ([1-5]\d\d)( |$)/.exec(first)?.[1];
  if (status === undefined) throw new OutsideError("not_http");
  const header = (name: string) =>
    lines.find((line) => line.toLowerCase().startsWith(`${name}:`))?.slice(name.length + 1).trim() ?? null;
  return {
    status: Number(status),
    contentType: header("content-type"),
    retryAfter: secondsOf(header("retry-after")),
    body: new Uint8Array(),
  };
}

/** A time for several steps, after which their connections are closed and whoever waits is let go. */
class Deadline {
  isOver = false;
  readonly #connections: Connection[] = [];
  readonly #over: Promise<never>;
  readonly #timer: ReturnType<typeof setTimeout>;

  constructor(milliseconds: number) {
    let reject: (error: Error) => void;
    this.#over = new Promise((_, refuse) => reject = refuse);
    this.#over.catch(() => {});
    this.#timer = setTimeout(() => {
      this.isOver = true;
      this.#connections.forEach(close);
      reject(new OutsideError("timeout"));
    }, milliseconds);
  }

  /** What the work gives when nobody waits for it any more goes to `late`. */
  before<T>(work: Promise<T>, late: (value: T) => void = () => {}): Promise<T> {
    work.then((value) => this.isOver && late(value), () => {});
    return Promise.race([work, this.#over]);
  }

  /** Closes it in the end, or at once where that is past. */
  closes(connection: Connection): void {
    if (this.isOver) close(connection);
    else this.#connections.push(connection);
  }

  clear(): void {
    clearTimeout(this.#timer);
    this.isOver = true;
    this.#connections.forEach(close);
  }
}

function close(connection: Connection | undefined): void {
  try {
    connection?.close();
  } catch {
    // The other side was first, or TLS has taken it over.
  }
}
