-- Restore: a log that was lost, made again in an empty database from its archive and a backup. `npm run restore` does it, in
-- one transaction: it verifies the archive by the public key and hands the entries over; here they are put in their place.
--
-- Nobody who can log in may write the log, and these functions do not change that: they work between
-- audit.begin_restore(), which refuses a log that has entries, and the end of its transaction.

create table if not exists audit.restores (
  incarnation int not null,
  begun_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  transaction_id xid8,
  installed jsonb,
  details jsonb not null default '{}',
  constraint restores_pkey primary key (incarnation)
);

comment on table audit.restores is 'When this log was made again from its archive and a backup; written by the functions of 450 only.';
comment on column audit.restores.incarnation is 'The log''s life that began with it: 2 for the first restore.';
comment on column audit.restores.begun_at is 'When it began.';
comment on column audit.restores.ended_at is 'When all of it was there.';
comment on column audit.restores.transaction_id is 'The transaction that does it.';
comment on column audit.restores.installed is 'What installing the product had recorded, which is recorded again behind the restored log.';
comment on column audit.restores.details is 'From what, and what is missing.';

revoke all on audit.restores from public, anon, authenticated, service_role;
revoke insert, update, delete, truncate on audit.restores from current_user;

create or replace function audit.incarnation()
  returns int
  language sql
  stable
  set search_path = ''
as $$
  select coalesce(max(r.incarnation), 1) from audit.restores r where r.ended_at is not null
$$;

comment on function audit.incarnation() is 'Which life of the log this is: 1, and one more with every restore from a backup.';

create or replace function audit.require_restoring()
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  if not exists (select from audit.restores r where r.ended_at is null and r.transaction_id = pg_current_xact_id_if_assigned()) then
    perform audit.fail('AURST', 'No restore is under way.', null, 'npm run restore puts a log back into an empty database.');
  end if;
end
$$;

comment on function audit.require_restoring() is 'Raises AURST outside of a transaction that audit.begin_restore() began.';

create or replace function audit.begin_restore()
  returns void
  language plpgsql
  security definer -- nobody who can log in may take out what installing has recorded
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_installed jsonb;
begin
  -- Nobody writes from here on, until all is there or nothing.
  lock table public.audit_logs in share row exclusive mode;
  if exists (select from audit.logs)
    or exists (
      select from public.audit_logs a
      where not (
        a.organization_id = audit.system_organization() and a.resource_type = 'table'
        and a.action in ('capture.tracked', 'capture.changed', 'capture.untracked')
      )
    )
  then
    perform audit.fail('AURST', 'The log of this database is not empty.', null,
      'A log is restored into a database where the product was just installed, before anything writes or seals.');
  end if;
  with gone as (
    delete from public.audit_logs a returning a.created_at, a.chain, a.seq, a.action, a.resource_type, a.resource_id, a.details
  )
  select jsonb_agg(to_jsonb(g) order by g.created_at, g.chain, g.seq) into v_installed from gone g;
  insert into audit.restores (incarnation, transaction_id, installed) values (0, pg_current_xact_id(), v_installed);
end
$$;

comment on function audit.begin_restore() is
  'Begins a restore, which lasts as long as the transaction: only in an empty log, and nobody else writes meanwhile.';

create or replace function audit.ensure_partitions_since(month date)
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_month date;
  v_name text;
begin
  for v_month in
    select g::date
    from generate_series(ensure_partitions_since.month, date_trunc('month', clock_timestamp() at time zone 'utc'), interval '1 month') g
    where not exists (
      select from audit.partition_ranges() r
      where (g::date::text || ' 00:00:00+00')::timestamptz >= r.from_time and (g::date::text || ' 00:00:00+00')::timestamptz < r.to_time
    )
  loop
    v_name := format('audit_logs_%s', to_char(v_month, 'YYYY_MM'));
    execute format(
      'create table public.%I partition of public.audit_logs for values from (%L) to (%L)',
      v_name, v_month::text || ' 00:00:00+00', (v_month + interval '1 month')::date::text || ' 00:00:00+00'
    );
    perform audit.secure_partition(format('public.%I', v_name)::regclass);
  end loop;
