// Reports by schedule on their way to channels: once, with links that hold when they arrive, whatever breaks in between.
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import {
  ACME,
  type Alerting,
  type AlertReceiver,
  dying,
  PROJECT_URL,
  startAlerting,
  startAlertReceiver,
  verifies,
} from "../support/alerting.ts";
import { expectVerified } from "../support/log.ts";

const DAY = 86_400_000;

let project: Alerting;
let receiver: AlertReceiver;
let signed: string[][];

beforeEach(async () => {
  vi.spyOn(console, "error").mockImplementation(() => {});
  signed = [];
  [project, receiver] = await Promise.all([startAlerting(), startAlertReceiver()]);
});
afterEach(async () => {
  vi.restoreAllMocks();
  await expectVerified(project.client);
  await Promise.all([project.end(), receiver.stop()]);
});

/** As Storage does: another address each time. */
const signUrls = (paths: string[]) => {
  signed.push(paths);
  return Promise.resolve(new Map(paths.map((path) => [path, `https://files.example/${path}?token=${signed.length}`])));
};
const deliver = (more: Parameters<Alerting["deliver"]>[0] = {}) => project.deliver({ signUrls, ...more });
const hook = (more: object = {}) => project.channel({ name: "ops", url: `${receiver.url}/ops`, ...more });
const states = () =>
  project.value<string>(
    "select string_agg(state || coalesce(' ' || last_error, ''), ', ' order by created_at) from audit.deliveries",
  );

/** A report by schedule whose files are made; answers its id. */
async function report({ names = [] as string[], content = "{}" } = {}): Promise<string> {
  const id = await project.value<string>(
    `with s as (
       insert into audit.report_schedules (organization_id, template, cron, time_zone) values ($1, 'soc2', '0 6 1 * *', 'UTC') returning id
     )
     insert into audit.reports (organization_id, template, period_from, period_to, schedule, steps, content, names, state, attempts)
     select $1, 'soc2', '2026-01-01', '2026-04-01', s.id, '{}', $2, $3, 'running', 1 from s returning id`,
    [ACME, content, names],
  );
  const files = ["report.pdf", "report.json", "evidence.zip"].map((name) => ({ name, path: `${ACME}/${id}/${name}` }));
  await project.client.query("select audit.complete_report($1, 1, $2, '{}', 'note')", [id, JSON.stringify(files)]);
  return id;
}

const linksOf = (id: string, token: number) =>
  Object.fromEntries(
    ["report.pdf", "report.json", "evidence.zip"].map((
      name,
    ) => [name, `https://files.example/${ACME}/${id}/${name}?token=${token}`]),
  );

test("a webhook gets title, period, digest and links, signed, and the same bytes at every attempt", async () => {
  const { secret } = await hook();
  const id = await report();
  receiver.behave = () => "reset after";
  expect(await deliver()).toMatchObject({ failed: 1 });
  receiver.behave = () => undefined;
  await project.later();
  expect(await deliver()).toEqual({ delivered: 1, failed: 0, more: false });
  const [first, second] = receiver.taken;
  expect([second!.id, second!.text]).toEqual([first!.id, first!.text]);
  expect(verifies(second!, secret)).toBe(true);
  expect(second!.body).toEqual({
    type: "report.ready",
    timestamp: expect.stringMatching(/Z$/),
    data: {
      organization_id: ACME,
      severity: "info",
      title: "SOC 2 evidence, 2026-01-01 to 2026-03-31",
      report_id: id,
      template: "soc2",
      schedule: expect.any(String),
      from: "2026-01-01T00:00:00.000000Z",
      to: "2026-04-01T00:00:00.000000Z",
      generated_at: expect.any(String),
      content_sha256: "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      links: {
        report: `${PROJECT_URL}/functions/v1/audit/reports/${id}`,
        files: linksOf(id, 1),
        files_until: expect.any(String),
      },
    },
  });
  const left = Date.parse(second!.body.data.links.files_until) - Date.now();
  expect(left).toBeGreaterThan(6.9 * DAY);
  expect(left).toBeLessThan(7.1 * DAY);
  expect(await deliver()).toMatchObject({ delivered: 0 });
});

