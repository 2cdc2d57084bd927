// A PostgreSQL cluster of the bench's own, removed afterwards. The cost of a commit decides most ratios, so it has a
// name: the real disk of the folder, 1 ms in memory, which is what a cloud disk takes, or both for what is too large.
import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type Cluster, startPostgres } from "../stack/postgres.ts";

export type Commit = "disk" | "1ms" | "1ms+disk";

export const COMMIT_NAMES: Record<Commit, string> = {
  disk: "the disk's own flush",
  "1ms": "1 ms (commit_delay in memory)",
  "1ms+disk": "1 ms (commit_delay) and the disk's own flush",
};

/** As on a hosted project with 2 shared cores and 2 GB of memory. */
const SETTINGS = {
  shared_preload_libraries: "pg_stat_statements",
  shared_buffers: "512MB",
  effective_cache_size: "1536MB",
  work_mem: "3500kB",
  maintenance_work_mem: "128MB",
  max_connections: "90",
  wal_level: "logical",
  max_wal_size: "4GB",
  min_wal_size: "1GB",
  checkpoint_completion_target: "0.9",
  random_page_cost: "1.1",
  effective_io_concurrency: "200",
  max_worker_processes: "6",
  max_parallel_workers: "2",
  max_parallel_workers_per_gather: "1",
  jit: "off",
};

const MEMORY = "/dev/shm";

export async function withCluster<T>(
  commit: Commit,
  dir: string | undefined,
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  const inMemory = commit === "1ms" && existsSync(MEMORY);
  const folder = await mkdtemp(join(inMemory ? MEMORY : dir ?? tmpdir(), "audit-bench-"));
  try {
    return await runCluster(folder, commit, "immediate", work);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The same in a folder that stays: for what took long to make. */
export async function withKeptCluster<T>(
  commit: Exclude<Commit, "1ms">,
  folder: string,
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  await mkdir(folder, { recursive: true });
  return runCluster(resolve(folder), commit, "fast", work);
}

async function runCluster<T>(
  folder: string,
  commit: Commit,
  stop: "fast" | "immediate",
  work: (cluster: Cluster) => Promise<T>,
): Promise<T> {
  await chmod(folder, 0o755); // the server may have to run as another user
  let failure: string | undefined;
  let cluster: Cluster | undefined;
  // Without its server whatever is going on fails and tidies up; a second Ctrl-C ends the process at once.
  const interrupt = () => {
    failure = "interrupted";
    return cluster?.stop(stop);
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  try {
    cluster = await startPostgres({
      dataDir: join(folder, "data"),
      settings: commit === "disk" ? SETTINGS : { ...SETTINGS, commit_delay: "1000", commit_siblings: "0" },
      onCrash: (reason) => failure = reason,
    });
    if (failure !== undefined) throw new Error(failure);
    return await work(cluster);
  } catch (error) {
    throw failure === undefined ? error : new Error(failure, { cause: error });
  } finally {
    process.off("SIGINT", interrupt).off("SIGTERM", interrupt);
    await cluster?.stop(stop);
  }
}
