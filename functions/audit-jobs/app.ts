// Everything that function `audit-jobs` does with a request, as a function of its dependencies.
import { Hono } from "hono";
import { asProblem, Problem } from "../_shared/problem.ts";
import { requestIdOf } from "../_shared/request_id.ts";
import { equalSecrets } from "../_shared/secrets.ts";

/** Work that the clock sets off, bounded, safe to repeat and to run twice at once. Its answer says what it did. */
export type Job = (query: URLSearchParams) => Promise<object>;

export type Deps = { secret: string; jobs: Record<string, Job> };

export function createApp({ secret, jobs }: Deps): Hono<{ Variables: { requestId: string } }> {
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

  for (const [name, job] of Object.entries(jobs)) {
    app.post(`/${name}`, async (c) => c.json(await job(new URL(c.req.url).searchParams)));
  }

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
