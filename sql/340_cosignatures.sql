-- Cosignatures: witnesses outside sign that the anchor log only ever grew. Theirs stand in the checkpoint beside its own
-- signature, and what one of them saw, all organisations' logs are held to: the anchor log has the checkpoints of all.

create table if not exists audit.cosigned_checkpoints (
  log int not null references audit.logs (id),
  size bigint not null,
  cosigned_at timestamptz not null default clock_timestamp(),
  constraint cosigned_checkpoints_pkey primary key (log, size)
);

comment on table audit.cosigned_checkpoints is
  'Checkpoints that as many witnesses cosigned as the policy asks for; written by audit.record_cosignatures().';
comment on column audit.cosigned_checkpoints.log is 'The log.';
comment on column audit.cosigned_checkpoints.size is 'The checkpoint''s size.';
comment on column audit.cosigned_checkpoints.cosigned_at is 'When cosignatures were added last; idle logs get new ones every hour.';

create or replace function audit.note_text(note text)
  returns text
  language sql
  immutable
  parallel safe
  set search_path = ''
as $$
  -- Up to the last blank line: in what is turned round, the first.
  select reverse(substr(r.turned, strpos(r.turned, E'\n\n') + 1))
  from (values (reverse(note_text.note))) r (turned)
  where strpos(r.turned, E'\n\n') > 0
$$;

comment on function audit.note_text(text) is 'What the signatures of a signed note are over: all before its last blank line. Null where it has none.';

create or replace function audit.record_cosignatures(log int, size bigint, note text, enough boolean)
  returns void
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_origin text;
  v_kept text;
begin
  select l.origin, c.note into strict v_origin, v_kept
  from audit.checkpoints c
  join audit.logs l on l.id = c.log
  where c.log = record_cosignatures.log and c.size = record_cosignatures.size
  for update of c;
  -- Cosignatures come and go; what the log itself said stays.
  if audit.note_text(record_cosignatures.note) is distinct from audit.note_text(v_kept)
    or exists (
      select from string_to_table(v_kept, E'\n') own (line)
      where starts_with(own.line, '— ' || v_origin || ' ')
        and own.line <> all (string_to_array(record_cosignatures.note, E'\n'))
    )
  then
    perform audit.fail('AUARG', format('The note is not the checkpoint of %s at %s.', v_origin, record_cosignatures.size),
      null, 'Cosignatures are added to the note that was signed first.');
  end if;
  update audit.checkpoints c set note = record_cosignatures.note
  where c.log = record_cosignatures.log and c.size = record_cosignatures.size;
  if record_cosignatures.enough then
    insert into audit.cosigned_checkpoints (log, size) values (record_cosignatures.log, record_cosignatures.size)
    on conflict on constraint cosigned_checkpoints_pkey do update set cosigned_at = clock_timestamp();
  end if;
end
$$;

comment on function audit.record_cosignatures(int, bigint, text, boolean) is
  'Keeps a checkpoint with its cosignatures, and whether they are enough; refuses a note with another text, or without the log''s own signatures.';

create or replace function audit.lease_checkpoint(log int, size bigint, lease interval default '2 minutes')
  returns uuid
  language sql
  set search_path = ''
as $$
  update audit.logs l set lease = gen_random_uuid(), lease_until = clock_timestamp() + lease_checkpoint.lease
  where l.id = lease_checkpoint.log and l.published = lease_checkpoint.size and l.lease_until < clock_timestamp()
  returning l.lease
$$;

comment on function audit.lease_checkpoint(int, bigint, interval) is
  'Has the log to oneself while its newest checkpoint is published again, so that it never replaces a newer one; null where
there is a newer one, or a run is about to publish it. audit.record_published() ends it.';

create or replace function audit.anchor_of(log int, size bigint)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object('index', e.index, 'entry', e.entry, 'size', e.size, 'note', e.note, 'checkpoint', c.note)
  from (
    select e.index, e.entry, e.size, o.note
    from audit.anchor_entries e
    -- A log that was restored from its archive alone has its last checkpoint only.
    join audit.checkpoints o on o.log = e.log and o.size = e.size and o.note is not null
    where e.log = anchor_of.log and e.size >= anchor_of.size
    order by e.size
    limit 1
  ) e
  cross join lateral (
    select c.note
    from audit.logs a
    join audit.checkpoints c on c.log = a.id
    left join audit.cosigned_checkpoints s on s.log = c.log and s.size = c.size
    where a.month is null and c.size > e.index and c.size <= a.published
      and (s.size is not null or c.size = a.published)
    order by s.size desc nulls last
    limit 1
  ) c
$$;

comment on function audit.anchor_of(int, bigint) is
  'Where the anchor log has the first checkpoint of a log that covers so many entries: its index there, its text, size and note; and
the anchor log''s checkpoint over it, the newest that witnesses cosigned, else the newest. Null where it is not anchored yet.';
