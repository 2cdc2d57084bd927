/**
 * Entry texts at the speed of a whole archive: what links hang on, read from the bytes as they are. It takes exactly the
 * texts that `parseEntryText()` takes (test/unit/verify_scan.test.ts holds it to that), at a fifth of the cost.
 */
import { isUtf8 } from "node:buffer";
import { MAX_ENTRY_BYTES } from "../../../functions/_shared/entry.ts";
import { encodeText } from "../../../functions/_shared/tlog/text.ts";

/** Microseconds since 1970; a bigint where a double would round it. Both compare with each other. */
export type Time = number | bigint;

/** What a scan has found. One object for many scans: a verifier makes millions. */
export type Scanned = {
  chain: number;
  seq: number;
  createdAt: Time;
  /** Where the 64 digits of `prev_hash` begin. */
  prevHashAt: number;
  /** Whether its action is `log.purged`, which whoever misses entries has to read. */
  isPurge: boolean;
};

export function newScanned(): Scanned {
  return { chain: 0, seq: 0, createdAt: 0, prevHashAt: 0, isPurge: false };
}

/** Where the 36 characters of `organization_id` stand in every entry text. */
export const ORGANIZATION_AT = '{"v":1,"organization_id":"'.length;

/** Whether the bytes are an entry text; if so, `into` has its fields. */
export function scanEntry(bytes: Uint8Array, into: Scanned): boolean {
  const end = bytes.length;
  if (end > MAX_ENTRY_BYTES) return false;
  into.prevHashAt = end - 2 - HASH_DIGITS;
  const detailsEnd = into.prevHashAt - PREV_HASH.length;
  let at = literal(bytes, 0, HEAD);
  at = uuid(bytes, at);
  at = literal(bytes, at, CHAIN);
  const chainAt = at;
  at = digits(bytes, at, 10, true);
  const chainEnd = at;
  at = literal(bytes, at, SEQ);
  const seqAt = at;
  at = digits(bytes, at, 16, false);
  const seqEnd = at;
  at = literal(bytes, at, CREATED_AT);
  const createdAt = at;
  at = bytes[at] === MINUS ? digits(bytes, at + 1, 19, false) : digits(bytes, at, 19, true);
  const createdEnd = at;
  at = literal(bytes, at, ACTION);
  const actionAt = at;
  at = string(bytes, at);
  at = literal(bytes, at, OUTCOME);
  at = oneOf(bytes, at, OUTCOMES);
  at = literal(bytes, at, RESOURCE_TYPE);
  at = stringOrNull(bytes, at);
  at = literal(bytes, at, RESOURCE_ID);
  at = stringOrNull(bytes, at);
  at = literal(bytes, at, CREATED_BY);
  at = bytes[at] === QUOTE ? closing(bytes, uuid(bytes, at + 1)) : literal(bytes, at, NULL);
  at = literal(bytes, at, ACTOR_TYPE);
  at = oneOf(bytes, at, ACTOR_TYPES);
  at = literal(bytes, at, IDENTITY_HASH);
  at = bytes[at] === QUOTE ? closing(bytes, hexDigits(bytes, at + 1, HASH_DIGITS)) : literal(bytes, at, NULL);
  at = literal(bytes, at, PROVIDER);
  at = stringOrNull(bytes, at);
  at = literal(bytes, at, COST);
  at = bytes[at] === QUOTE ? cost(bytes, at) : literal(bytes, at, NULL);
  at = literal(bytes, at, REQUEST_ID);
  at = stringOrNull(bytes, at);
  at = literal(bytes, at, DETAILS);
  at = object(bytes, at, detailsEnd);
  if (at !== detailsEnd) return false;
  at = literal(bytes, at, PREV_HASH);
  at = hexDigits(bytes, at, HASH_DIGITS);
  if (at !== end - 2 || bytes[at] !== QUOTE || bytes[at + 1] !== CLOSE_OBJECT) return false;
  into.chain = integer(bytes, chainAt, chainEnd);
  into.seq = integer(bytes, seqAt, seqEnd);
  // Beyond 2^53 it may have been rounded, but never to one below.
  if (!Number.isSafeInteger(into.seq)) return false;
  into.createdAt = time(bytes, createdAt, createdEnd);
  into.isPurge = literal(bytes, actionAt, PURGED) >= 0;
  // What is beyond ASCII stands in strings, which let every byte through.
  return isUtf8(bytes);
}

