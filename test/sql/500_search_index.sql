-- The search index: what a word is, what an entry is found by, and that indexing takes each entry once.

-- Words
select is(audit.search_words(content), words::text[], format('words of %L', content)) from (values
  ('', '{}'),
  ('  .,;:!? ', '{}'),
  ('Hello, World!', '{hello,world}'),
  ('api_key.added', '{api,key,added}'),
  ('quarterly-report', '{quarterly,report}'),
  ('--a--b--', '{a,b}'),
  ('3.14 and -5', '{3,14,and,5}'),
  ('a.b@example.com', '{a,b,example,com}'),
  ('ÉCOLE Straße', '{école,straße}'),
  ('отчёт за КВАРТАЛ', '{отчёт,за,квартал}'),
  ('四半期 レポート', '{四半期,レポート}'),
  ('تقرير ٢٠٢٦', '{تقرير,٢٠٢٦}'),
  ('🦕a🦕b', '{a,b}'),
  (E'line\nbreak\ttab', '{line,break,tab}'),
  ('ABCDEF12-3456-4890-ABCD-EF1234567890', '{abcdef12-3456-4890-abcd-ef1234567890}'),
  ('(abcdef12-3456-4890-abcd-ef1234567890)', '{abcdef12-3456-4890-abcd-ef1234567890}'),
  ('exactly-thirty-six-characters-long-x', '{exactly,thirty,six,characters,long,x}')
) w (content, words);

select audit.record(acme(), 'word.found', 'kind of thing', 'id/1-2', E'{"key of": "value \\"quoted\\" C:\\\\new", "nested": [{"deep": 12.5}, null, true]}', 'failure', 'Provider', 0.25);
create function pg_temp.entry(action text) returns public.audit_logs language sql as $$ select a from public.audit_logs a where a.action = entry.action $$;
select is(
  audit.search_words(audit.search_text(pg_temp.entry('word.found'))),
  string_to_array('word found failure kind of thing id 1 2 database provider 0 25 key of value quoted c new nested deep 12 5 null true database role postgres', ' '),
  'an entry''s text is all it holds, in order, without the escapes of JSON'
);

-- Terms
select is_empty(
  $$
    select a.action, w.word from public.audit_logs a cross join unnest(audit.search_words(audit.search_text(a))) w (word)
    where audit.search_term(audit.search_seed(a.organization_id, a.created_at), w.word) <> all (audit.search_terms(a))
  $$,
  'every entry is found by every word of it'
);
select is_empty(
  $$
    select a.action, w.word from public.audit_logs a cross join unnest(audit.search_words(audit.search_text(a))) w (word)
    where w.word ~ '^[a-z]' and audit.search_term(audit.search_seed(a.organization_id, a.created_at), 'prefix ' || left(w.word, 3)) <> all (audit.search_terms(a))
  $$,
  'and by the beginnings of those that begin with a letter'
);
select ok(
  audit.search_term(audit.search_seed(acme(), now()), term) = any (audit.search_terms(pg_temp.entry('word.found'))) = found,
  format('an entry is %s by %s', case when found then 'found' else 'not found' end, term)
) from (values
  ('action=word.found', true), ('action^word', true), ('resource_type=kind of thing', true), ('cost=-2', true), ('cost=-3', false), ('absent', false)
) t (term, found);
select isnt(audit.search_seed(acme(), '2026-01-31 23:59:59+00'), audit.search_seed(globex(), '2026-01-31 23:59:59+00'), 'organisations are salted apart');
select isnt(audit.search_seed(acme(), '2026-01-31 23:59:59+00'), audit.search_seed(acme(), '2026-02-01 00:00:00+00'), 'months too');
set local timezone = 'Pacific/Kiritimati';
select is(audit.search_seed(acme(), '2026-01-31 23:59:59+00'), audit.search_seed(acme(), '2026-01-01 00:00:00+00'), 'a month is a month of UTC, wherever the session is');
reset timezone;
select is(audit.cost_bucket(cost), bucket, format('a cost of %s is in bucket %s', cost, bucket)) from (values
  (0.25, -2), (0.3, -2), (0.5, -1), (1, 0), (1.99, 0), (2, 1), (1e30, 39), (1e-30, -40), ('NaN'::numeric, 39), ('Infinity'::numeric, 39)
) b (cost, bucket);
select is_empty(
  $$ select n from generate_series(1, 4000) n where audit.cost_bucket(n * 0.001) > audit.cost_bucket((n + 1) * 0.001) $$,
  'a higher cost is in no lower bucket'
);

-- Indexing
select is((select count(*) from audit.search_index), 0::bigint, 'nothing is indexed in the writer''s transaction');
select is(audit.index_entries(0), 0, 'none when none is wanted');
select is(audit.index_entries(3), 3, 'as many as are wanted');
select is((select count(*) from audit.search_index), 3::bigint, 'and no more');
select is(audit.index_entries(), (select count(*)::int - 3 from public.audit_logs), 'then the rest');
select is(audit.index_entries(), 0, 'then none');
select results_eq(
  'select organization_id, created_at, chain, seq, terms from audit.search_index order by 1, 3, 4',
  'select a.organization_id, a.created_at, a.chain, a.seq, audit.search_terms(a) from public.audit_logs a order by 1, 3, 4',
  'each entry is indexed once'
);
select results_eq(
  'select organization_id, chain, seq, last_at from audit.search_positions order by 1, 2',
  'select organization_id, chain, seq, last_at from audit.heads order by 1, 2', 'up to every head'
);
select audit.record(acme(), 'word.later');
select is(audit.index_entries(), 1, 'a new entry is indexed next');
select audit.rebuild_search_index();
select is((select count(*) from audit.search_index) + (select count(*) from audit.search_positions), 0::bigint, 'emptied');
select is(audit.index_entries(), (select count(*)::int from public.audit_logs), 'and filled again');

-- Privileges
select is_empty(
  $$
    select r, c, p from unnest(array['anon', 'authenticated', 'service_role']) r, unnest(array['audit.search_index', 'audit.search_positions']) c,
      unnest(array['select', 'insert', 'update', 'delete', 'truncate']) p
    where has_table_privilege(r, c, p)
  $$,
  'no API role reads or writes the index'
);
select is_empty(
  $$
    select r, f from unnest(array['anon', 'authenticated', 'service_role']) r, unnest(array['audit.index_entries(int)', 'audit.rebuild_search_index()']) f
    where has_function_privilege(r, f, 'execute')
  $$,
  'nor makes it'
);
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'every chain verifies');
