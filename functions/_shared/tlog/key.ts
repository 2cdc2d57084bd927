/**
 * Keys of signed notes and their texts. Verifier keys ("vkey"): C2SP signed-note (https://c2sp.org/signed-note), "Verifier
 * keys". Signer keys ("skey"): as golang.org/x/mod/sumdb/note writes them, which other tools have taken up.
 */
import { createHash } from "node:crypto";
import { KEY_BYTES, newSeed, publicKeyOf } from "./ed25519.ts";
import { TlogError } from "./error.ts";
import { concatBytes, encodeText, formatBase64, hasControls, parseBase64 } from "./text.ts";

/** The signature types that are used here, each with its byte: a log's own signatures, and cosignatures of others. */
export const KEY_TYPES = { note: 0x01, cosignature: 0x04 } as const;

export type KeyType = keyof typeof KEY_TYPES;

/** A public key. Name and id together say which one a signature is of; the id is hex, and no secret. */
export type VerifierKey = { name: string; keyId: string; type: KeyType; publicKey: Uint8Array };

/** A private key with what belongs to it. */
export type SignerKey = VerifierKey & { seed: Uint8Array };

const MAX_KEY_CHARACTERS = 1_000;

/** `<name>+<key id>+<base64 of type and public key>` */
export function formatVerifierKey({ name, keyId, type, publicKey }: VerifierKey): string {
  return `${name}+${keyId}+${formatBase64(typed(type, publicKey))}`;
}

/** The one type that is expected is named: a log's key is no witness's. */
export function parseVerifierKey(text: string, type: KeyType): VerifierKey {
  const parts = text.length > MAX_KEY_CHARACTERS ? [] : text.split("+");
  // Base64 has plus signs of its own.
  const [name = "", keyId = ""] = parts;
  const key = verifierKey(name, type, keyBytes(parts.slice(2).join("+"), type));
  if (key.keyId !== keyId) throw malformed("its id belongs to another name, type or key");
  return key;
}

/** `PRIVATE+KEY+<name>+<key id>+<base64 of type and seed>`: a secret. */
export function formatSignerKey({ name, keyId, type, seed }: SignerKey): string {
  return `PRIVATE+KEY+${name}+${keyId}+${formatBase64(typed(type, seed))}`;
}

/** What it throws never quotes the key. */
export function parseSignerKey(text: string, type: KeyType): SignerKey {
  const parts = text.length > MAX_KEY_CHARACTERS ? [] : text.split("+");
  const [first, second, name = "", keyId = ""] = parts;
  if (first !== "PRIVATE" || second !== "KEY") throw malformed("it is not a signer key");
  const key = signerKey(name, type, keyBytes(parts.slice(4).join("+"), type));
  if (key.keyId !== keyId) throw malformed("its id belongs to another name, type or key");
  return key;
}

export function verifierKey(name: string, type: KeyType, publicKey: Uint8Array): VerifierKey {
  if (!isKeyName(name)) throw malformed("its name is empty, or has spaces, control characters or plus signs");
  if (publicKey.length !== KEY_BYTES) throw malformed(`${publicKey.length} bytes are no Ed25519 key`);
  return { name, keyId: keyIdOf(name, type, publicKey), type, publicKey };
}

export function signerKey(name: string, type: KeyType, seed: Uint8Array): SignerKey {
  if (seed.length !== KEY_BYTES) throw malformed(`${seed.length} bytes are no Ed25519 key`);
  return { ...verifierKey(name, type, publicKeyOf(seed)), seed };
}

/** A new key, of which nobody else knows. */
export function generateKey(name: string, type: KeyType): SignerKey {
  return signerKey(name, type, newSeed());
}

/**
 * The same key under another name, and so with another id. Witnesses and stock tools take the name of a log's key for
 * its origin, so one key signs for many logs under many names; whoever holds it under one can derive the others.
 */
export function renameKey<Key extends VerifierKey>(key: Key, name: string): Key {
  return { ...key, ...verifierKey(name, key.type, key.publicKey) };
}

/** A key name: no Unicode spaces, no plus sign; being part of a line, no control characters below U+0020 either. */
export function isKeyName(name: string): boolean {
  return /^[^\p{White_Space}\p{Surrogate}+]+$/u.test(name) && !hasControls(name);
}

/** SHA-256(name ‖ 0x0A ‖ type ‖ public key), its first four bytes. */
function keyIdOf(name: string, type: KeyType, publicKey: Uint8Array): string {
  return createHash("sha256").update(encodeText(`${name}\n`)).update(typed(type, publicKey)).digest("hex").slice(0, 8);
}

function keyBytes(base64: string, type: KeyType): Uint8Array {
  const bytes = parseBase64(base64);
  if (bytes === undefined) throw malformed("its last part is not base64");
  if (bytes[0] !== KEY_TYPES[type]) throw malformed(`its type is not 0x0${KEY_TYPES[type]}, that of a ${type} key`);
  return bytes.subarray(1);
}

function typed(type: KeyType, key: Uint8Array): Uint8Array {
  return concatBytes(Uint8Array.of(KEY_TYPES[type]), key);
}

function malformed(why: string): TlogError {
  return new TlogError("malformed_key", `the key cannot be used: ${why}`);
}
