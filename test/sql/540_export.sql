-- Exports: who may make and see which, what a part says of itself, and the queue.

create function pg_temp.call(name text, what text, request jsonb) returns jsonb language plpgsql as $$
declare
  v_said text := said(name, format('select audit.%I(%L::jsonb)', what, request));
begin
  return case when v_said ~ '^[A-Z0-9]{5}$' then to_jsonb(v_said) else v_said::jsonb end;
end
$$;

-- Cells that a spreadsheet would take for a formula
select is(audit.csv_text(value), cell, format('%L is %L in a cell', value, cell)) from (values
  ('plain', 'plain'), ('', ''), (null, null), ('=1+1', '''=1+1'), ('+1', '''+1'), ('-1', '''-1'), ('@sum', '''@sum'), (E'\t=1', E'''\t=1'), (E'\r=1', E'''\r=1'), (E'\n=1', E'''\n=1'), ('''quoted', '''''quoted'),
  (' =1', ''' =1'), ('    @x', '''    @x'), (' plain', ' plain'), ('＝1', '''＝1'), ('＋1', '''＋1'), ('－1', '''－1'), ('＠x', '''＠x'), ('a=1', 'a=1')
) c (value, cell);
select is(regexp_replace(audit.csv_text(value), '^''', ''), value, format('%L is read back', value)) from unnest(array['=1', '''a', '''''a', 'a', '', ' =', E'\t']) value;

-- Who exports what
create temporary table log as select * from public.audit_logs;
create temporary table expected as
select n as name, o as organization, case
    when n in ('service_role', 'owner') or o = acme() and n in ('admin', 'auditor', 'seeing_auditor') or o = globex() and n = 'stranger'
      then (select count(*) from log l where l.organization_id = o)
    when o = acme() and n = 'member' then (select count(*) from log l where l.organization_id = o and l.created_by = person('member'))
  end as entries
from unnest(array['admin', 'member', 'viewer', 'auditor', 'seeing_auditor', 'expired_auditor', 'stranger', 'service_role', 'owner']) n, unnest(array[acme(), globex()]) o;
create function pg_temp.export(name text, request jsonb) returns jsonb language sql as $$ select pg_temp.call(name, 'open_export', request) $$;
select is(
  said(name, format($q$ select audit.open_export('{"organization_id": "%s", "query": "-action:log.*", "format": "ndjson"}') ->> 'entries' $q$, organization)), coalesce(entries::text, 'AUDEN'),
  format('%s exports %s of %s', name, coalesce(entries || ' entries', 'nothing'), organization)
) from expected;
select is(pg_temp.export('anon', '{"format": "csv"}'), '"42501"', 'anon exports nothing');

-- What it says, and leaves in the log
create temporary table part as select pg_temp.export('admin', '{"query": "-action:log.*", "format": "csv", "limit": 2}') as p;
select is(p - array['id', 'copy', 'next', 'first', 'last', 'before', 'total'], jsonb_build_object(
  'part', 1, 'entries', 2, 'organization_id', acme(), 'query', '-action:log.*', 'filter', '{"not": {"op": "like", "field": "action", "value": "log.*"}}'::jsonb, 'format', 'csv', 'gzip', false, 'rows', null
), 'a part says what it is') from part;
select is(jsonb_build_array(p -> 'first', p -> 'last'), (
  select jsonb_agg(l.chain || '-' || l.seq order by l.created_at, l.chain, l.seq)
  from (select * from log l where l.organization_id = acme() order by l.created_at, l.chain, l.seq limit 2) l
), 'from where to where, oldest first') from part;
select is(
  (select jsonb_build_object('by', l.created_by, 'type', l.resource_type, 'id', l.resource_id) || l.details from public.audit_logs l where l.action = 'log.exported' order by l.created_at desc, l.seq desc limit 1),
  jsonb_build_object('by', person('admin'), 'type', 'export', 'id', p ->> 'id', 'export', p ->> 'id', 'part', 1, 'format', 'csv', 'query', '-action:log.*', 'entries', 2), 'and has its entry before its first byte'
) from part;
select is(
  (select count(*) from public.audit_logs l where l.action = 'log.exported'), (select count(*) + 1 from expected e where e.entries is not null), 'one entry a part, none for what was refused'
);
select matches(p ->> 'copy', '^copy \(select .*\) to stdout with \(format csv, header\)$', 'PostgreSQL writes the file') from part;
select is(jsonb_typeof(pg_temp.export('admin', jsonb_build_object('format', f)) -> 'copy'), case f when 'pdf' then 'null' else 'string' end, f || ' is written by a copy, or not') from unnest(array['csv', 'json', 'ndjson', 'ocsf', 'pdf']) f;
create temporary table pdf as select pg_temp.export('admin', '{"query": "-action:log.*", "format": "pdf", "limit": 3}') as p;
select is(said('admin', format('select count(*)::text || min(jsonb_typeof(e)) from (%s) r (e)', p ->> 'rows')), '3object', 'rows of a report are its entries') from pdf;
select is(said('member', format('select count(*) from (%s) r (e)', p ->> 'rows')), (
  select count(*)::text from (select * from log l where l.organization_id = acme() order by l.created_at, l.chain, l.seq limit 3) l where l.created_by = person('member')
), 'and show nobody more than they may see') from pdf;

-- The parts together are the whole
create temporary table parts as
with recursive made as (
  select p from part
  union all
  select pg_temp.export('admin', jsonb_build_object('export', p -> 'id', 'cursor', p -> 'next', 'limit', 2)) from made where p ->> 'next' is not null
)
select * from made;
select is((select sum((p ->> 'entries')::int)::bigint from parts), (select count(*) from log where organization_id = acme() and action not like 'log.%'), 'the parts together have every entry');
select results_eq('select (p ->> ''part'')::bigint from parts', 'select row_number() over () from parts', 'numbered from 1');
select is(
  pg_temp.export('admin', jsonb_build_object('export', p -> 'id', 'cursor', p -> 'next', 'limit', 2)) - array['copy'], (select p - array['copy'] from parts where (p ->> 'part')::int = 2),
  'a part that is made again is the same, whatever was written since'
) from part;
select is(pg_temp.call('admin', 'export_status', jsonb_build_object('export', p -> 'id')) - array['parts', 'requested_at', 'manifest', 'manifest_note', 'id', 'entries_total'], jsonb_build_object(
  'organization_id', acme(), 'format', 'csv', 'gzip', false, 'query', '-action:log.*', 'filter', p -> 'filter', 'state', 'streaming', 'requested_by', person('admin'), 'error', null, 'entries_done', 0
), 'its status') from part;
create temporary table closed as
select pg_temp.call('admin', 'close_export_part', jsonb_build_object('export', p.p -> 'id', 'part', p.p -> 'part', 'entries', p.p -> 'entries', 'bytes', 100, 'sha256', repeat('a', 64), 'complete', true)) as s from parts p;
select is((select count(*) from closed where s ->> 'state' = 'done'), 1::bigint, 'it is done with its last part');
select is(s -> 'manifest_note', 'null', 'its manifest is not signed yet'), is(s #> '{manifest,checkpoint}', 'null', 'nor is any log'), is(s #>> '{manifest,complete}', 'true', 'and that it is complete'),
  is((s #>> '{manifest,entries}')::bigint, (select count(*) from log where organization_id = acme() and action not like 'log.%'), 'with all entries') from closed where s ->> 'state' = 'done';
create temporary table holed as select pg_temp.export('admin', '{"query": "-action:log.*", "format": "csv", "limit": 2}') as p;
create temporary table rest as select pg_temp.export('admin', jsonb_build_object('export', p -> 'id', 'cursor', p -> 'next')) as p from holed;
select is(pg_temp.call('admin', 'close_export_part', jsonb_build_object('export', p -> 'id', 'part', 2, 'entries', p -> 'entries', 'bytes', 1, 'sha256', 'a', 'complete', true)) #>> '{manifest,complete}', 'false', 'one with a part that did not arrive is not complete') from rest;

-- Parts of what is frequent, rare, a phrase that few have, and one that nobody has, with all of it in the index, some or nothing
select audit.record(globex(), case n % 20 when 7 then 'rare.done' else 'frequent.done' end, 'thing', n::text, jsonb_build_object('text', case n % 3 when 0 then 'red blue' else 'blue, and red' end))
from generate_series(1, 3000) n;
create function pg_temp.parts(what text, size int) returns table (part jsonb, names text[]) language plpgsql as $$
declare
  v_next jsonb := jsonb_build_object('organization_id', globex(), 'query', what, 'format', 'csv', 'limit', size);
begin
  while v_next is not null loop
    part := pg_temp.export('stranger', v_next);
    names := said('stranger', format('select array_agg(p.name) from (%s) p', substring(part ->> 'copy' from '^copy \((.*)\) to stdout')))::text[];
    return next;
    v_next := case when part ->> 'next' is not null then jsonb_build_object('export', part -> 'id', 'cursor', part -> 'next', 'limit', size) end;
  end loop;
end
$$;
create temporary table whole (what text, indexed int, size int, part jsonb, names text[]);
create function pg_temp.parts_again(part jsonb) returns jsonb language sql as $$
  select pg_temp.export('stranger', jsonb_strip_nulls(jsonb_build_object('export', w.part -> 'id', 'limit', w.size, 'cursor', (
    select b.part -> 'next' from whole b where b.part -> 'id' = w.part -> 'id' and (b.part -> 'part')::int = (parts_again.part -> 'part')::int - 1
  )))) from whole w where w.part = parts_again.part
$$;
create function pg_temp.keep(at_most int) returns void language sql as $$
  select audit.index_entries(at_most);
  insert into whole select w.what, at_most, s.size, p.* from unnest(array['action:frequent.done', 'action:rare.done', '"red blue" -action:log.*', '"blue green" -action:log.*']) w (what), unnest(array[100, 700]) s (size), pg_temp.parts(w.what, s.size) p;
$$;
select audit.rebuild_search_index();
select pg_temp.keep(n) from unnest(array[0, 1500, 100000]) n;
create temporary table rows_of as
select what, indexed, size, (part ->> 'part')::int as part, n.ord, n.name from whole, unnest(names) with ordinality n (name, ord);
select results_eq(
  format('select name from rows_of where what = %L and indexed = %s and size = %s order by part, ord', what, indexed, size),
  format('select a.chain || ''-'' || a.seq from public.audit_logs a where a.organization_id = globex() and %s order by a.created_at, a.chain, a.seq', condition),
  format('every entry by %s once, in its order, %s indexed, parts of %s', what, indexed, size)
) from (values
  ('action:frequent.done', 'a.action = ''frequent.done'''), ('action:rare.done', 'a.action = ''rare.done'''),
  ('"red blue" -action:log.*', 'a.details ->> ''text'' = ''red blue'''), ('"blue green" -action:log.*', 'false')
) w (what, condition), unnest(array[0, 1500, 100000]) indexed, unnest(array[100, 700]) size;
select is_empty('select from whole where (part ->> ''entries'')::int > size or (part ->> ''entries'')::int <> coalesce(cardinality(names), 0)', 'no part has more, and each says how many');
select is_empty(
  $$
    select from whole w
    where w.part ->> 'next' is not null and (
      select p.part - array['copy', 'query'] from pg_temp.parts_again(w.part) p (part)
    ) is distinct from (w.part - array['copy', 'query'])
  $$,
  'made again, each is as it was, though the index has more now'
);
-- Relative dates mean the time of the request, in every part
create temporary table aged as select pg_temp.export('admin', '{"query": "created:1h -action:log.*", "format": "csv", "limit": 2}') as p;
update audit.exports set until = until - interval '2 hours', requested_at = requested_at - interval '2 hours' where id = (select (p ->> 'id')::uuid from aged);
select isnt(pg_temp.export('admin', jsonb_build_object('export', p -> 'id', 'cursor', p -> 'next')) ->> 'query', null, 'a later part goes on') from aged;
select is(current_setting('audit.query_now')::timestamptz, x.until, 'and counts ages back from the time of the first') from audit.exports x join aged a on x.id = (a.p ->> 'id')::uuid;

-- Requests
select is(pg_temp.export('admin', request), to_jsonb(code), format('%s: %s', request, code)) from (values
  ('[]'::jsonb, 'AUARG'), ('{}', 'AUARG'), ('{"format": "xml"}', 'AUARG'), ('{"format": "CSV"}', 'AUARG'), ('{"format": null}', 'AUARG'), ('{"format": "csv", "unknown": 1}', 'AUARG'), ('{"format": "csv", "sort": "cost"}', 'AUARG'),
  ('{"format": "csv", "limit": 0}', 'AUARG'), ('{"format": "csv", "limit": 1000001}', 'AUARG'), ('{"format": "csv", "limit": "a"}', 'AUARG'), ('{"format": "csv", "limit": -1}', 'AUARG'), ('{"format": "csv", "gzip": "maybe"}', 'AUARG'),
  ('{"format": "csv", "query": "nope:1"}', 'AUQRY'), ('{"format": "csv", "filter": []}', 'AUQRY'), ('{"format": "csv", "cursor": "abc"}', 'AUCUR'),
  ('{"export": "x"}', 'AUARG'), ('{"export": "0e000000-0000-4000-8000-000000000001"}', 'AUNOT'), ('{"format": "csv", "organization_id": "0b000000-0000-4000-8000-000000000002"}', 'AUDEN')
) r (request, code);
select is(pg_temp.export('admin', jsonb_build_object('export', part.p -> 'id', 'cursor', c)), '"AUCUR"', format('the cursor %s is none of this export', left(c, 20))) from part, holed, unnest(array['', 'abc', holed.p ->> 'next', left(part.p ->> 'next', -1)]) c;
select is(pg_temp.export(name, jsonb_build_object('export', p -> 'id', 'cursor', p -> 'next')), to_jsonb(code), format('%s does not go on with the admin''s export', name)) from part, (values
  ('member', 'AUNOT'), ('auditor', 'AUNOT'), ('stranger', 'AUNOT'), ('viewer', 'AUNOT')
) n (name, code);

-- Nobody reaches into another's export
create temporary table forged as select p ->> 'id' as id from part;
select is(
  said(name, format($q$ select audit.open_part(row(%L, %L, %L, now(), 'csv', false, '{}', now(), 'streaming', null, null, 0, null, null, null, null)::audit.exports, 1, 0, null, null, null) $q$, id, organization, person(name))), 'AUDEN',
  format('%s does not overwrite a part of the admin''s', name)
) from forged, (values ('member', acme()), ('auditor', acme()), ('stranger', globex())) n (name, organization);
select is((select entries from audit.export_parts x where x.export = id::uuid and x.part = 1), 2::bigint, 'it is as it was') from forged;
select is(pg_temp.call('admin', 'close_export_part', jsonb_build_object('export', p -> 'id', 'part', 1, 'path', 'other/file', 'complete', true)), '"AUDEN"', 'a person does not say where a file lies') from holed;
select is(pg_temp.call(name, 'export_status', jsonb_build_object('export', p -> 'id')) ->> 'id', case when sees then p ->> 'id' end, format('%s %s the admin''s export', name, case when sees then 'sees' else 'does not see' end)) from part, (values
  ('admin', true), ('service_role', true), ('owner', true), ('member', false), ('auditor', false), ('seeing_auditor', false), ('stranger', false), ('viewer', false), ('expired_auditor', false)
) n (name, sees);

-- The queue
select is(pg_temp.call(name, 'request_export', jsonb_build_object('organization_id', acme(), 'format', 'csv')) ->> 'state', state, format('%s asks for an export in the background: %s', name, coalesce(state, 'refused'))) from (values
  ('admin', 'queued'), ('member', 'queued'), ('auditor', 'queued'), ('viewer', null), ('expired_auditor', null), ('stranger', null), ('service_role', null), ('anon', null)
) n (name, state);
select is(pg_temp.call('admin', 'request_export', request), to_jsonb(code), format('%s: %s', request, code)) from (values
  ('{"format": "xml"}'::jsonb, 'AUARG'), ('{"format": "csv", "limit": 1}', 'AUARG'), ('{"format": "csv", "query": "nope:1"}', 'AUQRY'), ('{"format": "csv", "cursor": "a"}', 'AUARG'), ('{"format": "csv", "gzip": "maybe"}', 'AUARG')
) r (request, code);
create temporary table listed as select n as name, pg_temp.call(n, 'list_exports', jsonb_build_object('organization_id', acme())) -> 'exports' as e from unnest(array['admin', 'member', 'auditor']) n;
select is((select count(*) from listed, jsonb_array_elements(e) x where name <> 'admin' and x ->> 'requested_by' <> person(name)::text), 0::bigint, 'others list their own');
select is((select count(distinct x ->> 'requested_by') from listed, jsonb_array_elements(e) x where name = 'admin'), 4::bigint, 'admins all of the organisation');
select is(pg_temp.call('viewer', 'list_exports', '{}'), '"AUDEN"', 'who reads nothing lists nothing');
select is(pg_temp.call('stranger', 'list_exports', jsonb_build_object('organization_id', acme())), '"AUDEN"', 'nor a stranger');

create temporary table claimed as select audit.claim_export() as c;
select is(c ->> 'requested_by', person('admin')::text, 'the first that asked comes first') from claimed;
select is(audit.claim_export() ->> 'requested_by', person('member')::text, 'then the next');
select is(audit.claim_export() ->> 'requested_by', person('auditor')::text, 'then the last');
select is(audit.claim_export(), null, 'then none');
create temporary table background as select pg_temp.export('admin', jsonb_build_object('export', c -> 'id', 'limit', 2)) as p from claimed;
select is(pg_temp.call('service_role', 'close_export_part', jsonb_build_object('export', p -> 'id', 'part', 1, 'entries', 2, 'bytes', 10, 'sha256', 'a', 'complete', true, 'path', 'a/b')) ->> 'state', 'queued', 'with more to come it waits again') from background;
select is(audit.claim_export() ->> 'cursor', p ->> 'next', 'and goes on with the next part') from background;
select audit.fail_export(jsonb_build_object('export', p -> 'id', 'error', 'the Storage is full', 'retry', true)) from background;
select is(pg_temp.call('admin', 'export_status', jsonb_build_object('export', p -> 'id')) ->> 'state', 'queued', 'what failed for now is tried again') from background;
select is(audit.claim_export() ->> 'id', p ->> 'id', 'it is taken up again') from background;
select audit.fail_export(jsonb_build_object('export', p -> 'id', 'error', 'no such bucket')) from background;
select is(pg_temp.call('admin', 'export_status', jsonb_build_object('export', p -> 'id')) - array['parts', 'manifest', 'filter', 'requested_at'] ->> 'error', 'no such bucket', 'what failed says why') from background;
update audit.exports set lease_until = now() - interval '1 minute' where state = 'running';
select is(audit.claim_export() ->> 'requested_by', person('member')::text, 'what a worker left is taken up by another');
update audit.exports set lease_until = now() - interval '1 minute', attempts = 3 where state = 'running';
select is(audit.claim_export(), null, 'but not for ever');
select is((select count(*) from audit.exports where state = 'failed' and error is not null), 3::bigint, 'it failed');
create temporary table cancelled as select pg_temp.call('member', 'request_export', '{"format": "csv"}') ->> 'id' as id;
select is(pg_temp.call('auditor', 'cancel_export', jsonb_build_object('export', id)), '"AUNOT"', 'others do not cancel it') from cancelled;
select is(pg_temp.call('member', 'cancel_export', jsonb_build_object('export', id)) ->> 'state', 'cancelled', 'one cancels one''s own') from cancelled;
select is(audit.claim_export(), null, 'and nobody works on it');

-- Privileges
select is_empty(
  $$
    select r, c, p from unnest(array['anon', 'authenticated', 'service_role']) r, unnest(array['audit.exports', 'audit.export_parts']) c, unnest(array['select', 'insert', 'update', 'delete', 'truncate']) p
    where has_table_privilege(r, c, p)
  $$,
  'exports are read and written by functions alone'
);
select is_empty(
  $$ select r, f from unnest(array['anon', 'authenticated', 'service_role']) r, unnest(array['audit.claim_export(interval)', 'audit.fail_export(jsonb)']) f where has_function_privilege(r, f, 'execute') $$,
  'the queue is worked off by nobody else'
);
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'every chain verifies');
