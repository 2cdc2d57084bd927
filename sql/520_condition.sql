-- From a query tree to SQL: an exact condition on an entry `e` of public.audit_logs, and the terms of the search index
-- that every match must have. Values enter the SQL as literals quoted by format(), because COPY takes no parameters and
-- the planner sees what it plans for.

do $$
begin
  if to_regtype('audit.compiled_query') is null then
    create type audit.compiled_query as (
      condition text,
      term_groups jsonb,
      from_time timestamptz,
      to_time timestamptz
    );
  end if;
end
$$;

comment on type audit.compiled_query is
  'A condition on e; lists of index terms, of each of which a match has one; and between which times matches lie.';

create or replace function audit.compiled(condition text, term_groups jsonb default '[]')
  returns audit.compiled_query
  language sql
  immutable
  parallel safe
  return row(condition, term_groups, null, null)::audit.compiled_query;

comment on function audit.compiled(text, jsonb) is 'A condition without bounds in time.';

create or replace function audit.term_group(kind text, term_values text[])
  returns jsonb
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  select jsonb_build_array(coalesce(jsonb_agg(distinct term_group.kind || t.value), '[]')) from unnest(term_group.term_values) t (value)
$$;

comment on function audit.term_group(text, text[]) is
  'A list with one group of index terms: some values of one kind. A group of none is met by nothing.';

create or replace function audit.word_groups(content text, prefix boolean default false)
  returns jsonb
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  -- Long words are rare words; four of them narrow enough.
  select coalesce(jsonb_agg(jsonb_build_array(w.term) order by w.rank desc), '[]')
  from (
    select length(w.word) as rank,
      case when word_groups.prefix and w.n = w.of then 'prefix ' || left(w.word, 3) else w.word end as term
    from (
      select w.word, w.n, count(*) over () as of from unnest(audit.search_words(word_groups.content)) with ordinality w (word, n)
    ) w
    -- The beginning of a number or an id has no term (500).
    where not (word_groups.prefix and w.n = w.of and w.word < ':' collate "C")
    order by 1 desc
    limit 4
  ) w
$$;

comment on function audit.word_groups(text, boolean) is
  'The index terms of the words of a text, a group each; with prefix, of the beginning of its last word.';

create or replace function audit.value_group(term_values text[], number_kind text default null)
  returns jsonb
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  select case
    when bool_and(v.word is not null)
      then jsonb_build_array(jsonb_agg(distinct v.word) || coalesce(jsonb_agg(distinct v.number) filter (where v.number is not null), '[]'))
    else '[]'
  end
  from (
    select audit.word_groups(t.value) -> 0 -> 0 as word,
      value_group.number_kind || '#' || audit.number_place(audit.number_value(t.value)) as number
    from unnest(value_group.term_values) t (value)
  ) v
$$;

comment on function audit.value_group(text[], text) is
  'A list with one group: the longest word of each of some values and, with a kind, the place of each that is a number. No
group where a value has no word.';

create or replace function audit.compile_time(op text, term_values text[])
  returns audit.compiled_query
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_first tstzrange := audit.query_instants(term_values[1]);
  v_last tstzrange := audit.query_instants(term_values[2]);
  v_from timestamptz;
  v_to timestamptz; -- not included
  v_conditions text[] := '{}';
  v_compiled audit.compiled_query;
begin
  if op = 'in' then
    return audit.compiled((
      select string_agg('(' || (audit.compile_time('eq', array[t.value])).condition || ')', ' or ') from unnest(term_values) t (value)
    ));
  end if;
  -- An instant has no length, so "up to and including" it ends a microsecond later, the grain of created_at.
  v_from := case
    when op in ('eq', 'gte', 'between') then lower(v_first)
    when op = 'gt' then case
      when upper_inf(v_first) then lower(v_first)
      when upper_inc(v_first) then upper(v_first) + interval '1 microsecond'
      else upper(v_first)
    end
  end;
  v_to := case op
    when 'lt' then lower(v_first)
    when 'gte' then null
    when 'gt' then null
    else case
      when op = 'lte' and upper_inf(v_first) then lower(v_first)
      when op = 'between' and upper_inf(v_last) then lower(v_last)
      when upper_inc(coalesce(v_last, v_first)) then upper(coalesce(v_last, v_first)) + interval '1 microsecond'
      else upper(coalesce(v_last, v_first))
    end
  end;
  if v_from is not null then
    v_conditions := v_conditions || format('e.created_at >= %L::timestamptz', v_from);
  end if;
  if v_to is not null then
    v_conditions := v_conditions || format('e.created_at < %L::timestamptz', v_to);
  end if;
  v_compiled := audit.compiled(array_to_string(v_conditions, ' and '));
  v_compiled.from_time := v_from;
  v_compiled.to_time := v_to;
  return v_compiled;
