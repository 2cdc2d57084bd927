// Requests that survive what passes: connections that break in the middle, servers that hang, are busy or fail. For
// requests that may be repeated.
import pRetry from "p-retry";
import { concatBytes } from "../tlog/text.ts";
import { ArchiveError, MAX_READ_BYTES } from "./archive.ts";
import { secondsOf } from "../retry_after.ts";

/** How long is waited, in milliseconds. */
export type Patience = {
  /** For one answer, with its body. */
  attempt: number;
  /** For all attempts and the pauses between them. */
  total: number;
  /** The first pause, of which each after it is twice the one before. Up to twice as long: clients scatter. */
  pause?: number;
};

/** Within what a hosted function has (150 s), and enough for the largest bundle on a slow line. */
export const PATIENCE: Patience = { attempt: 20_000, total: 60_000 };

const FIRST_PAUSE = 200;
const LONGEST_PAUSE = 10_000;
/** The last attempt has at least as long, whatever is left. */
const LEAST_ATTEMPT = 1_000;

/** What a server means by its answer, where that is not the HTTP status. */
export type StatusOf = (status: number, body: Uint8Array) => number;

/**
 * A fetch() that tries again, with growing and scattered pauses, or after as long as the server asks for. It answers when
 * the body is there, whole. What does not pass in time is an ArchiveError "unavailable".
 */
export function patientFetch(
  { attempt, total, pause = FIRST_PAUSE }: Patience = PATIENCE,
  statusOf: StatusOf = (status) => status,
): typeof fetch {
  return (input, init) => {
    const end = performance.now() + total;
    const left = () => end - performance.now();
    const ask = () => {
      const time = Math.ceil(Math.min(attempt, Math.max(left(), LEAST_ATTEMPT)));
      // Where a redirect leads was not configured.
      return askOnce(input, { ...init, redirect: "manual", signal: AbortSignal.timeout(time) }, statusOf);
    };
    return pRetry(ask, {
      retries: Infinity,
      minTimeout: pause,
      maxTimeout: LONGEST_PAUSE,
      randomize: true,
      maxRetryTime: total,
      async shouldRetry({ error }) {
        if (!(error instanceof ArchiveError) || error.code !== "unavailable") {
          return false;
        }
        const wait = 1_000 * (error.retryAfter ?? 0);
        if (wait >= left()) return false;
        await new Promise((resolve) => setTimeout(resolve, wait));
        return true;
      },
    });
  };
}

async function askOnce(input: Parameters<typeof fetch>[0], init: RequestInit, statusOf: StatusOf): Promise<Response> {
  let response: Response;
  let body: Uint8Array;
  try {
    response = await fetch(input, init);
    body = await readBody(response);
  } catch (error) {
    if (error instanceof ArchiveError) throw error;
    const what = (error as Error).name === "TimeoutError" ? "did not answer in time" : "could not be reached";
    // The message of another may hold an address with a signature.
    throw new ArchiveError("unavailable", `The archive ${what}.`, { cause: error });
  }
  const { status, statusText, headers } = response;
  const meant = statusOf(status, body);
  if (isPassing(meant)) {
    throw new ArchiveError("unavailable", `The archive answers with status ${meant}.`, {
      retryAfter: secondsOf(headers.get("retry-after")),
    });
  }
  return new Response(isBodiless(status) ? null : body as BodyInit, {
    status,
    statusText,
    headers: withoutCoding(headers),
  });
}

async function readBody(response: Response): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of (response.body ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > MAX_READ_BYTES) {
      throw new ArchiveError("too_large", `The archive answers with more than ${MAX_READ_BYTES} bytes.`);
    }
    chunks.push(chunk);
  }
  return concatBytes(...chunks);
}

/** Timeouts, locks, "too early", "too many", and whatever is the server's own. */
function isPassing(status: number): boolean {
  return [408, 423, 425, 429].includes(status) || status >= 500;
}

function isBodiless(status: number): boolean {
  return [204, 205, 304].includes(status);
}

/** The body has been decoded, so they no longer describe it. */
function withoutCoding(headers: Headers): Headers {
  const left = new Headers(headers);
  left.delete("content-encoding");
  left.delete("content-length");
  return left;
}
