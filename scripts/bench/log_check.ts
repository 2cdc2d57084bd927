// After every run of ours: no figure counts whose log is not whole.
import type { Database } from "./variants.ts";
import { withClient } from "./variants.ts";

export async function checkLog({ url }: Database): Promise<void> {
  await withClient(url, async (client) => {
    const { rows: broken } = await client.query("select * from audit.verify() where status <> 'verified'");
    if (broken.length > 0) throw new Error(`chains that do not verify:\n${JSON.stringify(broken, null, 2)}`);
    const { rows: [count] } = await client.query(
      `select (select count(*) from public.llm_queries)::int as rows,
         (select count(*) from public.audit_logs where action = 'query.executed')::int as entries`,
    );
    if (count.rows !== count.entries) throw new Error(`${count.rows} rows were written, but ${count.entries} entries`);
  });
}
