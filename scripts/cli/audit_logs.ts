// The command of the npm package: npx supabase-audit-logs init | doctor | upgrade | uninstall, and verify, keygen and
// restore, which are programs of their own beside it. See --help.
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { Command, CommanderError } from "commander";
import { parseConfig } from "./project/config_toml.ts";
import { connectTo, diagnose, type Diagnosis } from "./project/doctor.ts";
import { conflicts, planInstallation } from "./project/install.ts";
import { type Payload, readPayload } from "./project/payload.ts";
import {
  apply,
  type Change,
  currentMigrations,
  MIGRATIONS,
  openProject,
  type Project,
  Refusal,
} from "./project/project.ts";
import { planSecrets, SECRETS } from "./project/secrets.ts";
import { suggest, type Suggestion } from "./project/suggest.ts";
import { LOG_SCHEMA, LOG_TABLE, planRemoval } from "./project/uninstall.ts";
import { VERSION } from "../../functions/_shared/version.ts";

type Common = { workdir: string; dryRun?: boolean; json?: boolean };
type InitOptions = Common & { secrets?: boolean; name?: string; projectRef?: string; dbUrl?: string };
type UninstallOptions = Common & { dropTable?: string; dropSchema?: string };
type DoctorOptions = { workdir: string; dbUrl?: string; schemas?: string; json?: boolean };

const HELP = `
Into an existing project, beside its supabase folder:
  npx supabase-audit-logs init --secrets
  supabase db push --remote
  supabase secrets set --env-file supabase/.env.local
  supabase functions deploy --use-api
  npx supabase-audit-logs doctor "$DATABASE_URL"

Exit codes: 0 done, or all well · 1 something is in the way, or wrong · 2 wrong arguments, or it could not be done.`;

const program = new Command("supabase-audit-logs")
  .description("Puts a tamper-evident audit log into a Supabase project. Files only; your own commands apply them.")
  .version(VERSION)
  .addHelpText("after", HELP)
  .exitOverride((error) => {
    // A program of its own ended with this code; commander has nobody to throw it to.
    if (error.code !== "commander.executeSubCommandAsync") throw error;
    process.exitCode = error.exitCode;
  });

withCommon(program.command("init"))
  .description("add migration, functions and their settings to the project; what is there stays")
  .option("--secrets", `make the secrets that are missing, in ${SECRETS}, which git ignores`)
  .option("--name <name>", "the log's name in its signatures, like example.com/audit; it stays for ever")
  .option("--project-ref <ref>", "the project's reference, where it is not linked")
  .option("--db-url <url>", "look into this database and say which tables could be tracked, and how")
  .action(init);

withCommon(program.command("upgrade"))
  .description("bring migration and functions to the package's version; what you changed stays, and is named")
  .action(upgrade);

withCommon(program.command("uninstall"))
  .description("take the functions out, and add a migration that stops capture; the log stays")
  .option("--drop-table <name>", `delete the log, too: ${LOG_TABLE}; only together with --drop-schema`)
  .option("--drop-schema <name>", `and all that verifies it: ${LOG_SCHEMA}`)
  .action(uninstall);

program.command("doctor")
  .description("whether an installation is whole: one line a check, with the way out")
  .argument("[database-url]", "direct connection as role postgres; else $DATABASE_URL")
  .option("--db-url <url>", "the same")
  .option("--schemas <names>", "schemas whose tables should be tracked; else those that the API exposes")
  .option("--workdir <folder>", "where the supabase folder is", ".")
  .option("--json", "answer as JSON")
  .action(doctor);

for (
  const [name, what] of [
    ["verify", "verify an archive, receipts and exports, trusting nothing but the log's public key"],
    ["keygen", "make the keys that sign logs and encrypt archives"],
    ["restore", "make a lost log again from its archive and a backup, or bring back old entries"],
  ] as const
) program.command(name, what, { executableFile: `${name}${extname(import.meta.url)}` });

process.stdout.on("error", () => {});
try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    console.error(`Error: ${(error as Error).message}`);
    process.exitCode = error instanceof Refusal ? 1 : 2;
  }
}

function withCommon(command: Command): Command {
  return command
    .option("--workdir <folder>", "where the supabase folder is", ".")
    .option("--dry-run", "say what would change, and change nothing")
    .option("--json", "answer as JSON");
}

