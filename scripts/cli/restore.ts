// Makes a lost log again from its archive and a backup, or brings back entries that retention has let go of: see --help.
import { readFile } from "node:fs/promises";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { BackupError } from "../../functions/_shared/backup_format.ts";
import { TlogError } from "../../functions/_shared/tlog/error.ts";
import { restore, restoreEntries } from "./restore/run.ts";
import { showEntries, showRebuilt } from "./restore/show.ts";
import { startProgress } from "./verify/progress.ts";
import { UsageError } from "./verify/run.ts";
import { showReport } from "./verify/show.ts";

type Options = {
  archive: string;
  database: string;
  key: string[];
  backup: string[];
  withoutBackup?: boolean;
  backupKeyFile?: string;
  archiveKeyFile?: string;
  old: string[];
  despiteFindings?: boolean;
  entries?: string;
  from?: Date;
  to?: Date;
  into: string;
  json?: boolean;
};

const [DONE, REFUSED, USAGE] = [0, 1, 2];

const HELP = `
A lost log, in an empty database:
  1. Make a project and install the product. Do not deploy the functions yet, and let nothing write. If the lost database may
     come back, take its functions the key away: two that seal would sign two histories.
  2. Download the archive (bucket audit-archive, or your mirror) into a folder, and the newest backup (bucket audit-backups):
     all of its parts. docs/retention.md has the commands.
  3. npm run restore -- --archive ./archive --backup backups/2026-11-23T02-29-00-123456Z.1 --database <url> --key <vkey> \\
       --backup-key-file backup.key
  4. Upload the archive into the new project, set the secrets, deploy the functions: sealing goes on where it was.

  The archive is verified by the public key before anything is written, every entry is compared again in the database, and all
  of it is one transaction: whatever goes wrong leaves the database as it was. Sealed entries come from the archive; entries
  that were not sealed, personal data and settings from the backup. Whom the log says was erased stays erased. What was
  written after both is lost, and a log.restored entry in every organisation's log says so: ask who was erased in that time.

Entries of a period that is no longer in the database, in a table beside the log:
  npm run restore -- --entries <organization_id> --from 2024-01-01 --to 2024-04-01 --archive ./archive --database <url> --key <vkey>
    Admins and auditors of the organisation read audit.restored_entries. When it is no longer needed: drop table.

It exits with 0 if it was restored, 1 if it was refused and nothing was written, 2 on wrong usage.`;

const program = new Command("npm run restore --").description(
  "Restores a log from its archive and a backup, or archived entries into a table.",
).requiredOption("--archive <folder>", "the archive, as it was downloaded").requiredOption(
  "--database <url>",
  "of role postgres",
).requiredOption("--key <vkey>", "the log's public key; repeat it for a key that was rotated", collect, []).option(
  "--backup <file>",
  "a part of the backup; repeat it for each part, in their order",
  collect,
  [],
).option("--without-backup", "from the archive alone: without personal data, settings, and what was not sealed").option(
  "--backup-key-file <file>",
  "the backup's keys, as in AUDIT_BACKUP_KEY; or that variable",
).option("--archive-key-file <file>", "the keys of an encrypted archive, as in AUDIT_ARCHIVE_KEY; or that variable")
  .option(
    "--old <file>",
    "a checkpoint that was kept elsewhere: the archive must continue it; may be repeated",
    collect,
    [],
  ).option(
    "--despite-findings",
    "also where something does not verify, as far as every entry is the one that was signed",
  ).option("--entries <organization>", "bring back entries of this organisation into a table").option(
    "--from <date>",
    "of the first of them (UTC)",
    parseDate,
  ).option("--to <date>", "of the first behind them (UTC)", parseDate).option(
    "--into <table>",
    "the table, with its schema",
    "audit.restored_entries",
  ).option("--json", "print what became of it as JSON").addHelpText("after", HELP).exitOverride().action(run);

try {
  await program.parseAsync();
} catch (error) {
  // Commander has said what is wrong with the arguments, or printed the help.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? DONE : USAGE;
  else {
    const { message, detail, hint } = error as Error & { detail?: string; hint?: string };
    console.error(`Error: ${[message, detail, hint].filter(Boolean).join(" ")}`);
    process.exitCode = error instanceof UsageError ? USAGE : REFUSED;
    if (error instanceof BackupError || error instanceof TlogError) console.error("Nothing was written.");
  }
}

async function run(options: Options): Promise<void> {
  const progress = startProgress();
  const watch = { progress, onStep: (step: string) => console.error(`  ${step} …`) };
  const common = {
    archive: options.archive,
    database: options.database,
    keys: options.key,
    archiveKeys: await contentOf(options.archiveKeyFile) ?? process.env["AUDIT_ARCHIVE_KEY"],
    oldFiles: options.old,
    despiteFindings: options.despiteFindings ?? false,
  };
  if (options.entries !== undefined) {
    const { entries: organizationId, from, to, into } = options;
    if (from === undefined || to === undefined) throw new UsageError("--entries needs --from and --to.");
    const outcome = await restoreEntries({ ...common, organizationId, from, to, into }, watch).finally(() =>
      progress.stop()
    );
    return finish(options, outcome, showEntries);
  }
  if (options.backup.length > 0 === (options.withoutBackup ?? false)) {
    throw new UsageError("Give the parts of a backup with --backup, or say --without-backup.");
  }
  const backupKeys = await contentOf(options.backupKeyFile) ?? process.env["AUDIT_BACKUP_KEY"];
  const outcome = await restore({ ...common, backupFiles: options.backup, backupKeys }, watch).finally(() =>
    progress.stop()
  );
  finish(options, outcome, showRebuilt);
}

type Shown<T> = { verification: Parameters<typeof showReport>[0]; restored?: T };

function finish<T>({ json }: Options, outcome: Shown<T>, show: (restored: T) => string): void {
  const { verification, restored } = outcome;
  if (json) console.log(JSON.stringify(outcome, null, 2));
  else if (restored !== undefined) console.log(show(restored));
  else console.log(`${showReport(verification)}\n\nNothing was written: the archive does not verify.`);
  process.exitCode = restored === undefined ? REFUSED : DONE;
}

function contentOf(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return Promise.resolve(undefined);
  return readFile(file, "utf8").catch(() => {
    throw new UsageError(`${file} cannot be read.`);
  });
}

function collect(value: string, before: string[]): string[] {
  return [...before, value];
}

function parseDate(text: string): Date {
  const date = new Date(/^\d{4}-\d\d-\d\d$/.test(text) ? `${text}T00:00:00Z` : text);
  if (/^\d{4}-\d\d-\d\d(T.*(Z|[+-]\d\d:\d\d))?$/.test(text) && !Number.isNaN(date.getTime())) return date;
  throw new InvalidArgumentError("it is a date like 2024-01-01, or a time like 2024-01-01T12:00:00Z.");
}
