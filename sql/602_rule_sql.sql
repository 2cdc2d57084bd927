-- From a rule to SQL, once a version: an expression over an entry e that says what the entry adds to the rule, or null.
-- The expressions of all rules are evaluated together, in one pass over the new entries (610).

do $$
begin
  if to_regtype('audit.rule_hit') is null then
    create type audit.rule_hit as (
      rule_id uuid,
      group_key text,
      value text,
      weight numeric,
      note jsonb
    );
  end if;
end
$$;

comment on type audit.rule_hit is 'What one entry adds to a rule: to which of its groups, with which value, how much.';

-- Personal data -------------------------------------------------------------------------------------------------------

-- Once, as in 200: else an upgrade locks writers out.
do $$
begin
  if to_regclass('audit.identities_email_idx') is null then
    -- Which identity of the organisation had an address first? Asked for entries that a rule is about, so an index it is.
    create index identities_ip_address_idx on audit.identities (organization_id, ip_address, created_at, identity_hash);
    create index identities_email_idx on audit.identities (organization_id, lower(email), created_at, identity_hash);
  end if;
end
$$;

create or replace function audit.same_ip(identity_hash bytea)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select encode(f.identity_hash, 'hex')
  from (select i.organization_id, i.ip_address from audit.identities i where i.identity_hash = same_ip.identity_hash limit 1) i
  cross join lateral (
    select f.identity_hash from audit.identities f
    where f.organization_id = i.organization_id and f.ip_address = i.ip_address
    order by f.created_at, f.identity_hash
    limit 1
  ) f
$$;

comment on function audit.same_ip(bytea) is
  'The same for all identities of an organisation with one IP address: the commitment of the first of them.';

create or replace function audit.same_email(identity_hash bytea)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select encode(f.identity_hash, 'hex')
  from (select i.organization_id, i.email from audit.identities i where i.identity_hash = same_email.identity_hash limit 1) i
  cross join lateral (
    select f.identity_hash from audit.identities f
    where f.organization_id = i.organization_id and lower(f.email) = lower(i.email)
    order by f.created_at, f.identity_hash
    limit 1
  ) f
$$;

comment on function audit.same_email(bytea) is
  'The same for all identities of an organisation with one e-mail address: the commitment of the first of them.';

create or replace function audit.country_of(identity_hash bytea)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_ip text := (select i.ip_address from audit.identities i where i.identity_hash = country_of.identity_hash limit 1);
  v_country text;
begin
  -- Where no table of addresses is loaded there are no countries.
  if v_ip is null or to_regproc('audit.place_of') is null then
    return null;
  end if;
  execute 'select p.country from audit.place_of($1) p' into v_country using v_ip;
  return v_country;
end
$$;

comment on function audit.country_of(bytea) is 'The country of an identity''s IP address, where the project has a table of them.';

-- When ----------------------------------------------------------------------------------------------------------------

-- Lines of logs, and what sources report, come when they come: an hour late, or after what followed. Who told when it
-- happened is taken at their word, a signed-in user's own client is not; nothing happened after it was written.
create or replace function audit.happened_at(created_at timestamptz, details jsonb)
  returns timestamptz
  language sql
  stable
  return case
    when details ->> 'happened_at' ~ '^\d{4}-\d\d-\d\dT' and details ->> 'reported_by' is distinct from 'client'
      then least(lower(audit.query_instants(details ->> 'happened_at')), created_at)
    else created_at
  end;

comment on function audit.happened_at(timestamptz, jsonb) is
  'When what an entry tells happened: as its teller says, where it was written more than five seconds later; else when it was written.';

-- Conditions ----------------------------------------------------------------------------------------------------------

-- As audit.compile_query(), but addresses are looked up when an entry comes: a rule outlives the people it is about.
create or replace function audit.rule_condition(tree jsonb)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_field text := tree ->> 'field';
  v_values text[] := case jsonb_typeof(tree -> 'value')
    when 'array' then array(select lower(v.value) from jsonb_array_elements_text(tree -> 'value') v (value))
    when 'string' then array[lower(tree ->> 'value')]
  end;
  v_users uuid[];
  v_test text;
begin
  if tree ?| array['and', 'or'] then
    return coalesce((
      select '(' || string_agg(audit.rule_condition(e.value), case when tree ? 'and' then ' and ' else ' or ' end
        -- The action first: it tells most entries from most rules.
        order by e.value ->> 'field' is distinct from 'action', e.value ? 'text', e.n) || ')'
      from jsonb_array_elements(coalesce(tree -> 'and', tree -> 'or')) with ordinality e (value, n)
    ), 'true');
  elsif tree ? 'not' then
    return format('(%s) is not true', audit.rule_condition(tree -> 'not'));
  elsif v_field in ('email', 'ip', 'user_agent', 'actor') and not (v_field = 'actor' and tree ->> 'op' = 'exists') then
    select array_agg(audit.as_uuid(v)) filter (where audit.as_uuid(v) is not null) into v_users from unnest(v_values) v;
    v_test := format('i.%I', case v_field when 'ip' then 'ip_address' when 'user_agent' then 'user_agent' else 'email' end);
    v_test := case tree ->> 'op'
      when 'exists' then v_test || ' is not null'
      when 'like' then format('lower(%s) like %L', v_test, audit.pattern_like(v_values[1]))
      else format('lower(%s) = any (%L::text[])', v_test, v_values)
    end;
    return format('exists (select from audit.identities i where i.identity_hash = e.identity_hash and %s)', v_test)
      || case when v_field = 'actor' and v_users is not null then format(' or e.created_by = any (%L::uuid[])', v_users) else '' end;
  elsif tree ? 'text' then
    -- Taking an entry apart into words is dear, so its longest word must be in it at all.
    select w into v_test from unnest(audit.search_words(tree ->> 'text')) w order by length(w) desc limit 1;
    return format('(strpos(lower(audit.search_text(e) collate "und-x-icu"), %L) > 0 and %s)', v_test,
      (audit.compile_leaf(audit.system_organization(), tree)).condition);
  end if;
  return '(' || (audit.compile_leaf(audit.system_organization(), tree)).condition || ')';
