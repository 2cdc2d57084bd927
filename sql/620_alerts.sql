-- Alerts: what the rules found, one open incident for each rule and group. Repetitions are counted, transitions are
-- entries and are delivered (650). An alert is over when nothing happened for the rule's quiet period, or when an admin
-- says so.

create table if not exists audit.alerts (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  rule_id uuid not null,
  group_key text not null,
  severity text not null,
  title text not null,
  reason jsonb not null,
  state text not null default 'open',
  opened_at timestamptz not null default clock_timestamp(),
  first_seen_at timestamptz not null,
  last_seen_at timestamptz not null,
  resolved_at timestamptz,
  silenced_until timestamptz,
  occurrences bigint not null,
  entries text[] not null,
  channels uuid[],
  constraint alert_state_is_known check (state in ('open', 'acknowledged', 'silenced', 'resolved')),
  constraint alert_severity_is_known check (severity in ('info', 'low', 'medium', 'high', 'critical'))
);

comment on table audit.alerts is 'Open incidents, and those that are over; written by the functions of 620 only.';
comment on column audit.alerts.id is 'Names the alert.';
comment on column audit.alerts.organization_id is 'Whom it concerns.';
comment on column audit.alerts.rule_id is 'The rule that raised it; it may be deleted meanwhile.';
comment on column audit.alerts.group_key is 'What it is about, as JSON: {"actor": "…"}. Addresses are commitments of identities, never the addresses themselves.';
comment on column audit.alerts.severity is 'How loud: info, low, medium, high or critical.';
comment on column audit.alerts.title is 'The name that the rule had.';
comment on column audit.alerts.reason is 'What was seen, and what the rule expects.';
comment on column audit.alerts.state is 'open, acknowledged (somebody looks into it), silenced (until a time) or resolved.';
comment on column audit.alerts.opened_at is 'When it was opened.';
comment on column audit.alerts.first_seen_at is 'When it happened first, by the entries'' time.';
comment on column audit.alerts.last_seen_at is 'When it happened last, by the entries'' time.';
comment on column audit.alerts.resolved_at is 'When it was over.';
comment on column audit.alerts.silenced_until is 'Until when nobody wants to hear of it.';
comment on column audit.alerts.occurrences is 'How many entries it is about.';
comment on column audit.alerts.entries is 'The first of them by name, 20 at most.';
comment on column audit.alerts.channels is 'Where its transitions go, as the rule said when it was opened; null for the organisation''s default channels.';

create unique index if not exists alerts_open_idx on audit.alerts (rule_id, organization_id, group_key) where state <> 'resolved';
create index if not exists alerts_group_idx on audit.alerts (rule_id, organization_id, group_key, first_seen_at);
create index if not exists alerts_organization_idx on audit.alerts (organization_id, opened_at, id);

alter table audit.alerts enable row level security;

drop policy if exists "admins and auditors read their organisation's alerts" on audit.alerts;
create policy "admins and auditors read their organisation's alerts" on audit.alerts
  for select to authenticated
  using (
    organization_id = any (array(select audit.admin_organizations()))
    or organization_id = any (array(select audit.auditor_organizations()))
  );

create or replace view audit.open_alerts
  with (security_invoker = true)
as
  select a.id, a.organization_id, a.severity, a.title, a.state, a.first_seen_at, a.last_seen_at, a.occurrences, a.group_key, a.reason, a.entries
  from audit.alerts a
  where a.state <> 'resolved'
  order by array_position(array['critical', 'high', 'medium', 'low', 'info'], a.severity), a.last_seen_at desc;

comment on view audit.open_alerts is 'Alerts that are not resolved, the loudest first. For admins and auditors of the organisation.';

create or replace view audit.alert_entries
  with (security_invoker = true)
as
  select a.id as alert, e.*
  from audit.alerts a
  cross join lateral unnest(a.entries) n (name)
  join public.audit_logs e on e.organization_id = a.organization_id
    and e.chain = split_part(n.name, '-', 1)::int and e.seq = split_part(n.name, '-', 2)::bigint;

comment on view audit.alert_entries is 'The entries that caused each alert: select * from audit.alert_entries where alert = ''…''.';

-- Transitions ---------------------------------------------------------------------------------------------------------

