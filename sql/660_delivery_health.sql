-- Whether alerts reach anybody, an organisation a row.

create or replace view audit.delivery_health as
  select c.organization_id,
    count(*) as channels,
    count(*) filter (where c.disabled_at is not null) as disabled,
    count(*) filter (where c.failures > 0) as failing,
    coalesce(sum(d.waiting), 0)::bigint as waiting,
    coalesce(sum(d.dead), 0)::bigint as dead,
    min(d.oldest_due) as oldest_due,
    max(c.succeeded_at) as succeeded_at
  from audit.channels c
  cross join lateral (
    select count(*) filter (where d.state = 'waiting') as waiting,
      count(*) filter (where d.state = 'dead' and d.type <> 'channel.test') as dead,
      min(d.next_try_at) filter (where d.state = 'waiting' and d.next_try_at <= clock_timestamp()) as oldest_due
    from audit.deliveries d
    where d.channel_id = c.id and d.state <> 'delivered'
  ) d
  group by c.organization_id;

comment on view audit.delivery_health is 'Whether alerts reach somebody: what waits since when, what was given up, which channels get nothing.';
comment on column audit.delivery_health.organization_id is 'Whose channels.';
comment on column audit.delivery_health.channels is 'How many there are.';
comment on column audit.delivery_health.disabled is 'How many of them get nothing.';
comment on column audit.delivery_health.failing is 'How many failed at the last attempt.';
comment on column audit.delivery_health.waiting is 'How many messages wait.';
comment on column audit.delivery_health.dead is 'How many were given up and not replayed.';
comment on column audit.delivery_health.oldest_due is 'Since when the oldest is due that nobody has delivered yet: minutes mean that the job does not run.';
comment on column audit.delivery_health.succeeded_at is 'When one was last delivered, to some seconds.';

revoke all on audit.delivery_health, audit.dead_letters from public, anon, authenticated, service_role;
