// What goes in and out. Requests are validated by these schemas, strictly; the same schemas make the OpenAPI document.
// What a query may say is checked in SQL, where it is read.
import { z } from "@hono/zod-openapi";

const organizationId = z.guid().openapi({
  description: "Whose log. Needed by those who read more than one.",
  example: "0190a5b2-4c3d-7e5f-8a6b-9c0d1e2f3a4b",
});
const queryString = z.string().openapi({
  description: "A query as a string.",
  example:
    'action:api_key.* -provider:openai created:>=2026-01-01 cost:>0.5 changes.limit.new:>1000 "quarterly report"',
});
const cursor = z.string().min(1).max(1000).openapi({ description: '"next" of the page or part before, unchanged.' });
const sort = z.enum(["-created_at", "created_at", "-cost", "cost"]).openapi({
  description: "The order; - puts the newest, or dearest, first. Default -created_at.",
});
export const format = z.enum(["csv", "json", "ndjson", "ocsf", "pdf"]).openapi({
  description:
    "csv: RFC 4180 with a header, safe to open in a spreadsheet. json: one object. ndjson: an object a line, " +
    "with the exact entry text, so that each can be verified. ocsf: an OCSF 1.8 event a line. pdf: a report.",
});

/** A query as a tree. SQL checks it, and names the place of an error. */
const filter = z.custom<object>(
  (value) => typeof value === "object" && value !== null && !Array.isArray(value),
  { error: "A filter is a JSON object." },
).openapi("Filter", {
  type: "object",
  description:
    'A query as a tree: {"and": […]}, {"or": […]}, {"not": …}, {"field", "op", "value"} or {"text", "prefix"}. ' +
    "Operators: eq, like, lt, lte, gt, gte, between, in, exists.",
  example: { and: [{ field: "action", op: "like", value: "api_key.*" }, { field: "cost", op: "gt", value: "0.5" }] },
});

// Requests ------------------------------------------------------------------------------------------------------------

const listOf = (what: string, example: string) =>
  z.string().regex(/^[^,]+(,[^,]+)*$/, "A list has no empty item.").openapi({
    description: `${what}; several with commas, * for any characters.`,
    example,
  });
const whole = (most: number) =>
  z.string().regex(/^\d{1,7}$/, "A whole number.").transform(Number).pipe(z.number().int().min(1).max(most))
    .openapi({ type: "integer", minimum: 1, maximum: most });
const decimal = z.string().regex(/^-?\d{1,30}(\.\d{1,30})?$/, "A decimal number.").openapi({ example: "0.5" });
const when = z.string().min(1).openapi({
  description: "2026, 2026-03, 2026-03-14, a timestamp with offset, or an age: 30m, 24h, 7d, 2w, 3mo, 1y.",
  example: "7d",
});

const filters = {
  organization_id: organizationId.optional(),
  q: queryString.optional(),
  actor: listOf("User id or e-mail address", "ada@example.com").optional(),
  action: listOf("What was done", "api_key.*,budget.changed").optional(),
  resource_type: listOf("Kind of thing it was done to", "api_key").optional(),
  resource_id: z.string().min(1).openapi({ description: "Which thing." })
    .optional(),
  provider: listOf("LLM provider", "openai").optional(),
  outcome: listOf("success, failure or denied", "failure,denied").optional(),
  cost_min: decimal.optional(),
  cost_max: decimal.optional(),
  from: when.optional(),
  to: when.optional(),
  text: z.string().min(1).openapi({
    description: "Words to find anywhere in an entry, its details included.",
  }).optional(),
  request_id: z.string().min(1).openapi({ description: "Entries of one request." }).optional(),
};

export const SearchParameters = z.strictObject({
  ...filters,
  sort: sort.optional(),
  limit: whole(200).optional(),
  cursor: cursor.optional(),
  include: z.string().regex(/^(total|facets)(,(total|facets))*$/, '"total", "facets", or both with a comma.').openapi({
    description:
      "total: how many match, estimated where they are many. facets: counts by action, actor, provider and day.",
    example: "total,facets",
  }).optional(),
});

export const SearchBody = z.strictObject({
  organization_id: organizationId.optional(),
  query: queryString.optional(),
  filter: filter.optional(),
  sort: sort.optional(),
  limit: z.int().min(1).max(200).optional(),
  cursor: cursor.optional(),
  include: z.array(z.enum(["total", "facets"])).max(2).optional(),
}).openapi("Search");

export const CostParameters = z.strictObject({
  ...filters,
  by: z.string().regex(
    /^(user|provider|model|organization|day)(,(user|provider|model|organization|day)){0,2}$/,
    "One to three of user, provider, model, organization and day, with commas.",
  ).openapi({ description: "What costs are added up by: one to three, with commas.", example: "provider,day" }),
});

