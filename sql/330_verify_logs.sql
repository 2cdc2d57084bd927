-- Verification of the logs in the database: every Merkle root recomputed from the entries, and what was recorded and
-- signed compared with it. It believes the database it runs in: whoever rewrites entries, ranges and checkpoints alike is
-- found with the archive and the key (332_read_back.sql, the offline verifier), and not here.

create or replace function audit.log_leaves(log int)
  returns table (index bigint, chain int, seq bigint, kept_hash bytea, hash bytea)
  language plpgsql
  stable
  set search_path = ''
  -- As in audit.verify(): hashing runs in parallel, which the planner does not expect of such short expressions.
  set work_mem = '64MB'
  set parallel_tuple_cost = 0
  set parallel_setup_cost = 0
as $$
#variable_conflict use_column
declare
  v_log audit.logs;
begin
  select l.* into strict v_log from audit.logs l where l.id = log_leaves.log;
  if v_log.month is null then
    return query
    select i.index, null::int, null::bigint, null::bytea, audit.hash_of(a.entry)
    from generate_series(0, v_log.size - 1) i (index)
    left join audit.anchor_entries a on a.index = i.index;
    return;
  end if;
  return query
  with entry as (
    select a.chain, a.seq, a.hash as kept_hash,
      audit.hash_of(audit.entry_text(
        a.organization_id, a.chain, a.seq, a.created_at, a.action, a.outcome, a.resource_type, a.resource_id,
        a.created_by, a.actor_type, a.identity_hash, a.provider, a.cost, a.request_id, a.details, a.prev_hash
      )) as hash
    from public.audit_logs a
    where a.organization_id = v_log.organization_id and a.created_at between v_log.first_at and v_log.last_at
    offset 0 -- keeps the hashing down here, where it runs in parallel
  )
  select r.start + s.seq - r.from_seq, r.chain, s.seq, e.kept_hash, e.hash
  from audit.log_ranges r
  cross join lateral generate_series(r.from_seq, least(r.to_seq, r.from_seq + v_log.size - 1 - r.start)) s (seq)
  left join entry e on e.chain = r.chain and e.seq = s.seq
  where r.log = v_log.id;
end
$$;

comment on function audit.log_leaves(int) is
  'Of each index of a log, in no order: its entry, the hash that was written with it, and the hash recomputed; null where it is gone.';

create or replace function audit.merkle_step(smaller bytea, larger bytea)
  returns bytea
  language sql
  immutable
  parallel safe
  return coalesce(sha256('\x01'::bytea || larger || smaller), larger);

comment on function audit.merkle_step(bytea, bytea) is
  'The root over a perfect subtree and all that stands to its right (RFC 6962, section 2.1).';

create or replace aggregate audit.merkle_root(bytea) (sfunc = audit.merkle_step, stype = bytea, parallel = safe);

comment on aggregate audit.merkle_root(bytea) is
  'The root over the perfect subtrees that a tree consists of, from the smallest to the largest.';

create or replace function audit.log_trees(log int)
  returns table (size bigint, root bytea, frontier bytea)
  language sql
  stable
  set search_path = ''
  set work_mem = '64MB'
as $$
  with recursive node as (
    select 0 as height, l.index, l.hash
    from audit.log_leaves(log_trees.log) l
    union all
    -- A level at a time: a node that stands alone at its end is part of no perfect subtree.
    select n.height + 1, n.index / 2, sha256('\x01'::bytea || n.hash || n.right_hash)
    from (
      select n.height, n.index, n.hash, lead(n.hash) over level as right_hash, lead(true) over level as has_right
      from node n
      window level as (order by n.index)
    ) n
    where n.index % 2 = 0 and n.has_right
  )
  -- A tree consists of a perfect subtree of height h for each bit h of its size.
  select c.size,
    case when bool_and(n.hash is not null) then audit.merkle_root(n.hash order by n.height) end,
    case when bool_and(n.hash is not null) then string_agg(n.hash, ''::bytea order by n.height desc) end
  from (
    select c.size, h.height, (c.size >> h.height) - 1 as index
    from audit.checkpoints c
    cross join generate_series(0, 62) h (height)
    where c.log = log_trees.log and (c.size >> h.height) % 2 = 1
  ) c
  left join node n on n.height = c.height and n.index = c.index
  group by c.size
$$;

