-- What a restore may do, and that nobody may do it to a log that is there. test/db/restore.test.ts is the drill.

select throws_ok('select audit.begin_restore()', 'AURST', null, 'a log that has entries is not restored into');
select throws_ok(statement, 'AURST', null, 'outside of a restore: ' || statement) from (values
  ('select audit.restore_entries(array[''{}''])'), ('select audit.restore_heads(''[]'')'), ('select audit.restore_rows(''settings'', ''[]'')'),
  ('select audit.restore_kept_rows(''holds'', ''[]'')'), ('select audit.restore_log(''{}'')'), ('select audit.restore_sequenced(''[]'')'),
  ('select audit.restore_anchor_entries(0, array[''a''])'), ('select audit.release_unused()'), ('select audit.restore_membership(''select'')'),
  ('select audit.close_restore(2, ''{}'')')
) s (statement);
select throws_ok(statement, '42501', null, 'not even postgres may: ' || statement) from (values
  ('insert into audit.restores (incarnation, transaction_id) values (0, pg_current_xact_id())'),
  ('update audit.restores set transaction_id = pg_current_xact_id()'), ('delete from audit.restores'), ('truncate audit.restores')
) s (statement);
select is(said('service_role', format('select audit.%s', call)), '42501', 'service_role may not ' || call) from (values
  ('begin_restore()'), ('restore_entries(array[''{}''])'), ('restore_heads(''[]'')'), ('restore_rows(''settings'', ''[]'')'), ('load_rows(''settings'', ''[]'')'),
  ('restore_kept_rows(''holds'', ''[]'')'), ('close_restore(2, ''{}'')'), ('erase_again(tap.acme(), now(), ''{}'')'), ('end_restore(2, ''{}'', ''[]'', ''[]'')')
) c (call);
select is(audit.incarnation(), 1, 'a log that was never restored is in its first life');

-- Entries by their texts
create function pg_temp.texts() returns text[] language sql as $$ select array_agg(audit.entry_text(a) order by a.organization_id, a.chain, a.seq) from public.audit_logs a $$;
select audit.record(acme(), 'report.generated', 'report', E'tab\t "quoted" \\ é 𝄞', '{"nested": {"n": 1.10, "e": 1e3}, "text": "\u0001 \" \\"}', 'denied', 'openai', 0.10);
select set_eq(
  'select p.* from audit.parsed_entries(pg_temp.texts()) p', 'select * from public.audit_logs', 'the rows of entry texts are the rows they are of'
);
select is_empty(
  'select from audit.parsed_entries(pg_temp.texts()) p where p.hash <> audit.hash_of(audit.entry_text(p))', 'and make the same texts again'
);

-- In an empty log
create function pg_temp.empty_log() returns void language plpgsql as $$
begin
  grant delete, update on audit.heads to postgres;
  grant delete on public.audit_logs to postgres;
  alter table public.audit_logs disable trigger user;
  delete from public.audit_logs where action not like 'capture.%';
  alter table public.audit_logs enable always trigger refuse_update_delete;
  delete from audit.log_ranges;
  delete from audit.checkpoints;
  delete from audit.logs;
  revoke delete, update on audit.heads from postgres;
  revoke delete on public.audit_logs from postgres;
end
$$;
create temporary table kept as select pg_temp.texts() as texts, (select count(*) from public.audit_logs) as entries;
create temporary table kept_heads as select jsonb_agg(jsonb_build_object(
  'organization_id', organization_id, 'chain', chain, 'seq', seq, 'last_at', last_at, 'prev_hash', encode(prev_hash, 'hex'), 'hash', encode(hash, 'hex')
)) as heads from audit.heads where organization_id <> audit.system_organization();
create temporary table installed as select * from public.audit_logs where action like 'capture.%';
select pg_temp.empty_log();
select lives_ok('select audit.begin_restore()', 'what installing recorded does not stand in the way');
select is((select count(*) from public.audit_logs), 0::bigint, 'and is out of it');
select throws_ok('select audit.begin_restore()', '23505', null, 'one at a time');

select throws_ok(
  format('select audit.restore_entries(array[%L])', replace(texts[1], '"outcome":"success"', '"outcome":"success" ')), 'AUARG', null,
  'a text that is not as the writer writes it is refused'
) from kept;
select throws_ok(format('select audit.restore_entries(array[%L])', replace(texts[1], '{"v":1,', '{"v":1,"x":2,')), 'AUARG', null, 'so is one that says more') from kept;
select is((select count(*) from public.audit_logs), 0::bigint, 'nothing of it stays');
select lives_ok(format('select audit.restore_entries(%L::text[])', array(select t from unnest(texts) t where t not like '%000000000000"%' )), 'entries come back') from kept;
select throws_ok(format('select audit.restore_entries(array[%L])', t), '23505', null, 'none twice')
from kept, unnest(texts) t where t not like '%000000000000"%' limit 1;
select lives_ok(format('select audit.restore_heads(%L)', heads), 'and heads') from kept_heads;
select is_empty('select * from audit.verify() where status <> ''verified''', 'which fit');
select is(count(*), 0::bigint, 'chains that only installing had written are as new')
from audit.heads where organization_id = audit.system_organization() and (seq <> 0 or hash <> audit.first_prev_hash(organization_id, chain));

