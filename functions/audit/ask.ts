// From a route to the database function that answers it, and back: the answer is JSON text and stays so.
import type { Context, TypedResponse } from "hono";
import { type FilterName, filterOf, type FilterParameters, parameterAt } from "./filters.ts";
import { asProblem, type Place, Problem } from "../_shared/problem.ts";
import type { Deps, Env } from "./deps.ts";

/** Functions of schema `audit` that take a request and answer it, both JSON. */
export type Asked =
  | "search_page"
  | "news"
  | "view_entry"
  | "entry_proof"
  | "convert_query"
  | "costs_page"
  | "export_status"
  | "signed_manifest"
  | "list_exports"
  | "request_export"
  | "cancel_export"
  | "create_channel"
  | "change_channel"
  | "delete_channel"
  | "rotate_channel_secret"
  | "enable_channel"
  | "turn_channel_off"
  | "test_channel"
  | "list_channels"
  | "list_deliveries"
  | "replay_delivery"
  | "request_erasure"
  | "erasure_status"
  | "signed_certificate"
  | "request_report"
  | "report_status"
  | "list_reports"
  | "signed_report"
  | "schedule_report"
  | "unschedule_report"
  | "list_schedules"
  | "pause_schedule"
  | "list_rules"
  | "create_rule"
  | "change_rule"
  | "delete_rule"
  | "choose_rule"
  | "preview_rule"
  | "list_searches"
  | "save_search"
  | "change_search"
  | "delete_search"
  | "test_rule"
  | "list_alerts"
  | "change_alert"
  | "status_page"
  | "settings_page"
  | "change_settings"
  | "change_retention"
  | "change_hold"
  | "change_auditor";

/** Asks as the caller. The request is JSON text, and so is the answer. */
export function ask(c: Context<Env>, { database }: Deps, name: Asked, request: string): Promise<string> {
  return database.ask(c.get("caller"), { name, text: `select audit.${name}($1)::text`, values: [request] });
}

// deno-lint-ignore no-explicit-any -- text has no type of its own; tests hold it to the schema's
type JsonResponse = Response & TypedResponse<any, any, "json">;

/** A response of JSON text. */
export function json(text: string, status: 200 | 201 | 202 = 200): JsonResponse {
  // no-transform: Deno would compress it, which takes longer than all else that the function does.
  const headers = { "content-type": "application/json", "cache-control": "no-store, no-transform" };
  return new Response(text, { status, headers }) as JsonResponse;
}

/** Asks with a body that its schema accepted: as it came, so that no digit of a number is lost. */
export async function askBody(c: Context<Env>, deps: Deps, name: Asked): Promise<string> {
  return await replacing(
    () => c.req.text().then((body) => ask(c, deps, name, body)),
    (place) => place.path === undefined ? { ...place, path: "/query" } : { ...place, path: `/filter${place.path}` },
  );
}

/** Asks with a body that its schema accepted, and what the address says. */
export async function askOf(c: Context<Env>, deps: Deps, name: Asked, named: object): Promise<string> {
  return ask(c, deps, name, JSON.stringify({ ...await c.req.json() as object, ...named }));
}

type Filters = FilterParameters & { organization_id?: string | undefined; q?: string | undefined };

/** Splits off the filters of a GET request, and calls with what the database functions take for them. */
export function withFilters<T>(
  { organization_id, q, ...filters }: Filters,
  work: (request: { organization_id?: string; query?: string; filter?: unknown }) => Promise<T>,
): Promise<T> {
  const made = filterOf(filters);
  const request = {
    ...(organization_id === undefined ? {} : { organization_id }),
    ...(q === undefined ? {} : { query: q }),
    ...(made === undefined ? {} : { filter: made.filter }),
  };
  return replacing(() => work(request), (place) => inParameters(place, made?.names ?? []));
}

/** A place in the tree, or in the query string, as the parameter that it came from. */
function inParameters({ path, position }: Place, names: FilterName[]): Place {
  if (path === undefined) {
    return { parameter: "q", ...(position === undefined ? {} : { position }) };
  }
  const parameter = parameterAt(path, names);
  return parameter === undefined ? {} : { parameter };
}

/** Runs `work`; where it fails at a place, the place is said in the words of the request. */
export async function replacing<T>(work: () => Promise<T>, inRequest: (place: Place) => Place): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const { status, code, title, message, hint, place, headers, cause } = asProblem(error);
    if (place.path === undefined && place.position === undefined) throw error;
    throw new Problem([status, code, title], message, { hint, place: inRequest(place), headers, cause });
  }
}
