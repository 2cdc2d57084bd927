// One part of an export, for whoever takes its bytes: the response of `audit`, or Storage in `audit-jobs`.
//
// The entry that says "exported" is committed before the first byte leaves, and what it counts is what leaves: one
// transaction reads (connection A), another writes the entry in the same snapshot (connection B).
import { createHash } from "node:crypto";
import type pg from "pg";
import { type CopyOptions, copyOut } from "./copy_out.ts";
import { beginAs, type Caller, type Database } from "./database.ts";
import { workOn } from "./env.ts";

export type Format = "csv" | "json" | "ndjson" | "ocsf" | "pdf";

/** What audit.open_export() takes. */
export type PartRequest = {
  organization_id?: string | undefined;
  query?: string | undefined;
  filter?: unknown;
  format?: Format | undefined;
  limit?: number | undefined;
  cursor?: string | undefined;
  /** The export that the part continues. */
  export?: string | undefined;
  gzip?: boolean | undefined;
};

/** What audit.open_export() answers. */
export type Part = {
  id: string;
  part: number;
  entries: number;
  /** Entries of the parts before it. */
  before: number;
  /** Entries of all parts; of a PDF only, which says so. */
  total: number | null;
  next: string | null;
  organization_id: string;
  query: string;
  filter: unknown;
  format: Format;
  first: string | null;
  last: string | null;
};

/** A part that is ready to be read, once. */
export type OpenPart = Part & {
  /** Its bytes; when the last is taken, the part is closed as complete. Cancelling ends the query at once. */
  body: ReadableStream<Uint8Array>;
  /** Ends the part where nobody will take the rest of its bytes; without effect once it has ended. */
  abandon(): Promise<void>;
};

/** Makes the whole of a part at once, for formats that COPY does not write. */
export type Render = (part: RenderedPart) => Promise<Uint8Array>;

export type RenderedPart = Part & {
  /** The entries, as the API shows them. */
  rows: unknown[];
  caller: Caller;
};

export type OpenPartOptions = {
  render: Render;
  /** Called once, when the part has ended in whatever way. */
  ended?: () => void;
  /** Says that nobody waits for the part any more, while it is still being opened. */
  signal?: AbortSignal;
  /** Notes what became of the part; default: as the caller. */
  close?: (closing: Closing) => Promise<void>;
};

/** What audit.close_export_part() takes. */
export type Closing = {
  export: string;
  part: number;
  bytes: number;
  sha256: string | null;
  complete: boolean;
};

/** Entries of a part where the request does not say: what a hosted function does in its 2 s of CPU, with room. */
export const PART_ENTRIES: Record<Format, number> = {
  csv: 500_000,
  json: 400_000,
  ndjson: 400_000,
  ocsf: 250_000,
  pdf: 1_000,
};
/** Most that a request may ask for, where its function has more time than a hosted one. */
export const MOST_PART_ENTRIES: Record<Format, number> = {
  csv: 1_000_000,
  json: 1_000_000,
  ndjson: 1_000_000,
  ocsf: 1_000_000,
  pdf: 2_000,
};
/** Compression costs several times what all the rest does. */
export const GZIP_PART_ENTRIES = 250_000;

export const CONTENT_TYPES: Record<Format, string> = {
  csv: "text/csv; charset=utf-8; header=present",
  json: "application/json",
  ndjson: "application/x-ndjson",
  ocsf: "application/x-ndjson",
  pdf: "application/pdf",
};

/** How a file of the format is called. */
export function extensionOf(format: Format): string {
  return { csv: "csv", json: "json", ndjson: "ndjson", ocsf: "ocsf.ndjson", pdf: "pdf" }[format];
}

/** Longest that one part may take, in milliseconds: what a hosted function has. */
const PART_TIMEOUT = 390_000;
/** Longest that opening it may take: counting what is found. The reading connection waits as long, and no longer. */
const OPEN_TIMEOUT = 50_000;
const SERIALIZATION_FAILURE = "40001";

