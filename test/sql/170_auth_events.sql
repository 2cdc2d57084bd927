-- One real event, however many tell of it.

create function tap.told(
  source text, action text, ago interval default '0', person text default 'admin', ip text default null, session uuid default null,
  email text default null, request text default null, details jsonb default '{}', outcome text default 'success'
)
  returns audit.auth_event language sql
return row(source, action, outcome, now() - ago, tap.person(person), email, ip, null, session, request, details)::audit.auth_event;
create function tap.verdicts(variadic events audit.auth_event[]) returns text language sql
as $$ select string_agg(verdict, ' ' order by n) from audit.record_auth(events) $$;
create function tap.auth_entries() returns bigint language sql
as $$ select count(*) from public.audit_logs where details ? 'source' $$;

select is(tap.verdicts(tap.told('trigger', 'user.login', session => gen_random_uuid())), 'recorded', 'the first teller makes the entry');
select is(tap.verdicts(tap.told('audit_table', 'user.login', '1 second')), 'duplicate', 'the second does not');
select is(tap.verdicts(tap.told('audit_table', 'user.login', '1 second')), 'duplicate', 'nor the second again');
select is(tap.verdicts(tap.told('log', 'user.login', '2 seconds', request => 'a')), 'duplicate', 'nor the third');
select is(tap.verdicts(tap.told('log', 'user.login', '2 seconds', request => 'b')), 'recorded', 'another request of the log is another login');
select is(tap.verdicts(tap.told('trigger', 'user.login', '13 seconds')), 'recorded', 'eleven seconds apart are two');
select is(tap.verdicts(tap.told('audit_table', 'user.login', person => 'member')), 'recorded', 'another person is another login');
select is(tap.verdicts(tap.told('trigger', 'user.logout')), 'recorded', 'another action is another event');
select is(
  (select array_agg(organization_id || ' ' || (details ->> 'source') order by 1) from public.audit_logs where action = 'user.login' and created_by = tap.person('member')),
  array[tap.acme() || ' audit_table'], 'an entry stands in the organisation of its user'
);

select is(
  tap.verdicts(
    tap.told('hook', 'user.login_failed', '0', 'viewer', '192.0.2.1', outcome => 'failure'),
    tap.told('log', 'user.login_failed', '1 second', null, '192.0.2.1', request => 'f1', outcome => 'failure'),
    tap.told('log', 'user.login_failed', '1 second', null, '192.0.2.1', request => 'f2', outcome => 'failure'),
    tap.told('log', 'user.login_failed', '1 second', null, '192.0.2.1', request => 'f1', outcome => 'failure')
  ),
  'recorded duplicate recorded duplicate', 'a log that knows only the address is paired with a hook that knows the person, once'
);
select is(
  tap.verdicts(
    tap.told('log', 'user.login_failed', '9 minutes', null, '192.0.2.2', request => 'f3', outcome => 'failure'),
    tap.told('hook', 'user.login_failed', '9 minutes', 'viewer', '192.0.2.2', outcome => 'failure')
  ),
  'duplicate recorded', 'in a batch as one after the other, late or not'
);
select is(
  tap.verdicts(tap.told('trigger', 'user.password_changed', person => 'viewer'), tap.told('audit_table', 'user.updated', person => 'viewer')),
  'recorded duplicate', 'what Auth only calls a modification is what was modified'
);
select is(
  tap.verdicts(tap.told('trigger', 'user.login', session => gen_random_uuid(), person => 'stranger'), tap.told('hook', 'user.login', session => gen_random_uuid(), person => 'stranger')),
  'recorded recorded', 'two sessions are two logins'
);

-- Bad input
select is(
  tap.verdicts(
    tap.told('nobody', 'user.login'), tap.told('log', 'Login'), tap.told('log', null), tap.told('log', 'user.login', outcome => 'maybe'),
    tap.told('log', 'user.login', details => '[]'), tap.told('log', 'user.login', '2 days'), tap.told('log', 'user.login', '-1 day'), null,
    tap.told('log', 'user.seen')
  ),
  'refused refused refused refused refused refused refused refused recorded', 'what cannot be taken is refused alone'
);
select is((select verdict from audit.record_auth(array[row('log', 'user.login', 'success', t, null, null, null, null, null, null, null)::audit.auth_event])), 'refused', t || ' is no time')
from unnest('{infinity,-infinity}'::timestamptz[]) t;
select is(tap.verdicts(tap.told('log', 'user.noted', details => d::jsonb)), 'recorded', 'odd, and taken: ' || d)
from unnest(array[
  '{"personal": {}}', '{"personal": []}', '{"personal": {"email": 7, "phone": {}}}', '{"actor": "me"}', '{"actor": {"type": {}, "id": "0"}}', '{"resource": [1]}',
  '{"happened_at": "never", "source": "nobody"}', json_build_object('long', repeat('x', 100000))::text
]) d;
select is(
  (select count(*) from audit.record_auth('{}')) + (select count(*) from audit.record_auth(null)), 0::bigint, 'no events are no events'
);

