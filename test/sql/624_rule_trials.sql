-- Trials: a rule over samples and over history, and that nothing of it stays.

create function pg_temp.run(rule jsonb, entries jsonb) returns int language sql as $$
  select audit.run_rule_test(audit.as_trial(audit.checked_rule(rule)), entries)
$$;
select is(pg_temp.run('{"name": "x", "kind": "count", "match": "action:a.b", "window": "10m", "threshold": 2, "group_by": ["ip"]}', e::jsonb), n, e) from (values
  ('[{"action": "a.b", "ip": "203.0.113.1", "times": 2}]', 1), ('[{"action": "a.b", "ip": "203.0.113.1"}, {"action": "a.b", "ip": "203.0.113.2"}]', 0), ('[]', 0),
  ('[{"action": "a.b", "ip": "203.0.113.1", "times": 2, "every": "11m"}]', 0), ('[{"action": "a.b", "ip": "203.0.113.1", "times": 4}, {"action": "a.b", "ip": "203.0.113.1", "after": "5h", "times": 2}]', 2)) v (e, n);
select throws_ok(format('select audit.sample_entries(%L, acme())', e), 'AURUL', null, e) from (values
  ('{}'), ('[1]'), ('[{}]'), ('[{"action": "a.b", "x": 1}]'), ('[{"action": "a.b", "after": "soon"}]'), ('[{"action": "a.b", "times": -1}]'), ('[{"action": "a.b", "cost": "x"}]'), ('[{"action": "a.b", "details": []}]')) v (e);
select throws_ok(format('select audit.check_rule_tests(%L)', t), 'AURUL', null, t) from (values ('{}'), ('[{}]'), ('[{"name": "a", "entries": [], "alerts": -1}]'), ('[{"name": "a", "entries": [], "alerts": 1}, {"name": "a", "entries": [], "alerts": 1}]')) v (t);
select is((select count(*) from audit.identities where lookup = ''), 0::bigint, 'no identity of a sample stays');
select is((select count(*) from audit.rule_windows), 0::bigint, 'nothing that it remembered');
select is((select count(*) from audit.rules where not audit.is_built_in(id)), 0::bigint, 'and no rule');
select is(said('admin', format('select audit.preview_rule(%L) ->> ''alerts''', jsonb_build_object('organization_id', acme(), 'rule', '{"name": "x", "kind": "event", "match": "action:budget.created"}'::jsonb))), '1', 'what would have been raised');
