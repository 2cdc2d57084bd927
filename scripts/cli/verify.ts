// Verifies an archive, receipts and exports, offline and with nothing trusted but the public key: see --help.
import { readFile } from "node:fs/promises";
import { Command, CommanderError, InvalidArgumentError } from "commander";
import { ArchiveError } from "../../functions/_shared/archive/archive.ts";
import { TlogError } from "../../functions/_shared/tlog/error.ts";
import { startProgress } from "./verify/progress.ts";
import { runVerification, UsageError } from "./verify/run.ts";
import { showReport } from "./verify/show.ts";

type Options = {
  key: string[];
  month?: string;
  receipt: string[];
  entry?: string;
  anchor?: string;
  old: string[];
  export?: string;
  archiveKeyFile?: string;
  tokenFile?: string;
  witnessPolicy?: string;
  fromIndex: number;
  database?: string;
  threads?: number;
  json?: boolean;
};

const [PROVED, DOUBT, USAGE] = [0, 1, 2];

const HELP = `
What can be verified:
  a folder           a downloaded archive: whole, one organisation's, or one log's folder
  a URL              …/functions/v1/audit/archive/<organization_id>/<yyyy-mm>, and from it the months before
  --receipt <file>   that an entry is in a log; alone, or against an archive
  --anchor <file>    with a receipt: that its log is in the anchor log, which witnesses cosign
  --export <folder>  a downloaded export: manifest.json, manifest.note and its parts; alone, or against an archive;
                     the same for a report's evidence pack, unpacked, and the certificate of an erasure

Every entry is hashed again and everything above it recomputed: hash tiles are compared, never believed. No other
program and no network is needed for a folder.

It exits with 0 if everything that was asked for was proved, 1 on any doubt, 2 on wrong usage.

Examples:
  npm run verify -- ./archive --key 'example.com/audit+530d903a+AekyeRrm…'
  npm run verify -- ./archive --key <vkey> --old last-month.checkpoint --json
  npm run verify -- --receipt 3-17.tlog-proof --entry 3-17.json --key <vkey>
  AUDIT_TOKEN=… npm run verify -- https://<project>.supabase.co/functions/v1/audit/archive/<organization_id>/2026-11 --key <vkey>`;

const program = new Command("npm run verify --").description(
  "Verifies audit logs offline. Trusts the public key of the log, and nothing else.",
).argument("[folder or URL]", "the archive").requiredOption(
  "--key <vkey>",
  "the log's public key, as npm run keygen prints it; repeat it for a key that was rotated",
  collect,
  [],
).option("--receipt <file>", "a receipt (.tlog-proof); may be repeated", collect, []).option(
  "--entry <file>",
  "the entry text that the receipt is for; else that of the archive, else what the receipt holds",
).option("--anchor <file>", "the anchor log's receipt of the log that the receipt is of")
  .option("--old <file>", "a checkpoint that you kept: the archive must continue it; may be repeated", collect, [])
  .option("--export <folder>", "a downloaded export").option(
    "--database <url>",
    "compare every entry of the database with the archive, too",
  ).option("--witness-policy <file>", "who must have cosigned (C2SP tlog-policy)").option(
    "--archive-key-file <file>",
    "the keys of an encrypted archive, as in AUDIT_ARCHIVE_KEY; or that variable",
  ).option("--token-file <file>", "the bearer token for a URL; or AUDIT_TOKEN").option(
    "--month <yyyy-mm>",
    "of a URL that ends with the organisation: the newest month",
    parseMonth,
  ).option("--from-index <number>", "bundles that end before this entry are gone: use their hashes", parseIndex, 0)
  .option("--threads <number>", "0: none (default: one a processor)", parseIndex).option(
    "--json",
    "print the report as JSON",
  ).addHelpText("after", HELP).exitOverride().action(verify);

try {
  await program.parseAsync();
} catch (error) {
  // Commander has said what is wrong with the arguments, or printed the help.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : USAGE;
  else {
    console.error(`Error: ${(error as Error).message}`);
    // Keys and policies that cannot be used; what is wrong with what was to be verified is a finding, and no error.
    const isUsage = [UsageError, TlogError, ArchiveError].some((kind) => error instanceof kind);
    process.exitCode = isUsage ? USAGE : DOUBT;
  }
}

async function verify(target: string | undefined, options: Options): Promise<void> {
  if (options.key.length === 0) throw new UsageError("Give the log's public key with --key.");
  if (target === undefined && options.receipt.length === 0 && options.export === undefined) {
    throw new UsageError("Say what to verify: a folder, a URL, --receipt or --export. --help tells more.");
  }
  if (target === undefined && (options.old.length > 0 || options.database !== undefined)) {
    throw new UsageError("--old and --database are compared with an archive: give its folder or URL.");
  }
  if (options.entry !== undefined && options.receipt.length !== 1) {
    throw new UsageError("--entry belongs to one --receipt.");
  }
  if (options.anchor !== undefined && options.receipt.length !== 1) {
    throw new UsageError("--anchor belongs to one --receipt.");
  }
  const progress = startProgress();
  const report = await runVerification({
    target,
    keys: options.key,
    month: options.month,
    receiptFiles: options.receipt,
    entryFile: options.entry,
    anchorFile: options.anchor,
    oldFiles: options.old,
    exportFolder: options.export,
    archiveKeys: await contentOf(options.archiveKeyFile) ?? process.env["AUDIT_ARCHIVE_KEY"],
    token: (await contentOf(options.tokenFile) ?? process.env["AUDIT_TOKEN"])?.trim(),
    policy: await contentOf(options.witnessPolicy),
    fromIndex: options.fromIndex,
    database: options.database,
    threads: options.threads,
  }, progress).finally(() => progress.stop());
  console.log(options.json ? JSON.stringify(report, null, 2) : showReport(report));
  process.exitCode = report.verified ? PROVED : DOUBT;
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

function parseIndex(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError("it is a whole number from 0.");
}

function parseMonth(text: string): string {
  if (/^\d{4}-(0[1-9]|1[0-2])$/.test(text)) return text;
  throw new InvalidArgumentError("a month is like 2026-11.");
}
