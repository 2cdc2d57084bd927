// What the package brings into a project: the migration and the functions.
import { createHash } from "node:crypto";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { VERSION } from "../../../functions/_shared/version.ts";

/** The functions, by their names in supabase/config.toml and in their URLs. */
export const FUNCTIONS = ["audit", "audit-ingest", "audit-jobs", "audit-viewer"] as const;

export type Payload = {
  version: string;
  /** The whole source; it installs, and brings any earlier version up to date. */
  migration: string;
  /** Texts by their path below the folder of the functions. */
  files: Map<string, string>;
};

/** Reads the folder of the package. */
export async function readPayload(folder: string): Promise<Payload> {
  const functions = join(folder, "functions");
  const files = new Map<string, string>();
  for (const entry of await readdir(functions, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(path.slice(functions.length + 1).replaceAll("\\", "/"), await readFile(path, "utf8"));
  }
  return { version: VERSION, migration: await readFile(join(folder, "migration.sql"), "utf8"), files };
}

/** SHA-256 in hex; the same whatever the ends of lines are, which git may change. */
export function digest(text: string): string {
  return createHash("sha256").update(text.replaceAll("\r\n", "\n")).digest("hex");
}
