-- Verification finds every alteration, at its entry, and says what kind it is.

-- What was purged is not missed
select old_entries(acme(), 900001, 10, '300 days', '0'), old_entries(acme(), 900002, 5, '300 days', '200 days');
select seal(), set_retention(acme(), 100);
create temporary table purged as select * from public.audit_logs where chain = 900001 and seq = 3;
select is(audit.purge(7), 7, 'a purge begins');
create temporary table half as select v.* from audit.verify() v;
select is_empty('select * from half where status <> ''verified''', 'half done, all that is left verifies');
select is(audit.purge(), 5, 'and ends');
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'then too');
select results_eq(
  $$ select chain, entries, from_seq, to_seq from audit.verify() where chain > 900000 and chain < 900009 order by chain $$,
  $$ values (900001, 3::bigint, 8::bigint, 10::bigint), (900002, 0, null, null) $$, 'from where the purge has left off'
);

select audit.record(acme(), 'a.one'), audit.record(acme(), 'a.two'), audit.record(acme(), 'a.three'), audit.record(acme(), 'a.four'), audit.record(acme(), 'a.five');
create temporary table place as
  select organization_id, chain, min(seq) as first, max(seq) as last from public.audit_logs where action in ('a.one', 'a.five') and organization_id = acme() group by 1, 2;
select is((select last - first from place), 4::bigint, 'five entries in a row');

select is_empty($$ select * from audit.verify() where status <> 'verified' or finding is not null $$, 'an untouched log verifies');
select is((select sum(entries) from audit.verify()), (select count(*)::numeric from public.audit_logs), 'every entry is counted');
select set_eq('select organization_id, chain from audit.verify()', 'select organization_id, chain from audit.heads', 'every chain is named');
select set_eq(format('select distinct organization_id from audit.verify(%L)', acme()), array[acme()], 'one organisation can be verified alone');

-- Bounded and resumed
create function pg_temp.verify_in_steps(step bigint, out runs int, out status text) language plpgsql as $$
declare
  v_resume text;
begin
  runs := 0;
  loop
    select max(v.resume), max(v.status) into v_resume, status from audit.verify(max_entries => step, resume_from => v_resume) v;
    runs := runs + 1;
    exit when v_resume is null or status = 'broken' or runs > 1000;
  end loop;
end
$$;
select is((select status from pg_temp.verify_in_steps(7)), 'verified', 'a run of bounded steps comes to the same end');
select cmp_ok((select runs from pg_temp.verify_in_steps(7)), '>', 2, 'in several steps');
select throws_ok('select * from audit.verify(max_entries => 0)', 'AUARG', null, 'a bound below one is refused');
select throws_ok($$ select * from audit.verify(resume_from => 'nonsense') $$, 'AUARG', null, 'a position that is none is refused');

-- From where a purge has left off
select is((select status from pg_temp.verify_in_steps(2)), 'verified', 'in steps as well');
select is((
  select status from audit.verify(resume_from => format('%s/900001/3', acme())) where chain = 900001
), 'verified', 'and from where a run has stopped that was quicker than the purge');

-- Tampering, as the owner with every guard off
do $$
declare
  v_member regclass;
begin
  for v_member in select audit.with_children('public.audit_logs') loop
    execute format('alter table %s disable trigger all', v_member);
  end loop;
end
$$;
grant all on public.audit_logs to postgres;
grant all on audit.heads, audit.chain_bounds to postgres;

create function pg_temp.broken_after(tampering text) returns text language plpgsql as $$
declare
  v_found text;
begin
  begin
    execute tampering;
    select string_agg(format('%s at +%s', v.finding, v.broken_seq - p.first), ', ') into v_found
    from audit.verify() v, place p
    where v.status = 'broken' and v.organization_id = p.organization_id and v.chain = p.chain;
    raise exception using errcode = 'ZZZZZ';
  exception when sqlstate 'ZZZZZ' then
    return v_found; -- what was done is undone
  end;
end
$$;

