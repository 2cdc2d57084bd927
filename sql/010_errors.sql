-- One registry of error codes for SQL, TypeScript and people. Every `raise` of the product uses a code listed here
-- through audit.fail(); sql/README.md explains how the codes were chosen.

create or replace function audit.fail(code text, message text, detail text default null, hint text default null)
  returns void
  language plpgsql
  stable
  set search_path = ''
as $$
begin
  raise exception using
    errcode = fail.code,
    message = fail.message,
    detail = coalesce(fail.detail, ''),
    hint = coalesce(fail.hint, '');
end
$$;

comment on function audit.fail(text, text, text, text) is
  'Raises an error with one of the codes of audit.error_codes: the message names the cause, the hint the way out.';

create or replace view audit.error_codes as
  select code, http_status, name, meaning
  from (values
    ('AUIMM', 409, 'log_immutable', 'Entries of the log are never changed or deleted.'),
    ('AUTBL', 404, 'table_not_found', 'There is no table of that name.'),
    ('AUKND', 422, 'table_kind_unsupported', 'Only ordinary and partitioned tables can be tracked.'),
    ('AUPRT', 422, 'table_is_partition', 'A partition is captured through its parent.'),
    ('AULOG', 422, 'table_is_the_log', 'The product''s own tables are not tracked.'),
    ('AUNPK', 422, 'no_primary_key', 'A tracked table needs a primary key, or option "id".'),
    ('AUORG', 422, 'no_organization', 'The organisation of a row could not be determined.'),
    ('AUOPT', 422, 'invalid_option', 'An option is unknown, of the wrong type or names no column.'),
    ('AUARG', 422, 'invalid_argument', 'An argument is missing or out of range.'),
    ('AUQRY', 400, 'invalid_query', 'A query could not be read; the detail says where.'),
    ('AURUL', 422, 'invalid_rule', 'A rule has an unknown field, or a value that it cannot have.'),
    ('AUCUR', 400, 'invalid_cursor', 'A cursor was edited, or belongs to another search.'),
    ('AUNOT', 404, 'not_found', 'There is no such thing that the caller may read.'),
    ('AUPND', 409, 'not_sealed', 'The entry is not in a signed log yet.'),
    ('AUDEN', 403, 'access_denied', 'The caller may not do this.'),
    ('AUVLT', 409, 'vault_missing', 'The project has no Vault to keep a secret in.'),
    ('AUSTL', 409, 'capture_stale', 'The table was altered after it was tracked; track it again.'),
    ('AUFRK', 409, 'log_forked', 'A log would get two roots for one size.'),
    ('AULSE', 409, 'lease_lost', 'Another run took over the work.'),
    ('AURST', 409, 'not_restorable', 'A log is restored into an empty database, by one transaction.'),
    ('AURAT', 429, 'too_many_requests', 'The caller does this more often than is allowed.'),
    ('AUROW', 409, 'rows_unpaired', 'An update''s old and new rows could not be paired.')
  ) as registry (code, http_status, name, meaning);

comment on view audit.error_codes is 'Every error the product raises: SQLSTATE, HTTP status, name and meaning.';
