// Logs read from the Management API by the job: a stand-in of the API answers as the real one does, or fails as it may.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import {
  asCollected,
  authEvent,
  authFailure,
  type CollectedLine,
  type DrainLine,
  edge,
  postgres,
} from "../../scripts/bench/log_lines.ts";
import { entries, expectVerified } from "../support/log.ts";
import { ALICE, type Api, startApi } from "./server.ts";

type Asked = { path: string; token: string; start: string; end: string; sql: string };

let api: Api;
let client: pg.Client;
let server: Server;
let lines: CollectedLine[] = [];
let asked: Asked[] = [];
/** What the API answers instead, once each. */
let failures: ((response: ServerResponse) => void)[] = [];

beforeAll(async () => {
  server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  api = await startApi({
    secrets: {
      AUDIT_MANAGEMENT_URL: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
      AUDIT_MANAGEMENT_TOKEN: "sbp_token",
      AUDIT_PROJECT_REF: "abcdefghijklmnopqrst",
    },
  });
  client = await api.db.connect();
});
afterAll(async () => {
  await api.stop();
  await new Promise((resolve) => server.close(resolve));
});
let from: number;
beforeEach(async () => {
  lines = [];
  asked = [];
  failures = [];
  await client.query("delete from audit.log_collection; insert into audit.log_collection default values");
  from = (await entries(client)).length;
});
afterEach(() => expectVerified(client));

/** As ClickHouse would, of what the job's query says. */
function answer(request: IncomingMessage, response: ServerResponse): void {
  const { pathname, searchParams } = new URL(request.url!, "http://api");
  const [start, end, sql] = ["iso_timestamp_start", "iso_timestamp_end", "sql"].map((name) =>
    searchParams.get(name)!
  ) as [
    string,
    string,
    string,
  ];
  asked.push({ path: pathname, token: request.headers.authorization!, start, end, sql });
  const failure = failures.shift();
  if (failure !== undefined) return failure(response);
  const [, timestamp, id] = /\(timestamp, id\) > \(toDateTime64\('(.*?)', 6, 'UTC'\), '(.*?)'\)/.exec(sql)!;
  const limit = Number(/limit (\d+)$/.exec(sql)![1]);
  const behind = `${timestamp!.replace(" ", "T")} ${id}`;
  const result = lines
    .filter((line) => `${line.timestamp} ${line.id}` > behind && line.timestamp <= end.replace("Z", ""))
    .filter(({ source, log_attributes }) =>
      !source.includes("edge") || sql.includes("'function_edge_logs') or") ||
      ["401", "403"].includes(log_attributes["response.status_code"]!)
    )
    .sort((a, b) => `${a.timestamp} ${a.id}` < `${b.timestamp} ${b.id}` ? -1 : 1)
    .slice(0, limit);
  response.setHeader("content-type", "application/json").end(JSON.stringify({ result, error: null }));
}

const status = (code: number, headers: Record<string, string> = {}) => (response: ServerResponse) =>
  void response.writeHead(code, headers).end("{}");

// deno-lint-ignore no-explicit-any -- what the job says of its run
async function collect(): Promise<any> {
  const response = await api.call("/collect-logs", {
    of: "audit-jobs",
    method: "POST",
    headers: { authorization: `Bearer ${api.keys.jobs_secret}` },
  });
  return { status: response.status, ...await response.json() as object };
}

async function drain(batch: DrainLine[]): Promise<void> {
  const response = await fetch(`${api.url}/functions/v1/audit-ingest/log-drain`, {
    method: "POST",
    headers: { authorization: `Bearer ${api.keys.drain_secret}` },
    body: JSON.stringify(batch),
  });
  expect(response.status).toBe(200);
}

const written = async () => (await entries(client)).slice(from);
const ago = (seconds: number) => Date.now() - seconds * 1_000;

