-- How far logs were collected.

create temporary table claim as select c, (c ->> 'lease')::uuid as lease from audit.claim_collection() c;
select cmp_ok((c ->> 'from')::timestamp at time zone 'utc', '<=', clock_timestamp() - interval '1 hour', 'the first run begins an hour back'), is(c ->> 'after', '', 'with the first line'), is(c ->> 'accessed', 'false', 'without requests that nobody wants')
from claim;
select is(audit.claim_collection(), null, 'one run at a time');
select throws_ok($$ select audit.record_collected(gen_random_uuid(), now(), null, true) $$, 'AULSE', null, 'who has not the turn notes nothing');
select audit.record_collected(lease, '2026-01-31T12:00:00Z', 'line-1', true) from claim;
select is(audit.claim_collection() ->> 'after', 'line-1', 'who had to stop is gone on with behind that line');

-- Back for what came late
update audit.log_collection set collected_until = clock_timestamp() - interval '1 minute', resume_after = null, lease_until = '-infinity';
select is(date_trunc('minute', clock_timestamp() - (c ->> 'from')::timestamp at time zone 'utc'), interval '11 minutes', 'ten minutes are looked back') from audit.claim_collection() c;
update audit.log_collection set collected_until = clock_timestamp() - interval '9 days', lease_until = '-infinity';
select is(date_trunc('hour', clock_timestamp() - (c ->> 'from')::timestamp at time zone 'utc'), interval '24 hours', 'not beyond what is taken in') from audit.claim_collection() c;
update audit.log_collection set lease_until = '-infinity';
select audit.configure('api_access', '0.01', acme());
truncate claim;
insert into claim select c, (c ->> 'lease')::uuid from audit.claim_collection() c;
select is(c ->> 'accessed', 'true', 'requests are asked for where one organisation wants them') from claim;

-- Failures
create temporary table wait (seconds int);
select audit.fail_collection(lease, 'http_500') from claim;
select is(failures || ' ' || last_error, '1 http_500', 'a failure is noted'), is(round(extract(epoch from next_at - clock_timestamp())), 30::numeric, 'and waited after') from audit.log_collection;
select is(audit.claim_collection(), null, 'so long nobody has the turn');
select audit.fail_collection(lease, 'http_429', 90) from claim;
select is(round(extract(epoch from next_at - clock_timestamp())), 90::numeric, 'as long as the API asks for') from audit.log_collection;
select audit.fail_collection(lease, 'http_500') from claim, generate_series(1, 20);
select is(round(extract(epoch from next_at - clock_timestamp())), 3600::numeric, 'or longer each time, an hour at most') from audit.log_collection;
select audit.fail_collection(lease, 'http_429', 1e9) from claim;
select is(round(extract(epoch from next_at - clock_timestamp())), 3600::numeric, 'also where it asks for years') from audit.log_collection;
update audit.log_collection set lease_until = clock_timestamp() + interval '1 minute';
select audit.record_collected(lease, clock_timestamp(), null, true) from claim;
select is(row(failures, last_error, next_at), row(0, null::text, '-infinity'::timestamptz), 'a run that goes well forgets them') from audit.log_collection;

-- When
select ok(not audit.is_collection_due(), 'nothing is due where nobody asked for it');
select audit.configure('collect_logs_every', '60');
select ok(not audit.is_collection_due(), 'not yet');
update audit.log_collection set last_run_at = clock_timestamp() - interval '61 s';
select ok(audit.is_collection_due(), 'after a minute');
update audit.log_collection set last_run_at = clock_timestamp(), resume_after = 'line-2';
select ok(audit.is_collection_due(), 'at once where there was more');
select throws_ok(format('select audit.configure(''collect_logs_every'', %L)', v), 'AUOPT', null, v || ' seconds are none') from unnest(array['5', '-1', '3601', '"60"', '60.5']) v;
select is(every_seconds, 60, 'the view says how often'), cmp_ok(lag_seconds, '<', 5, 'and how late') from audit.log_collection_status;
select is(said(n, 'select count(*) from audit.log_collection_status'), case n when 'service_role' then '1' else '42501' end, format('%s sees it or not', n)), is(said(n, 'select audit.claim_collection()'), '42501', 'and takes no turn')
from unnest(array['admin', 'anon', 'service_role']) n;
