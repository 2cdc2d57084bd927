// The entries of a log as the database has them.
//
// They are read by COPY in its binary form, so that an entry is bytes all the way: as values of a SELECT, each would become
// texts and bytes again, at three times the processor time.
import type { Database } from "../_shared/database.ts";
import { type Hash } from "../_shared/tlog/hash.ts";
import { TlogError } from "../_shared/tlog/error.ts";
import { concatBytes } from "../_shared/tlog/text.ts";

/** An entry's bytes, and the hash that it was written with. */
export type LogEntry = { index: number; entry: Uint8Array; hash: Hash };

/** Signature, flags and the length of a header extension, which is 0 (PostgreSQL documentation, COPY, "Binary Format"). */
const HEADER = 19;
const COLUMNS = 3;

/** The entries from one index to before another, every one of them; throws `out_of_range` where one is missing. */
export async function readEntries(
  database: Database,
  log: number,
  from: number,
  to: number,
): Promise<Iterable<LogEntry>> {
  const client = await database.connect();
  let broken = true;
  try {
    const parts: Uint8Array[] = [];
    const query = `select index, entry, hash from audit.log_entries(${log}, ${from}, ${to})`;
    for await (const part of database.copy(client, `copy (${query}) to stdout with (format binary)`)) parts.push(part);
    broken = false;
    return rowsOf(concatBytes(...parts), from, to);
  } finally {
    client.release(broken);
  }
}

/**
 * Rows after the header, each value after its length; after them -1 in place of a row's number of columns. Read one by
 * one: thousands of entries at a time would outlive the young generation of the heap, which would grow with them.
 */
function* rowsOf(bytes: Uint8Array, from: number, to: number): Generator<LogEntry> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = HEADER;
  const value = () => {
    const length = view.getInt32(at);
    at += 4 + length;
    return bytes.subarray(at - length, at);
  };
  let next = from;
  for (; view.getInt16(at) === COLUMNS; next++) {
    at += 2;
    const index = view.getUint32(at + 4) * 2 ** 32 + view.getUint32(at + 8);
    at += 12;
    if (index !== next) break;
    yield { index, entry: value(), hash: value() };
  }
  if (next !== to) {
    throw new TlogError("out_of_range", `of the entries ${from} to ${to - 1}, the database lacks ${next}`);
  }
}
