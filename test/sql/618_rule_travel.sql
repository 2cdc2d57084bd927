-- Impossible travel: where somebody is, and whether they can have got there.

insert into audit.places (id, country, city, latitude, longitude, radius_km) values
  (1, 'DE', 'Berlin', 52.52, 13.405, 100), (2, 'US', 'New York', 40.713, -74.006, 100), (3, 'DE', null, 51, 10, 500), (4, 'FR', null, null, null, null);
insert into audit.place_ranges values ('192.0.2.0', 1), ('192.0.2.128', null), ('198.51.100.0', 2), ('203.0.113.0', 3), ('203.0.113.128', 4), ('203.0.114.0', null);
insert into audit.identities (organization_id, ip_address, salt, identity_hash, lookup)
select acme(), ip, repeat('0', 16)::bytea, sha256(ip::bytea), '' from unnest(array['192.0.2.1', '198.51.100.1', '203.0.113.1', '203.0.113.200', '10.0.0.1', 'a host']) ip;
create function pg_temp.rule() returns uuid language sql as $$ select '00000000-0000-4000-a000-000000000606'::uuid $$;
create function pg_temp.at(ip text) returns text language sql as $$ select audit.sighting(sha256(ip::bytea), tap.acme(), pg_temp.rule()) $$;

select is(pg_temp.at('192.0.2.1')::jsonb, '{"name": "Berlin, DE", "at": [52.52, 13.405, 100]}', 'in a city');
select is(pg_temp.at('203.0.113.1')::jsonb, '{"name": "DE", "at": [51, 10, 500]}', 'or a country');
select is(pg_temp.at(ip), null, ip || ' is nowhere') from unnest(array['203.0.113.200', '10.0.0.1', 'a host', '192.0.2.2']) ip;
select audit.choose_rule(jsonb_build_object('id', pg_temp.rule(), 'organization_id', acme(), 'allowed', '["192.0.2.0/28", "US"]'::jsonb));
select is(pg_temp.at(ip), null, ip || ' is allowed') from unnest(array['192.0.2.1', '198.51.100.1']) ip;
select isnt(pg_temp.at('203.0.113.1'), null, 'others are not');
select audit.choose_rule(jsonb_build_object('id', pg_temp.rule(), 'organization_id', acme(), 'allowed', null));
select isnt(pg_temp.at('192.0.2.1'), null, 'nor is anybody where nothing is');

-- Slots are a thousandth of a day, 86.4 s; from Berlin to New York it is 6,185 km at least.
create function pg_temp.total(slot bigint, place text, who text default 'g') returns audit.rule_total language sql as $$
  select row(pg_temp.rule(), tap.acme(), 'travel', 1, 1000, 86400000, null, who, pg_temp.at(place), slot, 1, 1,
    to_timestamp(slot * 86.4), to_timestamp(slot * 86.4), array['1-' || slot], false, null)::audit.rule_total
$$;
create function pg_temp.judged(variadic totals audit.rule_total[]) returns text language sql as $$
  select string_agg(concat_ws(' ', f.note ->> 'from', '>', f.note ->> 'to', f.note ->> 'km', f.note ->> 'hours', f.note ->> 'km_per_hour', f.names, f.occurrences), '; ' order by f.first_at, f.note ->> 'to')
  from unnest(audit.judge_travels(totals, array(select f from audit.rules_in_force(array[tap.acme()]) f where f.rule_id = pg_temp.rule()))) f
$$;
select is(pg_temp.judged(pg_temp.total(100, '192.0.2.1')), null, 'the first place is as good as any');
select is(pg_temp.judged(pg_temp.total(357, '198.51.100.1')), null, 'and so is one that a plane reaches');
select is(pg_temp.judged(pg_temp.total(100, '198.51.100.1', 'h')), null, 'or where somebody else is');
select is(pg_temp.judged(pg_temp.total(350, '198.51.100.1')), 'Berlin, DE > New York, US 6184 6.02 1026 {1-100,1-350} 1', 'faster than a plane');
select is(pg_temp.judged(pg_temp.total(350, '198.51.100.1')), 'Berlin, DE > New York, US 6184 6.02 1026 {1-100,1-350,1-350} 1', 'and once more');
select is(pg_temp.judged(pg_temp.total(351, '203.0.113.1')), 'New York, US > DE 5645 0.05 117622 {1-350,1-350,1-351} 1; DE > New York, US 5645 0.17 33606 {1-351,1-357} 1', 'back again, wherever in the country; and what followed is judged again');
select is(pg_temp.judged(pg_temp.total(352, '192.0.2.1')), 'New York, US > Berlin, DE 6184 0.07 85902 {1-350,1-350,1-352} 1', 'not from one place to the other beside it');
delete from audit.rule_windows;
select is(pg_temp.judged(pg_temp.total(100, '198.51.100.1'), pg_temp.total(100, '192.0.2.1')), 'New York, US > Berlin, DE 6184 0.02 257707 {1-100,1-100} 1', 'at two places at once is one journey');
delete from audit.rule_windows;
select is(pg_temp.judged(pg_temp.total(400, '198.51.100.1')), null, 'what comes first is not late');
select is(pg_temp.judged(pg_temp.total(399, '192.0.2.1')), 'Berlin, DE > New York, US 6184 0.05 128853 {1-399,1-400} 1', 'what comes late makes what was there before impossible');
