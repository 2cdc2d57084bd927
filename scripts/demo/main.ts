import { basename, join } from "node:path";
import type pg from "pg";
import { Client } from "pg";
import type { StackInfo } from "../stack/info.ts";
import { dirOption } from "../stack/place.ts";
import { receiveAlerts } from "./alerts.ts";
import { admitAuditor, makeChanges, tryForbidden } from "./changes.ts";
import { useAuth } from "./logins.ts";
import { startProgress } from "./progress.ts";
import { findDone, replay } from "./replay.ts";
import { rewriteHistory } from "./rewrite.ts";
import { keepReceipt, newestCheckpoint, runVerifier, sealAll } from "./seal.ts";
import { signIn } from "../stack/sign_in.ts";
import { reportCosts, reportVerification } from "./report.ts";
import { formatTable } from "./table.ts";
import { findTrace, readTrace } from "./trace.ts";
import { makeWorkload } from "./workload.ts";

/**
 * Uses the sample application as its people would, then shows what the log made of it. A second start finds its own
 * work and does only what is missing.
 */
export async function runDemo(stack: StackInfo, dir: string): Promise<void> {
  const client = new Client({ connectionString: stack.db_url, application_name: "demo" });
  await client.connect();
  try {
    const receiver = await receiveAlerts(client, stack);
    await replayTrace(client, stack);
    console.log("\nKeys, budgets and members, changed in SQL as each kind of user:");
    for (const line of await makeChanges(client, stack)) console.log(`  ${line}`);
    for (const line of await tryForbidden(client, stack)) console.log(`  ${line}`);
    console.log(`  ${await admitAuditor(client, stack)}`);
    console.log("\nA wrong password, a login, a second factor and a logout, as Auth's tables and hooks show them:");
    console.log(await useAuth(client, stack));
    console.log("\nAlerts, told to a webhook on this machine; each was verified by the receiver:");
    const alerts = await receiver.report(3);
    for (const line of alerts.length === 0 ? ["none since this start"] : alerts) console.log(`  ${line}`);
    await receiver.stop();
    console.log("\nVerification:");
    await reportVerification(client);
    console.log("\nCosts, from the log:");
    await reportCosts(client);
    await proveLog(client, stack, join(dir, "receipts"));
    printNextSteps(stack, dir);
  } finally {
    await client.end();
  }
}

async function replayTrace(client: Client, stack: StackInfo): Promise<void> {
  const path = findTrace();
  const rows = readTrace(path);
  console.log(`Trace of LLM requests: ${basename(path)}, ${rows.length} requests (CC-BY-4.0, see data/README.md)`);
  const units = makeWorkload(rows, stack.users);
  const done = await findDone(client);
  const open = units.filter(({ requests }) => requests.some(({ queryId }) => !done.has(queryId)));
  const openRequests = open.reduce((sum, { requests }) => sum + requests.length, 0);
  if (openRequests === 0) {
    console.log("  already replayed");
    return;
  }

  const progress = startProgress("replayed", rows.length, rows.length - openRequests);
  const start = Date.now();
  // The last request of the trace was made a minute ago, so that every response is already in.
  const shift = (start - 60_000) * 1000 - rows.at(-1)!.time;
  try {
    await replay({ dbUrl: stack.db_url, units: open, shift, onProgress: (requests) => progress.advance(requests) });
  } finally {
    progress.stop();
  }
  const seconds = (Date.now() - start) / 1000;
  const rate = Math.round(openRequests / seconds);
  console.log(`  ${openRequests} queries and their responses in ${seconds.toFixed(1)} s (${rate} a second)`);
}

