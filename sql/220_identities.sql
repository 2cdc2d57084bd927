-- Personal data of actors, apart from the log. An entry holds only a salted commitment; deleting the row here erases
-- the person and leaves every entry, chain and proof valid.

create table if not exists audit.identities (
  organization_id uuid not null,
  user_id uuid,
  email text,
  ip_address text,
  user_agent text,
  salt bytea not null,
  identity_hash bytea not null,
  lookup bytea not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint salt_has_16_bytes check (octet_length(salt) = 16),
  constraint identity_hash_is_sha256 check (octet_length(identity_hash) = 32)
);

comment on table audit.identities is 'E-mail, IP address and user agent of an actor in one context; entries commit to it.';
comment on column audit.identities.organization_id is 'In which organisation the person acted.';
comment on column audit.identities.user_id is 'The user, null for anonymous clients.';
comment on column audit.identities.email is 'E-mail address in the claims of the request.';
comment on column audit.identities.ip_address is 'Client address; cut to its network or absent by the setting ip_addresses.';
comment on column audit.identities.user_agent is 'User agent as the client sent it.';
comment on column audit.identities.salt is '16 random bytes; without them the commitment says nothing.';
comment on column audit.identities.identity_hash is 'SHA-256(0x02, salt, identity text); stands in audit_logs.identity_hash.';
comment on column audit.identities.lookup is 'Digest of the same values without salt, to find the row again; erased with it.';
comment on column audit.identities.created_at is 'When this context was first seen.';

-- Once, with the table, as in 200: else an upgrade locks writers out.
do $$
begin
  if not exists (select from pg_catalog.pg_policy p where p.polrelid = 'audit.identities'::regclass) then
    -- Not unique: `on conflict` would raise serialization failures at REPEATABLE READ, and a duplicate is harmless.
    create index identities_lookup_idx on audit.identities (lookup);
    create index identities_identity_hash_idx on audit.identities (identity_hash);
    create index identities_user_id_idx on audit.identities (user_id);

    -- What is erased must not live on in the planner's statistics, which keep the most common values of a column.
    alter table audit.identities
      alter column email set statistics 0, alter column ip_address set statistics 0, alter column user_agent set statistics 0,
      alter column salt set statistics 0, alter column lookup set statistics 0;

    alter table audit.identities enable row level security;

    create policy "admins and permitted auditors read identities" on audit.identities
      for select to authenticated
      using (
        organization_id = any (array(select audit.admin_organizations()))
        or organization_id = any (array(select audit.auditor_organizations(identities => true)))
      );

    create policy "members read their own identities" on audit.identities
      for select to authenticated
      using (
        user_id = (select auth.uid())
        and organization_id = any (array(select audit.member_organizations()))
      );

    create policy "the writer keeps identities" on audit.identities for insert to audit_writer with check (true);

    create policy "the writer finds identities" on audit.identities for select to audit_writer using (true);
  end if;
end
$$;

revoke all on audit.identities from public, anon, authenticated, service_role;
grant select on audit.identities to authenticated, service_role;
grant select, insert on audit.identities to audit_writer;

create or replace function audit.identity_text(
  organization_id uuid,
  user_id uuid,
  email text,
  ip_address text,
  user_agent text
)
  returns text
  language sql
  stable
  parallel safe
  return format(
    '{"v":1,"organization_id":"%s","user_id":%s,"email":%s,"ip_address":%s,"user_agent":%s}',
    organization_id, coalesce('"' || user_id || '"', 'null'), coalesce(to_json(email), 'null'),
    coalesce(to_json(ip_address), 'null'), coalesce(to_json(user_agent), 'null')
  );

comment on function audit.identity_text(uuid, uuid, text, text, text) is
  'The one line of JSON that an identity''s hash commits to (sql/FORMAT.md, "Identities").';

create or replace function audit.random_salt()
  returns bytea
  language sql
  volatile
  -- gen_random_uuid() is the strong random source that needs no extension; two of them hold 244 random bits.
  return substring(sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())) from 1 for 16);

