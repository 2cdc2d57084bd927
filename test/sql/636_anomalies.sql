-- Anomalies: what an alert says, what is accepted as normal, and by whom. test/db/anomalies.test.ts attacks the rest.

create function pg_temp.hour(n int) returns timestamptz language sql stable return date_trunc('hour', now(), 'UTC') - (241 - n) * interval '1 hour';
insert into audit.activity (hour, organization_id, dimension, value, entries, queries, costs, cost, late)
select pg_temp.hour(n), acme(), d, v, q, q, q, q * 0.5, 0
from generate_series(0, 240) n,
  lateral (values ('all', '', 100), ('actor', person('admin')::text, 60), ('actor', person('member')::text, 40), ('provider', 'openai', 100)) p (d, v, usual),
  lateral (select case when n = 240 and p.v <> person('admin')::text then usual + 200 else usual end) h (q);
select sum(audit.judge_activity(pg_temp.hour(n))) from generate_series(0, 240) n;

create function pg_temp.judged(metric text) returns audit.judgements language sql stable as $$
  select j from audit.judgements j where j.organization_id = tap.acme() and j.metric = judged.metric and j.hour = pg_temp.hour(240)
$$;
select results_eq(
  $$ select * from audit.anomaly_contributors(pg_temp.judged('queries')) $$,
  $$ values ('actor', person('member')::text, 240::numeric, 40::numeric), ('provider', 'openai', 300, 100) $$,
  'who contributed stands beside what is usual for them; who did as always is left out'
);
select is(audit.anomaly_reason(pg_temp.judged('queries'), '[]') - 'hour', jsonb_build_object(
  'metric', 'queries', 'seen', 300, 'expected', 100.00, 'usual', '[80.00, 120.00]'::jsonb, 'score', 20.0,
  'meaning', 'very unusual: 20.0 times as far from what is expected as hours commonly are', 'contributors', '[]'::jsonb
), 'an alert says what was seen, what was expected and how unusual that is');

select is(audit.raise_anomalies(pg_temp.hour(240), now()), 2, 'queries and cost raise an alert each'), is(audit.raise_anomalies(pg_temp.hour(240), now()), 0, 'once');
select is(audit.raise_anomalies(pg_temp.hour(240), now() + interval '2 days'), 0, 'and what is long over none');
select results_eq(
  $$ select title, severity, reason -> 'seen' from audit.alerts where organization_id = acme() order by title $$,
  $$ values ('Unusual cost: 150 in an hour, 50 expected', 'medium', '150.0'::jsonb), ('Unusual number of queries: 300 in an hour, 100 expected', 'medium', '300') $$,
  'in words'
);

-- A new normal
select is(said(n, format($$ select audit.accept_activity(tap.acme(), 'queries', %L) $$, now() - interval '1 hour')), case when n in ('admin', 'service_role', 'owner') then '' else code end, format('%s accepts what is normal or not', n))
from (values ('admin', null), ('member', 'AUDEN'), ('viewer', 'AUDEN'), ('auditor', 'AUDEN'), ('stranger', 'AUDEN'), ('anon', '42501'), ('service_role', null), ('owner', null)) a (n, code);
select is(count(*), 3::bigint, 'and leaves an entry') from public.audit_logs where action = 'anomaly.accepted' and organization_id = acme();
select is((pg_temp.judged('queries')).unusual, false, 'from then on it is no more unusual'), is((pg_temp.judged('cost')).unusual, true, 'the other metric stays as it was');
select is(said('owner', format('select audit.accept_activity(%L, %L, %L)', acme(), m, s)), 'AUARG', format('%s since %s is refused', coalesce(m, 'null'), coalesce(s::text, 'null')))
from (values ('tokens', now()), (null, now()), ('cost', null), ('cost', now() + interval '1 hour'), ('cost', now() - interval '61 days')) v (m, s);

-- The schedule
select is(audit.detect_anomalies(), 0, 'nothing is new, so nothing is raised');
select ok(judged_to in (date_trunc('hour', now() - interval '5 minutes', 'UTC'), date_trunc('hour', clock_timestamp() - interval '5 minutes', 'UTC')), 'hours are judged when they are over for five minutes') from audit.activity_clock;
select is(said(n, format('select %s', f)), '42501', format('%s does not run %s', n, f))
from unnest(array['admin', 'stranger', 'anon', 'service_role']) n,
  unnest(array[
    'audit.detect_anomalies()', 'audit.raise_anomalies(now(), now())', 'audit.learn_lasting_changes(now())',
    $$audit.learn_activity(null, 'cost', now(), '')$$, 'audit.raise_anomaly(null)'
  ]) f;
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'every chain verifies');
