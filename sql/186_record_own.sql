-- What signed-in people do that no table shows and no backend reports: their own client says so. PostgREST runs GET in a
-- read-only transaction, so reads leave nothing by themselves; the client calls this beside them, with POST.
--
-- Whoever is signed in can say what they like about themselves and nothing about others. So the entry says that a client
-- reported it, only harmless actions are taken, and only so many a minute.

create table if not exists audit.client_rates (
  user_id uuid constraint client_rates_pkey primary key,
  minute timestamptz not null,
  events int not null
);

comment on table audit.client_rates is 'How many events each user''s client reported in the last minute in which it did.';
comment on column audit.client_rates.user_id is 'The user.';
comment on column audit.client_rates.minute is 'When that minute began.';
comment on column audit.client_rates.events is 'How many events it reported since.';

create or replace function audit.forget_client_rates()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_forgotten bigint;
begin
  delete from audit.client_rates r where r.minute < clock_timestamp() - interval '1 hour';
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$$;

comment on function audit.forget_client_rates() is 'Forgets who reported nothing for an hour; answers how many.';

create or replace function public.record_audit_event(
  action text,
  resource_type text default null,
  resource_id text default null,
  details jsonb default '{}',
  organization_id uuid default null
)
  returns text
  language plpgsql
  security definer -- people report through this function only, about themselves, and never call the writer
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_most constant int := 60;
  v_user uuid := auth.uid();
  v_organization uuid := record_audit_event.organization_id;
  v_organizations uuid[];
  v_events int;
begin
  if v_user is null then
    perform audit.fail('AUDEN', 'Only a signed-in user reports events of their own.', null,
      'Sign in; a backend reports to the function audit-ingest, or by audit.record().');
  end if;
  v_organizations := array(select m.organization_id from audit.memberships(v_user) m order by 1);
  if v_organization is null and cardinality(v_organizations) = 1 then
    v_organization := v_organizations[1];
  elsif v_organization is null and cardinality(v_organizations) > 1 then
    perform audit.fail('AUARG', 'Name the organisation: you belong to several.', null,
      'Pass organization_id, one of: ' || array_to_string(v_organizations, ', ') || '.');
  elsif v_organization is null or v_organization <> all (v_organizations) then
    perform audit.fail('AUDEN', 'You do not belong to this organisation.', null, 'Events are reported to one''s own organisation.');
  end if;
  if action is null or not audit.setting('client_actions', v_organization) @> to_jsonb(action) or audit.is_reserved(action) then
    perform audit.fail('AUDEN', format('Clients do not report %L.', left(action, 100)), null,
      'The setting client_actions lists what they may: '
        || array_to_string(array(select jsonb_array_elements_text(audit.setting('client_actions', v_organization))), ', ') || '.');
  end if;
  if jsonb_typeof(details) is distinct from 'object' or octet_length(details::text) > 4096
    or length(resource_type) > 200 or length(resource_id) > 500
  then
    perform audit.fail('AUARG', 'A client''s event is too large, or its details are no JSON object.', null,
      'Details have at most 4,096 bytes, resource_type 200 and resource_id 500 characters.');
  end if;

  insert into audit.client_rates as r (user_id, minute, events)
  values (v_user, clock_timestamp(), 1)
  on conflict on constraint client_rates_pkey do update set
    minute = case when r.minute > clock_timestamp() - interval '1 minute' then r.minute else clock_timestamp() end,
    events = case when r.minute > clock_timestamp() - interval '1 minute' then r.events + 1 else 1 end
  returning r.events into v_events;
  if v_events > v_most then
    perform audit.fail('AURAT', format('A client reports at most %s events a minute.', v_most), null, 'Try again in a minute.');
  end if;

  return (
    select r.chain || '-' || r.seq
    from audit.record(
      v_organization, action, resource_type, resource_id, details || '{"reported_by": "client"}'
    ) r
  );
end
$$;

comment on function public.record_audit_event(text, text, text, jsonb, uuid) is
  'Records that the signed-in user did something their client knows of, such as settings.viewed; returns the entry''s name.
supabase.rpc(''record_audit_event'', { action: ''settings.viewed'', resource_type: ''settings'', resource_id: ''billing'' })';

revoke all on function public.record_audit_event(text, text, text, jsonb, uuid) from public, anon, authenticated, service_role;
grant execute on function public.record_audit_event(text, text, text, jsonb, uuid) to authenticated;
