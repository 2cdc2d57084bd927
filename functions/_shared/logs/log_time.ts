// Points in time as logs write them, as microseconds since 1970: a double holds them exactly until the year 2255.

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAY = 86_400_000_000;

/**
 * Reads a number of seconds, milliseconds, microseconds or nanoseconds, or a text: ISO 8601, PostgreSQL's, or syslog's
 * without a year, which is then the one that brings it nearest to `now`. Without a zone it is UTC. Undefined where it
 * is none of these.
 */
export function parseLogTime(value: unknown, now: number): number | undefined {
  if (typeof value === "number" || typeof value === "string" && /^\d{10,19}(\.\d+)?$/.test(value)) {
    // Nanoseconds are more than a double holds.
    return ofEpoch(Number(typeof value === "string" ? value.replace(/^(\d{16})\d{3}$/, "$1") : value));
  }
  if (typeof value !== "string") return undefined;
  return ofText(value.trim()) ?? ofSyslog(value.trim(), now);
}

function ofEpoch(number: number): number | undefined {
  if (!Number.isFinite(number) || number < 1e9) return undefined;
  if (number < 1e11) return Math.round(number * 1e6);
  if (number < 1e14) return Math.round(number * 1e3);
  return Math.round(number < 1e17 ? number : number / 1e3);
}

function ofText(text: string): number | undefined {
  const parts = /^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9}))?\s*(Z|UTC|GMT|[+-]\d\d(?::?\d\d)?)?$/i.exec(
    text,
  );
  if (parts === null) return undefined;
  const [, date, time, fraction = "", zone = "Z"] = parts;
  const offset = /^[A-Z]/i.test(zone)
    ? "Z"
    : zone.replace(/^(...):?(\d\d)?$/, (_, hours, minutes) => `${hours}:${minutes ?? "00"}`);
  const milliseconds = Date.parse(`${date}T${time}${offset}`);
  return Number.isNaN(milliseconds) ? undefined : milliseconds * 1_000 + Number(fraction.padEnd(6, "0").slice(0, 6));
}

function ofSyslog(text: string, now: number): number | undefined {
  const parts = /^([A-Z][a-z]{2})\s+(\d{1,2})\s+(\d\d):(\d\d):(\d\d)$/.exec(text);
  if (parts === null) return undefined;
  const [day, hour, minute, second] = parts.slice(2).map(Number) as [number, number, number, number];
  const month = MONTHS.indexOf(parts[1]!.toLowerCase());
  if (month < 0) return undefined;
  const year = new Date(now / 1_000).getUTCFullYear();
  const candidates = [year - 1, year, year + 1]
    .map((each) => Date.UTC(each, month, day, hour, minute, second) * 1_000)
    // 29 February only in years that have one; a line is seldom of the future.
    .filter((time) => new Date(time / 1_000).getUTCMonth() === month && time <= now + DAY);
  return candidates.sort((a, b) => Math.abs(a - now) - Math.abs(b - now))[0];
}
