-- What runs by itself, and that it can.

select set_eq(
  $$ select jobname::text from cron.job where jobname like 'audit-%' and username = 'postgres' and active $$,
  array[
    'audit-alerts-deliver', 'audit-anchor', 'audit-anomalies', 'audit-auth-events', 'audit-auth-sightings',
    'audit-auth-tables', 'audit-backup', 'audit-checks', 'audit-collect-logs', 'audit-cron-prune', 'audit-deliveries',
    'audit-deliveries-prune', 'audit-empty-partitions', 'audit-erasures', 'audit-expire', 'audit-exports',
    'audit-forget', 'audit-known-tables', 'audit-manifests', 'audit-partitions', 'audit-purge', 'audit-read-back',
    'audit-receivers', 'audit-reports', 'audit-rules', 'audit-rules-prune', 'audit-seal', 'audit-search-index',
    'audit-verify'
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

-- Logs where no drain sends them
delete from net.http_request_queue;
select is(audit.continue_collecting(), null, 'nothing is collected unless somebody asked for it');
select audit.configure('collect_logs_every', '60');
select isnt(audit.continue_collecting(), null, 'then the jobs are called');
select is(array_agg(substring(url from '[^/]*$')), array['collect-logs'], 'by the name') from net.http_request_queue;
select is(count(*), 0::bigint, 'and all is well') from audit.findings where kind = 'logs_late';
update audit.log_collection set collected_until = clock_timestamp() - interval '61 minutes';
select audit.continue_collecting();
select is(count(*), 1::bigint, 'an hour behind is a finding') from audit.findings where kind = 'logs_late' and resolved_at is null;

-- Alerts for channels
delete from net.http_request_queue;
select is(audit.continue_alert_deliveries(), null, 'where no channel is to be told anything nothing is called');
select audit.create_channel(jsonb_build_object('organization_id', acme(), 'kind', 'webhook', 'name', 'hook', 'url', 'https://hooks.example.com/'));
select audit.queue_message(c, acme(), 'alert.opened', '{"title": "x"}') from audit.channels c;
select isnt(audit.continue_alert_deliveries(), null, 'what is due calls the jobs');
select alike(url, '%/deliver-alerts', 'by its name') from net.http_request_queue;
update audit.channels set next_try_at = 'infinity';
select is(audit.continue_alert_deliveries(), null, 'a channel that is left alone is not called for');
update audit.channels set next_try_at = '-infinity';
select audit.take_deliveries();
select is(audit.continue_alert_deliveries(), null, 'nor one that is being told');
update audit.deliveries set state = 'delivered', settled_at = now();
select audit.create_rule(jsonb_build_object('organization_id', acme(), 'name', 'Told at once', 'kind', 'event', 'match', 'action:thing.made'));
select audit.evaluate_rules();
delete from net.http_request_queue;
select audit.watch();
select is_empty('select from net.http_request_queue', 'rules that raise nothing call nobody');
select audit.record(acme(), 'thing.made');
select audit.watch();
select alike(url, '%/deliver-alerts', 'what they raise is delivered without another turn') from net.http_request_queue;

-- What pg_cron keeps of runs
select lives_ok('select audit.prune_job_runs()', 'what is kept of runs is pruned');
insert into cron.job_run_details (runid, command, username, status, start_time, end_time) values (0, 'select mine()', current_user, 'succeeded', now(), now());
insert into cron.job_run_details (runid, command, username, status, start_time, end_time)
select -row_number() over (), command, current_user, status, now() - age, now() - age
from unnest(array['select audit.purge()', E'\n  select audit.call_jobs(job)', 'select mine()']) command,
  unnest(array['succeeded', 'failed']) status, unnest(array['59 minutes', '61 minutes', '8 days']::interval[]) age;
select is(audit.prune_job_runs(), 6::bigint, 'after an hour, and after a week what failed');
select is((select count(*) from cron.job_run_details where command = 'select mine()'), 7::bigint, 'never what others have scheduled');
select is(
  (select count(*) from cron.job_run_details where command ~ 'audit' and (status = 'failed') = (end_time < now() - interval '1 hour')),
  4::bigint, 'a failure is kept longer'
);
insert into cron.job_run_details (jobid, runid, command, username, status, start_time, end_time)
select 900, n, 'select audit.purge()', current_user, 'succeeded', now() - interval '2 hours', now() - interval '2 hours' from unnest(array[-101, -100]) n;
select audit.prune_job_runs();
select results_eq('select runid from cron.job_run_details where jobid = 900', 'values (-100::bigint)', 'the last run of a job stays, however long ago');
