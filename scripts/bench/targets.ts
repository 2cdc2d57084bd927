// What the product must reach ("at least") and wants to ("aim"). Ratios where possible: they outlive a machine.
import type { Commit } from "./cluster.ts";
import type { Measured } from "./results.ts";
import { type Bar, type Verdict, verdict } from "./statistics.ts";

export type Goal = Bar & { title: string; unit?: "µs" | "ms" | "s" | "%" | "MB" | "×" };

/** A goal for capture, and how its value follows from the runs of a scenario. */
export type Target = Goal & {
  scenario: string;
  /** Where it depends on the cost of a commit. */
  commit?: Commit;
  /** undefined where it was not measured. */
  value(measured: Measured): number | undefined;
};

export type Judged = Goal & { value: number | undefined; verdict: Verdict | undefined };

export function judge(goal: Goal, value: number | undefined): Judged {
  return { ...goal, value, verdict: value === undefined ? undefined : verdict(value, goal) };
}

/** Throughput in a log of many entries, of that in an empty one. */
export const GROWTH_BAR: Bar = { atLeast: 0.9, aim: 0.98 };

export const VERIFY_GOAL: Goal = {
  title: "verification in SQL, per million entries",
  atLeast: 8,
  aim: 3,
  lessIsBetter: true,
  unit: "s",
};

export const SEARCH_GOALS = {
  filters: lessIsBetter("first page, filters, p95", 50, 15, "ms"),
  text: lessIsBetter("first page, free text and details paths, p95", 200, 60, "ms"),
  depth: lessIsBetter("page 1,000 by cursor, of page 1", 1.2, 1.05, "×"),
  overhead: lessIsBetter("added by the function to the SQL, p50", 10, 4, "ms"),
};

export const EXPORT_GOALS = {
  throughput: { title: "CSV through the function, of psql \\copy", atLeast: 0.8, aim: 0.95 },
  cpu: lessIsBetter("processor time of the function for a million entries", 1.6, 1.2, "s"),
  memory: lessIsBetter("most memory of the function for it", 128, 96, "MB"),
};

export const SEAL_GOALS = {
  cpu: lessIsBetter("processor time of the function to seal 10,000 entries", 0.5, 0.2, "s"),
  memory: lessIsBetter("most memory of the function while the backlog is sealed", 160, 128, "MB"),
  waiting: lessIsBetter("from an entry to its published checkpoint, under load, p95", 90, 10, "s"),
  verification: { title: "offline verification, entries a second", atLeast: 100_000, aim: 300_000 },
  writers: lessIsBetter("1 writer: throughput lost to sealing and purging", 5, 2, "%"),
};

export const LOGIN_GOALS = {
  added: lessIsBetter("added to a login by triggers, p95", 20, 5, "ms"),
  hook: lessIsBetter("hook of a failed login, p95", 50, 10, "ms"),
  ingestion: { title: "events of a log settled a second, each an entry", atLeast: 2_000, aim: 10_000 },
};

export const DRAIN_GOALS = {
  mixed: { title: "lines of a log drain a second, mixed", atLeast: 2_000, aim: 10_000 },
  accessed: { title: "the same, where every request is an entry", atLeast: 2_000, aim: 10_000 },
  failures: { title: "the same, where every line is a failed login", atLeast: 2_000, aim: 10_000 },
  cpu: lessIsBetter("processor time of the function for a batch, most", 2, 0.2, "s"),
  place: lessIsBetter("place of an address", 1, 0.1, "ms"),
};

export const DELIVERY_GOALS = {
  latency: lessIsBetter("from an entry's commit to the webhook, p95", 15, 5, "s"),
};

export const REPORT_GOALS = {
  cpu: lessIsBetter("a report on a million entries: processor time of the dearest invocation", 2, 1, "s"),
  pages: lessIsBetter("PDF of 50 pages: processor time, gathering and evidence pack included", 1.5, 0.5, "s"),
  memory: lessIsBetter("most memory of the function for it", 256, 192, "MB"),
  erasure: lessIsBetter("erasure of a person with a million entries, a writer beside", 60, 5, "s"),
};

export const ALERT_GOALS = {
  evaluation: lessIsBetter("processor time to evaluate 10,000 new entries with 50 rules", 2, 0.5, "s"),
  growth: lessIsBetter("the same in the largest log, of the smallest", 1.2, 1, "×"),
  quiet: lessIsBetter("defaults where nothing is wrong, alerts an organisation and day", 0.2, 0.05),
};

