// The entries of a log as the database has them.
import type { Database } from "../_shared/database.ts";
import { TlogError } from "../_shared/tlog/error.ts";
import { encodeText } from "../_shared/tlog/text.ts";

/** An entry's bytes, and the hash that it was written with, in hex. */
export type LogEntry = { index: number; entry: Uint8Array; hash: string };

/** The entries from one index to before another, every one of them; throws `out_of_range` where one is missing. */
export async function readEntries(database: Database, log: number, from: number, to: number): Promise<LogEntry[]> {
  const client = await database.connect();
  try {
    const { rows } = await client.query<[string, string, string]>({
      name: "log_entries",
      text: "select index, entry, encode(hash, 'hex') from audit.log_entries($1, $2, $3)",
      values: [log, from, to],
      rowMode: "array",
    });
    const entries = rows.map(([index, entry, hash]) => ({
      index: Number(index),
      entry: encodeText(entry),
      hash,
    }));
    if (entries.length !== to - from || entries.some(({ index }, at) => index !== from + at)) {
      throw new TlogError("out_of_range", `of the entries ${from} to ${to - 1}, the database has ${entries.length}`);
    }
    return entries;
  } finally {
    client.release();
  }
}
