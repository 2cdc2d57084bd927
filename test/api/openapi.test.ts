// The document says what the function does: it is valid, complete, and answers are as it describes them.
import type { z } from "@hono/zod-openapi";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as schemas from "../../functions/audit/schemas.ts";
import { DATABASE_PROBLEMS } from "../../functions/_shared/problem.ts";
import { VERSION } from "../../functions/_shared/version.ts";
import manifest from "../../package.json" with { type: "json" };
import { ACME, ALICE, type Api, startApi } from "./server.ts";

type Document = {
  openapi: string;
  servers: { url: string }[];
  paths: Record<
    string,
    Record<
      string,
      {
        summary: string;
        security?: unknown;
        parameters?: { name: string }[];
        responses: object;
      }
    >
  >;
  components: { schemas: Record<string, unknown>; securitySchemes: object };
};

let api: Api;
let document: Document;

beforeAll(async () => {
  api = await startApi();
  const client = await api.db.connect();
  await client.query(
    "insert into public.api_keys (id, organization_id, created_by) values ($1, $1, $2)",
    [ACME, ALICE],
  );
  document = await (await fetch(`${api.url}/functions/v1/audit/openapi.json`))
    .json() as Document;
});
afterAll(() => api.stop());

describe("the document", () => {
  test("is OpenAPI 3.1 and names every address", () => {
    expect(document.openapi).toBe("3.1.0");
    expect(document.servers).toEqual([{ url: `${api.url}/functions/v1` }]);
    const operations = Object.entries(document.paths).flatMap((
      [path, methods],
    ) => Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`));
    expect(operations.sort()).toEqual([
      "DELETE /audit/auditors/{user_id}",
      "DELETE /audit/channels/{id}",
      "DELETE /audit/exports/{id}",
      "DELETE /audit/report-schedules/{id}",
      "DELETE /audit/rules/{id}",
      "DELETE /audit/searches/{id}",
      "GET /audit/access",
      "GET /audit/alerts",
      "GET /audit/archive/{path}",
      "GET /audit/channels",
      "GET /audit/costs",
      "GET /audit/deliveries",
      "GET /audit/erasures",
      "GET /audit/erasures/{id}",
      "GET /audit/erasures/{id}/{file}",
      "GET /audit/export",
      "GET /audit/exports",
      "GET /audit/exports/{id}",
      "GET /audit/exports/{id}/{file}",
      "GET /audit/health",
      "GET /audit/logs",
      "GET /audit/logs/{name}",
      "GET /audit/logs/{name}/proof",
      "GET /audit/logs/{name}/proof/anchor",
      "GET /audit/news",
      "GET /audit/query",
      "GET /audit/report-schedules",
      "GET /audit/report-schema",
      "GET /audit/report-templates",
      "GET /audit/reports",
      "GET /audit/reports/{id}",
      "GET /audit/reports/{id}/{file}",
      "GET /audit/resources/{type}/{id}/history",
      "GET /audit/rules",
      "GET /audit/searches",
      "GET /audit/settings",
      "GET /audit/status",
      "PATCH /audit/channels/{id}",
      "PATCH /audit/report-schedules/{id}",
      "PATCH /audit/rules/{id}",
      "PATCH /audit/searches/{id}",
      "PATCH /audit/settings",
      "POST /audit/alerts/{id}/accept",
      "POST /audit/alerts/{id}/acknowledge",
      "POST /audit/alerts/{id}/reopen",
      "POST /audit/alerts/{id}/resolve",
      "POST /audit/alerts/{id}/silence",
      "POST /audit/auditors",
      "POST /audit/channels",
      "POST /audit/channels/{id}/disable",
      "POST /audit/channels/{id}/enable",
      "POST /audit/channels/{id}/rotate",
      "POST /audit/channels/{id}/test",
      "POST /audit/deliveries/{id}/replay",
      "POST /audit/erasures",
      "POST /audit/exports",
      "POST /audit/holds",
      "POST /audit/holds/release",
      "POST /audit/logs/search",
      "POST /audit/query",
      "POST /audit/report-schedules",
      "POST /audit/reports",
      "POST /audit/retention",
      "POST /audit/rules",
      "POST /audit/rules/preview",
      "POST /audit/rules/test",
      "POST /audit/rules/{id}/choice",
      "POST /audit/searches",
    ]);
  });

  test("refers to nothing that it lacks", () => {
    const text = JSON.stringify(document);
    const names = [...text.matchAll(/"#\/components\/schemas\/([^"]+)"/g)].map(([, name]) => name!);
    expect(names.length).toBeGreaterThan(5);
    expect(names.filter((name) => !(name in document.components.schemas)))
      .toEqual([]);
    expect(document.components.securitySchemes).toHaveProperty("bearer");
  });

  test("every path parameter is described, and everything but health needs a token", () => {
    for (const [path, methods] of Object.entries(document.paths)) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      for (const operation of Object.values(methods)) {
        const described = (operation.parameters ?? []).map(({ name }) => name);
        expect(described).toEqual(expect.arrayContaining(inPath));
        expect([path, operation.security !== undefined]).toEqual([path, path !== "/audit/health"]);
        expect(operation.summary).not.toBe("");
      }
    }
  });
});

describe("the page", () => {
  const page = (accept: string) => fetch(`${api.url}/functions/v1/audit/reference`, { headers: { accept } });
  test("is HTML for browsers, with nothing from elsewhere", async () => {
    const response = await page("text/html,*/*");
    const html = await response.text();
    expect(response.headers.get("content-type")).toContain("text/html");
    expect(html).toContain("GET /audit/resources/{type}/{id}/history");
    expect(html).not.toMatch(/<script|<link|src=|@import|url\(/);
  });
  test("is Markdown for others", async () => {
    const response = await page("*/*");
    expect(response.headers.get("content-type")).toContain("text/markdown");
    expect(await response.text()).toMatch(/^# Audit logs/);
  });
});

describe("answers are as described", () => {
  const shaped: [string, z.ZodType, { body?: unknown; status?: number }][] = [
    ["/health", schemas.Health, {}],
    ["/logs?include=total,facets", schemas.Page, {}],
    ["/logs?sort=-cost&limit=2", schemas.Page, {}],
    ["/logs/search", schemas.Page, { body: { include: ["facets"] } }],
    [`/resources/api_key/${ACME}/history`, schemas.Page, {}],
    ["/news?since=2026-01-01T00:00:00Z", schemas.News, {}],
    ["/query?q=action:x", schemas.BothForms, {}],
    ["/query", schemas.BothForms, { body: { filter: { text: "a" } } }],
    ["/costs?by=user,provider,day", schemas.Costs, {}],
    ["/costs?by=organization,model", schemas.Costs, {}],
    ["/access", schemas.Access, {}],
    ["/exports", schemas.ExportList, {}],
    ["/exports", schemas.ExportStatus, { body: { format: "csv" }, status: 202 }],
    ["/nothing", schemas.ProblemBody, { status: 404 }],
    ["/logs?limit=x", schemas.ProblemBody, { status: 400 }],
    ["/logs?q=(", schemas.ProblemBody, { status: 400 }],
  ];

  test.each(shaped)("%s", async (path, schema, { body, status = 200 }) => {
    const response = await api.call(path, { body });
    expect(response.status).toBe(status);
    const answer = await response.json();
    expect(schema.safeParse(answer).error?.issues ?? [], JSON.stringify(answer))
      .toEqual([]);
  });

  test("an entry, and an export of one's own", async () => {
    const { entries: [entry] } = await (await api.call("/logs?action=api_key.added")).json() as {
      entries: { name: string }[];
    };
    schemas.EntryView.parse(await (await api.call(`/logs/${entry!.name}`)).json());
    const response = await api.call("/export?format=csv");
    await response.text();
    schemas.ExportStatus.parse(await (await api.call(`/exports/${response.headers.get("audit-export-id")}`)).json());
    schemas.ExportList.parse(await (await api.call("/exports")).json());
  });
});

test("problems of the database are those of its registry", async () => {
  const client = await api.db.connect();
  const { rows } = await client.query("select code, http_status, name from audit.error_codes");
  const registry = Object.fromEntries(rows.map((row) => [row.code, [row.http_status, row.name]]));
  const known = Object.entries(DATABASE_PROBLEMS).map(([code, [status, name]]) => [code, [status, name]]);
  expect(registry).toMatchObject(Object.fromEntries(known));
});

test("the version is the package's", () => {
  expect(VERSION).toBe(manifest.version);
});
