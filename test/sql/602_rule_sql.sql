-- From a rule to SQL: conditions, groups, and that addresses stand for themselves without being kept.

insert into audit.identities (organization_id, user_id, email, ip_address, salt, identity_hash, lookup, created_at) values
  (acme(), null, 'A@example.com', '203.0.113.1', repeat('0', 16)::bytea, sha256('1'), '', now() - interval '2 days'),
  (acme(), null, 'a@example.com', '203.0.113.2', repeat('0', 16)::bytea, sha256('2'), '', now() - interval '1 day'),
  (globex(), null, 'a@example.com', '203.0.113.1', repeat('0', 16)::bytea, sha256('3'), '', now());
select is(audit.same_email(sha256('2')), encode(sha256('1'), 'hex'), 'one address, however it is written, is one');
select is(audit.same_ip(sha256('2')), encode(sha256('2'), 'hex'), 'another IP address is another');
select is(audit.same_ip(sha256('3')), encode(sha256('3'), 'hex'), 'of another organisation, too');
select is(audit.same_ip(sha256('9')), null, 'who is erased has none');

create function pg_temp.matches(query text, entry public.audit_logs) returns boolean language plpgsql as $$
declare
  v_matches boolean;
begin
  execute format('select %s from (select ($1).*) e0 cross join lateral (select $1) x cross join lateral unnest(array[$1]) e', audit.rule_condition(audit.parse_query(query))) into v_matches using entry;
  return v_matches;
end
$$;
select is(pg_temp.matches(q, jsonb_populate_record(null::public.audit_logs, jsonb_build_object('action', 'budget.changed', 'outcome', 'success', 'actor_type', 'user',
    'organization_id', acme(), 'identity_hash', sha256('1')::text, 'created_by', person('admin'), 'resource_type', 'budget', 'resource_id', '7', 'created_at', now(),
    'details', '{"changes": {"limit": {"new": 2000}}, "note": "quarterly report"}'::jsonb))), m, q)
from (values ('action:budget.*', true), ('-action:budget.*', false), ('changes.limit.new:>1000', true), ('changes.limit.new:>3000', false), ('"quarterly report"', true), ('"report quarterly"', false),
  ('quart*', true), ('email:a@example.com', true), ('ip:203.0.113.*', true), ('ip:203.0.113.2', false), ('actor:a@example.com', true), ('actor:b@example.com', false),
  ('resource:budget/7 or action:x.y', true), ('action:(a.b or budget.changed) outcome:success', true), ('', true)) v (q, m);

select matches(audit.rule_guard(audit.parse_query('action:thing.made')), 'not like', 'alerts are not seen');
select matches(audit.rule_guard(audit.parse_query(q)), 'about', q || ' sees them') from (values ('action:alert.opened'), ('action:(a.b or alert.opened)'), ('action:alert.*')) v (q);
select is(audit.group_sql('{}'), '''''', 'no group is one group');
select is(audit.compile_rule(r) = r.compiled, true, 'compiled as it is: ' || r.name) from audit.rules r where r.compiled is not null;
