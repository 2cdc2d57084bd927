// The command line of the tests that take long: `npm run test:faults`, `npm run test:load`. They run in Vitest, which
// prints what each step found as it ends.
import { spawn } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, InvalidArgumentError } from "commander";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

const program = new Command("npm run").description(
  "Breaks a deployment at work, and watches one under load, on servers of their own.",
);

program.command("test:faults").description(
  "inject faults, kind by kind; after each kind every change, chain, log, file and delivery is checked",
).option("--seed <number>", "which faults, when: the same seed plans the same", positive, 1).option(
  "--times <number>",
  "multiplies how many of each kind: 1 is the short form, some minutes",
  positive,
  1,
).option("--only <text>", "kinds whose name has the text").action(({ seed, times, only }) =>
  run("test/faults/faults.ts", { SEED: seed, FAULTS: times }, only)
);

program.command("test:load").description(
  "writers, searches, exports, alerts, sealing, reading back and purging together; then all is checked and figures are printed",
).option("--seconds <number>", "how long; 300 is the short form of the promised hour", positive, 300).option(
  "--seed <number>",
  "what is written and searched",
  positive,
  1,
).action(({ seed, seconds }) => run("test/faults/load.ts", { SEED: seed, SECONDS: seconds }));

await program.parseAsync();

async function run(file: string, settings: Record<string, number>, only?: string): Promise<void> {
  const args = [
    "run",
    file,
    "--config",
    "test/faults/vitest.config.ts",
    "--root",
    ".",
    "--reporter=verbose",
    "--disable-console-intercept",
  ];
  if (only !== undefined) args.push("-t", only);
  const environment = Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, String(value)]));
  const child = spawn(process.execPath, [join(ROOT, "node_modules", "vitest", "vitest.mjs"), ...args], {
    cwd: ROOT,
    env: { ...process.env, ...environment },
    stdio: "inherit",
  });
  process.exitCode = await new Promise<number>((resolve, reject) => {
    child.once("error", reject).once("exit", (code) => resolve(code ?? 1));
  });
}

function positive(text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InvalidArgumentError("a positive whole number is needed.");
}
