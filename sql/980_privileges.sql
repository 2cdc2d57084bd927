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
-- Reading runs as the reader, with all it is made of.
grant execute on function
  audit.access_page(),
  audit.as_uuid(text),
  audit.canonical_node(jsonb, text, int, boolean),
  audit.canonical_pattern(text),
  audit.canonical_query(jsonb, boolean),
  audit.check_file(jsonb),
  audit.check_request(jsonb, text[]),
  audit.check_sort(text),
  audit.compile_cost(text, text[]),
  audit.compile_identity(uuid, text, text, text[]),
  audit.compile_leaf(uuid, jsonb),
  audit.compile_path(text, text, text[]),
  audit.compile_query(uuid, jsonb),
  audit.compile_resource(text, text[]),
  audit.compile_time(text, text[]),
  audit.compile_word(text, text, text[]),
  audit.compiled(text, jsonb),
  audit.convert_query(jsonb),
  audit.cost_bucket(numeric),
  audit.either(audit.compiled_query[]),
  audit.entries_by_name(uuid, audit.position[]),
  audit.entries_json(public.audit_logs[]),
  audit.entry_json(public.audit_logs, text, text, text),
  audit.fail(text, text, text, text),
  audit.fail_query(text, jsonb, text),
  audit.format_node(jsonb, text),
  audit.format_query(jsonb),
  audit.history(text, text, uuid, int),
  audit.instant_text(timestamptz),
  audit.make_cursor(uuid, text, audit.position),
  audit.matching(uuid, audit.compiled_query, text, audit.position, int),
  audit.matching_sql(uuid, audit.compiled_query, text),
  audit.needs_no_index(uuid, audit.compiled_query),
  audit.number_value(text),
  audit.parse_any(audit.query_token[], int, int),
  audit.parse_query(text),
  audit.path_order(text, text, text, text),
  audit.position_condition(text, text, audit.position),
  audit.pattern_like(text),
  audit.pattern_parts(text),
  audit.pattern_regex(text),
  audit.query_fields(),
  audit.query_instants(text),
  audit.query_leaf(jsonb, jsonb),
  audit.query_path(text),
  audit.query_pattern(text),
  audit.query_quoted(text),
  audit.query_tokens(text),
  audit.query_word(text),
  audit.reach(uuid),
  audit.read_cursor(uuid, text, text),
  audit.read_query_value(text, text, int, int),
  audit.read_query_word(text, int),
  audit.readable_organization(uuid),
  audit.record_reading(uuid, text, jsonb, text, text),
  audit.requested_organization(jsonb),
  audit.requested_tree(jsonb),
  audit.sample_matching(uuid, audit.compiled_query, int),
  audit.search(text, uuid, text, int),
  audit.search_candidates(uuid, jsonb, timestamptz, timestamptz, boolean, audit.position, int),
  audit.search_page(jsonb),
  audit.search_tail(uuid),
  audit.search_text(public.audit_logs),
  audit.search_tokens(text),
  audit.search_words(text),
  audit.system_organization(),
  audit.timeline(uuid, timestamptz, timestamptz, boolean, audit.position, int),
  audit.term_group(text, text[]),
  audit.view_entry(jsonb),
  audit.waiting_entries(uuid),
  audit.word_groups(text, boolean),
  -- Exports and costs.
  audit.cancel_export(jsonb),
  audit.close_export_part(jsonb),
  audit.cost_groups(text[]),
  audit.costs(text, text, uuid),
  audit.costs_of(uuid, audit.compiled_query, text[]),
  audit.costs_page(jsonb),
  audit.csv_text(text),
  audit.entries_before(uuid, int),
  audit.export_columns(text),
  audit.export_status(jsonb),
  audit.find_export(uuid),
  audit.list_exports(jsonb),
  audit.open_export(jsonb),
  audit.open_part(audit.exports, int, bigint, text, text, text),
  audit.part_after(uuid, text),
  audit.request_export(jsonb),
  audit.requested_export(jsonb),
  -- Inlining needs each part.
  audit.ocsf(public.audit_logs, text, text, text),
  audit.ocsf_ai_operation(text, text, jsonb),
  audit.ocsf_caption(int, text, text, text),
  audit.ocsf_classification(int, text),
  audit.ocsf_count(jsonb),
  audit.ocsf_endpoint(text, text),
  audit.ocsf_line(public.audit_logs, text, text, text),
  audit.ocsf_members(int, public.audit_logs, text, text, text),
  audit.ocsf_metadata(public.audit_logs, text),
  audit.ocsf_origin(public.audit_logs, text, text, text),
  audit.ocsf_resource(public.audit_logs),
  audit.ocsf_severity(text, text, jsonb),
  audit.ocsf_status(text, text),
  audit.ocsf_target(public.audit_logs, text, text, boolean),
  audit.ocsf_target_id(text, text, jsonb),
  audit.ocsf_type_uid(text, jsonb),
  audit.ocsf_user(uuid, text, text, jsonb)
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
  audit.on_sql_drop(),
  audit.index_entries(int),
  audit.rebuild_search_index(),
  audit.claim_export(interval),
  audit.fail_export(jsonb),
  audit.call_jobs(text),
  audit.continue_exports()
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
