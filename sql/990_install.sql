-- The last step of every load: make what depends on all of the above, then give back what only loading needed.

select audit.track_known_tables();
select audit.track_auth();
select audit.refresh_capture();

-- Generated functions belong to the table's capture; nobody calls them.
do $$
declare
  v_function regprocedure;
begin
  for v_function in
    select p.oid::regprocedure from pg_catalog.pg_proc p
    where p.pronamespace = 'audit'::regnamespace and p.proname like 'capture\_%' and p.prorettype = 'trigger'::regtype
  loop
    execute format('revoke all on function %s from public, anon, authenticated, service_role', v_function);
  end loop;
end
$$;

revoke create on schema audit from audit_writer, audit_purger;
revoke audit_writer, audit_purger from current_user;