select audit.restore_rows('settings', '[{"organization_id": "00000000-0000-0000-0000-000000000000", "name": "query_text", "value": true, "of_another_version": 1}]');
select results_eq('select name, value from audit.settings', $$ values ('query_text', 'true'::jsonb) $$, 'settings are those of the backup, what is not known left out');
select throws_ok('select audit.restore_rows(''heads'', ''[]'')', 'AUARG', null, 'not every table is in a backup');
select throws_ok('select audit.restore_kept_rows(''settings'', ''[{}]'')', 'AUARG', null, 'nor every one the purger''s');
select audit.restore_rows('holds', format('[{"organization_id": "%s", "name": "Case", "reason": "Court order"}]', acme())::jsonb);
select is(audit.is_held(acme()), true, 'a hold holds again');

-- Partitions of the past
select audit.ensure_partitions_since((date_trunc('month', now() at time zone 'utc') - interval '14 months')::date);
select is((select count(*)::int from audit.partition_ranges() r where r.from_time < date_trunc('month', now(), 'utc')), 14, 'a partition for every month');
select lives_ok('select audit.ensure_partitions_since(date_trunc(''month'', now())::date)', 'those that are there stay');

-- Erased again
delete from audit.identities;
delete from audit.personal_values;
insert into audit.identities (organization_id, user_id, email, salt, identity_hash, lookup, created_at) values
  (acme(), person('member'), 'named', audit.random_salt(), sha256('1'), '1', now() - interval '1 hour'),
  (acme(), person('admin'), 'of the subject', audit.random_salt(), sha256('2'), '2', now() - interval '1 hour'),
  (acme(), person('admin'), 'came again', audit.random_salt(), sha256('3'), '3', now() + interval '1 hour'),
  (globex(), person('admin'), 'elsewhere', audit.random_salt(), sha256('4'), '4', now() - interval '1 hour'),
  (globex(), person('member'), 'the same hash elsewhere', audit.random_salt(), sha256('1'), '5', now() - interval '1 hour');
insert into audit.personal_values (organization_id, subject_id, resource_type, column_name, value, salt, value_hash, created_at) values
  (acme(), person('member'), 'member', 'role', 'named', audit.random_salt(), sha256('5'), now() - interval '1 hour'),
  (acme(), person('admin'), 'member', 'role', 'of the subject', audit.random_salt(), sha256('6'), now() - interval '1 hour'),
  (acme(), person('viewer'), 'member', 'role', 'of another', audit.random_salt(), sha256('7'), now() - interval '1 hour');
select audit.erase_again(acme(), now(), jsonb_build_object(
  'identities', jsonb_build_array(encode(sha256('1'), 'hex')), 'personal_values', jsonb_build_array(encode(sha256('5'), 'hex')), 'subject', person('admin')
));
select bag_eq('select email from audit.identities', $$ values ('came again'), ('elsewhere'), ('the same hash elsewhere') $$, 'who was named, and who was meant until then, and nobody else');
select results_eq('select value from audit.personal_values', $$ values ('of another') $$, 'values likewise');
select lives_ok(format('select audit.erase_again(%L, now(), %L)', acme(), details), 'details that say nothing erase nothing: ' || details)
from unnest(array['{}', '{"identities": null}', '{"identities": "x"}', '{"identities": [1, {}, null]}', '{"subject": "nobody"}', '[]']) details;
select is((select count(*) from audit.identities), 3::bigint, 'nothing');
select audit.release_unused();
select is((select count(*) from audit.identities) + (select count(*) from audit.personal_values), 0::bigint, 'what no entry commits to goes');

-- The end
select is(audit.restore_membership('select m.organization_id, m.role from public.not_there m'), false, 'roles wait for the application');
select is(audit.restore_membership('select null::uuid, null::text where false'), true, 'or are as they were');
create temporary table missing as select audit.end_restore(
  2, '{"from": "a test"}', jsonb_build_array(jsonb_build_object('organization_id', acme(), 'details', '{"incarnation": 2}'::jsonb)),
  '[{"table_name": "public.budgets", "options": {"ignore": ["name"]}}, {"table_name": "public.gone", "options": {}}]'
) as missing;
select is(missing, array['public.gone'], 'tables that are not there are named') from missing;
select is(audit.incarnation(), 2, 'a second life');
select is(details -> 'incarnation', '2', 'of which there is an entry') from public.audit_logs where action = 'log.restored' and organization_id = acme();
select is((select options -> 'ignore' from audit.tracked_tables where table_name = 'public.budgets'::regclass), '["name"]', 'tables are tracked as they were');
select is_empty(
  'select action, resource_type, resource_id, details from installed except select action, resource_type, resource_id, details from public.audit_logs',
  'what installing recorded is recorded again'
);
select is_empty('select * from audit.verify() where status <> ''verified''', 'and all of it verifies');
select throws_ok('select audit.restore_heads(''[]'')', 'AURST', null, 'it is over');
select throws_ok('select audit.begin_restore()', 'AURST', null, 'and does not begin again');
