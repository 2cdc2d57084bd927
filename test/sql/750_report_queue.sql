-- The queue of reports: who may ask, for which periods, how it goes on, what erasure does to it.
select audit.use_membership('public.organization_members');
create function pg_temp.asked(person text, request jsonb) returns text language sql as $$
  select said(person, format('select audit.request_report(%L)', jsonb_build_object('organization_id', tap.acme()) || request))
$$;
create function pg_temp.claim() returns jsonb language sql as $$ select audit.claim_report() $$;
create function pg_temp.gather() returns jsonb language plpgsql as $$
declare
  c jsonb := audit.claim_report();
begin
  for run in 1 .. 100 loop
    exit when (c ->> 'gathered')::boolean;
    c := c || audit.gather_report((c ->> 'report')::uuid, (c ->> 'attempt')::int);
  end loop;
  return c;
end
$$;

-- Who may
select is(left(pg_temp.asked(n, '{"template": "costs"}'), 5), case when n in ('admin', 'auditor', 'seeing_auditor') then '{"id"' else 'AUDEN' end, n || ' and a report')
from unnest(array['admin', 'auditor', 'seeing_auditor', 'member', 'viewer', 'stranger', 'expired_auditor']) n;
select is(pg_temp.asked('anon', '{"template": "costs"}'), '42501', 'nobody else');
select is(left(pg_temp.asked(n, jsonb_build_object('template', 'subject_access', 'subject', person('member'))), 5), case n when 'admin' then '{"id"' else 'AUDEN' end, n || ' and what is held about a person')
from unnest(array['admin', 'seeing_auditor', 'member']) n;
select is((select count(*) from public.audit_logs where action = 'subject.accessed' and resource_id = person('member')::text and created_by = person('admin'))::int, 1, 'access to a person is an entry by who asked');
update audit.reports set state = 'failed' where true;

-- What is refused
select is(pg_temp.asked('admin', r), 'AUARG', r::text) from unnest(array[
  '{"template": "nothing"}', '{}', '{"template": "soc2", "from": "2026-02-30"}', '{"template": "soc2", "from": "yesterday"}', '{"template": "soc2", "from": "2026-03-01", "to": "2026-03-01"}',
  '{"template": "soc2", "from": "2026-03-02", "to": "2026-03-01"}', '{"template": "soc2", "to": "2026-03-01"}', '{"template": "soc2", "from": "2026-03-01", "to": "2999-01-01"}',
  '{"template": "soc2", "from": "1969-12-31", "to": "1970-01-02"}', '{"template": "soc2", "subject": "x"}', '{"template": "soc2", "entry": "1-1"}', '{"template": "incident"}', '{"template": "incident", "at": "2026-01-01", "minutes": 0}',
  '{"template": "incident", "at": "2026-01-01", "minutes": "x"}', '{"template": "incident", "at": "2026-01-01", "actor": "me"}', '{"template": "subject_access"}', '{"template": "subject_access", "subject": "name"}', '{"template": "soc2", "more": 1}'
]::jsonb[]) r;
select is(pg_temp.asked('admin', '{"template": "incident", "entry": "1-999999"}'), 'AUNOT', 'an entry that is not there');
select is(pg_temp.asked('admin', '{"template": "subject_access", "subject": "nobody@acme.example"}'), 'AUNOT', 'a person that is not there');
select results_eq(format('select period_from, period_to from audit.report_period(%L, %L, %L)', u, z, '2026-03-15 12:00+00'), format('select %L::timestamptz, %L::timestamptz', f, t), u || ' in ' || z)
from (values
  ('month', 'UTC', '2026-02-01 00:00+00', '2026-03-01 00:00+00'), ('quarter', 'UTC', '2025-10-01 00:00+00', '2026-01-01 00:00+00'), ('year', 'UTC', '2025-01-01 00:00+00', '2026-01-01 00:00+00'),
  ('month', 'Europe/Berlin', '2026-01-31 23:00+00', '2026-02-28 23:00+00'), ('now', 'UTC', '2026-03-15 00:00+00', '2026-03-15 12:00+00'), ('all', 'UTC', '1970-01-01 00:00+00', '2026-03-15 12:00+00')
) p (u, z, f, t);
select results_eq($$ select period_to - period_from from audit.report_period('month', 'America/New_York', '2026-04-02 00:00+00') $$, $$ values (interval '30 days 23 hours') $$, 'a month in which the clocks change');

