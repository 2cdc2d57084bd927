-- What rows of Auth's tables show; on the real path in test/db/auth_capture.test.ts.

select is_empty('select * from audit.missing_auth_triggers()', 'after installation Auth''s tables are captured');
select is(audit.track_auth(), 0, 'and tracking them again does nothing');
select is(
  audit.auth_change('{"id": 1, "encrypted_password": "a", "new_secret": "b", "email": "x"}', '{"id": 1, "encrypted_password": "c", "new_secret": "d", "email": "x", "updated_at": 2}'),
  '{"old": {"id": 1, "email": "x"}, "new": {"id": 1, "email": "x"}, "changed": ["encrypted_password", "new_secret"]}',
  'of a row only listed columns are read, of the others that they changed'
);
select is(
  audit.auth_permissions('{"role": "service_role", "is_super_admin": true, "raw_app_meta_data": {"provider": "email", "roles": ["admin", "billing"], "role": "owner",
    "is_admin": true, "claims_admin": false, "permissions": null, "org_groups": ["a"]}}'),
  '{database_role:service_role,is_admin,org_groups:a,role:owner,roles:admin,roles:billing,super_admin}',
  'an account''s own permissions'
);
select is(audit.auth_permissions(m::jsonb), '{}', 'none in ' || coalesce(m, 'nothing'))
from unnest(array[null, '{}', '{"raw_app_meta_data": []}', '{"raw_app_meta_data": null, "role": ""}', '{"raw_app_meta_data": {"roles": {}, "role": []}}']) m
where m is distinct from '{"raw_app_meta_data": {"roles": {}, "role": []}}';
select is(audit.auth_lookup('select to_jsonb(1) from auth.no_such_table where $1 is null', null), null, 'what cannot be looked up is not known');
select ok(audit.has_account(null) is not null, 'and that is never in the way');

-- Auth's own record, of every version
select results_eq(
  $$ select a, audit.auth_audit_action(jsonb_build_object('action', a)) from unnest(array['login', 'token_revoked', 'user_modified', 'Passkey-Login!', '', null]) a $$,
  $$ values ('login', 'user.login'), ('token_revoked', null), ('user_modified', 'user.updated'), ('Passkey-Login!', 'auth.passkey_login'), ('', null), (null, null) $$,
  'actions are named; what a later version adds keeps its name'
);
select results_eq(
  $$
    select e.source, e.action, e.user_id, e.email, e.ip_address, e.details
    from audit.auth_audit_event('{"action": "user_invited", "actor_id": "00000000-0000-0000-0000-000000000000", "actor_username": "service_role",
      "traits": {"user_id": "10000000-0000-4000-8000-000000000001", "user_email": "a@example.com", "token": "s3cret"}}', now(), '192.0.2.1') e
  $$,
  $$ values ('audit_table', 'user.invited', '10000000-0000-4000-8000-000000000001'::uuid, 'a@example.com', '192.0.2.1', '{"actor": {"type": "service"}}'::jsonb) $$,
  'the admin API acts on whom the traits name'
);
select is((audit.auth_audit_event(p::jsonb, now())).action, null, 'no event in ' || p)
from unnest(array['{}', '[]', '"x"', 'null', '{"action": {}}', '{"action": null, "actor_id": 7}']) p where p <> '{"action": {}}';

-- By somebody in SQL
select tap.act_as('admin');
select tap.act_as_owner();
insert into auth.users (id, email, encrypted_password, raw_app_meta_data) values (tap.person('admin'), 'admin@example.com', 'hash', '{"provider": "email", "role": "owner"}');
update auth.users set last_sign_in_at = now(), updated_at = now() where id = tap.person('admin');
update auth.users set raw_app_meta_data = '{"role": "viewer"}' where id = tap.person('admin');
select results_eq(
  $$
    select action, organization_id, actor_type, created_by, resource_id, details - 'source' from public.audit_logs
    where resource_id = tap.person('admin')::text and resource_type = 'user' and action not like 'auditor%' order by created_at, seq
  $$,
  format($$ values
    ('user.signed_up', %1$L::uuid, 'database', null::uuid, %2$L, '{"database_role": "postgres", "provider": "email"}'::jsonb),
    ('permission.granted', %1$L, 'database', null, %2$L, '{"database_role": "postgres", "permissions": ["role:owner"], "changes": {"permissions": {"old": [], "new": ["role:owner"]}}}'),
    ('permission.granted', %1$L, 'database', null, %2$L, '{"database_role": "postgres", "permissions": ["role:viewer"], "changes": {"permissions": {"old": ["role:owner"], "new": ["role:viewer"]}}}'),
    ('permission.revoked', %1$L, 'database', null, %2$L, '{"database_role": "postgres", "permissions": ["role:owner"], "changes": {"permissions": {"old": ["role:owner"], "new": ["role:viewer"]}}}')
  $$, tap.acme(), tap.person('admin')),
  'what somebody does in SQL says so, and old and new permissions'
);
delete from auth.users where id = tap.person('admin');
select is(
  (select organization_id || ' ' || actor_type from public.audit_logs where action = 'user.deleted'), tap.acme() || ' database', 'a deletion stands in the organisation that the user was in'
);
select ok((select bool_and(status = 'verified') from audit.verify()), 'all chains verify');
