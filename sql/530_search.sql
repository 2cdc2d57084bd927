-- Finding entries. What is returned is read from public.audit_logs as the caller, so row level security decides; the search
-- index only says where to look (500), and audit.search_candidates() asks it on the caller's behalf.
--
-- Pages are cut by position: a cursor names the last entry shown, and entries never change or move, so a page is exact
-- however many entries arrive meanwhile, and page 1,000 costs what page 1 does.

-- A query names people: it is recorded without their addresses, which are committed to like all personal data. Else whom
-- somebody looked for would stand in the log for ever, though erased everywhere else.
create or replace function audit.query_apart(organization_id uuid, inout node jsonb, inout personal_values jsonb default '[]')
  language plpgsql
  set search_path = ''
as $$
declare
  v_key text;
  v_part jsonb;
  v_parts jsonb := '[]';
  v_is_identity boolean := node ->> 'field' in ('email', 'ip', 'user_agent') and node ->> 'op' <> 'exists';
begin
  foreach v_key in array array['and', 'or'] loop
    continue when not node ? v_key;
    for v_part in select e from jsonb_array_elements(node -> v_key) e loop
      select q.node, q.personal_values into v_part, personal_values
      from audit.query_apart(query_apart.organization_id, v_part, personal_values) q;
      v_parts := v_parts || v_part;
    end loop;
    node := jsonb_build_object(v_key, v_parts);
    return;
  end loop;
  if node ? 'not' then
    select q.node, q.personal_values into v_part, personal_values
    from audit.query_apart(query_apart.organization_id, node -> 'not', personal_values) q;
    node := jsonb_build_object('not', v_part);
    return;
  end if;
  foreach v_key in array array['value', 'text'] loop
    continue when not node ? v_key;
    for v_part in select e from jsonb_array_elements(case when jsonb_typeof(node -> v_key) = 'array' then node -> v_key else jsonb_build_array(node -> v_key) end) e loop
      if jsonb_typeof(v_part) = 'string' and (v_is_identity or audit.names_person(v_part #>> '{}')) then
        personal_values := personal_values || jsonb_build_array(
          audit.commit_personal(query_apart.organization_id, null, 'audit_log', null, 'query', v_part #>> '{}')
        );
        v_part := '"***"';
      end if;
      v_parts := v_parts || v_part;
    end loop;
    node := node || jsonb_build_object(v_key, case when jsonb_typeof(node -> v_key) = 'array' then v_parts else v_parts -> 0 end)
      || case when node ->> 'op' = 'like' and v_parts = '["***"]' then '{"op": "eq"}'::jsonb else '{}' end; -- else it reads: any
    return;
  end loop;
end
$$;

comment on function audit.query_apart(uuid, jsonb, jsonb) is
  'A query tree with *** for what names a person (e-mail, IP address, user agent), and the commitments to that, in order.';

create or replace function audit.names_person(value text)
  returns boolean
  language sql
  immutable
  parallel safe
  -- An e-mail address, or an IP address of either kind, anywhere in it.
  return value ~ '[^[:space:]@]@[^[:space:]@]' or value ~ '(^|[^0-9.])[0-9]{1,3}(\.[0-9]{1,3}){3}([^0-9.]|$)'
    or value ~* '(^|[^0-9a-f:])([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}' or value ~* '(^|[^0-9a-f:])[0-9a-f]{0,4}(:[0-9a-f]{1,4})*::[0-9a-f]{0,4}';

comment on function audit.names_person(text) is 'Whether a text that somebody looks for holds an e-mail or IP address.';

create or replace function audit.record_reading(
  organization_id uuid,
  action text,
  details jsonb,
  resource_type text default 'audit_log',
  resource_id text default null
)
  returns void
  language plpgsql
  security definer -- readers leave an entry that they read, and can write nothing else
  set search_path = ''
as $$
declare
  v_details jsonb := record_reading.details;
  v_query record;
begin
  if record_reading.action not in ('log.searched', 'log.viewed', 'log.exported')
    or audit.reach(record_reading.organization_id) is null
  then
    perform audit.fail('AUDEN', 'Only reading of a log that you may read is recorded here.');
  end if;
  if current_setting('transaction_read_only') = 'on' then
    perform audit.fail('AUARG', 'Reading the log leaves an entry, and this transaction is read-only.', null,
      'Use a connection that can write, or select from public.audit_logs.');
  end if;
  if v_details ? 'filter' then
    select q.* into v_query from audit.query_apart(record_reading.organization_id, v_details -> 'filter') q;
    v_details := v_details - 'filter' || jsonb_build_object('query', left(audit.format_node(v_query.node), 4000)) || case
      when v_query.personal_values <> '[]' then jsonb_build_object('values', v_query.personal_values) else '{}'
    end;
  end if;
  perform audit.record(
    record_reading.organization_id, record_reading.action, record_reading.resource_type, record_reading.resource_id, v_details
  );
end
$$;

comment on function audit.record_reading(uuid, text, jsonb, text, text) is
  'Leaves the entry that says the log was searched, viewed or exported. A query tree as "filter" in the details is recorded as
its string, without the addresses of persons, which are committed to.';

-- Where to look -------------------------------------------------------------------------------------------------------

do $$
begin
  if to_regtype('audit.position') is null then
    create type audit.position as (
      cost numeric,
      created_at timestamptz,
      chain int,
      seq bigint
    );
  end if;
end
$$;

comment on type audit.position is 'Where an entry stands in a sorted list; cost only where it is sorted by.';

create or replace function audit.position_condition(alias text, sign text, place audit.position)
  returns text
  language sql
  immutable
  parallel safe
  return format(
    '(%1$s.created_at, %1$s.chain, %1$s.seq) %2$s (%3$L::timestamptz, %4$L, %5$L)', alias, sign,
    (place).created_at, (place).chain, (place).seq
  );

comment on function audit.position_condition(text, text, audit.position) is
  'The condition that an entry stands before or after a position in time.';

create or replace function audit.search_tail(organization_id uuid)
  returns table (chain int, seq bigint)
  language sql
  stable
  security definer -- says how far the index is behind, nothing of what is in the log
  set search_path = ''
  rows 10
as $$
  select h.chain, coalesce(p.seq, 0)
  from audit.heads h
  left join audit.search_positions p on p.organization_id = h.organization_id and p.chain = h.chain
  where h.organization_id = search_tail.organization_id and h.seq > coalesce(p.seq, 0)
    and audit.reach(search_tail.organization_id) is not null
$$;

comment on function audit.search_tail(uuid) is
  'The chains of an organisation that have entries which the search index does not have yet, and after which seq.';

create or replace function audit.group_terms(organization_id uuid, week int, term_group jsonb)
  returns int[]
  language sql
  immutable
  parallel safe
  return array(
    select audit.search_term(audit.search_seed(organization_id, week), t.term) from jsonb_array_elements_text(term_group) t (term)
  );

comment on function audit.group_terms(uuid, int, jsonb) is 'The terms of a group, salted for a week.';

create or replace function audit.search_groups(organization_id uuid, term_groups jsonb)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select case audit.reach(search_groups.organization_id)
    when 'all' then search_groups.term_groups
    when 'own' then audit.term_group('actor=', array[auth.uid()::text]) || search_groups.term_groups
  end
$$;

comment on function audit.search_groups(uuid, jsonb) is
  'The groups of terms of which an entry has one each that the caller looks for and may read; null: none.';

create or replace function audit.search_candidates(
  organization_id uuid,
  term_groups jsonb,
  from_time timestamptz,
  to_time timestamptz,
  descending boolean default true,
  after audit.position default null,
  at_most int default null
)
  returns table (created_at timestamptz, chain int, seq bigint)
  language plpgsql
  stable
  security definer -- reads the index on behalf of those who may read the entries, and names no others
  set search_path = ''
  -- The planner has not counted salted terms: it supposes half of the table for a list of them, and would read it whole.
  set enable_seqscan = off
  set enable_bitmapscan = on -- whoever walks the timeline has it off
  set enable_sort = on
  set jit = off -- what is switched off counts as dear, and what is dear is compiled
  rows 100
as $$
#variable_conflict use_column
declare
  v_groups jsonb := audit.search_groups(search_candidates.organization_id, search_candidates.term_groups);
  v_order text := case when descending then 'order by s.created_at desc, s.chain desc, s.seq desc'
    else 'order by s.created_at, s.chain, s.seq' end;
  v_limit text := 'limit ' || coalesce(at_most::text, 'all');
  v_base text := concat_ws(' and ',
    format('s.organization_id = %L', organization_id),
    case when from_time is not null then format('s.created_at >= %L', from_time) end,
    case when to_time is not null then format('s.created_at < %L', to_time) end,
    case when not (after is null) then audit.position_condition('s', case when descending then '<' else '>' end, after) end
  );
  v_first int;
  v_last int;
  v_names audit.position[];
begin
  if v_groups is null then
    return;
  elsif v_groups = '[]' then
    return query execute format('select s.created_at, s.chain, s.seq from audit.search_index s where %s %s %s', v_base, v_order, v_limit);
    return;
  end if;
  execute format(
    'select audit.search_week(min(s.created_at)), audit.search_week(max(s.created_at)) from audit.search_index s where %s', v_base
  ) into v_first, v_last;
  if v_first is null then
    return;
  elsif descending then
    select v_last, v_first into v_first, v_last;
  end if;

  -- What is frequent stands near at hand: a stretch of the timeline is walked first. It lies in one week, or the weeks
  -- after that are asked in any case.
  if at_most is not null then
    execute format(
      'select array_agg(row(null, n.created_at, n.chain, n.seq)::audit.position) from ('
        || 'select s.* from (select s.created_at, s.chain, s.seq, s.terms from audit.search_index s'
        || ' where %s and s.created_at >= to_timestamp(%s) and s.created_at < to_timestamp(%s) %s limit 1000) s'
        || ' where %s %s %s) n',
      v_base, v_first * 604800.0, (v_first + 1) * 604800.0, v_order,
      (
        select string_agg(format('s.terms && %L::int[]', audit.group_terms(search_candidates.organization_id, v_first, g.term_group)), ' and ')
        from jsonb_array_elements(v_groups) g (term_group)
      ),
      v_order, v_limit
    ) into v_names;
    if cardinality(v_names) = at_most then
      return query select n.created_at, n.chain, n.seq from unnest(v_names) n;
      return;
    end if;
  end if;

  -- Then by the terms, week after week until there are enough: a lateral join asks for a week when the one before has
  -- given all it has. The terms alone say organisation and week (500); beside them the planner would read the timeline.
  return query execute format(
    'select c.created_at, c.chain, c.seq from generate_series(%s, %s, %s) w (week)'
      || ' cross join lateral (select %s offset 0) t'
      || ' cross join lateral ('
      || 'with s as materialized (select s.organization_id, s.created_at, s.chain, s.seq from audit.search_index s where %s)'
      || ' select s.created_at, s.chain, s.seq from s where %s %7$s) c %7$s',
    v_first, v_last, case when descending then -1 else 1 end,
    (
      select string_agg(format('audit.group_terms(%L, w.week, %L) as g%s', search_candidates.organization_id, g.term_group, g.n), ', ')
      from jsonb_array_elements(v_groups) with ordinality g (term_group, n)
    ),
    (select string_agg(format('s.terms && t.g%s', n), ' and ') from generate_series(1, jsonb_array_length(v_groups)) n),
    v_base || ' ' || v_order, v_limit
  );
end
$$;

comment on function audit.search_candidates(uuid, jsonb, timestamptz, timestamptz, boolean, audit.position, int) is
  'Names of indexed entries that have a term of each group, in order; of an organisation the caller reads, and of the
caller''s own activity where that is all the caller reads.';

create or replace function audit.cost_condition(alias text, sign text, place audit.position)
  returns text
  language sql
  immutable
  parallel safe
  return format(
    '(%1$s.cost %2$s %3$L or %1$s.cost = %3$L and %4$s)', alias, sign, (place).cost, audit.position_condition(alias, '<', place)
  );

comment on function audit.cost_condition(text, text, audit.position) is
  'The condition that an entry stands behind a position in the order of cost; of equal costs the newest is first.';

create or replace function audit.candidates_by_cost(
  organization_id uuid,
  term_groups jsonb,
  from_time timestamptz,
  to_time timestamptz,
  descending boolean,
  after audit.position,
  at_most int
)
  returns setof audit.position
  language plpgsql
  stable
  security definer -- reads the index on behalf of those who may read the entries, and names no others
  set search_path = ''
  set jit = off
  rows 100
as $$
#variable_conflict use_column
declare
  v_groups jsonb := audit.search_groups(candidates_by_cost.organization_id, candidates_by_cost.term_groups);
  v_sign text := case when descending then '<' else '>' end;
  v_order text := format('order by s.cost %s, s.created_at desc, s.chain desc, s.seq desc', case when descending then 'desc' else 'asc' end);
  v_weeks text;
  v_place audit.position := after;
  v_names audit.position[];
  v_ends audit.position[];
  v_left int := at_most;
begin
  if v_groups is null then
    return;
  end if;
  -- Each entry is asked for the terms of its own week.
  select format(
    'join (select w.week, %s from generate_series(audit.search_week(%L), audit.search_week(%L)) w (week) offset 0) t'
      || ' on t.week = audit.search_week(s.created_at) and %s',
    string_agg(format('audit.group_terms(%L, w.week, %L) as g%s', candidates_by_cost.organization_id, g.term_group, g.n), ', '),
    (select min(s.created_at) from audit.search_index s where s.organization_id = candidates_by_cost.organization_id),
    (select max(s.created_at) from audit.search_index s where s.organization_id = candidates_by_cost.organization_id),
    string_agg(format('s.terms && t.g%s', g.n), ' and ')
  ) into v_weeks
  from jsonb_array_elements(v_groups) with ordinality g (term_group, n)
  having count(*) > 0;

  -- The order of cost is walked, in stretches that grow.
  for v_walk in 1 .. 2 loop
    execute format(
      'with s as materialized (select s.cost, s.created_at, s.chain, s.seq, s.terms from audit.search_index s where %1$s %2$s limit %3$s)'
        || ' select array(select row(s.cost, s.created_at, s.chain, s.seq)::audit.position from s %4$s %2$s limit %5$s),'
        || ' array(select row(s.cost, s.created_at, s.chain, s.seq)::audit.position from s offset %3$s - 1)',
      concat_ws(' and ',
        format('s.organization_id = %L and s.cost is not null', organization_id),
        case when from_time is not null then format('s.created_at >= %L', from_time) end,
        case when to_time is not null then format('s.created_at < %L', to_time) end,
        case when not (v_place is null) then format('s.cost %s= %L and %s', v_sign, (v_place).cost, audit.cost_condition('s', v_sign, v_place)) end
      ),
      v_order, 1000 * 4 ^ (v_walk - 1), v_weeks, coalesce(v_left::text, 'all')
    ) into v_names, v_ends;
    return query select n.* from unnest(v_names) n;
    v_left := v_left - cardinality(v_names);
    exit when v_left = 0 or v_ends = '{}';
    v_place := v_ends[1];
  end loop;
end
$$;

comment on function audit.candidates_by_cost(uuid, jsonb, timestamptz, timestamptz, boolean, audit.position, int) is
  'The same in the order of cost: names of indexed entries that have a cost and a term of each group. It gives up where terms
are rare, and may have left out what comes after its last.';

-- What reads the log's partitions is in functions of its own with nothing dynamic in them: their plans, dear because each
-- partition is planned, are made once a connection; and their few entries are read before anything is asked of them.
create or replace function audit.entries_by_name(organization_id uuid, names audit.position[])
  returns setof public.audit_logs
  language plpgsql
  stable
  set search_path = ''
  rows 100
as $$
begin
  return query
    select e.*
    from unnest(names) n
    cross join lateral (
      select a.* from public.audit_logs a
      where a.organization_id = entries_by_name.organization_id and a.created_at = n.created_at and a.chain = n.chain and a.seq = n.seq
      offset 0
    ) e;
end
$$;

comment on function audit.entries_by_name(uuid, audit.position[]) is 'The entries at these positions, as far as the caller may see them.';

create or replace function audit.timeline(
  organization_id uuid,
  from_time timestamptz,
  to_time timestamptz,
  descending boolean,
  after audit.position,
  at_most int
)
  returns setof public.audit_logs
  language plpgsql
  stable
  set search_path = ''
  -- The plan for any values, from the sixth call on, knows neither organisation nor time: it would sort years of entries.
  set enable_sort = off
  set enable_bitmapscan = off
  set jit = off
  rows 100
as $$
begin
  if descending then
    return query
      select a.* from public.audit_logs a
      where a.organization_id = timeline.organization_id
        and a.created_at >= coalesce(from_time, '-infinity') and a.created_at < coalesce(to_time, 'infinity')
        and (a.created_at, a.chain, a.seq)
          < (coalesce((after).created_at, 'infinity'), coalesce((after).chain, 2147483647), coalesce((after).seq, 9223372036854775807))
      order by a.created_at desc, a.chain desc, a.seq desc
      limit at_most;
  else
    return query
      select a.* from public.audit_logs a
      where a.organization_id = timeline.organization_id
        and a.created_at >= coalesce(from_time, '-infinity') and a.created_at < coalesce(to_time, 'infinity')
        and (a.created_at, a.chain, a.seq) > (coalesce((after).created_at, '-infinity'), coalesce((after).chain, -1), coalesce((after).seq, -1))
      order by a.created_at, a.chain, a.seq
      limit at_most;
  end if;
end
$$;

comment on function audit.timeline(uuid, timestamptz, timestamptz, boolean, audit.position, int) is
  'The next entries of an organisation in time, before or after a position, as far as the caller may see them.';

create or replace function audit.waiting_entries(organization_id uuid)
  returns setof public.audit_logs
  language plpgsql
  stable
  set search_path = ''
  rows 100
as $$
begin
  return query
    select e.*
    from audit.search_tail(waiting_entries.organization_id) t
    cross join lateral (
      select a.* from public.audit_logs a
      -- Nothing of the time, or a plan for any values would read the timeline from there.
      where a.organization_id = waiting_entries.organization_id and a.chain = t.chain and a.seq > t.seq
      offset 0
    ) e;
end
$$;

comment on function audit.waiting_entries(uuid) is 'The entries that the search index does not have yet, as the caller may see them.';

create or replace function audit.needs_no_index(organization_id uuid, compiled audit.compiled_query)
  returns boolean
  language sql
  stable
  set search_path = ''
as $$
  select (compiled).term_groups = '[]' and audit.reach(needs_no_index.organization_id) = 'all'
$$;

comment on function audit.needs_no_index(uuid, audit.compiled_query) is
  'Whether a query names no term, so that the timeline answers it; who reads only the own activity has always one.';

-- What matches --------------------------------------------------------------------------------------------------------

create or replace function audit.matching_sql(organization_id uuid, compiled audit.compiled_query, joined text default '')
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select case
    when audit.needs_no_index(matching_sql.organization_id, compiled) then format(
      'from public.audit_logs e %s where e.organization_id = %L and (%s)', joined, matching_sql.organization_id, (compiled).condition
    )
    else format(
      'from (select a.* from audit.search_candidates(%1$L, %2$L, %3$L, %4$L) n cross join lateral (select a.* from public.audit_logs a'
        || ' where a.organization_id = %1$L and a.created_at = n.created_at and a.chain = n.chain and a.seq = n.seq offset 0) a'
        || ' union all select w.* from audit.waiting_entries(%1$L) w) e %6$s where (%5$s)',
      matching_sql.organization_id, (compiled).term_groups, (compiled).from_time, (compiled).to_time, (compiled).condition, joined
    )
  end
$$;

comment on function audit.matching_sql(uuid, audit.compiled_query, text) is
  'From and where of a query for all entries e that match, for use in one statement, with more joins if given.';

create or replace function audit.check_sort(sort text)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if check_sort.sort is null or check_sort.sort not in ('-created_at', 'created_at', '-cost', 'cost') then
    perform audit.fail('AUARG', format('There is no sort "%s".', left(check_sort.sort, 50)), null,
      'Sort by created_at, -created_at, cost or -cost.');
  end if;
end
$$;

comment on function audit.check_sort(text) is 'Refuses what entries are not sorted by.';

create or replace function audit.matching(
  organization_id uuid,
  compiled audit.compiled_query,
  sort text,
  after audit.position,
  at_most int
)
  returns setof public.audit_logs
  language plpgsql
  stable -- one snapshot for all its statements: no entry passes from the tail to the index between two of them
  set search_path = ''
  rows 50
as $$
declare
  v_by_cost boolean := sort in ('cost', '-cost');
  v_descending boolean := sort like '-%';
  v_sign text := case when v_descending then '<' else '>' end;
  v_order text := case
    when v_by_cost then
      format('order by e.cost %s nulls last, e.created_at desc, e.chain desc, e.seq desc', case when v_descending then 'desc' else 'asc' end)
    when v_descending then 'order by e.created_at desc, e.chain desc, e.seq desc'
    else 'order by e.created_at, e.chain, e.seq'
  end;
  v_after text := case
    when after is null then 'true'
    when v_by_cost then audit.cost_condition('e', v_sign, after)
    else audit.position_condition('e', v_sign, after)
  end;
  v_unpriced audit.compiled_query := compiled;
  v_rows public.audit_logs[] := '{}';
  v_more public.audit_logs[];
  v_names audit.position[];
  v_from audit.position := after;
  v_batch int := at_most + 20;
  v_goes_on boolean := true;
  v_found int;
begin
  if v_by_cost and (after).created_at is not null and (after).cost is null then
    -- What has no cost comes last either way, the newest first.
    v_unpriced.condition := format('(%s) and e.cost is null', (compiled).condition);
    return query select m.* from audit.matching(organization_id, v_unpriced, '-created_at', after, at_most) m;
    return;
  elsif not v_by_cost and audit.needs_no_index(organization_id, compiled) then
    -- Most conditions that name no term are met near at hand; else the planner sees the whole.
    return query execute format('select e.* from audit.timeline($1, $2, $3, $4, $5, $6) e where (%s) %s limit $7', (compiled).condition, v_order)
      using organization_id, (compiled).from_time, (compiled).to_time, v_descending, after,
        case (compiled).condition when 'true' then at_most else 4 * at_most end, at_most;
    get diagnostics v_found = row_count;
    if v_found < at_most and (compiled).condition <> 'true' then
      return query execute format('select e.* %s and %s %s offset %L limit %L',
        audit.matching_sql(organization_id, compiled), v_after, v_order, v_found, at_most - v_found);
    end if;
    return;
  end if;

  -- Candidates by the batch, until the page is full. Their order is the page's. By cost, all that matches is sorted where
  -- the time is short, and where a few batches are not enough.
  if v_by_cost then
    select count(*) > 2000 into v_goes_on
    from audit.search_candidates(organization_id, '[]', (compiled).from_time, (compiled).to_time, true, null, 2001);
  end if;
  while v_goes_on loop
    if v_by_cost then
      select array_agg(c) into v_names
      from audit.candidates_by_cost(
        organization_id, (compiled).term_groups, (compiled).from_time, (compiled).to_time, v_descending, v_from, v_batch
      ) c;
    else
      select array_agg(row(null, c.created_at, c.chain, c.seq)::audit.position) into v_names
      from audit.search_candidates(
        organization_id, (compiled).term_groups, (compiled).from_time, (compiled).to_time, v_descending, v_from, v_batch
      ) c;
    end if;
    exit when v_names is null;
    execute format(
      'select array_agg(row(e.*)::public.audit_logs) from (select e.* from audit.entries_by_name($1, $2) e where (%s) %s limit $3) e',
      (compiled).condition, v_order
    ) into v_more using organization_id, v_names, at_most - cardinality(v_rows);
    v_rows := v_rows || v_more;
    exit when cardinality(v_rows) >= at_most or cardinality(v_names) < v_batch;
    v_from := v_names[cardinality(v_names)];
    v_batch := least(4 * v_batch, 5000);
    v_goes_on := not v_by_cost or v_batch < 2000;
  end loop;
  if v_by_cost and cardinality(v_rows) < at_most then
    return query execute format('select e.* %s and (%s) %s limit %L',
      audit.matching_sql(organization_id, compiled), v_after || case when after is null then '' else ' or e.cost is null' end, v_order, at_most);
    return;
  end if;

  -- And what the index does not have yet.
  execute format(
    'select array_agg(row(e.*)::public.audit_logs) from (select e.* from audit.waiting_entries(%L) e where (%s) and %s %s limit %L) e',
    organization_id, (compiled).condition, v_after, v_order, at_most
  ) into v_more;
  if v_more is null then
    return query select e.* from unnest(v_rows) e;
  else
    return query execute format('select e.* from unnest($1) e %s limit %L', v_order, at_most) using v_rows || v_more;
  end if;
end
$$;

comment on function audit.matching(uuid, audit.compiled_query, text, audit.position, int) is
  'The next entries that match, in order, after a position.';

-- For the SQL editor --------------------------------------------------------------------------------------------------

create or replace function audit.search(
  query text default '',
  organization_id uuid default null,
  sort text default '-created_at',
  at_most int default 100
)
  returns setof public.audit_events
  language plpgsql
  set search_path = ''
  rows 100
as $$
#variable_conflict use_column
declare
  v_organization uuid := audit.readable_organization(search.organization_id);
  v_tree jsonb := audit.parse_query(coalesce(search.query, ''));
  v_compiled audit.compiled_query := audit.compile_query(v_organization, v_tree);
  v_found int;
  v_archived timestamptz := audit.archived_before(v_organization);
begin
  perform audit.check_sort(search.sort);
  if search.at_most is null or search.at_most not between 1 and 10000 then
    perform audit.fail('AUARG', 'at_most is from 1 to 10,000.', null, 'For more, export.');
  end if;
  return query
    select m.organization_id, m.chain, m.seq, m.created_at, m.action, m.outcome, m.resource_type, m.resource_id,
      m.created_by, m.actor_type, i.email, i.ip_address, i.user_agent, m.provider, m.cost, m.request_id, m.details
    from audit.matching(v_organization, v_compiled, search.sort, null, search.at_most) with ordinality as m (
      organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, created_by, actor_type,
      identity_hash, provider, cost, request_id, details, prev_hash, hash, n
    )
    left join lateral (
      select i.email, i.ip_address, i.user_agent from audit.identities i where i.identity_hash = m.identity_hash limit 1
    ) i on true
    order by m.n;
  get diagnostics v_found = row_count;
  perform audit.record_reading(v_organization, 'log.searched', jsonb_build_object(
    'filter', v_tree, 'sort', search.sort, 'entries', v_found, 'continued', false
  ));
  if v_archived >= coalesce((v_compiled).from_time, '-infinity') then
    raise notice 'audit: entries up to % may be in the archive only, where this does not look', v_archived;
  end if;
end
$$;

comment on function audit.search(text, uuid, text, int) is
  'Searches the log: select * from audit.search(''action:api_key.* created:7d "production"'', organization_id).
Leaves a log.searched entry. sql/README.md has the query language.';

create or replace function audit.history(resource_type text, resource_id text, organization_id uuid default null, at_most int default 1000)
  returns setof public.audit_events
  language sql
  set search_path = ''
  rows 100
as $$
  select * from audit.search(
    audit.format_query(jsonb_build_object('and', jsonb_build_array(
      jsonb_build_object('field', 'resource_type', 'op', 'eq', 'value', history.resource_type),
      jsonb_build_object('field', 'resource_id', 'op', 'eq', 'value', history.resource_id)
    ))),
    history.organization_id, 'created_at', history.at_most
  )
$$;

comment on function audit.history(text, text, uuid, int) is
  'Everything that happened to one thing, oldest first: select * from audit.history(''api_key'', ''3f2a…'').';
