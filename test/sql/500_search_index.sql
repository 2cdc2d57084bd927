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
set local jit = off; -- as audit.index_entries() has it
create temporary table words as
select w.word, array[
    audit.search_term(s.seed, w.word), audit.search_term(s.seed, 'prefix ' || left(w.word, 3))
  ] as terms, t.terms as found_by
from public.audit_logs a
cross join lateral (select array(select t from audit.search_terms(a) t) as terms offset 0) t
cross join lateral (select audit.search_seed(a.organization_id, audit.search_week(a.created_at)) as seed offset 0) s
cross join unnest(audit.search_words(audit.search_text(a))) w (word);
select is_empty('select word from words where terms[1] <> all (found_by)', 'every entry is found by every word of it');
select is_empty(
  $$ select word from words where word ~ '^[a-z]' and terms[2] <> all (found_by) $$,
  'and by the beginnings of those that begin with a letter'
);
select ok(
  audit.search_term(audit.search_seed(acme(), audit.search_week(now())), term) = any (array(select t from audit.search_terms(pg_temp.entry('word.found')) t)) = found,
  format('an entry is %s by %s', case when found then 'found' else 'not found' end, term)
) from (values
  ('action=word.found', true), ('action^word', true), ('resource_type=kind of thing', true), ('cost #3280', true), ('cost ##205', true), ('cost ###12', true), ('cost #3281', false),
  ('number deep #3369', true), ('number deep #3368', false), ('absent', false)
) t (term, found);
-- The planner puts it in place of the call: set up for each entry anew, it would take twice the time.
create function pg_temp.plan() returns setof text language plpgsql as $$
begin
  return query execute 'explain (verbose, costs off) select array(select t from audit.search_terms(a) t) from public.audit_logs a';
end
$$;
select ok(not bool_or(plan ~ 'search_terms|number_place|number_terms'), 'no entry''s terms are called for') from pg_temp.plan() plan;
select isnt(audit.search_seed(acme(), 1), audit.search_seed(globex(), 1), 'organisations are salted apart');
select isnt(audit.search_seed(acme(), 1), audit.search_seed(acme(), 2), 'weeks too');
select is(audit.search_week(at), week, format('%s is in week %s', at, week)) from (values
  ('1970-01-01 00:00+00'::timestamptz, 0), ('1970-01-07 23:59:59.999999+00', 0), ('1970-01-08 00:00+00', 1), ('1969-12-31 23:59+00', -1), ('2026-01-31 00:00+00', 2926)
) w (at, week);

-- Numbers
select is(audit.number_place(number), place, format('%s is at place %s', number, place)) from (values
  (0, 2048), (0.25, 3280), (1, 3312), (1.0624, 3312), (1.0625, 3313), (1.9999, 3327), (2, 3328), (-1, 1039), (-1.0625, 1038), (1e-18, 2354), (1e-400, 2354), (1e400, 4321), ('NaN'::numeric, 4321), ('Infinity'::numeric, 4321), ('-Infinity'::numeric, 30), (-1e-400, 1997), (null, null)
) n (number, place);
select is_empty(
  $$
    select number from (
      select number, audit.number_place(number) as place, lag(audit.number_place(number)) over (order by number) as before
      from (select n * 10 ^ e as number from generate_series(-400, 400) n, unnest('{-25,-19,-6,-3,0,3,17,25}'::numeric[]) e) n
    ) n where place < before
  $$,
  'what is greater is at no lower place'
);
select is_empty(
  $$
    with bounds as (select n as bound from unnest('{-1e30,-70000,-1,-0.3,0,0.001,1,17,60000,1e19,null}'::numeric[]) n),
    ranges as materialized (
      select coalesce(audit.number_place(f.bound), 0) as first, coalesce(audit.number_place(t.bound), 4351) as last,
        audit.range_terms('n', f.bound, t.bound) as terms
      from bounds f, bounds t
    ),
    places as materialized (select p as place, audit.number_terms('n', p) as terms from generate_series(0, 4351, 13) p)
    select r.first, r.last, p.place
    from ranges r, places p
    where (p.place between r.first and r.last) <> (p.terms && r.terms)
  $$,
  'a range has the terms of all places in it, and of no others'
);
select is(audit.range_terms('n', 60000, null), '{n###14,n###15,n###16,n##223,n#3565,n#3566,n#3567}'::text[], 'which are few');
select is(audit.range_terms('n', 2, 1), '{}'::text[], 'nothing lies between two and one');
select ok(
  (select max(cardinality(audit.range_terms('n', f * 1.1, t * 1.1))) from generate_series(-3000, 3000, 250) f, generate_series(-3000, 3000, 250) t) <= 70,
  'nor are they ever many'
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
  'select a.organization_id, a.created_at, a.chain, a.seq, array(select t from audit.search_terms(a) t) from public.audit_logs a order by 1, 3, 4',
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

-- As the schedule runs it.
select old_entries(acme(), 900001, 10500, '1 day');
select is(audit.index_entries(), 10000, 'of a burst so many at first');
select is(audit.index_entries(), 500, 'then the rest');

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
