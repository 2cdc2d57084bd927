-- Impossible travel: somebody at two places that nobody gets from one to the other in the time between.
--
-- Of a place only a circle is known (190): a city with what the data set is commonly wrong by, or all of a country. Two
-- circles are as far apart as their nearest points, and times are told apart by slots of a thousandth of the window: both
-- in favour of the traveller. What is remembered of somebody is where they were in each slot (612); a place is judged
-- against the places before it, and again when one of these comes late.

create or replace function audit.sighting(identity_hash bytea, organization_id uuid, rule_id uuid)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_ip text := (select i.ip_address from audit.identities i where i.identity_hash = sighting.identity_hash limit 1);
  v_place audit.places;
  v_allowed text[];
begin
  if v_ip is null then
    return null;
  end if;
  select p.* into v_place from audit.places p where p.id = audit.place_at(v_ip);
  if v_place.radius_km is null then
    return null;
  end if;
  -- Whoever comes through a network that is allowed, as the company's own, is nowhere.
  v_allowed := array(
    select jsonb_array_elements_text(nullif((audit.rule_for(sighting.rule_id, sighting.organization_id)).settings -> 'allowed', 'null'))
  );
  if v_place.country = any (v_allowed)
    or exists (select from unnest(v_allowed) a where audit.as_address(v_ip) <<= audit.as_address(a))
  then
    return null;
  end if;
  return jsonb_build_object(
    'name', concat_ws(', ', left(v_place.city, 100), v_place.country),
    'at', jsonb_build_array(round(v_place.latitude::numeric, 3), round(v_place.longitude::numeric, 3), ceil(v_place.radius_km))
  );
end
$$;

comment on function audit.sighting(bytea, uuid, uuid) is
  'Where an identity''s IP address is, as a rule about travel remembers it: {"name", "at": [latitude, longitude, radius in km]}.
Null where no place is known, as of private addresses, or what the rule allows.';

create or replace function audit.judge_travels(totals audit.rule_total[], force audit.rule_in_force[])
  returns audit.rule_firing[]
  language plpgsql
  set search_path = ''
  -- What a group remembers is found by its key, however many groups there are.
  set enable_seqscan = off
  -- Of arrays the planner knows no numbers: it would compare each with each.
  set enable_nestloop = off
  set jit = off -- see audit.outside_hours()
as $$
#variable_conflict use_column
declare
  v_firings audit.rule_firing[];
begin
  if totals is null then
    return '{}';
  end if;
  perform audit.remember_windows(totals);
  with touched as materialized (
    select t.rule_id, t.organization_id, t.group_key, t.span, t.slot_length, min(t.slot) as lo, max(t.slot) as hi, bool_or(t.about_alerts) as about_alerts,
      coalesce((f.settings ->> 'speed')::float8, 1000) as speed, coalesce((f.settings ->> 'distance')::float8, 500) as distance
    from unnest(totals) t
    join unnest(force) f on f.rule_id = t.rule_id and f.organization_id = t.organization_id
    group by t.rule_id, t.organization_id, t.group_key, t.span, t.slot_length, f.settings
  ),
  seen as materialized (
    select t.*, w.slot, w.value, w.hits, w.counted, w.first_at, w.last_at, w.names
    from touched t
    cross join lateral (
      select w.* from audit.rule_windows w
      where w.rule_id = t.rule_id and w.organization_id = t.organization_id and w.group_key = t.group_key
        and w.slot between t.lo - t.span and t.hi + t.span
      offset 0
    ) w
  ),
  place as materialized (
    select p.*, (p.value::jsonb #>> '{at,0}')::float8 as latitude, (p.value::jsonb #>> '{at,1}')::float8 as longitude,
      (p.value::jsonb #>> '{at,2}')::float8 as radius
    from (
      select s.rule_id, s.organization_id, s.group_key, s.speed, s.distance, s.value,
        row_number() over (partition by s.rule_id, s.organization_id, s.group_key order by max(s.slot) desc, s.value) as nth
      from seen s
      group by s.rule_id, s.organization_id, s.group_key, s.speed, s.distance, s.value
    ) p
    -- Each is compared with each. Who is at more places a window has an alert already.
    where p.nth <= 100
  ),
  route as materialized (
    select d.rule_id, d.organization_id, d.group_key, o.value as origin, d.value as destination, k.km,
      k.km / d.speed * 3600000000 as micros
    from place d
    join place o on o.rule_id = d.rule_id and o.organization_id = d.organization_id and o.group_key = d.group_key and o.value <> d.value
    cross join lateral (
      select audit.km_between(o.latitude, o.longitude, d.latitude, d.longitude) - o.radius - d.radius as km
    ) k
    where k.km >= d.distance
  ),
  -- The last of the places before from which nobody comes that fast.
  firing as materialized (
    select distinct on (s.rule_id, s.organization_id, s.group_key, s.slot, s.value) s.*, r.origin, r.km, o.names as origin_names,
      (s.slot - o.slot + 1) * s.slot_length / 3600000000.0 as hours
    from seen s
    join route r on r.rule_id = s.rule_id and r.organization_id = s.organization_id and r.group_key = s.group_key and r.destination = s.value
    cross join lateral (
      select w.slot, w.names
      from audit.rule_windows w
      where w.rule_id = s.rule_id and w.organization_id = s.organization_id and w.group_key = s.group_key and w.value = r.origin
        -- Within one slot nobody knows which was first: one of them counts.
        and w.slot between s.slot - s.span and s.slot - (r.origin collate "C" > s.value collate "C")::int
        and (s.slot - w.slot + 1) * s.slot_length < r.micros
      order by w.slot desc
      limit 1
    ) o
    where s.slot >= s.lo and s.hits > s.counted
    order by s.rule_id, s.organization_id, s.group_key, s.slot, s.value, o.slot desc, r.origin
  ),
  counted as (
    update audit.rule_windows w set counted = w.hits
    from firing f
    where w.rule_id = f.rule_id and w.organization_id = f.organization_id and w.group_key = f.group_key and w.slot = f.slot and w.value = f.value
  )
  select array_agg(row(
    f.rule_id, f.organization_id, f.group_key, f.first_at, f.last_at, f.hits - f.counted, null, f.origin_names[:10] || f.names[:10], f.about_alerts,
    jsonb_build_object(
      'from', f.origin::jsonb -> 'name', 'to', f.value::jsonb -> 'name', 'km', floor(f.km), 'hours', round(f.hours, 2),
      'km_per_hour', floor(f.km / f.hours::float8), 'places_by', (select d.attribution from audit.place_data d)
    )
  )::audit.rule_firing)
  into v_firings
  from firing f;
  return coalesce(v_firings, '{}');
end
$$;

comment on function audit.judge_travels(audit.rule_total[], audit.rule_in_force[]) is
  'Notes where people were, and answers who was where nobody gets in the time: from, to, the least distance, the most time.';