export const VIEWER_GOALS = {
  firstPage: lessIsBetter("first page of the viewer, slowest round", 1_000, 500, "ms"),
  frames: lessIsBetter("from frame to frame while scrolling, p95", 50, 20, "ms"),
  elements: lessIsBetter("elements in the document while scrolling", 2_000, 1_000),
  heap: lessIsBetter("memory that scrolling leaves taken", 50, 20, "MB"),
  bundle: lessIsBetter("what the list page loads, compressed, kB", 150, 100),
};

export const ANOMALY_GOALS = {
  nab: { title: "NAB's score on the six series, standard profile", atLeast: 65, aim: 80 },
  quiet: { title: "false alerts of a quiet tenant a day", atLeast: 0.02, aim: 0.005, lessIsBetter: true },
};

export const CAPTURE_TARGETS: Target[] = [
  throughput("1 writer, of supa_audit", "one-writer", "disk", "supa_audit", 2.0, 2.6),
  throughput("1 writer, of unaudited", "one-writer", "1ms", "unaudited", 0.80, 0.87),
  throughput("16 writers, one organisation, of supa_audit", "one-organization", "1ms", "supa_audit", 2.2, 2.8),
  throughput("16 writers, one organisation, of unaudited", "one-organization", "1ms", "unaudited", 0.38, 0.50),
  throughput("16 writers, 100 organisations, of supa_audit", "many-organizations", "1ms", "supa_audit", 2.4, 3.0),
  throughput("16 writers, 100 organisations, of unaudited", "many-organizations", "1ms", "unaudited", 0.42, 0.52),
  ...bulk("10,000 rows in one INSERT", "bulk-10000"),
  ...bulk("100,000 rows in one INSERT", "bulk-100000"),
  growth("30,000 statements, one organisation", "long-transaction"),
  growth("30,000 statements, two organisations", "long-transaction-two-organizations"),
  failures("READ COMMITTED", "read-committed", 0),
  failures("REPEATABLE READ", "repeatable-read", 0),
  failures("SERIALIZABLE", "serializable", 0.1),
  {
    title: "8 writers beside an idle transaction, of without it",
    scenario: "idle-transaction",
    atLeast: 0.8,
    aim: 0.95,
    value: (measured) => measured.has("ours") ? measured.median("ours", "ratio") : undefined,
  },
  searchIndex("1 writer", "search-index-one-writer"),
  searchIndex("16 writers, one organisation", "search-index"),
];

function lessIsBetter(title: string, atLeast: number, aim: number, unit?: Goal["unit"]): Goal {
  return { title, atLeast, aim, lessIsBetter: true, ...(unit === undefined ? {} : { unit }) };
}

function throughput(
  title: string,
  scenario: string,
  commit: Commit,
  of: "unaudited" | "supa_audit",
  atLeast: number,
  aim: number,
): Target {
  return { title, scenario, commit, atLeast, aim, value: (measured) => measured.ratio("tps", "ours", of) };
}

function bulk(title: string, scenario: string): Target[] {
  return [
    {
      title: `${title}: added per row`,
      scenario,
      atLeast: 40,
      aim: 20,
      lessIsBetter: true,
      unit: "µs",
      value: (measured) => measured.added("us_per_row", "ours"),
    },
    {
      title: `${title}: supa_audit adds times as much`,
      scenario,
      atLeast: 4,
      aim: 8,
      value: (measured) => {
        const ours = measured.added("us_per_row", "ours");
        const theirs = measured.added("us_per_row", "supa_audit");
        return ours === undefined || theirs === undefined ? undefined : theirs / ours;
      },
    },
  ];
}

function growth(title: string, scenario: string): Target {
  return {
    title: `${title}: last 1,000 of first 1,000`,
    scenario,
    atLeast: 2,
    aim: 1.2,
    lessIsBetter: true,
    value: (measured) => measured.has("ours") ? measured.median("ours", "growth") : undefined,
  };
}

function searchIndex(title: string, scenario: string): Target {
  return {
    ...lessIsBetter(`${title}: throughput lost to the search index`, 15, 5, "%"),
    scenario,
    value: (measured) => measured.has("ours") ? 100 * (1 - measured.median("ours", "ratio")) : undefined,
  };
}

function failures(title: string, scenario: string, atLeast: number): Target {
  return {
    title: `${title}: transactions that capture makes fail`,
    scenario,
    atLeast,
    aim: 0,
    lessIsBetter: true,
    unit: "%",
    value: (measured) => {
      if (!measured.has("ours")) return undefined;
      const failed = measured.total("ours", "deadlocks") + measured.total("ours", "serialization_failures");
      return 100 * failed / (failed + measured.total("ours", "transactions"));
    },
  };
}
