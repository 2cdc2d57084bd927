-- What runs by itself, and that it can.

select results_eq(
  $$ select jobname::text, username::text, active from cron.job where jobname like 'audit-%' order by jobname $$,
  $$ values ('audit-known-tables', 'postgres', true), ('audit-partitions', 'postgres', true) $$,
  'partitions and known tables are looked after by schedule, as the owner'
);
create function pg_temp.run(command text) returns void language plpgsql as $$ begin execute command; end $$;
select lives_ok(format('select pg_temp.run(%L)', command), jobname || ' runs') from cron.job where jobname like 'audit-%';
