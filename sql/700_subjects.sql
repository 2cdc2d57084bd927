-- Who a person is in an organisation's log: a user id, the e-mail addresses that are that user's alone, and what of them the
-- organisation holds. Of other organisations nothing is told, nor taken: each is responsible for its own.

do $$
begin
  if to_regtype('audit.subject') is null then
    create type audit.subject as (organization_id uuid, user_id uuid, addresses text[]);
  end if;
end
$$;

comment on type audit.subject is 'A person in an organisation: the user id where there is one, and e-mail addresses in lower case.';

create or replace function audit.addresses_of(organization_id uuid, user_id uuid)
  returns text[]
  language sql
  stable
  set search_path = ''
as $$
  -- An address that another user has too is no longer this person's alone.
  select coalesce(array_agg(o.address order by o.address), '{}')
  from (
    select distinct lower(i.email) as address
    from audit.identities i
    where i.organization_id = addresses_of.organization_id and i.user_id = addresses_of.user_id and i.email is not null
  ) o
  where not exists (
    select from audit.identities i
    where i.organization_id = addresses_of.organization_id and lower(i.email) = o.address and i.user_id <> addresses_of.user_id
  )
$$;

comment on function audit.addresses_of(uuid, uuid) is 'The e-mail addresses under which a user acted, and no other user did.';

create or replace function audit.find_subject(organization_id uuid, subject text)
  returns audit.subject
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_user uuid := audit.as_uuid(btrim(find_subject.subject));
  v_address text := lower(btrim(find_subject.subject));
  v_users uuid[];
begin
  if v_user is not null then
    return row(find_subject.organization_id, v_user, audit.addresses_of(find_subject.organization_id, v_user));
  elsif v_address is null or v_address !~ '^[^[:space:]@]+@[^[:space:]@]+$' or length(v_address) > 320 then
    perform audit.fail('AUARG', 'A person is named by user id or e-mail address.');
  end if;
  v_users := array(
    select distinct i.user_id from audit.identities i
    where i.organization_id = find_subject.organization_id and lower(i.email) = v_address and i.user_id is not null
    order by 1
  );
  if cardinality(v_users) > 1 then
    perform audit.fail('AUARG', 'The address was used by several persons, one after the other.', null,
      'Name one by user id: ' || array_to_string(v_users[:10], ', ') || '.');
  elsif cardinality(v_users) = 1 then
    return row(find_subject.organization_id, v_users[1], audit.addresses_of(find_subject.organization_id, v_users[1]));
  end if;
  return row(find_subject.organization_id, null::uuid, array[v_address]);
end
$$;

comment on function audit.find_subject(uuid, text) is
  'The person whom a user id or an e-mail address names in an organisation; raises AUARG for an address of several persons.';

create or replace function audit.identities_of(subject audit.subject, until timestamptz default 'infinity')
  returns setof audit.identities
  language sql
  stable
  set search_path = ''
as $$
  select i.* from audit.identities i
  where i.user_id = (subject).user_id and i.organization_id = (subject).organization_id and i.created_at <= identities_of.until
  union all
  -- Contexts that know an address and no user: a login that failed.
  select i.* from audit.identities i
  where i.user_id is null and i.organization_id = (subject).organization_id and lower(i.email) = any ((subject).addresses)
    and i.created_at <= identities_of.until
$$;

comment on function audit.identities_of(audit.subject, timestamptz) is 'The identities of a person, up to a time.';

create or replace function audit.is_value_of(value audit.personal_values, subject audit.subject)
  returns boolean
  language sql
  immutable
  parallel safe
  -- The row is about the user, or is the user's (a profile), or the value is an address of theirs, in whatever row.
  return coalesce(
    (value).subject_id = (subject).user_id or (value).resource_id = (subject).user_id::text
      or lower((value).value) = any ((subject).addresses), false
  );

comment on function audit.is_value_of(audit.personal_values, audit.subject) is 'Whether a personal value is of a person.';

-- What somebody looked for in the log: an exact value, or a pattern.
create or replace function audit.queries_about(subject audit.subject, until timestamptz)
  returns setof bytea
  language sql
  stable
  set search_path = ''
as $$
  with mine as materialized (
    select distinct lower(v.value) as value
    from audit.identities_of(subject, queries_about.until) i
    cross join lateral (values (i.email), (i.ip_address), (i.user_agent)) v (value)
    where v.value is not null
    union
    select unnest((subject).addresses)
  )
  select q.value_hash
  from audit.personal_values q
  where q.organization_id = (subject).organization_id and q.resource_type = 'audit_log' and q.column_name = 'query'
    and q.created_at <= queries_about.until
    and (
      lower(q.value) in (select m.value from mine m)
      or q.value like '%*%' and exists (select from mine m where m.value like lower(audit.pattern_like(q.value)))
      or exists (select from unnest((subject).addresses) a where strpos(lower(q.value), a) > 0)
    )
$$;

comment on function audit.queries_about(audit.subject, timestamptz) is
  'Hashes of recorded search terms that name a person: by address, IP address or user agent.';

create or replace function audit.plain_mentions(subject audit.subject, at_most int default 1000)
  returns setof text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_address text;
begin
  foreach v_address in array (subject).addresses loop
    return query execute format(
      'select (e.chain || ''-'' || e.seq)::text %s limit %L',
      audit.matching_sql(
        (subject).organization_id,
        audit.compile_query((subject).organization_id, jsonb_build_object('text', v_address))
      ), at_most
    );
  end loop;
end
$$;

comment on function audit.plain_mentions(audit.subject, int) is
  'Names of entries that hold an address of the person in plain text, because a column was not declared personal or an
application wrote it into details. Entries never change: these stay, and are told.';
