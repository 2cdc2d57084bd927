-- Stand-in of rules: alerts, with the columns that anomalies read.

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
  entries text[] not null
);

comment on table audit.alerts is 'Open incidents, and those that are over.';
comment on column audit.alerts.id is 'Names the alert.';
comment on column audit.alerts.organization_id is 'Whom it concerns.';
comment on column audit.alerts.rule_id is 'The rule that raised it.';
comment on column audit.alerts.group_key is 'What it is about, as JSON.';
comment on column audit.alerts.severity is 'How loud.';
comment on column audit.alerts.title is 'What happened, in a line.';
comment on column audit.alerts.reason is 'What was seen, and what is expected.';
comment on column audit.alerts.state is 'open, acknowledged, silenced or resolved.';
comment on column audit.alerts.opened_at is 'When it was opened.';
comment on column audit.alerts.first_seen_at is 'When it happened first.';
comment on column audit.alerts.last_seen_at is 'When it happened last.';
comment on column audit.alerts.resolved_at is 'When it was over.';
comment on column audit.alerts.occurrences is 'How many times.';
comment on column audit.alerts.entries is 'Entries that caused it, by name.';

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
declare
  v_rule audit.rules := audit.rule_for(raise_alert.rule_id, raise_alert.organization_id);
  v_alert uuid;
begin
  update audit.alerts a set
    occurrences = a.occurrences + 1, last_seen_at = greatest(a.last_seen_at, raise_alert.happened_at),
    first_seen_at = least(a.first_seen_at, raise_alert.happened_at)
  where a.rule_id = raise_alert.rule_id and a.organization_id = raise_alert.organization_id and a.group_key = raise_alert.group_key
    and a.state <> 'resolved' and a.last_seen_at + v_rule.quiet_period >= raise_alert.happened_at
  returning a.id into v_alert;
  if v_alert is null then
    update audit.alerts a set state = 'resolved', resolved_at = a.last_seen_at + v_rule.quiet_period
    where a.rule_id = raise_alert.rule_id and a.organization_id = raise_alert.organization_id and a.group_key = raise_alert.group_key
      and a.state <> 'resolved';
    insert into audit.alerts
      (organization_id, rule_id, group_key, severity, title, reason, first_seen_at, last_seen_at, occurrences, entries)
    values (
      raise_alert.organization_id, raise_alert.rule_id, raise_alert.group_key, coalesce(raise_alert.severity, v_rule.severity),
      raise_alert.title, raise_alert.reason, raise_alert.happened_at, raise_alert.happened_at, 1, raise_alert.entries[:20]
    )
    returning id into v_alert;
  end if;
  return v_alert;
end
$$;

comment on function audit.raise_alert(uuid, uuid, text, timestamptz, text, jsonb, text[], text) is
  'Opens an alert of a rule, or counts a repetition of one that is open for the group; returns its id.';
