-- Entries as OCSF events. test/unit/ocsf.test.ts holds them against the schema; here is what they say of an entry.

-- The entries that setup.sql left, and one of everything else that is told apart.
select audit.record(acme(), 'access.denied', 'report', '2026-01', '{}', 'denied');
select audit.record(acme(), 'alert.opened', 'alert', 'a1', '{"severity": "high", "title": "Many failed logins"}');
select audit.record(acme(), 'alert.resolved', 'alert', 'a1', '{"severity": "high"}');
select audit.record(acme(), 'query.completed', 'query', 'q1', '{"new": {"prompt_tokens": 12, "completion_tokens": 3.0}}', 'success', 'openai', 0.00120);
select audit.record(acme(), 'log.searched', 'log', null, '{"query": "action:api_key.* \"quarterly\""}');
select audit.record(acme(), 'integration.configured', 'integration', 'i1', '{"new": {}}');
select audit.record(acme(), 'integration.configured', 'integration', 'i1', '{"changes": {}}');
select audit.record(acme(), 'invoice.paid', E'"odd" \\ type', E'line\nbreak');
select audit.record(acme(), 'user.login_failed', 'user', person('member')::text, '{}', 'failure');
select audit.record(acme(), 'user.login', 'user', null);
select audit.record(null, 'verification.failed');

create function pg_temp.event(action text, email text default null, ip text default null, agent text default null)
  returns jsonb language sql as $$
  select audit.ocsf(a, email, ip, agent) from public.audit_logs a where a.action = event.action order by a.seq desc limit 1
$$;

-- Nothing is lost
create function pg_temp.entry(event jsonb) returns public.audit_logs language sql as $$
  select jsonb_populate_record(null::public.audit_logs, (event -> 'unmapped') || jsonb_build_object(
    'organization_id', event -> 'metadata' -> 'tenant_uid',
    'created_at', timestamptz 'epoch' + (event -> 'metadata' ->> 'original_time')::bigint * interval '1 microsecond',
    'action', event -> 'metadata' -> 'event_code',
    'created_by', event -> 'actor' -> 'user' -> 'uid',
    'request_id', event -> 'metadata' -> 'correlation_uid',
    'identity_hash', '\x' || (event -> 'unmapped' ->> 'identity_hash'),
    'prev_hash', '\x' || (event -> 'unmapped' ->> 'prev_hash'),
    'hash', '\x' || (event -> 'unmapped' ->> 'hash')
  ))
$$;
select is(
  (select count(*) from public.audit_logs a where pg_temp.entry(audit.ocsf(a, 'x@example.com', '::1', 'x')) is distinct from a), 0::bigint,
  'the entry can be made again from its event'
);
select is(
  (select count(*) from public.audit_logs a where audit.hash_of(audit.entry_text(pg_temp.entry(audit.ocsf(a)))) is distinct from a.hash), 0::bigint,
  'and with it its hash'
);
select cmp_ok((select count(*) from public.audit_logs), '>', 20::bigint, 'of which there are many');
select is(
  (select count(*) from public.audit_logs a where audit.ocsf_line(a, null, null, null) ~ '[\n\r]'), 0::bigint, 'an event is one line'
);
select is(
  (select count(*) from public.audit_logs a where audit.ocsf_line(a, 'a"b', 'c"d', E'e\\f\n')::jsonb <> audit.ocsf(a, 'a"b', 'c"d', E'e\\f\n')), 0::bigint,
  'whatever stands in it'
);

