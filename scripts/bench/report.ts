// The bench's figures as tables to read.
import { formatTable } from "../demo/table.ts";
import type { AlertsReport } from "./alerts.ts";
import type { AnomalyReport, Scores } from "./anomaly.ts";
import { type Commit, COMMIT_NAMES } from "./cluster.ts";
import type { Machine } from "./machine.ts";
import { Measured, type Run } from "./results.ts";
import type { Scenario } from "./scenario.ts";
import type { DeliveryReport } from "./delivery.ts";
import type { DrainReport } from "./drain.ts";
import type { ExportReport } from "./export.ts";
import {
  GROWTH_COMMIT,
  GROWTH_SCENARIOS,
  type GrowthReport,
  type GrowthRun,
  roundRatios,
  throughput,
} from "./growth.ts";
import { groupTimes, type SearchReport, type SizeReport } from "./search.ts";
import type { LoginReport } from "./login.ts";
import type { ReportsReport } from "./reports.ts";
import type { SealReport } from "./seal.ts";
import type { ViewerReport } from "./viewer.ts";
import { PROFILE_NAMES } from "./nab.ts";
import { mean, median, percentile, sum } from "./statistics.ts";
import type { Judged } from "./targets.ts";
import { type Variant, VARIANTS } from "./variants.ts";
import type { VerifyReport } from "./verify.ts";

const NOT_MEASURED = "–";

type Row = { title: string; measured: Measured; variant: Variant };
type Column = { title: string; cell(row: Row): string };

const TABLES: { kind: Scenario["kind"]; title: string; columns: Column[] }[] = [
  {
    kind: "writers",
    title: "Writers",
    columns: [
      figure("tps", "tps", 0),
      figure("p50 ms", "p50_ms", 2),
      figure("p95 ms", "p95_ms", 2),
      { title: "of unaudited", cell: ({ measured, variant }) => fixed(measured.ratio("tps", variant, "unaudited"), 2) },
      {
        title: "of supa_audit",
        cell: ({ measured, variant }) => fixed(measured.ratio("tps", variant, "supa_audit"), 2),
      },
      figure("WAL B/tx", "wal_bytes", 0),
      total("deadlocks", "deadlocks"),
      total("serialization", "serialization_failures"),
    ],
  },
  {
    kind: "bulk",
    title: "Bulk",
    columns: [
      figure("µs/row", "us_per_row", 1),
      { title: "added µs/row", cell: ({ measured, variant }) => fixed(measured.added("us_per_row", variant), 1) },
    ],
  },
  {
    kind: "long",
    title: "One long transaction",
    columns: [
      figure("first 1,000 µs each", "first_us", 0),
      figure("last 1,000 µs each", "last_us", 0),
      figure("growth", "growth", 2),
    ],
  },
  {
    kind: "idle",
    title: "Beside an idle transaction that wrote in the same organisation",
    columns: [
      figure("tps without it", "tps_without", 0),
      figure("tps with it", "tps_with", 0),
      figure("ratio", "ratio", 2),
    ],
  },
  {
    kind: "isolation",
    title: "16 writers, each transaction for both of two organisations in changing order",
    columns: [
      figure("tps", "tps", 0),
      total("transactions", "transactions"),
      total("deadlocks", "deadlocks"),
      total("serialization failures", "serialization_failures"),
    ],
  },
  {
    kind: "index",
    title: "Writers beside the job that keeps the search index up to date",
    columns: [
      figure("tps without it", "tps_without", 0),
      figure("tps with it", "tps_with", 0),
      figure("ratio", "ratio", 2),
      total("entries indexed", "indexed"),
      figure("of these after it", "behind", 0),
      figure("CPU µs/entry", "index_us", 0),
    ],
  },
];

export function formatMachine({ cores, processor, postgres, generator }: Machine): string {
  return `Machine: ${cores} cores (${processor}), PostgreSQL ${postgres}, load by ${generator} on the same machine`;
}

export function formatCapture(runs: Run[], scenarios: Scenario[]): string {
  const commits = [...new Set(runs.map(({ commit }) => commit))];
  const tables = commits.flatMap((commit) => TABLES.map((table) => formatKind(runs, scenarios, commit, table)));
  return tables.filter((table) => table !== undefined).join("\n\n");
}

