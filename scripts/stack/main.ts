// The command line of the local stack. `npm start` is `demo`; see `npm run stack -- --help`.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { signIn } from "./sign_in.ts";
import type { StackInfo } from "./info.ts";
import { releaseLock, runningStack, takeLock } from "./lock.ts";
import { isAlive, waitFor } from "./processes.ts";
import { DIR, dirOption, ROOT } from "./place.ts";
import { clusterFolder, stopLeftover } from "./postgres.ts";
import { type Stack, startStack } from "./stack.ts";

type Options = { dir: string; port: number; dbPort?: number; empty?: boolean; detach?: boolean; exit?: boolean };

/** Why a stack ends that was asked to. */
class Interruption extends Error {}

const program = new Command("npm run stack --")
  .description("A local Supabase without Docker: PostgreSQL 17, our migrations, stand-ins for Auth, Storage and more.")
  .configureHelp({ showGlobalOptions: true });

withPlace(program.command("demo"))
  .description("start in the foreground with the sample application and show the log at work (npm start)")
  .option("--empty", "no sample application and no demonstration")
  .option("--exit", "end when the demonstration is done, instead of waiting for Ctrl-C")
  .action((options: Options) => runInForeground(options, true));

withPlace(program.command("start"))
  .description("start; Ctrl-C stops it")
  .option("--detach", "return as soon as it is ready, and leave it running")
  .option("--empty", "no sample application")
  .action((options: Options) => options.detach ? startDetached(options) : runInForeground(options, false));

for (
  const [name, description, action] of [
    ["stop", "stop it, wherever it was started", stop],
    ["status", "say whether it runs, and where", status],
    ["reset", "stop it and delete its data and keys", reset],
  ] as const
) {
  withDir(program.command(name)).description(description).action(action);
}

withDir(program.command("token"))
  .description("sign a demo user in and print the access token, for curl")
  .argument("<email>", "one of the users that `npm start` lists")
  .action(token);

// A reader like `head` may go away early; what was started goes on.
process.stdout.on("error", () => {});
try {
  await program.parseAsync();
} catch (error) {
  console.error(`\nError: ${(error as Error).message}`);
  process.exitCode = 1;
}
// An interrupted demonstration may still hold connections.
process.exit();

function withDir(command: Command): Command {
  return command.option("--dir <folder>", "where data, keys and logs are kept", DIR);
}

function withPlace(command: Command): Command {
  return withDir(command)
    .option("--port <number>", "port of the API", parsePort, 54321)
    .option("--db-port <number>", "port of the database (default: the next after --port)", parsePort);
}

function parsePort(text: string): number {
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65536) return port;
  throw new InvalidArgumentError("a port is a whole number from 1 to 65535.");
}

// ------------------------------------------------------------------------------------------------ start

async function runInForeground(options: Options, withDemo: boolean): Promise<void> {
  const dir = resolve(options.dir);
  await mkdir(dir, { recursive: true, mode: 0o755 });
  const owner = await takeLock(dir);
  if (owner !== undefined) return reportRunning(dir, owner);
  const end = abortOnSignal();
  const ended = once(end.signal, "abort").then(() => Promise.reject(end.signal.reason));
  ended.catch(() => {});
  let stack: Stack | undefined;
  try {
    stack = await startStack({
      root: ROOT,
      dir,
      port: options.port,
      dbPort: options.dbPort ?? options.port + 1,
      empty: options.empty ?? false,
      signal: end.signal,
      onStep: (step, milliseconds) => say(`  ${step.padEnd(20)} ${(milliseconds / 1000).toFixed(1).padStart(6)} s`),
      onCrash: (reason) => end.abort(new Error(`${reason}\nThe next start recovers.`)),
    });
    if (withDemo && !options.empty && existsSync(join(ROOT, "scripts", "demo", "main.ts"))) {
      const { runDemo } = await import("../demo/main.ts");
      await Promise.race([runDemo(stack.info, dir), ended]);
    }
    if (options.exit) return;
    say(`\n${summary(dir, stack.info)}`);
    if (process.send === undefined) console.log("\nCtrl-C stops it.");
    else {
      process.send({ ready: true }, undefined, undefined, () => {});
      if (process.connected) process.disconnect();
    }
    await ended;
  } catch (error) {
    // What a Ctrl-C interrupts may complain; that is no news.
    if (!(end.signal.reason instanceof Interruption)) throw error;
  } finally {
    await stack?.stop();
    await releaseLock(dir);
  }
}

/** The first signal asks for an orderly stop, the second ends at once (the lifelines then stop the children). */
function abortOnSignal(): AbortController {
  const end = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      if (end.signal.aborted) process.exit(130);
      console.error("\nStopping. Once more to force.");
      end.abort(new Interruption());
    });
  }
  return end;
}

