-- Deliveries: the outbox. What happens to an alert leaves, in the same transaction, a message for each of its channels; the
-- job deliver-alerts takes what is due, and says what became of it. A run that ends in between leaves a lease; when that is
-- over the same message is sent again, under the same id: at least once, and to who knows ids exactly once.

create table if not exists audit.deliveries (
  id uuid not null default gen_random_uuid(),
  organization_id uuid not null,
  channel_id uuid not null,
  alert_id uuid,
  n int not null,
  type text not null,
  message jsonb not null,
  created_at timestamptz not null default clock_timestamp(),
  state text not null default 'waiting',
  attempts int not null default 0,
  next_try_at timestamptz not null default clock_timestamp(),
  lease uuid,
  lease_until timestamptz not null default '-infinity',
  first_tried_at timestamptz,
  settled_at timestamptz,
  last_error text,
  constraint deliveries_pkey primary key (id),
  constraint deliveries_channel_fkey foreign key (channel_id) references audit.channels (id) on delete cascade,
  constraint one_place_in_line unique (alert_id, channel_id, n),
  constraint delivery_state_is_known check (state in ('waiting', 'delivered', 'dead'))
);

comment on table audit.deliveries is 'Messages for channels: what waits, what was delivered, what is dead. Written by audit.queue_message(), audit.settle_delivery() and audit.keep_links().';
comment on column audit.deliveries.id is 'Names the message, the same at every attempt: webhook-id, Idempotency-Key, Message-ID.';
comment on column audit.deliveries.organization_id is 'Whose alert.';
comment on column audit.deliveries.channel_id is 'Where it goes.';
comment on column audit.deliveries.alert_id is 'The alert; null for a message about something else.';
comment on column audit.deliveries.n is 'Its place among the messages of one alert to one channel: none overtakes another.';
comment on column audit.deliveries.type is 'alert.opened, alert.resolved, …, report.ready, channel.test.';
comment on column audit.deliveries.message is 'What is said, as it was when it happened.';
comment on column audit.deliveries.created_at is 'When it happened.';
comment on column audit.deliveries.state is 'waiting; delivered; dead: given up, which audit.replay_delivery() takes back.';
comment on column audit.deliveries.attempts is 'How many times it failed.';
comment on column audit.deliveries.next_try_at is 'Before that it is not tried.';
comment on column audit.deliveries.lease is 'Which run has it; another may once lease_until is over.';
comment on column audit.deliveries.lease_until is 'Until when that run has it for itself.';
comment on column audit.deliveries.first_tried_at is 'When it was tried first: mail is not tried longer than a day, for that long Resend knows its key.';
comment on column audit.deliveries.settled_at is 'When it was delivered or given up.';
comment on column audit.deliveries.last_error is 'Why it was not delivered, in a word.';

create index if not exists deliveries_waiting_idx on audit.deliveries (channel_id, next_try_at) where state = 'waiting';
create index if not exists deliveries_leased_idx on audit.deliveries (channel_id) where state = 'waiting' and lease_until > '-infinity';
create index if not exists deliveries_settled_idx on audit.deliveries (settled_at) where state <> 'waiting';
create index if not exists deliveries_organization_idx on audit.deliveries (organization_id, created_at);

revoke all on audit.deliveries from public, anon, authenticated, service_role;

-- What is said --------------------------------------------------------------------------------------------------------

create or replace function audit.without_personal(message jsonb)
  returns jsonb
  language sql
  immutable
  set search_path = ''
as $$
  select regexp_replace(
    regexp_replace(
      without_personal.message::text,
      -- Names of people, as far as they can be known by their form. A time of day has colons too, but neither two side by
      -- side nor eight groups.
      '[^\s"<>@\\(),;:]+@[^\s"<>@\\(),;:]+\.[^\s"<>@\\(),;:]+', '[e-mail address]', 'g'
    ),
    '(\m[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){7}\M|[0-9a-fA-F:]*::[0-9a-fA-F:.]*|\m\d{1,3}(\.\d{1,3}){3}\M)', '[IP address]', 'g'
  )::jsonb
$$;

