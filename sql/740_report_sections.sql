-- Sections of particular templates: incident files, what is held about a person, the record of processing, policies.

create or replace function audit.incident_sections(report audit.reports, section text)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_actors jsonb;
begin
  if section = 'timeline' then
    return jsonb_build_array(audit.listing_section(report, 'What happened, in order', '', 2000,
      concat_ws(' ', 'Around entry ' || ((report).parameters ->> 'entry') || '.', 'The evidence pack has all of the entries themselves; where they are more than 10,000, in files beside it that its manifest names.')));
  end if;
  execute format(
    $q$
    select jsonb_agg(jsonb_build_array(audit.user_cell(a.created_by, a.actor_type), a.actor_type, a.n::text, audit.second_text(a.first_at), audit.second_text(a.last_at), a.contexts::text) order by a.n desc, a.created_by)
    from (
      select e.created_by, e.actor_type, count(*) as n, min(e.created_at) as first_at, max(e.created_at) as last_at, count(distinct e.identity_hash) as contexts
      %s group by e.created_by, e.actor_type order by count(*) desc limit 100
    ) a
    $q$, audit.report_source((report).organization_id, audit.report_query(report, ''))
  ) into v_actors;
  return jsonb_build_array(audit.report_table('Who acted',
    '[{"title": "Actor", "width": 4}, {"title": "Kind", "width": 1}, {"title": "Entries", "width": 1, "align": "right"}, {"title": "First", "width": 2}, {"title": "Last", "width": 2}, {"title": "Contexts", "width": 1, "align": "right"}]',
    v_actors, 'Contexts: from how many combinations of address and program they acted.'));
end
$$;

comment on function audit.incident_sections(audit.reports, text) is 'Who acted around an incident, and what happened.';

create or replace function audit.subject_query(user_id uuid)
  returns text
  language sql
  immutable
  parallel safe
  return format('(actor:%1$s or resource_id:%1$s or "%1$s")', user_id);

comment on function audit.subject_query(uuid) is 'The query for every entry about a user: as actor, as resource, or named in the details.';

-- Not through the search index: whose every entry it is would be found there one by one.
create or replace function audit.subject_source(report audit.reports)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select format(
    'from public.audit_logs e where e.organization_id = %1$L and e.created_at >= %2$L and e.created_at < %3$L'
      || ' and (e.created_by = %4$L or e.resource_id = %4$L or e.details::text like %5$L)',
    (report).organization_id, (report).period_from, (report).period_to, (report).subject, '%' || (report).subject || '%'
  )
$$;

comment on function audit.subject_source(audit.reports) is 'From and where of the entries e about a person; what audit.subject_query() finds.';

create or replace function audit.subject_sections(report audit.reports, section text)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_subject audit.subject := audit.find_subject((report).organization_id, (report).subject::text);
  v_rows jsonb;
  v_total bigint;
begin
  case section
    when 'subject' then
      return jsonb_build_array(audit.report_text('Who this is about', array_remove(array[
        'User id: ' || (report).subject,
        'Addresses under which the person acted: ' || coalesce(nullif(array_to_string((v_subject).addresses, ', '), ''), 'none that was theirs alone'),
        'The person is found as actor, as resource, by their id in the details of entries, and in values of columns that are declared personal. Free text that names the person otherwise is not found.',
        'Art. 15(1) asks for more than the data. Purposes, kinds of data, recipients and time limits ((a) to (d)) stand in the record of processing and under retention, as far as the database knows them. The controller adds the rights to rectification, erasure, restriction and objection (e), the right to complain to a supervisory authority (f) and, where there are any, automated decisions (h) and safeguards of transfers (Art. 15(2)). The source (g) is the person''s own use of the application, and what others did about them.',
        'Where an entry shows other persons, their rights are to be kept before it is handed out (Art. 15(4)).'
      ], null)));
    when 'subject_identities' then
      select jsonb_agg(jsonb_build_array(coalesce(i.email, ''), coalesce(i.ip_address, ''), coalesce(i.user_agent, ''), audit.second_text(i.created_at)) order by i.created_at, i.identity_hash), max(i.total)
      into v_rows, v_total
      from (select i.*, count(*) over () as total from audit.identities_of(v_subject) i order by i.created_at, i.identity_hash limit 5000) i;
      return jsonb_build_array(audit.report_table('Contexts in which the person acted',
        '[{"title": "E-mail", "width": 3}, {"title": "IP address", "width": 2}, {"title": "Program", "width": 4}, {"title": "First seen", "width": 2}]', v_rows, null, v_total));
    when 'subject_values' then
      select jsonb_agg(jsonb_build_array(v.resource_type, coalesce(v.resource_id, ''), v.column_name, v.value, audit.second_text(v.created_at)) order by v.created_at, v.value_hash), max(v.total)
      into v_rows, v_total
      from (
        select v.*, count(*) over () as total from audit.personal_values v
        where v.organization_id = (report).organization_id and audit.is_value_of(v, v_subject)
        order by v.created_at, v.value_hash limit 5000
      ) v;
      return jsonb_build_array(audit.report_table('Personal values of records about the person',
        '[{"title": "Kind", "width": 2}, {"title": "Record", "width": 3}, {"title": "Column", "width": 2}, {"title": "Value", "width": 4}, {"title": "Recorded", "width": 2}]', v_rows, null, v_total));
    else
      execute format('select count(*) %s', audit.subject_source(report)) into v_total;
      execute format(
        'select jsonb_agg(audit.report_item(i) order by i.created_at, i.chain, i.seq) from (select e.* %s order by e.created_at, e.chain, e.seq limit 1000) i',
        audit.subject_source(report)
      ) into v_rows;
      return jsonb_build_array(jsonb_build_object(
        'kind', 'entries', 'title', 'Entries about the person', 'query', audit.report_query(report, audit.subject_query((report).subject)),
        'note', 'As actor, as resource, or named in the details. The evidence pack has all of the entries themselves; where they are more than 10,000, in files beside it that its manifest names.',
        'total', v_total, 'items', coalesce(v_rows, '[]')
      ));
  end case;
