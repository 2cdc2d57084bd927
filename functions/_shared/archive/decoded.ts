/** Objects that are gzip of what they should be: C2SP tlog-tiles lets logs, and what stands before them, compress. */
import { ArchiveError } from "./archive.ts";

/**
 * The bytes, uncompressed where they are gzip. Bytes that only begin like gzip, as a hash may, are answered as they are:
 * whoever reads them knows what they must be. More than `limit` bytes are never made of them.
 *
 * Not by gunzipSync(): Deno 2.1 does not know its `maxOutputLength`.
 */
export async function decoded(bytes: Uint8Array, limit: number): Promise<Uint8Array> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b || bytes[2] !== 0x08) return bytes;
  const chunks: Uint8Array[] = [];
  let length = 0;
  try {
    for await (const chunk of inPieces(bytes).pipeThrough(new DecompressionStream("gzip") as Gunzip)) {
      chunks.push(chunk);
      length += chunk.length;
      if (length > limit) break;
    }
  } catch {
    return bytes;
  }
  if (length > limit) {
    throw new ArchiveError("too_large", `An object is gzip of more than ${limit} bytes.`);
  }
  const whole = new Uint8Array(length);
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.length;
  }
  return whole;
}

// The platform's type asks for a writable of any buffer, which it has.
type Gunzip = ReadableWritablePair<Uint8Array, Uint8Array> & { readable: AsyncIterable<Uint8Array> };

/** A piece becomes at most a thousand times as much before it can be counted. */
const PIECE_BYTES = 4_096;

function inPieces(bytes: Uint8Array): ReadableStream<Uint8Array> {
  let at = 0;
  return new ReadableStream({
    pull(controller) {
      if (at >= bytes.length) return controller.close();
      controller.enqueue(bytes.subarray(at, at += PIECE_BYTES));
    },
  }, { highWaterMark: 0 });
}
