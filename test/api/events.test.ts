// Events of applications as they reach us: by service key, by a source's secret, signed; alone and in batches.
import type pg from "pg";
import { Webhook } from "standardwebhooks";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { entries, type Entry, expectVerified } from "../support/log.ts";
import { ACME, ALICE, type Api, BOB, OTHER, startApi } from "./server.ts";

let api: Api;
let client: pg.Client;
let from: number;
let billing: string;

beforeAll(async () => {
  api = await startApi();
  client = await api.db.connect();
  billing = await one("select audit.create_event_source('billing', $1, 100000)", [ACME]);
});
afterAll(async () => {
  await expectVerified(client);
  await api.stop();
});
beforeEach(async () => {
  from = Number(await one("select count(*) from public.audit_logs"));
});

async function one(text: string, values: unknown[] = []): Promise<string> {
  const { rows } = await client.query({ text, values, rowMode: "array" });
  return String(rows[0]![0]);
}

type Verdict = { event: number; verdict: string; entry?: string; hash?: string; code?: string; path?: string };
type Batch = { recorded: number; duplicate: number; rejected: number; events: Verdict[] };
// deno-lint-ignore no-explicit-any -- of each kind of answer
type Answer = { status: number; body: any; headers: Headers };

async function report(body: unknown, headers: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(`${api.url}/functions/v1/audit-ingest/events`, {
    method: "POST",
    headers: { authorization: `Bearer ${api.keys.service_role_key}`, "content-type": "application/json", ...headers },
    body: typeof body === "string" ? body : JSON.stringify(body),
  });
  return { status: response.status, body: await response.json(), headers: response.headers };
}

async function batch(events: unknown[], headers: Record<string, string> = {}): Promise<Batch> {
  const { status, body } = await report(events, headers);
  expect(status).toBe(200);
  return body;
}

const as = (secret: string) => ({ authorization: `Bearer ${secret}` });
const written = async (): Promise<Entry[]> => (await entries(client)).slice(from);
const event = (more: object = {}) => ({ action: "report.generated", organization_id: ACME, ...more });

