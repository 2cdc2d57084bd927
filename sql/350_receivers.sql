-- Whom checkpoints leave the project for, and how far each is: receivers (webhooks, buckets), mirrors, which get the whole
-- archive, and witnesses. Who they are, and their secrets, the functions' environment says (functions/audit-jobs); here
-- stands what is owed to whom. Without anyone outside, nobody could hold the database's owner to what was signed.

create table if not exists audit.receivers (
  id int generated always as identity primary key,
  kind text not null,
  name text not null,
  all_logs boolean not null,
  registered_at timestamptz not null default clock_timestamp(),
  disabled_at timestamptz,
  tried_at timestamptz not null default '-infinity',
  succeeded_at timestamptz,
  attempts int not null default 0,
  next_try_at timestamptz not null default '-infinity',
  last_error text,
  lease uuid,
  lease_until timestamptz not null default '-infinity',
  constraint one_receiver_a_name unique (kind, name),
  constraint receiver_kind_is_known check (kind in ('webhook', 'bucket', 's3', 'mirror', 'witness'))
);

comment on table audit.receivers is 'Whom outside checkpoints are for, as the functions'' environment names them; written by the functions of 350.';
comment on column audit.receivers.id is 'Short name for it in receiver_logs.';
comment on column audit.receivers.kind is 'webhook, bucket or s3: gets checkpoints. mirror: gets the archive. witness: cosigns the anchor log.';
comment on column audit.receivers.name is 'Its name in the configuration.';
comment on column audit.receivers.all_logs is 'Whether it gets the checkpoints of all logs, or those of the anchor log, which stand for all.';
comment on column audit.receivers.registered_at is 'When it was first seen in the configuration.';
comment on column audit.receivers.disabled_at is 'When it said that it is gone for good; null while it is asked. audit.enable_receiver() asks again.';
comment on column audit.receivers.tried_at is 'When it was last asked.';
comment on column audit.receivers.succeeded_at is 'When it last took what it was given; of a witness, the time of its cosignature.';
comment on column audit.receivers.attempts is 'How many times in a row it did not.';
comment on column audit.receivers.next_try_at is 'Before that it is left alone.';
comment on column audit.receivers.last_error is 'Why it did not, in a word; null where it did.';
comment on column audit.receivers.lease is 'Which run serves it; another may once lease_until is over.';
comment on column audit.receivers.lease_until is 'Until when that run has it for itself.';

create table if not exists audit.receiver_logs (
  -- No foreign keys: sealing notes here what is owed, and must neither fail nor wait because somebody is just taken away.
  receiver int not null,
  log int not null,
  newest bigint not null default 0,
  size bigint not null default 0,
  copied bigint not null default 0,
  delivered_at timestamptz,
  next_try_at timestamptz not null default '-infinity',
  last_error text,
  constraint receiver_logs_pkey primary key (receiver, log)
);

comment on table audit.receiver_logs is 'How far each receiver is with each log that it is for.';
comment on column audit.receiver_logs.receiver is 'The receiver.';
comment on column audit.receiver_logs.log is 'The log.';
comment on column audit.receiver_logs.newest is 'The newest checkpoint that there is.';
comment on column audit.receiver_logs.size is 'The newest checkpoint that it has.';
comment on column audit.receiver_logs.copied is 'Of a mirror: up to where it has the full tiles and bundles.';
comment on column audit.receiver_logs.delivered_at is 'Since when it has the checkpoint.';
comment on column audit.receiver_logs.next_try_at is 'Before that this log is left alone: what is wrong is not the receiver''s.';
comment on column audit.receiver_logs.last_error is 'What is wrong with the log, in a word.';

-- What is owed is few of many, for old months never change; and who waits longest is next.
create index if not exists receiver_logs_owed_idx on audit.receiver_logs (receiver, delivered_at nulls first, log) where newest > size;

create or replace function audit.owe_checkpoint()
  returns trigger
  language plpgsql
  set search_path = ''
as $$
begin
  insert into audit.receiver_logs as d (receiver, log, newest)
  select r.id, new.id, new.published
  from audit.receivers r
  where r.all_logs or new.month is null
  order by r.id
  on conflict on constraint receiver_logs_pkey do update set newest = greatest(d.newest, excluded.newest);
  return null;
end
$$;

comment on function audit.owe_checkpoint() is 'Notes for whom a checkpoint is that was published.';

create or replace trigger owe_checkpoint
  after update of published on audit.logs
  for each row
  when (new.published > old.published)
  execute function audit.owe_checkpoint();

