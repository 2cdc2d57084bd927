// Job `collect-logs`: reads a project's logs where no drain sends them. Each run goes on behind the last, after looking
// back for lines that came late; what was taken in before is known by its name. A run is bounded and asks for the next.
import type { Database } from "../_shared/database.ts";
import { type Ingested, ingestLines } from "../_shared/logs/ingest_lines.ts";
import { OutsideError } from "../_shared/outside.ts";
import { type ManagementApi, queryLogs } from "./management_logs.ts";

export type CollectDeps = { database: Database; api: ManagementApi; now?: () => number };

export type Collected = Omit<Ingested, "refusals" | "refused"> & {
  pages: number;
  refused: number;
  collected_until: string | null;
  /** There is more to read. */
  more: boolean;
  /** Why it ended early. */
  error?: string;
};

type Claim = { lease: string; from: string; after: string; accessed: boolean };

const LINES = 1_000;
/** Of one run: hosted functions have 2 s of CPU, and the API takes 120 requests a minute. */
const MOST_PAGES = 8;
/** The API answers for at most a day. */
const MOST_WINDOW = 12 * 3_600_000;

export async function collectLogs({ database, api, now = Date.now }: CollectDeps): Promise<Collected> {
  const result: Collected = {
    pages: 0,
    received: 0,
    recorded: 0,
    duplicate: 0,
    left_out: 0,
    ignored: 0,
    refused: 0,
    collected_until: null,
    more: false,
  };
  const claimed = await ask("claim_collection", []);
  if (claimed === null) return result;
  const { lease, from, after, accessed } = JSON.parse(claimed) as Claim;
  const end = now();
  let last = { timestamp: from, id: after };
  for (;;) {
    const until = Math.min(end, Date.parse(`${last.timestamp}Z`) + MOST_WINDOW);
    let rows;
    try {
      rows = await queryLogs(api, { after: last, until: formatTime(until), accessed, limit: LINES });
    } catch (error) {
      if (!(error instanceof OutsideError)) throw error;
      await ask("fail_collection", [lease, error.code, error.retryAfter ?? null]);
      return { ...result, error: error.code };
    }
    result.pages++;
    const { refusals: _, ...ingested } = await ingestLines(database, rows, now() * 1_000);
    for (const name of ["received", "recorded", "duplicate", "left_out", "ignored", "refused"] as const) {
      result[name] += ingested[name];
    }
    const read = rows.at(-1);
    const isFull = rows.length === LINES;
    if (isFull) last = { timestamp: read!.timestamp.replace(" ", "T").replace("Z", ""), id: read!.id };
    else last = { timestamp: formatTime(until), id: "" };
    const isDone = !isFull && until === end;
    result.more = !isDone;
    result.collected_until = `${last.timestamp}Z`;
    const ends = isDone || result.pages === MOST_PAGES;
    await ask("record_collected", [lease, result.collected_until, isDone ? null : last.id, ends]);
    if (ends) return result;
  }

  function ask(name: string, values: unknown[]): Promise<string | null> {
    const parameters = values.map((_, at) => `$${at + 1}`).join(", ");
    return database.askAsOwner({ name, text: `select audit.${name}(${parameters})::text`, values });
  }
}

function formatTime(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace("Z", "000");
}
