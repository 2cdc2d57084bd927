-- Events of Auth and of the platform's logs: from many tellers, one entry each.
--
-- The same login shows in auth.sessions (a trigger), in auth.audit_log_entries (another), in a hook and in the log that a
-- drain or the collector brings, at once or ten minutes later, in any order. Each teller calls audit.record_auth().
--
-- What is one real event? Each teller tells of it once. So a sighting is a duplicate when its own teller has told of it
-- before (its mark), or when another teller has, for the same person and kind of action, within ten seconds, and nobody
-- of this kind has told of that one yet. Two failed logins a second apart, each told by hook and log, are two entries.
--
-- That decision is only right when nobody decides beside it. So it is made under an advisory lock, and never waited for
-- by Auth: whoever does not get it at once, or sees the past only (REPEATABLE READ, SERIALIZABLE), leaves the event in
-- audit.waiting_auth_events, from where a schedule takes it within seconds. No constraint can fail, no isolation level
-- hides a sighting, and what is rolled back was never told.

do $$
begin
  if to_regtype('audit.auth_event') is null then
    create type audit.auth_event as (
      source text,
      action text,
      outcome text,
      happened_at timestamptz,
      user_id uuid,
      email text,
      ip_address text,
      user_agent text,
      session_id uuid,
      request_id text,
      details jsonb
    );
  end if;
  if to_regtype('audit.auth_case') is null then
    create type audit.auth_case as (
      n int,
      event audit.auth_event,
      valid boolean,
      mark uuid,
      subject uuid,
      place uuid,
      bit smallint
    );
  end if;
end
$$;

comment on type audit.auth_event is
  'An event as one teller saw it. source: trigger, hook, audit_table or log. user_id and email: whom it concerns, and who
did it unless details say {"actor": {"type": "service", "id": null}}. details.resource: {"type", "id"} of what it was done to, else
the user. details.personal: {"email": {"old", "new"}}, which enters as commitments only.';
comment on type audit.auth_case is 'An event on its way through audit.settle_auth(): what it is recognised by, and by which teller.';

create table if not exists audit.auth_sightings (
  mark uuid not null,
  subject uuid,
  place uuid,
  session_id uuid,
  happened_at timestamptz not null,
  seen smallint
);

comment on table audit.auth_sightings is 'Which events were told, for a day: by these a second telling is recognised. Written by audit.settle_auth().';
comment on column audit.auth_sightings.mark is 'Digest of what one teller calls the event; told again, it has the same.';
comment on column audit.auth_sightings.subject is 'Digest of kind of action and person; null where no person is known.';
comment on column audit.auth_sightings.place is 'Digest of kind of action and IP address, by which an event without a person is recognised.';
comment on column audit.auth_sightings.session_id is 'The session, where it is known; two of them are never the same event.';
comment on column audit.auth_sightings.happened_at is 'When it happened, in the words of its first teller.';
comment on column audit.auth_sightings.seen is 'Which tellers have told of it, a bit each; null for all tellings but the first.';

-- Once, with the table: also `if not exists` would make Auth wait until an upgrade ends.
do $$
begin
  if to_regclass('audit.auth_sightings_mark_idx') is null then
    -- Not unique: a constraint would raise serialization failures, or make Auth wait.
    create index auth_sightings_mark_idx on audit.auth_sightings (mark);
    create index auth_sightings_subject_idx on audit.auth_sightings (subject, seen, happened_at);
    create index auth_sightings_place_idx on audit.auth_sightings (place, seen, happened_at);
  end if;
end
$$;

create table if not exists audit.waiting_auth_events (
  id bigint generated always as identity primary key,
  received_at timestamptz not null default clock_timestamp(),
  event audit.auth_event
);

comment on table audit.waiting_auth_events is
  'Events that could not be settled at once; audit.settle_waiting_auth() makes entries of them within seconds.';
comment on column audit.waiting_auth_events.id is 'Order of arrival.';
comment on column audit.waiting_auth_events.received_at is 'When it was told.';
comment on column audit.waiting_auth_events.event is 'The event.';

