-- Partial files of the archive that a full one replaced. Every checkpoint has some, three or four, so that readers have it
-- whole; when the full ones are there they say nothing more, and C2SP tlog-tiles lets them go. The function audit-jobs
-- removes them: those whose full files were read back and were right, and an hour after readers got the checkpoint that
-- has the full ones, for who is reading by an older one.

alter table audit.logs add column if not exists trimmed bigint not null default 0;

comment on column audit.logs.trimmed is 'Up to which size the archive was rid of partial files that a full one replaced.';

create or replace function audit.superseded_files(at_most int default 100, grace interval default '1 hour')
  returns table (log int, folder text, size bigint, tiles jsonb)
  language sql
  stable
  set search_path = ''
as $$
  with due as (
    select l.id, l.trimmed, s.size,
      case when l.month is null then 'anchor' else l.organization_id || '/' || to_char(l.month, 'YYYY-MM') end as folder
    from audit.logs l
    cross join lateral (
      select coalesce(max(c.size), 0) as size from audit.checkpoints c
      where c.log = l.id and c.size <= l.published and c.published_at < clock_timestamp() - superseded_files.grace
    ) c
    -- Sixteen bundles at a time: there may be a checkpoint for each entry.
    cross join lateral (select least(l.read_back, c.size, l.trimmed + 4096) / 256 * 256 as size) s
    where l.read_back / 256 > l.trimmed / 256 and l.archive_deletion_began_at is null and s.size > l.trimmed
    limit at_most
  )
  select d.id, d.folder, d.size, coalesce(t.tiles, '[]')
  from due d
  cross join lateral (
    select jsonb_agg(jsonb_build_object('level', f.level, 'index', f.index, 'width', f.width)) as tiles
    from (
      select distinct v.level, c.size / v.span as index, c.size % v.span / (v.span / 256) as width
      from (
        select n as level, (256::numeric ^ (n + 1))::bigint as span from generate_series(0, 6) n
      ) v
      -- Those between what was full before and what is full now.
      join audit.checkpoints c on c.log = d.id and c.size >= d.trimmed / v.span * v.span and c.size < d.size / v.span * v.span
    ) f
    where f.width > 0
  ) t
$$;

comment on function audit.superseded_files(int, interval) is
  'Logs with partial files that may go, the size up to which they are meant, and which tiles: those of level 0 with their bundles.';

create or replace function audit.record_trimmed(log int, size bigint)
  returns void
  language sql
  set search_path = ''
as $$
  update audit.logs l set trimmed = record_trimmed.size
  where l.id = record_trimmed.log and l.trimmed < record_trimmed.size and record_trimmed.size <= l.read_back
$$;

comment on function audit.record_trimmed(int, bigint) is 'Notes that the partial files of audit.superseded_files() are gone.';
