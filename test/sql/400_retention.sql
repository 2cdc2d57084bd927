-- Periods: who chooses them, what applies when, and that each choice is an entry.

create temporary view changed as
  select a.organization_id, a.resource_id, a.details, a.created_at from public.audit_logs a where a.action = 'retention.changed';
create function pg_temp.in_force(organization uuid default tap.acme()) returns text language sql as $$
  select concat_ws('/', coalesce(database_days::text, 'ever'), coalesce(archive_days::text, 'ever')) from audit.retention_of(organization)
$$;
create function pg_temp.wait_is_over() returns void language plpgsql as $$
begin
  grant update on audit.retention_periods to postgres;
  update audit.retention_periods set effective_at = clock_timestamp() where effective_at > clock_timestamp();
end
$$;

-- Nothing goes that nobody wanted gone
select is(pg_temp.in_force(), 'ever/ever', 'what was never set is unlimited');

-- Who
select is(
  said(name, format('select audit.set_retention(%L, 400, 2555) > now()', acme())), said, format('%s: %s', name, said)
) from (values ('admin', 'true'), ('owner', 'true'), ('service_role', 'true'), ('member', 'AUDEN'), ('viewer', 'AUDEN'), ('auditor', 'AUDEN'), ('stranger', 'AUDEN'), ('anon', '42501')) n (name, said);
select is(said('admin', format('select audit.set_retention(%L, 400, 2555)', audit.system_organization())), 'AUDEN', 'an admin does not choose for the project');
select is(said('admin', 'select audit.set_retention(null, 400, 2555)'), 'AUDEN', 'nor for nobody');

-- What
select throws_ok(
  format('select audit.set_retention(%L, %s, %s)', acme(), d, a), 'AUARG', null, format('%s days in the database, %s in the archive are refused', d, a)
) from (values
  ('89', '400'), ('0', 'null'), ('-1', 'null'), ('400', '399'), ('null', '400'), ('36501', 'null'), ('400', '36501'), ('2147483647', 'null'), ('90', '89')
) v (d, a);
select throws_ok('select audit.set_retention(null, 400, 2555)', 'AUARG', null, 'no organisation is none');

-- When: shorter later
create temporary table first as select * from audit.retention_periods where organization_id = acme();
select is(pg_temp.in_force(), 'ever/ever', 'a shorter period does not apply at once');
select is(effective_at - changed_at between interval '6 days 23:59' and '7 days 00:01', true, 'but after seven days') from first;
select results_eq(
  'select details - ''database_role'' - ''subject'', organization_id from changed',
  format($q$ select jsonb_build_object(
    'changes', '{"database_days": {"old": null, "new": 400}, "archive_days": {"old": null, "new": 2555}}'::jsonb,
    'effective_at', to_jsonb(effective_at at time zone 'utc')
  ), organization_id from first $q$),
  'of which there is an entry at once, and one however often it is said'
);
select audit.set_retention(acme(), 400, 2555);
select is((select effective_at from audit.retention_periods where organization_id = acme()), effective_at, 'said again, it does not wait anew') from first;
select audit.set_retention(acme(), null, null);
select is(details -> 'cancelled' ->> 'database_days', '400', 'set back, it is cancelled, and the entry says what was') from changed order by created_at desc limit 1;
select pg_temp.wait_is_over();
select is(pg_temp.in_force(), 'ever/ever', 'and never applies');
select audit.set_retention(acme(), 400, 2555);
select pg_temp.wait_is_over();
select is(pg_temp.in_force(), '400/2555', 'after the wait it applies');

-- Longer at once, each for itself
select audit.set_retention(acme(), 500, 2555);
select is(pg_temp.in_force(), '500/2555', 'a longer period applies at once');
select audit.set_retention(acme(), 600, 1000);
select is(pg_temp.in_force(), '600/2555', 'longer here and shorter there: here at once');
select pg_temp.wait_is_over();
select is(pg_temp.in_force(), '600/1000', 'there later');
select audit.set_retention(acme(), 100, null);
select is(pg_temp.in_force(), '600/ever', 'and the other way round');
select audit.set_retention(acme(), 300, null);
select is(pg_temp.in_force(), '600/ever', 'what waits is replaced, and not what applies');
select pg_temp.wait_is_over();
select is(pg_temp.in_force(), '300/ever', 'by what was said last');
select audit.set_retention(acme(), null, null);
select is(pg_temp.in_force(), 'ever/ever', 'for ever, at once');

-- The wait
select audit.configure('shorten_retention_after', '30', acme());
select is(audit.set_retention(acme(), 90, 90) > clock_timestamp() + interval '29 days', true, 'the wait can be longer');
select throws_ok(format('select audit.configure(''shorten_retention_after'', %L)', v), 'AUOPT', null, 'but not ' || v) from unnest(array['0', '-1', '91', '"7"', '1.5', 'null', '99999999999']) v;

-- The project's default
select audit.set_retention(audit.system_organization(), 200, 400);
select pg_temp.wait_is_over();
select is(pg_temp.in_force(globex()), '200/400', 'who has not chosen follows the project');
select is(pg_temp.in_force(audit.system_organization()), '200/400', 'the system organisation too');
select is(pg_temp.in_force(gen_random_uuid()), '200/400', 'and who is not there yet');
select is((select count(*) from changed where organization_id = globex() and resource_id = 'default'), 1::bigint, 'and finds it in the own log');
select is((select count(*) from changed where organization_id = acme() and resource_id = 'default'), 0::bigint, 'who has chosen is not concerned');
select audit.set_retention(globex(), 300, null);
select is(pg_temp.in_force(globex()), '300/ever', 'who chooses longer than the project has it at once');
select audit.set_retention(audit.system_organization(), 90, 90);
select is(pg_temp.in_force(globex()), '300/ever', 'and keeps it whatever the project does');

-- The table
select throws_ok(statement, '42501', null, 'not even postgres may: ' || statement) from (values
  ('insert into audit.retention_periods (organization_id, database_days, effective_at) values (gen_random_uuid(), 90, now())'), ('delete from audit.retention_periods'), ('truncate audit.retention_periods')
) s (statement);
revoke update on audit.retention_periods from postgres;
select throws_ok('update audit.retention_periods set effective_at = now()', '42501', null, 'nor end the wait');
select throws_ok('set local role audit_purger', '42501', null, 'nor become who may');
