-- Sequencing: committed entries get their index in the log. Which organisation is due, which log is open, what it begins
-- with. All of it is one transaction: an entry that has an index keeps it.

create or replace function audit.waiting_chains(organization uuid default null)
  returns table (organization_id uuid, chain int, from_seq bigint, to_seq bigint, since timestamptz, sequenced_at timestamptz)
  language sql
  stable
  set search_path = ''
as $$
  select h.organization_id, h.chain, coalesce(s.seq, 0) + 1, h.seq, coalesce(a.created_at, h.last_at), coalesce(s.last_at, '-infinity')
  from audit.heads h
  left join audit.sequenced s on s.organization_id = h.organization_id and s.chain = h.chain
  left join lateral (
    select a.created_at
    from public.audit_logs a
    where a.organization_id = h.organization_id and a.chain = h.chain and a.seq = coalesce(s.seq, 0) + 1
      and a.created_at >= coalesce(s.last_at, '-infinity')
    limit 1
  ) a on true
  where (waiting_chains.organization is null or h.organization_id = waiting_chains.organization)
    and h.seq > coalesce(s.seq, 0)
$$;

comment on function audit.waiting_chains(uuid) is 'Chains with entries that have no index yet, and since when the oldest of them waits.';

create or replace function audit.due_organizations(due_now boolean default false)
  returns setof uuid
  language sql
  stable
  set search_path = ''
as $$
  select d.organization_id
  from (
    select w.organization_id, sum(w.to_seq - w.from_seq + 1) as entries, min(w.since) as since
    from audit.waiting_chains() w
    group by w.organization_id
    union all
    -- A log that says nothing for an hour says that nothing happened.
    select h.organization_id, 0, h.last_at
    from audit.heads h
    where h.chain = audit.log_chain() and h.last_at <= clock_timestamp() - interval '1 hour'
  ) d
  where due_organizations.due_now or d.entries = 0 or d.entries >= 256
    -- A clock that was set back must not keep entries waiting.
    or d.since not between clock_timestamp() - make_interval(secs => (audit.setting('seal_after', d.organization_id))::double precision)
      and clock_timestamp()
  group by d.organization_id
  order by min(d.since)
$$;

comment on function audit.due_organizations(boolean) is
  'Organisations to be sealed, the longest waiting first: 256 entries, or one that waited as long as the setting seal_after,
or an hour of silence.';

create or replace function audit.sequence_entries(log int, most_entries int, most_bytes bigint default 16000000)
  returns bigint
  language plpgsql
  set search_path = ''
  -- A few entries of each chain, by name: see audit.log_entries().
  set enable_seqscan = off
  set enable_sort = off
  set jit = off
as $$
#variable_conflict use_column
declare
  v_log audit.logs;
  -- The same share for every chain, so that a busy one keeps no other waiting.
  v_share bigint;
  v_entries bigint;
  v_first_at timestamptz;
  v_last_at timestamptz;
  v_gaps jsonb;
  v_gap jsonb;
