-- Rules that look at no entry but at the clock: checks of the product's health, and digests of a week.

create table if not exists audit.rule_runs (
  rule_id uuid not null references audit.rules (id) on delete cascade,
  organization_id uuid not null,
  done_until timestamp not null,
  constraint rule_runs_pkey primary key (rule_id, organization_id)
);

comment on table audit.rule_runs is 'Up to which week each digest was made; written by audit.run_schedules() only.';
comment on column audit.rule_runs.rule_id is 'The rule.';
comment on column audit.rule_runs.organization_id is 'Whose digest.';
comment on column audit.rule_runs.done_until is 'When the last week ended, in the organisation''s time zone.';

alter table audit.rule_runs enable row level security;

create or replace function audit.run_checks()
  returns int
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule audit.rules;
  v_wrong record;
  v_alert uuid;
  v_alerts uuid[];
  v_found int := 0;
begin
  for v_rule in
    select r.* from audit.rules r
    where r.kind = 'schedule' and r.settings ? 'check' and (audit.rule_for(r.id, audit.system_organization())).enabled
    order by r.name
  loop
    v_alerts := '{}';
    for v_wrong in
      select c.organization_id, c.group_key, c.reason
      from audit.health_check(v_rule.settings ->> 'check', coalesce(audit.duration(v_rule.settings ->> 'limit'), interval '1 hour')) c
      where v_rule.organization_id in (audit.system_organization(), c.organization_id) and (audit.rule_for(v_rule.id, c.organization_id)).enabled
      limit 1000
    loop
      v_alert := audit.raise_alert(v_rule.id, v_wrong.organization_id, v_wrong.group_key, clock_timestamp(), v_rule.name, v_wrong.reason, '{}');
      v_alerts := v_alerts || v_alert;
      v_found := v_found + 1;
    end loop;
    -- What is no longer wrong is over.
    perform audit.resolve_alert(a.id, clock_timestamp(), 'in order again')
    from audit.alerts a
    where a.rule_id = v_rule.id and a.state <> 'resolved' and a.id <> all (v_alerts);
  end loop;
  return v_found;
end
$$;

comment on function audit.run_checks() is
  'Runs the checks of all schedule rules: raises an alert for what is wrong, and resolves those of what is in order again; returns
how much is wrong.';

-- Digests -------------------------------------------------------------------------------------------------------------

create or replace function audit.digest_activity(organization_id uuid, from_time timestamptz, to_time timestamptz)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  with entry as materialized (
    select e.action, e.outcome, e.created_by from public.audit_logs e
    where e.organization_id = digest_activity.organization_id and e.created_at >= from_time and e.created_at < to_time
  )
  select jsonb_build_object(
    'entries', (select count(*) from entry),
    'not_successful', (select count(*) from entry where outcome <> 'success'),
    'actions', (
      select coalesce(jsonb_agg(jsonb_build_object('action', a.action, 'count', a.n) order by a.n desc, a.action), '[]')
      from (select action, count(*) as n from entry group by action order by n desc, action limit 20) a
    ),
    'actors', (
      select coalesce(jsonb_agg(jsonb_build_object('actor', a.created_by, 'count', a.n) order by a.n desc, a.created_by), '[]')
      from (select created_by, count(*) as n from entry where created_by is not null group by created_by order by n desc, created_by limit 10) a
    ),
    'alerts', (
      select coalesce(jsonb_object_agg(s.severity, s.n), '{}')
      from (
        select a.severity, count(*) as n from audit.alerts a
        where a.organization_id = digest_activity.organization_id and a.opened_at >= from_time and a.opened_at < to_time
          and not exists (select from audit.rules r where r.id = a.rule_id and r.settings ? 'digest')
        group by a.severity
      ) s
    )
  )
$$;

comment on function audit.digest_activity(uuid, timestamptz, timestamptz) is 'Who did what in an organisation between two times: counts of actions, actors and alerts.';

