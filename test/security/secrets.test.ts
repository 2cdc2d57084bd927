// Secrets are in no output: the functions run with known ones through what succeeds and what fails, and then everything
// that they answered, printed, stored, or made PostgreSQL log is searched for each of them.
import { randomBytes } from "node:crypto";
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { ACME, ALICE, type Api, BOB, startApi } from "../api/server.ts";

const planted = (prefix = "") => `${prefix}planted${randomBytes(15).toString("hex")}`;
const base64 = () => randomBytes(32).toString("base64");

const PASSWORD = planted();
const EMAIL_KEY = planted("re_");
const MANAGEMENT_TOKEN = planted("sbp_");
const RECEIVER_SECRET = `whsec_${base64()}`;
const RECEIVERS = JSON.stringify([
  { kind: "webhook", name: "outside", url: "https://127.0.0.1:9/hook", secret: RECEIVER_SECRET },
]);

/** The settings of one deployment are right, of the other wrong in ways that tempt to quote them. */
let right: Api;
let wrong: Api;
let unreachable: Api;
const answers: string[] = [];
/** What is handed out on purpose, once, to who asked for it, is looked for everywhere but in that answer. */
const secrets = new Map<string, string>();

beforeAll(async () => {
  right = await startApi({
    env: { AUDIT_EMAIL_KEY: EMAIL_KEY, AUDIT_MANAGEMENT_TOKEN: MANAGEMENT_TOKEN },
    secrets: { AUDIT_RECEIVERS: RECEIVERS },
  });
  wrong = await startApi({
    env: { AUDIT_EMAIL_KEY: EMAIL_KEY },
    secrets: {
      AUDIT_LOG_KEY: `PRIVATE+KEY+${PASSWORD}`,
      AUDIT_BACKUP_KEY: PASSWORD,
      AUDIT_RECEIVERS: RECEIVERS.slice(0, -3),
    },
  });
  // Its jobs do not even start.
  unreachable = await startApi({
    secrets: { AUDIT_ARCHIVE_KEY: PASSWORD },
    env: { SUPABASE_DB_URL: `postgresql://postgres:${PASSWORD}@127.0.0.1:9/postgres` },
  });
  for (const { keys } of [right, wrong, unreachable]) {
    for (const [name, value] of Object.entries(keys)) {
      // The anonymous key is everybody's.
      if (name !== "anon_key") secrets.set(`${name} ${secrets.size}`, value);
    }
  }
  for (const [name, value] of Object.entries({ PASSWORD, EMAIL_KEY, MANAGEMENT_TOKEN, RECEIVER_SECRET })) {
    secrets.set(name, value);
  }
}, 300_000);
afterAll(async () => {
  for (const api of [right, wrong, unreachable]) await api?.stop();
});

async function ask(api: Api, path: string, options: Parameters<Api["call"]>[1] = {}): Promise<string> {
  const response = await api.call(path, options).catch((error: Error) => new Response(error.message, { status: 599 }));
  const text = `${response.status} ${JSON.stringify([...response.headers])} ${await response.text()}`;
  answers.push(text);
  return text;
}

