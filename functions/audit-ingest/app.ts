// Everything that function `audit-ingest` does with a request, as a function of its dependencies.
import { Hono } from "hono";
import { asProblem, Problem } from "../_shared/problem.ts";
import { requestIdOf } from "../_shared/request_id.ts";
import type { Deps } from "./deps.ts";
import { addEvents } from "./routes/events.ts";
import { addLogDrain } from "./routes/log_drain.ts";

export type App = Hono<{ Variables: { requestId: string } }>;

export function createApp(deps: Deps): App {
  const app: App = new Hono<{ Variables: { requestId: string } }>().basePath("/audit-ingest");

  app.use(async (c, next) => {
    c.set("requestId", requestIdOf(c.req.header("x-request-id")));
    await next();
    c.res.headers.set("x-request-id", c.get("requestId"));
  });
  addLogDrain(app, deps);
  addEvents(app, deps);

  app.notFound((c) =>
    new Problem("route_not_found", `Nothing answers ${c.req.method} at ${c.req.path}.`, {
      hint: "POST /audit-ingest/log-drain takes lines of logs, POST /audit-ingest/events events.",
    }).toResponse(c.get("requestId"))
  );
  app.onError((error, c) => {
    const problem = asProblem(error);
    const { name, code } = (problem.cause ?? error) as { name?: string; code?: string };
    // A line of ours becomes a line of the drain, which this function leaves out.
    if (problem.status >= 500) {
      console.error(JSON.stringify({ level: "error", request_id: c.get("requestId"), path: c.req.path, name, code }));
    }
    return problem.toResponse(c.get("requestId"));
  });
  return app;
}
