// Searching the log: with filters in the address, or with a query tree in the body.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, askBody, json, withFilters } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, body, SIGNED_IN } from "../respond.ts";
import { Page, SearchBody, SearchParameters } from "../schemas.ts";

const byParameters = createRoute({
  method: "get",
  path: "/logs",
  tags: ["Search"],
  summary: "Search the log with filters",
  description: "All filters must hold. Leaves a log.searched entry.",
  security: SIGNED_IN,
  request: { query: SearchParameters },
  responses: answers("A page of entries.", Page),
});

const byBody = createRoute({
  method: "post",
  path: "/logs/search",
  tags: ["Search"],
  summary: "Search the log with a query tree",
  description: "Query and filter must both hold. Leaves a log.searched entry.",
  security: SIGNED_IN,
  request: { body: body(SearchBody) },
  responses: answers("A page of entries.", Page),
});

export function addSearch(app: App, deps: Deps): void {
  app.openapi(byParameters, async (c) => {
    const { sort, limit, cursor, include, ...filters } = c.req.valid("query");
    const page = { sort, limit, cursor, include: include?.split(",") };
    return json(
      await withFilters(filters, (request) => ask(c, deps, "search_page", JSON.stringify({ ...request, ...page }))),
    );
  });
  app.openapi(byBody, async (c) => json(await askBody(c, deps, "search_page")));
}
