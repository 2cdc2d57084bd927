// The two forms of a query, each into the other.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, askBody, json, withFilters } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, body, SIGNED_IN } from "../respond.ts";
import { BothForms, QueryBody, QueryParameters } from "../schemas.ts";

const fromString = createRoute({
  method: "get",
  path: "/query",
  tags: ["Search"],
  summary: "A query string as a tree",
  security: SIGNED_IN,
  request: { query: QueryParameters },
  responses: answers("Both forms, canonical.", BothForms),
});

const fromEither = createRoute({
  method: "post",
  path: "/query",
  tags: ["Search"],
  summary: "A query tree as a string, or a string as a tree",
  security: SIGNED_IN,
  request: { body: body(QueryBody) },
  responses: answers("Both forms, canonical.", BothForms),
});

export function addQuery(app: App, deps: Deps): void {
  app.openapi(
    fromString,
    async (c) =>
      json(
        await withFilters(c.req.valid("query"), (request) => ask(c, deps, "convert_query", JSON.stringify(request))),
      ),
  );
  app.openapi(fromEither, async (c) => json(await askBody(c, deps, "convert_query")));
}
