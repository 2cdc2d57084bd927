-- The log itself: who reads which entries, and that nobody changes one.

-- Reading, by person
create temporary table expected (name text, entries bigint);
insert into expected values
  ('anon', null),
  ('stranger', (select count(*) from public.audit_logs where organization_id = globex())),
  ('viewer', 0),
  ('member', (select count(*) from public.audit_logs where organization_id = acme() and created_by = person('member'))),
  ('admin', (select count(*) from public.audit_logs where organization_id = acme())),
  ('auditor', (select count(*) from public.audit_logs where organization_id = acme())),
  ('seeing_auditor', (select count(*) from public.audit_logs where organization_id = acme())),
  ('expired_auditor', 0),
  ('service_role', (select count(*) from public.audit_logs));
select cmp_ok(entries, '>', 0::bigint, name || ' has entries to see') from expected where entries is distinct from 0 and name <> 'anon';

create function pg_temp.entries_seen(name text) returns bigint language plpgsql as $$
declare
  v_seen bigint;
begin
  perform tap.act_as(name);
  begin
    select count(*) into v_seen from public.audit_logs;
  exception when insufficient_privilege then
    v_seen := null;
  end;
  perform tap.act_as_owner();
  return v_seen;
end
$$;
select is(pg_temp.entries_seen(name), entries, format('%s sees %s', name, coalesce(entries || ' entries', 'no table'))) from expected;

select act_as('member');
select is_empty('select * from public.audit_logs where created_by is distinct from auth.uid()', 'a member sees nobody else''s entries');
select act_as('admin');
select is_empty($$ select * from public.audit_logs where organization_id <> tap.acme() $$, 'an admin sees no other organisation''s entries');
select act_as_owner();
update audit.auditors set expires_at = clock_timestamp() where user_id = person('auditor');
select is(pg_temp.entries_seen('auditor'), 0::bigint, 'an auditor whose time is over sees nothing from that moment on');
update public.organization_members set role = 'viewer' where user_id = person('admin');
select is(pg_temp.entries_seen('admin'), 0::bigint, 'a former admin sees nothing from that moment on');
update public.organization_members set role = 'admin' where user_id = person('admin');

-- Writing, by person and by way
create temporary table way (statement text, description text);
insert into way
select format(s, t), format(d, t)
from (values
  ('insert into public.%I select * from public.audit_logs limit 1', 'insert into %s'),
  ('insert into public.%I select * from public.audit_logs limit 1 on conflict do nothing', 'insert on conflict into %s'),
  ('update public.%I set action = ''x.y''', 'update %s'),
  ('delete from public.%I', 'delete from %s'),
  ('truncate public.%I', 'truncate %s'),
  ('merge into public.%I a using (values (1)) v on false when not matched then do nothing when matched then delete', 'merge into %s'),
  ('create trigger t before insert on public.%I for each row execute function audit.refuse_change()', 'a trigger on %s')
) statements (s, d)
cross join (values ('audit_logs'), ('audit_logs_default')) tables (t);
insert into way values
  ('select * from public.audit_logs for update', 'lock entries'),
  ('alter table public.audit_logs disable trigger all', 'switch the guards off'),
  ('drop table public.audit_logs', 'drop the log'),
  ('create table public.a_child () inherits (public.audit_logs)', 'inherit from the log'),
  ('select * from public.audit_logs_default', 'read a partition'),
  ('copy public.audit_logs (action) from stdin', 'copy into the log');
-- COPY FROM cannot be executed inside a function; its privilege is INSERT's.
delete from way where statement like 'copy%';
grant select on way to anon, authenticated, service_role;

create function pg_temp.refused(name text) returns setof text language plpgsql as $$
declare
  w record;
begin
  for w in select * from way loop
    perform tap.act_as(name);
    return next tap.throws_ok(w.statement, '42501', null, name || ' may not ' || w.description);
    perform tap.act_as_owner();
  end loop;
end
$$;
select pg_temp.refused(name) from unnest(array['anon', 'viewer', 'member', 'admin', 'seeing_auditor', 'service_role']) name;

-- postgres owns the table: without privileges, and where it gives them to itself, against the guards.
select throws_ok(statement, '42501', null, 'postgres may not ' || description)
from way where statement ~ '^(insert|update|delete|truncate|merge)' and statement !~ 'merge';
grant insert, update, delete, truncate on public.audit_logs, public.audit_logs_default to postgres;
select throws_ok(statement, 'AUIMM', 'Entries of the audit log are never changed or deleted.', 'postgres with privileges is refused to ' || description)
from (values
  ('update public.audit_logs set action = ''x.y''', 'update'),
  ('delete from public.audit_logs', 'delete'),
  ('truncate public.audit_logs', 'truncate'),
  ('truncate public.audit_logs_default', 'truncate a partition'),
  ('merge into public.audit_logs a using (values (1)) v on true when matched then delete', 'delete by merge'),
  ('merge into public.audit_logs a using (values (1)) v on true when matched then update set action = ''x.y''', 'update by merge'),
  ('with gone as (delete from public.audit_logs returning *) select * from gone', 'delete in a query')
) w (statement, description);
set local session_replication_role = replica;
select throws_ok('delete from public.audit_logs', 'AUIMM', null, 'also under session_replication_role');
select throws_ok('truncate public.audit_logs', 'AUIMM', null, 'also truncate under session_replication_role');
reset session_replication_role;
do $$
declare
  v_partition regclass;
begin
  for v_partition in select inhrelid from pg_inherits where inhparent = 'public.audit_logs'::regclass loop
    execute format('grant delete, truncate on %s to postgres', v_partition);
  end loop;
end
$$;
select throws_ok(format('truncate %s', i.inhrelid::regclass), 'AUIMM', null, 'not truncate partition ' || i.inhrelid::regclass)
from pg_inherits i where i.inhparent = 'public.audit_logs'::regclass;
select throws_ok(format('delete from %s', a.part), 'AUIMM', null, 'not delete from partition ' || a.part)
from (select distinct tableoid::regclass as part from public.audit_logs) a;

-- The purger, and whoever takes its place, deletes; it changes nothing.
select is(has_table_privilege('audit_purger', 'public.audit_logs', p), p in ('select', 'delete'), 'the purger and ' || p) from unnest(array['select', 'insert', 'update', 'delete', 'truncate']) p;

-- Uniqueness
create function pg_temp.with_change(change jsonb) returns void language sql as $$
  insert into public.audit_logs select (jsonb_populate_record(a, change)).* from public.audit_logs a limit 1
$$;
select throws_ok($$ select pg_temp.with_change('{}') $$, '23505', null, 'an entry''s name stands once');

-- organization_of
select is(audit.organization_of('budget', 'b0000000-0000-4000-8000-000000000001'), acme(), 'the log knows whose a resource was');
select is(audit.organization_of('api_key', 'b0000000-0000-4000-8000-000000000001'), null, 'not under another type');
select is(audit.organization_of('budget', 'nothing'), null, 'not what it never saw');

-- What people write
select lives_ok(
  $$ select action, provider, created_at, created_by from audit_logs where resource_type = 'api_key' order by created_at desc $$,
  'the SQL that people write works as it is'
);
