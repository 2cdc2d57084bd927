// Bodies of requests, whoever sends them: bounded before and while they are read, packed or not.
import { concatBytes } from "../_shared/tlog/text.ts";
import { Problem } from "../_shared/problem.ts";

export type BodyLimits = {
  /** Bytes as they are sent. */
  sent: number;
  /** Bytes after unpacking. */
  unpacked: number;
};

const SLICE = 4 * 1024;

/** What is a little too large is taken in and let go, or the client would see its connection break and not the answer. */
const TAKEN_IN = 4;

/** The body, unpacked where it says that it is gzip. What is too large is refused before more of it is kept. */
export async function readBody(request: Request, { sent, unpacked }: BodyLimits): Promise<Uint8Array> {
  const encoding = request.headers.get("content-encoding")?.trim().toLowerCase() ?? "identity";
  if (encoding !== "identity" && encoding !== "gzip") {
    throw new Problem("unsupported_media_type", "A body is packed with gzip, or not at all.");
  }
  if (Number(request.headers.get("content-length")) > TAKEN_IN * sent) throw tooLarge(sent, "");
  const body = await readAll(request.body, sent, TAKEN_IN * sent);
  if (body === undefined) throw tooLarge(sent, "");
  // A gateway may have unpacked it and kept the header.
  if (encoding === "identity" || !(body[0] === 0x1f && body[1] === 0x8b)) return body;
  const whole = await readAll(inSlices(body).pipeThrough(new DecompressionStream("gzip")), unpacked, unpacked)
    .catch((error) => {
      throw new Problem("invalid_request", "The body is no gzip.", { cause: error });
    });
  if (whole === undefined) throw tooLarge(unpacked, " when it is unpacked");
  return whole;
}

/** The JSON of a body. Where a bad line must not cost others, bytes that are no UTF-8 become U+FFFD. */
export function parseBody(body: Uint8Array, { lenient = false } = {}): unknown {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: !lenient }).decode(body));
  } catch {
    throw new Problem("invalid_request", "The body is no JSON.");
  }
}

/** Undefined where it has more than `most`; then it is read on, but not beyond `end`. */
async function readAll(
  stream: ReadableStream<Uint8Array> | null,
  most: number,
  end: number,
): Promise<Uint8Array | undefined> {
  let chunks: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop cancels the stream.
  for await (const chunk of (stream ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > end) return undefined;
    if (length > most) chunks = [];
    else chunks.push(chunk);
  }
  return length > most ? undefined : concatBytes(...chunks);
}

/** A slice is unpacked whole, and gzip makes a thousand bytes of one: so slices are small. */
function inSlices(body: Uint8Array): ReadableStream<BufferSource> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= body.length) controller.close();
      else controller.enqueue(body.slice(at, at += SLICE));
    },
  }, { highWaterMark: 0 });
}

function tooLarge(most: number, when: string): Problem {
  return new Problem("too_large", `A body has at most ${most} bytes${when}.`);
}