end
$$;

comment on function audit.ensure_partitions_since(date) is 'Makes the log''s partitions of past months, where they are missing.';

create or replace function audit.parsed_entries(entries text[])
  returns setof public.audit_logs
  language sql
  stable
  parallel safe
  set search_path = ''
as $$
  select (e.j ->> 'organization_id')::uuid, (e.j ->> 'chain')::int, (e.j ->> 'seq')::bigint,
    timestamptz 'epoch' + (e.j ->> 'created_at')::bigint * interval '1 microsecond',
    e.j ->> 'action', e.j ->> 'outcome', e.j ->> 'resource_type', e.j ->> 'resource_id', (e.j ->> 'created_by')::uuid,
    e.j ->> 'actor_type', decode(e.j ->> 'identity_hash', 'hex'), e.j ->> 'provider', (e.j ->> 'cost')::numeric,
    e.j ->> 'request_id', e.j -> 'details', decode(e.j ->> 'prev_hash', 'hex'), audit.hash_of(e.text)
  from (
    select t.text, t.text::jsonb as j from unnest(parsed_entries.entries) t (text)
    offset 0 -- else each of its fields would parse it anew
  ) e
$$;

comment on function audit.parsed_entries(text[]) is
  'The rows of entry texts. Whether each is an entry text, and nothing more, shows when it is made of its row again: the hash is that of the text.';

create or replace function audit.restore_entries(entries text[])
  returns void
  language plpgsql
  security definer -- only the writer may insert entries
  set search_path = ''
as $$
declare
  v_kept bigint;
begin
  perform audit.require_restoring();
  with parsed as materialized (
    select p.* from audit.parsed_entries(restore_entries.entries) p
  ),
  kept as (
    insert into public.audit_logs
    select p.* from parsed p
    where p.hash = audit.hash_of(audit.entry_text(
      p.organization_id, p.chain, p.seq, p.created_at, p.action, p.outcome, p.resource_type, p.resource_id, p.created_by,
      p.actor_type, p.identity_hash, p.provider, p.cost, p.request_id, p.details, p.prev_hash
    ))
    returning 1
  )
  select count(*) into v_kept from kept;
  if v_kept <> cardinality(restore_entries.entries) then
    perform audit.fail('AUARG', format('Of %s entries, %s are not as the writer writes them.', cardinality(restore_entries.entries), cardinality(restore_entries.entries) - v_kept));
  end if;
end
$$;

comment on function audit.restore_entries(text[]) is 'Puts entries back into the log, by their texts; each must make the same text, and so the same hash, again.';

create or replace function audit.restore_heads(heads jsonb)
  returns void
  language plpgsql
  security definer -- only the writer may write heads
  set search_path = ''
as $$
#variable_conflict use_column
begin
  perform audit.require_restoring();
  -- Chains that only installing had written are as before their first entry.
  update audit.heads h set
    seq = 0, last_at = '-infinity', prev_hash = ''::bytea, hash = audit.first_prev_hash(h.organization_id, h.chain)
  where true;
  insert into audit.heads as h (organization_id, chain, seq, last_at, prev_hash, hash)
  select r.organization_id, r.chain, r.seq, r.last_at, decode(r.prev_hash, 'hex'), decode(r.hash, 'hex')
  from jsonb_to_recordset(restore_heads.heads)
    r (organization_id uuid, chain int, seq bigint, last_at timestamptz, prev_hash text, hash text)
  on conflict on constraint heads_pkey do update set
    seq = excluded.seq, last_at = excluded.last_at, prev_hash = excluded.prev_hash, hash = excluded.hash;
end
$$;

comment on function audit.restore_heads(jsonb) is 'Sets the heads of all chains; chains that are not named are as before their first entry.';

