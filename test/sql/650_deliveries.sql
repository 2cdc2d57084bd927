-- Deliveries: who is told what, in which order, how often it is tried, and what becomes of what nobody took.

create function pg_temp.channel(name text, more jsonb default '{}', org uuid default acme()) returns uuid language sql as $$
  select (audit.create_channel(jsonb_build_object('organization_id', org, 'kind', 'webhook', 'name', name, 'url', 'https://' || name || '.example.com/') - case when more ? 'to' then 'url' else '' end || more) ->> 'id')::uuid
$$;
create function pg_temp.id(name text) returns uuid language sql security definer as $$ select c.id from audit.channels c where c.name = id.name $$;
create function pg_temp.alert(channels uuid[] default null, org uuid default acme()) returns uuid language plpgsql as $$
declare
  v_alert uuid;
begin
  insert into audit.alerts (organization_id, rule_id, group_key, severity, title, reason, state, first_seen_at, last_seen_at, occurrences, entries, channels)
  values (org, gen_random_uuid(), '{"ip": "203.0.113.7"}', 'high', 'Failed logins of ada@private.example', '{"seen": 5, "from": "2001:db8::7", "at": "10:00:00"}', 'open', now(), now(), 1, array['3-17', '4-9'], alert.channels)
  returning id into v_alert;
  perform audit.queue_alert(v_alert, 'opened');
  return v_alert;
end
$$;
create function pg_temp.waiting(name text) returns text language sql as $$
  select string_agg(d.type || ' ' || d.state, ', ' order by d.n) from audit.deliveries d where d.channel_id = pg_temp.id(name)
$$;
create temporary table taken (id uuid, lease uuid, type text, channel uuid, secret text, delivery jsonb);
create function pg_temp.take(most int default 100) returns text language sql as $$
  with kept as (
    insert into taken
    select (d ->> 'id')::uuid, (d ->> 'lease')::uuid, d ->> 'type', (d ->> 'channel')::uuid, d ->> 'secret', d
    from jsonb_array_elements(audit.take_deliveries(most) -> 'deliveries') d
    returning type, channel
  )
  select coalesce(string_agg(c.name || ' ' || k.type, ', ' order by c.name, k.type), '') from kept k join audit.channels c on c.id = k.channel
$$;
create function pg_temp.settle(name text, error text default null, retry_after float default 0) returns text language sql as $$
  with gone as (delete from taken t using audit.channels c where c.id = t.channel and c.name = settle.name returning t.id, t.lease)
  select string_agg(audit.settle_delivery(g.id, g.lease, error, retry_after)::text, ',') from gone g
$$;
create function pg_temp.later() returns void language sql as $$
  update audit.deliveries set next_try_at = now() - interval '1 second', lease_until = '-infinity' where state = 'waiting';
  update audit.channels set next_try_at = '-infinity';
$$;

-- To whom
select pg_temp.channel('ops'), pg_temp.channel('pager', '{"default": false}'), pg_temp.channel('whole', '{"personal": true}'), pg_temp.channel('theirs', org => globex());
create temporary table alerts as select 1 as n, pg_temp.alert() as id;
insert into alerts select 2, pg_temp.alert(array[pg_temp.id('pager'), pg_temp.id('theirs'), gen_random_uuid()]);
select results_eq(
  $$ select a.n, c.name, d.type, d.state from audit.deliveries d join alerts a on a.id = d.alert_id join audit.channels c on c.id = d.channel_id order by 1, 2 $$,
  $$ values (1, 'ops', 'alert.opened', 'waiting'), (1, 'whole', 'alert.opened', 'waiting'), (2, 'pager', 'alert.opened', 'waiting') $$,
  'to the default channels, or those that it names, of the alert''s own organisation'
);
select throws_ok($$ select audit.queue_alert(gen_random_uuid(), 'opened') $$, 'AUNOT', null, 'of no alert nobody is told');
select throws_ok(format('select audit.queue_alert(%L, %L)', (select id from alerts limit 1), t), 'AUARG', null, 'there is no transition ' || coalesce(t, 'null')) from unnest(array['closed', null]) t;