test("what is answered, printed, stored and logged holds no secret", async () => {
  const jobs = [
    "seal",
    "read-back",
    "exports",
    "manifests",
    "reports",
    "deliver-alerts",
    "deliver-checkpoints",
    "mirror",
    "witness",
    "expire",
    "backup",
    "collect-logs",
  ];
  const token = await right.token({ sub: ALICE });
  secrets.set("a token", token);
  secrets.set("its signature", token.split(".")[2]!);

  const admin = await right.db.connect(ADMIN);
  const { rows: [{ source }] } = await admin.query("select audit.create_event_source('billing', $1, 100) as source", [
    ACME,
  ]);
  secrets.set("an event source's", typeof source === "string" ? source : source.secret);
  // Channels hand out their secret once: that answer is not kept.
  const channel = { name: "hook", kind: "webhook", url: "https://hooks.example.com/hook" };
  const made = await (await right.call(`/channels?organization_id=${ACME}`, {
    body: { organization_id: ACME, ...channel },
  }))
    .text();
  const channelSecret = /whsec_[A-Za-z0-9+/=]+/.exec(made)?.[0];
  expect(channelSecret).toBeDefined();
  secrets.set("a channel's", channelSecret!);
  const mail = { name: "mail", kind: "email", to: ["a@acme.example"], from: "b@acme.example", key: planted("re_") };
  secrets.set("a mail channel's", mail.key);
  await ask(right, "/channels", { body: { organization_id: ACME, ...mail } });
  await ask(right, "/channels", { body: { organization_id: ACME, ...mail, to: "nobody", kind: "post" } });

  for (const api of [right, wrong, unreachable]) {
    for (const as of [ALICE, BOB]) {
      for (
        const path of [
          "/logs",
          "/logs?action=",
          "/logs/1-1",
          "/logs/x",
          "/export?format=csv",
          "/exports",
          "/channels",
          "/rules",
          "/alerts",
          "/reports",
          "/access",
          "/health",
          "/nowhere",
        ]
      ) {
        await ask(api, path, { as });
      }
    }
    for (
      const authorization of [
        `Bearer ${token}x`,
        `Bearer ${api.keys.service_role_key}`,
        `Basic ${btoa(`x:${PASSWORD}`)}`,
        api.keys.jobs_secret,
      ]
    ) {
      await ask(api, "/logs", { headers: { authorization } });
    }
    await ask(api, "/logs/search", { body: `{"query": "${PASSWORD.slice(0, 3)}` });
    for (const name of api === unreachable ? ["seal"] : jobs) {
      for (const secret of [api.keys.jobs_secret, api.keys.jobs_secret.slice(1), api.keys.service_role_key]) {
        await ask(api, `/${name}`, {
          of: "audit-jobs",
          method: "POST",
          headers: { authorization: `Bearer ${secret}` },
        });
      }
    }
    for (const secret of [api.keys.drain_secret, `${api.keys.drain_secret}x`]) {
      await ask(api, "/log-drain", {
        of: "audit-ingest",
        body: [{ event_message: "x" }],
        headers: { authorization: `Bearer ${secret}` },
      });
      await ask(api, "/events", { of: "audit-ingest", body: "{", headers: { authorization: `Bearer ${secret}` } });
    }
  }
  // A statement of ours that fails is logged by PostgreSQL with its text.
  await admin.query("alter function audit.access_page() rename to access_page_gone");
  await ask(right, "/access");
  await admin.query("alter function audit.access_page_gone() rename to access_page");

  const places = new Map<string, string>([["an answer", answers.join("\n")]]);
  for (const [name, api] of Object.entries({ right, wrong, unreachable })) {
    for (const  of of["audit", "audit-ingest", "audit-jobs"]) {
      places.set(`output of ${of}, ${name}`, await api.output(of));
    }
  }
  const { rows: [{ file }] } = await admin.query("select current_setting('data_directory') || '/server.log' as file");
  places.set("PostgreSQL's log", await readFile(file, "utf8"));
  const { rows: tables } = await admin.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c
     where c.relkind in ('r', 'p') and not c.relispartition and (c.relnamespace = 'audit'::regnamespace or c.relname = 'audit_logs')`,
  );
  for (const { name } of tables) {
    const { rows: [{ text }] } = await admin.query(
      `select coalesce(string_agg(t::text, E'\\n'), '') as text from ${name} t`,
    );
    places.set(`table ${name}`, text);
  }
  // The search itself finds something where there is something.
  expect(places.get("PostgreSQL's log")).toContain("access_page");
  expect(places.get("an answer")).toContain("not_configured");
  expect(places.get("table audit_logs")).toContain("channel.created");
  expect(places.get("output of audit-jobs, right")).not.toBe("");

  const found: string[] = [];
  for (const [secret, value] of secrets) {
    for (const form of [value, Buffer.from(value).toString("base64").replace(/=+$/, ""), encodeURIComponent(value)]) {
      for (const [place, text] of places) if (text.includes(form)) found.push(`${secret} in ${place}`);
    }
  }
  expect(found).toEqual([]);
}, 300_000);
