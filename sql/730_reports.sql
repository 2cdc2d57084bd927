-- Reports: asked for, gathered section by section, each in a statement of its own, then made into files by the job "reports".
--
-- What a report says of a period that is over depends on the entries alone, so it is the same however often it is made:
-- `content`, whose SHA-256 stands in the report. It holds user ids and no addresses. Whoever they were, what the log looks like
-- now, and who asked when, stands beside it: so a person who is erased leaves the content, and its hash, as they were.

create table if not exists audit.reports (
  id uuid not null default gen_random_uuid(),
  organization_id uuid not null,
  template text not null,
  parameters jsonb not null default '{}',
  period_from timestamptz not null,
  period_to timestamptz not null,
  requested_by uuid,
  requested_at timestamptz not null default clock_timestamp(),
  schedule uuid,
  state text not null default 'queued',
  steps text[] not null,
  done int not null default 0,
  resume jsonb,
  sections jsonb not null default '[]',
  content text,
  lease_until timestamptz,
  attempts int not null default 0,
  error text,
  names uuid[] not null default '{}',
  subject uuid,
  files jsonb not null default '[]',
  manifest text,
  manifest_note text,
  generated_at timestamptz,
  withdrawn_at timestamptz,
  constraint reports_pkey primary key (id),
  constraint reports_state_known check (state in ('queued', 'running', 'done', 'failed', 'withdrawn'))
);

-- In steps: PostgreSQL 15 adds no column with a default to a table whose row a function takes.
alter table audit.reports add column if not exists parts jsonb;
update audit.reports set parts = '[]' where parts is null;
alter table audit.reports alter column parts set default '[]', alter column parts set not null;

comment on table audit.reports is 'Reports: what was asked for, how far it has come, and what its files are; written by the functions of 730 to 760 only.';
comment on column audit.reports.id is 'Names the report.';
comment on column audit.reports.organization_id is 'About whose log.';
comment on column audit.reports.template is 'After which template.';
comment on column audit.reports.parameters is 'Of an incident: entry, actor, at, minutes. Of a person: the user id.';
comment on column audit.reports.period_from is 'Entries from then on.';
comment on column audit.reports.period_to is 'Entries from before then.';
comment on column audit.reports.requested_by is 'Who asked; null for the clock, or the database.';
comment on column audit.reports.requested_at is 'When.';
comment on column audit.reports.schedule is 'The schedule that asked, if any.';
comment on column audit.reports.state is 'How far it is. Done again after a person was erased, it is queued again.';
comment on column audit.reports.steps is 'What is gathered, in order.';
comment on column audit.reports.done is 'How many steps are done.';
comment on column audit.reports.resume is 'Where a step goes on that takes several.';
comment on column audit.reports.sections is 'What was gathered.';
comment on column audit.reports.content is 'All that was gathered, to the byte; null while it is not whole.';
comment on column audit.reports.lease_until is 'Until when a worker has it.';
comment on column audit.reports.attempts is 'How often a worker has taken it up since it last got on.';
comment on column audit.reports.error is 'Why it failed.';
comment on column audit.reports.names is 'Users whose addresses its files show.';
comment on column audit.reports.subject is 'The user whom a report about a person is about.';
comment on column audit.reports.files is 'Its files in Storage, with size and SHA-256.';
comment on column audit.reports.parts is 'Entries that are too many for the evidence pack: the files beside it that are stored so far.';
comment on column audit.reports.manifest is 'The manifest of its files to the byte.';
comment on column audit.reports.manifest_note is 'The signed note over the manifest''s digest.';
comment on column audit.reports.generated_at is 'When its files were made.';
comment on column audit.reports.withdrawn_at is 'When it was taken back because the person it is about was erased.';

create index if not exists reports_organization_idx on audit.reports (organization_id, requested_at);
create index if not exists reports_waiting_idx on audit.reports (requested_at) where state in ('queued', 'running');

-- What a report about a person holds is erased with the person.
alter table audit.reports alter column sections set statistics 0, alter column content set statistics 0;

revoke all on audit.reports from public, anon, authenticated, service_role;

-- What is needed in many sections ---------------------------------------------------------------------------------------

