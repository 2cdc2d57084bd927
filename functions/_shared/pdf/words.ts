/** A search's conditions in English sentences, out of the tree that the query language is converted into. */

/** The tree form of the query language. */
export type Filter =
  | { and: Filter[] }
  | { or: Filter[] }
  | { not: Filter }
  | { field: string; op: string; value?: unknown }
  | { text: string; prefix?: boolean };

/** One sentence for each condition that must hold; none where every entry matches. */
export function inWords(filter: Filter | null | undefined): string[] {
  if (filter === null || filter === undefined) return [];
  const sentences = "and" in filter ? filter.and.map((part) => phrase(part)) : [phrase(filter)];
  return sentences.map((sentence) => sentence.charAt(0).toUpperCase() + sentence.slice(1));
}

function phrase(filter: Filter): string {
  if ("and" in filter) return list(filter.and, " and ");
  if ("or" in filter) return list(filter.or, " or ");
  if ("not" in filter) return `not: ${grouped(filter.not)}`;
  if ("text" in filter) {
    return filter.prefix ? `contains a word that begins with “${filter.text}”` : `contains “${filter.text}”`;
  }
  return comparison(filter);
}

function list(parts: Filter[], between: string): string {
  return parts.length === 0 ? "(nothing)" : parts.map(grouped).join(between);
}

/** In parentheses where it would otherwise run into its surroundings. */
function grouped(filter: Filter): string {
  const part = "and" in filter ? filter.and : "or" in filter ? filter.or : undefined;
  return part !== undefined && part.length > 1 ? `(${phrase(filter)})` : phrase(filter);
}

function comparison({ field, op, value }: { field: string; op: string; value?: unknown }): string {
  const name = NAMES.get(field) ?? field;
  const time = field === "created";
  const values = Array.isArray(value) ? value.map(shown) : [shown(value)];
  switch (op) {
    case "eq":
      return `${name} is ${values[0]}`;
    case "like":
      return `${name} matches ${values[0]}`;
    case "lt":
      return `${name} is ${time ? "before" : "less than"} ${values[0]}`;
    case "lte":
      return `${name} is at most ${values[0]}`;
    case "gt":
      return `${name} is ${time ? "after" : "more than"} ${values[0]}`;
    case "gte":
      return `${name} is ${time ? "at or after" : "at least"} ${values[0]}`;
    case "between":
      return `${name} is from ${values[0]} to ${values[1]}`;
    case "in":
      return `${name} is ${values.length > 1 ? "one of " : ""}${values.join(", ")}`;
    case "exists":
      return value === false ? `${name} is absent` : `${name} is present`;
    default:
      return `${name} ${op} ${values.join(", ")}`;
  }
}

function shown(value: unknown): string {
  return typeof value === "string" ? value : JSON.stringify(value) ?? "";
}

const NAMES = new Map([
  ["actor_type", "actor type"],
  ["email", "e-mail"],
  ["ip", "IP address"],
  ["user_agent", "user agent"],
  ["resource_type", "resource type"],
  ["resource_id", "resource id"],
  ["request_id", "request id"],
  ["created", "time"],
  ["seq", "number in the chain"],
]);
