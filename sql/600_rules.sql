-- What is watched for. A rule is a row: which entries it is about (a query), what must come together for an alert (its
-- kind and settings), and how loud. Rules of the nil UUID are the defaults: they hold for every organisation, which can
-- switch each off or tune it (audit.rule_choices) without a copy of it.

create table if not exists audit.rules (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  name text not null,
  description text not null default '',
  version int not null default 1,
  kind text not null,
  severity text not null,
  enabled boolean not null default true,
  match jsonb not null,
  settings jsonb not null,
  quiet_period interval,
  channels uuid[],
  compiled text,
  changed_at timestamptz not null default clock_timestamp(),
  constraint rules_name_key unique (organization_id, name)
);

comment on table audit.rules is 'What is watched for; written by audit.create_rule(), audit.change_rule() and audit.delete_rule() only.';
comment on column audit.rules.id is 'Names the rule.';
comment on column audit.rules.organization_id is 'Whose rule it is; the nil UUID for the defaults, which hold for everybody.';
comment on column audit.rules.name is 'What it is called, and the title of its alerts.';
comment on column audit.rules.description is 'What it means and what to do then.';
comment on column audit.rules.version is 'How many times it was written; the log has every change.';
comment on column audit.rules.kind is 'event, count, distinct, sum, sequence, new_value, travel, schedule or anomaly.';
comment on column audit.rules.severity is 'info, low, medium, high or critical.';
comment on column audit.rules.enabled is 'Whether it is in force.';
comment on column audit.rules.match is 'Which entries it is about: a canonical query tree.';
comment on column audit.rules.settings is 'What its kind needs: window, threshold, group_by, …; sql/README.md lists them.';
comment on column audit.rules.quiet_period is 'An alert is over when nothing happened for so long; null: when somebody resolves it.';
comment on column audit.rules.channels is 'Where its alerts go; null for the organisation''s default channels.';
comment on column audit.rules.compiled is 'SQL of what an entry e adds to it, made when it was written; null for kinds that look at no single entry.';
comment on column audit.rules.changed_at is 'When it was last written.';

create table if not exists audit.rule_choices (
  rule_id uuid not null references audit.rules (id) on delete cascade,
  organization_id uuid not null,
  choice jsonb not null,
  changed_at timestamptz not null default clock_timestamp(),
  constraint rule_choices_pkey primary key (rule_id, organization_id)
);

comment on table audit.rule_choices is 'How organisations have tuned the defaults; written by audit.choose_rule() only.';
comment on column audit.rule_choices.rule_id is 'The default.';
comment on column audit.rule_choices.organization_id is 'Who has chosen.';
comment on column audit.rule_choices.choice is 'The fields that differ: enabled, severity, quiet_period, channels, and settings such as threshold.';
comment on column audit.rule_choices.changed_at is 'When it was chosen; the log has every change.';

create table if not exists audit.rule_tests (
  rule_id uuid not null references audit.rules (id) on delete cascade,
  name text not null,
  entries jsonb not null,
  alerts int not null,
  constraint rule_tests_pkey primary key (rule_id, name)
);

comment on table audit.rule_tests is 'Sample entries for rules, and how many alerts they must raise; audit.test_rules() runs them.';
comment on column audit.rule_tests.rule_id is 'The rule.';
comment on column audit.rule_tests.name is 'What the sample shows.';
comment on column audit.rule_tests.entries is 'A list of entries; "after" is their time from the first on, such as "10m".';
comment on column audit.rule_tests.alerts is 'How many alerts they raise.';

alter table audit.rules enable row level security;
alter table audit.rule_choices enable row level security;
alter table audit.rule_tests enable row level security;

-- Fields --------------------------------------------------------------------------------------------------------------

create or replace function audit.duration(value text)
  returns interval
  language sql
  immutable
  parallel safe
  -- All of a fixed length: a window does not depend on where in the year it lies.
  return case
    when value ~ '^\d{1,8}[smhdwy]$' then left(value, -1)::int * case right(value, 1)
      when 's' then interval '1 second' when 'm' then interval '1 minute' when 'h' then interval '1 hour'
      when 'd' then interval '24 hours' when 'w' then interval '168 hours' else interval '8760 hours'
    end
  end;

