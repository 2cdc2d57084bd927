// A Supabase project on disk, and changes to it: first all of them are known, then all are made, or none.
import { chmod, mkdir, readdir, readFile, rm, rmdir, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

/** Where the functions lie; the underscore keeps the Supabase CLI from taking the folder for a function. */
export const FOLDER = "supabase/functions/_audit-logs";
export const MANIFEST = `${FOLDER}/manifest.json`;
export const CONFIG = "supabase/config.toml";
export const MIGRATIONS = "supabase/migrations";

/** What was installed, so that an upgrade can tell what was changed by hand since. Kept in the project, beside the functions. */
export type Manifest = {
  version: string;
  /** Digest of each file of the functions as it was installed. */
  files: Record<string, string>;
  /** The migrations that were added, oldest first. */
  migrations: { file: string; digest: string }[];
};

export type Project = {
  root: string;
  config: string;
  manifest: Manifest | null;
  /** The reference of the hosted project that this one is linked to. */
  linked: string | null;
  /** Names of the files in supabase/migrations, in order. */
  migrations: string[];
  /** The text of a file, null where there is none. */
  read(path: string): Promise<string | null>;
};

export type Change =
  | { change: "create" | "replace"; path: string; text: string; mode?: number }
  | { change: "delete"; path: string }
  /** Something of the user's own stands in the way. */
  | { change: "conflict"; path: string; reason: string };

/** An error that is said without a stack: the user can do something about it. */
export class Refusal extends Error {}

export async function openProject(workdir: string): Promise<Project> {
  const root = resolve(workdir);
  const read = (path: string) =>
    readFile(join(root, path), "utf8").catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT" || error.code === "ENOTDIR") return null;
      throw error;
    });
  const config = await read(CONFIG);
  if (config === null) {
    throw new Refusal(
      `There is no ${CONFIG} in ${root}. Run this where the project's supabase folder is, or name it with --workdir; ` +
        "a new project begins with `supabase init`.",
    );
  }
  const manifest = await read(MANIFEST);
  const linked = (await read("supabase/.temp/project-ref"))?.trim() ??
    (await read("supabase/.temp/linked-project.json"))?.match(/"ref":\s*"(\w+)"/)?.[1] ?? null;
  const migrations = await readdir(join(root, MIGRATIONS)).catch(() => [] as string[]);
  return {
    root,
    config,
    manifest: manifest === null ? null : JSON.parse(manifest) as Manifest,
    linked,
    migrations: migrations.filter((name) => /^\d+_.*\.sql$/.test(name)).sort(),
    read,
  };
}

/** Migrations of the project since the product was last taken out of it; all, where it never was. */
export function currentMigrations({ migrations }: Project): string[] {
  const isRemoval = migrations.map((name) => /_audit_logs_(stopped|dropped)\.sql$/.test(name));
  return migrations.slice(isRemoval.lastIndexOf(true) + 1);
}

/** A migration's name, later than the newest of the project and not earlier than now. */
export function migrationName({ migrations }: Project, name: string): string {
  const now = new Date().toISOString().replaceAll(/\D/g, "").slice(0, 14);
  const newest = /^\d+/.exec(migrations.at(-1) ?? "")?.[0] ?? "0";
  const next = newest.length === 14 && newest >= now ? String(BigInt(newest) + 1n) : now;
  return `${next}_${name}.sql`;
}

export async function apply({ root }: Project, changes: Change[]): Promise<void> {
  for (const each of changes) {
    if (each.change === "conflict") throw new Refusal(`${each.path}: ${each.reason}`);
  }
  for (const each of changes) {
    const path = join(root, each.path);
    if (each.change === "delete") {
      await rm(path);
      await removeEmptyFolders(root, dirname(each.path));
    } else if (each.change !== "conflict") {
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, each.text, { mode: each.mode ?? 0o644 });
      if (each.mode !== undefined) await chmod(path, each.mode);
    }
  }
}

/** From this folder up to that of our functions, as far as nothing is in them any more. */
async function removeEmptyFolders(root: string, folder: string): Promise<void> {
  for (; folder.startsWith(FOLDER); folder = dirname(folder)) {
    const isGone = await rmdir(join(root, folder)).then(() => true, () => false);
    if (!isGone) return;
  }
}