export const ExportParameters = z.strictObject({
  ...filters,
  format,
  limit: whole(1_000_000).openapi({ description: "Entries of a part." })
    .optional(),
  gzip: z.enum(["true", "false"]).openapi({
    description: "true: compressed, where Accept-Encoding has gzip too.",
  }).optional(),
  export: z.guid().openapi({ description: "The export that this part continues; with cursor." }).optional(),
  cursor: cursor.optional(),
});

export const ExportBody = z.strictObject({
  organization_id: organizationId.optional(),
  query: queryString.optional(),
  filter: filter.optional(),
  format,
  gzip: z.boolean().optional(),
}).openapi("ExportRequest");

export const OrganizationParameters = z.strictObject({ organization_id: organizationId.optional() });
export const ReceiptParameters = z.strictObject({
  organization_id: organizationId.optional(),
  checkpoint: z.enum(["newest", "anchored"]).optional().openapi({
    description: "Under which checkpoint: the newest of its log (default), or the first that the anchor log has.",
  }),
});
export const NewsParameters = z.strictObject({
  organization_id: organizationId.optional(),
  since: z.iso.datetime({ offset: true }).optional().openapi({
    description: '"at" of an earlier answer, or created_at of an entry. Without it nothing is new.',
  }),
});
export const HistoryParameters = z.strictObject({
  organization_id: organizationId.optional(),
  limit: whole(200).optional(),
  cursor: cursor.optional(),
  sort: sort.optional(),
});
export const NoParameters = z.strictObject({});
export const QueryParameters = z.strictObject({ q: queryString });
export const QueryBody = z.union([z.strictObject({ query: queryString }), z.strictObject({ filter })]).openapi("Query");
export const EntryPath = z.object({
  name: z.string().regex(
    /^\d{1,9}-\d{1,18}$/,
    "An entry is named by chain and position: 3-17.",
  ).openapi({ example: "3-17" }),
});
export const ResourcePath = z.object({
  type: z.string().min(1).openapi({ example: "api_key" }),
  id: z.string().min(1),
});
export const ErasureBody = z.strictObject({
  organization_id: organizationId.optional(),
  subject: z.string().min(1).max(400).openapi({ description: "The person: user id or e-mail address." }),
  ground: z.string().regex(/^(17\(1\)\([a-f]\)|17\(3\)\([a-e]\)|other)$/, "17(1)(a) to (f), 17(3)(a) to (e), or other.")
    .optional().openapi({
      description: "Of GDPR: 17(1)(a) to 17(1)(f) erase, 17(3)(a) to 17(3)(e) record why not; other for another law.",
      example: "17(1)(a)",
    }),
  reason: z.string().max(2000).optional().openapi({ description: "In words. It stays in the log: name no address." }),
  dry_run: z.boolean().optional().openapi({ description: "Default true: only says what would go." }),
}).openapi("ErasureRequest");
const day = z.string().regex(
  /^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$/,
  "A date, or a time.",
).openapi({ description: "A date, its beginning in UTC, or a time.", example: "2026-03-01" });
const template = z.enum([
  "access_review",
  "annual",
  "attestation",
  "costs",
  "gdpr",
  "hipaa",
  "incident",
  "pci_dss",
  "policies",
  "soc2",
  "subject_access",
]).openapi({ description: "GET /audit/report-templates tells what each is about." });

export const ReportBody = z.strictObject({
  organization_id: organizationId.optional(),
  template,
  from: day.optional().openapi({
    description: "The period's beginning; without, the last whole month, quarter or year.",
  }),
  to: day.optional().openapi({ description: "The period's end: entries from before then." }),
  subject: z.string().min(1).max(400).optional().openapi({
    description: "Of subject_access: the person, by user id or e-mail address.",
  }),
  entry: z.string().regex(/^\d{1,9}-\d{1,18}$/).optional().openapi({ description: "Of incident: around this entry." }),
  actor: z.guid().optional().openapi({ description: "Of incident: only what this user did." }),
  at: day.optional().openapi({ description: "Of incident: around this time." }),
  minutes: z.int().min(1).max(10_080).optional().openapi({ description: "So much before and after. Default 60." }),
}).openapi("ReportRequest");
export const ReportPath = z.object({ id: z.guid() });
export const ScheduleBody = z.strictObject({
  organization_id: organizationId.optional(),
  template: template.exclude(["incident", "subject_access"]),
  cron: z.string().min(9).max(100).openapi({
    description: "When: minute, hour, day of month, month, day of week.",
    example: "0 6 1 * *",
  }),
  time_zone: z.string().max(100).optional().openapi({ description: "Default UTC.", example: "Europe/Berlin" }),
  channels: z.array(z.guid()).max(20).nullable().optional().openapi({
    description:
      "Who is told, of the organisation's channels; without, its default ones; nobody where the list is empty.",
  }),
}).openapi("ReportScheduleRequest");
export const ScheduleChange = z.strictObject({ paused: z.boolean() }).openapi("ReportScheduleChange");
export const ErasurePath = z.object({ id: z.guid() });
export const ExportPath = z.object({ id: z.guid() });
export const ManifestPath = ExportPath.extend({ file: z.enum(["manifest.json", "manifest.note"]) });

