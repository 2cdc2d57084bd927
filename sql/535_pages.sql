-- Pages of the log for the Edge Function "audit": of a search, with totals and facets; of one entry; of a query in its two
-- forms; of what the caller may read. Each leaves the entry that says the log was read.

create or replace function audit.sample_matching(organization_id uuid, compiled audit.compiled_query, at_most int)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_names audit.position[];
  v_source text;
  v_sample jsonb;
  v_first timestamptz;
begin
  if audit.needs_no_index(organization_id, compiled) then
    v_source := audit.matching_sql(organization_id, compiled);
  else
    select array_agg(row(null, c.created_at, c.chain, c.seq)::audit.position) into v_names
    from (
      select c.created_at, c.chain, c.seq
      from audit.search_candidates(organization_id, (compiled).term_groups, (compiled).from_time, (compiled).to_time, true, null, at_most) c
      union all
      select w.created_at, w.chain, w.seq from audit.waiting_entries(organization_id) w
    ) c;
    v_source := format(
      'from audit.entries_by_name(%L, $1) e where (%s)', organization_id, (compiled).condition
    );
  end if;
  execute format(
    $q$
    with sample as materialized (
      select e.action, e.created_by, e.provider, (e.created_at at time zone 'utc')::date as day, e.created_at
      %s order by e.created_at desc, e.chain desc, e.seq desc limit %s
    ),
    counted as (
      select grouping(s.action, s.created_by, s.provider, s.day) as what, s.action, s.created_by, s.provider, s.day, count(*) as n
      from sample s
      group by grouping sets ((s.action), (s.created_by), (s.provider), (s.day), ())
    )
    select jsonb_build_object(
      'of', (select count(*) from sample),
      'newest', (select max(created_at) from sample),
      'oldest', (select min(created_at) from sample),
      'action', (
        select coalesce(jsonb_agg(jsonb_build_object('value', action, 'count', n) order by n desc, action), '[]')
        from counted where what = 7
      ),
      'actor', (
        select coalesce(jsonb_agg(jsonb_build_object('value', c.created_by, 'email', i.email, 'count', c.n) order by c.n desc, c.created_by), '[]')
        from (select * from counted where what = 11 and created_by is not null order by n desc, created_by limit 50) c
        left join lateral (
          select i.email from audit.identities i
          where i.user_id = c.created_by and i.organization_id = %L and i.email is not null
          order by i.created_at desc limit 1
        ) i on true
      ),
      'provider', (
        select coalesce(jsonb_agg(jsonb_build_object('value', provider, 'count', n) order by n desc, provider), '[]')
        from counted where what = 13 and provider is not null
      ),
      'day', (select coalesce(jsonb_agg(jsonb_build_object('value', day, 'count', n) order by day), '[]') from counted where what = 14)
    )
    $q$,
    v_source, at_most, organization_id
  ) into v_sample using v_names;

  if (v_sample ->> 'of')::int < at_most and coalesce(cardinality(v_names), 0) < at_most then
    return v_sample || '{"complete": true}';
  end if;
  -- Older matches are supposed to come as thick as those counted.
  select least(min(s.created_at), (v_sample ->> 'oldest')::timestamptz) into v_first
  from (
    select a.created_at from public.audit_logs a
    where a.organization_id = sample_matching.organization_id order by a.created_at limit 1
  ) s;
  v_first := greatest(v_first, (compiled).from_time);
  return v_sample || jsonb_build_object('complete', false, 'estimate', greatest((v_sample ->> 'of')::bigint, round(
    (v_sample ->> 'of')::numeric * extract(epoch from (v_sample ->> 'newest')::timestamptz - v_first)
      / nullif(extract(epoch from (v_sample ->> 'newest')::timestamptz - (v_sample ->> 'oldest')::timestamptz), 0)
  )::bigint));
end
$$;

comment on function audit.sample_matching(uuid, audit.compiled_query, int) is
  'Counts of the newest matches by action, actor, provider and day, and how many matches there may be in all.';

