// Erasure of persons: what would go, requests, and their certificates.
import { createRoute, z } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, askBody, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, body, PROBLEMS, SIGNED_IN } from "../respond.ts";
import {
  Erasure,
  ErasureBody,
  ErasureList,
  ErasurePath,
  ErasureScope,
  ManifestPath,
  NoParameters,
  OrganizationParameters,
} from "../schemas.ts";
import { signedFile } from "./exports.ts";

const request = createRoute({
  method: "post",
  path: "/erasures",
  tags: ["Persons"],
  summary: "Erase a person",
  description:
    "For admins. By default a dry run, which says what would go and what is in the way. With dry_run false and a ground " +
    "it begins, in the background. A ground of Art. 17(3), or a legal hold, records that it was refused.",
  security: SIGNED_IN,
  request: { body: body(ErasureBody) },
  responses: answers("What would go; or the erasure.", z.union([ErasureScope, Erasure])),
});

const list = createRoute({
  method: "get",
  path: "/erasures",
  tags: ["Persons"],
  summary: "The newest erasures, those that were refused included",
  security: SIGNED_IN,
  request: { query: OrganizationParameters },
  responses: answers("Erasures, newest first. For admins and auditors.", ErasureList),
});

const status = createRoute({
  method: "get",
  path: "/erasures/{id}",
  tags: ["Persons"],
  summary: "How far an erasure is",
  security: SIGNED_IN,
  request: { params: ErasurePath, query: NoParameters },
  responses: answers("The erasure.", Erasure),
});

const certificate = createRoute({
  method: "get",
  path: "/erasures/{id}/{file}",
  tags: ["Persons"],
  summary: "The signed certificate of an erasure",
  description:
    "manifest.json to the byte, and manifest.note, which signs its digest. In one folder they verify by themselves: " +
    "npm run verify -- --export FOLDER --key VKEY. 409 not_sealed until the erasure is done and sealed.",
  security: SIGNED_IN,
  request: { params: ManifestPath, query: NoParameters },
  responses: { 200: { description: "The file.", content: { "text/plain": { schema: z.string() } } }, ...PROBLEMS },
});

export function addErasures(app: App, deps: Deps): void {
  app.openapi(request, async (c) => json(await askBody(c, deps, "request_erasure")));
  app.openapi(list, async (c) => json(await ask(c, deps, "erasure_status", JSON.stringify(c.req.valid("query")))));
  app.openapi(
    status,
    async (c) => json(await ask(c, deps, "erasure_status", JSON.stringify({ erasure: c.req.param("id") }))),
  );
  app.openapi(certificate, async (c) => {
    const { id, file } = c.req.valid("param");
    return signedFile(c, file, await ask(c, deps, "signed_certificate", JSON.stringify({ erasure: id })));
  });
}
