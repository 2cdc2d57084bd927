import { readdir, readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { pipeline } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom, to as copyTo } from "pg-copy-streams";
import { loadBase } from "../stack/base.ts";
import type { StackInfo } from "../stack/info.ts";

const MIGRATIONS = fileURLToPath(new URL("../../supabase/migrations/", import.meta.url));
const NAME = "audit_rewritten";

export type Rewritten = {
  /** Of the database in which history was rewritten. */
  url: string;
  /** The entry that was changed. */
  entry: string;
  /** How many entries had to be hashed again to fit. */
  rehashed: number;
  remove(): Promise<void>;
};

/**
 * Copies an organisation's log into a database of its own, and does there what its owner can do: changes an old entry and
 * hashes the rest of its chain again, so that the chain verifies.
 */
export async function rewriteHistory(stack: StackInfo, organizationId: string): Promise<Rewritten> {
  const at = (url: string) => Object.assign(new URL(url), { pathname: `/${NAME}` }).href;
  const remove = async () => {
    await asClient(stack.admin_db_url, (admin) => admin.query(`drop database if exists ${NAME} with (force)`));
  };
  await remove();
  await asClient(stack.admin_db_url, (admin) => admin.query(`create database ${NAME} owner postgres`));
  await loadBase(at(stack.admin_db_url));
  await asClient(at(stack.db_url), async (owner) => {
    for (const name of (await readdir(MIGRATIONS)).sort()) await owner.query(await readFile(MIGRATIONS + name, "utf8"));
  });
  return await asClient(at(stack.admin_db_url), async (admin) => {
    // No trigger and no right stops whoever owns the server.
    await admin.query("set session_replication_role = replica");
    await admin.query("alter table public.audit_logs disable trigger user");
    await admin.query("delete from public.audit_logs");
    await admin.query("delete from audit.heads");
    await asClient(stack.db_url, async (original) => {
      for (const table of ["public.audit_logs", "audit.heads"]) {
        const rows = `(select * from ${table} where organization_id = ${pg.escapeLiteral(organizationId)})`;
        await pipeline(
          original.query(copyTo(`copy ${rows} to stdout`)),
          admin.query(copyFrom(`copy ${table} from stdin`)),
        );
      }
    });
    // An early one in a long chain: all behind it must be hashed again.
    const { rows: [changed] } = await admin.query<{ chain: number; seq: string }>(
      `update public.audit_logs set cost = cost * 10
       where (chain, seq) = (
         select chain, seq from public.audit_logs where cost > 0 order by count(*) over (partition by chain) desc, seq limit 1
       )
       returning chain, seq`,
    );
    const { rowCount } = await admin.query(REHASH, [changed!.chain, changed!.seq]);
    await admin.query(`update audit.heads h set hash = a.hash, prev_hash = a.prev_hash
       from public.audit_logs a where a.chain = h.chain and a.seq = h.seq`);
    return { url: at(stack.db_url), entry: `${changed!.chain}-${changed!.seq}`, rehashed: rowCount!, remove };
  });
}

// With the product's own functions: who owns the database has them.
const REHASH = `
  with hashed as (
    select a.chain, a.seq,
      audit.chained(f.prev_hash, convert_to(audit.entry_text(
        a.organization_id, a.chain, a.seq, a.created_at, a.action, a.outcome, a.resource_type, a.resource_id, a.created_by,
        a.actor_type, a.identity_hash, a.provider, a.cost, a.request_id, a.details, null
      ), 'UTF8')) over (order by a.seq rows unbounded preceding) as hashes
    from public.audit_logs a
    join public.audit_logs f on f.chain = $1 and f.seq = $2
    where a.chain = $1 and a.seq >= $2
  )
  update public.audit_logs a set prev_hash = substring(h.hashes from 1 for 32), hash = substring(h.hashes from 33)
  from hashed h
  where a.chain = h.chain and a.seq = h.seq
`;

async function asClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}
