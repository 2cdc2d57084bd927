// One real event is one entry, whoever tells of it, in whatever order, however often: triggers on Auth's tables, Auth's
// own record, a log drain and the collector; at every isolation level, and when a connection dies on the way.
import fc from "fast-check";
import type pg from "pg";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Database } from "../../functions/_shared/database.ts";
import { ingestLines } from "../../functions/_shared/logs/ingest_lines.ts";
import {
  asCollected,
  authEvent,
  authFailure,
  type DrainLine,
  edge,
  postgres,
  storage,
} from "../../scripts/bench/log_lines.ts";
import { inTransaction } from "../support/acting.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { entries, expectVerified, failure } from "../support/log.ts";

const ACME = "10000000-0000-4000-8000-000000000001";
const ALICE = "a0000000-0000-4000-8000-000000000001";
const EMAIL = "alice@acme.example";

let db: TestDatabase;
let client: pg.Client;
beforeEach(async () => {
  db = await createDatabase();
  client = await db.connect();
  await client.query(
    `insert into public.organizations (id, name) values ('${ACME}', 'Acme');
     insert into public.organization_members values ('${ACME}', '${ALICE}', 'admin');
     select audit.use_membership('public.organization_members');
     insert into auth.users (id, email, created_at) values ('${ALICE}', '${EMAIL}', now() - interval '1 year');`,
  );
});
afterEach(async () => {
  await expectVerified(client);
  await db.drop();
});

/** The function's database, as it is from inside a transaction of ours. */
function through(connection: pg.Client): Database {
  const askAsOwner: Database["askAsOwner"] = async ({ name, text, values }) => {
    const { rows } = await connection.query({ name, text, values, rowMode: "array" });
    return rows[0]![0];
  };
  return { askAsOwner } as Database;
}

const take = (connection: pg.Client, lines: unknown[]) => ingestLines(through(connection), lines);

async function settle(): Promise<void> {
  while ((await client.query("select audit.settle_waiting_auth() as settled")).rows[0].settled > 0);
}

/** What the log says of people and requests, whatever order it was written in. */
async function said(): Promise<string[]> {
  await settle();
  const { rows } = await client.query<{ said: string }>(
    `select concat_ws(' ', l.organization_id, l.action, l.outcome, l.created_by,
       case when l.action !~ '^user' then l.resource_id end,
       -- Auth's own record has no address: of a success, who told first decides whether there is one.
       case when l.outcome <> 'success' then i.ip_address end) as said
     from public.audit_logs l left join audit.identities i using (identity_hash, organization_id)
     where l.action ~ '^(user|access|api)\\.' and l.action <> 'user.signed_up'
     order by 1`,
  );
  return rows.map(({ said }) => said);
}

type Telling = (connection: pg.Client) => Promise<unknown>;

/** Each real event with those who tell of it. Auth's tables tell once; lines come as often as they like. */
function tellings(now: number): { once: Telling[]; lines: DrainLine[] } {
  const at = (seconds: number) => now - seconds * 1_000;
  const login = { action: "login", user: ALICE, email: EMAIL, at: now, request_id: "req-login", ip: "203.0.113.1" };
  const recovery = {
    action: "user_recovery_requested",
    user: ALICE,
    email: EMAIL,
    at: at(40),
    request_id: "req-recover",
  };
  const session = crypto.randomUUID();
  const audited = (action: string, time: number): Telling => (connection) =>
    connection.query(
      `insert into auth.audit_log_entries (id, instance_id, payload, created_at, ip_address)
       values ($1, '00000000-0000-0000-0000-000000000000', $2, to_timestamp($3 / 1000.0), '')`,
      [crypto.randomUUID(), { action, actor_id: ALICE, actor_username: EMAIL, log_type: "account" }, time],
    );
  return {
    once: [
      (connection) =>
        connection.query(
          `insert into auth.sessions (id, user_id, created_at, updated_at, aal, ip, user_agent)
           values ($1, $2, to_timestamp($3 / 1000.0), to_timestamp($3 / 1000.0), 'aal1', '203.0.113.1', 'Mozilla/5.0')`,
          [session, ALICE, now],
        ),
      audited("login", now),
      audited("user_recovery_requested", at(40)),
    ],
    lines: [
      authEvent(login),
      authEvent({ ...login, as: "auth_event" }),
      authEvent(recovery),
      ...[100, 101, 160].map((seconds) => authFailure({ at: at(seconds), ip: "198.51.100.1" })),
      authFailure({ at: at(101), ip: "198.51.100.2" }),
      authFailure({ at: at(300), path: `/factors/${ALICE}/verify`, error_code: "mfa_verification_failed" }),
      edge({ at: at(200), status: 403, user: ALICE }),
      edge({ at: at(200), status: 403, user: ALICE }),
      edge({ at: at(9), status: 401 }),
      postgres({ at: at(50) }),
      storage({ at: at(30) }),
    ],
  };
}