revoke all on audit.auth_sightings, audit.waiting_auth_events from public, anon, authenticated, service_role;

-- Tellers are told apart by a bit each.
create or replace function audit.auth_bit(source text)
  returns smallint
  language sql
  immutable
  parallel safe
  return case source when 'trigger' then 1 when 'hook' then 2 when 'audit_table' then 4 when 'log' then 8 end::smallint;

comment on function audit.auth_bit(text) is 'The bit of a teller in audit.auth_sightings.seen; null for a word that names none.';

create or replace function audit.auth_kind(action text)
  returns text
  language sql
  immutable
  parallel safe
  -- Tellers know one event by different names.
  return case
    when action in ('user.logout', 'user.session_revoked', 'user.session_expired') then 'session ended'
    when action in ('user.mfa_disabled', 'user.mfa_enrollment_removed') then 'factor removed'
    else action
  end;

comment on function audit.auth_kind(text) is 'The kind of an action: the same for names that different tellers have for one event.';

create or replace function audit.is_account_change(action text)
  returns boolean
  language sql
  immutable
  parallel safe
  return action in (
    'user.updated', 'user.password_changed', 'user.email_changed', 'user.phone_changed', 'user.banned', 'user.unbanned',
    'permission.granted', 'permission.revoked'
  );

comment on function audit.is_account_change(text) is
  'Whether Auth''s own record may call the action no more than "user_modified", which says that something changed.';

create or replace function audit.digest_id(value text)
  returns uuid
  language sql
  stable
  parallel safe
  return encode(substring(sha256(convert_to(value, 'UTF8')) from 1 for 16), 'hex')::uuid;

comment on function audit.digest_id(text) is 'The first 16 bytes of the text''s SHA-256 as a UUID: a name that fits an index.';

create or replace function audit.auth_accounts(
  inout user_ids uuid[],
  inout emails text[],
  out created_at timestamptz[]
)
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  -- Dynamic: Auth's table belongs to Auth, and older versions have no SSO.
  execute format(
    $q$
      select array_agg(coalesce(e.user_id, b.id) order by e.n),
        array_agg(coalesce(nullif(a.email, ''), nullif(b.email, ''), e.email)::text order by e.n),
        array_agg(coalesce(a.created_at, b.created_at) order by e.n)
      from unnest($1, $2) with ordinality e (user_id, email, n)
      left join auth.users a on a.id = e.user_id
      left join lateral (
        select u.id, u.email, u.created_at from auth.users u where u.email = e.email %s limit 1
      ) b on e.user_id is null
    $q$,
    case when exists (
      select from pg_catalog.pg_attribute c
      where c.attrelid = to_regclass('auth.users') and c.attname = 'is_sso_user' and not c.attisdropped
    ) then 'and u.is_sso_user = false' end
  )
  into user_ids, emails, created_at
  using user_ids, emails;
exception when others then
  null; -- without Auth's table an event is still whoever it says
end
$$;

comment on function audit.auth_accounts(uuid[], text[]) is
  'Whose each event is: the account that has the id or, where only an e-mail address is known, that address.';

create or replace function audit.auth_cases(events audit.auth_event[])
  returns audit.auth_case[]
  language plpgsql
  set search_path = ''
as $$
declare
  v_accounts record;
