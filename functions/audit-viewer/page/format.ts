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

/** Names of time zones to choose from, the one that is chosen among them. */
export function timeZones(chosen: string): string[] {
  return [...new Set(["UTC", ...Intl.supportedValuesOf("timeZone"), chosen])].sort();
}

/** The name of a country (ISO 3166-1 alpha-2) in the reader's language, or its code. */
export function countryName(code: string): string {
  try {
    return new Intl.DisplayNames(undefined, { type: "region" }).of(code) ?? code;
  } catch {
    return code;
  }
}
