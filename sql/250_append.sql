-- The one writer of the log. Triggers call audit.append() for one row and audit.append_all() for many; applications call
-- audit.record(). All three belong to audit_writer, the only role that can insert.

do $$
begin
  if to_regtype('audit.draft') is null then
    create type audit.draft as (
      organization_id uuid,
      action text,
      outcome text,
      resource_type text,
      resource_id text,
      created_by uuid,
      provider text,
      cost numeric,
      details jsonb,
      suspect boolean
    );
  end if;
end
$$;

comment on type audit.draft is 'What a caller says of an event; the writer adds place, time, context and hashes.';

-- An entry text is at most 65,535 bytes (an archive bundle's length prefix); bounded fields leave this much for details.
create or replace function audit.details_limit()
  returns int
  language sql
  immutable
  parallel safe
  return 57344;

comment on function audit.details_limit() is 'Most bytes of details in an entry; what is larger is cut to a digest.';

create or replace function audit.append(
  organization_id uuid,
  action text,
  outcome text,
  resource_type text,
  resource_id text,
  created_by uuid,
  provider text,
  cost numeric,
  details jsonb,
  suspect boolean, -- some value may hold a secret, or may outgrow the entry
  out chain int,
  out seq bigint,
  out hash bytea
)
  language plpgsql
  security definer -- callers may write the audited table, never the log
  set search_path = ''
  -- A head is a row of a small table with many dead versions: read whole, as the planner would while it is one page, it
  -- costs ten times the one fetch, and takes a predicate lock on all heads at SERIALIZABLE.
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_context audit.statement_context;
  v_identity bytea;
  v_hint text;
  v_place text;
  v_at timestamptz;
  v_prev bytea;
begin
  -- Each expression costs a new transaction 1 to 3 µs and each statement 10 and more, so the usual way through is
  -- short, and what is rare stands behind a condition.
  begin
    v_context := audit.kept_context();
  exception when others then
    v_context := audit.read_context(); -- somebody wrote nonsense into the setting
  end;
  chain := v_context.chain;
  if chain is null then
    chain := audit.transaction_chain();
  end if;
  if organization_id is null then
    organization_id := audit.system_organization();
  end if;
  if v_context.extra is not null then
    details := details || v_context.extra;
  end if;
  if suspect or pg_column_size(details) > 800 then
    if length(cost::text) > 100 then
      details := details || jsonb_build_object('cost', audit.digest_of(cost::text));
      cost := null;
    end if;
    resource_id := audit.masked_text(audit.bounded(resource_id, 500));
    provider := audit.masked_text(audit.bounded(provider, 200));
    details := audit.fitted(audit.masked(details), audit.details_limit());
  end if;
  if v_context.email is not null or v_context.ip_address is not null or v_context.user_agent is not null then
    -- The identity that was used last, if it still is this one. At SERIALIZABLE, too: found by its place, nothing is
    -- locked but itself.
    select i.identity_hash into v_identity
    from audit.identities i
    where i.ctid = audit.as_place(current_setting('audit.identity_' || left(append.organization_id::text, 2), true))
      and i.lookup <> '' and i.organization_id = append.organization_id
      and i.user_id is not distinct from v_context.created_by and i.email is not distinct from v_context.email
      and i.ip_address is not distinct from audit.permitted_ip(append.organization_id, v_context.ip_address)
      and i.user_agent is not distinct from v_context.user_agent;
    if v_identity is null then
      v_identity := audit.identify(
        organization_id, v_context.created_by, v_context.email, v_context.ip_address, v_context.user_agent
      );
    end if;
  end if;

  v_hint := 'audit.head_' || left(organization_id::text, 2);
  v_place := current_setting(v_hint, true);
  loop
    -- The head is addressed by where its last version lies: through its index, a transaction of tens of thousands of
    -- statements would walk all its own dead versions each time. A stale or forged place finds no such head.
    if translate(v_place, '0123456789', '') = '(,)' then
      update audit.heads h set
        seq = h.seq + 1,
        last_at = greatest(h.last_at, v_now),
        prev_hash = h.hash,
        hash = audit.hash_of(audit.entry_text(
          append.organization_id, append.chain, h.seq + 1, greatest(h.last_at, v_now), append.action, append.outcome,
          append.resource_type, append.resource_id, coalesce(v_context.created_by, append.created_by),
          v_context.actor_type, v_identity, append.provider, append.cost, v_context.request_id, append.details, h.hash
        ))
      where h.ctid = v_place::tid and h.organization_id = append.organization_id and h.chain = append.chain
      returning set_config(v_hint, h.ctid::text, false), h.seq, h.last_at, h.prev_hash, h.hash
      into v_place, append.seq, v_at, v_prev, append.hash;
      exit when found;
    end if;
    -- An upsert makes the head or finds it, without the predicate lock that a select would take at SERIALIZABLE.
    insert into audit.heads as h (organization_id, chain, seq, last_at, prev_hash, hash)
    values (
      append.organization_id, append.chain, 0, '-infinity', ''::bytea,
      audit.first_prev_hash(append.organization_id, append.chain)
    )
    on conflict on constraint heads_pkey do update set seq = h.seq
    returning h.ctid::text into v_place;
  end loop;

  insert into public.audit_logs (
    organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, created_by, actor_type,
    identity_hash, provider, cost, request_id, details, prev_hash, hash
  )
  values (
    append.organization_id, append.chain, append.seq, v_at, append.action, append.outcome, append.resource_type,
    append.resource_id, coalesce(v_context.created_by, append.created_by), v_context.actor_type, v_identity,
    append.provider, append.cost, v_context.request_id, append.details, v_prev, append.hash
  );
end
$$;

comment on function audit.append(uuid, text, text, text, text, uuid, text, numeric, jsonb, boolean) is
  'Appends one entry to the organisation''s chain of this connection and returns its place and hash.';

-- The state is the hash before and the hash of an entry, 64 bytes, so that no second window has to look back.
create or replace function audit.chain_step(state bytea, first_prev bytea, unlinked_text bytea)
  returns bytea
  language plpgsql
  stable
  parallel safe
  set search_path = ''
as $$
begin
  return coalesce(substring(state from 33), first_prev)
    || audit.linked_hash(unlinked_text, coalesce(substring(state from 33), first_prev));
end
$$;

comment on function audit.chain_step(bytea, bytea, bytea) is
  'Step of audit.chained(): the hashes of the entry before and of the entry.';

create or replace aggregate audit.chained(first_prev bytea, unlinked_text bytea) (
  sfunc = audit.chain_step,
  stype = bytea
);

comment on aggregate audit.chained(bytea, bytea) is
  'As a window function over entry texts whose prev_hash is null, in order of seq: each entry''s prev_hash and hash, joined.';

-- Events that others tell of (logins, requests in a platform's log) were each somebody's own: they bring their contexts.
create or replace function audit.append_all(drafts audit.draft[], contexts audit.statement_context[] default null)
  returns void
  language plpgsql
  security definer -- callers may write the audited table, never the log
  set search_path = ''
  -- A head is a row of a small table with many dead versions: read whole, as the planner would while it is one page, it
  -- costs ten times the one fetch, and takes a predicate lock on all heads at SERIALIZABLE.
  set enable_seqscan = off
as $$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_context audit.statement_context := audit.context();
  v_chain int := coalesce(v_context.chain, audit.transaction_chain());
begin
  insert into audit.heads as h (organization_id, chain, seq, last_at, prev_hash, hash)
  select o.organization_id, v_chain, 0, '-infinity', ''::bytea, audit.first_prev_hash(o.organization_id, v_chain)
  from (
    select distinct coalesce(d.organization_id, audit.system_organization()) as organization_id
    from unnest(append_all.drafts) d
    order by 1 -- the same order everywhere, should two connections ever share a chain
  ) o
  on conflict on constraint heads_pkey do nothing;

  with head as materialized (
    select h.organization_id, h.seq, h.last_at, h.hash,
      case
        when append_all.contexts is not null then null
        when v_context.email is not null or v_context.ip_address is not null or v_context.user_agent is not null
          then audit.identify(
            h.organization_id, v_context.created_by, v_context.email, v_context.ip_address, v_context.user_agent
          )
      end as identity_hash
    from audit.heads h
    where h.chain = v_chain
      and h.organization_id = any (
        array(select distinct coalesce(d.organization_id, audit.system_organization()) from unnest(append_all.drafts) d)
      )
    for no key update
  ),
  draft as (
    select h.organization_id, h.seq as head_seq, h.hash as head_hash,
      case
        when append_all.contexts is null then h.identity_hash
        else audit.identify(h.organization_id, d.context_user, d.email, d.ip_address, d.user_agent)
      end as identity_hash,
      greatest(h.last_at, v_now) as created_at,
      row_number() over (partition by h.organization_id order by d.n) as n,
      count(*) over (partition by h.organization_id) as total,
      d.action, d.outcome, d.resource_type, coalesce(d.context_user, d.created_by) as created_by, d.actor_type, d.request_id,
      case when d.suspect then audit.masked_text(audit.bounded(d.resource_id, 500)) else d.resource_id end as resource_id,
      case when d.suspect then audit.masked_text(audit.bounded(d.provider, 200)) else d.provider end as provider,
      case when d.suspect and length(d.cost::text) > 100 then null else d.cost end as cost,
      case
        when d.suspect then audit.fitted(
          audit.masked(d.details || coalesce(d.extra, '{}') || case
            when length(d.cost::text) > 100 then jsonb_build_object('cost', audit.digest_of(d.cost::text)) else '{}'
          end), audit.details_limit()
        )
        when d.extra is null then d.details
        else d.details || d.extra
      end as details
    from (
      select u.organization_id, u.action, u.outcome, u.resource_type, u.resource_id, u.created_by, u.provider, u.cost,
        u.details, u.n, u.suspect or pg_column_size(u.details) > 800 as suspect,
        case when append_all.contexts is null then v_context.created_by else u.context_user end as context_user,
        case when append_all.contexts is null then v_context.actor_type else u.actor_type end as actor_type,
        case when append_all.contexts is null then v_context.request_id else u.request_id end as request_id,
        case when append_all.contexts is null then v_context.extra else u.extra end as extra,
        u.email, u.ip_address, u.user_agent
      from unnest(append_all.drafts, append_all.contexts) with ordinality as u (
        organization_id, action, outcome, resource_type, resource_id, created_by, provider, cost, details, suspect,
        context_user, actor_type, email, ip_address, user_agent, request_id, chain, extra, n
      )
    ) d
    join head h on h.organization_id = coalesce(d.organization_id, audit.system_organization())
  ),
  chained as materialized (
    select d.*,
      audit.chained(
        d.head_hash,
        convert_to(audit.entry_text(
          d.organization_id, v_chain, d.head_seq + d.n, d.created_at, d.action, d.outcome, d.resource_type,
          d.resource_id, d.created_by, d.actor_type, d.identity_hash, d.provider, d.cost, d.request_id,
          d.details, null
        ), 'UTF8')
      ) over (partition by d.organization_id order by d.n rows unbounded preceding) as hashes
    from draft d
  ),
  moved as (
    update audit.heads h set
      seq = c.head_seq + c.n, last_at = c.created_at,
      prev_hash = substring(c.hashes from 1 for 32), hash = substring(c.hashes from 33)
    from chained c
    where c.n = c.total and h.organization_id = c.organization_id and h.chain = v_chain
  )
  insert into public.audit_logs (
    organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, created_by, actor_type,
    identity_hash, provider, cost, request_id, details, prev_hash, hash
  )
  select c.organization_id, v_chain, c.head_seq + c.n, c.created_at, c.action, c.outcome, c.resource_type, c.resource_id,
    c.created_by, c.actor_type, c.identity_hash, c.provider, c.cost, c.request_id, c.details,
    substring(c.hashes from 1 for 32), substring(c.hashes from 33)
  from chained c;
end
$$;

comment on function audit.append_all(audit.draft[], audit.statement_context[]) is
  'Appends many entries in one pass, in the order given; a window aggregate carries the hash. Without contexts all are
of the current statement''s; else each has its own, at the same position.';

create or replace function audit.record(
  organization_id uuid,
  action text,
  resource_type text default null,
  resource_id text default null,
  details jsonb default '{}',
  outcome text default 'success',
  provider text default null,
  cost numeric default null,
  out chain int,
  out seq bigint,
  out hash bytea
)
  language plpgsql
  security definer -- callers may record an event, never call the writer
  set search_path = ''
as $$
begin
  if record.action is null or record.action !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' or length(record.action) > 100 then
    perform audit.fail('AUARG', format('%L is no action.', record.action), null,
      'An action is dotted, in lower case and past tense, at most 100 characters: report.generated.');
  end if;
  if record.outcome is null or record.outcome not in ('success', 'failure', 'denied') then
    perform audit.fail('AUARG', format('%L is no outcome.', record.outcome), null, 'It is success, failure or denied.');
  end if;
  if jsonb_typeof(record.details) is distinct from 'object' then
    perform audit.fail('AUARG', 'The details of an entry are a JSON object.', null, 'For example {"report": "monthly"}.');
  end if;
  select a.chain, a.seq, a.hash into record.chain, record.seq, record.hash
  from audit.append(
    record.organization_id, record.action, record.outcome, audit.bounded(record.resource_type, 200), record.resource_id,
    null, record.provider, record.cost, record.details, true
  ) a;
end
$$;

comment on function audit.record(uuid, text, text, text, jsonb, text, text, numeric) is
  'Records what no table shows: select * from audit.record(organization_id, ''report.generated'', ''report'', ''2026-01'').
Returns the entry''s chain, seq and hash as acknowledgement. organization_id null: the system organisation.';

do $$
begin
  alter function audit.append(uuid, text, text, text, text, uuid, text, numeric, jsonb, boolean) owner to audit_writer;
  alter function audit.append_all(audit.draft[], audit.statement_context[]) owner to audit_writer;
end
$$;
