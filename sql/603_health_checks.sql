-- What schedule rules look at: checks of the product itself. Each answers what is wrong now; nothing when all is well.

create or replace function audit.health_checks()
  returns jsonb
  language sql
  immutable
  parallel safe
  return '{
    "capture": "a table is not captured whole, or the log''s own guards are off",
    "sealing": "entries wait longer than the limit to be sealed",
    "archive": "what was archived was not read back for longer than the limit",
    "rules": "entries wait longer than the limit for the rules",
    "search": "entries wait longer than the limit for the search index",
    "cron": "a schedule of the product fails, or has not run for longer than the limit",
    "outside": "a receiver of checkpoints has not got one for longer than the limit",
    "deliveries": "an alert could not be delivered, or waits for it longer than the limit"
  }'::jsonb;

comment on function audit.health_checks() is 'The checks that schedule rules run, and what each finds.';

create or replace function audit.health_check(name text, most interval)
  returns table (organization_id uuid, group_key text, reason jsonb)
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  case name
    when 'capture' then
      return query
        select audit.system_organization(), jsonb_build_object('table', c.table_name)::text,
          jsonb_build_object('findings', jsonb_agg(c.finding order by c.finding), 'way_out', min(c.way_out))
        from audit.coverage c
        where not c.healthy
        group by c.table_name;
    when 'sealing' then
      -- Where nothing was ever sealed, sealing is not set up, which its owner knows.
      return query
        select audit.system_organization(), '', jsonb_build_object('organizations', count(distinct w.organization_id), 'oldest', min(w.since))
        from audit.waiting_chains() w
        where w.since < clock_timestamp() - most and exists (select from audit.logs l where l.published > 0)
        having count(*) > 0;
    when 'archive' then
      return query
        select l.organization_id, '', jsonb_build_object('logs', count(*), 'entries', sum(l.published - l.read_back))
        from audit.logs l
        where l.read_back < l.published and l.archive_deletion_began_at is null and l.sealed_at < clock_timestamp() - most
          and coalesce((select max(r.ended_at) from audit.readings r where r.log = l.id), '-infinity') < clock_timestamp() - most
          and exists (select from audit.readings)
        group by l.organization_id;
    when 'rules' then
      return query
        select audit.system_organization(), '', jsonb_build_object('chains', count(*), 'oldest', min(h.last_at))
        from audit.heads h
        left join audit.rule_positions p on p.organization_id = h.organization_id and p.chain = h.chain
        where h.seq > coalesce(p.seq, 0) and h.last_at < clock_timestamp() - most
        having count(*) > 0;
    when 'search' then
      return query
        select audit.system_organization(), '', jsonb_build_object('chains', count(*), 'oldest', min(h.last_at))
        from audit.heads h
        left join audit.search_positions p on p.organization_id = h.organization_id and p.chain = h.chain
        where h.seq > coalesce(p.seq, 0) and h.last_at < clock_timestamp() - most
        having count(*) > 0;
    when 'cron' then
      if to_regclass('cron.job_run_details') is not null then
        -- Dynamic: the schema need not exist when this function is made. A job that never ran has had no turn yet.
        return query execute $q$
          select $1, jsonb_build_object('job', j.jobname)::text,
            jsonb_build_object('last_run', l.start_time, 'status', l.status, 'message', left(l.return_message, 200))
          from cron.job j
          cross join lateral (
            select d.start_time, d.status, d.return_message from cron.job_run_details d
            where d.jobid = j.jobid and d.status in ('succeeded', 'failed')
            order by d.runid desc limit 1
          ) l
          where j.jobname like 'audit-%' and (l.status = 'failed' or (j.schedule like '% seconds' or j.schedule = '* * * * *') and l.start_time < clock_timestamp() - $2)
        $q$ using audit.system_organization(), most;
      end if;
    when 'outside' then
      return query
        select audit.system_organization(), jsonb_build_object('receiver', o.name)::text,
          jsonb_build_object('kind', o.kind, 'logs', count(*), 'error', max(r.last_error), 'disabled', bool_or(r.disabled_at is not null))
        from audit.owed_checkpoints o
        join audit.receivers r on r.id = o.receiver
        where greatest(r.succeeded_at, r.registered_at) < clock_timestamp() - most
        group by o.name, o.kind;
    when 'deliveries' then
      if to_regclass('audit.deliveries') is not null then
        return query execute $q$
          select d.organization_id, '', jsonb_strip_nulls(jsonb_build_object(
            'given_up', nullif(count(*) filter (where d.state = 'dead'), 0), 'waiting', nullif(count(*) filter (where d.state = 'waiting'), 0),
            'oldest', min(d.created_at) filter (where d.state = 'waiting')
          ))
          from audit.deliveries d
          where d.type <> 'channel.test' and (d.state = 'dead' or d.state = 'waiting' and d.created_at < clock_timestamp() - $1)
          group by d.organization_id
        $q$ using most;
      end if;
    else
      perform audit.fail_rule('There is no such check.');
  end case;
end
$$;

comment on function audit.health_check(text, interval) is
  'What a check finds wrong now: whom it concerns, what it is, and why. audit.health_checks() names the checks.';