comment on function audit.without_personal(jsonb) is 'A message without e-mail and IP addresses.';

create or replace function audit.alert_message(alert audit.alerts, transition text)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'alert_id', (alert).id, 'transition', transition, 'organization_id', (alert).organization_id,
    'rule_id', (alert).rule_id,
    'severity', (alert).severity, 'state', (alert).state, 'title', left((alert).title, 300), 'group', left((alert).group_key, 300),
    'reason', case when octet_length((alert).reason::text) <= 8000 then (alert).reason else '{"omitted": "more than 8,000 bytes"}' end,
    'opened_at', audit.instant_text((alert).opened_at), 'first_seen_at', audit.instant_text((alert).first_seen_at), 'last_seen_at', audit.instant_text((alert).last_seen_at),
    'resolved_at', audit.instant_text((alert).resolved_at), 'occurrences', (alert).occurrences,
    'entries', to_jsonb((alert).entries[1:20]),
    -- Finds exactly these.
    'query', (
      select string_agg(format('(chain:%s seq:%s)', split_part(e, '-', 1), split_part(e, '-', 2)), ' or ')
      from unnest((alert).entries[1:20]) e
    )
  )
$$;

comment on function audit.alert_message(audit.alerts, text) is
  'What channels are told of an alert: what happened, to whom, when, why, and the names of the entries that show it.';

create or replace function audit.queue_message(
  channel audit.channels,
  organization_id uuid,
  type text,
  message jsonb,
  alert_id uuid default null
)
  returns uuid
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_id uuid;
  v_is_dead boolean := (channel).disabled_at is not null and queue_message.type <> 'channel.test';
begin
  insert into audit.deliveries (organization_id, channel_id, alert_id, n, type, message, state, settled_at, last_error)
  select queue_message.organization_id, (channel).id, queue_message.alert_id, coalesce(max(d.n), 0) + 1, queue_message.type,
    case when (channel).personal then queue_message.message else audit.without_personal(queue_message.message) end,
    -- What a disabled channel misses is kept, and can be replayed.
    case when v_is_dead then 'dead' else 'waiting' end, case when v_is_dead then clock_timestamp() end,
    case when v_is_dead then 'channel_disabled' end
  from audit.deliveries d
  where d.alert_id = queue_message.alert_id and d.channel_id = (channel).id
  returning id into v_id;
  return v_id;
end
$$;

comment on function audit.queue_message(audit.channels, uuid, text, jsonb, uuid) is
  'Has a channel told something: {title, …}, with severity and lines where there are any. In the caller''s transaction.';

create or replace function audit.queue_alert(alert_id uuid, transition text)
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_alert audit.alerts;
  v_message jsonb;
  v_channel audit.channels;
  v_reached boolean := false;
begin
  if coalesce(transition, '') not in ('opened', 'acknowledged', 'silenced', 'resolved', 'reopened', 'digest') then
    perform audit.fail('AUARG', format('There is no transition "%s".', transition));
  end if;
  select a.* into v_alert from audit.alerts a where a.id = queue_alert.alert_id;
  if not found then
    perform audit.fail('AUNOT', 'There is no such alert.');
  end if;
  v_message := audit.alert_message(v_alert, transition);
  for v_channel in
    select c.* from audit.channels c
    where c.organization_id = v_alert.organization_id and case when v_alert.channels is null then c.is_default else c.id = any (v_alert.channels) end
    order by c.id
  loop
    perform audit.queue_message(v_channel, v_alert.organization_id, 'alert.' || transition, v_message, v_alert.id);
    v_reached := v_reached or v_channel.disabled_at is null;
  end loop;
  -- Whoever nobody can tell: then who runs the project is told.
  if not v_reached and v_alert.organization_id <> audit.system_organization()
    and exists (select from audit.channels c where c.organization_id = v_alert.organization_id)
  then
    for v_channel in
      select c.* from audit.channels c
      where c.organization_id = audit.system_organization() and c.is_default and c.disabled_at is null
      order by c.id
    loop
      perform audit.queue_message(v_channel, v_alert.organization_id, 'alert.' || transition, v_message, v_alert.id);
    end loop;
  end if;
