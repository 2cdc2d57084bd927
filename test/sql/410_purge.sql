-- Purge: what goes, what stays, and what is said of it. test/db/retention.test.ts has writers, readers and crashes.

select old_entries(acme(), 900001, 50, '300 days', '0 days'), old_entries(acme(), 900002, 10, '300 days', '200 days'), old_entries(acme(), 900003, 1, '99 days'),
  old_entries(globex(), 900001, 5, '3000 days', '200 days');
create function pg_temp.left_of(chain int, organization uuid default tap.acme()) returns text language sql as $$
  select concat(min(a.seq), '-', max(a.seq)) from public.audit_logs a where a.organization_id = organization and a.chain = left_of.chain
$$;
-- A day is over.
create function pg_temp.next_day() returns void language plpgsql as $$
begin
  grant update on audit.purges to postgres;
  update audit.purges set before = before - interval '1 day', run_at = run_at - interval '1 day';
end
$$;

-- Only what may go
select set_retention(acme(), 100);
select is(audit.purge(), 0, 'what is not sealed is not purged');
select seal();
update audit.logs set read_back = 0;
select pg_temp.next_day();
select is(audit.purge(), 0, 'what was not read back is not purged');
update audit.logs l set read_back = r.start + 7 from audit.log_ranges r where r.log = l.id and r.organization_id = acme() and r.chain = 900001;
select pg_temp.next_day();
select is(audit.purge(), 7, 'but for what was');
select is(pg_temp.left_of(900001), '8-50', 'of each chain the beginning');
update audit.logs set read_back = sequenced, published = least(published, 3);
select pg_temp.next_day();
select is(audit.purge(), 0, 'what is not published is not purged');
update audit.logs set published = size;
select audit.place_hold(acme(), 'Case', 'Court order');
select pg_temp.next_day();
select is(audit.purge(), 0, 'what is held is not purged');
select audit.release_hold(acme(), 'Case');

-- In batches, also where the log is published
create publication everything for table public.audit_logs;
select is(audit.purge(3), 3, 'a batch has no more than it may');
select is(audit.purge(20), 20, 'the next goes on');
select throws_ok(format('select audit.purge(%s)', n), 'AUARG', null, 'not ' || n) from unnest(array['0', '-1', 'null', '100001']) n;
select is((select count(*) from public.audit_logs where action = 'log.purged'), 1::bigint, 'while it is under way it says nothing but of the days before');
select is(audit.purge(), 14, 'to the end');
select is(audit.purge(), 0, 'which is the end of the day');
select is(pg_temp.left_of(c), r, format('chain %s has %s', c, r)) from (values (900001, '35-50'), (900002, '-'), (900003, '1-1')) v (c, r);
select is((select count(*) from public.audit_logs where organization_id = globex() and chain = 900001), 5::bigint, 'nothing of who did not want it');

-- What is said
select results_eq(
  $$ select (details ->> 'entries')::int, details ->> 'before', details -> 'bounds' from public.audit_logs where action = 'log.purged' and details ->> 'entries' = '37' $$,
  $$ select 37, to_char(date_trunc('day', now() - interval '100 days', 'utc') at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS'), jsonb_agg(jsonb_build_array(chain, seq, encode(hash, 'hex')) order by chain) from audit.chain_bounds $$,
  'one entry for all of the day, with every boundary'
);
select is((select count(*) from public.audit_logs where action = 'log.purged'), 2::bigint, 'and one of the day before');
select is_empty('select * from audit.chain_bounds where stated_seq is null', 'every boundary knows its entry');
select is_empty(
  $$ select b.* from audit.chain_bounds b left join public.audit_logs a on (a.organization_id, a.chain, a.seq, a.created_at) = (b.organization_id, b.stated_chain, b.stated_seq, b.stated_at) and a.action = 'log.purged' where a.seq is null $$,
  'which is there'
);
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'what is left verifies');
select is((select count(*) from audit.verify() where entries = 0 and chain = 900002), 1::bigint, 'a chain of which nothing is left is named');

-- What goes with them
select is(audit.index_entries(), (select count(*)::int from public.audit_logs), 'what was purged before it was indexed is not waited for');
select set_retention(globex(), 100);
select is(audit.purge(), 5, 'the next organisation');
select is_empty(
  'select s.* from audit.search_index s where not exists (select from public.audit_logs a where (a.organization_id, a.created_at, a.chain, a.seq) = (s.organization_id, s.created_at, s.chain, s.seq))',
  'the search index has none that is gone'
);
select audit.rebuild_search_index();
select is(audit.index_entries(5), 5, 'a rebuilt index begins behind what was purged');
select is(audit.index_entries(), (select count(*)::int - 5 from public.audit_logs), 'and takes in all of it');

