// The archive that is restored from: a folder, as it was downloaded or mirrored.
import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { TlogError } from "../../../functions/_shared/tlog/error.ts";
import { parseCheckpoint } from "../../../functions/_shared/tlog/checkpoint.ts";
import { parseNote } from "../../../functions/_shared/tlog/note.ts";
import { encodeText } from "../../../functions/_shared/tlog/text.ts";
import { LogFiles, type Read } from "../verify/files.ts";
import type { Target } from "../verify/target.ts";

export type Source = {
  /** Of logs: "anchor", "<organization_id>/<yyyy-mm>". */
  folders(): Promise<string[]>;
  /** An object by its path; null where there is none. */
  read: Read;
};

export type TargetOptions = {
  /** Signed checkpoints that were kept elsewhere, by folder: used where the archive has an older one, or none to read. */
  kept?: Map<string, string>;
  /** Folders that were being deleted: of those there is a checkpoint at most. */
  expired?: Set<string>;
};

const LOG_FOLDER = /^(?:anchor|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\/\d{4}-(?:0[1-9]|1[0-2]))$/;

export function folderSource(folder: string): Source {
  return {
    async folders() {
      const found: string[] = [];
      for (const name of await readdir(folder)) {
        if (name === "anchor") found.push(name);
        for (const month of await readdir(join(folder, name)).catch(() => [])) found.push(`${name}/${month}`);
      }
      return found.filter((name) => LOG_FOLDER.test(name)).sort();
    },
    async read(path, limit) {
      const file = join(folder, path);
      const found = await stat(file).catch(() => undefined);
      if (!found?.isFile()) return null;
      if (found.size > limit) throw new TlogError("too_large", `${path} has ${found.size} bytes`);
      return new Uint8Array(await readFile(file));
    },
  };
}

/** What of a source is verified and read: its logs, months from the oldest. */
export async function targetOf(source: Source, { kept, expired }: TargetOptions = {}): Promise<Target> {
  const files = (folder: string) => new LogFiles(readerOf(source, folder, kept?.get(folder), expired), folder);
  const organizations = new Map<string, { month: string; files: LogFiles }[]>();
  const folders = await source.folders();
  for (const folder of folders.filter((name) => name !== "anchor").sort()) {
    const [organizationId, month] = folder.split("/") as [string, string];
    const months = organizations.get(organizationId) ?? [];
    organizations.set(organizationId, [...months, { month, files: files(folder) }]);
  }
  return {
    kind: "archive",
    organizations: [...organizations].map(([organizationId, months]) => ({ organizationId, months })),
    ...(folders.includes("anchor") ? { anchor: files("anchor") } : {}),
  };
}

function readerOf(source: Source, folder: string, kept: string | undefined, expired?: Set<string>): Read {
  return async (path, limit) => {
    if (path !== "checkpoint") return expired?.has(folder) ? null : source.read(`${folder}/${path}`, limit);
    const own = await source.read(`${folder}/${path}`, limit);
    return kept !== undefined && sizeOf(kept) > sizeOf(own) ? encodeText(kept) : own;
  };
}

/** Of a checkpoint that nobody has verified yet; less than any where it is none. */
function sizeOf(note: string | Uint8Array | null): number {
  try {
    return note === null ? -1 : parseCheckpoint(parseNote(note).text).size;
  } catch (error) {
    if (error instanceof TlogError) return -1;
    throw error;
  }
}
