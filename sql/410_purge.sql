-- Purge: what is past its retention leaves the database, a small batch at a time, beside writers and readers, who notice
-- nothing: the purger locks rows that nobody else writes, and waits for nobody.
--
-- Of each chain goes its beginning, as far as every entry of it is past its retention, sealed, published and read back from
-- the archive. What stays links to the boundary that is kept here, so it verifies. One entry a day says for each
-- organisation where the boundaries are (log.purged).

create table if not exists audit.chain_bounds (
  organization_id uuid not null,
  chain int not null,
  seq bigint not null,
  hash bytea not null,
  created_at timestamptz not null,
  stated_chain int,
  stated_seq bigint,
  stated_at timestamptz,
  constraint chain_bounds_pkey primary key (organization_id, chain)
)
with (fillfactor = 70);

comment on table audit.chain_bounds is 'The last purged entry of each chain: what is left of it begins after it; written by audit.purge() only.';
comment on column audit.chain_bounds.organization_id is 'Whose chain.';
comment on column audit.chain_bounds.chain is 'The chain.';
comment on column audit.chain_bounds.seq is 'Position of the entry; all before it are gone too.';
comment on column audit.chain_bounds.hash is 'Its hash; what the first that is left links to.';
comment on column audit.chain_bounds.created_at is 'Its time.';
comment on column audit.chain_bounds.stated_chain is 'Chain of the log.purged entry that says so; null while the day''s purge is under way.';
comment on column audit.chain_bounds.stated_seq is 'Position of that entry.';
comment on column audit.chain_bounds.stated_at is 'Time of that entry.';

create index if not exists chain_bounds_unstated_idx on audit.chain_bounds (organization_id, chain) where stated_seq is null;

create table if not exists audit.purges (
  organization_id uuid not null,
  before timestamptz not null,
  done boolean not null,
  entries bigint not null,
  run_at timestamptz not null default clock_timestamp(),
  constraint purges_pkey primary key (organization_id)
)
with (fillfactor = 70);

comment on table audit.purges is 'How far the day''s purge of each organisation has come; written by audit.purge() only.';
comment on column audit.purges.organization_id is 'Whose entries.';
comment on column audit.purges.before is 'Entries from before then are past their retention.';
comment on column audit.purges.done is 'Whether all of them that may go are gone.';
comment on column audit.purges.entries is 'How many are gone that no log.purged entry has counted yet.';
comment on column audit.purges.run_at is 'When it last came on.';

revoke all on audit.chain_bounds, audit.purges from public, anon, authenticated, service_role;
revoke insert, update, delete, truncate on audit.chain_bounds, audit.purges from current_user;

create or replace function audit.purge_chain(
  organization_id uuid,
  chain int,
  before timestamptz,
  at_most int,
  out entries int,
  out identities bytea[]
)
  language plpgsql
  set search_path = ''
  -- By name, and only as far as entries may go: no plan that reads a whole chain first.
  set enable_seqscan = off
  set enable_sort = off
  set plan_cache_mode = force_custom_plan
as $$
#variable_conflict use_column
declare
  v_bound audit.chain_bounds;
  v_entry record;
  v_after bigint;
  v_first_at timestamptz;
  v_last_at timestamptz;
  v_values bytea[];
  v_cut jsonb;
