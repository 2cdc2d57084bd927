// Many clients at once: throughput, latency, WAL, and the failures that capture may cause at each isolation level.
import { type Isolation, type Load, runLoad } from "./load.ts";
import type { Metrics, Scenario } from "./scenario.ts";
import { percentile } from "./statistics.ts";
import { type Database, VARIANTS, withClient } from "./variants.ts";

export const WRITERS: Scenario[] = [
  writers("one-writer", "1 writer", { clients: 1, organizations: 1 }),
  writers("one-organization", "16 writers, one organisation", { clients: 16, organizations: 1 }),
  writers("many-organizations", "16 writers, 100 organisations", { clients: 16, organizations: 100 }),
];

/** The most hostile mix: each transaction writes for both of two organisations, now in one order, now in the other. */
export const ISOLATION: Scenario[] = (["read committed", "repeatable read", "serializable"] as const).map(
  (isolation: Isolation) => ({
    name: isolation.replace(" ", "-"),
    title: isolation.toUpperCase(),
    kind: "isolation",
    variants: ["unaudited", "ours"],
    run: (database, { seconds }) =>
      measure(database, { clients: 16, organizations: 2, pairs: true, isolation, seconds }),
  }),
);

function writers(name: string, title: string, load: Omit<Load, "seconds">): Scenario {
  return {
    name,
    title,
    kind: "writers",
    variants: VARIANTS,
    run: (database, { seconds }) => measure(database, { ...load, seconds }),
  };
}

function measure({ url }: Database, load: Load): Promise<Metrics> {
  return withClient(url, async (client) => {
    const { rows: [before] } = await client.query("select pg_current_wal_lsn() as wal");
    const result = await runLoad(url, load);
    const { rows: [after] } = await client.query(
      `select pg_wal_lsn_diff(pg_current_wal_lsn(), $1)::float8 as wal, deadlocks::int
       from pg_stat_database where datname = current_database()`,
      [before.wal],
    );
    const transactions = result.latencies.length;
    if (transactions === 0) throw new Error("the load generator committed no transaction");
    return {
      tps: result.tps,
      p50_ms: percentile(result.latencies, 0.5),
      p95_ms: percentile(result.latencies, 0.95),
      wal_bytes: after.wal / transactions,
      transactions,
      // The server counts a deadlock when it finds one, the client when it is its victim: the larger tells more.
      deadlocks: Math.max(after.deadlocks, result.deadlocks),
      serialization_failures: result.serializationFailures,
    };
  });
}
