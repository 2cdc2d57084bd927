-- Personal data goes with the last entry that commits to it: values at once, identities a day later.
--
-- An identity serves many entries. When one of them is purged, it is looked whether there is another. If not, a writer may
-- still be about to use it, for an entry that nobody sees yet: so it is put where writers do not find it any more, and
-- deleted when it is looked again a day later, unless such an entry has come to light.

-- Once, as in 200: else an upgrade locks writers out.
do $$
begin
  if not exists (select from pg_catalog.pg_attribute a where a.attrelid = 'audit.identities'::regclass and a.attname = 'check_at') then
    alter table audit.identities add column check_at timestamptz;
    create index identities_check_idx on audit.identities (check_at) where check_at is not null;

    create policy "the purger finds identities" on audit.identities for select to audit_purger using (true);

    create policy "the purger marks identities" on audit.identities for update to audit_purger using (true);

    create policy "the purger deletes identities" on audit.identities for delete to audit_purger using (true);

    create policy "the purger finds personal values" on audit.personal_values for select to audit_purger using (true);

    create policy "the purger deletes personal values" on audit.personal_values for delete to audit_purger using (true);
  end if;
end
$$;

comment on column audit.identities.check_at is
  'When it is to be looked whether an entry still commits to it: an entry that did was purged. Null where none was since.';

grant select, delete on audit.identities, audit.personal_values to audit_purger;
grant update (lookup, check_at) on audit.identities to audit_purger;

create or replace function audit.release_values(organization_id uuid, hashes bytea[], before timestamptz, cut jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  -- A value is recorded before its entry: an entry that names the hash of a later one (who writes details chooses them)
  -- takes nothing along.
  delete from audit.personal_values v
  where v.value_hash = any (release_values.hashes) and v.organization_id = release_values.organization_id
    and v.created_at <= release_values.before;
  -- Details that were cut to fit do not name their values.
  if release_values.cut is not null then
    delete from audit.personal_values v
    using jsonb_to_recordset(release_values.cut) c (resource_type text, resource_id text, created_at timestamptz)
    where v.organization_id = release_values.organization_id and v.resource_type = c.resource_type
      and v.resource_id is not distinct from c.resource_id and v.created_at <= c.created_at;
  end if;
end
$$;

comment on function audit.release_values(uuid, bytea[], timestamptz, jsonb) is
  'Deletes personal values of entries that were purged: by their hashes, or by the resource where details were cut.';

create or replace function audit.identities_in_use(organization_id uuid, hashes bytea[])
  returns bytea[]
  language plpgsql
  stable
  set search_path = ''
  set enable_seqscan = off -- salted terms: see audit.search_candidates()
as $$
#variable_conflict use_column
begin
  return (
    with wanted as materialized (
      select w.hash, array(
        select audit.search_term(audit.search_seed(identities_in_use.organization_id, n), 'identity=' || encode(w.hash, 'hex'))
        from generate_series(
          audit.search_week((
            select a.created_at from public.audit_logs a
            where a.organization_id = identities_in_use.organization_id order by a.created_at limit 1
          )),
          audit.search_week((
            select max(h.last_at) from audit.heads h where h.organization_id = identities_in_use.organization_id
          ))
        ) n
      ) as terms
      from (select distinct u.hash from unnest(identities_in_use.hashes) u (hash)) w
    ),
    -- What the index does not have yet, after a rebuild all of it, is read.
    tail as (
      select a.identity_hash
      from audit.heads h
      left join audit.search_positions p on p.organization_id = h.organization_id and p.chain = h.chain
      cross join lateral (
        select a.identity_hash from public.audit_logs a
        where a.organization_id = h.organization_id and a.chain = h.chain and a.seq > coalesce(p.seq, 0)
        offset 0
      ) a
      where h.organization_id = identities_in_use.organization_id and h.seq > coalesce(p.seq, 0)
    )
    select array_agg(w.hash)
    from wanted w
    where exists (
      select from audit.search_index s
      join public.audit_logs a on a.organization_id = s.organization_id and a.created_at = s.created_at
        and a.chain = s.chain and a.seq = s.seq
      where s.terms && w.terms and s.organization_id = identities_in_use.organization_id and a.identity_hash = w.hash
    ) or w.hash in (select t.identity_hash from tail t)
  );
end
$$;

comment on function audit.identities_in_use(uuid, bytea[]) is
  'Which of these identities an entry of the organisation commits to, found through the search index and behind it.';

create or replace function audit.release_identities(organization_id uuid, hashes bytea[])
  returns void
  language sql
  set search_path = ''
as $$
  update audit.identities i set check_at = clock_timestamp()
  where i.organization_id = release_identities.organization_id and i.identity_hash = any (release_identities.hashes)
    and i.check_at is null
$$;

comment on function audit.release_identities(uuid, bytea[]) is 'Has it looked whether entries still commit to identities of purged ones.';

create or replace function audit.check_identities()
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_start timestamptz := clock_timestamp();
  v_due record;
  v_is_held boolean;
  v_in_use bytea[];
begin
  loop
    select i.organization_id, array_agg(i.identity_hash) as hashes into v_due
    from (
      select i.organization_id, i.identity_hash
      from audit.identities i
      where i.check_at <= clock_timestamp()
      order by i.check_at
      limit 100
    ) i
    group by i.organization_id
    limit 1;
    exit when v_due.organization_id is null;
    v_is_held := audit.is_held(v_due.organization_id);
    v_in_use := coalesce(
      case when not v_is_held then audit.identities_in_use(v_due.organization_id, v_due.hashes) end, '{}'
    );
    delete from audit.identities i
    where i.organization_id = v_due.organization_id and i.identity_hash = any (v_due.hashes)
      and i.identity_hash <> all (v_in_use) and i.lookup = '' and not v_is_held;
    update audit.identities i set
      lookup = case when v_is_held or i.identity_hash = any (v_in_use) then i.lookup else '' end,
      check_at = case when i.identity_hash = any (v_in_use) then null else clock_timestamp() + interval '1 day' end
    where i.organization_id = v_due.organization_id and i.identity_hash = any (v_due.hashes);
    -- In most batches there are few; with years of months to look through, thousands take longer than one may.
    exit when clock_timestamp() > v_start + interval '1 second';
  end loop;
end
$$;

comment on function audit.check_identities() is
  'Looks for a second which identities no entry commits to any more: they are hidden from writers, and deleted a day later.';
