-- What each actor may do, table by table and function by function. 200 and 280 show who sees which entries.

create temporary table actor (name text);
insert into actor select unnest(array['anon', 'stranger', 'viewer', 'member', 'admin', 'auditor', 'seeing_auditor', 'expired_auditor', 'service_role']);

-- Rows of each table that each actor sees; null: not even the table.
create temporary table total as
select (select count(*) from audit.identities) as identities, (select count(*) from audit.personal_values) as personal_values,
  (select count(*) from audit.identities where organization_id = acme()) as acme_identities,
  (select count(*) from audit.personal_values where organization_id = acme()) as acme_personal_values,
  (select count(*) from audit.identities where organization_id = globex()) as globex_identities,
  (select count(*) from audit.identities where user_id = person('member')) as member_identities,
  (select count(*) from audit.heads) as heads, (select count(*) from audit.auditors) as auditors,
  (select count(*) from audit.settings) as settings, (select count(*) from audit.tracked_tables) as tracked_tables,
  (select count(*) from audit.coverage) as coverage, (select count(*) from audit.error_codes) as error_codes;
select cmp_ok(n::bigint, '>', 0::bigint, 'there is something to see: ' || name) from total, jsonb_each_text(to_jsonb(total)) t (name, n);

create temporary table sees (name text, relation text, seen bigint);
insert into sees
select a.name, r.relation, case
    when a.name = 'service_role' then r.everything
    when a.name = 'anon' or r.relation not in ('identities', 'personal_values') then null
    when a.name in ('admin', 'seeing_auditor') then r.acme
    when a.name = 'stranger' then r.globex
    when a.name = 'member' then r.member
    else 0
  end
from actor a
cross join total t
cross join lateral (values
  ('identities', t.identities, t.acme_identities, t.globex_identities, t.member_identities),
  ('personal_values', t.personal_values, t.acme_personal_values, 0, 0),
  ('heads', t.heads, null, null, null), ('auditors', t.auditors, null, null, null), ('settings', t.settings, null, null, null),
  ('tracked_tables', t.tracked_tables, null, null, null), ('coverage', t.coverage, null, null, null), ('error_codes', t.error_codes, null, null, null)
) r (relation, everything, acme, globex, member);

create function pg_temp.rows_seen(name text, relation text) returns bigint language plpgsql as $$
declare
  v_seen bigint;
begin
  perform tap.act_as(name);
  begin
    execute format('select count(*) from audit.%I', relation) into v_seen;
  exception when insufficient_privilege then
    v_seen := null;
  end;
  perform tap.act_as_owner();
  return v_seen;
end
$$;
select is(pg_temp.rows_seen(name, relation), seen, format('%s sees %s of audit.%s', name, coalesce(seen || ' rows', 'nothing'), relation)) from sees;