end
$$;

comment on function audit.queue_alert(uuid, text) is
  'Has the channels of an alert told of what happened to it: those that it names, else the organisation''s default ones; where it
has channels and all of these are disabled, the project''s.';

-- The job -------------------------------------------------------------------------------------------------------------

create or replace view audit.due_deliveries as
  select d.id, d.channel_id, d.next_try_at
  from audit.deliveries d
  where d.state = 'waiting' and d.next_try_at <= clock_timestamp() and d.lease_until < clock_timestamp()
    -- By its one name, whatever the planner believes of how many wait: else it finds ways that look at all with all.
    and (
      select before.state from audit.deliveries before
      where before.alert_id = d.alert_id and before.channel_id = d.channel_id and before.n = d.n - 1
    ) is distinct from 'waiting';

comment on view audit.due_deliveries is 'What may be told now: of an alert never what came after something that still waits.';
comment on column audit.due_deliveries.id is 'Names the message.';
comment on column audit.due_deliveries.channel_id is 'Where it goes.';
comment on column audit.due_deliveries.next_try_at is 'Since when it is due.';

revoke all on audit.due_deliveries from public, anon, authenticated, service_role;

-- A channel that hangs keeps no other waiting, and those that count messages are not hurried.
create or replace function audit.free_places(channel audit.channels)
  returns int
  language sql
  stable
  set search_path = ''
as $$
  select case (channel).kind when 'webhook' then 8 else 1 end - count(*)::int
  from audit.deliveries d
  where d.channel_id = (channel).id and d.state = 'waiting' and d.lease_until > '-infinity' and d.lease_until > clock_timestamp()
$$;

comment on function audit.free_places(audit.channels) is 'How many messages more a channel may be told at once.';

create or replace function audit.due_channels(most int)
  returns setof audit.channels
  language sql
  stable
  set search_path = ''
  rows 10
as $$
  -- From channel to channel in the index of what waits: most wait for nothing.
  with recursive waiting (channel_id) as (
    (select d.channel_id from audit.deliveries d where d.state = 'waiting' order by d.channel_id limit 1)
    union all
    select (select d.channel_id from audit.deliveries d where d.state = 'waiting' and d.channel_id > w.channel_id order by d.channel_id limit 1)
    from waiting w
    where w.channel_id is not null
  )
  select c.*
  from waiting w
  join audit.channels c on c.id = w.channel_id
  -- One of each is enough; "exists" would find all first.
  cross join lateral (select from audit.due_deliveries d where d.channel_id = c.id order by d.next_try_at limit 1) d
  where c.next_try_at <= clock_timestamp() and audit.free_places(c) > 0
  limit most
$$;

comment on function audit.due_channels(int) is 'So many channels that have something to be told, and may be told it now.';

create or replace function audit.take_deliveries(most int default 32, lease interval default '2 minutes')
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_lease uuid := gen_random_uuid();
  v_channel audit.channels;
  v_most int;
  v_secret text;
  v_taken jsonb;
  v_all jsonb := '[]';
begin
  -- Who takes from a channel has it locked, so that it is not asked more at once than it should be.
  for v_channel in select c.* from audit.due_channels(take_deliveries.most) c order by c.id loop
    exit when jsonb_array_length(v_all) >= take_deliveries.most;
    perform from audit.channels c where c.id = v_channel.id and c.next_try_at <= clock_timestamp() for no key update;
    continue when not found;
    v_most := least(audit.free_places(v_channel), take_deliveries.most - jsonb_array_length(v_all));
    continue when v_most <= 0;
    with due as (
      select d.id from audit.deliveries d
      where d.id in (
        select m.id from audit.due_deliveries m where m.channel_id = v_channel.id order by m.next_try_at limit v_most
      )
      for update skip locked
    ),
    taken as (
      update audit.deliveries d set
        lease = v_lease, lease_until = clock_timestamp() + take_deliveries.lease,
        first_tried_at = coalesce(d.first_tried_at, clock_timestamp())
      from due
      where d.id = due.id and d.state = 'waiting' and d.lease_until < clock_timestamp()
      returning d.id, d.type, d.message, d.created_at
    )
    select jsonb_agg(jsonb_build_object(
      'id', t.id, 'lease', v_lease, 'type', t.type, 'at', audit.instant_text(t.created_at), 'message', t.message,
      'kind', v_channel.kind, 'channel', v_channel.id, 'config', v_channel.config
    ))
    into v_taken from taken t;
    if v_taken is not null then
      v_secret := audit.kept_secret(v_channel.secret_id);
      if v_channel.kind = 'webhook' and not coalesce(v_channel.old_secret_until > clock_timestamp(), false) then
        v_secret := split_part(v_secret, ' ', 1);
      end if;
      v_all := v_all || (select jsonb_agg(t || jsonb_build_object('secret', v_secret)) from jsonb_array_elements(v_taken) t);
    end if;
  end loop;
  return jsonb_build_object('local', audit.setting('local_channels'), 'deliveries', v_all);
