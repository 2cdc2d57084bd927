-- Expressions and the generated trigger function: what a change of each kind becomes.

select is(audit.utc('2026-03-29 03:00:00.5+02'), '"2026-03-29T01:00:00.5Z"', 'utc() writes times in UTC');
select is(audit.utc('infinity'), '"infinity"', 'utc() writes infinity');
set local timezone = 'Pacific/Chatham';
select is(audit.utc('2026-03-29 03:00:00+02'), '"2026-03-29T01:00:00Z"', 'utc() does not depend on the session''s time zone');
reset timezone;

select is_empty(
  $$
    select t.table_name from audit.tracked_tables t
    where audit.capture_source(t.table_name, t.plan) ~* 'pg_catalog\.|information_schema'
  $$,
  'generated functions look nothing up in the catalogue'
);

create table public.gadgets (
  id int primary key, organization_id uuid, name text, qty int8, ratio float8, amount numeric, at timestamptz, day date, span interval,
  raw bytea, j jsonb, js json, tags text[], place point, ip inet, kind text, secret text, email text, note text, provider text, cost numeric, user_id uuid
);
select audit.track('public.gadgets', '{"update_of": {"kind": "gadget.converted"}, "ignore": ["note"], "record": ["ip"]}');

create function pg_temp.last(out action text, out outcome text, out resource_id text, out provider text, out cost numeric, out created_by uuid, out details jsonb)
language sql as $$
  select a.action, a.outcome, a.resource_id, a.provider, a.cost, a.created_by, a.details - 'database_role'
  from public.audit_logs a where a.resource_type = 'gadget' order by a.seq desc limit 1
$$;

