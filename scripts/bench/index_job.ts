// The job that keeps the search index up to date, on a connection of its own beside what is measured.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { cpuSeconds } from "./process_usage.ts";
import { withClient } from "./variants.ts";

export type Indexing = { entries: number; cpu_seconds: number };

/** Runs the job every so often while `work` goes on, and once more after it. */
export function besideIndexJob<T>(
  url: string,
  everyMs: number,
  work: () => Promise<T>,
): Promise<{ result: T; indexing: Indexing }> {
  return withClient(url, async (client) => {
    await indexAll(client); // what others have left is not this work's
    const { rows: [backend] } = await client.query<{ pid: number }>("select pg_backend_pid() as pid");
    const before = await cpuSeconds(backend!.pid);
    const end = new AbortController();
    const following = follow(client, everyMs, end.signal);
    const result = await work().finally(() => end.abort());
    const entries = await following + await indexAll(client);
    return { result, indexing: { entries, cpu_seconds: await cpuSeconds(backend!.pid) - before } };
  });
}

async function follow(client: pg.Client, everyMs: number, end: AbortSignal): Promise<number> {
  let indexed = 0;
  for (;;) {
    await sleep(everyMs, undefined, { signal: end }).catch(() => {});
    if (end.aborted) return indexed;
    indexed += await indexOnce(client);
  }
}

async function indexAll(client: pg.Client): Promise<number> {
  let indexed = 0;
  for (let entries = await indexOnce(client); entries > 0; entries = await indexOnce(client)) indexed += entries;
  return indexed;
}

async function indexOnce(client: pg.Client): Promise<number> {
  const { rows: [row] } = await client.query<{ entries: number }>("select audit.index_entries() as entries");
  return row!.entries;
}
