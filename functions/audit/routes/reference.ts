// What the function can do: the OpenAPI document, and a page made of it.
import { pageOf, textOf } from "../reference.ts";
import { VERSION } from "../../_shared/version.ts";
import type { App } from "../app.ts";
import type { Deps } from "../deps.ts";

const ABOUT = "Search, export and costs of the audit log. Every request is made as the person whose access token it " +
  "carries, and row level security decides what they see.";

export function addReference(app: App, { projectUrl }: Deps): void {
  app.openAPIRegistry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    bearerFormat: "JWT",
    description: "The access token of a signed-in user. Keys of the project are not accepted.",
  });
  let document: ReturnType<App["getOpenAPI31Document"]> | undefined;
  // Made when first asked for: routes are still being added when this runs.
  const describe = () =>
    document ??= app.getOpenAPI31Document({
      openapi: "3.1.0",
      info: { title: "Audit logs", version: VERSION, description: ABOUT },
      servers: [{ url: `${projectUrl}/functions/v1` }],
    });

  app.get("/openapi.json", (c) => c.json(describe()));
  app.get("/reference", (c) => {
    const html = (c.req.header("accept") ?? "").includes("text/html") &&
      !servesPlainText(projectUrl);
    return html ? c.html(pageOf(describe())) : c.body(textOf(describe()), 200, {
      "content-type": "text/markdown; charset=utf-8",
    });
  });
}

/** Hosted, functions on the project's own domain have their HTML turned into plain text. */
function servesPlainText(projectUrl: string): boolean {
  return new URL(projectUrl).hostname.endsWith(".supabase.co");
}
