-- The hooks of Auth: they record failures and let Auth decide.

create function tap.attempt(hook text, event text) returns jsonb language plpgsql as $$
declare
  v_answer jsonb;
begin
  execute format('select audit.%I($1)', hook) into v_answer using event::jsonb;
  return v_answer;
end
$$;
create function tap.payload(valid text, person text default 'member', ip text default '192.0.2.9', at timestamptz default now()) returns text language sql
as $$
  select json_build_object(
    'metadata', json_build_object('uuid', gen_random_uuid(), 'time', at, 'name', 'password-verification', 'ip_address', ip),
    'user_id', tap.person(person), 'factor_id', gen_random_uuid(), 'factor_type', 'totp', 'valid', valid::json
  )::text
$$;

select is(tap.attempt('hook_password_verification_attempt', tap.payload('true')), '{"decision": "continue"}', 'a right password');
select is(tap.attempt('hook_mfa_verification_attempt', tap.payload('true')), '{"decision": "continue"}', 'a right code');
select is((select count(*) from public.audit_logs where action like 'user.%failed'), 0::bigint, 'are no failures');
select is(tap.attempt('hook_password_verification_attempt', tap.payload('false')), '{"decision": "continue"}', 'a wrong password');
select is(tap.attempt('hook_mfa_verification_attempt', tap.payload('false', at => now() - interval '3 hours')), '{"decision": "continue"}', 'a wrong code, by a clock that is wrong too');
select results_eq(
  $$
    select organization_id, action, outcome, created_by, ip_address, details ->> 'reason', details ->> 'factor_type', details ? 'happened_at'
    from public.audit_events where action like 'user.%failed' order by action
  $$,
  format($$ values
    (%1$L::uuid, 'user.login_failed', 'failure', %2$L::uuid, '192.0.2.9', 'wrong password', 'totp', false),
    (%1$L, 'user.mfa_failed', 'failure', %2$L, '192.0.2.9', 'wrong code', 'totp', false)
  $$, tap.acme(), tap.person('member')),
  'are entries, with whose and from where'
);

-- Malformed
select is(
  array_agg(distinct tap.attempt(hook, event)), array['{"decision": "continue"}'::jsonb], 'whatever Auth sends, it decides itself: ' || hook
)
from unnest(array['hook_password_verification_attempt', 'hook_mfa_verification_attempt']) hook
cross join unnest(array[
  null, 'null', '{}', '[]', '7', '"x"', '{"user_id": "0", "valid": false}', '{"user_id": null, "valid": false}', '{"user_id": {"a": 1}, "valid": false}',
  '{"user_id": "20000000-0000-4000-8000-000000000002", "valid": "no"}', '{"user_id": "20000000-0000-4000-8000-000000000002"}',
  '{"user_id": "20000000-0000-4000-8000-000000000002", "valid": false, "metadata": {"time": "yesterday?", "ip_address": {"a": []}}}',
  '{"user_id": "20000000-0000-4000-8000-000000000002", "valid": false, "metadata": []}', tap.payload('false', ip => 'fe80::1%eth0'), tap.payload('false', ip => '')
]) event
group by hook;
select results_eq(
  $$ select distinct kind, detail ->> 'sqlstate' from audit.findings $$, $$ values ('auth_capture_failed', '22023') $$, 'and what it sent is a finding'
);

-- Locking out
select audit.configure('login_lockout', '{"failures": 3, "seconds": 600}');
select is(tap.attempt('hook_password_verification_attempt', tap.payload('false', 'viewer', at => now() - n * interval '1 second')) ->> 'decision', 'continue', 'failure ' || n) from generate_series(1, 3) n;
select is(
  tap.attempt('hook_password_verification_attempt', tap.payload('true', 'viewer')),
  '{"decision": "reject", "message": "Too many failed attempts. Try again later.", "should_logout_user": false}', 'then even the right password is refused'
);
select is(tap.attempt('hook_mfa_verification_attempt', tap.payload('false', 'viewer')) ->> 'decision', 'continue', 'codes are counted apart');
select is(tap.attempt('hook_password_verification_attempt', tap.payload('true', 'stranger')) ->> 'decision', 'continue', 'and so are people');
select is((select count(*) from public.audit_logs where outcome = 'denied' and details ->> 'reason' = 'locked out'), 1::bigint, 'a refusal is an entry');
select throws_ok(format('select audit.configure(''login_lockout'', %L)', v), 'AUOPT', null, 'no such policy: ' || v)
from unnest(array['true', '{}', '{"failures": 0, "seconds": 60}', '{"failures": 3}', '{"failures": 3, "seconds": "soon"}', '{"failures": 3, "seconds": 60, "x": 1}']) v;
select audit.configure('login_lockout', 'false');
select is(tap.attempt('hook_password_verification_attempt', tap.payload('true', 'viewer')) ->> 'decision', 'continue', 'off again');

-- Only Auth may ask.
select results_eq(
  $$
    select r.rolname::text collate "default" from pg_roles r
    where not r.rolsuper and r.rolname !~ '^pg_' and has_function_privilege(r.oid, 'audit.hook_password_verification_attempt(jsonb)', 'execute')
      and has_function_privilege(r.oid, 'audit.hook_mfa_verification_attempt(jsonb)', 'execute')
    order by 1
  $$,
  array['postgres', 'supabase_auth_admin'], 'the hooks are for Auth'
);
select performs_ok(format('select audit.hook_password_verification_attempt(%L)', tap.payload('false', 'stranger')), 1000, 'long before Auth, which waits two seconds, gives up');
select ok((select bool_and(status = 'verified') from audit.verify()), 'all chains verify');
