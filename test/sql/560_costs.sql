-- Costs: sums of what entries say, for whom may read them.

select act_as('member');
insert into public.llm_queries (id, organization_id, user_id, provider, model) values
  ('c0000000-0000-4000-8000-000000000001', acme(), person('member'), 'openai', 'gpt-4.1'),
  ('c0000000-0000-4000-8000-000000000002', acme(), person('member'), 'anthropic', 'claude');
insert into public.llm_responses (query_id, total_cost) values ('c0000000-0000-4000-8000-000000000001', 0.1), ('c0000000-0000-4000-8000-000000000001', 0.2), ('c0000000-0000-4000-8000-000000000002', 1);
select act_as('admin');
insert into public.llm_queries (id, organization_id, user_id, provider, model) values ('c0000000-0000-4000-8000-000000000003', acme(), person('admin'), 'openai', 'gpt-4.1');
insert into public.llm_responses (query_id, total_cost) values ('c0000000-0000-4000-8000-000000000003', 0.000000000000000001);
select act_as('stranger');
insert into public.llm_queries (id, organization_id, user_id, provider, model) values ('c0000000-0000-4000-8000-000000000004', globex(), person('stranger'), 'openai', 'gpt-4.1');
insert into public.llm_responses (query_id, total_cost) values ('c0000000-0000-4000-8000-000000000004', 50);
select act_as_owner();
select audit.record(acme(), 'cost.refunded', provider => 'openai', cost => -0.05);


-- By what
create function pg_temp.costs(name text, request jsonb) returns jsonb language sql as $$ select said(name, format('select audit.costs_page(%L) -> %L', request, 'rows'))::jsonb $$;
select is(pg_temp.costs('admin', jsonb_build_object('by', "by")), rows::jsonb, format('by %s', "by")) from (values
  ('["provider"]'::jsonb, '[{"provider": "anthropic", "cost": "1", "entries": 1}, {"provider": "openai", "cost": "0.250000000000000001", "entries": 4}]'),
  ('["user"]', format('[{"user": "%s", "email": "member@example.com", "cost": "1.3", "entries": 3}, {"user": "%s", "email": "admin@example.com", "cost": "0.000000000000000001", "entries": 1}, {"cost": "-0.05", "entries": 1}]', person('member'), person('admin'))),
  ('["model"]', '[{"model": "claude", "cost": "1", "entries": 1}, {"model": "gpt-4.1", "cost": "0.300000000000000001", "entries": 3}, {"cost": "-0.05", "entries": 1}]'),
  ('["organization"]', format('[{"organization": "%s", "cost": "1.250000000000000001", "entries": 5}]', acme())),
  ('["day"]', format('[{"day": "%s", "cost": "1.250000000000000001", "entries": 5}]', (now() at time zone 'utc')::date)),
  ('["user", "provider", "day"]', format('[{"user": "%2$s", "email": "member@example.com", "provider": "anthropic", "day": "%1$s", "cost": "1", "entries": 1}, {"user": "%2$s", "email": "member@example.com", "provider": "openai", "day": "%1$s", "cost": "0.3", "entries": 2},'
    ' {"user": "%3$s", "email": "admin@example.com", "provider": "openai", "day": "%1$s", "cost": "0.000000000000000001", "entries": 1}, {"provider": "openai", "day": "%1$s", "cost": "-0.05", "entries": 1}]', (now() at time zone 'utc')::date, person('member'), person('admin')))
) c ("by", rows);
select is(said('admin', $$ select audit.costs_page('{"by": ["provider"], "query": "provider:openai cost:>0"}') - 'rows' $$)::jsonb, jsonb_build_object(
  'by', '["provider"]'::jsonb, 'query', 'provider:openai cost:>0', 'filter', '{"and": [{"op": "eq", "field": "provider", "value": "openai"}, {"op": "gt", "field": "cost", "value": "0"}]}'::jsonb,
  'total', '{"cost": "0.300000000000000001", "entries": 3}'::jsonb
) || coalesce((select jsonb_object_agg(k, v) from jsonb_each(said('admin', $$ select audit.costs_page('{"by": ["provider"], "query": "provider:openai cost:>0"}') $$)::jsonb) e (k, v) where k in ('from', 'to')), '{}'), 'of what a query finds');
select is(pg_temp.costs('admin', '{"by": ["user"], "query": "action:nothing.such"}'), '[]', 'of nothing');
select audit.index_entries();
select is(pg_temp.costs('admin', '{"by": ["provider"], "query": "openai"}'), '[{"provider": "openai", "cost": "0.250000000000000001", "entries": 4}]', 'by the index too');
select is(said('admin', $$ select string_agg(concat_ws(' ', provider, cost, entries), ', ') from audit.costs('provider') $$), 'anthropic 1 1, openai 0.250000000000000001 4', 'in the SQL editor');
select is(said('admin', $$ select count(*) from audit.costs('user , provider,day') $$), '4', 'by several');

