-- Rules are written here, by admins, one JSON object at a time; each change is an entry with what was and what is.

create or replace function audit.rule_summary(rule audit.rules)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select audit.rule_json(rule) - array['id', 'organization_id', 'default', 'changed_at']
$$;

comment on function audit.rule_summary(audit.rules) is 'A rule as entries about it tell it.';

create or replace function audit.record_rule_change(organization_id uuid, rule_id uuid, old jsonb, new jsonb)
  returns void
  language sql
  set search_path = ''
as $$
  select audit.record(
    record_rule_change.organization_id, 'rule.changed', 'rule', rule_id::text,
    case
      when old is null then jsonb_build_object('new', new)
      when new is null then jsonb_build_object('old', old)
      else jsonb_build_object('changes', (
        select coalesce(jsonb_object_agg(k, jsonb_build_object('old', old -> k, 'new', new -> k)), '{}')
        from (select jsonb_object_keys(old) union select jsonb_object_keys(new)) f (k)
        where old -> k is distinct from new -> k
      ))
    end
  )
$$;

comment on function audit.record_rule_change(uuid, uuid, jsonb, jsonb) is 'Leaves the entry that says how a rule was changed.';

-- What a rule remembers was collected by what it was; as what it is now, it begins anew.
create or replace function audit.forget_rule(rule_id uuid, organization_id uuid default null)
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  delete from audit.rule_windows w
  where w.rule_id = forget_rule.rule_id and w.organization_id = coalesce(forget_rule.organization_id, w.organization_id);
  delete from audit.rule_values v
  where v.rule_id = forget_rule.rule_id and v.organization_id = coalesce(forget_rule.organization_id, v.organization_id);
  perform audit.forget_series(forget_rule.rule_id, forget_rule.organization_id);
end
$$;

comment on function audit.forget_rule(uuid, uuid) is 'Forgets what a rule remembers of entries, of one organisation or of all.';

create or replace function audit.rule_to_change(rule_id text)
  returns audit.rules
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule audit.rules;
begin
  select r.* into v_rule from audit.rules r where r.id = audit.as_uuid(rule_to_change.rule_id) for update;
  if not found then
    perform audit.fail('AUNOT', 'There is no such rule.', null, 'audit.list_rules() lists them.');
  end if;
  perform audit.require_admin(v_rule.organization_id);
  return v_rule;
end
$$;

comment on function audit.rule_to_change(text) is 'The rule of an id, locked; raises AUNOT or AUDEN.';

create or replace function audit.check_rule_tests(tests jsonb)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if jsonb_typeof(tests) is distinct from 'array' or jsonb_array_length(tests) > 20
    or exists (
      select from jsonb_array_elements(tests) t
      where jsonb_typeof(t) <> 'object' or t - array['name', 'entries', 'alerts'] <> '{}'
        or coalesce(length(t ->> 'name') not between 1 and 200, true) or coalesce(t ->> 'alerts', '') !~ '^\d{1,6}$' or not t ? 'entries'
    )
    or (select count(distinct t ->> 'name') < count(*) from jsonb_array_elements(tests) t)
  then
    perform audit.fail_rule('"tests" is a list of up to 20 tests.', 'Each has a name, entries and how many alerts they raise.');
  end if;
end
$$;

comment on function audit.check_rule_tests(jsonb) is 'Raises AURUL for what are no tests of a rule.';