end
$$;

comment on function audit.take_deliveries(int, interval) is
  'Gives a run what is due, with all it takes to deliver it, secrets included, for as long as the lease lasts.';

create or replace function audit.settle_delivery(
  id uuid,
  lease uuid,
  error text default null,
  retry_after double precision default 0
)
  returns boolean
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  -- Of Standard Webhooks: ten attempts in 75 hours.
  c_pauses constant int[] := array[5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400];
  v_delivery audit.deliveries;
  v_channel audit.channels;
  v_next timestamptz;
begin
  select d.* into v_delivery from audit.deliveries d where d.id = settle_delivery.id;
  if settle_delivery.error is null then
    -- Not at every message, because many at once write the one row; and before the message, as everybody does who locks both.
    update audit.channels c set succeeded_at = clock_timestamp(), failures = 0, last_error = null, next_try_at = '-infinity'
    where c.id = v_delivery.channel_id
      and (c.failures > 0 or c.last_error is not null or coalesce(c.succeeded_at, '-infinity') < clock_timestamp() - interval '10 seconds');
    -- Also where another run has it by now, or it was given up: who has it has it.
    update audit.deliveries d set
      state = 'delivered', settled_at = clock_timestamp(), lease_until = '-infinity', last_error = null
    where d.id = settle_delivery.id and d.state <> 'delivered';
    return found;
  end if;

  select c.* into v_channel from audit.channels c where c.id = v_delivery.channel_id for no key update;
  select d.* into v_delivery from audit.deliveries d
  where d.id = settle_delivery.id and d.lease = settle_delivery.lease and d.state = 'waiting' and d.lease_until > '-infinity'
  for update;
  if not found then
    return false;
  end if;
  update audit.channels c set
    failures = c.failures + 1, last_error = settle_delivery.error,
    -- The channel as a whole is left alone when it asks for it, or has failed often.
    next_try_at = clock_timestamp() + make_interval(secs => greatest(
      case when c.failures < 5 then 0 else least(10 * 2 ^ least(c.failures - 5, 5), 300) end, least(settle_delivery.retry_after, 86400)
    ))
  where c.id = v_delivery.channel_id;
  -- Scattered, so that what failed together does not come together again.
  v_next := clock_timestamp() + make_interval(secs => greatest(
    c_pauses[v_delivery.attempts + 1] * (1 + random() * 0.2), least(settle_delivery.retry_after, 86400)
  ));
  update audit.deliveries d set
    attempts = d.attempts + 1, last_error = settle_delivery.error, lease_until = '-infinity', next_try_at = coalesce(v_next, d.next_try_at)
  where d.id = v_delivery.id;

  if settle_delivery.error = 'http_410' and v_delivery.type <> 'channel.test' and v_channel.disabled_at is null then
    perform audit.disable_channel(v_channel.id, 'http_410');
  elsif v_delivery.type = 'channel.test' or v_channel.disabled_at is not null or c_pauses[v_delivery.attempts + 1] is null
    or v_channel.kind in ('email', 'smtp') and v_next > v_delivery.first_tried_at + interval '24 hours'
  then
    update audit.deliveries d set state = 'dead', settled_at = clock_timestamp() where d.id = v_delivery.id;
    if v_delivery.type <> 'channel.test' then
      if coalesce(v_channel.succeeded_at, '-infinity') < v_delivery.created_at then
        perform audit.disable_channel(v_channel.id, 'failing');
      else
        perform audit.note_finding(v_channel.organization_id, 'delivery_failed', v_channel.id::text,
          jsonb_build_object('name', v_channel.name, 'delivery', v_delivery.id, 'type', v_delivery.type, 'error', settle_delivery.error));
      end if;
    end if;
  end if;
  return true;
