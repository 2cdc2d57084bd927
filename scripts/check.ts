// Everything that can be said of the source without running it. One line a check; `npm run check` exits 1 where one fails.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile } from "node:fs/promises";
import { relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../", import.meta.url));

// What an auditor runs alone: it must not be able to ask our network or database what to believe.
const PROOFS = [
  "functions/_shared/entry.ts",
  ...["edge", "prove", "receipt", "witness", "origin", "policy"].map((name) => `functions/_shared/tlog/${name}.ts`),
  ...["archive", "path", "decoded", "bundle_encryption"].map((name) => `functions/_shared/archive/${name}.ts`),
  ...["organization", "anchor", "receipt", "export", "discover"].map((name) => `scripts/cli/verify/${name}.ts`),
];

type Check = {
  name: string;
  /** What to do where it fails. */
  remedy: string;
  /** The problems found; none where all is well. */
  problems(): Promise<string[]>;
};

const CHECKS: Check[] = [
  {
    name: "format",
    remedy: "npm run fmt",
    problems: async () => (await program("deno", "fmt", "--check")).filter((line) => line.startsWith("from ")),
  },
  { name: "lint", remedy: "mend what deno lint names", problems: () => program("deno", "lint", "--quiet") },
  { name: "types", remedy: "mend what tsc names", problems: () => program("tsc", "-p", ".") },
  {
    name: "types in Deno",
    remedy: "mend what deno check names: the functions run there",
    problems: async () => program("deno", "check", "--quiet", ...await sources("functions")),
  },
  {
    name: "migration",
    remedy: "npm run build",
    problems: () => program("tsx", "scripts/build-migration.ts", "--check"),
  },
  {
    name: "Deno only at the edge",
    remedy: "reach the runtime through functions/_shared/env.ts",
    problems: () => lines("functions", /\bDeno\./, (file) => /(^|\/)(index|_shared\/env)\.ts$/.test(file)),
  },
  {
    name: "functions apart",
    remedy: "move what two functions share into functions/_shared",
    problems: functionsThatImportEachOther,
  },
  {
    name: "proofs offline",
    remedy: "import nothing there that reaches network or database",
    problems: networkedProofs,
  },
  {
    name: "HTTP only from schedules",
    remedy: "move the call into sql/9xx",
    problems: () => lines("sql", /\bnet\.http/, (file) => /\/9\d\d_[^/]*$/.test(file) || !file.endsWith(".sql")),
  },
  {
    name: "exact versions",
    remedy: "write versions without ranges in package.json",
    problems: inexactVersions,
  },
];

let failed = 0;
for (const check of CHECKS) {
  const start = performance.now();
  const problems = await check.problems();
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(`${problems.length === 0 ? "ok    " : "FAILED"} ${check.name.padEnd(26)} ${seconds.padStart(5)} s`);
  if (problems.length === 0) continue;
  failed += 1;
  for (const problem of problems) console.log(`       ${problem}`);
  console.log(`       → ${check.remedy}`);
}
process.exitCode = failed === 0 ? 0 : 1;

/** What a program of node_modules prints where it exits with an error. */
async function program(name: string, ...args: string[]): Promise<string[]> {
  const child = spawn(`${ROOT}node_modules/.bin/${name}`, args, {
    cwd: ROOT,
    env: { ...process.env, NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output += chunk);
  const [code] = await once(child, "close");
  if (code === 0) return [];
  // Deno adds where in itself it gave up, which is nobody's problem here.
  return (output.split("\nStack backtrace:")[0]!.trim() || `${name} ended with ${code}`).split("\n");
}

/** Where a pattern stands, except in files that may hold it. */
async function lines(folder: string, pattern: RegExp, allowed: (file: string) => boolean): Promise<string[]> {
  const found: string[] = [];
  for (const file of await sources(folder)) {
    if (allowed(file)) continue;
    const text = await readFile(ROOT + file, "utf8");
    text.split("\n").forEach((line, at) => {
      if (pattern.test(line)) found.push(`${file}:${at + 1} ${line.trim()}`);
    });
  }
  return found;
}

async function functionsThatImportEachOther(): Promise<string[]> {
  const found: string[] = [];
  for (const file of await sources("functions")) {
    const own = file.split("/")[1]!;
    for (const target of await imports(file)) {
      const other = target.split("/")[1]!;
      if (!target.startsWith("functions/") || other === own || other === "_shared") continue;
      found.push(`${file} imports ${target}`);
    }
  }
  return found;
}

async function networkedProofs(): Promise<string[]> {
  const found: string[] = [];
  const reached = new Set(PROOFS);
  for (const file of reached) {
    for (const target of await imports(file)) {
      if (/^(functions|scripts\/cli\/verify)\//.test(target)) reached.add(target);
      else if (!/^(node:(buffer|crypto)|hash-wasm)$/.test(target)) found.push(`${file} imports ${target}`);
    }
    if (/\bfetch\(|\bWebSocket\b|\bimport\(/.test(await readFile(ROOT + file, "utf8"))) {
      found.push(`${file} can reach out`);
    }
  }
  return found;
}

/** What a file imports: paths from the root for files of the project, names for packages. */
async function imports(file: string): Promise<string[]> {
  const text = await readFile(ROOT + file, "utf8");
  return [...text.matchAll(/^(?:import\s+|(?:import|export)\s[^"';=]*?\sfrom\s+)["']([^"']+)["']/gm)].map((
    [, target],
  ) => target!.startsWith(".") ? relative(ROOT, fileURLToPath(new URL(target!, `file://${ROOT}${file}`))) : target!);
}

async function inexactVersions(): Promise<string[]> {
  const { dependencies = {}, devDependencies = {} } = JSON.parse(await readFile(`${ROOT}package.json`, "utf8"));
  return Object.entries<string>({ ...dependencies, ...devDependencies })
    .filter(([, version]) => !/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/.test(version))
    .map(([name, version]) => `${name} ${version}`);
}

async function sources(folder: string): Promise<string[]> {
  const entries = await readdir(ROOT + folder, { recursive: true });
  return entries.filter((entry) => /\.(ts|sql)$/.test(entry)).map((entry) => `${folder}/${entry}`).sort();
}
