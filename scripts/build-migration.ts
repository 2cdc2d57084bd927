// Builds the migration that Supabase applies from the source in sql/, verbatim and in order.
//
//   npm run build              writes it
//   npm run build -- --check   only says whether it is up to date
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";

const SOURCE = new URL("../sql/", import.meta.url);
const MIGRATION = "supabase/migrations/20260101000000_audit_logs.sql";
const TARGET = fileURLToPath(new URL(`../${MIGRATION}`, import.meta.url));

// No change of the application waits long for an installation: it fails instead, and is tried again.
const HEADER = `-- Generated from sql/*.sql by \`npm run build\`; do not edit.

set local lock_timeout = '3s';
set local check_function_bodies = off;
`;

/** Each file of the source under a line that names it. */
export async function buildMigration(): Promise<string> {
  const parts = [HEADER];
  for (const name of (await readdir(SOURCE)).filter((file) => file.endsWith(".sql")).sort()) {
    parts.push(`-- sql/${name}\n\n${await readFile(new URL(name, SOURCE), "utf8")}`);
  }
  return parts.join("\n");
}

/** The source file whose text differs in the migration, or what else is wrong with it; undefined where it is the same. */
function difference(built: string, found: string): string | undefined {
  if (found === built) return undefined;
  const sections = (text: string) => text.split(/^(?=-- sql\/\d{3}_\w+\.sql$)/m);
  const known = new Set(sections(found));
  const changed = sections(built).find((section) => !known.has(section));
  return /^-- (sql\/\S+)/.exec(changed ?? "")?.[1] ?? "the header or the order";
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const built = await buildMigration();
  const different = difference(built, await readFile(TARGET, "utf8").catch(() => ""));
  if (different === undefined) {
    console.log(`${MIGRATION} is up to date`);
  } else if (process.argv.includes("--check")) {
    console.error(`${MIGRATION} is not what its source makes: ${different} differs. Run: npm run build`);
    process.exitCode = 1;
  } else {
    await mkdir(dirname(TARGET), { recursive: true });
    await writeFile(TARGET, built);
    console.log(`${MIGRATION} written`);
  }
}
