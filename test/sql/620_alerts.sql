-- Alerts: one for each rule and group, counted, late ones where they belong. People's part stands in test/db/alerts.test.ts.

create function pg_temp.raise(at interval, grp text default 'g', organization uuid default tap.acme()) returns uuid language sql as $$
  select audit.raise_alert('00000000-0000-4000-a000-000000000601', organization, grp, now() - at, 'Title', '{"seen": 3}', array['1-1'])
$$;
create temp table first as select pg_temp.raise('3 hours') as id;
select is(pg_temp.raise('150 minutes'), (select id from first), 'within the quiet period it is the same');
create temp table second as select pg_temp.raise('10 minutes') as id;
select isnt((select id from second), (select id from first), 'after it another');
select results_eq('select state, occurrences from audit.alerts where group_key = ''g'' order by first_seen_at', $$ values ('resolved', 2::bigint), ('open', 1) $$, 'the first is over');
select is((select resolved_at - last_seen_at from audit.alerts where state = 'resolved' and group_key = 'g'), '1 hour', 'since the quiet period ended');
select is(pg_temp.raise('2 hours'), (select id from first), 'what comes late belongs to what was open then');
select is((select resolved_at - last_seen_at from audit.alerts where state = 'resolved' and group_key = 'g'), '1 hour', 'which is over that much later');
select isnt(pg_temp.raise('10 minutes', 'h'), (select id from second), 'another group is another alert');
select isnt(pg_temp.raise('10 minutes', 'g', globex()), (select id from second), 'and another organisation');
select is((select count(*) from public.audit_logs where action = 'alert.opened' and details ->> 'title' = 'Title'), 4::bigint, 'each opening is an entry');
select is(audit.close_quiet_alerts(), 0, 'what was seen lately is not over');
update audit.alerts set last_seen_at = now() - interval '2 hours' where state = 'open' and group_key = 'h';
select is(audit.close_quiet_alerts(), 1, 'else it is');
select is(audit.close_quiet_alerts(), 0, 'once');
select is(audit.alerts_left(acme(), 'medium'), 17, 'of so many an hour some are left');
select throws_ok($$ insert into audit.alerts (organization_id, rule_id, group_key, severity, title, reason, first_seen_at, last_seen_at, occurrences, entries)
  select organization_id, rule_id, group_key, severity, title, reason, first_seen_at, last_seen_at, 1, '{}' from audit.alerts where state = 'open' limit 1 $$, '23505', null, 'no two are open of one group');