-- What
select is(d.message - array['opened_at', 'first_seen_at', 'last_seen_at', 'rule_id', 'alert_id'], '{"title": "Failed logins of [e-mail address]", "group": "{\"ip\": \"[IP address]\"}", "state": "open", "reason": {"at": "10:00:00", "from": "[IP address]", "seen": 5},
  "entries": ["3-17", "4-9"], "severity": "high", "occurrences": 1, "resolved_at": null, "transition": "opened", "organization_id": "0a000000-0000-4000-8000-000000000001", "query": "(chain:3 seq:17) or (chain:4 seq:9)"}', 'what happened, and no address of anybody')
from audit.deliveries d where d.channel_id = pg_temp.id('ops');
select lives_ok(format('select audit.parse_query(%L)', message ->> 'query'), 'the query is one') from audit.deliveries d where d.channel_id = pg_temp.id('ops');
select alike(d.message::text, '%ada@private.example%2001:db8::7%', 'unless the channel may have them') from audit.deliveries d where d.channel_id = pg_temp.id('whole');
select is(audit.without_personal(to_jsonb(given)) #>> '{}', said, given) from (values
  ('::1', '[IP address]'), ('to ::ffff:10.0.0.1!', 'to [IP address]!'), ('1.2.3.4:80', '[IP address]:80'), ('at 2026-01-02T10:11:12.123456Z', 'at 2026-01-02T10:11:12.123456Z'),
  ('1:2:3:4:5:6:7:8', '[IP address]'), ('version 1.2.3', 'version 1.2.3'), ('a.b+c@d-e.example, f@g.example', '[e-mail address], [e-mail address]'), ('user@host', 'user@host'),
  ('"quoted"@x.example', '"quoted"@x.example'), ('0a000000-0000-4000-8000-000000000001', '0a000000-0000-4000-8000-000000000001')
) v (given, said);
update audit.alerts set reason = jsonb_build_object('long', repeat('ü', 5000)), title = repeat('t', 400), entries = (select array_agg('1-' || n) from generate_series(1, 30) n) where id = (select id from alerts where n = 2);
select audit.queue_alert(id, 'acknowledged') from alerts where n = 2;
select cmp_ok(octet_length(message::text), '<', 10000, 'not more than a message may have'), is(jsonb_array_length(message -> 'entries'), 20, 'nor more than 20 entries')
from audit.deliveries d where d.type = 'alert.acknowledged';

-- In order: what came after waits for what came before, also where that is tried again
select audit.queue_alert(id, 'resolved') from alerts where n = 1;
select is(pg_temp.take(), 'ops alert.opened, pager alert.opened, whole alert.opened', 'the first of each alert is taken');
select is(pg_temp.take(), '', 'once');
select is(split_part(secret, '_', 1), 'whsec', 'with the secret') from taken limit 1;
select is(pg_temp.settle('ops', 'timeout'), 'true', 'a failure is noted');
select is(pg_temp.settle('whole'), 'true', 'so is a success');
select is(pg_temp.take(), 'whole alert.resolved', 'then what came after, where it was delivered');
select pg_temp.later();
delete from taken;
select is(pg_temp.take(), 'ops alert.opened, pager alert.opened, whole alert.resolved', 'and where a lease ended the same again');
select is(pg_temp.settle('ops'), 'true', 'delivered at last');
select is(pg_temp.take(), 'ops alert.resolved', 'that it is resolved is told after it was opened');
select pg_temp.settle('ops'), pg_temp.settle('pager'), pg_temp.settle('whole');
select pg_temp.take(), pg_temp.settle('pager');
select is((select count(*) from audit.deliveries where state <> 'delivered'), 0::bigint, 'all is delivered');

