-- Who has which role, and granting auditors.

-- The caller
select is(audit.caller(), 'postgres', 'caller() is who connected');
select act_as('member');
select is(audit.caller(), 'authenticated', 'caller() is the role that was set');
select act_as_owner();

-- Memberships, read from the application's own table
select results_eq(
  $$ select organization_id, role from audit.memberships(person('admin')) $$,
  $$ values (acme(), 'admin') $$, 'an admin is an admin of the own organisation'
);
select is_empty($$ select * from audit.memberships(gen_random_uuid()) $$, 'who stands in no row has no role');
select is_empty($$ select * from audit.memberships(null) $$, 'nobody has no role');

create table public.teams (team uuid, person uuid, "Rôle" text);
insert into public.teams values (acme(), person('admin'), 'owner'), (globex(), person('admin'), 'editor'), (acme(), person('member'), 'guest');
select lives_ok(
  $$ select audit.use_membership('public.teams', 'team', 'person', 'Rôle') $$, 'another table, with other names, can hold the roles'
);
select set_eq(
  $$ select organization_id, role from audit.memberships(person('admin')) $$,
  $$ values (acme(), 'admin'), (globex(), 'member') $$, 'owners are admins, editors are members'
);
select results_eq(
  $$ select role from audit.memberships(person('member')) $$, array['viewer'], 'what is in neither list is a viewer'
);
select lives_ok(
  $$ select audit.use_membership('public.teams', 'team', 'person', 'Rôle', admins => '{guest}', members => '{}') $$, 'the lists can be chosen'
);
select results_eq($$ select role from audit.memberships(person('member')) $$, array['admin'], 'and are followed');
select throws_ok($$ select audit.use_membership('public.nowhere') $$, 'AUTBL', 'There is no table public.nowhere.', 'a missing table is refused');
select throws_ok(
  $$ select audit.use_membership('public.teams') $$, 'AUOPT', 'Table public.teams has no column organization_id.', 'a missing column is refused'
);
select throws_ok($$ select audit.use_membership(null) $$, 'AUTBL', null, 'no table at all is refused');
select audit.use_membership('public.organization_members');

-- What each may read
create temporary table expected (name text, admin uuid[], member uuid[], auditor uuid[], sees uuid[]);
insert into expected values
  ('admin', array[acme()], array[acme()], '{}', '{}'),
  ('member', '{}', array[acme()], '{}', '{}'),
  ('viewer', '{}', '{}', '{}', '{}'),
  ('auditor', '{}', '{}', array[acme()], '{}'),
  ('seeing_auditor', '{}', '{}', array[acme()], array[acme()]),
  ('expired_auditor', '{}', '{}', '{}', '{}'),
  ('stranger', array[globex()], array[globex()], '{}', '{}');
grant select on expected to authenticated;

create function pg_temp.claims(name text) returns setof text language plpgsql as $$
declare
  e record;
begin
  select * into strict e from expected x where x.name = claims.name;
  perform tap.act_as(name);
  return next tap.is(array(select audit.admin_organizations()), e.admin, name || ': organisations to administer');
  return next tap.is(array(select audit.member_organizations()), e.member, name || ': organisations to act in');
  return next tap.is(array(select audit.auditor_organizations()), e.auditor, name || ': organisations to audit');
  return next tap.is(array(select audit.auditor_organizations(true)), e.sees, name || ': organisations to audit with identities');
  perform tap.act_as_owner();
end
$$;
select pg_temp.claims(name) from expected;

-- Granting
select act_as('admin');
select lives_ok(
  $$ select audit.grant_auditor(acme(), person('viewer'), now() + interval '1 hour', true) $$, 'an admin grants an auditor'
);
select throws_ok(
  $$ select audit.grant_auditor(globex(), person('viewer'), now() + interval '1 hour') $$, 'AUDEN', null, 'not for another organisation'
);
select throws_ok(
  $$ select audit.grant_auditor(acme(), person('viewer'), now() - interval '1 hour') $$, 'AUARG', null, 'not until the past'
);
select throws_ok(
  $$ select audit.grant_auditor(acme(), person('viewer'), 'infinity') $$, 'AUARG', null, 'not for ever'
);
select throws_ok($$ select audit.grant_auditor(acme(), person('viewer'), null) $$, 'AUARG', null, 'not without a date');
select throws_ok($$ select audit.grant_auditor(acme(), null, now() + interval '1 hour') $$, 'AUARG', null, 'not nobody');
select throws_ok($$ select audit.grant_auditor(null, person('viewer'), now() + interval '1 hour') $$, 'AUDEN', null, 'not for no organisation');
select act_as('viewer');
select results_eq('select audit.auditor_organizations(true)', array[acme()], 'the auditor may read at once');
select act_as('member');
select throws_ok(
  $$ select audit.grant_auditor(acme(), person('member'), now() + interval '1 hour') $$, 'AUDEN', null, 'a member grants nothing'
);
select throws_ok($$ select audit.revoke_auditor(acme(), person('auditor')) $$, 'AUDEN', null, 'a member revokes nothing');
select act_as('admin');
select is(audit.revoke_auditor(acme(), person('viewer')), true, 'an admin revokes the grant');
select is(audit.revoke_auditor(acme(), person('viewer')), false, 'revoking twice says that there was none');
select act_as('viewer');
select is_empty('select audit.auditor_organizations()', 'the auditor reads no longer');
select act_as_owner();
select results_eq(
  $$
    select action, created_by from public.audit_logs where resource_type = 'user' and resource_id = person('viewer')::text
    order by created_at, chain, seq
  $$,
  $$ values ('auditor.granted', person('admin')), ('auditor.revoked', person('admin')) $$, 'grant and revocation are entries of who did it'
);
select results_eq(
  $$ select granted_by from audit.auditors where user_id = person('auditor') $$, array[null::uuid], 'a grant from the database has no granting user'
);

-- require_admin
select lives_ok($$ select audit.require_admin(acme()) $$, 'postgres counts as admin');
select act_as('service_role');
select lives_ok($$ select audit.require_admin(acme()) $$, 'service_role counts as admin');
select act_as_owner();

-- Who reads the log
select is(said(name, format('select audit.reach(%L)', organization)), reach, format('%s reads %s of %s', name, coalesce(reach, 'nothing'), organization)) from person_reach;
select is(said(name, 'select audit.readable_organization()'), said, format('without an organisation, %s reads %s', name, said)) from (values
  ('admin', acme()::text), ('member', acme()::text), ('auditor', acme()::text), ('stranger', globex()::text), ('viewer', 'AUDEN'), ('expired_auditor', 'AUDEN'), ('service_role', 'AUARG'), ('owner', 'AUARG')
) p (name, said);
insert into public.organization_members (organization_id, user_id, role) values (globex(), person('admin'), 'member');
select is(said('admin', 'select audit.readable_organization()'), 'AUARG', 'who reads several names one');
delete from public.organization_members where organization_id = globex() and user_id = person('admin');
