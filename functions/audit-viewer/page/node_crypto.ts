// What the verifier takes from node:crypto, for browsers: SHA-256 and the check of Ed25519 signatures, both @noble's.
import { ed25519 } from "@noble/curves/ed25519.js";
import { sha256 } from "@noble/hashes/sha2.js";
import { Buffer } from "node:buffer";

class Hash {
  readonly #hash = sha256.create();

  update(data: Uint8Array | string): this {
    this.#hash.update(typeof data === "string" ? new TextEncoder().encode(data) : data);
    return this;
  }

  digest(): Buffer;
  digest(encoding: "hex" | "base64"): string;
  digest(encoding?: "hex" | "base64"): Buffer | string {
    const bytes = Buffer.from(this.#hash.digest());
    return encoding === undefined ? bytes : bytes.toString(encoding);
  }
}

export function createHash(algorithm: string): Hash {
  if (algorithm !== "sha256") throw new Error(`The browser's verifier hashes by SHA-256, not ${algorithm}.`);
  return new Hash();
}

/** An SPKI key in DER ends with the 32 bytes of the key (RFC 8410, section 4). */
export function createPublicKey({ key }: { key: Uint8Array }): Uint8Array {
  return key.subarray(key.length - 32);
}

export function verify(_algorithm: null, message: Uint8Array, key: Uint8Array, signature: Uint8Array): boolean {
  try {
    return ed25519.verify(signature, message, key, { zip215: false });
  } catch {
    return false; // no point of the curve
  }
}

function isNotTheReaders(): never {
  throw new Error("A reader of the log signs nothing.");
}
export { isNotTheReaders as createPrivateKey, isNotTheReaders as randomBytes, isNotTheReaders as sign };

/** With it nothing is hashed by WebAssembly, which the page's policy does not let in. */
function hash(algorithm: string, data: Uint8Array): Buffer {
  return createHash(algorithm).update(data).digest();
}

export default { createHash, hash };
