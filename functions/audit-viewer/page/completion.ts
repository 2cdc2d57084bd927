// What may follow in the query box: fields, and the values that the last answer had of them.
import type { Facets } from "./api.ts";
import { quoted } from "./query_terms.ts";

const FIELDS = [
  "action",
  "actor",
  "actor_type",
  "chain",
  "cost",
  "created",
  "email",
  "ip",
  "outcome",
  "provider",
  "request_id",
  "resource",
  "resource_id",
  "resource_type",
  "seq",
  "user_agent",
  "changes.",
  "details.",
  "new.",
  "old.",
];
const FIXED: Record<string, string[]> = {
  outcome: ["success", "failure", "denied"],
  actor_type: ["user", "api_key", "service", "database", "system"],
  created: ["1h", "24h", "7d", "30d", "1y"],
  cost: [">0", ">=1", ">10"],
};
const MOST = 8;

export type Completion = { from: number; to: number; options: string[] };

/** Replacements for the word before the caret. */
export function completionsAt(query: string, caret: number, facets: Facets | undefined): Completion {
  const word = /[^\s()]*$/.exec(query.slice(0, caret))![0].replace(/^-/, "");
  const from = caret - word.length;
  const [, field, start] = /^([a-z_]+):(.*)$/.exec(word) ?? [];
  const all = field === undefined
    ? FIELDS.map((name) => name.endsWith(".") ? name : `${name}:`)
    : valuesOf(field, facets)
      // What is typed begins the value, in quotes or not.
      .filter((value) => value.toLowerCase().startsWith(start!.replace(/^"/, "").toLowerCase()))
      .map((value) => `${field}:${/^[<>]/.test(value) ? value : quoted(value)}`);
  const options = word === "" && start === undefined
    ? []
    : all.filter((option) => option !== word && (field !== undefined || option.startsWith(word.toLowerCase())))
      .slice(0, MOST);
  return { from, to: caret, options };
}

/** Values that a field may have, as they are. */
export function valuesOf(field: string, facets: Facets | undefined): string[] {
  if (Object.hasOwn(FIXED, field)) return FIXED[field]!;
  const counts = field === "actor"
    ? facets?.actor.map(({ value, email }) => email ?? value)
    : field === "action" || field === "provider"
    ? facets?.[field].map(({ value }) => value)
    : undefined;
  return (counts ?? []).filter((value) => value !== null);
}
