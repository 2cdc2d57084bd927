-- From a table and the caller's options to a plan: which column is the organisation, the actor, the provider, the cost;
-- how each column is treated; what the operations are called. Found by inspection where the caller does not say.

create or replace function audit.singular(name text)
  returns text
  language sql
  immutable
  parallel safe
  return case
    when name ~ 'ies$' then regexp_replace(name, 'ies$', 'y')
    when name ~ '(ss|us|is)$' then name
    when name ~ '(x|ch|sh|ss)es$' then regexp_replace(name, 'es$', '')
    else regexp_replace(name, 's$', '')
  end;

comment on function audit.singular(text) is 'The resource type for a table name: budgets → budget.';

create or replace function audit.known_tables()
  returns table (table_name text, options jsonb)
  language sql
  immutable
  rows 7
  set search_path = ''
as $$
  values
    ('organizations', jsonb_build_object(
      'organization', 'id', 'actor', null
    )),
    ('organization_members', jsonb_build_object(
      'resource', 'member', 'id', jsonb_build_array('user_id'), 'actor', null,
      'actions', jsonb_build_object('insert', 'member.added', 'update', 'member.updated', 'delete', 'member.removed'),
      'update_of', jsonb_build_object('role', 'member.role_changed')
    )),
    ('api_keys', jsonb_build_object(
      'actions', jsonb_build_object('insert', 'api_key.added', 'update', 'api_key.updated', 'delete', 'api_key.deleted')
    )),
    ('budgets', jsonb_build_object(
      'actions', jsonb_build_object('insert', 'budget.created', 'update', 'budget.changed', 'delete', 'budget.deleted')
    )),
    ('llm_queries', jsonb_build_object(
      'resource', 'query',
      'actions', jsonb_build_object('insert', 'query.executed', 'update', 'query.updated', 'delete', 'query.deleted')
    )),
    ('llm_responses', jsonb_build_object(
      'resource', 'query', 'id', jsonb_build_array('query_id'),
      'actions', jsonb_build_object(
        'insert', 'query.completed', 'insert_failed', 'query.failed',
        'update', 'query.response_changed', 'delete', 'query.response_deleted'
      )
    )),
    ('integrations', jsonb_build_object(
      'actions', jsonb_build_object(
        'insert', 'integration.configured', 'update', 'integration.configured', 'delete', 'integration.removed'
      )
    ))
$$;

comment on function audit.known_tables() is
  'The tables of an LLM application that are tracked by themselves when they stand in schema public, with their options.';

create or replace function audit.columns_of(table_name regclass)
  returns table (name text, type oid, category text)
  language sql
  stable
  rows 20
  set search_path = ''
as $$
  -- Domains are seen through to their base type; one level of array counts as its element.
  with recursive base (name, position, type) as (
    select a.attname::text, a.attnum, a.atttypid
    from pg_catalog.pg_attribute a
    where a.attrelid = columns_of.table_name and a.attnum > 0 and not a.attisdropped
    union all
    select b.name, b.position, t.typbasetype
    from base b
    join pg_catalog.pg_type t on t.oid = b.type and t.typtype = 'd'
  )
  select b.name, b.type, t.typcategory::text
  from base b
  join pg_catalog.pg_type t on t.oid = b.type
  where t.typtype <> 'd'
  order by b.position
$$;

comment on function audit.columns_of(regclass) is 'The columns of a table with their base types, in order.';

-- A column may lie behind a foreign key: "query_id.organization_id" is that column of the row query_id points to.
create or replace function audit.resolved_column(table_name regclass, option text, path text)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_key text := split_part(path, '.', 1);
  v_column text := split_part(path, '.', 2);
  v_target regclass;
  v_target_key text;
