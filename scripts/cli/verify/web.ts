// Archives behind HTTP: one log, and from it back through the months before, as far as they are there.
import { setTimeout as sleep } from "node:timers/promises";
import { TlogError } from "../../../functions/_shared/tlog/error.ts";
import type { Read } from "./files.ts";

/** Milliseconds that one object may take. */
const TIMEOUT = 60_000;
const ATTEMPTS = 4;
const MOST_REDIRECTS = 5;

/** What the server refuses for good, or fails to do again and again: nothing can be said of the archive. */
export class WebError extends Error {
  override name = "WebError";
}

/** Reads objects below a URL. The token is shown to its origin, and to no other that it redirects to. */
export function readFromWeb(prefix: URL, token: string | undefined): Read {
  return async (path, limit) => {
    const url = new URL(`${prefix.href.replace(/\/$/, "")}/${path}`);
    for (let attempt = 1;; attempt++) {
      try {
        return await get(url, prefix.origin, token, limit);
      } catch (error) {
        if (error instanceof WebError || error instanceof TlogError) throw error;
        const { message, cause } = error as Error;
        if (attempt === ATTEMPTS) throw new WebError(`${url} cannot be read: ${(cause as Error)?.message ?? message}`);
        await sleep(error instanceof Busy ? error.milliseconds : 250 * 2 ** attempt);
      }
    }
  };
}

class Busy extends Error {
  readonly milliseconds: number;
  constructor(status: number, retryAfter: string | null) {
    super(`HTTP ${status}`);
    const seconds = Number(retryAfter ?? 1);
    this.milliseconds = Math.min(Number.isFinite(seconds) ? Math.max(seconds, 0.25) : 1, 30) * 1000;
  }
}

async function get(from: URL, origin: string, token: string | undefined, limit: number): Promise<Uint8Array | null> {
  let url = from;
  for (let redirects = 0; redirects <= MOST_REDIRECTS; redirects++) {
    const response = await fetch(url, {
      headers: token === undefined || url.origin !== origin ? {} : { authorization: `Bearer ${token}` },
      redirect: "manual",
      signal: AbortSignal.timeout(TIMEOUT),
    });
    const { status } = response;
    if (status === 200) return await bodyOf(response, url, limit);
    const body = await bodyOf(response, url, MOST_OF_AN_ERROR).catch(() => new Uint8Array());
    const location = response.headers.get("location");
    if (status >= 300 && status < 400 && location !== null) {
      url = new URL(location, url);
      if (url.protocol !== "https:" && url.origin !== origin) {
        throw new WebError(`${from} redirects to ${url.protocol}//`);
      }
      continue;
    }
    // Supabase Storage answers 400 for what is not there.
    if (status === 404 || status === 400 && /"404"|not[_ ]found/i.test(new TextDecoder().decode(body))) return null;
    if (status === 429 || status >= 500) throw new Busy(status, response.headers.get("retry-after"));
    const why = status === 401 || status === 403
      ? ": give a token that may read it in AUDIT_TOKEN or --token-file"
      : "";
    throw new WebError(`${from} was refused with HTTP ${status}${why}`);
  }
  throw new WebError(`${from} redirects again and again`);
}

/** Counted as it comes: what a server says of its length, or sends compressed, is not to be relied on. */
async function bodyOf(response: Response, url: URL, limit: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of response.body ?? []) {
    length += chunk.length;
    if (length > limit) throw new TlogError("too_large", `${url} has more than ${limit} bytes`);
    chunks.push(chunk);
  }
  return new Uint8Array(Buffer.concat(chunks));
}

const MOST_OF_AN_ERROR = 10_000;
