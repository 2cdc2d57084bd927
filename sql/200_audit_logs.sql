-- The log. One row is one entry; sql/FORMAT.md says to the byte what is hashed.

-- No check constraints: they would be parsed anew by every statement (6 µs each); the one writer keeps what they would say.
create table if not exists public.audit_logs (
  organization_id uuid not null,
  chain int not null,
  seq bigint not null,
  created_at timestamptz not null,
  action text not null,
  outcome text not null,
  resource_type text,
  resource_id text,
  created_by uuid,
  actor_type text not null,
  identity_hash bytea,
  provider text,
  cost numeric,
  request_id text,
  details jsonb not null,
  prev_hash bytea not null,
  hash bytea not null
) partition by range (created_at);

comment on table public.audit_logs is
  'The audit log: who did what, when, to which resource. Append-only and hash-chained; verify it with audit.verify().';
comment on column public.audit_logs.organization_id is 'The tenant; the nil UUID for events that belong to none.';
comment on column public.audit_logs.chain is 'Which of the organisation''s chains the entry stands in.';
comment on column public.audit_logs.seq is 'Position in the chain, from 1, without gaps. "chain-seq" is the entry''s name.';
comment on column public.audit_logs.created_at is 'Clock at writing; never earlier than the entry before it in the chain.';
comment on column public.audit_logs.action is 'What was done, dotted and past tense: api_key.added.';
comment on column public.audit_logs.outcome is 'success, failure or denied.';
comment on column public.audit_logs.resource_type is 'What kind of thing it was done to: api_key, budget, query, …';
comment on column public.audit_logs.resource_id is 'Which one, by its primary key.';
comment on column public.audit_logs.created_by is 'The user who did it, null where no user is known.';
comment on column public.audit_logs.actor_type is 'user, api_key, service, database or system.';
comment on column public.audit_logs.identity_hash is
  'Salted commitment to the actor''s e-mail, IP address and user agent in audit.identities; null where none is known.';
comment on column public.audit_logs.provider is 'LLM provider the event is about: openai, anthropic, google, perplexity, …';
comment on column public.audit_logs.cost is 'What it cost, in the currency the application uses.';
comment on column public.audit_logs.request_id is 'Ties the entries of one request together. Clients can choose it.';
comment on column public.audit_logs.details is
  'What changed: {"new": …} for an addition, {"old": …} for a removal, {"changes": {column: {"old": …, "new": …}}}.';
comment on column public.audit_logs.prev_hash is 'Hash of entry seq - 1 of the same chain.';
comment on column public.audit_logs.hash is 'SHA-256 of the entry text with a 0x00 byte before it (RFC 6962 leaf hash).';

create or replace function audit.refuse_change()
  returns trigger
  language plpgsql
  set search_path = ''
as $$
begin
  if tg_op = 'DELETE' and current_user = 'audit_purger' then
    return old; -- audit.purge(), past their retention
  end if;
  perform audit.fail(
    'AUIMM', 'Entries of the audit log are never changed or deleted.',
    format('%s on %I.%I was refused.', tg_op, tg_table_schema, tg_table_name),
    'To let go of old entries, set a retention period; to erase a person, erase the identities.'
  );
end
$$;

comment on function audit.refuse_change() is 'Trigger function that refuses UPDATE, DELETE and TRUNCATE of the log to all but the purger, who may DELETE.';

-- Once, with the table: each of these locks writers out until the transaction of the load ends, also where there is nothing
-- to do, as `create index if not exists` does. So an upgrade passes them by; what a later version changes of them it says
-- beside them, under a condition of its own (test/db/upgrade.test.ts).
do $$
begin
  if not exists (select from pg_catalog.pg_policy p where p.polrelid = 'public.audit_logs'::regclass) then
    -- Each index costs every write 5 to 10 µs, so each has its question. The name is unique per partition; 210 makes it.
    -- What happened lately in my organisation?
    create index audit_logs_timeline_idx on public.audit_logs (organization_id, created_at);
    -- What did this person do?
    create index audit_logs_actor_idx on public.audit_logs (created_by, created_at);
    -- What happened to this thing? Not led by the organisation: capture finds by it the organisation of a row whose parent
    -- is already deleted (130_track.sql).
    create index audit_logs_resource_idx on public.audit_logs (resource_id, created_at);

    -- Immutability. Privileges already refuse; the triggers also stop the owner's slips, and fire under
    -- session_replication_role = replica.
    create trigger refuse_update_delete
      before update or delete on public.audit_logs
      for each row execute function audit.refuse_change();
    create trigger refuse_truncate
      before truncate on public.audit_logs
      for each statement execute function audit.refuse_change();
    alter table public.audit_logs enable always trigger refuse_update_delete;
    alter table public.audit_logs enable always trigger refuse_truncate;

    alter table public.audit_logs enable row level security;

    create policy "admins and auditors read their organisation's entries" on public.audit_logs
      for select to authenticated
      using (
        organization_id = any (array(select audit.admin_organizations()))
        or organization_id = any (array(select audit.auditor_organizations()))
      );

    create policy "members read their own activity" on public.audit_logs
      for select to authenticated
      using (
        created_by = (select auth.uid())
        and organization_id = any (array(select audit.member_organizations()))
      );

    create policy "the writer appends" on public.audit_logs for insert to audit_writer with check (true);

    create policy "the purger finds entries" on public.audit_logs for select to audit_purger using (true);

    create policy "the purger deletes entries" on public.audit_logs for delete to audit_purger using (true);
  end if;
end
$$;

revoke all on public.audit_logs from public, anon, authenticated, service_role;
revoke insert, update, delete, truncate on public.audit_logs from current_user;
grant select on public.audit_logs to authenticated, service_role;
grant insert on public.audit_logs to audit_writer;
grant select, delete on public.audit_logs to audit_purger;

create or replace function audit.organization_of(resource_type text, resource_id text)
  returns uuid
  language sql
  stable
  security definer -- the log knows organisations of rows that the caller may no longer see
  set search_path = ''
as $$
  select a.organization_id
  from public.audit_logs a
  where a.resource_id = organization_of.resource_id and a.resource_type = organization_of.resource_type
  order by a.created_at desc
  limit 1
$$;

comment on function audit.organization_of(text, text) is
  'The organisation under which the log last knew a resource; for rows whose parent was deleted in the same cascade.';
