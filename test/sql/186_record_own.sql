-- What people's clients report of them.

select matches(said('member', $$ select public.record_audit_event('settings.viewed', 'settings', 'billing', '{"tab": "plan"}') $$), '^\d+-\d+$', 'a member reports, and gets the entry''s name');
select is(created_by, person('member'), 'as themselves'), is(organization_id, acme(), 'in their organisation'), is(details, '{"tab": "plan", "reported_by": "client"}', 'marked as a client''s word'), is(request_id, 'req-1', 'with the request')
from public.audit_logs where action = 'settings.viewed';
select matches(said(n, $$ select public.record_audit_event('record.viewed') $$), '^\d+-\d+$', format('%s too', n)) from unnest(array['admin', 'viewer', 'stranger']) n;
select is(count(*), 1::bigint, 'the stranger in their own') from public.audit_logs where action = 'record.viewed' and organization_id = globex();
select is(said(n, $$ select public.record_audit_event('settings.viewed') $$), case n when 'auditor' then 'AUDEN' else '42501' end, format('%s belongs to none', n)) from unnest(array['anon', 'service_role', 'auditor']) n;
select is(said('member', format($$ select public.record_audit_event('settings.viewed', organization_id => %L) $$, o)), 'AUDEN', 'nobody reports elsewhere') from unnest(array[globex(), audit.system_organization(), person('member')]) o;
insert into public.organization_members (organization_id, user_id) values (globex(), person('member'));
select is(said('member', $$ select public.record_audit_event('settings.viewed') $$), 'AUARG', 'who belongs to two says where');
select matches(said('member', format($$ select public.record_audit_event('settings.viewed', organization_id => %L) $$, globex())), '^\d+-\d+$', 'and then may');

-- What they may say
select is(said('admin', format('select public.record_audit_event(%L)', action)), 'AUDEN', coalesce(action, 'null') || ' is not theirs to say')
from unnest(array['user.login', 'log.purged', 'capture.untracked', 'api_key.deleted', 'settings', '', 'settings.viewed''--', null]) action;
select audit.configure('client_actions', '["log.viewed", "invoice.opened"]', acme());
select matches(said('admin', $$ select public.record_audit_event('invoice.opened') $$), '^\d+-\d+$', 'an organisation chooses'), is(said('admin', $$ select public.record_audit_event('settings.viewed') $$), 'AUDEN', 'what else is refused');
select is(said('admin', $$ select public.record_audit_event('log.viewed') $$), 'AUDEN', 'but never what is the log''s own');
select is(said('admin', format('select public.record_audit_event(''invoice.opened'', %L, %L, %L)', t, r, d)), 'AUARG', 'too large, or no object')
from (values (repeat('x', 201), null, '{}'), (null, repeat('x', 501), '{}'), (null, null, '[]'), (null, null, '"x"'), (null, null, 'null'), (null, null, format('{"a": "%s"}', repeat('x', 4100)))) v (t, r, d);
select is(said('admin', $$ select public.record_audit_event('invoice.opened', details => null) $$), 'AUARG', 'or nothing');

-- How often
select is(count(*) filter (where s ~ '-'), 60 - (select events from audit.client_rates where user_id = person('viewer'))::bigint, 'sixty a minute'), is(max(s) filter (where s !~ '-'), 'AURAT', 'then no more')
from (select said('viewer', $$ select public.record_audit_event('invoice.opened') $$) as s from generate_series(1, 70)) r;
update audit.client_rates set minute = minute - interval '1 minute' where user_id = person('viewer');
select matches(said('viewer', $$ select public.record_audit_event('invoice.opened') $$), '^\d+-\d+$', 'until the minute is over');
select is(audit.forget_client_rates(), 0::bigint, 'who reported is remembered');
update audit.client_rates set minute = minute - interval '2 hours' where user_id = person('viewer');
select is(audit.forget_client_rates(), 1::bigint, 'for an hour');
select is(said(n, 'select count(*) from audit.client_rates'), '42501', format('%s does not see the counts', n)) from unnest(array['admin', 'anon', 'service_role']) n;
select ok(bool_and(status = 'verified'), 'the chains verify') from audit.verify();
