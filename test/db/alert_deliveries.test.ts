// Alerts on their way to channels: nothing is lost, and who knows ids sees nothing twice, whatever breaks: receivers, the
// network, runs of the job, leases that end while their run still sends.
import { createHmac } from "node:crypto";
import { Buffer } from "node:buffer";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  ACME,
  type Alerting,
  type AlertReceiver,
  type Behaviour,
  dying,
  PROJECT_URL,
  startAlerting,
  startAlertReceiver,
  verifies,
} from "../support/alerting.ts";
import { expectVerified } from "../support/log.ts";

let project: Alerting;
let receiver: AlertReceiver;
let printed: string[];

beforeEach(async () => {
  printed = [];
  vi.spyOn(console, "error").mockImplementation((line) => void printed.push(String(line)));
  [project, receiver] = await Promise.all([startAlerting(), startAlertReceiver()]);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await expectVerified(project.client);
  await Promise.all([project.end(), receiver.stop()]);
});

const types = () => receiver.taken.map(({ body }) => body.type);
const hook = (name = "ops", more: object = {}) => project.channel({ name, url: `${receiver.url}/${name}`, ...more });
const transition = (alert: string, to: string) => project.client.query("select audit.queue_alert($1, $2)", [alert, to]);
const states = () =>
  project.value<string>(
    "select string_agg(state || coalesce(' ' || last_error, ''), ', ' order by created_at) from audit.deliveries",
  );