begin
  if exists (select from audit.columns_of(resolved_column.table_name) c where c.name = path) then
    return jsonb_build_object('column', path);
  end if;
  if v_column <> '' then
    select f.confrelid::regclass, a.attname
    into v_target, v_target_key
    from pg_catalog.pg_constraint f
    join pg_catalog.pg_attribute k on k.attrelid = f.conrelid and k.attnum = f.conkey[1]
    join pg_catalog.pg_attribute a on a.attrelid = f.confrelid and a.attnum = f.confkey[1]
    where f.conrelid = resolved_column.table_name and f.contype = 'f' and cardinality(f.conkey) = 1 and k.attname = v_key
    limit 1;
    if v_target is not null and exists (select from audit.columns_of(v_target) c where c.name = v_column) then
      return jsonb_build_object(
        'key', v_key,
        'table', v_target::text, 'table_oid', v_target::oid::int8, 'table_key', v_target_key,
        'column', v_column
      );
    end if;
  end if;
  perform audit.fail(
    'AUOPT', format('Option "%s": table %s has no column %s.', option, table_name, path), null,
    'Name a column of the table, or "key.column" where key has a foreign key to the table that holds the column.'
  );
end
$$;

comment on function audit.resolved_column(regclass, text, text) is
  'Where an option''s column is: in the table itself, or behind one of its foreign keys.';

-- The first candidate that the table has itself, else that lies behind one of its foreign keys.
create or replace function audit.found_column(table_name regclass, candidates text[])
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select path
  from (
    select c.name as path, 0 as distance, array_position(candidates, c.name) as preference
    from audit.columns_of(found_column.table_name) c
    where c.name = any (candidates)
    union all
    select k.attname || '.' || c.name, 1, array_position(candidates, c.name)
    from pg_catalog.pg_constraint f
    join pg_catalog.pg_attribute k on k.attrelid = f.conrelid and k.attnum = f.conkey[1]
    cross join lateral audit.columns_of(f.confrelid::regclass) c
    join pg_catalog.pg_namespace s on s.oid = (select relnamespace from pg_catalog.pg_class where oid = f.confrelid)
    where f.conrelid = found_column.table_name and f.contype = 'f' and cardinality(f.conkey) = 1
      and f.confrelid <> f.conrelid and s.nspname not in ('auth', 'storage')
      and c.name = any (candidates)
  ) found
  order by distance, preference, path
  limit 1
$$;

comment on function audit.found_column(regclass, text[]) is
  'The column that most likely has a meaning, found by its usual names, in the table or one foreign key away.';

create or replace function audit.column_treatment(table_name text, column_name text, type oid, category text)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select case
    when type::regtype::text in ('tsvector', 'vector', 'halfvec', 'extensions.vector') then 'ignore'
    when column_name in ('updated_at', 'modified_at', 'last_used_at', 'last_seen_at') then 'ignore'
    -- Numbers, dates and ids are not secrets, whatever they are called: prompt_tokens, api_key_id.
    when not (category = 'S' or type in ('json'::regtype, 'jsonb'::regtype, 'bytea'::regtype, 'inet'::regtype)) then 'record'
    when column_name in (
      'response_text', 'response_body', 'response_content', 'raw_response', 'completion', 'completion_text',
      'generated_text', 'output_text', 'answer'
    ) then 'ignore'
    when table_name = 'llm_responses' and column_name in ('response', 'content', 'output', 'text', 'message', 'choices', 'body')
      then 'ignore'
    when column_name in ('query_text', 'prompt', 'prompts', 'messages', 'question', 'input_text', 'system_prompt')
      or table_name = 'llm_queries' and column_name in ('query', 'input', 'text', 'content', 'message', 'body')
      then 'content'
    when column_name ~* '(_|^)(hash|prefix|suffix|hint|last4|last_four|name|type|status|expires_at)$' then 'record'
    when column_name ~* '(^key$|(^|_)(password|passwd|passphrase|secret|secrets|token|tokens|api_?key|private_?key|access_?key|secret_?key|encrypted|encrypted_key|key_value|credential|credentials|authorization|cookie|salt|signature|otp|pin)(_|$))'
      then 'mask'
    when column_name ~* '(^|_)(e_?mail|phone|phone_number|ip|ip_address|first_name|last_name|full_name|date_of_birth|birthday|street|address)$'
      then 'personal'
    else 'record'
  end
$$;

comment on function audit.column_treatment(text, text, oid, text) is
  'How a column is treated unless an option says otherwise: record, ignore, mask, personal, or content (query text).';

