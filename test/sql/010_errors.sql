-- audit.fail() and the registry of error codes.

create function pg_temp.raised(out code text, out message text, out detail text, out hint text) language plpgsql as $$
begin
  perform audit.fail('AUARG', 'the cause', 'the values', 'the way out');
exception when others then
  get stacked diagnostics code = returned_sqlstate, message = message_text, detail = pg_exception_detail, hint = pg_exception_hint;
end
$$;

select results_eq(
  'select * from pg_temp.raised()',
  $$ values ('AUARG', 'the cause', 'the values', 'the way out') $$,
  'fail() raises code, cause, values and way out'
);
select throws_ok($$ select audit.fail('AUDEN', 'no') $$, 'AUDEN', 'no', 'fail() needs neither detail nor hint');

select is(
  (select count(*) from audit.error_codes), (select count(distinct code) from audit.error_codes), 'no code stands twice'
);
select is(
  (select count(*) from audit.error_codes), (select count(distinct name) from audit.error_codes), 'no name stands twice'
);
select is_empty(
  $$ select * from audit.error_codes where code !~ '^AU[A-Z]{3}$' or http_status not between 400 and 499 or meaning !~ '\.$' $$,
  'codes begin with AU, statuses are the caller''s errors, meanings are sentences'
);
-- The third character is not 0 or P, by which PostgreSQL groups its own; no code is one of those.
select is_empty($$ select * from audit.error_codes where substr(code, 3, 1) in ('0') $$, 'no code collides with PostgreSQL''s');

create temporary view raised_code as
  select distinct m[1] as code
  from pg_proc p
  cross join lateral regexp_matches(p.prosrc, '''(AU[A-Z]{3})''', 'g') m
  where p.pronamespace = 'audit'::regnamespace or p.proname = 'record_audit_event';

select is_empty('select code from raised_code except select code from audit.error_codes', 'every code that is raised is registered');
select is_empty('select code from audit.error_codes except select code from raised_code', 'every code that is registered is raised');
select is_empty(
  $$
    select p.oid::regprocedure from pg_proc p
    where p.pronamespace = 'audit'::regnamespace and p.proname <> 'fail' and p.prosrc ~* 'raise\s+exception'
  $$,
  'every error goes through fail()'
);