describe("an event", () => {
  test("becomes an entry, and its name and hash are the answer", async () => {
    const { status, body } = await report({
      action: "report.generated",
      organization_id: ACME,
      resource_type: "report",
      resource_id: "2026-01",
      actor: { user_id: ALICE, email: "alice@acme.example", ip_address: "203.0.113.9", user_agent: "Safari" },
      request_id: "req-9",
      provider: "openai",
      cost: "0.25",
      details: { pages: 3 },
    });
    const [entry] = await written();
    expect(entry).toMatchObject({
      organization_id: ACME,
      action: "report.generated",
      outcome: "success",
      resource_type: "report",
      resource_id: "2026-01",
      created_by: ALICE,
      actor_type: "user",
      request_id: "req-9",
      provider: "openai",
      cost: "0.25",
      details: { pages: 3, reported_by: "service" },
    });
    const { rows } = await client.query(
      "select encode(l.hash, 'hex') as hash, i.email, i.ip_address from public.audit_logs l join audit.identities i using (identity_hash) where seq = $1 and chain = $2 and l.organization_id = $3",
      [entry!.seq, entry!.chain, ACME],
    );
    expect(rows).toEqual([{ hash: body.hash, email: "alice@acme.example", ip_address: "203.0.113.9" }]);
    expect([status, body]).toEqual([201, {
      verdict: "recorded",
      entry: `${entry!.chain}-${entry!.seq}`,
      hash: body.hash,
    }]);
  });

  // The rest of DESIGN 17's that no table of Supabase shows, and an application's own.
  test.each([
    "api_token.created",
    "api_token.revoked",
    "data.exported",
    "integration.configured",
    "integration.removed",
    "settings.viewed",
    "query.executed",
    "access.denied",
    "invoice.line_item.refunded",
  ])("may be %s", async (action) => {
    expect((await report(event({ action }))).status).toBe(201);
    expect((await written()).map((entry) => [entry.action, entry.actor_type])).toEqual([[action, "service"]]);
  });

  test.each([
    "log.purged",
    "capture.untracked",
    "retention.changed",
    "hold.released",
    "subject.erased",
    "auditor.granted",
    "alert.resolved",
    "rule.changed",
    "verification.failed",
  ])("may not be %s, which is ours to say", async (action) => {
    const { status, body } = await report(event({ action }));
    expect([status, body.code, body.path]).toEqual([422, "reserved_action", "/action"]);
    expect(await written()).toEqual([]);
  });

  test("of an hour ago has its time beside the entry's; of the day after tomorrow it is refused", async () => {
    const occurred_at = new Date(Date.now() - 3_600_000).toISOString();
    await report(event({ occurred_at }));
    const [entry] = await written();
    expect(Date.parse(entry!.details.happened_at)).toBe(Date.parse(occurred_at));
    expect(entry!.created_at.getTime()).toBeGreaterThan(Date.now() - 60_000);
    const later = await report(event({ occurred_at: new Date(Date.now() + 2 * 86_400_000).toISOString() }));
    expect([later.status, later.body.code]).toEqual([422, "in_the_future"]);
  });

  test("of now, by a clock that is two seconds off, says nothing of time", async () => {
    await report(event({ occurred_at: new Date(Date.now() + 2_000).toISOString() }));
    expect((await written())[0]!.details).toEqual({ reported_by: "service" });
  });

  test.each([
    ["/action", { action: "Report.Generated" }],
    ["/action", { action: "report" }],
    ["/action", { action: `a.${"b".repeat(100)}` }],
    ["/organization_id", { organization_id: "acme" }],
    ["/outcome", { outcome: "maybe" }],
    ["/created_at", { created_at: "2020-01-01T00:00:00Z" }],
    ["/actor/role", { actor: { role: "admin" } }],
    ["/actor/type", { actor: { type: "database" } }],
    ["/actor/user_id", { actor: { user_id: 5 } }],
    ["/occurred_at", { occurred_at: "2026-01-01" }],
    ["/occurred_at", { occurred_at: "2026-01-01T00:00:00" }],
    ["/resource_id", { resource_id: "" }],
    ["/resource_id", { resource_id: "a\0b" }],
    ["/resource_id", { resource_id: "x".repeat(501) }],
    ["/cost", { cost: "1e400" }],
    ["/cost", { cost: "free" }],
    ["/details", { details: [] }],
    ["/details", { details: { note: "x".repeat(33_000) } }],
    ["/details", { details: { note: "half \ud800" } }],
    ["/details", { details: { ["a\0"]: 1 } }],
    ["/details", { details: JSON.parse(`${'{"a":'.repeat(40)}1${"}".repeat(40)}`) }],
    ["/idempotency_key", { idempotency_key: "" }],
  ])("%#: a wrong %s is refused", async (path, fields) => {
    const { status, body } = await report(event(fields));
    expect([status, body.code, body.path]).toEqual([400, "invalid_event", path]);
    expect(await written()).toEqual([]);
  });

  test("in bytes that are no UTF-8 is refused: nobody guesses what was meant", async () => {
    const bytes = Uint8Array.from(
      Buffer.from('{"action":"a.b","resource_id":"?"}'),
      (byte) => byte === 0x3f ? 0xff : byte,
    );
    const response = await fetch(`${api.url}/functions/v1/audit-ingest/events`, {
      method: "POST",
      headers: as(api.keys.service_role_key),
      body: bytes,
    });
    expect(response.status).toBe(400);
    expect(await written()).toEqual([]);
  });

  test("nested beyond all measure is refused, and the function goes on", async () => {
    const { status } = await report(`{"action":"a.b","details":{"a":${"[".repeat(200_000)}${"]".repeat(200_000)}}}`);
    expect(status).toBe(400);
    expect((await report(event())).status).toBe(201);
  });

  test("with a secret in it is masked", async () => {
    const secret = "sk-proj-abcdefghijklmnopqrstuvwxyz";
    await report(event({ resource_id: secret, details: { note: secret }, actor: { user_agent: secret } }));
    expect(
      await one(
        "select count(*) from public.audit_logs l left join audit.identities i using (identity_hash) where l::text || coalesce(i::text, '') like '%' || $1 || '%'",
        [secret],
      ),
    ).toBe("0");
  });

  test("cannot say who reported it", async () => {
    await report(event({ details: { reported_by: "somebody else", happened_at: "never" } }));
    expect((await written())[0]!.details.reported_by).toBe("service");
  });
});

