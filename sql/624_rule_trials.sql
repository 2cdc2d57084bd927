-- What a rule would do: over history, and on samples. Both run what is run on new entries, and take back what it wrote.

create or replace function audit.try_rule(rule audit.rules, source text, organization uuid, sample public.audit_logs[] default null)
  returns audit.rule_firing[]
  language plpgsql
  set search_path = ''
as $$
declare
  v_firings audit.rule_firing[];
begin
  begin
    -- As a rule of the organisation's own, which remembers nothing yet.
    insert into audit.rules (id, organization_id, name, kind, severity, match, settings, quiet_period, compiled)
    values (
      (rule).id, organization, (rule).id::text, (rule).kind, (rule).severity, (rule).match, (rule).settings, (rule).quiet_period, (rule).compiled
    );
    v_firings := audit.evaluate_entries(source, array[organization], sample, (rule).id);
    raise triggered_action_exception; -- takes back all of it
  exception when triggered_action_exception then
    return v_firings;
  end;
end
$$;

comment on function audit.try_rule(audit.rules, text, uuid, public.audit_logs[]) is
  'What a rule says of the entries e of a FROM clause, or of a sample ($1), as if it had not seen any other; leaves nothing behind.';

create or replace function audit.requested_rule(request jsonb, organization_id uuid)
  returns audit.rules
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule audit.rules;
begin
  if (request ? 'rule') = (request ? 'id') then
    perform audit.fail('AUARG', 'Pass either the id of a rule or a rule.');
  elsif request ? 'rule' then
    v_rule := audit.checked_rule(request -> 'rule');
  else
    select t.* into v_rule from audit.rules r cross join lateral audit.rule_for(r.id, requested_rule.organization_id) t
    where r.id = audit.as_uuid(request ->> 'id') and r.organization_id in (audit.system_organization(), requested_rule.organization_id);
    if not found then
      perform audit.fail('AUNOT', 'There is no such rule.', null, 'audit.list_rules() lists them.');
    end if;
  end if;
  if v_rule.compiled is null then
    perform audit.fail_rule(format('A rule of kind %s looks at no single entry.', v_rule.kind), 'Others can be tried.');
  end if;
  v_rule.id := gen_random_uuid();
  return v_rule;
end
$$;

comment on function audit.requested_rule(jsonb, uuid) is 'The rule of a request, by its id or as it is, to be tried.';

create or replace function audit.preview_rule(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- trying a rule writes and takes back; the organisation is checked first
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_organization uuid;
  v_rule audit.rules;
  v_from timestamptz;
  v_to timestamptz;
  v_upto timestamptz;
  v_start timestamptz;
  v_firings audit.rule_firing[];
  v_most constant int := 100000;
begin
  perform audit.check_request(request, array['organization_id', 'rule', 'id', 'from', 'to']);
  v_organization := audit.requested_organization(request);
  perform audit.require_reach(v_organization);
  v_rule := audit.requested_rule(request, v_organization);
  v_from := coalesce(lower(audit.query_instants(request ->> 'from')), case when not request ? 'from' then clock_timestamp() - interval '7 days' end);
  v_to := coalesce(lower(audit.query_instants(request ->> 'to')), case when not request ? 'to' then clock_timestamp() end);
  if v_from is null or v_to is null or v_from >= v_to then
    perform audit.fail('AUARG', 'from and to are dates, in this order.', null, 'For example 2026-03-14, 2026-03-14T15:09:26Z, or an age: 24h, 30d.');
  end if;
  -- So many entries at once; "next" says where to go on.
  select e.created_at into v_upto from public.audit_logs e
  where e.organization_id = v_organization and e.created_at >= v_from and e.created_at < v_to
  order by e.created_at offset v_most limit 1;
  -- What a window or history reaches back to is read too, but not more than as many again.
  select e.created_at into v_start from public.audit_logs e
  where e.organization_id = v_organization and e.created_at < v_from
  order by e.created_at desc offset v_most limit 1;
  v_start := greatest(v_start, v_from - case
    when v_rule.kind = 'new_value' then coalesce(audit.duration(v_rule.settings ->> 'history'), interval '14 days')
      + coalesce((v_rule.settings ->> 'warm_up')::int, 5) * interval '1 day'
    when v_rule.settings ? 'against' or v_rule.settings -> 'hours' = '"learned"' then interval '90 days'
    else coalesce(audit.duration(v_rule.settings ->> 'window'), interval '0')
  end);
  v_firings := audit.try_rule(v_rule, format(
    '(select 1) one join public.audit_logs e on e.created_at >= %L and e.created_at < %L', v_start, coalesce(v_upto, v_to)
  ), v_organization);
  return jsonb_build_object(
    'organization_id', v_organization, 'from', audit.instant_text(v_from), 'to', audit.instant_text(coalesce(v_upto, v_to)),
    'read_from', audit.instant_text(v_start), 'next', audit.instant_text(v_upto),
    'alerts', (select count(*) from unnest(v_firings) f where f.last_at >= v_from),
    'would_fire', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'first_seen_at', audit.instant_text(f.first_at), 'last_seen_at', audit.instant_text(f.last_at), 'group', f.group_key,
        'occurrences', f.occurrences, 'seen', f.seen, 'entries', to_jsonb(f.names)
      ) order by f.first_at), '[]')
      from (select f.* from unnest(v_firings) f where f.last_at >= v_from order by f.first_at limit 200) f
    )
  );
