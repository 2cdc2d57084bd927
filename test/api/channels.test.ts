// Channels over HTTP, and what they are told, by the functions in their own runtime: who may, what is never shown, and
// connections that lead where they were checked to lead.
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type pg from "pg";
import * as schemas from "../../functions/audit/schemas.ts";
import { type AlertReceiver, openAlert, startAlertReceiver, verifies } from "../support/alerting.ts";
import { type Certificates, makeAuthority } from "../support/certificates.ts";
import { expectVerified } from "../support/log.ts";
import { ACME, ALICE, type Api, BETTY, BOB, OSCAR, startApi, VERA } from "./server.ts";

const AUDITOR = "f0000000-0000-4000-8000-000000000006";

let api: Api;
let client: pg.Client;
let receiver: AlertReceiver;
let authority: Certificates;
const secure: Server[] = [];

beforeAll(async () => {
  authority = makeAuthority();
  [api, receiver] = await Promise.all([
    startApi({ env: { DENO_CERT: authority.caFile }, secrets: { AUDIT_EMAIL_FROM: "logs@example.com" } }),
    startAlertReceiver(),
  ]);
  client = await api.db.connect();
  await client.query("select audit.grant_auditor($1, $2, now() + interval '1 day')", [ACME, AUDITOR]);
});
afterAll(async () => {
  await expectVerified(client);
  for (const server of secure) server.close();
  await Promise.all([api.stop(), receiver.stop()]);
  authority.remove();
});
beforeEach(async () => {
  await client.query("delete from audit.channels");
  await client.query("select audit.configure('local_channels', 'true')");
  receiver.taken = [];
  receiver.requests = 0;
  receiver.behave = () => undefined;
});

type Answer = { status: number; body: Record<string, unknown> & { id: string; secret?: string } };

async function ask(path: string, options: Parameters<Api["call"]>[1] = {}): Promise<Answer> {
  const response = await api.call(path, options);
  return { status: response.status, body: await response.json() as Answer["body"] };
}

const hook = (more: object = {}) => ({ kind: "webhook", name: "ops", url: `${receiver.url}/ops`, ...more });
const make = async (body: object = hook()) => {
  const made = await ask("/channels", { body });
  expect([made.status, made.body]).toEqual([201, expect.anything()]);
  return schemas.Channel.parse(made.body);
};

/** Runs the job, as the clock would. */
async function deliver(): Promise<Record<string, unknown>> {
  const response = await api.call("/deliver-alerts", {
    of: "audit-jobs",
    method: "POST",
    headers: { authorization: `Bearer ${api.keys.jobs_secret}` },
  });
  expect(response.status).toBe(200);
  return await response.json() as Record<string, unknown>;
}

/** A server behind TLS with a certificate for names. */
async function serveTls(...names: string[]): Promise<{ url: string; bodies: string[] }> {
  const bodies: string[] = [];
  const server = createServer(authority.issue(...names), async (incoming, outgoing) => {
    bodies.push(await text(incoming));
    outgoing.writeHead(204).end();
  });
  secure.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { url: `https://localhost:${(server.address() as AddressInfo).port}/`, bodies };
}