end
$$;

comment on function audit.subject_sections(audit.reports, text) is 'What the log holds about a person (GDPR Art. 15).';

-- Art. 30(1): what a record of processing contains, for this processing, as far as the database knows it.
create or replace function audit.processing_section(report audit.reports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select audit.report_table(
    'Record of this processing (Art. 30(1))', '[{"title": "Item", "width": 2}, {"title": "For the audit log", "width": 6}]',
    jsonb_build_array(
      jsonb_build_array('(a) controller', 'To be filled in: name and contact of the controller, the representative and the data protection officer.'),
      jsonb_build_array('(b) purposes', 'To show who did what and when, to find and prove misuse, and to demonstrate compliance.'),
      jsonb_build_array('(c) persons and data', format(
        'Users of the application: user id, e-mail address, IP address (%s), user agent, their actions. Columns that are committed to and kept apart: %s.',
        audit.setting('ip_addresses', (report).organization_id) #>> '{}',
        coalesce((
          select string_agg(format('%s.%s', t.table_name, c.key), ', ' order by t.table_name::text, c.key)
          from audit.tracked_tables t cross join lateral jsonb_each_text(t.plan -> 'columns') c where c.value = 'personal'
        ), 'none')
      )),
      jsonb_build_array('(d) recipients', format('Admins of the organisation, auditors (%s now), whoever is given exports and reports.', (
        select count(*) from audit.auditors a where a.organization_id = (report).organization_id and a.expires_at > (report).requested_at
      ))),
      jsonb_build_array('(e) third countries', 'To be filled in: where the Supabase project, its Storage and receivers of checkpoints are. Checkpoints hold no personal data.'),
      jsonb_build_array('(f) time limits', format(
        'Entries: %s days in the database, %s in the archive; addresses go with the last entry that commits to them, or at erasure.',
        coalesce(r.database_days::text, 'unlimited'), coalesce(r.archive_days::text, 'unlimited')
      )),
      jsonb_build_array('(g) security measures', 'Row level security by role; hash chains and signed checkpoints; addresses apart from entries, by salted commitments; encrypted backups; every reading of the log is an entry.'),
      jsonb_build_array('What is recorded', coalesce((
        select string_agg(t.table_name::text, ', ' order by t.table_name::text) from audit.tracked_tables t
      ), 'no table')),
      jsonb_build_array('Text of queries', case when audit.setting('query_text', (report).organization_id) = 'true' then 'recorded' else 'not recorded' end)
    ),
    'What the controller alone knows is marked to be filled in.'
  )
  from audit.retention_of((report).organization_id) r
$$;

comment on function audit.processing_section(audit.reports) is 'The record of processing of the audit log (GDPR Art. 30), filled in as far as the database knows it.';

create or replace function audit.policy_section(report audit.reports, section text)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select case policy_section.section
    when 'policy_access' then audit.report_text('Who can see the audit log', array[
      'Purpose. This policy says who may read the audit log, and on whose decision.',
      format('Admins of the organisation (%s now) read all entries with e-mail and IP addresses. Members read their own activity. Viewers read nothing.', (select count(*) from audit.known_members((report).organization_id) m where m.role = 'admin')),
      format('Auditors from outside (%s now) read all entries, read-only and until a date; addresses only where the grant says so. An admin grants and revokes it.', (select count(*) from audit.auditors a where a.organization_id = (report).organization_id and a.expires_at > (report).requested_at)),
      'Nobody can change or delete entries; the application''s roles cannot write the log. The database''s owner is watched by checkpoints, not kept out.',
      'Every search, view and export of the log is itself an entry. Roles are reviewed every quarter by the report “Access review”.'
    ])
    when 'policy_retention' then audit.report_text('How long the audit log is kept', array[
      format('Entries stay in the database for %s and in the archive for %s.', coalesce(r.database_days || ' days', 'an unlimited time'), coalesce(r.archive_days || ' days', 'an unlimited time')),
      format('Shortening a period takes effect after %s days, so that it can be seen and taken back. A legal hold stops all deletion; only an admin places and releases it.', audit.setting('shorten_retention_after', (report).organization_id)),
      format('Encrypted backups are kept for %s days. Exports are kept for 30 days.', audit.setting('backup_days')),
      format('IP addresses are kept %s. The text of queries is %s.', case audit.setting('ip_addresses', (report).organization_id) #>> '{}' when 'on' then 'whole' when 'truncated' then 'shortened to their network' else 'not at all' end, case when audit.setting('query_text', (report).organization_id) = 'true' then 'recorded' else 'not recorded' end),
      'A person is erased on request (Art. 17 GDPR) by an admin, who records the ground; entries keep the user id and commitments that nobody can open any more.'
    ])
    when 'policy_investigation' then audit.report_text('What sets off an investigation', array[
      'A failed check of the log (verification.failed); a table that is no longer captured (capture.untracked); a shortened period of retention (retention.changed); an alert of severity high or critical.',
      'Repeated refused attempts (outcome denied) or failed sign-ins of one person or from one address; a change of roles, keys or budgets past the application (actor_type database); spending out of proportion.',
      'Whoever finds one tells: (name, how to reach). The first step is an incident file (report “incident”) around the entry, and a legal hold where evidence may be needed.'
    ])
    else audit.report_text('How we respond', array[
      '1. Establish: make the incident file; note when we became aware, for periods begin then.',
      '2. Contain: revoke keys and sessions, remove roles; each is an entry by itself.',
      '3. Preserve: place a legal hold; keep the newest checkpoint outside; export the period with its signed manifest.',
      '4. Assess: which data, whose, since when. A personal data breach is notified to the supervisory authority within 72 hours of becoming aware where feasible (Art. 33 GDPR), unless a risk is unlikely; persons are told where the risk is high (Art. 34).',
      '5. Learn: what was not captured, which rule would have found it earlier; change it, and record that.',
      'Responsible: (name). Deputy: (name). Approved on: (date) by: (name).'
    ])
  end
  from audit.retention_of((report).organization_id) r
$$;

comment on function audit.policy_section(audit.reports, text) is 'A draft policy with the settings in force.';

create or replace function audit.month_section(report audit.reports)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_rows jsonb;
begin
  execute format(
    $q$
    select jsonb_agg(jsonb_build_array(m.month, m.n::text, m.denied::text, m.people::text, coalesce(m.cost, 0)::text) order by m.month)
    from (
      select to_char(e.created_at at time zone 'utc', 'YYYY-MM') as month, count(*) as n, count(*) filter (where e.outcome = 'denied') as denied,
        count(distinct e.created_by) as people, sum(e.cost) filter (where e.cost < 'Infinity' and e.cost > '-Infinity') as cost
      %s group by 1
    ) m
    $q$, audit.report_source((report).organization_id, audit.report_query(report, ''))
  ) into v_rows;
  return audit.report_table('Month by month',
    '[{"title": "Month", "width": 2}, {"title": "Entries", "width": 1, "align": "right"}, {"title": "Denied", "width": 1, "align": "right"}, {"title": "People", "width": 1, "align": "right"}, {"title": "Cost", "width": 2, "align": "right"}]', v_rows);
end
$$;

comment on function audit.month_section(audit.reports) is 'A year by months.';

create or replace function audit.report_sections(report audit.reports, section text)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select case
    when section like 'control:%' then jsonb_build_array(audit.control_section(report, substr(section, 9)::int))
    when section like 'policy%' then jsonb_build_array(audit.policy_section(report, section))
    when section like 'subject%' then audit.subject_sections(report, section)
    else case section
      when 'overview' then audit.overview_sections(report)
      when 'coverage' then audit.coverage_sections(report)
      when 'retention' then jsonb_build_array(audit.retention_section(report), audit.listing_section(report, 'What was changed, held and let go of', '(action:retention.changed or action:hold.* or action:log.purged)', 200))
      when 'processing' then jsonb_build_array(audit.processing_section(report))
      when 'members' then jsonb_build_array(audit.member_section(report))
      when 'auditors' then jsonb_build_array(audit.auditor_section(report))
      when 'member_changes' then jsonb_build_array(audit.listing_section(report, 'Changes of access', '(action:member.* or action:permission.* or action:auditor.*)', 500))
      when 'cost_summary' then jsonb_build_array(audit.cost_section(report, 'Costs by provider and model', '{provider,model}', 200))
      when 'cost_days' then jsonb_build_array(audit.cost_section(report, 'Costs by day', '{day}', 400))
      when 'cost_people' then jsonb_build_array(audit.cost_section(report, 'Costs by person', '{user}', 200))
      when 'months' then jsonb_build_array(audit.month_section(report))
      when 'actors' then audit.incident_sections(report, section)
      when 'timeline' then audit.incident_sections(report, section)
      when 'checkpoints' then jsonb_build_array(audit.checkpoint_section(report))
      when 'verification' then jsonb_build_array(audit.finding_section(report))
      when 'heartbeats' then jsonb_build_array(audit.heartbeat_section(report))
    end
  end
$$;

comment on function audit.report_sections(audit.reports, text) is 'What one step of a report gathers: a list of sections.';
