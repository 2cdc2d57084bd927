/**
 * Entry bundles, encrypted: AES-256-GCM under a key that the database does not have. README.md has the format to the byte.
 *
 * By WebCrypto: node:crypto of Deno 2.1 decrypts AES-GCM without looking at the tag.
 */
import { createHash, createHmac, hkdfSync } from "node:crypto";
import { concatBytes, encodeText, equalBytes, formatHex, parseBase64, plainBytes } from "../tlog/text.ts";
import { ArchiveError } from "./archive.ts";

/** The first encrypts; each decrypts what names it. */
export type ArchiveKeys = readonly [ArchiveKey, ...ArchiveKey[]];

/** All are derived from the key that is configured. */
type ArchiveKey = { id: Uint8Array; encryption: Uint8Array; nonce: Uint8Array };

const MAGIC = encodeText("AUDITENC1\n");
const KEY_BYTES = 32;
const ID_BYTES = 4;
const NONCE_BYTES = 12;
const TAG_BYTES = 16;
const HEADER_BYTES = MAGIC.length + ID_BYTES + NONCE_BYTES;

/** Keys as they are configured: 32 bytes each in base64, with white space between them. What is wrong is not quoted. */
export function parseArchiveKeys(text: string): ArchiveKeys {
  const keys = text.split(/\s+/).filter((word) => word !== "").map((word, at) => {
    const key = parseBase64(word);
    if (key?.length !== KEY_BYTES) {
      throw new ArchiveError("refused", `Key ${at + 1} of AUDIT_ARCHIVE_KEY is not the base64 of ${KEY_BYTES} bytes.`);
    }
    return deriveKey(key);
  });
  if (!isSome(keys)) {
    throw new ArchiveError("refused", "AUDIT_ARCHIVE_KEY holds no key.");
  }
  return keys;
}

/** Whether an object is encrypted. No bundle begins like this: entries begin with `{`. */
export function isEncrypted(bytes: Uint8Array): boolean {
  return equalBytes(bytes.subarray(0, MAGIC.length), MAGIC);
}

/** The object that lies at `path` in place of the bundle. The same bundle at the same path makes the same bytes. */
export async function encryptBundle([key]: ArchiveKeys, path: string, bundle: Uint8Array): Promise<Uint8Array> {
  const nonce = nonceOf(key, path, bundle);
  const sealed = await crypto.subtle.encrypt(algorithm(nonce, path), await importKey(key, "encrypt"), asSource(bundle));
  return concatBytes(MAGIC, key.id, nonce, new Uint8Array(sealed));
}

/** The bundle that an object is. One that is not encrypted comes back as it is. */
export async function decryptBundle(
  keys: ArchiveKeys | undefined,
  path: string,
  object: Uint8Array,
): Promise<Uint8Array> {
  if (!isEncrypted(object)) return object;
  if (object.length < HEADER_BYTES + TAG_BYTES) throw changed(path);
  const id = object.subarray(MAGIC.length, MAGIC.length + ID_BYTES);
  const key = keys?.find((known) => equalBytes(known.id, id));
  if (key === undefined) {
    throw new ArchiveError(
      "refused",
      `${path} is encrypted with key ${formatHex(id)}, which is not here. Give it in AUDIT_ARCHIVE_KEY` +
        (keys === undefined ? "." : `, beside ${keys.map((known) => formatHex(known.id)).join(" and ")}.`),
    );
  }
  const nonce = object.slice(MAGIC.length + ID_BYTES, HEADER_BYTES);
  const sealed = asSource(object.subarray(HEADER_BYTES));
  try {
    return new Uint8Array(await crypto.subtle.decrypt(algorithm(nonce, path), await importKey(key, "decrypt"), sealed));
  } catch (error) {
    throw changed(path, error);
  }
}

function deriveKey(key: Uint8Array): ArchiveKey {
  const derive = (purpose: string, length: number) =>
    new Uint8Array(hkdfSync("sha256", key, new Uint8Array(), `audit-archive v1 ${purpose}`, length));
  return {
    id: derive("key id", ID_BYTES),
    encryption: derive("encryption", KEY_BYTES),
    nonce: derive("nonce", KEY_BYTES),
  };
}

/** Made of what it is for, so that neither another bundle nor another path ever gets it too. */
function nonceOf({ nonce }: ArchiveKey, path: string, bundle: Uint8Array): Uint8Array {
  const digest = createHash("sha256").update(bundle).digest();
  const mac = createHmac("sha256", nonce).update(`${path}\0`).update(digest).digest();
  return plainBytes(mac).slice(0, NONCE_BYTES);
}

function algorithm(nonce: Uint8Array, path: string): AesGcmParams {
  const additionalData = asSource(concatBytes(MAGIC, encodeText(path)));
  return { name: "AES-GCM", iv: asSource(nonce), additionalData };
}

function importKey({ encryption }: ArchiveKey, use: "encrypt" | "decrypt"): Promise<CryptoKey> {
  return crypto.subtle.importKey("raw", asSource(encryption), "AES-GCM", false, [use]);
}

function changed(path: string, cause?: unknown): ArchiveError {
  return new ArchiveError("refused", `${path} was changed, cut, or brought there from another path.`, { cause });
}

/** WebCrypto's types rule out memory that is shared, which none of ours is. */
function asSource(bytes: Uint8Array): BufferSource {
  return bytes as BufferSource;
}

function isSome(keys: ArchiveKey[]): keys is [ArchiveKey, ...ArchiveKey[]] {
  return keys.length > 0;
}
