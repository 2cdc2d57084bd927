-- Who is told of a report by schedule, what, and with links to which files.
create function pg_temp.channel(name text, organization_id uuid, more jsonb default '{}') returns uuid language sql as $$
  select (audit.create_channel(jsonb_build_object('organization_id', organization_id, 'kind', 'webhook', 'name', name, 'url', 'https://hooks.example.com/') || more) ->> 'id')::uuid
$$;
create temporary table c as select pg_temp.channel('usual', tap.acme()) as usual, pg_temp.channel('named', tap.acme(), '{"default": false, "personal": true}') as named,
  pg_temp.channel('elsewhere', gen_random_uuid()) as elsewhere, pg_temp.channel('project', audit.system_organization(), '{"default": false}') as project;
create function pg_temp.report(organization_id uuid, channels uuid[]) returns uuid language plpgsql as $$
declare
  r audit.reports;
begin
  insert into audit.report_schedules (organization_id, template, cron, time_zone, channels)
  values (organization_id, 'costs', '0 6 1 * *', 'Europe/Berlin', channels) returning id into r.schedule;
  r.organization_id := tap.acme();
  r.template := 'costs';
  r.period_from := '2026-02-28 23:00Z';
  r.period_to := '2026-03-31 22:00Z';
  r.id := audit.add_report(r);
  update audit.reports u set state = 'running', attempts = 1, content = '{}' where u.id = r.id;
  return r.id;
end
$$;

-- Who
create temporary table r as
select w.*, pg_temp.report(w.organization_id, w.channels) as id
from c, lateral (values
  ('the default channels', array[c.usual], tap.acme(), null::uuid[]), ('those that are named', array[c.named, c.usual], tap.acme(), array[c.named, c.usual]),
  ('nobody', '{}'::uuid[], tap.acme(), '{}'), ('of a report about each organisation, its default ones', array[c.usual], audit.system_organization(), null),
  ('or the project''s that are named', array[c.project], audit.system_organization(), array[c.project]),
  ('none that is not there any more, or another''s', '{}', tap.acme(), array[c.elsewhere, gen_random_uuid()])
) w (what, expected, organization_id, channels);
select is(array(select h.id from audit.reports t, audit.report_channels(t) h where t.id = r.id order by 1), array(select unnest(r.expected) order by 1), r.what) from r;
select is((select count(*) from audit.report_channels((select t from audit.reports t where t.id = audit.add_report(jsonb_populate_record(null::audit.reports,
  jsonb_build_object('organization_id', tap.acme(), 'template', 'costs', 'period_from', '2026-01-01', 'period_to', '2026-02-01'))))))::int, 0, 'nobody, of what somebody asked for');

-- What, and once
create function pg_temp.complete(id uuid) returns void language sql as $$
  select audit.complete_report(id, 1, '[{"name": "report.pdf", "path": "o/r/report.pdf"}, {"name": "evidence.zip", "path": "o/r/evidence.zip"}]', '{}', 'note')
$$;
select lives_ok(format('select pg_temp.complete(%L)', id), what || ': complete') from r;
select is((select count(*) from audit.deliveries d where d.message ->> 'report_id' = r.id::text)::int, cardinality(r.expected), what || ': told') from r;
create temporary table d as select d.* from audit.deliveries d, r, c where d.message ->> 'report_id' = r.id::text and r.what = 'those that are named' and d.channel_id = c.named;
select is(d.message - array['report_id', 'schedule', 'generated_at'], jsonb_build_object(
  'organization_id', tap.acme(), 'severity', 'info', 'title', 'Cost report, 2026-03-01 to 2026-03-31', 'template', 'costs',
  'from', '2026-02-28T23:00:00.000000Z', 'to', '2026-03-31T22:00:00.000000Z', 'content_sha256', encode(sha256('{}'), 'hex')
), 'by the days of the schedule''s time zone') from d;
update audit.reports t set state = 'running', attempts = 1 from r where t.id = r.id;
select lives_ok(format('select pg_temp.complete(%L)', id), what || ': made again') from r;
select is((select count(*) from audit.deliveries d where d.type = 'report.ready')::int, (select sum(cardinality(expected))::int from r), 'nobody is told again');

-- A disabled channel gets it when it is enabled
update audit.channels t set disabled_at = now() from c where t.id = c.usual;
select lives_ok(format('select pg_temp.complete(%L)', pg_temp.report(tap.acme(), null)));
select is((select d.state from audit.deliveries d, c where d.channel_id = c.usual order by d.created_at desc limit 1), 'dead', 'what a disabled channel misses is kept');