create or replace function audit.move_alert(alert_id uuid, transition text, details jsonb default '{}')
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_alert audit.alerts;
begin
  select a.* into v_alert from audit.alerts a where a.id = move_alert.alert_id;
  perform audit.record(
    v_alert.organization_id, case transition when 'digest' then 'alert.opened' else 'alert.' || transition end, 'alert', v_alert.id::text,
    jsonb_build_object('rule', v_alert.rule_id, 'title', v_alert.title, 'severity', v_alert.severity) || move_alert.details
  );
  perform audit.queue_alert(v_alert.id, move_alert.transition);
end
$$;

comment on function audit.move_alert(uuid, text, jsonb) is
  'Leaves the entry of an alert''s transition (opened, acknowledged, silenced, resolved, reopened, digest) and has it delivered.';

create or replace function audit.resolve_alert(alert_id uuid, at timestamptz, why text)
  returns boolean
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  update audit.alerts a set state = 'resolved', resolved_at = resolve_alert.at, silenced_until = null
  where a.id = resolve_alert.alert_id and a.state <> 'resolved';
  if not found then
    return false;
  end if;
  perform audit.move_alert(resolve_alert.alert_id, 'resolved', jsonb_build_object('why', resolve_alert.why));
  return true;
end
$$;

comment on function audit.resolve_alert(uuid, timestamptz, text) is 'Says that an alert is over, and why; false if it was already.';

create or replace function audit.resolve_alerts_of(rule_id uuid)
  returns void
  language sql
  set search_path = ''
as $$
  select audit.resolve_alert(a.id, clock_timestamp(), 'rule deleted')
  from audit.alerts a
  where a.rule_id = resolve_alerts_of.rule_id and a.state <> 'resolved'
$$;

comment on function audit.resolve_alerts_of(uuid) is 'Says that all alerts of a rule are over.';

-- What is put together where there are too many: one alert for each severity, with what they were.
create or replace function audit.note_overflow(organization_id uuid, severity text, firings audit.rule_firing[], titles text[])
  returns uuid
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule audit.rules := audit.rule_for('00000000-0000-4000-a000-000000000639', note_overflow.organization_id);
  v_group text := jsonb_build_object('severity', note_overflow.severity)::text;
  v_alert audit.alerts;
  v_is_new boolean;
  v_of jsonb;
begin
  select a.* into v_alert from audit.alerts a
  where a.rule_id = v_rule.id and a.organization_id = note_overflow.organization_id and a.group_key = v_group and a.state <> 'resolved'
  for no key update;
  v_is_new := not found;
  select jsonb_object_agg(t.title, t.n) into v_of
  from (
    select t.title, sum(t.n) as n
    from (
      select u.title, 1 as n from unnest(note_overflow.titles) u (title)
      union all
      select o.key, o.value::int from jsonb_each_text(v_alert.reason -> 'of') o
    ) t
    group by t.title
  ) t;
  insert into audit.alerts as a
    (organization_id, rule_id, group_key, severity, title, reason, first_seen_at, last_seen_at, occurrences, entries, channels)
  select note_overflow.organization_id, v_rule.id, v_group, note_overflow.severity, v_rule.name,
    jsonb_build_object('alerts', coalesce((v_alert.reason ->> 'alerts')::int, 0) + count(*), 'of', v_of),
    min(f.first_at), max(f.last_at), sum(f.occurrences), array(select n from unnest(note_overflow.firings) p cross join lateral unnest(p.names) n limit 20),
    v_rule.channels
  from unnest(note_overflow.firings) f
  on conflict (rule_id, organization_id, group_key) where state <> 'resolved' do update set
    last_seen_at = greatest(a.last_seen_at, excluded.last_seen_at), occurrences = a.occurrences + excluded.occurrences, reason = excluded.reason
  returning a.* into v_alert;
  if v_is_new then
    perform audit.move_alert(v_alert.id, 'digest');
  end if;
  return v_alert.id;
end
$$;

comment on function audit.note_overflow(uuid, text, audit.rule_firing[], text[]) is
  'Counts what would be too many alerts in one; titles are those they would have had.';

create or replace function audit.alerts_left(organization_id uuid, severity text)
  returns int
  language sql
  stable
  set search_path = ''
