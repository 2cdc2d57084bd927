// One real event is one entry: told by several connections at once, in any order, at every isolation level, rolled back
// or not, a batch twice or in pieces.
import fc from "fast-check";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { inTransaction } from "../support/acting.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified } from "../support/log.ts";

let db: TestDatabase;
let client: pg.Client;
let other: pg.Client;
beforeAll(async () => {
  db = await createDatabase();
  [client, other] = await db.connectAll(2) as [pg.Client, pg.Client];
});
afterAll(async () => {
  await expectVerified(client);
  await db.drop();
});

type Told = {
  source: string;
  action?: string;
  user: string | null;
  at: Date;
  ip?: string;
  request?: string;
  session?: string;
};

async function tell(by: pg.Client, ...events: Told[]): Promise<string[]> {
  const rows = events.map((event) => [
    event.source,
    event.action ?? "user.login",
    event.at,
    event.user,
    event.ip ?? null,
    event.request ?? null,
    event.session ?? null,
  ]);
  const columns = [0, 1, 2, 3, 4, 5, 6].map((index) => rows.map((row) => row[index]));
  const { rows: verdicts } = await by.query<{ verdict: string }>(
    `select verdict from audit.record_auth((
       select array_agg(row(e.source, e.action, 'success', e.at, e.user_id, null, e.ip, null, e.session, e.request, null)::audit.auth_event order by n)
       from unnest($1::text[], $2::text[], $3::timestamptz[], $4::uuid[], $5::text[], $6::text[], $7::uuid[]) with ordinality
         e (source, action, at, user_id, ip, request, session, n)
     )) order by n`,
    columns,
  );
  return verdicts.map(({ verdict }) => verdict);
}

async function settled(): Promise<void> {
  await client.query("select audit.settle_waiting_auth()");
  expect((await client.query("select from audit.waiting_auth_events")).rowCount).toBe(0);
}

async function entries(user: string): Promise<number> {
  await settled();
  const { rows } = await client.query("select count(*)::int as n from public.audit_logs where resource_id = $1", [
    user,
  ]);
  return rows[0].n;
}

const MODES = ["read committed", "repeatable read", "serializable"];

describe.each(MODES)("%s", (mode) => {
  const modes = `isolation level ${mode}`;
  const both = () => {
    const user = crypto.randomUUID();
    return {
      user,
      trigger: { source: "trigger", user, at: new Date(), session: crypto.randomUUID() },
      row: { source: "audit_table", user, at: new Date() },
    };
  };

  test("twice in one transaction", async () => {
    const { user, trigger, row } = both();
    await inTransaction(client, async () => {
      await tell(client, trigger);
      await tell(client, row);
    }, modes);
    expect(await entries(user)).toBe(1);
  });

  test.each([["first", "second"], ["second", "first"]])(
    "in two transactions at once; %s ends before %s",
    async (ending) => {
      const { user, trigger, row } = both();
      await client.query(`begin ${modes}; select 1 from public.audit_logs limit 1`); // the snapshot
      await other.query(`begin ${modes}; select 1 from public.audit_logs limit 1`);
      await tell(client, trigger);
      await tell(other, row);
      for (const each of ending === "first" ? [client, other] : [other, client]) await each.query("commit");
      expect(await entries(user)).toBe(1);
    },
  );

  test("one of the two rolled back", async () => {
    for (const rolledBack of [client, other]) {
      const { user, trigger, row } = both();
      await client.query(`begin ${modes}`);
      await other.query(`begin ${modes}`);
      await tell(client, trigger);
      await tell(other, row);
      for (const each of [client, other]) await each.query(each === rolledBack ? "rollback" : "commit");
      expect(await entries(user)).toBe(1);
    }
  });

  test("rolled back to a savepoint, then told again", async () => {
    const { user, trigger } = both();
    await inTransaction(client, async () => {
      await client.query("savepoint s");
      await tell(client, trigger);
      await client.query("rollback to s");
      await tell(client, trigger);
    }, modes);
    expect(await entries(user)).toBe(1);
  });

  test("sixteen connections, each of four paths, one person and many", async () => {
    const clients = await db.connectAll(16);
    const users = Array.from({ length: 4 }, () => crypto.randomUUID());
    const at = new Date();
    const failures: unknown[] = [];
    await Promise.all(clients.map(async (each, index) => {
      const source = ["trigger", "hook", "audit_table", "log"][index % 4]!;
      for (let round = 0; round < 4; round++) {
        // The four of a group tell of the same event; groups of events lie far enough apart.
        const event = { at: new Date(at.getTime() - round * 60_000), request: `r${round}` };
        const user = users[Math.floor(index / 4)]!;
        await inTransaction(each, () => tell(each, { source, user, ...event }), modes).catch((error) =>
          failures.push(error)
        );
      }
    }));
    expect(failures).toEqual([]);
    for (const user of users) expect(await entries(user), user).toBe(4);
  });
});