const channelFields = {
  name: z.string().min(1).max(100),
  default: z.boolean().optional().openapi({
    description: "Whether alerts go there whose rule names no channels. Default true.",
  }),
  personal: z.boolean().optional().openapi({
    description: "Whether e-mail and IP addresses may be in its messages. Default false: they are taken out.",
  }),
};
const url = z.string().max(2_000).openapi({ example: "https://hooks.example.com/audit" });
const mailbox = z.string().max(400);
const to = z.array(mailbox).min(1).max(20);
const host = z.string().max(253);
const port = z.int().openapi({ description: "465 or 2465 (TLS), or 2587 (STARTTLS)." });
const secretText = z.string().min(1).max(500).openapi({ description: "Kept in the Vault, and never shown." });
const newChannel = { organization_id: organizationId.optional(), ...channelFields };

export const ChannelBody = z.discriminatedUnion("kind", [
  z.strictObject({ ...newChannel, kind: z.literal("webhook"), url }),
  z.strictObject({
    ...newChannel,
    kind: z.literal("slack"),
    url: url.openapi({ description: "Of Slack's incoming webhook. Kept in the Vault, and never shown." }),
  }),
  z.strictObject({
    ...newChannel,
    kind: z.literal("email"),
    to,
    from: mailbox.optional(),
    api: url.optional().openapi({ description: "An API in Resend's form. Default Resend's own." }),
    key: secretText.optional().openapi({ description: "Of the API; default the project's. Kept in the Vault." }),
  }),
  z.strictObject({
    ...newChannel,
    kind: z.literal("smtp"),
    to,
    from: mailbox,
    host,
    port,
    username: z.string().min(1).max(500),
    password: secretText,
  }),
]).openapi("NewChannel");

export const ChannelChange = z.strictObject({
  ...channelFields,
  url,
  to,
  from: mailbox,
  api: url,
  key: secretText,
  host,
  port,
  username: z.string().min(1).max(500),
  password: secretText,
}).partial().openapi("ChannelChange");

export const ChannelPath = z.object({ id: z.guid() });
export const DeliveryPath = z.object({ id: z.guid() });
export const DeliveryParameters = z.strictObject({
  organization_id: organizationId.optional(),
  channel: z.guid().optional(),
  state: z.enum(["waiting", "delivered", "dead"]).optional(),
});

const severity = z.enum(["info", "low", "medium", "high", "critical"]);
const kind = z.enum(["event", "count", "distinct", "sum", "sequence", "new_value", "travel", "schedule", "anomaly"]);
const duration = z.string().regex(/^\d{1,8}[smhdwy]$/, "A length of time: 30s, 10m, 1h, 14d.").openapi({
  example: "1h",
});
const query = z.union([queryString, filter]);
const ruleTests = z.array(z.strictObject({
  name: z.string().min(1).max(200),
  entries: z.array(z.looseObject({ action: z.string() })).max(1000).openapi({
    description: 'Entries in short form: action, actor, ip, email, resource ("type/id"), provider, cost, details; ' +
      '"after" is the time since the first ("10m"), "times" and "every" repeat one.',
  }),
  alerts: z.int().min(0),
})).max(20);

/** What can be said of a rule; which kinds have which fields is checked in SQL, once. */
const ruleFields = {
  name: z.string().min(1).max(200),
  description: z.string().max(2000),
  kind,
  severity,
  enabled: z.boolean(),
  quiet_period: duration.nullable().openapi({
    description: "An alert is over when nothing happened for so long; null: when somebody resolves it. Default 1h.",
  }),
  channels: z.array(z.guid()).max(20).nullable().openapi({ description: "null: the organisation's default channels." }),
  match: query.openapi({ description: "Which entries it is about." }),
  group_by: z.array(z.string()).max(3).openapi({
    description:
      "Told apart by: actor, ip, email, country, action, outcome, provider, resource, …, or paths into details.",
  }),
  window: duration.openapi({ description: "It slides over the entries' own time." }),
  threshold: z.number().openapi({ description: "How much must come together." }),
  value: z.string().openapi({
    description:
      "What is counted once (distinct), added up (sum), new (new_value), or unusual: entries, queries or cost (anomaly).",
  }),
  then: query.openapi({ description: "What follows the matches of a sequence." }),
  history: duration.openapi({ description: "What was not seen for so long is new. Default 14d." }),
  warm_up: z.int().openapi({ description: "Days of activity before anything is new. Default 5." }),
  allowed: z.array(z.string()).max(1000).nullable().openapi({
    description:
      "Every other value raises an alert at once (new_value); countries and networks that count for nothing (travel).",
  }),
  speed: z.number().openapi({ description: "Kilometres an hour that nobody travels faster than. Default 1000." }),
  distance: z.number().openapi({ description: "Kilometres that are no journey. Default 500." }),
  hours: z.union([z.literal("learned"), z.looseObject({})]).openapi({
    description:
      '"learned", or {"days": [1, 2, 3, 4, 5], "from": "08:00", "to": "18:00"}: only what is outside counts.',
  }),
  against: z.literal("budgets"),
  percent: z.array(z.number()).max(10),
  check: z.string(),
  digest: z.string(),
  limit: duration,
  weekday: z.int(),
  hour: z.int(),
  parameters: z.looseObject({}).openapi({
    description:
      "Of an anomaly: score (4: how many times as far as usual), least_entries, least_queries (50), least_cost (10).",
  }),
};
const optionalRuleFields = z.strictObject(ruleFields).partial().shape;