as $$
  -- Of each severity so many, so that noise cannot keep what is loud from being heard.
  select s.most - (
    select count(*) from (
      select from audit.alerts a
      where a.organization_id = alerts_left.organization_id and a.opened_at > clock_timestamp() - interval '1 hour' and a.severity = alerts_left.severity
        and a.rule_id <> '00000000-0000-4000-a000-000000000639'
      limit s.most
    ) o
  )::int
  from (select (audit.setting('alerts_per_hour', alerts_left.organization_id))::int as most) s
$$;

comment on function audit.alerts_left(uuid, text) is 'How many more alerts of a severity an organisation gets within the hour.';

-- Thousands of groups at once are not gone through one by one.
create or replace function audit.admitted_firings(firings audit.rule_firing[])
  returns audit.rule_firing[]
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_admitted audit.rule_firing[];
  v_over record;
begin
  if cardinality(firings) < 2 then
    return firings;
  end if;
  for v_over in
    with rule as materialized (
      select d.rule_id, d.organization_id, r.name, r.severity
      from (select distinct f.rule_id, f.organization_id from unnest(firings) f) d
      cross join lateral audit.rule_for(d.rule_id, d.organization_id) r
    ),
    firing as materialized (
      select f as firing, f.organization_id, f.first_at, r.name, coalesce(f.note ->> 'severity', r.severity) as severity,
        exists (
          select from audit.alerts a
          where a.rule_id = f.rule_id and a.organization_id = f.organization_id and a.group_key = f.group_key
            and (a.state <> 'resolved' or a.resolved_at >= f.first_at)
        ) as known
      from unnest(firings) f
      join rule r on r.rule_id = f.rule_id and r.organization_id = f.organization_id
    ),
    capacity as materialized (
      select d.organization_id, d.severity, audit.alerts_left(d.organization_id, d.severity) as left
      from (select distinct f.organization_id, f.severity from firing f) d
    ),
    ranked as (
      select f.*, c.left, count(*) filter (where not f.known) over (
        partition by f.organization_id, f.severity order by f.first_at, (f.firing).rule_id, (f.firing).group_key rows unbounded preceding
      ) as nth
      from firing f
      join capacity c on c.organization_id = f.organization_id and c.severity = f.severity
    )
    select r.known or r.nth <= r.left as admitted, case when not (r.known or r.nth <= r.left) then r.organization_id end as organization_id,
      case when not (r.known or r.nth <= r.left) then r.severity end as severity,
      array_agg(r.firing order by r.first_at) as firings, array_agg(r.name) as titles
    from ranked r
    group by 1, 2, 3
  loop
    if v_over.admitted then
      v_admitted := v_over.firings;
    else
      perform audit.note_overflow(v_over.organization_id, v_over.severity, v_over.firings, v_over.titles);
    end if;
  end loop;
  return coalesce(v_admitted, '{}');
end
$$;

comment on function audit.admitted_firings(audit.rule_firing[]) is
  'Firings that open an alert, or belong to one; those that would be too many are counted together.';

create or replace function audit.note_firing(firing audit.rule_firing, title text default null, severity text default null)
  returns uuid
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule audit.rules := audit.rule_for((firing).rule_id, (firing).organization_id);
  v_severity text := coalesce(note_firing.severity, (firing).note ->> 'severity', v_rule.severity, 'medium');
  v_title text := coalesce(note_firing.title, v_rule.name, 'Alert');
  v_alert audit.alerts;
