-- Logs: the Merkle trees that entries are sealed into, one for each organisation and calendar month (UTC), and the anchor
-- log over all of them. PostgreSQL gives each entry its index and is the lock; the function audit-jobs hashes and signs.
--
-- A log grows in steps, each safe to repeat, and a crash between any two leaves what the next run finishes with the
-- same bytes:   sequenced (indexes given) → size (root recorded, then signed) → published (readers see the checkpoint).

create table if not exists audit.logs (
  id int generated always as identity primary key,
  organization_id uuid not null,
  month date,
  origin text not null,
  sequenced bigint not null default 0,
  size bigint not null default 0,
  published bigint not null default 0,
  first_at timestamptz,
  last_at timestamptz,
  opened_at timestamptz not null default clock_timestamp(),
  sealed_at timestamptz,
  closed_at timestamptz,
  lease uuid,
  lease_until timestamptz not null default '-infinity',
  constraint origin_is_of_one_log unique (origin),
  constraint one_log_a_month unique nulls not distinct (organization_id, month),
  constraint month_begins_on_its_first check (extract(day from month) = 1),
  constraint sizes_in_order check (0 <= published and published <= size and size <= sequenced)
);

comment on table audit.logs is
  'The Merkle logs (C2SP tlog-tiles): one for each organisation and month, and the anchor log. Steps: sequenced, size, published.';
comment on column audit.logs.id is 'Names the log in the database.';
comment on column audit.logs.organization_id is 'Whose entries; the nil UUID for the system organisation''s and for the anchor log.';
comment on column audit.logs.month is 'The first day of the month in which it was opened (UTC); null for the anchor log, which never ends.';
comment on column audit.logs.origin is 'The log''s name in its checkpoints.';
comment on column audit.logs.sequenced is 'How many entries have an index.';
comment on column audit.logs.size is 'How many entries the last recorded root is over.';
comment on column audit.logs.published is 'The size of the checkpoint that readers get.';
comment on column audit.logs.first_at is 'The oldest created_at among its entries: where in the log''s partitions they begin.';
comment on column audit.logs.last_at is 'The newest created_at among its entries.';
comment on column audit.logs.opened_at is 'When it was opened.';
comment on column audit.logs.sealed_at is 'When its last root was recorded.';
comment on column audit.logs.closed_at is 'When the next month''s log took over; its last checkpoint is final then.';
comment on column audit.logs.lease is 'Which run works on it; another may once lease_until is over.';
comment on column audit.logs.lease_until is 'Until when that run has it for itself.';

create unique index if not exists logs_open_idx on audit.logs (organization_id, (month is null)) where closed_at is null;
create index if not exists logs_unfinished_idx on audit.logs (id) where sequenced > published;

create table if not exists audit.log_ranges (
  log int not null references audit.logs (id),
  start bigint not null,
  organization_id uuid not null,
  chain int not null,
  from_seq bigint not null,
  to_seq bigint not null,
  constraint log_ranges_pkey primary key (log, start),
  constraint range_is_not_empty check (from_seq <= to_seq)
);

comment on table audit.log_ranges is 'Which entries stand where in a log: entries from_seq to to_seq of a chain from index start on.';
comment on column audit.log_ranges.log is 'The log.';
comment on column audit.log_ranges.start is 'Index of the first of them.';
comment on column audit.log_ranges.organization_id is 'Whose chain.';
comment on column audit.log_ranges.chain is 'The chain.';
comment on column audit.log_ranges.from_seq is 'The first entry.';
comment on column audit.log_ranges.to_seq is 'The last entry.';

-- An entry is sequenced once; and where is it?
create unique index if not exists log_ranges_entry_idx on audit.log_ranges (organization_id, chain, from_seq);

create table if not exists audit.sequenced (
  organization_id uuid not null,
  chain int not null,
  seq bigint not null,
  last_at timestamptz not null,
  constraint sequenced_pkey primary key (organization_id, chain)
)
with (fillfactor = 50);

comment on table audit.sequenced is 'How far each chain has its indexes; what is beyond waits to be sealed.';
comment on column audit.sequenced.organization_id is 'Whose chain.';
comment on column audit.sequenced.chain is 'The chain.';
comment on column audit.sequenced.seq is 'The last entry with an index.';
comment on column audit.sequenced.last_at is 'Its created_at: no later entry of the chain is older.';

create table if not exists audit.checkpoints (
  log int not null references audit.logs (id),
  size bigint not null,
  root bytea not null,
  frontier bytea not null,
  note text,
  recorded_at timestamptz not null default clock_timestamp(),
  signed_at timestamptz,
  published_at timestamptz,
  constraint checkpoints_pkey primary key (log, size),
  constraint root_is_sha256 check (octet_length(root) = 32)
);

comment on table audit.checkpoints is 'Every root that was recorded, one a size; signed only after it stands here, so a size never has two.';
comment on column audit.checkpoints.log is 'The log.';
comment on column audit.checkpoints.size is 'How many entries.';
comment on column audit.checkpoints.root is 'The root hash over them (RFC 6962).';
comment on column audit.checkpoints.frontier is 'The roots of the perfect subtrees they consist of, largest first, 32 bytes each.';
comment on column audit.checkpoints.note is 'The signed checkpoint (C2SP signed-note), null until it is signed.';
comment on column audit.checkpoints.recorded_at is 'When the root was recorded.';
comment on column audit.checkpoints.signed_at is 'When it was signed.';
comment on column audit.checkpoints.published_at is 'When readers could get it; null where a later one was published before it.';

-- The anchor log's entries are checkpoints of the other logs, so that one witness, or one checkpoint kept elsewhere,
-- stands for all organisations.
create table if not exists audit.anchor_entries (
  index bigint not null,
  log int not null references audit.logs (id),
  size bigint not null,
  entry text not null,
  constraint anchor_entries_pkey primary key (index),
  constraint anchored_once unique (log, size)
);

comment on table audit.anchor_entries is 'The entries of the anchor log: what the checkpoints of other logs say.';
comment on column audit.anchor_entries.index is 'Place in the anchor log.';
comment on column audit.anchor_entries.log is 'The log whose checkpoint it is.';
comment on column audit.anchor_entries.size is 'The checkpoint''s size.';
comment on column audit.anchor_entries.entry is 'The checkpoint''s text: origin, size and root, a line each.';

revoke all on audit.logs, audit.log_ranges, audit.sequenced, audit.checkpoints, audit.anchor_entries, audit.findings
from public, anon, authenticated, service_role;

create or replace function audit.log_chain()
  returns int
  language sql
  immutable
  parallel safe
  return 999999999;

comment on function audit.log_chain() is
  'The chain of the log''s own entries (log.opened, log.heartbeat), which are written where entries are sequenced and nowhere else.';

create or replace function audit.append_to_log_chain(organization_id uuid, action text, resource_id text, details jsonb)
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_usual audit.statement_context := audit.context();
  v_seq bigint;
begin
  -- Not the connection's chain: entries of others may wait there, which would have to be sealed before this one.
  perform set_config('audit.context', row(
    null::uuid, 'system', null::text, null::text, null::text, null::text, audit.log_chain(), null::jsonb
  )::audit.statement_context::text, false);
  select a.seq into v_seq
  from audit.append(
    append_to_log_chain.organization_id, append_to_log_chain.action, 'success', 'log', append_to_log_chain.resource_id,
    null, null, null, append_to_log_chain.details, false
  ) a;
  perform set_config('audit.context', v_usual::text, false);
  return v_seq;
end
$$;

comment on function audit.append_to_log_chain(uuid, text, text, jsonb) is 'Appends one of the log''s own entries and answers its seq.';