describe("a run", () => {
  test("asks the endpoint that there is since 2026-09-23 and makes entries of what it says", async () => {
    lines = [
      authFailure({ at: ago(30) }),
      authEvent({ action: "user_recovery_requested", user: ALICE, email: "a@acme.example", at: ago(20) }),
      edge({ status: 403, at: ago(10) }),
      edge({ at: ago(9) }),
      postgres({ at: ago(8) }),
    ].map(asCollected);
    expect(await collect()).toMatchObject({ status: 200, pages: 1, received: 4, recorded: 4, more: false });
    expect((await written()).map(({ action }) => action).sort()).toEqual([
      "access.denied",
      "access.denied",
      "user.login_failed",
      "user.password_reset_requested",
    ]);
    expect(asked).toHaveLength(1);
    expect(asked[0]).toMatchObject({
      path: "/v1/projects/abcdefghijklmnopqrst/analytics/endpoints/logs",
      token: "Bearer sbp_token",
    });
    expect(Date.parse(asked[0]!.end) - Date.parse(asked[0]!.start)).toBeLessThanOrEqual(86_400_000);
  });

  test("again finds nothing new; a line that came ten minutes late it finds", async () => {
    lines = [authFailure({ at: ago(30) })].map(asCollected);
    await collect();
    lines.push(asCollected(authFailure({ at: ago(590) })));
    expect(await collect()).toMatchObject({ recorded: 1, duplicate: 1 });
    expect(await collect()).toMatchObject({ recorded: 0, duplicate: 2 });
    expect(await written()).toHaveLength(2);
  });

  test("beside a drain that sends the same makes one entry of each", async () => {
    const batch = [
      ...Array.from({ length: 20 }, (_, n) => authFailure({ at: ago(60 + n) })),
      ...Array.from({ length: 20 }, (_, n) => edge({ status: 401, at: ago(60 + n) })),
    ];
    lines = batch.map(asCollected);
    await Promise.all([collect(), drain(batch), drain(batch.slice(10, 30))]);
    await collect();
    expect(await written()).toHaveLength(40);
  });

  test("asks for requests that were not denied where somebody wants them", async () => {
    await client.query(`select audit.configure('api_access', '"all"')`);
    lines = [edge({ at: ago(9) })].map(asCollected);
    expect(await collect()).toMatchObject({ received: 1, recorded: 1 });
    await client.query(`select audit.configure('api_access', '"off"')`);
  });

  test("goes on where it had to stop, in bounded steps, also where thousands are of one moment", async () => {
    const at = ago(120);
    lines = Array.from({ length: 9_500 }, () => asCollected(edge({ status: 403, at })));
    const first = await collect();
    expect(first).toMatchObject({ pages: 8, received: 8_000, recorded: 8_000, more: true });
    const { rows: [state] } = await client.query("select audit.is_collection_due() as due from audit.log_collection");
    expect(state.due).toBe(false); // only by the setting
    expect(await collect()).toMatchObject({ pages: 2, recorded: 1_500, duplicate: 0, more: false });
    expect(await written()).toHaveLength(9_500);
  });

  test("after a day and more reads the last day, in windows that the API takes", async () => {
    await client.query("update audit.log_collection set collected_until = now() - interval '3 days'");
    lines = [authFailure({ at: ago(23 * 3_600) }), authFailure({ at: ago(60) })].map(asCollected);
    expect(await collect()).toMatchObject({ recorded: 2, more: false });
    expect(asked.length).toBeGreaterThan(1);
    for (const { start, end } of asked) {
      expect(Date.parse(end) - Date.parse(start)).toBeLessThanOrEqual(86_400_000);
    }
  });
});

