-- Entries from the archive, in a table beside the log: who reads them, and what may not pass for one.

create temporary table sample as select array_agg(audit.entry_text(a)) as texts, count(*) as entries from public.audit_logs a where a.organization_id = acme();
select is(audit.qualified_name(audit.open_restored_entries()), 'audit.restored_entries', 'there is a table for them');
select is(audit.open_restored_entries(), audit.open_restored_entries('audit.restored_entries'), 'one');
select is(audit.add_restored_entries('audit.restored_entries', texts), entries, 'entries come into it') from sample;
select is(audit.add_restored_entries('audit.restored_entries', texts), 0::bigint, 'once') from sample;
select is(audit.add_restored_entries('audit.restored_entries', array[replace(texts[1], '"v":1,', '"v":1, ')]), 0::bigint, 'what is no entry text does not') from sample;
select set_eq('select * from audit.restored_entries', format('select * from public.audit_logs where organization_id = %L', acme()), 'they are as they were');

select is(
  said(name, 'select count(*)::text from audit.restored_entries'), case when name in ('admin', 'auditor', 'seeing_auditor', 'owner', 'service_role') then entries::text else '0' end, name
) from sample, unnest(array['admin', 'auditor', 'seeing_auditor', 'expired_auditor', 'member', 'viewer', 'stranger', 'owner', 'service_role']) name;
select is(said('anon', 'select count(*)::text from audit.restored_entries'), '42501', 'anon');
select is(said('admin', statement), '42501', 'nobody writes there: ' || statement)
from (values ('delete from audit.restored_entries'), ('insert into audit.restored_entries select * from public.audit_logs'), ('truncate audit.restored_entries')) s (statement);

select lives_ok('select audit.open_restored_entries(''public."Of 2024"'')', 'a table of another name');
select lives_ok('drop table public."Of 2024"', 'which can be dropped');
select throws_ok(format('select audit.open_restored_entries(%L)', name), code, null, coalesce(name, 'null') || ' is none') from (values
  ('public.budgets', 'AUARG'), ('public.audit_logs', 'AUARG'), ('restored_entries', 'AUARG'), ('a.b.c', 'AUARG'), ('nowhere.x', '3F000'), ('', '22023')
) v (name, code);
