// What leaves the project, in the functions' own runtime: from the clock's calls to a webhook, a bucket, a witness and a
// mirror, and what readers and the mirror have then.
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { logVkey } from "../../scripts/stack/keys.ts";
import { openCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import { parseVerifierKey, renameKey } from "../../functions/_shared/tlog/key.ts";
import { noteVerifier } from "../../functions/_shared/tlog/note.ts";
import { startReceiver, type WebhookReceiver } from "../support/receiver.ts";
import { type S3, startS3 } from "../support/s3.ts";
import { startWitness, type Witness } from "../support/witness.ts";
import { type Api, startApi } from "./server.ts";

const ACCESS = { bucket: "outside", region: "eu-central-1" };

let api: Api;
let client: pg.Client;
let receiver: WebhookReceiver;
let witness: Witness;
let s3: S3;

beforeAll(async () => {
  [receiver, witness, s3] = await Promise.all([
    startReceiver(),
    startWitness("w1"),
    startS3({ ...ACCESS, accessKeyId: "AKIA", secretAccessKey: "secret", locked: true }),
  ]);
  api = await startApi({
    secrets: {
      AUDIT_RECEIVERS: JSON.stringify([{
        name: "hook",
        kind: "webhook",
        url: receiver.url,
        secret: receiver.secret,
        logs: "all",
      }, { name: "copies", kind: "bucket", bucket: "checkpoint-copies" }]),
      AUDIT_WITNESSES: `${witness.policy}\nquorum w1`,
      AUDIT_S3: JSON.stringify({
        ...ACCESS,
        endpoint: s3.endpoint,
        access_key_id: "AKIA",
        secret_access_key: "secret",
        lock: { mode: "COMPLIANCE", days: 400 },
      }),
    },
  });
  client = await api.db.connect();
});
afterAll(() => Promise.all([api.stop(), receiver.stop(), witness.stop(), s3.stop()]));

async function run(job: string, of = api): Promise<{ status: number; body: Record<string, unknown> }> {
  const headers = { authorization: `Bearer ${of.keys.jobs_secret}` };
  const response = await of.call(`/${job}`, { of: "audit-jobs", method: "POST", headers });
  return { status: response.status, body: await response.json() as Record<string, unknown> };
}

async function seal(): Promise<void> {
  expect(await run("seal?due_now=true")).toMatchObject({ status: 200, body: { failed: 0 } });
  await client.query("select audit.anchor_checkpoints()");
  expect(await run("seal?due_now=true")).toMatchObject({ status: 200, body: { failed: 0 } });
}

describe("in the functions' own runtime", () => {
  test("checkpoints reach a webhook and a bucket", async () => {
    await seal();
    expect(await run("deliver-checkpoints")).toMatchObject({ status: 200, body: { configured: true, failed: 0 } });
    const anchored = receiver.messages.filter(({ body }) => body.data.origin.endsWith("/anchor"));
    expect(anchored).toHaveLength(1);
    expect(receiver.messages.length).toBeGreaterThan(1);
    const { rows } = await client.query("select name from storage.objects where bucket_id = 'checkpoint-copies'");
    const size = String(anchored[0]!.body.data.size).padStart(16, "0");
    expect(rows).toEqual([{ name: `checkpoints/anchor/${size}` }]);
  });

  test("a witness cosigns what readers get, and the mirror has it", async () => {
    const { rows: [{ origin }] } = await client.query("select origin from audit.logs where month is null");
    const log = [noteVerifier(renameKey(parseVerifierKey(logVkey(api.keys), "note"), origin))];
    witness.logs.set(origin, log);
    for (let round = 0; round < 3; round++) {
      await seal();
      const result = { configured: true, asked: 1, cosigned: 1, enough: true, published: true };
      expect(await run("witness")).toEqual({ status: 200, body: result });
      expect(await run("mirror")).toMatchObject({ status: 200, body: { configured: true, failed: 0 } });
      const mirrored = s3.objects.get("anchor/checkpoint")!.at(-1)!;
      expect(mirrored.headers["x-amz-object-lock-mode"]).toBe("COMPLIANCE");
      const { checkpoint, cosignatures } = openCheckpoint(mirrored.bytes, {
        origin,
        log,
        witnesses: [witness.verifier],
      });
      expect(cosignatures).toHaveLength(1);
      expect(checkpoint.size).toBe(witness.trees.get(origin)!.size);
      await client.query("select audit.record(null, 'thing.done')");
    }
    // All of the archive's newest files are there.
    const { rows } = await client.query(
      "select name from storage.objects where bucket_id = 'audit-archive' and name like '%/checkpoint'",
    );
    for (const { name } of rows) expect(s3.objects.has(name), name).toBe(true);
    const { rows: state } = await client.query(
      "select kind, last_error from audit.outside where behind_checkpoints = 0 order by kind",
    );
    expect(state).toEqual(["mirror", "witness"].map((kind) => ({ kind, last_error: null })));
  });

  test("a setting that is wrong stops its own job, and is named", async () => {
    const broken = await startApi({ secrets: { AUDIT_WITNESSES: "quorum nobody" } });
    try {
      expect(await run("deliver-checkpoints", broken)).toEqual({ status: 200, body: { configured: false } });
      expect(await run("mirror", broken)).toEqual({ status: 200, body: { configured: false } });
      expect(await run("witness", broken)).toMatchObject({
        status: 503,
        body: { code: "not_configured", detail: expect.stringContaining("AUDIT_WITNESSES") },
      });
    } finally {
      await broken.stop();
    }
  });
});