-- Nobody but the owner writes any of them.
select is_empty(
  $$
    select r.role, c.oid::regclass, p.privilege
    from pg_class c
    cross join unnest(array['anon', 'authenticated', 'service_role']) r (role)
    cross join unnest(array['insert', 'update', 'delete', 'truncate', 'references', 'trigger']) p (privilege)
    where (c.relnamespace = 'audit'::regnamespace or c.relname ~ '^audit_(logs|events)') and c.relkind in ('r', 'p', 'v')
      and has_table_privilege(r.role, c.oid, p.privilege)
  $$,
  'no API role may write, truncate, refer to or put a trigger on any table of the product'
);
select is_empty(
  $$
    select r.role, c.oid::regclass, a.attname, p.privilege
    from pg_class c
    join pg_attribute a on a.attrelid = c.oid and a.attnum > 0
    cross join unnest(array['anon', 'authenticated', 'service_role']) r (role)
    cross join unnest(array['insert', 'update', 'references']) p (privilege)
    where (c.relnamespace = 'audit'::regnamespace or c.relname ~ '^audit_(logs|events)') and c.relkind in ('r', 'p', 'v')
      and has_column_privilege(r.role, c.oid, a.attnum, p.privilege)
  $$,
  'nor a column of one'
);
select results_eq(
  $$
    select c.oid::regclass::text collate "default", p.privilege
    from pg_class c
    cross join unnest(array['select', 'insert', 'update', 'delete', 'truncate', 'references', 'trigger']) p (privilege)
    where (c.relnamespace = 'audit'::regnamespace or c.relname ~ '^audit_(logs|events)') and c.relkind in ('r', 'p', 'v')
      and has_table_privilege('audit_writer', c.oid, p.privilege)
    order by 1, 2
  $$,
  $$ values ('audit.heads', 'insert'), ('audit.heads', 'select'), ('audit.heads', 'update'), ('audit.identities', 'insert'),
    ('audit.identities', 'select'), ('audit.restores', 'select'), ('audit_logs', 'insert') $$,
  'the writer may do exactly this'
);
select results_eq(
  $$
    select c.oid::regclass::text collate "default", p.privilege
    from pg_class c
    cross join unnest(array['insert', 'update', 'delete', 'truncate', 'references', 'trigger']) p (privilege)
    where (c.relnamespace = 'audit'::regnamespace or c.relname ~ '^audit_(logs|events)') and c.relkind in ('r', 'p', 'v')
      and has_table_privilege('audit_purger', c.oid, p.privilege)
    order by 1, 2
  $$,
  $$ values ('audit.chain_bounds', 'insert'), ('audit.chain_bounds', 'update'), ('audit.findings', 'insert'), ('audit.findings', 'update'),
    ('audit.holds', 'insert'), ('audit.holds', 'update'), ('audit.identities', 'delete'), ('audit.personal_values', 'delete'),
    ('audit.purges', 'insert'), ('audit.purges', 'update'), ('audit.restores', 'insert'), ('audit.restores', 'update'), ('audit.retention_periods', 'insert'), ('audit.retention_periods', 'update'),
    ('audit.search_index', 'delete'), ('audit_logs', 'delete') $$,
  'the purger may change exactly this'
);
select results_eq(
  $$
    select c.oid::regclass::text collate "default" from pg_class c
    where c.relnamespace = 'audit'::regnamespace and c.relkind in ('r', 'p') and not (
      has_table_privilege('postgres', c.oid, 'insert') or has_table_privilege('postgres', c.oid, 'update') or has_table_privilege('postgres', c.oid, 'delete')
    )
    order by 1
  $$,
  $$ values ('audit.chain_bounds'), ('audit.heads'), ('audit.holds'), ('audit.purges'), ('audit.restores'), ('audit.retention_periods') $$,
  'postgres has no privilege to write heads, boundaries, holds and periods'
);
select is_empty(
  $$
    select c.oid::regclass from pg_class c
    where c.relname ~ '^audit_logs' and c.relkind in ('r', 'p')
      and (has_table_privilege('postgres', c.oid, 'insert') or has_table_privilege('postgres', c.oid, 'update') or has_table_privilege('postgres', c.oid, 'delete'))
  $$,
  'nor to write entries'
);
select is_empty(
  $$ select t from unnest(array['audit.retention_periods', 'audit.holds', 'audit.chain_bounds', 'audit.purges']) t, unnest(array['insert', 'update', 'delete', 'truncate']) p where has_table_privilege('postgres', t, p) $$,
  'nor periods, holds and boundaries'
);
select throws_ok('update audit.heads set seq = 1', '42501', null, 'postgres does not move a head');

-- Functions
create temporary view executable as
  select r.role, p.proname::text as name
  from pg_proc p
  cross join unnest(array['anon', 'authenticated', 'service_role', 'audit_writer']) r (role)
  where p.pronamespace = 'audit'::regnamespace and has_function_privilege(r.role, p.oid, 'execute');

select is_empty($$ select name from executable where role = 'anon' $$, 'anon executes nothing');
select set_eq(
  $$
    select e.name from executable e
    join pg_proc p on p.pronamespace = 'audit'::regnamespace and p.proname = e.name and p.prosecdef
    where e.role = 'authenticated'
  $$,
  array[
    'accept_activity', 'admin_organizations', 'archived_before', 'auditor_organizations', 'cancel_export', 'candidates_by_cost',
    'change_alert', 'change_channel', 'change_rule', 'change_search', 'change_settings', 'choose_rule', 'close_export_part',
    'create_channel', 'create_rule', 'delete_channel', 'delete_rule', 'delete_search', 'enable_channel', 'entries_before',
    'erase_subject', 'erasure_status', 'export_status', 'find_erasure', 'find_export', 'find_report',
    'grant_auditor', 'is_purged', 'list_alerts', 'list_channels', 'list_deliveries', 'list_exports',
    'list_reports', 'list_rules', 'list_schedules', 'member_organizations', 'membership_details', 'open_part',
    'part_after', 'part_made', 'pause_schedule', 'place_hold', 'place_in_log', 'preview_rule', 'record_denial',
    'record_reading', 'release_hold', 'replay_delivery', 'report_templates_json', 'request_export',
    'request_report', 'retention_status', 'revoke_auditor', 'rotate_channel_secret', 'save_search', 'schedule_report',
    'search_candidates', 'search_tail', 'set_retention', 'settings_page', 'shown_report', 'status_page',
    'test_channel', 'test_rule', 'turn_channel_off', 'unschedule_report'
  ],
  'what signed-in users execute with more than their own rights is exactly this'
);
select is_empty(
  $$
    select name from executable where role = 'authenticated' and name in (
      'append', 'append_all', 'record', 'identify', 'commit_personal', 'use_membership', 'configure', 'track', 'untrack',
      'refresh_capture', 'ensure_partitions', 'verify', 'index_entries', 'rebuild_search_index', 'claim_export', 'fail_export'
    )
  $$,
  'signed-in users neither write the log nor do the work of the schedules'
);
select is_empty(
  $$
    select name from executable where role = 'service_role' and name in (
      'append', 'append_all', 'identify', 'commit_personal', 'use_membership', 'configure', 'track', 'untrack', 'refresh_capture',
      'track_known_tables', 'ensure_partitions', 'secure_partition', 'on_ddl_command_end', 'on_sql_drop',
      'record_cosignatures', 'lease_checkpoint', 'register_receivers', 'claim_delivery', 'claim_cosigning', 'record_delivery', 'record_copied',
      'fail_delivery', 'enable_receiver', 'continue_deliveries',
      'keep_secret', 'kept_secret', 'queue_message', 'queue_alert', 'queue_report', 'keep_links', 'take_deliveries', 'settle_delivery', 'disable_channel', 'prune_deliveries',
      'continue_alert_deliveries'
    )
  $$,
  'service_role neither writes the log directly nor changes capture'
);
select is_empty($$ select name from executable where name ~ '^capture_public_' $$, 'nobody calls a generated function');
select is_empty(
  $$ select name from executable where role = 'audit_writer' and name in ('record', 'track', 'untrack', 'configure', 'grant_auditor', 'revoke_auditor', 'ensure_partitions') $$,
  'the writer calls nothing that decides'
);

