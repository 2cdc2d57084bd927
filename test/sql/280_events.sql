-- The log with the people in it: the reader's own rights decide what is shown.

create function pg_temp.seen(name text, out events bigint, out emails bigint) language plpgsql as $$
begin
  perform tap.act_as(name);
  select count(*), count(email) into events, emails from public.audit_events;
  perform tap.act_as_owner();
end
$$;
create temporary table expected (name text, events bigint, emails bigint);
insert into expected
select p.name,
  (select count(*) from public.audit_logs a where a.organization_id = p.organization_id and (p.own is null or a.created_by = p.own)),
  case when p.sees then (
    select count(identity_hash) from public.audit_logs a where a.organization_id = p.organization_id and (p.own is null or a.created_by = p.own)
  ) else 0 end
from (values
  ('admin', acme(), null, true), ('member', acme(), person('member'), true), ('auditor', acme(), null, false), ('seeing_auditor', acme(), null, true),
  ('stranger', globex(), null, true), ('viewer', null, null, false), ('expired_auditor', null, null, false)
) p (name, organization_id, own, sees);
select cmp_ok((select min(emails) from expected where name in ('admin', 'member', 'seeing_auditor', 'stranger')), '>', 0::bigint, 'there is something to see');
select results_eq(
  format('select events, emails from pg_temp.seen(%L)', name), format('select events, emails from expected where name = %L', name),
  format('%s sees %s events, %s with e-mail', name, events, emails)
) from expected;

select act_as('anon');
select throws_ok('select * from public.audit_events', '42501', null, 'anon sees no view');
select act_as('service_role');
select is((select count(*) from public.audit_events), (select count(*) from public.audit_logs), 'service_role sees every entry once');
select act_as_owner();
select is_empty(
  $$
    select r, p from unnest(array['anon', 'authenticated', 'service_role']) r, unnest(array['insert', 'update', 'delete', 'truncate']) p
    where has_table_privilege(r, 'public.audit_events', p)
  $$,
  'nobody writes through the view'
);
select results_eq(
  $$ select email, ip_address, user_agent from public.audit_events where resource_id = 'b0000000-0000-4000-8000-000000000001' $$,
  $$ values ('admin@example.com', '203.0.113.7', 'pgTAP') $$, 'an event names the person'
);
create temporary table before as select count(*) as n from public.audit_events;
insert into audit.identities select * from audit.identities;
select is((select count(*) from public.audit_events), (select n from before), 'a duplicate identity makes no event twice');
delete from audit.identities;
select is((select count(*) from public.audit_events where email is null), (select n from before), 'an erased person''s events remain, without the person');
