// Erasure over HTTP: a dry run, the request, what a hold does, the certificate, and files in Storage.
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { Erasure, ErasureScope } from "../../functions/audit/schemas.ts";
import { ACME, ALICE, type Api, BOB, OSCAR, startApi, VERA } from "./server.ts";

let api: Api;
let client: pg.Client;

beforeAll(async () => {
  api = await startApi();
  client = await api.db.connect();
});
afterAll(() => api.stop());

const job = async (name: string): Promise<void> => {
  const headers = { authorization: `Bearer ${api.keys.jobs_secret}` };
  const response = await api.call(name, { of: "audit-jobs", method: "POST", headers });
  expect([response.status, await response.text()]).toMatchObject([200, expect.any(String)]);
};

async function ask(body: object, as = ALICE): Promise<{ status: number; body: Record<string, unknown> }> {
  const response = await api.call("/erasures", { body, as });
  return { status: response.status, body: await response.json() as Record<string, unknown> };
}

test("a person is erased: told before, done in the background, certified after", { timeout: 120_000 }, async () => {
  // Bob reads the log, so the log knows his address.
  expect((await api.call("/logs", { as: BOB })).status).toBe(200);
  const { id: exported } = await (await api.call("/exports", { body: { format: "csv" } })).json() as { id: string };
  await job("/exports");
  const folder = `${ACME}/${exported}`;
  const stored = async () => {
    const { rows } = await client.query("select count(*)::int as n from storage.objects where name like $1", [
      `${folder}%`,
    ]);
    return rows[0].n as number;
  };
  expect(await stored()).toBe(1);

  const told = await ask({ subject: "b@acme.example" });
  expect(told.status).toBe(200);
  expect(ErasureScope.parse(told.body)).toMatchObject({
    subject: BOB,
    identities: 1,
    exports: 1,
    entries_kept: 1,
    holds: [],
  });

  await client.query("select audit.place_hold($1, 'Case', 'Court')", [ACME]);
  const refused = await ask({ subject: BOB, ground: "17(1)(a)", dry_run: false });
  expect(Erasure.parse(refused.body)).toMatchObject({
    state: "refused",
    ground: "17(3)(e)",
    holds: [{ name: "Case" }],
  });
  await client.query("select audit.release_hold($1, 'Case')", [ACME]);

  const { body: erasure } = await ask({ subject: BOB, ground: "17(1)(a)", reason: "Left", dry_run: false });
  expect(Erasure.parse(erasure).state).toBe("values");
  const certificate = `/erasures/${erasure["id"]}/manifest.json`;
  expect((await api.call(certificate)).status).toBe(409);
  for (let run = 0; run < 6; run++) {
    await client.query("select audit.continue_erasures()");
    await job("/expire");
    await client.query("select audit.continue_verification()");
  }
  await job("/seal?due_now=true");
  await job("/manifests");
  const status = await (await api.call(`/erasures/${erasure["id"]}`)).json();
  expect(Erasure.parse(status)).toMatchObject({
    state: "done",
    was_verified: true,
    certified: true,
    erased: { identities: 1 },
  });
  expect(await stored()).toBe(0);
  const signed = await api.call(certificate);
  expect(signed.headers.get("content-disposition")).toContain("manifest.json");
  expect(JSON.parse(await signed.text()).certificate).toMatchObject({ subject: BOB, remains: { entries: 1 } });
  const list = await (await api.call("/erasures")).json() as { erasures: unknown[] };
  expect(list.erasures).toHaveLength(2);
  const { rows } = await client.query(
    "select action, created_by from audit_logs where action like 'subject.%' order by created_at",
  );
  expect(rows).toEqual([
    { action: "subject.erasure_refused", created_by: ALICE },
    { action: "subject.erasure_requested", created_by: ALICE },
    { action: "subject.erased", created_by: null },
  ]);
});

test.each([
  ["a member", BOB, { subject: ALICE }, 403],
  ["a viewer", VERA, { subject: ALICE }, 403],
  ["another organisation's admin", OSCAR, { organization_id: ACME, subject: ALICE }, 403],
  ["no subject", ALICE, {}, 400],
  ["an unknown field", ALICE, { subject: ALICE, force: true }, 400],
  ["no such ground", ALICE, { subject: ALICE, ground: "17(4)", dry_run: false }, 400],
  ["a text for a switch", ALICE, { subject: ALICE, dry_run: "false" }, 400],
  ["a person nobody knows", ALICE, { subject: "who@acme.example" }, 404],
  ["a name", ALICE, { subject: "Bob" }, 422],
  ["no ground", ALICE, { subject: ALICE, dry_run: false }, 422],
])("%s is refused", async (_, as, body, status) => {
  expect((await ask(body, as)).status).toBe(status);
});
