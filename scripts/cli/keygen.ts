// Makes the keys of a deployment: the one that signs logs, and the one that encrypts archives. See --help.
import { randomBytes } from "node:crypto";
import { readFile, writeFile } from "node:fs/promises";
import { Command, CommanderError } from "commander";
import { TlogError } from "../../functions/_shared/tlog/error.ts";
import {
  formatSignerKey,
  formatVerifierKey,
  generateKey,
  isKeyName,
  parseSignerKey,
} from "../../functions/_shared/tlog/key.ts";

type Options = { out?: string; archive?: boolean; public?: string };

const HELP = `
The signing key:
  npm run keygen -- example.com/audit --out log.key
    The name is that of the deployment, and the first part of every log's name: a URL without scheme that is yours, no
    spaces, no plus sign. It stays the same when the key changes.
    log.key is the secret that signs every checkpoint; whoever has it can sign another history.
      supabase secrets set AUDIT_LOG_KEY="$(cat log.key)"
    Keep a copy where neither the database nor its owner reaches, and delete the file.
    The other line is the public key (vkey). Publish it, and hand it to whoever verifies: npm run verify -- … --key <vkey>

To change it, put the new key behind the old one in AUDIT_LOG_KEY, with a space between them: both sign. When everybody
has the new vkey, take the old one out, and put its vkey into AUDIT_LOG_VKEYS: what it signed is continued. If it was
stolen, do that at once, and tell which checkpoint was the last good one: checkpoints kept elsewhere, receipts and
witnesses still tell the real history from a forged one. If it was lost, do the same with a new key.

The archive's encryption key, and that of backups (AUDIT_BACKUP_KEY), which is made alike:
  npm run keygen -- --archive --out archive.key
    supabase secrets set AUDIT_ARCHIVE_KEY="$(cat archive.key)"
    Without it nobody reads the archive again, you included. To change it, put the new one before the old one.

Examples:
  npm run keygen -- --public log.key          the vkey of a signing key`;

const program = new Command("npm run keygen --")
  .description("Makes the keys of a deployment. Nothing is sent anywhere.")
  .argument("[name]", "name of the deployment, like example.com/audit")
  .option("--out <file>", "write the secret to a file that only you can read; one that is there is never written over")
  .option("--archive", "a key that encrypts archives, in place of one that signs")
  .option("--public <file>", "print the public keys of the signing keys in a file")
  .addHelpText("after", HELP)
  .exitOverride()
  .action(keygen);

try {
  await program.parseAsync();
} catch (error) {
  // Commander has said what is wrong with the arguments, or printed the help.
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    console.error(`Error: ${(error as Error).message}`);
    process.exitCode = 2;
  }
}

async function keygen(name: string | undefined, options: Options): Promise<void> {
  const asked = [name !== undefined, options.archive, options.public !== undefined].filter(Boolean).length;
  if (asked !== 1) throw new Error("Give a name, or --archive, or --public. --help tells more.");
  if (options.public !== undefined) return printPublic(options.public);
  if (options.archive) {
    await deliver(randomBytes(32).toString("base64"), options.out);
    console.error("Next: set it as AUDIT_ARCHIVE_KEY of the functions, and keep a copy elsewhere. --help tells more.");
    return;
  }
  if (!isKeyName(name!) || /^[a-z]+:\/\/|\/$/.test(name!)) {
    throw new Error(
      "A name is a URL without scheme, like example.com/audit: no spaces, no plus sign, no slash at the end.",
    );
  }
  const key = generateKey(name!, "note");
  await deliver(formatSignerKey(key), options.out);
  console.log(formatVerifierKey(key));
  console.error(
    options.out === undefined
      ? "Line 1 is the secret: set it as AUDIT_LOG_KEY of the functions. Line 2 is public: verifiers need it. --help tells more."
      : `The secret is in ${options.out}: set it as AUDIT_LOG_KEY of the functions. The line above is public: verifiers need ` +
        "it. --help tells more.",
  );
}

async function printPublic(file: string): Promise<void> {
  const keys = (await readFile(file, "utf8")).split(/\s+/).filter((word) => word !== "");
  if (keys.length === 0) throw new TlogError("malformed_key", `${file} holds no key`);
  for (const key of keys) console.log(formatVerifierKey(parseSignerKey(key, "note")));
}

async function deliver(secret: string, out: string | undefined): Promise<void> {
  if (out === undefined) return console.log(secret);
  await writeFile(out, `${secret}\n`, { flag: "wx", mode: 0o600 }).catch((error: NodeJS.ErrnoException) => {
    throw error.code === "EEXIST"
      ? new Error(`${out} is there already, and perhaps a key: it was not touched.`)
      : error;
  });
}