describe("a webhook", () => {
  test("gets what happened, signed as Standard Webhooks has it", async () => {
    const { secret } = await hook();
    const alert = await project.alert();
    expect(await project.deliver()).toEqual({ delivered: 1, failed: 0, more: false });
    const [message] = receiver.taken;
    expect(verifies(message!, secret)).toBe(true);
    // By the specification's own words, without its library.
    const { "webhook-id": id, "webhook-timestamp": time, "webhook-signature": signature } = message!.headers;
    const key = Buffer.from(secret.slice(6), "base64");
    expect(signature).toBe(`v1,${createHmac("sha256", key).update(`${id}.${time}.${message!.text}`).digest("base64")}`);
    expect(id).toMatch(/^msg_[0-9a-f]{32}$/);
    const query = "(chain:3 seq:17) or (chain:4 seq:9)";
    expect(message!.body).toEqual({
      type: "alert.opened",
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$/),
      data: expect.objectContaining({
        alert_id: alert,
        transition: "opened",
        organization_id: ACME,
        severity: "high",
        title: "3 failed logins",
        reason: { seen: 3 },
        entries: ["3-17", "4-9"],
        query,
        rule_id: expect.any(String),
        links: {
          alert: `${PROJECT_URL}/functions/v1/audit/alerts/${alert}`,
          entries: `${PROJECT_URL}/functions/v1/audit/logs?${new URLSearchParams({ organization_id: ACME, q: query })}`,
        },
      }),
    });
    expect(await project.deliver()).toEqual({ delivered: 0, failed: 0, more: false });
  });

  test("whose secret is rotated gets both signatures, until the old one is over", async () => {
    const { id, secret: old } = await hook();
    const { secret } = await project.value<{ secret: string }>(
      "select audit.rotate_channel_secret(jsonb_build_object('channel', $1::text))",
      [id],
    );
    expect(secret).not.toBe(old);
    await project.alert();
    await project.deliver();
    const [both] = receiver.taken.splice(0);
    expect(String(both!.headers["webhook-signature"]).split(" ")).toHaveLength(2);
    expect([secret, old].map((each) => verifies(both!, each))).toEqual([true, true]);
    await project.client.query("update audit.channels set old_secret_until = now() - interval '1 second'");
    await project.alert();
    await project.deliver();
    expect([secret, old].map((each) => verifies(receiver.taken[0]!, each))).toEqual([true, false]);
  });

  test("gets the same bytes under the same id at every attempt, with the time and signature of each", async () => {
    const { secret } = await hook();
    await project.alert();
    receiver.behave = () => "reset after";
    await project.deliver();
    await project.client.query("update audit.alerts set title = 'changed meanwhile', state = 'resolved'");
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await project.later();
    receiver.behave = () => undefined;
    expect(await project.deliver()).toMatchObject({ delivered: 1 });
    const [first, second] = receiver.taken;
    expect([second!.id, second!.text]).toEqual([first!.id, first!.text]);
    expect(second!.headers["webhook-timestamp"]).not.toBe(first!.headers["webhook-timestamp"]);
    expect(receiver.taken.every((message) => verifies(message, secret))).toBe(true);
  });

  test.each<[string, ReturnType<Behaviour>, string]>([
    ["fails", { status: 500 }, "http_500"],
    [
      "redirects to where only we can reach",
      { status: 302, headers: { location: "http://169.254.169.254/" } },
      "redirected",
    ],
    ["redirects to itself", { status: 307, headers: { location: "/ok" } }, "redirected"],
    ["resets the connection", "reset before", "unreachable"],
    ["hangs", "hang", "timeout"],
  ])("that %s is tried again", async (_, what, code) => {
    await hook();
    await project.alert();
    receiver.behave = () => what;
    expect(await project.deliver({ timeout: 300 })).toEqual({ delivered: 0, failed: 1, more: false });
    expect(await states()).toBe(`waiting ${code}`);
    expect(receiver.requests).toBe(1);
    expect(project.network.connections).toHaveLength(1);
    receiver.behave = () => undefined;
    expect(await project.deliver()).toMatchObject({ delivered: 0 });
    await project.later();
    expect(await project.deliver()).toMatchObject({ delivered: 1 });
    expect(types()).toEqual(["alert.opened"]);
  });

  test("that is gone is disabled, and what it missed is replayed when somebody enables it", async () => {
    const { id } = await hook();
    await Promise.all([project.alert(), project.alert(), project.alert()]);
    receiver.behave = () => ({ status: 410 });
    await project.deliver();
    await project.later();
    await project.deliver();
    expect(await project.value("select count(*) from audit.dead_letters")).toBe("3");
    expect(await project.value("select disabled_reason from audit.channels")).toBe("http_410");
    receiver.behave = () => undefined;
    await project.value("select audit.enable_channel(jsonb_build_object('channel', $1::text))", [id]);
    await project.client.query(
      "select audit.replay_delivery(jsonb_build_object('delivery', id)) from audit.dead_letters",
    );
    expect(await project.deliver()).toMatchObject({ delivered: 3 });
    expect(receiver.taken).toHaveLength(3);
  });

  test("whose name leads to where only we can reach gets nothing, at any attempt", async () => {
    await project.channel({ name: "evil", url: "https://evil.example.com/" });
    project.network.names.set("evil.example.com", ["169.254.169.254"]);
    await project.alert();
    await project.deliver();
    project.network.names.set("evil.example.com", ["93.184.216.34", "127.0.0.1"]);
    await project.later();
    await project.deliver();
    expect(project.network.connections).toEqual([]);
    expect(await states()).toBe("waiting forbidden_address");
  });

  test("on this machine gets nothing where that is not permitted, though it was", async () => {
    await hook();
    await project.alert();
    await project.client.query("select audit.configure('local_channels', 'false')");
    await project.deliver();
    expect(receiver.requests).toBe(0);
    expect(await states()).toBe("waiting forbidden_address");
  });

  test("that hangs keeps no other waiting", async () => {
    await hook("hanging");
    await hook("ops");
    for (let n = 0; n < 20; n++) await project.alert();
    receiver.behave = ({ path }) => path === "/hanging" ? "hang" : undefined;
    const run = project.deliver({ timeout: 3_000 });
    const start = performance.now();
    await expect.poll(() => receiver.taken.length, { timeout: 10_000 }).toBe(20);
    expect(performance.now() - start).toBeLessThan(3_000);
    // Left alone after some failures, with what else waits for it untried.
    const { failed } = await run;
    expect(failed).toBeLessThanOrEqual(16);
    expect(await project.value("select next_try_at > now() from audit.channels where name = 'hanging'")).toBe(true);
  });
});