begin
  -- Two who raise alerts at once do it one after the other: the rules, an anomaly, a check.
  perform pg_advisory_xact_lock(hashtext('audit.alerts'));

  -- What comes late belongs to the alert that was open when it happened, even if that is over.
  update audit.alerts a set
    occurrences = a.occurrences + (firing).occurrences, last_seen_at = greatest(a.last_seen_at, (firing).last_at),
    first_seen_at = least(a.first_seen_at, (firing).first_at),
    -- What was over by itself is over that much later.
    resolved_at = case
      when a.resolved_at = a.last_seen_at + v_rule.quiet_period then greatest(a.last_seen_at, (firing).last_at) + v_rule.quiet_period
      else a.resolved_at
    end
  where a.id = (
      select l.id from audit.alerts l
      where l.rule_id = (firing).rule_id and l.organization_id = (firing).organization_id and l.group_key = (firing).group_key
        and l.state = 'resolved' and (firing).first_at <= l.resolved_at
        and (firing).last_at >= l.first_seen_at - coalesce(v_rule.quiet_period, '0')
      order by l.first_seen_at
      limit 1
    )
  returning a.* into v_alert;
  if found then
    return v_alert.id;
  end if;

  select a.* into v_alert from audit.alerts a
  where a.rule_id = (firing).rule_id and a.organization_id = (firing).organization_id and a.group_key = (firing).group_key and a.state <> 'resolved'
  for no key update;
  if found and v_alert.last_seen_at + v_rule.quiet_period < (firing).first_at and coalesce(v_alert.silenced_until < (firing).first_at, true) then
    -- It was over, only nobody had looked.
    perform audit.resolve_alert(v_alert.id, v_alert.last_seen_at + v_rule.quiet_period, 'quiet');
  elsif found then
    update audit.alerts a set
      occurrences = a.occurrences + (firing).occurrences, last_seen_at = greatest(a.last_seen_at, (firing).last_at),
      first_seen_at = least(a.first_seen_at, (firing).first_at),
      state = case when a.silenced_until <= (firing).last_at then 'open' else a.state end,
      silenced_until = case when a.silenced_until > (firing).last_at then a.silenced_until end
    where a.id = v_alert.id;
    if v_alert.silenced_until <= (firing).last_at then
      perform audit.move_alert(v_alert.id, 'reopened', '{"why": "silence is over"}');
    end if;
    return v_alert.id;
  end if;

  if audit.alerts_left((firing).organization_id, v_severity) <= 0 then
    return audit.note_overflow((firing).organization_id, v_severity, array[firing], array[v_title]);
  end if;

  insert into audit.alerts (organization_id, rule_id, group_key, severity, title, reason, first_seen_at, last_seen_at, occurrences, entries, channels)
  values (
    (firing).organization_id, (firing).rule_id, (firing).group_key, v_severity, v_title,
    jsonb_strip_nulls(jsonb_build_object(
      'seen', (firing).seen, 'threshold', v_rule.settings -> 'threshold', 'window', v_rule.settings -> 'window'
    )) || coalesce((firing).note - 'severity', '{}'),
    (firing).first_at, (firing).last_at, (firing).occurrences, (firing).names, v_rule.channels
  )
  returning * into v_alert;
  perform audit.move_alert(v_alert.id, 'opened', jsonb_build_object('group', v_alert.group_key, 'reason', v_alert.reason, 'entries', to_jsonb(v_alert.entries))
    || case when (firing).about_alerts then '{"about": "alerts"}' else '{}'::jsonb end);
  return v_alert.id;
end
$$;

comment on function audit.note_firing(audit.rule_firing, text, text) is 'Opens an alert, or counts a repetition of one that is open.';

create or replace function audit.raise_alert(
  rule_id uuid,
  organization_id uuid,
  group_key text,
  happened_at timestamptz,
  title text,
  reason jsonb,
  entries text[],
  severity text default null
)
  returns uuid
  language sql
  set search_path = ''
as $$
  select audit.note_firing(
    row(
      raise_alert.rule_id, raise_alert.organization_id, raise_alert.group_key, raise_alert.happened_at, raise_alert.happened_at, 1, null,
      coalesce(raise_alert.entries[:20], '{}'), false, raise_alert.reason
    )::audit.rule_firing,
    raise_alert.title, raise_alert.severity
  )
$$;

comment on function audit.raise_alert(uuid, uuid, text, timestamptz, text, jsonb, text[], text) is
  'Opens an alert of a rule, or counts a repetition of one that is open for the group; returns its id.';

create or replace function audit.close_quiet_alerts()
  returns int
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_alert record;
  v_closed int := 0;
begin
  for v_alert in
    select a.id, a.last_seen_at + r.quiet_period as over_at
    from audit.alerts a
    cross join lateral audit.rule_for(a.rule_id, a.organization_id) r
    where a.state <> 'resolved' and a.last_seen_at + r.quiet_period < clock_timestamp() and coalesce(a.silenced_until < clock_timestamp(), true)
    order by a.last_seen_at
    limit 1000
    for no key update of a skip locked
  loop
    perform audit.resolve_alert(v_alert.id, v_alert.over_at, 'quiet');
    v_closed := v_closed + 1;
  end loop;
  return v_closed;