describe("a webhook", () => {
  test("is made with a secret that is shown once, and told what happened", async () => {
    const { id, secret, config } = await make();
    expect(config).toEqual({ url: `${receiver.url}/ops` });
    await openAlert(client, { organization: ACME });
    expect(await deliver()).toEqual({ delivered: 1, failed: 0, more: false });
    const [message] = receiver.taken;
    expect(verifies(message!, secret!)).toBe(true);
    expect(message!.body).toMatchObject({ type: "alert.opened", data: { organization_id: ACME } });
    expect(message!.body.data.links.entries).toBe(
      `${api.url}/functions/v1/audit/logs?${new URLSearchParams({
        organization_id: ACME,
        q: "(chain:3 seq:17) or (chain:4 seq:9)",
      })}`,
    );
    expect(message!.headers["user-agent"]).toMatch(/^audit-logs\/\d/);
    const { channels } = schemas.ChannelList.parse((await ask("/channels")).body);
    expect(channels).toEqual([expect.objectContaining({ id, failures: 0, last_error: null, host: "127.0.0.1" })]);
    expect(JSON.stringify(channels)).not.toContain("whsec_");
  });

  test("is rotated: for a day messages have both signatures", async () => {
    const { id, secret } = await make();
    const rotated = schemas.Channel.parse((await ask(`/channels/${id}/rotate`, { method: "POST" })).body);
    await openAlert(client, { organization: ACME });
    await deliver();
    expect([secret!, rotated.secret!].map((each) => verifies(receiver.taken[0]!, each))).toEqual([true, true]);
  });

  test("is changed, disabled by itself, tested, enabled and deleted", async () => {
    const { id, secret } = await make();
    const changed = await ask(`/channels/${id}`, {
      method: "PATCH",
      body: { name: "pager", url: `${receiver.url}/pager` },
    });
    expect(schemas.Channel.parse(changed.body)).toMatchObject({
      name: "pager",
      config: { url: `${receiver.url}/pager` },
    });
    receiver.behave = () => ({ status: 410 });
    await openAlert(client, { organization: ACME });
    await deliver();
    const { channels: [gone] } = schemas.ChannelList.parse((await ask("/channels")).body);
    expect(gone).toMatchObject({ disabled_reason: "http_410", disabled_at: expect.any(String) });

    receiver.behave = () => undefined;
    const [tested] = await Promise.all([
      ask(`/channels/${id}/test`, { method: "POST" }),
      expect.poll(() => deliver(), { interval: 100, timeout: 10_000 }).toMatchObject({ delivered: 1 }),
    ]);
    expect(schemas.Delivery.parse(tested.body)).toMatchObject({ state: "delivered", type: "channel.test" });
    expect(receiver.taken.at(-1)).toMatchObject({ path: "/pager", body: { type: "channel.test" } });

    expect((await ask(`/channels/${id}/enable`, { method: "POST" })).body).toMatchObject({ disabled_at: null });
    expect((await ask(`/channels/${id}/disable`, { method: "POST" })).body).toMatchObject({
      disabled_reason: "by_admin",
    });
    expect((await ask(`/channels/${id}/enable`, { method: "POST" })).body).toMatchObject({ disabled_reason: null });
    const { deliveries: [dead] } = schemas.DeliveryList.parse((await ask(`/deliveries?state=dead&channel=${id}`)).body);
    schemas.Delivery.parse((await ask(`/deliveries/${dead!.id}/replay`, { method: "POST" })).body);
    expect(await deliver()).toMatchObject({ delivered: 1 });
    expect(receiver.taken.every((message) => verifies(message, secret!))).toBe(true);
    expect((await ask(`/channels/${id}`, { method: "DELETE" })).status).toBe(200);
    expect((await ask(`/channels/${id}`, { method: "DELETE" })).status).toBe(404);
    expect((await ask("/channels")).body).toMatchObject({ channels: [] });
  });

  test("whose test fails is told why", async () => {
    const { id } = await make();
    receiver.behave = () => ({ status: 302, headers: { location: `${receiver.url}/elsewhere` } });
    const [tested] = await Promise.all([
      ask(`/channels/${id}/test`, { method: "POST" }),
      expect.poll(() => deliver(), { interval: 100, timeout: 10_000 }).toMatchObject({ failed: 1 }),
    ]);
    expect(tested.body).toMatchObject({ state: "dead", last_error: "redirected" });
    expect(receiver.requests).toBe(1);
  });
});