test("Slack and mail get the same in their own form", async () => {
  await project.channel({ kind: "slack", name: "slack", url: `${receiver.url}/services/x` });
  await project.channel({
    kind: "email",
    name: "mail",
    to: ["ada@example.com"],
    from: "l@example.com",
    key: "k",
    api: `${receiver.url}/emails`,
  });
  const id = await report();
  expect(await deliver()).toMatchObject({ delivered: 2 });
  const slack = receiver.taken.find(({ path }) => path !== "/emails")!.body;
  const mail = receiver.taken.find(({ path }) => path === "/emails")!.body;
  expect(mail.subject).toBe("[info] SOC 2 evidence, 2026-01-01 to 2026-03-31");
  const shown = slack.blocks.map(({ text }: { text: { text: string } }) => text.text).join("\n");
  for (const text of [shown, mail.text as string]) {
    expect(text).toContain("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a");
    expect(text).toContain("2026-01-01T00:00:00.000000Z");
    for (const name of ["report.pdf", "report.json", "evidence.zip"]) {
      expect(text).toMatch(new RegExp(`https://files.example/${ACME}/${id}/${name}\\?token=\\d`));
    }
    expect(text).toContain(`${PROJECT_URL}/functions/v1/audit/reports/${id}`);
  }
  expect(shown).toMatch(/<https:\S+\|report\.pdf>/);
});

test("a link that would not hold for a day is made anew: late, and replayed after it was given up", async () => {
  await hook();
  const id = await report();
  receiver.behave = () => ({ status: 503 });
  await deliver();
  await project.client.query(
    `update audit.deliveries set message = message || jsonb_build_object('links_until', audit.instant_text(now() + interval '20 hours'))`,
  );
  for (let attempt = 0; attempt < 12; attempt++) {
    await project.later();
    await deliver();
  }
  expect(await states()).toBe("dead http_503");
  expect(signed).toHaveLength(2);
  receiver.behave = () => undefined;
  await project.client.query(
    `update audit.deliveries set message = message || jsonb_build_object('links_until', audit.instant_text(now() - interval '60 days'))`,
  );
  await project.client.query("select audit.enable_channel(jsonb_build_object('channel', id)) from audit.channels");
  await project.client.query(
    "select audit.replay_delivery(jsonb_build_object('delivery', id)) from audit.dead_letters",
  );
  expect(await deliver()).toMatchObject({ delivered: 1 });
  expect(receiver.taken[0]!.body.data.links.files).toEqual(linksOf(id, 3));
});

test("without Storage it waits; where files show addresses that the channel may not have it goes without links", async () => {
  await hook();
  await report();
  await deliver({ signUrls: () => Promise.resolve(new Map()) });
  expect(await states()).toBe("waiting not_linked");
  expect(receiver.requests).toBe(0);
  await deliver({ signUrls: () => Promise.reject(new Error("Storage is down")) });
  await project.client.query("update audit.reports set names = array[gen_random_uuid()]");
  await project.later();
  expect(await deliver()).toMatchObject({ delivered: 1 });
  expect(receiver.taken[0]!.body.data.links).toEqual({ report: expect.stringContaining("/audit/reports/") });
  expect(signed).toEqual([]);
});

test("a run that is killed anywhere leaves what another tells, once for who knows ids, always the same", async () => {
  await hook();
  for (const name of ["take_deliveries", "delivered_files", "keep_links", "settle_delivery"]) {
    for (const when of ["before", "after"] as const) {
      await report({ content: JSON.stringify({ name, when }) });
      const database = dying(project.database, (statement) => statement.name === name ? when : undefined);
      await deliver({ database }).catch(({ message }) => expect(message).toBe("killed"));
      await project.later();
      await deliver();
    }
  }
  expect(await states()).toBe(Array(8).fill("delivered").join(", "));
  expect(new Set(receiver.taken.map(({ id }) => id)).size).toBe(8);
  expect(new Set(receiver.taken.map(({ id, text }) => id + text)).size).toBe(8);
});

test("of two runs that tell it at once both tell the same", async () => {
  await hook();
  await report();
  const id = await project.value<string>("select id from audit.deliveries");
  const clients = await project.db.connectAll(4);
  const kept = await Promise.all(clients.map(async (client, token) => {
    const { rows: [row] } = await client.query(
      "select audit.keep_links($1, $2, now() + interval '7 days') -> 'links' as links",
      [id, { token }],
    );
    return JSON.stringify(row.links);
  }));
  expect(new Set(kept).size).toBe(1);
});