begin
  v_accounts := audit.auth_accounts(
    array(select e.user_id from unnest(auth_cases.events) e),
    array(select left(nullif(lower(btrim(e.email)), ''), 320) from unnest(auth_cases.events) e)
  );
  return (
    with told as (
      select e.n::int as n, e.source, coalesce(e.outcome, 'success') as outcome, coalesce(e.happened_at, clock_timestamp()) as happened_at,
        e.action, e.account as user_id, e.account_email as email, e.account_created_at,
        audit.normalized_ip(e.ip_address) as ip_address, audit.masked_text(left(nullif(e.user_agent, ''), 500)) as user_agent,
        e.session_id, audit.masked_text(left(nullif(e.request_id, ''), 200)) as request_id, coalesce(e.details, '{}') as details
      -- Side by side, not joined: a join of arrays whose length nobody estimates is quadratic.
      from unnest(auth_cases.events, v_accounts.user_ids, v_accounts.emails, v_accounts.created_at) with ordinality e (
        source, action, outcome, happened_at, user_id, email, ip_address, user_agent, session_id, request_id, details,
        account, account_email, account_created_at, n
      )
    ),
    known as (
      select t.n, t.source, t.outcome, t.happened_at, t.user_id, t.email, t.ip_address, t.user_agent, t.session_id, t.request_id,
        t.details,
        -- Where addresses are confirmed, Auth calls it a sign-up when the account, which is older, is confirmed.
        case
          when t.action = 'user.signed_up' and t.source <> 'trigger' and t.account_created_at < t.happened_at - interval '10 seconds'
            then 'user.confirmed'
          else t.action
        end as action
      from told t
    ),
    named as (
      select k.*,
        case
          when k.action = 'user.updated' then null
          when k.user_id is not null then audit.auth_kind(k.action) || ' user ' || k.user_id
          when k.email is not null then audit.auth_kind(k.action) || ' email ' || k.email
        end as subject,
        case
          when audit.is_account_change(k.action) then 'account ' || k.user_id
          when k.ip_address is not null then audit.auth_kind(k.action) || ' ip ' || k.ip_address
        end as place,
        case
          when k.source = 'log' and k.request_id is not null then concat_ws(' ', k.request_id, floor(extract(epoch from k.happened_at)))
          else concat_ws(' ', k.user_id, k.email, k.ip_address, k.session_id, k.outcome, extract(epoch from k.happened_at), k.details)
        end as name
      from known k
    )
    select array_agg(
      row(
        c.n,
        row(
          c.source, c.action, c.outcome, c.happened_at, c.user_id, c.email, c.ip_address, c.user_agent, c.session_id,
          c.request_id, c.details
        )::audit.auth_event,
        coalesce(
          audit.auth_bit(c.source) is not null
            and c.action ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' and length(c.action) <= 100
            and c.outcome in ('success', 'failure', 'denied')
            and jsonb_typeof(c.details) = 'object'
            -- Beyond a day nobody remembers whether it was told before.
            and c.happened_at between clock_timestamp() - interval '1 day' and clock_timestamp() + interval '10 minutes',
          false
        ),
        audit.digest_id(concat_ws(' ', c.source, c.action, c.name)),
        audit.digest_id(c.subject),
        audit.digest_id(c.place),
        audit.auth_bit(c.source)
      )::audit.auth_case
      order by c.n
    )
    from named c
  );
end
$$;

comment on function audit.auth_cases(audit.auth_event[]) is
  'The events in their usual form, with whose they are, whether they can be taken, and what they are recognised by.';