/** Whether 64 lower-case digits are those of a hash in another array. */
export function isHexOf(bytes: Uint8Array, at: number, hashes: Uint8Array, hashAt: number): boolean {
  for (let byte = 0; byte < HASH_DIGITS / 2; byte++) {
    if (hexByte(bytes, at + 2 * byte) !== hashes[hashAt + byte]) return false;
  }
  return true;
}

/** The hash that 64 digits write. */
export function unhex(bytes: Uint8Array, at: number): Uint8Array {
  const hash = new Uint8Array(HASH_DIGITS / 2);
  for (let byte = 0; byte < hash.length; byte++) hash[byte] = hexByte(bytes, at + 2 * byte);
  return hash;
}

// Every reader below takes the place where it begins and answers the place behind it, or NOWHERE, from which every other
// reader answers NOWHERE again. So a scan is a straight line and looks at its end once.
const NOWHERE = -1;

function literal(bytes: Uint8Array, at: number, expected: Uint8Array): number {
  if (at < 0) return NOWHERE;
  for (let index = 0; index < expected.length; index++) {
    if (bytes[at + index] !== expected[index]) return NOWHERE;
  }
  return at + expected.length;
}

function oneOf(bytes: Uint8Array, at: number, words: Uint8Array[]): number {
  for (const word of words) {
    const end = literal(bytes, at, word);
    if (end >= 0) return end;
  }
  return NOWHERE;
}

/** A decimal number without leading zeros. */
function digits(bytes: Uint8Array, at: number, most: number, zero: boolean): number {
  if (at < 0) return NOWHERE;
  if (bytes[at] === ZERO) return zero ? at + 1 : NOWHERE;
  const end = anyDigits(bytes, at);
  return end > at && end - at <= most ? end : NOWHERE;
}

function anyDigits(bytes: Uint8Array, at: number): number {
  let end = at;
  while (bytes[end]! >= ZERO && bytes[end]! <= NINE) end++;
  return end;
}

function hexDigits(bytes: Uint8Array, at: number, number: number): number {
  if (at < 0) return NOWHERE;
  for (let index = at; index < at + number; index++) {
    if (NIBBLES[bytes[index]!]! > 15 || index >= bytes.length) return NOWHERE;
  }
  return at + number;
}

function uuid(bytes: Uint8Array, at: number): number {
  let end = hexDigits(bytes, at, 8);
  for (const group of UUID_GROUPS) {
    if (end < 0 || bytes[end] !== MINUS) return NOWHERE;
    end = hexDigits(bytes, end + 1, group);
  }
  return end;
}

function closing(bytes: Uint8Array, at: number): number {
  return at >= 0 && bytes[at] === QUOTE ? at + 1 : NOWHERE;
}

function stringOrNull(bytes: Uint8Array, at: number): number {
  return bytes[at] === QUOTE ? string(bytes, at) : literal(bytes, at, NULL);
}

/** A string with the escapes that the writer makes, and no other. */
function string(bytes: Uint8Array, at: number): number {
  if (at < 0 || bytes[at] !== QUOTE) return NOWHERE;
  for (let next = at + 1; next < bytes.length; next++) {
    const byte = bytes[next]!;
    if (byte === QUOTE) return next + 1;
    if (byte < SPACE) return NOWHERE;
    if (byte !== BACKSLASH) continue;
    const escaped = bytes[++next]!;
    if (escaped === LETTER_U) {
      const code = hexDigits(bytes, next + 1, 4) < 0 ? -1 : hexByte(bytes, next + 1) * 256 + hexByte(bytes, next + 3);
      if (code < 0 || code >= SPACE || SHORT_ESCAPED.has(code)) return NOWHERE;
      next += 4;
    } else if (!SHORT_ESCAPES.has(escaped)) return NOWHERE;
  }
  return NOWHERE;
}

