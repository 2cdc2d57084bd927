-- The search index: which entries hold which words and values. It is made behind the writers, a few seconds late, by
-- audit.index_entries(), so it costs a write nothing; entries that it does not have yet are found by reading them
-- (sql/README.md, "Search", has the measurements).
--
-- It only finds candidates: every result is read from the log, by the caller's own rights, and compared exactly. So it
-- may be lost, late or emptied (audit.rebuild_search_index()) without a single wrong answer.

-- One that was made before costs and numbers were indexed is made anew.
do $$
begin
  if to_regclass('audit.search_index') is not null
    and not exists (
      select from pg_attribute a
      where a.attrelid = to_regclass('audit.search_index') and a.attname = 'cost' and not a.attisdropped
    )
  then
    drop table audit.search_index, audit.search_positions;
    drop function audit.search_seed(uuid, timestamptz);
    drop function audit.cost_bucket(numeric), audit.month_condition(timestamp), audit.term_condition(uuid, jsonb, timestamptz);
  end if;
end
$$;

create table if not exists audit.search_index (
  organization_id uuid not null,
  created_at timestamptz not null,
  chain int not null,
  seq bigint not null,
  cost numeric,
  terms int[] not null
);

comment on table audit.search_index is 'What each entry can be found by. Derived from the log, and disposable.';
comment on column audit.search_index.organization_id is 'The organisation of the entry.';
comment on column audit.search_index.created_at is 'The entry''s time.';
comment on column audit.search_index.chain is 'The entry''s chain.';
comment on column audit.search_index.seq is 'The entry''s position in its chain.';
comment on column audit.search_index.cost is 'The entry''s cost, to sort by.';
comment on column audit.search_index.terms is 'Hashes of its words, paths, values and numbers, salted with organisation and week.';

create table if not exists audit.search_positions (
  organization_id uuid not null,
  chain int not null,
  seq bigint not null,
  last_at timestamptz not null,
  constraint search_positions_pkey primary key (organization_id, chain)
)
with (fillfactor = 50);

comment on table audit.search_positions is 'How far the search index has come; written by audit.index_entries() only.';
comment on column audit.search_positions.organization_id is 'Whose chain.';
comment on column audit.search_positions.chain is 'The chain.';
comment on column audit.search_positions.seq is 'The last entry that is indexed.';
comment on column audit.search_positions.last_at is 'Its time; no later entry of the chain is earlier.';

-- Newest or oldest first, page by page, also among entries of one instant.
create index if not exists search_index_timeline_idx
  on audit.search_index (organization_id, created_at, chain, seq);
-- The dearest and the cheapest.
create index if not exists search_index_cost_idx on audit.search_index (organization_id, cost, created_at) where cost is not null;
-- Which entries have these terms?
create index if not exists search_index_terms_idx on audit.search_index using gin (terms);

revoke all on audit.search_index, audit.search_positions from public, anon, authenticated, service_role;

-- Terms ---------------------------------------------------------------------------------------------------------------

-- Terms are salted with organisation and week: a word that is frequent elsewhere, or was once, costs nothing here.
create or replace function audit.search_week(created_at timestamptz)
  returns int
  language sql
  immutable
  parallel safe
  return floor(extract(epoch from created_at) / 604800)::int;

comment on function audit.search_week(timestamptz) is 'The number of a week, counted from 1970.';

create or replace function audit.search_seed(organization_id uuid, week int)
  returns bigint
  language sql
  immutable
  parallel safe
  return hashint8extended(week, uuid_hash_extended(organization_id, 0));

comment on function audit.search_seed(uuid, int) is 'With what the terms of an organisation''s week are salted.';

create or replace function audit.search_term(seed bigint, term text)
  returns int
  language sql
  immutable
  parallel safe
  return (hashtextextended(term, seed) >> 32)::int;

comment on function audit.search_term(bigint, text) is 'The number under which the search index keeps a term.';

create or replace function audit.search_tokens(content text)
  returns text[]
  language sql
  immutable
  parallel safe
  return regexp_split_to_array(lower(content collate "und-x-icu"), '[^[:alnum:]-]+');

comment on function audit.search_tokens(text) is
  'What stands between spaces and punctuation, in lower case; words joined by hyphens are still one.';

-- What has the form of a UUID is one word, else each would be five; everything else with a hyphen is several.
create or replace function audit.search_words(content text)
  returns text[]
  language sql
  immutable
  parallel safe
  return array(
    select w.word
    from unnest(audit.search_tokens(content)) with ordinality t (token, n)
    cross join lateral unnest(
      case when t.token like '________-____-____-____-____________' then array[t.token] else string_to_array(t.token, '-') end
    ) with ordinality w (word, n)
    where w.word <> ''
    order by t.n, w.n
  );