comment on function audit.duration(text) is 'A length of time as rules write it: 30s, 10m, 1h, 14d, 2w, 1y; null for what is none.';

create or replace function audit.duration_text(length interval)
  returns text
  language sql
  immutable
  parallel safe
  return case
    when extract(epoch from length)::bigint % 86400 = 0 then extract(epoch from length)::bigint / 86400 || 'd'
    when extract(epoch from length)::bigint % 3600 = 0 then extract(epoch from length)::bigint / 3600 || 'h'
    when extract(epoch from length)::bigint % 60 = 0 then extract(epoch from length)::bigint / 60 || 'm'
    else extract(epoch from length)::bigint || 's'
  end;

comment on function audit.duration_text(interval) is 'A length of time as rules write it.';

create or replace function audit.rule_fields()
  returns table (field text, kinds text[], required_of text[])
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  values
    ('match', array['event', 'count', 'distinct', 'sum', 'sequence', 'new_value', 'travel', 'anomaly'], array['event', 'count', 'distinct', 'sequence', 'new_value', 'travel']),
    ('group_by', array['event', 'count', 'distinct', 'sum', 'sequence', 'new_value', 'travel', 'anomaly'], array['travel']),
    ('window', array['count', 'distinct', 'sum', 'sequence', 'travel'], array['count', 'distinct', 'sequence', 'travel']),
    ('threshold', array['count', 'distinct', 'sum', 'sequence'], array['count', 'distinct']),
    ('hours', array['event', 'count'], '{}'),
    ('value', array['distinct', 'sum', 'new_value', 'anomaly'], array['distinct', 'new_value']),
    ('against', array['sum'], '{}'),
    ('percent', array['sum'], '{}'),
    ('then', array['sequence'], array['sequence']),
    ('history', array['new_value'], '{}'),
    ('warm_up', array['new_value'], '{}'),
    ('allowed', array['new_value', 'travel'], '{}'),
    ('speed', array['travel'], '{}'),
    ('distance', array['travel'], '{}'),
    ('check', array['schedule'], '{}'),
    ('digest', array['schedule'], '{}'),
    ('limit', array['schedule'], '{}'),
    ('weekday', array['schedule'], '{}'),
    ('hour', array['schedule'], '{}'),
    ('parameters', array['anomaly'], '{}')
$$;

comment on function audit.rule_fields() is 'The fields of rules, which kinds have each, and which need it.';

create or replace function audit.fail_rule(message text, hint text default null)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  perform audit.fail('AURUL', fail_rule.message, null, fail_rule.hint);
end
$$;

comment on function audit.fail_rule(text, text) is 'Raises AURUL.';

create or replace function audit.fail_rule_at(field text, message text, hint text default null)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  perform audit.fail_inside(fail_rule_at.field, 'AURUL', fail_rule_at.message, null, fail_rule_at.hint);
end
$$;

comment on function audit.fail_rule_at(text, text, text) is 'Raises AURUL; its detail names the field.';

-- What a rule is grouped by, or looks for new values of: a field of the entry, of its identity, or a path into details.
-- Of e-mail and IP addresses the rule keeps the commitment of the first identity that had it: it tells them apart, and
-- who may see identities finds the address by it, until the person is erased.
create or replace function audit.rule_field_sql(field text)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select case
    when field in ('action', 'outcome', 'resource_type', 'resource_id', 'provider', 'actor_type', 'request_id')
      then format('e.%I', field)
    when field = 'actor' then 'coalesce(e.created_by::text, audit.same_email(e.identity_hash))'
    when field = 'resource' then 'concat_ws(''/'', e.resource_type, e.resource_id)'
    when field = 'email' then 'audit.same_email(e.identity_hash)'
    when field = 'ip' then 'audit.same_ip(e.identity_hash)'
    when field = 'country' then 'audit.country_of(e.identity_hash)'
    when audit.query_path(field) is not null and length(field) <= 500
      then format('audit.bounded(e.details #>> %L, 300)', audit.query_path(field))
  end
$$;

comment on function audit.rule_field_sql(text) is 'The SQL of a field that rules group by; null for what is none.';

