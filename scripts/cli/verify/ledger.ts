/** What a verification has to say: what is wrong, what was not proved, and what was. */

/** Stable names of what can be wrong, for programs that read the JSON form. */
export type FindingCode =
  /** An object that must be there is not. */
  | "missing_checkpoint"
  | "missing_bundle"
  | "missing_tile"
  | "missing_log"
  /** An object that cannot be what it should be: cut, of another format, too large, encrypted with another key. */
  | "unreadable_bundle"
  | "unreadable_tile"
  /** A checkpoint that is not to be believed. */
  | "bad_checkpoint"
  /** An entry is not the one that was signed. */
  | "entry_changed"
  /** It is one of these entries, but which cannot be told. */
  | "entries_changed"
  /** A hash tile that differs from what the entries hash to. */
  | "tile_changed"
  /** Not an entry text. */
  | "malformed_entry"
  /** An entry of another organisation. */
  | "foreign_entry"
  /** Chains. */
  | "entries_missing"
  | "entry_repeated"
  | "link_mismatch"
  | "time_reversed"
  | "heartbeat_mismatch"
  | "entries_withheld"
  /** Months. */
  | "bad_opening"
  | "month_missing"
  | "previous_mismatch"
  /** Against what was remembered elsewhere. */
  | "rolled_back"
  | "forked"
  | "not_witnessed"
  /** The anchor log. */
  | "bad_anchor_entry"
  | "anchor_shrinks"
  /** What was asked for beside the archive. */
  | "bad_receipt"
  | "bad_export"
  | "export_mismatch"
  | "export_incomplete"
  | "database_differs"
  | "nothing_to_verify";

export type Finding = {
  code: FindingCode;
  message: string;
  /** The origin of the log that it is about. */
  log?: string;
  /** The entry's place in the log. */
  index?: number;
  /** The entry's name, chain-seq. */
  entry?: string;
};

/** More would not be read; how many more there were is said. */
const MOST_FINDINGS = 200;
const MOST_NOTES = 100;

export class Ledger {
  readonly findings: Finding[] = [];
  readonly notProved: string[] = [];
  readonly proved: string[] = [];
  /** Findings that are counted, but no longer kept. */
  unlisted = 0;
  #notes = 0;
  readonly #ofLog = new Map<string | undefined, number>();

  found({ code, message, log, index, entry }: Finding): void {
    const finding = {
      code,
      message,
      ...(log === undefined ? {} : { log }),
      ...(index === undefined ? {} : { index }),
      ...(entry === undefined ? {} : { entry }),
    };
    this.#ofLog.set(log, this.count(log) + 1);
    if (this.findings.length < MOST_FINDINGS) this.findings.push(finding);
    else this.unlisted++;
  }

  /** What remains open without being a doubt. */
  leaveOpen(note: string): void {
    if (++this.#notes <= MOST_NOTES) this.notProved.push(note);
    else this.notProved[MOST_NOTES] = `… and ${this.#notes - MOST_NOTES} more`;
  }

  prove(statement: string): void {
    this.proved.push(statement);
  }

  /** How many findings are about a log. */
  count(log: string | undefined): number {
    return this.#ofLog.get(log) ?? 0;
  }

  get isSound(): boolean {
    return this.findings.length === 0;
  }
}

/** 1,234,567 */
export function count(number: number): string {
  return number.toLocaleString("en");
}

/** "1 entry", "2 entries" */
export function plural(number: number, one: string, many = `${one}s`): string {
  return `${count(number)} ${number === 1 ? one : many}`;
}
