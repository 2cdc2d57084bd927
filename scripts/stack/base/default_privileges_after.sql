-- The change of 2026, on top of default_privileges_before.sql: reading and writing must be granted explicitly.
-- As on hosted, TRUNCATE, REFERENCES, TRIGGER and MAINTAIN on tables and UPDATE on sequences remain.

alter default privileges for role postgres in schema public
  revoke select, insert, update, delete on tables from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke usage, select on sequences from anon, authenticated, service_role;
alter default privileges for role postgres in schema public
  revoke execute on functions from anon, authenticated, service_role;
