// A search as a file, streamed from COPY to the client as fast as it takes it.
import { createRoute } from "@hono/zod-openapi";
import {
  CONTENT_TYPES,
  extensionOf,
  GZIP_PART_ENTRIES,
  gzipped,
  MOST_PART_ENTRIES,
  type OpenPart,
  openPart,
  PART_ENTRIES,
} from "../../_shared/export_part.ts";
import { Problem, unavailable } from "../../_shared/problem.ts";
import type { App } from "../app.ts";
import { withFilters } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { PROBLEMS, SIGNED_IN } from "../respond.ts";
import { ExportParameters } from "../schemas.ts";

const file = { schema: { type: "string" as const } };
const header = (description: string) => ({ schema: { type: "string" as const }, description });

const route = createRoute({
  method: "get",
  path: "/export",
  tags: ["Export"],
  summary: "Export what a search finds",
  description:
    "All filters must hold. Oldest entries first. A part leaves a log.exported entry before its first byte " +
    "leaves. Where there is more than one part, the link header names the next: the same request with its export and " +
    "cursor, which also repeats a part that broke off. Compressed where Accept-Encoding has gzip and gzip=true. " +
    "A response that ends early is not complete, and the export's status says so.",
  security: SIGNED_IN,
  request: { query: ExportParameters },
  responses: {
    200: {
      description: "The file, or a part of it.",
      headers: {
        "audit-export-id": header("The export, for its status and manifest."),
        "audit-part": header("Which part this is, from 1."),
        "audit-entries": header("How many entries the part has."),
        "link": header('Where there is another part: <…>; rel="next".'),
      },
      content: {
        "text/csv": file,
        "application/json": file,
        "application/x-ndjson": file,
        "application/pdf": { schema: { type: "string", format: "binary" } },
      },
    },
    ...PROBLEMS,
  },
});

export function addExport(app: App, deps: Deps): void {
  app.openapi(route, async (c) => {
    // Without a body nobody would take the bytes.
    if (c.req.method === "HEAD") {
      throw new Problem("method_not_allowed", "An export is a GET.", { headers: { allow: "GET" } });
    }
    const { format, limit, gzip, cursor, export: id, ...filters } = c.req.valid("query");
    const filtered = Object.keys(filters)[0];
    if (id !== undefined && filtered !== undefined) {
      throw new Problem("invalid_request", "An export that is continued has its filters already.", {
        place: { parameter: filtered },
      });
    }
    const compressed = gzip === "true" &&
      /\bgzip\b/.test(c.req.header("accept-encoding") ?? "");
    const entries = compressed ? Math.min(PART_ENTRIES[format], GZIP_PART_ENTRIES) : PART_ENTRIES[format];
    const ended = deps.exports.take();
    if (ended === undefined) {
      throw unavailable("As many exports are being made as can be at once.", undefined, 5);
    }
    try {
      const part = await withFilters(filters, (request) =>
        openPart(
          deps.database,
          c.get("caller"),
          {
            ...request,
            format,
            cursor,
            export: id,
            limit: Math.min(limit ?? entries, MOST_PART_ENTRIES[format]),
            gzip: compressed,
          },
          { render: deps.render, ended, signal: c.req.raw.signal },
        ));
      const next = nextAddress(deps.projectUrl, part, { limit, gzip });
      return new Response(compressed ? gzipped(part.body) : part.body, {
        headers: {
          "content-type": CONTENT_TYPES[part.format],
          "content-disposition": `attachment; filename="${fileName(part)}"`,
          // Nobody on the way may keep it, nor compress it: that would take more CPU than all the rest.
          "cache-control": "no-store, no-transform",
          ...(compressed ? { "content-encoding": "gzip", "vary": "accept-encoding" } : {}),
          "audit-export-id": part.id,
          "audit-part": String(part.part),
          "audit-entries": String(part.entries),
          ...(next === undefined ? {} : { link: `<${next}>; rel="next"` }),
        },
      });
    } catch (error) {
      ended();
      throw error;
    }
  });
}

function fileName({ id, part, next, format }: OpenPart): string {
  const number = part === 1 && next === null ? "" : `-part-${String(part).padStart(4, "0")}`;
  return `audit-${id}${number}.${extensionOf(format)}`;
}

function nextAddress(
  projectUrl: string,
  part: OpenPart,
  { limit, gzip }: { limit?: number | undefined; gzip?: string | undefined },
): string | undefined {
  if (part.next === null) return undefined;
  const address = new URL(`${projectUrl}/functions/v1/audit/export`);
  const parameters = { format: part.format, export: part.id, cursor: part.next, limit, gzip };
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined) address.searchParams.set(name, String(value));
  }
  return address.href;
}
