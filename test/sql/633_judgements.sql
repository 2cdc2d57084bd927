-- Judgements: against the same hours of the days before, in units of chance.

select is(audit.anomaly_parameter('{}', p), v::float8, format('%s is %s where nothing is chosen', p, v)),
  is(audit.anomaly_parameter(jsonb_build_object('parameters', jsonb_build_object(p, 7)), p), 7::float8, 'and what is chosen else'),
  is(audit.anomaly_parameter(jsonb_build_object('parameters', jsonb_build_object(p, 'x')), p), v::float8, 'what is no number was not chosen')
from (values ('score', 4), ('least_queries', 50), ('least_cost', 10)) d (p, v);
select is(audit.anomaly_parameter('{"parameters": {"score": -1e400}}', 'score'), 0::float8, 'nor is anything out of range');

select is(array_agg(hour order by hour desc), array(select timestamptz '2026-03-20 09:00+00' - d * interval '1 day' from generate_series(1, 14) d), 'the same hour of the days before')
from audit.same_hours('2026-03-20 09:00+00', 'UTC');
select is(array_agg(hour at time zone 'America/New_York' order by hour desc), array(select timestamp '2026-03-10 09:00' - d * interval '1 day' from generate_series(1, 14) d), 'by the clock, before and after it changes')
from audit.same_hours('2026-03-10 13:00+00', 'America/New_York');
select is(count(*) filter (where hour <> date_trunc('hour', hour, 'UTC')), 0::bigint, 'always whole hours of UTC') from audit.same_hours('2026-04-10 03:00+00', 'Australia/Lord_Howe');
set local timezone = 'Asia/Kathmandu';
select is(count(*) filter (where hour <> date_trunc('hour', hour, 'UTC')), 0::bigint, 'whatever the session''s time zone') from audit.same_hours('2026-04-10 03:00+00', 'Asia/Kathmandu');

-- Ten days of 100 queries an hour at 0.5 each, every other hour ten more; then one more hour.
create function pg_temp.hour(n int) returns timestamptz language sql return timestamptz '2026-01-01 00:00+00' + n * interval '1 hour';
insert into audit.activity (hour, organization_id, dimension, value, entries, queries, costs, cost, late)
select pg_temp.hour(n), acme(), 'all', '', q, q, q, q * 0.5, 0 from (select n, 100 + 10 * (n % 2) from generate_series(0, 239) n) h (n, q);
select is(sum(audit.judge_activity(pg_temp.hour(n))), 480::bigint, 'two metrics an hour') from generate_series(0, 239) n;
select is(count(*) filter (where unusual), 0::bigint, 'nothing is unusual'), is(count(*), 480::bigint, 'and all of it judged')
from audit.judgements;
select is(min(hour) filter (where expected is not null), pg_temp.hour(48), 'two days of the same hour are needed to expect'),
  is(min(hour) filter (where score is not null), pg_temp.hour(96), 'and 48 hours of that to know how far hours commonly are from it')
from audit.judgements;
create function pg_temp.judged(q int, cost numeric) returns setof audit.judgements language plpgsql as $$
begin
  delete from audit.activity where hour = pg_temp.hour(240);
  insert into audit.activity (hour, organization_id, dimension, value, entries, queries, costs, cost, late)
  select pg_temp.hour(240), tap.acme(), 'all', '', q, q, q, judged.cost, 0 where q > 0;
  perform audit.judge_activity(pg_temp.hour(240));
  return query select * from audit.judgements where hour = pg_temp.hour(240) order by metric desc;
end
$$;
select is(round(score::numeric, 6) || ' ' || unusual || ' ' || alerts, said, format('%s queries of 100: %s', q, said))
from (values (100, '0.000000 false 0'), (130, '3.000000 false 0'), (139, '3.900000 false 0'), (141, '4.100000 false 0'),
  -- Half as many again as the hours beside it have is the least.
  (165, '6.500000 true 2'), (159, '5.900000 false 0'), (0, '-10.000000 true 2'), (80, '-2.000000 false 0')) v (q, said)
