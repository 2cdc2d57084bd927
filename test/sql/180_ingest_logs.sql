-- Events of logs: once each, in the organisations of their users, as many of them as are wanted.

insert into auth.users (id, email) values (person('admin'), 'admin@example.com');
create function pg_temp.event(key text, kind text, more jsonb default '{}') returns jsonb language sql
return jsonb_build_object(
  'key', key, 'kind', kind, 'happened_at', clock_timestamp(),
  'action', case kind when 'denied' then 'access.denied' when 'accessed' then 'api.accessed' else 'user.login_failed' end,
  'outcome', case kind when 'accessed' then 'success' else 'denied' end, 'details', '{}'::jsonb
) || more;
create function pg_temp.take(variadic events jsonb[]) returns jsonb language sql as 'select audit.ingest_logs(to_jsonb(events))';

select is(pg_temp.take(pg_temp.event('a', 'denied')) - 'refused', '{"recorded": 1, "duplicate": 0, "left_out": 0}', 'a denied request is recorded');
select is(pg_temp.take(pg_temp.event('a', 'denied')) ->> 'duplicate', '1', 'and known the next time');
select is(pg_temp.take(pg_temp.event('b', 'denied'), pg_temp.event('b', 'denied'), pg_temp.event('c', 'denied')) - 'refused', '{"recorded": 2, "duplicate": 1, "left_out": 0}', 'also within one batch');
select is(count(*), 3::bigint, 'three events, three entries in the log of nobody'), is(min(actor_type), 'user', 'of somebody')
from public.audit_logs where action = 'access.denied' and organization_id = audit.system_organization();

-- Whose they are
select pg_temp.take(pg_temp.event('d', 'denied', jsonb_build_object('user_id', person('admin'), 'ip_address', '203.0.113.5', 'request_id', 'r-1', 'user_agent', 'curl', 'session_id', person('member'))));
select is(organization_id, acme(), 'in the organisation of its user'), is(created_by, person('admin'), 'as theirs'), is(request_id, 'r-1', 'with the request'),
  is(details, jsonb_build_object('source', 'log', 'session_id', person('member')), 'and that a log told it')
from public.audit_logs where created_by = person('admin') and action = 'access.denied';
select is(i.ip_address || ' ' || i.user_agent, '203.0.113.5 curl', 'and from where')
from public.audit_logs l join audit.identities i using (identity_hash) where l.created_by = person('admin') and l.action = 'access.denied';
insert into public.organization_members (organization_id, user_id, role) values (globex(), person('admin'), 'viewer');
select pg_temp.take(pg_temp.event('e', 'denied', jsonb_build_object('user_id', person('admin'))));
select bag_eq(
  $$ select organization_id from public.audit_logs where created_by = person('admin') and action = 'access.denied' $$,
  array[acme(), acme(), globex()], 'who belongs to two is in both logs'
);

-- Age
select is(pg_temp.take(
  pg_temp.event('f', 'denied', jsonb_build_object('happened_at', clock_timestamp() - interval '23 hours')),
  pg_temp.event('g', 'denied', jsonb_build_object('happened_at', clock_timestamp() - interval '25 hours')),
  pg_temp.event('h', 'denied', jsonb_build_object('happened_at', clock_timestamp() + interval '9 minutes')),
  pg_temp.event('i', 'denied', jsonb_build_object('happened_at', clock_timestamp() + interval '11 minutes'))
), '{"recorded": 2, "duplicate": 0, "left_out": 0, "refused": [{"event": 1, "reason": "too_old"}, {"event": 3, "reason": "in_the_future"}]}', 'a day old, ten minutes ahead, not more');
select is(count(*), 2::bigint, 'and says when it was') from public.audit_logs where action = 'access.denied' and details ? 'happened_at';
select is(audit.late_time(clock_timestamp() - interval '4 s'), null, 'not where that is the time of the entry');
select is(audit.late_time('2026-01-31T23:59:59.123456+01'), '2026-01-31T22:59:59.123456Z', 'in UTC, whatever the session''s zone');

-- Routine requests
select is(pg_temp.take(pg_temp.event('j', 'accessed')) ->> 'left_out', '1', 'requests are left out');
select audit.configure('api_access', '"all"', globex());
select is(pg_temp.take(pg_temp.event('k', 'accessed', jsonb_build_object('user_id', person('admin')))) ->> 'recorded', '1', 'unless an organisation wants them');
select is(array_agg(organization_id), array[globex()], 'there') from public.audit_logs where action = 'api.accessed';
select audit.configure('api_access', '0.5');
select is(pg_temp.take(pg_temp.event('j', 'accessed')) ->> 'recorded', case when audit.is_sampled(encode(substring(sha256('j') from 1 for 16), 'hex')::uuid, '0.5') then '1' else '0' end, 'a share of them by their names');
select cmp_ok(abs(count(*) filter (where audit.is_sampled(gen_random_uuid(), '0.1')) - 1000), '<', 200::bigint, 'as large as was asked for') from generate_series(1, 10000);
select ok(audit.is_sampled('00000000-0000-4000-8000-000000000000', '0.000001') and not audit.is_sampled('ffffffff-ffff-4fff-bfff-ffffffffffff', '0.999999'), 'from the first name on');
select throws_ok(format('select audit.configure(''api_access'', %L)', v), 'AUOPT', null, v || ' is no share') from unnest(array['0', '1', '-0.1', '"some"', 'true', 'null']) v;

-- What is Auth's goes to whom Auth's events are told
select is((pg_temp.take(pg_temp.event('l', 'auth', '{"ip_address": "198.51.100.9", "outcome": "failure", "details": {"reason": "invalid_credentials"}}')) ->> 'recorded')::int, 1, 'a failed login');
select is(pg_temp.take(pg_temp.event('m', 'auth', jsonb_build_object(
  'action', null, 'payload', jsonb_build_object('action', 'user_recovery_requested', 'actor_id', person('admin'), 'actor_username', 'admin@example.com')
))) ->> 'recorded', '1', 'and what Auth says in its own words');
select is(array_agg(distinct organization_id), array[acme(), globex()], 'is told in ours, where its user belongs') from public.audit_logs where action = 'user.password_reset_requested' and created_by = person('admin');

-- Forgetting
update audit.seen_logs set seen_at = clock_timestamp() - interval '1 day' where key = encode(substring(sha256('a') from 1 for 16), 'hex')::uuid;
update audit.seen_logs set seen_at = clock_timestamp() - interval '26 hours' where key = encode(substring(sha256('b') from 1 for 16), 'hex')::uuid;
select is(audit.forget_seen_logs(), 1::bigint, 'what could not come again is forgotten');

select is(said(n, $$ select audit.ingest_logs('[]') $$), '42501', format('%s takes nothing in', n)), is(said(n, 'select count(*) from audit.seen_logs'), '42501', 'and sees nothing of it')
from unnest(array['admin', 'member', 'stranger', 'anon', 'service_role']) n;
select ok(bool_and(status = 'verified'), 'the chains verify') from audit.verify();
