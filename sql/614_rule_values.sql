-- What is usual: values that were seen before, and hours at which an organisation works. Both are learned from entries
-- as they come, and both are quiet until they have learned enough.

create table if not exists audit.rule_values (
  rule_id uuid not null,
  organization_id uuid not null,
  group_key text not null,
  value text not null,
  first_at timestamptz not null,
  last_at timestamptz not null,
  days int not null,
  forget_at timestamptz not null,
  constraint rule_values_pkey primary key (rule_id, organization_id, group_key, value)
);

comment on table audit.rule_values is 'Which values a rule has seen in which group; written by audit.evaluate_rules() only.';
comment on column audit.rule_values.rule_id is 'The rule.';
comment on column audit.rule_values.organization_id is 'Whose entries.';
comment on column audit.rule_values.group_key is 'The group.';
comment on column audit.rule_values.value is 'The value; empty for the group itself, of any value.';
comment on column audit.rule_values.first_at is 'When it was seen first.';
comment on column audit.rule_values.last_at is 'When it was seen last.';
comment on column audit.rule_values.days is 'On how many days, for the group itself.';
comment on column audit.rule_values.forget_at is 'When it would be new again.';

create table if not exists audit.active_hours (
  organization_id uuid not null,
  hour smallint not null,
  since date not null,
  days date[] not null,
  constraint active_hours_pkey primary key (organization_id, hour)
);

comment on table audit.active_hours is 'At which hours of the week people of an organisation work; written by audit.evaluate_rules() only.';
comment on column audit.active_hours.organization_id is 'The organisation.';
comment on column audit.active_hours.hour is 'The hour of the week in its time zone, from 0: Monday from midnight to one.';
comment on column audit.active_hours.since is 'The first day on which somebody did something at this hour.';
comment on column audit.active_hours.days is 'The last 13 days on which somebody did.';

alter table audit.rule_values enable row level security;
alter table audit.active_hours enable row level security;

create or replace function audit.judge_values(totals audit.rule_total[], force audit.rule_in_force[])
  returns audit.rule_firing[]
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_firings audit.rule_firing[];
begin
  if totals is null then
    return '{}';
  end if;
  with seen as materialized (
    select t.rule_id, t.organization_id, t.group_key, t.value, t.first_at, t.last_at, t.hits, t.names, t.about_alerts,
      f.settings -> 'allowed' as allowed, f.settings ->> 'value' as field,
      coalesce(audit.duration(f.settings ->> 'history'), interval '14 days') as history,
      coalesce((f.settings ->> 'warm_up')::int, 5) as warm_up
    from unnest(totals) t
    join unnest(force) f on f.rule_id = t.rule_id and f.organization_id = t.organization_id
    where t.value <> '' and f.kind = 'new_value'
  ),
  placed as (
    select s.*, v.first_at as known_since, v.last_at as known_until, g.days as known_days, g.last_at as group_until,
      lag(s.last_at) over value_before as before,
      least(g.first_at, min(s.first_at) over group_before) as group_since,
      -- A day counts once, however many entries it has.
      (s.first_at at time zone 'utc')::date > greatest(
        (g.last_at at time zone 'utc')::date, (lag(s.last_at) over group_before at time zone 'utc')::date, '-infinity'::date
      ) as new_day
    from seen s
    left join audit.rule_values v on v.rule_id = s.rule_id and v.organization_id = s.organization_id and v.group_key = s.group_key and v.value = s.value
    left join audit.rule_values g on g.rule_id = s.rule_id and g.organization_id = s.organization_id and g.group_key = s.group_key and g.value = ''
    window value_before as (partition by s.rule_id, s.organization_id, s.group_key, s.value order by s.first_at),
      group_before as (partition by s.rule_id, s.organization_id, s.group_key order by s.first_at, s.value)
  ),
  judged as materialized (
    select p.*,
      coalesce(p.known_days, 0) + count(*) filter (where p.new_day) over (
        partition by p.rule_id, p.organization_id, p.group_key order by p.first_at, p.value
      ) as days
    from placed p
  ),
  kept as (
    insert into audit.rule_values as v (rule_id, organization_id, group_key, value, first_at, last_at, days, forget_at)
    select k.rule_id, k.organization_id, k.group_key, k.value, k.first_at, k.last_at, k.days, k.last_at + k.history
    from (
      select j.rule_id, j.organization_id, j.group_key, j.value, min(j.first_at) as first_at, max(j.last_at) as last_at, 1 as days, max(j.history) as history
      from judged j group by j.rule_id, j.organization_id, j.group_key, j.value
      union all
      select j.rule_id, j.organization_id, j.group_key, '', min(j.first_at), max(j.last_at), max(j.days)::int, max(j.history)
      from judged j group by j.rule_id, j.organization_id, j.group_key
    ) k
    order by k.rule_id, k.organization_id, k.group_key, k.value
    on conflict on constraint rule_values_pkey do update set
      first_at = least(v.first_at, excluded.first_at), last_at = greatest(v.last_at, excluded.last_at),
      days = greatest(v.days, excluded.days), forget_at = greatest(v.forget_at, excluded.forget_at)
  )
  select array_agg(row(
    j.rule_id, j.organization_id, (coalesce(nullif(j.group_key, ''), '{}')::jsonb || jsonb_build_object(j.field, j.value))::text,
    j.first_at, j.last_at, j.hits, j.hits, j.names, j.about_alerts,
    case when jsonb_typeof(j.allowed) = 'array' then '{"not_allowed": true}'::jsonb else jsonb_build_object('days_known', j.days) end
  )::audit.rule_firing)
  into v_firings
  from judged j
  where case
    -- Who has said what is allowed has nothing to learn.
    when jsonb_typeof(j.allowed) = 'array' then not j.allowed ? j.value
    else coalesce(greatest(j.known_until, j.before) < j.first_at - j.history, true)
      and j.group_since <= j.first_at - j.warm_up * interval '1 day' and j.days > j.warm_up
  end;
  return coalesce(v_firings, '{}');
