/**
 * Ed25519 (RFC 8032) by node:crypto, with keys of 32 bytes: on Deno 2.1 and Node 20 it signs faster than WebCrypto,
 * verifies as fast, and needs no promise.
 */
import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, type KeyObject, randomBytes, sign, verify } from "node:crypto";
import { formatHex, plainBytes } from "./text.ts";

export const KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

/** What stands before the 32 bytes in DER: RFC 8410, sections 7 and 4. */
const PKCS_8 = "302e020100300506032b657004220420";
const SPKI = "302a300506032b6570032100";

/** A private key: 32 random bytes. */
export function newSeed(): Uint8Array {
  return plainBytes(randomBytes(KEY_BYTES));
}

export function publicKeyOf(seed: Uint8Array): Uint8Array {
  const der = plainBytes(createPublicKey(privateKey(seed)).export({ format: "der", type: "spki" }));
  return der.slice(SPKI.length / 2);
}

export function signWith(seed: Uint8Array, message: Uint8Array): Uint8Array {
  return plainBytes(sign(null, message, privateKey(seed)));
}

/** False, too, where the key is no point of the curve. */
export function isSignedBy(publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  if (publicKey.length !== KEY_BYTES || signature.length !== SIGNATURE_BYTES) return false;
  const key = createPublicKey({ key: Buffer.from(SPKI + formatHex(publicKey), "hex"), format: "der", type: "spki" });
  return verify(null, message, key, signature);
}

function privateKey(seed: Uint8Array): KeyObject {
  return createPrivateKey({ key: Buffer.from(PKCS_8 + formatHex(seed), "hex"), format: "der", type: "pkcs8" });
}
