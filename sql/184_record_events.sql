-- Events that applications report through audit-ingest: each with its own actor and time, once for each idempotency key.

create table if not exists audit.event_keys (
  source_id uuid not null references audit.event_sources on delete cascade,
  key uuid not null,
  fingerprint bytea not null,
  organization_id uuid not null,
  chain int not null,
  seq bigint not null,
  seen_at timestamptz not null default clock_timestamp(),
  constraint event_keys_pkey primary key (source_id, key)
);

comment on table audit.event_keys is 'Idempotency keys of the last seven days, and the entries that their events became.';
comment on column audit.event_keys.source_id is 'Whose key it is.';
comment on column audit.event_keys.key is 'The first half of the key''s SHA-256.';
comment on column audit.event_keys.fingerprint is 'The beginning of the event''s SHA-256: the same key must not come with another event.';
comment on column audit.event_keys.organization_id is 'The entry''s.';
comment on column audit.event_keys.chain is 'The entry''s.';
comment on column audit.event_keys.seq is 'The entry''s.';
comment on column audit.event_keys.seen_at is 'When it was recorded.';

create or replace function audit.forget_event_keys()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_forgotten bigint;
begin
  delete from audit.event_keys k where k.seen_at < clock_timestamp() - interval '7 days';
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$$;

comment on function audit.forget_event_keys() is 'Forgets idempotency keys of more than seven days ago; answers how many.';

create or replace function audit.is_reserved(action text)
  returns boolean
  language sql
  immutable
  parallel safe
  return split_part(action, '.', 1) in (
    'log', 'capture', 'retention', 'hold', 'subject', 'auditor', 'alert', 'rule', 'verification'
  );

comment on function audit.is_reserved(text) is 'Whether only the product itself writes entries of that action.';

create or replace function audit.record_events(source uuid, events jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_count int := jsonb_array_length(record_events.events);
  v_source audit.event_sources;
  v_chain int := coalesce(audit.connection_chain(), audit.transaction_chain());
  v_write record;
  v_recorded jsonb;
begin
  -- The source's row is locked from here: its batches follow each other, so that a key is looked for after it was kept.
  update audit.event_sources s set
    allowance = least(
      s.events_per_minute, s.allowance + s.events_per_minute * extract(epoch from greatest(v_now - s.allowance_at, interval '0')) / 60
    ),
    allowance_at = greatest(v_now, s.allowance_at)
  where s.id = record_events.source and s.disabled_at is null
  returning s.* into v_source;
  if v_source.id is null then
    perform audit.fail('AUDEN', 'Nothing is taken from this source.', null, 'It was disabled, or there is none such.');
  end if;
  -- A batch that is more than a minute's passes when the allowance is full, and is paid off afterwards.
  if v_source.allowance < least(v_count, v_source.events_per_minute) then
    return jsonb_build_object('events_per_minute', v_source.events_per_minute, 'retry_after', ceil(
      (least(v_count, v_source.events_per_minute) - v_source.allowance) * 60 / v_source.events_per_minute
    ));
  end if;
  update audit.event_sources s set allowance = s.allowance - v_count where s.id = v_source.id;

  with event as materialized (
    select r.ordinality::int - 1 as n,
      coalesce(e.organization_id, v_source.organization_id, audit.system_organization()) as organization_id,
      e.action, e.outcome, e.resource_type, e.resource_id, e.occurred_at, e.user_id, e.actor_type, e.email, e.ip_address,
      e.user_agent, e.request_id, e.provider, e.cost,
      e.details || jsonb_strip_nulls(jsonb_build_object(
        'reported_by', v_source.name, 'happened_at', audit.late_time(e.occurred_at)
      )) as details,
      encode(substring(sha256(convert_to(e.key, 'UTF8')) from 1 for 16), 'hex')::uuid as key,
      substring(sha256(convert_to((r.raw - 'key')::text, 'UTF8')) from 1 for 8) as fingerprint
    from jsonb_array_elements(record_events.events) with ordinality r (raw)
    cross join lateral jsonb_to_record(r.raw) as e (
      key text, organization_id uuid, action text, outcome text, resource_type text, resource_id text,
      occurred_at timestamptz, user_id uuid, actor_type text, email text, ip_address text, user_agent text,
      request_id text, provider text, cost numeric, details jsonb
    )
  ),
  judged as materialized (
    select e.*, k.chain, k.seq, case
      when audit.is_reserved(e.action) then 'reserved_action'
      when e.organization_id <> v_source.organization_id then 'other_organization'
      when e.occurred_at > v_now + interval '1 day' then 'in_the_future'
      when k.fingerprint = e.fingerprint then 'duplicate'
      when k.key is not null then 'key_reused'
      when e.key is not null and e.n > min(e.n) over (partition by e.key) then
        case when e.fingerprint = first_value(e.fingerprint) over (partition by e.key order by e.n) then 'duplicate' else 'key_reused' end
    end as verdict
    from event e
    left join audit.event_keys k on k.source_id = v_source.id and k.key = e.key
  )
  select
    array_agg(
      row(j.organization_id, j.action, j.outcome, j.resource_type, j.resource_id, j.user_id, j.provider, j.cost, j.details, true)::audit.draft
      order by j.n
    ) filter (where j.verdict is null) as drafts,
    array_agg(
      audit.reported_context(
        j.user_id, coalesce(j.actor_type, case when j.user_id is null then 'service' end), j.email, j.ip_address,
        j.user_agent, j.request_id
      ) order by j.n
    ) filter (where j.verdict is null) as contexts,
    array_agg(j.n order by j.n) filter (where j.verdict is null) as numbers,
    array_agg(j.key order by j.n) filter (where j.verdict is null) as keys,
    array_agg(j.fingerprint order by j.n) filter (where j.verdict is null) as fingerprints,
    jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
      'event', j.n, 'verdict', j.verdict, 'entry', j.chain || '-' || j.seq
    ))) filter (where j.verdict is not null) as others
  into v_write
  from judged j;

  if v_write.drafts is not null then
    perform audit.append_all(v_write.drafts, v_write.contexts);
    -- Nobody else writes this chain now, so the new entries are its last.
    with place as materialized (
      select v_write.numbers[d.ordinality] as n, d.organization_id, v_write.keys[d.ordinality] as key, v_write.fingerprints[d.ordinality] as fingerprint,
        h.seq - count(*) over (partition by d.organization_id)
          + row_number() over (partition by d.organization_id order by d.ordinality) as seq
      from unnest(v_write.drafts) with ordinality as d (
        organization_id, action, outcome, resource_type, resource_id, created_by, provider, cost, details, suspect, ordinality
      )
      join audit.heads h on h.organization_id = d.organization_id and h.chain = v_chain
    ),
    kept as (
      insert into audit.event_keys (source_id, key, fingerprint, organization_id, chain, seq)
      select v_source.id, p.key, p.fingerprint, p.organization_id, v_chain, p.seq from place p where p.key is not null
    )
    select jsonb_agg(jsonb_build_object(
      'event', p.n, 'verdict', 'recorded', 'entry', v_chain || '-' || p.seq, 'hash', encode(l.hash, 'hex')
    ))
    into v_recorded
    from place p
    join public.audit_logs l on l.organization_id = p.organization_id and l.chain = v_chain and l.seq = p.seq
      and l.created_at >= v_now; -- none of the months before
  end if;
  return jsonb_build_object('results', coalesce(v_recorded, '[]') || coalesce(v_write.others, '[]'));
end
$$;

comment on function audit.record_events(uuid, jsonb) is
  'Records what a source reports and answers a verdict an event, with the entry''s name and hash; or, where it reports too much, when to come again.';
