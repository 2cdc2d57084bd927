// One entry with its neighbours in the chain, its request and its proof.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, SIGNED_IN } from "../respond.ts";
import { EntryPath, EntryView, OrganizationParameters } from "../schemas.ts";

const view = createRoute({
  method: "get",
  path: "/logs/{name}",
  tags: ["Search"],
  summary: "View one entry",
  description: "With its neighbours in the chain and the entries of its request. Leaves a log.viewed entry.",
  security: SIGNED_IN,
  request: { params: EntryPath, query: OrganizationParameters },
  responses: answers("The entry.", EntryView),
});

export function addEntries(app: App, deps: Deps): void {
  app.openapi(view, async (c) => {
    const request = { ...c.req.valid("query"), ...c.req.valid("param") };
    return json(await ask(c, deps, "view_entry", JSON.stringify(request)));
  });
}
