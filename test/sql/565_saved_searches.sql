-- Whose saved searches are whose: everybody's own, what admins share, and an entry for what others see otherwise.

create function pg_temp.save(n text, name text, query text, shared boolean) returns text language sql as $$
  select said(n, format('select audit.save_search(%L) ->> ''name''', jsonb_build_object('organization_id', acme(), 'name', name, 'query', query, 'shared', shared)))
$$;
create temporary view told as
select row_number() over (order by created_at) as n, details #- '{new,values}' #- '{old,values}' #- '{changes,values}' as details
from public.audit_logs where action = 'saved_search.changed' and organization_id = acme();

select is(pg_temp.save(n, 'Mine', 'action:a.b', false), s, format('%s keeps a search: %s', n, s))
from (values ('admin', 'Mine'), ('member', 'Mine'), ('auditor', 'Mine'), ('viewer', 'AUDEN'), ('stranger', 'AUDEN'), ('expired_auditor', 'AUDEN'), ('anon', '42501'), ('service_role', 'AUARG'), ('owner', 'AUARG')) v (n, s);
select is_empty('select * from told', 'which concerns nobody else');
select is(pg_temp.save(n, 'Ours', 'action:a.b', true), s, format('%s shares one: %s', n, s)) from (values ('member', 'AUDEN'), ('auditor', 'AUDEN')) v (n, s);
select is(pg_temp.save('admin', ' Ours ', 'email:ada@example.com  outcome:denied', true), 'Ours', 'an admin shares one');
select is((select jsonb_agg(details) from told), '[{"new": {"name": "Ours", "query": "email:\"***\" outcome:denied"}}]', 'an entry, without the address');

-- Who sees them, through the function and in the table
select is(said(n, format('select string_agg(s ->> ''name'' || (s ->> ''own''), '' '' order by s ->> ''name'') from jsonb_array_elements(audit.list_searches(%L) -> ''searches'') s', jsonb_build_object('organization_id', acme()))), s, format('%s sees %s', n, s))
from (values ('admin', 'Minetrue Ourstrue'), ('member', 'Minetrue Oursfalse'), ('seeing_auditor', 'Oursfalse'), ('viewer', 'AUDEN'), ('stranger', 'AUDEN'), ('anon', '42501')) v (n, s);
select is(said(n, 'select count(*) from audit.saved_searches'), s, format('%s reads %s rows', n, s))
from (values ('admin', '2'), ('member', '2'), ('auditor', '2'), ('seeing_auditor', '1'), ('viewer', '0'), ('stranger', '0'), ('expired_auditor', '0'), ('anon', '42501'), ('service_role', '42501')) v (n, s);
select is(said(n, 'update audit.saved_searches set name = name'), '42501', n || ' writes none past the functions') from unnest(array['admin', 'member', 'service_role']) n;

-- Changes
create temporary table kept as
select s.id, p.name || '-' || s.name as label from audit.saved_searches s join unnest(array['admin', 'member', 'auditor']) p (name) on person(p.name) = s.owner;
select is(said(n, format('select audit.change_search(%L) ->> ''query''', jsonb_build_object('id', k.id, 'query', 'action:c.*'))), s, format('%s changes %s: %s', n, l, s))
from (values ('member', 'member-Mine', 'action:c.*'), ('admin', 'member-Mine', 'AUNOT'), ('member', 'admin-Ours', 'AUDEN'), ('viewer', 'admin-Ours', 'AUNOT'), ('stranger', 'admin-Ours', 'AUNOT'), ('admin', 'admin-Ours', 'action:c.*')) v (n, l, s)
join kept k on k.label = l;
select is(said('member', format('select audit.change_search(%L)', jsonb_build_object('id', id, 'shared', true))), 'AUDEN', 'a member cannot share') from kept where label = 'member-Mine';
select is(said('admin', format('select audit.change_search(%L) ->> ''shared''', jsonb_build_object('id', id, 'shared', false))), 'false', 'what was shared is taken back') from kept where label = 'admin-Ours';
select is(
  (select jsonb_agg(details order by n) from told where n > 1),
  '[{"changes": {"query": {"old": "email:\"***\" outcome:denied", "new": "action:c.*"}}}, {"old": {"name": "Ours", "query": "action:c.*"}}]', 'each is an entry'
);
select is(said('admin', format('select audit.delete_search(%L) ->> ''name''', jsonb_build_object('id', id))), 'Ours', 'it is deleted') from kept where label = 'admin-Ours';
select is((select count(*) from told), 3::bigint, 'which concerns nobody else any more');
select is(said('admin', format('select audit.delete_search(%L)', jsonb_build_object('id', id))), 'AUNOT', 'once') from kept where label = 'admin-Ours';

-- What cannot be kept
select throws_ok(format('select audit.checked_search(null, %L)', r), c, null, 'refused: ' || r) from (values
  ('{"name": "", "query": ""}', 'AUARG'), ('{"name": "a"}', 'AUARG'), (jsonb_build_object('name', repeat('a', 101), 'query', '')::text, 'AUARG'), ('{"name": "a", "query": "((("}', 'AUQRY')
) v (r, c);
select is(pg_temp.save('admin', 'Mine', '', false), 'AUARG', 'a name is given once');
select is(said('admin', format('select audit.save_search(%L)', jsonb_build_object('organization_id', acme(), 'name', 'x', 'query', '', 'owner', person('member')))), 'AUARG', 'nobody keeps a search for another');
insert into audit.saved_searches (organization_id, owner, name, query) select acme(), person('member'), n::text, '' from generate_series(1, 99) n;
select is(pg_temp.save('member', 'one too many', '', false), 'AUARG', 'at most a hundred');
