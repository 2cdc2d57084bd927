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

-- Of very many budgets only one that changed is looked at, until money is spent again.
select audit.skip_to_now();
insert into audit.budgets_known (organization_id, budget_id, spent_limit, period)
select acme(), n::text, 1000, 'month' from generate_series(1, 20000) n;
select audit.record(acme(), 'query.completed', cost => 100);
select audit.evaluate_rules();
create temp view told as
select a.group_key::jsonb ->> 'budget' as budget, a.group_key::jsonb ->> 'share' as share from audit.alerts a where a.organization_id = acme();
select is_empty('select from told', 'a tenth is no share');
create temp view read as
select seq_tup_read + idx_tup_fetch as budgets from pg_stat_xact_user_tables where relid = 'audit.budgets_known'::regclass;
create temp table before as select * from read;
select audit.record(acme(), 'budget.changed', 'budget', '7', '{"changes": {"limit_usd": {"old": 1000, "new": 125}}}');
select audit.record(acme(), 'budget.changed', 'budget', '8', '{"changes": {"limit_usd": {"old": 1000, "new": 900}}}');
select audit.evaluate_rules();
select results_eq('select budget, share from told order by share', $$ values ('7', '50'), ('7', '80') $$, 'a smaller limit has shares behind it at once');
select cmp_ok((select r.budgets - b.budgets from read r, before b), '<', 100::bigint, 'the other budgets were not read');
select audit.record(acme(), 'query.completed', cost => 400);
select audit.evaluate_rules();
select is((select count(distinct budget_id) from audit.budget_crossings), 20000::bigint, 'and of each when half of each is reached');
