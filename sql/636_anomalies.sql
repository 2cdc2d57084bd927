-- Anomalies: what is done about unusual hours. An alert says what was expected and seen, how unusual that is and who or
-- what contributed, and leads to entries. An incident is alerted once; its further hours are repetitions.

-- Who and what made an hour unusual: each actor, provider, model and action beside its own same hours of the days
-- before, those that were unusual left out.
create or replace function audit.anomaly_contributors(judgement audit.judgements, at_most int default 3)
  returns table (dimension text, value text, seen numeric, expected numeric)
  language sql
  stable
  set search_path = ''
as $$
  with series as (
    select s.amount from audit.rules r cross join lateral audit.series_of((judgement).metric, r) s where r.id = audit.series_rule((judgement).metric)
  ),
  day as materialized (
    select j.hour
    from audit.same_hours((judgement).hour, coalesce(audit.setting('time_zone', (judgement).organization_id) #>> '{}', 'UTC')) s
    join audit.judgements j
      on j.organization_id = (judgement).organization_id and j.metric = (judgement).metric and j.hour = s.hour and not j.unusual
  ),
  part as materialized (
    select a.hour, a.dimension, a.value, case s.amount when 'queries' then a.queries::numeric when 'entries' then a.entries::numeric else a.cost end as amount
    from audit.activity a
    cross join series s
    where a.organization_id = (judgement).organization_id and a.dimension <> 'all'
      and (a.hour = (judgement).hour or a.hour in (select d.hour from day d))
  ),
  compared as (
    select v.dimension, v.value,
      coalesce((select p.amount from part p where p.hour = (judgement).hour and p.dimension = v.dimension and p.value = v.value), 0) as seen,
      -- A day without it is a day with none of it.
      coalesce((
        select percentile_disc(0.5) within group (order by coalesce(p.amount, 0))
        from day d left join part p on p.hour = d.hour and p.dimension = v.dimension and p.value = v.value
      ), 0) as expected
    from (select distinct p.dimension, p.value from part p) v
  ),
  ranked as (
    select c.*, row_number() over (partition by c.dimension order by abs(c.seen - c.expected) desc, c.value) as n
    from compared c
    -- Only what goes the way that the whole went.
    where sign(c.seen - c.expected) = sign((judgement).score)
  )
  select r.dimension, r.value, r.seen, r.expected
  from ranked r
  where r.n <= anomaly_contributors.at_most
  order by array_position(array['actor', 'provider', 'model', 'action'], r.dimension), r.n
$$;

comment on function audit.anomaly_contributors(audit.judgements, int) is
  'The actors, providers, models and actions that made an hour unusual most, each beside what it usually has at this hour.';

create or replace function audit.anomaly_entries(judgement audit.judgements, actor text)
  returns text[]
  language sql
  stable
  set search_path = ''
as $$
  select array(
    select a.chain || '-' || a.seq
    from public.audit_logs a
    cross join (
      select s.* from audit.rules r cross join lateral audit.series_of((judgement).metric, r) s where r.id = audit.series_rule((judgement).metric)
    ) s
    where a.organization_id = (judgement).organization_id
      and a.created_at >= (judgement).hour and a.created_at < (judgement).hour + interval '1 hour'
      and case s.amount when 'queries' then a.action = 'query.executed' when 'cost' then a.cost is not null else true end
      and case s.dimension when 'provider' then a.provider when 'action' then a.action
        when 'actor' then coalesce(a.created_by::text, a.actor_type) else s.value end = s.value
    order by coalesce(a.created_by::text, a.actor_type) = anomaly_entries.actor desc, nullif(a.cost, 'NaN') desc nulls last, a.created_at, a.chain, a.seq
    limit 20
  )
$$;

comment on function audit.anomaly_entries(audit.judgements, text) is
  'Names of entries of an unusual hour: those of one actor first, the dearest before others.';

create or replace function audit.anomaly_degree(alerts smallint)
  returns text
  language sql
  immutable
  parallel safe
  return case when alerts > 1 then 'very unusual' else 'unusual' end;

comment on function audit.anomaly_degree(smallint) is 'How unusual an hour that raises an alert is, in words.';

create or replace function audit.anomaly_reason(judgement audit.judgements, contributors jsonb)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'metric', s.amount,
    'of', case when s.dimension <> 'all' then jsonb_build_object(s.dimension, s.value) end,
    'hour', audit.instant_text((judgement).hour),
    'seen', (judgement).seen,
    'expected', round((judgement).expected::numeric, 2),
    'usual', jsonb_build_array(
      greatest(round(((judgement).expected - 2 * (judgement).spread)::numeric, 2), 0),
      round(((judgement).expected + 2 * (judgement).spread)::numeric, 2)
    ),
    'score', round((judgement).score::numeric, 1),
    'meaning', audit.anomaly_degree((judgement).alerts) || format(': %s times as far from what is expected as hours commonly are', round(abs((judgement).score)::numeric, 1)),
    'late', nullif((
      select a.late from audit.activity a
      where a.hour = (judgement).hour and a.organization_id = (judgement).organization_id and a.dimension = 'all'
    ), 0),
    'contributors', contributors
  ))
  from audit.rules r
  cross join lateral audit.series_of((judgement).metric, r) s
  where r.id = audit.series_rule((judgement).metric)
