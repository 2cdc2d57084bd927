import { spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import type { Client } from "pg";
import type { StackInfo } from "../stack/info.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What the clock does every few seconds, at once: whatever waits is sealed. Answers how many entries that were. */
export async function sealAll({ api_url, jobs_secret }: StackInfo): Promise<number> {
  for (let entries = 0;;) {
    const response = await fetch(`${api_url}/functions/v1/audit-jobs/seal?due_now=true`, {
      method: "POST",
      headers: { authorization: `Bearer ${jobs_secret}` },
    });
    if (!response.ok) throw new Error(`Sealing answered ${response.status}: ${await response.text()}`);
    const sealed = await response.json() as { entries: number; failed: number; more: boolean };
    if (sealed.failed > 0) throw new Error("Sealing failed: see .local/logs/function-audit-jobs.log");
    entries += sealed.entries;
    if (!sealed.more) return entries;
  }
}

/** The newest checkpoint of an organisation, as it is published. */
export async function newestCheckpoint(client: Client, organizationId: string): Promise<string> {
  const { rows } = await client.query<{ note: string }>(
    `select c.note from audit.logs l join audit.checkpoints c on c.log = l.id and c.size = l.published
     where l.organization_id = $1 and l.month is not null order by l.month desc limit 1`,
    [organizationId],
  );
  return rows[0]!.note;
}

/** Downloads the receipt of an entry, as its reader would, into a folder; answers its path. */
export async function keepReceipt(stack: StackInfo, token: string, name: string, folder: string): Promise<string> {
  const response = await fetch(`${stack.api_url}/functions/v1/audit/logs/${name}/proof`, {
    headers: { authorization: `Bearer ${token}` },
  });
  if (!response.ok) throw new Error(`The receipt answered ${response.status}: ${await response.text()}`);
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${name}.tlog-proof`);
  await writeFile(path, await response.text());
  return relative(process.cwd(), path);
}

/**
 * Runs the verifier as anybody would, and prints what it says, moved in; answers its exit code. Nothing reaches it but its
 * arguments, and a token to read the archive with.
 */
export async function runVerifier(args: string[], token = ""): Promise<number> {
  const program = spawn(process.execPath, [
    join(ROOT, "node_modules", "tsx", "dist", "cli.mjs"),
    join(ROOT, "scripts", "cli", "verify.ts"),
    ...args,
  ], { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, AUDIT_TOKEN: token } });
  let said = "";
  program.stdout.setEncoding("utf8").on("data", (text: string) => (said += text));
  const code = await new Promise<number>((resolve, reject) => {
    program.on("error", reject);
    program.on("close", (status) => resolve(status ?? 1));
  });
  for (const line of said.trimEnd().split("\n")) console.log(`    ${line}`);
  return code;
}