create or replace function audit.auth_details(organization_id uuid, event audit.auth_event)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_details jsonb := event.details - '{actor,resource,personal}'::text[] || jsonb_strip_nulls(jsonb_build_object(
    'source', event.source,
    'session_id', event.session_id,
    'happened_at', case
      when abs(extract(epoch from clock_timestamp() - event.happened_at)) > 5
        then to_char(event.happened_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    end
  ));
begin
  if jsonb_typeof(event.details -> 'personal') = 'object' then
    v_details := v_details || coalesce((
      select jsonb_build_object('changes', jsonb_object_agg(p.column_name, (
        select jsonb_object_agg(s.side, audit.commit_personal(
          auth_details.organization_id, event.user_id, 'user', event.user_id::text, p.column_name, s.value
        ))
        from jsonb_each_text(p.sides) s (side, value)
      )))
      from jsonb_each(event.details -> 'personal') p (column_name, sides)
      where jsonb_typeof(p.sides) = 'object' and p.sides <> '{}'
      having count(*) > 0
    ), '{}');
  end if;
  return v_details;
end
$$;

comment on function audit.auth_details(uuid, audit.auth_event) is
  'The details of an event''s entry: who told, which session, when it happened where that is more than five seconds ago.';

create or replace function audit.append_auth(events audit.auth_event[])
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_done bigint; -- a query with CTEs cannot be performed
begin
  with membership as materialized (
    select distinct u.user_id, m.organization_id
    from (select distinct e.user_id from unnest(append_auth.events) e where e.user_id is not null) u
    cross join lateral audit.memberships(u.user_id) m
    where m.organization_id is not null
  ),
  placed as (
    select coalesce(m.organization_id, audit.system_organization()) as organization_id, e.n,
      row(
        e.source, e.action, e.outcome, e.happened_at, e.user_id, e.email, e.ip_address, e.user_agent, e.session_id, e.request_id,
        e.details
      )::audit.auth_event as event,
      coalesce(e.details #>> '{actor,type}', 'user') as actor_type,
      case
        when e.details #>> '{actor,type}' is null then e.user_id
        else audit.as_uuid(e.details #>> '{actor,id}')
      end as actor
    from unnest(append_auth.events) with ordinality
      e (source, action, outcome, happened_at, user_id, email, ip_address, user_agent, session_id, request_id, details, n)
    left join membership m on m.user_id = e.user_id
  ),
  drafted as (
    select
      array_agg(row(
        p.organization_id, (p.event).action, (p.event).outcome,
        coalesce(left((p.event).details #>> '{resource,type}', 200), case when (p.event).user_id is not null then 'user' end),
        coalesce((p.event).details #>> '{resource,id}', (p.event).user_id::text),
        null, null, null, audit.auth_details(p.organization_id, p.event), audit.may_hold_secret((p.event).details::text)
      )::audit.draft order by p.n, p.organization_id) as drafts,
      array_agg(row(
        p.actor,
        case when p.actor_type in ('user', 'api_key', 'service', 'database', 'system') then p.actor_type else 'user' end,
        case when p.actor is not distinct from (p.event).user_id then (p.event).email end,
        (p.event).ip_address, (p.event).user_agent, (p.event).request_id, null, null
      )::audit.statement_context order by p.n, p.organization_id) as contexts
    from placed p
  )
  select count(audit.append_all(d.drafts, d.contexts)) into v_done from drafted d where d.drafts is not null;
end
$$;

comment on function audit.append_auth(audit.auth_event[]) is
  'Writes an entry for each event in each organisation of its user, in the system organisation where there is none.';

-- Only under the locks of audit.may_settle_auth(): whoever decides must be alone with these people.
create or replace function audit.settle_auth(events audit.auth_event[])
  returns table (n int, verdict text)
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_cases audit.auth_case[] := audit.auth_cases(settle_auth.events);
  v_states int[]; -- of each: 0 not taken, 1 told first by its teller, 2 known from another, 3 an entry
  v_matched int[];
  v_n int;
  v_bit smallint;
  v_free smallint[]; -- what another has told of and this one has not
  v_others smallint[]; -- what another has told of
begin
  select array_agg(case
      when c.valid and c.time = 1 and not exists (select from audit.auth_sightings s where s.mark = c.mark) then 1 else 0
    end order by c.n)
  into v_states
  from (select c.n, c.valid, c.mark, row_number() over (partition by c.mark, c.valid order by c.n) as time from unnest(v_cases) c) c;

  foreach v_bit in array array[1, 2, 4, 8]::smallint[] loop
    continue when not exists (
      select from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state) where c.bit = v_bit and c.state = 1
    );
    v_free := array(select f from generate_series(1, 15) f where f & v_bit = 0);
    v_others := array(select f from generate_series(1, 15) f where f & ~v_bit <> 0);
    -- Each takes the nearest that is free; where two want the same, the nearer has it and the other looks again.
    loop
      with wish as (
        select c.n, r.row_id, r.distance, v_bit <> 1 and (c.event).action = 'user.updated' as is_vague
        from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state)
        cross join lateral (
          select f.row_id, abs(extract(epoch from f.happened_at - (c.event).happened_at)) as distance
          from (
            select s.ctid as row_id, s.happened_at, s.session_id
            from audit.auth_sightings s
            where s.subject = c.subject and s.seen = any (v_free)
              and s.happened_at between (c.event).happened_at - interval '10 seconds' and (c.event).happened_at + interval '10 seconds'
            union all
            select s.ctid, s.happened_at, s.session_id
            from audit.auth_sightings s
            where s.place = c.place and (s.subject is null or c.subject is null)
              -- That an account was modified is said beside what was.
              and s.seen = any (case when v_bit <> 1 and (c.event).action = 'user.updated' then v_others else v_free end)
              and s.happened_at between (c.event).happened_at - interval '10 seconds' and (c.event).happened_at + interval '10 seconds'
          ) f
          where f.session_id is null or (c.event).session_id is null or f.session_id = (c.event).session_id
          order by 2
          limit 1
        ) r
        where c.bit = v_bit and c.state = 1
      ),
      granted as (
        select distinct on (w.row_id) w.row_id, w.n, w.is_vague from wish w order by w.row_id, w.distance, w.n
      ),
      taken as (
        update audit.auth_sightings s set seen = s.seen | v_bit
        from granted g
        where s.ctid = g.row_id and (s.seen & v_bit = 0 or g.is_vague)
        returning g.n
      )
      select array_agg(t.n) into v_matched from taken t;
      exit when v_matched is null;
      foreach v_n in array v_matched loop
        v_states[v_n] := 2;
      end loop;
    end loop;

    with told as (
      select c.mark, c.state, c.subject, c.place, c.event
      from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state)
      where c.bit = v_bit and c.state > 0
    )
    insert into audit.auth_sightings (mark, subject, place, session_id, happened_at, seen)
    select t.mark, t.subject, t.place, (t.event).session_id, (t.event).happened_at, v_bit from told t where t.state = 1
    union all
    select t.mark, null, null, null, (t.event).happened_at, null from told t where t.state = 2;

    v_states := array(
      select case when c.bit = v_bit and c.state = 1 then 3 else c.state end
      from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state)
      order by c.n
    );
  end loop;

  perform audit.append_auth(array(
    select c.event from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state) where c.state = 3 order by c.n
  ));

  return query
    select c.n, case when not c.valid then 'refused' when c.state = 3 then 'recorded' else 'duplicate' end
    from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state)
    order by c.n;
