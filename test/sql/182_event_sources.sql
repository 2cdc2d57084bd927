-- Sources of events and their secrets.

create temporary table secret (n int, secret text);
insert into secret values (1, audit.create_event_source('billing', acme(), 100));
select matches(secret, '^whsec_[A-Za-z0-9+/]{43}=$', 'a secret as Standard Webhooks has them') from secret;
select is(octet_length(decode(substring(secret from 7), 'base64')), 32, 'of 32 bytes') from secret;
select is(audit.find_event_source((select secret from secret)), (select id from audit.event_sources where name = 'billing'), 'finds its source');
select is(audit.find_event_source('whsec_other'), null, 'another finds none'), is(audit.find_event_source(''), null, 'nor does none'), is(audit.find_event_source(null), null, 'nor null');
select is(audit.signing_secrets('billing') -> 'secrets', jsonb_build_array((select secret from secret)), 'the Vault has it for signatures');
select is(audit.signing_secrets('nobody'), null, 'nothing for a source that there is not');
select is(audit.signing_secrets('service') -> 'secrets', '[]', 'and for the service key, which does not sign');

-- Rotation
insert into secret values (2, audit.rotate_event_source('billing'));
select isnt(max(secret), min(secret), 'a new secret') from secret;
select is(count(audit.find_event_source(secret)), 2::bigint, 'both are taken') from secret;
select bag_eq($$ select jsonb_array_elements_text(audit.signing_secrets('billing') -> 'secrets') $$, $$ select secret from secret $$, 'both sign');
update audit.event_sources set previous_until = clock_timestamp() where name = 'billing';
select is(array_agg(n) filter (where audit.find_event_source(secret) is not null), array[2], 'until the time is over') from secret;
select is(audit.signing_secrets('billing') -> 'secrets', jsonb_build_array((select secret from secret where n = 2)), 'also for signatures');
insert into secret values (3, audit.rotate_event_source('billing', clock_timestamp()));
select is(array_agg(n) filter (where audit.find_event_source(secret) is not null), array[3], 'or at once') from secret;
select is(count(*), 2::bigint, 'the Vault keeps two of them, no more') from vault.secrets where name like 'audit_source_%';

-- The end
select ok(audit.disable_event_source('billing'), 'it is disabled'), ok(not audit.disable_event_source('billing'), 'once'), ok(not audit.disable_event_source('nobody'), 'if there is one');
select is(count(audit.find_event_source(secret)), 0::bigint, 'its secrets find nothing') from secret;
select is(audit.signing_secrets('billing'), null, 'and sign nothing');
select is(count(*), 0::bigint, 'the Vault has none') from vault.secrets where name like 'audit_source_%';

-- Entries, without secrets
select results_eq(
  $$ select details from public.audit_logs where resource_type = 'event_source' and organization_id = acme() order by created_at, seq limit 1 $$,
  $$ values ('{"created": true, "events_per_minute": 100}'::jsonb || jsonb_build_object('database_role', current_user)) $$, 'each step leaves an entry'
);
select is(count(*), 4::bigint, 'four of them') from public.audit_logs where resource_type = 'event_source' and organization_id = acme();
select is(count(*), 0::bigint, 'none has the secret') from public.audit_logs l, secret s where l::text like '%' || s.secret || '%';

select throws_ok(format('select audit.create_event_source(%L, null, %L)', name, rate), 'AUARG', null, 'no source ' || coalesce(name, 'without a name'))
from (values (null, 1), ('', 1), ('Big', 1), ('a b', 1), ('billing', 1), ('service', 1), ('x', 0), ('y', 10000001), ('z', null)) v (name, rate);
select throws_ok(format('select audit.rotate_event_source(%L)', name), 'AUNOT', null, 'nothing to rotate') from unnest(array['nobody', 'service', null]) name;
select is(said(n, $$ select audit.create_event_source('mine') $$), '42501', format('%s makes no source', n)), is(said(n, 'select count(*) from audit.event_sources'), '42501', 'sees none'),
  is(said(n, $$ select audit.signing_secrets('service') $$), '42501', 'no secret'), is(said(n, $$ select audit.find_event_source('x') $$), '42501', 'and finds none')
from unnest(array['admin', 'member', 'stranger', 'anon', 'service_role']) n;
