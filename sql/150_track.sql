-- Attaching capture to tables, and taking it off.
--
-- Triggers are made with `create or replace trigger` and never dropped: on hosted Supabase dropping any trigger locks
-- every auth table. untrack() disables them instead. They are `enable always`, so that session_replication_role does
-- not skip them.

create or replace function audit.capture_function_name(table_name regclass)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select format(
    'capture_%s_%s',
    left(regexp_replace(lower(n.nspname || '_' || c.relname), '[^a-z0-9_]+', '_', 'g'), 40),
    left(encode(sha256(convert_to(n.nspname || '.' || c.relname, 'UTF8')), 'hex'), 6)
  )
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.oid = capture_function_name.table_name
$$;

comment on function audit.capture_function_name(regclass) is 'The name of the trigger function generated for a table.';

-- A statement trigger fires only for the table that the statement names, so each partition and each child needs its own.
create or replace function audit.with_children(table_name regclass)
  returns setof regclass
  language sql
  stable
  rows 2
  set search_path = ''
as $$
  with recursive family (member) as (
    select with_children.table_name
    union
    select i.inhrelid::regclass
    from family f
    join pg_catalog.pg_inherits i on i.inhparent = f.member
  )
  select f.member
  from family f
  join pg_catalog.pg_class c on c.oid = f.member
  where c.relkind in ('r', 'p')
$$;

comment on function audit.with_children(regclass) is 'A table with its partitions and inheritance children, at any depth.';

create or replace function audit.expected_triggers()
  returns table (trigger_name text, timing text, referencing text)
  language sql
  immutable
  rows 4
  set search_path = ''
as $$
  values
    ('audit_insert', 'after insert', 'referencing new table as new_rows'),
    ('audit_update', 'after update', 'referencing old table as old_rows new table as new_rows'),
    ('audit_delete', 'after delete', 'referencing old table as old_rows'),
    ('audit_truncate', 'before truncate', '')
$$;

comment on function audit.expected_triggers() is 'The triggers that a tracked table carries.';

create or replace function audit.track(table_name text, options jsonb default '{}')
  returns regclass
  language plpgsql
  set search_path = ''
as $$
declare
  v_table regclass;
  v_class pg_catalog.pg_class;
  v_schema text;
  v_options jsonb := coalesce(track.options, '{}');
  v_plan jsonb;
  v_source text;
  v_function text;
  v_settings text := '';
  v_member regclass;
  v_trigger record;
  v_before audit.tracked_tables;
