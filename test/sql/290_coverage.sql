-- Whether everything is captured that should be: each gap is found, and its way out closes it.

-- Event triggers would repair some gaps at once; here they are asleep, as where the server does not let us make them.
set local session_replication_role = replica;

select is_empty('select * from audit.coverage where not healthy', 'after installation nothing is missing');
select is((select count(*) from audit.coverage where tracked and table_name like 'public.%'), 7::bigint, 'every tracked table is listed');
select performs_ok('select * from audit.coverage', 1000, 'and in no time, so that it can be asked often');

create function pg_temp.findings(t text default 'public.api_keys') returns text language sql as $$
  select string_agg(finding, '; ' order by finding) from audit.coverage where table_name = t and not healthy
$$;
create function pg_temp.follow_way_out(t text default 'public.api_keys') returns text language plpgsql as $$
declare
  v_way_out text;
begin
  foreach v_way_out in array array(select distinct way_out from audit.coverage where table_name = t and not healthy) loop
    execute v_way_out;
  end loop;
  return pg_temp.findings(t);
end
$$;

alter table public.api_keys disable trigger audit_insert;
select is(pg_temp.findings(), 'trigger audit_insert on public.api_keys is disabled', 'a disabled trigger is found');
select is(pg_temp.follow_way_out(), null, 'its way out repairs it');
alter table public.api_keys enable trigger audit_update;
select is(pg_temp.findings(), 'trigger audit_update on public.api_keys is skipped by session_replication_role', 'a trigger that can be skipped is found');
select is(pg_temp.follow_way_out(), null, 'its way out repairs it');
drop trigger audit_delete on public.api_keys;
select is(pg_temp.findings(), 'trigger audit_delete on public.api_keys is missing', 'a dropped trigger is found');
select is(pg_temp.follow_way_out(), null, 'its way out repairs it');
create or replace trigger audit_truncate before truncate on public.api_keys for each statement execute function audit.refuse_change();
alter table public.api_keys enable always trigger audit_truncate;
select is(pg_temp.findings(), 'trigger audit_truncate on public.api_keys is calling another function', 'a trigger that was turned elsewhere is found');
select is(pg_temp.follow_way_out(), null, 'its way out repairs it');
do $do$
begin
  execute format('create or replace function audit.%I() returns trigger language plpgsql set search_path = %L as %L', audit.capture_function_name('public.api_keys'), '', 'begin return null; end');
end
$do$;
select matches(pg_temp.findings(), '^function audit\.capture_public_api_keys_\w+ was replaced$', 'a replaced function is found');
select is(pg_temp.follow_way_out(), null, 'its way out repairs it');
do $do$
begin
  execute format('drop function audit.%I() cascade', audit.capture_function_name('public.api_keys'));
end
$do$;
select isnt(pg_temp.findings(), null, 'a dropped function is found');
select is(pg_temp.follow_way_out(), null, 'its way out repairs it');
insert into public.api_keys (id, organization_id) values (md5('repaired')::uuid, acme());
select is((select count(*) from public.audit_logs where resource_id = md5('repaired')::uuid::text), 1::bigint, 'and capture works again');

select audit.untrack('public.api_keys');
select is(pg_temp.findings(), 'not tracked', 'a known table that is not tracked is found');
select is(pg_temp.follow_way_out(), null, 'its way out tracks it');

alter table public.audit_logs disable trigger refuse_update_delete;
select matches(pg_temp.findings('public.audit_logs'), 'refuse_update_delete on .*audit_logs is not always enabled', 'a guard of the log that is off is found');
select is(pg_temp.follow_way_out('public.audit_logs'), null, 'its way out repairs it');
alter table public.audit_logs disable row level security;
select is(pg_temp.findings('public.audit_logs'), 'row level security is off', 'row level security that is off is found');
select is(pg_temp.follow_way_out('public.audit_logs'), null, 'its way out repairs it');
