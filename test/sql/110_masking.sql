-- What must not enter the log, and what must not burst it.

create temporary table secret (kind text, value text);
insert into secret values
  ('OpenAI', 'sk-proj-abcdefghijklmnop1234'), ('Anthropic', 'sk-ant-api03-abcdefghijklmnop'), ('Perplexity', 'pplx-0123456789abcdef0123'),
  ('Google', 'AIzaSyA0123456789abcdefghijklmnopqrstuv'), ('AWS', 'AKIAIOSFODNN7EXAMPLE'), ('GitHub', 'ghp_0123456789abcdefghijABCDEFGHIJ'),
  ('GitHub fine-grained', 'github_pat_0123456789abcdefghijABCDEFGHIJ'), ('Slack', 'xoxb-0123456789-abcdef'),
  ('Supabase', 'sb_secret_0123456789abcdef'), ('Supabase access', 'sbp_0123456789abcdef0123456789abcdef01234567'),
  ('Stripe', 'sk_live_0123456789abcdefghij'), ('webhook', 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'), ('Hugging Face', 'hf_0123456789abcdefghijABCDEF'),
  ('JWT', 'eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTYifQ.c2lnbmF0dXJl'),
  ('PEM', E'-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEA0Z3VS5JJcds3xfn\n');
select is(audit.masked(jsonb_build_object('k', value)), '{"k": "***"}', 'masked() hides a key: ' || kind) from secret;
select is(
  audit.masked(jsonb_build_object('error', 'key ' || value || ' "refused"')) #>> '{error}' !~ '[A-Za-z0-9]{12}', true,
  'masked() hides it inside a sentence: ' || kind
) from secret;
select is(
  audit.masked(jsonb_build_object(value, 1)), '{"***": 1}', 'masked() hides it in a key of the object: ' || kind
) from secret;
select is(
  audit.masked('{"a": "task-force and risk-assessment", "b": "sk-short", "c": 1.10}'), '{"a": "task-force and risk-assessment", "b": "sk-short", "c": 1.10}',
  'masked() leaves ordinary words'
);
select is(audit.masked('{}'), '{}', 'masked() leaves nothing');
select is(audit.masked(null), null, 'masked() of null is null');

-- Size
select is(
  audit.digest_of('abc'), '{"cut": {"bytes": 3, "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}}',
  'digest_of() tells size and SHA-256'
);
select is(audit.fitted('{"a": 1}', 100), '{"a": 1}', 'fitted() leaves what fits');
select is(
  audit.fitted(jsonb_build_object('small', 1, 'large', repeat('x', 1000), 'larger', repeat('y', 2000)), 1500),
  jsonb_build_object('small', 1, 'large', repeat('x', 1000), 'larger', audit.digest_of(to_jsonb(repeat('y', 2000))::text)),
  'fitted() cuts the largest value and leaves the others'
);
select is(
  audit.fitted(jsonb_build_object('a', jsonb_build_object('b', jsonb_build_object('c', repeat('x', 1000)))), 500) #> '{a,b,c}',
  audit.digest_of(to_jsonb(repeat('x', 1000))::text), 'fitted() reaches into objects'
);
select ok(
  octet_length(audit.fitted((select jsonb_object_agg(n, n) from generate_series(1, 20000) n), 57344)::text) <= 57344,
  'fitted() fits very many small values'
);
select ok(
  octet_length(audit.fitted(jsonb_build_object(repeat('k', 100000), 1), 57344)::text) <= 57344, 'fitted() fits a very long key'
);
select ok(
  octet_length(audit.fitted(
    (select jsonb_object_agg('k' || n, repeat('x', 600)) from generate_series(1, 500) n), 57344
  )::text) <= 57344, 'fitted() fits many middling values'
);
-- The application waits for it, and signed-in users have 8 seconds.
select performs_ok(
  $$ select audit.fitted((select jsonb_object_agg('k' || n, repeat('x', 600)) from generate_series(1, 500) n), 57344) $$, 3000,
  'and does not take long'
);

-- Numbers and JSON
create temporary table number (value numeric, kept text);
insert into number values
  (0, '0'), (1.50, '1.50'), (9007199254740991, '9007199254740991'), (-9007199254740991, '-9007199254740991'),
  (9007199254740992, '"9007199254740992"'), (12345678901234567890, '"12345678901234567890"'), (0.1234567, '0.1234567'),
  (0.1234567890123, '"0.1234567890123"'), (123456789.123456, '123456789.123456'), (1234567890.123456, '"1234567890.123456"'),
  ('NaN', '"NaN"'), ('Infinity', '"Infinity"'), (null, null);
select is(audit.exact_number(value)::text, kept, format('exact_number(%s)', value)) from number;
select is(audit.json_value('{"a": [1, "x"]}'), '{"a": [1, "x"]}', 'json_value() keeps JSON');
select is(audit.json_value('{"a": "\u0000"}'), to_jsonb('{"a": "\u0000"}'::text), 'json_value() keeps as text what jsonb cannot hold');
select is(audit.json_value(null), null, 'json_value() of null is null');

-- The cheap look must not miss what the dear one would replace: the shortest secret of each kind.
create temporary table shortest (kind text, secret text);
insert into shortest values
  ('openai', 'sk-' || repeat('a', 16)), ('perplexity', 'pplx-' || repeat('a', 16)), ('google', 'AIza' || repeat('a', 30)),
  ('aws', 'AKIA' || repeat('A', 16)), ('github', 'ghp_' || repeat('a', 20)), ('github fine-grained', 'github_pat_' || repeat('a', 20)),
  ('slack', 'xoxb-' || repeat('a', 14)), ('supabase secret', 'sb_secret_' || repeat('a', 10)), ('supabase access', 'sbp_' || repeat('a', 20)),
  ('stripe', 'sk_live_' || repeat('a', 16)), ('stripe restricted', 'rk_test_' || repeat('a', 16)), ('webhook', 'whsec_' || repeat('a', 16)),
  ('hugging face', 'hf_' || repeat('a', 20)), ('jwt', 'eyJaaaaaaaa.eyJaaaaaaaa.'), ('private key', '-----BEGIN PRIVATE KEY-----');
select is(audit.masked_text(secret), '***', kind || ': the shortest is masked') from shortest;
select cmp_ok(min(length(secret)), '>=', audit.shortest_secret(), 'none is shorter than shortest_secret() says') from shortest;

create table public.secretive (id int primary key, organization_id uuid, plain text, document jsonb, scalar jsonb, list jsonb, raw json);
select audit.track('public.secretive');
insert into public.secretive
select row_number() over (), acme(), c.plain, c.document, c.scalar, c.list, c.raw
from shortest s
cross join lateral (values
  (s.secret, null::jsonb, null::jsonb, null::jsonb, null::json), (null, jsonb_build_object('k', s.secret), null, null, null),
  (null, null, to_jsonb(s.secret), null, null), (null, null, null, jsonb_build_array(s.secret), null), (null, null, null, null, to_json(s.secret))
) c (plain, document, scalar, list, raw);
do $$
declare
  r record;
begin
  for r in select * from public.secretive loop -- and one row at a time, the other way through the writer
    insert into public.secretive values (r.id + 1000, r.organization_id, r.plain, r.document, r.scalar, r.list, r.raw);
  end loop;
end
$$;
select is((select count(*) from public.audit_logs where resource_type = 'secretive'), 150::bigint, 'each has its entry');
select is_empty(
  $$ select s.kind, a.details from public.audit_logs a join shortest s on strpos(a.details::text, s.secret) > 0 where a.resource_type = 'secretive' $$,
  'no secret enters the log in a text, an object, a list, a scalar or a json column'
);
