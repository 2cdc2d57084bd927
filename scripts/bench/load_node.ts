// The load generator for where pgbench is missing. It runs in a process of its own, so that its work is not in the way
// of the bench's.
import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import pg from "pg";
import type { Load, LoadResult } from "./load.ts";
import { insertOne } from "./sample.ts";

type Order = { url: string; load: Load };

export async function runNodeLoad(url: string, load: Load): Promise<LoadResult> {
  const child = fork(fileURLToPath(import.meta.url), { serialization: "advanced" });
  child.send({ url, load } satisfies Order);
  const [answer] = await Promise.race([
    once(child, "message"),
    once(child, "exit").then(([code]) => {
      throw new Error(`the load generator ended with exit code ${code}`);
    }),
  ]);
  child.disconnect();
  return answer as LoadResult;
}

async function generate({ url, load }: Order): Promise<LoadResult> {
  const clients = Array.from({ length: load.clients }, () => new pg.Client({ connectionString: url }));
  const latencies: number[] = [];
  const result = { deadlocks: 0, serializationFailures: 0 };
  for (const client of clients) {
    await client.connect();
    await client.query(`set default_transaction_isolation = '${load.isolation ?? "read committed"}'`);
  }
  const start = performance.now();
  const end = start + load.seconds * 1000;
  await Promise.all(clients.map(async (client) => {
    while (performance.now() < end) {
      const begin = performance.now();
      try {
        await transaction(client, load);
        latencies.push(performance.now() - begin);
      } catch (error) {
        const { code } = error as { code?: string };
        if (code === "40P01") result.deadlocks++;
        else if (code === "40001") result.serializationFailures++;
        else throw error;
        if (load.pairs) await client.query("rollback");
      }
    }
  }));
  const seconds = (performance.now() - start) / 1000;
  await Promise.all(clients.map((client) => client.end()));
  return { ...result, tps: latencies.length / seconds, latencies: Float64Array.from(latencies).sort() };
}

async function transaction(client: pg.Client, { organizations, pairs }: Load): Promise<void> {
  const insert = (organization: number) =>
    client.query({ name: "insert", text: insertOne("$1::int"), values: [organization] });
  const first = 1 + Math.floor(Math.random() * organizations);
  if (!pairs) {
    await insert(first);
    return;
  }
  await client.query("begin");
  await insert(first);
  await insert(1 + (first + Math.floor(Math.random() * (organizations - 1))) % organizations);
  await client.query("commit");
}

if (process.send !== undefined && process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once("message", async (order: Order) => process.send!(await generate(order)));
}
