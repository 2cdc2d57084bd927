// Secrets of a new installation, made here and sent nowhere, in an env file that git ignores.
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { basename, dirname, join } from "node:path";
import { formatSignerKey, formatVerifierKey, generateKey, isKeyName } from "../../../functions/_shared/tlog/key.ts";
import { parseConfig } from "./config_toml.ts";
import { type Change, type Project, Refusal } from "./project.ts";

/** The Supabase CLI reads it by itself when it pushes, for the two of the Vault. */
export const SECRETS = "supabase/.env.local";

/** `made` is what of them may be said: where the schedules call, and the log's public key. */
export type Secrets = { changes: Change[]; made: Record<string, string> };

/** Adds the secrets that the file lacks; what stands there stays. `name` is the log's, `ref` the project's reference. */
export async function planSecrets(project: Project, given: { name?: string; ref?: string }): Promise<Secrets> {
  const old = await project.read(SECRETS) ?? "";
  const has = (name: string) => new RegExp(`^\\s*(export\\s+)?${name}\\s*=`, "m").test(old);
  const ref = given.ref ?? project.linked;
  const url = ref === null ? `http://127.0.0.1:${localPort(project.config)}` : `https://${ref}.supabase.co`;
  const name = given.name ?? `${new URL(url).hostname}/audit`;
  if (!isKeyName(name) || /^[a-z]+:\/\/|\/$/.test(name)) {
    throw new Refusal(`A log's name is a URL without scheme that is yours, like example.com/audit; ${name} is none.`);
  }
  const key = generateKey(name, "note");
  const secrets: [string, string][] = [
    ["AUDIT_JOBS_URL", `${url}/functions/v1/audit-jobs`],
    ["AUDIT_JOBS_SECRET", randomBytes(32).toString("base64url")],
    ["AUDIT_LOG_KEY", formatSignerKey(key)],
    ["AUDIT_LOG_VKEYS", formatVerifierKey(key)],
    ["AUDIT_BACKUP_KEY", randomBytes(32).toString("base64")],
    ["AUDIT_DRAIN_SECRET", randomBytes(32).toString("base64url")],
  ];
  // A key that is there and its public half stay together.
  const missing = secrets.filter(([secret]) => !has(secret) && !(secret === "AUDIT_LOG_VKEYS" && has("AUDIT_LOG_KEY")));
  if (missing.length === 0) return { changes: [], made: {} };
  const lines = missing.map(([secret, value]) => `${secret}="${value}"\n`).join("");
  const text = old + (old === "" || old.endsWith("\n") ? "" : "\n") + lines;
  const changes: Change[] = [{ change: old === "" ? "create" : "replace", path: SECRETS, text, mode: 0o600 }];
  if (!isIgnored(project.root)) {
    const path = join(dirname(SECRETS), ".gitignore");
    const ignored = await project.read(path) ?? "";
    const end = ignored === "" || ignored.endsWith("\n") ? "" : "\n";
    changes.unshift({
      change: ignored === "" ? "create" : "replace",
      path,
      text: `${ignored}${end}${basename(SECRETS)}\n`,
    });
  }
  const isNew = (secret: string) => missing.some(([name]) => name === secret);
  return {
    changes,
    made: {
      ...isNew("AUDIT_JOBS_URL") ? { schedules_call: `${url}/functions/v1/audit-jobs` } : {},
      ...isNew("AUDIT_LOG_KEY") ? { log_vkey: formatVerifierKey(key) } : {},
    },
  };
}

function localPort(config: string): number {
  return (parseConfig(config).api as { port?: number } | undefined)?.port ?? 54321;
}

/** By git, where there is one; a folder without git may get one. */
function isIgnored(root: string): boolean {
  return spawnSync("git", ["check-ignore", "-q", SECRETS], { cwd: root, stdio: "ignore" }).status === 0;
}
