// A rule as the editor holds it, every field as its input has it, and as the function takes it.

export type Rule = {
  id: string;
  organization_id: string;
  default: boolean;
  tuned?: boolean;
  version: number;
  name: string;
  kind: string;
  severity: string;
  enabled: boolean;
  [field: string]: unknown;
};

export const SEVERITIES = ["info", "low", "medium", "high", "critical"];
export const CHECKS = ["archive", "capture", "cron", "deliveries", "outside", "rules", "sealing", "search"];
export const DIGESTS = ["activity", "costs", "overflow"];
/** What entries are told apart by, and what is looked for in them, beside paths into details. */
export const RULE_FIELDS = [
  "action",
  "actor",
  "actor_type",
  "country",
  "email",
  "ip",
  "outcome",
  "provider",
  "request_id",
  "resource",
  "resource_id",
  "resource_type",
];

/** The fields of each kind, in the order of the form. */
export const KINDS: Record<string, string[]> = {
  event: ["match", "group_by", "hours"],
  count: ["match", "threshold", "window", "group_by", "hours"],
  distinct: ["match", "value", "threshold", "window", "group_by"],
  sum: ["match", "against", "value", "threshold", "window", "group_by", "percent"],
  sequence: ["match", "threshold", "then", "window", "group_by"],
  new_value: ["match", "value", "history", "warm_up", "allowed", "group_by"],
  travel: ["match", "group_by", "window", "speed", "distance", "allowed"],
  schedule: ["looks", "check", "limit", "digest", "weekday", "hour"],
  anomaly: ["value", "match", "group_by", "parameters"],
};
/** Kinds that look at single entries can be tried on those that there are. */
export const TRIED = Object.keys(KINDS).filter((kind) => kind !== "schedule" && kind !== "anomaly");
/** Of an anomaly, as numbers. */
export const PARAMETERS = ["score", "least_entries", "least_queries", "least_cost"];
/** What of an hour can be unusual. */
export const MEASURES = ["entries", "queries", "cost"];
const NUMBERS = ["threshold", "warm_up", "speed", "distance", "weekday", "hour"];
const TEXTS = ["match", "then", "value", "window", "history", "check", "digest", "limit"];
/** Of a default an organisation chooses these; what it is about stays. */
const TUNABLE = (
  "enabled severity quiet_period channels window threshold history warm_up allowed speed distance hours percent limit " +
  "weekday hour parameters"
).split(" ");

export type Draft = {
  name: string;
  description: string;
  kind: string;
  severity: string;
  enabled: boolean;
  /** Empty: until somebody resolves the alert. */
  quiet_period: string;
  /** null: where alerts usually go. */
  channels: string[] | null;
  group_by: string[];
  /** One a line. */
  allowed: string;
  hours: "" | "learned" | "outside";
  days: number[];
  from: string;
  to: string;
  against: "" | "budgets";
  percent: string;
  looks: "check" | "digest";
  /** The other fields, as they are typed. */
  [field: string]: unknown;
};

export function newDraft(match: string, name: string): Draft {
  return draftOf({ kind: match === "" ? "count" : "event", match, name, threshold: 3, window: "1h" });
}

export function draftOf(rule: Partial<Rule>): Draft {
  const { hours, allowed, group_by, percent, parameters = {}, quiet_period = "1h" } = rule;
  const outside = typeof hours === "object" && hours !== null
    ? hours as Pick<Draft, "days" | "from" | "to">
    : undefined;
  const typed = [...TEXTS, ...NUMBERS].map((field) => [field, String(rule[field] ?? "")]);
  const tuned = PARAMETERS.map((each) => [each, String((parameters as Record<string, unknown>)[each] ?? "")]);
  return {
    ...Object.fromEntries([...typed, ...tuned]),
    name: rule.name ?? "",
    description: String(rule.description ?? ""),
    kind: rule.kind ?? "event",
    severity: rule.severity ?? "medium",
    enabled: rule.enabled ?? true,
    quiet_period: String(quiet_period ?? ""),
    channels: rule.channels as string[] | null ?? null,
    group_by: group_by as string[] ?? [],
    allowed: (allowed as string[] | null ?? []).join("\n"),
    hours: hours === "learned" ? hours : outside === undefined ? "" : "outside",
    days: outside?.days ?? [1, 2, 3, 4, 5],
    from: outside?.from ?? "08:00",
    to: outside?.to ?? "18:00",
    against: rule.against === "budgets" ? "budgets" : "",
    percent: (percent as number[] ?? []).join(", "),
    looks: rule.digest === undefined ? "check" : "digest",
  };
}

