-- Personal data goes with the last entry that commits to it, and not before.

-- An entry of some age that commits to an identity and to values.
create function pg_temp.entry(chain int, age interval, user_agent text, details jsonb default '{}', resource_id text default 'x') returns bytea language plpgsql as $$
declare
  v_identity bytea := audit.identify(tap.acme(), tap.person('admin'), 'admin@example.com', null, user_agent);
  v_prev bytea := audit.first_prev_hash(tap.acme(), chain);
  v_at timestamptz := clock_timestamp() - age;
  v_hash bytea := audit.hash_of(audit.entry_text(
    tap.acme(), chain, 1, v_at, 'thing.done', 'success', 'thing', resource_id, null, 'user', v_identity, null, null, null, details, v_prev
  ));
begin
  insert into public.audit_logs (organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, actor_type, identity_hash, details, prev_hash, hash)
  values (tap.acme(), chain, 1, v_at, 'thing.done', 'success', 'thing', resource_id, 'user', v_identity, details, v_prev, v_hash);
  insert into audit.heads (organization_id, chain, seq, last_at, prev_hash, hash) values (tap.acme(), chain, 1, v_at, v_prev, v_hash);
  return v_identity;
end
$$;
create function pg_temp.value(age interval, value text, resource_id text default 'x') returns jsonb language plpgsql as $$
declare
  v_value jsonb := audit.commit_personal(tap.acme(), null, 'thing', resource_id, 'name', value);
begin
  update audit.personal_values set created_at = clock_timestamp() - age - interval '1 second' where value_hash = decode(v_value ->> 'personal', 'hex');
  return v_value;
end
$$;
create function pg_temp.known() returns text language sql as $$
  select string_agg(i.user_agent || case when i.lookup = '' then ' (unused)' else '' end, ', ' order by i.user_agent)
  from audit.identities i where i.user_agent like 'agent%'
$$;
create function pg_temp.later(wait interval) returns void language sql as $$
  update audit.identities set check_at = check_at - wait
$$;

grant insert on public.audit_logs, audit.heads to postgres;
create temporary table value as
  select n, pg_temp.value(case when n like 'new%' then '0' else '300 days' end::interval, n) as v
  from unnest(array['old', 'old in a change', 'old in an array', 'new']) n;
select isnt(pg_temp.entry(900001, '300 days', 'agent old', jsonb_build_object('new', jsonb_build_object('name', v))), null, 'an old entry') from value where n = 'old';
select isnt(pg_temp.entry(900002, '300 days', 'agent old and new', jsonb_build_object('changes', jsonb_build_object('name', jsonb_build_object('old', v)))), null, 'another') from value where n = 'old in a change';
select isnt(pg_temp.entry(900003, '0', 'agent old and new'), null, 'a new one by the same person');
-- It names a value of a later entry, as whoever writes the details could.
select isnt(pg_temp.entry(900004, '299 days', 'agent twice', jsonb_build_object('list', jsonb_build_array(1, o.v), 'stolen', n.v)), null, 'a third') from value o, value n where o.n = 'old in an array' and n.n = 'new';
select isnt(pg_temp.entry(900005, '0', 'agent new', jsonb_build_object('new', jsonb_build_object('name', v))), null, 'a new one') from value where n = 'new';
insert into audit.identities (organization_id, user_id, email, ip_address, user_agent, salt, identity_hash, lookup)
  select organization_id, user_id, email, ip_address, user_agent, salt, identity_hash, lookup from audit.identities where user_agent = 'agent twice';
-- Details that were cut do not name their values.
create temporary table cut as select pg_temp.value('300 days', 'cut', 'cut') as v;
select isnt(pg_temp.entry(900006, '300 days', 'agent cut', '{"new": {"cut": {"bytes": 100000, "sha256": "a"}}}', 'cut'), null, 'one that was cut to fit');
select seal(), audit.index_entries();

