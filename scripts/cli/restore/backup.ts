// A backup, read from its files: whole and authentic, or not at all.
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { type BackupKeys, type BackupRow, END_SECTION, readBackup } from "../../../functions/_shared/backup_format.ts";

/** What the rebuilding of a log looks at; all else goes to the database as it is. */
export type BackupLog = {
  origin: string;
  opened_at: string;
  sealed_at: string | null;
  closed_at: string | null;
  archive_deletion_began_at?: string | null;
  archive_deleted_at?: string | null;
};
export type BackupCheckpoint = { origin: string; size: number; root: string; frontier: string; note: string | null };
export type BackupBound = { organization_id: string; chain: number; seq: number; hash: string };
export type BackupHead = BackupBound & { last_at: string; prev_hash: string };

export type Backup = {
  madeAt: string;
  incarnation: number;
  /** Entries that waited to be sealed, and were too many. */
  entriesLeftOut: number;
  sha256: string;
  /** Rows as JSON, of all sections but the large ones. */
  sections: Map<string, string[]>;
  /** The rows of the large ones, read once more. */
  large(): AsyncGenerator<BackupRow>;
};

const LARGE = new Set(["identities", "personal_values", "entries"]);

/** Reads to the end, so that what follows works with a backup of which every byte was verified. */
export async function openBackupFiles(files: string[], keys: BackupKeys): Promise<Backup> {
  const hash = createHash("sha256");
  const sections = new Map<string, string[]>();
  for await (const { section, row } of readBackup(keys, bytesOf(files, (bytes) => hash.update(bytes)))) {
    if (LARGE.has(section) || section === END_SECTION) continue;
    const rows = sections.get(section);
    if (rows === undefined) sections.set(section, [row]);
    else rows.push(row);
  }
  const header = JSON.parse(sections.get("backup")![0]!);
  return {
    madeAt: header.made_at,
    incarnation: header.incarnation,
    entriesLeftOut: header.entries_left_out,
    sha256: hash.digest("hex"),
    sections,
    async *large() {
      for await (const each of readBackup(keys, bytesOf(files))) if (LARGE.has(each.section)) yield each;
    },
  };
}

/** The rows of a section, parsed: none where there is no backup. */
export function rowsOf<T>(backup: Backup | undefined, section: string): T[] {
  return (backup?.sections.get(section) ?? []).map((row) => JSON.parse(row) as T);
}

async function* bytesOf(files: string[], onBytes?: (bytes: Uint8Array) => void): AsyncGenerator<Uint8Array> {
  for (const file of files) {
    for await (const bytes of createReadStream(file, { highWaterMark: 262_144 })) {
      onBytes?.(bytes);
      yield bytes;
    }
  }
}
