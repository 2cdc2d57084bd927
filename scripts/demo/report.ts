import type { Client } from "pg";
import { formatTable } from "./table.ts";

interface Chain {
  organization_id: string;
  chain: number;
  entries: string;
  status: "verified" | "broken" | "partial";
  broken_seq: string | null;
  finding: string | null;
  explanation: string | null;
}

/** Recomputes every hash of every chain and says what came of it. A break is told, not thrown: people try to cause one. */
export async function reportVerification(client: Client): Promise<void> {
  const start = performance.now();
  const { rows: chains } = await client.query<Chain>("select * from audit.verify()");
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  const entries = chains.reduce((sum, chain) => sum + Number(chain.entries), 0);
  const organizations = new Set(chains.map((chain) => chain.organization_id)).size;
  const bad = chains.filter((chain) => chain.status !== "verified");
  console.log(
    `  ${entries} entries in ${chains.length} chains of ${organizations} organisations (the system's own included), ` +
      `${seconds} s: ${bad.length === 0 ? "all verified" : `${bad.length} NOT VERIFIED`}`,
  );
  for (const { organization_id, chain, status, broken_seq, finding, explanation } of bad) {
    console.log(`  ${status}: ${organization_id}, chain ${chain}, seq ${broken_seq}: ${finding}. ${explanation ?? ""}`);
  }
}

/** Costs as the log has them, and whether the application's own tables agree. */
export async function reportCosts(client: Client): Promise<void> {
  const byProvider = await client.query<{ provider: string; queries: string; failed: string; cost: string }>(`
    select
      provider,
      count(*) as queries,
      count(*) filter (where action = 'query.failed') as failed,
      round(sum(cost), 2) as cost
    from public.audit_logs
    where action in ('query.completed', 'query.failed')
    group by provider
    order by sum(cost) desc
  `);
  console.log(formatTable(
    ["provider", "queries", "failed", "USD"],
    byProvider.rows.map((row) => [row.provider, row.queries, row.failed, row.cost]),
  ));
  console.log();

  const byUser = await client.query<{ email: string; queries: string; cost: string }>(`
    select email, count(*) as queries, round(sum(cost), 2) as cost
    from public.audit_events
    where action in ('query.completed', 'query.failed')
    group by email
    order by sum(cost) desc
  `);
  console.log(formatTable(
    ["user", "queries", "USD"],
    byUser.rows.map((row) => [row.email, row.queries, row.cost]),
  ));
  console.log();

  const { rows } = await client.query<{ users: string; differing: string }>(COMPARISON);
  const { users, differing } = rows[0]!;
  console.log(
    differing === "0"
      ? `  The application's own tables give the same sums for each of the ${users} users.`
      : `  THE APPLICATION'S OWN TABLES DISAGREE about ${differing} of ${users} users.`,
  );
}

// `application` is the query that people without an audit log use for cost attribution, word for word.
const COMPARISON = `
  with
    application as (
      SELECT
        u.email,
        SUM(r.total_cost) as total_cost,
        COUNT(*) as query_count
      FROM llm_responses r
      JOIN llm_queries q ON q.id = r.query_id
      LEFT JOIN auth.users u ON u.id = q.user_id
      GROUP BY u.email
      ORDER BY total_cost DESC
    ),
    log as (
      select email, sum(cost) as total_cost, count(*) as query_count
      from public.audit_events
      where action in ('query.completed', 'query.failed')
      group by email
    )
  select
    count(*) as users,
    count(*) filter (
      where (application.total_cost, application.query_count) is distinct from (log.total_cost, log.query_count)
    ) as differing
  from application
  full join log on log.email = application.email
`;