test("any order, any batches, any repetitions, by drain and collector beside triggers: the same entries", async () => {
  const expected = [
    `${ACME} access.denied denied ${ALICE} /rest/v1/budgets 203.0.113.7`,
    `${ACME} access.denied denied ${ALICE} /rest/v1/budgets 203.0.113.7`,
    `${ACME} user.login success ${ALICE}`,
    `${ACME} user.password_reset_requested success ${ALICE}`,
  ];
  const system = "00000000-0000-0000-0000-000000000000";
  const ofNobody = [
    `${system} access.denied denied /rest/v1/budgets 203.0.113.7`,
    `${system} access.denied denied /storage/v1/object/private/plan.pdf 203.0.113.7`,
    `${system} access.denied denied salaries 198.51.100.9`,
    ...["1", "1", "1", "2"].map((n) => `${system} user.login_failed failure 198.51.100.${n}`),
    `${system} user.mfa_failed failure 203.0.113.7`,
  ];
  const step = fc.record({ line: fc.nat(1_000), collected: fc.boolean(), ends: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 5, maxLength: 60 }),
      fc.infiniteStream(fc.nat(1_000)),
      async (steps, random) => {
        const { once, lines } = tellings(Date.now());
        const world = await createDatabase();
        try {
          const connection = await world.connect();
          const auth = await world.connect("supabase_auth_admin");
          await connection.query(
            `insert into public.organizations (id, name) values ('${ACME}', 'Acme');
           insert into public.organization_members values ('${ACME}', '${ALICE}', 'admin');
           select audit.use_membership('public.organization_members');
           insert into auth.users (id, email, created_at) values ('${ALICE}', '${EMAIL}', now() - interval '1 year');`,
          );
          // The repetitions that were drawn, and in the end everything that nobody told of yet.
          const order = [...steps.map(({ line }) => line % lines.length), ...lines.keys()];
          const places = once.map((telling) => ({ telling, at: random.next().value! % order.length }));
          let batch: unknown[] = [];
          for (const [at, line] of order.entries()) {
            for (const { telling } of places.filter((place) => place.at === at)) await telling(auth);
            const { collected = false, ends = true } = steps[at] ?? {};
            batch.push(collected ? asCollected(lines[line]!) : lines[line]);
            if (!ends) continue;
            await take(connection, batch);
            batch = [];
          }
          await take(connection, batch);
          const previous = client;
          client = connection;
          try {
            const found = await said();
            expect(found).toEqual([...expected, ...ofNobody].sort());
            await expectVerified(connection);
          } finally {
            client = previous;
          }
        } finally {
          await world.drop();
        }
      },
    ),
    { numRuns: 15 },
  );
  await client.query("insert into public.budgets (organization_id) values ($1)", [ACME]); // for afterEach to verify
}, 180_000);

describe("at once", () => {
  const many = () => [
    ...Array.from({ length: 120 }, (_, n) => edge({ status: 403, user: n % 2 === 0 ? ALICE : undefined })),
    ...Array.from({ length: 120 }, (_, n) => authFailure({ ip: `198.51.100.${n % 9}`, at: Date.now() - n * 500 })),
  ];

  test("from many connections, each in another order, makes one entry of each", async () => {
    const lines = many();
    const connections = await db.connectAll(6);
    const shuffled = (seed: number) =>
      lines.map((line, n) => ({ line, order: (n * 7_919 * (seed + 1) + seed) % 241 })).sort((a, b) =>
        a.order - b.order
      );
    const answers = await Promise.all(
      connections.map((connection, n) => take(connection, shuffled(n).map(({ line }) => line))),
    );
    expect(answers.reduce((sum, { recorded }) => sum + recorded, 0)).toBe(240);
    expect(await said()).toHaveLength(240);
  });

  test.each(["repeatable read", "serializable"])("at %s fails whole or records each once", async (level) => {
    const lines = many();
    const connections = await db.connectAll(4);
    await Promise.all(connections.map(async (connection) => {
      for (let conflicts = 0;; conflicts++) {
        try {
          return await inTransaction(connection, () => take(connection, lines), `isolation level ${level}`);
        } catch (error) {
          expect((error as { code: string }).code).toBe("40001");
          expect(conflicts).toBeLessThan(connections.length);
        }
      }
    }));
    expect(await said()).toHaveLength(240);
  });
});

describe("a connection that ends on the way", () => {
  test("leaves nothing, and the same lines are taken afterwards", async () => {
    const lines = [authFailure(), edge({ status: 403, user: ALICE })];
    const before = (await entries(client)).length;
    const [dying] = await db.connectAll(1);
    dying!.on("error", () => {});
    await dying!.query("begin");
    await take(dying!, lines);
    const { rows: [{ pid }] } = await dying!.query("select pg_backend_pid() as pid");
    // A second one waits for the first to decide.
    const [second] = await db.connectAll(1);
    const waiting = take(second!, lines);
    while (
      (await client.query(
        "select from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()",
      )).rowCount === 0
    );
    await client.query("select pg_terminate_backend($1)", [pid]);
    expect(await waiting).toMatchObject({ recorded: 2, duplicate: 0 });
    expect((await entries(client)).length - before).toBe(2);
  });
});

