-- Legal holds: who places them, on whom, and that each is an entry.

select is(said(name, format('select audit.place_hold(%L, ''Case %s'', ''Court order'')::text', acme(), name)), said, format('%s places a hold: %s', name, coalesce(nullif(said, ''), 'yes')))
from (values ('admin', ''), ('owner', ''), ('service_role', ''), ('member', 'AUDEN'), ('viewer', 'AUDEN'), ('auditor', 'AUDEN'), ('stranger', 'AUDEN'), ('anon', '42501')) n (name, said);
select is(said('admin', format('select audit.place_hold(%L, ''All'', ''x'')', audit.system_organization())), 'AUDEN', 'an admin does not hold the whole project');
select is(audit.is_held(acme()), true, 'it holds');
select is(audit.is_held(globex()), false, 'nobody else');
select results_eq(
  $$ select resource_id, details -> 'new' ->> 'reason', created_by from public.audit_logs where action = 'hold.placed' and created_by is not null $$,
  format($$ values ('Case admin', 'Court order', %L::uuid) $$, person('admin')), 'of which there is an entry, with who did it'
);
select throws_ok(format('select audit.place_hold(%L, %L, %L)', o, n, r), 'AUARG', null, d) from (values
  (acme(), 'Case admin', 'again', 'a name holds once'), (acme(), '', 'x', 'a hold has a name'), (acme(), repeat('n', 201), 'x', 'no endless one'), (acme(), 'x', '', 'and a reason'),
  (acme(), 'x', repeat('r', 2001), 'no endless one either'), (acme(), null, 'x', 'no name is none'), (acme(), 'x', null, 'no reason is none'), (null, 'x', 'x', 'no organisation is none')
) v (o, n, r, d);

select is(said(name, format('select audit.release_hold(%L, ''Case owner'')::text', acme())), said, format('%s releases it: %s', name, said))
from (values ('member', 'AUDEN'), ('auditor', 'AUDEN'), ('stranger', 'AUDEN'), ('anon', '42501'), ('admin', 'true'), ('service_role', 'false')) n (name, said);
select is(audit.is_held(acme()), true, 'one of several is not all');
select audit.release_hold(acme(), h.name) from audit.holds h where h.released_at is null;
select is(audit.is_held(acme()), false, 'without the last it no longer holds');
select is((select count(*) from public.audit_logs where action = 'hold.released' and details -> 'old' ->> 'reason' = 'Court order'), 3::bigint, 'each left an entry');
select lives_ok(format('select audit.place_hold(%L, ''Case admin'', ''again'')', acme()), 'a name that was released can be used again');
select is((select count(*) from audit.holds where organization_id = acme()), 4::bigint, 'what was released is still known');

select audit.place_hold(audit.system_organization(), 'All', 'Everybody is held');
select is(audit.is_held(globex()), true, 'the project''s hold holds everybody');
select is(audit.is_held(gen_random_uuid()), true, 'whoever they are');

select throws_ok(statement, '42501', null, 'not even postgres may: ' || statement)
from (values ('update audit.holds set released_at = now()'), ('delete from audit.holds'), ('truncate audit.holds'), ('insert into audit.holds values (gen_random_uuid(), ''a'', ''b'')')) s (statement);
