-- Event triggers that track known tables as they appear and keep capture in step with ALTER TABLE, where the server lets
-- us make them.

create or replace function audit.on_ddl_command_end()
  returns event_trigger
  language plpgsql
  security definer -- whoever creates a table may not call track()
  set search_path = ''
as $$
declare
  v_command record;
  v_tracked regclass;
begin
  for v_command in
    select c.command_tag, c.objid
    from pg_catalog.pg_event_trigger_ddl_commands() c
    where c.classid = 'pg_catalog.pg_class'::regclass and c.object_type in ('table', 'table column')
      and c.schema_name is distinct from 'audit' and c.schema_name is distinct from 'pg_temp'
  loop
    begin
      if v_command.command_tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') then
        perform audit.track_known_tables();
      end if;
      -- A column that went or came, or a partition that joined: capture follows the table.
      select t.table_name into v_tracked
      from audit.tracked_tables t
      where v_command.objid in (select m.member::oid from audit.with_children(t.table_name) m (member))
      limit 1;
      if found then
        perform audit.track(v_tracked::text);
      end if;
    exception when others then
      -- Never in the way of the application's own DDL; audit.coverage shows what is missing.
      raise warning 'audit: capture could not follow %: %', v_command.command_tag, sqlerrm;
    end;
  end loop;
end
$$;

comment on function audit.on_ddl_command_end() is
  'Event trigger function: tracks known tables when they are created, and keeps capture in step with ALTER TABLE.';

create or replace function audit.on_sql_drop()
  returns event_trigger
  language plpgsql
  security definer -- whoever drops a table may not write the registry
  set search_path = ''
as $$
declare
  v_dropped record;
  v_table regclass;
begin
  for v_dropped in
    select d.objid, d.object_type, d.object_identity, d.address_names
    from pg_catalog.pg_event_trigger_dropped_objects() d
    where d.object_type = 'table' and exists (select from audit.tracked_tables t where t.table_name = d.objid)
      or d.object_type = 'trigger' and d.object_identity ~ '^(audit_(insert|update|delete|truncate)|refuse_(update_delete|truncate)) on '
        and d.original
  loop
    if v_dropped.object_type = 'table' then
      delete from audit.tracked_tables t where t.table_name = v_dropped.objid;
      perform audit.record(null, 'capture.untracked', 'table', v_dropped.object_identity, '{"dropped": true}');
    else
      perform audit.record(null, 'capture.changed', 'trigger', v_dropped.object_identity, '{"dropped": true}');
      -- A tracked table gets its trigger back; untrack() is the way to stop capture.
      select t.table_name into v_table
      from audit.tracked_tables t
      where to_regclass(format('%I.%I', v_dropped.address_names[1], v_dropped.address_names[2])) in (
        select m.member from audit.with_children(t.table_name) m (member)
      );
      if found then
        perform audit.track(v_table::text);
      end if;
    end if;
  end loop;
end
$$;

comment on function audit.on_sql_drop() is
  'Event trigger function: leaves an entry when a tracked table or one of the product''s triggers is dropped, and makes
the trigger anew.';

-- Hosted Supabase lets postgres create event triggers; plain Postgres only superusers. Without them everything still
-- works: audit.coverage reports what they would have done, and audit.track_known_tables() does it.
do $$
begin
  if not exists (select from pg_catalog.pg_event_trigger where evtname = 'audit_on_ddl_command_end') then
    create event trigger audit_on_ddl_command_end on ddl_command_end execute function audit.on_ddl_command_end();
  end if;
  if not exists (select from pg_catalog.pg_event_trigger where evtname = 'audit_on_sql_drop') then
    create event trigger audit_on_sql_drop on sql_drop execute function audit.on_sql_drop();
  end if;
exception when insufficient_privilege then
  raise notice 'audit: no privilege to create event triggers; call audit.track_known_tables() after creating tables';
end
$$;
