// The database: a small pool of connections, and transactions as the person who asks. Row level security decides what
// they see, because each transaction takes the role `authenticated` and the person's verified claims, as PostgREST does.
import pg from "pg";
import { copyChunks } from "./copy_out.ts";
import { Socket } from "./socket.ts";

/** Who asks, and how the request came. */
export type Caller = {
  /** The verified claims of the token. */
  claims: Record<string, unknown>;
  /** Headers that the entry of this request may keep, in lower case. */
  headers: Record<string, string>;
};

/** A statement that is prepared once a connection, under its name. */
export type Statement = { name: string; text: string; values: unknown[] };

export type Database = {
  /** Runs one statement in a transaction of the caller's and answers the one value of its one row. */
  ask(caller: Caller, statement: Statement): Promise<string>;
  /** The same as the owner of the connection. For the clock; people have no business here. */
  askAsOwner(statement: Statement): Promise<string | null>;
  /** A connection of one's own, to be released. */
  connect(): Promise<pg.PoolClient>;
  /** All that a COPY sends, on a connection of one's own. */
  copy(client: pg.PoolClient, text: string): AsyncIterable<Uint8Array>;
  /** Ends the statement that a connection is busy with. */
  cancel(client: pg.PoolClient): void;
  /** Ends what a connection is doing, at once and from outside, and the connection. */
  abort(client: pg.PoolClient): void;
  end(): Promise<void>;
};

export type DatabaseOptions = {
  url: string;
  /** PEM of the authority that signed the server's certificate, where the URL asks for TLS. */
  ca?: string | undefined;
  connections?: number;
};

/** Milliseconds for a statement that somebody waits for; the same as PostgREST gives it on Supabase. */
export const STATEMENT_TIMEOUT = 8_000;

const CONNECT_TIMEOUT = 3_000;

// PostgreSQL prints date and number as text anyway, and what the functions answer is text from end to end.
const UNPARSED = { getTypeParser: () => (value: string) => value };

export function openDatabase({ url, ca, connections = 6 }: DatabaseOptions): Database {
  const { tls, ...target } = connectionOptions(url, ca);
  const pool = new pg.Pool({
    ...target,
    ssl: false,
    stream: () => new Socket(tls) as never,
    types: UNPARSED as never,
    application_name: "audit-functions",
    max: connections,
    connectionTimeoutMillis: CONNECT_TIMEOUT,
    idleTimeoutMillis: 30_000,
    // A worker that is frozen in the middle must not hold a transaction open.
    idle_in_transaction_session_timeout: 60_000,
  });
  // A connection that ends is removed by the pool, and what was running on it fails: nobody else needs to know.
  pool.on("error", () => {});
  pool.on("connect", (client) => client.on("error", () => {}));

  async function answer<T extends string | null>(client: pg.PoolClient, { name, text, values }: Statement): Promise<T> {
    const { rows } = await client.query<T[]>({ name, text, values, rowMode: "array" });
    return rows[0]![0]!;
  }

  return {
    ask: (caller, statement) => transaction(pool, beginAs(caller), (client) => answer<string>(client, statement)),
    askAsOwner: (statement) =>
      transaction(
        pool,
        `begin; set local statement_timeout = ${STATEMENT_TIMEOUT}`,
        (client) => answer<string | null>(client, statement),
      ),
    connect: () => pool.connect(),
    copy: copyChunks,
    cancel: (client) => cancel(target, tls, client),
    abort(client) {
      client.release(true);
      cancel(target, tls, client);
    },
    end: () => pool.end(),
  };
}

/** Begins, does the work, commits; a connection on which something failed is rolled back, or closed where that fails. */
async function transaction<T>(pool: pg.Pool, begin: string, work: (client: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await beginIn(pool, begin);
  let broken = false;
  try {
    const result = await work(client);
    await client.query("commit");
    return result;
  } catch (error) {
    broken = await client.query("rollback").then(() => false, () => true);
    throw error;
  } finally {
    client.release(broken);
  }
}

/** A connection with a transaction begun. One that the server has ended meanwhile, as when it was restarted, is replaced. */
async function beginIn(pool: pg.Pool, begin: string): Promise<pg.PoolClient> {
  for (let dead = 0;; dead++) {
    const client = await pool.connect();
    try {
      await client.query(begin);
      return client;
    } catch (error) {
      client.release(true);
      if (!isUnreachable(error) || dead === pool.options.max) throw error;
    }
  }
}

export type BeginOptions = {
  /** Transaction modes. */
  modes?: string;
  /** A snapshot of another transaction's to see what it sees. */
  snapshot?: string;
  timeout?: number;
};

/** Everything before the first statement of a caller's transaction, as one message. */
export function beginAs(
  caller: Caller,
  { modes = "", snapshot, timeout = STATEMENT_TIMEOUT }: BeginOptions = {},
): string {
  const claims = pg.escapeLiteral(JSON.stringify(caller.claims));
  const headers = pg.escapeLiteral(JSON.stringify(caller.headers));
  return `begin ${modes};` +
    (snapshot === undefined ? "" : `set transaction snapshot ${pg.escapeLiteral(snapshot)};`) +
    `set local role authenticated; set local statement_timeout = ${timeout};` +
    `select set_config('request.jwt.claims', ${claims}, true), set_config('request.headers', ${headers}, true)`;
}

/** Whether an error means that the database could not be reached, is going down or has no room for another. */
export function isUnreachable(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  if (typeof code === "string" && /^(08...|53300|57P0[123]|E[A-Z]{4,})$/.test(code)) return true;
  if (error instanceof pg.DatabaseError) return false;
  return /connection terminated|timeout exceeded when trying to connect|connection refused|ended by the other side/i
    .test(String(message));
}

type Target = {
  host: string;
  port: number;
  user: string;
  password: string;
  database: string;
};

function connectionOptions(url: string, ca: string | undefined): Target & { tls?: { ca?: string } } {
  const { hostname, port, username, password, pathname, searchParams } = new URL(url);
  const mode = searchParams.get("sslmode") ?? "disable";
  if (!["disable", "allow", "prefer", "require", "verify-ca", "verify-full"].includes(mode)) {
    throw new Error(`The database URL has sslmode=${mode}: use disable, or verify-full and AUDIT_DB_CA.`);
  }
  return {
    host: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(port || 5432),
    user: decodeURIComponent(username),
    password: decodeURIComponent(password),
    database: decodeURIComponent(pathname.slice(1)) || "postgres",
    ...(["require", "verify-ca", "verify-full"].includes(mode) ? { tls: ca === undefined ? {} : { ca } } : {}),
  };
}

/** A CancelRequest (PostgreSQL documentation, 53.2.8), for a server that is busy and would not notice that we are gone. */
function cancel({ host, port }: Target, tls: { ca?: string } | undefined, client: pg.PoolClient): void {
  const { processID, secretKey } = client as unknown as {
    processID: number;
    secretKey: number;
  };
  const request = new Uint8Array(16);
  [16, 80_877_102, processID, secretKey].forEach((number, at) => new DataView(request.buffer).setInt32(4 * at, number));
  const socket = new Socket(tls);
  socket.on("error", () => {}); // the server is gone, and with it what was to be cancelled
  socket.once("connect", () => {
    socket.write(request);
    socket.end();
  });
  socket.connect(port, host);
}
