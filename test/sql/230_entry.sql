-- The entry text and its hash. Vectors (test/vectors) hold the bytes; here is what makes them stay.

select is(
  encode(audit.hash_of(''), 'hex'), '6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d', 'the hash is the leaf hash of RFC 6962'
);
select is(
  audit.first_prev_hash(acme(), 3), sha256(convert_to(E'supabase-audit-logs chain v1\n' || acme() || E'\n3\n', 'UTF8')), 'a chain begins with its place'
);
select isnt(audit.first_prev_hash(acme(), 1), audit.first_prev_hash(acme(), 11), 'no two chains begin alike');
select isnt(audit.first_prev_hash(acme(), 1), audit.first_prev_hash(globex(), 1), 'nor do two organisations');

-- Every column is in the text
create function pg_temp.text_with(change jsonb) returns text language sql as $$
  select audit.entry_text(jsonb_populate_record(a, change)) from public.audit_logs a order by a.created_at, a.organization_id, a.chain, a.seq limit 1
$$;
create temporary table change (columns jsonb);
insert into change values
  ('{"organization_id": "ffffffff-ffff-ffff-ffff-ffffffffffff"}'), ('{"chain": 99}'), ('{"seq": 99}'), ('{"created_at": "2001-01-01"}'),
  ('{"action": "x.y"}'), ('{"outcome": "denied"}'), ('{"resource_type": "x"}'), ('{"resource_id": "x"}'), ('{"created_by": "ffffffff-ffff-ffff-ffff-ffffffffffff"}'),
  ('{"actor_type": "system"}'), ('{"identity_hash": "\\x00"}'), ('{"provider": "x"}'), ('{"cost": 1.0}'), ('{"request_id": "x"}'), ('{"details": {"x": 1}}'), ('{"prev_hash": "\\x00"}');
select isnt(pg_temp.text_with(columns), pg_temp.text_with('{}'), 'the text depends on ' || (select jsonb_object_keys(columns))) from change;
select is(
  (select array_agg(a.attname::text order by a.attnum) from pg_attribute a where a.attrelid = 'public.audit_logs'::regclass and a.attnum > 0 and not a.attisdropped),
  (select array_agg(jsonb_object_keys) from (select jsonb_object_keys(columns) from change) k) || '{hash}', 'and there is no other column but the hash'
);
select isnt(pg_temp.text_with('{"cost": 1.0}'), pg_temp.text_with('{"cost": 1.00}'), 'digits after the point are part of it');

-- No session setting is
create temporary table settled as select audit.entry_text(a) as entry_text, a.hash from public.audit_logs a;
set local timezone = 'Pacific/Chatham';
set local datestyle = 'SQL, DMY';
set local intervalstyle = 'sql_standard';
set local extra_float_digits = -15;
set local bytea_output = 'escape';
set local lc_numeric = 'C';
select bag_eq('select audit.entry_text(a) from public.audit_logs a', 'select entry_text from settled', 'no session setting changes a byte');
reset timezone; reset datestyle; reset intervalstyle; reset extra_float_digits; reset bytea_output;

select is_empty('select * from public.audit_logs a where audit.hash_of(audit.entry_text(a)) is distinct from a.hash', 'every entry has the hash of its text');
select is_empty($$ select * from public.audit_logs a where audit.entry_text(a) ~ E'[\\n\\r]' $$, 'every text is one line');
select is_empty($$ select (audit.entry_text(a)::jsonb) ->> 'v' from public.audit_logs a where (audit.entry_text(a)::jsonb) ->> 'v' is distinct from '1' $$, 'every text is JSON and says its version');
