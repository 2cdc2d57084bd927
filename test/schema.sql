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
   FROM ( VALUES ('AUIMM'::text,409,'log_immutable'::text,'Entries of the log are never changed or deleted.'::text), ('AUTBL'::text,404,'table_not_found'::text,'There is no table of that name.'::text), ('AUKND'::text,422,'table_kind_unsupported'::text,'Only ordinary and partitioned tables can be tracked.'::text), ('AUPRT'::text,422,'table_is_partition'::text,'A partition is captured through its parent.'::text), ('AULOG'::text,422,'table_is_the_log'::text,'The product''s own tables are not tracked.'::text), ('AUNPK'::text,422,'no_primary_key'::text,'A tracked table needs a primary key, or option "id".'::text), ('AUORG'::text,422,'no_organization'::text,'The organisation of a row could not be determined.'::text), ('AUOPT'::text,422,'invalid_option'::text,'An option is unknown, of the wrong type or names no column.'::text), ('AUARG'::text,422,'invalid_argument'::text,'An argument is missing or out of range.'::text), ('AUDEN'::text,403,'access_denied'::text,'The caller may not do this.'::text), ('AUSTL'::text,409,'capture_stale'::text,'The table was altered after it was tracked; track it again.'::text), ('AUROW'::text,409,'rows_unpaired'::text,'An update''s old and new rows could not be paired.'::text)) registry(code, http_status, name, meaning);

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
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises an error with one of the codes of audit.error_codes: the message names the cause, the hint the way out.

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
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The nil UUID: the organisation of events that belong to no tenant, and of the project's own settings.

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

-- event trigger audit_on_ddl_command_end
on ddl_command_end execute audit.on_ddl_command_end() (enabled O)

-- event trigger audit_on_sql_drop
on sql_drop execute audit.on_sql_drop() (enabled O)
