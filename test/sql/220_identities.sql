-- Personal data apart from the log, and commitments to it.

select is(octet_length(audit.random_salt()), 16, 'a salt has 16 bytes');
select isnt(audit.random_salt(), audit.random_salt(), 'no two salts are alike');

-- What may be kept of an address
create temporary table address (mode text, sent text, kept text);
insert into address values
  ('on', '203.0.113.77', '203.0.113.77'), ('on', 'unknown', 'unknown'), ('truncated', '203.0.113.77', '203.0.113.0'),
  ('truncated', '2001:db8:1:2:3::4', '2001:db8:1::'), ('truncated', 'unknown', null), ('off', '203.0.113.77', null), ('on', null, null);
create function pg_temp.kept(mode text, sent text) returns text language plpgsql as $$
begin
  perform audit.configure('ip_addresses', to_jsonb(mode), tap.globex());
  return audit.permitted_ip(tap.globex(), sent);
end
$$;
select is(pg_temp.kept(mode, sent), kept, format('%s, address %L', mode, sent)) from address;
delete from audit.settings where organization_id = globex();

-- A request makes an identity, the same one again none
create function pg_temp.act(name text, budget text) returns void language plpgsql as $$
begin
  perform tap.act_as(name);
  insert into public.budgets (id, organization_id) values (md5(budget)::uuid, tap.acme());
  perform tap.act_as_owner();
end
$$;
create temporary table known as select count(*) as n from audit.identities;
select pg_temp.act('viewer', 'first'), pg_temp.act('viewer', 'second');
select is((select count(*) from audit.identities), (select n + 1 from known), 'the same person in the same context is kept once');
select is(
  (select count(distinct identity_hash) from public.audit_logs where resource_id in (md5('first')::uuid::text, md5('second')::uuid::text)), 1::bigint,
  'and its entries share the commitment'
);
select results_eq(
  $$
    select i.organization_id, i.user_id, i.email, i.ip_address, i.user_agent
    from public.audit_logs a join audit.identities i using (identity_hash) where a.resource_id = md5('first')::uuid::text
  $$,
  $$ values (acme(), person('viewer'), 'viewer@example.com', '203.0.113.7', 'pgTAP') $$, 'an identity is e-mail, address and user agent of the request'
);
select is_empty(
  $$
    select * from audit.identities
    where identity_hash <> sha256('\x02'::bytea || salt || convert_to(audit.identity_text(organization_id, user_id, email, ip_address, user_agent), 'UTF8'))
  $$,
  'every commitment is SHA-256(0x02, salt, identity text)'
);
select is_empty(
  $$ select * from public.audit_logs a where a.details::text ~ 'example\.com|203\.0\.113' $$, 'no entry holds an e-mail or an address'
);

-- The identity used last is found by its place, and used again only while it still is that one
create function pg_temp.identity_of(budget text) returns audit.identities language sql as $$
  select i from public.audit_logs a join audit.identities i using (identity_hash) where a.resource_id = md5(budget)::uuid::text
$$;
update audit.identities set lookup = '' where identity_hash = (pg_temp.identity_of('second')).identity_hash;
select pg_temp.act('viewer', 'third');
select isnt((pg_temp.identity_of('third')).identity_hash, (pg_temp.identity_of('second')).identity_hash, 'one that is hidden from writers is not used again');
delete from audit.identities where identity_hash = (pg_temp.identity_of('third')).identity_hash;
select pg_temp.act('viewer', 'fourth');
select is((pg_temp.identity_of('fourth')).user_id, person('viewer'), 'nor one that was erased');
select pg_temp.act('admin', 'of another');
select set_config('audit.identity_' || left(acme()::text, 2), i.ctid::text, false)
from audit.identities i where i.identity_hash = (pg_temp.identity_of('of another')).identity_hash;
select pg_temp.act('viewer', 'fifth');
select is((pg_temp.identity_of('fifth')).identity_hash, (pg_temp.identity_of('fourth')).identity_hash, 'nor another''s, whatever a forged place says');
select is(audit.as_place(place), null, format('%L is no place', place)) from (values (''), ('(0,1'), ('nonsense'), ('(a,1)'), (null)) p (place);

insert into public.budgets (id, organization_id) values (md5('without')::uuid, acme());
select is(
  (select identity_hash from public.audit_logs where resource_id = md5('without')::uuid::text), null, 'without personal data there is no commitment'
);
select audit.configure('ip_addresses', '"off"', acme());
select pg_temp.act('member', 'without address');
select is(
  (select i.ip_address from public.audit_logs a join audit.identities i using (identity_hash) where a.resource_id = md5('without address')::uuid::text),
  null, 'where addresses are off none is kept'
);

-- A forged hint of the connection does not make an entry commit to another person
select set_config('audit.identity', encode(i.lookup, 'hex') || (select encode(identity_hash, 'hex') from audit.identities where user_id = person('stranger') limit 1), true)
from audit.identities i where i.user_id = person('viewer') limit 1;
select pg_temp.act('viewer', 'forged');
select isnt(
  (select i.user_id from public.audit_logs a join audit.identities i using (identity_hash) where a.resource_id = md5('forged')::uuid::text),
  person('stranger'), 'a forged setting does not make an entry commit to somebody else'
);

-- Personal values
create table public.contacts (id int primary key, organization_id uuid, user_id uuid, email text);
select audit.track('public.contacts');
insert into public.contacts values (1, acme(), person('member'), 'm@example.com'), (2, acme(), null, null);
select results_eq(
  $$ select organization_id, subject_id, resource_type, resource_id, column_name, value from audit.personal_values where resource_type = 'contact' $$,
  $$ values (acme(), person('member'), 'contact', '1', 'email', 'm@example.com') $$, 'a personal value is kept apart, and null is none'
);
select is(
  (select details #>> '{new,email,personal}' from public.audit_logs where resource_type = 'contact' and resource_id = '1'),
  (select encode(value_hash, 'hex') from audit.personal_values where resource_type = 'contact'), 'its entry holds the commitment'
);
select is_empty(
  $$ select * from audit.personal_values where value_hash <> sha256('\x02'::bytea || salt || convert_to(value, 'UTF8')) $$,
  'every commitment is SHA-256(0x02, salt, value)'
);
update public.contacts set email = 'n@example.com' where id = 1;
select is((select count(*) from audit.personal_values where resource_type = 'contact'), 3::bigint, 'an update commits to the old and the new value');

-- Erasing
delete from audit.identities where user_id = person('viewer');
delete from audit.personal_values where subject_id = person('member');
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'erasing people leaves every chain intact');

-- Constraints
select throws_ok($$ insert into audit.identities (organization_id, salt, identity_hash, lookup) values (acme(), 'short', sha256(''), '') $$, '23514', null, 'a salt of another length is refused');
select throws_ok($$ insert into audit.identities (organization_id, salt, identity_hash, lookup) values (acme(), audit.random_salt(), 'short', '') $$, '23514', null, 'a commitment of another length is refused');
