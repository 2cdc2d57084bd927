// Reads what `copy … to stdout` sends, straight from the socket: bytes are moved once, by their rows, to the place from
// which the response takes them. `pg` would make an object for every row, and pg-copy-streams several for every 8 kB.
//
// The messages (PostgreSQL documentation, 53.7 "Message Formats"): one byte of type, four of length, which count
// themselves, then the content. A COPY is CopyOutResponse "H", a CopyData "d" for each row, CopyDone "c"; between them
// may be NoticeResponse "N" and ParameterStatus "S"; ErrorResponse "E" ends it. "c" and "E" and all after are for `pg`.
import type pg from "pg";
import type { Socket, Tap } from "./socket.ts";

export type CopyOptions = {
  /** Bytes before and after what COPY sends. */
  before?: string;
  after?: string;
  /** How many bytes of what COPY sends are left out at its beginning. */
  skip?: number;
};

/** The bytes of a COPY, as they are wanted. */
export type CopyOut = {
  /** The next chunk, of 64 kB and more where there is as much; undefined at the end. Not to be called twice at once. */
  next(): Promise<Uint8Array | undefined>;
};

const CHUNK = 262_144;
/** A chunk with less room than this is handed on. */
const LEAST_SPACE = 65_536;
/** A read that brought less than this was faster than the server: the next waits a moment and brings more. */
const SMALL_READ = 32_768;
const SMALL_READ_DELAY = 3;
const HEADER = 5;
const COPY_DATA = "d".charCodeAt(0);
/** Besides rows: what may stand between them, and is of no interest here. */
const PASSED_OVER = ["H", "N", "S"].map((type) => type.charCodeAt(0));

/** Starts a COPY on a connection that is idle, and whose stream is a Socket. */
export function copyOut(client: pg.PoolClient, text: string, options: CopyOptions = {}): CopyOut {
  const reader = new Reader(options);
  const query = {
    submit(connection: { stream: Socket; query(text: string): void }) {
      connection.stream.divert(reader);
      connection.query(text);
    },
    handleError: (error: Error) => reader.fail(error),
    handleReadyForQuery: () => reader.finish(),
    handleCommandComplete() {},
    // pg asks queries for this to remove its own listeners.
    on() {},
  };
  client.query(query as unknown as pg.Submittable);
  return { next: () => reader.next() };
}

/** All that a COPY sends, chunk by chunk. */
export async function* copyChunks(client: pg.PoolClient, text: string): AsyncGenerator<Uint8Array> {
  const copy = copyOut(client, text);
  for (let chunk = await copy.next(); chunk !== undefined; chunk = await copy.next()) yield chunk;
}

class Reader implements Tap {
  readonly #after: string;
  #skip: number;
  #chunk = new Uint8Array(CHUNK);
  /** The chunk begins with so many bytes of content. */
  #filled = 0;
  #type = 0;
  /** So much of the message is still to come. */
  #left = 0;
  /** A message's type and length, where they came in two reads. */
  readonly #header = new Uint8Array(HEADER);
  #headerFilled = 0;
  #smallRead = false;
  #ready: Uint8Array[] = [];
  #ended = false;
  #error: Error | undefined;
  #consumer: (() => void) | undefined;
  #producer: (() => void) | undefined;

  constructor({ before = "", after = "", skip = 0 }: CopyOptions) {
    if (before !== "") this.#ready.push(new TextEncoder().encode(before));
    this.#after = after;
    this.#skip = skip;
  }

  async next(): Promise<Uint8Array | undefined> {
    while (this.#ready.length === 0) {
      if (this.#error !== undefined) throw this.#error;
      if (this.#ended) return undefined;
      await new Promise<void>((resolve) => {
        this.#consumer = resolve;
        this.#producer?.();
      });
    }
    const chunk = this.#ready.shift();
    this.#producer?.();
    return chunk;
  }

  /** After the last message, when pg has seen it too. */
  finish(): void {
    if (this.#ended || this.#error !== undefined) return;
    this.#ended = true;
    const after = new TextEncoder().encode(this.#after);
    if (this.#filled > 0) this.#ready.push(this.#chunk.subarray(0, this.#filled));
    if (after.length > 0) this.#ready.push(after);
    this.#wakeConsumer();
  }

  fail(error: Error): void {
    this.#error = error;
    this.#wakeConsumer();
  }

  async wanted(): Promise<void> {
    // One chunk waits to be taken, and the next is not begun before it is.
    while (this.#ready.length > 0 && this.#consumer === undefined) {
      await new Promise<void>((resolve) => this.#producer = resolve);
      this.#producer = undefined;
    }
    if (this.#smallRead) await new Promise((resolve) => setTimeout(resolve, SMALL_READ_DELAY));
  }

  space(): Uint8Array {
    if (CHUNK - this.#filled < LEAST_SPACE) {
      this.#ready.push(this.#chunk.subarray(0, this.#filled));
      this.#chunk = new Uint8Array(CHUNK);
      this.#filled = 0;
      this.#wakeConsumer();
    }
    return this.#chunk.subarray(this.#filled);
  }

  /** The bytes stand after the content; what is content of them is moved together, to its end. */
  accept(bytes: number): Uint8Array | undefined {
    const chunk = this.#chunk;
    const end = this.#filled + bytes;
    let at = this.#filled;
    this.#smallRead = bytes < SMALL_READ;
    while (at < end) {
      if (this.#left > 0) {
        const part = Math.min(this.#left, end - at);
        if (this.#type === COPY_DATA) this.#keep(chunk, at, at + part);
        at += part;
        this.#left -= part;
        continue;
      }
      if (this.#headerFilled === 0 && end - at >= HEADER) {
        this.#begin(chunk, at);
        at += HEADER;
      } else {
        this.#header[this.#headerFilled++] = chunk[at++]!;
        if (this.#headerFilled < HEADER) continue;
        this.#begin(this.#header, 0);
        this.#headerFilled = 0;
      }
      if (this.#type !== COPY_DATA && !PASSED_OVER.includes(this.#type)) {
        return this.#rest(chunk.subarray(at, end));
      }
    }
    return undefined;
  }

  #begin(bytes: Uint8Array, at: number): void {
    this.#type = bytes[at]!;
    this.#left = (bytes[at + 1]! << 24 | bytes[at + 2]! << 16 | bytes[at + 3]! << 8 |
      bytes[at + 4]!) - 4;
  }

  #keep(chunk: Uint8Array, from: number, to: number): void {
    const start = Math.min(from + this.#skip, to);
    this.#skip -= start - from;
    chunk.copyWithin(this.#filled, start, to);
    this.#filled += to - start;
  }

  /** The message that is not for us, from its beginning. */
  #rest(content: Uint8Array): Uint8Array {
    const rest = new Uint8Array(HEADER + content.length);
    rest[0] = this.#type;
    new DataView(rest.buffer).setInt32(1, this.#left + 4);
    rest.set(content, HEADER);
    return rest;
  }

  #wakeConsumer(): void {
    this.#consumer?.();
    this.#consumer = undefined;
  }
}
