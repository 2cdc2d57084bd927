// Applications reach the function through supabase-js; it runs in Deno here, for Node 20 has no WebSocket of its own.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ACME, ALICE, type Api, startApi } from "./server.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

let api: Api;
beforeAll(async () => {
  api = await startApi();
  const client = await api.db.connect();
  await client.query("insert into public.api_keys (organization_id, created_by) values ($1, $2)", [ACME, ALICE]);
});
afterAll(() => api.stop());

test("functions.invoke() searches, exports and gets the problem of a bad query", async () => {
  const args = [
    "run",
    "--cached-only",
    "--node-modules-dir=manual",
    "--no-lock",
    "--config",
    "functions/audit/deno.json",
  ];
  const { stdout } = await promisify(execFile)(
    `${ROOT}node_modules/.bin/deno`,
    [...args, "--allow-net", "--allow-env", "--allow-read", "test/api/invoke.ts"],
    { cwd: ROOT, env: { ...process.env, API_URL: api.url, ANON_KEY: api.keys.anon_key, TOKEN: await api.token() } },
  );
  expect(JSON.parse(stdout)).toEqual({
    searched: 1,
    filtered: 1,
    exported: expect.stringMatching(/^name,organization_id,.*\n.*api_key\.added/),
    refused: expect.objectContaining({ status: 400, code: "invalid_query", position: 1, path: "/query" }),
  });
});