create or replace function audit.keep_rule_tests(rule_id uuid, tests jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  if tests is null then
    return;
  end if;
  perform audit.check_rule_tests(tests);
  delete from audit.rule_tests t where t.rule_id = keep_rule_tests.rule_id;
  insert into audit.rule_tests (rule_id, name, entries, alerts)
  select keep_rule_tests.rule_id, t.name, t.entries, t.alerts from jsonb_to_recordset(tests) t (name text, entries jsonb, alerts int);
end
$$;

comment on function audit.keep_rule_tests(uuid, jsonb) is 'Keeps the tests of a rule, in place of those it had; null leaves them.';

create or replace function audit.is_built_in(rule_id uuid)
  returns boolean
  language sql
  immutable
  parallel safe
  return rule_id::text like '00000000-0000-4000-a000-%';

comment on function audit.is_built_in(uuid) is 'Whether a rule comes with the product (605): loading that again would undo a change of it.';

create or replace function audit.create_rule(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write rules through this function only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule audit.rules;
  v_organization uuid := audit.as_uuid(request ->> 'organization_id');
begin
  if request ? 'id' or request ? 'version' then
    perform audit.fail_rule('A new rule gets its id and version.');
  elsif v_organization is null then
    perform audit.fail_rule('A rule is an organisation''s.', 'Pass organization_id.');
  end if;
  perform audit.require_admin(v_organization);
  v_rule := audit.checked_rule(request);
  if (select count(*) from audit.rules r where r.organization_id = v_organization) >= 100 then
    perform audit.fail_rule('An organisation has at most 100 rules of its own.');
  end if;
  begin
    insert into audit.rules (organization_id, name, description, kind, severity, enabled, match, settings, quiet_period, channels, compiled)
    values (
      v_organization, v_rule.name, v_rule.description, v_rule.kind, v_rule.severity, v_rule.enabled, v_rule.match, v_rule.settings,
      v_rule.quiet_period, v_rule.channels, v_rule.compiled
    )
    returning * into v_rule;
  exception when unique_violation then
    perform audit.fail_rule_at('name', 'There is a rule of this name.', 'Choose another, or change that rule.');
  end;
  perform audit.learn_series(v_rule);
  perform audit.keep_rule_tests(v_rule.id, request -> 'tests');
  perform audit.record_rule_change(v_organization, v_rule.id, null, audit.rule_summary(v_rule));
  return audit.rule_json(v_rule);
end
$$;

comment on function audit.create_rule(jsonb) is
  'Makes a rule of an organisation: select audit.create_rule(''{"organization_id": "…", "name": "Keys deleted", "kind": "count",
"match": "action:api_key.deleted", "window": "1h", "threshold": 3, "group_by": ["actor"]}''). For its admins; leaves an entry.';

