// Which logs the caller reads, and how much of each.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, SIGNED_IN } from "../respond.ts";
import { Access, NoParameters } from "../schemas.ts";

const access = createRoute({
  method: "get",
  path: "/access",
  tags: ["Access"],
  summary: "Which logs you read",
  security: SIGNED_IN,
  request: { query: NoParameters },
  responses: answers("Organisations, and how much of each.", Access),
});

export function addAccess(app: App, { database }: Deps): void {
  app.openapi(access, async (c) => {
    const statement = { name: "access_page", text: "select audit.access_page()::text", values: [] };
    return json(await database.ask(c.get("caller"), statement));
  });
}