end
$$;

comment on function audit.settle_delivery(uuid, uuid, text, double precision) is
  'Notes that a message was delivered, or why not: then it is tried again, later each time, and in the end dead, which is a
finding; a channel that is gone, or took nothing since the message was made, is disabled. False where it was settled before
or another run has it.';

-- What people do ------------------------------------------------------------------------------------------------------

create or replace view audit.dead_letters as
  select d.id, d.organization_id, d.channel_id, c.name as channel, c.kind, d.alert_id, d.type, d.created_at,
    d.settled_at as died_at, d.attempts, d.last_error
  from audit.deliveries d
  join audit.channels c on c.id = d.channel_id
  where d.state = 'dead' and d.type <> 'channel.test';

comment on view audit.dead_letters is 'Messages that were given up. select audit.replay_delivery(jsonb_build_object(''delivery'', id)) from audit.dead_letters sends them again.';
comment on column audit.dead_letters.id is 'Names the message.';
comment on column audit.dead_letters.organization_id is 'Whose alert.';
comment on column audit.dead_letters.channel_id is 'Where it should have gone.';
comment on column audit.dead_letters.channel is 'The channel''s name.';
comment on column audit.dead_letters.kind is 'The channel''s kind.';
comment on column audit.dead_letters.alert_id is 'The alert.';
comment on column audit.dead_letters.type is 'What it would have said.';
comment on column audit.dead_letters.created_at is 'When that happened.';
comment on column audit.dead_letters.died_at is 'When it was given up.';
comment on column audit.dead_letters.attempts is 'After how many attempts.';
comment on column audit.dead_letters.last_error is 'Why, in a word.';

create or replace function audit.delivery_json(delivery audit.deliveries)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'id', (delivery).id, 'organization_id', (delivery).organization_id, 'channel', (delivery).channel_id, 'alert', (delivery).alert_id, 'type', (delivery).type,
    'state', (delivery).state, 'attempts', (delivery).attempts, 'last_error', (delivery).last_error,
    'created_at', audit.instant_text((delivery).created_at), 'settled_at', audit.instant_text((delivery).settled_at),
    'next_try_at', case when (delivery).state = 'waiting' then audit.instant_text((delivery).next_try_at) end
  )
$$;

comment on function audit.delivery_json(audit.deliveries) is 'A message as the API shows it, without what it says.';

create or replace function audit.list_deliveries(request jsonb default '{}')
  returns jsonb
  language plpgsql
  stable
  security definer -- reads deliveries of the organisation that the caller reads whole
  set search_path = ''
as $$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id', 'channel', 'delivery', 'state']);
  v_organization := audit.requested_organization(request);
  if audit.reach(v_organization) <> 'all' then
    perform audit.fail('AUDEN', 'Only admins and auditors see deliveries.');
  end if;
  return jsonb_build_object('organization_id', v_organization, 'deliveries', coalesce((
    select jsonb_agg(audit.delivery_json(d) order by d.created_at desc)
    from (
      select d.*
      from audit.deliveries d
      -- Not those of other organisations' alerts that went to the project's channels, nor of theirs elsewhere.
      join audit.channels c on c.id = d.channel_id and c.organization_id = v_organization
      where (request ->> 'channel' is null or d.channel_id = audit.as_uuid(request ->> 'channel'))
        and (request ->> 'delivery' is null or d.id = audit.as_uuid(request ->> 'delivery'))
        and (request ->> 'state' is null or d.state = request ->> 'state')
      order by d.created_at desc
      limit 200
    ) d
  ), '[]'));
