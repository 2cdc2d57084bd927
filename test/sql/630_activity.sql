-- Activity: each entry in its hour, once, as a whole and by its parts.

select ok(audit.count_activity() > 0, 'what is there is counted');
select is(audit.count_activity(), 0, 'and not again');
select is(sum(a.entries), (select count(*) from public.audit_logs)::numeric, 'every entry is counted') from audit.activity a where a.dimension = 'all';
select results_eq(
  'select organization_id, chain, seq, last_at from audit.activity_positions order by 1, 2',
  'select organization_id, chain, seq, last_at from audit.heads order by 1, 2', 'up to every head'
);

truncate audit.activity;
select audit.record(acme(), 'query.executed', 'query', 'q1', '{"new": {"model": "large"}}', 'success', 'openai');
select audit.record(acme(), 'query.completed', 'query', 'q1', '{"new": {"tokens": 5}}', 'success', 'openai', 0.5);
select audit.record(acme(), 'query.failed', 'query', 'q2', '{}', 'failure', 'openai', 'NaN');
select is(audit.count_activity(2), 2, 'as many as are wanted');
select is(audit.count_activity(), 1, 'and then the rest');
select results_eq(
  $$ select dimension, value, entries, queries, costs, cost, late from audit.activity order by 1, 2 $$,
  $$ values ('action', 'query.completed', 1::bigint, 0::bigint, 1::bigint, 0.5, 0::bigint), ('action', 'query.executed', 1, 1, 0, 0, 0),
    ('action', 'query.failed', 1, 0, 0, 0, 0), ('actor', 'database', 3, 1, 1, 0.5, 0), ('all', '', 3, 1, 1, 0.5, 0),
    ('model', 'large', 2, 1, 1, 0.5, 0), ('provider', 'openai', 3, 1, 1, 0.5, 0) $$,
  'by action, actor, model and provider; a response has the model of its query, and what is no number is no cost'
);

-- Late
update audit.activity_clock set judged_to = date_trunc('hour', clock_timestamp(), 'UTC') + interval '1 hour';
insert into audit.judgements (organization_id, metric, hour, seen, made_of, unusual, alerts)
select acme(), m, date_trunc('hour', clock_timestamp(), 'UTC'), 1, 1, false, 0 from unnest(array['queries', 'cost']) m;
select audit.record(acme(), 'query.executed', 'query', 'q3');
select is(audit.count_activity(), 1, 'what comes late is counted');
select is(entries || ' ' || late, '4 1', 'into its own hour, and noted') from audit.activity where dimension = 'all';
select is(count(*), 2::bigint, 'and its hour is to be judged again') from audit.judgements where late;
update audit.activity_clock set judged_to = clock_timestamp() + interval '20 days';
select audit.record(acme(), 'query.executed', 'query', 'q4');
select is(audit.count_activity(), 1, 'what comes weeks late is passed over');
select is(max(entries) filter (where dimension = 'all') || ' ' || max(entries) filter (where dimension = 'actor'), '5 4', 'where the hour''s parts are forgotten')
from audit.activity;

-- Who sees it
select is(said(n, 'select count(*) > 0 from audit.activity'), case when n in ('owner', 'service_role') then 'true' else '42501' end, format('%s sees counts or not', n))
from unnest(array['admin', 'member', 'viewer', 'auditor', 'stranger', 'anon', 'service_role', 'owner']) n;
select is(said(n, 'select audit.count_activity()'), '42501', format('%s does not count', n))
from unnest(array['admin', 'member', 'stranger', 'anon', 'service_role']) n;
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'every chain verifies');
