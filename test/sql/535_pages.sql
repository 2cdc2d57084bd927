-- Pages: totals and facets, one entry, who reads what, and what each look leaves in the log.

create function pg_temp.page(name text, request jsonb) returns jsonb language sql as $$ select said(name, format('select audit.search_page(%L)', request))::jsonb $$;

-- Whose logs the caller reads
insert into public.organization_members (organization_id, user_id, role) values (globex(), person('admin'), 'member');
select is(said('admin', 'select audit.access_page()')::jsonb, jsonb_build_object('user_id', person('admin'), 'organizations', jsonb_build_array(
  jsonb_build_object('organization_id', acme(), 'access', 'all', 'as', 'admin', 'name', 'Acme', 'time_zone', 'UTC'), jsonb_build_object('organization_id', globex(), 'access', 'own', 'as', 'member', 'name', 'Globex', 'time_zone', 'UTC')
)), 'and is told which');
delete from public.organization_members where organization_id = globex() and user_id = person('admin');
select is(said(name, $$ select audit.access_page() -> 'organizations' $$)::jsonb - 'until', organizations::jsonb, format('access of %s', name)) from (values
  ('member', format('[{"organization_id": "%s", "access": "own", "as": "member", "name": "Acme", "time_zone": "UTC"}]', acme())),
  ('viewer', '[]'), ('expired_auditor', '[]')
) p (name, organizations);
select alike(said('auditor', $$ select audit.access_page() -> 'organizations' -> 0 $$), '%"as": "auditor"%"access": "all"%', 'access of an auditor');

-- Totals and facets
select audit.record(acme(), 'cost.had', cost => c) from unnest(array[2, 0.10, null, -1, 0.1, 'NaN', 1e20]::numeric[]) c;
select is(
  (pg_temp.page('admin', '{"query": "action:cost.had", "limit": 1, "include": ["total", "facets"]}') - 'entries' - 'next') #- '{facets,day}',
  jsonb_build_object('archived_before', null, 'organization_id', acme(), 'query', 'action:cost.had', 'filter', '{"op": "eq", "field": "action", "value": "cost.had"}'::jsonb, 'sort', '-created_at', 'total', '{"value": 7, "exact": true}'::jsonb,
    'facets', '{"of": 7, "complete": true, "action": [{"value": "cost.had", "count": 7}], "actor": [], "provider": []}'::jsonb
  ), 'a total and facets'
);
select is(pg_temp.page('admin', '{"limit": 1}') ?| array['total', 'facets'], false, 'only where they are asked for');
select ok((audit.sample_matching(acme(), audit.compile_query(acme(), '{"and": []}'), 5) ->> 'complete') = 'false', 'a sample of many is not complete');
select cmp_ok((audit.sample_matching(acme(), audit.compile_query(acme(), '{"and": []}'), 5) ->> 'estimate')::bigint, '>=', 5::bigint, 'and says how many there may be');
select is(pg_temp.page('viewer', '{}'), null, 'who reads nothing is told no total') where said('viewer', $$ select audit.search_page('{}') $$) <> 'AUDEN';

