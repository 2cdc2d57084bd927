// Makes the package that projects install from: `npm run pack` writes supabase-audit-logs-<version>.tgz.
//
//   cli.js             the command line with all that it imports, for Node.js 20; beside it the programs that it runs
//   migration.sql      the source, whole
//   functions/         the functions as they are here, with fonts and the built page as code (embedded.ts)
//   package.json       without dependencies: `npx` fetches one file
import { spawn } from "node:child_process";
import { once } from "node:events";
import { cp, mkdir, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { buildMigration } from "../build-migration.ts";
import { buildViewer } from "../stack/viewer.ts";
import { packedLinks } from "./links.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
/** Of Latin, Greek and Cyrillic. */
const FONT = "noto-sans";
/** What is packed to be read, by its place in the repository and in the package. */
const DOCUMENTS = new Map([["LICENSE", "LICENSE"], ["SECURITY.md", "SECURITY.md"], ["docs/install.md", "README.md"]]);

/** The programs, by their names in the package. */
const PROGRAMS = {
  cli: "audit_logs.ts",
  verify: "verify.ts",
  thread: "verify/thread.ts",
  keygen: "keygen.ts",
  restore: "restore.ts",
};

/** Writes the package's folder; what was there before is gone. */
export async function buildPackage(folder: string): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "migration.sql"), await buildMigration());
  await copyFunctions(join(folder, "functions"));
  for (const [program, source] of Object.entries(PROGRAMS)) await buildProgram(folder, program, source);
  const { name, version, description, license, engines, repository } = JSON.parse(
    await readFile(join(ROOT, "package.json"), "utf8"),
  );
  const url = (repository?.url ?? repository)?.replace(/^git\+|\.git$/g, "");
  for (const [path, packed] of DOCUMENTS) {
    const text = await readFile(join(ROOT, path), "utf8");
    await writeFile(join(folder, packed), packedLinks(packedCommands(text), path, DOCUMENTS, url));
  }
  const manifest = { name, version, description, license, type: "module", engines, bin: { [name]: "cli.js" } };
  await writeFile(join(folder, "package.json"), `${JSON.stringify(manifest, null, 2)}\n`);
}

/** What the functions need where there is nothing else; of the page what is built. */
async function copyFunctions(folder: string): Promise<void> {
  const source = join(ROOT, "functions");
  await cp(source, folder, {
    recursive: true,
    filter: (path) => !/^audit-viewer\/(page|dist|vite\.config\.ts)(\/|$)|\.md$/.test(relative(source, path)),
  });
  for (const file of await readdir(folder, { recursive: true })) {
    if (!file.endsWith(".ts")) continue;
    const text = await readFile(join(folder, file), "utf8");
    if (packedCommands(text) !== text) await writeFile(join(folder, file), packedCommands(text));
  }
  const page = join(folder, "audit-viewer", "dist");
  await buildViewer(ROOT, page);
  const files = (await readdir(page, { recursive: true })).filter((path) => /\.\w+$/.test(path)).sort();
  await embed(join(folder, "audit-viewer", "embedded.ts"), "FILES", files, (path) => join(page, path));
  await rm(page, { recursive: true });
  const fonts = join(ROOT, "node_modules", "@fontsource");
  const names = (await readdir(join(fonts, FONT, "files"))).filter((name) => /-[46]00-normal\.woff$/.test(name));
  await embed(
    join(folder, "_shared", "pdf", "embedded.ts"),
    "FONTS",
    names.sort().map((name) => `${FONT}/files/${name}`),
    (path) => join(fonts, path),
    `\nexport const FONTS_FOLDER = "../../fonts/";\n`,
  );
}

/** Writes a module that holds files. */
async function embed(
  module: string,
  name: string,
  paths: string[],
  file: (path: string) => string,
  more = "",
): Promise<void> {
  const lines = await Promise.all(paths.map(async (path) => {
    return `  ${JSON.stringify(path)}: "${(await readFile(file(path))).toString("base64")}",\n`;
  }));
  await writeFile(module, `export const ${name}: Readonly<Record<string, string>> = {\n${lines.join("")}};\n${more}`);
}

async function buildProgram(folder: string, program: string, source: string): Promise<void> {
  const { build } = await import("vite");
  const entryFileNames = `${program}.js`;
  await build({
    configFile: false,
    logLevel: "warn",
    root: ROOT,
    ssr: { noExternal: true, external: ["pg-native"] },
    build: {
      ssr: join(ROOT, "scripts", "cli", source),
      outDir: folder,
      emptyOutDir: false,
      target: "node20",
      rolldownOptions: { output: { entryFileNames, codeSplitting: false, banner: "#!/usr/bin/env node" } },
    },
  });
  const path = join(folder, entryFileNames);
  await writeFile(path, packedCommands(await readFile(path, "utf8")));
}

/** A project has the package in place of the repository. */
function packedCommands(text: string): string {
  return text.replace(/npm run (verify|keygen|restore)\b( --)?/g, "npx supabase-audit-logs $1");
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = join(ROOT, "dist", "package");
  await buildPackage(folder);
  const child = spawn("npm", ["pack", folder, "--pack-destination", ROOT], { stdio: "inherit", cwd: dirname(folder) });
  const [code] = await once(child, "close");
  process.exitCode = code;
}