end
$$;

comment on function audit.compile_time(text, text[]) is 'The condition of a comparison of created.';

create or replace function audit.compile_cost(op text, term_values text[])
  returns audit.compiled_query
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_numbers numeric[] := array(select t.value::numeric from unnest(term_values) t (value));
  v_from numeric := case
    when op in ('gt', 'gte', 'between') then v_numbers[1]
    when op in ('eq', 'in') then (select min(n) from unnest(v_numbers) n)
  end;
  v_to numeric := case
    when op in ('lt', 'lte') then v_numbers[1]
    when op = 'between' then v_numbers[2]
    when op in ('eq', 'in') then (select max(n) from unnest(v_numbers) n)
  end;
begin
  return audit.compiled(
    case op
      when 'eq' then format('e.cost = %s', v_numbers[1])
      when 'in' then format('e.cost = any (%L::numeric[])', v_numbers)
      when 'between' then format('e.cost between %s and %s', v_numbers[1], v_numbers[2])
      else format('e.cost %s %s', case op when 'gt' then '>' when 'gte' then '>=' when 'lt' then '<' else '<=' end, v_numbers[1])
    end,
    case
      -- Zero and what is near it is found faster than listed.
      when v_from > 0 or v_to < 0 then audit.term_group('', audit.range_terms('cost ', v_from, v_to))
      else '[]'
    end
  );
end
$$;

comment on function audit.compile_cost(text, text[]) is 'The condition of a comparison of cost.';

-- E-mail addresses, IP addresses and user agents stand apart from the log; the caller's own rights decide which are
-- found. They are looked up now, so that the condition is on the entry alone.
create or replace function audit.compile_identity(organization_id uuid, field text, op text, term_values text[])
  returns audit.compiled_query
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_column text := case field when 'ip' then 'ip_address' when 'user_agent' then 'user_agent' else 'email' end;
  v_test text;
  v_hashes bytea[];
  v_users uuid[];
  v_found int;
  v_condition text;
  v_most constant int := 1000;
begin
  v_test := format('i.organization_id = %L and ', compile_identity.organization_id) || case
    when op = 'exists' then format('i.%I is not null', v_column)
    when op = 'like' then format('lower(i.%I) like lower(%L)', v_column, audit.pattern_like(term_values[1]))
    else format('lower(i.%I) = any (%L::text[])', v_column, (select array_agg(lower(v)) from unnest(term_values) v))
  end;
  execute format(
    'select count(*), coalesce(array_agg(distinct i.identity_hash), ''{}''),'
      || ' coalesce(array_agg(distinct i.user_id) filter (where i.user_id is not null), ''{}'')'
      || ' from (select distinct i.identity_hash, i.user_id from audit.identities i where %s limit %s) i', v_test, v_most + 1
  ) into v_found, v_hashes, v_users;
  if v_found = 0 then
    return audit.compiled('false');
  elsif v_found > v_most then
    return audit.compiled(
      format('e.identity_hash in (select i.identity_hash from audit.identities i where %s)', v_test)
        || case when field = 'actor' then format(' or e.created_by in (select i.user_id from audit.identities i where %s)', v_test) else '' end
    );
  end if;

  v_condition := format('e.identity_hash = any (%L::bytea[])', v_hashes);
  if field = 'actor' then
    -- Who has the address is found also where an entry has no identity: a job that acts for a user.
    v_condition := format('(%s or e.created_by = any (%L::uuid[]))', v_condition, v_users);
  end if;
  return audit.compiled(v_condition, jsonb_build_array(
    audit.term_group('identity=', array(select encode(h, 'hex') from unnest(v_hashes) h)) -> 0
      || case
        when field = 'actor' and v_users <> '{}' then audit.term_group('actor=', array(select u::text from unnest(v_users) u)) -> 0
        else '[]'
      end
  ));
