// Reports: asked for, made in the background, and their files.
import { createRoute, z } from "@hono/zod-openapi";
import type { App } from "../app.ts";
import { ask, askBody, json } from "../ask.ts";
import type { Deps } from "../deps.ts";
import { answers, body, PROBLEMS, SIGNED_IN } from "../respond.ts";
import {
  ManifestPath,
  NoParameters,
  OrganizationParameters,
  ReportBody,
  ReportList,
  ReportPath,
  ReportStatus,
  Templates,
} from "../schemas.ts";
import { addAddresses, signedFile, type Stored } from "./exports.ts";

const templates = createRoute({
  method: "get",
  path: "/report-templates",
  tags: ["Reports"],
  summary: "What reports there are",
  security: SIGNED_IN,
  request: { query: NoParameters },
  responses: answers("Templates.", Templates),
});

const schema = createRoute({
  method: "get",
  path: "/report-schema",
  tags: ["Reports"],
  summary: "What report.json holds, as a JSON Schema",
  security: SIGNED_IN,
  request: { query: NoParameters },
  responses: answers("The schema.", z.looseObject({})),
});

const request = createRoute({
  method: "post",
  path: "/reports",
  tags: ["Reports"],
  summary: "Have a report made",
  description:
    "In the background, for admins and auditors. What is held about a person (subject_access) is for admins.",
  security: SIGNED_IN,
  request: { body: body(ReportBody) },
  responses: {
    202: { description: "It waits for its turn.", content: { "application/json": { schema: ReportStatus } } },
    ...PROBLEMS,
  },
});

const list = createRoute({
  method: "get",
  path: "/reports",
  tags: ["Reports"],
  summary: "The newest reports",
  security: SIGNED_IN,
  request: { query: OrganizationParameters },
  responses: answers("Reports, newest first.", ReportList),
});

const status = createRoute({
  method: "get",
  path: "/reports/{id}",
  tags: ["Reports"],
  summary: "How far a report is, and its files",
  description:
    "report.pdf, report.json, evidence.zip and the entries that are too many for it, each with an address that holds for " +
    "one hour.",
  security: SIGNED_IN,
  request: { params: ReportPath, query: NoParameters },
  responses: answers("The report.", ReportStatus),
});

const manifest = createRoute({
  method: "get",
  path: "/reports/{id}/{file}",
  tags: ["Reports"],
  summary: "The signed manifest of a report",
  description: "The same manifest.json and manifest.note that the evidence pack has.",
  security: SIGNED_IN,
  request: { params: ManifestPath, query: NoParameters },
  responses: { 200: { description: "The file.", content: { "text/plain": { schema: z.string() } } }, ...PROBLEMS },
});

export function addReports(app: App, deps: Deps): void {
  app.openapi(templates, async (c) => {
    const statement = { name: "report_templates", text: "select audit.report_templates_json()::text", values: [] };
    return json(await deps.database.ask(c.get("caller"), statement));
  });
  app.openapi(schema, async () => {
    const { reportJsonSchema } = await import("../../_shared/report_schema.ts");
    return json(JSON.stringify(reportJsonSchema()));
  });
  app.openapi(request, async (c) => {
    const answer = await askBody(c, deps, "request_report");
    const response = json(answer, 202);
    const { id } = JSON.parse(answer) as { id: string };
    response.headers.set("location", `${deps.projectUrl}/functions/v1/audit/reports/${id}`);
    return response;
  });
  app.openapi(list, async (c) => json(await ask(c, deps, "list_reports", JSON.stringify(c.req.valid("query")))));
  app.openapi(status, async (c) => {
    const answer = await ask(c, deps, "report_status", JSON.stringify({ report: c.req.param("id") }));
    const shown = JSON.parse(answer) as { files: Stored[] };
    return json(await addAddresses(deps, shown.files) ? JSON.stringify(shown) : answer);
  });
  app.openapi(manifest, async (c) => {
    const { id, file } = c.req.valid("param");
    return signedFile(c, file, await ask(c, deps, "signed_report", JSON.stringify({ report: id })));
  });
}