end
$$;

comment on function audit.settle_auth(audit.auth_event[]) is
  'Decides which events are new and writes them; the caller holds the locks of audit.may_settle_auth().';

create or replace function audit.may_settle_auth(events audit.auth_event[])
  returns boolean
  language plpgsql
  set search_path = ''
as $$
declare
  v_user uuid;
begin
  -- A snapshot from before would not show what others have told since.
  if current_setting('transaction_isolation') <> 'read committed' then
    return false;
  end if;
  -- Who brings a log decides alone and can wait for it: until the Auth transactions that are deciding have ended.
  if not exists (select from unnest(may_settle_auth.events) e where e.source in ('trigger', 'hook', 'audit_table'))
    or exists (select from unnest(may_settle_auth.events) e where e.source = 'log')
  then
    perform pg_advisory_xact_lock(1096110405, 0);
    return true;
  end if;
  -- Auth decides beside others, alone with the people it is about, and never waits. (A lock is shared memory, so not
  -- for thousands.)
  if (select count(distinct e.user_id) > 16 or bool_or(e.user_id is null) from unnest(may_settle_auth.events) e)
    or not pg_try_advisory_xact_lock_shared(1096110405, 0)
  then
    return false;
  end if;
  for v_user in select distinct e.user_id from unnest(may_settle_auth.events) e loop
    if not pg_try_advisory_xact_lock(1096110406, hashtext(v_user::text)) then
      return false;
    end if;
  end loop;
  return true;
