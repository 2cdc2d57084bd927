-- The queue of reports: who may ask for what, the steps, and what became of the files. The job "reports" claims one at a time.
--
--   queued → running   a worker has it, until its lease is over; each step is kept, so the next worker goes on there
--   → done             its files are stored and their manifest is signed; a report.generated entry says so
--   → queued           a person whose address its files show was erased: they are made again, without
--   → withdrawn        the person whom it is about was erased: its files go

create or replace function audit.report_period(
  unit text,
  time_zone text,
  at timestamptz,
  out period_from timestamptz,
  out period_to timestamptz
)
  language sql
  stable
  set search_path = ''
as $$
  select case
      when unit in ('all') then timestamptz '1970-01-01 00:00:00+00'
      when unit in ('now', 'day') then date_trunc('day', at at time zone time_zone) at time zone time_zone
      else (date_trunc(unit, at at time zone time_zone) - case unit when 'quarter' then interval '3 months' else ('1 ' || unit)::interval end) at time zone time_zone
    end,
    case when unit in ('all', 'now', 'day') then at else date_trunc(unit, at at time zone time_zone) at time zone time_zone end
$$;

comment on function audit.report_period(text, text, timestamptz) is 'The last whole month, quarter or year before a time; for what has no period, up to that time.';

create or replace function audit.report_steps(template text)
  returns text[]
  language sql
  stable
  set search_path = ''
as $$
  select array_agg(s.step order by u.n, s.n)
  from audit.report_templates t
  cross join lateral unnest(t.sections) with ordinality u (section, n)
  cross join lateral (
    select 'control:' || c.n as step, c.n from audit.report_controls c where u.section = 'controls' and c.template = t.template
    union all
    select u.section, 0 where u.section <> 'controls'
  ) s
  where t.template = report_steps.template
$$;

comment on function audit.report_steps(text) is 'The steps in which a report of a template is gathered.';

create or replace function audit.add_report(report audit.reports)
  returns uuid
  language plpgsql
  set search_path = ''
as $$
begin
  report.id := gen_random_uuid();
  report.requested_at := clock_timestamp();
  report.steps := audit.report_steps(report.template);
  insert into audit.reports (
    id, organization_id, template, parameters, period_from, period_to, requested_by, requested_at, schedule, steps, subject
  ) values (
    report.id, report.organization_id, report.template, coalesce(report.parameters, '{}'), report.period_from, report.period_to,
    report.requested_by, report.requested_at, report.schedule, report.steps, report.subject
  );
  return report.id;
end
$$;

comment on function audit.add_report(audit.reports) is 'Puts a report in the queue.';

create or replace function audit.requested_instant(request jsonb, name text)
  returns timestamptz
  language plpgsql
  stable
  set search_path = ''
  set timezone = 'UTC'
as $$
begin
  if coalesce(request ->> name, '') !~ '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$' then
    if request ->> name is null then
      return null;
    end if;
    raise invalid_datetime_format;
  end if;
  return (request ->> name)::timestamptz;
exception when invalid_datetime_format or datetime_field_overflow then
  perform audit.fail('AUARG', format('"%s" is no date and no time.', name), null, 'Write 2026-03-01 or 2026-03-01T12:00:00Z.');
end
$$;

comment on function audit.requested_instant(jsonb, text) is 'A date (its beginning, UTC) or time of a request; null where it is left out.';