describe("other channels", () => {
  const nasty = {
    title: "<!channel> & <https://evil.example|click>",
    reason: { seen: 5, note: "x".repeat(4_000) + "&".repeat(900) },
  };

  test("Slack gets blocks within its limits, and nothing of anybody's is markup", async () => {
    await project.channel({ kind: "slack", name: "slack", url: `${receiver.url}/services/SECRET-SLACK` });
    await project.alert(nasty);
    expect(await project.deliver()).toMatchObject({ delivered: 1 });
    const [{ body, path, headers }] = receiver.taken as [typeof receiver.taken[0]];
    expect(path).toBe("/services/SECRET-SLACK");
    expect(headers["content-type"]).toBe("application/json");
    expect(body.text).toBe("[high] &lt;!channel&gt; &amp; &lt;https://evil.example|click&gt;");
    expect(body.blocks.length).toBeLessThanOrEqual(50);
    for (const { text } of body.blocks) {
      expect(text.text.length).toBeLessThanOrEqual(3_000);
      expect(text.text.replace(/<https:\/\/ref\.supabase\.example\/[^<>|]+\|(Entries|Alert)>/g, "")).not.toMatch(
        /[<>]|&(?!(amp|lt|gt);)/,
      );
    }
    expect(JSON.stringify(body)).toContain("Organisation: 0a000000");
    expect(JSON.stringify(body).length).toBeLessThan(13_000);
  });

  test("mail goes through an API in Resend's form, with the id as the key of all attempts", async () => {
    await project.channel({
      kind: "email",
      name: "mail",
      to: ["ada@example.com"],
      from: "Logs <logs@example.com>",
      key: "re_SECRET",
      api: `${receiver.url}/emails`,
    });
    await project.alert({ ...nasty, title: "two\r\nlines" });
    receiver.behave = () => "reset after";
    await project.deliver();
    receiver.behave = () => undefined;
    await project.later();
    expect(await project.deliver()).toMatchObject({ delivered: 1 });
    const [first, second] = receiver.taken;
    expect([second!.id, second!.text]).toEqual([first!.id, first!.text]);
    expect(first!.id).toMatch(/^[0-9a-f-]{36}$/);
    expect(first!.headers.authorization).toBe("Bearer re_SECRET");
    expect(first!.body).toEqual({
      from: "Logs <logs@example.com>",
      to: ["ada@example.com"],
      subject: "[high] two lines",
      text: expect.stringContaining(`Organisation: ${ACME}`),
    });
  });

  test("mail without a key of its own uses the project's, towards Resend alone; without that either it says so", async () => {
    await project.channel({ kind: "email", name: "mail", to: ["ada@example.com"] });
    await project.alert();
    await project.deliver();
    expect(await states()).toBe("waiting not_configured");
    project.network.names.set("api.resend.com", ["10.0.0.1"]);
    await project.later();
    await project.client.query(`update audit.channels set config = config || '{"from": "logs@example.com"}'`);
    await project.deliver({ key: "re_project" });
    expect(await states()).toBe("waiting forbidden_address");
    expect(receiver.requests).toBe(0);
  });

  test("who asks to be left alone is, whatever is to be told", async () => {
    await project.channel({ kind: "slack", name: "slack", url: `${receiver.url}/services/x` });
    for (let n = 0; n < 3; n++) await project.alert();
    receiver.behave = () => ({ status: 429, headers: { "retry-after": "30" } });
    expect(await project.deliver()).toEqual({ delivered: 0, failed: 1, more: false });
    expect(receiver.requests).toBe(1);
    expect(
      await project.value(
        "select next_try_at between now() + interval '25 seconds' and now() + interval '31 seconds' from audit.channels",
      ),
    ).toBe(true);
  });
});

