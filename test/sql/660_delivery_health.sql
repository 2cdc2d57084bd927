-- Whether alerts reach anybody.

select is_empty('select from audit.delivery_health', 'without channels there is nothing to say');
select audit.create_channel(jsonb_build_object('organization_id', acme(), 'kind', 'webhook', 'name', n, 'url', 'https://hooks.example.com/')) from unnest(array['a', 'b', 'c']) n;
select audit.disable_channel(id, 'failing') from audit.channels where name = 'c';
select audit.queue_message(c, acme(), 'alert.opened', '{"title": "x"}') from audit.channels c;
update audit.deliveries d set next_try_at = now() - interval '10 minutes' from audit.channels c where c.id = d.channel_id and c.name = 'b';
update audit.channels set failures = 3 where name = 'a';
select results_eq(
  $$ select organization_id, channels, disabled, failing, waiting, dead, date_trunc('minute', now() - oldest_due), succeeded_at from audit.delivery_health $$,
  $$ values (acme(), 3::bigint, 1::bigint, 1::bigint, 2::bigint, 1::bigint, interval '10 minutes', null::timestamptz) $$,
  'what waits since when, what was given up, and which channels get nothing'
);
