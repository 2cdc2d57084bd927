-- Searching: who finds what, how requests are refused, how pages go on, and what each search leaves in the log.

-- Who reads what
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
    said(name, format('select count(*) from audit.search(%L, %L, %L, 1000) s where s.action <> %L', '-action:log.searched', organization, '-created_at', 'log.searched')),
    case when reach is null then 'AUDEN' else entries::text end, format('%s finds %s entries of %s', name, coalesce(case when reach is not null then entries end, 0), organization)
  ) from seen
  union all
  select is(
    said(name, format($q$ select jsonb_array_length(audit.search_page(jsonb_build_object('organization_id', %L, 'query', '-action:log.searched', 'limit', 200)) -> 'entries') $q$, organization)),
    case when reach is null then 'AUDEN' else entries::text end, format('and on a page')
  ) from seen
$$;
select pg_temp.expect_seen();
select audit.index_entries();
select pg_temp.expect_seen();
select is(said('anon', $$ select * from audit.search('', tap.acme()) $$), '42501', 'anon searches nothing');
select is(said('anon', $$ select audit.search_page('{}') $$), '42501', 'by no way');

-- E-mail, IP address and user agent
select is(said(name, $$ select (count(*) filter (where s.email = 'member@example.com'))::text from audit.search('action:api_key.added', tap.acme()) s $$), emails, format('%s sees %s addresses', name, emails)) from (values
  ('admin', '1'), ('member', '1'), ('auditor', '0'), ('seeing_auditor', '1'), ('service_role', '1'), ('owner', '1')
) p (name, emails);
select is(said(name, $$ select count(*) from audit.search('email:member@example.com action:api_key.added', tap.acme()) $$), found, format('%s finds %s by address', name, found)) from (values
  ('admin', '1'), ('member', '1'), ('auditor', '0'), ('seeing_auditor', '1')
) p (name, found);
select is(said(name, $$ select count(*) from audit.search('actor:admin@example.com', tap.acme()) where action <> 'log.searched' $$) > '0', found, format('%s and the address of somebody else', name)) from (values
  ('admin', true), ('member', false), ('auditor', false), ('seeing_auditor', true)
) p (name, found);

-- What definer functions say
select is(said(name, format($q$ select count(*) from audit.search_tail(%L) $q$, organization)) <> '0', reach is not null, format('%s is told of the tail of %s only where %s reads', name, organization, name))
from person_reach where reach is null or organization = acme();
select audit.record(acme(), 'mention.made', 'user', person('member')::text, jsonb_build_object('word', 'unguessable'));
select audit.index_entries();
select is(said('member', $$ select count(*) from audit.search_candidates(tap.acme(), '[["unguessable"]]', null, null) $$), '0', 'a member is told of no entry of others, even where it names the member');
select is(said('admin', $$ select count(*) from audit.search_candidates(tap.acme(), '[["unguessable"]]', null, null) $$), '1', 'an admin is');
select is(said('stranger', $$ select count(*) from audit.search_candidates(tap.acme(), '[]', null, null) $$), '0', 'a stranger is told nothing');
select is(said('member', $$ select audit.record_reading(tap.acme(), 'user.login', '{}') $$), 'AUDEN', 'a reader records nothing but reading');
select is(said('stranger', $$ select audit.record_reading(tap.acme(), 'log.viewed', '{}') $$), 'AUDEN', 'and nothing where nothing is read');

-- Sorted by cost
select audit.record(acme(), 'cost.had', cost => c) from unnest(array[2, 0.10, null, -1, 0.1, 'NaN', 1e20]::numeric[]) c;
select is(
  (select string_agg(coalesce(cost::text, 'none'), ' ' order by n) from audit.search('action:cost.had', acme(), sort) with ordinality s (o, ch, seq, at, action, oc, rt, ri, cb, ac, em, ip, ua, pr, cost, rq, d, n)),
  costs, format('sorted by %s', sort)
) from (values ('cost', '-1 0.1 0.10 2 100000000000000000000 NaN none'), ('-cost', 'NaN 100000000000000000000 2 0.1 0.10 -1 none')) s (sort, costs);

-- History
select is(said('admin', $$ select string_agg(action, ' ' order by created_at) from audit.history('api_key', 'b0000000-0000-4000-8000-000000000002') $$), 'api_key.added', 'the history of a thing');
select is(said('admin', $$ select count(*) from audit.history('budget', 'b0000000-0000-4000-8000-000000000002') $$), '0', 'of that type only');
select is(said('stranger', $$ select count(*) from audit.history('api_key', 'b0000000-0000-4000-8000-000000000002') $$), '0', 'in organisations that one reads');
select is(said('admin', $$ select count(*) from audit.history('a" or action:*', 'b') $$), '0', 'whatever its name');
select is(said('admin', format('select * from audit.search(%s)', arguments)), code, format('search(%s) is refused', arguments)) from (values
  ($$'nope:1'$$, 'AUQRY'), ($$'', null, 'name'$$, 'AUARG'), ($$'', null, null$$, 'AUARG'), ($$'', null, 'cost', 0$$, 'AUARG'), ($$'', null, 'cost', 10001$$, 'AUARG'), ($$'', null, 'cost', null$$, 'AUARG'), ($$'', tap.globex()$$, 'AUDEN')
) s (arguments, code);

-- A transaction that cannot write cannot read through these, and says why.
set local transaction_read_only = on;
select throws_ok($$ select * from audit.search('', tap.acme()) $$, 'AUARG', null, 'in a read-only transaction a search is refused');
