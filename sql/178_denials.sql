-- Who was refused by function `audit`: somebody looks for what is not theirs. Refusals cost an attacker nothing, so an
-- hour has room for twenty of a person's and a thousand of everybody's; those beyond are counted here and not recorded.

create table if not exists audit.denials (
  user_id uuid not null,
  hour timestamptz not null,
  denials int not null,
  constraint denials_pkey primary key (user_id, hour)
);

comment on table audit.denials is 'How often each person was refused in each hour of the last day; written by audit.record_denial().';
comment on column audit.denials.user_id is 'Who was refused.';
comment on column audit.denials.hour is 'In which hour.';
comment on column audit.denials.denials is 'How often.';

revoke all on audit.denials from public, anon, authenticated, service_role;

create or replace function audit.record_denial(request jsonb)
  returns boolean
  language plpgsql
  security definer -- whoever is refused leaves an entry of it, and can write nothing else
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_hour timestamptz := date_trunc('hour', clock_timestamp());
  v_wanted uuid := audit.as_uuid(request ->> 'organization_id');
  v_denials int;
begin
  if auth.uid() is null then
    return false;
  end if;
  insert into audit.denials as d (user_id, hour, denials)
  values (auth.uid(), v_hour, 1)
  on conflict on constraint denials_pkey do update set denials = d.denials + 1
  returning d.denials into v_denials;
  if v_denials > 20 or (select sum(least(d.denials, 20)) from audit.denials d where d.hour = v_hour) > 1000 then
    return false;
  end if;
  delete from audit.denials d where d.hour < v_hour - interval '1 day';
  -- For the organisation that was asked for, where there is one; else for those of who asked.
  perform audit.record(
    o.organization_id, 'access.denied', 'route', left(request ->> 'route', 200),
    jsonb_strip_nulls(jsonb_build_object(
      'method', left(request ->> 'method', 10), 'reason', left(request ->> 'reason', 300), 'last_this_hour', nullif(v_denials = 20, false)
    )),
    'denied'
  )
  from (
    select v_wanted as organization_id where exists (select from audit.heads h where h.organization_id = v_wanted)
    union
    select m.organization_id from audit.memberships(auth.uid()) m
    where not exists (select from audit.heads h where h.organization_id = v_wanted)
    union all
    select audit.system_organization()
    where not exists (select from audit.heads h where h.organization_id = v_wanted) and not exists (select from audit.memberships(auth.uid()))
  ) o;
  return true;
end
$$;

comment on function audit.record_denial(jsonb) is
  'Records that function audit refused the caller something, {"method", "route", "reason", "organization_id"}; false where this hour has no room for more.';
