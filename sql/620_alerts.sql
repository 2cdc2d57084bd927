-- Stand-in of rules: alerts, with the columns that deliveries read.

create table if not exists audit.alerts (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  rule_id uuid not null,
  group_key text not null,
  severity text not null,
  title text not null,
  reason jsonb not null,
  state text not null default 'open',
  opened_at timestamptz not null default clock_timestamp(),
  first_seen_at timestamptz not null,
  last_seen_at timestamptz not null,
  resolved_at timestamptz,
  occurrences bigint not null,
  entries text[] not null,
  channels uuid[]
);

comment on table audit.alerts is 'Open incidents of rules, and those that are over.';
comment on column audit.alerts.id is 'Names the alert.';
comment on column audit.alerts.organization_id is 'Whom it concerns.';
comment on column audit.alerts.rule_id is 'The rule.';
comment on column audit.alerts.group_key is 'Which of the rule''s groups: a user, an address, a provider.';
comment on column audit.alerts.severity is 'info, low, medium, high or critical.';
comment on column audit.alerts.title is 'What happened, in a line.';
comment on column audit.alerts.reason is 'Why: expected, seen, and what contributed.';
comment on column audit.alerts.state is 'open, acknowledged, silenced or resolved.';
comment on column audit.alerts.opened_at is 'When it was opened.';
comment on column audit.alerts.first_seen_at is 'When it happened first.';
comment on column audit.alerts.last_seen_at is 'When it happened last.';
comment on column audit.alerts.resolved_at is 'When it was over.';
comment on column audit.alerts.occurrences is 'How many times.';
comment on column audit.alerts.entries is 'The first entries that caused it, by name.';
comment on column audit.alerts.channels is 'Where its transitions go, as the rule said; null for the organisation''s default channels.';