create or replace function audit.search_page(request jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_organization uuid;
  v_tree jsonb;
  v_query text;
  v_sort text := coalesce(request ->> 'sort', '-created_at');
  v_limit int := 50;
  v_compiled audit.compiled_query;
  v_entries public.audit_logs[];
  v_last public.audit_logs;
  v_page jsonb;
  v_sample jsonb;
begin
  perform audit.check_request(request, array['organization_id', 'query', 'filter', 'sort', 'limit', 'cursor', 'include']);
  v_organization := audit.requested_organization(request);
  perform audit.check_sort(v_sort);
  if request ? 'limit' then
    if coalesce(request ->> 'limit', '') !~ '^\d{1,4}$' or (request ->> 'limit')::int not between 1 and 200 then
      perform audit.fail('AUARG', 'limit is a whole number from 1 to 200.');
    end if;
    v_limit := (request ->> 'limit')::int;
  end if;
  if jsonb_typeof(coalesce(request -> 'include', '[]')) <> 'array'
    or not coalesce(request -> 'include', '[]') <@ '["total", "facets"]'
  then
    perform audit.fail('AUARG', 'include holds "total" and "facets".');
  end if;
  v_tree := audit.requested_tree(request);
  v_query := audit.format_node(v_tree);
  v_compiled := audit.compile_query(v_organization, v_tree);
  v_entries := array(
    select m from audit.matching(
      v_organization, v_compiled, v_sort, audit.read_cursor(v_organization, v_sort || ' ' || v_tree, request ->> 'cursor'), v_limit + 1
    ) m
  );
  if cardinality(v_entries) > v_limit then
    v_entries := v_entries[:v_limit];
    v_last := v_entries[v_limit];
  end if;
  v_page := jsonb_build_object(
    'organization_id', v_organization, 'query', v_query, 'filter', v_tree, 'sort', v_sort,
    'entries', audit.entries_json(v_entries),
    'next', case when v_last.seq is not null then audit.make_cursor(
      v_organization, v_sort || ' ' || v_tree,
      row(case when v_sort like '%cost' then v_last.cost end, v_last.created_at, v_last.chain, v_last.seq)::audit.position
    ) end,
    'archived_before', audit.instant_text(audit.archived_before(v_organization))
  );
  if request -> 'include' ?| array['total', 'facets'] then
    v_sample := audit.sample_matching(v_organization, v_compiled, 10000);
    if request -> 'include' ? 'total' then
      v_page := v_page || jsonb_build_object('total', jsonb_build_object(
        'value', coalesce(v_sample -> 'estimate', v_sample -> 'of'), 'exact', v_sample -> 'complete'
      ));
    end if;
    if request -> 'include' ? 'facets' then
      v_page := v_page || jsonb_build_object('facets', v_sample - 'estimate' - 'newest' - 'oldest');
    end if;
  end if;

  perform audit.record_reading(v_organization, 'log.searched', jsonb_build_object(
    'filter', v_tree, 'sort', v_sort, 'entries', cardinality(v_entries), 'continued', request ->> 'cursor' is not null
  ));
  return v_page;
end
$$;

comment on function audit.search_page(jsonb) is
  'A page of a search as JSON, for the function "audit"; sql/README.md lists the fields. Leaves a log.searched entry.';

create or replace function audit.convert_query(request jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_tree jsonb;
begin
  perform audit.check_request(request, array['query', 'filter']);
  if (request ? 'query') = (request ? 'filter') then
    perform audit.fail('AUARG', 'Pass either a query or a filter.');
  end if;
  v_tree := audit.requested_tree(request);
  return jsonb_build_object('query', audit.format_node(v_tree), 'filter', v_tree);
end
$$;

comment on function audit.convert_query(jsonb) is 'The string form of a query tree, and the tree of a string: {"query"} or {"filter"} in, both out.';

create or replace function audit.find_entry(organization_id uuid, name text)
  returns public.audit_logs
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_entry public.audit_logs;
begin
  if coalesce(find_entry.name, '') !~ '^\d{1,9}-\d{1,18}$' then
    perform audit.fail('AUARG', 'An entry is named by chain and position: 3-17.');
  end if;
  select a.* into v_entry
  from public.audit_logs a
  where a.organization_id = find_entry.organization_id and a.chain = split_part(find_entry.name, '-', 1)::int
    and a.seq = split_part(find_entry.name, '-', 2)::bigint;
  if not found then
    perform audit.fail('AUNOT', format('There is no entry %s that you may read.', find_entry.name));
  end if;
  return v_entry;
end
$$;

comment on function audit.find_entry(uuid, text) is 'The entry of a name like 3-17, as far as the caller may read it; raises AUNOT else.';

create or replace function audit.entry_place(entry public.audit_logs)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select to_jsonb(p) || jsonb_build_object('attribution', (select d.attribution from audit.place_data d))
  from (
    -- The address, where the caller may see it; then so the place.
    select i.ip_address from audit.identities i where i.identity_hash = (entry).identity_hash limit 1
  ) i
  cross join lateral audit.place_of(i.ip_address) p
  where p.country is not null
$$;

comment on function audit.entry_place(public.audit_logs) is
  'Where the address of an entry is, and whose data says so; null where the caller does not see the address, or nobody knows.';

create or replace function audit.view_entry(request jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_organization uuid;
  v_name int[];
  v_chain int;
  v_seq bigint;
  v_entry public.audit_logs;
  v_page jsonb;
begin
  perform audit.check_request(request, array['organization_id', 'name']);
  v_organization := audit.requested_organization(request);
  v_entry := audit.find_entry(v_organization, request ->> 'name');
  v_chain := v_entry.chain;
  v_seq := v_entry.seq;
  v_page := jsonb_build_object(
    'entry', audit.entries_json(array[v_entry]) -> 0,
    'entry_text', audit.entry_text(v_entry),
    'place', audit.entry_place(v_entry),
    'previous', (
      select audit.entries_json(array[a]) -> 0 from public.audit_logs a
      where a.organization_id = v_organization and a.chain = v_chain and a.seq = v_seq - 1 and a.created_at <= v_entry.created_at
    ),
    'next', (
      select audit.entries_json(array[a]) -> 0 from public.audit_logs a
      where a.organization_id = v_organization and a.chain = v_chain and a.seq = v_seq + 1 and a.created_at >= v_entry.created_at
    ),
    -- One request lasts minutes at most.
    'request', audit.entries_json(array(
      select a from public.audit_logs a
      where a.organization_id = v_organization and a.request_id = v_entry.request_id
        and a.created_at between v_entry.created_at - interval '10 minutes' and v_entry.created_at + interval '10 minutes'
      order by a.created_at, a.chain, a.seq
      limit 50
    )),
    'proof', coalesce(
      '{"state": "sealed"}'::jsonb || (audit.place_in_log(v_organization, v_chain, v_seq) - array['folder', 'anchored']), '{"state": "pending"}'
    )
  );
  perform audit.record_reading(v_organization, 'log.viewed', '{}', 'audit_log', request ->> 'name');
  return v_page;
end
$$;

comment on function audit.view_entry(jsonb) is
  'One entry with its exact text, where its address is, its neighbours in the chain and the other entries of its request. Leaves a log.viewed entry.';

create or replace function audit.news(request jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_organization uuid;
  v_since timestamptz;
  v_count int;
begin
  perform audit.check_request(request, array['organization_id', 'since']);
  v_organization := audit.requested_organization(request);
  begin
    v_since := (request ->> 'since')::timestamptz;
  exception when invalid_datetime_format or datetime_field_overflow or invalid_parameter_value then
    v_since := null;
  end;
  if request ? 'since' and not coalesce(isfinite(v_since), false) then
    perform audit.fail('AUARG', 'since is the time of an earlier answer, or of an entry.');
  end if;
  -- The caller's own reading is no news, or looking would announce itself.
  select count(*) into v_count
  from (
    select from public.audit_logs a
    where a.organization_id = v_organization and a.created_at > v_since
      and not (a.action like 'log.%' and a.created_by is not distinct from auth.uid())
    limit 100
  ) n;
  return jsonb_build_object(
    'count', v_count, 'more', v_count = 100, 'access', audit.reach(v_organization), 'at', audit.instant_text(now())
  );
end
$$;

comment on function audit.news(jsonb) is
  'How many entries the caller may read that are newer than a time (none where it is not given), up to 100, and the time now.
To be asked often: leaves no entry.';

create or replace function audit.membership_details(organization_id uuid)
  returns jsonb
  language plpgsql
  stable
  security definer -- reads names and the caller's own grant on behalf of callers who may not
  set search_path = ''
as $$
begin
  if audit.reach(membership_details.organization_id) is null then
    return '{}';
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'name', audit.organization_name(membership_details.organization_id),
    'time_zone', audit.time_zone_of(membership_details.organization_id),
    'until', (
      select audit.instant_text(a.expires_at) from audit.auditors a
      where a.organization_id = membership_details.organization_id and a.user_id = auth.uid()
    )
  ));
end
$$;

comment on function audit.membership_details(uuid) is
  'What the application calls an organisation that the caller reads, its time zone, and until when as its auditor.';

create or replace function audit.access_page()
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object('user_id', auth.uid(), 'organizations', coalesce(jsonb_agg(o.access order by o.organization_id), '[]'))
  from (
    select m.organization_id, jsonb_build_object(
      'organization_id', m.organization_id,
      'access', case when m.organization_id in (select audit.admin_organizations()) then 'all' else 'own' end,
      'as', case when m.organization_id in (select audit.admin_organizations()) then 'admin' else 'member' end
    ) || (audit.membership_details(m.organization_id) - 'until') as access
    from audit.member_organizations() m (organization_id)
    union all
    select a.organization_id,
      jsonb_build_object('organization_id', a.organization_id, 'access', 'all', 'as', 'auditor') || audit.membership_details(a.organization_id)
    from audit.auditor_organizations() a (organization_id)
    where a.organization_id not in (select audit.admin_organizations())
  ) o
$$;

comment on function audit.access_page() is 'Whose logs the caller reads, how much of them, and until when.';
