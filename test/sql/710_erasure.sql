-- Erasure: what would go, who may, what is refused, and the deletion itself. What takes several transactions is in
-- test/db/erasure.test.ts.
create temporary table who as select gen_random_uuid() as ann, gen_random_uuid() as ben;
create function pg_temp.act(person uuid, email text, name text) returns void language plpgsql as $$
begin
  perform set_config('request.jwt.claims', json_build_object('role', 'authenticated', 'sub', person, 'email', email)::text, true);
  perform set_config('request.headers', '{"x-forwarded-for": "198.51.100.9", "user-agent": "Erased/1.0"}', true);
  insert into public.budgets (organization_id, name) values (tap.acme(), name), (tap.globex(), name);
  perform tap.act_as_owner();
end
$$;
select pg_temp.act(ann, 'ann@acme.example', 'a'), pg_temp.act(ben, 'ben@acme.example', 'b') from who;
insert into public.organization_members (organization_id, user_id) select acme(), ann from who;
create function pg_temp.asked(person text, subject text, ground text default null, dry_run boolean default true, reason text default null) returns text language sql as $$
  select said(person, format('select audit.erase_subject(%L, %L, %L, %L, %L)', tap.acme(), subject, ground, reason, dry_run))
$$;
select index_entries from audit.index_entries();

-- Who may
select is(pg_temp.asked(n, ann::text), 'AUDEN', n || ' erases nobody') from unnest(array['member', 'viewer', 'auditor', 'seeing_auditor', 'stranger']) n, who;
select is(pg_temp.asked('anon', ann::text), '42501', 'nor does anybody else') from who;
select is(said(n, format('select audit.%s', f)), '42501', n || ' has no business with ' || f)
from unnest(array['admin', 'anon', 'service_role']) n, unnest(array['continue_erasures()', 'certificate_to_sign()', 'record_certificate_note(gen_random_uuid(), ''x'')', 'withdraw_exports(tap.acme(), now())', 'find_subject(tap.acme(), ''a@b'')']) f
where n <> 'service_role' or f not like 'find%';

-- What would go
select is(
  pg_temp.asked('admin', ann::text)::jsonb - array['exports', 'backups_expire_after_days'],
  jsonb_build_object(
    'dry_run', true, 'organization_id', acme(), 'subject', ann, 'identities', 1, 'personal_values', 1, 'entries_kept', 1,
    'entries_with_address', '{"count": 0, "names": []}'::jsonb, 'holds', '[]'::jsonb
  ), 'a dry run counts'
) from who;
select is(pg_temp.asked('admin', 'ANN@acme.example')::jsonb, pg_temp.asked('admin', ann::text)::jsonb, 'by address the same') from who;
select is((select count(*) from audit.erasures)::int + (select count(*) from public.audit_logs where action like 'subject.%')::int, 0, 'and leaves nothing');
select is(pg_temp.asked('admin', s), code, coalesce(s, 'null') || ' is nobody')
from (values ('nobody@acme.example', 'AUNOT'), ('11111111-1111-4111-8111-111111111111', 'AUNOT'), ('ann', 'AUARG'), (null, 'AUARG')) b (s, code);
select is(pg_temp.asked('admin', ann::text, g, false), 'AUARG', coalesce(g, 'none') || ' is no ground') from unnest(array[null, '', '17', '17(1)(g)', '17(3)(f)', '17(2)(a)', '17(1)(a) ']) g, who;
select is(pg_temp.asked('admin', ann::text, '17(1)(a)', false, 'wrote as Ann@acme.example'), 'AUARG', 'a reason names no address') from who;
select is(said('admin', format('select audit.request_erasure(%L)', r)), 'AUARG', 'strictly: ' || r)
from unnest(array['{"subjects": "x"}', '[]', format('{"organization_id": "%s", "subject": "a@b", "dry_run": "yes"}', acme())]) r;