create or replace view audit.owed_checkpoints as
  select r.id as receiver, r.kind, r.name, o.log, o.is_anchor, o.newest as size, o.size as delivered, o.last_error,
    r.disabled_at is null and r.lease_until < clock_timestamp()
      and greatest(r.next_try_at, o.next_try_at) <= clock_timestamp() as due
  from audit.receivers r
  cross join lateral (
    select d.*, l.month is null as is_anchor
    from audit.receiver_logs d
    join audit.logs l on l.id = d.log
    where d.receiver = r.id and d.newest > d.size
    union all
    -- A witness says each hour that nothing happened, and what a mirror has is as good as the archive.
    select d.*, true
    from audit.logs l
    join audit.receiver_logs d on d.receiver = r.id and d.log = l.id
    where l.organization_id = audit.system_organization() and l.month is null and d.newest <= d.size and case r.kind
        when 'witness' then r.tried_at < clock_timestamp() - interval '1 hour'
        when 'mirror' then exists (
          select from audit.cosigned_checkpoints s
          where s.log = d.log and s.size = d.size and s.cosigned_at > d.delivered_at
        )
      end
  ) o;

comment on view audit.owed_checkpoints is
  'What is owed: the newest checkpoint of each log to each receiver that does not have it. Only the newest: what it replaced is not sent late.';
comment on column audit.owed_checkpoints.receiver is 'The receiver.';
comment on column audit.owed_checkpoints.kind is 'Its kind.';
comment on column audit.owed_checkpoints.name is 'Its name.';
comment on column audit.owed_checkpoints.log is 'The log.';
comment on column audit.owed_checkpoints.is_anchor is 'Whether it is the anchor log.';
comment on column audit.owed_checkpoints.size is 'The checkpoint''s size.';
comment on column audit.owed_checkpoints.delivered is 'The size of the one that it has; 0 for none.';
comment on column audit.owed_checkpoints.last_error is 'What is wrong with the log, in a word.';
comment on column audit.owed_checkpoints.due is 'Whether it is to be asked now: not gone, not being served, and no pause after a failure.';