describe("no secret", () => {
  test("is in the tables, entries, answers and what is printed, whatever fails", async () => {
    await hook("ops", { url: `${receiver.url}/ops?token=SECRET-TOKEN` });
    await project.channel({ kind: "slack", name: "slack", url: `${receiver.url}/services/SECRET-SLACK` });
    await project.channel({
      kind: "email",
      name: "mail",
      to: ["ada@private.example"],
      from: "l@example.com",
      key: "SECRET-KEY",
      api: `${receiver.url}/emails`,
    });
    const secrets = await project.value<string[]>("select array_agg(decrypted_secret) from vault.decrypted_secrets");
    const behaviours: Behaviour[] = [
      () => ({ status: 500 }),
      () => "reset before",
      () => ({ status: 302, headers: { location: "http://SECRET-LOCATION/" } }),
      () => ({ status: 410 }),
    ];
    for (const behave of behaviours) {
      await project.alert();
      receiver.behave = behave;
      await project.later();
      await project.deliver();
    }
    const kept = await project.value<string>(
      `select (select string_agg(d::text, '') from audit.deliveries d) || (select string_agg(f::text, '') from audit.findings f)
         || (select string_agg(c::text, '') from audit.channels c where kind <> 'webhook') || (select string_agg(l::text, '') from public.audit_logs l)`,
    );
    const all = kept + printed.join();
    expect(printed.length).toBeGreaterThan(5);
    expect(all).not.toMatch(/SECRET|whsec_/);
    for (const secret of secrets) expect(all).not.toContain(secret.replace("whsec_", ""));
    expect(await project.value<string>("select string_agg(details::text, '') from public.audit_logs")).not.toContain(
      "private.example",
    );
  });
});

describe("transactions", () => {
  test.each(["read committed", "repeatable read", "serializable"])(
    "%s: what is rolled back is told nobody, what commits is",
    async (level) => {
      await hook();
      const clients = await project.db.connectAll(8);
      const committed: string[] = [];
      await Promise.all(clients.map(async (client, n) => {
        for (let round = 0; round < 10; round++) {
          await client.query(`begin isolation level ${level}`);
          try {
            const alert = await project.alert({ client });
            await client.query("select audit.queue_alert($1, 'resolved')", [alert]);
            const stays = (n + round) % 3 !== 0;
            await client.query(stays ? "commit" : "rollback");
            if (stays) committed.push(alert);
          } catch (error) {
            expect((error as { code: string }).code).toBe("40001");
            await client.query("rollback");
          }
          if (n === 0) await project.deliver();
        }
      }));
      await project.deliver();
      const told = receiver.taken.map(({ body }) => `${body.data.alert_id} ${body.type}`);
      expect(committed.length).toBeGreaterThan(20);
      expect(told.sort()).toEqual(
        committed.flatMap((alert) => [`${alert} alert.opened`, `${alert} alert.resolved`]).sort(),
      );
    },
  );
});

test("what happened is told in order, also where the first part fails for long, or for ever", async () => {
  await hook();
  const alert = await project.alert();
  receiver.behave = ({ text }) => text.includes("alert.opened") ? { status: 500 } : undefined;
  await transition(alert, "acknowledged");
  await transition(alert, "resolved");
  // The channel takes others meanwhile, so it is not disabled.
  for (let attempt = 0; attempt < 9; attempt++) {
    await project.later();
    await project.deliver();
  }
  expect(types()).toEqual([]);
  await project.client.query("update audit.channels set succeeded_at = now() + interval '1 minute'");
  for (let attempt = 0; attempt < 2; attempt++) {
    await project.later();
    await project.deliver();
  }
  expect(types()).toEqual(["alert.acknowledged", "alert.resolved"]);
  expect(await states()).toBe("dead http_500, delivered, delivered");
});

