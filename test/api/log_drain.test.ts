// Log drains as they reach us: in Deno, behind the gateway's stand-in, with the bodies that Supabase sends and with those
// that somebody else would.
import { gzipSync } from "node:zlib";
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { authEvent, authFailure, edge, functionEdge, postgres, storage } from "../../scripts/bench/log_lines.ts";
import { entries, expectVerified } from "../support/log.ts";
import { ACME, ALICE, type Api, BETTY, OTHER, startApi } from "./server.ts";

let api: Api;
let client: pg.Client;
let from: number;

beforeAll(async () => {
  api = await startApi();
  client = await api.db.connect();
  await client.query("insert into auth.users (id, email) values ($1, 'alice@acme.example')", [ALICE]);
});
afterAll(async () => {
  await expectVerified(client);
  await api.stop();
});
beforeEach(async () => {
  await client.query(`select audit.configure('api_access', '"off"')`);
  from = Number((await client.query("select count(*) from public.audit_logs")).rows[0].count);
});

async function send(body: unknown, headers: Record<string, string> = {}): Promise<Response> {
  return await fetch(`${api.url}/functions/v1/audit-ingest/log-drain`, {
    method: "POST",
    headers: { "content-type": "application/json", authorization: `Bearer ${api.keys.drain_secret}`, ...headers },
    body: body instanceof Uint8Array || typeof body === "string" ? body as BodyInit : JSON.stringify(body),
  });
}

async function drain(lines: unknown[]): Promise<Record<string, unknown>> {
  const response = await send(lines);
  expect(response.status).toBe(200);
  return await response.json() as Record<string, unknown>;
}

/** What was written since the test began. */
const written = async () => (await entries(client)).slice(from);

