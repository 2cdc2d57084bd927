-- Erasure (GDPR Art. 17): a person's identities and personal values go, and every copy of them that the product made.
-- Entries, chains, logs, receipts and archived bundles never held them, only salted commitments: they stay, and verify.
--
-- It is done in small steps beside writers, who wait for nothing. In the order of the states:
--   values       personal values, and what somebody looked for in the log, go
--   identities   e-mail, IP address and user agent go
--   settling     whoever was writing meanwhile may have found them, or written more from before: when all those
--                transactions are over, what came to light goes too, and the subject.erased entry says until when
--   files        exports and reports that can hold them are removed from Storage
--   verifying    every chain and log is verified once more
--   done         the certificate can be signed
-- If the process dies in any of them, the next run goes on there. A legal hold stops it between two steps.

create table if not exists audit.erasures (
  id uuid not null default gen_random_uuid(),
  organization_id uuid not null,
  subject uuid,
  addresses text[] not null,
  places text[] not null default '{}',
  ground text not null,
  reason text,
  requested_by uuid,
  requested_at timestamptz not null default clock_timestamp(),
  state text not null default 'values',
  until timestamptz not null default clock_timestamp(),
  since timestamptz,
  deleted_in xid8,
  awaited text[],
  counts jsonb not null default '{}',
  holds jsonb,
  erased_at timestamptz,
  remains jsonb,
  verified_at timestamptz,
  was_verified boolean,
  entry text,
  certificate text,
  certificate_note text,
  constraint erasures_pkey primary key (id),
  constraint erasures_state_known check (state in ('values', 'identities', 'settling', 'files', 'verifying', 'done', 'refused'))
);

comment on table audit.erasures is 'Requests to erase a person, those that were refused included; written by the functions of 710 only.';
comment on column audit.erasures.id is 'Names the erasure; what the person is told.';
comment on column audit.erasures.organization_id is 'In whose log.';
comment on column audit.erasures.subject is 'The user id, null where only an address was known.';
comment on column audit.erasures.addresses is 'E-mail addresses that are looked for; forgotten when they are erased.';
comment on column audit.erasures.places is 'IP addresses that went with the identities, for other tables to be searched for; forgotten likewise.';
comment on column audit.erasures.ground is 'The ground: of Art. 17(1) for erasing, of Art. 17(3) for not erasing, or other.';
comment on column audit.erasures.reason is 'In words.';
comment on column audit.erasures.requested_by is 'The admin who asked, null when it was done in the database.';
comment on column audit.erasures.requested_at is 'When.';
comment on column audit.erasures.state is 'How far it is.';
comment on column audit.erasures.until is 'What was recorded later is not part of it.';
comment on column audit.erasures.since is 'The oldest of what was erased: files from before cannot hold it.';
comment on column audit.erasures.deleted_in is 'The transaction that deleted last.';
comment on column audit.erasures.awaited is 'Transactions that may have found what was deleted, while they last; null before they are known.';
comment on column audit.erasures.counts is 'How much went.';
comment on column audit.erasures.holds is 'Legal holds that are in the way, or were when it was refused.';
comment on column audit.erasures.erased_at is 'When the last of it was gone from the database; the time of the subject.erased entry.';
comment on column audit.erasures.remains is 'What could not go.';
comment on column audit.erasures.verified_at is 'When the verification after it ended.';
comment on column audit.erasures.was_verified is 'Whether that found every chain and log whole.';
comment on column audit.erasures.entry is 'Name of the subject.erased entry.';
comment on column audit.erasures.certificate is 'The certificate to the byte, from the moment on in which it is signed.';
comment on column audit.erasures.certificate_note is 'The signed note over the certificate''s digest; null until it is signed.';

create index if not exists erasures_organization_idx on audit.erasures (organization_id, requested_at);
create index if not exists erasures_open_idx on audit.erasures (requested_at) where state not in ('done', 'refused');

alter table audit.erasures alter column addresses set statistics 0, alter column places set statistics 0;

revoke all on audit.erasures from public, anon, authenticated, service_role;

create or replace function audit.holds_on(organization_id uuid)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_agg(jsonb_build_object(
    'name', h.name, 'of', case h.organization_id when audit.system_organization() then 'project' else 'organization' end,
    'placed_at', audit.instant_text(h.placed_at)
  ) order by h.placed_at)
  from audit.holds h
  where h.organization_id in (holds_on.organization_id, audit.system_organization()) and h.released_at is null