test("a run that is killed leaves what another finishes, under the same ids", async () => {
  await hook();
  for (const name of ["take_deliveries", "settle_delivery"]) {
    for (const when of ["before", "after"] as const) {
      await project.alert();
      const database = dying(project.database, (statement) => statement.name === name ? when : undefined);
      await expect(project.deliver({ database })).rejects.toThrow("killed");
      if (name === "settle_delivery") expect(await project.deliver()).toMatchObject({ delivered: 0 });
      await project.later();
      await project.deliver();
    }
  }
  expect(await states()).toBe("delivered, delivered, delivered, delivered");
  expect(new Set(receiver.taken.map(({ id }) => id)).size).toBe(4);
  expect(receiver.taken).toHaveLength(5); // killed before it could say that it was delivered
});

/** Mulberry32: a fault is found again under its seed. */
function random(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

test("10,000 deliveries through faults of every kind: none is lost, and none twice for who knows ids", {
  timeout: 300_000,
}, async () => {
  const CHANNELS = 4;
  const ALERTS = 1_250;
  const chance = random(20_261_129);
  const secrets = new Map<string, string>();
  for (let n = 0; n < CHANNELS; n++) secrets.set(`/hook${n}`, (await hook(`hook${n}`)).secret);

  // Receivers fail a message at most five times, so none dies.
  const failures = new Map<string, number>();
  const FAULTS = ["reset before", "reset after", "hang", "hang after", { status: 500 }, { status: 302 }, {
    status: 429,
    headers: { "retry-after": "1" },
  }, { status: 400 }] as const;
  receiver.behave = ({ id }) => {
    const failed = failures.get(id) ?? 0;
    if (failed >= 5 || chance() > 0.3) return undefined;
    failures.set(id, failed + 1);
    const fault = FAULTS[Math.floor(chance() * FAULTS.length)]!;
    return typeof fault === "string" && fault.startsWith("hang") && chance() > 0.2 ? { status: 504 } : fault;
  };
  let killed = 0;
  const database = dying(
    project.database,
    () => chance() > 0.01 ? undefined : (killed++, chance() > 0.5 ? "before" : "after"),
  );

  // Alerts open and resolve while runs are under way, killed now and then, and leases end while they send.
  const alerts: string[] = [];
  let isOpening = true;
  const opening = (async () => {
    for (let n = 0; n < ALERTS; n++) {
      const alert = await project.alert();
      alerts.push(alert);
      await transition(alert, "resolved");
    }
  })().finally(() => isOpening = false);
  const left = () => project.value<string>("select count(*) from audit.deliveries where state <> 'delivered'");
  const runs = Array.from({ length: 3 }, async () => {
    while (isOpening || await left() !== "0") {
      await project.deliver({ database }).catch((error: Error) => {
        if (error.message !== "killed") throw error;
      });
      if (chance() < 0.5) await project.later();
    }
  });
  await Promise.all([opening, ...runs]);

  const { rows } = await project.client.query<{ state: string; count: string }>(
    "select state, count(*) from audit.deliveries group by state",
  );
  expect(rows).toEqual([{ state: "delivered", count: String(ALERTS * 2 * CHANNELS) }]);
  // As a receiver that knows ids sees it.
  const seen = new Map([...receiver.taken].reverse().map((message) => [message.id, message]));
  expect(seen.size).toBe(10_000);
  const things = new Set([...seen.values()].map(({ path, body }) => `${path} ${body.data.alert_id} ${body.type}`));
  expect(things.size).toBe(10_000);
  expect(receiver.taken.filter((message) => !verifies(message, secrets.get(message.path)!))).toEqual([]);
  expect(receiver.taken.filter(({ id, text }) => seen.get(id)!.text !== text)).toEqual([]);
  // Whatever came twice, nobody heard of an end before the beginning.
  const opened = new Set<string>();
  const early = receiver.taken.filter(({ path, body }) => {
    if (body.type === "alert.opened") opened.add(`${path} ${body.data.alert_id}`);
    return !opened.has(`${path} ${body.data.alert_id}`);
  });
  expect(early).toEqual([]);
  // There was something to survive.
  expect(killed).toBeGreaterThan(50);
  expect([...failures.values()].reduce((sum, n) => sum + n, 0)).toBeGreaterThan(2_000);
  expect(receiver.taken.length).toBeGreaterThan(10_200);
});