cross join lateral pg_temp.judged(v.q, v.q * 0.5) j where j.metric = 'queries';
select is(round(score::numeric, 6) || ' ' || unusual, '10.000000 true', 'costs are counted in what one query costs: 50 more of 50, at 0.5 each')
from pg_temp.judged(100, 100) j where j.metric = 'cost';
select is(expected, 100::float8, 'expected is the median'), is(spread, 10::float8, 'hours differ as much as chance makes them, at least'),
  is(learned is null, unusual, 'what is unusual teaches nothing')
from audit.judgements where hour = pg_temp.hour(240) and metric = 'queries';
insert into audit.rule_choices (rule_id, organization_id, choice) values (audit.anomaly_rule(), acme(), '{"parameters": {"score": 3, "least_queries": 200}}');
select is(unusual, q >= 200, format('where at least 200 is chosen, %s queries are unusual: %s', q, q >= 200))
from unnest(array[190, 200]) q cross join lateral pg_temp.judged(q, 0) j where j.metric = 'queries';

-- One organisation, or one metric
select is(audit.judge_activity(pg_temp.hour(240), globex()), 0, 'an organisation without activity is not judged'),
  is(audit.judge_activity(pg_temp.hour(240), acme()), 2, 'one alone can be'), is(audit.judge_activity(pg_temp.hour(240), acme(), 'cost'), 1, 'and one metric');
select is(audit.judge_activity(pg_temp.hour(240 + 337)), 0, 'after 14 days without activity hours are not judged any more');

-- Rules of one's own
select audit.create_rule(jsonb_build_object('organization_id', acme(), 'name', 'Own', 'kind', 'anomaly', 'group_by', '["provider"]'::jsonb, 'value', 'cost'));
select audit.create_rule(jsonb_build_object('organization_id', acme(), 'name', 'One', 'kind', 'anomaly', 'match', 'provider:openai'));
select is(row(s.*)::text, said, said)
from (values ('queries', null, '(queries,all,"")'), ('cost', null, '(cost,all,"")'), (null, 'Own', '(cost,provider,"a b")'), (null, 'One', '(entries,provider,openai)')) v (metric, name, said)
join audit.rules r on r.name = v.name or v.name is null and r.id = audit.anomaly_rule()
cross join lateral audit.series_of(coalesce(v.metric, r.id::text || case v.name when 'Own' then ' a b' else '' end), r) s;
select is(audit.series_rule(m), audit.anomaly_rule(), m || ' is the default''s') from unnest(array['queries', 'cost']) m;
select is(audit.series_rule(r.id || ' x'), r.id, 'others name their rule') from audit.rules r where r.name = 'Own';
insert into audit.activity (hour, organization_id, dimension, value, entries, queries, costs, cost, late)
select pg_temp.hour(241), o, 'provider', p, 9, 0, 3, 5, 0 from unnest(array[acme(), globex()]) o, unnest(array['openai', 'a b']) p;
select audit.judge_activity(pg_temp.hour(241));
select is(array_agg(concat_ws(' ', r.name, nullif(substr(j.metric, 38), ''), j.seen, j.made_of) order by r.name, j.metric), array['One 9 9', 'Own a b 5 3', 'Own openai 5 3'], 'each part is judged, of the organisation alone')
from audit.judgements j join audit.rules r on r.id = audit.series_rule(j.metric) where j.hour = pg_temp.hour(241) and r.id <> audit.anomaly_rule();
select audit.forget_series(r.id, null) from audit.rules r where r.name = 'Own';
select is(count(*), 1::bigint, 'and can be forgotten') from audit.judgements j where length(j.metric) >= 36;

select is(said(n, 'select count(*) > 0 from audit.judgements'), case when n in ('owner', 'service_role') then 'true' else '42501' end, format('%s sees judgements or not', n)),
  is(said(n, $$ select count(*) from audit.activity_baselines $$) = '42501', n <> 'owner', format('%s sees baselines or not', n))
from unnest(array['admin', 'member', 'viewer', 'auditor', 'stranger', 'anon', 'service_role', 'owner']) n;
select is(said(n, 'select audit.judge_activity(now())'), '42501', format('%s does not judge', n))
from unnest(array['admin', 'member', 'stranger', 'anon', 'service_role']) n;
