-- Every schedule of the product, and the only calls out of the database. Where pg_cron is not installed nothing runs by
-- itself: audit_logs_default then catches entries of months without a partition, searches read what is not indexed, exports
-- wait in their queue; and audit.coverage says what waits.

-- The function audit-jobs does what a database cannot. Where it is and what opens it are secrets of the Vault; without
-- them, or without pg_net, nothing is called.
create or replace function audit.call_jobs(job text)
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_url text;
  v_secret text;
  v_request bigint;
begin
  if to_regclass('vault.decrypted_secrets') is null or to_regproc('net.http_post') is null then
    return null;
  end if;
  -- Dynamic: these schemas need not exist when this function is made.
  execute $q$
    select max(s.decrypted_secret) filter (where s.name = 'audit_jobs_url'), max(s.decrypted_secret) filter (where s.name = 'audit_jobs_secret')
    from vault.decrypted_secrets s where s.name in ('audit_jobs_url', 'audit_jobs_secret')
  $q$ into v_url, v_secret;
  if v_url is null or v_secret is null then
    return null;
  end if;
  execute 'select net.http_post(url := $1, headers := $2, timeout_milliseconds := 60000)'
    into v_request
    using v_url || '/' || call_jobs.job, jsonb_build_object('authorization', 'Bearer ' || v_secret, 'content-type', 'application/json');
  return v_request;
end
$$;

comment on function audit.call_jobs(text) is
  'Asks the function audit-jobs to do a job; null where the Vault has no audit_jobs_url and audit_jobs_secret.';

create or replace function audit.continue_exports()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
begin
  if exists (
    select from audit.exports x
    where x.state = 'queued' or x.state = 'running' and x.lease_until < clock_timestamp()
  ) then
    return audit.call_jobs('exports');
  end if;
  return null;
end
$$;

comment on function audit.continue_exports() is 'Has exports that wait in the queue made; does nothing where none waits.';

create or replace function audit.continue_erasing()
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_steps int := audit.continue_erasures();
begin
  -- Files are removed at once, not with the night's.
  if exists (select from audit.erasures e where e.state = 'files') then
    perform audit.call_jobs('expire');
  end if;
  return v_steps;
end
$$;

comment on function audit.continue_erasing() is 'Goes on with erasures, and has files that they take back removed.';

create or replace function audit.continue_manifests()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
begin
  if exists (select from audit.exports x where x.state = 'done' and x.manifest_note is null)
    or exists (select from audit.erasures e where e.state = 'done' and e.certificate_note is null)
  then
    return audit.call_jobs('manifests');
  end if;
  return null;
end
$$;

comment on function audit.continue_manifests() is 'Has manifests of exports, and certificates of erasures, that are done signed; does nothing where all are.';

create or replace function audit.continue_reports()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
begin
  if exists (
      select from audit.reports r where r.state = 'queued' or r.state = 'running' and r.lease_until < clock_timestamp()
    ) or exists (select from audit.report_schedules s where s.next_at is null or s.next_at <= clock_timestamp())
  then
    return audit.call_jobs('reports');
  end if;
  return null;
end
$$;

comment on function audit.continue_reports() is 'Has reports that wait, or are due by schedule, made; does nothing where none is.';

create or replace function audit.continue_sealing()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
begin
  if exists (select from audit.logs l where l.sequenced > l.published and l.lease_until < clock_timestamp())
    or exists (select from audit.due_organizations())
  then
    return audit.call_jobs('seal');
  end if;
  return null;
end
$$;

comment on function audit.continue_sealing() is 'Has what is due sealed; does nothing where nothing is.';

create or replace function audit.continue_reading_back()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
begin
  if exists (select from audit.due_readings()) then
    return audit.call_jobs('read-back');
  end if;
  return null;
end
$$;

comment on function audit.continue_reading_back() is 'Has the archive read back where something is due; does nothing where nothing is.';

create or replace function audit.continue_deliveries()
  returns bigint
  language sql
  set search_path = ''
as $$
  select count(audit.call_jobs(j.job))
  from (
    select distinct case r.kind when 'mirror' then 'mirror' when 'witness' then 'witness' else 'deliver-checkpoints' end
    from audit.receivers r
    where exists (select from audit.owed_checkpoints o where o.receiver = r.id and o.due)
  ) j (job)
$$;

comment on function audit.continue_deliveries() is
  'Has checkpoints handed to whom outside they are owed; answers how many jobs that took, none where everybody has the newest.';

