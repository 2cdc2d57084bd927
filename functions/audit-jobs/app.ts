// Everything that function `audit-jobs` does with a request, as a function of its dependencies.
import { Hono } from "hono";
import { asProblem, Problem } from "../_shared/problem.ts";
import { requestIdOf } from "../_shared/request_id.ts";
import { equalSecrets } from "../_shared/secrets.ts";
import { type ExportJobDeps, makeExports } from "./exports.ts";

export type Deps = ExportJobDeps & { secret: string };

export function createApp({ secret, ...deps }: Deps): Hono<{ Variables: { requestId: string } }> {
  const app = new Hono<{ Variables: { requestId: string } }>().basePath("/audit-jobs");

  app.use(async (c, next) => {
    c.set("requestId", requestIdOf(c.req.header("x-request-id")));
    const sent = /^Bearer +(\S+)$/i.exec(c.req.header("authorization") ?? "")?.[1] ?? "";
    if (!await equalSecrets(sent, secret)) {
      throw new Problem(
        "not_authenticated",
        "Jobs are started with the jobs' secret.",
        { headers: { "www-authenticate": "Bearer" } },
      );
    }
    await next();
  });

  app.post("/exports", async (c) => c.json(await makeExports(deps)));

  app.notFound((c) =>
    new Problem("route_not_found", `There is no job at ${c.req.path}.`)
      .toResponse(c.get("requestId"))
  );
  app.onError((error, c) => {
    const problem = asProblem(error);
    const { name, code } = error as { name?: string; code?: string };
    if (problem.status >= 500) {
      console.error(JSON.stringify({ level: "error", request_id: c.get("requestId"), path: c.req.path, name, code }));
    }
    return problem.toResponse(c.get("requestId"));
  });
  return app;
}
