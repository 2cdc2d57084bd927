-- The entry text and its hash, format version 1. FROZEN: sql/FORMAT.md specifies it to the byte, test/vectors hold it,
-- functions/_shared/entry.ts is its twin. A change of a single byte is a new version, never an edit here.
--
-- These are SQL-standard bodies: bound when created, so no search_path can change them, and inlined into the
-- statements that use them. `stable`, because convert_to() and to_json() are; nothing here depends on a session setting.

create or replace function audit.entry_body(
  action text,
  outcome text,
  resource_type text,
  resource_id text,
  created_by uuid,
  actor_type text,
  identity_hash bytea,
  provider text,
  cost numeric,
  request_id text,
  details jsonb
)
  returns text
  language sql
  stable
  parallel safe
  return concat(
    ',"action":', to_json(action),
    ',"outcome":', to_json(outcome),
    ',"resource_type":', coalesce(to_json(resource_type), 'null'),
    ',"resource_id":', coalesce(to_json(resource_id), 'null'),
    ',"created_by":', coalesce(to_json(created_by), 'null'),
    ',"actor_type":', to_json(actor_type),
    ',"identity_hash":', coalesce(to_json(encode(identity_hash, 'hex')), 'null'),
    ',"provider":', coalesce(to_json(provider), 'null'),
    ',"cost":', coalesce(to_json(cost::text), 'null'),
    ',"request_id":', coalesce(to_json(request_id), 'null'),
    ',"details":', details
  );

comment on function audit.entry_body(text, text, text, text, uuid, text, bytea, text, numeric, text, jsonb) is
  'The part of the entry text that does not depend on the entry''s place in a chain.';

create or replace function audit.entry_head(organization_id uuid, chain int, seq bigint, created_at timestamptz)
  returns text
  language sql
  stable
  parallel safe
  return concat(
    '{"v":1,"organization_id":"', organization_id,
    '","chain":', chain,
    ',"seq":', seq,
    ',"created_at":', (extract(epoch from created_at) * 1000000)::bigint
  );

comment on function audit.entry_head(uuid, int, bigint, timestamptz) is
  'The beginning of the entry text: version, place and time (microseconds since 1970).';

create or replace function audit.entry_tail(prev_hash bytea)
  returns text
  language sql
  immutable
  parallel safe
  return ',"prev_hash":"' || encode(prev_hash, 'hex') || '"}';

comment on function audit.entry_tail(bytea) is 'The end of the entry text; last, so that a chain of many only appends.';

create or replace function audit.hash_of(entry_text text)
  returns bytea
  language sql
  stable
  parallel safe
  return sha256('\x00'::bytea || convert_to(entry_text, 'UTF8'));

comment on function audit.hash_of(text) is
  'SHA-256 of 0x00 and the entry text in UTF-8: the entry''s hash, and its leaf hash by RFC 6962.';

create or replace function audit.first_prev_hash(organization_id uuid, chain int)
  returns bytea
  language sql
  stable
  parallel safe
  return sha256(convert_to(concat('supabase-audit-logs chain v1', E'\n', organization_id, E'\n', chain, E'\n'), 'UTF8'));

comment on function audit.first_prev_hash(uuid, int) is 'What entry 1 of a chain has as prev_hash; no two chains share it.';

create or replace function audit.entry_text(entry public.audit_logs)
  returns text
  language sql
  stable
  parallel safe
  return concat(
    audit.entry_head((entry).organization_id, (entry).chain, (entry).seq, (entry).created_at),
    audit.entry_body(
      (entry).action, (entry).outcome, (entry).resource_type, (entry).resource_id, (entry).created_by,
      (entry).actor_type, (entry).identity_hash, (entry).provider, (entry).cost, (entry).request_id, (entry).details
    ),
    audit.entry_tail((entry).prev_hash)
  );

comment on function audit.entry_text(public.audit_logs) is
  'The exact text that an entry''s hash is over: select audit.entry_text(a) from public.audit_logs a.';

-- Not inlined (unlike entry_text), so that its cost is seen and large verifications run in parallel.
create or replace function audit.recomputed_hash(entry public.audit_logs)
  returns bytea
  language plpgsql
  stable
  parallel safe
  cost 1000
  set search_path = ''
as $$
begin
  -- A time that the writer cannot have written (tampering) has no entry text; the answer is "no hash", not an error.
  if entry.created_at between '0001-01-01 00:00:00+00' and '9999-12-31 23:59:59.999999+00' then
    return audit.hash_of(audit.entry_text(entry));
  end if;
  return null;
end
$$;

comment on function audit.recomputed_hash(public.audit_logs) is
  'The hash that an entry should have by its columns; verification compares it with the stored one.';
