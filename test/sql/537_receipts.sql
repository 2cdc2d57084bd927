-- What a receipt is made of: where a sealed entry stands, for whoever may read it.

create function pg_temp.proof(name text, entry public.audit_logs) returns text language sql as $$
  select said(name, format('select audit.entry_proof(%L)', jsonb_build_object('organization_id', (entry).organization_id, 'name', (entry).chain || '-' || (entry).seq)))
$$;
create temporary table own as select a as one from public.audit_logs a where a.organization_id = acme() and a.created_by = person('member') limit 1;
create temporary table other as select a as one from public.audit_logs a where a.organization_id = acme() and a.created_by is distinct from person('member') limit 1;
select is(pg_temp.proof('admin', one), 'AUPND', 'there is none before it is sealed') from other;

do $do$
declare
  c jsonb;
begin
  for n in 1 .. 3 loop
    c := audit.claim_log('test/audit', due_now => true);
    perform audit.record_root((c ->> 'log')::int, 0, (c ->> 'size')::bigint, sha256('r'), ''), audit.record_note((c ->> 'log')::int, (c ->> 'size')::bigint, 'note of ' || (c ->> 'origin'), (c ->> 'lease')::uuid),
      audit.record_published((c ->> 'log')::int, (c ->> 'size')::bigint, (c ->> 'lease')::uuid);
  end loop;
end
$do$;
select is(pg_temp.proof('admin', one)::jsonb - array['folder', 'size', 'anchored'], jsonb_build_object(
  'origin', l.origin, 'index', e.index, 'checkpoint', 'note of ' || l.origin, 'hash', encode((one).hash, 'hex'), 'entry_text', audit.entry_text(one)
), 'afterwards it says where the entry stands') from other, audit.logs l cross join lateral audit.log_entries(l.id, 0, 1000) e
where l.organization_id = acme() and e.hash = (one).hash;
select is(pg_temp.proof(name, one) ~ '^\{', reach is not null and organization = acme() and reach = 'all', format('%s gets the receipt of another''s entry or not', name)) from other, person_reach where organization = acme();
select ok(pg_temp.proof('member', one) ~ '^\{', 'a member gets that of an own entry'), is(pg_temp.proof('anon', one), '42501', 'anon none') from own;
select is(pg_temp.proof('member', one), 'AUNOT', 'that of another''s is as if it were not there') from other;
select is(audit.place_in_log(acme(), 999, 1), null, 'an unknown chain stands nowhere'), is(audit.place_in_log(acme(), (one).chain, 99999999), null, 'nor does an entry beyond its chain''s end'), is(audit.place_in_log(globex(), (one).chain, 99999999), null, 'or another organisation''s') from other;
select is(said('admin', format('select audit.entry_proof(%L)', r)), code, r || ' is refused') from (values
  ('{"name": "1"}', 'AUARG'), ('{"name": "1-x"}', 'AUARG'), ('{"name": "9999999999-1"}', 'AUARG'), ('{"name": "5-99999"}', 'AUNOT'), ('{}', 'AUARG'), ('{"name": "1-1", "x": 1}', 'AUARG')
) v (r, code);

-- What no checkpoint covers yet
insert into public.budgets (organization_id, name) values (acme(), 'late');
select audit.claim_log('test/audit', due_now => true);
select is(pg_temp.proof('admin', a), 'AUPND', 'an index alone is no proof') from public.audit_logs a where a.organization_id = acme() and a.action = 'budget.created' order by a.created_at desc limit 1;

-- An entry that was purged, which the archive has
create temporary table old as select a as one from public.audit_logs a where a.organization_id = acme() and a.action = 'organization.created' limit 1;
grant insert on audit.chain_bounds to postgres;
insert into audit.chain_bounds (organization_id, chain, seq, hash, created_at) select acme(), (one).chain, (one).seq, (one).hash, (one).created_at from old;
select is(pg_temp.proof('admin', one)::jsonb - array['size', 'checkpoint', 'origin', 'anchored'], jsonb_build_object('folder', acme() || '/' || to_char(now() at time zone 'utc', 'YYYY-MM'), 'index', e.index),
  'has its place still, and no text') from old, audit.logs l cross join lateral audit.log_entries(l.id, 0, 1000) e where l.organization_id = acme() and e.hash = (one).hash;
select is((select count(*) from public.audit_logs where organization_id = acme() and action = 'log.exported' and details ->> 'format' = 'archive'), 1::bigint, 'and that it was read from the archive is in the log');
select is(said(name, format('select audit.is_purged(%L, %L)', acme(), (one).chain || '-' || (one).seq)), case when reach = 'all' then 'true' else 'false' end, format('%s learns that it was purged or not', name)) from old, person_reach where organization = acme() and name <> 'anon';
select is(pg_temp.proof('member', one), 'AUNOT', 'for a member it is as if it were not there') from old;
select is(audit.is_purged(acme(), n), false, n || ' was not purged') from unnest(array['x', '1-', '999999999-999999999999999999']) n;
