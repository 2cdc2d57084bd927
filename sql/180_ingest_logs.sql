-- What a project's logs tell: failed logins, requests that were denied, requests at all. The functions read the lines
-- (functions/_shared/logs) and pass on events; here each is recorded once, however often and by whichever way it comes.

create table if not exists audit.seen_logs (
  key uuid constraint seen_logs_pkey primary key,
  seen_at timestamptz not null default clock_timestamp()
);

comment on table audit.seen_logs is
  'Events of logs that were taken in, so that none is twice; forgotten when lines of their age are no longer taken.';
comment on column audit.seen_logs.key is 'The first half of the SHA-256 of what names the event.';
comment on column audit.seen_logs.seen_at is 'When it was taken in.';

create or replace function audit.oldest_log_line()
  returns interval
  language sql
  immutable
  parallel safe
  return interval '1 day';

comment on function audit.oldest_log_line() is 'How old a line of a log may be to be taken in: what audit.record_auth() remembers.';

create or replace function audit.newest_log_line()
  returns interval
  language sql
  immutable
  parallel safe
  return interval '10 minutes';

comment on function audit.newest_log_line() is 'How far ahead of this server''s clock a line of a log may be.';

create or replace function audit.forget_seen_logs()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_forgotten bigint;
begin
  -- A line from the future is taken for that much longer.
  delete from audit.seen_logs s
  where s.seen_at < clock_timestamp() - audit.oldest_log_line() - audit.newest_log_line() - interval '1 hour';
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$$;

comment on function audit.forget_seen_logs() is 'Forgets events whose lines would be too old to be taken again; answers how many.';

