-- schema audit
owner postgres
grant audit_purger: USAGE
grant audit_writer: USAGE
grant authenticated: USAGE
grant postgres: CREATE, USAGE
grant service_role: USAGE
grant supabase_auth_admin: USAGE

-- schema public
owner pg_database_owner
grant PUBLIC: USAGE
grant anon: USAGE
grant audit_purger: USAGE
grant audit_writer: USAGE
grant authenticated: USAGE
grant pg_database_owner: CREATE, USAGE
grant postgres: USAGE
grant service_role: USAGE

-- role audit_purger
login f, inherit f, superuser f, bypass row level security f, create roles f, create databases f, replication f

-- role audit_writer
login f, inherit f, superuser f, bypass row level security f, create roles f, create databases f, replication f

-- type audit."position"
c, owner postgres
cost numeric
created_at timestamp with time zone
chain integer
seq bigint

-- type audit.auth_case
c, owner postgres
n integer
event audit.auth_event
valid boolean
mark uuid
subject uuid
place uuid
bit smallint

-- type audit.auth_event
c, owner postgres
source text
action text
outcome text
happened_at timestamp with time zone
user_id uuid
email text
ip_address text
user_agent text
session_id uuid
request_id text
details jsonb

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

-- type audit.rule_firing
c, owner postgres
rule_id uuid
organization_id uuid
group_key text
first_at timestamp with time zone
last_at timestamp with time zone
occurrences bigint
seen numeric
names text[]
about_alerts boolean
note jsonb

-- type audit.rule_hit
c, owner postgres
rule_id uuid
group_key text
value text
weight numeric
note jsonb

-- type audit.rule_in_force
c, owner postgres
rule_id uuid
organization_id uuid
own boolean
kind text
settings jsonb
quiet_period interval
slot bigint
span bigint
threshold numeric

-- type audit.rule_total
c, owner postgres
rule_id uuid
organization_id uuid
kind text
threshold numeric
span bigint
slot_length bigint
hours jsonb
group_key text
value text
slot bigint
weight numeric
hits bigint
first_at timestamp with time zone
last_at timestamp with time zone
names text[]
about_alerts boolean
note jsonb

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

-- type audit.subject
c, owner postgres
organization_id uuid
user_id uuid
addresses text[]

-- relation audit.active_hours
kind r, owner postgres, persistence p
row level security
column organization_id uuid not null
column hour smallint not null
column since date not null
column days date[] not null
constraint active_hours_pkey PRIMARY KEY (organization_id, hour)
CREATE UNIQUE INDEX active_hours_pkey ON audit.active_hours USING btree (organization_id, hour)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: At which hours of the week people of an organisation work; written by audit.evaluate_rules() only.
comment on column organization_id: The organisation.
comment on column hour: The hour of the week in its time zone, from 0: Monday from midnight to one.
comment on column since: The first day on which somebody did something at this hour.
comment on column days: The last 13 days on which somebody did.

-- relation audit.activity
kind r, owner postgres, persistence p, with fillfactor=70
row level security
column hour timestamp with time zone not null
column organization_id uuid not null
column dimension text not null
column value text not null
column entries bigint not null
column queries bigint not null
column costs bigint not null
column cost numeric not null
column late bigint not null
constraint activity_pkey PRIMARY KEY (hour, organization_id, dimension, value)
CREATE UNIQUE INDEX activity_pkey ON audit.activity USING btree (hour, organization_id, dimension, value)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Entries, queries and costs of each hour (UTC), of organisations as a whole for 60 days and of their parts for 15; written by audit.count_activity().
comment on column hour: When the hour began; an entry belongs to the hour of its created_at, however late it is seen.
comment on column organization_id: Whose activity.
comment on column dimension: Of what: all, actor, provider, model or action.
comment on column value: Which one: a user's id (the type of an actor without one), a provider, a model, an action; empty for all.
comment on column entries: How many entries.
comment on column queries: How many of them are query.executed.
comment on column costs: How many of them have a cost.
comment on column cost: What these cost together.
comment on column late: How many of the entries came when the hour had already been judged.

-- relation audit.activity_baselines
kind r, owner postgres, persistence p
row level security
column organization_id uuid not null
column metric text not null
column since timestamp with time zone not null
column active_at timestamp with time zone not null
constraint activity_baselines_pkey PRIMARY KEY (organization_id, metric)
CREATE UNIQUE INDEX activity_baselines_pkey ON audit.activity_baselines USING btree (organization_id, metric)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Since when hours of an organisation are compared; written by audit.judge_activity() and audit.learn_activity().
comment on column organization_id: The organisation.
comment on column metric: Of what: queries or cost.
comment on column since: The first hour that later ones are compared with.
comment on column active_at: The last hour with any activity; after 14 days without, experience begins anew.

-- relation audit.activity_clock
kind r, owner postgres, persistence p
row level security
column one boolean not null default true
column judged_to timestamp with time zone
constraint activity_clock_has_one_row CHECK (one)
constraint activity_clock_pkey PRIMARY KEY (one)
CREATE UNIQUE INDEX activity_clock_pkey ON audit.activity_clock USING btree (one)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Up to when hours are closed and judged; written by audit.detect_anomalies() only.
comment on column one: There is one row.
comment on column judged_to: Hours that begin before then are judged; null before the first.

-- relation audit.activity_positions
kind r, owner postgres, persistence p, with fillfactor=50
row level security
column organization_id uuid not null
column chain integer not null
column seq bigint not null
column last_at timestamp with time zone not null
constraint activity_positions_pkey PRIMARY KEY (organization_id, chain)
CREATE UNIQUE INDEX activity_positions_pkey ON audit.activity_positions USING btree (organization_id, chain)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: How far activity is counted; written by audit.count_activity() only.
comment on column organization_id: Whose chain.
comment on column chain: The chain.
comment on column seq: The last entry that is counted.
comment on column last_at: Its time; no later entry of the chain is earlier.

-- relation audit.alert_entries
kind v, owner postgres, persistence p, with security_invoker=true
column alert uuid
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
column identity_hash bytea
column provider text
column cost numeric
column request_id text
column details jsonb
column prev_hash bytea
column hash bytea
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: The entries that caused each alert: select * from audit.alert_entries where alert = '…'.
as
 SELECT a.id AS alert,
    e.organization_id,
    e.chain,
    e.seq,
    e.created_at,
    e.action,
    e.outcome,
    e.resource_type,
    e.resource_id,
    e.created_by,
    e.actor_type,
    e.identity_hash,
    e.provider,
    e.cost,
    e.request_id,
    e.details,
    e.prev_hash,
    e.hash
   FROM ((audit.alerts a
     CROSS JOIN LATERAL unnest(a.entries) n(name))
     JOIN public.audit_logs e ON (((e.organization_id = a.organization_id) AND (e.chain = (split_part(n.name, '-'::text, 1))::integer) AND (e.seq = (split_part(n.name, '-'::text, 2))::bigint))));

-- relation audit.alerts
kind r, owner postgres, persistence p
row level security
column id uuid not null default gen_random_uuid()
column organization_id uuid not null
column rule_id uuid not null
column group_key text not null
column severity text not null
column title text not null
column reason jsonb not null
column state text not null default 'open'::text
column opened_at timestamp with time zone not null default clock_timestamp()
column first_seen_at timestamp with time zone not null
column last_seen_at timestamp with time zone not null
column resolved_at timestamp with time zone
column silenced_until timestamp with time zone
column occurrences bigint not null
column entries text[] not null
column channels uuid[]
constraint alert_severity_is_known CHECK ((severity = ANY (ARRAY['info'::text, 'low'::text, 'medium'::text, 'high'::text, 'critical'::text])))
constraint alert_state_is_known CHECK ((state = ANY (ARRAY['open'::text, 'acknowledged'::text, 'silenced'::text, 'resolved'::text])))
constraint alerts_pkey PRIMARY KEY (id)
CREATE INDEX alerts_group_idx ON audit.alerts USING btree (rule_id, organization_id, group_key, first_seen_at)
CREATE INDEX alerts_organization_idx ON audit.alerts USING btree (organization_id, opened_at, id)
CREATE UNIQUE INDEX alerts_open_idx ON audit.alerts USING btree (rule_id, organization_id, group_key) WHERE (state <> 'resolved'::text)
CREATE UNIQUE INDEX alerts_pkey ON audit.alerts USING btree (id)
policy "admins and auditors read their organisation's alerts", command r, permissive, to authenticated, using ((organization_id = ANY (ARRAY( SELECT audit.admin_organizations() AS admin_organizations))) OR (organization_id = ANY (ARRAY( SELECT audit.auditor_organizations() AS auditor_organizations)))), check -
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Open incidents, and those that are over; written by the functions of 620 only.
comment on column id: Names the alert.
comment on column organization_id: Whom it concerns.
comment on column rule_id: The rule that raised it; it may be deleted meanwhile.
comment on column group_key: What it is about, as JSON: {"actor": "…"}. Addresses are commitments of identities, never the addresses themselves.
comment on column severity: How loud: info, low, medium, high or critical.
comment on column title: The name that the rule had.
comment on column reason: What was seen, and what the rule expects.
comment on column state: open, acknowledged (somebody looks into it), silenced (until a time) or resolved.
comment on column opened_at: When it was opened.
comment on column first_seen_at: When it happened first, by the entries' time.
comment on column last_seen_at: When it happened last, by the entries' time.
comment on column resolved_at: When it was over.
comment on column silenced_until: Until when nobody wants to hear of it.
comment on column occurrences: How many entries it is about.
comment on column entries: The first of them by name, 20 at most.
comment on column channels: Where its transitions go, as the rule said when it was opened; null for the organisation's default channels.

-- relation audit.anchor_entries
kind r, owner postgres, persistence p
no row level security
column index bigint not null
column log integer not null
column size bigint not null
column entry text not null
constraint anchor_entries_log_fkey FOREIGN KEY (log) REFERENCES audit.logs(id)
constraint anchor_entries_pkey PRIMARY KEY (index)
constraint anchored_once UNIQUE (log, size)
CREATE UNIQUE INDEX anchor_entries_pkey ON audit.anchor_entries USING btree (index)
CREATE UNIQUE INDEX anchored_once ON audit.anchor_entries USING btree (log, size)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: The entries of the anchor log: what the checkpoints of other logs say.
comment on column index: Place in the anchor log.
comment on column log: The log whose checkpoint it is.
comment on column size: The checkpoint's size.
comment on column entry: The checkpoint's text: origin, size and root, a line each.

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

-- relation audit.auth_coverage
kind v, owner postgres, persistence p
column path text
column captures text
column state text
column way_out text
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Each path by which events of Auth reach the log in this project: what it captures, how it stands, and the way out where it is not whole.
comment on column path: trigger, audit_table, hook or log, as in an entry's details.source; waiting: what is not settled.
comment on column captures: Which events come by it.
comment on column state: How it stands: captured, written or heard from today is whole.
comment on column way_out: What to do where it is not.
as
 SELECT path,
    captures,
    state,
        CASE
            WHEN (state <> ALL (ARRAY['captured'::text, 'written'::text, 'heard from today'::text, 'none'::text])) THEN way_out
            ELSE NULL::text
        END AS way_out
   FROM audit.auth_paths() p(path, captures, state, way_out);

-- relation audit.auth_sightings
kind r, owner postgres, persistence p
no row level security
column mark uuid not null
column subject uuid
column place uuid
column session_id uuid
column happened_at timestamp with time zone not null
column seen smallint
CREATE INDEX auth_sightings_mark_idx ON audit.auth_sightings USING btree (mark)
CREATE INDEX auth_sightings_place_idx ON audit.auth_sightings USING btree (place, seen, happened_at)
CREATE INDEX auth_sightings_subject_idx ON audit.auth_sightings USING btree (subject, seen, happened_at)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Which events were told, for a day: by these a second telling is recognised. Written by audit.settle_auth().
comment on column mark: Digest of what one teller calls the event; told again, it has the same.
comment on column subject: Digest of kind of action and person; null where no person is known.
comment on column place: Digest of kind of action and IP address, by which an event without a person is recognised.
comment on column session_id: The session, where it is known; two of them are never the same event.
comment on column happened_at: When it happened, in the words of its first teller.
comment on column seen: Which tellers have told of it, a bit each; null for all tellings but the first.

-- relation audit.backups
kind r, owner postgres, persistence p
no row level security
column name text not null
column made_at timestamp with time zone not null
column parts integer not null
column bytes bigint not null
column sha256 text not null
column rows jsonb not null
column deleted_at timestamp with time zone
constraint backups_pkey PRIMARY KEY (name)
CREATE UNIQUE INDEX backups_pkey ON audit.backups USING btree (name)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Backups that were made, read back and found whole; written by audit.record_backup() and audit.record_backups_deleted().
comment on column name: Its objects are called so, followed by the number of the part.
comment on column made_at: The moment that it shows.
comment on column parts: How many objects it consists of.
comment on column bytes: How many bytes they have.
comment on column sha256: Over all of them, one after the other; in hex.
comment on column rows: How many rows of what it holds.
comment on column deleted_at: When it was deleted; null while it is there.

-- relation audit.budget_crossings
kind r, owner postgres, persistence p
row level security
column rule_id uuid not null
column organization_id uuid not null
column budget_id text not null
column period_start date not null
column share text not null
column spent_limit numeric not null
constraint budget_crossings_pkey PRIMARY KEY (rule_id, organization_id, budget_id, period_start, share, spent_limit)
CREATE UNIQUE INDEX budget_crossings_pkey ON audit.budget_crossings USING btree (rule_id, organization_id, budget_id, period_start, share, spent_limit)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Which shares of which budgets were reached, so that each is told once; written by audit.evaluate_rules() only.
comment on column rule_id: The rule.
comment on column organization_id: Whose budget.
comment on column budget_id: Its id in the application.
comment on column period_start: The first day of the period.
comment on column share: Percent of the limit, or exceeded.
comment on column spent_limit: The limit: changed, it is another.

-- relation audit.budgets_known
kind r, owner postgres, persistence p
row level security
column organization_id uuid not null
column budget_id text not null
column spent_limit numeric not null
column period text not null
column percent integer[]
column provider text
constraint budgets_known_pkey PRIMARY KEY (organization_id, budget_id)
CREATE UNIQUE INDEX budgets_known_pkey ON audit.budgets_known USING btree (organization_id, budget_id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: The budgets that entries tell of; written by audit.evaluate_rules() only.
comment on column organization_id: Whose budget.
comment on column budget_id: Its id in the application.
comment on column spent_limit: At most so much a period.
comment on column period: day, week or month.
comment on column percent: At which shares of it the application asks to be told; null where it does not say.
comment on column provider: Only costs of this provider; null for all.

-- relation audit.chain_bounds
kind r, owner postgres, persistence p, with fillfactor=70
no row level security
column organization_id uuid not null
column chain integer not null
column seq bigint not null
column hash bytea not null
column created_at timestamp with time zone not null
column stated_chain integer
column stated_seq bigint
column stated_at timestamp with time zone
constraint chain_bounds_pkey PRIMARY KEY (organization_id, chain)
CREATE INDEX chain_bounds_unstated_idx ON audit.chain_bounds USING btree (organization_id, chain) WHERE (stated_seq IS NULL)
CREATE UNIQUE INDEX chain_bounds_pkey ON audit.chain_bounds USING btree (organization_id, chain)
grant audit_purger: INSERT, SELECT, UPDATE
grant postgres: MAINTAIN, REFERENCES, SELECT, TRIGGER
grant service_role: SELECT
comment: The last purged entry of each chain: what is left of it begins after it; written by audit.purge() only.
comment on column organization_id: Whose chain.
comment on column chain: The chain.
comment on column seq: Position of the entry; all before it are gone too.
comment on column hash: Its hash; what the first that is left links to.
comment on column created_at: Its time.
comment on column stated_chain: Chain of the log.purged entry that says so; null while the day's purge is under way.
comment on column stated_seq: Position of that entry.
comment on column stated_at: Time of that entry.

-- relation audit.channels
kind r, owner postgres, persistence p
no row level security
column id uuid not null default gen_random_uuid()
column organization_id uuid not null
column name text not null
column kind text not null
column config jsonb not null
column is_default boolean not null
column personal boolean not null
column secret_id uuid
column old_secret_until timestamp with time zone
column created_at timestamp with time zone not null default clock_timestamp()
column succeeded_at timestamp with time zone
column failures integer not null default 0
column last_error text
column next_try_at timestamp with time zone not null default '-infinity'::timestamp with time zone
column disabled_at timestamp with time zone
column disabled_reason text
constraint channel_kind_is_known CHECK ((kind = ANY (ARRAY['webhook'::text, 'slack'::text, 'email'::text, 'smtp'::text])))
constraint channels_pkey PRIMARY KEY (id)
constraint one_channel_a_name UNIQUE (organization_id, name)
CREATE UNIQUE INDEX channels_pkey ON audit.channels USING btree (id)
CREATE UNIQUE INDEX one_channel_a_name ON audit.channels USING btree (organization_id, name)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Where alerts go; written by the functions of 640, and by audit.settle_delivery() how it went.
comment on column id: Names the channel.
comment on column organization_id: Whose channel; the nil UUID for the project's own, which also hear of organisations that no channel reaches.
comment on column name: What people call it.
comment on column kind: webhook (Standard Webhooks), slack (incoming webhook), email (HTTP API in Resend's form) or smtp.
comment on column config: Its settings, without secrets.
comment on column is_default: Whether alerts go there whose rule names no channels.
comment on column personal: Whether e-mail and IP addresses may be in its messages; else they are taken out.
comment on column secret_id: Its secret in the Vault; null where it needs none. Of a webhook two, new and old, while it is rotated.
comment on column old_secret_until: Until when messages are signed with the old secret too; null while there is none.
comment on column created_at: Since when it exists; the log has every change.
comment on column succeeded_at: When it last took a message, to some seconds.
comment on column failures: How many times in a row it did not.
comment on column last_error: Why it did not, in a word; null where it did.
comment on column next_try_at: Before that it is left alone.
comment on column disabled_at: Since when it gets nothing; null while it does. audit.enable_channel() ends it.
comment on column disabled_reason: Why it gets nothing: http_410, or failing.

-- relation audit.checkpoints
kind r, owner postgres, persistence p
no row level security
column log integer not null
column size bigint not null
column root bytea not null
column frontier bytea not null
column note text
column recorded_at timestamp with time zone not null default clock_timestamp()
column signed_at timestamp with time zone
column published_at timestamp with time zone
constraint checkpoints_log_fkey FOREIGN KEY (log) REFERENCES audit.logs(id)
constraint checkpoints_pkey PRIMARY KEY (log, size)
constraint root_is_sha256 CHECK ((octet_length(root) = 32))
CREATE UNIQUE INDEX checkpoints_pkey ON audit.checkpoints USING btree (log, size)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Every root that was recorded, one a size; signed only after it stands here, so a size never has two.
comment on column log: The log.
comment on column size: How many entries.
comment on column root: The root hash over them (RFC 6962).
comment on column frontier: The roots of the perfect subtrees they consist of, largest first, 32 bytes each.
comment on column note: The signed checkpoint (C2SP signed-note), null until it is signed.
comment on column recorded_at: When the root was recorded.
comment on column signed_at: When it was signed.
comment on column published_at: When readers could get it; null where a later one was published before it.

-- relation audit.client_rates
kind r, owner postgres, persistence p
no row level security
column user_id uuid not null
column minute timestamp with time zone not null
column events integer not null
constraint client_rates_pkey PRIMARY KEY (user_id)
CREATE UNIQUE INDEX client_rates_pkey ON audit.client_rates USING btree (user_id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: How many events each user's client reported in the last minute in which it did.
comment on column user_id: The user.
comment on column minute: When that minute began.
comment on column events: How many events it reported since.

-- relation audit.cosigned_checkpoints
kind r, owner postgres, persistence p
no row level security
column log integer not null
column size bigint not null
column cosigned_at timestamp with time zone not null default clock_timestamp()
constraint cosigned_checkpoints_log_fkey FOREIGN KEY (log) REFERENCES audit.logs(id)
constraint cosigned_checkpoints_pkey PRIMARY KEY (log, size)
CREATE UNIQUE INDEX cosigned_checkpoints_pkey ON audit.cosigned_checkpoints USING btree (log, size)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Checkpoints that as many witnesses cosigned as the policy asks for; written by audit.record_cosignatures().
comment on column log: The log.
comment on column size: The checkpoint's size.
comment on column cosigned_at: When cosignatures were added last; idle logs get new ones every hour.

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
         SELECT to_regclass(('auth.'::text || m.table_name)) AS to_regclass,
            format('trigger %s on auth.%s is %s'::text, m.trigger_name, m.table_name, m.state) AS format,
            'select audit.track_auth()'::text
           FROM audit.missing_auth_triggers() m(table_name, trigger_name, definition, state)
          WHERE (m.state <> 'no such table'::text)
        UNION ALL
         SELECT to_regclass('auth.audit_log_entries'::text) AS to_regclass,
            'events of Auth wait to be settled'::text,
            'select audit.settle_waiting_auth()'::text
          WHERE (EXISTS ( SELECT
                   FROM audit.waiting_auth_events w
                  WHERE (w.received_at < (clock_timestamp() - '00:01:00'::interval))))
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
    ((t.table_name IS NOT NULL) OR c.is_auth) AS tracked,
    (NOT (EXISTS ( SELECT
           FROM finding f_1
          WHERE ((f_1.table_name)::oid = (c.table_name)::oid)))) AS healthy,
    f.finding,
    f.way_out,
    t.tracked_at
   FROM ((( SELECT candidate.table_name,
            false AS is_auth
           FROM candidate
        UNION
         SELECT 'public.audit_logs'::regclass AS regclass,
            false
        UNION
         SELECT to_regclass(('auth.'::text || e.table_name)) AS to_regclass,
            true
           FROM audit.auth_triggers() e(table_name, trigger_name, definition)
          WHERE (to_regclass(('auth.'::text || e.table_name)) IS NOT NULL)) c
     LEFT JOIN audit.tracked_tables t ON (((t.table_name)::oid = (c.table_name)::oid)))
     LEFT JOIN finding f ON (((f.table_name)::oid = (c.table_name)::oid)));

-- relation audit.dead_letters
kind v, owner postgres, persistence p
column id uuid
column organization_id uuid
column channel_id uuid
column channel text
column kind text
column alert_id uuid
column type text
column created_at timestamp with time zone
column died_at timestamp with time zone
column attempts integer
column last_error text
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Messages that were given up. select audit.replay_delivery(jsonb_build_object('delivery', id)) from audit.dead_letters sends them again.
comment on column id: Names the message.
comment on column organization_id: Whose alert.
comment on column channel_id: Where it should have gone.
comment on column channel: The channel's name.
comment on column kind: The channel's kind.
comment on column alert_id: The alert.
comment on column type: What it would have said.
comment on column created_at: When that happened.
comment on column died_at: When it was given up.
comment on column attempts: After how many attempts.
comment on column last_error: Why, in a word.
as
 SELECT d.id,
    d.organization_id,
    d.channel_id,
    c.name AS channel,
    c.kind,
    d.alert_id,
    d.type,
    d.created_at,
    d.settled_at AS died_at,
    d.attempts,
    d.last_error
   FROM (audit.deliveries d
     JOIN audit.channels c ON ((c.id = d.channel_id)))
  WHERE ((d.state = 'dead'::text) AND (d.type <> 'channel.test'::text));

-- relation audit.deliveries
kind r, owner postgres, persistence p
no row level security
column id uuid not null default gen_random_uuid()
column organization_id uuid not null
column channel_id uuid not null
column alert_id uuid
column n integer not null
column type text not null
column message jsonb not null
column created_at timestamp with time zone not null default clock_timestamp()
column state text not null default 'waiting'::text
column attempts integer not null default 0
column next_try_at timestamp with time zone not null default clock_timestamp()
column lease uuid
column lease_until timestamp with time zone not null default '-infinity'::timestamp with time zone
column first_tried_at timestamp with time zone
column settled_at timestamp with time zone
column last_error text
constraint deliveries_channel_fkey FOREIGN KEY (channel_id) REFERENCES audit.channels(id) ON DELETE CASCADE
constraint deliveries_pkey PRIMARY KEY (id)
constraint delivery_state_is_known CHECK ((state = ANY (ARRAY['waiting'::text, 'delivered'::text, 'dead'::text])))
constraint one_place_in_line UNIQUE (alert_id, channel_id, n)
CREATE INDEX deliveries_leased_idx ON audit.deliveries USING btree (channel_id) WHERE ((state = 'waiting'::text) AND (lease_until > '-infinity'::timestamp with time zone))
CREATE INDEX deliveries_organization_idx ON audit.deliveries USING btree (organization_id, created_at)
CREATE INDEX deliveries_settled_idx ON audit.deliveries USING btree (settled_at) WHERE (state <> 'waiting'::text)
CREATE INDEX deliveries_waiting_idx ON audit.deliveries USING btree (channel_id, next_try_at) WHERE (state = 'waiting'::text)
CREATE UNIQUE INDEX deliveries_pkey ON audit.deliveries USING btree (id)
CREATE UNIQUE INDEX one_place_in_line ON audit.deliveries USING btree (alert_id, channel_id, n)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Messages for channels: what waits, what was delivered, what is dead. Written by audit.queue_alert() and audit.settle_delivery().
comment on column id: Names the message, the same at every attempt: webhook-id, Idempotency-Key, Message-ID.
comment on column organization_id: Whose alert.
comment on column channel_id: Where it goes.
comment on column alert_id: The alert; null for a message about something else.
comment on column n: Its place among the messages of one alert to one channel: none overtakes another.
comment on column type: alert.opened, alert.resolved, …, channel.test.
comment on column message: What is said, as it was when it happened.
comment on column created_at: When it happened.
comment on column state: waiting; delivered; dead: given up, which audit.replay_delivery() takes back.
comment on column attempts: How many times it failed.
comment on column next_try_at: Before that it is not tried.
comment on column lease: Which run has it; another may once lease_until is over.
comment on column lease_until: Until when that run has it for itself.
comment on column first_tried_at: When it was tried first: mail is not tried longer than a day, for that long Resend knows its key.
comment on column settled_at: When it was delivered or given up.
comment on column last_error: Why it was not delivered, in a word.

-- relation audit.delivery_health
kind v, owner postgres, persistence p
column organization_id uuid
column channels bigint
column disabled bigint
column failing bigint
column waiting bigint
column dead bigint
column oldest_due timestamp with time zone
column succeeded_at timestamp with time zone
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Whether alerts reach somebody: what waits since when, what was given up, which channels get nothing.
comment on column organization_id: Whose channels.
comment on column channels: How many there are.
comment on column disabled: How many of them get nothing.
comment on column failing: How many failed at the last attempt.
comment on column waiting: How many messages wait.
comment on column dead: How many were given up and not replayed.
comment on column oldest_due: Since when the oldest is due that nobody has delivered yet: minutes mean that the job does not run.
comment on column succeeded_at: When one was last delivered, to some seconds.
as
 SELECT c.organization_id,
    count(*) AS channels,
    count(*) FILTER (WHERE (c.disabled_at IS NOT NULL)) AS disabled,
    count(*) FILTER (WHERE (c.failures > 0)) AS failing,
    (COALESCE(sum(d.waiting), (0)::numeric))::bigint AS waiting,
    (COALESCE(sum(d.dead), (0)::numeric))::bigint AS dead,
    min(d.oldest_due) AS oldest_due,
    max(c.succeeded_at) AS succeeded_at
   FROM (audit.channels c
     CROSS JOIN LATERAL ( SELECT count(*) FILTER (WHERE (d_1.state = 'waiting'::text)) AS waiting,
            count(*) FILTER (WHERE ((d_1.state = 'dead'::text) AND (d_1.type <> 'channel.test'::text))) AS dead,
            min(d_1.next_try_at) FILTER (WHERE ((d_1.state = 'waiting'::text) AND (d_1.next_try_at <= clock_timestamp()))) AS oldest_due
           FROM audit.deliveries d_1
          WHERE ((d_1.channel_id = c.id) AND (d_1.state <> 'delivered'::text))) d)
  GROUP BY c.organization_id;

-- relation audit.denials
kind r, owner postgres, persistence p
no row level security
column user_id uuid not null
column hour timestamp with time zone not null
column denials integer not null
constraint denials_pkey PRIMARY KEY (user_id, hour)
CREATE UNIQUE INDEX denials_pkey ON audit.denials USING btree (user_id, hour)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: How often each person was refused in each hour of the last day; written by audit.record_denial().
comment on column user_id: Who was refused.
comment on column hour: In which hour.
comment on column denials: How often.

-- relation audit.due_deliveries
kind v, owner postgres, persistence p
column id uuid
column channel_id uuid
column next_try_at timestamp with time zone
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: What may be told now: of an alert never what came after something that still waits.
comment on column id: Names the message.
comment on column channel_id: Where it goes.
comment on column next_try_at: Since when it is due.
as
 SELECT id,
    channel_id,
    next_try_at
   FROM audit.deliveries d
  WHERE ((state = 'waiting'::text) AND (next_try_at <= clock_timestamp()) AND (lease_until < clock_timestamp()) AND (( SELECT before.state
           FROM audit.deliveries before
          WHERE ((before.alert_id = d.alert_id) AND (before.channel_id = d.channel_id) AND (before.n = (d.n - 1)))) IS DISTINCT FROM 'waiting'::text));

-- relation audit.erasures
kind r, owner postgres, persistence p
no row level security
column id uuid not null default gen_random_uuid()
column organization_id uuid not null
column subject uuid
column addresses text[] not null
column places text[] not null default '{}'::text[]
column ground text not null
column reason text
column requested_by uuid
column requested_at timestamp with time zone not null default clock_timestamp()
column state text not null default 'values'::text
column until timestamp with time zone not null default clock_timestamp()
column since timestamp with time zone
column deleted_in xid8
column awaited text[]
column counts jsonb not null default '{}'::jsonb
column holds jsonb
column erased_at timestamp with time zone
column remains jsonb
column verified_at timestamp with time zone
column was_verified boolean
column entry text
column certificate text
column certificate_note text
constraint erasures_pkey PRIMARY KEY (id)
constraint erasures_state_known CHECK ((state = ANY (ARRAY['values'::text, 'identities'::text, 'settling'::text, 'files'::text, 'verifying'::text, 'done'::text, 'refused'::text])))
CREATE INDEX erasures_open_idx ON audit.erasures USING btree (requested_at) WHERE (state <> ALL (ARRAY['done'::text, 'refused'::text]))
CREATE INDEX erasures_organization_idx ON audit.erasures USING btree (organization_id, requested_at)
CREATE UNIQUE INDEX erasures_pkey ON audit.erasures USING btree (id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Requests to erase a person, those that were refused included; written by the functions of 710 only.
comment on column id: Names the erasure; what the person is told.
comment on column organization_id: In whose log.
comment on column subject: The user id, null where only an address was known.
comment on column addresses: E-mail addresses that are looked for; forgotten when they are erased.
comment on column places: IP addresses that went with the identities, for other tables to be searched for; forgotten likewise.
comment on column ground: The ground: of Art. 17(1) for erasing, of Art. 17(3) for not erasing, or other.
comment on column reason: In words.
comment on column requested_by: The admin who asked, null when it was done in the database.
comment on column requested_at: When.
comment on column state: How far it is.
comment on column until: What was recorded later is not part of it.
comment on column since: The oldest of what was erased: files from before cannot hold it.
comment on column deleted_in: The transaction that deleted last.
comment on column awaited: Transactions that may have found what was deleted, while they last; null before they are known.
comment on column counts: How much went.
comment on column holds: Legal holds that are in the way, or were when it was refused.
comment on column erased_at: When the last of it was gone from the database; the time of the subject.erased entry.
comment on column remains: What could not go.
comment on column verified_at: When the verification after it ended.
comment on column was_verified: Whether that found every chain and log whole.
comment on column entry: Name of the subject.erased entry.
comment on column certificate: The certificate to the byte, from the moment on in which it is signed.
comment on column certificate_note: The signed note over the certificate's digest; null until it is signed.

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
   FROM ( VALUES ('AUIMM'::text,409,'log_immutable'::text,'Entries of the log are never changed or deleted.'::text), ('AUTBL'::text,404,'table_not_found'::text,'There is no table of that name.'::text), ('AUKND'::text,422,'table_kind_unsupported'::text,'Only ordinary and partitioned tables can be tracked.'::text), ('AUPRT'::text,422,'table_is_partition'::text,'A partition is captured through its parent.'::text), ('AULOG'::text,422,'table_is_the_log'::text,'The product''s own tables are not tracked.'::text), ('AUNPK'::text,422,'no_primary_key'::text,'A tracked table needs a primary key, or option "id".'::text), ('AUORG'::text,422,'no_organization'::text,'The organisation of a row could not be determined.'::text), ('AUOPT'::text,422,'invalid_option'::text,'An option is unknown, of the wrong type or names no column.'::text), ('AUARG'::text,422,'invalid_argument'::text,'An argument is missing or out of range.'::text), ('AUQRY'::text,400,'invalid_query'::text,'A query could not be read; the detail says where.'::text), ('AURUL'::text,422,'invalid_rule'::text,'A rule has an unknown field, or a value that it cannot have.'::text), ('AUCUR'::text,400,'invalid_cursor'::text,'A cursor was edited, or belongs to another search.'::text), ('AUNOT'::text,404,'not_found'::text,'There is no such thing that the caller may read.'::text), ('AUPND'::text,409,'not_sealed'::text,'The entry is not in a signed log yet.'::text), ('AUDEN'::text,403,'access_denied'::text,'The caller may not do this.'::text), ('AUVLT'::text,409,'vault_missing'::text,'The project has no Vault to keep a secret in.'::text), ('AUSTL'::text,409,'capture_stale'::text,'The table was altered after it was tracked; track it again.'::text), ('AUFRK'::text,409,'log_forked'::text,'A log would get two roots for one size.'::text), ('AULSE'::text,409,'lease_lost'::text,'Another run took over the work.'::text), ('AURST'::text,409,'not_restorable'::text,'A log is restored into an empty database, by one transaction.'::text), ('AURAT'::text,429,'too_many_requests'::text,'The caller does this more often than is allowed.'::text), ('AUROW'::text,409,'rows_unpaired'::text,'An update''s old and new rows could not be paired.'::text)) registry(code, http_status, name, meaning);

-- relation audit.event_keys
kind r, owner postgres, persistence p
no row level security
column source_id uuid not null
column key uuid not null
column fingerprint bytea not null
column organization_id uuid not null
column chain integer not null
column seq bigint not null
column seen_at timestamp with time zone not null default clock_timestamp()
constraint event_keys_pkey PRIMARY KEY (source_id, key)
constraint event_keys_source_id_fkey FOREIGN KEY (source_id) REFERENCES audit.event_sources(id) ON DELETE CASCADE
CREATE UNIQUE INDEX event_keys_pkey ON audit.event_keys USING btree (source_id, key)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Idempotency keys of the last seven days, and the entries that their events became.
comment on column source_id: Whose key it is.
comment on column key: The first half of the key's SHA-256.
comment on column fingerprint: The beginning of the event's SHA-256: the same key must not come with another event.
comment on column organization_id: The entry's.
comment on column chain: The entry's.
comment on column seq: The entry's.
comment on column seen_at: When it was recorded.

-- relation audit.event_sources
kind r, owner postgres, persistence p
no row level security
column id uuid not null default gen_random_uuid()
column name text not null
column organization_id uuid
column secret_hash bytea
column previous_hash bytea
column previous_until timestamp with time zone
column events_per_minute integer not null
column allowance double precision not null
column allowance_at timestamp with time zone not null default clock_timestamp()
column created_at timestamp with time zone not null default clock_timestamp()
column disabled_at timestamp with time zone
constraint event_sources_name_key UNIQUE (name)
constraint event_sources_pkey PRIMARY KEY (id)
constraint source_has_name CHECK ((name ~ '^[a-z0-9][a-z0-9_-]{0,62}$'::text))
constraint source_has_rate CHECK (((events_per_minute >= 1) AND (events_per_minute <= 10000000)))
CREATE UNIQUE INDEX event_sources_name_key ON audit.event_sources USING btree (name)
CREATE UNIQUE INDEX event_sources_pkey ON audit.event_sources USING btree (id)
CREATE UNIQUE INDEX event_sources_secret_hash_idx ON audit.event_sources USING btree (secret_hash)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Who may report events to audit-ingest, and how many a minute.
comment on column id: Names the source; the nil UUID is the project's own service key.
comment on column name: What entries call it, in details.reported_by.
comment on column organization_id: The only organisation it reports for; null: any.
comment on column secret_hash: SHA-256 of its secret; null for the service key, which the function knows.
comment on column previous_hash: The same of the secret before, while that is still taken.
comment on column previous_until: Until when the secret before is taken.
comment on column events_per_minute: How many events it may report a minute, and at once.
comment on column allowance: How many it could report at allowance_at; it fills up with time.
comment on column allowance_at: When the allowance was last counted.
comment on column created_at: When it was created.
comment on column disabled_at: Since when nothing is taken from it any more.

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
column manifest text
column manifest_note text
column withdrawn_at timestamp with time zone
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
comment on column manifest: The manifest to the byte, from the moment on in which it is signed.
comment on column manifest_note: The signed note over the manifest's digest; null until it is signed.
comment on column withdrawn_at: When it was taken back because a person who may be in it was erased; its files go at once.

-- relation audit.findings
kind r, owner postgres, persistence p
no row level security
column id bigint not null identity a
column organization_id uuid not null
column kind text not null
column subject text not null
column detail jsonb not null default '{}'::jsonb
column first_seen_at timestamp with time zone not null default clock_timestamp()
column last_seen_at timestamp with time zone not null default clock_timestamp()
column seen bigint not null default 1
column resolved_at timestamp with time zone
constraint findings_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX findings_open_idx ON audit.findings USING btree (organization_id, kind, subject) WHERE (resolved_at IS NULL)
CREATE UNIQUE INDEX findings_pkey ON audit.findings USING btree (id)
grant audit_purger: INSERT, SELECT, UPDATE
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: What checks discovered and nobody has resolved yet, and what was resolved; written by audit.note_finding().
comment on column id: Names the finding.
comment on column organization_id: Whom it concerns; the nil UUID for the whole project.
comment on column kind: What is wrong, in the words of the check: entry_altered, entries_missing, archive_damaged, …
comment on column subject: What it was found in: an entry's name, a log's origin, an object's path.
comment on column detail: What was seen, for whoever looks into it.
comment on column first_seen_at: When it was discovered.
comment on column last_seen_at: When a check saw it last.
comment on column seen: How many times.
comment on column resolved_at: When somebody, or the check itself, found it in order again; null while it is open.

-- relation audit.findings_id_seq
kind S, owner postgres, persistence p
column last_value bigint not null
column log_cnt bigint not null
column is_called boolean not null
grant postgres: SELECT, UPDATE, USAGE

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
grant audit_purger: SELECT
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

-- relation audit.holds
kind r, owner postgres, persistence p
no row level security
column organization_id uuid not null
column name text not null
column reason text not null
column placed_at timestamp with time zone not null default clock_timestamp()
column released_at timestamp with time zone
CREATE UNIQUE INDEX holds_name_idx ON audit.holds USING btree (organization_id, name) WHERE (released_at IS NULL)
grant audit_purger: INSERT, SELECT, UPDATE
grant postgres: MAINTAIN, REFERENCES, SELECT, TRIGGER
grant service_role: SELECT
comment: Legal holds, those that were released included; written by audit.place_hold() and audit.release_hold() only. The log says who did it.
comment on column organization_id: Whose entries are held; the nil UUID for everybody's.
comment on column name: What it is called: the matter, a case number.
comment on column reason: Why.
comment on column placed_at: Since when.
comment on column released_at: Until when; null while it holds.

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
column check_at timestamp with time zone
constraint identity_hash_is_sha256 CHECK ((octet_length(identity_hash) = 32))
constraint salt_has_16_bytes CHECK ((octet_length(salt) = 16))
CREATE INDEX identities_check_idx ON audit.identities USING btree (check_at) WHERE (check_at IS NOT NULL)
CREATE INDEX identities_email_idx ON audit.identities USING btree (organization_id, lower(email), created_at, identity_hash)
CREATE INDEX identities_identity_hash_idx ON audit.identities USING btree (identity_hash)
CREATE INDEX identities_ip_address_idx ON audit.identities USING btree (organization_id, ip_address, created_at, identity_hash)
CREATE INDEX identities_lookup_idx ON audit.identities USING btree (lookup)
CREATE INDEX identities_user_id_idx ON audit.identities USING btree (user_id)
policy "admins and permitted auditors read identities", command r, permissive, to authenticated, using ((organization_id = ANY (ARRAY( SELECT audit.admin_organizations() AS admin_organizations))) OR (organization_id = ANY (ARRAY( SELECT audit.auditor_organizations(identities => true) AS auditor_organizations)))), check -
policy "members read their own identities", command r, permissive, to authenticated, using ((user_id = ( SELECT auth.uid() AS uid)) AND (organization_id = ANY (ARRAY( SELECT audit.member_organizations() AS member_organizations)))), check -
policy "the purger deletes identities", command d, permissive, to audit_purger, using true, check -
policy "the purger finds identities", command r, permissive, to audit_purger, using true, check -
policy "the purger marks identities", command w, permissive, to audit_purger, using true, check -
policy "the writer finds identities", command r, permissive, to audit_writer, using true, check -
policy "the writer keeps identities", command a, permissive, to audit_writer, using -, check true
grant audit_purger: DELETE, SELECT
grant audit_writer: INSERT, SELECT
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
grant on column lookup audit_purger: UPDATE
grant on column check_at audit_purger: UPDATE
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
comment on column check_at: When it is to be looked whether an entry still commits to it: an entry that did was purged. Null where none was since.

-- relation audit.integrity
kind v, owner postgres, persistence p, with security_invoker=true
column organization_id uuid
column was_verified boolean
column verified_at timestamp with time zone
column origin text
column size bigint
column root text
column entries_read_back numeric
column entries_archived numeric
column read_back_at timestamp with time zone
column open_findings bigint
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: How each organisation's log stands: verification, last checkpoint, reading back of its archive, findings.
comment on column organization_id: Whose log; the nil UUID is the system organisation.
comment on column was_verified: Whether the last whole round of verification in the database found nothing; null before the first.
comment on column verified_at: When that round ended.
comment on column origin: The newest log with a checkpoint.
comment on column size: How many entries its checkpoint covers.
comment on column root: The root hash over them.
comment on column entries_read_back: How many entries were read back from the archive, and were the same.
comment on column entries_archived: Out of how many.
comment on column read_back_at: When a reading last reached the end of a log.
comment on column open_findings: What checks found and nobody has resolved.
as
 SELECT h.organization_id,
    v.was_verified,
    v.verified_at,
    l.origin,
    l.published AS size,
    encode(c.root, 'base64'::text) AS root,
    s.entries_read_back,
    s.entries_archived,
    s.read_back_at,
    COALESCE(f.findings, (0)::bigint) AS open_findings
   FROM (((((( SELECT DISTINCT h_1.organization_id
           FROM audit.heads h_1) h
     LEFT JOIN audit.verifications v ON ((v.organization_id = h.organization_id)))
     LEFT JOIN LATERAL ( SELECT sum(l_1.read_back) AS entries_read_back,
            sum(l_1.published) AS entries_archived,
            max(( SELECT max(r.ended_at) AS max
                   FROM audit.readings r
                  WHERE (r.log = l_1.id))) AS read_back_at,
            max(l_1.month) FILTER (WHERE (l_1.published > 0)) AS month
           FROM audit.logs l_1
          WHERE ((l_1.organization_id = h.organization_id) AND (l_1.month IS NOT NULL) AND (l_1.archive_deletion_began_at IS NULL))) s ON (true))
     LEFT JOIN audit.logs l ON (((l.organization_id = h.organization_id) AND (l.month = s.month))))
     LEFT JOIN audit.checkpoints c ON (((c.log = l.id) AND (c.size = l.published))))
     LEFT JOIN LATERAL ( SELECT count(*) AS findings
           FROM audit.findings f_1
          WHERE ((f_1.organization_id = h.organization_id) AND (f_1.resolved_at IS NULL))) f ON (true));

-- relation audit.judgements
kind r, owner postgres, persistence p, with fillfactor=70
row level security
column organization_id uuid not null
column metric text not null
column hour timestamp with time zone not null
column seen numeric not null
column made_of bigint not null
column expected double precision
column spread double precision
column score double precision
column learned double precision
column unusual boolean not null
column alerts smallint not null
column alert uuid
column late boolean not null default false
constraint judgements_pkey PRIMARY KEY (organization_id, metric, hour) INCLUDE (seen, made_of, learned, unusual)
CREATE INDEX judgements_hour_idx ON audit.judgements USING btree (hour)
CREATE INDEX judgements_late_idx ON audit.judgements USING btree (hour) WHERE late
CREATE INDEX judgements_unusual_idx ON audit.judgements USING btree (organization_id, metric, hour) WHERE unusual
CREATE UNIQUE INDEX judgements_pkey ON audit.judgements USING btree (organization_id, metric, hour) INCLUDE (seen, made_of, learned, unusual)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: What was thought of each closed hour of the last 60 days; written by audit.judge_activity(), and audit.count_activity() for what is late.
comment on column organization_id: Whose hour.
comment on column metric: Of what: queries or cost.
comment on column hour: When the hour began.
comment on column seen: How many queries, or what cost.
comment on column made_of: Of how many entries.
comment on column expected: The median of the same hour of the 14 days before, unusual ones left out; null where there are too few.
comment on column spread: How far from what is expected such an hour commonly is (one standard deviation); null before there is experience.
comment on column score: How many spreads it is away from what is expected; null before there is experience.
comment on column learned: What later hours learn from it: the distance in units of chance; null for unusual hours, which teach nothing.
comment on column unusual: Whether it is so far away that nothing is learned from it.
comment on column alerts: 0: it raises none; 1: it is, or belongs to, an alert; 2: to one that is very unusual.
comment on column alert: The alert that was raised.
comment on column late: Whether entries of this hour came after it was judged, and it is to be judged again.

-- relation audit.log_collection
kind r, owner postgres, persistence p
no row level security
column only_row boolean not null default true
column collected_until timestamp with time zone
column resume_after text
column last_run_at timestamp with time zone
column next_at timestamp with time zone not null default '-infinity'::timestamp with time zone
column lease uuid
column lease_until timestamp with time zone not null default '-infinity'::timestamp with time zone
column failures integer not null default 0
column last_error text
constraint log_collection_pkey PRIMARY KEY (only_row)
constraint there_is_one CHECK (only_row)
CREATE UNIQUE INDEX log_collection_pkey ON audit.log_collection USING btree (only_row)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: How far the project's logs were read from the Management API.
comment on column only_row: There is one row.
comment on column collected_until: Up to when all lines were read; null before the first run.
comment on column resume_after: The last line of that moment that was read, where a run had to stop there; null where it had read all.
comment on column last_run_at: When lines were last read.
comment on column next_at: Not before then: the API asked to wait, or the last run failed.
comment on column lease: Whose turn it is.
comment on column lease_until: Until when that run may go on.
comment on column failures: How many runs failed since the last that did not.
comment on column last_error: Why the last run failed, in a word; null where it did not.

-- relation audit.log_collection_status
kind v, owner postgres, persistence p
column every_seconds integer
column collected_until timestamp with time zone
column lag_seconds integer
column last_run_at timestamp with time zone
column failures integer
column last_error text
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: How far behind the collection of logs is, in seconds, and what keeps it; every_seconds 0: it is off.
as
 SELECT (audit.setting('collect_logs_every'::text))::integer AS every_seconds,
    collected_until,
    (EXTRACT(epoch FROM (clock_timestamp() - collected_until)))::integer AS lag_seconds,
    last_run_at,
    failures,
    last_error
   FROM audit.log_collection c;

-- relation audit.log_ranges
kind r, owner postgres, persistence p
no row level security
column log integer not null
column start bigint not null
column organization_id uuid not null
column chain integer not null
column from_seq bigint not null
column to_seq bigint not null
constraint log_ranges_log_fkey FOREIGN KEY (log) REFERENCES audit.logs(id)
constraint log_ranges_pkey PRIMARY KEY (log, start)
constraint range_is_not_empty CHECK ((from_seq <= to_seq))
CREATE UNIQUE INDEX log_ranges_entry_idx ON audit.log_ranges USING btree (organization_id, chain, from_seq)
CREATE UNIQUE INDEX log_ranges_pkey ON audit.log_ranges USING btree (log, start)
grant audit_purger: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Which entries stand where in a log: entries from_seq to to_seq of a chain from index start on.
comment on column log: The log.
comment on column start: Index of the first of them.
comment on column organization_id: Whose chain.
comment on column chain: The chain.
comment on column from_seq: The first entry.
comment on column to_seq: The last entry.

-- relation audit.logs
kind r, owner postgres, persistence p
no row level security
column id integer not null identity a
column organization_id uuid not null
column month date
column origin text not null
column sequenced bigint not null default 0
column size bigint not null default 0
column published bigint not null default 0
column first_at timestamp with time zone
column last_at timestamp with time zone
column opened_at timestamp with time zone not null default clock_timestamp()
column sealed_at timestamp with time zone
column closed_at timestamp with time zone
column lease uuid
column lease_until timestamp with time zone not null default '-infinity'::timestamp with time zone
column read_back bigint not null default 0
column archive_deletion_began_at timestamp with time zone
column archive_deleted_at timestamp with time zone
column trimmed bigint not null default 0
constraint logs_pkey PRIMARY KEY (id)
constraint month_begins_on_its_first CHECK ((EXTRACT(day FROM month) = (1)::numeric))
constraint one_log_a_month UNIQUE NULLS NOT DISTINCT (organization_id, month)
constraint origin_is_of_one_log UNIQUE (origin)
constraint sizes_in_order CHECK (((0 <= published) AND (published <= size) AND (size <= sequenced)))
CREATE INDEX logs_unfinished_idx ON audit.logs USING btree (id) WHERE (sequenced > published)
CREATE UNIQUE INDEX logs_open_idx ON audit.logs USING btree (organization_id, ((month IS NULL))) WHERE (closed_at IS NULL)
CREATE UNIQUE INDEX logs_pkey ON audit.logs USING btree (id)
CREATE UNIQUE INDEX one_log_a_month ON audit.logs USING btree (organization_id, month) NULLS NOT DISTINCT
CREATE UNIQUE INDEX origin_is_of_one_log ON audit.logs USING btree (origin)
CREATE TRIGGER owe_checkpoint AFTER UPDATE OF published ON audit.logs FOR EACH ROW WHEN ((new.published > old.published)) EXECUTE FUNCTION audit.owe_checkpoint() (enabled O)
grant audit_purger: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: The Merkle logs (C2SP tlog-tiles): one for each organisation and month, and the anchor log. Steps: sequenced, size, published.
comment on column id: Names the log in the database.
comment on column organization_id: Whose entries; the nil UUID for the system organisation's and for the anchor log.
comment on column month: The first day of the month in which it was opened (UTC); null for the anchor log, which never ends.
comment on column origin: The log's name in its checkpoints.
comment on column sequenced: How many entries have an index.
comment on column size: How many entries the last recorded root is over.
comment on column published: The size of the checkpoint that readers get.
comment on column first_at: The oldest created_at among its entries: where in the log's partitions they begin.
comment on column last_at: The newest created_at among its entries.
comment on column opened_at: When it was opened.
comment on column sealed_at: When its last root was recorded.
comment on column closed_at: When the next month's log took over; its last checkpoint is final then.
comment on column lease: Which run works on it; another may once lease_until is over.
comment on column lease_until: Until when that run has it for itself.
comment on column read_back: How many entries were read back from the archive, out of objects that stay, and were the same: only these may be purged.
comment on column archive_deletion_began_at: Since when the archive is being deleted: it is no longer whole.
comment on column archive_deleted_at: When the last of it but the checkpoint was deleted.
comment on column trimmed: Up to which size the archive was rid of partial files that a full one replaced.

-- relation audit.logs_id_seq
kind S, owner postgres, persistence p
column last_value bigint not null
column log_cnt bigint not null
column is_called boolean not null
grant postgres: SELECT, UPDATE, USAGE

-- relation audit.open_alerts
kind v, owner postgres, persistence p, with security_invoker=true
column id uuid
column organization_id uuid
column severity text
column title text
column state text
column first_seen_at timestamp with time zone
column last_seen_at timestamp with time zone
column occurrences bigint
column group_key text
column reason jsonb
column entries text[]
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Alerts that are not resolved, the loudest first. For admins and auditors of the organisation.
as
 SELECT id,
    organization_id,
    severity,
    title,
    state,
    first_seen_at,
    last_seen_at,
    occurrences,
    group_key,
    reason,
    entries
   FROM audit.alerts a
  WHERE (state <> 'resolved'::text)
  ORDER BY (array_position(ARRAY['critical'::text, 'high'::text, 'medium'::text, 'low'::text, 'info'::text], severity)), last_seen_at DESC;

-- relation audit.outside
kind v, owner postgres, persistence p
column kind text
column name text
column last_success timestamp with time zone
column behind_checkpoints bigint
column behind_entries bigint
column behind_since timestamp with time zone
column last_error text
column disabled boolean
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Who outside holds the project to what it signed, and whether each has the newest.
comment on column kind: webhook, bucket, s3, mirror or witness.
comment on column name: Its name in the configuration.
comment on column last_success: When it last took what it was given; of a witness, the time of its newest cosignature.
comment on column behind_checkpoints: How many published checkpoints are newer than what it has.
comment on column behind_entries: How many entries, of the logs it is for, it does not know of.
comment on column behind_since: When the oldest of those checkpoints was published; null where it has the newest.
comment on column last_error: Why it does not have the newest, in a word; null where nothing went wrong.
comment on column disabled: Whether it said that it is gone for good, and is no longer asked.
as
 SELECT r.kind,
    r.name,
    r.succeeded_at AS last_success,
    o.checkpoints AS behind_checkpoints,
    o.entries AS behind_entries,
    o.since AS behind_since,
    COALESCE(r.last_error, o.last_error) AS last_error,
    (r.disabled_at IS NOT NULL) AS disabled
   FROM (audit.receivers r
     CROSS JOIN LATERAL ( SELECT (COALESCE(sum(c.checkpoints), (0)::numeric))::bigint AS checkpoints,
            (COALESCE(sum((o_1.size - o_1.delivered)), (0)::numeric))::bigint AS entries,
            min(c.since) AS since,
            max(o_1.last_error) AS last_error
           FROM (audit.owed_checkpoints o_1
             CROSS JOIN LATERAL ( SELECT count(*) AS checkpoints,
                    min(c_1.published_at) AS since
                   FROM audit.checkpoints c_1
                  WHERE ((c_1.log = o_1.log) AND (c_1.size > o_1.delivered) AND (c_1.published_at IS NOT NULL))) c)
          WHERE (o_1.receiver = r.id)) o);

-- relation audit.owed_checkpoints
kind v, owner postgres, persistence p
column receiver integer
column kind text
column name text
column log integer
column is_anchor boolean
column size bigint
column delivered bigint
column last_error text
column due boolean
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: What is owed: the newest checkpoint of each log to each receiver that does not have it. Only the newest: what it replaced is not sent late.
comment on column receiver: The receiver.
comment on column kind: Its kind.
comment on column name: Its name.
comment on column log: The log.
comment on column is_anchor: Whether it is the anchor log.
comment on column size: The checkpoint's size.
comment on column delivered: The size of the one that it has; 0 for none.
comment on column last_error: What is wrong with the log, in a word.
comment on column due: Whether it is to be asked now: not gone, not being served, and no pause after a failure.
as
 SELECT r.id AS receiver,
    r.kind,
    r.name,
    o.log,
    o.is_anchor,
    o.newest AS size,
    o.size AS delivered,
    o.last_error,
    ((r.disabled_at IS NULL) AND (r.lease_until < clock_timestamp()) AND (GREATEST(r.next_try_at, o.next_try_at) <= clock_timestamp())) AS due
   FROM (audit.receivers r
     CROSS JOIN LATERAL ( SELECT d.receiver,
            d.log,
            d.newest,
            d.size,
            d.copied,
            d.delivered_at,
            d.next_try_at,
            d.last_error,
            (l.month IS NULL) AS is_anchor
           FROM (audit.receiver_logs d
             JOIN audit.logs l ON ((l.id = d.log)))
          WHERE ((d.receiver = r.id) AND (d.newest > d.size))
        UNION ALL
         SELECT d.receiver,
            d.log,
            d.newest,
            d.size,
            d.copied,
            d.delivered_at,
            d.next_try_at,
            d.last_error,
            true
           FROM (audit.logs l
             JOIN audit.receiver_logs d ON (((d.receiver = r.id) AND (d.log = l.id))))
          WHERE ((l.organization_id = audit.system_organization()) AND (l.month IS NULL) AND (d.newest <= d.size) AND
                CASE r.kind
                    WHEN 'witness'::text THEN (r.tried_at < (clock_timestamp() - '01:00:00'::interval))
                    WHEN 'mirror'::text THEN (EXISTS ( SELECT
                       FROM audit.cosigned_checkpoints s
                      WHERE ((s.log = d.log) AND (s.size = d.size) AND (s.cosigned_at > d.delivered_at))))
                    ELSE NULL::boolean
                END)) o);

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
policy "the purger deletes personal values", command d, permissive, to audit_purger, using true, check -
policy "the purger finds personal values", command r, permissive, to audit_purger, using true, check -
grant audit_purger: DELETE, SELECT
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

-- relation audit.place_data
kind r, owner postgres, persistence p
row level security
column only_row boolean not null default true
column attribution text not null
column loaded_at timestamp with time zone not null default clock_timestamp()
constraint place_data_pkey PRIMARY KEY (only_row)
constraint there_is_one CHECK (only_row)
CREATE UNIQUE INDEX place_data_pkey ON audit.place_data USING btree (only_row)
policy "signed-in people read places", command r, permissive, to authenticated, using true, check -
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Which data set is loaded; nothing where none is.
comment on column only_row: There is one row.
comment on column attribution: Whose data it is and under which licence; to be shown where places are.
comment on column loaded_at: When it was loaded.

-- relation audit.place_ranges
kind r, owner postgres, persistence p
row level security
column first_address inet not null
column place integer
constraint place_ranges_pkey PRIMARY KEY (first_address)
CREATE UNIQUE INDEX place_ranges_pkey ON audit.place_ranges USING btree (first_address)
policy "signed-in people read places", command r, permissive, to authenticated, using true, check -
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Where ranges of addresses are: each goes up to the next, and one begins at ::; whose data it is and under which licence, says audit.place_data.
comment on column first_address: Where the range begins.
comment on column place: In audit.places; null where the data set says nothing.

-- relation audit.places
kind r, owner postgres, persistence p
row level security
column id integer not null
column country text not null
column region text
column city text
constraint places_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX places_pkey ON audit.places USING btree (id)
policy "signed-in people read places", command r, permissive, to authenticated, using true, check -
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Countries, and cities where the data set has them; whose data it is and under which licence, says audit.place_data.
comment on column id: Numbers the place within this load.
comment on column country: ISO 3166-1 alpha-2.
comment on column region: State or region, where the data set has it.
comment on column city: City, where the data set has it.

-- relation audit.purges
kind r, owner postgres, persistence p, with fillfactor=70
no row level security
column organization_id uuid not null
column before timestamp with time zone not null
column done boolean not null
column entries bigint not null
column run_at timestamp with time zone not null default clock_timestamp()
constraint purges_pkey PRIMARY KEY (organization_id)
CREATE UNIQUE INDEX purges_pkey ON audit.purges USING btree (organization_id)
grant audit_purger: INSERT, SELECT, UPDATE
grant postgres: MAINTAIN, REFERENCES, SELECT, TRIGGER
comment: How far the day's purge of each organisation has come; written by audit.purge() only.
comment on column organization_id: Whose entries.
comment on column before: Entries from before then are past their retention.
comment on column done: Whether all of them that may go are gone.
comment on column entries: How many are gone that no log.purged entry has counted yet.
comment on column run_at: When it last came on.

-- relation audit.readings
kind r, owner postgres, persistence p
no row level security
column log integer not null
column again boolean not null
column size bigint not null default 0
column frontier bytea not null default '\x'::bytea
column next_at timestamp with time zone not null default '-infinity'::timestamp with time zone
column begun_at timestamp with time zone not null default clock_timestamp()
column ended_at timestamp with time zone
constraint readings_log_fkey FOREIGN KEY (log) REFERENCES audit.logs(id)
constraint readings_pkey PRIMARY KEY (log, again)
CREATE UNIQUE INDEX readings_pkey ON audit.readings USING btree (log, again)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: How far each log was read back: once behind the sealing, and again from its start every seven days.
comment on column log: The log.
comment on column again: Whether this is the reading from the start.
comment on column size: The checkpoint that it stands at.
comment on column frontier: The roots of the perfect subtrees of what was read, largest first, 32 bytes each.
comment on column next_at: Not before then: a run is at it, or failed a moment ago.
comment on column begun_at: When it stood at the start.
comment on column ended_at: When it last reached the end; null while it is on its way.

-- relation audit.receiver_logs
kind r, owner postgres, persistence p
no row level security
column receiver integer not null
column log integer not null
column newest bigint not null default 0
column size bigint not null default 0
column copied bigint not null default 0
column delivered_at timestamp with time zone
column next_try_at timestamp with time zone not null default '-infinity'::timestamp with time zone
column last_error text
constraint receiver_logs_pkey PRIMARY KEY (receiver, log)
CREATE INDEX receiver_logs_owed_idx ON audit.receiver_logs USING btree (receiver, delivered_at NULLS FIRST, log) WHERE (newest > size)
CREATE UNIQUE INDEX receiver_logs_pkey ON audit.receiver_logs USING btree (receiver, log)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: How far each receiver is with each log that it is for.
comment on column receiver: The receiver.
comment on column log: The log.
comment on column newest: The newest checkpoint that there is.
comment on column size: The newest checkpoint that it has.
comment on column copied: Of a mirror: up to where it has the full tiles and bundles.
comment on column delivered_at: Since when it has the checkpoint.
comment on column next_try_at: Before that this log is left alone: what is wrong is not the receiver's.
comment on column last_error: What is wrong with the log, in a word.

-- relation audit.receivers
kind r, owner postgres, persistence p
no row level security
column id integer not null identity a
column kind text not null
column name text not null
column all_logs boolean not null
column registered_at timestamp with time zone not null default clock_timestamp()
column disabled_at timestamp with time zone
column tried_at timestamp with time zone not null default '-infinity'::timestamp with time zone
column succeeded_at timestamp with time zone
column attempts integer not null default 0
column next_try_at timestamp with time zone not null default '-infinity'::timestamp with time zone
column last_error text
column lease uuid
column lease_until timestamp with time zone not null default '-infinity'::timestamp with time zone
constraint one_receiver_a_name UNIQUE (kind, name)
constraint receiver_kind_is_known CHECK ((kind = ANY (ARRAY['webhook'::text, 'bucket'::text, 's3'::text, 'mirror'::text, 'witness'::text])))
constraint receivers_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX one_receiver_a_name ON audit.receivers USING btree (kind, name)
CREATE UNIQUE INDEX receivers_pkey ON audit.receivers USING btree (id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Whom outside checkpoints are for, as the functions' environment names them; written by the functions of 350.
comment on column id: Short name for it in receiver_logs.
comment on column kind: webhook, bucket or s3: gets checkpoints. mirror: gets the archive. witness: cosigns the anchor log.
comment on column name: Its name in the configuration.
comment on column all_logs: Whether it gets the checkpoints of all logs, or those of the anchor log, which stand for all.
comment on column registered_at: When it was first seen in the configuration.
comment on column disabled_at: When it said that it is gone for good; null while it is asked. audit.enable_receiver() asks again.
comment on column tried_at: When it was last asked.
comment on column succeeded_at: When it last took what it was given; of a witness, the time of its cosignature.
comment on column attempts: How many times in a row it did not.
comment on column next_try_at: Before that it is left alone.
comment on column last_error: Why it did not, in a word; null where it did.
comment on column lease: Which run serves it; another may once lease_until is over.
comment on column lease_until: Until when that run has it for itself.

-- relation audit.receivers_id_seq
kind S, owner postgres, persistence p
column last_value bigint not null
column log_cnt bigint not null
column is_called boolean not null
grant postgres: SELECT, UPDATE, USAGE

-- relation audit.report_controls
kind r, owner postgres, persistence p
no row level security
column template text not null
column n integer not null
column control text not null
column basis text not null
column wording text not null
column question text not null
column query text not null
column exceptions text
column exception_means text
column of_system boolean not null default false
constraint report_controls_basis_known CHECK ((basis = ANY (ARRAY['law'::text, 'standard'::text, 'convention'::text])))
constraint report_controls_pkey PRIMARY KEY (template, n)
CREATE UNIQUE INDEX report_controls_pkey ON audit.report_controls USING btree (template, n)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: The controls of each template; filled by the product.
comment on column template: Of which template.
comment on column n: In which order.
comment on column control: How the law or standard numbers it.
comment on column basis: law: the text is quoted from a law. standard: a standard's requirement in our words. convention: neither says so, auditors ask for it.
comment on column wording: What it asks for.
comment on column question: What is looked at.
comment on column query: The population: which entries, in the query language; the period is added.
comment on column exceptions: Which of these somebody should look at; null where none is an exception by itself.
comment on column exception_means: What an exception is.
comment on column of_system: Whether the entries are the system organisation's: backups are the whole project's.

-- relation audit.report_schedules
kind r, owner postgres, persistence p
no row level security
column id uuid not null default gen_random_uuid()
column organization_id uuid not null
column template text not null
column cron text not null
column time_zone text not null
column channels uuid[]
column created_by uuid
column created_at timestamp with time zone not null default clock_timestamp()
column next_at timestamp with time zone
column last_at timestamp with time zone
constraint report_schedules_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX report_schedules_pkey ON audit.report_schedules USING btree (id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Which reports are made by themselves; written by audit.schedule_report() and audit.run_schedule().
comment on column id: Names the schedule.
comment on column organization_id: About whose log; the nil UUID for a report about each organisation's.
comment on column template: Which report.
comment on column cron: When: minute, hour, day of month, month, day of week.
comment on column time_zone: In which time zone, by its name; periods begin and end there.
comment on column channels: Where it is delivered; null for the organisation's usual channels.
comment on column created_by: Who wanted it.
comment on column created_at: Since when.
comment on column next_at: When it is due next; null before that was reckoned.
comment on column last_at: When it was due last.

-- relation audit.report_templates
kind r, owner postgres, persistence p
no row level security
column template text not null
column title text not null
column framework text not null
column about text not null
column period text not null
column sections text[] not null
constraint report_templates_pkey PRIMARY KEY (template)
CREATE UNIQUE INDEX report_templates_pkey ON audit.report_templates USING btree (template)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: What reports there are; filled by the product.
comment on column template: Names the template.
comment on column title: What stands on the cover.
comment on column framework: The law or standard that it is about.
comment on column about: What the report is and is not.
comment on column period: The usual period: month, quarter, year; or now, for how things stand.
comment on column sections: Its sections in order: controls, or what audit.report_section() knows.

-- relation audit.reports
kind r, owner postgres, persistence p
no row level security
column id uuid not null default gen_random_uuid()
column organization_id uuid not null
column template text not null
column parameters jsonb not null default '{}'::jsonb
column period_from timestamp with time zone not null
column period_to timestamp with time zone not null
column requested_by uuid
column requested_at timestamp with time zone not null default clock_timestamp()
column schedule uuid
column state text not null default 'queued'::text
column steps text[] not null
column done integer not null default 0
column resume jsonb
column sections jsonb not null default '[]'::jsonb
column content text
column lease_until timestamp with time zone
column attempts integer not null default 0
column error text
column names uuid[] not null default '{}'::uuid[]
column subject uuid
column files jsonb not null default '[]'::jsonb
column manifest text
column manifest_note text
column generated_at timestamp with time zone
column withdrawn_at timestamp with time zone
constraint reports_pkey PRIMARY KEY (id)
constraint reports_state_known CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'done'::text, 'failed'::text, 'withdrawn'::text])))
CREATE INDEX reports_organization_idx ON audit.reports USING btree (organization_id, requested_at)
CREATE INDEX reports_waiting_idx ON audit.reports USING btree (requested_at) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text]))
CREATE UNIQUE INDEX reports_pkey ON audit.reports USING btree (id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Reports: what was asked for, how far it has come, and what its files are; written by the functions of 730 to 760 only.
comment on column id: Names the report.
comment on column organization_id: About whose log.
comment on column template: After which template.
comment on column parameters: Of an incident: entry, actor, at, minutes. Of a person: the user id.
comment on column period_from: Entries from then on.
comment on column period_to: Entries from before then.
comment on column requested_by: Who asked; null for the clock, or the database.
comment on column requested_at: When.
comment on column schedule: The schedule that asked, if any.
comment on column state: How far it is. Done again after a person was erased, it is queued again.
comment on column steps: What is gathered, in order.
comment on column done: How many steps are done.
comment on column resume: Where a step goes on that takes several.
comment on column sections: What was gathered.
comment on column content: All that was gathered, to the byte; null while it is not whole.
comment on column lease_until: Until when a worker has it.
comment on column attempts: How often a worker has taken it up since it last got on.
comment on column error: Why it failed.
comment on column names: Users whose addresses its files show.
comment on column subject: The user whom a report about a person is about.
comment on column files: Its files in Storage, with size and SHA-256.
comment on column manifest: The manifest of its files to the byte.
comment on column manifest_note: The signed note over the manifest's digest.
comment on column generated_at: When its files were made.
comment on column withdrawn_at: When it was taken back because the person it is about was erased.

-- relation audit.restores
kind r, owner postgres, persistence p
no row level security
column incarnation integer not null
column begun_at timestamp with time zone not null default clock_timestamp()
column ended_at timestamp with time zone
column transaction_id xid8
column installed jsonb
column details jsonb not null default '{}'::jsonb
constraint restores_pkey PRIMARY KEY (incarnation)
CREATE UNIQUE INDEX restores_pkey ON audit.restores USING btree (incarnation)
grant audit_purger: INSERT, SELECT, UPDATE
grant audit_writer: SELECT
grant postgres: MAINTAIN, REFERENCES, SELECT, TRIGGER
grant service_role: SELECT
comment: When this log was made again from its archive and a backup; written by the functions of 450 only.
comment on column incarnation: The log's life that began with it: 2 for the first restore.
comment on column begun_at: When it began.
comment on column ended_at: When all of it was there.
comment on column transaction_id: The transaction that does it.
comment on column installed: What installing the product had recorded, which is recorded again behind the restored log.
comment on column details: From what, and what is missing.

-- relation audit.retention
kind v, owner postgres, persistence p, with security_invoker=true
column organization_id uuid
column database_days integer
column archive_days integer
column chosen boolean
column next_database_days integer
column next_archive_days integer
column next_at timestamp with time zone
column holds text[]
column oldest_in_database timestamp with time zone
column oldest_in_archive timestamp with time zone
column archived_before timestamp with time zone
grant authenticated: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: How long each organisation's entries are kept (null: for ever), what shorter period waits to take effect, which holds
stop it, and how far back database and archive reach. For those who read all of the organisation's log.
as
 SELECT organization_id,
    database_days,
    archive_days,
    chosen,
    next_database_days,
    next_archive_days,
    next_at,
    holds,
    oldest_in_database,
    oldest_in_archive,
    archived_before
   FROM audit.retention_status() retention_status(organization_id, database_days, archive_days, chosen, next_database_days, next_archive_days, next_at, holds, oldest_in_database, oldest_in_archive, archived_before);

-- relation audit.retention_periods
kind r, owner postgres, persistence p
no row level security
column organization_id uuid not null
column database_days integer
column archive_days integer
column database_days_before integer
column archive_days_before integer
column effective_at timestamp with time zone not null
column changed_at timestamp with time zone not null default clock_timestamp()
constraint archive_has_no_less CHECK (((archive_days >= COALESCE(database_days, 36501)) AND (archive_days_before >= COALESCE(database_days_before, 36501))))
constraint days_in_range CHECK (((LEAST(database_days, archive_days, database_days_before, archive_days_before) >= 90) AND (GREATEST(database_days, archive_days, database_days_before, archive_days_before) <= 36500)))
constraint retention_periods_pkey PRIMARY KEY (organization_id)
CREATE UNIQUE INDEX retention_periods_pkey ON audit.retention_periods USING btree (organization_id)
grant audit_purger: INSERT, SELECT, UPDATE
grant postgres: MAINTAIN, REFERENCES, SELECT, TRIGGER
grant service_role: SELECT
comment: How long each organisation keeps its entries; written by audit.set_retention() only. Null is unlimited.
comment on column organization_id: Whose entries; the nil UUID for organisations that have not chosen.
comment on column database_days: Days in the database, from effective_at on.
comment on column archive_days: Days in the archive, from effective_at on.
comment on column database_days_before: Days in the database until then.
comment on column archive_days_before: Days in the archive until then.
comment on column effective_at: When a shorter period takes effect; in the past where none waits.
comment on column changed_at: When it was last chosen; the log has every change.

-- relation audit.rule_choices
kind r, owner postgres, persistence p
row level security
column rule_id uuid not null
column organization_id uuid not null
column choice jsonb not null
column changed_at timestamp with time zone not null default clock_timestamp()
constraint rule_choices_pkey PRIMARY KEY (rule_id, organization_id)
constraint rule_choices_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES audit.rules(id) ON DELETE CASCADE
CREATE UNIQUE INDEX rule_choices_pkey ON audit.rule_choices USING btree (rule_id, organization_id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: How organisations have tuned the defaults; written by audit.choose_rule() only.
comment on column rule_id: The default.
comment on column organization_id: Who has chosen.
comment on column choice: The fields that differ: enabled, severity, quiet_period, channels, and settings such as threshold.
comment on column changed_at: When it was chosen; the log has every change.

-- relation audit.rule_positions
kind r, owner postgres, persistence p, with fillfactor=50
row level security
column organization_id uuid not null
column chain integer not null
column seq bigint not null
column last_at timestamp with time zone not null
column upto bigint not null
constraint rule_positions_pkey PRIMARY KEY (organization_id, chain)
CREATE INDEX rule_positions_batch_idx ON audit.rule_positions USING btree (organization_id, chain) WHERE (upto > seq)
CREATE UNIQUE INDEX rule_positions_pkey ON audit.rule_positions USING btree (organization_id, chain)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: How far the rules have come; written by audit.evaluate_rules() only.
comment on column organization_id: Whose chain.
comment on column chain: The chain.
comment on column seq: The last entry that was looked at.
comment on column last_at: Its time; no later entry of the chain is earlier.
comment on column upto: The last entry of the batch that is being looked at; else the same as seq.

-- relation audit.rule_runs
kind r, owner postgres, persistence p
row level security
column rule_id uuid not null
column organization_id uuid not null
column done_until timestamp without time zone not null
constraint rule_runs_pkey PRIMARY KEY (rule_id, organization_id)
constraint rule_runs_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES audit.rules(id) ON DELETE CASCADE
CREATE UNIQUE INDEX rule_runs_pkey ON audit.rule_runs USING btree (rule_id, organization_id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Up to which week each digest was made; written by audit.run_schedules() only.
comment on column rule_id: The rule.
comment on column organization_id: Whose digest.
comment on column done_until: When the last week ended, in the organisation's time zone.

-- relation audit.rule_tests
kind r, owner postgres, persistence p
row level security
column rule_id uuid not null
column name text not null
column entries jsonb not null
column alerts integer not null
constraint rule_tests_pkey PRIMARY KEY (rule_id, name)
constraint rule_tests_rule_id_fkey FOREIGN KEY (rule_id) REFERENCES audit.rules(id) ON DELETE CASCADE
CREATE UNIQUE INDEX rule_tests_pkey ON audit.rule_tests USING btree (rule_id, name)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: Sample entries for rules, and how many alerts they must raise; audit.test_rules() runs them.
comment on column rule_id: The rule.
comment on column name: What the sample shows.
comment on column entries: A list of entries; "after" is their time from the first on, such as "10m".
comment on column alerts: How many alerts they raise.

-- relation audit.rule_values
kind r, owner postgres, persistence p
row level security
column rule_id uuid not null
column organization_id uuid not null
column group_key text not null
column value text not null
column first_at timestamp with time zone not null
column last_at timestamp with time zone not null
column days integer not null
column forget_at timestamp with time zone not null
constraint rule_values_pkey PRIMARY KEY (rule_id, organization_id, group_key, value)
CREATE UNIQUE INDEX rule_values_pkey ON audit.rule_values USING btree (rule_id, organization_id, group_key, value)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Which values a rule has seen in which group; written by audit.evaluate_rules() only.
comment on column rule_id: The rule.
comment on column organization_id: Whose entries.
comment on column group_key: The group.
comment on column value: The value; empty for the group itself, of any value.
comment on column first_at: When it was seen first.
comment on column last_at: When it was seen last.
comment on column days: On how many days, for the group itself.
comment on column forget_at: When it would be new again.

-- relation audit.rule_windows
kind r, owner postgres, persistence p
row level security
column rule_id uuid not null
column organization_id uuid not null
column group_key text not null
column slot bigint not null
column value text not null
column weight numeric not null
column hits bigint not null
column counted bigint not null default 0
column first_at timestamp with time zone not null
column last_at timestamp with time zone not null
column names text[] not null
column forget_at timestamp with time zone not null
constraint rule_windows_pkey PRIMARY KEY (rule_id, organization_id, group_key, slot, value)
CREATE UNIQUE INDEX rule_windows_pkey ON audit.rule_windows USING btree (rule_id, organization_id, group_key, slot, value)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: What the rules remember of entries within their windows; written by audit.evaluate_rules() only.
comment on column rule_id: The rule.
comment on column organization_id: Whose entries.
comment on column group_key: The group.
comment on column slot: When, in slots of the rule since 1970.
comment on column value: Of which value, or which step of a sequence.
comment on column weight: How much that adds.
comment on column hits: How many entries it was.
comment on column counted: How many of them an alert has counted.
comment on column first_at: The time of the first.
comment on column last_at: The time of the last.
comment on column names: Their names, 20 at most.
comment on column forget_at: When no window reaches it any more, entries that come an hour late included.

-- relation audit.rules
kind r, owner postgres, persistence p
row level security
column id uuid not null default gen_random_uuid()
column organization_id uuid not null
column name text not null
column description text not null default ''::text
column version integer not null default 1
column kind text not null
column severity text not null
column enabled boolean not null default true
column match jsonb not null
column settings jsonb not null
column quiet_period interval
column channels uuid[]
column compiled text
column changed_at timestamp with time zone not null default clock_timestamp()
constraint rules_name_key UNIQUE (organization_id, name)
constraint rules_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX rules_name_key ON audit.rules USING btree (organization_id, name)
CREATE UNIQUE INDEX rules_pkey ON audit.rules USING btree (id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: What is watched for; written by audit.create_rule(), audit.change_rule() and audit.delete_rule() only.
comment on column id: Names the rule.
comment on column organization_id: Whose rule it is; the nil UUID for the defaults, which hold for everybody.
comment on column name: What it is called, and the title of its alerts.
comment on column description: What it means and what to do then.
comment on column version: How many times it was written; the log has every change.
comment on column kind: event, count, distinct, sum, sequence, new_value, schedule or anomaly.
comment on column severity: info, low, medium, high or critical.
comment on column enabled: Whether it is in force.
comment on column match: Which entries it is about: a canonical query tree.
comment on column settings: What its kind needs: window, threshold, group_by, …; sql/README.md lists them.
comment on column quiet_period: An alert is over when nothing happened for so long; null: when somebody resolves it.
comment on column channels: Where its alerts go; null for the organisation's default channels.
comment on column compiled: SQL of what an entry e adds to it, made when it was written; null for kinds that look at no single entry.
comment on column changed_at: When it was last written.

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
grant audit_purger: DELETE, SELECT
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
grant audit_purger: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: How far the search index has come; written by audit.index_entries() only.
comment on column organization_id: Whose chain.
comment on column chain: The chain.
comment on column seq: The last entry that is indexed.
comment on column last_at: Its time; no later entry of the chain is earlier.

-- relation audit.seen_logs
kind r, owner postgres, persistence p
no row level security
column key uuid not null
column seen_at timestamp with time zone not null default clock_timestamp()
constraint seen_logs_pkey PRIMARY KEY (key)
CREATE UNIQUE INDEX seen_logs_pkey ON audit.seen_logs USING btree (key)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Events of logs that were taken in, so that none is twice; forgotten when lines of their age are no longer taken.
comment on column key: The first half of the SHA-256 of what names the event.
comment on column seen_at: When it was taken in.

-- relation audit.sequenced
kind r, owner postgres, persistence p, with fillfactor=50
no row level security
column organization_id uuid not null
column chain integer not null
column seq bigint not null
column last_at timestamp with time zone not null
constraint sequenced_pkey PRIMARY KEY (organization_id, chain)
CREATE UNIQUE INDEX sequenced_pkey ON audit.sequenced USING btree (organization_id, chain)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: How far each chain has its indexes; what is beyond waits to be sealed.
comment on column organization_id: Whose chain.
comment on column chain: The chain.
comment on column seq: The last entry with an index.
comment on column last_at: Its created_at: no later entry of the chain is older.

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
    WHEN 'seal_after'::text THEN ((jsonb_typeof(value) = 'number'::text) AND (((value)::numeric >= (1)::numeric) AND ((value)::numeric <= (3600)::numeric)))
    WHEN 'shorten_retention_after'::text THEN (((value)::text ~ '^\d+$'::text) AND (((value)::numeric >= (1)::numeric) AND ((value)::numeric <= (90)::numeric)))
    WHEN 'backup_days'::text THEN (((value)::text ~ '^\d+$'::text) AND (((value)::numeric >= (0)::numeric) AND ((value)::numeric <= (90)::numeric)))
    WHEN 'login_lockout'::text THEN ((value = 'false'::jsonb) OR COALESCE(((jsonb_typeof(value) = 'object'::text) AND ((value - '{failures,seconds}'::text[]) = '{}'::jsonb) AND ((value ->> 'failures'::text) ~ '^[1-9]\d{0,2}$'::text) AND ((value ->> 'seconds'::text) ~ '^[1-9]\d{0,4}$'::text)), false))
    WHEN 'api_access'::text THEN ((value = ANY (ARRAY['"off"'::jsonb, '"all"'::jsonb])) OR ((jsonb_typeof(value) = 'number'::text) AND ((value)::numeric > (0)::numeric) AND ((value)::numeric < (1)::numeric)))
    WHEN 'client_actions'::text THEN (jsonb_typeof(value) = 'array'::text)
    WHEN 'collect_logs_every'::text THEN (((value)::text ~ '^\d+$'::text) AND (((value)::numeric = (0)::numeric) OR (((value)::numeric >= (30)::numeric) AND ((value)::numeric <= (3600)::numeric))))
    WHEN 'local_channels'::text THEN (jsonb_typeof(value) = 'boolean'::text)
    WHEN 'alerts_per_hour'::text THEN (((value)::text ~ '^\d+$'::text) AND (((value)::numeric >= (1)::numeric) AND ((value)::numeric <= (1000)::numeric)))
    WHEN 'time_zone'::text THEN ((jsonb_typeof(value) = 'string'::text) AND (('2000-01-01 00:00:00'::timestamp without time zone AT TIME ZONE (value #>> '{}'::text[])) IS NOT NULL))
    ELSE false
END)
constraint settings_pkey PRIMARY KEY (organization_id, name)
CREATE UNIQUE INDEX settings_pkey ON audit.settings USING btree (organization_id, name)
grant audit_purger: SELECT
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: What a project or an organisation has chosen; written by audit.configure().
comment on column organization_id: Whose choice; the nil UUID is the project's default.
comment on column name: ip_addresses ("on", "truncated" or "off"), query_text (true or false), seal_after (seconds), shorten_retention_after (days), backup_days (days), login_lockout (false, or failures and seconds), api_access ("off", a share, "all"), client_actions (actions), collect_logs_every (seconds; 0: never), local_channels (true or false; of the project alone), alerts_per_hour or time_zone.
comment on column value: The chosen value.
comment on column changed_at: When it was last chosen; the log has every change.

-- relation audit.spending
kind r, owner postgres, persistence p
row level security
column rule_id uuid not null
column organization_id uuid not null
column day date not null
column provider text not null
column spent numeric not null
constraint spending_pkey PRIMARY KEY (rule_id, organization_id, day, provider)
CREATE UNIQUE INDEX spending_pkey ON audit.spending USING btree (rule_id, organization_id, day, provider)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: What was spent on which day; written by audit.evaluate_rules() only.
comment on column rule_id: The rule that adds it up.
comment on column organization_id: Who spent it.
comment on column day: The day in the organisation's time zone.
comment on column provider: With which provider; empty where the entry names none.
comment on column spent: How much.

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

-- relation audit.verifications
kind r, owner postgres, persistence p
no row level security
column organization_id uuid not null
column resume text
column log integer
column broken integer not null default 0
column begun_at timestamp with time zone not null default clock_timestamp()
column ended_at timestamp with time zone
column was_verified boolean
column verified_at timestamp with time zone
constraint verifications_pkey PRIMARY KEY (organization_id)
CREATE UNIQUE INDEX verifications_pkey ON audit.verifications USING btree (organization_id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
grant service_role: SELECT
comment: How far the scheduled verification of each organisation is: its chains, then its logs; written by audit.continue_verification().
comment on column organization_id: Whose entries.
comment on column resume: Where audit.verify() goes on; null at the start.
comment on column log: The last log that was verified, 0 before the first; null while it is about the chains.
comment on column broken: How many chains and logs this round has found broken.
comment on column begun_at: When this round began.
comment on column ended_at: When it ended; null while it is on its way.
comment on column was_verified: Whether the last whole round found nothing.
comment on column verified_at: When the last whole round ended.

-- relation audit.waiting_auth_events
kind r, owner postgres, persistence p
no row level security
column id bigint not null identity a
column received_at timestamp with time zone not null default clock_timestamp()
column event audit.auth_event
constraint waiting_auth_events_pkey PRIMARY KEY (id)
CREATE UNIQUE INDEX waiting_auth_events_pkey ON audit.waiting_auth_events USING btree (id)
grant postgres: DELETE, INSERT, MAINTAIN, REFERENCES, SELECT, TRIGGER, TRUNCATE, UPDATE
comment: Events that could not be settled at once; audit.settle_waiting_auth() makes entries of them within seconds.
comment on column id: Order of arrival.
comment on column received_at: When it was told.
comment on column event: The event.

-- relation audit.waiting_auth_events_id_seq
kind S, owner postgres, persistence p
column last_value bigint not null
column log_cnt bigint not null
column is_called boolean not null
grant postgres: SELECT, UPDATE, USAGE

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
policy "the purger deletes entries", command d, permissive, to audit_purger, using true, check -
policy "the purger finds entries", command r, permissive, to audit_purger, using true, check -
policy "the writer appends", command a, permissive, to audit_writer, using -, check true
grant audit_purger: DELETE, SELECT
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

-- function audit.accept_activity(uuid,text,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.accept_activity(organization_id uuid, metric text, since timestamp with time zone)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
begin
  perform audit.require_admin(accept_activity.organization_id);
  if accept_activity.metric is null or accept_activity.metric not in ('queries', 'cost') then
    perform audit.fail('AUARG', 'A metric is queries or cost.');
  elsif accept_activity.since is null or accept_activity.since not between clock_timestamp() - interval '60 days' and clock_timestamp() then
    perform audit.fail('AUARG', 'A new normal began within the last 60 days.', null, 'Pass the hour from which on it is normal.');
  end if;
  perform pg_advisory_xact_lock(hashtext('audit.count_activity'));
  perform audit.learn_activity(
    accept_activity.organization_id, accept_activity.metric, date_trunc('hour', accept_activity.since, 'UTC'), 'accepted'
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Says that numbers of queries, or costs, are as they should be since some hour: select audit.accept_activity(organization_id, 'cost', '2026-03-01 08:00Z').
For admins of the organisation. Without it a lasting change is accepted after seven days.

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
    ) || (audit.membership_details(m.organization_id) - 'until') as access
    from audit.member_organizations() m (organization_id)
    union all
    select a.organization_id,
      jsonb_build_object('organization_id', a.organization_id, 'access', 'all', 'as', 'auditor') || audit.membership_details(a.organization_id)
    from audit.auditor_organizations() a (organization_id)
    where a.organization_id not in (select audit.admin_organizations())
  ) o
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whose logs the caller reads, how much of them, and until when.

-- function audit.add_report(audit.reports)
CREATE OR REPLACE FUNCTION audit.add_report(report audit.reports)
 RETURNS uuid
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  report.id := gen_random_uuid();
  report.requested_at := clock_timestamp();
  report.steps := audit.report_steps(report.template);
  insert into audit.reports (
    id, organization_id, template, parameters, period_from, period_to, requested_by, requested_at, schedule, steps, subject
  ) values (
    report.id, report.organization_id, report.template, coalesce(report.parameters, '{}'), report.period_from, report.period_to,
    report.requested_by, report.requested_at, report.schedule, report.steps, report.subject
  );
  return report.id;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Puts a report in the queue.

-- function audit.add_restored_entries(regclass,text[])
CREATE OR REPLACE FUNCTION audit.add_restored_entries(restored regclass, entries text[])
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_added bigint;
begin
  execute format(
    'insert into %s select p.* from audit.parsed_entries($1) p where p.hash = audit.hash_of(audit.entry_text(p)) on conflict do nothing',
    add_restored_entries.restored
  ) using add_restored_entries.entries;
  get diagnostics v_added = row_count;
  return v_added;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Adds entries from the archive, by their texts; answers how many were not there yet.

-- function audit.addresses_of(uuid,uuid)
CREATE OR REPLACE FUNCTION audit.addresses_of(organization_id uuid, user_id uuid)
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  -- An address that another user has too is no longer this person's alone.
  select coalesce(array_agg(o.address order by o.address), '{}')
  from (
    select distinct lower(i.email) as address
    from audit.identities i
    where i.organization_id = addresses_of.organization_id and i.user_id = addresses_of.user_id and i.email is not null
  ) o
  where not exists (
    select from audit.identities i
    where i.organization_id = addresses_of.organization_id and lower(i.email) = o.address and i.user_id <> addresses_of.user_id
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The e-mail addresses under which a user acted, and no other user did.

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
grant audit_purger: EXECUTE
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Organisations that the caller administers.

-- function audit.admitted_firings(audit.rule_firing[])
CREATE OR REPLACE FUNCTION audit.admitted_firings(firings audit.rule_firing[])
 RETURNS audit.rule_firing[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_admitted audit.rule_firing[];
  v_over record;
begin
  if cardinality(firings) < 2 then
    return firings;
  end if;
  for v_over in
    with rule as materialized (
      select d.rule_id, d.organization_id, r.name, r.severity
      from (select distinct f.rule_id, f.organization_id from unnest(firings) f) d
      cross join lateral audit.rule_for(d.rule_id, d.organization_id) r
    ),
    firing as materialized (
      select f as firing, f.organization_id, f.first_at, r.name, coalesce(f.note ->> 'severity', r.severity) as severity,
        exists (
          select from audit.alerts a
          where a.rule_id = f.rule_id and a.organization_id = f.organization_id and a.group_key = f.group_key
            and (a.state <> 'resolved' or a.resolved_at >= f.first_at)
        ) as known
      from unnest(firings) f
      join rule r on r.rule_id = f.rule_id and r.organization_id = f.organization_id
    ),
    capacity as materialized (
      select d.organization_id, d.severity, audit.alerts_left(d.organization_id, d.severity) as left
      from (select distinct f.organization_id, f.severity from firing f) d
    ),
    ranked as (
      select f.*, c.left, count(*) filter (where not f.known) over (
        partition by f.organization_id, f.severity order by f.first_at, (f.firing).rule_id, (f.firing).group_key rows unbounded preceding
      ) as nth
      from firing f
      join capacity c on c.organization_id = f.organization_id and c.severity = f.severity
    )
    select r.known or r.nth <= r.left as admitted, case when not (r.known or r.nth <= r.left) then r.organization_id end as organization_id,
      case when not (r.known or r.nth <= r.left) then r.severity end as severity,
      array_agg(r.firing order by r.first_at) as firings, array_agg(r.name) as titles
    from ranked r
    group by 1, 2, 3
  loop
    if v_over.admitted then
      v_admitted := v_over.firings;
    else
      perform audit.note_overflow(v_over.organization_id, v_over.severity, v_over.firings, v_over.titles);
    end if;
  end loop;
  return coalesce(v_admitted, '{}');
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Firings that open an alert, or belong to one; those that would be too many are counted together.

-- function audit.alert_json(audit.alerts)
CREATE OR REPLACE FUNCTION audit.alert_json(alert audit.alerts)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'id', (alert).id, 'organization_id', (alert).organization_id, 'rule_id', (alert).rule_id, 'group', (alert).group_key,
    'severity', (alert).severity, 'title', (alert).title, 'reason', (alert).reason, 'state', (alert).state,
    'opened_at', audit.instant_text((alert).opened_at), 'first_seen_at', audit.instant_text((alert).first_seen_at),
    'last_seen_at', audit.instant_text((alert).last_seen_at), 'resolved_at', audit.instant_text((alert).resolved_at),
    'silenced_until', audit.instant_text((alert).silenced_until), 'occurrences', (alert).occurrences, 'entries', to_jsonb((alert).entries)
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: An alert as the API shows it.

-- function audit.alert_message(audit.alerts,text)
CREATE OR REPLACE FUNCTION audit.alert_message(alert audit.alerts, transition text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'alert_id', (alert).id, 'transition', transition, 'organization_id', (alert).organization_id,
    'rule_id', (alert).rule_id,
    'severity', (alert).severity, 'state', (alert).state, 'title', left((alert).title, 300), 'group', left((alert).group_key, 300),
    'reason', case when octet_length((alert).reason::text) <= 8000 then (alert).reason else '{"omitted": "more than 8,000 bytes"}' end,
    'opened_at', audit.instant_text((alert).opened_at), 'first_seen_at', audit.instant_text((alert).first_seen_at), 'last_seen_at', audit.instant_text((alert).last_seen_at),
    'resolved_at', audit.instant_text((alert).resolved_at), 'occurrences', (alert).occurrences,
    'entries', to_jsonb((alert).entries[1:20]),
    -- Finds exactly these.
    'query', (
      select string_agg(format('(chain:%s seq:%s)', split_part(e, '-', 1), split_part(e, '-', 2)), ' or ')
      from unnest((alert).entries[1:20]) e
    )
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What channels are told of an alert: what happened, to whom, when, why, and the names of the entries that show it.

-- function audit.alerts_left(uuid,text)
CREATE OR REPLACE FUNCTION audit.alerts_left(organization_id uuid, severity text)
 RETURNS integer
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  -- Of each severity so many, so that noise cannot keep what is loud from being heard.
  select s.most - (
    select count(*) from (
      select from audit.alerts a
      where a.organization_id = alerts_left.organization_id and a.opened_at > clock_timestamp() - interval '1 hour' and a.severity = alerts_left.severity
        and a.rule_id <> '00000000-0000-4000-a000-000000000639'
      limit s.most
    ) o
  )::int
  from (select (audit.setting('alerts_per_hour', alerts_left.organization_id))::int as most) s
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How many more alerts of a severity an organisation gets within the hour.

-- function audit.anchor_checkpoints()
CREATE OR REPLACE FUNCTION audit.anchor_checkpoints()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_anchor audit.logs;
  v_entries int;
begin
  select l.* into v_anchor from audit.logs l where l.month is null for update;
  with entry as (
    insert into audit.anchor_entries (index, log, size, entry)
    select v_anchor.sequenced + row_number() over (order by l.id) - 1, l.id, l.published,
      concat(l.origin, E'\n', c.size, E'\n', encode(c.root, 'base64'), E'\n')
    from audit.logs l
    join audit.checkpoints c on c.log = l.id and c.size = l.published
    where v_anchor.id is not null and l.month is not null
      and not exists (select from audit.anchor_entries a where a.log = l.id and a.size = l.published)
    returning 1
  )
  select count(*) into v_entries from entry;
  update audit.logs l set sequenced = l.sequenced + v_entries where l.id = v_anchor.id and v_entries > 0;
  return v_entries;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Puts what was published since the last time into the anchor log; answers how many checkpoints.

-- function audit.anchor_of(integer,bigint)
CREATE OR REPLACE FUNCTION audit.anchor_of(log integer, size bigint)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object('index', e.index, 'entry', e.entry, 'size', e.size, 'checkpoint', c.note)
  from (
    select e.index, e.entry, e.size
    from audit.anchor_entries e
    where e.log = anchor_of.log and e.size >= anchor_of.size
    order by e.size
    limit 1
  ) e
  cross join lateral (
    select c.note
    from audit.logs a
    join audit.checkpoints c on c.log = a.id
    left join audit.cosigned_checkpoints s on s.log = c.log and s.size = c.size
    where a.month is null and c.size > e.index and c.size <= a.published
      and (s.size is not null or c.size = a.published)
    order by s.size desc nulls last
    limit 1
  ) c
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Where the anchor log has the first checkpoint of a log that covers so many entries: its index there, its text and size; and
the anchor log's checkpoint over it, the newest that witnesses cosigned, else the newest. Null where it is not anchored yet.

-- function audit.anomaly_contributors(audit.judgements,integer)
CREATE OR REPLACE FUNCTION audit.anomaly_contributors(judgement audit.judgements, at_most integer DEFAULT 3)
 RETURNS TABLE(dimension text, value text, seen numeric, expected numeric)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  with day as materialized (
    select j.hour
    from audit.same_hours((judgement).hour, coalesce(audit.setting('time_zone', (judgement).organization_id) #>> '{}', 'UTC')) s
    join audit.judgements j
      on j.organization_id = (judgement).organization_id and j.metric = (judgement).metric and j.hour = s.hour and not j.unusual
  ),
  part as materialized (
    select a.hour, a.dimension, a.value, case (judgement).metric when 'queries' then a.queries::numeric else a.cost end as amount
    from audit.activity a
    where a.organization_id = (judgement).organization_id and a.dimension <> 'all'
      and (a.hour = (judgement).hour or a.hour in (select d.hour from day d))
  ),
  compared as (
    select v.dimension, v.value,
      coalesce((select p.amount from part p where p.hour = (judgement).hour and p.dimension = v.dimension and p.value = v.value), 0) as seen,
      -- A day without it is a day with none of it.
      coalesce((
        select percentile_disc(0.5) within group (order by coalesce(p.amount, 0))
        from day d left join part p on p.hour = d.hour and p.dimension = v.dimension and p.value = v.value
      ), 0) as expected
    from (select distinct p.dimension, p.value from part p) v
  ),
  ranked as (
    select c.*, row_number() over (partition by c.dimension order by abs(c.seen - c.expected) desc, c.value) as n
    from compared c
    -- Only what goes the way that the whole went.
    where sign(c.seen - c.expected) = sign((judgement).score)
  )
  select r.dimension, r.value, r.seen, r.expected
  from ranked r
  where r.n <= anomaly_contributors.at_most
  order by array_position(array['actor', 'provider', 'model', 'action'], r.dimension), r.n
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The actors, providers, models and actions that made an hour unusual most, each beside what it usually has at this hour.

-- function audit.anomaly_degree(smallint)
CREATE OR REPLACE FUNCTION audit.anomaly_degree(alerts smallint)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (alerts > 1) THEN 'very unusual'::text ELSE 'unusual'::text END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How unusual an hour that raises an alert is, in words.

-- function audit.anomaly_entries(audit.judgements,text)
CREATE OR REPLACE FUNCTION audit.anomaly_entries(judgement audit.judgements, actor text)
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select array(
    select a.chain || '-' || a.seq
    from public.audit_logs a
    where a.organization_id = (judgement).organization_id
      and a.created_at >= (judgement).hour and a.created_at < (judgement).hour + interval '1 hour'
      and case (judgement).metric when 'queries' then a.action = 'query.executed' else a.cost is not null end
    order by coalesce(a.created_by::text, a.actor_type) = anomaly_entries.actor desc, nullif(a.cost, 'NaN') desc nulls last, a.created_at, a.chain, a.seq
    limit 20
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Names of entries of an unusual hour: those of one actor first, the dearest before others.

-- function audit.anomaly_parameter(jsonb,text)
CREATE OR REPLACE FUNCTION audit.anomaly_parameter(settings jsonb, name text)
 RETURNS double precision
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN COALESCE(CASE WHEN (jsonb_typeof((settings #> ARRAY['parameters'::text, name])) = 'number'::text) THEN (LEAST(GREATEST(((settings #>> ARRAY['parameters'::text, name]))::numeric, (0)::numeric), '1000000000000'::numeric))::double precision ELSE NULL::double precision END, (CASE name WHEN 'score'::text THEN 4 WHEN 'least_queries'::text THEN 50 WHEN 'least_cost'::text THEN 10 ELSE NULL::integer END)::double precision)

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A parameter of the rule as an organisation has tuned it, else its default: score 4, least_queries 50, least_cost 10.

-- function audit.anomaly_reason(audit.judgements,jsonb)
CREATE OR REPLACE FUNCTION audit.anomaly_reason(judgement audit.judgements, contributors jsonb)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_strip_nulls(jsonb_build_object(
    'metric', (judgement).metric,
    'hour', audit.instant_text((judgement).hour),
    'seen', (judgement).seen,
    'expected', round((judgement).expected::numeric, 2),
    'usual', jsonb_build_array(
      greatest(round(((judgement).expected - 2 * (judgement).spread)::numeric, 2), 0),
      round(((judgement).expected + 2 * (judgement).spread)::numeric, 2)
    ),
    'score', round((judgement).score::numeric, 1),
    'meaning', audit.anomaly_degree((judgement).alerts) || format(': %s times as far from what is expected as hours commonly are', round(abs((judgement).score)::numeric, 1)),
    'late', nullif((
      select a.late from audit.activity a
      where a.hour = (judgement).hour and a.organization_id = (judgement).organization_id and a.dimension = 'all'
    ), 0),
    'contributors', contributors
  ))
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Why an hour is unusual, for its alert: seen, expected, the usual range (about 19 of 20 such hours), how unusual, who contributed.

-- function audit.anomaly_rule()
CREATE OR REPLACE FUNCTION audit.anomaly_rule()
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '00000000-0000-4000-a000-000000000624'::uuid

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The default rule about unusual numbers of queries and costs.

-- function audit.answer_attempt(text,jsonb)
CREATE OR REPLACE FUNCTION audit.answer_attempt(action text, event jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_user uuid := audit.as_uuid(event ->> 'user_id');
  v_at timestamptz;
  v_is_locked_out boolean;
begin
  if v_user is null or jsonb_typeof(event -> 'valid') is distinct from 'boolean' then
    perform audit.note_auth_failure('hook ' || action, '22023', 'the payload names no user_id, or not whether it was valid');
    return '{"decision": "continue"}';
  end if;
  v_is_locked_out := audit.is_locked_out(action, v_user);
  -- A right password or code shows as a login, or as a session's new assurance level.
  if event -> 'valid' = 'false' or v_is_locked_out then
    begin
      v_at := event #>> '{metadata,time}';
    exception when others then
      null;
    end;
    if v_at is null or abs(extract(epoch from clock_timestamp() - v_at)) > 600 then
      v_at := clock_timestamp();
    end if;
    perform audit.tell_auth(
      array[row(
        'hook', answer_attempt.action, case when v_is_locked_out then 'denied' else 'failure' end, v_at, v_user, null,
        event #>> '{metadata,ip_address}', null, null, null,
        jsonb_strip_nulls(jsonb_build_object(
          'reason', case when v_is_locked_out then 'locked out' when answer_attempt.action = 'user.login_failed' then 'wrong password' else 'wrong code' end,
          'factor_id', audit.as_uuid(event ->> 'factor_id'), 'factor_type', left(event ->> 'factor_type', 50),
          'attempt', left(event #>> '{metadata,uuid}', 50)
        ))
      )::audit.auth_event],
      'hook ' || answer_attempt.action
    );
  end if;
  if v_is_locked_out then
    return '{"decision": "reject", "message": "Too many failed attempts. Try again later.", "should_logout_user": false}';
  end if;
  return '{"decision": "continue"}';
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Records a failed attempt that Auth tells a hook of, and answers: continue, or reject where the user is locked out.

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
  v_context audit.statement_context;
  v_identity bytea;
  v_hint text;
  v_place text;
  v_at timestamptz;
  v_prev bytea;
begin
  -- Each expression costs a new transaction 1 to 3 µs and each statement 10 and more, so the usual way through is
  -- short, and what is rare stands behind a condition.
  begin
    v_context := audit.kept_context();
  exception when others then
    v_context := audit.read_context(); -- somebody wrote nonsense into the setting
  end;
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
    -- The identity that was used last, if it still is this one. At SERIALIZABLE, too: found by its place, nothing is
    -- locked but itself.
    select i.identity_hash into v_identity
    from audit.identities i
    where i.ctid = audit.as_place(current_setting('audit.identity_' || left(append.organization_id::text, 2), true))
      and i.lookup <> '' and i.organization_id = append.organization_id
      and i.user_id is not distinct from v_context.created_by and i.email is not distinct from v_context.email
      and i.ip_address is not distinct from audit.permitted_ip(append.organization_id, v_context.ip_address)
      and i.user_agent is not distinct from v_context.user_agent;
    if v_identity is null then
      v_identity := audit.identify(
        organization_id, v_context.created_by, v_context.email, v_context.ip_address, v_context.user_agent
      );
    end if;
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

-- function audit.append_all(audit.draft[],audit.statement_context[])
CREATE OR REPLACE FUNCTION audit.append_all(drafts audit.draft[], contexts audit.statement_context[] DEFAULT NULL::audit.statement_context[])
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
        when append_all.contexts is not null then null
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
    select h.organization_id, h.seq as head_seq, h.hash as head_hash,
      case
        when append_all.contexts is null then h.identity_hash
        else audit.identify(h.organization_id, d.context_user, d.email, d.ip_address, d.user_agent)
      end as identity_hash,
      greatest(h.last_at, v_now) as created_at,
      row_number() over (partition by h.organization_id order by d.n) as n,
      count(*) over (partition by h.organization_id) as total,
      d.action, d.outcome, d.resource_type, coalesce(d.context_user, d.created_by) as created_by, d.actor_type, d.request_id,
      case when d.suspect then audit.masked_text(audit.bounded(d.resource_id, 500)) else d.resource_id end as resource_id,
      case when d.suspect then audit.masked_text(audit.bounded(d.provider, 200)) else d.provider end as provider,
      case when d.suspect and length(d.cost::text) > 100 then null else d.cost end as cost,
      case
        when d.suspect then audit.fitted(
          audit.masked(d.details || coalesce(d.extra, '{}') || case
            when length(d.cost::text) > 100 then jsonb_build_object('cost', audit.digest_of(d.cost::text)) else '{}'
          end), audit.details_limit()
        )
        when d.extra is null then d.details
        else d.details || d.extra
      end as details
    from (
      select u.organization_id, u.action, u.outcome, u.resource_type, u.resource_id, u.created_by, u.provider, u.cost,
        u.details, u.n, u.suspect or pg_column_size(u.details) > 800 as suspect,
        case when append_all.contexts is null then v_context.created_by else u.context_user end as context_user,
        case when append_all.contexts is null then v_context.actor_type else u.actor_type end as actor_type,
        case when append_all.contexts is null then v_context.request_id else u.request_id end as request_id,
        case when append_all.contexts is null then v_context.extra else u.extra end as extra,
        u.email, u.ip_address, u.user_agent
      from unnest(append_all.drafts, append_all.contexts) with ordinality as u (
        organization_id, action, outcome, resource_type, resource_id, created_by, provider, cost, details, suspect,
        context_user, actor_type, email, ip_address, user_agent, request_id, chain, extra, n
      )
    ) d
    join head h on h.organization_id = coalesce(d.organization_id, audit.system_organization())
  ),
  chained as materialized (
    select d.*,
      audit.chained(
        d.head_hash,
        convert_to(audit.entry_text(
          d.organization_id, v_chain, d.head_seq + d.n, d.created_at, d.action, d.outcome, d.resource_type,
          d.resource_id, d.created_by, d.actor_type, d.identity_hash, d.provider, d.cost, d.request_id,
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
    c.created_by, c.actor_type, c.identity_hash, c.provider, c.cost, c.request_id, c.details,
    substring(c.hashes from 1 for 32), substring(c.hashes from 33)
  from chained c;
end
$function$

owner audit_writer
grant postgres: EXECUTE
comment: Appends many entries in one pass, in the order given; a window aggregate carries the hash. Without contexts all are
of the current statement's; else each has its own, at the same position.

-- function audit.append_auth(audit.auth_event[])
CREATE OR REPLACE FUNCTION audit.append_auth(events audit.auth_event[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_done bigint; -- a query with CTEs cannot be performed
begin
  with membership as materialized (
    select distinct u.user_id, m.organization_id
    from (select distinct e.user_id from unnest(append_auth.events) e where e.user_id is not null) u
    cross join lateral audit.memberships(u.user_id) m
    where m.organization_id is not null
  ),
  placed as (
    select coalesce(m.organization_id, audit.system_organization()) as organization_id, e.n,
      row(
        e.source, e.action, e.outcome, e.happened_at, e.user_id, e.email, e.ip_address, e.user_agent, e.session_id, e.request_id,
        e.details
      )::audit.auth_event as event,
      coalesce(e.details #>> '{actor,type}', 'user') as actor_type,
      case
        when e.details #>> '{actor,type}' is null then e.user_id
        else audit.as_uuid(e.details #>> '{actor,id}')
      end as actor
    from unnest(append_auth.events) with ordinality
      e (source, action, outcome, happened_at, user_id, email, ip_address, user_agent, session_id, request_id, details, n)
    left join membership m on m.user_id = e.user_id
  ),
  drafted as (
    select
      array_agg(row(
        p.organization_id, (p.event).action, (p.event).outcome,
        coalesce(left((p.event).details #>> '{resource,type}', 200), case when (p.event).user_id is not null then 'user' end),
        coalesce((p.event).details #>> '{resource,id}', (p.event).user_id::text),
        null, null, null, audit.auth_details(p.organization_id, p.event), audit.may_hold_secret((p.event).details::text)
      )::audit.draft order by p.n, p.organization_id) as drafts,
      array_agg(row(
        p.actor,
        case when p.actor_type in ('user', 'api_key', 'service', 'database', 'system') then p.actor_type else 'user' end,
        case when p.actor is not distinct from (p.event).user_id then (p.event).email end,
        (p.event).ip_address, (p.event).user_agent, (p.event).request_id, null, null
      )::audit.statement_context order by p.n, p.organization_id) as contexts
    from placed p
  )
  select count(audit.append_all(d.drafts, d.contexts)) into v_done from drafted d where d.drafts is not null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Writes an entry for each event in each organisation of its user, in the system organisation where there is none.

-- function audit.append_to_log_chain(uuid,text,text,jsonb)
CREATE OR REPLACE FUNCTION audit.append_to_log_chain(organization_id uuid, action text, resource_id text, details jsonb)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
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
$function$

owner postgres
grant postgres: EXECUTE
comment: Appends one of the log's own entries and answers its seq.

-- function audit.archived_before(uuid)
CREATE OR REPLACE FUNCTION audit.archived_before(organization_id uuid)
 RETURNS timestamp with time zone
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  select max(b.created_at)
  from audit.chain_bounds b
  where b.organization_id = archived_before.organization_id and audit.reach(archived_before.organization_id) is not null
    and exists (
      select from audit.logs l
      where l.organization_id = archived_before.organization_id and l.month is not null and l.archive_deletion_began_at is null
        and l.first_at <= b.created_at
    )
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Up to when entries of an organisation may be in the archive only; null where all that there is is in the database.

-- function audit.as_place(text)
CREATE OR REPLACE FUNCTION audit.as_place(value text)
 RETURNS tid
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN CASE WHEN (translate(value, '0123456789'::text, ''::text) = '(,)'::text) THEN (value)::tid ELSE NULL::tid END

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The place of a row (ctid), or null where the text is none.

-- function audit.as_trial(audit.rules)
CREATE OR REPLACE FUNCTION audit.as_trial(rule audit.rules)
 RETURNS audit.rules
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_rule audit.rules := rule;
begin
  v_rule.id := gen_random_uuid();
  return v_rule;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A rule under another id, so that what it remembers stays out of a trial.

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

-- function audit.auditor_section(audit.reports)
CREATE OR REPLACE FUNCTION audit.auditor_section(report audit.reports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select audit.report_table(
    'Auditors of the log',
    '[{"title": "User", "width": 4}, {"title": "Sees addresses", "width": 1}, {"title": "Granted by", "width": 3}, {"title": "Granted", "width": 2}, {"title": "Until", "width": 2}]',
    jsonb_agg(jsonb_build_array(
      audit.user_cell(a.user_id), case when a.sees_identities then 'yes' else 'no' end, audit.user_cell(a.granted_by, 'database'),
      audit.second_text(a.granted_at), audit.second_text(a.expires_at)
    ) order by a.expires_at, a.user_id),
    'Grants that have expired by themselves are shown until they are renewed or revoked.'
  )
  from audit.auditors a
  where a.organization_id = (report).organization_id
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Who may read the log from outside, until when.

-- function audit.auth_accounts(uuid[],text[])
CREATE OR REPLACE FUNCTION audit.auth_accounts(INOUT user_ids uuid[], INOUT emails text[], OUT created_at timestamp with time zone[])
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  -- Dynamic: Auth's table belongs to Auth, and older versions have no SSO.
  execute format(
    $q$
      select array_agg(coalesce(e.user_id, b.id) order by e.n),
        array_agg(coalesce(nullif(a.email, ''), nullif(b.email, ''), e.email)::text order by e.n),
        array_agg(coalesce(a.created_at, b.created_at) order by e.n)
      from unnest($1, $2) with ordinality e (user_id, email, n)
      left join auth.users a on a.id = e.user_id
      left join lateral (
        select u.id, u.email, u.created_at from auth.users u where u.email = e.email %s limit 1
      ) b on e.user_id is null
    $q$,
    case when exists (
      select from pg_catalog.pg_attribute c
      where c.attrelid = to_regclass('auth.users') and c.attname = 'is_sso_user' and not c.attisdropped
    ) then 'and u.is_sso_user = false' end
  )
  into user_ids, emails, created_at
  using user_ids, emails;
exception when others then
  null; -- without Auth's table an event is still whoever it says
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Whose each event is: the account that has the id or, where only an e-mail address is known, that address.

-- function audit.auth_audit_action(jsonb)
CREATE OR REPLACE FUNCTION audit.auth_audit_action(payload jsonb)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE (payload ->> 'action'::text) WHEN 'login'::text THEN 'user.login'::text WHEN 'logout'::text THEN 'user.logout'::text WHEN 'invite_accepted'::text THEN 'user.invite_accepted'::text WHEN 'user_signedup'::text THEN 'user.signed_up'::text WHEN 'user_invited'::text THEN 'user.invited'::text WHEN 'user_deleted'::text THEN 'user.deleted'::text WHEN 'user_modified'::text THEN 'user.updated'::text WHEN 'user_recovery_requested'::text THEN 'user.password_reset_requested'::text WHEN 'user_reauthenticate_requested'::text THEN 'user.reauthentication_requested'::text WHEN 'user_confirmation_requested'::text THEN 'user.confirmation_requested'::text WHEN 'user_repeated_signup'::text THEN 'user.signup_repeated'::text WHEN 'user_updated_password'::text THEN 'user.password_changed'::text WHEN 'token_refreshed'::text THEN 'user.token_refreshed'::text WHEN 'token_revoked'::text THEN NULL::text WHEN 'generate_recovery_codes'::text THEN 'user.recovery_codes_generated'::text WHEN 'recovery_codes_deleted'::text THEN 'user.recovery_codes_deleted'::text WHEN 'factor_in_progress'::text THEN 'user.mfa_enrolled'::text WHEN 'factor_unenrolled'::text THEN CASE (payload #>> '{traits,factor_status}'::text[]) WHEN 'unverified'::text THEN 'user.mfa_enrollment_removed'::text ELSE 'user.mfa_disabled'::text END WHEN 'factor_deleted'::text THEN 'user.mfa_disabled'::text WHEN 'factor_updated'::text THEN 'user.mfa_changed'::text WHEN 'challenge_created'::text THEN 'user.mfa_challenged'::text WHEN 'verification_attempted'::text THEN 'user.mfa_verified'::text WHEN 'mfa_code_login'::text THEN 'user.mfa_verified'::text WHEN 'identity_linked'::text THEN 'user.identity_linked'::text WHEN 'identity_unlinked'::text THEN 'user.identity_unlinked'::text WHEN 'passkey_created'::text THEN 'user.passkey_added'::text WHEN 'passkey_updated'::text THEN 'user.passkey_changed'::text WHEN 'passkey_deleted'::text THEN 'user.passkey_removed'::text ELSE ('auth.'::text || NULLIF("left"(TRIM(BOTH '_'::text FROM regexp_replace(lower((payload ->> 'action'::text)), '[^a-z0-9]+'::text, '_'::text, 'g'::text)), 80), ''::text)) END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Our name for the action in a payload of auth.audit_log_entries (or of auth_event in Auth's log); null for what is no event of its own.

-- function audit.auth_audit_event(jsonb,timestamp with time zone,text,text,text,text)
CREATE OR REPLACE FUNCTION audit.auth_audit_event(payload jsonb, happened_at timestamp with time zone, ip_address text DEFAULT NULL::text, user_agent text DEFAULT NULL::text, request_id text DEFAULT NULL::text, source text DEFAULT 'audit_table'::text)
 RETURNS audit.auth_event
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO ''
AS $function$
declare
  v_action text := audit.auth_audit_action(payload);
  v_traits jsonb := payload -> 'traits';
  -- The admin API acts as the nil UUID, on whom the traits name.
  v_by_admin boolean := coalesce(payload ->> 'actor_id' = '00000000-0000-0000-0000-000000000000', false);
  v_named text := case when v_by_admin then v_traits ->> 'user_email' else payload ->> 'actor_username' end;
begin
  if v_action is null then
    return null;
  end if;
  return row(
    auth_audit_event.source, v_action, case v_action when 'user.signup_repeated' then 'failure' else 'success' end, auth_audit_event.happened_at,
    audit.as_uuid(case when v_by_admin then v_traits ->> 'user_id' else payload ->> 'actor_id' end),
    case when v_named like '%@%' then v_named end, auth_audit_event.ip_address, auth_audit_event.user_agent, null, auth_audit_event.request_id,
    jsonb_strip_nulls(jsonb_build_object(
      'actor', case when v_by_admin then '{"type": "service", "id": null}'::jsonb end,
      'provider', v_traits -> 'provider', 'provider_type', v_traits -> 'provider_type', 'channel', v_traits -> 'channel',
      'factor_id', v_traits -> 'factor_id', 'factor_type', v_traits -> 'factor_type', 'passkey_id', v_traits -> 'passkey_id',
      'identity_id', v_traits -> 'identity_id'
    ))
  )::audit.auth_event;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The event in a payload of auth.audit_log_entries, or in the same of Auth's log; null for what is no event of its own.

-- function audit.auth_bit(text)
CREATE OR REPLACE FUNCTION audit.auth_bit(source text)
 RETURNS smallint
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (CASE source WHEN 'trigger'::text THEN 1 WHEN 'hook'::text THEN 2 WHEN 'audit_table'::text THEN 4 WHEN 'log'::text THEN 8 ELSE NULL::integer END)::smallint

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The bit of a teller in audit.auth_sightings.seen; null for a word that names none.

-- function audit.auth_cases(audit.auth_event[])
CREATE OR REPLACE FUNCTION audit.auth_cases(events audit.auth_event[])
 RETURNS audit.auth_case[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_accounts record;
begin
  v_accounts := audit.auth_accounts(
    array(select e.user_id from unnest(auth_cases.events) e),
    array(select left(nullif(lower(btrim(e.email)), ''), 320) from unnest(auth_cases.events) e)
  );
  return (
    with told as (
      select e.n::int as n, e.source, coalesce(e.outcome, 'success') as outcome, coalesce(e.happened_at, clock_timestamp()) as happened_at,
        e.action, e.account as user_id, e.account_email as email, e.account_created_at,
        audit.normalized_ip(e.ip_address) as ip_address, audit.masked_text(left(nullif(e.user_agent, ''), 500)) as user_agent,
        e.session_id, audit.masked_text(left(nullif(e.request_id, ''), 200)) as request_id, coalesce(e.details, '{}') as details
      -- Side by side, not joined: a join of arrays whose length nobody estimates is quadratic.
      from unnest(auth_cases.events, v_accounts.user_ids, v_accounts.emails, v_accounts.created_at) with ordinality e (
        source, action, outcome, happened_at, user_id, email, ip_address, user_agent, session_id, request_id, details,
        account, account_email, account_created_at, n
      )
    ),
    known as (
      select t.n, t.source, t.outcome, t.happened_at, t.user_id, t.email, t.ip_address, t.user_agent, t.session_id, t.request_id,
        t.details,
        -- Where addresses are confirmed, Auth calls it a sign-up when the account, which is older, is confirmed.
        case
          when t.action = 'user.signed_up' and t.source <> 'trigger' and t.account_created_at < t.happened_at - interval '10 seconds'
            then 'user.confirmed'
          else t.action
        end as action
      from told t
    ),
    named as (
      select k.*,
        case
          when k.action = 'user.updated' then null
          when k.user_id is not null then audit.auth_kind(k.action) || ' user ' || k.user_id
          when k.email is not null then audit.auth_kind(k.action) || ' email ' || k.email
        end as subject,
        case
          when audit.is_account_change(k.action) then 'account ' || k.user_id
          when k.ip_address is not null then audit.auth_kind(k.action) || ' ip ' || k.ip_address
        end as place,
        case
          when k.source = 'log' and k.request_id is not null then concat_ws(' ', k.request_id, floor(extract(epoch from k.happened_at)))
          else concat_ws(' ', k.user_id, k.email, k.ip_address, k.session_id, k.outcome, extract(epoch from k.happened_at), k.details)
        end as name
      from known k
    )
    select array_agg(
      row(
        c.n,
        row(
          c.source, c.action, c.outcome, c.happened_at, c.user_id, c.email, c.ip_address, c.user_agent, c.session_id,
          c.request_id, c.details
        )::audit.auth_event,
        coalesce(
          audit.auth_bit(c.source) is not null
            and c.action ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' and length(c.action) <= 100
            and c.outcome in ('success', 'failure', 'denied')
            and jsonb_typeof(c.details) = 'object'
            -- Beyond a day nobody remembers whether it was told before.
            and c.happened_at between clock_timestamp() - interval '1 day' and clock_timestamp() + interval '10 minutes',
          false
        ),
        audit.digest_id(concat_ws(' ', c.source, c.action, c.name)),
        audit.digest_id(c.subject),
        audit.digest_id(c.place),
        audit.auth_bit(c.source)
      )::audit.auth_case
      order by c.n
    )
    from named c
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The events in their usual form, with whose they are, whether they can be taken, and what they are recognised by.

-- function audit.auth_challenge_events(text,jsonb)
CREATE OR REPLACE FUNCTION audit.auth_challenge_events(operation text, change jsonb)
 RETURNS SETOF audit.auth_event
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_row jsonb := coalesce(change -> 'new', change -> 'old');
  v_factor jsonb := audit.auth_lookup(
    'select jsonb_build_object(''user_id'', f.user_id, ''factor_type'', f.factor_type) from auth.mfa_factors f where f.id = $1',
    audit.as_uuid(v_row ->> 'factor_id')
  );
  v_account jsonb := jsonb_build_object('id', v_factor ->> 'user_id');
  v_session jsonb := jsonb_build_object('ip', v_row ->> 'ip_address');
  v_details jsonb := jsonb_build_object('factor_id', v_row -> 'factor_id', 'factor_type', v_factor -> 'factor_type');
begin
  if v_factor is null then
    return; -- it went with its factor
  elsif operation = 'INSERT' then
    return next audit.auth_told('user.mfa_challenged', v_account, v_details, session => v_session);
  elsif operation = 'DELETE' and v_row ->> 'verified_at' is null and v_factor ->> 'factor_type' <> 'webauthn'
    and (v_row ->> 'created_at')::timestamptz > clock_timestamp() - interval '1 day'
  then
    -- Auth deletes a challenge when somebody answers it too late, and after a day.
    return next audit.auth_told('user.mfa_failed', v_account, v_details || '{"reason": "challenge expired"}', session => v_session, outcome => 'failure');
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The events that a changed row of auth.mfa_challenges shows.

-- function audit.auth_change(jsonb,jsonb)
CREATE OR REPLACE FUNCTION audit.auth_change(old_row jsonb, new_row jsonb)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_strip_nulls(jsonb_build_object(
    'old', (select jsonb_object_agg(c.key, c.value) from jsonb_each(old_row) c where c.key = any (audit.auth_columns())),
    'new', (select jsonb_object_agg(c.key, c.value) from jsonb_each(new_row) c where c.key = any (audit.auth_columns())),
    'changed', (
      select jsonb_agg(n.key order by n.key)
      from jsonb_each(new_row) n
      where n.value is distinct from old_row -> n.key
        and old_row is not null and n.key not in ('updated_at', 'last_sign_in_at')
    )
  ))
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What may be known of a changed row of Auth: {"old", "new"} without secrets, and "changed", the names of columns.

-- function audit.auth_columns()
CREATE OR REPLACE FUNCTION audit.auth_columns()
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '{id,user_id,email,phone,role,is_super_admin,raw_app_meta_data,created_at,invited_at,email_confirmed_at,phone_confirmed_at,recovery_sent_at,reauthentication_sent_at,email_change_sent_at,banned_until,deleted_at,is_sso_user,is_anonymous,refreshed_at,not_after,aal,ip,user_agent,tag,oauth_client_id,factor_id,factor_type,status,ip_address,verified_at,provider,payload}'::text[]

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The columns of Auth's tables whose values are read. Of all others it is only seen whether they changed.

-- function audit.auth_details(uuid,audit.auth_event)
CREATE OR REPLACE FUNCTION audit.auth_details(organization_id uuid, event audit.auth_event)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_details jsonb := event.details - '{actor,resource,personal}'::text[] || jsonb_strip_nulls(jsonb_build_object(
    'source', event.source,
    'session_id', event.session_id,
    'happened_at', case
      when abs(extract(epoch from clock_timestamp() - event.happened_at)) > 5
        then to_char(event.happened_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')
    end
  ));
begin
  if jsonb_typeof(event.details -> 'personal') = 'object' then
    v_details := v_details || coalesce((
      select jsonb_build_object('changes', jsonb_object_agg(p.column_name, (
        select jsonb_object_agg(s.side, audit.commit_personal(
          auth_details.organization_id, event.user_id, 'user', event.user_id::text, p.column_name, s.value
        ))
        from jsonb_each_text(p.sides) s (side, value)
      )))
      from jsonb_each(event.details -> 'personal') p (column_name, sides)
      where jsonb_typeof(p.sides) = 'object' and p.sides <> '{}'
      having count(*) > 0
    ), '{}');
  end if;
  return v_details;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The details of an event's entry: who told, which session, when it happened where that is more than five seconds ago.

-- function audit.auth_factor_events(text,jsonb)
CREATE OR REPLACE FUNCTION audit.auth_factor_events(operation text, change jsonb)
 RETURNS SETOF audit.auth_event
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_old jsonb := change -> 'old';
  v_new jsonb := change -> 'new';
  v_account jsonb := jsonb_build_object('id', coalesce(v_new, v_old) ->> 'user_id');
  v_details jsonb := jsonb_build_object('factor_id', coalesce(v_new, v_old) -> 'id', 'factor_type', coalesce(v_new, v_old) -> 'factor_type');
begin
  if operation = 'INSERT' then
    return next audit.auth_told('user.mfa_enrolled', v_account, v_details);
  end if;
  if operation in ('INSERT', 'UPDATE') and v_new ->> 'status' = 'verified' and v_old ->> 'status' is distinct from 'verified' then
    return next audit.auth_told('user.mfa_enabled', v_account, v_details);
  elsif operation = 'DELETE' and audit.has_account(audit.as_uuid(v_account ->> 'id')) or operation = 'UPDATE' and v_old ->> 'status' = 'verified' and v_new ->> 'status' <> 'verified' then
    return next audit.auth_told(
      case v_old ->> 'status' when 'verified' then 'user.mfa_disabled' else 'user.mfa_enrollment_removed' end, v_account, v_details
    );
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The events that a changed row of auth.mfa_factors shows.

-- function audit.auth_identity_events(text,jsonb)
CREATE OR REPLACE FUNCTION audit.auth_identity_events(operation text, change jsonb)
 RETURNS SETOF audit.auth_event
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_user uuid := audit.as_uuid(coalesce(change -> 'new', change -> 'old') ->> 'user_id');
  v_account jsonb := audit.auth_lookup('select jsonb_build_object(''id'', u.id, ''created_at'', u.created_at) from auth.users u where u.id = $1', v_user);
begin
  -- The first comes with the account, and all go with it.
  if v_account is null or operation = 'INSERT' and (v_account ->> 'created_at')::timestamptz > clock_timestamp() - interval '10 seconds' then
    return;
  end if;
  return next audit.auth_told(
    case operation when 'INSERT' then 'user.identity_linked' else 'user.identity_unlinked' end, jsonb_build_object('id', v_user),
    jsonb_build_object('provider', coalesce(change -> 'new', change -> 'old') -> 'provider')
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The events that a changed row of auth.identities shows.

-- function audit.auth_kind(text)
CREATE OR REPLACE FUNCTION audit.auth_kind(action text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (action = ANY (ARRAY['user.logout'::text, 'user.session_revoked'::text, 'user.session_expired'::text])) THEN 'session ended'::text WHEN (action = ANY (ARRAY['user.mfa_disabled'::text, 'user.mfa_enrollment_removed'::text])) THEN 'factor removed'::text ELSE action END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The kind of an action: the same for names that different tellers have for one event.

-- function audit.auth_lookup(text,uuid)
CREATE OR REPLACE FUNCTION audit.auth_lookup(query text, id uuid)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_found jsonb;
begin
  execute auth_lookup.query into v_found using auth_lookup.id;
  return v_found;
exception when others then
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The answer to a query on Auth's tables about an id ($1); null where the table is another than expected.

-- function audit.auth_paths()
CREATE OR REPLACE FUNCTION audit.auth_paths()
 RETURNS TABLE(path text, captures text, state text, way_out text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_logins jsonb := audit.auth_lookup('select to_jsonb(max(s.created_at)) from auth.sessions s where $1 is null', null);
  v_written jsonb := audit.auth_lookup('select to_jsonb(max(a.created_at)) from auth.audit_log_entries a where $1 is null', null);
  v_heard smallint := (select coalesce(bit_or(s.seen), 0) from audit.auth_sightings s where s.seen is not null);
  v_oldest timestamptz := (select min(w.received_at) from audit.waiting_auth_events w);
begin
  return query
    select 'trigger', t.captures,
      case
        when to_regclass('auth.' || t.name) is null then 'no table auth.' || t.name
        else coalesce((
          select string_agg(m.trigger_name || ' is ' || m.state, ', ' order by m.trigger_name)
          from audit.missing_auth_triggers() m
          where m.table_name = t.name
        ), 'captured')
      end,
      case
        when to_regclass('auth.' || t.name) is null then 'this version of Auth has none: nothing to capture'
        when exists (select from audit.missing_auth_triggers() m where m.table_name = t.name) then 'select audit.track_auth()'
      end
    from (values
      ('users', 'sign-ups, passwords, addresses, bans, deletions, roles in app metadata, requests to reset a password'),
      ('sessions', 'logins with address and user agent, logouts, sessions that expired or were revoked, second factors used'),
      ('mfa_factors', 'second factors enrolled, enabled and removed'),
      ('mfa_challenges', 'second factors asked for, or answered too late'),
      ('identities', 'other ways to sign in, linked and unlinked'),
      ('audit_log_entries', 'invites accepted, refreshed tokens, passkeys, sign-ups repeated')
    ) t (name, captures)
    union all
    select 'audit_table', 'what Auth itself records in auth.audit_log_entries',
      case
        when v_written is null then 'not written'
        when v_logins > v_written and (v_logins #>> '{}')::timestamptz - (v_written #>> '{}')::timestamptz > interval '10 minutes' then 'not written lately'
        else 'written'
      end,
      'optional: have Auth write its audit log to the database (Authentication, Audit Logs)'
    union all
    select 'hook', h.captures, case when v_heard & 2 > 0 then 'heard from today' else 'not heard from today' end, h.way_out
    from (values
      ('wrong passwords', 'Team and Enterprise: set the hook password_verification_attempt to audit.hook_password_verification_attempt; else the log'),
      ('wrong codes of a second factor', 'Team and Enterprise: set the hook mfa_verification_attempt to audit.hook_mfa_verification_attempt; else the log')
    ) h (captures, way_out)
    union all
    select 'log', 'failed logins of unknown addresses, requests to the API, denied requests',
      case when v_heard & 8 > 0 then 'heard from today' else 'not heard from today' end,
      'send a log drain to audit-ingest, or let audit-jobs collect the project''s logs'
    union all
    select 'waiting', 'events that could not be written at once',
      case when v_oldest < clock_timestamp() - interval '1 minute' then 'waiting since ' || v_oldest else 'none' end,
      'select audit.settle_waiting_auth(); then see audit.findings';
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Behind audit.auth_coverage.

-- function audit.auth_permissions(jsonb)
CREATE OR REPLACE FUNCTION audit.auth_permissions(account jsonb)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  select coalesce(array_agg(p.permission order by p.permission), '{}')
  from (
    select m.key || case jsonb_typeof(m.value) when 'boolean' then '' else ':' || left(v.value, 200) end as permission
    from jsonb_each(case when jsonb_typeof(account -> 'raw_app_meta_data') = 'object' then account -> 'raw_app_meta_data' else '{}' end) m
    cross join lateral jsonb_array_elements_text(case when jsonb_typeof(m.value) = 'array' then m.value else jsonb_build_array(m.value) end) v
    where m.key ~* '(^|_)(roles?|permissions?|scopes?|groups?|admin)$' and v.value is not null and m.value <> 'false'
    union
    select 'database_role:' || (account ->> 'role') where account ->> 'role' not in ('authenticated', '')
    union
    select 'super_admin' where account ->> 'is_super_admin' = 'true'
  ) p
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What an account may do by itself: the roles, permissions, scopes and groups in its app metadata, its database role.

-- function audit.auth_session_events(text,jsonb[])
CREATE OR REPLACE FUNCTION audit.auth_session_events(operation text, changes jsonb[])
 RETURNS SETOF audit.auth_event
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_change jsonb;
  v_ended record;
  v_users int;
  v_remaining jsonb;
  v_reason text;
  v_expired boolean;
begin
  if operation in ('INSERT', 'UPDATE') then
    foreach v_change in array changes loop
      if operation = 'INSERT' then
        return next audit.auth_told(
          'user.login', jsonb_build_object('id', v_change #>> '{new,user_id}'),
          jsonb_build_object('aal', v_change #> '{new,aal}', 'tag', v_change #> '{new,tag}', 'oauth_client_id', v_change #> '{new,oauth_client_id}'),
          session => v_change -> 'new'
        );
      elsif coalesce(v_change #>> '{new,aal}', '') > coalesce(v_change #>> '{old,aal}', '') and v_change -> 'changed' ? 'aal' then
        perform set_config('audit.auth_reason', concat_ws(' ', v_change #>> '{new,user_id}', 'mfa_verified'), true);
        return next audit.auth_told(
          'user.mfa_verified', jsonb_build_object('id', v_change #>> '{new,user_id}'),
          jsonb_build_object('aal', v_change #> '{new,aal}', 'factor_id', v_change #> '{new,factor_id}'),
          session => v_change -> 'new'
        );
      end if;
    end loop;
    return;
  end if;

  select count(distinct c #>> '{old,user_id}') into v_users from unnest(changes) c;
  for v_ended in
    select c #>> '{old,user_id}' as user_id, count(*) as sessions, (array_agg(c -> 'old'))[1] as first,
      (array_agg(c #>> '{old,id}'))[1:50] as ids,
      bool_and(coalesce((c #>> '{old,not_after}')::timestamptz < clock_timestamp(), false)) as is_over,
      -- Auth lets go of what timed out a day later; without a token of the last day nobody signs out by himself.
      bool_and(greatest((c #>> '{old,refreshed_at}')::timestamp at time zone 'utc', (c #>> '{old,created_at}')::timestamptz) < clock_timestamp() - interval '1 day') as is_idle
    from unnest(changes) c
    group by 1
  loop
    continue when not audit.has_account(audit.as_uuid(v_ended.user_id));
    v_remaining := audit.auth_lookup('select to_jsonb(count(*)) from auth.sessions where user_id = $1', audit.as_uuid(v_ended.user_id));
    v_expired := v_ended.is_over or v_ended.is_idle and (v_users > 1 or v_remaining = '0');
    v_reason := case
      when session_user <> 'supabase_auth_admin' then 'database'
      when split_part(current_setting('audit.auth_reason', true), ' ', 1) = v_ended.user_id
        then split_part(current_setting('audit.auth_reason', true), ' ', 2)
    end;
    return next audit.auth_told(
      case when v_expired then 'user.session_expired' when v_reason is not null then 'user.session_revoked' else 'user.logout' end,
      jsonb_build_object('id', v_ended.user_id),
      jsonb_build_object(
        'sessions', v_ended.sessions,
        'remaining', v_remaining,
        'session_ids', case when v_ended.sessions > 1 then to_jsonb(v_ended.ids) end,
        'reason', case when not v_expired then v_reason end,
        -- One session that ends beside others may have signed out itself, or the other.
        'scope', case
          when v_expired or v_reason is not null or v_ended.sessions = 1 then null
          when v_remaining = '0' then 'global'
          else 'others'
        end
      ),
      session => case when v_ended.sessions = 1 then v_ended.first end
    );
  end loop;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The events that changed rows of auth.sessions show; those that one statement ended for one user are one event.

-- function audit.auth_told(text,jsonb,jsonb,boolean,jsonb,text)
CREATE OR REPLACE FUNCTION audit.auth_told(action text, account jsonb, details jsonb DEFAULT '{}'::jsonb, by_admin boolean DEFAULT false, session jsonb DEFAULT NULL::jsonb, outcome text DEFAULT 'success'::text)
 RETURNS audit.auth_event
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_context audit.statement_context;
  v_actor jsonb;
begin
  -- Auth does not tell its tables who asked: the account's owner, or its admin API where nobody else can do such a thing.
  if session_user <> 'supabase_auth_admin' then
    v_context := audit.context();
    v_actor := jsonb_build_object('actor', jsonb_build_object('type', v_context.actor_type, 'id', v_context.created_by), 'database_role', audit.caller());
  elsif by_admin then
    v_actor := '{"actor": {"type": "service", "id": null}}';
  end if;
  return row(
    'trigger', auth_told.action, auth_told.outcome, clock_timestamp(), audit.as_uuid(account ->> 'id'), account ->> 'email', session ->> 'ip',
    session ->> 'user_agent', audit.as_uuid(session ->> 'id'), null, jsonb_strip_nulls(details) || coalesce(v_actor, '{}')
  )::audit.auth_event;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: An event that a trigger saw: of whose account, in which session; by whoever it was as far as it shows.

-- function audit.auth_triggers()
CREATE OR REPLACE FUNCTION audit.auth_triggers()
 RETURNS TABLE(table_name text, trigger_name text, definition text)
 LANGUAGE sql
 IMMUTABLE ROWS 20
 SET search_path TO ''
AS $function$
  select t.name, e.trigger_name, e.definition
  from (values ('users'), ('sessions'), ('mfa_factors'), ('mfa_challenges'), ('identities'), ('audit_log_entries')) t (name)
  cross join (values
    ('audit_insert', 'after insert on auth.%I referencing new table as new_rows for each statement'),
    ('audit_update', 'after update on auth.%I referencing old table as old_rows new table as new_rows for each statement'),
    ('audit_delete', 'after delete on auth.%I referencing old table as old_rows for each statement'),
    ('Audit_delete', 'after delete on auth.%I for each row'),
    ('audit_truncate', 'before truncate on auth.%I for each statement')
  ) e (trigger_name, definition)
  where case e.trigger_name
    when 'audit_insert' then true
    when 'audit_truncate' then true
    when 'audit_update' then t.name in ('users', 'sessions', 'mfa_factors')
    when 'Audit_delete' then t.name = 'users'
    else t.name not in ('users', 'audit_log_entries')
  end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The triggers that Auth's tables carry.

-- function audit.auth_user_events(text,jsonb)
CREATE OR REPLACE FUNCTION audit.auth_user_events(operation text, change jsonb)
 RETURNS SETOF audit.auth_event
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_old jsonb := change -> 'old';
  v_new jsonb := change -> 'new';
  v_changed jsonb := coalesce(change -> 'changed', '[]');
  v_had text[] := audit.auth_permissions(v_old);
  v_has text[] := audit.auth_permissions(v_new);
  v_now timestamptz := clock_timestamp();
  v_is_new boolean := (v_new ->> 'created_at')::timestamptz > v_now - interval '10 seconds';
  v_event_count int := 0;
begin
  if operation = 'INSERT' then
    return next audit.auth_told('user.signed_up', v_new, jsonb_build_object(
      'provider', v_new #> '{raw_app_meta_data,provider}',
      'anonymous', nullif(v_new -> 'is_anonymous', 'false'),
      'sso', nullif(v_new -> 'is_sso_user', 'false')
    ));
  elsif operation = 'DELETE' then
    return next audit.auth_told('user.deleted', v_old, jsonb_build_object(
      'personal', jsonb_strip_nulls(jsonb_build_object('email', jsonb_build_object('old', v_old ->> 'email')))
    ), true);
    return;
  end if;

  if v_changed = '[]' and operation = 'UPDATE' then
    return; -- a login's own mark
  end if;
  if operation = 'UPDATE' and v_new ->> 'deleted_at' is not null and v_old ->> 'deleted_at' is null then
    -- Its addresses are made unreadable in the same statement: no changes of their own.
    return next audit.auth_told('user.deleted', v_old, jsonb_build_object(
      'soft', true, 'personal', jsonb_strip_nulls(jsonb_build_object('email', jsonb_build_object('old', v_old ->> 'email')))
    ), true);
    return;
  end if;

  if v_changed ? 'encrypted_password' then
    perform set_config('audit.auth_reason', concat_ws(' ', v_new ->> 'id', 'password_changed'), true);
    return next audit.auth_told('user.password_changed', v_new, '{"by": "user or admin"}');
  end if;
  if v_changed ? 'email' then
    return next audit.auth_told('user.email_changed', v_new, jsonb_build_object(
      'by', 'user or admin',
      'personal', jsonb_build_object('email', jsonb_build_object('old', v_old ->> 'email', 'new', v_new ->> 'email'))
    ));
  end if;
  if v_changed ? 'phone' then
    return next audit.auth_told('user.phone_changed', v_new, jsonb_build_object(
      'by', 'user or admin',
      'personal', jsonb_build_object('phone', jsonb_build_object('old', v_old ->> 'phone', 'new', v_new ->> 'phone'))
    ));
  end if;
  if v_changed ? 'banned_until' then
    if (v_new ->> 'banned_until')::timestamptz > v_now then
      return next audit.auth_told('user.banned', v_new, jsonb_build_object('until', v_new -> 'banned_until'), true);
    elsif (v_old ->> 'banned_until')::timestamptz > v_now then
      return next audit.auth_told('user.unbanned', v_new, '{}', true);
    end if;
  end if;
  if v_changed ? 'invited_at' and v_new ->> 'invited_at' is not null then
    return next audit.auth_told('user.invited', v_new, '{}', true);
  end if;
  if not v_is_new and (v_changed ? 'email_confirmed_at' and v_old ->> 'email_confirmed_at' is null
    or v_changed ? 'phone_confirmed_at' and v_old ->> 'phone_confirmed_at' is null)
  then
    return next audit.auth_told('user.confirmed', v_new);
  end if;
  if v_changed ? 'recovery_sent_at' and v_new ->> 'recovery_sent_at' is not null then
    return next audit.auth_told('user.password_reset_requested', v_new);
  end if;
  if v_changed ? 'reauthentication_sent_at' and v_new ->> 'reauthentication_sent_at' is not null then
    return next audit.auth_told('user.reauthentication_requested', v_new);
  end if;
  if v_changed ? 'email_change_sent_at' and v_new ->> 'email_change_sent_at' is not null then
    return next audit.auth_told('user.email_change_requested', v_new);
  end if;

  if not v_has <@ v_had then
    return next audit.auth_told('permission.granted', v_new, jsonb_build_object(
      'permissions', array(select unnest(v_has) except select unnest(v_had) order by 1),
      'changes', jsonb_build_object('permissions', jsonb_build_object('old', v_had, 'new', v_has))
    ), true);
  end if;
  if not v_had <@ v_has then
    return next audit.auth_told('permission.revoked', v_new, jsonb_build_object(
      'permissions', array(select unnest(v_had) except select unnest(v_has) order by 1),
      'changes', jsonb_build_object('permissions', jsonb_build_object('old', v_had, 'new', v_has))
    ), true);
  end if;
  if operation = 'UPDATE' and not v_is_new and v_had = v_has and v_changed ?| '{raw_user_meta_data,raw_app_meta_data}'
    and not v_changed ?| '{encrypted_password,email,phone,banned_until,email_confirmed_at,phone_confirmed_at}'
  then
    return next audit.auth_told('user.updated', v_new, jsonb_build_object('columns', v_changed));
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The events that a changed row of auth.users shows.

-- function audit.await_purge()
CREATE OR REPLACE FUNCTION audit.await_purge()
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  select pg_advisory_xact_lock(hashtext('audit.purge'))
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
comment: Waits for the batch of a purge that runs, and keeps the next from beginning until this transaction is over.

-- function audit.backup_sections()
CREATE OR REPLACE FUNCTION audit.backup_sections()
 RETURNS TABLE(section text, query text)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  values
    ('backup', $q$ select jsonb_build_object(
      'format', 'supabase-audit-logs backup v1', 'made_at', now(), 'incarnation', audit.incarnation(),
      'entries_left_out', (
        select coalesce(sum(u.to_seq - u.from_seq + 1), 0) - (select count(*) from audit.unpublished_entries())
        from audit.unpublished_chains() u
      )
    ) $q$),
    ('restores', 'select to_jsonb(r) - ''transaction_id'' from audit.restores r where r.ended_at is not null'),
    ('settings', 'select to_jsonb(s) from audit.settings s'),
    ('membership', $q$ select jsonb_build_object('source', p.prosrc) from pg_catalog.pg_proc p where p.oid = 'audit.memberships(uuid)'::regprocedure $q$),
    ('tracked_tables', $q$ select jsonb_build_object('table_name', audit.qualified_name(t.table_name), 'options', t.options) from audit.tracked_tables t $q$),
    ('auditors', 'select to_jsonb(a) from audit.auditors a'),
    ('retention_periods', 'select to_jsonb(p) from audit.retention_periods p'),
    ('holds', 'select to_jsonb(h) from audit.holds h'),
    ('chain_bounds', 'select to_jsonb(b) from audit.chain_bounds b'),
    ('purges', 'select to_jsonb(p) from audit.purges p'),
    ('heads', 'select to_jsonb(h) from audit.heads h'),
    ('logs', $q$ select to_jsonb(l) - array['id', 'lease', 'lease_until'] from audit.logs l $q$),
    ('checkpoints', $q$
      select jsonb_build_object(
        'origin', l.origin, 'size', c.size, 'root', encode(c.root, 'hex'), 'frontier', encode(c.frontier, 'hex'), 'note', c.note,
        'recorded_at', c.recorded_at, 'signed_at', c.signed_at, 'published_at', c.published_at, 'cosigned_at', s.cosigned_at
      )
      from audit.logs l
      cross join lateral (
        select c.* from audit.checkpoints c
        where c.log = l.id and c.size in (
          (select max(n.size) from audit.checkpoints n where n.log = l.id and n.note is not null),
          (select max(w.size) from audit.cosigned_checkpoints w where w.log = l.id)
        )
      ) c
      left join audit.cosigned_checkpoints s on s.log = c.log and s.size = c.size
    $q$),
    ('receivers', $q$ select to_jsonb(r) - array['id', 'lease', 'lease_until'] from audit.receivers r $q$),
    ('receiver_logs', $q$
      select to_jsonb(d) - array['receiver', 'log'] || jsonb_build_object('kind', r.kind, 'name', r.name, 'origin', l.origin)
      from audit.receiver_logs d
      join audit.receivers r on r.id = d.receiver
      join audit.logs l on l.id = d.log
    $q$),
    ('findings', 'select to_jsonb(f) - ''id'' from audit.findings f'),
    ('backups', 'select to_jsonb(b) from audit.backups b'),
    -- One that was under way goes on; its transactions are over with the database that they were in.
    ('erasures', 'select to_jsonb(e) - array[''deleted_in'', ''awaited''] from audit.erasures e'),
    ('report_schedules', 'select to_jsonb(s) from audit.report_schedules s'),
    ('reports', 'select to_jsonb(r) - ''lease_until'' from audit.reports r'),
    -- Not their SQL: it is made anew, so that no backup can bring any.
    ('rules', 'select to_jsonb(r) - ''compiled'' from audit.rules r where not audit.is_built_in(r.id)'),
    ('rule_choices', 'select to_jsonb(c) from audit.rule_choices c'),
    ('rule_tests', 'select to_jsonb(t) from audit.rule_tests t where not audit.is_built_in(t.rule_id)'),
    ('alerts', 'select to_jsonb(a) from audit.alerts a'),
    ('rule_runs', 'select to_jsonb(u) from audit.rule_runs u'),
    ('rule_values', 'select to_jsonb(v) from audit.rule_values v'),
    ('active_hours', 'select to_jsonb(a) from audit.active_hours a'),
    ('budgets_known', 'select to_jsonb(b) from audit.budgets_known b'),
    ('spending', 'select to_jsonb(s) from audit.spending s'),
    ('budget_crossings', 'select to_jsonb(c) from audit.budget_crossings c'),
    ('identities', 'select to_jsonb(i) from audit.identities i'),
    ('personal_values', 'select to_jsonb(v) from audit.personal_values v'),
    ('entries', 'select jsonb_build_object(''text'', e) from audit.unpublished_entries() e')
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What a backup holds: sections in their order, and the query for the rows of each, one JSON object a row.

-- function audit.beat(uuid)
CREATE OR REPLACE FUNCTION audit.beat(organization_id uuid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if exists (
    select from audit.heads h
    where h.organization_id = beat.organization_id and h.chain = audit.log_chain()
      and h.last_at <= clock_timestamp() - interval '1 hour'
  ) then
    perform audit.append_to_log_chain(
      beat.organization_id, 'log.heartbeat', null, jsonb_build_object(
        'heads', audit.chain_heads(beat.organization_id), 'incarnation', audit.incarnation(),
        'uncaptured', (select count(distinct c.table_name) from audit.coverage c where not c.healthy)
      )
    );
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Appends the hourly log.heartbeat where it is due: that nothing else happened, where the chains stand, how often the log was
restored from a backup, and how many tables are not captured whole.

-- function audit.begin_archive_deletion(integer)
CREATE OR REPLACE FUNCTION audit.begin_archive_deletion(log integer)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  perform audit.await_purge();
  update audit.logs l set archive_deletion_began_at = coalesce(l.archive_deletion_began_at, clock_timestamp())
  where l.id = begin_archive_deletion.log and l.id in (select e.log from audit.expired_logs() e);
  if not found then
    return false;
  end if;
  -- A second archive that has not caught up would wait for files that are going.
  delete from audit.receiver_logs d using audit.receivers r
  where r.id = d.receiver and r.kind = 'mirror' and d.log = begin_archive_deletion.log;
  return true;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Whether files of a log's archive may be removed now, which is noted. Asked before every batch: a hold stops it.

-- function audit.begin_restore()
CREATE OR REPLACE FUNCTION audit.begin_restore()
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_installed jsonb;
begin
  -- Nobody writes from here on, until all is there or nothing.
  lock table public.audit_logs in share row exclusive mode;
  if exists (select from audit.logs)
    or exists (
      select from public.audit_logs a
      where not (
        a.organization_id = audit.system_organization() and a.resource_type = 'table'
        and a.action in ('capture.tracked', 'capture.changed', 'capture.untracked')
      )
    )
  then
    perform audit.fail('AURST', 'The log of this database is not empty.', null,
      'A log is restored into a database where the product was just installed, before anything writes or seals.');
  end if;
  with gone as (
    delete from public.audit_logs a returning a.created_at, a.chain, a.seq, a.action, a.resource_type, a.resource_id, a.details
  )
  select jsonb_agg(to_jsonb(g) order by g.created_at, g.chain, g.seq) into v_installed from gone g;
  insert into audit.restores (incarnation, transaction_id, installed) values (0, pg_current_xact_id(), v_installed);
end
$function$

owner audit_purger
grant postgres: EXECUTE
comment: Begins a restore, which lasts as long as the transaction: only in an empty log, and nobody else writes meanwhile.

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
grant audit_purger: EXECUTE
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

-- function audit.capture_auth(text,text,jsonb[])
CREATE OR REPLACE FUNCTION audit.capture_auth(table_name text, operation text, changes jsonb[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_change jsonb;
  v_events audit.auth_event[] := '{}';
begin
  if operation = 'TRUNCATE' then
    v_events := array[row(
      'trigger', 'auth.truncated', 'success', clock_timestamp(), null, null, null, null, null, null,
      jsonb_build_object('resource', jsonb_build_object('type', 'table', 'id', 'auth.' || table_name), 'actor', '{"type": "database"}'::jsonb, 'database_role', session_user)
    )::audit.auth_event];
  elsif table_name = 'sessions' then
    v_events := array(select e from audit.auth_session_events(operation, changes) e);
  elsif table_name = 'audit_log_entries' then
    -- Auth writes these before what they tell of, and knows less than its tables show: they are settled afterwards.
    insert into audit.waiting_auth_events (event)
    select e.event
    from unnest(changes) c
    cross join lateral (
      select audit.auth_audit_event(
        c #> '{new,payload}', coalesce((c #>> '{new,created_at}')::timestamptz, clock_timestamp()), nullif(c #>> '{new,ip_address}', '')
      ) as event
    ) e
    where (e.event).action is not null;
    return;
  else
    foreach v_change in array changes loop
      v_events := v_events || case table_name
        when 'users' then array(select e from audit.auth_user_events(operation, v_change) e)
        when 'mfa_factors' then array(select e from audit.auth_factor_events(operation, v_change) e)
        when 'mfa_challenges' then array(select e from audit.auth_challenge_events(operation, v_change) e)
        when 'identities' then array(select e from audit.auth_identity_events(operation, v_change) e)
      end;
    end loop;
  end if;
  perform audit.tell_auth(v_events, table_name);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Records what changed rows of one of Auth's tables show.

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

-- function audit.certificate_to_sign()
CREATE OR REPLACE FUNCTION audit.certificate_to_sign()
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_erasure audit.erasures;
begin
  select e.* into v_erasure
  from audit.erasures e
  where e.state = 'done' and e.certificate_note is null and audit.is_sealed(e.organization_id, e.erased_at)
  order by e.requested_at
  limit 1
  for update skip locked;
  if v_erasure.id is null then
    return null;
  end if;
  update audit.erasures e set certificate = coalesce(e.certificate, audit.erasure_manifest(e)::text)
  where e.id = v_erasure.id
  returning e.certificate into v_erasure.certificate;
  return jsonb_build_object('id', v_erasure.id, 'manifest', v_erasure.certificate);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The certificate of an erasure that is done, whose entry is sealed and which is not signed yet; null where there is none.

-- function audit.chain_heads(uuid)
CREATE OR REPLACE FUNCTION audit.chain_heads(organization_id uuid)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  -- What an entry can hold: the 500 chains that were written last.
  select jsonb_agg(jsonb_build_array(h.chain, h.seq, encode(h.hash, 'hex')) order by h.chain)
  from (
    select h.chain, h.seq, h.hash
    from audit.heads h
    where h.organization_id = chain_heads.organization_id and h.chain <> audit.log_chain() and h.seq > 0
    order by h.last_at desc
    limit 500
  ) h
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Chain, position and hash of the last entries of an organisation's chains, for its heartbeat.

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

-- function audit.change_alert(jsonb)
CREATE OR REPLACE FUNCTION audit.change_alert(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_alert audit.alerts;
  v_do text := request ->> 'do';
  v_until timestamptz;
begin
  perform audit.check_request(request, array['id', 'do', 'until', 'note']);
  select a.* into v_alert from audit.alerts a where a.id = audit.as_uuid(request ->> 'id') for update;
  if not found or audit.reach(v_alert.organization_id) is distinct from 'all' then
    perform audit.fail('AUNOT', 'There is no such alert that you may read.');
  end if;
  perform audit.require_admin(v_alert.organization_id);
  if v_do is null or v_do not in ('acknowledge', 'silence', 'resolve', 'reopen') then
    perform audit.fail('AUARG', 'What to do with an alert is acknowledge, silence, resolve or reopen.');
  elsif length(request ->> 'note') > 2000 then
    perform audit.fail('AUARG', 'A note has at most 2,000 characters.');
  elsif (v_do = 'silence') <> (request ? 'until') then
    perform audit.fail('AUARG', 'An alert is silenced until a time.', null, 'Pass until: a timestamp, or a length of time such as 8h.');
  elsif (v_alert.state = 'resolved') <> (v_do = 'reopen') and not (v_do = 'reopen' and v_alert.state = 'silenced') then
    perform audit.fail('AUARG', format('The alert is %s.', v_alert.state), null, 'What is resolved can be reopened, what is open acknowledged, silenced and resolved.');
  end if;

  case v_do
    when 'acknowledge' then
      update audit.alerts a set state = 'acknowledged', silenced_until = null where a.id = v_alert.id;
    when 'silence' then
      v_until := coalesce(clock_timestamp() + audit.duration(request ->> 'until'), case
        when request ->> 'until' ~ '[Tt ].*([Zz]|[+-]\d\d(:?\d\d)?)$' then lower(audit.query_instants(request ->> 'until'))
      end);
      if coalesce(v_until not between clock_timestamp() and clock_timestamp() + interval '366 days', true) then
        perform audit.fail('AUARG', 'until is a timestamp with offset, or a length of time, within the next year.');
      end if;
      update audit.alerts a set state = 'silenced', silenced_until = v_until where a.id = v_alert.id;
    when 'resolve' then
      update audit.alerts a set state = 'resolved', resolved_at = clock_timestamp(), silenced_until = null where a.id = v_alert.id;
    when 'reopen' then
      begin
        update audit.alerts a set state = 'open', resolved_at = null, silenced_until = null, last_seen_at = clock_timestamp() where a.id = v_alert.id;
      exception when unique_violation then
        perform audit.fail('AUARG', 'There is a newer alert of the same rule and group.', null, 'That one is open.');
      end;
  end case;
  perform audit.move_alert(
    v_alert.id, case v_do when 'acknowledge' then 'acknowledged' when 'silence' then 'silenced' when 'resolve' then 'resolved' else 'reopened' end,
    jsonb_strip_nulls(jsonb_build_object('until', audit.instant_text(v_until), 'note', request ->> 'note'))
  );
  return (select audit.alert_json(a) from audit.alerts a where a.id = v_alert.id);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Acknowledges, silences, resolves or reopens an alert: select audit.change_alert('{"id": "…", "do": "silence", "until": "8h"}').
For admins of the organisation; leaves an entry.

-- function audit.change_channel(jsonb)
CREATE OR REPLACE FUNCTION audit.change_channel(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_old audit.channels := audit.own_channel(request);
  v_new audit.channels;
  v_field text := coalesce(audit.channel_secret_field(v_old.kind), '');
  v_given jsonb;
  v_config jsonb;
  v_changes jsonb;
begin
  perform audit.check_channel(request, v_old.kind, array['channel']);
  select coalesce(jsonb_object_agg(e.key, e.value), '{}') into v_given from jsonb_each(request) e where e.key = any (audit.channel_fields(v_old.kind));
  -- What is secret goes on as it is, where it is not given; with another address or host it must be, or a password could be
  -- sent to whom an admin likes without knowing it.
  v_config := (v_old.config - 'host') || v_given;
  if v_old.secret_id is not null and v_field <> '' and not v_given ? v_field then
    if v_given ?| array['host', 'port', 'api', 'username'] then
      perform audit.fail('AUARG', format('With these settings "%s" is to be given anew.', v_field));
    end if;
    v_config := v_config || jsonb_build_object(v_field, audit.kept_secret(v_old.secret_id));
  end if;
  v_config := audit.channel_config(v_old.kind, v_config);
  begin
    update audit.channels c set
      name = coalesce(request ->> 'name', c.name),
      is_default = coalesce((request ->> 'default')::boolean, c.is_default),
      personal = coalesce((request ->> 'personal')::boolean, c.personal),
      config = v_config - v_field,
      secret_id = case when v_given ->> v_field is not null then audit.keep_secret(c.secret_id, v_given ->> v_field) else c.secret_id end
    where c.id = v_old.id
    returning c.* into v_new;
  exception when unique_violation then
    perform audit.fail('AUARG', 'The organisation has a channel of that name.');
  end;
  select jsonb_object_agg(n.key, jsonb_build_object('old', o.value, 'new', n.value)) into v_changes
  from jsonb_each(audit.channel_summary(v_new)) n
  join jsonb_each(audit.channel_summary(v_old)) o on o.key = n.key and o.value <> n.value;
  perform audit.record(v_new.organization_id, 'channel.changed', 'channel', v_new.id::text, jsonb_strip_nulls(jsonb_build_object(
    'changes', v_changes,
    -- Which settings, not what they are.
    'settings', (select jsonb_agg(k order by k) from jsonb_object_keys(v_given) k)
  )));
  return audit.channel_json(v_new, true);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Changes what {channel, …} gives of a channel, by the names of audit.create_channel(). For admins; leaves an entry.

-- function audit.change_rule(jsonb)
CREATE OR REPLACE FUNCTION audit.change_rule(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_old audit.rules := audit.rule_to_change(request ->> 'id');
  v_new audit.rules;
begin
  if request ? 'version' and request -> 'version' <> to_jsonb(v_old.version) then
    perform audit.fail_rule('The rule was changed meanwhile.', format('It is version %s now.', v_old.version));
  elsif request ? 'organization_id' and audit.as_uuid(request ->> 'organization_id') is distinct from v_old.organization_id then
    perform audit.fail_rule('A rule stays with its organisation.');
  elsif audit.is_built_in(v_old.id) then
    perform audit.fail_rule('A default is not changed but tuned.', 'audit.choose_rule() tunes it for an organisation.');
  end if;
  -- What is null is as if it had never been said, where null is no value.
  v_new := audit.checked_rule(
    case when request ? 'kind' and request ->> 'kind' <> v_old.kind
      then audit.rule_json(v_old) - array(select f.field from audit.rule_fields() f where f.field <> 'match')
      else audit.rule_json(v_old)
    end || request
  );
  begin
    update audit.rules r set
      name = v_new.name, description = v_new.description, version = r.version + 1, kind = v_new.kind, severity = v_new.severity,
      enabled = v_new.enabled, match = v_new.match, settings = v_new.settings, quiet_period = v_new.quiet_period,
      channels = v_new.channels, compiled = v_new.compiled, changed_at = clock_timestamp()
    where r.id = v_old.id
    returning r.* into v_new;
  exception when unique_violation then
    perform audit.fail_rule('There is a rule of this name.', 'Choose another, or change that rule.');
  end;
  if (v_old.kind, v_old.match, v_old.settings) is distinct from (v_new.kind, v_new.match, v_new.settings) then
    perform audit.forget_rule(v_new.id);
  end if;
  perform audit.keep_rule_tests(v_new.id, request -> 'tests');
  perform audit.record_rule_change(v_new.organization_id, v_new.id, audit.rule_summary(v_old), audit.rule_summary(v_new));
  return audit.rule_json(v_new);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Changes the fields that are named: select audit.change_rule('{"id": "…", "threshold": 5}'). With "version" only if it is
still that. For admins of the rule's organisation; leaves an entry.

-- function audit.channel_config(text,jsonb)
CREATE OR REPLACE FUNCTION audit.channel_config(kind text, config jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_config jsonb := jsonb_strip_nulls(channel_config.config);
  v_is_local boolean;
begin
  if exists (select from jsonb_each(v_config) e where e.key not in ('to', 'port') and jsonb_typeof(e.value) <> 'string') then
    perform audit.fail('AUARG', 'A setting of the channel is not a text.');
  end if;
  if channel_config.kind in ('webhook', 'slack') then
    v_config := v_config || jsonb_build_object('host', audit.check_address(coalesce(v_config ->> 'url', '')));
  else
    perform audit.check_mailboxes(v_config -> 'to', 20, 'to');
    if v_config ? 'from' or channel_config.kind = 'smtp' then
      perform audit.check_mailboxes(jsonb_build_array(v_config -> 'from'), 1, 'from');
    end if;
  end if;
  if channel_config.kind = 'email' then
    v_config := v_config || jsonb_build_object('host', audit.check_address(coalesce(v_config ->> 'api', 'https://api.resend.com/emails')));
    if coalesce(v_config ->> 'key', '-') !~ '^[!-~]+$' or length(v_config ->> 'key') > 500 then
      perform audit.fail('AUARG', 'The key is not printable ASCII of at most 500 characters.');
    end if;
    if v_config ? 'key' and not v_config ? 'from' then
      perform audit.fail('AUARG', 'With a key of its own an e-mail channel says from whom.', null, 'Add "from".');
    end if;
    if v_config ? 'api' and not v_config ? 'key' then
      -- Else the project's own key would be sent wherever an admin likes.
      perform audit.fail('AUARG', 'Another API needs a key of its own.', null, 'Add "key".');
    end if;
  elsif channel_config.kind = 'smtp' then
    perform audit.check_host(coalesce(v_config ->> 'host', ''));
    v_is_local := lower(v_config ->> 'host') in ('localhost', '127.0.0.1');
    if v_config -> 'port' in ('25', '587') then
      perform audit.fail('AUARG', 'Hosted Edge Functions may not connect to ports 25 and 587.', null,
        'Use 465 or 2465 (TLS), or 2587 (STARTTLS), which most providers have; or a channel of kind email.');
    end if;
    if jsonb_typeof(v_config -> 'port') is distinct from 'number'
      or v_config -> 'port' not in ('465', '2465', '2587') and not v_is_local
    then
      perform audit.fail('AUARG', 'The port is 465 or 2465 (TLS), or 2587 (STARTTLS).');
    end if;
    if (v_config ? 'username') <> (v_config ? 'password') or not v_config ? 'username' and not v_is_local
      or greatest(length(v_config ->> 'username'), length(v_config ->> 'password')) > 500
    then
      perform audit.fail('AUARG', 'An SMTP channel needs a username and a password.');
    end if;
  end if;
  return v_config;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Checks the settings of a channel, secrets included, and answers them with the host that it leads to.

-- function audit.channel_fields(text)
CREATE OR REPLACE FUNCTION audit.channel_fields(kind text)
 RETURNS text[]
 LANGUAGE sql
 IMMUTABLE
RETURN CASE kind WHEN 'webhook'::text THEN ARRAY['url'::text] WHEN 'slack'::text THEN ARRAY['url'::text] WHEN 'email'::text THEN ARRAY['to'::text, 'from'::text, 'api'::text, 'key'::text] WHEN 'smtp'::text THEN ARRAY['to'::text, 'from'::text, 'host'::text, 'port'::text, 'username'::text, 'password'::text] ELSE NULL::text[] END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What a channel of a kind has besides name, default and personal.

-- function audit.channel_json(audit.channels,boolean)
CREATE OR REPLACE FUNCTION audit.channel_json(channel audit.channels, whole boolean)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'id', (channel).id, 'organization_id', (channel).organization_id, 'name', (channel).name, 'kind', (channel).kind,
    'default', (channel).is_default, 'personal', (channel).personal, 'host', (channel).config ->> 'host',
    'recipients', coalesce(jsonb_array_length((channel).config -> 'to'), 0),
    'created_at', audit.instant_text((channel).created_at), 'succeeded_at', audit.instant_text((channel).succeeded_at),
    'failures', (channel).failures, 'last_error', (channel).last_error,
    'disabled_at', audit.instant_text((channel).disabled_at), 'disabled_reason', (channel).disabled_reason,
    'old_secret_until', audit.instant_text((channel).old_secret_until)
  ) || case when whole then jsonb_build_object('config', (channel).config - 'host') else '{}' end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A channel as the API shows it, never with its secret; its settings, which may name people, only where it is whole.

-- function audit.channel_secret_field(text)
CREATE OR REPLACE FUNCTION audit.channel_secret_field(kind text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE
RETURN CASE kind WHEN 'slack'::text THEN 'url'::text WHEN 'email'::text THEN 'key'::text WHEN 'smtp'::text THEN 'password'::text ELSE NULL::text END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Which setting of a channel is its secret; null for webhooks, whose secret is made here.

-- function audit.channel_summary(audit.channels)
CREATE OR REPLACE FUNCTION audit.channel_summary(channel audit.channels)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'name', (channel).name, 'kind', (channel).kind, 'default', (channel).is_default, 'personal', (channel).personal,
    'host', (channel).config ->> 'host', 'recipients', coalesce(jsonb_array_length((channel).config -> 'to'), 0)
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What an entry says of a channel.

-- function audit.check_address(text)
CREATE OR REPLACE FUNCTION audit.check_address(address text)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_parts text[];
begin
  -- Scheme, host, port, rest: printable ASCII without what URL parsers read in different ways.
  v_parts := regexp_match(check_address.address, '^(https?)://(\[[0-9a-fA-F:.]*\]|[^][/?#@\\:\s]*)(:\d{1,5})?([/?][!-~]*)?$');
  if length(check_address.address) > 2000 or v_parts is null or check_address.address ~ '[\\#]' then
    perform audit.fail('AUARG', 'The address cannot be used.', null,
      'It is https://host/path with at most 2,000 characters, without name, password and fragment.');
  end if;
  perform audit.check_host(v_parts[2]);
  -- That the rest is this machine was just permitted.
  if v_parts[2] like '%.%' and lower(v_parts[2]) <> '127.0.0.1'
    and (v_parts[1] <> 'https' or coalesce(v_parts[3], ':443') not in (':443', ':8443'))
  then
    perform audit.fail('AUARG', 'The address is not https on port 443 or 8443.');
  end if;
  return lower(v_parts[2]);
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Refuses addresses that no channel may have by their spelling; answers the host.

-- function audit.check_channel(jsonb,text,text[])
CREATE OR REPLACE FUNCTION audit.check_channel(request jsonb, kind text, known text[])
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  perform audit.check_request(request, check_channel.known || array['name', 'default', 'personal'] || audit.channel_fields(check_channel.kind));
  if request ? 'name' and (jsonb_typeof(request -> 'name') <> 'string' or request ->> 'name' !~ '^[^[:cntrl:]]{1,100}$') then
    perform audit.fail('AUARG', 'A channel has a name of 1 to 100 characters.');
  end if;
  if coalesce(jsonb_typeof(request -> 'default'), 'boolean') <> 'boolean' or coalesce(jsonb_typeof(request -> 'personal'), 'boolean') <> 'boolean' then
    perform audit.fail('AUARG', '"default" and "personal" are true or false.');
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Refuses what no channel of a kind has.

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

-- function audit.check_host(text)
CREATE OR REPLACE FUNCTION audit.check_host(host text)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if lower(check_host.host) in ('localhost', '127.0.0.1', '[::1]') then
    if audit.setting('local_channels') = 'true' then
      return;
    end if;
    perform audit.fail('AUARG', 'Channels do not lead to this machine.', null,
      'For a local stack: select audit.configure(''local_channels'', ''true'').');
  end if;
  if length(check_host.host) > 253
    or coalesce(check_host.host, '') !~* '^([a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\.)+[a-z]([a-z0-9-]{0,61}[a-z0-9])$'
    or check_host.host ~* '\.(localhost|local|internal)$'
  then
    perform audit.fail('AUARG', 'The host is not a public name.', null,
      'Use a DNS name such as hooks.example.com (in punycode where it has other letters), no IP address and no name of a private network.');
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Refuses hosts that are no public DNS names by their spelling.

-- function audit.check_hours(jsonb)
CREATE OR REPLACE FUNCTION audit.check_hours(hours jsonb)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if hours = '"learned"' then
    return;
  end if;
  if jsonb_typeof(hours) is distinct from 'object' or not (hours - array['days', 'from', 'to'] = '{}' and hours ?& array['days', 'from', 'to'])
    or jsonb_typeof(hours -> 'days') <> 'array' or not hours -> 'days' <@ '[1, 2, 3, 4, 5, 6, 7]' or hours -> 'days' = '[]'
    or not (coalesce(hours ->> 'from', '') ~ '^([01]\d|2[0-3]):(00|15|30|45)$' and coalesce(hours ->> 'to', '') ~ '^(([01]\d|2[0-3]):(00|15|30|45)|24:00)$')
    or hours ->> 'from' = hours ->> 'to'
  then
    perform audit.fail_rule('"hours" is "learned", or the hours of work, outside of which entries count.',
      'For example {"days": [1, 2, 3, 4, 5], "from": "08:00", "to": "18:30"}: days from 1, Monday; quarters of an hour; from 22:00 to 06:00 is across midnight.');
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises AURUL for what are no hours of work.

-- function audit.check_identities()
CREATE OR REPLACE FUNCTION audit.check_identities()
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_start timestamptz := clock_timestamp();
  v_due record;
  v_is_held boolean;
  v_in_use bytea[];
begin
  loop
    select i.organization_id, array_agg(i.identity_hash) as hashes into v_due
    from (
      select i.organization_id, i.identity_hash
      from audit.identities i
      where i.check_at <= clock_timestamp()
      order by i.check_at
      limit 100
    ) i
    group by i.organization_id
    limit 1;
    exit when v_due.organization_id is null;
    v_is_held := audit.is_held(v_due.organization_id);
    v_in_use := coalesce(
      case when not v_is_held then audit.identities_in_use(v_due.organization_id, v_due.hashes) end, '{}'
    );
    delete from audit.identities i
    where i.organization_id = v_due.organization_id and i.identity_hash = any (v_due.hashes)
      and i.identity_hash <> all (v_in_use) and i.lookup = '' and not v_is_held;
    update audit.identities i set
      lookup = case when v_is_held or i.identity_hash = any (v_in_use) then i.lookup else '' end,
      check_at = case when i.identity_hash = any (v_in_use) then null else clock_timestamp() + interval '1 day' end
    where i.organization_id = v_due.organization_id and i.identity_hash = any (v_due.hashes);
    -- In most batches there are few; with years of months to look through, thousands take longer than one may.
    exit when clock_timestamp() > v_start + interval '1 second';
  end loop;
end
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
comment: Looks for a second which identities no entry commits to any more: they are hidden from writers, and deleted a day later.

-- function audit.check_mailboxes(jsonb,integer,text)
CREATE OR REPLACE FUNCTION audit.check_mailboxes(mailboxes jsonb, most integer, field text)
 RETURNS void
 LANGUAGE plpgsql
 IMMUTABLE
 SET search_path TO ''
AS $function$
declare
  c_address constant text := '[A-Za-z0-9.!#$%&''*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9.-]{1,253}';
begin
  if jsonb_typeof(check_mailboxes.mailboxes) is distinct from 'array' or jsonb_array_length(check_mailboxes.mailboxes) not between 1 and check_mailboxes.most
    or exists (
      select from jsonb_array_elements(check_mailboxes.mailboxes) m
      where jsonb_typeof(m) <> 'string'
        or m #>> '{}' !~ format('^(%s|[^<>"\\,;:@[:cntrl:]]{1,100} <%s>)$', c_address, c_address)
    )
  then
    perform audit.fail('AUARG', format('"%s" is not right.', check_mailboxes.field), null,
      format('1 to %s addresses: ada@example.com, or Ada <ada@example.com>.', check_mailboxes.most));
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Refuses what is no list of e-mail addresses.

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

-- function audit.check_rule_tests(jsonb)
CREATE OR REPLACE FUNCTION audit.check_rule_tests(tests jsonb)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if jsonb_typeof(tests) is distinct from 'array' or jsonb_array_length(tests) > 20
    or exists (
      select from jsonb_array_elements(tests) t
      where jsonb_typeof(t) <> 'object' or t - array['name', 'entries', 'alerts'] <> '{}'
        or coalesce(length(t ->> 'name') not between 1 and 200, true) or coalesce(t ->> 'alerts', '') !~ '^\d{1,6}$' or not t ? 'entries'
    )
    or (select count(distinct t ->> 'name') < count(*) from jsonb_array_elements(tests) t)
  then
    perform audit.fail_rule('"tests" is a list of up to 20 tests.', 'Each has a name, entries and how many alerts they raise.');
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises AURUL for what are no tests of a rule.

-- function audit.check_setting(text,text,jsonb)
CREATE OR REPLACE FUNCTION audit.check_setting(kind text, field text, value jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_each text;
  v_number numeric := case when jsonb_typeof(value) = 'number' then (value #>> '{}')::numeric end;
begin
  case
    when field in ('match', 'then') then
      return audit.rule_tree(value, field);
    when field in ('window', 'history', 'limit') then
      if jsonb_typeof(value) <> 'string' or coalesce(audit.duration(value #>> '{}') not between interval '1 second' and interval '8784 hours', true) then
        perform audit.fail_rule(format('"%s" is a length of time from 1s to 1y.', field), 'For example 30s, 10m, 1h, 14d.');
      end if;
    when field = 'threshold' then
      if coalesce(v_number <= 0, true) or v_number > 1e12 or kind <> 'sum' and v_number % 1 <> 0 then
        perform audit.fail_rule('"threshold" is a number above 0, and a whole one except in sums.');
      end if;
    when field in ('group_by', 'value') then
      if field = 'value' and jsonb_typeof(value) <> 'string' or field = 'group_by' and (
        jsonb_typeof(value) <> 'array' or jsonb_array_length(value) > 3
          or exists (select from jsonb_array_elements(value) e where jsonb_typeof(e) <> 'string')
          or (select count(distinct e) < count(*) from jsonb_array_elements(value) e)
      ) then
        perform audit.fail_rule(case field when 'value' then '"value" names one field.' else '"group_by" is a list of up to three fields.' end);
      end if;
      foreach v_each in array case jsonb_typeof(value) when 'string' then array[value #>> '{}'] else array(select jsonb_array_elements_text(value)) end loop
        if kind = 'sum' and field = 'value' then
          if v_each <> 'cost' and audit.query_path(v_each) is null then
            perform audit.fail_rule(format('There is no number in "%s" to add up.', left(v_each, 100)), 'It is cost, or a path into details: details.entries.');
          end if;
        elsif audit.rule_field_sql(v_each) is null then
          perform audit.fail_rule(format('A rule cannot look at the field "%s".', left(v_each, 100)),
            'Fields are actor, email, ip, country, action, outcome, actor_type, resource, resource_type, resource_id, provider, request_id, and paths: new.…, old.…, changes.…, details.….');
        end if;
      end loop;
    when field = 'hours' then
      perform audit.check_hours(value);
    when field = 'against' then
      if value <> '"budgets"' then
        perform audit.fail_rule('A sum is held against "budgets", or a threshold.');
      end if;
    when field = 'percent' then
      if jsonb_typeof(value) <> 'array' or jsonb_array_length(value) not between 1 and 10
        or exists (select from jsonb_array_elements(value) e where jsonb_typeof(e) <> 'number' or (e #>> '{}')::numeric not between 1 and 1000)
      then
        perform audit.fail_rule('"percent" is a list of numbers from 1 to 1000: shares of a budget.');
      end if;
    when field = 'allowed' then
      if value <> 'null' and (jsonb_typeof(value) <> 'array' or jsonb_array_length(value) > 1000
        or exists (select from jsonb_array_elements(value) e where jsonb_typeof(e) <> 'string'))
      then
        perform audit.fail_rule('"allowed" is a list of texts, or null.');
      end if;
    when field = 'warm_up' then
      if coalesce(v_number % 1 <> 0 or v_number not between 0 and 365, true) then
        perform audit.fail_rule('"warm_up" is a number of days from 0 to 365.');
      end if;
    when field = 'check' then
      if not audit.health_checks() ? coalesce(value #>> '{}', '') then
        perform audit.fail_rule('There is no such check.', 'Checks are ' || (select string_agg(k, ', ') from jsonb_object_keys(audit.health_checks()) k) || '.');
      end if;
    when field = 'digest' then
      if value not in ('"activity"', '"costs"', '"overflow"') then
        perform audit.fail_rule('A digest is of "activity", "costs" or "overflow".');
      end if;
    when field in ('weekday', 'hour') then
      if coalesce(v_number % 1 <> 0, true) or field = 'weekday' and v_number not between 1 and 7 or field = 'hour' and v_number not between 0 and 23 then
        perform audit.fail_rule('"weekday" is 1 (Monday) to 7 and "hour" 0 to 23, in the organisation''s time zone.');
      end if;
    else
      if jsonb_typeof(value) <> 'object' or length(value::text) > 10000 then
        perform audit.fail_rule('"parameters" is an object.');
      end if;
  end case;
  return value;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The value of a rule's field as it is kept; raises AURUL or AUQRY where the kind cannot have it.

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

-- function audit.checked_rule(jsonb)
CREATE OR REPLACE FUNCTION audit.checked_rule(rule jsonb)
 RETURNS audit.rules
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
#variable_conflict use_variable
declare
  v_rule audit.rules;
  v_common constant text[] := array['id', 'organization_id', 'name', 'description', 'kind', 'severity', 'enabled', 'quiet_period', 'channels', 'version', 'changed_at', 'default', 'tests'];
  v_field record;
  v_unknown text;
begin
  if jsonb_typeof(rule) is distinct from 'object' then
    perform audit.fail_rule('A rule is a JSON object.');
  end if;
  v_rule.kind := rule ->> 'kind';
  if v_rule.kind is null or v_rule.kind not in ('event', 'count', 'distinct', 'sum', 'sequence', 'new_value', 'schedule', 'anomaly') then
    perform audit.fail_rule('A rule has a kind.', 'It is event, count, distinct, sum, sequence, new_value, schedule or anomaly.');
  end if;
  select string_agg(format('"%s"', left(k, 50)), ', ') into v_unknown
  from jsonb_object_keys(rule) k
  where k <> all (v_common) and not exists (select from audit.rule_fields() f where f.field = k and v_rule.kind = any (f.kinds));
  if v_unknown is not null then
    perform audit.fail_rule(format('A rule of kind %s has no %s.', v_rule.kind, v_unknown), 'It has name, description, severity, enabled, quiet_period, channels'
      || coalesce((select string_agg(', ' || f.field, '') from audit.rule_fields() f where v_rule.kind = any (f.kinds)), '') || '.');
  end if;
  if jsonb_typeof(rule -> 'name') is distinct from 'string' or length(trim(rule ->> 'name')) not between 1 and 200 then
    perform audit.fail_rule('A rule has a name of up to 200 characters.');
  elsif jsonb_typeof(coalesce(rule -> 'description', '""')) <> 'string' or length(rule ->> 'description') > 2000 then
    perform audit.fail_rule('"description" has up to 2,000 characters.');
  elsif coalesce(rule ->> 'severity', 'medium') not in ('info', 'low', 'medium', 'high', 'critical') then
    perform audit.fail_rule('"severity" is info, low, medium, high or critical.');
  elsif jsonb_typeof(coalesce(rule -> 'enabled', 'true')) <> 'boolean' then
    perform audit.fail_rule('"enabled" is true or false.');
  elsif rule -> 'quiet_period' <> 'null' and coalesce(audit.duration(rule ->> 'quiet_period') not between interval '1 second' and interval '8784 hours', true) then
    perform audit.fail_rule('"quiet_period" is a length of time from 1s to 1y, or null: until somebody resolves the alert.');
  elsif rule -> 'channels' <> 'null' and (
    jsonb_typeof(rule -> 'channels') <> 'array' or jsonb_array_length(rule -> 'channels') > 20
      or exists (select from jsonb_array_elements(rule -> 'channels') e where audit.as_uuid(e #>> '{}') is null)
  ) then
    perform audit.fail_rule('"channels" is a list of ids of channels, or null for the default ones.');
  end if;
  v_rule.name := trim(rule ->> 'name');
  v_rule.description := coalesce(rule ->> 'description', '');
  v_rule.severity := coalesce(rule ->> 'severity', 'medium');
  v_rule.enabled := coalesce((rule ->> 'enabled')::boolean, true);
  v_rule.quiet_period := case when rule ? 'quiet_period' then audit.duration(rule ->> 'quiet_period') else interval '1 hour' end;
  v_rule.channels := case when jsonb_typeof(rule -> 'channels') = 'array' then array(select e::uuid from jsonb_array_elements_text(rule -> 'channels') e) end;
  v_rule.match := '{"and": []}';
  v_rule.settings := '{}';
  for v_field in select f.field, rule -> f.field as value, v_rule.kind = any (f.required_of) as required from audit.rule_fields() f where v_rule.kind = any (f.kinds) loop
    if v_field.value is null then
      if v_field.required then
        perform audit.fail_rule(format('A rule of kind %s needs "%s".', v_rule.kind, v_field.field));
      end if;
    elsif v_field.field = 'match' then
      v_rule.match := audit.check_setting(v_rule.kind, 'match', v_field.value);
    else
      v_rule.settings := v_rule.settings || jsonb_build_object(v_field.field, audit.check_setting(v_rule.kind, v_field.field, v_field.value));
    end if;
  end loop;
  if v_rule.kind = 'sum' and v_rule.settings ? 'against' = (v_rule.settings ?| array['window', 'threshold', 'value', 'group_by'])
    or v_rule.kind = 'sum' and not v_rule.settings ? 'against' and not v_rule.settings ?& array['window', 'threshold']
  then
    perform audit.fail_rule('A sum has a window and a threshold, or stands "against" budgets.');
  elsif v_rule.kind = 'schedule' and v_rule.settings ? 'check' = v_rule.settings ? 'digest' then
    perform audit.fail_rule('A schedule has either a "check" or a "digest".');
  elsif v_rule.kind = 'event' and v_rule.match = '{"and": []}' then
    perform audit.fail_rule('An event rule that matches everything is the log itself.', 'Say in "match" which entries are meant.');
  end if;
  -- Times that are closer are not told apart (audit.rules_in_force).
  if v_rule.quiet_period < greatest(audit.duration(v_rule.settings ->> 'window') / 1000, case when v_rule.settings ? 'hours' then interval '15 minutes' end) then
    perform audit.fail_rule('"quiet_period" is at least a thousandth of the window, and 15m where hours count.');
  end if;
  v_rule.compiled := audit.compile_rule(v_rule);
  return v_rule;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A rule as it is kept, from its JSON; raises AURUL or AUQRY where something is wrong.

-- function audit.checkpoint_section(audit.reports)
CREATE OR REPLACE FUNCTION audit.checkpoint_section(report audit.reports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select audit.report_table(
    'Logs and their checkpoints', '[{"title": "Log", "width": 5}, {"title": "Entries", "width": 1, "align": "right"}, {"title": "Root", "width": 4}, {"title": "Published", "width": 2}]',
    jsonb_agg(jsonb_build_array(l.origin, c.size::text, encode(c.root, 'base64'), coalesce(audit.second_text(c.published_at), 'not published')) order by l.origin),
    'For each log, the last checkpoint that was published before the end of the period. Who kept one, at a receiver or a witness, can hold this against it.'
  )
  from audit.logs l
  cross join lateral (
    select c.* from audit.checkpoints c
    where c.log = l.id and c.published_at < (report).period_to
    order by c.size desc limit 1
  ) c
  where l.organization_id = (report).organization_id and l.month is not null and l.opened_at < (report).period_to
    and coalesce(l.last_at, l.opened_at) >= (report).period_from
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The logs of a period, each with its last checkpoint.

-- function audit.choose_rule(jsonb)
CREATE OR REPLACE FUNCTION audit.choose_rule(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_organization uuid := audit.as_uuid(request ->> 'organization_id');
  v_rule audit.rules;
  v_old audit.rules;
  v_new audit.rules;
  v_choice jsonb;
  v_fixed text;
begin
  if v_organization is null then
    perform audit.fail_rule('Who chooses is an organisation.', 'Pass organization_id.');
  end if;
  perform audit.require_admin(v_organization);
  select r.* into v_rule from audit.rules r where r.id = audit.as_uuid(request ->> 'id') and r.organization_id = audit.system_organization();
  if not found then
    perform audit.fail('AUNOT', 'There is no such default.', null, 'audit.list_rules() lists them; an organisation''s own rules are changed by audit.change_rule().');
  end if;
  v_choice := request - array['id', 'organization_id'];
  select string_agg(format('"%s"', left(k, 50)), ', ') into v_fixed
  from jsonb_object_keys(v_choice) k
  where k in ('name', 'description', 'kind', 'match', 'then', 'group_by', 'value', 'version');
  if v_fixed is not null then
    perform audit.fail_rule(format('What a default is about stays as it is: %s.', v_fixed),
      'Switch it off for the organisation ("enabled": false) and create a rule of your own.');
  end if;
  v_old := audit.rule_for(v_rule.id, v_organization);
  -- An empty choice is the default again; what is not named anew is as it was chosen.
  v_choice := case when v_choice = '{}' then '{}' else coalesce((
    select c.choice from audit.rule_choices c where c.rule_id = v_rule.id and c.organization_id = v_organization
  ), '{}') || v_choice end;
  perform audit.checked_rule(audit.rule_json(v_rule) || v_choice);
  if v_choice = '{}' then
    delete from audit.rule_choices c where c.rule_id = v_rule.id and c.organization_id = v_organization;
  else
    insert into audit.rule_choices as c (rule_id, organization_id, choice)
    values (v_rule.id, v_organization, v_choice)
    on conflict on constraint rule_choices_pkey do update set choice = excluded.choice, changed_at = clock_timestamp();
  end if;
  v_new := audit.rule_for(v_rule.id, v_organization);
  if v_old.settings <> v_new.settings then
    perform audit.forget_rule(v_rule.id, v_organization);
  end if;
  perform audit.record_rule_change(v_organization, v_rule.id, audit.rule_summary(v_old), audit.rule_summary(v_new));
  return audit.rule_json(v_new);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Tunes a default for an organisation, or switches it off: select audit.choose_rule('{"id": "…", "organization_id": "…",
"enabled": false}'). Without any field it is the default again. For admins of the organisation; leaves an entry.

-- function audit.claim_collection(interval)
CREATE OR REPLACE FUNCTION audit.claim_collection(lease interval DEFAULT '00:01:30'::interval)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_claim jsonb;
begin
  update audit.log_collection c set lease = gen_random_uuid(), lease_until = clock_timestamp() + claim_collection.lease
  where c.lease_until < clock_timestamp() and c.next_at < clock_timestamp()
  returning jsonb_build_object(
    'lease', c.lease,
    -- What is older is no longer taken in. What comes late is found by looking back.
    'from', to_char(greatest(
      case
        when c.collected_until is null then clock_timestamp() - interval '1 hour'
        when c.resume_after is null then c.collected_until - interval '10 minutes'
        else c.collected_until
      end,
      clock_timestamp() - audit.oldest_log_line()
    ) at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US'),
    'after', coalesce(c.resume_after, ''),
    'accessed', exists (select from audit.settings s where s.name = 'api_access' and s.value <> '"off"')
  ) into v_claim;
  return v_claim;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Takes the turn to collect logs: after which line, and whether requests that were not denied are wanted; null while it is another's, or too early.

-- function audit.claim_cosigning(interval)
CREATE OR REPLACE FUNCTION audit.claim_cosigning(lease interval DEFAULT '00:02:00'::interval)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_claimed jsonb;
begin
  -- One run at a time, so that none writes over the cosignatures of another.
  perform from audit.receivers r where r.kind = 'witness' order by r.id for no key update;
  if exists (select from audit.receivers r where r.kind = 'witness' and r.lease_until >= clock_timestamp()) then
    return null;
  end if;
  with asked as (
    update audit.receivers r set
      lease = gen_random_uuid(), lease_until = clock_timestamp() + claim_cosigning.lease, tried_at = clock_timestamp()
    from audit.owed_checkpoints o
    where o.receiver = r.id and o.kind = 'witness' and o.due
    returning r.name, r.lease, o.log, o.size, o.delivered
  )
  select jsonb_build_object(
    'log', l.id, 'origin', l.origin, 'size', c.size, 'note', c.note,
    'witnesses', jsonb_agg(jsonb_build_object('name', a.name, 'lease', a.lease, 'size', a.delivered) order by a.name)
  )
  into v_claimed
  from asked a
  join audit.logs l on l.id = a.log
  join audit.checkpoints c on c.log = l.id and c.size = a.size
  group by l.id, c.log, c.size;
  return v_claimed;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Gives a run the anchor log's newest checkpoint and the witnesses to be asked for their cosignatures, with the size that
each has cosigned; null where none is due.

-- function audit.claim_delivery(text,text,interval)
CREATE OR REPLACE FUNCTION audit.claim_delivery(kind text, name text, lease interval DEFAULT '00:02:00'::interval)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_receiver int;
  v_log int;
  v_lease uuid := gen_random_uuid();
begin
  select r.id into v_receiver from audit.receivers r
  where r.kind = claim_delivery.kind and r.name = claim_delivery.name and r.disabled_at is null
    and r.lease_until < clock_timestamp() and r.next_try_at <= clock_timestamp()
  for no key update skip locked;
  -- The anchor log first, which stands for all; then who waits longest.
  select l.id into v_log from audit.logs l where l.organization_id = audit.system_organization() and l.month is null;
  if not exists (select from audit.owed_checkpoints o where o.receiver = v_receiver and o.log = v_log and o.due) then
    v_log := null;
    select d.log into v_log from audit.receiver_logs d
    where d.receiver = v_receiver and d.newest > d.size and d.next_try_at <= clock_timestamp()
    order by d.delivered_at nulls first, d.log
    limit 1;
  end if;
  if v_log is null then
    return null;
  end if;
  update audit.receivers r set
    lease = v_lease, lease_until = clock_timestamp() + claim_delivery.lease, tried_at = clock_timestamp()
  where r.id = v_receiver;
  return (
    select jsonb_build_object(
      'lease', v_lease, 'log', l.id, 'origin', l.origin,
      'folder', case when l.month is null then 'anchor' else l.organization_id || '/' || to_char(l.month, 'YYYY-MM') end,
      'size', c.size, 'note', c.note, 'published_at', audit.instant_text(c.published_at), 'copied', d.copied
    )
    from audit.receiver_logs d
    join audit.logs l on l.id = d.log
    join audit.checkpoints c on c.log = d.log and c.size = d.newest
    where d.receiver = v_receiver and d.log = v_log
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Gives a run one checkpoint to hand to a receiver, which it has for itself until it says what became of it, or the lease
is over; null where nothing is due.

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

-- function audit.claim_log(text,interval,integer,boolean)
CREATE OR REPLACE FUNCTION audit.claim_log(base text, lease interval DEFAULT '00:02:00'::interval, most_entries integer DEFAULT 10000, due_now boolean DEFAULT false)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_log int;
  v_organization uuid;
begin
  -- What an earlier run left comes first.
  select l.id into v_log from audit.logs l
  where l.sequenced > l.published and l.lease_until < clock_timestamp()
  order by l.lease_until, l.sealed_at nulls first
  limit 1
  for update skip locked;
  if v_log is null then
    for v_organization in select audit.due_organizations(claim_log.due_now) loop
      v_log := audit.open_log(v_organization, claim_log.base);
      if v_log is not null then
        perform audit.beat(v_organization);
        perform audit.sequence_entries(v_log, claim_log.most_entries);
      end if;
      exit when exists (select from audit.logs l where l.id = v_log and l.sequenced > l.published);
      v_log := null;
    end loop;
  end if;

  update audit.logs l set lease = gen_random_uuid(), lease_until = clock_timestamp() + claim_log.lease where l.id = v_log;
  return (
    select jsonb_build_object(
      'lease', l.lease, 'log', l.id, 'organization_id', l.organization_id, 'origin', l.origin,
      'folder', case when l.month is null then 'anchor' else l.organization_id || '/' || to_char(l.month, 'YYYY-MM') end,
      'published', l.published, 'note', c.note, 'frontier', encode(c.frontier, 'hex'),
      -- A root that was recorded is signed and published before the next one.
      'size', case when l.size > l.published then l.size else l.sequenced end
    )
    from audit.logs l
    left join audit.checkpoints c on c.log = l.id and c.size = l.published
    where l.id = v_log
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Gives a run of the job "seal" one log with work to do, for as long as the lease: what an earlier run left, else the
organisation that waits longest, with new indexes given. Null where nothing is due. base: first part of the names of new logs.

-- function audit.claim_reading(interval,integer)
CREATE OR REPLACE FUNCTION audit.claim_reading(patience interval DEFAULT '01:00:00'::interval, most_entries integer DEFAULT 5000)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_reading audit.readings;
  v_log audit.logs;
  v_to bigint;
begin
  -- Who waits longest comes first, so logs take turns. That two runs read the same does no harm, so this is no lock: it
  -- only keeps them from it, and from trying every time what has just failed.
  insert into audit.readings as r (log, again, next_at)
  select d.log, d.again, clock_timestamp() + interval '1 minute'
  from audit.due_readings(claim_reading.patience) d
  order by d.since, d.again
  limit 1
  on conflict on constraint readings_pkey do update set
    next_at = excluded.next_at,
    size = case when r.again and r.ended_at is not null then 0 else r.size end,
    frontier = case when r.again and r.ended_at is not null then ''::bytea else r.frontier end,
    begun_at = case when r.again and r.ended_at is not null then clock_timestamp() else r.begun_at end,
    ended_at = null
  returning r.* into v_reading;
  if v_reading.log is null then
    return null;
  end if;
  select l.* into v_log from audit.logs l where l.id = v_reading.log;
  -- To a checkpoint: only there is a root to compare.
  v_to := coalesce(
    (
      select max(c.size) from audit.checkpoints c
      where c.log = v_log.id and c.size > v_reading.size
        and c.size <= least(v_log.published, v_reading.size + claim_reading.most_entries)
    ),
    (select min(c.size) from audit.checkpoints c where c.log = v_log.id and c.size > v_reading.size and c.size <= v_log.published),
    v_log.published
  );
  return jsonb_build_object(
    'log', v_log.id, 'again', v_reading.again, 'organization_id', v_log.organization_id, 'origin', v_log.origin,
    'folder', case when v_log.month is null then 'anchor' else v_log.organization_id || '/' || to_char(v_log.month, 'YYYY-MM') end,
    'size', v_reading.size, 'frontier', encode(v_reading.frontier, 'hex'), 'to', v_to, 'published', v_log.published,
    -- The last of each bundle's: every signature costs.
    'checkpoints', (
      select coalesce(jsonb_agg(jsonb_build_object('size', c.size, 'note', c.note, 'frontier', encode(c.frontier, 'hex'))), '[]')
      from (
        select distinct on ((c.size / 256)) c.size, c.note, c.frontier
        from audit.checkpoints c
        where c.log = v_log.id and c.size > v_reading.size and c.size <= v_to
        order by c.size / 256, c.size desc
      ) c
    ) || (
      select coalesce(jsonb_agg(jsonb_build_object('size', c.size, 'note', c.note, 'frontier', encode(c.frontier, 'hex'))), '[]')
      from audit.checkpoints c
      where c.log = v_log.id and c.size = v_reading.size
    ),
    'findings', (
      select coalesce(jsonb_agg(jsonb_build_object('kind', f.kind, 'subject', f.subject)), '[]')
      from audit.findings f
      where f.organization_id = v_log.organization_id and f.resolved_at is null
        and (f.kind = 'entry_altered' or starts_with(f.kind, 'archive_'))
    )
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Gives a run of the job "read-back" one log to read on, from a checkpoint to another about so many entries further; null where nothing is due.

-- function audit.claim_report(interval)
CREATE OR REPLACE FUNCTION audit.claim_report(lease interval DEFAULT '00:03:00'::interval)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_report audit.reports;
begin
  perform audit.fail_report(r.id, r.attempts, 'Three attempts at one step ended without an answer.', false)
  from audit.reports r
  where r.state = 'running' and r.lease_until < clock_timestamp() and r.attempts >= 3;
  update audit.reports r set state = 'running', lease_until = clock_timestamp() + claim_report.lease, attempts = r.attempts + 1
  where r.id = (
    select w.id from audit.reports w
    where w.state = 'queued' or w.state = 'running' and w.lease_until < clock_timestamp()
    order by w.requested_at
    limit 1
    for update skip locked
  )
  returning r.* into v_report;
  if v_report.id is null then
    return null;
  elsif v_report.requested_by is not null and not exists (
    -- With the rights of who asked, of the moment.
    select from audit.memberships(v_report.requested_by) m where m.organization_id = v_report.organization_id and m.role = 'admin'
    union all
    select from audit.auditors a
    where a.organization_id = v_report.organization_id and a.user_id = v_report.requested_by and a.expires_at > clock_timestamp()
      and v_report.subject is null
  ) and v_report.generated_at is null then
    perform audit.fail_report(v_report.id, v_report.attempts, 'Who asked for it no longer reads all of the organisation''s log.', false);
    return audit.claim_report(claim_report.lease);
  end if;
  return jsonb_build_object('report', v_report.id, 'attempt', v_report.attempts, 'gathered', v_report.content is not null);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Takes a report from the queue for a while; null if none waits. For audit-jobs.

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

-- function audit.close_quiet_alerts()
CREATE OR REPLACE FUNCTION audit.close_quiet_alerts()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_alert record;
  v_closed int := 0;
begin
  for v_alert in
    select a.id, a.last_seen_at + r.quiet_period as over_at
    from audit.alerts a
    cross join lateral audit.rule_for(a.rule_id, a.organization_id) r
    where a.state <> 'resolved' and a.last_seen_at + r.quiet_period < clock_timestamp() and coalesce(a.silenced_until < clock_timestamp(), true)
    order by a.last_seen_at
    limit 1000
    for no key update of a skip locked
  loop
    perform audit.resolve_alert(v_alert.id, v_alert.over_at, 'quiet');
    v_closed := v_closed + 1;
  end loop;
  return v_closed;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Resolves alerts of which nothing was seen for their rule's quiet period; returns how many.

-- function audit.close_restore(integer,jsonb)
CREATE OR REPLACE FUNCTION audit.close_restore(incarnation integer, details jsonb)
 RETURNS jsonb
 LANGUAGE sql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
  select audit.require_restoring();
  update audit.restores r set
    incarnation = close_restore.incarnation, details = close_restore.details, ended_at = clock_timestamp(), transaction_id = null
  where r.incarnation = 0
  returning r.installed;
$function$

owner audit_purger
grant postgres: EXECUTE
comment: Ends a restore, and answers what installing had recorded.

-- function audit.collect(text,public.audit_logs[],text,uuid,audit.rule_in_force[])
CREATE OR REPLACE FUNCTION audit.collect(source text, sample public.audit_logs[], expressions text, organization uuid, force audit.rule_in_force[])
 RETURNS audit.rule_total[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET jit TO 'off'
 SET enable_nestloop TO 'off'
AS $function$
declare
  v_totals audit.rule_total[];
begin
  if expressions is null then
    return '{}';
  end if;
  execute format(
    $q$
    with hit as materialized (
      select e.organization_id, e.created_at, (extract(epoch from e.created_at) * 1000000)::bigint as micros,
        e.chain || '-' || e.seq as name, e.action like 'alert.%%' as about_alerts, h.*
      from %s
      cross join lateral unnest(array[%s]::audit.rule_hit[]) h
      where h.rule_id is not null and h.group_key is not null and h.value is not null and h.weight > 0 and h.weight < 'Infinity' %s
    )
    select array_agg(row(
      t.rule_id, t.organization_id, t.kind, t.threshold, t.span, t.slot_length, t.hours, t.group_key, t.value, t.slot, t.weight, t.hits,
      t.first_at, t.last_at, t.names, t.about_alerts, t.note
    )::audit.rule_total)
    from (
      select h.rule_id, h.organization_id, f.kind, f.threshold, f.span, f.slot as slot_length, f.settings -> 'hours' as hours,
        h.group_key, h.value, h.micros / f.slot as slot, sum(h.weight) as weight, count(*) as hits,
        min(h.created_at) as first_at, max(h.created_at) as last_at, (array_agg(h.name))[:20] as names,
        bool_or(h.about_alerts) as about_alerts, h.note
      from hit h
      join unnest($2) f on f.rule_id = h.rule_id and f.organization_id = h.organization_id
      group by h.rule_id, h.organization_id, f.kind, f.threshold, f.span, f.slot, f.settings -> 'hours', h.group_key, h.value, h.micros / f.slot, h.note
    ) t
    $q$,
    source, expressions, 'and e.organization_id = ' || quote_literal(organization)
  ) into v_totals using sample, force;
  return coalesce(v_totals, '{}');
end
$function$

owner postgres
grant postgres: EXECUTE
comment: What the entries e of a FROM clause, or of a sample ($1), add to rules, by the rules' expressions, in one pass.

-- function audit.collect_all(text,public.audit_logs[],uuid[],audit.rule_in_force[])
CREATE OR REPLACE FUNCTION audit.collect_all(source text, sample public.audit_logs[], organizations uuid[], force audit.rule_in_force[])
 RETURNS audit.rule_total[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_totals audit.rule_total[] := '{}';
  v_set record;
  v_rule uuid;
begin
  -- Everybody's rules in one pass over all entries; an organisation's own in one over its entries.
  for v_set in
    select case when f.own then f.organization_id end as organization, array_agg(distinct f.rule_id) as rules
    from unnest(force) f
    group by 1
  loop
    begin
      v_totals := v_totals || audit.collect(source, sample, audit.rule_expressions(v_set.rules), v_set.organization, force);
    exception when data_exception or program_limit_exceeded or internal_error then
      -- One of them fails on an entry. The others must not be silenced by it: each alone, and the one is switched off.
      foreach v_rule in array v_set.rules loop
        begin
          v_totals := v_totals || audit.collect(source, sample, audit.rule_expressions(array[v_rule]), v_set.organization, force);
        exception when data_exception or program_limit_exceeded or internal_error then
          perform audit.note_finding(
            coalesce(v_set.organization, audit.system_organization()), 'rule_failed', v_rule::text, jsonb_build_object('error', sqlerrm)
          );
        end;
      end loop;
    end;
  end loop;
  return v_totals;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: What entries add to all rules. A rule that fails on an entry is passed over, which is a finding.

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

-- function audit.compile_rule(audit.rules)
CREATE OR REPLACE FUNCTION audit.compile_rule(rule audit.rules)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_settings jsonb := (rule).settings;
  v_group text := audit.group_sql(array(select jsonb_array_elements_text(coalesce(v_settings -> 'group_by', '[]'))));
  v_hit constant text := 'case when %s and %s then row($rule$, %s, %s, %s, %s)::audit.rule_hit end';
  v_condition text := audit.rule_condition((rule).match);
  v_guard text := audit.rule_guard((rule).match);
begin
  case
    when (rule).kind in ('schedule', 'anomaly') then
      return null;
    when v_settings ? 'against' then
      -- What was spent, and what may be.
      return format(v_hit, v_guard || ' and e.cost > 0 and e.cost < ''Infinity''', v_condition, 'coalesce(e.provider, '''')', '''spent''', 'e.cost', 'null')
        || ', ' || format(v_hit, 'e.action like ''budget.%''', 'e.resource_type = ''budget''', 'coalesce(e.resource_id, '''')',
          'concat_ws(''-'', e.chain, e.seq)', '1', 'jsonb_build_object(''action'', e.action, ''details'', e.details)');
    when (rule).kind = 'sum' then
      return format(v_hit, v_guard, v_condition, v_group, '''''', case
        when coalesce(v_settings ->> 'value', 'cost') = 'cost' then 'case when e.cost < ''Infinity'' then e.cost end'
        else format('audit.number_value(e.details #>> %L)', audit.query_path(v_settings ->> 'value'))
      end, 'null');
    when (rule).kind in ('distinct', 'new_value') then
      return format(v_hit, v_guard, v_condition, v_group, format('left(%s, 300)', audit.rule_field_sql(v_settings ->> 'value')), '1', 'null');
    when (rule).kind = 'sequence' then
      return format(v_hit, v_guard, v_condition, v_group, '''first''', '1', 'null')
        || ', ' || format(v_hit, v_guard, audit.rule_condition(v_settings -> 'then'), v_group, '''then''', '1', 'null');
    else
      return format(v_hit, v_guard, v_condition, v_group, '''''', '1', 'null');
  end case;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The SQL of what an entry e adds to a rule, $rule$ standing for its id; null for kinds that look at no single entry.

-- function audit.compile_rules()
CREATE OR REPLACE FUNCTION audit.compile_rules()
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  update audit.rules r set compiled = audit.compile_rule(r) where r.compiled is distinct from audit.compile_rule(r)
$function$

owner postgres
grant postgres: EXECUTE
comment: Makes the SQL of all rules anew: when a version is loaded, and after a restore.

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

-- function audit.complete_report(uuid,integer,jsonb,text,text)
CREATE OR REPLACE FUNCTION audit.complete_report(id uuid, attempt integer, files jsonb, manifest text, note text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_report audit.reports;
begin
  update audit.reports r set
    state = 'done', files = complete_report.files, manifest = complete_report.manifest, manifest_note = complete_report.note,
    generated_at = clock_timestamp(), lease_until = null, error = null
  where r.id = complete_report.id and r.state = 'running' and r.attempts = complete_report.attempt
  returning r.* into v_report;
  if v_report.id is null then
    perform audit.fail('AULSE', 'Another run has the report, or nobody wants it any more.');
  end if;
  perform audit.record(v_report.organization_id, 'report.generated', 'report', v_report.id::text, jsonb_strip_nulls(jsonb_build_object(
    'template', v_report.template, 'from', audit.instant_text(v_report.period_from), 'to', audit.instant_text(v_report.period_to),
    'content_sha256', encode(sha256(convert_to(v_report.content, 'UTF8')), 'hex'),
    'manifest_sha256', encode(sha256(convert_to(v_report.manifest, 'UTF8')), 'hex'),
    'requested_by', v_report.requested_by, 'schedule', v_report.schedule
  )));
  if v_report.schedule is not null and to_regprocedure('audit.queue_report(uuid)') is not null then
    execute 'select audit.queue_report($1)' using v_report.id;
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes that a report's files are stored, with their signed manifest; leaves a report.generated entry, and has what was
scheduled delivered. For audit-jobs.

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
  exception when check_violation or not_null_violation or invalid_parameter_value then
    perform audit.fail('AUOPT', format('There is no setting %s = %s.', configure.name, configure.value), null,
      'Settings are ip_addresses ("on", "truncated", "off"), query_text (true, false), seal_after (1 to 3600 seconds), shorten_retention_after (1 to 90 days), backup_days (0 to 90 days; 0: no backups), login_lockout (false, or {"failures": 1 to 999, "seconds": 1 to 99999}), api_access ("off", "all", or a share such as 0.01), client_actions (a list of actions), collect_logs_every (30 to 3600 seconds; 0: never), local_channels (true, false), alerts_per_hour (1 to 1000) and time_zone ("Europe/Berlin").');
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
begin
  return audit.kept_context();
exception when others then
  return audit.read_context();
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The actor and request of the current statement: user id, kind of actor, e-mail, IP address,
user agent, request id, and the chain that the connection writes.

-- function audit.context_sources()
CREATE OR REPLACE FUNCTION audit.context_sources()
 RETURNS text
 LANGUAGE sql
 STABLE
RETURN format('%s%s%s%s%s%s%s%s%s'::text, (pg_backend_pid())::text, (SESSION_USER)::text, current_setting('role'::text, true), current_setting('request.jwt.claims'::text, true), current_setting('request.headers'::text, true), current_setting('audit.actor'::text, true), current_setting('audit.actor_type'::text, true), current_setting('audit.actor_email'::text, true), current_setting('audit.request_id'::text, true))

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: All that audit.read_context() depends on, in one text: connection, roles, claims, headers and audit.* settings.

-- function audit.continue_alert_deliveries()
CREATE OR REPLACE FUNCTION audit.continue_alert_deliveries()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if exists (select from audit.due_channels(1)) then
    return audit.call_jobs('deliver-alerts');
  end if;
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has what channels are to be told delivered; does nothing where nothing is due.

-- function audit.continue_backups()
CREATE OR REPLACE FUNCTION audit.continue_backups()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_newest timestamptz := (select max(b.made_at) from audit.backups b where b.deleted_at is null);
  v_request bigint;
begin
  if audit.setting('backup_days')::int = 0 or v_newest > clock_timestamp() - interval '1 day' then
    return null;
  end if;
  v_request := audit.call_jobs('backup');
  -- Where nobody can be called there is nothing to miss.
  if v_request is not null
    and coalesce(v_newest, (select min(l.opened_at) from audit.logs l)) < clock_timestamp() - interval '2 days'
  then
    perform audit.note_finding(audit.system_organization(), 'backup_missed', 'backup', jsonb_build_object('newest', v_newest));
  end if;
  return v_request;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has the day's backup made; does nothing where it is made. That there was none for two days is a finding.

-- function audit.continue_collecting()
CREATE OR REPLACE FUNCTION audit.continue_collecting()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_request bigint;
begin
  if not audit.is_collection_due() then
    return null;
  end if;
  v_request := audit.call_jobs('collect-logs');
  -- Where nobody can be called there is nothing to miss. Lines are taken in for a day.
  if v_request is not null and (select c.lag_seconds > 3600 from audit.log_collection_status c) then
    perform audit.note_finding(
      audit.system_organization(), 'logs_late', 'log_collection',
      (select to_jsonb(c) - '{every_seconds,failures}'::text[] from audit.log_collection_status c)
    );
  end if;
  return v_request;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has the project's logs collected when it is time. That they are more than an hour behind is a finding.

-- function audit.continue_deliveries()
CREATE OR REPLACE FUNCTION audit.continue_deliveries()
 RETURNS bigint
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  select count(audit.call_jobs(j.job))
  from (
    select distinct case r.kind when 'mirror' then 'mirror' when 'witness' then 'witness' else 'deliver-checkpoints' end
    from audit.receivers r
    where exists (select from audit.owed_checkpoints o where o.receiver = r.id and o.due)
  ) j (job)
$function$

owner postgres
grant postgres: EXECUTE
comment: Has checkpoints handed to whom outside they are owed; answers how many jobs that took, none where everybody has the newest.

-- function audit.continue_erasing()
CREATE OR REPLACE FUNCTION audit.continue_erasing()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_steps int := audit.continue_erasures();
begin
  -- Files are removed at once, not with the night's.
  if exists (select from audit.erasures e where e.state = 'files') then
    perform audit.call_jobs('expire');
  end if;
  return v_steps;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Goes on with erasures, and has files that they take back removed.

-- function audit.continue_erasures(interval,integer)
CREATE OR REPLACE FUNCTION audit.continue_erasures(at_most interval DEFAULT '00:00:04'::interval, most_rows integer DEFAULT 20000)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
 SET lock_timeout TO '5s'
AS $function$
declare
  v_start timestamptz := clock_timestamp();
  v_id uuid;
  v_before audit.erasures;
  v_erasure audit.erasures;
  v_steps int := 0;
begin
  if current_setting('transaction_isolation') <> 'read committed' then
    perform audit.fail('AUARG', 'An erasure must see holds of the moment.', null, 'Run it at read committed.');
  end if;
  for v_id in select e.id from audit.erasures e where e.state not in ('done', 'refused') order by e.requested_at loop
    select e.* into v_erasure from audit.erasures e where e.id = v_id for update skip locked;
    continue when not found;
    perform audit.await_purge(); -- nothing goes after a hold was said
    loop
      v_before := v_erasure;
      v_erasure := audit.erase_on(v_erasure, most_rows);
      exit when v_erasure is not distinct from v_before;
      v_steps := v_steps + 1;
      exit when v_erasure.state in ('done', 'refused') or clock_timestamp() > v_start + at_most;
    end loop;
    update audit.erasures e set
      addresses = v_erasure.addresses, places = v_erasure.places, state = v_erasure.state, since = v_erasure.since, deleted_in = v_erasure.deleted_in,
      awaited = v_erasure.awaited, counts = v_erasure.counts, holds = v_erasure.holds, erased_at = v_erasure.erased_at,
      remains = v_erasure.remains, verified_at = v_erasure.verified_at, was_verified = v_erasure.was_verified, entry = v_erasure.entry
    where e.id = v_id;
    exit when clock_timestamp() > v_start + at_most;
  end loop;
  return v_steps;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Goes on with erasures for a few seconds, so many rows at a time; answers how many steps it took. pg_cron runs it.

-- function audit.continue_expiring()
CREATE OR REPLACE FUNCTION audit.continue_expiring()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if exists (select from audit.expired_logs()) or exists (select from audit.expired_exports(1))
    or exists (select from audit.expired_reports())
    or exists (select from audit.superseded_files(1))
  then
    return audit.call_jobs('expire');
  end if;
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has the files of expired archives, exports and reports removed, and superseded ones; does nothing where nothing is.

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

-- function audit.continue_manifests()
CREATE OR REPLACE FUNCTION audit.continue_manifests()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if exists (select from audit.exports x where x.state = 'done' and x.manifest_note is null)
    or exists (select from audit.erasures e where e.state = 'done' and e.certificate_note is null)
  then
    return audit.call_jobs('manifests');
  end if;
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Has manifests of exports, and certificates of erasures, that are done signed; does nothing where all are.

-- function audit.continue_reading_back()
CREATE OR REPLACE FUNCTION audit.continue_reading_back()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if exists (select from audit.due_readings()) then
    return audit.call_jobs('read-back');
  end if;
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has the archive read back where something is due; does nothing where nothing is.

-- function audit.continue_reports()
CREATE OR REPLACE FUNCTION audit.continue_reports()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if exists (
      select from audit.reports r where r.state = 'queued' or r.state = 'running' and r.lease_until < clock_timestamp()
    ) or exists (select from audit.report_schedules s where s.next_at is null or s.next_at <= clock_timestamp())
  then
    return audit.call_jobs('reports');
  end if;
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has reports that wait, or are due by schedule, made; does nothing where none is.

-- function audit.continue_sealing()
CREATE OR REPLACE FUNCTION audit.continue_sealing()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if exists (select from audit.logs l where l.sequenced > l.published and l.lease_until < clock_timestamp())
    or exists (select from audit.due_organizations())
  then
    return audit.call_jobs('seal');
  end if;
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has what is due sealed; does nothing where nothing is.

-- function audit.continue_verification(bigint,interval,interval)
CREATE OR REPLACE FUNCTION audit.continue_verification(most_entries bigint DEFAULT 100000, at_most interval DEFAULT '00:00:05'::interval, cycle interval DEFAULT '1 day'::interval)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_start timestamptz := clock_timestamp();
  v_steps int := 0;
  v_verification audit.verifications;
begin
  loop
    -- What was begun comes first, then who was never verified, then whose round is longest ago.
    insert into audit.verifications as v (organization_id)
    select o.organization_id
    from (
      select distinct h.organization_id from audit.heads h
    ) o
    left join audit.verifications v on v.organization_id = o.organization_id
    where v.organization_id is null or v.ended_at is null or v.begun_at <= clock_timestamp() - continue_verification.cycle
    order by v.ended_at is null and v.organization_id is not null desc, v.begun_at nulls first
    limit 1
    on conflict on constraint verifications_pkey do update set
      resume = case when v.ended_at is null then v.resume end,
      log = case when v.ended_at is null then v.log end,
      broken = case when v.ended_at is null then v.broken else 0 end,
      begun_at = case when v.ended_at is null then v.begun_at else clock_timestamp() end,
      ended_at = null
    returning v.* into v_verification;
    exit when v_verification.organization_id is null;
    v_verification := audit.verify_on(v_verification, continue_verification.most_entries);
    update audit.verifications v set
      resume = v_verification.resume, log = v_verification.log, broken = v_verification.broken, ended_at = v_verification.ended_at,
      was_verified = v_verification.was_verified, verified_at = v_verification.verified_at
    where v.organization_id = v_verification.organization_id;
    v_steps := v_steps + 1;
    exit when clock_timestamp() >= v_start + continue_verification.at_most;
  end loop;
  return v_steps;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Verifies on for a few seconds, every organisation once a cycle: its chains by audit.verify(), then its logs. What is broken
becomes a finding. Answers how many steps it took, 0 where all were verified within the cycle.

-- function audit.control_section(audit.reports,integer)
CREATE OR REPLACE FUNCTION audit.control_section(report audit.reports, n integer)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_control audit.report_controls;
  v_organization uuid;
  v_query text;
  v_exceptions_query text;
  v_population bigint;
  v_exceptions bigint;
  v_seed text;
  v_sample jsonb;
  v_most constant int := 25;
begin
  select c.* into strict v_control from audit.report_controls c
  where c.template = (report).template and c.n = control_section.n;
  v_organization := case when v_control.of_system then audit.system_organization() else (report).organization_id end;
  v_query := audit.report_query(report, v_control.query);
  v_population := audit.report_count(v_organization, v_query);
  v_exceptions_query := audit.report_query(report, concat_ws(' ', nullif(v_control.query, ''), nullif(v_control.exceptions, v_control.query)));
  if v_control.exceptions is not null then
    v_exceptions := case when v_exceptions_query = v_query then v_population else audit.report_count(v_organization, v_exceptions_query) end;
  end if;
  -- Whoever asks cannot choose the sample: the seed is what is asked for.
  v_seed := left(encode(sha256(convert_to(concat_ws('|', v_organization, v_query), 'UTF8')), 'hex'), 16);
  execute format(
    $q$
    select coalesce(jsonb_agg(audit.report_item(i) order by i.created_at, i.chain, i.seq), '[]')
    from (
      select e.* %s order by sha256(convert_to(%L || e.chain || '-' || e.seq, 'UTF8')) limit %s
    ) i
    $q$, audit.report_source(v_organization, v_query), v_seed || ':', v_most
  ) into v_sample;
  return jsonb_build_object(
    'kind', 'control', 'title', v_control.control, 'basis', v_control.basis, 'wording', v_control.wording,
    'question', v_control.question, 'query', v_query, 'of_system', v_control.of_system, 'population', v_population,
    'exceptions', case when v_control.exceptions is not null then jsonb_build_object(
      'query', v_exceptions_query, 'means', v_control.exception_means, 'count', v_exceptions,
      'items', audit.report_items(v_organization, v_exceptions_query, 50)
    ) end,
    'sample', jsonb_build_object('size', jsonb_array_length(v_sample), 'seed', v_seed, 'items', v_sample),
    'result', case
      when v_population = 0 then 'No entry of this kind in the period. The log proves what is in it; that nothing of this kind happened, only as far as capture was whole.'
      when v_exceptions > 0 then format('Exceptions: %s of %s, each %s, to be looked at.', v_exceptions, v_population, v_control.exception_means)
      when v_exceptions = 0 then format('No exception among %s.', v_population)
      else format('%s in the period; none is an exception by itself.', v_population)
    end
  );
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: One control: how many entries its query finds in the period, which are exceptions, and a sample of 25 that anybody can draw
again: those with the least SHA-256 of seed, a colon and the entry's name.

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

-- function audit.copies_left(uuid,text[])
CREATE OR REPLACE FUNCTION audit.copies_left(organization_id uuid, addresses text[])
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_table record;
  v_rows bigint;
  v_left jsonb := '{}';
begin
  if addresses = '{}' then
    return v_left;
  end if;
  -- Whatever tables there are: what is not known to hold addresses is looked at too. Identities and values of others aside.
  for v_table in
    select c.oid::regclass as table_name, string_agg(format('t.%I::text', a.attname), ', ' order by a.attnum) as columns
    from pg_catalog.pg_class c
    join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
    where c.relnamespace = 'audit'::regnamespace and c.relkind in ('r', 'p')
      and c.relname not in ('erasures', 'identities', 'personal_values', 'exports', 'reports')
      and a.atttypid in ('text'::regtype, 'text[]'::regtype, 'jsonb'::regtype, 'json'::regtype)
      and exists (select from pg_catalog.pg_attribute o where o.attrelid = c.oid and o.attname = 'organization_id' and not o.attisdropped)
    group by c.oid
    order by c.relname
  loop
    execute format('select count(*) from %s t where t.organization_id = $1 and concat_ws('' '', %s) ~* $2', v_table.table_name, v_table.columns)
      into v_rows using copies_left.organization_id, audit.values_pattern(addresses);
    if v_rows > 0 then
      v_left := v_left || jsonb_build_object(v_table.table_name::text, v_rows);
    end if;
  end loop;
  return v_left;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: In how many rows of which tables an address still stands, such as in what somebody has set up.

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

-- function audit.cost_section(audit.reports,text,text[],integer)
CREATE OR REPLACE FUNCTION audit.cost_section(report audit.reports, title text, groups text[], at_most integer)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select audit.report_table(
    cost_section.title,
    (select jsonb_agg(jsonb_build_object('title', initcap(g), 'width', 3) order by n) from unnest(groups) with ordinality g (g, n))
      || '[{"title": "Entries", "width": 1, "align": "right"}, {"title": "Cost", "width": 2, "align": "right"}]',
    jsonb_agg(c.cells order by c.n) filter (where c.n <= cost_section.at_most),
    format('Query: %s. Costs are as the application recorded them, in its currency.', audit.report_query(report, '')), count(*)
  )
  from (
    select (
        select jsonb_agg(case g
          when 'user' then audit.user_cell(s."user", 'no user') when 'provider' then to_jsonb(coalesce(s.provider, 'none'))
          when 'model' then to_jsonb(coalesce(s.model, 'none')) else to_jsonb(s.day::text)
        end order by n)
        from unnest(groups) with ordinality g (g, n)
      ) || jsonb_build_array(s.entries::text, s.cost::text) as cells,
      row_number() over (order by case when 'day' = any (groups) then s.day end, s.cost desc, s.provider, s.model, s."user") as n
    from audit.costs_of(
      (report).organization_id,
      audit.compile_query((report).organization_id, audit.parse_query(audit.report_query(report, ''))), groups
    ) s
  ) c
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What was spent in a period, by what.

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
    'filter', v_tree, 'costs_by', v_groups
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
      'filter', v_tree, 'costs_by', v_groups, 'entries', v_total -> 'entries'
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

-- function audit.count_activity(integer)
CREATE OR REPLACE FUNCTION audit.count_activity(at_most integer DEFAULT 20000)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_judged_to timestamptz := (select k.judged_to from audit.activity_clock k);
  v_counted int;
begin
  -- One at a time; who comes second has nothing to do.
  if not pg_try_advisory_xact_lock(hashtext('audit.count_activity')) then
    return null;
  end if;

  -- A chain's entries become visible in order and without gaps, so everything up to its head is there.
  with waiting as (
    select h.organization_id, h.chain, f.after, coalesce(p.last_at, '-infinity') as last_at, h.seq,
      sum(h.seq - f.after) over (order by h.last_at, h.organization_id, h.chain) as running
    from audit.heads h
    left join audit.activity_positions p on p.organization_id = h.organization_id and p.chain = h.chain
    left join audit.chain_bounds b on b.organization_id = h.organization_id and b.chain = h.chain
    -- What was purged before it was counted is not waited for.
    cross join lateral (select coalesce(greatest(p.seq, b.seq), 0) as after) f
    where h.seq > f.after
  ),
  taken as materialized (
    select w.organization_id, w.chain, w.after, w.last_at,
      least(w.seq, w.seq - (w.running - count_activity.at_most)) as upto
    from waiting w
    where w.running - (w.seq - w.after) < count_activity.at_most
  ),
  entry as materialized (
    select a.organization_id, a.chain, a.created_at, date_trunc('hour', a.created_at, 'UTC') as hour,
      coalesce(a.created_by::text, a.actor_type) as actor, a.provider, a.action,
      case when a.cost > '-Infinity' and a.cost < 'Infinity' then a.cost end as cost,
      -- A response does not name its model; its query, an earlier entry of the same resource, does.
      left(coalesce(a.details #>> '{new,model}', a.details ->> 'model', case when a.cost is not null then (
        select q.details #>> '{new,model}' from public.audit_logs q
        where q.resource_id = a.resource_id and q.organization_id = a.organization_id and q.resource_type = a.resource_type
          and q.action = 'query.executed' and q.created_at between a.created_at - interval '1 day' and a.created_at
        limit 1
      ) end), 200) as model
    from taken t
    join public.audit_logs a
      on a.organization_id = t.organization_id and a.chain = t.chain and a.seq > t.after and a.seq <= t.upto
        and a.created_at >= t.last_at
  ),
  counted as (
    insert into audit.activity as c (hour, organization_id, dimension, value, entries, queries, costs, cost, late)
    select e.hour, e.organization_id, d.dimension, d.value, count(*), count(*) filter (where e.action = 'query.executed'),
      count(e.cost), coalesce(sum(e.cost), 0), count(*) filter (where e.hour < v_judged_to)
    from entry e
    cross join lateral (
      values ('all', '', 60), ('actor', e.actor, 15), ('provider', e.provider, 15), ('model', e.model, 15), ('action', e.action, 15)
    ) d (dimension, value, days)
    -- Hours that are forgotten by now stay forgotten.
    where d.value is not null and e.hour > coalesce(v_judged_to, clock_timestamp()) - d.days * interval '24 hours'
    group by e.hour, e.organization_id, d.dimension, d.value
    order by e.hour, e.organization_id, d.dimension, d.value
    on conflict on constraint activity_pkey do update set
      entries = c.entries + excluded.entries, queries = c.queries + excluded.queries, costs = c.costs + excluded.costs,
      cost = c.cost + excluded.cost, late = c.late + excluded.late
    returning c.hour, c.organization_id, c.dimension
  ),
  belated as (
    update audit.judgements j set late = true
    from counted c
    where c.dimension = 'all' and c.hour < v_judged_to and j.organization_id = c.organization_id and j.hour = c.hour
  ),
  moved as (
    insert into audit.activity_positions as p (organization_id, chain, seq, last_at)
    select t.organization_id, t.chain, t.upto, coalesce(max(e.created_at), t.last_at)
    from taken t
    left join entry e on e.organization_id = t.organization_id and e.chain = t.chain
    group by t.organization_id, t.chain, t.upto, t.last_at
    on conflict on constraint activity_positions_pkey do update set seq = excluded.seq, last_at = excluded.last_at
  )
  select coalesce(sum(t.upto - t.after), 0) into v_counted from taken t;
  return v_counted;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Counts new entries into their hours, at most so many at once; returns how many, null where another run is counting.

-- function audit.count_erased(audit.erasures,bigint,bigint,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.count_erased(INOUT erasure audit.erasures, personal_values bigint, identities bigint, since timestamp with time zone)
 RETURNS audit.erasures
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  erasure.counts := erasure.counts || jsonb_build_object(
    'personal_values', coalesce((erasure.counts ->> 'personal_values')::bigint, 0) + count_erased.personal_values,
    'identities', coalesce((erasure.counts ->> 'identities')::bigint, 0) + count_erased.identities
  );
  erasure.since := least(erasure.since, count_erased.since);
  erasure.deleted_in := pg_current_xact_id();
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Adds to what an erasure has erased.

-- function audit.country_of(bytea)
CREATE OR REPLACE FUNCTION audit.country_of(identity_hash bytea)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_ip text := (select i.ip_address from audit.identities i where i.identity_hash = country_of.identity_hash limit 1);
  v_country text;
begin
  -- Where no table of addresses is loaded there are no countries.
  if v_ip is null or to_regproc('audit.place_of') is null then
    return null;
  end if;
  execute 'select p.country from audit.place_of($1) p' into v_country using v_ip;
  return v_country;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The country of an identity's IP address, where the project has a table of them.

-- function audit.coverage_sections(audit.reports)
CREATE OR REPLACE FUNCTION audit.coverage_sections(report audit.reports)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_first timestamptz := (
    select min(a.created_at) from public.audit_logs a where a.organization_id = (report).organization_id
  );
  v_bound record;
  v_notes text[];
begin
  select max(b.created_at) as until, sum(b.seq) as entries into v_bound
  from audit.chain_bounds b where b.organization_id = (report).organization_id;
  v_notes := array_remove(array[
    case when v_first is null then 'The log has no entry in the database.'
      when v_first > (report).period_from and v_bound.until is null
        then format('The log begins at %s, within the period: of before it knows nothing.', audit.instant_text(v_first)) end,
    case when v_bound.until >= (report).period_from
      then format('Entries up to %s were let go of from the database by retention, %s in all. They are in the archive as long as it is kept, and are not counted in this report: bring them back with npm run restore -- --entries.', audit.instant_text(v_bound.until), v_bound.entries) end,
    case when (report).period_to > (report).requested_at - interval '1 minute'
      then 'The period ends at the time of the request: entries that were being written then may be missing.' end,
    'In no entry is what was done while capture was off, past triggers, or in tables that are not tracked. The sections on capture and heartbeats bound that.'
  ], null);
  return jsonb_build_array(
    audit.report_text('What this report does not cover', v_notes),
    audit.listing_section(report, 'Changes of capture', 'action:capture.*', 100,
      'Which tables were captured, no longer captured, or captured otherwise. Settings count too.')
  ) || case when (report).template = 'attestation' then '[]' else jsonb_build_array(audit.heartbeat_section(report)) end;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What a report does not cover: before the log, let go of, not captured.

-- function audit.create_channel(jsonb)
CREATE OR REPLACE FUNCTION audit.create_channel(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_organization uuid := audit.requested_organization(request);
  v_kind text := request ->> 'kind';
  v_config jsonb;
  v_secret text;
  v_channel audit.channels;
begin
  perform audit.require_admin(v_organization);
  if v_kind is null or audit.channel_fields(v_kind) is null then
    perform audit.fail('AUARG', 'The kind of a channel is webhook, slack, email or smtp.');
  end if;
  perform audit.check_channel(request, v_kind, array['organization_id', 'kind']);
  if request ->> 'name' is null then
    perform audit.fail('AUARG', 'A channel has a name of 1 to 100 characters.');
  end if;
  if (select count(*) from audit.channels c where c.organization_id = v_organization) >= 50 then
    perform audit.fail('AUARG', 'An organisation has at most 50 channels.');
  end if;
  v_config := audit.channel_config(v_kind, (
    select coalesce(jsonb_object_agg(e.key, e.value), '{}') from jsonb_each(request) e where e.key = any (audit.channel_fields(v_kind))
  ));
  v_secret := case v_kind when 'webhook' then audit.new_webhook_secret() else v_config ->> audit.channel_secret_field(v_kind) end;
  begin
    insert into audit.channels (organization_id, name, kind, config, is_default, personal, secret_id)
    values (
      v_organization, request ->> 'name', v_kind, v_config - coalesce(audit.channel_secret_field(v_kind), ''),
      coalesce((request ->> 'default')::boolean, true), coalesce((request ->> 'personal')::boolean, false),
      case when v_secret is not null then audit.keep_secret(null, v_secret) end
    )
    returning * into v_channel;
  exception when unique_violation then
    perform audit.fail('AUARG', 'The organisation has a channel of that name.');
  end;
  perform audit.record(v_organization, 'channel.created', 'channel', v_channel.id::text, jsonb_build_object('new', audit.channel_summary(v_channel)));
  return audit.channel_json(v_channel, true) || case v_kind when 'webhook' then jsonb_build_object('secret', v_secret) else '{}' end;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Makes a channel: {organization_id, kind, name, default, personal} and of a webhook or slack {url}, email {to, from, key, api},
smtp {host, port, username, password, from, to}. The answer has the signing secret of a webhook, once. For admins; leaves an entry.

-- function audit.create_event_source(text,uuid,integer)
CREATE OR REPLACE FUNCTION audit.create_event_source(name text, organization_id uuid DEFAULT NULL::uuid, events_per_minute integer DEFAULT 6000)
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_secret text := audit.new_source_secret();
  v_id uuid;
begin
  begin
    insert into audit.event_sources as s (name, organization_id, secret_hash, events_per_minute, allowance)
    values (
      create_event_source.name, create_event_source.organization_id, sha256(convert_to(v_secret, 'UTF8')),
      create_event_source.events_per_minute, create_event_source.events_per_minute
    )
    returning s.id into v_id;
  exception when check_violation or not_null_violation or unique_violation then
    perform audit.fail('AUARG', format('No source can be called %L and report %s events a minute.', name, events_per_minute), null,
      'A name is new, of lower-case letters, digits, - and _, at most 63; a rate is 1 to 10,000,000.');
  end;
  perform audit.keep_source_secret(v_id, v_secret);
  perform audit.record(
    create_event_source.organization_id, 'capture.changed', 'event_source', create_event_source.name,
    jsonb_build_object('created', true, 'events_per_minute', create_event_source.events_per_minute)
  );
  return v_secret;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Makes a source of events, for one organisation or (null) any, and returns its secret, which nobody can read again: select audit.create_event_source('billing').

-- function audit.create_rule(jsonb)
CREATE OR REPLACE FUNCTION audit.create_rule(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_rule audit.rules;
  v_organization uuid := audit.as_uuid(request ->> 'organization_id');
begin
  if request ? 'id' or request ? 'version' then
    perform audit.fail_rule('A new rule gets its id and version.');
  elsif v_organization is null then
    perform audit.fail_rule('A rule is an organisation''s.', 'Pass organization_id.');
  elsif request ->> 'kind' = 'anomaly' then
    perform audit.fail_rule('Anomalies are watched for by the default alone.', 'Tune it: audit.choose_rule(), with "parameters".');
  end if;
  perform audit.require_admin(v_organization);
  v_rule := audit.checked_rule(request);
  if (select count(*) from audit.rules r where r.organization_id = v_organization) >= 100 then
    perform audit.fail_rule('An organisation has at most 100 rules of its own.');
  end if;
  begin
    insert into audit.rules (organization_id, name, description, kind, severity, enabled, match, settings, quiet_period, channels, compiled)
    values (
      v_organization, v_rule.name, v_rule.description, v_rule.kind, v_rule.severity, v_rule.enabled, v_rule.match, v_rule.settings,
      v_rule.quiet_period, v_rule.channels, v_rule.compiled
    )
    returning * into v_rule;
  exception when unique_violation then
    perform audit.fail_rule('There is a rule of this name.', 'Choose another, or change that rule.');
  end;
  perform audit.keep_rule_tests(v_rule.id, request -> 'tests');
  perform audit.record_rule_change(v_organization, v_rule.id, null, audit.rule_summary(v_rule));
  return audit.rule_json(v_rule);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Makes a rule of an organisation: select audit.create_rule('{"organization_id": "…", "name": "Keys deleted", "kind": "count",
"match": "action:api_key.deleted", "window": "1h", "threshold": 3, "group_by": ["actor"]}'). For its admins; leaves an entry.

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

-- function audit.delete_channel(jsonb)
CREATE OR REPLACE FUNCTION audit.delete_channel(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_channel audit.channels := audit.own_channel(request, array['channel']);
  v_waiting bigint := (select count(*) from audit.deliveries d where d.channel_id = v_channel.id and d.state = 'waiting');
begin
  delete from audit.channels c where c.id = v_channel.id;
  if v_channel.secret_id is not null then
    delete from vault.secrets s where s.id = v_channel.secret_id;
  end if;
  perform audit.resolve_channel_findings(v_channel);
  perform audit.record(v_channel.organization_id, 'channel.deleted', 'channel', v_channel.id::text,
    jsonb_build_object('old', audit.channel_summary(v_channel), 'undelivered', v_waiting));
  return audit.channel_json(v_channel, true);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Takes {channel} away, with its secret and what waits for it. For admins; leaves an entry, which counts the latter.

-- function audit.delete_rule(jsonb)
CREATE OR REPLACE FUNCTION audit.delete_rule(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_rule audit.rules := audit.rule_to_change(request ->> 'id');
begin
  perform audit.check_request(request, array['id']);
  if audit.is_built_in(v_rule.id) then
    perform audit.fail_rule('A default is not deleted but switched off.', 'audit.choose_rule() does, for an organisation.');
  end if;
  perform audit.forget_rule(v_rule.id);
  delete from audit.rules r where r.id = v_rule.id;
  perform audit.record_rule_change(v_rule.organization_id, v_rule.id, audit.rule_summary(v_rule), null);
  perform audit.resolve_alerts_of(v_rule.id);
  return audit.rule_json(v_rule);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Deletes a rule: select audit.delete_rule('{"id": "…"}'). Its alerts are resolved, and stay. For admins of the rule's
organisation; leaves an entry.

-- function audit.delivery_json(audit.deliveries)
CREATE OR REPLACE FUNCTION audit.delivery_json(delivery audit.deliveries)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'id', (delivery).id, 'organization_id', (delivery).organization_id, 'channel', (delivery).channel_id, 'alert', (delivery).alert_id, 'type', (delivery).type,
    'state', (delivery).state, 'attempts', (delivery).attempts, 'last_error', (delivery).last_error,
    'created_at', audit.instant_text((delivery).created_at), 'settled_at', audit.instant_text((delivery).settled_at),
    'next_try_at', case when (delivery).state = 'waiting' then audit.instant_text((delivery).next_try_at) end
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A message as the API shows it, without what it says.

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

-- function audit.detect_anomalies(interval)
CREATE OR REPLACE FUNCTION audit.detect_anomalies(grace interval DEFAULT '00:05:00'::interval)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_now timestamptz := clock_timestamp();
  v_closed timestamptz := date_trunc('hour', v_now - detect_anomalies.grace, 'UTC');
  v_hour timestamptz;
  v_judgement audit.judgements;
  v_counted int;
  v_raised int := 0;
begin
  loop
    v_counted := audit.count_activity();
    exit when v_counted < 20000;
    -- Somebody else is at it, or there is more than a run's worth: hours are judged when all of them is counted.
    if v_counted is null or clock_timestamp() > v_now + interval '10 seconds' then
      return 0;
    end if;
  end loop;

  -- What came after its hour was judged is judged with it; only what is still news raises an alert.
  for v_judgement in select j.* from audit.judgements j where j.late order by j.hour loop
    perform audit.judge_activity(v_judgement.hour, v_judgement.organization_id, v_judgement.metric);
    v_raised := v_raised + audit.raise_anomalies(v_judgement.hour, v_now);
  end loop;

  select coalesce(k.judged_to, (select min(a.hour) from audit.activity a), v_closed) into v_hour from audit.activity_clock k for update;
  while v_hour < v_closed and clock_timestamp() < v_now + interval '40 seconds' loop
    perform audit.judge_activity(v_hour);
    v_raised := v_raised + audit.raise_anomalies(v_hour, v_now);
    perform audit.learn_lasting_changes(v_hour);
    -- Parts of an hour are compared for 14 days, hours and what was thought of them are kept for 60.
    delete from audit.activity a where a.hour = v_hour - interval '360 hours' and a.dimension <> 'all';
    delete from audit.activity a where a.hour = v_hour - interval '1440 hours';
    delete from audit.judgements j where j.hour = v_hour - interval '1440 hours';
    v_hour := v_hour + interval '1 hour';
  end loop;
  update audit.activity_clock k set judged_to = v_hour where k.judged_to is distinct from v_hour;
  return v_raised;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Counts what is new, judges the hours that ended a grace ago, and raises alerts; returns how many. Missed runs are made up for,
without alerts for what is over for a day. pg_cron runs it.

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

-- function audit.digest_activity(uuid,timestamp with time zone,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.digest_activity(organization_id uuid, from_time timestamp with time zone, to_time timestamp with time zone)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  with entry as materialized (
    select e.action, e.outcome, e.created_by from public.audit_logs e
    where e.organization_id = digest_activity.organization_id and e.created_at >= from_time and e.created_at < to_time
  )
  select jsonb_build_object(
    'entries', (select count(*) from entry),
    'not_successful', (select count(*) from entry where outcome <> 'success'),
    'actions', (
      select coalesce(jsonb_agg(jsonb_build_object('action', a.action, 'count', a.n) order by a.n desc, a.action), '[]')
      from (select action, count(*) as n from entry group by action order by n desc, action limit 20) a
    ),
    'actors', (
      select coalesce(jsonb_agg(jsonb_build_object('actor', a.created_by, 'count', a.n) order by a.n desc, a.created_by), '[]')
      from (select created_by, count(*) as n from entry where created_by is not null group by created_by order by n desc, created_by limit 10) a
    ),
    'alerts', (
      select coalesce(jsonb_object_agg(s.severity, s.n), '{}')
      from (
        select a.severity, count(*) as n from audit.alerts a
        where a.organization_id = digest_activity.organization_id and a.opened_at >= from_time and a.opened_at < to_time
          and not exists (select from audit.rules r where r.id = a.rule_id and r.settings ? 'digest')
        group by a.severity
      ) s
    )
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Who did what in an organisation between two times: counts of actions, actors and alerts.

-- function audit.digest_costs(uuid,timestamp with time zone,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.digest_costs(organization_id uuid, from_time timestamp with time zone, to_time timestamp with time zone)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  with entry as materialized (
    select e.chain || '-' || e.seq as name, e.action, e.created_by, e.provider, e.cost from public.audit_logs e
    where e.organization_id = digest_costs.organization_id and e.created_at >= from_time and e.created_at < to_time
      and e.cost > 0 and e.cost < 'Infinity'
  )
  select jsonb_build_object(
    'entries', (select count(*) from entry),
    'cost', (select coalesce(sum(cost), 0)::text from entry),
    'providers', (
      select coalesce(jsonb_agg(jsonb_build_object('provider', p.provider, 'cost', p.cost::text, 'count', p.n) order by p.cost desc), '[]')
      from (select provider, sum(cost) as cost, count(*) as n from entry group by provider order by 2 desc limit 20) p
    ),
    'actors', (
      select coalesce(jsonb_agg(jsonb_build_object('actor', a.created_by, 'cost', a.cost::text, 'count', a.n) order by a.cost desc), '[]')
      from (select created_by, sum(cost) as cost, count(*) as n from entry where created_by is not null group by created_by order by 2 desc limit 10) a
    ),
    'dearest', (
      select coalesce(jsonb_agg(jsonb_build_object('entry', d.name, 'action', d.action, 'actor', d.created_by, 'provider', d.provider, 'cost', d.cost::text) order by d.cost desc), '[]')
      from (select * from entry order by cost desc, name limit 10) d
    )
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What an organisation spent between two times: by provider and actor, and the dearest actions.

-- function audit.digest_id(text)
CREATE OR REPLACE FUNCTION audit.digest_id(value text)
 RETURNS uuid
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN (encode(SUBSTRING(sha256(convert_to(value, 'UTF8'::name)) FROM 1 FOR 16), 'hex'::text))::uuid

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The first 16 bytes of the text's SHA-256 as a UUID: a name that fits an index.

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

-- function audit.disable_channel(uuid,text)
CREATE OR REPLACE FUNCTION audit.disable_channel(channel_id uuid, reason text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_channel audit.channels;
  v_waiting bigint;
begin
  update audit.channels c set disabled_at = clock_timestamp(), disabled_reason = disable_channel.reason
  where c.id = disable_channel.channel_id and c.disabled_at is null
  returning c.* into v_channel;
  if not found then
    return;
  end if;
  with dead as (
    update audit.deliveries d set state = 'dead', settled_at = clock_timestamp(), last_error = coalesce(d.last_error, 'channel_disabled')
    where d.channel_id = v_channel.id and d.state = 'waiting' and d.type <> 'channel.test'
    returning d.id
  )
  select count(*) into v_waiting from dead;
  perform audit.record(v_channel.organization_id, 'channel.disabled', 'channel', v_channel.id::text,
    jsonb_build_object('name', v_channel.name, 'reason', disable_channel.reason, 'undelivered', v_waiting), 'failure');
  perform audit.note_finding(v_channel.organization_id, 'channel_disabled', v_channel.id::text,
    jsonb_build_object('name', v_channel.name, 'reason', disable_channel.reason));
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Gives a channel nothing any more; what waits for it is dead, and can be replayed. Leaves an entry and a finding.

-- function audit.disable_event_source(text)
CREATE OR REPLACE FUNCTION audit.disable_event_source(name text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_source audit.event_sources;
begin
  update audit.event_sources s set disabled_at = clock_timestamp()
  where s.name = disable_event_source.name and s.disabled_at is null
  returning s.* into v_source;
  if v_source.id is null then
    return false;
  end if;
  perform audit.keep_source_secret(v_source.id, null);
  perform audit.record(
    v_source.organization_id, 'capture.changed', 'event_source', v_source.name, jsonb_build_object('disabled', true)
  );
  return true;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Takes nothing from a source any more and leaves an entry; false where that was so already.

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

-- function audit.drop_empty_partition()
CREATE OR REPLACE FUNCTION audit.drop_empty_partition()
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO ''
 SET lock_timeout TO '50ms'
 SET enable_seqscan TO 'off'
AS $function$
declare
  v_partition text;
  v_is_empty boolean;
begin
  for v_partition in
    select audit.qualified_name(r.partition) from audit.partition_ranges() r
    where r.to_time <= date_trunc('month', clock_timestamp(), 'UTC')
    order by r.from_time
  loop
    execute format('select not exists (select from %s)', v_partition) into v_is_empty;
    continue when not v_is_empty;
    execute format('alter table public.audit_logs detach partition %s', v_partition);
    -- Looked at again where nobody can write to it: a clock that was set back must not lose an entry.
    execute format('select not exists (select from %s)', v_partition) into v_is_empty;
    if not v_is_empty then
      perform audit.fail('AUIMM', format('Entries were written to %s meanwhile.', v_partition));
    end if;
    execute format('drop table %s', v_partition);
    return v_partition;
  end loop;
  return null;
exception when lock_not_available or sqlstate 'AUIMM' then
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Drops the oldest partition of a month that is over and of which all entries were purged; null where there is none, or
where somebody reads the log at this moment. pg_cron runs it.

-- function audit.due_channels(integer)
CREATE OR REPLACE FUNCTION audit.due_channels(most integer)
 RETURNS SETOF audit.channels
 LANGUAGE sql
 STABLE ROWS 10
 SET search_path TO ''
AS $function$
  -- From channel to channel in the index of what waits: most wait for nothing.
  with recursive waiting (channel_id) as (
    (select d.channel_id from audit.deliveries d where d.state = 'waiting' order by d.channel_id limit 1)
    union all
    select (select d.channel_id from audit.deliveries d where d.state = 'waiting' and d.channel_id > w.channel_id order by d.channel_id limit 1)
    from waiting w
    where w.channel_id is not null
  )
  select c.*
  from waiting w
  join audit.channels c on c.id = w.channel_id
  -- One of each is enough; "exists" would find all first.
  cross join lateral (select from audit.due_deliveries d where d.channel_id = c.id order by d.next_try_at limit 1) d
  where c.next_try_at <= clock_timestamp() and audit.free_places(c) > 0
  limit most
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: So many channels that have something to be told, and may be told it now.

-- function audit.due_organizations(boolean)
CREATE OR REPLACE FUNCTION audit.due_organizations(due_now boolean DEFAULT false)
 RETURNS SETOF uuid
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select d.organization_id
  from (
    select w.organization_id, sum(w.to_seq - w.from_seq + 1) as entries, min(w.since) as since
    from audit.waiting_chains() w
    group by w.organization_id
    union all
    -- A log that says nothing for an hour says that nothing happened.
    select h.organization_id, 0, h.last_at
    from audit.heads h
    where h.chain = audit.log_chain() and h.last_at <= clock_timestamp() - interval '1 hour'
  ) d
  where due_organizations.due_now or d.entries = 0 or d.entries >= 256
    -- A clock that was set back must not keep entries waiting.
    or d.since not between clock_timestamp() - make_interval(secs => (audit.setting('seal_after', d.organization_id))::double precision)
      and clock_timestamp()
  group by d.organization_id
  order by min(d.since)
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Organisations to be sealed, the longest waiting first: 256 entries, or one that waited as long as the setting seal_after,
or an hour of silence.

-- function audit.due_readings(interval,interval)
CREATE OR REPLACE FUNCTION audit.due_readings(patience interval DEFAULT '01:00:00'::interval, cycle interval DEFAULT '7 days'::interval)
 RETURNS TABLE(log integer, again boolean, since timestamp with time zone)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  return query
  select l.id, a.again, greatest(coalesce(r.next_at, '-infinity'), case when a.again then coalesce(r.ended_at, l.opened_at) end)
  from audit.logs l
  cross join (values (false), (true)) a (again)
  left join audit.readings r on r.log = l.id and r.again = a.again
  where l.published > 0 and coalesce(r.next_at, '-infinity') <= clock_timestamp()
    and l.archive_deletion_began_at is null -- past its retention
    and case
      when a.again then
        r.ended_at is null and r.log is not null
        or coalesce(r.begun_at, l.opened_at) <= clock_timestamp() - due_readings.cycle
      -- Full bundles at once; a partial one, which the next checkpoint replaces, only now and then.
      when l.published / 256 > coalesce(r.size, 0) / 256 then true
      when l.published > coalesce(r.size, 0) then coalesce(r.ended_at, '-infinity') <= clock_timestamp() - due_readings.patience
      -- That of a log that is closed stays.
      else coalesce(r.ended_at, '-infinity') < l.closed_at
    end;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Logs with something to read back: new full bundles, a partial one that was read the patience ago, and every log again once a cycle.

-- function audit.due_schedules()
CREATE OR REPLACE FUNCTION audit.due_schedules()
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select coalesce(jsonb_agg(jsonb_build_object('schedule', s.id, 'cron', s.cron, 'time_zone', s.time_zone, 'next_at', s.next_at) order by s.next_at nulls first), '[]')
  from (
    select s.* from audit.report_schedules s
    where s.next_at is null or s.next_at <= clock_timestamp()
    order by s.next_at nulls first
    limit 100
  ) s
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Schedules that are due, or were never reckoned.

-- function audit.duration(text)
CREATE OR REPLACE FUNCTION audit.duration(value text)
 RETURNS interval
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (value ~ '^\d{1,8}[smhdwy]$'::text) THEN ((("left"(value, '-1'::integer))::integer)::double precision * CASE "right"(value, 1) WHEN 's'::text THEN '00:00:01'::interval WHEN 'm'::text THEN '00:01:00'::interval WHEN 'h'::text THEN '01:00:00'::interval WHEN 'd'::text THEN '24:00:00'::interval WHEN 'w'::text THEN '168:00:00'::interval ELSE '8760:00:00'::interval END) ELSE NULL::interval END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A length of time as rules write it: 30s, 10m, 1h, 14d, 2w, 1y; null for what is none.

-- function audit.duration_text(interval)
CREATE OR REPLACE FUNCTION audit.duration_text(length interval)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (((EXTRACT(epoch FROM length))::bigint % (86400)::bigint) = 0) THEN (((EXTRACT(epoch FROM length))::bigint / 86400) || 'd'::text) WHEN (((EXTRACT(epoch FROM length))::bigint % (3600)::bigint) = 0) THEN (((EXTRACT(epoch FROM length))::bigint / 3600) || 'h'::text) WHEN (((EXTRACT(epoch FROM length))::bigint % (60)::bigint) = 0) THEN (((EXTRACT(epoch FROM length))::bigint / 60) || 'm'::text) ELSE ((EXTRACT(epoch FROM length))::bigint || 's'::text) END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A length of time as rules write it.

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

-- function audit.enable_channel(jsonb)
CREATE OR REPLACE FUNCTION audit.enable_channel(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_channel audit.channels := audit.own_channel(request, array['channel']);
begin
  if v_channel.disabled_at is not null then
    perform audit.record(v_channel.organization_id, 'channel.enabled', 'channel', v_channel.id::text);
  end if;
  update audit.channels c set disabled_at = null, disabled_reason = null, failures = 0, last_error = null, next_try_at = '-infinity'
  where c.id = v_channel.id
  returning c.* into v_channel;
  perform audit.resolve_channel_findings(v_channel);
  return audit.channel_json(v_channel, true);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Has {channel} get messages again, at once; what it did not get meanwhile audit.replay_delivery() sends. For admins; leaves an entry.

-- function audit.enable_receiver(text,text)
CREATE OR REPLACE FUNCTION audit.enable_receiver(kind text, name text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  update audit.receivers r set disabled_at = null, attempts = 0, next_try_at = '-infinity', last_error = null
  where r.kind = enable_receiver.kind and r.name = enable_receiver.name;
  if not found then
    perform audit.fail('AUARG', format('There is no %s named %s.', enable_receiver.kind, enable_receiver.name), null,
      'audit.outside lists them; those that are new appear when the functions have run.');
  end if;
  return audit.resolve_finding(audit.system_organization(), 'receiver_gone', enable_receiver.name);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has a receiver that said it is gone, or failed often, asked again at once; answers whether that was a finding.

-- function audit.end_restore(integer,jsonb,jsonb,jsonb)
CREATE OR REPLACE FUNCTION audit.end_restore(incarnation integer, details jsonb, organizations jsonb, tables jsonb)
 RETURNS text[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_installed jsonb;
  v_table record;
  v_missing text[] := '{}';
begin
  perform audit.compile_ip_setting();
  -- Searches find entries by reading them until the index is made again.
  perform audit.rebuild_search_index();
  -- What was there before the loss has raised its alerts.
  perform audit.compile_rules();
  perform audit.skip_to_now();
  v_installed := audit.close_restore(end_restore.incarnation, end_restore.details);
  perform audit.record(o.organization_id, 'log.restored', 'log', null, o.details)
  from jsonb_to_recordset(end_restore.organizations) o (organization_id uuid, details jsonb);
  perform audit.record(null, i.action, i.resource_type, i.resource_id, i.details)
  from jsonb_to_recordset(v_installed) i (action text, resource_type text, resource_id text, details jsonb);
  for v_table in select t.table_name, t.options from jsonb_to_recordset(end_restore.tables) t (table_name text, options jsonb) loop
    if to_regclass(v_table.table_name) is null then
      v_missing := v_missing || v_table.table_name;
    else
      perform audit.track(v_table.table_name, v_table.options);
    end if;
  end loop;
  perform audit.refresh_capture();
  return v_missing;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Ends a restore: from here on the log goes on. Leaves a log.restored entry in each organisation's log, and tracks the tables
of the backup; answers those that are not there.

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

-- function audit.ensure_partitions_since(date)
CREATE OR REPLACE FUNCTION audit.ensure_partitions_since(month date)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_month date;
  v_name text;
begin
  for v_month in
    select g::date
    from generate_series(ensure_partitions_since.month, date_trunc('month', clock_timestamp() at time zone 'utc'), interval '1 month') g
    where not exists (
      select from audit.partition_ranges() r
      where (g::date::text || ' 00:00:00+00')::timestamptz >= r.from_time and (g::date::text || ' 00:00:00+00')::timestamptz < r.to_time
    )
  loop
    v_name := format('audit_logs_%s', to_char(v_month, 'YYYY_MM'));
    execute format(
      'create table public.%I partition of public.audit_logs for values from (%L) to (%L)',
      v_name, v_month::text || ' 00:00:00+00', (v_month + interval '1 month')::date::text || ' 00:00:00+00'
    );
    perform audit.secure_partition(format('public.%I', v_name)::regclass);
  end loop;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Makes the log's partitions of past months, where they are missing.

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

-- function audit.entries_between(uuid,integer,bigint,bigint,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.entries_between(organization_id uuid, chain integer, after bigint, upto bigint, since timestamp with time zone)
 RETURNS SETOF public.audit_logs
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET enable_bitmapscan TO 'off'
AS $function$
begin
  return query
    select a.* from public.audit_logs a
    where a.organization_id = entries_between.organization_id and a.chain = entries_between.chain
      and a.seq > entries_between.after and a.seq <= entries_between.upto and a.created_at >= entries_between.since
    order by a.seq;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The entries of a chain after one position and up to another, none of which is earlier than a time.

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

-- function audit.entry_at(integer,bigint)
CREATE OR REPLACE FUNCTION audit.entry_at(log integer, index bigint)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select concat(r.chain, '-', r.from_seq + entry_at.index - r.start)
  from audit.log_ranges r
  where r.log = entry_at.log and r.start <= entry_at.index
  order by r.start desc
  limit 1
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The name of the entry that stands at an index of a log.

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

-- function audit.entry_proof(jsonb)
CREATE OR REPLACE FUNCTION audit.entry_proof(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_organization uuid;
  v_name text := request ->> 'name';
  v_entry public.audit_logs;
  v_place jsonb;
begin
  perform audit.check_request(request, array['organization_id', 'name']);
  v_organization := audit.requested_organization(request);
  if audit.is_purged(v_organization, v_name) then
    v_place := audit.place_in_log(v_organization, split_part(v_name, '-', 1)::int, split_part(v_name, '-', 2)::bigint);
    if v_place is not null then
      perform audit.read_archive(v_organization, v_place ->> 'folder', true);
      return v_place;
    end if;
  end if;
  v_entry := audit.find_entry(v_organization, v_name);
  v_place := audit.place_in_log(v_organization, v_entry.chain, v_entry.seq);
  if v_place is null then
    perform audit.fail('AUPND', format('The entry %s is not sealed yet.', v_name), null,
      'Sealing takes a minute: ask again then.');
  end if;
  return v_place || jsonb_build_object('hash', encode(v_entry.hash, 'hex'), 'entry_text', audit.entry_text(v_entry));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What a receipt is made of: the place of an entry that the caller may read, its newest checkpoint, hash and text; without
these two for one that was purged, which the archive has. AUPND while it is not sealed.

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

-- function audit.erase_again(uuid,timestamp with time zone,jsonb)
CREATE OR REPLACE FUNCTION audit.erase_again(organization_id uuid, erased_at timestamp with time zone, details jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_subject uuid := audit.as_uuid(erase_again.details ->> 'subject');
  v_until timestamptz := coalesce((erase_again.details ->> 'until')::timestamptz, erase_again.erased_at);
begin
  delete from audit.identities i
  where i.organization_id = erase_again.organization_id and (
    encode(i.identity_hash, 'hex') in (select jsonb_array_elements_text(jsonb_path_query_array(erase_again.details, '$.identities[*]')))
    or i.user_id = v_subject and i.created_at <= v_until
  );
  delete from audit.personal_values v
  where v.organization_id = erase_again.organization_id and (
    encode(v.value_hash, 'hex') in (select jsonb_array_elements_text(jsonb_path_query_array(erase_again.details, '$.personal_values[*]')))
    or v.subject_id = v_subject and v.created_at <= v_until
  );
  perform audit.withdraw_reports(erase_again.organization_id, v_subject);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Erases what a subject.erased entry says was erased: the hashes in "identities" and "personal_values", and all of "subject" up to then.

-- function audit.erase_identities(audit.erasures,integer)
CREATE OR REPLACE FUNCTION audit.erase_identities(erasure audit.erasures, at_most integer, OUT erased integer, OUT since timestamp with time zone, OUT places text[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_others int := 0;
  v_hashes bytea[];
  v_others_since timestamptz;
begin
  with gone as (
    delete from audit.identities i
    where i.ctid = any (array(
      select j.ctid from audit.identities j
      where j.user_id = (erasure).subject and j.organization_id = (erasure).organization_id and j.created_at <= (erasure).until
      limit at_most
    ))
    returning i.created_at, i.ip_address
  )
  select count(*), min(g.created_at), coalesce(array_agg(distinct g.ip_address) filter (where g.ip_address is not null), '{}')
  into erased, since, places
  from gone g;
  if erased < at_most and (erasure).addresses <> '{}' then
    with gone as (
      delete from audit.identities i
      where i.ctid = any (array(
        select j.ctid from audit.identities j
        where j.user_id is null and j.organization_id = (erasure).organization_id
          and lower(j.email) = any ((erasure).addresses) and j.created_at <= (erasure).until
        limit at_most - erased
      ))
      returning i.created_at, i.identity_hash
    )
    select count(*), min(g.created_at), array_agg(g.identity_hash) into v_others, v_others_since, v_hashes from gone g;
    perform audit.state_erased(erasure, v_hashes, '{}');
  end if;
  erased := erased + v_others;
  since := least(since, v_others_since);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Deletes identities of a person, at most so many; answers how many, the oldest, and the IP addresses in them.

-- function audit.erase_on(audit.erasures,integer)
CREATE OR REPLACE FUNCTION audit.erase_on(INOUT erasure audit.erasures, most_rows integer)
 RETURNS audit.erasures
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_step record;
  v_verification audit.verifications;
begin
  erasure.holds := audit.holds_on(erasure.organization_id);
  if erasure.holds is not null then
    return;
  end if;
  case erasure.state
    when 'values' then
      v_step := audit.erase_values(erasure, most_rows);
      erasure := audit.count_erased(erasure, v_step.erased, 0, v_step.since);
      if v_step.erased < most_rows then
        erasure.state := 'identities';
      end if;
    when 'identities' then
      v_step := audit.erase_identities(erasure, most_rows);
      -- Of who came from more, the copies elsewhere are found by the first ten thousand.
      erasure.places := array(select unnest(erasure.places || v_step.places) limit 10000);
      erasure := audit.count_erased(erasure, 0, v_step.erased, v_step.since);
      if v_step.erased < most_rows then
        erasure.state := 'settling';
      end if;
    when 'settling' then
      erasure := audit.settle_erasure(erasure);
    when 'files' then
      if not exists (
        select from audit.exports x where x.organization_id = erasure.organization_id and x.withdrawn_at is not null
        union all
        select from audit.reports r
        where r.organization_id = erasure.organization_id and (
          r.state = 'withdrawn' or r.state in ('queued', 'running') and r.generated_at is not null
        )
      ) then
        erasure.state := 'verifying';
      end if;
    when 'verifying' then
      select v.* into v_verification from audit.verifications v where v.organization_id = erasure.organization_id;
      if v_verification.begun_at > erasure.erased_at and v_verification.ended_at is not null then
        erasure.was_verified := v_verification.was_verified;
        erasure.verified_at := v_verification.verified_at;
        erasure.state := 'done';
      else
        -- The round that was begun before does not tell: the next is due at once.
        update audit.verifications v set begun_at = '-infinity'
        where v.organization_id = erasure.organization_id and v.ended_at is not null;
      end if;
  end case;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Does the next step of an erasure; a legal hold stops it where it is.

-- function audit.erase_subject(uuid,text,text,text,boolean)
CREATE OR REPLACE FUNCTION audit.erase_subject(organization_id uuid, subject text, ground text DEFAULT NULL::text, reason text DEFAULT NULL::text, dry_run boolean DEFAULT true)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_subject audit.subject;
  v_scope jsonb;
  v_holds jsonb;
  v_erasure audit.erasures;
  v_is_refused boolean;
begin
  perform audit.require_admin(erase_subject.organization_id);
  if erase_subject.organization_id is null or erase_subject.dry_run is null then
    perform audit.fail('AUARG', 'An erasure needs an organisation and a person.');
  end if;
  v_subject := audit.find_subject(erase_subject.organization_id, erase_subject.subject);
  v_scope := audit.erasure_scope(v_subject);
  if (v_scope ->> 'identities')::bigint + (v_scope ->> 'personal_values')::bigint + (v_scope ->> 'entries_kept')::bigint
    + (v_scope #>> '{entries_with_address,count}')::bigint = 0
  then
    perform audit.fail('AUNOT', 'The organisation''s log knows no such person.');
  elsif erase_subject.dry_run then
    return jsonb_build_object('dry_run', true) || v_scope;
  elsif coalesce(erase_subject.ground, '') !~ '^(17\(1\)\([a-f]\)|17\(3\)\([a-e]\)|other)$' then
    perform audit.fail('AUARG', 'An erasure has a ground.', null,
      '17(1)(a) to 17(1)(f) erase, 17(3)(a) to 17(3)(e) record why not (GDPR); "other" for another law.');
  elsif length(erase_subject.reason) > 2000
    or exists (
      select from unnest((v_subject).addresses || lower(btrim(erase_subject.subject))) a
      where a like '%@%' and strpos(lower(erase_subject.reason), a) > 0
    )
  then
    perform audit.fail('AUARG', 'The reason has at most 2,000 characters, and does not name the person''s address: it stays in the log.');
  end if;
  select e.* into v_erasure from audit.erasures e
  where e.organization_id = erase_subject.organization_id and e.state not in ('done', 'refused')
    and (e.subject = (v_subject).user_id or e.subject is null and e.addresses && (v_subject).addresses);
  if found then
    return audit.erasure_json(v_erasure); -- asked again while it is under way
  end if;

  perform audit.await_purge(); -- a hold that is being placed comes first
  v_holds := audit.holds_on(erase_subject.organization_id);
  v_is_refused := v_holds is not null or erase_subject.ground like '17(3)%';
  insert into audit.erasures (organization_id, subject, addresses, ground, reason, requested_by, state, holds)
  values (
    erase_subject.organization_id, (v_subject).user_id, case when v_is_refused then '{}' else (v_subject).addresses end,
    case when v_holds is null or erase_subject.ground like '17(3)%' then erase_subject.ground else '17(3)(e)' end,
    erase_subject.reason, auth.uid(), case when v_is_refused then 'refused' else 'values' end, v_holds
  )
  returning * into v_erasure;
  perform audit.record(
    erase_subject.organization_id, case when v_is_refused then 'subject.erasure_refused' else 'subject.erasure_requested' end,
    'user', (v_subject).user_id::text,
    jsonb_strip_nulls(jsonb_build_object(
      'erasure', v_erasure.id, 'asked_for', nullif(erase_subject.ground, v_erasure.ground), 'ground', v_erasure.ground,
      'reason', v_erasure.reason, 'holds', v_holds
    )),
    case when v_is_refused then 'denied' else 'success' end
  );
  return audit.erasure_json(v_erasure);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Erases a person from an organisation's log, by user id or e-mail address; by default only says what would go. With a ground
of Art. 17(3), or where a legal hold is in the way, it records that it was refused. For admins; leaves an entry.

-- function audit.erase_values(audit.erasures,integer)
CREATE OR REPLACE FUNCTION audit.erase_values(erasure audit.erasures, at_most integer, OUT erased integer, OUT since timestamp with time zone)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_subject audit.subject := row((erasure).organization_id, (erasure).subject, (erasure).addresses);
  v_others int := 0;
  v_hashes bytea[];
  v_others_since timestamptz;
begin
  with gone as (
    delete from audit.personal_values v
    where v.ctid = any (array(
      select w.ctid from audit.personal_values w
      where w.subject_id = (v_subject).user_id and w.organization_id = (v_subject).organization_id and w.created_at <= (erasure).until
      limit at_most
    ))
    returning v.created_at
  )
  select count(*), min(g.created_at) into erased, since from gone g;
  if erased < at_most then
    with gone as (
      delete from audit.personal_values v
      where v.ctid = any (array(
        select w.ctid from audit.personal_values w
        where w.organization_id = (v_subject).organization_id and w.created_at <= (erasure).until
          and (audit.is_value_of(w, v_subject) or w.value_hash in (select audit.queries_about(v_subject, (erasure).until)))
        limit at_most - erased
      ))
      returning v.created_at, v.value_hash
    )
    select count(*), min(g.created_at), array_agg(g.value_hash) into v_others, v_others_since, v_hashes from gone g;
    perform audit.state_erased(erasure, '{}', v_hashes);
  end if;
  erased := erased + v_others;
  since := least(since, v_others_since);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Deletes personal values of a person, at most so many; answers how many, and the oldest.

-- function audit.erasure_json(audit.erasures)
CREATE OR REPLACE FUNCTION audit.erasure_json(erasure audit.erasures)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'id', (erasure).id, 'organization_id', (erasure).organization_id, 'subject', (erasure).subject, 'ground', (erasure).ground,
    'reason', (erasure).reason, 'requested_by', (erasure).requested_by,
    'requested_at', audit.instant_text((erasure).requested_at), 'state', (erasure).state,
    'until', audit.instant_text((erasure).until), 'erased', (erasure).counts,
    'holds', coalesce((erasure).holds, '[]'), 'erased_at', audit.instant_text((erasure).erased_at),
    'entry', (erasure).entry, 'remains', (erasure).remains,
    'verified_at', audit.instant_text((erasure).verified_at), 'was_verified', (erasure).was_verified,
    'certified', (erasure).certificate_note is not null
  )
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: An erasure as the API shows it.

-- function audit.erasure_manifest(audit.erasures)
CREATE OR REPLACE FUNCTION audit.erasure_manifest(erasure audit.erasures)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  -- The form of an export's manifest without files, so that the same program verifies it.
  select jsonb_build_object(
    'version', 1, 'organization_id', (erasure).organization_id, 'format', 'erasure', 'filter', null, 'complete', true,
    'entries', 0, 'first', null, 'last', null, 'parts', '[]'::jsonb,
    'checkpoint', audit.newest_checkpoint((erasure).organization_id),
    'certificate', jsonb_build_object(
      'erasure', (erasure).id, 'subject', (erasure).subject, 'ground', (erasure).ground,
      'requested_at', audit.instant_text((erasure).requested_at), 'requested_by', (erasure).requested_by,
      'until', audit.instant_text((erasure).until), 'erased_at', audit.instant_text((erasure).erased_at),
      'erased', (erasure).counts, 'entry', (erasure).entry,
      'verification', jsonb_build_object(
        'at', audit.instant_text((erasure).verified_at), 'chains_and_logs_verify', (erasure).was_verified
      ),
      'remains', (erasure).remains || jsonb_build_object(
        'entries_hold', 'the user id, and salted commitments whose salt and values are deleted',
        'backups_until', case when audit.setting('backup_days')::int > 0 and exists (select from audit.backups b where b.made_at <= (erasure).erased_at)
          then audit.instant_text((erasure).erased_at + make_interval(days => audit.setting('backup_days')::int)) end,
        'not_reached', jsonb_build_array(
          'the write-ahead log and backups of the database server, until they expire',
          'files that were downloaded before', 'the application''s own tables and logs', 'other organisations'
        )
      )
    )
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The certificate of an erasure that is done, in the form of an export's manifest.

-- function audit.erasure_scope(audit.subject)
CREATE OR REPLACE FUNCTION audit.erasure_scope(subject audit.subject)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_organization uuid := (subject).organization_id;
  v_identities bigint;
  v_since timestamptz;
  v_values bigint;
  v_values_since timestamptz;
  v_entries bigint;
  v_mentions text[];
begin
  select count(*), min(i.created_at) into v_identities, v_since from audit.identities_of(subject) i;
  select count(*), min(v.created_at) into v_values, v_values_since
  from audit.personal_values v
  where v.organization_id = v_organization
    and (audit.is_value_of(v, subject) or v.value_hash in (select audit.queries_about(subject, 'infinity')));
  select count(*) into v_entries from public.audit_logs a
  where a.created_by = (subject).user_id and a.organization_id = v_organization;
  v_mentions := array(select distinct m from audit.plain_mentions(subject) m);
  return jsonb_build_object(
    'organization_id', v_organization, 'subject', (subject).user_id,
    'identities', v_identities, 'personal_values', v_values,
    'exports', (
      select count(*) from audit.exports x
      where x.organization_id = v_organization and x.until >= least(v_since, v_values_since) and x.withdrawn_at is null
    ),
    'entries_kept', v_entries,
    'entries_with_address', jsonb_build_object('count', cardinality(v_mentions), 'names', to_jsonb(v_mentions[:20])),
    'holds', coalesce(audit.holds_on(v_organization), '[]'),
    'backups_expire_after_days', audit.setting('backup_days')
  );
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What an erasure would take: identities, personal values, exports; and what it would not: entries, which hold a user id, those
that hold an address in plain text, and what legal holds keep.

-- function audit.erasure_status(jsonb)
CREATE OR REPLACE FUNCTION audit.erasure_status(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['erasure', 'organization_id']);
  if request ? 'erasure' then
    return audit.erasure_json(audit.find_erasure(audit.as_uuid(request ->> 'erasure')));
  end if;
  v_organization := audit.requested_organization(request);
  if audit.reach(v_organization) is distinct from 'all' then
    perform audit.fail('AUDEN', 'Erasures are for admins and auditors.');
  end if;
  return jsonb_build_object('organization_id', v_organization, 'erasures', coalesce((
    select jsonb_agg(audit.erasure_json(e) order by e.requested_at desc)
    from (
      select e.* from audit.erasures e where e.organization_id = v_organization order by e.requested_at desc limit 100
    ) e
  ), '[]'));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How far an erasure is; without "erasure", the newest of the organisation.

-- function audit.evaluate_entries(text,uuid[],public.audit_logs[],uuid)
CREATE OR REPLACE FUNCTION audit.evaluate_entries(source text, organizations uuid[], sample public.audit_logs[] DEFAULT NULL::public.audit_logs[], only_rule uuid DEFAULT NULL::uuid)
 RETURNS audit.rule_firing[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_force audit.rule_in_force[] := array(
    select f from audit.rules_in_force(organizations) f where only_rule is null or (f).rule_id = only_rule
  );
  v_values audit.rule_total[];
  v_budgets audit.rule_total[];
  v_hours audit.rule_total[];
  v_others audit.rule_total[];
begin
  select array_agg(t) filter (where t.kind = 'new_value'), array_agg(t) filter (where t.kind = 'sum' and t.span = 0),
    array_agg(t) filter (where t.hours is not null),
    array_agg(t) filter (where t.hours is null and t.kind <> 'new_value' and (t.kind <> 'sum' or t.span > 0))
  into v_values, v_budgets, v_hours, v_others
  from unnest(audit.collect_all(source, sample, organizations, v_force)) t;
  return audit.joined_firings(
    audit.judge_windows(coalesce(v_others, '{}') || audit.outside_hours(v_hours))
      || audit.judge_values(v_values, v_force)
      || audit.judge_budgets(v_budgets, v_force),
    v_force
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Takes entries into what the rules remember, and answers where conditions hold now that did not before.

-- function audit.evaluate_rules(integer)
CREATE OR REPLACE FUNCTION audit.evaluate_rules(at_most integer DEFAULT 10000)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_taken bigint;
  v_waiting bigint;
  v_organizations uuid[];
  v_firing audit.rule_firing;
begin
  -- One at a time; who comes second has nothing to do.
  if not pg_try_advisory_xact_lock(hashtext('audit.evaluate_rules')) then
    return 0;
  end if;

  with waiting as (
    select h.organization_id, h.chain, f.after, coalesce(p.last_at, '-infinity') as last_at, h.seq,
      sum(h.seq - f.after) over (order by h.last_at, h.organization_id, h.chain) as running
    from audit.heads h
    left join audit.rule_positions p on p.organization_id = h.organization_id and p.chain = h.chain
    left join audit.chain_bounds b on b.organization_id = h.organization_id and b.chain = h.chain
    -- What was purged before it was looked at is not waited for.
    cross join lateral (select coalesce(greatest(p.seq, b.seq), 0) as after) f
    where h.seq > f.after
  ),
  taken as (
    insert into audit.rule_positions as p (organization_id, chain, seq, last_at, upto)
    select w.organization_id, w.chain, w.after, w.last_at, least(w.seq, w.seq - (w.running - evaluate_rules.at_most))
    from waiting w
    where w.running - (w.seq - w.after) < evaluate_rules.at_most
    -- At REPEATABLE READ a batch that somebody else has taken meanwhile ends here, with a serialization failure.
    on conflict on constraint rule_positions_pkey do update set seq = excluded.seq, upto = excluded.upto
    returning organization_id, upto - seq as entries
  )
  select sum(t.entries), array_agg(distinct t.organization_id), (select max(w.running) from waiting w)
  into v_taken, v_organizations, v_waiting
  from taken t;

  if v_taken > 0 then
    foreach v_firing in array audit.admitted_firings(audit.evaluate_entries(
      '(select * from audit.rule_positions p where p.upto > p.seq) p'
        || ' cross join lateral audit.entries_between(p.organization_id, p.chain, p.seq, p.upto, p.last_at) e',
      v_organizations
    )) loop
      perform audit.note_firing(v_firing);
    end loop;
    update audit.rule_positions p set seq = p.upto, last_at = coalesce((
      select e.created_at from public.audit_logs e
      where e.organization_id = p.organization_id and e.chain = p.chain and e.seq = p.upto and e.created_at >= p.last_at
    ), p.last_at)
    where p.upto > p.seq;
  end if;
  -- What is over is over once nothing waits that could still belong to it.
  if v_waiting is null or v_waiting <= evaluate_rules.at_most then
    perform audit.close_quiet_alerts();
  end if;
  return coalesce(v_taken, 0);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Evaluates the rules on at most so many new entries, and raises alerts; returns how many it looked at. pg_cron runs it.

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

-- function audit.expired_exports(integer)
CREATE OR REPLACE FUNCTION audit.expired_exports(at_most integer DEFAULT 1000)
 RETURNS TABLE(export uuid, folder text)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select x.id, case
      -- A part may have been stored by a run that died before it said so; what was streamed never lay in Storage.
      when x.state not in ('streaming', 'done') or exists (
        select from audit.export_parts p where p.export = x.id and p.path is not null
      ) then concat(x.organization_id, '/', x.id)
    end
  from audit.exports x
  where (
      x.requested_at < clock_timestamp() - interval '30 days'
      -- Whoever is making a part of it may still store that.
      or x.withdrawn_at is not null and coalesce(x.lease_until, '-infinity') < clock_timestamp()
    ) and not audit.is_held(x.organization_id)
  order by x.requested_at
  limit at_most
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Exports of more than 30 days ago, or taken back, that are not held, and the folder of bucket audit-exports that is to go with each; null
where Storage never had any of it.

-- function audit.expired_logs()
CREATE OR REPLACE FUNCTION audit.expired_logs()
 RETURNS TABLE(log integer, organization_id uuid, origin text, folder text)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select l.id, l.organization_id, l.origin, concat(l.organization_id, '/', to_char(l.month, 'YYYY-MM'))
  from audit.logs l
  cross join lateral audit.retention_of(l.organization_id) t
  where l.closed_at is not null and l.month is not null and l.published = l.sequenced and l.archive_deleted_at is null
    and l.last_at < date_trunc('day', clock_timestamp() - make_interval(days => t.archive_days), 'UTC')
    and not audit.is_held(l.organization_id)
    and not exists (
      select from audit.log_ranges r
      left join audit.chain_bounds b on b.organization_id = r.organization_id and b.chain = r.chain
      where r.log = l.id and r.to_seq > coalesce(b.seq, 0)
    )
  order by l.month, l.id
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Closed logs whose archive is past its retention and not held, with the folder that is to go, the oldest first.

-- function audit.expired_reports()
CREATE OR REPLACE FUNCTION audit.expired_reports()
 RETURNS TABLE(export uuid, folder text)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select r.id, concat(r.organization_id, '/', r.id)
  from audit.reports r
  where (
      r.state = 'withdrawn' and coalesce(r.lease_until, '-infinity') < clock_timestamp()
      or r.state not in ('queued', 'running') and r.requested_at < clock_timestamp() - case
        -- What is held about a person is not kept twice for long; other reports are kept like the archive.
        when r.subject is not null then interval '30 days'
        else make_interval(days => coalesce((audit.retention_of(r.organization_id)).archive_days, 36500))
      end
    ) and not audit.is_held(r.organization_id)
  order by r.requested_at
  limit 1000
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Reports that are past their time or taken back, and not held; and the folder of bucket audit-exports that goes with each.

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

-- function audit.export_manifest(audit.exports)
CREATE OR REPLACE FUNCTION audit.export_manifest(export audit.exports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'version', 1, 'export', (export_manifest.export).id, 'organization_id', (export_manifest.export).organization_id,
    'format', (export_manifest.export).format, 'query', audit.format_node((export_manifest.export).filter),
    'filter', (export_manifest.export).filter, 'until', audit.instant_text((export_manifest.export).until),
    'complete', (export_manifest.export).state = 'done', 'entries', coalesce(sum(p.entries), 0),
    'first', (array_agg(p.first order by p.part))[1], 'last', (array_agg(p.last order by p.part desc))[1],
    'parts', coalesce(jsonb_agg(jsonb_build_object(
      'part', p.part, 'entries', p.entries, 'bytes', p.bytes, 'sha256', p.sha256, 'first', p.first, 'last', p.last
    ) order by p.part), '[]'),
    'checkpoint', audit.newest_checkpoint((export_manifest.export).organization_id)
  )
  from audit.export_parts p
  where p.export = (export_manifest.export).id
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What an export is: filter, parts with their digests, and the checkpoint under which its entries stand.

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
    'manifest', coalesce(v_export.manifest::jsonb, audit.export_manifest(v_export)), 'manifest_note', v_export.manifest_note
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
grant audit_purger: EXECUTE
grant audit_writer: EXECUTE
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises an error with one of the codes of audit.error_codes: the message names the cause, the hint the way out.

-- function audit.fail_collection(uuid,text,double precision)
CREATE OR REPLACE FUNCTION audit.fail_collection(lease uuid, error text, retry_after double precision DEFAULT NULL::double precision)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  update audit.log_collection c set
    failures = c.failures + 1, last_error = fail_collection.error, lease_until = '-infinity',
    next_at = clock_timestamp() + make_interval(secs => least(
      3600, greatest(fail_collection.retry_after, 30 * 2 ^ least(c.failures, 7))
    ))
  where c.lease = fail_collection.lease;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes why a run failed and when the next may be: after what the API asked for, and longer each time, an hour at most.

-- function audit.fail_delivery(uuid,integer,text,double precision,boolean,boolean)
CREATE OR REPLACE FUNCTION audit.fail_delivery(lease uuid, log integer, error text, retry_after double precision DEFAULT 0, of_log boolean DEFAULT false, gone boolean DEFAULT false)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_receiver audit.receivers;
begin
  if fail_delivery.of_log then
    update audit.receiver_logs d set
      next_try_at = clock_timestamp() + interval '10 minutes', last_error = fail_delivery.error
    from audit.receivers r
    where r.lease = fail_delivery.lease and d.receiver = r.id and d.log = fail_delivery.log;
    update audit.receivers r set lease_until = '-infinity' where r.lease = fail_delivery.lease;
    return;
  end if;
  update audit.receivers r set
    attempts = r.attempts + 1, last_error = fail_delivery.error, lease_until = '-infinity',
    -- 10 s, 20 s, 40 s … and at last every hour, or when it asked for it, if that is not the end of time.
    next_try_at = clock_timestamp() + make_interval(secs => greatest(
      least(10 * 2 ^ least(r.attempts, 10), 3600), least(fail_delivery.retry_after, 86400)
    )),
    disabled_at = case when fail_delivery.gone then coalesce(r.disabled_at, clock_timestamp()) else r.disabled_at end
  where r.lease = fail_delivery.lease
  returning r.* into v_receiver;
  if v_receiver.disabled_at is not null then
    perform audit.note_finding(
      audit.system_organization(), 'receiver_gone', v_receiver.name,
      jsonb_build_object('receiver', v_receiver.kind, 'error', fail_delivery.error)
    );
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes why a receiver did not take a checkpoint, and ends the lease. It is left alone for a while, the longer the more
often; of_log: only this log is, because the reason is not the receiver's; gone: for good, which is a finding.

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

-- function audit.fail_report(uuid,integer,text,boolean)
CREATE OR REPLACE FUNCTION audit.fail_report(id uuid, attempt integer, error text, retry boolean)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  update audit.reports r set
    state = case
      when fail_report.retry and r.attempts < 3 then 'queued'
      -- Files that show somebody who was erased are not kept.
      when r.generated_at is not null then 'withdrawn'
      else 'failed'
    end,
    withdrawn_at = case when not (fail_report.retry and r.attempts < 3) and r.generated_at is not null then clock_timestamp() end,
    error = left(fail_report.error, 500), lease_until = null
  where r.id = fail_report.id and r.state = 'running' and r.attempts = fail_report.attempt
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes why a report failed, or puts it back to be tried again. For audit-jobs.

-- function audit.fail_rule(text,text)
CREATE OR REPLACE FUNCTION audit.fail_rule(message text, hint text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  perform audit.fail('AURUL', fail_rule.message, null, fail_rule.hint);
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises AURUL.

-- function audit.find_entry(uuid,text)
CREATE OR REPLACE FUNCTION audit.find_entry(organization_id uuid, name text)
 RETURNS public.audit_logs
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_entry public.audit_logs;
begin
  if coalesce(find_entry.name, '') !~ '^\d{1,9}-\d{1,18}$' then
    perform audit.fail('AUARG', 'An entry is named by chain and position: 3-17.');
  end if;
  select a.* into v_entry
  from public.audit_logs a
  where a.organization_id = find_entry.organization_id and a.chain = split_part(find_entry.name, '-', 1)::int
    and a.seq = split_part(find_entry.name, '-', 2)::bigint;
  if not found then
    perform audit.fail('AUNOT', format('There is no entry %s that you may read.', find_entry.name));
  end if;
  return v_entry;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The entry of a name like 3-17, as far as the caller may read it; raises AUNOT else.

-- function audit.find_erasure(uuid)
CREATE OR REPLACE FUNCTION audit.find_erasure(id uuid)
 RETURNS audit.erasures
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_erasure audit.erasures;
begin
  select e.* into v_erasure from audit.erasures e where e.id = find_erasure.id;
  if v_erasure.id is null or audit.reach(v_erasure.organization_id) is distinct from 'all' then
    perform audit.fail('AUNOT', 'There is no such erasure that you may see.');
  end if;
  return v_erasure;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: An erasure, for admins and auditors of the organisation; raises AUNOT else.

-- function audit.find_event_source(text)
CREATE OR REPLACE FUNCTION audit.find_event_source(secret text)
 RETURNS uuid
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select s.id
  from audit.event_sources s
  where s.disabled_at is null
    and (
      s.secret_hash = sha256(convert_to(find_event_source.secret, 'UTF8'))
      or s.previous_hash = sha256(convert_to(find_event_source.secret, 'UTF8')) and s.previous_until > clock_timestamp()
    )
$function$

owner postgres
grant postgres: EXECUTE
comment: The source whose secret that is now; null where it is nobody's.

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

-- function audit.find_report(uuid)
CREATE OR REPLACE FUNCTION audit.find_report(id uuid)
 RETURNS audit.reports
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_report audit.reports;
begin
  select r.* into v_report from audit.reports r where r.id = find_report.id;
  if v_report.id is null or audit.reach(v_report.organization_id) is distinct from 'all'
    -- Addresses, and what is held about a person, are not for auditors who do not see identities.
    or not audit.sees_identities(v_report.organization_id) and (v_report.subject is not null or v_report.requested_by is distinct from auth.uid())
  then
    perform audit.fail('AUNOT', 'There is no such report that you may see.');
  end if;
  return v_report;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A report that the caller may see; raises AUNOT else.

-- function audit.find_subject(uuid,text)
CREATE OR REPLACE FUNCTION audit.find_subject(organization_id uuid, subject text)
 RETURNS audit.subject
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_user uuid := audit.as_uuid(btrim(find_subject.subject));
  v_address text := lower(btrim(find_subject.subject));
  v_users uuid[];
begin
  if v_user is not null then
    return row(find_subject.organization_id, v_user, audit.addresses_of(find_subject.organization_id, v_user));
  elsif v_address is null or v_address !~ '^[^[:space:]@]+@[^[:space:]@]+$' or length(v_address) > 320 then
    perform audit.fail('AUARG', 'A person is named by user id or e-mail address.');
  end if;
  v_users := array(
    select distinct i.user_id from audit.identities i
    where i.organization_id = find_subject.organization_id and lower(i.email) = v_address and i.user_id is not null
    order by 1
  );
  if cardinality(v_users) > 1 then
    perform audit.fail('AUARG', 'The address was used by several persons, one after the other.', null,
      'Name one by user id: ' || array_to_string(v_users[:10], ', ') || '.');
  elsif cardinality(v_users) = 1 then
    return row(find_subject.organization_id, v_users[1], audit.addresses_of(find_subject.organization_id, v_users[1]));
  end if;
  return row(find_subject.organization_id, null::uuid, array[v_address]);
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The person whom a user id or an e-mail address names in an organisation; raises AUARG for an address of several persons.

-- function audit.finding_section(audit.reports)
CREATE OR REPLACE FUNCTION audit.finding_section(report audit.reports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select audit.report_table(
    'Findings of checks', '[{"title": "First seen", "width": 2}, {"title": "Kind", "width": 2}, {"title": "In", "width": 4}, {"title": "Resolved", "width": 2}]',
    jsonb_agg(jsonb_build_array(audit.second_text(f.first_seen_at), f.kind, f.subject, coalesce(audit.second_text(f.resolved_at), 'open')) order by f.first_seen_at, f.id),
    'Found in the period, or open in it.'
  )
  from audit.findings f
  where f.organization_id in ((report).organization_id, audit.system_organization()) and f.first_seen_at < (report).period_to
    and coalesce(f.resolved_at, 'infinity') >= (report).period_from
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What checks found in a period.

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

-- function audit.forget_auth_sightings()
CREATE OR REPLACE FUNCTION audit.forget_auth_sightings()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_forgotten bigint;
begin
  delete from audit.auth_sightings s where s.happened_at < clock_timestamp() - interval '25 hours';
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Lets go of what is older than any event that audit.record_auth() takes; for the schedule. Answers how many.

-- function audit.forget_client_rates()
CREATE OR REPLACE FUNCTION audit.forget_client_rates()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_forgotten bigint;
begin
  delete from audit.client_rates r where r.minute < clock_timestamp() - interval '1 hour';
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Forgets who reported nothing for an hour; answers how many.

-- function audit.forget_event_keys()
CREATE OR REPLACE FUNCTION audit.forget_event_keys()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_forgotten bigint;
begin
  delete from audit.event_keys k where k.seen_at < clock_timestamp() - interval '7 days';
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Forgets idempotency keys of more than seven days ago; answers how many.

-- function audit.forget_exports(uuid[])
CREATE OR REPLACE FUNCTION audit.forget_exports(exports uuid[])
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  delete from audit.exports x
  using audit.expired_exports(null) e
  where x.id = e.export and x.id = any (forget_exports.exports)
$function$

owner postgres
grant postgres: EXECUTE
comment: Forgets expired exports of which Storage has nothing any more.

-- function audit.forget_reports(uuid[])
CREATE OR REPLACE FUNCTION audit.forget_reports(reports uuid[])
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  delete from audit.reports r
  using audit.expired_reports() e
  where r.id = e.export and r.id = any (forget_reports.reports)
$function$

owner postgres
grant postgres: EXECUTE
comment: Forgets expired reports of which Storage has nothing any more.

-- function audit.forget_rule(uuid,uuid)
CREATE OR REPLACE FUNCTION audit.forget_rule(rule_id uuid, organization_id uuid DEFAULT NULL::uuid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  delete from audit.rule_windows w
  where w.rule_id = forget_rule.rule_id and w.organization_id = coalesce(forget_rule.organization_id, w.organization_id);
  delete from audit.rule_values v
  where v.rule_id = forget_rule.rule_id and v.organization_id = coalesce(forget_rule.organization_id, v.organization_id);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Forgets what a rule remembers of entries, of one organisation or of all.

-- function audit.forget_seen_logs()
CREATE OR REPLACE FUNCTION audit.forget_seen_logs()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_forgotten bigint;
begin
  -- A line from the future is taken for that much longer.
  delete from audit.seen_logs s
  where s.seen_at < clock_timestamp() - audit.oldest_log_line() - audit.newest_log_line() - interval '1 hour';
  get diagnostics v_forgotten = row_count;
  return v_forgotten;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Forgets events whose lines would be too old to be taken again; answers how many.

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

-- function audit.free_places(audit.channels)
CREATE OR REPLACE FUNCTION audit.free_places(channel audit.channels)
 RETURNS integer
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case (channel).kind when 'webhook' then 8 else 1 end - count(*)::int
  from audit.deliveries d
  where d.channel_id = (channel).id and d.state = 'waiting' and d.lease_until > '-infinity' and d.lease_until > clock_timestamp()
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How many messages more a channel may be told at once.

-- function audit.gather_report(uuid,integer)
CREATE OR REPLACE FUNCTION audit.gather_report(id uuid, attempt integer)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_report audit.reports;
  v_step text;
  v_verified record;
  v_done boolean := true;
begin
  select r.* into v_report from audit.reports r
  where r.id = gather_report.id and r.state = 'running' and r.attempts = gather_report.attempt
  for update;
  if v_report.id is null then
    perform audit.fail('AULSE', 'Another run has the report, or nobody wants it any more.');
  end if;
  v_step := v_report.steps[v_report.done + 1];
  if v_step = 'integrity' then
    v_verified := audit.verify_for_report(v_report);
    v_report := v_verified.report;
    v_done := v_verified.is_done;
  elsif v_step is not null then
    v_report.sections := v_report.sections || audit.report_sections(v_report, v_step);
  end if;
  if v_done then
    v_report.done := least(v_report.done + 1, cardinality(v_report.steps));
  end if;
  if v_report.done = cardinality(v_report.steps) then
    v_report.content := jsonb_build_object(
      'version', 1, 'template', v_report.template, 'organization_id', v_report.organization_id, 'parameters', v_report.parameters,
      'from', audit.instant_text(v_report.period_from), 'to', audit.instant_text(v_report.period_to), 'sections', v_report.sections
    )::text;
  end if;
  update audit.reports r set
    done = v_report.done, sections = v_report.sections, resume = v_report.resume, content = v_report.content,
    lease_until = clock_timestamp() + interval '3 minutes', attempts = 1
  where r.id = v_report.id;
  return jsonb_build_object('attempt', 1, 'gathered', v_report.content is not null);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Gathers the next section of a report; says whether all are there. For audit-jobs.

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

-- function audit.group_sql(text[])
CREATE OR REPLACE FUNCTION audit.group_sql(fields text[])
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case
    when coalesce(cardinality(fields), 0) = 0 then ''''''
    -- JSON as text. Where an address is missing there is no group, so all who have none are not taken for one.
    else '''{' || string_agg(
      replace(to_json(f.field)::text, '''', '''''') || ': '' || ' || case
        when f.field in ('ip', 'email', 'country') then format('to_json(%s)::text', audit.rule_field_sql(f.field))
        else format('coalesce(to_json(%s)::text, ''null'')', audit.rule_field_sql(f.field))
      end, ' || '', ' order by f.n
    ) || ' || ''}'''
  end
  from unnest(fields) with ordinality f (field, n)
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The SQL of the key of the group that an entry belongs to.

-- function audit.has_account(uuid)
CREATE OR REPLACE FUNCTION audit.has_account(user_id uuid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select coalesce(audit.auth_lookup('select to_jsonb(count(*)) from auth.users where id = $1', has_account.user_id) <> '0', true)
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether the account is still there; what goes with it in one cascade is no event of its own.

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

-- function audit.hashes_in_log(integer,bigint,bigint)
CREATE OR REPLACE FUNCTION audit.hashes_in_log(log integer, from_index bigint, to_index bigint)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  return (
    select encode(string_agg(
      case
        when e.entry is not null then audit.hash_of(e.entry)
        when b.seq is not null then sha256(''::bytea)
        else decode(repeat('00', 32), 'hex')
      end, '' order by i.index
    ), 'hex')
    from generate_series(hashes_in_log.from_index, hashes_in_log.to_index - 1) i (index)
    left join audit.log_entries(hashes_in_log.log, hashes_in_log.from_index, hashes_in_log.to_index) e on e.index = i.index
    left join lateral (
      select b.seq
      from (
        select r.* from audit.log_ranges r
        where r.log = hashes_in_log.log and r.start <= i.index
        order by r.start desc
        limit 1
      ) r
      join audit.chain_bounds b on b.organization_id = r.organization_id and b.chain = r.chain
        and b.seq >= r.from_seq + i.index - r.start
      where e.entry is null
    ) b on true
  );
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The recomputed hashes of a log's entries, 64 hex digits each; for one that was purged SHA-256 of nothing, for one that is
missing zeros: no entry has either.

-- function audit.health_check(text,interval)
CREATE OR REPLACE FUNCTION audit.health_check(name text, most interval)
 RETURNS TABLE(organization_id uuid, group_key text, reason jsonb)
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  case name
    when 'capture' then
      return query
        select audit.system_organization(), jsonb_build_object('table', c.table_name)::text,
          jsonb_build_object('findings', jsonb_agg(c.finding order by c.finding), 'way_out', min(c.way_out))
        from audit.coverage c
        where not c.healthy
        group by c.table_name;
    when 'sealing' then
      -- Where nothing was ever sealed, sealing is not set up, which its owner knows.
      return query
        select audit.system_organization(), '', jsonb_build_object('organizations', count(distinct w.organization_id), 'oldest', min(w.since))
        from audit.waiting_chains() w
        where w.since < clock_timestamp() - most and exists (select from audit.logs l where l.published > 0)
        having count(*) > 0;
    when 'archive' then
      return query
        select l.organization_id, '', jsonb_build_object('logs', count(*), 'entries', sum(l.published - l.read_back))
        from audit.logs l
        where l.read_back < l.published and l.archive_deletion_began_at is null and l.sealed_at < clock_timestamp() - most
          and coalesce((select max(r.ended_at) from audit.readings r where r.log = l.id), '-infinity') < clock_timestamp() - most
          and exists (select from audit.readings)
        group by l.organization_id;
    when 'rules' then
      return query
        select audit.system_organization(), '', jsonb_build_object('chains', count(*), 'oldest', min(h.last_at))
        from audit.heads h
        left join audit.rule_positions p on p.organization_id = h.organization_id and p.chain = h.chain
        where h.seq > coalesce(p.seq, 0) and h.last_at < clock_timestamp() - most
        having count(*) > 0;
    when 'search' then
      return query
        select audit.system_organization(), '', jsonb_build_object('chains', count(*), 'oldest', min(h.last_at))
        from audit.heads h
        left join audit.search_positions p on p.organization_id = h.organization_id and p.chain = h.chain
        where h.seq > coalesce(p.seq, 0) and h.last_at < clock_timestamp() - most
        having count(*) > 0;
    when 'cron' then
      if to_regclass('cron.job_run_details') is not null then
        -- Dynamic: the schema need not exist when this function is made. A job that never ran has had no turn yet.
        return query execute $q$
          select $1, jsonb_build_object('job', j.jobname)::text,
            jsonb_build_object('last_run', l.start_time, 'status', l.status, 'message', left(l.return_message, 200))
          from cron.job j
          cross join lateral (
            select d.start_time, d.status, d.return_message from cron.job_run_details d
            where d.jobid = j.jobid and d.status in ('succeeded', 'failed')
            order by d.runid desc limit 1
          ) l
          where j.jobname like 'audit-%' and (l.status = 'failed' or j.schedule like '% seconds' and l.start_time < clock_timestamp() - $2)
        $q$ using audit.system_organization(), most;
      end if;
    when 'outside' then
      return query
        select audit.system_organization(), jsonb_build_object('receiver', o.name)::text,
          jsonb_build_object('kind', o.kind, 'logs', count(*), 'error', max(r.last_error), 'disabled', bool_or(r.disabled_at is not null))
        from audit.owed_checkpoints o
        join audit.receivers r on r.id = o.receiver
        where greatest(r.succeeded_at, r.registered_at) < clock_timestamp() - most
        group by o.name, o.kind;
    when 'deliveries' then
      if to_regclass('audit.dead_letters') is not null then
        return query execute $q$
          select d.organization_id, '', jsonb_build_object('deliveries', count(*)) from audit.dead_letters d group by d.organization_id
        $q$;
      end if;
    else
      perform audit.fail_rule('There is no such check.');
  end case;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What a check finds wrong now: whom it concerns, what it is, and why. audit.health_checks() names the checks.

-- function audit.health_checks()
CREATE OR REPLACE FUNCTION audit.health_checks()
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '{"cron": "a schedule of the product fails, or has not run for longer than the limit", "rules": "entries wait longer than the limit for the rules", "search": "entries wait longer than the limit for the search index", "archive": "what was archived was not read back for longer than the limit", "capture": "a table is not captured whole, or the log''s own guards are off", "outside": "a receiver of checkpoints has not got one for longer than the limit", "sealing": "entries wait longer than the limit to be sealed", "deliveries": "an alert could not be delivered"}'::jsonb

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The checks that schedule rules run, and what each finds.

-- function audit.heartbeat_section(audit.reports)
CREATE OR REPLACE FUNCTION audit.heartbeat_section(report audit.reports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  with beat as (
    select a.created_at, a.action, (a.details ->> 'uncaptured')::int as uncaptured
    from public.audit_logs a
    where a.organization_id = (report).organization_id and a.chain = audit.log_chain()
      and a.created_at >= (report).period_from and a.created_at < (report).period_to
  ),
  -- From the beginning of the log, or of the period, to its end; a beat is due every hour.
  edges as (
    select greatest((report).period_from, (select min(a.created_at) from public.audit_logs a where a.organization_id = (report).organization_id and a.chain = audit.log_chain())) as at
    union all select b.created_at from beat b
    union all select (report).period_to
  ),
  gap as (
    select e.at as from_at, lead(e.at) over (order by e.at) as to_at from edges e where e.at is not null
  )
  select audit.report_table(
    'Was logging on the whole time?',
    '[{"title": "No heartbeat from", "width": 2}, {"title": "to", "width": 2}, {"title": "for", "width": 1}]',
    (
      select jsonb_agg(jsonb_build_array(audit.second_text(g.from_at), audit.second_text(g.to_at), date_trunc('minute', g.to_at - g.from_at)::text) order by g.from_at)
      from (select g.* from gap g where g.to_at - g.from_at > interval '2 hours' order by g.from_at limit 200) g
    ),
    format(
      '%s heartbeats in the period; one is due every hour of silence, so a gap of more than two hours is shown below. At a heartbeat, at most %s tables were not captured whole; %s heartbeats said so of any. Heartbeats are sealed: none can be made up afterwards.',
      (select count(*) from beat b where b.action = 'log.heartbeat'), (select coalesce(max(b.uncaptured), 0) from beat b),
      (select count(*) from beat b where b.uncaptured > 0)
    ),
    (select count(*) from gap g where g.to_at - g.from_at > interval '2 hours')
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What heartbeats say of a period: gaps of more than two hours, and tables that were not captured whole.

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

-- function audit.holds_on(uuid)
CREATE OR REPLACE FUNCTION audit.holds_on(organization_id uuid)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_agg(jsonb_build_object(
    'name', h.name, 'of', case h.organization_id when audit.system_organization() then 'project' else 'organization' end,
    'placed_at', audit.instant_text(h.placed_at)
  ) order by h.placed_at)
  from audit.holds h
  where h.organization_id in (holds_on.organization_id, audit.system_organization()) and h.released_at is null
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The legal holds on an organisation and on the whole project; null where there is none.

-- function audit.hook_mfa_verification_attempt(jsonb)
CREATE OR REPLACE FUNCTION audit.hook_mfa_verification_attempt(event jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET lock_timeout TO '100ms'
AS $function$
begin
  return audit.answer_attempt('user.mfa_failed', event) - 'should_logout_user';
exception when others or query_canceled or assert_failure then
  begin
    perform audit.note_auth_failure('hook mfa_verification_attempt', sqlstate, sqlerrm);
  exception when others or query_canceled or assert_failure then
    raise warning 'audit: the hook mfa_verification_attempt failed: %', sqlstate;
  end;
  return '{"decision": "continue"}';
end
$function$

owner postgres
grant postgres: EXECUTE
grant supabase_auth_admin: EXECUTE
comment: Hook mfa_verification_attempt of Supabase Auth: records wrong codes; the answer is "continue" unless the setting login_lockout says "reject".

-- function audit.hook_password_verification_attempt(jsonb)
CREATE OR REPLACE FUNCTION audit.hook_password_verification_attempt(event jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET lock_timeout TO '100ms'
AS $function$
begin
  return audit.answer_attempt('user.login_failed', event);
exception when others or query_canceled or assert_failure then
  begin
    perform audit.note_auth_failure('hook password_verification_attempt', sqlstate, sqlerrm);
  exception when others or query_canceled or assert_failure then
    raise warning 'audit: the hook password_verification_attempt failed: %', sqlstate;
  end;
  return '{"decision": "continue"}';
end
$function$

owner postgres
grant postgres: EXECUTE
grant supabase_auth_admin: EXECUTE
comment: Hook password_verification_attempt of Supabase Auth: records wrong passwords; the answer is "continue" unless the setting login_lockout says "reject".

-- function audit.identify(uuid,uuid,text,text,text)
CREATE OR REPLACE FUNCTION audit.identify(organization_id uuid, user_id uuid, email text, ip_address text, user_agent text)
 RETURNS bytea
 LANGUAGE plpgsql
 SET search_path TO ''
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_ip text := audit.permitted_ip(identify.organization_id, identify.ip_address);
  -- Unsalted, so it never leaves the table that holds the values themselves and goes with them.
  v_lookup bytea := sha256(convert_to(row(
    identify.organization_id, identify.user_id, identify.email, v_ip, identify.user_agent
  )::text, 'UTF8'));
  v_hash bytea;
  v_place tid;
  v_salt bytea;
begin
  if identify.email is null and v_ip is null and identify.user_agent is null then
    return null; -- the user id alone stands in the entry itself
  end if;

  -- At SERIALIZABLE a look-up that finds nothing is a predicate lock on the index page that every new identity is
  -- written to, and two of them abort each other; a duplicate row costs less than a failed transaction.
  select i.identity_hash, i.ctid into v_hash, v_place
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
    )
    returning ctid into v_place;
  end if;
  perform set_config('audit.identity_' || left(identify.organization_id::text, 2), v_place::text, false);
  return v_hash;
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
comment: Keeps an actor's personal data once per context and returns the commitment for the entry; null if there is none.

-- function audit.identities_in_use(uuid,bytea[])
CREATE OR REPLACE FUNCTION audit.identities_in_use(organization_id uuid, hashes bytea[])
 RETURNS bytea[]
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
begin
  return (
    with wanted as materialized (
      select w.hash, array(
        select audit.search_term(audit.search_seed(identities_in_use.organization_id, m at time zone 'utc'), 'identity=' || encode(w.hash, 'hex'))
        from generate_series(
          date_trunc('month', (
            select a.created_at from public.audit_logs a
            where a.organization_id = identities_in_use.organization_id order by a.created_at limit 1
          ) at time zone 'utc'),
          date_trunc('month', (
            select max(h.last_at) from audit.heads h where h.organization_id = identities_in_use.organization_id
          ) at time zone 'utc'),
          interval '1 month'
        ) m
      ) as terms
      from (select distinct u.hash from unnest(identities_in_use.hashes) u (hash)) w
    ),
    -- What the index does not have yet, after a rebuild all of it, is read.
    tail as (
      select a.identity_hash
      from audit.heads h
      left join audit.search_positions p on p.organization_id = h.organization_id and p.chain = h.chain
      cross join lateral (
        select a.identity_hash from public.audit_logs a
        where a.organization_id = h.organization_id and a.chain = h.chain and a.seq > coalesce(p.seq, 0)
        offset 0
      ) a
      where h.organization_id = identities_in_use.organization_id and h.seq > coalesce(p.seq, 0)
    )
    select array_agg(w.hash)
    from wanted w
    where exists (
      select from audit.search_index s
      join public.audit_logs a on a.organization_id = s.organization_id and a.created_at = s.created_at
        and a.chain = s.chain and a.seq = s.seq
      where s.terms && w.terms and s.organization_id = identities_in_use.organization_id and a.identity_hash = w.hash
    ) or w.hash in (select t.identity_hash from tail t)
  );
end
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Which of these identities an entry of the organisation commits to, found through the search index and behind it.

-- function audit.identities_of(audit.subject,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.identities_of(subject audit.subject, until timestamp with time zone DEFAULT 'infinity'::timestamp with time zone)
 RETURNS SETOF audit.identities
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select i.* from audit.identities i
  where i.user_id = (subject).user_id and i.organization_id = (subject).organization_id and i.created_at <= identities_of.until
  union all
  -- Contexts that know an address and no user: a login that failed.
  select i.* from audit.identities i
  where i.user_id is null and i.organization_id = (subject).organization_id and lower(i.email) = any ((subject).addresses)
    and i.created_at <= identities_of.until
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The identities of a person, up to a time.

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

-- function audit.incarnation()
CREATE OR REPLACE FUNCTION audit.incarnation()
 RETURNS integer
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select coalesce(max(r.incarnation), 1) from audit.restores r where r.ended_at is not null
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Which life of the log this is: 1, and one more with every restore from a backup.

-- function audit.incident_sections(audit.reports,text)
CREATE OR REPLACE FUNCTION audit.incident_sections(report audit.reports, section text)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_actors jsonb;
begin
  if section = 'timeline' then
    return jsonb_build_array(audit.listing_section(report, 'What happened, in order', '', 2000,
      concat_ws(' ', 'Around entry ' || ((report).parameters ->> 'entry') || '.', 'The evidence pack has the entries themselves, the oldest 10,000; an export of this query has all.')));
  end if;
  execute format(
    $q$
    select jsonb_agg(jsonb_build_array(audit.user_cell(a.created_by, a.actor_type), a.actor_type, a.n::text, audit.second_text(a.first_at), audit.second_text(a.last_at), a.contexts::text) order by a.n desc, a.created_by)
    from (
      select e.created_by, e.actor_type, count(*) as n, min(e.created_at) as first_at, max(e.created_at) as last_at, count(distinct e.identity_hash) as contexts
      %s group by e.created_by, e.actor_type order by count(*) desc limit 100
    ) a
    $q$, audit.report_source((report).organization_id, audit.report_query(report, ''))
  ) into v_actors;
  return jsonb_build_array(audit.report_table('Who acted',
    '[{"title": "Actor", "width": 4}, {"title": "Kind", "width": 1}, {"title": "Entries", "width": 1, "align": "right"}, {"title": "First", "width": 2}, {"title": "Last", "width": 2}, {"title": "Contexts", "width": 1, "align": "right"}]',
    v_actors, 'Contexts: from how many combinations of address and program they acted.'));
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Who acted around an incident, and what happened.

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
    select h.organization_id, h.chain, f.after, coalesce(p.last_at, '-infinity') as last_at, h.seq,
      sum(h.seq - f.after) over (order by h.last_at, h.organization_id, h.chain) as running
    from audit.heads h
    left join audit.search_positions p on p.organization_id = h.organization_id and p.chain = h.chain
    left join audit.chain_bounds b on b.organization_id = h.organization_id and b.chain = h.chain
    -- What was purged before it was indexed is not waited for.
    cross join lateral (select coalesce(greatest(p.seq, b.seq), 0) as after) f
    where h.seq > f.after
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

-- function audit.ingest_logs(jsonb)
CREATE OR REPLACE FUNCTION audit.ingest_logs(events jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_now timestamptz := clock_timestamp();
  v_write record;
  v_result jsonb;
  v_by_auth jsonb;
begin
  with event as materialized (
    select e.ordinality::int - 1 as n, substring(sha256(convert_to(e.key, 'UTF8')) from 1 for 16) as digest, e.kind,
      e.happened_at, e.action, e.outcome, e.actor_type, e.user_id, e.email, e.ip_address, e.user_agent, e.session_id,
      e.request_id, e.resource_type, e.resource_id, e.details, e.payload
    from rows from (jsonb_to_recordset(ingest_logs.events) as (
      key text, kind text, happened_at timestamptz, action text, outcome text, actor_type text, user_id uuid, email text,
      ip_address text, user_agent text, session_id uuid, request_id text, resource_type text, resource_id text, details jsonb,
      payload jsonb
    )) with ordinality e
  ),
  belonging as materialized (
    -- The nil UUID for nobody, so that rows can be joined by their hashes.
    select distinct u.user_id, coalesce(m.organization_id, audit.system_organization()) as organization_id
    from (select distinct coalesce(e.user_id, audit.system_organization()) as user_id from event e where e.kind <> 'auth') u
    left join lateral audit.memberships(u.user_id) m on true
  ),
  access as materialized (
    select b.organization_id, audit.setting('api_access', b.organization_id) as share
    from (select distinct b.organization_id from belonging b) b
  ),
  -- An event belongs to each organisation of its user; Auth's are told to audit.record_auth(), which knows theirs.
  place as materialized (
    select e.n, b.organization_id
    from event e
    join belonging b on b.user_id = coalesce(e.user_id, audit.system_organization())
    join access a on a.organization_id = b.organization_id
    where e.kind = 'denied' or e.kind = 'accessed' and audit.is_sampled(encode(e.digest, 'hex')::uuid, a.share)
  ),
  judged as materialized (
    select e.*, case
      when e.happened_at < v_now - audit.oldest_log_line() then 'too_old'
      when e.happened_at > v_now + audit.newest_log_line() then 'in_the_future'
      when e.kind = 'accessed' and not exists (select from place p where p.n = e.n) then 'left_out'
    end as verdict
    from event e
  ),
  seen as (
    insert into audit.seen_logs (key)
    select distinct encode(j.digest, 'hex')::uuid as key
    from judged j
    where j.verdict is null
    order by key -- two that take in the same lines wait for each other, never in a circle
    on conflict on constraint seen_logs_pkey do nothing
    returning key
  ),
  fresh as materialized (
    select distinct on (j.digest) j.*
    from judged j
    join seen s on s.key = encode(j.digest, 'hex')::uuid
    order by j.digest, j.n
  )
  select
    (
      select array_agg(
        case
          when f.payload is null then row('log', f.action, f.outcome, f.happened_at, f.user_id, f.email, f.ip_address,
            f.user_agent, f.session_id, f.request_id, f.details)::audit.auth_event
          else audit.auth_audit_event(f.payload, f.happened_at, f.ip_address, f.user_agent, f.request_id, 'log')
        end
        order by f.happened_at, f.n
      )
      from fresh f where f.kind = 'auth'
    ) as auth,
    (
      select array_agg(
        row(p.organization_id, f.action, f.outcome, audit.bounded(f.resource_type, 200), f.resource_id, f.user_id, null, null,
          f.details || jsonb_strip_nulls(jsonb_build_object(
            'source', 'log', 'session_id', f.session_id,
            'happened_at', audit.late_time(f.happened_at)
          )),
          audit.may_hold_secret(f.details::text || coalesce(f.resource_id, '')) or length(f.resource_id) > 500
        )::audit.draft
        order by f.happened_at, f.n, p.organization_id
      )
      from fresh f join place p on p.n = f.n
    ) as drafts,
    (
      select array_agg(
        audit.reported_context(f.user_id, f.actor_type, f.email, f.ip_address, f.user_agent, f.request_id)
        order by f.happened_at, f.n, p.organization_id
      )
      from fresh f join place p on p.n = f.n
    ) as contexts,
    jsonb_build_object(
      'recorded', (select count(*) from fresh f where f.kind <> 'auth'),
      'duplicate', (select count(*) from judged j where j.verdict is null) - (select count(*) from fresh),
      'left_out', (select count(*) from judged j where j.verdict = 'left_out'),
      'refused', (
        select coalesce(jsonb_agg(jsonb_build_object('event', j.n, 'reason', j.verdict) order by j.n), '[]')
        from judged j where j.verdict in ('too_old', 'in_the_future')
      )
    ) as result
  into v_write;

  v_result := v_write.result;
  if v_write.drafts is not null then
    perform audit.append_all(v_write.drafts, v_write.contexts);
  end if;
  -- Last: it decides under a lock that holds until the transaction ends.
  if v_write.auth is not null then
    select jsonb_object_agg(v.verdict, v.times) into v_by_auth
    from (select r.verdict, count(*) as times from audit.record_auth(v_write.auth) r group by r.verdict) v;
    v_result := v_result || jsonb_build_object(
      'recorded', (v_result ->> 'recorded')::int + coalesce((v_by_auth ->> 'recorded')::int, 0),
      'duplicate', (v_result ->> 'duplicate')::int + coalesce((v_by_auth ->> 'duplicate')::int, 0),
      'waiting', coalesce((v_by_auth ->> 'waiting')::int, 0)
    );
  end if;
  return v_result;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Records what lines of logs stand for, once each: failed logins and what else Auth did, denied requests, and as many others as the setting api_access asks for.

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

-- function audit.integrity_evidence(audit.reports)
CREATE OR REPLACE FUNCTION audit.integrity_evidence(report audit.reports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'chains', (report).resume -> 'chains',
    'rounds', (
      select jsonb_build_object('verified', v.was_verified, 'at', audit.instant_text(v.verified_at))
      from audit.verifications v where v.organization_id = (report).organization_id
    ),
    'read_back', (
      select jsonb_build_object('entries', sum(l.read_back)::bigint, 'of', sum(l.published)::bigint)
      from audit.logs l where l.organization_id = (report).organization_id and l.month is not null and l.archive_deletion_began_at is null
    ),
    'open_findings', (
      select count(*) from audit.findings f where f.organization_id = (report).organization_id and f.resolved_at is null
    ),
    'not_captured', (
      select coalesce(jsonb_agg(c.table_name || ': ' || c.finding order by c.table_name, c.finding), '[]')
      from audit.coverage c where not c.healthy
    ),
    'outside', (select count(*) from audit.receivers r),
    'checkpoint', audit.newest_checkpoint((report).organization_id)
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How the log stands when a report is made: verified chains and logs, reading back, findings, coverage, checkpoint.

-- function audit.is_account_change(text)
CREATE OR REPLACE FUNCTION audit.is_account_change(action text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (action = ANY (ARRAY['user.updated'::text, 'user.password_changed'::text, 'user.email_changed'::text, 'user.phone_changed'::text, 'user.banned'::text, 'user.unbanned'::text, 'permission.granted'::text, 'permission.revoked'::text]))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether Auth's own record may call the action no more than "user_modified", which says that something changed.

-- function audit.is_at_work(jsonb,timestamp without time zone)
CREATE OR REPLACE FUNCTION audit.is_at_work(hours jsonb, local timestamp without time zone)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN ((hours ->> 'from'::text) < (hours ->> 'to'::text)) THEN ((to_char(local, 'HH24:MI'::text) >= (hours ->> 'from'::text)) AND (to_char(local, 'HH24:MI'::text) < (hours ->> 'to'::text)) AND ((hours -> 'days'::text) @> to_jsonb((EXTRACT(isodow FROM local))::integer))) WHEN (to_char(local, 'HH24:MI'::text) >= (hours ->> 'from'::text)) THEN ((hours -> 'days'::text) @> to_jsonb((EXTRACT(isodow FROM local))::integer)) WHEN (to_char(local, 'HH24:MI'::text) < (hours ->> 'to'::text)) THEN ((hours -> 'days'::text) @> to_jsonb((EXTRACT(isodow FROM (local - '1 day'::interval)))::integer)) ELSE false END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether a local time is within hours of work, which may go across midnight.

-- function audit.is_built_in(uuid)
CREATE OR REPLACE FUNCTION audit.is_built_in(rule_id uuid)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((rule_id)::text ~~ '00000000-0000-4000-a000-%'::text)

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether a rule comes with the product (605): loading that again would undo a change of it.

-- function audit.is_collection_due()
CREATE OR REPLACE FUNCTION audit.is_collection_due()
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select (audit.setting('collect_logs_every'))::int > 0
    and c.lease_until < clock_timestamp() and c.next_at < clock_timestamp()
    and (
      c.resume_after is not null or c.last_run_at is null
      or c.last_run_at <= clock_timestamp() - make_interval(secs => (audit.setting('collect_logs_every'))::int)
    )
  from audit.log_collection c
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether logs are to be collected by the setting collect_logs_every and it is time.

-- function audit.is_held(uuid)
CREATE OR REPLACE FUNCTION audit.is_held(organization_id uuid)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select exists (
    select from audit.holds h
    where h.organization_id in (is_held.organization_id, audit.system_organization()) and h.released_at is null
  )
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether a legal hold is on an organisation, or on the whole project.

-- function audit.is_locked_out(text,uuid)
CREATE OR REPLACE FUNCTION audit.is_locked_out(kind text, user_id uuid)
 RETURNS boolean
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_policy jsonb := audit.setting('login_lockout');
  v_since timestamptz := clock_timestamp() - make_interval(secs => (v_policy ->> 'seconds')::int);
begin
  if v_policy = 'false' then
    return false;
  end if;
  return (v_policy ->> 'failures')::int <= (
    select count(*)
    from audit.auth_sightings s
    where s.subject = audit.digest_id(kind || ' user ' || is_locked_out.user_id) and s.seen is not null and s.happened_at > v_since
  ) + (
    select count(*)
    from audit.waiting_auth_events w
    where (w.event).user_id = is_locked_out.user_id and (w.event).action = kind and (w.event).happened_at > v_since
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Whether a user failed as often as the setting login_lockout allows; never where it is off.

-- function audit.is_purged(uuid,text)
CREATE OR REPLACE FUNCTION audit.is_purged(organization_id uuid, name text)
 RETURNS boolean
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  select is_purged.name ~ '^\d{1,9}-\d{1,18}$' and audit.reach(is_purged.organization_id) is not distinct from 'all' and exists (
    select from audit.chain_bounds b
    where b.organization_id = is_purged.organization_id and b.chain = split_part(is_purged.name, '-', 1)::int
      and b.seq >= split_part(is_purged.name, '-', 2)::bigint
  )
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether an entry has left the database, for who reads all of the organisation's log; false for everybody else.

-- function audit.is_reserved(text)
CREATE OR REPLACE FUNCTION audit.is_reserved(action text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN (split_part(action, '.'::text, 1) = ANY (ARRAY['log'::text, 'capture'::text, 'retention'::text, 'hold'::text, 'subject'::text, 'auditor'::text, 'alert'::text, 'rule'::text, 'verification'::text]))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether only the product itself writes entries of that action.

-- function audit.is_sampled(uuid,jsonb)
CREATE OR REPLACE FUNCTION audit.is_sampled(key uuid, api_access jsonb)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (api_access = '"all"'::jsonb) THEN true WHEN (api_access = '"off"'::jsonb) THEN false ELSE ((((('x'::text || SUBSTRING((key)::text FROM 1 FOR 7)))::bit(28))::integer)::double precision < (((api_access #>> '{}'::text[]))::double precision * (268435456)::double precision)) END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether an event named so belongs to the share that the setting api_access asks for.

-- function audit.is_sealed(uuid,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.is_sealed(organization_id uuid, until timestamp with time zone)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select not exists (select from audit.waiting_chains(is_sealed.organization_id) w where w.since <= is_sealed.until)
    and not exists (
      select from audit.logs l where l.organization_id = is_sealed.organization_id and l.sequenced > l.published
    )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether the newest checkpoint of an organisation is over every entry up to a time.

-- function audit.is_usual_hour(uuid,timestamp without time zone)
CREATE OR REPLACE FUNCTION audit.is_usual_hour(organization_id uuid, local timestamp without time zone)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  with now as (
    select extract(isodow from is_usual_hour.local)::int - 1 as weekday, extract(hour from is_usual_hour.local)::int as hour
  ),
  past as (
    select a.hour, a.since, d.day
    from audit.active_hours a
    cross join lateral unnest(a.days) d (day)
    where a.organization_id = is_usual_hour.organization_id and d.day between is_usual_hour.local::date - 90 and is_usual_hour.local::date - 1
  )
  select coalesce(min(p.since) > is_usual_hour.local::date - 28, true)
    or count(distinct p.day) filter (where (p.hour - n.weekday * 24 - n.hour + 169) % 168 <= 2) >= 3
    or count(distinct p.day) filter (where (p.hour - n.hour + 25) % 24 <= 2) >= 3
      and exists (select from past w where w.hour / 24 = n.weekday group by w.hour having count(*) >= 3)
  from now n
  left join past p on true
  group by n.weekday, n.hour
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether people of an organisation are used to work at this hour, or it is not known yet.

-- function audit.is_value_of(audit.personal_values,audit.subject)
CREATE OR REPLACE FUNCTION audit.is_value_of(value audit.personal_values, subject audit.subject)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN COALESCE((((value).subject_id = (subject).user_id) OR ((value).resource_id = ((subject).user_id)::text) OR (lower((value).value) = ANY ((subject).addresses))), false)

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether a personal value is of a person.

-- function audit.joined_firings(audit.rule_firing[],audit.rule_in_force[])
CREATE OR REPLACE FUNCTION audit.joined_firings(firings audit.rule_firing[], force audit.rule_in_force[])
 RETURNS audit.rule_firing[]
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select coalesce(array_agg(row(
    j.rule_id, j.organization_id, j.group_key, j.first_at, j.last_at, j.occurrences, j.seen,
    array(select n from unnest(j.parts) p cross join lateral unnest(p.names) n limit 20), j.about_alerts, (j.parts[1]).note
  )::audit.rule_firing order by j.first_at), '{}')
  from (
    select e.rule_id, e.organization_id, e.group_key, min(e.first_at) as first_at, max(e.last_at) as last_at,
      sum(e.occurrences)::bigint as occurrences, max(e.seen) as seen, bool_or(e.about_alerts) as about_alerts,
      (array_agg(e.firing order by e.first_at))[:20] as parts
    from (
      select b.*, count(*) filter (where b.begins) over (partition by b.rule_id, b.organization_id, b.group_key order by b.first_at, b.last_at) as episode
      from (
        select f.*, f as firing, f.first_at > max(f.last_at) over (
            partition by f.rule_id, f.organization_id, f.group_key order by f.first_at, f.last_at rows between unbounded preceding and 1 preceding
          ) + coalesce(q.quiet_period, '100 years') as begins
        from unnest(firings) f
        join unnest(force) q on q.rule_id = f.rule_id and q.organization_id = f.organization_id
      ) b
    ) e
    group by e.rule_id, e.organization_id, e.group_key, e.episode
  ) j
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Firings of a group that follow each other within its quiet period, as one.

-- function audit.judge_activity(timestamp with time zone,uuid,text)
CREATE OR REPLACE FUNCTION audit.judge_activity(hour timestamp with time zone, organization_id uuid DEFAULT NULL::uuid, metric text DEFAULT NULL::text)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET enable_hashjoin TO 'off'
 SET enable_mergejoin TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_hour timestamptz := judge_activity.hour;
  v_zone text := coalesce(audit.setting('time_zone') #>> '{}', 'UTC');
  v_judged int;
begin
  insert into audit.activity_baselines as b (organization_id, metric, since, active_at)
  select a.organization_id, m.metric, v_hour, v_hour
  from audit.activity a
  cross join lateral (values ('queries', a.queries), ('cost', a.costs)) m (metric, made_of)
  where a.hour = v_hour and a.dimension = 'all' and m.made_of > 0
    and a.organization_id = coalesce(judge_activity.organization_id, a.organization_id)
    and m.metric = coalesce(judge_activity.metric, m.metric)
  order by 1, 2
  on conflict on constraint activity_baselines_pkey do update set
    since = case when b.active_at < v_hour - interval '336 hours' then v_hour else b.since end,
    active_at = greatest(b.active_at, v_hour);

  with clock as materialized (
    -- What is only an hour early or late is compared with the hours beside it.
    select z.zone,
      array(select s.hour from audit.same_hours(v_hour, z.zone) s) as same,
      array(select s.hour from audit.same_hours(v_hour - interval '1 hour', z.zone) s) as before,
      array(select s.hour from audit.same_hours(v_hour + interval '1 hour', z.zone) s) as after
    from (
      select v_zone union select s.value #>> '{}' from audit.settings s where s.name = 'time_zone'
    ) z (zone)
  ),
  member as materialized (
    select b.organization_id, b.metric, k.same, k.before, k.after, audit.anomaly_parameter(o.settings, 'score') as score_from,
      -- By the clock, 14 days can be a few hours more.
      greatest(b.since, v_hour - interval '340 hours') as since,
      audit.anomaly_parameter(o.settings, 'least_' || b.metric) as least,
      coalesce(case b.metric when 'queries' then a.queries::numeric else a.cost end, 0) as seen,
      coalesce(case b.metric when 'queries' then a.queries else a.costs end, 0) as made_of
    from audit.activity_baselines b
    join audit.rules r on r.id = audit.anomaly_rule()
    left join audit.rule_choices c on c.rule_id = r.id and c.organization_id = b.organization_id
    left join audit.settings z on z.organization_id = b.organization_id and z.name = 'time_zone'
    cross join lateral (
      select r.settings || coalesce(c.choice, '{}') as settings, coalesce(z.value #>> '{}', v_zone) as zone
    ) o
    join clock k on k.zone = o.zone
    left join audit.activity a
      on a.hour = v_hour and a.organization_id = b.organization_id and a.dimension = 'all' and a.value = ''
    where b.since <= v_hour and b.active_at >= v_hour - interval '336 hours'
      and b.organization_id = coalesce(judge_activity.organization_id, b.organization_id)
      and b.metric = coalesce(judge_activity.metric, b.metric)
  ),
  judged as (
    select m.*, h.expected, h.before_expected, h.after_expected, h.experience, h.busiest, u.incidents, u.alerts as going_on,
      (m.seen::float8 - h.expected) / c.chance as distance,
      -- Hours differ at least as much as chance makes them.
      greatest(h.deviation, 1) as deviation, c.chance
    from member m
    cross join lateral (
      select
        case
          when count(*) filter (where j.hour = any (m.same)) >= 2
            then percentile_cont(0.5) within group (order by j.seen::float8) filter (where j.hour = any (m.same))
        end as expected,
        percentile_cont(0.5) within group (order by j.seen::float8) filter (where j.hour = any (m.before)) as before_expected,
        percentile_cont(0.5) within group (order by j.seen::float8) filter (where j.hour = any (m.after)) as after_expected,
        -- The active ones on three days at least.
        count(j.learned) >= 48 and count(*) filter (where j.made_of > 0) >= 48
          and max(j.hour) filter (where j.made_of > 0) >= min(j.hour) filter (where j.made_of > 0) + interval '48 hours' as experience,
        coalesce(stddev_samp(j.learned), 0) as deviation,
        max(j.seen)::float8 as busiest,
        (case when sum(j.seen) > 0 then sum(j.seen) / sum(j.made_of) end)::float8 as unit
      from audit.judgements j
      where j.organization_id = m.organization_id and j.metric = m.metric and j.hour >= m.since and j.hour < v_hour
        and not j.unusual
    ) h
    cross join lateral (select sqrt(greatest(h.expected, h.unit) * h.unit) as chance) c
    cross join lateral (
      select count(*) filter (where i.hour >= coalesce(i.before, '-infinity') + interval '24 hours') as incidents,
        coalesce(max(i.alerts) filter (where i.hour > v_hour - interval '24 hours'), 0) as alerts
      from (
        select j.hour, j.alerts, lag(j.hour) over (order by j.hour) as before
        from audit.judgements j
        where j.organization_id = m.organization_id and j.metric = m.metric and j.hour >= m.since and j.hour < v_hour
          and j.unusual
      ) i
    ) u
  ),
  thought as (
    select j.*, t.*, coalesce(
        t.score >= j.score_from and j.seen >= j.least and j.seen >= 0.75 * j.busiest and j.seen >= 1.5 * coalesce(greatest(j.before_expected, j.after_expected), 0)
          or t.score <= -j.score_from and j.expected >= j.least and 1.5 * j.seen <= coalesce(least(j.before_expected, j.after_expected), 0),
        false
      ) as unusual
    from judged j
    cross join lateral (select case when j.experience then j.distance / j.deviation end as score) t
  )
  insert into audit.judgements as j
    (organization_id, metric, hour, seen, made_of, expected, spread, score, learned, unusual, alerts)
  select t.organization_id, t.metric, v_hour, t.seen, t.made_of, t.expected, t.chance * t.deviation, t.score,
    case when not t.unusual then t.distance end, t.unusual,
    -- Who had incidents lately is told of the next one only if it is plainer; one that goes on stays one, unless it
    -- becomes very unusual.
    case
      when t.unusual and (t.going_on > 0 or abs(t.score) >= t.score_from + least(t.incidents, 4))
        then greatest(t.going_on, case when abs(t.score) >= 1.5 * t.score_from then 2 else 1 end)
      else 0
    end
  from thought t
  order by t.organization_id, t.metric
  on conflict on constraint judgements_pkey do update set
    seen = excluded.seen, made_of = excluded.made_of, expected = excluded.expected, spread = excluded.spread,
    score = excluded.score, learned = excluded.learned, unusual = excluded.unusual, alerts = excluded.alerts, late = false;
  get diagnostics v_judged = row_count;
  return v_judged;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Judges an hour, of all organisations or of one; returns of how many metrics. Hours are judged in order; one that was judged is judged anew.

-- function audit.judge_budgets(audit.rule_total[],audit.rule_in_force[])
CREATE OR REPLACE FUNCTION audit.judge_budgets(totals audit.rule_total[], force audit.rule_in_force[])
 RETURNS audit.rule_firing[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_budget record;
  v_firings audit.rule_firing[];
begin
  if totals is null then
    return '{}';
  end if;
  for v_budget in
    select distinct on (t.first_at, t.value) t.organization_id, t.group_key as id, t.note from unnest(totals) t
    where t.note ? 'action' order by t.first_at, t.value
  loop
    perform audit.note_budget(v_budget.organization_id, v_budget.id, v_budget.note ->> 'action', v_budget.note -> 'details');
  end loop;

  with spent as materialized (
    select t.rule_id, t.organization_id, d.day, t.value, t.group_key as provider, sum(t.weight) as spent, max(t.last_at) as at,
      max(t.names[1]) as name, f.settings
    from unnest(totals) t
    join unnest(force) f on f.rule_id = t.rule_id and f.organization_id = t.organization_id and f.settings ? 'against'
    join (select o.id, audit.time_zone_of(o.id) as zone from (select distinct f.organization_id as id from unnest(force) f where f.settings ? 'against') o) o
      on o.id = t.organization_id
    cross join lateral (select (to_timestamp(t.slot * 900) at time zone o.zone)::date as day) d
    group by t.rule_id, t.organization_id, d.day, t.value, t.group_key, f.settings
  ),
  added as (
    insert into audit.spending as p (rule_id, organization_id, day, provider, spent)
    select s.rule_id, s.organization_id, s.day, s.provider, s.spent from spent s
    where s.value = 'spent'
    order by s.rule_id, s.organization_id, s.day, s.provider
    on conflict on constraint spending_pkey do update set spent = p.spent + excluded.spent
    returning p.rule_id, p.organization_id, p.day, p.provider, p.spent
  ),
  period as materialized (
    select s.rule_id, s.organization_id, b.budget_id, b.spent_limit, b.provider, date_trunc(b.period, s.day)::date as starts,
      (date_trunc(b.period, s.day) + ('1 ' || b.period)::interval)::date as ends, max(s.at) as at,
      (array_agg(s.name order by s.at desc))[1] as name,
      coalesce(b.percent, array(select jsonb_array_elements_text(coalesce(s.settings -> 'percent', '[50, 80, 100]'))::numeric::int)) as percent
    from spent s
    join audit.budgets_known b on b.organization_id = s.organization_id
    group by s.rule_id, s.organization_id, s.settings, b.budget_id, b.spent_limit, b.percent, b.provider, b.period, 6, 7
  ),
  -- The statement does not see in the table what it has just added.
  spending as materialized (
    select p.*, (
        select sum(coalesce(a.spent, k.spent))
        from (select * from audit.spending k where k.rule_id = p.rule_id and k.organization_id = p.organization_id and k.day >= p.starts and k.day < p.ends) k
        full join (select * from added a where a.rule_id = p.rule_id and a.organization_id = p.organization_id and a.day >= p.starts and a.day < p.ends) a
          on a.day = k.day and a.provider = k.provider
        where coalesce(a.provider, k.provider) = coalesce(p.provider, a.provider, k.provider)
      ) as spent
    from period p
  ),
  crossing as (
    insert into audit.budget_crossings (rule_id, organization_id, budget_id, period_start, share, spent_limit)
    select s.rule_id, s.organization_id, s.budget_id, s.starts, c.share, s.spent_limit
    from spending s
    cross join lateral (
      select p::text as share from unnest(s.percent) p where s.spent * 100 >= s.spent_limit * p
      union
      select 'exceeded' where s.spent > s.spent_limit
    ) c
    on conflict do nothing
    returning rule_id, organization_id, budget_id, period_start, share
  )
  select array_agg(row(
    c.rule_id, c.organization_id,
    jsonb_build_object('budget', c.budget_id, 'period', c.period_start, 'share', c.share, 'limit', s.spent_limit)::text,
    s.at, s.at, 1, s.spent, array[s.name], false,
    jsonb_build_object('spent', s.spent, 'limit', s.spent_limit, 'share', c.share, 'budget', c.budget_id,
      'severity', case when c.share = 'exceeded' or c.share::int >= 100 then 'high' end)
  )::audit.rule_firing)
  into v_firings
  from crossing c
  join spending s on s.rule_id = c.rule_id and s.organization_id = c.organization_id and s.budget_id = c.budget_id and s.starts = c.period_start;
  return coalesce(v_firings, '{}');
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Keeps what entries tell of budgets, and answers which shares of them costs have reached now.

-- function audit.judge_values(audit.rule_total[],audit.rule_in_force[])
CREATE OR REPLACE FUNCTION audit.judge_values(totals audit.rule_total[], force audit.rule_in_force[])
 RETURNS audit.rule_firing[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_firings audit.rule_firing[];
begin
  if totals is null then
    return '{}';
  end if;
  with seen as materialized (
    select t.rule_id, t.organization_id, t.group_key, t.value, t.first_at, t.last_at, t.hits, t.names, t.about_alerts,
      f.settings -> 'allowed' as allowed, f.settings ->> 'value' as field,
      coalesce(audit.duration(f.settings ->> 'history'), interval '14 days') as history,
      coalesce((f.settings ->> 'warm_up')::int, 5) as warm_up
    from unnest(totals) t
    join unnest(force) f on f.rule_id = t.rule_id and f.organization_id = t.organization_id
    where t.value <> '' and f.kind = 'new_value'
  ),
  placed as (
    select s.*, v.first_at as known_since, v.last_at as known_until, g.days as known_days, g.last_at as group_until,
      lag(s.last_at) over value_before as before,
      least(g.first_at, min(s.first_at) over group_before) as group_since,
      -- A day counts once, however many entries it has.
      (s.first_at at time zone 'utc')::date > greatest(
        (g.last_at at time zone 'utc')::date, (lag(s.last_at) over group_before at time zone 'utc')::date, '-infinity'::date
      ) as new_day
    from seen s
    left join audit.rule_values v on v.rule_id = s.rule_id and v.organization_id = s.organization_id and v.group_key = s.group_key and v.value = s.value
    left join audit.rule_values g on g.rule_id = s.rule_id and g.organization_id = s.organization_id and g.group_key = s.group_key and g.value = ''
    window value_before as (partition by s.rule_id, s.organization_id, s.group_key, s.value order by s.first_at),
      group_before as (partition by s.rule_id, s.organization_id, s.group_key order by s.first_at, s.value)
  ),
  judged as materialized (
    select p.*,
      coalesce(p.known_days, 0) + count(*) filter (where p.new_day) over (
        partition by p.rule_id, p.organization_id, p.group_key order by p.first_at, p.value
      ) as days
    from placed p
  ),
  kept as (
    insert into audit.rule_values as v (rule_id, organization_id, group_key, value, first_at, last_at, days, forget_at)
    select k.rule_id, k.organization_id, k.group_key, k.value, k.first_at, k.last_at, k.days, k.last_at + k.history
    from (
      select j.rule_id, j.organization_id, j.group_key, j.value, min(j.first_at) as first_at, max(j.last_at) as last_at, 1 as days, max(j.history) as history
      from judged j group by j.rule_id, j.organization_id, j.group_key, j.value
      union all
      select j.rule_id, j.organization_id, j.group_key, '', min(j.first_at), max(j.last_at), max(j.days)::int, max(j.history)
      from judged j group by j.rule_id, j.organization_id, j.group_key
    ) k
    order by k.rule_id, k.organization_id, k.group_key, k.value
    on conflict on constraint rule_values_pkey do update set
      first_at = least(v.first_at, excluded.first_at), last_at = greatest(v.last_at, excluded.last_at),
      days = greatest(v.days, excluded.days), forget_at = greatest(v.forget_at, excluded.forget_at)
  )
  select array_agg(row(
    j.rule_id, j.organization_id, (coalesce(nullif(j.group_key, ''), '{}')::jsonb || jsonb_build_object(j.field, j.value))::text,
    j.first_at, j.last_at, j.hits, j.hits, j.names, j.about_alerts,
    case when jsonb_typeof(j.allowed) = 'array' then '{"not_allowed": true}'::jsonb else jsonb_build_object('days_known', j.days) end
  )::audit.rule_firing)
  into v_firings
  from judged j
  where case
    -- Who has said what is allowed has nothing to learn.
    when jsonb_typeof(j.allowed) = 'array' then not j.allowed ? j.value
    else coalesce(greatest(j.known_until, j.before) < j.first_at - j.history, true)
      and j.group_since <= j.first_at - j.warm_up * interval '1 day' and j.days > j.warm_up
  end;
  return coalesce(v_firings, '{}');
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes which values were seen, and answers which are new, or not allowed.

-- function audit.judge_windows(audit.rule_total[])
CREATE OR REPLACE FUNCTION audit.judge_windows(totals audit.rule_total[])
 RETURNS audit.rule_firing[]
 LANGUAGE plpgsql
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_firings audit.rule_firing[];
  v_windowed audit.rule_firing[];
begin
  -- Where one entry is enough there is nothing to remember.
  v_firings := array(
    select row(t.rule_id, t.organization_id, t.group_key, t.first_at, t.last_at, t.hits, t.hits, t.names, t.about_alerts, null)::audit.rule_firing
    from unnest(totals) t
    where t.kind = 'event'
  );

  insert into audit.rule_windows as w
    (rule_id, organization_id, group_key, slot, value, weight, hits, first_at, last_at, names, forget_at)
  select t.rule_id, t.organization_id, t.group_key, t.slot, t.value, t.weight, t.hits, t.first_at, t.last_at, t.names,
    to_timestamp((t.slot + 2 * t.span + 1) * t.slot_length / 1000000.0) + interval '1 hour'
  from unnest(totals) t
  where t.span > 0
  order by t.rule_id, t.organization_id, t.group_key, t.slot, t.value
  on conflict on constraint rule_windows_pkey do update set
    weight = w.weight + excluded.weight, hits = w.hits + excluded.hits,
    first_at = least(w.first_at, excluded.first_at), last_at = greatest(w.last_at, excluded.last_at),
    names = (w.names || excluded.names)[:20];

  with touched as materialized (
    select t.rule_id, t.organization_id, t.group_key, t.kind, t.span, t.threshold, min(t.slot) as lo, max(t.slot) as hi, bool_or(t.about_alerts) as about_alerts
    from unnest(totals) t
    where t.span > 0
    group by t.rule_id, t.organization_id, t.group_key, t.kind, t.span, t.threshold
  ),
  held as (
    select t.rule_id, t.organization_id, t.group_key, t.kind, t.span, t.threshold, t.lo, t.about_alerts,
      w.slot, w.value, w.hits, w.counted, w.first_at, w.last_at, w.names,
      case when t.kind in ('sum', 'count') then w.weight when w.value = 'then' and t.kind = 'sequence' then 0
        when t.kind = 'sequence' then w.weight else 1 end as weight,
      -- A value that comes again counts on from there; what else there is counts as long as the window is.
      case when t.kind = 'distinct' then lead(w.slot) over (
        partition by t.rule_id, t.organization_id, t.group_key, w.value order by w.slot
      ) end as again
    from touched t
    cross join lateral (
      select w.* from audit.rule_windows w
      where w.rule_id = t.rule_id and w.organization_id = t.organization_id and w.group_key = t.group_key
        and w.slot between t.lo - t.span and t.hi + t.span
      offset 0
    ) w
  ),
  running as (
    select c.*, sum(c.change) over (partition by c.rule_id, c.organization_id, c.group_key order by c.at) as total
    from (
      select h.*, h.slot as at, h.weight as change, true as begins from held h
      union all
      select h.*, least(h.slot + h.span + 1, h.again), -h.weight, false from held h
    ) c
  ),
  firing as materialized (
    select r.*, coalesce(lag(r.slot) over (partition by r.rule_id, r.organization_id, r.group_key order by r.slot, r.value) < r.slot - r.span, true) as is_first
    from running r
    where r.begins and r.total >= r.threshold and r.slot >= r.lo and r.hits > r.counted and (r.kind <> 'sequence' or r.value = 'then')
  ),
  counted as (
    update audit.rule_windows w set counted = w.hits
    from firing f
    where w.rule_id = f.rule_id and w.organization_id = f.organization_id and w.group_key = f.group_key and w.slot = f.slot and w.value = f.value
  )
  select array_agg(row(
    f.rule_id, f.organization_id, f.group_key, f.first_at, f.last_at, f.hits - f.counted, f.total,
    -- What the first of them is made of; others only go on.
    case when f.is_first then array(
      select n.name
      from audit.rule_windows w
      cross join lateral unnest(w.names) n (name)
      where w.rule_id = f.rule_id and w.organization_id = f.organization_id and w.group_key = f.group_key and w.slot between f.slot - f.span and f.slot
      order by w.slot, n.name
      limit 20
    ) else f.names end,
    f.about_alerts, null
  )::audit.rule_firing)
  into v_windowed
  from firing f;
  return v_firings || coalesce(v_windowed, '{}');
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Takes what entries add into the windows, and answers where a threshold is reached now that was not, or holds on.

-- function audit.keep_default(jsonb,jsonb)
CREATE OR REPLACE FUNCTION audit.keep_default(rule jsonb, tests jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_rule audit.rules := audit.checked_rule(rule);
begin
  v_rule.id := (rule ->> 'id')::uuid;
  insert into audit.rules as r (id, organization_id, name, description, kind, severity, enabled, match, settings, quiet_period, channels, compiled)
  values (
    v_rule.id, audit.system_organization(), v_rule.name, v_rule.description, v_rule.kind, v_rule.severity, v_rule.enabled, v_rule.match,
    v_rule.settings, v_rule.quiet_period, v_rule.channels, v_rule.compiled
  )
  on conflict (id) do update set
    name = excluded.name, description = excluded.description, version = r.version + 1, kind = excluded.kind, severity = excluded.severity,
    enabled = excluded.enabled, match = excluded.match, settings = excluded.settings, quiet_period = excluded.quiet_period,
    channels = excluded.channels, compiled = excluded.compiled, changed_at = clock_timestamp()
  where (r.name, r.description, r.kind, r.severity, r.enabled, r.match, r.settings, r.quiet_period, r.channels, r.compiled) is distinct from
    (excluded.name, excluded.description, excluded.kind, excluded.severity, excluded.enabled, excluded.match, excluded.settings,
      excluded.quiet_period, excluded.channels, excluded.compiled);
  perform audit.keep_rule_tests(v_rule.id, tests);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Makes a default rule as it is defined here, with its samples.

-- function audit.keep_rule_tests(uuid,jsonb)
CREATE OR REPLACE FUNCTION audit.keep_rule_tests(rule_id uuid, tests jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  if tests is null then
    return;
  end if;
  perform audit.check_rule_tests(tests);
  delete from audit.rule_tests t where t.rule_id = keep_rule_tests.rule_id;
  insert into audit.rule_tests (rule_id, name, entries, alerts)
  select keep_rule_tests.rule_id, t.name, t.entries, t.alerts from jsonb_to_recordset(tests) t (name text, entries jsonb, alerts int);
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Keeps the tests of a rule, in place of those it had; null leaves them.

-- function audit.keep_secret(uuid,text)
CREATE OR REPLACE FUNCTION audit.keep_secret(secret_id uuid, secret text)
 RETURNS uuid
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if to_regprocedure('vault.create_secret(text, text, text, uuid)') is null then
    perform audit.fail('AUVLT', 'The secrets of channels are kept in the Vault, which this project does not have.', null,
      'create extension supabase_vault');
  end if;
  if keep_secret.secret_id is null then
    return vault.create_secret(keep_secret.secret, null, 'A channel of the audit log');
  end if;
  perform vault.update_secret(keep_secret.secret_id, keep_secret.secret);
  return keep_secret.secret_id;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Puts a secret into the Vault, in place of the one named; answers its id.

-- function audit.keep_source_secret(uuid,text)
CREATE OR REPLACE FUNCTION audit.keep_source_secret(source uuid, secret text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_name text := 'audit_source_' || source;
begin
  if to_regclass('vault.secrets') is null then
    return;
  end if;
  -- Dynamic: the Vault need not exist when this function is made. The secret before keeps a name of its own.
  execute 'delete from vault.secrets where name = $1' using v_name || '_previous';
  if secret is null then
    execute 'delete from vault.secrets where name = $1' using v_name;
    return;
  end if;
  execute 'select vault.create_secret(d.decrypted_secret, $2) from vault.decrypted_secrets d where d.name = $1'
    using v_name, v_name || '_previous';
  execute 'delete from vault.secrets where name = $1' using v_name;
  execute 'select vault.create_secret($1, $2)' using secret, v_name;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Keeps a source's secret in the Vault beside the one before, or removes both; does nothing where there is no Vault.

-- function audit.kept_context()
CREATE OR REPLACE FUNCTION audit.kept_context()
 RETURNS audit.statement_context
 LANGUAGE sql
RETURN CASE WHEN (current_setting('audit.context_sources'::text, true) = audit.context_sources()) THEN (current_setting('audit.context'::text, true))::audit.statement_context ELSE audit.read_context() END

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: audit.context() for those who write: an error instead of a second reading where the settings hold nonsense.

-- function audit.kept_secret(uuid)
CREATE OR REPLACE FUNCTION audit.kept_secret(secret_id uuid)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  -- A channel without a secret asks nothing of the Vault.
  if kept_secret.secret_id is not null then
    return (select s.decrypted_secret from vault.decrypted_secrets s where s.id = kept_secret.secret_id);
  end if;
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: A secret of the Vault, for who delivers.

-- function audit.known_members(uuid)
CREATE OR REPLACE FUNCTION audit.known_members(organization_id uuid)
 RETURNS TABLE(user_id uuid, role text)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_users uuid[];
begin
  -- The membership table is asked person by person: whom the log knows, and whom Auth knows, where that is not beyond counting.
  v_users := array(
    select distinct i.user_id from audit.identities i where i.organization_id = known_members.organization_id and i.user_id is not null
    union
    select distinct audit.as_uuid(a.resource_id) from public.audit_logs a
    where a.organization_id = known_members.organization_id and a.resource_type = 'member'
    union
    select x.requested_by from audit.exports x where x.organization_id = known_members.organization_id
  );
  if to_regclass('auth.users') is not null then
    execute 'select $1 || array(select u.id from auth.users u order by u.id limit 50000)' into v_users using v_users;
  end if;
  return query
    select u.user_id, m.role
    from (select distinct u from unnest(v_users) u where u is not null) u (user_id)
    cross join lateral audit.memberships(u.user_id) m
    where m.organization_id = known_members.organization_id;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Who has which role in an organisation: of the users whom its log knows, and of the first 50,000 whom Auth knows.

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

-- function audit.late_time(timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.late_time(happened_at timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN CASE WHEN (abs(EXTRACT(epoch FROM (clock_timestamp() - happened_at))) > (5)::numeric) THEN to_char((happened_at AT TIME ZONE 'utc'::text), 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'::text) ELSE NULL::text END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: When it happened, for the details of an entry that is written more than five seconds later; else null.

-- function audit.learn_activity(uuid,text,timestamp with time zone,text)
CREATE OR REPLACE FUNCTION audit.learn_activity(organization_id uuid, metric text, since timestamp with time zone, why text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  update audit.activity_baselines b set since = learn_activity.since
  where b.organization_id = learn_activity.organization_id and b.metric = learn_activity.metric;
  -- Judged again in the light of themselves, without an alert: the first ones teach, as those of a new organisation.
  update audit.judgements j set unusual = false, alerts = 0, expected = null, spread = null, score = null, learned = null
  where j.organization_id = learn_activity.organization_id and j.metric = learn_activity.metric and j.hour >= learn_activity.since;
  perform audit.judge_activity(h.hour, learn_activity.organization_id, learn_activity.metric)
  from (
    select j.hour from audit.judgements j
    where j.organization_id = learn_activity.organization_id and j.metric = learn_activity.metric and j.hour >= learn_activity.since
    order by j.hour
  ) h;
  perform audit.record(
    learn_activity.organization_id, 'anomaly.accepted', 'metric', learn_activity.metric,
    jsonb_build_object('since', learn_activity.since, 'why', learn_activity.why)
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Makes what is since some hour the new normal: what was before is not compared with any more. Leaves an entry.

-- function audit.learn_lasting_changes(timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.learn_lasting_changes(hour timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_change record;
  v_learned int := 0;
begin
  for v_change in
    select d.organization_id, d.metric, min(d.since) as since
    from (
      select j.organization_id, j.metric, sign(j.score) as side, min(j.hour) as since
      from audit.judgements j
      where j.unusual and j.hour > learn_lasting_changes.hour - interval '168 hours' and j.hour <= learn_lasting_changes.hour
        and (j.organization_id, j.metric) in (
          select n.organization_id, n.metric from audit.judgements n where n.hour = learn_lasting_changes.hour and n.unusual
        )
      group by 1, 2, 3, ceil(extract(epoch from learn_lasting_changes.hour - j.hour + interval '1 second') / 86400)
      having count(*) >= 6
    ) d
    group by d.organization_id, d.metric, d.side
    having count(*) = 7
  loop
    perform audit.learn_activity(v_change.organization_id, v_change.metric, v_change.since, 'lasted seven days');
    v_learned := v_learned + 1;
  end loop;
  return v_learned;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Accepts what was unusual for six hours and more on each of the last seven days as the new normal; returns how often.

-- function audit.lease_checkpoint(integer,bigint,interval)
CREATE OR REPLACE FUNCTION audit.lease_checkpoint(log integer, size bigint, lease interval DEFAULT '00:02:00'::interval)
 RETURNS uuid
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  update audit.logs l set lease = gen_random_uuid(), lease_until = clock_timestamp() + lease_checkpoint.lease
  where l.id = lease_checkpoint.log and l.published = lease_checkpoint.size and l.lease_until < clock_timestamp()
  returning l.lease
$function$

owner postgres
grant postgres: EXECUTE
comment: Has the log to oneself while its newest checkpoint is published again, so that it never replaces a newer one; null where
there is a newer one, or a run is about to publish it. audit.record_published() ends it.

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

-- function audit.list_alerts(jsonb)
CREATE OR REPLACE FUNCTION audit.list_alerts(request jsonb DEFAULT '{}'::jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_organization uuid;
  v_limit int := 50;
  v_after audit.position;
  v_scope text := 'alerts ' || coalesce(request - array['cursor', 'limit', 'organization_id'], '{}')::text;
  v_alerts audit.alerts[];
  v_last audit.alerts;
begin
  perform audit.check_request(request, array['organization_id', 'state', 'severity', 'rule_id', 'limit', 'cursor']);
  v_organization := audit.requested_organization(request);
  perform audit.require_reach(v_organization);
  if request ? 'limit' then
    if coalesce(request ->> 'limit', '') !~ '^\d{1,4}$' or (request ->> 'limit')::int not between 1 and 200 then
      perform audit.fail('AUARG', 'limit is a whole number from 1 to 200.');
    end if;
    v_limit := (request ->> 'limit')::int;
  end if;
  if request ->> 'state' not in ('open', 'acknowledged', 'silenced', 'resolved', 'unresolved') then
    perform audit.fail('AUARG', 'state is open, acknowledged, silenced, resolved, or unresolved for all but the last.');
  elsif request ->> 'severity' not in ('info', 'low', 'medium', 'high', 'critical') then
    perform audit.fail('AUARG', 'severity is info, low, medium, high or critical.');
  elsif request ->> 'rule_id' is not null and audit.as_uuid(request ->> 'rule_id') is null then
    perform audit.fail('AUARG', 'rule_id is a UUID.');
  end if;
  -- Two alerts of one microsecond are told apart by a number of their ids, which a cursor has room for.
  v_after := audit.read_cursor(v_organization, v_scope, request ->> 'cursor');
  v_alerts := array(
    select a
    from audit.alerts a
    where a.organization_id = v_organization
      and (request ->> 'state' is null or a.state = request ->> 'state' or request ->> 'state' = 'unresolved' and a.state <> 'resolved')
      and (request ->> 'severity' is null or a.severity = request ->> 'severity')
      and (request ->> 'rule_id' is null or a.rule_id = audit.as_uuid(request ->> 'rule_id'))
      and (v_after is null or (a.opened_at, hashtextextended(a.id::text, 0)) < (v_after.created_at, v_after.seq))
    order by a.opened_at desc, hashtextextended(a.id::text, 0) desc
    limit v_limit + 1
  );
  if cardinality(v_alerts) > v_limit then
    v_alerts := v_alerts[:v_limit];
    v_last := v_alerts[v_limit];
  end if;
  return jsonb_build_object(
    'organization_id', v_organization,
    'alerts', (select coalesce(jsonb_agg(audit.alert_json(v_alerts[n]) order by n), '[]') from generate_subscripts(v_alerts, 1) n),
    'next', case when v_last.id is not null then audit.make_cursor(
      v_organization, v_scope, row(null, v_last.opened_at, 0, hashtextextended(v_last.id::text, 0))::audit.position
    ) end
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Alerts, newest first: select audit.list_alerts('{"organization_id": "…", "state": "unresolved"}'). For admins and auditors.

-- function audit.list_channels(jsonb)
CREATE OR REPLACE FUNCTION audit.list_channels(request jsonb DEFAULT '{}'::jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_organization uuid;
  v_is_admin boolean := true;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  if audit.reach(v_organization) <> 'all' then
    perform audit.fail('AUDEN', 'Only admins and auditors see channels.');
  end if;
  begin
    perform audit.require_admin(v_organization);
  exception when sqlstate 'AUDEN' then
    v_is_admin := false;
  end;
  return jsonb_build_object('organization_id', v_organization, 'channels', coalesce((
    select jsonb_agg(audit.channel_json(c, v_is_admin) order by c.name)
    from audit.channels c
    where c.organization_id = v_organization
  ), '[]'));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The channels of {organization_id}: for admins with their settings, for auditors without. Never with secrets.

-- function audit.list_deliveries(jsonb)
CREATE OR REPLACE FUNCTION audit.list_deliveries(request jsonb DEFAULT '{}'::jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id', 'channel', 'delivery', 'state']);
  v_organization := audit.requested_organization(request);
  if audit.reach(v_organization) <> 'all' then
    perform audit.fail('AUDEN', 'Only admins and auditors see deliveries.');
  end if;
  return jsonb_build_object('organization_id', v_organization, 'deliveries', coalesce((
    select jsonb_agg(audit.delivery_json(d) order by d.created_at desc)
    from (
      select d.*
      from audit.deliveries d
      -- Not those of other organisations' alerts that went to the project's channels, nor of theirs elsewhere.
      join audit.channels c on c.id = d.channel_id and c.organization_id = v_organization
      where (request ->> 'channel' is null or d.channel_id = audit.as_uuid(request ->> 'channel'))
        and (request ->> 'delivery' is null or d.id = audit.as_uuid(request ->> 'delivery'))
        and (request ->> 'state' is null or d.state = request ->> 'state')
      order by d.created_at desc
      limit 200
    ) d
  ), '[]'));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The newest 200 messages to channels of {organization_id}, of one {channel}, {delivery} or {state}. For admins and auditors.

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
    select jsonb_agg(audit.export_status(jsonb_build_object('export', x.id)) - array['manifest', 'manifest_note'] order by x.requested_at desc)
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

-- function audit.list_reports(jsonb)
CREATE OR REPLACE FUNCTION audit.list_reports(request jsonb DEFAULT '{}'::jsonb)
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
  if audit.reach(v_organization) is distinct from 'all' then
    perform audit.fail('AUDEN', 'Reports are for admins and auditors of the organisation.');
  end if;
  return jsonb_build_object('organization_id', v_organization, 'reports', coalesce((
    select jsonb_agg(audit.report_json(r) order by r.requested_at desc)
    from (
      select r.* from audit.reports r
      where r.organization_id = v_organization
        and (audit.sees_identities(v_organization) or r.subject is null and r.requested_by is not distinct from auth.uid())
      order by r.requested_at desc limit 100
    ) r
  ), '[]'));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The newest reports of an organisation.

-- function audit.list_rules(jsonb)
CREATE OR REPLACE FUNCTION audit.list_rules(request jsonb DEFAULT '{}'::jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_organization uuid;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  perform audit.require_reach(v_organization);
  return jsonb_build_object('organization_id', v_organization, 'rules', (
    select coalesce(jsonb_agg(audit.rule_json(t) || jsonb_build_object('tuned', c.rule_id is not null) order by t.organization_id, t.name), '[]')
    from audit.rules r
    left join audit.rule_choices c on c.rule_id = r.id and c.organization_id = v_organization
    cross join lateral audit.tuned_rule(r, c.choice) t
    where r.organization_id in (audit.system_organization(), v_organization)
  ));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The rules of an organisation, the defaults included as it has tuned them: select audit.list_rules('{"organization_id": "…"}').
For its admins and auditors.

-- function audit.list_schedules(jsonb)
CREATE OR REPLACE FUNCTION audit.list_schedules(request jsonb DEFAULT '{}'::jsonb)
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
  if audit.reach(v_organization) is distinct from 'all' then
    perform audit.fail('AUDEN', 'Schedules are for admins and auditors of the organisation.');
  end if;
  return jsonb_build_object('organization_id', v_organization, 'schedules', coalesce((
    select jsonb_agg(to_jsonb(s) order by s.created_at, s.id) from audit.report_schedules s
    where s.organization_id in (v_organization, audit.system_organization())
  ), '[]'));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The schedules of an organisation, those of the whole project included.

-- function audit.listing_section(audit.reports,text,text,integer,text)
CREATE OR REPLACE FUNCTION audit.listing_section(report audit.reports, title text, query text, at_most integer, note text DEFAULT NULL::text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'kind', 'entries', 'title', listing_section.title, 'query', q.query, 'note', note,
    'total', audit.report_count((report).organization_id, q.query),
    'items', audit.report_items((report).organization_id, q.query, at_most)
  )
  from (select audit.report_query(report, listing_section.query) as query) q
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A section that lists the entries that a query finds, the oldest first.

-- function audit.load_rows(text,jsonb)
CREATE OR REPLACE FUNCTION audit.load_rows(table_name text, rows jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_columns text;
begin
  -- What a backup of another version has more is left out, what it has less is as in new rows.
  select string_agg(format('%I', a.attname), ', ' order by a.attnum) into v_columns
  from pg_catalog.pg_attribute a
  where a.attrelid = format('audit.%I', load_rows.table_name)::regclass and a.attnum > 0 and not a.attisdropped
    and a.attidentity = '' and load_rows.rows -> 0 ? a.attname;
  if v_columns is not null then
    execute format(
      'insert into audit.%1$I (%2$s) select %2$s from jsonb_populate_recordset(null::audit.%1$I, $1)', load_rows.table_name, v_columns
    ) using load_rows.rows;
  end if;
end
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
comment: Inserts rows of a backup into the table of that name.

-- function audit.log_chain()
CREATE OR REPLACE FUNCTION audit.log_chain()
 RETURNS integer
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN 999999999

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The chain of the log's own entries (log.opened, log.heartbeat), which are written where entries are sequenced and nowhere else.

-- function audit.log_entries(integer,bigint,bigint)
CREATE OR REPLACE FUNCTION audit.log_entries(log integer, from_index bigint, to_index bigint)
 RETURNS TABLE(index bigint, entry text, hash bytea)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_log audit.logs;
begin
  select l.* into strict v_log from audit.logs l where l.id = log_entries.log;
  if v_log.month is null then
    return query
    select a.index, a.entry, audit.hash_of(a.entry)
    from audit.anchor_entries a
    where a.index >= log_entries.from_index and a.index < log_entries.to_index
    order by a.index;
    return;
  end if;
  return query
  select r.start + a.seq - r.from_seq, audit.entry_text(a), a.hash
  from audit.log_ranges r
  cross join lateral (
    select a.*
    from public.audit_logs a
    where a.organization_id = r.organization_id and a.chain = r.chain
      and a.seq between greatest(r.from_seq, r.from_seq + log_entries.from_index - r.start)
        and least(r.to_seq, r.from_seq + log_entries.to_index - r.start - 1)
      and a.created_at between v_log.first_at and v_log.last_at
  ) a
  where r.log = v_log.id and r.start < log_entries.to_index
    and r.start >= (
      select max(b.start) from audit.log_ranges b where b.log = v_log.id and b.start <= log_entries.from_index
    )
  order by 1;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The entries of a log from one index to before another, in order: index, entry text, and the hash it was written with.

-- function audit.log_leaves(integer)
CREATE OR REPLACE FUNCTION audit.log_leaves(log integer)
 RETURNS TABLE(index bigint, chain integer, seq bigint, kept_hash bytea, hash bytea)
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET work_mem TO '64MB'
 SET parallel_tuple_cost TO '0'
 SET parallel_setup_cost TO '0'
AS $function$
#variable_conflict use_column
declare
  v_log audit.logs;
begin
  select l.* into strict v_log from audit.logs l where l.id = log_leaves.log;
  if v_log.month is null then
    return query
    select i.index, null::int, null::bigint, null::bytea, audit.hash_of(a.entry)
    from generate_series(0, v_log.size - 1) i (index)
    left join audit.anchor_entries a on a.index = i.index;
    return;
  end if;
  return query
  with entry as (
    select a.chain, a.seq, a.hash as kept_hash,
      audit.hash_of(audit.entry_text(
        a.organization_id, a.chain, a.seq, a.created_at, a.action, a.outcome, a.resource_type, a.resource_id,
        a.created_by, a.actor_type, a.identity_hash, a.provider, a.cost, a.request_id, a.details, a.prev_hash
      )) as hash
    from public.audit_logs a
    where a.organization_id = v_log.organization_id and a.created_at between v_log.first_at and v_log.last_at
    offset 0 -- keeps the hashing down here, where it runs in parallel
  )
  select r.start + s.seq - r.from_seq, r.chain, s.seq, e.kept_hash, e.hash
  from audit.log_ranges r
  cross join lateral generate_series(r.from_seq, least(r.to_seq, r.from_seq + v_log.size - 1 - r.start)) s (seq)
  left join entry e on e.chain = r.chain and e.seq = s.seq
  where r.log = v_log.id;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Of each index of a log, in no order: its entry, the hash that was written with it, and the hash recomputed; null where it is gone.

-- function audit.log_trees(integer)
CREATE OR REPLACE FUNCTION audit.log_trees(log integer)
 RETURNS TABLE(size bigint, root bytea, frontier bytea)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
 SET work_mem TO '64MB'
AS $function$
  with recursive node as (
    select 0 as height, l.index, l.hash
    from audit.log_leaves(log_trees.log) l
    union all
    -- A level at a time: a node that stands alone at its end is part of no perfect subtree.
    select n.height + 1, n.index / 2, sha256('\x01'::bytea || n.hash || n.right_hash)
    from (
      select n.height, n.index, n.hash, lead(n.hash) over level as right_hash, lead(true) over level as has_right
      from node n
      window level as (order by n.index)
    ) n
    where n.index % 2 = 0 and n.has_right
  )
  -- A tree consists of a perfect subtree of height h for each bit h of its size.
  select c.size,
    case when bool_and(n.hash is not null) then audit.merkle_root(n.hash order by n.height) end,
    case when bool_and(n.hash is not null) then string_agg(n.hash, ''::bytea order by n.height desc) end
  from (
    select c.size, h.height, (c.size >> h.height) - 1 as index
    from audit.checkpoints c
    cross join generate_series(0, 62) h (height)
    where c.log = log_trees.log and (c.size >> h.height) % 2 = 1
  ) c
  left join node n on n.height = c.height and n.index = c.index
  group by c.size
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Root and frontier of a log at the size of each of its checkpoints, recomputed from the entries; null where entries are gone.

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

-- function audit.manifest_to_sign()
CREATE OR REPLACE FUNCTION audit.manifest_to_sign()
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_export audit.exports;
begin
  select x.* into v_export
  from audit.exports x
  where x.state = 'done' and x.manifest_note is null
    -- The checkpoint in the manifest is over every entry that the export can have.
    and audit.is_sealed(x.organization_id, x.until)
  order by x.requested_at
  limit 1
  for update skip locked;
  if v_export.id is null then
    return null;
  end if;
  update audit.exports x set manifest = coalesce(x.manifest, audit.export_manifest(x)::text)
  where x.id = v_export.id
  returning x.manifest into v_export.manifest;
  return jsonb_build_object('id', v_export.id, 'manifest', v_export.manifest);
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The manifest of an export that is done, sealed and not signed yet; null where there is none.

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

-- function audit.mask_copies(uuid,text[])
CREATE OR REPLACE FUNCTION audit.mask_copies(organization_id uuid, person_values text[])
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_salt text := gen_random_uuid()::text;
  v_from int;
  v_some text[];
  v_column record;
  v_rows bigint;
  v_masked bigint := 0;
begin
  for v_from in 1 .. cardinality(person_values) by 500 loop
    v_some := person_values[v_from:v_from + 499];
    for v_column in
      select c.oid::regclass as table_name, a.attname, a.atttypid::regtype::text as type
      from pg_catalog.pg_class c
      join pg_catalog.pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      where c.relnamespace = 'audit'::regnamespace and c.relkind in ('r', 'p')
        and c.relname in ('alerts', 'rule_windows', 'rule_values', 'activity', 'deliveries')
        and a.atttypid in ('text'::regtype, 'jsonb'::regtype)
    loop
      execute format(
        'update %1$s t set %2$I = audit.masked_values(t.%2$I::text, $1, $2)::%3$s where t.organization_id = $3 and t.%2$I::text ~* $4',
        v_column.table_name, v_column.attname, v_column.type
      ) using v_some, v_salt, mask_copies.organization_id, audit.values_pattern(v_some);
      get diagnostics v_rows = row_count;
      v_masked := v_masked + v_rows;
    end loop;
  end loop;
  return v_masked;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Replaces what alerts, rules, anomalies and messages quote of a person; answers in how many places.

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

-- function audit.masked_values(text,text[],text)
CREATE OR REPLACE FUNCTION audit.masked_values(content text, person_values text[], salt text)
 RETURNS text
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
declare
  v_value text;
begin
  foreach v_value in array person_values loop
    if strpos(lower(content), lower(v_value)) > 0 then
      content := regexp_replace(
        content, audit.values_pattern(array[v_value]),
        'erased-' || left(encode(sha256(convert_to(masked_values.salt || lower(v_value), 'UTF8')), 'hex'), 12), 'gi'
      );
    end if;
  end loop;
  return content;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A text with something else for each of these values, the same for the same.

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
RETURN ((value COLLATE "C") ~~ ANY ('{%sk-%,"%k\\_live\\_%","%k\\_test\\_%",%pplx-%,%AIza%,%AKIA%,"%gh_\\_%","%github\\_pat\\_%",%xox_-%,"%sb\\_secret\\_%","%sbp\\_%","%whsec\\_%","%hf\\_%",%eyJ%,%-----BEGIN%}'::text[]))

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether the text has the beginning of anything that audit.masked() replaces: one cheap scan, where that is a dear one.

-- function audit.may_settle_auth(audit.auth_event[])
CREATE OR REPLACE FUNCTION audit.may_settle_auth(events audit.auth_event[])
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_user uuid;
begin
  -- A snapshot from before would not show what others have told since.
  if current_setting('transaction_isolation') <> 'read committed' then
    return false;
  end if;
  -- Who brings a log decides alone and can wait for it: until the Auth transactions that are deciding have ended.
  if not exists (select from unnest(may_settle_auth.events) e where e.source in ('trigger', 'hook', 'audit_table'))
    or exists (select from unnest(may_settle_auth.events) e where e.source = 'log')
  then
    perform pg_advisory_xact_lock(1096110405, 0);
    return true;
  end if;
  -- Auth decides beside others, alone with the people it is about, and never waits. (A lock is shared memory, so not
  -- for thousands.)
  if (select count(distinct e.user_id) > 16 or bool_or(e.user_id is null) from unnest(may_settle_auth.events) e)
    or not pg_try_advisory_xact_lock_shared(1096110405, 0)
  then
    return false;
  end if;
  for v_user in select distinct e.user_id from unnest(may_settle_auth.events) e loop
    if not pg_try_advisory_xact_lock(1096110406, hashtext(v_user::text)) then
      return false;
    end if;
  end loop;
  return true;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Takes the locks under which these events can be decided on; false where that cannot be now.

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

-- function audit.member_section(audit.reports)
CREATE OR REPLACE FUNCTION audit.member_section(report audit.reports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select audit.report_table(
    'Members and their roles',
    '[{"title": "User", "width": 4}, {"title": "Role", "width": 1}, {"title": "Since", "width": 2}, {"title": "Granted by", "width": 3}, {"title": "Last active", "width": 2}, {"title": "Use", "width": 1}]',
    jsonb_agg(jsonb_build_array(
      audit.user_cell(m.user_id), m.role, coalesce(audit.second_text(g.created_at), 'before capture'),
      coalesce(audit.user_cell(g.created_by, g.actor_type), '"unknown"'),
      coalesce(audit.second_text(l.created_at), 'never seen'),
      case when l.created_at >= (report).period_from then 'active' else 'unused' end
    ) order by m.role, m.user_id),
    'Roles as they are now, as the log means them: viewers see nothing of it. Since and by whom is what the log says last (member.added, member.role_changed); “unused” are those without an entry of their own since the beginning of the period: ask whether they still need access.'
  )
  from audit.known_members((report).organization_id) m
  left join lateral (
    select a.created_at, a.created_by, a.actor_type from public.audit_logs a
    where a.resource_id = m.user_id::text and a.resource_type = 'member' and a.organization_id = (report).organization_id
      and a.action in ('member.added', 'member.role_changed') and a.created_at < (report).period_to
    order by a.created_at desc limit 1
  ) g on true
  left join lateral (
    select a.created_at from public.audit_logs a
    where a.created_by = m.user_id and a.organization_id = (report).organization_id and a.created_at < (report).period_to
    order by a.created_at desc limit 1
  ) l on true
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Who has which role, since when, granted by whom, and last active when.

-- function audit.membership_details(uuid)
CREATE OR REPLACE FUNCTION audit.membership_details(organization_id uuid)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
begin
  if audit.reach(membership_details.organization_id) is null then
    return '{}';
  end if;
  return jsonb_strip_nulls(jsonb_build_object(
    'name', audit.organization_name(membership_details.organization_id),
    'until', (
      select audit.instant_text(a.expires_at) from audit.auditors a
      where a.organization_id = membership_details.organization_id and a.user_id = auth.uid()
    )
  ));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What the application calls an organisation that the caller reads, and until when as its auditor.

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

-- function audit.merkle_root(bytea)
aggregate merkle_root(bytea), step audit.merkle_step, state bytea, start null
owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The root over the perfect subtrees that a tree consists of, from the smallest to the largest.

-- function audit.merkle_step(bytea,bytea)
CREATE OR REPLACE FUNCTION audit.merkle_step(smaller bytea, larger bytea)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN COALESCE(sha256((('\x01'::bytea || larger) || smaller)), larger)

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The root over a perfect subtree and all that stands to its right (RFC 6962, section 2.1).

-- function audit.missing_auth_triggers()
CREATE OR REPLACE FUNCTION audit.missing_auth_triggers()
 RETURNS TABLE(table_name text, trigger_name text, definition text, state text)
 LANGUAGE sql
 STABLE ROWS 20
 SET search_path TO ''
AS $function$
  select e.table_name, e.trigger_name, e.definition,
    case
      when c.oid is null then 'no such table'
      when t.oid is null then 'missing'
      when t.tgenabled = 'D' then 'disabled'
      else 'calling another function'
    end
  from audit.auth_triggers() e
  left join pg_catalog.pg_class c on c.relname = e.table_name and c.relnamespace = to_regnamespace('auth') and c.relkind in ('r', 'p')
  left join pg_catalog.pg_trigger t on t.tgrelid = c.oid and t.tgname = e.trigger_name
  where t.oid is null or t.tgenabled = 'D' or t.tgfoid <> to_regprocedure('audit.on_auth_change()')
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Triggers on Auth's tables that are not as they should be.

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

-- function audit.month_section(audit.reports)
CREATE OR REPLACE FUNCTION audit.month_section(report audit.reports)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_rows jsonb;
begin
  execute format(
    $q$
    select jsonb_agg(jsonb_build_array(m.month, m.n::text, m.denied::text, m.people::text, coalesce(m.cost, 0)::text) order by m.month)
    from (
      select to_char(e.created_at at time zone 'utc', 'YYYY-MM') as month, count(*) as n, count(*) filter (where e.outcome = 'denied') as denied,
        count(distinct e.created_by) as people, sum(e.cost) filter (where e.cost < 'Infinity' and e.cost > '-Infinity') as cost
      %s group by 1
    ) m
    $q$, audit.report_source((report).organization_id, audit.report_query(report, ''))
  ) into v_rows;
  return audit.report_table('Month by month',
    '[{"title": "Month", "width": 2}, {"title": "Entries", "width": 1, "align": "right"}, {"title": "Denied", "width": 1, "align": "right"}, {"title": "People", "width": 1, "align": "right"}, {"title": "Cost", "width": 2, "align": "right"}]', v_rows);
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A year by months.

-- function audit.move_alert(uuid,text,jsonb)
CREATE OR REPLACE FUNCTION audit.move_alert(alert_id uuid, transition text, details jsonb DEFAULT '{}'::jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_alert audit.alerts;
begin
  select a.* into v_alert from audit.alerts a where a.id = move_alert.alert_id;
  perform audit.record(
    v_alert.organization_id, case transition when 'digest' then 'alert.opened' else 'alert.' || transition end, 'alert', v_alert.id::text,
    jsonb_build_object('rule', v_alert.rule_id, 'title', v_alert.title, 'severity', v_alert.severity) || move_alert.details
  );
  perform audit.queue_alert(v_alert.id, move_alert.transition);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Leaves the entry of an alert's transition (opened, acknowledged, silenced, resolved, reopened, digest) and has it delivered.

-- function audit.names_person(text)
CREATE OR REPLACE FUNCTION audit.names_person(value text)
 RETURNS boolean
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN ((value ~ '[^[:space:]@]@[^[:space:]@]'::text) OR (value ~ '(^|[^0-9.])[0-9]{1,3}(\.[0-9]{1,3}){3}([^0-9.]|$)'::text) OR (value ~* '(^|[^0-9a-f:])([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}'::text) OR (value ~* '(^|[^0-9a-f:])[0-9a-f]{0,4}(:[0-9a-f]{1,4})*::[0-9a-f]{0,4}'::text))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether a text that somebody looks for holds an e-mail or IP address.

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

-- function audit.new_source_secret()
CREATE OR REPLACE FUNCTION audit.new_source_secret()
 RETURNS text
 LANGUAGE sql
RETURN ('whsec_'::text || encode(sha256((uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()))), 'base64'::text))

owner postgres
grant postgres: EXECUTE
comment: A new secret: whsec_ and the base64 of 32 random bytes.

-- function audit.new_webhook_secret()
CREATE OR REPLACE FUNCTION audit.new_webhook_secret()
 RETURNS text
 LANGUAGE sql
RETURN ('whsec_'::text || encode((audit.random_salt() || audit.random_salt()), 'base64'::text))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A signing secret as Standard Webhooks has them: 32 random bytes.

-- function audit.newest_checkpoint(uuid)
CREATE OR REPLACE FUNCTION audit.newest_checkpoint(organization_id uuid)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select c.note
  from audit.logs l
  join audit.checkpoints c on c.log = l.id and c.size = l.published
  where l.organization_id = newest_checkpoint.organization_id and l.month is not null and l.published > 0
  order by l.month desc
  limit 1
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The newest checkpoint that readers have of an organisation's log; null before the first.

-- function audit.newest_log_line()
CREATE OR REPLACE FUNCTION audit.newest_log_line()
 RETURNS interval
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '00:10:00'::interval

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How far ahead of this server's clock a line of a log may be.

-- function audit.news(jsonb)
CREATE OR REPLACE FUNCTION audit.news(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_organization uuid;
  v_since timestamptz;
  v_count int;
begin
  perform audit.check_request(request, array['organization_id', 'since']);
  v_organization := audit.requested_organization(request);
  begin
    v_since := (request ->> 'since')::timestamptz;
  exception when invalid_datetime_format or datetime_field_overflow or invalid_parameter_value then
    v_since := null;
  end;
  if request ? 'since' and not coalesce(isfinite(v_since), false) then
    perform audit.fail('AUARG', 'since is the time of an earlier answer, or of an entry.');
  end if;
  -- The caller's own reading is no news, or looking would announce itself.
  select count(*) into v_count
  from (
    select from public.audit_logs a
    where a.organization_id = v_organization and a.created_at > v_since
      and not (a.action like 'log.%' and a.created_by is not distinct from auth.uid())
    limit 100
  ) n;
  return jsonb_build_object(
    'count', v_count, 'more', v_count = 100, 'access', audit.reach(v_organization), 'at', audit.instant_text(now())
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How many entries the caller may read that are newer than a time (none where it is not given), up to 100, and the time now.
To be asked often: leaves no entry.

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
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The client address of an x-forwarded-for value in its usual spelling; what is no address is kept, cut to 64 characters.

-- function audit.note_auth_failure(text,text,text)
CREATE OR REPLACE FUNCTION audit.note_auth_failure(subject text, state text, message text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  -- One at a time: a finding is a row, and no login may wait for another's.
  if pg_try_advisory_xact_lock(1096110407, hashtext(note_auth_failure.subject)) then
    perform audit.note_finding(audit.system_organization(), 'auth_capture_failed', note_auth_failure.subject, jsonb_build_object(
      'sqlstate', note_auth_failure.state, 'message', audit.masked_text(left(note_auth_failure.message, 200))
    ));
  end if;
exception when others or query_canceled or assert_failure then
  raise warning 'audit: capture of auth failed (%: %), and so did noting it (%)', note_auth_failure.state, note_auth_failure.subject, sqlstate;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes that capture of Auth failed: a finding, or only a warning where not even that can be written. Never an error.

-- function audit.note_budget(uuid,text,text,jsonb)
CREATE OR REPLACE FUNCTION audit.note_budget(organization_id uuid, budget_id text, action text, details jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  -- What it is now, whether the entry tells all of it or what changed.
  v_now jsonb := coalesce(details -> 'new', (select jsonb_object_agg(c.key, c.value -> 'new') from jsonb_each(details -> 'changes') c), '{}');
  v_limit numeric := audit.number_value(coalesce(v_now ->> 'limit_usd', v_now ->> 'limit', v_now ->> 'limit_amount', v_now ->> 'amount'));
  v_period text := case v_now ->> 'period' when 'daily' then 'day' when 'weekly' then 'week' when 'monthly' then 'month' end;
  v_percent int[] := case when jsonb_typeof(v_now -> 'alert_thresholds') = 'array' then array(
    select p::numeric::int from jsonb_array_elements_text(v_now -> 'alert_thresholds') p where audit.number_value(p) between 1 and 1000
  ) end;
begin
  if action = 'budget.deleted' then
    delete from audit.budgets_known b where b.organization_id = note_budget.organization_id and b.budget_id = note_budget.budget_id;
    return;
  end if;
  update audit.budgets_known b set
    spent_limit = coalesce(v_limit, b.spent_limit), period = coalesce(v_period, b.period), percent = coalesce(v_percent, b.percent),
    provider = coalesce(v_now ->> 'provider', b.provider)
  where b.organization_id = note_budget.organization_id and b.budget_id = note_budget.budget_id;
  if not found and v_limit > 0 then
    insert into audit.budgets_known (organization_id, budget_id, spent_limit, period, percent, provider)
    values (note_budget.organization_id, note_budget.budget_id, v_limit, coalesce(v_period, 'month'), v_percent, v_now ->> 'provider');
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Keeps what an entry tells of a budget.

-- function audit.note_finding(uuid,text,text,jsonb)
CREATE OR REPLACE FUNCTION audit.note_finding(organization_id uuid, kind text, subject text, detail jsonb DEFAULT '{}'::jsonb)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_is_new boolean;
begin
  insert into audit.findings as f (organization_id, kind, subject, detail)
  values (note_finding.organization_id, note_finding.kind, note_finding.subject, note_finding.detail)
  on conflict (organization_id, kind, subject) where resolved_at is null do update
    set last_seen_at = clock_timestamp(), seen = f.seen + 1, detail = excluded.detail
  returning f.seen = 1 into v_is_new;
  if v_is_new then
    perform audit.record(
      note_finding.organization_id, 'verification.failed', 'finding', note_finding.subject,
      jsonb_build_object('kind', note_finding.kind) || note_finding.detail, 'failure'
    );
  end if;
  return v_is_new;
end
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
comment: Notes what a check found wrong; the first time it leaves a verification.failed entry. Answers whether it is new.

-- function audit.note_firing(audit.rule_firing,text,text)
CREATE OR REPLACE FUNCTION audit.note_firing(firing audit.rule_firing, title text DEFAULT NULL::text, severity text DEFAULT NULL::text)
 RETURNS uuid
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_rule audit.rules := audit.rule_for((firing).rule_id, (firing).organization_id);
  v_severity text := coalesce(note_firing.severity, (firing).note ->> 'severity', v_rule.severity, 'medium');
  v_title text := coalesce(note_firing.title, v_rule.name, 'Alert');
  v_alert audit.alerts;
begin
  -- Two who raise alerts at once do it one after the other: the rules, an anomaly, a check.
  perform pg_advisory_xact_lock(hashtext('audit.alerts'));

  -- What comes late belongs to the alert that was open when it happened, even if that is over.
  update audit.alerts a set
    occurrences = a.occurrences + (firing).occurrences, last_seen_at = greatest(a.last_seen_at, (firing).last_at),
    first_seen_at = least(a.first_seen_at, (firing).first_at),
    -- What was over by itself is over that much later.
    resolved_at = case
      when a.resolved_at = a.last_seen_at + v_rule.quiet_period then greatest(a.last_seen_at, (firing).last_at) + v_rule.quiet_period
      else a.resolved_at
    end
  where a.id = (
      select l.id from audit.alerts l
      where l.rule_id = (firing).rule_id and l.organization_id = (firing).organization_id and l.group_key = (firing).group_key
        and l.state = 'resolved' and (firing).first_at <= l.resolved_at
        and (firing).last_at >= l.first_seen_at - coalesce(v_rule.quiet_period, '0')
      order by l.first_seen_at
      limit 1
    )
  returning a.* into v_alert;
  if found then
    return v_alert.id;
  end if;

  select a.* into v_alert from audit.alerts a
  where a.rule_id = (firing).rule_id and a.organization_id = (firing).organization_id and a.group_key = (firing).group_key and a.state <> 'resolved'
  for no key update;
  if found and v_alert.last_seen_at + v_rule.quiet_period < (firing).first_at and coalesce(v_alert.silenced_until < (firing).first_at, true) then
    -- It was over, only nobody had looked.
    perform audit.resolve_alert(v_alert.id, v_alert.last_seen_at + v_rule.quiet_period, 'quiet');
  elsif found then
    update audit.alerts a set
      occurrences = a.occurrences + (firing).occurrences, last_seen_at = greatest(a.last_seen_at, (firing).last_at),
      first_seen_at = least(a.first_seen_at, (firing).first_at),
      state = case when a.silenced_until <= (firing).last_at then 'open' else a.state end,
      silenced_until = case when a.silenced_until > (firing).last_at then a.silenced_until end
    where a.id = v_alert.id;
    if v_alert.silenced_until <= (firing).last_at then
      perform audit.move_alert(v_alert.id, 'reopened', '{"why": "silence is over"}');
    end if;
    return v_alert.id;
  end if;

  if audit.alerts_left((firing).organization_id, v_severity) <= 0 then
    return audit.note_overflow((firing).organization_id, v_severity, array[firing], array[v_title]);
  end if;

  insert into audit.alerts (organization_id, rule_id, group_key, severity, title, reason, first_seen_at, last_seen_at, occurrences, entries, channels)
  values (
    (firing).organization_id, (firing).rule_id, (firing).group_key, v_severity, v_title,
    jsonb_strip_nulls(jsonb_build_object(
      'seen', (firing).seen, 'threshold', v_rule.settings -> 'threshold', 'window', v_rule.settings -> 'window'
    )) || coalesce((firing).note - 'severity', '{}'),
    (firing).first_at, (firing).last_at, (firing).occurrences, (firing).names, v_rule.channels
  )
  returning * into v_alert;
  perform audit.move_alert(v_alert.id, 'opened', jsonb_build_object('group', v_alert.group_key, 'reason', v_alert.reason, 'entries', to_jsonb(v_alert.entries))
    || case when (firing).about_alerts then '{"about": "alerts"}' else '{}'::jsonb end);
  return v_alert.id;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Opens an alert, or counts a repetition of one that is open.

-- function audit.note_overflow(uuid,text,audit.rule_firing[],text[])
CREATE OR REPLACE FUNCTION audit.note_overflow(organization_id uuid, severity text, firings audit.rule_firing[], titles text[])
 RETURNS uuid
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_rule audit.rules := audit.rule_for('00000000-0000-4000-a000-000000000639', note_overflow.organization_id);
  v_group text := jsonb_build_object('severity', note_overflow.severity)::text;
  v_alert audit.alerts;
  v_is_new boolean;
  v_of jsonb;
begin
  select a.* into v_alert from audit.alerts a
  where a.rule_id = v_rule.id and a.organization_id = note_overflow.organization_id and a.group_key = v_group and a.state <> 'resolved'
  for no key update;
  v_is_new := not found;
  select jsonb_object_agg(t.title, t.n) into v_of
  from (
    select t.title, sum(t.n) as n
    from (
      select u.title, 1 as n from unnest(note_overflow.titles) u (title)
      union all
      select o.key, o.value::int from jsonb_each_text(v_alert.reason -> 'of') o
    ) t
    group by t.title
  ) t;
  insert into audit.alerts as a
    (organization_id, rule_id, group_key, severity, title, reason, first_seen_at, last_seen_at, occurrences, entries, channels)
  select note_overflow.organization_id, v_rule.id, v_group, note_overflow.severity, v_rule.name,
    jsonb_build_object('alerts', coalesce((v_alert.reason ->> 'alerts')::int, 0) + count(*), 'of', v_of),
    min(f.first_at), max(f.last_at), sum(f.occurrences), array(select n from unnest(note_overflow.firings) p cross join lateral unnest(p.names) n limit 20),
    v_rule.channels
  from unnest(note_overflow.firings) f
  on conflict (rule_id, organization_id, group_key) where state <> 'resolved' do update set
    last_seen_at = greatest(a.last_seen_at, excluded.last_seen_at), occurrences = a.occurrences + excluded.occurrences, reason = excluded.reason
  returning a.* into v_alert;
  if v_is_new then
    perform audit.move_alert(v_alert.id, 'digest');
  end if;
  return v_alert.id;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Counts what would be too many alerts in one; titles are those they would have had.

-- function audit.note_text(text)
CREATE OR REPLACE FUNCTION audit.note_text(note text)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  -- Up to the last blank line: in what is turned round, the first.
  select reverse(substr(r.turned, strpos(r.turned, E'\n\n') + 1))
  from (values (reverse(note_text.note))) r (turned)
  where strpos(r.turned, E'\n\n') > 0
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What the signatures of a signed note are over: all before its last blank line. Null where it has none.

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
RETURN CASE action WHEN 'query.executed'::text THEN 600301 WHEN 'query.completed'::text THEN 600301 WHEN 'query.failed'::text THEN 600301 WHEN 'query.response_changed'::text THEN 600502 WHEN 'query.response_deleted'::text THEN 600507 WHEN 'user.login'::text THEN 300201 WHEN 'user.login_failed'::text THEN 300201 WHEN 'user.mfa_failed'::text THEN 300201 WHEN 'user.logout'::text THEN 300202 WHEN 'user.session_expired'::text THEN 300202 WHEN 'user.session_revoked'::text THEN 300202 WHEN 'user.signed_up'::text THEN 300101 WHEN 'user.created'::text THEN 300101 WHEN 'user.password_changed'::text THEN 300103 WHEN 'user.password_reset_requested'::text THEN 300104 WHEN 'user.deleted'::text THEN 300106 WHEN 'user.mfa_enabled'::text THEN 300110 WHEN 'user.mfa_disabled'::text THEN 300111 WHEN 'permission.granted'::text THEN 300501 WHEN 'permission.revoked'::text THEN 300502 WHEN 'member.role_changed'::text THEN 300501 WHEN 'auditor.granted'::text THEN 300501 WHEN 'auditor.revoked'::text THEN 300502 WHEN 'member.added'::text THEN 300603 WHEN 'member.removed'::text THEN 300604 WHEN 'organization.created'::text THEN 300401 WHEN 'organization.updated'::text THEN 300403 WHEN 'organization.deleted'::text THEN 300404 WHEN 'api_key.added'::text THEN 300401 WHEN 'api_key.updated'::text THEN 300403 WHEN 'api_key.deleted'::text THEN 300404 WHEN 'api_token.created'::text THEN 300401 WHEN 'api_token.revoked'::text THEN 300404 WHEN 'budget.created'::text THEN 300401 WHEN 'budget.changed'::text THEN 300403 WHEN 'budget.deleted'::text THEN 300404 WHEN 'integration.configured'::text THEN CASE WHEN (details ? 'new'::text) THEN 300401 ELSE 300403 END WHEN 'integration.removed'::text THEN 300404 WHEN 'retention.changed'::text THEN 300403 WHEN 'hold.placed'::text THEN 300401 WHEN 'hold.released'::text THEN 300404 WHEN 'rule.changed'::text THEN 300403 WHEN 'channel.created'::text THEN 300401 WHEN 'channel.changed'::text THEN 300403 WHEN 'channel.enabled'::text THEN 300403 WHEN 'channel.disabled'::text THEN 300403 WHEN 'channel.deleted'::text THEN 300404 WHEN 'access.denied'::text THEN 600399 WHEN 'api.accessed'::text THEN 600399 WHEN 'settings.viewed'::text THEN 600501 WHEN 'log.viewed'::text THEN 600501 WHEN 'log.searched'::text THEN 600504 WHEN 'subject.accessed'::text THEN 600501 WHEN 'subject.erased'::text THEN 600507 WHEN 'report.generated'::text THEN 600101 WHEN 'data.exported'::text THEN 600107 WHEN 'log.exported'::text THEN 600107 WHEN 'log.purged'::text THEN 100802 WHEN 'log.opened'::text THEN 100806 WHEN 'log.heartbeat'::text THEN 100899 WHEN 'capture.tracked'::text THEN 100809 WHEN 'capture.untracked'::text THEN 100810 WHEN 'capture.changed'::text THEN 100899 WHEN 'alert.opened'::text THEN 200401 WHEN 'alert.acknowledged'::text THEN 200402 WHEN 'alert.resolved'::text THEN 200403 WHEN 'verification.failed'::text THEN 200401 ELSE CASE split_part(action, '.'::text, '-1'::integer) WHEN 'created'::text THEN 600505 WHEN 'added'::text THEN 600505 WHEN 'updated'::text THEN 600502 WHEN 'changed'::text THEN 600502 WHEN 'deleted'::text THEN 600507 WHEN 'removed'::text THEN 600507 WHEN 'viewed'::text THEN 600501 WHEN 'searched'::text THEN 600504 WHEN 'generated'::text THEN 600101 WHEN 'imported'::text THEN 600106 WHEN 'exported'::text THEN 600107 WHEN 'shared'::text THEN 600108 ELSE 600399 END END

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

-- function audit.oldest_log_line()
CREATE OR REPLACE FUNCTION audit.oldest_log_line()
 RETURNS interval
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '1 day'::interval

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How old a line of a log may be to be taken in: what audit.record_auth() remembers.

-- function audit.on_auth_change()
CREATE OR REPLACE FUNCTION audit.on_auth_change()
 RETURNS trigger
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET lock_timeout TO '100ms'
AS $function$
declare
  v_changes jsonb[];
begin
  begin
    if tg_level = 'ROW' then
      v_changes := array[audit.auth_change(to_jsonb(old), null)];
    elsif tg_op = 'INSERT' then
      v_changes := array(select audit.auth_change(null, to_jsonb(n)) from new_rows n);
    elsif tg_op = 'UPDATE' then
      v_changes := array(select audit.auth_change(to_jsonb(o), to_jsonb(n)) from old_rows o join new_rows n on n.id = o.id);
    elsif tg_op = 'DELETE' then
      v_changes := array(select audit.auth_change(to_jsonb(o), null) from old_rows o);
    end if;
    if v_changes <> '{}' or tg_op = 'TRUNCATE' then
      perform audit.capture_auth(tg_table_name, tg_op, v_changes);
    end if;
  exception when others or query_canceled or assert_failure then
    begin
      perform audit.note_auth_failure(tg_table_name, sqlstate, sqlerrm);
    exception when others or query_canceled or assert_failure then
      raise warning 'audit: capture of auth.% failed: %', tg_table_name, sqlstate;
    end;
  end;
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Trigger function on Auth's tables: records what their rows show. Whatever fails in it, Auth's own statement does not.

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
    'export', v_export.id, 'part', v_part, 'format', v_export.format, 'filter', v_export.filter,
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

-- function audit.open_log(uuid,text)
CREATE OR REPLACE FUNCTION audit.open_log(organization_id uuid, base text)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_log audit.logs;
  v_before audit.logs;
  v_month date := date_trunc('month', clock_timestamp() at time zone 'utc');
  v_origin text;
begin
  select l.* into v_log from audit.logs l
  where l.organization_id = open_log.organization_id and l.month is not null and l.closed_at is null
  for update skip locked;
  if v_log.id is null and exists (
    select from audit.logs l where l.organization_id = open_log.organization_id and l.month is not null and l.closed_at is null
  ) or v_log.lease_until >= clock_timestamp() then
    return null; -- another run has it
  elsif v_log.month >= v_month then -- or the clock was set back
    return v_log.id;
  end if;

  -- What was sequenced is published (audit.claim_log() sees to it), so the last checkpoint is final.
  update audit.logs l set closed_at = clock_timestamp() where l.id = v_log.id;
  select l.* into v_before from audit.logs l
  where l.organization_id = open_log.organization_id and l.month is not null
  order by l.month desc
  limit 1;
  v_origin := format('%s/%s/%s', open_log.base, open_log.organization_id, to_char(v_month, 'YYYY-MM'));
  insert into audit.logs as l (organization_id, month, origin)
  values (open_log.organization_id, v_month, v_origin)
  on conflict do nothing
  returning l.* into v_log;
  if not found then
    return null; -- another run was quicker
  end if;

  -- The months form one history: each begins with what the one before ended with.
  perform audit.append_to_log_chain(open_log.organization_id, 'log.opened', v_origin, jsonb_build_object(
    'origin', v_origin, 'incarnation', audit.incarnation(),
    'previous', (
      select jsonb_build_object('origin', v_before.origin, 'size', c.size, 'root', encode(c.root, 'base64'))
      from audit.checkpoints c
      where c.log = v_before.id and c.size = v_before.published
    )
  ));
  insert into audit.log_ranges (log, start, organization_id, chain, from_seq, to_seq)
  select v_log.id, 0, h.organization_id, h.chain, h.seq, h.seq
  from audit.heads h
  where h.organization_id = open_log.organization_id and h.chain = audit.log_chain();
  update audit.logs l set sequenced = 1, first_at = h.last_at, last_at = h.last_at
  from audit.heads h
  where l.id = v_log.id and h.organization_id = open_log.organization_id and h.chain = audit.log_chain();
  insert into audit.sequenced as s (organization_id, chain, seq, last_at)
  select h.organization_id, h.chain, h.seq, h.last_at
  from audit.heads h
  where h.organization_id = open_log.organization_id and h.chain = audit.log_chain()
  on conflict on constraint sequenced_pkey do update set seq = excluded.seq, last_at = excluded.last_at;

  -- One anchor log for the whole deployment, from the first log on.
  insert into audit.logs (organization_id, month, origin)
  values (audit.system_organization(), null, open_log.base || '/anchor')
  on conflict do nothing;
  return v_log.id;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The organisation's log of this month, opened where it is new; null where another run has it.

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

-- function audit.open_restored_entries(text)
CREATE OR REPLACE FUNCTION audit.open_restored_entries(table_name text DEFAULT 'audit.restored_entries'::text)
 RETURNS regclass
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_name text[] := parse_ident(open_restored_entries.table_name);
  v_table regclass;
begin
  if cardinality(v_name) <> 2 then
    perform audit.fail('AUARG', format('%s is no table with its schema.', open_restored_entries.table_name), null,
      'For example audit.restored_entries, or public.entries_of_2024.');
  end if;
  v_table := to_regclass(open_restored_entries.table_name);
  if v_table is null then
    execute format('create table %I.%I (like public.audit_logs including comments)', v_name[1], v_name[2]);
    v_table := to_regclass(open_restored_entries.table_name);
    execute format('comment on table %s is %L', v_table, 'Entries from the archive, verified when they were restored. Not the log: drop it when it is no longer needed.');
    execute format('alter table %s add constraint %I primary key (organization_id, chain, seq)', v_table, v_name[2] || '_pkey');
    execute format('create index on %s (organization_id, created_at)', v_table);
    execute format('alter table %s enable row level security', v_table);
    execute format('revoke all on %s from public, anon, authenticated, service_role', v_table);
    execute format('grant select on %s to authenticated, service_role', v_table);
    execute format(
      $q$
        create policy "admins and auditors read their organisation's entries" on %s for select to authenticated using (
          organization_id = any (array(select audit.admin_organizations()))
          or organization_id = any (array(select audit.auditor_organizations()))
        )
      $q$, v_table
    );
  elsif coalesce(pg_catalog.obj_description(v_table, 'pg_class'), '') not like 'Entries from the archive,%' then
    perform audit.fail('AUARG', format('%s is another table.', open_restored_entries.table_name), null,
      'Name one that is not there, or one that a restore made.');
  end if;
  return v_table;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The table for entries from the archive, made where it is missing: admins and auditors read those of their organisation.

-- function audit.open_transactions()
CREATE OR REPLACE FUNCTION audit.open_transactions()
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select coalesce(array_agg(t.name), '{}')
  from (
    select l.virtualxid as name
    from pg_catalog.pg_locks l
    join pg_catalog.pg_stat_activity a on a.pid = l.pid and a.datname = current_database()
    where l.locktype = 'virtualxid' and l.pid <> pg_backend_pid()
    union all
    select 'prepared ' || p.transaction from pg_catalog.pg_prepared_xacts p where p.database = current_database()
  ) t
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What transactions there are in this database besides this one.

-- function audit.organization_name(uuid)
CREATE OR REPLACE FUNCTION audit.organization_name(organization_id uuid)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_name text;
begin
  if to_regclass('public.organizations') is not null then
    execute 'select o.name::text from public.organizations o where o.id::text = $1' into v_name using organization_name.organization_id::text;
  end if;
  return v_name;
exception when undefined_column then
  return null; -- another application's table of that name
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What the application calls an organisation; null where it does not say.

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

-- function audit.outside_hours(audit.rule_total[])
CREATE OR REPLACE FUNCTION audit.outside_hours(totals audit.rule_total[])
 RETURNS audit.rule_total[]
 LANGUAGE plpgsql
 SET search_path TO ''
 SET enable_nestloop TO 'off'
 SET jit TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_left audit.rule_total[];
begin
  if totals is null then
    return '{}';
  end if;
  with timed as materialized (
    select t as total, t.organization_id, t.slot, t.hours from unnest(totals) t
  ),
  -- Each quarter of an hour once, whoever did something in it; of what was learned each hour.
  quarter as materialized (
    select q.organization_id, q.slot, q.hours, to_timestamp(q.slot * 900) at time zone z.zone as at
    from (select distinct t.organization_id, t.slot, t.hours from timed t) q
    join (
      select o.organization_id, audit.time_zone_of(o.organization_id) as zone from (select distinct t.organization_id from timed t) o
    ) z on z.organization_id = q.organization_id
  ),
  hour as materialized (
    select h.organization_id, h.at, audit.is_usual_hour(h.organization_id, h.at) as usual
    from (select distinct q.organization_id, date_trunc('hour', q.at) as at from quarter q where q.hours = '"learned"') h
  ),
  learned as (
    insert into audit.active_hours as a (organization_id, hour, since, days)
    select d.organization_id, d.hour, min(d.day), (array_agg(d.day order by d.day desc))[:13]
    from (
      select h.organization_id, ((extract(isodow from h.at)::int - 1) * 24 + extract(hour from h.at)::int)::smallint as hour, h.at::date as day
      from hour h
    ) d
    group by d.organization_id, d.hour
    order by d.organization_id, d.hour
    on conflict on constraint active_hours_pkey do update set
      since = least(a.since, excluded.since),
      days = (select (array_agg(distinct d order by d desc))[:13] from unnest(a.days || excluded.days) d)
    where not a.days @> excluded.days
  )
  select array_agg(t.total) into v_left
  from timed t
  join quarter q on q.organization_id = t.organization_id and q.slot = t.slot and q.hours = t.hours
  left join hour h on h.organization_id = q.organization_id and h.at = date_trunc('hour', q.at) and q.hours = '"learned"'
  where not coalesce(h.usual, audit.is_at_work(q.hours, q.at));
  return coalesce(v_left, '{}');
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Leaves out, of rules that are about hours, what happened within them; and learns the hours from it.

-- function audit.overview_sections(audit.reports)
CREATE OR REPLACE FUNCTION audit.overview_sections(report audit.reports)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_query text := audit.report_query(report, '');
  v_sums jsonb;
begin
  execute format(
    $q$
    with sums as (
      select (e.created_at at time zone 'utc')::date as day, e.action, e.outcome, e.created_by, e.actor_type, count(*) as n,
        grouping((e.created_at at time zone 'utc')::date, e.action, e.outcome, e.created_by, e.actor_type) as which
      %s
      group by grouping sets (((e.created_at at time zone 'utc')::date), (e.action), (e.outcome), (e.created_by, e.actor_type), ())
    )
    select jsonb_build_object(
      'all', coalesce(max(s.n) filter (where s.which = 31), 0),
      'days', coalesce(jsonb_agg(jsonb_build_object('value', s.day, 'count', s.n) order by s.day) filter (where s.which = 15), '[]'),
      'actions', coalesce(jsonb_agg(jsonb_build_array(s.action, s.n::text) order by s.n desc, s.action) filter (where s.which = 23), '[]'),
      'outcomes', coalesce(jsonb_agg(jsonb_build_object('value', s.outcome, 'count', s.n) order by s.outcome) filter (where s.which = 27), '[]'),
      'actors', coalesce(jsonb_agg(jsonb_build_array(audit.user_cell(s.created_by, s.actor_type), s.actor_type, s.n::text) order by s.n desc, s.created_by, s.actor_type) filter (where s.which = 28), '[]')
    )
    from sums s
    $q$, audit.report_source((report).organization_id, v_query)
  ) into v_sums;
  return jsonb_build_array(
    jsonb_build_object(
      'kind', 'chart', 'title', 'Entries of the period', 'query', v_query, 'total', v_sums -> 'all', 'days', v_sums -> 'days',
      'outcomes', v_sums -> 'outcomes'
    ),
    audit.report_table('Actions', '[{"title": "Action", "width": 4}, {"title": "Entries", "width": 1, "align": "right"}]',
      jsonb_path_query_array(v_sums -> 'actions', '$[0 to 29]'), null, jsonb_array_length(v_sums -> 'actions')),
    audit.report_table('Actors', '[{"title": "Actor", "width": 4}, {"title": "Kind", "width": 1}, {"title": "Entries", "width": 1, "align": "right"}]',
      jsonb_path_query_array(v_sums -> 'actors', '$[0 to 29]'), null, jsonb_array_length(v_sums -> 'actors'))
  );
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How many entries a period has, by day, action, outcome and actor.

-- function audit.owe_checkpoint()
CREATE OR REPLACE FUNCTION audit.owe_checkpoint()
 RETURNS trigger
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  insert into audit.receiver_logs as d (receiver, log, newest)
  select r.id, new.id, new.published
  from audit.receivers r
  where r.all_logs or new.month is null
  order by r.id
  on conflict on constraint receiver_logs_pkey do update set newest = greatest(d.newest, excluded.newest);
  return null;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Notes for whom a checkpoint is that was published.

-- function audit.own_channel(jsonb,text[])
CREATE OR REPLACE FUNCTION audit.own_channel(request jsonb, known text[] DEFAULT '{}'::text[])
 RETURNS audit.channels
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_channel audit.channels;
begin
  if cardinality(known) > 0 then
    perform audit.check_request(request, known);
  end if;
  select c.* into v_channel from audit.channels c where c.id = audit.as_uuid(request ->> 'channel') for no key update;
  if v_channel.id is null or audit.reach(v_channel.organization_id) is distinct from 'all' then
    perform audit.fail('AUNOT', 'There is no such channel.', null, 'GET /audit/channels lists them.');
  end if;
  perform audit.require_admin(v_channel.organization_id);
  return v_channel;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The channel that a request names, locked, if the caller administers its organisation.

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

-- function audit.parsed_entries(text[])
CREATE OR REPLACE FUNCTION audit.parsed_entries(entries text[])
 RETURNS SETOF public.audit_logs
 LANGUAGE sql
 STABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  select (e.j ->> 'organization_id')::uuid, (e.j ->> 'chain')::int, (e.j ->> 'seq')::bigint,
    timestamptz 'epoch' + (e.j ->> 'created_at')::bigint * interval '1 microsecond',
    e.j ->> 'action', e.j ->> 'outcome', e.j ->> 'resource_type', e.j ->> 'resource_id', (e.j ->> 'created_by')::uuid,
    e.j ->> 'actor_type', decode(e.j ->> 'identity_hash', 'hex'), e.j ->> 'provider', (e.j ->> 'cost')::numeric,
    e.j ->> 'request_id', e.j -> 'details', decode(e.j ->> 'prev_hash', 'hex'), audit.hash_of(e.text)
  from (
    select t.text, t.text::jsonb as j from unnest(parsed_entries.entries) t (text)
    offset 0 -- else each of its fields would parse it anew
  ) e
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The rows of entry texts. Whether each is an entry text, and nothing more, shows when it is made of its row again: the hash is that of the text.

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

-- function audit.place_hold(uuid,text,text)
CREATE OR REPLACE FUNCTION audit.place_hold(organization_id uuid, name text, reason text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  perform audit.require_admin(place_hold.organization_id);
  if place_hold.organization_id is null or coalesce(length(place_hold.name), 0) not between 1 and 200
    or coalesce(length(place_hold.reason), 0) not between 1 and 2000
  then
    perform audit.fail('AUARG', 'A hold needs an organisation, a name of up to 200 characters and a reason of up to 2,000.');
  end if;
  -- What a purge has begun to delete is gone when this returns; nothing goes after it.
  perform audit.await_purge();
  insert into audit.holds (organization_id, name, reason)
  values (place_hold.organization_id, place_hold.name, place_hold.reason)
  on conflict (organization_id, name) where released_at is null do nothing;
  if not found then
    perform audit.fail('AUARG', 'The organisation has a hold of this name.', null, 'Release it first, or choose another name.');
  end if;
  perform audit.record(
    place_hold.organization_id, 'hold.placed', 'hold', place_hold.name,
    jsonb_build_object('new', jsonb_build_object('reason', place_hold.reason))
  );
end
$function$

owner audit_purger
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Keeps all of an organisation's entries, in the database and in the archive, until audit.release_hold(); with the nil
UUID those of the whole project. For admins of the organisation; leaves an entry.

-- function audit.place_in_log(uuid,integer,bigint)
CREATE OR REPLACE FUNCTION audit.place_in_log(organization_id uuid, chain integer, seq bigint)
 RETURNS jsonb
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'origin', l.origin, 'folder', l.organization_id || '/' || to_char(l.month, 'YYYY-MM'),
    'index', r.start + place_in_log.seq - r.from_seq, 'size', c.size, 'checkpoint', c.note,
    'anchored', (
      select jsonb_build_object('checkpoint', o.note, 'anchor', a.anchor)
      from audit.anchor_of(l.id, r.start + place_in_log.seq - r.from_seq + 1) a (anchor)
      join audit.checkpoints o on o.log = l.id and o.size = (a.anchor ->> 'size')::bigint
    )
  )
  from (
    select r.log, r.start, r.from_seq, r.to_seq
    from audit.log_ranges r
    where r.organization_id = place_in_log.organization_id and r.chain = place_in_log.chain and r.from_seq <= place_in_log.seq
    order by r.from_seq desc
    limit 1
  ) r
  join audit.logs l on l.id = r.log
  join audit.checkpoints c on c.log = l.id and c.size = l.published
  where place_in_log.seq <= r.to_seq and r.start + place_in_log.seq - r.from_seq < l.published
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The log, index and newest checkpoint of an entry that is sealed, and the first checkpoint over it that the anchor log has,
with its place there; null while it is not sealed.

-- function audit.place_of(text)
CREATE OR REPLACE FUNCTION audit.place_of(ip_address text, OUT country text, OUT region text, OUT city text)
 RETURNS record
 LANGUAGE plpgsql
 STABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
declare
  v_address inet;
  v_place int;
begin
  begin
    v_address := audit.normalized_ip(place_of.ip_address)::inet;
  exception when invalid_text_representation then
    return; -- a host name, a forged header
  end;
  select r.place into v_place
  from audit.place_ranges r
  where r.first_address <= v_address
  order by r.first_address desc
  limit 1;
  select p.country, p.region, p.city into place_of.country, place_of.region, place_of.city
  from audit.places p
  where p.id = v_place;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Country (ISO 3166-1 alpha-2), region and city of an address, as far as the loaded data set says:
select e.action, p.country from audit_events e, lateral audit.place_of(e.ip_address) p
Whoever shows it shows audit.place_data.attribution.

-- function audit.plain_mentions(audit.subject,integer)
CREATE OR REPLACE FUNCTION audit.plain_mentions(subject audit.subject, at_most integer DEFAULT 1000)
 RETURNS SETOF text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_address text;
begin
  foreach v_address in array (subject).addresses loop
    return query execute format(
      'select (e.chain || ''-'' || e.seq)::text %s limit %s',
      audit.matching_sql(
        (subject).organization_id,
        audit.compile_query((subject).organization_id, jsonb_build_object('text', v_address))
      ), at_most
    );
  end loop;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Names of entries that hold an address of the person in plain text, because a column was not declared personal or an
application wrote it into details. Entries never change: these stay, and are told.

-- function audit.policy_section(audit.reports,text)
CREATE OR REPLACE FUNCTION audit.policy_section(report audit.reports, section text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case policy_section.section
    when 'policy_access' then audit.report_text('Who can see the audit log', array[
      'Purpose. This policy says who may read the audit log, and on whose decision.',
      format('Admins of the organisation (%s now) read all entries with e-mail and IP addresses. Members read their own activity. Viewers read nothing.', (select count(*) from audit.known_members((report).organization_id) m where m.role = 'admin')),
      format('Auditors from outside (%s now) read all entries, read-only and until a date; addresses only where the grant says so. An admin grants and revokes it.', (select count(*) from audit.auditors a where a.organization_id = (report).organization_id and a.expires_at > (report).requested_at)),
      'Nobody can change or delete entries; the application''s roles cannot write the log. The database''s owner is watched by checkpoints, not kept out.',
      'Every search, view and export of the log is itself an entry. Roles are reviewed every quarter by the report “Access review”.'
    ])
    when 'policy_retention' then audit.report_text('How long the audit log is kept', array[
      format('Entries stay in the database for %s and in the archive for %s.', coalesce(r.database_days || ' days', 'an unlimited time'), coalesce(r.archive_days || ' days', 'an unlimited time')),
      format('Shortening a period takes effect after %s days, so that it can be seen and taken back. A legal hold stops all deletion; only an admin places and releases it.', audit.setting('shorten_retention_after', (report).organization_id)),
      format('Encrypted backups are kept for %s days. Exports are kept for 30 days.', audit.setting('backup_days')),
      format('IP addresses are kept %s. The text of queries is %s.', case audit.setting('ip_addresses', (report).organization_id) #>> '{}' when 'on' then 'whole' when 'truncated' then 'shortened to their network' else 'not at all' end, case when audit.setting('query_text', (report).organization_id) = 'true' then 'recorded' else 'not recorded' end),
      'A person is erased on request (Art. 17 GDPR) by an admin, who records the ground; entries keep the user id and commitments that nobody can open any more.'
    ])
    when 'policy_investigation' then audit.report_text('What sets off an investigation', array[
      'A failed check of the log (verification.failed); a table that is no longer captured (capture.untracked); a shortened period of retention (retention.changed); an alert of severity high or critical.',
      'Repeated refused attempts (outcome denied) or failed sign-ins of one person or from one address; a change of roles, keys or budgets past the application (actor_type database); spending out of proportion.',
      'Whoever finds one tells: (name, how to reach). The first step is an incident file (report “incident”) around the entry, and a legal hold where evidence may be needed.'
    ])
    else audit.report_text('How we respond', array[
      '1. Establish: make the incident file; note when we became aware, for periods begin then.',
      '2. Contain: revoke keys and sessions, remove roles; each is an entry by itself.',
      '3. Preserve: place a legal hold; keep the newest checkpoint outside; export the period with its signed manifest.',
      '4. Assess: which data, whose, since when. A personal data breach is notified to the supervisory authority within 72 hours of becoming aware where feasible (Art. 33 GDPR), unless a risk is unlikely; persons are told where the risk is high (Art. 34).',
      '5. Learn: what was not captured, which rule would have found it earlier; change it, and record that.',
      'Responsible: (name). Deputy: (name). Approved on: (date) by: (name).'
    ])
  end
  from audit.retention_of((report).organization_id) r
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A draft policy with the settings in force.

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

-- function audit.preview_rule(jsonb)
CREATE OR REPLACE FUNCTION audit.preview_rule(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_organization uuid;
  v_rule audit.rules;
  v_from timestamptz;
  v_to timestamptz;
  v_upto timestamptz;
  v_start timestamptz;
  v_firings audit.rule_firing[];
  v_most constant int := 100000;
begin
  perform audit.check_request(request, array['organization_id', 'rule', 'id', 'from', 'to']);
  v_organization := audit.requested_organization(request);
  perform audit.require_reach(v_organization);
  v_rule := audit.requested_rule(request, v_organization);
  v_from := coalesce(lower(audit.query_instants(request ->> 'from')), case when not request ? 'from' then clock_timestamp() - interval '7 days' end);
  v_to := coalesce(lower(audit.query_instants(request ->> 'to')), case when not request ? 'to' then clock_timestamp() end);
  if v_from is null or v_to is null or v_from >= v_to then
    perform audit.fail('AUARG', 'from and to are dates, in this order.', null, 'For example 2026-03-14, 2026-03-14T15:09:26Z, or an age: 24h, 30d.');
  end if;
  -- So many entries at once; "next" says where to go on.
  select e.created_at into v_upto from public.audit_logs e
  where e.organization_id = v_organization and e.created_at >= v_from and e.created_at < v_to
  order by e.created_at offset v_most limit 1;
  -- What a window or history reaches back to is read too, but not more than as many again.
  select e.created_at into v_start from public.audit_logs e
  where e.organization_id = v_organization and e.created_at < v_from
  order by e.created_at desc offset v_most limit 1;
  v_start := greatest(v_start, v_from - case
    when v_rule.kind = 'new_value' then coalesce(audit.duration(v_rule.settings ->> 'history'), interval '14 days')
      + coalesce((v_rule.settings ->> 'warm_up')::int, 5) * interval '1 day'
    when v_rule.settings ? 'against' or v_rule.settings -> 'hours' = '"learned"' then interval '90 days'
    else coalesce(audit.duration(v_rule.settings ->> 'window'), interval '0')
  end);
  v_firings := audit.try_rule(v_rule, format(
    '(select 1) one join public.audit_logs e on e.created_at >= %L and e.created_at < %L', v_start, coalesce(v_upto, v_to)
  ), v_organization);
  return jsonb_build_object(
    'organization_id', v_organization, 'from', audit.instant_text(v_from), 'to', audit.instant_text(coalesce(v_upto, v_to)),
    'read_from', audit.instant_text(v_start), 'next', audit.instant_text(v_upto),
    'alerts', (select count(*) from unnest(v_firings) f where f.last_at >= v_from),
    'would_fire', (
      select coalesce(jsonb_agg(jsonb_build_object(
        'first_seen_at', audit.instant_text(f.first_at), 'last_seen_at', audit.instant_text(f.last_at), 'group', f.group_key,
        'occurrences', f.occurrences, 'seen', f.seen, 'entries', to_jsonb(f.names)
      ) order by f.first_at), '[]')
      from (select f.* from unnest(v_firings) f where f.last_at >= v_from order by f.first_at limit 200) f
    )
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What a rule would have raised: select audit.preview_rule('{"organization_id": "…", "rule": {…}, "from": "30d"}'). It looks at
100,000 entries at most and shows 200 alerts; "next" is where to go on. For admins and auditors of the organisation.

-- function audit.processing_section(audit.reports)
CREATE OR REPLACE FUNCTION audit.processing_section(report audit.reports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select audit.report_table(
    'Record of this processing (Art. 30(1))', '[{"title": "Item", "width": 2}, {"title": "For the audit log", "width": 6}]',
    jsonb_build_array(
      jsonb_build_array('(a) controller', 'To be filled in: name and contact of the controller, the representative and the data protection officer.'),
      jsonb_build_array('(b) purposes', 'To show who did what and when, to find and prove misuse, and to demonstrate compliance.'),
      jsonb_build_array('(c) persons and data', format(
        'Users of the application: user id, e-mail address, IP address (%s), user agent, their actions. Columns that are committed to and kept apart: %s.',
        audit.setting('ip_addresses', (report).organization_id) #>> '{}',
        coalesce((
          select string_agg(format('%s.%s', t.table_name, c.key), ', ' order by t.table_name::text, c.key)
          from audit.tracked_tables t cross join lateral jsonb_each_text(t.plan -> 'columns') c where c.value = 'personal'
        ), 'none')
      )),
      jsonb_build_array('(d) recipients', format('Admins of the organisation, auditors (%s now), whoever is given exports and reports.', (
        select count(*) from audit.auditors a where a.organization_id = (report).organization_id and a.expires_at > (report).requested_at
      ))),
      jsonb_build_array('(e) third countries', 'To be filled in: where the Supabase project, its Storage and receivers of checkpoints are. Checkpoints hold no personal data.'),
      jsonb_build_array('(f) time limits', format(
        'Entries: %s days in the database, %s in the archive; addresses go with the last entry that commits to them, or at erasure.',
        coalesce(r.database_days::text, 'unlimited'), coalesce(r.archive_days::text, 'unlimited')
      )),
      jsonb_build_array('(g) security measures', 'Row level security by role; hash chains and signed checkpoints; addresses apart from entries, by salted commitments; encrypted backups; every reading of the log is an entry.'),
      jsonb_build_array('What is recorded', coalesce((
        select string_agg(t.table_name::text, ', ' order by t.table_name::text) from audit.tracked_tables t
      ), 'no table')),
      jsonb_build_array('Text of queries', case when audit.setting('query_text', (report).organization_id) = 'true' then 'recorded' else 'not recorded' end)
    ),
    'What the controller alone knows is marked to be filled in.'
  )
  from audit.retention_of((report).organization_id) r
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The record of processing of the audit log (GDPR Art. 30), filled in as far as the database knows it.

-- function audit.prune_deliveries()
CREATE OR REPLACE FUNCTION audit.prune_deliveries()
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_channel audit.channels;
  v_deleted bigint;
begin
  for v_channel in select c.* from audit.channels c where c.old_secret_until < clock_timestamp() order by c.id for no key update loop
    perform audit.keep_secret(v_channel.secret_id, split_part(audit.kept_secret(v_channel.secret_id), ' ', 1));
    update audit.channels c set old_secret_until = null where c.id = v_channel.id;
  end loop;
  delete from audit.deliveries d
  where d.state <> 'waiting'
    and d.settled_at < clock_timestamp() - case d.state when 'dead' then interval '90 days' else interval '30 days' end;
  get diagnostics v_deleted = row_count;
  return v_deleted;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Forgets messages that were delivered 30 days ago, or given up 90 days ago, and secrets that were rotated away.

-- function audit.prune_rules()
CREATE OR REPLACE FUNCTION audit.prune_rules()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_pruned int;
begin
  -- An evaluation that is behind may still need what is old; and none runs meanwhile.
  if not pg_try_advisory_xact_lock(hashtext('audit.evaluate_rules')) or exists (select from audit.health_check('rules', interval '1 minute')) then
    return 0;
  end if;
  delete from audit.rule_windows w where w.forget_at < clock_timestamp();
  get diagnostics v_pruned = row_count;
  delete from audit.rule_values v where v.forget_at < clock_timestamp();
  -- The longest period of a budget is a month.
  delete from audit.spending s where s.day < current_date - 62;
  delete from audit.budget_crossings c where c.period_start < current_date - 62;
  return v_pruned;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Forgets what no window reaches any more; returns how many slots. pg_cron runs it.

-- function audit.purge(integer)
CREATE OR REPLACE FUNCTION audit.purge(most_entries integer DEFAULT 5000)
 RETURNS integer
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
 SET lock_timeout TO '1s'
AS $function$
#variable_conflict use_column
declare
  v_due record;
  v_entries int;
  v_left int := most_entries;
  v_start timestamptz := clock_timestamp();
begin
  if most_entries is null or most_entries not between 1 and 100000 then
    perform audit.fail('AUARG', 'A batch has 1 to 100,000 entries.');
  elsif current_setting('transaction_isolation') <> 'read committed' then
    perform audit.fail('AUARG', 'A purge must see holds of the moment.', null, 'Run it at read committed.');
  -- One at a time; and not while somebody places a hold or sets a period (audit.await_purge).
  elsif not pg_try_advisory_xact_lock(hashtext('audit.purge')) then
    return 0;
  end if;

  for v_due in
    select d.organization_id, d.before, d.states_first
    from (
      select o.organization_id, r.before, p.run_at, p.entries > 0 and p.before is distinct from r.before as states_first,
        r.before is not null and (p.done is not true or r.before > p.before) as is_due
      from (
        select distinct h.organization_id
        from audit.heads h
        where h.organization_id in (select c.organization_id from audit.retention_periods c)
          or exists (select from audit.retention_periods c where c.organization_id = audit.system_organization())
      ) o
      left join audit.purges p on p.organization_id = o.organization_id
      cross join lateral (
        -- By whole days, so that each has one run, and one entry.
        select case when not audit.is_held(o.organization_id) then
          date_trunc('day', clock_timestamp() - make_interval(days => t.database_days), 'UTC')
        end as before
        from audit.retention_of(o.organization_id) t
      ) r
      where p.organization_id is null or not p.done or p.entries > 0 or p.run_at < date_trunc('day', clock_timestamp(), 'UTC')
    ) d
    where d.is_due or d.states_first
    order by d.run_at nulls first
  loop
    -- What an earlier day has purged, or one that a hold has stopped.
    if v_due.states_first then
      perform audit.state_purge(v_due.organization_id);
    end if;
    continue when v_due.before is null;
    v_entries := audit.purge_organization(v_due.organization_id, v_due.before, v_left);
    insert into audit.purges as p (organization_id, before, done, entries)
    values (v_due.organization_id, v_due.before, v_entries < v_left, v_entries)
    on conflict on constraint purges_pkey do update set
      before = excluded.before, done = excluded.done, entries = p.entries + excluded.entries, run_at = clock_timestamp();
    v_left := v_left - v_entries;
    exit when v_left = 0;
    perform audit.state_purge(v_due.organization_id);
    -- Of very many organisations each has a little, and whoever places a hold waits for the batch.
    exit when clock_timestamp() > v_start + interval '2 seconds';
  end loop;
  perform audit.check_identities();
  return most_entries - v_left;
end
$function$

owner audit_purger
grant postgres: EXECUTE
comment: Deletes entries that are past their retention, sealed, published, read back and not held, at most so many at once, with
what belongs to them; answers how many. pg_cron runs it.

-- function audit.purge_chain(uuid,integer,timestamp with time zone,integer)
CREATE OR REPLACE FUNCTION audit.purge_chain(organization_id uuid, chain integer, before timestamp with time zone, at_most integer, OUT entries integer, OUT identities bytea[])
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO ''
 SET enable_seqscan TO 'off'
 SET enable_sort TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_bound audit.chain_bounds;
  v_entry record;
  v_after bigint;
  v_first_at timestamptz;
  v_last_at timestamptz;
  v_values bytea[];
  v_cut jsonb;
begin
  entries := 0;
  select b.* into v_bound from audit.chain_bounds b
  where b.organization_id = purge_chain.organization_id and b.chain = purge_chain.chain;
  v_after := coalesce(v_bound.seq, 0);
  v_bound.seq := null;
  for v_entry in
    select a.seq, a.created_at, a.hash, l.is_read_back
    from public.audit_logs a
    left join lateral (
      select a.seq <= r.to_seq and r.start + a.seq - r.from_seq < least(l.published, l.read_back) as is_read_back
      from audit.log_ranges r
      join audit.logs l on l.id = r.log
      where r.organization_id = purge_chain.organization_id and r.chain = purge_chain.chain and r.from_seq <= a.seq
      order by r.from_seq desc
      limit 1
    ) l on true
    where a.organization_id = purge_chain.organization_id and a.chain = purge_chain.chain and a.seq > v_after
    order by a.seq
    limit purge_chain.at_most
  loop
    exit when v_entry.created_at >= purge_chain.before or v_entry.is_read_back is not true;
    entries := entries + 1;
    v_bound.seq := v_entry.seq;
    v_bound.hash := v_entry.hash;
    v_bound.created_at := v_entry.created_at;
    v_first_at := least(v_first_at, v_entry.created_at);
    v_last_at := greatest(v_last_at, v_entry.created_at);
  end loop;
  if entries = 0 then
    return;
  end if;

  with gone as (
    delete from public.audit_logs a
    where a.organization_id = purge_chain.organization_id and a.chain = purge_chain.chain
      and a.seq > v_after and a.seq <= v_bound.seq and a.created_at between v_first_at and v_last_at
    returning a.seq, a.created_at, a.identity_hash, a.details, a.resource_type, a.resource_id
  ),
  unindexed as (
    delete from audit.search_index s using gone g
    where s.organization_id = purge_chain.organization_id and s.created_at = g.created_at
      and s.chain = purge_chain.chain and s.seq = g.seq
  )
  select array_agg(distinct g.identity_hash) filter (where g.identity_hash is not null),
    array_agg(p.value_hash) filter (where p.value_hash is not null),
    jsonb_agg(jsonb_build_object('resource_type', g.resource_type, 'resource_id', g.resource_id, 'created_at', g.created_at))
      filter (where p.is_cut)
  into identities, v_values, v_cut
  from gone g
  left join lateral (
    select decode(v #>> '{}', 'hex') as value_hash, false as is_cut
    from jsonb_path_query(g.details, '$.**.personal ? (@ like_regex "^[0-9a-f]{64}$")') v
    union all
    select null, true where g.details::text like '%"cut"%'
  ) p on true;
  perform audit.release_values(purge_chain.organization_id, v_values, v_last_at, v_cut);

  insert into audit.chain_bounds as b (organization_id, chain, seq, hash, created_at)
  values (purge_chain.organization_id, purge_chain.chain, v_bound.seq, v_bound.hash, v_bound.created_at)
  on conflict on constraint chain_bounds_pkey do update set
    seq = excluded.seq, hash = excluded.hash, created_at = excluded.created_at,
    stated_chain = null, stated_seq = null, stated_at = null;
  -- What somebody took out before is not purged: it is a finding, and no reason to keep the rest for ever.
  if v_bound.seq - v_after > entries then
    perform audit.note_finding(
      purge_chain.organization_id, 'entries_missing', format('%s-%s', purge_chain.chain, v_after + 1),
      jsonb_build_object('chain', purge_chain.chain, 'from_seq', v_after + 1, 'to_seq', v_bound.seq, 'there', entries)
    );
  end if;
end
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
comment: Purges the beginning of a chain, at most so many entries; answers how many, and the identities that they committed to.

-- function audit.purge_organization(uuid,timestamp with time zone,integer)
CREATE OR REPLACE FUNCTION audit.purge_organization(organization_id uuid, before timestamp with time zone, at_most integer)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_chain int;
  v_purged record;
  v_entries int := 0;
  v_identities bytea[] := '{}';
begin
  -- The chain that was left furthest behind comes first.
  for v_chain in
    select h.chain
    from audit.heads h
    left join audit.chain_bounds b on b.organization_id = h.organization_id and b.chain = h.chain
    where h.organization_id = purge_organization.organization_id and h.seq > coalesce(b.seq, 0)
    order by b.created_at nulls first, h.chain
  loop
    exit when v_entries >= purge_organization.at_most;
    v_purged := audit.purge_chain(
      purge_organization.organization_id, v_chain, purge_organization.before, purge_organization.at_most - v_entries
    );
    v_entries := v_entries + v_purged.entries;
    v_identities := v_identities || v_purged.identities;
  end loop;
  perform audit.release_identities(purge_organization.organization_id, v_identities);
  return v_entries;
end
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
comment: Purges an organisation's entries from before a time, at most so many; answers how many, fewer where no more may go.

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

-- function audit.queries_about(audit.subject,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.queries_about(subject audit.subject, until timestamp with time zone)
 RETURNS SETOF bytea
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  with mine as materialized (
    select distinct lower(v.value) as value
    from audit.identities_of(subject, queries_about.until) i
    cross join lateral (values (i.email), (i.ip_address), (i.user_agent)) v (value)
    where v.value is not null
    union
    select unnest((subject).addresses)
  )
  select q.value_hash
  from audit.personal_values q
  where q.organization_id = (subject).organization_id and q.resource_type = 'audit_log' and q.column_name = 'query'
    and q.created_at <= queries_about.until
    and (
      lower(q.value) in (select m.value from mine m)
      or q.value like '%*%' and exists (select from mine m where m.value like lower(audit.pattern_like(q.value)))
      or exists (select from unnest((subject).addresses) a where strpos(lower(q.value), a) > 0)
    )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Hashes of recorded search terms that name a person: by address, IP address or user agent.

-- function audit.query_apart(uuid,jsonb,jsonb)
CREATE OR REPLACE FUNCTION audit.query_apart(organization_id uuid, INOUT node jsonb, INOUT personal_values jsonb DEFAULT '[]'::jsonb)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_key text;
  v_part jsonb;
  v_parts jsonb := '[]';
  v_is_identity boolean := node ->> 'field' in ('email', 'ip', 'user_agent') and node ->> 'op' <> 'exists';
begin
  foreach v_key in array array['and', 'or'] loop
    continue when not node ? v_key;
    for v_part in select e from jsonb_array_elements(node -> v_key) e loop
      select q.node, q.personal_values into v_part, personal_values
      from audit.query_apart(query_apart.organization_id, v_part, personal_values) q;
      v_parts := v_parts || v_part;
    end loop;
    node := jsonb_build_object(v_key, v_parts);
    return;
  end loop;
  if node ? 'not' then
    select q.node, q.personal_values into v_part, personal_values
    from audit.query_apart(query_apart.organization_id, node -> 'not', personal_values) q;
    node := jsonb_build_object('not', v_part);
    return;
  end if;
  foreach v_key in array array['value', 'text'] loop
    continue when not node ? v_key;
    for v_part in select e from jsonb_array_elements(case when jsonb_typeof(node -> v_key) = 'array' then node -> v_key else jsonb_build_array(node -> v_key) end) e loop
      if jsonb_typeof(v_part) = 'string' and (v_is_identity or audit.names_person(v_part #>> '{}')) then
        personal_values := personal_values || jsonb_build_array(
          audit.commit_personal(query_apart.organization_id, null, 'audit_log', null, 'query', v_part #>> '{}')
        );
        v_part := '"***"';
      end if;
      v_parts := v_parts || v_part;
    end loop;
    node := node || jsonb_build_object(v_key, case when jsonb_typeof(node -> v_key) = 'array' then v_parts else v_parts -> 0 end)
      || case when node ->> 'op' = 'like' and v_parts = '["***"]' then '{"op": "eq"}'::jsonb else '{}' end; -- else it reads: any
    return;
  end loop;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: A query tree with *** for what names a person (e-mail, IP address, user agent), and the commitments to that, in order.

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

-- function audit.queue_alert(uuid,text)
CREATE OR REPLACE FUNCTION audit.queue_alert(alert_id uuid, transition text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_alert audit.alerts;
  v_message jsonb;
  v_channel audit.channels;
  v_reached boolean := false;
begin
  if coalesce(transition, '') not in ('opened', 'acknowledged', 'silenced', 'resolved', 'reopened', 'digest') then
    perform audit.fail('AUARG', format('There is no transition "%s".', transition));
  end if;
  select a.* into v_alert from audit.alerts a where a.id = queue_alert.alert_id;
  if not found then
    perform audit.fail('AUNOT', 'There is no such alert.');
  end if;
  v_message := audit.alert_message(v_alert, transition);
  for v_channel in
    select c.* from audit.channels c
    where c.organization_id = v_alert.organization_id and case when v_alert.channels is null then c.is_default else c.id = any (v_alert.channels) end
    order by c.id
  loop
    perform audit.queue_message(v_channel, v_alert.organization_id, 'alert.' || transition, v_message, v_alert.id);
    v_reached := v_reached or v_channel.disabled_at is null;
  end loop;
  -- Whoever nobody can tell: then who runs the project is told.
  if not v_reached and v_alert.organization_id <> audit.system_organization()
    and exists (select from audit.channels c where c.organization_id = v_alert.organization_id)
  then
    for v_channel in
      select c.* from audit.channels c
      where c.organization_id = audit.system_organization() and c.is_default and c.disabled_at is null
      order by c.id
    loop
      perform audit.queue_message(v_channel, v_alert.organization_id, 'alert.' || transition, v_message, v_alert.id);
    end loop;
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has the channels of an alert told of what happened to it: those that it names, else the organisation's default ones; where it
has channels and all of these are disabled, the project's.

-- function audit.queue_message(audit.channels,uuid,text,jsonb,uuid)
CREATE OR REPLACE FUNCTION audit.queue_message(channel audit.channels, organization_id uuid, type text, message jsonb, alert_id uuid DEFAULT NULL::uuid)
 RETURNS uuid
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_id uuid;
  v_is_dead boolean := (channel).disabled_at is not null and queue_message.type <> 'channel.test';
begin
  insert into audit.deliveries (organization_id, channel_id, alert_id, n, type, message, state, settled_at, last_error)
  select queue_message.organization_id, (channel).id, queue_message.alert_id, coalesce(max(d.n), 0) + 1, queue_message.type,
    case when (channel).personal then queue_message.message else audit.without_personal(queue_message.message) end,
    -- What a disabled channel misses is kept, and can be replayed.
    case when v_is_dead then 'dead' else 'waiting' end, case when v_is_dead then clock_timestamp() end,
    case when v_is_dead then 'channel_disabled' end
  from audit.deliveries d
  where d.alert_id = queue_message.alert_id and d.channel_id = (channel).id
  returning id into v_id;
  return v_id;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Has a channel told something: {title, …}, with severity and lines where there are any. In the caller's transaction.

-- function audit.raise_alert(uuid,uuid,text,timestamp with time zone,text,jsonb,text[],text)
CREATE OR REPLACE FUNCTION audit.raise_alert(rule_id uuid, organization_id uuid, group_key text, happened_at timestamp with time zone, title text, reason jsonb, entries text[], severity text DEFAULT NULL::text)
 RETURNS uuid
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  select audit.note_firing(
    row(
      raise_alert.rule_id, raise_alert.organization_id, raise_alert.group_key, raise_alert.happened_at, raise_alert.happened_at, 1, null,
      coalesce(raise_alert.entries[:20], '{}'), false, raise_alert.reason
    )::audit.rule_firing,
    raise_alert.title, raise_alert.severity
  )
$function$

owner postgres
grant postgres: EXECUTE
comment: Opens an alert of a rule, or counts a repetition of one that is open for the group; returns its id.

-- function audit.raise_anomalies(timestamp with time zone,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.raise_anomalies(hour timestamp with time zone, now timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_judgement audit.judgements;
  v_raised int := 0;
begin
  if raise_anomalies.hour < raise_anomalies.now - interval '1 day' then
    return 0;
  end if;
  for v_judgement in
    select j.* from audit.judgements j
    where j.hour = raise_anomalies.hour and j.alerts > 0 and j.alert is null
    order by j.organization_id, j.metric
  loop
    if audit.raise_anomaly(v_judgement) is not null then
      v_raised := v_raised + 1;
    end if;
  end loop;
  return v_raised;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Raises the alerts of an hour that are not raised yet, unless they are a day old; returns how many.

-- function audit.raise_anomaly(audit.judgements)
CREATE OR REPLACE FUNCTION audit.raise_anomaly(judgement audit.judgements)
 RETURNS uuid
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_rule audit.rules := audit.rule_for(audit.anomaly_rule(), (judgement).organization_id);
  v_contributors jsonb;
  v_alert uuid;
begin
  -- Who said that it is over does not want to hear of each hour that it goes on.
  if not v_rule.enabled or exists (
    select from audit.judgements j
    join audit.alerts a on a.id = j.alert and a.state = 'resolved'
    where j.organization_id = (judgement).organization_id and j.metric = (judgement).metric
      and j.hour < (judgement).hour and j.hour > (judgement).hour - interval '24 hours' and j.alerts >= (judgement).alerts
  ) then
    return null;
  end if;
  select jsonb_agg(jsonb_build_object(
      'dimension', c.dimension, 'value', c.value, 'seen', c.seen, 'expected', c.expected
    )) into v_contributors
  from audit.anomaly_contributors(judgement) c;
  v_alert := audit.raise_alert(
    v_rule.id, (judgement).organization_id,
    jsonb_build_object('metric', (judgement).metric, 'degree', audit.anomaly_degree((judgement).alerts))::text, (judgement).hour,
    format(
      '%s %s in an hour, %s expected',
      case (judgement).metric when 'queries' then 'Unusual number of queries:' else 'Unusual cost:' end,
      round((judgement).seen, 2)::float8, round((judgement).expected::numeric, 2)::float8
    ),
    audit.anomaly_reason(judgement, v_contributors),
    audit.anomaly_entries(judgement, jsonb_path_query_first(v_contributors, '$[*] ? (@.dimension == "actor").value') #>> '{}'),
    -- Less than very unusual is not as loud as the rule says.
    case when (judgement).alerts = 1 and v_rule.severity not in ('info', 'low') then 'low' end
  );
  update audit.judgements j set alert = v_alert
  where j.organization_id = (judgement).organization_id and j.metric = (judgement).metric and j.hour = (judgement).hour;
  return v_alert;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Raises the alert of an unusual hour, or counts a repetition; null where the rule is off or its alert was resolved within a day.

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

-- function audit.read_archive(uuid,text,boolean)
CREATE OR REPLACE FUNCTION audit.read_archive(organization_id uuid, log text, entries boolean)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if audit.reach(read_archive.organization_id) is distinct from 'all' then
    perform audit.fail('AUDEN', 'You do not read all of this organisation''s log.', null,
      'The archive is for admins and auditors. Members find their own activity by searching.');
  end if;
  -- Hashes tell nothing of what was done. Entries do; but who verifies a log reads thousands of files in a row.
  if read_archive.entries and not exists (
    select from public.audit_logs a
    where a.organization_id = read_archive.organization_id
      and a.created_by = auth.uid()
      and a.created_at > clock_timestamp() - interval '1 hour'
      and a.action = 'log.exported'
      and a.resource_type = 'log'
      and a.resource_id = read_archive.log
  ) then
    perform audit.record_reading(
      read_archive.organization_id, 'log.exported', '{"format": "archive"}', 'log', read_archive.log
    );
  end if;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises AUDEN unless the caller reads all of the organisation's log. Where entries are read, leaves a log.exported entry, at most one an hour for each person and log.

-- function audit.read_context()
CREATE OR REPLACE FUNCTION audit.read_context()
 RETURNS audit.statement_context
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_context audit.statement_context;
  v_claims jsonb;
  v_headers jsonb;
  v_setting text;
begin
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

  perform set_config('audit.context', v_context::text, false),
    set_config('audit.context_sources', audit.context_sources(), false);
  return v_context;
end
$function$

owner postgres
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Reads the context from claims, headers and settings, and keeps it in the setting audit.context for this connection.

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
grant audit_purger: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Records what no table shows: select * from audit.record(organization_id, 'report.generated', 'report', '2026-01').
Returns the entry's chain, seq and hash as acknowledgement. organization_id null: the system organisation.

-- function audit.record_archive_deleted(integer)
CREATE OR REPLACE FUNCTION audit.record_archive_deleted(log integer)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_log audit.logs;
begin
  update audit.logs l set archive_deleted_at = clock_timestamp()
  where l.id = record_archive_deleted.log and l.archive_deletion_began_at is not null and l.archive_deleted_at is null
  returning l.* into v_log;
  if not found then
    if exists (select from audit.logs l where l.id = record_archive_deleted.log and l.archive_deleted_at is not null) then
      return;
    end if;
    perform audit.fail('AUARG', 'The archive of this log was not to be deleted.', null, 'Ask audit.begin_archive_deletion() first.');
  end if;
  perform audit.record(v_log.organization_id, 'log.purged', 'log', v_log.origin, (
    select jsonb_build_object('origin', v_log.origin, 'size', c.size, 'root', encode(c.root, 'base64'))
    from audit.checkpoints c
    where c.log = v_log.id and c.size = v_log.published
  ));
  -- Nothing is left that they lead to.
  delete from audit.log_ranges r where r.log = v_log.id;
  delete from audit.checkpoints c where c.log = v_log.id and c.size < v_log.published;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes that a log's archive is gone but for its checkpoint; leaves a log.purged entry with origin, size and root.

-- function audit.record_auth(audit.auth_event[])
CREATE OR REPLACE FUNCTION audit.record_auth(events audit.auth_event[])
 RETURNS TABLE(n integer, verdict text)
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if coalesce(cardinality(record_auth.events), 0) = 0 then
    return;
  end if;
  if audit.may_settle_auth(record_auth.events) then
    return query select s.n, s.verdict from audit.settle_auth(record_auth.events) s;
  else
    return query
      with waiting as (
        insert into audit.waiting_auth_events (event) select e::audit.auth_event from unnest(record_auth.events) e returning 1
      )
      select g, 'waiting' from generate_series(1, (select count(*)::int from waiting)) g;
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Takes events as one or several tellers saw them and answers each by its position: recorded, duplicate, refused (no such
source, action or outcome; older than a day), or waiting (decided within seconds; never for events of a log at READ COMMITTED).

-- function audit.record_backup(text,timestamp with time zone,integer,bigint,text,jsonb)
CREATE OR REPLACE FUNCTION audit.record_backup(name text, made_at timestamp with time zone, parts integer, bytes bigint, sha256 text, rows jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  insert into audit.backups (name, made_at, parts, bytes, sha256, rows)
  values (
    record_backup.name, record_backup.made_at, record_backup.parts, record_backup.bytes, record_backup.sha256, record_backup.rows
  );
  -- Whoever puts an older backup in its place is found out by this, which the archive has.
  perform audit.record(audit.system_organization(), 'backup.made', 'backup', record_backup.name, jsonb_build_object(
    'made_at', to_jsonb(record_backup.made_at at time zone 'utc'), 'parts', record_backup.parts, 'bytes', record_backup.bytes,
    'sha256', record_backup.sha256
  ));
  perform audit.settle_finding(audit.system_organization(), f.kind, 'backup')
  from unnest(array['backup_failed', 'backup_missed']) f (kind);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes a backup that was stored and read back; leaves a backup.made entry.

-- function audit.record_backups_deleted(text[])
CREATE OR REPLACE FUNCTION audit.record_backups_deleted(names text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  update audit.backups b set deleted_at = clock_timestamp()
  where b.name = any (record_backups_deleted.names) and b.deleted_at is null;
  perform audit.record(audit.system_organization(), 'backup.deleted', 'backup', null, jsonb_build_object('names', to_jsonb(names)));
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes that backups are deleted; leaves a backup.deleted entry.

-- function audit.record_certificate_note(uuid,text)
CREATE OR REPLACE FUNCTION audit.record_certificate_note(id uuid, note text)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  update audit.erasures e set certificate_note = record_certificate_note.note
  where e.id = record_certificate_note.id and e.certificate is not null and e.certificate_note is null
$function$

owner postgres
grant postgres: EXECUTE
comment: Keeps the signature of an erasure's certificate.

-- function audit.record_collected(uuid,timestamp with time zone,text,boolean)
CREATE OR REPLACE FUNCTION audit.record_collected(lease uuid, collected_until timestamp with time zone, resume_after text, ends boolean)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  update audit.log_collection c set
    collected_until = record_collected.collected_until, resume_after = record_collected.resume_after,
    last_run_at = clock_timestamp(), failures = 0, last_error = null, next_at = '-infinity',
    lease_until = case when record_collected.ends then '-infinity' else c.lease_until end
  where c.lease = record_collected.lease and c.lease_until > clock_timestamp();
  if not found then
    perform audit.fail('AULSE', 'Another run collects the logs now.');
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes up to which line all were read, and gives the turn back where the run ends.

-- function audit.record_copied(uuid,integer,bigint)
CREATE OR REPLACE FUNCTION audit.record_copied(lease uuid, log integer, copied bigint)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  update audit.receiver_logs d set copied = greatest(d.copied, record_copied.copied)
  from audit.receivers r
  where r.lease = record_copied.lease and d.receiver = r.id and d.log = record_copied.log;
  update audit.receivers r set attempts = 0, last_error = null, lease_until = '-infinity' where r.lease = record_copied.lease;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes how far a mirror has come with a log that it could not finish in one run, and ends the lease.

-- function audit.record_cosignatures(integer,bigint,text,boolean)
CREATE OR REPLACE FUNCTION audit.record_cosignatures(log integer, size bigint, note text, enough boolean)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_origin text;
  v_kept text;
begin
  select l.origin, c.note into strict v_origin, v_kept
  from audit.checkpoints c
  join audit.logs l on l.id = c.log
  where c.log = record_cosignatures.log and c.size = record_cosignatures.size
  for update of c;
  -- Cosignatures come and go; what the log itself said stays.
  if audit.note_text(record_cosignatures.note) is distinct from audit.note_text(v_kept)
    or exists (
      select from string_to_table(v_kept, E'\n') own (line)
      where starts_with(own.line, '— ' || v_origin || ' ')
        and own.line <> all (string_to_array(record_cosignatures.note, E'\n'))
    )
  then
    perform audit.fail('AUARG', format('The note is not the checkpoint of %s at %s.', v_origin, record_cosignatures.size),
      null, 'Cosignatures are added to the note that was signed first.');
  end if;
  update audit.checkpoints c set note = record_cosignatures.note
  where c.log = record_cosignatures.log and c.size = record_cosignatures.size;
  if record_cosignatures.enough then
    insert into audit.cosigned_checkpoints (log, size) values (record_cosignatures.log, record_cosignatures.size)
    on conflict on constraint cosigned_checkpoints_pkey do update set cosigned_at = clock_timestamp();
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Keeps a checkpoint with its cosignatures, and whether they are enough; refuses a note with another text, or without the log's own signatures.

-- function audit.record_delivery(uuid,integer,bigint,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.record_delivery(lease uuid, log integer, size bigint, at timestamp with time zone DEFAULT clock_timestamp())
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_receiver int;
begin
  update audit.receivers r set
    attempts = 0, next_try_at = '-infinity', last_error = null, lease_until = '-infinity',
    succeeded_at = greatest(r.succeeded_at, record_delivery.at)
  where r.lease = record_delivery.lease and r.lease_until > '-infinity'
  returning r.id into v_receiver;
  update audit.receiver_logs d set
    size = greatest(d.size, record_delivery.size), copied = greatest(d.copied, record_delivery.size),
    delivered_at = clock_timestamp(), next_try_at = '-infinity', last_error = null
  where d.receiver = v_receiver and d.log = record_delivery.log;
  return v_receiver is not null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes that a receiver took a checkpoint, and ends the lease; false where another run has the receiver by now, which will say so itself.

-- function audit.record_denial(jsonb)
CREATE OR REPLACE FUNCTION audit.record_denial(request jsonb)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_hour timestamptz := date_trunc('hour', clock_timestamp());
  v_wanted uuid := audit.as_uuid(request ->> 'organization_id');
  v_denials int;
begin
  if auth.uid() is null then
    return false;
  end if;
  insert into audit.denials as d (user_id, hour, denials)
  values (auth.uid(), v_hour, 1)
  on conflict on constraint denials_pkey do update set denials = d.denials + 1
  returning d.denials into v_denials;
  if v_denials > 20 or (select sum(least(d.denials, 20)) from audit.denials d where d.hour = v_hour) > 1000 then
    return false;
  end if;
  delete from audit.denials d where d.hour < v_hour - interval '1 day';
  -- For the organisation that was asked for, where there is one; else for those of who asked.
  perform audit.record(
    o.organization_id, 'access.denied', 'route', left(request ->> 'route', 200),
    jsonb_strip_nulls(jsonb_build_object(
      'method', left(request ->> 'method', 10), 'reason', left(request ->> 'reason', 300), 'last_this_hour', nullif(v_denials = 20, false)
    )),
    'denied'
  )
  from (
    select v_wanted as organization_id where exists (select from audit.heads h where h.organization_id = v_wanted)
    union
    select m.organization_id from audit.memberships(auth.uid()) m
    where not exists (select from audit.heads h where h.organization_id = v_wanted)
    union all
    select audit.system_organization()
    where not exists (select from audit.heads h where h.organization_id = v_wanted) and not exists (select from audit.memberships(auth.uid()))
  ) o;
  return true;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Records that function audit refused the caller something, {"method", "route", "reason", "organization_id"}; false where this hour has no room for more.

-- function audit.record_events(uuid,jsonb)
CREATE OR REPLACE FUNCTION audit.record_events(source uuid, events jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_now timestamptz := clock_timestamp();
  v_count int := jsonb_array_length(record_events.events);
  v_source audit.event_sources;
  v_chain int := coalesce(audit.connection_chain(), audit.transaction_chain());
  v_write record;
  v_recorded jsonb;
begin
  -- The source's row is locked from here: its batches follow each other, so that a key is looked for after it was kept.
  update audit.event_sources s set
    allowance = least(
      s.events_per_minute, s.allowance + s.events_per_minute * extract(epoch from greatest(v_now - s.allowance_at, interval '0')) / 60
    ),
    allowance_at = greatest(v_now, s.allowance_at)
  where s.id = record_events.source and s.disabled_at is null
  returning s.* into v_source;
  if v_source.id is null then
    perform audit.fail('AUDEN', 'Nothing is taken from this source.', null, 'It was disabled, or there is none such.');
  end if;
  -- A batch that is more than a minute's passes when the allowance is full, and is paid off afterwards.
  if v_source.allowance < least(v_count, v_source.events_per_minute) then
    return jsonb_build_object('events_per_minute', v_source.events_per_minute, 'retry_after', ceil(
      (least(v_count, v_source.events_per_minute) - v_source.allowance) * 60 / v_source.events_per_minute
    ));
  end if;
  update audit.event_sources s set allowance = s.allowance - v_count where s.id = v_source.id;

  with event as materialized (
    select r.ordinality::int - 1 as n,
      coalesce(e.organization_id, v_source.organization_id, audit.system_organization()) as organization_id,
      e.action, e.outcome, e.resource_type, e.resource_id, e.occurred_at, e.user_id, e.actor_type, e.email, e.ip_address,
      e.user_agent, e.request_id, e.provider, e.cost,
      e.details || jsonb_strip_nulls(jsonb_build_object(
        'reported_by', v_source.name, 'happened_at', audit.late_time(e.occurred_at)
      )) as details,
      encode(substring(sha256(convert_to(e.key, 'UTF8')) from 1 for 16), 'hex')::uuid as key,
      substring(sha256(convert_to((r.raw - 'key')::text, 'UTF8')) from 1 for 8) as fingerprint
    from jsonb_array_elements(record_events.events) with ordinality r (raw)
    cross join lateral jsonb_to_record(r.raw) as e (
      key text, organization_id uuid, action text, outcome text, resource_type text, resource_id text,
      occurred_at timestamptz, user_id uuid, actor_type text, email text, ip_address text, user_agent text,
      request_id text, provider text, cost numeric, details jsonb
    )
  ),
  judged as materialized (
    select e.*, k.chain, k.seq, case
      when audit.is_reserved(e.action) then 'reserved_action'
      when e.organization_id <> v_source.organization_id then 'other_organization'
      when e.occurred_at > v_now + interval '1 day' then 'in_the_future'
      when k.fingerprint = e.fingerprint then 'duplicate'
      when k.key is not null then 'key_reused'
      when e.key is not null and e.n > min(e.n) over (partition by e.key) then
        case when e.fingerprint = first_value(e.fingerprint) over (partition by e.key order by e.n) then 'duplicate' else 'key_reused' end
    end as verdict
    from event e
    left join audit.event_keys k on k.source_id = v_source.id and k.key = e.key
  )
  select
    array_agg(
      row(j.organization_id, j.action, j.outcome, j.resource_type, j.resource_id, j.user_id, j.provider, j.cost, j.details, true)::audit.draft
      order by j.n
    ) filter (where j.verdict is null) as drafts,
    array_agg(
      audit.reported_context(
        j.user_id, coalesce(j.actor_type, case when j.user_id is null then 'service' end), j.email, j.ip_address,
        j.user_agent, j.request_id
      ) order by j.n
    ) filter (where j.verdict is null) as contexts,
    array_agg(j.n order by j.n) filter (where j.verdict is null) as numbers,
    array_agg(j.key order by j.n) filter (where j.verdict is null) as keys,
    array_agg(j.fingerprint order by j.n) filter (where j.verdict is null) as fingerprints,
    jsonb_agg(jsonb_strip_nulls(jsonb_build_object(
      'event', j.n, 'verdict', j.verdict, 'entry', j.chain || '-' || j.seq
    ))) filter (where j.verdict is not null) as others
  into v_write
  from judged j;

  if v_write.drafts is not null then
    perform audit.append_all(v_write.drafts, v_write.contexts);
    -- Nobody else writes this chain now, so the new entries are its last.
    with place as materialized (
      select v_write.numbers[d.ordinality] as n, d.organization_id, v_write.keys[d.ordinality] as key, v_write.fingerprints[d.ordinality] as fingerprint,
        h.seq - count(*) over (partition by d.organization_id)
          + row_number() over (partition by d.organization_id order by d.ordinality) as seq
      from unnest(v_write.drafts) with ordinality as d (
        organization_id, action, outcome, resource_type, resource_id, created_by, provider, cost, details, suspect, ordinality
      )
      join audit.heads h on h.organization_id = d.organization_id and h.chain = v_chain
    ),
    kept as (
      insert into audit.event_keys (source_id, key, fingerprint, organization_id, chain, seq)
      select v_source.id, p.key, p.fingerprint, p.organization_id, v_chain, p.seq from place p where p.key is not null
    )
    select jsonb_agg(jsonb_build_object(
      'event', p.n, 'verdict', 'recorded', 'entry', v_chain || '-' || p.seq, 'hash', encode(l.hash, 'hex')
    ))
    into v_recorded
    from place p
    join public.audit_logs l on l.organization_id = p.organization_id and l.chain = v_chain and l.seq = p.seq
      and l.created_at >= v_now; -- none of the months before
  end if;
  return jsonb_build_object('results', coalesce(v_recorded, '[]') || coalesce(v_write.others, '[]'));
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Records what a source reports and answers a verdict an event, with the entry's name and hash; or, where it reports too much, when to come again.

-- function audit.record_manifest_note(uuid,text)
CREATE OR REPLACE FUNCTION audit.record_manifest_note(export uuid, note text)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  update audit.exports x set manifest_note = record_manifest_note.note
  where x.id = record_manifest_note.export and x.manifest is not null and x.manifest_note is null
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Keeps the signature of an export's manifest.

-- function audit.record_note(integer,bigint,text,uuid)
CREATE OR REPLACE FUNCTION audit.record_note(log integer, size bigint, note text, lease uuid)
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_note text;
begin
  -- Renewed, so that whoever publishes next has the log for himself: an older checkpoint must never replace a newer one.
  update audit.logs l set lease_until = clock_timestamp() + interval '2 minutes'
  where l.id = record_note.log and l.lease = record_note.lease;
  if not found then
    perform audit.fail('AULSE', 'Another run works on the log.', null, 'Leave it to that run.');
  end if;
  -- What was signed first is what everybody gets, after a crash as well.
  update audit.checkpoints c set note = coalesce(c.note, record_note.note), signed_at = coalesce(c.signed_at, clock_timestamp())
  where c.log = record_note.log and c.size = record_note.size
  returning c.note into strict v_note;
  return v_note;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Keeps a signed checkpoint for who holds the lease, and answers the one that was kept first.

-- function audit.record_published(integer,bigint,uuid)
CREATE OR REPLACE FUNCTION audit.record_published(log integer, size bigint, lease uuid)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_more boolean;
begin
  update audit.checkpoints c set published_at = coalesce(c.published_at, clock_timestamp())
  where c.log = record_published.log and c.size = record_published.size;
  update audit.logs l set
    published = greatest(l.published, record_published.size),
    lease_until = case when l.lease = record_published.lease then '-infinity' else l.lease_until end
  where l.id = record_published.log and record_published.size <= l.size
  returning l.sequenced > l.published into strict v_more;
  return v_more;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes that readers get the checkpoint of a size, and ends the lease; answers whether the log has more to seal.

-- function audit.record_read_back(integer,boolean,bigint,bigint,bytea,boolean)
CREATE OR REPLACE FUNCTION audit.record_read_back(log integer, again boolean, old_size bigint, size bigint, frontier bytea, same boolean)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  update audit.readings r set
    size = record_read_back.size,
    frontier = record_read_back.frontier,
    next_at = clock_timestamp(),
    ended_at = case when record_read_back.size >= l.published then clock_timestamp() end
  from audit.logs l
  where l.id = r.log and r.log = record_read_back.log and r.again = record_read_back.again
    and r.size = record_read_back.old_size and record_read_back.size <= l.published;
  if not found then
    return false; -- another run came as far, or further
  end if;
  -- Without a gap: behind what was not the same nothing counts until that is in order, and read again.
  update audit.logs l set read_back = b.entries
  from (
    select l.id, case
      when l.closed_at is not null and record_read_back.size = l.sequenced then l.sequenced
      else record_read_back.size / 256 * 256
    end as entries
    from audit.logs l
    where l.id = record_read_back.log
  ) b
  where b.id = l.id and record_read_back.same and l.read_back < b.entries
    and l.read_back >= record_read_back.old_size / 256 * 256;
  return true;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes that a log was read from one checkpoint to another, and whether all of it was the same; false where another run was quicker.

-- function audit.record_reading(uuid,text,jsonb,text,text)
CREATE OR REPLACE FUNCTION audit.record_reading(organization_id uuid, action text, details jsonb, resource_type text DEFAULT 'audit_log'::text, resource_id text DEFAULT NULL::text)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_details jsonb := record_reading.details;
  v_query record;
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
  if v_details ? 'filter' then
    select q.* into v_query from audit.query_apart(record_reading.organization_id, v_details -> 'filter') q;
    v_details := v_details - 'filter' || jsonb_build_object('query', left(audit.format_node(v_query.node), 4000)) || case
      when v_query.personal_values <> '[]' then jsonb_build_object('values', v_query.personal_values) else '{}'
    end;
  end if;
  perform audit.record(
    record_reading.organization_id, record_reading.action, record_reading.resource_type, record_reading.resource_id, v_details
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Leaves the entry that says the log was searched, viewed or exported. A query tree as "filter" in the details is recorded as
its string, without the addresses of persons, which are committed to.

-- function audit.record_root(integer,bigint,bigint,bytea,bytea)
CREATE OR REPLACE FUNCTION audit.record_root(log integer, old_size bigint, size bigint, root bytea, frontier bytea)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_log audit.logs;
begin
  select l.* into strict v_log from audit.logs l where l.id = record_root.log for update;
  if exists (select from audit.checkpoints c where c.log = v_log.id and c.size = record_root.size and c.root = record_root.root) then
    return; -- a run before this one, or beside it, came as far
  elsif v_log.size <> record_root.old_size or v_log.sequenced < record_root.size or record_root.size <= v_log.size then
    perform audit.fail(
      'AUFRK', format('The log %s stands at %s: a root for %s after %s is refused.', v_log.origin, v_log.size, record_root.size, record_root.old_size),
      null, 'If no other run works on it, the log has two histories: verify the archive before anything else.'
    );
  end if;
  insert into audit.checkpoints (log, size, root, frontier)
  values (v_log.id, record_root.size, record_root.root, record_root.frontier);
  update audit.logs l set size = record_root.size, sealed_at = clock_timestamp() where l.id = v_log.id;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Records the root of a log at a size, once and for all; raises AUFRK for another root, or another size than the next.

-- function audit.record_rule_change(uuid,uuid,jsonb,jsonb)
CREATE OR REPLACE FUNCTION audit.record_rule_change(organization_id uuid, rule_id uuid, old jsonb, new jsonb)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  select audit.record(
    record_rule_change.organization_id, 'rule.changed', 'rule', rule_id::text,
    case
      when old is null then jsonb_build_object('new', new)
      when new is null then jsonb_build_object('old', old)
      else jsonb_build_object('changes', (
        select coalesce(jsonb_object_agg(k, jsonb_build_object('old', old -> k, 'new', new -> k)), '{}')
        from (select jsonb_object_keys(old) union select jsonb_object_keys(new)) f (k)
        where old -> k is distinct from new -> k
      ))
    end
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Leaves the entry that says how a rule was changed.

-- function audit.record_trimmed(integer,bigint)
CREATE OR REPLACE FUNCTION audit.record_trimmed(log integer, size bigint)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  update audit.logs l set trimmed = record_trimmed.size
  where l.id = record_trimmed.log and l.trimmed < record_trimmed.size and record_trimmed.size <= l.read_back
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes that the partial files of audit.superseded_files() are gone.

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
  if tg_op = 'DELETE' and current_user = 'audit_purger' then
    return old; -- audit.purge(), past their retention
  end if;
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
comment: Trigger function that refuses UPDATE, DELETE and TRUNCATE of the log to all but the purger, who may DELETE.

-- function audit.register_receivers(text[],jsonb)
CREATE OR REPLACE FUNCTION audit.register_receivers(kinds text[], receivers jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_changed record;
begin
  if not exists (
    select
    from jsonb_to_recordset(register_receivers.receivers) c (kind text, name text, all_logs boolean)
    full join (select r.* from audit.receivers r where r.kind = any (register_receivers.kinds)) r
      on r.kind = c.kind and r.name = c.name and r.all_logs = c.all_logs
    where r.id is null or c.kind is null
  ) then
    return;
  end if;

  -- Whoever publishes a checkpoint comes before, and is seen here, or after, and sees the receivers.
  lock table audit.logs in share mode;
  for v_changed in
    with configured as (
      select c.kind, c.name, c.all_logs
      from jsonb_to_recordset(register_receivers.receivers) c (kind text, name text, all_logs boolean)
    ),
    removed as (
      delete from audit.receivers r
      where r.kind = any (register_receivers.kinds)
        and not exists (select from configured c where c.kind = r.kind and c.name = r.name)
      returning r.id, r.kind, r.name, r.all_logs
    ),
    added as (
      insert into audit.receivers as r (kind, name, all_logs)
      select c.kind, c.name, c.all_logs from configured c
      on conflict on constraint one_receiver_a_name do update set all_logs = excluded.all_logs
        where r.all_logs <> excluded.all_logs
      returning r.id, r.kind, r.name, r.all_logs
    )
    select false as stays, r.* from removed r
    union all
    select true, a.* from added a
  loop
    delete from audit.receiver_logs d
    where d.receiver = v_changed.id
      and not (v_changed.stays and (v_changed.all_logs or d.log = (select l.id from audit.logs l where l.month is null)));
    insert into audit.receiver_logs (receiver, log, newest)
    select v_changed.id, l.id, l.published
    from audit.logs l
    where v_changed.stays and l.published > 0 and (v_changed.all_logs or l.month is null)
      and not (v_changed.kind = 'mirror' and l.archive_deletion_began_at is not null)
    on conflict on constraint receiver_logs_pkey do nothing;
    -- Who takes a witness away should not do it unseen.
    perform audit.record(
      audit.system_organization(), case when v_changed.stays then 'integration.configured' else 'integration.removed' end,
      'receiver', v_changed.name, jsonb_build_object('kind', v_changed.kind, 'all_logs', v_changed.all_logs)
    );
  end loop;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes who the receivers of some kinds are, as the environment of the functions has them: [{kind, name, all_logs}]. Who
is new or gone leaves an entry.

-- function audit.release_hold(uuid,text)
CREATE OR REPLACE FUNCTION audit.release_hold(organization_id uuid, name text)
 RETURNS boolean
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_hold audit.holds;
begin
  perform audit.require_admin(release_hold.organization_id);
  update audit.holds h set released_at = clock_timestamp()
  where h.organization_id = release_hold.organization_id and h.name = release_hold.name and h.released_at is null
  returning h.* into v_hold;
  if not found then
    return false;
  end if;
  perform audit.record(
    release_hold.organization_id, 'hold.released', 'hold', release_hold.name,
    jsonb_build_object('old', jsonb_build_object('reason', v_hold.reason, 'placed_at', to_jsonb(v_hold.placed_at at time zone 'utc')))
  );
  return true;
end
$function$

owner audit_purger
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Ends a legal hold: what is past its retention may go again. False if there was none. For admins of the organisation; leaves
an entry.

-- function audit.release_identities(uuid,bytea[])
CREATE OR REPLACE FUNCTION audit.release_identities(organization_id uuid, hashes bytea[])
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  update audit.identities i set check_at = clock_timestamp()
  where i.organization_id = release_identities.organization_id and i.identity_hash = any (release_identities.hashes)
    and i.check_at is null
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
comment: Has it looked whether entries still commit to identities of purged ones.

-- function audit.release_unused()
CREATE OR REPLACE FUNCTION audit.release_unused()
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  select audit.require_restoring();
  -- Personal data goes with the last entry that commits to it: of entries that were purged since, or never came back.
  delete from audit.identities i
  where not exists (
    select from public.audit_logs a where a.organization_id = i.organization_id and a.identity_hash = i.identity_hash
  );
  with named as materialized (
    select a.organization_id, decode(p #>> '{}', 'hex') as value_hash
    from public.audit_logs a
    cross join lateral jsonb_path_query(a.details, '$.**.personal ? (@ like_regex "^[0-9a-f]{64}$")') p
    where a.details::text like '%"personal"%' and exists (select from audit.personal_values)
  ),
  -- Details that were cut to fit do not name their values.
  cut as materialized (
    select distinct a.organization_id, a.resource_type, a.resource_id
    from public.audit_logs a
    where a.details::text like '%"cut"%' and exists (select from audit.personal_values)
  )
  delete from audit.personal_values v
  where not exists (select from named n where n.organization_id = v.organization_id and n.value_hash = v.value_hash)
    and not exists (
      select from cut c
      where c.organization_id = v.organization_id and c.resource_type = v.resource_type and c.resource_id is not distinct from v.resource_id
    );
$function$

owner postgres
grant postgres: EXECUTE
comment: Deletes identities and personal values of a backup that no entry commits to.

-- function audit.release_values(uuid,bytea[],timestamp with time zone,jsonb)
CREATE OR REPLACE FUNCTION audit.release_values(organization_id uuid, hashes bytea[], before timestamp with time zone, cut jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  -- A value is recorded before its entry: an entry that names the hash of a later one (who writes details chooses them)
  -- takes nothing along.
  delete from audit.personal_values v
  where v.value_hash = any (release_values.hashes) and v.organization_id = release_values.organization_id
    and v.created_at <= release_values.before;
  -- Details that were cut to fit do not name their values.
  if release_values.cut is not null then
    delete from audit.personal_values v
    using jsonb_to_recordset(release_values.cut) c (resource_type text, resource_id text, created_at timestamptz)
    where v.organization_id = release_values.organization_id and v.resource_type = c.resource_type
      and v.resource_id is not distinct from c.resource_id and v.created_at <= c.created_at;
  end if;
end
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
comment: Deletes personal values of entries that were purged: by their hashes, or by the resource where details were cut.

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

-- function audit.replay_delivery(jsonb)
CREATE OR REPLACE FUNCTION audit.replay_delivery(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_delivery audit.deliveries;
  v_channel audit.channels;
begin
  perform audit.check_request(request, array['delivery']);
  select d.* into v_delivery from audit.deliveries d where d.id = audit.as_uuid(request ->> 'delivery');
  if v_delivery.id is null then
    perform audit.fail('AUNOT', 'There is no such delivery.', null, 'GET /audit/deliveries lists them.');
  end if;
  v_channel := audit.own_channel(jsonb_build_object('channel', v_delivery.channel_id));
  if v_channel.disabled_at is not null then
    perform audit.fail('AUARG', 'The channel is disabled.', null, 'Enable it first: audit.enable_channel().');
  end if;
  update audit.deliveries d set
    state = 'waiting', attempts = 0, next_try_at = clock_timestamp(), lease_until = '-infinity', first_tried_at = null, settled_at = null
  where d.id = v_delivery.id and d.state = 'dead' and d.type <> 'channel.test'
  returning d.* into v_delivery;
  if not found then
    perform audit.fail('AUARG', 'Only what was given up is sent again.');
  end if;
  if not exists (select from audit.dead_letters l where l.channel_id = v_channel.id) then
    perform audit.resolve_channel_findings(v_channel);
  end if;
  perform audit.record(v_channel.organization_id, 'delivery.replayed', 'delivery', v_delivery.id::text,
    jsonb_build_object('channel', v_channel.id, 'type', v_delivery.type));
  return audit.delivery_json(v_delivery);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Has the dead {delivery} sent again, under its old id. For admins; leaves an entry.

-- function audit.report_count(uuid,text)
CREATE OR REPLACE FUNCTION audit.report_count(organization_id uuid, query text)
 RETURNS bigint
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_count bigint;
begin
  execute format('select count(*) %s', audit.report_source(organization_id, query)) into v_count;
  return v_count;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How many entries a query finds.

-- function audit.report_item(public.audit_logs)
CREATE OR REPLACE FUNCTION audit.report_item(entry public.audit_logs)
 RETURNS jsonb
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN jsonb_build_object('name', (((entry).chain || '-'::text) || (entry).seq), 'at', audit.instant_text((entry).created_at), 'action', (entry).action, 'outcome', (entry).outcome, 'actor', (entry).created_by, 'actor_type', (entry).actor_type, 'resource', concat_ws('/'::text, (entry).resource_type, (entry).resource_id), 'hash', encode((entry).hash, 'hex'::text))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: An entry as a report lists it.

-- function audit.report_items(uuid,text,integer)
CREATE OR REPLACE FUNCTION audit.report_items(organization_id uuid, query text, at_most integer)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_items jsonb;
begin
  execute format(
    'select coalesce(jsonb_agg(audit.report_item(i) order by i.created_at, i.chain, i.seq), ''[]'')'
      || ' from (select e.* %s order by e.created_at, e.chain, e.seq limit %s) i',
    audit.report_source(organization_id, query), at_most
  ) into v_items;
  return v_items;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The oldest entries that a query finds, as a report lists them.

-- function audit.report_json(audit.reports)
CREATE OR REPLACE FUNCTION audit.report_json(report audit.reports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
    'id', (report).id, 'organization_id', (report).organization_id, 'template', (report).template, 'title', t.title,
    'parameters', (report).parameters, 'from', audit.instant_text((report).period_from), 'to', audit.instant_text((report).period_to),
    'requested_by', (report).requested_by, 'requested_at', audit.instant_text((report).requested_at), 'schedule', (report).schedule,
    'state', (report).state, 'steps_done', (report).done, 'steps', cardinality((report).steps), 'error', (report).error,
    'generated_at', audit.instant_text((report).generated_at),
    'content_sha256', encode(sha256(convert_to((report).content, 'UTF8')), 'hex'),
    'files', case (report).state when 'done' then (report).files else '[]' end
  )
  from audit.report_templates t
  where t.template = (report).template
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A report as the API shows it.

-- function audit.report_lines(uuid,integer)
CREATE OR REPLACE FUNCTION audit.report_lines(id uuid, at_most integer DEFAULT 10000)
 RETURNS SETOF text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_report audit.reports;
begin
  select r.* into strict v_report from audit.reports r where r.id = report_lines.id;
  if v_report.template in ('incident', 'subject_access') then
    return query execute format(
      'select concat(''{"hash":"'', encode(e.hash, ''hex''), ''","entry":'', audit.entry_text(e), ''}'') %s order by e.created_at, e.chain, e.seq limit %s',
      case
        when v_report.subject is not null then audit.subject_source(v_report)
        else audit.report_source(v_report.organization_id, audit.report_query(v_report, ''))
      end,
      at_most
    );
  else
    return query
      select concat('{"hash":"', encode(a.hash, 'hex'), '","entry":', audit.entry_text(a), '}')
      from audit.report_named(v_report) n
      join public.audit_logs a
        on a.organization_id = n.organization_id and a.chain = n.chain and a.seq = n.seq and a.created_at = n.created_at
      order by a.created_at, a.chain, a.seq
      limit at_most;
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: The entries of a report's evidence pack, a line of JSON each with the exact text that was hashed.

-- function audit.report_named(audit.reports)
CREATE OR REPLACE FUNCTION audit.report_named(report audit.reports)
 RETURNS TABLE(organization_id uuid, chain integer, seq bigint, created_at timestamp with time zone)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select distinct case when (s.value ->> 'of_system')::boolean then audit.system_organization() else (report).organization_id end,
    split_part(i ->> 'name', '-', 1)::int, split_part(i ->> 'name', '-', 2)::bigint, (i ->> 'at')::timestamptz
  from jsonb_array_elements((report).sections) s
  cross join lateral (
    select jsonb_path_query(s.value, '$.items[*]') as i
    union all select jsonb_path_query(s.value, '$.sample.items[*]')
    union all select jsonb_path_query(s.value, '$.exceptions.items[*]')
  ) n
  where not (s.value ->> 'kind' = 'entries' and (report).template in ('incident', 'subject_access'))
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The entries that a report lists as evidence: samples, exceptions, changes.

-- function audit.report_period(text,text,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.report_period(unit text, time_zone text, at timestamp with time zone, OUT period_from timestamp with time zone, OUT period_to timestamp with time zone)
 RETURNS record
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case
      when unit in ('all') then timestamptz '1970-01-01 00:00:00+00'
      when unit in ('now', 'day') then date_trunc('day', at at time zone time_zone) at time zone time_zone
      else (date_trunc(unit, at at time zone time_zone) - case unit when 'quarter' then interval '3 months' else ('1 ' || unit)::interval end) at time zone time_zone
    end,
    case when unit in ('all', 'now', 'day') then at else date_trunc(unit, at at time zone time_zone) at time zone time_zone end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The last whole month, quarter or year before a time; for what has no period, up to that time.

-- function audit.report_query(audit.reports,text)
CREATE OR REPLACE FUNCTION audit.report_query(report audit.reports, query text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
RETURN concat_ws(' '::text, NULLIF(query, ''::text), CASE WHEN (((report).parameters ? 'actor'::text) AND ((report).template = 'incident'::text)) THEN ('actor:'::text || ((report).parameters ->> 'actor'::text)) ELSE NULL::text END, format('created:>=%s created:<%s'::text, audit.instant_text((report).period_from), audit.instant_text((report).period_to)))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A query with the period of a report.

-- function audit.report_sections(audit.reports,text)
CREATE OR REPLACE FUNCTION audit.report_sections(report audit.reports, section text)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case
    when section like 'control:%' then jsonb_build_array(audit.control_section(report, substr(section, 9)::int))
    when section like 'policy%' then jsonb_build_array(audit.policy_section(report, section))
    when section like 'subject%' then audit.subject_sections(report, section)
    else case section
      when 'overview' then audit.overview_sections(report)
      when 'coverage' then audit.coverage_sections(report)
      when 'retention' then jsonb_build_array(audit.retention_section(report), audit.listing_section(report, 'What was changed, held and let go of', '(action:retention.changed or action:hold.* or action:log.purged)', 200))
      when 'processing' then jsonb_build_array(audit.processing_section(report))
      when 'members' then jsonb_build_array(audit.member_section(report))
      when 'auditors' then jsonb_build_array(audit.auditor_section(report))
      when 'member_changes' then jsonb_build_array(audit.listing_section(report, 'Changes of access', '(action:member.* or action:permission.* or action:auditor.*)', 500))
      when 'cost_summary' then jsonb_build_array(audit.cost_section(report, 'Costs by provider and model', '{provider,model}', 200))
      when 'cost_days' then jsonb_build_array(audit.cost_section(report, 'Costs by day', '{day}', 400))
      when 'cost_people' then jsonb_build_array(audit.cost_section(report, 'Costs by person', '{user}', 200))
      when 'months' then jsonb_build_array(audit.month_section(report))
      when 'actors' then audit.incident_sections(report, section)
      when 'timeline' then audit.incident_sections(report, section)
      when 'checkpoints' then jsonb_build_array(audit.checkpoint_section(report))
      when 'verification' then jsonb_build_array(audit.finding_section(report))
      when 'heartbeats' then jsonb_build_array(audit.heartbeat_section(report))
    end
  end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What one step of a report gathers: a list of sections.

-- function audit.report_source(uuid,text)
CREATE OR REPLACE FUNCTION audit.report_source(organization_id uuid, query text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select audit.matching_sql(report_source.organization_id, audit.compile_query(report_source.organization_id, audit.parse_query(report_source.query)))
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: From and where of the entries e that a query finds.

-- function audit.report_status(jsonb)
CREATE OR REPLACE FUNCTION audit.report_status(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  perform audit.check_request(request, array['report']);
  return audit.shown_report(audit.find_report(audit.requested_report(request)));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How far a report is, and its files.

-- function audit.report_steps(text)
CREATE OR REPLACE FUNCTION audit.report_steps(template text)
 RETURNS text[]
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select array_agg(s.step order by u.n, s.n)
  from audit.report_templates t
  cross join lateral unnest(t.sections) with ordinality u (section, n)
  cross join lateral (
    select 'control:' || c.n as step, c.n from audit.report_controls c where u.section = 'controls' and c.template = t.template
    union all
    select u.section, 0 where u.section <> 'controls'
  ) s
  where t.template = report_steps.template
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The steps in which a report of a template is gathered.

-- function audit.report_table(text,jsonb,jsonb,text,bigint)
CREATE OR REPLACE FUNCTION audit.report_table(title text, columns jsonb, rows jsonb, note text DEFAULT NULL::text, total bigint DEFAULT NULL::bigint)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN jsonb_build_object('kind', 'table', 'title', title, 'columns', columns, 'rows', COALESCE(rows, '[]'::jsonb), 'note', note, 'total', COALESCE(total, (jsonb_array_length(COALESCE(rows, '[]'::jsonb)))::bigint))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A section that is a table. A cell is text, or {"user": id}; total is of how many rows these are.

-- function audit.report_templates_json()
CREATE OR REPLACE FUNCTION audit.report_templates_json()
 RETURNS jsonb
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  select jsonb_build_object('templates', jsonb_agg(jsonb_build_object(
    'template', t.template, 'title', t.title, 'framework', t.framework, 'about', t.about, 'period', t.period
  ) order by t.template))
  from audit.report_templates t
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What reports there are.

-- function audit.report_text(text,text[])
CREATE OR REPLACE FUNCTION audit.report_text(title text, paragraphs text[])
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN jsonb_build_object('kind', 'text', 'title', title, 'paragraphs', to_jsonb(paragraphs))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A section that is text.

-- function audit.report_to_render(uuid,integer)
CREATE OR REPLACE FUNCTION audit.report_to_render(id uuid, attempt integer)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_report audit.reports;
  v_template audit.report_templates;
  v_users uuid[];
  v_shows boolean;
begin
  select r.* into v_report from audit.reports r
  where r.id = report_to_render.id and r.state = 'running' and r.attempts = report_to_render.attempt and r.content is not null
  for update;
  if v_report.id is null then
    perform audit.fail('AULSE', 'Another run has the report, or nobody wants it any more.');
  end if;
  select t.* into v_template from audit.report_templates t where t.template = v_report.template;
  v_shows := audit.sees_identities(v_report.organization_id, v_report.requested_by, v_report.requested_by is not null);
  v_users := case when v_shows then array(
    select distinct audit.as_uuid(u #>> '{}')
    from (
      select jsonb_path_query(v_report.sections, '$.**.user') as u
      union all select jsonb_path_query(v_report.sections, '$.**.actor')
      union all select to_jsonb(v_report.requested_by)
    ) u
    where jsonb_typeof(u) = 'string'
  ) end;
  -- Noted before they are shown: whoever is erased from here on has the files made again.
  update audit.reports r set names = coalesce(v_users, '{}') where r.id = v_report.id;
  return jsonb_build_object(
    'content', v_report.content, 'content_sha256', encode(sha256(convert_to(v_report.content, 'UTF8')), 'hex'),
    'report', jsonb_build_object(
      'id', v_report.id, 'title', v_template.title, 'framework', v_template.framework, 'about', v_template.about,
      'organization_id', v_report.organization_id, 'organization', audit.organization_name(v_report.organization_id),
      'requested_by', v_report.requested_by, 'requested_at', audit.instant_text(v_report.requested_at),
      'scheduled', v_report.schedule is not null, 'generated_at', audit.instant_text(clock_timestamp())
    ),
    'people', coalesce((
      select jsonb_agg(jsonb_build_object('user_id', p.user_id, 'email', p.email) order by p.user_id)
      from (
        select distinct on (i.user_id) i.user_id, i.email from audit.identities i
        where i.user_id = any (v_users) and i.organization_id = v_report.organization_id and i.email is not null
        order by i.user_id, i.created_at desc
      ) p
    ), '[]'),
    'integrity', audit.integrity_evidence(v_report),
    'places', coalesce((
      select jsonb_agg(jsonb_build_object('name', n.chain || '-' || n.seq, 'system', n.organization_id <> v_report.organization_id, 'hash', encode(a.hash, 'hex'), 'entry_text', audit.entry_text(a))
        || (p.place - 'checkpoint') || jsonb_build_object('checkpoint', p.place ->> 'checkpoint') order by n.created_at, n.chain, n.seq)
      from (select n.* from audit.report_named(v_report) n order by n.created_at, n.chain, n.seq limit 400) n
      join public.audit_logs a
        on a.organization_id = n.organization_id and a.chain = n.chain and a.seq = n.seq and a.created_at = n.created_at
      cross join lateral (select audit.place_in_log(n.organization_id, n.chain, n.seq) as place) p
      where p.place is not null
    ), '[]')
  );
end
$function$

owner postgres
grant postgres: EXECUTE
comment: What the files of a report are made of: content, who the people in it are, how the log stands, and where the listed entries
stand in their logs. For audit-jobs.

-- function audit.reported_context(uuid,text,text,text,text,text)
CREATE OR REPLACE FUNCTION audit.reported_context(user_id uuid, actor_type text, email text, ip_address text, user_agent text, request_id text)
 RETURNS audit.statement_context
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN ROW(user_id, COALESCE(actor_type, 'user'::text), "left"(email, 320), audit.normalized_ip(ip_address), audit.masked_text("left"(user_agent, 500)), audit.masked_text("left"(request_id, 200)), NULL::integer, NULL::jsonb)::audit.statement_context

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Who acted in an event that somebody reports and in which request, within the bounds that entries have.

-- function audit.request_erasure(jsonb)
CREATE OR REPLACE FUNCTION audit.request_erasure(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  perform audit.check_request(request, array['organization_id', 'subject', 'ground', 'reason', 'dry_run']);
  if coalesce(request ->> 'dry_run', 'true') not in ('true', 'false') then
    perform audit.fail('AUARG', 'dry_run is true or false.');
  end if;
  return audit.erase_subject(
    audit.requested_organization(request), request ->> 'subject', request ->> 'ground', request ->> 'reason',
    coalesce((request ->> 'dry_run')::boolean, true)
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: audit.erase_subject() as a request.

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

-- function audit.request_report(jsonb)
CREATE OR REPLACE FUNCTION audit.request_report(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_report audit.reports;
  v_template audit.report_templates;
  v_entry public.audit_logs;
  v_at timestamptz;
  v_minutes int;
  v_subject audit.subject;
begin
  perform audit.check_request(request, array['organization_id', 'template', 'from', 'to', 'subject', 'entry', 'actor', 'at', 'minutes']);
  v_report.organization_id := audit.requested_organization(request);
  if audit.reach(v_report.organization_id) is distinct from 'all' then
    perform audit.fail('AUDEN', 'Reports are for admins and auditors of the organisation.');
  end if;
  select t.* into v_template from audit.report_templates t where t.template = request ->> 'template';
  if v_template.template is null then
    perform audit.fail('AUARG', format('There is no report "%s".', left(request ->> 'template', 50)), null,
      'Reports are ' || (select string_agg(t.template, ', ' order by t.template) from audit.report_templates t) || '.');
  elsif v_template.template <> 'incident' and request ?| array['entry', 'actor', 'at', 'minutes']
    or v_template.template <> 'subject_access' and request ? 'subject'
  then
    perform audit.fail('AUARG', 'This report takes no such field.', null, 'entry, actor, at and minutes are of incident, subject is of subject_access.');
  end if;
  v_report.template := v_template.template;
  v_report.requested_by := auth.uid();
  v_report.parameters := '{}';
  v_report.period_from := audit.requested_instant(request, 'from');
  v_report.period_to := audit.requested_instant(request, 'to');

  if v_template.template = 'subject_access' then
    perform audit.require_admin(v_report.organization_id);
    v_subject := audit.find_subject(v_report.organization_id, request ->> 'subject');
    if (v_subject).user_id is null then
      perform audit.fail('AUNOT', 'No user of this address is known in the organisation''s log.', null, 'Name the person by user id.');
    end if;
    v_report.subject := (v_subject).user_id;
    v_report.parameters := jsonb_build_object('subject', v_report.subject);
  elsif v_template.template = 'incident' then
    if coalesce(request ->> 'minutes', '60') !~ '^\d{1,5}$' or coalesce(request ->> 'minutes', '60')::int not between 1 and 10080 then
      perform audit.fail('AUARG', 'minutes is a whole number from 1 to 10,080, a week: so much before and after.');
    end if;
    v_minutes := coalesce(request ->> 'minutes', '60')::int;
    v_at := audit.requested_instant(request, 'at');
    if request ? 'entry' then
      v_entry := audit.find_entry(v_report.organization_id, request ->> 'entry');
      v_at := v_entry.created_at;
      v_report.parameters := jsonb_build_object('entry', request ->> 'entry');
    end if;
    if request ? 'actor' then
      if audit.as_uuid(request ->> 'actor') is null then
        perform audit.fail('AUARG', 'actor is a user id.');
      end if;
      v_report.parameters := v_report.parameters || jsonb_build_object('actor', audit.as_uuid(request ->> 'actor'));
    end if;
    if v_at is not null then
      v_report.period_from := coalesce(v_report.period_from, v_at - make_interval(mins => v_minutes));
      v_report.period_to := coalesce(v_report.period_to, least(v_at + make_interval(mins => v_minutes), clock_timestamp()));
    elsif v_report.period_from is null then
      perform audit.fail('AUARG', 'An incident file is around an entry, a time (at), or within a period (from, to).');
    end if;
  end if;
  if v_report.period_from is null then
    if v_report.period_to is not null then
      perform audit.fail('AUARG', 'A period has a beginning: from.');
    end if;
    select p.* into v_report.period_from, v_report.period_to from audit.report_period(v_template.period, 'UTC', clock_timestamp()) p;
  end if;
  v_report.period_to := coalesce(v_report.period_to, clock_timestamp());
  if v_report.period_from >= v_report.period_to then
    perform audit.fail('AUARG', 'The period is empty: it begins when or after it ends.');
  elsif v_report.period_to > clock_timestamp() then
    perform audit.fail('AUARG', 'The period ends in the future.', null, 'What has not happened cannot be reported: end it today at the latest.');
  elsif v_report.period_from < timestamptz '1970-01-01 00:00:00+00' then
    perform audit.fail('AUARG', 'The period begins before 1970.');
  end if;
  v_report.id := audit.add_report(v_report);
  if v_report.subject is not null then
    perform audit.record(v_report.organization_id, 'subject.accessed', 'user', v_report.subject::text, jsonb_build_object('report', v_report.id));
  end if;
  return audit.report_status(jsonb_build_object('report', v_report.id));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Asks for a report: {"template", "organization_id", "from", "to"}, for admins and auditors. Without a period, the last whole
one. incident takes entry, actor, at and minutes; subject_access takes subject, and is for admins.

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

-- function audit.requested_instant(jsonb,text)
CREATE OR REPLACE FUNCTION audit.requested_instant(request jsonb, name text)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
 SET "TimeZone" TO 'UTC'
AS $function$
begin
  if coalesce(request ->> name, '') !~ '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d{1,6})?)?(Z|[+-]\d\d(:?\d\d)?)?)?$' then
    if request ->> name is null then
      return null;
    end if;
    raise invalid_datetime_format;
  end if;
  return (request ->> name)::timestamptz;
exception when invalid_datetime_format or datetime_field_overflow then
  perform audit.fail('AUARG', format('"%s" is no date and no time.', name), null, 'Write 2026-03-01 or 2026-03-01T12:00:00Z.');
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A date (its beginning, UTC) or time of a request; null where it is left out.

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

-- function audit.requested_report(jsonb)
CREATE OR REPLACE FUNCTION audit.requested_report(request jsonb)
 RETURNS uuid
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if audit.as_uuid(request ->> 'report') is null then
    perform audit.fail('AUARG', 'report is the UUID of a report.');
  end if;
  return (request ->> 'report')::uuid;
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The id of the report that a request is about.

-- function audit.requested_rule(jsonb,uuid)
CREATE OR REPLACE FUNCTION audit.requested_rule(request jsonb, organization_id uuid)
 RETURNS audit.rules
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_rule audit.rules;
begin
  if (request ? 'rule') = (request ? 'id') then
    perform audit.fail('AUARG', 'Pass either the id of a rule or a rule.');
  elsif request ? 'rule' then
    v_rule := audit.checked_rule(request -> 'rule');
  else
    select t.* into v_rule from audit.rules r cross join lateral audit.rule_for(r.id, requested_rule.organization_id) t
    where r.id = audit.as_uuid(request ->> 'id') and r.organization_id in (audit.system_organization(), requested_rule.organization_id);
    if not found then
      perform audit.fail('AUNOT', 'There is no such rule.', null, 'audit.list_rules() lists them.');
    end if;
  end if;
  if v_rule.compiled is null then
    perform audit.fail_rule(format('A rule of kind %s looks at no single entry.', v_rule.kind), 'Others can be tried.');
  end if;
  v_rule.id := gen_random_uuid();
  return v_rule;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The rule of a request, by its id or as it is, to be tried.

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
grant audit_purger: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises AUDEN unless the caller administers the organisation.

-- function audit.require_reach(uuid)
CREATE OR REPLACE FUNCTION audit.require_reach(organization_id uuid)
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if audit.reach(require_reach.organization_id) is distinct from 'all' then
    perform audit.fail('AUDEN', 'Rules and alerts are for those who read all of the organisation''s log.', null,
      'They are its admins and auditors.');
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises AUDEN unless the caller reads all of the organisation's log.

-- function audit.require_restoring()
CREATE OR REPLACE FUNCTION audit.require_restoring()
 RETURNS void
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
begin
  if not exists (select from audit.restores r where r.ended_at is null and r.transaction_id = pg_current_xact_id_if_assigned()) then
    perform audit.fail('AURST', 'No restore is under way.', null, 'npm run restore puts a log back into an empty database.');
  end if;
end
$function$

owner postgres
grant audit_purger: EXECUTE
grant audit_writer: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Raises AURST outside of a transaction that audit.begin_restore() began.

-- function audit.resolve_alert(uuid,timestamp with time zone,text)
CREATE OR REPLACE FUNCTION audit.resolve_alert(alert_id uuid, at timestamp with time zone, why text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  update audit.alerts a set state = 'resolved', resolved_at = resolve_alert.at, silenced_until = null
  where a.id = resolve_alert.alert_id and a.state <> 'resolved';
  if not found then
    return false;
  end if;
  perform audit.move_alert(resolve_alert.alert_id, 'resolved', jsonb_build_object('why', resolve_alert.why));
  return true;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Says that an alert is over, and why; false if it was already.

-- function audit.resolve_alerts_of(uuid)
CREATE OR REPLACE FUNCTION audit.resolve_alerts_of(rule_id uuid)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  select audit.resolve_alert(a.id, clock_timestamp(), 'rule deleted')
  from audit.alerts a
  where a.rule_id = resolve_alerts_of.rule_id and a.state <> 'resolved'
$function$

owner postgres
grant postgres: EXECUTE
comment: Says that all alerts of a rule are over.

-- function audit.resolve_channel_findings(audit.channels)
CREATE OR REPLACE FUNCTION audit.resolve_channel_findings(channel audit.channels)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  select audit.resolve_finding((channel).organization_id, kind, (channel).id::text)
  from unnest(array['delivery_failed', 'channel_disabled']) kind
$function$

owner postgres
grant postgres: EXECUTE
comment: Closes what was found wrong with a channel.

-- function audit.resolve_finding(uuid,text,text)
CREATE OR REPLACE FUNCTION audit.resolve_finding(organization_id uuid, kind text, subject text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  update audit.findings f set resolved_at = clock_timestamp()
  where f.organization_id = resolve_finding.organization_id and f.kind = resolve_finding.kind
    and f.subject = resolve_finding.subject and f.resolved_at is null;
  return found;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Closes a finding that is in order again; answers whether it was open. Seen again, it is a new one.

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

-- function audit.restore_anchor_entries(bigint,text[])
CREATE OR REPLACE FUNCTION audit.restore_anchor_entries(first_index bigint, entries text[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  perform audit.require_restoring();
  insert into audit.anchor_entries (index, log, size, entry)
  select restore_anchor_entries.first_index + e.n - 1, (
    select l.id from audit.logs l where l.origin = split_part(e.entry, E'\n', 1)
  ), split_part(e.entry, E'\n', 2)::bigint, e.entry
  from unnest(restore_anchor_entries.entries) with ordinality e (entry, n);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Puts entries of the anchor log back, from an index on.

-- function audit.restore_entries(text[])
CREATE OR REPLACE FUNCTION audit.restore_entries(entries text[])
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_kept bigint;
begin
  perform audit.require_restoring();
  with parsed as materialized (
    select p.* from audit.parsed_entries(restore_entries.entries) p
  ),
  kept as (
    insert into public.audit_logs
    select p.* from parsed p
    where p.hash = audit.hash_of(audit.entry_text(
      p.organization_id, p.chain, p.seq, p.created_at, p.action, p.outcome, p.resource_type, p.resource_id, p.created_by,
      p.actor_type, p.identity_hash, p.provider, p.cost, p.request_id, p.details, p.prev_hash
    ))
    returning 1
  )
  select count(*) into v_kept from kept;
  if v_kept <> cardinality(restore_entries.entries) then
    perform audit.fail('AUARG', format('Of %s entries, %s are not as the writer writes them.', cardinality(restore_entries.entries), cardinality(restore_entries.entries) - v_kept));
  end if;
end
$function$

owner audit_writer
grant postgres: EXECUTE
comment: Puts entries back into the log, by their texts; each must make the same text, and so the same hash, again.

-- function audit.restore_heads(jsonb)
CREATE OR REPLACE FUNCTION audit.restore_heads(heads jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  perform audit.require_restoring();
  -- Chains that only installing had written are as before their first entry.
  update audit.heads h set
    seq = 0, last_at = '-infinity', prev_hash = ''::bytea, hash = audit.first_prev_hash(h.organization_id, h.chain)
  where true;
  insert into audit.heads as h (organization_id, chain, seq, last_at, prev_hash, hash)
  select r.organization_id, r.chain, r.seq, r.last_at, decode(r.prev_hash, 'hex'), decode(r.hash, 'hex')
  from jsonb_to_recordset(restore_heads.heads)
    r (organization_id uuid, chain int, seq bigint, last_at timestamptz, prev_hash text, hash text)
  on conflict on constraint heads_pkey do update set
    seq = excluded.seq, last_at = excluded.last_at, prev_hash = excluded.prev_hash, hash = excluded.hash;
end
$function$

owner audit_writer
grant postgres: EXECUTE
comment: Sets the heads of all chains; chains that are not named are as before their first entry.

-- function audit.restore_kept_rows(text,jsonb)
CREATE OR REPLACE FUNCTION audit.restore_kept_rows(section text, rows jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
begin
  perform audit.require_restoring();
  if section not in ('restores', 'retention_periods', 'holds', 'chain_bounds', 'purges') then
    perform audit.fail('AUARG', format('%s is no section of the purger''s.', section));
  end if;
  perform audit.load_rows(section, rows);
end
$function$

owner audit_purger
grant postgres: EXECUTE
comment: What audit.restore_rows() does with tables of the purger's.

-- function audit.restore_log(jsonb)
CREATE OR REPLACE FUNCTION audit.restore_log(log jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_log int;
begin
  perform audit.require_restoring();
  insert into audit.logs (
    organization_id, month, origin, sequenced, size, published, first_at, last_at, opened_at, sealed_at, closed_at, read_back,
    archive_deletion_began_at, archive_deleted_at
  )
  select r.organization_id, r.month, r.origin, r.size, r.size, r.size, r.first_at, r.last_at, coalesce(r.opened_at, clock_timestamp()),
    r.sealed_at, r.closed_at, r.read_back, r.archive_deletion_began_at, r.archive_deleted_at
  from jsonb_to_record(restore_log.log) r (
    organization_id uuid, month date, origin text, size bigint, first_at timestamptz, last_at timestamptz, opened_at timestamptz,
    sealed_at timestamptz, closed_at timestamptz, read_back bigint, archive_deletion_began_at timestamptz, archive_deleted_at timestamptz
  )
  returning id into v_log;
  insert into audit.log_ranges (log, start, organization_id, chain, from_seq, to_seq)
  select v_log, (r ->> 0)::bigint, (restore_log.log ->> 'organization_id')::uuid, (r ->> 1)::int, (r ->> 2)::bigint, (r ->> 3)::bigint
  from jsonb_array_elements(restore_log.log -> 'ranges') r;
  with kept as (
    insert into audit.checkpoints (log, size, root, frontier, note, recorded_at, signed_at, published_at)
    select v_log, c.size, decode(c.root, 'hex'), decode(c.frontier, 'hex'), c.note, coalesce(c.recorded_at, clock_timestamp()),
      coalesce(c.signed_at, clock_timestamp()), coalesce(c.published_at, clock_timestamp())
    from jsonb_to_recordset(restore_log.log -> 'checkpoints') c (
      size bigint, root text, frontier text, note text, recorded_at timestamptz, signed_at timestamptz, published_at timestamptz
    )
  )
  insert into audit.cosigned_checkpoints (log, size, cosigned_at)
  select v_log, c.size, c.cosigned_at
  from jsonb_to_recordset(restore_log.log -> 'checkpoints') c (size bigint, cosigned_at timestamptz)
  where c.cosigned_at is not null;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Puts a log back as the archive has it: what it is called, how far it is, which entries stand where, its checkpoints.

-- function audit.restore_membership(text)
CREATE OR REPLACE FUNCTION audit.restore_membership(source text)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  perform audit.require_restoring();
  execute format(
    $f$
      create or replace function audit.memberships(user_id uuid)
        returns table (organization_id uuid, role text)
        language sql stable rows 10 security definer -- callers need not see the membership table
        set search_path = ''
      as %L
    $f$, restore_membership.source
  );
  return true;
exception when undefined_table or undefined_column then
  return false; -- the application is not there yet
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Makes audit.memberships() what audit.use_membership() had made it; false where the table is not there.

-- function audit.restore_rows(text,jsonb)
CREATE OR REPLACE FUNCTION audit.restore_rows(section text, rows jsonb)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  perform audit.require_restoring();
  case
    when section in ('restores', 'retention_periods', 'holds', 'chain_bounds', 'purges') then
      perform audit.restore_kept_rows(section, rows);
    when section in (
      'auditors', 'receivers', 'findings', 'backups', 'identities', 'personal_values', 'erasures', 'reports', 'rules', 'rule_choices', 'rule_tests', 'alerts',
      'rule_runs', 'rule_values', 'active_hours', 'budgets_known', 'spending', 'budget_crossings'
    ) then
      perform audit.load_rows(section, rows);
    -- Installing has made some of its own.
    when section in ('settings', 'report_schedules') then
      execute format('delete from audit.%I', section);
      perform audit.load_rows(section, rows);
    when section = 'receiver_logs' then
      insert into audit.receiver_logs (receiver, log, size, copied, delivered_at, next_try_at, last_error)
      select r.id, l.id, d.size, d.copied, d.delivered_at, d.next_try_at, d.last_error
      from jsonb_to_recordset(rows) d (
        kind text, name text, origin text, size bigint, copied bigint, delivered_at timestamptz, next_try_at timestamptz, last_error text
      )
      join audit.receivers r on r.kind = d.kind and r.name = d.name
      join audit.logs l on l.origin = d.origin;
    else
      perform audit.fail('AUARG', format('Rows of %s are not restored by themselves.', section));
  end case;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Puts rows of a backup back into their table, as audit.backup_sections() took them.

-- function audit.restore_sequenced(jsonb)
CREATE OR REPLACE FUNCTION audit.restore_sequenced(chains jsonb)
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  select audit.require_restoring();
  insert into audit.sequenced (organization_id, chain, seq, last_at)
  select r.organization_id, r.chain, r.seq, r.last_at
  from jsonb_to_recordset(restore_sequenced.chains) r (organization_id uuid, chain int, seq bigint, last_at timestamptz)
$function$

owner postgres
grant postgres: EXECUTE
comment: Sets how far each chain has its indexes.

-- function audit.retention_of(uuid)
CREATE OR REPLACE FUNCTION audit.retention_of(organization_id uuid, OUT database_days integer, OUT archive_days integer)
 RETURNS record
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case when p.effective_at <= clock_timestamp() then p.database_days else p.database_days_before end,
    case when p.effective_at <= clock_timestamp() then p.archive_days else p.archive_days_before end
  from audit.retention_periods p
  where p.organization_id in (retention_of.organization_id, audit.system_organization())
  order by p.organization_id = audit.system_organization()
  limit 1
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The periods in force for an organisation: its own, else the project's; null for unlimited.

-- function audit.retention_section(audit.reports)
CREATE OR REPLACE FUNCTION audit.retention_section(report audit.reports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select audit.report_table(
    'Retention', '[{"title": "What", "width": 2}, {"title": "In force", "width": 4}]',
    jsonb_build_array(
      jsonb_build_array('Entries in the database', coalesce(t.database_days || ' days', 'for ever: nobody has set a period')),
      jsonb_build_array('Entries in the archive', coalesce(t.archive_days || ' days', 'for ever')),
      jsonb_build_array('Backups of the log', format('%s days', audit.setting('backup_days'))),
      jsonb_build_array('A shorter period waits', format('%s days before it applies', audit.setting('shorten_retention_after', (report).organization_id))),
      jsonb_build_array('Legal holds', coalesce((select string_agg(h ->> 'name', ', ') from jsonb_array_elements(audit.holds_on((report).organization_id)) h), 'none'))
    ),
    case when (report).template = 'hipaa' and t.archive_days < 2190 then 'The archive is kept for less than six years.'
      when (report).template = 'pci_dss' and (t.database_days < 90 or t.archive_days < 365) then 'The log is kept for less than twelve months, or less than three at once available.' end
  )
  from audit.retention_of((report).organization_id) t
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How long entries are kept, and what holds them.

-- function audit.retention_status()
CREATE OR REPLACE FUNCTION audit.retention_status()
 RETURNS TABLE(organization_id uuid, database_days integer, archive_days integer, chosen boolean, next_database_days integer, next_archive_days integer, next_at timestamp with time zone, holds text[], oldest_in_database timestamp with time zone, oldest_in_archive timestamp with time zone, archived_before timestamp with time zone)
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  select o.organization_id, t.database_days, t.archive_days, coalesce(p.organization_id = o.organization_id, false),
    case when p.effective_at > clock_timestamp() then p.database_days end,
    case when p.effective_at > clock_timestamp() then p.archive_days end,
    case when p.effective_at > clock_timestamp() then p.effective_at end,
    array(
      select h.name from audit.holds h
      where h.organization_id in (o.organization_id, audit.system_organization()) and h.released_at is null
      order by h.placed_at
    ),
    (select a.created_at from public.audit_logs a where a.organization_id = o.organization_id order by a.created_at limit 1),
    (
      select min(l.first_at) from audit.logs l
      where l.organization_id = o.organization_id and l.published > 0 and l.archive_deletion_began_at is null
    ),
    audit.archived_before(o.organization_id)
  from (
    select h.organization_id from audit.heads h
    union
    select r.organization_id from audit.retention_periods r
  ) o
  cross join lateral audit.retention_of(o.organization_id) t
  left join lateral (
    select r.* from audit.retention_periods r
    where r.organization_id in (o.organization_id, audit.system_organization())
    order by r.organization_id = audit.system_organization()
    limit 1
  ) p on true
  where audit.reach(o.organization_id) = 'all'
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What the view audit.retention shows.

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

-- function audit.rotate_channel_secret(jsonb)
CREATE OR REPLACE FUNCTION audit.rotate_channel_secret(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_channel audit.channels := audit.own_channel(request, array['channel']);
  v_secret text := audit.new_webhook_secret();
begin
  if v_channel.kind <> 'webhook' then
    perform audit.fail('AUARG', 'Only webhooks have a secret that is made here.', null, 'Change the channel and give its new secret.');
  end if;
  perform audit.keep_secret(v_channel.secret_id, v_secret || ' ' || split_part(audit.kept_secret(v_channel.secret_id), ' ', 1));
  update audit.channels c set old_secret_until = clock_timestamp() + interval '24 hours'
  where c.id = v_channel.id
  returning c.* into v_channel;
  perform audit.record(v_channel.organization_id, 'channel.changed', 'channel', v_channel.id::text, jsonb_build_object(
    'settings', jsonb_build_array('secret'), 'old_secret_until', audit.instant_text(v_channel.old_secret_until)
  ));
  return audit.channel_json(v_channel, true) || jsonb_build_object('secret', v_secret);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Gives the webhook {channel} a new signing secret, which the answer has, once. For 24 hours messages are signed with the
old one too. For admins; leaves an entry.

-- function audit.rotate_event_source(text,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.rotate_event_source(name text, old_secret_until timestamp with time zone DEFAULT (clock_timestamp() + '1 day'::interval))
 RETURNS text
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_secret text := audit.new_source_secret();
  v_source audit.event_sources;
begin
  update audit.event_sources s
  set previous_hash = s.secret_hash, previous_until = rotate_event_source.old_secret_until,
    secret_hash = sha256(convert_to(v_secret, 'UTF8'))
  where s.name = rotate_event_source.name and s.secret_hash is not null
  returning s.* into v_source;
  if v_source.id is null then
    perform audit.fail('AUNOT', format('There is no source %L with a secret.', name), null, 'audit.event_sources lists them.');
  end if;
  perform audit.keep_source_secret(v_source.id, v_secret);
  perform audit.record(
    v_source.organization_id, 'capture.changed', 'event_source', v_source.name,
    jsonb_build_object('rotated', true, 'old_secret_until', to_jsonb(old_secret_until at time zone 'utc'))
  );
  return v_secret;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Gives a source a new secret and returns it; the one before is taken until the time given, by default for a day.

-- function audit.rule_condition(jsonb)
CREATE OR REPLACE FUNCTION audit.rule_condition(tree jsonb)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_field text := tree ->> 'field';
  v_values text[] := case jsonb_typeof(tree -> 'value')
    when 'array' then array(select lower(v.value) from jsonb_array_elements_text(tree -> 'value') v (value))
    when 'string' then array[lower(tree ->> 'value')]
  end;
  v_users uuid[];
  v_test text;
begin
  if tree ?| array['and', 'or'] then
    return coalesce((
      select '(' || string_agg(audit.rule_condition(e.value), case when tree ? 'and' then ' and ' else ' or ' end
        -- The action first: it tells most entries from most rules.
        order by e.value ->> 'field' is distinct from 'action', e.value ? 'text', e.n) || ')'
      from jsonb_array_elements(coalesce(tree -> 'and', tree -> 'or')) with ordinality e (value, n)
    ), 'true');
  elsif tree ? 'not' then
    return format('(%s) is not true', audit.rule_condition(tree -> 'not'));
  elsif v_field in ('email', 'ip', 'user_agent', 'actor') and not (v_field = 'actor' and tree ->> 'op' = 'exists') then
    select array_agg(audit.as_uuid(v)) filter (where audit.as_uuid(v) is not null) into v_users from unnest(v_values) v;
    v_test := format('i.%I', case v_field when 'ip' then 'ip_address' when 'user_agent' then 'user_agent' else 'email' end);
    v_test := case tree ->> 'op'
      when 'exists' then v_test || ' is not null'
      when 'like' then format('lower(%s) like %L', v_test, audit.pattern_like(v_values[1]))
      else format('lower(%s) = any (%L::text[])', v_test, v_values)
    end;
    return format('exists (select from audit.identities i where i.identity_hash = e.identity_hash and %s)', v_test)
      || case when v_field = 'actor' and v_users is not null then format(' or e.created_by = any (%L::uuid[])', v_users) else '' end;
  elsif tree ? 'text' then
    -- Taking an entry apart into words is dear, so its longest word must be in it at all.
    select w into v_test from unnest(audit.search_words(tree ->> 'text')) w order by length(w) desc limit 1;
    return format('(strpos(lower(audit.search_text(e) collate "und-x-icu"), %L) > 0 and %s)', v_test,
      (audit.compile_leaf(audit.system_organization(), tree)).condition);
  end if;
  return '(' || (audit.compile_leaf(audit.system_organization(), tree)).condition || ')';
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The SQL of a rule's canonical query tree, for an entry e of any organisation.

-- function audit.rule_expressions(uuid[])
CREATE OR REPLACE FUNCTION audit.rule_expressions(rules uuid[])
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select string_agg(replace(r.compiled, '$rule$', quote_literal(r.id) || '::uuid'), ', ' order by r.id)
  from audit.rules r
  where r.id = any (rules) and r.compiled is not null
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The expressions of rules, to be evaluated together.

-- function audit.rule_field_sql(text)
CREATE OR REPLACE FUNCTION audit.rule_field_sql(field text)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case
    when field in ('action', 'outcome', 'resource_type', 'resource_id', 'provider', 'actor_type', 'request_id')
      then format('e.%I', field)
    when field = 'actor' then 'coalesce(e.created_by::text, audit.same_email(e.identity_hash))'
    when field = 'resource' then 'concat_ws(''/'', e.resource_type, e.resource_id)'
    when field = 'email' then 'audit.same_email(e.identity_hash)'
    when field = 'ip' then 'audit.same_ip(e.identity_hash)'
    when field = 'country' then 'audit.country_of(e.identity_hash)'
    when audit.query_path(field) is not null and length(field) <= 500
      then format('audit.bounded(e.details #>> %L, 300)', audit.query_path(field))
  end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The SQL of a field that rules group by; null for what is none.

-- function audit.rule_fields()
CREATE OR REPLACE FUNCTION audit.rule_fields()
 RETURNS TABLE(field text, kinds text[], required_of text[])
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  values
    ('match', array['event', 'count', 'distinct', 'sum', 'sequence', 'new_value'], array['event', 'count', 'distinct', 'sequence', 'new_value']),
    ('group_by', array['event', 'count', 'distinct', 'sum', 'sequence', 'new_value'], '{}'),
    ('window', array['count', 'distinct', 'sum', 'sequence'], array['count', 'distinct', 'sequence']),
    ('threshold', array['count', 'distinct', 'sum', 'sequence'], array['count', 'distinct']),
    ('hours', array['event', 'count'], '{}'),
    ('value', array['distinct', 'sum', 'new_value'], array['distinct', 'new_value']),
    ('against', array['sum'], '{}'),
    ('percent', array['sum'], '{}'),
    ('then', array['sequence'], array['sequence']),
    ('history', array['new_value'], '{}'),
    ('warm_up', array['new_value'], '{}'),
    ('allowed', array['new_value'], '{}'),
    ('check', array['schedule'], '{}'),
    ('digest', array['schedule'], '{}'),
    ('limit', array['schedule'], '{}'),
    ('weekday', array['schedule'], '{}'),
    ('hour', array['schedule'], '{}'),
    ('parameters', array['anomaly'], '{}')
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The fields of rules, which kinds have each, and which need it.

-- function audit.rule_for(uuid,uuid)
CREATE OR REPLACE FUNCTION audit.rule_for(rule_id uuid, organization_id uuid)
 RETURNS audit.rules
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select t.*
  from audit.rules r
  left join audit.rule_choices c on c.rule_id = r.id and c.organization_id = rule_for.organization_id
  cross join lateral audit.tuned_rule(r, c.choice) t
  where r.id = rule_for.rule_id
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A rule as it holds for an organisation.

-- function audit.rule_guard(jsonb)
CREATE OR REPLACE FUNCTION audit.rule_guard(tree jsonb)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select case
    when exists (
      select from jsonb_path_query(tree, 'strict $.** ? (@.field == "action")') l
      cross join lateral jsonb_path_query(l, 'lax $.value[*]') v
      where l ->> 'op' in ('eq', 'in', 'like') and v #>> '{}' like 'alert.%'
    ) then 'e.details ->> ''about'' is distinct from ''alerts'''
    else 'e.action not like ''alert.%'''
  end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The condition that keeps a rule from alerts about alerts.

-- function audit.rule_json(audit.rules)
CREATE OR REPLACE FUNCTION audit.rule_json(rule audit.rules)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select jsonb_build_object(
      'id', (rule).id, 'organization_id', (rule).organization_id, 'default', (rule).organization_id = audit.system_organization(),
      'name', (rule).name, 'description', (rule).description, 'version', (rule).version, 'kind', (rule).kind,
      'severity', (rule).severity, 'enabled', (rule).enabled, 'quiet_period', audit.duration_text((rule).quiet_period),
      'channels', (rule).channels, 'changed_at', audit.instant_text((rule).changed_at)
    )
    || case when (rule).kind in ('schedule', 'anomaly') then '{}' else jsonb_build_object('match', audit.format_query((rule).match)) end
    || (rule).settings
    || case when (rule).settings ? 'then' then jsonb_build_object('then', audit.format_query((rule).settings -> 'then')) else '{}' end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A rule as the API shows it; audit.checked_rule() takes it back.

-- function audit.rule_summary(audit.rules)
CREATE OR REPLACE FUNCTION audit.rule_summary(rule audit.rules)
 RETURNS jsonb
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select audit.rule_json(rule) - array['id', 'organization_id', 'default', 'changed_at']
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A rule as entries about it tell it.

-- function audit.rule_to_change(text)
CREATE OR REPLACE FUNCTION audit.rule_to_change(rule_id text)
 RETURNS audit.rules
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_rule audit.rules;
begin
  select r.* into v_rule from audit.rules r where r.id = audit.as_uuid(rule_to_change.rule_id) for update;
  if not found then
    perform audit.fail('AUNOT', 'There is no such rule.', null, 'audit.list_rules() lists them.');
  end if;
  perform audit.require_admin(v_rule.organization_id);
  return v_rule;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The rule of an id, locked; raises AUNOT or AUDEN.

-- function audit.rule_tree(jsonb,text)
CREATE OR REPLACE FUNCTION audit.rule_tree(value jsonb, field text)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_tree jsonb;
  v_text text;
begin
  if jsonb_typeof(value) = 'string' then
    v_tree := audit.parse_query(value #>> '{}');
  elsif jsonb_typeof(value) = 'object' then
    v_tree := audit.canonical_query(value);
  else
    perform audit.fail_rule(format('"%s" is a query: a string or a tree.', field), 'For example "action:api_key.*".');
  end if;
  v_text := v_tree::text;
  if exists (
    select from jsonb_path_query(v_tree, 'strict $.**.field') f where f #>> '{}' in ('created', 'chain', 'seq')
  ) then
    perform audit.fail_rule(format('"%s" looks at entries as they come: created, chain and seq have no place in it.', field),
      'How long back is looked is said by "window" and "history".');
  elsif (length(v_text) - length(replace(v_text, '"field"', ''))) / 7 > 50 or (length(v_text) - length(replace(v_text, '"text"', ''))) / 6 > 3 then
    perform audit.fail_rule(format('"%s" has at most 50 comparisons and 3 texts.', field));
  end if;
  return v_tree;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The canonical tree of a rule's query; raises AUQRY or AURUL.

-- function audit.rules_in_force(uuid[])
CREATE OR REPLACE FUNCTION audit.rules_in_force(organizations uuid[])
 RETURNS SETOF audit.rule_in_force
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select t.id, o.id, t.organization_id <> audit.system_organization(), t.kind, t.settings, t.quiet_period, s.slot,
    case
      when t.kind in ('count', 'distinct', 'sum', 'sequence') and not t.settings ? 'against' then ceil(w.reach / s.slot)::bigint
      else 0
    end,
    coalesce((t.settings ->> 'threshold')::numeric, 1)
  from unnest(organizations) o (id)
  join audit.rules r on r.organization_id in (o.id, audit.system_organization()) and r.compiled is not null
  left join audit.rule_choices c on c.rule_id = r.id and c.organization_id = o.id
  cross join lateral audit.tuned_rule(r, c.choice) t
  cross join lateral (
    select extract(epoch from coalesce(audit.duration(t.settings ->> 'window'), t.quiet_period, interval '1 day')) * 1000000 as reach
  ) w
  cross join lateral (
    select case
      when t.settings ?| array['hours', 'against'] then 900000000
      when t.kind = 'sequence' then greatest(1, ceil(w.reach / 1000000))
      else greatest(1, ceil(w.reach / 1000))
    end::bigint as slot
  ) s
  where t.enabled
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The rules that hold for organisations, as each has tuned them.

-- function audit.run_checks()
CREATE OR REPLACE FUNCTION audit.run_checks()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_rule audit.rules;
  v_wrong record;
  v_alert uuid;
  v_alerts uuid[];
  v_found int := 0;
begin
  for v_rule in
    select r.* from audit.rules r
    where r.kind = 'schedule' and r.settings ? 'check' and (audit.rule_for(r.id, audit.system_organization())).enabled
    order by r.name
  loop
    v_alerts := '{}';
    for v_wrong in
      select c.organization_id, c.group_key, c.reason
      from audit.health_check(v_rule.settings ->> 'check', coalesce(audit.duration(v_rule.settings ->> 'limit'), interval '1 hour')) c
      where v_rule.organization_id in (audit.system_organization(), c.organization_id) and (audit.rule_for(v_rule.id, c.organization_id)).enabled
      limit 1000
    loop
      v_alert := audit.raise_alert(v_rule.id, v_wrong.organization_id, v_wrong.group_key, clock_timestamp(), v_rule.name, v_wrong.reason, '{}');
      v_alerts := v_alerts || v_alert;
      v_found := v_found + 1;
    end loop;
    -- What is no longer wrong is over.
    perform audit.resolve_alert(a.id, clock_timestamp(), 'in order again')
    from audit.alerts a
    where a.rule_id = v_rule.id and a.state <> 'resolved' and a.id <> all (v_alerts);
  end loop;
  return v_found;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Runs the checks of all schedule rules: raises an alert for what is wrong, and resolves those of what is in order again; returns
how much is wrong.

-- function audit.run_digests(interval,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.run_digests(at_most interval DEFAULT '00:00:05'::interval, at timestamp with time zone DEFAULT clock_timestamp())
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_start timestamptz := clock_timestamp();
  v_due record;
  v_content jsonb;
  v_alert uuid;
  v_from timestamptz;
  v_to timestamptz;
  v_made int := 0;
begin
  if not pg_try_advisory_xact_lock(hashtext('audit.run_digests')) then
    return 0;
  end if;
  for v_due in
    select d.*, u.done_until
    from (
      select r.id as rule_id, r.name, r.severity, r.channels, r.settings, o.organization_id, o.zone,
        -- The last time that it was this hour of this day of the week where the organisation is.
        w.week + case when w.week > o.local then interval '-7 days' else '0' end as until
      from (
        select h.organization_id, z.zone, run_digests.at at time zone z.zone as local
        from (select distinct h.organization_id from audit.heads h) h
        cross join lateral (select audit.time_zone_of(h.organization_id) as zone) z
      ) o
      join audit.rules n on n.kind = 'schedule' and n.settings ->> 'digest' in ('activity', 'costs') and n.organization_id in (audit.system_organization(), o.organization_id)
      cross join lateral audit.rule_for(n.id, o.organization_id) r
      cross join lateral (
        select date_trunc('week', o.local) + make_interval(
          days => coalesce((r.settings ->> 'weekday')::int, 1) - 1, hours => coalesce((r.settings ->> 'hour')::int, 8)
        ) as week
      ) w
      where r.enabled
    ) d
    left join audit.rule_runs u on u.rule_id = d.rule_id and u.organization_id = d.organization_id
    where u.done_until is distinct from d.until
  loop
    insert into audit.rule_runs as u (rule_id, organization_id, done_until) values (v_due.rule_id, v_due.organization_id, v_due.until)
    on conflict on constraint rule_runs_pkey do update set done_until = excluded.done_until where u.done_until < excluded.done_until;
    -- Whom the rule has never met has had no whole week; what was missed for weeks is not made up for.
    continue when v_due.done_until is null or not found;
    v_from := (v_due.until - interval '7 days') at time zone v_due.zone;
    v_to := v_due.until at time zone v_due.zone;
    v_content := case v_due.settings ->> 'digest'
      when 'costs' then audit.digest_costs(v_due.organization_id, v_from, v_to) else audit.digest_activity(v_due.organization_id, v_from, v_to)
    end;
    continue when v_content -> 'entries' = '0';
    insert into audit.alerts
      (organization_id, rule_id, group_key, severity, title, reason, state, first_seen_at, last_seen_at, resolved_at, occurrences, entries, channels)
    values (
      v_due.organization_id, v_due.rule_id, jsonb_build_object('week', (v_due.until - interval '7 days')::date)::text, v_due.severity,
      v_due.name, jsonb_build_object('from', audit.instant_text(v_from), 'to', audit.instant_text(v_to), 'time_zone', v_due.zone) || v_content,
      'resolved', v_from, v_to, clock_timestamp(), (v_content ->> 'entries')::bigint,
      coalesce(array(select jsonb_array_elements(v_content -> 'dearest') ->> 'entry'), '{}'), v_due.channels
    )
    returning id into v_alert;
    perform audit.move_alert(v_alert, 'digest');
    v_made := v_made + 1;
    exit when clock_timestamp() >= v_start + at_most;
  end loop;
  return v_made;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Makes the digests that are due: an alert each, resolved from the start, delivered like others; returns how many.

-- function audit.run_rule_test(audit.rules,jsonb)
CREATE OR REPLACE FUNCTION audit.run_rule_test(rule audit.rules, entries jsonb)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_organization uuid := gen_random_uuid();
  v_alerts int;
begin
  begin
    v_alerts := coalesce(cardinality(audit.try_rule(rule, 'unnest($1) e', v_organization, audit.sample_entries(entries, v_organization))), 0);
    raise triggered_action_exception; -- and no identity stays
  exception when triggered_action_exception then
    return v_alerts;
  end;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: How many alerts a rule raises on a sample.

-- function audit.run_schedule(uuid,timestamp with time zone,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.run_schedule(id uuid, was_at timestamp with time zone, next_at timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_schedule audit.report_schedules;
  v_report audit.reports;
  v_organization uuid;
  v_reports int := 0;
begin
  update audit.report_schedules s set next_at = run_schedule.next_at, last_at = coalesce(run_schedule.was_at, s.last_at)
  where s.id = run_schedule.id and s.next_at is not distinct from run_schedule.was_at
  returning s.* into v_schedule;
  if v_schedule.id is null or run_schedule.was_at is null then
    return 0; -- another run was quicker, or it is the first time
  end if;
  for v_organization in
    select distinct h.organization_id from audit.heads h
    where v_schedule.organization_id in (h.organization_id, audit.system_organization()) and h.seq > 0
    order by 1
  loop
    v_report := null;
    v_report.organization_id := v_organization;
    v_report.template := v_schedule.template;
    v_report.schedule := v_schedule.id;
    select p.* into v_report.period_from, v_report.period_to
    from audit.report_templates t, audit.report_period(t.period, v_schedule.time_zone, run_schedule.was_at) p
    where t.template = v_schedule.template;
    perform audit.add_report(v_report);
    v_reports := v_reports + 1;
  end loop;
  return v_reports;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Asks for the reports of a schedule that was due at a time, once; answers how many. For audit-jobs.

-- function audit.same_email(bytea)
CREATE OR REPLACE FUNCTION audit.same_email(identity_hash bytea)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select encode(f.identity_hash, 'hex')
  from (select i.organization_id, i.email from audit.identities i where i.identity_hash = same_email.identity_hash limit 1) i
  cross join lateral (
    select f.identity_hash from audit.identities f
    where f.organization_id = i.organization_id and lower(f.email) = lower(i.email)
    order by f.created_at, f.identity_hash
    limit 1
  ) f
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The same for all identities of an organisation with one e-mail address: the commitment of the first of them.

-- function audit.same_hours(timestamp with time zone,text)
CREATE OR REPLACE FUNCTION audit.same_hours(hour timestamp with time zone, zone text)
 RETURNS TABLE(hour timestamp with time zone)
 LANGUAGE sql
 STABLE ROWS 14
 SET search_path TO ''
AS $function$
  select date_trunc('hour', (same_hours.hour at time zone same_hours.zone - d * interval '1 day') at time zone same_hours.zone, 'UTC')
  from generate_series(1, 14) d
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Hours that had the same hour of the clock, one and up to 14 days before.

-- function audit.same_ip(bytea)
CREATE OR REPLACE FUNCTION audit.same_ip(identity_hash bytea)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select encode(f.identity_hash, 'hex')
  from (select i.organization_id, i.ip_address from audit.identities i where i.identity_hash = same_ip.identity_hash limit 1) i
  cross join lateral (
    select f.identity_hash from audit.identities f
    where f.organization_id = i.organization_id and f.ip_address = i.ip_address
    order by f.created_at, f.identity_hash
    limit 1
  ) f
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The same for all identities of an organisation with one IP address: the commitment of the first of them.

-- function audit.sample_entries(jsonb,uuid)
CREATE OR REPLACE FUNCTION audit.sample_entries(entries jsonb, organization_id uuid)
 RETURNS public.audit_logs[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_unknown text;
begin
  if jsonb_typeof(entries) is distinct from 'array' or jsonb_array_length(entries) > 1000
    or exists (select from jsonb_array_elements(entries) e where jsonb_typeof(e) <> 'object')
  then
    perform audit.fail_rule('A sample is a list of up to 1,000 entries.');
  end if;
  select string_agg(distinct format('"%s"', left(k, 50)), ', ') into v_unknown
  from jsonb_array_elements(entries) e cross join lateral jsonb_object_keys(e) k
  where k not in ('action', 'outcome', 'actor', 'actor_type', 'email', 'ip', 'resource', 'provider', 'cost', 'request_id', 'details', 'after', 'times', 'every');
  if v_unknown is not null then
    perform audit.fail_rule(format('An entry of a sample has no %s.', v_unknown),
      'It has action, outcome, actor, actor_type, email, ip, resource (type/id), provider, cost, request_id, details; "after" (10m), and "times" with "every".');
  elsif exists (
    select from jsonb_array_elements(entries) e
    where coalesce(e ->> 'action', '') !~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' or coalesce(e ->> 'times', '1') !~ '^\d{1,4}$'
      or audit.duration(coalesce(e ->> 'after', '0s')) is null or audit.duration(coalesce(e ->> 'every', '1s')) is null
      or e ->> 'cost' is not null and audit.number_value(e ->> 'cost') is null
      or jsonb_typeof(coalesce(e -> 'details', '{}')) <> 'object'
  ) then
    perform audit.fail_rule('An entry of a sample has an action, and numbers and times where they belong.');
  end if;

  -- People are named as one likes; an address makes an identity.
  insert into audit.identities (organization_id, user_id, email, ip_address, salt, identity_hash, lookup)
  select distinct sample_entries.organization_id, md5(e ->> 'actor')::uuid, e ->> 'email', e ->> 'ip', '\x00000000000000000000000000000000'::bytea,
    audit.sample_identity(sample_entries.organization_id, e), ''::bytea
  from jsonb_array_elements(entries) e
  where e ?| array['email', 'ip'];

  return array(
    select jsonb_populate_record(null::public.audit_logs, jsonb_build_object(
      'organization_id', sample_entries.organization_id, 'chain', n, 'seq', t + 1,
      'created_at', timestamptz '2026-01-05 12:00Z' + audit.duration(coalesce(e ->> 'after', '0s')) + t * audit.duration(coalesce(e ->> 'every', '1s')),
      'action', e -> 'action', 'outcome', coalesce(e -> 'outcome', '"success"'), 'resource_type', split_part(e ->> 'resource', '/', 1),
      'resource_id', substr(e ->> 'resource', strpos(e ->> 'resource', '/') + 1), 'created_by', coalesce(audit.as_uuid(e ->> 'actor'), md5(e ->> 'actor')::uuid),
      'actor_type', coalesce(e ->> 'actor_type', case when e ? 'actor' then 'user' else 'system' end),
      'identity_hash', case when e ?| array['email', 'ip'] then audit.sample_identity(sample_entries.organization_id, e)::text end,
      'provider', e -> 'provider', 'cost', e -> 'cost', 'request_id', e -> 'request_id', 'details', coalesce(e -> 'details', '{}')
    ))
    from jsonb_array_elements(entries) with ordinality l (e, n)
    cross join lateral generate_series(0, coalesce((e ->> 'times')::int, 1) - 1) t
  );
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The entries of a rule's test, with their identities, which the caller takes back.

-- function audit.sample_identity(uuid,jsonb)
CREATE OR REPLACE FUNCTION audit.sample_identity(organization_id uuid, entry jsonb)
 RETURNS bytea
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN sha256(convert_to((ROW(organization_id, (entry ->> 'actor'::text), (entry ->> 'email'::text), (entry ->> 'ip'::text)))::text, 'UTF8'::name))

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What stands for the identity of an entry of a sample.

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

-- function audit.schedule_report(jsonb)
CREATE OR REPLACE FUNCTION audit.schedule_report(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_schedule audit.report_schedules;
begin
  perform audit.check_request(request, array['organization_id', 'template', 'cron', 'time_zone', 'channels']);
  v_schedule.organization_id := audit.requested_organization(request);
  perform audit.require_admin(v_schedule.organization_id);
  if not exists (
    select from audit.report_templates t where t.template = request ->> 'template' and t.template not in ('incident', 'subject_access')
  ) then
    perform audit.fail('AUARG', 'There is no such report that can be scheduled.', null,
      'An incident file and what is held about a person are asked for one by one.');
  elsif not exists (select from pg_catalog.pg_timezone_names z where z.name = coalesce(request ->> 'time_zone', 'UTC')) then
    perform audit.fail('AUARG', 'There is no such time zone.', null, 'Name it as Europe/Berlin.');
  elsif coalesce(request ->> 'cron', '') !~ '^[0-9*,/A-Za-z?L#-]+( [0-9*,/A-Za-z?L#-]+){4}$' or length(request ->> 'cron') > 100 then
    perform audit.fail('AUARG', 'cron has five fields: minute, hour, day of month, month, day of week.', null, 'For example 0 6 1 * *.');
  elsif jsonb_typeof(coalesce(nullif(request -> 'channels', 'null'), '[]')) <> 'array'
    or exists (select from jsonb_array_elements_text(coalesce(nullif(request -> 'channels', 'null'), '[]')) c where audit.as_uuid(c) is null)
  then
    perform audit.fail('AUARG', 'channels is a list of channel ids.');
  elsif (select count(*) from audit.report_schedules s where s.organization_id = v_schedule.organization_id) >= 100 then
    perform audit.fail('AUARG', 'An organisation has at most 100 schedules.');
  end if;
  insert into audit.report_schedules (organization_id, template, cron, time_zone, channels, created_by)
  values (
    v_schedule.organization_id, request ->> 'template', request ->> 'cron', coalesce(request ->> 'time_zone', 'UTC'),
    (select array_agg(c::uuid) from jsonb_array_elements_text(nullif(request -> 'channels', 'null')) c), auth.uid()
  )
  returning * into v_schedule;
  perform audit.record(v_schedule.organization_id, 'report.scheduled', 'report_schedule', v_schedule.id::text,
    jsonb_build_object('new', jsonb_build_object('template', v_schedule.template, 'cron', v_schedule.cron, 'time_zone', v_schedule.time_zone)));
  return to_jsonb(v_schedule);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Has a report made by schedule: {"template", "cron", "time_zone", "channels"}. For admins; leaves an entry.

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
  v_archived timestamptz := audit.archived_before(v_organization);
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
    'filter', v_tree, 'sort', search.sort, 'entries', v_found, 'continued', false
  ));
  if v_archived >= coalesce((v_compiled).from_time, '-infinity') then
    raise notice 'audit: entries up to % may be in the archive only, where this does not look', v_archived;
  end if;
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
    ) end,
    'archived_before', audit.instant_text(audit.archived_before(v_organization))
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
    'filter', v_tree, 'sort', v_sort, 'entries', cardinality(v_entries), 'continued', request ->> 'cursor' is not null
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
grant audit_purger: EXECUTE
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
grant audit_purger: EXECUTE
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

-- function audit.second_text(timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.second_text(at timestamp with time zone)
 RETURNS text
 LANGUAGE sql
 STABLE PARALLEL SAFE
RETURN to_char((at AT TIME ZONE 'utc'::text), 'YYYY-MM-DD HH24:MI:SS'::text)

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A time as people read it in a report: UTC, to the second.

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
  -- Where the log is published (Realtime, replication), nothing could be purged from a table without.
  execute format('alter table %s replica identity using index %I', partition, v_name || '_name_idx');
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

-- function audit.sees_identities(uuid,uuid,boolean)
CREATE OR REPLACE FUNCTION audit.sees_identities(organization_id uuid, user_id uuid DEFAULT auth.uid(), is_person boolean DEFAULT (auth.uid() IS NOT NULL))
 RETURNS boolean
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  select not sees_identities.is_person
    or exists (select from audit.memberships(sees_identities.user_id) m where m.organization_id = sees_identities.organization_id and m.role = 'admin')
    or exists (
      select from audit.auditors a
      where a.organization_id = sees_identities.organization_id and a.user_id = sees_identities.user_id
        and a.expires_at > clock_timestamp() and a.sees_identities
    )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether somebody may see e-mail and IP addresses of others; the database and the clock may.

-- function audit.sequence_entries(integer,integer,bigint)
CREATE OR REPLACE FUNCTION audit.sequence_entries(log integer, most_entries integer, most_bytes bigint DEFAULT 16000000)
 RETURNS bigint
 LANGUAGE plpgsql
 SET search_path TO ''
 SET enable_seqscan TO 'off'
AS $function$
#variable_conflict use_column
declare
  v_log audit.logs;
  -- The same share for every chain, so that a busy one keeps no other waiting.
  v_share bigint;
  v_entries bigint;
  v_first_at timestamptz;
  v_last_at timestamptz;
  v_gaps jsonb;
  v_gap jsonb;
begin
  select l.* into strict v_log from audit.logs l where l.id = sequence_entries.log for update;
  select greatest(sequence_entries.most_entries / greatest(count(*), 1), 1) into v_share
  from audit.waiting_chains(v_log.organization_id) w;

  with waiting as materialized (
    select w.chain, w.from_seq, least(w.to_seq, w.from_seq + v_share - 1) as to_seq, w.sequenced_at
    from audit.waiting_chains(v_log.organization_id) w
  ),
  -- Round the chains, up to so many bytes: what is kept of a chain is its beginning.
  found as materialized (
    select f.chain, f.seq, f.created_at,
      coalesce(sum(f.bytes) over (order by f.turn, f.chain rows between unbounded preceding and 1 preceding), 0)
        < sequence_entries.most_bytes as kept
    from (
      select a.chain, a.seq, a.created_at, a.seq - w.from_seq as turn, octet_length(a.details::text) + 700 as bytes
      from waiting w
      cross join lateral (
        select a.chain, a.seq, a.created_at, a.details
        from public.audit_logs a
        where a.organization_id = v_log.organization_id and a.chain = w.chain and a.seq between w.from_seq and w.to_seq
          and a.created_at >= w.sequenced_at
      ) a
    ) f
  ),
  -- Only entries that are there get an index: what somebody deleted beforehand is a finding, not the end of sealing.
  islands as (
    select i.chain, min(i.seq) as from_seq, max(i.seq) as to_seq, count(*) as entries,
      min(i.created_at) as first_at, max(i.created_at) as last_at
    from (
      select f.chain, f.seq, f.created_at, f.seq - row_number() over (partition by f.chain order by f.seq) as island
      from found f
      where f.kept
    ) i
    group by i.chain, i.island
  ),
  ranges as (
    insert into audit.log_ranges (log, start, organization_id, chain, from_seq, to_seq)
    select v_log.id, v_log.sequenced + sum(i.entries) over (order by i.chain, i.from_seq) - i.entries, v_log.organization_id,
      i.chain, i.from_seq, i.to_seq
    from islands i
  ),
  reached as (
    select w.chain, w.from_seq, case when c.cut then c.kept_to else w.to_seq end as to_seq, c.kept_at, w.sequenced_at, coalesce(c.kept, 0) as kept
    from waiting w
    left join (
      select f.chain, count(*) filter (where f.kept) as kept, max(f.seq) filter (where f.kept) as kept_to,
        max(f.created_at) filter (where f.kept) as kept_at, bool_or(not f.kept) as cut
      from found f
      group by f.chain
    ) c on c.chain = w.chain
  ),
  moved as (
    insert into audit.sequenced as q (organization_id, chain, seq, last_at)
    select v_log.organization_id, r.chain, r.to_seq, coalesce(r.kept_at, r.sequenced_at)
    from reached r
    where r.to_seq is not null
    on conflict on constraint sequenced_pkey do update set seq = excluded.seq, last_at = excluded.last_at
  )
  select coalesce(sum(i.entries), 0), min(i.first_at), max(i.last_at), (
    select jsonb_agg(jsonb_build_object('chain', r.chain, 'from_seq', r.from_seq, 'to_seq', r.to_seq, 'there', r.kept))
    from reached r
    where r.to_seq - r.from_seq + 1 <> r.kept
  )
  into v_entries, v_first_at, v_last_at, v_gaps
  from islands i;

  update audit.logs l set
    sequenced = l.sequenced + v_entries, first_at = least(l.first_at, v_first_at), last_at = greatest(l.last_at, v_last_at)
  where l.id = v_log.id;
  for v_gap in select g from jsonb_array_elements(v_gaps) g loop
    perform audit.note_finding(
      v_log.organization_id, 'entries_missing', format('%s-%s', v_gap ->> 'chain', v_gap ->> 'from_seq'), v_gap
    );
  end loop;
  return v_entries;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Gives entries that wait their indexes in a log, at most so many and about so many bytes; answers how many.

-- function audit.set_retention(uuid,integer,integer)
CREATE OR REPLACE FUNCTION audit.set_retention(organization_id uuid, database_days integer, archive_days integer)
 RETURNS timestamp with time zone
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_now timestamptz;
  v_old audit.retention_periods;
  v_force record;
  -- The longer of what is in force and what is wanted, as null is longer than all.
  v_database int;
  v_archive int;
  v_effective_at timestamptz;
  v_details jsonb;
begin
  perform audit.require_admin(set_retention.organization_id);
  if set_retention.organization_id is null
    or set_retention.database_days not between 90 and 36500 or set_retention.archive_days not between 90 and 36500
    or set_retention.archive_days < coalesce(set_retention.database_days, 36501)
  then
    perform audit.fail('AUARG', 'Entries stay in the database for 90 days or more, and in the archive no shorter.', null,
      'Null is unlimited. For example: select audit.set_retention(organization_id, 400, 2555).');
  end if;
  perform audit.await_purge();
  v_now := clock_timestamp();
  select p.* into v_old from audit.retention_periods p where p.organization_id = set_retention.organization_id;
  if v_old.organization_id is not null and row(v_old.database_days, v_old.archive_days)
    is not distinct from row(set_retention.database_days, set_retention.archive_days)
  then
    return v_old.effective_at; -- said again, what waits does not begin to wait anew
  end if;

  select r.* into v_force from audit.retention_of(set_retention.organization_id) r;
  v_database := case when v_force.database_days is not null and set_retention.database_days is not null
    then greatest(v_force.database_days, set_retention.database_days) end;
  v_archive := case when v_force.archive_days is not null and set_retention.archive_days is not null
    then greatest(v_force.archive_days, set_retention.archive_days) end;
  v_effective_at := v_now + case
    when row(v_database, v_archive) is distinct from row(set_retention.database_days, set_retention.archive_days)
      then make_interval(days => audit.setting('shorten_retention_after', set_retention.organization_id)::int)
    else '0'
  end;
  insert into audit.retention_periods as p
    (organization_id, database_days, archive_days, database_days_before, archive_days_before, effective_at)
  values (
    set_retention.organization_id, set_retention.database_days, set_retention.archive_days, v_database, v_archive, v_effective_at
  )
  on conflict on constraint retention_periods_pkey do update set
    database_days = excluded.database_days, archive_days = excluded.archive_days,
    database_days_before = excluded.database_days_before, archive_days_before = excluded.archive_days_before,
    effective_at = excluded.effective_at, changed_at = v_now;

  v_details := jsonb_build_object(
    'changes', jsonb_build_object(
      'database_days', jsonb_build_object('old', v_force.database_days, 'new', set_retention.database_days),
      'archive_days', jsonb_build_object('old', v_force.archive_days, 'new', set_retention.archive_days)
    ),
    'effective_at', to_jsonb(v_effective_at at time zone 'utc')
  ) || case
    when v_old.effective_at > v_now then jsonb_build_object('cancelled', jsonb_build_object(
      'database_days', v_old.database_days, 'archive_days', v_old.archive_days,
      'effective_at', to_jsonb(v_old.effective_at at time zone 'utc')
    ))
    else '{}'
  end;
  perform audit.record(set_retention.organization_id, 'retention.changed', 'retention', null, v_details);
  if set_retention.organization_id = audit.system_organization() then
    -- Who follows the default is told in the own log.
    perform audit.record(o.organization_id, 'retention.changed', 'retention', 'default', v_details)
    from (
      select distinct h.organization_id from audit.heads h
      where h.organization_id <> audit.system_organization()
        and not exists (select from audit.retention_periods p where p.organization_id = h.organization_id)
      order by 1
    ) o;
  end if;
  return v_effective_at;
end
$function$

owner audit_purger
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Chooses for how many days an organisation's entries stay in the database (90 or more) and in the archive (no shorter);
null is unlimited, the nil UUID the default of those that have not chosen. Longer applies at once, shorter after the setting
shorten_retention_after; until then, setting it again takes it back. Answers when all of it applies. For admins of the
organisation; leaves an entry.

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
grant audit_purger: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The value in force for an organisation: its own choice, else the project's.

-- function audit.settle_auth(audit.auth_event[])
CREATE OR REPLACE FUNCTION audit.settle_auth(events audit.auth_event[])
 RETURNS TABLE(n integer, verdict text)
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_cases audit.auth_case[] := audit.auth_cases(settle_auth.events);
  v_states int[]; -- of each: 0 not taken, 1 told first by its teller, 2 known from another, 3 an entry
  v_matched int[];
  v_n int;
  v_bit smallint;
  v_free smallint[]; -- what another has told of and this one has not
  v_others smallint[]; -- what another has told of
begin
  select array_agg(case
      when c.valid and c.time = 1 and not exists (select from audit.auth_sightings s where s.mark = c.mark) then 1 else 0
    end order by c.n)
  into v_states
  from (select c.n, c.valid, c.mark, row_number() over (partition by c.mark, c.valid order by c.n) as time from unnest(v_cases) c) c;

  foreach v_bit in array array[1, 2, 4, 8]::smallint[] loop
    continue when not exists (
      select from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state) where c.bit = v_bit and c.state = 1
    );
    v_free := array(select f from generate_series(1, 15) f where f & v_bit = 0);
    v_others := array(select f from generate_series(1, 15) f where f & ~v_bit <> 0);
    -- Each takes the nearest that is free; where two want the same, the nearer has it and the other looks again.
    loop
      with wish as (
        select c.n, r.row_id, r.distance, v_bit <> 1 and (c.event).action = 'user.updated' as is_vague
        from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state)
        cross join lateral (
          select f.row_id, abs(extract(epoch from f.happened_at - (c.event).happened_at)) as distance
          from (
            select s.ctid as row_id, s.happened_at, s.session_id
            from audit.auth_sightings s
            where s.subject = c.subject and s.seen = any (v_free)
              and s.happened_at between (c.event).happened_at - interval '10 seconds' and (c.event).happened_at + interval '10 seconds'
            union all
            select s.ctid, s.happened_at, s.session_id
            from audit.auth_sightings s
            where s.place = c.place and (s.subject is null or c.subject is null)
              -- That an account was modified is said beside what was.
              and s.seen = any (case when v_bit <> 1 and (c.event).action = 'user.updated' then v_others else v_free end)
              and s.happened_at between (c.event).happened_at - interval '10 seconds' and (c.event).happened_at + interval '10 seconds'
          ) f
          where f.session_id is null or (c.event).session_id is null or f.session_id = (c.event).session_id
          order by 2
          limit 1
        ) r
        where c.bit = v_bit and c.state = 1
      ),
      granted as (
        select distinct on (w.row_id) w.row_id, w.n, w.is_vague from wish w order by w.row_id, w.distance, w.n
      ),
      taken as (
        update audit.auth_sightings s set seen = s.seen | v_bit
        from granted g
        where s.ctid = g.row_id and (s.seen & v_bit = 0 or g.is_vague)
        returning g.n
      )
      select array_agg(t.n) into v_matched from taken t;
      exit when v_matched is null;
      foreach v_n in array v_matched loop
        v_states[v_n] := 2;
      end loop;
    end loop;

    with told as (
      select c.mark, c.state, c.subject, c.place, c.event
      from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state)
      where c.bit = v_bit and c.state > 0
    )
    insert into audit.auth_sightings (mark, subject, place, session_id, happened_at, seen)
    select t.mark, t.subject, t.place, (t.event).session_id, (t.event).happened_at, v_bit from told t where t.state = 1
    union all
    select t.mark, null, null, null, (t.event).happened_at, null from told t where t.state = 2;

    v_states := array(
      select case when c.bit = v_bit and c.state = 1 then 3 else c.state end
      from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state)
      order by c.n
    );
  end loop;

  perform audit.append_auth(array(
    select c.event from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state) where c.state = 3 order by c.n
  ));

  return query
    select c.n, case when not c.valid then 'refused' when c.state = 3 then 'recorded' else 'duplicate' end
    from unnest(v_cases, v_states) c (n, event, valid, mark, subject, place, bit, state)
    order by c.n;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Decides which events are new and writes them; the caller holds the locks of audit.may_settle_auth().

-- function audit.settle_delivery(uuid,uuid,text,double precision)
CREATE OR REPLACE FUNCTION audit.settle_delivery(id uuid, lease uuid, error text DEFAULT NULL::text, retry_after double precision DEFAULT 0)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  -- Of Standard Webhooks: ten attempts in 75 hours.
  c_pauses constant int[] := array[5, 300, 1800, 7200, 18000, 36000, 50400, 72000, 86400];
  v_delivery audit.deliveries;
  v_channel audit.channels;
  v_next timestamptz;
begin
  select d.* into v_delivery from audit.deliveries d where d.id = settle_delivery.id;
  if settle_delivery.error is null then
    -- Not at every message, because many at once write the one row; and before the message, as everybody does who locks both.
    update audit.channels c set succeeded_at = clock_timestamp(), failures = 0, last_error = null, next_try_at = '-infinity'
    where c.id = v_delivery.channel_id
      and (c.failures > 0 or c.last_error is not null or coalesce(c.succeeded_at, '-infinity') < clock_timestamp() - interval '10 seconds');
    -- Also where another run has it by now, or it was given up: who has it has it.
    update audit.deliveries d set
      state = 'delivered', settled_at = clock_timestamp(), lease_until = '-infinity', last_error = null
    where d.id = settle_delivery.id and d.state <> 'delivered';
    return found;
  end if;

  select c.* into v_channel from audit.channels c where c.id = v_delivery.channel_id for no key update;
  select d.* into v_delivery from audit.deliveries d
  where d.id = settle_delivery.id and d.lease = settle_delivery.lease and d.state = 'waiting' and d.lease_until > '-infinity'
  for update;
  if not found then
    return false;
  end if;
  update audit.channels c set
    failures = c.failures + 1, last_error = settle_delivery.error,
    -- The channel as a whole is left alone when it asks for it, or has failed often.
    next_try_at = clock_timestamp() + make_interval(secs => greatest(
      case when c.failures < 5 then 0 else least(10 * 2 ^ least(c.failures - 5, 5), 300) end, least(settle_delivery.retry_after, 86400)
    ))
  where c.id = v_delivery.channel_id;
  -- Scattered, so that what failed together does not come together again.
  v_next := clock_timestamp() + make_interval(secs => greatest(
    c_pauses[v_delivery.attempts + 1] * (1 + random() * 0.2), least(settle_delivery.retry_after, 86400)
  ));
  update audit.deliveries d set
    attempts = d.attempts + 1, last_error = settle_delivery.error, lease_until = '-infinity', next_try_at = coalesce(v_next, d.next_try_at)
  where d.id = v_delivery.id;

  if settle_delivery.error = 'http_410' and v_delivery.type <> 'channel.test' and v_channel.disabled_at is null then
    perform audit.disable_channel(v_channel.id, 'http_410');
  elsif v_delivery.type = 'channel.test' or v_channel.disabled_at is not null or c_pauses[v_delivery.attempts + 1] is null
    or v_channel.kind in ('email', 'smtp') and v_next > v_delivery.first_tried_at + interval '24 hours'
  then
    update audit.deliveries d set state = 'dead', settled_at = clock_timestamp() where d.id = v_delivery.id;
    if v_delivery.type <> 'channel.test' then
      if coalesce(v_channel.succeeded_at, '-infinity') < v_delivery.created_at then
        perform audit.disable_channel(v_channel.id, 'failing');
      else
        perform audit.note_finding(v_channel.organization_id, 'delivery_failed', v_channel.id::text,
          jsonb_build_object('name', v_channel.name, 'delivery', v_delivery.id, 'type', v_delivery.type, 'error', settle_delivery.error));
      end if;
    end if;
  end if;
  return true;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Notes that a message was delivered, or why not: then it is tried again, later each time, and in the end dead, which is a
finding; a channel that is gone, or took nothing since the message was made, is disabled. False where it was settled before
or another run has it.

-- function audit.settle_erasure(audit.erasures)
CREATE OR REPLACE FUNCTION audit.settle_erasure(INOUT erasure audit.erasures)
 RETURNS audit.erasures
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_found record;
  v_entry record;
begin
  if erasure.deleted_in = pg_current_xact_id() then
    return; -- what this transaction deleted, others may still find
  elsif erasure.awaited is null then
    erasure.awaited := audit.open_transactions();
  end if;
  erasure.awaited := array(select unnest(erasure.awaited) intersect select unnest(audit.open_transactions()));
  if erasure.awaited <> '{}' then
    return;
  end if;
  select v.erased + i.erased as erased, v.erased as personal_values, i.erased as identities, least(v.since, i.since) as since into v_found
  from audit.erase_values(erasure, 100000) v, audit.erase_identities(erasure, 100000) i;
  if v_found.erased > 0 then
    erasure := audit.count_erased(erasure, v_found.personal_values, v_found.identities, v_found.since);
    erasure.awaited := null; -- somebody may have found these
    return;
  end if;

  perform audit.mask_copies(erasure.organization_id, erasure.addresses || erasure.places);
  erasure.remains := jsonb_build_object(
    'elsewhere', audit.copies_left(erasure.organization_id, erasure.addresses),
    'entries', (
      select count(*) from public.audit_logs a where a.created_by = erasure.subject and a.organization_id = erasure.organization_id
    ),
    'entries_with_address', (
      select coalesce(jsonb_agg(m order by m), '[]')
      from (
        select distinct m
        from audit.plain_mentions(row(erasure.organization_id, erasure.subject, erasure.addresses)::audit.subject) m
        limit 1000
      ) d (m)
    )
  );
  v_entry := audit.record(erasure.organization_id, 'subject.erased', 'user', erasure.subject::text, jsonb_strip_nulls(jsonb_build_object(
    'erasure', erasure.id, 'subject', erasure.subject, 'until', audit.instant_text(erasure.until), 'ground', erasure.ground,
    'erased', erasure.counts
  )));
  erasure.entry := v_entry.chain || '-' || v_entry.seq;
  erasure.addresses := '{}';
  erasure.places := '{}';
  erasure.erased_at := clock_timestamp();
  erasure.counts := erasure.counts || jsonb_build_object(
    'exports', audit.withdraw_exports(erasure.organization_id, erasure.since),
    'reports', audit.withdraw_reports(erasure.organization_id, erasure.subject)
  );
  erasure.state := 'files';
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Ends the deletion once nobody is left who may have found what was deleted, and leaves the subject.erased entry.

-- function audit.settle_finding(uuid,text,text,jsonb)
CREATE OR REPLACE FUNCTION audit.settle_finding(organization_id uuid, kind text, subject text, detail jsonb DEFAULT '{}'::jsonb)
 RETURNS boolean
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  if not audit.resolve_finding(settle_finding.organization_id, settle_finding.kind, settle_finding.subject) then
    return false;
  end if;
  perform audit.record(
    settle_finding.organization_id, 'finding.resolved', 'finding', settle_finding.subject,
    jsonb_build_object('kind', settle_finding.kind) || settle_finding.detail
  );
  return true;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Closes a finding that a check made good, or found in order again, and leaves a finding.resolved entry that says so.

-- function audit.settle_waiting_auth(integer)
CREATE OR REPLACE FUNCTION audit.settle_waiting_auth(most integer DEFAULT 5000)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
 SET lock_timeout TO '5s'
AS $function$
declare
  v_ids bigint[];
  v_id bigint;
  v_settled int := 0;
  v_failed int := 0;
begin
  if not exists (select from audit.waiting_auth_events) then
    return 0;
  end if;
  begin
    perform pg_advisory_xact_lock(1096110405, 0);
  exception when lock_not_available then
    return 0; -- a transaction of Auth stands still; the next run tries again
  end;
  v_ids := array(select w.id from audit.waiting_auth_events w order by w.id limit settle_waiting_auth.most);
  begin
    perform audit.settle_waiting_auth_events(v_ids);
    return cardinality(v_ids);
  exception when others then
    null; -- one of them, or what they all need
  end;
  foreach v_id in array v_ids loop
    begin
      perform audit.settle_waiting_auth_events(array[v_id]);
      v_settled := v_settled + 1;
    exception when others then
      v_failed := v_failed + 1;
      perform audit.note_finding(audit.system_organization(), 'auth_event_waiting', v_id::text, jsonb_build_object('sqlstate', sqlstate));
      exit when v_failed = 10 and v_settled = 0;
    end;
  end loop;
  return v_settled;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Makes entries of the events that wait, the oldest first; for the schedule. What fails stays, and is a finding as long.

-- function audit.settle_waiting_auth_events(bigint[])
CREATE OR REPLACE FUNCTION audit.settle_waiting_auth_events(ids bigint[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_events audit.auth_event[];
  v_refused int;
begin
  with taken as (
    delete from audit.waiting_auth_events w where w.id = any (settle_waiting_auth_events.ids) returning w.id, w.event
  )
  select array_agg(t.event order by t.id) into v_events from taken t;
  select count(*) into v_refused from audit.settle_auth(v_events) s where s.verdict = 'refused';
  perform audit.resolve_finding(f.organization_id, f.kind, f.subject)
  from audit.findings f
  where f.kind = 'auth_event_waiting' and f.resolved_at is null and f.subject = any (ids::text[]);
  if v_refused > 0 then
    perform audit.note_finding(audit.system_organization(), 'auth_events_lost', 'waiting_auth_events', jsonb_build_object('events', v_refused));
  end if;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Settles the events that wait under these ids; those that waited beyond a day are lost, which is a finding.

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

-- function audit.shown_report(audit.reports)
CREATE OR REPLACE FUNCTION audit.shown_report(report audit.reports)
 RETURNS jsonb
 LANGUAGE sql
 STABLE SECURITY DEFINER
 SET search_path TO ''
AS $function$
  select audit.report_json(report)
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: audit.report_json() for whoever has found the report.

-- function audit.signed_certificate(jsonb)
CREATE OR REPLACE FUNCTION audit.signed_certificate(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_erasure audit.erasures;
begin
  perform audit.check_request(request, array['erasure']);
  v_erasure := audit.find_erasure(audit.as_uuid(request ->> 'erasure'));
  if v_erasure.certificate_note is null then
    perform audit.fail('AUPND', 'The certificate is not signed yet.', null, format('The erasure is %s; ask again in a minute.', v_erasure.state));
  end if;
  return jsonb_build_object('manifest', v_erasure.certificate, 'note', v_erasure.certificate_note);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The certificate of an erasure to the byte, and its signature; AUPND while it is not signed.

-- function audit.signed_manifest(jsonb)
CREATE OR REPLACE FUNCTION audit.signed_manifest(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_export audit.exports;
begin
  perform audit.check_request(request, array['export']);
  v_export := audit.find_export(audit.requested_export(request));
  if v_export.manifest_note is null then
    perform audit.fail('AUPND', 'The manifest of the export is not signed yet.', null, case
      when v_export.state = 'done' then 'Its last entries are being sealed, which takes a minute: ask again then.'
      else format('The export is %s; what is not done is not signed.', v_export.state)
    end);
  end if;
  return jsonb_build_object('manifest', v_export.manifest, 'note', v_export.manifest_note);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The manifest of an export to the byte, and its signature; AUPND while it is not signed.

-- function audit.signed_report(jsonb)
CREATE OR REPLACE FUNCTION audit.signed_report(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_report audit.reports;
begin
  perform audit.check_request(request, array['report']);
  v_report := audit.find_report(audit.requested_report(request));
  if v_report.state <> 'done' then
    perform audit.fail('AUPND', format('The report is %s.', v_report.state), null, 'Its manifest is signed when its files are made: ask again then.');
  end if;
  return jsonb_build_object('manifest', v_report.manifest, 'note', v_report.manifest_note);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The manifest of a report to the byte, and its signature; AUPND while it is not made.

-- function audit.signing_secrets(text)
CREATE OR REPLACE FUNCTION audit.signing_secrets(source_name text)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_source audit.event_sources;
  v_secrets jsonb;
begin
  select s.* into v_source from audit.event_sources s where s.name = source_name and s.disabled_at is null;
  if v_source.id is null or to_regclass('vault.decrypted_secrets') is null then
    return null;
  end if;
  execute $q$
    select jsonb_agg(d.decrypted_secret)
    from vault.decrypted_secrets d
    where d.name = $1 or d.name = $1 || '_previous' and $2 > clock_timestamp()
  $q$ into v_secrets using 'audit_source_' || v_source.id, v_source.previous_until;
  return jsonb_build_object('id', v_source.id, 'secrets', coalesce(v_secrets, '[]'));
end
$function$

owner postgres
grant postgres: EXECUTE
comment: With what a source may sign now, from the Vault; for the function audit-ingest alone. Null where there is no such source.

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

-- function audit.skip_to_now()
CREATE OR REPLACE FUNCTION audit.skip_to_now()
 RETURNS void
 LANGUAGE sql
 SET search_path TO ''
AS $function$
  insert into audit.rule_positions as p (organization_id, chain, seq, last_at, upto)
  select h.organization_id, h.chain, h.seq, h.last_at, h.seq from audit.heads h
  on conflict on constraint rule_positions_pkey do update set seq = excluded.seq, last_at = excluded.last_at, upto = excluded.upto
$function$

owner postgres
grant postgres: EXECUTE
comment: Has the rules pass over all entries there are: at installation, and after a restore.

-- function audit.state_erased(audit.erasures,bytea[],bytea[])
CREATE OR REPLACE FUNCTION audit.state_erased(erasure audit.erasures, identities bytea[], personal_values bytea[])
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  for v_from in 1 .. greatest(cardinality(identities), cardinality(personal_values)) by 400 loop
    perform audit.record(
      (erasure).organization_id, 'subject.erased', 'user', (erasure).subject::text,
      jsonb_build_object(
        'erasure', (erasure).id, 'until', audit.instant_text((erasure).until),
        'identities', (select coalesce(jsonb_agg(encode(h, 'hex')), '[]') from unnest(identities[v_from:v_from + 399]) h),
        'personal_values', (select coalesce(jsonb_agg(encode(h, 'hex')), '[]') from unnest(personal_values[v_from:v_from + 399]) h)
      )
    );
  end loop;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Leaves subject.erased entries that name commitments whose values are gone.

-- function audit.state_purge(uuid)
CREATE OR REPLACE FUNCTION audit.state_purge(organization_id uuid)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_purge audit.purges;
  v_chains int[];
  v_bounds jsonb;
  v_entry record;
begin
  select p.* into v_purge from audit.purges p where p.organization_id = state_purge.organization_id;
  loop
    -- What an entry can hold.
    select array_agg(b.chain), jsonb_agg(jsonb_build_array(b.chain, b.seq, encode(b.hash, 'hex')) order by b.chain)
    into v_chains, v_bounds
    from (
      select b.* from audit.chain_bounds b
      where b.organization_id = state_purge.organization_id and b.stated_seq is null
      order by b.chain
      limit 500
    ) b;
    exit when v_chains is null;
    v_entry := audit.record(state_purge.organization_id, 'log.purged', 'log', null, jsonb_build_object(
      'before', to_jsonb(v_purge.before at time zone 'utc'), 'entries', v_purge.entries, 'bounds', v_bounds
    ));
    v_purge.entries := 0;
    update audit.chain_bounds b set stated_chain = h.chain, stated_seq = h.seq, stated_at = h.last_at
    from audit.heads h
    where b.organization_id = state_purge.organization_id and b.chain = any (v_chains)
      and h.organization_id = state_purge.organization_id and h.chain = v_entry.chain;
  end loop;
  update audit.purges p set entries = 0 where p.organization_id = state_purge.organization_id;
end
$function$

owner postgres
grant audit_purger: EXECUTE
grant postgres: EXECUTE
comment: Leaves the log.purged entry: how many entries are gone, and for each chain the last of them, with its hash.

-- function audit.subject_query(uuid)
CREATE OR REPLACE FUNCTION audit.subject_query(user_id uuid)
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN format('(actor:%1$s or resource_id:%1$s or "%1$s")'::text, user_id)

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The query for every entry about a user: as actor, as resource, or named in the details.

-- function audit.subject_sections(audit.reports,text)
CREATE OR REPLACE FUNCTION audit.subject_sections(report audit.reports, section text)
 RETURNS jsonb
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_subject audit.subject := audit.find_subject((report).organization_id, (report).subject::text);
  v_rows jsonb;
  v_total bigint;
begin
  case section
    when 'subject' then
      return jsonb_build_array(audit.report_text('Who this is about', array_remove(array[
        'User id: ' || (report).subject,
        'Addresses under which the person acted: ' || coalesce(nullif(array_to_string((v_subject).addresses, ', '), ''), 'none that was theirs alone'),
        'The person is found as actor, as resource, by their id in the details of entries, and in values of columns that are declared personal. Free text that names the person otherwise is not found.',
        'Where an entry shows other persons, their rights are to be kept before it is handed out (Art. 15(4)).'
      ], null)));
    when 'subject_identities' then
      select jsonb_agg(jsonb_build_array(coalesce(i.email, ''), coalesce(i.ip_address, ''), coalesce(i.user_agent, ''), audit.second_text(i.created_at)) order by i.created_at, i.identity_hash), max(i.total)
      into v_rows, v_total
      from (select i.*, count(*) over () as total from audit.identities_of(v_subject) i order by i.created_at, i.identity_hash limit 5000) i;
      return jsonb_build_array(audit.report_table('Contexts in which the person acted',
        '[{"title": "E-mail", "width": 3}, {"title": "IP address", "width": 2}, {"title": "Program", "width": 4}, {"title": "First seen", "width": 2}]', v_rows, null, v_total));
    when 'subject_values' then
      select jsonb_agg(jsonb_build_array(v.resource_type, coalesce(v.resource_id, ''), v.column_name, v.value, audit.second_text(v.created_at)) order by v.created_at, v.value_hash), max(v.total)
      into v_rows, v_total
      from (
        select v.*, count(*) over () as total from audit.personal_values v
        where v.organization_id = (report).organization_id and audit.is_value_of(v, v_subject)
        order by v.created_at, v.value_hash limit 5000
      ) v;
      return jsonb_build_array(audit.report_table('Personal values of records about the person',
        '[{"title": "Kind", "width": 2}, {"title": "Record", "width": 3}, {"title": "Column", "width": 2}, {"title": "Value", "width": 4}, {"title": "Recorded", "width": 2}]', v_rows, null, v_total));
    else
      execute format('select count(*) %s', audit.subject_source(report)) into v_total;
      execute format(
        'select jsonb_agg(audit.report_item(i) order by i.created_at, i.chain, i.seq) from (select e.* %s order by e.created_at, e.chain, e.seq limit 1000) i',
        audit.subject_source(report)
      ) into v_rows;
      return jsonb_build_array(jsonb_build_object(
        'kind', 'entries', 'title', 'Entries about the person', 'query', audit.report_query(report, audit.subject_query((report).subject)),
        'note', 'As actor, as resource, or named in the details. The evidence pack has the entries themselves, the oldest 10,000; an export of this query has all.',
        'total', v_total, 'items', coalesce(v_rows, '[]')
      ));
  end case;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What the log holds about a person (GDPR Art. 15).

-- function audit.subject_source(audit.reports)
CREATE OR REPLACE FUNCTION audit.subject_source(report audit.reports)
 RETURNS text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select format(
    'from public.audit_logs e where e.organization_id = %1$L and e.created_at >= %2$L and e.created_at < %3$L'
      || ' and (e.created_by = %4$L or e.resource_id = %4$L or e.details::text like %5$L)',
    (report).organization_id, (report).period_from, (report).period_to, (report).subject, '%' || (report).subject || '%'
  )
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: From and where of the entries e about a person; what audit.subject_query() finds.

-- function audit.superseded_files(integer,interval)
CREATE OR REPLACE FUNCTION audit.superseded_files(at_most integer DEFAULT 100, grace interval DEFAULT '01:00:00'::interval)
 RETURNS TABLE(log integer, folder text, size bigint, tiles jsonb)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  with due as (
    select l.id, l.trimmed, s.size,
      case when l.month is null then 'anchor' else l.organization_id || '/' || to_char(l.month, 'YYYY-MM') end as folder
    from audit.logs l
    cross join lateral (
      select coalesce(max(c.size), 0) as size from audit.checkpoints c
      where c.log = l.id and c.size <= l.published and c.published_at < clock_timestamp() - superseded_files.grace
    ) c
    -- Sixteen bundles at a time: there may be a checkpoint for each entry.
    cross join lateral (select least(l.read_back, c.size, l.trimmed + 4096) / 256 * 256 as size) s
    where l.read_back / 256 > l.trimmed / 256 and l.archive_deletion_began_at is null and s.size > l.trimmed
    limit at_most
  )
  select d.id, d.folder, d.size, coalesce(t.tiles, '[]')
  from due d
  cross join lateral (
    select jsonb_agg(jsonb_build_object('level', f.level, 'index', f.index, 'width', f.width)) as tiles
    from (
      select distinct v.level, c.size / v.span as index, c.size % v.span / (v.span / 256) as width
      from (
        select n as level, (256::numeric ^ (n + 1))::bigint as span from generate_series(0, 6) n
      ) v
      -- Those between what was full before and what is full now.
      join audit.checkpoints c on c.log = d.id and c.size >= d.trimmed / v.span * v.span and c.size < d.size / v.span * v.span
    ) f
    where f.width > 0
  ) t
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Logs with partial files that may go, the size up to which they are meant, and which tiles: those of level 0 with their bundles.

-- function audit.system_organization()
CREATE OR REPLACE FUNCTION audit.system_organization()
 RETURNS uuid
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN '00000000-0000-0000-0000-000000000000'::uuid

owner postgres
grant audit_purger: EXECUTE
grant audit_writer: EXECUTE
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The nil UUID: the organisation of events that belong to no tenant, and of the project's own settings.

-- function audit.take_deliveries(integer,interval)
CREATE OR REPLACE FUNCTION audit.take_deliveries(most integer DEFAULT 32, lease interval DEFAULT '00:02:00'::interval)
 RETURNS jsonb
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_lease uuid := gen_random_uuid();
  v_channel audit.channels;
  v_most int;
  v_secret text;
  v_taken jsonb;
  v_all jsonb := '[]';
begin
  -- Who takes from a channel has it locked, so that it is not asked more at once than it should be.
  for v_channel in select c.* from audit.due_channels(take_deliveries.most) c order by c.id loop
    exit when jsonb_array_length(v_all) >= take_deliveries.most;
    perform from audit.channels c where c.id = v_channel.id and c.next_try_at <= clock_timestamp() for no key update;
    continue when not found;
    v_most := least(audit.free_places(v_channel), take_deliveries.most - jsonb_array_length(v_all));
    continue when v_most <= 0;
    with due as (
      select d.id from audit.deliveries d
      where d.id in (
        select m.id from audit.due_deliveries m where m.channel_id = v_channel.id order by m.next_try_at limit v_most
      )
      for update skip locked
    ),
    taken as (
      update audit.deliveries d set
        lease = v_lease, lease_until = clock_timestamp() + take_deliveries.lease,
        first_tried_at = coalesce(d.first_tried_at, clock_timestamp())
      from due
      where d.id = due.id and d.state = 'waiting' and d.lease_until < clock_timestamp()
      returning d.id, d.type, d.message, d.created_at
    )
    select jsonb_agg(jsonb_build_object(
      'id', t.id, 'lease', v_lease, 'type', t.type, 'at', audit.instant_text(t.created_at), 'message', t.message,
      'kind', v_channel.kind, 'channel', v_channel.id, 'config', v_channel.config
    ))
    into v_taken from taken t;
    if v_taken is not null then
      v_secret := audit.kept_secret(v_channel.secret_id);
      if v_channel.kind = 'webhook' and not coalesce(v_channel.old_secret_until > clock_timestamp(), false) then
        v_secret := split_part(v_secret, ' ', 1);
      end if;
      v_all := v_all || (select jsonb_agg(t || jsonb_build_object('secret', v_secret)) from jsonb_array_elements(v_taken) t);
    end if;
  end loop;
  return jsonb_build_object('local', audit.setting('local_channels'), 'deliveries', v_all);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Gives a run what is due, with all it takes to deliver it, secrets included, for as long as the lease lasts.

-- function audit.tell_auth(audit.auth_event[],text)
CREATE OR REPLACE FUNCTION audit.tell_auth(events audit.auth_event[], teller text)
 RETURNS void
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
begin
  perform audit.record_auth(tell_auth.events);
exception when others or query_canceled or assert_failure then
  -- The log cannot be written now. What happened is kept, and written when it can be.
  insert into audit.waiting_auth_events (event) select e::audit.auth_event from unnest(tell_auth.events) e;
  perform audit.note_auth_failure(teller, sqlstate, sqlerrm);
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Records events inside a transaction of Auth; what cannot be written now waits, and that is a finding.

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

-- function audit.test_channel(jsonb)
CREATE OR REPLACE FUNCTION audit.test_channel(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_channel audit.channels := audit.own_channel(request, array['channel']);
  v_id uuid;
begin
  if (
    select count(*) from audit.deliveries d
    where d.channel_id = v_channel.id and d.type = 'channel.test' and d.created_at > clock_timestamp() - interval '1 hour'
  ) >= 10 then
    perform audit.fail('AUARG', 'A channel is tested at most ten times an hour.');
  end if;
  -- At once, also where it failed just now.
  update audit.channels c set next_try_at = '-infinity' where c.id = v_channel.id;
  v_id := audit.queue_message(v_channel, v_channel.organization_id, 'channel.test', jsonb_build_object(
    'organization_id', v_channel.organization_id, 'severity', 'info', 'title', format('Test of the channel "%s"', v_channel.name)
  ));
  perform audit.record(v_channel.organization_id, 'channel.tested', 'channel', v_channel.id::text);
  perform audit.continue_alert_deliveries();
  return (select audit.delivery_json(d) from audit.deliveries d where d.id = v_id);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Sends {channel} a message, once, also where it is disabled; audit.list_deliveries() says what became of it. For admins; leaves an entry.

-- function audit.test_rule(jsonb)
CREATE OR REPLACE FUNCTION audit.test_rule(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_organization uuid;
  v_rule audit.rules;
  v_tests jsonb;
begin
  perform audit.check_request(request, array['organization_id', 'rule', 'id', 'tests']);
  v_organization := audit.requested_organization(request);
  perform audit.require_reach(v_organization);
  v_rule := audit.requested_rule(request, v_organization);
  v_tests := coalesce(request -> 'tests', (
    select jsonb_agg(jsonb_build_object('name', t.name, 'entries', t.entries, 'alerts', t.alerts) order by t.name)
    from audit.rule_tests t where t.rule_id = audit.as_uuid(request ->> 'id')
  ), '[]');
  perform audit.check_rule_tests(v_tests);
  return jsonb_build_object('tests', (
    select coalesce(jsonb_agg(jsonb_build_object('name', t.name, 'expected', t.alerts, 'alerts', t.raised, 'passed', t.alerts = t.raised) order by t.n), '[]')
    from (
      select t ->> 'name' as name, (t ->> 'alerts')::int as alerts, audit.run_rule_test(v_rule, t -> 'entries') as raised, n
      from jsonb_array_elements(v_tests) with ordinality l (t, n)
    ) t
  ));
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Runs tests on a rule: those that are kept with it, or {"tests": [{"name", "entries", "alerts"}]}. For admins and auditors.

-- function audit.test_rules(uuid)
CREATE OR REPLACE FUNCTION audit.test_rules(rule_id uuid DEFAULT NULL::uuid)
 RETURNS TABLE(rule text, test text, expected integer, alerts integer, passed boolean)
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
begin
  return query
    select s.name, s.test, s.expected, s.alerts, s.expected = s.alerts
    from (
      select r.name, t.name as test, t.alerts as expected, audit.run_rule_test(audit.as_trial(r), t.entries) as alerts
      from audit.rule_tests t
      join audit.rules r on r.id = t.rule_id
      where test_rules.rule_id is null or r.id = test_rules.rule_id
      order by r.organization_id, r.name, t.name
    ) s;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Runs the tests of a rule, or of all: select * from audit.test_rules() where not passed.

-- function audit.time_zone_of(uuid)
CREATE OR REPLACE FUNCTION audit.time_zone_of(organization_id uuid)
 RETURNS text
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_zone text := audit.setting('time_zone', time_zone_of.organization_id) #>> '{}';
begin
  if v_zone is null and exists (
    select from pg_catalog.pg_attribute a
    where a.attrelid = to_regclass('public.organizations') and a.attname = 'time_zone' and not a.attisdropped
  ) then
    execute 'select o.time_zone::text from public.organizations o where o.id::text = $1' into v_zone using time_zone_of.organization_id::text;
    if not exists (select from pg_catalog.pg_timezone_names z where z.name = v_zone) then
      v_zone := null;
    end if;
  end if;
  return coalesce(v_zone, 'UTC');
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: In which time zone an organisation works: its setting time_zone, else what the application's organizations.time_zone says, else UTC.

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

-- function audit.track_auth()
CREATE OR REPLACE FUNCTION audit.track_auth()
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
 SET lock_timeout TO '3s'
AS $function$
declare
  v_table text;
  v_trigger record;
  v_tracked int := 0;
begin
  for v_table in select distinct m.table_name from audit.missing_auth_triggers() m where m.state <> 'no such table' order by 1 loop
    -- One that is already right is left alone: making a trigger locks out writers for a moment.
    begin
      for v_trigger in select * from audit.missing_auth_triggers() m where m.table_name = v_table loop
        execute format('create or replace trigger %I ' || v_trigger.definition || ' execute function audit.on_auth_change()', v_trigger.trigger_name, v_table);
      end loop;
      perform audit.record(null, 'capture.tracked', 'table', 'auth.' || v_table);
      v_tracked := v_tracked + 1;
    exception when others then
      raise notice 'audit: auth.% is not captured: %', v_table, sqlerrm;
    end;
  end loop;
  return v_tracked;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Attaches capture to those of Auth's tables that are there and lack it, an entry each; answers how many. Harmless to repeat.

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

-- function audit.try_rule(audit.rules,text,uuid,public.audit_logs[])
CREATE OR REPLACE FUNCTION audit.try_rule(rule audit.rules, source text, organization uuid, sample public.audit_logs[] DEFAULT NULL::public.audit_logs[])
 RETURNS audit.rule_firing[]
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_firings audit.rule_firing[];
begin
  begin
    -- As a rule of the organisation's own, which remembers nothing yet.
    insert into audit.rules (id, organization_id, name, kind, severity, match, settings, quiet_period, compiled)
    values (
      (rule).id, organization, (rule).id::text, (rule).kind, (rule).severity, (rule).match, (rule).settings, (rule).quiet_period, (rule).compiled
    );
    v_firings := audit.evaluate_entries(source, array[organization], sample, (rule).id);
    raise triggered_action_exception; -- takes back all of it
  exception when triggered_action_exception then
    return v_firings;
  end;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: What a rule says of the entries e of a FROM clause, or of a sample ($1), as if it had not seen any other; leaves nothing behind.

-- function audit.tuned_rule(audit.rules,jsonb)
CREATE OR REPLACE FUNCTION audit.tuned_rule(rule audit.rules, choice jsonb)
 RETURNS audit.rules
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_rule audit.rules := rule;
begin
  if choice is not null then
    v_rule.enabled := coalesce((choice ->> 'enabled')::boolean, v_rule.enabled);
    v_rule.severity := coalesce(choice ->> 'severity', v_rule.severity);
    v_rule.quiet_period := case when choice ? 'quiet_period' then audit.duration(choice ->> 'quiet_period') else v_rule.quiet_period end;
    v_rule.channels := case
      when not choice ? 'channels' then v_rule.channels
      when choice -> 'channels' <> 'null' then array(select e::uuid from jsonb_array_elements_text(choice -> 'channels') e)
    end;
    v_rule.settings := v_rule.settings || (choice - array['enabled', 'severity', 'quiet_period', 'channels']);
  end if;
  return v_rule;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A default as an organisation has tuned it.

-- function audit.unpublished_chains()
CREATE OR REPLACE FUNCTION audit.unpublished_chains()
 RETURNS TABLE(organization_id uuid, chain integer, from_seq bigint, to_seq bigint)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select h.organization_id, h.chain, f.seq, h.seq
  from audit.heads h
  left join audit.sequenced s on s.organization_id = h.organization_id and s.chain = h.chain
  cross join lateral (
    select coalesce(
      (
        select min(greatest(r.from_seq, r.from_seq + l.published - r.start))
        from audit.logs l
        join audit.log_ranges r on r.log = l.id
        where l.organization_id = h.organization_id and l.sequenced > l.published and r.chain = h.chain
          and r.start + r.to_seq - r.from_seq >= l.published
      ),
      coalesce(s.seq, 0) + 1
    ) as seq
  ) f
  where f.seq <= h.seq
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Of each chain, the entries that no checkpoint covers that readers have: the archive may not have them.

-- function audit.unpublished_entries(integer)
CREATE OR REPLACE FUNCTION audit.unpublished_entries(at_most integer DEFAULT 50000)
 RETURNS SETOF text
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  -- By time, so that of each chain it is the beginning.
  select audit.entry_text(a.*::public.audit_logs)
  from audit.unpublished_chains() u
  cross join lateral (
    select a.* from public.audit_logs a
    where a.organization_id = u.organization_id and a.chain = u.chain and a.seq between u.from_seq and u.to_seq
  ) a
  order by a.created_at, a.organization_id, a.chain, a.seq
  limit unpublished_entries.at_most
$function$

owner postgres
grant postgres: EXECUTE
comment: The texts of entries that no published checkpoint covers, the oldest first. More than so many wait only where sealing has stopped.

-- function audit.unschedule_report(jsonb)
CREATE OR REPLACE FUNCTION audit.unschedule_report(request jsonb)
 RETURNS jsonb
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
declare
  v_schedule audit.report_schedules;
begin
  perform audit.check_request(request, array['schedule']);
  select s.* into v_schedule from audit.report_schedules s where s.id = audit.as_uuid(request ->> 'schedule');
  if v_schedule.id is null or audit.reach(v_schedule.organization_id) is null then
    perform audit.fail('AUNOT', 'There is no such schedule of yours.');
  end if;
  perform audit.require_admin(v_schedule.organization_id);
  delete from audit.report_schedules s where s.id = v_schedule.id;
  perform audit.record(v_schedule.organization_id, 'report.unscheduled', 'report_schedule', v_schedule.id::text,
    jsonb_build_object('old', jsonb_build_object('template', v_schedule.template, 'cron', v_schedule.cron, 'time_zone', v_schedule.time_zone)));
  return to_jsonb(v_schedule);
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Ends a schedule. For admins; leaves an entry.

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

-- function audit.user_cell(uuid,text)
CREATE OR REPLACE FUNCTION audit.user_cell(user_id uuid, otherwise text DEFAULT ''::text)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
RETURN CASE WHEN (user_id IS NULL) THEN to_jsonb(otherwise) ELSE jsonb_build_object('user', user_id) END

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A table's cell that shows a user.

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

-- function audit.values_pattern(text[])
CREATE OR REPLACE FUNCTION audit.values_pattern(person_values text[])
 RETURNS text
 LANGUAGE sql
 IMMUTABLE PARALLEL SAFE
 SET search_path TO ''
AS $function$
  -- 10.0.0.1 is not in 10.0.0.12, nor ann@x.example in joann@x.example.
  select '(?<![[:alnum:]_.@+-])(?:' || string_agg(regexp_replace(v, '([^[:alnum:]@])', '\\\1', 'g'), '|') || ')(?![[:alnum:]_@-]|\.[[:alnum:]])'
  from unnest(person_values) v
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The regular expression for any of these values, whole.

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
        when b.seq <> lag(b.seq) over in_chain + 1 then 'gap'
        when b.prev_hash <> lag(b.hash) over in_chain then 'link_mismatch'
        when b.created_at < lag(b.created_at) over in_chain then 'time_reversed'
      end as finding,
      lag(true) over in_chain is null as is_first,
      lead(true) over in_chain is null as is_last
    from bounded b
    window in_chain as (partition by b.organization_id, b.chain order by b.seq)
  ),
  chains as (
    select l.organization_id, l.chain, count(*) as entries, min(l.seq) as from_seq, max(l.seq) as to_seq,
      (array_agg(row(l.hash, l.prev_hash, l.created_at)::text) filter (where l.is_last))[1] as last_entry,
      (array_agg(l.prev_hash) filter (where l.is_first))[1] as first_prev_hash,
      (array_agg(l.created_at) filter (where l.is_first))[1] as first_at,
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
  -- Where each chain must begin, behind what was purged, and where it must end.
  known as (
    select n.organization_id, n.chain, h.chain is not null as has_head, h.seq, h.hash, row(h.hash, h.prev_hash, h.last_at)::text as last_entry,
      coalesce(b.seq, 0) as purged, b.hash as purged_hash, b.created_at as purged_at,
      -- The entry that says so, as long as it is there.
      s.details -> 'bounds' @> jsonb_build_array(jsonb_build_array(b.chain, b.seq, encode(b.hash, 'hex'))) as is_as_stated
    from audit.heads h
    full join audit.chain_bounds b on b.organization_id = h.organization_id and b.chain = h.chain
    left join lateral (
      select a.details from public.audit_logs a
      where a.organization_id = b.organization_id and a.chain = b.stated_chain and a.seq = b.stated_seq and a.created_at = b.stated_at
      limit 1
    ) s on true
    cross join lateral (select coalesce(h.organization_id, b.organization_id) as organization_id, coalesce(h.chain, b.chain) as chain) n
    where (verify.organization is null or n.organization_id = verify.organization)
      and (verify.resume_from is null or (n.organization_id, n.chain) >= (v_from_organization, v_from_chain))
      and not exists (select from cut k where (n.organization_id, n.chain) > (k.organization_id, k.chain))
  ),
  compared as (
    select coalesce(c.organization_id, k.organization_id) as organization_id, coalesce(c.chain, k.chain) as chain,
      coalesce(c.entries, 0) as entries, c.from_seq, c.to_seq, c.broken_seq, c.finding,
      k.has_head, k.seq as head_seq, k.purged, coalesce(c.to_seq, k.purged) as last_seq,
      case when c.chain is null then k.hash <> k.purged_hash else k.last_entry <> c.last_entry end as is_other_head,
      x.chain is not null and k.seq > c.to_seq as is_cut, -- by the bound: the head is not reached yet
      case
        when not k.is_as_stated then 'bound_mismatch'
        when c.broken_seq = c.from_seq then null -- whatever it links to
        -- Where an earlier run stopped.
        when (c.organization_id, c.chain, c.from_seq) = (v_from_organization, v_from_chain, v_from_seq) then null
        when c.from_seq <= k.purged then 'purged_before'
        when c.from_seq > coalesce(k.purged, 0) + 1 then 'gap'
        when c.first_prev_hash <> coalesce(k.purged_hash, audit.first_prev_hash(c.organization_id, c.chain)) then 'link_mismatch'
        when c.first_at < k.purged_at then 'time_reversed'
      end as first_finding
    from chains c
    full join known k on k.organization_id = c.organization_id and k.chain = c.chain
    left join cut x on x.organization_id = c.organization_id and x.chain = c.chain
  ),
  judged as (
    select c.organization_id, c.chain, c.entries, c.from_seq, c.to_seq, c.is_cut, c.purged,
      case
        when c.first_finding = 'bound_mismatch' then c.purged
        when c.first_finding is not null then c.from_seq
        when c.finding is not null then c.broken_seq
        when c.is_cut then null
        when c.has_head is not true then c.last_seq
        when c.head_seq > c.last_seq then c.last_seq + 1
        when c.head_seq < c.last_seq then c.head_seq + 1
        when c.is_other_head then c.last_seq
      end as broken_seq,
      case
        when c.first_finding is not null then c.first_finding
        when c.finding is not null then c.finding
        when c.is_cut then null
        when c.has_head is not true then 'head_missing'
        when c.head_seq > c.last_seq then 'tail_missing'
        when c.head_seq < c.last_seq then 'beyond_head'
        when c.is_other_head then 'head_mismatch'
      end as finding
    from compared c
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
      when 'bound_mismatch' then 'The boundary of what was purged is not where the log.purged entry says.'
      when 'purged_before' then 'Entries up to the boundary were purged: this one came back.'
    end,
    case when (j.organization_id, j.chain) in (select k.organization_id, k.chain from cut k)
      then concat(j.organization_id, '/', j.chain, '/', j.to_seq) end
  from judged j
  where j.entries > 0 or j.purged > 0 or j.finding is not null
  order by j.organization_id, j.chain;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Recomputes and follows every chain: select * from audit.verify(). One row a chain: verified, partial (the bound was
reached) or broken, with the first broken entry and the kind of break. Bounded by max_entries and resumed from the
value of column resume: select * from audit.verify(max_entries => 100000, resume_from => …).

-- function audit.verify_for_report(audit.reports)
CREATE OR REPLACE FUNCTION audit.verify_for_report(INOUT report audit.reports, OUT is_done boolean)
 RETURNS record
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_run record;
begin
  select coalesce(sum(v.entries), 0) as entries, count(*) filter (where v.status = 'verified') as verified,
    coalesce(jsonb_agg(jsonb_build_object('chain', v.chain, 'seq', v.broken_seq, 'finding', v.finding)) filter (where v.status = 'broken'), '[]') as broken,
    max(v.resume) as resume
  into v_run
  from audit.verify((report).organization_id, 150000, (report).resume ->> 'from') v;
  report.resume := jsonb_strip_nulls(jsonb_build_object(
    'from', v_run.resume,
    'chains', jsonb_build_object(
      'verified', coalesce(((report).resume #>> '{chains,verified}')::bigint, 0) + v_run.verified,
      'entries', coalesce(((report).resume #>> '{chains,entries}')::bigint, 0) + v_run.entries,
      'broken', coalesce((report).resume #> '{chains,broken}', '[]') || v_run.broken
    )
  ));
  is_done := v_run.resume is null;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Verifies chains of an organisation on, for its report; says whether all are.

-- function audit.verify_identities(uuid)
CREATE OR REPLACE FUNCTION audit.verify_identities(organization uuid DEFAULT NULL::uuid)
 RETURNS TABLE(organization_id uuid, identity_hash bytea, state text, entries bigint)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  with used as (
    select a.organization_id, a.identity_hash, count(*) as entries, max(a.created_at) as last_at, max(a.created_by::text)::uuid as created_by
    from public.audit_logs a
    where a.identity_hash is not null
      and (verify_identities.organization is null or a.organization_id = verify_identities.organization)
    group by a.organization_id, a.identity_hash
  ),
  -- Read only where something is missing.
  erasures as materialized (
    select a.organization_id, a.created_at, a.details
    from public.audit_logs a
    where a.action = 'subject.erased'
      and (verify_identities.organization is null or a.organization_id = verify_identities.organization)
  )
  select u.organization_id, u.identity_hash,
    case
      when count(i.identity_hash) = 0 then case
        when exists (
          select from erasures e
          where e.organization_id = u.organization_id and (
            e.details ->> 'subject' = u.created_by::text and u.last_at <= e.created_at
            or e.details -> 'identities' ? encode(u.identity_hash, 'hex')
          )
        ) then 'erased'
        else 'missing'
      end
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
  group by u.organization_id, u.identity_hash, u.entries, u.last_at, u.created_by
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Opens every commitment to an identity: verified, erased (a subject.erased entry says so), missing (removed by somebody),
mismatched (tampered).

-- function audit.verify_log(integer)
CREATE OR REPLACE FUNCTION audit.verify_log(log integer, OUT status text, OUT finding text, OUT explanation text, OUT broken_entry text)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_log audit.logs;
  v_trees record;
  -- Where the first entry is that is not as it was sealed: from this index to before that one.
  v_from bigint := 0;
  v_to bigint;
  v_missing bigint;
  v_lost bigint;
  v_altered bigint;
begin
  select l.* into strict v_log from audit.logs l where l.id = verify_log.log;
  if v_log.archive_deleted_at is not null then
    status := 'expired';
    explanation := 'The log is past its retention: entries and archive were deleted, its last checkpoint is kept.';
    return;
  end if;
  select r.finding, r.broken_entry into finding, broken_entry from audit.verify_ranges(v_log.id) r;

  if finding is null then
    select coalesce(bool_or(c.tree_root is null), false) as is_partial,
      min(c.size) filter (where c.tree_root <> c.root and not c.signs_tree) as wrong_root,
      array_agg(c.size) filter (where c.tree_root = c.root) as right_roots,
      min(c.size) filter (
        where (c.tree_root <> c.root or c.tree_frontier <> c.frontier) and c.signs_tree or not c.signs_root
      ) as wrong_checkpoint,
      coalesce(array_agg(c.size), '{}') || 0::bigint @> array[v_log.size, v_log.published] as has_last
    into v_trees
    from (
      select c.size, c.root, c.frontier, t.root as tree_root, t.frontier as tree_frontier,
        c.note is null and c.size > v_log.published or starts_with(c.note, n.head || encode(c.root, 'base64') || n.neck) is true as signs_root,
        c.note is null or starts_with(c.note, n.head || encode(t.root, 'base64') || n.neck) as signs_tree
      from audit.checkpoints c
      join audit.log_trees(v_log.id) t on t.size = c.size
      cross join lateral (select concat(v_log.origin, E'\n', c.size, E'\n') as head, E'\n\n' as neck) n
      where c.log = v_log.id
    ) c;

    if v_trees.is_partial or v_trees.wrong_root is not null then
      v_to := coalesce(v_trees.wrong_root, v_log.size);
      v_from := coalesce((select max(s) from unnest(v_trees.right_roots) s where s < v_to), 0);
      select min(l.index) filter (where l.hash is null),
        min(l.index) filter (where l.hash is null and l.seq <= b.seq is not true),
        min(l.index) filter (where l.hash <> l.kept_hash and l.index >= v_from and l.index < v_to)
      into v_missing, v_lost, v_altered
      from audit.log_leaves(v_log.id) l
      left join audit.chain_bounds b on b.organization_id = v_log.organization_id and b.chain = l.chain;
    end if;

    finding := case
      when v_lost is not null then 'entries_missing'
      when v_altered is not null or v_trees.wrong_root is not null then 'entry_altered'
      when not v_trees.has_last then 'checkpoint_missing'
      when v_trees.wrong_checkpoint is not null then 'checkpoint_altered'
      when not audit.verify_opening(v_log.id) then 'opening_altered'
    end;
    broken_entry := case finding
      when 'entries_missing' then audit.entry_at(v_log.id, v_lost)
      when 'entry_altered' then audit.entry_at(v_log.id, coalesce(v_altered, case when v_to = v_from + 1 then v_from end))
      when 'opening_altered' then audit.entry_at(v_log.id, 0)
    end;
  end if;

  status := case
    when finding is not null then 'broken'
    when v_log.size = 0 then 'pending'
    when v_missing is not null then 'partial'
    else 'verified'
  end;
  explanation := case finding
    when 'ranges_broken' then 'From here on the ranges do not say of each index which entry stands there, once.'
    when 'entries_skipped' then 'Entries before this one in its chain stand in no log: they were gone when they were to be sealed, or their range is.'
    when 'entries_missing' then 'The entry is gone, and it is not among those that were purged.'
    when 'entry_altered' then case
      when broken_entry is not null then 'The entry''s content is not what was sealed.'
      else format(
        'One of the entries from index %s (%s) to %s (%s) is not what was sealed, and was hashed again: the archive tells which.',
        v_from, audit.entry_at(v_log.id, v_from), v_to - 1, audit.entry_at(v_log.id, v_to - 1)
      )
    end
    when 'checkpoint_missing' then 'There is no checkpoint of the size that the log has.'
    when 'checkpoint_altered' then format(
      'The checkpoint of size %s does not say, or its note does not, what the tree of the entries is.',
      v_trees.wrong_checkpoint
    )
    when 'opening_altered' then 'The first entry does not commit to the last checkpoint of the log before, or that checkpoint is not the last.'
    else case when v_missing is not null then 'Entries were purged from the database, so no root can be made of them: the archive has them.' end
  end;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: What audit.verify_logs() says of one log.

-- function audit.verify_logs(uuid)
CREATE OR REPLACE FUNCTION audit.verify_logs(organization uuid DEFAULT NULL::uuid)
 RETURNS TABLE(organization_id uuid, origin text, size bigint, status text, broken_entry text, finding text, explanation text)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select l.organization_id, l.origin, l.size, v.status, v.broken_entry, v.finding, v.explanation
  from audit.logs l
  cross join lateral audit.verify_log(l.id) v
  where verify_logs.organization is null or l.organization_id = verify_logs.organization
  order by l.organization_id, l.month
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Recomputes every Merkle root from the entries: select * from audit.verify_logs(). One row a log: verified, partial
(entries were purged, the rest was checked), expired (so was the archive), pending (nothing sealed yet) or broken, with what
was found first. Without the
archive and the key it believes the database: npm run verify does not.

-- function audit.verify_on(audit.verifications,bigint)
CREATE OR REPLACE FUNCTION audit.verify_on(verification audit.verifications, most_entries bigint)
 RETURNS audit.verifications
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
declare
  v_organization uuid := (verification).organization_id;
  v_at audit.verifications := verification;
  v_chain record;
  v_log record;
begin
  if v_at.log is null then
    v_at.resume := null;
    for v_chain in select * from audit.verify(v_organization, verify_on.most_entries, (verification).resume) loop
      v_at.resume := coalesce(v_chain.resume, v_at.resume);
      if v_chain.status = 'broken' then
        v_at.broken := v_at.broken + 1;
        perform audit.note_finding(
          v_organization, 'chain_broken', concat_ws('-', v_chain.chain, v_chain.broken_seq),
          jsonb_build_object('finding', v_chain.finding, 'explanation', v_chain.explanation)
        );
      end if;
    end loop;
    v_at.log := case when v_at.resume is null then 0 end;
    return v_at;
  end if;

  select l.id, l.origin, v.* into v_log
  from (
    select l.* from audit.logs l
    where l.organization_id = v_organization and l.id > v_at.log
    order by l.id
    limit 1
  ) l
  cross join lateral audit.verify_log(l.id) v;
  if not found then
    v_at.ended_at := clock_timestamp();
    v_at.verified_at := v_at.ended_at;
    v_at.was_verified := v_at.broken = 0;
    return v_at;
  end if;
  v_at.log := v_log.id;
  if v_log.status = 'broken' then
    v_at.broken := v_at.broken + 1;
    perform audit.note_finding(
      v_organization, 'log_broken', v_log.origin,
      jsonb_build_object('finding', v_log.finding, 'explanation', v_log.explanation, 'entry', v_log.broken_entry)
    );
  end if;
  return v_at;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Verifies a little more of an organisation and notes what is broken: so many entries of its chains, or one log.

-- function audit.verify_opening(integer)
CREATE OR REPLACE FUNCTION audit.verify_opening(log integer)
 RETURNS boolean
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  -- Null where the entry is gone, or where there is none.
  select e.entry::jsonb -> 'action' = '"log.opened"' and (e.entry::jsonb -> 'details') - 'incarnation' = jsonb_build_object(
    'origin', l.origin,
    'previous', (
      select jsonb_build_object('origin', b.origin, 'size', b.size, 'root', encode(c.root, 'base64'))
      from audit.logs b
      join audit.checkpoints c on c.log = b.id and c.size = b.size
      where b.organization_id = l.organization_id and b.month < l.month
      order by b.month desc
      limit 1
    )
  )
  from audit.logs l
  cross join lateral audit.log_entries(l.id, 0, 1) e
  where l.id = verify_opening.log and l.month is not null
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Whether the first entry of a log commits to the last checkpoint of the log before it.

-- function audit.verify_ranges(integer)
CREATE OR REPLACE FUNCTION audit.verify_ranges(log integer, OUT finding text, OUT broken_entry text)
 RETURNS record
 LANGUAGE plpgsql
 STABLE
 SET search_path TO ''
AS $function$
declare
  v_log audit.logs;
begin
  select l.* into strict v_log from audit.logs l where l.id = verify_ranges.log;
  if v_log.month is null then
    if (select count(*) from audit.anchor_entries a where a.index < v_log.sequenced) <> v_log.sequenced then
      finding := 'ranges_broken';
    end if;
    return;
  end if;
  select
    case when r.start <> r.due then 'ranges_broken' else 'entries_skipped' end,
    case when r.from_seq is not null then concat(r.chain, '-', r.from_seq) end
  into finding, broken_entry
  from (
    select r.start, r.chain, r.from_seq,
      coalesce(sum(r.to_seq - r.from_seq + 1) over (order by r.start rows between unbounded preceding and 1 preceding), 0) as due,
      (
        select max(b.to_seq) from audit.log_ranges b
        where b.organization_id = r.organization_id and b.chain = r.chain and b.from_seq < r.from_seq
      ) as to_seq_before
    from (
      select r.* from audit.log_ranges r where r.log = v_log.id
      union all
      select v_log.id, v_log.sequenced, null, null, null, null -- where the next range would begin
    ) r
  ) r
  where r.start <> r.due or r.from_seq <> r.to_seq_before + 1
  order by r.start
  limit 1;
end
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: The first place where the ranges of a log leave an index out or name it twice, or where a chain does not go on where it was left.

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
  v_entry := audit.find_entry(v_organization, request ->> 'name');
  v_chain := v_entry.chain;
  v_seq := v_entry.seq;
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
    'proof', coalesce(
      '{"state": "sealed"}'::jsonb || (audit.place_in_log(v_organization, v_chain, v_seq) - array['folder', 'anchored']), '{"state": "pending"}'
    )
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

-- function audit.waiting_chains(uuid)
CREATE OR REPLACE FUNCTION audit.waiting_chains(organization uuid DEFAULT NULL::uuid)
 RETURNS TABLE(organization_id uuid, chain integer, from_seq bigint, to_seq bigint, since timestamp with time zone, sequenced_at timestamp with time zone)
 LANGUAGE sql
 STABLE
 SET search_path TO ''
AS $function$
  select h.organization_id, h.chain, coalesce(s.seq, 0) + 1, h.seq, coalesce(a.created_at, h.last_at), coalesce(s.last_at, '-infinity')
  from audit.heads h
  left join audit.sequenced s on s.organization_id = h.organization_id and s.chain = h.chain
  left join lateral (
    select a.created_at
    from public.audit_logs a
    where a.organization_id = h.organization_id and a.chain = h.chain and a.seq = coalesce(s.seq, 0) + 1
      and a.created_at >= coalesce(s.last_at, '-infinity')
    limit 1
  ) a on true
  where (waiting_chains.organization is null or h.organization_id = waiting_chains.organization)
    and h.seq > coalesce(s.seq, 0)
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: Chains with entries that have no index yet, and since when the oldest of them waits.

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

-- function audit.withdraw_exports(uuid,timestamp with time zone)
CREATE OR REPLACE FUNCTION audit.withdraw_exports(organization_id uuid, since timestamp with time zone)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_withdrawn int;
begin
  delete from audit.export_parts p
  using audit.exports x
  where x.id = p.export and x.organization_id = withdraw_exports.organization_id and x.until >= withdraw_exports.since;
  update audit.exports x set
    withdrawn_at = clock_timestamp(), state = 'cancelled', filter = '{"and": []}', next = null, manifest = null,
    manifest_note = null, error = 'Taken back: a person who may be in it was erased. Ask for it again.'
  where x.organization_id = withdraw_exports.organization_id and x.until >= withdraw_exports.since and x.withdrawn_at is null;
  get diagnostics v_withdrawn = row_count;
  return v_withdrawn;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Takes back exports that can hold entries since a time: what they asked for is forgotten at once, their files with the next
run of the job "expire". Answers how many.

-- function audit.withdraw_reports(uuid,uuid)
CREATE OR REPLACE FUNCTION audit.withdraw_reports(organization_id uuid, subject uuid)
 RETURNS integer
 LANGUAGE plpgsql
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_withdrawn int;
begin
  update audit.reports r set
    state = 'withdrawn', withdrawn_at = clock_timestamp(), sections = '[]', content = null, files = '[]', manifest = null,
    manifest_note = null, names = '{}', error = 'Taken back: the person was erased.'
  where r.organization_id = withdraw_reports.organization_id and r.subject = withdraw_reports.subject and r.state <> 'withdrawn';
  get diagnostics v_withdrawn = row_count;
  -- Made again, without; a run that has one now loses it.
  update audit.reports r set state = 'queued', attempts = 0, lease_until = null, names = '{}'
  where r.organization_id = withdraw_reports.organization_id and withdraw_reports.subject = any (r.names) and r.state in ('running', 'done');
  return v_withdrawn;
end
$function$

owner postgres
grant postgres: EXECUTE
comment: Takes back reports about a person, and has those made again that show the person's address; answers how many are taken back.

-- function audit.without_personal(jsonb)
CREATE OR REPLACE FUNCTION audit.without_personal(message jsonb)
 RETURNS jsonb
 LANGUAGE sql
 IMMUTABLE
 SET search_path TO ''
AS $function$
  select regexp_replace(
    regexp_replace(
      without_personal.message::text,
      -- Names of people, as far as they can be known by their form. A time of day has colons too, but neither two side by
      -- side nor eight groups.
      '[^\s"<>@\\(),;:]+@[^\s"<>@\\(),;:]+\.[^\s"<>@\\(),;:]+', '[e-mail address]', 'g'
    ),
    '(\m[0-9a-fA-F]{1,4}(:[0-9a-fA-F]{1,4}){7}\M|[0-9a-fA-F:]*::[0-9a-fA-F:.]*|\m\d{1,3}(\.\d{1,3}){3}\M)', '[IP address]', 'g'
  )::jsonb
$function$

owner postgres
grant postgres: EXECUTE
grant service_role: EXECUTE
comment: A message without e-mail and IP addresses.

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

-- function public.record_audit_event(text,text,text,jsonb,uuid)
CREATE OR REPLACE FUNCTION public.record_audit_event(action text, resource_type text DEFAULT NULL::text, resource_id text DEFAULT NULL::text, details jsonb DEFAULT '{}'::jsonb, organization_id uuid DEFAULT NULL::uuid)
 RETURNS text
 LANGUAGE plpgsql
 SECURITY DEFINER
 SET search_path TO ''
AS $function$
#variable_conflict use_column
declare
  v_most constant int := 60;
  v_user uuid := auth.uid();
  v_organization uuid := record_audit_event.organization_id;
  v_organizations uuid[];
  v_events int;
begin
  if v_user is null then
    perform audit.fail('AUDEN', 'Only a signed-in user reports events of their own.', null,
      'Sign in; a backend reports to the function audit-ingest, or by audit.record().');
  end if;
  v_organizations := array(select m.organization_id from audit.memberships(v_user) m order by 1);
  if v_organization is null and cardinality(v_organizations) = 1 then
    v_organization := v_organizations[1];
  elsif v_organization is null and cardinality(v_organizations) > 1 then
    perform audit.fail('AUARG', 'Name the organisation: you belong to several.', null,
      'Pass organization_id, one of: ' || array_to_string(v_organizations, ', ') || '.');
  elsif v_organization is null or v_organization <> all (v_organizations) then
    perform audit.fail('AUDEN', 'You do not belong to this organisation.', null, 'Events are reported to one''s own organisation.');
  end if;
  if action is null or not audit.setting('client_actions', v_organization) @> to_jsonb(action) or audit.is_reserved(action) then
    perform audit.fail('AUDEN', format('Clients do not report %L.', left(action, 100)), null,
      'The setting client_actions lists what they may: '
        || array_to_string(array(select jsonb_array_elements_text(audit.setting('client_actions', v_organization))), ', ') || '.');
  end if;
  if jsonb_typeof(details) is distinct from 'object' or octet_length(details::text) > 4096
    or length(resource_type) > 200 or length(resource_id) > 500
  then
    perform audit.fail('AUARG', 'A client''s event is too large, or its details are no JSON object.', null,
      'Details have at most 4,096 bytes, resource_type 200 and resource_id 500 characters.');
  end if;

  insert into audit.client_rates as r (user_id, minute, events)
  values (v_user, clock_timestamp(), 1)
  on conflict on constraint client_rates_pkey do update set
    minute = case when r.minute > clock_timestamp() - interval '1 minute' then r.minute else clock_timestamp() end,
    events = case when r.minute > clock_timestamp() - interval '1 minute' then r.events + 1 else 1 end
  returning r.events into v_events;
  if v_events > v_most then
    perform audit.fail('AURAT', format('A client reports at most %s events a minute.', v_most), null, 'Try again in a minute.');
  end if;

  return (
    select r.chain || '-' || r.seq
    from audit.record(
      v_organization, action, resource_type, resource_id, details || '{"reported_by": "client"}'
    ) r
  );
end
$function$

owner postgres
grant authenticated: EXECUTE
grant postgres: EXECUTE
comment: Records that the signed-in user did something their client knows of, such as settings.viewed; returns the entry's name.
supabase.rpc('record_audit_event', { action: 'settings.viewed', resource_type: 'settings', resource_id: 'billing' })

-- event trigger audit_on_ddl_command_end
on ddl_command_end execute audit.on_ddl_command_end() (enabled O)

-- event trigger audit_on_sql_drop
on sql_drop execute audit.on_sql_drop() (enabled O)