export const RuleDraft = z.strictObject({
  ...optionalRuleFields,
  organization_id: z.guid(),
  name: ruleFields.name,
  kind,
  tests: ruleTests.optional(),
}).openapi("RuleDraft");
/** What a change can take away, by null. */
const clearable = z.strictObject({
  match: ruleFields.match.nullable(),
  group_by: ruleFields.group_by.nullable(),
  window: ruleFields.window.nullable(),
  threshold: ruleFields.threshold.nullable(),
  value: ruleFields.value.nullable(),
  history: ruleFields.history.nullable(),
  warm_up: ruleFields.warm_up.nullable(),
  speed: ruleFields.speed.nullable(),
  distance: ruleFields.distance.nullable(),
  hours: ruleFields.hours.nullable(),
  against: ruleFields.against.nullable(),
  percent: ruleFields.percent.nullable(),
  check: ruleFields.check.nullable(),
  limit: ruleFields.limit.nullable(),
  digest: ruleFields.digest.nullable(),
  weekday: ruleFields.weekday.nullable(),
  hour: ruleFields.hour.nullable(),
}).partial().shape;
export const RuleChanges = z.strictObject({
  ...optionalRuleFields,
  ...clearable,
  version: z.int().optional().openapi({ description: "Changes it only if it is still this version." }),
  tests: ruleTests.optional(),
}).openapi("RuleChanges");
export const RuleChoice = z.strictObject({
  organization_id: z.guid(),
  enabled: ruleFields.enabled.optional(),
  severity: severity.optional(),
  quiet_period: optionalRuleFields.quiet_period,
  channels: optionalRuleFields.channels,
  window: optionalRuleFields.window,
  threshold: optionalRuleFields.threshold,
  history: optionalRuleFields.history,
  warm_up: optionalRuleFields.warm_up,
  allowed: optionalRuleFields.allowed,
  speed: optionalRuleFields.speed,
  distance: optionalRuleFields.distance,
  hours: optionalRuleFields.hours,
  percent: optionalRuleFields.percent,
  limit: optionalRuleFields.limit,
  weekday: optionalRuleFields.weekday,
  hour: optionalRuleFields.hour,
  parameters: optionalRuleFields.parameters,
}).openapi("RuleChoice");
const tried = {
  organization_id: organizationId.optional(),
  id: z.guid().optional().openapi({ description: "A rule that there is; or rule." }),
  rule: z.strictObject({ ...optionalRuleFields, name: ruleFields.name, kind }).optional(),
};
export const RulePreviewBody = z.strictObject({ ...tried, from: when.optional(), to: when.optional() }).openapi(
  "RulePreviewRequest",
);
export const RuleTestBody = z.strictObject({ ...tried, tests: ruleTests.optional() }).openapi("RuleTestRequest");
export const RulePath = z.object({ id: z.guid() });

const searchFields = {
  name: z.string().min(1).max(100),
  query: queryString,
  shared: z.boolean().openapi({ description: "For everybody who reads the organisation's log; admins decide." }),
};
export const SavedSearchBody = z.strictObject({
  organization_id: organizationId.optional(),
  ...searchFields,
  shared: searchFields.shared.optional(),
}).openapi("NewSavedSearch");
export const SavedSearchChange = z.strictObject(searchFields).partial().openapi("SavedSearchChange");
export const SavedSearchPath = z.object({ id: z.guid() });

export const AlertParameters = z.strictObject({
  organization_id: organizationId.optional(),
  state: z.enum(["open", "acknowledged", "silenced", "resolved", "unresolved"]).optional(),
  severity: severity.optional(),
  rule_id: z.guid().optional(),
  limit: whole(200).optional(),
  cursor: cursor.optional(),
});
export const AlertPath = z.object({ id: z.guid() });
const note = z.string().max(2000).optional().openapi({ description: "Stands in the entry." });
export const AlertNote = z.strictObject({ note });
export const AlertSilence = z.strictObject({
  until: z.string().min(2).openapi({ description: "A timestamp with offset, or a length of time.", example: "8h" }),
  note,
});