end
$$;

comment on function audit.compile_identity(uuid, text, text, text[]) is
  'The condition that an entry''s actor has an e-mail address, IP address or user agent.';

create or replace function audit.compile_word(field text, op text, term_values text[])
  returns audit.compiled_query
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  -- Indexed whole; its parts are words of every other entry. Other columns are found by their words.
  v_whole boolean := field in ('action', 'resource_type');
  v_pattern text := case when op = 'like' then term_values[1] end;
  v_groups jsonb := '[]';
begin
  if op in ('eq', 'in') and v_whole then
    v_groups := audit.term_group(field || '=', term_values);
  elsif op = 'eq' then
    v_groups := audit.word_groups(term_values[1]);
  elsif op = 'in' then
    v_groups := audit.value_group(term_values);
  elsif field = 'action' and v_pattern ~ '^[a-z0-9_]+\.\*$' then
    v_groups := audit.term_group('action^', array[left(v_pattern, -2)]);
  elsif field = 'action' and v_pattern ~ '^\*\.[a-z0-9_]+$' then
    v_groups := audit.word_groups(substr(v_pattern, 3));
  end if;

  return audit.compiled(
    case op
      when 'exists' then format('e.%I is not null', field)
      when 'like' then format('e.%I like %L', field, audit.pattern_like(v_pattern))
      when 'in' then format('e.%I = any (%L::text[])', field, term_values)
      else format('e.%I = %L', field, term_values[1])
    end,
    v_groups
  );
end
$$;

comment on function audit.compile_word(text, text, text[]) is 'The condition of a comparison of a column that holds text.';

create or replace function audit.compile_path(field text, op text, term_values text[])
  returns audit.compiled_query
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_path text[] := audit.query_path(field);
  v_jsonpath text := 'lax $' || (select string_agg('.' || to_json(s.step), '' order by s.n) from unnest(v_path) with ordinality s (step, n));
  v_sign text := case op when 'gt' then '>' when 'gte' then '>=' when 'lt' then '<' else '<=' end;
  -- The steps are words of the details, too.
  v_groups jsonb := audit.word_groups(array_to_string(v_path, ' '));
  v_kind text := 'number ' || v_path[cardinality(v_path)] || ' ';
  v_first numeric := audit.number_value(term_values[1]);
  v_last numeric := audit.number_value(term_values[2]);
  v_equal text;
begin
  -- Text and number are both meant by 1000; lax mode looks into arrays, and a comparison of different types is no match.
  v_equal := (
    select string_agg(format('@ == %s%s', to_json(v.value), case
      when audit.number_value(v.value) is not null then ' || @ == ' || audit.number_value(v.value)
      when v.value in ('true', 'false') then ' || @ == ' || v.value
    end), ' || ')
    from unnest(term_values) v (value)
  );
  v_jsonpath := v_jsonpath || case op
    when 'exists' then ''
    when 'like' then format(' ? (@ like_regex %s flag "s")', to_json(audit.pattern_regex(term_values[1])))
    -- Value by value: of a list within a list, one would do for the one end and another for the other.
    when 'between' then format('[*] ? (@.type() != "array" && %s)', audit.path_order('>=', term_values[1], '<=', term_values[2]))
    when 'eq' then format(' ? (%s)', v_equal)
    when 'in' then format(' ? (%s)', v_equal)
    else format(' ? (%s)', audit.path_order(v_sign, term_values[1]))
  end;
  v_groups := case
    when op = 'eq' and v_first is null then case when term_values[1] in ('true', 'false') then '[]' else audit.word_groups(term_values[1]) end
    -- What stands in details as a number may be written otherwise: 1000.0.
    when op in ('eq', 'in') then audit.value_group(term_values, v_kind)
    when op = 'between' and v_first is not null and v_last is not null then audit.term_group('', audit.range_terms(v_kind, v_first, v_last))
    when op in ('gt', 'gte') and v_first is not null then audit.term_group('', audit.range_terms(v_kind, v_first, null))
    when op in ('lt', 'lte') and v_first is not null then audit.term_group('', audit.range_terms(v_kind, null, v_first))
    else '[]'
  end || v_groups;
  return audit.compiled(format('e.details @? %L::jsonpath', v_jsonpath), v_groups);