describe("a batch", () => {
  test("becomes entries: who, from where, in which organisation, and why", async () => {
    const result = await drain([
      authFailure({ ip: "198.51.100.1" }),
      authEvent({ action: "user_recovery_requested", user: ALICE, email: "alice@acme.example", ip: "198.51.100.2" }),
      edge({ status: 403, user: ALICE, ip: "198.51.100.3", ray: "ray-3" }),
      edge({ status: 200 }),
      postgres({ from: "198.51.100.4:50214" }),
      storage(),
      functionEdge({ status: 401 }),
      { id: "x", timestamp: Date.now() * 1_000, event_message: "checkpoint complete", metadata: {} },
    ]);
    expect(result).toEqual({
      received: 8,
      recorded: 6,
      duplicate: 0,
      left_out: 1,
      ignored: 1,
      refused: 0,
      refusals: [],
    });
    const found = await written();
    expect(found.map(({ action }) => action).sort()).toEqual([
      "access.denied",
      "access.denied",
      "access.denied",
      "access.denied",
      "user.login_failed",
      "user.password_reset_requested",
    ]);
    expect(found.find(({ resource_id }) => resource_id === "/rest/v1/budgets")).toMatchObject({
      organization_id: ACME,
      created_by: ALICE,
      actor_type: "user",
      outcome: "denied",
      request_id: "ray-3",
      details: { source: "log", status: 403, service: "rest" },
    });
    expect(found.find(({ action }) => action === "user.password_reset_requested")).toMatchObject({
      organization_id: ACME,
      created_by: ALICE,
    });
    expect(found.find(({ resource_id }) => resource_id === "salaries")).toMatchObject({
      organization_id: "00000000-0000-0000-0000-000000000000",
      actor_type: "database",
    });
    const { rows } = await client.query(
      "select ip_address from public.audit_events where action = 'user.login_failed' order by created_at desc limit 1",
    );
    expect(rows).toEqual([{ ip_address: "198.51.100.1" }]);
  });

  test("of somebody in two organisations is in both", async () => {
    await drain([edge({ status: 403, user: BETTY })]);
    expect((await written()).map(({ organization_id }) => organization_id)).toEqual([ACME, OTHER]);
  });

  test("twice, backwards, in parts and at once changes nothing", async () => {
    const lines = [
      ...Array.from({ length: 40 }, (_, n) => authFailure({ ip: `198.51.100.${n % 7}`, at: Date.now() - n * 700 })),
      ...Array.from({ length: 40 }, (_, n) => edge({ status: 403, user: ALICE, at: Date.now() - n * 300 })),
    ];
    expect(await drain(lines)).toMatchObject({ recorded: 80 });
    await Promise.all([
      drain(lines),
      drain([...lines].reverse()),
      drain(lines.slice(20, 60)),
      drain([...lines.slice(50), ...lines.slice(0, 50)]),
    ]);
    expect(await written()).toHaveLength(80);
  });

  test("that several connections bring at the same time is recorded once", async () => {
    const lines = Array.from({ length: 60 }, () => edge({ status: 403, user: ALICE }));
    const answers = await Promise.all([drain(lines), drain([...lines].reverse()), drain(lines), drain(lines)]);
    expect(answers.reduce((sum, { recorded }) => sum + Number(recorded), 0)).toBe(60);
    expect(await written()).toHaveLength(60);
  });

  test("with bad lines among good ones keeps the good, and says which are bad", async () => {
    const result = await drain([null, authFailure(), 7, { event_message: "no time" }, edge({ status: 401 }), []]);
    expect(result).toMatchObject({ received: 6, recorded: 2, refused: 4 });
    expect((result.refusals as { line: number }[]).map(({ line }) => line)).toEqual([0, 2, 3, 5]);
  });

  test("of ten minutes ago is taken, of two days ago and of tomorrow is not", async () => {
    const now = Date.now();
    const result = await drain([
      authFailure({ at: now - 600_000 }),
      edge({ status: 403, at: now - 600_000 }),
      edge({ status: 403, at: now - 2 * 86_400_000 }),
      edge({ status: 403, at: now + 86_400_000 }),
    ]);
    expect(result).toMatchObject({
      recorded: 2,
      refused: 2,
      refusals: [{ line: 2, reason: "too_old" }, { line: 3, reason: "in_the_future" }],
    });
    for (const { details } of await written()) {
      expect(Date.parse(details.happened_at)).toBe(now - 600_000);
    }
  });

  test("is taken packed", async () => {
    const response = await send(gzipSync(JSON.stringify([authFailure()])), { "content-encoding": "gzip" });
    expect([response.status, await response.json()]).toMatchObject([200, { recorded: 1 }]);
  });

  test("with bytes that are no UTF-8 loses a character, not a line", async () => {
    const text = JSON.stringify([authFailure({ ip: "?", user_agent: "x" }), authFailure()]);
    const response = await send(Uint8Array.from(Buffer.from(text), (byte) => byte === 0x3f ? 0xff : byte));
    expect(await response.json()).toMatchObject({ recorded: 2 });
  });

  test("with host names, zones and nothing for addresses is recorded as it came", async () => {
    const places = ["client.example.com", "fe80::1%eth0", "[2001:db8::1]:443", "", "203.0.113.9, 10.0.0.1"];
    expect(await drain(places.map((ip) => authFailure({ ip })))).toMatchObject({ recorded: 5 });
    const { rows } = await client.query(
      "select ip_address from public.audit_events where action = 'user.login_failed' order by created_at desc, seq desc limit 5",
    );
    expect(new Set(rows.map(({ ip_address }) => ip_address))).toEqual(
      new Set(["client.example.com", "fe80::1", "2001:db8::1", null, "203.0.113.9"]),
    );
  });

  test("of an older Auth, which names no requests, tells two of one moment apart", async () => {
    const at = Date.now();
    const lines = [1, 2].map(() => authFailure({ at, request_id: null, error_code: null }));
    expect(await drain(lines)).toMatchObject({ recorded: 2 });
    expect(await drain(lines)).toMatchObject({ recorded: 0, duplicate: 2 });
  });

  test("with a folded line counts each time", async () => {
    const { event_message, ...line } = authFailure();
    const folded = { ...line, metadata: {}, event_message: `message repeated 3 times: [ ${event_message}]` };
    expect(await drain([folded])).toMatchObject({ recorded: 3 });
    expect(await drain([folded])).toMatchObject({ recorded: 0, duplicate: 3 });
  });

  test("with secrets in paths and agents has none of them in the log", async () => {
    const secret = "sk-proj-abcdefghijklmnopqrstuvwxyz";
    await drain([edge({ status: 403, path: `/rest/v1/${secret}`, user: ALICE }), authFailure({ user_agent: secret })]);
    const { rows } = await client.query(
      "select count(*)::int as hits from public.audit_logs l left join audit.identities i using (identity_hash) where l::text || coalesce(i::text, '') like '%' || $1 || '%'",
      [secret],
    );
    expect(rows).toEqual([{ hits: 0 }]);
  });
});

describe("requests that were not denied", () => {
  const lines = () => Array.from({ length: 400 }, () => edge({ user: ALICE }));

  test("are left out, unless the project asks for them", async () => {
    expect(await drain(lines())).toMatchObject({ recorded: 0, left_out: 400 });
    await client.query(`select audit.configure('api_access', '"all"')`);
    expect(await drain(lines())).toMatchObject({ recorded: 400, left_out: 0 });
  });

  test("are sampled by their names: the same lines are in whenever they come", async () => {
    await client.query("select audit.configure('api_access', '0.25')");
    const sample = lines();
    const { recorded, left_out } = await drain(sample) as { recorded: number; left_out: number };
    expect(recorded + left_out).toBe(400);
    expect(recorded).toBeGreaterThan(50); // 100 expected, more than five standard deviations away
    expect(recorded).toBeLessThan(150);
    expect(await drain([...sample].reverse())).toMatchObject({ recorded: 0, duplicate: recorded, left_out });
  });

  test("are as each organisation asks for them", async () => {
    await client.query(`select audit.configure('api_access', '"all"', $1)`, [OTHER]);
    await drain([edge({ user: BETTY }), edge({ user: ALICE }), edge()]);
    expect(
      (await written()).filter(({ action }) => action === "api.accessed").map(({ organization_id }) => organization_id),
    )
      .toEqual([OTHER]);
    await client.query(`select audit.configure('api_access', '"off"', $1)`, [OTHER]);
  });
});

