-- One partition a month, ahead of time, with a net.

select is(audit.ensure_partitions(), 0, 'after installation no partition is missing');
select is(audit.ensure_partitions(5), 2, 'two more months ahead are made');
select is(audit.ensure_partitions(5), 0, 'and not made again');
select throws_ok('select audit.ensure_partitions(-1)', 'AUARG', null, 'not into the past');
select throws_ok('select audit.ensure_partitions(121)', 'AUARG', null, 'not for more than ten years');
select throws_ok('select audit.ensure_partitions(null)', 'AUARG', null, 'not for no number of months');
select results_eq(
  $$
    select c.relname::text collate "default" from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'public.audit_logs'::regclass order by 1
  $$,
  $$
    select 'audit_logs_' || to_char(date_trunc('month', now() at time zone 'utc') + make_interval(months => n), 'YYYY_MM')
    from generate_series(0, 5) n
    union all select 'audit_logs_default'
  $$,
  'partitions are named by their month, and there is a net'
);

create temporary view partition as
  select i.inhrelid::regclass as member from pg_inherits i where i.inhparent = 'public.audit_logs'::regclass;
select set_eq(
  format('select tgname::text collate "default", tgenabled::text from pg_trigger where tgrelid = %L::regclass', member),
  $$ values ('refuse_truncate', 'A'), ('refuse_update_delete', 'A') $$, member || ' has its guards, always enabled'
) from partition;
select is(
  (select count(*) from pg_index i where i.indrelid = member and i.indisunique and i.indkey::text = '1 2 3'), 1::bigint, member || ' has unique entry names'
) from partition;
select is((select i.indkey::text from pg_index i where i.indrelid = member and i.indisreplident), '1 2 3', member || ' is replicated by them') from partition;
select is((select relrowsecurity from pg_class where oid = member), true, member || ' has row level security') from partition;
select is_empty(format('select * from pg_policy where polrelid = %L::regclass', member), member || ' has no policy') from partition;
select is_empty(
  format('select r, p from unnest(array[''anon'', ''authenticated'', ''service_role'']) r, unnest(array[''select'', ''insert'', ''update'', ''delete'', ''truncate'', ''trigger'', ''references'']) p where has_table_privilege(r, %L::regclass, p)', member),
  member || ' is closed to everyone but the owner'
) from partition;

-- The net: what no partition awaited is kept, and its month made from it later.
grant insert on public.audit_logs to postgres;
create temporary table strays as select * from public.audit_logs limit 0;
insert into strays
select (jsonb_populate_record(s.entry, jsonb_build_object('organization_id', gen_random_uuid(), 'created_at', d))).*
from (select a from public.audit_logs a limit 1) s (entry), unnest(array['2019-02-11', '2019-04-30 23:59:59.999999+00']) d;
insert into public.audit_logs select * from strays;
select is((select count(*) from public.audit_logs_default), 2::bigint, 'entries of months without partition are caught');
select is(audit.ensure_partitions(5), 1, 'their months get a partition');
select is((select count(*) from public.audit_logs_2019_02), 2::bigint, 'which is the net itself');
select is((select count(*) from public.audit_logs_default), 0::bigint, 'and a new net is empty');
select bag_eq(
  $$ select created_at, hash from public.audit_logs where created_at < '2020-01-01' $$, 'select created_at, hash from strays', 'no entry is lost or changed'
);
select is(
  (select count(*) from pg_trigger where tgrelid in ('public.audit_logs_default'::regclass, 'public.audit_logs_2019_02'::regclass) and tgenabled = 'A'),
  4::bigint, 'both have their guards'
);
