-- Reading the archive back: the function audit-jobs reads every object again and compares it with the entries in the
-- database and with what was signed. Here is what it asks: which log is next, from where to where, and what it learned.
--
-- A reading stands at a checkpoint: all before it was compared, and its root recomputed. It goes on from the last full
-- bundle, so what was read as part of a partial object is read again in the full one that stays.

alter table audit.logs add column if not exists read_back bigint not null default 0;

comment on column audit.logs.read_back is
  'How many entries were read back from the archive, out of objects that stay, and were the same: only these may be purged.';

create table if not exists audit.readings (
  log int not null references audit.logs (id),
  again boolean not null,
  size bigint not null default 0,
  frontier bytea not null default ''::bytea,
  next_at timestamptz not null default '-infinity',
  begun_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  constraint readings_pkey primary key (log, again)
);

comment on table audit.readings is
  'How far each log was read back: once behind the sealing, and again from its start every seven days.';
comment on column audit.readings.log is 'The log.';
comment on column audit.readings.again is 'Whether this is the reading from the start.';
comment on column audit.readings.size is 'The checkpoint that it stands at.';
comment on column audit.readings.frontier is 'The roots of the perfect subtrees of what was read, largest first, 32 bytes each.';
comment on column audit.readings.next_at is 'Not before then: a run is at it, or failed a moment ago.';
comment on column audit.readings.begun_at is 'When it stood at the start.';
comment on column audit.readings.ended_at is 'When it last reached the end; null while it is on its way.';

create or replace function audit.due_readings(patience interval default '1 hour', cycle interval default '7 days')
  returns table (log int, again boolean, since timestamptz)
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
  select l.id, a.again, greatest(coalesce(r.next_at, '-infinity'), case when a.again then coalesce(r.ended_at, l.opened_at) end)
  from audit.logs l
  cross join (values (false), (true)) a (again)
  left join audit.readings r on r.log = l.id and r.again = a.again
  where l.published > 0 and coalesce(r.next_at, '-infinity') <= clock_timestamp()
    and l.archive_deletion_began_at is null -- past its retention
    and case
      when a.again then
        r.ended_at is null and r.log is not null
        or coalesce(r.begun_at, l.opened_at) <= clock_timestamp() - due_readings.cycle
      -- Full bundles at once; a partial one, which the next checkpoint replaces, only now and then.
      when l.published / 256 > coalesce(r.size, 0) / 256 then true
      when l.published > coalesce(r.size, 0) then coalesce(r.ended_at, '-infinity') <= clock_timestamp() - due_readings.patience
      -- That of a log that is closed stays.
      else coalesce(r.ended_at, '-infinity') < l.closed_at
    end;
end
$$;

comment on function audit.due_readings(interval, interval) is
  'Logs with something to read back: new full bundles, a partial one that was read the patience ago, and every log again once a cycle.';

create or replace function audit.claim_reading(patience interval default '1 hour', most_entries int default 5000)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_reading audit.readings;
  v_log audit.logs;
  v_to bigint;
begin
  -- Who waits longest comes first, so logs take turns. That two runs read the same does no harm, so this is no lock: it
  -- only keeps them from it, and from trying every time what has just failed.
  insert into audit.readings as r (log, again, next_at)
  select d.log, d.again, clock_timestamp() + interval '1 minute'
  from audit.due_readings(claim_reading.patience) d
  order by d.since, d.again
  limit 1
  on conflict on constraint readings_pkey do update set
    next_at = excluded.next_at,
    size = case when r.again and r.ended_at is not null then 0 else r.size end,
    frontier = case when r.again and r.ended_at is not null then ''::bytea else r.frontier end,
    begun_at = case when r.again and r.ended_at is not null then clock_timestamp() else r.begun_at end,
    ended_at = null
  returning r.* into v_reading;
  if v_reading.log is null then
    return null;
  end if;
  select l.* into v_log from audit.logs l where l.id = v_reading.log;
  -- To a checkpoint: only there is a root to compare.
  v_to := coalesce(
    (
      select max(c.size) from audit.checkpoints c
      where c.log = v_log.id and c.size > v_reading.size
        and c.size <= least(v_log.published, v_reading.size + claim_reading.most_entries)
    ),
    (select min(c.size) from audit.checkpoints c where c.log = v_log.id and c.size > v_reading.size and c.size <= v_log.published),
    v_log.published
  );
  return jsonb_build_object(
    'log', v_log.id, 'again', v_reading.again, 'organization_id', v_log.organization_id, 'origin', v_log.origin,
    'folder', case when v_log.month is null then 'anchor' else v_log.organization_id || '/' || to_char(v_log.month, 'YYYY-MM') end,
    'size', v_reading.size, 'frontier', encode(v_reading.frontier, 'hex'), 'to', v_to, 'published', v_log.published,
    -- The last of each bundle's: every signature costs.
    'checkpoints', (
      select coalesce(jsonb_agg(jsonb_build_object('size', c.size, 'note', c.note, 'frontier', encode(c.frontier, 'hex'))), '[]')
      from (
        select distinct on ((c.size / 256)) c.size, c.note, c.frontier
        from audit.checkpoints c
        where c.log = v_log.id and c.size > v_reading.size and c.size <= v_to
        order by c.size / 256, c.size desc
      ) c
    ) || (
      select coalesce(jsonb_agg(jsonb_build_object('size', c.size, 'note', c.note, 'frontier', encode(c.frontier, 'hex'))), '[]')
      from audit.checkpoints c
      where c.log = v_log.id and c.size = v_reading.size
    ),
    'findings', (
      select coalesce(jsonb_agg(jsonb_build_object('kind', f.kind, 'subject', f.subject)), '[]')
      from audit.findings f
      where f.organization_id = v_log.organization_id and f.resolved_at is null
        and (f.kind = 'entry_altered' or starts_with(f.kind, 'archive_'))
    )
  );
