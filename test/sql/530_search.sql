-- Searching: who finds what, how requests are refused, how pages go on, and what each search leaves in the log.

create temporary table person_reach (name text, organization uuid, reach text);
insert into person_reach
select n, o, case
    when n in ('service_role', 'owner') then 'all'
    when o = acme() and n in ('admin', 'auditor', 'seeing_auditor') or o = globex() and n = 'stranger' then 'all'
    when o = acme() and n = 'member' then 'own'
  end
from unnest(array['admin', 'member', 'viewer', 'auditor', 'seeing_auditor', 'expired_auditor', 'stranger', 'service_role', 'owner']) n, unnest(array[acme(), globex()]) o;

-- The first column of the first row that a statement gives somebody, or the error with its place.
create function pg_temp.said(name text, statement text) returns text language plpgsql as $$
declare
  v_said text;
begin
  if name = 'owner' then
    perform tap.act_as_owner();
  else
    perform tap.act_as(name);
  end if;
  begin
    execute statement into v_said;
  exception when others then
    v_said := sqlstate;
  end;
  perform tap.act_as_owner();
  return v_said;
end
$$;

-- Who reads what
select is(pg_temp.said(name, format('select audit.reach(%L)', organization)), reach, format('%s reads %s of %s', name, coalesce(reach, 'nothing'), organization)) from person_reach;
create temporary table log as select * from public.audit_logs;
create temporary table seen as
select p.*, (
    select count(*) from log l
    where l.organization_id = p.organization and (p.reach = 'all' or p.reach = 'own' and l.created_by = person('member'))
  ) as entries
from person_reach p;
select cmp_ok(entries, '>', 0::bigint, name || ' has something to find') from seen where reach is not null and (name <> 'stranger' or organization = globex());

create function pg_temp.expect_seen() returns setof text language sql as $$
  select is(
    pg_temp.said(name, format('select count(*) from audit.search(%L, %L, %L, 1000) s where s.action <> %L', '-action:log.searched', organization, '-created_at', 'log.searched')),
    case when reach is null then 'AUDEN' else entries::text end, format('%s finds %s entries of %s', name, coalesce(case when reach is not null then entries end, 0), organization)
  ) from seen
  union all
  select is(
    pg_temp.said(name, format($q$ select jsonb_array_length(audit.search_page(jsonb_build_object('organization_id', %L, 'query', '-action:log.searched', 'limit', 200)) -> 'entries') $q$, organization)),
    case when reach is null then 'AUDEN' else entries::text end, format('and on a page')
  ) from seen
$$;
select pg_temp.expect_seen();
select audit.index_entries();
select pg_temp.expect_seen();
select is(pg_temp.said('anon', $$ select * from audit.search('', tap.acme()) $$), '42501', 'anon searches nothing');
select is(pg_temp.said('anon', $$ select audit.search_page('{}') $$), '42501', 'by no way');

-- E-mail, IP address and user agent
select is(pg_temp.said(name, $$ select (count(*) filter (where s.email = 'member@example.com'))::text from audit.search('action:api_key.added', tap.acme()) s $$), emails, format('%s sees %s addresses', name, emails)) from (values
  ('admin', '1'), ('member', '1'), ('auditor', '0'), ('seeing_auditor', '1'), ('service_role', '1'), ('owner', '1')
) p (name, emails);
select is(pg_temp.said(name, $$ select count(*) from audit.search('email:member@example.com action:api_key.added', tap.acme()) $$), found, format('%s finds %s by address', name, found)) from (values
  ('admin', '1'), ('member', '1'), ('auditor', '0'), ('seeing_auditor', '1')
) p (name, found);
select is(pg_temp.said(name, $$ select count(*) from audit.search('actor:admin@example.com', tap.acme()) where action <> 'log.searched' $$) > '0', found, format('%s and the address of somebody else', name)) from (values
  ('admin', true), ('member', false), ('auditor', false), ('seeing_auditor', true)
) p (name, found);

