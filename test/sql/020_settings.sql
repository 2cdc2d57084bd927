-- Settings of the project and of organisations.

select is(audit.system_organization(), '00000000-0000-0000-0000-000000000000'::uuid, 'the system organisation is the nil UUID');
select is(audit.setting('ip_addresses'), '"on"', 'IP addresses are recorded unless chosen otherwise');
select is(audit.setting('query_text'), 'false', 'query text is not recorded unless chosen otherwise');
select is(audit.setting('unknown'), null, 'a setting that does not exist has no value');
select is(audit.setting('ip_addresses', acme()), '"on"', 'an organisation without a choice follows the project');

select lives_ok($$ select audit.configure('ip_addresses', '"off"', acme()) $$, 'an organisation chooses');
select is(audit.setting('ip_addresses', acme()), '"off"', 'its choice is in force there');
select is(audit.setting('ip_addresses', globex()), '"on"', 'and nowhere else');
select lives_ok($$ select audit.configure('ip_addresses', '"truncated"') $$, 'the project chooses');
select is(audit.setting('ip_addresses', globex()), '"truncated"', 'for organisations without a choice');
select is(audit.setting('ip_addresses', acme()), '"off"', 'not for those that have one');

select results_eq(
  $$ select resource_type, resource_id, details -> 'changes' from public.audit_logs where organization_id = acme() and action = 'capture.changed' $$,
  $$ values ('setting', 'ip_addresses', '{"ip_addresses": {"old": "on", "new": "off"}}'::jsonb) $$,
  'a choice leaves an entry with the old and the new value'
);

select throws_ok($$ select audit.configure('ip_addresses', '"sometimes"') $$, 'AUOPT', null, 'a value that is none is refused');
select throws_ok($$ select audit.configure('colour', '"blue"') $$, 'AUOPT', null, 'a setting that is none is refused');
select throws_ok($$ select audit.configure('query_text', '"true"') $$, 'AUOPT', null, 'text where a truth value belongs is refused');
select throws_ok($$ select audit.configure('query_text', null) $$, 'AUOPT', null, 'no value is refused');
select throws_ok($$ select audit.configure(null, 'true') $$, 'AUOPT', null, 'no name is refused');
select throws_ok(
  $$ insert into audit.settings (organization_id, name, value) values (acme(), 'query_text', '1') $$,
  '23514', null, 'the table itself admits only known values'
);

-- Query text, from the choice to the entry.
select audit.configure('query_text', 'true', globex());
insert into public.llm_queries (id, organization_id, query_text) values
  ('e0000000-0000-4000-8000-000000000001', acme(), 'asked at Acme'),
  ('e0000000-0000-4000-8000-000000000002', globex(), 'asked at Globex');
select is(
  (select details #>> '{new,query_text}' from public.audit_logs where resource_id = 'e0000000-0000-4000-8000-000000000002'),
  'asked at Globex', 'query text is recorded for the organisation that switched it on'
);
select is(
  (select details -> 'new' ? 'query_text' from public.audit_logs where resource_id = 'e0000000-0000-4000-8000-000000000001'),
  false, 'and for no other'
);
select audit.configure('query_text', 'false', globex());
insert into public.llm_queries (id, organization_id, query_text) values ('e0000000-0000-4000-8000-000000000003', globex(), 'asked later');
select is(
  (select details -> 'new' ? 'query_text' from public.audit_logs where resource_id = 'e0000000-0000-4000-8000-000000000003'),
  false, 'switched off again it is no longer recorded'
);
select audit.configure('query_text', 'true');
select audit.configure('query_text', 'false', acme());
insert into public.llm_queries (id, organization_id, query_text) values
  ('e0000000-0000-4000-8000-000000000004', acme(), 'asked at Acme'),
  ('e0000000-0000-4000-8000-000000000005', tap.globex(), 'asked at Globex');
select is(
  (select details -> 'new' ? 'query_text' from public.audit_logs where resource_id = 'e0000000-0000-4000-8000-000000000004'),
  false, 'an organisation stays out of what the project switched on'
);
