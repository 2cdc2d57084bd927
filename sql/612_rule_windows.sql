-- Windows that slide over the entries' own time: counts, distinct values, sums and sequences.
--
-- For each group what happened stands in slots (600). A window ends at each slot in which something happened, and begins
-- its length before; at the edge it takes the whole slot in. All is added up by one running sum: a slot adds what it
-- holds and takes it away again when the window has passed it. Only what new entries can change is judged: from the
-- first of their slots to a window after the last.

create table if not exists audit.rule_windows (
  rule_id uuid not null,
  organization_id uuid not null,
  group_key text not null,
  slot bigint not null,
  value text not null,
  weight numeric not null,
  hits bigint not null,
  counted bigint not null default 0,
  first_at timestamptz not null,
  last_at timestamptz not null,
  names text[] not null,
  forget_at timestamptz not null,
  constraint rule_windows_pkey primary key (rule_id, organization_id, group_key, slot, value)
);

comment on table audit.rule_windows is 'What the rules remember of entries within their windows; written by audit.evaluate_rules() only.';
comment on column audit.rule_windows.rule_id is 'The rule.';
comment on column audit.rule_windows.organization_id is 'Whose entries.';
comment on column audit.rule_windows.group_key is 'The group.';
comment on column audit.rule_windows.slot is 'When, in slots of the rule since 1970.';
comment on column audit.rule_windows.value is 'Of which value, or which step of a sequence.';
comment on column audit.rule_windows.weight is 'How much that adds.';
comment on column audit.rule_windows.hits is 'How many entries it was.';
comment on column audit.rule_windows.counted is 'How many of them an alert has counted.';
comment on column audit.rule_windows.first_at is 'The time of the first.';
comment on column audit.rule_windows.last_at is 'The time of the last.';
comment on column audit.rule_windows.names is 'Their names, 20 at most.';
comment on column audit.rule_windows.forget_at is 'When no window reaches it any more, entries that come an hour late included; not before an hour after it came itself.';

alter table audit.rule_windows enable row level security;

create or replace function audit.remember_windows(totals audit.rule_total[])
  returns void
  language sql
  set search_path = ''
  set enable_seqscan = off -- see audit.judge_windows()
  set jit = off -- see audit.outside_hours()
as $$
  insert into audit.rule_windows as w
    (rule_id, organization_id, group_key, slot, value, weight, hits, first_at, last_at, names, forget_at)
  select t.rule_id, t.organization_id, t.group_key, t.slot, t.value, t.weight, t.hits, t.first_at, t.last_at, t.names,
    greatest(to_timestamp((t.slot + 2 * t.span + 1) * t.slot_length / 1000000.0), clock_timestamp()) + interval '1 hour'
  from unnest(totals) t
  where t.span > 0
  order by t.rule_id, t.organization_id, t.group_key, t.slot, t.value
  on conflict on constraint rule_windows_pkey do update set
    weight = w.weight + excluded.weight, hits = w.hits + excluded.hits,
    first_at = least(w.first_at, excluded.first_at), last_at = greatest(w.last_at, excluded.last_at),
    names = (w.names || excluded.names)[:20]
$$;

comment on function audit.remember_windows(audit.rule_total[]) is 'Takes what entries add into the windows.';

create or replace function audit.judge_windows(totals audit.rule_total[])
  returns audit.rule_firing[]
  language plpgsql
  set search_path = ''
  -- What a group remembers is found by its key, however many groups there are.
  set enable_seqscan = off
  set jit = off -- see audit.outside_hours()
as $$
#variable_conflict use_column
declare
  v_firings audit.rule_firing[];
  v_windowed audit.rule_firing[];
