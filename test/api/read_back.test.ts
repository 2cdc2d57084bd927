// Reading back as it is deployed: by the job, out of Storage. (test/db/read_back.test.ts has the attacks.)
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ACME, type Api, startApi } from "./server.ts";

const FOLDER = `${ACME}/${new Date().toISOString().slice(0, 7)}`;

let api: Api;
let client: pg.Client;

beforeAll(async () => {
  api = await startApi();
  client = await api.db.connect();
  await client.query(
    "insert into public.budgets (organization_id, name) select $1, 'B' || n from generate_series(1, 700) n",
    [ACME],
  );
  await run("seal?due_now=true");
});
afterAll(() => api.stop());

async function run(job: string, secret = api.keys.jobs_secret) {
  const response = await api.call(`/${job}`, {
    of: "audit-jobs",
    method: "POST",
    headers: { authorization: `Bearer ${secret}` },
  });
  return { status: response.status, ...await response.json() as Record<string, unknown> };
}

function object(path: string, method = "GET", body?: Uint8Array): Promise<Response> {
  return fetch(`${api.url}/storage/v1/object/audit-archive/${FOLDER}/${path}`, {
    method,
    headers: {
      authorization: `Bearer ${api.keys.service_role_key}`,
      ...(body === undefined ? {} : { "content-type": "application/octet-stream", "x-upsert": "true" }),
    },
    ...(body === undefined ? {} : { body: body as BodyInit }),
  });
}

const bytesOf = async (path: string) => new Uint8Array(await (await object(path)).arrayBuffer());

async function readBackTo(): Promise<number> {
  const { rows: [log] } = await client.query("select read_back::int from audit.logs where organization_id = $1", [
    ACME,
  ]);
  return log.read_back;
}

test("the archive is read back, and what is in full bundles counts", async () => {
  expect(await run("read-back")).toMatchObject({ status: 200, found: 0, repaired: 0, failed: 0, more: false });
  expect(await readBackTo()).toBe(512);
  expect(await run("read-back")).toMatchObject({ readings: 0 });
});

test("what is damaged in Storage is found after a week, and is as it was", async () => {
  const paths = ["tile/entries/000", "tile/0/001", "checkpoint"];
  const before = await Promise.all(paths.map(bytesOf));
  expect((await object(paths[0]!, "DELETE")).ok).toBe(true);
  expect((await object(paths[1]!, "POST", before[1]!.map((byte) => byte ^ 1))).ok).toBe(true);
  expect((await object(paths[2]!, "POST", new TextEncoder().encode("x"))).ok).toBe(true);
  await client.query("update audit.logs set opened_at = opened_at - interval '7 days' where organization_id = $1", [
    ACME,
  ]);
  expect(await run("read-back")).toMatchObject({ status: 200, found: 3, repaired: 3, failed: 0, more: false });
  expect(await Promise.all(paths.map(bytesOf))).toEqual(before);
  const { rows } = await client.query(
    "select action, resource_id as path from public.audit_logs where action in ('verification.failed', 'finding.resolved') order by 2, 1 desc",
  );
  expect(rows).toEqual(
    paths.map((path) => `${FOLDER}/${path}`).sort().flatMap((
      path,
    ) => [{ action: "verification.failed", path }, { action: "finding.resolved", path }]),
  );
});

test("the job is not started with another secret", async () => {
  expect(await run("read-back", "x".repeat(43))).toMatchObject({ status: 401, code: "not_authenticated" });
});
