-- What every pgTAP file starts from: two organisations, one person in each role, and a way to act as them.

grant usage on schema tap to public;

create function tap.acme() returns uuid language sql immutable return '0a000000-0000-4000-8000-000000000001'::uuid;
create function tap.globex() returns uuid language sql immutable return '0b000000-0000-4000-8000-000000000002'::uuid;

-- Admin, member, viewer and auditors belong to Acme; the stranger is Globex's admin.
create function tap.person(name text) returns uuid language sql immutable
return case name
  when 'admin' then '10000000-0000-4000-8000-000000000001'
  when 'member' then '20000000-0000-4000-8000-000000000002'
  when 'viewer' then '30000000-0000-4000-8000-000000000003'
  when 'auditor' then '40000000-0000-4000-8000-000000000004'
  when 'seeing_auditor' then '50000000-0000-4000-8000-000000000005'
  when 'expired_auditor' then '60000000-0000-4000-8000-000000000006'
  when 'stranger' then '70000000-0000-4000-8000-000000000007'
end::uuid;

-- As PostgREST would, for the rest of the transaction: select act_as('admin'), act_as('anon'), act_as('service_role').
create function tap.act_as(name text) returns void language plpgsql as $$
declare
  v_role text := case when name in ('anon', 'service_role') then name else 'authenticated' end;
begin
  perform set_config('role', 'none', true);
  perform set_config('request.jwt.claims', json_build_object(
    'role', v_role, 'sub', tap.person(name), 'email', case when v_role = 'authenticated' then name || '@example.com' end
  )::text, true);
  perform set_config('request.headers', '{"x-forwarded-for": "203.0.113.7", "user-agent": "pgTAP", "x-request-id": "req-1"}', true);
  perform set_config('role', v_role, true);
end
$$;

-- Back to postgres, without a request.
create function tap.act_as_owner() returns void language plpgsql as $$
begin
  perform set_config('role', 'none', true);
  perform set_config('request.jwt.claims', '', true);
  perform set_config('request.headers', '', true);
end
$$;

-- The first column of the first row that a statement gives somebody ('owner': postgres), or the code of the error.
create function tap.said(name text, statement text) returns text language plpgsql as $$
declare
  v_said text;
begin
  if name = 'owner' then
    perform tap.act_as_owner();
  else
    perform tap.act_as(name);
  end if;
  begin
    execute statement into v_said;
  exception when others then
    v_said := sqlstate;
  end;
  perform tap.act_as_owner();
  return v_said;
end
$$;

insert into public.organizations (id, name) values (tap.acme(), 'Acme'), (tap.globex(), 'Globex');
insert into public.organization_members (organization_id, user_id, role) values
  (tap.acme(), tap.person('admin'), 'admin'),
  (tap.acme(), tap.person('member'), 'member'),
  (tap.acme(), tap.person('viewer'), 'viewer'),
  (tap.globex(), tap.person('stranger'), 'admin');

-- How much of which organisation each reads.
create table tap.person_reach (name text, organization uuid, reach text);
insert into tap.person_reach
select n, o, case
    when n in ('service_role', 'owner') then 'all'
    when o = tap.acme() and n in ('admin', 'auditor', 'seeing_auditor') or o = tap.globex() and n = 'stranger' then 'all'
    when o = tap.acme() and n = 'member' then 'own'
  end
from unnest(array['admin', 'member', 'viewer', 'auditor', 'seeing_auditor', 'expired_auditor', 'stranger', 'service_role', 'owner']) n, unnest(array[tap.acme(), tap.globex()]) o;

-- Two auditors whose time is not over, one whose is.
select audit.grant_auditor(tap.acme(), tap.person('auditor'), now() + interval '1 day');
select audit.grant_auditor(tap.acme(), tap.person('seeing_auditor'), now() + interval '1 day', true);
insert into audit.auditors (organization_id, user_id, expires_at, sees_identities)
values (tap.acme(), tap.person('expired_auditor'), now() - interval '1 second', true);

-- What each did: the admin and the member something at Acme, the stranger at Globex.
select audit.track('public.organization_members', '{"personal": ["role"]}');
select tap.act_as('admin');
insert into public.budgets (id, organization_id) values ('b0000000-0000-4000-8000-000000000001', tap.acme());
insert into public.organization_members (organization_id, user_id) values (tap.acme(), gen_random_uuid());
select tap.act_as('member');
insert into public.api_keys (id, organization_id) values ('b0000000-0000-4000-8000-000000000002', tap.acme());
select tap.act_as('stranger');
insert into public.budgets (id, organization_id) values ('b0000000-0000-4000-8000-000000000003', tap.globex());
select tap.act_as_owner();

-- A chain of entries from one age to another, as the writer would have made it then.
create function tap.old_entries(organization uuid, chain int, entries int, oldest interval, newest interval default '0') returns void language plpgsql as $$
begin
  grant insert on public.audit_logs, audit.heads to postgres;
  with entry as (
    select n, clock_timestamp() - oldest + (oldest - newest) * ((n - 1)::float8 / entries) as created_at
    from generate_series(1, entries) n
  ),
  linked as materialized (
    select e.*, audit.chained(audit.first_prev_hash(organization, chain), convert_to(audit.entry_text(
      organization, chain, e.n, e.created_at, 'thing.done', 'success', 'thing', 'thing-' || e.n, null, 'system', null, null, null, null,
      '{}', null
    ), 'UTF8')) over (order by e.n) as hashes
    from entry e
  ),
  head as (
    insert into audit.heads (organization_id, chain, seq, last_at, prev_hash, hash)
    select organization, old_entries.chain, l.n, l.created_at, substring(l.hashes from 1 for 32), substring(l.hashes from 33)
    from linked l order by l.n desc limit 1
  )
  insert into public.audit_logs
    (organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, actor_type, details, prev_hash, hash)
  select organization, old_entries.chain, l.n, l.created_at, 'thing.done', 'success', 'thing', 'thing-' || l.n, 'system', '{}',
    substring(l.hashes from 1 for 32), substring(l.hashes from 33)
  from linked l;
end
$$;

-- All that waits is sequenced, published and read back, without the functions that really do it.
create function tap.seal() returns void language plpgsql as $$
begin
  while audit.claim_log('test.example/audit', most_entries => 1000000, due_now => true) is not null loop
    insert into audit.checkpoints (log, size, root, frontier)
    select l.id, l.sequenced, sha256(l.origin::bytea), '' from audit.logs l where l.sequenced > l.published;
    update audit.logs set size = sequenced, published = sequenced, read_back = sequenced, lease_until = '-infinity'
    where sequenced > published;
  end loop;
end
$$;

-- What an organisation has chosen applies at once.
create function tap.set_retention(organization uuid, database_days int, archive_days int default null) returns void language plpgsql as $$
begin
  perform audit.set_retention(organization, database_days, archive_days);
  grant update on audit.retention_periods to postgres;
  update audit.retention_periods set effective_at = clock_timestamp();
end
$$;