export function formatGrowth({ entries, month, bytes, runs, verified, targets }: GrowthReport): string {
  const size = entries.toLocaleString("en");
  const rows = GROWTH_SCENARIOS.map(({ name, title }, index) => {
    const own = (log: GrowthRun["log"]) => runs.filter((run) => run.scenario === name && run.log === log);
    const both = (digits: number, metric: (run: GrowthRun) => number | undefined) =>
      (["empty", "large"] as const).map((log) => fixed(median(own(log).map((run) => metric(run) ?? NaN)), digits));
    return [
      title,
      ...both(0, ({ metrics }) => throughput(metrics)),
      fixed(targets[index]!.value, 3),
      roundRatios(runs, name).map((ratio) => fixed(ratio, 2)).join(" "),
      both(2, ({ metrics }) => metrics.p95_ms).join(" → "),
      both(0, ({ metrics }) => metrics.wal_bytes).join(" → "),
    ];
  });
  const whole = Object.values(bytes).reduce((a, b) => a + b);
  return [
    `Capture; commit: ${COMMIT_NAMES[GROWTH_COMMIT]}\n` + formatTable(
      ["rows a second", "in an empty log", `in one of ${size}`, "ratio", "of each round", "p95 ms", "WAL B/tx"],
      rows,
    ),
    formatTable(["of the large log", "bytes an entry"], [
      ...Object.entries(bytes).map(([part, each]) => [part, fixed(each, 0)]),
      ["all", fixed(whole, 0)],
    ]),
    `${month.toLocaleString("en")} of its entries are of the month that the load writes to. At the end all ` +
    `${verified.entries.toLocaleString("en")} were verified, in ${fixed(verified.seconds, 0)} s`,
  ].join("\n\n");
}

export function formatVerify({ sizes }: VerifyReport): string {
  const rows = sizes.map(({ entries, sql_seconds, typescript_seconds }) => [
    String(entries),
    fixed(sql_seconds, 2),
    fixed(sql_seconds * 1e6 / entries, 2),
    fixed(typescript_seconds, 2),
    fixed(typescript_seconds * 1e6 / entries, 2),
  ]);
  return formatTable(["entries", "SQL s", "per million", "TypeScript s", "per million"], rows);
}

export function formatSearch({ sizes }: SearchReport): string {
  return sizes.map(formatSize).join("\n\n");
}

function formatSize({ entries, organization, classes, depth, overhead }: SizeReport): string {
  const times = (title: string, found: string, ascending: number[], cpu: string) => [
    title,
    found,
    ...[0.5, 0.95, 0.99].map((fraction) => fixed(percentile(ascending, fraction), 2)),
    cpu,
  ];
  const groups = [...new Set(classes.map(({ group }) => group))];
  const parts = groups.map((group) => {
    const own = classes.filter((each) => each.group === group);
    const rows = own.map((each) => times(each.title, fixed(each.entries, 1), each.milliseconds, fixed(each.cpu, 2)));
    const all = groupTimes(classes, group);
    const header = [`${group}: ${all.length} searches`, "entries", "p50 ms", "p95 ms", "p99 ms", "CPU ms"];
    return formatTable(header, [...rows, times("all", "", all, fixed(mean(own.map(({ cpu }) => cpu)), 2))]);
  });
  const waited = sum(classes.map((each) => each.waited)) / sum(classes.map((each) => mean(each.milliseconds)));
  if (waited > 0.05) {
    parts.push(
      `The machine was shared: of their time the searches waited ${fixed(100 * waited, 0)} % for a processor.`,
    );
  }
  parts.push(formatTable(
    ["by cursor", "page", "ms", "page 1 ms", "ratio"],
    depth.map(({ title, pages, first, last, ratio }) => [
      title,
      String(pages),
      fixed(last, 2),
      fixed(first, 2),
      fixed(ratio, 3),
    ]),
  ));
  if (overhead !== undefined) {
    parts.push(formatTable(
      ["one search, p50 ms", "SQL alone", "function", "added", "and the gateway's stand-in"],
      overhead.map(({ title, sql, direct, added, gateway }) => [
        title,
        ...[sql, direct, added, gateway].map((each) => fixed(each, 2)),
      ]),
    ));
  }
  const title = `First pages in an organisation of ${organization.toLocaleString("en")} entries ` +
    `among ${entries.toLocaleString("en")}`;
  return [title, ...parts].join("\n\n");
}

