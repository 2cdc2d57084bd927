// The real function audit-jobs in Deno behind the local stack's gateway, with Storage's stand-in, on a bench's database.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { createFunctions } from "../stack/functions.ts";
import { startGateway } from "../stack/gateway.ts";
import { type Keys, logVkey, makeKeys } from "../stack/keys.ts";
import { freePort } from "../stack/ports.ts";
import { createStorage } from "../stack/storage.ts";
import { findWorker } from "./function_server.ts";
import type { Database } from "./variants.ts";

export type JobServer = {
  /** Starts a job and answers what it did. */
  run<T>(job: string): Promise<T>;
  /** Of the function, for who calls it by himself. */
  url: string;
  /** The function's process. */
  pid: number;
  keys: Keys;
  vkey: string;
};

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

export async function withJobServer<T>(
  { url, adminUrl }: Database,
  work: (server: JobServer) => Promise<T>,
): Promise<T> {
  const keys = await makeKeys();
  const port = await freePort();
  const api = `http://127.0.0.1:${port}`;
  const folder = await mkdtemp(join(tmpdir(), "audit-bench-jobs-"));
  const functions = createFunctions({
    root: ROOT,
    logDir: folder,
    env: {
      SUPABASE_URL: api,
      SUPABASE_SERVICE_ROLE_KEY: keys.service_role_key,
      SUPABASE_DB_URL: url,
      AUDIT_JOBS_SECRET: keys.jobs_secret,
      AUDIT_LOG_KEY: keys.log_key,
    },
  });
  const pool = new pg.Pool({ connectionString: adminUrl, options: "-c role=supabase_storage_admin" });
  pool.on("error", () => {});
  const missing = () => Promise.resolve(new Response(null, { status: 501 }));
  const storage = createStorage({ pool, jwtSecret: keys.jwt_secret, dir: join(folder, "storage") });
  const gateway = await startGateway({ port, apiKeys: [keys.anon_key], auth: missing, storage, functions });
  async function run<T>(job: string): Promise<T> {
    const response = await fetch(`${api}/functions/v1/audit-jobs/${job}`, {
      method: "POST",
      headers: { authorization: `Bearer ${keys.jobs_secret}` },
    });
    if (!response.ok) throw new Error(`job ${job} answers ${response.status}: ${await response.text()}`);
    return await response.json() as T;
  }
  try {
    await run("manifests"); // starts the function
    const { pid } = await findWorker();
    return await work({ run, url: `${api}/functions/v1/audit-jobs`, pid, keys, vkey: logVkey(keys) });
  } finally {
    await gateway.stop();
    await functions.stop();
    await pool.end();
    await rm(folder, { recursive: true, force: true });
  }
}