begin
  begin
    v_table := to_regclass(track.table_name);
  exception when others then
    v_table := null; -- not even the form of a name
  end;
  if v_table is null then
    perform audit.fail('AUTBL', format('There is no table %s.', coalesce(track.table_name, '(null)')), null,
      'Name it with its schema: audit.track(''public.api_keys''). Names with capitals need double quotes inside.');
  end if;
  select * into strict v_class from pg_catalog.pg_class c where c.oid = v_table;
  select n.nspname into strict v_schema from pg_catalog.pg_namespace n where n.oid = v_class.relnamespace;

  if v_schema = 'audit' or v_table in (select audit.with_children('public.audit_logs')) then
    perform audit.fail('AULOG', format('%s belongs to the audit log itself.', v_table), null,
      'The log is protected by its own chain; track the application''s tables.');
  end if;
  if v_class.relispartition then
    perform audit.fail('AUPRT', format('%s is a partition.', v_table), null, format('Track its parent: select audit.track(%L).', (
      select i.inhparent::regclass::text from pg_catalog.pg_inherits i where i.inhrelid = v_table
    )));
  end if;
  if v_class.relkind not in ('r', 'p') or v_class.relpersistence = 't' then
    perform audit.fail('AUKND', format('%s is a %s.', v_table, case
        when v_class.relpersistence = 't' then 'temporary table'
        when v_class.relkind = 'v' then 'view'
        when v_class.relkind = 'm' then 'materialized view'
        when v_class.relkind = 'f' then 'foreign table'
        when v_class.relkind = 'S' then 'sequence'
        when v_class.relkind in ('i', 'I') then 'index'
        else 'composite type'
      end), null, 'Track the ordinary or partitioned tables behind it.');
  end if;
  if jsonb_typeof(v_options) <> 'object' then
    perform audit.fail('AUOPT', 'The options are a JSON object.', null, 'For example {"ignore": ["updated_at"]}.');
  end if;

  select * into v_before from audit.tracked_tables t where t.table_name = v_table;
  -- Tracked again without options: as before. Known tables: as an LLM application means them.
  if v_options = '{}' and v_before.table_name is not null then
    v_options := v_before.options;
  elsif v_schema = 'public' then
    v_options := coalesce((select k.options from audit.known_tables() k where k.table_name = v_class.relname), '{}') || v_options;
  end if;

  v_plan := audit.capture_plan(v_table, v_options);
  v_source := audit.capture_source(v_table, v_plan);
  v_function := audit.capture_function_name(v_table);
  if exists (
    select
    from audit.columns_of(v_table) c
    where v_plan -> 'columns' ->> c.name in ('record', 'content') and not audit.renders_alike(c.type, c.category)
  ) then
    v_settings := 'set timezone = ''UTC'' set datestyle = ''ISO, MDY'' set intervalstyle = ''postgres'''
      || ' set extra_float_digits = 1 set bytea_output = ''hex''';
  end if;

  execute format(
    'create or replace function audit.%I() returns trigger language plpgsql'
      || ' security definer /* whoever writes the table may not write the log */ set search_path = '''' %s as %L',
    v_function, v_settings, v_source
  );
  execute format('revoke all on function audit.%I() from public, anon, authenticated, service_role', v_function);

  for v_member in select * from audit.with_children(v_table) loop
    for v_trigger in select * from audit.expected_triggers() loop
      -- Creating a trigger locks out writers for a moment; one that is already right is left alone.
      continue when exists (
        select
        from pg_catalog.pg_trigger t
        where t.tgrelid = v_member and t.tgname = v_trigger.trigger_name and t.tgenabled = 'A'
          and t.tgfoid = to_regproc(format('audit.%I', v_function))
      );
      execute format(
        'create or replace trigger %I %s on %s %s for each statement execute function audit.%I()',
        v_trigger.trigger_name, v_trigger.timing, v_member, v_trigger.referencing, v_function
      );
      execute format('alter table %s enable always trigger %I', v_member, v_trigger.trigger_name);
    end loop;
  end loop;

  insert into audit.tracked_tables as t (table_name, options, plan, function_name, function_hash, table_owner)
  values (
    v_table, v_options, v_plan, v_function, sha256(convert_to(v_source, 'UTF8')),
    pg_catalog.pg_get_userbyid(v_class.relowner)
  )
  on conflict on constraint tracked_tables_pkey do update set
    options = excluded.options, plan = excluded.plan, function_name = excluded.function_name,
    function_hash = excluded.function_hash, table_owner = excluded.table_owner, tracked_at = clock_timestamp();

  if v_before.table_name is null then
    perform audit.record(null, 'capture.tracked', 'table', v_table::text, jsonb_build_object('plan', v_plan));
  elsif v_before.plan <> v_plan then
    perform audit.record(null, 'capture.changed', 'table', v_table::text,
      jsonb_build_object('changes', jsonb_build_object('plan', jsonb_build_object('old', v_before.plan, 'new', v_plan))));
  end if;
  return v_table;
end
$$;

comment on function audit.track(text, jsonb) is
  'Captures every INSERT, UPDATE, DELETE and TRUNCATE of a table from now on: select audit.track(''public.api_keys'').
Options, all found by inspection where absent: resource, id, organization, actor, provider, cost, outcome, actions,
update_of, and the treatment of columns: record, ignore, mask, personal, content. Tracking again repairs and updates.';

create or replace function audit.untrack(table_name text)
  returns boolean
  language plpgsql
  set search_path = ''
as $$
declare
  v_table regclass := to_regclass(untrack.table_name);
  v_member regclass;
  v_trigger text;
begin
  delete from audit.tracked_tables t where t.table_name = v_table;
  if not found then
    return false;
  end if;
  for v_member, v_trigger in
    select m.member, t.tgname
    from audit.with_children(v_table) m (member)
    join pg_catalog.pg_trigger t on t.tgrelid = m.member
    where t.tgname in (select e.trigger_name from audit.expected_triggers() e) and t.tgenabled <> 'D'
  loop
    execute format('alter table %s disable trigger %I', v_member, v_trigger);
  end loop;
  perform audit.record(null, 'capture.untracked', 'table', v_table::text);
  return true;
end
$$;

comment on function audit.untrack(text) is
  'Stops capturing a table and leaves an entry; false if it was not tracked. What is in the log stays.';

create or replace function audit.refresh_capture()
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_table regclass;
begin
  for v_table in select t.table_name from audit.tracked_tables t order by t.table_name::text loop
    perform audit.track(v_table::text);
  end loop;
end
$$;

comment on function audit.refresh_capture() is
  'Generates every trigger function anew: after an upgrade of the product or a change of settings.';

create or replace function audit.track_known_tables()
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_table regclass;
  v_tracked int := 0;
begin
  for v_table in
    select c.oid::regclass
    from audit.known_tables() k
    join pg_catalog.pg_class c on c.relname = k.table_name and c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
    where not exists (select from audit.tracked_tables t where t.table_name = c.oid)
    order by array_position(array['organizations', 'organization_members', 'llm_queries'], k.table_name) nulls last, k.table_name
  loop
    perform audit.track(v_table::text);
    v_tracked := v_tracked + 1;
  end loop;
  if to_regclass('public.organization_members') is not null
    and (select p.prosrc from pg_catalog.pg_proc p where p.oid = 'audit.memberships(uuid)'::regprocedure) ~ 'where false'
  then
    perform audit.use_membership('public.organization_members');
  end if;
  return v_tracked;
end
$$;

comment on function audit.track_known_tables() is
  'Tracks the tables of an LLM application that exist and are not tracked yet; returns how many.';
