-- Capture follows the tables: known ones as they appear, tracked ones as they change or go.

create function pg_temp.columns_in_plan(t regclass) returns text[] language sql as $$
  select array(select jsonb_object_keys(plan -> 'columns') order by 1) from audit.tracked_tables where table_name = t
$$;

create table public.things (id int primary key, organization_id uuid, name text);
select is_empty($$ select * from audit.tracked_tables where table_name = 'public.things'::regclass $$, 'a table that is not known is not tracked by itself');
select audit.track('public.things');
alter table public.things add column extra text;
insert into public.things values (1, acme(), 'n', 'e');
select is(
  (select details #>> '{new,extra}' from public.audit_logs where action = 'thing.created'), 'e', 'an added column is captured at once'
);
alter table public.things drop column name;
select lives_ok($$ insert into public.things values (2, acme(), 'e') $$, 'a dropped column is no longer asked for');
select is(pg_temp.columns_in_plan('public.things'), array['extra', 'id', 'organization_id'], 'the plan follows');
alter table public.things rename column extra to more;
select lives_ok($$ insert into public.things values (3, acme(), 'm') $$, 'a renamed column neither');
alter table public.things rename to stuff;
select lives_ok($$ insert into public.stuff values (4, acme(), 'm') $$, 'a renamed table is captured on');
select is((select count(*) from public.audit_logs where resource_id = '4' and organization_id = acme() and details #>> '{new,more}' = 'm'), 1::bigint, 'under its old or new name');
select is_empty($$ select * from audit.coverage where table_name = 'public.stuff' and not healthy $$, 'and nothing is missing');

create table public.parted (id int, organization_id uuid, k int, primary key (id, k)) partition by list (k);
select audit.track('public.parted');
create table public.parted_1 partition of public.parted for values in (1);
insert into public.parted_1 values (1, acme(), 1);
select is((select count(*) from public.audit_logs where action = 'parted.created'), 1::bigint, 'a partition that joins is captured');

drop table public.stuff;
select is(
  (select details ->> 'dropped' from public.audit_logs where action = 'capture.untracked' and resource_type = 'table'), 'true', 'dropping a tracked table leaves an entry'
);
select is_empty($$ select * from audit.tracked_tables where table_name::text ~ 'stuff' $$, 'and the registry forgets it');

drop table public.budgets;
create table public.budgets (id int primary key, organization_id uuid, amount int);
select is((select count(*) from audit.tracked_tables where table_name = 'public.budgets'::regclass), 1::bigint, 'a known table is tracked as it appears');
insert into public.budgets values (1, acme(), 5);
select is((select count(*) from public.audit_logs where action = 'budget.created' and resource_id = '1'), 1::bigint, 'with its first row');

drop trigger audit_insert on public.api_keys;
select is(
  (select resource_id from public.audit_logs where action = 'capture.changed' and resource_type = 'trigger'),
  'audit_insert on public.api_keys', 'dropping one of the triggers leaves an entry'
);
select is_empty($$ select finding from audit.coverage where table_name = 'public.api_keys' and finding is not null $$, 'and the trigger is made anew');

-- Never in the way of the application's own DDL
set local client_min_messages = error;
create table public.integrations_old (id int primary key);
drop table public.integrations;
select lives_ok('create table public.integrations (name text)', 'a known table that cannot be tracked is created all the same');
select is((select tracked from audit.coverage where table_name = 'public.integrations'), false, 'and coverage shows it');
