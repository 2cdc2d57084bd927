-- What Auth does, from its own tables: sign-ups, logins and logouts, passwords, factors, bans, roles.
--
-- Capture here must never keep anybody from signing in. So the trigger function declares nothing and calls nothing
-- outside its one block; whatever fails in there, down to a cancelled statement, becomes a finding, and the event waits to
-- be settled later if it got that far. Locks are waited for a tenth of a second. (Every other table is the other way
-- round: no change without its entry.)
--
-- `postgres` may make triggers on Auth's tables, nothing more: they cannot be "enable always", and are never dropped.
-- Rows are read as jsonb through a list of columns, because Auth's versions differ in them, and no column that a later
-- version adds can bring a secret in.

create or replace function audit.auth_columns()
  returns text[]
  language sql
  immutable
  parallel safe
  return '{id,user_id,email,phone,role,is_super_admin,raw_app_meta_data,created_at,invited_at,email_confirmed_at,phone_confirmed_at,recovery_sent_at,
reauthentication_sent_at,email_change_sent_at,banned_until,deleted_at,is_sso_user,is_anonymous,refreshed_at,not_after,aal,ip,user_agent,tag,oauth_client_id,
factor_id,factor_type,status,ip_address,verified_at,provider,payload}'::text[];

comment on function audit.auth_columns() is
  'The columns of Auth''s tables whose values are read. Of all others it is only seen whether they changed.';

create or replace function audit.auth_change(old_row jsonb, new_row jsonb)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_strip_nulls(jsonb_build_object(
    'old', (select jsonb_object_agg(c.key, c.value) from jsonb_each(old_row) c where c.key = any (audit.auth_columns())),
    'new', (select jsonb_object_agg(c.key, c.value) from jsonb_each(new_row) c where c.key = any (audit.auth_columns())),
    'changed', (
      select jsonb_agg(n.key order by n.key)
      from jsonb_each(new_row) n
      where n.value is distinct from old_row -> n.key
        and old_row is not null and n.key not in ('updated_at', 'last_sign_in_at')
    )
  ))
$$;

comment on function audit.auth_change(jsonb, jsonb) is
  'What may be known of a changed row of Auth: {"old", "new"} without secrets, and "changed", the names of columns.';

create or replace function audit.auth_permissions(account jsonb)
  returns text[]
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  select coalesce(array_agg(p.permission order by p.permission), '{}')
  from (
    select m.key || case jsonb_typeof(m.value) when 'boolean' then '' else ':' || left(v.value, 200) end as permission
    from jsonb_each(case when jsonb_typeof(account -> 'raw_app_meta_data') = 'object' then account -> 'raw_app_meta_data' else '{}' end) m
    cross join lateral jsonb_array_elements_text(case when jsonb_typeof(m.value) = 'array' then m.value else jsonb_build_array(m.value) end) v
    where m.key ~* '(^|_)(roles?|permissions?|scopes?|groups?|admin)$' and v.value is not null and m.value <> 'false'
    union
    select 'database_role:' || (account ->> 'role') where account ->> 'role' not in ('authenticated', '')
    union
    select 'super_admin' where account ->> 'is_super_admin' = 'true'
  ) p
$$;

comment on function audit.auth_permissions(jsonb) is
  'What an account may do by itself: the roles, permissions, scopes and groups in its app metadata, its database role.';

-- Asked while Auth's transaction runs: what cannot be read there is not known.
create or replace function audit.auth_lookup(query text, id uuid)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_found jsonb;
begin
  execute auth_lookup.query into v_found using auth_lookup.id;
  return v_found;
exception when others then
  return null;
end
$$;

comment on function audit.auth_lookup(text, uuid) is
  'The answer to a query on Auth''s tables about an id ($1); null where the table is another than expected.';

create or replace function audit.has_account(user_id uuid)
  returns boolean
  language sql
  stable
  set search_path = ''