describe("an API that does not answer", () => {
  test("with 429 is asked again when it said, not before", async () => {
    failures = [status(429, { "retry-after": "120" })];
    expect(await collect()).toMatchObject({ error: "http_429", recorded: 0 });
    expect(await collect()).toMatchObject({ pages: 0 });
    expect(asked).toHaveLength(1);
    const { rows: [wait] } = await client.query(
      "select extract(epoch from next_at - clock_timestamp())::float8 as seconds, last_error from audit.log_collection c",
    );
    expect(wait.last_error).toBe("http_429");
    expect(wait.seconds).toBeGreaterThan(110);
    expect(wait.seconds).toBeLessThanOrEqual(120);
    await client.query("update audit.log_collection set next_at = '-infinity'");
    lines = [authFailure({ at: ago(30) })].map(asCollected);
    expect(await collect()).toMatchObject({ recorded: 1 });
  });

  test.each<[string, (response: ServerResponse) => void, string]>([
    ["with 401", status(401), "http_401"],
    ["with 500", status(500), "http_500"],
    ["somewhere else", status(302, { location: "http://127.0.0.1:1/" }), "redirected"],
    ["with nonsense", (response) => void response.end("<html>"), "unreadable"],
    [
      "with its own error",
      (response) => void response.end('{"result":null,"error":"Backend error! Retry."}'),
      "unreadable",
    ],
    ["with other rows", (response) => void response.end('{"result":[{"n":1}]}'), "unreadable"],
    ["and hangs up", (response) => void response.destroy(), "unreachable"],
  ])("%s loses nothing", async (_, failure, error) => {
    lines = [authFailure({ at: ago(30) })].map(asCollected);
    failures = [failure];
    expect(await collect()).toMatchObject({ status: 200, error, recorded: 0 });
    await client.query("update audit.log_collection set next_at = '-infinity'");
    expect(await collect()).toMatchObject({ recorded: 1, more: false });
    expect(await api.output("audit-jobs")).not.toContain("sbp_token");
  });

  test("in the middle goes on where it was", async () => {
    lines = Array.from({ length: 2_500 }, (_, n) => asCollected(edge({ status: 403, at: ago(600 - n / 10) })));
    failures = [(response) => answerNormally(response), status(503)];
    expect(await collect()).toMatchObject({ pages: 1, recorded: 1_000, error: "http_503" });
    await client.query("update audit.log_collection set next_at = '-infinity'");
    expect(await collect()).toMatchObject({ recorded: 1_500, duplicate: 0, more: false });
  });

  function answerNormally(response: ServerResponse): void {
    const { sql, start, end } = asked.at(-1)!;
    const url = `/?${new URLSearchParams({ iso_timestamp_start: start, iso_timestamp_end: end, sql })}`;
    asked.pop();
    const later = failures.splice(0);
    answer({ url, headers: {} } as IncomingMessage, response);
    failures = later;
  }

  test("is asked by one run at a time", async () => {
    lines = [authFailure({ at: ago(30) })].map(asCollected);
    let waiting: ServerResponse | undefined;
    failures = [(response) => waiting = response];
    const first = collect();
    while (waiting === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    expect((await Promise.all([collect(), collect()])).map(({ pages }) => pages)).toEqual([0, 0]);
    answerNormally(waiting);
    expect(await first).toMatchObject({ pages: 1, recorded: 1 });
  });
});

test("the clock has logs collected by the setting, and says how late they are", async () => {
  const due = async () => (await client.query("select audit.is_collection_due() as due")).rows[0].due;
  expect(await due()).toBe(false);
  await client.query("select audit.configure('collect_logs_every', '60')");
  expect(await due()).toBe(true);
  await collect();
  expect(await due()).toBe(false);
  const { rows: [lag] } = await client.query("select * from audit.log_collection_status");
  expect(lag).toMatchObject({ every_seconds: 60, failures: 0, last_error: null });
  expect(lag.lag_seconds).toBeLessThan(30);
  await client.query("update audit.log_collection set last_run_at = now() - interval '61 s'");
  expect(await due()).toBe(true);
  await client.query("select audit.configure('collect_logs_every', '0')");
});

test("without a token the job says what is missing", async () => {
  const other = await startApi();
  try {
    const response = await other.call("/collect-logs", {
      of: "audit-jobs",
      method: "POST",
      headers: { authorization: `Bearer ${other.keys.jobs_secret}` },
    });
    expect([response.status, await response.json()]).toMatchObject([503, { code: "not_configured" }]);
  } finally {
    await other.stop();
  }
});