export const SettingsChange = z.strictObject({
  organization_id: organizationId.optional(),
  ip_addresses: z.enum(["on", "truncated", "off"]).optional().openapi({
    description: "How client addresses are kept from now on: whole, cut to their network, or not at all.",
  }),
  query_text: z.boolean().optional().openapi({ description: "Whether the text of queries is recorded from now on." }),
  time_zone: z.string().min(1).max(100).optional().openapi({
    description: "In which the organisation works; by its IANA name.",
    example: "Europe/Berlin",
  }),
}).openapi("SettingsChange");
const days = z.int().min(90).max(36_500).nullable();
export const RetentionBody = z.strictObject({
  organization_id: organizationId.optional(),
  database_days: days.openapi({ description: "Days in the database; null for ever." }),
  archive_days: days.openapi({ description: "Days in the archive, no shorter; null for ever." }),
}).openapi("RetentionChange");
const holdName = z.string().min(1).max(200).openapi({ description: "The matter, a case number." });
export const HoldBody = z.strictObject({
  organization_id: organizationId.optional(),
  name: holdName,
  reason: z.string().min(1).max(2000),
}).openapi("NewHold");
export const HoldRelease = z.strictObject({ organization_id: organizationId.optional(), name: holdName })
  .openapi("HoldRelease");
export const AuditorBody = z.strictObject({
  organization_id: organizationId.optional(),
  user_id: z.guid().openapi({ description: "Whom, by the user id. Auth's address book is not searched." }),
  expires_at: z.iso.datetime({ offset: true }).openapi({ description: "Until when.", example: "2027-01-31T00:00:00Z" }),
  sees_identities: z.boolean().optional().openapi({
    description: "Whether e-mail, IP addresses and user agents are shown. Default false.",
  }),
}).openapi("NewAuditor");
export const AuditorPath = z.object({ user_id: z.guid() });

// Responses -----------------------------------------------------------------------------------------------------------

const text = z.string().nullable();

export const Entry = z.strictObject({
  name: z.string().openapi({ description: "chain-seq: unique within the organisation.", example: "3-17" }),
  organization_id: z.guid(),
  chain: z.int(),
  seq: z.int(),
  created_at: z.iso.datetime({ precision: 6 }),
  action: z.string(),
  outcome: z.enum(["success", "failure", "denied"]),
  resource_type: text,
  resource_id: text,
  created_by: z.guid().nullable(),
  actor_type: z.enum(["user", "api_key", "service", "database", "system"]),
  email: text,
  ip_address: text,
  user_agent: text,
  provider: text,
  cost: text.openapi({ description: "Exact digits." }),
  request_id: text,
  details: z.record(z.string(), z.unknown()),
  prev_hash: z.string().regex(/^[0-9a-f]{64}$/),
  hash: z.string().regex(/^[0-9a-f]{64}$/),
}).openapi("Entry");

const count = z.strictObject({ value: z.string().nullable(), count: z.int() });

export const Page = z.strictObject({
  organization_id: z.guid(),
  query: z.string().openapi({ description: "The whole search as a string, in its canonical form." }),
  filter,
  sort,
  entries: z.array(Entry),
  next: text.openapi({ description: "Cursor of the next page; null on the last." }),
  archived_before: z.iso.datetime({ precision: 6 }).nullable().openapi({
    description: "Entries up to then may be in the archive only, where no search finds them; null where none are.",
  }),
  total: z.strictObject({ value: z.int(), exact: z.boolean() }).optional(),
  facets: z.strictObject({
    of: z.int().openapi({ description: "How many matches were counted." }),
    complete: z.boolean().openapi({ description: "Whether those are all." }),
    action: z.array(count),
    actor: z.array(count.extend({ email: text })),
    provider: z.array(count),
    day: z.array(count),
  }).optional(),
}).openapi("Page");

export const EntryView = z.strictObject({
  entry: Entry,
  entry_text: z.string().openapi({ description: "The exact bytes that the hash is over." }),
  place: z.strictObject({
    country: z.string().openapi({ description: "ISO 3166-1 alpha-2." }),
    region: text,
    city: text,
    attribution: text.openapi({ description: "Whose data says so, and under which licence: to be shown beside it." }),
  }).nullable().openapi({ description: "Where the address is; null where you do not see it, or nobody knows." }),
  previous: Entry.nullable(),
  next: Entry.nullable(),
  request: z.array(Entry).openapi({ description: "Entries of the same request." }),
  proof: z.looseObject({ state: z.string() }),
}).openapi("EntryView");

export const BothForms = z.strictObject({ query: z.string(), filter }).openapi("BothForms");

