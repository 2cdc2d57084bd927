-- Stand-in for pg_cron 1.6: the same tables, functions and privileges. The clock that runs the jobs is cron.ts.
-- Not imitated: `create extension pg_cron`, @reboot and other names for schedules, other databases.

create schema cron authorization supabase_admin;
create sequence cron.jobid_seq;
create sequence cron.runid_seq;

create table cron.job (
  jobid bigint primary key default nextval('cron.jobid_seq'),
  schedule text not null,
  command text not null,
  nodename text not null default 'localhost',
  nodeport integer not null default inet_server_port(),
  database text not null default current_database(),
  username text not null default current_user,
  active boolean not null default true,
  jobname text,
  constraint jobname_username_uniq unique (jobname, username)
);

create table cron.job_run_details (
  jobid bigint,
  runid bigint primary key default nextval('cron.runid_seq'),
  job_pid integer,
  database text,
  username text,
  command text,
  status text,
  return_message text,
  start_time timestamptz,
  end_time timestamptz
);

alter table cron.job enable row level security;
alter table cron.job_run_details enable row level security;
create policy cron_job_policy on cron.job using (username = current_user);
create policy cron_job_run_details_policy on cron.job_run_details using (username = current_user);

-- pg_cron writes its table as the extension's owner on behalf of the caller. Here a definer function does, and the
-- functions that people call stay invoker's, because only there current_user is the caller.
create function cron.store_job(job_name text, schedule text, command text, username text)
returns bigint language plpgsql security definer set search_path = '' as $$
declare
  stored bigint;
begin
  if not pg_has_role(session_user, username, 'member') then
    raise exception 'must be a member of role "%" to schedule its jobs', username using errcode = '42501';
  end if;
  if schedule !~ '^([1-9]|[1-5][0-9]) seconds?$' and schedule !~ '^\s*(\S+\s+){4}\S+\s*$' then
    raise exception 'invalid schedule: %', schedule
      using hint = 'Use cron format (e.g. 5 4 * * *), or interval format ''[1-59] seconds''';
  end if;
  insert into cron.job (jobname, schedule, command, username)
  values (job_name, store_job.schedule, store_job.command, store_job.username)
  on conflict on constraint jobname_username_uniq
  do update set schedule = excluded.schedule, command = excluded.command
  returning jobid into stored;
  return stored;
end
$$;

create function cron.remove_job(job_id bigint, username text)
returns boolean language plpgsql security definer set search_path = '' as $$
begin
  if not pg_has_role(session_user, username, 'member') then
    raise exception 'must be a member of role "%" to remove its jobs', username using errcode = '42501';
  end if;
  delete from cron.job where jobid = job_id and job.username = remove_job.username;
  return found;
end
$$;

create function cron.schedule(job_name text, schedule text, command text)
returns bigint language sql set search_path = '' as $$
  select cron.store_job(job_name, schedule, command, current_user)
$$;

create function cron.schedule(schedule text, command text)
returns bigint language sql set search_path = '' as $$
  select cron.store_job(null, schedule, command, current_user)
$$;

create function cron.unschedule(job_id bigint)
returns boolean language plpgsql set search_path = '' as $$
begin
  if not cron.remove_job(job_id, current_user) then
    raise exception 'could not find valid entry for job ''%''', job_id;
  end if;
  return true;
end
$$;

create function cron.unschedule(job_name text)
returns boolean language plpgsql set search_path = '' as $$
declare
  job_id bigint;
begin
  select jobid into job_id from cron.job where jobname = job_name and username = current_user;
  if not found then
    raise exception 'could not find valid entry for job ''%''', job_name;
  end if;
  return cron.remove_job(job_id, current_user);
end
$$;

revoke all on all functions in schema cron from public;
grant usage on schema cron to postgres with grant option;
grant select on cron.job to postgres with grant option;
grant select, insert, update, delete, truncate, references on cron.job_run_details to postgres with grant option;
grant execute on all functions in schema cron to postgres;