create temporary table tampering (statement text, found text, description text);
insert into tampering
select format('update public.audit_logs a set %s from place p where (a.organization_id, a.chain, a.seq) = (p.organization_id, p.chain, p.first + 2)', t.change),
  'hash_mismatch at +2', 'an edit of ' || split_part(t.change, ' ', 1)
from unnest(array[
  'created_at = a.created_at + interval ''1 microsecond''', 'action = ''a.x''', 'outcome = ''denied''', 'resource_type = ''x''', 'resource_id = ''x''',
  'created_by = gen_random_uuid()', 'actor_type = ''user''', 'identity_hash = sha256(''x'')', 'provider = ''x''', 'cost = 1', 'request_id = ''x''',
  'details = a.details || ''{"x": 1}''', 'prev_hash = sha256(''x'')', 'hash = sha256(''x'')'
]) t (change);
insert into tampering values
  ($$ delete from public.audit_logs a using place p where (a.organization_id, a.chain, a.seq) = (p.organization_id, p.chain, p.first + 2) $$, 'gap at +3', 'a removed entry'),
  ($$ delete from public.audit_logs a using place p where (a.organization_id, a.chain) = (p.organization_id, p.chain) and a.seq >= p.first + 3 $$, 'tail_missing at +3', 'a removed tail'),
  ($$ delete from audit.heads h using place p where (h.organization_id, h.chain) = (p.organization_id, p.chain) $$, 'head_missing at +4', 'a removed head'),
  ($$ update audit.heads h set hash = sha256('x') from place p where (h.organization_id, h.chain) = (p.organization_id, p.chain) $$, 'head_mismatch at +4', 'an edited head'),
  ($$ update audit.heads h set seq = p.first + 1 from place p where (h.organization_id, h.chain) = (p.organization_id, p.chain) $$, 'beyond_head at +2', 'a head set back'),
  ($$ update public.audit_logs a set action = 'a.x', hash = audit.hash_of(audit.entry_text(jsonb_populate_record(a, '{"action": "a.x"}'))) from place p where (a.organization_id, a.chain, a.seq) = (p.organization_id, p.chain, p.first + 2) $$, 'link_mismatch at +3', 'an edit that was hashed again'),
  ($$ insert into public.audit_logs select (jsonb_populate_record(a, jsonb_build_object('created_at', a.created_at + interval '1 year'))).* from public.audit_logs a, place p where (a.organization_id, a.chain, a.seq) = (p.organization_id, p.chain, p.first + 2) $$, null, 'an entry that stands twice');
select is(pg_temp.broken_after(statement), found, description || ' is found at its entry') from tampering where found is not null;
select isnt(pg_temp.broken_after(statement), null, description || ' is found') from tampering where found is null;
select matches(
  pg_temp.broken_after($$
    update public.audit_logs a set action = case a.action when 'a.two' then 'a.three' else 'a.two' end
    from place p where (a.organization_id, a.chain) = (p.organization_id, p.chain) and a.seq in (p.first + 1, p.first + 2)
  $$), 'hash_mismatch at \+1', 'two entries in each other''s place are found at the first'
);
select isnt_empty(
  $$ select * from (select pg_temp.broken_after('truncate public.audit_logs') as found) f where found ~ 'tail_missing' $$, 'TRUNCATE is found'
);

-- At the boundary of what was purged
create function pg_temp.broken_purge(tampering text) returns text language plpgsql as $$
declare
  v_found text;
begin
  begin
    execute tampering;
    select string_agg(format('%s: %s at %s', v.chain, v.finding, v.broken_seq), ', ' order by v.chain) into v_found from audit.verify() v where v.status = 'broken';
    raise exception using errcode = 'ZZZZZ';
  exception when sqlstate 'ZZZZZ' then
    return v_found; -- what was done is undone
  end;
