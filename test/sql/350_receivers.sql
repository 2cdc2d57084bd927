-- Receivers: who is owed what, who may be asked when, and what becomes of it.

select audit.record(acme(), 'a.one'), audit.record(globex(), 'a.one');
select seal(), audit.anchor_checkpoints(), seal();
update audit.checkpoints set published_at = now();

-- Registered
create function pg_temp.register(receivers jsonb, kinds text[] default '{webhook,mirror,witness}') returns void language sql as $$
  select audit.register_receivers(kinds, receivers)
$$;
create function pg_temp.entries() returns text language sql as $$
  select string_agg(concat_ws(' ', action, resource_id, details ->> 'kind', details ->> 'all_logs'), ', ' order by seq)
  from public.audit_logs where resource_type = 'receiver'
$$;
select pg_temp.register('[{"kind": "webhook", "name": "hook", "all_logs": false}, {"kind": "witness", "name": "w1", "all_logs": false},
  {"kind": "witness", "name": "w2", "all_logs": false}, {"kind": "mirror", "name": "there", "all_logs": true}]');
select is((select count(*) from audit.receivers), 4::bigint, 'who is configured is registered');
select pg_temp.register('[{"kind": "webhook", "name": "hook", "all_logs": true}]', '{webhook}');
select pg_temp.register('[{"kind": "webhook", "name": "hook", "all_logs": true}]', '{webhook}');
select is((select string_agg(kind || ' ' || name || ' ' || all_logs, ', ' order by kind, name) from audit.receivers),
  'mirror there true, webhook hook true, witness w1 false, witness w2 false', 'of its kinds alone');
select alike(pg_temp.entries(), '%configured hook webhook true', 'a change leaves an entry');
select is((select count(*) from public.audit_logs where resource_type = 'receiver'), 5::bigint, 'once');
select throws_ok($$ select pg_temp.register('[{"kind": "pigeon", "name": "p", "all_logs": true}]') $$, '23514', null, 'kinds are known');

-- Owed
select results_eq(
  $$ select kind, name, count(*) filter (where is_anchor), count(*) > 1 from audit.owed_checkpoints where due group by 1, 2 order by 1, 2 $$,
  $$ values ('mirror', 'there', 1::bigint, true), ('webhook', 'hook', 1, true), ('witness', 'w1', 1, false), ('witness', 'w2', 1, false) $$,
  'the newest checkpoint of each log that it is for, to each'
);
create temporary table claimed (lease uuid, log int, size bigint, folder text);
create function pg_temp.claim() returns text language sql as $$
  with claim as (select c from audit.claim_delivery('webhook', 'hook') c where c is not null),
  kept as (
    insert into claimed select (c ->> 'lease')::uuid, (c ->> 'log')::int, (c ->> 'size')::bigint, c ->> 'folder' from claim
    returning folder
  )
  select folder from kept
$$;
select is(pg_temp.claim(), 'anchor', 'the anchor log is first');
select is(pg_temp.claim(), null, 'one delivery to a receiver at a time');
select is(audit.claim_delivery('webhook', 'nobody'), null, 'to nobody, nothing');
select ok(audit.record_delivery(lease, log, size), 'it was delivered') from claimed;
select ok(not audit.record_delivery(lease, log, size), 'which is said once') from claimed;
select isnt(pg_temp.claim(), 'anchor', 'then others come');
select audit.fail_delivery(lease, log, 'missing_file', of_log => true) from claimed where folder <> 'anchor';
select is((select last_error from audit.outside where name = 'hook'), 'missing_file', 'what is wrong with a log is shown');
select is((select attempts from audit.receivers where name = 'hook'), 0, 'and is no fault of the receiver''s');
delete from claimed;
select isnt(pg_temp.claim(), null, 'who gets the next');
select audit.record_delivery(lease, log, size) from claimed;
update audit.receiver_logs set next_try_at = '-infinity';
delete from claimed;

