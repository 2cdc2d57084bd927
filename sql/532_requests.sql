-- What requests to read have in common: their fields, the organisation and query they mean, cursors, and entries as JSON.
-- The functions of this stage that the Edge Functions call take one JSON object and answer one.

create or replace function audit.check_request(request jsonb, known text[])
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_unknown text;
begin
  if jsonb_typeof(request) is distinct from 'object' then
    perform audit.fail('AUARG', 'A request is a JSON object.');
  end if;
  select string_agg(format('"%s"', left(k, 50)), ', ') into v_unknown from jsonb_object_keys(request) k where k <> all (known);
  if v_unknown is not null then
    perform audit.fail('AUARG', format('The request has no %s.', v_unknown), null, 'It has ' || array_to_string(known, ', ') || '.');
  end if;
end
$$;

comment on function audit.check_request(jsonb, text[]) is 'Refuses fields that a request does not have.';

create or replace function audit.requested_tree(request jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_query jsonb := audit.parse_query(coalesce(request ->> 'query', ''));
  v_filter jsonb := audit.canonical_query(coalesce(nullif(request -> 'filter', 'null'), '{"and": []}'));
  v_both jsonb := coalesce(v_filter -> 'and', jsonb_build_array(v_filter)) || coalesce(v_query -> 'and', jsonb_build_array(v_query));
begin
  return case jsonb_array_length(v_both) when 1 then v_both -> 0 else jsonb_build_object('and', v_both) end;
end
$$;

comment on function audit.requested_tree(jsonb) is 'The canonical tree of a request''s query and filter together.';

create or replace function audit.requested_organization(request jsonb)
  returns uuid
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if request ->> 'organization_id' is not null and audit.as_uuid(request ->> 'organization_id') is null then
    perform audit.fail('AUARG', 'organization_id is a UUID.');
  end if;
  return audit.readable_organization((request ->> 'organization_id')::uuid);
end
$$;

comment on function audit.requested_organization(jsonb) is 'The organisation of a request, if the caller reads its log.';

-- A cursor is no secret and no right: it says where to go on. Its digest finds what was cut off or edited.
create or replace function audit.make_cursor(organization_id uuid, scope text, place audit.position)
  returns text
  language sql
  immutable
  set search_path = ''
as $$
  select translate(encode(convert_to(p.payload || left(encode(sha256(convert_to(p.payload, 'UTF8')), 'hex'), 8), 'UTF8'), 'base64'), E'+/=\n', '-_')
  from concat_ws(
    '|', make_cursor.organization_id, left(encode(sha256(convert_to(make_cursor.scope, 'UTF8')), 'hex'), 16),
    (extract(epoch from (place).created_at) * 1000000)::bigint, (place).chain, (place).seq, (place).cost, ''
  ) p (payload)
$$;

comment on function audit.make_cursor(uuid, text, audit.position) is
  'Where a list goes on, as an opaque text that holds for one organisation and one query.';

create or replace function audit.read_cursor(organization_id uuid, scope text, cursor text)
  returns audit.position
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_text text;
  v_parts text[];
begin
  if cursor is null then
    return null;
  end if;
  begin
    v_text := convert_from(decode(rpad(translate(cursor, '-_', '+/'), (length(cursor) + 3) / 4 * 4, '='), 'base64'), 'UTF8');
  exception when others then
    v_text := null; -- not base64, or not text
  end;
  if length(cursor) <= 1000 and right(v_text, 8) = left(encode(sha256(convert_to(left(v_text, -8), 'UTF8')), 'hex'), 8) then
    v_parts := string_to_array(v_text, '|');
    if v_parts[1] is distinct from organization_id::text or v_parts[2] <> left(encode(sha256(convert_to(scope, 'UTF8')), 'hex'), 16) then
      perform audit.fail('AUCUR', 'The cursor belongs to another search.', null,
        'A cursor goes with the organisation, query, filter and sort of the request that gave it.');
    end if;
    return row(
      case when cardinality(v_parts) = 7 then v_parts[6]::numeric end,
      timestamptz 'epoch' + v_parts[3]::bigint * interval '1 microsecond', v_parts[4]::int, v_parts[5]::bigint
    );
  end if;
  perform audit.fail('AUCUR', 'This is no cursor.', null, 'Pass "next" of the page before, unchanged.');
end
$$;

comment on function audit.read_cursor(uuid, text, text) is 'The position that a cursor names; raises AUCUR for what is none.';

create or replace function audit.instant_text(at timestamptz)
  returns text
  language sql
  stable
  parallel safe
  return to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"');

comment on function audit.instant_text(timestamptz) is 'A time as in the API: ISO 8601, UTC, microseconds.';

create or replace function audit.entry_json(entry public.audit_logs, email text, ip_address text, user_agent text)
  returns jsonb
  language sql
  stable
  parallel safe
  return jsonb_build_object(
    'name', (entry).chain || '-' || (entry).seq, 'organization_id', (entry).organization_id, 'chain', (entry).chain,
    'seq', (entry).seq, 'created_at', audit.instant_text((entry).created_at), 'action', (entry).action,
    'outcome', (entry).outcome, 'resource_type', (entry).resource_type, 'resource_id', (entry).resource_id,
    'created_by', (entry).created_by, 'actor_type', (entry).actor_type, 'email', email, 'ip_address', ip_address,
    'user_agent', user_agent, 'provider', (entry).provider, 'cost', (entry).cost::text,
    'request_id', (entry).request_id, 'details', (entry).details, 'prev_hash', encode((entry).prev_hash, 'hex'),
    'hash', encode((entry).hash, 'hex')
  );

comment on function audit.entry_json(public.audit_logs, text, text, text) is 'An entry as the API shows it.';

create or replace function audit.entries_json(entries public.audit_logs[])
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select coalesce(jsonb_agg(audit.entry_json(u.entry, i.email, i.ip_address, i.user_agent) order by n), '[]')
  from generate_subscripts(entries, 1) n
  cross join lateral (select entries[n] as entry) u
  left join lateral (
    -- A commitment that stands twice is the same identity twice.
    select i.email, i.ip_address, i.user_agent from audit.identities i where i.identity_hash = (u.entry).identity_hash limit 1
  ) i on true
$$;

comment on function audit.entries_json(public.audit_logs[]) is
  'Entries as the API shows them, in order, with the identities that the caller may see.';