create or replace function audit.continue_alert_deliveries()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
begin
  if exists (select from audit.due_channels(1)) then
    return audit.call_jobs('deliver-alerts');
  end if;
  return null;
end
$$;

comment on function audit.continue_alert_deliveries() is 'Has what channels are to be told delivered; does nothing where nothing is due.';

-- What the rules have just raised does not wait for the next turn of the deliveries.
create or replace function audit.watch()
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_taken int := audit.evaluate_rules();
begin
  begin
    perform audit.continue_alert_deliveries();
  exception when others then
    null; -- what was evaluated stays; audit-alerts-deliver calls for the same, and fails where it is seen
  end;
  return v_taken;
end
$$;

comment on function audit.watch() is
  'Evaluates the rules on what is new, and has what that raised delivered once it is committed; returns how many entries it looked at.';

create or replace function audit.continue_expiring()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
begin
  if exists (select from audit.expired_logs()) or exists (select from audit.expired_exports(1))
    or exists (select from audit.expired_reports())
    or exists (select from audit.superseded_files(1))
  then
    return audit.call_jobs('expire');
  end if;
  return null;
end
$$;

comment on function audit.continue_expiring() is
  'Has the files of expired archives, exports and reports removed, and superseded ones; does nothing where nothing is.';

create or replace function audit.continue_backups()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_newest timestamptz := (select max(b.made_at) from audit.backups b where b.deleted_at is null);
  v_request bigint;
begin
  if audit.setting('backup_days')::int = 0 or v_newest > clock_timestamp() - interval '1 day' then
    return null;
  end if;
  v_request := audit.call_jobs('backup');
  -- Where nobody can be called there is nothing to miss.
  if v_request is not null
    and coalesce(v_newest, (select min(l.opened_at) from audit.logs l)) < clock_timestamp() - interval '2 days'
  then
    perform audit.note_finding(audit.system_organization(), 'backup_missed', 'backup', jsonb_build_object('newest', v_newest));
  end if;
  return v_request;
end
$$;

comment on function audit.continue_backups() is
  'Has the day''s backup made; does nothing where it is made. That there was none for two days is a finding.';

create or replace function audit.continue_collecting()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_request bigint;
begin
  if not audit.is_collection_due() then
    return null;
  end if;
  v_request := audit.call_jobs('collect-logs');
  -- Where nobody can be called there is nothing to miss. Lines are taken in for a day.
  if v_request is not null and (select c.lag_seconds > 3600 from audit.log_collection_status c) then
    perform audit.note_finding(
      audit.system_organization(), 'logs_late', 'log_collection',
      (select to_jsonb(c) - '{every_seconds,failures}'::text[] from audit.log_collection_status c)
    );
  end if;
  return v_request;
end
$$;

comment on function audit.continue_collecting() is
  'Has the project''s logs collected when it is time. That they are more than an hour behind is a finding.';

create or replace function audit.prune_job_runs()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_pruned bigint;
begin
  if to_regclass('cron.job_run_details') is null then
    return 0;
  end if;
  -- By command: of a schedule that is gone there is no job any more. What others have scheduled is theirs. The last run of
  -- each stays: it says since when there was none (603).
  execute $q$
    delete from cron.job_run_details d
    where d.command ~ '^\s*select audit\.'
      and coalesce(d.end_time, d.start_time) < clock_timestamp() - case d.status when 'succeeded' then interval '1 hour' else interval '7 days' end
      and d.runid not in (select max(n.runid) from cron.job_run_details n group by n.jobid)
  $q$;
  get diagnostics v_pruned = row_count;
  return v_pruned;
end
$$;

comment on function audit.prune_job_runs() is
  'Deletes what pg_cron keeps of our runs, the last of each job apart: an hour after a success, a week after a failure. It would keep everything, 200,000 rows a day.';

-- Before version 1.5 pg_cron takes no seconds: there, what is due every few of them is due every minute.
create or replace function pg_temp.schedule(job text, schedule text, command text)
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  perform cron.schedule(job, schedule, command);
exception when others then
  if schedule !~ 'seconds$' then
    raise;
  end if;
  perform cron.schedule(job, '* * * * *', command);
end
$$;

