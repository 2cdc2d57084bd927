-- Channels: who makes them, what they may be, and where their secrets are not.

create function pg_temp.make(more text, who text default 'admin') returns text language sql as $$
  select said(who, format('select audit.create_channel(%L::jsonb || jsonb_build_object(''organization_id'', acme()))',
    jsonb_build_object('kind', 'webhook', 'name', 'hook', 'url', 'https://hooks.example.com/x?token=SECRET-TOKEN') || more::jsonb))
$$;
create temporary table made as select pg_temp.make('{}')::jsonb as channel;
grant select on made to public;
create function pg_temp.hook() returns uuid language sql security definer as $$ select (channel ->> 'id')::uuid from made $$;
select alike(channel ->> 'secret', 'whsec_%', 'a webhook is made with a secret') from made;
select is(length(decode(substring(channel ->> 'secret' from 7), 'base64')), 32, 'of 32 bytes') from made;
select is(channel - array['id', 'created_at', 'secret'], '{"name": "hook", "kind": "webhook", "host": "hooks.example.com", "default": true, "personal": false, "failures": 0,
  "last_error": null, "recipients": 0, "disabled_at": null, "succeeded_at": null, "disabled_reason": null, "old_secret_until": null,
  "config": {"url": "https://hooks.example.com/x?token=SECRET-TOKEN"}, "organization_id": "0a000000-0000-4000-8000-000000000001"}', 'and shown whole') from made;

-- Who
select is(pg_temp.make(format('{"name": "of %s"}', name), name), case when name = 'stranger' then 'AUDEN' when name = 'anon' then '42501' else 'AUDEN' end, name || ' makes none')
from unnest(array['member', 'viewer', 'auditor', 'seeing_auditor', 'expired_auditor', 'stranger', 'anon']) name;
select alike(pg_temp.make('{"name": "of the service"}', 'service_role'), '%whsec_%', 'the service does');
select is(said(name, format('select audit.%s(jsonb_build_object(''channel'', pg_temp.hook()))', f)), case name when 'auditor' then 'AUDEN' else 'AUNOT' end, format('%s: %s', name, f))
from unnest(array['member', 'viewer', 'auditor', 'expired_auditor', 'stranger']) name,
  unnest(array['change_channel', 'delete_channel', 'rotate_channel_secret', 'enable_channel', 'test_channel']) f;
select is(said(name, 'select audit.list_channels(jsonb_build_object(''organization_id'', acme()))'), 'AUDEN', name || ' sees none')
from unnest(array['member', 'viewer', 'expired_auditor', 'stranger']) name;
select is(jsonb_array_length(said(name, 'select audit.list_channels(jsonb_build_object(''organization_id'', acme()))')::jsonb -> 'channels'), 2, name || ' sees them')
from unnest(array['admin', 'auditor', 'seeing_auditor', 'service_role']) name;
select unalike(said('auditor', 'select audit.list_channels(jsonb_build_object(''organization_id'', acme()))'), '%token%', 'auditors without their settings');
select alike(said('admin', 'select audit.list_channels(jsonb_build_object(''organization_id'', acme()))'), '%token%', 'admins with them');
select unalike(said('admin', 'select audit.list_channels(jsonb_build_object(''organization_id'', acme()))'), '%whsec%', 'nobody with secrets');

-- What
create temporary table refused (more text, why text);
insert into refused values
  ('{"kind": "pigeon"}', 'a kind that there is not'), ('{"kind": null}', 'no kind'), ('{"name": null}', 'no name'), ('{"name": "a\nb"}', 'a name of two lines'),
  ('{"name": ""}', 'an empty name'), ('{"name": "hook"}', 'a name that there is'), ('{"secret": "x"}', 'a field that there is not'), ('{"to": ["a@b.example"]}', 'a field of another kind'),
  ('{"default": "yes"}', 'a default that is no boolean'), ('{"url": null}', 'no address'), ('{"url": 1}', 'a number for an address');