begin
  entries := 0;
  select b.* into v_bound from audit.chain_bounds b
  where b.organization_id = purge_chain.organization_id and b.chain = purge_chain.chain;
  v_after := coalesce(v_bound.seq, 0);
  v_bound.seq := null;
  for v_entry in
    select a.seq, a.created_at, a.hash, l.is_read_back
    from public.audit_logs a
    left join lateral (
      select a.seq <= r.to_seq and r.start + a.seq - r.from_seq < least(l.published, l.read_back) as is_read_back
      from audit.log_ranges r
      join audit.logs l on l.id = r.log
      where r.organization_id = purge_chain.organization_id and r.chain = purge_chain.chain and r.from_seq <= a.seq
      order by r.from_seq desc
      limit 1
    ) l on true
    where a.organization_id = purge_chain.organization_id and a.chain = purge_chain.chain and a.seq > v_after
    order by a.seq
    limit purge_chain.at_most
  loop
    exit when v_entry.created_at >= purge_chain.before or v_entry.is_read_back is not true;
    entries := entries + 1;
    v_bound.seq := v_entry.seq;
    v_bound.hash := v_entry.hash;
    v_bound.created_at := v_entry.created_at;
    v_first_at := least(v_first_at, v_entry.created_at);
    v_last_at := greatest(v_last_at, v_entry.created_at);
  end loop;
  if entries = 0 then
    return;
  end if;

  with gone as (
    delete from public.audit_logs a
    where a.organization_id = purge_chain.organization_id and a.chain = purge_chain.chain
      and a.seq > v_after and a.seq <= v_bound.seq and a.created_at between v_first_at and v_last_at
    returning a.seq, a.created_at, a.identity_hash, a.details, a.resource_type, a.resource_id
  ),
  unindexed as (
    delete from audit.search_index s using gone g
    where s.organization_id = purge_chain.organization_id and s.created_at = g.created_at
      and s.chain = purge_chain.chain and s.seq = g.seq
  )
  select array_agg(distinct g.identity_hash) filter (where g.identity_hash is not null),
    array_agg(p.value_hash) filter (where p.value_hash is not null),
    jsonb_agg(jsonb_build_object('resource_type', g.resource_type, 'resource_id', g.resource_id, 'created_at', g.created_at))
      filter (where p.is_cut)
  into identities, v_values, v_cut
  from gone g
  left join lateral (
    select decode(v #>> '{}', 'hex') as value_hash, false as is_cut
    from jsonb_path_query(g.details, '$.**.personal ? (@ like_regex "^[0-9a-f]{64}$")') v
    union all
    select null, true where g.details::text like '%"cut"%'
  ) p on true;
  perform audit.release_values(purge_chain.organization_id, v_values, v_last_at, v_cut);

  insert into audit.chain_bounds as b (organization_id, chain, seq, hash, created_at)
  values (purge_chain.organization_id, purge_chain.chain, v_bound.seq, v_bound.hash, v_bound.created_at)
  on conflict on constraint chain_bounds_pkey do update set
    seq = excluded.seq, hash = excluded.hash, created_at = excluded.created_at,
    stated_chain = null, stated_seq = null, stated_at = null;
  -- What somebody took out before is not purged: it is a finding, and no reason to keep the rest for ever.
  if v_bound.seq - v_after > entries then
    perform audit.note_finding(
      purge_chain.organization_id, 'entries_missing', format('%s-%s', purge_chain.chain, v_after + 1),
      jsonb_build_object('chain', purge_chain.chain, 'from_seq', v_after + 1, 'to_seq', v_bound.seq, 'there', entries)
    );
  end if;
end
$$;

comment on function audit.purge_chain(uuid, int, timestamptz, int) is
  'Purges the beginning of a chain, at most so many entries; answers how many, and the identities that they committed to.';

create or replace function audit.purge_organization(organization_id uuid, before timestamptz, at_most int)
  returns int
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_chain int;
  v_purged record;
  v_entries int := 0;
  v_identities bytea[] := '{}';
begin
  -- The chain that was left furthest behind comes first.
  for v_chain in
    select h.chain
    from audit.heads h
    left join audit.chain_bounds b on b.organization_id = h.organization_id and b.chain = h.chain
    where h.organization_id = purge_organization.organization_id and h.seq > coalesce(b.seq, 0)
    order by b.created_at nulls first, h.chain
  loop
    exit when v_entries >= purge_organization.at_most;
    v_purged := audit.purge_chain(
      purge_organization.organization_id, v_chain, purge_organization.before, purge_organization.at_most - v_entries
    );
    v_entries := v_entries + v_purged.entries;
    v_identities := v_identities || v_purged.identities;
  end loop;
  perform audit.release_identities(purge_organization.organization_id, v_identities);
  return v_entries;
end
$$;

comment on function audit.purge_organization(uuid, timestamptz, int) is
  'Purges an organisation''s entries from before a time, at most so many; answers how many, fewer where no more may go.';

create or replace function audit.state_purge(organization_id uuid)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_purge audit.purges;
  v_chains int[];
  v_bounds jsonb;
  v_entry record;
begin
  select p.* into v_purge from audit.purges p where p.organization_id = state_purge.organization_id;
  loop
    -- What an entry can hold.
    select array_agg(b.chain), jsonb_agg(jsonb_build_array(b.chain, b.seq, encode(b.hash, 'hex')) order by b.chain)
    into v_chains, v_bounds
    from (
      select b.* from audit.chain_bounds b
      where b.organization_id = state_purge.organization_id and b.stated_seq is null
      order by b.chain
      limit 500
    ) b;
    exit when v_chains is null;
    v_entry := audit.record(state_purge.organization_id, 'log.purged', 'log', null, jsonb_build_object(
      'before', to_jsonb(v_purge.before at time zone 'utc'), 'entries', v_purge.entries, 'bounds', v_bounds
    ));
    v_purge.entries := 0;
    update audit.chain_bounds b set stated_chain = h.chain, stated_seq = h.seq, stated_at = h.last_at
    from audit.heads h
    where b.organization_id = state_purge.organization_id and b.chain = any (v_chains)
      and h.organization_id = state_purge.organization_id and h.chain = v_entry.chain;
  end loop;
  update audit.purges p set entries = 0 where p.organization_id = state_purge.organization_id;
end
$$;

comment on function audit.state_purge(uuid) is
  'Leaves the log.purged entry: how many entries are gone, and for each chain the last of them, with its hash.';

create or replace function audit.purge(most_entries int default 5000)
  returns int
  language plpgsql
  security definer -- nobody who can log in may delete entries
  set search_path = ''
  set lock_timeout = '1s'
as $$
#variable_conflict use_column
declare
  v_due record;
  v_entries int;
  v_left int := most_entries;
  v_start timestamptz := clock_timestamp();
begin
  if most_entries is null or most_entries not between 1 and 100000 then
    perform audit.fail('AUARG', 'A batch has 1 to 100,000 entries.');
  elsif current_setting('transaction_isolation') <> 'read committed' then
    perform audit.fail('AUARG', 'A purge must see holds of the moment.', null, 'Run it at read committed.');
  -- One at a time; and not while somebody places a hold or sets a period (audit.await_purge).
  elsif not pg_try_advisory_xact_lock(hashtext('audit.purge')) then
    return 0;
  end if;

  for v_due in
    select d.organization_id, d.before, d.states_first
    from (
      select o.organization_id, r.before, p.run_at, p.entries > 0 and p.before is distinct from r.before as states_first,
        r.before is not null and (p.done is not true or r.before > p.before) as is_due
      from (
        select distinct h.organization_id
        from audit.heads h
        where h.organization_id in (select c.organization_id from audit.retention_periods c)
          or exists (select from audit.retention_periods c where c.organization_id = audit.system_organization())
      ) o
      left join audit.purges p on p.organization_id = o.organization_id
      cross join lateral (
        -- By whole days, so that each has one run, and one entry.
        select case when not audit.is_held(o.organization_id) then
          date_trunc('day', clock_timestamp() - make_interval(days => t.database_days), 'UTC')
        end as before
        from audit.retention_of(o.organization_id) t
      ) r
      where p.organization_id is null or not p.done or p.entries > 0 or p.run_at < date_trunc('day', clock_timestamp(), 'UTC')
    ) d
    where d.is_due or d.states_first
    order by d.run_at nulls first
  loop
    -- What an earlier day has purged, or one that a hold has stopped.
    if v_due.states_first then
      perform audit.state_purge(v_due.organization_id);
    end if;
    continue when v_due.before is null;
    v_entries := audit.purge_organization(v_due.organization_id, v_due.before, v_left);
    insert into audit.purges as p (organization_id, before, done, entries)
    values (v_due.organization_id, v_due.before, v_entries < v_left, v_entries)
    on conflict on constraint purges_pkey do update set
      before = excluded.before, done = excluded.done, entries = p.entries + excluded.entries, run_at = clock_timestamp();
    v_left := v_left - v_entries;
    exit when v_left = 0;
    perform audit.state_purge(v_due.organization_id);
    -- Of very many organisations each has a little, and whoever places a hold waits for the batch.
    exit when clock_timestamp() > v_start + interval '2 seconds';
  end loop;
  perform audit.check_identities();
  return most_entries - v_left;
end
$$;

comment on function audit.purge(int) is
  'Deletes entries that are past their retention, sealed, published, read back and not held, at most so many at once, with
what belongs to them; answers how many. pg_cron runs it.';

alter function audit.purge(int) owner to audit_purger;

-- Where nothing is left of a month. Detaching concurrently is not for functions, nor for a table with a default partition;
-- so the log is locked whole, for the moment that it takes, and only if that can be had at once: whoever wants to write or
-- read meanwhile waits no longer than lock_timeout. Where a reader is in the way, the next run tries again.
create or replace function audit.drop_empty_partition()
  returns text
  language plpgsql
  set search_path = ''
  set lock_timeout = '50ms'
  set enable_seqscan = off -- an index forgets dead entries before the table does
as $$
declare
  v_partition text;
  v_is_empty boolean;
begin
  for v_partition in
    select audit.qualified_name(r.partition) from audit.partition_ranges() r
    where r.to_time <= date_trunc('month', clock_timestamp(), 'UTC')
    order by r.from_time
  loop
    execute format('select not exists (select from %s)', v_partition) into v_is_empty;
    continue when not v_is_empty;
    execute format('alter table public.audit_logs detach partition %s', v_partition);
    -- Looked at again where nobody can write to it: a clock that was set back must not lose an entry.
    execute format('select not exists (select from %s)', v_partition) into v_is_empty;
    if not v_is_empty then
      perform audit.fail('AUIMM', format('Entries were written to %s meanwhile.', v_partition));
    end if;
    execute format('drop table %s', v_partition);
    return v_partition;
  end loop;
  return null;
exception when lock_not_available or sqlstate 'AUIMM' then
  return null;
end
$$;

comment on function audit.drop_empty_partition() is
  'Drops the oldest partition of a month that is over and of which all entries were purged; null where there is none, or
where somebody reads the log at this moment. pg_cron runs it.';
