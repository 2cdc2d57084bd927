-- Backup: what a lost database could not be made of again from the archive, which has the entries that were sealed and
-- nothing else. The function audit-jobs reads it in one snapshot, encrypts it with a key that the database does not have, and
-- keeps it for as many days as the setting backup_days says: so what is erased here is gone from the backups too by then.

create table if not exists audit.backups (
  name text not null,
  made_at timestamptz not null,
  parts int not null,
  bytes bigint not null,
  sha256 text not null,
  rows jsonb not null,
  deleted_at timestamptz,
  constraint backups_pkey primary key (name)
);

comment on table audit.backups is 'Backups that were made, read back and found whole; written by audit.record_backup() and audit.record_backups_deleted().';
comment on column audit.backups.name is 'Its objects are called so, followed by the number of the part.';
comment on column audit.backups.made_at is 'The moment that it shows.';
comment on column audit.backups.parts is 'How many objects it consists of.';
comment on column audit.backups.bytes is 'How many bytes they have.';
comment on column audit.backups.sha256 is 'Over all of them, one after the other; in hex.';
comment on column audit.backups.rows is 'How many rows of what it holds.';
comment on column audit.backups.deleted_at is 'When it was deleted; null while it is there.';

revoke all on audit.backups from public, anon, authenticated, service_role;

create or replace function audit.unpublished_chains()
  returns table (organization_id uuid, chain int, from_seq bigint, to_seq bigint)
  language sql
  stable
  set search_path = ''
as $$
  select h.organization_id, h.chain, f.seq, h.seq
  from audit.heads h
  left join audit.sequenced s on s.organization_id = h.organization_id and s.chain = h.chain
  cross join lateral (
    select coalesce(
      (
        select min(greatest(r.from_seq, r.from_seq + l.published - r.start))
        from audit.logs l
        join audit.log_ranges r on r.log = l.id
        where l.organization_id = h.organization_id and l.sequenced > l.published and r.chain = h.chain
          and r.start + r.to_seq - r.from_seq >= l.published
      ),
      coalesce(s.seq, 0) + 1
    ) as seq
  ) f
  where f.seq <= h.seq
$$;

comment on function audit.unpublished_chains() is 'Of each chain, the entries that no checkpoint covers that readers have: the archive may not have them.';

create or replace function audit.unpublished_entries(at_most int default 50000)
  returns setof text
  language sql
  stable
  set search_path = ''
as $$
  -- By time, so that of each chain it is the beginning.
  select audit.entry_text(a.*::public.audit_logs)
  from audit.unpublished_chains() u
  cross join lateral (
    select a.* from public.audit_logs a
    where a.organization_id = u.organization_id and a.chain = u.chain and a.seq between u.from_seq and u.to_seq
  ) a
  order by a.created_at, a.organization_id, a.chain, a.seq
  limit unpublished_entries.at_most
$$;

comment on function audit.unpublished_entries(int) is
  'The texts of entries that no published checkpoint covers, the oldest first. More than so many wait only where sealing has stopped.';

-- What is in a backup, section by section; 450_restore.sql puts it back. Logs, ranges and sealed entries are not in it: the
-- archive says them, signed. Of checkpoints it has the newest, so that an archive that is older is known to be.
create or replace function audit.backup_sections()
  returns table (section text, query text)
  language sql
  stable
  set search_path = ''
