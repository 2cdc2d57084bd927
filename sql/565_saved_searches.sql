-- Searches that people keep: each is one person's in one organisation, for that person alone or, if an admin says so, for
-- everybody who reads the organisation's log. What is shared concerns others: each change of it is an entry.

create table if not exists audit.saved_searches (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  owner uuid not null,
  name text not null,
  query text not null,
  shared boolean not null default false,
  changed_at timestamptz not null default clock_timestamp(),
  constraint saved_searches_name_key unique (organization_id, owner, name)
);

comment on table audit.saved_searches is
  'Searches that people keep; written by audit.save_search(), audit.change_search() and audit.delete_search(), and by an erasure.';
comment on column audit.saved_searches.id is 'Names the search.';
comment on column audit.saved_searches.organization_id is 'Whose log it searches.';
comment on column audit.saved_searches.owner is 'Who keeps it.';
comment on column audit.saved_searches.name is 'What its owner calls it.';
comment on column audit.saved_searches.query is 'The query as a string, in its canonical form.';
comment on column audit.saved_searches.shared is 'Whether everybody sees it who reads the organisation''s log.';
comment on column audit.saved_searches.changed_at is 'When it was last written.';

alter table audit.saved_searches enable row level security;
drop policy if exists "Own and shared searches of the logs that one reads" on audit.saved_searches;
create policy "Own and shared searches of the logs that one reads" on audit.saved_searches
  for select to authenticated
  using (
    (owner = (select auth.uid()) or shared)
    and organization_id in (select audit.member_organizations() union select audit.auditor_organizations())
  );

create or replace function audit.search_json(search audit.saved_searches)
  returns jsonb
  language sql
  stable
  set search_path = ''
  return jsonb_build_object(
    'id', (search).id, 'organization_id', (search).organization_id, 'name', (search).name, 'query', (search).query,
    'shared', (search).shared, 'own', (search).owner is not distinct from auth.uid(), 'changed_at', audit.instant_text((search).changed_at)
  );

comment on function audit.search_json(audit.saved_searches) is 'A saved search as the API shows it.';

-- Addresses stay out of the entry: it is for ever, and the person may be erased.
create or replace function audit.search_told(search audit.saved_searches)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_apart record;
begin
  if search.shared is not true then
    return null;
  end if;
  select a.* into v_apart from audit.query_apart(search.organization_id, audit.parse_query(search.query)) a;
  return jsonb_build_object(
    'name', case when audit.names_person(search.name) then '***' else search.name end, 'query', left(audit.format_node(v_apart.node), 4000)
  ) || case when v_apart.personal_values <> '[]' then jsonb_build_object('values', v_apart.personal_values) else '{}' end;
end
$$;

comment on function audit.search_told(audit.saved_searches) is 'What others see of a saved search, as entries tell it; null for what is not shared.';