-- A lease that was lost
select audit.queue_alert(id, 'reopened') from alerts where n = 1;
select pg_temp.take();
create temporary table first as select * from taken;
select pg_temp.later();
delete from taken;
select pg_temp.take();
select is(audit.settle_delivery(id, lease, 'late'), false, 'who lost it has nothing to say of a failure') from first where channel = pg_temp.id('ops');
select is(audit.settle_delivery(id, lease), true, 'but of a success it has') from first where channel = pg_temp.id('ops');
select is(audit.settle_delivery(id, lease, 'http_410'), false, 'after which nothing counts') from taken where channel = pg_temp.id('ops');
select is(audit.settle_delivery(id, lease), false, 'not even that again') from taken where channel = pg_temp.id('ops');
select pg_temp.settle('whole');
delete from taken;

-- How often, and when: ten times in 75 hours, with up to a fifth more
select audit.queue_alert(id, 'acknowledged') from alerts where n = 1;
select pg_temp.take(), pg_temp.settle('whole');
update audit.channels set succeeded_at = now() - interval '1 hour' where name = 'ops';
create temporary table pauses (n int, pause numeric);
do $$
begin
  for i in 1..10 loop
    perform pg_temp.settle('ops', 'http_500');
    insert into pauses select i, extract(epoch from next_try_at - clock_timestamp()) from audit.deliveries where channel_id = pg_temp.id('ops') and state = 'waiting';
    perform pg_temp.later();
    perform pg_temp.take();
  end loop;
end
$$;
select ok(p.pause between s.seconds - 1 and s.seconds * 1.2, format('after attempt %s', n)) from pauses p join unnest(array[5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400]) with ordinality s (seconds, n) using (n);
select is(count(*), 9::bigint, 'the tenth is the last') from pauses;
select is(type || ' ' || attempts || ' ' || last_error, 'alert.acknowledged 10 http_500', 'then it is dead, which is shown') from audit.dead_letters;
select is(disabled_reason, 'failing', 'and who took nothing since it was made gets nothing more') from audit.channels where name = 'ops';
select is(string_agg(kind || ' ' || subject, ','), 'channel_disabled ' || pg_temp.id('ops'), 'which is a finding') from audit.findings where resolved_at is null;
select is((select count(*) from public.audit_logs where action = 'verification.failed' and details ->> 'kind' = 'channel_disabled'), 1::bigint, 'and so an entry that rules see');

-- Disabled
select audit.queue_alert(id, 'resolved') from alerts where n = 1;
select is(pg_temp.take(), 'whole alert.resolved', 'a disabled channel gets nothing');
select is(string_agg(type || ' ' || last_error, ', ' order by created_at), 'alert.acknowledged http_500, alert.resolved channel_disabled', 'what it misses is dead at once, and kept') from audit.dead_letters;
select pg_temp.settle('whole');
select is(said('admin', format('select audit.replay_delivery(jsonb_build_object(''delivery'', %L))', id)), 'AUARG', 'and not sent before it is enabled') from audit.dead_letters;
select audit.enable_channel(jsonb_build_object('channel', pg_temp.id('ops')));
grant select on audit.dead_letters to authenticated;
select is(said(name, format('select audit.replay_delivery(jsonb_build_object(''delivery'', %L))', (select id from audit.dead_letters limit 1))), case name when 'auditor' then 'AUDEN' when 'anon' then '42501' else 'AUNOT' end, name || ' replays nothing')
from unnest(array['member', 'viewer', 'auditor', 'expired_auditor', 'stranger', 'anon']) name;
create temporary table dead as select id from audit.dead_letters;
select alike(said('admin', format('select audit.replay_delivery(jsonb_build_object(''delivery'', %L))', id)), '%"waiting"%', 'then it is') from dead;
select is(count(*), 0::bigint, 'none is dead') from audit.dead_letters;
select is(pg_temp.take(), 'ops alert.acknowledged', 'in their order');
select ok(exists (select from dead d join taken t on t.id = d.id), 'under the old id');
select pg_temp.settle('ops');
select pg_temp.take(), pg_temp.settle('ops');
select is(said('admin', format('select audit.replay_delivery(jsonb_build_object(''delivery'', %L))', id)), 'AUARG', 'what was delivered is not sent again') from dead;

