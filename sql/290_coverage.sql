-- Is everything captured that should be? A view for people and schedules.

create or replace function audit.qualified_name(relation regclass)
  returns text
  language sql
  stable
  set search_path = '' -- so that the schema is always shown
as $$
  select qualified_name.relation::text
$$;

comment on function audit.qualified_name(regclass) is 'The relation''s name with its schema, whatever the reader''s search_path.';

create or replace view audit.coverage as
  with candidate as (
    select c.oid::regclass as table_name
    from audit.known_tables() k
    join pg_catalog.pg_class c on c.relname = k.table_name and c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
    union
    select t.table_name from audit.tracked_tables t
  ),
  member as (
    select c.table_name, m.member, t.function_name, t.function_hash, t.table_owner, t.plan, t.options
    from candidate c
    left join audit.tracked_tables t on t.table_name = c.table_name
    cross join lateral audit.with_children(c.table_name) m (member)
  ),
  finding (table_name, finding, way_out) as (
    select m.table_name, 'not tracked', 'select audit.track(' || quote_literal(audit.qualified_name(m.table_name)) || ')'
    from member m
    where m.function_name is null and m.member = m.table_name
    union all
    select m.table_name,
      format('trigger %s on %s is %s', e.trigger_name, audit.qualified_name(m.member), case
        when t.oid is null then 'missing'
        when t.tgenabled = 'D' then 'disabled'
        when t.tgenabled <> 'A' then 'skipped by session_replication_role'
        else 'calling another function'
      end),
      'select audit.track(' || quote_literal(audit.qualified_name(m.table_name)) || ')'
    from member m
    cross join audit.expected_triggers() e
    left join pg_catalog.pg_trigger t on t.tgrelid = m.member and t.tgname = e.trigger_name
    where m.function_name is not null
      and (t.oid is null or t.tgenabled <> 'A' or t.tgfoid is distinct from to_regproc('audit.' || quote_ident(m.function_name)))
    union all
    select m.table_name, 'function audit.' || quote_ident(m.function_name) || ' was replaced', 'select audit.track(' || quote_literal(audit.qualified_name(m.table_name)) || ')'
    from member m
    join pg_catalog.pg_proc p on p.oid = to_regproc('audit.' || quote_ident(m.function_name))
    where m.member = m.table_name and sha256(convert_to(p.prosrc, 'UTF8')) <> m.function_hash
    union all
    select m.table_name, 'columns changed since it was tracked: ' || string_agg(d.name, ', ' order by d.name),
      'select audit.track(' || quote_literal(audit.qualified_name(m.table_name)) || ')'
    from member m
    cross join lateral (
      select coalesce(c.name, k.name) as name
      from audit.columns_of(m.table_name) c
      full join jsonb_object_keys(m.plan -> 'columns') k (name) on k.name = c.name
      where c.name is null or k.name is null
    ) d
    where m.member = m.table_name and m.function_name is not null
    group by m.table_name
    union all
    select m.table_name, format('owner is %s, was %s', pg_catalog.pg_get_userbyid(c.relowner), m.table_owner),
      'find out who changed the owner, then track the table again'
    from member m
    join pg_catalog.pg_class c on c.oid = m.table_name
    where m.member = m.table_name and pg_catalog.pg_get_userbyid(c.relowner) <> m.table_owner
    union all
    -- The log's own guards.
    select 'public.audit_logs'::regclass, format('%s on %s is not always enabled', g.trigger_name, audit.qualified_name(l.member)),
      format('alter table %s enable always trigger %I', audit.qualified_name(l.member), g.trigger_name)
    from audit.with_children('public.audit_logs') l (member)
    cross join (values ('refuse_update_delete'), ('refuse_truncate')) g (trigger_name)
    left join pg_catalog.pg_trigger t on t.tgrelid = l.member and t.tgname = g.trigger_name
    where t.tgenabled is distinct from 'A'
    union all
    select 'public.audit_logs'::regclass, 'row level security is off', 'alter table public.audit_logs enable row level security'
    from pg_catalog.pg_class c
    where c.oid = 'public.audit_logs'::regclass and not c.relrowsecurity
    union all
    select 'public.audit_logs'::regclass, 'entries wait in the default partition', 'select audit.ensure_partitions()'
    where exists (select from public.audit_logs_default)
    union all
    -- Auth's tables; see audit.auth_coverage for what comes by other paths.
    select to_regclass('auth.' || m.table_name), format('trigger %s on auth.%s is %s', m.trigger_name, m.table_name, m.state), 'select audit.track_auth()'
    from audit.missing_auth_triggers() m
    where m.state <> 'no such table'
    union all
    select to_regclass('auth.audit_log_entries'), 'events of Auth wait to be settled', 'select audit.settle_waiting_auth()'
    where exists (select from audit.waiting_auth_events w where w.received_at < clock_timestamp() - interval '1 minute')
    union all
    -- A role or database for which triggers are off by default.
    select 'public.audit_logs'::regclass,
      format('session_replication_role is set for %s', coalesce(r.rolname, d.datname, 'all')),
      'alter role … reset session_replication_role'
    from pg_catalog.pg_db_role_setting s
    left join pg_catalog.pg_roles r on r.oid = s.setrole
    left join pg_catalog.pg_database d on d.oid = s.setdatabase
    where exists (select from unnest(s.setconfig) x where x ~ '^session_replication_role=(replica|local)')
  )
  select audit.qualified_name(c.table_name) as table_name,
    t.table_name is not null or c.is_auth as tracked,
    not exists (select from finding f where f.table_name = c.table_name) as healthy,
    f.finding,
    f.way_out,
    t.tracked_at
  from (
    select table_name, false as is_auth from candidate union select 'public.audit_logs'::regclass, false
    union
    select to_regclass('auth.' || e.table_name), true from audit.auth_triggers() e where to_regclass('auth.' || e.table_name) is not null
  ) c
  left join audit.tracked_tables t on t.table_name = c.table_name
  left join finding f on f.table_name = c.table_name;

comment on view audit.coverage is
  'Every table that is or should be captured: whether capture is whole, else what is wrong (a row each) and the way out.';
