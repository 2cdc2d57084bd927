-- Verification in the database: every entry's hash is recomputed from its columns, every link followed, from the start or
-- from where a purge has left off, and every head compared. (It runs inside the database it checks; the offline verifier
-- of the archive trusts less.)

create or replace function audit.verify(
  organization uuid default null,
  max_entries bigint default null,
  resume_from text default null
)
  returns table (
    organization_id uuid,
    chain int,
    entries bigint,
    from_seq bigint,
    to_seq bigint,
    status text,
    broken_seq bigint,
    finding text,
    explanation text,
    resume text
  )
  language plpgsql
  stable
  parallel safe
  set search_path = ''
  -- One pass over the log in chain order. Hashing is most of it and runs in parallel, which the planner does not expect
  -- of such short expressions; the sort needs room.
  set work_mem = '64MB'
  set parallel_tuple_cost = 0
  set parallel_setup_cost = 0
as $$
#variable_conflict use_column
declare
  v_from_organization uuid;
  v_from_chain int;
  v_from_seq bigint;
  v_to_organization uuid;
  v_to_chain int;
  v_to_seq bigint;
begin
  if verify.max_entries < 1 then
    perform audit.fail('AUARG', 'max_entries is a positive number, or null for all.');
  end if;
  if verify.resume_from is not null then
    begin
      v_from_organization := split_part(verify.resume_from, '/', 1)::uuid;
      v_from_chain := split_part(verify.resume_from, '/', 2)::int;
      v_from_seq := split_part(verify.resume_from, '/', 3)::bigint;
    exception when others then
      perform audit.fail('AUARG', format('"%s" is no position to resume from.', left(verify.resume_from, 50)), null,
        'Pass the value of column resume of an earlier run.');
    end;
  end if;

  -- The bound as a place, not as a limit: under a limit the planner would sort whole entries before it hashes them.
  if verify.max_entries is not null then
    select a.organization_id, a.chain, a.seq into v_to_organization, v_to_chain, v_to_seq
    from public.audit_logs a
    where (verify.organization is null or a.organization_id = verify.organization)
      and (verify.resume_from is null or (a.organization_id, a.chain, a.seq) >= (v_from_organization, v_from_chain, v_from_seq))
    order by a.organization_id, a.chain, a.seq
    offset verify.max_entries - 1
    limit 1;
  end if;

  return query
  with bounded as (
    select a.organization_id, a.chain, a.seq, a.created_at, a.prev_hash, a.hash,
      -- A time that the writer cannot have written (tampering) has no entry text: no match, rather than an error.
      case
        when a.created_at between '0001-01-01 00:00:00+00' and '9999-12-31 23:59:59.999999+00'
          then a.hash = audit.hash_of(audit.entry_text(
            a.organization_id, a.chain, a.seq, a.created_at, a.action, a.outcome, a.resource_type, a.resource_id,
            a.created_by, a.actor_type, a.identity_hash, a.provider, a.cost, a.request_id, a.details, a.prev_hash
          ))
      end is true as is_as_written
    from public.audit_logs a
    where (verify.organization is null or a.organization_id = verify.organization)
      and (verify.resume_from is null or (a.organization_id, a.chain, a.seq) >= (v_from_organization, v_from_chain, v_from_seq))
      and (v_to_seq is null or (a.organization_id, a.chain, a.seq) <= (v_to_organization, v_to_chain, v_to_seq))
    offset 0 -- keeps the hashing down here, where it runs in parallel
  ),
  linked as (
    select b.organization_id, b.chain, b.seq, b.hash, b.prev_hash, b.created_at,
      case
        when not b.is_as_written then 'hash_mismatch'
        when lag(b.seq) over in_chain = b.seq then 'duplicate'
        when b.seq <> lag(b.seq) over in_chain + 1 then 'gap'
        when b.prev_hash <> lag(b.hash) over in_chain then 'link_mismatch'
        when b.created_at < lag(b.created_at) over in_chain then 'time_reversed'
      end as finding,
      lag(true) over in_chain is null as is_first,
      lead(true) over in_chain is null as is_last
    from bounded b
    window in_chain as (partition by b.organization_id, b.chain order by b.seq)
  ),
  chains as (
    select l.organization_id, l.chain, count(*) as entries, min(l.seq) as from_seq, max(l.seq) as to_seq,
      (array_agg(row(l.hash, l.prev_hash, l.created_at)::text) filter (where l.is_last))[1] as last_entry,
      (array_agg(l.prev_hash) filter (where l.is_first))[1] as first_prev_hash,
      (array_agg(l.created_at) filter (where l.is_first))[1] as first_at,
      min(l.seq) filter (where l.finding is not null) as broken_seq,
      (array_agg(l.finding order by l.seq) filter (where l.finding is not null))[1] as finding
    from linked l
    group by l.organization_id, l.chain
  ),
  -- The last chain of a bounded run may go on behind the bound.
  cut as (
    select c.organization_id, c.chain, c.to_seq
    from chains c
    where c.organization_id = v_to_organization and c.chain = v_to_chain
  ),
  -- Where each chain must begin, behind what was purged, and where it must end.
  known as (
    select n.organization_id, n.chain, h.chain is not null as has_head, h.seq, h.hash, row(h.hash, h.prev_hash, h.last_at)::text as last_entry,
      coalesce(b.seq, 0) as purged, b.hash as purged_hash, b.created_at as purged_at,
      -- The entry that says so, as long as it is there.
      s.details -> 'bounds' @> jsonb_build_array(jsonb_build_array(b.chain, b.seq, encode(b.hash, 'hex'))) as is_as_stated
    from audit.heads h
    full join audit.chain_bounds b on b.organization_id = h.organization_id and b.chain = h.chain
    left join lateral (
      select a.details from public.audit_logs a
      where a.organization_id = b.organization_id and a.chain = b.stated_chain and a.seq = b.stated_seq and a.created_at = b.stated_at
      limit 1
    ) s on true
    cross join lateral (select coalesce(h.organization_id, b.organization_id) as organization_id, coalesce(h.chain, b.chain) as chain) n
    where (verify.organization is null or n.organization_id = verify.organization)
      and (verify.resume_from is null or (n.organization_id, n.chain) >= (v_from_organization, v_from_chain))
      and not exists (select from cut k where (n.organization_id, n.chain) > (k.organization_id, k.chain))
  ),
  compared as (
    select coalesce(c.organization_id, k.organization_id) as organization_id, coalesce(c.chain, k.chain) as chain,
      coalesce(c.entries, 0) as entries, c.from_seq, c.to_seq, c.broken_seq, c.finding,
      k.has_head, k.seq as head_seq, k.purged, coalesce(c.to_seq, k.purged) as last_seq,
      case when c.chain is null then k.hash <> k.purged_hash else k.last_entry <> c.last_entry end as is_other_head,
      x.chain is not null and k.seq > c.to_seq as is_cut, -- by the bound: the head is not reached yet
      case
        when not k.is_as_stated then 'bound_mismatch'
        when c.broken_seq = c.from_seq then null -- whatever it links to
        -- Where an earlier run stopped.
        when (c.organization_id, c.chain, c.from_seq) = (v_from_organization, v_from_chain, v_from_seq) then null
        when c.from_seq <= k.purged then 'purged_before'
        when c.from_seq > coalesce(k.purged, 0) + 1 then 'gap'
        when c.first_prev_hash <> coalesce(k.purged_hash, audit.first_prev_hash(c.organization_id, c.chain)) then 'link_mismatch'
        when c.first_at < k.purged_at then 'time_reversed'
      end as first_finding
    from chains c
    full join known k on k.organization_id = c.organization_id and k.chain = c.chain
    left join cut x on x.organization_id = c.organization_id and x.chain = c.chain
  ),
  judged as (
    select c.organization_id, c.chain, c.entries, c.from_seq, c.to_seq, c.is_cut, c.purged,
      case
        when c.first_finding = 'bound_mismatch' then c.purged
        when c.first_finding is not null then c.from_seq
        when c.finding is not null then c.broken_seq
        when c.is_cut then null
        when c.has_head is not true then c.last_seq
        when c.head_seq > c.last_seq then c.last_seq + 1
        when c.head_seq < c.last_seq then c.head_seq + 1
        when c.is_other_head then c.last_seq
      end as broken_seq,
      case
        when c.first_finding is not null then c.first_finding
        when c.finding is not null then c.finding
        when c.is_cut then null
        when c.has_head is not true then 'head_missing'
        when c.head_seq > c.last_seq then 'tail_missing'
        when c.head_seq < c.last_seq then 'beyond_head'
        when c.is_other_head then 'head_mismatch'
      end as finding
    from compared c
  )
  select j.organization_id, j.chain, j.entries, j.from_seq, j.to_seq,
    case when j.finding is not null then 'broken' when j.is_cut then 'partial' else 'verified' end,
    j.broken_seq, j.finding,
    case j.finding
      when 'hash_mismatch' then 'The entry''s content is not what was hashed when it was written.'
      when 'link_mismatch' then 'The entry does not link to the one before it: one of the two was replaced.'
      when 'gap' then 'One or more entries before this one are missing.'
      when 'duplicate' then 'The same position stands twice.'
      when 'time_reversed' then 'The entry is dated before its predecessor.'
      when 'tail_missing' then 'The chain''s head knows entries from here on, and they are missing.'
      when 'beyond_head' then 'Entries from here on were not written by the writer.'
      when 'head_mismatch' then 'The last entry is not the one that the chain''s head knows.'
      when 'head_missing' then 'The chain has no head: it was not written by the writer, or the head was deleted.'
      when 'bound_mismatch' then 'The boundary of what was purged is not where the log.purged entry says.'
      when 'purged_before' then 'Entries up to the boundary were purged: this one came back.'
    end,
    case when (j.organization_id, j.chain) in (select k.organization_id, k.chain from cut k)
      then concat(j.organization_id, '/', j.chain, '/', j.to_seq) end
  from judged j
  where j.entries > 0 or j.purged > 0 or j.finding is not null
  order by j.organization_id, j.chain;