create or replace function audit.change_rule(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write rules through this function only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_old audit.rules := audit.rule_to_change(request ->> 'id');
  v_new audit.rules;
begin
  if request ? 'version' and request -> 'version' <> to_jsonb(v_old.version) then
    perform audit.fail_rule('The rule was changed meanwhile.', format('It is version %s now.', v_old.version));
  elsif request ? 'organization_id' and audit.as_uuid(request ->> 'organization_id') is distinct from v_old.organization_id then
    perform audit.fail_rule('A rule stays with its organisation.');
  elsif audit.is_built_in(v_old.id) then
    perform audit.fail_rule('A default is not changed but tuned.', 'audit.choose_rule() tunes it for an organisation.');
  end if;
  v_new := audit.checked_rule(
    case when request ? 'kind' and request ->> 'kind' <> v_old.kind
      then audit.rule_json(v_old) - array(select f.field from audit.rule_fields() f where f.field <> 'match')
      else audit.rule_json(v_old)
    end || request
  );
  begin
    update audit.rules r set
      name = v_new.name, description = v_new.description, version = r.version + 1, kind = v_new.kind, severity = v_new.severity,
      enabled = v_new.enabled, match = v_new.match, settings = v_new.settings, quiet_period = v_new.quiet_period,
      channels = v_new.channels, compiled = v_new.compiled, changed_at = clock_timestamp()
    where r.id = v_old.id
    returning r.* into v_new;
  exception when unique_violation then
    perform audit.fail_rule_at('name', 'There is a rule of this name.', 'Choose another, or change that rule.');
  end;
  -- Parameters say what is done about what is known.
  if (v_old.kind, v_old.match, v_old.settings - 'parameters') is distinct from (v_new.kind, v_new.match, v_new.settings - 'parameters')
    or v_new.kind = 'anomaly' and v_new.enabled and not v_old.enabled
  then
    perform audit.forget_rule(v_new.id);
    perform audit.learn_series(v_new);
  end if;
  perform audit.keep_rule_tests(v_new.id, request -> 'tests');
  perform audit.record_rule_change(v_new.organization_id, v_new.id, audit.rule_summary(v_old), audit.rule_summary(v_new));
  return audit.rule_json(v_new);
end
$$;

comment on function audit.change_rule(jsonb) is
  'Changes the fields that are named: select audit.change_rule(''{"id": "…", "threshold": 5}''). With "version" only if it is
still that. For admins of the rule''s organisation; leaves an entry.';

create or replace function audit.delete_rule(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write rules through this function only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_rule audit.rules := audit.rule_to_change(request ->> 'id');
begin
  perform audit.check_request(request, array['id']);
  if audit.is_built_in(v_rule.id) then
    perform audit.fail_rule('A default is not deleted but switched off.', 'audit.choose_rule() does, for an organisation.');
  end if;
  perform audit.forget_rule(v_rule.id);
  delete from audit.rules r where r.id = v_rule.id;
  perform audit.record_rule_change(v_rule.organization_id, v_rule.id, audit.rule_summary(v_rule), null);
  perform audit.resolve_alerts_of(v_rule.id);
  return audit.rule_json(v_rule);
end
$$;

comment on function audit.delete_rule(jsonb) is
  'Deletes a rule: select audit.delete_rule(''{"id": "…"}''). Its alerts are resolved, and stay. For admins of the rule''s
organisation; leaves an entry.';

create or replace function audit.choose_rule(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins tune defaults through this function only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_organization uuid := audit.as_uuid(request ->> 'organization_id');
  v_rule audit.rules;
  v_old audit.rules;
  v_new audit.rules;
  v_choice jsonb;
  v_fixed text;
begin
  if v_organization is null then
    perform audit.fail_rule('Who chooses is an organisation.', 'Pass organization_id.');
  end if;
  perform audit.require_admin(v_organization);
  select r.* into v_rule from audit.rules r where r.id = audit.as_uuid(request ->> 'id') and r.organization_id = audit.system_organization();
  if not found then
    perform audit.fail('AUNOT', 'There is no such default.', null, 'audit.list_rules() lists them; an organisation''s own rules are changed by audit.change_rule().');
  end if;
  v_choice := request - array['id', 'organization_id'];
  select string_agg(format('"%s"', left(k, 50)), ', ') into v_fixed
  from jsonb_object_keys(v_choice) k
  where k in ('name', 'description', 'kind', 'match', 'then', 'group_by', 'value', 'version');
  if v_fixed is not null then
    perform audit.fail_rule(format('What a default is about stays as it is: %s.', v_fixed),
      'Switch it off for the organisation ("enabled": false) and create a rule of your own.');
  end if;
  v_old := audit.rule_for(v_rule.id, v_organization);
  -- An empty choice is the default again; what is not named anew is as it was chosen.
  v_choice := case when v_choice = '{}' then '{}' else coalesce((
    select c.choice from audit.rule_choices c where c.rule_id = v_rule.id and c.organization_id = v_organization
  ), '{}') || v_choice end;
  perform audit.checked_rule(audit.rule_json(v_rule) || v_choice);
  if v_choice = '{}' then
    delete from audit.rule_choices c where c.rule_id = v_rule.id and c.organization_id = v_organization;
  else
    insert into audit.rule_choices as c (rule_id, organization_id, choice)
    values (v_rule.id, v_organization, v_choice)
    on conflict on constraint rule_choices_pkey do update set choice = excluded.choice, changed_at = clock_timestamp();
  end if;
  v_new := audit.rule_for(v_rule.id, v_organization);
  if v_old.settings - 'parameters' <> v_new.settings - 'parameters' then
    perform audit.forget_rule(v_rule.id, v_organization);
  end if;
  perform audit.record_rule_change(v_organization, v_rule.id, audit.rule_summary(v_old), audit.rule_summary(v_new));
  return audit.rule_json(v_new);
end
$$;

comment on function audit.choose_rule(jsonb) is
  'Tunes a default for an organisation, or switches it off: select audit.choose_rule(''{"id": "…", "organization_id": "…",
"enabled": false}''). Without any field it is the default again. For admins of the organisation; leaves an entry.';

create or replace function audit.list_rules(request jsonb default '{}')
  returns jsonb
  language plpgsql
  stable
  security definer -- rules are read by whoever reads all of the organisation's log
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  perform audit.require_reach(v_organization);
  return jsonb_build_object('organization_id', v_organization, 'rules', (
    select coalesce(jsonb_agg(audit.rule_json(t) || jsonb_build_object('tuned', c.rule_id is not null) order by t.organization_id, t.name), '[]')
    from audit.rules r
    left join audit.rule_choices c on c.rule_id = r.id and c.organization_id = v_organization
    cross join lateral audit.tuned_rule(r, c.choice) t
    where r.organization_id in (audit.system_organization(), v_organization)
  ));
end
$$;

comment on function audit.list_rules(jsonb) is
  'The rules of an organisation, the defaults included as it has tuned them: select audit.list_rules(''{"organization_id": "…"}'').
For its admins and auditors.';

create or replace function audit.require_reach(organization_id uuid)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if audit.reach(require_reach.organization_id) is distinct from 'all' then
    perform audit.fail('AUDEN', 'Rules and alerts are for those who read all of the organisation''s log.', null,
      'They are its admins and auditors.');
  end if;
end
$$;

comment on function audit.require_reach(uuid) is 'Raises AUDEN unless the caller reads all of the organisation''s log.';
