/**
 * Backups: lines of JSON, compressed, then encrypted in chunks under a key that the database does not have.
 * backup_format.md has the format to the byte. Reaches neither network nor database.
 *
 * By WebCrypto: node:crypto of Deno 2.1 decrypts AES-GCM without looking at the tag.
 */
import { hkdfSync } from "node:crypto";
import { concatBytes, encodeText, equalBytes, formatHex, parseBase64, plainBytes } from "./tlog/text.ts";

export type BackupErrorCode =
  /** The keys are not what they must be. */
  | "bad_key"
  /** It begins like no backup, or has what no backup of this version has. */
  | "not_a_backup"
  /** It was made with a key that is not here. */
  | "unknown_key"
  /** Bytes were changed, moved, or belong to another backup. */
  | "damaged"
  /** Its end is missing. */
  | "cut";

export class BackupError extends Error {
  readonly code: BackupErrorCode;

  constructor(code: BackupErrorCode, message: string) {
    super(message);
    this.name = "BackupError";
    this.code = code;
  }
}

/** The first encrypts; each decrypts what names it. */
export type BackupKeys = readonly [BackupKey, ...BackupKey[]];

type BackupKey = { id: Uint8Array; secret: Uint8Array };

/** A row of one of the backup's sections, as JSON: parsed and written again, large numbers would be others. */
export type BackupRow = { section: string; row: string };

/** What the first line says. */
export const BACKUP_FORMAT = "supabase-audit-logs backup v1";
/** The section that ends every backup: how many rows the others have. */
export const END_SECTION = "end";

const MAGIC = encodeText("AUDITBKP1\n");
const KEY_BYTES = 32;
const ID_BYTES = 4;
const SALT_BYTES = 32;
const HEADER_BYTES = MAGIC.length + ID_BYTES + SALT_BYTES;
const TAG_BYTES = 16;
/** Of content in every chunk but the last, which has what is left. */
const CHUNK_BYTES = 65_536;
/** No line is longer: an entry has at most 64 kB, and JSON may write a character in six. */
const MOST_LINE = 4_000_000;

/** Keys as they are configured: 32 bytes each in base64, with white space between them. What is wrong is not quoted. */
export function parseBackupKeys(text: string): BackupKeys {
  const keys = text.split(/\s+/).filter((word) => word !== "").map((word, at) => {
    const secret = parseBase64(word);
    if (secret?.length !== KEY_BYTES) {
      throw new BackupError("bad_key", `Key ${at + 1} of AUDIT_BACKUP_KEY is not the base64 of ${KEY_BYTES} bytes.`);
    }
    return { id: derive(secret, new Uint8Array(), "key id", ID_BYTES), secret };
  });
  const [first, ...others] = keys;
  if (first === undefined) {
    throw new BackupError("bad_key", "AUDIT_BACKUP_KEY holds no key.");
  }
  return [first, ...others];
}

/** The bytes of a backup, from those of its lines. */
export async function* sealBackup([key]: BackupKeys, lines: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const salt = crypto.getRandomValues(new Uint8Array(SALT_BYTES));
  const encryption = await importKey(key, salt, "encrypt");
  yield concatBytes(MAGIC, key.id, salt);
  let number = 0;
  for await (const { bytes, isLast } of inChunks(through(new CompressionStream("gzip"), lines), CHUNK_BYTES)) {
    yield new Uint8Array(await crypto.subtle.encrypt(algorithm(number++, isLast), encryption, asSource(bytes)));
  }
}

/** The bytes of its lines, from those of a backup: as far as they come, they are as they were written. */
export async function* openBackup(keys: BackupKeys, backup: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let fault: unknown;
  async function* decrypted(): AsyncGenerator<Uint8Array> {
    try {
      yield* decryptChunks(keys, backup);
    } catch (error) {
      fault = error;
      throw error;
    }
  }
  try {
    yield* through(new DecompressionStream("gzip"), decrypted());
  } catch (error) {
    // What was wrong before it was to be decompressed comes out of the decompression in other words.
    throw fault ?? (error instanceof TypeError ? new BackupError("damaged", "The backup is not gzip.") : error);
  }
}

/** The rows of a backup, section by section; the first is its header. Throws where it does not come to its end. */
export async function* readBackup(keys: BackupKeys, backup: AsyncIterable<Uint8Array>): AsyncGenerator<BackupRow> {
  let section = "";
  let isFirst = true;
  for await (const line of linesOf(openBackup(keys, backup))) {
    if (line.startsWith('"')) {
      section = JSON.parse(line) as string;
    } else {
      if (isFirst && !isHeader(section, line)) {
        throw new BackupError("not_a_backup", "It is a backup of another version.");
      }
      isFirst = false;
      yield { section, row: line };
    }
  }
  if (section !== END_SECTION) {
    throw new BackupError("cut", "The backup ends before its last section.");
  }
}

