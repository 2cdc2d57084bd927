// Stand-in for the Edge Functions platform: one Deno process for each folder functions/<name>/index.ts, started by
// its first request and again after it ended. Not imitated: limits of CPU, memory and time, isolation, verify_jwt.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, existsSync, openSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { freePort } from "./ports.ts";
import { lifeline } from "./processes.ts";

export type FunctionsOptions = {
  /** The checkout, whose `functions` folder is served. */
  root: string;
  /** What the functions see; as on hosted, SUPABASE_URL and its like. */
  env: Record<string, string>;
  /** What single functions see besides. On hosted a project's secrets are seen by all of its functions. */
  secrets?: Record<string, Record<string, string>>;
  logDir: string;
};

export type Functions = {
  names(): Promise<string[]>;
  /** Hands the request on; the function sees the path `/<name>/…`, as on hosted. */
  call(name: string, request: Request, path: string): Promise<Response>;
  stop(): Promise<void>;
};

type Worker = { child: ChildProcess; port: number };

export function createFunctions({ root, env, secrets = {}, logDir }: FunctionsOptions): Functions {
  const workers = new Map<string, Promise<Worker>>();

  async function names(): Promise<string[]> {
    const folders = await readdir(join(root, "functions")).catch(() => [] as string[]);
    return folders.filter((name) => !name.startsWith("_") && existsSync(entrypoint(name))).sort();
  }

  function entrypoint(name: string): string {
    return join(root, "functions", name, "index.ts");
  }

  async function startWorker(name: string): Promise<Worker> {
    const port = await freePort();
    const config = join(dirname(entrypoint(name)), "deno.json");
    const host = fileURLToPath(new URL("function_host.ts", import.meta.url));
    const args = ["run", "--cached-only", "--node-modules-dir=manual", "--no-lock", "--no-prompt"];
    if (existsSync(config)) args.push("--config", config);
    args.push("--allow-net", "--allow-env", "--allow-read", "--allow-sys", host, entrypoint(name), String(port));
    const log = openSync(join(logDir, `function-${name}.log`), "a", 0o600);
    const child = spawn(denoProgram(), args, {
      cwd: root,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, NO_COLOR: "1", ...env, ...secrets[name] },
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    child.once("exit", () => workers.delete(name));
    if (child.pid === undefined) throw (await once(child, "error"))[0];
    const cutLifeline = lifeline(child.pid, "TERM");
    child.once("exit", cutLifeline);
    while (!await accepts(port)) {
      if (child.exitCode !== null || child.signalCode !== null) {
        throw new Error(`function ${name} ended while it started; see function-${name}.log in ${logDir}`);
      }
      await sleep(20);
    }
    return { child, port };
  }

  return {
    names,
    async call(name, request, path) {
      let starting = workers.get(name);
      if (starting === undefined) {
        starting = startWorker(name);
        workers.set(name, starting);
        starting.catch(() => workers.delete(name));
      }
      const { port } = await starting;
      const { search } = new URL(request.url);
      const headers = new Headers(request.headers);
      for (const ofThisHop of ["connection", "keep-alive", "transfer-encoding", "expect", "content-length"]) {
        headers.delete(ofThisHop);
      }
      const response = await fetch(`http://127.0.0.1:${port}/${name}${path}${search}`, {
        method: request.method,
        headers,
        // Whole, as the hosted gateway sends it on.
        body: request.body === null ? null : await request.arrayBuffer(),
        redirect: "manual",
        signal: request.signal,
      });
      // fetch has decoded the body already.
      const answer = new Headers(response.headers);
      if (answer.has("content-encoding")) {
        answer.delete("content-encoding");
        answer.delete("content-length");
      }
      return new Response(response.body, { status: response.status, headers: answer });
    },
    async stop() {
      const started = await Promise.allSettled(workers.values());
      for (const worker of started) {
        if (worker.status !== "fulfilled" || worker.value.child.exitCode !== null) continue;
        const ended = once(worker.value.child, "exit");
        worker.value.child.kill("SIGTERM");
        await ended;
      }
    },
  };
}

/** The program itself; node_modules/.bin/deno is a script around it that passes no signal on. */
function denoProgram(): string {
  const program = join(dirname(createRequire(import.meta.url).resolve("deno/package.json")), "deno");
  if (existsSync(program)) return program;
  throw new Error("Deno is missing: its npm package was installed without its install script. Run `npm ci` again.");
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1");
    socket.once("connect", () => resolve(true)).once("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });
}