insert into refused select jsonb_build_object('url', url)::text, url from unnest(array[
  'http://hooks.example.com/', 'ftp://hooks.example.com/', 'https://', 'https:///x', 'https://localhost/', 'https://LOCALHOST/', 'https://a.localhost/',
  'https://127.0.0.1/', 'https://127.1/', 'https://0x7f.0.0.1/', 'https://0x7f000001/', 'https://2130706433/', 'https://017700000001/', 'https://0/', 'https://127.0.0.0x1/',
  'https://[::1]/', 'https://[::ffff:127.0.0.1]/', 'https://[::ffff:7f00:1]/', 'https://[fd00:ec2::254]/', 'https://169.254.169.254/latest/meta-data', 'https://metadata.google.internal/',
  'https://printer.local/', 'https://intranet/', 'https://hooks.example.com./', 'https://127.0.0.1./', 'https://8.8.8.8/', 'https://hooks.example.com:22/', 'https://hooks.example.com:6379/',
  'https://hooks.example.com:99999/', 'https://user:pass@hooks.example.com/', 'https://user@hooks.example.com/', 'https://hooks.example.com#@evil.example/', 'https://hooks.example.com\@evil.example/',
  'https://hooks.example.com/a b', E'https://hooks.example.com/a\nb', 'https://h%6foks.example.com/', 'https://höoks.example.com/', 'https://１２７.0.0.1/', 'https://hooks.example。com/',
  'https://hooks..example.com/', 'https://-hooks.example.com/', ' https://hooks.example.com/', 'https:/hooks.example.com/', 'hooks.example.com', 'https://hooks.example.com/' || repeat('x', 2000)
]) url;
insert into refused select jsonb_build_object('kind', 'email', 'url', null, 'to', '["a@b.example"]'::jsonb)::text::jsonb || more::jsonb, 'mail: ' || more from unnest(array[
  '{"to": []}', '{"to": "a@b.example"}', '{"to": ["a"]}', '{"to": ["a@b.example\nbcc: c@d.example"]}', '{"to": ["A, B <a@b.example>"]}', '{"to": [1]}', '{"from": "nobody"}',
  '{"key": "re_1"}', '{"key": "a\nb", "from": "a@b.example"}', '{"api": "https://api.example.com/emails"}', '{"api": "https://127.0.0.1/", "key": "re_1", "from": "a@b.example"}'
]) more;
insert into refused select (jsonb_build_object('kind', 'smtp', 'url', null, 'to', '["a@b.example"]'::jsonb, 'from', 'c@b.example', 'host', 'mail.example.com', 'port', 465, 'username', 'u', 'password', 'p') || more::jsonb)::text, 'smtp: ' || more
from unnest(array[
  '{"port": 25}', '{"port": 587}', '{"port": 22}', '{"port": "465"}', '{"port": null}', '{"host": "localhost"}', '{"host": "10.0.0.1"}', '{"host": null}', '{"host": "mail.example.com:465"}',
  '{"password": null}', '{"username": null, "password": null}', '{"from": null}', '{"from": "a@b.example\nx: y"}'
]) more;
update refused set more = jsonb_strip_nulls(('{"name": "new"}'::jsonb || more::jsonb))::text where more::jsonb ->> 'kind' in ('email', 'smtp');
select is(pg_temp.make(('{"name": "new"}'::jsonb || more::jsonb)::text), 'AUARG', 'refused: ' || why) from refused where more::jsonb ->> 'kind' is distinct from 'email' and more::jsonb ->> 'kind' is distinct from 'smtp';
select is(said('admin', format('select audit.create_channel(%L::jsonb || jsonb_build_object(''organization_id'', acme()))', more)), 'AUARG', 'refused: ' || why)
from refused where more::jsonb ->> 'kind' in ('email', 'smtp');
select throws_like($$ select audit.channel_config('smtp', '{"to": ["a@b.example"], "from": "c@b.example", "host": "mail.example.com", "port": 587, "username": "u", "password": "p"}') $$,
  '%ports 25 and 587%', 'why not 587 is said');
