-- Reports by schedule: a cron expression in a time zone. When the next one is due, the job "reports" reckons; that each is
-- made once, whoever asks, is kept here. A run that was missed is caught up once, not once for each time it was missed.

create table if not exists audit.report_schedules (
  id uuid not null default gen_random_uuid(),
  organization_id uuid not null,
  template text not null,
  cron text not null,
  time_zone text not null,
  channels uuid[],
  created_by uuid,
  created_at timestamptz not null default clock_timestamp(),
  next_at timestamptz,
  last_at timestamptz,
  constraint report_schedules_pkey primary key (id)
);
alter table audit.report_schedules add column if not exists paused_at timestamptz;

comment on table audit.report_schedules is 'Which reports are made by themselves; written by audit.schedule_report() and audit.run_schedule().';
comment on column audit.report_schedules.id is 'Names the schedule.';
comment on column audit.report_schedules.organization_id is 'About whose log; the nil UUID for a report about each organisation''s.';
comment on column audit.report_schedules.template is 'Which report.';
comment on column audit.report_schedules.cron is 'When: minute, hour, day of month, month, day of week.';
comment on column audit.report_schedules.time_zone is 'In which time zone, by its name; periods begin and end there.';
comment on column audit.report_schedules.channels is 'Who is told; null for the default channels of the organisation that the report is about.';
comment on column audit.report_schedules.created_by is 'Who wanted it.';
comment on column audit.report_schedules.created_at is 'Since when.';
comment on column audit.report_schedules.next_at is 'When it is due next; null before that was reckoned.';
comment on column audit.report_schedules.last_at is 'When it was due last.';
comment on column audit.report_schedules.paused_at is 'Since when it is not made; null while it is. What was due meanwhile is not caught up.';

revoke all on audit.report_schedules from public, anon, authenticated, service_role;

-- A statement of integrity, every month, about every organisation.
insert into audit.report_schedules (id, organization_id, template, cron, time_zone)
values ('00000000-0000-4000-8000-000000000760', audit.system_organization(), 'attestation', '17 5 1 * *', 'UTC')
on conflict do nothing;

