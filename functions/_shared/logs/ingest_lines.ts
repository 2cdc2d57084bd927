// Lines of logs become entries: read, understood, and handed to the database, which knows what it has already.
import type { Database } from "../database.ts";
import { eventsOf, type LogEvent } from "./log_events.ts";
import { LineError, readLine } from "./log_line.ts";

export type Ingested = {
  received: number;
  /** Entries, or events that became entries. */
  recorded: number;
  duplicate: number;
  /** Not wanted, by the setting api_access. */
  left_out: number;
  /** Lines that say nothing for the audit log. */
  ignored: number;
  refused: number;
  /** The first of them. */
  refusals: { line: number; reason: string }[];
};

type Answer = Pick<Ingested, "recorded" | "duplicate" | "left_out"> & { refused: { event: number; reason: string }[] };

/** Events of one transaction: it decides under a lock, so that it should be short. */
const AT_ONCE = 1_000;
const MOST_REFUSALS = 100;

export async function ingestLines(database: Database, lines: unknown[], now = Date.now() * 1_000): Promise<Ingested> {
  const result: Ingested = {
    received: lines.length,
    recorded: 0,
    duplicate: 0,
    left_out: 0,
    ignored: 0,
    refused: 0,
    refusals: [],
  };
  const refuse = (line: number, reason: string) => {
    result.refused++;
    if (result.refusals.length < MOST_REFUSALS) result.refusals.push({ line, reason });
  };
  const events: LogEvent[] = [];
  const lineOf: number[] = [];
  lines.forEach((raw, line) => {
    let told: LogEvent[];
    try {
      told = eventsOf(readLine(raw, now));
    } catch (error) {
      if (!(error instanceof LineError)) throw error;
      return refuse(line, error.message);
    }
    if (told.length === 0) result.ignored++;
    for (const event of told) {
      events.push(event);
      lineOf.push(line);
    }
  });
  for (let from = 0; from < events.length; from += AT_ONCE) {
    const answer = await database.askAsOwner({
      name: "ingest_logs",
      text: "select audit.ingest_logs($1)::text",
      values: [JSON.stringify(events.slice(from, from + AT_ONCE))],
    });
    const { recorded, duplicate, left_out, refused } = JSON.parse(answer!) as Answer;
    result.recorded += recorded;
    result.duplicate += duplicate;
    result.left_out += left_out;
    for (const { event, reason } of refused) refuse(lineOf[from + event]!, reason);
  }
  return result;
}
