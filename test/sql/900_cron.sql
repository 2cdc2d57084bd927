-- What runs by itself, and that it can.

select set_eq(
  $$ select jobname::text from cron.job where jobname like 'audit-%' and username = 'postgres' and active $$,
  array[
    'audit-anchor', 'audit-anomalies', 'audit-backup', 'audit-deliveries', 'audit-empty-partitions', 'audit-expire', 'audit-exports', 'audit-known-tables', 'audit-manifests',
    'audit-partitions', 'audit-purge', 'audit-read-back', 'audit-receivers', 'audit-seal', 'audit-search-index', 'audit-verify'
  ],
  'this is looked after by schedule, as the owner'
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
select is(audit.continue_expiring(), null, 'where nothing is expired nothing is called');
insert into audit.exports (organization_id, format, filter, state, requested_at) values (acme(), 'csv', '{"and": []}', 'done', now() - interval '31 days');
select isnt(audit.continue_expiring(), null, 'an expired export calls the jobs');

-- Checkpoints for whom outside they are owed
delete from net.http_request_queue;
select is(audit.continue_deliveries(), 0::bigint, 'where nobody is registered nothing is called');
select audit.register_receivers('{webhook,mirror,witness}', '[{"kind": "webhook", "name": "a", "all_logs": false}, {"kind": "mirror", "name": "b", "all_logs": true}, {"kind": "witness", "name": "c", "all_logs": false}]');
select audit.record(acme(), 'a.one');
select seal(), audit.anchor_checkpoints(), seal();
select is(audit.continue_deliveries(), 3::bigint, 'each kind has its job');
update audit.receivers set next_try_at = 'infinity' where kind <> 'witness';
select is(audit.continue_deliveries(), 1::bigint, 'who is left alone is not called for');
select bag_eq(
  $$ select substring(url from '[^/]*$') from net.http_request_queue $$,
  array['deliver-checkpoints', 'mirror', 'witness', 'witness'], 'by their names'
);