-- Where all are disabled, the project is told
select pg_temp.channel('project', org => audit.system_organization());
select audit.disable_channel(id, 'failing') from audit.channels where organization_id = acme() and is_default;
insert into alerts select 3, pg_temp.alert();
select is(string_agg(c.name || ' ' || d.state, ', ' order by c.name), 'ops dead, project waiting, whole dead', 'who nobody can tell is told of by the project''s channels')
from audit.deliveries d join alerts a on a.id = d.alert_id and a.n = 3 join audit.channels c on c.id = d.channel_id;
select unalike(said('admin', 'select audit.list_deliveries(jsonb_build_object(''organization_id'', acme()))'), '%' || pg_temp.id('project') || '%', 'which the organisation does not see');
insert into alerts select 4, pg_temp.alert(org => '0c000000-0000-4000-8000-000000000003');
select is((select count(*) from audit.deliveries d join alerts a on a.id = d.alert_id and a.n = 4), 0::bigint, 'who has no channel is not told of');
select audit.enable_channel(jsonb_build_object('channel', id)) from audit.channels where organization_id = acme() and disabled_at is not null;
delete from audit.deliveries where state = 'dead' or channel_id = pg_temp.id('project');

-- Left alone
select audit.queue_alert(id, 'reopened') from alerts where n = 1;
select pg_temp.take();
select pg_temp.settle('ops', 'http_429', 120), pg_temp.settle('whole');
select ok(next_try_at between now() + interval '110 seconds' and now() + interval '130 seconds', 'who asks to be left alone is, as a whole') from audit.channels where name = 'ops';
select audit.queue_alert(id, 'digest') from alerts where n = 3;
select is(pg_temp.take(), 'whole alert.digest', 'whatever it is to be told');
select pg_temp.settle('whole'), pg_temp.later();
select pg_temp.take(1), pg_temp.settle('ops', 'http_503', 1e9);
select ok(next_try_at < now() + interval '25 hours', 'if that is not for ever') from audit.channels where name = 'ops';
delete from audit.deliveries;
update audit.channels set failures = 8, next_try_at = '-infinity' where name = 'ops';
select audit.queue_alert(id, 'reopened') from alerts where n = 1;
select pg_temp.take(), pg_temp.settle('ops', 'timeout'), pg_temp.settle('whole');
select ok(next_try_at between now() + interval '75 seconds' and now() + interval '85 seconds', 'or fails often is left alone for a while') from audit.channels where name = 'ops';
delete from audit.deliveries;

-- At once
update audit.channels set failures = 0, next_try_at = '-infinity';
select audit.queue_message(c, acme(), 'alert.opened', '{"title": "x"}') from audit.channels c, generate_series(1, 20) where c.name in ('ops', 'whole');
select is(regexp_count(pg_temp.take(5), 'alert'), 5, 'not more than a run asks for');
select pg_temp.take(100);
select is(count(*), 16::bigint, 'nor more to one channel than eight') from taken;
select is(pg_temp.take(100), '', 'by however many runs');
delete from audit.deliveries;
delete from taken;

-- Mail: for a day
select pg_temp.channel('mail', '{"kind": "email", "to": ["ada@private.example"], "default": false}');
select audit.queue_message(c, acme(), 'alert.opened', '{"title": "x"}') from audit.channels c where c.name = 'mail';
update audit.channels set succeeded_at = now() + interval '1 minute' where name = 'mail';
do $$
begin
  for i in 1..6 loop
    perform pg_temp.later();
    perform pg_temp.take();
    perform pg_temp.settle('mail', 'http_500');
  end loop;
