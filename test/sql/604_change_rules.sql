-- Who writes rules, and that each change is an entry. What is refused stands in test/db/alerts.test.ts.

select is(said(n, format('select audit.create_rule(%L) ->> ''version''', jsonb_build_object('organization_id', acme(), 'name', n, 'kind', 'event', 'match', 'action:a.b'))), s, format('%s creates a rule: %s', n, s))
from (values ('admin', '1'), ('service_role', '1'), ('owner', '1'), ('member', 'AUDEN'), ('viewer', 'AUDEN'), ('auditor', 'AUDEN'), ('stranger', 'AUDEN'), ('anon', '42501')) v (n, s);
select is(said('admin', format('select audit.create_rule(%L)', jsonb_build_object('organization_id', audit.system_organization(), 'name', 'x', 'kind', 'event', 'match', 'action:a.b'))), 'AUDEN', 'no admin makes a rule for everybody');
select is((select count(*) from public.audit_logs where action = 'rule.changed' and organization_id = acme() and details ? 'new'), 3::bigint, 'each is an entry');
select is(said('admin', format('select audit.change_rule(%L) ->> ''version''', jsonb_build_object('id', r.id, 'severity', 'high'))), '2', 'changed, another version') from audit.rules r where r.name = 'admin';
select is((select details -> 'changes' -> 'severity' from public.audit_logs where action = 'rule.changed' and details ? 'changes' order by created_at desc limit 1), '{"new": "high", "old": "medium"}', 'with what was and what is');
select is(said('admin', format('select audit.delete_rule(%L)', jsonb_build_object('id', r.id))), 'AUDEN', 'not of others') from audit.rules r where r.organization_id = audit.system_organization() limit 1;
select is(said('admin', format('select audit.choose_rule(%L) ->> ''enabled''', jsonb_build_object('id', r.id, 'organization_id', acme(), 'enabled', false))), 'false', 'a default is switched off') from audit.rules r where r.name = 'API key added';
select is(said('admin', format('select audit.choose_rule(%L) ->> ''enabled''', jsonb_build_object('id', r.id, 'organization_id', acme()))), 'true', 'and is itself again') from audit.rules r where r.name = 'API key added';
select is((select count(*) from audit.rule_choices), 0::bigint, 'which leaves no choice');
select is(said(n, format('select jsonb_array_length(audit.list_rules(%L) -> ''rules'') > 25', jsonb_build_object('organization_id', acme()))), s, format('%s lists rules: %s', n, s))
from (values ('admin', 'true'), ('auditor', 'true'), ('service_role', 'true'), ('member', 'AUDEN'), ('viewer', 'AUDEN'), ('stranger', 'AUDEN'), ('expired_auditor', 'AUDEN')) v (n, s);
select throws_ok(
  format('select audit.create_rule(%L)', jsonb_build_object('organization_id', acme(), 'name', 'x', 'kind', 'anomaly', 'match', 'action:a.b outcome:failure')), 'AURUL',
  null, 'a rule that nothing would evaluate is refused'
);
