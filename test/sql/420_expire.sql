-- When a month's archive may go, and what stays of it.

-- The month that is sealed now becomes one that is over, of entries that are old.
create function pg_temp.close(organization uuid) returns void language sql as $$
  update audit.logs set closed_at = clock_timestamp(), month = month - interval '1 year', origin = origin || ' closed'
  where organization_id = organization and month is not null and closed_at is null;
$$;
create function pg_temp.expired() returns uuid[] language sql as $$ select coalesce(array_agg(organization_id), '{}') from audit.expired_logs() $$;
create function pg_temp.organization(n int) returns uuid language sql return ('0c000000-0000-4000-8000-00000000000' || n)::uuid;

select old_entries(pg_temp.organization(n), 1, 10, '500 days', '300 days') from generate_series(1, 3) n;
select seal();
-- log.opened is of now: as if it were as old as the rest.
update audit.logs l set last_at = now() - interval '300 days' where l.organization_id in (select pg_temp.organization(n) from generate_series(1, 3) n);
select set_retention(pg_temp.organization(1), 90, 299), set_retention(pg_temp.organization(2), 90, 400), set_retention(pg_temp.organization(3), 90, null);
select is(pg_temp.expired(), '{}', 'an open log does not expire');
select pg_temp.close(pg_temp.organization(n)) from generate_series(1, 3) n;
select is(pg_temp.expired(), '{}', 'nor one with entries in the database');
select is(audit.purge(), 30, 'which are purged');
-- And so is log.opened.
grant insert, update on audit.chain_bounds to postgres;
insert into audit.chain_bounds (organization_id, chain, seq, hash, created_at)
  select h.organization_id, h.chain, h.seq, h.hash, h.last_at from audit.heads h where h.chain = audit.log_chain() and h.organization_id in (select pg_temp.organization(n) from generate_series(1, 3) n);
select is(pg_temp.expired(), array[pg_temp.organization(1)], 'then that whose last entry is past its days in the archive');
select is(folder, organization_id || '/' || to_char(now() at time zone 'utc' - interval '1 year', 'YYYY-MM'), 'with the folder that is to go') from audit.expired_logs();

create temporary table gone as select * from audit.expired_logs();
select throws_ok(format('select audit.record_archive_deleted(%s)', log), 'AUARG', null, 'nothing is noted that was not begun') from gone;
select audit.place_hold(pg_temp.organization(1), 'Case', 'Court order');
select is(pg_temp.expired(), '{}', 'what is held does not expire');
select is(audit.begin_archive_deletion(log), false, 'nor may it be deleted') from gone;
select audit.release_hold(pg_temp.organization(1), 'Case');
select is(audit.begin_archive_deletion(log), true, 'else it may') from gone;
select is(audit.begin_archive_deletion(log), true, 'and still may') from gone;
select is(audit.begin_archive_deletion(l.id), false, 'others may not') from audit.logs l where l.organization_id = pg_temp.organization(2);
select audit.place_hold(pg_temp.organization(1), 'Case', 'Court order');
select is(audit.begin_archive_deletion(log), false, 'a hold stops it in the middle') from gone;
select audit.release_hold(pg_temp.organization(1), 'Case');
insert into audit.checkpoints (log, size, root, frontier) select log, 3, sha256('3'), '' from gone;
select audit.record_archive_deleted(log) from gone;
select results_eq(
  $$ select resource_type, resource_id, details - 'database_role' from public.audit_logs where action = 'log.purged' and details ? 'root' $$,
  $$ select 'log', g.origin, jsonb_build_object('origin', g.origin, 'size', c.size, 'root', encode(c.root, 'base64')) from gone g join audit.checkpoints c on c.log = g.log $$,
  'what is gone is said, and the last checkpoint stays, alone'
);
select is_empty('select r.* from audit.log_ranges r join gone g on g.log = r.log', 'where its entries stood is forgotten');
select is(pg_temp.expired(), '{}', 'it does not expire again');
select lives_ok(format('select audit.record_archive_deleted(%s)', log), 'said twice, it is done once') from gone;
select is((select count(*) from public.audit_logs where action = 'log.purged' and details ? 'root'), 1::bigint, 'with one entry');

-- Exports
insert into audit.exports (id, organization_id, format, filter, state, requested_at)
select ('0e000000-0000-4000-8000-00000000000' || n)::uuid, case when n = 5 then globex() else acme() end, 'csv', '{"and": []}', s, clock_timestamp() - age
from (values (1, 'streaming', '31 days'::interval), (2, 'done', '31 days'), (3, 'failed', '32 days'), (4, 'done', '29 days'), (5, 'done', '40 days')) v (n, s, age);
insert into audit.export_parts (export, part, entries, complete, path) values ('0e000000-0000-4000-8000-000000000002', 1, 1, true, 'a/b'), ('0e000000-0000-4000-8000-000000000005', 1, 1, true, null);
select audit.place_hold(globex(), 'Case', 'Court order');
select results_eq(
  'select right(export::text, 1)::int, folder is not null from audit.expired_exports() order by 1', $$ values (1, false), (2, true), (3, true) $$,
  'exports expire after 30 days, those of which Storage may have something with their folder, and not where a hold is'
);
select is((select folder from audit.expired_exports() where right(export::text, 1) = '2'), acme() || '/0e000000-0000-4000-8000-000000000002', 'which is organisation and export');
select audit.forget_exports(array(select x.id from audit.exports x));
select results_eq(
  $$ select right(id::text, 1)::int from audit.exports where id::text like '0e000000-0000-4000-8000-%' order by 1 $$, $$ values (4), (5) $$, 'only what is expired is forgotten'
);
select is((select count(*) from audit.export_parts where export = '0e000000-0000-4000-8000-000000000002'), 0::bigint, 'with its parts');

-- Who may
select is(said(name, statement), '42501', format('%s may not: %s', name, statement)) from unnest(array['anon', 'admin', 'service_role']) name, unnest(array[
  'select audit.begin_archive_deletion(1)', 'select audit.record_archive_deleted(1)', 'select audit.forget_exports(''{}'')'
]) statement;
