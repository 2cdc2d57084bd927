// The worker of the pg_net stand-in: sends what is queued in net.http_request_queue, keeps answers in
// net._http_response for six hours. As in the original a request is sent once, whatever becomes of it.
import type pg from "pg";

type QueuedRequest = {
  id: string;
  method: string;
  url: string;
  headers: Record<string, string> | null;
  body: Buffer | null;
  timeout_milliseconds: number;
};

const BATCH = 200;
const PAUSE = 200;

/** `pool` is connected as superuser. */
export function startNetWorker(pool: pg.Pool): { stop(): Promise<void> } {
  let stopped = false;
  let wake = () => {};
  const finished = loop();

  async function loop(): Promise<void> {
    while (!stopped) {
      const sent = await sendBatch().catch((error: Error) => {
        if (!stopped) console.error(`net: ${error.message}`);
        return 0;
      });
      if (sent < BATCH && !stopped) {
        await new Promise<void>((resolve) => {
          wake = resolve;
          setTimeout(resolve, PAUSE);
        });
      }
    }
  }

  async function sendBatch(): Promise<number> {
    const { rows } = await pool.query<QueuedRequest>(
      `delete from net.http_request_queue
       where id in (select id from net.http_request_queue order by id limit $1 for update skip locked)
       returning *`,
      [BATCH],
    );
    if (rows.length > 0) await pool.query(`delete from net._http_response where created < now() - interval '6 hours'`);
    await Promise.all(rows.map(send));
    return rows.length;
  }

  async function send(request: QueuedRequest): Promise<void> {
    let answer: unknown[];
    try {
      const response = await fetch(request.url, {
        method: request.method,
        headers: { "user-agent": "pg_net/0.20.4", ...request.headers },
        body: request.body === null ? null : new Uint8Array(request.body),
        signal: AbortSignal.timeout(request.timeout_milliseconds),
      });
      // Text in PostgreSQL holds no NUL.
      const content = (await response.text()).replaceAll("\0", "");
      const headers = Object.fromEntries(response.headers);
      answer = [response.status, response.headers.get("content-type"), headers, content, false, null];
    } catch (error) {
      const timedOut = (error as Error).name === "TimeoutError";
      const cause = (error as { cause?: Error }).cause ?? (error as Error);
      const message = timedOut ? `Timeout of ${request.timeout_milliseconds} ms reached` : cause.message;
      answer = [null, null, null, null, timedOut, message];
    }
    await pool.query(
      `insert into net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg)
       values ($1, $2, $3, $4, $5, $6, $7)`,
      [request.id, ...answer],
    );
  }

  return {
    async stop() {
      stopped = true;
      wake();
      await finished;
    },
  };
}
