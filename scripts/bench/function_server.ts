// The real functions in Deno behind the local stack's gateway, on the database of a bench.
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SignJWT } from "jose";
import { createFunctions } from "../stack/functions.ts";
import { startGateway } from "../stack/gateway.ts";
import { makeKeys } from "../stack/keys.ts";
import { freePort } from "../stack/ports.ts";
import { childrenOf, commandLine } from "../stack/processes.ts";
import { actorEmail } from "./generated_log_plan.ts";
import type { LogDatabase } from "./generated_log_database.ts";

export type FunctionServer = {
  /** Of function `audit`, as clients reach it. */
  url: string;
  /** The same without the gateway, which is our stand-in and no part of the product. */
  directUrl: string;
  pid: number;
  /** Headers of a signed-in admin of the measured organisation. */
  headers: Record<string, string>;
};

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Returns undefined where there is no such function yet. */
export async function withFunctionServer<T>(
  log: LogDatabase,
  work: (server: FunctionServer) => Promise<T>,
): Promise<T | undefined> {
  if (!existsSync(join(ROOT, "functions", "audit", "index.ts"))) return undefined;
  const keys = await makeKeys();
  const port = await freePort();
  const api = `http://127.0.0.1:${port}`;
  const logDir = await mkdtemp(join(tmpdir(), "audit-bench-functions-"));
  const functions = createFunctions({
    root: ROOT,
    logDir,
    env: {
      SUPABASE_URL: api,
      SUPABASE_ANON_KEY: keys.anon_key,
      SUPABASE_SERVICE_ROLE_KEY: keys.service_role_key,
      SUPABASE_DB_URL: log.url,
      JWT_SECRET: keys.jwt_secret,
    },
  });
  const missing = () => Promise.resolve(new Response(null, { status: 501 }));
  const gateway = await startGateway({ port, apiKeys: [keys.anon_key], auth: missing, storage: missing, functions });
  try {
    const url = `${api}/functions/v1/audit`;
    const headers = { authorization: `Bearer ${await signIn(log, keys.jwt_secret, api)}`, apikey: keys.anon_key };
    const first = await fetch(`${url}/logs?limit=1&organization_id=${log.organization}`, { headers });
    const answer = await first.text();
    if (!first.ok) {
      const output = await readFile(join(logDir, "function-audit.log"), "utf8").catch(() => "");
      throw new Error(`function audit answers ${first.status}: ${answer}\n${output.slice(-2000)}`);
    }
    const { pid, port: functionPort } = await findWorker();
    return await work({ url, directUrl: `http://127.0.0.1:${functionPort}/audit`, pid, headers });
  } finally {
    await gateway.stop();
    await functions.stop();
    await rm(logDir, { recursive: true, force: true });
  }
}

function signIn(log: LogDatabase, secret: string, api: string): Promise<string> {
  return new SignJWT({
    sub: log.admin,
    role: "authenticated",
    email: actorEmail(1, 1),
    session_id: crypto.randomUUID(),
  })
    .setProtectedHeader({ alg: "HS256", typ: "JWT" })
    .setIssuer(`${api}/auth/v1`)
    .setAudience("authenticated")
    .setIssuedAt()
    .setExpirationTime("6h")
    .sign(new TextEncoder().encode(secret));
}

/** The process that createFunctions() started; the last word of its command line is its port. */
export async function findWorker(): Promise<{ pid: number; port: string }> {
  for (const pid of await childrenOf(process.pid)) {
    const words = (await commandLine(pid)).trim().split(/\s+/);
    if (words.some((word) => word.endsWith("function_host.ts"))) return { pid, port: words.at(-1)! };
  }
  throw new Error("the function's process is not to be found");
}
