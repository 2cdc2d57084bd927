-- From a plan to a trigger function specialised to its table: static column references, no dynamic SQL and no catalogue
-- look-up while it runs. The generated function only maps rows to drafts; audit.append() and audit.append_all() write.

create or replace function audit.column_json(alias text, name text, type oid)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select format(
    case
      when type in ('int8'::regtype, 'numeric'::regtype) then 'audit.exact_number(%1$I.%2$I)'
      when type = 'timestamptz'::regtype then 'audit.utc(%1$I.%2$I)'
      when type = 'json'::regtype then 'audit.json_value(%1$I.%2$I)'
      when type = 'bytea'::regtype then 'audit.digest_of(%1$I.%2$I)'
      else '%1$I.%2$I' -- jsonb_build_object() renders it as to_jsonb() does
    end,
    alias, name
  )
$$;

comment on function audit.column_json(text, text, oid) is 'The expression that renders a column inside jsonb_build_object().';

create or replace function audit.utc(value timestamptz)
  returns jsonb
  language sql
  stable
  parallel safe
  return to_jsonb(
    (to_json(value at time zone 'utc') #>> '{}') || case when isfinite(value) then 'Z' else '' end
  );

comment on function audit.utc(timestamptz) is 'The time as an ISO 8601 string in UTC, whatever the session''s time zone.';

-- Types whose JSON does not depend on a session setting; for all others the function pins the settings.
create or replace function audit.renders_alike(type oid, category text)
  returns boolean
  language sql
  stable
  set search_path = ''
as $$
  select category in ('S', 'E', 'B') or type in (
    'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'uuid'::regtype, 'json'::regtype,
    'jsonb'::regtype, 'timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype, 'bytea'::regtype, 'inet'::regtype,
    'int2[]'::regtype, 'int4[]'::regtype, 'int8[]'::regtype, 'text[]'::regtype, 'varchar[]'::regtype, 'uuid[]'::regtype
  )
$$;

comment on function audit.renders_alike(oid, text) is
  'Whether a type''s JSON is the same under every TimeZone, DateStyle, IntervalStyle, extra_float_digits, bytea_output.';

-- The expression for a mapped column (organisation, actor, provider, cost), also behind a foreign key.
create or replace function audit.mapped_expression(mapping jsonb, alias text)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select case
    when mapping ? 'table' then format(
      '(select p.%1$I from %2$s p where p.%3$I = %4$I.%5$I)',
      mapping ->> 'column', (mapping ->> 'table_oid')::oid::regclass, mapping ->> 'table_key', alias, mapping ->> 'key'
    )
    when mapping ? 'column' then format('%I.%I', alias, mapping ->> 'column')
  end
$$;

comment on function audit.mapped_expression(jsonb, text) is
  'The SQL that reads a mapped column of the row named alias, through its foreign key where it lies behind one.';

create or replace function audit.uuid_expression(table_name regclass, mapping jsonb, alias text)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select case
    when c.type = 'uuid'::regtype then audit.mapped_expression(mapping, alias)
    else 'audit.as_uuid((' || audit.mapped_expression(mapping, alias) || ')::text)'
  end
  from audit.columns_of(coalesce((mapping ->> 'table_oid')::oid::regclass, uuid_expression.table_name)) c
  where c.name = mapping ->> 'column'
$$;

comment on function audit.uuid_expression(regclass, jsonb, text) is
  'The SQL that reads a mapped column as a UUID: as it is where it is one, else null for what is none.';

create or replace function audit.draft_expression(table_name regclass, plan jsonb, operation text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_row text := case operation when 'delete' then 'o' else 'n' end;
  v_organization jsonb := plan -> 'organization';
  v_outcome jsonb := plan -> 'outcome';
  v_outcome_column text;
  v_organization_sql text;
  v_id_sql text;
  v_outcome_sql text := quote_literal('success');
  v_action_sql text := quote_literal(plan #>> array['actions', operation]);
  v_details_sql text;
  v_suspect_sql text;
  v_subject_sql text;
  v_on uuid[];
  v_off uuid[];
  v_parent text;
begin
  -- Whose row it is. What is no UUID belongs to the system organisation.
  v_organization_sql := coalesce(
    audit.uuid_expression(draft_expression.table_name, v_organization, v_row), 'audit.system_organization()'
  );
  if v_organization ? 'table' then
    select t.plan ->> 'resource' into v_parent
    from audit.tracked_tables t
    where t.table_name = (v_organization ->> 'table_oid')::oid::regclass;
    if found then
      v_organization_sql := format(
        'coalesce(%s, audit.organization_of(%L, %I.%I::text))', v_organization_sql, v_parent, v_row, v_organization ->> 'key'
      );
    end if;
  end if;

  -- A key column that is a secret or a person must not come in through the resource's name either.
  select string_agg(
    format(
      case plan -> 'columns' ->> e.value
        when 'mask' then '(''sha256:'' || encode(sha256(convert_to(%I.%I::text, ''UTF8'')), ''hex''))'
        when 'personal' then '''***'''
        else '%I.%I::text'
      end, v_row, e.value
    ), ' || '','' || ' order by e.n
  )
  into v_id_sql
  from jsonb_array_elements_text(plan -> 'id') with ordinality as e (value, n);

  -- Outcome, and the action of a failure where it has its own.
  if jsonb_typeof(v_outcome) = 'object' and operation <> 'delete' then
    v_outcome_column := format('%I.%I::text', v_row, v_outcome ->> 'column');
    v_outcome_sql := format(
      $q$case when %1$s = any (%2$L::text[]) then 'failure' when %1$s = any (%3$L::text[]) then 'denied' else 'success' end$q$,
      v_outcome_column,
      array(select jsonb_array_elements_text(coalesce(v_outcome -> 'failure', '[]'))),
      array(select jsonb_array_elements_text(coalesce(v_outcome -> 'denied', '[]')))
    );
    if operation = 'insert' and plan #> '{actions,insert_failed}' is not null then
      v_action_sql := format(
        'case when %s = any (%L::text[]) then %L else %s end',
        v_outcome_column, array(select jsonb_array_elements_text(coalesce(v_outcome -> 'failure', '[]'))),
        plan #>> '{actions,insert_failed}', v_action_sql
      );
    end if;
  end if;
  if operation = 'update' and plan -> 'update_of' <> '{}' then
    select format('case %s else %s end', string_agg(
      format('when n.%1$I is distinct from o.%1$I then %2$L', u.key, u.value), ' ' order by u.key
    ), v_action_sql)
    into v_action_sql
    from jsonb_each_text(plan -> 'update_of') u;
  end if;

  -- Query text is recorded only for organisations that switched it on; decided here, so that it costs nothing where off.
  select array_agg(s.organization_id) filter (where s.value = 'true'), array_agg(s.organization_id) filter (where s.value = 'false')
  into v_on, v_off
  from audit.settings s
  where s.name = 'query_text' and s.organization_id <> audit.system_organization();

  v_subject_sql := coalesce(
    (select format('audit.as_uuid(%I.%I::text)', v_row, c.name) from audit.columns_of(draft_expression.table_name) c where c.name = 'user_id'),
    'null'
  );

  with col as (
    select c.name, c.type, c.category, plan -> 'columns' ->> c.name as treatment, row_number() over () as n
    from audit.columns_of(draft_expression.table_name) c
  ),
  rendered as (
    select col.name, col.type, col.n, r.alias,
      case col.treatment
        when 'mask' then format('case when %I.%I is not null then ''***''::text end', r.alias, col.name)
        when 'personal' then format(
          'audit.commit_personal(%s, %s, %L, %s, %L, %I.%I::text)', v_organization_sql, v_subject_sql, plan ->> 'resource', v_id_sql, col.name, r.alias, col.name
        )
        when 'content' then case
          when audit.setting('query_text') = 'true' and v_off is null then audit.column_json(r.alias, col.name, col.type)
          when audit.setting('query_text') = 'true' then format(
            'case when %s <> all (%L::uuid[]) then %s end', v_organization_sql, v_off, audit.column_json(r.alias, col.name, col.type)
          )
          when v_on is not null then format(
            'case when %s = any (%L::uuid[]) then %s end', v_organization_sql, v_on, audit.column_json(r.alias, col.name, col.type)
          )
        end
        when 'record' then audit.column_json(r.alias, col.name, col.type)
      end as value,
      col.type in ('jsonb'::regtype, 'json'::regtype) as may_hold_nulls
    from col
    cross join (values ('o'), ('n')) r (alias)
    where operation = 'update'
      or r.alias = v_row
        -- Already in columns of the entry itself.
        and not plan -> 'id' ? col.name
        and coalesce(plan #>> '{organization,column}', '') <> case when plan -> 'organization' ? 'table' then '' else col.name end
        and coalesce(plan #>> '{provider,column}', '') <> case when plan -> 'provider' ? 'table' then '' else col.name end
        and coalesce(plan #>> '{cost,column}', '') <> case when plan -> 'cost' ? 'table' then '' else col.name end
  ),
  whole as (
    -- jsonb_build_object() takes 100 arguments. Nulls say nothing about an added or removed row, but stripping them
    -- would also reach into JSON values, so those stand apart.
    select string_agg(chunk.sql, ' || ' order by chunk.n) as sql
    from (
      select min(r.n) as n,
        case when r.may_hold_nulls
          then string_agg(format('case when %1$I.%2$I is null then ''{}''::jsonb else jsonb_build_object(%2$L, %3$s) end', r.alias, r.name, r.value), ' || ' order by r.n)
          else format('jsonb_strip_nulls(jsonb_build_object(%s))', string_agg(format('%L, %s', r.name, r.value), ', ' order by r.n))
        end as sql
      from (
        select *, (row_number() over (partition by may_hold_nulls order by n) - 1) / 45 as part
        from rendered
        where value is not null
      ) r
      where operation <> 'update'
      group by r.may_hold_nulls, r.part
    ) chunk
  ),
  changed as (
    select string_agg(
      format(
        'case when %s then jsonb_build_object(%L, jsonb_build_object(''old'', %s, ''new'', %s)) else ''{}''::jsonb end',
        audit.differs_expression(ro.name, ro.type), ro.name, ro.value, rn.value
      ), ' || ' order by ro.n
    ) as sql
    from rendered ro
    join rendered rn on rn.name = ro.name and rn.alias = 'n'
    where operation = 'update' and ro.alias = 'o' and ro.value is not null
  )
  select case operation
    when 'update' then format('jsonb_build_object(''changes'', %s)', coalesce(changed.sql, '''{}''::jsonb'))
    else format('jsonb_build_object(%L, %s)', case operation when 'insert' then 'new' else 'old' end, coalesce(whole.sql, '''{}''::jsonb'))
  end
  into v_details_sql
  from whole, changed;

  -- What the writer must look at more closely: a value that may hold a secret (only text can, and only if it is long
  -- enough; the least jsonb around the same text has 9 bytes more), a name that is too long, a number of very many digits.
  -- Large details it sees by itself.
  with col as (
    select format('%I.%I', r.alias, c.name) as sql, c.name, c.type, c.category,
      (plan -> 'columns' ->> c.name = 'record'
        or plan -> 'columns' ->> c.name = 'content' and (audit.setting('query_text') = 'true' or v_on is not null)
      ) and not (c.type in (
        'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'bool'::regtype, 'uuid'::regtype, 'timestamptz'::regtype,
        'timestamp'::regtype, 'date'::regtype, 'float4'::regtype, 'float8'::regtype, 'bytea'::regtype, 'numeric'::regtype
      )) as is_text
    from audit.columns_of(draft_expression.table_name) c
    cross join (values ('o'), ('n')) r (alias)
    where r.alias = v_row or operation = 'update'
  ),
  chunk as (
    -- Functions take 100 arguments.
    select string_agg(
      format('pg_column_size(%s)%s', t.sql, case when t.type = 'jsonb'::regtype then ' - 9' end), ', ' order by t.sql
    ) as sizes, string_agg(t.sql, ', ' order by t.sql) as texts
    from (select col.*, (row_number() over (order by col.sql) - 1) / 90 as part from col where col.is_text) t
    group by t.part
  )
  select concat_ws(' or ',
    (select string_agg(
      format('(greatest(%s) > %s and audit.may_hold_secret(concat(%s)))', chunk.sizes, audit.shortest_secret(), chunk.texts), ' or '
      order by chunk.texts
    ) from chunk),
    (select string_agg(format('octet_length(%s) > 200', col.sql), ' or ' order by col.sql)
      from col
      where col.category = 'S' and (plan -> 'id' ? col.name or plan #>> '{provider,column}' = col.name and not plan -> 'provider' ? 'table')),
    (select string_agg(format('abs(%1$s) >= 1e30 or scale(%1$s) > 40', col.sql), ' or ' order by col.sql)
      from col
      where col.type = 'numeric'::regtype and plan -> 'columns' ->> col.name = 'record'),
    'false'
  )
  into v_suspect_sql;
  -- A provider or cost behind a foreign key is not among the columns above.
  if plan -> 'provider' ? 'table' or plan -> 'cost' ? 'table' then
    v_suspect_sql := 'true';
  end if;

  return concat_ws(E',\n      ',
    v_organization_sql,
    v_action_sql,
    v_outcome_sql,
    quote_literal(plan ->> 'resource'),
    v_id_sql,
    coalesce(audit.uuid_expression(draft_expression.table_name, plan -> 'actor', v_row), 'null::uuid'),
    coalesce('(' || audit.mapped_expression(plan -> 'provider', v_row) || ')::text', 'null::text'),
    coalesce('(' || audit.mapped_expression(plan -> 'cost', v_row) || ')::numeric', 'null::numeric'),
    v_details_sql,
    v_suspect_sql
  );
end
$$;

comment on function audit.draft_expression(regclass, jsonb, text) is
  'The list of expressions that map a row (n, o) to an audit.draft for an insert, update or delete.';

create or replace function audit.differs_expression(name text, type oid)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  -- Types without an equality (json, xml, point, …) or with one in another schema (citext) are compared as text.
  select format(
    case
      when exists (
        select
        from pg_catalog.pg_opclass c
        join pg_catalog.pg_am m on m.oid = c.opcmethod and m.amname = 'btree'
        where c.opcdefault and c.opcintype = type and c.opcnamespace = 'pg_catalog'::regnamespace
      ) or type in ('text'::regtype, 'varchar'::regtype)
        then 'o.%1$I is distinct from n.%1$I'
      else 'o.%1$I::text is distinct from n.%1$I::text'
    end, name
  )
$$;

comment on function audit.differs_expression(text, oid) is 'The condition that a column of an updated row changed.';

create or replace function audit.capture_source(table_name regclass, plan jsonb)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_differs text;
  v_position text := 'position in the statement';
begin
  select string_agg(audit.differs_expression(c.name, c.type), ' or ' order by c.name)
  into v_differs
  from audit.columns_of(capture_source.table_name) c
  where plan -> 'columns' ->> c.name in ('record', 'mask', 'personal')
    or plan -> 'columns' ->> c.name = 'content' and exists (
      select from audit.settings s where s.name = 'query_text' and s.value = 'true'
    );
  while exists (select from audit.columns_of(capture_source.table_name) c where c.name = v_position) loop
    v_position := v_position || '_';
  end loop;

  return format(
    $source$
-- Generated by audit.track(); do not edit, track the table again.
#variable_conflict use_column
declare
  d audit.draft;
  v_drafts audit.draft[] := '{}';
  v_organization_id uuid;
  v_action text;
  v_outcome text;
  v_resource_type text;
  v_resource_id text;
  v_created_by uuid;
  v_provider text;
  v_cost numeric;
  v_details jsonb;
  v_suspect boolean;
  v_many boolean;
  v_differs boolean := true;
  v_done record;
begin
  -- One probe of the transition table tells none, one or many rows, and maps the one. (Many is an exception, which also
  -- takes back the personal values that mapping the first two rows may have kept.)
  begin
    if tg_op = 'INSERT' then
      select
      %3$s
      into strict v_organization_id, v_action, v_outcome, v_resource_type, v_resource_id, v_created_by, v_provider,
        v_cost, v_details, v_suspect
      from new_rows n;
    elsif tg_op = 'UPDATE' then
      select
      %4$s,
      %6$s
      into strict v_organization_id, v_action, v_outcome, v_resource_type, v_resource_id, v_created_by, v_provider,
        v_cost, v_details, v_suspect, v_differs
      from new_rows n, old_rows o;
    elsif tg_op = 'DELETE' then
      select
      %5$s
      into strict v_organization_id, v_action, v_outcome, v_resource_type, v_resource_id, v_created_by, v_provider,
        v_cost, v_details, v_suspect
      from old_rows o;
    else
      v_many := true;
    end if;
  exception
    when too_many_rows then
      v_many := true;
    when no_data_found then
      if tg_op <> 'UPDATE' then
        return null;
      end if;
      v_many := true; -- no rows at all, or one that was swallowed: the pass below tells
    when undefined_column or undefined_table or undefined_function or datatype_mismatch then
      perform audit.fail('AUSTL',
        'Table ' || tg_relid::regclass || ' was altered after it was tracked, so its changes cannot be captured.',
        sqlerrm, 'Run: select audit.track(' || quote_literal(tg_relid::regclass) || ')');
  end;

  if v_many is null then
    if v_differs then
      v_done := audit.append(
        v_organization_id, v_action, v_outcome, v_resource_type, v_resource_id, v_created_by, v_provider, v_cost,
        v_details, v_suspect
      );
    end if;
    return null;
  end if;

  -- Many rows: mapped one by one, written in passes of bounded memory.
  if tg_op = 'INSERT' then
    for d in
      select
      %3$s
      from new_rows n
    loop
      v_drafts := array_append(v_drafts, d);
      if cardinality(v_drafts) = 5000 then
        perform audit.append_all(v_drafts);
        v_drafts := '{}';
      end if;
    end loop;
  elsif tg_op = 'UPDATE' then
    if (select count(*) from old_rows) <> (select count(*) from new_rows) then
      perform audit.fail('AUROW', 'An update changed rows that cannot be paired with their old state.',
        'A trigger on a partition of ' || tg_relid::regclass || ' swallowed a row that moved there.',
        'Let the trigger raise an error, or delete and insert the rows in two statements.');
    end if;
    -- Both transition tables are filled together, row by row, so equal positions are the same row, whatever its key.
    for d in
      select
      %4$s
      from (select t.*, row_number() over () as %7$I from new_rows t) n
      join (select t.*, row_number() over () as %7$I from old_rows t) o on n.%7$I = o.%7$I
      where %6$s
      order by n.%7$I
    loop
      v_drafts := array_append(v_drafts, d);
      if cardinality(v_drafts) = 5000 then
        perform audit.append_all(v_drafts);
        v_drafts := '{}';
      end if;
    end loop;
  elsif tg_op = 'DELETE' then
    for d in
      select
      %5$s
      from old_rows o
    loop
      v_drafts := array_append(v_drafts, d);
      if cardinality(v_drafts) = 5000 then
        perform audit.append_all(v_drafts);
        v_drafts := '{}';
      end if;
    end loop;
  else
    -- TRUNCATE; the rows are still there: each organisation learns how many of its own went.
    for d in execute format(
      'select %%s, %%L, ''success'', %%L, null, null, null, null, jsonb_build_object(''truncated'', true, ''rows'', count(*)), false from only %%I.%%I o group by 1',
      %8$L, %1$L, %2$L, tg_table_schema, tg_table_name
    ) loop
      v_drafts := array_append(v_drafts, d);
    end loop;
    if v_drafts = '{}' then
      v_drafts := array[row(
        null, %1$L, 'success', %2$L, null, null, null, null, jsonb_build_object('truncated', true, 'rows', 0), false
      )::audit.draft];
    end if;
  end if;
  if v_drafts <> '{}' then
    perform audit.append_all(v_drafts);
  end if;
  return null;
end
$source$,
    plan #>> '{actions,delete}', -- 1
    plan ->> 'resource', -- 2
    audit.draft_expression(table_name, plan, 'insert'), -- 3
    audit.draft_expression(table_name, plan, 'update'), -- 4
    audit.draft_expression(table_name, plan, 'delete'), -- 5
    coalesce(v_differs, 'false'), -- 6
    v_position, -- 7
    coalesce(audit.uuid_expression(table_name, plan -> 'organization', 'o'), 'audit.system_organization()') -- 8
  );
end
$$;

comment on function audit.capture_source(regclass, jsonb) is
  'The body of the trigger function that audit.track() creates for a table. Changes nothing.';
