-- Exports: what a search finds, whole, as a file that Postgres writes and nobody truncates. An export is made in parts,
-- oldest entries first; each part leaves its entry before its first byte leaves, and its size and digest after the last.

create table if not exists audit.exports (
  id uuid not null default gen_random_uuid(),
  organization_id uuid not null,
  requested_by uuid,
  requested_at timestamptz not null default clock_timestamp(),
  format text not null,
  gzip boolean not null default false,
  filter jsonb not null,
  until timestamptz not null default clock_timestamp(),
  state text not null,
  next text,
  lease_until timestamptz,
  attempts int not null default 0,
  error text,
  manifest text,
  manifest_note text,
  constraint exports_pkey primary key (id),
  constraint exports_format_known check (format in ('csv', 'json', 'ndjson', 'ocsf', 'pdf')),
  constraint exports_state_known check (state in ('streaming', 'queued', 'running', 'done', 'failed', 'cancelled'))
);

comment on table audit.exports is 'Exports of the log: who asked for what, and how far it has come.';
comment on column audit.exports.id is 'Names the export.';
comment on column audit.exports.organization_id is 'Whose log.';
comment on column audit.exports.requested_by is 'Who asked; every part is made with this user''s rights of the moment.';
comment on column audit.exports.requested_at is 'When.';
comment on column audit.exports.format is 'csv, json, ndjson, ocsf or pdf.';
comment on column audit.exports.gzip is 'Whether the parts in Storage are compressed.';
comment on column audit.exports.filter is 'The query tree.';
comment on column audit.exports.until is 'Entries that are written later are not part of it, so it comes to an end.';
comment on column audit.exports.state is 'streaming to a client; queued, running, done or failed in the background; cancelled.';
comment on column audit.exports.next is 'Cursor of the next part; null before the first and after the last.';
comment on column audit.exports.lease_until is 'Until when a worker has it.';
comment on column audit.exports.attempts is 'How often a worker has taken it up for the part that is next.';
comment on column audit.exports.error is 'Why it failed.';
comment on column audit.exports.manifest is 'The manifest to the byte, from the moment on in which it is signed.';
comment on column audit.exports.manifest_note is 'The signed note over the manifest''s digest; null until it is signed.';

alter table audit.exports add column if not exists withdrawn_at timestamptz;

comment on column audit.exports.withdrawn_at is 'When it was taken back because a person who may be in it was erased; its files go at once.';

-- A query may name a person, and what is erased must not live on in the planner's statistics.
alter table audit.exports
  alter column filter set statistics 0, alter column manifest set statistics 0, alter column error set statistics 0;

create index if not exists exports_requested_by_idx on audit.exports (requested_by, requested_at);
create index if not exists exports_waiting_idx on audit.exports (requested_at) where state in ('queued', 'running');

create table if not exists audit.export_parts (
  export uuid not null,
  part int not null,
  entries bigint not null,
  first text,
  last text,
  next text,
  bytes bigint,
  sha256 text,
  complete boolean not null default false,
  path text,
  constraint export_parts_pkey primary key (export, part),
  constraint export_parts_export_fkey foreign key (export) references audit.exports (id) on delete cascade
);

comment on table audit.export_parts is 'The parts of exports, with what is needed to check a file against the log.';
comment on column audit.export_parts.export is 'The export.';
comment on column audit.export_parts.part is 'From 1.';
comment on column audit.export_parts.entries is 'How many entries it has.';
comment on column audit.export_parts.first is 'Name of its first entry, chain-seq.';
comment on column audit.export_parts.last is 'Name of its last entry.';
comment on column audit.export_parts.next is 'Cursor of the part after it; null if it is the last.';
comment on column audit.export_parts.bytes is 'Its length before compression; null until it is closed.';
comment on column audit.export_parts.sha256 is 'SHA-256 of its bytes before compression, in hex.';
comment on column audit.export_parts.complete is 'Whether all of it was sent or stored.';
comment on column audit.export_parts.path is 'Where it lies in Storage, in bucket audit-exports.';

revoke all on audit.exports, audit.export_parts from public, anon, authenticated, service_role;

-- Formats -------------------------------------------------------------------------------------------------------------