-- Step by step
create temporary table a as select pg_temp.asked('admin', '{"template": "soc2", "from": "2020-01-01"}')::jsonb as a;
select is(a ->> 'state', 'queued', 'it waits') from a;
create temporary table c as select pg_temp.claim() as c;
select is(c ->> 'report', a ->> 'id', 'a worker takes it') from c, a;
select is(pg_temp.claim(), null, 'nobody else does');
select lives_ok(format('select audit.gather_report(%L, 1)', c ->> 'report')) from c;
select throws_ok(format('select audit.gather_report(%L, 2)', c ->> 'report'), 'AULSE') from c;
update audit.reports set lease_until = '-infinity' where state = 'running';
create temporary table g as select pg_temp.gather() as g;
select is((g ->> 'gathered')::boolean, true, 'the next goes on where it was') from g;
select is((select count(*) from audit.reports r, jsonb_array_elements(r.sections) s where r.id = (g ->> 'report')::uuid and s ->> 'kind' = 'control')::int, 12, 'each control once') from g;
create temporary table d as select audit.report_to_render((g ->> 'report')::uuid, (g ->> 'attempt')::int) as d from g;
select is(d ->> 'content_sha256', encode(sha256(convert_to(d ->> 'content', 'UTF8')), 'hex'), 'its content is to the byte') from d;
select is(d ->> 'content' like '%@%', false, 'and names no address') from d;
select isnt_empty($$ select from d, jsonb_array_elements(d -> 'people') p where p ->> 'email' = 'admin@example.com' $$, 'which stand beside it');
select lives_ok(format($$ select audit.complete_report(%L, %L, '[{"name": "report.pdf"}]', '{}', 'note') $$, g ->> 'report', g ->> 'attempt')) from g;
select throws_ok(format($$ select audit.complete_report(%L, %L, '[]', '{}', 'note') $$, g ->> 'report', g ->> 'attempt'), 'AULSE') from g;
select is((select count(*) from public.audit_logs where action = 'report.generated' and resource_id = g ->> 'report')::int, 1, 'it is an entry, once') from g;
select is((select count(*) from audit.report_lines((g ->> 'report')::uuid))::int, (select count(*)::int from audit.reports r, audit.report_named(r) n where r.id = (g ->> 'report')::uuid), 'its lines are what it lists') from g;

-- The same period, asked again by somebody else
create temporary table again as select pg_temp.asked('seeing_auditor', jsonb_build_object('template', 'soc2', 'from', '2020-01-01', 'to', a ->> 'to'))::jsonb as a from a;
select pg_temp.gather();
select is((select content from audit.reports where id = (b.a ->> 'id')::uuid), (select content from audit.reports where id = (a.a ->> 'id')::uuid), 'has the same content') from a, again b;
update audit.reports set state = 'failed' where state = 'running';
select isnt(pg_temp.asked('auditor', '{"template": "costs"}'), null, 'an auditor who does not see identities');
create temporary table blind as select pg_temp.gather() as g;
select is(audit.report_to_render((g ->> 'report')::uuid, (g ->> 'attempt')::int) -> 'people', '[]', 'sees nobody') from blind;
select is(said('auditor', format('select audit.report_status(%L)', jsonb_build_object('report', a -> 'id'))), 'AUNOT', 'nor a report that others asked for') from a;
select is(jsonb_array_length(said('auditor', format('select audit.list_reports(%L)', jsonb_build_object('organization_id', acme())))::jsonb -> 'reports'), 2, 'but their own');
update audit.reports set state = 'failed' where state = 'running';

-- Whoever lost the right meanwhile gets nothing
create temporary table lost as select pg_temp.asked('admin', '{"template": "costs"}')::jsonb as a;
update public.organization_members set role = 'member' where user_id = person('admin');
select is(pg_temp.claim(), null, 'rights are those of the moment');
select is((select state from audit.reports where id = (a ->> 'id')::uuid), 'failed', 'it failed') from lost;
update public.organization_members set role = 'admin' where user_id = person('admin');

