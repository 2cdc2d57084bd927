// How times and names are written.
import type { Entry } from "./api.ts";
import { text } from "./text.ts";

/** Seconds matter in a log; the zone is the reader's own unless it is named. */
export function formatTime(iso: string, timeZone?: string): string {
  return new Date(iso).toLocaleString(undefined, {
    dateStyle: "medium",
    timeStyle: "medium",
    ...(timeZone === undefined ? {} : { timeZone }),
  });
}

export function actorOf(entry: Entry): string {
  return entry.email ?? entry.created_by ?? text.actor[entry.actor_type] ?? entry.actor_type;
}
