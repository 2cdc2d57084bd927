-- What admins choose: who may, that each choice is an entry, and what stays the owner's.
create function pg_temp.asked(person text, function_name text, request jsonb) returns text language sql as $$
  select said(person, format('select audit.%I(%L)', function_name, jsonb_build_object('organization_id', tap.acme()) || request))
$$;
create temporary table request (name text, request jsonb);
insert into request values
  ('settings_page', '{}'), ('change_settings', '{"query_text": true}'), ('change_retention', '{"database_days": 400, "archive_days": null}'),
  ('change_hold', '{"name": "Case", "reason": "Court order"}'), ('change_hold', '{"name": "Case", "release": true}'),
  ('change_auditor', '{"user_id": "90000000-0000-4000-8000-000000000009", "expires_at": "2999-01-01"}'), ('change_auditor', '{"user_id": "90000000-0000-4000-8000-000000000009", "revoke": true}');
grant select on request to public;
select is(pg_temp.asked(n, r.name, r.request), said, format('%s, %s %s: %s', n, r.name, r.request, said))
from request r, (values ('member', 'AUDEN'), ('viewer', 'AUDEN'), ('auditor', 'AUDEN'), ('seeing_auditor', 'AUDEN'), ('expired_auditor', 'AUDEN'), ('stranger', 'AUDEN'), ('anon', '42501')) v (n, said);
select is(pg_temp.asked('admin', r.name, r.request || jsonb_build_object('organization_id', o)), 'AUDEN', format('an admin, %s of %s', r.name, o)) from request r, unnest(array[globex(), audit.system_organization()]) o;
select is((select count(*) from public.audit_logs where action in ('capture.changed', 'retention.changed', 'hold.placed', 'hold.released', 'auditor.revoked') and created_by is not null)::int, 0, 'what was refused left nothing');

select is(pg_temp.asked('admin', r.name, r.request)::jsonb ->> 'organization_id', acme()::text, format('an admin, %s %s', r.name, r.request)) from request r;
select bag_eq(
  format($$ select action from public.audit_logs where organization_id = %L and created_by = %L and created_at > (select max(created_at) from public.audit_logs where action = 'retention.changed') - interval '1 minute'
    and action in ('capture.changed', 'retention.changed', 'hold.placed', 'hold.released', 'auditor.granted', 'auditor.revoked') $$, acme(), person('admin')),
  array['capture.changed', 'retention.changed', 'hold.placed', 'hold.released', 'auditor.granted', 'auditor.revoked'], 'each is an entry of theirs'
);

