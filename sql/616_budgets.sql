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

  with spent as materialized (
    select t.rule_id, t.organization_id, d.day, t.value, t.group_key as provider, sum(t.weight) as spent, max(t.last_at) as at,
      max(t.names[1]) as name, f.settings
    from unnest(totals) t
    join unnest(force) f on f.rule_id = t.rule_id and f.organization_id = t.organization_id and f.settings ? 'against'
    join (select o.id, audit.time_zone_of(o.id) as zone from (select distinct f.organization_id as id from unnest(force) f where f.settings ? 'against') o) o
      on o.id = t.organization_id
    cross join lateral (select (to_timestamp(t.slot * 900) at time zone o.zone)::date as day) d
    group by t.rule_id, t.organization_id, d.day, t.value, t.group_key, f.settings
  ),
  added as (
    insert into audit.spending as p (rule_id, organization_id, day, provider, spent)
    select s.rule_id, s.organization_id, s.day, s.provider, s.spent from spent s
    where s.value = 'spent'
    order by s.rule_id, s.organization_id, s.day, s.provider
    on conflict on constraint spending_pkey do update set spent = p.spent + excluded.spent
    returning p.rule_id, p.organization_id, p.day, p.provider, p.spent
  ),
  period as materialized (
    select s.rule_id, s.organization_id, b.budget_id, b.spent_limit, b.provider, date_trunc(b.period, s.day)::date as starts,
      (date_trunc(b.period, s.day) + ('1 ' || b.period)::interval)::date as ends, max(s.at) as at,
      (array_agg(s.name order by s.at desc))[1] as name,
      coalesce(b.percent, array(select jsonb_array_elements_text(coalesce(s.settings -> 'percent', '[50, 80, 100]'))::numeric::int)) as percent
    from (
      -- A day once, however many budgets changed in it: else each change meets each budget.
      select s.rule_id, s.organization_id, s.day, s.settings, max(s.at) as at, (array_agg(s.name order by s.at desc))[1] as name
      from spent s
      group by s.rule_id, s.organization_id, s.day, s.settings
    ) s
    join audit.budgets_known b on b.organization_id = s.organization_id
    group by s.rule_id, s.organization_id, s.settings, b.budget_id, b.spent_limit, b.percent, b.provider, b.period, 6, 7
  ),
  -- The statement does not see in the table what it has just added.
  spending as materialized (
    select p.*, (
        select sum(coalesce(a.spent, k.spent))
        from (select * from audit.spending k where k.rule_id = p.rule_id and k.organization_id = p.organization_id and k.day >= p.starts and k.day < p.ends) k
        full join (select * from added a where a.rule_id = p.rule_id and a.organization_id = p.organization_id and a.day >= p.starts and a.day < p.ends) a
          on a.day = k.day and a.provider = k.provider
        where coalesce(a.provider, k.provider) = coalesce(p.provider, a.provider, k.provider)
      ) as spent
    from period p
  ),
  crossing as (
    insert into audit.budget_crossings (rule_id, organization_id, budget_id, period_start, share, spent_limit)
    select s.rule_id, s.organization_id, s.budget_id, s.starts, c.share, s.spent_limit
    from spending s
    cross join lateral (
      select p::text as share from unnest(s.percent) p where s.spent * 100 >= s.spent_limit * p
      union
      select 'exceeded' where s.spent > s.spent_limit
    ) c
    on conflict do nothing
    returning rule_id, organization_id, budget_id, period_start, share
  )
  select array_agg(row(
    c.rule_id, c.organization_id,
    jsonb_build_object('budget', c.budget_id, 'period', c.period_start, 'share', c.share, 'limit', s.spent_limit)::text,
    s.at, s.at, 1, s.spent, array[s.name], false,
    jsonb_build_object('spent', s.spent, 'limit', s.spent_limit, 'share', c.share, 'budget', c.budget_id,
      'severity', case when c.share = 'exceeded' or c.share::int >= 100 then 'high' end)
  )::audit.rule_firing)
  into v_firings
  from crossing c
  join spending s on s.rule_id = c.rule_id and s.organization_id = c.organization_id and s.budget_id = c.budget_id and s.starts = c.period_start;
  return coalesce(v_firings, '{}');
end
$$;

comment on function audit.judge_budgets(audit.rule_total[], audit.rule_in_force[]) is
  'Keeps what entries tell of budgets, and answers which shares of them costs have reached now.';
