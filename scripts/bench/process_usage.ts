// What a process used, on Linux: processor time and the most memory it held.
import { readFile, writeFile } from "node:fs/promises";

/** The kernel's unit of time in /proc; 100 a second everywhere that matters. */
const TICKS = 100;

/** Seconds of processor time, in user space and in the kernel, since the process began. */
export async function cpuSeconds(pid: number): Promise<number> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS;
}

/**
 * The milliseconds for which a process of a single thread, such as a database connection's, ran and waited for a
 * processor that others had; NaN where the kernel does not say.
 */
export async function schedule(pid: number): Promise<{ ran: number; waited: number }> {
  const text = await readFile(`/proc/${pid}/schedstat`, "utf8").catch(() => "");
  const [ran = NaN, waited = NaN] = text.split(" ").map((nanoseconds) => parseInt(nanoseconds) / 1e6);
  return { ran, waited };
}

/** The most megabytes of memory that the process held at once, since resetPeakMemory(). */
export async function peakMemory(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}

export async function resetPeakMemory(pid: number): Promise<void> {
  await writeFile(`/proc/${pid}/clear_refs`, "5");
}