end
$$;
create temporary table taken as select * from public.audit_logs where chain = 900001 and seq = 8;
select is(pg_temp.broken_purge(statement), found, description || ' is found') from (values
  ('update audit.chain_bounds set seq = seq - 1 where chain = 900001', '900001: bound_mismatch at 6', 'a boundary set back'),
  ('update audit.chain_bounds set seq = seq + 1 where chain = 900001', '900001: bound_mismatch at 8', 'a boundary moved on'),
  ('update audit.chain_bounds set hash = sha256(''x'') where chain = 900001', '900001: bound_mismatch at 7', 'another hash'),
  ('update audit.chain_bounds set hash = sha256(''x'') where chain = 900002', '900002: bound_mismatch at 5', 'another hash of a chain of which nothing is left'),
  ('update audit.chain_bounds set seq = seq - 1, stated_seq = null where chain = 900001', '900001: gap at 8', 'a boundary set back, as if a purge were under way'),
  ('update audit.chain_bounds set seq = seq + 1, stated_seq = null where chain = 900001', '900001: purged_before at 8', 'one moved on so'),
  ('update audit.chain_bounds set hash = sha256(''x''), stated_seq = null where chain = 900001', '900001: link_mismatch at 8', 'another hash so'),
  ('update audit.chain_bounds set hash = sha256(''x''), stated_seq = null where chain = 900002', '900002: head_mismatch at 5', 'and so, of a chain of which nothing is left'),
  ('update audit.chain_bounds set seq = seq - 1, stated_seq = null where chain = 900002', '900002: tail_missing at 5', 'a boundary set back before the head'),
  ('update audit.chain_bounds set created_at = created_at + interval ''1 year'' where chain = 900001', '900001: time_reversed at 8', 'a boundary of another time'),
  ('delete from audit.chain_bounds where chain = 900001', '900001: gap at 8', 'a boundary that is gone'),
  ('delete from audit.chain_bounds where chain = 900002', '900002: tail_missing at 1', 'and of a chain of which nothing is left'),
  ('delete from audit.heads where chain in (900001, 900002)', '900001: head_missing at 10, 900002: head_missing at 5', 'a head that is gone'),
  ('delete from public.audit_logs where chain = 900001 and seq = 8', '900001: gap at 9', 'an entry deleted beyond the boundary'),
  ('delete from public.audit_logs where chain = 900001 and seq < 10', '900001: gap at 10', 'several'),
  ('delete from public.audit_logs where chain = 900001', '900001: tail_missing at 8', 'all of them'),
  ('with b as (update audit.chain_bounds b set seq = t.seq, hash = t.hash, created_at = t.created_at from taken t where b.chain = t.chain) delete from public.audit_logs where chain = 900001 and seq = 8',
    '900001: bound_mismatch at 8', 'one with the boundary moved to match'),
  ('insert into public.audit_logs select * from purged', '900001: purged_before at 3', 'one that came back')
) t (statement, found, description);

-- Into another organisation, hashes and all
insert into public.audit_logs
select (jsonb_populate_record(a, jsonb_build_object('organization_id', gen_random_uuid()))).* from public.audit_logs a where action = 'a.one' limit 1;
select is((select count(*) from audit.verify() where status = 'broken' and finding in ('hash_mismatch', 'gap')), 1::bigint, 'an entry replayed into another organisation is found');

-- Identities: each commitment is opened.

select set_config('request.headers', '{"user-agent": "identity-test"}', true);
insert into public.budgets (organization_id) values (acme());
create temporary table opened as
  select a.identity_hash from public.audit_logs a join audit.identities i using (identity_hash) where i.user_agent = 'identity-test';
select is((select v.state from audit.verify_identities(acme()) v join opened using (identity_hash)), 'verified', 'an identity as it was written is verified');
update audit.identities set user_agent = 'somebody else' where identity_hash in (select identity_hash from opened);
select is((select v.state from audit.verify_identities(acme()) v join opened using (identity_hash)), 'mismatched', 'an altered one is mismatched');
delete from audit.identities where identity_hash in (select identity_hash from opened);
select is((select v.state from audit.verify_identities(acme()) v join opened using (identity_hash)), 'missing', 'a deleted one is missing');
