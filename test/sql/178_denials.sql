-- Refusals are entries, as many as there is room for.

create function tap.denied(person text, organization text default null) returns text language sql
as $$ select tap.said(person, format('select audit.record_denial(%L)', json_build_object('method', 'GET', 'route', '/audit/logs', 'reason', 'no', 'organization_id', organization))) $$;
create function tap.denials(organization uuid) returns bigint language sql
as $$ select count(*) from public.audit_logs where action = 'access.denied' and organization_id = organization $$;

select is(tap.denied('stranger', tap.acme()::text), 'true', 'a refusal is recorded');
select results_eq(
  $$ select organization_id, outcome, created_by, resource_type, resource_id, email, details from public.audit_events where action = 'access.denied' $$,
  format($$ values (%L::uuid, 'denied', %L::uuid, 'route', '/audit/logs', 'stranger@example.com', '{"method": "GET", "reason": "no"}'::jsonb) $$, tap.acme(), tap.person('stranger')),
  'for whom it was wanted of, with who wanted it'
);
select is(tap.denied('stranger', gen_random_uuid()::text) || tap.denials(tap.globex()), 'true1', 'what does not exist gets no log: it is the asker''s organisation''s');
select is(tap.denied('auditor', 'nonsense') || tap.denials(audit.system_organization()), 'true1', 'or the system''s');
select is(tap.said('anon', $$ select audit.record_denial('{}') $$), '42501', 'nobody without a name');
select is(tap.said('service_role', $$ select audit.record_denial('{}') $$), 'false', 'nor a service');
select is((select array_agg(tap.denied('stranger', tap.acme()::text) order by n) from generate_series(3, 22) n), array_fill('true'::text, array[18]) || '{false,false}', 'a person has twenty an hour');
select is((select count(*) from public.audit_logs where details ? 'last_this_hour'), 1::bigint, 'and the last says so');
select is(tap.denied('viewer'), 'true', 'another has his own');
insert into audit.denials select gen_random_uuid(), date_trunc('hour', clock_timestamp()), 1000 from generate_series(1, 50);
select is(tap.denied('member'), 'false', 'but all together a thousand');
update audit.denials set hour = hour - interval '2 days' where denials = 1000;
select is(tap.denied('admin'), 'true', 'until the hour is over');
select is((select count(*) from audit.denials where hour < now() - interval '1 day'), 0::bigint, 'and what is old is forgotten');
select ok((select bool_and(status = 'verified') from audit.verify()), 'all chains verify');
