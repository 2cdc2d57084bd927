-- What is in a backup. test/api/backup.test.ts makes them; test/db/restore.test.ts puts them back.

create function pg_temp.rows_of(section text) returns setof jsonb language plpgsql as $$
begin
  return query execute (select query from audit.backup_sections() s where s.section = rows_of.section);
end
$$;
create temporary view waiting as select (r ->> 'text')::jsonb as entry from pg_temp.rows_of('entries') r;

select lives_ok(format('select pg_temp.rows_of(%L)', section), 'it can be asked: ' || section) from audit.backup_sections();
select is((select section from audit.backup_sections() limit 1), 'backup', 'the header is first');
select is((select count(*) from pg_temp.rows_of('identities')), (select count(*) from audit.identities), 'all identities');
select is((select count(*) from pg_temp.rows_of('personal_values')), (select count(*) from audit.personal_values), 'all personal values');
select cmp_ok((select count(*) from pg_temp.rows_of('identities')), '>', 0::bigint, 'of which there are some');
select is_empty($$ select * from audit.backup_sections() s, pg_temp.rows_of(s.section) r where jsonb_typeof(r) is distinct from 'object' $$, 'every row is an object');
-- Every table of the product that the archive cannot say is in a backup, or is known not to be.
select set_eq(
  $$ select c.relname::text from pg_class c where c.relnamespace = 'audit'::regnamespace and c.relkind = 'r'
    and c.relname not in (select section from audit.backup_sections()) $$,
  array[
    'anchor_entries', 'log_ranges', 'sequenced', 'cosigned_checkpoints', -- of the archive, and of checkpoints
    'search_index', 'search_positions', 'readings', 'verifications', -- made again
    'activity', 'activity_baselines', 'activity_clock', 'activity_positions', 'judgements', -- too
    'report_templates', 'report_controls', -- of the product
    'exports', 'export_parts', -- which end by themselves
    'auth_sightings', 'waiting_auth_events', 'denials', -- of a day, and of seconds
    'seen_logs', 'event_keys', 'client_rates', 'log_collection', -- of days
    'event_sources', -- whose secrets lie in the Vault
    'places', 'place_ranges', 'place_data', -- loaded again
    'channels', 'deliveries' -- whose secrets lie in the Vault, and what waits for them
  ],
  'what is not in a backup'
);

-- Entries that no published checkpoint covers
select is((select count(*) from waiting), (select count(*) from public.audit_logs), 'before anything is sealed, all entries');
select is_empty(
  'select audit.entry_text(a)::jsonb from public.audit_logs a except select entry from waiting', 'as their texts'
);
create temporary table sealed as select count(*) as entries from public.audit_logs;
select audit.claim_log('test.example/audit', due_now => true) from generate_series(1, 5);
select cmp_ok((select count(*) from waiting), '>=', (select entries from sealed), 'an index alone publishes nothing');
insert into audit.checkpoints (log, size, root, frontier, note) select l.id, l.sequenced, sha256(l.origin::bytea), '', 'a note' from audit.logs l where l.sequenced > 0;
update audit.logs set size = sequenced where sequenced > 0;
select cmp_ok((select count(*) from waiting), '>=', (select entries from sealed), 'nor a root');
update audit.logs set published = least(3, size);
select is((select count(*) from waiting), (select sum(size - 3) from audit.logs where month is not null and size > 3)::bigint, 'all but those that readers have');
update audit.logs set published = size, lease_until = '-infinity';
select is((select count(*) from waiting), 0::bigint, 'when all is published, none');
select audit.record(acme(), 'report.generated') from generate_series(1, 5);
select is((select count(*) from waiting), 5::bigint, 'what came after');
select is((select r ->> 'entries_left_out' from pg_temp.rows_of('backup') r), '0', 'none is left out');
select is((select count(*) from audit.unpublished_entries(3)), 3::bigint, 'if there are too many, the oldest');
select is((select count(*) from pg_temp.rows_of('checkpoints')), (select count(*) from audit.logs where published > 0), 'of checkpoints the newest of each log');
select is_empty($$ select * from pg_temp.rows_of('logs') r where r ?| array['id', 'lease'] $$, 'nothing that only this database knows');

-- What is noted
select note_finding, audit.note_finding(audit.system_organization(), 'backup_missed', 'backup') from audit.note_finding(audit.system_organization(), 'backup_failed', 'backup');
select audit.record_backup('a', now() - interval '3 days', 2, 100, repeat('0', 64), '{"settings": 3}');
select is((select count(*) from audit.findings where kind like 'backup%' and resolved_at is null), 0::bigint, 'a backup settles what was wrong before');
select is(details ->> 'sha256', repeat('0', 64), 'and is an entry') from public.audit_logs where action = 'backup.made';
select audit.record_backups_deleted(array['a', 'never counted']);
select is((select deleted_at is not null from audit.backups where name = 'a'), true, 'so is that it was deleted');
select is(details -> 'names', '["a", "never counted"]', 'and which') from public.audit_logs where action = 'backup.deleted';

-- When
select vault.create_secret('http://127.0.0.1:9/audit-jobs', 'audit_jobs_url'), vault.create_secret('opens it', 'audit_jobs_secret');
select isnt(audit.continue_backups(), null, 'without one, one is made');
select is((select count(*) from audit.findings where kind = 'backup_missed' and resolved_at is null), 0::bigint, 'which is no failure on the first day');
update audit.logs set opened_at = now() - interval '3 days';
select isnt(audit.continue_backups(), null, 'nor later');
select is((select count(*) from audit.findings where kind = 'backup_missed' and resolved_at is null), 1::bigint, 'but after two days it is');
select audit.record_backup('b', now() - interval '23 hours', 1, 100, repeat('1', 64), '{}');
select is(audit.continue_backups(), null, 'once a day');
update audit.backups set made_at = now() - interval '25 hours' where name = 'b';
select isnt(audit.continue_backups(), null, 'and then again');
select audit.configure('backup_days', '0');
select is(audit.continue_backups(), null, 'none where none is wanted');
select throws_ok(format('select audit.configure(''backup_days'', %L)', v), 'AUOPT', null, 'not ' || v) from unnest(array['-1', '91', '1.5', '"7"', 'null']) v;
select is(said('service_role', 'select audit.record_backups_deleted(array[''b''])'), '42501', 'service_role notes no backups');