comment on function audit.random_salt() is '16 bytes from the server''s strong random source.';

create or replace function audit.network_of(ip_address text)
  returns text
  language plpgsql
  immutable
  parallel safe
  set search_path = ''
as $$
begin
  return host(network(set_masklen(
    network_of.ip_address::inet,
    case family(network_of.ip_address::inet) when 4 then 24 else 48 end
  )));
exception when others then
  return null; -- not an address: nothing that could be truncated
end
$$;

comment on function audit.network_of(text) is 'The /24 (IPv4) or /48 (IPv6) network of an address; null for what is none.';

-- The setting ip_addresses is asked for on every write, so the choices are compiled into the function that applies them.
create or replace function audit.compile_ip_setting()
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_default text := audit.setting('ip_addresses') #>> '{}';
  v_exceptions text;
begin
  select string_agg(
    format(
      'when permitted_ip.organization_id = %L::uuid then %s', s.organization_id,
      case s.value #>> '{}'
        when 'on' then 'permitted_ip.ip_address'
        when 'truncated' then 'audit.network_of(permitted_ip.ip_address)'
        else 'null'
      end
    ), ' ' order by s.organization_id
  )
  into v_exceptions
  from audit.settings s
  where s.name = 'ip_addresses' and s.organization_id <> audit.system_organization();
  execute format(
    'create or replace function audit.permitted_ip(organization_id uuid, ip_address text) returns text'
      || ' language sql immutable parallel safe return case %s else %s end',
    coalesce(v_exceptions, 'when false then null'),
    case v_default
      when 'on' then 'permitted_ip.ip_address'
      when 'truncated' then 'audit.network_of(permitted_ip.ip_address)'
      else 'null::text'
    end
  );
end
$$;

comment on function audit.compile_ip_setting() is 'Generates audit.permitted_ip() from the setting ip_addresses.';

select audit.compile_ip_setting();

comment on function audit.permitted_ip(uuid, text) is
  'The address as the organisation''s setting ip_addresses lets it be kept: whole, its network, or not at all. Generated.';

-- Where a row lies is kept in settings, for the next write of the same connection. Anybody may have written there.
create or replace function audit.as_place(value text)
  returns tid
  language sql
  stable
  parallel safe
  return case when translate(value, '0123456789', '') = '(,)' then value::tid end;

comment on function audit.as_place(text) is 'The place of a row (ctid), or null where the text is none.';

create or replace function audit.identify(
  organization_id uuid,
  user_id uuid,
  email text,
  ip_address text,
  user_agent text
)
  returns bytea
  language plpgsql
  set search_path = ''
  set enable_seqscan = off -- a table of few rows is no reason to read it whole when it has many
as $$
#variable_conflict use_column
declare
  v_ip text := audit.permitted_ip(identify.organization_id, identify.ip_address);
  -- Unsalted, so it never leaves the table that holds the values themselves and goes with them.
  v_lookup bytea := sha256(convert_to(row(
    identify.organization_id, identify.user_id, identify.email, v_ip, identify.user_agent
  )::text, 'UTF8'));
  v_hash bytea;
  v_place tid;
  v_salt bytea;
begin
  if identify.email is null and v_ip is null and identify.user_agent is null then
    return null; -- the user id alone stands in the entry itself
  end if;

  -- At SERIALIZABLE a look-up that finds nothing is a predicate lock on the index page that every new identity is
  -- written to, and two of them abort each other; a duplicate row costs less than a failed transaction.
  select i.identity_hash, i.ctid into v_hash, v_place
  from audit.identities i
  where i.lookup = v_lookup and current_setting('transaction_isolation') <> 'serializable'
  limit 1;
  if v_hash is null then
    v_salt := audit.random_salt();
    v_hash := sha256('\x02'::bytea || v_salt || convert_to(audit.identity_text(
      identify.organization_id, identify.user_id, identify.email, v_ip, identify.user_agent
    ), 'UTF8'));
    insert into audit.identities (organization_id, user_id, email, ip_address, user_agent, salt, identity_hash, lookup)
    values (
      identify.organization_id, identify.user_id, identify.email, v_ip, identify.user_agent, v_salt, v_hash, v_lookup
    )
    returning ctid into v_place;
  end if;
  perform set_config('audit.identity_' || left(identify.organization_id::text, 2), v_place::text, false);
  return v_hash;
