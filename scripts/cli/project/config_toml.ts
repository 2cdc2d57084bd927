// supabase/config.toml: read by a library, changed as text, so that nothing of the user's is formatted anew.
import { parse } from "smol-toml";
import { type Change, CONFIG, FOLDER, Refusal } from "./project.ts";
import { FUNCTIONS } from "./payload.ts";

const COMMENT = "# Audit logs: npx supabase-audit-logs --help";
/** Secrets that `supabase db push` puts into the Vault, where the schedules find them. */
const VAULT = ["audit_jobs_url", "audit_jobs_secret"] as const;

type Config = {
  project_id?: string;
  api?: { schemas?: string[] };
  functions?: Record<string, { entrypoint?: string } | undefined>;
  db?: { vault?: Record<string, unknown> };
};

export function parseConfig(text: string): Config {
  try {
    return parse(text) as Config;
  } catch (error) {
    throw new Refusal(`${CONFIG} cannot be read: ${(error as Error).message.split("\n")[0]}`);
  }
}

/** Adds what is missing: the functions, and the two secrets of the Vault. */
export function withInstallation(text: string): Change[] {
  const config = parseConfig(text);
  const conflicts: Change[] = [];
  const blocks: string[] = [];
  for (const name of FUNCTIONS) {
    const there = config.functions?.[name];
    if (there === undefined) blocks.push(functionBlock(name));
    else if (there.entrypoint !== entrypoint(name)) {
      conflicts.push({
        change: "conflict",
        path: CONFIG,
        reason: `there is another function ${name}. Rename it, or take [functions.${name}] out.`,
      });
    }
  }
  if (conflicts.length > 0) return conflicts;
  let wanted = text;
  const missing = VAULT.filter((name) => config.db?.vault?.[name] === undefined);
  if (missing.length > 0) {
    const lines = missing.map((name) => `${name} = "env(${name.toUpperCase()})"\n`).join("");
    const header = /^[ \t]*\[db\.vault\][ \t]*(#.*)?\r?\n/m.exec(text);
    if (header === null) blocks.push(`[db.vault]\n${lines}`);
    else {
      const at = header.index + header[0].length;
      wanted = text.slice(0, at) + inLinesOf(text, lines) + text.slice(at);
    }
  }
  if (blocks.length > 0) {
    const gap = wanted === "" || wanted.endsWith("\n") ? "\n" : "\n\n";
    wanted += inLinesOf(text, `${gap}${COMMENT}\n${blocks.join("\n")}`);
  }
  return changeTo(text, wanted);
}

/** Takes our lines out again, where they stand as they were added. */
export function withoutInstallation(text: string): { changes: Change[]; left: string[] } {
  let wanted = text.replaceAll("\r\n", "\n");
  for (const name of FUNCTIONS) {
    wanted = wanted.replace(`\n${functionBlock(name)}`, "\n").replace(functionBlock(name), "");
  }
  for (const name of VAULT) wanted = wanted.replace(`${name} = "env(${name.toUpperCase()})"\n`, "");
  wanted = wanted.replace(/\[db\.vault\]\n(?=\s*$)/, "").replace(COMMENT, "").replace(/\n{2,}$/, "\n");
  const config = parseConfig(wanted);
  const left = FUNCTIONS.filter((name) => config.functions?.[name]?.entrypoint === entrypoint(name));
  return { changes: changeTo(text, inLinesOf(text, wanted)), left: left.map((name) => `[functions.${name}]`) };
}

function changeTo(text: string, wanted: string): Change[] {
  if (wanted === text) return [];
  try {
    parse(wanted);
  } catch {
    return [{
      change: "conflict",
      path: CONFIG,
      reason: `its tables are written in a form that nothing can be added to. Add by hand:\n${
        wanted.slice(text.length)
      }`,
    }];
  }
  return [{ change: "replace", path: CONFIG, text: wanted }];
}

/** With the ends of lines that the file has. */
function inLinesOf(file: string, text: string): string {
  return /\r\n/.test(file) ? text.replaceAll(/\r?\n/g, "\r\n") : text;
}

const entrypoint = (name: string) => `./${FOLDER.slice("supabase/".length)}/${name}/index.ts`;

/** The functions verify tokens and secrets themselves: verify_jwt of the platform does not know asymmetric signing keys. */
function functionBlock(name: string): string {
  const folder = `./${FOLDER.slice("supabase/".length)}`;
  return `[functions.${name}]\nenabled = true\nverify_jwt = false\nentrypoint = "${entrypoint(name)}"\n` +
    `import_map = "${folder}/${name}/deno.json"\n`;
}
