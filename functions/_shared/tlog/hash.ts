/**
 * The hashes of a Merkle tree: RFC 6962, section 2.1 (RFC 9162, section 2.1.1, says the same), with SHA-256.
 *
 * Synchronous: WebCrypto would need a promise for each of millions of small inputs.
 */
import crypto from "node:crypto";
import { createSHA256 } from "hash-wasm";
import { MAX_ENTRY_BYTES } from "../entry.ts";
import { TlogError } from "./error.ts";
import { formatBase64, parseBase64, plainBytes } from "./text.ts";

/** 32 bytes. */
export type Hash = Uint8Array;

/** All that a log says of itself: how many entries, and the hash over them. */
export type Tree = { size: number; root: Hash };

export const HASH_BYTES = 32;

/** SHA-256(0x00 ‖ entry). Of an entry text it is the `hash` that the entry has in its chain. */
export function leafHash(entry: Uint8Array): Hash {
  if (entry.length > MAX_ENTRY_BYTES) throw new TlogError("too_large", `an entry has ${entry.length} bytes`);
  leafInput.set(entry, 1);
  return sha256(leafInput.subarray(0, 1 + entry.length));
}

/** SHA-256(0x01 ‖ left ‖ right). */
export function nodeHash(left: Hash, right: Hash): Hash {
  nodeInput.set(left, 1);
  nodeInput.set(right, 1 + HASH_BYTES);
  return sha256(nodeInput);
}

/** The root of the tree without entries: SHA-256 of nothing. */
export function emptyRoot(): Hash {
  return sha256(new Uint8Array());
}

/** The root over 2^k hashes that stand one after the other. */
export function perfectRoot(hashes: Uint8Array): Hash {
  let level = hashes;
  while (level.length > HASH_BYTES) {
    const above = new Uint8Array(level.length / 2);
    for (let at = 0; at < above.length; at += HASH_BYTES) {
      const middle = 2 * at + HASH_BYTES;
      above.set(nodeHash(level.subarray(2 * at, middle), level.subarray(middle, middle + HASH_BYTES)), at);
    }
    level = above;
  }
  return level;
}

/** Undefined where the text is not the base64 of a hash. */
export function parseHash(text: string): Hash | undefined {
  const hash = text.length === 44 ? parseBase64(text) : undefined;
  return hash?.length === HASH_BYTES ? hash : undefined;
}

export function formatHash(hash: Hash): string {
  return formatBase64(hash);
}

// Copying into one input and hashing it at once costs less than two updates, on Deno and on Node.
const leafInput = new Uint8Array(1 + MAX_ENTRY_BYTES);
const nodeInput = new Uint8Array(1 + 2 * HASH_BYTES);
nodeInput[0] = 1;

// Node 20.12 and later hash in one call. Deno 2.1 does not have it, and what createHash() makes there lives outside the
// heap until that is collected whole: 40 MB and a quarter of the processor time of sealing, where WebAssembly needs none.
const { hash } = crypto as unknown as {
  hash?: (algorithm: "sha256", data: Uint8Array, encoding: "buffer") => Uint8Array;
};
const sha256 = hash === undefined
  ? await webAssembly()
  : (input: Uint8Array) => plainBytes(hash("sha256", input, "buffer"));

async function webAssembly(): Promise<(input: Uint8Array) => Uint8Array> {
  const hasher = await createSHA256();
  return (input) => hasher.init().update(input).digest("binary");
}
