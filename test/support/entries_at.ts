// Entries of chosen times in chosen chains, as the writer would have made them then, so that chains still verify. For
// connections of the superuser.
import type pg from "pg";

export type EntryAt = {
  organization: string;
  chain: number;
  at: Date;
  action: string;
  outcome?: string;
  actor?: string;
  provider?: string;
  cost?: number;
  resource?: string;
  details?: object;
  /** Of an identity that identity() made. */
  identity?: Uint8Array;
};

/** Appends entries in this order; within a chain their times must not go back. */
export async function writeAt(admin: pg.Client, entries: EntryAt[]): Promise<void> {
  await admin.query(FUNCTION);
  await admin.query("select pg_temp.write_at(e) from jsonb_array_elements($1) e", [
    JSON.stringify(entries.map(({ at, identity, ...entry }) => ({
      ...entry,
      at: at.toISOString(),
      ...(identity === undefined ? {} : { identity: `\\x${Buffer.from(identity).toString("hex")}` }),
    }))),
  ]);
}

/** Makes an identity, as a request from there would. */
export async function identity(
  admin: pg.Client,
  organization: string,
  { user, email, ip }: { user?: string; email?: string; ip?: string },
): Promise<Uint8Array> {
  const { rows } = await admin.query("select audit.identify($1, $2, $3, $4, null) as hash", [
    organization,
    user ?? null,
    email ?? null,
    ip ?? null,
  ]);
  return rows[0].hash;
}

const FUNCTION = `
  create or replace function pg_temp.write_at(entry jsonb) returns void language plpgsql as $$
  declare
    v_head audit.heads;
    v_entry public.audit_logs;
  begin
    insert into audit.heads as h (organization_id, chain, seq, last_at, prev_hash, hash)
    select o, c, 0, '-infinity', '', audit.first_prev_hash(o, c)
    from (select (entry ->> 'organization')::uuid as o, (entry ->> 'chain')::int as c) e
    on conflict on constraint heads_pkey do update set seq = h.seq
    returning h.* into v_head;
    v_entry.organization_id := v_head.organization_id;
    v_entry.chain := v_head.chain;
    v_entry.seq := v_head.seq + 1;
    v_entry.created_at := greatest(v_head.last_at, (entry ->> 'at')::timestamptz);
    v_entry.action := entry ->> 'action';
    v_entry.outcome := coalesce(entry ->> 'outcome', 'success');
    v_entry.resource_type := split_part(entry ->> 'resource', '/', 1);
    v_entry.resource_id := split_part(entry ->> 'resource', '/', 2);
    v_entry.created_by := (entry ->> 'actor')::uuid;
    v_entry.actor_type := case when entry ? 'actor' then 'user' else 'system' end;
    v_entry.identity_hash := (entry ->> 'identity')::bytea;
    v_entry.provider := entry ->> 'provider';
    v_entry.cost := (entry ->> 'cost')::numeric;
    v_entry.details := coalesce(entry -> 'details', '{}');
    v_entry.prev_hash := v_head.hash;
    v_entry.hash := audit.hash_of(audit.entry_text(v_entry));
    insert into public.audit_logs select v_entry.*;
    update audit.heads h set seq = v_entry.seq, last_at = v_entry.created_at, prev_hash = v_entry.prev_hash, hash = v_entry.hash
    where h.organization_id = v_entry.organization_id and h.chain = v_entry.chain;
  end
  $$`;
