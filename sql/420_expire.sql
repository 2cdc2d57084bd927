-- The archive's retention: a month's archive goes whole, when all of it is past its retention and none of its entries is
-- in the database any more. The function audit-jobs removes the files; what it may remove is said here, and noted here.
-- The log's last checkpoint stays, in the database and in the archive: later months commit to it.

alter table audit.logs add column if not exists archive_deletion_began_at timestamptz;
alter table audit.logs add column if not exists archive_deleted_at timestamptz;

comment on column audit.logs.archive_deletion_began_at is 'Since when the archive is being deleted: it is no longer whole.';
comment on column audit.logs.archive_deleted_at is 'When the last of it but the checkpoint was deleted.';

create or replace function audit.expired_logs()
  returns table (log int, organization_id uuid, origin text, folder text)
  language sql
  stable
  set search_path = ''
as $$
  select l.id, l.organization_id, l.origin, concat(l.organization_id, '/', to_char(l.month, 'YYYY-MM'))
  from audit.logs l
  cross join lateral audit.retention_of(l.organization_id) t
  where l.closed_at is not null and l.month is not null and l.published = l.sequenced and l.archive_deleted_at is null
    and l.last_at < date_trunc('day', clock_timestamp() - make_interval(days => t.archive_days), 'UTC')
    and not audit.is_held(l.organization_id)
    and not exists (
      select from audit.log_ranges r
      left join audit.chain_bounds b on b.organization_id = r.organization_id and b.chain = r.chain
      where r.log = l.id and r.to_seq > coalesce(b.seq, 0)
    )
  order by l.month, l.id
$$;

comment on function audit.expired_logs() is
  'Closed logs whose archive is past its retention and not held, with the folder that is to go, the oldest first.';

create or replace function audit.begin_archive_deletion(log int)
  returns boolean
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  perform audit.await_purge();
  update audit.logs l set archive_deletion_began_at = coalesce(l.archive_deletion_began_at, clock_timestamp())
  where l.id = begin_archive_deletion.log and l.id in (select e.log from audit.expired_logs() e);
  if not found then
    return false;
  end if;
  -- A second archive that has not caught up would wait for files that are going.
  delete from audit.receiver_logs d using audit.receivers r
  where r.id = d.receiver and r.kind = 'mirror' and d.log = begin_archive_deletion.log;
  return true;
end
$$;

comment on function audit.begin_archive_deletion(int) is
  'Whether files of a log''s archive may be removed now, which is noted. Asked before every batch: a hold stops it.';

create or replace function audit.record_archive_deleted(log int)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_log audit.logs;
begin
  update audit.logs l set archive_deleted_at = clock_timestamp()
  where l.id = record_archive_deleted.log and l.archive_deletion_began_at is not null and l.archive_deleted_at is null
  returning l.* into v_log;
  if not found then
    if exists (select from audit.logs l where l.id = record_archive_deleted.log and l.archive_deleted_at is not null) then
      return;
    end if;
    perform audit.fail('AUARG', 'The archive of this log was not to be deleted.', null, 'Ask audit.begin_archive_deletion() first.');
  end if;
  perform audit.record(v_log.organization_id, 'log.purged', 'log', v_log.origin, (
    select jsonb_build_object('origin', v_log.origin, 'size', c.size, 'root', encode(c.root, 'base64'))
    from audit.checkpoints c
    where c.log = v_log.id and c.size = v_log.published
  ));
  -- Nothing is left that they lead to.
  delete from audit.log_ranges r where r.log = v_log.id;
  delete from audit.checkpoints c where c.log = v_log.id and c.size < v_log.published;
end
$$;

comment on function audit.record_archive_deleted(int) is
  'Notes that a log''s archive is gone but for its checkpoint; leaves a log.purged entry with origin, size and root.';