-- For whom
select is(said(name, format($q$ select audit.costs_page(jsonb_build_object('by', '["user"]'::jsonb, 'organization_id', %L)) #>> '{total,cost}' $q$, organization)), cost, format('%s sees %s of %s', name, cost, organization)) from (values
  ('admin', acme(), '1.250000000000000001'), ('member', acme(), '1.3'), ('auditor', acme(), '1.250000000000000001'), ('seeing_auditor', acme(), '1.250000000000000001'), ('viewer', acme(), 'AUDEN'), ('expired_auditor', acme(), 'AUDEN'),
  ('stranger', acme(), 'AUDEN'), ('stranger', globex(), '50'), ('admin', globex(), 'AUDEN'), ('service_role', acme(), '1.250000000000000001'), ('owner', globex(), '50'), ('anon', acme(), '42501')
) p (name, organization, cost);
select is(said(name, $$ select count(*) from jsonb_path_query(audit.costs_page('{"by": ["user"]}'), '$.rows[*].email') $$), emails, format('%s sees %s addresses', name, emails)) from (values ('admin', '2'), ('member', '1'), ('auditor', '0'), ('seeing_auditor', '2')) p (name, emails);
insert into public.organization_members (organization_id, user_id, role) values (globex(), person('admin'), 'admin');
select is(pg_temp.costs('admin', '{"by": ["organization"]}'), jsonb_build_array(
  jsonb_build_object('organization', acme(), 'cost', '1.250000000000000001', 'entries', 5), jsonb_build_object('organization', globex(), 'cost', '50', 'entries', 1)
), 'by organisation: of all that one reads');
select is(said('admin', $$ select audit.costs_page('{"by": ["user"]}') $$), 'AUARG', 'else one is named');
delete from public.organization_members where organization_id = globex() and user_id = person('admin');

-- Requests
select is(said('admin', format('select audit.costs_page(%L)', request)), code, format('%s: %s', request, code)) from (values
  ('[]', 'AUARG'), ('{}', 'AUARG'), ('{"by": "user"}', 'AUARG'), ('{"by": []}', 'AUARG'), ('{"by": ["team"]}', 'AUARG'), ('{"by": [null]}', 'AUARG'), ('{"by": [["user"]]}', 'AUARG'), ('{"by": ["user", "day", "model", "provider"]}', 'AUARG'),
  ('{"by": ["user"], "more": 1}', 'AUARG'), ('{"by": ["user"], "query": "nope:1"}', 'AUQRY'), ('{"by": ["user"], "organization_id": "x"}', 'AUARG')
) r (request, code);
select is(said('admin', format('select * from audit.costs(%s)', arguments)), code, format('costs(%s): %s', arguments, code)) from (values
  ($$'team'$$, 'AUARG'), ($$''$$, 'AUARG'), ($$null$$, 'AUARG'), ($$'user; drop table x'$$, 'AUARG'), ($$'user', 'nope:1'$$, 'AUQRY'), ($$'user', '', tap.globex()$$, 'AUDEN')
) r (arguments, code);

-- Each look leaves its entry
create temporary table before as select count(*) as n from public.audit_logs where action = 'log.searched';
select said('auditor', $$ select audit.costs_page('{"by": ["provider", "day"], "query": "provider:openai"}') $$) is not null;
select said('auditor', $$ select count(*) from audit.costs('user') $$) is not null;
select is((select count(*) from public.audit_logs where action = 'log.searched') - n, 2::bigint, 'each leaves an entry') from before;
select is(
  (select l.details from public.audit_logs l where l.action = 'log.searched' and l.created_by = person('auditor') and l.details ->> 'query' = 'provider:openai'),
  '{"query": "provider:openai", "entries": 4, "costs_by": ["provider", "day"]}', 'with the query, the groups and the count'
);
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'every chain verifies');
