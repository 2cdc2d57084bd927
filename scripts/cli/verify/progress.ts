// How far a verification has come, on stderr: what it has found goes to stdout.
import cliProgress from "cli-progress";
import { count } from "./ledger.ts";
import type { Kit } from "./log.ts";

/** A bar for each log on a terminal; elsewhere a line at every tenth of a log that is worth it. */
export function startProgress(): Kit["progress"] & { stop(): void } {
  if (!process.stderr.isTTY) return startLines();
  const bar = new cliProgress.SingleBar({
    format: "  {origin} [{bar}] {value} of {total}, {duration_formatted}",
    hideCursor: true,
    clearOnComplete: true,
    stream: process.stderr,
  }, cliProgress.Presets.legacy);
  return {
    begin(origin, entries) {
      bar.stop();
      if (entries >= WORTH_SHOWING) bar.start(entries, 0, { origin });
    },
    advance: (entries) => bar.increment(entries),
    stop: () => bar.stop(),
  };
}

const WORTH_SHOWING = 50_000;

function startLines(): Kit["progress"] & { stop(): void } {
  let log = { origin: "", entries: 0, done: 0 };
  return {
    begin: (origin, entries) => void (log = { origin, entries, done: 0 }),
    advance(entries) {
      const before = Math.floor(log.done * 10 / log.entries);
      log.done += entries;
      if (log.entries >= WORTH_SHOWING && Math.floor(log.done * 10 / log.entries) > before) {
        console.error(`  ${log.origin} ${count(log.done)} of ${count(log.entries)}`);
      }
    },
    stop() {},
  };
}