comment on function audit.search_words(text) is
  'The words of a text in order and in lower case: runs of letters and digits of any script; a UUID is one word.';

create or replace function audit.search_text(entry public.audit_logs)
  returns text
  language sql
  stable
  parallel safe
  return concat_ws(
    ' ', (entry).action, (entry).outcome, (entry).resource_type, (entry).resource_id, (entry).created_by::text,
    (entry).actor_type, (entry).provider, (entry).cost::text, (entry).request_id,
    -- Escapes of JSON stand for characters that no word has.
    case
      when strpos((entry).details::text, '\') > 0 then regexp_replace((entry).details::text, '\\(u[0-9a-f]{4}|.)', ' ', 'g')
      else (entry).details::text
    end
  );

comment on function audit.search_text(public.audit_logs) is
  'What free text is looked for in: action, outcome, resource, actor, provider, cost, request and all of the details.';

-- Numbers are found by where they lie. Each has a place on a line of 4,352, and three terms: for its place, and for the blocks
-- of 16 and of 256 places that it is in. "More than" is then a choice of a few terms. Places are the first bits of IEEE 754,
-- all of the exponent and four of the mantissa, so they are in order, and the same on every machine: sixteen from each power
-- of two to the next. What is nearer to zero than 1e-18, or farther than 1e19, has the place of that.
create or replace function audit.number_magnitude(number numeric)
  returns int
  language sql
  immutable
  parallel safe
  return get_byte(float8send(least(greatest(abs(number), 1e-18), 1e19)::float8), 0) * 256
    + get_byte(float8send(least(greatest(abs(number), 1e-18), 1e19)::float8), 1) - 15360; -- 2^-63 would be at 0

comment on function audit.number_magnitude(numeric) is 'How far from zero the place of a number is that is not zero.';

create or replace function audit.number_place(number numeric)
  returns int
  language sql
  immutable
  parallel safe
  return case
    when number > 0 then 2304 + audit.number_magnitude(number)
    when number < 0 then 2047 - audit.number_magnitude(number)
    when number = 0 then 2048
  end;

comment on function audit.number_place(numeric) is
  'Where a number stands among all, from 0 to 4351: what is greater is never at a lower place.';

create or replace function audit.number_terms(kind text, place int)
  returns text[]
  language sql
  immutable
  parallel safe
  return array[kind || '#' || place::text, kind || '##' || (place / 16)::text, kind || '###' || (place / 256)::text];

comment on function audit.number_terms(text, int) is 'What a number at a place is found by.';

create or replace function audit.range_terms(kind text, from_number numeric, to_number numeric)
  returns text[]
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  -- The fewest blocks that cover it: a small one only where no greater one lies in the range as a whole.
  select coalesce(array_agg(range_terms.kind || s.mark || b.block order by s.size desc, b.block), '{}')
  from (
    select coalesce(audit.number_place(range_terms.from_number), 0) as first,
      coalesce(audit.number_place(range_terms.to_number), 4351) as last
  ) r
  cross join (values (1, '#'), (16, '##'), (256, '###')) s (size, mark)
  cross join lateral generate_series((r.first + s.size - 1) / s.size, (r.last + 1) / s.size - 1) b (block)
  where s.size = 256
    or not (
      b.block * s.size / (16 * s.size) * (16 * s.size) >= r.first
      and (b.block * s.size / (16 * s.size) + 1) * (16 * s.size) - 1 <= r.last
    )
$$;

comment on function audit.range_terms(text, numeric, numeric) is
  'Terms of which every number of a kind from one to another has one; null is no bound. None where nothing lies between.';

-- It answered an array once.
drop function if exists audit.search_terms(public.audit_logs);

-- Every entry of the log passes here once. In a FROM, PostgreSQL makes such a function part of the query that calls it, whose
-- plan is set up once for thousands of entries; set up for each of them, it took twice the time. Nothing here looks for
-- duplicates, which the GIN index does by itself.
create or replace function audit.search_terms(entry public.audit_logs)
  returns setof int
  language sql
  stable
  parallel safe
begin atomic
  select audit.search_term(s.seed, t.term)
  from (
    select audit.search_seed((entry).organization_id, audit.search_week((entry).created_at)) as seed,
      audit.search_tokens(audit.search_text(entry)) || array_remove(array[
        'action=' || (entry).action,
        'action^' || split_part((entry).action, '.', 1),
        'actor=' || (entry).created_by,
        'resource_type=' || (entry).resource_type,
        'identity=' || encode((entry).identity_hash, 'hex')
      ], null) as words
    offset 0 -- once
  ) s
  cross join lateral (
    select w.word from unnest(s.words) w (word)
    union all
    select 'prefix ' || left(w.word, 3) from unnest(s.words) w (word) where w.word > ':' collate "C"
    union all
    select unnest(array[p.part, 'prefix ' || left(p.part, 3)])
    from (
      select unnest(string_to_array(w.word, '-')) as part
      from unnest(s.words) w (word)
      where w.word like '%-%' and w.word not like '________-____-____-____-____________'
    ) p
    union all
    select unnest(audit.number_terms(n.kind, n.place))
    from (
      select 'cost ' as kind, audit.number_place((entry).cost) as place where (entry).cost is not null
      union all
      -- By the key alone, also of those in arrays. No path of a query (510) leads deeper.
      select 'number ' || (k.member ->> 'key') || ' ', audit.number_place(n.number::numeric)
      from jsonb_path_query(
        (entry).details,
        'strict $.**{0 to 42} ? (@.type() == "object").keyvalue() ? (@.value.type() == "number" || @.value.type() == "array")'
      ) k (member)
      cross join lateral jsonb_path_query(k.member -> 'value', 'strict $.**{0 to 2} ? (@.type() == "number")') n (number)
      offset 0
    ) n
  ) t (term);
end;

comment on function audit.search_terms(public.audit_logs) is
  'Everything an entry is found by: its words, the beginnings of those that begin with a letter, some fields whole, and
where its numbers lie. Some more than once.';

-- Indexing ------------------------------------------------------------------------------------------------------------

create or replace function audit.index_entries(at_most int default null)
  returns int
  language plpgsql
  set search_path = ''
  set jit = off -- the planner expects a million numbers of each entry
as $$
declare
  v_indexed int;
begin
  -- One at a time; who comes second has nothing to do.
  if not pg_try_advisory_xact_lock(hashtext('audit.index_entries')) then
    return 0;
  end if;

  -- A chain's entries become visible in order and without gaps, so everything up to its head is there.
  with waiting as (
    select h.organization_id, h.chain, f.after, coalesce(p.last_at, '-infinity') as last_at, h.seq,
      sum(h.seq - f.after) over (order by h.last_at, h.organization_id, h.chain) as running,
      sum(h.seq - f.after) over () as entries
    from audit.heads h
    left join audit.search_positions p on p.organization_id = h.organization_id and p.chain = h.chain
    left join audit.chain_bounds b on b.organization_id = h.organization_id and b.chain = h.chain
    -- What was purged before it was indexed is not waited for.
    cross join lateral (select coalesce(greatest(p.seq, b.seq), 0) as after) f
    where h.seq > f.after
  ),
  taken as materialized (
    select w.organization_id, w.chain, w.after, w.last_at, least(w.seq, w.seq - (w.running - m.most)) as upto
    from waiting w
    -- A burst is caught up with after it, not beside it, for its writers need the processor now. But the more waits, the more
    -- do searches read without the index, so the more is taken.
    cross join lateral (
      select coalesce(index_entries.at_most, least(greatest(w.entries / 10, 10000), 30000)::int) as most
    ) m
    where w.running - (w.seq - w.after) < m.most
  ),
  fresh as (
    insert into audit.search_index (organization_id, created_at, chain, seq, cost, terms)
    select a.organization_id, a.created_at, a.chain, a.seq, a.cost, array(select t from audit.search_terms(a) t)
    from taken t
    join public.audit_logs a
      on a.organization_id = t.organization_id and a.chain = t.chain and a.seq > t.after and a.seq <= t.upto
        and a.created_at >= t.last_at
    returning organization_id, chain, created_at
  ),
  moved as (
    insert into audit.search_positions as p (organization_id, chain, seq, last_at)
    select t.organization_id, t.chain, t.upto, coalesce(max(f.created_at), t.last_at)
    from taken t
    -- Entries that somebody deleted are not waited for, or no others would ever be reached.
    left join fresh f on f.organization_id = t.organization_id and f.chain = t.chain
    group by t.organization_id, t.chain, t.upto, t.last_at
    on conflict on constraint search_positions_pkey do update set seq = excluded.seq, last_at = excluded.last_at
  )
  select count(*) into v_indexed from fresh;
  -- What waits in the index's pending list is read from end to end by every search.
  perform gin_clean_pending_list('audit.search_index_terms_idx');
  return v_indexed;
end
$$;

comment on function audit.index_entries(int) is
  'Brings the search index up to date, by at most so many entries at once; without a number by 10,000, or a tenth of what
waits if that is more, up to 30,000. Returns how many. pg_cron runs it.';

create or replace function audit.rebuild_search_index()
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  truncate audit.search_index, audit.search_positions;
end
$$;

comment on function audit.rebuild_search_index() is
  'Empties the search index; audit.index_entries() fills it again. Searches stay right meanwhile, but slower.';