create or replace function audit.load_rows(table_name text, rows jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
declare
  v_columns text;
begin
  -- What a backup of another version has more is left out, what it has less is as in new rows.
  select string_agg(format('%I', a.attname), ', ' order by a.attnum) into v_columns
  from pg_catalog.pg_attribute a
  where a.attrelid = format('audit.%I', load_rows.table_name)::regclass and a.attnum > 0 and not a.attisdropped
    and a.attidentity = '' and load_rows.rows -> 0 ? a.attname;
  if v_columns is not null then
    execute format(
      'insert into audit.%1$I (%2$s) select %2$s from jsonb_populate_recordset(null::audit.%1$I, $1)', load_rows.table_name, v_columns
    ) using load_rows.rows;
  end if;
end
$$;

comment on function audit.load_rows(text, jsonb) is 'Inserts rows of a backup into the table of that name.';

create or replace function audit.restore_kept_rows(section text, rows jsonb)
  returns void
  language plpgsql
  security definer -- only the purger may write periods, holds and bounds
  set search_path = ''
as $$
begin
  perform audit.require_restoring();
  if section not in ('restores', 'retention_periods', 'holds', 'chain_bounds', 'purges') then
    perform audit.fail('AUARG', format('%s is no section of the purger''s.', section));
  end if;
  perform audit.load_rows(section, rows);
end
$$;

comment on function audit.restore_kept_rows(text, jsonb) is 'What audit.restore_rows() does with tables of the purger''s.';

create or replace function audit.restore_rows(section text, rows jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
begin
  perform audit.require_restoring();
  case
    when section in ('restores', 'retention_periods', 'holds', 'chain_bounds', 'purges') then
      perform audit.restore_kept_rows(section, rows);
    when section in (
      'auditors', 'receivers', 'findings', 'backups', 'identities', 'personal_values', 'erasures', 'reports', 'saved_searches', 'rules', 'rule_choices', 'rule_tests', 'alerts',
      'rule_runs', 'rule_values', 'active_hours', 'budgets_known', 'spending', 'budget_crossings'
    ) then
      perform audit.load_rows(section, rows);
    -- Installing has made some of its own.
    when section in ('settings', 'report_schedules') then
      execute format('delete from audit.%I', section);
      perform audit.load_rows(section, rows);
    when section = 'receiver_logs' then
      insert into audit.receiver_logs (receiver, log, size, copied, delivered_at, next_try_at, last_error)
      select r.id, l.id, d.size, d.copied, d.delivered_at, d.next_try_at, d.last_error
      from jsonb_to_recordset(rows) d (
        kind text, name text, origin text, size bigint, copied bigint, delivered_at timestamptz, next_try_at timestamptz, last_error text
      )
      join audit.receivers r on r.kind = d.kind and r.name = d.name
      join audit.logs l on l.origin = d.origin;
    else
      perform audit.fail('AUARG', format('Rows of %s are not restored by themselves.', section));
  end case;
end
$$;

comment on function audit.restore_rows(text, jsonb) is 'Puts rows of a backup back into their table, as audit.backup_sections() took them.';

create or replace function audit.restore_log(log jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_log int;
begin
  perform audit.require_restoring();
  insert into audit.logs (
    organization_id, month, origin, sequenced, size, published, first_at, last_at, opened_at, sealed_at, closed_at, read_back,
    archive_deletion_began_at, archive_deleted_at
  )
  select r.organization_id, r.month, r.origin, r.size, r.size, r.size, r.first_at, r.last_at, coalesce(r.opened_at, clock_timestamp()),
    r.sealed_at, r.closed_at, r.read_back, r.archive_deletion_began_at, r.archive_deleted_at
  from jsonb_to_record(restore_log.log) r (
    organization_id uuid, month date, origin text, size bigint, first_at timestamptz, last_at timestamptz, opened_at timestamptz,
    sealed_at timestamptz, closed_at timestamptz, read_back bigint, archive_deletion_began_at timestamptz, archive_deleted_at timestamptz
  )
  returning id into v_log;
  insert into audit.log_ranges (log, start, organization_id, chain, from_seq, to_seq)
  select v_log, (r ->> 0)::bigint, (restore_log.log ->> 'organization_id')::uuid, (r ->> 1)::int, (r ->> 2)::bigint, (r ->> 3)::bigint
  from jsonb_array_elements(restore_log.log -> 'ranges') r;
  with kept as (
    insert into audit.checkpoints (log, size, root, frontier, note, recorded_at, signed_at, published_at)
    select v_log, c.size, decode(c.root, 'hex'), decode(c.frontier, 'hex'), c.note, coalesce(c.recorded_at, clock_timestamp()),
      coalesce(c.signed_at, clock_timestamp()), coalesce(c.published_at, clock_timestamp())
    from jsonb_to_recordset(restore_log.log -> 'checkpoints') c (
      size bigint, root text, frontier text, note text, recorded_at timestamptz, signed_at timestamptz, published_at timestamptz
    )
  )
  insert into audit.cosigned_checkpoints (log, size, cosigned_at)
  select v_log, c.size, c.cosigned_at
  from jsonb_to_recordset(restore_log.log -> 'checkpoints') c (size bigint, cosigned_at timestamptz)
  where c.cosigned_at is not null;
end
$$;

comment on function audit.restore_log(jsonb) is
  'Puts a log back as the archive has it: what it is called, how far it is, which entries stand where, its checkpoints.';

create or replace function audit.restore_sequenced(chains jsonb)
  returns void
  language sql
  set search_path = ''
as $$
  select audit.require_restoring();
  insert into audit.sequenced (organization_id, chain, seq, last_at)
  select r.organization_id, r.chain, r.seq, r.last_at
  from jsonb_to_recordset(restore_sequenced.chains) r (organization_id uuid, chain int, seq bigint, last_at timestamptz)
$$;

comment on function audit.restore_sequenced(jsonb) is 'Sets how far each chain has its indexes.';

create or replace function audit.restore_anchor_entries(first_index bigint, entries text[])
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  perform audit.require_restoring();
  insert into audit.anchor_entries (index, log, size, entry)
  select restore_anchor_entries.first_index + e.n - 1, (
    select l.id from audit.logs l where l.origin = split_part(e.entry, E'\n', 1)
  ), split_part(e.entry, E'\n', 2)::bigint, e.entry
  from unnest(restore_anchor_entries.entries) with ordinality e (entry, n);
end
$$;

comment on function audit.restore_anchor_entries(bigint, text[]) is 'Puts entries of the anchor log back, from an index on.';

-- Whom a subject.erased entry names stays erased, though a backup is older. Its details say it in any of these ways:
-- {"identities": [hash, …]} and {"personal_values": [hash, …]} in hex, {"subject": user id}: all of that person up to "until",
-- or, where it does not say until when, up to the entry.
create or replace function audit.erase_again(organization_id uuid, erased_at timestamptz, details jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_subject uuid := audit.as_uuid(erase_again.details ->> 'subject');
  v_until timestamptz := coalesce((erase_again.details ->> 'until')::timestamptz, erase_again.erased_at);
begin
  delete from audit.identities i
  where i.organization_id = erase_again.organization_id and (
    encode(i.identity_hash, 'hex') in (select jsonb_array_elements_text(jsonb_path_query_array(erase_again.details, '$.identities[*]')))
    or i.user_id = v_subject and i.created_at <= v_until
  );
  delete from audit.personal_values v
  where v.organization_id = erase_again.organization_id and (
    encode(v.value_hash, 'hex') in (select jsonb_array_elements_text(jsonb_path_query_array(erase_again.details, '$.personal_values[*]')))
    or v.subject_id = v_subject and v.created_at <= v_until
  );
  perform audit.withdraw_reports(erase_again.organization_id, v_subject);
end
$$;

comment on function audit.erase_again(uuid, timestamptz, jsonb) is
  'Erases what a subject.erased entry says was erased: the hashes in "identities" and "personal_values", and all of "subject" up to then.';

create or replace function audit.release_unused()
  returns void
  language sql
  set search_path = ''
as $$
  select audit.require_restoring();
  -- Personal data goes with the last entry that commits to it: of entries that were purged since, or never came back.
  delete from audit.identities i
  where not exists (
    select from public.audit_logs a where a.organization_id = i.organization_id and a.identity_hash = i.identity_hash
  );
  with named as materialized (
    select a.organization_id, decode(p #>> '{}', 'hex') as value_hash
    from public.audit_logs a
    cross join lateral jsonb_path_query(a.details, '$.**.personal ? (@ like_regex "^[0-9a-f]{64}$")') p
    where a.details::text like '%"personal"%' and exists (select from audit.personal_values)
  ),
  -- Details that were cut to fit do not name their values.
  cut as materialized (
    select distinct a.organization_id, a.resource_type, a.resource_id
    from public.audit_logs a
    where a.details::text like '%"cut"%' and exists (select from audit.personal_values)
  )
  delete from audit.personal_values v
  where not exists (select from named n where n.organization_id = v.organization_id and n.value_hash = v.value_hash)
    and not exists (
      select from cut c
      where c.organization_id = v.organization_id and c.resource_type = v.resource_type and c.resource_id is not distinct from v.resource_id
    );
$$;

comment on function audit.release_unused() is 'Deletes identities and personal values of a backup that no entry commits to.';

create or replace function audit.restore_membership(source text)
  returns boolean
  language plpgsql
  set search_path = ''
as $$
begin
  perform audit.require_restoring();
  execute format(
    $f$
      create or replace function audit.memberships(user_id uuid)
        returns table (organization_id uuid, role text)
        language sql stable rows 10 security definer -- callers need not see the membership table
        set search_path = ''
      as %L
    $f$, restore_membership.source
  );
  return true;
exception when undefined_table or undefined_column then
  return false; -- the application is not there yet
end
$$;

comment on function audit.restore_membership(text) is
  'Makes audit.memberships() what audit.use_membership() had made it; false where the table is not there.';

create or replace function audit.close_restore(incarnation int, details jsonb)
  returns jsonb
  language sql
  security definer -- restores are written by these functions only
  set search_path = ''
as $$
  select audit.require_restoring();
  update audit.restores r set
    incarnation = close_restore.incarnation, details = close_restore.details, ended_at = clock_timestamp(), transaction_id = null
  where r.incarnation = 0
  returning r.installed;
$$;

comment on function audit.close_restore(int, jsonb) is 'Ends a restore, and answers what installing had recorded.';

create or replace function audit.end_restore(incarnation int, details jsonb, organizations jsonb, tables jsonb)
  returns text[]
  language plpgsql
  set search_path = ''
as $$
declare
  v_installed jsonb;
  v_table record;
  v_missing text[] := '{}';
begin
  perform audit.compile_ip_setting();
  -- Searches find entries by reading them until the index is made again.
  perform audit.rebuild_search_index();
  -- What was there before the loss has raised its alerts.
  perform audit.compile_rules();
  perform audit.skip_to_now();
  v_installed := audit.close_restore(end_restore.incarnation, end_restore.details);
  perform audit.record(o.organization_id, 'log.restored', 'log', null, o.details)
  from jsonb_to_recordset(end_restore.organizations) o (organization_id uuid, details jsonb);
  perform audit.record(null, i.action, i.resource_type, i.resource_id, i.details)
  from jsonb_to_recordset(v_installed) i (action text, resource_type text, resource_id text, details jsonb);
  for v_table in select t.table_name, t.options from jsonb_to_recordset(end_restore.tables) t (table_name text, options jsonb) loop
    if to_regclass(v_table.table_name) is null then
      v_missing := v_missing || v_table.table_name;
    else
      perform audit.track(v_table.table_name, v_table.options);
    end if;
  end loop;
  perform audit.refresh_capture();
  return v_missing;
end
$$;

comment on function audit.end_restore(int, jsonb, jsonb, jsonb) is
  'Ends a restore: from here on the log goes on. Leaves a log.restored entry in each organisation''s log, and tracks the tables
of the backup; answers those that are not there.';

alter function audit.begin_restore() owner to audit_purger;
alter function audit.restore_kept_rows(text, jsonb) owner to audit_purger;
alter function audit.close_restore(int, jsonb) owner to audit_purger;
alter function audit.restore_entries(text[]) owner to audit_writer;
alter function audit.restore_heads(jsonb) owner to audit_writer;