end
$$;

comment on function audit.compile_path(text, text, text[]) is 'The condition of a comparison of a path into details.';

create or replace function audit.path_order(sign text, value text, other_sign text default null, other text default null)
  returns text
  language sql
  immutable
  parallel safe
  return case
    when audit.number_value(value) is not null and (other is null or audit.number_value(other) is not null)
      then concat('@ ', sign, ' ', audit.number_value(value), ' && @ ' || other_sign || ' ' || audit.number_value(other))
    else concat('@ ', sign, ' ', to_json(value), ' && @ ' || other_sign || ' ' || to_json(other))
  end;

comment on function audit.path_order(text, text, text, text) is
  'A comparison by order in a jsonpath: numbers with numbers, all else as text, which ISO dates are.';

create or replace function audit.compile_resource(op text, term_values text[])
  returns audit.compiled_query
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_type text := split_part(term_values[1], '/', 1);
  v_id text := nullif(substr(term_values[1], length(v_type) + 2), '');
  v_compiled audit.compiled_query;
  v_of_id audit.compiled_query;
begin
  if op = 'in' then
    return audit.compiled((
      select string_agg('(' || (audit.compile_resource('eq', array[v])).condition || ')', ' or ')
      from unnest(term_values) v
    ));
  elsif op <> 'eq' then
    return audit.compile_word('resource_type', op, term_values);
  end if;
  v_compiled := audit.compile_word('resource_type', 'eq', array[v_type]);
  if v_id is not null then
    v_of_id := audit.compile_word('resource_id', 'eq', array[v_id]);
    v_compiled.condition := v_compiled.condition || ' and ' || v_of_id.condition;
    v_compiled.term_groups := v_of_id.term_groups || v_compiled.term_groups;
  end if;
  return v_compiled;
end
$$;

comment on function audit.compile_resource(text, text[]) is 'The condition of resource:type or resource:type/id.';

create or replace function audit.either(sides audit.compiled_query[])
  returns audit.compiled_query
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  select audit.compiled(
    string_agg('(' || s.condition || ')', ' or ' order by s.n),
    -- One group for all, unless a side has none: then a match need not have any. A side that nothing meets says nothing.
    case
      when bool_or(s.condition <> 'false' and s.term_groups = '[]') or bool_and(s.condition = 'false') then '[]'
      else jsonb_build_array((
        select coalesce(jsonb_agg(distinct t.term), '[]')
        from unnest(sides) g
        cross join lateral jsonb_array_elements(g.term_groups -> 0) t (term)
      ))
    end
  )
  from unnest(sides) with ordinality s (condition, term_groups, from_time, to_time, n)
$$;

comment on function audit.either(audit.compiled_query[]) is 'The query that one of several is met.';

create or replace function audit.compile_leaf(organization_id uuid, leaf jsonb)
  returns audit.compiled_query
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_field text := leaf ->> 'field';
  v_op text := leaf ->> 'op';
  v_values text[] := case jsonb_typeof(leaf -> 'value')
    when 'array' then array(select v.value from jsonb_array_elements_text(leaf -> 'value') with ordinality v (value, n) order by v.n)
    when 'string' then array[leaf ->> 'value']
  end;
  v_kind text := (select f.kind from audit.query_fields() f where f.field = v_field);
  v_users uuid[];
  v_addresses text[];
  v_by_id audit.compiled_query;
  v_by_address audit.compiled_query;
  v_text text;
