// Exports in the background: made part by part into Storage by whoever starts the job, with the rights of who asked.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { gunzipSync } from "node:zlib";
import { parse } from "csv-parse/sync";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { ACME, ALICE, type Api, BOB, startApi, VERA } from "./server.ts";

type Export = {
  id: string;
  state: string;
  error: string | null;
  entries_done: number;
  parts: {
    part: number;
    entries: number;
    bytes: number;
    sha256: string;
    complete: boolean;
    path: string;
    url?: string;
  }[];
};

let api: Api;
let client: pg.Client;
const MANY = 110_000;

beforeAll(async () => {
  api = await startApi();
  client = await api.db.connect();
  await client.query(
    `insert into public.budgets (organization_id, name, created_by) select $1, 'B' || n, $2 from generate_series(1, $3::int) n`,
    [ACME, ALICE, MANY],
  );
  await client.query(
    "insert into public.api_keys (organization_id, created_by) values ($1, $2), ($1, $3)",
    [ACME, ALICE, BOB],
  );
  await client.query("analyze public.audit_logs");
});
afterAll(() => api.stop());
beforeEach(() => client.query("update audit.exports set state = 'cancelled' where state in ('queued', 'running')"));

async function request(body: object, as = ALICE): Promise<Export> {
  const response = await api.call("/exports", { body, as });
  expect(response.status).toBe(202);
  const made = await response.json() as Export;
  expect(response.headers.get("location")).toBe(`${api.url}/functions/v1/audit/exports/${made.id}`);
  return made;
}

async function run(secret = api.keys.jobs_secret): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await api.call("/exports", {
    of: "audit-jobs",
    method: "POST",
    headers: { authorization: `Bearer ${secret}` },
  });
  return { status: response.status, body: await response.json() as Record<string, unknown> };
}

async function look(id: string, as = ALICE): Promise<Export> {
  return await (await api.call(`/exports/${id}`, { as })).json() as Export;
}

async function fetchPart(part: Export["parts"][number]): Promise<Buffer> {
  const response = await fetch(part.url!);
  expect(response.status).toBe(200);
  return Buffer.from(await response.arrayBuffer());
}

const sha256 = (bytes: Buffer) => createHash("sha256").update(bytes).digest("hex");

describe("an export in the background", () => {
  test("is made in parts, each with its digest and an address to download it from", async () => {
    const { id, state } = await request({ format: "csv", query: "action:budget.created" });
    expect(state).toBe("queued");
    expect(await run()).toMatchObject({ status: 200, body: { parts: 2, failed: 0, more: false } });
    const done = await look(id);
    expect(done).toMatchObject({ state: "done", entries_done: MANY, error: null });
    expect(done.parts.map((part) => part.path)).toEqual([1, 2].map((part) => `${ACME}/${id}/part-000${part}.csv`));
    const files = await Promise.all(done.parts.map(fetchPart));
    const names = new Set<string>();
    files.forEach((bytes, at) => {
      expect([bytes.length, sha256(bytes)]).toEqual([done.parts[at]!.bytes, done.parts[at]!.sha256]);
      const [, ...lines] = bytes.toString().trimEnd().split("\n");
      for (const line of lines) names.add(line.slice(0, line.indexOf(",")));
    });
    expect(names.size).toBe(MANY);
  });

  test("is compressed on request, and its digest is of what is in it", async () => {
    const { id } = await request({ format: "ndjson", query: "action:api_key.added", gzip: true });
    await run();
    const { parts: [part] } = await look(id);
    expect(part!.path).toBe(`${ACME}/${id}/part-0001.ndjson.gz`);
    const bytes = gunzipSync(await fetchPart(part!));
    expect(sha256(bytes)).toBe(part!.sha256);
    expect(bytes.toString().trimEnd().split("\n")).toHaveLength(2);
  });

  test("has the rights of who asked", async () => {
    const { id } = await request({ format: "csv", query: "action:api_key.added" }, BOB);
    await run();
    const { parts: [part] } = await look(id, BOB);
    const rows = parse(await fetchPart(part!), { columns: true }) as {
      created_by: string;
    }[];
    expect(rows.map((row) => row.created_by)).toEqual([BOB]);
  });

  test("is not made for someone who no longer may", async () => {
    const { id } = await request({ format: "csv" }, BOB);
    await client.query("delete from public.organization_members where user_id = $1", [BOB]);
    try {
      expect(await run()).toMatchObject({ body: { parts: 0, failed: 1 } });
      expect(await look(id)).toMatchObject({ state: "failed", error: expect.any(String), parts: [] });
    } finally {
      await client.query("insert into public.organization_members values ($1, $2, 'member')", [ACME, BOB]);
    }
  });

  test("made by two runs at once, is made once", async () => {
    const { id } = await request({ format: "csv", query: "action:budget.created" });
    const runs = await Promise.all([run(), run()]);
    expect(runs.reduce((parts, { body }) => parts + Number(body.parts), 0))
      .toBe(2);
    expect(await look(id)).toMatchObject({ state: "done", entries_done: MANY });
  });

  test("left by a run that was killed, is taken up again when its lease is over", async () => {
    const { id } = await request({ format: "csv", query: "action:api_key.added" });
    const { rows: [{ claim }] } = await client.query("select audit.claim_export('1 hour') as claim");
    expect(claim.id).toBe(id);
    expect(await run()).toMatchObject({ body: { parts: 0, more: false } });
    await client.query("update audit.exports set lease_until = now() - interval '1 second' where id = $1", [id]);
    expect(await run()).toMatchObject({ body: { parts: 1 } });
    expect(await look(id)).toMatchObject({ state: "done", entries_done: 2 });
  });

  test("can be cancelled before its turn", async () => {
    const { id } = await request({ format: "csv" });
    expect(await (await api.call(`/exports/${id}`, { method: "DELETE" })).json()).toMatchObject({ state: "cancelled" });
    expect(await run()).toMatchObject({ body: { parts: 0, more: false } });
    expect(await look(id)).toMatchObject({ state: "cancelled", parts: [] });
  });

  test("lies in a private bucket", async () => {
    const { rows } = await client.query("select public from storage.buckets where id = 'audit-exports'");
    expect(rows).toEqual([{ public: false }]);
  });

  test("is asked for by readers only", async () => {
    const response = await api.call("/exports", { body: { format: "csv" }, as: VERA });
    expect(response.status).toBe(403);
    await response.text();
  });
});

describe("the job", () => {
  test.each([["no secret", ""], ["another secret", "x".repeat(43)]])(
    "is not started with %s",
    async (_, secret) => {
      expect(await run(secret)).toMatchObject({ status: 401, body: { code: "not_authenticated" } });
    },
  );
  test("is not started with a person's token", async () => {
    expect((await run(await api.token())).status).toBe(401);
  });
  test("says what it does not know", async () => {
    const response = await api.call("/nothing", {
      of: "audit-jobs",
      method: "POST",
      headers: { authorization: `Bearer ${api.keys.jobs_secret}` },
    });
    expect(await response.json()).toMatchObject({ status: 404, code: "route_not_found" });
  });
});
