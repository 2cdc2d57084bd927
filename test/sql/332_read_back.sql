-- Which log is read back next, from where to where, and what counts as read back. (test/api/read_back.test.ts reads.)

create function pg_temp.log(org uuid, size bigint, published bigint) returns int language plpgsql as $$
declare
  v_log int;
begin
  insert into audit.logs (organization_id, month, origin, sequenced, size, published)
  values (org, '2026-01-01', 'test/' || org, size, size, published) returning id into v_log;
  insert into audit.checkpoints (log, size, root, frontier, note)
  select v_log, s, sha256('x'), '', 'note ' || s from unnest(array[100, 200, 300, 1000, 6000, 20000]) s where s <= size;
  return v_log;
end
$$;
create temporary table two as select pg_temp.log(acme(), 20000, 20000) as big, pg_temp.log(globex(), 100, 0) as unpublished;
create function pg_temp.claim() returns jsonb language sql as $$ select audit.claim_reading() $$;

select is_empty($$ select * from audit.due_readings() d join two on d.log = unpublished $$, 'what is not published is not read');
create temporary table first as select audit.claim_reading() as c;
select is((c ->> 'log')::int, big, 'a log with full bundles is due'), is((c ->> 'again')::boolean, false, 'for the first time'),
  is(row(c -> 'size', c -> 'to', c -> 'published')::text, '(0,1000,20000)', 'from its start, to a checkpoint not too far') from first, two;
select is(
  (select array_agg((k ->> 'size')::int order by k ->> 'size') from jsonb_array_elements(c -> 'checkpoints') k), array[1000, 200, 300],
  'with the last checkpoint of each bundle'
) from first;
select is(audit.claim_reading(), null, 'who comes at once leaves it to that run');
select is(audit.record_read_back(big, false, 100, 1000, '', true), false, 'what began elsewhere is not recorded'),
  is(audit.record_read_back(big, false, 0, 30000, '', true), false, 'nor is what is not published'),
  is(audit.record_read_back(big, false, 0, 1000, '', true), true, 'what was read is'),
  is(audit.record_read_back(big, false, 0, 1000, '', true), false, 'once') from two;
select is((select read_back from audit.logs where id = big), 768::bigint, 'only what stands in full bundles counts') from two;
select is((select row(x -> 'size', x -> 'to')::text from audit.claim_reading() x), '(1000,6000)', 'it goes on where it stands');
select is(audit.record_read_back(big, false, 1000, 6000, '', false), true, 'also when something was not the same'),
  is((select read_back from audit.logs where id = big), 768::bigint, 'but that does not count') from two;
select is((select row(x -> 'size', x -> 'to')::text from audit.claim_reading() x), '(6000,20000)', 'a checkpoint that is far is gone to at once');
select is(audit.record_read_back(big, false, 6000, 20000, '', true), true, 'behind it'), is((select read_back from audit.logs where id = big), 768::bigint, 'nothing counts') from two;
select is(audit.claim_reading(), null, 'at the end nothing is due');

-- A partial bundle now and then, and when the log is closed.
insert into audit.checkpoints (log, size, root, frontier, note) select big, 20010, sha256('x'), '', 'note' from two;
update audit.logs set sequenced = 20010, size = 20010, published = 20010 where id = (select big from two);
select is(audit.claim_reading(), null, 'a few more entries wait');
select is((select row(x -> 'size', x -> 'to')::text from audit.claim_reading('0') x), '(20000,20010)', 'as long as one likes');
update audit.readings set next_at = '-infinity';
select isnt(audit.claim_reading(), null, 'what was claimed and not recorded is due again') from two;
select is(audit.record_read_back(big, false, 20000, 20010, '', true), true, 'it is read') from two;
update audit.logs set closed_at = clock_timestamp() where id = (select big from two);
select is((select row(x -> 'size', x -> 'to')::text from audit.claim_reading() x), '(20010,20010)', 'closed, its last bundle is read once more');
select is(audit.record_read_back(big, false, 20010, 20010, '', true), true, 'the same is recorded'), is(audit.claim_reading(), null, 'once') from two;

-- Again, every seven days; then all of it counts.
update audit.logs set opened_at = opened_at - interval '7 days' where id = (select big from two);
create function pg_temp.read_again(same boolean) returns bigint language plpgsql as $$
declare
  v_claim jsonb;
begin
  loop
    v_claim := audit.claim_reading();
    exit when v_claim is null or not (v_claim ->> 'again')::boolean;
    perform audit.record_read_back((v_claim ->> 'log')::int, true, (v_claim ->> 'size')::bigint, (v_claim ->> 'to')::bigint, '', same);
  end loop;
  return (select read_back from audit.logs, two where id = big);
end
$$;
select is(pg_temp.read_again(false), 768::bigint, 'what is still not the same does not count');
select is(audit.claim_reading(), null, 'for a week nothing is due');
update audit.readings set begun_at = begun_at - interval '7 days' where again;
select is(pg_temp.read_again(true), 20010::bigint, 'put in order, and read from its start, all of a closed log counts');
select is((select count(*) from audit.readings), 2::bigint, 'a log has two readings');
update audit.readings set begun_at = begun_at - interval '7 days';
update audit.logs set archive_deletion_began_at = now() where id = (select big from two);
select is(audit.claim_reading(), null, 'a log past its retention is not read');

-- What is in the database of a log
delete from audit.readings;
delete from audit.checkpoints;
delete from audit.logs;
create temporary table sealed as select (audit.claim_log('test/audit', due_now => true) ->> 'log')::int as log;
select is(audit.hashes_in_log(log, 0, 2), (select string_agg(encode(audit.hash_of(e.entry), 'hex'), '' order by e.index) from audit.log_entries(log, 0, 2) e), 'hashes are those of the entries') from sealed;
select is(right(audit.hashes_in_log(log, sequenced - 1, sequenced + 1), 64), repeat('0', 64), 'what is not there is told by zeros') from sealed join audit.logs on id = log;
select is(audit.hashes_in_log(log, 2, 2), null, 'of nothing there is nothing') from sealed;

-- Findings that are settled
select audit.note_finding(acme(), 'archive_missing', 'here', '{}');
select is(audit.settle_finding(acme(), 'archive_missing', 'here', '{"by": "repair"}'), true, 'a finding is settled'),
  is(audit.settle_finding(acme(), 'archive_missing', 'here'), false, 'once'), is(audit.settle_finding(acme(), 'archive_missing', 'there'), false, 'and only one that is open');
select is(
  (select array_agg(concat_ws(' ', resource_type, resource_id, details ->> 'kind', details ->> 'by')) from public.audit_logs where action = 'finding.resolved'),
  array['finding here archive_missing repair'], 'with an entry that says so'
);

select is(said(n, f), '42501', format('%s does not call %s', n, f))
from unnest(array['admin', 'member', 'auditor', 'anon', 'service_role']) n,
  unnest(array[
    'select audit.claim_reading()', 'select audit.record_read_back(1, false, 0, 0, null, true)', $$select audit.settle_finding(acme(), 'x', 'y')$$,
    'select audit.continue_reading_back()'
  ]) f;
