-- Stand-in of rules: the columns that anomalies read, and the one default that they are raised by.

create table if not exists audit.rules (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  name text not null,
  description text not null default '',
  version int not null default 1,
  kind text not null,
  severity text not null,
  enabled boolean not null default true,
  match jsonb not null,
  settings jsonb not null,
  quiet_period interval,
  channels uuid[]
);

comment on table audit.rules is 'What is watched for.';
comment on column audit.rules.id is 'Names the rule.';
comment on column audit.rules.organization_id is 'Whose rule it is; the nil UUID for the defaults, which hold for everybody.';
comment on column audit.rules.name is 'What it is called.';
comment on column audit.rules.description is 'What it means.';
comment on column audit.rules.version is 'How many times it was written.';
comment on column audit.rules.kind is 'event, count, distinct, sum, sequence, new_value, schedule or anomaly.';
comment on column audit.rules.severity is 'info, low, medium, high or critical.';
comment on column audit.rules.enabled is 'Whether it is in force.';
comment on column audit.rules.match is 'Which entries it is about.';
comment on column audit.rules.settings is 'What its kind needs.';
comment on column audit.rules.quiet_period is 'An alert is over when nothing happened for so long.';
comment on column audit.rules.channels is 'Where its alerts go.';

create table if not exists audit.rule_choices (
  rule_id uuid not null,
  organization_id uuid not null,
  choice jsonb not null,
  constraint rule_choices_pkey primary key (rule_id, organization_id)
);

comment on table audit.rule_choices is 'How organisations have tuned the defaults.';
comment on column audit.rule_choices.rule_id is 'The default.';
comment on column audit.rule_choices.organization_id is 'Who has chosen.';
comment on column audit.rule_choices.choice is 'The fields that differ.';

create or replace function audit.rule_for(rule_id uuid, organization_id uuid)
  returns audit.rules
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_rule audit.rules;
  v_choice jsonb := (
    select c.choice from audit.rule_choices c where c.rule_id = rule_for.rule_id and c.organization_id = rule_for.organization_id
  );
begin
  select r.* into v_rule from audit.rules r where r.id = rule_for.rule_id;
  v_rule.enabled := coalesce((v_choice ->> 'enabled')::boolean, v_rule.enabled);
  v_rule.severity := coalesce(v_choice ->> 'severity', v_rule.severity);
  v_rule.settings := v_rule.settings || coalesce(v_choice - array['enabled', 'severity'], '{}');
  return v_rule;
end
$$;

comment on function audit.rule_for(uuid, uuid) is 'A rule as it holds for an organisation.';

insert into audit.rules (id, organization_id, name, description, kind, severity, match, settings, quiet_period)
values (
  '00000000-0000-4000-a000-000000000624', audit.system_organization(), 'Unusual volume or cost',
  'Far more or fewer queries, or far higher costs, than at this hour on other days.', 'anomaly', 'medium', '{"and": []}', '{}', '1 day'
)
on conflict do nothing;
