-- Evaluation by position: what is new, once; crashes and races stand in test/db/rules.test.ts.

select audit.skip_to_now();
select is(audit.evaluate_rules(), 0, 'nothing is new');
insert into public.api_keys (organization_id) values (acme()), (acme()), (globex());
select is(audit.evaluate_rules(2), 2, 'at most so many at once');
select is((select bool_and(upto = seq) from audit.rule_positions), true, 'a batch is over when it ends');
select cmp_ok(audit.evaluate_rules(), '>=', 1, 'the others the next time');
select audit.evaluate_rules();
select is(audit.evaluate_rules(), 0, 'and no more');
select is((select count(*) from audit.alerts where title = 'API key added'), 3::bigint, 'an alert for each key');
select is((select count(*) from public.audit_logs where action = 'alert.opened'), 3::bigint, 'and an entry for each alert');
select is((select cardinality(entries) from audit.alerts where organization_id = globex()), 1, 'which names the entry');
select is((select count(*) from audit.entries_between(acme(), (select min(chain) from audit.heads where organization_id = acme()), 0, 2, '-infinity')), 2::bigint, 'entries by position');