-- Links
select is(audit.delivered_files(d.id), '["o/r/report.pdf", "o/r/evidence.zip"]', 'to each file') from d;
update audit.reports t set names = array[person('member')] from d where t.id = (d.message ->> 'report_id')::uuid;
select is(audit.delivered_files(d.id), case when c.personal then '["o/r/report.pdf", "o/r/evidence.zip"]'::jsonb else '[]' end, 'which show addresses, to a channel that is personal: ' || c.personal)
from d o join audit.deliveries d on d.message ->> 'report_id' = o.message ->> 'report_id' join audit.channels c on c.id = d.channel_id;
update audit.reports t set state = 'queued' from d where t.id = (d.message ->> 'report_id')::uuid;
select is(audit.delivered_files(d.id), '[]', 'to none while they are made again') from d;
select is(audit.delivered_files(gen_random_uuid()), '[]', 'of no message');
select is(audit.keep_links(id, '{"report.pdf": "https://one"}', now() + interval '7 days') #>> '{links,report.pdf}', 'https://one', 'they are kept') from d;
select is(audit.keep_links(id, '{"report.pdf": "https://two"}', now() + interval '7 days') #>> '{links,report.pdf}', 'https://one', 'and said again') from d;
update audit.deliveries t set message = t.message || jsonb_build_object('links_until', audit.instant_text(now() + interval '23 hours')) from d where t.id = d.id;
select is(audit.keep_links(id, '{"report.pdf": "https://three"}', now() + interval '7 days') #>> '{links,report.pdf}', 'https://three', 'until they hold for less than a day') from d;

-- Files show addresses only where all who are told may have them
create temporary table shown as select pg_temp.report(tap.acme(), array[c.named]) as may, pg_temp.report(tap.acme(), array[c.named, c.project]) as may_too, pg_temp.report(tap.acme(), array[c.named, c.usual]) as may_not, pg_temp.report(tap.acme(), '{}') as nobody from c;
update audit.reports t set sections = jsonb_build_array(jsonb_build_object('user', person('admin'))) where t.state = 'running';
select audit.identify(tap.acme(), person('admin'), 'admin@example.com', null, 'Test');
select isnt(audit.report_to_render(may, 1) -> 'people', '[]', 'where the channel may have them') from shown;
select isnt(audit.report_to_render(may_too, 1) -> 'people', '[]', 'another organisation''s channel is not told') from shown;
select is(audit.report_to_render(may_not, 1) -> 'people', '[]', 'not where one may not') from shown;
select isnt(audit.report_to_render(nobody, 1) -> 'people', '[]', 'nobody is told') from shown;

-- One that cannot be made
create temporary table made as select pg_temp.report(tap.acme(), null) as id;
create temporary table failing as select t.id, t.schedule from audit.reports t, made where t.id = made.id;
create function pg_temp.findings() returns bigint language sql as $$
  select count(*) from audit.findings f, failing where f.kind = 'report_failed' and f.subject = failing.schedule::text and f.resolved_at is null
$$;
select lives_ok(format($$ select audit.fail_report(%L, 1, 'Storage is down', true) $$, id), 'a report fails') from failing;
select is(pg_temp.findings(), 0::bigint, 'once: it is tried again');
update audit.reports t set state = 'running', attempts = 3 from failing where t.id = failing.id;
select lives_ok(format($$ select audit.fail_report(%L, 3, 'Storage is down', true) $$, id), 'and again') from failing;
select is(pg_temp.findings(), 1::bigint, 'a schedule whose report could not be made is a finding');
select is(a.details ->> 'error', 'Storage is down', 'and an entry, which a default rule finds') from public.audit_logs a, failing where a.action = 'verification.failed' and a.resource_id = failing.schedule::text;
create temporary table next as select pg_temp.report(tap.acme(), null) as id;
update audit.reports t set schedule = failing.schedule from failing, next where t.id = next.id;
select lives_ok(format('select pg_temp.complete(%L)', id), 'the next one is made') from next;
select is(pg_temp.findings(), 0::bigint, 'which settles it');
update audit.reports t set state = 'running', attempts = 3, generated_at = null from next where t.id = next.id;
select lives_ok(format($$ select audit.fail_report(%L, 3, 'Storage is down', true) $$, id), 'another cannot be made') from next;
select is(pg_temp.findings(), 1::bigint, 'which is a finding again');
select isnt(said('admin', format('select audit.unschedule_report(jsonb_build_object(''schedule'', %L))', schedule)), '42501', 'the schedule ends') from failing;
select is(pg_temp.findings(), 0::bigint, 'and its finding with it');