$$;

comment on function audit.holds_on(uuid) is 'The legal holds on an organisation and on the whole project; null where there is none.';

-- What there is ----------------------------------------------------------------------------------------------------------

create or replace function audit.erasure_scope(subject audit.subject)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_organization uuid := (subject).organization_id;
  v_identities bigint;
  v_since timestamptz;
  v_values bigint;
  v_values_since timestamptz;
  v_entries bigint;
  v_mentions text[];
begin
  select count(*), min(i.created_at) into v_identities, v_since from audit.identities_of(subject) i;
  select count(*), min(v.created_at) into v_values, v_values_since
  from audit.personal_values v
  where v.organization_id = v_organization
    and (audit.is_value_of(v, subject) or v.value_hash in (select audit.queries_about(subject, 'infinity')));
  select count(*) into v_entries from public.audit_logs a
  where a.created_by = (subject).user_id and a.organization_id = v_organization;
  v_mentions := array(select distinct m from audit.plain_mentions(subject) m);
  return jsonb_build_object(
    'organization_id', v_organization, 'subject', (subject).user_id,
    'identities', v_identities, 'personal_values', v_values,
    'exports', (
      select count(*) from audit.exports x
      where x.organization_id = v_organization and x.until >= least(v_since, v_values_since) and x.withdrawn_at is null
    ),
    'entries_kept', v_entries,
    'entries_with_address', jsonb_build_object('count', cardinality(v_mentions), 'names', to_jsonb(v_mentions[:20])),
    'holds', coalesce(audit.holds_on(v_organization), '[]'),
    'backups_expire_after_days', audit.setting('backup_days')
  );
end
$$;

comment on function audit.erasure_scope(audit.subject) is
  'What an erasure would take: identities, personal values, exports; and what it would not: entries, which hold a user id, those
that hold an address in plain text, and what legal holds keep.';

create or replace function audit.erasure_json(erasure audit.erasures)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'id', (erasure).id, 'organization_id', (erasure).organization_id, 'subject', (erasure).subject, 'ground', (erasure).ground,
    'reason', (erasure).reason, 'requested_by', (erasure).requested_by,
    'requested_at', audit.instant_text((erasure).requested_at), 'state', (erasure).state,
    'until', audit.instant_text((erasure).until), 'erased', (erasure).counts,
    'holds', coalesce((erasure).holds, '[]'), 'erased_at', audit.instant_text((erasure).erased_at),
    'entry', (erasure).entry, 'remains', (erasure).remains,
    'verified_at', audit.instant_text((erasure).verified_at), 'was_verified', (erasure).was_verified,
    'certified', (erasure).certificate_note is not null
  )
$$;

comment on function audit.erasure_json(audit.erasures) is 'An erasure as the API shows it.';

create or replace function audit.erase_subject(
  organization_id uuid,
  subject text,
  ground text default null,
  reason text default null,
  dry_run boolean default true
)
  returns jsonb
  language plpgsql
  security definer -- admins erase through this function only
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_subject audit.subject;
  v_scope jsonb;
  v_holds jsonb;
  v_erasure audit.erasures;
  v_is_refused boolean;