end
$$;

comment on function audit.close_quiet_alerts() is 'Resolves alerts of which nothing was seen for their rule''s quiet period; returns how many.';

-- By people -----------------------------------------------------------------------------------------------------------

create or replace function audit.change_alert(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins move alerts through this function only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_alert audit.alerts;
  v_do text := request ->> 'do';
  v_until timestamptz;
begin
  perform audit.check_request(request, array['id', 'do', 'until', 'note']);
  if v_do = 'accept' then
    -- First, as those who judge hours and then raise alerts.
    perform pg_advisory_xact_lock(hashtext('audit.count_activity'));
  end if;
  select a.* into v_alert from audit.alerts a where a.id = audit.as_uuid(request ->> 'id') for update;
  if not found or audit.reach(v_alert.organization_id) is distinct from 'all' then
    perform audit.fail('AUNOT', 'There is no such alert that you may read.');
  end if;
  perform audit.require_admin(v_alert.organization_id);
  if v_do is null or v_do not in ('acknowledge', 'silence', 'accept', 'resolve', 'reopen') then
    perform audit.fail('AUARG', 'What to do with an alert is acknowledge, silence, accept, resolve or reopen.');
  elsif length(request ->> 'note') > 2000 then
    perform audit.fail('AUARG', 'A note has at most 2,000 characters.');
  elsif (v_do = 'silence') <> (request ? 'until') then
    perform audit.fail('AUARG', 'An alert is silenced until a time.', null, 'Pass until: a timestamp, or a length of time such as 8h.');
  elsif (v_alert.state = 'resolved') <> (v_do = 'reopen') and not (v_do = 'reopen' and v_alert.state = 'silenced') then
    perform audit.fail('AUARG', format('The alert is %s.', v_alert.state), null, 'What is resolved can be reopened, what is open acknowledged, silenced, accepted and resolved.');
  end if;

  case v_do
    when 'acknowledge' then
      update audit.alerts a set state = 'acknowledged', silenced_until = null where a.id = v_alert.id;
    when 'silence' then
      v_until := coalesce(clock_timestamp() + audit.duration(request ->> 'until'), case
        when request ->> 'until' ~ '[Tt ].*([Zz]|[+-]\d\d(:?\d\d)?)$' then lower(audit.query_instants(request ->> 'until'))
      end);
      if coalesce(v_until not between clock_timestamp() and clock_timestamp() + interval '366 days', true) then
        perform audit.fail('AUARG', 'until is a timestamp with offset, or a length of time, within the next year.');
      end if;
      update audit.alerts a set state = 'silenced', silenced_until = v_until where a.id = v_alert.id;
    when 'accept' then
      perform audit.accept_alert(v_alert);
      update audit.alerts a set state = 'resolved', resolved_at = clock_timestamp(), silenced_until = null where a.id = v_alert.id;
    when 'resolve' then
      update audit.alerts a set state = 'resolved', resolved_at = clock_timestamp(), silenced_until = null where a.id = v_alert.id;
    when 'reopen' then
      begin
        update audit.alerts a set state = 'open', resolved_at = null, silenced_until = null, last_seen_at = clock_timestamp() where a.id = v_alert.id;
      exception when unique_violation then
        perform audit.fail('AUARG', 'There is a newer alert of the same rule and group.', null, 'That one is open.');
      end;
  end case;
  perform audit.move_alert(
    v_alert.id, case v_do when 'acknowledge' then 'acknowledged' when 'silence' then 'silenced' when 'reopen' then 'reopened' else 'resolved' end,
    jsonb_strip_nulls(jsonb_build_object(
      'until', audit.instant_text(v_until), 'why', case v_do when 'accept' then 'the new normal' end, 'note', request ->> 'note'
    ))
  );
  return (select audit.alert_json(a) from audit.alerts a where a.id = v_alert.id);
end
$$;

comment on function audit.change_alert(jsonb) is
  'Acknowledges, silences, resolves or reopens an alert, or accepts what an anomaly told as the new normal: select audit.change_alert(''{"id": "…", "do": "silence", "until": "8h"}'').
For admins of the organisation; leaves an entry.';

create or replace function audit.alert_json(alert audit.alerts)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'id', (alert).id, 'organization_id', (alert).organization_id, 'rule_id', (alert).rule_id, 'group', (alert).group_key,
    'severity', (alert).severity, 'title', (alert).title, 'reason', (alert).reason, 'state', (alert).state,
    'opened_at', audit.instant_text((alert).opened_at), 'first_seen_at', audit.instant_text((alert).first_seen_at),
    'last_seen_at', audit.instant_text((alert).last_seen_at), 'resolved_at', audit.instant_text((alert).resolved_at),
    'silenced_until', audit.instant_text((alert).silenced_until), 'occurrences', (alert).occurrences, 'entries', to_jsonb((alert).entries)
  )