-- Which organisation
select is(pg_temp.said(name, 'select audit.readable_organization()'), said, format('without an organisation, %s reads %s', name, said)) from (values
  ('admin', acme()::text), ('member', acme()::text), ('auditor', acme()::text), ('stranger', globex()::text), ('viewer', 'AUDEN'), ('expired_auditor', 'AUDEN'), ('service_role', 'AUARG'), ('owner', 'AUARG')
) p (name, said);
insert into public.organization_members (organization_id, user_id, role) values (globex(), person('admin'), 'member');
select is(pg_temp.said('admin', 'select audit.readable_organization()'), 'AUARG', 'who reads several names one');
select is(pg_temp.said('admin', 'select audit.access_page()')::jsonb, jsonb_build_object('user_id', person('admin'), 'organizations', jsonb_build_array(
  jsonb_build_object('organization_id', acme(), 'access', 'all', 'as', 'admin'), jsonb_build_object('organization_id', globex(), 'access', 'own', 'as', 'member')
)), 'and is told which');
delete from public.organization_members where organization_id = globex() and user_id = person('admin');
select is(pg_temp.said(name, $$ select audit.access_page() -> 'organizations' $$)::jsonb - 'until', organizations::jsonb, format('access of %s', name)) from (values
  ('member', format('[{"organization_id": "%s", "access": "own", "as": "member"}]', acme())),
  ('viewer', '[]'), ('expired_auditor', '[]')
) p (name, organizations);
select alike(pg_temp.said('auditor', $$ select audit.access_page() -> 'organizations' -> 0 $$), '%"as": "auditor"%"access": "all"%', 'access of an auditor');

-- What definer functions say
select is(pg_temp.said(name, format($q$ select count(*) from audit.search_tail(%L) $q$, organization)) <> '0', reach is not null, format('%s is told of the tail of %s only where %s reads', name, organization, name))
from person_reach where reach is null or organization = acme();
select audit.record(acme(), 'mention.made', 'user', person('member')::text, jsonb_build_object('word', 'unguessable'));
select audit.index_entries();
select is(pg_temp.said('member', $$ select count(*) from audit.search_candidates(tap.acme(), '[["unguessable"]]', null, null) $$), '0', 'a member is told of no entry of others, even where it names the member');
select is(pg_temp.said('admin', $$ select count(*) from audit.search_candidates(tap.acme(), '[["unguessable"]]', null, null) $$), '1', 'an admin is');
select is(pg_temp.said('stranger', $$ select count(*) from audit.search_candidates(tap.acme(), '[]', null, null) $$), '0', 'a stranger is told nothing');
select is(pg_temp.said('member', $$ select audit.record_reading(tap.acme(), 'user.login', '{}') $$), 'AUDEN', 'a reader records nothing but reading');
select is(pg_temp.said('stranger', $$ select audit.record_reading(tap.acme(), 'log.viewed', '{}') $$), 'AUDEN', 'and nothing where nothing is read');

-- Requests
select is(pg_temp.said('admin', format('select audit.search_page(%L)', request)), code, format('%s is refused', left(request, 60))) from (values
  ('[]', 'AUARG'), ('null', 'AUARG'), ('"a"', 'AUARG'), ('{"unknown": 1}', 'AUARG'), ('{"organization_id": "x"}', 'AUARG'), ('{"organization_id": 5}', 'AUARG'),
  ('{"organization_id": "0b000000-0000-4000-8000-000000000002"}', 'AUDEN'), ('{"organization_id": "0c000000-0000-4000-8000-000000000009"}', 'AUDEN'), ('{"organization_id": "00000000-0000-0000-0000-000000000000"}', 'AUDEN'),
  ('{"sort": "name"}', 'AUARG'), ('{"sort": "-COST"}', 'AUARG'), ('{"limit": 0}', 'AUARG'), ('{"limit": 201}', 'AUARG'), ('{"limit": -1}', 'AUARG'), ('{"limit": "many"}', 'AUARG'), ('{"limit": 1.5}', 'AUARG'), ('{"limit": null}', 'AUARG'), ('{"limit": []}', 'AUARG'),
  ('{"include": ["everything"]}', 'AUARG'), ('{"include": {"total": true}}', 'AUARG'), ('{"include": 5}', 'AUARG'), ('{"query": "nope:1"}', 'AUQRY'), ('{"filter": []}', 'AUQRY'), ('{"filter": {"text": "!"}}', 'AUQRY'),
  ('{"cursor": ""}', 'AUCUR'), ('{"cursor": "abc"}', 'AUCUR'), ('{"cursor": "!!!"}', 'AUCUR'), ('{"cursor": 5}', 'AUCUR'), ('{"cursor": {}}', 'AUCUR')
) r (request, code);

