-- Who is acting, and in which request. Sources in order: the claims and headers that PostgREST sets, the settings an
-- application may set (audit.actor, audit.actor_type, audit.actor_email, audit.request_id), the database role. (The row's own actor column
-- comes after the settings; audit.append() adds it.)
--
-- What a client can forge: `audit.*` settings and `request.*` settings by anyone with a raw SQL connection;
-- x-forwarded-for, user-agent and x-request-id by any HTTP client. Claims that came through PostgREST are verified.

create or replace function audit.as_uuid(value text)
  returns uuid
  language sql
  immutable
  parallel safe
  -- Not a regular expression: matching one costs ten times this, on every write.
  return case
    when value like '________-____-____-____-____________' and translate(value, '0123456789abcdefABCDEF', '') = '----'
      then value::uuid
  end;

comment on function audit.as_uuid(text) is 'The UUID, or null where the text is none; never an error.';

-- Too long for its place: its beginning and the digest of all of it, so nothing is cut silently.
create or replace function audit.bounded(value text, most int)
  returns text
  language sql
  stable
  parallel safe
  return case
    when length(value) <= most then value
    else left(value, most - 72) || '…sha256:' || encode(sha256(convert_to(value, 'UTF8')), 'hex')
  end;

comment on function audit.bounded(text, int) is
  'The text, or where it is longer than `most` characters its beginning followed by "…sha256:" and the digest of all.';

create or replace function audit.normalized_ip(value text)
  returns text
  language plpgsql
  immutable
  parallel safe
  set search_path = ''
as $$
declare
  -- The first hop of x-forwarded-for; "[v6]:port", "v4:port" and IPv6 zones are what proxies really send.
  v_ip text := trim(split_part(normalized_ip.value, ',', 1));
begin
  if v_ip = '' then
    return null;
  end if;
  begin
    return host(v_ip::inet);
  exception when others then
    v_ip := regexp_replace(v_ip, '^\[([^]]*)\](:\d+)?$', '\1');
    v_ip := regexp_replace(v_ip, '^(\d+\.\d+\.\d+\.\d+):\d+$', '\1');
    v_ip := regexp_replace(v_ip, '%.*$', '');
  end;
  return host(v_ip::inet);
exception when others then
  return left(v_ip, 64); -- not an address (a host name, a forged header): kept as it came, as evidence
end
$$;

comment on function audit.normalized_ip(text) is
  'The client address of an x-forwarded-for value in its usual spelling; what is no address is kept, cut to 64 characters.';

do $$
begin
  if to_regtype('audit.statement_context') is null then
    create type audit.statement_context as (
      created_by uuid,
      actor_type text,
      email text,
      ip_address text,
      user_agent text,
      request_id text,
      chain int,
      extra jsonb
    );
  end if;
end
$$;

comment on type audit.statement_context is 'Who acts in the current statement and in which request; see audit.context().';

create or replace function audit.context_sources()
  returns text
  language sql
  stable
  return format(
    E'%s\x1e%s\x1e%s\x1e%s\x1e%s\x1e%s\x1e%s\x1e%s\x1e%s', pg_backend_pid()::text, session_user::text, current_setting('role', true),
    current_setting('request.jwt.claims', true), current_setting('request.headers', true),
    current_setting('audit.actor', true), current_setting('audit.actor_type', true),
    current_setting('audit.actor_email', true), current_setting('audit.request_id', true)
  );

comment on function audit.context_sources() is
  'All that audit.read_context() depends on, in one text: connection, roles, claims, headers and audit.* settings.';

create or replace function audit.read_context()
  returns audit.statement_context
  language plpgsql
  set search_path = ''
as $$
declare
  v_context audit.statement_context;
  v_claims jsonb;
  v_headers jsonb;
  v_setting text;
begin
  -- Malformed claims or headers must not cost the application its change: the entry says that they were malformed.
  begin
    v_claims := nullif(current_setting('request.jwt.claims', true), '');
  exception when others then
    v_context.extra := '{"malformed_claims": true}';
  end;
  begin
    v_headers := nullif(current_setting('request.headers', true), '');
  exception when others then
    v_context.extra := coalesce(v_context.extra, '{}') || '{"malformed_headers": true}';
  end;

  v_context.ip_address := audit.normalized_ip(v_headers ->> 'x-forwarded-for');
  v_context.user_agent := audit.masked_text(left(v_headers ->> 'user-agent', 500));
  v_context.request_id := audit.masked_text(left(
    coalesce(nullif(current_setting('audit.request_id', true), ''), v_headers ->> 'x-request-id'), 200
  ));

  v_setting := nullif(current_setting('audit.actor', true), '');
  if v_claims ->> 'sub' <> '' then
    v_context.created_by := audit.as_uuid(v_claims ->> 'sub');
    v_context.actor_type := 'user';
    v_context.email := nullif(left(v_claims ->> 'email', 320), '');
    if v_context.created_by is null then
      -- Third-party sign-in (Clerk, Auth0, Firebase): the subject is not a UUID.
      v_context.extra := coalesce(v_context.extra, '{}') || jsonb_build_object('subject', left(v_claims ->> 'sub', 200));
    end if;
  elsif v_setting is not null then
    v_context.created_by := audit.as_uuid(v_setting);
    v_context.email := left(nullif(current_setting('audit.actor_email', true), ''), 320);
    v_context.actor_type := case
      when current_setting('audit.actor_type', true) in ('user', 'api_key', 'service', 'system')
        then current_setting('audit.actor_type', true)
      else 'user'
    end;
    if v_context.created_by is null then
      v_context.extra := coalesce(v_context.extra, '{}') || jsonb_build_object('subject', left(v_setting, 200));
    end if;
  elsif v_claims ->> 'role' = 'service_role' then
    v_context.actor_type := 'service';
  elsif v_claims is not null then
    v_context.actor_type := 'user'; -- anonymous: a client's request without a subject
  else
    v_context.actor_type := 'database';
    v_context.extra := coalesce(v_context.extra, '{}') || jsonb_build_object('database_role', audit.caller());
  end if;

  v_context.chain := audit.connection_chain();

  perform set_config('audit.context', v_context::text, false),
    set_config('audit.context_sources', audit.context_sources(), false);
  return v_context;
end
$$;

comment on function audit.read_context() is
  'Reads the context from claims, headers and settings, and keeps it in the setting audit.context for this connection.';

-- Parsing claims and headers is the dearest part of a write, and most connections write more than once from the same
-- sources. Who can forge these settings can forge the sources just as well. One expression, which becomes part of the
-- statement that asks; where somebody wrote nonsense into the settings, it is an error.
create or replace function audit.kept_context()
  returns audit.statement_context
  language sql
  return case
    when current_setting('audit.context_sources', true) = audit.context_sources()
      then current_setting('audit.context', true)::audit.statement_context
    else audit.read_context()
  end;

comment on function audit.kept_context() is
  'audit.context() for those who write: an error instead of a second reading where the settings hold nonsense.';

create or replace function audit.context()
  returns audit.statement_context
  language plpgsql
  set search_path = ''
as $$
begin
  return audit.kept_context();
exception when others then
  return audit.read_context();
end
$$;

comment on function audit.context() is
  'The actor and request of the current statement: user id, kind of actor, e-mail, IP address,
user agent, request id, and the chain that the connection writes.';