export function formatExport({ entries, psql, variations }: ExportReport): string {
  const row = (title: string, seconds: number, bytes: number, rest: string[]) => [
    title,
    fixed(seconds, 2),
    fixed(entries / seconds / 1000, 0),
    fixed(bytes / 2 ** 20, 0),
    fixed(bytes / 2 ** 20 / seconds, 0),
    ...rest,
  ];
  const rows = variations.map(({ title, rounds }) =>
    row(title, median(rounds.map(({ seconds }) => seconds)), rounds[0]!.bytes, [
      String(rounds[0]!.parts),
      fixed(median(rounds.map(({ cpu_seconds }) => cpu_seconds)), 2),
      fixed(median(rounds.map(({ idle_mb }) => idle_mb)), 0),
      fixed(Math.max(...rounds.map(({ memory_mb }) => memory_mb)), 0),
    ])
  );
  const header = ["", "seconds", "1,000 entries/s", "MB", "MB/s", "parts", "function's CPU s", "idle MB", "most MB"];
  return `${entries.toLocaleString("en")} entries, medians\n` +
    formatTable(header, [
      row("psql \\copy", median(psql.seconds), psql.bytes, ["1", NOT_MEASURED, NOT_MEASURED, NOT_MEASURED]),
      ...rows,
    ]);
}

export function formatSeal({ backlog, waiting, beside, purged, verified }: SealReport): string {
  const whole = (value: number) => value.toLocaleString("en", { maximumFractionDigits: 0 });
  const writers = beside.flatMap((turns) =>
    turns.without.map((
      without,
      round,
    ) => [
      String(turns.clients),
      String(round + 1),
      fixed(without, 0),
      fixed(turns.with[round], 0),
      fixed(turns.with[round]! / without, 3),
    ])
  );
  return [
    formatTable(["backlog", "invocations", "seconds", "entries/s", "CPU s", "CPU s/10,000", "idle MB", "most MB"], [[
      whole(backlog.entries),
      String(backlog.invocations),
      fixed(backlog.seconds, 1),
      whole(backlog.entries / backlog.seconds),
      fixed(backlog.cpu_seconds, 1),
      fixed(backlog.cpu_seconds * 10_000 / backlog.entries, 3),
      fixed(backlog.idle_mb, 0),
      fixed(backlog.memory_mb, 0),
    ]]),
    formatTable(["entry to published checkpoint, 4 writers", "tps", "p50 s", "p95 s", "most s"], [[
      whole(waiting.entries),
      fixed(waiting.tps, 0),
      ...[waiting.p50_s, waiting.p95_s, waiting.most_s].map((each) => fixed(each, 1)),
    ]]),
    formatTable(["writers", "round", "tps", "beside sealing and purging", "ratio"], writers),
    formatTable(
      ["entries", "", "seconds", "entries/s"],
      Object.entries({ "purged": purged, "verified offline": verified }).map(([title, { entries, seconds }]) => [
        whole(entries),
        title,
        fixed(seconds, 1),
        whole(entries / seconds),
      ]),
    ),
  ].join("\n\n");
}

export function formatLogin({ steps, hook, ingestions }: LoginReport): string {
  const row = (title: string, ascending: number[]) => [
    title,
    ...[0.5, 0.95, 0.99].map((fraction) => fixed(percentile(ascending, fraction), 2)),
  ];
  return [
    formatTable(["", "p50 ms", "p95 ms", "p99 ms"], [
      ...steps.flatMap((
        step,
      ) => [row(`${step.title}, not captured`, step.without), row(`${step.title}, captured`, step.with)]),
      row("hook of a failed login", hook),
    ]),
    formatTable(
      ["failed logins of a log", "batch", "events/s"],
      ingestions.map(({ title, batch, events, seconds }) => [title, String(batch), fixed(events / seconds, 0)]),
    ),
  ].join("\n\n");
}

export function formatDelivery({ latency, backlogs }: DeliveryReport): string {
  return [
    formatTable(["entries, commit to webhook", "p50 s", "p95 s", "most s"], [[
      String(latency.entries),
      ...[latency.p50_s, latency.p95_s, latency.most_s].map((each) => fixed(each, 2)),
    ]]),
    formatTable(
      ["channels", "deliveries", "invocations", "seconds", "deliveries/s", "CPU ms each", "most MB"],
      backlogs.map(({ channels, deliveries, invocations, seconds, cpu_seconds, memory_mb }) => [
        String(channels),
        String(deliveries),
        String(invocations),
        fixed(seconds, 1),
        fixed(deliveries / seconds, 0),
        fixed(1_000 * cpu_seconds / deliveries, 2),
        fixed(memory_mb, 0),
      ]),
    ),
  ].join("\n\n");
}

export function formatReports({ reports, erasures }: ReportsReport): string {
  return [
    formatTable(
      ["report", "pages", "invocations", "CPU s", "most CPU s", "most MB", "seconds", "longest section s"],
      reports.map((report) => [
        report.template,
        String(report.pages),
        String(report.invocations),
        fixed(report.cpu_seconds, 2),
        fixed(report.most_cpu_seconds, 2),
        fixed(report.memory_mb, 0),
        fixed(report.seconds, 1),
        fixed(report.longest_section_s, 1),
      ]),
    ),
    formatTable(
      ["identities erased", "seconds", "writes beside", "p50 ms", "most ms"],
      erasures.map(({ identities, seconds, writes, p50_ms, most_ms }) => [
        identities.toLocaleString("en"),
        fixed(seconds, 1),
        writes.toLocaleString("en"),
        fixed(p50_ms, 1),
        fixed(most_ms, 0),
      ]),
    ),
  ].join("\n\n");
}