create or replace function audit.report_query(report audit.reports, query text)
  returns text
  language sql
  stable
  set search_path = ''
  return concat_ws(
    ' ', nullif(query, ''), case when (report).parameters ? 'actor' and (report).template = 'incident' then 'actor:' || ((report).parameters ->> 'actor') end,
    format('created:>=%s created:<%s', audit.instant_text((report).period_from), audit.instant_text((report).period_to))
  );

comment on function audit.report_query(audit.reports, text) is 'A query with the period of a report.';

create or replace function audit.report_source(organization_id uuid, query text)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select audit.matching_sql(report_source.organization_id, audit.compile_query(report_source.organization_id, audit.parse_query(report_source.query)))
$$;

comment on function audit.report_source(uuid, text) is 'From and where of the entries e that a query finds.';

create or replace function audit.report_item(entry public.audit_logs)
  returns jsonb
  language sql
  stable
  parallel safe
  return jsonb_build_object(
    'name', (entry).chain || '-' || (entry).seq, 'at', audit.instant_text((entry).created_at), 'action', (entry).action,
    'outcome', (entry).outcome, 'actor', (entry).created_by, 'actor_type', (entry).actor_type,
    'resource', concat_ws('/', (entry).resource_type, (entry).resource_id), 'hash', encode((entry).hash, 'hex')
  );

comment on function audit.report_item(public.audit_logs) is 'An entry as a report lists it.';

create or replace function audit.second_text(at timestamptz)
  returns text
  language sql
  stable
  parallel safe
  return to_char(at at time zone 'utc', 'YYYY-MM-DD HH24:MI:SS');

comment on function audit.second_text(timestamptz) is 'A time as people read it in a report: UTC, to the second.';

create or replace function audit.report_items(organization_id uuid, query text, at_most int)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_items jsonb;
begin
  execute format(
    'select coalesce(jsonb_agg(audit.report_item(i) order by i.created_at, i.chain, i.seq), ''[]'')'
      || ' from (select e.* %s order by e.created_at, e.chain, e.seq limit %L) i',
    audit.report_source(organization_id, query), at_most
  ) into v_items;
  return v_items;
end
$$;

comment on function audit.report_items(uuid, text, int) is 'The oldest entries that a query finds, as a report lists them.';

create or replace function audit.report_count(organization_id uuid, query text)
  returns bigint
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_count bigint;
begin
  execute format('select count(*) %s', audit.report_source(organization_id, query)) into v_count;
  return v_count;
end
$$;

comment on function audit.report_count(uuid, text) is 'How many entries a query finds.';

create or replace function audit.report_table(title text, columns jsonb, rows jsonb, note text default null, total bigint default null)
  returns jsonb
  language sql
  immutable
  parallel safe
  return jsonb_build_object(
    'kind', 'table', 'title', title, 'columns', columns, 'rows', coalesce(rows, '[]'), 'note', note,
    'total', coalesce(total, jsonb_array_length(coalesce(rows, '[]')))
  );

comment on function audit.report_table(text, jsonb, jsonb, text, bigint) is 'A section that is a table. A cell is text, or {"user": id}; total is of how many rows these are.';

create or replace function audit.report_text(title text, paragraphs text[])
  returns jsonb
  language sql
  immutable
  parallel safe
  return jsonb_build_object('kind', 'text', 'title', title, 'paragraphs', to_jsonb(paragraphs));

comment on function audit.report_text(text, text[]) is 'A section that is text.';

create or replace function audit.user_cell(user_id uuid, otherwise text default '')
  returns jsonb
  language sql
  immutable
  parallel safe
  return case when user_id is null then to_jsonb(otherwise) else jsonb_build_object('user', user_id) end;

comment on function audit.user_cell(uuid, text) is 'A table''s cell that shows a user.';

-- Controls ---------------------------------------------------------------------------------------------------------------

create or replace function audit.control_section(report audit.reports, n int)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_control audit.report_controls;
  v_organization uuid;
  v_query text;
  v_exceptions_query text;
  v_population bigint;
  v_exceptions bigint;
  v_seed text;
  v_sample jsonb;
  v_most constant int := 25;
