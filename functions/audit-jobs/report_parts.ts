// The entries of a report that are too many for its evidence pack: read by COPY, and stored as they come, file after file
// beside it. Each file is noted when it is stored and written over until then, so a run that is killed leaves what the
// next goes on with.
import { createHash } from "node:crypto";
import type { SupabaseClient } from "@supabase/supabase-js";
import { copyOut } from "../_shared/copy_out.ts";
import type { Database } from "../_shared/database.ts";
import { openBucket } from "../_shared/storage.ts";

/** A file of entries beside the pack. `first` and `last` are names of entries, in the order of time. */
export type ReportPart = {
  name: string;
  path: string;
  entries: number;
  bytes: number;
  sha256: string;
  first: string;
  last: string;
};

/** What audit.next_report_part() answers. */
type Next = { name: string; folder: string; entries: number; first: string; last: string; until: object; copy: string };

/** With what else is in it, such a pack is made in memory and within the CPU of one invocation. */
const MOST_IN_PACK = 10_000;
/** A file in Storage has at most 50 MB on the free plan; an entry rarely more than a kilobyte. */
const PART_ENTRIES = 40_000;
/** Milliseconds for finding and reading one. */
const PART_TIMEOUT = 100_000;

/**
 * Stores the next part of a report; answers the attempt from here on and how many bytes it has, or undefined where none is
 * left.
 */
export async function storePart(
  database: Database,
  openStorage: () => Promise<SupabaseClient["storage"]>,
  { report, attempt }: { report: string; attempt: number },
): Promise<{ attempt: number; bytes: number } | undefined> {
  const client = await database.connect();
  let isBroken = true;
  let part: ReportPart & { until: object };
  try {
    await client.query(
      `begin isolation level repeatable read read only; set local statement_timeout = ${PART_TIMEOUT}`,
    );
    const { rows: [row] } = await client.query<[string | null]>({
      name: "next_report_part",
      text: "select audit.next_report_part($1, $2, $3, $4)::text",
      values: [report, attempt, MOST_IN_PACK, PART_ENTRIES],
      rowMode: "array",
    });
    if (row![0] === null) {
      await client.query("commit");
      isBroken = false;
      return undefined;
    }
    const { copy, folder, ...next } = JSON.parse(row![0]) as Next;
    const path = `${folder}/${next.name}`;
    const source = copyOut(client, copy);
    const digest = createHash("sha256");
    let bytes = 0;
    const body = new ReadableStream<Uint8Array>({
      async pull(controller) {
        const chunk = await source.next();
        if (chunk === undefined) return controller.close();
        digest.update(chunk);
        bytes += chunk.length;
        controller.enqueue(chunk);
      },
    });
    const bucket = await openBucket(await openStorage());
    const options = { contentType: "application/x-ndjson", duplex: "half", upsert: true } as const;
    const { error } = await bucket.upload(path, body, options);
    if (error !== null) throw error;
    await client.query("commit");
    isBroken = false;
    part = { ...next, path, bytes, sha256: digest.digest("hex") };
  } finally {
    // A COPY that nobody reads to its end keeps the connection.
    client.release(isBroken);
  }
  const answer = await database.askAsOwner({
    name: "add_report_part",
    text: "select audit.add_report_part($1, $2, $3)::text",
    values: [report, attempt, JSON.stringify(part)],
  });
  return { attempt: Number(answer), bytes: part.bytes };
}
