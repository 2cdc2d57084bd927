-- Checks and digests; the weeks of digests stand in test/db/default_rules.test.ts.

select audit.run_checks();
alter table public.audit_logs disable trigger refuse_truncate;
select audit.run_checks();
select audit.run_checks();
select is((select occurrences from audit.alerts where title = 'Capture is not whole' and group_key like '%audit_logs%'), 2::bigint, 'what is wrong is one alert, however often it is seen');
alter table public.audit_logs enable always trigger refuse_truncate;
select audit.run_checks();
select is((select state from audit.alerts where title = 'Capture is not whole' and group_key like '%audit_logs%'), 'resolved', 'and over when it is in order again');
insert into audit.rule_choices select id, audit.system_organization(), '{"enabled": false}' from audit.rules where name = 'Capture is not whole';
alter table public.audit_logs disable trigger refuse_truncate;
select audit.run_checks();
select is((select count(*) from audit.alerts where title = 'Capture is not whole' and group_key like '%audit_logs%' and state <> 'resolved'), 0::bigint, 'unless it is switched off');
select is((audit.digest_activity(acme(), '-infinity', 'infinity') ->> 'entries')::bigint, (select count(*) from public.audit_logs where organization_id = acme()), 'a digest is of all entries');
select is(audit.digest_costs(acme(), '-infinity', 'infinity') -> 'cost', '"0"', 'and of all costs');