export const Costs = z.strictObject({
  by: z.array(z.enum(["user", "provider", "model", "organization", "day"])),
  query: z.string(),
  filter,
  currency_note: z.string().optional(),
  rows: z.array(z.strictObject({
    user: text.optional(),
    email: text.optional(),
    provider: text.optional(),
    model: text.optional(),
    organization: text.optional(),
    day: text.optional(),
    cost: z.string().openapi({ description: "Exact digits." }),
    entries: z.int(),
  })),
  total: z.strictObject({ cost: z.string(), entries: z.int() }),
}).openapi("Costs");

export const News = z.strictObject({
  count: z.int().openapi({ description: "At most 100; your own reading of the log is not counted." }),
  more: z.boolean(),
  access: z.enum(["all", "own"]),
  at: z.iso.datetime({ precision: 6 }),
}).openapi("News");

export const Access = z.strictObject({
  user_id: z.guid(),
  organizations: z.array(z.strictObject({
    organization_id: z.guid(),
    access: z.enum(["all", "own"]),
    as: z.enum(["admin", "member", "auditor"]),
    name: z.string().optional().openapi({ description: "What the application calls it, where it does." }),
    time_zone: z.string().openapi({ description: "In which the organisation works.", example: "Europe/Berlin" }),
    until: z.iso.datetime({ precision: 6 }).optional().openapi({ description: "When an auditor's access ends." }),
  })),
}).openapi("Access");

const ExportPart = z.strictObject({
  part: z.int(),
  entries: z.int(),
  bytes: z.int().nullable(),
  sha256: text,
  first: text,
  last: text,
  complete: z.boolean(),
  path: text.openapi({ description: "Where it lies in Storage, in bucket audit-exports." }),
  url: z.string().optional().openapi({ description: "Where it can be downloaded for one hour." }),
});

const exportFields = {
  id: z.guid(),
  organization_id: z.guid(),
  format,
  gzip: z.boolean(),
  query: z.string(),
  filter,
  state: z.enum(["streaming", "queued", "running", "done", "failed", "cancelled"]),
  requested_by: z.guid().nullable(),
  requested_at: z.string(),
  error: text,
  entries_done: z.int(),
  parts: z.array(ExportPart),
};

export const ExportStatus = z.strictObject({
  ...exportFields,
  manifest: z.looseObject({}),
  manifest_note: text.openapi({ description: "The signed note over the manifest; null until it is signed." }),
}).openapi("Export");
export const ExportList = z.strictObject({ organization_id: z.guid(), exports: z.array(z.strictObject(exportFields)) })
  .openapi("Exports");

export const Channel = z.strictObject({
  id: z.guid(),
  organization_id: z.guid(),
  name: z.string(),
  kind: z.enum(["webhook", "slack", "email", "smtp"]),
  default: z.boolean(),
  personal: z.boolean(),
  host: z.string().openapi({ description: "Where its messages go." }),
  recipients: z.int(),
  created_at: z.string(),
  succeeded_at: text.openapi({ description: "When it last took a message, to some seconds." }),
  failures: z.int().openapi({ description: "How many times in a row it took none." }),
  last_error: text,
  disabled_at: text,
  disabled_reason: text,
  old_secret_until: text.openapi({ description: "Until when messages are signed with the old secret too." }),
  config: z.looseObject({}).optional().openapi({ description: "Its settings without secrets; for admins." }),
  secret: z.string().optional().openapi({
    description: "The signing secret of a webhook that was just made or rotated. It is shown this once.",
  }),
}).openapi("Channel");
export const ChannelList = z.strictObject({ organization_id: z.guid(), channels: z.array(Channel) }).openapi(
  "Channels",
);

export const Delivery = z.strictObject({
  id: z.guid(),
  organization_id: z.guid(),
  channel: z.guid(),
  alert: z.guid().nullable(),
  type: z.string().openapi({ example: "alert.opened" }),
  state: z.enum(["waiting", "delivered", "dead"]),
  attempts: z.int().openapi({ description: "How many failed." }),
  last_error: text,
  created_at: z.string(),
  settled_at: text,
  next_try_at: text,
}).openapi("Delivery");
export const DeliveryList = z.strictObject({ organization_id: z.guid(), deliveries: z.array(Delivery) })
  .openapi("Deliveries");

const hold = z.strictObject({ name: z.string(), of: z.enum(["organization", "project"]), placed_at: z.string() });

export const ErasureScope = z.strictObject({
  dry_run: z.literal(true),
  organization_id: z.guid(),
  subject: text.openapi({ description: "The user id; null where only the address is known." }),
  identities: z.int(),
  personal_values: z.int(),
  exports: z.int().openapi({ description: "Exports that can hold the person: their files are removed." }),
  entries_kept: z.int().openapi({ description: "Entries of the person: they stay, with the user id and commitments." }),
  entries_with_address: z.strictObject({ count: z.int(), names: z.array(z.string()) }).openapi({
    description: "Entries that hold an address in plain text. Entries never change: these stay, and are told.",
  }),
  holds: z.array(hold).openapi({ description: "Legal holds in the way." }),
  backups_expire_after_days: z.int(),
}).openapi("ErasureScope");

