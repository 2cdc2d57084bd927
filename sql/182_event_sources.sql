-- Who reports events of its own: applications and services, each with a secret. The secret is shown once; here lies its
-- digest, which is enough for those that send it, and in the Vault itself, where there is one, for those that sign with it.

create table if not exists audit.event_sources (
  id uuid constraint event_sources_pkey primary key default gen_random_uuid(),
  name text not null constraint event_sources_name_key unique,
  organization_id uuid,
  secret_hash bytea,
  previous_hash bytea,
  previous_until timestamptz,
  events_per_minute int not null,
  allowance double precision not null,
  allowance_at timestamptz not null default clock_timestamp(),
  created_at timestamptz not null default clock_timestamp(),
  disabled_at timestamptz,
  constraint source_has_name check (name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'),
  constraint source_has_rate check (events_per_minute between 1 and 10000000)
);

comment on table audit.event_sources is 'Who may report events to audit-ingest, and how many a minute.';
comment on column audit.event_sources.id is 'Names the source; the nil UUID is the project''s own service key.';
comment on column audit.event_sources.name is 'What entries call it, in details.reported_by.';
comment on column audit.event_sources.organization_id is 'The only organisation it reports for; null: any.';
comment on column audit.event_sources.secret_hash is 'SHA-256 of its secret; null for the service key, which the function knows.';
comment on column audit.event_sources.previous_hash is 'The same of the secret before, while that is still taken.';
comment on column audit.event_sources.previous_until is 'Until when the secret before is taken.';
comment on column audit.event_sources.events_per_minute is 'How many events it may report a minute, and at once.';
comment on column audit.event_sources.allowance is 'How many it could report at allowance_at; it fills up with time.';
comment on column audit.event_sources.allowance_at is 'When the allowance was last counted.';
comment on column audit.event_sources.created_at is 'When it was created.';
comment on column audit.event_sources.disabled_at is 'Since when nothing is taken from it any more.';

create unique index if not exists event_sources_secret_hash_idx on audit.event_sources (secret_hash);

insert into audit.event_sources (id, name, events_per_minute, allowance)
values (audit.system_organization(), 'service', 600000, 600000)
on conflict do nothing;

create or replace function audit.keep_source_secret(source uuid, secret text)
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_name text := 'audit_source_' || source;
begin
  if to_regclass('vault.secrets') is null then
    return;
  end if;
  -- Dynamic: the Vault need not exist when this function is made. The secret before keeps a name of its own.
  execute 'delete from vault.secrets where name = $1' using v_name || '_previous';
  if secret is null then
    execute 'delete from vault.secrets where name = $1' using v_name;
    return;
  end if;
  execute 'select vault.create_secret(d.decrypted_secret, $2) from vault.decrypted_secrets d where d.name = $1'
    using v_name, v_name || '_previous';
  execute 'delete from vault.secrets where name = $1' using v_name;
  execute 'select vault.create_secret($1, $2)' using secret, v_name;
end
$$;

comment on function audit.keep_source_secret(uuid, text) is
  'Keeps a source''s secret in the Vault beside the one before, or removes both; does nothing where there is no Vault.';

create or replace function audit.new_source_secret()
  returns text
  language sql
  volatile
  -- Two UUIDs hold 244 random bits; 32 bytes are what Standard Webhooks asks for.
  return 'whsec_' || encode(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())), 'base64');

comment on function audit.new_source_secret() is 'A new secret: whsec_ and the base64 of 32 random bytes.';

create or replace function audit.create_event_source(
  name text,
  organization_id uuid default null,
  events_per_minute int default 6000
)
  returns text
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_secret text := audit.new_source_secret();
  v_id uuid;