begin
  -- Where one entry is enough there is nothing to remember.
  v_firings := array(
    select row(t.rule_id, t.organization_id, t.group_key, t.first_at, t.last_at, t.hits, t.hits, t.names, t.about_alerts, null)::audit.rule_firing
    from unnest(totals) t
    where t.kind = 'event'
  );

  perform audit.remember_windows(totals);
  with touched as materialized (
    select t.rule_id, t.organization_id, t.group_key, t.kind, t.span, t.threshold, min(t.slot) as lo, max(t.slot) as hi, bool_or(t.about_alerts) as about_alerts
    from unnest(totals) t
    where t.span > 0
    group by t.rule_id, t.organization_id, t.group_key, t.kind, t.span, t.threshold
  ),
  held as (
    select t.rule_id, t.organization_id, t.group_key, t.kind, t.span, t.threshold, t.lo, t.about_alerts,
      w.slot, w.value, w.hits, w.counted, w.first_at, w.last_at, w.names,
      case when t.kind in ('sum', 'count') then w.weight when w.value = 'then' and t.kind = 'sequence' then 0
        when t.kind = 'sequence' then w.weight else 1 end as weight,
      -- A value that comes again counts on from there; what else there is counts as long as the window is.
      case when t.kind = 'distinct' then lead(w.slot) over (
        partition by t.rule_id, t.organization_id, t.group_key, w.value order by w.slot
      ) end as again
    from touched t
    cross join lateral (
      select w.* from audit.rule_windows w
      where w.rule_id = t.rule_id and w.organization_id = t.organization_id and w.group_key = t.group_key
        and w.slot between t.lo - t.span and t.hi + t.span
      offset 0
    ) w
  ),
  running as (
    select c.*, sum(c.change) over (partition by c.rule_id, c.organization_id, c.group_key order by c.at) as total
    from (
      select h.*, h.slot as at, h.weight as change, true as begins from held h
      union all
      select h.*, least(h.slot + h.span + 1, h.again), -h.weight, false from held h
    ) c
  ),
  firing as materialized (
    select r.*, coalesce(lag(r.slot) over (partition by r.rule_id, r.organization_id, r.group_key order by r.slot, r.value) < r.slot - r.span, true) as is_first
    from running r
    where r.begins and r.total >= r.threshold and r.slot >= r.lo and r.hits > r.counted and (r.kind <> 'sequence' or r.value = 'then')
  ),
  counted as (
    update audit.rule_windows w set counted = w.hits
    from firing f
    where w.rule_id = f.rule_id and w.organization_id = f.organization_id and w.group_key = f.group_key and w.slot = f.slot and w.value = f.value
  )
  select array_agg(row(
    f.rule_id, f.organization_id, f.group_key, f.first_at, f.last_at, f.hits - f.counted, f.total,
    -- What the first of them is made of; others only go on.
    case when f.is_first then array(
      select n.name
      from audit.rule_windows w
      cross join lateral unnest(w.names) n (name)
      where w.rule_id = f.rule_id and w.organization_id = f.organization_id and w.group_key = f.group_key and w.slot between f.slot - f.span and f.slot
      order by w.slot, n.name
      limit 20
    ) else f.names end,
    f.about_alerts, null
  )::audit.rule_firing)
  into v_windowed
  from firing f;
  return v_firings || coalesce(v_windowed, '{}');
end
$$;

comment on function audit.judge_windows(audit.rule_total[]) is
  'Takes what entries add into the windows, and answers where a threshold is reached now that was not, or holds on.';

create or replace function audit.prune_rules()
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_pruned int;
begin
  -- An evaluation that is behind may still need what is old; and none runs meanwhile.
  if not pg_try_advisory_xact_lock(hashtext('audit.evaluate_rules')) or exists (select from audit.health_check('rules', interval '1 minute')) then
    return 0;
  end if;
  delete from audit.rule_windows w where w.forget_at < clock_timestamp();
  get diagnostics v_pruned = row_count;
  delete from audit.rule_values v where v.forget_at < clock_timestamp();
  -- The longest period of a budget is a month.
  delete from audit.spending s where s.day < current_date - 62;
  delete from audit.budget_crossings c where c.period_start < current_date - 62;
  return v_pruned;
end
$$;

comment on function audit.prune_rules() is 'Forgets what no window reaches any more; returns how many slots. pg_cron runs it.';