as $$
  select coalesce(audit.auth_lookup('select to_jsonb(count(*)) from auth.users where id = $1', has_account.user_id) <> '0', true)
$$;

comment on function audit.has_account(uuid) is
  'Whether the account is still there; what goes with it in one cascade is no event of its own.';

create or replace function audit.auth_told(
  action text,
  account jsonb,
  details jsonb default '{}',
  by_admin boolean default false,
  session jsonb default null,
  outcome text default 'success'
)
  returns audit.auth_event
  language plpgsql
  set search_path = ''
as $$
declare
  v_context audit.statement_context;
  v_actor jsonb;
begin
  -- Auth does not tell its tables who asked: the account's owner, or its admin API where nobody else can do such a thing.
  if session_user <> 'supabase_auth_admin' then
    v_context := audit.context();
    v_actor := jsonb_build_object('actor', jsonb_build_object('type', v_context.actor_type, 'id', v_context.created_by), 'database_role', audit.caller());
  elsif by_admin then
    v_actor := '{"actor": {"type": "service", "id": null}}';
  end if;
  return row(
    'trigger', auth_told.action, auth_told.outcome, clock_timestamp(), audit.as_uuid(account ->> 'id'), account ->> 'email', session ->> 'ip',
    session ->> 'user_agent', audit.as_uuid(session ->> 'id'), null, jsonb_strip_nulls(details) || coalesce(v_actor, '{}')
  )::audit.auth_event;
end
$$;

comment on function audit.auth_told(text, jsonb, jsonb, boolean, jsonb, text) is
  'An event that a trigger saw: of whose account, in which session; by whoever it was as far as it shows.';

create or replace function audit.auth_user_events(operation text, change jsonb)
  returns setof audit.auth_event
  language plpgsql
  set search_path = ''
as $$
declare
  v_old jsonb := change -> 'old';
  v_new jsonb := change -> 'new';
  v_changed jsonb := coalesce(change -> 'changed', '[]');
  v_had text[] := audit.auth_permissions(v_old);
  v_has text[] := audit.auth_permissions(v_new);
  v_now timestamptz := clock_timestamp();
  v_is_new boolean := (v_new ->> 'created_at')::timestamptz > v_now - interval '10 seconds';
  v_event_count int := 0;