do $$
begin
  if to_regprocedure('cron.schedule(text, text, text)') is not null then
    perform pg_temp.schedule('audit-partitions', '17 2 * * *', 'select audit.ensure_partitions()');
    -- Does what the event triggers do, where the server does not let us make them.
    perform pg_temp.schedule('audit-known-tables', '*/10 * * * *', 'select audit.track_known_tables()');
    perform pg_temp.schedule('audit-auth-tables', '3-59/10 * * * *', 'select audit.track_auth()');
    -- What Auth could not wait for; the log lacks it for so long.
    perform pg_temp.schedule('audit-auth-events', '5 seconds', 'select audit.settle_waiting_auth()');
    perform pg_temp.schedule('audit-auth-sightings', '47 * * * *', 'select audit.forget_auth_sightings()');
    -- Searches find what is not indexed yet by reading it, so late is only slower.
    perform pg_temp.schedule('audit-search-index', '5 seconds', 'select audit.index_entries()');
    -- A minute late at most, and an hour is judged when it is over: later is late, never twice.
    perform pg_temp.schedule('audit-anomalies', '* * * * *', 'select audit.detect_anomalies()');
    perform pg_temp.schedule('audit-exports', '10 seconds', 'select audit.continue_exports()');
    -- Missed, reports are late; what was due by schedule is caught up once.
    perform pg_temp.schedule('audit-reports', '10 seconds', 'select audit.continue_reports()');
    -- Missed, an erasure takes longer; its state says where it is.
    perform pg_temp.schedule('audit-erasures', '5 seconds', 'select audit.continue_erasing()');
    perform pg_temp.schedule('audit-manifests', '10 seconds', 'select audit.continue_manifests()');
    -- What is new waits for the next turn; a turn that finds another at work ends.
    perform pg_temp.schedule('audit-rules', '3 seconds', 'select audit.watch()');
    perform pg_temp.schedule('audit-checks', '* * * * *', 'select audit.run_checks(), audit.run_digests()');
    perform pg_temp.schedule('audit-rules-prune', '*/10 * * * *', 'select audit.prune_rules()');
    -- Missed or doubled, it does no harm: what is due stays due, and a log belongs to one run at a time.
    perform pg_temp.schedule('audit-seal', '5 seconds', 'select audit.continue_sealing()');
    perform pg_temp.schedule('audit-anchor', '*/5 * * * *', 'select audit.anchor_checkpoints()');
    -- Missed, an archive that was damaged is found later, and nothing is purged meanwhile.
    perform pg_temp.schedule('audit-read-back', '* * * * *', 'select audit.continue_reading_back()');
    perform pg_temp.schedule('audit-verify', '* * * * *', 'select audit.continue_verification()');
    perform pg_temp.schedule('audit-deliveries', '10 seconds', 'select audit.continue_deliveries()');
    -- Missed, alerts are late; doubled, each message still belongs to one run.
    perform pg_temp.schedule('audit-alerts-deliver', '2 seconds', 'select audit.continue_alert_deliveries()');
    perform pg_temp.schedule('audit-deliveries-prune', '23 * * * *', 'select audit.prune_deliveries()');
    -- Whom the functions' environment names, only they know: they register it when they run, also where nothing is owed.
    perform pg_temp.schedule('audit-receivers', '*/5 * * * *', $cron$
      select audit.call_jobs(job) from unnest(array['deliver-checkpoints', 'mirror', 'witness']) job
    $cron$);
    -- Only where the setting collect_logs_every says so. Missed, lines of up to a day are caught up with.
    perform pg_temp.schedule('audit-collect-logs', '30 seconds', 'select audit.continue_collecting()');
    perform pg_temp.schedule('audit-forget', '23 * * * *', 'select audit.forget_seen_logs(), audit.forget_event_keys(), audit.forget_client_rates()');
    -- A batch at a time; where nothing is past its retention it looks and ends.
    perform pg_temp.schedule('audit-purge', '30 seconds', 'select audit.purge()');
    perform pg_temp.schedule('audit-empty-partitions', '*/10 * * * *', 'select audit.drop_empty_partition()');
    perform pg_temp.schedule('audit-expire', '41 * * * *', 'select audit.continue_expiring()');
    perform pg_temp.schedule('audit-cron-prune', '*/10 * * * *', 'select audit.prune_job_runs()');
    -- Once a day; one that failed is tried again an hour later.
    perform pg_temp.schedule('audit-backup', '29 * * * *', 'select audit.continue_backups()');
  end if;
end
$$;

drop function pg_temp.schedule(text, text, text);