-- What is refused, and recorded
select audit.place_hold(acme(), 'Case 7', 'Litigation');
select is(pg_temp.asked('admin', ann::text)::jsonb #>> '{holds,0,name}', 'Case 7', 'a dry run names what is in the way') from who;
select is(pg_temp.asked('admin', ann::text, '17(1)(b)', false)::jsonb ->> 'state', 'refused', 'a hold refuses') from who;
select audit.release_hold(acme(), 'Case 7');
select is(pg_temp.asked('admin', ann::text, '17(3)(b)', false, 'Tax law')::jsonb ->> 'state', 'refused', 'so does a ground of Art. 17(3)') from who;
select results_eq(
  $$ select outcome, details ->> 'ground', details ->> 'asked_for', details #>> '{holds,0,name}', details ->> 'reason' from public.audit_logs where action = 'subject.erasure_refused' order by seq $$,
  $$ values ('denied', '17(3)(e)', '17(1)(b)', 'Case 7', null), ('denied', '17(3)(b)', null, null, 'Tax law') $$, 'both are entries'
);
select is((select count(*) from audit.identities_of(audit.find_subject(acme(), ann::text)))::int, 1, 'and nothing went') from who;

-- What goes
create temporary table search as select said('admin', 'select count(*) from audit.search(''email:ann@acme.example ip:198.51.100.* -"me@acme.example" created:7d'')') as found;
select is(found, '1', 'a search by address finds') from search;
create temporary table searched as select details from public.audit_logs where action = 'log.searched' order by created_at desc, seq desc limit 1;
select is(details ->> 'query', 'email:"***" ip:"***" -"***" created:7d', 'its entry does not say whom it was for') from searched;
select is(jsonb_array_length(details -> 'values'), 3, 'it commits to that') from searched;
select bag_eq($$ select value from audit.personal_values where column_name = 'query' $$, $$ values ('ann@acme.example'), ('198.51.100.*'), ('me@acme.example') $$, 'admins see it as long as it is there');
create temporary table export as select said('admin', format('select audit.request_export(%L)', '{"format": "csv", "query": "email:ann@acme.example"}'))::jsonb as x;
create temporary table other as select said('stranger', format('select audit.request_export(%L)', '{"format": "csv"}'))::jsonb as x;
create temporary table asked as select pg_temp.asked('admin', ann::text, '17(1)(b)', false, 'Left us')::jsonb as e from who;
select is(e ->> 'state', 'values', 'it begins') from asked;
select is(pg_temp.asked('admin', 'ann@acme.example', '17(1)(a)', false)::jsonb ->> 'id', e ->> 'id', 'once') from asked;
select audit.place_hold(acme(), 'Case 8', 'Litigation');
select is(audit.continue_erasures(), 1, 'a hold stops it');
select is((select state from audit.erasures where state <> 'refused'), 'values', 'where it is');
select audit.release_hold(acme(), 'Case 8');
select cmp_ok(audit.continue_erasures(), '>=', 2, 'until it is released');
select is(state, 'settling', state || ' in this transaction nobody can know who still finds it') from audit.erasures where state <> 'refused';
select is(counts, '{"identities": 1, "personal_values": 3}', 'values and queries are gone') from audit.erasures where state <> 'refused';
select is((select count(*) from audit.identities where user_id = ann)::int, 1, 'in one organisation, not in the other') from who;
select is((select count(*) from audit.identities where user_id = ben)::int, 2, 'and nobody else''s') from who;
select bag_eq($$ select value from audit.personal_values where column_name = 'query' $$, $$ values ('me@acme.example') $$, 'a search for somebody else stays');

-- Verification tells erased from missing
select isnt(audit.record(acme(), 'subject.erased', 'user', ann::text, jsonb_build_object('subject', ann)), null, 'as the end of it says') from who;
delete from audit.identities where user_id = (select ben from who) and organization_id = acme();
select results_eq(
  $$ select v.state, a.created_by = (select ann from who) from audit.verify_identities(tap.acme()) v join public.audit_logs a on a.identity_hash = v.identity_hash and a.resource_type = 'budget' where a.created_by in (select ann from who union select ben from who) order by 1 $$,
  $$ values ('erased', true), ('missing', false) $$, 'who was erased is told from who was removed'
);
select results_eq('select distinct status from audit.verify()', array['verified'], 'every chain verifies');

-- Exports
select is(audit.withdraw_exports(acme(), now() - interval '1 hour'), 1, 'exports are taken back');
select is(said('admin', format('select audit.export_status(%L)', jsonb_build_object('export', x -> 'id')))::jsonb - array['requested_at', 'manifest', 'error', 'id', 'requested_by', 'organization_id'],
  '{"format": "csv", "gzip": false, "query": "", "filter": {"and": []}, "state": "cancelled", "entries_done": 0, "parts": [], "manifest_note": null}', 'with what they asked for') from export;
select is((select array_agg(x.export::text) from audit.expired_exports() x), array[e.x ->> 'id'], 'and are removed at once, others'' are not') from export e;
select is((select state from audit.exports where id = (x ->> 'id')::uuid), 'queued', 'of another organisation it goes on') from other;
update audit.exports set lease_until = clock_timestamp() + interval '1 minute' where withdrawn_at is not null;
select is_empty('select from audit.expired_exports()', 'not while somebody may still be storing a part');

-- Who sees it
select is(left(said(n, format('select audit.erasure_status(%L)', jsonb_build_object('erasure', e -> 'id'))), 5), case when n in ('admin', 'auditor', 'seeing_auditor') then '{"id"' else 'AUNOT' end, n || ' and the erasure')
from asked, unnest(array['admin', 'auditor', 'seeing_auditor', 'member', 'viewer', 'stranger', 'expired_auditor']) n;
select is(jsonb_array_length(said('admin', format('select audit.erasure_status(%L)', jsonb_build_object('organization_id', acme())))::jsonb -> 'erasures'), 3, 'the list has those that were refused');
select is(said('member', format('select audit.erasure_status(%L)', jsonb_build_object('organization_id', acme()))), 'AUDEN', 'and is not for members');
select is(said('admin', format('select audit.signed_certificate(%L)', jsonb_build_object('erasure', e -> 'id'))), 'AUPND', 'no certificate before the end') from asked;

-- Copies in tables of other stages
select is(t ~* audit.values_pattern('{a@b.example,10.0.0.1}'), found, t) from (values
  ('A@B.example', true), ('"a@b.example"', true), ('<a@b.example>, ', true), ('ip=10.0.0.1.', true), ('10.0.0.1:443', true), ('aa@b.example', false), ('a@b.example.org', false), ('a@bxexample', false), ('110.0.0.1', false), ('10.0.0.12', false), ('10x0.0.1', false)
) v (t, found);
create table if not exists audit.alerts (
  organization_id uuid not null, rule_id uuid not null, group_key text not null, severity text not null, title text not null, reason jsonb not null,
  first_seen_at timestamptz not null, last_seen_at timestamptz not null, occurrences bigint not null, entries text[] not null
);
insert into audit.alerts (organization_id, rule_id, group_key, severity, title, reason, first_seen_at, last_seen_at, occurrences, entries)
select o, gen_random_uuid(), '10.0.0.1', 'low', 'Many by A@b.example from 10.0.0.1', '{"by": ["a@b.example"]}', now(), now(), 1, '{}' from unnest(array[acme(), globex()]) o;
select is(audit.mask_copies(acme(), '{a@b.example,10.0.0.1}'), 3::bigint, 'three columns quote the person');
select is(title ~ '^Many by erased-[0-9a-f]{12} from erased-[0-9a-f]{12}$' and position(group_key in title) > 0 and position(reason #>> '{by,0}' in title) > 0, true, 'the same for the same value: ' || title) from audit.alerts where organization_id = acme();
select is(title, 'Many by A@b.example from 10.0.0.1', 'another organisation''s stay') from audit.alerts where organization_id = globex();
select is(audit.copies_left(acme(), '{a@b.example}'), '{}', 'nothing is left');
select is(audit.copies_left(globex(), '{a@b.example}'), '{"audit.alerts": 1}', 'where something is, it is told');