export async function openPart(
  database: Database,
  caller: Caller,
  request: PartRequest,
  { render, ended = () => {}, signal, close = (closing) => closeAs(database, caller, closing) }: OpenPartOptions,
): Promise<OpenPart> {
  const { reader, opened } = await openRetrying(database, caller, request, signal);
  const { copy, rows, ...part } = opened;
  const source = copy === null
    ? renderOnce(async () => render({ ...part, rows: await rowsOf(reader, rows!), caller }))
    : copyOut(reader, copy, framing(part));
  const digest = createHash("sha256");
  let bytes = 0;
  let open = true;

  const end = async (complete: boolean): Promise<void> => {
    if (!open) return;
    open = false;
    ended();
    if (complete) {
      await reader.query("commit").then(() => reader.release(), () => reader.release(true));
    } else database.abort(reader);
    const sha256 = complete ? digest.digest("hex") : null;
    await close({ export: part.id, part: part.part, bytes, sha256, complete });
  };

  const body = new ReadableStream<Uint8Array>({
    async pull(controller) {
      try {
        const chunk = await source.next();
        if (chunk !== undefined) {
          digest.update(chunk);
          bytes += chunk.length;
          return controller.enqueue(chunk);
        }
        // A crash here: every byte was sent, but the part stays open, and the client sees no end.
        await end(true);
        controller.close();
      } catch (error) {
        // Without an end the client knows that the file is not whole.
        controller.error(error);
        await end(false);
      }
    },
    cancel: () => {
      const closed = end(false).catch(() => {}); // nobody is left to be told; the part stays open
      workOn(closed);
      return closed;
    },
  });
  return { ...part, body, abandon: () => end(false) };
}

type Opened = Part & { copy: string | null; rows: string | null };

async function openRetrying(
  database: Database,
  caller: Caller,
  request: PartRequest,
  signal?: AbortSignal,
): Promise<{ reader: pg.PoolClient; opened: Opened }> {
  for (let attempt = 1;; attempt++) {
    const reader = await database.connect();
    try {
      const opened = await openIn(database, reader, caller, request, signal);
      return { reader, opened };
    } catch (error) {
      await reader.query("rollback").then(() => reader.release(), () => reader.release(true));
      // The other connection wrote an entry between the snapshot and this one: a new snapshot has it.
      if ((error as { code?: string }).code !== SERIALIZATION_FAILURE || attempt === 3) throw error;
    }
  }
}

async function openIn(
  database: Database,
  reader: pg.PoolClient,
  caller: Caller,
  request: PartRequest,
  signal?: AbortSignal,
): Promise<Opened> {
  const writer = await database.connect();
  const stop = () => database.cancel(writer);
  signal?.addEventListener("abort", stop);
  let broken = true;
  try {
    signal?.throwIfAborted();
    await reader.query(beginAs(caller, { modes: "isolation level repeatable read read only", timeout: PART_TIMEOUT }));
    const { rows: [exported] } = await reader.query<string[]>({
      text: "select pg_export_snapshot()",
      rowMode: "array",
    });
    const snapshot = exported![0]!;
    await writer.query(beginAs(caller, { modes: "isolation level repeatable read", snapshot, timeout: OPEN_TIMEOUT }));
    const { rows: [answer] } = await writer.query<string[]>({
      name: "open_export",
      text: "select audit.open_export($1)::text",
      values: [JSON.stringify(request)],
      rowMode: "array",
    });
    await writer.query("commit");
    broken = false;
    return JSON.parse(answer![0]!) as Opened;
  } catch (error) {
    broken = await writer.query("rollback").then(() => false, () => true);
    throw error;
  } finally {
    signal?.removeEventListener("abort", stop);
    // A request to cancel may still be on its way, and must not meet another's statement.
    writer.release(broken || signal?.aborted);
  }
}

function framing({ format, ...part }: Part): CopyOptions {
  if (format !== "json") return {};
  // Every row begins with a comma, the first one too.
  const { id, part: number, entries, first, last, next, organization_id, query, filter } = part;
  const head = { id, part: number, organization_id, query, filter, entries, first, last, next };
  return { before: `{"export":${JSON.stringify(head)},"entries":[`, skip: 1, after: "]}\n" };
}

/** Formats that COPY does not write: one chunk. */
function renderOnce(make: () => Promise<Uint8Array>): { next(): Promise<Uint8Array | undefined> } {
  let made = false;
  return {
    async next() {
      if (made) return undefined;
      made = true;
      return await make();
    },
  };
}

async function rowsOf(reader: pg.PoolClient, text: string): Promise<unknown[]> {
  const { rows } = await reader.query<string[]>({ text, rowMode: "array" });
  return rows.map(([row]) => JSON.parse(row!));
}

async function closeAs(database: Database, caller: Caller, closing: Closing): Promise<void> {
  await database.ask(caller, closingStatement(closing));
}

/** The statement that notes what became of a part, and where it lies. */
export function closingStatement(
  closing: Closing & { path?: string },
): { name: string; text: string; values: string[] } {
  return {
    name: "close_export_part",
    text: "select audit.close_export_part($1)::text",
    values: [JSON.stringify(closing)],
  };
}

/** The bytes compressed. Their digest is of what they are uncompressed. */
export function gzipped(body: ReadableStream<Uint8Array>): ReadableStream<Uint8Array> {
  // The platform's type asks for a writable of any buffer, which it has.
  return body.pipeThrough(new CompressionStream("gzip") as ReadableWritablePair<Uint8Array, Uint8Array>);
}
