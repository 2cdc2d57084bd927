// Searches that people keep, for themselves or for everybody who reads the organisation's log.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, askOf, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, body, PROBLEMS, SIGNED_IN } from "../respond.ts";
import {
  NoParameters,
  OrganizationParameters,
  SavedSearch,
  SavedSearchBody,
  SavedSearchChange,
  SavedSearchList,
  SavedSearchPath,
} from "../schemas.ts";

const list = createRoute({
  method: "get",
  path: "/searches",
  tags: ["Search"],
  summary: "Saved searches",
  description: "The caller's own in the organisation, and those that are shared there.",
  security: SIGNED_IN,
  request: { query: OrganizationParameters },
  responses: answers("Saved searches.", SavedSearchList),
});

const save = createRoute({
  method: "post",
  path: "/searches",
  tags: ["Search"],
  summary: "Save a search",
  description:
    "For oneself; with shared, for admins, for all who read the log, which leaves a saved_search.changed entry.",
  security: SIGNED_IN,
  request: { body: body(SavedSearchBody) },
  responses: {
    201: { description: "The search.", content: { "application/json": { schema: SavedSearch } } },
    ...PROBLEMS,
  },
});

const change = createRoute({
  method: "patch",
  path: "/searches/{id}",
  tags: ["Search"],
  summary: "Change a saved search",
  description: "The fields that are named. For its owner; shared ones for admins, which leaves an entry.",
  security: SIGNED_IN,
  request: { params: SavedSearchPath, body: body(SavedSearchChange) },
  responses: answers("The search.", SavedSearch),
});

const remove = createRoute({
  method: "delete",
  path: "/searches/{id}",
  tags: ["Search"],
  summary: "Delete a saved search",
  description: "For its owner; shared ones for admins, which leaves an entry.",
  security: SIGNED_IN,
  request: { params: SavedSearchPath, query: NoParameters },
  responses: answers("The search, as it was.", SavedSearch),
});

export function addSavedSearches(app: App, deps: Deps): void {
  app.openapi(list, async (c) => json(await ask(c, deps, "list_searches", JSON.stringify(c.req.valid("query")))));
  app.openapi(save, async (c) => json(await ask(c, deps, "save_search", await c.req.text()), 201));
  app.openapi(change, async (c) => json(await askOf(c, deps, "change_search", c.req.valid("param"))));
  app.openapi(remove, async (c) => json(await ask(c, deps, "delete_search", JSON.stringify(c.req.valid("param")))));
}
