-- Reading a project's logs from the Management API, where no drain sends them: how far the function audit-jobs is.
-- Windows overlap, because lines come late; what was taken in before is taken in once (audit.seen_logs).

create table if not exists audit.log_collection (
  only_row boolean constraint log_collection_pkey primary key default true constraint there_is_one check (only_row),
  collected_until timestamptz,
  resume_after text,
  last_run_at timestamptz,
  next_at timestamptz not null default '-infinity',
  lease uuid,
  lease_until timestamptz not null default '-infinity',
  failures int not null default 0,
  last_error text
);

comment on table audit.log_collection is 'How far the project''s logs were read from the Management API.';
comment on column audit.log_collection.only_row is 'There is one row.';
comment on column audit.log_collection.collected_until is 'Up to when all lines were read; null before the first run.';
comment on column audit.log_collection.resume_after is 'The last line of that moment that was read, where a run had to stop there; null where it had read all.';
comment on column audit.log_collection.last_run_at is 'When lines were last read.';
comment on column audit.log_collection.next_at is 'Not before then: the API asked to wait, or the last run failed.';
comment on column audit.log_collection.lease is 'Whose turn it is.';
comment on column audit.log_collection.lease_until is 'Until when that run may go on.';
comment on column audit.log_collection.failures is 'How many runs failed since the last that did not.';
comment on column audit.log_collection.last_error is 'Why the last run failed, in a word; null where it did not.';

insert into audit.log_collection default values on conflict do nothing;

create or replace function audit.is_collection_due()
  returns boolean
  language sql
  stable
  set search_path = ''
as $$
  select (audit.setting('collect_logs_every'))::int > 0
    and c.lease_until < clock_timestamp() and c.next_at < clock_timestamp()
    and (
      c.resume_after is not null or c.last_run_at is null
      or c.last_run_at <= clock_timestamp() - make_interval(secs => (audit.setting('collect_logs_every'))::int)
    )
  from audit.log_collection c
$$;

comment on function audit.is_collection_due() is 'Whether logs are to be collected by the setting collect_logs_every and it is time.';

create or replace function audit.claim_collection(lease interval default interval '90 seconds')
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_claim jsonb;
begin
  update audit.log_collection c set lease = gen_random_uuid(), lease_until = clock_timestamp() + claim_collection.lease
  where c.lease_until < clock_timestamp() and c.next_at < clock_timestamp()
  returning jsonb_build_object(
    'lease', c.lease,
    -- What is older is no longer taken in. What comes late is found by looking back.
    'from', to_char(greatest(
      case
        when c.collected_until is null then clock_timestamp() - interval '1 hour'
        when c.resume_after is null then c.collected_until - interval '10 minutes'
        else c.collected_until
      end,
      clock_timestamp() - audit.oldest_log_line()
    ) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
    'after', coalesce(c.resume_after, ''),
    'accessed', exists (select from audit.settings s where s.name = 'api_access' and s.value <> '"off"')
  ) into v_claim;
  return v_claim;
end
$$;

comment on function audit.claim_collection(interval) is
  'Takes the turn to collect logs: after which line, and whether requests that were not denied are wanted; null while it is another''s, or too early.';

create or replace function audit.record_collected(lease uuid, collected_until timestamptz, resume_after text, ends boolean)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  update audit.log_collection c set
    collected_until = record_collected.collected_until, resume_after = record_collected.resume_after,
    last_run_at = clock_timestamp(), failures = 0, last_error = null, next_at = '-infinity',
    lease_until = case when record_collected.ends then '-infinity' else c.lease_until end
  where c.lease = record_collected.lease and c.lease_until > clock_timestamp();
  if not found then
    perform audit.fail('AULSE', 'Another run collects the logs now.');
  end if;
end
$$;

comment on function audit.record_collected(uuid, timestamptz, text, boolean) is
  'Notes up to which line all were read, and gives the turn back where the run ends.';

create or replace function audit.fail_collection(lease uuid, error text, retry_after double precision default null)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  update audit.log_collection c set
    failures = c.failures + 1, last_error = fail_collection.error, lease_until = '-infinity',
    next_at = clock_timestamp() + make_interval(secs => least(
      3600, greatest(fail_collection.retry_after, 30 * 2 ^ least(c.failures, 7))
    ))
  where c.lease = fail_collection.lease;
end
$$;

comment on function audit.fail_collection(uuid, text, double precision) is
  'Notes why a run failed and when the next may be: after what the API asked for, and longer each time, an hour at most.';

create or replace view audit.log_collection_status as
  select audit.setting('collect_logs_every')::int as every_seconds, c.collected_until,
    extract(epoch from clock_timestamp() - c.collected_until)::int as lag_seconds, c.last_run_at, c.failures, c.last_error
  from audit.log_collection c;

comment on view audit.log_collection_status is 'How far behind the collection of logs is, in seconds, and what keeps it; every_seconds 0: it is off.';
