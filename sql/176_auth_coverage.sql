-- Which event of Auth comes by which path in this project, and what is missing.

create or replace function audit.auth_paths()
  returns table (path text, captures text, state text, way_out text)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_logins jsonb := audit.auth_lookup('select to_jsonb(max(s.created_at)) from auth.sessions s where $1 is null', null);
  v_written jsonb := audit.auth_lookup('select to_jsonb(max(a.created_at)) from auth.audit_log_entries a where $1 is null', null);
  v_heard smallint := (select coalesce(bit_or(s.seen), 0) from audit.auth_sightings s where s.seen is not null);
  v_oldest timestamptz := (select min(w.received_at) from audit.waiting_auth_events w);
begin
  return query
    select 'trigger', t.captures,
      case
        when to_regclass('auth.' || t.name) is null then 'no table auth.' || t.name
        else coalesce((
          select string_agg(m.trigger_name || ' is ' || m.state, ', ' order by m.trigger_name)
          from audit.missing_auth_triggers() m
          where m.table_name = t.name
        ), 'captured')
      end,
      case
        when to_regclass('auth.' || t.name) is null then 'this version of Auth has none: nothing to capture'
        when exists (select from audit.missing_auth_triggers() m where m.table_name = t.name) then 'select audit.track_auth()'
      end
    from (values
      ('users', 'sign-ups, passwords, addresses, bans, deletions, roles in app metadata, requests to reset a password'),
      ('sessions', 'logins with address and user agent, logouts, sessions that expired or were revoked, second factors used'),
      ('mfa_factors', 'second factors enrolled, enabled and removed'),
      ('mfa_challenges', 'second factors asked for, or answered too late'),
      ('identities', 'other ways to sign in, linked and unlinked'),
      ('audit_log_entries', 'invites accepted, refreshed tokens, passkeys, sign-ups repeated')
    ) t (name, captures)
    union all
    select 'audit_table', 'what Auth itself records in auth.audit_log_entries',
      case
        when v_written is null then 'not written'
        when v_logins > v_written and (v_logins #>> '{}')::timestamptz - (v_written #>> '{}')::timestamptz > interval '10 minutes' then 'not written lately'
        else 'written'
      end,
      'optional: have Auth write its audit log to the database (Authentication, Audit Logs)'
    union all
    select 'hook', h.captures, case when v_heard & 2 > 0 then 'heard from today' else 'not heard from today' end, h.way_out
    from (values
      ('wrong passwords', 'Team and Enterprise: set the hook password_verification_attempt to audit.hook_password_verification_attempt; else the log'),
      ('wrong codes of a second factor', 'Team and Enterprise: set the hook mfa_verification_attempt to audit.hook_mfa_verification_attempt; else the log')
    ) h (captures, way_out)
    union all
    select 'log', 'failed logins of unknown addresses, requests to the API, denied requests',
      case when v_heard & 8 > 0 then 'heard from today' else 'not heard from today' end,
      'send a log drain to audit-ingest, or let audit-jobs collect the project''s logs'
    union all
    select 'waiting', 'events that could not be written at once',
      case when v_oldest < clock_timestamp() - interval '1 minute' then 'waiting since ' || v_oldest else 'none' end,
      'select audit.settle_waiting_auth(); then see audit.findings';
end
$$;

comment on function audit.auth_paths() is 'Behind audit.auth_coverage.';

create or replace view audit.auth_coverage as
  select p.path, p.captures, p.state, case when p.state not in ('captured', 'written', 'heard from today', 'none') then p.way_out end as way_out
  from audit.auth_paths() p;

comment on view audit.auth_coverage is
  'Each path by which events of Auth reach the log in this project: what it captures, how it stands, and the way out where it is not whole.';
comment on column audit.auth_coverage.path is 'trigger, audit_table, hook or log, as in an entry''s details.source; waiting: what is not settled.';
comment on column audit.auth_coverage.captures is 'Which events come by it.';
comment on column audit.auth_coverage.state is 'How it stands: captured, written or heard from today is whole.';
comment on column audit.auth_coverage.way_out is 'What to do where it is not.';