export const Erasure = z.strictObject({
  id: z.guid(),
  organization_id: z.guid(),
  subject: text,
  ground: z.string(),
  reason: text,
  requested_by: text,
  requested_at: z.string(),
  state: z.enum(["values", "identities", "settling", "files", "verifying", "done", "refused"]),
  until: z.string().openapi({ description: "What was recorded later is not part of it." }),
  erased: z.record(z.string(), z.int()),
  holds: z.array(hold),
  erased_at: text,
  entry: text.openapi({ description: "Name of the subject.erased entry." }),
  remains: z.strictObject({
    entries: z.int(),
    entries_with_address: z.array(z.string()),
    elsewhere: z.record(z.string(), z.int()).openapi({
      description: "Tables that still name an address, and how many rows.",
    }),
  }).nullable().openapi({ description: "What could not go." }),
  verified_at: text,
  was_verified: z.boolean().nullable(),
  certified: z.boolean().openapi({ description: "Whether the certificate is signed." }),
}).openapi("Erasure");
export const ErasureList = z.strictObject({ organization_id: z.guid(), erasures: z.array(Erasure) }).openapi(
  "Erasures",
);

const storedFile = z.strictObject({
  name: z.string(),
  bytes: z.int(),
  sha256: z.string(),
  path: z.string().openapi({ description: "Where it lies in Storage, in bucket audit-exports." }),
  url: z.string().optional().openapi({ description: "Where it can be downloaded for one hour." }),
});

export const ReportStatus = z.strictObject({
  id: z.guid(),
  organization_id: z.guid(),
  template: z.string(),
  title: z.string(),
  parameters: z.record(z.string(), z.string()),
  from: z.string(),
  to: z.string(),
  requested_by: text,
  requested_at: z.string(),
  schedule: text,
  state: z.enum(["queued", "running", "done", "failed", "withdrawn"]),
  steps_done: z.int(),
  steps: z.int(),
  error: text,
  generated_at: text,
  content_sha256: text.openapi({ description: "The same for the same period and entries." }),
  files: z.array(storedFile),
}).openapi("ReportStatus");
export const ReportList = z.strictObject({ organization_id: z.guid(), reports: z.array(ReportStatus) }).openapi(
  "Reports",
);
export const Templates = z.strictObject({
  templates: z.array(z.strictObject({
    template: z.string(),
    title: z.string(),
    framework: z.string(),
    about: z.string(),
    period: z.string(),
  })),
}).openapi("ReportTemplates");
export const Schedule = z.strictObject({
  id: z.guid(),
  organization_id: z.string().openapi({ description: "The nil UUID for a report about each organisation." }),
  template: z.string(),
  cron: z.string(),
  time_zone: z.string(),
  channels: z.array(z.string()).nullable(),
  created_by: text,
  created_at: z.string(),
  next_at: text,
  last_at: text,
  paused_at: text,
}).openapi("ReportSchedule");
export const ScheduleList = z.strictObject({ organization_id: z.guid(), schedules: z.array(Schedule) })
  .openapi("ReportSchedules");

export const Rule = z.strictObject({
  ...optionalRuleFields,
  id: z.guid(),
  organization_id: z.guid().openapi({ description: "The nil UUID for a default." }),
  default: z.boolean(),
  tuned: z.boolean().optional().openapi({ description: "Whether the organisation has tuned this default." }),
  version: z.int(),
  changed_at: z.string(),
}).openapi("Rule");
export const RuleList = z.strictObject({ organization_id: z.guid(), rules: z.array(Rule) }).openapi("Rules");

export const RulePreview = z.strictObject({
  organization_id: z.guid(),
  from: z.string(),
  to: z.string(),
  read_from: z.string().openapi({
    description: "From where on entries were read, for windows that begin before from.",
  }),
  next: text.openapi({ description: "Where to go on; null where all was looked at." }),
  alerts: z.int(),
  would_fire: z.array(z.strictObject({
    first_seen_at: z.string(),
    last_seen_at: z.string(),
    group: z.string(),
    occurrences: z.int(),
    seen: z.number().nullable(),
    entries: z.array(z.string()),
  })),
}).openapi("RulePreview");
export const RuleTests = z.strictObject({
  tests: z.array(z.strictObject({ name: z.string(), expected: z.int(), alerts: z.int(), passed: z.boolean() })),
}).openapi("RuleTests");