export function formatViewer({ firstPages, scroll, bundle_kb }: ViewerReport): string {
  const { entries, seconds, frames, elements, heap_mb: [before, after], back_ms } = scroll;
  return [
    formatTable(
      ["first page of", "rounds", "median ms", "slowest ms"],
      firstPages.map(({ title, milliseconds }) => [
        title,
        String(milliseconds.length),
        fixed(percentile(milliseconds, 0.5), 0),
        fixed(milliseconds.at(-1)!, 0),
      ]),
    ),
    formatTable(
      ["scrolled over", "seconds", "frame p50 ms", "p95 ms", "p99 ms", "longest ms", "elements", "heap MB", "back ms"],
      [[
        `${entries.toLocaleString("en")} entries`,
        fixed(seconds, 1),
        ...[0.5, 0.95, 0.99, 1].map((fraction) => fixed(percentile(frames, fraction), 1)),
        String(elements),
        `${fixed(before, 1)} → ${fixed(after, 1)}`,
        fixed(back_ms, 0),
      ]],
    ),
    `The list page loads ${fixed(bundle_kb, 1)} kB, compressed`,
  ].join("\n\n");
}

export function formatDrain({ runs, place_us }: DrainReport): string {
  const whole = (value: number) => value.toLocaleString("en", { maximumFractionDigits: 0 });
  const rows = runs.map((run) => [
    run.kind,
    whole(run.batch),
    String(run.senders),
    whole(run.lines / run.seconds),
    whole(run.entries / run.seconds),
    fixed(run.cpu_ms, 0),
    fixed(run.memory_mb, 0),
  ]);
  return [
    formatTable(["", "batch", "senders", "lines/s", "entries/s", "CPU ms/batch", "most MB"], rows),
    `A place among 700,000 ranges: ${fixed(place_us, 0)} µs`,
  ].join("\n\n");
}

export function formatAlerts({ rules, sizes, quiet }: AlertsReport): string {
  const counts = (raised: { title: string; alerts: number }[]) =>
    raised.length === 0 ? "none" : raised.map(({ title, alerts }) => `${alerts} × ${title}`).join(", ");
  return [
    formatTable(
      [`10,000 entries, ${rules} rules`, "at one moment, s", "of days, s", "nothing new, s", "slots held"],
      sizes.map(({ entries, burst, backlog, idle, slots }) => [
        `in a log of ${entries.toLocaleString("en")}`,
        fixed(burst, 3),
        fixed(backlog, 3),
        fixed(idle, 3),
        String(slots),
      ]),
    ),
    `A month of ${quiet.organizationDays / 30} offices without incidents (${
      quiet.entries.toLocaleString("en")
    } entries with the month before): ${quiet.alerts} alerts\n  ${counts(quiet.rules)}`,
    `The demo's trace, ${quiet.trace.requests} requests in ${
      fixed(quiet.trace.hours, 2)
    } hours, shared by 12 people of ${quiet.trace.organizations} organisations\n  ${counts(quiet.trace.rules)}`,
  ].join("\n\n");
}

/** NAB's README, all 58 files; and what its own results (commit ea702d7) come to on the series here. */
const SCOREBOARD: [string, number, number, number, number, number][] = [
  ["ARTime", 74.9, 65.1, 80.4, 84.5, 79.3],
  ["Numenta HTM", 70.1, 63.1, 74.3, 79.7, 58.3],
  ["CAD OSE", 69.9, 67.0, 73.2, 83.3, 67.3],
  ["earthgecko Skyline", 58.2, 46.2, 63.9, 76.9, 62.9],
  ["KNN CAD", 58.0, 43.4, 64.8, 73.9, 57.7],
  ["Relative Entropy", 54.6, 47.6, 58.8, 52.3, 66.1],
  ["Random Cut Forest", 51.7, 38.4, 59.7, 58.9, 41.7],
  ["Twitter ADVec", 47.1, 33.6, 53.5, 65.9, 56.3],
  ["Windowed Gaussian", 39.6, 20.9, 47.4, 54.5, 47.6],
  ["Etsy Skyline", 35.7, 27.1, 44.5, 55.0, 9.4],
  ["Bayesian Changepoint", 17.7, 3.2, 32.2, 9.2, 3.3],
  ["EXPoSE", 16.4, 3.2, 26.9, 13.7, 23.9],
  ["Null", 0, 0, 0, 0, 0],
];

