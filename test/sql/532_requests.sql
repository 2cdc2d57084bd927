-- Requests: how they are refused, and how cursors go on.

select is(said('admin', format('select audit.search_page(%L)', request)), code, format('%s is refused', left(request, 60))) from (values
  ('[]', 'AUARG'), ('null', 'AUARG'), ('"a"', 'AUARG'), ('{"unknown": 1}', 'AUARG'), ('{"organization_id": "x"}', 'AUARG'), ('{"organization_id": 5}', 'AUARG'),
  ('{"organization_id": "0b000000-0000-4000-8000-000000000002"}', 'AUDEN'), ('{"organization_id": "0c000000-0000-4000-8000-000000000009"}', 'AUDEN'), ('{"organization_id": "00000000-0000-0000-0000-000000000000"}', 'AUDEN'),
  ('{"sort": "name"}', 'AUARG'), ('{"sort": "-COST"}', 'AUARG'), ('{"limit": 0}', 'AUARG'), ('{"limit": 201}', 'AUARG'), ('{"limit": -1}', 'AUARG'), ('{"limit": "many"}', 'AUARG'), ('{"limit": 1.5}', 'AUARG'), ('{"limit": null}', 'AUARG'), ('{"limit": []}', 'AUARG'),
  ('{"include": ["everything"]}', 'AUARG'), ('{"include": {"total": true}}', 'AUARG'), ('{"include": 5}', 'AUARG'), ('{"query": "nope:1"}', 'AUQRY'), ('{"filter": []}', 'AUQRY'), ('{"filter": {"text": "!"}}', 'AUQRY'),
  ('{"cursor": ""}', 'AUCUR'), ('{"cursor": "abc"}', 'AUCUR'), ('{"cursor": "!!!"}', 'AUCUR'), ('{"cursor": 5}', 'AUCUR'), ('{"cursor": {}}', 'AUCUR')
) r (request, code);

-- Cursors
create function pg_temp.page(name text, request jsonb) returns jsonb language sql as $$ select said(name, format('select audit.search_page(%L)', request))::jsonb $$;
create temporary table paged as select pg_temp.page('admin', '{"limit": 2, "query": "-action:log.*"}') as first;
select is(jsonb_array_length(first -> 'entries'), 2, 'a page has as many as are asked for') from paged;
select is(
  pg_temp.page('admin', jsonb_build_object('limit', 2, 'query', '-action:log.*', 'cursor', first -> 'next')) -> 'entries',
  (pg_temp.page('admin', '{"limit": 4, "query": "-action:log.*"}') -> 'entries') - 0 - 0, 'the next goes on where it ended'
) from paged;
select is(said('admin', format('select audit.search_page(%L)', request || jsonb_build_object('cursor', first -> 'next'))), 'AUCUR', format('a cursor does not go with %s', request)) from paged, (values
  ('{"query": "-action:log.x"}'::jsonb), ('{"query": "-action:log.*", "sort": "created_at"}'), ('{"query": "-action:log.*", "sort": "-cost"}'), ('{"query": "-action:log.*", "filter": {"text": "a"}}'), ('{}')
) r (request);
select is(said('service_role', format('select audit.search_page(%L)', jsonb_build_object('organization_id', globex(), 'query', '-action:log.*', 'cursor', first -> 'next'))), 'AUCUR', 'nor with another organisation') from paged;
select is(said('stranger', format('select audit.search_page(%L)', jsonb_build_object('organization_id', acme(), 'query', '-action:log.*', 'cursor', first -> 'next'))), 'AUDEN', 'and gives no rights') from paged;
select is(
  said('admin', format('select audit.search_page(%L)', jsonb_build_object('query', '-action:log.*', 'cursor', overlay(c placing chr(97 + (ascii(substr(c, n, 1)) + 1) % 26) from n for 1)))), 'AUCUR',
  format('a cursor edited at %s is none', n)
) from (select first ->> 'next' as c from paged) p, generate_series(1, length(c), 7) n;
select is(said('admin', format('select audit.search_page(%L)', jsonb_build_object('query', '-action:log.*', 'cursor', left(c, n)))), 'AUCUR', format('nor one cut at %s', n)) from (select first ->> 'next' as c from paged) p, generate_series(1, length(c) - 1, 9) n;
select is(
  audit.read_cursor(acme(), 'scope', audit.make_cursor(acme(), 'scope', row(cost, at, 7, 9223372036854775807)::audit.position)), row(cost, at, 7, 9223372036854775807)::audit.position,
  format('the position %s %s comes back exactly', cost, at)
) from (values (null::numeric, '2026-01-15 10:00:00.123456+00'::timestamptz), (-0.10, '1970-01-01'), ('NaN', '2199-12-31 23:59:59.999999+00'), (12345678901234567890.123, '2026-01-01')) p (cost, at);

