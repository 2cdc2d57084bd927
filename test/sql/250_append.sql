-- The one writer of the log, and audit.record() for what no table shows.

-- record()
create function pg_temp.entry(action text) returns public.audit_logs language sql as $$
  select a from public.audit_logs a where a.action = entry.action order by a.created_at desc limit 1
$$;
create temporary table done as select * from audit.record(
  acme(), 'report.generated', 'report', '2026-01', '{"pages": 3}', 'failure', 'openai', 0.50
);
select results_eq(
  'select chain, seq, hash from done', $$ select chain, seq, hash from pg_temp.entry('report.generated') $$, 'record() returns place and hash of its entry'
);
select results_eq(
  $$ select organization_id, outcome, resource_type, resource_id, provider, cost, actor_type, details from pg_temp.entry('report.generated') $$,
  $$ values (acme(), 'failure', 'report', '2026-01', 'openai', 0.50, 'database', '{"pages": 3, "database_role": "postgres"}'::jsonb) $$,
  'record() records what it was told'
);
select lives_ok($$ select audit.record(null, 'job.finished') $$, 'record() needs no more than an action');
select is((pg_temp.entry('job.finished')).organization_id, audit.system_organization(), 'without organisation it is the system''s');
select lives_ok(
  $$ select audit.record(acme(), 'secret.leaked', 'sk-proj-abcdefghijklmnop1234', 'x', '{"message": "key sk-proj-abcdefghijklmnop1234"}') $$, 'a secret in the details'
);
select is((pg_temp.entry('secret.leaked')).details ->> 'message', 'key ***', 'is masked');

create temporary table refused (call text, why text);
insert into refused values
  ('null, null', 'no action'), ('null, ''''', 'an empty action'), ('null, ''created''', 'an action without a dot'), ('null, ''Key.Added''', 'an action in capitals'),
  ('null, ''key added.x''', 'an action with a space'), ('null, ''key.''', 'an action without an end'), ('null, repeat(''a'', 60) || ''.'' || repeat(''b'', 60)', 'an action of 121 characters'),
  ('null, ''a.b'', outcome => ''maybe''', 'an outcome that is none'), ('null, ''a.b'', outcome => null', 'no outcome'),
  ('null, ''a.b'', details => ''[]''', 'details that are a list'), ('null, ''a.b'', details => ''"x"''', 'details that are a text'), ('null, ''a.b'', details => null', 'no details');
select throws_ok(format('select audit.record(%s)', call), 'AUARG', null, 'refused: ' || why) from refused;

-- Size: whatever is given, the entry text stays within 65,535 bytes and the chain verifies
create function pg_temp.fits(description text, statement text) returns setof text language plpgsql as $$
begin
  return next tap.lives_ok(statement, description || ' is recorded');
  return next tap.cmp_ok(
    (select max(octet_length(audit.entry_text(a))) from public.audit_logs a), '<=', 65535, description || ' fits into an entry'
  );
end
$$;
select pg_temp.fits('a value of 1 MB', $$ select audit.record(acme(), 'size.value', details => jsonb_build_object('v', repeat('x', 1000000))) $$);
select pg_temp.fits('20,000 small values', $$ select audit.record(acme(), 'size.values', details => (select jsonb_object_agg(n, n) from generate_series(1, 20000) n)) $$);
select pg_temp.fits('a key of 1 MB', $$ select audit.record(acme(), 'size.key', details => jsonb_build_object(repeat('k', 1000000), 1)) $$);
select pg_temp.fits('text of characters that JSON escapes', $$ select audit.record(acme(), 'size.escapes', repeat(E'\x01', 10000), repeat(E'\x02', 10000), jsonb_build_object('v', repeat(E'\x03', 9000)), provider => repeat(E'\x04', 10000)) $$);
select pg_temp.fits('text of four bytes a character', $$ select audit.record(acme(), 'size.emoji', repeat('🦕', 10000), repeat('🦕', 10000), jsonb_build_object('v', repeat('🦕', 14000)), provider => repeat('🦕', 10000)) $$);
select pg_temp.fits('a cost of 100,001 digits', $$ select audit.record(acme(), 'size.cost', cost => 10::numeric ^ 100000) $$);
select pg_temp.fits('many rows of 1 MB', $$ insert into public.integrations (organization_id, config) select acme(), jsonb_build_object('v', repeat('x', 1000000)) from generate_series(1, 3) $$);
-- Stored long texts are compressed, so what they take in memory says nothing of their length.
create table public.long_keys (id text primary key, organization_id uuid, provider text);
select audit.track('public.long_keys');
insert into public.long_keys select repeat(chr(96 + n), 100000), acme(), repeat('p', 100000) from generate_series(1, 3) n;
select pg_temp.fits('updating many rows with keys of 100,000 characters', $$ update public.long_keys set id = id || '!' $$);
select pg_temp.fits('deleting many rows with keys of 100,000 characters', $$ delete from public.long_keys where id not like 'a%' $$);
select pg_temp.fits('deleting one row with a key of 100,000 characters', $$ delete from public.long_keys $$);
select is((pg_temp.entry('size.value')).details #>> '{v,cut,bytes}', '1000002', 'what was cut says how long it was');
select matches((pg_temp.entry('size.emoji')).resource_id, '…sha256:[0-9a-f]{64}$', 'what was shortened ends in its digest');

-- Order and time
select is_empty(
  $$
    select * from (
      select seq, row_number() over chain as n, created_at, lag(created_at) over chain as before
      from public.audit_logs window chain as (partition by organization_id, chain order by seq)
    ) a where seq <> n or created_at < before
  $$,
  'positions have no gaps and times never go back'
);
insert into public.budgets (id, organization_id, name) select md5('many' || n)::uuid, acme(), n::text from generate_series(1, 12000) n;
select is_empty(
  $$
    select * from (
      select (details #>> '{new,name}')::int as n, lag((details #>> '{new,name}')::int) over (order by seq) as before
      from public.audit_logs a where a.action = 'budget.created' and a.organization_id = acme() and a.details #>> '{new,name}' ~ '^\d+$'
    ) a where n <> before + 1
  $$,
  '12,000 rows of one statement are entries in their order'
);
select is((select count(*) from public.audit_logs where action = 'budget.created' and details #>> '{new,name}' ~ '^\d+$'), 12000::bigint, 'all of them');
savepoint undone;
select audit.record(acme(), 'never.happened');
rollback to savepoint undone;
select lives_ok($$ select audit.record(acme(), 'really.happened') $$, 'what is rolled back');
select is_empty($$ select * from public.audit_logs where action = 'never.happened' $$, 'leaves no entry');
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'and every chain verifies');
