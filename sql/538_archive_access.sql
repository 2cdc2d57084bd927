-- The archive as people read it, file by file, through function `audit`. The files themselves lie in Storage.

create or replace function audit.read_archive(organization_id uuid, log text, entries boolean)
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  if audit.reach(read_archive.organization_id) is distinct from 'all' then
    perform audit.fail('AUDEN', 'You do not read all of this organisation''s log.', null,
      'The archive is for admins and auditors. Members find their own activity by searching.');
  end if;
  -- Hashes tell nothing of what was done. Entries do; but who verifies a log reads thousands of files in a row.
  if read_archive.entries and not exists (
    select from public.audit_logs a
    where a.organization_id = read_archive.organization_id
      and a.created_by = auth.uid()
      and a.created_at > clock_timestamp() - interval '1 hour'
      and a.action = 'log.exported'
      and a.resource_type = 'log'
      and a.resource_id = read_archive.log
  ) then
    perform audit.record_reading(
      read_archive.organization_id, 'log.exported', '{"format": "archive"}', 'log', read_archive.log
    );
  end if;
end
$$;

comment on function audit.read_archive(uuid, text, boolean) is
  'Raises AUDEN unless the caller reads all of the organisation''s log. Where entries are read, leaves a log.exported entry, at most one an hour for each person and log.';
