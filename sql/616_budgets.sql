-- Budgets: what the entries of a period cost, against what the organisation means to spend. Both come from the log: costs
-- from every entry that has one, budgets from the entries that made and changed them. Spending is kept by days of the
-- organisation's own time zone, so a period begins where its people think it does.

create table if not exists audit.spending (
  rule_id uuid not null,
  organization_id uuid not null,
  day date not null,
  provider text not null,
  spent numeric not null,
  constraint spending_pkey primary key (rule_id, organization_id, day, provider)
);

comment on table audit.spending is 'What was spent on which day; written by audit.evaluate_rules() only.';
comment on column audit.spending.rule_id is 'The rule that adds it up.';
comment on column audit.spending.organization_id is 'Who spent it.';
comment on column audit.spending.day is 'The day in the organisation''s time zone.';
comment on column audit.spending.provider is 'With which provider; empty where the entry names none.';
comment on column audit.spending.spent is 'How much.';

create table if not exists audit.budgets_known (
  organization_id uuid not null,
  budget_id text not null,
  spent_limit numeric not null,
  period text not null,
  percent int[],
  provider text,
  constraint budgets_known_pkey primary key (organization_id, budget_id)
);

comment on table audit.budgets_known is 'The budgets that entries tell of; written by audit.evaluate_rules() only.';
comment on column audit.budgets_known.organization_id is 'Whose budget.';
comment on column audit.budgets_known.budget_id is 'Its id in the application.';
comment on column audit.budgets_known.spent_limit is 'At most so much a period.';
comment on column audit.budgets_known.period is 'day, week or month.';
comment on column audit.budgets_known.percent is 'At which shares of it the application asks to be told; null where it does not say.';
comment on column audit.budgets_known.provider is 'Only costs of this provider; null for all.';

create table if not exists audit.budget_crossings (
  rule_id uuid not null,
  organization_id uuid not null,
  budget_id text not null,
  period_start date not null,
  share text not null,
  spent_limit numeric not null,
  constraint budget_crossings_pkey primary key (rule_id, organization_id, budget_id, period_start, share, spent_limit)
);

comment on table audit.budget_crossings is 'Which shares of which budgets were reached, so that each is told once; written by audit.evaluate_rules() only.';
comment on column audit.budget_crossings.rule_id is 'The rule.';
comment on column audit.budget_crossings.organization_id is 'Whose budget.';
comment on column audit.budget_crossings.budget_id is 'Its id in the application.';
comment on column audit.budget_crossings.period_start is 'The first day of the period.';
comment on column audit.budget_crossings.share is 'Percent of the limit, or exceeded.';
comment on column audit.budget_crossings.spent_limit is 'The limit: changed, it is another.';

alter table audit.spending enable row level security;
alter table audit.budgets_known enable row level security;
alter table audit.budget_crossings enable row level security;