create temporary table call (statement text, allowed text[]);
insert into call values
  ('select audit.record(tap.acme(), ''a.b'')', array['service_role']),
  ('select * from audit.verify()', array['service_role']),
  ((
    select format('select audit.append(%s)', string_agg('null::' || t::regtype, ', '))
    from pg_proc p cross join unnest(p.proargtypes) t where p.oid::regproc = 'audit.append'::regproc
  ), '{}'),
  ('select audit.append_all(''{}'')', '{}'),
  ('select audit.identify(tap.acme(), null, ''a'', null, null)', '{}'),
  ('select audit.commit_personal(tap.acme(), null, ''a'', null, ''b'', ''c'')', '{}'),
  ('select audit.track(''public.budgets'')', '{}'),
  ('select audit.untrack(''public.budgets'')', '{}'),
  ('select audit.configure(''query_text'', ''true'')', '{}'),
  ('select audit.use_membership(''public.organization_members'')', '{}'),
  ('select audit.memberships(tap.person(''admin''))', array['service_role']),
  ('select audit.organization_of(''budget'', ''x'')', array['service_role']),
  ('select audit.ensure_partitions()', '{}'),
  ('select audit.index_entries()', '{}'),
  ('select audit.rebuild_search_index()', '{}'),
  ('select audit.claim_export()', '{}'),
  ('select count(*) from audit.search_index', '{}'),
  ('select count(*) from audit.exports', '{}'),
  ('select count(*) from audit.channels', array['service_role']),
  ('select count(*) from audit.deliveries', array['service_role']),
  ('select count(*) from audit.dead_letters', array['service_role']),
  ('select count(*) from audit.delivery_health', array['service_role']),
  ('select audit.take_deliveries()', '{}'),
  ('select audit.kept_secret(gen_random_uuid())', '{}'),
  ('select audit.settle_delivery(gen_random_uuid(), gen_random_uuid())', '{}'),
  ('select audit.secure_partition(''public.audit_logs_default'')', '{}'),
  ('select audit.refresh_capture()', '{}'),
  ('select audit.grant_auditor(tap.acme(), tap.person(''viewer''), now() + interval ''1 day'')', array['admin', 'service_role']),
  ('select audit.revoke_auditor(tap.acme(), tap.person(''viewer''))', array['admin', 'service_role']),
  ('select audit.entry_text(a) from public.audit_logs a', array['stranger', 'viewer', 'member', 'admin', 'auditor', 'seeing_auditor', 'expired_auditor', 'service_role']),
  ('set local role audit_writer', '{}'),
  ('select set_config(''role'', ''audit_writer'', true)', '{}');

create function pg_temp.outcome(name text, statement text) returns text language plpgsql as $$
declare
  v_outcome text := 'allowed';
begin
  perform tap.act_as(name);
  begin
    execute statement;
  exception when others then
    v_outcome := case when sqlstate in ('42501', 'AUDEN') then 'denied' else sqlerrm end;
  end;
  perform tap.act_as_owner();
  return v_outcome;
end
$$;
select is(
  pg_temp.outcome(a.name, c.statement), case when a.name = any (c.allowed) then 'allowed' else 'denied' end, format('%s: %s', a.name, c.statement)
) from actor a cross join call c;
