-- The query language: one expression in two forms, a string that people type and share, and a JSON tree for programs.
--
--   action:api_key.* -provider:openai created:>=2026-01-01 cost:>0.5 changes.limit.new:>1000 "quarterly report"
--
-- It is read here, and not in the functions, because searches in the SQL editor and rules (which run in the database)
-- speak it too; one reader cannot disagree with another. The grammar is small enough for a recursive descent:
--
--   any  = all { "or" all }          all  = one { ["and"] one }          one = ["-" | "not"] ( "(" any ")" | term )
--   term = field ":" value | text    value = "*" | [">" | ">=" | "<" | "<="] word | word ".." word | "(" word { "or" word } ")"
--   word, text = runs of anything but spaces, quotes and parentheses, and "quoted text", side by side; * is a wildcard

create or replace function audit.query_fields()
  returns table (field text, kind text)
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  values
    ('action', 'word'), ('outcome', 'word'), ('actor', 'person'), ('actor_type', 'word'), ('email', 'identity'),
    ('ip', 'identity'), ('user_agent', 'identity'), ('resource', 'resource'), ('resource_type', 'word'),
    ('resource_id', 'word'), ('provider', 'word'), ('cost', 'number'), ('request_id', 'word'), ('created', 'time'),
    ('chain', 'integer'), ('seq', 'integer')
$$;

comment on function audit.query_fields() is
  'The fields of the query language; beside them paths into details: new.…, old.…, changes.…, details.….';

create or replace function audit.fail_query(message text, place jsonb, hint text default null)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  perform audit.fail('AUQRY', fail_query.message, fail_query.place::text, fail_query.hint);
end
$$;

comment on function audit.fail_query(text, jsonb, text) is
  'Raises AUQRY; its detail says where: {"position": 17} in the string, or {"path": "/and/1"} in the tree.';

create or replace function audit.fail_inside(field text, code text, message text, detail text, hint text)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_place jsonb := case when detail like '{%' then detail::jsonb else '{}' end;
begin
  perform audit.fail(
    fail_inside.code, fail_inside.message, (v_place || jsonb_build_object('path', concat('/', field, v_place ->> 'path')))::text, fail_inside.hint
  );
end
$$;

comment on function audit.fail_inside(text, text, text, text, text) is
  'Raises an error anew that was caught inside a field of a request; its detail says in which: {"path": "/match", "position": 17}.';

-- Values --------------------------------------------------------------------------------------------------------------

create or replace function audit.query_instants(value text)
  returns tstzrange
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_parts text[];
  v_from timestamp;
  v_step interval;
begin
  v_parts := regexp_match(value, '^(\d{1,6})(m|h|d|w|mo|y)$');
  if v_parts is not null then
    -- Ages count back from now: the transaction's time, or that of the export's first part, so that one thing is meant from
    -- end to end.
    v_from := coalesce(nullif(current_setting('audit.query_now', true), '')::timestamptz, now()) at time zone 'utc';
    v_from := v_from - v_parts[1]::int * case v_parts[2]
      when 'm' then interval '1 minute' when 'h' then interval '1 hour' when 'd' then interval '1 day'
      when 'w' then interval '7 days' when 'mo' then interval '1 month' else interval '1 year'
    end;
    return tstzrange(v_from at time zone 'utc', null);
  end if;

  v_parts := regexp_match(value, '^(\d{4})(?:-(\d\d)(?:-(\d\d))?)?$');
  if v_parts is not null then
    v_from := make_date(v_parts[1]::int, coalesce(v_parts[2], '1')::int, coalesce(v_parts[3], '1')::int)::timestamp;
    v_step := case
      when v_parts[3] is not null then interval '1 day'
      when v_parts[2] is not null then interval '1 month'
      else interval '1 year'
    end;
    return tstzrange(v_from at time zone 'utc', (v_from + v_step) at time zone 'utc');
  end if;

  if value ~ '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d(:?\d\d)?)?$' then
    if value ~ '([Zz]|[+-]\d\d(:?\d\d)?)$' and value ~ '[Tt ].*([Zz]|[+-])' then
      return tstzrange(value::timestamptz, value::timestamptz, '[]');
    end if;
    return tstzrange(value::timestamp at time zone 'utc', value::timestamp at time zone 'utc', '[]');
  end if;
  return null;
