-- Channels: where an organisation's alerts go. What opens them (signing secrets, API keys, passwords, the addresses that
-- Slack gives out) lies in the Vault, and leaves it only for the job that delivers. Addresses are checked here by their
-- spelling, and by audit-jobs at every attempt, when their names are resolved.

create table if not exists audit.channels (
  id uuid not null default gen_random_uuid(),
  organization_id uuid not null,
  name text not null,
  kind text not null,
  config jsonb not null,
  is_default boolean not null,
  personal boolean not null,
  secret_id uuid,
  old_secret_until timestamptz,
  created_at timestamptz not null default clock_timestamp(),
  succeeded_at timestamptz,
  failures int not null default 0,
  last_error text,
  next_try_at timestamptz not null default '-infinity',
  disabled_at timestamptz,
  disabled_reason text,
  constraint channels_pkey primary key (id),
  constraint one_channel_a_name unique (organization_id, name),
  constraint channel_kind_is_known check (kind in ('webhook', 'slack', 'email', 'smtp'))
);

comment on table audit.channels is 'Where alerts go; written by the functions of 640, and by audit.settle_delivery() how it went.';
comment on column audit.channels.id is 'Names the channel.';
comment on column audit.channels.organization_id is 'Whose channel; the nil UUID for the project''s own, which also hear of organisations that no channel reaches.';
comment on column audit.channels.name is 'What people call it.';
comment on column audit.channels.kind is 'webhook (Standard Webhooks), slack (incoming webhook), email (HTTP API in Resend''s form) or smtp.';
comment on column audit.channels.config is 'Its settings, without secrets.';
comment on column audit.channels.is_default is 'Whether alerts go there whose rule names no channels.';
comment on column audit.channels.personal is 'Whether e-mail and IP addresses may be in its messages; else they are taken out.';
comment on column audit.channels.secret_id is 'Its secret in the Vault; null where it needs none. Of a webhook two, new and old, while it is rotated.';
comment on column audit.channels.old_secret_until is 'Until when messages are signed with the old secret too; null while there is none.';
comment on column audit.channels.created_at is 'Since when it exists; the log has every change.';
comment on column audit.channels.succeeded_at is 'When it last took a message, to some seconds.';
comment on column audit.channels.failures is 'How many times in a row it did not.';
comment on column audit.channels.last_error is 'Why it did not, in a word; null where it did.';
comment on column audit.channels.next_try_at is 'Before that it is left alone.';
comment on column audit.channels.disabled_at is 'Since when it gets nothing; null while it does. audit.enable_channel() ends it.';
comment on column audit.channels.disabled_reason is 'Why it gets nothing: http_410, failing, or by_admin.';

revoke all on audit.channels from public, anon, authenticated, service_role;

-- Secrets -------------------------------------------------------------------------------------------------------------

create or replace function audit.keep_secret(secret_id uuid, secret text)
  returns uuid
  language plpgsql
  set search_path = ''
as $$
begin
  if to_regprocedure('vault.create_secret(text, text, text, uuid)') is null then
    perform audit.fail('AUVLT', 'The secrets of channels are kept in the Vault, which this project does not have.', null,
      'create extension supabase_vault');
  end if;
  if keep_secret.secret_id is null then
    return vault.create_secret(keep_secret.secret, null, 'A channel of the audit log');
  end if;
  perform vault.update_secret(keep_secret.secret_id, keep_secret.secret);
  return keep_secret.secret_id;
end
$$;

comment on function audit.keep_secret(uuid, text) is 'Puts a secret into the Vault, in place of the one named; answers its id.';

create or replace function audit.kept_secret(secret_id uuid)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  -- A channel without a secret asks nothing of the Vault.
  if kept_secret.secret_id is not null then
    return (select s.decrypted_secret from vault.decrypted_secrets s where s.id = kept_secret.secret_id);
  end if;
  return null;
end
$$;

comment on function audit.kept_secret(uuid) is 'A secret of the Vault, for who delivers.';

create or replace function audit.new_webhook_secret()
  returns text
  language sql
  volatile
  return 'whsec_' || encode(audit.random_salt() || audit.random_salt(), 'base64');

comment on function audit.new_webhook_secret() is 'A signing secret as Standard Webhooks has them: 32 random bytes.';

-- What a request may say ----------------------------------------------------------------------------------------------