end
$$;

comment on function audit.verify(uuid, bigint, text) is
  'Recomputes and follows every chain: select * from audit.verify(). One row a chain: verified, partial (the bound was
reached) or broken, with the first broken entry and the kind of break. Bounded by max_entries and resumed from the
value of column resume: select * from audit.verify(max_entries => 100000, resume_from => …).';

create or replace function audit.verify_identities(organization uuid default null)
  returns table (organization_id uuid, identity_hash bytea, state text, entries bigint)
  language sql
  stable
  set search_path = ''
as $$
  with used as (
    select a.organization_id, a.identity_hash, count(*) as entries, max(a.created_at) as last_at, max(a.created_by::text)::uuid as created_by
    from public.audit_logs a
    where a.identity_hash is not null
      and (verify_identities.organization is null or a.organization_id = verify_identities.organization)
    group by a.organization_id, a.identity_hash
  ),
  -- Read only where something is missing.
  erasures as materialized (
    select a.organization_id, a.created_at, a.details
    from public.audit_logs a
    where a.action = 'subject.erased'
      and (verify_identities.organization is null or a.organization_id = verify_identities.organization)
  )
  select u.organization_id, u.identity_hash,
    case
      when count(i.identity_hash) = 0 then case
        when exists (
          select from erasures e
          where e.organization_id = u.organization_id and (
            e.details ->> 'subject' = u.created_by::text and u.last_at <= e.created_at
            or e.details -> 'identities' ? encode(u.identity_hash, 'hex')
          )
        ) then 'erased'
        else 'missing'
      end
      when bool_and(i.organization_id = u.organization_id and u.identity_hash = sha256(
        '\x02'::bytea || i.salt || convert_to(
          audit.identity_text(i.organization_id, i.user_id, i.email, i.ip_address, i.user_agent), 'UTF8'
        )
      )) then 'verified'
      else 'mismatched'
    end,
    u.entries
  from used u
  left join audit.identities i on i.identity_hash = u.identity_hash
  group by u.organization_id, u.identity_hash, u.entries, u.last_at, u.created_by
$$;

comment on function audit.verify_identities(uuid) is
  'Opens every commitment to an identity: verified, erased (a subject.erased entry says so), missing (removed by somebody),
mismatched (tampered).';