exception when data_exception then
  return null; -- no such day, hour or time zone
end
$$;

comment on function audit.query_instants(text) is
  'What a date means: 2026, 2026-03, 2026-03-14 a whole year, month or day (UTC), a timestamp an instant, 7d everything
since seven days ago (m, h, d, w, mo, y); null for what is no date.';

create or replace function audit.number_value(value text)
  returns numeric
  language sql
  immutable
  parallel safe
  return case when value ~ '^[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})$' then value::numeric end;

comment on function audit.number_value(text) is 'A decimal number as written in a query; null for what is none.';

-- A pattern has * for any characters; \* and \\ stand for themselves.
create or replace function audit.pattern_parts(pattern text)
  returns table (n bigint, wild boolean, literal text)
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  select p.n, p.part[1] like '*%', regexp_replace(p.part[1], '\\(.)', '\1', 'g')
  from regexp_matches(pattern, '\*+|(?:[^*\\]|\\.|\\$)+', 'g') with ordinality p (part, n)
$$;

comment on function audit.pattern_parts(text) is 'The wildcards of a pattern and what stands between them, in order.';

create or replace function audit.pattern_regex(pattern text)
  returns text
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  select '^' || coalesce(string_agg(
    case when p.wild then '.*' else regexp_replace(p.literal, '([^[:alnum:][:space:]])', '\\\1', 'g') end, '' order by p.n
  ), '') || '$'
  from audit.pattern_parts(pattern) p
$$;

comment on function audit.pattern_regex(text) is 'The regular expression of a pattern with * as wildcard.';

create or replace function audit.pattern_like(pattern text)
  returns text
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  select coalesce(string_agg(
    case when p.wild then '%' else regexp_replace(p.literal, '([\\%_])', '\\\1', 'g') end, '' order by p.n
  ), '')
  from audit.pattern_parts(pattern) p
$$;

comment on function audit.pattern_like(text) is 'The LIKE pattern of a pattern with * as wildcard.';

create or replace function audit.canonical_pattern(pattern text)
  returns text
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  select coalesce(string_agg(
    case when p.wild then '*' else regexp_replace(p.literal, '([*\\])', '\\\1', 'g') end, '' order by p.n
  ), '')
  from audit.pattern_parts(pattern) p
$$;

comment on function audit.canonical_pattern(text) is
  'The one way to write a pattern: \ only before * and \, one * where several stand.';

-- Tree ----------------------------------------------------------------------------------------------------------------

create or replace function audit.query_path(field text)
  returns text[]
  language plpgsql
  immutable
  parallel safe
  set search_path = ''
as $$
declare
  v_path text[];
begin
  if field !~ '^(new|old|changes|details)(\.([[:alnum:]_-]+|"([^"\\]|\\.)+"))+$' then
    return null;
  end if;
  select array_agg(
    case when m.part[1] like '"%' then regexp_replace(substr(m.part[1], 2, length(m.part[1]) - 2), '\\(.)', '\1', 'g') else m.part[1] end
    order by m.n
  )
  into v_path
  from regexp_matches(field, '[[:alnum:]_-]+|"(?:[^"\\]|\\.)+"', 'g') with ordinality m (part, n);
  return case when v_path[1] = 'details' then v_path[2:] else v_path end;
end
$$;

comment on function audit.query_path(text) is
  'The steps into details that a field of the query language names (changes.limit.new); null for what is no path.';

