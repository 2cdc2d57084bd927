-- Heads of chains, and which chain a connection writes.
--
-- One chain an organisation would put every commit of that organisation in a queue. Here each connection writes the
-- chain whose number is its own slot in the server: no two live connections share a slot, so nobody waits for anybody,
-- at any isolation level. Should two ever meet (a forged setting), the head's row lock still keeps the chain correct.

create table if not exists audit.heads (
  organization_id uuid not null,
  chain int not null,
  seq bigint not null,
  last_at timestamptz not null,
  prev_hash bytea not null,
  hash bytea not null,
  constraint heads_pkey primary key (organization_id, chain)
)
with (
  -- Every append makes a version of this row. Room for many on its page lets each be pruned where it stands.
  fillfactor = 20,
  autovacuum_vacuum_scale_factor = 0,
  autovacuum_vacuum_threshold = 2000
);

comment on table audit.heads is 'The last entry of each chain; written by the append functions only.';
comment on column audit.heads.organization_id is 'Whose chain.';
comment on column audit.heads.chain is 'Number of the chain: the slot of the connections that wrote it.';
comment on column audit.heads.seq is 'Position of its last entry, 0 before the first.';
comment on column audit.heads.last_at is 'created_at of the last entry.';
comment on column audit.heads.prev_hash is 'prev_hash of the last entry.';
comment on column audit.heads.hash is 'hash of the last entry; what the next one links to.';

revoke all on audit.heads from public, anon, authenticated, service_role;
revoke insert, update, delete, truncate on audit.heads from current_user;
grant select on audit.heads to service_role;
grant select, insert, update on audit.heads to audit_writer;

create or replace function audit.connection_slot()
  returns int
  language plpgsql
  set search_path = ''
as $$
begin
  -- The first half of a virtual transaction id is the connection's slot; unlike pg_stat_get_backend_idset(), which
  -- renumbers on PG 15, it stays the same for the connection's life on every version.
  return (
    select split_part(l.virtualtransaction, '/', 1)::int
    from pg_catalog.pg_locks l
    where l.pid = pg_backend_pid() and l.locktype = 'virtualxid' and l.granted
    limit 1
  );
end
$$;

comment on function audit.connection_slot() is 'The place of this connection in the server; no two live ones share it.';

create or replace function audit.connection_chain()
  returns int
  language plpgsql
  set search_path = ''
as $$
begin
  if current_setting('max_prepared_transactions') <> '0' then
    return null; -- decided anew in each transaction, by audit.transaction_chain()
  end if;
  return audit.connection_slot();
end
$$;

comment on function audit.connection_chain() is
  'The number of the chain that this connection writes: its slot in the server; null where transactions can be prepared.';

-- A prepared transaction outlives its connection and keeps its heads locked. Where the server allows them (hosted
-- Supabase does not), each transaction holds its chain by an advisory lock and passes over those that others hold.
create or replace function audit.transaction_chain()
  returns int
  language plpgsql
  set search_path = ''
as $$
declare
  v_chain int := audit.connection_slot();
begin
  while not pg_try_advisory_xact_lock(1096110404, v_chain) loop
    v_chain := v_chain + 100000;
  end loop;
  return v_chain;
end
$$;

comment on function audit.transaction_chain() is
  'The number of the chain that this transaction writes, where transactions can be prepared.';
