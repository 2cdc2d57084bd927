-- Events that sources report: verdicts, keys, rates.

select audit.create_event_source('billing', acme(), 100), audit.create_event_source('any', null, 100);
create function pg_temp.source(name text) returns uuid language sql as 'select id from audit.event_sources s where s.name = source.name';
create function pg_temp.report(name text, variadic events jsonb[]) returns jsonb language sql as $$
  select jsonb_agg(coalesce(r.value ->> 'verdict', '') order by (r.value ->> 'event')::int)
  from jsonb_array_elements(audit.record_events(pg_temp.source(name), (select jsonb_agg('{"action": "a.done", "outcome": "success", "details": {}}' || e) from unnest(events) e)) -> 'results') r
$$;

select is(pg_temp.report('billing', '{}', '{"action": "log.purged"}', jsonb_build_object('organization_id', globex()), jsonb_build_object('organization_id', acme()), jsonb_build_object('occurred_at', now() + interval '25 hours')),
  '["recorded", "reserved_action", "other_organization", "recorded", "in_the_future"]', 'each has its verdict');
select is(array_agg(distinct organization_id), array[acme()], 'in the source''s organisation'), is(array_agg(distinct actor_type), array['service'], 'by a service'), is(array_agg(distinct details), array['{"reported_by": "billing"}'::jsonb], 'reported by it')
from public.audit_logs where action = 'a.done';
select is(pg_temp.report('any', '{"action": "b.done"}'), '["recorded"]', 'who may report for any');
select is((select organization_id from public.audit_logs where action = 'b.done'), audit.system_organization(), 'and names none reports for none');

-- Names and hashes
create temporary table said as
select r ->> 'entry' as entry, r ->> 'hash' as hash, (r ->> 'event')::int as n
from jsonb_array_elements(audit.record_events(pg_temp.source('any'), jsonb_build_array(
  jsonb_build_object('action', 'c.done', 'outcome', 'success', 'resource_id', '0', 'details', '{}'::jsonb, 'organization_id', acme()),
  jsonb_build_object('action', 'c.done', 'outcome', 'success', 'resource_id', '1', 'details', '{}'::jsonb, 'organization_id', globex()),
  jsonb_build_object('action', 'c.done', 'outcome', 'success', 'resource_id', '2', 'details', '{}'::jsonb, 'organization_id', acme())
)) -> 'results') r;
select is(l.resource_id, s.n::text, 'the name is the entry''s'), is(encode(l.hash, 'hex'), s.hash, 'and so is the hash')
from said s join public.audit_logs l on l.chain || '-' || l.seq = s.entry and l.action = 'c.done' and l.organization_id = case s.n when 1 then globex() else acme() end;
select is(count(*), 3::bigint, 'of all three') from said s join public.audit_logs l on encode(l.hash, 'hex') = s.hash;

-- Keys
select is(pg_temp.report('any', '{"key": "k"}', '{"key": "k"}', '{"key": "k", "details": {"n": 1}}', '{}', '{}'), '["recorded", "duplicate", "key_reused", "recorded", "recorded"]', 'a key is once; without one each is another');
select is(pg_temp.report('any', '{"key": "k"}', '{"key": "k", "details": {"n": 1}}'), '["duplicate", "key_reused"]', 'also later');
select is(pg_temp.report('billing', '{"key": "k"}'), '["recorded"]', 'and for each source');
select is(pg_temp.report('any', '{"key": "r", "action": "log.purged"}'), '["reserved_action"]', 'what was not recorded'), is(pg_temp.report('any', '{"key": "r"}'), '["recorded"]', 'may be said better under the same key');
update audit.event_keys set seen_at = now() - interval '8 days' where source_id = pg_temp.source('any');
select is(audit.forget_event_keys(), 2::bigint, 'after a week keys are forgotten'), is(audit.forget_event_keys(), 0::bigint, 'once');

-- Rates
update audit.event_sources set allowance = 10, allowance_at = clock_timestamp() where name = 'any';
select is(audit.record_events(pg_temp.source('any'), (select jsonb_agg('{"action": "d.done", "outcome": "success", "details": {}}'::jsonb) from generate_series(1, 40))), '{"retry_after": 18, "events_per_minute": 100}', 'who has not enough left waits until it is');
select is(count(*), 0::bigint, 'and none is recorded') from public.audit_logs where action = 'd.done';
update audit.event_sources set allowance_at = clock_timestamp() - interval '18 s' where name = 'any';
select is(jsonb_array_length(audit.record_events(pg_temp.source('any'), (select jsonb_agg('{"action": "d.done", "outcome": "success", "details": {}}'::jsonb) from generate_series(1, 40))) -> 'results'), 40, 'then all are');
select cmp_ok(allowance, '<', 1::double precision, 'and nothing is left') from audit.event_sources where name = 'any';

select audit.disable_event_source('any');
select throws_ok(format('select audit.record_events(%L, ''[]'')', id), 'AUDEN', null, 'nothing is taken from ' || why)
from (values (pg_temp.source('any'), 'a disabled source'), (acme(), 'none'), (null, 'nobody')) v (id, why);
select ok(audit.is_reserved(action), action || ' is ours') from unnest(array['log.viewed', 'capture.tracked', 'retention.changed', 'hold.placed', 'subject.erased', 'auditor.granted', 'alert.opened', 'rule.changed', 'verification.failed']) action;
select ok(not audit.is_reserved(action), action || ' is anybody''s') from unnest(array['report.generated', 'logs.viewed', 'access.denied', 'user.login', 'api_token.created']) action;
select is(said(n, format($$ select audit.record_events(%L, '[]') $$, audit.system_organization())), '42501', format('%s reports by the function only', n))
from unnest(array['admin', 'member', 'stranger', 'anon', 'service_role']) n;
select ok(bool_and(status = 'verified'), 'the chains verify') from audit.verify();
