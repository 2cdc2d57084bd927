-- Evaluation: every few seconds, of the entries that are new. A chain's entries become visible in order and without
-- gaps, so "everything after position n of each chain" is exactly what has not been looked at; positions, what the rules
-- remember and the alerts are written in one transaction. So each entry counts once, whatever crashes or runs twice.
--
-- Chains are not in order among each other, and what logs tell comes late: an entry may come that is older than others.
-- So time is the entries' own throughout (audit.happened_at), and where an entry comes late, what it changes for those
-- after it is judged again (612).

create table if not exists audit.rule_positions (
  organization_id uuid not null,
  chain int not null,
  seq bigint not null,
  last_at timestamptz not null,
  upto bigint not null,
  constraint rule_positions_pkey primary key (organization_id, chain)
)
with (fillfactor = 50);

comment on table audit.rule_positions is 'How far the rules have come; written by audit.evaluate_rules() only.';
comment on column audit.rule_positions.organization_id is 'Whose chain.';
comment on column audit.rule_positions.chain is 'The chain.';
comment on column audit.rule_positions.seq is 'The last entry that was looked at.';
comment on column audit.rule_positions.last_at is 'Its time; no later entry of the chain is earlier.';
comment on column audit.rule_positions.upto is 'The last entry of the batch that is being looked at; else the same as seq.';

create index if not exists rule_positions_batch_idx on audit.rule_positions (organization_id, chain) where upto > seq;

alter table audit.rule_positions enable row level security;

-- Rules watch from when they are there: what a log holds already is history, which previews look at.
create or replace function audit.skip_to_now()
  returns void
  language sql
  set search_path = ''
as $$
  insert into audit.rule_positions as p (organization_id, chain, seq, last_at, upto)
  select h.organization_id, h.chain, h.seq, h.last_at, h.seq from audit.heads h
  on conflict on constraint rule_positions_pkey do update set seq = excluded.seq, last_at = excluded.last_at, upto = excluded.upto
$$;

comment on function audit.skip_to_now() is 'Has the rules pass over all entries there are: at installation, and after a restore.';

do $$
begin
  if not exists (select from audit.rule_positions) then
    perform audit.skip_to_now();
  end if;
end
$$;

do $$
begin
  if to_regtype('audit.rule_total') is null then
    create type audit.rule_total as (
      rule_id uuid,
      organization_id uuid,
      kind text,
      threshold numeric,
      span bigint,
      slot_length bigint,
      hours jsonb,
      group_key text,
      value text,
      slot bigint,
      weight numeric,
      hits bigint,
      first_at timestamptz,
      last_at timestamptz,
      names text[],
      about_alerts boolean,
      note jsonb
    );
  end if;
  if to_regtype('audit.rule_firing') is null then
    create type audit.rule_firing as (
      rule_id uuid,
      organization_id uuid,
      group_key text,
      first_at timestamptz,
      last_at timestamptz,
      occurrences bigint,
      seen numeric,
      names text[],
      about_alerts boolean,
      note jsonb
    );
  end if;
end
$$;

comment on type audit.rule_total is 'What entries of one slot of time add to one group of a rule, and what the rule makes of it.';
comment on type audit.rule_firing is 'That a rule''s condition held for a group, from one entry to another.';

-- In a function of its own, so that entries are found by position whatever else is asked of them, and however large the
-- log is: joined to the log, the planner would rather read all of it.
create or replace function audit.entries_between(organization_id uuid, chain int, after bigint, upto bigint, since timestamptz)
  returns setof public.audit_logs
  language plpgsql
  stable
  set search_path = ''
  set enable_seqscan = off
  set enable_bitmapscan = off
  rows 1000
as $$
begin
  return query
    select a.* from public.audit_logs a
    where a.organization_id = entries_between.organization_id and a.chain = entries_between.chain
      and a.seq > entries_between.after and a.seq <= entries_between.upto and a.created_at >= entries_between.since
    order by a.seq;
end
$$;

comment on function audit.entries_between(uuid, int, bigint, bigint, timestamptz) is
  'The entries of a chain after one position and up to another, none of which is earlier than a time.';

-- What entries add ----------------------------------------------------------------------------------------------------

create or replace function audit.collect(
  source text,
  sample public.audit_logs[],
  expressions text,
  organization uuid,
  force audit.rule_in_force[]
)
  returns audit.rule_total[]
  language plpgsql
  stable
  set search_path = ''
  set jit = off
  -- Of arrays the planner knows no numbers: it would read the entries once for each rule.
  set enable_nestloop = off
as $$
declare
  v_totals audit.rule_total[];