test("what is forgotten is too old to come again", async () => {
  const line = edge({ status: 403, user: ALICE, at: Date.now() - 23 * 3_600_000 });
  expect(await take(client, [line])).toMatchObject({ recorded: 1 });
  await client.query("select audit.forget_seen_logs()");
  expect(await take(client, [line])).toMatchObject({ duplicate: 1 });
  // Two days later.
  await client.query("update audit.seen_logs set seen_at = seen_at - interval '26 hours'");
  expect((await client.query("select audit.forget_seen_logs()::int as forgotten")).rows[0].forgotten).toBe(1);
  const then = edge({ status: 403, user: ALICE, at: Date.now() - 49 * 3_600_000 });
  expect(await take(client, [then])).toMatchObject({ refused: 1, refusals: [{ line: 0, reason: "too_old" }] });
});

describe("a person's own events", () => {
  const as = (sub: string | null, work: () => Promise<unknown>, modes = "") =>
    inTransaction(client, async () => {
      await client.query(
        `select set_config('request.jwt.claims', $1, true), set_config('request.method', 'POST', true), set_config('role', 'authenticated', true)`,
        [JSON.stringify({ role: "authenticated", ...(sub === null ? {} : { sub, email: EMAIL }) })],
      );
      return await work();
    }, modes);
  const call = (action = "settings.viewed") =>
    client.query("select public.record_audit_event($1, 'settings', 'billing', '{\"tab\": \"plan\"}') as entry", [
      action,
    ]);

  test("are theirs, whatever they say", async () => {
    await as(ALICE, () => call());
    const [entry] = await entries(client, "where action = 'settings.viewed'");
    expect(entry).toMatchObject({
      organization_id: ACME,
      created_by: ALICE,
      actor_type: "user",
      resource_id: "billing",
      details: { tab: "plan", reported_by: "client" },
    });
  });

  test("cannot be written by a GET, which PostgREST runs read-only", async () => {
    const { code } = await failure(as(ALICE, () => call(), "read only"));
    expect(code).toBe("25006");
  });

  test("at every isolation level are written by many at once, and counted", async () => {
    const connections = await db.connectAll(4);
    for (const level of ["read committed", "repeatable read", "serializable"]) {
      const outcomes = await Promise.all(connections.map((connection) =>
        inTransaction(connection, async () => {
          await connection.query(
            `select set_config('request.jwt.claims', $1, true), set_config('role', 'authenticated', true)`,
            [JSON.stringify({ role: "authenticated", sub: ALICE })],
          );
          await connection.query("select public.record_audit_event('settings.viewed')");
        }, `isolation level ${level}`).then(() => "written", (error) => error.code as string)
      ));
      // One who lost against another of the same person tries again; nothing is half done.
      expect(outcomes.filter((outcome) => outcome !== "written" && outcome !== "40001")).toEqual([]);
      const { rows: [{ counted, written }] } = await client.query(
        `select (select sum(events)::int from audit.client_rates) as counted,
           (select count(*)::int from public.audit_logs where action = 'settings.viewed') as written`,
      );
      expect(counted).toBe(written);
    }
  });

  test("are sixty a minute", async () => {
    for (let n = 0; n < 60; n++) await as(ALICE, () => call());
    expect(await failure(as(ALICE, () => call()))).toMatchObject({ code: "AURAT" });
    await client.query("update audit.client_rates set minute = minute - interval '61 s'");
    await as(ALICE, () => call());
  });
});

test.each([[2, 0], [3, 3]])(
  "a line that was folded %i times is so many failed logins to the rules, once",
  async (times, seen) => {
    const { event_message, ...line } = authFailure();
    const folded = { ...line, metadata: {}, event_message: `message repeated ${times} times: [ ${event_message}]` };
    for (let again = 0; again < 2; again++) {
      await take(client, [folded]);
      await settle();
      await client.query("select audit.evaluate_rules()");
    }
    const { rows } = await client.query(
      "select (reason ->> 'seen')::int as seen, occurrences::int from audit.alerts where title = 'Failed logins from one address'",
    );
    expect(rows).toEqual(seen === 0 ? [] : [{ seen, occurrences: seen }]);
  },
);

test("what comes late counts when it happened: three failures of an hour, and of three hours", async () => {
  const at = (minutes: number, ip: string) => authFailure({ at: Date.now() - minutes * 60_000, ip });
  await take(client, [
    ...[300, 330, 350].map((minutes) => at(minutes, "203.0.113.1")),
    ...[300, 380, 460].map((minutes) => at(minutes, "203.0.113.2")),
  ]);
  await settle();
  await client.query("select audit.evaluate_rules()");
  const { rows } = await client.query(
    `select i.ip_address, round(extract(epoch from now() - a.last_seen_at) / 60)::int as minutes_ago
     from audit.alerts a join audit.identities i on encode(i.identity_hash, 'hex') = a.group_key::jsonb ->> 'ip'
     where a.title = 'Failed logins from one address'`,
  );
  expect(rows).toEqual([{ ip_address: "203.0.113.1", minutes_ago: 300 }]);
});
