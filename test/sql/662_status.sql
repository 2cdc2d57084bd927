-- How the log stands: who is told, what of the project they are told, and each state.
create function pg_temp.status(person text, section text) returns jsonb language sql as $$
  select said(person, format('select audit.status_page(%L) -> %L', jsonb_build_object('organization_id', tap.acme()), section))::jsonb
$$;
select is(said(n, format('select audit.status_page(%L) ->> ''organization_id''', jsonb_build_object('organization_id', acme()))), said, format('%s: %s', n, said))
from (values ('admin', acme()::text), ('auditor', acme()::text), ('service_role', acme()::text), ('member', 'AUDEN'), ('viewer', 'AUDEN'), ('expired_auditor', 'AUDEN'), ('stranger', 'AUDEN'), ('anon', '42501')) v (n, said);
select is(said('admin', 'select audit.status_page(''{"more": 1}'')'), 'AUARG', 'nothing else can be asked');

-- Before anything is set up
select results_eq(
  $$ select s.section, pg_temp.status('admin', s.section) ->> 'state' from unnest(array['sealing', 'verification', 'findings', 'archive', 'outside', 'delivery']) s (section) $$,
  $$ values ('sealing', 'missing'), ('verification', 'missing'), ('findings', 'well'), ('archive', 'missing'), ('outside', 'missing'), ('delivery', 'missing') $$, 'what is not set up says so'
);

-- Capture: how many, not which
select is(pg_temp.status('admin', 'capture') ->> 'state', case when exists (select from audit.coverage where not healthy) then 'wrong' else 'well' end, 'capture as the view has it');
create table public.somewhere (id int primary key, organization_id uuid);
select audit.track('public.somewhere');
update audit.tracked_tables set table_owner = 'somebody' where table_name = 'public.somewhere'::regclass;
select is(pg_temp.status('auditor', 'capture') - 'tables', jsonb_build_object('state', 'wrong', 'broken', (select count(distinct table_name) from audit.coverage where not healthy)), 'a table that is not captured whole is counted');
select is(said('admin', format('select audit.status_page(%L)', jsonb_build_object('organization_id', acme()))) ~ 'somewhere', false, 'and not named');

-- Sealing, archive and verification
select seal();
update audit.checkpoints set published_at = now();
select is(pg_temp.status('admin', 'sealing') ->> 'state', 'well', 'sealed');
select is(pg_temp.status('admin', 'archive') - 'read_back_at', (select jsonb_build_object('state', 'well', 'entries', sum(published), 'read_back', sum(read_back)) from audit.logs where organization_id = acme()), 'archived, and read back');
select old_entries(acme(), 900001, 3, '20 minutes', '16 minutes');
select is(pg_temp.status('admin', 'sealing') - 'since' - 'root' - 'published_at' - 'size' - 'origin', '{"state": "wrong", "waiting": 3}', 'entries that wait for a quarter of an hour are too many');
select is(audit.status_page(jsonb_build_object('organization_id', globex())) #>> '{sealing,state}', 'well', 'for nobody else');
do $$ begin while audit.continue_verification(at_most => '1 minute') > 0 loop end loop; end $$;
select is(pg_temp.status('admin', 'verification') ->> 'was_verified', (select was_verified::text from audit.verifications where organization_id = acme()), 'the last whole round');
update audit.verifications set was_verified = true, verified_at = now() - interval '3 days' where organization_id = acme();
select is(pg_temp.status('admin', 'verification') ->> 'state', 'wrong', 'that it was long ago is wrong');
update audit.verifications set verified_at = now() where organization_id = acme();
select is(pg_temp.status('admin', 'verification') ->> 'state', 'well', 'that it was today is not');
update audit.verifications set was_verified = false where organization_id = acme();
select is(pg_temp.status('admin', 'verification') ->> 'state', 'wrong', 'that it found something is');

-- Findings: the own ones, of the project's how many
update audit.findings set resolved_at = now();
select audit.note_finding(acme(), 'chain_broken', '3-17', '{"explanation": "x"}'), audit.note_finding(globex(), 'chain_broken', '9-99'), audit.note_finding(audit.system_organization(), 'archive_damaged', 'of-the-project');
select is(pg_temp.status('admin', 'findings') #- '{open,0,first_seen_at}' #- '{open,0,last_seen_at}', '{"state": "wrong", "open": [{"kind": "chain_broken", "subject": "3-17", "seen": 1}], "of_project": 1}', 'what was found, and not elsewhere');

-- Outside: how many of which kind, not who
select audit.register_receivers('{webhook,witness}', '[{"kind": "webhook", "name": "a-name", "all_logs": true}, {"kind": "witness", "name": "w-name", "all_logs": false}]');
select is((pg_temp.status('admin', 'outside') -> 'kinds' -> 0) - 'behind_since' - 'last_success', '{"kind": "webhook", "receivers": 1, "behind": 0}', 'a receiver that has a day');
update audit.checkpoints set published_at = published_at - interval '2 days';
select is((pg_temp.status('admin', 'outside') ->> 'state'), 'wrong', 'and after it has none');
select is(said('admin', format('select audit.status_page(%L)', jsonb_build_object('organization_id', acme()))) ~ 'a-name|w-name', false, 'nobody outside is named');

-- Delivery
select audit.create_channel(jsonb_build_object('organization_id', o, 'kind', 'webhook', 'name', 'ops', 'url', 'https://hooks.example.com/')) from unnest(array[acme(), globex()]) o;
select is(pg_temp.status('admin', 'delivery') ->> 'state', 'well', 'a channel is enough');
select audit.disable_channel(id, 'failing') from audit.channels where organization_id = globex();
select is(pg_temp.status('admin', 'delivery') ->> 'state', 'well', 'another''s does not matter');
select audit.disable_channel(id, 'failing') from audit.channels where organization_id = acme();
select is(pg_temp.status('admin', 'delivery') ->> 'state', 'wrong', 'one that gets nothing does');

-- Retention, with its holds
select audit.place_hold(acme(), 'Case', 'Court order'), audit.place_hold(globex(), 'Other', 'x'), audit.place_hold(audit.system_organization(), 'All', 'Everybody'), audit.set_retention(acme(), 100, 400);
select is((pg_temp.status('auditor', 'retention') -> 'next') - 'at', '{"database_days": 100, "archive_days": 400}', 'what waits');
select is(pg_temp.status('auditor', 'retention') -> 'database_days', 'null', 'what is in force');
select is(jsonb_path_query_array(pg_temp.status('auditor', 'retention'), '$.holds[*].name'), '["Case", "All"]', 'what holds');
