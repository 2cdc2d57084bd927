-- What each role may do in schema audit, whole, on one page. Everything is withdrawn first and granted by name: a
-- per-schema `alter default privileges … revoke execute … from public` has no effect in Postgres.

revoke all on all tables in schema audit from public, anon, authenticated, service_role;
revoke all on all functions in schema audit from public, anon, authenticated, service_role, audit_writer;

grant usage on schema audit to authenticated, service_role;

-- Signed-in users: row level security decides what they see; the functions decide who is an admin.
grant select on audit.identities, audit.personal_values to authenticated;
grant execute on function
  audit.caller(),
  audit.admin_organizations(),
  audit.member_organizations(),
  audit.auditor_organizations(boolean),
  audit.grant_auditor(uuid, uuid, timestamptz, boolean),
  audit.revoke_auditor(uuid, uuid),
  audit.entry_text(public.audit_logs),
  audit.entry_text(
    uuid, int, bigint, timestamptz, text, text, text, text, uuid, text, bytea, text, numeric, text, jsonb, bytea
  ),
  audit.hash_of(text)
to authenticated;

-- The application's own backend.
grant select on
  audit.identities, audit.personal_values, audit.heads, audit.auditors, audit.settings, audit.tracked_tables,
  audit.coverage, audit.error_codes
to service_role;
grant execute on all functions in schema audit to service_role;
revoke execute on function
  audit.append(uuid, text, text, text, text, uuid, text, numeric, jsonb, boolean),
  audit.append_all(audit.draft[]),
  audit.identify(uuid, uuid, text, text, text),
  audit.commit_personal(uuid, uuid, text, text, text, text),
  audit.use_membership(text, text, text, text, text[], text[]),
  audit.compile_ip_setting(),
  audit.configure(text, jsonb, uuid),
  audit.track(text, jsonb),
  audit.untrack(text),
  audit.refresh_capture(),
  audit.track_known_tables(),
  audit.ensure_partitions(int),
  audit.secure_partition(regclass),
  audit.on_ddl_command_end(),
  audit.on_sql_drop()
from service_role;

-- The owner's functions (generated triggers, audit.record) hand over to the writer's.
grant execute on function
  audit.append(uuid, text, text, text, text, uuid, text, numeric, jsonb, boolean),
  audit.append_all(audit.draft[])
to current_user;

-- The writer: what the append functions call.
grant select, insert on audit.identities to audit_writer;
grant select, insert, update on audit.heads to audit_writer;
grant execute on function
  audit.as_uuid(text),
  audit.bounded(text, int),
  audit.caller(),
  audit.chain_step(bytea, bytea, bytea),
  audit.chained(bytea, bytea),
  audit.connection_chain(),
  audit.connection_slot(),
  audit.context(),
  audit.details_limit(),
  audit.digest_of(bytea),
  audit.digest_of(text),
  audit.entry_text(
    uuid, int, bigint, timestamptz, text, text, text, text, uuid, text, bytea, text, numeric, text, jsonb, bytea
  ),
  audit.first_prev_hash(uuid, int),
  audit.fitted(jsonb, int),
  audit.hash_of(text),
  audit.identify(uuid, uuid, text, text, text),
  audit.identity_text(uuid, uuid, text, text, text),
  audit.linked_hash(bytea, bytea),
  audit.masked(jsonb),
  audit.masked_text(text),
  audit.may_hold_secret(text),
  audit.network_of(text),
  audit.normalized_ip(text),
  audit.permitted_ip(uuid, text),
  audit.random_salt(),
  audit.secret_pattern(),
  audit.system_organization(),
  audit.transaction_chain(),
  audit.with_cuts(jsonb, jsonb, text[])
to audit_writer;