-- What an entry says
insert into auth.users (id, email, created_at) values (tap.person('member'), 'member@example.com', now() - interval '1 hour');
select lives_ok($$
  select * from audit.record_auth(array[
    row('log', 'user.login_failed', 'failure', now() - interval '1 minute', null, ' Member@Example.com', 'fe80::1%eth0', 'curl', null, 'r1',
      '{"reason": "sk-abcdefghijklmnop1234"}')::audit.auth_event,
    row('log', 'user.login_failed', 'failure', now(), null, '0', 'proxy.example', '', null, null, null)::audit.auth_event,
    row('log', 'access.denied', 'denied', now(), tap.person('member'), null, null, null, null, 'r2',
      '{"actor": {"type": "api_key", "id": null}, "resource": {"type": "route", "id": "/rest/v1/x"}}')::audit.auth_event
  ])
$$);
select results_eq(
  $$
    select organization_id, action, outcome, resource_type, resource_id, created_by, actor_type, email, ip_address, user_agent, request_id,
      details - 'happened_at'
    from public.audit_events where details ->> 'source' = 'log' and (request_id in ('r1', 'r2') or email = '0') order by action, request_id
  $$,
  format($$ values
    (%1$L::uuid, 'access.denied', 'denied', 'route', '/rest/v1/x', null::uuid, 'api_key', null, null, null, 'r2', '{"source": "log"}'::jsonb),
    (%1$L, 'user.login_failed', 'failure', 'user', %3$L, %3$L, 'user', 'member@example.com', 'fe80::1', 'curl', 'r1', '{"source": "log", "reason": "***"}'),
    (%2$L, 'user.login_failed', 'failure', null, null, null, 'user', '0', 'proxy.example', null, null, '{"source": "log"}')
  $$, tap.acme(), audit.system_organization(), tap.person('member')),
  'whose it was, from where, and nothing secret; an address that is nobody''s goes to the system''s log'
);
select is(
  (select details ->> 'happened_at' from public.audit_logs where request_id = 'r1'),
  to_char((now() - interval '1 minute') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'when it happened stands beside when it was written'
);
select is((select count(*) from public.audit_logs where request_id = 'r2' and details ? 'happened_at'), 0::bigint, 'unless that is the same');
select lives_ok($$
  select * from audit.record_auth(array[row('trigger', 'user.email_changed', 'success', now(), tap.person('member'), 'new@example.com', null, null, null, null,
    '{"personal": {"email": {"old": "member@example.com", "new": "new@example.com"}}}')::audit.auth_event])
$$);
select results_eq(
  $$
    select v.value from public.audit_logs a
    cross join lateral jsonb_each(a.details #> '{changes,email}') s (side, value)
    join audit.personal_values v on v.value_hash = decode(s.value ->> 'personal', 'hex') and v.subject_id = tap.person('member')
    where a.action = 'user.email_changed' order by s.side
  $$,
  array['new@example.com', 'member@example.com'], 'addresses enter as commitments'
);
select ok(not exists (select from public.audit_logs where details::text ~ 'example\.com'), 'and never as themselves');

-- Confirming an account is what Auth calls its sign-up.
select is(tap.verdicts(tap.told('audit_table', 'user.signed_up', person => 'member')), 'recorded');
select is((select action from public.audit_logs where details ->> 'source' = 'audit_table' order by created_at desc, seq desc limit 1), 'user.confirmed', 'an account confirmed later is no second sign-up');

-- What waits is settled later, with what is left of it.
select is(tap.verdicts(tap.told('hook', 'user.mfa_failed', person => null)), 'waiting', 'Auth does not decide about people it cannot lock');
insert into audit.waiting_auth_events (event) values
  (tap.told('hook', 'user.mfa_failed', person => 'admin')), (tap.told('hook', 'user.mfa_failed', person => 'admin')), (tap.told('hook', 'user.mfa_failed', '2 days'));
select is(audit.settle_waiting_auth(), 4, 'all that wait are settled');
select is((select count(*) from public.audit_logs where action = 'user.mfa_failed'), 2::bigint, 'each once');
select results_eq('select kind, detail from audit.findings where resolved_at is null', $$ values ('auth_events_lost', '{"events": 1}'::jsonb) $$, 'what waited beyond a day is lost, and that is said');
insert into audit.waiting_auth_events (event) values (null), (tap.told('hook', 'user.mfa_failed', '5 minutes'));
create function pg_temp.memberships_fail() returns void language plpgsql as $$ begin
  execute 'create or replace function audit.memberships(user_id uuid) returns table (organization_id uuid, role text) language plpgsql as ''begin raise exception using message = 1; end''';
end $$;
select pg_temp.memberships_fail();
select is(audit.settle_waiting_auth(), 1, 'one that fails is not in the way of others');
select is((select count(*) from audit.findings where kind = 'auth_event_waiting' and resolved_at is null), 1::bigint, 'and is a finding');
select audit.use_membership('public.organization_members');
select is(audit.settle_waiting_auth(), 1, 'until it can be settled');
select is((select count(*) from audit.findings where kind = 'auth_event_waiting' and resolved_at is null), 0::bigint);
insert into audit.auth_sightings (mark, happened_at) values (gen_random_uuid(), now() - interval '26 hours');
select is(audit.forget_auth_sightings(), 1::bigint, 'sightings are forgotten after a day');
select ok((select bool_and(status = 'verified') from audit.verify()), 'all chains verify');