-- One entry
select audit.record(acme(), 'mention.made', 'user', person('member')::text);
create temporary table viewed as select l.chain, l.seq, l.chain || '-' || l.seq as name, l.created_by from public.audit_logs l where l.organization_id = acme() and l.action = 'api_key.added';
select is(said(p, format($q$ select audit.view_entry(jsonb_build_object('organization_id', tap.acme(), 'name', %L)) -> 'entry' ->> 'name' $q$, name)), case when code = '' then name else code end, format('%s views the member''s entry: %s', p, code)) from viewed, (values
  ('admin', ''), ('member', ''), ('auditor', ''), ('seeing_auditor', ''), ('service_role', ''), ('owner', ''), ('viewer', 'AUDEN'), ('expired_auditor', 'AUDEN'), ('stranger', 'AUDEN'), ('anon', '42501')
) v (p, code);
select is(said('member', format($q$ select audit.view_entry(jsonb_build_object('name', l.chain || '-' || l.seq)) from (values (%s, %s)) l (chain, seq) $q$, l.chain, l.seq)), 'AUNOT', 'a member views nobody else''s')
from public.audit_logs l where l.organization_id = acme() and l.action = 'mention.made';
select is(said('admin', format('select audit.view_entry(%L)', request)), code, format('%s: %s', request, code)) from (values
  ('{}', 'AUARG'), ('{"name": "1"}', 'AUARG'), ('{"name": "a-b"}', 'AUARG'), ('{"name": "-1-1"}', 'AUARG'), ('{"name": "1-1; drop"}', 'AUARG'), ('{"name": null}', 'AUARG'), ('{"name": "1-1", "more": 1}', 'AUARG'),
  ('{"name": "999999999-999999999999999999"}', 'AUNOT'), ('{"name": "0-0"}', 'AUNOT'), ('{"name": "1-1", "organization_id": "0b000000-0000-4000-8000-000000000002"}', 'AUDEN')
) r (request, code);
create temporary table view as select v.name, said('admin', format($q$ select audit.view_entry(jsonb_build_object('name', %L)) $q$, v.name))::jsonb as page, l.*
from viewed v join public.audit_logs l on l.chain = v.chain and l.seq = v.seq and l.organization_id = acme();
select is(encode(audit.hash_of(page ->> 'entry_text'), 'hex'), page #>> '{entry,hash}', 'the entry''s text has its hash') from view;
select is(page #>> '{previous,hash}', page #>> '{entry,prev_hash}', 'before it stands the entry that it links to') from view;
select is(said('admin', format('select audit.view_entry(%L)', jsonb_build_object('name', page #>> '{previous,name}')))::jsonb -> 'next', page -> 'entry', 'after that the entry itself') from view;
select is(page -> 'proof', '{"state": "pending"}', 'its proof is to come') from view;
select ok(page -> 'request' @> jsonb_build_array(page -> 'entry') and not jsonb_path_exists(page, '$.request[*] ? (@.request_id != "req-1" || @.organization_id != "0a000000-0000-4000-8000-000000000001")'), 'with the entries of the same request') from view;
select is(
  page -> 'entry', jsonb_build_object(
    'name', name, 'organization_id', organization_id, 'chain', chain, 'seq', seq, 'created_at', to_char(created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'), 'action', action, 'outcome', outcome,
    'resource_type', resource_type, 'resource_id', resource_id, 'created_by', created_by, 'actor_type', actor_type, 'email', 'member@example.com', 'ip_address', '203.0.113.7', 'user_agent', 'pgTAP',
    'provider', provider, 'cost', cost::text, 'request_id', request_id, 'details', details, 'prev_hash', encode(prev_hash, 'hex'), 'hash', encode(hash, 'hex')
  ), 'an entry as the API shows it'
) from view;
select is(said('auditor', format($q$ select audit.view_entry(jsonb_build_object('name', %L)) #>> '{entry,email}' $q$, name)), null, 'without the address for whom it is not') from viewed;
select is(said('member', format($q$ select (audit.view_entry(jsonb_build_object('name', %L)) -> 'request') @? '$[*] ? (@.created_by != "%s")' $q$, name, person('member'))), 'false', 'nor others'' entries of the request') from viewed;

-- What is left in the log
create temporary table paged as select pg_temp.page('admin', '{"limit": 2, "query": "-action:log.*"}') as first;
create function pg_temp.left_by(name text, statement text, out entries jsonb) language plpgsql as $$
declare
  v_before bigint := (select count(*) from public.audit_logs);
begin
  perform said(name, statement);
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

-- What is new, which asking must not add to
select is(pg_temp.left_by(name, format('select audit.news(%L)', jsonb_build_object('since', now() - interval '1 day'))), null, format('news leave no entry: %s', name)) from (values ('admin'), ('member'), ('auditor'), ('viewer')) p (name);
create temporary table latest as select clock_timestamp() as at;
create function pg_temp.news(name text) returns jsonb language sql as $$ select said(name, format('select audit.news(%L)', jsonb_build_object('since', at)))::jsonb - 'at' from latest $$;
select is(pg_temp.news('admin'), '{"count": 0, "more": false, "access": "all"}', 'nothing is new at first');
select count(pg_temp.page('admin', '{}'));
select is(pg_temp.news('admin') -> 'count', '0', 'one''s own reading is no news');
select is(pg_temp.news('seeing_auditor') -> 'count', '1', 'to others it is');
insert into public.api_keys (organization_id, created_by) values (acme(), person('member'));
select is(pg_temp.news('admin') -> 'count', '1', 'what a member does is news to an admin');
select is(pg_temp.news('member'), '{"count": 1, "more": false, "access": "own"}', 'a member hears of the own activity alone');
select is(pg_temp.news('stranger') -> 'count', '0', 'and another organisation of nothing');
select is(said('stranger', format('select audit.news(%L)', jsonb_build_object('organization_id', acme(), 'since', at))), 'AUDEN', 'even where it asks') from latest;
select is(said('viewer', format('select audit.news(%L)', jsonb_build_object('since', at))), 'AUDEN', 'nor does a viewer hear anything') from latest;
select is(said('admin', format('select audit.news(%L)', request)), 'AUARG', format('news of %s', request)) from (values ('{"since": "later"}'::jsonb), ('{"since": "infinity"}'), ('{"since": "2026-13-01"}'), ('{"since": null}'), ('{"since": "2026-01-01", "q": "x"}'), ('[]')) r (request);
select count(audit.record(acme(), 'news.made', 'row', n::text)) from generate_series(1, 120) n;
select is(said('admin', 'select audit.news(''{}'')')::jsonb - 'at', '{"count": 0, "more": false, "access": "all"}', 'without a time nothing is new');
select is(pg_temp.news('admin'), '{"count": 100, "more": true, "access": "all"}', 'it counts to 100');
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'every chain verifies');


-- Where the address of an entry is: for whoever sees the address.
create temporary table placed as select chain || '-' || seq as name from public.audit_logs where organization_id = acme() and created_by = person('member') and identity_hash is not null limit 1;
grant select on placed to public;
create function pg_temp.place(person text) returns text language sql as $$
  select said(person, format($q$ select audit.view_entry(jsonb_build_object('organization_id', tap.acme(), 'name', %L)) ->> 'place' $q$, name)) from placed
$$;
select is(pg_temp.place('admin'), null, 'without data nobody knows');
insert into audit.places values (1, 'DE', 'Berlin', 'Berlin');
insert into audit.place_ranges values ('203.0.113.0', 1), ('203.0.114.0', null), ('::', null);
insert into audit.place_data (attribution) values ('Data by somebody');
select is(pg_temp.place(n)::jsonb, '{"country": "DE", "region": "Berlin", "city": "Berlin", "attribution": "Data by somebody"}', n || ' is told') from unnest(array['admin', 'member', 'seeing_auditor']) n;
select is(pg_temp.place('auditor'), null, 'who does not see the address is not');