end
$$;

comment on function audit.claim_reading(interval, int) is
  'Gives a run of the job "read-back" one log to read on, from a checkpoint to another about so many entries further; null where nothing is due.';

create or replace function audit.hashes_in_log(log int, from_index bigint, to_index bigint)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  return (
    select encode(string_agg(
      case
        when e.entry is not null then audit.hash_of(e.entry)
        when b.seq is not null then sha256(''::bytea)
        else decode(repeat('00', 32), 'hex')
      end, '' order by i.index
    ), 'hex')
    from generate_series(hashes_in_log.from_index, hashes_in_log.to_index - 1) i (index)
    left join audit.log_entries(hashes_in_log.log, hashes_in_log.from_index, hashes_in_log.to_index) e on e.index = i.index
    left join lateral (
      select b.seq
      from (
        select r.* from audit.log_ranges r
        where r.log = hashes_in_log.log and r.start <= i.index
        order by r.start desc
        limit 1
      ) r
      join audit.chain_bounds b on b.organization_id = r.organization_id and b.chain = r.chain
        and b.seq >= r.from_seq + i.index - r.start
      where e.entry is null
    ) b on true
  );
end
$$;

comment on function audit.hashes_in_log(int, bigint, bigint) is
  'The recomputed hashes of a log''s entries, 64 hex digits each; for one that was purged SHA-256 of nothing, for one that is
missing zeros: no entry has either.';

create or replace function audit.record_read_back(log int, again boolean, old_size bigint, size bigint, frontier bytea, same boolean)
  returns boolean
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  update audit.readings r set
    size = record_read_back.size,
    frontier = record_read_back.frontier,
    next_at = clock_timestamp(),
    ended_at = case when record_read_back.size >= l.published then clock_timestamp() end
  from audit.logs l
  where l.id = r.log and r.log = record_read_back.log and r.again = record_read_back.again
    and r.size = record_read_back.old_size and record_read_back.size <= l.published;
  if not found then
    return false; -- another run came as far, or further
  end if;
  -- Without a gap: behind what was not the same nothing counts until that is in order, and read again.
  update audit.logs l set read_back = b.entries
  from (
    select l.id, case
      when l.closed_at is not null and record_read_back.size = l.sequenced then l.sequenced
      else record_read_back.size / 256 * 256
    end as entries
    from audit.logs l
    where l.id = record_read_back.log
  ) b
  where b.id = l.id and record_read_back.same and l.read_back < b.entries
    and l.read_back >= record_read_back.old_size / 256 * 256;
  return true;
end
$$;

comment on function audit.record_read_back(int, boolean, bigint, bigint, bytea, boolean) is
  'Notes that a log was read from one checkpoint to another, and whether all of it was the same; false where another run was quicker.';

create or replace function audit.settle_finding(organization_id uuid, kind text, subject text, detail jsonb default '{}')
  returns boolean
  language plpgsql
  set search_path = ''
as $$
begin
  if not audit.resolve_finding(settle_finding.organization_id, settle_finding.kind, settle_finding.subject) then
    return false;
  end if;
  perform audit.record(
    settle_finding.organization_id, 'finding.resolved', 'finding', settle_finding.subject,
    jsonb_build_object('kind', settle_finding.kind) || settle_finding.detail
  );
  return true;
end
$$;

comment on function audit.settle_finding(uuid, text, text, jsonb) is
  'Closes a finding that a check made good, or found in order again, and leaves a finding.resolved entry that says so.';
