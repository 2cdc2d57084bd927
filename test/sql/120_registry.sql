-- The registry of tracked tables.

select set_eq(
  $$ select table_name::text from audit.tracked_tables $$,
  array['organizations', 'organization_members', 'api_keys', 'budgets', 'llm_queries', 'llm_responses', 'integrations'],
  'the known tables of the application are registered'
);
select is_empty(
  $$
    select t.table_name from audit.tracked_tables t
    left join pg_proc p on p.oid = to_regproc('audit.' || quote_ident(t.function_name))
    where p.oid is null or sha256(convert_to(p.prosrc, 'UTF8')) <> t.function_hash
  $$,
  'each row names its function and the hash of its source'
);
select is_empty(
  $$ select t.table_name from audit.tracked_tables t join pg_class c on c.oid = t.table_name where t.table_owner <> pg_get_userbyid(c.relowner) $$,
  'each row names the table''s owner'
);
select is_empty(
  $$
    select t.table_name, c.name
    from audit.tracked_tables t
    cross join lateral audit.columns_of(t.table_name) c
    where t.plan #>> array['columns', c.name] is null or t.plan #>> array['columns', c.name] not in ('record', 'ignore', 'mask', 'personal', 'content')
  $$,
  'each plan knows each column and how it is treated'
);
select throws_ok(
  $$ insert into audit.tracked_tables select * from audit.tracked_tables $$, '23505', null, 'a table is registered once'
);