begin
  select c.* into strict v_control from audit.report_controls c
  where c.template = (report).template and c.n = control_section.n;
  v_organization := case when v_control.of_system then audit.system_organization() else (report).organization_id end;
  v_query := audit.report_query(report, v_control.query);
  v_population := audit.report_count(v_organization, v_query);
  v_exceptions_query := audit.report_query(report, concat_ws(' ', nullif(v_control.query, ''), nullif(v_control.exceptions, v_control.query)));
  if v_control.exceptions is not null then
    v_exceptions := case when v_exceptions_query = v_query then v_population else audit.report_count(v_organization, v_exceptions_query) end;
  end if;
  -- Whoever asks cannot choose the sample: the seed is what is asked for.
  v_seed := left(encode(sha256(convert_to(concat_ws('|', v_organization, v_query), 'UTF8')), 'hex'), 16);
  execute format(
    $q$
    select coalesce(jsonb_agg(audit.report_item(i) order by i.created_at, i.chain, i.seq), '[]')
    from (
      select e.* %s order by sha256(convert_to(%L || e.chain || '-' || e.seq, 'UTF8')) limit %s
    ) i
    $q$, audit.report_source(v_organization, v_query), v_seed || ':', v_most
  ) into v_sample;
  return jsonb_build_object(
    'kind', 'control', 'title', v_control.control, 'basis', v_control.basis, 'wording', v_control.wording,
    'question', v_control.question, 'query', v_query, 'of_system', v_control.of_system, 'population', v_population,
    'exceptions', case when v_control.exceptions is not null then jsonb_build_object(
      'query', v_exceptions_query, 'means', v_control.exception_means, 'count', v_exceptions,
      'items', audit.report_items(v_organization, v_exceptions_query, 50)
    ) end,
    'sample', jsonb_build_object('size', jsonb_array_length(v_sample), 'seed', v_seed, 'items', v_sample),
    'result', case
      when v_population = 0 then 'No entry of this kind in the period. The log proves what is in it; that nothing of this kind happened, only as far as capture was whole.'
      when v_exceptions > 0 then format('Exceptions: %s of %s, each %s, to be looked at.', v_exceptions, v_population, v_control.exception_means)
      when v_exceptions = 0 then format('No exception among %s.', v_population)
      else format('%s in the period; none is an exception by itself.', v_population)
    end
  );
end
$$;

comment on function audit.control_section(audit.reports, int) is
  'One control: how many entries its query finds in the period, which are exceptions, and a sample of 25 that anybody can draw
again: those with the least SHA-256 of seed, a colon and the entry''s name.';

-- Overview, costs ----------------------------------------------------------------------------------------------------------

create or replace function audit.overview_sections(report audit.reports)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_query text := audit.report_query(report, '');
  v_sums jsonb;
begin
  execute format(
    $q$
    with sums as (
      select (e.created_at at time zone 'utc')::date as day, e.action, e.outcome, e.created_by, e.actor_type, count(*) as n,
        grouping((e.created_at at time zone 'utc')::date, e.action, e.outcome, e.created_by, e.actor_type) as which
      %s
      group by grouping sets (((e.created_at at time zone 'utc')::date), (e.action), (e.outcome), (e.created_by, e.actor_type), ())
    )
    select jsonb_build_object(
      'all', coalesce(max(s.n) filter (where s.which = 31), 0),
      'days', coalesce(jsonb_agg(jsonb_build_object('value', s.day, 'count', s.n) order by s.day) filter (where s.which = 15), '[]'),
      'actions', coalesce(jsonb_agg(jsonb_build_array(s.action, s.n::text) order by s.n desc, s.action) filter (where s.which = 23), '[]'),
      'outcomes', coalesce(jsonb_agg(jsonb_build_object('value', s.outcome, 'count', s.n) order by s.outcome) filter (where s.which = 27), '[]'),
      'actors', coalesce(jsonb_agg(jsonb_build_array(audit.user_cell(s.created_by, s.actor_type), s.actor_type, s.n::text) order by s.n desc, s.created_by, s.actor_type) filter (where s.which = 28), '[]')
    )
    from sums s
    $q$, audit.report_source((report).organization_id, v_query)
  ) into v_sums;
  return jsonb_build_array(
    jsonb_build_object(
      'kind', 'chart', 'title', 'Entries of the period', 'query', v_query, 'total', v_sums -> 'all', 'days', v_sums -> 'days',
      'outcomes', v_sums -> 'outcomes'
    ),
    audit.report_table('Actions', '[{"title": "Action", "width": 4}, {"title": "Entries", "width": 1, "align": "right"}]',
      jsonb_path_query_array(v_sums -> 'actions', '$[0 to 29]'), null, jsonb_array_length(v_sums -> 'actions')),
    audit.report_table('Actors', '[{"title": "Actor", "width": 4}, {"title": "Kind", "width": 1}, {"title": "Entries", "width": 1, "align": "right"}]',
      jsonb_path_query_array(v_sums -> 'actors', '$[0 to 29]'), null, jsonb_array_length(v_sums -> 'actors'))
  );