begin
  select l.* into strict v_log from audit.logs l where l.id = sequence_entries.log for update;
  select greatest(sequence_entries.most_entries / greatest(count(*), 1), 1) into v_share
  from audit.waiting_chains(v_log.organization_id) w;

  with waiting as materialized (
    select w.chain, w.from_seq, least(w.to_seq, w.from_seq + v_share - 1) as to_seq, w.sequenced_at
    from audit.waiting_chains(v_log.organization_id) w
  ),
  -- Round the chains, up to so many bytes: what is kept of a chain is its beginning.
  found as materialized (
    select f.chain, f.seq, f.created_at,
      coalesce(sum(f.bytes) over (order by f.turn, f.chain rows between unbounded preceding and 1 preceding), 0)
        < sequence_entries.most_bytes as kept
    from (
      select a.chain, a.seq, a.created_at, a.seq - w.from_seq as turn,
        -- Where it is not compressed, the value is about as long as its text, and need not be written out.
        case when pg_column_compression(a.details) is null then pg_column_size(a.details) else octet_length(a.details::text) end + 700 as bytes
      from waiting w
      cross join lateral (
        select a.chain, a.seq, a.created_at, a.details
        from public.audit_logs a
        where a.organization_id = v_log.organization_id and a.chain = w.chain and a.seq between w.from_seq and w.to_seq
          and a.created_at >= w.sequenced_at
        order by a.seq
      ) a
    ) f
  ),
  -- Only entries that are there get an index: what somebody deleted beforehand is a finding, not the end of sealing.
  islands as (
    select i.chain, min(i.seq) as from_seq, max(i.seq) as to_seq, count(*) as entries,
      min(i.created_at) as first_at, max(i.created_at) as last_at
    from (
      select f.chain, f.seq, f.created_at, f.seq - row_number() over (partition by f.chain order by f.seq) as island
      from found f
      where f.kept
    ) i
    group by i.chain, i.island
  ),
  ranges as (
    insert into audit.log_ranges (log, start, organization_id, chain, from_seq, to_seq)
    select v_log.id, v_log.sequenced + sum(i.entries) over (order by i.chain, i.from_seq) - i.entries, v_log.organization_id,
      i.chain, i.from_seq, i.to_seq
    from islands i
  ),
  reached as (
    select w.chain, w.from_seq, case when c.cut then c.kept_to else w.to_seq end as to_seq, c.kept_at, w.sequenced_at, coalesce(c.kept, 0) as kept
    from waiting w
    left join (
      select f.chain, count(*) filter (where f.kept) as kept, max(f.seq) filter (where f.kept) as kept_to,
        max(f.created_at) filter (where f.kept) as kept_at, bool_or(not f.kept) as cut
      from found f
      group by f.chain
    ) c on c.chain = w.chain
  ),
  moved as (
    insert into audit.sequenced as q (organization_id, chain, seq, last_at)
    select v_log.organization_id, r.chain, r.to_seq, coalesce(r.kept_at, r.sequenced_at)
    from reached r
    where r.to_seq is not null
    on conflict on constraint sequenced_pkey do update set seq = excluded.seq, last_at = excluded.last_at
  )
  select coalesce(sum(i.entries), 0), min(i.first_at), max(i.last_at), (
    select jsonb_agg(jsonb_build_object('chain', r.chain, 'from_seq', r.from_seq, 'to_seq', r.to_seq, 'there', r.kept))
    from reached r
    where r.to_seq - r.from_seq + 1 <> r.kept
  )
  into v_entries, v_first_at, v_last_at, v_gaps
  from islands i;

  update audit.logs l set
    sequenced = l.sequenced + v_entries, first_at = least(l.first_at, v_first_at), last_at = greatest(l.last_at, v_last_at)
  where l.id = v_log.id;
  for v_gap in select g from jsonb_array_elements(v_gaps) g loop
    perform audit.note_finding(
      v_log.organization_id, 'entries_missing', format('%s-%s', v_gap ->> 'chain', v_gap ->> 'from_seq'), v_gap
    );
  end loop;
  return v_entries;
end
$$;

comment on function audit.sequence_entries(int, int, bigint) is
  'Gives entries that wait their indexes in a log, at most so many and about so many bytes; answers how many.';

create or replace function audit.chain_heads(organization_id uuid)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  -- What an entry can hold: the 500 chains that were written last.
  select jsonb_agg(jsonb_build_array(h.chain, h.seq, encode(h.hash, 'hex')) order by h.chain)
  from (
    select h.chain, h.seq, h.hash
    from audit.heads h
    where h.organization_id = chain_heads.organization_id and h.chain <> audit.log_chain() and h.seq > 0
    order by h.last_at desc
    limit 500
  ) h
$$;

comment on function audit.chain_heads(uuid) is 'Chain, position and hash of the last entries of an organisation''s chains, for its heartbeat.';

create or replace function audit.open_log(organization_id uuid, base text)
  returns int
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_log audit.logs;
  v_before audit.logs;
  v_month date := date_trunc('month', clock_timestamp() at time zone 'utc');
  v_origin text;
begin
  select l.* into v_log from audit.logs l
  where l.organization_id = open_log.organization_id and l.month is not null and l.closed_at is null
  for update skip locked;
  if v_log.id is null and exists (
    select from audit.logs l where l.organization_id = open_log.organization_id and l.month is not null and l.closed_at is null
  ) or v_log.lease_until >= clock_timestamp() then
    return null; -- another run has it
  elsif v_log.month >= v_month then -- or the clock was set back
    return v_log.id;
  end if;

  -- What was sequenced is published (audit.claim_log() sees to it), so the last checkpoint is final.
  update audit.logs l set closed_at = clock_timestamp() where l.id = v_log.id;
  select l.* into v_before from audit.logs l
  where l.organization_id = open_log.organization_id and l.month is not null
  order by l.month desc
  limit 1;
  v_origin := format('%s/%s/%s', open_log.base, open_log.organization_id, to_char(v_month, 'YYYY-MM'));
  insert into audit.logs as l (organization_id, month, origin)
  values (open_log.organization_id, v_month, v_origin)
  on conflict do nothing
  returning l.* into v_log;
  if not found then
    return null; -- another run was quicker
  end if;

  -- The months form one history: each begins with what the one before ended with.
  perform audit.append_to_log_chain(open_log.organization_id, 'log.opened', v_origin, jsonb_build_object(
    'origin', v_origin, 'incarnation', audit.incarnation(),
    'previous', (
      select jsonb_build_object('origin', v_before.origin, 'size', c.size, 'root', encode(c.root, 'base64'))
      from audit.checkpoints c
      where c.log = v_before.id and c.size = v_before.published
    )
  ));
  insert into audit.log_ranges (log, start, organization_id, chain, from_seq, to_seq)
  select v_log.id, 0, h.organization_id, h.chain, h.seq, h.seq
  from audit.heads h
  where h.organization_id = open_log.organization_id and h.chain = audit.log_chain();
  update audit.logs l set sequenced = 1, first_at = h.last_at, last_at = h.last_at
  from audit.heads h
  where l.id = v_log.id and h.organization_id = open_log.organization_id and h.chain = audit.log_chain();
  insert into audit.sequenced as s (organization_id, chain, seq, last_at)
  select h.organization_id, h.chain, h.seq, h.last_at
  from audit.heads h
  where h.organization_id = open_log.organization_id and h.chain = audit.log_chain()
  on conflict on constraint sequenced_pkey do update set seq = excluded.seq, last_at = excluded.last_at;

  -- One anchor log for the whole deployment, from the first log on.
  insert into audit.logs (organization_id, month, origin)
  values (audit.system_organization(), null, open_log.base || '/anchor')
  on conflict do nothing;
  return v_log.id;