async function init(options: InitOptions): Promise<void> {
  const project = await openProject(options.workdir);
  const payload = await readPayload(packageFolder());
  if (project.manifest !== null && project.manifest.version !== payload.version) {
    throw new Refusal(
      `Version ${project.manifest.version} is installed, this is ${payload.version}. Run: npx supabase-audit-logs upgrade`,
    );
  }
  if (project.manifest === null) await refuseEarlier(project, payload);
  const { changes, migration } = await planInstallation(project, payload);
  const secrets = options.secrets
    ? await planSecrets(project, {
      ...(options.name === undefined ? {} : { name: options.name }),
      ...(options.projectRef === undefined ? {} : { ref: options.projectRef }),
    })
    : { changes: [], made: {} };
  const found = options.dbUrl === undefined ? null : await inspect(options.dbUrl, payload, schemasOf(project));
  await finish(project, [...changes, ...secrets.changes], options, {
    next: nextSteps(project, migration, changes.length > 0, options.secrets ?? false),
    ...secrets.made,
    ...(found === null ? {} : { suggestions: found.tables, membership: found.membership }),
  });
}

/** A migration of ours that is neither this one nor known to a manifest was put there by hand, and is an upgrade's matter. */
async function refuseEarlier(project: Project, payload: Payload): Promise<void> {
  for (const name of currentMigrations(project)) {
    const text = await project.read(`${MIGRATIONS}/${name}`) ?? "";
    if (/^-- Generated from sql\/\*\.sql/.test(text) && text !== payload.migration) {
      throw new Refusal(`${MIGRATIONS}/${name} is an earlier installation. Run: npx supabase-audit-logs upgrade`);
    }
  }
}

async function upgrade(options: Common): Promise<void> {
  const project = await openProject(options.workdir);
  const payload = await readPayload(packageFolder());
  const byHand = currentMigrations(project).some((name) => name.endsWith("_audit_logs.sql"));
  if (project.manifest === null && !byHand) {
    throw new Refusal("Nothing is installed here. Run: npx supabase-audit-logs init");
  }
  const { changes, migration } = await planInstallation(project, payload);
  await finish(project, changes, options, {
    from: project.manifest?.version ?? "an installation by hand",
    to: payload.version,
    next: nextSteps(project, migration, changes.length > 0, false),
  });
}

async function uninstall(options: UninstallOptions): Promise<void> {
  const dropLog = options.dropTable === LOG_TABLE && options.dropSchema === LOG_SCHEMA;
  if (!dropLog && (options.dropTable !== undefined || options.dropSchema !== undefined)) {
    throw new Refusal(
      `To delete the log for good, say both: --drop-table ${LOG_TABLE} --drop-schema ${LOG_SCHEMA}. Without them it stays.`,
    );
  }
  const project = await openProject(options.workdir);
  const { changes, left } = await planRemoval(project, dropLog);
  await finish(project, changes, options, {
    left,
    log: dropLog ? "is deleted by the migration" : "stays, and can be read and verified in the database",
    next: [
      push(project),
      "supabase functions delete audit audit-ingest audit-jobs audit-viewer",
      ...dropLog ? [] : ["keep AUDIT_LOG_KEY's public key: it verifies the archive"],
    ],
  });
}

async function doctor(argument: string | undefined, options: DoctorOptions): Promise<void> {
  const url = argument ?? options.dbUrl ?? process.env.DATABASE_URL;
  if (url === undefined) throw new Error("Name the database: npx supabase-audit-logs doctor postgresql://…");
  const payload = await readPayload(packageFolder());
  const schemas = options.schemas?.split(",").map((name) => name.trim()) ??
    await openProject(options.workdir).then(schemasOf, () => ["public"]);
  const client = await connectTo(url);
  let diagnosis: Diagnosis;
  try {
    diagnosis = await diagnose(client, payload, schemas);
  } finally {
    await client.end();
  }
  const count = (state: string) => diagnosis.checks.filter((check) => check.state === state).length;
  if (options.json) console.log(JSON.stringify(diagnosis, null, 2));
  else {
    for (const { check, state, message, way_out } of diagnosis.checks) {
      console.log(`${state.padEnd(5)} ${check.padEnd(22)} ${message}`);
      if (way_out !== undefined) console.log(`${" ".repeat(28)} → ${way_out}`);
    }
    printSuggestions(diagnosis.suggestions, diagnosis.membership);
    console.log(`\n${count("ok")} ok, ${count("warn")} to know, ${count("fail")} wrong`);
  }
  if (count("fail") > 0) process.exitCode = 1;
}