/** The fields that the form shows: those of the kind, and of the choice made in it. */
export function fieldsOf({ kind, against, looks }: Draft): string[] {
  return KINDS[kind]!.filter((field) =>
    kind === "sum"
      ? field === "match" || field === "against" || (field === "percent") === (against === "budgets")
      : kind === "schedule"
      ? field === "looks" || ["check", "limit"].includes(field) === (looks === "check")
      : true
  );
}

/** The rule as the function takes it; what was left empty is not named. What is no number is sent as it is, and refused. */
export function ruleOf(draft: Draft): Record<string, unknown> {
  const shown = fieldsOf(draft);
  const settings = shown.map((field): [string, unknown] => [field, settingOf(draft, field)]);
  const { name, description, kind, severity, enabled, quiet_period, channels } = draft;
  return {
    name,
    description,
    kind,
    severity,
    enabled,
    quiet_period: quiet_period.trim() === "" ? null : quiet_period.trim(),
    channels,
    ...Object.fromEntries(settings.filter(([, value]) => value !== undefined)),
  };
}

function settingOf(draft: Draft, field: string): unknown {
  switch (field) {
    case "looks":
      return undefined;
    case "against":
      return draft.against || undefined;
    case "group_by": {
      const fields = draft.group_by.map((each) => each.trim()).filter((each) => each !== "");
      return draft.kind === "anomaly" && fields.length === 0 ? undefined : fields;
    }
    case "allowed": {
      const lines = draft.allowed.split("\n").map((line) => line.trim()).filter((line) => line !== "");
      return lines.length === 0 ? null : lines;
    }
    case "hours":
      if (draft.hours !== "outside") return draft.hours || undefined;
      return { days: draft.days, from: draft.from, to: draft.to };
    case "percent":
      return draft.percent.trim() === "" ? undefined : draft.percent.split(",").map(numberOf);
    case "parameters":
      return Object.fromEntries(
        PARAMETERS.filter((each) => draft[each] !== "").map((each) => [each, numberOf(String(draft[each]))]),
      );
  }
  const typed = String(draft[field] ?? "").trim();
  if (typed === "") return field === "match" && draft.kind !== "anomaly" ? "" : undefined;
  return NUMBERS.includes(field) ? numberOf(typed) : typed;
}

function numberOf(typed: string): number | string {
  const number = Number(typed);
  return typed.trim() === "" || Number.isNaN(number) ? typed : number;
}

/** What of an own rule changes: all of it, and null for what it no longer says. */
export function changesOf(rule: Rule, draft: Draft): Record<string, unknown> {
  const next = ruleOf(draft);
  const gone = rule.kind === draft.kind ? KINDS[rule.kind]!.filter((field) => field in rule && !(field in next)) : [];
  return { version: rule.version, ...next, ...Object.fromEntries(gone.map((field) => [field, null])) };
}

/** What of a default is chosen otherwise. */
export function choiceOf(rule: Rule, draft: Draft): Record<string, unknown> {
  const before = ruleOf(draftOf(rule));
  return Object.fromEntries(
    Object.entries(ruleOf(draft)).filter(([field, value]) =>
      TUNABLE.includes(field) && JSON.stringify(value) !== JSON.stringify(before[field])
    ),
  );
}

export function isTunable(field: string): boolean {
  return TUNABLE.includes(field);
}