-- An organisation with a single entry that is past all
select old_entries('0c000000-0000-4000-8000-000000000003', 1, 1, '4000 days');
select seal();
select set_retention(audit.system_organization(), 90, 90);
select is(audit.purge() >= 1, true, 'a single entry');
select is(pg_temp.left_of(1, '0c000000-0000-4000-8000-000000000003'), '-', 'goes');
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'and all verifies');

-- A gap: what somebody took out is a finding, and no reason to stop
select old_entries(gen_random_uuid(), 900009, 20, '300 days', '299 days');
select seal();
do $$
declare
  v_member regclass;
begin
  grant delete on public.audit_logs to postgres;
  for v_member in select audit.with_children('public.audit_logs') loop
    execute format('alter table %s disable trigger refuse_update_delete', v_member);
  end loop;
  delete from public.audit_logs where chain = 900009 and seq between 5 and 7;
  for v_member in select audit.with_children('public.audit_logs') loop
    execute format('alter table %s enable always trigger refuse_update_delete', v_member);
  end loop;
  revoke delete on public.audit_logs from postgres;
end
$$;
select is(audit.purge(), 17, 'what is left goes');
select results_eq(
  $$ select kind, subject, detail from audit.findings where subject ~ '^900009' $$, $$ values ('entries_missing', '900009-1', '{"chain": 900009, "from_seq": 1, "to_seq": 20, "there": 17}'::jsonb) $$, 'and what is missing was found'
);

-- Who may
grant delete on public.audit_logs to postgres;
select throws_ok('delete from public.audit_logs', 'AUIMM', null, 'postgres may not delete');
set local session_replication_role = replica;
select throws_ok('delete from public.audit_logs', 'AUIMM', null, 'nor under session_replication_role');
reset session_replication_role;
revoke delete on public.audit_logs from postgres;
select seal(), old_entries(gen_random_uuid(), 900010, 3, '300 days', '299 days'), seal();
select throws_ok(format('select audit.purge_chain(%L, 900010, now(), 10)', organization_id), '42501', null, 'nor purge past the purger') from audit.heads where chain = 900010;
select is(said(name, 'select audit.purge()'), '42501', name || ' may not purge') from unnest(array['anon', 'member', 'admin', 'service_role']) name;
select throws_ok(statement, '42501', null, 'postgres may not: ' || statement)
from (values ('update audit.chain_bounds set seq = seq + 1'), ('delete from audit.chain_bounds'), ('truncate audit.chain_bounds'), ('insert into audit.purges values (gen_random_uuid(), now(), true, 0)')) s (statement);
select is(audit.purge(), 3, 'the owner may have it purged');

-- Partitions
select audit.ensure_partitions();
create temporary view old_partition as select r.partition from audit.partition_ranges() r where r.to_time <= date_trunc('month', now(), 'utc');
select is((select count(*) from old_partition), 1::bigint, 'entries of months that are over have their partition');
select is(audit.drop_empty_partition(), null, 'which stays');
create table public.audit_logs_2001_01 partition of public.audit_logs for values from ('2001-01-01 00:00:00+00') to ('2001-02-01 00:00:00+00');
select audit.secure_partition('public.audit_logs_2001_01');
create table public.audit_logs_2001_02 partition of public.audit_logs for values from ('2001-02-01 00:00:00+00') to ('2001-03-01 00:00:00+00');
select audit.secure_partition('public.audit_logs_2001_02');
select old_entries('0c000000-0000-4000-8000-000000000003', 2, 1, now() - '2001-01-15');
select is(audit.drop_empty_partition(), 'public.audit_logs_2001_02', 'an empty one goes');
select is(audit.drop_empty_partition(), null, 'not one that has an entry');
select seal(), pg_temp.next_day();
select is(audit.purge(), 1, 'its entry goes');
select is(audit.drop_empty_partition(), 'public.audit_logs_2001_01', 'but when that is gone');
select is(audit.drop_empty_partition(), null, 'never this month''s, or one to come');
select is(audit.ensure_partitions(), 0, 'of which none is missing');
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'and all verifies');