create or replace function audit.digest_costs(organization_id uuid, from_time timestamptz, to_time timestamptz)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  with entry as materialized (
    select e.chain || '-' || e.seq as name, e.action, e.created_by, e.provider, e.cost from public.audit_logs e
    where e.organization_id = digest_costs.organization_id and e.created_at >= from_time and e.created_at < to_time
      and e.cost > 0 and e.cost < 'Infinity'
  )
  select jsonb_build_object(
    'entries', (select count(*) from entry),
    'cost', (select coalesce(sum(cost), 0)::text from entry),
    'providers', (
      select coalesce(jsonb_agg(jsonb_build_object('provider', p.provider, 'cost', p.cost::text, 'count', p.n) order by p.cost desc), '[]')
      from (select provider, sum(cost) as cost, count(*) as n from entry group by provider order by 2 desc limit 20) p
    ),
    'actors', (
      select coalesce(jsonb_agg(jsonb_build_object('actor', a.created_by, 'cost', a.cost::text, 'count', a.n) order by a.cost desc), '[]')
      from (select created_by, sum(cost) as cost, count(*) as n from entry where created_by is not null group by created_by order by 2 desc limit 10) a
    ),
    'dearest', (
      select coalesce(jsonb_agg(jsonb_build_object('entry', d.name, 'action', d.action, 'actor', d.created_by, 'provider', d.provider, 'cost', d.cost::text) order by d.cost desc), '[]')
      from (select * from entry order by cost desc, name limit 10) d
    )
  )
$$;

comment on function audit.digest_costs(uuid, timestamptz, timestamptz) is 'What an organisation spent between two times: by provider and actor, and the dearest actions.';

create or replace function audit.run_digests(at_most interval default '5 seconds', at timestamptz default clock_timestamp())
  returns int
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_start timestamptz := clock_timestamp();
  v_due record;
  v_content jsonb;
  v_alert uuid;
  v_from timestamptz;
  v_to timestamptz;
  v_made int := 0;
begin
  if not pg_try_advisory_xact_lock(hashtext('audit.run_digests')) then
    return 0;
  end if;
  for v_due in
    select d.*, u.done_until
    from (
      select r.id as rule_id, r.name, r.severity, r.channels, r.settings, o.organization_id, o.zone,
        -- The last time that it was this hour of this day of the week where the organisation is.
        w.week + case when w.week > o.local then interval '-7 days' else '0' end as until
      from (
        select h.organization_id, z.zone, run_digests.at at time zone z.zone as local
        from (select distinct h.organization_id from audit.heads h) h
        cross join lateral (select audit.time_zone_of(h.organization_id) as zone) z
      ) o
      join audit.rules n on n.kind = 'schedule' and n.settings ->> 'digest' in ('activity', 'costs') and n.organization_id in (audit.system_organization(), o.organization_id)
      cross join lateral audit.rule_for(n.id, o.organization_id) r
      cross join lateral (
        select date_trunc('week', o.local) + make_interval(
          days => coalesce((r.settings ->> 'weekday')::int, 1) - 1, hours => coalesce((r.settings ->> 'hour')::int, 8)
        ) as week
      ) w
      where r.enabled
    ) d
    left join audit.rule_runs u on u.rule_id = d.rule_id and u.organization_id = d.organization_id
    where u.done_until is distinct from d.until
  loop
    insert into audit.rule_runs as u (rule_id, organization_id, done_until) values (v_due.rule_id, v_due.organization_id, v_due.until)
    on conflict on constraint rule_runs_pkey do update set done_until = excluded.done_until where u.done_until < excluded.done_until;
    -- Whom the rule has never met has had no whole week; what was missed for weeks is not made up for.
    continue when v_due.done_until is null or not found;
    v_from := (v_due.until - interval '7 days') at time zone v_due.zone;
    v_to := v_due.until at time zone v_due.zone;
    v_content := case v_due.settings ->> 'digest'
      when 'costs' then audit.digest_costs(v_due.organization_id, v_from, v_to) else audit.digest_activity(v_due.organization_id, v_from, v_to)
    end;
    continue when v_content -> 'entries' = '0';
    insert into audit.alerts
      (organization_id, rule_id, group_key, severity, title, reason, state, first_seen_at, last_seen_at, resolved_at, occurrences, entries, channels)
    values (
      v_due.organization_id, v_due.rule_id, jsonb_build_object('week', (v_due.until - interval '7 days')::date)::text, v_due.severity,
      v_due.name, jsonb_build_object('from', audit.instant_text(v_from), 'to', audit.instant_text(v_to), 'time_zone', v_due.zone) || v_content,
      'resolved', v_from, v_to, clock_timestamp(), (v_content ->> 'entries')::bigint,
      coalesce(array(select jsonb_array_elements(v_content -> 'dearest') ->> 'entry'), '{}'), v_due.channels
    )
    returning id into v_alert;
    perform audit.move_alert(v_alert, 'digest');
    v_made := v_made + 1;
    exit when clock_timestamp() >= v_start + at_most;
  end loop;
  return v_made;
end
$$;

comment on function audit.run_digests(interval, timestamptz) is
  'Makes the digests that are due: an alert each, resolved from the start, delivered like others; returns how many.';
