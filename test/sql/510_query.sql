-- The query language: what strings and trees mean, each in the other's form, and where an error is.

-- String to tree
create temporary table spelled (query text, tree jsonb);
insert into spelled values
  ('', '{"and": []}'),
  ('   ', '{"and": []}'),
  ('action:api_key.added', '{"field": "action", "op": "eq", "value": "api_key.added"}'),
  ('action:api_key.*', '{"field": "action", "op": "like", "value": "api_key.*"}'),
  ('action:"api_key.*"', '{"field": "action", "op": "eq", "value": "api_key.*"}'),
  ('provider:*', '{"field": "provider", "op": "exists"}'),
  ('provider:"*"', '{"field": "provider", "op": "eq", "value": "*"}'),
  ('resource_id:"50*"*', '{"field": "resource_id", "op": "like", "value": "50\\**"}'),
  ('resource_id:a\b*', '{"field": "resource_id", "op": "like", "value": "a\\\\b*"}'),
  ('-provider:openai', '{"not": {"field": "provider", "op": "eq", "value": "openai"}}'),
  ('not provider:openai', '{"not": {"field": "provider", "op": "eq", "value": "openai"}}'),
  ('--provider:openai', '{"field": "provider", "op": "eq", "value": "openai"}'),
  ('cost:>0.5', '{"field": "cost", "op": "gt", "value": "0.5"}'),
  ('cost:>=0.5', '{"field": "cost", "op": "gte", "value": "0.5"}'),
  ('cost:<-1', '{"field": "cost", "op": "lt", "value": "-1"}'),
  ('cost:<=.5', '{"field": "cost", "op": "lte", "value": ".5"}'),
  ('cost:0.1..2', '{"field": "cost", "op": "between", "value": ["0.1", "2"]}'),
  ('cost:(1 or 2 OR "3")', '{"field": "cost", "op": "in", "value": ["1", "2", "3"]}'),
  ('created:>=2026-01-01', '{"field": "created", "op": "gte", "value": "2026-01-01"}'),
  ('created:2026-01..2026-03', '{"field": "created", "op": "between", "value": ["2026-01", "2026-03"]}'),
  ('created:7d', '{"field": "created", "op": "eq", "value": "7d"}'),
  ('changes.limit.new:>1000', '{"field": "changes.limit.new", "op": "gt", "value": "1000"}'),
  ('details."a b".c:x', '{"field": "details.\"a b\".c", "op": "eq", "value": "x"}'),
  ('new.note:""', '{"field": "new.note", "op": "eq", "value": ""}'),
  ('actor:a.b@example.com', '{"field": "actor", "op": "eq", "value": "a.b@example.com"}'),
  ('ip:2001:db8::1', '{"field": "ip", "op": "eq", "value": "2001:db8::1"}'),
  ('resource:api_key/42', '{"field": "resource", "op": "eq", "value": "api_key/42"}'),
  ('report', '{"text": "report"}'),
  ('quart*', '{"text": "quart", "prefix": true}'),
  ('"quarterly report"', '{"text": "quarterly report"}'),
  ('"say \"no\" \\ more"', '{"text": "say \"no\" \\ more"}'),
  ('a b', '{"and": [{"text": "a"}, {"text": "b"}]}'),
  ('a and b', '{"and": [{"text": "a"}, {"text": "b"}]}'),
  ('a or b c', '{"or": [{"text": "a"}, {"and": [{"text": "b"}, {"text": "c"}]}]}'),
  ('(a or b) c', '{"and": [{"or": [{"text": "a"}, {"text": "b"}]}, {"text": "c"}]}'),
  ('a (b (c))', '{"and": [{"text": "a"}, {"text": "b"}, {"text": "c"}]}'),
  ('-(a or b)', '{"not": {"or": [{"text": "a"}, {"text": "b"}]}}'),
  ('"or" "and" order android', '{"and": [{"text": "or"}, {"text": "and"}, {"text": "order"}, {"text": "android"}]}');
select is(audit.parse_query(query), tree, format('%s is read', query)) from spelled;
select is(audit.parse_query(audit.format_query(tree)), tree, format('%s is written and read again', tree)) from spelled;
select is(audit.convert_query(jsonb_build_object('filter', tree)), jsonb_build_object('query', audit.format_query(tree), 'filter', tree), format('%s is converted', tree)) from spelled;