-- Insert, under settings that change how values print
set local timezone = 'Pacific/Chatham';
set local datestyle = 'SQL, DMY';
set local intervalstyle = 'sql_standard';
set local extra_float_digits = -3;
set local bytea_output = 'escape';
insert into public.gadgets values (
  1, acme(), 'A "quoted" 🦕', 9007199254740993, 0.1::float8 + 0.2::float8, 12345678901234567890.10, '2026-01-01 00:00:00+00', '2026-02-01', '1 day 02:00',
  '\x00ff', '{"a": 1.0, "n": null}', '{"b": "\u0000"}', '{x,y}', '(1,2)', '203.0.113.7', 'toy', 'hush', 'a@example.com', 'unseen', 'openai', 0.10, person('member')
);
reset timezone; reset datestyle; reset intervalstyle; reset extra_float_digits; reset bytea_output;
select is((select details #- '{new,email}' from pg_temp.last()), jsonb_build_object('new', jsonb_build_object(
  'name', 'A "quoted" 🦕', 'qty', '9007199254740993', 'ratio', 0.30000000000000004, 'amount', '12345678901234567890.10',
  'at', '2026-01-01T00:00:00Z', 'day', '2026-02-01', 'span', '1 day 02:00:00', 'raw', jsonb_build_object('cut', jsonb_build_object('bytes', 2, 'sha256', encode(sha256('\x00ff'), 'hex'))),
  'j', '{"a": 1.0, "n": null}'::jsonb, 'js', '{"b": "\u0000"}', 'tags', '["x", "y"]'::jsonb, 'place', '(1,2)', 'ip', '203.0.113.7',
  'kind', 'toy', 'secret', '***', 'user_id', person('member')
)), 'an insert records every value exactly, whatever the session''s settings');
select results_eq(
  'select action, outcome, resource_id, provider, cost, created_by from pg_temp.last()',
  $$ values ('gadget.created', 'success', '1', 'openai', 0.10, person('member')) $$, 'and maps what has a column of its own'
);
select matches((select details #>> '{new,email,personal}' from pg_temp.last()), '^[0-9a-f]{64}$', 'a personal value is a commitment');

-- Update
update public.gadgets set name = 'B', note = 'still unseen', secret = 'shh', qty = null;
select is(
  (select details from pg_temp.last()),
  '{"changes": {"name": {"old": "A \"quoted\" 🦕", "new": "B"}, "qty": {"old": "9007199254740993", "new": null}, "secret": {"old": "***", "new": "***"}}}',
  'an update records what changed, old and new, and no secret'
);
update public.gadgets set kind = 'tool';
select is((select action from pg_temp.last()), 'gadget.converted', 'an update of a named column has its action');
create temporary table before as select count(*) as n from public.audit_logs;
update public.gadgets set note = 'again', name = name;
update public.gadgets set name = 'C' where false;
delete from public.gadgets where false;
insert into public.gadgets select * from public.gadgets where false;
select is((select count(*) from public.audit_logs), (select n from before), 'what changes nothing audited writes nothing');

-- Many rows
insert into public.gadgets (id, organization_id, name) select n, case when n % 2 = 0 then acme() else globex() end, 'n' || n from generate_series(2, 12) n;
select results_eq(
  $$ select organization_id, count(*) from public.audit_logs where resource_type = 'gadget' and resource_id::int between 2 and 12 group by 1 order by 1 $$,
  $$ values (acme(), 6::bigint), (globex(), 5::bigint) $$, 'many rows of one statement go to their organisations, one entry each'
);
update public.gadgets set id = id + 100, kind = 'x' where id > 1;
select is_empty(
  $$
    select * from public.audit_logs
    where resource_type = 'gadget' and action = 'gadget.converted' and details #> '{changes,id}' is not null
      and (details #>> '{changes,id,new}')::int <> (details #>> '{changes,id,old}')::int + 100
  $$,
  'old and new rows are paired even where the key changes'
);
select is(
  (select count(*) from public.audit_logs where resource_type = 'gadget' and details #> '{changes,id}' is not null), 11::bigint, 'all of them'
);
delete from public.gadgets where id > 100;
select is(
  (select count(*) from public.audit_logs where action = 'gadget.deleted' and details #>> '{old,name}' ~ '^n\d+$'), 11::bigint,
  'a delete keeps the last known values'
);
merge into public.gadgets g using (values (1), (2)) v (id) on g.id = v.id
  when matched then update set name = 'merged' when not matched then insert (id, organization_id, name) values (v.id, acme(), 'merged in');
select set_eq(
  $$ select action, resource_id from public.audit_logs where resource_type = 'gadget' and (details #>> '{new,name}' = 'merged in' or details #>> '{changes,name,new}' = 'merged') $$,
  $$ values ('gadget.updated', '1'), ('gadget.created', '2') $$, 'MERGE is captured'
);
insert into public.gadgets (id, organization_id, name) values (2, acme(), 'x') on conflict (id) do update set name = 'upserted';
select is((select action || ' ' || (details #>> '{changes,name,new}') from pg_temp.last()), 'gadget.updated upserted', 'ON CONFLICT DO UPDATE is captured');
truncate public.gadgets;
select is((select details from pg_temp.last()), '{"truncated": true, "rows": 2}', 'TRUNCATE leaves an entry with the number of rows');

-- A table that was altered behind capture's back
create temporary table stale as
  select p.proname, p.prosrc from audit.tracked_tables t join pg_proc p on p.proname = t.function_name where t.table_name = 'public.gadgets'::regclass;
alter table public.gadgets drop column place;
do $do$
begin
  execute (
    select format('create or replace function audit.%I() returns trigger language plpgsql security definer set search_path = %L as %L', proname, '', prosrc)
    from stale
  );
end
$do$;
select throws_ok($$ insert into public.gadgets (id) values (3) $$, 'AUSTL', null, 'a change that cannot be captured is refused');
select lives_ok($$ select audit.track('public.gadgets') $$, 'until the table is tracked again');
select lives_ok($$ insert into public.gadgets (id) values (3) $$, 'which repairs it');

-- Rows whose parent went in the same cascade
insert into public.llm_queries (id, organization_id) values ('e1000000-0000-4000-8000-000000000001', acme());
insert into public.llm_responses (id, query_id) values ('e1000000-0000-4000-8000-000000000002', 'e1000000-0000-4000-8000-000000000001');
delete from public.llm_queries where id = 'e1000000-0000-4000-8000-000000000001';
select bag_eq(
  $$ select organization_id, action from public.audit_logs where resource_id = 'e1000000-0000-4000-8000-000000000001' $$,
  $$ values (acme(), 'query.executed'), (acme(), 'query.completed'), (acme(), 'query.response_deleted'), (acme(), 'query.deleted') $$,
  'query and response keep their organisation, also where they go together'
);
select is((select status from audit.verify() where chain = (select max(chain) from audit.heads where organization_id = acme()) and organization_id = acme()), 'verified', 'and the chain verifies');