create or replace function audit.schedule_report(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write schedules through this function only
  set search_path = ''
as $$
declare
  v_schedule audit.report_schedules;
  v_channels jsonb := nullif(request -> 'channels', 'null');
begin
  perform audit.check_request(request, array['organization_id', 'template', 'cron', 'time_zone', 'channels']);
  v_schedule.organization_id := audit.requested_organization(request);
  perform audit.require_admin(v_schedule.organization_id);
  if not exists (
    select from audit.report_templates t where t.template = request ->> 'template' and t.template not in ('incident', 'subject_access')
  ) then
    perform audit.fail('AUARG', 'There is no such report that can be scheduled.', null,
      'An incident file and what is held about a person are asked for one by one.');
  elsif not exists (select from pg_catalog.pg_timezone_names z where z.name = coalesce(request ->> 'time_zone', 'UTC')) then
    perform audit.fail('AUARG', 'There is no such time zone.', null, 'Name it as Europe/Berlin.');
  elsif coalesce(request ->> 'cron', '') !~ '^[0-9*,/A-Za-z?L#-]+( [0-9*,/A-Za-z?L#-]+){4}$' or length(request ->> 'cron') > 100 then
    perform audit.fail('AUARG', 'cron has five fields: minute, hour, day of month, month, day of week.', null, 'For example 0 6 1 * *.');
  elsif jsonb_typeof(v_channels) <> 'array' or jsonb_array_length(v_channels) > 20 then
    perform audit.fail('AUARG', 'channels is a list of at most 20 channel ids.');
  elsif exists (
    select from jsonb_array_elements_text(v_channels) i
    where not exists (select from audit.channels c where c.id = audit.as_uuid(i) and c.organization_id = v_schedule.organization_id)
  ) then
    perform audit.fail('AUARG', 'The organisation has no such channel.', null, 'GET /audit/channels lists them.');
  elsif (select count(*) from audit.report_schedules s where s.organization_id = v_schedule.organization_id) >= 100 then
    perform audit.fail('AUARG', 'An organisation has at most 100 schedules.');
  end if;
  insert into audit.report_schedules (organization_id, template, cron, time_zone, channels, created_by)
  values (
    v_schedule.organization_id, request ->> 'template', request ->> 'cron', coalesce(request ->> 'time_zone', 'UTC'),
    case when v_channels is not null then array(select distinct i::uuid from jsonb_array_elements_text(v_channels) i order by 1) end, auth.uid()
  )
  returning * into v_schedule;
  perform audit.record(v_schedule.organization_id, 'report.scheduled', 'report_schedule', v_schedule.id::text,
    jsonb_build_object('new', jsonb_build_object('template', v_schedule.template, 'cron', v_schedule.cron, 'time_zone', v_schedule.time_zone, 'channels', v_schedule.channels)));
  return to_jsonb(v_schedule);
end
$$;

comment on function audit.schedule_report(jsonb) is
  'Has a report made by schedule: {"template", "cron", "time_zone", "channels"}, and told to channels of the organisation: without,
to its default ones; to nobody where the list is empty. For admins; leaves an entry.';

create or replace function audit.unschedule_report(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write schedules through this function only
  set search_path = ''
as $$
declare
  v_schedule audit.report_schedules;
begin
  perform audit.check_request(request, array['schedule']);
  select s.* into v_schedule from audit.report_schedules s where s.id = audit.as_uuid(request ->> 'schedule');
  if v_schedule.id is null or audit.reach(v_schedule.organization_id) is null then
    perform audit.fail('AUNOT', 'There is no such schedule of yours.');
  end if;
  perform audit.require_admin(v_schedule.organization_id);
  delete from audit.report_schedules s where s.id = v_schedule.id;
  -- One of the project's makes reports about each organisation.
  perform audit.settle_finding(f.organization_id, f.kind, f.subject)
  from audit.findings f
  where f.kind = 'report_failed' and f.subject = v_schedule.id::text and f.resolved_at is null;
  perform audit.record(v_schedule.organization_id, 'report.unscheduled', 'report_schedule', v_schedule.id::text,
    jsonb_build_object('old', jsonb_build_object('template', v_schedule.template, 'cron', v_schedule.cron, 'time_zone', v_schedule.time_zone, 'channels', v_schedule.channels)));
  return to_jsonb(v_schedule);
end
$$;

comment on function audit.unschedule_report(jsonb) is 'Ends a schedule. For admins; leaves an entry.';

create or replace function audit.pause_schedule(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write schedules through this function only
  set search_path = ''
as $$
declare
  v_schedule audit.report_schedules;
begin
  perform audit.check_request(request, array['schedule', 'paused']);
  select s.* into v_schedule from audit.report_schedules s where s.id = audit.as_uuid(request ->> 'schedule') for no key update;
  if v_schedule.id is null or audit.reach(v_schedule.organization_id) is null then
    perform audit.fail('AUNOT', 'There is no such schedule of yours.');
  end if;
  perform audit.require_admin(v_schedule.organization_id);
  if coalesce(jsonb_typeof(request -> 'paused'), '') <> 'boolean' then
    perform audit.fail('AUARG', '"paused" is true or false.');
  elsif (request -> 'paused')::boolean = (v_schedule.paused_at is not null) then
    return to_jsonb(v_schedule);
  end if;
  update audit.report_schedules s set
    paused_at = case when request -> 'paused' = 'true' then clock_timestamp() end,
    next_at = null -- it is reckoned anew
  where s.id = v_schedule.id
  returning s.* into v_schedule;
  perform audit.record(
    v_schedule.organization_id, case when v_schedule.paused_at is null then 'report.resumed' else 'report.paused' end, 'report_schedule', v_schedule.id::text,
    jsonb_build_object('template', v_schedule.template, 'cron', v_schedule.cron, 'time_zone', v_schedule.time_zone)
  );
  return to_jsonb(v_schedule);
end
$$;

comment on function audit.pause_schedule(jsonb) is 'Pauses a {schedule}, or goes on with it: {paused}. For admins; leaves an entry.';

create or replace function audit.list_schedules(request jsonb default '{}')
  returns jsonb
  language plpgsql
  stable
  security definer -- reads schedules of organisations whose whole log the caller reads
  set search_path = ''
as $$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  if audit.reach(v_organization) is distinct from 'all' then
    perform audit.fail('AUDEN', 'Schedules are for admins and auditors of the organisation.');
  end if;
  return jsonb_build_object('organization_id', v_organization, 'schedules', coalesce((
    select jsonb_agg(to_jsonb(s) order by s.created_at, s.id) from audit.report_schedules s
    where s.organization_id in (v_organization, audit.system_organization())
  ), '[]'));
end
$$;

comment on function audit.list_schedules(jsonb) is 'The schedules of an organisation, those of the whole project included.';

create or replace function audit.due_schedules()
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select coalesce(jsonb_agg(jsonb_build_object('schedule', s.id, 'cron', s.cron, 'time_zone', s.time_zone, 'next_at', s.next_at) order by s.next_at nulls first), '[]')
  from (
    select s.* from audit.report_schedules s
    where (s.next_at is null or s.next_at <= clock_timestamp()) and s.paused_at is null
    order by s.next_at nulls first
    limit 100
  ) s
$$;

comment on function audit.due_schedules() is 'Schedules that are due, or were never reckoned.';

create or replace function audit.run_schedule(id uuid, was_at timestamptz, next_at timestamptz)
  returns int
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_schedule audit.report_schedules;
  v_report audit.reports;
  v_organization uuid;
  v_reports int := 0;
begin
  update audit.report_schedules s set next_at = run_schedule.next_at, last_at = coalesce(run_schedule.was_at, s.last_at)
  where s.id = run_schedule.id and s.next_at is not distinct from run_schedule.was_at and s.paused_at is null
  returning s.* into v_schedule;
  if v_schedule.id is null or run_schedule.was_at is null then
    return 0; -- another run was quicker, it was paused, or it is the first time
  end if;
  for v_organization in
    select distinct h.organization_id from audit.heads h
    where v_schedule.organization_id in (h.organization_id, audit.system_organization()) and h.seq > 0
    order by 1
  loop
    v_report := null;
    v_report.organization_id := v_organization;
    v_report.template := v_schedule.template;
    v_report.schedule := v_schedule.id;
    select p.* into v_report.period_from, v_report.period_to
    from audit.report_templates t, audit.report_period(t.period, v_schedule.time_zone, run_schedule.was_at) p
    where t.template = v_schedule.template;
    perform audit.add_report(v_report);
    v_reports := v_reports + 1;
  end loop;
  return v_reports;
end
$$;

comment on function audit.run_schedule(uuid, timestamptz, timestamptz) is
  'Asks for the reports of a schedule that was due at a time, once; answers how many. For audit-jobs.';