create or replace function audit.capture_plan(table_name regclass, options jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_name text := (select relname from pg_catalog.pg_class where oid = capture_plan.table_name);
  v_options jsonb := capture_plan.options;
  v_key text;
  v_value jsonb;
  v_path text;
  v_resource text;
  v_id jsonb;
  v_plan jsonb;
  v_columns jsonb;
  v_missing text;
begin
  for v_key, v_value in select * from jsonb_each(v_options) loop
    if (case v_key
      when 'resource' then jsonb_typeof(v_value) <> 'string'
      when 'organization' then jsonb_typeof(v_value) <> 'string'
      when 'actor' then jsonb_typeof(v_value) not in ('string', 'null')
      when 'provider' then jsonb_typeof(v_value) not in ('string', 'null')
      when 'cost' then jsonb_typeof(v_value) not in ('string', 'null')
      when 'outcome' then jsonb_typeof(v_value) not in ('object', 'null')
      when 'actions' then jsonb_typeof(v_value) <> 'object'
      when 'update_of' then jsonb_typeof(v_value) <> 'object'
      when 'id' then jsonb_typeof(v_value) <> 'array'
      when 'record' then jsonb_typeof(v_value) <> 'array'
      when 'ignore' then jsonb_typeof(v_value) <> 'array'
      when 'mask' then jsonb_typeof(v_value) <> 'array'
      when 'personal' then jsonb_typeof(v_value) <> 'array'
      when 'content' then jsonb_typeof(v_value) <> 'array'
      else true
    end) then
      perform audit.fail(
        'AUOPT', format('Option "%s": %s is not understood.', v_key, v_value), null,
        'Options are resource, organization, actor, provider, cost (text), id, record, ignore, mask, personal, content'
          ' (lists of columns), actions {insert, insert_failed, update, delete}, update_of {column: action} and'
          ' outcome {column, failure: [values], denied: [values]}.'
      );
    end if;
  end loop;

  v_resource := coalesce(v_options ->> 'resource', audit.singular(v_name));
  v_plan := jsonb_build_object('resource', left(v_resource, 100));

  -- Which row: the primary key, unless told.
  v_id := coalesce(v_options -> 'id', (
    select jsonb_agg(a.attname order by k.n)
    from pg_catalog.pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, n)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = capture_plan.table_name and i.indisprimary
  ));
  if v_id is null or v_id = '[]' then
    perform audit.fail(
      'AUNPK', format('Table %s has no primary key.', capture_plan.table_name), null,
      'Add one, or name the columns that identify a row: audit.track(''' || capture_plan.table_name || ''', ''{"id": ["column"]}'').'
    );
  end if;
  v_plan := v_plan || jsonb_build_object('id', v_id);

  -- Whose row. Without an answer the entry would land with nobody, so this is an error, not a guess.
  v_path := coalesce(
    v_options ->> 'organization',
    audit.found_column(capture_plan.table_name, array['organization_id', 'organisation_id', 'org_id', 'tenant_id', 'team_id', 'workspace_id', 'account_id'])
  );
  if v_path is null then
    perform audit.fail(
      'AUORG', format('Table %s has no column that names its organisation.', capture_plan.table_name), null,
      'Name it with option "organization": a column, "key.column" behind a foreign key, or "system" for rows of no tenant.'
    );
  end if;
  if v_path = 'system' then
    v_plan := v_plan || '{"organization": {"system": true}}';
  else
    v_plan := v_plan || jsonb_build_object('organization', audit.resolved_column(capture_plan.table_name, 'organization', v_path));
    if not exists (
      select
      from audit.columns_of(coalesce((v_plan #>> '{organization,table_oid}')::oid::regclass, capture_plan.table_name)) c
      where c.name = v_plan #>> '{organization,column}' and (c.type = 'uuid'::regtype or c.category = 'S')
    ) then
      perform audit.fail(
        'AUORG', format('Column %s of table %s is neither uuid nor text.', v_path, capture_plan.table_name), null,
        'Organisations are named by UUIDs; name a uuid column with option "organization".'
      );
    end if;
  end if;

  foreach v_key in array array['actor', 'provider', 'cost'] loop
    v_path := case
      when v_options ? v_key then v_options ->> v_key
      when v_key = 'actor' then audit.found_column(capture_plan.table_name, array['created_by', 'actor_id', 'user_id', 'owner_id'])
      when v_key = 'provider' then audit.found_column(capture_plan.table_name, array['provider', 'llm_provider'])
      else audit.found_column(capture_plan.table_name, array['total_cost', 'cost', 'cost_usd', 'total_cost_usd'])
    end;
    if v_path is not null then
      v_plan := v_plan || jsonb_build_object(v_key, audit.resolved_column(capture_plan.table_name, v_key, v_path));
    end if;
  end loop;

  -- How it went.
  if v_options -> 'outcome' is not null then
    v_plan := v_plan || jsonb_build_object('outcome', v_options -> 'outcome');
    if jsonb_typeof(v_options -> 'outcome') = 'object' then
      perform audit.resolved_column(capture_plan.table_name, 'outcome', v_options #>> '{outcome,column}');
    end if;
  elsif exists (select from audit.columns_of(capture_plan.table_name) c where c.name = 'success' and c.type = 'bool'::regtype) then
    v_plan := v_plan || '{"outcome": {"column": "success", "failure": ["false"]}}';
  elsif exists (select from audit.columns_of(capture_plan.table_name) c where c.name = 'status' and c.category in ('S', 'E')) then
    v_plan := v_plan
      || '{"outcome": {"column": "status", "failure": ["failed", "failure", "error"], "denied": ["denied", "rejected", "forbidden"]}}';
  end if;

  v_plan := v_plan || jsonb_build_object(
    'actions',
    jsonb_build_object(
      'insert', v_resource || '.created', 'update', v_resource || '.updated', 'delete', v_resource || '.deleted'
    ) || coalesce(v_options -> 'actions', '{}'),
    'update_of', coalesce(v_options -> 'update_of', '{}')
  );
  select a.key into v_missing
  from (select * from jsonb_each_text(v_plan -> 'actions') union all select * from jsonb_each_text(v_plan -> 'update_of')) a
  where a.value !~ '^[[:alpha:]][[:alnum:]_]*(\.[[:alpha:]][[:alnum:]_]*)+$' or length(a.value) > 100;
  if found and (v_options ? 'actions' or v_options ? 'update_of' or v_options ? 'resource') then
    perform audit.fail('AUOPT', format('The action for "%s" is none.', v_missing), null,
      'An action is dotted, in lower case and past tense: api_key.added.');
  elsif found then
    -- A table whose name makes no action (quotes, emoji): its entries are told apart by resource_type.
    v_plan := v_plan || '{"actions": {"insert": "row.created", "update": "row.updated", "delete": "row.deleted"}}';
  end if;

  -- How each column is treated.
  select jsonb_object_agg(c.name, coalesce(
    (select t.key
      from unnest(array['record', 'ignore', 'mask', 'personal', 'content']) t (key)
      where v_options -> t.key ? c.name
      limit 1),
    audit.column_treatment(v_name, c.name, c.type, c.category)
  ))
  into v_columns
  from audit.columns_of(capture_plan.table_name) c;
  v_plan := v_plan || jsonb_build_object('columns', coalesce(v_columns, '{}'));

  select named.name into v_missing
  from (
    select e.value as name
    from unnest(array['id', 'record', 'ignore', 'mask', 'personal', 'content']) k (key)
    cross join lateral jsonb_array_elements_text(coalesce(v_options -> k.key, '[]')) e
    union all
    select jsonb_object_keys(v_plan -> 'update_of')
  ) named
  where not v_columns ? named.name;
  if found then
    perform audit.fail('AUOPT', format('Table %s has no column %s.', capture_plan.table_name, v_missing), null,
      'Check the spelling in the options, or leave the column out.');
  end if;
  return v_plan;
end
$$;

comment on function audit.capture_plan(regclass, jsonb) is
  'What audit.track() would do with a table: the meaning and treatment of each column. Changes nothing.';
