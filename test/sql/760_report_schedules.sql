-- Schedules: who makes them, and that each due time asks once.
create function pg_temp.asked(person text, request jsonb) returns text language sql as $$
  select said(person, format('select audit.schedule_report(%L)', jsonb_build_object('organization_id', tap.acme(), 'template', 'costs', 'cron', '0 6 1 * *') || request))
$$;
select is(pg_temp.asked(n, '{}'), 'AUDEN', n || ' makes no schedule') from unnest(array['member', 'viewer', 'auditor', 'stranger']) n;
select is(pg_temp.asked('admin', r), 'AUARG', r::text) from unnest(array[
  '{"template": "incident"}', '{"template": "subject_access"}', '{"template": "x"}', '{"time_zone": "Mars"}', '{"cron": "often"}', '{"cron": "0 6 1 *"}', '{"cron": "0 6 1 * *; drop"}', '{"channels": "x"}', '{"channels": ["x"]}', '{"channels": {}}', '{"channels": ["10000000-0000-4000-8000-000000000001"]}', '{"more": 1}'
]::jsonb[]) r;

-- Who is told
create function pg_temp.channel(name text, organization_id uuid) returns uuid language sql as $$
  select (audit.create_channel(jsonb_build_object('organization_id', organization_id, 'kind', 'webhook', 'name', name, 'url', 'https://hooks.example.com/')) ->> 'id')::uuid
$$;
create temporary table c as select pg_temp.channel('ops', tap.acme()) as ops, pg_temp.channel('ops', gen_random_uuid()) as theirs;
select is(pg_temp.asked('admin', jsonb_build_object('channels', array[c.ops, c.theirs])), 'AUARG', 'another organisation''s channel is none') from c;
select is(pg_temp.asked('admin', jsonb_build_object('channels', array_fill(c.ops, array[21]))), 'AUARG', 'nor are that many') from c;
select is(pg_temp.asked('admin', r)::jsonb -> 'channels', e, r::text) from c, lateral (values
  ('{}'::jsonb, 'null'::jsonb), ('{"channels": null}', 'null'), ('{"channels": []}', '[]'),
  (jsonb_build_object('channels', array[c.ops, c.ops]), jsonb_build_array(c.ops))
) v (r, e);
delete from audit.report_schedules where organization_id = tap.acme();

create temporary table s as select pg_temp.asked('admin', jsonb_build_object('time_zone', 'Europe/Berlin', 'channels', array[c.ops]))::jsonb as s from c;
select is((s ->> 'time_zone'), 'Europe/Berlin', 'an admin does') from s;
select is((select count(*) from public.audit_logs where action = 'report.scheduled' and created_by = person('admin') and details #>> '{new,channels,0}' = (select ops::text from c))::int, 2, 'it is an entry');
select is(jsonb_array_length(said('auditor', format('select audit.list_schedules(%L)', jsonb_build_object('organization_id', acme())))::jsonb -> 'schedules'), 2, 'auditors see it, and the monthly statement');
select set_eq($$ select d ->> 'schedule' from jsonb_array_elements(audit.due_schedules()) d $$, $$ select id::text from audit.report_schedules $$, 'what was never reckoned is due');
select is(audit.run_schedule((s ->> 'id')::uuid, null, '2026-04-01 04:00+00'), 0, 'reckoned, it waits') from s;
select is(audit.run_schedule((s ->> 'id')::uuid, null, '2026-05-01 04:00+00'), 0, 'who comes second changes nothing') from s;
select is(next_at, '2026-04-01 04:00+00'::timestamptz, 'of it') from audit.report_schedules, s where id = (s.s ->> 'id')::uuid;
select is(audit.run_schedule((s ->> 'id')::uuid, '2026-04-01 04:00+00', '2099-05-01 04:00+00'), 1, 'due, it asks') from s;
select is(audit.run_schedule((s ->> 'id')::uuid, '2026-04-01 04:00+00', '2099-05-01 04:00+00'), 0, 'once') from s;
select results_eq($$ select template, period_from, period_to, requested_by from audit.reports, s where schedule = (s.s ->> 'id')::uuid $$,
  $$ values ('costs', '2026-02-28 23:00+00'::timestamptz, '2026-03-31 22:00+00'::timestamptz, null::uuid) $$, 'for the month before, where the clocks changed');
select is(audit.run_schedule('00000000-0000-4000-8000-000000000760', null, '2026-04-01 05:17+00') + audit.run_schedule('00000000-0000-4000-8000-000000000760', '2026-04-01 05:17+00', '2099-01-01'),
  (select count(distinct organization_id)::int from audit.heads where seq > 0), 'the monthly statement is about every organisation');
-- Paused
create function pg_temp.paused(person text, request jsonb) returns text language sql as $$
  select said(person, format('select audit.pause_schedule(%L) ->> ''paused_at''', jsonb_build_object('schedule', s -> 'id') || request)) from s
$$;
select is(pg_temp.paused(n, '{"paused": true}'), case n when 'stranger' then 'AUNOT' else 'AUDEN' end, n || ' does not pause it') from unnest(array['member', 'auditor', 'stranger']) n;
select is(pg_temp.paused('admin', r), 'AUARG', r::text) from unnest(array['{}', '{"paused": "yes"}', '{"paused": null}', '{"paused": true, "more": 1}']::jsonb[]) r;
select isnt(pg_temp.paused('admin', '{"paused": true}'), null, 'an admin does') from generate_series(1, 2);
select is((select count(*) from audit.due_schedules() d, jsonb_array_elements(d) e, s where e ->> 'schedule' = s.s ->> 'id')::int, 0, 'then it is not due');
select is(audit.run_schedule((s ->> 'id')::uuid, null, '2026-04-01 04:00+00'), 0, 'nor is it reckoned') from s;
select is(next_at, null, 'by nobody') from audit.report_schedules, s where id = (s.s ->> 'id')::uuid;
select is(pg_temp.paused('admin', '{"paused": false}'), null, 'and goes on with it');
select is((select count(*) from audit.due_schedules() d, jsonb_array_elements(d) e, s where e ->> 'schedule' = s.s ->> 'id')::int, 1, 'it is reckoned anew');
select results_eq(
  $$ select action, count(*)::int from public.audit_logs, s where resource_id = s.s ->> 'id' and action in ('report.paused', 'report.resumed') group by 1 order by 1 $$,
  $$ values ('report.paused', 1), ('report.resumed', 1) $$, 'each is an entry, once'
);
select is(said('admin', format('select audit.pause_schedule(%L)', '{"schedule": "00000000-0000-4000-8000-000000000760", "paused": true}')), 'AUNOT', 'that of the whole project is not an organisation''s to pause');

select is(said(n, format('select audit.unschedule_report(%L)', jsonb_build_object('schedule', s -> 'id'))), case n when 'stranger' then 'AUNOT' else 'AUDEN' end, n || ' does not end it') from s, unnest(array['member', 'auditor', 'stranger']) n;
select matches(said('admin', format('select audit.unschedule_report(%L)', jsonb_build_object('schedule', s -> 'id'))), '"cron"', 'an admin does') from s;
select is(said('admin', format('select audit.unschedule_report(%L)', jsonb_build_object('schedule', '00000000-0000-4000-8000-000000000760'))), 'AUNOT', 'but not that of the whole project');
select is(said(n, 'select audit.run_schedule(gen_random_uuid(), null, null)'), '42501', n || ' runs none') from unnest(array['admin', 'anon', 'service_role']) n;
