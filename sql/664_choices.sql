-- What the admins of an organisation choose for it: settings, retention, legal holds, auditors. Each answers how it stands
-- afterwards. Settings of the project, and those that are the project's alone, only its owner chooses (audit.configure).

create or replace function audit.settings_page(request jsonb default '{}')
  returns jsonb
  language plpgsql
  stable
  security definer -- reads settings, holds and grants on behalf of admins of the organisation
  set search_path = ''
as $$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  perform audit.require_admin(v_organization);
  return jsonb_build_object(
    'organization_id', v_organization,
    'ip_addresses', audit.setting('ip_addresses', v_organization),
    'query_text', audit.setting('query_text', v_organization),
    'time_zone', audit.time_zone_of(v_organization),
    'chosen', coalesce((
      select jsonb_agg(s.name order by s.name) from audit.settings s
      where s.organization_id = v_organization and s.name in ('ip_addresses', 'query_text', 'time_zone')
    ), '[]'),
    'retention', audit.retention_json(v_organization),
    'auditors', coalesce((
      select jsonb_agg(jsonb_build_object(
        'user_id', a.user_id, 'expires_at', audit.instant_text(a.expires_at), 'expired', a.expires_at <= clock_timestamp(),
        'sees_identities', a.sees_identities, 'granted_by', a.granted_by, 'granted_at', audit.instant_text(a.granted_at),
        -- As the organisation's own log knows the person, not as Auth does: an id must not be a way to find out an address.
        'email', (
          select i.email from audit.identities i
          where i.user_id = a.user_id and i.organization_id = v_organization and i.email is not null
          order by i.created_at desc limit 1
        )
      ) order by a.expires_at desc, a.user_id)
      from audit.auditors a
      where a.organization_id = v_organization
    ), '[]')
  );
end
$$;

comment on function audit.settings_page(jsonb) is
  'What was chosen for {organization_id}: settings in force and which of them are its own, retention, holds, auditors. For admins.';

create or replace function audit.change_settings(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins choose settings of their organisation through this function only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_organization uuid;
  v_name text;
  v_value jsonb;
begin
  perform audit.check_request(request, array['organization_id', 'ip_addresses', 'query_text', 'time_zone']);
  v_organization := audit.requested_organization(request);
  perform audit.require_admin(v_organization);
  if v_organization = audit.system_organization() then
    perform audit.fail('AUDEN', 'Settings of the project are its owner''s to choose.', null, 'In the database: audit.configure().');
  elsif request ? 'time_zone' and not exists (select from pg_catalog.pg_timezone_names z where z.name = request ->> 'time_zone') then
    perform audit.fail('AUARG', 'There is no such time zone.', null, 'Name it as Europe/Berlin.');
  end if;
  for v_name, v_value in select e.key, e.value from jsonb_each(request - 'organization_id') e order by e.key loop
    continue when exists (
      select from audit.settings s where s.organization_id = v_organization and s.name = v_name and s.value = v_value
    );
    -- Two of them compile functions that every write of the project goes through.
    if exists (
      select from audit.settings s
      where s.organization_id = v_organization and s.name = v_name and s.changed_at > clock_timestamp() - interval '10 seconds'
    ) then
      perform audit.fail('AURAT', 'This setting was changed a moment ago.', null, 'Try again in ten seconds.');
    end if;
    perform audit.configure(v_name, v_value, v_organization);
  end loop;
  return audit.settings_page(jsonb_build_object('organization_id', v_organization));
end
$$;

comment on function audit.change_settings(jsonb) is
  'Chooses {ip_addresses, query_text, time_zone}, those that are given, for {organization_id}, and answers audit.settings_page().
A setting at most every ten seconds. For admins; leaves an entry each.';

create or replace function audit.requested_days(request jsonb, field text)
  returns int
  language plpgsql
  immutable
  set search_path = ''
as $$
begin
  if not request ? field or request -> field <> 'null' and request ->> field !~ '^\d{1,5}$' then
    perform audit.fail('AUARG', format('%s is a number of days, or null for ever.', field));
  end if;
  return (request ->> field)::int;
end
$$;

comment on function audit.requested_days(jsonb, text) is 'A number of days in a request; null for ever.';

create or replace function audit.change_retention(request jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id', 'database_days', 'archive_days']);
  v_organization := audit.requested_organization(request);
  perform audit.set_retention(v_organization, audit.requested_days(request, 'database_days'), audit.requested_days(request, 'archive_days'));
  return audit.settings_page(jsonb_build_object('organization_id', v_organization));
end
$$;

comment on function audit.change_retention(jsonb) is
  'audit.set_retention() for {organization_id, database_days, archive_days}; answers audit.settings_page(). For admins; leaves an entry.';

create or replace function audit.change_hold(request jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id', 'name', 'reason', 'release']);
  v_organization := audit.requested_organization(request);
  if request -> 'release' = 'true' then
    if not audit.release_hold(v_organization, request ->> 'name') then
      perform audit.fail('AUNOT', 'The organisation has no hold of this name.', null, 'Holds of the whole project are its owner''s to release.');
    end if;
  else
    perform audit.place_hold(v_organization, request ->> 'name', request ->> 'reason');
  end if;
  return audit.settings_page(jsonb_build_object('organization_id', v_organization));
end
$$;

comment on function audit.change_hold(jsonb) is
  'Places the hold {organization_id, name, reason}, or ends it with {release: true}; answers audit.settings_page(). For admins; leaves an entry.';

create or replace function audit.change_auditor(request jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_organization uuid;
  v_user uuid;
  v_expires_at timestamptz;
begin
  perform audit.check_request(request, array['organization_id', 'user_id', 'expires_at', 'sees_identities', 'revoke']);
  v_organization := audit.requested_organization(request);
  v_user := audit.as_uuid(request ->> 'user_id');
  if request -> 'revoke' = 'true' then
    if not audit.revoke_auditor(v_organization, v_user) then
      perform audit.fail('AUNOT', 'The organisation has no such auditor.');
    end if;
  else
    begin
      v_expires_at := (request ->> 'expires_at')::timestamptz;
    exception when invalid_datetime_format or datetime_field_overflow or invalid_parameter_value then
      v_expires_at := null;
    end;
    perform audit.grant_auditor(v_organization, v_user, v_expires_at, request -> 'sees_identities' = 'true');
  end if;
  return audit.settings_page(jsonb_build_object('organization_id', v_organization));
end
$$;

comment on function audit.change_auditor(jsonb) is
  'Lets {user_id} audit {organization_id} until {expires_at}, with e-mail and IP addresses where {sees_identities}, or ends it with
{revoke: true}; answers audit.settings_page(). For admins; leaves an entry.';