describe("in the functions' runtime", () => {
  const lastError = async () => (await client.query("select last_error from audit.channels")).rows[0].last_error;

  test("TLS is with whom the certificate is for", async () => {
    const { url, bodies } = await serveTls("localhost");
    await make(hook({ url }));
    await openAlert(client, { organization: ACME });
    expect(await deliver()).toEqual({ delivered: 1, failed: 0, more: false });
    expect(bodies).toHaveLength(1);
  });

  test("TLS with a certificate for another name is none, and nothing is told", async () => {
    const { url, bodies } = await serveTls("hooks.example.com");
    await make(hook({ url }));
    await openAlert(client, { organization: ACME });
    expect(await deliver()).toMatchObject({ failed: 1 });
    expect([await lastError(), bodies]).toEqual(["unreachable", []]);
  });

  test("a name that leads to this machine is looked up, and not connected to", async () => {
    const { url, bodies } = await serveTls("localhost");
    await make(hook({ url }));
    await client.query("select audit.configure('local_channels', 'false')");
    await openAlert(client, { organization: ACME });
    expect(await deliver()).toMatchObject({ failed: 1 });
    expect([await lastError(), bodies]).toEqual(["forbidden_address", []]);
  });

  test.each<[string, ReturnType<AlertReceiver["behave"]>, string]>([
    ["fails", { status: 500 }, "http_500"],
    ["resets the connection", "reset before", "unreachable"],
    ["took it and does not say so", "reset after", "unreachable"],
  ])("a server that %s is noted", async (_, what, code) => {
    await make();
    receiver.behave = () => what;
    await openAlert(client, { organization: ACME });
    expect(await deliver()).toMatchObject({ failed: 1 });
    expect(await lastError()).toBe(code);
  });

  test("a server that hangs is left after 20 seconds", { timeout: 60_000 }, async () => {
    await make();
    receiver.behave = () => "hang";
    await openAlert(client, { organization: ACME });
    expect(await deliver()).toMatchObject({ failed: 1 });
    expect(await lastError()).toBe("timeout");
  });

  test("mail without a key says what is missing", async () => {
    await make({ kind: "email", name: "mail", to: ["ada@example.com"] });
    await openAlert(client, { organization: ACME });
    expect(await deliver()).toMatchObject({ failed: 1 });
    expect(await lastError()).toBe("not_configured");
  });
});

describe("who may", () => {
  const paths = (id: string): [string, Parameters<Api["call"]>[1]][] => [
    ["/channels", { body: hook({ name: "new", organization_id: ACME }) }],
    [`/channels/${id}`, { method: "PATCH", body: { name: "new" } }],
    [`/channels/${id}`, { method: "DELETE" }],
    [`/channels/${id}/rotate`, { method: "POST" }],
    [`/channels/${id}/enable`, { method: "POST" }],
    [`/channels/${id}/disable`, { method: "POST" }],
    [`/channels/${id}/test`, { method: "POST" }],
  ];

  test.each([["member", BOB, 404], ["viewer", VERA, 404], ["admin of another", OSCAR, 404], ["auditor", AUDITOR, 403]])(
    "a %s changes nothing",
    async (_, as, status) => {
      const { id } = await make();
      const statuses = await Promise.all(
        paths(id).map(async ([path, options]) => (await ask(path, { ...options, as })).status),
      );
      expect(statuses).toEqual([403, ...Array(6).fill(status)]);
      expect((await client.query("select name from audit.channels")).rows).toEqual([{ name: "ops" }]);
    },
  );

  test("auditors see channels without settings, others none", async () => {
    await make();
    const seen = await ask("/channels", { as: AUDITOR });
    expect(JSON.stringify(seen.body)).not.toContain("/ops");
    expect(schemas.ChannelList.parse(seen.body).channels).toHaveLength(1);
    expect((await ask("/deliveries", { as: AUDITOR })).status).toBe(200);
    for (const as of [BOB, VERA, OSCAR]) {
      expect((await ask(`/channels?organization_id=${ACME}`, { as })).status).toBe(403);
      expect((await ask(`/deliveries?organization_id=${ACME}`, { as })).status).toBe(403);
    }
  });

  test("who administers two says which", async () => {
    expect((await ask("/channels", { as: BETTY, body: hook() })).body).toMatchObject({ code: "invalid_argument" });
    expect((await ask("/channels", { as: BETTY, body: hook({ organization_id: ACME }) })).status).toBe(201);
  });
});