end
$$;

comment on function audit.judge_values(audit.rule_total[], audit.rule_in_force[]) is
  'Notes which values were seen, and answers which are new, or not allowed.';

-- Hours ---------------------------------------------------------------------------------------------------------------

create or replace function audit.time_zone_of(organization_id uuid)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_zone text := audit.setting('time_zone', time_zone_of.organization_id) #>> '{}';
begin
  if v_zone is null and exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = to_regclass('public.organizations') and a.attname = 'time_zone' and not a.attisdropped
  ) then
    execute 'select o.time_zone::text from public.organizations o where o.id::text = $1' into v_zone using time_zone_of.organization_id::text;
    if not exists (select from pg_catalog.pg_timezone_names z where z.name = v_zone) then
      v_zone := null;
    end if;
  end if;
  return coalesce(v_zone, 'UTC');
end
$$;

comment on function audit.time_zone_of(uuid) is
  'In which time zone an organisation works: its setting time_zone, else what the application''s organizations.time_zone says, else UTC.';

create or replace function audit.is_at_work(hours jsonb, local timestamp)
  returns boolean
  language sql
  immutable
  parallel safe
  -- What begins in the evening and ends in the morning belongs to the day on which it began.
  return case
    when hours ->> 'from' < hours ->> 'to' then
      to_char(local, 'HH24:MI') >= hours ->> 'from' and to_char(local, 'HH24:MI') < hours ->> 'to'
        and hours -> 'days' @> to_jsonb(extract(isodow from local)::int)
    when to_char(local, 'HH24:MI') >= hours ->> 'from' then hours -> 'days' @> to_jsonb(extract(isodow from local)::int)
    when to_char(local, 'HH24:MI') < hours ->> 'to' then hours -> 'days' @> to_jsonb(extract(isodow from local - interval '1 day')::int)
    else false
  end;

comment on function audit.is_at_work(jsonb, timestamp) is 'Whether a local time is within hours of work, which may go across midnight.';

