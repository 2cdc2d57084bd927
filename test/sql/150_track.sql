-- Attaching capture and taking it off.

create table public.things (id int primary key, organization_id uuid, name text);
select is(audit.track('public.things')::text, 'things', 'track() returns the table');
select results_eq(
  $$ select tgname::text collate "default", tgenabled::text from pg_trigger where tgrelid = 'public.things'::regclass order by 1 $$,
  $$ values ('audit_delete', 'A'), ('audit_insert', 'A'), ('audit_truncate', 'A'), ('audit_update', 'A') $$,
  'a tracked table carries four triggers that session_replication_role does not skip'
);
select is(
  (select count(*) from public.audit_logs where action = 'capture.tracked' and resource_id = 'public.things'), 1::bigint, 'tracking leaves an entry'
);
create temporary table oids as select oid from pg_trigger where tgrelid = 'public.things'::regclass;
select lives_ok($$ select audit.track('public.things') $$, 'track() is idempotent');
select set_eq(
  $$ select oid from pg_trigger where tgrelid = 'public.things'::regclass $$, 'select oid from oids', 'tracking again touches no trigger that is right'
);
select is(
  (select count(*) from public.audit_logs where action like 'capture.%' and resource_id = 'public.things'), 1::bigint, 'and leaves no second entry'
);
select audit.track('public.things', '{"mask": ["name"]}');
select is(
  (select details #>> '{changes,plan,new,columns,name}' from public.audit_logs where action = 'capture.changed' and resource_id = 'public.things'),
  'mask', 'a change of options does'
);
select audit.track('public.things');
select is(
  (select plan #>> '{columns,name}' from audit.tracked_tables where table_name = 'public.things'::regclass), 'mask', 'and options stay until others are given'
);

set local session_replication_role = replica;
insert into public.things values (1, acme(), 'x');
reset session_replication_role;
select is(
  (select count(*) from public.audit_logs where action = 'thing.created' and resource_id = '1'), 1::bigint, 'session_replication_role does not switch capture off'
);

select is(audit.untrack('public.things'), true, 'untrack() says that it was tracked');
insert into public.things values (2, acme(), 'y');
select is((select count(*) from public.audit_logs where action = 'thing.created'), 1::bigint, 'an untracked table is not captured');
select is((select count(*) from public.audit_logs where action = 'capture.untracked' and resource_id = 'public.things'), 1::bigint, 'untracking leaves an entry');
select is(audit.untrack('public.things'), false, 'untracking twice says so');
select is(audit.untrack('public.nowhere'), false, 'untracking what is not there says so');
select is((select count(*) from pg_trigger where tgrelid = 'public.things'::regclass), 4::bigint, 'triggers are disabled, never dropped');
select audit.track('public.things');
insert into public.things values (3, acme(), 'z');
select is((select count(*) from public.audit_logs where action = 'thing.created'), 2::bigint, 'tracking again captures again');

-- Names
create schema "Odd schema";
create table "Odd schema"."Ta'b""le 🦕" ("I d" int primary key, organization_id uuid, "sele'ct" text);
select lives_ok($$ select audit.track('"Odd schema"."Ta''b""le 🦕"') $$, 'names may hold capitals, quotes, spaces and emoji');
insert into "Odd schema"."Ta'b""le 🦕" values (1, acme(), 'v');
select is(
  (select details -> 'new' from public.audit_logs where resource_type = 'Ta''b"le 🦕'), '{"sele''ct": "v"}', 'and are captured'
);
select isnt(
  audit.capture_function_name('"Odd schema"."Ta''b""le 🦕"'), audit.capture_function_name('public.things'), 'each table has its function'
);

-- Partitions and children
create table public.parted (id int, organization_id uuid, k int, primary key (id, k)) partition by list (k);
create table public.parted_1 partition of public.parted for values in (1);
create table public.parted_2 partition of public.parted for values in (2) partition by list (k);
create table public.parted_2a partition of public.parted_2 for values in (2);
select set_eq(
  $$ select m::text from audit.with_children('public.parted') m $$, array['parted', 'parted_1', 'parted_2', 'parted_2a'], 'with_children() goes to any depth'
);
select audit.track('public.parted');
insert into public.parted values (1, acme(), 1), (2, acme(), 2);
insert into public.parted_1 values (3, acme(), 1);
insert into public.parted_2a values (4, acme(), 2);
update public.parted set k = 2 where id = 1;
select results_eq(
  $$ select action, resource_id from public.audit_logs where resource_type = 'parted' and action <> 'capture.tracked' order by seq $$,
  $$ values ('parted.created', '1,1'), ('parted.created', '2,2'), ('parted.created', '3,1'), ('parted.created', '4,2'), ('parted.updated', '1,2') $$,
  'a partitioned table is captured through itself and through each partition, once'
);
truncate public.parted_1;
select is((select count(*) from public.audit_logs where resource_type = 'parted' and details ? 'truncated'), 1::bigint, 'so is TRUNCATE of one partition');

-- What cannot be tracked
create view public.a_view as select 1 as id;
create materialized view public.a_matview as select 1 as id;
create temporary table a_temporary (id int primary key, organization_id uuid);
create sequence public.a_sequence;
create table public.unkeyed (organization_id uuid);
create table public.unowned (id int primary key);
create temporary table refused (table_name text, code text, message text);
insert into refused values
  ('public.nowhere', 'AUTBL', 'There is no table public.nowhere.'), (null, 'AUTBL', 'There is no table (null).'), ('', 'AUTBL', 'There is no table .'),
  ('a.b.c.d', 'AUTBL', 'There is no table a.b.c.d.'), ('"', 'AUTBL', 'There is no table ".'),
  ('public.a_view', 'AUKND', null), ('public.a_matview', 'AUKND', null), ('a_temporary', 'AUKND', null), ('public.a_sequence', 'AUKND', null),
  ('public.parted_1', 'AUPRT', null), ('public.parted_2', 'AUPRT', null), ('public.unkeyed', 'AUNPK', null), ('public.unowned', 'AUORG', null),
  ('public.audit_logs', 'AULOG', null), ('public.audit_logs_default', 'AULOG', null), ('audit.heads', 'AULOG', null), ('audit.settings', 'AULOG', null);
select throws_ok(format('select audit.track(%L)', table_name), code::text, message, format('track(%L) is refused with %s', table_name, code)) from refused;
create function pg_temp.hint_of(statement text) returns text language plpgsql as $$
declare
  v_hint text;
begin
  execute statement;
  return null;
exception when others then
  get stacked diagnostics v_hint = pg_exception_hint;
  return v_hint;
end
$$;
select isnt(pg_temp.hint_of(format('select audit.track(%L)', table_name)), '', format('track(%L) says the way out', table_name)) from refused;
select matches(pg_temp.hint_of($$ select audit.track('public.parted_2') $$), 'public\.parted''', 'for a partition it names the parent');
select throws_ok($$ select audit.track('public.things', '[]') $$, 'AUOPT', null, 'options that are no object are refused');
select throws_ok($$ select audit.track('public.things', '"x"') $$, 'AUOPT', null, 'options that are a text are refused');
select lives_ok($$ select audit.track('public.things', null) $$, 'no options are none');

-- Known tables and settings
select is(audit.track_known_tables(), 0, 'known tables that are tracked are left alone');
select audit.untrack('public.budgets');
select is(audit.track_known_tables(), 1, 'known tables that are not tracked are');
select lives_ok('select audit.refresh_capture()', 'every trigger function can be generated anew');