-- Trees in one form
select is(audit.canonical_query(tree::jsonb), canonical::jsonb, format('%s is %s', tree, canonical)) from (values
  ('{"and": [{"and": [{"text": "a"}]}, {"text": "b"}]}', '{"and": [{"text": "a"}, {"text": "b"}]}'),
  ('{"or": [{"text": "a"}]}', '{"text": "a"}'),
  ('{"not": {"not": {"text": "a"}}}', '{"text": "a"}'),
  ('{"text": "abc", "prefix": false}', '{"text": "abc"}'),
  ('{"field": "cost", "op": "gt", "value": 0.5}', '{"field": "cost", "op": "gt", "value": "0.5"}'),
  ('{"field": "new.on", "op": "eq", "value": true}', '{"field": "new.on", "op": "eq", "value": "true"}'),
  ('{"field": "action", "op": "like", "value": "*"}', '{"field": "action", "op": "exists"}'),
  ('{"field": "action", "op": "like", "value": "a\\*"}', '{"field": "action", "op": "eq", "value": "a*"}')
) t (tree, canonical);

-- Dates
select is(audit.query_instants(value), range::tstzrange, format('the date %s', value)) from (values
  ('2026', '[2026-01-01 00:00+00, 2027-01-01 00:00+00)'),
  ('2026-02', '[2026-02-01 00:00+00, 2026-03-01 00:00+00)'),
  ('2028-02-29', '[2028-02-29 00:00+00, 2028-03-01 00:00+00)'),
  ('2026-03-14T15:09', '[2026-03-14 15:09+00, 2026-03-14 15:09+00]'),
  ('2026-03-14T15:09:26.535897Z', '[2026-03-14 15:09:26.535897+00, 2026-03-14 15:09:26.535897+00]'),
  ('2026-03-14 15:09:26+05:45', '[2026-03-14 09:24:26+00, 2026-03-14 09:24:26+00]'),
  ('2026-02-30', null), ('2026-13', null), ('2026-00-01', null), ('0000', null), ('2026-01-01T25:00', null), ('2026-01-01T10:00+99:00', null),
  ('26', null), ('yesterday', null), ('now', null), ('infinity', null), ('999999y', null), ('7', null), ('-7d', null), ('7D', null), ('', null)
) d (value, range);
set local timezone = 'Europe/Berlin';
select is(lower(audit.query_instants(age)), (now() at time zone 'utc' - ago::interval) at time zone 'utc', format('%s ago', ago)) from (values
  ('30m', '30 minutes'), ('24h', '24 hours'), ('150d', '150 days'), ('2w', '14 days'), ('5mo', '5 months'), ('1y', '1 year')
) a (age, ago);
reset timezone;

-- Errors, with their place: in the string
create function pg_temp.failure(statement text) returns text language plpgsql as $$
declare
  v_detail text;
begin
  execute statement;
  return 'none';
exception when others then
  get stacked diagnostics v_detail = pg_exception_detail;
  return concat_ws(' ', sqlstate, nullif(v_detail, ''));
end
$$;
select is(pg_temp.failure(format('select audit.parse_query(%L)', query)), format('AUQRY {"position": %s}', at), format('%s fails at %s', left(query, 60), at)) from (values
  ('"open', 1), ('a "open', 3), ('action:"open', 8),
  ('(a', 1), ('a (b', 3), ('a)', 2), ('()', 2), ('a ())', 4),
  ('or a', 1), ('a or', 3), ('a or or b', 6), ('and a', 1), ('a and', 3), ('a and or b', 3),
  ('not', 1), ('a not', 3), ('-', 1), ('a - b', 3), ('not or a', 1),
  ('unknown:x', 1), ('a unknown:x', 3), ('action:', 8), ('action: x', 8), ('action:()', 9), ('action:(a b)', 11), ('action:(a or', 11), ('action:(a* or b)', 9),
  ('cost:abc', 1), ('  cost:>abc', 3), ('cost:NaN', 1), ('cost:1e9', 1), ('cost:1..', 6), ('cost:..1', 1), ('cost:*1', 1),
  ('created:2026-02-30', 1), ('a created:tomorrow', 3), ('created:2026-01-01T10:00+99:00', 1),
  ('action:>a', 1), ('chain:-1', 1), ('seq:1.5', 1), ('outcome:good', 1), ('actor_type:robot', 1),
  ('a*b', 1), ('*', 1), ('ab*', 1), ('"!"', 1), ('details.' || repeat('a.', 20) || 'a:x', 1), ('action:' || repeat('x', 2001), 1), (repeat('x', 2001), 1),
  (repeat('x', 4001), 4001), (repeat('a ', 1001), 2001)
) f (query, at);
select matches(pg_temp.failure(format('select audit.parse_query(%L)', query)), '^AUQRY \{"position": \d+\}$', format('%s fails at a position', left(query, 30))) from (values
  (repeat('(', 100) || 'a' || repeat(')', 100)), (repeat('-(a or ', 60) || 'b' || repeat(')', 60)), (repeat('"a" ', 600)), ('action:(' || repeat('a or ', 300) || 'a)')
) f (query);
select lives_ok(format('select audit.parse_query(%L)', repeat('(', 20) || 'a' || repeat(')', 20)), '20 parentheses are not too many');

