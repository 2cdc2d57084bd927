-- What runs by itself, and that it can.

select results_eq(
  $$ select jobname::text, username::text, active from cron.job where jobname like 'audit-%' order by jobname $$,
  $$ values ('audit-exports', 'postgres', true), ('audit-known-tables', 'postgres', true), ('audit-partitions', 'postgres', true), ('audit-search-index', 'postgres', true) $$,
  'exports, known tables, partitions and the search index are looked after by schedule, as the owner'
);
create function pg_temp.run(command text) returns void language plpgsql as $$ begin execute command; end $$;
select lives_ok(format('select pg_temp.run(%L)', command), jobname || ' runs') from cron.job where jobname like 'audit-%';

-- Calling the jobs
select is(audit.call_jobs('exports'), null, 'without secrets in the Vault nothing is called');
select vault.create_secret('http://127.0.0.1:9/audit-jobs', 'audit_jobs_url'), vault.create_secret('opens it', 'audit_jobs_secret');
select is(audit.continue_exports(), null, 'where no export waits nothing is called');
insert into audit.exports (organization_id, format, filter, state) values (acme(), 'csv', '{"and": []}', 'queued');
select isnt(audit.continue_exports(), null, 'a waiting export calls the jobs');
select results_eq(
  $$ select method::text, url, headers ->> 'authorization' from net.http_request_queue $$,
  $$ values ('POST', 'http://127.0.0.1:9/audit-jobs/exports', 'Bearer opens it') $$,
  'at the address and with the secret of the Vault'
);
