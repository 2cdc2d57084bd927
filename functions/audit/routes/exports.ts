// Exports as things: those made in the background, and the record of all.
import { createRoute, z } from "@hono/zod-openapi";
import type { Context } from "hono";
import type { App } from "../app.ts";
import { ask, askBody, json } from "../ask.ts";
import type { Deps, Env } from "../deps.ts";
import { answers, body, PROBLEMS, SIGNED_IN } from "../respond.ts";
import {
  ExportBody,
  ExportList,
  ExportPath,
  ExportStatus,
  ManifestPath,
  NoParameters,
  OrganizationParameters,
} from "../schemas.ts";

const request = createRoute({
  method: "post",
  path: "/exports",
  tags: ["Export"],
  summary: "Have an export made in the background",
  description: "For large ones: it is made part by part into Storage, with your rights of the moment.",
  security: SIGNED_IN,
  request: { body: body(ExportBody) },
  responses: {
    202: { description: "It waits for its turn.", content: { "application/json": { schema: ExportStatus } } },
    ...PROBLEMS,
  },
});

const list = createRoute({
  method: "get",
  path: "/exports",
  tags: ["Export"],
  summary: "The newest exports",
  description: "Your own; for admins all of the organisation's.",
  security: SIGNED_IN,
  request: { query: OrganizationParameters },
  responses: answers("Exports, newest first.", ExportList),
});

const status = createRoute({
  method: "get",
  path: "/exports/{id}",
  tags: ["Export"],
  summary: "How far an export has come",
  description: "With its manifest, and addresses of the parts that lie in Storage, which hold for one hour.",
  security: SIGNED_IN,
  request: { params: ExportPath, query: NoParameters },
  responses: answers("The export.", ExportStatus),
});

const manifest = createRoute({
  method: "get",
  path: "/exports/{id}/{file}",
  tags: ["Export"],
  summary: "The signed manifest of an export",
  description:
    "manifest.json to the byte, and manifest.note, which signs its digest. Beside the parts in one folder they " +
    "verify by themselves: npm run verify -- --export FOLDER --key VKEY. 409 not_sealed until the entries are sealed.",
  security: SIGNED_IN,
  request: { params: ManifestPath, query: NoParameters },
  responses: { 200: { description: "The file.", content: { "text/plain": { schema: z.string() } } }, ...PROBLEMS },
});

const cancel = createRoute({
  method: "delete",
  path: "/exports/{id}",
  tags: ["Export"],
  summary: "Stop an export",
  description: "Parts that are made already stay.",
  security: SIGNED_IN,
  request: { params: ExportPath, query: NoParameters },
  responses: answers("The export.", ExportStatus),
});

export function addExports(app: App, deps: Deps): void {
  app.openapi(request, async (c) => {
    const answer = await askBody(c, deps, "request_export");
    const response = json(answer, 202);
    const { id } = JSON.parse(answer) as { id: string };
    response.headers.set("location", `${deps.projectUrl}/functions/v1/audit/exports/${id}`);
    return response;
  });
  app.openapi(list, async (c) => json(await ask(c, deps, "list_exports", JSON.stringify(c.req.valid("query")))));
  app.openapi(status, async (c) => json(await withAddresses(c, deps)));
  app.openapi(manifest, async (c) => {
    const { id, file } = c.req.valid("param");
    const answer = await ask(c, deps, "signed_manifest", JSON.stringify({ export: id }));
    return signedFile(c, file, answer);
  });
  app.openapi(cancel, async (c) => {
    return json(await ask(c, deps, "cancel_export", JSON.stringify({ export: c.req.param("id") })));
  });
}

/** A manifest to the byte, or its signature. */
export function signedFile(c: Context<Env>, file: "manifest.json" | "manifest.note", answer: string) {
  const { manifest, note } = JSON.parse(answer) as { manifest: string; note: string };
  return c.text(file === "manifest.json" ? manifest : note, 200, {
    "content-disposition": `attachment; filename="${file}"`,
    "cache-control": "no-store, no-transform",
  });
}

/** The status, with addresses for the parts that can be downloaded. */
async function withAddresses(c: Context<Env>, deps: Deps): Promise<string> {
  const answer = await ask(c, deps, "export_status", JSON.stringify({ export: c.req.param("id") }));
  const shown = JSON.parse(answer) as { parts: Stored[] };
  return await addAddresses(deps, shown.parts) ? JSON.stringify(shown) : answer;
}

/** What lies in Storage; where it is whole, and not only then, is what the database says. */
export type Stored = { path: string | null; complete?: boolean; url?: string };

/** Adds the addresses of what can be downloaded; answers whether there is any. */
export async function addAddresses({ signUrls }: Deps, things: Stored[]): Promise<boolean> {
  const stored = things.filter(({ path, complete = true }) => complete && path !== null);
  if (stored.length === 0) return false;
  const addresses = await signUrls(stored.map(({ path }) => path!));
  for (const thing of stored) {
    const url = addresses.get(thing.path!);
    if (url !== undefined) thing.url = url;
  }
  return true;
}