-- A name with a dot whose last part begins with a letter is no IP address in any spelling: 127.1, 0x7f.1, 2130706433,
-- [::ffff:127.0.0.1]. Nor may it end with a dot.
create or replace function audit.check_host(host text)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if lower(check_host.host) in ('localhost', '127.0.0.1', '[::1]') then
    if audit.setting('local_channels') = 'true' then
      return;
    end if;
    perform audit.fail('AUARG', 'Channels do not lead to this machine.', null,
      'For a local stack: select audit.configure(''local_channels'', ''true'').');
  end if;
  if length(check_host.host) > 253
    or coalesce(check_host.host, '') !~* '^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$'
    or check_host.host ~* '\.(localhost|local|internal)$'
  then
    perform audit.fail('AUARG', 'The host is not a public name.', null,
      'Use a DNS name such as hooks.example.com (in punycode where it has other letters), no IP address and no name of a private network.');
  end if;
end
$$;

comment on function audit.check_host(text) is 'Refuses hosts that are no public DNS names by their spelling.';

create or replace function audit.check_address(address text)
  returns text
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_parts text[];
begin
  -- Scheme, host, port, rest: printable ASCII without what URL parsers read in different ways.
  v_parts := regexp_match(check_address.address, '^(https?)://(\[[0-9a-fA-F:.]*\]|[^][/?#@\\:\s]*)(:\d{1,5})?([/?][!-~]*)?$');
  if length(check_address.address) > 2000 or v_parts is null or check_address.address ~ '[\\#]' then
    perform audit.fail('AUARG', 'The address cannot be used.', null,
      'It is https://host/path with at most 2,000 characters, without name, password and fragment.');
  end if;
  perform audit.check_host(v_parts[2]);
  -- That the rest is this machine was just permitted.
  if v_parts[2] like '%.%' and lower(v_parts[2]) <> '127.0.0.1'
    and (v_parts[1] <> 'https' or coalesce(v_parts[3], ':443') not in (':443', ':8443'))
  then
    perform audit.fail('AUARG', 'The address is not https on port 443 or 8443.');
  end if;
  return lower(v_parts[2]);
end
$$;

comment on function audit.check_address(text) is 'Refuses addresses that no channel may have by their spelling; answers the host.';

create or replace function audit.check_mailboxes(mailboxes jsonb, most int, field text)
  returns void
  language plpgsql
  immutable
  set search_path = ''
as $$
declare
  c_address constant text := '[A-Za-z0-9.!#$%&''*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}';
begin
  if jsonb_typeof(check_mailboxes.mailboxes) is distinct from 'array' or jsonb_array_length(check_mailboxes.mailboxes) not between 1 and check_mailboxes.most
    or exists (
      select from jsonb_array_elements(check_mailboxes.mailboxes) m
      where jsonb_typeof(m) <> 'string'
        or m #>> '{}' !~ format('^(%s|[^<>"\\,;:@[:cntrl:]]{1,100} <%s>)$', c_address, c_address)
    )
  then
    perform audit.fail('AUARG', format('"%s" is not right.', check_mailboxes.field), null,
      format('1 to %s addresses: ada@example.com, or Ada <ada@example.com>.', check_mailboxes.most));
  end if;
end
$$;

comment on function audit.check_mailboxes(jsonb, int, text) is 'Refuses what is no list of e-mail addresses.';

create or replace function audit.channel_fields(kind text)
  returns text[]
  language sql
  immutable
  return case channel_fields.kind
    when 'webhook' then array['url']
    when 'slack' then array['url']
    when 'email' then array['to', 'from', 'api', 'key']
    when 'smtp' then array['to', 'from', 'host', 'port', 'username', 'password']
  end;

comment on function audit.channel_fields(text) is 'What a channel of a kind has besides name, default and personal.';

