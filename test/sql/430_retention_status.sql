-- What people see of retention.

select is(said(name, 'select count(*) from audit.retention where organization_id in (tap.acme(), tap.globex())'), seen, format('%s sees %s', name, seen))
from (values ('admin', '1'), ('auditor', '1'), ('seeing_auditor', '1'), ('stranger', '1'), ('member', '0'), ('viewer', '0'), ('expired_auditor', '0'), ('owner', '2'), ('service_role', '2'), ('anon', '42501')) n (name, seen);
select results_eq(
  format('select database_days, archive_days, chosen, next_at, holds, oldest_in_archive, archived_before from audit.retention where organization_id = %L', acme()),
  $$ values (null::int, null::int, false, null::timestamptz, '{}'::text[], null::timestamptz, null::timestamptz) $$, 'at first nothing'
);
select is(audit.archived_before(acme()), null, 'nothing is in the archive only');

select old_entries(acme(), 900001, 10, '300 days', '0');
select seal();
select is(oldest_in_database, (select min(created_at) from public.audit_logs where organization_id = acme()), 'the oldest entry in the database') from audit.retention where organization_id = acme();
select is(oldest_in_archive, oldest_in_database, 'and in the archive') from audit.retention where organization_id = acme();
select audit.set_retention(acme(), 100, 400), audit.place_hold(acme(), 'Case', 'Court order'), audit.place_hold(audit.system_organization(), 'All', 'Everybody');
select results_eq(
  format('select database_days, archive_days, chosen, next_database_days, next_archive_days, next_at > now(), holds from audit.retention where organization_id = %L', acme()),
  $$ values (null::int, null::int, true, 100, 400, true, '{Case,All}'::text[]) $$, 'what waits, and what holds'
);
select is((select holds from audit.retention where organization_id = globex()), '{All}', 'the project''s hold is everybody''s');
select audit.release_hold(acme(), 'Case'), audit.release_hold(audit.system_organization(), 'All'), set_retention(acme(), 100, 400);
select is(audit.purge(), 7, 'a purge');
select results_eq(
  format('select database_days, archive_days, next_at, holds, oldest_in_archive < oldest_in_database, archived_before < oldest_in_database from audit.retention where organization_id = %L', acme()),
  $$ values (100, 400, null::timestamptz, '{}'::text[], true, true) $$, 'what applies, and how far back each place reaches'
);
select is(audit.archived_before(acme()), (select max(created_at) from audit.chain_bounds where organization_id = acme()), 'up to the last that was purged');
select is(said(name, format('select audit.archived_before(%L) is not null', acme())), said, name || ' is told, or not') from (values ('admin', 'true'), ('member', 'true'), ('viewer', 'false'), ('stranger', 'false'), ('anon', '42501')) n (name, said);
select is(audit.archived_before(globex()), null, 'nothing of another');

-- Searches say so
select is(said('admin', 'select audit.search_page(''{}'') ->> ''archived_before'''), audit.instant_text(audit.archived_before(acme())), 'a page says up to when entries may be in the archive only');
select is(said('stranger', 'select audit.search_page(''{}'') ->> ''archived_before'''), null, 'where none is, it says none');

-- And when the archive is gone too
update audit.logs set archive_deletion_began_at = now() where organization_id = acme();
select is(audit.archived_before(acme()), null, 'what is nowhere is not in the archive');
select is((select oldest_in_archive from audit.retention where organization_id = acme()), null, 'nor said to be');