begin
  if expressions is null then
    return '{}';
  end if;
  execute format(
    $q$
    with hit as materialized (
      select e.organization_id, audit.happened_at(e.created_at, e.details) as at, e.chain || '-' || e.seq as name,
        e.action like 'alert.%%' as about_alerts, h.*
      from %s
      cross join lateral unnest(array[%s]::audit.rule_hit[]) h
      where h.rule_id is not null and h.group_key is not null and h.value is not null and h.weight > 0 and h.weight < 'Infinity' %s
    )
    select array_agg(row(
      t.rule_id, t.organization_id, t.kind, t.threshold, t.span, t.slot_length, t.hours, t.group_key, t.value, t.slot, t.weight, t.hits,
      t.first_at, t.last_at, t.names, t.about_alerts, t.note
    )::audit.rule_total)
    from (
      select h.rule_id, h.organization_id, f.kind, f.threshold, f.span, f.slot as slot_length, f.settings -> 'hours' as hours,
        h.group_key, h.value, s.slot, sum(h.weight) as weight, count(*) as hits,
        min(h.at) as first_at, max(h.at) as last_at, (array_agg(h.name))[:20] as names,
        bool_or(h.about_alerts) as about_alerts, h.note
      from hit h
      join unnest($2) f on f.rule_id = h.rule_id and f.organization_id = h.organization_id
      cross join lateral (select (extract(epoch from h.at) * 1000000)::bigint / f.slot as slot) s
      group by h.rule_id, h.organization_id, f.kind, f.threshold, f.span, f.slot, f.settings -> 'hours', h.group_key, h.value, s.slot, h.note
    ) t
    $q$,
    source, expressions, 'and e.organization_id = ' || quote_literal(organization)
  ) into v_totals using sample, force;
  return coalesce(v_totals, '{}');
end
$$;

comment on function audit.collect(text, public.audit_logs[], text, uuid, audit.rule_in_force[]) is
  'What the entries e of a FROM clause, or of a sample ($1), add to rules, by the rules'' expressions, in one pass.';

create or replace function audit.rule_expressions(rules uuid[])
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select string_agg(replace(r.compiled, '$rule$', quote_literal(r.id) || '::uuid'), ', ' order by r.id)
  from audit.rules r
  where r.id = any (rules) and r.compiled is not null
$$;

comment on function audit.rule_expressions(uuid[]) is 'The expressions of rules, to be evaluated together.';

create or replace function audit.collect_all(source text, sample public.audit_logs[], organizations uuid[], force audit.rule_in_force[])
  returns audit.rule_total[]
  language plpgsql
  set search_path = ''
as $$
declare
  v_totals audit.rule_total[] := '{}';
  v_set record;
  v_rule uuid;
begin
  -- Everybody's rules in one pass over all entries; an organisation's own in one over its entries.
  for v_set in
    select case when f.own then f.organization_id end as organization, array_agg(distinct f.rule_id) as rules
    from unnest(force) f
    group by 1
  loop
    begin
      v_totals := v_totals || audit.collect(source, sample, audit.rule_expressions(v_set.rules), v_set.organization, force);
    exception when data_exception or program_limit_exceeded or internal_error then
      -- One of them fails on an entry. The others must not be silenced by it: each alone, and the one is switched off.
      foreach v_rule in array v_set.rules loop
        begin
          v_totals := v_totals || audit.collect(source, sample, audit.rule_expressions(array[v_rule]), v_set.organization, force);
        exception when data_exception or program_limit_exceeded or internal_error then
          perform audit.note_finding(
            coalesce(v_set.organization, audit.system_organization()), 'rule_failed', v_rule::text, jsonb_build_object('error', sqlerrm)
          );
        end;
      end loop;
    end;
  end loop;
  return v_totals;
end
$$;

comment on function audit.collect_all(text, public.audit_logs[], uuid[], audit.rule_in_force[]) is
  'What entries add to all rules. A rule that fails on an entry is passed over, which is a finding.';

-- What it comes to ----------------------------------------------------------------------------------------------------

create or replace function audit.evaluate_entries(source text, organizations uuid[], sample public.audit_logs[] default null, only_rule uuid default null)
  returns audit.rule_firing[]
  language plpgsql
  set search_path = ''
as $$
declare
  v_force audit.rule_in_force[] := array(
    select f from audit.rules_in_force(organizations) f where only_rule is null or (f).rule_id = only_rule
  );
  v_values audit.rule_total[];
  v_budgets audit.rule_total[];
  v_hours audit.rule_total[];
  v_travels audit.rule_total[];
  v_others audit.rule_total[];
begin
  select array_agg(t) filter (where t.kind = 'new_value'), array_agg(t) filter (where t.kind = 'sum' and t.span = 0),
    array_agg(t) filter (where t.hours is not null), array_agg(t) filter (where t.kind = 'travel'),
    array_agg(t) filter (where t.hours is null and t.kind not in ('new_value', 'travel') and (t.kind <> 'sum' or t.span > 0))
  into v_values, v_budgets, v_hours, v_travels, v_others
  from unnest(audit.collect_all(source, sample, organizations, v_force)) t;
  return audit.joined_firings(
    audit.judge_windows(coalesce(v_others, '{}') || audit.outside_hours(v_hours))
      || audit.judge_values(v_values, v_force)
      || audit.judge_budgets(v_budgets, v_force)
      || audit.judge_travels(v_travels, v_force),
    v_force
  );
