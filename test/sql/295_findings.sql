-- Findings: one open row a thing, one entry when it is new, and a new one after it was resolved.

select ok(audit.note_finding(acme(), 'entry_altered', '3-17', '{"index": 5}'), 'the first time it is new');
select ok(not audit.note_finding(acme(), 'entry_altered', '3-17', '{"index": 6}'), 'the second time it is not');
select is(seen || ' ' || (detail ->> 'index'), '2 6', 'it is counted, and says what was seen last') from audit.findings;
select is(count(*), 1::bigint, 'one entry says that verification failed'), is(min(resource_type || ' ' || resource_id || ' ' || outcome), 'finding 3-17 failure', 'and in what')
from public.audit_logs where action = 'verification.failed' and organization_id = acme();
select ok(audit.note_finding(globex(), 'entry_altered', '3-17'), 'another organisation''s is another');
select ok(audit.note_finding(acme(), 'entries_missing', '3-17'), 'and so is another kind');
select ok(audit.resolve_finding(acme(), 'entry_altered', '3-17'), 'it can be resolved'), ok(not audit.resolve_finding(acme(), 'entry_altered', '3-17'), 'once');
select ok(audit.note_finding(acme(), 'entry_altered', '3-17'), 'seen again, it is new');
select is(count(*), 2::bigint, 'and the old one is kept') from audit.findings where organization_id = acme() and kind = 'entry_altered';

select is(said(n, 'select count(*) from audit.findings'), case when n in ('owner', 'service_role') then '4' else '42501' end, format('%s sees them or not', n))
from unnest(array['admin', 'member', 'viewer', 'auditor', 'stranger', 'anon', 'service_role', 'owner']) n;
select is(said(n, $$ select audit.note_finding(tap.acme(), 'a', 'b') $$), '42501', format('%s notes none', n)), is(said(n, $$ select audit.resolve_finding(tap.acme(), 'entry_altered', '3-17') $$), '42501', 'and resolves none')
from unnest(array['admin', 'member', 'viewer', 'auditor', 'stranger', 'anon', 'service_role']) n;