-- Three attempts
select isnt(pg_temp.asked('admin', '{"template": "costs"}'), null, 'another');
select isnt(pg_temp.claim(), null, 'attempt ' || n) from generate_series(1, 1) n;
update audit.reports set lease_until = '-infinity', attempts = 3 where state = 'running';
select is(pg_temp.claim(), null, 'three attempts, and no more');

-- Entries that are too many for the pack
create temporary table many as select pg_temp.asked('admin', '{"template": "incident", "from": "2020-01-01"}')::jsonb as a;
create temporary table gathered as select pg_temp.gather() as g;
create function pg_temp.part(in_pack int, attempt int default 1) returns jsonb language sql as $$ select audit.next_report_part((g ->> 'report')::uuid, attempt, in_pack, 7) from gathered $$;
create function pg_temp.lines(copy text) returns bigint language plpgsql as $$
declare
  n bigint;
begin
  execute format('select count(*) from (%s) l', regexp_replace(copy, '^copy \((.*)\) to stdout .*$', '\1')) into n;
  return n;
end
$$;
create temporary table whole as select count(*) as n, array_agg(chain || '-' || seq order by created_at, chain, seq) as names from public.audit_logs, many where organization_id = acme() and created_at < (a ->> 'to')::timestamptz;
select is(pg_temp.part(1000000), null, 'none where all go into the pack');
select is((select count(*) from audit.report_lines((g ->> 'report')::uuid)), n, 'which then has them') from gathered, whole;
create temporary table parts (n int, p jsonb);
do $$
begin
  for v_n in 1 .. 1000 loop
    insert into parts select v_n, pg_temp.part(1);
    exit when (select p from parts where n = v_n) is null;
    perform audit.add_report_part((g ->> 'report')::uuid, 1, p) from gathered, parts where n = v_n;
  end loop;
end
$$;
select is(sum((p ->> 'entries')::int), w.n::bigint, 'beside it, all') from parts, whole w group by w.n;
select is(pg_temp.lines(p ->> 'copy'), (p ->> 'entries')::bigint, p ->> 'name') from parts where p is not null;
select is(array_agg(p ->> 'first' order by parts.n), array(select w.names[i] from generate_series(1, w.n::int, 7) i), 'each begins where the one before ended') from parts, whole w where p is not null group by w.names, w.n;
select is((select count(*) from audit.report_lines((g ->> 'report')::uuid))::int, 0, 'and none in the pack') from gathered;
select throws_ok('select pg_temp.part(1, 2)', 'AULSE');
select throws_ok(format('select audit.add_report_part(%L, 2, ''{}'')', g ->> 'report'), 'AULSE') from gathered;
update audit.reports set state = 'failed' where state = 'running';

-- Erasure
create temporary table about as select pg_temp.asked('admin', jsonb_build_object('template', 'subject_access', 'subject', person('member')))::jsonb as a;
select is(audit.withdraw_reports(acme(), person('member')), (select count(*)::int from audit.reports where subject = person('member')), 'what is about a person is taken back');
select is((select content from audit.reports where id = (a ->> 'id')::uuid), null, 'with what it held') from about;
select is((select state from audit.reports where id = (g ->> 'report')::uuid), 'queued', 'one that only shows them is made again') from g;
select is((select content is not null from audit.reports where id = (g ->> 'report')::uuid), true, 'of the same content') from g;
select bag_eq($$ select export from audit.expired_reports() $$, $$ select id from audit.reports where state = 'withdrawn' $$, 'files of what is taken back go');
select is(said(n, format('select audit.%s', f)), '42501', n || ' has no business with ' || f)
from unnest(array['admin', 'anon', 'service_role']) n, unnest(array['claim_report()', 'gather_report(gen_random_uuid(), 1)', 'report_lines(gen_random_uuid())', 'next_report_part(gen_random_uuid(), 1, 1, 1)', 'add_report_part(gen_random_uuid(), 1, null)', 'complete_report(gen_random_uuid(), 1, null, null, null)', 'withdraw_reports(tap.acme(), null)', 'forget_reports(null)']) f;