-- Cursors
create function pg_temp.page(name text, request jsonb) returns jsonb language sql as $$ select pg_temp.said(name, format('select audit.search_page(%L)', request))::jsonb $$;
create temporary table paged as select pg_temp.page('admin', '{"limit": 2, "query": "-action:log.*"}') as first;
select is(jsonb_array_length(first -> 'entries'), 2, 'a page has as many as are asked for') from paged;
select is(
  pg_temp.page('admin', jsonb_build_object('limit', 2, 'query', '-action:log.*', 'cursor', first -> 'next')) -> 'entries',
  (pg_temp.page('admin', '{"limit": 4, "query": "-action:log.*"}') -> 'entries') - 0 - 0, 'the next goes on where it ended'
) from paged;
select is(pg_temp.said('admin', format('select audit.search_page(%L)', request || jsonb_build_object('cursor', first -> 'next'))), 'AUCUR', format('a cursor does not go with %s', request)) from paged, (values
  ('{"query": "-action:log.x"}'::jsonb), ('{"query": "-action:log.*", "sort": "created_at"}'), ('{"query": "-action:log.*", "sort": "-cost"}'), ('{"query": "-action:log.*", "filter": {"text": "a"}}'), ('{}')
) r (request);
select is(pg_temp.said('service_role', format('select audit.search_page(%L)', jsonb_build_object('organization_id', globex(), 'query', '-action:log.*', 'cursor', first -> 'next'))), 'AUCUR', 'nor with another organisation') from paged;
select is(pg_temp.said('stranger', format('select audit.search_page(%L)', jsonb_build_object('organization_id', acme(), 'query', '-action:log.*', 'cursor', first -> 'next'))), 'AUDEN', 'and gives no rights') from paged;
select is(
  pg_temp.said('admin', format('select audit.search_page(%L)', jsonb_build_object('query', '-action:log.*', 'cursor', overlay(c placing chr(97 + (ascii(substr(c, n, 1)) + 1) % 26) from n for 1)))), 'AUCUR',
  format('a cursor edited at %s is none', n)
) from (select first ->> 'next' as c from paged) p, generate_series(1, length(c), 7) n;
select is(pg_temp.said('admin', format('select audit.search_page(%L)', jsonb_build_object('query', '-action:log.*', 'cursor', left(c, n)))), 'AUCUR', format('nor one cut at %s', n)) from (select first ->> 'next' as c from paged) p, generate_series(1, length(c) - 1, 9) n;
select is(
  audit.read_cursor(acme(), 'scope', audit.make_cursor(acme(), 'scope', row(cost, at, 7, 9223372036854775807)::audit.position)), row(cost, at, 7, 9223372036854775807)::audit.position,
  format('the position %s %s comes back exactly', cost, at)
) from (values (null::numeric, '2026-01-15 10:00:00.123456+00'::timestamptz), (-0.10, '1970-01-01'), ('NaN', '2199-12-31 23:59:59.999999+00'), (12345678901234567890.123, '2026-01-01')) p (cost, at);

-- Sorted by cost
select audit.record(acme(), 'cost.had', cost => c) from unnest(array[2, 0.10, null, -1, 0.1, 'NaN', 1e20]::numeric[]) c;
select is(
  (select string_agg(coalesce(cost::text, 'none'), ' ' order by n) from audit.search('action:cost.had', acme(), sort) with ordinality s (o, ch, seq, at, action, oc, rt, ri, cb, ac, em, ip, ua, pr, cost, rq, d, n)),
  costs, format('sorted by %s', sort)
) from (values ('cost', '-1 0.1 0.10 2 100000000000000000000 NaN none'), ('-cost', 'NaN 100000000000000000000 2 0.1 0.10 -1 none')) s (sort, costs);

-- Totals and facets
select is(
  (pg_temp.page('admin', '{"query": "action:cost.had", "limit": 1, "include": ["total", "facets"]}') - 'entries' - 'next') #- '{facets,day}',
  jsonb_build_object(
    'organization_id', acme(), 'query', 'action:cost.had', 'filter', '{"op": "eq", "field": "action", "value": "cost.had"}'::jsonb, 'sort', '-created_at', 'total', '{"value": 7, "exact": true}'::jsonb,
    'facets', '{"of": 7, "complete": true, "action": [{"value": "cost.had", "count": 7}], "actor": [], "provider": []}'::jsonb
  ), 'a total and facets'
);
select is(pg_temp.page('admin', '{"limit": 1}') ?| array['total', 'facets'], false, 'only where they are asked for');
select ok((audit.sample_matching(acme(), audit.compile_query(acme(), '{"and": []}'), 5) ->> 'complete') = 'false', 'a sample of many is not complete');
select cmp_ok((audit.sample_matching(acme(), audit.compile_query(acme(), '{"and": []}'), 5) ->> 'estimate')::bigint, '>=', 5::bigint, 'and says how many there may be');
select is(pg_temp.page('viewer', '{}'), null, 'who reads nothing is told no total') where pg_temp.said('viewer', $$ select audit.search_page('{}') $$) <> 'AUDEN';

