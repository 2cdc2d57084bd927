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

/** The body, unpacked where it says that it is gzip. What is too large is refused before more of it is kept. */
export async function readBody(request: Request, { sent, unpacked }: BodyLimits): Promise<Uint8Array> {
  const said = request.headers.get("content-length");
  if (said !== null && Number(said) > sent) throw await tooLarge(request, sent);
  const encoding = request.headers.get("content-encoding")?.trim().toLowerCase() ?? "identity";
  if (encoding !== "identity" && encoding !== "gzip") {
    throw new Problem("unsupported_media_type", "A body is packed with gzip, or not at all.");
  }
  const body = await readAll(request.body, sent, () => new Problem("too_large", `A body has at most ${sent} bytes.`));
  // A gateway may have unpacked it and kept the header.
  if (encoding === "identity" || !(body[0] === 0x1f && body[1] === 0x8b)) return body;
  const stream = inSlices(body).pipeThrough(new DecompressionStream("gzip"));
  try {
    return await readAll(
      stream,
      unpacked,
      () => new Problem("too_large", `A body has at most ${unpacked} bytes when it is unpacked.`),
    );
  } catch (error) {
    if (error instanceof Problem) throw error;
    throw new Problem("invalid_request", "The body is no gzip.", { cause: error });
  }
}

/** The JSON of a body. Bytes that are no UTF-8 become U+FFFD: one bad line must not cost the others. */
export function parseBody(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    throw new Problem("invalid_request", "The body is no JSON.");
  }
}

async function readAll(
  stream: ReadableStream<Uint8Array> | null,
  most: number,
  problem: () => Problem,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  // Leaving the loop cancels the stream.
  for await (const chunk of (stream ?? []) as AsyncIterable<Uint8Array>) {
    length += chunk.length;
    if (length > most) throw problem();
    chunks.push(chunk);
  }
  return chunks.length === 1 ? chunks[0]! : concatBytes(...chunks);
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

/** Taken in up to a point, or the client would see its connection break and not the answer. */
async function tooLarge(request: Request, most: number): Promise<Problem> {
  let left = most;
  for await (const chunk of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    left -= chunk.length;
    if (left < 0) break;
  }
  return new Problem("too_large", `A body has at most ${most} bytes.`);
}