create or replace function audit.channel_config(kind text, config jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_config jsonb := jsonb_strip_nulls(channel_config.config);
  v_is_local boolean;
begin
  if exists (select from jsonb_each(v_config) e where e.key not in ('to', 'port') and jsonb_typeof(e.value) <> 'string') then
    perform audit.fail('AUARG', 'A setting of the channel is not a text.');
  end if;
  if channel_config.kind in ('webhook', 'slack') then
    v_config := v_config || jsonb_build_object('host', audit.check_address(coalesce(v_config ->> 'url', '')));
  else
    perform audit.check_mailboxes(v_config -> 'to', 20, 'to');
    if v_config ? 'from' or channel_config.kind = 'smtp' then
      perform audit.check_mailboxes(jsonb_build_array(v_config -> 'from'), 1, 'from');
    end if;
  end if;
  if channel_config.kind = 'email' then
    v_config := v_config || jsonb_build_object('host', audit.check_address(coalesce(v_config ->> 'api', 'https://api.resend.com/emails')));
    if coalesce(v_config ->> 'key', '-') !~ '^[!-~]+$' or length(v_config ->> 'key') > 500 then
      perform audit.fail('AUARG', 'The key is not printable ASCII of at most 500 characters.');
    end if;
    if v_config ? 'key' and not v_config ? 'from' then
      perform audit.fail('AUARG', 'With a key of its own an e-mail channel says from whom.', null, 'Add "from".');
    end if;
    if v_config ? 'api' and not v_config ? 'key' then
      -- Else the project's own key would be sent wherever an admin likes.
      perform audit.fail('AUARG', 'Another API needs a key of its own.', null, 'Add "key".');
    end if;
  elsif channel_config.kind = 'smtp' then
    perform audit.check_host(coalesce(v_config ->> 'host', ''));
    v_is_local := lower(v_config ->> 'host') in ('localhost', '127.0.0.1');
    if v_config -> 'port' in ('25', '587') then
      perform audit.fail('AUARG', 'Hosted Edge Functions may not connect to ports 25 and 587.', null,
        'Use 465 or 2465 (TLS), or 2587 (STARTTLS), which most providers have; or a channel of kind email.');
    end if;
    if jsonb_typeof(v_config -> 'port') is distinct from 'number'
      or v_config -> 'port' not in ('465', '2465', '2587') and not v_is_local
    then
      perform audit.fail('AUARG', 'The port is 465 or 2465 (TLS), or 2587 (STARTTLS).');
    end if;
    if (v_config ? 'username') <> (v_config ? 'password') or not v_config ? 'username' and not v_is_local
      or greatest(length(v_config ->> 'username'), length(v_config ->> 'password')) > 500
    then
      perform audit.fail('AUARG', 'An SMTP channel needs a username and a password.');
    end if;
  end if;
  return v_config;
end
$$;

comment on function audit.channel_config(text, jsonb) is
  'Checks the settings of a channel, secrets included, and answers them with the host that it leads to.';

create or replace function audit.channel_secret_field(kind text)
  returns text
  language sql
  immutable
  return case channel_secret_field.kind when 'slack' then 'url' when 'email' then 'key' when 'smtp' then 'password' end;

comment on function audit.channel_secret_field(text) is 'Which setting of a channel is its secret; null for webhooks, whose secret is made here.';

create or replace function audit.check_channel(request jsonb, kind text, known text[])
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  perform audit.check_request(request, check_channel.known || array['name', 'default', 'personal'] || audit.channel_fields(check_channel.kind));
  if request ? 'name' and (jsonb_typeof(request -> 'name') <> 'string' or request ->> 'name' !~ '^[^[:cntrl:]]{1,100}$') then
    perform audit.fail('AUARG', 'A channel has a name of 1 to 100 characters.');
  end if;
  if coalesce(jsonb_typeof(request -> 'default'), 'boolean') <> 'boolean' or coalesce(jsonb_typeof(request -> 'personal'), 'boolean') <> 'boolean' then
    perform audit.fail('AUARG', '"default" and "personal" are true or false.');
  end if;
end
$$;

comment on function audit.check_channel(jsonb, text, text[]) is 'Refuses what no channel of a kind has.';

-- Answers and entries -------------------------------------------------------------------------------------------------

create or replace function audit.channel_json(channel audit.channels, whole boolean)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'id', (channel).id, 'organization_id', (channel).organization_id, 'name', (channel).name, 'kind', (channel).kind,
    'default', (channel).is_default, 'personal', (channel).personal, 'host', (channel).config ->> 'host',
    'recipients', coalesce(jsonb_array_length((channel).config -> 'to'), 0),
    'created_at', audit.instant_text((channel).created_at), 'succeeded_at', audit.instant_text((channel).succeeded_at),
    'failures', (channel).failures, 'last_error', (channel).last_error,
    'disabled_at', audit.instant_text((channel).disabled_at), 'disabled_reason', (channel).disabled_reason,
    'old_secret_until', audit.instant_text((channel).old_secret_until)
  ) || case when whole then jsonb_build_object('config', (channel).config - 'host') else '{}' end
$$;

comment on function audit.channel_json(audit.channels, boolean) is
  'A channel as the API shows it, never with its secret; its settings, which may name people, only where it is whole.';

