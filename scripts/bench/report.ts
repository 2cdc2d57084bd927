// The bench's figures as tables to read.
import { formatTable } from "../demo/table.ts";
import { type Commit, COMMIT_NAMES } from "./cluster.ts";
import type { Machine } from "./machine.ts";
import { Measured, type Run } from "./results.ts";
import type { Scenario } from "./scenario.ts";
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
];

export function formatMachine({ cores, processor, postgres, generator }: Machine): string {
  return `Machine: ${cores} cores (${processor}), PostgreSQL ${postgres}, load by ${generator} on the same machine`;
}

export function formatCapture(runs: Run[], scenarios: Scenario[]): string {
  const commits = [...new Set(runs.map(({ commit }) => commit))];
  const tables = commits.flatMap((commit) => TABLES.map((table) => formatKind(runs, scenarios, commit, table)));
  return tables.filter((table) => table !== undefined).join("\n\n");
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
  return value === undefined ? NOT_MEASURED : value.toFixed(digits);
}