describe("a batch", () => {
  test("has a verdict an event; a bad one costs no other", async () => {
    const answer = await batch([
      event({ resource_id: "0" }),
      { action: "nonsense" },
      event({ resource_id: "2", organization_id: OTHER }),
      null,
      event({ action: "log.purged" }),
      event({ resource_id: "5" }),
    ]);
    expect(answer).toMatchObject({ recorded: 3, duplicate: 0, rejected: 3 });
    expect(answer.events.map(({ event, verdict, code }) => [event, verdict, code])).toEqual([
      [0, "recorded", undefined],
      [1, "rejected", "invalid_event"],
      [2, "recorded", undefined],
      [3, "rejected", "invalid_event"],
      [4, "rejected", "reserved_action"],
      [5, "recorded", undefined],
    ]);
    const named = new Map(
      (await written()).map((entry) => [`${entry.organization_id} ${entry.chain}-${entry.seq}`, entry]),
    );
    for (const [organization, at] of [[ACME, 0], [OTHER, 2], [ACME, 5]] as [string, number][]) {
      expect(named.get(`${organization} ${answer.events[at]!.entry}`)?.resource_id).toBe(String(at));
    }
  });

  test("has up to a thousand, whose names are those of the entries", async () => {
    const answer = await batch(Array.from({ length: 1_000 }, (_, n) => event({ resource_id: String(n) })));
    expect(answer.recorded).toBe(1_000);
    const byName = new Map((await written()).map((entry) => [`${entry.chain}-${entry.seq}`, entry.resource_id]));
    for (const { event: at, entry } of answer.events) expect(byName.get(entry!)).toBe(String(at));
    const { status } = await report(Array.from({ length: 1_001 }, () => event()));
    expect(status).toBe(413);
    expect(await batch([])).toEqual({ recorded: 0, duplicate: 0, rejected: 0, events: [] });
  });

  test("of more than four megabytes is refused", async () => {
    const { status } = await report(
      Array.from({ length: 200 }, () => event({ details: { note: "x".repeat(30_000) } })),
    );
    expect(status).toBe(413);
  });
});

describe("an idempotency key", () => {
  test("makes one entry of an event that is sent twice, with the same answer", async () => {
    const sent = event({ idempotency_key: "k-1" });
    const first = await report(sent);
    const second = await report(sent);
    expect([first.status, second.status]).toEqual([201, 200]);
    expect(second.body).toMatchObject({ verdict: "duplicate", entry: first.body.entry });
    expect(await written()).toHaveLength(1);
  });

  test("with another event is refused", async () => {
    await report(event({ idempotency_key: "k-2" }));
    const { status, body } = await report(event({ idempotency_key: "k-2", details: { other: true } }));
    expect([status, body.code]).toEqual([409, "key_reused"]);
    expect(await written()).toHaveLength(1);
  });

  test("may be a header, for one event and for a batch", async () => {
    const headers = { "idempotency-key": "h-1" };
    expect((await report(event(), headers)).status).toBe(201);
    expect((await report(event(), headers)).status).toBe(200);
    const events = [event({ resource_id: "a" }), event({ resource_id: "b" })];
    expect(await batch(events, headers)).toMatchObject({ recorded: 2 });
    expect(await batch(events, headers)).toMatchObject({ recorded: 0, duplicate: 2 });
    expect(await written()).toHaveLength(3);
  });

  test("twice in one batch counts once", async () => {
    const answer = await batch([
      event({ idempotency_key: "b-1" }),
      event({ idempotency_key: "b-1" }),
      event({ idempotency_key: "b-1", resource_id: "other" }),
    ]);
    expect(answer.events.map(({ verdict, code }) => code ?? verdict)).toEqual(["recorded", "duplicate", "key_reused"]);
    expect(await written()).toHaveLength(1);
  });

  test("sent by many at the same time makes one entry", async () => {
    const answers = await Promise.all(
      Array.from({ length: 8 }, () => batch([event({ idempotency_key: "c-1" }), event({ idempotency_key: "c-2" })])),
    );
    expect(answers.reduce((sum, { recorded }) => sum + recorded, 0)).toBe(2);
    expect(await written()).toHaveLength(2);
  });

  test("of one source is not another's", async () => {
    await report(event({ idempotency_key: "s-1" }));
    expect((await report(event({ idempotency_key: "s-1" }), as(billing))).status).toBe(201);
  });
});