create or replace function audit.register_receivers(kinds text[], receivers jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_changed record;
begin
  if not exists (
    select
    from jsonb_to_recordset(register_receivers.receivers) c (kind text, name text, all_logs boolean)
    full join (select r.* from audit.receivers r where r.kind = any (register_receivers.kinds)) r
      on r.kind = c.kind and r.name = c.name and r.all_logs = c.all_logs
    where r.id is null or c.kind is null
  ) then
    return;
  end if;

  -- Whoever publishes a checkpoint comes before, and is seen here, or after, and sees the receivers.
  lock table audit.logs in share mode;
  for v_changed in
    with configured as (
      select c.kind, c.name, c.all_logs
      from jsonb_to_recordset(register_receivers.receivers) c (kind text, name text, all_logs boolean)
    ),
    removed as (
      delete from audit.receivers r
      where r.kind = any (register_receivers.kinds)
        and not exists (select from configured c where c.kind = r.kind and c.name = r.name)
      returning r.id, r.kind, r.name, r.all_logs
    ),
    added as (
      insert into audit.receivers as r (kind, name, all_logs)
      select c.kind, c.name, c.all_logs from configured c
      on conflict on constraint one_receiver_a_name do update set all_logs = excluded.all_logs
        where r.all_logs <> excluded.all_logs
      returning r.id, r.kind, r.name, r.all_logs
    )
    select false as stays, r.* from removed r
    union all
    select true, a.* from added a
  loop
    delete from audit.receiver_logs d
    where d.receiver = v_changed.id
      and not (v_changed.stays and (v_changed.all_logs or d.log = (select l.id from audit.logs l where l.month is null)));
    insert into audit.receiver_logs (receiver, log, newest)
    select v_changed.id, l.id, l.published
    from audit.logs l
    where v_changed.stays and l.published > 0 and (v_changed.all_logs or l.month is null)
      and not (v_changed.kind = 'mirror' and l.archive_deletion_began_at is not null)
    on conflict on constraint receiver_logs_pkey do nothing;
    -- Who takes a witness away should not do it unseen.
    perform audit.record(
      audit.system_organization(), case when v_changed.stays then 'integration.configured' else 'integration.removed' end,
      'receiver', v_changed.name, jsonb_build_object('kind', v_changed.kind, 'all_logs', v_changed.all_logs)
    );
  end loop;
end
$$;

comment on function audit.register_receivers(text[], jsonb) is
  'Notes who the receivers of some kinds are, as the environment of the functions has them: [{kind, name, all_logs}]. Who
is new or gone leaves an entry.';

create or replace function audit.claim_delivery(kind text, name text, lease interval default '2 minutes')
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_receiver int;
  v_log int;
  v_lease uuid := gen_random_uuid();
begin
  select r.id into v_receiver from audit.receivers r
  where r.kind = claim_delivery.kind and r.name = claim_delivery.name and r.disabled_at is null
    and r.lease_until < clock_timestamp() and r.next_try_at <= clock_timestamp()
  for no key update skip locked;
  -- The anchor log first, which stands for all; then who waits longest.
  select l.id into v_log from audit.logs l where l.organization_id = audit.system_organization() and l.month is null;
  if not exists (select from audit.owed_checkpoints o where o.receiver = v_receiver and o.log = v_log and o.due) then
    v_log := null;
    select d.log into v_log from audit.receiver_logs d
    where d.receiver = v_receiver and d.newest > d.size and d.next_try_at <= clock_timestamp()
    order by d.delivered_at nulls first, d.log
    limit 1;
  end if;
  if v_log is null then
    return null;
  end if;
  update audit.receivers r set
    lease = v_lease, lease_until = clock_timestamp() + claim_delivery.lease, tried_at = clock_timestamp()
  where r.id = v_receiver;
  return (
    select jsonb_build_object(
      'lease', v_lease, 'log', l.id, 'origin', l.origin,
      'folder', case when l.month is null then 'anchor' else l.organization_id || '/' || to_char(l.month, 'YYYY-MM') end,
      'size', c.size, 'note', c.note, 'published_at', audit.instant_text(c.published_at), 'copied', d.copied
    )
    from audit.receiver_logs d
    join audit.logs l on l.id = d.log
    join audit.checkpoints c on c.log = d.log and c.size = d.newest
    where d.receiver = v_receiver and d.log = v_log
  );
end
$$;

comment on function audit.claim_delivery(text, text, interval) is
  'Gives a run one checkpoint to hand to a receiver, which it has for itself until it says what became of it, or the lease
is over; null where nothing is due.';

create or replace function audit.claim_cosigning(lease interval default '2 minutes')
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_claimed jsonb;
begin
  -- One run at a time, so that none writes over the cosignatures of another.
  perform from audit.receivers r where r.kind = 'witness' order by r.id for no key update;
  if exists (select from audit.receivers r where r.kind = 'witness' and r.lease_until >= clock_timestamp()) then
    return null;
  end if;
  with asked as (
    update audit.receivers r set
      lease = gen_random_uuid(), lease_until = clock_timestamp() + claim_cosigning.lease, tried_at = clock_timestamp()
    from audit.owed_checkpoints o
    where o.receiver = r.id and o.kind = 'witness' and o.due
    returning r.name, r.lease, o.log, o.size, o.delivered
  )
  select jsonb_build_object(
    'log', l.id, 'origin', l.origin, 'size', c.size, 'note', c.note,
    'witnesses', jsonb_agg(jsonb_build_object('name', a.name, 'lease', a.lease, 'size', a.delivered) order by a.name)
  )
  into v_claimed
  from asked a
  join audit.logs l on l.id = a.log
  join audit.checkpoints c on c.log = l.id and c.size = a.size
  group by l.id, c.log, c.size;
  return v_claimed;
end
$$;

comment on function audit.claim_cosigning(interval) is
  'Gives a run the anchor log''s newest checkpoint and the witnesses to be asked for their cosignatures, with the size that
each has cosigned; null where none is due.';

create or replace function audit.record_delivery(lease uuid, log int, size bigint, at timestamptz default clock_timestamp())
  returns boolean
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_receiver int;
begin
  update audit.receivers r set
    attempts = 0, next_try_at = '-infinity', last_error = null, lease_until = '-infinity',
    succeeded_at = greatest(r.succeeded_at, record_delivery.at)
  where r.lease = record_delivery.lease and r.lease_until > '-infinity'
  returning r.id into v_receiver;
  update audit.receiver_logs d set
    size = greatest(d.size, record_delivery.size), copied = greatest(d.copied, record_delivery.size),
    delivered_at = clock_timestamp(), next_try_at = '-infinity', last_error = null
  where d.receiver = v_receiver and d.log = record_delivery.log;
  return v_receiver is not null;
end
$$;

comment on function audit.record_delivery(uuid, int, bigint, timestamptz) is
  'Notes that a receiver took a checkpoint, and ends the lease; false where another run has the receiver by now, which will say so itself.';

create or replace function audit.record_copied(lease uuid, log int, copied bigint)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  update audit.receiver_logs d set copied = greatest(d.copied, record_copied.copied)
  from audit.receivers r
  where r.lease = record_copied.lease and d.receiver = r.id and d.log = record_copied.log;
  update audit.receivers r set attempts = 0, last_error = null, lease_until = '-infinity' where r.lease = record_copied.lease;
end
$$;

comment on function audit.record_copied(uuid, int, bigint) is
  'Notes how far a mirror has come with a log that it could not finish in one run, and ends the lease.';

create or replace function audit.fail_delivery(
  lease uuid,
  log int,
  error text,
  retry_after double precision default 0,
  of_log boolean default false,
  gone boolean default false
)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_receiver audit.receivers;
begin
  if fail_delivery.of_log then
    update audit.receiver_logs d set
      next_try_at = clock_timestamp() + interval '10 minutes', last_error = fail_delivery.error
    from audit.receivers r
    where r.lease = fail_delivery.lease and d.receiver = r.id and d.log = fail_delivery.log;
    update audit.receivers r set lease_until = '-infinity' where r.lease = fail_delivery.lease;
    return;
  end if;
  update audit.receivers r set
    attempts = r.attempts + 1, last_error = fail_delivery.error, lease_until = '-infinity',
    -- 10 s, 20 s, 40 s … and at last every hour, or when it asked for it, if that is not the end of time.
    next_try_at = clock_timestamp() + make_interval(secs => greatest(
      least(10 * 2 ^ least(r.attempts, 10), 3600), least(fail_delivery.retry_after, 86400)
    )),
    disabled_at = case when fail_delivery.gone then coalesce(r.disabled_at, clock_timestamp()) else r.disabled_at end
  where r.lease = fail_delivery.lease
  returning r.* into v_receiver;
  if v_receiver.disabled_at is not null then
    perform audit.note_finding(
      audit.system_organization(), 'receiver_gone', v_receiver.name,
      jsonb_build_object('receiver', v_receiver.kind, 'error', fail_delivery.error)
    );
  end if;
end
$$;

comment on function audit.fail_delivery(uuid, int, text, double precision, boolean, boolean) is
  'Notes why a receiver did not take a checkpoint, and ends the lease. It is left alone for a while, the longer the more
often; of_log: only this log is, because the reason is not the receiver''s; gone: for good, which is a finding.';

create or replace function audit.enable_receiver(kind text, name text)
  returns boolean
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  update audit.receivers r set disabled_at = null, attempts = 0, next_try_at = '-infinity', last_error = null
  where r.kind = enable_receiver.kind and r.name = enable_receiver.name;
  if not found then
    perform audit.fail('AUARG', format('There is no %s named %s.', enable_receiver.kind, enable_receiver.name), null,
      'audit.outside lists them; those that are new appear when the functions have run.');
  end if;
  return audit.resolve_finding(audit.system_organization(), 'receiver_gone', enable_receiver.name);
end
$$;

comment on function audit.enable_receiver(text, text) is
  'Has a receiver that said it is gone, or failed often, asked again at once; answers whether that was a finding.';

create or replace view audit.outside as
  select r.kind, r.name, r.succeeded_at as last_success, o.checkpoints as behind_checkpoints, o.entries as behind_entries,
    o.since as behind_since, coalesce(r.last_error, o.last_error) as last_error, r.disabled_at is not null as disabled
  from audit.receivers r
  cross join lateral (
    select coalesce(sum(c.checkpoints), 0)::bigint as checkpoints, coalesce(sum(o.size - o.delivered), 0)::bigint as entries,
      min(c.since) as since, max(o.last_error) as last_error
    from audit.owed_checkpoints o
    cross join lateral (
      select count(*) as checkpoints, min(c.published_at) as since
      from audit.checkpoints c
      where c.log = o.log and c.size > o.delivered and c.published_at is not null
    ) c
    where o.receiver = r.id
  ) o;

comment on view audit.outside is 'Who outside holds the project to what it signed, and whether each has the newest.';
comment on column audit.outside.kind is 'webhook, bucket, s3, mirror or witness.';
comment on column audit.outside.name is 'Its name in the configuration.';
comment on column audit.outside.last_success is 'When it last took what it was given; of a witness, the time of its newest cosignature.';
comment on column audit.outside.behind_checkpoints is 'How many published checkpoints are newer than what it has.';
comment on column audit.outside.behind_entries is 'How many entries, of the logs it is for, it does not know of.';
comment on column audit.outside.behind_since is 'When the oldest of those checkpoints was published; null where it has the newest.';
comment on column audit.outside.last_error is 'Why it does not have the newest, in a word; null where nothing went wrong.';
comment on column audit.outside.disabled is 'Whether it said that it is gone for good, and is no longer asked.';

revoke all on audit.cosigned_checkpoints, audit.receivers, audit.receiver_logs from public, anon, authenticated, service_role;