comment on function audit.log_trees(int) is
  'Root and frontier of a log at the size of each of its checkpoints, recomputed from the entries; null where entries are gone.';

create or replace function audit.entry_at(log int, index bigint)
  returns text
  language sql
  stable
  set search_path = ''
as $$
  select concat(r.chain, '-', r.from_seq + entry_at.index - r.start)
  from audit.log_ranges r
  where r.log = entry_at.log and r.start <= entry_at.index
  order by r.start desc
  limit 1
$$;

comment on function audit.entry_at(int, bigint) is 'The name of the entry that stands at an index of a log.';

create or replace function audit.verify_ranges(log int, out finding text, out broken_entry text)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_log audit.logs;
begin
  select l.* into strict v_log from audit.logs l where l.id = verify_ranges.log;
  if v_log.month is null then
    if (select count(*) from audit.anchor_entries a where a.index < v_log.sequenced) <> v_log.sequenced then
      finding := 'ranges_broken';
    end if;
    return;
  end if;
  select
    case when r.start <> r.due then 'ranges_broken' else 'entries_skipped' end,
    case when r.from_seq is not null then concat(r.chain, '-', r.from_seq) end
  into finding, broken_entry
  from (
    select r.start, r.chain, r.from_seq,
      coalesce(sum(r.to_seq - r.from_seq + 1) over (order by r.start rows between unbounded preceding and 1 preceding), 0) as due,
      (
        select max(b.to_seq) from audit.log_ranges b
        where b.organization_id = r.organization_id and b.chain = r.chain and b.from_seq < r.from_seq
      ) as to_seq_before
    from (
      select r.* from audit.log_ranges r where r.log = v_log.id
      union all
      select v_log.id, v_log.sequenced, null, null, null, null -- where the next range would begin
    ) r
  ) r
  where r.start <> r.due or r.from_seq <> r.to_seq_before + 1
  order by r.start
  limit 1;
end
$$;

comment on function audit.verify_ranges(int) is
  'The first place where the ranges of a log leave an index out or name it twice, or where a chain does not go on where it was left.';

create or replace function audit.verify_opening(log int)
  returns boolean
  language sql
  stable
  set search_path = ''
as $$
  -- Null where the entry is gone, or where there is none.
  select e.entry::jsonb -> 'action' = '"log.opened"' and (e.entry::jsonb -> 'details') - 'incarnation' = jsonb_build_object(
    'origin', l.origin,
    'previous', (
      select jsonb_build_object('origin', b.origin, 'size', b.size, 'root', encode(c.root, 'base64'))
      from audit.logs b
      join audit.checkpoints c on c.log = b.id and c.size = b.size
      where b.organization_id = l.organization_id and b.month < l.month
      order by b.month desc
      limit 1
    )
  )
  from audit.logs l
  cross join lateral audit.log_entries(l.id, 0, 1) e
  where l.id = verify_opening.log and l.month is not null
$$;

comment on function audit.verify_opening(int) is
  'Whether the first entry of a log commits to the last checkpoint of the log before it.';

create or replace function audit.verify_log(
  log int,
  out status text,
  out finding text,
  out explanation text,
  out broken_entry text
)
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_log audit.logs;
  v_trees record;
  -- Where the first entry is that is not as it was sealed: from this index to before that one.
  v_from bigint := 0;
  v_to bigint;
  v_missing bigint;
  v_lost bigint;
  v_altered bigint;