create or replace function audit.rule_tree(value jsonb, field text)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_tree jsonb;
  v_text text;
begin
  if jsonb_typeof(value) = 'string' then
    v_tree := audit.parse_query(value #>> '{}');
  elsif jsonb_typeof(value) = 'object' then
    v_tree := audit.canonical_query(value);
  else
    perform audit.fail_rule(format('"%s" is a query: a string or a tree.', field), 'For example "action:api_key.*".');
  end if;
  v_text := v_tree::text;
  if exists (
    select from jsonb_path_query(v_tree, 'strict $.**.field') f where f #>> '{}' in ('created', 'chain', 'seq')
  ) then
    perform audit.fail_rule(format('"%s" looks at entries as they come: created, chain and seq have no place in it.', field),
      'How long back is looked is said by "window" and "history".');
  elsif (length(v_text) - length(replace(v_text, '"field"', ''))) / 7 > 50 or (length(v_text) - length(replace(v_text, '"text"', ''))) / 6 > 3 then
    perform audit.fail_rule(format('"%s" has at most 50 comparisons and 3 texts.', field));
  end if;
  return v_tree;
end
$$;

comment on function audit.rule_tree(jsonb, text) is 'The canonical tree of a rule''s query; raises AUQRY or AURUL.';

create or replace function audit.check_hours(hours jsonb)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if hours = '"learned"' then
    return;
  end if;
  if jsonb_typeof(hours) is distinct from 'object' or not (hours - array['days', 'from', 'to'] = '{}' and hours ?& array['days', 'from', 'to'])
    or jsonb_typeof(hours -> 'days') <> 'array' or not hours -> 'days' <@ '[1, 2, 3, 4, 5, 6, 7]' or hours -> 'days' = '[]'
    or not (coalesce(hours ->> 'from', '') ~ '^([01]\d|2[0-3]):(00|15|30|45)$' and coalesce(hours ->> 'to', '') ~ '^(([01]\d|2[0-3]):(00|15|30|45)|24:00)$')
    or hours ->> 'from' = hours ->> 'to'
  then
    perform audit.fail_rule('"hours" is "learned", or the hours of work, outside of which entries count.',
      'For example {"days": [1, 2, 3, 4, 5], "from": "08:00", "to": "18:30"}: days from 1, Monday; quarters of an hour; from 22:00 to 06:00 is across midnight.');
  end if;
end
$$;

comment on function audit.check_hours(jsonb) is 'Raises AURUL for what are no hours of work.';

create or replace function audit.check_setting(kind text, field text, value jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_each text;
  v_number numeric := case when jsonb_typeof(value) = 'number' then (value #>> '{}')::numeric end;
begin
  case
    when field in ('match', 'then') then
      return audit.rule_tree(value, field);
    when field in ('window', 'history', 'limit') then
      if jsonb_typeof(value) <> 'string' or coalesce(audit.duration(value #>> '{}') not between interval '1 second' and interval '8784 hours', true) then
        perform audit.fail_rule(format('"%s" is a length of time from 1s to 1y.', field), 'For example 30s, 10m, 1h, 14d.');
      end if;
    when field = 'threshold' then
      if coalesce(v_number <= 0, true) or v_number > 1e12 or kind <> 'sum' and v_number % 1 <> 0 then
        perform audit.fail_rule('"threshold" is a number above 0, and a whole one except in sums.');
      end if;
    when kind = 'anomaly' and field = 'value' then
      if value not in ('"entries"', '"queries"', '"cost"') then
        perform audit.fail_rule('An anomaly is one of "entries", "queries" or "cost".');
      end if;
    when kind = 'anomaly' and field = 'group_by' then
      if value not in ('["actor"]', '["provider"]', '["action"]') then
        perform audit.fail_rule('Anomalies are told apart by ["actor"], ["provider"] or ["action"].');
      end if;
    when field in ('group_by', 'value') then
      if field = 'value' and jsonb_typeof(value) <> 'string' or field = 'group_by' and (
        jsonb_typeof(value) <> 'array' or jsonb_array_length(value) > 3
          or exists (select from jsonb_array_elements(value) e where jsonb_typeof(e) <> 'string')
          or (select count(distinct e) < count(*) from jsonb_array_elements(value) e)
      ) then
        perform audit.fail_rule(case field when 'value' then '"value" names one field.' else '"group_by" is a list of up to three fields.' end);
      end if;
      foreach v_each in array case jsonb_typeof(value) when 'string' then array[value #>> '{}'] else array(select jsonb_array_elements_text(value)) end loop
        if kind = 'sum' and field = 'value' then
          if v_each <> 'cost' and audit.query_path(v_each) is null then
            perform audit.fail_rule(format('There is no number in "%s" to add up.', left(v_each, 100)), 'It is cost, or a path into details: details.entries.');
          end if;
        elsif audit.rule_field_sql(v_each) is null then
          perform audit.fail_rule(format('A rule cannot look at the field "%s".', left(v_each, 100)),
            'Fields are actor, email, ip, country, action, outcome, actor_type, resource, resource_type, resource_id, provider, request_id, and paths: new.…, old.…, changes.…, details.….');
        end if;
      end loop;
    when field = 'hours' then
      perform audit.check_hours(value);
    when field = 'against' then
      if value <> '"budgets"' then
        perform audit.fail_rule('A sum is held against "budgets", or a threshold.');
      end if;
    when field = 'percent' then
      if jsonb_typeof(value) <> 'array' or jsonb_array_length(value) not between 1 and 10
        or exists (select from jsonb_array_elements(value) e where jsonb_typeof(e) <> 'number' or (e #>> '{}')::numeric not between 1 and 1000)
      then
        perform audit.fail_rule('"percent" is a list of numbers from 1 to 1000: shares of a budget.');
      end if;
    when field = 'allowed' then
      if value <> 'null' and (jsonb_typeof(value) <> 'array' or jsonb_array_length(value) > 1000
        or exists (select from jsonb_array_elements(value) e where jsonb_typeof(e) <> 'string'))
      then
        perform audit.fail_rule('"allowed" is a list of texts, or null.');
      elsif kind = 'travel' and value <> 'null' then
        select e into v_each from jsonb_array_elements_text(value) e where e !~ '^[A-Z]{2}$' and audit.as_address(e) is null limit 1;
        if found then
          perform audit.fail_rule(format('"%s" is neither a country nor a network.', left(v_each, 100)), 'For example DE, 203.0.113.0/24, 2001:db8::/32.');
        end if;
      end if;
    when field = 'speed' then
      if coalesce(v_number not between 100 and 100000, true) then
        perform audit.fail_rule('"speed" is a number from 100 to 100000: kilometres an hour.');
      end if;
    when field = 'distance' then
      if coalesce(v_number not between 1 and 20000, true) then
        perform audit.fail_rule('"distance" is a number from 1 to 20000: kilometres.');
      end if;
    when field = 'warm_up' then
      if coalesce(v_number % 1 <> 0 or v_number not between 0 and 365, true) then
        perform audit.fail_rule('"warm_up" is a number of days from 0 to 365.');
      end if;
    when field = 'check' then
      if not audit.health_checks() ? coalesce(value #>> '{}', '') then
        perform audit.fail_rule('There is no such check.', 'Checks are ' || (select string_agg(k, ', ') from jsonb_object_keys(audit.health_checks()) k) || '.');
      end if;
    when field = 'digest' then
      if value not in ('"activity"', '"costs"', '"overflow"') then
        perform audit.fail_rule('A digest is of "activity", "costs" or "overflow".');
      end if;
    when field in ('weekday', 'hour') then
      if coalesce(v_number % 1 <> 0, true) or field = 'weekday' and v_number not between 1 and 7 or field = 'hour' and v_number not between 0 and 23 then
        perform audit.fail_rule('"weekday" is 1 (Monday) to 7 and "hour" 0 to 23, in the organisation''s time zone.');
      end if;
    else
      if jsonb_typeof(value) <> 'object' or value - array['score', 'least_entries', 'least_queries', 'least_cost'] <> '{}'
        or exists (select from jsonb_each(value) p where jsonb_typeof(p.value) <> 'number' or (p.value #>> '{}')::numeric not between case p.key when 'score' then 1 else 0 end and 1e12)
      then
        perform audit.fail_rule('"parameters" are score, from 1, and least_entries, least_queries and least_cost, from 0.', 'For example {"score": 6, "least_queries": 500}.');
      end if;
  end case;
  return value;
end
$$;

comment on function audit.check_setting(text, text, jsonb) is 'The value of a rule''s field as it is kept; raises AURUL or AUQRY where the kind cannot have it.';

create or replace function audit.checked_setting(kind text, field text, value jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_detail text;
  v_hint text;
begin
  return audit.check_setting(kind, field, value);
exception when sqlstate 'AURUL' or sqlstate 'AUQRY' then
  get stacked diagnostics v_detail = pg_exception_detail, v_hint = pg_exception_hint;
  perform audit.fail_inside(field, sqlstate, sqlerrm, v_detail, v_hint);
end
$$;

comment on function audit.checked_setting(text, text, jsonb) is 'What audit.check_setting() answers, or its error with the field that it is about.';

create or replace function audit.checked_rule(rule jsonb)
  returns audit.rules
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_variable
declare
  v_rule audit.rules;
  v_common constant text[] := array['id', 'organization_id', 'name', 'description', 'kind', 'severity', 'enabled', 'quiet_period', 'channels', 'version', 'changed_at', 'default', 'tests'];
  v_field record;
  v_unknown text;
begin
  if jsonb_typeof(rule) is distinct from 'object' then
    perform audit.fail_rule('A rule is a JSON object.');
  end if;
  v_rule.kind := rule ->> 'kind';
  if v_rule.kind is null or v_rule.kind not in ('event', 'count', 'distinct', 'sum', 'sequence', 'new_value', 'travel', 'schedule', 'anomaly') then
    perform audit.fail_rule_at('kind', 'A rule has a kind.', 'It is event, count, distinct, sum, sequence, new_value, travel, schedule or anomaly.');
  end if;
  select string_agg(format('"%s"', left(k, 50)), ', ') into v_unknown
  from jsonb_object_keys(rule) k
  where k <> all (v_common) and not exists (select from audit.rule_fields() f where f.field = k and v_rule.kind = any (f.kinds));
  if v_unknown is not null then
    perform audit.fail_rule(format('A rule of kind %s has no %s.', v_rule.kind, v_unknown), 'It has name, description, severity, enabled, quiet_period, channels'
      || coalesce((select string_agg(', ' || f.field, '') from audit.rule_fields() f where v_rule.kind = any (f.kinds)), '') || '.');
  end if;
  if jsonb_typeof(rule -> 'name') is distinct from 'string' or length(trim(rule ->> 'name')) not between 1 and 200 then
    perform audit.fail_rule_at('name', 'A rule has a name of up to 200 characters.');
  elsif jsonb_typeof(coalesce(rule -> 'description', '""')) <> 'string' or length(rule ->> 'description') > 2000 then
    perform audit.fail_rule_at('description', '"description" has up to 2,000 characters.');
  elsif coalesce(rule ->> 'severity', 'medium') not in ('info', 'low', 'medium', 'high', 'critical') then
    perform audit.fail_rule_at('severity', '"severity" is info, low, medium, high or critical.');
  elsif jsonb_typeof(coalesce(rule -> 'enabled', 'true')) <> 'boolean' then
    perform audit.fail_rule_at('enabled', '"enabled" is true or false.');
  elsif rule -> 'quiet_period' <> 'null' and coalesce(audit.duration(rule ->> 'quiet_period') not between interval '1 second' and interval '8784 hours', true) then
    perform audit.fail_rule_at('quiet_period', '"quiet_period" is a length of time from 1s to 1y, or null: until somebody resolves the alert.');
  elsif rule -> 'channels' <> 'null' and (
    jsonb_typeof(rule -> 'channels') <> 'array' or jsonb_array_length(rule -> 'channels') > 20
      or exists (select from jsonb_array_elements(rule -> 'channels') e where audit.as_uuid(e #>> '{}') is null)
  ) then
    perform audit.fail_rule_at('channels', '"channels" is a list of ids of channels, or null for the default ones.');
  end if;
  v_rule.name := trim(rule ->> 'name');
  v_rule.description := coalesce(rule ->> 'description', '');
  v_rule.severity := coalesce(rule ->> 'severity', 'medium');
  v_rule.enabled := coalesce((rule ->> 'enabled')::boolean, true);
  v_rule.quiet_period := case when rule ? 'quiet_period' then audit.duration(rule ->> 'quiet_period') else interval '1 hour' end;
  v_rule.channels := case when jsonb_typeof(rule -> 'channels') = 'array' then array(select e::uuid from jsonb_array_elements_text(rule -> 'channels') e) end;
  v_rule.match := '{"and": []}';
  v_rule.settings := '{}';
  for v_field in select f.field, rule -> f.field as value, v_rule.kind = any (f.required_of) as required from audit.rule_fields() f where v_rule.kind = any (f.kinds) loop
    -- null is as if it were not said, where it is no value.
    if v_field.value is null or v_field.value = 'null' and v_field.field <> 'allowed' then
      if v_field.required then
        perform audit.fail_rule_at(v_field.field, format('A rule of kind %s needs "%s".', v_rule.kind, v_field.field));
      end if;
    elsif v_field.field = 'match' then
      v_rule.match := audit.checked_setting(v_rule.kind, 'match', v_field.value);
    else
      v_rule.settings := v_rule.settings || jsonb_build_object(v_field.field, audit.checked_setting(v_rule.kind, v_field.field, v_field.value));
    end if;
  end loop;
  if v_rule.kind = 'sum' and v_rule.settings ? 'against' = (v_rule.settings ?| array['window', 'threshold', 'value', 'group_by'])
    or v_rule.kind = 'sum' and not v_rule.settings ? 'against' and not v_rule.settings ?& array['window', 'threshold']
  then
    perform audit.fail_rule('A sum has a window and a threshold, or stands "against" budgets.');
  elsif v_rule.kind = 'schedule' and v_rule.settings ? 'check' = v_rule.settings ? 'digest' then
    perform audit.fail_rule('A schedule has either a "check" or a "digest".');
  elsif v_rule.kind = 'event' and v_rule.match = '{"and": []}' then
    perform audit.fail_rule_at('match', 'An event rule that matches everything is the log itself.', 'Say in "match" which entries are meant.');
  elsif v_rule.kind = 'anomaly' and v_rule.match <> '{"and": []}' and not coalesce(
    v_rule.match ->> 'op' = 'eq' and (v_rule.match ->> 'field' in ('provider', 'action')
      or v_rule.match ->> 'field' = 'actor' and v_rule.match ->> 'value' = audit.as_uuid(v_rule.match ->> 'value')::text),
    false
  ) then
    -- It is counted by hour (630), and of these no two together.
    perform audit.fail_rule_at('match', 'An anomaly is of everything, or of one provider, action or user.', 'For example "provider:openai", "action:user.login_failed", or the id of a user: "actor:…".');
  elsif v_rule.kind = 'anomaly' and v_rule.match <> '{"and": []}' and v_rule.settings ? 'group_by' then
    perform audit.fail_rule_at('group_by', 'An anomaly of one provider, action or user is not told apart further.', 'Leave out "match" or "group_by".');
  end if;
  -- Times that are closer are not told apart (audit.rules_in_force).
  if v_rule.quiet_period < greatest(audit.duration(v_rule.settings ->> 'window') / 1000, case when v_rule.settings ? 'hours' then interval '15 minutes' end) then
    perform audit.fail_rule_at('quiet_period', '"quiet_period" is at least a thousandth of the window, and 15m where hours count.');
  end if;
  v_rule.compiled := audit.compile_rule(v_rule);
  return v_rule;
end
$$;

comment on function audit.checked_rule(jsonb) is 'A rule as it is kept, from its JSON; raises AURUL or AUQRY where something is wrong.';

create or replace function audit.rule_json(rule audit.rules)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
      'id', (rule).id, 'organization_id', (rule).organization_id, 'default', (rule).organization_id = audit.system_organization(),
      'name', (rule).name, 'description', (rule).description, 'version', (rule).version, 'kind', (rule).kind,
      'severity', (rule).severity, 'enabled', (rule).enabled, 'quiet_period', audit.duration_text((rule).quiet_period),
      'channels', (rule).channels, 'changed_at', audit.instant_text((rule).changed_at)
    )
    || case when (rule).kind = 'schedule' or (rule).kind = 'anomaly' and (rule).match = '{"and": []}' then '{}' else jsonb_build_object('match', audit.format_query((rule).match)) end
    || (rule).settings
    || case when (rule).settings ? 'then' then jsonb_build_object('then', audit.format_query((rule).settings -> 'then')) else '{}' end
$$;

comment on function audit.rule_json(audit.rules) is 'A rule as the API shows it; audit.checked_rule() takes it back.';

-- In force ------------------------------------------------------------------------------------------------------------

create or replace function audit.tuned_rule(rule audit.rules, choice jsonb)
  returns audit.rules
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_rule audit.rules := rule;
begin
  if choice is not null then
    v_rule.enabled := coalesce((choice ->> 'enabled')::boolean, v_rule.enabled);
    v_rule.severity := coalesce(choice ->> 'severity', v_rule.severity);
    v_rule.quiet_period := case when choice ? 'quiet_period' then audit.duration(choice ->> 'quiet_period') else v_rule.quiet_period end;
    v_rule.channels := case
      when not choice ? 'channels' then v_rule.channels
      when choice -> 'channels' <> 'null' then array(select e::uuid from jsonb_array_elements_text(choice -> 'channels') e)
    end;
    v_rule.settings := v_rule.settings || (choice - array['enabled', 'severity', 'quiet_period', 'channels']);
  end if;
  return v_rule;
end
$$;

comment on function audit.tuned_rule(audit.rules, jsonb) is 'A default as an organisation has tuned it.';

create or replace function audit.rule_for(rule_id uuid, organization_id uuid)
  returns audit.rules
  language sql
  stable
  set search_path = ''
as $$
  select t.*
  from audit.rules r
  left join audit.rule_choices c on c.rule_id = r.id and c.organization_id = rule_for.organization_id
  cross join lateral audit.tuned_rule(r, c.choice) t
  where r.id = rule_for.rule_id
$$;

comment on function audit.rule_for(uuid, uuid) is 'A rule as it holds for an organisation.';

do $$
begin
  if to_regtype('audit.rule_in_force') is null then
    create type audit.rule_in_force as (
      rule_id uuid,
      organization_id uuid,
      own boolean,
      kind text,
      settings jsonb,
      quiet_period interval,
      slot bigint,
      span bigint,
      threshold numeric
    );
  end if;
end
$$;

comment on type audit.rule_in_force is
  'A rule as it holds for an organisation; slot: how finely it tells times apart, in microseconds; span: slots of its window.';

-- Times are kept in slots: a thousandth of the window (a millionth of it where order counts), so that what is remembered
-- of a group is bounded, however much happens in it. Hours and budgets are judged by quarters of an hour, which every
-- time zone's hours begin at.
create or replace function audit.rules_in_force(organizations uuid[])
  returns setof audit.rule_in_force
  language sql
  stable
  set search_path = ''
as $$
  select t.id, o.id, t.organization_id <> audit.system_organization(), t.kind, t.settings, t.quiet_period, s.slot,
    case
      when t.kind in ('count', 'distinct', 'sum', 'sequence', 'travel') and not t.settings ? 'against' then ceil(w.reach / s.slot)::bigint
      else 0
    end,
    coalesce((t.settings ->> 'threshold')::numeric, 1)
  from unnest(organizations) o (id)
  join audit.rules r on r.organization_id in (o.id, audit.system_organization()) and r.compiled is not null
  left join audit.rule_choices c on c.rule_id = r.id and c.organization_id = o.id
  cross join lateral audit.tuned_rule(r, c.choice) t
  cross join lateral (
    select extract(epoch from coalesce(audit.duration(t.settings ->> 'window'), t.quiet_period, interval '1 day')) * 1000000 as reach
  ) w
  cross join lateral (
    select case
      when t.settings ?| array['hours', 'against'] then 900000000
      when t.kind = 'sequence' then greatest(1, ceil(w.reach / 1000000))
      else greatest(1, ceil(w.reach / 1000))
    end::bigint as slot
  ) s
  where t.enabled
$$;

comment on function audit.rules_in_force(uuid[]) is 'The rules that hold for organisations, as each has tuned them.';