select set_retention(acme(), 90);
select is(audit.purge(), 4, 'the old ones are purged');
select is((select string_agg(value, ', ' order by value) from audit.personal_values where resource_type = 'thing'), 'new', 'and with them their values, but none of a later entry');
select is(pg_temp.known(), 'agent cut (unused), agent new, agent old (unused), agent old and new, agent twice (unused), agent twice (unused)', 'identities that no entry commits to are marked');
select is_empty($$ select * from audit.verify_identities(tap.acme()) where state <> 'verified' $$, 'every entry that is left opens');
select isnt(audit.identify(acme(), person('admin'), 'admin@example.com', null, 'agent old'), i.identity_hash, 'no writer finds one that is marked') from audit.identities i where i.user_agent = 'agent old' and i.lookup = '';
select is(audit.identify(acme(), person('admin'), 'admin@example.com', null, 'agent old and new'), i.identity_hash, 'but one that is not') from audit.identities i where i.user_agent = 'agent old and new';
delete from audit.identities where user_agent = 'agent old' and lookup <> '';

select audit.purge();
select is(pg_temp.known() ~ 'unused', true, 'they stay for a day');
select pg_temp.later('23 hours');
select audit.purge();
select is(pg_temp.known() ~ 'unused', true, 'not an hour less');
-- A writer that had found it before has committed meanwhile.
create temporary table late as select identity_hash from audit.identities where user_agent = 'agent cut';
update audit.identities set lookup = sha256(convert_to(row(organization_id, user_id, email, ip_address, user_agent)::text, 'UTF8')) where user_agent = 'agent cut';
select is(pg_temp.entry(900007, '0', 'agent cut'), identity_hash, 'an entry that nobody saw then') from late;
select pg_temp.later('2 hours');
select audit.place_hold(acme(), 'Case', 'Court order');
select audit.purge();
select is(pg_temp.known() ~ 'old \(unused\)', true, 'a hold keeps them');
select audit.release_hold(acme(), 'Case');
select pg_temp.later('1 day');
select audit.purge();
select is(pg_temp.known(), 'agent cut, agent new, agent old and new', 'after a day they are gone, but not one that came into use');
select is_empty($$ select * from audit.verify_identities(tap.acme()) where state <> 'verified' $$, 'and all that is left opens');

-- However far the search index is
select audit.rebuild_search_index();
select results_eq(
  $$ select unnest(audit.identities_in_use(tap.acme(), array(select identity_hash from audit.identities) || sha256('none'))) order by 1 $$,
  $$ select distinct a.identity_hash from public.audit_logs a where a.organization_id = tap.acme() and a.identity_hash is not null order by 1 $$,
  'what is in use is found without the index'
);
select audit.index_entries(3);
select results_eq(
  $$ select unnest(audit.identities_in_use(tap.acme(), array(select identity_hash from audit.identities) || sha256('none'))) order by 1 $$,
  $$ select distinct a.identity_hash from public.audit_logs a where a.organization_id = tap.acme() and a.identity_hash is not null order by 1 $$,
  'with half of it'
);
select audit.index_entries();
select results_eq(
  $$ select unnest(audit.identities_in_use(tap.acme(), array(select identity_hash from audit.identities) || sha256('none'))) order by 1 $$,
  $$ select distinct a.identity_hash from public.audit_logs a where a.organization_id = tap.acme() and a.identity_hash is not null order by 1 $$,
  'and with all of it'
);
select is(audit.identities_in_use(globex(), array(select identity_hash from audit.identities where user_agent = 'agent new')), null, 'in its own organisation');
select is(audit.identities_in_use(acme(), '{}'), null, 'none of none');
select is(audit.identities_in_use(gen_random_uuid(), array(select identity_hash from audit.identities)), null, 'nor of an organisation without entries');

-- Who may
select is(said(name, format('select audit.release_identities(%L, ''{}'')', acme())), '42501', name || ' may not release identities') from unnest(array['anon', 'member', 'admin', 'service_role']) name;
