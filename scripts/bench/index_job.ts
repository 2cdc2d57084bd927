// The job that keeps the search index up to date, on a connection of its own beside what is measured.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { cpuSeconds } from "./process_usage.ts";
import { withClient } from "./variants.ts";

/** `behind`: how many of the entries the index did not have yet when the work ended. */
export type Indexing = { entries: number; behind: number; cpu_seconds: number };

/** As sql/900_cron.sql has it. */
export const INDEX_EVERY_MS = 5_000;

/** Runs the job as pg_cron does, every so often while `work` goes on, and after it until nothing waits. */
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
    const followed = await following;
    const behind = await indexAll(client);
    const cpu = await cpuSeconds(backend!.pid) - before;
    return { result, indexing: { entries: followed + behind, behind, cpu_seconds: cpu } };
  });
}

async function follow(client: pg.Client, everyMs: number, end: AbortSignal): Promise<number> {
  let indexed = 0;
  for (let due = performance.now() + everyMs;; due = Math.max(due + everyMs, performance.now())) {
    await sleep(due - performance.now(), undefined, { signal: end }).catch(() => {});
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
