-- Who acts, in which request, and what of it is believed.

-- Small helpers
select is(audit.as_uuid('0A000000-0000-4000-8000-000000000001'), acme(), 'as_uuid() reads capitals');
select is(audit.as_uuid('0a000000000040008000000000000001'), null, 'as_uuid() is null for a UUID without hyphens');
select is(audit.as_uuid(''), null, 'as_uuid() is null for nothing');
select is(audit.as_uuid(E'0a000000-0000-4000-8000-000000000001\n'), null, 'as_uuid() is null for a UUID and a line feed');

select is(audit.bounded('short', 100), 'short', 'bounded() leaves what fits');
select is(audit.bounded(repeat('x', 100), 100), repeat('x', 100), 'bounded() leaves what just fits');
select is(
  audit.bounded(repeat('x', 101), 100), repeat('x', 28) || '…sha256:' || encode(sha256(repeat('x', 101)::bytea), 'hex'),
  'bounded() ends in the digest of all of it'
);
select is(length(audit.bounded(repeat('🦕', 5000), 100)), 100, 'bounded() counts characters');
select is(audit.bounded(null, 100), null, 'bounded() of nothing is nothing');

create temporary table address (sent text, kept text);
insert into address values
  ('203.0.113.7', '203.0.113.7'), (' 203.0.113.7 , 10.0.0.1', '203.0.113.7'), ('203.0.113.7:8080', '203.0.113.7'),
  ('2001:DB8:0:0::1', '2001:db8::1'), ('[2001:db8::1]:443', '2001:db8::1'), ('[2001:db8::1]', '2001:db8::1'),
  ('fe80::1%eth0', 'fe80::1'), ('::ffff:192.0.2.1', '::ffff:192.0.2.1'), ('', null), (' , 10.0.0.1', null), (null, null),
  ('unknown', 'unknown'), (repeat('x', 100), repeat('x', 64)), ('203.0.113.0/24', '203.0.113.0');
select is(audit.normalized_ip(sent), kept, format('normalized_ip(%L)', sent)) from address;

-- The context of a request
select act_as('admin');
select act_as_owner();
select set_config('request.jwt.claims', json_build_object('sub', person('admin'), 'email', 'a@example.com', 'role', 'authenticated')::text, true);
select set_config('request.headers', '{"x-forwarded-for": "203.0.113.7, 10.0.0.1", "user-agent": "Firefox", "x-request-id": "r1"}', true);
select results_eq(
  'select created_by, actor_type, email, ip_address, user_agent, request_id, extra from audit.context()',
  $$ values (person('admin'), 'user', 'a@example.com', '203.0.113.7', 'Firefox', 'r1', null::jsonb) $$,
  'claims and headers of PostgREST name person, address and request'
);
select set_config('audit.actor', person('member')::text, true);
select is((select created_by from audit.context()), person('admin'), 'claims win over the application''s settings');
select set_config('audit.request_id', 'r2', true);
select is((select request_id from audit.context()), 'r2', 'the application''s request id wins over the client''s');

select set_config('request.jwt.claims', '', true);
select results_eq(
  'select created_by, actor_type, email from audit.context()', $$ values (person('member'), 'user', null) $$,
  'without claims the application says who acts'
);
select set_config('audit.actor_type', 'api_key', true);
select is((select actor_type from audit.context()), 'api_key', 'and of which kind');
select set_config('audit.actor_type', 'emperor', true);
select is((select actor_type from audit.context()), 'user', 'an unknown kind is a user');
select set_config('audit.actor', 'user_2abc', true);
select results_eq(
  'select created_by, extra from audit.context()', $$ values (null::uuid, '{"subject": "user_2abc"}'::jsonb) $$,
  'an actor that is no UUID is kept in the details'
);
select set_config('audit.actor', '', true), set_config('audit.request_id', '', true);

select results_eq(
  'select created_by, actor_type, extra from audit.context()', $$ values (null::uuid, 'database', '{"database_role": "postgres"}'::jsonb) $$,
  'without both it is the database role'
);
select set_config('request.jwt.claims', '{"role": "service_role"}', true);
select results_eq('select created_by, actor_type from audit.context()', $$ values (null::uuid, 'service') $$, 'service_role is a service');
select set_config('request.jwt.claims', '{"role": "anon", "email": "forged@example.com"}', true);
select results_eq(
  'select created_by, actor_type, email from audit.context()', $$ values (null::uuid, 'user', null) $$, 'anon is a user without name or e-mail'
);
select set_config('request.jwt.claims', '{"sub": "user_2abc", "email": "c@example.com", "role": "authenticated"}', true);
select results_eq(
  'select created_by, actor_type, email, extra from audit.context()',
  $$ values (null::uuid, 'user', 'c@example.com', '{"subject": "user_2abc"}'::jsonb) $$,
  'a third party''s subject is kept in the details'
);

-- Malformed, too long, or not of this world: never an error
create function pg_temp.survives(claims text, headers text, description text) returns text language plpgsql as $$
begin
  perform set_config('request.jwt.claims', claims, true), set_config('request.headers', headers, true);
  return tap.lives_ok('select * from audit.context()', description);
end
$$;
select pg_temp.survives('{', '{}', 'claims that are no JSON');
select is((select extra ->> 'malformed_claims' from audit.context()), 'true', 'are said to be malformed');
select set_config('request.jwt.claims', json_build_object('sub', person('admin'))::text, true), set_config('request.headers', '{', true);
select is((select created_by from audit.context()), person('admin'), 'malformed headers take nothing from well-formed claims');
select pg_temp.survives('[]', '[]', 'claims and headers that are lists');
select pg_temp.survives('null', 'null', 'claims and headers that are null');
select pg_temp.survives('{"sub": {"a": 1}}', '{"user-agent": ["x"]}', 'claims and headers of other types');
select pg_temp.survives('{"sub": "\u0000"}', '{"user-agent": "\ud800"}', 'text that the database cannot hold');
select pg_temp.survives(
  json_build_object('sub', repeat('x', 1000000), 'email', repeat('y', 1000000))::text,
  json_build_object('x-forwarded-for', repeat('1', 1000000), 'user-agent', repeat('z', 1000000), 'x-request-id', repeat('r', 1000000))::text,
  'a megabyte in every field'
);
select results_eq(
  $$ select length(email), length(ip_address), length(user_agent), length(request_id), length(extra ->> 'subject') from audit.context() $$,
  'values (320, 64, 500, 200, 200)', 'is cut'
);
