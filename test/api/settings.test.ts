// What admins choose over HTTP, and how the log stands: who may, what each choice leaves behind, and two at a time.
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as schemas from "../../functions/audit/schemas.ts";
import { expectVerified } from "../support/log.ts";
import { ACME, ALICE, type Api, BOB, OSCAR, OTHER, startApi, VERA } from "./server.ts";

const AUDITOR = "f0000000-0000-4000-8000-000000000006";
const SOMEBODY = "f0000000-0000-4000-8000-000000000007";
const ROLES = { admin: ALICE, member: BOB, viewer: VERA, auditor: AUDITOR, outsider: OSCAR, former: SOMEBODY };

let api: Api;
let client: pg.Client;

beforeAll(async () => {
  api = await startApi();
  client = await api.db.connect();
  await client.query("select audit.grant_auditor($1, $2, now() + interval '1 day')", [ACME, AUDITOR]);
  await client.query(
    "insert into audit.auditors (organization_id, user_id, expires_at) values ($1, $2, now() - interval '1 second')",
    [ACME, SOMEBODY],
  );
});
afterAll(async () => {
  await expectVerified(client);
  await api.stop();
});

type Answer = { status: number; body: Record<string, unknown> & { code?: string } };

async function ask(path: string, options: Parameters<Api["call"]>[1] = {}): Promise<Answer> {
  const response = await api.call(path, options);
  return { status: response.status, body: await response.json() as Answer["body"] };
}

/** What a change answers: everything that is chosen. */
async function choose(path: string, body: object | undefined, method = "POST") {
  const answer = await ask(path, { method, body });
  expect([answer.status, answer.body]).toEqual([200, expect.anything()]);
  return schemas.Settings.parse(answer.body);
}

const entries = async (action: string) =>
  (await client.query(
    "select organization_id, created_by, resource_id, details from public.audit_logs where action = $1 order by created_at desc",
    [action],
  )).rows;

const later = () => client.query("update audit.settings set changed_at = now() - interval '1 minute'");

describe("who may", () => {
  const q = `?organization_id=${ACME}`;
  const asked: [path: string, method: string, body: object | undefined, readers: (keyof typeof ROLES)[]][] = [
    [`/status${q}`, "GET", undefined, ["admin", "auditor"]],
    [`/settings${q}`, "GET", undefined, ["admin"]],
    ["/settings", "PATCH", { time_zone: "Europe/Paris" }, ["admin"]],
    ["/retention", "POST", { database_days: 400, archive_days: null }, ["admin"]],
    ["/holds", "POST", { name: "Case 1", reason: "Court order" }, ["admin"]],
    ["/holds/release", "POST", { name: "Case 1" }, ["admin"]],
    ["/auditors", "POST", { user_id: OSCAR, expires_at: "2999-01-01T00:00:00Z" }, ["admin"]],
    [`/auditors/${OSCAR}${q}`, "DELETE", undefined, ["admin"]],
  ];

  test.each(asked)("%s %s", async (path, method, body, allowed) => {
    // Whoever may not asks first, while there is something to take away.
    for (const [role, as] of Object.entries(ROLES).reverse() as [keyof typeof ROLES, string][]) {
      const { status, body: { code } } = await ask(path, {
        as,
        method,
        body: body && { organization_id: ACME, ...body },
      });
      const expected = allowed.includes(role) ? [200, undefined] : [403, "access_denied"];
      // Acme's new auditor of the line before is no outsider any more, and still no admin.
      expect([role, status, code]).toEqual([role, ...expected]);
    }
  });

  test("refusals are entries", async () => {
    const denied = await entries("access.denied");
    expect(denied.filter(({ created_by }) => created_by === BOB).length).toBeGreaterThanOrEqual(8);
    expect(denied.some(({ created_by }) => created_by === ALICE)).toBe(false);
  });

  test("nobody without a token", async () => {
    for (const [path, method] of asked) {
      const { status } = await fetch(`${api.url}/functions/v1/audit${path}`, { method });
      expect([path, status]).toEqual([path, 401]);
    }
  });

  test("nor of the whole project", async () => {
    const nil = "00000000-0000-0000-0000-000000000000";
    for (const [path, method, body] of asked.filter(([, , body]) => body !== undefined)) {
      const { body: { code } } = await ask(path, { method, body: { ...body, organization_id: nil } });
      expect([path, code]).toEqual([path, "access_denied"]);
    }
    const { rows } = await client.query(
      "select name from audit.settings where organization_id = $1 and changed_at > now() - interval '1 minute'",
      [OTHER],
    );
    expect(rows).toEqual([]);
  });
});