create or replace function audit.query_leaf(leaf jsonb, place jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_field text := leaf ->> 'field';
  v_op text := leaf ->> 'op';
  v_value jsonb := leaf -> 'value';
  v_kind text;
  v_each text;
  v_values text[];
begin
  if jsonb_typeof(leaf -> 'field') is distinct from 'string' then
    perform audit.fail_query('A field is named by a string.', place);
  end if;
  select f.kind into v_kind from audit.query_fields() f where f.field = v_field;
  if v_kind is null then
    if length(v_field) > 500 or cardinality(audit.query_path(v_field)) > 20 then
      perform audit.fail_query('A path has at most 20 steps and 500 characters.', place);
    elsif audit.query_path(v_field) is null then
      perform audit.fail_query(
        format('There is no field %s.', left(v_field, 100)), place,
        format('Fields are %s, and paths: new.…, old.…, changes.…, details.…. Text with a colon in it is searched for in quotes.',
          (select string_agg(f.field, ', ') from audit.query_fields() f))
      );
    end if;
    v_kind := 'path';
  end if;

  if v_op is null or v_op not in ('eq', 'like', 'lt', 'lte', 'gt', 'gte', 'between', 'in', 'exists') then
    perform audit.fail_query('There is no such comparison.', place,
      'Comparisons are eq, like, lt, lte, gt, gte, between, in and exists.');
  end if;
  if v_op = 'exists' then
    if v_value is not null then
      perform audit.fail_query('exists takes no value.', place);
    end if;
    return jsonb_build_object('field', v_field, 'op', v_op);
  end if;

  if v_op in ('between', 'in') then
    if jsonb_typeof(v_value) is distinct from 'array' then
      perform audit.fail_query(format('%s takes an array of values.', v_op), place);
    end if;
    if v_op = 'between' and jsonb_array_length(v_value) <> 2 then
      perform audit.fail_query('A range has two ends.', place);
    elsif v_op = 'in' and jsonb_array_length(v_value) not between 1 and 200 then
      perform audit.fail_query('A list has 1 to 200 values.', place);
    end if;
  else
    v_value := jsonb_build_array(v_value);
  end if;
  if exists (select from jsonb_array_elements(v_value) e where jsonb_typeof(e) not in ('string', 'number', 'boolean')) then
    perform audit.fail_query('A value is a string, a number or a boolean.', place);
  end if;
  v_values := array(select e.value from jsonb_array_elements_text(v_value) with ordinality e (value, n) order by e.n);

  if v_op in ('lt', 'lte', 'gt', 'gte', 'between') and v_kind not in ('number', 'time', 'integer', 'path') then
    perform audit.fail_query(format('%s is not compared by order.', v_field), place,
      'Use field:value, field:* or a wildcard. cost, created, chain, seq and paths have an order.');
  elsif v_op = 'like' and v_kind in ('number', 'time', 'integer') then
    perform audit.fail_query(format('%s takes no wildcard.', v_field), place);
  end if;
  foreach v_each in array v_values loop
    if length(v_each) > 2000 then
      perform audit.fail_query('A value has at most 2,000 characters.', place);
    elsif v_each = '' and v_kind <> 'path' then
      perform audit.fail_query(format('A value is missing after %s.', v_field), place);
    elsif v_kind = 'number' and audit.number_value(v_each) is null then
      perform audit.fail_query(format('%s is compared with a number, not with "%s".', v_field, left(v_each, 100)), place);
    elsif v_kind = 'integer' and (v_each !~ '^\d{1,18}$') then
      perform audit.fail_query(format('%s is compared with a whole number, not with "%s".', v_field, left(v_each, 100)), place);
    elsif v_kind = 'time' and audit.query_instants(v_each) is null then
      perform audit.fail_query(
        format('"%s" is no date.', left(v_each, 100)), place,
        'Dates are 2026, 2026-03, 2026-03-14, 2026-03-14T15:09:26Z, or an age: 30m, 24h, 7d, 2w, 3mo, 1y.'
      );
    elsif v_field = 'outcome' and v_op <> 'like' and v_each not in ('success', 'failure', 'denied') then
      perform audit.fail_query(format('"%s" is no outcome.', left(v_each, 100)), place, 'Outcomes are success, failure and denied.');
    elsif v_field = 'actor_type' and v_op <> 'like' and v_each not in ('user', 'api_key', 'service', 'database', 'system') then
      perform audit.fail_query(format('"%s" is no type of actor.', left(v_each, 100)), place,
        'Types are user, api_key, service, database and system.');
    end if;
  end loop;
  if v_op = 'like' then
    v_values[1] := audit.canonical_pattern(v_values[1]);
    if length(v_values[1]) - length(replace(v_values[1], '*', '')) > 20 then
      perform audit.fail_query('A pattern has at most 20 wildcards.', place);
    elsif v_values[1] = '*' then
      return jsonb_build_object('field', v_field, 'op', 'exists');
    elsif regexp_replace(v_values[1], '\\.', '', 'g') not like '%*%' then
      return jsonb_build_object('field', v_field, 'op', 'eq', 'value', regexp_replace(v_values[1], '\\(.)', '\1', 'g'));
    end if;
  end if;
  return jsonb_build_object(
    'field', v_field, 'op', v_op,
    'value', case when v_op in ('between', 'in') then to_jsonb(v_values) else to_jsonb(v_values[1]) end
  );
end
$$;

comment on function audit.query_leaf(jsonb, jsonb) is 'A comparison of a query tree, checked, with its values as strings.';

create or replace function audit.canonical_node(tree jsonb, path text, depth int, positioned boolean)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  -- The reader of the string form leaves in "at" where a term stood.
  v_place jsonb := case when positioned and tree ? 'at' then jsonb_build_object('position', tree -> 'at') else jsonb_build_object('path', path) end;
  v_keys text[];
  v_word text;
  v_part jsonb;
  v_parts jsonb := '[]';
  v_words text[];
begin
  if jsonb_typeof(tree) is distinct from 'object' then
    perform audit.fail_query('A query is a JSON object: {"and": […]}, {"or": […]}, {"not": …}, {"field", "op", "value"} or {"text"}.',
      jsonb_build_object('path', path));
  end if;
  if depth > 30 then
    perform audit.fail_query('A query is nested at most 30 deep.', v_place);
  end if;
  if positioned then
    tree := tree - 'at';
  end if;
  v_keys := array(select k from jsonb_object_keys(tree) k order by k);

  if v_keys in (array['and'], array['or']) then
    v_word := v_keys[1];
    if jsonb_typeof(tree -> v_word) is distinct from 'array' then
      perform audit.fail_query(format('"%s" holds an array of queries.', v_word), v_place);
    elsif v_word = 'or' and jsonb_array_length(tree -> v_word) = 0 then
      perform audit.fail_query('"or" holds at least one query.', v_place);
    end if;
    for i in 0 .. jsonb_array_length(tree -> v_word) - 1 loop
      v_part := audit.canonical_node(tree -> v_word -> i, format('%s/%s/%s', path, v_word, i), depth + 1, positioned);
      -- An "and" in an "and" says nothing; nor does an empty one.
      v_parts := v_parts || case when v_part ? v_word then v_part -> v_word else jsonb_build_array(v_part) end;
    end loop;
    return case
      when jsonb_array_length(v_parts) = 1 then v_parts -> 0
      -- Everything, in the words of the string form: every entry has an action.
      when v_parts = '[]' and depth > 0 then '{"field": "action", "op": "exists"}'
      else jsonb_build_object(v_word, v_parts)
    end;
  elsif v_keys = array['not'] then
    v_part := audit.canonical_node(tree -> 'not', path || '/not', depth + 1, positioned);
    return case when v_part ? 'not' then v_part -> 'not' else jsonb_build_object('not', v_part) end;
  elsif v_keys <@ array['prefix', 'text'] and 'text' = any (v_keys) then
    if jsonb_typeof(tree -> 'text') is distinct from 'string'
      or coalesce(jsonb_typeof(tree -> 'prefix'), 'boolean') <> 'boolean'
    then
      perform audit.fail_query('"text" is a string and "prefix" true or false.', v_place);
    end if;
    if length(tree ->> 'text') > 2000 then
      perform audit.fail_query('A text has at most 2,000 characters.', v_place);
    end if;
    v_words := audit.search_words(tree ->> 'text');
    if cardinality(v_words) = 0 then
      perform audit.fail_query('There is no word to search for.', v_place, 'Words are runs of letters and digits.');
    elsif (tree -> 'prefix') = 'true' and length(v_words[cardinality(v_words)]) < 3 then
      perform audit.fail_query('The beginning of a word has at least 3 characters.', v_place);
    end if;
    return jsonb_build_object('text', tree -> 'text') || case when (tree -> 'prefix') = 'true' then '{"prefix": true}' else '{}'::jsonb end;
  elsif v_keys <@ array['field', 'op', 'value'] and 'field' = any (v_keys) then
    return audit.query_leaf(tree, v_place);
  end if;
  perform audit.fail_query(
    format('A query has no %s here.', (select string_agg(format('"%s"', left(k, 50)), ', ') from unnest(v_keys) k)),
    v_place, 'It is {"and": […]}, {"or": […]}, {"not": …}, {"field", "op", "value"} or {"text", "prefix"}.'
  );
end
$$;

comment on function audit.canonical_node(jsonb, text, int, boolean) is
  'A part of a query tree in canonical form; positioned where the reader of the string form made it.';

create or replace function audit.canonical_query(tree jsonb, positioned boolean default false)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_text text := tree::text;
  v_texts int := (length(v_text) - length(replace(v_text, '"text"', ''))) / 6;
  v_fields int := (length(v_text) - length(replace(v_text, '"field"', ''))) / 7;
  v_place jsonb := case when positioned then '{"position": 1}'::jsonb else '{"path": ""}' end;
begin
  -- Counted before anything is walked, so that no size of a tree takes long to refuse.
  if length(v_text) > 100000 or v_fields > 500 then
    perform audit.fail_query('A query has at most 500 comparisons and 100,000 characters.', v_place);
  elsif v_texts > 20 then
    perform audit.fail_query('A query has at most 20 texts.', v_place, 'Words that stand together are one text in quotes.');
  end if;
  return audit.canonical_node(tree, '', 0, positioned);
end
$$;

comment on function audit.canonical_query(jsonb, boolean) is
  'A query tree, checked, in the one form that says the same: nothing nested that need not be, values as strings.';

-- String to tree ------------------------------------------------------------------------------------------------------

do $$
begin
  if to_regtype('audit.query_token') is null then
    create type audit.query_token as (kind text, node jsonb, at int);
  end if;
end
$$;

comment on type audit.query_token is 'A token of a query: ( ) or, and, not, or a whole term with the tree it stands for.';

-- A word: bare runs and quoted text side by side. The pattern has * for wildcards and \ before what is meant literally.
create or replace function audit.read_query_word(
  query text,
  inout at int,
  out literal text,
  out pattern text,
  out wild boolean
)
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_start int := at;
  v_part text;
  v_text text;
begin
  literal := '';
  pattern := '';
  wild := false;
  loop
    v_part := substring(substr(query, at) from '^"(?:[^"\\]|\\.)*"');
    if v_part is not null then
      v_text := regexp_replace(substr(v_part, 2, length(v_part) - 2), '\\(.)', '\1', 'g');
      literal := literal || v_text;
      pattern := pattern || regexp_replace(v_text, '([*\\])', '\\\1', 'g');
    elsif substr(query, at, 1) = '"' then
      perform audit.fail_query('A quotation mark is not closed.', jsonb_build_object('position', at),
        'Write \" for a quotation mark inside quotes.');
    else
      v_part := substring(substr(query, at) from '^[^\s()"]+');
      exit when v_part is null;
      literal := literal || v_part;
      pattern := pattern || replace(v_part, '\', '\\');
      wild := wild or v_part like '%*%';
    end if;
    at := at + length(v_part);
  end loop;
end
$$;

comment on function audit.read_query_word(text, int) is 'Reads a word of a query, bare or quoted, from a position on.';

create or replace function audit.read_query_value(query text, field text, start int, inout at int, out node jsonb)
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_op text;
  v_word record;
  v_end record;
  v_values jsonb := '[]';
  v_first text;
begin
  node := jsonb_build_object('field', field, 'at', start);
  if substr(query, at, 1) = '(' then
    at := at + 1;
    loop
      at := at + length(substring(substr(query, at) from '^\s*'));
      v_word := audit.read_query_word(query, at);
      if v_word.at = at then
        perform audit.fail_query(format('A value is missing in the list after %s.', field), jsonb_build_object('position', at),
          'A list is written field:(a or b).');
      elsif v_word.wild then
        perform audit.fail_query('A list holds no wildcards.', jsonb_build_object('position', at),
          format('Write (%s:a* or %s:b*).', field, field));
      end if;
      v_values := v_values || to_jsonb(v_word.literal);
      at := v_word.at + length(substring(substr(query, v_word.at) from '^\s*'));
      if substr(query, at, 1) = ')' then
        at := at + 1;
        node := node || jsonb_build_object('op', 'in', 'value', v_values);
        return;
      elsif substr(query, at) !~* '^or\s' then
        perform audit.fail_query(format('The list after %s goes on with "or" or ends with ")".', field), jsonb_build_object('position', at));
      end if;
      at := at + 2;
    end loop;
  end if;

  v_op := substring(substr(query, at) from '^(>=|<=|>|<)');
  at := at + coalesce(length(v_op), 0);
  -- Two dots in bare text make a range; in quotes they are text.
  v_first := substring(substr(query, at) from '^((?:[^\s()".]|\.(?!\.)|"(?:[^"\\]|\\.)*")+)\.\.');
  if v_op is null and v_first is not null then
    v_word := audit.read_query_word(v_first, 1);
    v_end := audit.read_query_word(query, at + length(v_first) + 2);
    if v_end.at = at + length(v_first) + 2 then
      perform audit.fail_query('A range has two ends.', jsonb_build_object('position', at),
        format('Write %s:a..b, or %s:>=a for an open end.', field, field));
    end if;
    at := v_end.at;
    node := node || jsonb_build_object('op', 'between', 'value', jsonb_build_array(v_word.literal, v_end.literal));
    return;
  end if;

  v_word := audit.read_query_word(query, at);
  if v_word.at = at then
    perform audit.fail_query(format('A value is missing after %s.', field), jsonb_build_object('position', at),
      format('Write %s:value, %s:"a value", or %s:* for any.', field, field, field));
  end if;
  at := v_word.at;
  if v_op is not null then
    node := node || jsonb_build_object(
      'op', case v_op when '>' then 'gt' when '>=' then 'gte' when '<' then 'lt' else 'lte' end, 'value', v_word.literal
    );
  elsif v_word.wild and v_word.pattern = '*' then
    node := node || '{"op": "exists"}';
  elsif v_word.wild then
    node := node || jsonb_build_object('op', 'like', 'value', v_word.pattern);
  else
    node := node || jsonb_build_object('op', 'eq', 'value', v_word.literal);
  end if;
end
$$;

comment on function audit.read_query_value(text, text, int, int) is 'Reads what stands after "field:", and makes the comparison.';

create or replace function audit.query_tokens(query text)
  returns audit.query_token[]
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_tokens audit.query_token[] := '{}';
  v_at int := 1;
  v_rest text;
  v_field text;
  v_word record;
  v_value record;
begin
  loop
    v_at := v_at + length(substring(substr(query, v_at) from '^\s*'));
    v_rest := substr(query, v_at);
    exit when v_rest = '';
    if cardinality(v_tokens) >= 1000 then
      perform audit.fail_query('A query has at most 1,000 terms.', jsonb_build_object('position', v_at));
    end if;
    if left(v_rest, 1) in ('(', ')') then
      v_tokens := v_tokens || row(left(v_rest, 1), null, v_at)::audit.query_token;
      v_at := v_at + 1;
    elsif v_rest ~* '^(or|and|not)(?=[\s()]|$)' then
      v_tokens := v_tokens || row(lower(substring(v_rest from '^\w+')), null, v_at)::audit.query_token;
      v_at := v_at + length(substring(v_rest from '^\w+'));
    elsif v_rest ~ '^-' then
      v_tokens := v_tokens || row('not', null, v_at)::audit.query_token;
      v_at := v_at + 1;
      if substr(query, v_at, 1) ~ '^\s?$' then
        perform audit.fail_query('"-" stands before what is left out.', jsonb_build_object('position', v_at - 1), 'For example -provider:openai.');
      end if;
    else
      v_field := (regexp_match(v_rest, '^([[:alpha:]_](?:[^\s():"]|"(?:[^"\\]|\\.)*")*):'))[1];
      if v_field is not null then
        v_value := audit.read_query_value(query, v_field, v_at, v_at + length(v_field) + 1);
        v_tokens := v_tokens || row('term', v_value.node, v_at)::audit.query_token;
        v_at := v_value.at;
      else
        v_word := audit.read_query_word(query, v_at);
        if v_word.wild and v_word.pattern !~ '^([^*\\]|\\.)+\*$' then
          perform audit.fail_query('In text a wildcard stands only at the end of a word.', jsonb_build_object('position', v_at),
            'For example quart*.');
        end if;
        v_tokens := v_tokens || row('term', jsonb_build_object(
            'text', case when v_word.wild then left(v_word.literal, -1) else v_word.literal end, 'at', v_at
          )
          || case when v_word.wild then '{"prefix": true}' else '{}'::jsonb end, v_at)::audit.query_token;
        v_at := v_word.at;
      end if;
    end if;
  end loop;
  return v_tokens;
end
$$;

comment on function audit.query_tokens(text) is 'The tokens of a query in its string form.';

create or replace function audit.parse_any(tokens audit.query_token[], inout n int, depth int, out node jsonb)
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  v_any jsonb := '[]';
  v_all jsonb := '[]';
  v_inner record;
  v_term jsonb;
  v_negated boolean;
  v_token audit.query_token;
begin
  if depth > 30 then
    perform audit.fail_query('A query is nested at most 30 deep.', jsonb_build_object('position', (tokens[n]).at));
  end if;
  loop
    v_token := tokens[n];
    if v_token.kind is null or v_token.kind in ('or', ')') then
      if jsonb_array_length(v_all) = 0 then
        perform audit.fail_query(
          case
            when v_token.kind is null then 'The query ends where a term should stand.'
            else format('A term is missing before "%s".', v_token.kind)
          end,
          jsonb_build_object('position', coalesce(v_token.at, (tokens[cardinality(tokens)]).at))
        );
      end if;
      v_any := v_any || case jsonb_array_length(v_all) when 1 then v_all else jsonb_build_array(jsonb_build_object('and', v_all)) end;
      exit when v_token.kind is distinct from 'or';
      v_all := '[]';
      n := n + 1;
      continue;
    end if;
    if v_token.kind = 'and' then
      if jsonb_array_length(v_all) = 0 or (tokens[n + 1]).kind is null or (tokens[n + 1]).kind in ('and', 'or', ')') then
        perform audit.fail_query('"and" stands between two terms.', jsonb_build_object('position', v_token.at));
      end if;
      n := n + 1;
      continue;
    end if;

    v_negated := false;
    while (tokens[n]).kind = 'not' loop
      v_negated := not v_negated;
      n := n + 1;
    end loop;
    v_token := tokens[n];
    v_term := v_token.node;
    if v_token.kind = '(' then
      v_inner := audit.parse_any(tokens, n + 1, depth + 1);
      v_term := v_inner.node;
      n := v_inner.n;
      if (tokens[n]).kind is distinct from ')' then
        perform audit.fail_query('A parenthesis is not closed.', jsonb_build_object('position', v_token.at));
      end if;
    elsif v_term is null then
      perform audit.fail_query('"not" stands before a term.', jsonb_build_object('position', (tokens[n - 1]).at));
    end if;
    v_all := v_all || jsonb_build_array(case when v_negated then jsonb_build_object('not', v_term) else v_term end);
    n := n + 1;
  end loop;
  node := case jsonb_array_length(v_any) when 1 then v_any -> 0 else jsonb_build_object('or', v_any) end;
end
$$;

comment on function audit.parse_any(audit.query_token[], int, int) is 'Reads terms joined by "or" and "and", up to the end or to ")".';

create or replace function audit.parse_query(query text)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_tokens audit.query_token[];
  v_parsed record;
begin
  if length(query) > 4000 then
    perform audit.fail_query('A query has at most 4,000 characters.', '{"position": 4001}');
  end if;
  v_tokens := audit.query_tokens(coalesce(query, ''));
  if cardinality(v_tokens) = 0 then
    return '{"and": []}';
  end if;
  v_parsed := audit.parse_any(v_tokens, 1, 0);
  if v_parsed.n <= cardinality(v_tokens) then
    perform audit.fail_query('A parenthesis is closed that was not opened.', jsonb_build_object('position', (v_tokens[v_parsed.n]).at));
  end if;
  return audit.canonical_query(v_parsed.node, true);
end
$$;

comment on function audit.parse_query(text) is
  'The tree of a query in its string form: select audit.parse_query(''action:api_key.* -provider:openai cost:>0.5'').
An empty query is {"and": []}, which every entry matches.';

-- Tree to string ------------------------------------------------------------------------------------------------------

create or replace function audit.query_quoted(value text)
  returns text
  language sql
  immutable
  parallel safe
  return case
    when value ~ '^[[:alnum:]_@/+.:~-]+$' and value !~ '\.\.' then value
    else '"' || regexp_replace(value, '(["\\])', '\\\1', 'g') || '"'
  end;

comment on function audit.query_quoted(text) is 'A part of a value as it stands in a query: bare where that says the same, else quoted.';

create or replace function audit.query_word(value text)
  returns text
  language sql
  immutable
  parallel safe
  return case
    -- Not to be read as a range, or as a word of the language.
    when value ~ '^\.|\.$' or value ~* '^(or|and|not)$' then '"' || regexp_replace(value, '(["\\])', '\\\1', 'g') || '"'
    else audit.query_quoted(value)
  end;

comment on function audit.query_word(text) is 'A value as it stands in a query.';

create or replace function audit.query_pattern(pattern text)
  returns text
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  select string_agg(case when p.wild then '*' else audit.query_quoted(p.literal) end, '' order by p.n)
  from audit.pattern_parts(pattern) p
$$;

comment on function audit.query_pattern(text) is 'A pattern as it stands in a query, with what is literal quoted where it must be.';

create or replace function audit.format_node(node jsonb, inside text default null)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_field text := node ->> 'field';
  v_value text := node ->> 'value';
  v_text text;
begin
  if node ? 'and' then
    if node -> 'and' = '[]' then
      return '';
    end if;
    select string_agg(audit.format_node(e.value, 'and'), ' ' order by e.n) into v_text
    from jsonb_array_elements(node -> 'and') with ordinality e (value, n);
    return case when inside in ('not') then '(' || v_text || ')' else v_text end;
  elsif node ? 'or' then
    select string_agg(audit.format_node(e.value, 'or'), ' or ' order by e.n) into v_text
    from jsonb_array_elements(node -> 'or') with ordinality e (value, n);
    return case when inside is null then v_text else '(' || v_text || ')' end;
  elsif node ? 'not' then
    return '-' || audit.format_node(node -> 'not', 'not');
  elsif node ? 'text' then
    v_text := node ->> 'text';
    -- Bare text must not read as a field, a sign or a wildcard.
    v_text := case when v_text ~ '^[[:alnum:]_@/+.~][[:alnum:]_@/+.~-]*$' and v_text !~* '^(or|and|not)$' then v_text
      else '"' || regexp_replace(v_text, '(["\\])', '\\\1', 'g') || '"' end;
    return v_text || case when node ? 'prefix' then '*' else '' end;
  end if;
  return v_field || ':' || case node ->> 'op'
    when 'exists' then '*'
    when 'like' then audit.query_pattern(v_value)
    when 'gt' then '>' || audit.query_word(v_value)
    when 'gte' then '>=' || audit.query_word(v_value)
    when 'lt' then '<' || audit.query_word(v_value)
    when 'lte' then '<=' || audit.query_word(v_value)
    when 'between' then audit.query_word(node -> 'value' ->> 0) || '..' || audit.query_word(node -> 'value' ->> 1)
    when 'in' then (
      select '(' || string_agg(audit.query_word(e.value), ' or ' order by e.n) || ')'
      from jsonb_array_elements_text(node -> 'value') with ordinality e (value, n)
    )
    else audit.query_word(v_value)
  end;
end
$$;

comment on function audit.format_node(jsonb, text) is 'A part of a query tree in its string form.';

create or replace function audit.format_query(tree jsonb)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select audit.format_node(audit.canonical_query(format_query.tree))
$$;

comment on function audit.format_query(jsonb) is 'The string form of a query tree; audit.parse_query() reads it back as the same tree.';