as $$
  values
    ('backup', $q$ select jsonb_build_object(
      'format', 'supabase-audit-logs backup v1', 'made_at', now(), 'incarnation', audit.incarnation(),
      'entries_left_out', (
        select coalesce(sum(u.to_seq - u.from_seq + 1), 0) - (select count(*) from audit.unpublished_entries())
        from audit.unpublished_chains() u
      )
    ) $q$),
    ('restores', 'select to_jsonb(r) - ''transaction_id'' from audit.restores r where r.ended_at is not null'),
    ('settings', 'select to_jsonb(s) from audit.settings s'),
    ('membership', $q$ select jsonb_build_object('source', p.prosrc) from pg_catalog.pg_proc p where p.oid = 'audit.memberships(uuid)'::regprocedure $q$),
    ('tracked_tables', $q$ select jsonb_build_object('table_name', audit.qualified_name(t.table_name), 'options', t.options) from audit.tracked_tables t $q$),
    ('auditors', 'select to_jsonb(a) from audit.auditors a'),
    ('retention_periods', 'select to_jsonb(p) from audit.retention_periods p'),
    ('holds', 'select to_jsonb(h) from audit.holds h'),
    ('chain_bounds', 'select to_jsonb(b) from audit.chain_bounds b'),
    ('purges', 'select to_jsonb(p) from audit.purges p'),
    ('heads', 'select to_jsonb(h) from audit.heads h'),
    ('logs', $q$ select to_jsonb(l) - array['id', 'lease', 'lease_until'] from audit.logs l $q$),
    ('checkpoints', $q$
      select jsonb_build_object(
        'origin', l.origin, 'size', c.size, 'root', encode(c.root, 'hex'), 'frontier', encode(c.frontier, 'hex'), 'note', c.note,
        'recorded_at', c.recorded_at, 'signed_at', c.signed_at, 'published_at', c.published_at, 'cosigned_at', s.cosigned_at
      )
      from audit.logs l
      cross join lateral (
        select c.* from audit.checkpoints c
        where c.log = l.id and c.size in (
          (select max(n.size) from audit.checkpoints n where n.log = l.id and n.note is not null),
          (select max(w.size) from audit.cosigned_checkpoints w where w.log = l.id)
        )
      ) c
      left join audit.cosigned_checkpoints s on s.log = c.log and s.size = c.size
    $q$),
    ('receivers', $q$ select to_jsonb(r) - array['id', 'lease', 'lease_until'] from audit.receivers r $q$),
    ('receiver_logs', $q$
      select to_jsonb(d) - array['receiver', 'log'] || jsonb_build_object('kind', r.kind, 'name', r.name, 'origin', l.origin)
      from audit.receiver_logs d
      join audit.receivers r on r.id = d.receiver
      join audit.logs l on l.id = d.log
    $q$),
    ('findings', 'select to_jsonb(f) - ''id'' from audit.findings f'),
    ('backups', 'select to_jsonb(b) from audit.backups b'),
    -- One that was under way goes on; its transactions are over with the database that they were in.
    ('erasures', 'select to_jsonb(e) - array[''deleted_in'', ''awaited''] from audit.erasures e'),
    ('report_schedules', 'select to_jsonb(s) from audit.report_schedules s'),
    ('reports', 'select to_jsonb(r) - ''lease_until'' from audit.reports r'),
    -- Not their SQL: it is made anew, so that no backup can bring any.
    ('rules', 'select to_jsonb(r) - ''compiled'' from audit.rules r where not audit.is_built_in(r.id)'),
    ('saved_searches', 'select to_jsonb(s) from audit.saved_searches s'),
    ('rule_choices', 'select to_jsonb(c) from audit.rule_choices c'),
    ('rule_tests', 'select to_jsonb(t) from audit.rule_tests t where not audit.is_built_in(t.rule_id)'),
    ('alerts', 'select to_jsonb(a) from audit.alerts a'),
    ('rule_runs', 'select to_jsonb(u) from audit.rule_runs u'),
    ('rule_values', 'select to_jsonb(v) from audit.rule_values v'),
    ('active_hours', 'select to_jsonb(a) from audit.active_hours a'),
    ('budgets_known', 'select to_jsonb(b) from audit.budgets_known b'),
    ('spending', 'select to_jsonb(s) from audit.spending s'),
    ('budget_crossings', 'select to_jsonb(c) from audit.budget_crossings c'),
    ('identities', 'select to_jsonb(i) from audit.identities i'),
    ('personal_values', 'select to_jsonb(v) from audit.personal_values v'),
    ('entries', 'select jsonb_build_object(''text'', e) from audit.unpublished_entries() e')
$$;

comment on function audit.backup_sections() is 'What a backup holds: sections in their order, and the query for the rows of each, one JSON object a row.';

create or replace function audit.record_backup(name text, made_at timestamptz, parts int, bytes bigint, sha256 text, rows jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  insert into audit.backups (name, made_at, parts, bytes, sha256, rows)
  values (
    record_backup.name, record_backup.made_at, record_backup.parts, record_backup.bytes, record_backup.sha256, record_backup.rows
  );
  -- Whoever puts an older backup in its place is found out by this, which the archive has.
  perform audit.record(audit.system_organization(), 'backup.made', 'backup', record_backup.name, jsonb_build_object(
    'made_at', to_jsonb(record_backup.made_at at time zone 'utc'), 'parts', record_backup.parts, 'bytes', record_backup.bytes,
    'sha256', record_backup.sha256
  ));
  perform audit.settle_finding(audit.system_organization(), f.kind, 'backup')
  from unnest(array['backup_failed', 'backup_missed']) f (kind);
end
$$;

comment on function audit.record_backup(text, timestamptz, int, bigint, text, jsonb) is
  'Notes a backup that was stored and read back; leaves a backup.made entry.';

create or replace function audit.record_backups_deleted(names text[])
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  update audit.backups b set deleted_at = clock_timestamp()
  where b.name = any (record_backups_deleted.names) and b.deleted_at is null;
  perform audit.record(audit.system_organization(), 'backup.deleted', 'backup', null, jsonb_build_object('names', to_jsonb(names)));
end
$$;

comment on function audit.record_backups_deleted(text[]) is 'Notes that backups are deleted; leaves a backup.deleted entry.';