async function startDetached(options: Options): Promise<void> {
  const dir = resolve(options.dir);
  await mkdir(join(dir, "logs"), { recursive: true, mode: 0o755 });
  const owner = await runningStack(dir);
  if (owner !== undefined) return reportRunning(dir, owner);
  const args = ["start", "--dir", dir, "--port", String(options.port)];
  if (options.dbPort !== undefined) args.push("--db-port", String(options.dbPort));
  if (options.empty) args.push("--empty");
  const logFile = join(dir, "logs", "stack.log");
  const log = await open(logFile, "w", 0o600);
  // The same loader as this process has, so that the child needs no wrapper.
  const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...args], {
    cwd: ROOT,
    detached: true,
    stdio: ["ignore", log.fd, log.fd, "ipc"],
  });
  await log.close();
  child.on("message", (message: { step?: string }) => message.step !== undefined && console.log(message.step));
  const ready = new Promise<void>((done) => {
    child.on("message", (message: { ready?: boolean }) => message.ready && done());
  });
  const ended = once(child, "exit");
  const outcome = await Promise.race([ready, ended]);
  if (outcome !== undefined) {
    const output = (await readFile(logFile, "utf8")).trim();
    throw new Error(output.split(/^Error: /m).at(-1)!);
  }
  child.unref();
  console.log(`It runs in the background; \`npm run stack -- stop${dirOption(dir)}\` ends it. Its log: ${logFile}`);
}

/** To the terminal, or to the process that started this one in the background. */
function say(line: string): void {
  console.log(line);
  // The other process may be gone already; this one goes on.
  process.send?.({ step: line }, undefined, undefined, () => {});
}

// ------------------------------------------------------------------------------------------------ stop, status, reset

async function stop(options: Options): Promise<void> {
  const dir = resolve(options.dir);
  const dataDir = join(await clusterFolder(dir), "data");
  const pid = await runningStack(dir);
  if (pid === undefined) {
    const leftover = await stopLeftover(dataDir);
    console.log(leftover ? "Stopped a database that a killed stack had left." : "It does not run.");
    return;
  }
  for (const signal of ["SIGTERM", "SIGTERM", "SIGKILL"] as const) {
    process.kill(pid, signal);
    if (await waitFor(async () => !await isAlive(pid), 20_000)) break;
  }
  await stopLeftover(dataDir);
  console.log("Stopped.");
}

async function status({ dir }: Options): Promise<void> {
  const pid = await runningStack(resolve(dir));
  if (pid !== undefined) return reportRunning(resolve(dir), pid);
  console.log(notRunning(resolve(dir)));
  process.exitCode = 3;
}

async function token(email: string, { dir }: Options): Promise<void> {
  const info = await readInfo(resolve(dir));
  if (info === undefined) {
    throw new Error(notRunning(resolve(dir)));
  }
  const user = info.users.find((each) => each.email === email);
  if (user === undefined) {
    throw new Error(`There is no demo user ${email}. \`npm start\` lists them.`);
  }
  console.log(await signIn(info, user));
}

async function reset(options: Options): Promise<void> {
  await stop(options);
  const dir = resolve(options.dir);
  const cluster = await clusterFolder(dir);
  // By name: --dir may point to a folder that holds other things, too.
  const data = ["data", "data.new", "data.password", "data.programs"].map((name) => join(cluster, name));
  const rest = ["logs", "storage", "cli", "keys.json", "stack.json"].map((name) => join(dir, name));
  for (const path of [...data, ...rest]) await rm(path, { recursive: true, force: true });
  console.log("Deleted data and keys.");
}

/** What a running stack has written for scripts; undefined where none has. */
function readInfo(dir: string): Promise<StackInfo | undefined> {
  return readFile(join(dir, "stack.json"), "utf8").then((text) => JSON.parse(text) as StackInfo, () => undefined);
}

async function reportRunning(dir: string, pid: number): Promise<void> {
  const info = await readInfo(dir);
  const where = info === undefined ? "It is starting." : summary(dir, info);
  console.log(`It runs already, as process ${pid}.\n\n${where}\n\n\`npm run stack -- stop${dirOption(dir)}\` ends it.`);
}

function notRunning(dir: string): string {
  return `It does not run. \`npm run stack -- start${dirOption(dir)}\` starts it.`;
}

function summary(dir: string, info: StackInfo): string {
  return [
    `API       ${info.api_url}`,
    `Viewer    ${info.viewer_url}/`,
    `Database  ${info.db_url}`,
    `More      ${join(dir, "stack.json")} has every URL, key and demo user`,
  ].join("\n");
}
