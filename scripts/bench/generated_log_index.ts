// Brings the search index of a generated log up to date. A new log is indexed by two connections, month by month and
// with the index's own indexes made last, which takes a fraction of the time that audit.index_entries() would need for
// it; and the rows come to lie in the order of time, as the job leaves them that follows the writers every few seconds.
import type pg from "pg";
import { withClient } from "./variants.ts";

const WORKERS = 2;
const BATCH = 100_000;

/** `wholesale`: from so many entries on a new log is indexed in that way. */
export async function fillSearchIndex(
  url: string,
  onProgress: (line: string) => void,
  wholesale: number = BATCH,
): Promise<void> {
  const start = performance.now();
  const made = await withIndexer(url, async (client) => {
    const { rows: [state] } = await client.query<{ is_new: boolean }>(
      `select not exists (select from audit.search_positions)
         and (select sum(seq) >= $1 from audit.heads) as is_new`,
      [wholesale],
    );
    return state!.is_new ? await fill(url, client, onProgress) : 0;
  });
  await withIndexer(url, async (client) => {
    let indexed = made;
    for (let entries = BATCH; entries > 0;) {
      const { rows: [batch] } = await client.query<{ entries: number }>("select audit.index_entries($1) as entries", [
        BATCH,
      ]);
      entries = batch!.entries;
      indexed += entries;
    }
    if (indexed === 0) return;
    await client.query("vacuum (analyze) audit.search_index");
    onProgress(`${indexed} entries in the search index after ${((performance.now() - start) / 1000).toFixed(1)} s`);
  });
}

async function fill(url: string, client: pg.Client, onProgress: (line: string) => void): Promise<number> {
  const definitions = await dropIndexes(client);
  const { rows: months } = await client.query<{ from_time: Date; to_time: Date }>(
    "select from_time, to_time from audit.partition_ranges() order by from_time desc",
  );
  let indexed = 0;
  await Promise.all(Array.from({ length: WORKERS }, () =>
    withIndexer(url, async (worker) => {
      for (let month = months.pop(); month !== undefined; month = months.pop()) {
        const { rowCount } = await worker.query(
          `insert into audit.search_index (organization_id, created_at, chain, seq, cost, terms)
           select a.organization_id, a.created_at, a.chain, a.seq, a.cost, array(select t from audit.search_terms(a) t)
           from public.audit_logs a
           where a.created_at >= $1 and a.created_at < $2`,
          [month.from_time, month.to_time],
        );
        indexed += rowCount ?? 0;
        onProgress(`  ${indexed} entries in the search index`);
      }
    })));
  await Promise.all(definitions.map((definition) => withIndexer(url, (worker) => worker.query(definition))));
  await client.query(
    `insert into audit.search_positions (organization_id, chain, seq, last_at)
     select organization_id, chain, seq, last_at from audit.heads where seq > 0`,
  );
  await client.query("drop table bench.search_indexes");
  return indexed;
}

/** Their definitions are kept in the database: a run that is interrupted has dropped them, and the next makes them. */
async function dropIndexes(client: pg.Client): Promise<string[]> {
  await client.query(`
    begin;
    truncate audit.search_index;
    create table if not exists bench.search_indexes (definition text);
    insert into bench.search_indexes
      select indexdef from pg_indexes where schemaname = 'audit' and tablename = 'search_index';
    do $$
    declare
      v_index regclass;
    begin
      for v_index in select indexrelid from pg_index where indrelid = 'audit.search_index'::regclass loop
        execute format('drop index %s', v_index);
      end loop;
    end
    $$;
    commit`);
  const { rows } = await client.query<{ definition: string }>("select definition from bench.search_indexes");
  return rows.map(({ definition }) => definition);
}

function withIndexer<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  return withClient(url, async (client) => {
    await client.query(
      "set event_triggers = off; set synchronous_commit = off; set work_mem = '256MB'; set maintenance_work_mem = '1GB'; " +
        "set jit = off; set timezone = 'UTC'",
    );
    return work(client);
  });
}