end
$$;

comment on function audit.preview_rule(jsonb) is
  'What a rule would have raised: select audit.preview_rule(''{"organization_id": "…", "rule": {…}, "from": "30d"}''). It looks at
100,000 entries at most and shows 200 alerts; "next" is where to go on. For admins and auditors of the organisation.';

create or replace function audit.sample_identity(organization_id uuid, entry jsonb)
  returns bytea
  language sql
  immutable
  parallel safe
  return sha256(convert_to(row(organization_id, entry ->> 'actor', entry ->> 'email', entry ->> 'ip')::text, 'UTF8'));

comment on function audit.sample_identity(uuid, jsonb) is 'What stands for the identity of an entry of a sample.';

create or replace function audit.sample_entries(entries jsonb, organization_id uuid)
  returns public.audit_logs[]
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_unknown text;
begin
  if jsonb_typeof(entries) is distinct from 'array' or jsonb_array_length(entries) > 1000
    or exists (select from jsonb_array_elements(entries) e where jsonb_typeof(e) <> 'object')
  then
    perform audit.fail_rule('A sample is a list of up to 1,000 entries.');
  end if;
  select string_agg(distinct format('"%s"', left(k, 50)), ', ') into v_unknown
  from jsonb_array_elements(entries) e cross join lateral jsonb_object_keys(e) k
  where k not in ('action', 'outcome', 'actor', 'actor_type', 'email', 'ip', 'resource', 'provider', 'cost', 'request_id', 'details', 'after', 'times', 'every');
  if v_unknown is not null then
    perform audit.fail_rule(format('An entry of a sample has no %s.', v_unknown),
      'It has action, outcome, actor, actor_type, email, ip, resource (type/id), provider, cost, request_id, details; "after" (10m), and "times" with "every".');
  elsif exists (
    select from jsonb_array_elements(entries) e
    where coalesce(e ->> 'action', '') !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' or coalesce(e ->> 'times', '1') !~ '^\d{1,4}$'
      or audit.duration(coalesce(e ->> 'after', '0s')) is null or audit.duration(coalesce(e ->> 'every', '1s')) is null
      or e ->> 'cost' is not null and audit.number_value(e ->> 'cost') is null
      or jsonb_typeof(coalesce(e -> 'details', '{}')) <> 'object'
  ) then
    perform audit.fail_rule('An entry of a sample has an action, and numbers and times where they belong.');
  end if;

  -- People are named as one likes; an address makes an identity.
  insert into audit.identities (organization_id, user_id, email, ip_address, salt, identity_hash, lookup)
  select distinct sample_entries.organization_id, md5(e ->> 'actor')::uuid, e ->> 'email', e ->> 'ip', '\x00000000000000000000000000000000'::bytea,
    audit.sample_identity(sample_entries.organization_id, e), ''::bytea
  from jsonb_array_elements(entries) e
  where e ?| array['email', 'ip'];

  return array(
    select jsonb_populate_record(null::public.audit_logs, jsonb_build_object(
      'organization_id', sample_entries.organization_id, 'chain', n, 'seq', t + 1,
      'created_at', timestamptz '2026-01-05 12:00Z' + audit.duration(coalesce(e ->> 'after', '0s')) + t * audit.duration(coalesce(e ->> 'every', '1s')),
      'action', e -> 'action', 'outcome', coalesce(e -> 'outcome', '"success"'), 'resource_type', split_part(e ->> 'resource', '/', 1),
      'resource_id', substr(e ->> 'resource', strpos(e ->> 'resource', '/') + 1), 'created_by', coalesce(audit.as_uuid(e ->> 'actor'), md5(e ->> 'actor')::uuid),
      'actor_type', coalesce(e ->> 'actor_type', case when e ? 'actor' then 'user' else 'system' end),
      'identity_hash', case when e ?| array['email', 'ip'] then audit.sample_identity(sample_entries.organization_id, e)::text end,
      'provider', e -> 'provider', 'cost', e -> 'cost', 'request_id', e -> 'request_id', 'details', coalesce(e -> 'details', '{}')
    ))
    from jsonb_array_elements(entries) with ordinality l (e, n)
    cross join lateral generate_series(0, coalesce((e ->> 'times')::int, 1) - 1) t
  );