-- Addresses of people and paths of URLs stay out of the log, which keeps what it has.
create or replace function audit.channel_summary(channel audit.channels)
  returns jsonb
  language sql
  immutable
  set search_path = ''
as $$
  select jsonb_build_object(
    'name', (channel).name, 'kind', (channel).kind, 'default', (channel).is_default, 'personal', (channel).personal,
    'host', (channel).config ->> 'host', 'recipients', coalesce(jsonb_array_length((channel).config -> 'to'), 0)
  )
$$;

comment on function audit.channel_summary(audit.channels) is 'What an entry says of a channel.';

create or replace function audit.own_channel(request jsonb, known text[] default '{}')
  returns audit.channels
  language plpgsql
  set search_path = ''
as $$
declare
  v_channel audit.channels;
begin
  if cardinality(known) > 0 then
    perform audit.check_request(request, known);
  end if;
  select c.* into v_channel from audit.channels c where c.id = audit.as_uuid(request ->> 'channel') for no key update;
  if v_channel.id is null or audit.reach(v_channel.organization_id) is distinct from 'all' then
    perform audit.fail('AUNOT', 'There is no such channel.', null, 'GET /audit/channels lists them.');
  end if;
  perform audit.require_admin(v_channel.organization_id);
  return v_channel;
end
$$;

comment on function audit.own_channel(jsonb, text[]) is 'The channel that a request names, locked, if the caller administers its organisation.';

-- What people do ------------------------------------------------------------------------------------------------------