describe("each choice", () => {
  test("of settings applies, is an entry, and not too often", async () => {
    await later();
    const settings = await choose("/settings", { ip_addresses: "off", query_text: true }, "PATCH");
    expect(settings).toMatchObject({ ip_addresses: "off", query_text: true, time_zone: "Europe/Paris" });
    const [entry, before] = await entries("capture.changed");
    expect([entry, before]).toMatchObject([
      { organization_id: ACME, created_by: ALICE, details: { changes: { query_text: { old: false, new: true } } } },
      { details: { changes: { ip_addresses: { old: "on", new: "off" } } } },
    ]);
    expect((await ask("/settings", { method: "PATCH", body: { query_text: false } })).body.code).toBe(
      "too_many_requests",
    );
    await later();
    await choose("/settings", { ip_addresses: "on", query_text: false }, "PATCH");
  });

  test("two admins of two organisations at once leave nothing of each other out", async () => {
    await later();
    const chosen = await Promise.all([ALICE, OSCAR].flatMap((as) => [
      ask("/settings", { as, method: "PATCH", body: { ip_addresses: "truncated" } }),
      ask("/settings", { as, method: "PATCH", body: { query_text: true } }),
    ]));
    expect(chosen.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    const { rows } = await client.query(
      "select audit.permitted_ip(id, '203.0.113.77') as ip from unnest($1::uuid[]) id",
      [[ACME, OTHER]],
    );
    expect(rows).toEqual([{ ip: "203.0.113.0" }, { ip: "203.0.113.0" }]);
    await client.query("insert into public.llm_queries (organization_id, query_text) values ($1, 'a'), ($2, 'b')", [
      ACME,
      OTHER,
    ]);
    const { rows: queries } = await client.query(
      "select details #>> '{new,query_text}' as text from public.audit_logs where details -> 'new' ? 'query_text' order by 1",
    );
    expect(queries).toEqual([{ text: "a" }, { text: "b" }]);
  });

  test("of retention waits where it is shorter, and is taken back", async () => {
    await choose("/retention", { database_days: null, archive_days: null });
    const { retention } = await choose("/retention", { database_days: 100, archive_days: 400 });
    expect(retention).toMatchObject({
      database_days: null,
      next: { database_days: 100, archive_days: 400 },
      shorten_after: 7,
    });
    expect(Date.parse(retention.next!.at)).toBeGreaterThan(Date.now() + 6.9 * 86_400_000);
    expect((await choose("/retention", { database_days: null, archive_days: null })).retention.next).toBeNull();
    expect((await entries("retention.changed"))[0]).toMatchObject({ created_by: ALICE, details: { cancelled: {} } });
  });

  test("of a hold is shown with its reason until it is released", async () => {
    const { retention: { holds } } = await choose("/holds", { name: "Case 7/2026", reason: "Court order" });
    expect(holds).toMatchObject([{ name: "Case 7/2026", reason: "Court order", of: "organization" }]);
    expect((await choose("/holds/release", { name: "Case 7/2026" })).retention.holds).toEqual([]);
    expect((await ask("/holds/release", { body: { name: "Case 7/2026" } })).body.code).toBe("not_found");
  });

  test("of an auditor ends by itself, or at once", async () => {
    const expires_at = "2999-01-01T00:00:00Z";
    const { auditors } = await choose("/auditors", { user_id: VERA, expires_at, sees_identities: true });
    expect(auditors.find(({ user_id }) => user_id === VERA)).toMatchObject({
      expired: false,
      sees_identities: true,
      granted_by: ALICE,
      // From the entry of a refusal, which this log has.
      email: "c@acme.example",
    });
    expect(auditors.find(({ user_id }) => user_id === SOMEBODY)).toMatchObject({ expired: true });
    expect((await ask("/status", { as: VERA })).status).toBe(200);
    await choose(`/auditors/${VERA}`, undefined, "DELETE");
    expect((await ask("/status", { as: VERA })).status).toBe(403);
    expect((await ask(`/auditors/${VERA}`, { method: "DELETE" })).body.code).toBe("not_found");
    expect((await entries("auditor.revoked"))[0]).toMatchObject({ created_by: ALICE, resource_id: VERA });
  });
});

describe("what cannot be read is refused, and changes nothing", () => {
  test.each([
    ["/settings", "PATCH", { seal_after: 3600 }],
    ["/settings", "PATCH", { ip_addresses: "sometimes" }],
    ["/settings", "PATCH", { query_text: "true" }],
    ["/settings", "PATCH", { time_zone: "Mars/Olympus" }],
    ["/settings", "PATCH", { time_zone: null }],
    ["/retention", "POST", { database_days: 400 }],
    ["/retention", "POST", { database_days: 400, archive_days: 100 }],
    ["/retention", "POST", { database_days: 1, archive_days: 100 }],
    ["/retention", "POST", { database_days: "400", archive_days: 400 }],
    ["/holds", "POST", { name: "", reason: "x" }],
    ["/holds", "POST", { name: "x" }],
    ["/holds", "POST", { name: "x", reason: "y", release: true }],
    ["/auditors", "POST", { user_id: "ada@example.com", expires_at: "2999-01-01T00:00:00Z" }],
    ["/auditors", "POST", { user_id: VERA, expires_at: "2001-01-01T00:00:00Z" }],
    ["/auditors", "POST", { user_id: VERA, expires_at: "infinity" }],
    ["/auditors", "POST", { user_id: VERA, expires_at: "2999-01-01T00:00:00Z", revoke: true }],
    ["/auditors/x", "DELETE", undefined],
  ])("%s %s %j", async (path, method, body) => {
    const before = await client.query("select count(*)::int as n from public.audit_logs");
    const { status, body: problem } = await ask(path, { method, body });
    expect([400, 422]).toContain(status);
    expect(schemas.ProblemBody.parse(problem).detail).not.toMatch(/select|insert|audit\.|ERROR/);
    expect((await client.query("select count(*)::int as n from public.audit_logs")).rows).toEqual(before.rows);
  });
});

test("how it stands is as described, and names nothing of the project's", async () => {
  await client.query(
    "update audit.tracked_tables set table_owner = 'somebody' where table_name = 'public.api_keys'::regclass",
  );
  await client.query("select audit.note_finding(audit.system_organization(), 'archive_damaged', 'a/secret/path')");
  const { body } = await ask("/status", { as: AUDITOR });
  expect(schemas.Status.parse(body)).toMatchObject({
    capture: { state: "wrong", broken: 1 },
    sealing: { state: "missing" },
    findings: { state: "wrong", open: [], of_project: 1 },
  });
  expect(JSON.stringify(body)).not.toMatch(/api_keys|secret/);
});

test("a schedule is paused and goes on", async () => {
  const { body: { id } } = await ask("/report-schedules", { body: { template: "costs", cron: "0 6 1 * *" } });
  const pause = (as: string, paused: unknown) =>
    ask(`/report-schedules/${id}`, { as, method: "PATCH", body: { paused } });
  expect(schemas.Schedule.parse((await pause(ALICE, true)).body).paused_at).not.toBeNull();
  expect(schemas.Schedule.parse((await pause(ALICE, false)).body).paused_at).toBeNull();
  expect((await Promise.all([BOB, AUDITOR, VERA, OSCAR].map((as) => pause(as, true)))).map(({ status }) => status))
    .toEqual([403, 403, 404, 404]);
  expect((await pause(ALICE, "yes")).status).toBe(400);
});