export const Alert = z.strictObject({
  id: z.guid(),
  organization_id: z.guid(),
  rule_id: z.guid(),
  group: z.string().openapi({ description: "What it is about, as JSON. Addresses are commitments of identities." }),
  severity,
  title: z.string(),
  reason: z.looseObject({}).openapi({ description: "What was seen, and what the rule expects." }),
  state: z.enum(["open", "acknowledged", "silenced", "resolved"]),
  opened_at: z.string(),
  first_seen_at: z.string(),
  last_seen_at: z.string(),
  resolved_at: text,
  silenced_until: text,
  occurrences: z.int(),
  entries: z.array(z.string()).openapi({ description: "The first entries that caused it, by name." }),
}).openapi("Alert");
export const AlertList = z.strictObject({ organization_id: z.guid(), alerts: z.array(Alert), next: text }).openapi(
  "Alerts",
);

const keptFor = { database_days: z.int().nullable(), archive_days: z.int().nullable() };
const Retention = z.strictObject({
  ...keptFor,
  chosen: z.boolean().openapi({
    description: "Whether the organisation has chosen; else the project's default holds.",
  }),
  next: z.strictObject({ ...keptFor, at: z.string() }).nullable().openapi({
    description: "What was chosen and waits; null where nothing does.",
  }),
  shorten_after: z.int().openapi({ description: "How many days a shorter period waits." }),
  oldest_in_database: text,
  oldest_in_archive: text,
  holds: z.array(hold.extend({ reason: z.string() })),
}).openapi("Retention");

export const Settings = z.strictObject({
  organization_id: z.guid(),
  ip_addresses: z.enum(["on", "truncated", "off"]),
  query_text: z.boolean(),
  time_zone: z.string(),
  chosen: z.array(z.string()).openapi({ description: "Those that are the organisation's own choice." }),
  retention: Retention,
  auditors: z.array(z.strictObject({
    user_id: z.guid(),
    email: text.openapi({ description: "As this log knows the person." }),
    expires_at: z.string(),
    expired: z.boolean(),
    sees_identities: z.boolean(),
    granted_by: text,
    granted_at: z.string(),
  })),
}).openapi("Settings");

const state = z.enum(["well", "wrong", "missing"]);
export const Status = z.strictObject({
  organization_id: z.guid(),
  at: z.string(),
  capture: z.strictObject({
    state,
    tables: z.int().openapi({ description: "How many tables of the project are, or should be, captured." }),
    broken: z.int().openapi({ description: "How many of them are not captured whole. audit.coverage says which." }),
  }),
  sealing: z.strictObject({
    state,
    waiting: z.int().openapi({ description: "Entries that are not sealed yet." }),
    since: text.openapi({ description: "Since when the oldest of them waits." }),
    published_at: text,
    origin: text,
    size: z.int().nullable(),
    root: text,
  }),
  verification: z.strictObject({ state, was_verified: z.boolean().nullable(), verified_at: text, begun_at: text }),
  findings: z.strictObject({
    state,
    open: z.array(z.strictObject({
      kind: z.string(),
      subject: z.string(),
      seen: z.int(),
      first_seen_at: z.string(),
      last_seen_at: z.string(),
    })).openapi({ description: "Of the organisation, 100 at most." }),
    of_project: z.int().openapi({ description: "How many concern the whole project. audit.findings has them." }),
  }),
  archive: z.strictObject({ state, entries: z.int(), read_back: z.int(), read_back_at: text }),
  outside: z.strictObject({
    state,
    kinds: z.array(z.strictObject({
      kind: z.enum(["webhook", "bucket", "s3", "mirror", "witness"]),
      receivers: z.int(),
      behind: z.int().openapi({ description: "How many have not had the newest checkpoint for a day, or are gone." }),
      behind_since: text,
      last_success: text,
    })),
  }),
  delivery: z.strictObject({
    state,
    channels: z.int(),
    disabled: z.int(),
    failing: z.int(),
    waiting: z.int(),
    dead: z.int(),
    oldest_due: text,
    succeeded_at: text,
  }),
  retention: Retention,
}).openapi("Status");

export const SavedSearch = z.strictObject({
  id: z.guid(),
  organization_id: z.guid(),
  ...searchFields,
  own: z.boolean().openapi({ description: "Whether it is the caller's." }),
  changed_at: z.string(),
}).openapi("SavedSearch");
export const SavedSearchList = z.strictObject({ organization_id: z.guid(), searches: z.array(SavedSearch) })
  .openapi("SavedSearches");

export const Health = z.strictObject({
  status: z.enum(["ok", "failing"]),
  version: z.string(),
  database: z.enum(["reachable", "unreachable"]),
}).openapi("Health");

export const ProblemBody = z.strictObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string().optional(),
  code: z.string().openapi({ description: "The problem's stable name." }),
  hint: z.string().optional().openapi({ description: "The way out." }),
  parameter: z.string().optional().openapi({ description: "The query parameter it is about." }),
  path: z.string().optional().openapi({ description: "JSON pointer to the place in the body." }),
  position: z.int().optional().openapi({ description: "The character of the query string, from 1." }),
  request_id: z.string(),
}).openapi("Problem");