end
$$;

comment on function audit.may_settle_auth(audit.auth_event[]) is
  'Takes the locks under which these events can be decided on; false where that cannot be now.';

create or replace function audit.record_auth(events audit.auth_event[])
  returns table (n int, verdict text)
  language plpgsql
  set search_path = ''
as $$
begin
  if coalesce(cardinality(record_auth.events), 0) = 0 then
    return;
  end if;
  if audit.may_settle_auth(record_auth.events) then
    return query select s.n, s.verdict from audit.settle_auth(record_auth.events) s;
  else
    return query
      with waiting as (
        insert into audit.waiting_auth_events (event) select e::audit.auth_event from unnest(record_auth.events) e returning 1
      )
      select g, 'waiting' from generate_series(1, (select count(*)::int from waiting)) g;
  end if;
end
$$;

comment on function audit.record_auth(audit.auth_event[]) is
  'Takes events as one or several tellers saw them and answers each by its position: recorded, duplicate, refused (no such
source, action or outcome; older than a day), or waiting (decided within seconds; never for events of a log at READ COMMITTED).';

create or replace function audit.settle_waiting_auth(most int default 5000)
  returns int
  language plpgsql
  set search_path = ''
  set lock_timeout = '5s'
as $$
declare
  v_ids bigint[];
  v_id bigint;
  v_settled int := 0;
  v_failed int := 0;
begin
  if not exists (select from audit.waiting_auth_events) then
    return 0;
  end if;
  begin
    perform pg_advisory_xact_lock(1096110405, 0);
  exception when lock_not_available then
    return 0; -- a transaction of Auth stands still; the next run tries again
  end;
  v_ids := array(select w.id from audit.waiting_auth_events w order by w.id limit settle_waiting_auth.most);
  begin
    perform audit.settle_waiting_auth_events(v_ids);
    return cardinality(v_ids);
  exception when others then
    null; -- one of them, or what they all need
  end;
  foreach v_id in array v_ids loop
    begin
      perform audit.settle_waiting_auth_events(array[v_id]);
      v_settled := v_settled + 1;
    exception when others then
      v_failed := v_failed + 1;
      perform audit.note_finding(audit.system_organization(), 'auth_event_waiting', v_id::text, jsonb_build_object('sqlstate', sqlstate));
      exit when v_failed = 10 and v_settled = 0;
    end;
  end loop;
  return v_settled;
end
$$;

comment on function audit.settle_waiting_auth(int) is
  'Makes entries of the events that wait, the oldest first; for the schedule. What fails stays, and is a finding as long.';

create or replace function audit.settle_waiting_auth_events(ids bigint[])
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_events audit.auth_event[];
  v_refused int;
begin
  with taken as (
    delete from audit.waiting_auth_events w where w.id = any (settle_waiting_auth_events.ids) returning w.id, w.event
  )
  select array_agg(t.event order by t.id) into v_events from taken t;
  select count(*) into v_refused from audit.settle_auth(v_events) s where s.verdict = 'refused';
  perform audit.resolve_finding(f.organization_id, f.kind, f.subject)
  from audit.findings f
  where f.kind = 'auth_event_waiting' and f.resolved_at is null and f.subject = any (ids::text[]);
  if v_refused > 0 then
    perform audit.note_finding(audit.system_organization(), 'auth_events_lost', 'waiting_auth_events', jsonb_build_object('events', v_refused));
  end if;
end
$$;

comment on function audit.settle_waiting_auth_events(bigint[]) is
  'Settles the events that wait under these ids; those that waited beyond a day are lost, which is a finding.';

create or replace function audit.forget_auth_sightings()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_forgotten bigint;
begin
  delete from audit.auth_sightings s where s.happened_at < clock_timestamp() - interval '25 hours';
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$$;

comment on function audit.forget_auth_sightings() is
  'Lets go of what is older than any event that audit.record_auth() takes; for the schedule. Answers how many.';
