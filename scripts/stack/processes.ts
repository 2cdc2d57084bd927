// Questions to the operating system about processes, on Linux and macOS, and a way to leave no orphans behind.
import { execFile, spawn } from "node:child_process";
import { readdir, readFile } from "node:fs/promises";
import { platform } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Sends `signal` to the process `pid` when this process ends, in whatever way; the answer calls that off. */
export function lifeline(pid: number, signal: "INT" | "TERM"): () => void {
  // The pipe closes with this process, even after SIGKILL. Detached, so that a Ctrl-C does not take the shell.
  const shell = spawn("/bin/sh", ["-c", `read _; kill -${signal} "$0"`, String(pid)], {
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  shell.unref();
  (shell.stdin as unknown as { unref(): void }).unref();
  return () => shell.kill("SIGKILL");
}

export async function isAlive(pid: number): Promise<boolean> {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
  // A zombie answers signals but is gone. Only Linux shows it here; elsewhere init collects it at once.
  return (await processState(pid))?.state !== "Z";
}

async function processState(pid: number): Promise<{ state: string; parent: number } | undefined> {
  const line = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  const [state, parent] = line?.slice(line.lastIndexOf(")") + 2).split(" ") ?? [];
  return state === undefined ? undefined : { state, parent: Number(parent) };
}

export async function childrenOf(pid: number): Promise<number[]> {
  if (platform() === "linux") {
    const all = (await readdir("/proc")).map(Number).filter(Number.isInteger);
    const states = await Promise.all(all.map(processState));
    return all.filter((_, index) => states[index]?.parent === pid);
  }
  const { stdout } = await run("ps", ["-A", "-o", "pid=,ppid="]);
  const rows = stdout.trim().split("\n").map((line) => line.trim().split(/\s+/).map(Number));
  return rows.filter(([, parent]) => parent === pid).map(([child]) => child!);
}

export async function commandLine(pid: number): Promise<string> {
  if (platform() === "linux") {
    return (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).replaceAll("\0", " ");
  }
  return run("ps", ["-o", "command=", "-p", String(pid)]).then(({ stdout }) => stdout, () => "");
}

/** Asks again and again; false when the time is over. */
export async function waitFor(condition: () => Promise<boolean>, milliseconds: number): Promise<boolean> {
  const deadline = Date.now() + milliseconds;
  while (!await condition()) {
    if (Date.now() > deadline) return false;
    await sleep(20);
  }
  return true;
}