begin
  if operation = 'INSERT' then
    return next audit.auth_told('user.signed_up', v_new, jsonb_build_object(
      'provider', v_new #> '{raw_app_meta_data,provider}',
      'anonymous', nullif(v_new -> 'is_anonymous', 'false'),
      'sso', nullif(v_new -> 'is_sso_user', 'false')
    ));
  elsif operation = 'DELETE' then
    return next audit.auth_told('user.deleted', v_old, jsonb_build_object(
      'personal', jsonb_strip_nulls(jsonb_build_object('email', jsonb_build_object('old', v_old ->> 'email')))
    ), true);
    return;
  end if;

  if v_changed = '[]' and operation = 'UPDATE' then
    return; -- a login's own mark
  end if;
  if operation = 'UPDATE' and v_new ->> 'deleted_at' is not null and v_old ->> 'deleted_at' is null then
    -- Its addresses are made unreadable in the same statement: no changes of their own.
    return next audit.auth_told('user.deleted', v_old, jsonb_build_object(
      'soft', true, 'personal', jsonb_strip_nulls(jsonb_build_object('email', jsonb_build_object('old', v_old ->> 'email')))
    ), true);
    return;
  end if;

  if v_changed ? 'encrypted_password' then
    perform set_config('audit.auth_reason', concat_ws(' ', v_new ->> 'id', 'password_changed'), true);
    return next audit.auth_told('user.password_changed', v_new, '{"by": "user or admin"}');
  end if;
  if v_changed ? 'email' then
    return next audit.auth_told('user.email_changed', v_new, jsonb_build_object(
      'by', 'user or admin',
      'personal', jsonb_build_object('email', jsonb_build_object('old', v_old ->> 'email', 'new', v_new ->> 'email'))
    ));
  end if;
  if v_changed ? 'phone' then
    return next audit.auth_told('user.phone_changed', v_new, jsonb_build_object(
      'by', 'user or admin',
      'personal', jsonb_build_object('phone', jsonb_build_object('old', v_old ->> 'phone', 'new', v_new ->> 'phone'))
    ));
  end if;
  if v_changed ? 'banned_until' then
    if (v_new ->> 'banned_until')::timestamptz > v_now then
      return next audit.auth_told('user.banned', v_new, jsonb_build_object('until', v_new -> 'banned_until'), true);
    elsif (v_old ->> 'banned_until')::timestamptz > v_now then
      return next audit.auth_told('user.unbanned', v_new, '{}', true);
    end if;
  end if;
  if v_changed ? 'invited_at' and v_new ->> 'invited_at' is not null then
    return next audit.auth_told('user.invited', v_new, '{}', true);
  end if;
  if not v_is_new and (v_changed ? 'email_confirmed_at' and v_old ->> 'email_confirmed_at' is null
    or v_changed ? 'phone_confirmed_at' and v_old ->> 'phone_confirmed_at' is null)
  then
    return next audit.auth_told('user.confirmed', v_new);
  end if;
  if v_changed ? 'recovery_sent_at' and v_new ->> 'recovery_sent_at' is not null then
    return next audit.auth_told('user.password_reset_requested', v_new);
  end if;
  if v_changed ? 'reauthentication_sent_at' and v_new ->> 'reauthentication_sent_at' is not null then
    return next audit.auth_told('user.reauthentication_requested', v_new);
  end if;
  if v_changed ? 'email_change_sent_at' and v_new ->> 'email_change_sent_at' is not null then
    return next audit.auth_told('user.email_change_requested', v_new);
  end if;

  if not v_has <@ v_had then
    return next audit.auth_told('permission.granted', v_new, jsonb_build_object(
      'permissions', array(select unnest(v_has) except select unnest(v_had) order by 1),
      'changes', jsonb_build_object('permissions', jsonb_build_object('old', v_had, 'new', v_has))
    ), true);
  end if;
  if not v_had <@ v_has then
    return next audit.auth_told('permission.revoked', v_new, jsonb_build_object(
      'permissions', array(select unnest(v_had) except select unnest(v_has) order by 1),
      'changes', jsonb_build_object('permissions', jsonb_build_object('old', v_had, 'new', v_has))
    ), true);
  end if;
  if operation = 'UPDATE' and not v_is_new and v_had = v_has and v_changed ?| '{raw_user_meta_data,raw_app_meta_data}'
    and not v_changed ?| '{encrypted_password,email,phone,banned_until,email_confirmed_at,phone_confirmed_at}'
  then
    return next audit.auth_told('user.updated', v_new, jsonb_build_object('columns', v_changed));
  end if;
end
$$;

comment on function audit.auth_user_events(text, jsonb) is 'The events that a changed row of auth.users shows.';

create or replace function audit.auth_session_events(operation text, changes jsonb[])
  returns setof audit.auth_event
  language plpgsql
  set search_path = ''
as $$
declare
  v_change jsonb;
  v_ended record;
  v_users int;
  v_remaining jsonb;
  v_reason text;
  v_expired boolean;
