// A load: a number of clients that repeat one transaction as fast as they can. Made by pgbench where it is found, because
// its own cost is small, else by a Node process.
import { execFileSync } from "node:child_process";
import { runNodeLoad } from "./load_node.ts";
import { runPgbench } from "./load_pgbench.ts";

export type Isolation = "read committed" | "repeatable read" | "serializable";

export type Load = {
  clients: number;
  seconds: number;
  /** Each transaction writes one row, for one of so many organisations. */
  organizations: number;
  /** Each transaction writes for two organisations instead, in an order that changes: the classic deadlock. */
  pairs?: boolean;
  isolation?: Isolation;
};

export type LoadResult = {
  tps: number;
  /** Of each committed transaction in milliseconds, ascending. */
  latencies: Float64Array;
  deadlocks: number;
  serializationFailures: number;
};

export function generatorName(): string {
  return pgbenchVersion() === undefined ? "Node" : `pgbench ${pgbenchVersion()}`;
}

export function runLoad(url: string, load: Load): Promise<LoadResult> {
  return pgbenchVersion() === undefined ? runNodeLoad(url, load) : runPgbench(url, load);
}

let found: { version: string | undefined } | undefined;

/** From version 15 on pgbench survives serialization failures and counts them. */
function pgbenchVersion(): string | undefined {
  found ??= { version: askVersion() };
  return found.version;
}

function askVersion(): string | undefined {
  try {
    const answer = execFileSync("pgbench", ["--version"], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    const version = /(\d+)[.\d]*/.exec(answer);
    return Number(version?.[1]) >= 15 ? version?.[0] : undefined;
  } catch {
    return undefined;
  }
}