end
$$;
select is(state, 'waiting', 'what may be sent within a day waits') from audit.deliveries where channel_id = pg_temp.id('mail');
update audit.deliveries set first_tried_at = now() - interval '11 hours' where channel_id = pg_temp.id('mail');
select pg_temp.later(), pg_temp.take(), pg_temp.settle('mail', 'http_500');
select is(state || ' ' || attempts, 'dead 7', 'what would be sent after a day is dead: its key would not be known any more') from audit.deliveries where channel_id = pg_temp.id('mail');
select ok(disabled_at is null, 'a channel that took others goes on') from audit.channels where name = 'mail';
select is(string_agg(kind, ','), 'delivery_failed', 'and the loss is a finding') from audit.findings where subject = pg_temp.id('mail')::text and resolved_at is null;
select audit.replay_delivery(jsonb_build_object('delivery', id)) from audit.dead_letters;
select is(count(*), 0::bigint, 'which replaying closes') from audit.findings where subject = pg_temp.id('mail')::text and resolved_at is null;
select pg_temp.take(), pg_temp.settle('mail');

-- A password may have spaces
select audit.create_channel(jsonb_build_object('organization_id', acme(), 'kind', 'smtp', 'name', 'smtp', 'to', '["a@b.example"]'::jsonb, 'from', 'c@b.example', 'host', 'mail.example.com', 'port', 465,
  'username', 'u', 'password', 'SECRET with spaces', 'default', false));
select audit.queue_message(c, acme(), 'alert.opened', '{"title": "x"}') from audit.channels c where c.name = 'smtp';
select pg_temp.take();
select is(secret, 'SECRET with spaces', 'which are told whole') from taken where channel = pg_temp.id('smtp');
select pg_temp.settle('smtp');

-- Gone
select audit.queue_message(c, acme(), 'alert.opened', '{"title": "x"}') from audit.channels c, generate_series(1, 3) where c.name = 'pager';
select pg_temp.take(1), pg_temp.settle('pager', 'http_410');
select is(disabled_reason, 'http_410', 'who says that it is gone is believed') from audit.channels where name = 'pager';
select is(string_agg(last_error, ', ' order by last_error), 'channel_disabled, channel_disabled, http_410', 'and what waits for it is dead') from audit.dead_letters where channel_id = pg_temp.id('pager');

-- Tested
select is(said('admin', 'select audit.test_channel(jsonb_build_object(''channel'', pg_temp.id(''pager'')))')::jsonb ->> 'state', 'waiting', 'a channel can be tested, also a disabled one');
select is(pg_temp.take(), 'pager channel.test', 'at once');
select pg_temp.settle('pager', 'http_410');
select is(state || ' ' || last_error, 'dead http_410', 'once') from audit.deliveries where type = 'channel.test';
select is(count(*), 0::bigint, 'and is no dead letter') from audit.dead_letters where type = 'channel.test';
select count(said('admin', 'select audit.test_channel(jsonb_build_object(''channel'', pg_temp.id(''pager'')))')) from generate_series(1, 9);
select is(said('admin', 'select audit.test_channel(jsonb_build_object(''channel'', pg_temp.id(''pager'')))'), 'AUARG', 'ten times an hour');
select is((select count(*) from public.audit_logs where action = 'channel.tested'), 10::bigint, 'each leaves an entry');

-- Listed
select is(said(name, 'select audit.list_deliveries(jsonb_build_object(''organization_id'', acme()))'), 'AUDEN', name || ' sees none') from unnest(array['member', 'viewer', 'expired_auditor', 'stranger']) name;
select is(jsonb_array_length(said('auditor', format('select audit.list_deliveries(jsonb_build_object(''organization_id'', acme(), %L, %L))', k, v))::jsonb -> 'deliveries'), n, format('%s: %s', k, v))
from (values ('state', 'dead', 4), ('state', 'x', 0), ('channel', pg_temp.id('pager')::text, 13), ('channel', 'x', 0), ('delivery', (select id::text from audit.dead_letters limit 1), 1)) v (k, v, n);

-- Forgotten
update audit.deliveries set settled_at = now() - interval '31 days' where settled_at is not null;
select is(audit.prune_deliveries(), (select count(*) from audit.deliveries where state = 'delivered'), 'what was delivered is forgotten after a month');
select cmp_ok((select count(*) from audit.dead_letters), '>', 0::bigint, 'what is dead is not');
update audit.deliveries set settled_at = now() - interval '91 days' where settled_at is not null;
select cmp_ok(audit.prune_deliveries(), '>', 0::bigint, 'before three months');
