// Everything that function `audit` does with a request, as a function of its dependencies.
import { type Hook, OpenAPIHono } from "@hono/zod-openapi";
import type { Context } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { HTTPException } from "hono/http-exception";
import { asProblem, Problem } from "../_shared/problem.ts";
import { requestIdOf } from "../_shared/request_id.ts";
import type { Deps, Env } from "./deps.ts";
import { addAccess } from "./routes/access.ts";
import { addAlerts } from "./routes/alerts.ts";
import { addArchive } from "./routes/archive.ts";
import { addChannels } from "./routes/channels.ts";
import { addCosts } from "./routes/costs.ts";
import { addEntries } from "./routes/entries.ts";
import { addErasures } from "./routes/erasures.ts";
import { addExport } from "./routes/export.ts";
import { addExports } from "./routes/exports.ts";
import { addHealth } from "./routes/health.ts";
import { addHistory } from "./routes/history.ts";
import { addNews } from "./routes/news.ts";
import { addProof } from "./routes/proof.ts";
import { addQuery } from "./routes/query.ts";
import { addReference } from "./routes/reference.ts";
import { addReports } from "./routes/reports.ts";
import { addSavedSearches } from "./routes/saved_searches.ts";
import { addSchedules } from "./routes/schedules.ts";
import { addRules } from "./routes/rules.ts";
import { addSearch } from "./routes/search.ts";
import { addSettings } from "./routes/settings.ts";
import { addStatus } from "./routes/status.ts";
import { invalid } from "./validation.ts";

const MOST_BODY = 512 * 1024;
/** Headers that a browser may send, and those that it may read. */
const TAKEN = ["authorization", "apikey", "content-type", "x-client-info", "x-request-id"];
const SHOWN = [
  "x-request-id",
  "retry-after",
  "link",
  "content-disposition",
  "audit-export-id",
  "audit-entries",
  "audit-part",
];
/** Headers of the request that its entry keeps; the request id is ours. */
const KEPT = ["x-forwarded-for", "user-agent"];

export type App = OpenAPIHono<Env>;

export function createApp(deps: Deps): App {
  const app: App = new OpenAPIHono<Env>({
    defaultHook: invalid as Hook<unknown, Env, string, unknown>,
  }).basePath("/audit");

  app.use(async (c, next) => {
    const id = requestIdOf(c.req.header("x-request-id"));
    c.set("requestId", id);
    await next();
    c.res.headers.set("x-request-id", id);
  });
  app.use(cors({
    origin: "*",
    allowMethods: ["GET", "POST", "PATCH", "DELETE"],
    allowHeaders: TAKEN,
    exposeHeaders: SHOWN,
    maxAge: 86_400,
  }));
  app.use(bodyLimit({
    maxSize: MOST_BODY,
    onError: async (c) => {
      // Taken in, up to a point, or the client would see its connection break and not the answer.
      let left = 8 * MOST_BODY;
      const rest = new WritableStream<Uint8Array>({
        write(chunk) {
          left -= chunk.length;
          if (left < 0) throw new Error("enough");
        },
      });
      if (!c.req.raw.bodyUsed) await c.req.raw.body?.pipeTo(rest).catch(() => {});
      throw new Problem("too_large", `A body has at most ${MOST_BODY} bytes.`);
    },
  }));

  addHealth(app, deps);
  addReference(app, deps);

  app.use(async (c, next) => {
    // An address that does not exist needs no token to be told so.
    const method = c.req.method === "HEAD" ? "GET" : c.req.method;
    if (methodsAt(app, c.req.path).includes(method)) {
      const claims = await deps.authenticate(c.req.header("authorization"));
      const headers: Record<string, string> = { "x-request-id": c.get("requestId") };
      for (const name of KEPT) {
        const value = c.req.header(name);
        if (value !== undefined) headers[name] = value;
      }
      c.set("caller", { claims, headers });
    }
    await next();
  });

  addSearch(app, deps);
  addNews(app, deps);
  addEntries(app, deps);
  addProof(app, deps);
  addHistory(app, deps);
  addQuery(app, deps);
  addSavedSearches(app, deps);
  addCosts(app, deps);
  addExport(app, deps);
  addExports(app, deps);
  addErasures(app, deps);
  addReports(app, deps);
  addSchedules(app, deps);
  addAccess(app, deps);
  addArchive(app, deps);
  addChannels(app, deps);
  addRules(app, deps);
  addAlerts(app, deps);
  addStatus(app, deps);
  addSettings(app, deps);

  app.notFound((c) => {
    const methods = methodsAt(app, c.req.path);
    const problem = methods.length === 0
      ? new Problem("route_not_found", `Nothing answers at ${c.req.path}.`, {
        hint: "GET /audit/reference lists what does.",
      })
      : new Problem(
        "method_not_allowed",
        `${c.req.path} does not take ${c.req.method}.`,
        { headers: { allow: methods.join(", ") } },
      );
    return problem.toResponse(c.get("requestId"));
  });

  app.onError(async (error, c) => {
    const problem = error instanceof HTTPException ? ofHono(error) : asProblem(error);
    const requestId = c.get("requestId");
    if (problem.status >= 500) report(problem, requestId, c.req.method, c.req.path);
    if (problem.code === "access_denied") await recordDenial(deps, c, problem.message);
    return problem.toResponse(requestId);
  });
  return app;
}

function methodsAt(app: App, path: string): string[] {
  const here = app.routes.filter((route) => route.method !== "ALL" && patternOf(route.path).test(path));
  return [...new Set(here.map((route) => route.method))];
}

const patterns = new Map<string, RegExp>();

function patternOf(path: string): RegExp {
  let pattern = patterns.get(path);
  if (pattern === undefined) {
    // `:name` is one part, `:name{.+}` any number of them.
    const source = path.replace(/:\w+(\{\.\+\})?|\./g, (part, all) => part === "." ? "\\." : all ? ".+" : "[^/]+");
    pattern = new RegExp(`^${source}$`);
    patterns.set(path, pattern);
  }
  return pattern;
}

/** A refusal is an entry; where it cannot be one, the answer is the same. */
async function recordDenial({ database }: Deps, c: Context<Env>, reason: string): Promise<void> {
  const { method, path } = c.req;
  const organization_id = c.req.query("organization_id") ?? /\/archive\/([^/]+)/.exec(path)?.[1];
  const values = [JSON.stringify({ method, route: path, reason, organization_id })];
  await database.ask(c.get("caller"), { name: "record_denial", text: "select audit.record_denial($1)::text", values })
    .catch((error) => report(asProblem(error), c.get("requestId"), method, path));
}

/** Hono's own refusals: a body that is no JSON, or is not said to be. */
function ofHono({ status }: HTTPException): Problem {
  if (status === 415) {
    return new Problem("unsupported_media_type", "Send the body with content-type: application/json.");
  }
  return new Problem("invalid_request", "The body is no JSON.");
}

/** For operators. Messages of others may quote what was sent, or an address with a password: only codes are written. */
function report(problem: Problem, requestId: string, method: string, path: string): void {
  const { name, code } = (problem.cause ?? problem) as { name?: string; code?: string };
  console.error(
    JSON.stringify({ level: "error", request_id: requestId, method, path, problem: problem.code, name, code }),
  );
}