begin
  if operation in ('INSERT', 'UPDATE') then
    foreach v_change in array changes loop
      if operation = 'INSERT' then
        return next audit.auth_told(
          'user.login', jsonb_build_object('id', v_change #>> '{new,user_id}'),
          jsonb_build_object('aal', v_change #> '{new,aal}', 'tag', v_change #> '{new,tag}', 'oauth_client_id', v_change #> '{new,oauth_client_id}'),
          session => v_change -> 'new'
        );
      elsif coalesce(v_change #>> '{new,aal}', '') > coalesce(v_change #>> '{old,aal}', '') and v_change -> 'changed' ? 'aal' then
        perform set_config('audit.auth_reason', concat_ws(' ', v_change #>> '{new,user_id}', 'mfa_verified'), true);
        return next audit.auth_told(
          'user.mfa_verified', jsonb_build_object('id', v_change #>> '{new,user_id}'),
          jsonb_build_object('aal', v_change #> '{new,aal}', 'factor_id', v_change #> '{new,factor_id}'),
          session => v_change -> 'new'
        );
      end if;
    end loop;
    return;
  end if;

  select count(distinct c #>> '{old,user_id}') into v_users from unnest(changes) c;
  for v_ended in
    select c #>> '{old,user_id}' as user_id, count(*) as sessions, (array_agg(c -> 'old'))[1] as first,
      (array_agg(c #>> '{old,id}'))[1:50] as ids,
      bool_and(coalesce((c #>> '{old,not_after}')::timestamptz < clock_timestamp(), false)) as is_over,
      -- Auth lets go of what timed out a day later; without a token of the last day nobody signs out by himself.
      bool_and(greatest((c #>> '{old,refreshed_at}')::timestamp at time zone 'utc', (c #>> '{old,created_at}')::timestamptz) < clock_timestamp() - interval '1 day') as is_idle
    from unnest(changes) c
    group by 1
  loop
    continue when not audit.has_account(audit.as_uuid(v_ended.user_id));
    v_remaining := audit.auth_lookup('select to_jsonb(count(*)) from auth.sessions where user_id = $1', audit.as_uuid(v_ended.user_id));
    v_expired := v_ended.is_over or v_ended.is_idle and (v_users > 1 or v_remaining = '0');
    v_reason := case
      when session_user <> 'supabase_auth_admin' then 'database'
      when split_part(current_setting('audit.auth_reason', true), ' ', 1) = v_ended.user_id
        then split_part(current_setting('audit.auth_reason', true), ' ', 2)
    end;
    return next audit.auth_told(
      case when v_expired then 'user.session_expired' when v_reason is not null then 'user.session_revoked' else 'user.logout' end,
      jsonb_build_object('id', v_ended.user_id),
      jsonb_build_object(
        'sessions', v_ended.sessions,
        'remaining', v_remaining,
        'session_ids', case when v_ended.sessions > 1 then to_jsonb(v_ended.ids) end,
        'reason', case when not v_expired then v_reason end,
        -- One session that ends beside others may have signed out itself, or the other.
        'scope', case
          when v_expired or v_reason is not null or v_ended.sessions = 1 then null
          when v_remaining = '0' then 'global'
          else 'others'
        end
      ),
      session => case when v_ended.sessions = 1 then v_ended.first end
    );
  end loop;
end
$$;

comment on function audit.auth_session_events(text, jsonb[]) is
  'The events that changed rows of auth.sessions show; those that one statement ended for one user are one event.';

create or replace function audit.auth_factor_events(operation text, change jsonb)
  returns setof audit.auth_event
  language plpgsql
  set search_path = ''
as $$
declare
  v_old jsonb := change -> 'old';
  v_new jsonb := change -> 'new';
  v_account jsonb := jsonb_build_object('id', coalesce(v_new, v_old) ->> 'user_id');
  v_details jsonb := jsonb_build_object('factor_id', coalesce(v_new, v_old) -> 'id', 'factor_type', coalesce(v_new, v_old) -> 'factor_type');
begin
  if operation = 'INSERT' then
    return next audit.auth_told('user.mfa_enrolled', v_account, v_details);
  end if;
  if operation in ('INSERT', 'UPDATE') and v_new ->> 'status' = 'verified' and v_old ->> 'status' is distinct from 'verified' then
    return next audit.auth_told('user.mfa_enabled', v_account, v_details);
  elsif operation = 'DELETE' and audit.has_account(audit.as_uuid(v_account ->> 'id')) or operation = 'UPDATE' and v_old ->> 'status' = 'verified' and v_new ->> 'status' <> 'verified' then
    return next audit.auth_told(
      case v_old ->> 'status' when 'verified' then 'user.mfa_disabled' else 'user.mfa_enrollment_removed' end, v_account, v_details
    );
  end if;
end
$$;

comment on function audit.auth_factor_events(text, jsonb) is 'The events that a changed row of auth.mfa_factors shows.';

create or replace function audit.auth_challenge_events(operation text, change jsonb)
  returns setof audit.auth_event
  language plpgsql
  set search_path = ''
as $$
declare
  v_row jsonb := coalesce(change -> 'new', change -> 'old');
  v_factor jsonb := audit.auth_lookup(
    'select jsonb_build_object(''user_id'', f.user_id, ''factor_type'', f.factor_type) from auth.mfa_factors f where f.id = $1',
    audit.as_uuid(v_row ->> 'factor_id')
  );
  v_account jsonb := jsonb_build_object('id', v_factor ->> 'user_id');
  v_session jsonb := jsonb_build_object('ip', v_row ->> 'ip_address');
  v_details jsonb := jsonb_build_object('factor_id', v_row -> 'factor_id', 'factor_type', v_factor -> 'factor_type');
begin
  if v_factor is null then
    return; -- it went with its factor
  elsif operation = 'INSERT' then
    return next audit.auth_told('user.mfa_challenged', v_account, v_details, session => v_session);
  elsif operation = 'DELETE' and v_row ->> 'verified_at' is null and v_factor ->> 'factor_type' <> 'webauthn'
    and (v_row ->> 'created_at')::timestamptz > clock_timestamp() - interval '1 day'
  then
    -- Auth deletes a challenge when somebody answers it too late, and after a day.
    return next audit.auth_told('user.mfa_failed', v_account, v_details || '{"reason": "challenge expired"}', session => v_session, outcome => 'failure');
  end if;
end
$$;

comment on function audit.auth_challenge_events(text, jsonb) is 'The events that a changed row of auth.mfa_challenges shows.';

create or replace function audit.auth_identity_events(operation text, change jsonb)
  returns setof audit.auth_event
  language plpgsql
  set search_path = ''
as $$
declare
  v_user uuid := audit.as_uuid(coalesce(change -> 'new', change -> 'old') ->> 'user_id');
  v_account jsonb := audit.auth_lookup('select jsonb_build_object(''id'', u.id, ''created_at'', u.created_at) from auth.users u where u.id = $1', v_user);
begin
  -- The first comes with the account, and all go with it.
  if v_account is null or operation = 'INSERT' and (v_account ->> 'created_at')::timestamptz > clock_timestamp() - interval '10 seconds' then
    return;
  end if;
  return next audit.auth_told(
    case operation when 'INSERT' then 'user.identity_linked' else 'user.identity_unlinked' end, jsonb_build_object('id', v_user),
    jsonb_build_object('provider', coalesce(change -> 'new', change -> 'old') -> 'provider')
  );
end
$$;

comment on function audit.auth_identity_events(text, jsonb) is 'The events that a changed row of auth.identities shows.';

create or replace function audit.auth_audit_action(payload jsonb)
  returns text
  language sql
  immutable
  parallel safe
  return case payload ->> 'action'
    when 'login' then 'user.login'
    when 'logout' then 'user.logout'
    when 'invite_accepted' then 'user.invite_accepted'
    when 'user_signedup' then 'user.signed_up'
    when 'user_invited' then 'user.invited'
    when 'user_deleted' then 'user.deleted'
    when 'user_modified' then 'user.updated'
    when 'user_recovery_requested' then 'user.password_reset_requested'
    when 'user_reauthenticate_requested' then 'user.reauthentication_requested'
    when 'user_confirmation_requested' then 'user.confirmation_requested'
    when 'user_repeated_signup' then 'user.signup_repeated'
    when 'user_updated_password' then 'user.password_changed'
    when 'token_refreshed' then 'user.token_refreshed'
    when 'token_revoked' then null -- the old half of every refresh
    when 'generate_recovery_codes' then 'user.recovery_codes_generated'
    when 'recovery_codes_deleted' then 'user.recovery_codes_deleted'
    when 'factor_in_progress' then 'user.mfa_enrolled'
    when 'factor_unenrolled' then case payload #>> '{traits,factor_status}' when 'unverified' then 'user.mfa_enrollment_removed' else 'user.mfa_disabled' end
    when 'factor_deleted' then 'user.mfa_disabled'
    when 'factor_updated' then 'user.mfa_changed'
    when 'challenge_created' then 'user.mfa_challenged'
    when 'verification_attempted' then 'user.mfa_verified'
    when 'mfa_code_login' then 'user.mfa_verified'
    when 'identity_linked' then 'user.identity_linked'
    when 'identity_unlinked' then 'user.identity_unlinked'
    when 'passkey_created' then 'user.passkey_added'
    when 'passkey_updated' then 'user.passkey_changed'
    when 'passkey_deleted' then 'user.passkey_removed'
    -- What a later version calls otherwise keeps its name.
    else 'auth.' || nullif(left(trim('_' from regexp_replace(lower(payload ->> 'action'), '[^a-z0-9]+', '_', 'g')), 80), '')
  end;

comment on function audit.auth_audit_action(jsonb) is
  'Our name for the action in a payload of auth.audit_log_entries (or of auth_event in Auth''s log); null for what is no event of its own.';

create or replace function audit.auth_audit_event(
  payload jsonb,
  happened_at timestamptz,
  ip_address text default null,
  user_agent text default null,
  request_id text default null,
  source text default 'audit_table'
)
  returns audit.auth_event
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_action text := audit.auth_audit_action(payload);
  v_traits jsonb := payload -> 'traits';
  -- The admin API acts as the nil UUID, on whom the traits name.
  v_by_admin boolean := coalesce(payload ->> 'actor_id' = '00000000-0000-0000-0000-000000000000', false);
  v_named text := case when v_by_admin then v_traits ->> 'user_email' else payload ->> 'actor_username' end;
begin
  if v_action is null then
    return null;
  end if;
  return row(
    auth_audit_event.source, v_action, case v_action when 'user.signup_repeated' then 'failure' else 'success' end, auth_audit_event.happened_at,
    audit.as_uuid(case when v_by_admin then v_traits ->> 'user_id' else payload ->> 'actor_id' end),
    case when v_named like '%@%' then v_named end, auth_audit_event.ip_address, auth_audit_event.user_agent, null, auth_audit_event.request_id,
    jsonb_strip_nulls(jsonb_build_object(
      'actor', case when v_by_admin then '{"type": "service", "id": null}'::jsonb end,
      'provider', v_traits -> 'provider', 'provider_type', v_traits -> 'provider_type', 'channel', v_traits -> 'channel',
      'factor_id', v_traits -> 'factor_id', 'factor_type', v_traits -> 'factor_type', 'passkey_id', v_traits -> 'passkey_id',
      'identity_id', v_traits -> 'identity_id'
    ))
  )::audit.auth_event;
end
$$;

comment on function audit.auth_audit_event(jsonb, timestamptz, text, text, text, text) is
  'The event in a payload of auth.audit_log_entries, or in the same of Auth''s log; null for what is no event of its own.';

create or replace function audit.capture_auth(table_name text, operation text, changes jsonb[])
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_change jsonb;
  v_events audit.auth_event[] := '{}';
begin
  if operation = 'TRUNCATE' then
    v_events := array[row(
      'trigger', 'auth.truncated', 'success', clock_timestamp(), null, null, null, null, null, null,
      jsonb_build_object('resource', jsonb_build_object('type', 'table', 'id', 'auth.' || table_name), 'actor', '{"type": "database"}'::jsonb, 'database_role', session_user)
    )::audit.auth_event];
  elsif table_name = 'sessions' then
    v_events := array(select e from audit.auth_session_events(operation, changes) e);
  elsif table_name = 'audit_log_entries' then
    -- Auth writes these before what they tell of, and knows less than its tables show: they are settled afterwards.
    insert into audit.waiting_auth_events (event)
    select e.event
    from unnest(changes) c
    cross join lateral (
      select audit.auth_audit_event(
        c #> '{new,payload}', coalesce((c #>> '{new,created_at}')::timestamptz, clock_timestamp()), nullif(c #>> '{new,ip_address}', '')
      ) as event
    ) e
    where (e.event).action is not null;
    return;
  else
    foreach v_change in array changes loop
      v_events := v_events || case table_name
        when 'users' then array(select e from audit.auth_user_events(operation, v_change) e)
        when 'mfa_factors' then array(select e from audit.auth_factor_events(operation, v_change) e)
        when 'mfa_challenges' then array(select e from audit.auth_challenge_events(operation, v_change) e)
        when 'identities' then array(select e from audit.auth_identity_events(operation, v_change) e)
      end;
    end loop;
  end if;
  perform audit.tell_auth(v_events, table_name);
end
$$;

comment on function audit.capture_auth(text, text, jsonb[]) is 'Records what changed rows of one of Auth''s tables show.';

create or replace function audit.tell_auth(events audit.auth_event[], teller text)
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  perform audit.record_auth(tell_auth.events);
exception when others or query_canceled or assert_failure then
  -- The log cannot be written now. What happened is kept, and written when it can be.
  insert into audit.waiting_auth_events (event) select e::audit.auth_event from unnest(tell_auth.events) e;
  perform audit.note_auth_failure(teller, sqlstate, sqlerrm);
end
$$;

comment on function audit.tell_auth(audit.auth_event[], text) is
  'Records events inside a transaction of Auth; what cannot be written now waits, and that is a finding.';

create or replace function audit.note_auth_failure(subject text, state text, message text)
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  -- One at a time: a finding is a row, and no login may wait for another's.
  if pg_try_advisory_xact_lock(1096110407, hashtext(note_auth_failure.subject)) then
    perform audit.note_finding(audit.system_organization(), 'auth_capture_failed', note_auth_failure.subject, jsonb_build_object(
      'sqlstate', note_auth_failure.state, 'message', audit.masked_text(left(note_auth_failure.message, 200))
    ));
  end if;
exception when others or query_canceled or assert_failure then
  raise warning 'audit: capture of auth failed (%: %), and so did noting it (%)', note_auth_failure.state, note_auth_failure.subject, sqlstate;
end
$$;

comment on function audit.note_auth_failure(text, text, text) is
  'Notes that capture of Auth failed: a finding, or only a warning where not even that can be written. Never an error.';

create or replace function audit.on_auth_change()
  returns trigger
  language plpgsql
  security definer -- Auth may write its own tables, never the log
  set search_path = ''
  set lock_timeout = '100ms'
as $$
declare
  v_changes jsonb[];
begin
  begin
    if tg_level = 'ROW' then
      v_changes := array[audit.auth_change(to_jsonb(old), null)];
    elsif tg_op = 'INSERT' then
      v_changes := array(select audit.auth_change(null, to_jsonb(n)) from new_rows n);
    elsif tg_op = 'UPDATE' then
      v_changes := array(select audit.auth_change(to_jsonb(o), to_jsonb(n)) from old_rows o join new_rows n on n.id = o.id);
    elsif tg_op = 'DELETE' then
      v_changes := array(select audit.auth_change(to_jsonb(o), null) from old_rows o);
    end if;
    if v_changes <> '{}' or tg_op = 'TRUNCATE' then
      perform audit.capture_auth(tg_table_name, tg_op, v_changes);
    end if;
  exception when others or query_canceled or assert_failure then
    begin
      perform audit.note_auth_failure(tg_table_name, sqlstate, sqlerrm);
    exception when others or query_canceled or assert_failure then
      raise warning 'audit: capture of auth.% failed: %', tg_table_name, sqlstate;
    end;
  end;
  return null;
end
$$;

comment on function audit.on_auth_change() is
  'Trigger function on Auth''s tables: records what their rows show. Whatever fails in it, Auth''s own statement does not.';

-- The account's row trigger runs before the cascade takes its memberships away: triggers of one event fire in the order
-- of their names, and those of foreign keys begin with "RI_".
create or replace function audit.auth_triggers()
  returns table (table_name text, trigger_name text, definition text)
  language sql
  immutable
  rows 20
  set search_path = ''
as $$
  select t.name, e.trigger_name, e.definition
  from (values ('users'), ('sessions'), ('mfa_factors'), ('mfa_challenges'), ('identities'), ('audit_log_entries')) t (name)
  cross join (values
    ('audit_insert', 'after insert on auth.%I referencing new table as new_rows for each statement'),
    ('audit_update', 'after update on auth.%I referencing old table as old_rows new table as new_rows for each statement'),
    ('audit_delete', 'after delete on auth.%I referencing old table as old_rows for each statement'),
    ('Audit_delete', 'after delete on auth.%I for each row'),
    ('audit_truncate', 'before truncate on auth.%I for each statement')
  ) e (trigger_name, definition)
  where case e.trigger_name
    when 'audit_insert' then true
    when 'audit_truncate' then true
    when 'audit_update' then t.name in ('users', 'sessions', 'mfa_factors')
    when 'Audit_delete' then t.name = 'users'
    else t.name not in ('users', 'audit_log_entries')
  end
$$;

comment on function audit.auth_triggers() is 'The triggers that Auth''s tables carry.';

create or replace function audit.missing_auth_triggers()
  returns table (table_name text, trigger_name text, definition text, state text)
  language sql
  stable
  rows 20
  set search_path = ''
as $$
  select e.table_name, e.trigger_name, e.definition,
    case
      when c.oid is null then 'no such table'
      when t.oid is null then 'missing'
      when t.tgenabled = 'D' then 'disabled'
      else 'calling another function'
    end
  from audit.auth_triggers() e
  left join pg_catalog.pg_class c on c.relname = e.table_name and c.relnamespace = to_regnamespace('auth') and c.relkind in ('r', 'p')
  left join pg_catalog.pg_trigger t on t.tgrelid = c.oid and t.tgname = e.trigger_name
  where t.oid is null or t.tgenabled = 'D' or t.tgfoid <> to_regprocedure('audit.on_auth_change()')
$$;

comment on function audit.missing_auth_triggers() is 'Triggers on Auth''s tables that are not as they should be.';

create or replace function audit.track_auth()
  returns int
  language plpgsql
  set search_path = ''
  set lock_timeout = '3s'
as $$
declare
  v_table text;
  v_trigger record;
  v_tracked int := 0;
begin
  for v_table in select distinct m.table_name from audit.missing_auth_triggers() m where m.state <> 'no such table' order by 1 loop
    -- One that is already right is left alone: making a trigger locks out writers for a moment.
    begin
      for v_trigger in select * from audit.missing_auth_triggers() m where m.table_name = v_table loop
        execute format('create or replace trigger %I ' || v_trigger.definition || ' execute function audit.on_auth_change()', v_trigger.trigger_name, v_table);
      end loop;
      perform audit.record(null, 'capture.tracked', 'table', 'auth.' || v_table);
      v_tracked := v_tracked + 1;
    exception when others then
      raise notice 'audit: auth.% is not captured: %', v_table, sqlerrm;
    end;
  end loop;
  return v_tracked;
end
$$;

comment on function audit.track_auth() is
  'Attaches capture to those of Auth''s tables that are there and lack it, an entry each; answers how many. Harmless to repeat.';
