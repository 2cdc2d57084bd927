// Bundles checked in threads, as many as there are processors. Small archives are checked before a thread has started.
import { availableParallelism } from "node:os";
import { extname } from "node:path";
import { Worker } from "node:worker_threads";
import { parseArchiveKeys } from "../../../functions/_shared/archive/bundle_encryption.ts";
import { type BundleJob, type BundleResult, type CheckBundle, checkBundle } from "./bundle_check.ts";

export type Pool = {
  check: CheckBundle;
  /** How many bundles it is worth to have under way at once. */
  width: number;
  stop(): Promise<void>;
};

/** What a thread is told, and what it answers. */
export type Request = { id: number; job: BundleJob };
export type Answer = { id: number; result: BundleResult } | { id: number; error: unknown };

/** So many bundles are checked here: a thread takes as long to load. */
const WITHOUT_THREADS = 100;
const JOBS_A_THREAD = 4;

/** `archiveKeys` as in AUDIT_ARCHIVE_KEY. */
export function startPool(archiveKeys?: string, threads = availableParallelism()): Pool {
  const keys = archiveKeys === undefined ? undefined : parseArchiveKeys(archiveKeys);
  const workers: Thread[] = [];
  let jobs = 0;
  return {
    check(job) {
      if (threads === 0 || ++jobs <= WITHOUT_THREADS) return checkBundle(job, keys);
      while (workers.length < threads) workers.push(new Thread(archiveKeys));
      return workers.reduce((idlest, worker) => worker.waiting < idlest.waiting ? worker : idlest).check(job);
    },
    width: Math.max(threads, 1) * JOBS_A_THREAD,
    async stop() {
      await Promise.all(workers.map((worker) => worker.stop()));
    },
  };
}

function startThread(workerData?: string): Worker {
  const options = { execArgv: [], workerData };
  const extension = extname(import.meta.url); // of the package, .js
  const url = new URL(`./thread${extension}`, import.meta.url);
  if (extension !== ".ts") return new Worker(url, options);
  // A thread does not inherit the loader that reads TypeScript.
  const start = `import(${JSON.stringify(import.meta.resolve("tsx/esm/api"))})
    .then(({ register }) => { register(); return import(${JSON.stringify(url.href)}); })`;
  return new Worker(start, { ...options, eval: true });
}

class Thread {
  #worker: Worker;
  #waiting = new Map<number, { resolve(result: BundleResult): void; reject(error: unknown): void }>();
  #ids = 0;
  /** Why it works no more. */
  #failure: Error | undefined;

  constructor(archiveKeys?: string) {
    this.#worker = startThread(archiveKeys);
    this.#worker.on("message", (answer: Answer) => {
      const waiting = this.#waiting.get(answer.id);
      this.#waiting.delete(answer.id);
      if ("error" in answer) waiting?.reject(answer.error);
      else waiting?.resolve(answer.result);
    });
    this.#worker.on("error", (error) => this.#fail(error));
    this.#worker.on("exit", () => this.#fail(new Error("a thread of the verification ended")));
  }

  get waiting(): number {
    return this.#waiting.size;
  }

  check(job: BundleJob): Promise<BundleResult> {
    return new Promise((resolve, reject) => {
      if (this.#failure !== undefined) return reject(this.#failure);
      const id = this.#ids++;
      this.#waiting.set(id, { resolve, reject });
      const request: Request = { id, job };
      // Handed over and not copied: they belong to whoever asked for them (see Read), who has no other use for them.
      this.#worker.postMessage(request, [job.bytes.buffer as ArrayBuffer]);
    });
  }

  async stop(): Promise<void> {
    await this.#worker.terminate();
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    for (const { reject } of this.#waiting.values()) reject(error);
    this.#waiting.clear();
  }
}
