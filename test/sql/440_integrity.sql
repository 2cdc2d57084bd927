-- Verification goes on by itself, organisation after organisation, and the view says how each stands.

create function pg_temp.verify_in_steps(most bigint) returns int language plpgsql as $$
declare
  v_steps int := 0;
begin
  while audit.continue_verification(most, '0') > 0 loop
    v_steps := v_steps + 1;
  end loop;
  return v_steps;
end
$$;
select is((select count(*) from audit.integrity where was_verified is null), (select count(distinct organization_id) from audit.heads), 'at first nothing is verified');
select cmp_ok(pg_temp.verify_in_steps(2), '>', 10, 'in small steps');
select is_empty('select * from audit.integrity where was_verified is not true or verified_at is null or open_findings > 0', 'every organisation is verified');
select is(audit.continue_verification(), 0, 'then nothing is due for a day');
update audit.verifications set begun_at = begun_at - interval '1 day';
select is(pg_temp.verify_in_steps(100000), 2 * (select count(distinct organization_id) from audit.heads)::int, 'each takes a step for its chains, and one that finds no log');

-- Something is broken
update audit.verifications set begun_at = begun_at - interval '1 day' where organization_id = acme();
do $$
declare
  v_member regclass;
begin
  for v_member in select audit.with_children('public.audit_logs') loop
    execute format('alter table %s disable trigger all', v_member);
  end loop;
end
$$;
grant update on public.audit_logs to postgres;
create policy tampering on public.audit_logs to postgres using (true);
update public.audit_logs set provider = 'nobody' where organization_id = acme() and seq = 1;
select is(audit.continue_verification() > 0, true, 'the next round comes');
select is((select was_verified from audit.integrity where organization_id = acme()), false, 'and the organisation is not verified');
select is((select was_verified from audit.integrity where organization_id = globex()), true, 'others are');
select cmp_ok((select open_findings from audit.integrity where organization_id = acme()), '>', 0::bigint, 'it has findings');
select is((select distinct kind from audit.findings), 'chain_broken', 'of that kind');
select is((select count(*) from public.audit_logs where action = 'verification.failed'), (select count(*) from audit.findings), 'and an entry for each');

select is(said(n, 'select count(*) from audit.integrity') <> '42501', n in ('owner', 'service_role'), format('%s sees it or not', n))
from unnest(array['owner', 'service_role', 'admin', 'member', 'auditor', 'anon']) n;
select is(said(n, 'select audit.continue_verification()'), '42501', format('%s does not verify', n)) from unnest(array['admin', 'member', 'auditor', 'anon', 'service_role']) n;