select alike(pg_temp.make(more), '%"id"%', 'taken: ' || more) from unnest(array[
  '{"name": "a", "url": "https://hooks.example.com"}', '{"name": "b", "url": "https://HOOKS.example.com:8443/a/b?c=d%20e"}', '{"name": "c", "url": "https://xn--hks-sna.example.com?x"}'
]) more;
select is((select count(*) from audit.channels where name = 'new'), 0::bigint, 'of those that were refused none is there');
select is(audit.setting('local_channels'), 'false', 'this machine is no place for messages');
select audit.configure('local_channels', 'true');
select alike(pg_temp.make('{"name": "here", "url": "http://127.0.0.1:57799/x"}'), '%"host": "127.0.0.1"%', 'unless the project''s owner says so');
select is(pg_temp.make('{"name": "near", "url": "https://169.254.169.254/"}'), 'AUARG', 'and then nothing else is either');
select audit.configure('local_channels', 'false');

-- Secrets: of each kind one
create function pg_temp.add(request jsonb) returns jsonb language sql as $$
  select said('admin', format('select audit.create_channel(%L)', request || jsonb_build_object('organization_id', acme())))::jsonb
$$;
create temporary table kinds as
select pg_temp.add('{"kind": "slack", "name": "s", "url": "https://hooks.slack.com/services/SECRET-SLACK"}') as channel
union all select pg_temp.add('{"kind": "email", "name": "e", "to": ["Ada <ada@private.example>"], "from": "Logs <logs@example.com>", "key": "SECRET-KEY"}')
union all select pg_temp.add('{"kind": "email", "name": "e2", "to": ["ada@private.example"]}')
union all select pg_temp.add('{"kind": "smtp", "name": "m", "to": ["ada@private.example"], "from": "logs@example.com", "host": "mail.example.com", "port": 2465, "username": "u", "password": "SECRET-PASSWORD"}');
select unalike(string_agg(channel::text, ''), '%SECRET%', 'answers have none') from kinds;
select unalike(string_agg(c::text, ''), '%SECRET-%S%', 'nor the table') from audit.channels c where kind <> 'webhook';
select is(count(*), 3::bigint, 'the Vault has them') from audit.channels c where c.kind <> 'webhook' and audit.kept_secret(c.secret_id) ~ '^SECRET|/SECRET';
select is(said(name, 'select audit.kept_secret(gen_random_uuid())'), '42501', name || ' does not open the Vault') from unnest(array['admin', 'auditor', 'service_role', 'anon']) name;

-- Changed
select is(said('admin', format('select audit.change_channel(jsonb_build_object(''channel'', %L, ''host'', ''evil.example.com''))', channel ->> 'id')), 'AUARG', 'a password is not sent to another host unless it is given again')
from kinds where channel ->> 'kind' = 'smtp';
select is(said('admin', format('select audit.change_channel(jsonb_build_object(''channel'', %L, ''api'', ''https://evil.example.com/''))', channel ->> 'id')), 'AUARG', 'nor a key to another API')
from kinds where channel ->> 'name' = 'e';
select alike(said('admin', format('select audit.change_channel(jsonb_build_object(''channel'', %L, ''host'', ''mail2.example.com'', ''password'', ''SECRET-PASSWORD2''))', channel ->> 'id')), '%mail2%', 'then it is')
from kinds where channel ->> 'kind' = 'smtp';
select is(audit.kept_secret(secret_id), 'SECRET-PASSWORD2', 'and kept') from audit.channels where name = 'm';
select alike(said('admin', format('select audit.change_channel(jsonb_build_object(''channel'', %L, ''name'', ''slack'', ''default'', false))', channel ->> 'id')), '%"slack"%', 'a name changes')
from kinds where channel ->> 'kind' = 'slack';
select is(audit.kept_secret(secret_id), 'https://hooks.slack.com/services/SECRET-SLACK', 'and the secret stays') from audit.channels where name = 'slack';
select is(said('admin', format('select audit.change_channel(jsonb_build_object(''channel'', pg_temp.hook(), ''url'', ''https://127.0.0.1/''))')), 'AUARG', 'a change is checked as well');
select is(said('admin', format('select audit.change_channel(jsonb_build_object(''channel'', pg_temp.hook(), ''kind'', ''slack''))')), 'AUARG', 'the kind stays');

