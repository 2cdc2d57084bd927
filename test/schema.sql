-- schema audit
owner postgres
grant audit_writer: USAGE
grant authenticated: USAGE
grant postgres: CREATE, USAGE
grant service_role: USAGE

-- schema public
owner pg_database_owner
grant PUBLIC: USAGE
grant anon: USAGE
grant audit_writer: USAGE
grant authenticated: USAGE
grant pg_database_owner: CREATE, USAGE
grant postgres: USAGE
grant service_role: USAGE

-- role audit_writer
login f, inherit f, superuser f, bypass row level security f, create roles f, create databases f, replication f

-- type audit."position"
c, owner postgres
cost numeric
created_at timestamp with time zone
chain integer
seq bigint

-- type audit.compiled_query
c, owner postgres
condition text
term_groups jsonb
from_time timestamp with time zone
to_time timestamp with time zone

-- type audit.draft
c, owner postgres
organization_id uuid
action text
outcome text
resource_type text
resource_id text
created_by uuid
provider text
cost numeric
details jsonb
suspect boolean

-- type audit.exported_entry
c, owner postgres
name text
organization_id uuid
chain integer
seq bigint
created_at text
action text
outcome text
resource_type text
resource_id text
created_by uuid
actor_type text
email text
ip_address text
user_agent text
provider text
cost text
request_id text
details jsonb
prev_hash text
hash text

-- type audit.query_token
c, owner postgres
kind text
node jsonb
at integer

-- type audit.statement_context
c, owner postgres
created_by uuid
actor_type text
email text
ip_address text
user_agent text
request_id text
chain integer
extra jsonb

