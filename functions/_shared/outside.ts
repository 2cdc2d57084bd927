// Requests to servers of others. They may hang, redirect, or answer without end: every request is bounded in time, every
// answer in size, and nothing is followed.
import { secondsOf } from "./retry_after.ts";
import { concatBytes } from "./tlog/text.ts";

export type OutsideErrorCode =
  | "timeout"
  | "unreachable"
  | "redirected"
  | "too_large"
  | "unreadable"
  | `http_${number}`
  // Of who is reached by guarded_post.ts and mail.ts alone.
  | "unresolved"
  | "forbidden_address"
  | "not_http"
  | "login_refused"
  | `smtp_${number}`;

/** What went wrong, in a word that quotes nothing: addresses may hold secrets. */
export class OutsideError extends Error {
  readonly code: OutsideErrorCode;
  /** In seconds, where the server asks for it. */
  readonly retryAfter: number | undefined;

  constructor(code: OutsideErrorCode, more: { retryAfter?: number | undefined; cause?: unknown } = {}) {
    super(`A server outside did not do what it was asked: ${code}.`, { cause: more.cause });
    this.name = "OutsideError";
    this.code = code;
    this.retryAfter = more.retryAfter;
  }
}

export type Answer = { status: number; contentType: string | null; body: Uint8Array; retryAfter: number | undefined };

export type GetOptions = {
  headers: Record<string, string>;
  /** How much of the answer is read; one that has more is an error. 0: none of it, however much there is. */
  mostBytes: number;
  /** Milliseconds for all of it. */
  timeout?: number;
};

export type PostOptions = GetOptions & { body: string };

const TIMEOUT = 10_000;

/**
 * Whether what is sent there is seen by nobody in between: HTTPS, or this very machine, where local stacks have their
 * receivers. Names and passwords in addresses end up in logs.
 */
export function isSafeAddress(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname, username, password, hash } = new URL(address);
  const isHere = ["localhost", "127.0.0.1", "[::1]"].includes(hostname);
  return (protocol === "https:" || protocol === "http:" && isHere) && username + password + hash === "";
}

export function post(address: string, { body, ...options }: PostOptions): Promise<Answer> {
  return ask(address, { method: "POST", body }, options);
}

export function get(address: string, options: GetOptions): Promise<Answer> {
  return ask(address, { method: "GET" }, options);
}

async function ask(
  address: string,
  request: { method: string; body?: string },
  { headers, mostBytes, timeout = TIMEOUT }: GetOptions,
): Promise<Answer> {
  const signal = AbortSignal.timeout(timeout);
  try {
    const response = await fetch(address, { ...request, headers, redirect: "manual", signal });
    return {
      status: response.status,
      contentType: response.headers.get("content-type"),
      retryAfter: secondsOf(response.headers.get("retry-after")),
      body: await readBody(response, mostBytes),
    };
  } catch (error) {
    if (error instanceof OutsideError) throw error;
    throw new OutsideError(signal.aborted ? "timeout" : "unreachable", { cause: error });
  }
}

/** Throws what is no success. */
export function checkSuccess({ status, retryAfter }: Answer): void {
  if (status >= 200 && status < 300) return;
  throw new OutsideError(status >= 300 && status < 400 ? "redirected" : `http_${status}`, { retryAfter });
}

async function readBody(response: Response, mostBytes: number): Promise<Uint8Array> {
  if (mostBytes === 0) {
    // Sent it is: whatever becomes of the rest does not matter.
    await response.body?.cancel().catch(() => {});
    return new Uint8Array();
  }
  const chunks: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop closes the connection.
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > mostBytes) throw new OutsideError("too_large");
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
}
