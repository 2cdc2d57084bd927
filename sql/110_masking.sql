-- What must not enter the log, and what must not burst it. Secrets are kept out twice: by column (the registry) and by
-- value, because keys also turn up in error messages, names and JSON configuration.

-- Nothing shorter than this can match the pattern below (a stored text has at least one byte more than characters), so a
-- row of short values is not searched at all.
create or replace function audit.shortest_secret()
  returns int
  language sql
  immutable
  parallel safe
  return 18;

comment on function audit.shortest_secret() is 'Fewest characters that audit.secret_pattern() matches.';

create or replace function audit.secret_pattern()
  returns text
  language sql
  immutable
  parallel safe
  -- Only characters that JSON never escapes, so that a replacement inside a JSON text leaves valid JSON.
  return '(sk-[A-Za-z0-9_-]{16,}|pplx-[A-Za-z0-9]{16,}|AIza[A-Za-z0-9_-]{30,}|AKIA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}'
    || '|github_pat_[A-Za-z0-9_]{20,}|xox[abeprs]-[A-Za-z0-9-]{14,}|sb_secret_[A-Za-z0-9_-]{10,}|sbp_[a-f0-9]{20,}'
    || '|[rs]k_(live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{16,}|hf_[A-Za-z0-9]{20,}'
    || '|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----([A-Za-z0-9+/=\s-]|\\[nrt])*)';

comment on function audit.secret_pattern() is
  'What values look like that must never be stored: provider and platform keys, tokens, private keys.';

create or replace function audit.may_hold_secret(value text)
  returns boolean
  language sql
  immutable
  parallel safe
  -- Not a regular expression: PostgreSQL builds its automaton anew for each text, which costs four times this. And by
  -- bytes: a column's own collation may allow no patterns at all.
  return value collate "C" like any (
    '{%sk-%,%k\\_live\\_%,%k\\_test\\_%,%pplx-%,%AIza%,%AKIA%,%gh_\\_%,%github\\_pat\\_%,%xox_-%,%sb\\_secret\\_%,%sbp\\_%,%whsec\\_%,'
      '%hf\\_%,%eyJ%,%-----BEGIN%}'
  );

comment on function audit.may_hold_secret(text) is
  'Whether the text has the beginning of anything that audit.masked() replaces: one cheap scan, where that is a dear one.';

create or replace function audit.masked(details jsonb)
  returns jsonb
  language sql
  immutable
  parallel safe
  return regexp_replace(details::text, audit.secret_pattern(), '***', 'g')::jsonb;

comment on function audit.masked(jsonb) is 'The details with everything that looks like a secret replaced by ***.';

create or replace function audit.masked_text(value text)
  returns text
  language sql
  immutable
  parallel safe
  return case
    when audit.may_hold_secret(value) then regexp_replace(value, audit.secret_pattern(), '***', 'g')
    else value
  end;

comment on function audit.masked_text(text) is 'The text with everything that looks like a secret replaced by ***.';

create or replace function audit.digest_of(value bytea)
  returns jsonb
  language sql
  immutable
  parallel safe
  return case
    when value is not null
      then jsonb_build_object('cut', jsonb_build_object('bytes', octet_length(value), 'sha256', encode(sha256(value), 'hex')))
  end;

comment on function audit.digest_of(bytea) is 'What stands for bytes, or for a value too big for an entry: size and SHA-256.';

create or replace function audit.digest_of(value text)
  returns jsonb
  language sql
  stable
  parallel safe
  return audit.digest_of(convert_to(value, 'UTF8'));

comment on function audit.digest_of(text) is 'What stands for a value too big for an entry: its size and SHA-256.';

create or replace function audit.with_cuts(value jsonb, cuts jsonb, path text[])
  returns jsonb
  language plpgsql
  stable
  parallel safe
  set search_path = ''
as $$
begin
  if cuts ? array_to_json(path)::text then
    return cuts -> array_to_json(path)::text;
  elsif jsonb_typeof(value) = 'object' and cardinality(path) < 6 then
    return (select jsonb_object_agg(e.key, audit.with_cuts(e.value, cuts, path || e.key)) from jsonb_each(value) e);
  end if;
  return value;
end
$$;

comment on function audit.with_cuts(jsonb, jsonb, text[]) is
  'The value with each part whose path (a JSON array) is a key of cuts replaced by what stands there.';

create or replace function audit.fitted(details jsonb, most int)
  returns jsonb
  language plpgsql
  stable
  parallel safe
  set search_path = ''
as $$
declare
  v_excess int := octet_length(fitted.details::text) - fitted.most;
  v_cuts jsonb;
  v_details jsonb;
begin
  if v_excess <= 0 then
    return fitted.details;
  end if;
  -- The largest leaf values first, as many as it takes: what is small stays readable. A digest takes 110 bytes.
  with recursive node (path, value, depth) as (
    select array[e.key], e.value, 1
    from jsonb_each(case when jsonb_typeof(fitted.details) = 'object' then fitted.details else '{}' end) e
    union all
    select n.path || c.key, c.value, n.depth + 1
    from node n
    cross join lateral jsonb_each(case when jsonb_typeof(n.value) = 'object' and n.depth < 6 then n.value else '{}' end) c
  ),
  leaf as (
    select n.path, n.value::text as text, octet_length(n.value::text) as size
    from node n
    where (jsonb_typeof(n.value) <> 'object' or n.depth = 6) and octet_length(n.value::text) > 220
  ),
  chosen as (
    select l.path, l.text, sum(l.size - 110) over (order by l.size desc, l.path) - (l.size - 110) as saved_before
    from leaf l
  )
  select jsonb_object_agg(array_to_json(c.path)::text, audit.digest_of(c.text))
  into v_cuts
  from chosen c
  where c.saved_before < v_excess;

  v_details := audit.with_cuts(fitted.details, coalesce(v_cuts, '{}'), '{}');
  if octet_length(v_details::text) > fitted.most then
    return audit.digest_of(fitted.details::text); -- very many small values
  end if;
  return v_details;
end
$$;

comment on function audit.fitted(jsonb, int) is
  'The details within `most` bytes: the largest values replaced by {"cut": {"bytes": …, "sha256": …}}, never silently.';

-- A number travels as a JSON number where every reader gets the same value back, else as a string: beyond 2^53 or 15
-- digits a double would change it.
create or replace function audit.exact_number(value numeric)
  returns jsonb
  language sql
  immutable
  parallel safe
  return case
    when scale(value) = 0 and abs(value) <= 9007199254740991
      or scale(value) <= 6 and abs(value) < 1e9
      or scale(value) <= 12 and abs(value) < 1e3
      then to_jsonb(value)
    else to_jsonb(value::text)
  end;

comment on function audit.exact_number(numeric) is
  'The number as JSON: a number where 15 digits hold it (or an integer within ±(2^53 - 1)), else a string with all digits.';

create or replace function audit.json_value(value json)
  returns jsonb
  language plpgsql
  immutable
  parallel safe
  set search_path = ''
as $$
begin
  return json_value.value::text::jsonb;
exception when others then
  return to_jsonb(json_value.value::text); -- \u0000, lone surrogates: legal in json, not in jsonb; kept as text
end
$$;

comment on function audit.json_value(json) is 'A json value as jsonb, or as a string where jsonb cannot hold it.';
