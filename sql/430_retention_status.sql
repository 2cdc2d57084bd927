-- What is kept where, for people: the periods in force, what waits, who holds, and how far back each place reaches.

create or replace function audit.archived_before(organization_id uuid)
  returns timestamptz
  language sql
  stable
  security definer -- says from when on there is more in the archive, nothing of what is in it
  set search_path = ''
as $$
  select max(b.created_at)
  from audit.chain_bounds b
  where b.organization_id = archived_before.organization_id and audit.reach(archived_before.organization_id) is not null
    and exists (
      select from audit.logs l
      where l.organization_id = archived_before.organization_id and l.month is not null and l.archive_deletion_began_at is null
        and l.first_at <= b.created_at
    )
$$;

comment on function audit.archived_before(uuid) is
  'Up to when entries of an organisation may be in the archive only; null where all that there is is in the database.';

create or replace function audit.retention_status()
  returns table (
    organization_id uuid,
    database_days int,
    archive_days int,
    chosen boolean,
    next_database_days int,
    next_archive_days int,
    next_at timestamptz,
    holds text[],
    oldest_in_database timestamptz,
    oldest_in_archive timestamptz,
    archived_before timestamptz
  )
  language sql
  stable
  security definer -- periods and holds are shown to those who read all of the organisation's log
  set search_path = ''
as $$
  select o.organization_id, t.database_days, t.archive_days, coalesce(p.organization_id = o.organization_id, false),
    case when p.effective_at > clock_timestamp() then p.database_days end,
    case when p.effective_at > clock_timestamp() then p.archive_days end,
    case when p.effective_at > clock_timestamp() then p.effective_at end,
    array(
      select h.name from audit.holds h
      where h.organization_id in (o.organization_id, audit.system_organization()) and h.released_at is null
      order by h.placed_at
    ),
    (select a.created_at from public.audit_logs a where a.organization_id = o.organization_id order by a.created_at limit 1),
    (
      select min(l.first_at) from audit.logs l
      where l.organization_id = o.organization_id and l.published > 0 and l.archive_deletion_began_at is null
    ),
    audit.archived_before(o.organization_id)
  from (
    select h.organization_id from audit.heads h
    union
    select r.organization_id from audit.retention_periods r
  ) o
  cross join lateral audit.retention_of(o.organization_id) t
  left join lateral (
    select r.* from audit.retention_periods r
    where r.organization_id in (o.organization_id, audit.system_organization())
    order by r.organization_id = audit.system_organization()
    limit 1
  ) p on true
  where audit.reach(o.organization_id) = 'all'
$$;

comment on function audit.retention_status() is 'What the view audit.retention shows.';

create or replace view audit.retention
  with (security_invoker = true)
as
  select * from audit.retention_status();

comment on view audit.retention is
  'How long each organisation''s entries are kept (null: for ever), what shorter period waits to take effect, which holds
stop it, and how far back database and archive reach. For those who read all of the organisation''s log.';
