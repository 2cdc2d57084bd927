// The same query by the tool that everybody has.
import { spawn } from "node:child_process";
import { once } from "node:events";
import type { LogDatabase } from "./generated_log_database.ts";
import { withClient } from "./variants.ts";

/** What the function gives to the server for a CSV export. */
export function copyStatement(log: LogDatabase, search: object): Promise<string> {
  return withClient(log.url, async (client) => {
    await client.query("begin isolation level repeatable read");
    await client.query("select set_config('role', 'authenticated', true), set_config('request.jwt.claims', $1, true)", [
      claims(log),
    ]);
    const { rows: [row] } = await client.query<{ copy: string }>(
      "select audit.open_export($1) ->> 'copy' as copy",
      [JSON.stringify({ ...search, format: "csv" })],
    );
    await client.query("rollback");
    return row!.copy;
  });
}

/** Runs it as the caller; answers the bytes where they are counted. */
export async function copyWithPsql(log: LogDatabase, statement: string, output: "count" | "discard"): Promise<number> {
  const child = spawn("psql", ["-X", "-q", "-d", log.url, "-c", statement], {
    env: { PATH: process.env.PATH, PGOPTIONS: `-c role=authenticated -c request.jwt.claims=${claims(log)}` },
    stdio: ["ignore", output === "count" ? "pipe" : "ignore", "pipe"],
  });
  let bytes = 0;
  let problem = "";
  child.stdout?.on("data", (chunk: Uint8Array) => bytes += chunk.length);
  child.stderr!.on("data", (chunk) => problem += chunk);
  const [code] = await once(child, "close").catch((error: Error) => {
    throw new Error(`psql is needed for the comparison: ${error.message}`);
  });
  if (code !== 0) throw new Error(`psql failed: ${problem.trim()}`);
  return bytes;
}

function claims(log: LogDatabase): string {
  return JSON.stringify({ sub: log.admin, role: "authenticated" });
}
