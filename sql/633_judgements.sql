-- Which hours are unusual. Each closed hour is judged once, from hours before it only, for all organisations in one
-- statement: against the same hour of the 14 days before, in the organisation's time zone, and against how far its hours
-- commonly are from that. What was unusual teaches nothing: neither what is expected, nor how much hours differ.
--
-- Distances are in units of chance, as counts differ (the square root of what is expected), so that a quiet night and a
-- busy noon are held against each other; costs are counted in units of what one query usually costs. sql/README.md has
-- the measurements behind the numbers.

create table if not exists audit.activity_baselines (
  organization_id uuid not null,
  metric text not null,
  since timestamptz not null,
  active_at timestamptz not null,
  constraint activity_baselines_pkey primary key (organization_id, metric)
);

comment on table audit.activity_baselines is
  'Since when hours of an organisation are compared; written by audit.judge_activity() and audit.learn_activity().';
comment on column audit.activity_baselines.organization_id is 'The organisation.';
comment on column audit.activity_baselines.metric is 'Of what: queries or cost, or the series of another rule (audit.series_of).';
comment on column audit.activity_baselines.since is 'The first hour that later ones are compared with.';
comment on column audit.activity_baselines.active_at is 'The last hour with any activity; after 14 days without, experience begins anew.';

alter table audit.activity_baselines enable row level security;

create or replace function audit.anomaly_rule()
  returns uuid
  language sql
  immutable
  parallel safe
  return '00000000-0000-4000-a000-000000000624'::uuid;

comment on function audit.anomaly_rule() is 'The default rule about unusual numbers of queries and costs.';

