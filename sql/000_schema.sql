-- The product's own schema, the one role that may write the log, and the one that may let go of it.
--
-- Schema `audit` is not exposed by the API. What each role may do in it stands in 980_privileges.sql, which starts
-- from nothing: default privileges cannot be reduced per schema, so every load revokes first and grants by name.

create schema if not exists audit;

comment on schema audit is
  'Audit logs for Supabase: capture, chains, identities, verification. Read the log itself in public.audit_logs.';

revoke all on schema audit from public, anon, authenticated, service_role;

create or replace function audit.version()
  returns text
  language sql
  immutable
  parallel safe
  return '0.1.0';

comment on function audit.version() is 'The version of the product that this database has, as in package.json.';

-- Nobody who can log in owns the right to insert into the log: not the application, not service_role, not even
-- postgres. The append functions belong to this role and run as it; 990_install.sql withdraws the membership that
-- the loader needs to hand them over.
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'audit_writer') then
    create role audit_writer nologin noinherit;
  end if;
end
$$;

comment on role audit_writer is 'Owns the functions that append to public.audit_logs; nobody else can insert there.';

grant audit_writer to current_user;
grant usage on schema public to audit_writer;
grant usage, create on schema audit to audit_writer; -- create: needed to hand functions over; withdrawn in 990

-- Nor does anybody who can log in own the right to delete from it. What is past its retention goes through the functions
-- of 4xx that belong to this role, which also keep the periods and holds that they go by.
do $$
begin
  if not exists (select from pg_catalog.pg_roles where rolname = 'audit_purger') then
    create role audit_purger nologin noinherit;
  end if;
end
$$;

comment on role audit_purger is 'Owns the functions of retention and purge; nobody else can delete from public.audit_logs.';

grant audit_purger to current_user;
grant usage on schema public to audit_purger;
grant usage, create on schema audit to audit_purger;