create or replace function audit.record_search_change(id uuid, organization_id uuid, old jsonb, new jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  if old is distinct from new then
    perform audit.record(
      record_search_change.organization_id, 'saved_search.changed', 'saved_search', record_search_change.id::text,
      case
        when old is null then jsonb_build_object('new', new)
        when new is null then jsonb_build_object('old', old)
        else jsonb_build_object('changes', (
          select jsonb_object_agg(k, jsonb_build_object('old', old -> k, 'new', new -> k))
          from (select jsonb_object_keys(old) union select jsonb_object_keys(new)) f (k)
          where old -> k is distinct from new -> k
        ))
      end
    );
  end if;
end
$$;

comment on function audit.record_search_change(uuid, uuid, jsonb, jsonb) is 'Leaves the entry that says what others see otherwise.';

create or replace function audit.checked_search(search audit.saved_searches, request jsonb)
  returns audit.saved_searches
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_detail text;
  v_hint text;
begin
  search.name := trim(coalesce(request ->> 'name', search.name));
  search.shared := coalesce((request ->> 'shared')::boolean, search.shared, false);
  if coalesce(length(search.name) not between 1 and 100, true) then
    perform audit.fail_inside('name', 'AUARG', 'A search is kept under a name of up to 100 characters.', null, null);
  elsif request ->> 'query' is null and search.query is null then
    perform audit.fail_inside('query', 'AUARG', 'The query is missing.', null, null);
  end if;
  begin
    search.query := audit.format_query(audit.parse_query(coalesce(request ->> 'query', search.query)));
  exception when sqlstate 'AUQRY' then
    get stacked diagnostics v_detail = pg_exception_detail, v_hint = pg_exception_hint;
    perform audit.fail_inside('query', sqlstate, sqlerrm, v_detail, v_hint);
  end;
  return search;
end
$$;

comment on function audit.checked_search(audit.saved_searches, jsonb) is
  'A saved search with what a request says of it; raises AUARG or AUQRY where something is wrong.';

create or replace function audit.search_to_change(id text)
  returns audit.saved_searches
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_search audit.saved_searches;
begin
  select s.* into v_search from audit.saved_searches s
  where s.id = audit.as_uuid(search_to_change.id) and (s.owner = auth.uid() or s.shared) and audit.reach(s.organization_id) is not null
  for update;
  if not found then
    perform audit.fail('AUNOT', 'There is no such search.', null, 'audit.list_searches() lists them.');
  elsif v_search.shared then
    perform audit.require_admin(v_search.organization_id);
  end if;
  return v_search;
end
$$;

comment on function audit.search_to_change(text) is
  'The saved search of an id, locked: one''s own, or for admins a shared one; raises AUNOT or AUDEN.';

create or replace function audit.save_search(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- people write their searches through these functions only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_search audit.saved_searches;
begin
  perform audit.check_request(request, array['organization_id', 'name', 'query', 'shared']);
  v_search.organization_id := audit.requested_organization(request);
  v_search.owner := auth.uid();
  if v_search.owner is null then
    perform audit.fail('AUARG', 'A search is kept for a person.', null, 'Sign in as one.');
  end if;
  v_search := audit.checked_search(v_search, request);
  if v_search.shared then
    perform audit.require_admin(v_search.organization_id);
  end if;
  if (select count(*) from audit.saved_searches s where s.organization_id = v_search.organization_id and s.owner = v_search.owner) >= 100 then
    perform audit.fail('AUARG', 'One person keeps at most 100 searches.', null, 'Delete some that are not needed any more.');
  end if;
  begin
    insert into audit.saved_searches (organization_id, owner, name, query, shared)
    values (v_search.organization_id, v_search.owner, v_search.name, v_search.query, v_search.shared)
    returning * into v_search;
  exception when unique_violation then
    perform audit.fail_inside('name', 'AUARG', 'You keep a search of this name.', null, 'Choose another, or change that one.');
  end;
  perform audit.record_search_change(v_search.id, v_search.organization_id, null, audit.search_told(v_search));
  return audit.search_json(v_search);
end
$$;

comment on function audit.save_search(jsonb) is
  'Keeps a search: select audit.save_search(''{"organization_id": "…", "name": "Failed logins", "query": "action:user.login_failed"}'').
With "shared": true, for admins, everybody sees it who reads the organisation''s log, and an entry is left.';

create or replace function audit.change_search(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- people write their searches through these functions only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_old audit.saved_searches := audit.search_to_change(request ->> 'id');
  v_new audit.saved_searches;
begin
  perform audit.check_request(request, array['id', 'name', 'query', 'shared']);
  v_new := audit.checked_search(v_old, request);
  if v_new.shared then
    perform audit.require_admin(v_new.organization_id);
  end if;
  begin
    update audit.saved_searches s set name = v_new.name, query = v_new.query, shared = v_new.shared, changed_at = clock_timestamp()
    where s.id = v_new.id
    returning s.* into v_new;
  exception when unique_violation then
    perform audit.fail_inside('name', 'AUARG', 'Its owner keeps a search of this name.', null, 'Choose another.');
  end;
  perform audit.record_search_change(v_new.id, v_new.organization_id, audit.search_told(v_old), audit.search_told(v_new));
  return audit.search_json(v_new);
end
$$;

comment on function audit.change_search(jsonb) is
  'Changes name, query or whether it is shared: select audit.change_search(''{"id": "…", "shared": true}''). What others see otherwise
is an entry. For its owner; shared ones for admins.';

create or replace function audit.delete_search(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- people write their searches through these functions only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_search audit.saved_searches := audit.search_to_change(request ->> 'id');
begin
  perform audit.check_request(request, array['id']);
  delete from audit.saved_searches s where s.id = v_search.id;
  perform audit.record_search_change(v_search.id, v_search.organization_id, audit.search_told(v_search), null);
  return audit.search_json(v_search);
end
$$;

comment on function audit.delete_search(jsonb) is
  'Deletes a saved search: select audit.delete_search(''{"id": "…"}''). For its owner; shared ones for admins, which leaves an entry.';

create or replace function audit.list_searches(request jsonb default '{}')
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  return jsonb_build_object('organization_id', v_organization, 'searches', coalesce((
    select jsonb_agg(audit.search_json(s) order by s.shared, s.name, s.id) from audit.saved_searches s where s.organization_id = v_organization
  ), '[]'));
end
$$;

comment on function audit.list_searches(jsonb) is
  'The searches that the caller keeps in {organization_id}, and those shared there; row level security says which.';
