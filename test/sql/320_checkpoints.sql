-- Checkpoints: one root a size, one note a root, and nobody publishes who lost the lease.

create temporary table claimed as select audit.claim_log('test/audit', due_now => true) as c;
create function pg_temp.root(old bigint, size bigint, root text) returns text language sql as $$
  select said('owner', format('select audit.record_root(%s, %s, %s, sha256(%L), ''frontier'')', c ->> 'log', old, size, root)) from claimed
$$;
create function pg_temp.note(size bigint, note text, lease text) returns text language sql as $$
  select said('owner', format('select audit.record_note(%s, %s, %L, %L)', c ->> 'log', size, note, lease)) from claimed
$$;
select is(pg_temp.root(0, (c ->> 'size')::bigint + 1, 'a'), 'AUFRK', 'no root is over what has no index'), is(pg_temp.root(1, (c ->> 'size')::bigint, 'a'), 'AUFRK', 'none after another size than the log''s') from claimed;
select is(pg_temp.root(0, (c ->> 'size')::bigint, 'a'), '', 'a root is recorded'), is(pg_temp.root(0, (c ->> 'size')::bigint, 'a'), '', 'and found recorded'), is(pg_temp.root(0, (c ->> 'size')::bigint, 'b'), 'AUFRK', 'another one is refused'),
  is(pg_temp.root((c ->> 'size')::bigint, (c ->> 'size')::bigint, 'b'), 'AUFRK', 'in whatever way'), is(pg_temp.root(0, (c ->> 'size')::bigint - 1, 'b'), 'AUFRK', 'and so is a smaller log') from claimed;
select is(pg_temp.note((c ->> 'size')::bigint, 'mine', gen_random_uuid()::text), 'AULSE', 'whoever lost the lease signs nothing'), is(pg_temp.note((c ->> 'size')::bigint, 'mine', c ->> 'lease'), 'mine', 'a note is kept'),
  is(pg_temp.note((c ->> 'size')::bigint, 'another', c ->> 'lease'), 'mine', 'and stays'), is(pg_temp.note(1, 'mine', c ->> 'lease'), 'P0002', 'none without a root') from claimed;
update audit.logs set lease_until = clock_timestamp();
select is(pg_temp.note((c ->> 'size')::bigint, 'mine', c ->> 'lease'), 'mine', 'the lease of who is still there goes on') from claimed;
select ok((select lease_until > clock_timestamp() + interval '1 minute' from audit.logs where id = (c ->> 'log')::int), 'for a while') from claimed;
select is(audit.record_published((c ->> 'log')::int, (c ->> 'size')::bigint, (c ->> 'lease')::uuid), false, 'once it is published nothing is left') from claimed;
select is((select row(published, lease_until)::text from audit.logs where id = (c ->> 'log')::int), row((c ->> 'size')::bigint, '-infinity'::timestamptz)::text, 'and the lease is over') from claimed;
select is(said('owner', format('select audit.record_published(%s, %s, null)', c ->> 'log', (c ->> 'size')::int + 5)), 'P0002', 'more than there is cannot be published') from claimed;
select is(audit.record_published((c ->> 'log')::int, 0, null), false, 'and nothing is taken back') from claimed;
select is((select published from audit.logs where id = (c ->> 'log')::int), (c ->> 'size')::bigint, 'the newest stays') from claimed;

select is(count(*), 2::bigint, 'entries are read from one index to before another') from claimed, audit.log_entries((c ->> 'log')::int, 1, 3);
select is(count(*), (c ->> 'size')::bigint, 'no more than there are'), ok(bool_and(hash = audit.hash_of(entry)), 'each with its hash') from claimed, audit.log_entries((c ->> 'log')::int, 0, 99999) group by c;
select is_empty($$ select audit.log_entries((c ->> 'log')::int, 500, 600) from claimed $$, 'beyond the end there is nothing'), is_empty($$ select audit.log_entries((c ->> 'log')::int, 2, 2) from claimed $$, 'nor between nothing');
select is(said(n, format('select count(*) from audit.log_entries(%s, 0, 9)', c ->> 'log')) <> '42501', n = 'service_role', format('%s reads the log''s entries or not', n)) from claimed, unnest(array['admin', 'member', 'auditor', 'anon', 'service_role']) n;
select is(said(n, format('select audit.record_root(%s, 1, 2, sha256(''x''), '''')', c ->> 'log')), '42501', format('%s records no root', n)), is(said(n, format('select audit.record_note(%s, 1, ''x'', null)', c ->> 'log')), '42501', 'no note'),
  is(said(n, format('select audit.record_published(%s, 1, null)', c ->> 'log')), '42501', 'and no publication') from claimed, unnest(array['admin', 'member', 'auditor', 'anon', 'service_role']) n;

-- By name, also where the newest entries came after the statistics: the timeline would be walked from end to end.
insert into public.budgets (organization_id, name) select acme(), 'old ' || n from generate_series(1, 1000) n;
analyze public.audit_logs;
insert into public.budgets (organization_id, name) select acme(), 'new ' || n from generate_series(1, 4000) n;
create function pg_temp.timeline_scans() returns bigint language sql as $$
  select sum(pg_stat_get_xact_numscans(i.inhrelid)) from pg_inherits i where i.inhparent = 'public.audit_logs_timeline_idx'::regclass
$$;
create temporary table scans as select pg_temp.timeline_scans() as before;
create temporary table sequenced as select l.id, audit.sequence_entries(l.id, 10000) as entries from audit.open_log(acme(), 'test/audit') l (id);
select ok(entries >= 5000, 'thousands of entries are sequenced') from sequenced;
select is(count(*), 256::bigint, 'and some of them read') from sequenced, audit.log_entries(id, 4000, 4256);
select is(pg_temp.timeline_scans(), before, 'without a look at the timeline') from scans;
