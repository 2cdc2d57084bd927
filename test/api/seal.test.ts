// From an entry to a receipt in somebody's hands, by the functions as they are deployed: sealed by the job into Storage,
// handed out, and verified with nothing but the public key.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { parseReceipt, verifyReceipt } from "../../functions/_shared/tlog/receipt.ts";
import { leafHash } from "../../functions/_shared/tlog/hash.ts";
import { parseVerifierKey, renameKey } from "../../functions/_shared/tlog/key.ts";
import { formatNote, noteVerifier, parseNote, verifyNote } from "../../functions/_shared/tlog/note.ts";
import { logVkey } from "../../scripts/stack/keys.ts";
import { ACME, ALICE, type Api, BOB, OSCAR, startApi, VERA } from "./server.ts";

const sha256 = (bytes: string | Buffer) => createHash("sha256").update(bytes).digest("hex");

let api: Api;
let client: pg.Client;

beforeAll(async () => {
  api = await startApi();
  client = await api.db.connect();
  await client.query(
    "insert into public.budgets (organization_id, name, created_by) select $1, 'B' || n, $2 from generate_series(1, 700) n",
    [ACME, BOB],
  );
});
afterAll(() => api.stop());

async function seal(query = "?due_now=true"): Promise<Record<string, unknown>> {
  const response = await api.call(`/seal${query}`, {
    of: "audit-jobs",
    method: "POST",
    headers: { authorization: `Bearer ${api.keys.jobs_secret}` },
  });
  expect(response.status).toBe(200);
  return await response.json() as Record<string, unknown>;
}

async function name(where: string): Promise<string> {
  const { rows: [row] } = await client.query(
    `select chain || '-' || seq as name from public.audit_logs where organization_id = '${ACME}' and ${where} order by seq limit 1`,
  );
  return row.name as string;
}

function verify(receipt: string) {
  const extra = parseReceipt(receipt).extra!;
  const origin = `${parseVerifierKey(logVkey(api.keys), "note").name}/${ACME}/${new Date().toISOString().slice(0, 7)}`;
  const key = renameKey(parseVerifierKey(logVkey(api.keys), "note"), origin);
  return {
    entry: new TextDecoder().decode(extra),
    ...verifyReceipt(receipt, leafHash(extra), { origin, log: [noteVerifier(key)] }),
  };
}

test("what is not sealed says so", async () => {
  const response = await api.call(`/logs/${await name("action = 'budget.created'")}/proof`, { as: BOB });
  expect(response.status).toBe(409);
  expect(await response.json()).toMatchObject({ code: "not_sealed", hint: expect.any(String) });
});

test("an entry is sealed into Storage, and its receipt verifies by the key alone", async () => {
  expect(await seal()).toMatchObject({ failed: 0, more: false });
  for (
    const where of [
      "action = 'budget.created' and seq = 700",
      "action = 'log.opened'",
      "action = 'organization.created'",
    ]
  ) {
    const entry = await name(where);
    const response = await api.call(`/logs/${entry}/proof`);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toMatch(/^text\/plain/);
    expect(response.headers.get("content-disposition")).toContain(`${entry}.tlog-proof`);
    const verified = verify(await response.text());
    expect(verified.entry).toContain(`"chain":${entry.split("-")[0]},"seq":${entry.split("-")[1]},`);
    expect(verified.checkpoint.size).toBeGreaterThan(700);
  }
  const { proof } = await (await api.call(`/logs/${await name("action = 'budget.created'")}`)).json() as {
    proof: object;
  };
  expect(proof).toMatchObject({
    state: "sealed",
    index: expect.any(Number),
    checkpoint: expect.stringContaining(ACME),
  });
});

