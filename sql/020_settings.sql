-- Settings of the project (organisation = the nil UUID) and of single organisations, which override them.

create or replace function audit.system_organization()
  returns uuid
  language sql
  immutable
  parallel safe
  return '00000000-0000-0000-0000-000000000000'::uuid;

comment on function audit.system_organization() is
  'The nil UUID: the organisation of events that belong to no tenant, and of the project''s own settings.';

create table if not exists audit.settings (
  organization_id uuid not null,
  name text not null,
  value jsonb not null,
  changed_at timestamptz not null default clock_timestamp(),
  constraint settings_pkey primary key (organization_id, name),
  constraint settings_are_known check (
    case name
      when 'ip_addresses' then value in ('"on"', '"truncated"', '"off"')
      when 'query_text' then jsonb_typeof(value) = 'boolean'
      when 'seal_after' then jsonb_typeof(value) = 'number' and value::numeric between 1 and 3600
      when 'shorten_retention_after' then value::text ~ '^\d+$' and value::numeric between 1 and 90
      when 'backup_days' then value::text ~ '^\d+$' and value::numeric between 0 and 90
      when 'login_lockout' then value = 'false' or coalesce(
        jsonb_typeof(value) = 'object' and value - '{failures,seconds}'::text[] = '{}' and value ->> 'failures' ~ '^[1-9]\d{0,2}$'
          and value ->> 'seconds' ~ '^[1-9]\d{0,4}$', false
      )
      when 'api_access' then value in ('"off"', '"all"') or jsonb_typeof(value) = 'number' and value::numeric > 0 and value::numeric < 1
      when 'client_actions' then jsonb_typeof(value) = 'array'
      when 'collect_logs_every' then value::text ~ '^\d+$' and (value::numeric = 0 or value::numeric between 30 and 3600)
      when 'local_channels' then jsonb_typeof(value) = 'boolean'
      when 'alerts_per_hour' then value::text ~ '^\d+$' and value::numeric between 1 and 1000
      when 'time_zone' then jsonb_typeof(value) = 'string' and timestamp '2000-01-01' at time zone (value #>> '{}') is not null
      else false
    end
  )
);

comment on table audit.settings is 'What a project or an organisation has chosen; written by audit.configure().';
comment on column audit.settings.organization_id is 'Whose choice; the nil UUID is the project''s default.';
comment on column audit.settings.name is 'ip_addresses ("on", "truncated" or "off"), query_text (true or false), seal_after (seconds), shorten_retention_after (days), backup_days (days), login_lockout (false, or failures and seconds), api_access ("off", a share, "all"), client_actions (actions), collect_logs_every (seconds; 0: never), local_channels (true or false; of the project alone), alerts_per_hour or time_zone.';
comment on column audit.settings.value is 'The chosen value.';
comment on column audit.settings.changed_at is 'When it was last chosen; the log has every change.';

insert into audit.settings (organization_id, name, value)
values
  (audit.system_organization(), 'ip_addresses', '"on"'),
  (audit.system_organization(), 'query_text', 'false'),
  (audit.system_organization(), 'seal_after', '60'),
  (audit.system_organization(), 'shorten_retention_after', '7'),
  (audit.system_organization(), 'backup_days', '35'),
  (audit.system_organization(), 'login_lockout', 'false'),
  (audit.system_organization(), 'api_access', '"off"'),
  (audit.system_organization(), 'client_actions', '["settings.viewed", "record.viewed", "report.generated", "data.exported"]'),
  (audit.system_organization(), 'collect_logs_every', '0'),
  (audit.system_organization(), 'local_channels', 'false'),
  (audit.system_organization(), 'alerts_per_hour', '20')
on conflict do nothing;

create or replace function audit.setting(name text, organization_id uuid default audit.system_organization())
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select s.value
  from audit.settings s
  where s.name = setting.name
    and s.organization_id in (setting.organization_id, audit.system_organization())
  order by s.organization_id = audit.system_organization()
  limit 1
$$;

comment on function audit.setting(text, uuid) is
  'The value in force for an organisation: its own choice, else the project''s.';

create or replace function audit.configure(
  name text,
  value jsonb,
  organization_id uuid default audit.system_organization()
)
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_old jsonb;
begin
  -- What is compiled below is compiled from all settings: two at a time would each leave the other's out.
  perform pg_advisory_xact_lock(hashtext('audit.configure'));
  v_old := audit.setting(configure.name, configure.organization_id);
  begin
    insert into audit.settings as s (organization_id, name, value)
    values (configure.organization_id, configure.name, configure.value)
    on conflict on constraint settings_pkey do update set value = excluded.value, changed_at = clock_timestamp();
  exception when check_violation or not_null_violation or invalid_parameter_value then
    perform audit.fail('AUOPT', format('There is no setting %s = %s.', configure.name, configure.value), null,
      'Settings are ip_addresses ("on", "truncated", "off"), query_text (true, false), seal_after (1 to 3600 seconds), shorten_retention_after (1 to 90 days), backup_days (0 to 90 days; 0: no backups), login_lockout (false, or {"failures": 1 to 999, "seconds": 1 to 99999}), api_access ("off", "all", or a share such as 0.01), client_actions (a list of actions), collect_logs_every (30 to 3600 seconds; 0: never), local_channels (true, false), alerts_per_hour (1 to 1000) and time_zone ("Europe/Berlin").');
  end;

  -- Settings that every write depends on are compiled into the functions that apply them.
  if configure.name = 'query_text' then
    perform audit.refresh_capture();
  elsif configure.name = 'ip_addresses' then
    perform audit.compile_ip_setting();
  end if;

  perform audit.record(
    configure.organization_id, 'capture.changed', 'setting', configure.name,
    jsonb_build_object('changes', jsonb_build_object(configure.name, jsonb_build_object('old', v_old, 'new', configure.value)))
  );
end
$$;

comment on function audit.configure(text, jsonb, uuid) is
  'Chooses a setting for the project, or for one organisation, and leaves an entry: audit.configure(''query_text'', ''true'').';
