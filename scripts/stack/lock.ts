// One stack per folder: a file names the process that runs it. A file left by a killed process does not count.
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { commandLine, isAlive } from "./processes.ts";

/** The process that runs the stack of `dir`, if there is one. */
export async function runningStack(dir: string): Promise<number | undefined> {
  const pid = Number(await readFile(lockFile(dir), "utf8").catch(() => ""));
  if (!pid || !await isAlive(pid)) return undefined;
  // The number may have gone to another program since.
  return (await commandLine(pid)).includes("stack/main.ts") ? pid : undefined;
}

/** Takes the folder for this process, or answers the process that has it. */
export async function takeLock(dir: string): Promise<number | undefined> {
  for (;;) {
    try {
      await writeFile(lockFile(dir), String(process.pid), { flag: "wx" });
      return undefined;
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
    const owner = await runningStack(dir);
    if (owner !== undefined) return owner;
    await rm(lockFile(dir), { force: true });
  }
}

export async function releaseLock(dir: string): Promise<void> {
  await rm(lockFile(dir), { force: true });
}

function lockFile(dir: string): string {
  return join(dir, "stack.pid");
}