create or replace function audit.anomaly_parameter(settings jsonb, name text)
  returns float8
  language sql
  immutable
  parallel safe
  return coalesce(
    case when jsonb_typeof(settings #> array['parameters', name]) = 'number'
      then least(greatest((settings #>> array['parameters', name])::numeric, 0), 1e12)::float8
    end,
    case name when 'score' then 4 when 'least_cost' then 10 else 50 end
  );

comment on function audit.anomaly_parameter(jsonb, text) is
  'A parameter of the rule as an organisation has tuned it, else its default: score 4, least_queries and least_entries 50, least_cost 10.';

-- What the default watches is called queries and cost; what another rule watches by its id and, where it tells apart, a
-- blank and the value.
create or replace function audit.series_rule(metric text)
  returns uuid
  language sql
  immutable
  parallel safe
  return case when length(metric) >= 36 then left(metric, 36)::uuid else audit.anomaly_rule() end;

comment on function audit.series_rule(text) is 'Which rule watches a series.';

create or replace function audit.series_of(metric text, rule audit.rules)
  returns table (amount text, dimension text, value text)
  language sql
  immutable
  parallel safe
  set search_path = ''
  rows 1
as $$
  select case when length(metric) >= 36 then coalesce((rule).settings ->> 'value', 'entries') else metric end,
    coalesce((rule).settings #>> '{group_by,0}', (rule).match ->> 'field', 'all'),
    coalesce(nullif(substr(metric, 38), ''), (rule).match ->> 'value', '')
$$;

comment on function audit.series_of(text, audit.rules) is
  'What a series adds up (entries, queries or cost), and of what: dimension and value in audit.activity.';

-- What tells actors apart must not fill the database: so many of a rule and organisation at a time.
create or replace function audit.begin_series(hour timestamptz, organization_id uuid, metric text)
  returns void
  language sql
  set search_path = ''
as $$
  insert into audit.activity_baselines as b (organization_id, metric, since, active_at)
  select n.organization_id, n.metric, begin_series.hour, begin_series.hour
  from (
    select s.*, row_number() over (partition by s.organization_id, s.rule_id, s.known order by s.metric)
      + case when not s.known then (
        select count(*) from audit.activity_baselines k
        where k.organization_id = s.organization_id and starts_with(k.metric, s.rule_id::text)
      ) else 0 end as nth
    from (
      select a.organization_id, r.id as rule_id, m.metric, exists (
          select from audit.activity_baselines k where k.organization_id = a.organization_id and k.metric = m.metric
        ) as known
      from audit.rules r
      cross join lateral audit.series_of(r.id::text, r) w
      join audit.activity a on a.hour = begin_series.hour and a.dimension = w.dimension and (r.settings ? 'group_by' or a.value = w.value)
        and r.organization_id in (a.organization_id, audit.system_organization())
      cross join lateral (select concat_ws(' ', r.id, case when r.settings ? 'group_by' then a.value end) as metric) m
      where r.kind = 'anomaly' and r.id <> audit.anomaly_rule() and r.enabled
        and a.organization_id = coalesce(begin_series.organization_id, a.organization_id)
        and (begin_series.metric is null or m.metric = begin_series.metric or starts_with(m.metric, begin_series.metric || ' '))
        and case w.amount when 'entries' then a.entries when 'queries' then a.queries else a.costs end > 0
    ) s
  ) n
  where n.known or n.nth <= 200
  order by 1, 2
  on conflict on constraint activity_baselines_pkey do update set
    since = case when b.active_at < excluded.since - interval '336 hours' then excluded.since else b.since end,
    active_at = greatest(b.active_at, excluded.active_at)
$$;

comment on function audit.begin_series(timestamptz, uuid, text) is
  'Notes which series of own rules were active in an hour: of one organisation and series or of all; 200 of a rule and organisation at most.';

-- The same hour of the days before, where the organisation works: across a change of the clocks the hour of the clock
-- stays, not the distance.
create or replace function audit.same_hours(hour timestamptz, zone text)
  returns table (hour timestamptz)
  language sql
  stable
  set search_path = ''
  rows 14
as $$
  select date_trunc('hour', (same_hours.hour at time zone same_hours.zone - d * interval '1 day') at time zone same_hours.zone, 'UTC')
  from generate_series(1, 14) d
$$;

comment on function audit.same_hours(timestamptz, text) is 'Hours that had the same hour of the clock, one and up to 14 days before.';

create or replace function audit.judge_activity(hour timestamptz, organization_id uuid default null, metric text default null)
  returns int
  language plpgsql
  set search_path = ''
  -- Each tenant's hours lie together in the index; while the table is new the planner does not know how many there are.
  set enable_seqscan = off
  set enable_hashjoin = off
  set enable_mergejoin = off
  set jit = off -- what is switched off counts as dear, and what is dear is compiled: for longer than it runs
as $$
#variable_conflict use_column
declare
  v_hour timestamptz := judge_activity.hour;
  v_zone text := coalesce(audit.setting('time_zone') #>> '{}', 'UTC');
  v_judged int;
begin
  insert into audit.activity_baselines as b (organization_id, metric, since, active_at)
  select a.organization_id, m.metric, v_hour, v_hour
  from audit.activity a
  cross join lateral (values ('queries', a.queries), ('cost', a.costs)) m (metric, made_of)
  where a.hour = v_hour and a.dimension = 'all' and m.made_of > 0
    and a.organization_id = coalesce(judge_activity.organization_id, a.organization_id)
    and m.metric = coalesce(judge_activity.metric, m.metric)
  order by 1, 2
  on conflict on constraint activity_baselines_pkey do update set
    since = case when b.active_at < v_hour - interval '336 hours' then v_hour else b.since end,
    active_at = greatest(b.active_at, v_hour);
  perform audit.begin_series(v_hour, judge_activity.organization_id, judge_activity.metric);

  with clock as materialized (
    -- What is only an hour early or late is compared with the hours beside it.
    select z.zone,
      array(select s.hour from audit.same_hours(v_hour, z.zone) s) as same,
      array(select s.hour from audit.same_hours(v_hour - interval '1 hour', z.zone) s) as before,
      array(select s.hour from audit.same_hours(v_hour + interval '1 hour', z.zone) s) as after
    from (
      select v_zone union select s.value #>> '{}' from audit.settings s where s.name = 'time_zone'
    ) z (zone)
  ),
  member as materialized (
    select b.organization_id, b.metric, k.same, k.before, k.after, audit.anomaly_parameter(o.settings, 'score') as score_from,
      -- By the clock, 14 days can be a few hours more.
      greatest(b.since, v_hour - interval '340 hours') as since,
      audit.anomaly_parameter(o.settings, 'least_' || w.amount) as least,
      coalesce(case w.amount when 'queries' then a.queries::numeric when 'entries' then a.entries::numeric else a.cost end, 0) as seen,
      coalesce(case w.amount when 'queries' then a.queries when 'entries' then a.entries else a.costs end, 0) as made_of
    from audit.activity_baselines b
    join audit.rules r on r.id = audit.series_rule(b.metric)
    cross join lateral audit.series_of(b.metric, r) w
    left join audit.rule_choices c on c.rule_id = r.id and c.organization_id = b.organization_id
    left join audit.settings z on z.organization_id = b.organization_id and z.name = 'time_zone'
    cross join lateral (
      select r.settings || coalesce(c.choice, '{}') as settings, coalesce(z.value #>> '{}', v_zone) as zone
    ) o
    join clock k on k.zone = o.zone
    left join audit.activity a
      on a.hour = v_hour and a.organization_id = b.organization_id and a.dimension = w.dimension and a.value = w.value
    where b.since <= v_hour and b.active_at >= v_hour - interval '336 hours'
      and (r.enabled or r.id = audit.anomaly_rule())
      and b.organization_id = coalesce(judge_activity.organization_id, b.organization_id)
      and (judge_activity.metric is null or b.metric = judge_activity.metric or starts_with(b.metric, judge_activity.metric || ' '))
  ),
  judged as (
    select m.*, h.expected, h.before_expected, h.after_expected, h.experience, h.busiest, u.incidents, u.alerts as going_on,
      (m.seen::float8 - h.expected) / c.chance as distance,
      -- Hours differ at least as much as chance makes them.
      greatest(h.deviation, 1) as deviation, c.chance
    from member m
    cross join lateral (
      select
        case
          when count(*) filter (where j.hour = any (m.same)) >= 2
            then percentile_cont(0.5) within group (order by j.seen::float8) filter (where j.hour = any (m.same))
        end as expected,
        percentile_cont(0.5) within group (order by j.seen::float8) filter (where j.hour = any (m.before)) as before_expected,
        percentile_cont(0.5) within group (order by j.seen::float8) filter (where j.hour = any (m.after)) as after_expected,
        -- The active ones on three days at least.
        count(j.learned) >= 48 and count(*) filter (where j.made_of > 0) >= 48
          and max(j.hour) filter (where j.made_of > 0) >= min(j.hour) filter (where j.made_of > 0) + interval '48 hours' as experience,
        coalesce(stddev_samp(j.learned), 0) as deviation,
        max(j.seen)::float8 as busiest,
        (case when sum(j.seen) > 0 then sum(j.seen) / sum(j.made_of) end)::float8 as unit
      from audit.judgements j
      where j.organization_id = m.organization_id and j.metric = m.metric and j.hour >= m.since and j.hour < v_hour
        and not j.unusual
    ) h
    cross join lateral (select sqrt(greatest(h.expected, h.unit) * h.unit) as chance) c
    cross join lateral (
      select count(*) filter (where i.hour >= coalesce(i.before, '-infinity') + interval '24 hours') as incidents,
        coalesce(max(i.alerts) filter (where i.hour > v_hour - interval '24 hours'), 0) as alerts
      from (
        select j.hour, j.alerts, lag(j.hour) over (order by j.hour) as before
        from audit.judgements j
        where j.organization_id = m.organization_id and j.metric = m.metric and j.hour >= m.since and j.hour < v_hour
          and j.unusual
      ) i
    ) u
  ),
  thought as (
    select j.*, t.*, coalesce(
        t.score >= j.score_from and j.seen >= j.least and j.seen >= 0.75 * j.busiest and j.seen >= 1.5 * coalesce(greatest(j.before_expected, j.after_expected), 0)
          or t.score <= -j.score_from and j.expected >= j.least and 1.5 * j.seen <= coalesce(least(j.before_expected, j.after_expected), 0),
        false
      ) as unusual
    from judged j
    cross join lateral (select case when j.experience then j.distance / j.deviation end as score) t
  )
  insert into audit.judgements as j
    (organization_id, metric, hour, seen, made_of, expected, spread, score, learned, unusual, alerts)
  select t.organization_id, t.metric, v_hour, t.seen, t.made_of, t.expected, t.chance * t.deviation, t.score,
    case when not t.unusual then t.distance end, t.unusual,
    -- Who had incidents lately is told of the next one only if it is plainer; one that goes on stays one, unless it
    -- becomes very unusual.
    case
      when t.unusual and (t.going_on > 0 or abs(t.score) >= t.score_from + least(t.incidents, 4))
        then greatest(t.going_on, case when abs(t.score) >= 1.5 * t.score_from then 2 else 1 end)
      else 0
    end
  from thought t
  order by t.organization_id, t.metric
  on conflict on constraint judgements_pkey do update set
    seen = excluded.seen, made_of = excluded.made_of, expected = excluded.expected, spread = excluded.spread,
    score = excluded.score, learned = excluded.learned, unusual = excluded.unusual, alerts = excluded.alerts, late = false;
  get diagnostics v_judged = row_count;
  return v_judged;
end
$$;

comment on function audit.judge_activity(timestamptz, uuid, text) is
  'Judges an hour, of all organisations or of one, of all metrics or of one (by a rule''s id, of all it tells apart); returns of how many. Hours are judged in order; one that was judged is judged anew.';
