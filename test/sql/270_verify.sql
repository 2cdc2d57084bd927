-- Verification finds every alteration, at its entry, and says what kind it is.

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
grant all on audit.heads to postgres;

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