create or replace function audit.create_channel(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write channels, and their secrets, through these functions only
  set search_path = ''
as $$
declare
  v_organization uuid := audit.requested_organization(request);
  v_kind text := request ->> 'kind';
  v_config jsonb;
  v_secret text;
  v_channel audit.channels;
begin
  perform audit.require_admin(v_organization);
  if v_kind is null or audit.channel_fields(v_kind) is null then
    perform audit.fail('AUARG', 'The kind of a channel is webhook, slack, email or smtp.');
  end if;
  perform audit.check_channel(request, v_kind, array['organization_id', 'kind']);
  if request ->> 'name' is null then
    perform audit.fail('AUARG', 'A channel has a name of 1 to 100 characters.');
  end if;
  if (select count(*) from audit.channels c where c.organization_id = v_organization) >= 50 then
    perform audit.fail('AUARG', 'An organisation has at most 50 channels.');
  end if;
  v_config := audit.channel_config(v_kind, (
    select coalesce(jsonb_object_agg(e.key, e.value), '{}') from jsonb_each(request) e where e.key = any (audit.channel_fields(v_kind))
  ));
  v_secret := case v_kind when 'webhook' then audit.new_webhook_secret() else v_config ->> audit.channel_secret_field(v_kind) end;
  begin
    insert into audit.channels (organization_id, name, kind, config, is_default, personal, secret_id)
    values (
      v_organization, request ->> 'name', v_kind, v_config - coalesce(audit.channel_secret_field(v_kind), ''),
      coalesce((request ->> 'default')::boolean, true), coalesce((request ->> 'personal')::boolean, false),
      case when v_secret is not null then audit.keep_secret(null, v_secret) end
    )
    returning * into v_channel;
  exception when unique_violation then
    perform audit.fail('AUARG', 'The organisation has a channel of that name.');
  end;
  perform audit.record(v_organization, 'channel.created', 'channel', v_channel.id::text, jsonb_build_object('new', audit.channel_summary(v_channel)));
  return audit.channel_json(v_channel, true) || case v_kind when 'webhook' then jsonb_build_object('secret', v_secret) else '{}' end;
end
$$;

comment on function audit.create_channel(jsonb) is
  'Makes a channel: {organization_id, kind, name, default, personal} and of a webhook or slack {url}, email {to, from, key, api},
smtp {host, port, username, password, from, to}. The answer has the signing secret of a webhook, once. For admins; leaves an entry.';

create or replace function audit.change_channel(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write channels, and their secrets, through these functions only
  set search_path = ''
as $$
declare
  v_old audit.channels := audit.own_channel(request);
  v_new audit.channels;
  v_field text := coalesce(audit.channel_secret_field(v_old.kind), '');
  v_given jsonb;
  v_config jsonb;
  v_changes jsonb;
begin
  perform audit.check_channel(request, v_old.kind, array['channel']);
  select coalesce(jsonb_object_agg(e.key, e.value), '{}') into v_given from jsonb_each(request) e where e.key = any (audit.channel_fields(v_old.kind));
  -- What is secret goes on as it is, where it is not given; with another address or host it must be, or a password could be
  -- sent to whom an admin likes without knowing it.
  v_config := (v_old.config - 'host') || v_given;
  if v_old.secret_id is not null and v_field <> '' and not v_given ? v_field then
    if v_given ?| array['host', 'port', 'api', 'username'] then
      perform audit.fail('AUARG', format('With these settings "%s" is to be given anew.', v_field));
    end if;
    v_config := v_config || jsonb_build_object(v_field, audit.kept_secret(v_old.secret_id));
  end if;
  v_config := audit.channel_config(v_old.kind, v_config);
  begin
    update audit.channels c set
      name = coalesce(request ->> 'name', c.name),
      is_default = coalesce((request ->> 'default')::boolean, c.is_default),
      personal = coalesce((request ->> 'personal')::boolean, c.personal),
      config = v_config - v_field,
      secret_id = case when v_given ->> v_field is not null then audit.keep_secret(c.secret_id, v_given ->> v_field) else c.secret_id end
    where c.id = v_old.id
    returning c.* into v_new;
  exception when unique_violation then
    perform audit.fail('AUARG', 'The organisation has a channel of that name.');
  end;
  select jsonb_object_agg(n.key, jsonb_build_object('old', o.value, 'new', n.value)) into v_changes
  from jsonb_each(audit.channel_summary(v_new)) n
  join jsonb_each(audit.channel_summary(v_old)) o on o.key = n.key and o.value <> n.value;
  perform audit.record(v_new.organization_id, 'channel.changed', 'channel', v_new.id::text, jsonb_strip_nulls(jsonb_build_object(
    'changes', v_changes,
    -- Which settings, not what they are.
    'settings', (select jsonb_agg(k order by k) from jsonb_object_keys(v_given) k)
  )));
  return audit.channel_json(v_new, true);
end
$$;

comment on function audit.change_channel(jsonb) is
  'Changes what {channel, …} gives of a channel, by the names of audit.create_channel(). For admins; leaves an entry.';

create or replace function audit.delete_channel(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write channels, and their secrets, through these functions only
  set search_path = ''
as $$
declare
  v_channel audit.channels := audit.own_channel(request, array['channel']);
  v_waiting bigint := (select count(*) from audit.deliveries d where d.channel_id = v_channel.id and d.state = 'waiting');
begin
  delete from audit.channels c where c.id = v_channel.id;
  if v_channel.secret_id is not null then
    delete from vault.secrets s where s.id = v_channel.secret_id;
  end if;
  perform audit.resolve_channel_findings(v_channel);
  perform audit.record(v_channel.organization_id, 'channel.deleted', 'channel', v_channel.id::text,
    jsonb_build_object('old', audit.channel_summary(v_channel), 'undelivered', v_waiting));
  return audit.channel_json(v_channel, true);
end
$$;

comment on function audit.delete_channel(jsonb) is
  'Takes {channel} away, with its secret and what waits for it. For admins; leaves an entry, which counts the latter.';

create or replace function audit.rotate_channel_secret(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write channels, and their secrets, through these functions only
  set search_path = ''
as $$
declare
  v_channel audit.channels := audit.own_channel(request, array['channel']);
  v_secret text := audit.new_webhook_secret();
begin
  if v_channel.kind <> 'webhook' then
    perform audit.fail('AUARG', 'Only webhooks have a secret that is made here.', null, 'Change the channel and give its new secret.');
  end if;
  perform audit.keep_secret(v_channel.secret_id, v_secret || ' ' || split_part(audit.kept_secret(v_channel.secret_id), ' ', 1));
  update audit.channels c set old_secret_until = clock_timestamp() + interval '24 hours'
  where c.id = v_channel.id
  returning c.* into v_channel;
  perform audit.record(v_channel.organization_id, 'channel.changed', 'channel', v_channel.id::text, jsonb_build_object(
    'settings', jsonb_build_array('secret'), 'old_secret_until', audit.instant_text(v_channel.old_secret_until)
  ));
  return audit.channel_json(v_channel, true) || jsonb_build_object('secret', v_secret);
end
$$;

comment on function audit.rotate_channel_secret(jsonb) is
  'Gives the webhook {channel} a new signing secret, which the answer has, once. For 24 hours messages are signed with the
old one too. For admins; leaves an entry.';

create or replace function audit.enable_channel(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins write channels, and their secrets, through these functions only
  set search_path = ''
as $$
declare
  v_channel audit.channels := audit.own_channel(request, array['channel']);
begin
  if v_channel.disabled_at is not null then
    perform audit.record(v_channel.organization_id, 'channel.enabled', 'channel', v_channel.id::text);
  end if;
  update audit.channels c set disabled_at = null, disabled_reason = null, failures = 0, last_error = null, next_try_at = '-infinity'
  where c.id = v_channel.id
  returning c.* into v_channel;
  perform audit.resolve_channel_findings(v_channel);
  return audit.channel_json(v_channel, true);
end
$$;

comment on function audit.enable_channel(jsonb) is
  'Has {channel} get messages again, at once; what it did not get meanwhile audit.replay_delivery() sends. For admins; leaves an entry.';

create or replace function audit.list_channels(request jsonb default '{}')
  returns jsonb
  language plpgsql
  stable
  security definer -- reads channels of the organisation that the caller reads whole
  set search_path = ''
as $$
declare
  v_organization uuid;
  v_is_admin boolean := true;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  if audit.reach(v_organization) <> 'all' then
    perform audit.fail('AUDEN', 'Only admins and auditors see channels.');
  end if;
  begin
    perform audit.require_admin(v_organization);
  exception when sqlstate 'AUDEN' then
    v_is_admin := false;
  end;
  return jsonb_build_object('organization_id', v_organization, 'channels', coalesce((
    select jsonb_agg(audit.channel_json(c, v_is_admin) order by c.name)
    from audit.channels c
    where c.organization_id = v_organization
  ), '[]'));
end
$$;

comment on function audit.list_channels(jsonb) is
  'The channels of {organization_id}: for admins with their settings, for auditors without. Never with secrets.';

-- What happens to them ------------------------------------------------------------------------------------------------

create or replace function audit.resolve_channel_findings(channel audit.channels)
  returns void
  language sql
  set search_path = ''
as $$
  select audit.resolve_finding((channel).organization_id, kind, (channel).id::text)
  from unnest(array['delivery_failed', 'channel_disabled']) kind
$$;

comment on function audit.resolve_channel_findings(audit.channels) is 'Closes what was found wrong with a channel.';

create or replace function audit.disable_channel(channel_id uuid, reason text)
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_channel audit.channels;
  v_waiting bigint;
begin
  update audit.channels c set disabled_at = clock_timestamp(), disabled_reason = disable_channel.reason
  where c.id = disable_channel.channel_id and c.disabled_at is null
  returning c.* into v_channel;
  if not found then
    return;
  end if;
  with dead as (
    update audit.deliveries d set state = 'dead', settled_at = clock_timestamp(), last_error = coalesce(d.last_error, 'channel_disabled')
    where d.channel_id = v_channel.id and d.state = 'waiting' and d.type <> 'channel.test'
    returning d.id
  )
  select count(*) into v_waiting from dead;
  perform audit.record(v_channel.organization_id, 'channel.disabled', 'channel', v_channel.id::text,
    jsonb_build_object('name', v_channel.name, 'reason', disable_channel.reason, 'undelivered', v_waiting),
    case disable_channel.reason when 'by_admin' then 'success' else 'failure' end);
  -- What an admin wants is no finding.
  if disable_channel.reason <> 'by_admin' then
    perform audit.note_finding(v_channel.organization_id, 'channel_disabled', v_channel.id::text,
      jsonb_build_object('name', v_channel.name, 'reason', disable_channel.reason));
  end if;
end
$$;

comment on function audit.disable_channel(uuid, text) is
  'Gives a channel nothing any more; what waits for it is dead, and can be replayed. Leaves an entry, and a finding unless the
reason is by_admin.';

create or replace function audit.turn_channel_off(request jsonb)
  returns jsonb
  language plpgsql
  security definer -- admins disable channels through this function only
  set search_path = ''
as $$
declare
  v_channel audit.channels := audit.own_channel(request, array['channel']);
begin
  perform audit.disable_channel(v_channel.id, 'by_admin');
  select c.* into v_channel from audit.channels c where c.id = v_channel.id;
  return audit.channel_json(v_channel, true);
end
$$;

comment on function audit.turn_channel_off(jsonb) is
  'Has {channel} get nothing until audit.enable_channel(); what it misses can be replayed then. For admins; leaves an entry.';