$$;

comment on function audit.alert_json(audit.alerts) is 'An alert as the API shows it.';

create or replace function audit.list_alerts(request jsonb default '{}')
  returns jsonb
  language plpgsql
  stable
  security definer -- one statement for those who read all of the organisation's log; nobody else gets past its check
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_organization uuid;
  v_limit int := 50;
  v_after audit.position;
  v_scope text := 'alerts ' || coalesce(request - array['cursor', 'limit', 'organization_id'], '{}')::text;
  v_alerts audit.alerts[];
  v_last audit.alerts;
begin
  perform audit.check_request(request, array['organization_id', 'state', 'severity', 'rule_id', 'limit', 'cursor']);
  v_organization := audit.requested_organization(request);
  perform audit.require_reach(v_organization);
  if request ? 'limit' then
    if coalesce(request ->> 'limit', '') !~ '^\d{1,4}$' or (request ->> 'limit')::int not between 1 and 200 then
      perform audit.fail('AUARG', 'limit is a whole number from 1 to 200.');
    end if;
    v_limit := (request ->> 'limit')::int;
  end if;
  if request ->> 'state' not in ('open', 'acknowledged', 'silenced', 'resolved', 'unresolved') then
    perform audit.fail('AUARG', 'state is open, acknowledged, silenced, resolved, or unresolved for all but the last.');
  elsif request ->> 'severity' not in ('info', 'low', 'medium', 'high', 'critical') then
    perform audit.fail('AUARG', 'severity is info, low, medium, high or critical.');
  elsif request ->> 'rule_id' is not null and audit.as_uuid(request ->> 'rule_id') is null then
    perform audit.fail('AUARG', 'rule_id is a UUID.');
  end if;
  -- Two alerts of one microsecond are told apart by a number of their ids, which a cursor has room for.
  v_after := audit.read_cursor(v_organization, v_scope, request ->> 'cursor');
  v_alerts := array(
    select a
    from audit.alerts a
    where a.organization_id = v_organization
      and (request ->> 'state' is null or a.state = request ->> 'state' or request ->> 'state' = 'unresolved' and a.state <> 'resolved')
      and (request ->> 'severity' is null or a.severity = request ->> 'severity')
      and (request ->> 'rule_id' is null or a.rule_id = audit.as_uuid(request ->> 'rule_id'))
      and (v_after is null or (a.opened_at, hashtextextended(a.id::text, 0)) < (v_after.created_at, v_after.seq))
    order by a.opened_at desc, hashtextextended(a.id::text, 0) desc
    limit v_limit + 1
  );
  if cardinality(v_alerts) > v_limit then
    v_alerts := v_alerts[:v_limit];
    v_last := v_alerts[v_limit];
  end if;
  return jsonb_build_object(
    'organization_id', v_organization,
    'alerts', (select coalesce(jsonb_agg(audit.alert_json(v_alerts[n]) order by n), '[]') from generate_subscripts(v_alerts, 1) n),
    'next', case when v_last.id is not null then audit.make_cursor(
      v_organization, v_scope, row(null, v_last.opened_at, 0, hashtextextended(v_last.id::text, 0))::audit.position
    ) end
  );
end
$$;

comment on function audit.list_alerts(jsonb) is
  'Alerts, newest first: select audit.list_alerts(''{"organization_id": "…", "state": "unresolved"}''). For admins and auditors.';
