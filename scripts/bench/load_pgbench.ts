import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { Load, LoadResult } from "./load.ts";
import { insertOne } from "./sample.ts";

const run = promisify(execFile);

export async function runPgbench(url: string, load: Load): Promise<LoadResult> {
  const folder = await mkdtemp(join(tmpdir(), "audit-pgbench-"));
  try {
    const scriptFile = join(folder, "script.sql");
    await writeFile(scriptFile, script(load));
    const args = [
      "-n",
      "-M",
      "prepared",
      "-f",
      scriptFile,
      "-c",
      `${load.clients}`,
      "-j",
      `${Math.min(load.clients, 2)}`,
    ];
    args.push("-T", `${load.seconds}`, "-l", `--log-prefix=${join(folder, "log")}`, "--failures-detailed", url);
    const isolation = (load.isolation ?? "read committed").replaceAll(" ", "\\ ");
    const { stdout } = await run("pgbench", args, {
      env: { PATH: process.env.PATH, PGOPTIONS: `-c default_transaction_isolation=${isolation}` },
    });
    return {
      tps: number(stdout, /^tps = ([\d.]+)/m),
      latencies: await latencies(folder),
      deadlocks: number(stdout, /^number of deadlock failures: (\d+)/m),
      serializationFailures: number(stdout, /^number of serialization failures: (\d+)/m),
    };
  } catch (error) {
    const { stderr } = error as { stderr?: string };
    throw stderr === undefined ? error : new Error(`pgbench failed:\n${stderr.trim()}`, { cause: error });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

function script({ organizations, pairs }: Load): string {
  const choose = (name: string, expression: string) => `\\set ${name} ${expression}\n`;
  if (!pairs) return `${choose("a", `random(1, ${organizations})`)}${insertOne(":a")};\n`;
  // \set knows no arrays: a different second one is some steps further round the circle.
  return choose("a", `random(1, ${organizations})`) +
    choose("b", `1 + (:a - 1 + random(1, ${organizations - 1})) % ${organizations}`) +
    `begin;\n${insertOne(":a")};\n${insertOne(":b")};\nend;\n`;
}

function number(report: string, pattern: RegExp): number {
  const match = pattern.exec(report);
  if (match === null) throw new Error(`pgbench's report lacks ${pattern}:\n${report}`);
  return Number(match[1]);
}

/** A log line: client, number, microseconds (or the kind of failure), script, time. */
async function latencies(folder: string): Promise<Float64Array> {
  const files = (await readdir(folder)).filter((name) => name.startsWith("log."));
  const logs = await Promise.all(files.map((name) => readFile(join(folder, name), "utf8")));
  const microseconds = logs.flatMap((log) => log.split("\n")).map((line) => Number(line.split(" ")[2]));
  return Float64Array.from(microseconds.filter(Number.isFinite), (each) => each / 1000).sort();
}