end
$$;

comment on function audit.evaluate_entries(text, uuid[], public.audit_logs[], uuid) is
  'Takes entries into what the rules remember, and answers where conditions hold now that did not before.';

-- One after the other within the quiet period is one.
create or replace function audit.joined_firings(firings audit.rule_firing[], force audit.rule_in_force[])
  returns audit.rule_firing[]
  language sql
  stable
  set search_path = ''
as $$
  select coalesce(array_agg(row(
    j.rule_id, j.organization_id, j.group_key, j.first_at, j.last_at, j.occurrences, j.seen,
    array(select n from unnest(j.parts) p cross join lateral unnest(p.names) n limit 20), j.about_alerts, (j.parts[1]).note
  )::audit.rule_firing order by j.first_at), '{}')
  from (
    select e.rule_id, e.organization_id, e.group_key, min(e.first_at) as first_at, max(e.last_at) as last_at,
      sum(e.occurrences)::bigint as occurrences, max(e.seen) as seen, bool_or(e.about_alerts) as about_alerts,
      (array_agg(e.firing order by e.first_at))[:20] as parts
    from (
      select b.*, count(*) filter (where b.begins) over (partition by b.rule_id, b.organization_id, b.group_key order by b.first_at, b.last_at) as episode
      from (
        select f.*, f as firing, f.first_at > max(f.last_at) over (
            partition by f.rule_id, f.organization_id, f.group_key order by f.first_at, f.last_at rows between unbounded preceding and 1 preceding
          ) + coalesce(q.quiet_period, '100 years') as begins
        from unnest(firings) f
        join unnest(force) q on q.rule_id = f.rule_id and q.organization_id = f.organization_id
      ) b
    ) e
    group by e.rule_id, e.organization_id, e.group_key, e.episode
  ) j
$$;

comment on function audit.joined_firings(audit.rule_firing[], audit.rule_in_force[]) is
  'Firings of a group that follow each other within its quiet period, as one.';

create or replace function audit.evaluate_rules(at_most int default 10000)
  returns int
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_taken bigint;
  v_waiting bigint;
  v_organizations uuid[];
  v_firing audit.rule_firing;
begin
  -- One at a time; who comes second has nothing to do.
  if not pg_try_advisory_xact_lock(hashtext('audit.evaluate_rules')) then
    return 0;
  end if;

  with waiting as (
    select h.organization_id, h.chain, f.after, coalesce(p.last_at, '-infinity') as last_at, h.seq,
      sum(h.seq - f.after) over (order by h.last_at, h.organization_id, h.chain) as running
    from audit.heads h
    left join audit.rule_positions p on p.organization_id = h.organization_id and p.chain = h.chain
    left join audit.chain_bounds b on b.organization_id = h.organization_id and b.chain = h.chain
    -- What was purged before it was looked at is not waited for.
    cross join lateral (select coalesce(greatest(p.seq, b.seq), 0) as after) f
    where h.seq > f.after
  ),
  taken as (
    insert into audit.rule_positions as p (organization_id, chain, seq, last_at, upto)
    select w.organization_id, w.chain, w.after, w.last_at, least(w.seq, w.seq - (w.running - evaluate_rules.at_most))
    from waiting w
    where w.running - (w.seq - w.after) < evaluate_rules.at_most
    -- At REPEATABLE READ a batch that somebody else has taken meanwhile ends here, with a serialization failure.
    on conflict on constraint rule_positions_pkey do update set seq = excluded.seq, upto = excluded.upto
    returning organization_id, upto - seq as entries
  )
  select sum(t.entries), array_agg(distinct t.organization_id), (select max(w.running) from waiting w)
  into v_taken, v_organizations, v_waiting
  from taken t;

  if v_taken > 0 then
    foreach v_firing in array audit.admitted_firings(audit.evaluate_entries(
      '(select * from audit.rule_positions p where p.upto > p.seq) p'
        || ' cross join lateral audit.entries_between(p.organization_id, p.chain, p.seq, p.upto, p.last_at) e',
      v_organizations
    )) loop
      perform audit.note_firing(v_firing);
    end loop;
    update audit.rule_positions p set seq = p.upto, last_at = coalesce((
      select e.created_at from public.audit_logs e
      where e.organization_id = p.organization_id and e.chain = p.chain and e.seq = p.upto and e.created_at >= p.last_at
    ), p.last_at)
    where p.upto > p.seq;
  end if;
  -- What is over is over once nothing waits that could still belong to it.
  if v_waiting is null or v_waiting <= evaluate_rules.at_most then
    perform audit.close_quiet_alerts();
  end if;
  return coalesce(v_taken, 0);
end
$$;

comment on function audit.evaluate_rules(int) is
  'Evaluates the rules on at most so many new entries, and raises alerts; returns how many it looked at. pg_cron runs it.';
