// Alerts: what the rules found. Read by admins and auditors, moved by admins.
import { createRoute } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, askOf, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, body, SIGNED_IN } from "../respond.ts";
import { Alert, AlertList, AlertNote, AlertParameters, AlertPath, AlertSilence } from "../schemas.ts";

const list = createRoute({
  method: "get",
  path: "/alerts",
  tags: ["Alerts"],
  summary: "Alerts, newest first",
  security: SIGNED_IN,
  request: { query: AlertParameters },
  responses: answers("A page of alerts.", AlertList),
});

const silence = createRoute({
  method: "post",
  path: "/alerts/{id}/silence",
  tags: ["Alerts"],
  summary: "Silence an alert until a time",
  description: "What happens until then is counted and not told. Leaves an entry. For admins.",
  security: SIGNED_IN,
  request: { params: AlertPath, body: body(AlertSilence) },
  responses: answers("The alert.", Alert),
});

const move = (path: "acknowledge" | "accept" | "resolve" | "reopen", summary: string) =>
  createRoute({
    method: "post",
    path: `/alerts/{id}/${path}` as const,
    tags: ["Alerts"],
    summary,
    description: "Leaves an entry. For admins.",
    security: SIGNED_IN,
    request: { params: AlertPath, body: body(AlertNote) },
    responses: answers("The alert.", Alert),
  });

const MOVES = {
  acknowledge: move("acknowledge", "Say that somebody looks into an alert"),
  accept: move("accept", "Say that what an anomaly told is the new normal"),
  resolve: move("resolve", "Say that an alert is over"),
  reopen: move("reopen", "Say that an alert is not over, or no longer silenced"),
};

export function addAlerts(app: App, deps: Deps): void {
  app.openapi(list, async (c) => {
    const { limit, ...rest } = c.req.valid("query");
    return json(await ask(c, deps, "list_alerts", JSON.stringify(limit === undefined ? rest : { ...rest, limit })));
  });
  app.openapi(
    silence,
    async (c) => json(await askOf(c, deps, "change_alert", { ...c.req.valid("param"), do: "silence" })),
  );
  for (const [name, route] of Object.entries(MOVES)) {
    app.openapi(route, async (c) => json(await askOf(c, deps, "change_alert", { id: c.req.param("id")!, do: name })));
  }
}