create or replace function audit.note_budget(organization_id uuid, budget_id text, action text, details jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  -- What it is now, whether the entry tells all of it or what changed.
  v_now jsonb := coalesce(details -> 'new', (select jsonb_object_agg(c.key, c.value -> 'new') from jsonb_each(details -> 'changes') c), '{}');
  v_limit numeric := audit.number_value(coalesce(v_now ->> 'limit_usd', v_now ->> 'limit', v_now ->> 'limit_amount', v_now ->> 'amount'));
  v_period text := case v_now ->> 'period' when 'daily' then 'day' when 'weekly' then 'week' when 'monthly' then 'month' end;
  v_percent int[] := case when jsonb_typeof(v_now -> 'alert_thresholds') = 'array' then array(
    select p::numeric::int from jsonb_array_elements_text(v_now -> 'alert_thresholds') p where audit.number_value(p) between 1 and 1000
  ) end;
begin
  if action = 'budget.deleted' then
    delete from audit.budgets_known b where b.organization_id = note_budget.organization_id and b.budget_id = note_budget.budget_id;
    return;
  end if;
  update audit.budgets_known b set
    spent_limit = coalesce(v_limit, b.spent_limit), period = coalesce(v_period, b.period), percent = coalesce(v_percent, b.percent),
    provider = coalesce(v_now ->> 'provider', b.provider)
  where b.organization_id = note_budget.organization_id and b.budget_id = note_budget.budget_id;
  if not found and v_limit > 0 then
    insert into audit.budgets_known (organization_id, budget_id, spent_limit, period, percent, provider)
    values (note_budget.organization_id, note_budget.budget_id, v_limit, coalesce(v_period, 'month'), v_percent, v_now ->> 'provider');
  end if;
end
$$;

comment on function audit.note_budget(uuid, text, text, jsonb) is 'Keeps what an entry tells of a budget.';

create or replace function audit.judge_budgets(totals audit.rule_total[], force audit.rule_in_force[])
  returns audit.rule_firing[]
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_zones jsonb := (
    select jsonb_object_agg(o.id, audit.time_zone_of(o.id)) from (select distinct t.organization_id as id from unnest(totals) t) o
  );
  v_budget record;
  v_firings audit.rule_firing[];
begin
  if totals is null then
    return '{}';
  end if;
  for v_budget in
    select distinct on (t.first_at, t.value) t.organization_id, t.group_key as id, t.note from unnest(totals) t
    where t.note ? 'action' order by t.first_at, t.value
  loop
    perform audit.note_budget(v_budget.organization_id, v_budget.id, v_budget.note ->> 'action', v_budget.note -> 'details');
  end loop;

  insert into audit.spending as p (rule_id, organization_id, day, provider, spent)
  select t.rule_id, t.organization_id, d.day, t.group_key, sum(t.weight)
  from unnest(totals) t
  cross join lateral (select (to_timestamp(t.slot * 900) at time zone (v_zones ->> t.organization_id::text))::date as day) d
  where t.value = 'spent'
  group by t.rule_id, t.organization_id, d.day, t.group_key
  order by t.rule_id, t.organization_id, d.day, t.group_key
  on conflict on constraint spending_pkey do update set spent = p.spent + excluded.spent;

  with touched as (
    -- Where money was spent each budget is looked at, else only those that changed: an organisation may have very many.
    select t.rule_id, t.organization_id, q.period, date_trunc(q.period, d.day)::date as starts, bool_or(t.value = 'spent') as every_budget,
      array_agg(distinct t.group_key) filter (where t.value <> 'spent') as changed, max(t.last_at) as at,
      (array_agg(t.names[1] order by t.last_at desc))[1] as name
    from unnest(totals) t
    cross join lateral (select (to_timestamp(t.slot * 900) at time zone (v_zones ->> t.organization_id::text))::date as day) d
    cross join unnest(array['day', 'week', 'month']) q (period)
    group by t.rule_id, t.organization_id, q.period, 4
  ),
  spending as materialized (
    -- With each provider and, where provider is null, with all.
    select p.*, k.provider, k.spent, f.percent
    from touched p
    join (
      select f.rule_id, f.organization_id,
        array(select jsonb_array_elements_text(coalesce(f.settings -> 'percent', '[50, 80, 100]'))::numeric::int) as percent
      from unnest(force) f
    ) f on f.rule_id = p.rule_id and f.organization_id = p.organization_id
    cross join lateral (
      select k.provider, sum(k.spent) as spent
      from audit.spending k
      where k.rule_id = p.rule_id and k.organization_id = p.organization_id
        and k.day >= p.starts and k.day < p.starts + ('1 ' || p.period)::interval
      group by rollup (k.provider)
    ) k
  ),
  looked_at as (
    select s.*, b.budget_id, b.spent_limit, coalesce(b.percent, s.percent) as shares
    from spending s
    join audit.budgets_known b on b.organization_id = s.organization_id and b.period = s.period and b.provider is not distinct from s.provider
    where s.every_budget
    union all
    select s.*, b.budget_id, b.spent_limit, coalesce(b.percent, s.percent)
    from spending s
    cross join unnest(s.changed) c (budget_id)
    join audit.budgets_known b on b.organization_id = s.organization_id and b.budget_id = c.budget_id
      and b.period = s.period and b.provider is not distinct from s.provider
    where not s.every_budget
  ),
  reached as materialized (
    select l.*, r.share
    from looked_at l
    cross join lateral (
      select p::text as share from unnest(l.shares) p where l.spent * 100 >= l.spent_limit * p
      union
      select 'exceeded' where l.spent > l.spent_limit
    ) r
  ),
  crossing as (
    insert into audit.budget_crossings (rule_id, organization_id, budget_id, period_start, share, spent_limit)
    select r.rule_id, r.organization_id, r.budget_id, r.starts, r.share, r.spent_limit
    from reached r
    on conflict do nothing
    returning rule_id, organization_id, budget_id, period_start, share
  )
  select array_agg(row(
    r.rule_id, r.organization_id,
    jsonb_build_object('budget', r.budget_id, 'period', r.starts, 'share', r.share, 'limit', r.spent_limit)::text,
    r.at, r.at, 1, r.spent, array[r.name], false,
    jsonb_build_object('spent', r.spent, 'limit', r.spent_limit, 'share', r.share, 'budget', r.budget_id,
      'severity', case when r.share = 'exceeded' or r.share::int >= 100 then 'high' end)
  )::audit.rule_firing)
  into v_firings
  from crossing c
  join reached r on r.rule_id = c.rule_id and r.organization_id = c.organization_id and r.budget_id = c.budget_id
    and r.starts = c.period_start and r.share = c.share;
  return coalesce(v_firings, '{}');
end
$$;

comment on function audit.judge_budgets(audit.rule_total[], audit.rule_in_force[]) is
  'Keeps what entries tell of budgets, and answers which shares of them costs have reached now.';