test("attempts at once by one teller are as many as there are", async () => {
  const user = crypto.randomUUID();
  const clients = await db.connectAll(8);
  const at = Date.now();
  await Promise.all(
    clients.map((each, index) =>
      tell(each, { source: "hook", action: "user.login_failed", user, at: new Date(at + index) })
    ),
  );
  expect(await entries(user)).toBe(8);
});

test("a batch twice at once, and once more", async () => {
  const batch = Array.from({ length: 200 }, (_, index) => ({
    source: "log",
    action: "user.login_failed",
    user: null,
    ip: "192.0.2.77",
    at: new Date(Date.now() - index * 3),
    request: `twice-${index}`,
  }));
  const verdicts = await Promise.all([tell(client, ...batch), tell(other, ...batch)]);
  expect(verdicts.flat().filter((verdict) => verdict === "recorded")).toHaveLength(200);
  expect(new Set(await tell(client, ...batch.reverse()))).toEqual(new Set(["duplicate"]));
});

test("any order, any pieces: entries are as many as events", async () => {
  const events = fc.array(
    fc.record({
      second: fc.integer({ min: 0, max: 20 }),
      seen: fc.subarray(["trigger", "audit_table", "log"], { minLength: 1 }),
    }),
    { minLength: 1, maxLength: 8 },
  );
  await fc.assert(
    fc.asyncProperty(events, fc.integer(), async (happened, seed) => {
      const user = crypto.randomUUID();
      const base = Date.now() - 600_000;
      // Events of one person are a minute apart; tellers differ by up to three seconds, and tell twice.
      const told = happened.flatMap(({ second, seen }, index) =>
        seen.flatMap((source, teller) => {
          const at = new Date(base + index * 60_000 + second * 100 + teller * 1000);
          const one = { source, user, at, request: `${user}-${index}` };
          return [one, one];
        })
      );
      let state = seed >>> 0;
      const random = () => (state = (state * 1_664_525 + 1_013_904_223) >>> 0) / 2 ** 32;
      told.sort(() => random() - 0.5);
      while (told.length > 0) await tell(client, ...told.splice(0, 1 + Math.floor(random() * 6)));
      expect(await entries(user)).toBe(happened.length);
    }),
    { numRuns: 25, seed: 20_260_101 },
  );
});

test("a hook and its log line each find their own among many of one address", async () => {
  const ip = "192.0.2.88";
  const users = Array.from({ length: 10 }, () => crypto.randomUUID());
  const at = (index: number) => new Date(Date.now() - 60_000 + index * 400);
  for (const [index, user] of users.entries()) {
    await tell(client, { source: "hook", action: "user.login_failed", user, ip, at: at(index) });
  }
  const lines = users.map((_, index) => ({
    source: "log",
    action: "user.login_failed",
    user: null,
    ip,
    at: new Date(at(index).getTime() + 90),
    request: `line-${index}`,
  }));
  const unknown = { ...lines[0]!, at: at(3), request: "unknown" };
  expect((await tell(client, ...lines.slice(5))).concat(await tell(client, ...lines.slice(0, 5)))).toEqual(
    Array(10).fill("duplicate"),
  );
  expect(await tell(client, unknown)).toEqual(["recorded"]);
});

test("events come in however the session's settings are", async () => {
  const user = crypto.randomUUID();
  const event = { source: "log", user, at: new Date(), request: "settings" };
  await client.query("set timezone = 'Asia/Kolkata'; set extra_float_digits = -3; set datestyle = 'German'");
  expect(await tell(client, event)).toEqual(["recorded"]);
  await client.query("reset all");
  expect(await tell(client, event)).toEqual(["duplicate"]);
  expect(await entries(user)).toBe(1);
});
