-- One partition a month (UTC), made ahead of time, plus a default partition as a net: should the schedule that makes
-- them stop, entries still find a place and no change of the application is lost. When the schedule runs again, the
-- net itself becomes the partition of the months it caught; no entry is moved.

create or replace function audit.secure_partition(partition regclass)
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_name text := (select relname from pg_catalog.pg_class where oid = secure_partition.partition);
begin
  -- The entry's name. Uniqueness across partitions follows from the chain's head, which only moves forward.
  execute format('create unique index if not exists %I on %s (organization_id, chain, seq)', v_name || '_name_idx', partition);
  -- Where the log is published (Realtime, replication), nothing could be purged from a table without.
  execute format('alter table %s replica identity using index %I', partition, v_name || '_name_idx');
  -- Row triggers come from the parent, statement triggers do not; and "truncate one partition" names only that one.
  execute format(
    'create or replace trigger refuse_truncate before truncate on %s for each statement execute function audit.refuse_change()',
    partition
  );
  execute format('alter table %s enable always trigger refuse_truncate', partition);
  execute format('alter table %s enable always trigger refuse_update_delete', partition);
  -- Only through the parent: a partition has no policies of its own, so nobody may name it.
  execute format('alter table %s enable row level security', partition);
  execute format('revoke all on %s from public, anon, authenticated, service_role', partition);
  execute format('revoke insert, update, delete, truncate on %s from current_user', partition);
end
$$;

comment on function audit.secure_partition(regclass) is
  'Gives a partition of the log all it needs: unique entry names, refusal of changes, no direct access.';

create or replace function audit.partition_ranges()
  returns table (partition regclass, from_time timestamptz, to_time timestamptz)
  language sql
  stable
  set search_path = ''
as $$
  select c.oid::regclass, b[1]::timestamptz, b[2]::timestamptz
  from pg_catalog.pg_inherits i
  join pg_catalog.pg_class c on c.oid = i.inhrelid
  cross join lateral regexp_match(
    pg_catalog.pg_get_expr(c.relpartbound, c.oid), '\(''([^'']+)''\) TO \(''([^'']+)''\)'
  ) b
  where i.inhparent = 'public.audit_logs'::regclass and b is not null
$$;

comment on function audit.partition_ranges() is 'The log''s partitions with the times they hold, the default one left out.';

create or replace function audit.ensure_partitions(ahead int default 3)
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_month date;
  v_this date := date_trunc('month', clock_timestamp() at time zone 'utc')::date;
  v_name text;
  v_caught_from date;
  v_caught_to date;
  v_made int := 0;
begin
  if ahead is null or ahead not between 0 and 120 then
    perform audit.fail('AUARG', 'Partitions are made for 0 to 120 months ahead.');
  end if;
  -- Two schedules at once would race for the same names.
  perform pg_advisory_xact_lock(hashtext('audit.ensure_partitions'));

  if to_regclass('public.audit_logs_default') is not null then
    select date_trunc('month', min(created_at) at time zone 'utc')::date,
      (date_trunc('month', max(created_at) at time zone 'utc') + interval '1 month')::date
    into v_caught_from, v_caught_to
    from public.audit_logs_default;
    if v_caught_from is not null and exists (
      select from audit.partition_ranges() r
      where r.from_time < (v_caught_to::text || ' 00:00:00+00')::timestamptz
        and r.to_time > (v_caught_from::text || ' 00:00:00+00')::timestamptz
    ) then
      raise warning 'audit: entries from % to % wait in audit_logs_default, on both sides of an existing partition',
        v_caught_from, v_caught_to;
    elsif v_caught_from is not null then
      v_name := format('audit_logs_%s', to_char(v_caught_from, 'YYYY_MM'));
      alter table public.audit_logs detach partition public.audit_logs_default;
      execute format('alter table public.audit_logs_default rename to %I', v_name);
      execute format('alter index public.audit_logs_default_name_idx rename to %I', v_name || '_name_idx');
      execute format(
        'alter table public.audit_logs attach partition public.%I for values from (%L) to (%L)',
        v_name, v_caught_from::text || ' 00:00:00+00', v_caught_to::text || ' 00:00:00+00'
      );
      perform audit.secure_partition(format('public.%I', v_name)::regclass);
      v_made := v_made + 1;
    end if;
  end if;

  for v_month in
    select g::date
    from generate_series(v_this, v_this + make_interval(months => ahead), interval '1 month') g
    where not exists (
      select from audit.partition_ranges() r
      where (g::date::text || ' 00:00:00+00')::timestamptz >= r.from_time
        and (g::date::text || ' 00:00:00+00')::timestamptz < r.to_time
    )
  loop
    v_name := format('audit_logs_%s', to_char(v_month, 'YYYY_MM'));
    execute format(
      'create table public.%I partition of public.audit_logs for values from (%L) to (%L)',
      v_name, v_month::text || ' 00:00:00+00', (v_month + interval '1 month')::date::text || ' 00:00:00+00'
    );
    perform audit.secure_partition(format('public.%I', v_name)::regclass);
    v_made := v_made + 1;
  end loop;

  if to_regclass('public.audit_logs_default') is null then
    create table public.audit_logs_default partition of public.audit_logs default;
    perform audit.secure_partition('public.audit_logs_default');
  end if;
  return v_made;
end
$$;

comment on function audit.ensure_partitions(int) is
  'Makes the log''s partitions for this month and the given number of months ahead; returns how many were missing.';

select audit.ensure_partitions();