create or replace function audit.request_report(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- reports are written through these functions only
  set search_path = ''
as $$
declare
  v_report audit.reports;
  v_template audit.report_templates;
  v_entry public.audit_logs;
  v_at timestamptz;
  v_minutes int;
  v_subject audit.subject;
begin
  perform audit.check_request(request, array['organization_id', 'template', 'from', 'to', 'subject', 'entry', 'actor', 'at', 'minutes']);
  v_report.organization_id := audit.requested_organization(request);
  if audit.reach(v_report.organization_id) is distinct from 'all' then
    perform audit.fail('AUDEN', 'Reports are for admins and auditors of the organisation.');
  end if;
  select t.* into v_template from audit.report_templates t where t.template = request ->> 'template';
  if v_template.template is null then
    perform audit.fail('AUARG', format('There is no report "%s".', left(request ->> 'template', 50)), null,
      'Reports are ' || (select string_agg(t.template, ', ' order by t.template) from audit.report_templates t) || '.');
  elsif v_template.template <> 'incident' and request ?| array['entry', 'actor', 'at', 'minutes']
    or v_template.template <> 'subject_access' and request ? 'subject'
  then
    perform audit.fail('AUARG', 'This report takes no such field.', null, 'entry, actor, at and minutes are of incident, subject is of subject_access.');
  end if;
  v_report.template := v_template.template;
  v_report.requested_by := auth.uid();
  v_report.parameters := '{}';
  v_report.period_from := audit.requested_instant(request, 'from');
  v_report.period_to := audit.requested_instant(request, 'to');

  if v_template.template = 'subject_access' then
    perform audit.require_admin(v_report.organization_id);
    v_subject := audit.find_subject(v_report.organization_id, request ->> 'subject');
    if (v_subject).user_id is null then
      perform audit.fail('AUNOT', 'No user of this address is known in the organisation''s log.', null, 'Name the person by user id.');
    end if;
    v_report.subject := (v_subject).user_id;
    v_report.parameters := jsonb_build_object('subject', v_report.subject);
  elsif v_template.template = 'incident' then
    if coalesce(request ->> 'minutes', '60') !~ '^\d{1,5}$' or coalesce(request ->> 'minutes', '60')::int not between 1 and 10080 then
      perform audit.fail('AUARG', 'minutes is a whole number from 1 to 10,080, a week: so much before and after.');
    end if;
    v_minutes := coalesce(request ->> 'minutes', '60')::int;
    v_at := audit.requested_instant(request, 'at');
    if request ? 'entry' then
      v_entry := audit.find_entry(v_report.organization_id, request ->> 'entry');
      v_at := v_entry.created_at;
      v_report.parameters := jsonb_build_object('entry', request ->> 'entry');
    end if;
    if request ? 'actor' then
      if audit.as_uuid(request ->> 'actor') is null then
        perform audit.fail('AUARG', 'actor is a user id.');
      end if;
      v_report.parameters := v_report.parameters || jsonb_build_object('actor', audit.as_uuid(request ->> 'actor'));
    end if;
    if v_at is not null then
      v_report.period_from := coalesce(v_report.period_from, v_at - make_interval(mins => v_minutes));
      v_report.period_to := coalesce(v_report.period_to, least(v_at + make_interval(mins => v_minutes), clock_timestamp()));
    elsif v_report.period_from is null then
      perform audit.fail('AUARG', 'An incident file is around an entry, a time (at), or within a period (from, to).');
    end if;
  end if;
  if v_report.period_from is null then
    if v_report.period_to is not null then
      perform audit.fail('AUARG', 'A period has a beginning: from.');
    end if;
    select p.* into v_report.period_from, v_report.period_to from audit.report_period(v_template.period, 'UTC', clock_timestamp()) p;
  end if;
  v_report.period_to := coalesce(v_report.period_to, clock_timestamp());
  if v_report.period_from >= v_report.period_to then
    perform audit.fail('AUARG', 'The period is empty: it begins when or after it ends.');
  elsif v_report.period_to > clock_timestamp() then
    perform audit.fail('AUARG', 'The period ends in the future.', null, 'What has not happened cannot be reported: end it today at the latest.');
  elsif v_report.period_from < timestamptz '1970-01-01 00:00:00+00' then
    perform audit.fail('AUARG', 'The period begins before 1970.');
  end if;
  v_report.id := audit.add_report(v_report);
  if v_report.subject is not null then
    perform audit.record(v_report.organization_id, 'subject.accessed', 'user', v_report.subject::text, jsonb_build_object('report', v_report.id));
  end if;
  return audit.report_status(jsonb_build_object('report', v_report.id));
end
$$;

comment on function audit.request_report(jsonb) is
  'Asks for a report: {"template", "organization_id", "from", "to"}, for admins and auditors. Without a period, the last whole
one. incident takes entry, actor, at and minutes; subject_access takes subject, and is for admins.';

create or replace function audit.find_report(id uuid)
  returns audit.reports
  language plpgsql
  stable
  security definer -- reports are shown to whoever reads all of the organisation's log
  set search_path = ''
as $$
declare
  v_report audit.reports;
begin
  select r.* into v_report from audit.reports r where r.id = find_report.id;
  if v_report.id is null or audit.reach(v_report.organization_id) is distinct from 'all'
    -- Addresses, and what is held about a person, are not for auditors who do not see identities.
    or not audit.sees_identities(v_report.organization_id) and (v_report.subject is not null or v_report.requested_by is distinct from auth.uid())
  then
    perform audit.fail('AUNOT', 'There is no such report that you may see.');
  end if;
  return v_report;
end
$$;

comment on function audit.find_report(uuid) is 'A report that the caller may see; raises AUNOT else.';

create or replace function audit.sees_identities(organization_id uuid, user_id uuid default auth.uid(), is_person boolean default auth.uid() is not null)
  returns boolean
  language sql
  stable
  security definer -- reads roles and grants on behalf of callers who may not
  set search_path = ''
as $$
  select not sees_identities.is_person
    or exists (select from audit.memberships(sees_identities.user_id) m where m.organization_id = sees_identities.organization_id and m.role = 'admin')
    or exists (
      select from audit.auditors a
      where a.organization_id = sees_identities.organization_id and a.user_id = sees_identities.user_id
        and a.expires_at > clock_timestamp() and a.sees_identities
    )
$$;

comment on function audit.sees_identities(uuid, uuid, boolean) is 'Whether somebody may see e-mail and IP addresses of others; the database and the clock may.';

create or replace function audit.requested_report(request jsonb)
  returns uuid
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if audit.as_uuid(request ->> 'report') is null then
    perform audit.fail('AUARG', 'report is the UUID of a report.');
  end if;
  return (request ->> 'report')::uuid;
end
$$;

comment on function audit.requested_report(jsonb) is 'The id of the report that a request is about.';

create or replace function audit.report_json(report audit.reports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'id', (report).id, 'organization_id', (report).organization_id, 'template', (report).template, 'title', t.title,
    'parameters', (report).parameters, 'from', audit.instant_text((report).period_from), 'to', audit.instant_text((report).period_to),
    'requested_by', (report).requested_by, 'requested_at', audit.instant_text((report).requested_at), 'schedule', (report).schedule,
    'state', (report).state, 'steps_done', (report).done, 'steps', cardinality((report).steps), 'error', (report).error,
    'generated_at', audit.instant_text((report).generated_at),
    'content_sha256', encode(sha256(convert_to((report).content, 'UTF8')), 'hex'),
    'files', case (report).state when 'done' then (report).files else '[]' end
  )
  from audit.report_templates t
  where t.template = (report).template
$$;

comment on function audit.report_json(audit.reports) is 'A report as the API shows it.';

create or replace function audit.report_status(request jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  perform audit.check_request(request, array['report']);
  return audit.shown_report(audit.find_report(audit.requested_report(request)));
end
$$;

comment on function audit.report_status(jsonb) is 'How far a report is, and its files.';

create or replace function audit.shown_report(report audit.reports)
  returns jsonb
  language sql
  stable
  security definer -- the title is in a table that callers do not read
  set search_path = ''
as $$
  select audit.report_json(report)
$$;

comment on function audit.shown_report(audit.reports) is 'audit.report_json() for whoever has found the report.';

create or replace function audit.list_reports(request jsonb default '{}')
  returns jsonb
  language plpgsql
  stable
  security definer -- reads reports of organisations whose whole log the caller reads
  set search_path = ''
as $$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  if audit.reach(v_organization) is distinct from 'all' then
    perform audit.fail('AUDEN', 'Reports are for admins and auditors of the organisation.');
  end if;
  return jsonb_build_object('organization_id', v_organization, 'reports', coalesce((
    select jsonb_agg(audit.report_json(r) order by r.requested_at desc)
    from (
      select r.* from audit.reports r
      where r.organization_id = v_organization
        and (audit.sees_identities(v_organization) or r.subject is null and r.requested_by is not distinct from auth.uid())
      order by r.requested_at desc limit 100
    ) r
  ), '[]'));
end
$$;

comment on function audit.list_reports(jsonb) is 'The newest reports of an organisation.';

create or replace function audit.signed_report(request jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_report audit.reports;
begin
  perform audit.check_request(request, array['report']);
  v_report := audit.find_report(audit.requested_report(request));
  if v_report.state <> 'done' then
    perform audit.fail('AUPND', format('The report is %s.', v_report.state), null, 'Its manifest is signed when its files are made: ask again then.');
  end if;
  return jsonb_build_object('manifest', v_report.manifest, 'note', v_report.manifest_note);
end
$$;

comment on function audit.signed_report(jsonb) is 'The manifest of a report to the byte, and its signature; AUPND while it is not made.';

-- For the job -------------------------------------------------------------------------------------------------------------

create or replace function audit.claim_report(lease interval default '3 minutes')
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_report audit.reports;
begin
  perform audit.fail_report(r.id, r.attempts, 'Three attempts at one step ended without an answer.', false)
  from audit.reports r
  where r.state = 'running' and r.lease_until < clock_timestamp() and r.attempts >= 3;
  update audit.reports r set state = 'running', lease_until = clock_timestamp() + claim_report.lease, attempts = r.attempts + 1
  where r.id = (
    select w.id from audit.reports w
    where w.state = 'queued' or w.state = 'running' and w.lease_until < clock_timestamp()
    order by w.requested_at
    limit 1
    for update skip locked
  )
  returning r.* into v_report;
  if v_report.id is null then
    return null;
  elsif v_report.requested_by is not null and not exists (
    -- With the rights of who asked, of the moment.
    select from audit.memberships(v_report.requested_by) m where m.organization_id = v_report.organization_id and m.role = 'admin'
    union all
    select from audit.auditors a
    where a.organization_id = v_report.organization_id and a.user_id = v_report.requested_by and a.expires_at > clock_timestamp()
      and v_report.subject is null
  ) and v_report.generated_at is null then
    perform audit.fail_report(v_report.id, v_report.attempts, 'Who asked for it no longer reads all of the organisation''s log.', false);
    return audit.claim_report(claim_report.lease);
  end if;
  return jsonb_build_object('report', v_report.id, 'attempt', v_report.attempts, 'gathered', v_report.content is not null);
end
$$;

comment on function audit.claim_report(interval) is 'Takes a report from the queue for a while; null if none waits. For audit-jobs.';

create or replace function audit.gather_report(id uuid, attempt int)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_report audit.reports;
  v_step text;
  v_verified record;
  v_done boolean := true;
begin
  select r.* into v_report from audit.reports r
  where r.id = gather_report.id and r.state = 'running' and r.attempts = gather_report.attempt
  for update;
  if v_report.id is null then
    perform audit.fail('AULSE', 'Another run has the report, or nobody wants it any more.');
  end if;
  v_step := v_report.steps[v_report.done + 1];
  if v_step = 'integrity' then
    v_verified := audit.verify_for_report(v_report);
    v_report := v_verified.report;
    v_done := v_verified.is_done;
  elsif v_step is not null then
    v_report.sections := v_report.sections || audit.report_sections(v_report, v_step);
  end if;
  if v_done then
    v_report.done := least(v_report.done + 1, cardinality(v_report.steps));
  end if;
  if v_report.done = cardinality(v_report.steps) then
    v_report.content := jsonb_build_object(
      'version', 1, 'template', v_report.template, 'organization_id', v_report.organization_id, 'parameters', v_report.parameters,
      'from', audit.instant_text(v_report.period_from), 'to', audit.instant_text(v_report.period_to), 'sections', v_report.sections
    )::text;
  end if;
  update audit.reports r set
    done = v_report.done, sections = v_report.sections, resume = v_report.resume, content = v_report.content,
    lease_until = clock_timestamp() + interval '3 minutes', attempts = 1
  where r.id = v_report.id;
  return jsonb_build_object('attempt', 1, 'gathered', v_report.content is not null);
end
$$;

comment on function audit.gather_report(uuid, int) is 'Gathers the next section of a report; says whether all are there. For audit-jobs.';

create or replace function audit.report_named(report audit.reports)
  returns table (organization_id uuid, chain int, seq bigint, created_at timestamptz)
  language sql
  stable
  set search_path = ''
as $$
  select distinct case when (s.value ->> 'of_system')::boolean then audit.system_organization() else (report).organization_id end,
    split_part(i ->> 'name', '-', 1)::int, split_part(i ->> 'name', '-', 2)::bigint, (i ->> 'at')::timestamptz
  from jsonb_array_elements((report).sections) s
  cross join lateral (
    select jsonb_path_query(s.value, '$.items[*]') as i
    union all select jsonb_path_query(s.value, '$.sample.items[*]')
    union all select jsonb_path_query(s.value, '$.exceptions.items[*]')
  ) n
$$;

comment on function audit.report_named(audit.reports) is 'The entries that a report lists: samples, exceptions, changes, what happened.';

-- An incident, or a person, whole; other reports are about what they list.
create or replace function audit.report_population(report audit.reports)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select case
    when (report).subject is not null then audit.subject_source(report)
    when (report).template = 'incident' then audit.report_source((report).organization_id, audit.report_query(report, ''))
  end
$$;

comment on function audit.report_population(audit.reports) is
  'From and where of the entries e that the evidence of a report has all of; null where it has what the report lists.';

create or replace function audit.report_line(entry public.audit_logs)
  returns text
  language sql
  stable
  parallel safe
  set search_path = ''
as $$
  select concat('{"hash":"', encode(entry.hash, 'hex'), '","entry":', audit.entry_text(entry), '}')
$$;

comment on function audit.report_line(public.audit_logs) is 'An entry as evidence: a line of JSON with the exact text that was hashed.';

-- What does not go into the pack (a function has 256 MB and 2 s) lies beside it, in as many files as it takes. Each is
-- noted when it is stored, so a run that ends leaves what the next goes on with.
create or replace function audit.next_report_part(id uuid, attempt int, most_in_pack int, at_most int)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_report audit.reports;
  v_source text;
  v_after audit.position;
  v_last audit.position;
  v_first text;
  v_entries bigint;
begin
  select r.* into v_report from audit.reports r
  where r.id = next_report_part.id and r.state = 'running' and r.attempts = next_report_part.attempt;
  if v_report.id is null then
    perform audit.fail('AULSE', 'Another run has the report, or nobody wants it any more.');
  end if;
  v_source := audit.report_population(v_report);
  if v_source is null or v_report.parts = '[]' and most_in_pack >= (
    select max((s ->> 'total')::bigint) from jsonb_array_elements(v_report.sections) s where s ->> 'kind' = 'entries'
  ) then
    return null;
  end if;
  if v_report.parts <> '[]' then
    v_after := jsonb_populate_record(null::audit.position, v_report.parts #> '{-1,until}');
    v_source := v_source || ' and ' || audit.position_condition('e', '>', v_after);
  end if;
  execute format(
    $q$
    with part as materialized (select e.created_at, e.chain, e.seq %s order by e.created_at, e.chain, e.seq limit %L),
    ends as (
      (select p.*, true as is_first from part p order by p.created_at, p.chain, p.seq limit 1)
      union all
      (select p.*, false from part p order by p.created_at desc, p.chain desc, p.seq desc limit 1)
    )
    select (select count(*) from part), max(e.chain || '-' || e.seq) filter (where e.is_first),
      max(e.created_at) filter (where not e.is_first), max(e.chain) filter (where not e.is_first), max(e.seq) filter (where not e.is_first)
    from ends e
    $q$, v_source, at_most
  ) into v_entries, v_first, v_last.created_at, v_last.chain, v_last.seq;
  if v_entries = 0 then
    return null;
  end if;
  return jsonb_build_object(
    'name', format('entries-%s.ndjson', to_char(jsonb_array_length(v_report.parts) + 1, 'FM0000')),
    'folder', concat(v_report.organization_id, '/', v_report.id), 'entries', v_entries,
    'first', v_first, 'last', v_last.chain || '-' || v_last.seq, 'until', to_jsonb(v_last),
    -- As bytes, which no quoting touches: entries are JSON and hold neither.
    'copy', format(
      'copy (select audit.report_line(e) %s and %s order by e.created_at, e.chain, e.seq) to stdout with (format csv, quote E''\x01'', delimiter E''\x02'')',
      v_source, audit.position_condition('e', '<=', v_last)
    )
  );
end
$$;

comment on function audit.next_report_part(uuid, int, int, int) is
  'The entries of a report that are to be stored next beside its evidence pack, as a COPY; null where all are, or they go into
the pack. For audit-jobs.';

create or replace function audit.add_report_part(id uuid, attempt int, part jsonb)
  returns int
  language plpgsql
  set search_path = ''
as $$
begin
  update audit.reports r set parts = r.parts || add_report_part.part, lease_until = clock_timestamp() + interval '3 minutes', attempts = 1
  where r.id = add_report_part.id and r.state = 'running' and r.attempts = add_report_part.attempt;
  if not found then
    perform audit.fail('AULSE', 'Another run has the report, or nobody wants it any more.');
  end if;
  return 1;
end
$$;

comment on function audit.add_report_part(uuid, int, jsonb) is 'Notes that a part of a report''s entries is stored; answers the attempt from here on. For audit-jobs.';

drop function if exists audit.report_lines(uuid, int); -- of the first release

create or replace function audit.report_lines(id uuid)
  returns setof text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_report audit.reports;
  v_source text;
begin
  select r.* into strict v_report from audit.reports r where r.id = report_lines.id;
  v_source := audit.report_population(v_report);
  if v_report.parts <> '[]' then
    return; -- they lie beside the pack
  elsif v_source is not null then
    return query execute format('select audit.report_line(e) %s order by e.created_at, e.chain, e.seq', v_source);
  else
    return query
      select audit.report_line(a)
      from audit.report_named(v_report) n
      join public.audit_logs a
        on a.organization_id = n.organization_id and a.chain = n.chain and a.seq = n.seq and a.created_at = n.created_at
      order by a.created_at, a.chain, a.seq;
  end if;
end
$$;

comment on function audit.report_lines(uuid) is 'The entries in a report''s evidence pack, a line each.';

create or replace function audit.report_to_render(id uuid, attempt int)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_report audit.reports;
  v_template audit.report_templates;
  v_users uuid[];
  v_shows boolean;
begin
  select r.* into v_report from audit.reports r
  where r.id = report_to_render.id and r.state = 'running' and r.attempts = report_to_render.attempt and r.content is not null
  for update;
  if v_report.id is null then
    perform audit.fail('AULSE', 'Another run has the report, or nobody wants it any more.');
  end if;
  select t.* into v_template from audit.report_templates t where t.template = v_report.template;
  v_shows := audit.sees_identities(v_report.organization_id, v_report.requested_by, v_report.requested_by is not null)
    -- Who is told of it can read it.
    and not exists (select from audit.report_channels(v_report) c where not c.personal);
  v_users := case when v_shows then array(
    select distinct audit.as_uuid(u #>> '{}')
    from (
      select jsonb_path_query(v_report.sections, '$.**.user') as u
      union all select jsonb_path_query(v_report.sections, '$.**.actor')
      union all select to_jsonb(v_report.requested_by)
    ) u
    where jsonb_typeof(u) = 'string'
  ) end;
  -- Noted before they are shown: whoever is erased from here on has the files made again.
  update audit.reports r set names = coalesce(v_users, '{}') where r.id = v_report.id;
  return jsonb_build_object(
    'content', v_report.content, 'content_sha256', encode(sha256(convert_to(v_report.content, 'UTF8')), 'hex'),
    'report', jsonb_build_object(
      'id', v_report.id, 'title', v_template.title, 'framework', v_template.framework, 'about', v_template.about,
      'organization_id', v_report.organization_id, 'organization', audit.organization_name(v_report.organization_id),
      'requested_by', v_report.requested_by, 'requested_at', audit.instant_text(v_report.requested_at),
      'scheduled', v_report.schedule is not null, 'generated_at', audit.instant_text(clock_timestamp())
    ),
    'people', coalesce((
      select jsonb_agg(jsonb_build_object('user_id', p.user_id, 'email', p.email) order by p.user_id)
      from (
        select distinct on (i.user_id) i.user_id, i.email from audit.identities i
        where i.user_id = any (v_users) and i.organization_id = v_report.organization_id and i.email is not null
        order by i.user_id, i.created_at desc
      ) p
    ), '[]'),
    'integrity', audit.integrity_evidence(v_report),
    'parts', v_report.parts, 'listed', (select count(*) from audit.report_named(v_report)),
    'is_whole', audit.report_population(v_report) is not null,
    'places', coalesce((
      select jsonb_agg(jsonb_build_object('name', n.chain || '-' || n.seq, 'system', n.organization_id <> v_report.organization_id, 'hash', encode(a.hash, 'hex'), 'entry_text', audit.entry_text(a))
        || (p.place - 'checkpoint') || jsonb_build_object('checkpoint', p.place ->> 'checkpoint') order by n.created_at, n.chain, n.seq)
      from (
        select n.* from audit.report_named(v_report) n
        order by n.chain || '-' || n.seq = v_report.parameters ->> 'entry' desc nulls last, n.created_at, n.chain, n.seq limit 400
      ) n
      join public.audit_logs a
        on a.organization_id = n.organization_id and a.chain = n.chain and a.seq = n.seq and a.created_at = n.created_at
      cross join lateral (select audit.place_in_log(n.organization_id, n.chain, n.seq) as place) p
      where p.place is not null
    ), '[]')
  );
end
$$;

comment on function audit.report_to_render(uuid, int) is
  'What the files of a report are made of: content, who the people in it are, how the log stands, and where the listed entries
stand in their logs. For audit-jobs.';

create or replace function audit.organization_name(organization_id uuid)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_name text;
begin
  if to_regclass('public.organizations') is not null then
    execute 'select o.name::text from public.organizations o where o.id::text = $1' into v_name using organization_name.organization_id::text;
  end if;
  return v_name;
exception when undefined_column then
  return null; -- another application's table of that name
end
$$;

comment on function audit.organization_name(uuid) is 'What the application calls an organisation; null where it does not say.';

create or replace function audit.complete_report(id uuid, attempt int, files jsonb, manifest text, note text)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_report audit.reports;
  -- Made again, nobody is told again.
  v_is_first boolean := exists (select from audit.reports r where r.id = complete_report.id and r.generated_at is null);
begin
  update audit.reports r set
    state = 'done', files = complete_report.files, manifest = complete_report.manifest, manifest_note = complete_report.note,
    generated_at = clock_timestamp(), lease_until = null, error = null
  where r.id = complete_report.id and r.state = 'running' and r.attempts = complete_report.attempt
  returning r.* into v_report;
  if v_report.id is null then
    perform audit.fail('AULSE', 'Another run has the report, or nobody wants it any more.');
  end if;
  perform audit.record(v_report.organization_id, 'report.generated', 'report', v_report.id::text, jsonb_strip_nulls(jsonb_build_object(
    'template', v_report.template, 'from', audit.instant_text(v_report.period_from), 'to', audit.instant_text(v_report.period_to),
    'content_sha256', encode(sha256(convert_to(v_report.content, 'UTF8')), 'hex'),
    'manifest_sha256', encode(sha256(convert_to(v_report.manifest, 'UTF8')), 'hex'),
    'requested_by', v_report.requested_by, 'schedule', v_report.schedule
  )));
  if v_is_first then
    perform audit.queue_report(v_report);
    perform audit.settle_finding(v_report.organization_id, 'report_failed', v_report.schedule::text);
  end if;
end
$$;

comment on function audit.complete_report(uuid, int, jsonb, text, text) is
  'Notes that a report''s files are stored, with their signed manifest; leaves a report.generated entry, and has the recipients
of its schedule told. For audit-jobs.';

create or replace function audit.fail_report(id uuid, attempt int, error text, retry boolean)
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_report audit.reports;
begin
  update audit.reports r set
    state = case
      when fail_report.retry and r.attempts < 3 then 'queued'
      -- Files that show somebody who was erased are not kept.
      when r.generated_at is not null then 'withdrawn'
      else 'failed'
    end,
    withdrawn_at = case when not (fail_report.retry and r.attempts < 3) and r.generated_at is not null then clock_timestamp() end,
    error = left(fail_report.error, 500), lease_until = null
  where r.id = fail_report.id and r.state = 'running' and r.attempts = fail_report.attempt
  returning r.* into v_report;
  -- Who asked for a report looks for it; nobody looks for one that a schedule asked for.
  if v_report.state = 'failed' and v_report.schedule is not null then
    perform audit.note_finding(v_report.organization_id, 'report_failed', v_report.schedule::text, jsonb_build_object(
      'report', v_report.id, 'template', v_report.template, 'error', v_report.error
    ));
  end if;
end
$$;

comment on function audit.fail_report(uuid, int, text, boolean) is
  'Notes why a report failed, or puts it back to be tried again; that one of a schedule failed is a finding. For audit-jobs.';

-- Erasure, expiry -----------------------------------------------------------------------------------------------------------

create or replace function audit.withdraw_reports(organization_id uuid, subject uuid)
  returns int
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_withdrawn int;
begin
  update audit.reports r set
    state = 'withdrawn', withdrawn_at = clock_timestamp(), sections = '[]', content = null, files = '[]', manifest = null,
    manifest_note = null, names = '{}', parts = '[]', error = 'Taken back: the person was erased.'
  where r.organization_id = withdraw_reports.organization_id and r.subject = withdraw_reports.subject and r.state <> 'withdrawn';
  get diagnostics v_withdrawn = row_count;
  -- Made again, without; a run that has one now loses it.
  update audit.reports r set state = 'queued', attempts = 0, lease_until = null, names = '{}'
  where r.organization_id = withdraw_reports.organization_id and withdraw_reports.subject = any (r.names) and r.state in ('running', 'done');
  return v_withdrawn;
end
$$;

comment on function audit.withdraw_reports(uuid, uuid) is
  'Takes back reports about a person, and has those made again that show the person''s address; answers how many are taken back.';

create or replace function audit.expired_reports()
  returns table (export uuid, folder text)
  language sql
  stable
  set search_path = ''
as $$
  select r.id, concat(r.organization_id, '/', r.id)
  from audit.reports r
  where (
      r.state = 'withdrawn' and coalesce(r.lease_until, '-infinity') < clock_timestamp()
      or r.state not in ('queued', 'running') and r.requested_at < clock_timestamp() - case
        -- What is held about a person is not kept twice for long; other reports are kept like the archive.
        when r.subject is not null then interval '30 days'
        else make_interval(days => coalesce((audit.retention_of(r.organization_id)).archive_days, 36500))
      end
    ) and not audit.is_held(r.organization_id)
  order by r.requested_at
  limit 1000
$$;

comment on function audit.expired_reports() is 'Reports that are past their time or taken back, and not held; and the folder of bucket audit-exports that goes with each.';

create or replace function audit.forget_reports(reports uuid[])
  returns void
  language sql
  set search_path = ''
as $$
  delete from audit.reports r
  using audit.expired_reports() e
  where r.id = e.export and r.id = any (forget_reports.reports)
$$;

comment on function audit.forget_reports(uuid[]) is 'Forgets expired reports of which Storage has nothing any more.';
