-- Sections of single templates: incident, person, processing, policies, months.
create function pg_temp.report(template text, parameters jsonb default '{}', subject uuid default null) returns audit.reports language sql as $$
  select jsonb_populate_record(null::audit.reports, jsonb_build_object(
    'organization_id', tap.acme(), 'template', template, 'period_from', clock_timestamp() - interval '1 day', 'period_to', clock_timestamp(),
    'requested_at', clock_timestamp(), 'parameters', parameters, 'subject', subject
  ))
$$;
select audit.use_membership('public.organization_members');
select is(audit.report_sections(pg_temp.report(t.template), u), audit.report_sections(pg_temp.report(t.template), u), t.template || ': ' || u)
from audit.report_templates t, unnest(audit.report_steps(t.template)) u
where t.template in ('policies') and u <> 'integrity';
select is(jsonb_typeof(audit.report_sections(pg_temp.report(t.template, '{}', person('member')), u)), 'array', t.template || ' has ' || u)
from audit.report_templates t, unnest(audit.report_steps(t.template)) u where u <> 'integrity';

-- A person: as actor, as resource, in details, in values
insert into public.organization_members (organization_id, user_id) values (acme(), 'aa000000-0000-4000-8000-00000000000a');
select audit.record(acme(), 'note.written', 'note', 'n', '{"about": "aa000000-0000-4000-8000-00000000000a"}');
select set_config('request.jwt.claims', '{"role": "authenticated", "sub": "aa000000-0000-4000-8000-00000000000a", "email": "aa@acme.example"}', true);
insert into public.budgets (organization_id) values (acme()), (globex());
select act_as_owner();
create temporary table p as select audit.report_sections(pg_temp.report('subject_access', '{}', 'aa000000-0000-4000-8000-00000000000a'), u) -> 0 as s, u from unnest(audit.report_steps('subject_access')) u;
select is((s ->> 'total')::int, 3, 'entries as actor, as resource and in details, of one organisation') from p where u = 'subject_entries';
select is(s #>> '{rows,0,0}', 'aa@acme.example', 'the contexts of the person') from p where u = 'subject_identities';
select is(s #>> '{rows,0,3}', 'member', 'values of columns that are declared personal') from p where u = 'subject_values';
select is((s ->> 'total')::bigint, audit.report_count(acme(), s ->> 'query'), 'the query says the same') from p where u = 'subject_entries';
select matches(s #>> '{paragraphs,0}', 'aa000000', 'who it is about') from p where u = 'subject';

-- Who has the address later is somebody else, and so is whoever has it in another organisation
select set_config('request.jwt.claims', '{"role": "authenticated", "sub": "bb000000-0000-4000-8000-00000000000b", "email": "aa@acme.example"}', true);
insert into public.budgets (organization_id) values (acme());
select set_config('request.jwt.claims', '{"role": "authenticated", "sub": "bb000000-0000-4000-8000-00000000000b", "email": "bb@acme.example"}', true);
insert into public.budgets (organization_id) values (acme());
select act_as_owner();
create temporary table later as select u, audit.report_sections(pg_temp.report('subject_access', '{}', ('bb000000-0000-4000-8000-00000000000b')::uuid), u) -> 0 as s from unnest(audit.report_steps('subject_access')) u;
select is(jsonb_array_length(s -> 'rows'), 2, 'their contexts') from later where u = 'subject_identities';
select is((s ->> 'total')::int, 2, 'and their entries, none of the other''s') from later where u = 'subject_entries';
select is(jsonb_array_length(s -> 'rows'), 0, 'no value that is the other''s') from later where u = 'subject_values';
select matches(s #>> '{paragraphs,1}', 'bb@acme.example$', 'nor the address that both had') from later where u = 'subject';

-- An incident: only what one person did, where that is asked for
select is((audit.incident_sections(pg_temp.report('incident', '{"actor": "aa000000-0000-4000-8000-00000000000a"}'), 'timeline') #>> '{0,total}')::int, 1, 'of one person');
select cmp_ok((audit.incident_sections(pg_temp.report('incident'), 'timeline') #>> '{0,total}')::int, '>', 5, 'else of all');

-- Settings in force are what policies and the record of processing say
select set_retention(acme(), 400, 2555);
select matches(audit.policy_section(pg_temp.report('policies'), 'policy_retention')::text, '400 days in the database and in the archive for 2555 days|database for 400 days and in the archive for 2555 days', 'a period');
select audit.configure('ip_addresses', '"truncated"', acme());
select matches(audit.policy_section(pg_temp.report('policies'), 'policy_retention')::text, 'shortened to their network', 'a setting');
select matches(audit.processing_section(pg_temp.report('gdpr'))::text, 'IP address \(truncated\)', 'in the record of processing too');
select matches(audit.processing_section(pg_temp.report('gdpr'))::text, 'organization_members.role', 'and which columns are personal');
