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

do $$
begin
  if to_regprocedure('cron.schedule(text, text, text)') is not null then
    perform cron.schedule('audit-partitions', '17 2 * * *', 'select audit.ensure_partitions()');
    -- Does what the event triggers do, where the server does not let us make them.
    perform cron.schedule('audit-known-tables', '*/10 * * * *', 'select audit.track_known_tables()');
    -- Searches find what is not indexed yet by reading it, so late is only slower.
    perform cron.schedule('audit-search-index', '10 seconds', 'select audit.index_entries()');
    perform cron.schedule('audit-exports', '10 seconds', 'select audit.continue_exports()');
  end if;
end
$$;
