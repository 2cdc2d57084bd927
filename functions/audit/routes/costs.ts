// What was spent, by user, provider, model, organisation or day.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, json, withFilters } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, SIGNED_IN } from "../respond.ts";
import { CostParameters, Costs } from "../schemas.ts";

const costs = createRoute({
  method: "get",
  path: "/costs",
  tags: ["Costs"],
  summary: "Costs, added up",
  description: "Of the entries that the filters leave, by one to three of user, provider, model, organization and day.",
  security: SIGNED_IN,
  request: { query: CostParameters },
  responses: answers("Sums and their total.", Costs),
});

export function addCosts(app: App, deps: Deps): void {
  app.openapi(costs, async (c) => {
    const { by, ...filters } = c.req.valid("query");
    return json(
      await withFilters(
        filters,
        (request) => ask(c, deps, "costs_page", JSON.stringify({ ...request, by: by.split(",") })),
      ),
    );
  });
}
