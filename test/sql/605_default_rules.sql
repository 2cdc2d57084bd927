-- The defaults: all there, all with samples, and all samples right.

select is((select count(*) >= 25 from audit.rules r where audit.is_built_in(r.id)), true, 'the defaults are there');
select is_empty($$ select r.name from audit.rules r where audit.is_built_in(r.id) and r.organization_id <> audit.system_organization() $$, 'they hold for everybody');
select is(t.alerts, t.expected, format('%s: %s', t.rule, t.test)) from audit.test_rules() t;
select is_empty($$ select r.name from audit.rules r where audit.is_built_in(r.id) and r.compiled is not null
  and (select count(distinct t.alerts > 0) from audit.rule_tests t where t.rule_id = r.id) < 2
  and r.name not in ('Login from a new country', 'Activity at unusual hours', 'Impossible travel') $$, 'each has a sample that raises it and one that does not; three need more than a sample, and are in test/db');
update audit.rules set severity = 'info', compiled = 'null' where name = 'API key added';
select audit.keep_default(audit.rule_json(r) || '{"severity": "medium"}', '[]') from audit.rules r where r.name = 'API key added';
select is((select severity from audit.rules where name = 'API key added'), 'medium', 'loading brings a default up to date');
select isnt((select compiled from audit.rules where name = 'API key added'), 'null', 'and its SQL');
