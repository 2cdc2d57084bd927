-- Logs: what the tables refuse by themselves, and the chain that is the log's own.

insert into audit.logs (organization_id, month, origin) values (acme(), '2026-01-01', 'test/a/2026-01');
select throws_ok($$ insert into audit.logs (organization_id, month, origin) values (tap.acme(), '2026-02-01', 'test/a/2026-02') $$, '23505', null, 'an organisation has one open log');
update audit.logs set closed_at = clock_timestamp();
select throws_ok($$ insert into audit.logs (organization_id, month, origin) values (tap.acme(), '2026-01-01', 'other') $$, '23505', null, 'and one a month');
select throws_ok($$ insert into audit.logs (organization_id, month, origin) values (tap.globex(), '2026-01-01', 'test/a/2026-01') $$, '23505', null, 'an origin names one log');
select throws_ok($$ insert into audit.logs (organization_id, month, origin) values (tap.globex(), '2026-01-02', 'test/b') $$, '23514', null, 'a month begins on its first day');
insert into audit.logs (organization_id, month, origin) values (audit.system_organization(), null, 'test/anchor'), (audit.system_organization(), '2026-01-01', 'test/0/2026-01');
select pass('the system organisation has a log beside the anchor log');
select throws_ok($$ insert into audit.logs (organization_id, month, origin) values (audit.system_organization(), null, 'test/anchor2') $$, '23505', null, 'of which there is one');
select throws_ok($$ update audit.logs set published = 1 $$, '23514', null, 'nothing is published that has no root'), throws_ok($$ update audit.logs set size = 1 $$, '23514', null, 'no root is over what has no index');
insert into audit.log_ranges (log, start, organization_id, chain, from_seq, to_seq) select id, 0, acme(), 1, 1, 5 from audit.logs where origin = 'test/a/2026-01';
select throws_ok($$ insert into audit.log_ranges (log, start, organization_id, chain, from_seq, to_seq) select id, 9, tap.acme(), 1, 1, 2 from audit.logs where origin = 'test/0/2026-01' $$, '23505', null, 'an entry is sequenced once');
insert into audit.checkpoints (log, size, root, frontier) select id, 1, sha256('a'), '' from audit.logs where month is null;
select throws_ok($$ insert into audit.checkpoints (log, size, root, frontier) select id, 1, sha256('b'), '' from audit.logs where month is null $$, '23505', null, 'a size has one root');

-- The log's own chain
select set_config('audit.request_id', 'mine', true);
create temporary table before as select audit.context() as context;
select is(audit.append_to_log_chain(acme(), 'log.heartbeat', 'x', '{"a": 1}'), 1::bigint, 'its first entry'), is(audit.append_to_log_chain(acme(), 'log.heartbeat', 'x', '{}'), 2::bigint, 'and its second');
select is(audit.context(), context, 'the connection writes as before') from before;
select is(array_agg(distinct row(chain, actor_type, created_by, request_id)::text), array[row(audit.log_chain(), 'system', null::uuid, null::text)::text], 'they are nobody''s but the system''s')
from public.audit_logs where action = 'log.heartbeat';
select isnt(a.chain, audit.log_chain(), 'others do not get there') from audit.record(acme(), 'report.generated') a;
select is(count(*), 0::bigint, 'and the chain verifies') from audit.verify(acme()) where status <> 'verified';

select is(said(n, format('select count(*) from audit.%I', t)), case when n = 'owner' or n = 'service_role' and t <> 'sequenced' then said('owner', format('select count(*) from audit.%I', t)) else '42501' end, format('%s reads %s or not', n, t))
from unnest(array['admin', 'member', 'auditor', 'anon', 'service_role', 'owner']) n, unnest(array['logs', 'log_ranges', 'checkpoints', 'anchor_entries', 'sequenced']) t;
select is(said(n, $$ select audit.append_to_log_chain(tap.acme(), 'log.opened', 'x', '{}') $$), '42501', format('%s writes no entry of the log''s', n)) from unnest(array['admin', 'member', 'auditor', 'anon', 'service_role']) n;
