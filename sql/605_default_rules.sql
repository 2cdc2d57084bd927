-- The defaults, each with the samples that show what it raises and what it must not. They hold for every organisation,
-- which can switch each off or tune it (audit.choose_rule). Loading this file again brings them up to date; what
-- organisations have chosen stays.

create or replace function audit.keep_default(rule jsonb, tests jsonb)
  returns void
  language plpgsql
  set search_path = ''
as $$
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
$$;

comment on function audit.keep_default(jsonb, jsonb) is 'Makes a default rule as it is defined here, with its samples.';

select audit.keep_default(d.rule::jsonb, d.tests::jsonb)
from (values
  -- Signing in ------------------------------------------------------------------------------------------------------
  ('{"id": "00000000-0000-4000-a000-000000000601", "name": "Failed logins of one user", "kind": "count", "severity": "medium",
    "match": "action:user.login_failed", "window": "1h", "threshold": 3, "group_by": ["actor"],
    "description": "Somebody tries passwords for this user, or the user has forgotten theirs."}',
   '[{"name": "three within the hour, across a full hour", "alerts": 1, "entries": [{"action": "user.login_failed", "actor": "ada", "times": 3, "every": "25m"}]},
     {"name": "three in two hours", "alerts": 0, "entries": [{"action": "user.login_failed", "actor": "ada", "times": 3, "every": "40m"}]},
     {"name": "three of three users", "alerts": 0, "entries": [{"action": "user.login_failed", "actor": "ada"}, {"action": "user.login_failed", "actor": "bob"}, {"action": "user.login_failed", "actor": "eve"}]},
     {"name": "three of an address that no user has", "alerts": 1, "entries": [{"action": "user.login_failed", "email": "nobody@example.com", "times": 3}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000602", "name": "Failed logins from one address", "kind": "count", "severity": "medium",
    "match": "action:user.login_failed", "window": "1h", "threshold": 3, "group_by": ["ip"],
    "description": "Somebody tries passwords from this IP address, perhaps of several users."}',
   '[{"name": "three users from one address", "alerts": 1, "entries": [{"action": "user.login_failed", "actor": "ada", "ip": "203.0.113.9"}, {"action": "user.login_failed", "actor": "bob", "ip": "203.0.113.9"}, {"action": "user.login_failed", "actor": "eve", "ip": "203.0.113.9"}]},
     {"name": "from three addresses", "alerts": 0, "entries": [{"action": "user.login_failed", "actor": "ada", "ip": "203.0.113.7"}, {"action": "user.login_failed", "actor": "ada", "ip": "203.0.113.8"}, {"action": "user.login_failed", "actor": "ada", "ip": "203.0.113.9"}]},
     {"name": "addresses that are not known are not one", "alerts": 0, "entries": [{"action": "user.login_failed", "actor": "ada", "times": 5}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000603", "name": "Failed logins, then success", "kind": "sequence", "severity": "high",
    "match": "action:user.login_failed", "threshold": 3, "then": "action:user.login outcome:success", "window": "1h", "group_by": ["actor"],
    "description": "After several failures somebody is in: find out whether it is the user."}',
   '[{"name": "three failures and a login", "alerts": 1, "entries": [{"action": "user.login_failed", "actor": "ada", "times": 3, "every": "10m"}, {"action": "user.login", "actor": "ada", "after": "30m"}]},
     {"name": "two failures and a login", "alerts": 0, "entries": [{"action": "user.login_failed", "actor": "ada", "times": 2}, {"action": "user.login", "actor": "ada", "after": "1m"}]},
     {"name": "a login and then failures", "alerts": 0, "entries": [{"action": "user.login", "actor": "ada"}, {"action": "user.login_failed", "actor": "ada", "after": "1s", "times": 3}]},
     {"name": "the login of somebody else", "alerts": 0, "entries": [{"action": "user.login_failed", "actor": "ada", "times": 3}, {"action": "user.login", "actor": "bob", "after": "1m"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000604", "name": "Login from a new country", "kind": "new_value", "severity": "low",
    "match": "action:user.login outcome:success", "value": "country", "history": "14d", "warm_up": 5, "quiet_period": "1d",
    "description": "Nobody of the organisation signed in from there for two weeks. Alone it says little: people travel and use proxies."}',
   '[{"name": "without a table of addresses there are no countries", "alerts": 0, "entries": [{"action": "user.login", "actor": "ada", "ip": "203.0.113.9", "times": 20, "every": "1d"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000605", "name": "Activity at unusual hours", "kind": "count", "severity": "low",
    "match": "actor_type:user actor:*", "threshold": 3, "window": "1h", "group_by": ["actor"], "hours": "learned", "quiet_period": "1d",
    "description": "Several actions of a user at an hour of the week at which nobody in the organisation is used to work. Set \"hours\" to the hours of work to go by those."}',
   '[{"name": "who has no history yet has no unusual hours", "alerts": 0, "entries": [{"action": "settings.viewed", "actor": "ada", "actor_type": "user", "times": 10}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000606", "name": "Impossible travel", "kind": "travel", "severity": "low",
    "match": "action:user.login outcome:success actor:*", "group_by": ["actor"], "window": "1d", "speed": 1000, "distance": 500, "quiet_period": "1d",
    "description": "Two logins of a user from places that nobody travels between in the time: an account in other hands, or a proxy. List your own networks in \"allowed\"."}',
   '[{"name": "private addresses are nowhere", "alerts": 0, "entries": [{"action": "user.login", "actor": "ada", "ip": "10.0.0.1"}, {"action": "user.login", "actor": "ada", "ip": "192.168.0.1", "after": "1m"}]}]'),
  -- Keys, roles and guards ------------------------------------------------------------------------------------------
  ('{"id": "00000000-0000-4000-a000-000000000611", "name": "API key added", "kind": "event", "severity": "medium",
    "match": "action:api_key.added", "group_by": ["resource"], "quiet_period": "1d", "description": "A key for a provider was added."}',
   '[{"name": "a key", "alerts": 1, "entries": [{"action": "api_key.added", "resource": "api_key/1"}]},
     {"name": "another thing", "alerts": 0, "entries": [{"action": "budget.created", "resource": "budget/1"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000612", "name": "API key changed", "kind": "event", "severity": "low",
    "match": "action:api_key.updated", "group_by": ["resource"], "description": "A key was renamed, rotated or switched off or on."}',
   '[{"name": "twice in an hour is one alert", "alerts": 1, "entries": [{"action": "api_key.updated", "resource": "api_key/1", "times": 2, "every": "50m"}]},
     {"name": "two keys are two", "alerts": 2, "entries": [{"action": "api_key.updated", "resource": "api_key/1"}, {"action": "api_key.updated", "resource": "api_key/2"}]},
     {"name": "added is not changed", "alerts": 0, "entries": [{"action": "api_key.added", "resource": "api_key/1"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000613", "name": "API key deleted", "kind": "event", "severity": "medium",
    "match": "action:api_key.deleted", "group_by": ["resource"], "quiet_period": "1d", "description": "A key for a provider was deleted."}',
   '[{"name": "a key", "alerts": 1, "entries": [{"action": "api_key.deleted", "resource": "api_key/1"}]},
     {"name": "changed is not deleted", "alerts": 0, "entries": [{"action": "api_key.updated", "resource": "api_key/1"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000614", "name": "Administrator made", "kind": "event", "severity": "high",
    "match": "action:member.role_changed changes.role.new:(admin or owner) or action:member.added new.role:(admin or owner) or action:permission.granted",
    "group_by": ["resource"], "quiet_period": "1d", "description": "Somebody got all rights of the organisation."}',
   '[{"name": "a member becomes admin", "alerts": 1, "entries": [{"action": "member.role_changed", "resource": "member/1", "details": {"changes": {"role": {"old": "member", "new": "admin"}}}}]},
     {"name": "an admin is added", "alerts": 1, "entries": [{"action": "member.added", "resource": "member/1", "details": {"new": {"role": "admin"}}}]},
     {"name": "an admin becomes member", "alerts": 0, "entries": [{"action": "member.role_changed", "resource": "member/1", "details": {"changes": {"role": {"old": "admin", "new": "member"}}}}]},
     {"name": "a member is added", "alerts": 0, "entries": [{"action": "member.added", "resource": "member/1", "details": {"new": {"role": "member"}}}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000615", "name": "Capture weakened", "kind": "event", "severity": "high",
    "match": "action:capture.untracked or action:capture.changed resource_type:trigger or action:capture.changed resource_type:setting resource_id:(ip_addresses or query_text)",
    "group_by": ["action", "resource"], "quiet_period": null, "description": "Something is recorded no longer, or less of it."}',
   '[{"name": "a table is untracked", "alerts": 1, "entries": [{"action": "capture.untracked", "resource": "table/public.api_keys"}]},
     {"name": "a trigger is dropped", "alerts": 1, "entries": [{"action": "capture.changed", "resource": "trigger/x"}]},
     {"name": "a table is tracked", "alerts": 0, "entries": [{"action": "capture.tracked", "resource": "table/public.api_keys"}]},
     {"name": "tracked anew after it was altered", "alerts": 0, "entries": [{"action": "capture.changed", "resource": "table/public.api_keys"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000616", "name": "Retention changed or hold released", "kind": "event", "severity": "high",
    "match": "action:(retention.changed or hold.released)", "group_by": ["action"], "quiet_period": null,
    "description": "Entries may be let go earlier. A shorter period takes effect after some days: time to object."}',
   '[{"name": "a shorter period", "alerts": 1, "entries": [{"action": "retention.changed", "resource": "retention/default"}]},
     {"name": "a hold is placed", "alerts": 0, "entries": [{"action": "hold.placed", "resource": "hold/Case 1"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000617", "name": "Verification failed", "kind": "event", "severity": "critical",
    "match": "action:verification.failed", "group_by": ["resource_id"], "quiet_period": null,
    "description": "A chain, a log or the archive is not what it was, or a check of them could not be made. The entry says what was found."}',
   '[{"name": "a broken chain", "alerts": 1, "entries": [{"action": "verification.failed", "outcome": "failure", "resource": "finding/3-17"}]},
     {"name": "a purge is none", "alerts": 0, "entries": [{"action": "log.purged", "resource": "audit_log/1"}]}]'),
  -- Use and cost ----------------------------------------------------------------------------------------------------
  ('{"id": "00000000-0000-4000-a000-000000000621", "name": "Budget reached", "kind": "sum", "severity": "medium",
    "against": "budgets", "percent": [50, 80, 100], "quiet_period": "1d",
    "description": "Costs of the period have reached a share of a budget, or exceed it. Once for each budget, period and share."}',
   '[{"name": "half of it", "alerts": 1, "entries": [{"action": "budget.created", "resource": "budget/1", "details": {"new": {"limit_usd": 100, "period": "monthly"}}}, {"action": "query.completed", "cost": 30, "times": 2}]},
     {"name": "all of it, and more", "alerts": 4, "entries": [{"action": "budget.created", "resource": "budget/1", "details": {"new": {"limit_usd": 100}}}, {"action": "query.completed", "cost": 101}]},
     {"name": "less than half", "alerts": 0, "entries": [{"action": "budget.created", "resource": "budget/1", "details": {"new": {"limit_usd": 100}}}, {"action": "query.completed", "cost": 49}]},
     {"name": "of a budget that was deleted", "alerts": 0, "entries": [{"action": "budget.created", "resource": "budget/1", "details": {"new": {"limit_usd": 100}}}, {"action": "budget.deleted", "resource": "budget/1"}, {"action": "query.completed", "cost": 300, "after": "5m"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000622", "name": "Batch of queries", "kind": "count", "severity": "low",
    "match": "action:query.executed", "window": "10m", "threshold": 100, "group_by": ["actor"], "quiet_period": "1h",
    "description": "More queries of one actor than a person sends: a program, or a key in other hands."}',
   '[{"name": "a hundred", "alerts": 1, "entries": [{"action": "query.executed", "actor": "ada", "times": 100, "every": "5s"}]},
     {"name": "ninety-nine", "alerts": 0, "entries": [{"action": "query.executed", "actor": "ada", "times": 99, "every": "5s"}]},
     {"name": "a hundred in twenty minutes", "alerts": 0, "entries": [{"action": "query.executed", "actor": "ada", "times": 100, "every": "13s"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000623", "name": "Unexpected provider", "kind": "new_value", "severity": "medium",
    "match": "action:query.executed provider:*", "value": "provider", "history": "14d", "warm_up": 5, "quiet_period": "1d",
    "description": "A provider that the organisation did not use for two weeks; with \"allowed\" set, one that is not on that list."}',
   '[{"name": "a new one after five days", "alerts": 1, "entries": [{"action": "query.executed", "provider": "openai", "times": 6, "every": "1d"}, {"action": "query.executed", "provider": "unknown", "after": "6d"}]},
     {"name": "a new one in the first days", "alerts": 0, "entries": [{"action": "query.executed", "provider": "openai", "times": 3, "every": "1d"}, {"action": "query.executed", "provider": "unknown", "after": "4d"}]},
     {"name": "one that is used each week", "alerts": 0, "entries": [{"action": "query.executed", "provider": "openai", "times": 21, "every": "1d"}, {"action": "query.executed", "provider": "google", "times": 3, "every": "1w"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000624", "name": "Unusual volume or cost", "kind": "anomaly", "severity": "medium", "quiet_period": "1d",
    "description": "Far more or fewer queries, or far higher costs, than at this hour on other days."}', '[]'),
  ('{"id": "00000000-0000-4000-a000-000000000625", "name": "Many exports", "kind": "count", "severity": "medium",
    "match": "action:(data.exported or log.exported)", "window": "1h", "threshold": 10, "group_by": ["actor"],
    "description": "One actor takes much out, export by export."}',
   '[{"name": "ten", "alerts": 1, "entries": [{"action": "data.exported", "actor": "ada", "times": 10, "every": "5m"}]},
     {"name": "nine", "alerts": 0, "entries": [{"action": "data.exported", "actor": "ada", "times": 9, "every": "5m"}]}]'),
  ('{"id": "00000000-0000-4000-a000-000000000626", "name": "Large export of the log", "kind": "sum", "severity": "medium",
    "match": "action:log.exported", "value": "details.entries", "window": "1h", "threshold": 100000, "group_by": ["actor"],
    "description": "One actor takes much of the log out."}',
   '[{"name": "in two parts", "alerts": 1, "entries": [{"action": "log.exported", "actor": "ada", "details": {"entries": 60000}, "times": 2}]},
     {"name": "a day''s worth", "alerts": 0, "entries": [{"action": "log.exported", "actor": "ada", "details": {"entries": 60000}}]}]'),
  -- The product itself ----------------------------------------------------------------------------------------------
  ('{"id": "00000000-0000-4000-a000-000000000631", "name": "Capture is not whole", "kind": "schedule", "severity": "high", "check": "capture", "limit": "10m", "quiet_period": null, "description": "audit.coverage says what is wrong, and the way out."}', '[]'),
  ('{"id": "00000000-0000-4000-a000-000000000632", "name": "Sealing is behind", "kind": "schedule", "severity": "high", "check": "sealing", "limit": "15m", "quiet_period": null, "description": "Until an entry is sealed its change can go unseen."}', '[]'),
  ('{"id": "00000000-0000-4000-a000-000000000633", "name": "The archive is not read back", "kind": "schedule", "severity": "medium", "check": "archive", "limit": "2d", "quiet_period": null, "description": "Nothing is purged before it was read back; damage is found later."}', '[]'),
  ('{"id": "00000000-0000-4000-a000-000000000634", "name": "A schedule fails", "kind": "schedule", "severity": "medium", "check": "cron", "limit": "10m", "quiet_period": null, "description": "cron.job_run_details has the message."}', '[]'),
  ('{"id": "00000000-0000-4000-a000-000000000635", "name": "Rules are behind", "kind": "schedule", "severity": "high", "check": "rules", "limit": "10m", "quiet_period": null, "description": "Alerts come late."}', '[]'),
  ('{"id": "00000000-0000-4000-a000-000000000636", "name": "The search index is behind", "kind": "schedule", "severity": "low", "check": "search", "limit": "1h", "quiet_period": null, "description": "Searches are right, and slow."}', '[]'),
  ('{"id": "00000000-0000-4000-a000-000000000637", "name": "Checkpoints do not leave", "kind": "schedule", "severity": "high", "check": "outside", "limit": "1d", "quiet_period": null, "description": "A receiver has had no checkpoint for a day: nobody outside could tell a rewritten log."}', '[]'),
  ('{"id": "00000000-0000-4000-a000-000000000638", "name": "Alerts are not delivered", "kind": "schedule", "severity": "high", "check": "deliveries", "limit": "10m", "quiet_period": null, "description": "audit.dead_letters has what could not be delivered."}', '[]'),
  ('{"id": "00000000-0000-4000-a000-000000000639", "name": "Too many alerts", "kind": "schedule", "severity": "medium", "digest": "overflow", "quiet_period": "1h", "description": "What came in an hour above the setting alerts_per_hour, put together."}', '[]'),
  -- Digests ---------------------------------------------------------------------------------------------------------
  ('{"id": "00000000-0000-4000-a000-000000000641", "name": "Weekly activity", "kind": "schedule", "severity": "info", "digest": "activity", "weekday": 1, "hour": 8, "quiet_period": null, "description": "Who did what in the week before."}', '[]'),
  ('{"id": "00000000-0000-4000-a000-000000000642", "name": "Weekly costs", "kind": "schedule", "severity": "info", "digest": "costs", "weekday": 1, "hour": 8, "quiet_period": null, "description": "What the week before cost, and the dearest actions."}', '[]')
) as d (rule, tests);

-- What rules are made of may be another SQL in this version.
create or replace function audit.compile_rules()
  returns void
  language sql
  set search_path = ''
as $$
  update audit.rules r set compiled = audit.compile_rule(r) where r.compiled is distinct from audit.compile_rule(r)
$$;

comment on function audit.compile_rules() is 'Makes the SQL of all rules anew: when a version is loaded, and after a restore.';

select audit.compile_rules();