-- In the tree
select is(pg_temp.failure(format('select audit.canonical_query(%L::jsonb)', tree)), format('AUQRY {"path": "%s"}', path), format('%s fails at "%s"', left(tree, 80), path)) from (values
  ('null', ''), ('[]', ''), ('"a"', ''), ('1', ''), ('{}', ''), ('{"xor": []}', ''), ('{"and": [], "or": []}', ''), ('{"text": "a", "field": "cost"}', ''),
  ('{"and": {}}', ''), ('{"or": []}', ''), ('{"and": [{"or": []}]}', '/and/0'), ('{"and": [{"text": "a"}, 5]}', '/and/1'), ('{"not": []}', '/not'),
  ('{"not": {"or": [{"text": "a"}, {"text": 1}]}}', '/not/or/1'), ('{"text": "!"}', ''), ('{"text": "ab", "prefix": true}', ''), ('{"text": "abc", "prefix": "yes"}', ''),
  ('{"text": "a", "at": 3}', ''), ('{"and": [{"text": "a", "at": 3}]}', '/and/0'),
  ('{"field": 1, "op": "eq", "value": 1}', ''), ('{"field": "nope", "op": "eq", "value": 1}', ''), ('{"field": "cost"}', ''), ('{"field": "cost", "op": "is", "value": 1}', ''),
  ('{"field": "cost", "op": "eq"}', ''), ('{"field": "cost", "op": "eq", "value": null}', ''), ('{"field": "cost", "op": "eq", "value": {}}', ''), ('{"field": "cost", "op": "eq", "value": []}', ''),
  ('{"field": "cost", "op": "exists", "value": 1}', ''), ('{"field": "cost", "op": "in", "value": 1}', ''), ('{"field": "cost", "op": "in", "value": []}', ''),
  ('{"field": "cost", "op": "between", "value": [1]}', ''), ('{"field": "cost", "op": "between", "value": [1, 2, 3]}', ''), ('{"field": "cost", "op": "like", "value": "1*"}', ''),
  ('{"field": "action", "op": "eq", "value": ""}', ''), ('{"field": "action", "op": "gt", "value": "a"}', ''), ('{"field": "details", "op": "exists"}', ''),
  ('{"field": "details.", "op": "exists"}', ''), ('{"field": "details.a..b", "op": "exists"}', ''), ('{"field": "details.\"\"", "op": "exists"}', ''), ('{"field": "other.a", "op": "exists"}', '')
) f (tree, path);
select is(pg_temp.failure('select audit.canonical_query(null)'), 'AUQRY {"path": ""}', 'null is no tree');
select is(audit.parse_query(null), '{"and": []}', 'null is an empty query');
select throws_ok(format('select audit.canonical_query(%L)', jsonb_build_object('field', 'action', 'op', 'in', 'value', (select jsonb_agg(n) from generate_series(1, 201) n))), 'AUQRY', null, '201 values are too many');
select throws_ok(format('select audit.canonical_query(%L)', jsonb_build_object('and', (select jsonb_agg('{"field": "seq", "op": "eq", "value": 1}'::jsonb) from generate_series(1, 501)))), 'AUQRY', null, '501 comparisons are too many');
select throws_ok(format('select audit.canonical_query(%L)', jsonb_build_object('and', (select jsonb_agg('{"text": "a"}'::jsonb) from generate_series(1, 21)))), 'AUQRY', null, '21 texts are too many');
select throws_ok(format('select audit.canonical_query(%L)', (repeat('{"not":', 31) || '{"text": "a"}' || repeat('}', 31))::jsonb), 'AUQRY', null, '31 levels are too many');
select is(pg_temp.failure(format('select audit.convert_query(%L)', request)), 'AUARG', format('%s is no conversion', request)) from (values
  ('{}'), ('{"query": "a", "filter": {"text": "a"}}'), ('{"query": "a", "more": 1}'), ('[]'), ('null')
) f (request);