/** PostgreSQL's numeric. */
function cost(bytes: Uint8Array, at: number): number {
  for (const word of COSTS) {
    const end = literal(bytes, at, word);
    if (end >= 0) return end;
  }
  const from = bytes[at + 1] === MINUS ? at + 2 : at + 1;
  let end = anyDigits(bytes, from);
  if (end === from) return NOWHERE;
  if (bytes[end] === POINT) {
    const fraction = end + 1;
    end = anyDigits(bytes, fraction);
    if (end === fraction) return NOWHERE;
  }
  return closing(bytes, end);
}

/** Any JSON object on one line, as JSON.parse() would take it, to `end` at most. */
function object(bytes: Uint8Array, at: number, end: number): number {
  if (at < 0 || bytes[at] !== OPEN_OBJECT) return NOWHERE;
  let depth = 0;
  let next = at;
  // Each turn reads a value or what opens one, and then whatever closes behind it.
  for (;;) {
    next = spaces(bytes, next);
    const opens = bytes[next];
    if (opens === OPEN_OBJECT || opens === OPEN_ARRAY) {
      NESTING[depth++] = opens;
      next = spaces(bytes, next + 1);
      const isEmpty = bytes[next] === (opens === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_ARRAY);
      if (!isEmpty) {
        if (opens === OPEN_OBJECT) next = key(bytes, next);
        if (next < 0) return NOWHERE;
        continue;
      }
    } else {
      next = scalar(bytes, next);
    }
    for (;;) {
      if (next < 0 || next > end) return NOWHERE;
      next = spaces(bytes, next);
      const inside = NESTING[depth - 1];
      if (bytes[next] === COMMA) {
        next = spaces(bytes, next + 1);
        if (inside === OPEN_OBJECT) next = key(bytes, next);
        if (next < 0) return NOWHERE;
        break;
      }
      if (bytes[next] !== (inside === OPEN_OBJECT ? CLOSE_OBJECT : CLOSE_ARRAY)) return NOWHERE;
      next++;
      if (--depth === 0) return next;
    }
  }
}

function key(bytes: Uint8Array, at: number): number {
  const end = anyString(bytes, at);
  if (end < 0) return NOWHERE;
  const colon = spaces(bytes, end);
  return bytes[colon] === COLON ? colon + 1 : NOWHERE;
}

function scalar(bytes: Uint8Array, at: number): number {
  const first = bytes[at]!;
  if (first === QUOTE) return anyString(bytes, at);
  if (first === MINUS || first >= ZERO && first <= NINE) return number(bytes, at);
  return oneOf(bytes, at, WORDS);
}

/** A string with any escape that JSON has. */
function anyString(bytes: Uint8Array, at: number): number {
  if (bytes[at] !== QUOTE) return NOWHERE;
  for (let next = at + 1; next < bytes.length; next++) {
    const byte = bytes[next]!;
    if (byte === QUOTE) return next + 1;
    if (byte < SPACE) return NOWHERE;
    if (byte !== BACKSLASH) continue;
    const escaped = bytes[++next]!;
    if (escaped === LETTER_U) {
      for (let digit = 1; digit <= 4; digit++) {
        if (!isAnyHexDigit(bytes[next + digit])) return NOWHERE;
      }
      next += 4;
    } else if (!SHORT_ESCAPES.has(escaped) && escaped !== SLASH) return NOWHERE;
  }
  return NOWHERE;
}

function number(bytes: Uint8Array, at: number): number {
  const from = bytes[at] === MINUS ? at + 1 : at;
  let end = bytes[from] === ZERO ? from + 1 : anyDigits(bytes, from);
  if (end === from) return NOWHERE;
  if (bytes[end] === POINT) {
    const fraction = end + 1;
    end = anyDigits(bytes, fraction);
    if (end === fraction) return NOWHERE;
  }
  if (bytes[end] === LETTER_E || bytes[end] === CAPITAL_E) {
    const exponent = bytes[end + 1] === PLUS || bytes[end + 1] === MINUS ? end + 2 : end + 1;
    end = anyDigits(bytes, exponent);
    if (end === exponent) return NOWHERE;
  }
  return end;
}

