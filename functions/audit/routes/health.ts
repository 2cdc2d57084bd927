// Whether the function works, for monitors: without a token, and without anything worth one.
import { createRoute } from "@hono/zod-openapi";
import { VERSION } from "../../_shared/version.ts";
import type { App } from "../app.ts";
import type { Deps } from "../deps.ts";
import { Health, NoParameters } from "../schemas.ts";

const health = createRoute({
  method: "get",
  path: "/health",
  tags: ["Service"],
  summary: "Whether the function works",
  request: { query: NoParameters },
  responses: {
    200: { description: "It works.", content: { "application/json": { schema: Health } } },
    503: { description: "The database cannot be reached.", content: { "application/json": { schema: Health } } },
  },
});

export function addHealth(app: App, { database }: Deps): void {
  app.openapi(health, async (c) => {
    const reachable = await database.askAsOwner({ name: "health", text: "select 'ok'", values: [] })
      .then(() => true, () => false);
    const headers = { "cache-control": "no-store" };
    return reachable
      ? c.json({ status: "ok" as const, version: VERSION, database: "reachable" as const }, 200, headers)
      : c.json({ status: "failing" as const, version: VERSION, database: "unreachable" as const }, 503, headers);
  });
}