describe("refused", () => {
  const outside = (more: object) => ({ kind: "webhook", name: "ops", url: "https://hooks.example.com/", ...more });
  test.each<[string, object, number]>([
    ["a field that there is not", outside({ secret: "x" }), 400],
    ["a kind that there is not", outside({ kind: "pigeon" }), 400],
    ["no name", { kind: "webhook", url: "https://hooks.example.com/" }, 400],
    ["metadata", outside({ url: "http://169.254.169.254/latest/meta-data/" }), 422],
    ["a number for an address", outside({ url: "https://2852039166/" }), 422],
    ["an address of the network", outside({ url: "https://10.0.0.1/" }), 422],
    ["another scheme", outside({ url: "file:///etc/passwd" }), 422],
    ["port 587", {
      kind: "smtp",
      name: "m",
      to: ["a@b.example"],
      from: "c@b.example",
      host: "mail.example.com",
      port: 587,
      username: "u",
      password: "p",
    }, 422],
  ])("%s", async (_, body, status) => {
    const refused = await ask("/channels", { body });
    expect(refused.status).toBe(status);
    expect(schemas.ProblemBody.parse(refused.body).detail).not.toContain("169.254");
    expect((await client.query("select from audit.channels")).rows).toEqual([]);
  });

  test("this machine, where nobody permitted it", async () => {
    await client.query("select audit.configure('local_channels', 'false')");
    const refused = await ask("/channels", { body: hook() });
    expect([refused.status, refused.body.code]).toEqual([422, "invalid_argument"]);
  });
});

test("no secret is in answers, entries or what the functions print", async () => {
  const slack = { kind: "slack", name: "slack", url: `${receiver.url}/services/SECRET-SLACK` };
  const mail = {
    kind: "email",
    name: "mail",
    to: ["ada@private.example"],
    from: "l@example.com",
    key: "SECRET-KEY",
    api: `${receiver.url}/emails`,
  };
  const made = [await make(), await make(slack), await make(mail)];
  receiver.behave = () => ({ status: 500 });
  await openAlert(client, { organization: ACME });
  await deliver();
  await ask(`/channels/${made[2]!.id}`, { method: "PATCH", body: { key: "SECRET-KEY2" } });
  await ask(`/channels/${made[1]!.id}`, { method: "PATCH", body: { url: "https://10.0.0.1/SECRET-URL" } });
  const answers = await Promise.all([ask("/channels"), ask("/deliveries")]);
  const { rows: [entries] } = await client.query(
    "select string_agg(details::text, '') as text from public.audit_logs where action ~ '^(channel|verification)'",
  );
  const printed = await api.output("audit-jobs") + await api.output();
  const all = JSON.stringify(answers) + entries.text + printed;
  expect(printed).toContain('"job":"deliver-alerts"');
  expect(entries.text).toContain("slack");
  expect(all).not.toMatch(/SECRET|whsec_/);
  expect(all).not.toContain(made[0]!.secret!.slice(6));
  expect(entries.text).not.toContain("private.example");
});

test("every change is an entry of who made it", async () => {
  const { id } = await make();
  await ask(`/channels/${id}`, { method: "PATCH", body: { default: false } });
  await ask(`/channels/${id}`, { method: "DELETE" });
  const { rows } = await client.query(
    "select action, created_by, details from public.audit_logs where resource_id = $1 order by created_at, seq",
    [id],
  );
  expect(rows).toEqual([
    {
      action: "channel.created",
      created_by: ALICE,
      details: { new: expect.objectContaining({ name: "ops", host: "127.0.0.1" }) },
    },
    { action: "channel.changed", created_by: ALICE, details: { changes: { default: { old: true, new: false } } } },
    {
      action: "channel.deleted",
      created_by: ALICE,
      details: { old: expect.objectContaining({ name: "ops" }), undelivered: 0 },
    },
  ]);
});