end
$$;

comment on function audit.rule_condition(jsonb) is 'The SQL of a rule''s canonical query tree, for an entry e of any organisation.';

-- Alerts are entries, so a rule could raise alerts about alerts for ever. Only a rule that names an alert's action sees
-- them at all, and what it then raises says so and is seen by no rule.
create or replace function audit.rule_guard(tree jsonb)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select case
    when exists (
      select from jsonb_path_query(tree, 'strict $.** ? (@.field == "action")') l
      cross join lateral jsonb_path_query(l, 'lax $.value[*]') v
      where l ->> 'op' in ('eq', 'in', 'like') and v #>> '{}' like 'alert.%'
    ) then 'e.details ->> ''about'' is distinct from ''alerts'''
    else 'e.action not like ''alert.%'''
  end
$$;

comment on function audit.rule_guard(jsonb) is 'The condition that keeps a rule from alerts about alerts.';

create or replace function audit.group_sql(fields text[])
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select case
    when coalesce(cardinality(fields), 0) = 0 then ''''''
    -- JSON as text. Where an address is missing there is no group, so all who have none are not taken for one.
    else '''{' || string_agg(
      replace(to_json(f.field)::text, '''', '''''') || ': '' || ' || case
        when f.field in ('ip', 'email', 'country') then format('to_json(%s)::text', audit.rule_field_sql(f.field))
        else format('coalesce(to_json(%s)::text, ''null'')', audit.rule_field_sql(f.field))
      end, ' || '', ' order by f.n
    ) || ' || ''}'''
  end
  from unnest(fields) with ordinality f (field, n)
$$;

comment on function audit.group_sql(text[]) is 'The SQL of the key of the group that an entry belongs to.';

create or replace function audit.compile_rule(rule audit.rules)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_settings jsonb := (rule).settings;
  v_group text := audit.group_sql(array(select jsonb_array_elements_text(coalesce(v_settings -> 'group_by', '[]'))));
  v_hit constant text := 'case when %s and %s then row($rule$, %s, %s, %s, %s)::audit.rule_hit end';
  v_condition text := audit.rule_condition((rule).match);
  v_guard text := audit.rule_guard((rule).match);
begin
  case
    when (rule).kind in ('schedule', 'anomaly') then
      return null;
    when v_settings ? 'against' then
      -- What was spent, and what may be.
      return format(v_hit, v_guard || ' and e.cost > 0 and e.cost < ''Infinity''', v_condition, 'coalesce(e.provider, '''')', '''spent''', 'e.cost', 'null')
        || ', ' || format(v_hit, 'e.action like ''budget.%''', 'e.resource_type = ''budget''', 'coalesce(e.resource_id, '''')',
          'concat_ws(''-'', e.chain, e.seq)', '1', 'jsonb_build_object(''action'', e.action, ''details'', e.details)');
    when (rule).kind = 'sum' then
      return format(v_hit, v_guard, v_condition, v_group, '''''', case
        when coalesce(v_settings ->> 'value', 'cost') = 'cost' then 'case when e.cost < ''Infinity'' then e.cost end'
        else format('audit.number_value(e.details #>> %L)', audit.query_path(v_settings ->> 'value'))
      end, 'null');
    when (rule).kind in ('distinct', 'new_value') then
      return format(v_hit, v_guard, v_condition, v_group, format('left(%s, 300)', audit.rule_field_sql(v_settings ->> 'value')), '1', 'null');
    when (rule).kind = 'travel' then
      return format(v_hit, v_guard, v_condition, v_group, 'audit.sighting(e.identity_hash, e.organization_id, $rule$)', '1', 'null');
    when (rule).kind = 'sequence' then
      return format(v_hit, v_guard, v_condition, v_group, '''first''', '1', 'null')
        || ', ' || format(v_hit, v_guard, audit.rule_condition(v_settings -> 'then'), v_group, '''then''', '1', 'null');
    else
      return format(v_hit, v_guard, v_condition, v_group, '''''', '1', 'null');
  end case;
end
$$;

comment on function audit.compile_rule(audit.rules) is
  'The SQL of what an entry e adds to a rule, $rule$ standing for its id; null for kinds that look at no single entry.';