describe("who may send", () => {
  test.each([
    ["nothing", {}],
    ["another secret", { authorization: "Bearer other" }],
    ["the jobs' secret", "jobs_secret"],
    ["the service key", "service_role_key"],
    ["an empty one", { authorization: "Bearer " }],
  ])("not who shows %s", async (_, shown) => {
    const headers = typeof shown === "string" ? { authorization: `Bearer ${api.keys[shown as "jobs_secret"]}` } : shown;
    const response = await send([authFailure()], { authorization: "", ...headers });
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ code: "not_authenticated" });
    expect(await written()).toEqual([]);
  });
});

describe("bodies", () => {
  test.each([
    ["no JSON", "nonsense", {}, 400, "invalid_request"],
    ["half a body", '[{"timestamp": 1', {}, 400, "invalid_request"],
    ["no gzip", new Uint8Array([0x1f, 0x8b, 1, 2, 3]), { "content-encoding": "gzip" }, 400, "invalid_request"],
    [
      "half of one",
      gzipSync("[]".padEnd(9_999)).subarray(0, 30),
      { "content-encoding": "gzip" },
      400,
      "invalid_request",
    ],
    ["another packing", "[]", { "content-encoding": "br" }, 415, "unsupported_media_type"],
    ["too many lines", `[${"1,".repeat(20_000)}1]`, {}, 413, "too_large"],
  ])("of %s are refused", async (_, body, headers, status, code) => {
    const response = await send(body, headers as Record<string, string>);
    expect([response.status, (await response.json() as { code: string }).code]).toEqual([status, code]);
  });

  test("of 100 MB are refused before they are read, also where they do not say their size", async () => {
    const direct = `${await ingestUrl()}/log-drain`;
    const piece = new Uint8Array(1024 * 1024).fill(0x20);
    for (const headers of [{ "content-length": String(100 * piece.length) }, {}] as Record<string, string>[]) {
      let sent = 0;
      const body = new ReadableStream({
        pull(controller) {
          if (++sent > 100) controller.close();
          else controller.enqueue(piece);
        },
      });
      const response = await fetch(direct, {
        method: "POST",
        headers: { authorization: `Bearer ${api.keys.drain_secret}`, ...headers },
        body,
        duplex: "half",
      } as RequestInit).catch(() => undefined);
      // Where it was cut off in the middle, the client may see the connection end first.
      if (response !== undefined) expect(response.status).toBe(413);
      expect(sent).toBeLessThan(100);
    }
    expect(await drain([authFailure()])).toMatchObject({ recorded: 1 });
  });

  test("that unpack to a gigabyte are refused on the way", async () => {
    const bomb = gzipSync(new Uint8Array(200 * 1024 * 1024));
    const before = await memoryOf();
    const response = await send(bomb, { "content-encoding": "gzip" });
    expect(response.status).toBe(413);
    expect(await memoryOf() - before).toBeLessThan(100 * 1024 * 1024);
  });
});

test("without a secret no drain is taken", async () => {
  const other = await startApi({ env: { AUDIT_DRAIN_SECRET: "" } });
  try {
    const response = await fetch(`${other.url}/functions/v1/audit-ingest/log-drain`, { method: "POST", body: "[]" });
    expect([response.status, (await response.json() as { code: string }).code]).toEqual([503, "not_configured"]);
  } finally {
    await other.stop();
  }
});

test("while the database is away, lines are asked for again", async () => {
  const other = await startApi({ env: { SUPABASE_DB_URL: "postgres://postgres@127.0.0.1:1/postgres" } });
  try {
    const response = await fetch(`${other.url}/functions/v1/audit-ingest/log-drain`, {
      method: "POST",
      headers: { authorization: `Bearer ${other.keys.drain_secret}` },
      body: JSON.stringify([authFailure()]),
    });
    expect([response.status, response.headers.get("retry-after")]).toEqual([503, "2"]);
    expect(await other.output("audit-ingest")).not.toContain("203.0.113.7");
  } finally {
    await other.stop();
  }
});

/** Of the function without the gateway, which takes bodies in whole. */
async function ingestUrl(): Promise<string> {
  await drain([]);
  return `${/Listening on (http:\/\/\S+?)\/?\s/.exec(await api.output("audit-ingest"))![1]}/audit-ingest`;
}

async function memoryOf(): Promise<number> {
  const { readdir, readFile } = await import("node:fs/promises");
  const port = new URL(await ingestUrl()).port;
  for (const pid of await readdir("/proc")) {
    const command = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    if (!command.includes("function_host.ts") || !command.includes(`\0${port}`)) continue;
    return Number(/VmRSS:\s+(\d+)/.exec(await readFile(`/proc/${pid}/status`, "utf8"))![1]) * 1_024;
  }
  throw new Error("the function's process is not to be found");
}