end
$$;

comment on function audit.overview_sections(audit.reports) is 'How many entries a period has, by day, action, outcome and actor.';

create or replace function audit.cost_section(report audit.reports, title text, groups text[], at_most int)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select audit.report_table(
    cost_section.title,
    (select jsonb_agg(jsonb_build_object('title', initcap(g), 'width', 3) order by n) from unnest(groups) with ordinality g (g, n))
      || '[{"title": "Entries", "width": 1, "align": "right"}, {"title": "Cost", "width": 2, "align": "right"}]',
    jsonb_agg(c.cells order by c.n) filter (where c.n <= cost_section.at_most),
    format('Query: %s. Costs are as the application recorded them, in its currency.', audit.report_query(report, '')), count(*)
  )
  from (
    select (
        select jsonb_agg(case g
          when 'user' then audit.user_cell(s."user", 'no user') when 'provider' then to_jsonb(coalesce(s.provider, 'none'))
          when 'model' then to_jsonb(coalesce(s.model, 'none')) else to_jsonb(s.day::text)
        end order by n)
        from unnest(groups) with ordinality g (g, n)
      ) || jsonb_build_array(s.entries::text, s.cost::text) as cells,
      row_number() over (order by case when 'day' = any (groups) then s.day end, s.cost desc, s.provider, s.model, s."user") as n
    from audit.costs_of(
      (report).organization_id,
      audit.compile_query((report).organization_id, audit.parse_query(audit.report_query(report, ''))), groups
    ) s
  ) c
$$;

comment on function audit.cost_section(audit.reports, text, text[], int) is 'What was spent in a period, by what.';

-- Access review ------------------------------------------------------------------------------------------------------------

create or replace function audit.known_members(organization_id uuid)
  returns table (user_id uuid, role text)
  language plpgsql
  stable
  set search_path = ''
  rows 1000
as $$
#variable_conflict use_column
declare
  v_users uuid[];
begin
  -- The membership table is asked person by person: whom the log knows, and whom Auth knows, where that is not beyond counting.
  v_users := array(
    select distinct i.user_id from audit.identities i where i.organization_id = known_members.organization_id and i.user_id is not null
    union
    select distinct audit.as_uuid(a.resource_id) from public.audit_logs a
    where a.organization_id = known_members.organization_id and a.resource_type = 'member'
    union
    select x.requested_by from audit.exports x where x.organization_id = known_members.organization_id
  );
  if to_regclass('auth.users') is not null then
    execute 'select $1 || array(select u.id from auth.users u order by u.id limit 50000)' into v_users using v_users;
  end if;
  return query
    select u.user_id, m.role
    from (select distinct u from unnest(v_users) u where u is not null) u (user_id)
    cross join lateral audit.memberships(u.user_id) m
    where m.organization_id = known_members.organization_id;
end
$$;

comment on function audit.known_members(uuid) is
  'Who has which role in an organisation: of the users whom its log knows, and of the first 50,000 whom Auth knows.';

