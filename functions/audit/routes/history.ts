// What happened to one resource.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, SIGNED_IN } from "../respond.ts";
import { HistoryParameters, Page, ResourcePath } from "../schemas.ts";

const history = createRoute({
  method: "get",
  path: "/resources/{type}/{id}/history",
  tags: ["Search"],
  summary: "History of one resource",
  description: "Every entry about it, newest first unless sorted otherwise. Leaves a log.searched entry.",
  security: SIGNED_IN,
  request: { params: ResourcePath, query: HistoryParameters },
  responses: answers("A page of entries.", Page),
});

export function addHistory(app: App, deps: Deps): void {
  app.openapi(history, async (c) => {
    const { type, id } = c.req.valid("param");
    const filter = {
      and: [{ field: "resource_type", op: "eq", value: type }, { field: "resource_id", op: "eq", value: id }],
    };
    return json(await ask(c, deps, "search_page", JSON.stringify({ ...c.req.valid("query"), filter })));
  });
}
