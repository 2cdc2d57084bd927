// Whether there is anything new, for pages that stay open. Asking leaves no entry, or they would flood the log.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, SIGNED_IN } from "../respond.ts";
import { News, NewsParameters } from "../schemas.ts";

const news = createRoute({
  method: "get",
  path: "/news",
  tags: ["Search"],
  summary: "How many entries are new",
  description:
    "Counts what you may read and was written after a time. Leaves no entry: a page may ask every few seconds.",
  security: SIGNED_IN,
  request: { query: NewsParameters },
  responses: answers("How many there are.", News),
});

export function addNews(app: App, deps: Deps): void {
  app.openapi(news, async (c) => json(await ask(c, deps, "news", JSON.stringify(c.req.valid("query")))));
}