end
$$;

comment on function audit.identify(uuid, uuid, text, text, text) is
  'Keeps an actor''s personal data once per context and returns the commitment for the entry; null if there is none.';

-- Columns of tracked tables that are declared personal are committed to in the same way, one row a value.
create table if not exists audit.personal_values (
  organization_id uuid not null,
  subject_id uuid,
  resource_type text not null,
  resource_id text,
  column_name text not null,
  value text not null,
  salt bytea not null,
  value_hash bytea not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint salt_has_16_bytes check (octet_length(salt) = 16)
);

comment on table audit.personal_values is 'Values of columns declared personal; entries hold {"personal": hash} instead.';
comment on column audit.personal_values.organization_id is 'The organisation of the entry.';
comment on column audit.personal_values.subject_id is 'The user the row is about, where the table says so.';
comment on column audit.personal_values.resource_type is 'As in the entry.';
comment on column audit.personal_values.resource_id is 'As in the entry.';
comment on column audit.personal_values.column_name is 'The column that held the value.';
comment on column audit.personal_values.value is 'The value.';
comment on column audit.personal_values.salt is '16 random bytes; without them the commitment says nothing.';
comment on column audit.personal_values.value_hash is 'SHA-256(0x02, salt, value); its hex stands in the entry''s details.';
comment on column audit.personal_values.created_at is 'When it was recorded.';

-- Once, as above.
do $$
begin
  if not exists (select from pg_catalog.pg_policy p where p.polrelid = 'audit.personal_values'::regclass) then
    create index personal_values_value_hash_idx on audit.personal_values (value_hash);
    create index personal_values_subject_id_idx on audit.personal_values (subject_id);

    alter table audit.personal_values alter column value set statistics 0, alter column salt set statistics 0;

    alter table audit.personal_values enable row level security;

    create policy "admins and permitted auditors read personal values" on audit.personal_values
      for select to authenticated
      using (
        organization_id = any (array(select audit.admin_organizations()))
        or organization_id = any (array(select audit.auditor_organizations(identities => true)))
      );

    create policy "members read personal values about themselves" on audit.personal_values
      for select to authenticated
      using (
        subject_id = (select auth.uid())
        and organization_id = any (array(select audit.member_organizations()))
      );
  end if;
end
$$;

revoke all on audit.personal_values from public, anon, authenticated, service_role;
grant select on audit.personal_values to authenticated, service_role;

create or replace function audit.commit_personal(
  organization_id uuid,
  subject_id uuid,
  resource_type text,
  resource_id text,
  column_name text,
  value text
)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_salt bytea;
  v_hash bytea;
begin
  if commit_personal.value is null then
    return null;
  end if;
  v_salt := audit.random_salt();
  v_hash := sha256('\x02'::bytea || v_salt || convert_to(commit_personal.value, 'UTF8'));
  insert into audit.personal_values
    (organization_id, subject_id, resource_type, resource_id, column_name, value, salt, value_hash)
  values (
    coalesce(commit_personal.organization_id, audit.system_organization()), commit_personal.subject_id,
    commit_personal.resource_type, commit_personal.resource_id, commit_personal.column_name, commit_personal.value,
    v_salt, v_hash
  );
  return jsonb_build_object('personal', encode(v_hash, 'hex'));
end
$$;

comment on function audit.commit_personal(uuid, uuid, text, text, text, text) is
  'Keeps a personal value apart from the log and returns what stands in the entry: {"personal": "<hash>"}.';