create or replace function audit.member_section(report audit.reports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select audit.report_table(
    'Members and their roles',
    '[{"title": "User", "width": 4}, {"title": "Role", "width": 1}, {"title": "Since", "width": 2}, {"title": "Granted by", "width": 3}, {"title": "Last active", "width": 2}, {"title": "Use", "width": 1}]',
    jsonb_agg(jsonb_build_array(
      audit.user_cell(m.user_id), m.role, coalesce(audit.second_text(g.created_at), 'before capture'),
      coalesce(audit.user_cell(g.created_by, g.actor_type), '"unknown"'),
      coalesce(audit.second_text(l.created_at), 'never seen'),
      case when l.created_at >= (report).period_from then 'active' else 'unused' end
    ) order by m.role, m.user_id),
    'Roles as they are now, as the log means them: viewers see nothing of it. Since and by whom is what the log says last (member.added, member.role_changed); “unused” are those without an entry of their own since the beginning of the period: ask whether they still need access.'
  )
  from audit.known_members((report).organization_id) m
  left join lateral (
    select a.created_at, a.created_by, a.actor_type from public.audit_logs a
    where a.resource_id = m.user_id::text and a.resource_type = 'member' and a.organization_id = (report).organization_id
      and a.action in ('member.added', 'member.role_changed') and a.created_at < (report).period_to
    order by a.created_at desc limit 1
  ) g on true
  left join lateral (
    select a.created_at from public.audit_logs a
    where a.created_by = m.user_id and a.organization_id = (report).organization_id and a.created_at < (report).period_to
    order by a.created_at desc limit 1
  ) l on true
$$;

comment on function audit.member_section(audit.reports) is 'Who has which role, since when, granted by whom, and last active when.';

create or replace function audit.auditor_section(report audit.reports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select audit.report_table(
    'Auditors of the log',
    '[{"title": "User", "width": 4}, {"title": "Sees addresses", "width": 1}, {"title": "Granted by", "width": 3}, {"title": "Granted", "width": 2}, {"title": "Until", "width": 2}]',
    jsonb_agg(jsonb_build_array(
      audit.user_cell(a.user_id), case when a.sees_identities then 'yes' else 'no' end, audit.user_cell(a.granted_by, 'database'),
      audit.second_text(a.granted_at), audit.second_text(a.expires_at)
    ) order by a.expires_at, a.user_id),
    'Grants that have expired by themselves are shown until they are renewed or revoked.'
  )
  from audit.auditors a
  where a.organization_id = (report).organization_id
$$;

comment on function audit.auditor_section(audit.reports) is 'Who may read the log from outside, until when.';

create or replace function audit.listing_section(report audit.reports, title text, query text, at_most int, note text default null)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'kind', 'entries', 'title', listing_section.title, 'query', q.query, 'note', note,
    'total', audit.report_count((report).organization_id, q.query),
    'items', audit.report_items((report).organization_id, q.query, at_most)
  )
  from (select audit.report_query(report, listing_section.query) as query) q
$$;

comment on function audit.listing_section(audit.reports, text, text, int, text) is 'A section that lists the entries that a query finds, the oldest first.';

-- Coverage, retention, integrity -------------------------------------------------------------------------------------------

create or replace function audit.heartbeat_section(report audit.reports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  with beat as (
    select a.created_at, a.action, (a.details ->> 'uncaptured')::int as uncaptured
    from public.audit_logs a
    where a.organization_id = (report).organization_id and a.chain = audit.log_chain()
      and a.created_at >= (report).period_from and a.created_at < (report).period_to
  ),
  -- From the beginning of the log, or of the period, to its end; a beat is due every hour.
  edges as (
    select greatest((report).period_from, (select min(a.created_at) from public.audit_logs a where a.organization_id = (report).organization_id and a.chain = audit.log_chain())) as at
    union all select b.created_at from beat b
    union all select (report).period_to
  ),
  gap as (
    select e.at as from_at, lead(e.at) over (order by e.at) as to_at from edges e where e.at is not null
  )
  select audit.report_table(
    'Was logging on the whole time?',
    '[{"title": "No heartbeat from", "width": 2}, {"title": "to", "width": 2}, {"title": "for", "width": 1}]',
    (
      select jsonb_agg(jsonb_build_array(audit.second_text(g.from_at), audit.second_text(g.to_at), date_trunc('minute', g.to_at - g.from_at)::text) order by g.from_at)
      from (select g.* from gap g where g.to_at - g.from_at > interval '2 hours' order by g.from_at limit 200) g
    ),
    format(
      '%s heartbeats in the period; one is due every hour of silence, so a gap of more than two hours is shown below. At a heartbeat, at most %s tables were not captured whole; %s heartbeats said so of any. Heartbeats are sealed: none can be made up afterwards.',
      (select count(*) from beat b where b.action = 'log.heartbeat'), (select coalesce(max(b.uncaptured), 0) from beat b),
      (select count(*) from beat b where b.uncaptured > 0)
    ),
    (select count(*) from gap g where g.to_at - g.from_at > interval '2 hours')
  )
$$;

comment on function audit.heartbeat_section(audit.reports) is 'What heartbeats say of a period: gaps of more than two hours, and tables that were not captured whole.';

create or replace function audit.coverage_sections(report audit.reports)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_first timestamptz := (
    select min(a.created_at) from public.audit_logs a where a.organization_id = (report).organization_id
  );
  v_bound record;
  v_notes text[];
begin
  select max(b.created_at) as until, sum(b.seq) as entries into v_bound
  from audit.chain_bounds b where b.organization_id = (report).organization_id;
  v_notes := array_remove(array[
    case when v_first is null then 'The log has no entry in the database.'
      when v_first > (report).period_from and v_bound.until is null
        then format('The log begins at %s, within the period: of before it knows nothing.', audit.instant_text(v_first)) end,
    case when v_bound.until >= (report).period_from
      then format('Entries up to %s were let go of from the database by retention, %s in all. They are in the archive as long as it is kept, and are not counted in this report: bring them back with npm run restore -- --entries.', audit.instant_text(v_bound.until), v_bound.entries) end,
    case when (report).period_to > (report).requested_at - interval '1 minute'
      then 'The period ends at the time of the request: entries that were being written then may be missing.' end,
    'In no entry is what was done while capture was off, past triggers, or in tables that are not tracked. The sections on capture and heartbeats bound that.'
  ], null);
  return jsonb_build_array(
    audit.report_text('What this report does not cover', v_notes),
    audit.listing_section(report, 'Changes of capture', 'action:capture.*', 100,
      'Which tables were captured, no longer captured, or captured otherwise. Settings count too.')
  ) || case when (report).template = 'attestation' then '[]' else jsonb_build_array(audit.heartbeat_section(report)) end;
end
$$;

comment on function audit.coverage_sections(audit.reports) is 'What a report does not cover: before the log, let go of, not captured.';

create or replace function audit.retention_section(report audit.reports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select audit.report_table(
    'Retention', '[{"title": "What", "width": 2}, {"title": "In force", "width": 4}]',
    jsonb_build_array(
      jsonb_build_array('Entries in the database', coalesce(t.database_days || ' days', 'for ever: nobody has set a period')),
      jsonb_build_array('Entries in the archive', coalesce(t.archive_days || ' days', 'for ever')),
      jsonb_build_array('Backups of the log', format('%s days', audit.setting('backup_days'))),
      jsonb_build_array('A shorter period waits', format('%s days before it applies', audit.setting('shorten_retention_after', (report).organization_id))),
      jsonb_build_array('Legal holds', coalesce((select string_agg(h ->> 'name', ', ') from jsonb_array_elements(audit.holds_on((report).organization_id)) h), 'none'))
    ),
    case when (report).template = 'hipaa' and t.archive_days < 2191 then 'The archive is kept for less than six years: what the rule has documented (164.316) is then to be kept elsewhere, too.'
      when (report).template = 'pci_dss' and (t.database_days < 90 or t.archive_days < 365) then 'The log is kept for less than twelve months, or less than three at once available (10.5.1).' end
  )
  from audit.retention_of((report).organization_id) t
$$;

comment on function audit.retention_section(audit.reports) is 'How long entries are kept, and what holds them.';

create or replace function audit.checkpoint_section(report audit.reports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select audit.report_table(
    'Logs and their checkpoints', '[{"title": "Log", "width": 5}, {"title": "Entries", "width": 1, "align": "right"}, {"title": "Root", "width": 4}, {"title": "Published", "width": 2}]',
    jsonb_agg(jsonb_build_array(l.origin, c.size::text, encode(c.root, 'base64'), coalesce(audit.second_text(c.published_at), 'not published')) order by l.origin),
    'For each log, the last checkpoint that was published before the end of the period. Who kept one, at a receiver or a witness, can hold this against it.'
  )
  from audit.logs l
  cross join lateral (
    select c.* from audit.checkpoints c
    where c.log = l.id and c.published_at < (report).period_to
    order by c.size desc limit 1
  ) c
  where l.organization_id = (report).organization_id and l.month is not null and l.opened_at < (report).period_to
    and coalesce(l.last_at, l.opened_at) >= (report).period_from
$$;

comment on function audit.checkpoint_section(audit.reports) is 'The logs of a period, each with its last checkpoint.';

create or replace function audit.finding_section(report audit.reports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select audit.report_table(
    'Findings of checks', '[{"title": "First seen", "width": 2}, {"title": "Kind", "width": 2}, {"title": "In", "width": 4}, {"title": "Resolved", "width": 2}]',
    jsonb_agg(jsonb_build_array(audit.second_text(f.first_seen_at), f.kind, f.subject, coalesce(audit.second_text(f.resolved_at), 'open')) order by f.first_seen_at, f.id),
    'Found in the period, or open in it.'
  )
  from audit.findings f
  where f.organization_id in ((report).organization_id, audit.system_organization()) and f.first_seen_at < (report).period_to
    and coalesce(f.resolved_at, 'infinity') >= (report).period_from
$$;

comment on function audit.finding_section(audit.reports) is 'What checks found in a period.';

-- What the log looks like when the report is made: beside the content, not in it.
create or replace function audit.integrity_evidence(report audit.reports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'chains', (report).resume -> 'chains',
    'rounds', (
      select jsonb_build_object('verified', v.was_verified, 'at', audit.instant_text(v.verified_at))
      from audit.verifications v where v.organization_id = (report).organization_id
    ),
    'read_back', (
      select jsonb_build_object('entries', sum(l.read_back)::bigint, 'of', sum(l.published)::bigint)
      from audit.logs l where l.organization_id = (report).organization_id and l.month is not null and l.archive_deletion_began_at is null
    ),
    'open_findings', (
      select count(*) from audit.findings f where f.organization_id = (report).organization_id and f.resolved_at is null
    ),
    'not_captured', (
      select coalesce(jsonb_agg(c.table_name || ': ' || c.finding order by c.table_name, c.finding), '[]')
      from audit.coverage c where not c.healthy
    ),
    'outside', (select count(*) from audit.receivers r),
    'checkpoint', audit.newest_checkpoint((report).organization_id)
  )
$$;

comment on function audit.integrity_evidence(audit.reports) is 'How the log stands when a report is made: verified chains and logs, reading back, findings, coverage, checkpoint.';

-- Verification in steps: so many chains and entries each.
create or replace function audit.verify_for_report(inout report audit.reports, out is_done boolean)
  language plpgsql
  set search_path = ''
as $$
declare
  v_run record;
begin
  select coalesce(sum(v.entries), 0) as entries, count(*) filter (where v.status = 'verified') as verified,
    coalesce(jsonb_agg(jsonb_build_object('chain', v.chain, 'seq', v.broken_seq, 'finding', v.finding)) filter (where v.status = 'broken'), '[]') as broken,
    max(v.resume) as resume
  into v_run
  from audit.verify((report).organization_id, 150000, (report).resume ->> 'from') v;
  report.resume := jsonb_strip_nulls(jsonb_build_object(
    'from', v_run.resume,
    'chains', jsonb_build_object(
      'verified', coalesce(((report).resume #>> '{chains,verified}')::bigint, 0) + v_run.verified,
      'entries', coalesce(((report).resume #>> '{chains,entries}')::bigint, 0) + v_run.entries,
      'broken', coalesce((report).resume #> '{chains,broken}', '[]') || v_run.broken
    )
  ));
  is_done := v_run.resume is null;
end
$$;

comment on function audit.verify_for_report(audit.reports) is 'Verifies chains of an organisation on, for its report; says whether all are.';