/** Seals what was recorded, has somebody else verify it, and shows that rewriting history does not go unseen. */
async function proveLog(client: Client, stack: StackInfo, folder: string): Promise<void> {
  const admin = stack.users.find(({ role }) => role === "admin")!;
  const organizationId = admin.organization_id!;
  const token = await signIn(stack, admin); // an entry, too
  const start = performance.now();
  const entries = await sealAll(stack);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `\nSealed: ${
      entries === 0 ? "nothing new" : `${entries} entries in ${seconds} s`
    }. The checkpoint of ${admin.email}'s organisation:\n`,
  );
  for (const line of (await newestCheckpoint(client, organizationId)).trimEnd().split("\n")) console.log(`    ${line}`);

  const { rows: [first] } = await client.query<{ name: string }>(
    "select chain || '-' || seq as name from public.audit_logs where organization_id = $1 and action = 'api_key.added' order by created_at limit 1",
    [organizationId],
  );
  const receipt = await keepReceipt(stack, token, first!.name, folder);
  console.log(`\nThe receipt of entry ${first!.name}, verified without asking anyone:\n`);
  console.log(`  $ npm run verify -- --receipt ${receipt} --key '${stack.log_vkey}'`);
  await runVerifier(["--receipt", receipt, "--key", stack.log_vkey]);

  console.log("\nIn a copy of the database, its owner changes an old entry and hashes the whole chain again:\n");
  const rewritten = await rewriteHistory(stack, organizationId);
  try {
    const { rows: [sql] } = await queryOnce<{ chains: string; verified: string }>(
      rewritten.url,
      "select count(*) as chains, count(*) filter (where status = 'verified') as verified from audit.verify()",
    );
    console.log(
      `  The cost of entry ${rewritten.entry} is ten times what it was, ${rewritten.rehashed} ${
        rewritten.rehashed === 1 ? "entry has a new hash" : "entries have new hashes"
      }.`,
    );
    console.log(
      `  The database itself sees nothing: ${sql!.verified} of ${sql!.chains} chains verify. Beside the archive:\n`,
    );
    const archive = `${stack.api_url}/functions/v1/audit/archive/${organizationId}`;
    const month = new Date().toISOString().slice(0, 7);
    console.log(`  $ npm run verify -- ${archive} --month ${month} --database <the copy> --key '${stack.log_vkey}'`);
    await runVerifier([archive, "--month", month, "--database", rewritten.url, "--key", stack.log_vkey], token);
  } finally {
    await rewritten.remove();
  }
}

async function queryOnce<R extends pg.QueryResultRow>(url: string, text: string): Promise<pg.QueryResult<R>> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    return await client.query<R>(text);
  } finally {
    await client.end();
  }
}

function printNextSteps(stack: StackInfo, dir: string): void {
  const names = new Map(stack.organizations.map(({ id, name }) => [id, name]));
  const admin = stack.users.find(({ role }) => role === "admin");
  const password = stack.users[0]?.password ?? "demo-password";
  console.log(`
What to try next

  Look at it: ${stack.viewer_url}/ (the users below; the admin sees most)

  Connect: psql '${stack.db_url}'

    select action, provider, created_at, created_by from audit_logs
    where resource_type = 'api_key' order by created_at desc;

    select created_at, email, ip_address, action, details from audit_events
    where action = 'member.role_changed';

    select created_at, email, action, details
    from audit.search('action:(api_key.added or member.*) created:7d', '${admin?.organization_id}');

    select * from audit.auth_coverage;   -- by which path each event of Auth comes here

    delete from audit_logs;          -- refused
    select * from audit.verify();    -- recomputes every hash
    select * from audit.integrity;   -- how each log stands: checkpoint, archive, findings

  Search and export over HTTP (described at ${stack.api_url}/functions/v1/audit/reference):

    TOKEN=$(npm run --silent stack -- token ${admin?.email}${dirOption(dir)})
    curl "${stack.api_url}/functions/v1/audit/logs?q=action:api_key.*&limit=2" -H "authorization: Bearer $TOKEN"
    curl "${stack.api_url}/functions/v1/audit/export?format=csv" -H "authorization: Bearer $TOKEN" -o audit.csv

  Verify it yourself, with nothing but the public key:

    AUDIT_TOKEN=$TOKEN npm run verify -- \\
      ${stack.api_url}/functions/v1/audit/archive/${admin?.organization_id} \\
      --month ${new Date().toISOString().slice(0, 7)} --key '${stack.log_vkey}'

  Sign in (password ${password}):
`);
  console.log(formatTable(
    ["user", "role", "organisation"],
    stack.users
      .map(({ email, role, organization_id }) => [email, role ?? "auditor", names.get(organization_id ?? "") ?? "none"])
      .sort((a, b) => `${a[2]} ${a[1]}` < `${b[2]} ${b[1]}` ? -1 : 1),
  ));
}
