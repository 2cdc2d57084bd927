// How the log of an organisation stands, for its admins and auditors. GET /health is for monitors of the function.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, SIGNED_IN } from "../respond.ts";
import { OrganizationParameters, Status } from "../schemas.ts";

const status = createRoute({
  method: "get",
  path: "/status",
  tags: ["Status"],
  summary: "How the log stands",
  description:
    "Capture, sealing, verification, findings, archive, outside, delivery: each well, wrong, or missing where it is not set " +
    "up; and retention. Of what is the whole project's only how it is: no names of tables and receivers, no findings. For " +
    "admins and auditors.",
  security: SIGNED_IN,
  request: { query: OrganizationParameters },
  responses: answers("How it stands.", Status),
});

export function addStatus(app: App, deps: Deps): void {
  app.openapi(status, async (c) => json(await ask(c, deps, "status_page", JSON.stringify(c.req.valid("query")))));
}
