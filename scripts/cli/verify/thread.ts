// What a thread of pool.ts runs.
import { parentPort, workerData } from "node:worker_threads";
import { parseArchiveKeys } from "../../../functions/_shared/archive/bundle_encryption.ts";
import { checkBundle } from "./bundle_check.ts";
import type { Answer, Request } from "./pool.ts";

const keys = workerData === undefined ? undefined : parseArchiveKeys(workerData as string);

parentPort!.on("message", async ({ id, job }: Request) => {
  try {
    const result = await checkBundle(job, keys);
    const answer: Answer = { id, result };
    parentPort!.postMessage(answer, [result.leaves.buffer as ArrayBuffer, result.hashes.buffer as ArrayBuffer]);
  } catch (error) {
    const answer: Answer = { id, error };
    parentPort!.postMessage(answer);
  }
});
