-- Makes test/vectors/entries.json: what the database says that entries, chains and commitments are, byte for byte.
-- One statement, one value; test/vectors.test.ts runs it and compares, and rewrites the file where it is asked to.
with recursive draft (
  organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, created_by, actor_type,
  identity_hash, provider, cost, request_id, details
) as (
  values
    -- A chain whose entries are as they usually are.
    ('0a000000-0000-4000-8000-000000000001'::uuid, 3, 1::bigint, '2026-01-31 23:59:59.999999+00'::timestamptz, 'api_key.added', 'success', 'api_key', '6f1c0a52-7a5e-4b8e-9d7b-0a6f3a1d2c4e', '10000000-0000-4000-8000-000000000001'::uuid, 'user', sha256('identity'), 'openai', null::numeric, 'req_8f14e45f', '{"new": {"name": "Production", "key_hash": "9f86d081", "created_at": "2026-01-31T23:59:59.999999Z"}}'::jsonb),
    ('0a000000-0000-4000-8000-000000000001', 3, 2, '2026-02-01 00:00:00+00', 'query.executed', 'success', 'query', '1b4e28ba-2fa1-41d2-883f-0016d3cca427', '10000000-0000-4000-8000-000000000001', 'user', sha256('identity'), 'anthropic', null, 'req_8f14e45f', '{"new": {"model": "claude-sonnet", "parameters": {"temperature": 0.7, "stop": null}}}'),
    ('0a000000-0000-4000-8000-000000000001', 3, 3, '2026-02-01 00:00:00+00', 'query.completed', 'success', 'query', '1b4e28ba-2fa1-41d2-883f-0016d3cca427', '10000000-0000-4000-8000-000000000001', 'user', sha256('identity'), 'anthropic', 0.00123400, 'req_8f14e45f', '{"new": {"success": true, "latency_ms": 812, "prompt_tokens": 1204}}'),
    ('0a000000-0000-4000-8000-000000000001', 3, 4, '2026-02-01 00:00:00.000001+00', 'query.failed', 'failure', 'query', '1b4e28ba-2fa1-41d2-883f-0016d3cca428', null, 'service', null, 'openai', 0, null, '{"new": {"success": false, "error_message": "429 Too Many Requests"}}'),
    ('0a000000-0000-4000-8000-000000000001', 3, 5, '2026-02-01 08:30:00.5+00', 'budget.changed', 'success', 'budget', '42', '10000000-0000-4000-8000-000000000001', 'api_key', null, null, null, null, '{"changes": {"limit_usd": {"old": 100.00, "new": 1000.00}}}'),
    ('0a000000-0000-4000-8000-000000000001', 3, 6, '2026-02-01 08:30:00.5+00', 'access.denied', 'denied', 'report', '2026-01', '30000000-0000-4000-8000-000000000003', 'user', sha256('other identity'), null, null, 'req-2', '{}'),
    -- A chain of everything that text, numbers and JSON can be.
    ('0a000000-0000-4000-8000-000000000001', 0, 1, '4714-11-24 00:00:00+00 BC', 'time.before_christ', 'success', null, null, null, 'system', null, null, null, null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 2, '1969-12-31 23:59:59.999999+00', 'time.before_1970', 'success', null, null, null, 'system', null, null, null, null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 3, '1970-01-01 00:00:00+00', 'time.epoch', 'success', null, null, null, 'system', null, null, null, null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 4, '2026-03-29 03:00:00+02', 'text.empty', 'success', '', '', null, 'database', null, '', null, '', '{"": ""}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 5, '2026-03-29 03:00:00+02', 'text.quotes', 'success', 'it''s', '"quoted" and \ and / and ''', null, 'database', null, '`"\\"`', null, '","prev_hash":"', '{"a\"b": "c\\d", "</script>": "/"}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 6, '2026-03-29 03:00:00+02', 'text.control_characters', 'success', E'\b\f\n\r\t', E'\u0001\u0002\u0003\u0004\u0005\u0006\u0007\u000b\u000e\u000f\u0010\u001b\u001f', null, 'database', null, E'\u007f\u0080\u009f\u00a0', null, E'\n', '{"control": "\u0001\b\f\n\r\t\u001f\u007f"}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 7, '2026-03-29 03:00:00+02', 'text.unicode', 'success', 'Größe', 'naïve café — ﬁ ﬀ', null, 'database', null, '日本語 한국어 العربية עברית', null, 'ẞß İı', '{"ключ": "значение", "é": "e\u0301"}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 8, '2026-03-29 03:00:00+02', 'text.emoji', 'success', '🦕', '👩‍👩‍👧‍👦 🇩🇪 👍🏽', null, 'database', null, '𝒳𝓎𝓏', null, E'\U0010ffff', '{"🦕": "\ud83e\udd95"}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 9, '2026-03-29 03:00:00+02', 'text.separators', 'success', E'\u2028', E'\u2029\u0085', null, 'database', null, E'\ufeffbom\ufeff', null, E'\ufffd\uffff', '{"line": "\u2028", "bom": "\ufeff"}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 10, '2026-03-29 03:00:00+02', 'text.right_to_left', 'success', E'\u202etxt.exe', E'a\u200bb\u200dc\u00ad', null, 'database', null, E'e\u0301', null, E'\u00e9', '{"z\u200bero": "width"}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 11, '2026-03-29 03:00:00+02', 'text.looks_like_json', 'success', 'null', '{"v":1}', null, 'database', null, '[1, 2]', null, 'true', '{"details": "{\"details\": {}}"}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 12, '2026-03-29 03:00:00+02', 'text.spaces', 'success', ' ', '  leading and trailing  ', null, 'database', null, E'\t', null, E'\r\n', '{" ": "  "}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 13, '2026-03-29 03:00:00+02', 'text.long', 'success', repeat('t', 200), repeat('é', 500), null, 'database', null, repeat('🦕', 200), null, repeat('"', 200), jsonb_build_object('long', repeat('x', 5000))),
    ('0a000000-0000-4000-8000-000000000001', 0, 14, '2026-03-29 03:00:00+02', 'cost.zero_with_scale', 'success', null, null, null, 'service', null, null, 0.00, null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 15, '2026-03-29 03:00:00+02', 'cost.negative', 'success', null, null, null, 'service', null, null, -0.10, null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 16, '2026-03-29 03:00:00+02', 'cost.beyond_doubles', 'success', null, null, null, 'service', null, null, 12345678901234567890.123456789012345678, null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 17, '2026-03-29 03:00:00+02', 'cost.tiny', 'success', null, null, null, 'service', null, null, 1e-20, null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 18, '2026-03-29 03:00:00+02', 'cost.huge', 'success', null, null, null, 'service', null, null, 1e40, null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 19, '2026-03-29 03:00:00+02', 'cost.not_a_number', 'success', null, null, null, 'service', null, null, 'NaN', null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 20, '2026-03-29 03:00:00+02', 'cost.infinite', 'success', null, null, null, 'service', null, null, 'Infinity', null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 21, '2026-03-29 03:00:00+02', 'cost.negative_infinite', 'success', null, null, null, 'service', null, null, '-Infinity', null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 22, '2026-03-29 03:00:00+02', 'details.numbers', 'success', null, null, null, 'user', null, null, null, null, '{"one": 1.0, "big": 12345678901234567890, "small": 1e-7, "exact": 0.1000000000000000055511151231257827, "minus": -0, "exponent": 1e21}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 23, '2026-03-29 03:00:00+02', 'details.nested', 'success', null, null, null, 'user', null, null, null, null, '{"a": {"b": {"c": [1, [2, [3, {"d": [null, true, false, "", {}]}]]]}}, "e": []}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 24, '2026-03-29 03:00:00+02', 'details.key_order', 'success', null, null, null, 'user', null, null, null, null, '{"zz": 1, "b": 2, "aaa": 3, "B": 4, "10": 5, "9": 6, "a": 7, "a": 8}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 25, '2026-03-29 03:00:00+02', 'details.personal', 'success', 'member', '7', null, 'user', null, null, null, null, '{"new": {"email": {"personal": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}}}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 26, '2026-03-29 03:00:00+02', 'details.cut', 'success', null, null, null, 'user', null, null, null, null, jsonb_build_object('new', jsonb_build_object('config', audit.digest_of(repeat('x', 100000))))),
    ('0a000000-0000-4000-8000-000000000001', 0, 27, '2255-06-05 23:47:34.740993+00', 'time.beyond_doubles', 'success', null, null, null, 'system', null, null, null, null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 28, '9999-12-31 23:59:59.999999+00', 'time.four_digits', 'success', null, null, null, 'system', null, null, null, null, '{}'),
    ('0a000000-0000-4000-8000-000000000001', 0, 29, '200000-02-29 00:00:00.000001+00', 'time.six_digits', 'success', null, null, null, 'system', null, null, null, null, '{}'),
    -- The system organisation, and the last of chains.
    ('00000000-0000-0000-0000-000000000000', 0, 1, '2026-01-01 00:00:00+00', 'capture.tracked', 'success', 'table', 'api_keys', null, 'database', null, null, null, null, '{"database_role": "postgres"}'),
    ('00000000-0000-0000-0000-000000000000', 0, 2, '2026-01-01 00:00:00+00', 'capture.untracked', 'success', 'table', 'api_keys', null, 'database', null, null, null, null, '{"database_role": "postgres"}'),
    ('ffffffff-ffff-ffff-ffff-ffffffffffff', 2147483647, 1, '2026-01-01 00:00:00+00', 'chain.last', 'success', null, null, 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'user', '\xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff', null, null, null, '{}')
),
chained (entry) as (
  select row(
    d.organization_id, d.chain, d.seq, d.created_at, d.action, d.outcome, d.resource_type, d.resource_id, d.created_by,
    d.actor_type, d.identity_hash, d.provider, d.cost, d.request_id, d.details,
    audit.first_prev_hash(d.organization_id, d.chain), null
  )::public.audit_logs
  from draft d
  where d.seq = 1
  union all
  select row(
    d.organization_id, d.chain, d.seq, d.created_at, d.action, d.outcome, d.resource_type, d.resource_id, d.created_by,
    d.actor_type, d.identity_hash, d.provider, d.cost, d.request_id, d.details,
    audit.hash_of(audit.entry_text(c.entry)), null
  )::public.audit_logs
  from chained c
  join draft d on d.organization_id = (c.entry).organization_id and d.chain = (c.entry).chain and d.seq = (c.entry).seq + 1
),
identity (organization_id, user_id, email, ip_address, user_agent, salt) as (
  values
    ('0a000000-0000-4000-8000-000000000001'::uuid, '10000000-0000-4000-8000-000000000001'::uuid, 'alice@acme.example', '203.0.113.7', 'Mozilla/5.0 (X11; Linux x86_64)', '\x000102030405060708090a0b0c0d0e0f'::bytea),
    ('0a000000-0000-4000-8000-000000000001', null, null, '2001:db8::', null, '\xffffffffffffffffffffffffffffffff'),
    ('00000000-0000-0000-0000-000000000000', null, E'"zoë"@exämple.com\n', '', '🦕 \', '\x00000000000000000000000000000000')
),
personal (value, salt) as (
  values
    ('alice@acme.example', '\x000102030405060708090a0b0c0d0e0f'::bytea),
    ('', '\x00000000000000000000000000000000'),
    (E'Zoë "🦕"\n', '\xffffffffffffffffffffffffffffffff')
)
select concat(
  E'{\n"entries": [\n',
  (
    select string_agg(
      json_build_object(
        'row', json_build_object(
          'organization_id', (c.entry).organization_id, 'chain', (c.entry).chain, 'seq', (c.entry).seq,
          'created_at', (extract(epoch from (c.entry).created_at) * 1000000)::bigint::text,
          'action', (c.entry).action, 'outcome', (c.entry).outcome,
          'resource_type', (c.entry).resource_type, 'resource_id', (c.entry).resource_id,
          'created_by', (c.entry).created_by, 'actor_type', (c.entry).actor_type,
          'identity_hash', encode((c.entry).identity_hash, 'hex'), 'provider', (c.entry).provider,
          'cost', (c.entry).cost::text, 'request_id', (c.entry).request_id,
          'details', (c.entry).details::text, 'prev_hash', encode((c.entry).prev_hash, 'hex')
        ),
        'text', audit.entry_text(c.entry),
        'hash', encode(audit.hash_of(audit.entry_text(c.entry)), 'hex')
      )::text,
      E',\n' order by (c.entry).organization_id, (c.entry).chain, (c.entry).seq
    )
    from chained c
  ),
  E'\n],\n"identities": [\n',
  (
    select string_agg(
      json_build_object(
        'identity', json_build_object(
          'organization_id', i.organization_id, 'user_id', i.user_id, 'email', i.email,
          'ip_address', i.ip_address, 'user_agent', i.user_agent
        ),
        'salt', encode(i.salt, 'hex'),
        'text', t.text,
        'hash', encode(sha256('\x02'::bytea || i.salt || convert_to(t.text, 'UTF8')), 'hex')
      )::text,
      E',\n' order by i.organization_id, i.salt
    )
    from identity i
    cross join lateral audit.identity_text(i.organization_id, i.user_id, i.email, i.ip_address, i.user_agent) t (text)
  ),
  E'\n],\n"personal_values": [\n',
  (
    select string_agg(
      json_build_object(
        'value', p.value,
        'salt', encode(p.salt, 'hex'),
        'hash', encode(sha256('\x02'::bytea || p.salt || convert_to(p.value, 'UTF8')), 'hex')
      )::text,
      E',\n' order by p.salt
    )
    from personal p
  ),
  E'\n]\n}\n'
);
