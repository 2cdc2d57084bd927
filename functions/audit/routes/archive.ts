// The archive over HTTP, for tools that verify logs: its bytes as they are stored, which is also to say encrypted where
// they are. Storage itself answers 400 for what is missing, where such tools look for 404.
import { createHash } from "node:crypto";
import type { Context } from "hono";
import { accepts } from "hono/accepts";
import { z } from "@hono/zod-openapi";
import { ArchiveError, OBJECT_HEADERS } from "../../_shared/archive/archive.ts";
import { isEncrypted } from "../../_shared/archive/bundle_encryption.ts";
import { type ArchivePath, kindOf, logFolder, parseArchivePath } from "../../_shared/archive/path.ts";
import { gzipped } from "../../_shared/export_part.ts";
import { DATABASE_PROBLEMS, Problem, unavailable } from "../../_shared/problem.ts";
import { TlogError } from "../../_shared/tlog/error.ts";
import type { App } from "../app.ts";
import type { Deps, Env } from "../deps.ts";
import { PROBLEMS, SIGNED_IN } from "../respond.ts";

const file = { schema: { type: "string" as const, format: "binary" } };

export function addArchive(app: App, deps: Deps): void {
  // A path of several parts is more than OpenAPI can say, so document and route are told apart.
  app.openAPIRegistry.registerPath({
    method: "get",
    path: "/archive/{path}",
    tags: ["Proof"],
    summary: "A file of a log",
    description:
      "Checkpoint, hash tile or entry bundle, as C2SP tlog-tiles lays them out. For those who read all of the " +
      "organisation's log; those of the anchor log are for everybody who is signed in. The first bundle in an hour " +
      "leaves a log.exported entry. Bundles are compressed where Accept-Encoding has gzip.",
    security: SIGNED_IN,
    request: {
      params: z.object({
        path: z.string().openapi({
          description:
            "<organization_id>/<yyyy-mm>/ or anchor/, then checkpoint, tile/<level>/<index>[.p/<width>] or " +
            "tile/entries/<index>[.p/<width>].",
          example: "0190a5b2-4c3d-7e5f-8a6b-9c0d1e2f3a4b/2026-11/checkpoint",
        }),
      }),
    },
    responses: {
      200: {
        description: "The file.",
        content: { "text/plain": { schema: { type: "string" } }, "application/octet-stream": file },
      },
      304: { description: "The file has the etag of If-None-Match." },
      ...PROBLEMS,
    },
  });
  app.get("/archive/:path{.+}", async (c) => {
    const path = pathOf(c);
    await admit(c, deps, parsed(path));
    const bytes = await deps.archive.get(path).catch((error) => {
      if (error instanceof ArchiveError && error.code === "unavailable") {
        throw unavailable("The archive cannot be read at the moment.", error, Math.ceil(error.retryAfter ?? 5));
      }
      throw error;
    });
    if (bytes === null) {
      throw new Problem(DATABASE_PROBLEMS.AUNOT!, "The archive has no such file.");
    }
    return respond(c, path, bytes);
  });
}

/** As it came: where %2F is no slash. */
function pathOf(c: Context<Env>): string {
  return new URL(c.req.url).pathname.replace(/^.*?\/archive\//, "");
}

function parsed(path: string): ArchivePath {
  try {
    return parseArchivePath(path);
  } catch (error) {
    if (!(error instanceof TlogError)) throw error;
    throw new Problem("invalid_request", "The address names no file of a log.", {
      hint: "For example <organization_id>/2026-11/tile/entries/000.p/3, exactly as C2SP tlog-tiles writes it.",
      place: { parameter: "path" },
    });
  }
}

/** A bundle holds whole entries, and hashes say how many there are: both are for those who may read them all. */
async function admit(c: Context<Env>, { database }: Deps, { log, file }: ArchivePath): Promise<void> {
  if (log === "anchor") return;
  const isBundle = file !== "checkpoint" && file.level === "entries";
  await database.ask(c.get("caller"), {
    name: "read_archive",
    text: "select audit.read_archive($1, $2, $3)::text",
    values: [log.organizationId, logFolder(log), isBundle],
  });
}

function respond(c: Context<Env>, path: string, bytes: Uint8Array): Response {
  const kind = kindOf(path);
  // Hashes and what is encrypted do not become smaller.
  const compressed = kind === "bundle" && !isEncrypted(bytes) &&
    accepts(c, { header: "Accept-Encoding", supports: ["gzip", "identity"], default: "identity" }) === "gzip";
  const etag = `"${createHash("sha256").update(bytes).digest("base64url")}${compressed ? "-gzip" : ""}"`;
  const headers = {
    etag,
    // Only the reader's own cache may keep what only some may read. no-transform: Deno would compress it once more.
    "cache-control": `private, ${OBJECT_HEADERS[kind]["cache-control"].replace("public, ", "")}, no-transform`,
    "vary": "accept-encoding, authorization",
  };
  if (isNamed(c.req.header("if-none-match"), etag)) {
    return new Response(null, { status: 304, headers });
  }
  const body = new Response(bytes as BodyInit).body!;
  return new Response(compressed ? gzipped(body) : body, {
    headers: {
      ...headers,
      "content-type": OBJECT_HEADERS[kind]["content-type"],
      "x-content-type-options": "nosniff",
      ...(compressed ? { "content-encoding": "gzip" } : { "content-length": String(bytes.length) }),
    },
  });
}

/** If-None-Match (RFC 9110, 13.1.2), whose comparison is the weak one. */
function isNamed(header: string | undefined, etag: string): boolean {
  return (header ?? "").split(",").map((name) => name.trim().replace(/^W\//, "")).some((name) =>
    name === etag || name === "*"
  );
}
