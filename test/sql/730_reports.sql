-- Controls: population, exceptions, and a sample that can be drawn again.
create function pg_temp.report(template text, since interval default '1 day', until interval default '0') returns audit.reports language sql as $$
  select jsonb_populate_record(null::audit.reports, jsonb_build_object(
    'organization_id', tap.acme(), 'template', template, 'period_from', clock_timestamp() - since, 'period_to', clock_timestamp() - until,
    'requested_at', clock_timestamp(), 'parameters', '{}'::jsonb
  ))
$$;
create temporary table r as select pg_temp.report('soc2') as r;
insert into public.api_keys (organization_id, name) select acme(), 'k' || n from generate_series(1, 60) n;
select act_as('admin');
insert into public.api_keys (organization_id, name) select acme(), 'by admin ' || n from generate_series(1, 7) n;
select act_as_owner();
update r set r = pg_temp.report('soc2');
create temporary table s as select audit.control_section(r, 2) as s from r;
select is((s ->> 'population')::int, 68, 'every key that came') from s;
select is((s #>> '{exceptions,count}')::int, 60, 'those past the application') from s;
select is(jsonb_array_length(s #> '{exceptions,items}'), 50, 'of which the oldest are listed') from s;
select is((select count(*) from s, audit.search(s ->> 'query', acme()))::int, 68, 'the query finds the same again');
select is(audit.control_section(r, 2), s, 'the same again') from r, s;
select results_eq(
  $$ select i ->> 'name' from s, jsonb_array_elements(s #> '{sample,items}') i order by 1 $$,
  $$ select name from (
       select a.chain || '-' || a.seq as name from public.audit_logs a, r where a.organization_id = tap.acme() and a.action = 'api_key.added' and a.created_at < (r.r).period_to
       order by sha256(convert_to((select s #>> '{sample,seed}' from s) || ':' || a.chain || '-' || a.seq, 'UTF8')) limit 25
     ) d order by 1 $$, 'drawn as the report says'
);
select isnt(audit.control_section(pg_temp.report('soc2', '2 days'), 2) #> '{sample,seed}', s #> '{sample,seed}', 'another period, another seed') from s;
select is((audit.control_section(pg_temp.report('soc2', '2 days', '1 day'), 2) ->> 'population')::int, 0, 'a period before the first entry is empty');
select matches(audit.control_section(pg_temp.report('soc2', '2 days', '1 day'), 2) ->> 'result', 'No entry of this kind', 'and says what that proves');
select is((audit.control_section(r, 12) ->> 'of_system')::boolean, true, 'backups are the whole project''s') from r;

-- Everything else
select is(jsonb_array_length(audit.overview_sections(r)), 3, 'an overview') from r;
select is((audit.overview_sections(r) #>> '{0,total}')::int, (select count(*)::int from public.audit_logs a where a.organization_id = acme() and a.created_at < (r).period_to), 'counts all') from r;
select is((select sum((d ->> 'count')::int) from jsonb_array_elements(audit.overview_sections(r) #> '{0,days}') d)::int, (audit.overview_sections(r) #>> '{0,total}')::int, 'by day') from r;
select audit.use_membership('public.organization_members');
select set_eq('select user_id, role from audit.known_members(tap.acme()) where user_id in (tap.person(''admin''), tap.person(''member''), tap.person(''viewer''))',
  $$ values (tap.person('admin'), 'admin'), (tap.person('member'), 'member'), (tap.person('viewer'), 'viewer') $$, 'who has which role');
select is_empty('select from audit.known_members(tap.acme()) where user_id = tap.person(''stranger'')', 'nobody of another organisation');
create temporary table m as select row -> 0 ->> 'user' as person, row ->> 1 as role, row ->> 2 as since, row -> 3 as granted, row ->> 5 as use from r, jsonb_array_elements(audit.member_section(r) -> 'rows') row;
select is(use, 'active', 'the admin was active') from m where person = person('admin')::text;
select is(use, 'unused', 'the viewer never is') from m where person = person('viewer')::text;
select is(granted, '"database"', 'as the log says who granted it') from m where person = person('viewer')::text;
select is(jsonb_array_length(audit.auditor_section(r) -> 'rows'), 3, 'auditors') from r;
select is((audit.heartbeat_section(pg_temp.report('attestation')) ->> 'total')::int, 1, 'no heartbeat at all is a gap');
select matches(audit.coverage_sections(r) #>> '{0,paragraphs,0}', 'log begins at', 'a log that begins within the period says so') from r;
select matches(audit.retention_section(r) ->> 'rows', 'for ever', 'retention that nobody has set') from r;
grant insert, delete on audit.chain_bounds to postgres;
insert into audit.chain_bounds (organization_id, chain, seq, hash, created_at) values (acme(), 4000, 1234, '', now() - interval '12 hours');
select matches(audit.coverage_sections(r) #>> '{0,paragraphs}', 'let go of from the database by retention, 1234 in all.*npm run restore', 'a period that reaches into the archive says what is not counted') from r;
select unalike(audit.coverage_sections(pg_temp.report('soc2', '6 hours')) #>> '{0,paragraphs}', '%let go of%', 'one after that does not');
delete from audit.chain_bounds where chain = 4000;

-- Verification in steps
create temporary table v as select (audit.verify_for_report(r)).* from r;
select is(is_done, true, 'all chains') from v;
select is((v.report).resume #>> '{chains,broken}', '[]', 'none broken') from v;
select cmp_ok(((v.report).resume #>> '{chains,verified}')::int, '>', 0, 'are verified') from v;
select is(said(n, format('select audit.%s', f)), '42501', n || ' does not reach ' || f) from unnest(array['admin', 'anon']) n, unnest(array['report_count(tap.acme(), '''')', 'known_members(tap.acme())', 'second_text(now())']) f;
