// Entries of the past, sealed and read back, so that they can be purged. For connections of the superuser.
import type pg from "pg";

export type OldChain = {
  organization: string;
  chain: number;
  entries: number;
  /** How old the first and the last of them are, in days. */
  from: number;
  to?: number;
};

/** Writes a chain as the writer would have made it then. */
export async function writeOldChain(
  admin: pg.Client,
  { organization, chain, entries, from, to = 0 }: OldChain,
): Promise<void> {
  await admin.query(
    `with entry as (
       select n, clock_timestamp() - $4::float8 * interval '1 day' + ($4::float8 - $5::float8) * interval '1 day' * (n - 1) / $3 as created_at
       from generate_series(1, $3::int) n
     ),
     linked as materialized (
       select e.*, audit.chained(audit.first_prev_hash($1, $2), convert_to(audit.entry_text(
         $1, $2, e.n, e.created_at, 'thing.done', 'success', 'thing', 'thing-' || e.n, null, 'system', null, null, null, null, '{}', null
       ), 'UTF8')) over (order by e.n) as hashes
       from entry e
     ),
     head as (
       insert into audit.heads (organization_id, chain, seq, last_at, prev_hash, hash)
       select $1, $2, l.n, l.created_at, substring(l.hashes from 1 for 32), substring(l.hashes from 33) from linked l order by l.n desc limit 1
     )
     insert into public.audit_logs
       (organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, actor_type, details, prev_hash, hash)
     select $1, $2, l.n, l.created_at, 'thing.done', 'success', 'thing', 'thing-' || l.n, 'system', '{}',
       substring(l.hashes from 1 for 32), substring(l.hashes from 33)
     from linked l`,
    [organization, chain, entries, from, to],
  );
}

/** Sequences all that waits and says that it was published and read back. Nothing of it is in any archive. */
export async function sealAndReadBack(admin: pg.Client): Promise<void> {
  for (;;) {
    const { rows } = await admin.query(
      "select audit.claim_log('test.example/audit', most_entries => 1000000, due_now => true) as claimed",
    );
    if (rows[0].claimed === null) return;
    await admin.query(`insert into audit.checkpoints (log, size, root, frontier)
         select l.id, l.sequenced, sha256(l.origin::bytea), '' from audit.logs l where l.sequenced > l.published;
       update audit.logs set size = sequenced, published = sequenced, read_back = sequenced, lease_until = '-infinity'
         where sequenced > published`);
  }
}

/** Chooses how long an organisation keeps its entries, without the wait. */
export async function setRetention(
  admin: pg.Client,
  organization: string,
  databaseDays: number | null,
  archiveDays: number | null = null,
): Promise<void> {
  await admin.query("select audit.set_retention($1, $2, $3)", [organization, databaseDays, archiveDays]);
  await admin.query("update audit.retention_periods set effective_at = clock_timestamp()");
}

/** Lets a day pass for the purger, which looks at each organisation once a day. */
export async function nextDay(admin: pg.Client): Promise<void> {
  await admin.query("update audit.purges set before = before - interval '1 day', run_at = run_at - interval '1 day'");
}
