-- The entry text and its hash, format version 1. FROZEN: sql/FORMAT.md specifies it to the byte, test/vectors hold it,
-- functions/_shared/entry.ts is its twin. A change of a single byte is a new version, never an edit here.
--
-- These are SQL-standard bodies: bound when created, so no search_path can change them, and inlined into the
-- statements that use them. `stable`, because convert_to() and to_json() are; nothing here depends on a session setting:
-- every field is text, a number, a UUID or jsonb. Text is quoted by to_json(); hex, UUIDs, numbers and the few words of
-- outcome and actor_type need no escapes, and to_json() of them costs five times the concatenation. (One format() costs 7 µs; the same by concat() 9, by to_json() of a
-- composite type 9.)

create or replace function audit.entry_text(
  organization_id uuid,
  chain int,
  seq bigint,
  created_at timestamptz,
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
  details jsonb,
  prev_hash bytea
)
  returns text
  language sql
  stable
  parallel safe
  return format(
    '{"v":1,"organization_id":"%s","chain":%s,"seq":%s,"created_at":%s,"action":%s,"outcome":"%s","resource_type":%s,'
      '"resource_id":%s,"created_by":%s,"actor_type":"%s","identity_hash":%s,"provider":%s,"cost":%s,"request_id":%s,'
      '"details":%s,"prev_hash":%s}',
    organization_id, chain, seq, (extract(epoch from created_at) * 1000000)::bigint, to_json(action), outcome,
    coalesce(to_json(resource_type), 'null'), coalesce(to_json(resource_id), 'null'),
    coalesce('"' || created_by || '"', 'null'), actor_type,
    coalesce('"' || encode(identity_hash, 'hex') || '"', 'null'), coalesce(to_json(provider), 'null'),
    coalesce('"' || cost || '"', 'null'), coalesce(to_json(request_id), 'null'), details,
    coalesce('"' || encode(prev_hash, 'hex') || '"', 'null')
  );

comment on function audit.entry_text(
  uuid, int, bigint, timestamptz, text, text, text, text, uuid, text, bytea, text, numeric, text, jsonb, bytea
) is 'The entry text of format version 1: one line of JSON with its fields in a fixed order.';

create or replace function audit.entry_text(entry public.audit_logs)
  returns text
  language sql
  stable
  parallel safe
  return audit.entry_text(
    (entry).organization_id, (entry).chain, (entry).seq, (entry).created_at, (entry).action, (entry).outcome,
    (entry).resource_type, (entry).resource_id, (entry).created_by, (entry).actor_type, (entry).identity_hash,
    (entry).provider, (entry).cost, (entry).request_id, (entry).details, (entry).prev_hash
  );

comment on function audit.entry_text(public.audit_logs) is
  'The exact text that an entry''s hash is over: select audit.entry_text(a) from public.audit_logs a.';

create or replace function audit.hash_of(entry_text text)
  returns bytea
  language sql
  stable
  parallel safe
  return sha256('\x00'::bytea || convert_to(entry_text, 'UTF8'));

comment on function audit.hash_of(text) is
  'SHA-256 of 0x00 and the entry text in UTF-8: the entry''s hash, and its leaf hash by RFC 6962.';

-- In a chain written at once only prev_hash, which stands last, waits for the entry before: the text is made with null
-- in its place, and gets its end when that hash is known. As bytes: cutting text counts its characters, at 13 µs a text.
create or replace function audit.linked_hash(unlinked_text bytea, prev_hash bytea)
  returns bytea
  language sql
  stable
  parallel safe
  return sha256(
    '\x00'::bytea || substring(unlinked_text from 1 for octet_length(unlinked_text) - 5)
      || convert_to('"' || encode(prev_hash, 'hex') || '"}', 'UTF8')
  );

comment on function audit.linked_hash(bytea, bytea) is
  'The hash of an entry whose text, in UTF-8, was made with null as prev_hash, linked to the entry before it.';

create or replace function audit.first_prev_hash(organization_id uuid, chain int)
  returns bytea
  language sql
  stable
  parallel safe
  return sha256(convert_to(concat('supabase-audit-logs chain v1', E'\n', organization_id, E'\n', chain, E'\n'), 'UTF8'));

comment on function audit.first_prev_hash(uuid, int) is 'What entry 1 of a chain has as prev_hash; no two chains share it.';
