-- Checks of the product's health: each runs, and finds nothing where all is well.

select lives_ok(format('select * from audit.health_check(%L, ''1 hour'')', k), k || ' runs') from jsonb_object_keys(audit.health_checks()) k;
select throws_ok('select * from audit.health_check(''weather'', ''1 hour'')', 'AURUL', null, 'there is no other');
select is_empty($$ select * from audit.health_check('rules', '1 hour') $$, 'nothing waits that long');
select is((select reason -> 'chains' > '0' from audit.health_check('rules', '-1 hour')), true, 'but something waits');
select is_empty($$ select * from audit.health_check('sealing', '-1 hour') $$, 'where nothing was ever sealed, nothing is late');
insert into audit.logs (organization_id, month, origin, sequenced, size, published) values (globex(), '2020-01-01', 'x', 1, 1, 1);
select isnt_empty($$ select * from audit.health_check('sealing', '-1 hour') $$, 'else it is');
alter table public.audit_logs disable trigger refuse_truncate;
select is((select group_key from audit.health_check('capture', '1 hour') where group_key like '%audit_logs%'), '{"table": "public.audit_logs"}', 'a guard that is off, by its table');