begin
  select l.* into strict v_log from audit.logs l where l.id = verify_log.log;
  if v_log.archive_deleted_at is not null then
    status := 'expired';
    explanation := 'The log is past its retention: entries and archive were deleted, its last checkpoint is kept.';
    return;
  end if;
  select r.finding, r.broken_entry into finding, broken_entry from audit.verify_ranges(v_log.id) r;

  if finding is null then
    select coalesce(bool_or(c.tree_root is null), false) as is_partial,
      min(c.size) filter (where c.tree_root <> c.root and not c.signs_tree) as wrong_root,
      array_agg(c.size) filter (where c.tree_root = c.root) as right_roots,
      min(c.size) filter (
        where (c.tree_root <> c.root or c.tree_frontier <> c.frontier) and c.signs_tree or not c.signs_root
      ) as wrong_checkpoint,
      coalesce(array_agg(c.size), '{}') || 0::bigint @> array[v_log.size, v_log.published] as has_last
    into v_trees
    from (
      select c.size, c.root, c.frontier, t.root as tree_root, t.frontier as tree_frontier,
        c.note is null and c.size > v_log.published or starts_with(c.note, n.head || encode(c.root, 'base64') || n.neck) is true as signs_root,
        c.note is null or starts_with(c.note, n.head || encode(t.root, 'base64') || n.neck) as signs_tree
      from audit.checkpoints c
      join audit.log_trees(v_log.id) t on t.size = c.size
      cross join lateral (select concat(v_log.origin, E'\n', c.size, E'\n') as head, E'\n\n' as neck) n
      where c.log = v_log.id
    ) c;

    if v_trees.is_partial or v_trees.wrong_root is not null then
      v_to := coalesce(v_trees.wrong_root, v_log.size);
      v_from := coalesce((select max(s) from unnest(v_trees.right_roots) s where s < v_to), 0);
      select min(l.index) filter (where l.hash is null),
        min(l.index) filter (where l.hash is null and l.seq <= b.seq is not true),
        min(l.index) filter (where l.hash <> l.kept_hash and l.index >= v_from and l.index < v_to)
      into v_missing, v_lost, v_altered
      from audit.log_leaves(v_log.id) l
      left join audit.chain_bounds b on b.organization_id = v_log.organization_id and b.chain = l.chain;
    end if;

    finding := case
      when v_lost is not null then 'entries_missing'
      when v_altered is not null or v_trees.wrong_root is not null then 'entry_altered'
      when not v_trees.has_last then 'checkpoint_missing'
      when v_trees.wrong_checkpoint is not null then 'checkpoint_altered'
      when not audit.verify_opening(v_log.id) then 'opening_altered'
    end;
    broken_entry := case finding
      when 'entries_missing' then audit.entry_at(v_log.id, v_lost)
      when 'entry_altered' then audit.entry_at(v_log.id, coalesce(v_altered, case when v_to = v_from + 1 then v_from end))
      when 'opening_altered' then audit.entry_at(v_log.id, 0)
    end;
  end if;

  status := case
    when finding is not null then 'broken'
    when v_log.size = 0 then 'pending'
    when v_missing is not null then 'partial'
    else 'verified'
  end;
  explanation := case finding
    when 'ranges_broken' then 'From here on the ranges do not say of each index which entry stands there, once.'
    when 'entries_skipped' then 'Entries before this one in its chain stand in no log: they were gone when they were to be sealed, or their range is.'
    when 'entries_missing' then 'The entry is gone, and it is not among those that were purged.'
    when 'entry_altered' then case
      when broken_entry is not null then 'The entry''s content is not what was sealed.'
      else format(
        'One of the entries from index %s (%s) to %s (%s) is not what was sealed, and was hashed again: the archive tells which.',
        v_from, audit.entry_at(v_log.id, v_from), v_to - 1, audit.entry_at(v_log.id, v_to - 1)
      )
    end
    when 'checkpoint_missing' then 'There is no checkpoint of the size that the log has.'
    when 'checkpoint_altered' then format(
      'The checkpoint of size %s does not say, or its note does not, what the tree of the entries is.',
      v_trees.wrong_checkpoint
    )
    when 'opening_altered' then 'The first entry does not commit to the last checkpoint of the log before, or that checkpoint is not the last.'
    else case when v_missing is not null then 'Entries were purged from the database, so no root can be made of them: the archive has them.' end
  end;
end
$$;

comment on function audit.verify_log(int) is 'What audit.verify_logs() says of one log.';

create or replace function audit.verify_logs(organization uuid default null)
  returns table (
    organization_id uuid,
    origin text,
    size bigint,
    status text,
    broken_entry text,
    finding text,
    explanation text
  )
  language sql
  stable
  set search_path = ''
as $$
  select l.organization_id, l.origin, l.size, v.status, v.broken_entry, v.finding, v.explanation
  from audit.logs l
  cross join lateral audit.verify_log(l.id) v
  where verify_logs.organization is null or l.organization_id = verify_logs.organization
  order by l.organization_id, l.month
$$;

comment on function audit.verify_logs(uuid) is
  'Recomputes every Merkle root from the entries: select * from audit.verify_logs(). One row a log: verified, partial
(entries were purged, the rest was checked), expired (so was the archive), pending (nothing sealed yet) or broken, with what
was found first. Without the
archive and the key it believes the database: npm run verify does not.';
