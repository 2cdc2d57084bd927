// The stream under a connection of `pg`, on the runtime's own TCP connection. Deno's node:net makes several objects for
// each 8 kB that PostgreSQL sends, which is most of the CPU of an export: 1 million entries took 1.4 s so, and 0.5 s here.
//
// TLS as sslmode in the database's URL says: the upgrade (SSLRequest, PostgreSQL documentation 53.2.10) happens before
// `pg` sees the connection, so that it knows nothing of it.
import { Buffer } from "node:buffer";
import { EventEmitter } from "node:events";
import { type Connection, openConnection, secureConnection } from "./env.ts";

/** Takes the bytes of a connection in place of `pg`, into memory of its own. */
export type Tap = {
  /** Resolves when more bytes are wanted. */
  wanted(): Promise<void>;
  /** Where the next bytes go. */
  space(): Uint8Array;
  /** As many bytes came there. Answers what no longer concerns it, and that ends its part. */
  accept(bytes: number): Uint8Array | undefined;
};

export type Tls = { ca?: string };

const READ_SIZE = 65_536;
const SSL_REQUEST = Uint8Array.of(0, 0, 0, 8, 4, 210, 22, 47);
const ACCEPTED = "S".charCodeAt(0);

export class Socket extends EventEmitter {
  writable = false;
  destroyed = false;
  readonly #tls: Tls | undefined;
  #connection: Connection | undefined;
  #tap: Tap | undefined;
  #unsent: Uint8Array[] = [];
  #corked = 0;
  #sending: Promise<void> | undefined;

  constructor(tls?: Tls) {
    super();
    this.#tls = tls;
  }

  connect(port: number | string, host: string): this {
    this.#open(Number(port), host).then(() => this.#listen()).catch((error) => this.destroy(error));
    return this;
  }

  /** From the next bytes on they go to the tap, until it gives some back. */
  divert(tap: Tap): void {
    this.#tap = tap;
  }

  write(bytes: Uint8Array, sent?: () => void): boolean {
    this.#unsent.push(bytes);
    if (this.#corked === 0) this.#send().then(sent);
    return true;
  }

  cork(): void {
    this.#corked++;
  }

  uncork(): void {
    this.#corked--;
    if (this.#corked === 0) this.#send();
  }

  end(): void {
    this.writable = false;
    this.#send().then(() => this.destroy());
  }

  destroy(error?: Error): this {
    if (this.destroyed) return this;
    this.destroyed = true;
    this.writable = false;
    try {
      this.#connection?.close();
    } catch {
      // The other side was first.
    }
    if (error !== undefined) this.emit("error", error);
    this.emit("end");
    this.emit("close");
    return this;
  }

  // What pg asks of any stream. Delay and life of the process are the runtime's matter.
  setNoDelay(): this {
    return this;
  }

  setKeepAlive(): this {
    this.#connection?.setKeepAlive?.(true);
    return this;
  }

  ref(): this {
    return this;
  }

  unref(): this {
    return this;
  }

  async #open(port: number, host: string): Promise<void> {
    this.#connection = await openConnection(host, port);
    if (this.destroyed) return this.#connection.close();
    this.#connection.setNoDelay?.(true);
    if (this.#tls !== undefined) {
      this.#connection = await upgrade(this.#connection, host, this.#tls);
    }
    this.writable = true;
    this.emit("connect");
  }

  async #listen(): Promise<void> {
    const own = new Uint8Array(READ_SIZE);
    while (!this.destroyed) {
      const tap = this.#tap;
      await tap?.wanted();
      const bytes = await this.#read(tap?.space() ?? own);
      if (bytes === undefined) break;
      if (tap !== undefined) this.#pass(tap.accept(bytes));
      else if (this.#tap === undefined) {
        this.emit("data", Buffer.from(own.subarray(0, bytes)));
      } else this.#pass(this.#fill(this.#tap, own.subarray(0, bytes)));
    }
    this.destroy();
  }

  /** Undefined at the end, also where it was we who closed. */
  async #read(space: Uint8Array): Promise<number | undefined> {
    try {
      return await this.#connection!.read(space) ?? undefined;
    } catch (error) {
      if (this.destroyed) return undefined;
      throw error;
    }
  }

  /** Bytes that were already being read when the tap came. */
  #fill(tap: Tap, bytes: Uint8Array): Uint8Array | undefined {
    tap.space().set(bytes);
    return tap.accept(bytes.length);
  }

  #pass(rest: Uint8Array | undefined): void {
    if (rest === undefined) return;
    this.#tap = undefined;
    this.emit("data", Buffer.from(rest));
  }

  #send(): Promise<void> {
    this.#sending ??= this.#sendAll().catch((error) => void this.destroy(error))
      .finally(() => this.#sending = undefined);
    return this.#sending;
  }

  async #sendAll(): Promise<void> {
    while (this.#unsent.length > 0) {
      const bytes = joined(this.#unsent);
      this.#unsent = [];
      for (let at = 0; at < bytes.length;) {
        at += await this.#connection!.write(bytes.subarray(at));
      }
    }
  }
}

function joined(parts: Uint8Array[]): Uint8Array {
  if (parts.length === 1) return parts[0]!;
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

async function upgrade(connection: Connection, host: string, { ca }: Tls): Promise<Connection> {
  await connection.write(SSL_REQUEST);
  const answer = new Uint8Array(1);
  await connection.read(answer);
  if (answer[0] === ACCEPTED) return secureConnection(connection, host, ca);
  connection.close();
  throw new Error("The database server does not support TLS, which the database URL asks for.");
}