test("with the anchor log's receipt, an entry's receipt leads to the one checkpoint that witnesses sign", async () => {
  const entry = await name("action = 'budget.created' and seq = 700");
  const anchored = () => api.call(`/logs/${entry}/proof?checkpoint=anchored`);
  const ofLog = () => api.call(`/logs/${entry}/proof/anchor`);
  for (const early of [await anchored(), await ofLog()]) {
    expect(early.status).toBe(409);
    expect(await early.json()).toMatchObject({ code: "not_anchored", hint: expect.stringContaining("five minutes") });
  }
  await client.query("select audit.anchor_checkpoints()");
  await seal();
  const receipt = await (await anchored()).text();
  const { checkpoint, entry: proved } = verify(receipt);
  expect(proved).toContain(`"seq":700,`);
  const response = await ofLog();
  expect(response.headers.get("content-disposition")).toContain(`${entry}.anchor.tlog-proof`);
  const anchor = await response.text();
  const extra = parseReceipt(anchor).extra!;
  expect(new TextDecoder().decode(extra)).toBe(parseReceipt(receipt).checkpoint.text);
  const key = parseVerifierKey(logVkey(api.keys), "note");
  const origin = `${key.name}/anchor`;
  expect(verifyReceipt(anchor, leafHash(extra), { origin, log: [noteVerifier(renameKey(key, origin))] })).toMatchObject(
    {
      checkpoint: { origin },
    },
  );
  // What is sealed later does not change them: the first checkpoint over the entry is the one.
  await client.query("update public.budgets set name = 'renamed' where name = 'B1'");
  await seal();
  await client.query("select audit.anchor_checkpoints()");
  await seal();
  expect(verify(await (await anchored()).text()).checkpoint).toEqual(checkpoint);
  expect(verify(await (await api.call(`/logs/${entry}/proof`)).text()).checkpoint.size).toBeGreaterThan(
    checkpoint.size,
  );
  expect(parseReceipt(await (await ofLog()).text()).extra).toEqual(extra);
  expect((await api.call(`/logs/${entry}/proof/anchor?organization_id=${ACME}`, { as: VERA })).status).toBe(403);
  expect((await api.call(`/logs/${entry}/proof?checkpoint=oldest`)).status).toBe(400);
});

test("receipts are for who may read the entry", async () => {
  const entry = await name("action = 'budget.created'");
  expect((await api.call(`/logs/${entry}/proof`, { as: BOB })).status).toBe(200);
  expect((await api.call(`/logs/${entry}/proof?organization_id=${ACME}`, { as: VERA })).status).toBe(403);
  expect((await api.call(`/logs/${entry}/proof?organization_id=${ACME}`, { as: OSCAR })).status).toBe(403);
  expect((await api.call(`/logs/${await name("action = 'log.opened'")}/proof`, { as: BOB })).status).toBe(404);
  expect((await api.call("/logs/0-999999/proof")).status).toBe(404);
  expect((await api.call("/logs/x/proof")).status).toBeGreaterThanOrEqual(400);
});

test("a second run of the clock does no harm, and what is not due waits", async () => {
  await client.query("select audit.configure('seal_after', '3600')");
  const two = await Promise.all([seal(), seal()]);
  expect(two.map(({ failed }) => failed)).toEqual([0, 0]);
  await client.query("insert into public.budgets (organization_id, name, created_by) values ($1, 'late', $2)", [
    ACME,
    ALICE,
  ]);
  expect(await seal("")).toMatchObject({ logs: 0, entries: 0, failed: 0, more: false });
});

test("an export's manifest is signed once what it could hold is sealed, and names its parts by their digests", async () => {
  const sent = await api.call("/export?format=ndjson&action=budget.created");
  const bytes = Buffer.from(await sent.arrayBuffer());
  const id = sent.headers.get("audit-export-id")!;
  const file = (name: string, as = ALICE) => api.call(`/exports/${id}/${name}`, { as });
  expect(await (await file("manifest.json")).json()).toMatchObject({ status: 409, code: "not_sealed" });
  await seal();
  const response = await api.call("/manifests", {
    of: "audit-jobs",
    method: "POST",
    headers: { authorization: `Bearer ${api.keys.jobs_secret}` },
  });
  expect(await response.json()).toEqual({ signed: 1 });
  const manifest = await (await file("manifest.json")).text();
  const note = parseNote(await (await file("manifest.note")).text());
  expect(note.text).toBe(`supabase-audit-logs export manifest v1\n${sha256(manifest)}\n`);
  expect(verifyNote(note, [noteVerifier(parseVerifierKey(logVkey(api.keys), "note"))])).toHaveLength(1);
  expect(JSON.parse(manifest)).toMatchObject({
    complete: true,
    entries: 701,
    parts: [{ part: 1, entries: 701, bytes: bytes.length, sha256: sha256(bytes) }],
    checkpoint: expect.stringContaining(ACME),
  });
  const { manifest_note } = await (await api.call(`/exports/${id}`)).json() as { manifest_note: string };
  expect(manifest_note).toBe(formatNote(note));
  expect([(await file("manifest.json", BOB)).status, (await file("manifest.xml")).status]).toEqual([404, 400]);
});

test("without a key nothing is signed, and the answer names the way out", async () => {
  const bare = await startApi({ secrets: { AUDIT_LOG_KEY: "" } });
  try {
    const response = await bare.call("/seal", {
      of: "audit-jobs",
      method: "POST",
      headers: { authorization: `Bearer ${bare.keys.jobs_secret}` },
    });
    expect(response.status).toBe(503);
    expect(await response.json()).toMatchObject({ code: "not_configured", hint: expect.stringContaining("keygen") });
  } finally {
    await bare.stop();
  }
});