-- relation audit.auditors
kind r, owner postgres, persistence p
no row level security
column organization_id uuid not null
column user_id uuid not null
column expires_at timestamp with time zone not null
column sees_identities boolean not null default false
column granted_by uuid
column granted_at timestamp with time zone not null default clock_timestamp()
constraint auditors_expire CHECK (isfinite(expires_at))
constraint auditors_pkey PRIMARY KEY (organization_id, user_id)
CREATE UNIQUE INDEX auditors_pkey ON audit.auditors USING btree (organization_id, user_id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Outside readers of one organisation's log, each until a date.
comment on column organization_id: Whose log may be read.
comment on column user_id: Who may read it.
comment on column expires_at: When the grant ends by itself.
comment on column sees_identities: Whether e-mail, IP address and user agent are shown.
comment on column granted_by: The admin who granted it, null when it was done in the database.
comment on column granted_at: When it was granted.

-- relation audit.coverage
kind v, owner postgres, persistence p
column table_name text
column tracked boolean
column healthy boolean
column finding text
column way_out text
column tracked_at timestamp with time zone
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Every table that is or should be captured: whether capture is whole, else what is wrong (a row each) and the way out.
as
 WITH candidate AS (
         SELECT (c_1.oid)::regclass AS table_name
           FROM (audit.known_tables() k(table_name, options)
             JOIN pg_class c_1 ON (((c_1.relname = k.table_name) AND (c_1.relnamespace = ('public'::regnamespace)::oid) AND (c_1.relkind = ANY (ARRAY['r'::"char", 'p'::"char"])))))
        UNION
         SELECT t_1.table_name
           FROM audit.tracked_tables t_1
        ), member AS (
         SELECT c_1.table_name,
            m.member,
            t_1.function_name,
            t_1.function_hash,
            t_1.table_owner,
            t_1.plan,
            t_1.options
           FROM ((candidate c_1
             LEFT JOIN audit.tracked_tables t_1 ON (((t_1.table_name)::oid = (c_1.table_name)::oid)))
             CROSS JOIN LATERAL audit.with_children(c_1.table_name) m(member))
        ), finding(table_name, finding, way_out) AS (
         SELECT m.table_name,
            'not tracked'::text AS "?column?",
            (('select audit.track('::text || quote_literal(audit.qualified_name(m.table_name))) || ')'::text) AS "?column?"
           FROM member m
          WHERE ((m.function_name IS NULL) AND ((m.member)::oid = (m.table_name)::oid))
        UNION ALL
         SELECT m.table_name,
            format('trigger %s on %s is %s'::text, e.trigger_name, audit.qualified_name(m.member),
                CASE
                    WHEN (t_1.oid IS NULL) THEN 'missing'::text
                    WHEN (t_1.tgenabled = 'D'::"char") THEN 'disabled'::text
                    WHEN (t_1.tgenabled <> 'A'::"char") THEN 'skipped by session_replication_role'::text
                    ELSE 'calling another function'::text
                END) AS format,
            (('select audit.track('::text || quote_literal(audit.qualified_name(m.table_name))) || ')'::text)
           FROM ((member m
             CROSS JOIN audit.expected_triggers() e(trigger_name, timing, referencing))
             LEFT JOIN pg_trigger t_1 ON (((t_1.tgrelid = (m.member)::oid) AND (t_1.tgname = e.trigger_name))))
          WHERE ((m.function_name IS NOT NULL) AND ((t_1.oid IS NULL) OR (t_1.tgenabled <> 'A'::"char") OR (t_1.tgfoid IS DISTINCT FROM (to_regproc(('audit.'::text || quote_ident(m.function_name))))::oid)))
        UNION ALL
         SELECT m.table_name,
            (('function audit.'::text || quote_ident(m.function_name)) || ' was replaced'::text),
            (('select audit.track('::text || quote_literal(audit.qualified_name(m.table_name))) || ')'::text)
           FROM (member m
             JOIN pg_proc p ON ((p.oid = (to_regproc(('audit.'::text || quote_ident(m.function_name))))::oid)))
          WHERE (((m.member)::oid = (m.table_name)::oid) AND (sha256(convert_to(p.prosrc, 'UTF8'::name)) <> m.function_hash))
        UNION ALL
         SELECT m.table_name,
            ('columns changed since it was tracked: '::text || string_agg(d.name, ', '::text ORDER BY d.name)),
            (('select audit.track('::text || quote_literal(audit.qualified_name(m.table_name))) || ')'::text)
           FROM (member m
             CROSS JOIN LATERAL ( SELECT COALESCE(c_1.name, k.name) AS name
                   FROM (audit.columns_of(m.table_name) c_1(name, type, category)
                     FULL JOIN jsonb_object_keys((m.plan -> 'columns'::text)) k(name) ON ((k.name = c_1.name)))
                  WHERE ((c_1.name IS NULL) OR (k.name IS NULL))) d)
          WHERE (((m.member)::oid = (m.table_name)::oid) AND (m.function_name IS NOT NULL))
          GROUP BY m.table_name
        UNION ALL
         SELECT m.table_name,
            format('owner is %s, was %s'::text, pg_get_userbyid(c_1.relowner), m.table_owner) AS format,
            'find out who changed the owner, then track the table again'::text
           FROM (member m
             JOIN pg_class c_1 ON ((c_1.oid = (m.table_name)::oid)))
          WHERE (((m.member)::oid = (m.table_name)::oid) AND (pg_get_userbyid(c_1.relowner) <> m.table_owner))
        UNION ALL
         SELECT 'public.audit_logs'::regclass AS regclass,
            format('%s on %s is not always enabled'::text, g.trigger_name, audit.qualified_name(l.member)) AS format,
            format('alter table %s enable always trigger %I'::text, audit.qualified_name(l.member), g.trigger_name) AS format
           FROM ((audit.with_children('public.audit_logs'::regclass) l(member)
             CROSS JOIN ( VALUES ('refuse_update_delete'::text), ('refuse_truncate'::text)) g(trigger_name))
             LEFT JOIN pg_trigger t_1 ON (((t_1.tgrelid = (l.member)::oid) AND (t_1.tgname = g.trigger_name))))
          WHERE (t_1.tgenabled IS DISTINCT FROM 'A'::"char")
        UNION ALL
         SELECT 'public.audit_logs'::regclass AS regclass,
            'row level security is off'::text,
            'alter table public.audit_logs enable row level security'::text
           FROM pg_class c_1
          WHERE ((c_1.oid = ('public.audit_logs'::regclass)::oid) AND (NOT c_1.relrowsecurity))
        UNION ALL
         SELECT 'public.audit_logs'::regclass AS regclass,
            'entries wait in the default partition'::text,
            'select audit.ensure_partitions()'::text
          WHERE (EXISTS ( SELECT
                   FROM public.audit_logs_default))
        UNION ALL
         SELECT 'public.audit_logs'::regclass AS regclass,
            format('session_replication_role is set for %s'::text, COALESCE(r.rolname, d.datname, 'all'::name)) AS format,
            'alter role … reset session_replication_role'::text
           FROM ((pg_db_role_setting s
             LEFT JOIN pg_roles r ON ((r.oid = s.setrole)))
             LEFT JOIN pg_database d ON ((d.oid = s.setdatabase)))
          WHERE (EXISTS ( SELECT
                   FROM unnest(s.setconfig) x(x)
                  WHERE (x.x ~ '^session_replication_role=(replica|local)'::text)))
        )
 SELECT audit.qualified_name(c.table_name) AS table_name,
    (t.table_name IS NOT NULL) AS tracked,
    (NOT (EXISTS ( SELECT
           FROM finding f_1
          WHERE ((f_1.table_name)::oid = (c.table_name)::oid)))) AS healthy,
    f.finding,
    f.way_out,
    t.tracked_at
   FROM ((( SELECT candidate.table_name
           FROM candidate
        UNION
         SELECT 'public.audit_logs'::regclass AS regclass) c
     LEFT JOIN audit.tracked_tables t ON (((t.table_name)::oid = (c.table_name)::oid)))
     LEFT JOIN finding f ON (((f.table_name)::oid = (c.table_name)::oid)));

-- relation audit.error_codes
kind v, owner postgres, persistence p
column code text
column http_status integer
column name text
column meaning text
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Every error the product raises: SQLSTATE, HTTP status, name and meaning.
as
 SELECT code,
    http_status,
    name,
    meaning
   FROM ( VALUES ('AUIMM'::text,409,'log_immutable'::text,'Entries of the log are never changed or deleted.'::text), ('AUTBL'::text,404,'table_not_found'::text,'There is no table of that name.'::text), ('AUKND'::text,422,'table_kind_unsupported'::text,'Only ordinary and partitioned tables can be tracked.'::text), ('AUPRT'::text,422,'table_is_partition'::text,'A partition is captured through its parent.'::text), ('AULOG'::text,422,'table_is_the_log'::text,'The product''s own tables are not tracked.'::text), ('AUNPK'::text,422,'no_primary_key'::text,'A tracked table needs a primary key, or option "id".'::text), ('AUORG'::text,422,'no_organization'::text,'The organisation of a row could not be determined.'::text), ('AUOPT'::text,422,'invalid_option'::text,'An option is unknown, of the wrong type or names no column.'::text), ('AUARG'::text,422,'invalid_argument'::text,'An argument is missing or out of range.'::text), ('AUQRY'::text,400,'invalid_query'::text,'A query could not be read; the detail says where.'::text), ('AUCUR'::text,400,'invalid_cursor'::text,'A cursor was edited, or belongs to another search.'::text), ('AUNOT'::text,404,'not_found'::text,'There is no such thing that the caller may read.'::text), ('AUDEN'::text,403,'access_denied'::text,'The caller may not do this.'::text), ('AUSTL'::text,409,'capture_stale'::text,'The table was altered after it was tracked; track it again.'::text), ('AUROW'::text,409,'rows_unpaired'::text,'An update''s old and new rows could not be paired.'::text)) registry(code, http_status, name, meaning);

-- relation audit.export_parts
kind r, owner postgres, persistence p
no row level security
column export uuid not null
column part integer not null
column entries bigint not null
column first text
column last text
column next text
column bytes bigint
column sha256 text
column complete boolean not null default false
column path text
constraint export_parts_export_fkey FOREIGN KEY (export) REFERENCES audit.exports(id) ON DELETE CASCADE
constraint export_parts_pkey PRIMARY KEY (export, part)
CREATE UNIQUE INDEX export_parts_pkey ON audit.export_parts USING btree (export, part)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: The parts of exports, with what is needed to check a file against the log.
comment on column export: The export.
comment on column part: From 1.
comment on column entries: How many entries it has.
comment on column first: Name of its first entry, chain-seq.
comment on column last: Name of its last entry.
comment on column next: Cursor of the part after it; null if it is the last.
comment on column bytes: Its length before compression; null until it is closed.
comment on column sha256: SHA-256 of its bytes before compression, in hex.
comment on column complete: Whether all of it was sent or stored.
comment on column path: Where it lies in Storage, in bucket audit-exports.

-- relation audit.exports
kind r, owner postgres, persistence p
no row level security
column id uuid not null default gen_random_uuid()
column organization_id uuid not null
column requested_by uuid
column requested_at timestamp with time zone not null default clock_timestamp()
column format text not null
column gzip boolean not null default false
column filter jsonb not null
column until timestamp with time zone not null default clock_timestamp()
column state text not null
column next text
column lease_until timestamp with time zone
column attempts integer not null default 0
column error text
constraint exports_format_known CHECK ((format = ANY (ARRAY['csv'::text, 'json'::text, 'ndjson'::text, 'ocsf'::text, 'pdf'::text])))
constraint exports_pkey PRIMARY KEY (id)
constraint exports_state_known CHECK ((state = ANY (ARRAY['streaming'::text, 'queued'::text, 'running'::text, 'done'::text, 'failed'::text, 'cancelled'::text])))
CREATE INDEX exports_requested_by_idx ON audit.exports USING btree (requested_by, requested_at)
CREATE INDEX exports_waiting_idx ON audit.exports USING btree (requested_at) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text]))
CREATE UNIQUE INDEX exports_pkey ON audit.exports USING btree (id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Exports of the log: who asked for what, and how far it has come.
comment on column id: Names the export.
comment on column organization_id: Whose log.
comment on column requested_by: Who asked; every part is made with this user's rights of the moment.
comment on column requested_at: When.
comment on column format: csv, json, ndjson, ocsf or pdf.
comment on column gzip: Whether the parts in Storage are compressed.
comment on column filter: The query tree.
comment on column until: Entries that are written later are not part of it, so it comes to an end.
comment on column state: streaming to a client; queued, running, done or failed in the background; cancelled.
comment on column next: Cursor of the next part; null before the first and after the last.
comment on column lease_until: Until when a worker has it.
comment on column attempts: How often a worker has taken it up for the part that is next.
comment on column error: Why it failed.

-- relation audit.heads
kind r, owner postgres, persistence p, with fillfactor=20, autovacuum_vacuum_scale_factor=0, autovacuum_vacuum_threshold=2000
no row level security
column organization_id uuid not null
column chain integer not null
column seq bigint not null
column last_at timestamp with time zone not null
column prev_hash bytea not null
column hash bytea not null
constraint heads_pkey PRIMARY KEY (organization_id, chain)
CREATE UNIQUE INDEX heads_pkey ON audit.heads USING btree (organization_id, chain)
grant audit_writer: INSERT, SELECT, UPDATE
grant postgres: MAINTAIN, REFERENCES, SELECT, TRIGGER
grant service_role: SELECT
comment: The last entry of each chain; written by the append functions only.
comment on column organization_id: Whose chain.
comment on column chain: Number of the chain: the slot of the connections that wrote it.
comment on column seq: Position of its last entry, 0 before the first.
comment on column last_at: created_at of the last entry.
comment on column prev_hash: prev_hash of the last entry.
comment on column hash: hash of the last entry; what the next one links to.

-- relation audit.identities
kind r, owner postgres, persistence p
row level security
column organization_id uuid not null
column user_id uuid
column email text
column ip_address text
column user_agent text
column salt bytea not null
column identity_hash bytea not null
column lookup bytea not null
column created_at timestamp with time zone not null default clock_timestamp()
constraint identity_hash_is_sha256 CHECK ((octet_length(identity_hash) = 32))
constraint salt_has_16_bytes CHECK ((octet_length(salt) = 16))
CREATE INDEX identities_identity_hash_idx ON audit.identities USING btree (identity_hash)
CREATE INDEX identities_lookup_idx ON audit.identities USING btree (lookup)
CREATE INDEX identities_user_id_idx ON audit.identities USING btree (user_id)
policy "admins and permitted auditors read identities", command r, permissive, to authenticated, using ((organization_id = ANY (ARRAY( SELECT audit.admin_organizations() AS admin_organizations))) OR (organization_id = ANY (ARRAY( SELECT audit.auditor_organizations(identities => true) AS auditor_organizations)))), check -
policy "members read their own identities", command r, permissive, to authenticated, using ((user_id = ( SELECT auth.uid() AS uid)) AND (organization_id = ANY (ARRAY( SELECT audit.member_organizations() AS member_organizations)))), check -
policy "the writer finds identities", command r, permissive, to audit_writer, using true, check -
policy "the writer keeps identities", command a, permissive, to audit_writer, using -, check true
grant audit_writer: INSERT, SELECT
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: E-mail, IP address and user agent of an actor in one context; entries commit to it.
comment on column organization_id: In which organisation the person acted.
comment on column user_id: The user, null for anonymous clients.
comment on column email: E-mail address in the claims of the request.
comment on column ip_address: Client address; cut to its network or absent by the setting ip_addresses.
comment on column user_agent: User agent as the client sent it.
comment on column salt: 16 random bytes; without them the commitment says nothing.
comment on column identity_hash: SHA-256(0x02, salt, identity text); stands in audit_logs.identity_hash.
comment on column lookup: Digest of the same values without salt, to find the row again; erased with it.
comment on column created_at: When this context was first seen.

-- relation audit.personal_values
kind r, owner postgres, persistence p
row level security
column organization_id uuid not null
column subject_id uuid
column resource_type text not null
column resource_id text
column column_name text not null
column value text not null
column salt bytea not null
column value_hash bytea not null
column created_at timestamp with time zone not null default clock_timestamp()
constraint salt_has_16_bytes CHECK ((octet_length(salt) = 16))
CREATE INDEX personal_values_subject_id_idx ON audit.personal_values USING btree (subject_id)
CREATE INDEX personal_values_value_hash_idx ON audit.personal_values USING btree (value_hash)
policy "admins and permitted auditors read personal values", command r, permissive, to authenticated, using ((organization_id = ANY (ARRAY( SELECT audit.admin_organizations() AS admin_organizations))) OR (organization_id = ANY (ARRAY( SELECT audit.auditor_organizations(identities => true) AS auditor_organizations)))), check -
policy "members read personal values about themselves", command r, permissive, to authenticated, using ((subject_id = ( SELECT auth.uid() AS uid)) AND (organization_id = ANY (ARRAY( SELECT audit.member_organizations() AS member_organizations)))), check -
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Values of columns declared personal; entries hold {"personal": hash} instead.
comment on column organization_id: The organisation of the entry.
comment on column subject_id: The user the row is about, where the table says so.
comment on column resource_type: As in the entry.
comment on column resource_id: As in the entry.
comment on column column_name: The column that held the value.
comment on column value: The value.
comment on column salt: 16 random bytes; without them the commitment says nothing.
comment on column value_hash: SHA-256(0x02, salt, value); its hex stands in the entry's details.
comment on column created_at: When it was recorded.

-- relation audit.search_index
kind r, owner postgres, persistence p
no row level security
column organization_id uuid not null
column created_at timestamp with time zone not null
column chain integer not null
column seq bigint not null
column terms integer[] not null
CREATE INDEX search_index_terms_idx ON audit.search_index USING gin (terms)
CREATE INDEX search_index_timeline_idx ON audit.search_index USING btree (organization_id, created_at, chain, seq)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: What each entry can be found by. Derived from the log, and disposable.
comment on column organization_id: The organisation of the entry.
comment on column created_at: The entry's time.
comment on column chain: The entry's chain.
comment on column seq: The entry's position in its chain.
comment on column terms: Hashes of its words, paths and values, salted with organisation and month.

-- relation audit.search_positions
kind r, owner postgres, persistence p, with fillfactor=50
no row level security
column organization_id uuid not null
column chain integer not null
column seq bigint not null
column last_at timestamp with time zone not null
constraint search_positions_pkey PRIMARY KEY (organization_id, chain)
CREATE UNIQUE INDEX search_positions_pkey ON audit.search_positions USING btree (organization_id, chain)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: How far the search index has come; written by audit.index_entries() only.
comment on column organization_id: Whose chain.
comment on column chain: The chain.
comment on column seq: The last entry that is indexed.
comment on column last_at: Its time; no later entry of the chain is earlier.

-- relation audit.settings
kind r, owner postgres, persistence p
no row level security
column organization_id uuid not null
column name text not null
column value jsonb not null
column changed_at timestamp with time zone not null default clock_timestamp()
constraint settings_are_known CHECK (
CASE name
    WHEN 'ip_addresses'::text THEN (value = ANY (ARRAY['"on"'::jsonb, '"truncated"'::jsonb, '"off"'::jsonb]))
    WHEN 'query_text'::text THEN (jsonb_typeof(value) = 'boolean'::text)
    ELSE false
END)
constraint settings_pkey PRIMARY KEY (organization_id, name)
CREATE UNIQUE INDEX settings_pkey ON audit.settings USING btree (organization_id, name)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: What a project or an organisation has chosen; written by audit.configure().
comment on column organization_id: Whose choice; the nil UUID is the project's default.
comment on column name: ip_addresses ("on", "truncated" or "off") or query_text (true or false).
comment on column value: The chosen value.
comment on column changed_at: When it was last chosen; the log has every change.

-- relation audit.tracked_tables
kind r, owner postgres, persistence p
no row level security
column table_name regclass not null
column options jsonb not null
column plan jsonb not null
column function_name text not null
column function_hash bytea not null
column table_owner name not null
column tracked_at timestamp with time zone not null default clock_timestamp()
constraint tracked_tables_pkey PRIMARY KEY (table_name)
CREATE UNIQUE INDEX tracked_tables_pkey ON audit.tracked_tables USING btree (table_name)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: The tables whose changes are captured; see audit.coverage for their health.
comment on column table_name: The table.
comment on column options: What was given to audit.track().
comment on column plan: What was made of it: the meaning and treatment of each column.
comment on column function_name: The generated trigger function.
comment on column function_hash: SHA-256 of its source, to notice a replacement.
comment on column table_owner: Owner of the table when it was tracked.
comment on column tracked_at: When it was tracked, last.

-- relation public.audit_events
kind v, owner postgres, persistence p, with security_invoker=true
column organization_id uuid
column chain integer
column seq bigint
column created_at timestamp with time zone
column action text
column outcome text
column resource_type text
column resource_id text
column created_by uuid
column actor_type text
column email text
column ip_address text
column user_agent text
column provider text
column cost numeric
column request_id text
column details jsonb
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: The audit log with e-mail, IP address and user agent of the actor; the reader's own rights decide what is shown.
as
 SELECT a.organization_id,
    a.chain,
    a.seq,
    a.created_at,
    a.action,
    a.outcome,
    a.resource_type,
    a.resource_id,
    a.created_by,
    a.actor_type,
    i.email,
    i.ip_address,
    i.user_agent,
    a.provider,
    a.cost,
    a.request_id,
    a.details
   FROM (public.audit_logs a
     LEFT JOIN LATERAL ( SELECT i_1.email,
            i_1.ip_address,
            i_1.user_agent
           FROM audit.identities i_1
          WHERE (i_1.identity_hash = a.identity_hash)
         LIMIT 1) i ON (true));

-- relation public.audit_logs
kind p, owner postgres, persistence p
row level security
partition by RANGE (created_at)
column organization_id uuid not null
column chain integer not null
column seq bigint not null
column created_at timestamp with time zone not null
column action text not null
column outcome text not null
column resource_type text
column resource_id text
column created_by uuid
column actor_type text not null
column identity_hash bytea
column provider text
column cost numeric
column request_id text
column details jsonb not null
column prev_hash bytea not null
column hash bytea not null
CREATE INDEX audit_logs_actor_idx ON ONLY public.audit_logs USING btree (created_by, created_at)
CREATE INDEX audit_logs_resource_idx ON ONLY public.audit_logs USING btree (resource_id, created_at)
CREATE INDEX audit_logs_timeline_idx ON ONLY public.audit_logs USING btree (organization_id, created_at)
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.audit_logs FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change() (enabled A)
CREATE TRIGGER refuse_update_delete BEFORE DELETE OR UPDATE ON public.audit_logs FOR EACH ROW EXECUTE FUNCTION audit.refuse_change() (enabled A)
policy "admins and auditors read their organisation's entries", command r, permissive, to authenticated, using ((organization_id = ANY (ARRAY( SELECT audit.admin_organizations() AS admin_organizations))) OR (organization_id = ANY (ARRAY( SELECT audit.auditor_organizations() AS auditor_organizations)))), check -
policy "members read their own activity", command r, permissive, to authenticated, using ((created_by = ( SELECT auth.uid() AS uid)) AND (organization_id = ANY (ARRAY( SELECT audit.member_organizations() AS member_organizations)))), check -
policy "the writer appends", command a, permissive, to audit_writer, using -, check true
grant audit_writer: INSERT
grant authenticated: SELECT
grant postgres: MAINTAIN, REFERENCES, SELECT, TRIGGER
grant service_role: SELECT
comment: The audit log: who did what, when, to which resource. Append-only and hash-chained; verify it with audit.verify().
comment on column organization_id: The tenant; the nil UUID for events that belong to none.
comment on column chain: Which of the organisation's chains the entry stands in.
comment on column seq: Position in the chain, from 1, without gaps. "chain-seq" is the entry's name.
comment on column created_at: Clock at writing; never earlier than the entry before it in the chain.
comment on column action: What was done, dotted and past tense: api_key.added.
comment on column outcome: success, failure or denied.
comment on column resource_type: What kind of thing it was done to: api_key, budget, query, …
comment on column resource_id: Which one, by its primary key.
comment on column created_by: The user who did it, null where no user is known.
comment on column actor_type: user, api_key, service, database or system.
comment on column identity_hash: Salted commitment to the actor's e-mail, IP address and user agent in audit.identities; null where none is known.
comment on column provider: LLM provider the event is about: openai, anthropic, google, perplexity, …
comment on column cost: What it cost, in the currency the application uses.
comment on column request_id: Ties the entries of one request together. Clients can choose it.
comment on column details: What changed: {"new": …} for an addition, {"old": …} for a removal, {"changes": {column: {"old": …, "new": …}}}.
comment on column prev_hash: Hash of entry seq - 1 of the same chain.
comment on column hash: SHA-256 of the entry text with a 0x00 byte before it (RFC 6962 leaf hash).

-- relation public.audit_logs_<month>
kind r, owner postgres, persistence p
row level security
partition of public.audit_logs FOR VALUES FROM (<month>) TO (<next month>)
column organization_id uuid not null
column chain integer not null
column seq bigint not null
column created_at timestamp with time zone not null
column action text not null
column outcome text not null
column resource_type text
column resource_id text
column created_by uuid
column actor_type text not null
column identity_hash bytea
column provider text
column cost numeric
column request_id text
column details jsonb not null
column prev_hash bytea not null
column hash bytea not null
CREATE INDEX audit_logs_<month>_created_by_created_at_idx ON public.audit_logs_<month> USING btree (created_by, created_at)
CREATE INDEX audit_logs_<month>_organization_id_created_at_idx ON public.audit_logs_<month> USING btree (organization_id, created_at)
CREATE INDEX audit_logs_<month>_resource_id_created_at_idx ON public.audit_logs_<month> USING btree (resource_id, created_at)
CREATE UNIQUE INDEX audit_logs_<month>_name_idx ON public.audit_logs_<month> USING btree (organization_id, chain, seq)
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.audit_logs_<month> FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change() (enabled A)
CREATE TRIGGER refuse_update_delete BEFORE DELETE OR UPDATE ON public.audit_logs_<month> FOR EACH ROW EXECUTE FUNCTION audit.refuse_change() (enabled A)
grant postgres: MAINTAIN, REFERENCES, SELECT, TRIGGER

-- relation public.audit_logs_default
kind r, owner postgres, persistence p
row level security
partition of public.audit_logs DEFAULT
column organization_id uuid not null
column chain integer not null
column seq bigint not null
column created_at timestamp with time zone not null
column action text not null
column outcome text not null
column resource_type text
column resource_id text
column created_by uuid
column actor_type text not null
column identity_hash bytea
column provider text
column cost numeric
column request_id text
column details jsonb not null
column prev_hash bytea not null
column hash bytea not null
CREATE INDEX audit_logs_default_created_by_created_at_idx ON public.audit_logs_default USING btree (created_by, created_at)
CREATE INDEX audit_logs_default_organization_id_created_at_idx ON public.audit_logs_default USING btree (organization_id, created_at)
CREATE INDEX audit_logs_default_resource_id_created_at_idx ON public.audit_logs_default USING btree (resource_id, created_at)
CREATE UNIQUE INDEX audit_logs_default_name_idx ON public.audit_logs_default USING btree (organization_id, chain, seq)
CREATE TRIGGER refuse_truncate BEFORE TRUNCATE ON public.audit_logs_default FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change() (enabled A)
CREATE TRIGGER refuse_update_delete BEFORE DELETE OR UPDATE ON public.audit_logs_default FOR EACH ROW EXECUTE FUNCTION audit.refuse_change() (enabled A)
grant postgres: MAINTAIN, REFERENCES, SELECT, TRIGGER

-- function audit."json_value"(json)
CREATE OR REPLACE FUNCTION audit."json_value"(value json)
 RETURNS jsonb
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
begin
  return json_value.value::text::jsonb;
exception when others then
  return to_jsonb(json_value.value::text); -- \u0000, lone surrogates: legal in json, not in jsonb; kept as text
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A json value as jsonb, or as a string where jsonb cannot hold it.

-- function audit.access_page()
CREATE OR REPLACE FUNCTION audit.access_page()
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object('user_id', auth.uid(), 'organizations', coalesce(jsonb_agg(o.access order by o.organization_id), '[]'))
  from (
    select m.organization_id, jsonb_build_object(
      'organization_id', m.organization_id,
      'access', case when m.organization_id in (select audit.admin_organizations()) then 'all' else 'own' end,
      'as', case when m.organization_id in (select audit.admin_organizations()) then 'admin' else 'member' end
    ) as access
    from audit.member_organizations() m (organization_id)
    union all
    select a.organization_id, jsonb_build_object('organization_id', a.organization_id, 'access', 'all', 'as', 'auditor')
    from audit.auditor_organizations() a (organization_id)
    where a.organization_id not in (select audit.admin_organizations())
  ) o
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whose logs the caller reads, and how much of them.

-- function audit.admin_organizations()
CREATE OR REPLACE FUNCTION audit.admin_organizations()
 RETURNS SETOF uuid
 LANGUAGE sql
 STABLE SECURITY DEFINER ROWS 10
 SET search_path TO ''
AS $function$
  select m.organization_id from audit.memberships(auth.uid()) m where m.role = 'admin'
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Organisations that the caller administers.

-- function audit.append(uuid,text,text,text,text,uuid,text,numeric,jsonb,boolean)
CREATE OR REPLACE FUNCTION audit.append(organization_id uuid, action text, outcome text, resource_type text, resource_id text, created_by uuid, provider text, cost numeric, details jsonb, suspect boolean, OUT chain integer, OUT seq bigint, OUT hash bytea)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_context audit.statement_context := audit.context();
  v_identity bytea;
  v_hint text;
  v_place text;
  v_at timestamptz;
  v_prev bytea;
begin
  -- Each expression costs a new transaction 1 to 3 µs and each statement 10 and more, so the usual way through is
  -- short, and what is rare stands behind a condition.
  chain := v_context.chain;
  if chain is null then
    chain := audit.transaction_chain();
  end if;
  if organization_id is null then
    organization_id := audit.system_organization();
  end if;
  if v_context.extra is not null then
    details := details || v_context.extra;
  end if;
  if suspect or pg_column_size(details) > 800 then
    if length(cost::text) > 100 then
      details := details || jsonb_build_object('cost', audit.digest_of(cost::text));
      cost := null;
    end if;
    resource_id := audit.masked_text(audit.bounded(resource_id, 500));
    provider := audit.masked_text(audit.bounded(provider, 200));
    details := audit.fitted(audit.masked(details), audit.details_limit());
  end if;
  if v_context.email is not null or v_context.ip_address is not null or v_context.user_agent is not null then
    v_identity := audit.identify(
      organization_id, v_context.created_by, v_context.email, v_context.ip_address, v_context.user_agent
    );
  end if;

  v_hint := 'audit.head_' || left(organization_id::text, 2);
  v_place := current_setting(v_hint, true);
  loop
    -- The head is addressed by where its last version lies: through its index, a transaction of tens of thousands of
    -- statements would walk all its own dead versions each time. A stale or forged place finds no such head.
    if translate(v_place, '0123456789', '') = '(,)' then
      update audit.heads h set
        seq = h.seq + 1,
        last_at = greatest(h.last_at, v_now),
        prev_hash = h.hash,
        hash = audit.hash_of(audit.entry_text(
          append.organization_id, append.chain, h.seq + 1, greatest(h.last_at, v_now), append.action, append.outcome,
          append.resource_type, append.resource_id, coalesce(v_context.created_by, append.created_by),
          v_context.actor_type, v_identity, append.provider, append.cost, v_context.request_id, append.details, h.hash
        ))
      where h.ctid = v_place::tid and h.organization_id = append.organization_id and h.chain = append.chain
      returning set_config(v_hint, h.ctid::text, false), h.seq, h.last_at, h.prev_hash, h.hash
      into v_place, append.seq, v_at, v_prev, append.hash;
      exit when found;
    end if;
    -- An upsert makes the head or finds it, without the predicate lock that a select would take at SERIALIZABLE.
    insert into audit.heads as h (organization_id, chain, seq, last_at, prev_hash, hash)
    values (
      append.organization_id, append.chain, 0, '-infinity', ''::bytea,
      audit.first_prev_hash(append.organization_id, append.chain)
    )
    on conflict on constraint heads_pkey do update set seq = h.seq
    returning h.ctid::text into v_place;
  end loop;

  insert into public.audit_logs (
    organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, created_by, actor_type,
    identity_hash, provider, cost, request_id, details, prev_hash, hash
  )
  values (
    append.organization_id, append.chain, append.seq, v_at, append.action, append.outcome, append.resource_type,
    append.resource_id, coalesce(v_context.created_by, append.created_by), v_context.actor_type, v_identity,
    append.provider, append.cost, v_context.request_id, append.details, v_prev, append.hash
  );
end
$function$

owner audit_writer
grant postgres: EXECUTE
comment: Appends one entry to the organisation's chain of this connection and returns its place and hash.

-- function audit.append_all(audit.draft[])
CREATE OR REPLACE FUNCTION audit.append_all(drafts audit.draft[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_context audit.statement_context := audit.context();
  v_chain int := coalesce(v_context.chain, audit.transaction_chain());
begin
  insert into audit.heads as h (organization_id, chain, seq, last_at, prev_hash, hash)
  select o.organization_id, v_chain, 0, '-infinity', ''::bytea, audit.first_prev_hash(o.organization_id, v_chain)
  from (
    select distinct coalesce(d.organization_id, audit.system_organization()) as organization_id
    from unnest(append_all.drafts) d
    order by 1 -- the same order everywhere, should two connections ever share a chain
  ) o
  on conflict on constraint heads_pkey do nothing;

  with head as materialized (
    select h.organization_id, h.seq, h.last_at, h.hash,
      case
        when v_context.email is not null or v_context.ip_address is not null or v_context.user_agent is not null
          then audit.identify(
            h.organization_id, v_context.created_by, v_context.email, v_context.ip_address, v_context.user_agent
          )
      end as identity_hash
    from audit.heads h
    where h.chain = v_chain
      and h.organization_id = any (
        array(select distinct coalesce(d.organization_id, audit.system_organization()) from unnest(append_all.drafts) d)
      )
    for no key update
  ),
  draft as (
    select h.organization_id, h.seq as head_seq, h.hash as head_hash, h.identity_hash,
      greatest(h.last_at, v_now) as created_at,
      row_number() over (partition by h.organization_id order by d.n) as n,
      count(*) over (partition by h.organization_id) as total,
      d.action, d.outcome, d.resource_type, coalesce(v_context.created_by, d.created_by) as created_by,
      case when d.suspect then audit.masked_text(audit.bounded(d.resource_id, 500)) else d.resource_id end as resource_id,
      case when d.suspect then audit.masked_text(audit.bounded(d.provider, 200)) else d.provider end as provider,
      case when d.suspect and length(d.cost::text) > 100 then null else d.cost end as cost,
      case
        when d.suspect then audit.fitted(
          audit.masked(d.details || coalesce(v_context.extra, '{}') || case
            when length(d.cost::text) > 100 then jsonb_build_object('cost', audit.digest_of(d.cost::text)) else '{}'
          end), audit.details_limit()
        )
        when v_context.extra is null then d.details
        else d.details || v_context.extra
      end as details
    from (
      select u.organization_id, u.action, u.outcome, u.resource_type, u.resource_id, u.created_by, u.provider, u.cost,
        u.details, u.n, u.suspect or pg_column_size(u.details) > 800 as suspect
      from unnest(append_all.drafts) with ordinality
        as u (organization_id, action, outcome, resource_type, resource_id, created_by, provider, cost, details, suspect, n)
    ) d
    join head h on h.organization_id = coalesce(d.organization_id, audit.system_organization())
  ),
  chained as materialized (
    select d.*,
      audit.chained(
        d.head_hash,
        convert_to(audit.entry_text(
          d.organization_id, v_chain, d.head_seq + d.n, d.created_at, d.action, d.outcome, d.resource_type,
          d.resource_id, d.created_by, v_context.actor_type, d.identity_hash, d.provider, d.cost, v_context.request_id,
          d.details, null
        ), 'UTF8')
      ) over (partition by d.organization_id order by d.n rows unbounded preceding) as hashes
    from draft d
  ),
  moved as (
    update audit.heads h set
      seq = c.head_seq + c.n, last_at = c.created_at,
      prev_hash = substring(c.hashes from 1 for 32), hash = substring(c.hashes from 33)
    from chained c
    where c.n = c.total and h.organization_id = c.organization_id and h.chain = v_chain
  )
  insert into public.audit_logs (
    organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, created_by, actor_type,
    identity_hash, provider, cost, request_id, details, prev_hash, hash
  )
  select c.organization_id, v_chain, c.head_seq + c.n, c.created_at, c.action, c.outcome, c.resource_type, c.resource_id,
    c.created_by, v_context.actor_type, c.identity_hash, c.provider, c.cost, v_context.request_id, c.details,
    substring(c.hashes from 1 for 32), substring(c.hashes from 33)
  from chained c;
end
$function$

owner audit_writer
grant postgres: EXECUTE
comment: Appends many entries in one pass, in the order given; a window aggregate carries the hash.

-- function audit.as_uuid(text)
CREATE OR REPLACE FUNCTION audit.as_uuid(value text)
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ((value ~~ '________-____-____-____-____________'::text) AND (translate(value, '0123456789abcdefABCDEF'::text, ''::text) = '----'::text)) THEN (value)::uuid ELSE NULL::uuid END

owner postgres
grant audit_writer: EXECUTE
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The UUID, or null where the text is none; never an error.

-- function audit.auditor_organizations(boolean)
CREATE OR REPLACE FUNCTION audit.auditor_organizations(identities boolean DEFAULT false)
 RETURNS SETOF uuid
 LANGUAGE sql
 STABLE SECURITY DEFINER ROWS 10
 SET search_path TO ''
AS $function$
  select a.organization_id
  from audit.auditors a
  where a.user_id = auth.uid()
    and a.expires_at > clock_timestamp()
    and (a.sees_identities or not auditor_organizations.identities)
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Organisations whose log the caller may audit now; with true, those where identities are included.

-- function audit.bounded(text,integer)
CREATE OR REPLACE FUNCTION audit.bounded(value text, most integer)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN CASE WHEN (length(value) <= most) THEN value ELSE (("left"(value, (most - 72)) || '…sha256:'::text) || encode(sha256(convert_to(value, 'UTF8'::name)), 'hex'::text)) END

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The text, or where it is longer than `most` characters its beginning followed by "…sha256:" and the digest of all.

-- function audit.call_jobs(text)
CREATE OR REPLACE FUNCTION audit.call_jobs(job text)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_url text;
  v_secret text;
  v_request bigint;
begin
  if to_regclass('vault.decrypted_secrets') is null or to_regproc('net.http_post') is null then
    return null;
  end if;
  -- Dynamic: these schemas need not exist when this function is made.
  execute $q$
    select max(s.decrypted_secret) filter (where s.name = 'audit_jobs_url'), max(s.decrypted_secret) filter (where s.name = 'audit_jobs_secret')
    from vault.decrypted_secrets s where s.name in ('audit_jobs_url', 'audit_jobs_secret')
  $q$ into v_url, v_secret;
  if v_url is null or v_secret is null then
    return null;
  end if;
  execute 'select net.http_post(url := $1, headers := $2, timeout_milliseconds := 60000)'
    into v_request
    using v_url || '/' || call_jobs.job, jsonb_build_object('authorization', 'Bearer ' || v_secret, 'content-type', 'application/json');
  return v_request;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Asks the function audit-jobs to do a job; null where the Vault has no audit_jobs_url and audit_jobs_secret.

-- function audit.caller()
CREATE OR REPLACE FUNCTION audit.caller()
 RETURNS text
 LANGUAGE sql
 STABLE
RETURN COALESCE(NULLIF(NULLIF(current_setting('role'::text, true), 'none'::text), ''::text), (SESSION_USER)::text)

owner postgres
grant audit_writer: EXECUTE
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The database role that asked, also inside security definer functions: authenticated, service_role, postgres, …

-- function audit.cancel_export(jsonb)
CREATE OR REPLACE FUNCTION audit.cancel_export(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_export audit.exports;
begin
  perform audit.check_request(request, array['export']);
  v_export := audit.find_export(audit.requested_export(request));
  update audit.exports x set state = 'cancelled', lease_until = null
  where x.id = v_export.id and x.state in ('streaming', 'queued', 'running');
  return audit.export_status(request);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Stops an export; parts that are already made stay.

-- function audit.canonical_node(jsonb,text,integer,boolean)
CREATE OR REPLACE FUNCTION audit.canonical_node(tree jsonb, path text, depth integer, positioned boolean)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  -- The reader of the string form leaves in "at" where a term stood.
  v_place jsonb := case when positioned and tree ? 'at' then jsonb_build_object('position', tree -> 'at') else jsonb_build_object('path', path) end;
  v_keys text[];
  v_word text;
  v_part jsonb;
  v_parts jsonb := '[]';
  v_words text[];
begin
  if jsonb_typeof(tree) is distinct from 'object' then
    perform audit.fail_query('A query is a JSON object: {"and": […]}, {"or": […]}, {"not": …}, {"field", "op", "value"} or {"text"}.',
      jsonb_build_object('path', path));
  end if;
  if depth > 30 then
    perform audit.fail_query('A query is nested at most 30 deep.', v_place);
  end if;
  if positioned then
    tree := tree - 'at';
  end if;
  v_keys := array(select k from jsonb_object_keys(tree) k order by k);

  if v_keys in (array['and'], array['or']) then
    v_word := v_keys[1];
    if jsonb_typeof(tree -> v_word) is distinct from 'array' then
      perform audit.fail_query(format('"%s" holds an array of queries.', v_word), v_place);
    elsif v_word = 'or' and jsonb_array_length(tree -> v_word) = 0 then
      perform audit.fail_query('"or" holds at least one query.', v_place);
    end if;
    for i in 0 .. jsonb_array_length(tree -> v_word) - 1 loop
      v_part := audit.canonical_node(tree -> v_word -> i, format('%s/%s/%s', path, v_word, i), depth + 1, positioned);
      -- An "and" in an "and" says nothing; nor does an empty one.
      v_parts := v_parts || case when v_part ? v_word then v_part -> v_word else jsonb_build_array(v_part) end;
    end loop;
    return case
      when jsonb_array_length(v_parts) = 1 then v_parts -> 0
      -- Everything, in the words of the string form: every entry has an action.
      when v_parts = '[]' and depth > 0 then '{"field": "action", "op": "exists"}'
      else jsonb_build_object(v_word, v_parts)
    end;
  elsif v_keys = array['not'] then
    v_part := audit.canonical_node(tree -> 'not', path || '/not', depth + 1, positioned);
    return case when v_part ? 'not' then v_part -> 'not' else jsonb_build_object('not', v_part) end;
  elsif v_keys <@ array['prefix', 'text'] and 'text' = any (v_keys) then
    if jsonb_typeof(tree -> 'text') is distinct from 'string'
      or coalesce(jsonb_typeof(tree -> 'prefix'), 'boolean') <> 'boolean'
    then
      perform audit.fail_query('"text" is a string and "prefix" true or false.', v_place);
    end if;
    if length(tree ->> 'text') > 2000 then
      perform audit.fail_query('A text has at most 2,000 characters.', v_place);
    end if;
    v_words := audit.search_words(tree ->> 'text');
    if cardinality(v_words) = 0 then
      perform audit.fail_query('There is no word to search for.', v_place, 'Words are runs of letters and digits.');
    elsif (tree -> 'prefix') = 'true' and length(v_words[cardinality(v_words)]) < 3 then
      perform audit.fail_query('The beginning of a word has at least 3 characters.', v_place);
    end if;
    return jsonb_build_object('text', tree -> 'text') || case when (tree -> 'prefix') = 'true' then '{"prefix": true}' else '{}'::jsonb end;
  elsif v_keys <@ array['field', 'op', 'value'] and 'field' = any (v_keys) then
    return audit.query_leaf(tree, v_place);
  end if;
  perform audit.fail_query(
    format('A query has no %s here.', (select string_agg(format('"%s"', left(k, 50)), ', ') from unnest(v_keys) k)),
    v_place, 'It is {"and": […]}, {"or": […]}, {"not": …}, {"field", "op", "value"} or {"text", "prefix"}.'
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A part of a query tree in canonical form; positioned where the reader of the string form made it.

-- function audit.canonical_pattern(text)
CREATE OR REPLACE FUNCTION audit.canonical_pattern(pattern text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  select coalesce(string_agg(
    case when p.wild then '*' else regexp_replace(p.literal, '([*\\])', '\\\1', 'g') end, '' order by p.n
  ), '')
  from audit.pattern_parts(pattern) p
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The one way to write a pattern: \ only before * and \, one * where several stand.

-- function audit.canonical_query(jsonb,boolean)
CREATE OR REPLACE FUNCTION audit.canonical_query(tree jsonb, positioned boolean DEFAULT false)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_text text := tree::text;
  v_texts int := (length(v_text) - length(replace(v_text, '"text"', ''))) / 6;
  v_fields int := (length(v_text) - length(replace(v_text, '"field"', ''))) / 7;
  v_place jsonb := case when positioned then '{"position": 1}'::jsonb else '{"path": ""}' end;
begin
  -- Counted before anything is walked, so that no size of a tree takes long to refuse.
  if length(v_text) > 100000 or v_fields > 500 then
    perform audit.fail_query('A query has at most 500 comparisons and 100,000 characters.', v_place);
  elsif v_texts > 20 then
    perform audit.fail_query('A query has at most 20 texts.', v_place, 'Words that stand together are one text in quotes.');
  end if;
  return audit.canonical_node(tree, '', 0, positioned);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A query tree, checked, in the one form that says the same: nothing nested that need not be, values as strings.

-- function audit.capture_function_name(regclass)
CREATE OR REPLACE FUNCTION audit.capture_function_name(table_name regclass)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select format(
    'capture_%s_%s',
    left(regexp_replace(lower(n.nspname || '_' || c.relname), '[^a-z0-9_]+', '_', 'g'), 40),
    left(encode(sha256(convert_to(n.nspname || '.' || c.relname, 'UTF8')), 'hex'), 6)
  )
  from pg_catalog.pg_class c
  join pg_catalog.pg_namespace n on n.oid = c.relnamespace
  where c.oid = capture_function_name.table_name
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The name of the trigger function generated for a table.

-- function audit.capture_plan(regclass,jsonb)
CREATE OR REPLACE FUNCTION audit.capture_plan(table_name regclass, options jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_name text := (select relname from pg_catalog.pg_class where oid = capture_plan.table_name);
  v_options jsonb := capture_plan.options;
  v_key text;
  v_value jsonb;
  v_path text;
  v_resource text;
  v_id jsonb;
  v_plan jsonb;
  v_columns jsonb;
  v_missing text;
begin
  for v_key, v_value in select * from jsonb_each(v_options) loop
    if (case v_key
      when 'resource' then jsonb_typeof(v_value) <> 'string'
      when 'organization' then jsonb_typeof(v_value) <> 'string'
      when 'actor' then jsonb_typeof(v_value) not in ('string', 'null')
      when 'provider' then jsonb_typeof(v_value) not in ('string', 'null')
      when 'cost' then jsonb_typeof(v_value) not in ('string', 'null')
      when 'outcome' then jsonb_typeof(v_value) not in ('object', 'null')
      when 'actions' then jsonb_typeof(v_value) <> 'object'
      when 'update_of' then jsonb_typeof(v_value) <> 'object'
      when 'id' then jsonb_typeof(v_value) <> 'array'
      when 'record' then jsonb_typeof(v_value) <> 'array'
      when 'ignore' then jsonb_typeof(v_value) <> 'array'
      when 'mask' then jsonb_typeof(v_value) <> 'array'
      when 'personal' then jsonb_typeof(v_value) <> 'array'
      when 'content' then jsonb_typeof(v_value) <> 'array'
      else true
    end) then
      perform audit.fail(
        'AUOPT', format('Option "%s": %s is not understood.', v_key, v_value), null,
        'Options are resource, organization, actor, provider, cost (text), id, record, ignore, mask, personal, content'
          ' (lists of columns), actions {insert, insert_failed, update, delete}, update_of {column: action} and'
          ' outcome {column, failure: [values], denied: [values]}.'
      );
    end if;
  end loop;

  v_resource := coalesce(v_options ->> 'resource', audit.singular(v_name));
  v_plan := jsonb_build_object('resource', left(v_resource, 100));

  -- Which row: the primary key, unless told.
  v_id := coalesce(v_options -> 'id', (
    select jsonb_agg(a.attname order by k.n)
    from pg_catalog.pg_index i
    cross join lateral unnest(i.indkey::int2[]) with ordinality as k (attnum, n)
    join pg_catalog.pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.attnum
    where i.indrelid = capture_plan.table_name and i.indisprimary
  ));
  if v_id is null or v_id = '[]' then
    perform audit.fail(
      'AUNPK', format('Table %s has no primary key.', capture_plan.table_name), null,
      'Add one, or name the columns that identify a row: audit.track(''' || capture_plan.table_name || ''', ''{"id": ["column"]}'').'
    );
  end if;
  v_plan := v_plan || jsonb_build_object('id', v_id);

  -- Whose row. Without an answer the entry would land with nobody, so this is an error, not a guess.
  v_path := coalesce(
    v_options ->> 'organization',
    audit.found_column(capture_plan.table_name, array['organization_id', 'organisation_id', 'org_id', 'tenant_id', 'team_id', 'workspace_id', 'account_id'])
  );
  if v_path is null then
    perform audit.fail(
      'AUORG', format('Table %s has no column that names its organisation.', capture_plan.table_name), null,
      'Name it with option "organization": a column, "key.column" behind a foreign key, or "system" for rows of no tenant.'
    );
  end if;
  if v_path = 'system' then
    v_plan := v_plan || '{"organization": {"system": true}}';
  else
    v_plan := v_plan || jsonb_build_object('organization', audit.resolved_column(capture_plan.table_name, 'organization', v_path));
    if not exists (
      select
      from audit.columns_of(coalesce((v_plan #>> '{organization,table_oid}')::oid::regclass, capture_plan.table_name)) c
      where c.name = v_plan #>> '{organization,column}' and (c.type = 'uuid'::regtype or c.category = 'S')
    ) then
      perform audit.fail(
        'AUORG', format('Column %s of table %s is neither uuid nor text.', v_path, capture_plan.table_name), null,
        'Organisations are named by UUIDs; name a uuid column with option "organization".'
      );
    end if;
  end if;

  foreach v_key in array array['actor', 'provider', 'cost'] loop
    v_path := case
      when v_options ? v_key then v_options ->> v_key
      when v_key = 'actor' then audit.found_column(capture_plan.table_name, array['created_by', 'actor_id', 'user_id', 'owner_id'])
      when v_key = 'provider' then audit.found_column(capture_plan.table_name, array['provider', 'llm_provider'])
      else audit.found_column(capture_plan.table_name, array['total_cost', 'cost', 'cost_usd', 'total_cost_usd'])
    end;
    if v_path is not null then
      v_plan := v_plan || jsonb_build_object(v_key, audit.resolved_column(capture_plan.table_name, v_key, v_path));
    end if;
  end loop;

  -- How it went.
  if v_options -> 'outcome' is not null then
    v_plan := v_plan || jsonb_build_object('outcome', v_options -> 'outcome');
    if jsonb_typeof(v_options -> 'outcome') = 'object' then
      perform audit.resolved_column(capture_plan.table_name, 'outcome', v_options #>> '{outcome,column}');
    end if;
  elsif exists (select from audit.columns_of(capture_plan.table_name) c where c.name = 'success' and c.type = 'bool'::regtype) then
    v_plan := v_plan || '{"outcome": {"column": "success", "failure": ["false"]}}';
  elsif exists (select from audit.columns_of(capture_plan.table_name) c where c.name = 'status' and c.category in ('S', 'E')) then
    v_plan := v_plan
      || '{"outcome": {"column": "status", "failure": ["failed", "failure", "error"], "denied": ["denied", "rejected", "forbidden"]}}';
  end if;

  v_plan := v_plan || jsonb_build_object(
    'actions',
    jsonb_build_object(
      'insert', v_resource || '.created', 'update', v_resource || '.updated', 'delete', v_resource || '.deleted'
    ) || coalesce(v_options -> 'actions', '{}'),
    'update_of', coalesce(v_options -> 'update_of', '{}')
  );
  select a.key into v_missing
  from (select * from jsonb_each_text(v_plan -> 'actions') union all select * from jsonb_each_text(v_plan -> 'update_of')) a
  where a.value !~ '^[[:alpha:]][[:alnum:]_]*(\.[[:alpha:]][[:alnum:]_]*)+$' or length(a.value) > 100;
  if found and (v_options ? 'actions' or v_options ? 'update_of' or v_options ? 'resource') then
    perform audit.fail('AUOPT', format('The action for "%s" is none.', v_missing), null,
      'An action is dotted, in lower case and past tense: api_key.added.');
  elsif found then
    -- A table whose name makes no action (quotes, emoji): its entries are told apart by resource_type.
    v_plan := v_plan || '{"actions": {"insert": "row.created", "update": "row.updated", "delete": "row.deleted"}}';
  end if;

  -- How each column is treated.
  select jsonb_object_agg(c.name, coalesce(
    (select t.key
      from unnest(array['record', 'ignore', 'mask', 'personal', 'content']) t (key)
      where v_options -> t.key ? c.name
      limit 1),
    audit.column_treatment(v_name, c.name, c.type, c.category)
  ))
  into v_columns
  from audit.columns_of(capture_plan.table_name) c;
  v_plan := v_plan || jsonb_build_object('columns', coalesce(v_columns, '{}'));

  select named.name into v_missing
  from (
    select e.value as name
    from unnest(array['id', 'record', 'ignore', 'mask', 'personal', 'content']) k (key)
    cross join lateral jsonb_array_elements_text(coalesce(v_options -> k.key, '[]')) e
    union all
    select jsonb_object_keys(v_plan -> 'update_of')
  ) named
  where not v_columns ? named.name;
  if found then
    perform audit.fail('AUOPT', format('Table %s has no column %s.', capture_plan.table_name, v_missing), null,
      'Check the spelling in the options, or leave the column out.');
  end if;
  return v_plan;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What audit.track() would do with a table: the meaning and treatment of each column. Changes nothing.

-- function audit.capture_source(regclass,jsonb)
CREATE OR REPLACE FUNCTION audit.capture_source(table_name regclass, plan jsonb)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_differs text;
  v_position text := 'position in the statement';
begin
  select string_agg(audit.differs_expression(c.name, c.type), ' or ' order by c.name)
  into v_differs
  from audit.columns_of(capture_source.table_name) c
  where plan -> 'columns' ->> c.name in ('record', 'mask', 'personal')
    or plan -> 'columns' ->> c.name = 'content' and exists (
      select from audit.settings s where s.name = 'query_text' and s.value = 'true'
    );
  while exists (select from audit.columns_of(capture_source.table_name) c where c.name = v_position) loop
    v_position := v_position || '_';
  end loop;

  return format(
    $source$
-- Generated by audit.track(); do not edit, track the table again.
#variable_conflict use_column
declare
  d audit.draft;
  v_drafts audit.draft[] := '{}';
  v_organization_id uuid;
  v_action text;
  v_outcome text;
  v_resource_type text;
  v_resource_id text;
  v_created_by uuid;
  v_provider text;
  v_cost numeric;
  v_details jsonb;
  v_suspect boolean;
  v_many boolean;
  v_differs boolean := true;
  v_done record;
begin
  -- One probe of the transition table tells none, one or many rows, and maps the one. (Many is an exception, which also
  -- takes back the personal values that mapping the first two rows may have kept.)
  begin
    if tg_op = 'INSERT' then
      select
      %3$s
      into strict v_organization_id, v_action, v_outcome, v_resource_type, v_resource_id, v_created_by, v_provider,
        v_cost, v_details, v_suspect
      from new_rows n;
    elsif tg_op = 'UPDATE' then
      select
      %4$s,
      %6$s
      into strict v_organization_id, v_action, v_outcome, v_resource_type, v_resource_id, v_created_by, v_provider,
        v_cost, v_details, v_suspect, v_differs
      from new_rows n, old_rows o;
    elsif tg_op = 'DELETE' then
      select
      %5$s
      into strict v_organization_id, v_action, v_outcome, v_resource_type, v_resource_id, v_created_by, v_provider,
        v_cost, v_details, v_suspect
      from old_rows o;
    else
      v_many := true;
    end if;
  exception
    when too_many_rows then
      v_many := true;
    when no_data_found then
      if tg_op <> 'UPDATE' then
        return null;
      end if;
      v_many := true; -- no rows at all, or one that was swallowed: the pass below tells
    when undefined_column or undefined_table or undefined_function or datatype_mismatch then
      perform audit.fail('AUSTL',
        'Table ' || tg_relid::regclass || ' was altered after it was tracked, so its changes cannot be captured.',
        sqlerrm, 'Run: select audit.track(' || quote_literal(tg_relid::regclass) || ')');
  end;

  if v_many is null then
    if v_differs then
      v_done := audit.append(
        v_organization_id, v_action, v_outcome, v_resource_type, v_resource_id, v_created_by, v_provider, v_cost,
        v_details, v_suspect
      );
    end if;
    return null;
  end if;

  -- Many rows: mapped one by one, written in passes of bounded memory.
  if tg_op = 'INSERT' then
    for d in
      select
      %3$s
      from new_rows n
    loop
      v_drafts := array_append(v_drafts, d);
      if cardinality(v_drafts) = 5000 then
        perform audit.append_all(v_drafts);
        v_drafts := '{}';
      end if;
    end loop;
  elsif tg_op = 'UPDATE' then
    if (select count(*) from old_rows) <> (select count(*) from new_rows) then
      perform audit.fail('AUROW', 'An update changed rows that cannot be paired with their old state.',
        'A trigger on a partition of ' || tg_relid::regclass || ' swallowed a row that moved there.',
        'Let the trigger raise an error, or delete and insert the rows in two statements.');
    end if;
    -- Both transition tables are filled together, row by row, so equal positions are the same row, whatever its key.
    for d in
      select
      %4$s
      from (select t.*, row_number() over () as %7$I from new_rows t) n
      join (select t.*, row_number() over () as %7$I from old_rows t) o on n.%7$I = o.%7$I
      where %6$s
      order by n.%7$I
    loop
      v_drafts := array_append(v_drafts, d);
      if cardinality(v_drafts) = 5000 then
        perform audit.append_all(v_drafts);
        v_drafts := '{}';
      end if;
    end loop;
  elsif tg_op = 'DELETE' then
    for d in
      select
      %5$s
      from old_rows o
    loop
      v_drafts := array_append(v_drafts, d);
      if cardinality(v_drafts) = 5000 then
        perform audit.append_all(v_drafts);
        v_drafts := '{}';
      end if;
    end loop;
  else
    -- TRUNCATE; the rows are still there: each organisation learns how many of its own went.
    for d in execute format(
      'select %%s, %%L, ''success'', %%L, null, null, null, null, jsonb_build_object(''truncated'', true, ''rows'', count(*)), false from only %%I.%%I o group by 1',
      %8$L, %1$L, %2$L, tg_table_schema, tg_table_name
    ) loop
      v_drafts := array_append(v_drafts, d);
    end loop;
    if v_drafts = '{}' then
      v_drafts := array[row(
        null, %1$L, 'success', %2$L, null, null, null, null, jsonb_build_object('truncated', true, 'rows', 0), false
      )::audit.draft];
    end if;
  end if;
  if v_drafts <> '{}' then
    perform audit.append_all(v_drafts);
  end if;
  return null;
end
$source$,
    plan #>> '{actions,delete}', -- 1
    plan ->> 'resource', -- 2
    audit.draft_expression(table_name, plan, 'insert'), -- 3
    audit.draft_expression(table_name, plan, 'update'), -- 4
    audit.draft_expression(table_name, plan, 'delete'), -- 5
    coalesce(v_differs, 'false'), -- 6
    v_position, -- 7
    coalesce(audit.uuid_expression(table_name, plan -> 'organization', 'o'), 'audit.system_organization()') -- 8
  );
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The body of the trigger function that audit.track() creates for a table. Changes nothing.

-- function audit.chain_step(bytea,bytea,bytea)
CREATE OR REPLACE FUNCTION audit.chain_step(state bytea, first_prev bytea, unlinked_text bytea)
 RETURNS bytea
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
begin
  return coalesce(substring(state from 33), first_prev)
    || audit.linked_hash(unlinked_text, coalesce(substring(state from 33), first_prev));
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Step of audit.chained(): the hashes of the entry before and of the entry.

-- function audit.chained(bytea,bytea)
aggregate chained(first_prev bytea, unlinked_text bytea), step audit.chain_step, state bytea, start null
owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: As a window function over entry texts whose prev_hash is null, in order of seq: each entry's prev_hash and hash, joined.

-- function audit.check_file(jsonb)
CREATE OR REPLACE FUNCTION audit.check_file(request jsonb)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if coalesce(request ->> 'format', '') not in ('csv', 'json', 'ndjson', 'ocsf', 'pdf') then
    perform audit.fail('AUARG', format('There is no format "%s".', left(request ->> 'format', 50)), null,
      'Formats are csv, json, ndjson, ocsf and pdf.');
  elsif coalesce(request ->> 'gzip', 'false') not in ('true', 'false') then
    perform audit.fail('AUARG', 'gzip is true or false.');
  end if;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Refuses formats that there are not.

-- function audit.check_request(jsonb,text[])
CREATE OR REPLACE FUNCTION audit.check_request(request jsonb, known text[])
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_unknown text;
begin
  if jsonb_typeof(request) is distinct from 'object' then
    perform audit.fail('AUARG', 'A request is a JSON object.');
  end if;
  select string_agg(format('"%s"', left(k, 50)), ', ') into v_unknown from jsonb_object_keys(request) k where k <> all (known);
  if v_unknown is not null then
    perform audit.fail('AUARG', format('The request has no %s.', v_unknown), null, 'It has ' || array_to_string(known, ', ') || '.');
  end if;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Refuses fields that a request does not have.

-- function audit.check_sort(text)
CREATE OR REPLACE FUNCTION audit.check_sort(sort text)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if check_sort.sort is null or check_sort.sort not in ('-created_at', 'created_at', '-cost', 'cost') then
    perform audit.fail('AUARG', format('There is no sort "%s".', left(check_sort.sort, 50)), null,
      'Sort by created_at, -created_at, cost or -cost.');
  end if;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Refuses what entries are not sorted by.

-- function audit.claim_export(interval)
CREATE OR REPLACE FUNCTION audit.claim_export(lease interval DEFAULT '00:05:00'::interval)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_export audit.exports;
begin
  update audit.exports x set state = 'failed', error = 'Three attempts at one part ended without an answer.', lease_until = null
  where x.state = 'running' and x.lease_until < clock_timestamp() and x.attempts >= 3;
  update audit.exports x set state = 'running', lease_until = clock_timestamp() + claim_export.lease, attempts = x.attempts + 1
  where x.id = (
    select w.id from audit.exports w
    where w.state = 'queued' or w.state = 'running' and w.lease_until < clock_timestamp()
    order by w.requested_at
    limit 1
    for update skip locked
  )
  returning x.* into v_export;
  if v_export.id is null then
    return null;
  end if;
  return jsonb_build_object(
    'id', v_export.id, 'organization_id', v_export.organization_id, 'requested_by', v_export.requested_by,
    'format', v_export.format, 'gzip', v_export.gzip, 'cursor', v_export.next
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Takes an export from the queue for a while; null if none waits. For audit-jobs.

-- function audit.close_export_part(jsonb)
CREATE OR REPLACE FUNCTION audit.close_export_part(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_export audit.exports;
  v_part audit.export_parts;
begin
  perform audit.check_request(request, array['export', 'part', 'entries', 'bytes', 'sha256', 'complete', 'path']);
  if coalesce(request ->> 'part', '') !~ '^\d{1,9}$' or coalesce(request ->> 'bytes', '0') !~ '^\d{1,18}$'
    or coalesce(request ->> 'entries', '0') !~ '^\d{1,18}$' or coalesce(request ->> 'complete', 'false') not in ('true', 'false')
  then
    perform audit.fail('AUARG', 'A part is closed by its number, entries and bytes, and complete is true or false.');
  end if;
  v_export := audit.find_export(audit.requested_export(request));
  if not exists (select from audit.export_parts p where p.export = v_export.id and p.part = (request ->> 'part')::int) then
    perform audit.fail('AUNOT', 'The export has no such part.');
  end if;
  if audit.caller() = 'authenticated' and (
    v_export.requested_by is distinct from auth.uid() or v_export.state in ('queued', 'running') or request ->> 'path' is not null
  ) then
    perform audit.fail('AUDEN', 'Parts in Storage are closed by the jobs, others by who asked for them.');
  end if;
  update audit.export_parts p set
    bytes = (request ->> 'bytes')::bigint, sha256 = request ->> 'sha256', complete = coalesce((request ->> 'complete')::boolean, false),
    path = request ->> 'path', entries = coalesce((request ->> 'entries')::bigint, p.entries)
  where p.export = v_export.id and p.part = (request ->> 'part')::int and not p.complete
  returning p.* into v_part;
  if v_part.part is not null and v_part.complete then
    update audit.exports x set
      state = case
        when v_part.next is null and not exists (
          select from audit.export_parts p where p.export = x.id and not p.complete
        ) then 'done'
        when x.state in ('queued', 'running') then 'queued'
        else x.state
      end,
      next = v_part.next, lease_until = null, attempts = 0
    where x.id = v_export.id and x.state in ('streaming', 'queued', 'running');
  end if;
  return audit.export_status(jsonb_build_object('export', v_export.id));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Notes size and digest of a part that was sent or stored.

-- function audit.column_json(text,text,oid)
CREATE OR REPLACE FUNCTION audit.column_json(alias text, name text, type oid)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select format(
    case
      when type in ('int8'::regtype, 'numeric'::regtype) then 'audit.exact_number(%1$I.%2$I)'
      when type = 'timestamptz'::regtype then 'audit.utc(%1$I.%2$I)'
      when type = 'json'::regtype then 'audit.json_value(%1$I.%2$I)'
      when type = 'bytea'::regtype then 'audit.digest_of(%1$I.%2$I)'
      else '%1$I.%2$I' -- jsonb_build_object() renders it as to_jsonb() does
    end,
    alias, name
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The expression that renders a column inside jsonb_build_object().

-- function audit.column_treatment(text,text,oid,text)
CREATE OR REPLACE FUNCTION audit.column_treatment(table_name text, column_name text, type oid, category text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case
    when type::regtype::text in ('tsvector', 'vector', 'halfvec', 'extensions.vector') then 'ignore'
    when column_name in ('updated_at', 'modified_at', 'last_used_at', 'last_seen_at') then 'ignore'
    -- Numbers, dates and ids are not secrets, whatever they are called: prompt_tokens, api_key_id.
    when not (category = 'S' or type in ('json'::regtype, 'jsonb'::regtype, 'bytea'::regtype, 'inet'::regtype)) then 'record'
    when column_name in (
      'response_text', 'response_body', 'response_content', 'raw_response', 'completion', 'completion_text',
      'generated_text', 'output_text', 'answer'
    ) then 'ignore'
    when table_name = 'llm_responses' and column_name in ('response', 'content', 'output', 'text', 'message', 'choices', 'body')
      then 'ignore'
    when column_name in ('query_text', 'prompt', 'prompts', 'messages', 'question', 'input_text', 'system_prompt')
      or table_name = 'llm_queries' and column_name in ('query', 'input', 'text', 'content', 'message', 'body')
      then 'content'
    when column_name ~* '(_|^)(hash|prefix|suffix|hint|last4|last_four|name|type|status|expires_at)$' then 'record'
    when column_name ~* '(^key$|(^|_)(password|passwd|passphrase|secret|secrets|token|tokens|api_?key|private_?key|access_?key|secret_?key|encrypted|encrypted_key|key_value|credential|credentials|authorization|cookie|salt|signature|otp|pin)(_|$))'
      then 'mask'
    when column_name ~* '(^|_)(e_?mail|phone|phone_number|ip|ip_address|first_name|last_name|full_name|date_of_birth|birthday|street|address)$'
      then 'personal'
    else 'record'
  end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How a column is treated unless an option says otherwise: record, ignore, mask, personal, or content (query text).

-- function audit.columns_of(regclass)
CREATE OR REPLACE FUNCTION audit.columns_of(table_name regclass)
 RETURNS TABLE(name text, type oid, category text)
 LANGUAGE sql
 STABLE ROWS 20
 SET search_path TO ''
AS $function$
  -- Domains are seen through to their base type; one level of array counts as its element.
  with recursive base (name, position, type) as (
    select a.attname::text, a.attnum, a.atttypid
    from pg_catalog.pg_attribute a
    where a.attrelid = columns_of.table_name and a.attnum > 0 and not a.attisdropped
    union all
    select b.name, b.position, t.typbasetype
    from base b
    join pg_catalog.pg_type t on t.oid = b.type and t.typtype = 'd'
  )
  select b.name, b.type, t.typcategory::text
  from base b
  join pg_catalog.pg_type t on t.oid = b.type
  where t.typtype <> 'd'
  order by b.position
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The columns of a table with their base types, in order.

-- function audit.commit_personal(uuid,uuid,text,text,text,text)
CREATE OR REPLACE FUNCTION audit.commit_personal(organization_id uuid, subject_id uuid, resource_type text, resource_id text, column_name text, value text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_salt bytea;
  v_hash bytea;
begin
  if commit_personal.value is null then
    return null;
  end if;
  v_salt := audit.random_salt();
  v_hash := sha256('\x02'::bytea || v_salt || convert_to(commit_personal.value, 'UTF8'));
  insert into audit.personal_values
    (organization_id, subject_id, resource_type, resource_id, column_name, value, salt, value_hash)
  values (
    coalesce(commit_personal.organization_id, audit.system_organization()), commit_personal.subject_id,
    commit_personal.resource_type, commit_personal.resource_id, commit_personal.column_name, commit_personal.value,
    v_salt, v_hash
  );
  return jsonb_build_object('personal', encode(v_hash, 'hex'));
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Keeps a personal value apart from the log and returns what stands in the entry: {"personal": "<hash>"}.

-- function audit.compile_cost(text,text[])
CREATE OR REPLACE FUNCTION audit.compile_cost(op text, term_values text[])
 RETURNS audit.compiled_query
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_numbers numeric[] := array(select t.value::numeric from unnest(term_values) t (value));
  v_from numeric := case
    when op in ('gt', 'gte', 'between') then v_numbers[1]
    when op in ('eq', 'in') then (select min(n) from unnest(v_numbers) n)
  end;
  v_to numeric := case op when 'between' then v_numbers[2] when 'eq' then v_numbers[1] when 'in' then (select max(n) from unnest(v_numbers) n) end;
begin
  return audit.compiled(
    case op
      when 'eq' then format('e.cost = %s', v_numbers[1])
      when 'in' then format('e.cost = any (%L::numeric[])', v_numbers)
      when 'between' then format('e.cost between %s and %s', v_numbers[1], v_numbers[2])
      else format('e.cost %s %s', case op when 'gt' then '>' when 'gte' then '>=' when 'lt' then '<' else '<=' end, v_numbers[1])
    end,
    case
      when v_from > 0 and coalesce(v_to, v_from) >= v_from then audit.term_group('cost=', array(
        select b::text from generate_series(audit.cost_bucket(v_from), coalesce(audit.cost_bucket(v_to), 40)) b
      ))
      else '[]'
    end
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition of a comparison of cost.

-- function audit.compile_identity(uuid,text,text,text[])
CREATE OR REPLACE FUNCTION audit.compile_identity(organization_id uuid, field text, op text, term_values text[])
 RETURNS audit.compiled_query
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_column text := case field when 'ip' then 'ip_address' when 'user_agent' then 'user_agent' else 'email' end;
  v_test text;
  v_hashes bytea[];
  v_users uuid[];
  v_found int;
  v_condition text;
  v_most constant int := 1000;
begin
  v_test := format('i.organization_id = %L and ', compile_identity.organization_id) || case
    when op = 'exists' then format('i.%I is not null', v_column)
    when op = 'like' then format('lower(i.%I) like lower(%L)', v_column, audit.pattern_like(term_values[1]))
    else format('lower(i.%I) = any (%L::text[])', v_column, (select array_agg(lower(v)) from unnest(term_values) v))
  end;
  execute format(
    'select count(*), coalesce(array_agg(distinct i.identity_hash), ''{}''),'
      || ' coalesce(array_agg(distinct i.user_id) filter (where i.user_id is not null), ''{}'')'
      || ' from (select distinct i.identity_hash, i.user_id from audit.identities i where %s limit %s) i', v_test, v_most + 1
  ) into v_found, v_hashes, v_users;
  if v_found = 0 then
    return audit.compiled('false');
  elsif v_found > v_most then
    return audit.compiled(
      format('e.identity_hash in (select i.identity_hash from audit.identities i where %s)', v_test)
        || case when field = 'actor' then format(' or e.created_by in (select i.user_id from audit.identities i where %s)', v_test) else '' end
    );
  end if;

  v_condition := format('e.identity_hash = any (%L::bytea[])', v_hashes);
  if field = 'actor' then
    -- Who has the address is found also where an entry has no identity: a job that acts for a user.
    v_condition := format('(%s or e.created_by = any (%L::uuid[]))', v_condition, v_users);
  end if;
  return audit.compiled(v_condition, jsonb_build_array(
    audit.term_group('identity=', array(select encode(h, 'hex') from unnest(v_hashes) h)) -> 0
      || case
        when field = 'actor' and v_users <> '{}' then audit.term_group('actor=', array(select u::text from unnest(v_users) u)) -> 0
        else '[]'
      end
  ));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition that an entry's actor has an e-mail address, IP address or user agent.

-- function audit.compile_ip_setting()
CREATE OR REPLACE FUNCTION audit.compile_ip_setting()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_default text := audit.setting('ip_addresses') #>> '{}';
  v_exceptions text;
begin
  select string_agg(
    format(
      'when permitted_ip.organization_id = %L::uuid then %s', s.organization_id,
      case s.value #>> '{}'
        when 'on' then 'permitted_ip.ip_address'
        when 'truncated' then 'audit.network_of(permitted_ip.ip_address)'
        else 'null'
      end
    ), ' ' order by s.organization_id
  )
  into v_exceptions
  from audit.settings s
  where s.name = 'ip_addresses' and s.organization_id <> audit.system_organization();
  execute format(
    'create or replace function audit.permitted_ip(organization_id uuid, ip_address text) returns text'
      || ' language sql immutable parallel safe return case %s else %s end',
    coalesce(v_exceptions, 'when false then null'),
    case v_default
      when 'on' then 'permitted_ip.ip_address'
      when 'truncated' then 'audit.network_of(permitted_ip.ip_address)'
      else 'null::text'
    end
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Generates audit.permitted_ip() from the setting ip_addresses.

-- function audit.compile_leaf(uuid,jsonb)
CREATE OR REPLACE FUNCTION audit.compile_leaf(organization_id uuid, leaf jsonb)
 RETURNS audit.compiled_query
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_field text := leaf ->> 'field';
  v_op text := leaf ->> 'op';
  v_values text[] := case jsonb_typeof(leaf -> 'value')
    when 'array' then array(select v.value from jsonb_array_elements_text(leaf -> 'value') with ordinality v (value, n) order by v.n)
    when 'string' then array[leaf ->> 'value']
  end;
  v_kind text := (select f.kind from audit.query_fields() f where f.field = v_field);
  v_users uuid[];
  v_addresses text[];
  v_by_id audit.compiled_query;
  v_by_address audit.compiled_query;
  v_text text;
begin
  if leaf ? 'text' then
    v_text := ' ' || array_to_string(audit.search_words(leaf ->> 'text'), ' ') || case when leaf ? 'prefix' then '' else ' ' end;
    return audit.compiled(
      format('strpos('' '' || array_to_string(audit.search_words(audit.search_text(e)), '' '') || '' '', %L) > 0', v_text),
      audit.word_groups(leaf ->> 'text', leaf ? 'prefix')
    );
  elsif v_kind is null then
    return audit.compile_path(v_field, v_op, v_values);
  elsif v_field = 'actor' and v_op = 'exists' then
    return audit.compiled('e.created_by is not null');
  elsif v_field = 'actor' and v_op in ('eq', 'in') then
    -- Users by their ids, and by their addresses.
    select array_agg(audit.as_uuid(v)) filter (where audit.as_uuid(v) is not null), array_agg(v) filter (where audit.as_uuid(v) is null)
    into v_users, v_addresses
    from unnest(v_values) v;
    v_by_id := audit.compiled(
      format('e.created_by = any (%L::uuid[])', v_users), audit.term_group('actor=', array(select u::text from unnest(v_users) u))
    );
    if v_addresses is null then
      return v_by_id;
    end if;
    v_by_address := audit.compile_identity(organization_id, v_field, 'in', v_addresses);
    if v_users is null then
      return v_by_address;
    end if;
    return audit.either(array[v_by_id, v_by_address]);
  elsif v_kind in ('person', 'identity') then
    return audit.compile_identity(organization_id, v_field, v_op, v_values);
  elsif v_kind = 'resource' then
    return audit.compile_resource(v_op, v_values);
  elsif v_kind = 'word' then
    return audit.compile_word(v_field, v_op, v_values);
  elsif v_op = 'exists' then
    return audit.compiled(format('e.%I is not null', case v_field when 'created' then 'created_at' else v_field end));
  elsif v_kind = 'time' then
    return audit.compile_time(v_op, v_values);
  elsif v_kind = 'number' then
    return audit.compile_cost(v_op, v_values);
  end if;
  return audit.compiled(case v_op
    when 'eq' then format('e.%I = %s', v_field, v_values[1])
    when 'in' then format('e.%I = any (%L::bigint[])', v_field, v_values)
    when 'between' then format('e.%I between %s and %s', v_field, v_values[1], v_values[2])
    else format('e.%I %s %s', v_field, case v_op when 'gt' then '>' when 'gte' then '>=' when 'lt' then '<' else '<=' end, v_values[1])
  end);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition of one comparison or text of a canonical query tree.

-- function audit.compile_path(text,text,text[])
CREATE OR REPLACE FUNCTION audit.compile_path(field text, op text, term_values text[])
 RETURNS audit.compiled_query
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_path text[] := audit.query_path(field);
  v_jsonpath text := 'lax $' || (select string_agg('.' || to_json(s.step), '' order by s.n) from unnest(v_path) with ordinality s (step, n));
  v_sign text := case op when 'gt' then '>' when 'gte' then '>=' when 'lt' then '<' else '<=' end;
  -- The steps are words of the details, too.
  v_groups jsonb := audit.word_groups(array_to_string(v_path, ' '));
  v_equal text;
begin
  -- Text and number are both meant by 1000; lax mode looks into arrays, and a comparison of different types is no match.
  v_equal := (
    select string_agg(format('@ == %s%s', to_json(v.value), case
      when audit.number_value(v.value) is not null then ' || @ == ' || audit.number_value(v.value)
      when v.value in ('true', 'false') then ' || @ == ' || v.value
    end), ' || ')
    from unnest(term_values) v (value)
  );
  v_jsonpath := v_jsonpath || case op
    when 'exists' then ''
    when 'like' then format(' ? (@ like_regex %s flag "s")', to_json(audit.pattern_regex(term_values[1])))
    when 'between' then format(' ? (%s)', audit.path_order('>=', term_values[1], '<=', term_values[2]))
    when 'eq' then format(' ? (%s)', v_equal)
    when 'in' then format(' ? (%s)', v_equal)
    else format(' ? (%s)', audit.path_order(v_sign, term_values[1]))
  end;
  if op = 'eq' and term_values[1] not in ('true', 'false') then
    -- What stands in details as a number may be written otherwise: 1000.0.
    v_groups := case when audit.number_value(term_values[1]) is null then audit.word_groups(term_values[1]) else '[]' end || v_groups;
  end if;
  return audit.compiled(format('e.details @? %L::jsonpath', v_jsonpath), v_groups);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition of a comparison of a path into details.

-- function audit.compile_query(uuid,jsonb)
CREATE OR REPLACE FUNCTION audit.compile_query(organization_id uuid, tree jsonb)
 RETURNS audit.compiled_query
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_all audit.compiled_query := audit.compiled('true');
  v_part audit.compiled_query;
  v_conditions text[] := '{}';
  v_child jsonb;
begin
  if tree ? 'and' then
    for v_child in select e.value from jsonb_array_elements(tree -> 'and') with ordinality e (value, n) order by e.n loop
      v_part := audit.compile_query(organization_id, v_child);
      v_conditions := v_conditions || ('(' || v_part.condition || ')');
      v_all.term_groups := v_all.term_groups || v_part.term_groups;
      v_all.from_time := greatest(v_all.from_time, v_part.from_time);
      v_all.to_time := least(v_all.to_time, v_part.to_time);
    end loop;
    if v_conditions <> '{}' then
      v_all.condition := array_to_string(v_conditions, ' and ');
    end if;
    return v_all;
  elsif tree ? 'or' then
    return audit.either(array(
      select audit.compile_query(compile_query.organization_id, e.value)
      from jsonb_array_elements(tree -> 'or') with ordinality e (value, n)
      order by e.n
    ));
  elsif tree ? 'not' then
    v_part := audit.compile_query(organization_id, tree -> 'not');
    return audit.compiled('(' || v_part.condition || ') is not true');
  end if;
  return audit.compile_leaf(organization_id, tree);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The SQL of a canonical query tree for one organisation, as the caller may look at it.

-- function audit.compile_resource(text,text[])
CREATE OR REPLACE FUNCTION audit.compile_resource(op text, term_values text[])
 RETURNS audit.compiled_query
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_type text := split_part(term_values[1], '/', 1);
  v_id text := nullif(substr(term_values[1], length(v_type) + 2), '');
  v_compiled audit.compiled_query;
  v_of_id audit.compiled_query;
begin
  if op = 'in' then
    return audit.compiled((
      select string_agg('(' || (audit.compile_resource('eq', array[v])).condition || ')', ' or ')
      from unnest(term_values) v
    ));
  elsif op <> 'eq' then
    return audit.compile_word('resource_type', op, term_values);
  end if;
  v_compiled := audit.compile_word('resource_type', 'eq', array[v_type]);
  if v_id is not null then
    v_of_id := audit.compile_word('resource_id', 'eq', array[v_id]);
    v_compiled.condition := v_compiled.condition || ' and ' || v_of_id.condition;
    v_compiled.term_groups := v_of_id.term_groups || v_compiled.term_groups;
  end if;
  return v_compiled;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition of resource:type or resource:type/id.

-- function audit.compile_time(text,text[])
CREATE OR REPLACE FUNCTION audit.compile_time(op text, term_values text[])
 RETURNS audit.compiled_query
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_first tstzrange := audit.query_instants(term_values[1]);
  v_last tstzrange := audit.query_instants(term_values[2]);
  v_from timestamptz;
  v_to timestamptz; -- not included
  v_conditions text[] := '{}';
  v_compiled audit.compiled_query;
begin
  if op = 'in' then
    return audit.compiled((
      select string_agg('(' || (audit.compile_time('eq', array[t.value])).condition || ')', ' or ') from unnest(term_values) t (value)
    ));
  end if;
  -- An instant has no length, so "up to and including" it ends a microsecond later, the grain of created_at.
  v_from := case
    when op in ('eq', 'gte', 'between') then lower(v_first)
    when op = 'gt' then case
      when upper_inf(v_first) then lower(v_first)
      when upper_inc(v_first) then upper(v_first) + interval '1 microsecond'
      else upper(v_first)
    end
  end;
  v_to := case op
    when 'lt' then lower(v_first)
    when 'gte' then null
    when 'gt' then null
    else case
      when op = 'lte' and upper_inf(v_first) then lower(v_first)
      when op = 'between' and upper_inf(v_last) then lower(v_last)
      when upper_inc(coalesce(v_last, v_first)) then upper(coalesce(v_last, v_first)) + interval '1 microsecond'
      else upper(coalesce(v_last, v_first))
    end
  end;
  if v_from is not null then
    v_conditions := v_conditions || format('e.created_at >= %L::timestamptz', v_from);
  end if;
  if v_to is not null then
    v_conditions := v_conditions || format('e.created_at < %L::timestamptz', v_to);
  end if;
  v_compiled := audit.compiled(array_to_string(v_conditions, ' and '));
  v_compiled.from_time := v_from;
  v_compiled.to_time := v_to;
  return v_compiled;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition of a comparison of created.

-- function audit.compile_word(text,text,text[])
CREATE OR REPLACE FUNCTION audit.compile_word(field text, op text, term_values text[])
 RETURNS audit.compiled_query
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  -- Indexed whole; its parts are words of every other entry. Other columns are found by their words.
  v_whole boolean := field in ('action', 'resource_type');
  v_pattern text := case when op = 'like' then term_values[1] end;
  v_groups jsonb := '[]';
begin
  if op in ('eq', 'in') and v_whole then
    v_groups := audit.term_group(field || '=', term_values);
  elsif op = 'eq' then
    v_groups := audit.word_groups(term_values[1]);
  elsif op = 'in' and not exists (select from unnest(term_values) v where audit.word_groups(v) = '[]') then
    -- One word of each value, the longest.
    v_groups := jsonb_build_array((select jsonb_agg(distinct audit.word_groups(v) -> 0 -> 0) from unnest(term_values) v));
  elsif field = 'action' and v_pattern ~ '^[a-z0-9_]+\.\*$' then
    v_groups := audit.term_group('action^', array[left(v_pattern, -2)]);
  elsif field = 'action' and v_pattern ~ '^\*\.[a-z0-9_]+$' then
    v_groups := audit.word_groups(substr(v_pattern, 3));
  end if;

  return audit.compiled(
    case op
      when 'exists' then format('e.%I is not null', field)
      when 'like' then format('e.%I like %L', field, audit.pattern_like(v_pattern))
      when 'in' then format('e.%I = any (%L::text[])', field, term_values)
      else format('e.%I = %L', field, term_values[1])
    end,
    v_groups
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition of a comparison of a column that holds text.

-- function audit.compiled(text,jsonb)
CREATE OR REPLACE FUNCTION audit.compiled(condition text, term_groups jsonb DEFAULT '[]'::jsonb)
 RETURNS audit.compiled_query
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ROW(condition, term_groups, NULL::timestamp with time zone, NULL::timestamp with time zone)::audit.compiled_query

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A condition without bounds in time.

-- function audit.configure(text,jsonb,uuid)
CREATE OR REPLACE FUNCTION audit.configure(name text, value jsonb, organization_id uuid DEFAULT audit.system_organization())
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_old jsonb := audit.setting(configure.name, configure.organization_id);
begin
  begin
    insert into audit.settings as s (organization_id, name, value)
    values (configure.organization_id, configure.name, configure.value)
    on conflict on constraint settings_pkey do update set value = excluded.value, changed_at = clock_timestamp();
  exception when check_violation or not_null_violation then
    perform audit.fail('AUOPT', format('There is no setting %s = %s.', configure.name, configure.value), null,
      'Settings are ip_addresses ("on", "truncated", "off") and query_text (true, false).');
  end;

  -- Settings that every write depends on are compiled into the functions that apply them.
  if configure.name = 'query_text' then
    perform audit.refresh_capture();
  elsif configure.name = 'ip_addresses' then
    perform audit.compile_ip_setting();
  end if;

  perform audit.record(
    configure.organization_id, 'capture.changed', 'setting', configure.name,
    jsonb_build_object('changes', jsonb_build_object(configure.name, jsonb_build_object('old', v_old, 'new', configure.value)))
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Chooses a setting for the project, or for one organisation, and leaves an entry: audit.configure('query_text', 'true').

-- function audit.connection_chain()
CREATE OR REPLACE FUNCTION audit.connection_chain()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if current_setting('max_prepared_transactions') <> '0' then
    return null; -- decided anew in each transaction, by audit.transaction_chain()
  end if;
  return audit.connection_slot();
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The number of the chain that this connection writes: its slot in the server; null where transactions can be prepared.

-- function audit.connection_slot()
CREATE OR REPLACE FUNCTION audit.connection_slot()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
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
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The place of this connection in the server; no two live ones share it.

-- function audit.context()
CREATE OR REPLACE FUNCTION audit.context()
 RETURNS audit.statement_context
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_sources text := concat(
    pg_backend_pid(), E'\x1e', session_user, E'\x1e', current_setting('role', true), E'\x1e',
    current_setting('request.jwt.claims', true), E'\x1e', current_setting('request.headers', true), E'\x1e',
    current_setting('audit.actor', true), E'\x1e', current_setting('audit.actor_type', true), E'\x1e',
    current_setting('audit.actor_email', true), E'\x1e', current_setting('audit.request_id', true)
  );
  v_context audit.statement_context;
  v_claims jsonb;
  v_headers jsonb;
  v_setting text;
begin
  -- Parsing claims and headers is the dearest part of a write, and most connections write more than once from the same
  -- sources. Who can forge this setting can forge its sources just as well.
  if current_setting('audit.context_sources', true) = v_sources then
    begin
      return current_setting('audit.context', true)::audit.statement_context;
    exception when others then
      null; -- somebody wrote nonsense there: read the sources again
    end;
  end if;

  -- Malformed claims or headers must not cost the application its change: the entry says that they were malformed.
  begin
    v_claims := nullif(current_setting('request.jwt.claims', true), '');
  exception when others then
    v_context.extra := '{"malformed_claims": true}';
  end;
  begin
    v_headers := nullif(current_setting('request.headers', true), '');
  exception when others then
    v_context.extra := coalesce(v_context.extra, '{}') || '{"malformed_headers": true}';
  end;

  v_context.ip_address := audit.normalized_ip(v_headers ->> 'x-forwarded-for');
  v_context.user_agent := audit.masked_text(left(v_headers ->> 'user-agent', 500));
  v_context.request_id := audit.masked_text(left(
    coalesce(nullif(current_setting('audit.request_id', true), ''), v_headers ->> 'x-request-id'), 200
  ));

  v_setting := nullif(current_setting('audit.actor', true), '');
  if v_claims ->> 'sub' <> '' then
    v_context.created_by := audit.as_uuid(v_claims ->> 'sub');
    v_context.actor_type := 'user';
    v_context.email := nullif(left(v_claims ->> 'email', 320), '');
    if v_context.created_by is null then
      -- Third-party sign-in (Clerk, Auth0, Firebase): the subject is not a UUID.
      v_context.extra := coalesce(v_context.extra, '{}') || jsonb_build_object('subject', left(v_claims ->> 'sub', 200));
    end if;
  elsif v_setting is not null then
    v_context.created_by := audit.as_uuid(v_setting);
    v_context.email := left(nullif(current_setting('audit.actor_email', true), ''), 320);
    v_context.actor_type := case
      when current_setting('audit.actor_type', true) in ('user', 'api_key', 'service', 'system')
        then current_setting('audit.actor_type', true)
      else 'user'
    end;
    if v_context.created_by is null then
      v_context.extra := coalesce(v_context.extra, '{}') || jsonb_build_object('subject', left(v_setting, 200));
    end if;
  elsif v_claims ->> 'role' = 'service_role' then
    v_context.actor_type := 'service';
  elsif v_claims is not null then
    v_context.actor_type := 'user'; -- anonymous: a client's request without a subject
  else
    v_context.actor_type := 'database';
    v_context.extra := coalesce(v_context.extra, '{}') || jsonb_build_object('database_role', audit.caller());
  end if;

  v_context.chain := audit.connection_chain();

  perform set_config('audit.context', v_context::text, false), set_config('audit.context_sources', v_sources, false);
  return v_context;
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The actor and request of the current statement: user id, kind of actor, e-mail, IP address,
user agent, request id, and the chain that the connection writes.

-- function audit.continue_exports()
CREATE OR REPLACE FUNCTION audit.continue_exports()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if exists (
    select from audit.exports x
    where x.state = 'queued' or x.state = 'running' and x.lease_until < clock_timestamp()
  ) then
    return audit.call_jobs('exports');
  end if;
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has exports that wait in the queue made; does nothing where none waits.

-- function audit.convert_query(jsonb)
CREATE OR REPLACE FUNCTION audit.convert_query(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_tree jsonb;
begin
  perform audit.check_request(request, array['query', 'filter']);
  if (request ? 'query') = (request ? 'filter') then
    perform audit.fail('AUARG', 'Pass either a query or a filter.');
  end if;
  v_tree := audit.requested_tree(request);
  return jsonb_build_object('query', audit.format_node(v_tree), 'filter', v_tree);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The string form of a query tree, and the tree of a string: {"query"} or {"filter"} in, both out.

-- function audit.cost_bucket(numeric)
CREATE OR REPLACE FUNCTION audit.cost_bucket(cost numeric)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (floor((ln((GREATEST(LEAST(cost, '1000000000000'::numeric), 0.000000000001))::double precision) / ln((2)::double precision))))::integer

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The power of two below a positive cost, from -40 to 39.

-- function audit.cost_groups(text[])
CREATE OR REPLACE FUNCTION audit.cost_groups(groups text[])
 RETURNS text[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if cardinality(groups) is null or cardinality(groups) not between 1 and 3
    or not groups <@ array['user', 'provider', 'model', 'organization', 'day']
  then
    perform audit.fail('AUARG', 'Costs are grouped by one to three of user, provider, model, organization and day.');
  end if;
  return groups;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: By what costs are grouped, checked.

-- function audit.costs(text,text,uuid)
CREATE OR REPLACE FUNCTION audit.costs(by text DEFAULT 'user'::text, query text DEFAULT ''::text, organization_id uuid DEFAULT NULL::uuid)
 RETURNS TABLE("user" uuid, email text, provider text, model text, organization uuid, day date, cost numeric, entries bigint)
 LANGUAGE plpgsql
 ROWS 100
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_organization uuid := audit.readable_organization(costs.organization_id);
  v_groups text[] := audit.cost_groups(regexp_split_to_array(costs."by", '\s*,\s*'));
  v_tree jsonb := audit.parse_query(coalesce(costs.query, ''));
begin
  return query select * from audit.costs_of(v_organization, audit.compile_query(v_organization, v_tree), v_groups);
  perform audit.record_reading(v_organization, 'log.searched', jsonb_build_object(
    'query', left(audit.format_node(v_tree), 4000), 'costs_by', v_groups
  ));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What was spent: select * from audit.costs('user,day', 'created:30d provider:openai', organization_id).
By one to three of user, provider, model, organization and day. Leaves a log.searched entry.

-- function audit.costs_of(uuid,audit.compiled_query,text[])
CREATE OR REPLACE FUNCTION audit.costs_of(organization_id uuid, compiled audit.compiled_query, groups text[])
 RETURNS TABLE("user" uuid, email text, provider text, model text, organization uuid, day date, cost numeric, entries bigint)
 LANGUAGE plpgsql
 STABLE ROWS 100
 SET search_path TO ''
AS $function$
begin
  return query execute format(
    $q$
    select g."user", (
        select i.email from audit.identities i
        where i.user_id = g."user" and i.organization_id = %1$L and i.email is not null order by i.created_at desc limit 1
      ),
      g.provider, g.model, g.organization, g.day, g.cost, g.entries
    from (
      select %2$s as "user", %3$s as provider, %4$s as model, %5$s as organization, %6$s as day, sum(e.cost) as cost, count(*) as entries
      %7$s and e.cost < 'Infinity' and e.cost > '-Infinity'
      group by 1, 2, 3, 4, 5
    ) g
    order by g.day, g.cost desc, g."user", g.provider, g.model
    $q$,
    organization_id,
    case when 'user' = any (groups) then 'e.created_by' else 'null::uuid' end,
    case when 'provider' = any (groups) then 'e.provider' else 'null::text' end,
    -- A response does not name its model; its query, an earlier entry of the same resource, does.
    case when 'model' = any (groups) then
      'coalesce(e.details #>> ''{new,model}'', e.details ->> ''model'', ('
        || 'select q.details #>> ''{new,model}'' from public.audit_logs q where q.organization_id = e.organization_id'
        || ' and q.resource_id = e.resource_id and q.resource_type = e.resource_type and q.action = ''query.executed'''
        || ' and q.created_at <= e.created_at limit 1))'
      else 'null::text' end,
    case when 'organization' = any (groups) then 'e.organization_id' else 'null::uuid' end,
    case when 'day' = any (groups) then '(e.created_at at time zone ''utc'')::date' else 'null::date' end,
    audit.matching_sql(organization_id, compiled)
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Costs of an organisation's matching entries, grouped by user, provider, model, organization and day as asked.

-- function audit.costs_page(jsonb)
CREATE OR REPLACE FUNCTION audit.costs_page(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_organizations uuid[];
  v_groups text[];
  v_tree jsonb;
  v_rows jsonb;
  v_total jsonb;
  v_each uuid;
begin
  perform audit.check_request(request, array['organization_id', 'by', 'query', 'filter']);
  if jsonb_typeof(request -> 'by') is distinct from 'array' then
    perform audit.fail('AUARG', 'by is a list.', null, 'For example {"by": ["user", "day"]}.');
  end if;
  v_groups := audit.cost_groups(array(select jsonb_array_elements_text(request -> 'by')));
  v_tree := audit.requested_tree(request);
  -- Several organisations only where they are told apart.
  if 'organization' = any (v_groups) and request ->> 'organization_id' is null then
    v_organizations := array(
      select o.id from (select audit.member_organizations() union select audit.auditor_organizations()) o (id) order by o.id
    );
    if cardinality(v_organizations) = 0 then
      v_organizations := array[audit.requested_organization(request)];
    end if;
  else
    v_organizations := array[audit.requested_organization(request)];
  end if;
  select coalesce(jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
      'user', c."user", 'email', c.email, 'provider', c.provider, 'model', c.model, 'organization', c.organization,
      'day', c.day, 'cost', c.cost::text, 'entries', c.entries
    )) order by c.n, c.row), '[]'),
    jsonb_build_object('cost', coalesce(sum(c.cost), 0)::text, 'entries', coalesce(sum(c.entries), 0))
  into v_rows, v_total
  from (
    select o.n, c.*
    from unnest(v_organizations) with ordinality o (id, n)
    cross join lateral audit.costs_of(o.id, audit.compile_query(o.id, v_tree), v_groups) with ordinality as c (
      "user", email, provider, model, organization, day, cost, entries, row
    )
  ) c;
  foreach v_each in array v_organizations loop
    perform audit.record_reading(v_each, 'log.searched', jsonb_build_object(
      'query', left(audit.format_node(v_tree), 4000), 'costs_by', v_groups, 'entries', v_total -> 'entries'
    ));
  end loop;
  return jsonb_build_object('by', v_groups, 'query', audit.format_node(v_tree), 'filter', v_tree, 'rows', v_rows, 'total', v_total);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Costs as JSON, for the function "audit". Leaves a log.searched entry.

-- function audit.csv_text(text)
CREATE OR REPLACE FUNCTION audit.csv_text(value text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ((ascii(value) = ANY (ARRAY[9, 10, 13, 39, 43, 45, 61, 64, 65291, 65293, 65309, 65312])) OR ((ascii(value) = 32) AND (ascii(ltrim(value, ' '::text)) = ANY (ARRAY[43, 45, 61, 64])))) THEN (''''::text || value) ELSE value END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A text for a CSV cell that no spreadsheet takes for a formula: an apostrophe stands before it. Without loss: what begins
with an apostrophe in the file has one more than in the log.

-- function audit.details_limit()
CREATE OR REPLACE FUNCTION audit.details_limit()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN 57344

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Most bytes of details in an entry; what is larger is cut to a digest.

-- function audit.differs_expression(text,oid)
CREATE OR REPLACE FUNCTION audit.differs_expression(name text, type oid)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  -- Types without an equality (json, xml, point, …) or with one in another schema (citext) are compared as text.
  select format(
    case
      when exists (
        select
        from pg_catalog.pg_opclass c
        join pg_catalog.pg_am m on m.oid = c.opcmethod and m.amname = 'btree'
        where c.opcdefault and c.opcintype = type and c.opcnamespace = 'pg_catalog'::regnamespace
      ) or type in ('text'::regtype, 'varchar'::regtype)
        then 'o.%1$I is distinct from n.%1$I'
      else 'o.%1$I::text is distinct from n.%1$I::text'
    end, name
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition that a column of an updated row changed.

-- function audit.digest_of(bytea)
CREATE OR REPLACE FUNCTION audit.digest_of(value bytea)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (value IS NOT NULL) THEN jsonb_build_object('cut', jsonb_build_object('bytes', octet_length(value), 'sha256', encode(sha256(value), 'hex'::text))) ELSE NULL::jsonb END

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What stands for bytes, or for a value too big for an entry: size and SHA-256.

-- function audit.digest_of(text)
CREATE OR REPLACE FUNCTION audit.digest_of(value text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN audit.digest_of(convert_to(value, 'UTF8'::name))

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What stands for a value too big for an entry: its size and SHA-256.

-- function audit.draft_expression(regclass,jsonb,text)
CREATE OR REPLACE FUNCTION audit.draft_expression(table_name regclass, plan jsonb, operation text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_row text := case operation when 'delete' then 'o' else 'n' end;
  v_organization jsonb := plan -> 'organization';
  v_outcome jsonb := plan -> 'outcome';
  v_outcome_column text;
  v_organization_sql text;
  v_id_sql text;
  v_outcome_sql text := quote_literal('success');
  v_action_sql text := quote_literal(plan #>> array['actions', operation]);
  v_details_sql text;
  v_suspect_sql text;
  v_subject_sql text;
  v_on uuid[];
  v_off uuid[];
  v_parent text;
begin
  -- Whose row it is. What is no UUID belongs to the system organisation.
  v_organization_sql := coalesce(
    audit.uuid_expression(draft_expression.table_name, v_organization, v_row), 'audit.system_organization()'
  );
  if v_organization ? 'table' then
    select t.plan ->> 'resource' into v_parent
    from audit.tracked_tables t
    where t.table_name = (v_organization ->> 'table_oid')::oid::regclass;
    if found then
      v_organization_sql := format(
        'coalesce(%s, audit.organization_of(%L, %I.%I::text))', v_organization_sql, v_parent, v_row, v_organization ->> 'key'
      );
    end if;
  end if;

  -- A key column that is a secret or a person must not come in through the resource's name either.
  select string_agg(
    format(
      case plan -> 'columns' ->> e.value
        when 'mask' then '(''sha256:'' || encode(sha256(convert_to(%I.%I::text, ''UTF8'')), ''hex''))'
        when 'personal' then '''***'''
        else '%I.%I::text'
      end, v_row, e.value
    ), ' || '','' || ' order by e.n
  )
  into v_id_sql
  from jsonb_array_elements_text(plan -> 'id') with ordinality as e (value, n);

  -- Outcome, and the action of a failure where it has its own.
  if jsonb_typeof(v_outcome) = 'object' and operation <> 'delete' then
    v_outcome_column := format('%I.%I::text', v_row, v_outcome ->> 'column');
    v_outcome_sql := format(
      $q$case when %1$s = any (%2$L::text[]) then 'failure' when %1$s = any (%3$L::text[]) then 'denied' else 'success' end$q$,
      v_outcome_column,
      array(select jsonb_array_elements_text(coalesce(v_outcome -> 'failure', '[]'))),
      array(select jsonb_array_elements_text(coalesce(v_outcome -> 'denied', '[]')))
    );
    if operation = 'insert' and plan #> '{actions,insert_failed}' is not null then
      v_action_sql := format(
        'case when %s = any (%L::text[]) then %L else %s end',
        v_outcome_column, array(select jsonb_array_elements_text(coalesce(v_outcome -> 'failure', '[]'))),
        plan #>> '{actions,insert_failed}', v_action_sql
      );
    end if;
  end if;
  if operation = 'update' and plan -> 'update_of' <> '{}' then
    select format('case %s else %s end', string_agg(
      format('when n.%1$I is distinct from o.%1$I then %2$L', u.key, u.value), ' ' order by u.key
    ), v_action_sql)
    into v_action_sql
    from jsonb_each_text(plan -> 'update_of') u;
  end if;

  -- Query text is recorded only for organisations that switched it on; decided here, so that it costs nothing where off.
  select array_agg(s.organization_id) filter (where s.value = 'true'), array_agg(s.organization_id) filter (where s.value = 'false')
  into v_on, v_off
  from audit.settings s
  where s.name = 'query_text' and s.organization_id <> audit.system_organization();

  v_subject_sql := coalesce(
    (select format('audit.as_uuid(%I.%I::text)', v_row, c.name) from audit.columns_of(draft_expression.table_name) c where c.name = 'user_id'),
    'null'
  );

  with col as (
    select c.name, c.type, c.category, plan -> 'columns' ->> c.name as treatment, row_number() over () as n
    from audit.columns_of(draft_expression.table_name) c
  ),
  rendered as (
    select col.name, col.type, col.n, r.alias,
      case col.treatment
        when 'mask' then format('case when %I.%I is not null then ''***''::text end', r.alias, col.name)
        when 'personal' then format(
          'audit.commit_personal(%s, %s, %L, %s, %L, %I.%I::text)', v_organization_sql, v_subject_sql, plan ->> 'resource', v_id_sql, col.name, r.alias, col.name
        )
        when 'content' then case
          when audit.setting('query_text') = 'true' and v_off is null then audit.column_json(r.alias, col.name, col.type)
          when audit.setting('query_text') = 'true' then format(
            'case when %s <> all (%L::uuid[]) then %s end', v_organization_sql, v_off, audit.column_json(r.alias, col.name, col.type)
          )
          when v_on is not null then format(
            'case when %s = any (%L::uuid[]) then %s end', v_organization_sql, v_on, audit.column_json(r.alias, col.name, col.type)
          )
        end
        when 'record' then audit.column_json(r.alias, col.name, col.type)
      end as value,
      col.type in ('jsonb'::regtype, 'json'::regtype) as may_hold_nulls
    from col
    cross join (values ('o'), ('n')) r (alias)
    where operation = 'update'
      or r.alias = v_row
        -- Already in columns of the entry itself.
        and not plan -> 'id' ? col.name
        and coalesce(plan #>> '{organization,column}', '') <> case when plan -> 'organization' ? 'table' then '' else col.name end
        and coalesce(plan #>> '{provider,column}', '') <> case when plan -> 'provider' ? 'table' then '' else col.name end
        and coalesce(plan #>> '{cost,column}', '') <> case when plan -> 'cost' ? 'table' then '' else col.name end
  ),
  whole as (
    -- jsonb_build_object() takes 100 arguments. Nulls say nothing about an added or removed row, but stripping them
    -- would also reach into JSON values, so those stand apart.
    select string_agg(chunk.sql, ' || ' order by chunk.n) as sql
    from (
      select min(r.n) as n,
        case when r.may_hold_nulls
          then string_agg(format('case when %1$I.%2$I is null then ''{}''::jsonb else jsonb_build_object(%2$L, %3$s) end', r.alias, r.name, r.value), ' || ' order by r.n)
          else format('jsonb_strip_nulls(jsonb_build_object(%s))', string_agg(format('%L, %s', r.name, r.value), ', ' order by r.n))
        end as sql
      from (
        select *, (row_number() over (partition by may_hold_nulls order by n) - 1) / 45 as part
        from rendered
        where value is not null
      ) r
      where operation <> 'update'
      group by r.may_hold_nulls, r.part
    ) chunk
  ),
  changed as (
    select string_agg(
      format(
        'case when %s then jsonb_build_object(%L, jsonb_build_object(''old'', %s, ''new'', %s)) else ''{}''::jsonb end',
        audit.differs_expression(ro.name, ro.type), ro.name, ro.value, rn.value
      ), ' || ' order by ro.n
    ) as sql
    from rendered ro
    join rendered rn on rn.name = ro.name and rn.alias = 'n'
    where operation = 'update' and ro.alias = 'o' and ro.value is not null
  )
  select case operation
    when 'update' then format('jsonb_build_object(''changes'', %s)', coalesce(changed.sql, '''{}''::jsonb'))
    else format('jsonb_build_object(%L, %s)', case operation when 'insert' then 'new' else 'old' end, coalesce(whole.sql, '''{}''::jsonb'))
  end
  into v_details_sql
  from whole, changed;

  -- What the writer must look at more closely: a value that may hold a secret (only text can, and only if it is long
  -- enough; the least jsonb around the same text has 9 bytes more), a name that is too long, a number of very many digits.
  -- Large details it sees by itself.
  with col as (
    select format('%I.%I', r.alias, c.name) as sql, c.name, c.type, c.category,
      (plan -> 'columns' ->> c.name = 'record'
        or plan -> 'columns' ->> c.name = 'content' and (audit.setting('query_text') = 'true' or v_on is not null)
      ) and not (c.type in (
        'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'bool'::regtype, 'uuid'::regtype, 'timestamptz'::regtype,
        'timestamp'::regtype, 'date'::regtype, 'float4'::regtype, 'float8'::regtype, 'bytea'::regtype, 'numeric'::regtype
      )) as is_text
    from audit.columns_of(draft_expression.table_name) c
    cross join (values ('o'), ('n')) r (alias)
    where r.alias = v_row or operation = 'update'
  ),
  chunk as (
    -- Functions take 100 arguments.
    select string_agg(
      format('pg_column_size(%s)%s', t.sql, case when t.type = 'jsonb'::regtype then ' - 9' end), ', ' order by t.sql
    ) as sizes, string_agg(t.sql, ', ' order by t.sql) as texts
    from (select col.*, (row_number() over (order by col.sql) - 1) / 90 as part from col where col.is_text) t
    group by t.part
  )
  select concat_ws(' or ',
    (select string_agg(
      format('(greatest(%s) > %s and audit.may_hold_secret(concat(%s)))', chunk.sizes, audit.shortest_secret(), chunk.texts), ' or '
      order by chunk.texts
    ) from chunk),
    (select string_agg(format('octet_length(%s) > 200', col.sql), ' or ' order by col.sql)
      from col
      where col.category = 'S' and (plan -> 'id' ? col.name or plan #>> '{provider,column}' = col.name and not plan -> 'provider' ? 'table')),
    (select string_agg(format('abs(%1$s) >= 1e30 or scale(%1$s) > 40', col.sql), ' or ' order by col.sql)
      from col
      where col.type = 'numeric'::regtype and plan -> 'columns' ->> col.name = 'record'),
    'false'
  )
  into v_suspect_sql;
  -- A provider or cost behind a foreign key is not among the columns above.
  if plan -> 'provider' ? 'table' or plan -> 'cost' ? 'table' then
    v_suspect_sql := 'true';
  end if;

  return concat_ws(E',\n      ',
    v_organization_sql,
    v_action_sql,
    v_outcome_sql,
    quote_literal(plan ->> 'resource'),
    v_id_sql,
    coalesce(audit.uuid_expression(draft_expression.table_name, plan -> 'actor', v_row), 'null::uuid'),
    coalesce('(' || audit.mapped_expression(plan -> 'provider', v_row) || ')::text', 'null::text'),
    coalesce('(' || audit.mapped_expression(plan -> 'cost', v_row) || ')::numeric', 'null::numeric'),
    v_details_sql,
    v_suspect_sql
  );
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The list of expressions that map a row (n, o) to an audit.draft for an insert, update or delete.

-- function audit.either(audit.compiled_query[])
CREATE OR REPLACE FUNCTION audit.either(sides audit.compiled_query[])
 RETURNS audit.compiled_query
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  select audit.compiled(
    string_agg('(' || s.condition || ')', ' or ' order by s.n),
    -- One group for all, unless a side has none: then a match need not have any. A side that nothing meets says nothing.
    case
      when bool_or(s.condition <> 'false' and s.term_groups = '[]') or bool_and(s.condition = 'false') then '[]'
      else jsonb_build_array((
        select jsonb_agg(distinct t.term)
        from unnest(sides) g
        cross join lateral jsonb_array_elements(g.term_groups -> 0) t (term)
      ))
    end
  )
  from unnest(sides) with ordinality s (condition, term_groups, from_time, to_time, n)
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The query that one of several is met.

-- function audit.ensure_partitions(integer)
CREATE OR REPLACE FUNCTION audit.ensure_partitions(ahead integer DEFAULT 3)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_month date;
  v_this date := date_trunc('month', clock_timestamp() at time zone 'utc')::date;
  v_name text;
  v_caught_from date;
  v_caught_to date;
  v_made int := 0;
begin
  if ahead is null or ahead not between 0 and 120 then
    perform audit.fail('AUARG', 'Partitions are made for 0 to 120 months ahead.');
  end if;
  -- Two schedules at once would race for the same names.
  perform pg_advisory_xact_lock(hashtext('audit.ensure_partitions'));

  if to_regclass('public.audit_logs_default') is not null then
    select date_trunc('month', min(created_at) at time zone 'utc')::date,
      (date_trunc('month', max(created_at) at time zone 'utc') + interval '1 month')::date
    into v_caught_from, v_caught_to
    from public.audit_logs_default;
    if v_caught_from is not null and exists (
      select from audit.partition_ranges() r
      where r.from_time < (v_caught_to::text || ' 00:00:00+00')::timestamptz
        and r.to_time > (v_caught_from::text || ' 00:00:00+00')::timestamptz
    ) then
      raise warning 'audit: entries from % to % wait in audit_logs_default, on both sides of an existing partition',
        v_caught_from, v_caught_to;
    elsif v_caught_from is not null then
      v_name := format('audit_logs_%s', to_char(v_caught_from, 'YYYY_MM'));
      alter table public.audit_logs detach partition public.audit_logs_default;
      execute format('alter table public.audit_logs_default rename to %I', v_name);
      execute format('alter index public.audit_logs_default_name_idx rename to %I', v_name || '_name_idx');
      execute format(
        'alter table public.audit_logs attach partition public.%I for values from (%L) to (%L)',
        v_name, v_caught_from::text || ' 00:00:00+00', v_caught_to::text || ' 00:00:00+00'
      );
      perform audit.secure_partition(format('public.%I', v_name)::regclass);
      v_made := v_made + 1;
    end if;
  end if;

  for v_month in
    select g::date
    from generate_series(v_this, v_this + make_interval(months => ahead), interval '1 month') g
    where not exists (
      select from audit.partition_ranges() r
      where (g::date::text || ' 00:00:00+00')::timestamptz >= r.from_time
        and (g::date::text || ' 00:00:00+00')::timestamptz < r.to_time
    )
  loop
    v_name := format('audit_logs_%s', to_char(v_month, 'YYYY_MM'));
    execute format(
      'create table public.%I partition of public.audit_logs for values from (%L) to (%L)',
      v_name, v_month::text || ' 00:00:00+00', (v_month + interval '1 month')::date::text || ' 00:00:00+00'
    );
    perform audit.secure_partition(format('public.%I', v_name)::regclass);
    v_made := v_made + 1;
  end loop;

  if to_regclass('public.audit_logs_default') is null then
    create table public.audit_logs_default partition of public.audit_logs default;
    perform audit.secure_partition('public.audit_logs_default');
  end if;
  return v_made;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Makes the log's partitions for this month and the given number of months ahead; returns how many were missing.

-- function audit.entries_before(uuid,integer)
CREATE OR REPLACE FUNCTION audit.entries_before(export uuid, part integer)
 RETURNS bigint
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  select coalesce(sum(p.entries), 0) from audit.export_parts p where p.export = entries_before.export and p.part < entries_before.part
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How many entries the earlier parts of an export have.

-- function audit.entries_by_name(uuid,audit."position"[])
CREATE OR REPLACE FUNCTION audit.entries_by_name(organization_id uuid, names audit."position"[])
 RETURNS SETOF public.audit_logs
 LANGUAGE plpgsql
 STABLE ROWS 100
 SET search_path TO ''
AS $function$
begin
  return query
    select e.*
    from unnest(names) n
    cross join lateral (
      select a.* from public.audit_logs a
      where a.organization_id = entries_by_name.organization_id and a.created_at = n.created_at and a.chain = n.chain and a.seq = n.seq
      offset 0
    ) e;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The entries at these positions, as far as the caller may see them.

-- function audit.entries_json(public.audit_logs[])
CREATE OR REPLACE FUNCTION audit.entries_json(entries public.audit_logs[])
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select coalesce(jsonb_agg(audit.entry_json(u.entry, i.email, i.ip_address, i.user_agent) order by n), '[]')
  from generate_subscripts(entries, 1) n
  cross join lateral (select entries[n] as entry) u
  left join lateral (
    -- A commitment that stands twice is the same identity twice.
    select i.email, i.ip_address, i.user_agent from audit.identities i where i.identity_hash = (u.entry).identity_hash limit 1
  ) i on true
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Entries as the API shows them, in order, with the identities that the caller may see.

-- function audit.entry_json(public.audit_logs,text,text,text)
CREATE OR REPLACE FUNCTION audit.entry_json(entry public.audit_logs, email text, ip_address text, user_agent text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN jsonb_build_object('name', (((entry).chain || '-'::text) || (entry).seq), 'organization_id', (entry).organization_id, 'chain', (entry).chain, 'seq', (entry).seq, 'created_at', audit.instant_text((entry).created_at), 'action', (entry).action, 'outcome', (entry).outcome, 'resource_type', (entry).resource_type, 'resource_id', (entry).resource_id, 'created_by', (entry).created_by, 'actor_type', (entry).actor_type, 'email', email, 'ip_address', ip_address, 'user_agent', user_agent, 'provider', (entry).provider, 'cost', ((entry).cost)::text, 'request_id', (entry).request_id, 'details', (entry).details, 'prev_hash', encode((entry).prev_hash, 'hex'::text), 'hash', encode((entry).hash, 'hex'::text))

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: An entry as the API shows it.

-- function audit.entry_text(public.audit_logs)
CREATE OR REPLACE FUNCTION audit.entry_text(entry public.audit_logs)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN audit.entry_text((entry).organization_id, (entry).chain, (entry).seq, (entry).created_at, (entry).action, (entry).outcome, (entry).resource_type, (entry).resource_id, (entry).created_by, (entry).actor_type, (entry).identity_hash, (entry).provider, (entry).cost, (entry).request_id, (entry).details, (entry).prev_hash)

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The exact text that an entry's hash is over: select audit.entry_text(a) from public.audit_logs a.

-- function audit.entry_text(uuid,integer,bigint,timestamp with time zone,text,text,text,text,uuid,text,bytea,text,numeric,text,jsonb,bytea)
CREATE OR REPLACE FUNCTION audit.entry_text(organization_id uuid, chain integer, seq bigint, created_at timestamp with time zone, action text, outcome text, resource_type text, resource_id text, created_by uuid, actor_type text, identity_hash bytea, provider text, cost numeric, request_id text, details jsonb, prev_hash bytea)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN format('{"v":1,"organization_id":"%s","chain":%s,"seq":%s,"created_at":%s,"action":%s,"outcome":"%s","resource_type":%s,"resource_id":%s,"created_by":%s,"actor_type":"%s","identity_hash":%s,"provider":%s,"cost":%s,"request_id":%s,"details":%s,"prev_hash":%s}'::text, organization_id, chain, seq, ((EXTRACT(epoch FROM created_at) * (1000000)::numeric))::bigint, to_json(action), outcome, COALESCE(to_json(resource_type), 'null'::json), COALESCE(to_json(resource_id), 'null'::json), COALESCE((('"'::text || created_by) || '"'::text), 'null'::text), actor_type, COALESCE((('"'::text || encode(identity_hash, 'hex'::text)) || '"'::text), 'null'::text), COALESCE(to_json(provider), 'null'::json), COALESCE((('"'::text || cost) || '"'::text), 'null'::text), COALESCE(to_json(request_id), 'null'::json), details, COALESCE((('"'::text || encode(prev_hash, 'hex'::text)) || '"'::text), 'null'::text))

owner postgres
grant audit_writer: EXECUTE
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The entry text of format version 1: one line of JSON with its fields in a fixed order.

-- function audit.exact_number(numeric)
CREATE OR REPLACE FUNCTION audit.exact_number(value numeric)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (((scale(value) = 0) AND (abs(value) <= ('9007199254740991'::bigint)::numeric)) OR ((scale(value) <= 6) AND (abs(value) < '1000000000'::numeric)) OR ((scale(value) <= 12) AND (abs(value) < '1000'::numeric))) THEN to_jsonb(value) ELSE to_jsonb((value)::text) END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The number as JSON: a number where 15 digits hold it (or an integer within ±(2^53 - 1)), else a string with all digits.

-- function audit.expected_triggers()
CREATE OR REPLACE FUNCTION audit.expected_triggers()
 RETURNS TABLE(trigger_name text, timing text, referencing text)
 LANGUAGE sql
 IMMUTABLE ROWS 4
 SET search_path TO ''
AS $function$
  values
    ('audit_insert', 'after insert', 'referencing new table as new_rows'),
    ('audit_update', 'after update', 'referencing old table as old_rows new table as new_rows'),
    ('audit_delete', 'after delete', 'referencing old table as old_rows'),
    ('audit_truncate', 'before truncate', '')
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The triggers that a tracked table carries.

-- function audit.export_columns(text)
CREATE OR REPLACE FUNCTION audit.export_columns(format text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO ''
AS $function$
  select case export_columns.format
    when 'csv' then
      'e.chain || ''-'' || e.seq as name, e.organization_id, e.chain, e.seq, audit.instant_text(e.created_at) as created_at,'
        || ' audit.csv_text(e.action) as action, e.outcome,'
        || ' audit.csv_text(e.resource_type) as resource_type, audit.csv_text(e.resource_id) as resource_id, e.created_by, e.actor_type,'
        || ' audit.csv_text(i.email) as email, audit.csv_text(i.ip_address) as ip_address, audit.csv_text(i.user_agent) as user_agent,'
        || ' audit.csv_text(e.provider) as provider, e.cost, audit.csv_text(e.request_id) as request_id, e.details,'
        || ' encode(e.prev_hash, ''hex'') as prev_hash, encode(e.hash, ''hex'') as hash'
    when 'json' then
      ''','' || row_to_json(row(e.chain || ''-'' || e.seq, e.organization_id, e.chain, e.seq, audit.instant_text(e.created_at), e.action, e.outcome,'
        || ' e.resource_type, e.resource_id, e.created_by, e.actor_type, i.email, i.ip_address, i.user_agent, e.provider,'
        || ' e.cost::text, e.request_id, e.details, encode(e.prev_hash, ''hex''), encode(e.hash, ''hex''))::audit.exported_entry)'
    when 'ndjson' then
      'concat(''{"hash":"'', encode(e.hash, ''hex''), ''","email":'', coalesce(to_json(i.email), ''null''), '',"ip_address":'','
        || ' coalesce(to_json(i.ip_address), ''null''), '',"user_agent":'', coalesce(to_json(i.user_agent), ''null''),'
        || ' '',"entry":'', audit.entry_text(e), ''}'')'
    when 'ocsf' then 'audit.ocsf_line(e, i.email, i.ip_address, i.user_agent)'
    when 'pdf' then 'audit.entry_json(e, i.email, i.ip_address, i.user_agent)'
  end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What a select has of an entry e and its identity i in an export.

-- function audit.export_status(jsonb)
CREATE OR REPLACE FUNCTION audit.export_status(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_export audit.exports;
  v_parts jsonb;
begin
  perform audit.check_request(request, array['export']);
  v_export := audit.find_export(audit.requested_export(request));
  select coalesce(jsonb_agg(jsonb_build_object(
    'part', p.part, 'entries', p.entries, 'bytes', p.bytes, 'sha256', p.sha256, 'first', p.first, 'last', p.last,
    'complete', p.complete, 'path', p.path
  ) order by p.part), '[]')
  into v_parts
  from audit.export_parts p
  where p.export = v_export.id;
  return jsonb_build_object(
    'id', v_export.id, 'organization_id', v_export.organization_id, 'format', v_export.format, 'gzip', v_export.gzip,
    'query', audit.format_node(v_export.filter), 'filter', v_export.filter, 'state', v_export.state,
    'requested_by', v_export.requested_by, 'requested_at', audit.instant_text(v_export.requested_at), 'error', v_export.error,
    'entries_done', (
      select coalesce(sum((p.value ->> 'entries')::bigint), 0)
      from jsonb_array_elements(v_parts) p
      where (p.value ->> 'complete')::boolean
    ),
    'parts', v_parts,
    'manifest', jsonb_build_object(
      'version', 1, 'export', v_export.id, 'organization_id', v_export.organization_id, 'format', v_export.format,
      'query', audit.format_node(v_export.filter), 'filter', v_export.filter,
      'until', audit.instant_text(v_export.until), 'complete', v_export.state = 'done',
      'entries', (select coalesce(sum((p.value ->> 'entries')::bigint), 0) from jsonb_array_elements(v_parts) p),
      'first', v_parts -> 0 -> 'first', 'last', v_parts -> -1 -> 'last',
      'parts', (
        select coalesce(jsonb_agg(p.value - 'path' - 'complete' order by p.n), '[]')
        from jsonb_array_elements(v_parts) with ordinality p (value, n)
      ),
      'checkpoint', null, 'signature', null,
      'signature_note', 'Unsigned: this project does not sign checkpoints yet.'
    )
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How far an export has come, its parts, and its manifest.

-- function audit.fail(text,text,text,text)
CREATE OR REPLACE FUNCTION audit.fail(code text, message text, detail text DEFAULT NULL::text, hint text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  raise exception using
    errcode = fail.code,
    message = fail.message,
    detail = coalesce(fail.detail, ''),
    hint = coalesce(fail.hint, '');
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises an error with one of the codes of audit.error_codes: the message names the cause, the hint the way out.

-- function audit.fail_export(jsonb)
CREATE OR REPLACE FUNCTION audit.fail_export(request jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  perform audit.check_request(request, array['export', 'error', 'retry']);
  update audit.exports x set
    state = case when (request ->> 'retry')::boolean and x.attempts < 3 then 'queued' else 'failed' end,
    error = left(request ->> 'error', 500), lease_until = null
  where x.id = audit.requested_export(request) and x.state = 'running';
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes why an export failed, or puts it back to be tried again. For audit-jobs.

-- function audit.fail_query(text,jsonb,text)
CREATE OR REPLACE FUNCTION audit.fail_query(message text, place jsonb, hint text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  perform audit.fail('AUQRY', fail_query.message, fail_query.place::text, fail_query.hint);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises AUQRY; its detail says where: {"position": 17} in the string, or {"path": "/and/1"} in the tree.

-- function audit.find_export(uuid)
CREATE OR REPLACE FUNCTION audit.find_export(id uuid)
 RETURNS audit.exports
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_export audit.exports;
begin
  select x.* into v_export from audit.exports x where x.id = find_export.id;
  if v_export.id is null or not (
    audit.caller() = 'service_role' or pg_catalog.pg_has_role(audit.caller()::name, 'postgres', 'usage')
    or v_export.requested_by = auth.uid() and audit.reach(v_export.organization_id) is not null
    or v_export.organization_id in (select audit.admin_organizations())
  ) then
    perform audit.fail('AUNOT', 'There is no such export of yours.');
  end if;
  return v_export;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: An export that the caller may see; raises AUNOT else.

-- function audit.first_prev_hash(uuid,integer)
CREATE OR REPLACE FUNCTION audit.first_prev_hash(organization_id uuid, chain integer)
 RETURNS bytea
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN sha256(convert_to(concat('supabase-audit-logs chain v1', '
', organization_id, '
', chain, '
'), 'UTF8'::name))

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What entry 1 of a chain has as prev_hash; no two chains share it.

-- function audit.fitted(jsonb,integer)
CREATE OR REPLACE FUNCTION audit.fitted(details jsonb, most integer)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
declare
  v_excess int := octet_length(fitted.details::text) - fitted.most;
  v_cuts jsonb;
  v_details jsonb;
begin
  if v_excess <= 0 then
    return fitted.details;
  end if;
  -- The largest leaf values first, as many as it takes: what is small stays readable. A digest takes 110 bytes.
  with recursive node (path, value, depth) as (
    select array[e.key], e.value, 1
    from jsonb_each(case when jsonb_typeof(fitted.details) = 'object' then fitted.details else '{}' end) e
    union all
    select n.path || c.key, c.value, n.depth + 1
    from node n
    cross join lateral jsonb_each(case when jsonb_typeof(n.value) = 'object' and n.depth < 6 then n.value else '{}' end) c
  ),
  leaf as (
    select n.path, n.value::text as text, octet_length(n.value::text) as size
    from node n
    where (jsonb_typeof(n.value) <> 'object' or n.depth = 6) and octet_length(n.value::text) > 220
  ),
  chosen as (
    select l.path, l.text, sum(l.size - 110) over (order by l.size desc, l.path) - (l.size - 110) as saved_before
    from leaf l
  )
  select jsonb_object_agg(array_to_json(c.path)::text, audit.digest_of(c.text))
  into v_cuts
  from chosen c
  where c.saved_before < v_excess;

  v_details := audit.with_cuts(fitted.details, coalesce(v_cuts, '{}'), '{}');
  if octet_length(v_details::text) > fitted.most then
    return audit.digest_of(fitted.details::text); -- very many small values
  end if;
  return v_details;
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The details within `most` bytes: the largest values replaced by {"cut": {"bytes": …, "sha256": …}}, never silently.

-- function audit.format_node(jsonb,text)
CREATE OR REPLACE FUNCTION audit.format_node(node jsonb, inside text DEFAULT NULL::text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_field text := node ->> 'field';
  v_value text := node ->> 'value';
  v_text text;
begin
  if node ? 'and' then
    if node -> 'and' = '[]' then
      return '';
    end if;
    select string_agg(audit.format_node(e.value, 'and'), ' ' order by e.n) into v_text
    from jsonb_array_elements(node -> 'and') with ordinality e (value, n);
    return case when inside in ('not') then '(' || v_text || ')' else v_text end;
  elsif node ? 'or' then
    select string_agg(audit.format_node(e.value, 'or'), ' or ' order by e.n) into v_text
    from jsonb_array_elements(node -> 'or') with ordinality e (value, n);
    return case when inside is null then v_text else '(' || v_text || ')' end;
  elsif node ? 'not' then
    return '-' || audit.format_node(node -> 'not', 'not');
  elsif node ? 'text' then
    v_text := node ->> 'text';
    -- Bare text must not read as a field, a sign or a wildcard.
    v_text := case when v_text ~ '^[[:alnum:]_@/+.~][[:alnum:]_@/+.~-]*$' and v_text !~* '^(or|and|not)$' then v_text
      else '"' || regexp_replace(v_text, '(["\\])', '\\\1', 'g') || '"' end;
    return v_text || case when node ? 'prefix' then '*' else '' end;
  end if;
  return v_field || ':' || case node ->> 'op'
    when 'exists' then '*'
    when 'like' then audit.query_pattern(v_value)
    when 'gt' then '>' || audit.query_word(v_value)
    when 'gte' then '>=' || audit.query_word(v_value)
    when 'lt' then '<' || audit.query_word(v_value)
    when 'lte' then '<=' || audit.query_word(v_value)
    when 'between' then audit.query_word(node -> 'value' ->> 0) || '..' || audit.query_word(node -> 'value' ->> 1)
    when 'in' then (
      select '(' || string_agg(audit.query_word(e.value), ' or ' order by e.n) || ')'
      from jsonb_array_elements_text(node -> 'value') with ordinality e (value, n)
    )
    else audit.query_word(v_value)
  end;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A part of a query tree in its string form.

-- function audit.format_query(jsonb)
CREATE OR REPLACE FUNCTION audit.format_query(tree jsonb)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select audit.format_node(audit.canonical_query(format_query.tree))
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The string form of a query tree; audit.parse_query() reads it back as the same tree.

-- function audit.found_column(regclass,text[])
CREATE OR REPLACE FUNCTION audit.found_column(table_name regclass, candidates text[])
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select path
  from (
    select c.name as path, 0 as distance, array_position(candidates, c.name) as preference
    from audit.columns_of(found_column.table_name) c
    where c.name = any (candidates)
    union all
    select k.attname || '.' || c.name, 1, array_position(candidates, c.name)
    from pg_catalog.pg_constraint f
    join pg_catalog.pg_attribute k on k.attrelid = f.conrelid and k.attnum = f.conkey[1]
    cross join lateral audit.columns_of(f.confrelid::regclass) c
    join pg_catalog.pg_namespace s on s.oid = (select relnamespace from pg_catalog.pg_class where oid = f.confrelid)
    where f.conrelid = found_column.table_name and f.contype = 'f' and cardinality(f.conkey) = 1
      and f.confrelid <> f.conrelid and s.nspname not in ('auth', 'storage')
      and c.name = any (candidates)
  ) found
  order by distance, preference, path
  limit 1
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The column that most likely has a meaning, found by its usual names, in the table or one foreign key away.

-- function audit.grant_auditor(uuid,uuid,timestamp with time zone,boolean)
CREATE OR REPLACE FUNCTION audit.grant_auditor(organization_id uuid, user_id uuid, expires_at timestamp with time zone, sees_identities boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
begin
  perform audit.require_admin(grant_auditor.organization_id);
  if grant_auditor.user_id is null or not coalesce(isfinite(grant_auditor.expires_at), false)
    or grant_auditor.expires_at <= clock_timestamp()
  then
    perform audit.fail('AUARG', 'An auditor needs a user and an expiry date in the future.', null,
      'For example: select audit.grant_auditor(organization_id, user_id, now() + interval ''30 days'').');
  end if;

  insert into audit.auditors as a (organization_id, user_id, expires_at, sees_identities, granted_by)
  values (
    grant_auditor.organization_id, grant_auditor.user_id, grant_auditor.expires_at,
    coalesce(grant_auditor.sees_identities, false), auth.uid()
  )
  on conflict on constraint auditors_pkey do update
    set expires_at = excluded.expires_at, sees_identities = excluded.sees_identities,
      granted_by = excluded.granted_by, granted_at = clock_timestamp();

  perform audit.record(
    grant_auditor.organization_id, 'auditor.granted', 'user', grant_auditor.user_id::text,
    jsonb_build_object(
      'expires_at', to_jsonb(grant_auditor.expires_at at time zone 'utc'),
      'sees_identities', coalesce(grant_auditor.sees_identities, false)
    )
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Lets a user read one organisation's log until a date; leaves an entry. For admins of the organisation.

-- function audit.hash_of(text)
CREATE OR REPLACE FUNCTION audit.hash_of(entry_text text)
 RETURNS bytea
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN sha256(('\x00'::bytea || convert_to(entry_text, 'UTF8'::name)))

owner postgres
grant audit_writer: EXECUTE
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: SHA-256 of 0x00 and the entry text in UTF-8: the entry's hash, and its leaf hash by RFC 6962.

-- function audit.history(text,text,uuid,integer)
CREATE OR REPLACE FUNCTION audit.history(resource_type text, resource_id text, organization_id uuid DEFAULT NULL::uuid, at_most integer DEFAULT 1000)
 RETURNS SETOF public.audit_events
 LANGUAGE sql
 ROWS 100
 SET search_path TO ''
AS $function$
  select * from audit.search(
    audit.format_query(jsonb_build_object('and', jsonb_build_array(
      jsonb_build_object('field', 'resource_type', 'op', 'eq', 'value', history.resource_type),
      jsonb_build_object('field', 'resource_id', 'op', 'eq', 'value', history.resource_id)
    ))),
    history.organization_id, 'created_at', history.at_most
  )
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Everything that happened to one thing, oldest first: select * from audit.history('api_key', '3f2a…').

-- function audit.identify(uuid,uuid,text,text,text)
CREATE OR REPLACE FUNCTION audit.identify(organization_id uuid, user_id uuid, email text, ip_address text, user_agent text)
 RETURNS bytea
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_ip text := audit.permitted_ip(identify.organization_id, identify.ip_address);
  -- Unsalted, so it never leaves the table that holds the values themselves and goes with them.
  v_lookup bytea := sha256(convert_to(row(
    identify.organization_id, identify.user_id, identify.email, v_ip, identify.user_agent
  )::text, 'UTF8'));
  v_hash bytea;
  v_salt bytea;
begin
  if identify.email is null and v_ip is null and identify.user_agent is null then
    return null; -- the user id alone stands in the entry itself
  end if;

  -- At SERIALIZABLE a look-up that finds nothing is a predicate lock on the index page that every new identity is
  -- written to, and two of them abort each other; a duplicate row costs less than a failed transaction.
  select i.identity_hash into v_hash
  from audit.identities i
  where i.lookup = v_lookup and current_setting('transaction_isolation') <> 'serializable'
  limit 1;
  if v_hash is null then
    v_salt := audit.random_salt();
    v_hash := sha256('\x02'::bytea || v_salt || convert_to(audit.identity_text(
      identify.organization_id, identify.user_id, identify.email, v_ip, identify.user_agent
    ), 'UTF8'));
    insert into audit.identities (organization_id, user_id, email, ip_address, user_agent, salt, identity_hash, lookup)
    values (
      identify.organization_id, identify.user_id, identify.email, v_ip, identify.user_agent, v_salt, v_hash, v_lookup
    );
  end if;
  return v_hash;
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
comment: Keeps an actor's personal data once per context and returns the commitment for the entry; null if there is none.

-- function audit.identity_text(uuid,uuid,text,text,text)
CREATE OR REPLACE FUNCTION audit.identity_text(organization_id uuid, user_id uuid, email text, ip_address text, user_agent text)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN format('{"v":1,"organization_id":"%s","user_id":%s,"email":%s,"ip_address":%s,"user_agent":%s}'::text, organization_id, COALESCE((('"'::text || user_id) || '"'::text), 'null'::text), COALESCE(to_json(email), 'null'::json), COALESCE(to_json(ip_address), 'null'::json), COALESCE(to_json(user_agent), 'null'::json))

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The one line of JSON that an identity's hash commits to (sql/FORMAT.md, "Identities").

-- function audit.index_entries(integer)
CREATE OR REPLACE FUNCTION audit.index_entries(at_most integer DEFAULT 10000)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_indexed int;
begin
  -- One at a time; who comes second has nothing to do.
  if not pg_try_advisory_xact_lock(hashtext('audit.index_entries')) then
    return 0;
  end if;

  -- A chain's entries become visible in order and without gaps, so everything up to its head is there.
  with waiting as (
    select h.organization_id, h.chain, coalesce(p.seq, 0) as after, coalesce(p.last_at, '-infinity') as last_at, h.seq,
      sum(h.seq - coalesce(p.seq, 0)) over (order by h.last_at, h.organization_id, h.chain) as running
    from audit.heads h
    left join audit.search_positions p on p.organization_id = h.organization_id and p.chain = h.chain
    where h.seq > coalesce(p.seq, 0)
  ),
  taken as materialized (
    select w.organization_id, w.chain, w.after, w.last_at,
      least(w.seq, w.seq - (w.running - index_entries.at_most)) as upto
    from waiting w
    where w.running - (w.seq - w.after) < index_entries.at_most
  ),
  fresh as (
    insert into audit.search_index (organization_id, created_at, chain, seq, terms)
    select a.organization_id, a.created_at, a.chain, a.seq, audit.search_terms(a)
    from taken t
    join public.audit_logs a
      on a.organization_id = t.organization_id and a.chain = t.chain and a.seq > t.after and a.seq <= t.upto
        and a.created_at >= t.last_at
    returning organization_id, chain, seq, created_at
  ),
  moved as (
    insert into audit.search_positions as p (organization_id, chain, seq, last_at)
    select f.organization_id, f.chain, max(f.seq), max(f.created_at) from fresh f group by f.organization_id, f.chain
    on conflict on constraint search_positions_pkey do update set seq = excluded.seq, last_at = excluded.last_at
  )
  select count(*) into v_indexed from fresh;
  -- What waits in the index's pending list is read from end to end by every search.
  perform gin_clean_pending_list('audit.search_index_terms_idx');
  return v_indexed;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Brings the search index up to date, by at most so many entries at once; returns how many. pg_cron runs it.

-- function audit.instant_text(timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.instant_text(at timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN to_char((at AT TIME ZONE 'utc'::text), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text)

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A time as in the API: ISO 8601, UTC, microseconds.

-- function audit.known_tables()
CREATE OR REPLACE FUNCTION audit.known_tables()
 RETURNS TABLE(table_name text, options jsonb)
 LANGUAGE sql
 IMMUTABLE ROWS 7
 SET search_path TO ''
AS $function$
  values
    ('organizations', jsonb_build_object(
      'organization', 'id', 'actor', null
    )),
    ('organization_members', jsonb_build_object(
      'resource', 'member', 'id', jsonb_build_array('user_id'), 'actor', null,
      'actions', jsonb_build_object('insert', 'member.added', 'update', 'member.updated', 'delete', 'member.removed'),
      'update_of', jsonb_build_object('role', 'member.role_changed')
    )),
    ('api_keys', jsonb_build_object(
      'actions', jsonb_build_object('insert', 'api_key.added', 'update', 'api_key.updated', 'delete', 'api_key.deleted')
    )),
    ('budgets', jsonb_build_object(
      'actions', jsonb_build_object('insert', 'budget.created', 'update', 'budget.changed', 'delete', 'budget.deleted')
    )),
    ('llm_queries', jsonb_build_object(
      'resource', 'query',
      'actions', jsonb_build_object('insert', 'query.executed', 'update', 'query.updated', 'delete', 'query.deleted')
    )),
    ('llm_responses', jsonb_build_object(
      'resource', 'query', 'id', jsonb_build_array('query_id'),
      'actions', jsonb_build_object(
        'insert', 'query.completed', 'insert_failed', 'query.failed',
        'update', 'query.response_changed', 'delete', 'query.response_deleted'
      )
    )),
    ('integrations', jsonb_build_object(
      'actions', jsonb_build_object(
        'insert', 'integration.configured', 'update', 'integration.configured', 'delete', 'integration.removed'
      )
    ))
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The tables of an LLM application that are tracked by themselves when they stand in schema public, with their options.

-- function audit.linked_hash(bytea,bytea)
CREATE OR REPLACE FUNCTION audit.linked_hash(unlinked_text bytea, prev_hash bytea)
 RETURNS bytea
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN sha256((('\x00'::bytea || SUBSTRING(unlinked_text FROM 1 FOR (octet_length(unlinked_text) - 5))) || convert_to((('"'::text || encode(prev_hash, 'hex'::text)) || '"}'::text), 'UTF8'::name)))

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The hash of an entry whose text, in UTF-8, was made with null as prev_hash, linked to the entry before it.

-- function audit.list_exports(jsonb)
CREATE OR REPLACE FUNCTION audit.list_exports(request jsonb DEFAULT '{}'::jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  return jsonb_build_object('organization_id', v_organization, 'exports', coalesce((
    select jsonb_agg(audit.export_status(jsonb_build_object('export', x.id)) - 'manifest' order by x.requested_at desc)
    from (
      select x.id, x.requested_at
      from audit.exports x
      where x.organization_id = v_organization
        and (x.requested_by = auth.uid() or v_organization in (select audit.admin_organizations()))
      order by x.requested_at desc
      limit 100
    ) x
  ), '[]'));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The newest exports of an organisation: one's own, or all for admins.

-- function audit.make_cursor(uuid,text,audit."position")
CREATE OR REPLACE FUNCTION audit.make_cursor(organization_id uuid, scope text, place audit."position")
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO ''
AS $function$
  select translate(encode(convert_to(p.payload || left(encode(sha256(convert_to(p.payload, 'UTF8')), 'hex'), 8), 'UTF8'), 'base64'), E'+/=\n', '-_')
  from concat_ws(
    '|', make_cursor.organization_id, left(encode(sha256(convert_to(make_cursor.scope, 'UTF8')), 'hex'), 16),
    (extract(epoch from (place).created_at) * 1000000)::bigint, (place).chain, (place).seq, (place).cost, ''
  ) p (payload)
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Where a list goes on, as an opaque text that holds for one organisation and one query.

-- function audit.mapped_expression(jsonb,text)
CREATE OR REPLACE FUNCTION audit.mapped_expression(mapping jsonb, alias text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case
    when mapping ? 'table' then format(
      '(select p.%1$I from %2$s p where p.%3$I = %4$I.%5$I)',
      mapping ->> 'column', (mapping ->> 'table_oid')::oid::regclass, mapping ->> 'table_key', alias, mapping ->> 'key'
    )
    when mapping ? 'column' then format('%I.%I', alias, mapping ->> 'column')
  end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The SQL that reads a mapped column of the row named alias, through its foreign key where it lies behind one.

-- function audit.masked(jsonb)
CREATE OR REPLACE FUNCTION audit.masked(details jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (regexp_replace((details)::text, audit.secret_pattern(), '***'::text, 'g'::text))::jsonb

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The details with everything that looks like a secret replaced by ***.

-- function audit.masked_text(text)
CREATE OR REPLACE FUNCTION audit.masked_text(value text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN audit.may_hold_secret(value) THEN regexp_replace(value, audit.secret_pattern(), '***'::text, 'g'::text) ELSE value END

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The text with everything that looks like a secret replaced by ***.

-- function audit.matching(uuid,audit.compiled_query,text,audit."position",integer)
CREATE OR REPLACE FUNCTION audit.matching(organization_id uuid, compiled audit.compiled_query, sort text, after audit."position", at_most integer)
 RETURNS SETOF public.audit_logs
 LANGUAGE plpgsql
 STABLE ROWS 50
 SET search_path TO ''
AS $function$
declare
  v_descending boolean := sort like '-%';
  v_sign text := case when v_descending then '<' else '>' end;
  v_order text := case when v_descending then 'order by e.created_at desc, e.chain desc, e.seq desc'
    else 'order by e.created_at, e.chain, e.seq' end;
  v_after text := case when after is null then 'true' else audit.position_condition('e', v_sign, after) end;
  v_rows public.audit_logs[] := '{}';
  v_more public.audit_logs[];
  v_names audit.position[];
  v_from audit.position := after;
  v_batch int := at_most + 20;
  v_found int;
begin
  if sort in ('cost', '-cost') then
    -- Everything that matches is sorted; an entry without a cost comes last either way.
    return query execute format(
      'select e.* %s and (%s) order by e.cost %s nulls last, e.created_at desc, e.chain desc, e.seq desc limit %s',
      audit.matching_sql(organization_id, compiled),
      case
        when after is null then 'true'
        when (after).cost is null then 'e.cost is null and ' || audit.position_condition('e', '<', after)
        else format(
          'e.cost %1$s %2$L or e.cost is null or (e.cost = %2$L and %3$s)', v_sign, (after).cost, audit.position_condition('e', '<', after)
        )
      end,
      case when v_descending then 'desc' else 'asc' end, at_most
    );
    return;
  elsif audit.needs_no_index(organization_id, compiled) then
    -- Most conditions that name no term are met near at hand; else the planner sees the whole.
    return query execute format('select e.* from audit.timeline($1, $2, $3, $4, $5, $6) e where (%s) %s limit $7', (compiled).condition, v_order)
      using organization_id, (compiled).from_time, (compiled).to_time, v_descending, after,
        case (compiled).condition when 'true' then at_most else 4 * at_most end, at_most;
    get diagnostics v_found = row_count;
    if v_found < at_most and (compiled).condition <> 'true' then
      return query execute format('select e.* %s and %s %s offset %s limit %s',
        audit.matching_sql(organization_id, compiled), v_after, v_order, v_found, at_most - v_found);
    end if;
    return;
  end if;

  -- Candidates by the batch, until the page is full. Their order is the page's.
  loop
    select array_agg(row(null, c.created_at, c.chain, c.seq)::audit.position) into v_names
    from audit.search_candidates(
      organization_id, (compiled).term_groups, (compiled).from_time, (compiled).to_time, v_descending, v_from, v_batch
    ) c;
    exit when v_names is null;
    execute format(
      'select array_agg(row(e.*)::public.audit_logs) from (select e.* from audit.entries_by_name($1, $2) e where (%s) %s limit $3) e',
      (compiled).condition, v_order
    ) into v_more using organization_id, v_names, at_most - cardinality(v_rows);
    v_rows := v_rows || v_more;
    exit when cardinality(v_rows) >= at_most or cardinality(v_names) < v_batch;
    v_from := v_names[cardinality(v_names)];
    v_batch := least(4 * v_batch, 5000);
  end loop;

  -- And what the index does not have yet.
  execute format(
    'select array_agg(row(e.*)::public.audit_logs) from (select e.* from audit.waiting_entries(%L) e where (%s) and %s %s limit %s) e',
    organization_id, (compiled).condition, v_after, v_order, at_most
  ) into v_more;
  if v_more is null then
    return query select e.* from unnest(v_rows) e;
  else
    return query execute format('select e.* from unnest($1) e %s limit %s', v_order, at_most) using v_rows || v_more;
  end if;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The next entries that match, in order, after a position.

-- function audit.matching_sql(uuid,audit.compiled_query,text)
CREATE OR REPLACE FUNCTION audit.matching_sql(organization_id uuid, compiled audit.compiled_query, joined text DEFAULT ''::text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case
    when audit.needs_no_index(matching_sql.organization_id, compiled) then format(
      'from public.audit_logs e %s where e.organization_id = %L and (%s)', joined, matching_sql.organization_id, (compiled).condition
    )
    else format(
      'from (select a.* from audit.search_candidates(%1$L, %2$L, %3$L, %4$L) n cross join lateral (select a.* from public.audit_logs a'
        || ' where a.organization_id = %1$L and a.created_at = n.created_at and a.chain = n.chain and a.seq = n.seq offset 0) a'
        || ' union all select w.* from audit.waiting_entries(%1$L) w) e %6$s where (%5$s)',
      matching_sql.organization_id, (compiled).term_groups, (compiled).from_time, (compiled).to_time, (compiled).condition, joined
    )
  end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: From and where of a query for all entries e that match, for use in one statement, with more joins if given.

-- function audit.may_hold_secret(text)
CREATE OR REPLACE FUNCTION audit.may_hold_secret(value text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (value ~ 'sk-|k_|pplx-|AIza|AKIA|gh|github|xox|sb|whsec|hf_|eyJ|-----BEGIN'::text)

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether the text has the beginning of anything that audit.masked() replaces: one cheap scan, where that is a dear one.

-- function audit.member_organizations()
CREATE OR REPLACE FUNCTION audit.member_organizations()
 RETURNS SETOF uuid
 LANGUAGE sql
 STABLE SECURITY DEFINER ROWS 10
 SET search_path TO ''
AS $function$
  select m.organization_id from audit.memberships(auth.uid()) m where m.role in ('admin', 'member')
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Organisations in which the caller sees at least the own activity.

-- function audit.memberships(uuid)
CREATE OR REPLACE FUNCTION audit.memberships(user_id uuid)
 RETURNS TABLE(organization_id uuid, role text)
 LANGUAGE sql
 STABLE SECURITY DEFINER ROWS 10
 SET search_path TO ''
AS $function$select null::uuid, null::text where false$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The organisations of a user and the role there (admin, member or viewer); generated by audit.use_membership().

-- function audit.month_condition(timestamp without time zone)
CREATE OR REPLACE FUNCTION audit.month_condition(month timestamp without time zone)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN format('s.created_at >= %L and s.created_at < %L'::text, (month AT TIME ZONE 'utc'::text), ((month + '1 mon'::interval) AT TIME ZONE 'utc'::text))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition that a row s of the search index lies in a month (UTC).

-- function audit.needs_no_index(uuid,audit.compiled_query)
CREATE OR REPLACE FUNCTION audit.needs_no_index(organization_id uuid, compiled audit.compiled_query)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select (compiled).term_groups = '[]' and audit.reach(needs_no_index.organization_id) = 'all'
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether a query names no term, so that the timeline answers it; who reads only the own activity has always one.

-- function audit.network_of(text)
CREATE OR REPLACE FUNCTION audit.network_of(ip_address text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
begin
  return host(network(set_masklen(
    network_of.ip_address::inet,
    case family(network_of.ip_address::inet) when 4 then 24 else 48 end
  )));
exception when others then
  return null; -- not an address: nothing that could be truncated
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The /24 (IPv4) or /48 (IPv6) network of an address; null for what is none.

-- function audit.normalized_ip(text)
CREATE OR REPLACE FUNCTION audit.normalized_ip(value text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
declare
  -- The first hop of x-forwarded-for; "[v6]:port", "v4:port" and IPv6 zones are what proxies really send.
  v_ip text := trim(split_part(normalized_ip.value, ',', 1));
begin
  if v_ip = '' then
    return null;
  end if;
  begin
    return host(v_ip::inet);
  exception when others then
    v_ip := regexp_replace(v_ip, '^\[([^]]*)\](:\d+)?$', '\1');
    v_ip := regexp_replace(v_ip, '^(\d+\.\d+\.\d+\.\d+):\d+$', '\1');
    v_ip := regexp_replace(v_ip, '%.*$', '');
  end;
  return host(v_ip::inet);
exception when others then
  return left(v_ip, 64); -- not an address (a host name, a forged header): kept as it came, as evidence
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The client address of an x-forwarded-for value in its usual spelling; what is no address is kept, cut to 64 characters.

-- function audit.number_value(text)
CREATE OR REPLACE FUNCTION audit.number_value(value text)
 RETURNS numeric
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (value ~ '^[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})$'::text) THEN (value)::numeric ELSE NULL::numeric END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A decimal number as written in a query; null for what is none.

-- function audit.ocsf(public.audit_logs,text,text,text)
CREATE OR REPLACE FUNCTION audit.ocsf(entry public.audit_logs, email text DEFAULT NULL::text, ip_address text DEFAULT NULL::text, user_agent text DEFAULT NULL::text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (audit.ocsf_line(entry, email, ip_address, user_agent))::jsonb

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: An entry as an OCSF 1.8.0 event: select audit.ocsf(a) from public.audit_logs a. For many, use audit.ocsf_line().

-- function audit.ocsf_ai_operation(text,text,jsonb)
CREATE OR REPLACE FUNCTION audit.ocsf_ai_operation(action text, provider text, details jsonb)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN ((((COALESCE(((((',"ai_model":{"ai_provider":'::text || to_json(provider)) || ',"name":'::text) || to_json(((details -> 'new'::text) ->> 'model'::text))) || '}'::text), ''::text) || ',"message_context":{"service":{"name":'::text) || to_json(provider)) || '}'::text) || CASE action WHEN 'query.executed'::text THEN ',"ai_role_id":1,"ai_role":"User"}'::text ELSE (((',"ai_role_id":2,"ai_role":"Assistant"'::text || COALESCE((',"prompt_tokens":'::text || audit.ocsf_count(((details -> 'new'::text) -> 'prompt_tokens'::text))), ''::text)) || COALESCE((',"completion_tokens":'::text || audit.ocsf_count(((details -> 'new'::text) -> 'completion_tokens'::text))), ''::text)) || '}'::text) END)

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Model and tokens of a query: the members of OCSF's profile ai_operation.

-- function audit.ocsf_caption(integer,text,text,text)
CREATE OR REPLACE FUNCTION audit.ocsf_caption(type_uid integer, category_name text, class_name text, activity_name text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (format('"category_uid":%s,"category_name":"%s","class_uid":%s,"class_name":"%s","type_uid":%s,"type_name":"%s: %s","activity_id":%s,"activity_name":'::text, (type_uid / 100000), category_name, (type_uid / 100), class_name, type_uid, class_name, activity_name, (type_uid % 100)) || CASE (type_uid % 100) WHEN 99 THEN ''::text ELSE (('"'::text || activity_name) || '"'::text) END)

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The members of an OCSF event that say what it is, in numbers and in words; where OCSF has no word, up to the word.

-- function audit.ocsf_classification(integer,text)
CREATE OR REPLACE FUNCTION audit.ocsf_classification(type_uid integer, action text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE type_uid WHEN 600301 THEN audit.ocsf_caption(600301, 'Application Activity'::text, 'API Activity'::text, 'Create'::text) WHEN 600399 THEN (((audit.ocsf_caption(600399, 'Application Activity'::text, 'API Activity'::text, 'Other'::text) || '"'::text) || action) || '"'::text) WHEN 600501 THEN audit.ocsf_caption(600501, 'Application Activity'::text, 'Datastore Activity'::text, 'Read'::text) WHEN 600502 THEN audit.ocsf_caption(600502, 'Application Activity'::text, 'Datastore Activity'::text, 'Update'::text) WHEN 600504 THEN audit.ocsf_caption(600504, 'Application Activity'::text, 'Datastore Activity'::text, 'Query'::text) WHEN 600505 THEN audit.ocsf_caption(600505, 'Application Activity'::text, 'Datastore Activity'::text, 'Write'::text) WHEN 600507 THEN audit.ocsf_caption(600507, 'Application Activity'::text, 'Datastore Activity'::text, 'Delete'::text) WHEN 600101 THEN audit.ocsf_caption(600101, 'Application Activity'::text, 'Web Resources Activity'::text, 'Create'::text) WHEN 600106 THEN audit.ocsf_caption(600106, 'Application Activity'::text, 'Web Resources Activity'::text, 'Import'::text) WHEN 600107 THEN audit.ocsf_caption(600107, 'Application Activity'::text, 'Web Resources Activity'::text, 'Export'::text) WHEN 600108 THEN audit.ocsf_caption(600108, 'Application Activity'::text, 'Web Resources Activity'::text, 'Share'::text) WHEN 300101 THEN audit.ocsf_caption(300101, 'Identity & Access Management'::text, 'Account Change'::text, 'Create'::text) WHEN 300103 THEN audit.ocsf_caption(300103, 'Identity & Access Management'::text, 'Account Change'::text, 'Password Change'::text) WHEN 300104 THEN audit.ocsf_caption(300104, 'Identity & Access Management'::text, 'Account Change'::text, 'Password Reset'::text) WHEN 300106 THEN audit.ocsf_caption(300106, 'Identity & Access Management'::text, 'Account Change'::text, 'Delete'::text) WHEN 300110 THEN audit.ocsf_caption(300110, 'Identity & Access Management'::text, 'Account Change'::text, 'MFA Factor Enable'::text) WHEN 300111 THEN audit.ocsf_caption(300111, 'Identity & Access Management'::text, 'Account Change'::text, 'MFA Factor Disable'::text) WHEN 300201 THEN audit.ocsf_caption(300201, 'Identity & Access Management'::text, 'Authentication'::text, 'Logon'::text) WHEN 300202 THEN audit.ocsf_caption(300202, 'Identity & Access Management'::text, 'Authentication'::text, 'Logoff'::text) WHEN 300401 THEN audit.ocsf_caption(300401, 'Identity & Access Management'::text, 'Entity Management'::text, 'Create'::text) WHEN 300403 THEN audit.ocsf_caption(300403, 'Identity & Access Management'::text, 'Entity Management'::text, 'Update'::text) WHEN 300404 THEN audit.ocsf_caption(300404, 'Identity & Access Management'::text, 'Entity Management'::text, 'Delete'::text) WHEN 300501 THEN audit.ocsf_caption(300501, 'Identity & Access Management'::text, 'User Access Management'::text, 'Assign Privileges'::text) WHEN 300502 THEN audit.ocsf_caption(300502, 'Identity & Access Management'::text, 'User Access Management'::text, 'Revoke Privileges'::text) WHEN 300603 THEN audit.ocsf_caption(300603, 'Identity & Access Management'::text, 'Group Management'::text, 'Add User'::text) WHEN 300604 THEN audit.ocsf_caption(300604, 'Identity & Access Management'::text, 'Group Management'::text, 'Remove User'::text) WHEN 200401 THEN audit.ocsf_caption(200401, 'Findings'::text, 'Detection Finding'::text, 'Create'::text) WHEN 200402 THEN audit.ocsf_caption(200402, 'Findings'::text, 'Detection Finding'::text, 'Update'::text) WHEN 200403 THEN audit.ocsf_caption(200403, 'Findings'::text, 'Detection Finding'::text, 'Close'::text) WHEN 100802 THEN audit.ocsf_caption(100802, 'System Activity'::text, 'Event Log Activity'::text, 'Delete'::text) WHEN 100806 THEN audit.ocsf_caption(100806, 'System Activity'::text, 'Event Log Activity'::text, 'Start'::text) WHEN 100809 THEN audit.ocsf_caption(100809, 'System Activity'::text, 'Event Log Activity'::text, 'Enable'::text) WHEN 100810 THEN audit.ocsf_caption(100810, 'System Activity'::text, 'Event Log Activity'::text, 'Disable'::text) WHEN 100899 THEN (((audit.ocsf_caption(100899, 'System Activity'::text, 'Event Log Activity'::text, 'Other'::text) || '"'::text) || action) || '"'::text) ELSE NULL::text END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What OCSF 1.8.0 calls an event: category, class, activity and type, for each that audit.ocsf_type_uid() returns.

-- function audit.ocsf_count(jsonb)
CREATE OR REPLACE FUNCTION audit.ocsf_count(value jsonb)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (jsonb_typeof(value) = 'number'::text) THEN (trunc((value)::numeric))::text ELSE NULL::text END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A JSON number as the integer that OCSF asks for; null where it is none.

-- function audit.ocsf_endpoint(text,text)
CREATE OR REPLACE FUNCTION audit.ocsf_endpoint(ip_address text, actor_type text)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN CASE WHEN ((ip_address IS NULL) AND (actor_type = ANY (ARRAY['database'::text, 'system'::text]))) THEN '{"name":"database-internal"}'::text WHEN (ip_address IS NULL) THEN '{"name":"not-recorded"}'::text WHEN ((ip_address ~ '^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$'::text) OR (ip_address ~ '^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$'::text) OR (ip_address ~ '^(?!(.*:){8})([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?::([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?$'::text)) THEN (('{"ip":"'::text || ip_address) || '"}'::text) ELSE (('{"name":'::text || to_json(ip_address)) || '}'::text) END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: From where it was done, as an OCSF endpoint; it is required.

-- function audit.ocsf_line(public.audit_logs,text,text,text)
CREATE OR REPLACE FUNCTION audit.ocsf_line(entry public.audit_logs, email text, ip_address text, user_agent text)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN ((((((((((('{"time":'::text || (((EXTRACT(epoch FROM (entry).created_at) * (1000000)::numeric))::bigint / 1000)) || ',"timezone_offset":0,"message":"'::text) || (entry).action) || '",'::text) || audit.ocsf_severity((entry).action, (entry).outcome, (entry).details)) || ','::text) || audit.ocsf_status((entry).action, (entry).outcome)) || ','::text) || audit.ocsf_classification(audit.ocsf_type_uid((entry).action, (entry).details), (entry).action)) || audit.ocsf_members(audit.ocsf_type_uid((entry).action, (entry).details), entry, email, ip_address, user_agent)) || ((((((((((((((((((('"chain":'::text || (entry).chain) || ',"seq":'::text) || (entry).seq) || ',"outcome":"'::text) || (entry).outcome) || '","actor_type":"'::text) || (entry).actor_type) || COALESCE((('","resource_type":'::text || to_json((entry).resource_type)) || ',"'::text), '","'::text)) || COALESCE((('resource_id":'::text || to_json((entry).resource_id)) || ',"'::text), ''::text)) || COALESCE((('provider":'::text || to_json((entry).provider)) || ',"'::text), ''::text)) || COALESCE((('cost":"'::text || (entry).cost) || '","'::text), ''::text)) || COALESCE((('identity_hash":"'::text || encode((entry).identity_hash, 'hex'::text)) || '","'::text), ''::text)) || 'prev_hash":"'::text) || encode((entry).prev_hash, 'hex'::text)) || '","hash":"'::text) || encode((entry).hash, 'hex'::text)) || '","details":'::text) || ((entry).details)::text) || '}}'::text))

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: An entry as one line of JSON, an OCSF 1.8.0 event; with e-mail, IP address and user agent where they may be shown:
select audit.ocsf_line(a, null, null, null) from public.audit_logs a.

-- function audit.ocsf_members(integer,public.audit_logs,text,text,text)
CREATE OR REPLACE FUNCTION audit.ocsf_members(type_uid integer, entry public.audit_logs, email text, ip_address text, user_agent text)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN CASE (type_uid / 100) WHEN 6003 THEN ((((((audit.ocsf_origin(entry, email, ip_address, user_agent) || ',"api":{"operation":"'::text) || (entry).action) || '"},"resources":[{'::text) || audit.ocsf_resource(entry)) || '}]'::text) || CASE WHEN (((entry).provider IS NOT NULL) AND ((entry).action = ANY (ARRAY['query.executed'::text, 'query.completed'::text, 'query.failed'::text]))) THEN (audit.ocsf_ai_operation((entry).action, (entry).provider, (entry).details) || audit.ocsf_metadata(entry, 'ai_operation'::text)) ELSE audit.ocsf_metadata(entry, NULL::text) END) WHEN 6005 THEN (((((audit.ocsf_origin(entry, email, ip_address, user_agent) || ',"type_id":3,"type":"Table","table":{"name":'::text) || to_json(CASE WHEN ((entry).action ~~ 'log.%'::text) THEN 'audit_logs'::text ELSE COALESCE((entry).resource_type, split_part((entry).action, '.'::text, 1)) END)) || '}'::text) || CASE (entry).action WHEN 'log.searched'::text THEN COALESCE(((',"query_info":{"name":"search","query_string":'::text || to_json(((entry).details ->> 'query'::text))) || '}'::text), ''::text) ELSE ''::text END) || audit.ocsf_metadata(entry, NULL::text)) WHEN 6001 THEN ((((audit.ocsf_origin(entry, email, ip_address, user_agent) || ',"web_resources":[{'::text) || audit.ocsf_resource(entry)) || '}]'::text) || audit.ocsf_metadata(entry, 'host'::text)) WHEN 3001 THEN (((audit.ocsf_origin(entry, email, ip_address, user_agent) || ',"user":'::text) || audit.ocsf_target(entry, audit.ocsf_target_id((entry).resource_type, (entry).resource_id, (entry).details), email, true)) || audit.ocsf_metadata(entry, NULL::text)) WHEN 3002 THEN ((((((audit.ocsf_origin(entry, email, ip_address, user_agent) || ',"user":'::text) || audit.ocsf_target(entry, audit.ocsf_target_id((entry).resource_type, (entry).resource_id, (entry).details), email, true)) || ',"service":{"name":"Supabase Auth"}'::text) || CASE (entry).action WHEN 'user.mfa_failed'::text THEN ',"is_mfa":true'::text ELSE ''::text END) || CASE (entry).resource_type WHEN 'session'::text THEN COALESCE(((',"session":{"uid":'::text || to_json((entry).resource_id)) || '}'::text), ''::text) ELSE ''::text END) || audit.ocsf_metadata(entry, NULL::text)) WHEN 3004 THEN ((((audit.ocsf_origin(entry, email, ip_address, user_agent) || ',"entity":{'::text) || CASE WHEN ((entry).resource_type = 'organization'::text) THEN (COALESCE(('"uid":'::text || to_json((entry).resource_id)), '"name":"organization"'::text) || ',"type_id":4,"type":"Organization"'::text) ELSE (audit.ocsf_resource(entry) || ',"type_id":99'::text) END) || '}'::text) || audit.ocsf_metadata(entry, NULL::text)) WHEN 3005 THEN ((((((audit.ocsf_origin(entry, email, ip_address, user_agent) || ',"user":'::text) || audit.ocsf_target(entry, audit.ocsf_target_id((entry).resource_type, (entry).resource_id, (entry).details), email, false)) || ',"privileges":['::text) || to_json(COALESCE(((((entry).details -> 'changes'::text) -> 'role'::text) ->> 'new'::text), (((entry).details -> 'new'::text) ->> 'role'::text), (((entry).details -> 'old'::text) ->> 'role'::text), ((entry).details ->> 'role'::text), ((entry).details ->> 'permission'::text), CASE WHEN ((entry).action ~~ 'auditor.%'::text) THEN 'auditor'::text ELSE 'unspecified'::text END))) || ']'::text) || audit.ocsf_metadata(entry, NULL::text)) WHEN 3006 THEN ((((((audit.ocsf_origin(entry, email, ip_address, user_agent) || ',"user":'::text) || audit.ocsf_target(entry, audit.ocsf_target_id((entry).resource_type, (entry).resource_id, (entry).details), email, false)) || ',"group":{"uid":"'::text) || (entry).organization_id) || '","type":"organization"}'::text) || audit.ocsf_metadata(entry, NULL::text)) WHEN 2004 THEN (((((((((',"actor":{"user":'::text || audit.ocsf_user((entry).created_by, (entry).actor_type, email, (entry).details)) || '},"finding_info":{"uid":'::text) || COALESCE(to_json((entry).resource_id), to_json((((((entry).organization_id || '/'::text) || (entry).chain) || '-'::text) || (entry).seq)))) || ',"title":'::text) || to_json(COALESCE(((entry).details ->> 'title'::text), ((entry).details ->> 'rule'::text), (entry).action))) || '}'::text) || audit.ocsf_metadata(entry, 'host'::text)) || COALESCE((('"ip_address":'::text || to_json(ip_address)) || ','::text), ''::text)) || COALESCE((('"user_agent":'::text || to_json(user_agent)) || ','::text), ''::text)) ELSE (((audit.ocsf_origin(entry, email, ip_address, NULL::text) || ',"log_provider":"supabase-audit-logs","log_name":"public.audit_logs","log_type_id":2,"log_type":"Application"'::text) || audit.ocsf_metadata(entry, NULL::text)) || COALESCE((('"user_agent":'::text || to_json(user_agent)) || ','::text), ''::text)) END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The members of an OCSF event that its class asks for, its metadata, and the beginning of what is unmapped.

-- function audit.ocsf_metadata(public.audit_logs,text)
CREATE OR REPLACE FUNCTION audit.ocsf_metadata(entry public.audit_logs, profile text)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (((((((((((((((CASE (entry).outcome WHEN 'denied'::text THEN (((',"action_id":2,"action":"Denied","disposition_id":2,"disposition":"Blocked"'::text || ',"metadata":{"profiles":["security_control"'::text) || COALESCE(((',"'::text || profile) || '"'::text), ''::text)) || '],'::text) ELSE (',"metadata":{'::text || COALESCE((('"profiles":["'::text || profile) || '"],'::text), ''::text)) END || '"version":"1.8.0","product":{"name":"Audit logs for Supabase","vendor_name":"supabase-audit-logs"},"uid":"'::text) || (entry).organization_id) || '/'::text) || (entry).chain) || '-'::text) || (entry).seq) || '","event_code":"'::text) || (entry).action) || '","tenant_uid":"'::text) || (entry).organization_id) || '"'::text) || COALESCE((',"correlation_uid":'::text || to_json((entry).request_id)), ''::text)) || ',"original_time":"'::text) || ((EXTRACT(epoch FROM (entry).created_at) * (1000000)::numeric))::bigint) || '","log_name":"public.audit_logs","log_version":"1"},"unmapped":{'::text)

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The metadata of an OCSF event, which name the entry, and the beginning of what is unmapped; before them the denial.

-- function audit.ocsf_origin(public.audit_logs,text,text,text)
CREATE OR REPLACE FUNCTION audit.ocsf_origin(entry public.audit_logs, email text, ip_address text, user_agent text)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN ((((',"actor":{"user":'::text || audit.ocsf_user((entry).created_by, (entry).actor_type, email, (entry).details)) || '},"src_endpoint":'::text) || audit.ocsf_endpoint(ip_address, (entry).actor_type)) || COALESCE(((',"http_request":{"user_agent":'::text || to_json(user_agent)) || '}'::text), ''::text))

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The members of an OCSF event that say who did it, from where and with which program.

-- function audit.ocsf_resource(public.audit_logs)
CREATE OR REPLACE FUNCTION audit.ocsf_resource(entry public.audit_logs)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN ((COALESCE(('"uid":'::text || to_json((entry).resource_id)), ('"name":'::text || to_json(COALESCE((entry).resource_type, (entry).action)))) || ',"type":'::text) || to_json(COALESCE((entry).resource_type, split_part((entry).action, '.'::text, 1))))

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What it was done to: the members of an OCSF resource.

-- function audit.ocsf_severity(text,text,jsonb)
CREATE OR REPLACE FUNCTION audit.ocsf_severity(action text, outcome text, details jsonb)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (action = 'verification.failed'::text) THEN '"severity_id":5,"severity":"Critical"'::text WHEN (action ~~ 'alert.%'::text) THEN CASE lower((details ->> 'severity'::text)) WHEN 'info'::text THEN '"severity_id":1,"severity":"Informational"'::text WHEN 'low'::text THEN '"severity_id":2,"severity":"Low"'::text WHEN 'high'::text THEN '"severity_id":4,"severity":"High"'::text WHEN 'critical'::text THEN '"severity_id":5,"severity":"Critical"'::text ELSE '"severity_id":3,"severity":"Medium"'::text END WHEN ((action = 'capture.untracked'::text) OR (outcome = 'denied'::text)) THEN '"severity_id":3,"severity":"Medium"'::text WHEN (outcome = 'failure'::text) THEN '"severity_id":2,"severity":"Low"'::text ELSE '"severity_id":1,"severity":"Informational"'::text END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How grave an event is: a broken chain is critical, an alert as grave as its rule says, a denial or the end of a
capture medium, a failure low, all else informational.

-- function audit.ocsf_status(text,text)
CREATE OR REPLACE FUNCTION audit.ocsf_status(action text, outcome text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (action = ANY (ARRAY['alert.opened'::text, 'verification.failed'::text])) THEN (('"status_id":1,"status":"New","is_alert":true,"status_code":"'::text || outcome) || '"'::text) WHEN (action = 'alert.acknowledged'::text) THEN (('"status_id":2,"status":"In Progress","is_alert":false,"status_code":"'::text || outcome) || '"'::text) WHEN (action = 'alert.resolved'::text) THEN (('"status_id":4,"status":"Resolved","is_alert":false,"status_code":"'::text || outcome) || '"'::text) WHEN (outcome = 'success'::text) THEN '"status_id":1,"status":"Success","status_code":"success"'::text ELSE (('"status_id":2,"status":"Failure","status_code":"'::text || outcome) || '"'::text) END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The status of an OCSF event: success or failure, or a finding's.

-- function audit.ocsf_target(public.audit_logs,text,text,boolean)
CREATE OR REPLACE FUNCTION audit.ocsf_target(entry public.audit_logs, target_id text, email text, own_account boolean)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN CASE WHEN ((target_id = ((entry).created_by)::text) OR ((target_id IS NULL) AND own_account)) THEN audit.ocsf_user((entry).created_by, (entry).actor_type, email, (entry).details) ELSE COALESCE((('{"uid":'::text || to_json(target_id)) || '}'::text), '{"name":"unknown"}'::text) END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: To whom it was done, as an OCSF user: who is named, else the actor where such events concern the own account.

-- function audit.ocsf_target_id(text,text,jsonb)
CREATE OR REPLACE FUNCTION audit.ocsf_target_id(resource_type text, resource_id text, details jsonb)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (resource_type = ANY (ARRAY['user'::text, 'member'::text])) THEN resource_id ELSE (details ->> 'user_id'::text) END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The user whom an event names as the one it was done to.

-- function audit.ocsf_type_uid(text,jsonb)
CREATE OR REPLACE FUNCTION audit.ocsf_type_uid(action text, details jsonb)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE action WHEN 'query.executed'::text THEN 600301 WHEN 'query.completed'::text THEN 600301 WHEN 'query.failed'::text THEN 600301 WHEN 'query.response_changed'::text THEN 600502 WHEN 'query.response_deleted'::text THEN 600507 WHEN 'user.login'::text THEN 300201 WHEN 'user.login_failed'::text THEN 300201 WHEN 'user.mfa_failed'::text THEN 300201 WHEN 'user.logout'::text THEN 300202 WHEN 'user.signed_up'::text THEN 300101 WHEN 'user.created'::text THEN 300101 WHEN 'user.password_changed'::text THEN 300103 WHEN 'user.password_reset_requested'::text THEN 300104 WHEN 'user.deleted'::text THEN 300106 WHEN 'user.mfa_enabled'::text THEN 300110 WHEN 'user.mfa_disabled'::text THEN 300111 WHEN 'permission.granted'::text THEN 300501 WHEN 'permission.revoked'::text THEN 300502 WHEN 'member.role_changed'::text THEN 300501 WHEN 'auditor.granted'::text THEN 300501 WHEN 'auditor.revoked'::text THEN 300502 WHEN 'member.added'::text THEN 300603 WHEN 'member.removed'::text THEN 300604 WHEN 'organization.created'::text THEN 300401 WHEN 'organization.updated'::text THEN 300403 WHEN 'organization.deleted'::text THEN 300404 WHEN 'api_key.added'::text THEN 300401 WHEN 'api_key.updated'::text THEN 300403 WHEN 'api_key.deleted'::text THEN 300404 WHEN 'api_token.created'::text THEN 300401 WHEN 'api_token.revoked'::text THEN 300404 WHEN 'budget.created'::text THEN 300401 WHEN 'budget.changed'::text THEN 300403 WHEN 'budget.deleted'::text THEN 300404 WHEN 'integration.configured'::text THEN CASE WHEN (details ? 'new'::text) THEN 300401 ELSE 300403 END WHEN 'integration.removed'::text THEN 300404 WHEN 'retention.changed'::text THEN 300403 WHEN 'hold.placed'::text THEN 300401 WHEN 'hold.released'::text THEN 300404 WHEN 'rule.changed'::text THEN 300403 WHEN 'access.denied'::text THEN 600399 WHEN 'api.accessed'::text THEN 600399 WHEN 'settings.viewed'::text THEN 600501 WHEN 'log.viewed'::text THEN 600501 WHEN 'log.searched'::text THEN 600504 WHEN 'subject.accessed'::text THEN 600501 WHEN 'subject.erased'::text THEN 600507 WHEN 'report.generated'::text THEN 600101 WHEN 'data.exported'::text THEN 600107 WHEN 'log.exported'::text THEN 600107 WHEN 'log.purged'::text THEN 100802 WHEN 'log.opened'::text THEN 100806 WHEN 'log.heartbeat'::text THEN 100899 WHEN 'capture.tracked'::text THEN 100809 WHEN 'capture.untracked'::text THEN 100810 WHEN 'capture.changed'::text THEN 100899 WHEN 'alert.opened'::text THEN 200401 WHEN 'alert.acknowledged'::text THEN 200402 WHEN 'alert.resolved'::text THEN 200403 WHEN 'verification.failed'::text THEN 200401 ELSE CASE split_part(action, '.'::text, '-1'::integer) WHEN 'created'::text THEN 600505 WHEN 'added'::text THEN 600505 WHEN 'updated'::text THEN 600502 WHEN 'changed'::text THEN 600502 WHEN 'deleted'::text THEN 600507 WHEN 'removed'::text THEN 600507 WHEN 'viewed'::text THEN 600501 WHEN 'searched'::text THEN 600504 WHEN 'generated'::text THEN 600101 WHEN 'imported'::text THEN 600106 WHEN 'exported'::text THEN 600107 WHEN 'shared'::text THEN 600108 ELSE 600399 END END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Which OCSF 1.8.0 event an action is: type_uid, which is class_uid * 100 + activity_id.

-- function audit.ocsf_user(uuid,text,text,jsonb)
CREATE OR REPLACE FUNCTION audit.ocsf_user(created_by uuid, actor_type text, email text, details jsonb)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN ((('{'::text || COALESCE((('"uid":"'::text || created_by) || '",'::text), ''::text)) || CASE WHEN (email ~ '^[a-zA-Z0-9!#$%&''*+/=?^_`{|}~.-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9.-]+$'::text) THEN (((('"name":"'::text || email) || '","email_addr":"'::text) || email) || '",'::text) WHEN (email IS NOT NULL) THEN (('"name":'::text || to_json(email)) || ','::text) WHEN (created_by IS NULL) THEN (('"name":'::text || to_json(COALESCE((details ->> 'subject'::text), (details ->> 'database_role'::text), actor_type))) || ','::text) ELSE ''::text END) || CASE actor_type WHEN 'user'::text THEN '"type_id":1,"type":"User"}'::text WHEN 'service'::text THEN '"type_id":4,"type":"Service"}'::text WHEN 'api_key'::text THEN '"type_id":99,"type":"API Key"}'::text ELSE '"type_id":3,"type":"System"}'::text END)

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Who acted, as an OCSF user.

-- function audit.on_ddl_command_end()
CREATE OR REPLACE FUNCTION audit.on_ddl_command_end()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_command record;
  v_tracked regclass;
begin
  for v_command in
    select c.command_tag, c.objid
    from pg_catalog.pg_event_trigger_ddl_commands() c
    where c.classid = 'pg_catalog.pg_class'::regclass and c.object_type in ('table', 'table column')
      and c.schema_name is distinct from 'audit' and c.schema_name is distinct from 'pg_temp'
  loop
    begin
      if v_command.command_tag in ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO') then
        perform audit.track_known_tables();
      end if;
      -- A column that went or came, or a partition that joined: capture follows the table.
      select t.table_name into v_tracked
      from audit.tracked_tables t
      where v_command.objid in (select m.member::oid from audit.with_children(t.table_name) m (member))
      limit 1;
      if found then
        perform audit.track(v_tracked::text);
      end if;
    exception when others then
      -- Never in the way of the application's own DDL; audit.coverage shows what is missing.
      raise warning 'audit: capture could not follow %: %', v_command.command_tag, sqlerrm;
    end;
  end loop;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Event trigger function: tracks known tables when they are created, and keeps capture in step with ALTER TABLE.

-- function audit.on_sql_drop()
CREATE OR REPLACE FUNCTION audit.on_sql_drop()
 RETURNS event_trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_dropped record;
  v_table regclass;
begin
  for v_dropped in
    select d.objid, d.object_type, d.object_identity, d.address_names
    from pg_catalog.pg_event_trigger_dropped_objects() d
    where d.object_type = 'table' and exists (select from audit.tracked_tables t where t.table_name = d.objid)
      or d.object_type = 'trigger' and d.object_identity ~ '^(audit_(insert|update|delete|truncate)|refuse_(update_delete|truncate)) on '
        and d.original
  loop
    if v_dropped.object_type = 'table' then
      delete from audit.tracked_tables t where t.table_name = v_dropped.objid;
      perform audit.record(null, 'capture.untracked', 'table', v_dropped.object_identity, '{"dropped": true}');
    else
      perform audit.record(null, 'capture.changed', 'trigger', v_dropped.object_identity, '{"dropped": true}');
      -- A tracked table gets its trigger back; untrack() is the way to stop capture.
      select t.table_name into v_table
      from audit.tracked_tables t
      where to_regclass(format('%I.%I', v_dropped.address_names[1], v_dropped.address_names[2])) in (
        select m.member from audit.with_children(t.table_name) m (member)
      );
      if found then
        perform audit.track(v_table::text);
      end if;
    end if;
  end loop;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Event trigger function: leaves an entry when a tracked table or one of the product's triggers is dropped, and makes
the trigger anew.

-- function audit.open_export(jsonb)
CREATE OR REPLACE FUNCTION audit.open_export(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_export audit.exports;
  v_part int := 1;
  v_compiled audit.compiled_query;
  v_scope text;
  v_after audit.position;
  v_source text;
  v_limit int;
  v_entries bigint;
  v_before bigint;
  v_total bigint;
  v_first audit.position;
  v_last audit.position;
  v_next text;
  v_select text;
begin
  perform audit.check_request(request, array['organization_id', 'query', 'filter', 'format', 'limit', 'cursor', 'export', 'gzip']);
  if coalesce(request ->> 'limit', '1000000') !~ '^\d{1,7}$' or coalesce((request ->> 'limit')::int, 1) not between 1 and 1000000 then
    perform audit.fail('AUARG', 'limit is a whole number from 1 to 1,000,000: so many entries are in a part.');
  end if;
  v_limit := coalesce((request ->> 'limit')::int, 1000000);
  if nullif(request -> 'export', 'null') is null then
    perform audit.check_file(request);
    if request ->> 'cursor' is not null then
      perform audit.fail('AUCUR', 'A cursor goes on with an export.', null, 'Pass export and cursor as the part before gave them.');
    end if;
    v_export.id := gen_random_uuid();
    v_export.organization_id := audit.requested_organization(request);
    v_export.requested_by := auth.uid();
    v_export.format := request ->> 'format';
    v_export.gzip := coalesce((request ->> 'gzip')::boolean, false);
    v_export.filter := audit.requested_tree(request);
    v_export.until := clock_timestamp();
  else
    v_export := audit.find_export(audit.requested_export(request));
    if audit.reach(v_export.organization_id) is null then
      perform audit.fail('AUDEN', 'You no longer read the log of this organisation.');
    elsif v_export.state in ('cancelled', 'failed') then
      perform audit.fail('AUARG', 'The export was cancelled or given up.', null, 'Begin a new one.');
    end if;
    v_part := audit.part_after(v_export.id, request ->> 'cursor');
  end if;

  perform set_config('audit.query_now', v_export.until::text, true);
  v_scope := 'export ' || v_export.id;
  v_after := audit.read_cursor(v_export.organization_id, v_scope, request ->> 'cursor');
  v_compiled := audit.compile_query(v_export.organization_id, v_export.filter);
  v_source := format('%s and e.created_at <= %L', audit.matching_sql(v_export.organization_id, v_compiled), v_export.until)
    || case when v_after is null then '' else ' and ' || audit.position_condition('e', '>', v_after) end;

  -- A report says of how many entries it shows some; of other formats only one more than the part has is counted.
  execute format(
    'select count(*) from (select %s order by e.created_at limit %s) n',
    v_source, case v_export.format when 'pdf' then 'all' else (v_limit + 1)::text end
  ) into v_entries;
  v_before := audit.entries_before(v_export.id, v_part);
  v_total := case v_export.format when 'pdf' then v_before + v_entries end;
  execute format(
    'select null, e.created_at, e.chain, e.seq %s order by e.created_at, e.chain, e.seq limit 1', v_source
  ) into v_first;
  if v_entries > v_limit then
    v_entries := v_limit;
    execute format(
      'select null, e.created_at, e.chain, e.seq %s order by e.created_at, e.chain, e.seq offset %s limit 1', v_source, v_limit - 1
    ) into v_last;
    v_next := audit.make_cursor(v_export.organization_id, v_scope, v_last);
  else
    execute format(
      'select null, e.created_at, e.chain, e.seq %s order by e.created_at desc, e.chain desc, e.seq desc limit 1', v_source
    ) into v_last;
  end if;

  v_select := format(
    'select %s %s and e.created_at <= %L and %s and %s order by e.created_at, e.chain, e.seq',
    audit.export_columns(v_export.format),
    audit.matching_sql(v_export.organization_id, v_compiled, format(
      -- A commitment that stands twice is the same identity twice.
      'left join (select distinct on (i.identity_hash) i.identity_hash, i.email, i.ip_address, i.user_agent'
        || ' from audit.identities i where i.organization_id = %L) i on i.identity_hash = e.identity_hash',
      v_export.organization_id
    )),
    v_export.until,
    case when v_after is null then 'true' else audit.position_condition('e', '>', v_after) end,
    case when v_last is null then 'false' else audit.position_condition('e', '<=', v_last) end
  );
  perform audit.open_part(
    v_export, v_part, v_entries, (v_first).chain || '-' || (v_first).seq, (v_last).chain || '-' || (v_last).seq, v_next
  );
  perform audit.record_reading(v_export.organization_id, 'log.exported', jsonb_build_object(
    'export', v_export.id, 'part', v_part, 'format', v_export.format, 'query', left(audit.format_node(v_export.filter), 4000),
    'entries', v_entries
  ), 'export', v_export.id::text);
  return jsonb_build_object(
    'id', v_export.id, 'part', v_part, 'entries', v_entries, 'before', v_before, 'total', v_total, 'next', v_next,
    'organization_id', v_export.organization_id,
    'query', audit.format_node(v_export.filter), 'filter', v_export.filter, 'format', v_export.format, 'gzip', v_export.gzip,
    'first', (v_first).chain || '-' || (v_first).seq, 'last', (v_last).chain || '-' || (v_last).seq,
    'rows', case when v_export.format = 'pdf' then v_select end,
    'copy', case v_export.format
      when 'pdf' then null
      when 'csv' then format('copy (%s) to stdout with (format csv, header)', v_select)
      -- Lines as they are: plain text would double backslashes.
      else format('copy (%s) to stdout with (format csv, quote E''\x01'', delimiter E''\x02'')', v_select)
    end
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Begins a part of an export: counts it, leaves its log.exported entry, and says which statement writes it.

-- function audit.open_part(audit.exports,integer,bigint,text,text,text)
CREATE OR REPLACE FUNCTION audit.open_part(export audit.exports, part integer, entries bigint, first text, last text, next text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  if (open_part.export).requested_by is distinct from auth.uid() or audit.reach((open_part.export).organization_id) is null then
    perform audit.fail('AUDEN', 'An export belongs to who asked for it.');
  end if;
  insert into audit.exports as x (id, organization_id, requested_by, format, gzip, filter, until, state)
  values (
    (open_part.export).id, (open_part.export).organization_id, (open_part.export).requested_by, (open_part.export).format,
    (open_part.export).gzip, (open_part.export).filter, (open_part.export).until, 'streaming'
  )
  on conflict on constraint exports_pkey do nothing;
  -- What is stored counts, not what the caller says of it.
  if not exists (
    select from audit.exports x
    where x.id = (open_part.export).id and x.requested_by is not distinct from auth.uid()
      and x.organization_id = (open_part.export).organization_id
  ) then
    perform audit.fail('AUDEN', 'An export belongs to who asked for it.');
  end if;
  insert into audit.export_parts as p (export, part, entries, first, last, next)
  values ((open_part.export).id, open_part.part, open_part.entries, open_part.first, open_part.last, open_part.next)
  on conflict on constraint export_parts_pkey do update
    set entries = excluded.entries, first = excluded.first, last = excluded.last, next = excluded.next, bytes = null, sha256 = null
    where not p.complete; -- whoever asks for a part again gets it again, and changes nothing
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Notes a part of an export that is about to be made.

-- function audit.organization_of(text,text)
CREATE OR REPLACE FUNCTION audit.organization_of(resource_type text, resource_id text)
 RETURNS uuid
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  select a.organization_id
  from public.audit_logs a
  where a.resource_id = organization_of.resource_id and a.resource_type = organization_of.resource_type
  order by a.created_at desc
  limit 1
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The organisation under which the log last knew a resource; for rows whose parent was deleted in the same cascade.

-- function audit.parse_any(audit.query_token[],integer,integer)
CREATE OR REPLACE FUNCTION audit.parse_any(tokens audit.query_token[], INOUT n integer, depth integer, OUT node jsonb)
 RETURNS record
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO ''
AS $function$
declare
  v_any jsonb := '[]';
  v_all jsonb := '[]';
  v_inner record;
  v_term jsonb;
  v_negated boolean;
  v_token audit.query_token;
begin
  if depth > 30 then
    perform audit.fail_query('A query is nested at most 30 deep.', jsonb_build_object('position', (tokens[n]).at));
  end if;
  loop
    v_token := tokens[n];
    if v_token.kind is null or v_token.kind in ('or', ')') then
      if jsonb_array_length(v_all) = 0 then
        perform audit.fail_query(
          case
            when v_token.kind is null then 'The query ends where a term should stand.'
            else format('A term is missing before "%s".', v_token.kind)
          end,
          jsonb_build_object('position', coalesce(v_token.at, (tokens[cardinality(tokens)]).at))
        );
      end if;
      v_any := v_any || case jsonb_array_length(v_all) when 1 then v_all else jsonb_build_array(jsonb_build_object('and', v_all)) end;
      exit when v_token.kind is distinct from 'or';
      v_all := '[]';
      n := n + 1;
      continue;
    end if;
    if v_token.kind = 'and' then
      if jsonb_array_length(v_all) = 0 or (tokens[n + 1]).kind is null or (tokens[n + 1]).kind in ('and', 'or', ')') then
        perform audit.fail_query('"and" stands between two terms.', jsonb_build_object('position', v_token.at));
      end if;
      n := n + 1;
      continue;
    end if;

    v_negated := false;
    while (tokens[n]).kind = 'not' loop
      v_negated := not v_negated;
      n := n + 1;
    end loop;
    v_token := tokens[n];
    v_term := v_token.node;
    if v_token.kind = '(' then
      v_inner := audit.parse_any(tokens, n + 1, depth + 1);
      v_term := v_inner.node;
      n := v_inner.n;
      if (tokens[n]).kind is distinct from ')' then
        perform audit.fail_query('A parenthesis is not closed.', jsonb_build_object('position', v_token.at));
      end if;
    elsif v_term is null then
      perform audit.fail_query('"not" stands before a term.', jsonb_build_object('position', (tokens[n - 1]).at));
    end if;
    v_all := v_all || jsonb_build_array(case when v_negated then jsonb_build_object('not', v_term) else v_term end);
    n := n + 1;
  end loop;
  node := case jsonb_array_length(v_any) when 1 then v_any -> 0 else jsonb_build_object('or', v_any) end;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Reads terms joined by "or" and "and", up to the end or to ")".

-- function audit.parse_query(text)
CREATE OR REPLACE FUNCTION audit.parse_query(query text)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_tokens audit.query_token[];
  v_parsed record;
begin
  if length(query) > 4000 then
    perform audit.fail_query('A query has at most 4,000 characters.', '{"position": 4001}');
  end if;
  v_tokens := audit.query_tokens(coalesce(query, ''));
  if cardinality(v_tokens) = 0 then
    return '{"and": []}';
  end if;
  v_parsed := audit.parse_any(v_tokens, 1, 0);
  if v_parsed.n <= cardinality(v_tokens) then
    perform audit.fail_query('A parenthesis is closed that was not opened.', jsonb_build_object('position', (v_tokens[v_parsed.n]).at));
  end if;
  return audit.canonical_query(v_parsed.node, true);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The tree of a query in its string form: select audit.parse_query('action:api_key.* -provider:openai cost:>0.5').
An empty query is {"and": []}, which every entry matches.

-- function audit.part_after(uuid,text)
CREATE OR REPLACE FUNCTION audit.part_after(export uuid, cursor text)
 RETURNS integer
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_part int;
begin
  if part_after.cursor is null then
    return 1;
  end if;
  select p.part + 1 into v_part from audit.export_parts p where p.export = part_after.export and p.next = part_after.cursor;
  if v_part is null then
    perform audit.fail('AUCUR', 'The cursor belongs to another export.', null, 'Pass "next" of the part before, unchanged.');
  end if;
  return v_part;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Which part of an export a cursor begins.

-- function audit.partition_ranges()
CREATE OR REPLACE FUNCTION audit.partition_ranges()
 RETURNS TABLE(partition regclass, from_time timestamp with time zone, to_time timestamp with time zone)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select c.oid::regclass, b[1]::timestamptz, b[2]::timestamptz
  from pg_catalog.pg_inherits i
  join pg_catalog.pg_class c on c.oid = i.inhrelid
  cross join lateral regexp_match(
    pg_catalog.pg_get_expr(c.relpartbound, c.oid), '\(''([^'']+)''\) TO \(''([^'']+)''\)'
  ) b
  where i.inhparent = 'public.audit_logs'::regclass and b is not null
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The log's partitions with the times they hold, the default one left out.

-- function audit.path_order(text,text,text,text)
CREATE OR REPLACE FUNCTION audit.path_order(sign text, value text, other_sign text DEFAULT NULL::text, other text DEFAULT NULL::text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ((audit.number_value(value) IS NOT NULL) AND ((other IS NULL) OR (audit.number_value(other) IS NOT NULL))) THEN concat('@ ', sign, ' ', audit.number_value(value), (((' && @ '::text || other_sign) || ' '::text) || audit.number_value(other))) ELSE concat('@ ', sign, ' ', to_json(value), (((' && @ '::text || other_sign) || ' '::text) || to_json(other))) END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A comparison by order in a jsonpath: numbers with numbers, all else as text, which ISO dates are.

-- function audit.pattern_like(text)
CREATE OR REPLACE FUNCTION audit.pattern_like(pattern text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  select coalesce(string_agg(
    case when p.wild then '%' else regexp_replace(p.literal, '([\\%_])', '\\\1', 'g') end, '' order by p.n
  ), '')
  from audit.pattern_parts(pattern) p
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The LIKE pattern of a pattern with * as wildcard.

-- function audit.pattern_parts(text)
CREATE OR REPLACE FUNCTION audit.pattern_parts(pattern text)
 RETURNS TABLE(n bigint, wild boolean, literal text)
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  select p.n, p.part[1] like '*%', regexp_replace(p.part[1], '\\(.)', '\1', 'g')
  from regexp_matches(pattern, '\*+|(?:[^*\\]|\\.|\\$)+', 'g') with ordinality p (part, n)
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The wildcards of a pattern and what stands between them, in order.

-- function audit.pattern_regex(text)
CREATE OR REPLACE FUNCTION audit.pattern_regex(pattern text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  select '^' || coalesce(string_agg(
    case when p.wild then '.*' else regexp_replace(p.literal, '([^[:alnum:][:space:]])', '\\\1', 'g') end, '' order by p.n
  ), '') || '$'
  from audit.pattern_parts(pattern) p
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The regular expression of a pattern with * as wildcard.

-- function audit.permitted_ip(uuid,text)
CREATE OR REPLACE FUNCTION audit.permitted_ip(organization_id uuid, ip_address text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN false THEN NULL::text ELSE ip_address END

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The address as the organisation's setting ip_addresses lets it be kept: whole, its network, or not at all. Generated.

-- function audit.position_condition(text,text,audit."position")
CREATE OR REPLACE FUNCTION audit.position_condition(alias text, sign text, place audit."position")
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN format('(%1$s.created_at, %1$s.chain, %1$s.seq) %2$s (%3$L::timestamptz, %4$s, %5$s)'::text, alias, sign, (place).created_at, (place).chain, (place).seq)

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition that an entry stands before or after a position in time.

-- function audit.qualified_name(regclass)
CREATE OR REPLACE FUNCTION audit.qualified_name(relation regclass)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select qualified_name.relation::text
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The relation's name with its schema, whatever the reader's search_path.

-- function audit.query_fields()
CREATE OR REPLACE FUNCTION audit.query_fields()
 RETURNS TABLE(field text, kind text)
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  values
    ('action', 'word'), ('outcome', 'word'), ('actor', 'person'), ('actor_type', 'word'), ('email', 'identity'),
    ('ip', 'identity'), ('user_agent', 'identity'), ('resource', 'resource'), ('resource_type', 'word'),
    ('resource_id', 'word'), ('provider', 'word'), ('cost', 'number'), ('request_id', 'word'), ('created', 'time'),
    ('chain', 'integer'), ('seq', 'integer')
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The fields of the query language; beside them paths into details: new.…, old.…, changes.…, details.….

-- function audit.query_instants(text)
CREATE OR REPLACE FUNCTION audit.query_instants(value text)
 RETURNS tstzrange
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_parts text[];
  v_from timestamp;
  v_step interval;
begin
  v_parts := regexp_match(value, '^(\d{1,6})(m|h|d|w|mo|y)$');
  if v_parts is not null then
    -- Ages count back from now: the transaction's time, or that of the export's first part, so that one thing is meant from
    -- end to end.
    v_from := coalesce(nullif(current_setting('audit.query_now', true), '')::timestamptz, now()) at time zone 'utc';
    v_from := v_from - v_parts[1]::int * case v_parts[2]
      when 'm' then interval '1 minute' when 'h' then interval '1 hour' when 'd' then interval '1 day'
      when 'w' then interval '7 days' when 'mo' then interval '1 month' else interval '1 year'
    end;
    return tstzrange(v_from at time zone 'utc', null);
  end if;

  v_parts := regexp_match(value, '^(\d{4})(?:-(\d\d)(?:-(\d\d))?)?$');
  if v_parts is not null then
    v_from := make_date(v_parts[1]::int, coalesce(v_parts[2], '1')::int, coalesce(v_parts[3], '1')::int)::timestamp;
    v_step := case
      when v_parts[3] is not null then interval '1 day'
      when v_parts[2] is not null then interval '1 month'
      else interval '1 year'
    end;
    return tstzrange(v_from at time zone 'utc', (v_from + v_step) at time zone 'utc');
  end if;

  if value ~ '^\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?([Zz]|[+-]\d\d(:?\d\d)?)?$' then
    if value ~ '([Zz]|[+-]\d\d(:?\d\d)?)$' and value ~ '[Tt ].*([Zz]|[+-])' then
      return tstzrange(value::timestamptz, value::timestamptz, '[]');
    end if;
    return tstzrange(value::timestamp at time zone 'utc', value::timestamp at time zone 'utc', '[]');
  end if;
  return null;
exception when data_exception then
  return null; -- no such day, hour or time zone
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What a date means: 2026, 2026-03, 2026-03-14 a whole year, month or day (UTC), a timestamp an instant, 7d everything
since seven days ago (m, h, d, w, mo, y); null for what is no date.

-- function audit.query_leaf(jsonb,jsonb)
CREATE OR REPLACE FUNCTION audit.query_leaf(leaf jsonb, place jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_field text := leaf ->> 'field';
  v_op text := leaf ->> 'op';
  v_value jsonb := leaf -> 'value';
  v_kind text;
  v_each text;
  v_values text[];
begin
  if jsonb_typeof(leaf -> 'field') is distinct from 'string' then
    perform audit.fail_query('A field is named by a string.', place);
  end if;
  select f.kind into v_kind from audit.query_fields() f where f.field = v_field;
  if v_kind is null then
    if length(v_field) > 500 or cardinality(audit.query_path(v_field)) > 20 then
      perform audit.fail_query('A path has at most 20 steps and 500 characters.', place);
    elsif audit.query_path(v_field) is null then
      perform audit.fail_query(
        format('There is no field %s.', left(v_field, 100)), place,
        format('Fields are %s, and paths: new.…, old.…, changes.…, details.…. Text with a colon in it is searched for in quotes.',
          (select string_agg(f.field, ', ') from audit.query_fields() f))
      );
    end if;
    v_kind := 'path';
  end if;

  if v_op is null or v_op not in ('eq', 'like', 'lt', 'lte', 'gt', 'gte', 'between', 'in', 'exists') then
    perform audit.fail_query('There is no such comparison.', place,
      'Comparisons are eq, like, lt, lte, gt, gte, between, in and exists.');
  end if;
  if v_op = 'exists' then
    if v_value is not null then
      perform audit.fail_query('exists takes no value.', place);
    end if;
    return jsonb_build_object('field', v_field, 'op', v_op);
  end if;

  if v_op in ('between', 'in') then
    if jsonb_typeof(v_value) is distinct from 'array' then
      perform audit.fail_query(format('%s takes an array of values.', v_op), place);
    end if;
    if v_op = 'between' and jsonb_array_length(v_value) <> 2 then
      perform audit.fail_query('A range has two ends.', place);
    elsif v_op = 'in' and jsonb_array_length(v_value) not between 1 and 200 then
      perform audit.fail_query('A list has 1 to 200 values.', place);
    end if;
  else
    v_value := jsonb_build_array(v_value);
  end if;
  if exists (select from jsonb_array_elements(v_value) e where jsonb_typeof(e) not in ('string', 'number', 'boolean')) then
    perform audit.fail_query('A value is a string, a number or a boolean.', place);
  end if;
  v_values := array(select e.value from jsonb_array_elements_text(v_value) with ordinality e (value, n) order by e.n);

  if v_op in ('lt', 'lte', 'gt', 'gte', 'between') and v_kind not in ('number', 'time', 'integer', 'path') then
    perform audit.fail_query(format('%s is not compared by order.', v_field), place,
      'Use field:value, field:* or a wildcard. cost, created, chain, seq and paths have an order.');
  elsif v_op = 'like' and v_kind in ('number', 'time', 'integer') then
    perform audit.fail_query(format('%s takes no wildcard.', v_field), place);
  end if;
  foreach v_each in array v_values loop
    if length(v_each) > 2000 then
      perform audit.fail_query('A value has at most 2,000 characters.', place);
    elsif v_each = '' and v_kind <> 'path' then
      perform audit.fail_query(format('A value is missing after %s.', v_field), place);
    elsif v_kind = 'number' and audit.number_value(v_each) is null then
      perform audit.fail_query(format('%s is compared with a number, not with "%s".', v_field, left(v_each, 100)), place);
    elsif v_kind = 'integer' and (v_each !~ '^\d{1,18}$') then
      perform audit.fail_query(format('%s is compared with a whole number, not with "%s".', v_field, left(v_each, 100)), place);
    elsif v_kind = 'time' and audit.query_instants(v_each) is null then
      perform audit.fail_query(
        format('"%s" is no date.', left(v_each, 100)), place,
        'Dates are 2026, 2026-03, 2026-03-14, 2026-03-14T15:09:26Z, or an age: 30m, 24h, 7d, 2w, 3mo, 1y.'
      );
    elsif v_field = 'outcome' and v_op <> 'like' and v_each not in ('success', 'failure', 'denied') then
      perform audit.fail_query(format('"%s" is no outcome.', left(v_each, 100)), place, 'Outcomes are success, failure and denied.');
    elsif v_field = 'actor_type' and v_op <> 'like' and v_each not in ('user', 'api_key', 'service', 'database', 'system') then
      perform audit.fail_query(format('"%s" is no type of actor.', left(v_each, 100)), place,
        'Types are user, api_key, service, database and system.');
    end if;
  end loop;
  if v_op = 'like' then
    v_values[1] := audit.canonical_pattern(v_values[1]);
    if length(v_values[1]) - length(replace(v_values[1], '*', '')) > 20 then
      perform audit.fail_query('A pattern has at most 20 wildcards.', place);
    elsif v_values[1] = '*' then
      return jsonb_build_object('field', v_field, 'op', 'exists');
    elsif regexp_replace(v_values[1], '\\.', '', 'g') not like '%*%' then
      return jsonb_build_object('field', v_field, 'op', 'eq', 'value', regexp_replace(v_values[1], '\\(.)', '\1', 'g'));
    end if;
  end if;
  return jsonb_build_object(
    'field', v_field, 'op', v_op,
    'value', case when v_op in ('between', 'in') then to_jsonb(v_values) else to_jsonb(v_values[1]) end
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A comparison of a query tree, checked, with its values as strings.

-- function audit.query_path(text)
CREATE OR REPLACE FUNCTION audit.query_path(field text)
 RETURNS text[]
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
declare
  v_path text[];
begin
  if field !~ '^(new|old|changes|details)(\.([[:alnum:]_-]+|"([^"\\]|\\.)+"))+$' then
    return null;
  end if;
  select array_agg(
    case when m.part[1] like '"%' then regexp_replace(substr(m.part[1], 2, length(m.part[1]) - 2), '\\(.)', '\1', 'g') else m.part[1] end
    order by m.n
  )
  into v_path
  from regexp_matches(field, '[[:alnum:]_-]+|"(?:[^"\\]|\\.)+"', 'g') with ordinality m (part, n);
  return case when v_path[1] = 'details' then v_path[2:] else v_path end;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The steps into details that a field of the query language names (changes.limit.new); null for what is no path.

-- function audit.query_pattern(text)
CREATE OR REPLACE FUNCTION audit.query_pattern(pattern text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  select string_agg(case when p.wild then '*' else audit.query_quoted(p.literal) end, '' order by p.n)
  from audit.pattern_parts(pattern) p
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A pattern as it stands in a query, with what is literal quoted where it must be.

-- function audit.query_quoted(text)
CREATE OR REPLACE FUNCTION audit.query_quoted(value text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ((value ~ '^[[:alnum:]_@/+.:~-]+$'::text) AND (value !~ '\.\.'::text)) THEN value ELSE (('"'::text || regexp_replace(value, '(["\\])'::text, '\\\1'::text, 'g'::text)) || '"'::text) END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A part of a value as it stands in a query: bare where that says the same, else quoted.

-- function audit.query_tokens(text)
CREATE OR REPLACE FUNCTION audit.query_tokens(query text)
 RETURNS audit.query_token[]
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO ''
AS $function$
declare
  v_tokens audit.query_token[] := '{}';
  v_at int := 1;
  v_rest text;
  v_field text;
  v_word record;
  v_value record;
begin
  loop
    v_at := v_at + length(substring(substr(query, v_at) from '^\s*'));
    v_rest := substr(query, v_at);
    exit when v_rest = '';
    if cardinality(v_tokens) >= 1000 then
      perform audit.fail_query('A query has at most 1,000 terms.', jsonb_build_object('position', v_at));
    end if;
    if left(v_rest, 1) in ('(', ')') then
      v_tokens := v_tokens || row(left(v_rest, 1), null, v_at)::audit.query_token;
      v_at := v_at + 1;
    elsif v_rest ~* '^(or|and|not)(?=[\s()]|$)' then
      v_tokens := v_tokens || row(lower(substring(v_rest from '^\w+')), null, v_at)::audit.query_token;
      v_at := v_at + length(substring(v_rest from '^\w+'));
    elsif v_rest ~ '^-' then
      v_tokens := v_tokens || row('not', null, v_at)::audit.query_token;
      v_at := v_at + 1;
      if substr(query, v_at, 1) ~ '^\s?$' then
        perform audit.fail_query('"-" stands before what is left out.', jsonb_build_object('position', v_at - 1), 'For example -provider:openai.');
      end if;
    else
      v_field := (regexp_match(v_rest, '^([[:alpha:]_](?:[^\s():"]|"(?:[^"\\]|\\.)*")*):'))[1];
      if v_field is not null then
        v_value := audit.read_query_value(query, v_field, v_at, v_at + length(v_field) + 1);
        v_tokens := v_tokens || row('term', v_value.node, v_at)::audit.query_token;
        v_at := v_value.at;
      else
        v_word := audit.read_query_word(query, v_at);
        if v_word.wild and v_word.pattern !~ '^([^*\\]|\\.)+\*$' then
          perform audit.fail_query('In text a wildcard stands only at the end of a word.', jsonb_build_object('position', v_at),
            'For example quart*.');
        end if;
        v_tokens := v_tokens || row('term', jsonb_build_object(
            'text', case when v_word.wild then left(v_word.literal, -1) else v_word.literal end, 'at', v_at
          )
          || case when v_word.wild then '{"prefix": true}' else '{}'::jsonb end, v_at)::audit.query_token;
        v_at := v_word.at;
      end if;
    end if;
  end loop;
  return v_tokens;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The tokens of a query in its string form.

-- function audit.query_word(text)
CREATE OR REPLACE FUNCTION audit.query_word(value text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ((value ~ '^\.|\.$'::text) OR (value ~* '^(or|and|not)$'::text)) THEN (('"'::text || regexp_replace(value, '(["\\])'::text, '\\\1'::text, 'g'::text)) || '"'::text) ELSE audit.query_quoted(value) END

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A value as it stands in a query.

-- function audit.random_salt()
CREATE OR REPLACE FUNCTION audit.random_salt()
 RETURNS bytea
 LANGUAGE sql
RETURN SUBSTRING(sha256((uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))) FROM 1 FOR 16)

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: 16 bytes from the server's strong random source.

-- function audit.reach(uuid)
CREATE OR REPLACE FUNCTION audit.reach(organization_id uuid)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case
    when audit.caller() = 'service_role' or pg_catalog.pg_has_role(audit.caller()::name, 'postgres', 'usage') then 'all'
    when reach.organization_id in (select audit.admin_organizations()) then 'all'
    when reach.organization_id in (select audit.auditor_organizations()) then 'all'
    when reach.organization_id in (select audit.member_organizations()) then 'own'
  end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How much of an organisation's log the caller reads: all, own (activity), or null for nothing.

-- function audit.read_cursor(uuid,text,text)
CREATE OR REPLACE FUNCTION audit.read_cursor(organization_id uuid, scope text, cursor text)
 RETURNS audit."position"
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_text text;
  v_parts text[];
begin
  if cursor is null then
    return null;
  end if;
  begin
    v_text := convert_from(decode(rpad(translate(cursor, '-_', '+/'), (length(cursor) + 3) / 4 * 4, '='), 'base64'), 'UTF8');
  exception when others then
    v_text := null; -- not base64, or not text
  end;
  if length(cursor) <= 1000 and right(v_text, 8) = left(encode(sha256(convert_to(left(v_text, -8), 'UTF8')), 'hex'), 8) then
    v_parts := string_to_array(v_text, '|');
    if v_parts[1] is distinct from organization_id::text or v_parts[2] <> left(encode(sha256(convert_to(scope, 'UTF8')), 'hex'), 16) then
      perform audit.fail('AUCUR', 'The cursor belongs to another search.', null,
        'A cursor goes with the organisation, query, filter and sort of the request that gave it.');
    end if;
    return row(
      case when cardinality(v_parts) = 7 then v_parts[6]::numeric end,
      timestamptz 'epoch' + v_parts[3]::bigint * interval '1 microsecond', v_parts[4]::int, v_parts[5]::bigint
    );
  end if;
  perform audit.fail('AUCUR', 'This is no cursor.', null, 'Pass "next" of the page before, unchanged.');
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The position that a cursor names; raises AUCUR for what is none.

-- function audit.read_query_value(text,text,integer,integer)
CREATE OR REPLACE FUNCTION audit.read_query_value(query text, field text, start integer, INOUT at integer, OUT node jsonb)
 RETURNS record
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO ''
AS $function$
declare
  v_op text;
  v_word record;
  v_end record;
  v_values jsonb := '[]';
  v_first text;
begin
  node := jsonb_build_object('field', field, 'at', start);
  if substr(query, at, 1) = '(' then
    at := at + 1;
    loop
      at := at + length(substring(substr(query, at) from '^\s*'));
      v_word := audit.read_query_word(query, at);
      if v_word.at = at then
        perform audit.fail_query(format('A value is missing in the list after %s.', field), jsonb_build_object('position', at),
          'A list is written field:(a or b).');
      elsif v_word.wild then
        perform audit.fail_query('A list holds no wildcards.', jsonb_build_object('position', at),
          format('Write (%s:a* or %s:b*).', field, field));
      end if;
      v_values := v_values || to_jsonb(v_word.literal);
      at := v_word.at + length(substring(substr(query, v_word.at) from '^\s*'));
      if substr(query, at, 1) = ')' then
        at := at + 1;
        node := node || jsonb_build_object('op', 'in', 'value', v_values);
        return;
      elsif substr(query, at) !~* '^or\s' then
        perform audit.fail_query(format('The list after %s goes on with "or" or ends with ")".', field), jsonb_build_object('position', at));
      end if;
      at := at + 2;
    end loop;
  end if;

  v_op := substring(substr(query, at) from '^(>=|<=|>|<)');
  at := at + coalesce(length(v_op), 0);
  -- Two dots in bare text make a range; in quotes they are text.
  v_first := substring(substr(query, at) from '^((?:[^\s()".]|\.(?!\.)|"(?:[^"\\]|\\.)*")+)\.\.');
  if v_op is null and v_first is not null then
    v_word := audit.read_query_word(v_first, 1);
    v_end := audit.read_query_word(query, at + length(v_first) + 2);
    if v_end.at = at + length(v_first) + 2 then
      perform audit.fail_query('A range has two ends.', jsonb_build_object('position', at),
        format('Write %s:a..b, or %s:>=a for an open end.', field, field));
    end if;
    at := v_end.at;
    node := node || jsonb_build_object('op', 'between', 'value', jsonb_build_array(v_word.literal, v_end.literal));
    return;
  end if;

  v_word := audit.read_query_word(query, at);
  if v_word.at = at then
    perform audit.fail_query(format('A value is missing after %s.', field), jsonb_build_object('position', at),
      format('Write %s:value, %s:"a value", or %s:* for any.', field, field, field));
  end if;
  at := v_word.at;
  if v_op is not null then
    node := node || jsonb_build_object(
      'op', case v_op when '>' then 'gt' when '>=' then 'gte' when '<' then 'lt' else 'lte' end, 'value', v_word.literal
    );
  elsif v_word.wild and v_word.pattern = '*' then
    node := node || '{"op": "exists"}';
  elsif v_word.wild then
    node := node || jsonb_build_object('op', 'like', 'value', v_word.pattern);
  else
    node := node || jsonb_build_object('op', 'eq', 'value', v_word.literal);
  end if;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Reads what stands after "field:", and makes the comparison.

-- function audit.read_query_word(text,integer)
CREATE OR REPLACE FUNCTION audit.read_query_word(query text, INOUT at integer, OUT literal text, OUT pattern text, OUT wild boolean)
 RETURNS record
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO ''
AS $function$
declare
  v_start int := at;
  v_part text;
  v_text text;
begin
  literal := '';
  pattern := '';
  wild := false;
  loop
    v_part := substring(substr(query, at) from '^"(?:[^"\\]|\\.)*"');
    if v_part is not null then
      v_text := regexp_replace(substr(v_part, 2, length(v_part) - 2), '\\(.)', '\1', 'g');
      literal := literal || v_text;
      pattern := pattern || regexp_replace(v_text, '([*\\])', '\\\1', 'g');
    elsif substr(query, at, 1) = '"' then
      perform audit.fail_query('A quotation mark is not closed.', jsonb_build_object('position', at),
        'Write \" for a quotation mark inside quotes.');
    else
      v_part := substring(substr(query, at) from '^[^\s()"]+');
      exit when v_part is null;
      literal := literal || v_part;
      pattern := pattern || replace(v_part, '\', '\\');
      wild := wild or v_part like '%*%';
    end if;
    at := at + length(v_part);
  end loop;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Reads a word of a query, bare or quoted, from a position on.

-- function audit.readable_organization(uuid)
CREATE OR REPLACE FUNCTION audit.readable_organization(organization_id uuid DEFAULT NULL::uuid)
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_organizations uuid[];
begin
  if readable_organization.organization_id is not null then
    if audit.reach(readable_organization.organization_id) is null then
      perform audit.fail('AUDEN', 'You do not read the log of this organisation.', null,
        'Admins and auditors read all of it, members their own activity.');
    end if;
    return readable_organization.organization_id;
  end if;
  v_organizations := array(
    select audit.member_organizations() union select audit.auditor_organizations()
  );
  if cardinality(v_organizations) = 1 then
    return v_organizations[1];
  elsif cardinality(v_organizations) > 1 then
    perform audit.fail('AUARG', 'Name the organisation: you read the logs of several.', null,
      'Pass organization_id, one of: ' || array_to_string(v_organizations, ', ') || '.');
  elsif audit.reach(audit.system_organization()) = 'all' then
    perform audit.fail('AUARG', 'Name the organisation whose log is meant.', null, 'Pass organization_id.');
  end if;
  perform audit.fail('AUDEN', 'You read no organisation''s log.', null,
    'Admins and auditors read all of it, members their own activity, viewers nothing.');
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The organisation named, or the only one whose log the caller reads; raises AUDEN or AUARG where there is none.

-- function audit.rebuild_search_index()
CREATE OR REPLACE FUNCTION audit.rebuild_search_index()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  truncate audit.search_index, audit.search_positions;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Empties the search index; audit.index_entries() fills it again. Searches stay right meanwhile, but slower.

-- function audit.record(uuid,text,text,text,jsonb,text,text,numeric)
CREATE OR REPLACE FUNCTION audit.record(organization_id uuid, action text, resource_type text DEFAULT NULL::text, resource_id text DEFAULT NULL::text, details jsonb DEFAULT '{}'::jsonb, outcome text DEFAULT 'success'::text, provider text DEFAULT NULL::text, cost numeric DEFAULT NULL::numeric, OUT chain integer, OUT seq bigint, OUT hash bytea)
 RETURNS record
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
begin
  if record.action is null or record.action !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' or length(record.action) > 100 then
    perform audit.fail('AUARG', format('%L is no action.', record.action), null,
      'An action is dotted, in lower case and past tense, at most 100 characters: report.generated.');
  end if;
  if record.outcome is null or record.outcome not in ('success', 'failure', 'denied') then
    perform audit.fail('AUARG', format('%L is no outcome.', record.outcome), null, 'It is success, failure or denied.');
  end if;
  if jsonb_typeof(record.details) is distinct from 'object' then
    perform audit.fail('AUARG', 'The details of an entry are a JSON object.', null, 'For example {"report": "monthly"}.');
  end if;
  select a.chain, a.seq, a.hash into record.chain, record.seq, record.hash
  from audit.append(
    record.organization_id, record.action, record.outcome, audit.bounded(record.resource_type, 200), record.resource_id,
    null, record.provider, record.cost, record.details, true
  ) a;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Records what no table shows: select * from audit.record(organization_id, 'report.generated', 'report', '2026-01').
Returns the entry's chain, seq and hash as acknowledgement. organization_id null: the system organisation.

-- function audit.record_reading(uuid,text,jsonb,text,text)
CREATE OR REPLACE FUNCTION audit.record_reading(organization_id uuid, action text, details jsonb, resource_type text DEFAULT 'audit_log'::text, resource_id text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
begin
  if record_reading.action not in ('log.searched', 'log.viewed', 'log.exported')
    or audit.reach(record_reading.organization_id) is null
  then
    perform audit.fail('AUDEN', 'Only reading of a log that you may read is recorded here.');
  end if;
  if current_setting('transaction_read_only') = 'on' then
    perform audit.fail('AUARG', 'Reading the log leaves an entry, and this transaction is read-only.', null,
      'Use a connection that can write, or select from public.audit_logs.');
  end if;
  perform audit.record(
    record_reading.organization_id, record_reading.action, record_reading.resource_type, record_reading.resource_id,
    record_reading.details
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Leaves the entry that says the log was searched, viewed or exported.

-- function audit.refresh_capture()
CREATE OR REPLACE FUNCTION audit.refresh_capture()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_table regclass;
begin
  for v_table in select t.table_name from audit.tracked_tables t order by t.table_name::text loop
    perform audit.track(v_table::text);
  end loop;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Generates every trigger function anew: after an upgrade of the product or a change of settings.

-- function audit.refuse_change()
CREATE OR REPLACE FUNCTION audit.refuse_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  perform audit.fail(
    'AUIMM', 'Entries of the audit log are never changed or deleted.',
    format('%s on %I.%I was refused.', tg_op, tg_table_schema, tg_table_name),
    'To let go of old entries, set a retention period; to erase a person, erase the identities.'
  );
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Trigger function that refuses UPDATE, DELETE and TRUNCATE of the log.

-- function audit.renders_alike(oid,text)
CREATE OR REPLACE FUNCTION audit.renders_alike(type oid, category text)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select category in ('S', 'E', 'B') or type in (
    'int2'::regtype, 'int4'::regtype, 'int8'::regtype, 'numeric'::regtype, 'uuid'::regtype, 'json'::regtype,
    'jsonb'::regtype, 'timestamptz'::regtype, 'timestamp'::regtype, 'date'::regtype, 'bytea'::regtype, 'inet'::regtype,
    'int2[]'::regtype, 'int4[]'::regtype, 'int8[]'::regtype, 'text[]'::regtype, 'varchar[]'::regtype, 'uuid[]'::regtype
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether a type's JSON is the same under every TimeZone, DateStyle, IntervalStyle, extra_float_digits, bytea_output.

-- function audit.request_export(jsonb)
CREATE OR REPLACE FUNCTION audit.request_export(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_id uuid := gen_random_uuid();
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id', 'query', 'filter', 'format', 'gzip']);
  v_organization := audit.requested_organization(request);
  perform audit.check_file(request);
  if auth.uid() is null then
    perform audit.fail('AUDEN', 'An export in the background is made with the rights of a user, and there is none.');
  end if;
  insert into audit.exports (id, organization_id, requested_by, format, gzip, filter, state)
  values (
    v_id, v_organization, auth.uid(), request ->> 'format', coalesce((request ->> 'gzip')::boolean, false),
    audit.requested_tree(request), 'queued'
  );
  return audit.export_status(jsonb_build_object('export', v_id));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Puts an export in the queue; audit-jobs makes it, part by part, into Storage.

-- function audit.requested_export(jsonb)
CREATE OR REPLACE FUNCTION audit.requested_export(request jsonb)
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if audit.as_uuid(request ->> 'export') is null then
    perform audit.fail('AUARG', 'export is the UUID of an export.');
  end if;
  return (request ->> 'export')::uuid;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The id of the export that a request is about.

-- function audit.requested_organization(jsonb)
CREATE OR REPLACE FUNCTION audit.requested_organization(request jsonb)
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if request ->> 'organization_id' is not null and audit.as_uuid(request ->> 'organization_id') is null then
    perform audit.fail('AUARG', 'organization_id is a UUID.');
  end if;
  return audit.readable_organization((request ->> 'organization_id')::uuid);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The organisation of a request, if the caller reads its log.

-- function audit.requested_tree(jsonb)
CREATE OR REPLACE FUNCTION audit.requested_tree(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_query jsonb := audit.parse_query(coalesce(request ->> 'query', ''));
  v_filter jsonb := audit.canonical_query(coalesce(nullif(request -> 'filter', 'null'), '{"and": []}'));
  v_both jsonb := coalesce(v_filter -> 'and', jsonb_build_array(v_filter)) || coalesce(v_query -> 'and', jsonb_build_array(v_query));
begin
  return case jsonb_array_length(v_both) when 1 then v_both -> 0 else jsonb_build_object('and', v_both) end;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The canonical tree of a request's query and filter together.

-- function audit.require_admin(uuid)
CREATE OR REPLACE FUNCTION audit.require_admin(organization_id uuid)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if audit.caller() = 'service_role'
    or pg_catalog.pg_has_role(audit.caller()::name, 'postgres', 'usage')
    or require_admin.organization_id in (select audit.admin_organizations())
  then
    return;
  end if;
  perform audit.fail('AUDEN', 'Only an admin of the organisation may do this.', null,
    'Ask an admin of the organisation, or use the service role.');
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises AUDEN unless the caller administers the organisation.

-- function audit.resolved_column(regclass,text,text)
CREATE OR REPLACE FUNCTION audit.resolved_column(table_name regclass, option text, path text)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_key text := split_part(path, '.', 1);
  v_column text := split_part(path, '.', 2);
  v_target regclass;
  v_target_key text;
begin
  if exists (select from audit.columns_of(resolved_column.table_name) c where c.name = path) then
    return jsonb_build_object('column', path);
  end if;
  if v_column <> '' then
    select f.confrelid::regclass, a.attname
    into v_target, v_target_key
    from pg_catalog.pg_constraint f
    join pg_catalog.pg_attribute k on k.attrelid = f.conrelid and k.attnum = f.conkey[1]
    join pg_catalog.pg_attribute a on a.attrelid = f.confrelid and a.attnum = f.confkey[1]
    where f.conrelid = resolved_column.table_name and f.contype = 'f' and cardinality(f.conkey) = 1 and k.attname = v_key
    limit 1;
    if v_target is not null and exists (select from audit.columns_of(v_target) c where c.name = v_column) then
      return jsonb_build_object(
        'key', v_key,
        'table', v_target::text, 'table_oid', v_target::oid::int8, 'table_key', v_target_key,
        'column', v_column
      );
    end if;
  end if;
  perform audit.fail(
    'AUOPT', format('Option "%s": table %s has no column %s.', option, table_name, path), null,
    'Name a column of the table, or "key.column" where key has a foreign key to the table that holds the column.'
  );
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Where an option's column is: in the table itself, or behind one of its foreign keys.

-- function audit.revoke_auditor(uuid,uuid)
CREATE OR REPLACE FUNCTION audit.revoke_auditor(organization_id uuid, user_id uuid)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
begin
  perform audit.require_admin(revoke_auditor.organization_id);
  delete from audit.auditors a
  where a.organization_id = revoke_auditor.organization_id and a.user_id = revoke_auditor.user_id;
  if not found then
    return false;
  end if;
  perform audit.record(revoke_auditor.organization_id, 'auditor.revoked', 'user', revoke_auditor.user_id::text);
  return true;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Ends an auditor's access at once and leaves an entry; false if there was none. For admins of the organisation.

-- function audit.sample_matching(uuid,audit.compiled_query,integer)
CREATE OR REPLACE FUNCTION audit.sample_matching(organization_id uuid, compiled audit.compiled_query, at_most integer)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_names audit.position[];
  v_source text;
  v_sample jsonb;
  v_first timestamptz;
begin
  if audit.needs_no_index(organization_id, compiled) then
    v_source := audit.matching_sql(organization_id, compiled);
  else
    select array_agg(row(null, c.created_at, c.chain, c.seq)::audit.position) into v_names
    from (
      select c.created_at, c.chain, c.seq
      from audit.search_candidates(organization_id, (compiled).term_groups, (compiled).from_time, (compiled).to_time, true, null, at_most) c
      union all
      select w.created_at, w.chain, w.seq from audit.waiting_entries(organization_id) w
    ) c;
    v_source := format(
      'from audit.entries_by_name(%L, $1) e where (%s)', organization_id, (compiled).condition
    );
  end if;
  execute format(
    $q$
    with sample as materialized (
      select e.action, e.created_by, e.provider, (e.created_at at time zone 'utc')::date as day, e.created_at
      %s order by e.created_at desc, e.chain desc, e.seq desc limit %s
    ),
    counted as (
      select grouping(s.action, s.created_by, s.provider, s.day) as what, s.action, s.created_by, s.provider, s.day, count(*) as n
      from sample s
      group by grouping sets ((s.action), (s.created_by), (s.provider), (s.day), ())
    )
    select jsonb_build_object(
      'of', (select count(*) from sample),
      'newest', (select max(created_at) from sample),
      'oldest', (select min(created_at) from sample),
      'action', (
        select coalesce(jsonb_agg(jsonb_build_object('value', action, 'count', n) order by n desc, action), '[]')
        from counted where what = 7
      ),
      'actor', (
        select coalesce(jsonb_agg(jsonb_build_object('value', c.created_by, 'email', i.email, 'count', c.n) order by c.n desc, c.created_by), '[]')
        from (select * from counted where what = 11 and created_by is not null order by n desc, created_by limit 50) c
        left join lateral (
          select i.email from audit.identities i
          where i.user_id = c.created_by and i.organization_id = %L and i.email is not null
          order by i.created_at desc limit 1
        ) i on true
      ),
      'provider', (
        select coalesce(jsonb_agg(jsonb_build_object('value', provider, 'count', n) order by n desc, provider), '[]')
        from counted where what = 13 and provider is not null
      ),
      'day', (select coalesce(jsonb_agg(jsonb_build_object('value', day, 'count', n) order by day), '[]') from counted where what = 14)
    )
    $q$,
    v_source, at_most, organization_id
  ) into v_sample using v_names;

  if (v_sample ->> 'of')::int < at_most and coalesce(cardinality(v_names), 0) < at_most then
    return v_sample || '{"complete": true}';
  end if;
  -- Older matches are supposed to come as thick as those counted.
  select least(min(s.created_at), (v_sample ->> 'oldest')::timestamptz) into v_first
  from (
    select a.created_at from public.audit_logs a
    where a.organization_id = sample_matching.organization_id order by a.created_at limit 1
  ) s;
  v_first := greatest(v_first, (compiled).from_time);
  return v_sample || jsonb_build_object('complete', false, 'estimate', greatest((v_sample ->> 'of')::bigint, round(
    (v_sample ->> 'of')::numeric * extract(epoch from (v_sample ->> 'newest')::timestamptz - v_first)
      / nullif(extract(epoch from (v_sample ->> 'newest')::timestamptz - (v_sample ->> 'oldest')::timestamptz), 0)
  )::bigint));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Counts of the newest matches by action, actor, provider and day, and how many matches there may be in all.

-- function audit.search(text,uuid,text,integer)
CREATE OR REPLACE FUNCTION audit.search(query text DEFAULT ''::text, organization_id uuid DEFAULT NULL::uuid, sort text DEFAULT '-created_at'::text, at_most integer DEFAULT 100)
 RETURNS SETOF public.audit_events
 LANGUAGE plpgsql
 ROWS 100
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_organization uuid := audit.readable_organization(search.organization_id);
  v_tree jsonb := audit.parse_query(coalesce(search.query, ''));
  v_compiled audit.compiled_query := audit.compile_query(v_organization, v_tree);
  v_found int;
begin
  perform audit.check_sort(search.sort);
  if search.at_most is null or search.at_most not between 1 and 10000 then
    perform audit.fail('AUARG', 'at_most is from 1 to 10,000.', null, 'For more, export.');
  end if;
  return query
    select m.organization_id, m.chain, m.seq, m.created_at, m.action, m.outcome, m.resource_type, m.resource_id,
      m.created_by, m.actor_type, i.email, i.ip_address, i.user_agent, m.provider, m.cost, m.request_id, m.details
    from audit.matching(v_organization, v_compiled, search.sort, null, search.at_most) with ordinality as m (
      organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, created_by, actor_type,
      identity_hash, provider, cost, request_id, details, prev_hash, hash, n
    )
    left join lateral (
      select i.email, i.ip_address, i.user_agent from audit.identities i where i.identity_hash = m.identity_hash limit 1
    ) i on true
    order by m.n;
  get diagnostics v_found = row_count;
  perform audit.record_reading(v_organization, 'log.searched', jsonb_build_object(
    'query', left(audit.format_node(v_tree), 4000), 'sort', search.sort, 'entries', v_found, 'continued', false
  ));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Searches the log: select * from audit.search('action:api_key.* created:7d "production"', organization_id).
Leaves a log.searched entry. sql/README.md has the query language.

-- function audit.search_candidates(uuid,jsonb,timestamp with time zone,timestamp with time zone,boolean,audit."position",integer)
CREATE OR REPLACE FUNCTION audit.search_candidates(organization_id uuid, term_groups jsonb, from_time timestamp with time zone, to_time timestamp with time zone, descending boolean DEFAULT true, after audit."position" DEFAULT NULL::audit."position", at_most integer DEFAULT NULL::integer)
 RETURNS TABLE(created_at timestamp with time zone, chain integer, seq bigint)
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER ROWS 100
 SET search_path TO ''
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_groups jsonb := term_groups;
  v_comparison text := case when descending then '<' else '>' end;
  v_order text := case when descending then 'order by s.created_at desc, s.chain desc, s.seq desc'
    else 'order by s.created_at, s.chain, s.seq' end;
  v_base text;
  v_first timestamptz;
  v_last timestamptz;
  v_months timestamp[];
  v_month timestamp;
  v_done int := 0;
  v_step int := 1;
  v_terms text;
  v_names audit.position[];
  v_count int := 0;
  v_more int;
begin
  case audit.reach(search_candidates.organization_id)
    when 'all' then null;
    when 'own' then v_groups := audit.term_group('actor=', array[auth.uid()::text]) || v_groups;
    else return;
  end case;
  v_base := concat_ws(' and ',
    format('s.organization_id = %L', organization_id),
    case when from_time is not null then format('s.created_at >= %L', from_time) end,
    case when to_time is not null then format('s.created_at < %L', to_time) end,
    case when not (after is null) then audit.position_condition('s', v_comparison, after) end
  );
  execute format(
    'select min(s.created_at), max(s.created_at) from audit.search_index s where %s', v_base
  ) into v_first, v_last;
  if v_first is null then
    return;
  end if;

  -- What is frequent stands near at hand: a stretch of the timeline is walked first. It lies in one month, or the
  -- months after that are asked in any case.
  if at_most is not null then
    v_month := date_trunc('month', case when descending then v_last else v_first end at time zone 'utc');
    execute format(
      'select array_agg(row(null, n.created_at, n.chain, n.seq)::audit.position) from ('
        || 'select s.* from (select s.created_at, s.chain, s.seq, s.terms from audit.search_index s where %s and %s %s limit 1000) s'
        || ' where %s %s limit %s) n',
      v_base, audit.month_condition(v_month), v_order,
      audit.term_condition(organization_id, v_groups, v_month at time zone 'utc'), v_order, at_most
    ) into v_names;
    if cardinality(v_names) = at_most then
      return query select n.created_at, n.chain, n.seq from unnest(v_names) n;
      return;
    end if;
  end if;

  -- Then by the terms: one month, three, twelve, …, so that what is found early ends it early, and what is nowhere takes
  -- few statements.
  v_months := array(
    select m
    from generate_series(
      date_trunc('month', v_first at time zone 'utc'), date_trunc('month', v_last at time zone 'utc'), interval '1 month'
    ) m
    order by case when descending then m end desc, m
  );
  while v_done < cardinality(v_months) loop
    -- The terms alone say organisation and month (500); beside them the planner would read the timeline of all that time.
    select string_agg('(' || audit.term_condition(organization_id, v_groups, m at time zone 'utc') || ')', ' or ')
    into v_terms
    from unnest(v_months[v_done + 1:v_done + v_step]) m;
    return query execute format(
      'with s as materialized (select s.organization_id, s.created_at, s.chain, s.seq from audit.search_index s where %s)'
        || ' select s.created_at, s.chain, s.seq from s where %s %s limit %s',
      v_terms, v_base, v_order, coalesce((at_most - v_count)::text, 'all')
    );
    get diagnostics v_more = row_count;
    v_count := v_count + v_more;
    exit when v_count >= at_most;
    v_done := v_done + v_step;
    v_step := 4 * v_step;
  end loop;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Names of indexed entries that have a term of each group, in order; of an organisation the caller reads, and of the
caller's own activity where that is all the caller reads.

-- function audit.search_page(jsonb)
CREATE OR REPLACE FUNCTION audit.search_page(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_organization uuid;
  v_tree jsonb;
  v_query text;
  v_sort text := coalesce(request ->> 'sort', '-created_at');
  v_limit int := 50;
  v_compiled audit.compiled_query;
  v_entries public.audit_logs[];
  v_last public.audit_logs;
  v_page jsonb;
  v_sample jsonb;
begin
  perform audit.check_request(request, array['organization_id', 'query', 'filter', 'sort', 'limit', 'cursor', 'include']);
  v_organization := audit.requested_organization(request);
  perform audit.check_sort(v_sort);
  if request ? 'limit' then
    if coalesce(request ->> 'limit', '') !~ '^\d{1,4}$' or (request ->> 'limit')::int not between 1 and 200 then
      perform audit.fail('AUARG', 'limit is a whole number from 1 to 200.');
    end if;
    v_limit := (request ->> 'limit')::int;
  end if;
  if jsonb_typeof(coalesce(request -> 'include', '[]')) <> 'array'
    or not coalesce(request -> 'include', '[]') <@ '["total", "facets"]'
  then
    perform audit.fail('AUARG', 'include holds "total" and "facets".');
  end if;
  v_tree := audit.requested_tree(request);
  v_query := audit.format_node(v_tree);
  v_compiled := audit.compile_query(v_organization, v_tree);
  v_entries := array(
    select m from audit.matching(
      v_organization, v_compiled, v_sort, audit.read_cursor(v_organization, v_sort || ' ' || v_tree, request ->> 'cursor'), v_limit + 1
    ) m
  );
  if cardinality(v_entries) > v_limit then
    v_entries := v_entries[:v_limit];
    v_last := v_entries[v_limit];
  end if;
  v_page := jsonb_build_object(
    'organization_id', v_organization, 'query', v_query, 'filter', v_tree, 'sort', v_sort,
    'entries', audit.entries_json(v_entries),
    'next', case when v_last.seq is not null then audit.make_cursor(
      v_organization, v_sort || ' ' || v_tree,
      row(case when v_sort like '%cost' then v_last.cost end, v_last.created_at, v_last.chain, v_last.seq)::audit.position
    ) end
  );
  if request -> 'include' ?| array['total', 'facets'] then
    v_sample := audit.sample_matching(v_organization, v_compiled, 10000);
    if request -> 'include' ? 'total' then
      v_page := v_page || jsonb_build_object('total', jsonb_build_object(
        'value', coalesce(v_sample -> 'estimate', v_sample -> 'of'), 'exact', v_sample -> 'complete'
      ));
    end if;
    if request -> 'include' ? 'facets' then
      v_page := v_page || jsonb_build_object('facets', v_sample - 'estimate' - 'newest' - 'oldest');
    end if;
  end if;

  perform audit.record_reading(v_organization, 'log.searched', jsonb_build_object(
    'query', left(v_query, 4000), 'sort', v_sort, 'entries', cardinality(v_entries), 'continued', request ->> 'cursor' is not null
  ));
  return v_page;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A page of a search as JSON, for the function "audit"; sql/README.md lists the fields. Leaves a log.searched entry.

-- function audit.search_seed(uuid,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.search_seed(organization_id uuid, created_at timestamp with time zone)
 RETURNS bigint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN hashint8extended((((EXTRACT(year FROM (created_at AT TIME ZONE 'utc'::text)) * (12)::numeric) + EXTRACT(month FROM (created_at AT TIME ZONE 'utc'::text))))::bigint, uuid_hash_extended(organization_id, (0)::bigint))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: With what the terms of an organisation's month are salted.

-- function audit.search_tail(uuid)
CREATE OR REPLACE FUNCTION audit.search_tail(organization_id uuid)
 RETURNS TABLE(chain integer, seq bigint)
 LANGUAGE sql
 STABLE SECURITY DEFINER ROWS 10
 SET search_path TO ''
AS $function$
  select h.chain, coalesce(p.seq, 0)
  from audit.heads h
  left join audit.search_positions p on p.organization_id = h.organization_id and p.chain = h.chain
  where h.organization_id = search_tail.organization_id and h.seq > coalesce(p.seq, 0)
    and audit.reach(search_tail.organization_id) is not null
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The chains of an organisation that have entries which the search index does not have yet, and after which seq.

-- function audit.search_term(bigint,text)
CREATE OR REPLACE FUNCTION audit.search_term(seed bigint, term text)
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((hashtextextended(term, seed) >> 32))::integer

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The number under which the search index keeps a term.

-- function audit.search_terms(public.audit_logs)
CREATE OR REPLACE FUNCTION audit.search_terms(entry public.audit_logs)
 RETURNS integer[]
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
declare
  v_seed bigint := audit.search_seed(entry.organization_id, entry.created_at);
  v_words text[] := audit.search_tokens(audit.search_text(entry)) || array_remove(array[
    'action=' || entry.action,
    'action^' || split_part(entry.action, '.', 1),
    'actor=' || entry.created_by,
    'resource_type=' || entry.resource_type,
    'identity=' || encode(entry.identity_hash, 'hex'),
    case when entry.cost > 0 then 'cost=' || audit.cost_bucket(entry.cost) end
  ], null);
begin
  -- Every entry of the log passes here once, so there is no function per word and no set per word.
  return array(
    select audit.search_term(v_seed, w.word) from unnest(v_words) w (word)
    union
    select audit.search_term(v_seed, 'prefix ' || left(w.word, 3)) from unnest(v_words) w (word) where w.word > ':' collate "C"
    union
    select unnest(array[audit.search_term(v_seed, p.part), audit.search_term(v_seed, 'prefix ' || left(p.part, 3))])
    from (
      select unnest(string_to_array(w.word, '-')) as part
      from unnest(v_words) w (word)
      where w.word like '%-%' and w.word not like '________-____-____-____-____________'
    ) p
  );
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Everything an entry is found by: its words, the beginnings of those that begin with a letter, and some fields whole.

-- function audit.search_text(public.audit_logs)
CREATE OR REPLACE FUNCTION audit.search_text(entry public.audit_logs)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN concat_ws(' '::text, (entry).action, (entry).outcome, (entry).resource_type, (entry).resource_id, ((entry).created_by)::text, (entry).actor_type, (entry).provider, ((entry).cost)::text, (entry).request_id, CASE WHEN (strpos(((entry).details)::text, '\'::text) > 0) THEN regexp_replace(((entry).details)::text, '\\(u[0-9a-f]{4}|.)'::text, ' '::text, 'g'::text) ELSE ((entry).details)::text END)

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What free text is looked for in: action, outcome, resource, actor, provider, cost, request and all of the details.

-- function audit.search_tokens(text)
CREATE OR REPLACE FUNCTION audit.search_tokens(content text)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN regexp_split_to_array(lower((content COLLATE "und-x-icu")), '[^[:alnum:]-]+'::text)

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What stands between spaces and punctuation, in lower case; words joined by hyphens are still one.

-- function audit.search_words(text)
CREATE OR REPLACE FUNCTION audit.search_words(content text)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT w.word FROM (unnest(audit.search_tokens(search_words.content)) WITH ORDINALITY t(token, n) CROSS JOIN LATERAL unnest(CASE WHEN (t.token ~~ '________-____-____-____-____________'::text) THEN ARRAY[t.token] ELSE string_to_array(t.token, '-'::text) END) WITH ORDINALITY w(word, n)) WHERE (w.word <> ''::text) ORDER BY t.n, w.n)

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The words of a text in order and in lower case: runs of letters and digits of any script; a UUID is one word.

-- function audit.secret_pattern()
CREATE OR REPLACE FUNCTION audit.secret_pattern()
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((('(sk-[A-Za-z0-9_-]{16,}|pplx-[A-Za-z0-9]{16,}|AIza[A-Za-z0-9_-]{30,}|AKIA[A-Z0-9]{16}|gh[pousr]_[A-Za-z0-9]{20,}'::text || '|github_pat_[A-Za-z0-9_]{20,}|xox[abeprs]-[A-Za-z0-9-]{14,}|sb_secret_[A-Za-z0-9_-]{10,}|sbp_[a-f0-9]{20,}'::text) || '|[rs]k_(live|test)_[A-Za-z0-9]{16,}|whsec_[A-Za-z0-9+/=]{16,}|hf_[A-Za-z0-9]{20,}'::text) || '|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|-----BEGIN [A-Z ]*PRIVATE KEY-----([A-Za-z0-9+/=\s-]|\\[nrt])*)'::text)

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What values look like that must never be stored: provider and platform keys, tokens, private keys.

-- function audit.secure_partition(regclass)
CREATE OR REPLACE FUNCTION audit.secure_partition(partition regclass)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_name text := (select relname from pg_catalog.pg_class where oid = secure_partition.partition);
begin
  -- The entry's name. Uniqueness across partitions follows from the chain's head, which only moves forward.
  execute format('create unique index if not exists %I on %s (organization_id, chain, seq)', v_name || '_name_idx', partition);
  -- Row triggers come from the parent, statement triggers do not; and "truncate one partition" names only that one.
  execute format(
    'create or replace trigger refuse_truncate before truncate on %s for each statement execute function audit.refuse_change()',
    partition
  );
  execute format('alter table %s enable always trigger refuse_truncate', partition);
  execute format('alter table %s enable always trigger refuse_update_delete', partition);
  -- Only through the parent: a partition has no policies of its own, so nobody may name it.
  execute format('alter table %s enable row level security', partition);
  execute format('revoke all on %s from public, anon, authenticated, service_role', partition);
  execute format('revoke insert, update, delete, truncate on %s from current_user', partition);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Gives a partition of the log all it needs: unique entry names, refusal of changes, no direct access.

-- function audit.setting(text,uuid)
CREATE OR REPLACE FUNCTION audit.setting(name text, organization_id uuid DEFAULT audit.system_organization())
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select s.value
  from audit.settings s
  where s.name = setting.name
    and s.organization_id in (setting.organization_id, audit.system_organization())
  order by s.organization_id = audit.system_organization()
  limit 1
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The value in force for an organisation: its own choice, else the project's.

-- function audit.shortest_secret()
CREATE OR REPLACE FUNCTION audit.shortest_secret()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN 18

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Fewest characters that audit.secret_pattern() matches.

-- function audit.singular(text)
CREATE OR REPLACE FUNCTION audit.singular(name text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (name ~ 'ies$'::text) THEN regexp_replace(name, 'ies$'::text, 'y'::text) WHEN (name ~ '(ss|us|is)$'::text) THEN name WHEN (name ~ '(x|ch|sh|ss)es$'::text) THEN regexp_replace(name, 'es$'::text, ''::text) ELSE regexp_replace(name, 's$'::text, ''::text) END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The resource type for a table name: budgets → budget.

-- function audit.system_organization()
CREATE OR REPLACE FUNCTION audit.system_organization()
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '00000000-0000-0000-0000-000000000000'::uuid

owner postgres
grant audit_writer: EXECUTE
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The nil UUID: the organisation of events that belong to no tenant, and of the project's own settings.

-- function audit.term_condition(uuid,jsonb,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.term_condition(organization_id uuid, term_groups jsonb, month timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  select coalesce(string_agg(
    format(case when cardinality(g.terms) = 1 then 's.terms @> %L' else 's.terms && %L' end, g.terms), ' and '
  ), 'true')
  from (
    select array(
      select audit.search_term(audit.search_seed(term_condition.organization_id, term_condition.month), t.term)
      from jsonb_array_elements_text(e.term_group) t (term)
    ) as terms
    from jsonb_array_elements(term_condition.term_groups) e (term_group)
  ) g
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition that a row s of the search index has a term of each group.

-- function audit.term_group(text,text[])
CREATE OR REPLACE FUNCTION audit.term_group(kind text, term_values text[])
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  select jsonb_build_array(jsonb_agg(distinct term_group.kind || t.value)) from unnest(term_group.term_values) t (value)
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A list with one group of index terms: some values of one kind.

-- function audit.timeline(uuid,timestamp with time zone,timestamp with time zone,boolean,audit."position",integer)
CREATE OR REPLACE FUNCTION audit.timeline(organization_id uuid, from_time timestamp with time zone, to_time timestamp with time zone, descending boolean, after audit."position", at_most integer)
 RETURNS SETOF public.audit_logs
 LANGUAGE plpgsql
 STABLE ROWS 100
 SET search_path TO ''
AS $function$
begin
  if descending then
    return query
      select a.* from public.audit_logs a
      where a.organization_id = timeline.organization_id
        and a.created_at >= coalesce(from_time, '-infinity') and a.created_at < coalesce(to_time, 'infinity')
        and (a.created_at, a.chain, a.seq)
          < (coalesce((after).created_at, 'infinity'), coalesce((after).chain, 2147483647), coalesce((after).seq, 9223372036854775807))
      order by a.created_at desc, a.chain desc, a.seq desc
      limit at_most;
  else
    return query
      select a.* from public.audit_logs a
      where a.organization_id = timeline.organization_id
        and a.created_at >= coalesce(from_time, '-infinity') and a.created_at < coalesce(to_time, 'infinity')
        and (a.created_at, a.chain, a.seq) > (coalesce((after).created_at, '-infinity'), coalesce((after).chain, -1), coalesce((after).seq, -1))
      order by a.created_at, a.chain, a.seq
      limit at_most;
  end if;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The next entries of an organisation in time, before or after a position, as far as the caller may see them.

-- function audit.track(text,jsonb)
CREATE OR REPLACE FUNCTION audit.track(table_name text, options jsonb DEFAULT '{}'::jsonb)
 RETURNS regclass
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_table regclass;
  v_class pg_catalog.pg_class;
  v_schema text;
  v_options jsonb := coalesce(track.options, '{}');
  v_plan jsonb;
  v_source text;
  v_function text;
  v_settings text := '';
  v_member regclass;
  v_trigger record;
  v_before audit.tracked_tables;
begin
  begin
    v_table := to_regclass(track.table_name);
  exception when others then
    v_table := null; -- not even the form of a name
  end;
  if v_table is null then
    perform audit.fail('AUTBL', format('There is no table %s.', coalesce(track.table_name, '(null)')), null,
      'Name it with its schema: audit.track(''public.api_keys''). Names with capitals need double quotes inside.');
  end if;
  select * into strict v_class from pg_catalog.pg_class c where c.oid = v_table;
  select n.nspname into strict v_schema from pg_catalog.pg_namespace n where n.oid = v_class.relnamespace;

  if v_schema = 'audit' or v_table in (select audit.with_children('public.audit_logs')) then
    perform audit.fail('AULOG', format('%s belongs to the audit log itself.', v_table), null,
      'The log is protected by its own chain; track the application''s tables.');
  end if;
  if v_class.relispartition then
    perform audit.fail('AUPRT', format('%s is a partition.', v_table), null, format('Track its parent: select audit.track(%L).', (
      select i.inhparent::regclass::text from pg_catalog.pg_inherits i where i.inhrelid = v_table
    )));
  end if;
  if v_class.relkind not in ('r', 'p') or v_class.relpersistence = 't' then
    perform audit.fail('AUKND', format('%s is a %s.', v_table, case
        when v_class.relpersistence = 't' then 'temporary table'
        when v_class.relkind = 'v' then 'view'
        when v_class.relkind = 'm' then 'materialized view'
        when v_class.relkind = 'f' then 'foreign table'
        when v_class.relkind = 'S' then 'sequence'
        when v_class.relkind in ('i', 'I') then 'index'
        else 'composite type'
      end), null, 'Track the ordinary or partitioned tables behind it.');
  end if;
  if jsonb_typeof(v_options) <> 'object' then
    perform audit.fail('AUOPT', 'The options are a JSON object.', null, 'For example {"ignore": ["updated_at"]}.');
  end if;

  select * into v_before from audit.tracked_tables t where t.table_name = v_table;
  -- Tracked again without options: as before. Known tables: as an LLM application means them.
  if v_options = '{}' and v_before.table_name is not null then
    v_options := v_before.options;
  elsif v_schema = 'public' then
    v_options := coalesce((select k.options from audit.known_tables() k where k.table_name = v_class.relname), '{}') || v_options;
  end if;

  v_plan := audit.capture_plan(v_table, v_options);
  v_source := audit.capture_source(v_table, v_plan);
  v_function := audit.capture_function_name(v_table);
  if exists (
    select
    from audit.columns_of(v_table) c
    where v_plan -> 'columns' ->> c.name in ('record', 'content') and not audit.renders_alike(c.type, c.category)
  ) then
    v_settings := 'set timezone = ''UTC'' set datestyle = ''ISO, MDY'' set intervalstyle = ''postgres'''
      || ' set extra_float_digits = 1 set bytea_output = ''hex''';
  end if;

  execute format(
    'create or replace function audit.%I() returns trigger language plpgsql'
      || ' security definer /* whoever writes the table may not write the log */ set search_path = '''' %s as %L',
    v_function, v_settings, v_source
  );
  execute format('revoke all on function audit.%I() from public, anon, authenticated, service_role', v_function);

  for v_member in select * from audit.with_children(v_table) loop
    for v_trigger in select * from audit.expected_triggers() loop
      -- Creating a trigger locks out writers for a moment; one that is already right is left alone.
      continue when exists (
        select
        from pg_catalog.pg_trigger t
        where t.tgrelid = v_member and t.tgname = v_trigger.trigger_name and t.tgenabled = 'A'
          and t.tgfoid = to_regproc(format('audit.%I', v_function))
      );
      execute format(
        'create or replace trigger %I %s on %s %s for each statement execute function audit.%I()',
        v_trigger.trigger_name, v_trigger.timing, v_member, v_trigger.referencing, v_function
      );
      execute format('alter table %s enable always trigger %I', v_member, v_trigger.trigger_name);
    end loop;
  end loop;

  insert into audit.tracked_tables as t (table_name, options, plan, function_name, function_hash, table_owner)
  values (
    v_table, v_options, v_plan, v_function, sha256(convert_to(v_source, 'UTF8')),
    pg_catalog.pg_get_userbyid(v_class.relowner)
  )
  on conflict on constraint tracked_tables_pkey do update set
    options = excluded.options, plan = excluded.plan, function_name = excluded.function_name,
    function_hash = excluded.function_hash, table_owner = excluded.table_owner, tracked_at = clock_timestamp();

  if v_before.table_name is null then
    perform audit.record(null, 'capture.tracked', 'table', v_table::text, jsonb_build_object('plan', v_plan));
  elsif v_before.plan <> v_plan then
    perform audit.record(null, 'capture.changed', 'table', v_table::text,
      jsonb_build_object('changes', jsonb_build_object('plan', jsonb_build_object('old', v_before.plan, 'new', v_plan))));
  end if;
  return v_table;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Captures every INSERT, UPDATE, DELETE and TRUNCATE of a table from now on: select audit.track('public.api_keys').
Options, all found by inspection where absent: resource, id, organization, actor, provider, cost, outcome, actions,
update_of, and the treatment of columns: record, ignore, mask, personal, content. Tracking again repairs and updates.

-- function audit.track_known_tables()
CREATE OR REPLACE FUNCTION audit.track_known_tables()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_table regclass;
  v_tracked int := 0;
begin
  for v_table in
    select c.oid::regclass
    from audit.known_tables() k
    join pg_catalog.pg_class c on c.relname = k.table_name and c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p')
    where not exists (select from audit.tracked_tables t where t.table_name = c.oid)
    order by array_position(array['organizations', 'organization_members', 'llm_queries'], k.table_name) nulls last, k.table_name
  loop
    perform audit.track(v_table::text);
    v_tracked := v_tracked + 1;
  end loop;
  if to_regclass('public.organization_members') is not null
    and (select p.prosrc from pg_catalog.pg_proc p where p.oid = 'audit.memberships(uuid)'::regprocedure) ~ 'where false'
  then
    perform audit.use_membership('public.organization_members');
  end if;
  return v_tracked;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Tracks the tables of an LLM application that exist and are not tracked yet; returns how many.

-- function audit.transaction_chain()
CREATE OR REPLACE FUNCTION audit.transaction_chain()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_chain int := audit.connection_slot();
begin
  while not pg_try_advisory_xact_lock(1096110404, v_chain) loop
    v_chain := v_chain + 100000;
  end loop;
  return v_chain;
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The number of the chain that this transaction writes, where transactions can be prepared.

-- function audit.untrack(text)
CREATE OR REPLACE FUNCTION audit.untrack(table_name text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_table regclass := to_regclass(untrack.table_name);
  v_member regclass;
  v_trigger text;
begin
  delete from audit.tracked_tables t where t.table_name = v_table;
  if not found then
    return false;
  end if;
  for v_member, v_trigger in
    select m.member, t.tgname
    from audit.with_children(v_table) m (member)
    join pg_catalog.pg_trigger t on t.tgrelid = m.member
    where t.tgname in (select e.trigger_name from audit.expected_triggers() e) and t.tgenabled <> 'D'
  loop
    execute format('alter table %s disable trigger %I', v_member, v_trigger);
  end loop;
  perform audit.record(null, 'capture.untracked', 'table', v_table::text);
  return true;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Stops capturing a table and leaves an entry; false if it was not tracked. What is in the log stays.

-- function audit.use_membership(text,text,text,text,text[],text[])
CREATE OR REPLACE FUNCTION audit.use_membership(table_name text, organization_column text DEFAULT 'organization_id'::text, user_column text DEFAULT 'user_id'::text, role_column text DEFAULT 'role'::text, admins text[] DEFAULT ARRAY['admin'::text, 'owner'::text], members text[] DEFAULT ARRAY['member'::text, 'editor'::text, 'developer'::text])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_table regclass := to_regclass(use_membership.table_name);
  v_column text;
begin
  if v_table is null then
    perform audit.fail('AUTBL', format('There is no table %s.', use_membership.table_name), null,
      'Name the table that says which user has which role in which organisation.');
  end if;
  foreach v_column in array array[organization_column, user_column, role_column] loop
    if not exists (
      select from pg_catalog.pg_attribute a
      where a.attrelid = v_table and a.attname = v_column and a.attnum > 0 and not a.attisdropped
    ) then
      perform audit.fail('AUOPT', format('Table %s has no column %I.', v_table, v_column), null,
        'Pass organization_column, user_column and role_column as they are called there.');
    end if;
  end loop;

  execute format(
    $f$
      create or replace function audit.memberships(user_id uuid)
        returns table (organization_id uuid, role text)
        language sql stable rows 10 security definer -- callers need not see the membership table
        set search_path = ''
      as %L
    $f$,
    format(
      $q$
      select m.%1$I::text::uuid,
        case when m.%3$I::text = any (%5$L::text[]) then 'admin' when m.%3$I::text = any (%6$L::text[]) then 'member' else 'viewer' end
      from %4$s m
      where m.%2$I = memberships.user_id
      $q$,
      organization_column, user_column, role_column, v_table, admins, members
    )
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Tells which table holds the roles. Roles that are neither in admins nor in members see nothing (viewers).

-- function audit.utc(timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.utc(value timestamp with time zone)
 RETURNS jsonb
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN to_jsonb(((to_json((value AT TIME ZONE 'utc'::text)) #>> '{}'::text[]) || CASE WHEN isfinite(value) THEN 'Z'::text ELSE ''::text END))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The time as an ISO 8601 string in UTC, whatever the session's time zone.

-- function audit.uuid_expression(regclass,jsonb,text)
CREATE OR REPLACE FUNCTION audit.uuid_expression(table_name regclass, mapping jsonb, alias text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case
    when c.type = 'uuid'::regtype then audit.mapped_expression(mapping, alias)
    else 'audit.as_uuid((' || audit.mapped_expression(mapping, alias) || ')::text)'
  end
  from audit.columns_of(coalesce((mapping ->> 'table_oid')::oid::regclass, uuid_expression.table_name)) c
  where c.name = mapping ->> 'column'
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The SQL that reads a mapped column as a UUID: as it is where it is one, else null for what is none.

-- function audit.verify(uuid,bigint,text)
CREATE OR REPLACE FUNCTION audit.verify(organization uuid DEFAULT NULL::uuid, max_entries bigint DEFAULT NULL::bigint, resume_from text DEFAULT NULL::text)
 RETURNS TABLE(organization_id uuid, chain integer, entries bigint, from_seq bigint, to_seq bigint, status text, broken_seq bigint, finding text, explanation text, resume text)
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO ''
 SET work_mem TO '64MB'
 SET parallel_tuple_cost TO '0'
 SET parallel_setup_cost TO '0'
AS $function$
#variable_conflict use_column
declare
  v_from_organization uuid;
  v_from_chain int;
  v_from_seq bigint;
  v_to_organization uuid;
  v_to_chain int;
  v_to_seq bigint;
begin
  if verify.max_entries < 1 then
    perform audit.fail('AUARG', 'max_entries is a positive number, or null for all.');
  end if;
  if verify.resume_from is not null then
    begin
      v_from_organization := split_part(verify.resume_from, '/', 1)::uuid;
      v_from_chain := split_part(verify.resume_from, '/', 2)::int;
      v_from_seq := split_part(verify.resume_from, '/', 3)::bigint;
    exception when others then
      perform audit.fail('AUARG', format('%L is no position to resume from.', verify.resume_from), null,
        'Pass the value of column resume of an earlier run.');
    end;
  end if;

  -- The bound as a place, not as a limit: under a limit the planner would sort whole entries before it hashes them.
  if verify.max_entries is not null then
    select a.organization_id, a.chain, a.seq into v_to_organization, v_to_chain, v_to_seq
    from public.audit_logs a
    where (verify.organization is null or a.organization_id = verify.organization)
      and (verify.resume_from is null or (a.organization_id, a.chain, a.seq) >= (v_from_organization, v_from_chain, v_from_seq))
    order by a.organization_id, a.chain, a.seq
    offset verify.max_entries - 1
    limit 1;
  end if;

  return query
  with bounded as (
    select a.organization_id, a.chain, a.seq, a.created_at, a.prev_hash, a.hash,
      -- A time that the writer cannot have written (tampering) has no entry text: no match, rather than an error.
      case
        when a.created_at between '0001-01-01 00:00:00+00' and '9999-12-31 23:59:59.999999+00'
          then a.hash = audit.hash_of(audit.entry_text(
            a.organization_id, a.chain, a.seq, a.created_at, a.action, a.outcome, a.resource_type, a.resource_id,
            a.created_by, a.actor_type, a.identity_hash, a.provider, a.cost, a.request_id, a.details, a.prev_hash
          ))
      end is true as is_as_written
    from public.audit_logs a
    where (verify.organization is null or a.organization_id = verify.organization)
      and (verify.resume_from is null or (a.organization_id, a.chain, a.seq) >= (v_from_organization, v_from_chain, v_from_seq))
      and (v_to_seq is null or (a.organization_id, a.chain, a.seq) <= (v_to_organization, v_to_chain, v_to_seq))
    offset 0 -- keeps the hashing down here, where it runs in parallel
  ),
  linked as (
    select b.organization_id, b.chain, b.seq, b.hash, b.prev_hash, b.created_at,
      case
        when not b.is_as_written then 'hash_mismatch'
        when lag(b.seq) over in_chain = b.seq then 'duplicate'
        when b.seq <> coalesce(lag(b.seq) over in_chain + 1, case when verify.resume_from is null then 1 else b.seq end)
          then 'gap'
        when b.prev_hash is distinct from coalesce(
          lag(b.hash) over in_chain,
          case when b.seq = 1 then audit.first_prev_hash(b.organization_id, b.chain) else b.prev_hash end
        ) then 'link_mismatch'
        when b.created_at < lag(b.created_at) over in_chain then 'time_reversed'
      end as finding,
      lead(true) over in_chain is null as is_last
    from bounded b
    window in_chain as (partition by b.organization_id, b.chain order by b.seq)
  ),
  chains as (
    select l.organization_id, l.chain, count(*) as entries, min(l.seq) as from_seq, max(l.seq) as to_seq,
      (array_agg(row(l.hash, l.prev_hash, l.created_at)::text) filter (where l.is_last))[1] as last_entry,
      min(l.seq) filter (where l.finding is not null) as broken_seq,
      (array_agg(l.finding order by l.seq) filter (where l.finding is not null))[1] as finding
    from linked l
    group by l.organization_id, l.chain
  ),
  -- The last chain of a bounded run may go on behind the bound.
  cut as (
    select c.organization_id, c.chain, c.to_seq
    from chains c
    where c.organization_id = v_to_organization and c.chain = v_to_chain
  ),
  judged as (
    select coalesce(c.organization_id, h.organization_id) as organization_id, coalesce(c.chain, h.chain) as chain,
      coalesce(c.entries, 0) as entries, c.from_seq, c.to_seq,
      coalesce(c.broken_seq, case
        when k.chain is not null and h.seq > c.to_seq then null -- cut by the bound: the head is not reached yet
        when h.chain is null then c.to_seq
        when c.chain is null and h.seq > 0 then 1
        when h.seq > c.to_seq then c.to_seq + 1
        when h.seq < c.to_seq then h.seq + 1
        when h.seq > 0 and row(h.hash, h.prev_hash, h.last_at)::text <> c.last_entry then c.to_seq
      end) as broken_seq,
      case
        when c.finding is not null then c.finding
        when k.chain is not null and h.seq > c.to_seq then null
        when h.chain is null then 'head_missing'
        when c.chain is null and h.seq > 0 or h.seq > c.to_seq then 'tail_missing'
        when h.seq < c.to_seq then 'beyond_head'
        when h.seq > 0 and row(h.hash, h.prev_hash, h.last_at)::text <> c.last_entry then 'head_mismatch'
      end as finding,
      k.chain is not null and h.seq > c.to_seq as is_cut
    from chains c
    full join (
      select h.*
      from audit.heads h
      where (verify.organization is null or h.organization_id = verify.organization)
        and (verify.resume_from is null or (h.organization_id, h.chain) >= (v_from_organization, v_from_chain))
        and not exists (select from cut k where (h.organization_id, h.chain) > (k.organization_id, k.chain))
    ) h on h.organization_id = c.organization_id and h.chain = c.chain
    left join cut k on k.organization_id = c.organization_id and k.chain = c.chain
  )
  select j.organization_id, j.chain, j.entries, j.from_seq, j.to_seq,
    case when j.finding is not null then 'broken' when j.is_cut then 'partial' else 'verified' end,
    j.broken_seq, j.finding,
    case j.finding
      when 'hash_mismatch' then 'The entry''s content is not what was hashed when it was written.'
      when 'link_mismatch' then 'The entry does not link to the one before it: one of the two was replaced.'
      when 'gap' then 'One or more entries before this one are missing.'
      when 'duplicate' then 'The same position stands twice.'
      when 'time_reversed' then 'The entry is dated before its predecessor.'
      when 'tail_missing' then 'The chain''s head knows entries from here on, and they are missing.'
      when 'beyond_head' then 'Entries from here on were not written by the writer.'
      when 'head_mismatch' then 'The last entry is not the one that the chain''s head knows.'
      when 'head_missing' then 'The chain has no head: it was not written by the writer, or the head was deleted.'
    end,
    case when (j.organization_id, j.chain) in (select k.organization_id, k.chain from cut k)
      then concat(j.organization_id, '/', j.chain, '/', j.to_seq) end
  from judged j
  where j.entries > 0 or j.finding is not null
  order by j.organization_id, j.chain;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Recomputes and follows every chain: select * from audit.verify(). One row a chain: verified, partial (the bound was
reached) or broken, with the first broken entry and the kind of break. Bounded by max_entries and resumed from the
value of column resume: select * from audit.verify(max_entries => 100000, resume_from => …).

-- function audit.verify_identities(uuid)
CREATE OR REPLACE FUNCTION audit.verify_identities(organization uuid DEFAULT NULL::uuid)
 RETURNS TABLE(organization_id uuid, identity_hash bytea, state text, entries bigint)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  with used as (
    select a.organization_id, a.identity_hash, count(*) as entries
    from public.audit_logs a
    where a.identity_hash is not null
      and (verify_identities.organization is null or a.organization_id = verify_identities.organization)
    group by a.organization_id, a.identity_hash
  )
  select u.organization_id, u.identity_hash,
    case
      when count(i.identity_hash) = 0 then 'missing'
      when bool_and(i.organization_id = u.organization_id and u.identity_hash = sha256(
        '\x02'::bytea || i.salt || convert_to(
          audit.identity_text(i.organization_id, i.user_id, i.email, i.ip_address, i.user_agent), 'UTF8'
        )
      )) then 'verified'
      else 'mismatched'
    end,
    u.entries
  from used u
  left join audit.identities i on i.identity_hash = u.identity_hash
  group by u.organization_id, u.identity_hash, u.entries
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Opens every commitment to an identity: verified, missing (erased, or removed by somebody), mismatched (tampered).

-- function audit.view_entry(jsonb)
CREATE OR REPLACE FUNCTION audit.view_entry(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_organization uuid;
  v_name int[];
  v_chain int;
  v_seq bigint;
  v_entry public.audit_logs;
  v_page jsonb;
begin
  perform audit.check_request(request, array['organization_id', 'name']);
  v_organization := audit.requested_organization(request);
  if coalesce(request ->> 'name', '') !~ '^\d{1,9}-\d{1,18}$' then
    perform audit.fail('AUARG', 'An entry is named by chain and position: 3-17.');
  end if;
  v_chain := split_part(request ->> 'name', '-', 1)::int;
  v_seq := split_part(request ->> 'name', '-', 2)::bigint;
  select * into v_entry from public.audit_logs a where a.organization_id = v_organization and a.chain = v_chain and a.seq = v_seq;
  if not found then
    perform audit.fail('AUNOT', format('There is no entry %s that you may read.', request ->> 'name'));
  end if;
  v_page := jsonb_build_object(
    'entry', audit.entries_json(array[v_entry]) -> 0,
    'entry_text', audit.entry_text(v_entry),
    'previous', (
      select audit.entries_json(array[a]) -> 0 from public.audit_logs a
      where a.organization_id = v_organization and a.chain = v_chain and a.seq = v_seq - 1 and a.created_at <= v_entry.created_at
    ),
    'next', (
      select audit.entries_json(array[a]) -> 0 from public.audit_logs a
      where a.organization_id = v_organization and a.chain = v_chain and a.seq = v_seq + 1 and a.created_at >= v_entry.created_at
    ),
    -- One request lasts minutes at most.
    'request', audit.entries_json(array(
      select a from public.audit_logs a
      where a.organization_id = v_organization and a.request_id = v_entry.request_id
        and a.created_at between v_entry.created_at - interval '10 minutes' and v_entry.created_at + interval '10 minutes'
      order by a.created_at, a.chain, a.seq
      limit 50
    )),
    'proof', '{"state": "pending"}'::jsonb
  );
  perform audit.record_reading(v_organization, 'log.viewed', '{}', 'audit_log', request ->> 'name');
  return v_page;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: One entry with its exact text, its neighbours in the chain and the other entries of its request. Leaves a log.viewed entry.

-- function audit.waiting_entries(uuid)
CREATE OR REPLACE FUNCTION audit.waiting_entries(organization_id uuid)
 RETURNS SETOF public.audit_logs
 LANGUAGE plpgsql
 STABLE ROWS 100
 SET search_path TO ''
AS $function$
begin
  return query
    select e.*
    from audit.search_tail(waiting_entries.organization_id) t
    cross join lateral (
      select a.* from public.audit_logs a
      -- Nothing of the time, or a plan for any values would read the timeline from there.
      where a.organization_id = waiting_entries.organization_id and a.chain = t.chain and a.seq > t.seq
      offset 0
    ) e;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The entries that the search index does not have yet, as the caller may see them.

-- function audit.with_children(regclass)
CREATE OR REPLACE FUNCTION audit.with_children(table_name regclass)
 RETURNS SETOF regclass
 LANGUAGE sql
 STABLE ROWS 2
 SET search_path TO ''
AS $function$
  with recursive family (member) as (
    select with_children.table_name
    union
    select i.inhrelid::regclass
    from family f
    join pg_catalog.pg_inherits i on i.inhparent = f.member
  )
  select f.member
  from family f
  join pg_catalog.pg_class c on c.oid = f.member
  where c.relkind in ('r', 'p')
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A table with its partitions and inheritance children, at any depth.

-- function audit.with_cuts(jsonb,jsonb,text[])
CREATE OR REPLACE FUNCTION audit.with_cuts(value jsonb, cuts jsonb, path text[])
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
begin
  if cuts ? array_to_json(path)::text then
    return cuts -> array_to_json(path)::text;
  elsif jsonb_typeof(value) = 'object' and cardinality(path) < 6 then
    return (select jsonb_object_agg(e.key, audit.with_cuts(e.value, cuts, path || e.key)) from jsonb_each(value) e);
  end if;
  return value;
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The value with each part whose path (a JSON array) is a key of cuts replaced by what stands there.

-- function audit.word_groups(text,boolean)
CREATE OR REPLACE FUNCTION audit.word_groups(content text, prefix boolean DEFAULT false)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  -- Long words are rare words; four of them narrow enough.
  select coalesce(jsonb_agg(jsonb_build_array(w.term) order by w.rank desc), '[]')
  from (
    select length(w.word) as rank,
      case when word_groups.prefix and w.n = w.of then 'prefix ' || left(w.word, 3) else w.word end as term
    from (
      select w.word, w.n, count(*) over () as of from unnest(audit.search_words(word_groups.content)) with ordinality w (word, n)
    ) w
    -- The beginning of a number or an id has no term (500).
    where not (word_groups.prefix and w.n = w.of and w.word < ':' collate "C")
    order by 1 desc
    limit 4
  ) w
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The index terms of the words of a text, a group each; with prefix, of the beginning of its last word.

-- event trigger audit_on_ddl_command_end
on ddl_command_end execute audit.on_ddl_command_end() (enabled O)

-- event trigger audit_on_sql_drop
on sql_drop execute audit.on_sql_drop() (enabled O)