end
$$;

comment on function audit.open_log(uuid, text) is
  'The organisation''s log of this month, opened where it is new; null where another run has it.';

create or replace function audit.beat(organization_id uuid)
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  if exists (
    select from audit.heads h
    where h.organization_id = beat.organization_id and h.chain = audit.log_chain()
      and h.last_at <= clock_timestamp() - interval '1 hour'
  ) then
    perform audit.append_to_log_chain(
      beat.organization_id, 'log.heartbeat', null, jsonb_build_object(
        'heads', audit.chain_heads(beat.organization_id), 'incarnation', audit.incarnation(),
        'uncaptured', (select count(distinct c.table_name) from audit.coverage c where not c.healthy)
      )
    );
  end if;
end
$$;

comment on function audit.beat(uuid) is 'Appends the hourly log.heartbeat where it is due: that nothing else happened, where the chains stand, how often the log was
restored from a backup, and how many tables are not captured whole.';

create or replace function audit.claim_log(
  base text,
  lease interval default '2 minutes',
  most_entries int default 10000,
  due_now boolean default false
)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_log int;
  v_organization uuid;
begin
  -- What an earlier run left comes first.
  select l.id into v_log from audit.logs l
  where l.sequenced > l.published and l.lease_until < clock_timestamp()
  order by l.lease_until, l.sealed_at nulls first
  limit 1
  for update skip locked;
  if v_log is null then
    for v_organization in select audit.due_organizations(claim_log.due_now) loop
      v_log := audit.open_log(v_organization, claim_log.base);
      if v_log is not null then
        perform audit.beat(v_organization);
        perform audit.sequence_entries(v_log, claim_log.most_entries);
      end if;
      exit when exists (select from audit.logs l where l.id = v_log and l.sequenced > l.published);
      v_log := null;
    end loop;
  end if;

  update audit.logs l set lease = gen_random_uuid(), lease_until = clock_timestamp() + claim_log.lease where l.id = v_log;
  return (
    select jsonb_build_object(
      'lease', l.lease, 'log', l.id, 'organization_id', l.organization_id, 'origin', l.origin,
      'folder', case when l.month is null then 'anchor' else l.organization_id || '/' || to_char(l.month, 'YYYY-MM') end,
      'published', l.published, 'note', c.note, 'frontier', encode(c.frontier, 'hex'),
      -- A root that was recorded is signed and published before the next one.
      'size', case when l.size > l.published then l.size else l.sequenced end
    )
    from audit.logs l
    left join audit.checkpoints c on c.log = l.id and c.size = l.published
    where l.id = v_log
  );
end
$$;

comment on function audit.claim_log(text, interval, int, boolean) is
  'Gives a run of the job "seal" one log with work to do, for as long as the lease: what an earlier run left, else the
organisation that waits longest, with new indexes given. Null where nothing is due. base: first part of the names of new logs.';

create or replace function audit.anchor_checkpoints()
  returns int
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_anchor audit.logs;
  v_entries int;
begin
  select l.* into v_anchor from audit.logs l where l.month is null for update;
  with entry as (
    insert into audit.anchor_entries (index, log, size, entry)
    select v_anchor.sequenced + row_number() over (order by l.id) - 1, l.id, l.published,
      concat(l.origin, E'\n', c.size, E'\n', encode(c.root, 'base64'), E'\n')
    from audit.logs l
    join audit.checkpoints c on c.log = l.id and c.size = l.published
    where v_anchor.id is not null and l.month is not null
      and not exists (select from audit.anchor_entries a where a.log = l.id and a.size = l.published)
    returning 1
  )
  select count(*) into v_entries from entry;
  update audit.logs l set sequenced = l.sequenced + v_entries where l.id = v_anchor.id and v_entries > 0;
  return v_entries;
end
$$;

comment on function audit.anchor_checkpoints() is
  'Puts what was published since the last time into the anchor log; answers how many checkpoints.';