-- Settings
select is(audit.setting('query_text', acme()), 'true', 'it applies');
select is(audit.setting('query_text', globex()), 'false', 'there alone');
insert into public.llm_queries (id, organization_id, query_text) values ('e0000000-0000-4000-8000-000000000001', acme(), 'asked'), ('e0000000-0000-4000-8000-000000000002', globex(), 'asked');
select is(details #>> '{new,query_text}', case organization_id when acme() then 'asked' end, 'as written') from public.audit_logs where resource_type = 'llm_query' and action like '%executed%' and resource_id like 'e0000000%';
select is(pg_temp.asked('admin', 'change_settings', '{"query_text": true}')::jsonb -> 'chosen', '["query_text"]', 'said again, nothing changes');
select is((select count(*) from public.audit_logs where action = 'capture.changed' and organization_id = acme() and resource_type = 'setting')::int, 1, 'and nothing is written');
select is(pg_temp.asked('admin', 'change_settings', '{"query_text": false}'), 'AURAT', 'the other way a moment later is too soon');
update audit.settings set changed_at = now() - interval '1 minute';
select is(pg_temp.asked('admin', 'change_settings', '{"query_text": false, "ip_addresses": "truncated", "time_zone": "Europe/Berlin"}')::jsonb - array['retention', 'auditors', 'organization_id'],
  '{"query_text": false, "ip_addresses": "truncated", "time_zone": "Europe/Berlin", "chosen": ["ip_addresses", "query_text", "time_zone"]}', 'several at once');
select is(audit.permitted_ip(acme(), '203.0.113.77'), '203.0.113.0', 'addresses are cut from now on');
select is(audit.permitted_ip(globex(), '203.0.113.77'), '203.0.113.77', 'and whole elsewhere');
update audit.settings set changed_at = now() - interval '1 minute';
select is(pg_temp.asked('admin', 'change_settings', r), code, r::text) from (values
  ('{"ip_addresses": "sometimes"}'::jsonb, 'AUOPT'), ('{"query_text": "true"}', 'AUOPT'), ('{"query_text": null}', 'AUOPT'), ('{"time_zone": "Mars"}', 'AUARG'), ('{"time_zone": null}', 'AUARG'),
  ('{"seal_after": 3600}', 'AUARG'), ('{"shorten_retention_after": 1}', 'AUARG'), ('{"client_actions": []}', 'AUARG'), ('{"local_channels": true}', 'AUARG'), ('{"api_access": "off"}', 'AUARG')
) v (r, code);
select is(said('service_role', format('select audit.change_settings(%L)', jsonb_build_object('organization_id', audit.system_organization(), 'query_text', true))), 'AUDEN', 'the project''s settings are its owner''s');
select is((select count(*) from audit.settings where organization_id = acme())::int, 3, 'nothing else was chosen');

-- Retention
select is(pg_temp.asked('admin', 'change_retention', r), 'AUARG', r::text) from unnest(array[
  '{}', '{"database_days": 400}', '{"database_days": "many", "archive_days": 400}', '{"database_days": 1.5, "archive_days": 400}', '{"database_days": 89, "archive_days": 400}',
  '{"database_days": 400, "archive_days": 100}', '{"database_days": 1000000, "archive_days": null}', '{"database_days": null, "archive_days": 400}'
]::jsonb[]) r;
select is((pg_temp.asked('admin', 'change_retention', '{"database_days": 100, "archive_days": 400}')::jsonb #> '{retention,next}') - 'at', '{"database_days": 100, "archive_days": 400}', 'shorter waits');
select is(pg_temp.asked('admin', 'change_retention', '{"database_days": null, "archive_days": null}')::jsonb #> '{retention,next}', 'null', 'and is taken back');

-- Holds
select audit.place_hold(audit.system_organization(), 'All', 'Everybody');
select is(pg_temp.asked('admin', 'change_hold', r), code, r::text) from (values
  ('{"name": "All", "release": true}'::jsonb, 'AUNOT'), ('{"name": "Never", "release": true}', 'AUNOT'), ('{"name": "Case"}', 'AUARG'), ('{"reason": "x"}', 'AUARG'), ('{"name": "x", "reason": "y", "more": 1}', 'AUARG')
) v (r, code);
select is(jsonb_path_query_array(pg_temp.asked('admin', 'change_hold', '{"name": "Two", "reason": "x"}')::jsonb, '$.retention.holds[*].of'), '["project", "organization"]', 'whose each is, is said');

-- Auditors
select is(pg_temp.asked('admin', 'change_auditor', r), code, r::text) from (values
  ('{}'::jsonb, 'AUARG'), ('{"user_id": "x", "expires_at": "2999-01-01"}', 'AUARG'), ('{"user_id": "90000000-0000-4000-8000-000000000009"}', 'AUARG'),
  ('{"user_id": "90000000-0000-4000-8000-000000000009", "expires_at": "2001-01-01"}', 'AUARG'), ('{"user_id": "90000000-0000-4000-8000-000000000009", "expires_at": "infinity"}', 'AUARG'),
  ('{"user_id": "90000000-0000-4000-8000-000000000009", "expires_at": "soon"}', 'AUARG'), ('{"user_id": "90000000-0000-4000-8000-000000000009", "revoke": true}', 'AUNOT')
) v (r, code);
select is(jsonb_path_query_first(pg_temp.asked('admin', 'settings_page', '{}')::jsonb, '$.auditors[*] ? (@.user_id == "60000000-0000-4000-8000-000000000006").expired'), 'true', 'whose time is over is still shown');
select is(jsonb_path_query_first(pg_temp.asked('admin', 'change_auditor', format('{"user_id": "%s", "expires_at": "2999-01-01T00:00:00Z", "sees_identities": true}', person('stranger'))::jsonb)::jsonb,
  format('$.auditors[*] ? (@.user_id == "%s")', person('stranger'))::jsonpath) - array['granted_at', 'granted_by'],
  jsonb_build_object('user_id', person('stranger'), 'expires_at', '2999-01-01T00:00:00.000000Z', 'expired', false, 'sees_identities', true, 'email', null), 'nor does an id tell an address that this log does not know');
