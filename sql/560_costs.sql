-- What was spent, by whom, on what: sums over the entries that have a cost.

create or replace function audit.costs_of(
  organization_id uuid,
  compiled audit.compiled_query,
  groups text[]
)
  returns table ("user" uuid, email text, provider text, model text, organization uuid, day date, cost numeric, entries bigint)
  language plpgsql
  stable
  set search_path = ''
  rows 100
as $$
begin
  return query execute format(
    $q$
    select g."user", (
        select i.email from audit.identities i
        where i.user_id = g."user" and i.organization_id = %1$L and i.email is not null order by i.created_at desc limit 1
      ),
      g.provider, g.model, g.organization, g.day, g.cost, g.entries
    from (
      select %2$s as "user", %3$s as provider, %4$s as model, %5$s as organization, %6$s as day, sum(e.cost) as cost, count(*) as entries
      %7$s and e.cost < 'Infinity' and e.cost > '-Infinity'
      group by 1, 2, 3, 4, 5
    ) g
    order by g.day, g.cost desc, g."user", g.provider, g.model
    $q$,
    organization_id,
    case when 'user' = any (groups) then 'e.created_by' else 'null::uuid' end,
    case when 'provider' = any (groups) then 'e.provider' else 'null::text' end,
    -- A response does not name its model; its query, an earlier entry of the same resource, does.
    case when 'model' = any (groups) then
      'coalesce(e.details #>> ''{new,model}'', e.details ->> ''model'', ('
        || 'select q.details #>> ''{new,model}'' from public.audit_logs q where q.organization_id = e.organization_id'
        || ' and q.resource_id = e.resource_id and q.resource_type = e.resource_type and q.action = ''query.executed'''
        || ' and q.created_at <= e.created_at limit 1))'
      else 'null::text' end,
    case when 'organization' = any (groups) then 'e.organization_id' else 'null::uuid' end,
    case when 'day' = any (groups) then '(e.created_at at time zone ''utc'')::date' else 'null::date' end,
    audit.matching_sql(organization_id, compiled)
  );
end
$$;

comment on function audit.costs_of(uuid, audit.compiled_query, text[]) is
  'Costs of an organisation''s matching entries, grouped by user, provider, model, organization and day as asked.';

create or replace function audit.cost_groups(groups text[])
  returns text[]
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if cardinality(groups) is null or cardinality(groups) not between 1 and 3
    or not groups <@ array['user', 'provider', 'model', 'organization', 'day']
  then
    perform audit.fail('AUARG', 'Costs are grouped by one to three of user, provider, model, organization and day.');
  end if;
  return groups;
end
$$;

comment on function audit.cost_groups(text[]) is 'By what costs are grouped, checked.';

create or replace function audit.costs_page(request jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_organizations uuid[];
  v_groups text[];
  v_tree jsonb;
  v_rows jsonb;
  v_total jsonb;
  v_each uuid;
begin
  perform audit.check_request(request, array['organization_id', 'by', 'query', 'filter']);
  if jsonb_typeof(request -> 'by') is distinct from 'array' then
    perform audit.fail('AUARG', 'by is a list.', null, 'For example {"by": ["user", "day"]}.');
  end if;
  v_groups := audit.cost_groups(array(select jsonb_array_elements_text(request -> 'by')));
  v_tree := audit.requested_tree(request);
  -- Several organisations only where they are told apart.
  if 'organization' = any (v_groups) and request ->> 'organization_id' is null then
    v_organizations := array(
      select o.id from (select audit.member_organizations() union select audit.auditor_organizations()) o (id) order by o.id
    );
    if cardinality(v_organizations) = 0 then
      v_organizations := array[audit.requested_organization(request)];
    end if;
  else
    v_organizations := array[audit.requested_organization(request)];
  end if;
  select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
      'user', c."user", 'email', c.email, 'provider', c.provider, 'model', c.model, 'organization', c.organization,
      'day', c.day, 'cost', c.cost::text, 'entries', c.entries
    )) order by c.n, c.row), '[]'),
    jsonb_build_object('cost', coalesce(sum(c.cost), 0)::text, 'entries', coalesce(sum(c.entries), 0))
  into v_rows, v_total
  from (
    select o.n, c.*
    from unnest(v_organizations) with ordinality o (id, n)
    cross join lateral audit.costs_of(o.id, audit.compile_query(o.id, v_tree), v_groups) with ordinality as c (
      "user", email, provider, model, organization, day, cost, entries, row
    )
  ) c;
  foreach v_each in array v_organizations loop
    perform audit.record_reading(v_each, 'log.searched', jsonb_build_object(
      'filter', v_tree, 'costs_by', v_groups, 'entries', v_total -> 'entries'
    ));
  end loop;
  return jsonb_build_object('by', v_groups, 'query', audit.format_node(v_tree), 'filter', v_tree, 'rows', v_rows, 'total', v_total);
end
$$;

comment on function audit.costs_page(jsonb) is 'Costs as JSON, for the function "audit". Leaves a log.searched entry.';

create or replace function audit.costs(
  "by" text default 'user',
  query text default '',
  organization_id uuid default null
)
  returns table ("user" uuid, email text, provider text, model text, organization uuid, day date, cost numeric, entries bigint)
  language plpgsql
  set search_path = ''
  rows 100
as $$
#variable_conflict use_column
declare
  v_organization uuid := audit.readable_organization(costs.organization_id);
  v_groups text[] := audit.cost_groups(regexp_split_to_array(costs."by", '\s*,\s*'));
  v_tree jsonb := audit.parse_query(coalesce(costs.query, ''));
begin
  return query select * from audit.costs_of(v_organization, audit.compile_query(v_organization, v_tree), v_groups);
  perform audit.record_reading(v_organization, 'log.searched', jsonb_build_object(
    'filter', v_tree, 'costs_by', v_groups
  ));
end
$$;

comment on function audit.costs(text, text, uuid) is
  'What was spent: select * from audit.costs(''user,day'', ''created:30d provider:openai'', organization_id).
By one to three of user, provider, model, organization and day. Leaves a log.searched entry.';
