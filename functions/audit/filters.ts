// The filters of a GET request as a query tree. Search, export and costs share them; SQL checks the values.

/** A query tree, as far as filters need it. */
export type Filter =
  | { and: Filter[] }
  | { or: Filter[] }
  | {
    field: string;
    op: "eq" | "like" | "in" | "gte" | "lte";
    value: string | string[];
  }
  | { text: string };

/** The query parameters that filter. All of them must hold. */
export type FilterParameters = { [name in FilterName]?: string | undefined };

export type FilterName = keyof typeof FILTERS;

const FILTERS = {
  actor: (value: string) => anyOf("actor", value),
  action: (value: string) => anyOf("action", value),
  resource_type: (value: string) => anyOf("resource_type", value),
  resource_id: (value: string) => one("resource_id", value),
  provider: (value: string) => anyOf("provider", value),
  outcome: (value: string) => anyOf("outcome", value),
  cost_min: (value: string): Filter => ({ field: "cost", op: "gte", value }),
  cost_max: (value: string): Filter => ({ field: "cost", op: "lte", value }),
  from: (value: string): Filter => ({ field: "created", op: "gte", value }),
  to: (value: string): Filter => ({ field: "created", op: "lte", value }),
  text: (value: string): Filter => ({ text: value }),
  request_id: (value: string) => one("request_id", value),
};

const NAMES = Object.keys(FILTERS) as FilterName[];

/** The tree of all filters given, undefined where there is none. Its n-th condition is that of the n-th name. */
export function filterOf(parameters: FilterParameters): { filter: Filter; names: FilterName[] } | undefined {
  const names = NAMES.filter((name) => parameters[name] !== undefined);
  if (names.length === 0) return undefined;
  return { filter: { and: names.map((name) => FILTERS[name](parameters[name]!)) }, names };
}

/** The parameter that a place in the tree comes from. */
export function parameterAt(path: string, names: FilterName[]): FilterName | undefined {
  const index = /^\/and\/(\d+)/.exec(path)?.[1];
  return index === undefined ? undefined : names[Number(index)];
}

/** A list with commas; each with or without wildcards. */
function anyOf(field: string, list: string): Filter {
  const values = list.split(",").map((value) => value.trim());
  if (values.length === 1) return one(field, values[0]!);
  if (!list.includes("*")) return { field, op: "in", value: values };
  return { or: values.map((value) => one(field, value)) };
}

function one(field: string, value: string): Filter {
  return { field, op: value.includes("*") ? "like" : "eq", value };
}
