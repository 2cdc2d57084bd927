-- What each comparison finds: entries with known values, and queries with the entries that they match.

select audit.record(acme(), 'note.a', 'api_key', 'k-1', '{"new": {"limit": 1000, "name": "Quarterly report", "on": true, "tags": ["red", "blue"], "price": "12"}}', 'success', 'openai', 0.5);
select audit.record(acme(), 'note.b', 'api_key', 'k-2', '{"changes": {"limit": {"old": 1000, "new": 2500.50}}}', 'failure', 'openai', 0);
select audit.record(acme(), 'note.c', 'budget', 'k-1', '{"new": {"limit": "1000", "since": "2026-01-15", "rows": [{"id": 1}, {"id": 2}]}}', 'denied', 'Open_AI', -3);
select audit.record(acme(), 'note.d.e', null, null, '{"note": "100%_sure \"quoted\" back\\slash", "a b": {"c": null}}', 'success', null, 12345678901234567890.123);
select act_as('member');
insert into public.budgets (id, organization_id, name) values ('b0000000-0000-4000-8000-00000000000f', acme(), 'Member''s own');
select act_as_owner();
create temporary table own as select a.chain, a.seq, a.created_at from public.audit_logs a where a.resource_id = 'b0000000-0000-4000-8000-00000000000f';

create temporary table finds (query text, found text);
insert into finds values
  ('action:note.a', 'a'), ('action:(note.a or note.c or note.z)', 'a c'), ('action:note.?', ''), ('action:note.*', 'a b c e'), ('action:note.*.*', 'e'), ('action:*.e', 'e'), ('action:NOTE.A', ''), ('-action:note.*', 'own'),
  ('outcome:failure', 'b'), ('outcome:(failure or denied)', 'b c'), ('actor_type:user', 'own'), ('actor_type:database', 'a b c e'),
  ('resource:api_key', 'a b'), ('resource:api_key/k-1', 'a'), ('resource:(api_key/k-2 or budget/k-1)', 'b c'), ('resource_id:k-1', 'a c'), ('resource_id:k*', 'a b c'), ('resource_type:*', 'a b c own'), ('-resource_type:*', 'e'),
  ('provider:openai', 'a b'), ('provider:Open_AI', 'c'), ('provider:open%', ''), ('provider:open_*', ''), ('-provider:openai', 'c e own'), ('-provider:*', 'e own'),
  ('cost:>0', 'a e'), ('cost:>=0', 'a b e'), ('cost:<0', 'c'), ('cost:<=0', 'b c'), ('cost:0.50', 'a'), ('cost:(0 or -3.0)', 'b c'), ('cost:-5..0.5', 'a b c'), ('cost:0.5..-5', ''), ('cost:>12345678901234567890.1229', 'e'), ('cost:12345678901234567890.123', 'e'), ('-cost:*', 'own'),
  ('new.limit:1000', 'a c'), ('new.limit:1000.0', 'a'), ('new.limit:>999', 'a'), ('new.limit:>=1000', 'a'), ('new.limit:<1000', 'own'), ('new.limit:900..1100', 'a'), ('changes.limit.new:2500.5', 'b'), ('changes.limit.old:(1 or 1000)', 'b'),
  ('new.price:>5', ''), ('new.price:12', 'a'), ('new.on:true', 'a'), ('new.on:false', ''), ('new.name:"Quarterly report"', 'a'), ('new.name:*report', 'a'), ('new.name:REPORT', ''), ('new.since:>2026-01-01', 'c'), ('new.since:2026-01-01..2026-01-31', 'c'),
  ('new.tags:blue', 'a'), ('new.tags:b*', 'a'), ('new.rows.id:2', 'c'), ('new.rows.id:>2', ''), ('details.note:*', 'e'), ('details."a b".c:*', 'e'), ('details."a b".c:null', ''), ('details.note:"100%"*', 'e'), ('details.note:*"\"quoted\""*', 'e'), ('details.note:*\slash', 'e'),
  ('quarterly', 'a'), ('QUARTERLY', 'a'), ('"quarterly report"', 'a'), ('"report quarterly"', ''), ('report quarterly', 'a'), ('quart*', 'a'), ('"quarterly rep"*', 'a'), ('uarterly', ''), ('1000', 'a b c'), ('"100"', 'e own'), ('slash', 'e'), ('"back slash"', 'e'), ('member*', 'own'),
  ('actor:20000000-0000-4000-8000-000000000002', 'own'), ('actor:MEMBER@example.com', 'own'), ('actor:member@*', 'own'), ('actor:(member@example.com or 10000000-0000-4000-8000-000000000001)', 'own'), ('actor:*', 'own'), ('-actor:*', 'a b c e'), ('email:member@example.com', 'own'), ('email:nobody@example.com', ''), ('-email:*', 'a b c e'),
  ('ip:203.0.113.7', 'own'), ('ip:203.0.113.*', 'own'), ('ip:203.0.113.8', ''), ('user_agent:pgtap', 'own'), ('request_id:req-1', 'own'), ('request_id:req-2', ''),
  ('created:1h', 'a b c e own'), ('-created:1h', ''), ('created:<1h', ''), ('created:>=2000', 'a b c e own'), ('created:<2000', ''), ('created:1999..2000', ''), ('created:(1999 or 1h)', 'a b c e own'), ('created:*', 'a b c e own'),
  ('note.a or note.b', 'a b'), ('action:note.a or cost:<0', 'a c'), ('(action:note.a or action:note.b) -outcome:failure', 'a'), ('-(action:note.a or action:own or -action:note.*)', 'b c e'), ('', 'a b c e own');
