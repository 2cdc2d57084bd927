-- Activity: what happened in each hour, in numbers. Kept behind the writers by audit.count_activity(), which follows the
-- heads as the search index does, so each entry is counted once. It is what anomalies are found in (633, 636), derived
-- from the log, and holds no personal data: users by id, no content.

create table if not exists audit.activity (
  hour timestamptz not null,
  organization_id uuid not null,
  dimension text not null,
  value text not null,
  entries bigint not null,
  queries bigint not null,
  costs bigint not null,
  cost numeric not null,
  late bigint not null,
  constraint activity_pkey primary key (hour, organization_id, dimension, value)
)
with (fillfactor = 70);

comment on table audit.activity is
  'Entries, queries and costs of each hour (UTC), of organisations as a whole for 60 days and of their parts for 15; written by audit.count_activity().';
comment on column audit.activity.hour is 'When the hour began; an entry belongs to the hour of its created_at, however late it is seen.';
comment on column audit.activity.organization_id is 'Whose activity.';
comment on column audit.activity.dimension is 'Of what: all, actor, provider, model or action.';
comment on column audit.activity.value is 'Which one: a user''s id (the type of an actor without one), a provider, a model, an action; empty for all.';
comment on column audit.activity.entries is 'How many entries.';
comment on column audit.activity.queries is 'How many of them are query.executed.';
comment on column audit.activity.costs is 'How many of them have a cost.';
comment on column audit.activity.cost is 'What these cost together.';
comment on column audit.activity.late is 'How many of the entries came when the hour had already been judged.';

create table if not exists audit.activity_positions (
  organization_id uuid not null,
  chain int not null,
  seq bigint not null,
  last_at timestamptz not null,
  constraint activity_positions_pkey primary key (organization_id, chain)
)
with (fillfactor = 50);

comment on table audit.activity_positions is 'How far activity is counted; written by audit.count_activity() only.';
comment on column audit.activity_positions.organization_id is 'Whose chain.';
comment on column audit.activity_positions.chain is 'The chain.';
comment on column audit.activity_positions.seq is 'The last entry that is counted.';
comment on column audit.activity_positions.last_at is 'Its time; no later entry of the chain is earlier.';

create table if not exists audit.activity_clock (
  one boolean not null default true,
  judged_to timestamptz,
  constraint activity_clock_pkey primary key (one),
  constraint activity_clock_has_one_row check (one)
);

comment on table audit.activity_clock is 'Up to when hours are closed and judged; written by audit.detect_anomalies() only.';
comment on column audit.activity_clock.one is 'There is one row.';
comment on column audit.activity_clock.judged_to is 'Hours that begin before then are judged; null before the first.';

insert into audit.activity_clock (one) values (true) on conflict do nothing;

create table if not exists audit.judgements (
  organization_id uuid not null,
  metric text not null,
  hour timestamptz not null,
  seen numeric not null,
  made_of bigint not null,
  expected float8,
  spread float8,
  score float8,
  learned float8,
  unusual boolean not null,
  alerts smallint not null,
  alert uuid,
  late boolean not null default false,
  -- What later hours are compared with lies together, tenant by tenant; the rows lie hour by hour.
  constraint judgements_pkey primary key (organization_id, metric, hour) include (seen, made_of, learned, unusual)
)
with (fillfactor = 70);

comment on table audit.judgements is
  'What was thought of each closed hour of the last 60 days; written by audit.judge_activity(), and audit.count_activity() for what is late.';
comment on column audit.judgements.organization_id is 'Whose hour.';
comment on column audit.judgements.metric is 'Of what: queries or cost, or the series of another rule (audit.series_of).';
comment on column audit.judgements.hour is 'When the hour began.';
comment on column audit.judgements.seen is 'How many queries, or what cost.';
comment on column audit.judgements.made_of is 'Of how many entries.';
comment on column audit.judgements.expected is 'The median of the same hour of the 14 days before, unusual ones left out; null where there are too few.';
comment on column audit.judgements.spread is 'How far from what is expected such an hour commonly is (one standard deviation); null before there is experience.';
comment on column audit.judgements.score is 'How many spreads it is away from what is expected; null before there is experience.';
comment on column audit.judgements.learned is 'What later hours learn from it: the distance in units of chance; null for unusual hours, which teach nothing.';
comment on column audit.judgements.unusual is 'Whether it is so far away that nothing is learned from it.';
comment on column audit.judgements.alerts is '0: it raises none; 1: it is, or belongs to, an alert; 2: to one that is very unusual.';
comment on column audit.judgements.alert is 'The alert that was raised.';
comment on column audit.judgements.late is 'Whether entries of this hour came after it was judged, and it is to be judged again.';

