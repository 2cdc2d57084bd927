// Where backups go, and with which keys they are encrypted, as the environment says it.
import { type Archive, ArchiveError } from "../_shared/archive/archive.ts";
import { parseS3, s3Archive } from "../_shared/archive/s3_archive.ts";
import { BackupError, type BackupKeys, parseBackupKeys } from "../_shared/backup_format.ts";
import { Problem } from "../_shared/problem.ts";

/** The bucket of the project's own Storage. */
export const BACKUP_BUCKET = "audit-backups";

export type BackupSettings = { keys: BackupKeys; storage: Archive };

export type BackupOptions = {
  setting(name: string): string | undefined;
  /** A bucket of the project's own Storage. */
  openBucket(bucket: string): Archive;
};

/** Throws a Problem where a setting is missing or cannot be used. What is wrong is named and never quoted. */
export function readBackupSettings({ setting, openBucket }: BackupOptions): BackupSettings {
  const keys = setting("AUDIT_BACKUP_KEY");
  const s3 = setting("AUDIT_BACKUP_S3");
  if (keys === undefined) {
    throw new Problem("not_configured", "AUDIT_BACKUP_KEY is missing: no backup can be made.", {
      hint: "Make one with npm run keygen -- --archive, set it as a secret of the project, and keep a copy elsewhere.",
    });
  }
  try {
    return {
      keys: parseBackupKeys(keys),
      storage: s3 === undefined ? openBucket(BACKUP_BUCKET) : s3Archive(parseS3(s3)),
    };
  } catch (error) {
    if (!(error instanceof BackupError || error instanceof ArchiveError)) {
      throw error;
    }
    throw new Problem("not_configured", error.message.replace("AUDIT_S3", "AUDIT_BACKUP_S3"));
  }
}
