-- Stand-in for the roles of a hosted Supabase project, with their attributes. Run once or many times in a cluster.
-- Not imitated: supautils (reserved roles, who may alter whom), safeupdate, pgbouncer and replication admin roles.

do $roles$
declare
  wanted record;
begin
  for wanted in
    select *
    from (values
      ('postgres', 'nosuperuser inherit createrole createdb login replication bypassrls'),
      ('anon', 'nosuperuser inherit nocreaterole nocreatedb nologin noreplication nobypassrls'),
      ('authenticated', 'nosuperuser inherit nocreaterole nocreatedb nologin noreplication nobypassrls'),
      ('service_role', 'nosuperuser inherit nocreaterole nocreatedb nologin noreplication bypassrls'),
      ('authenticator', 'nosuperuser noinherit nocreaterole nocreatedb login noreplication nobypassrls'),
      ('supabase_auth_admin', 'nosuperuser noinherit createrole nocreatedb login noreplication nobypassrls'),
      ('supabase_storage_admin', 'nosuperuser noinherit createrole nocreatedb login noreplication nobypassrls'),
      ('dashboard_user', 'nosuperuser inherit createrole createdb nologin replication nobypassrls'),
      ('supabase_read_only_user', 'nosuperuser inherit nocreaterole nocreatedb login noreplication bypassrls')
    ) as roles (name, attributes)
  loop
    if not exists (select from pg_catalog.pg_roles where rolname = wanted.name) then
      execute format('create role %I', wanted.name);
    end if;
    execute format('alter role %I %s', wanted.name, wanted.attributes);
  end loop;
  if current_setting('server_version_num')::integer >= 160000 then
    grant pg_create_subscription to postgres with admin option;
  end if;
end
$roles$;

grant anon, authenticated, service_role, authenticator to postgres with admin option;
grant pg_monitor, pg_read_all_data, pg_signal_backend to postgres with admin option;
grant anon, authenticated, service_role to authenticator;
grant anon, authenticated, service_role to supabase_storage_admin;
grant pg_read_all_data to supabase_read_only_user;

alter role anon set statement_timeout = '3s';
alter role authenticated set statement_timeout = '8s';
alter role authenticator set statement_timeout = '8s';
alter role authenticator set lock_timeout = '8s';
alter role postgres set search_path = "$user", public, extensions;
alter role supabase_admin set search_path = "$user", public, auth, extensions;
alter role supabase_auth_admin set search_path = auth;
alter role supabase_auth_admin set idle_in_transaction_session_timeout = 60000;
alter role supabase_storage_admin set search_path = storage;

-- Hosted, supautils lets postgres set these although it is no superuser.
grant set on parameter session_replication_role, log_statement, log_min_duration_statement to postgres;
