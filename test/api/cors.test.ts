// Browsers: what they may send, and what pages may read of the answer.
import { afterAll, beforeAll, expect, test } from "vitest";
import { type Api, startApi } from "./server.ts";

let api: Api;
let url: string;
beforeAll(async () => {
  api = await startApi();
  // The gateway's stand-in answers preflights itself.
  url = await api.directUrl();
});
afterAll(() => api.stop());

test("a preflight allows what supabase-js sends, without a token", async () => {
  const wanted = ["authorization", "apikey", "x-client-info", "content-type", "x-request-id"];
  const response = await fetch(`${url}/logs/search`, {
    method: "OPTIONS",
    headers: {
      "origin": "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": wanted.join(", "),
    },
  });
  expect(response.status).toBe(204);
  expect(response.headers.get("access-control-allow-origin")).toBe("*");
  const allowed = response.headers.get("access-control-allow-headers")!
    .toLowerCase().split(",");
  expect(allowed.map((name) => name.trim())).toEqual(expect.arrayContaining(wanted));
  for (const method of ["GET", "POST", "PATCH", "DELETE"]) {
    expect(response.headers.get("access-control-allow-methods")).toContain(method);
  }
});

test.each([["an answer", "/logs?limit=1", 200], [
  "a refusal",
  "/logs?limit=x",
  400,
], ["an export", "/export?format=csv", 200]])(
  "%s can be read by a page, with its headers",
  async (_, path, status) => {
    const response = await fetch(url + path, {
      headers: { origin: "https://app.example", authorization: `Bearer ${await api.token()}` },
    });
    await response.text();
    expect(response.status).toBe(status);
    expect(response.headers.get("access-control-allow-origin")).toBe("*");
    const shown = response.headers.get("access-control-expose-headers")!.split(",");
    expect(shown).toEqual(
      expect.arrayContaining([
        "x-request-id",
        "link",
        "content-disposition",
        "audit-export-id",
        "audit-entries",
        "audit-part",
      ]),
    );
  },
);

test("without a token a page may read why", async () => {
  const response = await fetch(`${url}/logs`, { headers: { origin: "https://app.example" } });
  await response.text();
  expect([response.status, response.headers.get("access-control-allow-origin")])
    .toEqual([401, "*"]);
});
