-- What entries tell of budgets. What is reached when stands in test/db/default_rules.test.ts.

select audit.note_budget(acme(), 'b', 'budget.created', '{"new": {"limit_usd": 500, "period": "weekly", "alert_thresholds": [50, 75, "x", 0]}}');
select results_eq('select spent_limit, period, percent from audit.budgets_known', $$ values (500::numeric, 'week', array[50, 75]) $$, 'all of it');
select audit.note_budget(acme(), 'b', 'budget.changed', '{"changes": {"limit_usd": {"old": 500, "new": 700}, "name": {"old": "a", "new": "b"}}}');
select results_eq('select spent_limit, period from audit.budgets_known', $$ values (700::numeric, 'week') $$, 'what changed');
select audit.note_budget(acme(), 'c', 'budget.changed', '{"changes": {"name": {"old": "a", "new": "b"}}}');
select audit.note_budget(acme(), 'd', 'budget.created', '{"new": {"limit": "-5"}}');
select is((select count(*) from audit.budgets_known), 1::bigint, 'without a limit it is none');
select audit.note_budget(acme(), 'b', 'budget.deleted', '{"old": {"limit_usd": 700}}');
select is_empty('select from audit.budgets_known', 'and then it is gone');