export function formatAnomaly(report: AnomalyReport): string {
  const { series, chosen, heldOut, leaveOneOut, variants, quiet } = report;
  const row = (title: string, scores: Scores | undefined) => [
    title,
    ...PROFILE_NAMES.map((name) => fixed(scores?.[name], 1)),
  ];
  return [
    ...(series.length === 0 ? [] : [
      formatTable(
        ["series of NAB", "windows", "found", "false alerts", "a quiet day", "standard"],
        series.map(({ name, windows, found, falseAlerts, quietDays, standard }) => [
          name,
          String(windows),
          String(found),
          String(falseAlerts),
          fixed(falseAlerts / quietDays, 3),
          fixed(standard, 1),
        ]),
      ),
      formatTable(["NAB's score", ...PROFILE_NAMES], [
        row("the six series that the numbers were chosen with", chosen),
        row("each at the threshold that is best for the other five", leaveOneOut),
        row(`${heldOut?.series ?? 5} other series, by which nothing was chosen`, heldOut?.scores),
        ...variants.slice(1).map(({ title, scores }) => row(`the six, ${title}`, scores)),
      ]),
      "NAB's scoreboard, with each detector's threshold the best for all 58 files; the last two columns are standard\n" +
      "scores of the same results on the series above. Six and five series are few: one window more or less is 5 points.\n" +
      formatTable(
        ["", "standard", "low FP", "low FN", "these six", "the other five"],
        [
          [
            "this detector, one threshold",
            NOT_MEASURED,
            NOT_MEASURED,
            NOT_MEASURED,
            fixed(chosen?.standard, 1),
            fixed(heldOut?.scores.standard, 1),
          ],
          ...SCOREBOARD.map(([name, ...scores]) => [name, ...scores.map((score) => fixed(score, 1))]),
        ],
      ),
    ]),
    formatTable(
      ["quiet tenants, made up", "tenants", "days", "alerts", "a tenant's day"],
      quiet.map(({ kind, tenants, days, alerts }) => [
        kind,
        String(tenants),
        String(days),
        String(alerts),
        fixed(alerts / tenants / days, 4),
      ]),
    ),
    `${report.hours_judged.toLocaleString("en")} hours of tenants judged in ${
      fixed(report.seconds, 0)
    } s, loading included`,
  ].join("\n\n");
}

export function formatJudged(judged: Judged[]): string {
  const rows = judged.map(({ title, value, verdict, atLeast, aim, lessIsBetter, unit }) => {
    const sign = lessIsBetter ? "≤" : "≥";
    const suffix = unit === undefined ? "" : ` ${unit}`;
    return [
      title,
      value === undefined ? NOT_MEASURED : `${Number(value.toPrecision(3))}${suffix}`,
      `${sign} ${atLeast}${suffix}`,
      `${sign} ${aim}${suffix}`,
      verdict === undefined ? "not measured" : `${verdict === "below" ? "✗" : "✓"} ${verdict}`,
    ];
  });
  return `Targets\n${formatTable(["", "measured", "at least", "aim", ""], rows)}`;
}

function formatKind(
  runs: Run[],
  scenarios: Scenario[],
  commit: Commit,
  { kind, title, columns }: (typeof TABLES)[number],
): string | undefined {
  const rows = scenarios.filter((scenario) => scenario.kind === kind).flatMap((scenario): Row[] => {
    const measured = new Measured(runs, commit, scenario.name);
    return VARIANTS.filter((variant) => measured.has(variant))
      .map((variant) => ({ title: scenario.title, measured, variant }));
  });
  if (rows.length === 0) return undefined;
  const header = ["scenario", "variant", ...columns.map((column) => column.title)];
  const cells = rows.map((row) => [row.title, row.variant, ...columns.map((column) => column.cell(row))]);
  return `${title}; commit: ${COMMIT_NAMES[commit]}\n${formatTable(header, cells)}`;
}

/** The median of the rounds. */
function figure(title: string, metric: string, digits: number): Column {
  return { title, cell: ({ measured, variant }) => fixed(measured.median(variant, metric), digits) };
}

/** Of all rounds together. */
function total(title: string, metric: string): Column {
  return { title, cell: ({ measured, variant }) => fixed(measured.total(variant, metric), 0) };
}

function fixed(value: number | undefined, digits: number): string {
  return value === undefined || Number.isNaN(value) ? NOT_MEASURED : value.toFixed(digits);
}
