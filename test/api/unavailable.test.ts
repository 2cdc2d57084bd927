// When the database cannot be reached, or has no connection to give: clients are told to try again, and nothing else.
import { afterEach, describe, expect, test } from "vitest";
import { freePort } from "../../scripts/stack/ports.ts";
import { type Api, startApi } from "./server.ts";

let api: Api;
afterEach(() => api.stop());

describe("without a database", () => {
  test("requests are refused for the moment, and health says so", async () => {
    api = await startApi({
      env: { SUPABASE_DB_URL: `postgresql://postgres:secret-password@127.0.0.1:${await freePort()}/x` },
    });
    for (const path of ["/logs", "/export?format=csv"]) {
      const response = await api.call(path);
      expect(response.headers.get("retry-after")).toBe("2");
      expect(await response.json()).toMatchObject({ status: 503, code: "unavailable" });
    }
    const health = await api.call("/health");
    expect(health.status).toBe(503);
    expect(await health.json()).toMatchObject({ status: "failing", database: "unreachable" });
    expect(await api.output()).not.toContain("secret-password");
  });
});

describe("with a database", () => {
  test("connections that it ends are replaced", async () => {
    api = await startApi();
    await (await api.call("/logs?limit=1")).text();
    const client = await api.db.connect();
    await client.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name = 'audit-functions'",
    );
    const statuses: number[] = [];
    for (let n = 0; n < 5; n++) {
      const response = await api.call("/logs?limit=1");
      await response.text();
      statuses.push(response.status);
    }
    expect(statuses).toEqual([200, 200, 200, 200, 200]);
  });

  test("requests beyond its connections wait, then are refused for the moment", async () => {
    api = await startApi();
    await (await api.call("/logs?limit=1")).text();
    const client = await api.db.connect();
    await client.query("begin; lock table public.audit_logs in access exclusive mode");
    try {
      const responses = await Promise.all(Array.from({ length: 12 }, () => api.call("/logs?limit=1")));
      const statuses = responses.map((response) => response.status).sort();
      expect(statuses).toEqual([...Array(6).fill(503), ...Array(6).fill(504)]);
      await Promise.all(responses.map((response) => response.text()));
    } finally {
      await client.query("rollback");
    }
    const after = await api.call("/logs?limit=1");
    await after.text();
    expect(after.status).toBe(200);
  }, 30_000);
});
