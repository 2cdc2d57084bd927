import { basename } from "node:path";
import { Client } from "pg";
import type { StackInfo } from "../stack/info.ts";
import { admitAuditor, makeChanges, tryForbidden } from "./changes.ts";
import { startProgress } from "./progress.ts";
import { findDone, replay } from "./replay.ts";
import { reportCosts, reportVerification } from "./report.ts";
import { formatTable } from "./table.ts";
import { findTrace, readTrace } from "./trace.ts";
import { makeWorkload } from "./workload.ts";

/**
 * Uses the sample application as its people would, then shows what the log made of it. A second start finds its own
 * work and does only what is missing.
 */
export async function runDemo(stack: StackInfo): Promise<void> {
  const client = new Client({ connectionString: stack.db_url, application_name: "demo" });
  await client.connect();
  try {
    await replayTrace(client, stack);
    console.log("\nKeys, budgets and members, changed in SQL as each kind of user:");
    for (const line of await makeChanges(client, stack)) console.log(`  ${line}`);
    for (const line of await tryForbidden(client, stack)) console.log(`  ${line}`);
    console.log(`  ${await admitAuditor(client, stack)}`);
    console.log("\nVerification:");
    await reportVerification(client);
    console.log("\nCosts, from the log:");
    await reportCosts(client);
    printNextSteps(stack);
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

function printNextSteps(stack: StackInfo): void {
  const names = new Map(stack.organizations.map(({ id, name }) => [id, name]));
  const admin = stack.users.find(({ role }) => role === "admin");
  const password = stack.users[0]?.password ?? "demo-password";
  console.log(`
What to try next

  Connect: psql '${stack.db_url}'

    select action, provider, created_at, created_by from audit_logs
    where resource_type = 'api_key' order by created_at desc;

    select created_at, email, ip_address, action, details from audit_events
    where action = 'member.role_changed';

    select created_at, email, action, details
    from audit.search('action:(api_key.added or member.*) created:7d', '${admin?.organization_id}');

    delete from audit_logs;        -- refused
    select * from audit.verify();  -- recomputes every hash

  Search and export over HTTP (described at ${stack.api_url}/functions/v1/audit/reference):

    TOKEN=$(npm run --silent stack -- token ${admin?.email})
    curl "${stack.api_url}/functions/v1/audit/logs?q=action:api_key.*&limit=2" -H "authorization: Bearer $TOKEN"
    curl "${stack.api_url}/functions/v1/audit/export?format=csv" -H "authorization: Bearer $TOKEN" -o audit.csv

  Sign in (password ${password}):
`);
  console.log(formatTable(
    ["user", "role", "organisation"],
    stack.users
      .map(({ email, role, organization_id }) => [email, role ?? "auditor", names.get(organization_id ?? "") ?? "none"])
      .sort((a, b) => `${a[2]} ${a[1]}` < `${b[2]} ${b[1]}` ? -1 : 1),
  ));
}