async function inspect(url: string, payload: Payload, schemas: string[]) {
  const client = await connectTo(url);
  try {
    return await suggest(client, schemas, payload.migration);
  } finally {
    await client.end();
  }
}

/** What the API exposes is what an application writes to. */
function schemasOf({ config }: Project): string[] {
  return (parseConfig(config).api?.schemas ?? ["public"]).filter((name) => name !== "graphql_public");
}

function nextSteps(project: Project, migration: string | null, changed: boolean, secrets: boolean): string[] {
  return [
    ...migration === null ? [] : [push(project)],
    ...secrets ? [`supabase secrets set --env-file ${SECRETS}`] : [],
    ...changed ? ["supabase functions deploy --use-api"] : [],
  ];
}

/** The one of these commands whose target is the local stack unless told otherwise. */
function push({ linked }: Project): string {
  return linked === null ? "supabase db push" : "supabase db push --remote";
}

type Outcome =
  & { next: string[]; suggestions?: Suggestion[]; membership?: string | null; left?: string[] }
  & Record<string, unknown>;

/** Makes the changes, all or none, and says them. */
async function finish(project: Project, changes: Change[], options: Common, outcome: Outcome): Promise<void> {
  const refused = conflicts(changes);
  const made = changes.map(({ change, path }) => ({ change, path }));
  const done = refused.length === 0 && !options.dryRun;
  if (done) await apply(project, changes);
  // A key that was not written will never sign.
  else delete outcome.log_vkey;
  if (refused.length > 0) process.exitCode = 1;
  if (options.json) {
    console.log(
      JSON.stringify(
        { done, changes: made, conflicts: refused, ...outcome },
        null,
        2,
      ),
    );
    return;
  }
  if (refused.length > 0) {
    console.error(`Nothing was changed, because of:\n${refused.map((line) => `  ${line}`).join("\n")}`);
    return;
  }
  for (const line of summary(made)) console.log(line);
  const { next, suggestions, membership, left, ...rest } = outcome;
  for (const [name, value] of Object.entries(rest)) console.log(`${name.replaceAll("_", " ")}: ${value}`);
  for (const path of left ?? []) console.log(`left: ${path} was changed by hand; take it out yourself`);
  if (suggestions !== undefined) printSuggestions(suggestions, membership ?? null);
  if (changes.length === 0) console.log("Nothing to do: all of it is there.");
  else if (options.dryRun) console.log("Nothing was changed: this was a dry run.");
  if (next.length > 0) console.log(`\nNext:\n${next.map((command) => `  ${command}`).join("\n")}`);
}

/** A line a file, and one for all of the functions' files together. */
function summary(changes: { change: string; path: string }[]): string[] {
  const lines: string[] = [];
  const counts = new Map<string, number>();
  for (const { change, path } of changes) {
    if (path.startsWith("supabase/functions/")) counts.set(change, (counts.get(change) ?? 0) + 1);
    else lines.push(`  ${change.padEnd(8)} ${path}`);
  }
  for (const [change, count] of counts) {
    lines.push(`  ${change.padEnd(8)} supabase/functions/_audit-logs (${count} files)`);
  }
  return lines;
}

function printSuggestions(suggestions: Suggestion[], membership: string | null): void {
  if (suggestions.length === 0 && membership === null) return;
  console.log("\nTables that are not tracked. Run what fits, in the SQL editor or as a migration:\n");
  for (const { table, statement, note } of suggestions) {
    console.log(statement === null ? `-- ${table}: ${note}` : `${statement}\n  -- ${note}`);
  }
  if (membership !== null) {
    console.log(`${membership}\n  -- who reads what: roles admin, owner; member; all others see nothing`);
  }
}

/** Where the package lies. */
function packageFolder(): string {
  return fileURLToPath(new URL(".", import.meta.url));
}
