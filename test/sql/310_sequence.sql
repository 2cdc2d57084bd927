-- Sequencing: when an organisation is due, what gets which index, and what a log begins with. The attacks are in
-- test/db/seal.test.ts.

create function pg_temp.claim(due boolean default true) returns jsonb language sql as $$ select audit.claim_log('test/audit', due_now => due) $$;
create function pg_temp.publish(claim jsonb) returns jsonb language plpgsql as $$
begin
  if claim is null then
    return null;
  end if;
  perform audit.record_root((claim ->> 'log')::int, (claim ->> 'published')::bigint, (claim ->> 'size')::bigint, sha256(convert_to(claim ->> 'size', 'UTF8')), '');
  perform audit.record_note((claim ->> 'log')::int, (claim ->> 'size')::bigint, 'a note', (claim ->> 'lease')::uuid);
  perform audit.record_published((claim ->> 'log')::int, (claim ->> 'size')::bigint, (claim ->> 'lease')::uuid);
  return claim;
end
$$;

-- However slow this run is.
select audit.configure('seal_after', '3600');
select is(pg_temp.claim(false), null, 'fewer than 256 entries wait for their time');
select is_empty('select audit.due_organizations()', 'nobody is due'), set_eq('select audit.due_organizations(due_now => true)', array[acme(), globex(), audit.system_organization()], 'or all are, where they are asked for');

-- Everything, until nothing is left
create temporary table claims as
with recursive c as (
  select 1 as n, pg_temp.publish(pg_temp.claim()) as claim
  union all
  select c.n + 1, pg_temp.publish(pg_temp.claim()) from c where c.claim is not null and c.n < 20
)
select * from c where claim is not null;
select is(count(*), 3::bigint, 'one claim an organisation') from claims;
select is((select sum(to_seq - from_seq + 1) from audit.log_ranges), (select count(*) from public.audit_logs)::numeric, 'every entry has an index, the log''s own too');
select is_empty($$ select from audit.waiting_chains() $$, 'none waits');
select is(claim ->> 'folder', acme() || '/' || to_char(now() at time zone 'utc', 'YYYY-MM'), 'a claim says where the log lies'), is(claim ->> 'origin', 'test/audit/' || (claim ->> 'folder'), 'and what it is called')
from claims where claim ->> 'organization_id' = acme()::text;
select is(array_agg(index order by index), array(select generate_series(0, max(l.published) - 1)), 'indexes are without gaps') from audit.logs l cross join lateral audit.log_entries(l.id, 0, 1000) where l.organization_id = acme();
select results_eq(
  format($$ select (entry::jsonb ->> 'chain')::int, (entry::jsonb ->> 'seq')::bigint from audit.log_entries(%s, 1, 1000) $$, l.id),
  format($$ select chain, seq from public.audit_logs where organization_id = tap.acme() and action <> 'log.opened' order by chain, seq $$), 'in order of chain and seq, after log.opened'
) from audit.logs l where l.organization_id = acme();
select is(entry::jsonb ->> 'action', 'log.opened', 'a log begins with log.opened'), is(entry::jsonb #> '{details,previous}', 'null', 'the first of all without one before it') from audit.logs l cross join lateral audit.log_entries(l.id, 0, 1) where l.organization_id = acme();
select is(count(*), 1::bigint, 'there is an anchor log') from audit.logs where month is null and origin = 'test/audit/anchor';

-- Its turn
insert into public.budgets (organization_id, name) select acme(), 'b' || n from generate_series(1, 255) n;
select is(pg_temp.claim(false), null, '255 entries wait');
insert into public.budgets (organization_id, name) values (acme(), 'one more');
create temporary table leased as select pg_temp.claim(false) as claim;
select is((claim ->> 'size')::int - (claim ->> 'published')::int, 256, '256 do not') from leased;
insert into public.budgets (organization_id, name) select acme(), 'c' || n from generate_series(1, 300) n;
select is(pg_temp.claim(false), null, 'a log belongs to one run at a time');
update audit.logs set lease_until = '-infinity';
select is(pg_temp.claim(false) - 'lease', claim - 'lease', 'and once its lease is over, to the next, with the same entries') from leased;
update audit.logs set lease_until = '-infinity';
select is((pg_temp.publish(pg_temp.claim(false)) ->> 'size')::int, (claim ->> 'size')::int, 'which finishes them first') from leased;
select is((pg_temp.publish(pg_temp.claim(false)) ->> 'size')::int, (claim ->> 'size')::int + 300, 'before it takes new ones') from leased;

select audit.configure('seal_after', '1'), audit.configure('seal_after', '3600', globex()), pg_sleep(1.1);
insert into public.budgets (organization_id, name) values (globex(), 'g');
select set_eq('select audit.due_organizations()', array[audit.system_organization()], 'an organisation may let its entries wait longer than others');
select audit.configure('seal_after', '3600');
select is(said('owner', format($q$ select audit.configure('seal_after', '%s') $q$, v)), 'AUOPT', v || ' is no time to wait') from unnest(array['0', '3601', '"soon"', 'true', 'null']) v;

-- The anchor log
select is(audit.anchor_checkpoints(), 3, 'a checkpoint of each log is anchored'), is(audit.anchor_checkpoints(), 0, 'once');
select is(a.entry, concat(l.origin, E'\n', c.size, E'\n', encode(c.root, 'base64'), E'\n'), 'as its text') from audit.anchor_entries a join audit.logs l on l.id = a.log join audit.checkpoints c on c.log = a.log and c.size = a.size where l.organization_id = acme();
select is(pg_temp.publish(pg_temp.claim(false)) ->> 'folder', 'anchor', 'and then the anchor log is due');

select is(said(n, $$ select audit.claim_log('evil') $$), '42501', format('%s claims nothing', n)), is(said(n, 'select audit.anchor_checkpoints()'), '42501', 'and anchors nothing') from unnest(array['admin', 'member', 'auditor', 'anon', 'service_role']) n;
