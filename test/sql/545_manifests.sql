-- Signed manifests: frozen once the export is done and sealed, signed once.

create function pg_temp.manifest(name text, export text) returns text language sql as $$
  select said(name, format('select audit.signed_manifest(%L)', jsonb_build_object('export', export)))
$$;
create function pg_temp.seal() returns void language plpgsql as $$
declare
  c jsonb;
begin
  loop
    c := audit.claim_log('test/audit', due_now => true);
    exit when c is null;
    perform audit.record_root((c ->> 'log')::int, (c ->> 'published')::bigint, (c ->> 'size')::bigint, sha256('r'), ''), audit.record_note((c ->> 'log')::int, (c ->> 'size')::bigint, 'note', (c ->> 'lease')::uuid),
      audit.record_published((c ->> 'log')::int, (c ->> 'size')::bigint, (c ->> 'lease')::uuid);
  end loop;
end
$$;
create temporary table part as select said('admin', $$ select audit.open_export('{"format": "ndjson"}') $$)::jsonb as p;
select is(audit.manifest_to_sign(), null, 'what is on its way is not signed'), is(pg_temp.manifest('admin', p ->> 'id'), 'AUPND', 'and has no manifest to download') from part;
select matches(said('admin', format('select audit.close_export_part(%L)', jsonb_build_object('export', p -> 'id', 'part', 1, 'entries', p -> 'entries', 'bytes', 10, 'sha256', repeat('a', 64), 'complete', true))), '"state": "done"', 'it is done') from part;
select is(audit.manifest_to_sign(), null, 'and waits until its entries are sealed');
select pg_temp.seal();
create temporary table signing as select audit.manifest_to_sign() as s;
select is(s ->> 'id', p ->> 'id', 'then it is the next'), is((s ->> 'manifest')::jsonb -> 'checkpoint', '"note"', 'with the checkpoint that covers it'), is((s ->> 'manifest')::jsonb #>> '{parts,0,sha256}', repeat('a', 64), 'and the digest of each part') from signing, part;
select pg_temp.seal();
insert into public.budgets (organization_id, name) values (acme(), 'later');
select pg_temp.seal();
select is(audit.manifest_to_sign(), s, 'a run that was killed leaves the same bytes to the next') from signing;
select audit.record_manifest_note((p ->> 'id')::uuid, 'signed') from part;
select audit.record_manifest_note((p ->> 'id')::uuid, 'signed again') from part;
select is(audit.manifest_to_sign(), null, 'it is signed once'), is(pg_temp.manifest('admin', p ->> 'id')::jsonb, jsonb_build_object('manifest', s ->> 'manifest', 'note', 'signed'), 'and can be had') from part, signing;
select is(said('admin', format('select audit.export_status(%L) ->> ''manifest_note''', jsonb_build_object('export', p -> 'id'))), 'signed', 'its status says so') from part;
select is(pg_temp.manifest(n, p ->> 'id'), 'AUNOT', format('%s has no business with it', n)) from part, unnest(array['member', 'viewer', 'stranger', 'expired_auditor']) n;
select is(said(n, 'select audit.manifest_to_sign()'), '42501', format('%s signs nothing', n)), is(said(n, $$ select audit.record_manifest_note(gen_random_uuid(), 'x') $$), '42501', 'by whatever way') from unnest(array['admin', 'member', 'auditor', 'anon', 'service_role']) n;