end
$$;

comment on function audit.list_deliveries(jsonb) is
  'The newest 200 messages to channels of {organization_id}, of one {channel}, {delivery} or {state}. For admins and auditors.';

create or replace function audit.test_channel(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins use channels through this function only
  set search_path = ''
as $$
declare
  v_channel audit.channels := audit.own_channel(request, array['channel']);
  v_id uuid;
begin
  if (
    select count(*) from audit.deliveries d
    where d.channel_id = v_channel.id and d.type = 'channel.test' and d.created_at > clock_timestamp() - interval '1 hour'
  ) >= 10 then
    perform audit.fail('AUARG', 'A channel is tested at most ten times an hour.');
  end if;
  -- At once, also where it failed just now.
  update audit.channels c set next_try_at = '-infinity' where c.id = v_channel.id;
  v_id := audit.queue_message(v_channel, v_channel.organization_id, 'channel.test', jsonb_build_object(
    'organization_id', v_channel.organization_id, 'severity', 'info', 'title', format('Test of the channel "%s"', v_channel.name)
  ));
  perform audit.record(v_channel.organization_id, 'channel.tested', 'channel', v_channel.id::text);
  perform audit.continue_alert_deliveries();
  return (select audit.delivery_json(d) from audit.deliveries d where d.id = v_id);
end
$$;

comment on function audit.test_channel(jsonb) is
  'Sends {channel} a message, once, also where it is disabled; audit.list_deliveries() says what became of it. For admins; leaves an entry.';

create or replace function audit.replay_delivery(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins replay what their channels missed through this function only
  set search_path = ''
as $$
declare
  v_delivery audit.deliveries;
  v_channel audit.channels;
begin
  perform audit.check_request(request, array['delivery']);
  select d.* into v_delivery from audit.deliveries d where d.id = audit.as_uuid(request ->> 'delivery');
  if v_delivery.id is null then
    perform audit.fail('AUNOT', 'There is no such delivery.', null, 'GET /audit/deliveries lists them.');
  end if;
  v_channel := audit.own_channel(jsonb_build_object('channel', v_delivery.channel_id));
  if v_channel.disabled_at is not null then
    perform audit.fail('AUARG', 'The channel is disabled.', null, 'Enable it first: audit.enable_channel().');
  end if;
  update audit.deliveries d set
    state = 'waiting', attempts = 0, next_try_at = clock_timestamp(), lease_until = '-infinity', first_tried_at = null, settled_at = null
  where d.id = v_delivery.id and d.state = 'dead' and d.type <> 'channel.test'
  returning d.* into v_delivery;
  if not found then
    perform audit.fail('AUARG', 'Only what was given up is sent again.');
  end if;
  if not exists (select from audit.dead_letters l where l.channel_id = v_channel.id) then
    perform audit.resolve_channel_findings(v_channel);
  end if;
  perform audit.record(v_channel.organization_id, 'delivery.replayed', 'delivery', v_delivery.id::text,
    jsonb_build_object('channel', v_channel.id, 'type', v_delivery.type));
  return audit.delivery_json(v_delivery);
end
$$;

comment on function audit.replay_delivery(jsonb) is 'Has the dead {delivery} sent again, under its old id. For admins; leaves an entry.';

create or replace function audit.prune_deliveries()
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_channel audit.channels;
  v_deleted bigint;
begin
  for v_channel in select c.* from audit.channels c where c.old_secret_until < clock_timestamp() order by c.id for no key update loop
    perform audit.keep_secret(v_channel.secret_id, split_part(audit.kept_secret(v_channel.secret_id), ' ', 1));
    update audit.channels c set old_secret_until = null where c.id = v_channel.id;
  end loop;
  delete from audit.deliveries d
  where d.state <> 'waiting'
    and d.settled_at < clock_timestamp() - case d.state when 'dead' then interval '90 days' else interval '30 days' end;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$$;

comment on function audit.prune_deliveries() is
  'Forgets messages that were delivered 30 days ago, or given up 90 days ago, and secrets that were rotated away.';
