-- Stand-in of rules: alerts, with the columns that deliveries read.

create table if not exists audit.alerts (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  rule_id uuid not null,
  group_key text not null default '',
  severity text not null,
  title text not null,
  reason jsonb not null default '{}',
  state text not null default 'open',
  opened_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  resolved_at timestamptz,
  occurrences bigint not null default 1,
  entries text[] not null default '{}'
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
comment on column audit.alerts.opened_at is 'When it happened first.';
comment on column audit.alerts.last_seen_at is 'When it happened last.';
comment on column audit.alerts.resolved_at is 'When it was over.';
comment on column audit.alerts.occurrences is 'How many times.';
comment on column audit.alerts.entries is 'The first entries that caused it, by name.';

create or replace function audit.raise_alert(
  rule_id uuid,
  organization_id uuid,
  group_key text,
  happened_at timestamptz,
  title text,
  reason jsonb,
  entries text[],
  severity text default null
)
  returns uuid
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_alert uuid;
begin
  insert into audit.alerts (organization_id, rule_id, group_key, severity, title, reason, opened_at, last_seen_at, entries)
  values (
    raise_alert.organization_id, raise_alert.rule_id, raise_alert.group_key,
    coalesce(raise_alert.severity, (select r.severity from audit.rules r where r.id = raise_alert.rule_id), 'medium'),
    raise_alert.title, raise_alert.reason, raise_alert.happened_at, raise_alert.happened_at, raise_alert.entries
  )
  returning id into v_alert;
  perform audit.queue_alert(v_alert, 'opened');
  return v_alert;
end
$$;

comment on function audit.raise_alert(uuid, uuid, text, timestamptz, text, jsonb, text[], text) is 'Opens an alert.';
