// Receivers, attacked: they hang, fail, redirect, answer without end or say that they are gone; runs are killed before and
// after a delivery, and overlap. What a receiver has is then the newest checkpoint, never an older one after a newer.
import { Buffer } from "node:buffer";
import { createHmac } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { openCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import type { Database } from "../../functions/_shared/database.ts";
import { type Outside, readOutside } from "../../functions/audit-jobs/receiver_settings.ts";
import { deliverCheckpoints } from "../../functions/audit-jobs/receivers.ts";
import { type FaultyServer, startFaults } from "../support/faults.ts";
import { startReceiver, type WebhookReceiver } from "../support/receiver.ts";
import { startS3 } from "../support/s3.ts";
import { ACME, crashing, GLOBEX, type SealedProject, sealedProject } from "../support/sealed_project.ts";
import { type MemoryArchive, memoryArchive } from "../support/sealing.ts";

let project: SealedProject;
let receiver: WebhookReceiver;
let faults: FaultyServer;
let printed: string[];
const buckets = new Map<string, MemoryArchive>();

beforeEach(async () => {
  printed = [];
  buckets.clear();
  vi.spyOn(console, "error").mockImplementation((line) => void printed.push(String(line)));
  [project, receiver] = await Promise.all([sealedProject(), startReceiver()]);
  faults = await startFaults(receiver.url);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await Promise.all([project.end(), receiver.stop(), faults.stop()]);
});

/** The receiver behind faults, with a secret in its address. */
const hook = (more: object = {}) => ({
  name: "hook",
  kind: "webhook",
  url: `${faults.url}/hook?token=SECRET-TOKEN`,
  secret: receiver.secret,
  ...more,
});

function configured(receivers: unknown): Outside {
  const settings: Record<string, string> = { AUDIT_RECEIVERS: JSON.stringify(receivers) };
  return readOutside({
    setting: (name) => settings[name],
    openBucket(bucket) {
      const archive = buckets.get(bucket) ?? memoryArchive();
      buckets.set(bucket, archive);
      return archive;
    },
  });
}

const deliver = (receivers: unknown = [hook()], database: Database = project.database) =>
  deliverCheckpoints({ database, outside: configured(receivers) });
const sizes = () => receiver.messages.map(({ body }) => body.data.size);

type Row = {
  name: string;
  kind: string;
  behind_checkpoints: string;
  behind_entries: string;
  last_error: string | null;
  last_success: Date | null;
  behind_since: Date | null;
  disabled: boolean;
};
async function outside(): Promise<Row[]> {
  const { rows } = await project.client.query<Row>("select * from audit.outside order by name");
  return rows;
}

describe("a webhook", () => {
  test("gets the anchor log's checkpoint, signed as Standard Webhooks has it", async () => {
    const size = await project.grow(3);
    expect(await deliver()).toEqual({ configured: true, delivered: 1, failed: 0 });
    const [message] = receiver.messages;
    expect(message!.body).toEqual({
      type: "checkpoint.published",
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
      data: { origin: project.anchor, size, checkpoint: expect.any(String) },
    });
    const { checkpoint } = openCheckpoint(message!.body.data.checkpoint, {
      origin: project.anchor,
      log: project.keys.verifiers(project.anchor),
    });
    expect(checkpoint.size).toBe(size);
    // The library that verified it also made it; so by hand, too.
    const { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": signature } = message!.headers;
    const key = Buffer.from(receiver.secret.slice("whsec_".length), "base64");
    expect(signature).toBe(`v1,${createHmac("sha256", key).update(`${id}.${time}.${message!.text}`).digest("base64")}`);
    expect(Math.abs(Number(time) - Date.now() / 1_000)).toBeLessThan(10);

    expect(await deliver()).toEqual({ configured: true, delivered: 0, failed: 0 });
    expect(await outside()).toEqual([
      expect.objectContaining({
        name: "hook",
        kind: "webhook",
        behind_checkpoints: "0",
        behind_entries: "0",
        behind_since: null,
        last_error: null,
        disabled: false,
      }),
    ]);
  });

  test("gets those of all logs where it asks for them", async () => {
    await project.grow(3);
    await project.grow(2, GLOBEX);
    await deliver([hook({ logs: "all" })]);
    const origins = receiver.messages.map(({ body }) => body.data.origin);
    // Also the system organisation's, where receivers are noted; that entry is not sealed yet.
    expect(origins[0]).toBe(project.anchor);
    expect(origins.filter((origin) => origin.includes(ACME) || origin.includes(GLOBEX))).toHaveLength(2);
    expect(new Set(receiver.messages.map(({ id }) => id)).size).toBe(origins.length);
  });

  test("that was down gets the newest, and nothing older after it", async () => {
    const first = await project.grow();
    await deliver();
    faults.always = { status: 503 };
    await project.grow();
    await deliver();
    await project.grow();
    const last = await project.grow();
    expect((await outside())[0]).toMatchObject({ behind_checkpoints: "3", last_error: "http_503" });
    expect((await outside())[0]!.behind_since).toBeInstanceOf(Date);
    faults.always = undefined;
    await project.later();
    await deliver();
    await deliver();
    expect(sizes()).toEqual([first, last]);
  });

  test("that fails is left alone, longer each time, and no secret is kept or printed", async () => {
    faults.always = { status: 500, body: "SECRET-BODY" };
    await project.grow();
    const pauses: number[] = [];
    for (let attempt = 0; attempt < 12; attempt++) {
      await project.later();
      expect(await deliver()).toEqual({ configured: true, delivered: 0, failed: 1 });
      pauses.push(
        Number(
          await project.value("select round(extract(epoch from next_try_at - clock_timestamp())) from audit.receivers"),
        ),
      );
      expect(await deliver()).toMatchObject({ failed: 0 });
    }
    expect(pauses).toEqual([10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600, 3600]);
    expect(faults.requests).toHaveLength(12);
    expect((await outside())[0]).toMatchObject({ last_error: "http_500", last_success: null });
    const kept = await project.value<string>("select string_agg(r::text, '') from audit.receivers r");
    const entries = await project.value<string>("select string_agg(details::text, '') from public.audit_logs");
    expect(`${kept}${entries}${printed.join()}`).not.toMatch(/SECRET|whsec/);
    expect(printed.join()).not.toContain(receiver.secret.slice(6));
  });

  test.each([["120", 120], ["999999999", 86_400], ["nonsense", 10], [
    new Date(Date.now() + 600_000).toUTCString(),
    600,
  ]])("that asks to be left alone (%s) is", async (header, seconds) => {
    faults.next = [{ status: 429, headers: { "retry-after": header } }];
    await project.grow();
    await deliver();
    const pause = await project.value(
      "select extract(epoch from next_try_at - clock_timestamp()) from audit.receivers",
    );
    expect(Math.abs(Number(pause) - seconds)).toBeLessThan(Math.max(5, seconds / 5));
  });

  test("is not followed where it redirects", async () => {
    faults.next = [{ status: 302, headers: { location: receiver.url } }];
    await project.grow();
    await deliver();
    expect(receiver.messages).toEqual([]);
    expect((await outside())[0]).toMatchObject({ last_error: "redirected" });
  });

  test("that is gone is not asked again, which is a finding, until somebody says so", async () => {
    faults.always = { status: 410 };
    await project.grow();
    await deliver();
    await project.later();
    await deliver();
    expect(faults.requests).toHaveLength(1);
    expect((await outside())[0]).toMatchObject({ disabled: true, last_error: "http_410" });
    const open =
      "select count(*) from audit.findings where kind = 'receiver_gone' and subject = 'hook' and resolved_at is null";
    expect(await project.value(open)).toBe("1");
    faults.always = undefined;
    expect(await project.value("select audit.enable_receiver('webhook', 'hook')")).toBe(true);
    await deliver();
    expect(receiver.messages).toHaveLength(1);
    expect(await project.value(open)).toBe("0");
  });

  test("that hangs keeps no other waiting, and ends", { timeout: 30_000 }, async () => {
    const size = await project.grow();
    faults.always = "hang";
    const start = performance.now();
    const run = deliver([hook({ name: "a-hanging" }), { ...hook(), url: receiver.url }]);
    await expect.poll(sizes).toEqual([size]);
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(await run).toEqual({ configured: true, delivered: 1, failed: 1 });
    expect(performance.now() - start).toBeLessThan(15_000);
    expect((await outside())[0]).toMatchObject({ name: "a-hanging", last_error: "timeout" });
  });

  test("that answers without end has what it was sent", async () => {
    const { server, url, sent } = await endlessServer();
    await project.grow();
    const start = performance.now();
    expect(await deliver([hook({ url })])).toMatchObject({ delivered: 1, failed: 0 });
    expect(performance.now() - start).toBeLessThan(5_000);
    expect(sent()).toBeLessThan(5_000_000);
    server.closeAllConnections();
    server.close();
  });

  test.each(["before", "half request", { status: 404 }, { status: 301 }] as const)(
    "%o: delivered later",
    async (fault) => {
      const size = await project.grow();
      faults.next = [fault];
      expect(await deliver()).toMatchObject({ failed: 1 });
      expect(sizes()).toEqual([]);
      await project.later();
      await deliver();
      expect(sizes()).toEqual([size]);
    },
  );

  test("that took it and could not say so gets it again, under the same id", async () => {
    const size = await project.grow();
    faults.next = ["after"];
    await deliver();
    await project.later();
    await deliver();
    expect(sizes()).toEqual([size, size]);
    expect(receiver.messages[0]!.id).toBe(receiver.messages[1]!.id);
    await project.grow();
    await deliver();
    expect(receiver.messages[2]!.id).not.toBe(receiver.messages[0]!.id);
  });
});

describe("a run that is killed", () => {
  test.each(
    [
      ["register_receivers", "before", 1],
      ["register_receivers", "after", 1],
      ["claim_delivery", "before", 1],
      ["claim_delivery", "after", 1],
      ["record_delivery", "before", 2],
      ["record_delivery", "after", 1],
    ] as const,
  )("%s, %s: nothing is lost", async (statement, when, messages) => {
    const size = await project.grow();
    await expect(deliver([hook()], crashing(project.database, statement, when))).rejects.toThrow("killed");
    // As long as the lease lasts, nobody else delivers.
    if (statement !== "register_receivers" && `${statement} ${when}` !== "claim_delivery before") {
      expect(await deliver()).toMatchObject({ delivered: 0 });
    }
    await project.later();
    await deliver();
    await deliver();
    expect(sizes()).toEqual(Array(messages).fill(size));
    expect(new Set(receiver.messages.map(({ id }) => id)).size).toBe(1);
    expect((await outside())[0]).toMatchObject({ behind_checkpoints: "0" });
  });

  test("its word about a lease that it lost does not count", async () => {
    await project.grow();
    await deliver();
    const size = await project.grow();
    const claim = "select audit.claim_delivery('webhook', 'hook') ->> 'lease'";
    const lost = await project.value<string>(claim);
    await project.later();
    const lease = await project.value<string>(claim);
    const log = await project.value("select id from audit.logs where month is null");
    expect(lost).not.toBe(lease);
    expect(await project.value("select audit.record_delivery($1, $2, $3)", [lost, log, size])).toBe(false);
    await project.client.query("select audit.fail_delivery($1, $2, 'late', gone => true)", [lost, log]);
    expect((await outside())[0]).toMatchObject({ behind_checkpoints: "1", last_error: null, disabled: false });
    expect(await project.value("select audit.record_delivery($1, $2, $3)", [lease, log, size])).toBe(true);
    expect(await project.value("select audit.record_delivery($1, $2, 1)", [lease, log])).toBe(false);
    expect((await outside())[0]).toMatchObject({ behind_checkpoints: "0" });
  });

  test("two runs at once deliver once", async () => {
    await project.grow();
    await project.grow(1, GLOBEX);
    const results = await Promise.all(Array.from({ length: 4 }, () => deliver([hook({ logs: "all" })])));
    const delivered = results.reduce((sum, result) => sum + (result.configured ? result.delivered : 0), 0);
    expect(receiver.messages).toHaveLength(delivered);
    expect(new Set(receiver.messages.map(({ id }) => id)).size).toBe(delivered);
    expect((await outside())[0]).toMatchObject({ behind_checkpoints: "0" });
  });
});

test("a receiver that comes and goes holds up no sealing, and misses nothing", { timeout: 180_000 }, async () => {
  let sealing = true;
  const sealed = (async () => {
    for (let round = 0; round < 12; round++) await project.grow(1, round % 2 === 0 ? ACME : GLOBEX);
  })().finally(() => sealing = false);
  const register = async (receivers: object[]) => {
    const values = [["webhook"], JSON.stringify(receivers)];
    await project.database.pool.query("select audit.register_receivers($1, $2)", values);
    await new Promise((resolve) => setTimeout(resolve, 10));
  };
  const comingAndGoing = (async () => {
    for (let round = 0; sealing; round++) {
      await register([{ kind: "webhook", name: "hook", all_logs: round % 2 === 0 }]);
      await register([{ kind: "webhook", name: "hook", all_logs: round % 2 === 1 }]);
      if (sealing) await register([{ kind: "webhook", name: "other", all_logs: true }]);
    }
  })();
  expect(await Promise.allSettled([sealed, comingAndGoing])).toEqual(Array(2).fill({ status: "fulfilled" }));
  await deliver([hook({ logs: "all" })]);
  const { rows } = await project.client.query(
    "select origin, published::int as size from audit.logs where published > 0",
  );
  const newest = new Map(receiver.messages.map(({ body }) => [body.data.origin, body.data.size]));
  expect(newest).toEqual(new Map(rows.map(({ origin, size }) => [origin, size])));
});

describe("a bucket", () => {
  test("of the project gets a file for each checkpoint", async () => {
    const sizes = [await project.grow()];
    const bucket = [{ name: "copies", kind: "bucket", bucket: "copies" }];
    await deliver(bucket);
    const { files } = buckets.get("copies")!;
    sizes.push(await project.grow());
    await deliverCheckpoints({ database: project.database, outside: configured(bucket) });
    expect([...files.keys()]).toEqual(sizes.map((size) => `checkpoints/anchor/${String(size).padStart(16, "0")}`));
    expect([...files.values()].at(-1)).toEqual(project.archive.files.get("anchor/checkpoint"));
  });

  test("of S3 gets them with Object Lock; where it refuses they wait", async () => {
    const s3 = await startS3({
      bucket: "outside",
      region: "eu-central-1",
      accessKeyId: "AKIAEXAMPLE",
      secretAccessKey: "secret/access+key",
      locked: true,
    });
    const config = {
      name: "locked",
      kind: "s3",
      endpoint: s3.endpoint,
      region: "eu-central-1",
      bucket: "outside",
      prefix: "audit",
      access_key_id: "AKIAEXAMPLE",
      secret_access_key: "wrong",
      lock: { mode: "COMPLIANCE", days: 400 },
    };
    const size = await project.grow();
    expect(await deliver([config])).toMatchObject({ failed: 1 });
    expect((await outside())[0]).toMatchObject({ kind: "s3", last_error: "refused", behind_checkpoints: "1" });
    await project.later();
    expect(await deliver([{ ...config, secret_access_key: "secret/access+key" }])).toMatchObject({ delivered: 1 });
    const versions = s3.objects.get(`audit/checkpoints/anchor/${String(size).padStart(16, "0")}`);
    expect(versions?.[0]?.headers["x-amz-object-lock-mode"]).toBe("COMPLIANCE");
    await s3.stop();
  });
});

describe("who is configured", () => {
  test("nobody: nothing happens, and nothing is written", async () => {
    await project.grow();
    const before = await project.value("select count(*) from public.audit_logs");
    const none = readOutside({ setting: () => undefined, openBucket: memoryArchive });
    expect(await deliverCheckpoints({ database: project.database, outside: none })).toEqual({ configured: false });
    expect(await outside()).toEqual([]);
    expect(await project.value("select count(*) from public.audit_logs")).toBe(before);
  });

  test("who comes and goes leaves an entry, once", async () => {
    const actions = async () =>
      (await project.client.query(
        "select action, resource_id, details from public.audit_logs where resource_type = 'receiver' order by created_at",
      )).rows;
    await Promise.all([deliver(), deliver(), deliver()]);
    await deliver([hook({ logs: "all" })]);
    await deliver([hook({ logs: "all" })]);
    await deliver([]);
    const entry = (action: string, all_logs: boolean) => ({
      action,
      resource_id: "hook",
      details: expect.objectContaining({ kind: "webhook", all_logs }),
    });
    expect(await actions()).toEqual([
      entry("integration.configured", false),
      entry("integration.configured", true),
      entry("integration.removed", true),
    ]);
  });
});

/** Answers 200, and then sends without end. */
async function endlessServer(): Promise<{ server: Server; url: string; sent: () => number }> {
  let sent = 0;
  const server = createServer((incoming, outgoing) => {
    incoming.resume();
    outgoing.on("error", () => {});
    outgoing.writeHead(200);
    const chunk = Buffer.alloc(65_536);
    const send = () => {
      while (!outgoing.destroyed && sent < 1e8) {
        sent += chunk.length;
        if (!outgoing.write(chunk)) return void outgoing.once("drain", send);
      }
    };
    send();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, sent: () => sent };
}
