/**
 * The hashes of functions/_shared/tlog/hash.ts, written where they are needed: half the time of a verification is here,
 * and half of that would go into an array for each hash. test/unit/verify_scan.test.ts holds both to the same.
 */
import { Buffer } from "node:buffer";
import crypto from "node:crypto";
import { MAX_ENTRY_BYTES } from "../../../functions/_shared/entry.ts";
import { type Hash, HASH_BYTES } from "../../../functions/_shared/tlog/hash.ts";

/** Writes the leaf hashes of entries, one after the other. */
export function leafHashes(entries: Uint8Array[]): Uint8Array {
  const hashes = Buffer.alloc(entries.length * HASH_BYTES);
  entries.forEach((entry, index) => {
    leafInput.set(entry, 1);
    hashes.write(sha256(leafInput.subarray(0, 1 + entry.length)), index * HASH_BYTES, HASH_BYTES, "binary");
  });
  return bytesOf(hashes);
}

/** The root over 2^k hashes that stand one after the other. */
export function perfectRootOf(hashes: Uint8Array): Hash {
  const level = Buffer.from(hashes);
  for (let length = level.length; length > HASH_BYTES; length /= 2) {
    for (let at = 0; at < length; at += 2 * HASH_BYTES) {
      nodeInput.set(level.subarray(at, at + 2 * HASH_BYTES), 1);
      level.write(sha256(nodeInput), at / 2, HASH_BYTES, "binary");
    }
  }
  return bytesOf(level).slice(0, HASH_BYTES);
}

/** As equalBytes() of the Merkle library, and fast for a whole tile. */
export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

const leafInput = new Uint8Array(1 + MAX_ENTRY_BYTES);
const nodeInput = new Uint8Array(1 + 2 * HASH_BYTES);
nodeInput[0] = 1;

// As text of one byte a character, which costs less than an array. In one call from Node 20.12 on.
const { hash } = crypto as unknown as { hash?: (algorithm: string, data: Uint8Array, encoding: "binary") => string };

function sha256(input: Uint8Array): string {
  return hash === undefined
    ? crypto.createHash("sha256").update(input).digest("binary")
    : hash("sha256", input, "binary");
}

/** Without what a Buffer adds: code that sees arrays of one kind is faster. */
function bytesOf(buffer: Buffer): Uint8Array {
  return new Uint8Array(buffer.buffer, buffer.byteOffset, buffer.length);
}
