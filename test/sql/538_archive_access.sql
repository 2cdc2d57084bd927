-- Who reads files of the archive, and the entry that it leaves.

create function pg_temp.reads(name text, organization uuid, entries boolean) returns text language sql as $$
  select coalesce(said(name, format('select audit.read_archive(%L, %L, %L)', organization, organization || '/2026-11', entries)), 'null')
$$;

select is(pg_temp.reads(name, organization, entries), case when reach = 'all' then '' else 'AUDEN' end, format('%s, whose reach in %s is %s', name, organization, reach))
from person_reach, (values (true), (false)) e (entries) where name not in ('owner', 'service_role');
select is(pg_temp.reads('anon', acme(), false), '42501', 'who is not signed in reads nothing');
select is(pg_temp.reads('admin', null, false), 'AUDEN', 'nothing of no organisation');

create function pg_temp.left(name text) returns text language sql as $$
  select count(*)::text from public.audit_logs where action = 'log.exported' and resource_type = 'log' and created_by = person(name)
$$;
select is(pg_temp.left(name), '1', name || ' left one entry') from (values ('admin'), ('auditor'), ('stranger')) p (name);
select is(pg_temp.left(name), '0', name || ' left none') from (values ('member'), ('viewer'), ('expired_auditor')) p (name);
select is(concat_ws(' ', organization_id, resource_id, details), concat_ws(' ', acme(), acme() || '/2026-11', '{"format": "archive"}'), 'it says which log')
from public.audit_logs where action = 'log.exported' and created_by = person('admin');

select pg_temp.reads('admin', acme(), true) from generate_series(1, 5);
select pg_temp.reads('admin', acme(), false);
select is(pg_temp.left('admin'), '1', 'no more in the same hour');
select said('admin', format('select audit.read_archive(%L, %L, true)', acme(), acme() || '/2026-12'));
select is(pg_temp.left('admin'), '2', 'one more for another month');
