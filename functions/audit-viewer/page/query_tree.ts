// A query as the builder holds it: conditions in groups, some of them not finished yet. What a string says is read by the
// database alone; here strings are only written, each condition with the place where it stands.
import { quoted } from "./query_terms.ts";

/** As the function answers it: canonical, with values as strings. */
export type Tree =
  | { and: Tree[] }
  | { or: Tree[] }
  | { not: Tree }
  | { field: string; op: string; value?: string | string[] }
  | { text: string; prefix?: true };

/** `field` is one of FIELDS or a path into details; `op` one of those that the field takes. */
export type Condition = { id: number; not: boolean; field: string; op: string; values: string[] };
export type Group = { id: number; not: boolean; any: boolean; parts: Part[] };
export type Part = Condition | Group;

const EXACT = ["eq", "like", "in", "exists"];
const ORDERED = ["eq", "gt", "gte", "lt", "lte", "between", "in", "exists"];

/** The fields of the language beside paths, and how each is compared; `text` is free text. */
export const FIELDS: Record<string, string[]> = {
  action: EXACT,
  actor: EXACT,
  actor_type: EXACT,
  chain: ORDERED,
  cost: ORDERED,
  created: ORDERED,
  email: EXACT,
  ip: EXACT,
  outcome: EXACT,
  provider: EXACT,
  request_id: EXACT,
  resource: EXACT,
  resource_id: EXACT,
  resource_type: EXACT,
  seq: ORDERED,
  text: ["words", "begins"],
  user_agent: EXACT,
};
const PATH = ["eq", "like", "gt", "gte", "lt", "lte", "between", "in", "exists"];
const SIGNS: Record<string, string> = { gt: ">", gte: ">=", lt: "<", lte: "<=" };

export function isGroup(part: Part): part is Group {
  return "parts" in part;
}

export function isPath(field: string): boolean {
  return !Object.hasOwn(FIELDS, field);
}

export function opsOf(field: string): string[] {
  return isPath(field) ? PATH : FIELDS[field]!;
}

let lastId = 0;

export function newCondition(): Condition {
  return { id: ++lastId, not: false, field: "action", op: "eq", values: [""] };
}

export function newGroup(any: boolean, parts: Part[]): Group {
  return { id: ++lastId, not: false, any, parts };
}

/** Another field; what was said of the old one stays where it can be said of the new one. */
export function withField(condition: Condition, field: string): Condition {
  const op = opsOf(field).includes(condition.op) ? condition.op : opsOf(field)[0]!;
  return withOp({ ...condition, field }, op);
}

export function withOp(condition: Condition, op: string): Condition {
  const [first = "", second = ""] = condition.values;
  const values = op === "exists" ? [] : op === "between" ? [first, second] : op === "in" ? condition.values : [first];
  return { ...condition, op, values };
}

/** The builder's form of a tree; the outermost is always a group. */
export function groupOf(tree: Tree): Group {
  const part = partOf(tree, false);
  return isGroup(part) && !part.not ? part : newGroup(false, [part]);
}

function partOf(tree: Tree, not: boolean): Part {
  if ("not" in tree) return partOf(tree.not, !not);
  if ("and" in tree) return { ...newGroup(false, tree.and.map((each) => partOf(each, false))), not };
  if ("or" in tree) return { ...newGroup(true, tree.or.map((each) => partOf(each, false))), not };
  if ("text" in tree) {
    return {
      ...newCondition(),
      not,
      field: "text",
      op: tree.prefix === true ? "begins" : "words",
      values: [tree.text],
    };
  }
  const { field, op, value = [] } = tree;
  return { ...newCondition(), not, field, op, values: [value].flat() };
}

/** Whether it says something; what does not is left out of the string. */
export function isComplete({ field, op, values }: Condition): boolean {
  if (isPath(field)) {
    const steps = /^(new|old|changes|details)(\.([\p{L}\p{N}_-]+|"([^"\\]|\\.)+"))+$/su;
    return steps.test(field) && (op === "exists" || values.length > 0);
  }
  if (op === "exists") return true;
  return op === "in" ? values.some((value) => value !== "") : values.every((value) => value !== "");
}

export type Written = {
  query: string;
  /** Where each condition stands in it, in characters from 1. */
  places: { id: number; from: number; to: number }[];
};

/** The string form of what is complete. */
export function writeQuery(group: Group): Written {
  const places: Written["places"] = [];
  let query = "";
  let at = 1;
  for (const { text, id } of piecesOf(group, true)) {
    const to = at + [...text].length;
    if (id !== undefined) places.push({ id, from: at, to });
    query += text;
    at = to;
  }
  return { query, places };
}

type Piece = { text: string; id?: number };

function piecesOf(part: Part, isOutermost: boolean): Piece[] {
  if (!isGroup(part)) return isComplete(part) ? [{ id: part.id, text: (part.not ? "-" : "") + termOf(part) }] : [];
  const inner = part.parts.map((each) => piecesOf(each, false)).filter((pieces) => pieces.length > 0);
  const joined = inner.flatMap((pieces, n) => n === 0 ? pieces : [{ text: part.any ? " or " : " " }, ...pieces]);
  if (isOutermost || joined.length === 0) return joined;
  return [{ text: part.not ? "-(" : "(" }, ...joined, { text: ")" }];
}

function termOf({ field, op, values }: Condition): string {
  const [first = "", second = ""] = values;
  if (field === "text") return op === "begins" ? `${quoted(first)}*` : quoted(first);
  switch (op) {
    case "exists":
      return `${field}:*`;
    case "like":
      return `${field}:${patternOf(first)}`;
    case "between":
      return `${field}:${quoted(first)}..${quoted(second)}`;
    case "in":
      return `${field}:(${values.filter((value) => value !== "" || isPath(field)).map(quoted).join(" or ")})`;
    default:
      return `${field}:${SIGNS[op] ?? ""}${quoted(first)}`;
  }
}

/** `*` stands for any characters; `\*` and `\\` for themselves. */
function patternOf(pattern: string): string {
  const parts = pattern.match(/\*+|(?:[^*\\]|\\.|\\$)+/gs) ?? [""];
  return parts.map((part) => {
    if (part.startsWith("*")) return "*";
    const literal = part.replace(/\\(.)/gs, "$1");
    return /^[\w.@-]+$/.test(literal) && !literal.includes("..") ? literal : quoted(literal);
  }).join("");
}