begin
  perform audit.require_admin(erase_subject.organization_id);
  if erase_subject.organization_id is null or erase_subject.dry_run is null then
    perform audit.fail('AUARG', 'An erasure needs an organisation and a person.');
  end if;
  v_subject := audit.find_subject(erase_subject.organization_id, erase_subject.subject);
  v_scope := audit.erasure_scope(v_subject);
  if (v_scope ->> 'identities')::bigint + (v_scope ->> 'personal_values')::bigint + (v_scope ->> 'entries_kept')::bigint
    + (v_scope #>> '{entries_with_address,count}')::bigint = 0
  then
    perform audit.fail('AUNOT', 'The organisation''s log knows no such person.');
  elsif erase_subject.dry_run then
    return jsonb_build_object('dry_run', true) || v_scope;
  elsif coalesce(erase_subject.ground, '') !~ '^(17\(1\)\([a-f]\)|17\(3\)\([a-e]\)|other)$' then
    perform audit.fail('AUARG', 'An erasure has a ground.', null,
      '17(1)(a) to 17(1)(f) erase, 17(3)(a) to 17(3)(e) record why not (GDPR); "other" for another law.');
  elsif length(erase_subject.reason) > 2000
    or exists (
      select from unnest((v_subject).addresses || lower(btrim(erase_subject.subject))) a
      where a like '%@%' and strpos(lower(erase_subject.reason), a) > 0
    )
  then
    perform audit.fail('AUARG', 'The reason has at most 2,000 characters, and does not name the person''s address: it stays in the log.');
  end if;
  select e.* into v_erasure from audit.erasures e
  where e.organization_id = erase_subject.organization_id and e.state not in ('done', 'refused')
    and (e.subject = (v_subject).user_id or e.subject is null and e.addresses && (v_subject).addresses);
  if found then
    return audit.erasure_json(v_erasure); -- asked again while it is under way
  end if;

  perform audit.await_purge(); -- a hold that is being placed comes first
  v_holds := audit.holds_on(erase_subject.organization_id);
  v_is_refused := v_holds is not null or erase_subject.ground like '17(3)%';
  insert into audit.erasures (organization_id, subject, addresses, ground, reason, requested_by, state, holds)
  values (
    erase_subject.organization_id, (v_subject).user_id, case when v_is_refused then '{}' else (v_subject).addresses end,
    case when v_holds is null or erase_subject.ground like '17(3)%' then erase_subject.ground else '17(3)(e)' end,
    erase_subject.reason, auth.uid(), case when v_is_refused then 'refused' else 'values' end, v_holds
  )
  returning * into v_erasure;
  perform audit.record(
    erase_subject.organization_id, case when v_is_refused then 'subject.erasure_refused' else 'subject.erasure_requested' end,
    'user', (v_subject).user_id::text,
    jsonb_strip_nulls(jsonb_build_object(
      'erasure', v_erasure.id, 'asked_for', nullif(erase_subject.ground, v_erasure.ground), 'ground', v_erasure.ground,
      'reason', v_erasure.reason, 'holds', v_holds
    )),
    case when v_is_refused then 'denied' else 'success' end
  );
  return audit.erasure_json(v_erasure);
end
$$;

comment on function audit.erase_subject(uuid, text, text, text, boolean) is
  'Erases a person from an organisation''s log, by user id or e-mail address; by default only says what would go. With a ground
of Art. 17(3), or where a legal hold is in the way, it records that it was refused. For admins; leaves an entry.';

-- Step by step -----------------------------------------------------------------------------------------------------------

-- What a restore must know to erase again: all that is not found by the user id. As much as an entry can hold each.
create or replace function audit.state_erased(erasure audit.erasures, identities bytea[], personal_values bytea[])
  returns void
  language plpgsql
  set search_path = ''
as $$
begin
  for v_from in 1 .. greatest(cardinality(identities), cardinality(personal_values)) by 400 loop
    perform audit.record(
      (erasure).organization_id, 'subject.erased', 'user', (erasure).subject::text,
      jsonb_build_object(
        'erasure', (erasure).id, 'until', audit.instant_text((erasure).until),
        'identities', (select coalesce(jsonb_agg(encode(h, 'hex')), '[]') from unnest(identities[v_from:v_from + 399]) h),
        'personal_values', (select coalesce(jsonb_agg(encode(h, 'hex')), '[]') from unnest(personal_values[v_from:v_from + 399]) h)
      )
    );
  end loop;
end
$$;

comment on function audit.state_erased(audit.erasures, bytea[], bytea[]) is
  'Leaves subject.erased entries that name commitments whose values are gone.';

create or replace function audit.erase_values(erasure audit.erasures, at_most int, out erased int, out since timestamptz)
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_subject audit.subject := row((erasure).organization_id, (erasure).subject, (erasure).addresses);
  v_others int := 0;
  v_hashes bytea[];
  v_others_since timestamptz;
begin
  with gone as (
    delete from audit.personal_values v
    where v.ctid = any (array(
      select w.ctid from audit.personal_values w
      where w.subject_id = (v_subject).user_id and w.organization_id = (v_subject).organization_id and w.created_at <= (erasure).until
      limit at_most
    ))
    returning v.created_at
  )
  select count(*), min(g.created_at) into erased, since from gone g;
  if erased < at_most then
    with gone as (
      delete from audit.personal_values v
      where v.ctid = any (array(
        select w.ctid from audit.personal_values w
        where w.organization_id = (v_subject).organization_id and w.created_at <= (erasure).until
          and (audit.is_value_of(w, v_subject) or w.value_hash in (select audit.queries_about(v_subject, (erasure).until)))
        limit at_most - erased
      ))
      returning v.created_at, v.value_hash
    )
    select count(*), min(g.created_at), array_agg(g.value_hash) into v_others, v_others_since, v_hashes from gone g;
    perform audit.state_erased(erasure, '{}', v_hashes);
  end if;
  erased := erased + v_others;
  since := least(since, v_others_since);
end
$$;

comment on function audit.erase_values(audit.erasures, int) is 'Deletes personal values of a person, at most so many; answers how many, and the oldest.';

create or replace function audit.erase_identities(
  erasure audit.erasures,
  at_most int,
  out erased int,
  out since timestamptz,
  out places text[]
)
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_others int := 0;
  v_hashes bytea[];
  v_others_since timestamptz;
begin
  with gone as (
    delete from audit.identities i
    where i.ctid = any (array(
      select j.ctid from audit.identities j
      where j.user_id = (erasure).subject and j.organization_id = (erasure).organization_id and j.created_at <= (erasure).until
      limit at_most
    ))
    returning i.created_at, i.ip_address
  )
  select count(*), min(g.created_at), coalesce(array_agg(distinct g.ip_address) filter (where g.ip_address is not null), '{}')
  into erased, since, places
  from gone g;
  if erased < at_most and (erasure).addresses <> '{}' then
    with gone as (
      delete from audit.identities i
      where i.ctid = any (array(
        select j.ctid from audit.identities j
        where j.user_id is null and j.organization_id = (erasure).organization_id
          and lower(j.email) = any ((erasure).addresses) and j.created_at <= (erasure).until
        limit at_most - erased
      ))
      returning i.created_at, i.identity_hash
    )
    select count(*), min(g.created_at), array_agg(g.identity_hash) into v_others, v_others_since, v_hashes from gone g;
    perform audit.state_erased(erasure, v_hashes, '{}');
  end if;
  erased := erased + v_others;
  since := least(since, v_others_since);
end
$$;

comment on function audit.erase_identities(audit.erasures, int) is 'Deletes identities of a person, at most so many; answers how many, the oldest, and the IP addresses in them.';

-- Every transaction that was begun before this one saw what it deletes, as long as it lasts.
create or replace function audit.open_transactions()
  returns text[]
  language sql
  stable
  set search_path = ''
as $$
  select coalesce(array_agg(t.name), '{}')
  from (
    select l.virtualxid as name
    from pg_catalog.pg_locks l
    -- Autovacuum belongs to nobody and writes nothing of ours; of a large table it takes hours.
    join pg_catalog.pg_stat_activity a on a.pid = l.pid and a.datname = current_database() and a.usesysid is not null
    where l.locktype = 'virtualxid' and l.pid <> pg_backend_pid()
    union all
    select 'prepared ' || p.transaction from pg_catalog.pg_prepared_xacts p where p.database = current_database()
  ) t
$$;

comment on function audit.open_transactions() is 'What transactions of users there are in this database besides this one.';

-- Other tables that quote what entries and identities said: alerts, what rules and anomalies count by, messages that wait. What
-- stands there is replaced, by something that nobody can trace back, and that is the same for the same value, so that what
-- was told apart still is.
create or replace function audit.values_pattern(person_values text[])
  returns text
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  -- 10.0.0.1 is not in 10.0.0.12, nor ann@x.example in joann@x.example.
  select '(?<![[:alnum:]_.@+-])(?:' || string_agg(regexp_replace(v, '([^[:alnum:]@])', '\\\1', 'g'), '|') || ')(?![[:alnum:]_@-]|\.[[:alnum:]])'
  from unnest(person_values) v
$$;

comment on function audit.values_pattern(text[]) is 'The regular expression for any of these values, whole.';

create or replace function audit.mask_copies(organization_id uuid, person_values text[])
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_salt text := gen_random_uuid()::text;
  v_from int;
  v_some text[];
  v_column record;
  v_rows bigint;
  v_masked bigint := 0;
begin
  for v_from in 1 .. cardinality(person_values) by 500 loop
    v_some := person_values[v_from:v_from + 499];
    for v_column in
      select c.oid::regclass as table_name, a.attname, a.atttypid::regtype::text as type
      from pg_catalog.pg_class c
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where c.relnamespace = 'audit'::regnamespace and c.relkind in ('r', 'p')
        and c.relname in ('alerts', 'rule_windows', 'rule_values', 'activity', 'deliveries')
        and a.atttypid in ('text'::regtype, 'jsonb'::regtype)
    loop
      execute format(
        'update %1$s t set %2$I = audit.masked_values(t.%2$I::text, $1, $2)::%3$s where t.organization_id = $3 and t.%2$I::text ~* $4',
        v_column.table_name, v_column.attname, v_column.type
      ) using v_some, v_salt, mask_copies.organization_id, audit.values_pattern(v_some);
      get diagnostics v_rows = row_count;
      v_masked := v_masked + v_rows;
    end loop;
  end loop;
  return v_masked;
end
$$;

comment on function audit.mask_copies(uuid, text[]) is 'Replaces what alerts, rules, anomalies and messages quote of a person; answers in how many places.';

create or replace function audit.masked_values(content text, person_values text[], salt text)
  returns text
  language plpgsql
  immutable
  parallel safe
  set search_path = ''
as $$
declare
  v_value text;
begin
  foreach v_value in array person_values loop
    if strpos(lower(content), lower(v_value)) > 0 then
      content := regexp_replace(
        content, audit.values_pattern(array[v_value]),
        'erased-' || left(encode(sha256(convert_to(masked_values.salt || lower(v_value), 'UTF8')), 'hex'), 12), 'gi'
      );
    end if;
  end loop;
  return content;
end
$$;

comment on function audit.masked_values(text, text[], text) is 'A text with something else for each of these values, the same for the same.';

create or replace function audit.copies_left(organization_id uuid, addresses text[])
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_table record;
  v_rows bigint;
  v_left jsonb := '{}';
begin
  if addresses = '{}' then
    return v_left;
  end if;
  -- Whatever tables there are: what is not known to hold addresses is looked at too. Identities and values of others aside.
  for v_table in
    select c.oid::regclass as table_name, string_agg(format('t.%I::text', a.attname), ', ' order by a.attnum) as columns
    from pg_catalog.pg_class c
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'audit'::regnamespace and c.relkind in ('r', 'p')
      and c.relname not in ('erasures', 'identities', 'personal_values', 'exports', 'reports')
      and a.atttypid in ('text'::regtype, 'text[]'::regtype, 'jsonb'::regtype, 'json'::regtype)
      and exists (select from pg_catalog.pg_attribute o where o.attrelid = c.oid and o.attname = 'organization_id' and not o.attisdropped)
    group by c.oid
    order by c.relname
  loop
    execute format('select count(*) from %s t where t.organization_id = $1 and concat_ws('' '', %s) ~* $2', v_table.table_name, v_table.columns)
      into v_rows using copies_left.organization_id, audit.values_pattern(addresses);
    if v_rows > 0 then
      v_left := v_left || jsonb_build_object(v_table.table_name::text, v_rows);
    end if;
  end loop;
  return v_left;
end
$$;

comment on function audit.copies_left(uuid, text[]) is 'In how many rows of which tables an address still stands, such as in what somebody has set up.';

create or replace function audit.settle_erasure(inout erasure audit.erasures)
  language plpgsql
  set search_path = ''
as $$
declare
  v_found record;
  v_entry record;
  v_searches bigint;
begin
  if erasure.deleted_in = pg_current_xact_id() then
    return; -- what this transaction deleted, others may still find
  elsif erasure.awaited is null then
    erasure.awaited := audit.open_transactions();
  end if;
  erasure.awaited := array(select unnest(erasure.awaited) intersect select unnest(audit.open_transactions()));
  if erasure.awaited <> '{}' then
    return;
  end if;
  select v.erased + i.erased as erased, v.erased as personal_values, i.erased as identities, least(v.since, i.since) as since into v_found
  from audit.erase_values(erasure, 100000) v, audit.erase_identities(erasure, 100000) i;
  if v_found.erased > 0 then
    erasure := audit.count_erased(erasure, v_found.personal_values, v_found.identities, v_found.since);
    erasure.awaited := null; -- somebody may have found these
    return;
  end if;

  delete from audit.saved_searches s where s.organization_id = erasure.organization_id and s.owner = erasure.subject;
  get diagnostics v_searches = row_count;
  perform audit.mask_copies(erasure.organization_id, erasure.addresses || erasure.places);
  erasure.remains := jsonb_build_object(
    'elsewhere', audit.copies_left(erasure.organization_id, erasure.addresses),
    'entries', (
      select count(*) from public.audit_logs a where a.created_by = erasure.subject and a.organization_id = erasure.organization_id
    ),
    'entries_with_address', (
      select coalesce(jsonb_agg(m order by m), '[]')
      from (
        select distinct m
        from audit.plain_mentions(row(erasure.organization_id, erasure.subject, erasure.addresses)::audit.subject) m
        limit 1000
      ) d (m)
    )
  );
  v_entry := audit.record(erasure.organization_id, 'subject.erased', 'user', erasure.subject::text, jsonb_strip_nulls(jsonb_build_object(
    'erasure', erasure.id, 'subject', erasure.subject, 'until', audit.instant_text(erasure.until), 'ground', erasure.ground,
    'erased', erasure.counts
  )));
  erasure.entry := v_entry.chain || '-' || v_entry.seq;
  erasure.addresses := '{}';
  erasure.places := '{}';
  erasure.erased_at := clock_timestamp();
  erasure.counts := erasure.counts || jsonb_build_object(
    'exports', audit.withdraw_exports(erasure.organization_id, erasure.since),
    'saved_searches', v_searches,
    'reports', audit.withdraw_reports(erasure.organization_id, erasure.subject)
  );
  erasure.state := 'files';
end
$$;

comment on function audit.settle_erasure(audit.erasures) is
  'Ends the deletion once nobody is left who may have found what was deleted, and leaves the subject.erased entry.';

create or replace function audit.count_erased(inout erasure audit.erasures, personal_values bigint, identities bigint, since timestamptz)
  language plpgsql
  set search_path = ''
as $$
begin
  erasure.counts := erasure.counts || jsonb_build_object(
    'personal_values', coalesce((erasure.counts ->> 'personal_values')::bigint, 0) + count_erased.personal_values,
    'identities', coalesce((erasure.counts ->> 'identities')::bigint, 0) + count_erased.identities
  );
  erasure.since := least(erasure.since, count_erased.since);
  erasure.deleted_in := pg_current_xact_id();
end
$$;

comment on function audit.count_erased(audit.erasures, bigint, bigint, timestamptz) is 'Adds to what an erasure has erased.';

create or replace function audit.erase_on(inout erasure audit.erasures, most_rows int)
  language plpgsql
  set search_path = ''
as $$
declare
  v_step record;
  v_verification audit.verifications;
begin
  erasure.holds := audit.holds_on(erasure.organization_id);
  if erasure.holds is not null then
    return;
  end if;
  case erasure.state
    when 'values' then
      v_step := audit.erase_values(erasure, most_rows);
      erasure := audit.count_erased(erasure, v_step.erased, 0, v_step.since);
      if v_step.erased < most_rows then
        erasure.state := 'identities';
      end if;
    when 'identities' then
      v_step := audit.erase_identities(erasure, most_rows);
      -- Of who came from more, the copies elsewhere are found by the first ten thousand.
      erasure.places := array(select unnest(erasure.places || v_step.places) limit 10000);
      erasure := audit.count_erased(erasure, 0, v_step.erased, v_step.since);
      if v_step.erased < most_rows then
        erasure.state := 'settling';
      end if;
    when 'settling' then
      erasure := audit.settle_erasure(erasure);
    when 'files' then
      if not exists (
        select from audit.exports x where x.organization_id = erasure.organization_id and x.withdrawn_at is not null
        union all
        select from audit.reports r
        where r.organization_id = erasure.organization_id and (
          r.state = 'withdrawn' or r.state in ('queued', 'running') and r.generated_at is not null
        )
      ) then
        erasure.state := 'verifying';
      end if;
    when 'verifying' then
      select v.* into v_verification from audit.verifications v where v.organization_id = erasure.organization_id;
      if v_verification.begun_at > erasure.erased_at and v_verification.ended_at is not null then
        erasure.was_verified := v_verification.was_verified;
        erasure.verified_at := v_verification.verified_at;
        erasure.state := 'done';
      else
        -- The round that was begun before does not tell: the next is due at once.
        update audit.verifications v set begun_at = '-infinity'
        where v.organization_id = erasure.organization_id and v.ended_at is not null;
      end if;
  end case;
end
$$;

comment on function audit.erase_on(audit.erasures, int) is 'Does the next step of an erasure; a legal hold stops it where it is.';

create or replace function audit.continue_erasures(at_most interval default '4 seconds', most_rows int default 20000)
  returns int
  language plpgsql
  set search_path = ''
  set lock_timeout = '5s'
as $$
declare
  v_start timestamptz := clock_timestamp();
  v_id uuid;
  v_before audit.erasures;
  v_erasure audit.erasures;
  v_steps int := 0;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    perform audit.fail('AUARG', 'An erasure must see holds of the moment.', null, 'Run it at read committed.');
  end if;
  for v_id in select e.id from audit.erasures e where e.state not in ('done', 'refused') order by e.requested_at loop
    select e.* into v_erasure from audit.erasures e where e.id = v_id for update skip locked;
    continue when not found;
    perform audit.await_purge(); -- nothing goes after a hold was said
    loop
      v_before := v_erasure;
      v_erasure := audit.erase_on(v_erasure, most_rows);
      exit when v_erasure is not distinct from v_before;
      v_steps := v_steps + 1;
      exit when v_erasure.state in ('done', 'refused') or clock_timestamp() > v_start + at_most;
    end loop;
    update audit.erasures e set
      addresses = v_erasure.addresses, places = v_erasure.places, state = v_erasure.state, since = v_erasure.since, deleted_in = v_erasure.deleted_in,
      awaited = v_erasure.awaited, counts = v_erasure.counts, holds = v_erasure.holds, erased_at = v_erasure.erased_at,
      remains = v_erasure.remains, verified_at = v_erasure.verified_at, was_verified = v_erasure.was_verified, entry = v_erasure.entry
    where e.id = v_id;
    exit when clock_timestamp() > v_start + at_most;
  end loop;
  return v_steps;
end
$$;

comment on function audit.continue_erasures(interval, int) is
  'Goes on with erasures for a few seconds, so many rows at a time; answers how many steps it took. pg_cron runs it.';

-- Certificate ------------------------------------------------------------------------------------------------------------

create or replace function audit.erasure_manifest(erasure audit.erasures)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  -- The form of an export's manifest without files, so that the same program verifies it.
  select jsonb_build_object(
    'version', 1, 'organization_id', (erasure).organization_id, 'format', 'erasure', 'filter', null, 'complete', true,
    'entries', 0, 'first', null, 'last', null, 'parts', '[]'::jsonb,
    'checkpoint', audit.newest_checkpoint((erasure).organization_id),
    'certificate', jsonb_build_object(
      'erasure', (erasure).id, 'subject', (erasure).subject, 'ground', (erasure).ground,
      'requested_at', audit.instant_text((erasure).requested_at), 'requested_by', (erasure).requested_by,
      'until', audit.instant_text((erasure).until), 'erased_at', audit.instant_text((erasure).erased_at),
      'erased', (erasure).counts, 'entry', (erasure).entry,
      'verification', jsonb_build_object(
        'at', audit.instant_text((erasure).verified_at), 'chains_and_logs_verify', (erasure).was_verified
      ),
      'remains', (erasure).remains || jsonb_build_object(
        'entries_hold', 'the user id, and salted commitments whose salt and values are deleted',
        'backups_until', case when audit.setting('backup_days')::int > 0 and exists (select from audit.backups b where b.made_at <= (erasure).erased_at)
          then audit.instant_text((erasure).erased_at + make_interval(days => audit.setting('backup_days')::int)) end,
        'not_reached', jsonb_build_array(
          'the write-ahead log and backups of the database server, until they expire',
          'files that were downloaded before', 'the application''s own tables and logs', 'other organisations'
        )
      )
    )
  )
$$;

comment on function audit.erasure_manifest(audit.erasures) is 'The certificate of an erasure that is done, in the form of an export''s manifest.';

create or replace function audit.certificate_to_sign()
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_erasure audit.erasures;
begin
  select e.* into v_erasure
  from audit.erasures e
  where e.state = 'done' and e.certificate_note is null and audit.is_sealed(e.organization_id, e.erased_at)
  order by e.requested_at
  limit 1
  for update skip locked;
  if v_erasure.id is null then
    return null;
  end if;
  update audit.erasures e set certificate = coalesce(e.certificate, audit.erasure_manifest(e)::text)
  where e.id = v_erasure.id
  returning e.certificate into v_erasure.certificate;
  return jsonb_build_object('id', v_erasure.id, 'manifest', v_erasure.certificate);
end
$$;

comment on function audit.certificate_to_sign() is
  'The certificate of an erasure that is done, whose entry is sealed and which is not signed yet; null where there is none.';

create or replace function audit.record_certificate_note(id uuid, note text)
  returns void
  language sql
  set search_path = ''
as $$
  update audit.erasures e set certificate_note = record_certificate_note.note
  where e.id = record_certificate_note.id and e.certificate is not null and e.certificate_note is null
$$;

comment on function audit.record_certificate_note(uuid, text) is 'Keeps the signature of an erasure''s certificate.';

-- Requests ---------------------------------------------------------------------------------------------------------------

create or replace function audit.request_erasure(request jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
begin
  perform audit.check_request(request, array['organization_id', 'subject', 'ground', 'reason', 'dry_run']);
  if coalesce(request ->> 'dry_run', 'true') not in ('true', 'false') then
    perform audit.fail('AUARG', 'dry_run is true or false.');
  end if;
  return audit.erase_subject(
    audit.requested_organization(request), request ->> 'subject', request ->> 'ground', request ->> 'reason',
    coalesce((request ->> 'dry_run')::boolean, true)
  );
end
$$;

comment on function audit.request_erasure(jsonb) is 'audit.erase_subject() as a request.';

create or replace function audit.find_erasure(id uuid)
  returns audit.erasures
  language plpgsql
  stable
  security definer -- erasures are shown to whoever reads all of the organisation's log
  set search_path = ''
as $$
declare
  v_erasure audit.erasures;
begin
  select e.* into v_erasure from audit.erasures e where e.id = find_erasure.id;
  if v_erasure.id is null or audit.reach(v_erasure.organization_id) is distinct from 'all' then
    perform audit.fail('AUNOT', 'There is no such erasure that you may see.');
  end if;
  return v_erasure;
end
$$;

comment on function audit.find_erasure(uuid) is 'An erasure, for admins and auditors of the organisation; raises AUNOT else.';

create or replace function audit.erasure_status(request jsonb)
  returns jsonb
  language plpgsql
  stable
  security definer -- reads erasures that audit.find_erasure() lets the caller see
  set search_path = ''
as $$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['erasure', 'organization_id']);
  if request ? 'erasure' then
    return audit.erasure_json(audit.find_erasure(audit.as_uuid(request ->> 'erasure')));
  end if;
  v_organization := audit.requested_organization(request);
  if audit.reach(v_organization) is distinct from 'all' then
    perform audit.fail('AUDEN', 'Erasures are for admins and auditors.');
  end if;
  return jsonb_build_object('organization_id', v_organization, 'erasures', coalesce((
    select jsonb_agg(audit.erasure_json(e) order by e.requested_at desc)
    from (
      select e.* from audit.erasures e where e.organization_id = v_organization order by e.requested_at desc limit 100
    ) e
  ), '[]'));
end
$$;

comment on function audit.erasure_status(jsonb) is 'How far an erasure is; without "erasure", the newest of the organisation.';

create or replace function audit.signed_certificate(request jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_erasure audit.erasures;
begin
  perform audit.check_request(request, array['erasure']);
  v_erasure := audit.find_erasure(audit.as_uuid(request ->> 'erasure'));
  if v_erasure.certificate_note is null then
    perform audit.fail('AUPND', 'The certificate is not signed yet.', null, format('The erasure is %s; ask again in a minute.', v_erasure.state));
  end if;
  return jsonb_build_object('manifest', v_erasure.certificate, 'note', v_erasure.certificate_note);
end
$$;

comment on function audit.signed_certificate(jsonb) is 'The certificate of an erasure to the byte, and its signature; AUPND while it is not signed.';