-- Rotated
create temporary table rotated as select said('admin', 'select audit.rotate_channel_secret(jsonb_build_object(''channel'', pg_temp.hook()))')::jsonb as channel;
select is(audit.kept_secret(c.secret_id), (r.channel ->> 'secret') || ' ' || (m.channel ->> 'secret'), 'the new one stands beside the old') from audit.channels c, rotated r, made m where c.id = pg_temp.hook();
select cmp_ok(old_secret_until, '>', now() + interval '23 hours', 'for a day') from audit.channels where id = pg_temp.hook();
update audit.channels set old_secret_until = now() - interval '1 second' where id = pg_temp.hook();
select audit.prune_deliveries();
select is(audit.kept_secret(c.secret_id), r.channel ->> 'secret', 'then it is gone') from audit.channels c, rotated r where c.id = pg_temp.hook();
select is(said('admin', format('select audit.rotate_channel_secret(jsonb_build_object(''channel'', %L))', channel ->> 'id')), 'AUARG', 'others have nothing to rotate') from kinds where channel ->> 'kind' = 'slack';

-- Disabled, enabled, deleted
select audit.disable_channel(pg_temp.hook(), 'http_410');
select audit.disable_channel(pg_temp.hook(), 'http_410');
select is(count(*), 1::bigint, 'a disabled channel is a finding, once') from audit.findings where kind = 'channel_disabled' and resolved_at is null and seen = 1;
select alike(said('admin', 'select audit.enable_channel(jsonb_build_object(''channel'', pg_temp.hook()))'), '%"disabled_at": null%', 'it can be enabled');
select is(count(*), 0::bigint, 'which closes it') from audit.findings where kind = 'channel_disabled' and resolved_at is null;
select is(said(n, 'select audit.turn_channel_off(jsonb_build_object(''channel'', pg_temp.hook()))'), case n when 'stranger' then 'AUNOT' when 'anon' then '42501' else 'AUDEN' end, n || ' does not disable it') from unnest(array['auditor', 'stranger', 'anon']) n;
select alike(said('admin', 'select audit.turn_channel_off(jsonb_build_object(''channel'', pg_temp.hook()))'), '%"disabled_reason": "by_admin"%', 'an admin does');
select is(count(*), 0::bigint, 'which is no finding') from audit.findings where kind = 'channel_disabled' and resolved_at is null;
select alike(said('admin', 'select audit.enable_channel(jsonb_build_object(''channel'', pg_temp.hook()))'), '%"disabled_at": null%', 'and enables it');
create temporary table gone as select secret_id from audit.channels where id = pg_temp.hook();
select isnt(said('admin', 'select audit.delete_channel(jsonb_build_object(''channel'', pg_temp.hook()))'), null, 'it can be deleted');
select is(count(*), 0::bigint, 'with its secret') from vault.secrets s join gone g on g.secret_id = s.id;

-- Entries
select results_eq(
  $$ select action, created_by is not null, count(*) from public.audit_logs where resource_type = 'channel' and resource_id = pg_temp.hook()::text group by 1, 2 order by 1 $$,
  $$ values ('channel.changed', true, 1::bigint), ('channel.created', true, 1), ('channel.deleted', true, 1), ('channel.disabled', false, 1), ('channel.disabled', true, 1), ('channel.enabled', true, 2) $$,
  'each change is an entry, by who made it'
);
select is(details, '{"settings": ["host", "password"], "changes": {"host": {"old": "mail.example.com", "new": "mail2.example.com"}}}', 'which says what changed')
from public.audit_logs where action = 'channel.changed' and details::text like '%mail2%';
select unalike(string_agg(details::text, ''), format('%%%s%%', word), 'and nothing of ' || word)
from public.audit_logs, unnest(array['SECRET', 'whsec', 'token', 'private.example']) word where action ~ '^channel\.' group by word;

-- As many as somebody can need
select pg_temp.add(jsonb_build_object('kind', 'webhook', 'name', 'n' || n, 'url', 'https://hooks.example.com/')) from generate_series((select count(*)::int + 1 from audit.channels where organization_id = acme()), 50) n;
select is(pg_temp.make('{"name": "one more"}'), 'AUARG', 'and no more');
