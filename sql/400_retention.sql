-- Retention: for how many days entries stay in the database, and in the archive. Each organisation chooses; the nil UUID
-- is the project's default, for organisations that have not. What was never set is unlimited: nothing goes that nobody
-- wanted gone. 400 days in the database (a yearly audit, and a month to hold it) and 2,555 in the archive (seven years, the
-- longest that the usual frameworks ask) are a sensible choice.
--
-- A longer period applies at once. A shorter one waits, for whoever shortens it may have something to hide: it is an entry
-- of the log at once, and takes effect when somebody had the time to see it there and to set it back.

create table if not exists audit.retention_periods (
  organization_id uuid not null,
  database_days int,
  archive_days int,
  database_days_before int,
  archive_days_before int,
  effective_at timestamptz not null,
  changed_at timestamptz not null default clock_timestamp(),
  constraint retention_periods_pkey primary key (organization_id),
  constraint days_in_range check (
    least(database_days, archive_days, database_days_before, archive_days_before) >= 90
      and greatest(database_days, archive_days, database_days_before, archive_days_before) <= 36500
  ),
  constraint archive_has_no_less check (
    archive_days >= coalesce(database_days, 36501) and archive_days_before >= coalesce(database_days_before, 36501)
  )
);

comment on table audit.retention_periods is 'How long each organisation keeps its entries; written by audit.set_retention() only. Null is unlimited.';
comment on column audit.retention_periods.organization_id is 'Whose entries; the nil UUID for organisations that have not chosen.';
comment on column audit.retention_periods.database_days is 'Days in the database, from effective_at on.';
comment on column audit.retention_periods.archive_days is 'Days in the archive, from effective_at on.';
comment on column audit.retention_periods.database_days_before is 'Days in the database until then.';
comment on column audit.retention_periods.archive_days_before is 'Days in the archive until then.';
comment on column audit.retention_periods.effective_at is 'When a shorter period takes effect; in the past where none waits.';
comment on column audit.retention_periods.changed_at is 'When it was last chosen; the log has every change.';

revoke all on audit.retention_periods from public, anon, authenticated, service_role;
revoke insert, update, delete, truncate on audit.retention_periods from current_user;

create or replace function audit.retention_of(organization_id uuid, out database_days int, out archive_days int)
  language sql
  stable
  set search_path = ''
as $$
  select case when p.effective_at <= clock_timestamp() then p.database_days else p.database_days_before end,
    case when p.effective_at <= clock_timestamp() then p.archive_days else p.archive_days_before end
  from audit.retention_periods p
  where p.organization_id in (retention_of.organization_id, audit.system_organization())
  order by p.organization_id = audit.system_organization()
  limit 1
$$;

comment on function audit.retention_of(uuid) is
  'The periods in force for an organisation: its own, else the project''s; null for unlimited.';

-- What must not happen between a hold, or a longer period, and the batch of a purge that did not see it yet.
create or replace function audit.await_purge()
  returns void
  language sql
  set search_path = ''
as $$
  select pg_advisory_xact_lock(hashtext('audit.purge'))
$$;

comment on function audit.await_purge() is
  'Waits for the batch of a purge that runs, and keeps the next from beginning until this transaction is over.';

create or replace function audit.set_retention(organization_id uuid, database_days int, archive_days int)
  returns timestamptz
  language plpgsql
  security definer -- admins choose periods through this function only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_old audit.retention_periods;
  v_force record;
  -- The longer of what is in force and what is wanted, as null is longer than all.
  v_database int;
  v_archive int;
  v_effective_at timestamptz;
  v_details jsonb;
begin
  perform audit.require_admin(set_retention.organization_id);
  if set_retention.organization_id is null
    or set_retention.database_days not between 90 and 36500 or set_retention.archive_days not between 90 and 36500
    or set_retention.archive_days < coalesce(set_retention.database_days, 36501)
  then
    perform audit.fail('AUARG', 'Entries stay in the database for 90 days or more, and in the archive no shorter.', null,
      'Null is unlimited. For example: select audit.set_retention(organization_id, 400, 2555).');
  end if;
  perform audit.await_purge();
  v_now := clock_timestamp();
  select p.* into v_old from audit.retention_periods p where p.organization_id = set_retention.organization_id;
  if v_old.organization_id is not null and row(v_old.database_days, v_old.archive_days)
    is not distinct from row(set_retention.database_days, set_retention.archive_days)
  then
    return v_old.effective_at; -- said again, what waits does not begin to wait anew
  end if;

  select r.* into v_force from audit.retention_of(set_retention.organization_id) r;
  v_database := case when v_force.database_days is not null and set_retention.database_days is not null
    then greatest(v_force.database_days, set_retention.database_days) end;
  v_archive := case when v_force.archive_days is not null and set_retention.archive_days is not null
    then greatest(v_force.archive_days, set_retention.archive_days) end;
  v_effective_at := v_now + case
    when row(v_database, v_archive) is distinct from row(set_retention.database_days, set_retention.archive_days)
      then make_interval(days => audit.setting('shorten_retention_after', set_retention.organization_id)::int)
    else '0'
  end;
  insert into audit.retention_periods as p
    (organization_id, database_days, archive_days, database_days_before, archive_days_before, effective_at)
  values (
    set_retention.organization_id, set_retention.database_days, set_retention.archive_days, v_database, v_archive, v_effective_at
  )
  on conflict on constraint retention_periods_pkey do update set
    database_days = excluded.database_days, archive_days = excluded.archive_days,
    database_days_before = excluded.database_days_before, archive_days_before = excluded.archive_days_before,
    effective_at = excluded.effective_at, changed_at = v_now;

  v_details := jsonb_build_object(
    'changes', jsonb_build_object(
      'database_days', jsonb_build_object('old', v_force.database_days, 'new', set_retention.database_days),
      'archive_days', jsonb_build_object('old', v_force.archive_days, 'new', set_retention.archive_days)
    ),
    'effective_at', to_jsonb(v_effective_at at time zone 'utc')
  ) || case
    when v_old.effective_at > v_now then jsonb_build_object('cancelled', jsonb_build_object(
      'database_days', v_old.database_days, 'archive_days', v_old.archive_days,
      'effective_at', to_jsonb(v_old.effective_at at time zone 'utc')
    ))
    else '{}'
  end;
  perform audit.record(set_retention.organization_id, 'retention.changed', 'retention', null, v_details);
  if set_retention.organization_id = audit.system_organization() then
    -- Who follows the default is told in the own log.
    perform audit.record(o.organization_id, 'retention.changed', 'retention', 'default', v_details)
    from (
      select distinct h.organization_id from audit.heads h
      where h.organization_id <> audit.system_organization()
        and not exists (select from audit.retention_periods p where p.organization_id = h.organization_id)
      order by 1
    ) o;
  end if;
  return v_effective_at;
end
$$;

comment on function audit.set_retention(uuid, int, int) is
  'Chooses for how many days an organisation''s entries stay in the database (90 or more) and in the archive (no shorter);
null is unlimited, the nil UUID the default of those that have not chosen. Longer applies at once, shorter after the setting
shorten_retention_after; until then, setting it again takes it back. Answers when all of it applies. For admins of the
organisation; leaves an entry.';

alter function audit.set_retention(uuid, int, int) owner to audit_purger;
