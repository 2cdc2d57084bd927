-- Which tables are captured, and how: one row a table, written by audit.track() and audit.untrack().

create table if not exists audit.tracked_tables (
  table_name regclass not null,
  options jsonb not null,
  plan jsonb not null,
  function_name text not null,
  function_hash bytea not null,
  table_owner name not null,
  tracked_at timestamptz not null default clock_timestamp(),
  constraint tracked_tables_pkey primary key (table_name)
);

comment on table audit.tracked_tables is 'The tables whose changes are captured; see audit.coverage for their health.';
comment on column audit.tracked_tables.table_name is 'The table.';
comment on column audit.tracked_tables.options is 'What was given to audit.track().';
comment on column audit.tracked_tables.plan is 'What was made of it: the meaning and treatment of each column.';
comment on column audit.tracked_tables.function_name is 'The generated trigger function.';
comment on column audit.tracked_tables.function_hash is 'SHA-256 of its source, to notice a replacement.';
comment on column audit.tracked_tables.table_owner is 'Owner of the table when it was tracked.';
comment on column audit.tracked_tables.tracked_at is 'When it was tracked, last.';