-- What it says
create temporary table denied as select pg_temp.event('access.denied', 'jane@example.com', '203.0.113.7', 'curl') as event;
select is(event #>> '{metadata,uid}', (select format('%s/%s-%s', acme(), a.chain, a.seq) from public.audit_logs a where a.action = 'access.denied'), 'an event has the name of its entry, and whose it is') from denied;
select is(event -> 'time', to_jsonb((event #>> '{metadata,original_time}')::bigint / 1000), 'time is in milliseconds') from denied;
select is(event #> '{metadata,profiles}', '["security_control"]', 'a denial') from denied;
select is(event -> 'action_id', '2', 'was denied') from denied;
select is(event -> 'status_id', '2', 'has failed') from denied;
select is(event -> 'severity_id', '3', 'and is of medium severity') from denied;
select is(event #> '{src_endpoint}', '{"ip": "203.0.113.7"}', 'from where') from denied;
select is(event #> '{http_request}', '{"user_agent": "curl"}', 'with what') from denied;
select is(event #>> '{actor,user,email_addr}', 'jane@example.com', 'and by whom') from denied;
select is(pg_temp.event('access.denied') -> 'src_endpoint', '{"name": "database-internal"}', 'what has no address came from the database');
select is(pg_temp.event('budget.created') -> 'src_endpoint', '{"name": "not-recorded"}', 'unless it came from a person');
select is(pg_temp.event('access.denied', 'näme') #> '{actor,user,email_addr}', null, 'what is no e-mail address by OCSF''s definition is not called one');
select is(pg_temp.event('access.denied', 'näme') #>> '{actor,user,name}', 'näme', 'but a name');
select is(pg_temp.event('access.denied') #>> '{actor,user,name}', 'postgres', 'the database''s role is a name too');

select is(audit.ocsf_endpoint(ip, 'user'), '{"ip":"' || ip || '"}', ip || ' is an address')
from unnest('{0.0.0.0, 255.255.255.255, 10.20.130.240, ::, ::1, 2001:db8::1, fe80::, 1:2:3:4:5:6:7:8, 1:2:3:4:5:6::, abcd:ef01:2345:6789:abcd:ef01:2345:6789}'::text[]) ip;
select is(audit.ocsf_endpoint(ip, 'user'), '{"name":' || to_json(ip) || '}', ip || ' is none')
from unnest(array['', ' ', '256.1.1.1', '1.2.3', '1.2.3.4.5', '01.2.3.4', '1.2.3.4 ', E'1.2.3.4\n', '1:2:3', ':::', '1::2::3', '1:2:3:4:5:6:7:8:9', '12345::', 'g::', 'unknown', 'a"b']) ip;

select is(event ->> 'class_uid', '2004', 'an alert is a finding'),
  is(event -> 'severity_id', '4', 'as grave as its rule says'),
  is(event -> 'finding_info', '{"uid": "a1", "title": "Many failed logins"}', 'with a title'),
  is(event -> 'is_alert', 'true', 'to be looked at'),
  is(event #>> '{unmapped,ip_address}', '::1', 'a class without a source has it unmapped')
from pg_temp.event('alert.opened', null, '::1') event;
select is(pg_temp.event('alert.resolved') #>> '{finding_info,uid}', 'a1', 'its end is of the same finding');
select is(pg_temp.event('alert.resolved') ->> 'status', 'Resolved', 'whose status is how far it is');
select is(pg_temp.event('verification.failed') ->> 'severity', 'Critical', 'a broken chain is critical');

select is(event -> 'message_context', '{"service": {"name": "openai"}, "ai_role": "Assistant", "ai_role_id": 2, "prompt_tokens": 12, "completion_tokens": 3}', 'a response has its tokens as integers'),
  is(event #> '{unmapped,cost}', '"0.00120"', 'its cost in exact digits'),
  is(event #> '{unmapped,details,new,completion_tokens}', '3.0', 'and its details as they are')
from pg_temp.event('query.completed') event;
select is(pg_temp.event('log.searched') #>> '{query_info,query_string}', 'action:api_key.* "quarterly"', 'a search has its query');
select is(
  (select array_agg(audit.ocsf(a) ->> 'type_name' order by a.seq) from public.audit_logs a where a.action = 'integration.configured'),
  '{Entity Management: Create,Entity Management: Update}', 'configuring for the first time creates'
);
select is(pg_temp.event('invoice.paid') ->> 'type_name', 'API Activity: Other', 'actions that nobody knows are calls of an API');
select is(pg_temp.event('invoice.paid') ->> 'activity_name', 'invoice.paid', 'under their own name');
select is(pg_temp.event('user.login_failed') -> 'user', jsonb_build_object('uid', person('member')), 'who could not sign in is named by the resource');
select is(pg_temp.event('user.login') #>> '{user,name}', 'postgres', 'or is who acted');
select is(pg_temp.event('auditor.granted') -> 'privileges', '["auditor"]', 'a grant names what was granted');
select is(pg_temp.event('member.added') #>> '{group,uid}', acme()::text, 'members join the organisation');
select isnt(pg_temp.event('member.added') #>> '{user,uid}', pg_temp.event('member.added') #>> '{actor,user,uid}', 'who was added is not who added');

-- Every mapped event has its captions
select is(count(*), 0::bigint, 'every type has a name')
from regexp_matches(pg_get_functiondef('audit.ocsf_type_uid(text, jsonb)'::regprocedure), 'THEN (\d{6})', 'g') m
where audit.ocsf_classification(m[1]::int, 'a.b') is null;

-- The planner puts it in place of the call: a call a row would cost as much again.
create function pg_temp.plan() returns setof text language plpgsql as $$
begin
  return query execute 'explain (verbose, costs off) select audit.ocsf_line(a, null, null, null) from public.audit_logs a';
end
$$;
select ok(not bool_or(plan like '%ocsf%'), 'nothing of it is called row by row') from pg_temp.plan() plan;
