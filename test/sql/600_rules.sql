-- Rules as rows: lengths of time, fields and what is refused; how a default holds for an organisation.

select is(audit.duration(t)::text, d, t) from (values ('30s', '00:00:30'), ('10m', '00:10:00'), ('14d', '336:00:00'), ('1y', '8760:00:00'), ('1mo', null), ('-1h', null), ('', null), ('1.5h', null)) v (t, d);
select is(audit.duration_text(audit.duration(t)), s, format('%s is %s', t, s)) from (values ('90s', '90s'), ('60s', '1m'), ('24h', '1d'), ('1w', '7d')) v (t, s);
select is(audit.rule_field_sql(f) is not null, k, format('%s can be grouped by: %s', f, k))
from (values ('actor', true), ('country', true), ('new.role', true), ('details.a."b c"', true), ('hash', false), ('e.hash', false), ('cost', false), ('', false)) v (f, k);
select throws_ok(format('select audit.checked_rule(%L)', r), 'AURUL', null, r) from (values ('[]'), ('{}'), ('{"kind": "event"}'), ('{"kind": "event", "name": "x", "match": "action:a.b", "x": 1}')) v (r);

-- What is written is read back as the same.
select is((audit.checked_rule(audit.rule_json(r))).settings, r.settings, 'read back: ' || r.name) from audit.rules r;
select is((audit.checked_rule(audit.rule_json(r))).match, r.match, 'its query too') from audit.rules r;
select is((audit.checked_rule(audit.rule_json(r))).quiet_period, r.quiet_period, 'and its quiet period') from audit.rules r;

insert into audit.rule_choices (rule_id, organization_id, choice) values ('00000000-0000-4000-a000-000000000622', acme(), '{"threshold": 7, "severity": "critical", "quiet_period": null}');
select is((audit.rule_for('00000000-0000-4000-a000-000000000622', acme())).severity, 'critical', 'as it was chosen');
select is((audit.rule_for('00000000-0000-4000-a000-000000000622', acme())).quiet_period, null, 'null is chosen too');
select is((audit.rule_for('00000000-0000-4000-a000-000000000622', globex())).severity, 'low', 'for nobody else');
select results_eq(
  $$ select organization_id, threshold from audit.rules_in_force(array[tap.acme(), tap.globex()]) where rule_id = '00000000-0000-4000-a000-000000000622' order by threshold $$,
  format('values (%L::uuid, 7::numeric), (%L, 100)', acme(), globex()), 'in force for each as it is'
);
select is((select slot * span from audit.rules_in_force(array[tap.acme()]) where rule_id = '00000000-0000-4000-a000-000000000601'), 3600000000, 'a window is a thousand slots');
