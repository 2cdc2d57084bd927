/** A report as people read it. */
import { count, plural } from "./ledger.ts";
import type { Report } from "./run.ts";

const MOST_LOGS = 40;

export function showReport(report: Report): string {
  const { verified, logs, proved, not_proved, findings, unlisted, entries, seconds } = report;
  const width = Math.max(...logs.map(({ origin }) => origin.length));
  const lines = logs.slice(0, MOST_LOGS).map(({ origin, state, size }) =>
    `  ${origin.padEnd(width)}  ${size === null ? "no checkpoint" : plural(size, "entry", "entries").padStart(17)}  ${
      STATES[state]
    }`
  );
  if (logs.length > MOST_LOGS) lines.push(`  … and ${plural(logs.length - MOST_LOGS, "more log")}`);
  const rate = entries === 0 ? "" : `${plural(entries, "entry", "entries")} in ${seconds.toFixed(1)} s, ` +
    `${count(Math.round(entries / seconds))} a second`;
  const parts = [
    lines.join("\n"),
    list("Proved, with nothing trusted but the key", "✓", proved),
    list("Not proved", "–", not_proved),
    list("Wrong", "✗", [
      ...findings.map(({ log, message }) => log === undefined ? message : `${log}: ${message}`),
      ...(unlisted > 0 ? [`… and ${plural(unlisted, "more finding")}`] : []),
    ]),
    verified ? "VERIFIED" : "NOT VERIFIED",
    rate,
  ];
  return parts.filter((part) => part !== "").join("\n\n");
}

const STATES = {
  verified: "verified",
  broken: "NOT VERIFIED",
  expired: "only its last checkpoint is left",
  unread: "NOT READ",
};

function list(title: string, mark: string, items: string[]): string {
  return items.length === 0 ? "" : [title, ...items.map((item) => `  ${mark} ${wrapped(item)}`)].join("\n");
}

/** In lines that a terminal shows whole. */
function wrapped(text: string): string {
  const lines = [""];
  for (const word of text.split(" ")) {
    const line = lines.at(-1)!;
    if (line !== "" && line.length + word.length >= LINE_WIDTH) lines.push(word);
    else lines[lines.length - 1] = line === "" ? word : `${line} ${word}`;
  }
  return lines.join("\n    ");
}

const LINE_WIDTH = 110;