$$;

comment on function audit.anomaly_reason(audit.judgements, jsonb) is
  'Why an hour is unusual, for its alert: seen, expected, the usual range (about 19 of 20 such hours), how unusual, who contributed.';

create or replace function audit.raise_anomaly(judgement audit.judgements)
  returns uuid
  language plpgsql
  set search_path = ''
as $$
declare
  v_rule audit.rules := audit.rule_for(audit.series_rule((judgement).metric), (judgement).organization_id);
  v_series record;
  v_contributors jsonb;
  v_alert uuid;
begin
  -- Who said that it is over does not want to hear of each hour that it goes on.
  if not v_rule.enabled or exists (
    select from audit.judgements j
    join audit.alerts a on a.id = j.alert and a.state = 'resolved'
    where j.organization_id = (judgement).organization_id and j.metric = (judgement).metric
      and j.hour < (judgement).hour and j.hour > (judgement).hour - interval '24 hours' and j.alerts >= (judgement).alerts
  ) then
    return null;
  end if;
  select s.* into v_series from audit.series_of((judgement).metric, v_rule) s;
  -- Of a part no parts are counted.
  if v_series.dimension = 'all' then
    select jsonb_agg(jsonb_build_object(
        'dimension', c.dimension, 'value', c.value, 'seen', c.seen, 'expected', c.expected
      )) into v_contributors
    from audit.anomaly_contributors(judgement) c;
  end if;
  v_alert := audit.raise_alert(
    v_rule.id, (judgement).organization_id,
    (jsonb_build_object('metric', v_series.amount, 'degree', audit.anomaly_degree((judgement).alerts))
      || case when v_series.dimension = 'all' then '{}' else jsonb_build_object(v_series.dimension, v_series.value) end)::text, (judgement).hour,
    format(
      '%s: %s in an hour, %s expected',
      case
        when v_rule.id <> audit.anomaly_rule() then v_rule.name || case when v_rule.settings ? 'group_by' then format(' (%s)', v_series.value) else '' end
        when v_series.amount = 'queries' then 'Unusual number of queries'
        else 'Unusual cost'
      end,
      round((judgement).seen, 2)::float8, round((judgement).expected::numeric, 2)::float8
    ),
    audit.anomaly_reason(judgement, v_contributors),
    audit.anomaly_entries(judgement, jsonb_path_query_first(v_contributors, '$[*] ? (@.dimension == "actor").value') #>> '{}'),
    -- Less than very unusual is not as loud as the rule says.
    case when (judgement).alerts = 1 and v_rule.severity not in ('info', 'low') then 'low' end
  );
  update audit.judgements j set alert = v_alert
  where j.organization_id = (judgement).organization_id and j.metric = (judgement).metric and j.hour = (judgement).hour;
  return v_alert;
end
$$;

comment on function audit.raise_anomaly(audit.judgements) is
  'Raises the alert of an unusual hour, or counts a repetition; null where the rule is off or its alert was resolved within a day.';

create or replace function audit.raise_anomalies(hour timestamptz, now timestamptz)
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_judgement audit.judgements;
  v_raised int := 0;
begin
  if raise_anomalies.hour < raise_anomalies.now - interval '1 day' then
    return 0;
  end if;
  for v_judgement in
    select j.* from audit.judgements j
    where j.hour = raise_anomalies.hour and j.alerts > 0 and j.alert is null
    order by j.organization_id, j.metric
  loop
    if audit.raise_anomaly(v_judgement) is not null then
      v_raised := v_raised + 1;
    end if;
  end loop;
  return v_raised;
end
$$;

comment on function audit.raise_anomalies(timestamptz, timestamptz) is
  'Raises the alerts of an hour that are not raised yet, unless they are a day old; returns how many.';

-- A new normal --------------------------------------------------------------------------------------------------------

create or replace function audit.learn_activity(organization_id uuid, metric text, since timestamptz, why text)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  update audit.activity_baselines b set since = learn_activity.since
  where b.organization_id = learn_activity.organization_id and b.metric = learn_activity.metric;
  -- Judged again in the light of themselves, without an alert: the first ones teach, as those of a new organisation.
  update audit.judgements j set unusual = false, alerts = 0, expected = null, spread = null, score = null, learned = null
  where j.organization_id = learn_activity.organization_id and j.metric = learn_activity.metric and j.hour >= learn_activity.since;
  perform audit.judge_activity(h.hour, learn_activity.organization_id, learn_activity.metric)
  from (
    select j.hour from audit.judgements j
    where j.organization_id = learn_activity.organization_id and j.metric = learn_activity.metric and j.hour >= learn_activity.since
    order by j.hour
  ) h;
  perform audit.record(
    learn_activity.organization_id, 'anomaly.accepted', 'metric', learn_activity.metric,
    jsonb_build_object('since', learn_activity.since, 'why', learn_activity.why)
  );
end
$$;

comment on function audit.learn_activity(uuid, text, timestamptz, text) is
  'Makes what is since some hour the new normal: what was before is not compared with any more. Leaves an entry.';

create or replace function audit.accept_activity(organization_id uuid, metric text, since timestamptz)
  returns void
  language plpgsql
  security definer -- admins say what is normal through this function only
  set search_path = ''
as $$
begin
  perform audit.require_admin(accept_activity.organization_id);
  if accept_activity.metric is null or accept_activity.metric not in ('queries', 'cost') and not exists (
    select from audit.activity_baselines b
    where b.organization_id = accept_activity.organization_id and b.metric = accept_activity.metric
  ) then
    perform audit.fail('AUARG', 'A metric is queries or cost.', null, 'What rules of your own watch is accepted by their alerts.');
  elsif accept_activity.since is null or accept_activity.since not between clock_timestamp() - interval '60 days' and clock_timestamp() then
    perform audit.fail('AUARG', 'A new normal began within the last 60 days.', null, 'Pass the hour from which on it is normal.');
  end if;
  perform pg_advisory_xact_lock(hashtext('audit.count_activity'));
  perform audit.learn_activity(
    accept_activity.organization_id, accept_activity.metric, date_trunc('hour', accept_activity.since, 'UTC'), 'accepted'
  );
end
$$;

comment on function audit.accept_activity(uuid, text, timestamptz) is
  'Says that numbers of queries, or costs, are as they should be since some hour: select audit.accept_activity(organization_id, ''cost'', now() - interval ''2 days'').
For admins of the organisation. Without it a lasting change is accepted after seven days.';

create or replace function audit.accept_alert(alert audit.alerts)
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_metric text;
  v_since timestamptz;
begin
  select j.metric, min(j.hour) into v_metric, v_since
  from audit.judgements j
  where j.organization_id = (accept_alert.alert).organization_id and j.alert = (accept_alert.alert).id
  group by j.metric;
  if v_metric is null then
    perform audit.fail('AUARG', 'Only what an anomaly told can be the new normal.', null, 'Other alerts are resolved.');
  end if;
  perform audit.learn_activity((accept_alert.alert).organization_id, v_metric, v_since, 'accepted');
end
$$;

comment on function audit.accept_alert(audit.alerts) is
  'Makes what an anomaly''s alert told the new normal, since its first hour; the caller holds the lock of audit.count_activity().';

-- Rules of one's own --------------------------------------------------------------------------------------------------

create or replace function audit.learn_series(rule audit.rules)
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  if (rule).kind = 'anomaly' and (rule).enabled then
    -- What is counted of the last days is judged as if the rule had been there: experience, and no alerts.
    perform audit.judge_activity(h, nullif((rule).organization_id, audit.system_organization()), (rule).id::text)
    from audit.activity_clock k
    cross join generate_series(k.judged_to - interval '336 hours', k.judged_to - interval '1 hour', interval '1 hour') h;
    update audit.judgements j set alerts = 0
    from audit.activity_baselines b
    where starts_with(b.metric, (rule).id::text) and j.organization_id = b.organization_id and j.metric = b.metric and j.alerts > 0;
  end if;
end
$$;

comment on function audit.learn_series(audit.rules) is 'Gives a rule about anomalies the experience of the last 14 days; does nothing for others.';

create or replace function audit.forget_series(rule_id uuid, organization_id uuid)
  returns void
  language sql
  set search_path = ''
as $$
  with series as (
    delete from audit.activity_baselines b
    where starts_with(b.metric, forget_series.rule_id::text) and b.organization_id = coalesce(forget_series.organization_id, b.organization_id)
    returning b.organization_id, b.metric
  )
  delete from audit.judgements j using series s where j.organization_id = s.organization_id and j.metric = s.metric
$$;

comment on function audit.forget_series(uuid, uuid) is 'Forgets what a rule of one''s own thought of hours, of one organisation or of all.';

-- What was unusual on each of seven days, for hours and to the same side, is how it is now.
create or replace function audit.learn_lasting_changes(hour timestamptz)
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_change record;
  v_learned int := 0;
begin
  for v_change in
    select d.organization_id, d.metric, min(d.since) as since
    from (
      select j.organization_id, j.metric, sign(j.score) as side, min(j.hour) as since
      from audit.judgements j
      where j.unusual and j.hour > learn_lasting_changes.hour - interval '168 hours' and j.hour <= learn_lasting_changes.hour
        and (j.organization_id, j.metric) in (
          select n.organization_id, n.metric from audit.judgements n where n.hour = learn_lasting_changes.hour and n.unusual
        )
      group by 1, 2, 3, ceil(extract(epoch from learn_lasting_changes.hour - j.hour + interval '1 second') / 86400)
      having count(*) >= 6
    ) d
    group by d.organization_id, d.metric, d.side
    having count(*) = 7
  loop
    perform audit.learn_activity(v_change.organization_id, v_change.metric, v_change.since, 'lasted seven days');
    v_learned := v_learned + 1;
  end loop;
  return v_learned;
end
$$;

comment on function audit.learn_lasting_changes(timestamptz) is
  'Accepts what was unusual for six hours and more on each of the last seven days as the new normal; returns how often.';

-- The schedule --------------------------------------------------------------------------------------------------------

create or replace function audit.detect_anomalies(grace interval default '5 minutes')
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_now timestamptz := clock_timestamp();
  v_closed timestamptz := date_trunc('hour', v_now - detect_anomalies.grace, 'UTC');
  v_hour timestamptz;
  v_judgement audit.judgements;
  v_counted int;
  v_raised int := 0;
begin
  loop
    v_counted := audit.count_activity();
    exit when v_counted < 20000;
    -- Somebody else is at it, or there is more than a run's worth: hours are judged when all of them is counted.
    if v_counted is null or clock_timestamp() > v_now + interval '10 seconds' then
      return 0;
    end if;
  end loop;

  -- What came after its hour was judged is judged with it; only what is still news raises an alert.
  for v_judgement in select j.* from audit.judgements j where j.late order by j.hour loop
    perform audit.judge_activity(v_judgement.hour, v_judgement.organization_id, v_judgement.metric);
    v_raised := v_raised + audit.raise_anomalies(v_judgement.hour, v_now);
  end loop;

  select coalesce(k.judged_to, (select min(a.hour) from audit.activity a), v_closed) into v_hour from audit.activity_clock k for update;
  while v_hour < v_closed and clock_timestamp() < v_now + interval '40 seconds' loop
    perform audit.judge_activity(v_hour);
    v_raised := v_raised + audit.raise_anomalies(v_hour, v_now);
    perform audit.learn_lasting_changes(v_hour);
    -- Parts of an hour are compared for 14 days, hours and what was thought of them are kept for 60.
    delete from audit.activity a where a.hour = v_hour - interval '360 hours' and a.dimension <> 'all';
    delete from audit.activity a where a.hour = v_hour - interval '1440 hours';
    delete from audit.judgements j where j.hour = v_hour - interval '1440 hours';
    delete from audit.activity_baselines b where length(b.metric) >= 36 and b.active_at < v_hour - interval '336 hours';
    v_hour := v_hour + interval '1 hour';
  end loop;
  update audit.activity_clock k set judged_to = v_hour where k.judged_to is distinct from v_hour;
  return v_raised;
end
$$;

comment on function audit.detect_anomalies(interval) is
  'Counts what is new, judges the hours that ended a grace ago, and raises alerts; returns how many. Missed runs are made up for,
without alerts for what is over for a day. pg_cron runs it.';