-- Only forward
select pg_temp.claim();
select audit.record_delivery(lease, log, size) from claimed;
update audit.receivers set lease = gen_random_uuid(), lease_until = 'infinity' where name = 'hook';
select ok(audit.record_delivery(r.lease, c.log, 0), 'an older one may arrive late') from audit.receivers r, claimed c where r.name = 'hook';
select is(d.size, c.size, 'and takes nothing back') from claimed c join audit.receiver_logs d on d.log = c.log join audit.receivers r on r.id = d.receiver and r.name = 'hook';

-- Witnesses
create temporary table asked as select audit.claim_cosigning() as claim;
select is(claim #>> '{witnesses,0,name}' || (claim #>> '{witnesses,1,name}'), 'w1w2', 'all that are due are asked at once') from asked;
select isnt(claim #>> '{witnesses,0,lease}', claim #>> '{witnesses,1,lease}', 'each with its own lease') from asked;
select is(audit.claim_cosigning(), null, 'by one run at a time');
select ok(audit.record_delivery((claim #>> '{witnesses,0,lease}')::uuid, (claim ->> 'log')::int, (claim ->> 'size')::bigint, '2026-01-02 03:04:05Z'), 'one cosigned') from asked;
select is(audit.claim_cosigning(), null, 'not before the other has answered');
select audit.fail_delivery((claim #>> '{witnesses,1,lease}')::uuid, (claim ->> 'log')::int, 'timeout') from asked;
select is(audit.claim_cosigning(), null, 'nor while it is left alone');
select is(last_success, '2026-01-02 03:04:05Z'::timestamptz, 'the time is the cosignature''s') from audit.outside where name = 'w1';
select results_eq(
  $$ select last_success, behind_checkpoints, last_error from audit.outside where name = 'w2' $$,
  $$ values (null::timestamptz, 1::bigint, 'timeout') $$, 'the other is behind'
);
update audit.receivers set tried_at = tried_at - interval '1 hour', next_try_at = '-infinity' where kind = 'witness';
select is(jsonb_array_length(audit.claim_cosigning() -> 'witnesses'), 2, 'each is asked again after an hour');

-- A mirror
create temporary table copying as select audit.claim_delivery('mirror', 'there') as claim;
select audit.record_copied((claim ->> 'lease')::uuid, (claim ->> 'log')::int, 1) from copying;
select is((audit.claim_delivery('mirror', 'there') ->> 'copied')::bigint, 1::bigint, 'a copy goes on where it ended');
update audit.receivers set lease_until = '-infinity';
select audit.record_copied((claim ->> 'lease')::uuid, (claim ->> 'log')::int, 99) from copying;
select is((select max(copied) from audit.receiver_logs d join audit.receivers r on r.id = d.receiver where r.kind = 'mirror'), 1::bigint, 'said with a lease that was lost, it does not count');

-- Gone, and back
create temporary table gone as select audit.claim_delivery('mirror', 'there') as claim;
select audit.fail_delivery((claim ->> 'lease')::uuid, (claim ->> 'log')::int, 'http_410', gone => true) from gone;
select ok(disabled, 'one that is gone is shown') from audit.outside where kind = 'mirror';
update audit.receivers set next_try_at = '-infinity' where kind = 'mirror';
select is(audit.claim_delivery('mirror', 'there'), null, 'and is not asked');
select is((select count(*) from audit.findings where kind = 'receiver_gone' and subject = 'there' and resolved_at is null), 1::bigint, 'it is a finding');
select ok(audit.enable_receiver('mirror', 'there'), 'until somebody says otherwise');
select is((select count(*) from audit.findings where kind = 'receiver_gone' and resolved_at is null), 0::bigint, 'which closes it');
select isnt(audit.claim_delivery('mirror', 'there'), null, 'then it is asked');
select throws_ok($$ select audit.enable_receiver('mirror', 'where') $$, 'AUARG', null, 'nobody is enabled who is not there');

-- Taken away
select pg_temp.register('[]');
select is((select count(*) from audit.outside), 0::bigint, 'who is no longer configured is gone');
select is((select count(*) from audit.receiver_logs), 0::bigint, 'with all that was noted of it');
select is((select count(*) from public.audit_logs where action = 'integration.removed'), 4::bigint, 'but not unseen');