-- A share of a kind of event is taken by what names it: whichever way a line comes, and however often, it is in or out.
create or replace function audit.is_sampled(key uuid, api_access jsonb)
  returns boolean
  language sql
  immutable
  parallel safe
  return case
    when api_access = '"all"' then true
    when api_access = '"off"' then false
    else ('x' || substring(key::text from 1 for 7))::bit(28)::int < (api_access #>> '{}')::double precision * 268435456
  end;

comment on function audit.is_sampled(uuid, jsonb) is 'Whether an event named so belongs to the share that the setting api_access asks for.';

create or replace function audit.reported_context(
  user_id uuid,
  actor_type text,
  email text,
  ip_address text,
  user_agent text,
  request_id text
)
  returns audit.statement_context
  language sql
  stable
  parallel safe
  return row(
    user_id, coalesce(actor_type, 'user'), left(email, 320), audit.normalized_ip(ip_address),
    audit.masked_text(left(user_agent, 500)), audit.masked_text(left(request_id, 200)), null, null
  )::audit.statement_context;

comment on function audit.reported_context(uuid, text, text, text, text, text) is
  'Who acted in an event that somebody reports and in which request, within the bounds that entries have.';

create or replace function audit.late_time(happened_at timestamptz)
  returns text
  language sql
  stable
  parallel safe
  return case
    when abs(extract(epoch from clock_timestamp() - happened_at)) > 5
      then to_char(happened_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
  end;

comment on function audit.late_time(timestamptz) is
  'When it happened, for the details of an entry that is written more than five seconds later; else null.';

create or replace function audit.ingest_logs(events jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_write record;
  v_result jsonb;
  v_by_auth jsonb;
begin
  with event as materialized (
    select e.ordinality::int - 1 as n, substring(sha256(convert_to(e.key, 'UTF8')) from 1 for 16) as digest, e.kind,
      e.happened_at, e.action, e.outcome, e.actor_type, e.user_id, e.email, e.ip_address, e.user_agent, e.session_id,
      e.request_id, e.resource_type, e.resource_id, e.details, e.payload
    from rows from (jsonb_to_recordset(ingest_logs.events) as (
      key text, kind text, happened_at timestamptz, action text, outcome text, actor_type text, user_id uuid, email text,
      ip_address text, user_agent text, session_id uuid, request_id text, resource_type text, resource_id text, details jsonb,
      payload jsonb
    )) with ordinality e
  ),
  belonging as materialized (
    -- The nil UUID for nobody, so that rows can be joined by their hashes.
    select distinct u.user_id, coalesce(m.organization_id, audit.system_organization()) as organization_id
    from (select distinct coalesce(e.user_id, audit.system_organization()) as user_id from event e where e.kind <> 'auth') u
    left join lateral audit.memberships(u.user_id) m on true
  ),
  access as materialized (
    select b.organization_id, audit.setting('api_access', b.organization_id) as share
    from (select distinct b.organization_id from belonging b) b
  ),
  -- An event belongs to each organisation of its user; Auth's are told to audit.record_auth(), which knows theirs.
  place as materialized (
    select e.n, b.organization_id
    from event e
    join belonging b on b.user_id = coalesce(e.user_id, audit.system_organization())
    join access a on a.organization_id = b.organization_id
    where e.kind = 'denied' or e.kind = 'accessed' and audit.is_sampled(encode(e.digest, 'hex')::uuid, a.share)
  ),
  judged as materialized (
    select e.*, case
      when e.happened_at < v_now - audit.oldest_log_line() then 'too_old'
      when e.happened_at > v_now + audit.newest_log_line() then 'in_the_future'
      when e.kind = 'accessed' and not exists (select from place p where p.n = e.n) then 'left_out'
    end as verdict
    from event e
  ),
  seen as (
    insert into audit.seen_logs (key)
    select distinct encode(j.digest, 'hex')::uuid as key
    from judged j
    where j.verdict is null
    order by key -- two that take in the same lines wait for each other, never in a circle
    on conflict on constraint seen_logs_pkey do nothing
    returning key
  ),
  fresh as materialized (
    select distinct on (j.digest) j.*
    from judged j
    join seen s on s.key = encode(j.digest, 'hex')::uuid
    order by j.digest, j.n
  )
  select
    (
      select array_agg(
        case
          when f.payload is null then row('log', f.action, f.outcome, f.happened_at, f.user_id, f.email, f.ip_address,
            f.user_agent, f.session_id, f.request_id, f.details)::audit.auth_event
          else audit.auth_audit_event(f.payload, f.happened_at, f.ip_address, f.user_agent, f.request_id, 'log')
        end
        order by f.happened_at, f.n
      )
      from fresh f where f.kind = 'auth'
    ) as auth,
    (
      select array_agg(
        row(p.organization_id, f.action, f.outcome, audit.bounded(f.resource_type, 200), f.resource_id, f.user_id, null, null,
          f.details || jsonb_strip_nulls(jsonb_build_object(
            'source', 'log', 'session_id', f.session_id,
            'happened_at', audit.late_time(f.happened_at)
          )),
          audit.may_hold_secret(f.details::text || coalesce(f.resource_id, '')) or length(f.resource_id) > 500
        )::audit.draft
        order by f.happened_at, f.n, p.organization_id
      )
      from fresh f join place p on p.n = f.n
    ) as drafts,
    (
      select array_agg(
        audit.reported_context(f.user_id, f.actor_type, f.email, f.ip_address, f.user_agent, f.request_id)
        order by f.happened_at, f.n, p.organization_id
      )
      from fresh f join place p on p.n = f.n
    ) as contexts,
    jsonb_build_object(
      'recorded', (select count(*) from fresh f where f.kind <> 'auth'),
      'duplicate', (select count(*) from judged j where j.verdict is null) - (select count(*) from fresh),
      'left_out', (select count(*) from judged j where j.verdict = 'left_out'),
      'refused', (
        select coalesce(jsonb_agg(jsonb_build_object('event', j.n, 'reason', j.verdict) order by j.n), '[]')
        from judged j where j.verdict in ('too_old', 'in_the_future')
      )
    ) as result
  into v_write;

  v_result := v_write.result;
  if v_write.drafts is not null then
    perform audit.append_all(v_write.drafts, v_write.contexts);
  end if;
  -- Last: it decides under a lock that holds until the transaction ends.
  if v_write.auth is not null then
    select jsonb_object_agg(v.verdict, v.times) into v_by_auth
    from (select r.verdict, count(*) as times from audit.record_auth(v_write.auth) r group by r.verdict) v;
    v_result := v_result || jsonb_build_object(
      'recorded', (v_result ->> 'recorded')::int + coalesce((v_by_auth ->> 'recorded')::int, 0),
      'duplicate', (v_result ->> 'duplicate')::int + coalesce((v_by_auth ->> 'duplicate')::int, 0),
      'waiting', coalesce((v_by_auth ->> 'waiting')::int, 0)
    );
  end if;
  return v_result;
end
$$;

comment on function audit.ingest_logs(jsonb) is
  'Records what lines of logs stand for, once each: failed logins and what else Auth did, denied requests, and as many others as the setting api_access asks for.';
