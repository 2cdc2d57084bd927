// Applies what is new in supabase/migrations and supabase/seed.sql, by the Supabase CLI as a customer would.
// What is applied is asked first: the CLI takes about two seconds even when there is nothing to do.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import pg from "pg";

export type MigrateOptions = {
  /** The folder that holds `supabase/`. */
  root: string;
  /** As role postgres. */
  dbUrl: string;
  /** Where the CLI may keep files of its own. */
  home: string;
};

/** The number of migrations that were applied. */
export async function applyMigrations(options: MigrateOptions): Promise<number> {
  const files = await readdir(join(options.root, "supabase", "migrations")).catch(() => [] as string[]);
  const versions = files.flatMap((file) => /^(\d+)_.*\.sql$/.exec(file)?.[1] ?? []);
  const applied = await recorded(options.dbUrl, "schema_migrations", "version");
  const open = versions.filter((version) => !applied.has(version));
  if (open.length > 0) await push(options);
  return open.length;
}

/** True if the seed was loaded now, false if there is none or it was loaded before. */
export async function applySeed(options: MigrateOptions): Promise<boolean> {
  if (!existsSync(join(options.root, "supabase", "seed.sql"))) return false;
  if ((await recorded(options.dbUrl, "seed_files", "path")).size > 0) return false;
  await push(options, "--include-seed");
  return true;
}

async function recorded(dbUrl: string, table: string, column: string): Promise<Set<string>> {
  const client = new pg.Client({ connectionString: dbUrl });
  await client.connect();
  try {
    const name = `supabase_migrations.${table}`;
    const { rows: [found] } = await client.query("select to_regclass($1) is not null as exists", [name]);
    if (!found.exists) return new Set();
    const { rows } = await client.query<{ value: string }>(`select ${column}::text as value from ${name}`);
    return new Set(rows.map(({ value }) => value));
  } finally {
    await client.end();
  }
}

async function push({ root, dbUrl, home }: MigrateOptions, ...extra: string[]): Promise<void> {
  const program = fileURLToPath(new URL("../../node_modules/.bin/supabase", import.meta.url));
  const remote = `--remote=${dbUrl}?sslmode=disable`;
  const child = spawn(program, ["db", "push", remote, "--yes", "--workdir", root, ...extra], {
    env: { PATH: process.env.PATH, HOME: home, SUPABASE_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", NO_COLOR: "1" },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output += chunk);
  const [code] = await once(child, "close");
  if (code !== 0) {
    throw new Error(`supabase db push ended with exit code ${code}:\n${output.trim().replaceAll(dbUrl, "<database>")}`);
  }
}
