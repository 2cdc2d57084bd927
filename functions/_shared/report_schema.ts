// What report.json is, as a schema for programs: published by function `audit`, and in every evidence pack.
import { z } from "zod";

const userId = z.string().regex(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/);
const hex = z.string().regex(/^[0-9a-f]{64}$/);
const instant = z.string().describe("ISO 8601, UTC.");
const cell = z.union([z.string(), z.strictObject({ user: userId })]);

const item = z.strictObject({
  name: z.string().describe("The entry's name, chain-seq."),
  at: instant,
  action: z.string(),
  outcome: z.string(),
  actor: userId.nullable(),
  actor_type: z.string(),
  resource: z.string(),
  hash: hex,
});

const text = z.strictObject({ kind: z.literal("text"), title: z.string(), paragraphs: z.array(z.string()) });
const table = z.strictObject({
  kind: z.literal("table"),
  title: z.string(),
  columns: z.array(
    z.strictObject({
      title: z.string(),
      width: z.number().describe("In proportion."),
      align: z.literal("right").optional(),
    }),
  ),
  rows: z.array(z.array(cell)),
  note: z.string().nullable(),
  total: z.int().nullable().describe("Of how many rows these are."),
});
const entries = z.strictObject({
  kind: z.literal("entries"),
  title: z.string(),
  query: z.string().describe("Finds them again."),
  note: z.string().nullable(),
  total: z.int().describe("How many the query finds; the oldest are listed."),
  items: z.array(item),
});
const counts = z.array(z.strictObject({ value: z.string(), count: z.int() }));
const chart = z.strictObject({
  kind: z.literal("chart"),
  title: z.string(),
  query: z.string(),
  total: z.int(),
  days: counts,
  outcomes: counts,
});
const control = z.strictObject({
  kind: z.literal("control"),
  title: z.string().describe("How the law or standard numbers it."),
  basis: z.enum(["law", "standard", "convention"]).describe(
    "law: the wording quotes it. standard: in our words. convention: neither says so, auditors ask for it.",
  ),
  wording: z.string(),
  question: z.string(),
  query: z.string().describe("The population, in the query language."),
  of_system: z.boolean().describe("Of the whole project's log instead of the organisation's."),
  population: z.int(),
  exceptions: z.strictObject({ query: z.string(), means: z.string(), count: z.int(), items: z.array(item) }).nullable(),
  sample: z.strictObject({
    size: z.int(),
    seed: z.string().describe("The sample are the entries with the least SHA-256 of seed, a colon and name."),
    items: z.array(item),
  }),
  result: z.string(),
});

export const Section = z.discriminatedUnion("kind", [text, table, entries, chart, control]);

export const Content = z.strictObject({
  version: z.literal(1),
  template: z.string(),
  organization_id: userId,
  parameters: z.record(z.string(), z.string()),
  from: instant,
  to: instant.describe("Entries from before then."),
  sections: z.array(Section),
}).describe("The same for the same period and entries, whoever asks when. Its bytes are content.json.");

const chains = z.strictObject({
  verified: z.int(),
  entries: z.int(),
  broken: z.array(z.strictObject({ chain: z.int(), seq: z.int(), finding: z.string() })),
});

export const Report = z.strictObject({
  report: z.strictObject({
    id: userId,
    title: z.string(),
    framework: z.string(),
    about: z.string(),
    organization_id: userId,
    organization: z.string().nullable(),
    requested_by: userId.nullable(),
    requested_at: instant,
    scheduled: z.boolean(),
    generated_at: instant,
  }),
  content_sha256: hex.describe("Of content.json."),
  content: Content,
  people: z.array(z.strictObject({ user_id: userId, email: z.string() })).describe(
    "Who the users were when the files were made, as far as whoever asked may see it and they are not erased.",
  ),
  integrity: z.strictObject({
    chains: chains.nullable().describe(
      "Every chain of the organisation, verified for this report; null where it was not.",
    ),
    rounds: z.strictObject({ verified: z.boolean().nullable(), at: instant.nullable() }).nullable().describe(
      "The last scheduled verification of chains and logs.",
    ),
    read_back: z.strictObject({ entries: z.int().nullable(), of: z.int().nullable() }),
    open_findings: z.int(),
    not_captured: z.array(z.string()).describe("What is not captured whole when the report is made."),
    outside: z.int().describe("How many receivers and witnesses get checkpoints."),
    checkpoint: z.string().nullable().describe("The newest signed checkpoint (C2SP)."),
  }).describe("How the log stood when the files were made."),
});

export type Report = z.infer<typeof Report>;
export type Section = z.infer<typeof Section>;
export type ReportItem = z.infer<typeof item>;
export type ReportCell = z.infer<typeof cell>;

/** The schema as JSON Schema (2020-12). */
export function reportJsonSchema(): object {
  return { $id: "urn:audit-logs:report:v1", title: "Report of an audit log", ...z.toJSONSchema(Report) };
}