begin
  begin
    insert into audit.event_sources as s (name, organization_id, secret_hash, events_per_minute, allowance)
    values (
      create_event_source.name, create_event_source.organization_id, sha256(convert_to(v_secret, 'UTF8')),
      create_event_source.events_per_minute, create_event_source.events_per_minute
    )
    returning s.id into v_id;
  exception when check_violation or not_null_violation or unique_violation then
    perform audit.fail('AUARG', format('No source can be called %L and report %s events a minute.', name, events_per_minute), null,
      'A name is new, of lower-case letters, digits, - and _, at most 63; a rate is 1 to 10,000,000.');
  end;
  perform audit.keep_source_secret(v_id, v_secret);
  perform audit.record(
    create_event_source.organization_id, 'capture.changed', 'event_source', create_event_source.name,
    jsonb_build_object('created', true, 'events_per_minute', create_event_source.events_per_minute)
  );
  return v_secret;
end
$$;

comment on function audit.create_event_source(text, uuid, int) is
  'Makes a source of events, for one organisation or (null) any, and returns its secret, which nobody can read again: select audit.create_event_source(''billing'').';

create or replace function audit.rotate_event_source(name text, old_secret_until timestamptz default clock_timestamp() + interval '1 day')
  returns text
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_secret text := audit.new_source_secret();
  v_source audit.event_sources;
begin
  update audit.event_sources s
  set previous_hash = s.secret_hash, previous_until = rotate_event_source.old_secret_until,
    secret_hash = sha256(convert_to(v_secret, 'UTF8'))
  where s.name = rotate_event_source.name and s.secret_hash is not null
  returning s.* into v_source;
  if v_source.id is null then
    perform audit.fail('AUNOT', format('There is no source %L with a secret.', name), null, 'audit.event_sources lists them.');
  end if;
  perform audit.keep_source_secret(v_source.id, v_secret);
  perform audit.record(
    v_source.organization_id, 'capture.changed', 'event_source', v_source.name,
    jsonb_build_object('rotated', true, 'old_secret_until', to_jsonb(old_secret_until at time zone 'utc'))
  );
  return v_secret;
end
$$;

comment on function audit.rotate_event_source(text, timestamptz) is
  'Gives a source a new secret and returns it; the one before is taken until the time given, by default for a day.';

create or replace function audit.disable_event_source(name text)
  returns boolean
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_source audit.event_sources;
begin
  update audit.event_sources s set disabled_at = clock_timestamp()
  where s.name = disable_event_source.name and s.disabled_at is null
  returning s.* into v_source;
  if v_source.id is null then
    return false;
  end if;
  perform audit.keep_source_secret(v_source.id, null);
  perform audit.record(
    v_source.organization_id, 'capture.changed', 'event_source', v_source.name, jsonb_build_object('disabled', true)
  );
  return true;
end
$$;

comment on function audit.disable_event_source(text) is
  'Takes nothing from a source any more and leaves an entry; false where that was so already.';

create or replace function audit.find_event_source(secret text)
  returns uuid
  language sql
  stable
  set search_path = ''
as $$
  select s.id
  from audit.event_sources s
  where s.disabled_at is null
    and (
      s.secret_hash = sha256(convert_to(find_event_source.secret, 'UTF8'))
      or s.previous_hash = sha256(convert_to(find_event_source.secret, 'UTF8')) and s.previous_until > clock_timestamp()
    )
$$;

comment on function audit.find_event_source(text) is 'The source whose secret that is now; null where it is nobody''s.';

create or replace function audit.signing_secrets(source_name text)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_source audit.event_sources;
  v_secrets jsonb;
begin
  select s.* into v_source from audit.event_sources s where s.name = source_name and s.disabled_at is null;
  if v_source.id is null or to_regclass('vault.decrypted_secrets') is null then
    return null;
  end if;
  execute $q$
    select jsonb_agg(d.decrypted_secret)
    from vault.decrypted_secrets d
    where d.name = $1 or d.name = $1 || '_previous' and $2 > clock_timestamp()
  $q$ into v_secrets using 'audit_source_' || v_source.id, v_source.previous_until;
  return jsonb_build_object('id', v_source.id, 'secrets', coalesce(v_secrets, '[]'));
end
$$;

comment on function audit.signing_secrets(text) is
  'With what a source may sign now, from the Vault; for the function audit-ingest alone. Null where there is no such source.';
