-- Where an address is, by a public data set that `npm run places` loads: kept apart from the log and from the writers,
-- and looked up when somebody asks. A place is what the registries say of a network, not where a person is.

create table if not exists audit.places (
  id int constraint places_pkey primary key,
  country text not null,
  region text,
  city text
);

comment on table audit.places is 'Countries, and cities where the data set has them; whose data it is and under which licence, says audit.place_data.';
comment on column audit.places.id is 'Numbers the place within this load.';
comment on column audit.places.country is 'ISO 3166-1 alpha-2.';
comment on column audit.places.region is 'State or region, where the data set has it.';
comment on column audit.places.city is 'City, where the data set has it.';

alter table audit.places add column if not exists latitude double precision;
alter table audit.places add column if not exists longitude double precision;
alter table audit.places add column if not exists radius_km double precision;

comment on column audit.places.latitude is 'Of a point in its middle, in degrees; null where nothing is known of it.';
comment on column audit.places.longitude is 'Of the same point.';
comment on column audit.places.radius_km is 'How far from there somebody at this place can be.';

create table if not exists audit.place_ranges (
  first_address inet constraint place_ranges_pkey primary key,
  place int
);

comment on table audit.place_ranges is 'Where ranges of addresses are: each goes up to the next, and one begins at ::; whose data it is and under which licence, says audit.place_data.';
comment on column audit.place_ranges.first_address is 'Where the range begins.';
comment on column audit.place_ranges.place is 'In audit.places; null where the data set says nothing.';

create table if not exists audit.place_data (
  only_row boolean constraint place_data_pkey primary key default true constraint there_is_one check (only_row),
  attribution text not null,
  loaded_at timestamptz not null default clock_timestamp()
);

comment on table audit.place_data is 'Which data set is loaded; nothing where none is.';
comment on column audit.place_data.only_row is 'There is one row.';
comment on column audit.place_data.attribution is 'Whose data it is and under which licence; to be shown where places are.';
comment on column audit.place_data.loaded_at is 'When it was loaded.';

-- Public data: whoever may ask may read it all.
do $$
declare
  v_table text;
begin
  foreach v_table in array array['places', 'place_ranges', 'place_data'] loop
    execute format('alter table audit.%I enable row level security', v_table);
    execute format('drop policy if exists "signed-in people read places" on audit.%I', v_table);
    execute format('create policy "signed-in people read places" on audit.%I for select to authenticated using (true)', v_table);
  end loop;
end
$$;

create or replace function audit.as_address(value text)
  returns inet
  language plpgsql
  immutable
  parallel safe
  set search_path = ''
as $$
begin
  return value::inet;
exception when invalid_text_representation then
  return null; -- a host name, a forged header
end
$$;

comment on function audit.as_address(text) is 'An address or network; null for what is none.';

create or replace function audit.place_at(ip_address text)
  returns int
  language sql
  stable
  parallel safe
  set search_path = ''
as $$
  select r.place
  from audit.place_ranges r
  where r.first_address <= audit.as_address(audit.normalized_ip(place_at.ip_address))
  order by r.first_address desc
  limit 1
$$;

comment on function audit.place_at(text) is 'In which of audit.places an address is; null where the data set says nothing, as of private ones.';

create or replace function audit.place_of(ip_address text, out country text, out region text, out city text)
  language sql
  stable
  parallel safe
  set search_path = ''
as $$
  -- One row also where there is no such place.
  select p.country, p.region, p.city
  from (select audit.place_at(place_of.ip_address) as id) a
  left join audit.places p on p.id = a.id
$$;

comment on function audit.place_of(text) is
  'Country (ISO 3166-1 alpha-2), region and city of an address, as far as the loaded data set says:
select e.action, p.country from audit_events e, lateral audit.place_of(e.ip_address) p
Whoever shows it shows audit.place_data.attribution.';

create or replace function audit.km_between(
  latitude double precision,
  longitude double precision,
  to_latitude double precision,
  to_longitude double precision
)
  returns double precision
  language sql
  immutable
  strict
  parallel safe
  -- The haversine formula on a sphere, wrong by half a percent at most.
  return 12742.0 * asin(least(1, sqrt(
    sin(radians(to_latitude - latitude) / 2) ^ 2
      + cos(radians(latitude)) * cos(radians(to_latitude)) * sin(radians(to_longitude - longitude) / 2) ^ 2
  )));

comment on function audit.km_between(double precision, double precision, double precision, double precision) is
  'Kilometres between two points of the earth, in degrees.';
