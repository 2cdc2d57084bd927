// Numbers and bytes in texts that are signed. Each has one spelling; every other is refused, so that a text that was read
// and written again is the same text.
import { Buffer } from "node:buffer";

/** The text of UTF-8; undefined where it is not, where half a character is in it, or where it has too many bytes. */
export function decodeText(input: string | Uint8Array, maxBytes: number): string | undefined {
  if (typeof input === "string") {
    return input.length > maxBytes || Buffer.byteLength(input) > maxBytes || /\p{Surrogate}/u.test(input)
      ? undefined
      : input;
  }
  if (input.length > maxBytes) return undefined;
  try {
    return UTF_8.decode(input);
  } catch {
    return undefined;
  }
}

/** Whether a text holds ASCII control characters, those below U+0020: none may stand in a line of a note. */
export function hasControls(text: string): boolean {
  return /[^\P{Cc}\x7f-\x9f]/u.test(text);
}

/** ASCII decimal without leading zeros, to 2^53 - 1: what a double holds, and more entries than a log ever has. */
export function parseDecimal(text: string): number | undefined {
  if (!/^(?:0|[1-9]\d{0,15})$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value : undefined;
}

/** RFC 4648, section 4, with padding; its spare bits are zero. */
export function parseBase64(text: string): Uint8Array | undefined {
  if (text.length % 4 !== 0 || !/^[A-Za-z0-9+/]*={0,2}$/.test(text)) return undefined;
  const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  // Whether bits beyond the last byte were set, only writing it again tells.
  return formatBase64(bytes) === text ? bytes : undefined;
}

export function formatBase64(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("base64");
}

export function formatHex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}

/** Lower-case hex; what is not is refused. */
export function parseHex(text: string): Uint8Array {
  if (!/^(?:[0-9a-f]{2})*$/.test(text)) throw new RangeError("this is not hex");
  return plainBytes(Buffer.from(text, "hex"));
}

export function concatBytes(...parts: Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/**
 * What node:crypto answers, without what a Buffer adds: slice() of one does not copy. Deno 2.1 does not know that a
 * Buffer is made of bytes, hence the type.
 */
export function plainBytes(buffer: unknown): Uint8Array {
  const bytes = buffer as Uint8Array;
  return new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** For what is public: it takes less time where the first byte differs. */
export function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, at) => byte === b[at]);
}

export function encodeText(text: string): Uint8Array {
  return ENCODER.encode(text);
}

const ENCODER = new TextEncoder();
const UTF_8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