begin
  if leaf ? 'text' then
    v_text := ' ' || array_to_string(audit.search_words(leaf ->> 'text'), ' ') || case when leaf ? 'prefix' then '' else ' ' end;
    return audit.compiled(
      format('strpos('' '' || array_to_string(audit.search_words(audit.search_text(e)), '' '') || '' '', %L) > 0', v_text),
      audit.word_groups(leaf ->> 'text', leaf ? 'prefix')
    );
  elsif v_kind is null then
    return audit.compile_path(v_field, v_op, v_values);
  elsif v_field = 'actor' and v_op = 'exists' then
    return audit.compiled('e.created_by is not null');
  elsif v_field = 'actor' and v_op in ('eq', 'in') then
    -- Users by their ids, and by their addresses.
    select array_agg(audit.as_uuid(v)) filter (where audit.as_uuid(v) is not null), array_agg(v) filter (where audit.as_uuid(v) is null)
    into v_users, v_addresses
    from unnest(v_values) v;
    v_by_id := audit.compiled(
      format('e.created_by = any (%L::uuid[])', v_users), audit.term_group('actor=', array(select u::text from unnest(v_users) u))
    );
    if v_addresses is null then
      return v_by_id;
    end if;
    v_by_address := audit.compile_identity(organization_id, v_field, 'in', v_addresses);
    if v_users is null then
      return v_by_address;
    end if;
    return audit.either(array[v_by_id, v_by_address]);
  elsif v_kind in ('person', 'identity') then
    return audit.compile_identity(organization_id, v_field, v_op, v_values);
  elsif v_kind = 'resource' then
    return audit.compile_resource(v_op, v_values);
  elsif v_kind = 'word' then
    return audit.compile_word(v_field, v_op, v_values);
  elsif v_op = 'exists' then
    return audit.compiled(format('e.%I is not null', case v_field when 'created' then 'created_at' else v_field end));
  elsif v_kind = 'time' then
    return audit.compile_time(v_op, v_values);
  elsif v_kind = 'number' then
    return audit.compile_cost(v_op, v_values);
  end if;
  return audit.compiled(case v_op
    when 'eq' then format('e.%I = %s', v_field, v_values[1])
    when 'in' then format('e.%I = any (%L::bigint[])', v_field, v_values)
    when 'between' then format('e.%I between %s and %s', v_field, v_values[1], v_values[2])
    else format('e.%I %s %s', v_field, case v_op when 'gt' then '>' when 'gte' then '>=' when 'lt' then '<' else '<=' end, v_values[1])
  end);
end
$$;

comment on function audit.compile_leaf(uuid, jsonb) is 'The condition of one comparison or text of a canonical query tree.';

create or replace function audit.compile_query(organization_id uuid, tree jsonb)
  returns audit.compiled_query
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_all audit.compiled_query := audit.compiled('true');
  v_part audit.compiled_query;
  v_conditions text[] := '{}';
  v_child jsonb;
begin
  if tree ? 'and' then
    for v_child in select e.value from jsonb_array_elements(tree -> 'and') with ordinality e (value, n) order by e.n loop
      v_part := audit.compile_query(organization_id, v_child);
      v_conditions := v_conditions || ('(' || v_part.condition || ')');
      v_all.term_groups := v_all.term_groups || v_part.term_groups;
      v_all.from_time := greatest(v_all.from_time, v_part.from_time);
      v_all.to_time := least(v_all.to_time, v_part.to_time);
    end loop;
    if v_conditions <> '{}' then
      v_all.condition := array_to_string(v_conditions, ' and ');
    end if;
    return v_all;
  elsif tree ? 'or' then
    return audit.either(array(
      select audit.compile_query(compile_query.organization_id, e.value)
      from jsonb_array_elements(tree -> 'or') with ordinality e (value, n)
      order by e.n
    ));
  elsif tree ? 'not' then
    v_part := audit.compile_query(organization_id, tree -> 'not');
    return audit.compiled('(' || v_part.condition || ') is not true');
  end if;
  return audit.compile_leaf(organization_id, tree);
end
$$;

comment on function audit.compile_query(uuid, jsonb) is
  'The SQL of a canonical query tree for one organisation, as the caller may look at it.';
