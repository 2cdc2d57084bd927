-- Where addresses are.

select is(row(p.*)::text, '(,,)', 'without data nowhere') from audit.place_of('192.0.2.1') p;
insert into audit.places values (1, 'DE', 'Berlin', 'Berlin'), (2, 'FR', null, null);
insert into audit.place_ranges values ('192.0.2.0', 1), ('192.0.2.128', null), ('198.51.100.0', 2), ('203.0.113.0', null), ('::', null), ('2001:db8::', 2), ('2001:db9::', null);
select is((audit.place_of(address)).country, country, coalesce(address, 'null'))
from (values
  ('192.0.1.255', null), ('192.0.2.0', 'DE'), ('192.0.2.127', 'DE'), ('192.0.2.128', null), ('198.51.100.255', 'FR'), ('255.255.255.255', null), ('::1', null), ('2001:db8::1', 'FR'),
  ('2001:db8:ffff::', 'FR'), ('2001:db9::', null), ('[2001:db8::1]:443', 'FR'), ('192.0.2.5:443', 'DE'), ('192.0.2.5, 10.0.0.1', 'DE'), ('fe80::1%eth0', null), ('a host', null), ('', null), (null, null)
) v (address, country);
select is(row(p.*)::text, '(DE,Berlin,Berlin)', 'with region and city') from audit.place_of('192.0.2.5') p;

set local enable_seqscan = off;
create function pg_temp.plan(statement text) returns setof text language plpgsql as $$ begin return query execute 'explain ' || statement; end $$;
select ok(bool_or(p ~ 'Index Scan Backward using place_ranges_pkey'), 'by one look at the index')
from pg_temp.plan($$ select place from audit.place_ranges where first_address <= '2001:db8::1' order by first_address desc limit 1 $$) p;
select is(said(n, $$ select country from audit.place_of('192.0.2.5') $$), case n when 'anon' then '42501' else 'DE' end, format('%s asks or not', n)) from unnest(array['member', 'stranger', 'anon', 'service_role', 'owner']) n;
select is(said(n, $$ insert into audit.place_ranges values ('192.0.2.5', 2) $$), '42501', format('%s moves nothing', n)) from unnest(array['admin', 'anon', 'service_role']) n;

select is(round(audit.km_between(52.52, 13.405, 40.713, -74.006)), 6385::double precision, 'Berlin and New York');
select is(round(audit.km_between(-16.5, 179.9, -16.5, -179.9)), 21::double precision, 'across the date line');
select is(round(audit.km_between(0, 0, 0, 180)), 20015::double precision, 'and to the other side of the earth');
select is(audit.as_address(v), w::inet, coalesce(v, 'null')) from (values ('203.0.113.0/24', '203.0.113.0/24'), ('::1', '::1'), ('a host', null), ('203.0.113.0/33', null), (null, null)) v (v, w);
select is(audit.km_between(null, 0, 0, 0), null, 'from nowhere there is no distance');