create index if not exists judgements_hour_idx on audit.judgements (hour);
create index if not exists judgements_unusual_idx on audit.judgements (organization_id, metric, hour) where unusual;
create index if not exists judgements_late_idx on audit.judgements (hour) where late;

alter table audit.activity enable row level security;
alter table audit.activity_positions enable row level security;
alter table audit.activity_clock enable row level security;
alter table audit.judgements enable row level security;

create or replace function audit.count_activity(at_most int default 20000)
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_judged_to timestamptz := (select k.judged_to from audit.activity_clock k);
  v_counted int;
begin
  -- One at a time; who comes second has nothing to do.
  if not pg_try_advisory_xact_lock(hashtext('audit.count_activity')) then
    return null;
  end if;

  -- A chain's entries become visible in order and without gaps, so everything up to its head is there.
  with waiting as (
    select h.organization_id, h.chain, f.after, coalesce(p.last_at, '-infinity') as last_at, h.seq,
      sum(h.seq - f.after) over (order by h.last_at, h.organization_id, h.chain) as running
    from audit.heads h
    left join audit.activity_positions p on p.organization_id = h.organization_id and p.chain = h.chain
    left join audit.chain_bounds b on b.organization_id = h.organization_id and b.chain = h.chain
    -- What was purged before it was counted is not waited for.
    cross join lateral (select coalesce(greatest(p.seq, b.seq), 0) as after) f
    where h.seq > f.after
  ),
  taken as materialized (
    select w.organization_id, w.chain, w.after, w.last_at,
      least(w.seq, w.seq - (w.running - count_activity.at_most)) as upto
    from waiting w
    where w.running - (w.seq - w.after) < count_activity.at_most
  ),
  entry as materialized (
    select a.organization_id, a.chain, a.created_at, date_trunc('hour', a.created_at, 'UTC') as hour,
      coalesce(a.created_by::text, a.actor_type) as actor, a.provider, a.action,
      case when a.cost > '-Infinity' and a.cost < 'Infinity' then a.cost end as cost,
      -- A response does not name its model; its query, an earlier entry of the same resource, does.
      left(coalesce(a.details #>> '{new,model}', a.details ->> 'model', case when a.cost is not null then (
        select q.details #>> '{new,model}' from public.audit_logs q
        where q.resource_id = a.resource_id and q.organization_id = a.organization_id and q.resource_type = a.resource_type
          and q.action = 'query.executed' and q.created_at between a.created_at - interval '1 day' and a.created_at
        limit 1
      ) end), 200) as model
    from taken t
    join public.audit_logs a
      on a.organization_id = t.organization_id and a.chain = t.chain and a.seq > t.after and a.seq <= t.upto
        and a.created_at >= t.last_at
  ),
  counted as (
    insert into audit.activity as c (hour, organization_id, dimension, value, entries, queries, costs, cost, late)
    select e.hour, e.organization_id, d.dimension, d.value, count(*), count(*) filter (where e.action = 'query.executed'),
      count(e.cost), coalesce(sum(e.cost), 0), count(*) filter (where e.hour < v_judged_to)
    from entry e
    cross join lateral (
      values ('all', '', 60), ('actor', e.actor, 15), ('provider', e.provider, 15), ('model', e.model, 15), ('action', e.action, 15)
    ) d (dimension, value, days)
    -- Hours that are forgotten by now stay forgotten.
    where d.value is not null and e.hour > coalesce(v_judged_to, clock_timestamp()) - d.days * interval '24 hours'
    group by e.hour, e.organization_id, d.dimension, d.value
    order by e.hour, e.organization_id, d.dimension, d.value
    on conflict on constraint activity_pkey do update set
      entries = c.entries + excluded.entries, queries = c.queries + excluded.queries, costs = c.costs + excluded.costs,
      cost = c.cost + excluded.cost, late = c.late + excluded.late
    returning c.hour, c.organization_id, c.dimension
  ),
  belated as (
    update audit.judgements j set late = true
    from counted c
    where c.dimension = 'all' and c.hour < v_judged_to and j.organization_id = c.organization_id and j.hour = c.hour
  ),
  moved as (
    insert into audit.activity_positions as p (organization_id, chain, seq, last_at)
    select t.organization_id, t.chain, t.upto, coalesce(max(e.created_at), t.last_at)
    from taken t
    left join entry e on e.organization_id = t.organization_id and e.chain = t.chain
    group by t.organization_id, t.chain, t.upto, t.last_at
    on conflict on constraint activity_positions_pkey do update set seq = excluded.seq, last_at = excluded.last_at
  )
  select coalesce(sum(t.upto - t.after), 0) into v_counted from taken t;
  return v_counted;
end
$$;

comment on function audit.count_activity(int) is
  'Counts new entries into their hours, at most so many at once; returns how many, null where another run is counting.';