async function* decryptChunks(keys: BackupKeys, backup: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const source = new Reader(backup);
  const header = await source.take(HEADER_BYTES);
  if (!equalBytes(header.subarray(0, MAGIC.length), MAGIC)) {
    throw new BackupError("not_a_backup", "It does not begin as a backup does.");
  }
  if (header.length < HEADER_BYTES) {
    throw new BackupError("cut", "The backup ends within its header.");
  }
  const id = header.subarray(MAGIC.length, MAGIC.length + ID_BYTES);
  const key = keys.find((known) => equalBytes(known.id, id));
  if (key === undefined) {
    throw new BackupError(
      "unknown_key",
      `The backup was made with key ${formatHex(id)}, which is not among those given.`,
    );
  }
  const encryption = await importKey(key, header.slice(MAGIC.length + ID_BYTES), "decrypt");
  let number = 0;
  for await (const { bytes, isLast } of inChunks(source.rest(), CHUNK_BYTES + TAG_BYTES)) {
    const chunk = await decrypt(encryption, number, isLast, bytes);
    if (chunk === undefined) {
      // It ends with a chunk that was not the last.
      const isCut = bytes.length === 0 || isLast && await decrypt(encryption, number, false, bytes) !== undefined;
      throw isCut
        ? new BackupError(
          "cut",
          `The backup ends after ${number + (bytes.length === 0 ? 0 : 1)} chunks: its end is missing.`,
        )
        : new BackupError("damaged", `Chunk ${number} of the backup was changed, moved or cut.`);
    }
    number++;
    yield chunk;
  }
}

async function decrypt(
  key: CryptoKey,
  number: number,
  isLast: boolean,
  bytes: Uint8Array,
): Promise<Uint8Array | undefined> {
  if (bytes.length < TAG_BYTES) return undefined;
  return await crypto.subtle.decrypt(algorithm(number, isLast), key, asSource(bytes)).then(
    (chunk) => new Uint8Array(chunk),
    () => undefined,
  );
}

/** The nonce says which chunk it is, and whether it is the last: the STREAM construction. */
function algorithm(number: number, isLast: boolean) {
  const iv = new Uint8Array(12);
  // Of the eleven bytes of the counter, a double fills six.
  new DataView(iv.buffer).setUint32(7, number % 2 ** 32);
  new DataView(iv.buffer).setUint32(3, Math.floor(number / 2 ** 32));
  iv[11] = isLast ? 1 : 0;
  return { name: "AES-GCM", iv, tagLength: 8 * TAG_BYTES };
}

function importKey({ secret }: BackupKey, salt: Uint8Array, use: "encrypt" | "decrypt"): Promise<CryptoKey> {
  const bytes = derive(secret, salt, "encryption", KEY_BYTES);
  return crypto.subtle.importKey("raw", asSource(bytes), "AES-GCM", false, [use]);
}

function derive(secret: Uint8Array, salt: Uint8Array, purpose: string, length: number): Uint8Array {
  return plainBytes(new Uint8Array(hkdfSync("sha256", secret, salt, `audit-backup v1 ${purpose}`, length)));
}

/** Pieces of one size, the last of which may be shorter and is known to be the last. Nothing is one empty piece. */
async function* inChunks(
  source: AsyncIterable<Uint8Array>,
  size: number,
): AsyncGenerator<{ bytes: Uint8Array; isLast: boolean }> {
  const reader = new Reader(source);
  let bytes = await reader.take(size);
  for (;;) {
    const next = bytes.length < size ? new Uint8Array() : await reader.take(size);
    yield { bytes, isLast: next.length === 0 };
    if (next.length === 0) return;
    bytes = next;
  }
}

/** Takes as many bytes at a time as are wanted. */
class Reader {
  readonly #source: AsyncIterator<Uint8Array>;
  #kept: Uint8Array = new Uint8Array();

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** Fewer only at the end. */
  async take(length: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let missing = length;
    for (;;) {
      const part = this.#kept.subarray(0, missing);
      this.#kept = this.#kept.subarray(part.length);
      parts.push(part);
      missing -= part.length;
      if (missing === 0) break;
      const { value, done } = await this.#source.next();
      if (done) break;
      this.#kept = value;
    }
    return concatBytes(...parts);
  }

  async *rest(): AsyncGenerator<Uint8Array> {
    yield this.#kept;
    for (let next = await this.#source.next(); !next.done; next = await this.#source.next()) yield next.value;
  }
}

async function* linesOf(source: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  let kept = "";
  for await (const bytes of source) {
    const lines = (kept + decoder.decode(bytes, { stream: true })).split("\n");
    kept = lines.pop()!;
    if (kept.length > MOST_LINE) {
      throw new BackupError("not_a_backup", "It has a line without end.");
    }
    yield* lines;
  }
  if (kept !== "") {
    throw new BackupError("cut", "The backup ends within a line.");
  }
}

function isHeader(section: string, line: string): boolean {
  return section === "backup" && (JSON.parse(line) as { format?: unknown }).format === BACKUP_FORMAT;
}

/** Bytes, as a stream of the platform makes others of them. */
async function* through(
  transform: CompressionStream | DecompressionStream,
  source: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  const from = source[Symbol.asyncIterator]();
  const stream = new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { value, done } = await from.next();
      if (done) controller.close();
      else controller.enqueue(value);
    },
  }, { highWaterMark: 0 });
  // The platform's type asks for a writable of any buffer, which it has.
  const pair = transform as ReadableWritablePair<Uint8Array, Uint8Array>;
  yield* stream.pipeThrough(pair) as unknown as AsyncIterable<Uint8Array>;
}

/** WebCrypto's type asks for a buffer that is not shared, which it is not. */
function asSource(bytes: Uint8Array): BufferSource {
  return bytes as BufferSource;
}