create or replace function audit.csv_text(value text)
  returns text
  language sql
  immutable
  parallel safe
  -- Tab, line feed, return, apostrophe, + - = @ and their full-width forms; after spaces, too.
  return case
    when ascii(value) in (9, 10, 13, 39, 43, 45, 61, 64, 65291, 65293, 65309, 65312)
      or ascii(value) = 32 and ascii(ltrim(value, ' ')) in (43, 45, 61, 64)
    then '''' || value
    else value
  end;

comment on function audit.csv_text(text) is
  'A text for a CSV cell that no spreadsheet takes for a formula: an apostrophe stands before it. Without loss: what begins
with an apostrophe in the file has one more than in the log.';

create or replace function audit.export_columns(format text)
  returns text
  language sql
  immutable
  set search_path = ''
as $$
  select case export_columns.format
    when 'csv' then
      'e.chain || ''-'' || e.seq as name, e.organization_id, e.chain, e.seq, audit.instant_text(e.created_at) as created_at,'
        || ' audit.csv_text(e.action) as action, e.outcome,'
        || ' audit.csv_text(e.resource_type) as resource_type, audit.csv_text(e.resource_id) as resource_id, e.created_by, e.actor_type,'
        || ' audit.csv_text(i.email) as email, audit.csv_text(i.ip_address) as ip_address, audit.csv_text(i.user_agent) as user_agent,'
        || ' audit.csv_text(e.provider) as provider, e.cost, audit.csv_text(e.request_id) as request_id, e.details,'
        || ' encode(e.prev_hash, ''hex'') as prev_hash, encode(e.hash, ''hex'') as hash'
    when 'json' then
      ''','' || row_to_json(row(e.chain || ''-'' || e.seq, e.organization_id, e.chain, e.seq, audit.instant_text(e.created_at), e.action, e.outcome,'
        || ' e.resource_type, e.resource_id, e.created_by, e.actor_type, i.email, i.ip_address, i.user_agent, e.provider,'
        || ' e.cost::text, e.request_id, e.details, encode(e.prev_hash, ''hex''), encode(e.hash, ''hex''))::audit.exported_entry)'
    when 'ndjson' then
      'concat(''{"hash":"'', encode(e.hash, ''hex''), ''","email":'', coalesce(to_json(i.email), ''null''), '',"ip_address":'','
        || ' coalesce(to_json(i.ip_address), ''null''), '',"user_agent":'', coalesce(to_json(i.user_agent), ''null''),'
        || ' '',"entry":'', audit.entry_text(e), ''}'')'
    when 'ocsf' then 'audit.ocsf_line(e, i.email, i.ip_address, i.user_agent)'
    when 'pdf' then 'audit.entry_json(e, i.email, i.ip_address, i.user_agent)'
  end
$$;

comment on function audit.export_columns(text) is 'What a select has of an entry e and its identity i in an export.';

do $$
begin
  if to_regtype('audit.exported_entry') is null then
    create type audit.exported_entry as (
      name text, organization_id uuid, chain int, seq bigint, created_at text, action text, outcome text,
      resource_type text, resource_id text, created_by uuid, actor_type text, email text, ip_address text, user_agent text,
      provider text, cost text, request_id text, details jsonb, prev_hash text, hash text
    );
  end if;
end
$$;

comment on type audit.exported_entry is 'An entry in a JSON export, with its identity.';

-- Parts ---------------------------------------------------------------------------------------------------------------

create or replace function audit.open_part(export audit.exports, part int, entries bigint, first text, last text, next text)
  returns void
  language plpgsql
  security definer -- readers open exports of their own, and write nothing else
  set search_path = ''
as $$
#variable_conflict use_column
begin
  if (open_part.export).requested_by is distinct from auth.uid() or audit.reach((open_part.export).organization_id) is null then
    perform audit.fail('AUDEN', 'An export belongs to who asked for it.');
  end if;
  insert into audit.exports as x (id, organization_id, requested_by, format, gzip, filter, until, state)
  values (
    (open_part.export).id, (open_part.export).organization_id, (open_part.export).requested_by, (open_part.export).format,
    (open_part.export).gzip, (open_part.export).filter, (open_part.export).until, 'streaming'
  )
  on conflict on constraint exports_pkey do nothing;
  -- What is stored counts, not what the caller says of it.
  if not exists (
    select from audit.exports x
    where x.id = (open_part.export).id and x.requested_by is not distinct from auth.uid()
      and x.organization_id = (open_part.export).organization_id
  ) then
    perform audit.fail('AUDEN', 'An export belongs to who asked for it.');
  end if;
  insert into audit.export_parts as p (export, part, entries, first, last, next)
  values ((open_part.export).id, open_part.part, open_part.entries, open_part.first, open_part.last, open_part.next)
  on conflict on constraint export_parts_pkey do update
    set entries = excluded.entries, first = excluded.first, last = excluded.last, next = excluded.next, bytes = null, sha256 = null
    where not p.complete; -- whoever asks for a part again gets it again, and changes nothing
end
$$;

comment on function audit.open_part(audit.exports, int, bigint, text, text, text) is 'Notes a part of an export that is about to be made.';

create or replace function audit.find_export(id uuid)
  returns audit.exports
  language plpgsql
  stable
  security definer -- exports are shown to who asked for them, and to admins
  set search_path = ''
as $$
declare
  v_export audit.exports;
begin
  select x.* into v_export from audit.exports x where x.id = find_export.id;
  if v_export.id is null or not (
    audit.caller() = 'service_role' or pg_catalog.pg_has_role(audit.caller()::name, 'postgres', 'usage')
    or v_export.requested_by = auth.uid() and audit.reach(v_export.organization_id) is not null
    or v_export.organization_id in (select audit.admin_organizations())
  ) then
    perform audit.fail('AUNOT', 'There is no such export of yours.');
  end if;
  return v_export;
end
$$;

comment on function audit.find_export(uuid) is 'An export that the caller may see; raises AUNOT else.';

create or replace function audit.requested_export(request jsonb)
  returns uuid
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if audit.as_uuid(request ->> 'export') is null then
    perform audit.fail('AUARG', 'export is the UUID of an export.');
  end if;
  return (request ->> 'export')::uuid;
end
$$;

comment on function audit.requested_export(jsonb) is 'The id of the export that a request is about.';

create or replace function audit.check_file(request jsonb)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if coalesce(request ->> 'format', '') not in ('csv', 'json', 'ndjson', 'ocsf', 'pdf') then
    perform audit.fail('AUARG', format('There is no format "%s".', left(request ->> 'format', 50)), null,
      'Formats are csv, json, ndjson, ocsf and pdf.');
  elsif coalesce(request ->> 'gzip', 'false') not in ('true', 'false') then
    perform audit.fail('AUARG', 'gzip is true or false.');
  end if;
end
$$;

comment on function audit.check_file(jsonb) is 'Refuses formats that there are not.';

-- What is frequent is read from the log in its order, as far as a part goes: by the index, every part would find and sort all
-- that matches in a whole week. What is rare is found by the index. Either way each part ends where enough was looked at, so
-- that an export takes as long as what it looks at is long, however many parts it has.
create or replace function audit.part_window(
  organization_id uuid,
  compiled audit.compiled_query,
  after audit.position,
  most_entries int,
  out term_groups jsonb,
  out upto audit.position
)
  language plpgsql
  stable
  set search_path = ''
  set enable_sort = off -- see audit.timeline()
  set enable_bitmapscan = off
  set jit = off
as $$
declare
  v_from timestamptz := greatest((compiled).from_time, (after).created_at);
  v_near audit.position;
begin
  term_groups := (compiled).term_groups;
  -- Frequent: a hundred of the next thousand.
  select null, c.created_at, c.chain, c.seq into v_near
  from audit.search_candidates(organization_id, term_groups, v_from, (compiled).to_time, false, after, 100) c
  offset 99;
  if (v_near).seq is not null and audit.reach(organization_id) = 'all' and 1000 > (
    select count(*)
    from audit.timeline(organization_id, v_from, (compiled).to_time, false, after, 1000) t
    where (t.created_at, t.chain, t.seq) < ((v_near).created_at, (v_near).chain, (v_near).seq)
  ) then
    term_groups := '[]';
    execute format(
      'select null, e.created_at, e.chain, e.seq from public.audit_logs e where e.organization_id = %L and e.created_at >= %L'
        || ' and e.created_at < %L and %s order by e.created_at, e.chain, e.seq offset %L limit 1',
      organization_id, coalesce(v_from, '-infinity'), coalesce((compiled).to_time, 'infinity'),
      case when (after).seq is null then 'true' else audit.position_condition('e', '>', after) end, 2 * most_entries::bigint
    ) into upto;
  else
    select null, c.created_at, c.chain, c.seq into upto
    from audit.search_candidates(organization_id, term_groups, v_from, (compiled).to_time, false, after, most_entries + 1000) c
    offset most_entries + 999;
  end if;
end
$$;

comment on function audit.part_window(uuid, audit.compiled_query, audit.position, int) is
  'How far the next part of an export looks, null for the end, and by which terms: by none where so much matches that the
index would be in the way.';

create or replace function audit.open_export(request jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_export audit.exports;
  v_part int := 1;
  v_compiled audit.compiled_query;
  v_scope text;
  v_start timestamptz := clock_timestamp();
  v_from audit.position;
  v_upto audit.position;
  v_made boolean;
  v_window record;
  v_within audit.compiled_query;
  v_sorted text;
  v_limit int;
  v_entries bigint;
  v_before bigint;
  v_total bigint;
  v_first audit.position;
  v_last audit.position;
  v_next text;
  v_select text;
begin
  perform audit.check_request(request, array['organization_id', 'query', 'filter', 'format', 'limit', 'cursor', 'export', 'gzip']);
  if coalesce(request ->> 'limit', '1000000') !~ '^\d{1,7}$' or coalesce((request ->> 'limit')::int, 1) not between 1 and 1000000 then
    perform audit.fail('AUARG', 'limit is a whole number from 1 to 1,000,000: so many entries are in a part at most.');
  end if;
  v_limit := coalesce((request ->> 'limit')::int, 1000000);
  if nullif(request -> 'export', 'null') is null then
    perform audit.check_file(request);
    if request ->> 'cursor' is not null then
      perform audit.fail('AUCUR', 'A cursor goes on with an export.', null, 'Pass export and cursor as the part before gave them.');
    end if;
    v_export.id := gen_random_uuid();
    v_export.organization_id := audit.requested_organization(request);
    v_export.requested_by := auth.uid();
    v_export.format := request ->> 'format';
    v_export.gzip := coalesce((request ->> 'gzip')::boolean, false);
    v_export.filter := audit.requested_tree(request);
    v_export.until := clock_timestamp();
  else
    v_export := audit.find_export(audit.requested_export(request));
    if audit.reach(v_export.organization_id) is null then
      perform audit.fail('AUDEN', 'You no longer read the log of this organisation.');
    elsif v_export.state in ('cancelled', 'failed') then
      perform audit.fail('AUARG', 'The export was cancelled or given up.', null, 'Begin a new one.');
    end if;
    v_part := audit.part_after(v_export.id, request ->> 'cursor');
  end if;

  perform set_config('audit.query_now', v_export.until::text, true);
  v_scope := 'export ' || v_export.id;
  v_from := audit.read_cursor(v_export.organization_id, v_scope, request ->> 'cursor');
  v_compiled := audit.compile_query(v_export.organization_id, v_export.filter);
  v_before := audit.entries_before(v_export.id, v_part);
  -- A report says of how many entries it shows some, so all are counted; of others one more than the part has. Made again, a
  -- part ends where it did: the next one may be there.
  select m.next into v_next from audit.part_made(v_export.id, v_part) m where v_export.format <> 'pdf';
  v_made := found;
  v_upto := audit.read_cursor(v_export.organization_id, v_scope, v_next);
  loop
    v_within := v_compiled;
    if v_export.format <> 'pdf' and not audit.needs_no_index(v_export.organization_id, v_compiled) then
      v_window := audit.part_window(v_export.organization_id, v_compiled, v_from, v_limit);
      v_within.term_groups := v_window.term_groups;
      v_upto := case when v_made then v_upto else v_window.upto end;
      v_within.from_time := greatest(v_compiled.from_time, v_from.created_at);
      v_within.to_time := least(v_compiled.to_time, v_upto.created_at + interval '1 microsecond');
    end if;
    -- Walked in its order, as far as the part goes: the planner thinks that row level security lets few rows through, and
    -- would read and sort all of them for every part.
    v_sorted := case when audit.needs_no_index(v_export.organization_id, v_within) then 'off' else 'on' end;
    perform set_config('enable_bitmapscan', v_sorted, true), set_config('enable_sort', v_sorted, true), set_config('jit', 'off', true);
    execute format(
      'select count(*)'
        || ', max(n.created_at) filter (where n.n = 1), max(n.chain) filter (where n.n = 1), max(n.seq) filter (where n.n = 1)'
        || ', max(n.created_at) filter (where %1$s), max(n.chain) filter (where %1$s), max(n.seq) filter (where %1$s)'
        || ' from (select e.created_at, e.chain, e.seq, row_number() over w as n, lead(true) over w is null as ends'
        || ' %2$s and e.created_at <= %3$L and %4$s and %5$s'
        || ' window w as (order by e.created_at, e.chain, e.seq) order by e.created_at, e.chain, e.seq limit %6$s) n',
      format('n.n = %1$s or n.ends and n.n < %1$s', v_limit),
      audit.matching_sql(v_export.organization_id, v_within), v_export.until,
      case when v_from is null then 'true' else audit.position_condition('e', '>', v_from) end,
      case when v_upto is null then 'true' else audit.position_condition('e', '<=', v_upto) end,
      case v_export.format when 'pdf' then 'all' else (v_limit + 1)::text end
    ) into v_entries, v_first.created_at, v_first.chain, v_first.seq, v_last.created_at, v_last.chain, v_last.seq;
    exit when v_entries > 0 or v_upto is null or v_made or clock_timestamp() > v_start + interval '10 seconds';
    v_from := v_upto;
  end loop;
  v_total := case v_export.format when 'pdf' then v_before + v_entries end;
  if v_entries > v_limit then
    v_entries := v_limit;
    v_next := audit.make_cursor(v_export.organization_id, v_scope, v_last);
  else
    v_next := case when v_upto is null then null else audit.make_cursor(v_export.organization_id, v_scope, v_upto) end;
  end if;

  v_select := format(
    'select %s %s and e.created_at <= %L and %s and %s order by e.created_at, e.chain, e.seq',
    audit.export_columns(v_export.format),
    audit.matching_sql(v_export.organization_id, v_within, format(
      -- A commitment that stands twice is the same identity twice.
      'left join (select distinct on (i.identity_hash) i.identity_hash, i.email, i.ip_address, i.user_agent'
        || ' from audit.identities i where i.organization_id = %L) i on i.identity_hash = e.identity_hash',
      v_export.organization_id
    )),
    v_export.until,
    case when v_from is null then 'true' else audit.position_condition('e', '>', v_from) end,
    case when v_entries = 0 then 'false' else audit.position_condition('e', '<=', v_last) end
  );
  perform audit.open_part(
    v_export, v_part, v_entries, (v_first).chain || '-' || (v_first).seq, (v_last).chain || '-' || (v_last).seq, v_next
  );
  perform audit.record_reading(v_export.organization_id, 'log.exported', jsonb_build_object(
    'export', v_export.id, 'part', v_part, 'format', v_export.format, 'filter', v_export.filter,
    'entries', v_entries
  ), 'export', v_export.id::text);
  return jsonb_build_object(
    'id', v_export.id, 'part', v_part, 'entries', v_entries, 'before', v_before, 'total', v_total, 'next', v_next,
    'organization_id', v_export.organization_id,
    'query', audit.format_node(v_export.filter), 'filter', v_export.filter, 'format', v_export.format, 'gzip', v_export.gzip,
    'first', (v_first).chain || '-' || (v_first).seq, 'last', (v_last).chain || '-' || (v_last).seq,
    'rows', case when v_export.format = 'pdf' then v_select end,
    'copy', case v_export.format
      when 'pdf' then null
      when 'csv' then format('copy (%s) to stdout with (format csv, header)', v_select)
      -- Lines as they are: plain text would double backslashes.
      else format('copy (%s) to stdout with (format csv, quote E''\x01'', delimiter E''\x02'')', v_select)
    end
  );
end
$$;

comment on function audit.open_export(jsonb) is
  'Begins a part of an export: counts it, leaves its log.exported entry, and says which statement writes it.';

create or replace function audit.part_after(export uuid, cursor text)
  returns int
  language plpgsql
  stable
  security definer -- parts are not readable by themselves; the cursor is checked by whoever asks
  set search_path = ''
as $$
declare
  v_part int;
begin
  if part_after.cursor is null then
    return 1;
  end if;
  select p.part + 1 into v_part from audit.export_parts p where p.export = part_after.export and p.next = part_after.cursor;
  if v_part is null then
    perform audit.fail('AUCUR', 'The cursor belongs to another export.', null, 'Pass "next" of the part before, unchanged.');
  end if;
  return v_part;
end
$$;

comment on function audit.part_after(uuid, text) is 'Which part of an export a cursor begins.';

create or replace function audit.entries_before(export uuid, part int)
  returns bigint
  language sql
  stable
  security definer -- parts are not readable by themselves; this is how many entries, not which
  set search_path = ''
as $$
  select coalesce(sum(p.entries), 0)
  from audit.export_parts p
  join audit.exports x on x.id = p.export
  where p.export = entries_before.export and p.part < entries_before.part and audit.reach(x.organization_id) is not null
$$;

comment on function audit.entries_before(uuid, int) is 'How many entries the earlier parts of an export have.';

create or replace function audit.part_made(export uuid, part int)
  returns table (next text)
  language sql
  stable
  security definer -- parts are not readable by themselves; cursors are checked by whoever reads them
  set search_path = ''
as $$
  select p.next
  from audit.export_parts p
  join audit.exports x on x.id = p.export
  where p.export = part_made.export and p.part = part_made.part and audit.reach(x.organization_id) is not null
$$;

comment on function audit.part_made(uuid, int) is 'Where a part ended when it was made before; no row for one that was not.';

create or replace function audit.close_export_part(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- exports are written through these functions only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_export audit.exports;
  v_part audit.export_parts;
begin
  perform audit.check_request(request, array['export', 'part', 'entries', 'bytes', 'sha256', 'complete', 'path']);
  if coalesce(request ->> 'part', '') !~ '^\d{1,9}$' or coalesce(request ->> 'bytes', '0') !~ '^\d{1,18}$'
    or coalesce(request ->> 'entries', '0') !~ '^\d{1,18}$' or coalesce(request ->> 'complete', 'false') not in ('true', 'false')
  then
    perform audit.fail('AUARG', 'A part is closed by its number, entries and bytes, and complete is true or false.');
  end if;
  v_export := audit.find_export(audit.requested_export(request));
  if not exists (select from audit.export_parts p where p.export = v_export.id and p.part = (request ->> 'part')::int) then
    perform audit.fail('AUNOT', 'The export has no such part.');
  end if;
  if audit.caller() = 'authenticated' and (
    v_export.requested_by is distinct from auth.uid() or v_export.state in ('queued', 'running') or request ->> 'path' is not null
  ) then
    perform audit.fail('AUDEN', 'Parts in Storage are closed by the jobs, others by who asked for them.');
  end if;
  update audit.export_parts p set
    bytes = (request ->> 'bytes')::bigint, sha256 = request ->> 'sha256', complete = coalesce((request ->> 'complete')::boolean, false),
    path = request ->> 'path', entries = coalesce((request ->> 'entries')::bigint, p.entries)
  where p.export = v_export.id and p.part = (request ->> 'part')::int and not p.complete
  returning p.* into v_part;
  if v_part.part is not null and v_part.complete then
    update audit.exports x set
      state = case
        when v_part.next is null and not exists (
          select from audit.export_parts p where p.export = x.id and not p.complete
        ) then 'done'
        when x.state in ('queued', 'running') then 'queued'
        else x.state
      end,
      next = v_part.next, lease_until = null, attempts = 0
    where x.id = v_export.id and x.state in ('streaming', 'queued', 'running');
  end if;
  return audit.export_status(jsonb_build_object('export', v_export.id));
end
$$;

comment on function audit.close_export_part(jsonb) is 'Notes size and digest of a part that was sent or stored.';

create or replace function audit.export_manifest(export audit.exports)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'version', 1, 'export', (export_manifest.export).id, 'organization_id', (export_manifest.export).organization_id,
    'format', (export_manifest.export).format, 'query', audit.format_node((export_manifest.export).filter),
    'filter', (export_manifest.export).filter, 'until', audit.instant_text((export_manifest.export).until),
    'complete', (export_manifest.export).state = 'done', 'entries', coalesce(sum(p.entries), 0),
    'first', (array_agg(p.first order by p.part))[1], 'last', (array_agg(p.last order by p.part desc))[1],
    'parts', coalesce(jsonb_agg(jsonb_build_object(
      'part', p.part, 'entries', p.entries, 'bytes', p.bytes, 'sha256', p.sha256, 'first', p.first, 'last', p.last
    ) order by p.part), '[]'),
    'checkpoint', audit.newest_checkpoint((export_manifest.export).organization_id)
  )
  from audit.export_parts p
  where p.export = (export_manifest.export).id
$$;

comment on function audit.export_manifest(audit.exports) is
  'What an export is: filter, parts with their digests, and the checkpoint under which its entries stand.';

create or replace function audit.export_status(request jsonb)
  returns jsonb
  language plpgsql
  stable
  security definer -- reads exports that audit.find_export() lets the caller see
  set search_path = ''
as $$
declare
  v_export audit.exports;
  v_parts jsonb;
begin
  perform audit.check_request(request, array['export']);
  v_export := audit.find_export(audit.requested_export(request));
  select coalesce(jsonb_agg(jsonb_build_object(
    'part', p.part, 'entries', p.entries, 'bytes', p.bytes, 'sha256', p.sha256, 'first', p.first, 'last', p.last,
    'complete', p.complete, 'path', p.path
  ) order by p.part), '[]')
  into v_parts
  from audit.export_parts p
  where p.export = v_export.id;
  return jsonb_build_object(
    'id', v_export.id, 'organization_id', v_export.organization_id, 'format', v_export.format, 'gzip', v_export.gzip,
    'query', audit.format_node(v_export.filter), 'filter', v_export.filter, 'state', v_export.state,
    'requested_by', v_export.requested_by, 'requested_at', audit.instant_text(v_export.requested_at), 'error', v_export.error,
    'entries_done', (
      select coalesce(sum((p.value ->> 'entries')::bigint), 0)
      from jsonb_array_elements(v_parts) p
      where (p.value ->> 'complete')::boolean
    ),
    'parts', v_parts,
    'manifest', coalesce(v_export.manifest::jsonb, audit.export_manifest(v_export)), 'manifest_note', v_export.manifest_note
  );
end
$$;

comment on function audit.export_status(jsonb) is 'How far an export has come, its parts, and its manifest.';

-- In the background ---------------------------------------------------------------------------------------------------

create or replace function audit.request_export(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- exports are written through these functions only
  set search_path = ''
as $$
declare
  v_id uuid := gen_random_uuid();
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id', 'query', 'filter', 'format', 'gzip']);
  v_organization := audit.requested_organization(request);
  perform audit.check_file(request);
  if auth.uid() is null then
    perform audit.fail('AUDEN', 'An export in the background is made with the rights of a user, and there is none.');
  end if;
  insert into audit.exports (id, organization_id, requested_by, format, gzip, filter, state)
  values (
    v_id, v_organization, auth.uid(), request ->> 'format', coalesce((request ->> 'gzip')::boolean, false),
    audit.requested_tree(request), 'queued'
  );
  return audit.export_status(jsonb_build_object('export', v_id));
end
$$;

comment on function audit.request_export(jsonb) is 'Puts an export in the queue; audit-jobs makes it, part by part, into Storage.';

create or replace function audit.cancel_export(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- exports are written through these functions only
  set search_path = ''
as $$
declare
  v_export audit.exports;
begin
  perform audit.check_request(request, array['export']);
  v_export := audit.find_export(audit.requested_export(request));
  update audit.exports x set state = 'cancelled', lease_until = null
  where x.id = v_export.id and x.state in ('streaming', 'queued', 'running');
  return audit.export_status(request);
end
$$;

comment on function audit.cancel_export(jsonb) is 'Stops an export; parts that are already made stay.';

create or replace function audit.list_exports(request jsonb default '{}')
  returns jsonb
  language plpgsql
  stable
  security definer -- reads exports that the caller asked for, or administers
  set search_path = ''
as $$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  return jsonb_build_object('organization_id', v_organization, 'exports', coalesce((
    select jsonb_agg(audit.export_status(jsonb_build_object('export', x.id)) - array['manifest', 'manifest_note'] order by x.requested_at desc)
    from (
      select x.id, x.requested_at
      from audit.exports x
      where x.organization_id = v_organization
        and (x.requested_by = auth.uid() or v_organization in (select audit.admin_organizations()))
      order by x.requested_at desc
      limit 100
    ) x
  ), '[]'));
end
$$;

comment on function audit.list_exports(jsonb) is 'The newest exports of an organisation: one''s own, or all for admins.';

create or replace function audit.claim_export(lease interval default '5 minutes')
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_export audit.exports;
begin
  update audit.exports x set state = 'failed', error = 'Three attempts at one part ended without an answer.', lease_until = null
  where x.state = 'running' and x.lease_until < clock_timestamp() and x.attempts >= 3;
  update audit.exports x set state = 'running', lease_until = clock_timestamp() + claim_export.lease, attempts = x.attempts + 1
  where x.id = (
    select w.id from audit.exports w
    where w.state = 'queued' or w.state = 'running' and w.lease_until < clock_timestamp()
    order by w.requested_at
    limit 1
    for update skip locked
  )
  returning x.* into v_export;
  if v_export.id is null then
    return null;
  end if;
  return jsonb_build_object(
    'id', v_export.id, 'organization_id', v_export.organization_id, 'requested_by', v_export.requested_by,
    'format', v_export.format, 'gzip', v_export.gzip, 'cursor', v_export.next
  );
end
$$;

comment on function audit.claim_export(interval) is 'Takes an export from the queue for a while; null if none waits. For audit-jobs.';

create or replace function audit.fail_export(request jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  perform audit.check_request(request, array['export', 'error', 'retry']);
  update audit.exports x set
    state = case when (request ->> 'retry')::boolean and x.attempts < 3 then 'queued' else 'failed' end,
    error = left(request ->> 'error', 500), lease_until = null
  where x.id = audit.requested_export(request) and x.state = 'running';
end
$$;

comment on function audit.fail_export(jsonb) is 'Notes why an export failed, or puts it back to be tried again. For audit-jobs.';

-- Copies of the log do not outlive it for long: exports go 30 days after they were asked for.
create or replace function audit.expired_exports(at_most int default 1000)
  returns table (export uuid, folder text)
  language sql
  stable
  set search_path = ''
as $$
  select x.id, case
      -- A part may have been stored by a run that died before it said so; what was streamed never lay in Storage.
      when x.state not in ('streaming', 'done') or exists (
        select from audit.export_parts p where p.export = x.id and p.path is not null
      ) then concat(x.organization_id, '/', x.id)
    end
  from audit.exports x
  where (
      x.requested_at < clock_timestamp() - interval '30 days'
      -- Whoever is making a part of it may still store that.
      or x.withdrawn_at is not null and coalesce(x.lease_until, '-infinity') < clock_timestamp()
    ) and not audit.is_held(x.organization_id)
  order by x.requested_at
  limit at_most
$$;

comment on function audit.expired_exports(int) is
  'Exports of more than 30 days ago, or taken back, that are not held, and the folder of bucket audit-exports that is to go with each; null
where Storage never had any of it.';

create or replace function audit.withdraw_exports(organization_id uuid, since timestamptz)
  returns int
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_withdrawn int;
begin
  delete from audit.export_parts p
  using audit.exports x
  where x.id = p.export and x.organization_id = withdraw_exports.organization_id and x.until >= withdraw_exports.since;
  update audit.exports x set
    withdrawn_at = clock_timestamp(), state = 'cancelled', filter = '{"and": []}', next = null, manifest = null,
    manifest_note = null, error = 'Taken back: a person who may be in it was erased. Ask for it again.'
  where x.organization_id = withdraw_exports.organization_id and x.until >= withdraw_exports.since and x.withdrawn_at is null;
  get diagnostics v_withdrawn = row_count;
  return v_withdrawn;
end
$$;

comment on function audit.withdraw_exports(uuid, timestamptz) is
  'Takes back exports that can hold entries since a time: what they asked for is forgotten at once, their files with the next
run of the job "expire". Answers how many.';

create or replace function audit.forget_exports(exports uuid[])
  returns void
  language sql
  set search_path = ''
as $$
  delete from audit.exports x
  using audit.expired_exports(null) e
  where x.id = e.export and x.id = any (forget_exports.exports)
$$;

comment on function audit.forget_exports(uuid[]) is 'Forgets expired exports of which Storage has nothing any more.';