-- One entry
create temporary table viewed as select l.chain, l.seq, l.chain || '-' || l.seq as name, l.created_by from public.audit_logs l where l.organization_id = acme() and l.action = 'api_key.added';
select is(pg_temp.said(p, format($q$ select audit.view_entry(jsonb_build_object('organization_id', tap.acme(), 'name', %L)) -> 'entry' ->> 'name' $q$, name)), case when code = '' then name else code end, format('%s views the member''s entry: %s', p, code)) from viewed, (values
  ('admin', ''), ('member', ''), ('auditor', ''), ('seeing_auditor', ''), ('service_role', ''), ('owner', ''), ('viewer', 'AUDEN'), ('expired_auditor', 'AUDEN'), ('stranger', 'AUDEN'), ('anon', '42501')
) v (p, code);
select is(pg_temp.said('member', format($q$ select audit.view_entry(jsonb_build_object('name', l.chain || '-' || l.seq)) from (values (%s, %s)) l (chain, seq) $q$, l.chain, l.seq)), 'AUNOT', 'a member views nobody else''s')
from public.audit_logs l where l.organization_id = acme() and l.action = 'mention.made';
select is(pg_temp.said('admin', format('select audit.view_entry(%L)', request)), code, format('%s: %s', request, code)) from (values
  ('{}', 'AUARG'), ('{"name": "1"}', 'AUARG'), ('{"name": "a-b"}', 'AUARG'), ('{"name": "-1-1"}', 'AUARG'), ('{"name": "1-1; drop"}', 'AUARG'), ('{"name": null}', 'AUARG'), ('{"name": "1-1", "more": 1}', 'AUARG'),
  ('{"name": "999999999-999999999999999999"}', 'AUNOT'), ('{"name": "0-0"}', 'AUNOT'), ('{"name": "1-1", "organization_id": "0b000000-0000-4000-8000-000000000002"}', 'AUDEN')
) r (request, code);
create temporary table view as select v.name, pg_temp.said('admin', format($q$ select audit.view_entry(jsonb_build_object('name', %L)) $q$, v.name))::jsonb as page, l.*
from viewed v join public.audit_logs l on l.chain = v.chain and l.seq = v.seq and l.organization_id = acme();
select is(encode(audit.hash_of(page ->> 'entry_text'), 'hex'), page #>> '{entry,hash}', 'the entry''s text has its hash') from view;
select is(page #>> '{previous,hash}', page #>> '{entry,prev_hash}', 'before it stands the entry that it links to') from view;
select is(pg_temp.said('admin', format('select audit.view_entry(%L)', jsonb_build_object('name', page #>> '{previous,name}')))::jsonb -> 'next', page -> 'entry', 'after that the entry itself') from view;
select is(page -> 'proof', '{"state": "pending"}', 'its proof is to come') from view;
select ok(page -> 'request' @> jsonb_build_array(page -> 'entry') and not jsonb_path_exists(page, '$.request[*] ? (@.request_id != "req-1" || @.organization_id != "0a000000-0000-4000-8000-000000000001")'), 'with the entries of the same request') from view;
select is(
  page -> 'entry', jsonb_build_object(
    'name', name, 'organization_id', organization_id, 'chain', chain, 'seq', seq, 'created_at', to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'action', action, 'outcome', outcome,
    'resource_type', resource_type, 'resource_id', resource_id, 'created_by', created_by, 'actor_type', actor_type, 'email', 'member@example.com', 'ip_address', '203.0.113.7', 'user_agent', 'pgTAP',
    'provider', provider, 'cost', cost::text, 'request_id', request_id, 'details', details, 'prev_hash', encode(prev_hash, 'hex'), 'hash', encode(hash, 'hex')
  ), 'an entry as the API shows it'
) from view;
select is(pg_temp.said('auditor', format($q$ select audit.view_entry(jsonb_build_object('name', %L)) #>> '{entry,email}' $q$, name)), null, 'without the address for whom it is not') from viewed;
select is(pg_temp.said('member', format($q$ select (audit.view_entry(jsonb_build_object('name', %L)) -> 'request') @? '$[*] ? (@.created_by != "%s")' $q$, name, person('member'))), 'false', 'nor others'' entries of the request') from viewed;

-- History
select is(pg_temp.said('admin', $$ select string_agg(action, ' ' order by created_at) from audit.history('api_key', 'b0000000-0000-4000-8000-000000000002') $$), 'api_key.added', 'the history of a thing');
select is(pg_temp.said('admin', $$ select count(*) from audit.history('budget', 'b0000000-0000-4000-8000-000000000002') $$), '0', 'of that type only');
select is(pg_temp.said('stranger', $$ select count(*) from audit.history('api_key', 'b0000000-0000-4000-8000-000000000002') $$), '0', 'in organisations that one reads');
select is(pg_temp.said('admin', $$ select count(*) from audit.history('a" or action:*', 'b') $$), '0', 'whatever its name');
select is(pg_temp.said('admin', format('select * from audit.search(%s)', arguments)), code, format('search(%s) is refused', arguments)) from (values
  ($$'nope:1'$$, 'AUQRY'), ($$'', null, 'name'$$, 'AUARG'), ($$'', null, null$$, 'AUARG'), ($$'', null, 'cost', 0$$, 'AUARG'), ($$'', null, 'cost', 10001$$, 'AUARG'), ($$'', null, 'cost', null$$, 'AUARG'), ($$'', tap.globex()$$, 'AUDEN')
) s (arguments, code);

-- What is left in the log
create function pg_temp.left_by(name text, statement text, out entries jsonb) language plpgsql as $$
declare
  v_before bigint := (select count(*) from public.audit_logs);
begin
  perform pg_temp.said(name, statement);
  select jsonb_agg(jsonb_build_object('o', l.organization_id, 'action', l.action, 'by', l.created_by, 'type', l.resource_type, 'id', l.resource_id) || l.details order by l.seq) into entries
  from (select * from public.audit_logs l order by l.created_at desc, l.seq desc limit (select count(*) from public.audit_logs) - v_before) l;
end
$$;
select is(pg_temp.left_by(name, statement), entries, format('%s: %s', name, statement)) from (values
  ('member', $$ select count(*) from audit.search('action:api_key.added') $$, jsonb_build_array(jsonb_build_object('o', acme(), 'action', 'log.searched', 'by', person('member'), 'type', 'audit_log', 'id', null, 'query', 'action:api_key.added', 'sort', '-created_at', 'entries', 1, 'continued', false))),
  ('auditor', $$ select audit.search_page('{"filter": {"field": "action", "op": "eq", "value": "a.b"}, "sort": "cost"}') $$, jsonb_build_array(jsonb_build_object('o', acme(), 'action', 'log.searched', 'by', person('auditor'), 'type', 'audit_log', 'id', null, 'query', 'action:a.b', 'sort', 'cost', 'entries', 0, 'continued', false))),
  ('stranger', $$ select * from audit.history('budget', 'x') $$, jsonb_build_array(jsonb_build_object('o', globex(), 'action', 'log.searched', 'by', person('stranger'), 'type', 'audit_log', 'id', null, 'query', 'resource_type:budget resource_id:x', 'sort', 'created_at', 'entries', 0, 'continued', false))),
  ('admin', (select format($$ select audit.view_entry('{"name": "%s"}') $$, name) from viewed), (select jsonb_build_array(jsonb_build_object('o', acme(), 'action', 'log.viewed', 'by', person('admin'), 'type', 'audit_log', 'id', name)) from viewed)),
  ('admin', $$ select audit.search_page('{"query": "nope:1"}') $$, null),
  ('admin', $$ select audit.convert_query('{"query": "action:*"}') $$, null),
  ('viewer', $$ select audit.search_page('{}') $$, null)
) s (name, statement, entries);
select is(pg_temp.left_by('admin', format('select audit.search_page(%L)', jsonb_build_object('limit', 2, 'query', '-action:log.*', 'cursor', first -> 'next'))) #>> '{0,continued}', 'true', 'a later page says that it is one') from paged;
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'every chain verifies');

-- A transaction that cannot write cannot read through these, and says why.
set local transaction_read_only = on;
select throws_ok($$ select * from audit.search('', tap.acme()) $$, 'AUARG', null, 'in a read-only transaction a search is refused');
