-- Failed passwords and codes, from Auth's hooks, for plans that have them. No table shows these failures.
--
--   [auth.hook.password_verification_attempt]
--   enabled = true
--   uri = "pg-functions://postgres/audit/hook_password_verification_attempt"
--
-- Auth asks in a transaction of its own, so the entry stays although the login fails; it asks only where the account
-- exists, has a password and is not banned. Whatever happens in here, the answer is that Auth decides, unless the
-- setting login_lockout says otherwise.

create or replace function audit.is_locked_out(kind text, user_id uuid)
  returns boolean
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_policy jsonb := audit.setting('login_lockout');
  v_since timestamptz := clock_timestamp() - make_interval(secs => (v_policy ->> 'seconds')::int);
begin
  if v_policy = 'false' then
    return false;
  end if;
  return (v_policy ->> 'failures')::int <= (
    select count(*)
    from audit.auth_sightings s
    where s.subject = audit.digest_id(kind || ' user ' || is_locked_out.user_id) and s.seen is not null and s.happened_at > v_since
  ) + (
    select count(*)
    from audit.waiting_auth_events w
    where (w.event).user_id = is_locked_out.user_id and (w.event).action = kind and (w.event).happened_at > v_since
  );
end
$$;

comment on function audit.is_locked_out(text, uuid) is
  'Whether a user failed as often as the setting login_lockout allows; never where it is off.';

create or replace function audit.answer_attempt(action text, event jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_user uuid := audit.as_uuid(event ->> 'user_id');
  v_at timestamptz;
  v_is_locked_out boolean;
begin
  if v_user is null or jsonb_typeof(event -> 'valid') is distinct from 'boolean' then
    perform audit.note_auth_failure('hook ' || action, '22023', 'the payload names no user_id, or not whether it was valid');
    return '{"decision": "continue"}';
  end if;
  v_is_locked_out := audit.is_locked_out(action, v_user);
  -- A right password or code shows as a login, or as a session's new assurance level.
  if event -> 'valid' = 'false' or v_is_locked_out then
    begin
      v_at := event #>> '{metadata,time}';
    exception when others then
      null;
    end;
    if v_at is null or abs(extract(epoch from clock_timestamp() - v_at)) > 600 then
      v_at := clock_timestamp();
    end if;
    perform audit.tell_auth(
      array[row(
        'hook', answer_attempt.action, case when v_is_locked_out then 'denied' else 'failure' end, v_at, v_user, null,
        event #>> '{metadata,ip_address}', null, null, null,
        jsonb_strip_nulls(jsonb_build_object(
          'reason', case when v_is_locked_out then 'locked out' when answer_attempt.action = 'user.login_failed' then 'wrong password' else 'wrong code' end,
          'factor_id', audit.as_uuid(event ->> 'factor_id'), 'factor_type', left(event ->> 'factor_type', 50),
          'attempt', left(event #>> '{metadata,uuid}', 50)
        ))
      )::audit.auth_event],
      'hook ' || answer_attempt.action
    );
  end if;
  if v_is_locked_out then
    return '{"decision": "reject", "message": "Too many failed attempts. Try again later.", "should_logout_user": false}';
  end if;
  return '{"decision": "continue"}';
end
$$;

comment on function audit.answer_attempt(text, jsonb) is
  'Records a failed attempt that Auth tells a hook of, and answers: continue, or reject where the user is locked out.';

create or replace function audit.hook_password_verification_attempt(event jsonb)
  returns jsonb
  language plpgsql
  security definer -- Auth may ask, never write the log
  set search_path = ''
  set lock_timeout = '100ms'
as $$
begin
  return audit.answer_attempt('user.login_failed', event);
exception when others or query_canceled or assert_failure then
  begin
    perform audit.note_auth_failure('hook password_verification_attempt', sqlstate, sqlerrm);
  exception when others or query_canceled or assert_failure then
    raise warning 'audit: the hook password_verification_attempt failed: %', sqlstate;
  end;
  return '{"decision": "continue"}';
end
$$;

comment on function audit.hook_password_verification_attempt(jsonb) is
  'Hook password_verification_attempt of Supabase Auth: records wrong passwords; the answer is "continue" unless the setting login_lockout says "reject".';

create or replace function audit.hook_mfa_verification_attempt(event jsonb)
  returns jsonb
  language plpgsql
  security definer -- Auth may ask, never write the log
  set search_path = ''
  set lock_timeout = '100ms'
as $$
begin
  return audit.answer_attempt('user.mfa_failed', event) - 'should_logout_user';
exception when others or query_canceled or assert_failure then
  begin
    perform audit.note_auth_failure('hook mfa_verification_attempt', sqlstate, sqlerrm);
  exception when others or query_canceled or assert_failure then
    raise warning 'audit: the hook mfa_verification_attempt failed: %', sqlstate;
  end;
  return '{"decision": "continue"}';
end
$$;

comment on function audit.hook_mfa_verification_attempt(jsonb) is
  'Hook mfa_verification_attempt of Supabase Auth: records wrong codes; the answer is "continue" unless the setting login_lockout says "reject".';
