-- Legal holds: while an organisation has one, nothing of it is let go, in the database or in the archive. A hold of the nil
-- UUID is on the whole project.

create table if not exists audit.holds (
  organization_id uuid not null,
  name text not null,
  reason text not null,
  placed_at timestamptz not null default clock_timestamp(),
  released_at timestamptz
);

comment on table audit.holds is 'Legal holds, those that were released included; written by audit.place_hold() and audit.release_hold() only. The log says who did it.';
comment on column audit.holds.organization_id is 'Whose entries are held; the nil UUID for everybody''s.';
comment on column audit.holds.name is 'What it is called: the matter, a case number.';
comment on column audit.holds.reason is 'Why.';
comment on column audit.holds.placed_at is 'Since when.';
comment on column audit.holds.released_at is 'Until when; null while it holds.';

create unique index if not exists holds_name_idx on audit.holds (organization_id, name) where released_at is null;

revoke all on audit.holds from public, anon, authenticated, service_role;
revoke insert, update, delete, truncate on audit.holds from current_user;

create or replace function audit.is_held(organization_id uuid)
  returns boolean
  language sql
  stable
  set search_path = ''
as $$
  select exists (
    select from audit.holds h
    where h.organization_id in (is_held.organization_id, audit.system_organization()) and h.released_at is null
  )
$$;

comment on function audit.is_held(uuid) is 'Whether a legal hold is on an organisation, or on the whole project.';

create or replace function audit.place_hold(organization_id uuid, name text, reason text)
  returns void
  language plpgsql
  security definer -- admins place holds through this function only
  set search_path = ''
as $$
#variable_conflict use_column
begin
  perform audit.require_admin(place_hold.organization_id);
  if place_hold.organization_id is null or coalesce(length(place_hold.name), 0) not between 1 and 200
    or coalesce(length(place_hold.reason), 0) not between 1 and 2000
  then
    perform audit.fail('AUARG', 'A hold needs an organisation, a name of up to 200 characters and a reason of up to 2,000.');
  end if;
  -- What a purge has begun to delete is gone when this returns; nothing goes after it.
  perform audit.await_purge();
  insert into audit.holds (organization_id, name, reason)
  values (place_hold.organization_id, place_hold.name, place_hold.reason)
  on conflict (organization_id, name) where released_at is null do nothing;
  if not found then
    perform audit.fail('AUARG', 'The organisation has a hold of this name.', null, 'Release it first, or choose another name.');
  end if;
  perform audit.record(
    place_hold.organization_id, 'hold.placed', 'hold', place_hold.name,
    jsonb_build_object('new', jsonb_build_object('reason', place_hold.reason))
  );
end
$$;

comment on function audit.place_hold(uuid, text, text) is
  'Keeps all of an organisation''s entries, in the database and in the archive, until audit.release_hold(); with the nil
UUID those of the whole project. For admins of the organisation; leaves an entry.';

create or replace function audit.release_hold(organization_id uuid, name text)
  returns boolean
  language plpgsql
  security definer -- admins release holds through this function only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_hold audit.holds;
begin
  perform audit.require_admin(release_hold.organization_id);
  update audit.holds h set released_at = clock_timestamp()
  where h.organization_id = release_hold.organization_id and h.name = release_hold.name and h.released_at is null
  returning h.* into v_hold;
  if not found then
    return false;
  end if;
  perform audit.record(
    release_hold.organization_id, 'hold.released', 'hold', release_hold.name,
    jsonb_build_object('old', jsonb_build_object('reason', v_hold.reason, 'placed_at', to_jsonb(v_hold.placed_at at time zone 'utc')))
  );
  return true;
end
$$;

comment on function audit.release_hold(uuid, text) is
  'Ends a legal hold: what is past its retention may go again. False if there was none. For admins of the organisation; leaves
an entry.';

alter function audit.place_hold(uuid, text, text) owner to audit_purger;
alter function audit.release_hold(uuid, text) owner to audit_purger;
