-- Checkpoints: what a run of the job "seal" reads and records. A root stands here before its signature leaves the
-- process, one root a size; whoever comes second with the same root changes nothing, with another one is refused.

create or replace function audit.log_entries(log int, from_index bigint, to_index bigint)
  returns table (index bigint, entry text, hash bytea)
  language plpgsql
  stable
  set search_path = ''
  -- By name, a few hundred at a time. A plan for any range, and one by statistics from before the newest entries, walk the
  -- organisation's whole timeline instead, which costs a hundred times as much; only the name gives the order of seq.
  set enable_seqscan = off
  set enable_sort = off
  set jit = off -- the one sort that is left is priced so high then that the plan would be compiled
  set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  v_log audit.logs;
begin
  select l.* into strict v_log from audit.logs l where l.id = log_entries.log;
  if v_log.month is null then
    return query
    select a.index, a.entry, audit.hash_of(a.entry)
    from audit.anchor_entries a
    where a.index >= log_entries.from_index and a.index < log_entries.to_index
    order by a.index;
    return;
  end if;
  return query
  select r.start + a.seq - r.from_seq, audit.entry_text(a), a.hash
  from audit.log_ranges r
  cross join lateral (
    select a.*
    from public.audit_logs a
    where a.organization_id = r.organization_id and a.chain = r.chain
      and a.seq between greatest(r.from_seq, r.from_seq + log_entries.from_index - r.start)
        and least(r.to_seq, r.from_seq + log_entries.to_index - r.start - 1)
      and a.created_at between v_log.first_at and v_log.last_at
    order by a.seq
  ) a
  where r.log = v_log.id and r.start < log_entries.to_index
    and r.start >= (
      select max(b.start) from audit.log_ranges b where b.log = v_log.id and b.start <= log_entries.from_index
    )
  order by 1;
end
$$;

comment on function audit.log_entries(int, bigint, bigint) is
  'The entries of a log from one index to before another, in order: index, entry text, and the hash it was written with.';

create or replace function audit.record_root(log int, old_size bigint, size bigint, root bytea, frontier bytea)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_log audit.logs;
begin
  select l.* into strict v_log from audit.logs l where l.id = record_root.log for update;
  if exists (select from audit.checkpoints c where c.log = v_log.id and c.size = record_root.size and c.root = record_root.root) then
    return; -- a run before this one, or beside it, came as far
  elsif v_log.size <> record_root.old_size or v_log.sequenced < record_root.size or record_root.size <= v_log.size then
    perform audit.fail(
      'AUFRK', format('The log %s stands at %s: a root for %s after %s is refused.', v_log.origin, v_log.size, record_root.size, record_root.old_size),
      null, 'If no other run works on it, the log has two histories: verify the archive before anything else.'
    );
  end if;
  insert into audit.checkpoints (log, size, root, frontier)
  values (v_log.id, record_root.size, record_root.root, record_root.frontier);
  update audit.logs l set size = record_root.size, sealed_at = clock_timestamp() where l.id = v_log.id;
end
$$;

comment on function audit.record_root(int, bigint, bigint, bytea, bytea) is
  'Records the root of a log at a size, once and for all; raises AUFRK for another root, or another size than the next.';

create or replace function audit.record_note(log int, size bigint, note text, lease uuid)
  returns text
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_note text;
begin
  -- Renewed, so that whoever publishes next has the log for himself: an older checkpoint must never replace a newer one.
  update audit.logs l set lease_until = clock_timestamp() + interval '2 minutes'
  where l.id = record_note.log and l.lease = record_note.lease;
  if not found then
    perform audit.fail('AULSE', 'Another run works on the log.', null, 'Leave it to that run.');
  end if;
  -- What was signed first is what everybody gets, after a crash as well.
  update audit.checkpoints c set note = coalesce(c.note, record_note.note), signed_at = coalesce(c.signed_at, clock_timestamp())
  where c.log = record_note.log and c.size = record_note.size
  returning c.note into strict v_note;
  return v_note;
end
$$;

comment on function audit.record_note(int, bigint, text, uuid) is
  'Keeps a signed checkpoint for who holds the lease, and answers the one that was kept first.';

create or replace function audit.record_published(log int, size bigint, lease uuid)
  returns boolean
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_more boolean;
begin
  update audit.checkpoints c set published_at = coalesce(c.published_at, clock_timestamp())
  where c.log = record_published.log and c.size = record_published.size;
  update audit.logs l set
    published = greatest(l.published, record_published.size),
    lease_until = case when l.lease = record_published.lease then '-infinity' else l.lease_until end
  where l.id = record_published.log and record_published.size <= l.size
  returning l.sequenced > l.published into strict v_more;
  return v_more;
end
$$;

comment on function audit.record_published(int, bigint, uuid) is
  'Notes that readers get the checkpoint of a size, and ends the lease; answers whether the log has more to seal.';

create or replace function audit.is_sealed(organization_id uuid, until timestamptz)
  returns boolean
  language sql
  stable
  set search_path = ''
as $$
  select not exists (select from audit.waiting_chains(is_sealed.organization_id) w where w.since <= is_sealed.until)
    and not exists (
      select from audit.logs l where l.organization_id = is_sealed.organization_id and l.sequenced > l.published
    )
$$;

comment on function audit.is_sealed(uuid, timestamptz) is 'Whether the newest checkpoint of an organisation is over every entry up to a time.';

create or replace function audit.newest_checkpoint(organization_id uuid)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select c.note
  from audit.logs l
  join audit.checkpoints c on c.log = l.id and c.size = l.published
  where l.organization_id = newest_checkpoint.organization_id and l.month is not null and l.published > 0
  order by l.month desc
  limit 1
$$;

comment on function audit.newest_checkpoint(uuid) is 'The newest checkpoint that readers have of an organisation''s log; null before the first.';
