-- Stand-in of rules: the columns that deliveries read.

create table if not exists audit.rules (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  name text not null,
  kind text not null default 'event',
  severity text not null default 'medium',
  match jsonb not null,
  settings jsonb not null,
  channels uuid[]
);

comment on table audit.rules is 'What is watched for.';
comment on column audit.rules.id is 'Names the rule.';
comment on column audit.rules.organization_id is 'Whose rule; the nil UUID for everybody''s.';
comment on column audit.rules.name is 'What it is called.';
comment on column audit.rules.kind is 'event, count, distinct, sum, sequence, new_value, schedule or anomaly.';
comment on column audit.rules.severity is 'info, low, medium, high or critical.';
comment on column audit.rules.match is 'Which entries it is about.';
comment on column audit.rules.settings is 'What its kind needs.';
comment on column audit.rules.channels is 'Where its alerts go; null for the organisation''s default channels.';

create or replace function audit.rule_for(rule_id uuid, organization_id uuid)
  returns audit.rules
  language sql
  stable
  set search_path = ''
as $$
  select r.* from audit.rules r where r.id = rule_for.rule_id
$$;

comment on function audit.rule_for(uuid, uuid) is 'A rule as it holds for an organisation.';