insert into finds select format('seq:%s chain:%s', seq, chain), 'own' from own;
insert into finds select format('seq:>%s chain:%s', seq, chain), '' from own;
insert into finds select format('created:"%s"', audit.instant_text(created_at)), 'own' from own;
insert into finds select format('created:<%s resource_id:b0000000-0000-4000-8000-00000000000f', audit.instant_text(created_at)), '' from own;

create function pg_temp.found(query text) returns text language sql as $$
  select coalesce(string_agg(n, ' ' order by n), '')
  from (
    select case when resource_id = 'b0000000-0000-4000-8000-00000000000f' then 'own' else right(action, 1) end as n
    from audit.search(query, tap.acme(), 'created_at', 10000)
    where action like 'note.%' or resource_id = 'b0000000-0000-4000-8000-00000000000f'
  ) f
$$;
select is(pg_temp.found(query), found, format('%s finds %s', query, coalesce(nullif(found, ''), 'nothing'))) from finds;
select audit.index_entries();
select is(pg_temp.found(query), found, format('%s finds %s by the index', query, coalesce(nullif(found, ''), 'nothing'))) from finds;

-- Terms narrow the search where there are any, and are none where a match need not have them.
select is((audit.compile_query(acme(), audit.parse_query(query))).term_groups <> '[]', narrowed, format('%s is %s', query, case when narrowed then 'narrowed' else 'not narrowed' end)) from (values
  ('action:a.b', true), ('action:a.*', true), ('report', true), ('report or cost:>1', true), ('cost:>1', true), ('new.a:1', true), ('actor:20000000-0000-4000-8000-000000000002', true),
  ('', false), ('cost:<1', false), ('cost:<-1', true), ('cost:<0', false), ('new.a:>1', true), ('cost:>=0', false), ('-action:a.b', false), ('report or -cost:>1', false), ('outcome:*', false), ('created:7d', false), ('123*', false)
) q (query, narrowed);
select results_eq(
  $$ select from_time, to_time from audit.compile_query(tap.acme(), audit.parse_query('created:2026-01 created:<2026-01-15 a')) $$,
  $$ values ('2026-01-01 00:00+00'::timestamptz, '2026-01-15 00:00+00'::timestamptz) $$, 'times bound the search'
);
select results_eq(
  $$ select from_time, to_time from audit.compile_query(tap.acme(), audit.parse_query('created:2026-01 or created:2025')) $$,
  $$ values (null::timestamptz, null::timestamptz) $$, 'a choice of times does not'
);

-- More identities than are listed
create temporary table crowd as select gen_random_uuid() as id, n from generate_series(1, 1100) n;
insert into audit.identities (organization_id, user_id, email, salt, identity_hash, lookup)
select acme(), id, n || '@crowd.example', audit.random_salt(), sha256(n::text::bytea), '' from crowd;
insert into audit.identities select * from audit.identities where email like '%@crowd.example' and email::text < '3';
select act_as_owner();
set local audit.actor = '';
do $$
declare
  v_id uuid;
begin
  for v_id in select id from crowd where n > 1080 loop
    perform set_config('audit.actor', v_id::text, true);
    perform audit.record(tap.acme(), 'crowd.acted');
  end loop;
  perform set_config('audit.actor', '', true);
end
$$;
select is((select count(*) from audit.search('actor:*@crowd.example', acme(), 'created_at', 1000)), 20::bigint, 'people are found by address among more than a thousand, where their entries have none');
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'every chain verifies');

-- Of a list within a list, each value alone is in a range or not.
select is_empty(
  format('select from (select %L::jsonb as details) e where %s', '{"v": [["a", "z"], 3, [1, 9]]}', (audit.compile_path(f, 'between', array[b, b])).condition),
  'around ' || b
)
from (values ('details.v', 'm'), ('details.v', '5')) c (f, b);
select isnt_empty(
  format('select from (select %L::jsonb as details) e where %s', '{"v": [["a", "m"], 3, [1, 9]]}', (audit.compile_path('details.v', 'between', array[b, b])).condition),
  'at ' || b
)
from (values ('m'), ('3'), ('9')) c (b);