function spaces(bytes: Uint8Array, at: number): number {
  let next = at;
  while (bytes[next] === SPACE) next++;
  return next;
}

function integer(bytes: Uint8Array, from: number, to: number): number {
  let value = 0;
  for (let at = from; at < to; at++) value = value * 10 + (bytes[at]! - ZERO);
  return value;
}

function time(bytes: Uint8Array, from: number, to: number): Time {
  const negative = bytes[from] === MINUS;
  const value = integer(bytes, negative ? from + 1 : from, to);
  if (Number.isSafeInteger(value)) return negative ? 0 - value : value;
  return BigInt(String.fromCharCode(...bytes.subarray(from, to)));
}

function isAnyHexDigit(byte: number | undefined): boolean {
  return byte !== undefined && (NIBBLES[byte]! < 16 || byte >= 0x41 && byte <= 0x46);
}

function hexByte(bytes: Uint8Array, at: number): number {
  return NIBBLES[bytes[at]!]! * 16 + NIBBLES[bytes[at + 1]!]!;
}

const ascii = (character: string) => character.charCodeAt(0);
const QUOTE = ascii('"');
const BACKSLASH = ascii("\\");
const SLASH = ascii("/");
const SPACE = ascii(" ");
const MINUS = ascii("-");
const PLUS = ascii("+");
const POINT = ascii(".");
const COMMA = ascii(",");
const COLON = ascii(":");
const ZERO = ascii("0");
const NINE = ascii("9");
const LETTER_E = ascii("e");
const CAPITAL_E = ascii("E");
const LETTER_U = ascii("u");
const OPEN_OBJECT = ascii("{");
const CLOSE_OBJECT = ascii("}");
const OPEN_ARRAY = ascii("[");
const CLOSE_ARRAY = ascii("]");
const HASH_DIGITS = 64;
const UUID_GROUPS = [4, 4, 4, 12];
/** What stands behind a backslash; and what those escapes stand for, which has no other spelling. */
const SHORT_ESCAPES = new Set(['"', "\\", "b", "f", "n", "r", "t"].map(ascii));
const SHORT_ESCAPED = new Set(["\b", "\f", "\n", "\r", "\t"].map(ascii));
/** Lower-case hexadecimal digits; 16 for every other byte. */
const NIBBLES = Uint8Array.from({ length: 256 }, (_, byte) => {
  const value = "0123456789abcdef".indexOf(String.fromCharCode(byte));
  return value < 0 ? 16 : value;
});
/** What is open while an object is scanned; an entry cannot nest deeper than it is long. */
const NESTING = new Uint8Array(MAX_ENTRY_BYTES);

const HEAD = encodeText('{"v":1,"organization_id":"');
const CHAIN = encodeText('","chain":');
const SEQ = encodeText(',"seq":');
const CREATED_AT = encodeText(',"created_at":');
const ACTION = encodeText(',"action":');
const PURGED = encodeText('"log.purged"');
const OUTCOME = encodeText(',"outcome":');
const RESOURCE_TYPE = encodeText(',"resource_type":');
const RESOURCE_ID = encodeText(',"resource_id":');
const CREATED_BY = encodeText(',"created_by":');
const ACTOR_TYPE = encodeText(',"actor_type":');
const IDENTITY_HASH = encodeText(',"identity_hash":');
const PROVIDER = encodeText(',"provider":');
const COST = encodeText(',"cost":');
const REQUEST_ID = encodeText(',"request_id":');
const DETAILS = encodeText(',"details":');
const PREV_HASH = encodeText(',"prev_hash":"');
const NULL = encodeText("null");
const OUTCOMES = ['"success"', '"failure"', '"denied"'].map(encodeText);
const ACTOR_TYPES = ['"user"', '"api_key"', '"service"', '"database"', '"system"'].map(encodeText);
const COSTS = ['"NaN"', '"Infinity"', '"-Infinity"'].map(encodeText);
const WORDS = ["true", "false", "null"].map(encodeText);
