-- What is usual: values and hours. What they raise stands in test/db/default_rules.test.ts.

select is(audit.time_zone_of(acme()), 'UTC', 'without a setting it is UTC');
select audit.configure('time_zone', '"Asia/Kathmandu"', acme());
select is(audit.time_zone_of(acme()), 'Asia/Kathmandu', 'else as set');
select throws_ok('select audit.configure(''time_zone'', ''"Mars"'')', 'AUOPT', null, 'there is no such time zone');
alter table public.organizations add column time_zone text;
update public.organizations set time_zone = 'Europe/Berlin' where id = globex();
select is(audit.time_zone_of(globex()), 'Europe/Berlin', 'or as the application says');
update public.organizations set time_zone = 'Mars' where id = globex();
select is(audit.time_zone_of(globex()), 'UTC', 'if that is one');

select is(audit.is_usual_hour(acme(), '2026-03-02 03:00'), true, 'who has no history has no unusual hours');
insert into audit.active_hours select acme(), h, '2026-01-05', array['2026-02-23', '2026-02-16', '2026-02-09']::date[] from generate_series(8, 16) h;
insert into audit.active_hours values (acme(), 45, '2026-01-06', '{2026-01-06, 2026-02-03, 2026-02-10}'), (acme(), 33, '2026-01-06', '{2026-01-06}'), (acme(), 29, '2026-01-06', '{2026-01-06, 2026-01-13, 2026-01-20}');
select is(audit.is_usual_hour(acme(), t::timestamp), u, t) from (values ('2026-03-02 10:30', true), ('2026-03-02 07:30', true), ('2026-03-02 06:30', true), ('2026-03-02 03:00', false), ('2026-03-02 21:00', true), ('2026-03-03 21:00', true),
  ('2026-03-08 10:30', false), ('2026-01-20 03:00', true)) v (t, u);
select is(audit.is_at_work('{"days": [1], "from": "22:00", "to": "06:00"}', t::timestamp), w, t) from (values ('2026-03-02 22:00', true), ('2026-03-03 05:59', true), ('2026-03-03 06:00', false), ('2026-03-02 05:00', false)) v (t, w);