-- An hour is usual if there was something at this hour of the week on three days of the last 90, or at this hour of any
-- day, where it is a day on which people work at all: who now and then works in the evening does so on any. The hours
-- beside it are as good, because nobody begins by the bell. An hour of the week comes once a week: three times take
-- three weeks, and a fourth shows what is left out. Before that, nothing is unusual.
create or replace function audit.is_usual_hour(organization_id uuid, local timestamp)
  returns boolean
  language sql
  stable
  set search_path = ''
as $$
  with now as (
    select extract(isodow from is_usual_hour.local)::int - 1 as weekday, extract(hour from is_usual_hour.local)::int as hour
  ),
  past as (
    select a.hour, a.since, d.day
    from audit.active_hours a
    cross join lateral unnest(a.days) d (day)
    where a.organization_id = is_usual_hour.organization_id and d.day between is_usual_hour.local::date - 90 and is_usual_hour.local::date - 1
  )
  select coalesce(min(p.since) > is_usual_hour.local::date - 28, true)
    or count(distinct p.day) filter (where (p.hour - n.weekday * 24 - n.hour + 169) % 168 <= 2) >= 3
    or count(distinct p.day) filter (where (p.hour - n.hour + 25) % 24 <= 2) >= 3
      and exists (select from past w where w.hour / 24 = n.weekday group by w.hour having count(*) >= 3)
  from now n
  left join past p on true
  group by n.weekday, n.hour
$$;

comment on function audit.is_usual_hour(uuid, timestamp) is
  'Whether people of an organisation are used to work at this hour, or it is not known yet.';

create or replace function audit.outside_hours(totals audit.rule_total[])
  returns audit.rule_total[]
  language plpgsql
  set search_path = ''
  -- Of arrays the planner knows no numbers: it would compare each with each.
  set enable_nestloop = off
  -- What is switched off counts as dear wherever it is needed all the same, and what is dear is compiled: for longer than it runs.
  set jit = off
as $$
#variable_conflict use_column
declare
  v_left audit.rule_total[];
begin
  if totals is null then
    return '{}';
  end if;
  with timed as materialized (
    select t as total, t.organization_id, t.slot, t.hours from unnest(totals) t
  ),
  -- Each quarter of an hour once, whoever did something in it; of what was learned each hour.
  quarter as materialized (
    select q.organization_id, q.slot, q.hours, to_timestamp(q.slot * 900) at time zone z.zone as at
    from (select distinct t.organization_id, t.slot, t.hours from timed t) q
    join (
      select o.organization_id, audit.time_zone_of(o.organization_id) as zone from (select distinct t.organization_id from timed t) o
    ) z on z.organization_id = q.organization_id
  ),
  hour as materialized (
    select h.organization_id, h.at, audit.is_usual_hour(h.organization_id, h.at) as usual
    from (select distinct q.organization_id, date_trunc('hour', q.at) as at from quarter q where q.hours = '"learned"') h
  ),
  learned as (
    insert into audit.active_hours as a (organization_id, hour, since, days)
    select d.organization_id, d.hour, min(d.day), (array_agg(d.day order by d.day desc))[:13]
    from (
      select h.organization_id, ((extract(isodow from h.at)::int - 1) * 24 + extract(hour from h.at)::int)::smallint as hour, h.at::date as day
      from hour h
    ) d
    group by d.organization_id, d.hour
    order by d.organization_id, d.hour
    on conflict on constraint active_hours_pkey do update set
      since = least(a.since, excluded.since),
      days = (select (array_agg(distinct d order by d desc))[:13] from unnest(a.days || excluded.days) d)
    where not a.days @> excluded.days
  )
  select array_agg(t.total) into v_left
  from timed t
  join quarter q on q.organization_id = t.organization_id and q.slot = t.slot and q.hours = t.hours
  left join hour h on h.organization_id = q.organization_id and h.at = date_trunc('hour', q.at) and q.hours = '"learned"'
  where not coalesce(h.usual, audit.is_at_work(q.hours, q.at));
  return coalesce(v_left, '{}');
end
$$;

comment on function audit.outside_hours(audit.rule_total[]) is
  'Leaves out, of rules that are about hours, what happened within them; and learns the hours from it.';