describe("a source", () => {
  test("reports for its organisation, under its name", async () => {
    expect((await report({ action: "invoice.paid" }, as(billing))).status).toBe(201);
    expect(await written()).toMatchObject([{ organization_id: ACME, details: { reported_by: "billing" } }]);
    const { status, body } = await report(event({ organization_id: OTHER }), as(billing));
    expect([status, body.code]).toEqual([403, "other_organization"]);
  });

  test("lies in the database as a digest, and in the Vault", async () => {
    expect(await one("select count(*) from audit.event_sources s where s::text like '%' || $1 || '%'", [billing])).toBe(
      "0",
    );
    expect(await one("select count(*) from public.audit_logs l where l::text like '%' || $1 || '%'", [billing])).toBe(
      "0",
    );
    expect(await one("select count(*) from vault.decrypted_secrets where decrypted_secret = $1", [billing])).toBe("1");
  });

  test("is rotated: the old secret goes on for a while, and then no longer", async () => {
    const first = await one("select audit.create_event_source('rotating')");
    const second = await one("select audit.rotate_event_source('rotating')");
    expect((await report(event(), as(first))).status).toBe(201);
    expect((await report(event(), as(second))).status).toBe(201);
    await client.query(
      "update audit.event_sources set previous_until = now() - interval '1 s' where name = 'rotating'",
    );
    expect((await report(event(), as(first))).status).toBe(401);
    expect((await sign(event(), { secret: first, source: "rotating" })).status).toBe(401);
    expect((await report(event(), as(second))).status).toBe(201);
    await client.query("select audit.disable_event_source('rotating')");
    expect((await report(event(), as(second))).status).toBe(401);
    expect((await sign(event(), { secret: second, source: "rotating" })).status).toBe(401);
  });

  test("reports as much as it may a minute, and is told when to come again", async () => {
    const slow = await one("select audit.create_event_source('slow', null, 60)");
    const events = (count: number) => Array.from({ length: count }, () => event());
    expect(await batch(events(50), as(slow))).toMatchObject({ recorded: 50 });
    const refused = await report(events(50), as(slow));
    expect([refused.status, refused.body.code]).toEqual([429, "too_many_requests"]);
    const seconds = Number(refused.headers.get("retry-after"));
    expect(seconds).toBeGreaterThan(30);
    expect(seconds).toBeLessThanOrEqual(41);
    expect(await batch(events(5), as(slow))).toMatchObject({ recorded: 5 });
    expect(await written()).toHaveLength(55 + 1); // and that it was created
    // A minute later it is full again, and a batch larger than that passes once.
    await client.query("update audit.event_sources set allowance_at = now() - interval '2 min' where name = 'slow'");
    expect(await batch(events(100), as(slow))).toMatchObject({ recorded: 100 });
    expect((await report(event(), as(slow))).status).toBe(429);
  });

  test.each([
    ["nothing", {}],
    ["nonsense", as("nonsense")],
    ["the drains' secret", "drain_secret"],
    ["the public key", "anon_key"],
  ])("is not who shows %s", async (_, shown) => {
    const headers = typeof shown === "string" ? as(api.keys[shown as "anon_key"]) : shown;
    const { status, body } = await report(event(), { authorization: "", ...headers });
    expect([status, body.code]).toEqual([401, "not_authenticated"]);
    expect(await written()).toEqual([]);
  });

  test("is not a person", async () => {
    expect((await report(event(), as(await api.token({ sub: BOB })))).status).toBe(401);
  });
});

type Signing = {
  secret?: string;
  source?: string;
  id?: string;
  at?: Date;
  body?: string;
  change?: Record<string, string>;
};

async function sign(
  event: unknown,
  { secret = billing, source = "billing", id = crypto.randomUUID(), at = new Date(), body, change }: Signing = {},
) {
  const text = JSON.stringify(event);
  const response = await fetch(`${api.url}/functions/v1/audit-ingest/events`, {
    method: "POST",
    headers: {
      "audit-source": source,
      "webhook-id": id,
      "webhook-timestamp": String(Math.floor(at.getTime() / 1_000)),
      "webhook-signature": new Webhook(secret).sign(id, at, text),
      ...change,
    },
    body: body ?? text,
  });
  return {
    status: response.status,
    body: await response.json() as { verdict?: string; entry?: string; code?: string },
  };
}

describe("a signed event", () => {
  test("is its source's, and its id is its idempotency key: a replay changes nothing", async () => {
    const first = await sign(event(), { id: "msg-1" });
    const replayed = await sign(event(), { id: "msg-1" });
    expect([first.status, replayed.status, replayed.body.entry]).toEqual([201, 200, first.body.entry]);
    expect(await written()).toHaveLength(1);
  });

  test.each<[string, Signing]>([
    ["with another's secret", { secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw" }],
    ["of another source", { source: "service" }],
    ["of no source", { source: "nobody" }],
    ["of six minutes ago", { at: new Date(Date.now() - 360_000) }],
    ["of six minutes from now", { at: new Date(Date.now() + 360_000) }],
    ["changed on the way", { body: JSON.stringify(event({ action: "report.deleted" })) }],
    ["under another id", { change: { "webhook-id": "other" } }],
    ["with another time", { change: { "webhook-timestamp": String(Math.floor(Date.now() / 1_000) - 1) } }],
    ["without a time", { change: { "webhook-timestamp": "" } }],
    ["in a way we do not know", { change: { "webhook-signature": "v2,AAAA" } }],
    ["with nothing", { change: { "webhook-signature": "v1," } }],
  ])("%s is refused", async (_, signing) => {
    const { status, body } = await sign(event(), signing);
    expect([status, body.code]).toEqual([401, "not_authenticated"]);
    expect(await written()).toEqual([]);
  });
});