end
$$;

comment on function audit.sample_entries(jsonb, uuid) is 'The entries of a rule''s test, with their identities, which the caller takes back.';

create or replace function audit.run_rule_test(rule audit.rules, entries jsonb)
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_organization uuid := gen_random_uuid();
  v_alerts int;
begin
  begin
    v_alerts := coalesce(cardinality(audit.try_rule(rule, 'unnest($1) e', v_organization, audit.sample_entries(entries, v_organization))), 0);
    raise triggered_action_exception; -- and no identity stays
  exception when triggered_action_exception then
    return v_alerts;
  end;
end
$$;

comment on function audit.run_rule_test(audit.rules, jsonb) is 'How many alerts a rule raises on a sample.';

create or replace function audit.test_rules(rule_id uuid default null)
  returns table (rule text, test text, expected int, alerts int, passed boolean)
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  return query
    select s.name, s.test, s.expected, s.alerts, s.expected = s.alerts
    from (
      select r.name, t.name as test, t.alerts as expected, audit.run_rule_test(audit.as_trial(r), t.entries) as alerts
      from audit.rule_tests t
      join audit.rules r on r.id = t.rule_id
      where test_rules.rule_id is null or r.id = test_rules.rule_id
      order by r.organization_id, r.name, t.name
    ) s;
end
$$;

comment on function audit.test_rules(uuid) is 'Runs the tests of a rule, or of all: select * from audit.test_rules() where not passed.';

create or replace function audit.as_trial(rule audit.rules)
  returns audit.rules
  language plpgsql
  volatile
  set search_path = ''
as $$
declare
  v_rule audit.rules := rule;
begin
  v_rule.id := gen_random_uuid();
  return v_rule;
end
$$;

comment on function audit.as_trial(audit.rules) is 'A rule under another id, so that what it remembers stays out of a trial.';

create or replace function audit.test_rule(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- trying a rule writes and takes back; the organisation is checked first
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_organization uuid;
  v_rule audit.rules;
  v_tests jsonb;
begin
  perform audit.check_request(request, array['organization_id', 'rule', 'id', 'tests']);
  v_organization := audit.requested_organization(request);
  perform audit.require_reach(v_organization);
  v_rule := audit.requested_rule(request, v_organization);
  v_tests := coalesce(request -> 'tests', (
    select jsonb_agg(jsonb_build_object('name', t.name, 'entries', t.entries, 'alerts', t.alerts) order by t.name)
    from audit.rule_tests t where t.rule_id = audit.as_uuid(request ->> 'id')
  ), '[]');
  perform audit.check_rule_tests(v_tests);
  return jsonb_build_object('tests', (
    select coalesce(jsonb_agg(jsonb_build_object('name', t.name, 'expected', t.alerts, 'alerts', t.raised, 'passed', t.alerts = t.raised) order by t.n), '[]')
    from (
      select t ->> 'name' as name, (t ->> 'alerts')::int as alerts, audit.run_rule_test(v_rule, t -> 'entries') as raised, n
      from jsonb_array_elements(v_tests) with ordinality l (t, n)
    ) t
  ));
end
$$;

comment on function audit.test_rule(jsonb) is
  'Runs tests on a rule: those that are kept with it, or {"tests": [{"name", "entries", "alerts"}]}. For admins and auditors.';
