-- Entries as events of the Open Cybersecurity Schema Framework, for SIEMs: OCSF 1.8.0.
--
-- audit.ocsf_type_uid() is the mapping: which event an action is. audit.ocsf_classification() says what OCSF calls that
-- event, audit.ocsf_severity() how grave it is, audit.ocsf_line() builds it.
--
-- Nothing of an entry is lost. What OCSF has a place for stands there: the organisation in metadata.tenant_uid, the
-- time in metadata.original_time (in microseconds, as in the entry text), the action in metadata.event_code, the
-- request in metadata.correlation_uid, the user in actor.user.uid. Every other column stands in `unmapped` under its
-- own name. So the entry, and with it the hash, can be made again from the event.
--
-- All are single expressions, so that the planner puts them in place of the calls: as PL/pgSQL, an event took half as
-- long again. They make text, which is what COPY writes; jsonb of it takes three times as long. Words that need no
-- escapes (UUIDs, hex, actions, outcomes, kinds of actor) are not escaped, as in audit.entry_text().

-- type_uid is class_uid * 100 + activity_id, and class_uid begins with category_uid: one number says all.
create or replace function audit.ocsf_type_uid(action text, details jsonb)
  returns int
  language sql
  immutable
  parallel safe
  return case action
    -- The most frequent first: a case is walked from its beginning. A query to a provider is a call of its API.
    when 'query.executed' then 600301
    when 'query.completed' then 600301
    when 'query.failed' then 600301
    when 'query.response_changed' then 600502
    when 'query.response_deleted' then 600507
    -- Authentication
    when 'user.login' then 300201
    when 'user.login_failed' then 300201
    when 'user.mfa_failed' then 300201
    when 'user.logout' then 300202
    when 'user.session_expired' then 300202
    when 'user.session_revoked' then 300202
    -- Account Change
    when 'user.signed_up' then 300101
    when 'user.created' then 300101
    when 'user.password_changed' then 300103
    when 'user.password_reset_requested' then 300104
    when 'user.deleted' then 300106
    when 'user.mfa_enabled' then 300110
    when 'user.mfa_disabled' then 300111
    -- User Access Management: 1.8.0 has no class for roles, so a role is a privilege.
    when 'permission.granted' then 300501
    when 'permission.revoked' then 300502
    when 'member.role_changed' then 300501
    when 'auditor.granted' then 300501
    when 'auditor.revoked' then 300502
    -- Group Management: the group is the organisation.
    when 'member.added' then 300603
    when 'member.removed' then 300604
    -- Entity Management
    when 'organization.created' then 300401
    when 'organization.updated' then 300403
    when 'organization.deleted' then 300404
    when 'api_key.added' then 300401
    when 'api_key.updated' then 300403
    when 'api_key.deleted' then 300404
    when 'api_token.created' then 300401
    when 'api_token.revoked' then 300404
    when 'budget.created' then 300401
    when 'budget.changed' then 300403
    when 'budget.deleted' then 300404
    when 'integration.configured' then case when details ? 'new' then 300401 else 300403 end
    when 'integration.removed' then 300404
    when 'retention.changed' then 300403
    when 'hold.placed' then 300401
    when 'hold.released' then 300404
    when 'rule.changed' then 300403
    when 'channel.created' then 300401
    when 'channel.changed' then 300403
    when 'channel.enabled' then 300403
    when 'channel.disabled' then 300403
    when 'channel.deleted' then 300404
    -- API Activity
    when 'access.denied' then 600399
    when 'api.accessed' then 600399
    -- Datastore Activity
    when 'settings.viewed' then 600501
    when 'log.viewed' then 600501
    when 'log.searched' then 600504
    when 'subject.accessed' then 600501
    when 'subject.erased' then 600507
    -- Web Resources Activity
    when 'report.generated' then 600101
    when 'data.exported' then 600107
    when 'log.exported' then 600107
    -- Event Log Activity
    when 'log.purged' then 100802
    when 'log.opened' then 100806
    when 'log.heartbeat' then 100899
    when 'capture.tracked' then 100809
    when 'capture.untracked' then 100810
    when 'capture.changed' then 100899
    -- Detection Finding
    when 'alert.opened' then 200401
    when 'alert.acknowledged' then 200402
    when 'alert.resolved' then 200403
    when 'verification.failed' then 200401
    -- Every other table, and what applications add: by the verb, which is the last word.
    else case split_part(action, '.', -1)
      when 'created' then 600505
      when 'added' then 600505
      when 'updated' then 600502
      when 'changed' then 600502
      when 'deleted' then 600507
      when 'removed' then 600507
      when 'viewed' then 600501
      when 'searched' then 600504
      when 'generated' then 600101
      when 'imported' then 600106
      when 'exported' then 600107
      when 'shared' then 600108
      else 600399
    end
  end;

comment on function audit.ocsf_type_uid(text, jsonb) is
  'Which OCSF 1.8.0 event an action is: type_uid, which is class_uid * 100 + activity_id.';

create or replace function audit.ocsf_caption(type_uid int, category_name text, class_name text, activity_name text)
  returns text
  language sql
  immutable
  parallel safe
  return format(
    '"category_uid":%s,"category_name":"%s","class_uid":%s,"class_name":"%s","type_uid":%s,"type_name":"%s: %s",'
      '"activity_id":%s,"activity_name":',
    type_uid / 100000, category_name, type_uid / 100, class_name, type_uid, class_name, activity_name, type_uid % 100
  ) || case type_uid % 100 when 99 then '' else '"' || activity_name || '"' end;

comment on function audit.ocsf_caption(int, text, text, text) is
  'The members of an OCSF event that say what it is, in numbers and in words; where OCSF has no word, up to the word.';

-- Calls with constants: the planner makes them once, not for every row.
create or replace function audit.ocsf_classification(type_uid int, action text)
  returns text
  language sql
  immutable
  parallel safe
  return case type_uid
    when 600301 then audit.ocsf_caption(600301, 'Application Activity', 'API Activity', 'Create')
    when 600399 then audit.ocsf_caption(600399, 'Application Activity', 'API Activity', 'Other') || '"' || action || '"'
    when 600501 then audit.ocsf_caption(600501, 'Application Activity', 'Datastore Activity', 'Read')
    when 600502 then audit.ocsf_caption(600502, 'Application Activity', 'Datastore Activity', 'Update')
    when 600504 then audit.ocsf_caption(600504, 'Application Activity', 'Datastore Activity', 'Query')
    when 600505 then audit.ocsf_caption(600505, 'Application Activity', 'Datastore Activity', 'Write')
    when 600507 then audit.ocsf_caption(600507, 'Application Activity', 'Datastore Activity', 'Delete')
    when 600101 then audit.ocsf_caption(600101, 'Application Activity', 'Web Resources Activity', 'Create')
    when 600106 then audit.ocsf_caption(600106, 'Application Activity', 'Web Resources Activity', 'Import')
    when 600107 then audit.ocsf_caption(600107, 'Application Activity', 'Web Resources Activity', 'Export')
    when 600108 then audit.ocsf_caption(600108, 'Application Activity', 'Web Resources Activity', 'Share')
    when 300101 then audit.ocsf_caption(300101, 'Identity & Access Management', 'Account Change', 'Create')
    when 300103 then audit.ocsf_caption(300103, 'Identity & Access Management', 'Account Change', 'Password Change')
    when 300104 then audit.ocsf_caption(300104, 'Identity & Access Management', 'Account Change', 'Password Reset')
    when 300106 then audit.ocsf_caption(300106, 'Identity & Access Management', 'Account Change', 'Delete')
    when 300110 then audit.ocsf_caption(300110, 'Identity & Access Management', 'Account Change', 'MFA Factor Enable')
    when 300111 then audit.ocsf_caption(300111, 'Identity & Access Management', 'Account Change', 'MFA Factor Disable')
    when 300201 then audit.ocsf_caption(300201, 'Identity & Access Management', 'Authentication', 'Logon')
    when 300202 then audit.ocsf_caption(300202, 'Identity & Access Management', 'Authentication', 'Logoff')
    when 300401 then audit.ocsf_caption(300401, 'Identity & Access Management', 'Entity Management', 'Create')
    when 300403 then audit.ocsf_caption(300403, 'Identity & Access Management', 'Entity Management', 'Update')
    when 300404 then audit.ocsf_caption(300404, 'Identity & Access Management', 'Entity Management', 'Delete')
    when 300501
      then audit.ocsf_caption(300501, 'Identity & Access Management', 'User Access Management', 'Assign Privileges')
    when 300502
      then audit.ocsf_caption(300502, 'Identity & Access Management', 'User Access Management', 'Revoke Privileges')
    when 300603 then audit.ocsf_caption(300603, 'Identity & Access Management', 'Group Management', 'Add User')
    when 300604 then audit.ocsf_caption(300604, 'Identity & Access Management', 'Group Management', 'Remove User')
    when 200401 then audit.ocsf_caption(200401, 'Findings', 'Detection Finding', 'Create')
    when 200402 then audit.ocsf_caption(200402, 'Findings', 'Detection Finding', 'Update')
    when 200403 then audit.ocsf_caption(200403, 'Findings', 'Detection Finding', 'Close')
    when 100802 then audit.ocsf_caption(100802, 'System Activity', 'Event Log Activity', 'Delete')
    when 100806 then audit.ocsf_caption(100806, 'System Activity', 'Event Log Activity', 'Start')
    when 100809 then audit.ocsf_caption(100809, 'System Activity', 'Event Log Activity', 'Enable')
    when 100810 then audit.ocsf_caption(100810, 'System Activity', 'Event Log Activity', 'Disable')
    when 100899
      then audit.ocsf_caption(100899, 'System Activity', 'Event Log Activity', 'Other') || '"' || action || '"'
  end;

comment on function audit.ocsf_classification(int, text) is
  'What OCSF 1.8.0 calls an event: category, class, activity and type, for each that audit.ocsf_type_uid() returns.';

create or replace function audit.ocsf_severity(action text, outcome text, details jsonb)
  returns text
  language sql
  immutable
  parallel safe
  return case
    when action = 'verification.failed' then '"severity_id":5,"severity":"Critical"'
    when action like 'alert.%' then case lower(details ->> 'severity')
      when 'info' then '"severity_id":1,"severity":"Informational"'
      when 'low' then '"severity_id":2,"severity":"Low"'
      when 'high' then '"severity_id":4,"severity":"High"'
      when 'critical' then '"severity_id":5,"severity":"Critical"'
      else '"severity_id":3,"severity":"Medium"'
    end
    when action = 'capture.untracked' or outcome = 'denied' then '"severity_id":3,"severity":"Medium"'
    when outcome = 'failure' then '"severity_id":2,"severity":"Low"'
    else '"severity_id":1,"severity":"Informational"'
  end;

comment on function audit.ocsf_severity(text, text, jsonb) is
  'How grave an event is: a broken chain is critical, an alert as grave as its rule says, a denial or the end of a
capture medium, a failure low, all else informational.';

-- A name or an id is required, so an actor without both goes by its kind.
create or replace function audit.ocsf_user(created_by uuid, actor_type text, email text, details jsonb)
  returns text
  language sql
  stable
  parallel safe
  return '{' || coalesce('"uid":"' || created_by || '",', '')
    || case
      when email ~ '^[a-zA-Z0-9!#$%&''*+/=?^_`{|}~.-]+@[a-zA-Z0-9-]+\.[a-zA-Z0-9.-]+$'
        then '"name":"' || email || '","email_addr":"' || email || '",'
      when email is not null then '"name":' || to_json(email) || ','
      when created_by is null
        then '"name":' || to_json(coalesce(details ->> 'subject', details ->> 'database_role', actor_type)) || ','
      else ''
    end
    || case actor_type
      when 'user' then '"type_id":1,"type":"User"}'
      when 'service' then '"type_id":4,"type":"Service"}'
      when 'api_key' then '"type_id":99,"type":"API Key"}'
      else '"type_id":3,"type":"System"}'
    end;

comment on function audit.ocsf_user(uuid, text, text, jsonb) is 'Who acted, as an OCSF user.';

-- Who is concerned: whoever the event names, else who acts on the own account.
create or replace function audit.ocsf_target(entry public.audit_logs, target_id text, email text, own_account boolean)
  returns text
  language sql
  stable
  parallel safe
  return case
    when target_id = (entry).created_by::text or target_id is null and own_account
      then audit.ocsf_user((entry).created_by, (entry).actor_type, email, (entry).details)
    else coalesce('{"uid":' || to_json(target_id) || '}', '{"name":"unknown"}')
  end;

comment on function audit.ocsf_target(public.audit_logs, text, text, boolean) is
  'To whom it was done, as an OCSF user: who is named, else the actor where such events concern the own account.';

create or replace function audit.ocsf_target_id(resource_type text, resource_id text, details jsonb)
  returns text
  language sql
  immutable
  parallel safe
  return case when resource_type in ('user', 'member') then resource_id else details ->> 'user_id' end;

comment on function audit.ocsf_target_id(text, text, jsonb) is
  'The user whom an event names as the one it was done to.';

-- What is no address (a forged header is kept as it came) goes by name.
create or replace function audit.ocsf_endpoint(ip_address text, actor_type text)
  returns text
  language sql
  stable
  parallel safe
  return case
    when ip_address is null and actor_type in ('database', 'system') then '{"name":"database-internal"}'
    when ip_address is null then '{"name":"not-recorded"}'
    when ip_address ~ '^((25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)\.){3}(25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)$'
      or ip_address ~ '^([0-9a-f]{1,4}:){7}[0-9a-f]{1,4}$'
      or ip_address ~ '^(?!(.*:){8})([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?::([0-9a-f]{1,4}(:[0-9a-f]{1,4})*)?$'
      then '{"ip":"' || ip_address || '"}'
    else '{"name":' || to_json(ip_address) || '}'
  end;

comment on function audit.ocsf_endpoint(text, text) is 'From where it was done, as an OCSF endpoint; it is required.';

create or replace function audit.ocsf_origin(
  entry public.audit_logs, email text, ip_address text, user_agent text
)
  returns text
  language sql
  stable
  parallel safe
  return ',"actor":{"user":' || audit.ocsf_user((entry).created_by, (entry).actor_type, email, (entry).details)
    || '},"src_endpoint":' || audit.ocsf_endpoint(ip_address, (entry).actor_type)
    || coalesce(',"http_request":{"user_agent":' || to_json(user_agent) || '}', '');

comment on function audit.ocsf_origin(public.audit_logs, text, text, text) is
  'The members of an OCSF event that say who did it, from where and with which program.';

create or replace function audit.ocsf_resource(entry public.audit_logs)
  returns text
  language sql
  stable
  parallel safe
  return coalesce(
      '"uid":' || to_json((entry).resource_id), '"name":' || to_json(coalesce((entry).resource_type, (entry).action))
    )
    || ',"type":' || to_json(coalesce((entry).resource_type, split_part((entry).action, '.', 1)));

comment on function audit.ocsf_resource(public.audit_logs) is 'What it was done to: the members of an OCSF resource.';

-- A number of tokens is an integer in OCSF; in details it is whatever the application's column is.
create or replace function audit.ocsf_count(value jsonb)
  returns text
  language sql
  immutable
  parallel safe
  return case when jsonb_typeof(value) = 'number' then trunc(value::numeric)::text end;

comment on function audit.ocsf_count(jsonb) is
  'A JSON number as the integer that OCSF asks for; null where it is none.';

create or replace function audit.ocsf_ai_operation(action text, provider text, details jsonb)
  returns text
  language sql
  stable
  parallel safe
  return coalesce(
      ',"ai_model":{"ai_provider":' || to_json(provider) || ',"name":' || to_json(details -> 'new' ->> 'model') || '}',
      ''
    )
    || ',"message_context":{"service":{"name":' || to_json(provider) || '}'
    || case action
      when 'query.executed' then ',"ai_role_id":1,"ai_role":"User"}'
      else ',"ai_role_id":2,"ai_role":"Assistant"'
        || coalesce(',"prompt_tokens":' || audit.ocsf_count(details -> 'new' -> 'prompt_tokens'), '')
        || coalesce(',"completion_tokens":' || audit.ocsf_count(details -> 'new' -> 'completion_tokens'), '') || '}'
    end;

comment on function audit.ocsf_ai_operation(text, text, jsonb) is
  'Model and tokens of a query: the members of OCSF''s profile ai_operation.';

-- Profiles lend an event members that its class does not have: an actor, an AI model, a denial.
create or replace function audit.ocsf_metadata(entry public.audit_logs, profile text)
  returns text
  language sql
  stable
  parallel safe
  return case (entry).outcome
      when 'denied' then ',"action_id":2,"action":"Denied","disposition_id":2,"disposition":"Blocked"'
        || ',"metadata":{"profiles":["security_control"' || coalesce(',"' || profile || '"', '') || '],'
      else ',"metadata":{' || coalesce('"profiles":["' || profile || '"],', '')
    end
    || '"version":"1.8.0","product":{"name":"Audit logs for Supabase","vendor_name":"supabase-audit-logs"},"uid":"'
    || (entry).organization_id || '/' || (entry).chain || '-' || (entry).seq
    || '","event_code":"' || (entry).action || '","tenant_uid":"' || (entry).organization_id || '"'
    || coalesce(',"correlation_uid":' || to_json((entry).request_id), '')
    || ',"original_time":"' || (extract(epoch from (entry).created_at) * 1000000)::bigint
    || '","log_name":"public.audit_logs","log_version":"1"},"unmapped":{';

comment on function audit.ocsf_metadata(public.audit_logs, text) is
  'The metadata of an OCSF event, which name the entry, and the beginning of what is unmapped; before them the denial.';

-- What each class asks for. `type_uid` stands here once: where this is put in place of a call, so is what makes it.
create or replace function audit.ocsf_members(
  type_uid int, entry public.audit_logs, email text, ip_address text, user_agent text
)
  returns text
  language sql
  stable
  parallel safe
  return case type_uid / 100
    when 6003 then audit.ocsf_origin(entry, email, ip_address, user_agent)
      || ',"api":{"operation":"' || (entry).action || '"},"resources":[{' || audit.ocsf_resource(entry) || '}]'
      || case
        when (entry).provider is not null and (entry).action in ('query.executed', 'query.completed', 'query.failed')
          then audit.ocsf_ai_operation((entry).action, (entry).provider, (entry).details)
            || audit.ocsf_metadata(entry, 'ai_operation')
        else audit.ocsf_metadata(entry, null)
      end
    when 6005 then audit.ocsf_origin(entry, email, ip_address, user_agent)
      || ',"type_id":3,"type":"Table","table":{"name":' || to_json(case
        when (entry).action like 'log.%' then 'audit_logs'
        else coalesce((entry).resource_type, split_part((entry).action, '.', 1))
      end) || '}'
      || case (entry).action
        when 'log.searched'
          then coalesce(
            ',"query_info":{"name":"search","query_string":' || to_json((entry).details ->> 'query') || '}', ''
          )
        else ''
      end
      || audit.ocsf_metadata(entry, null)
    when 6001 then audit.ocsf_origin(entry, email, ip_address, user_agent)
      || ',"web_resources":[{' || audit.ocsf_resource(entry) || '}]'
      || audit.ocsf_metadata(entry, 'host')
    when 3001 then audit.ocsf_origin(entry, email, ip_address, user_agent)
      || ',"user":' || audit.ocsf_target(
        entry, audit.ocsf_target_id((entry).resource_type, (entry).resource_id, (entry).details), email, true
      )
      || audit.ocsf_metadata(entry, null)
    when 3002 then audit.ocsf_origin(entry, email, ip_address, user_agent)
      || ',"user":' || audit.ocsf_target(
        entry, audit.ocsf_target_id((entry).resource_type, (entry).resource_id, (entry).details), email, true
      )
      || ',"service":{"name":"Supabase Auth"}'
      || case (entry).action when 'user.mfa_failed' then ',"is_mfa":true' else '' end
      || case (entry).resource_type
        when 'session' then coalesce(',"session":{"uid":' || to_json((entry).resource_id) || '}', '')
        else ''
      end
      || audit.ocsf_metadata(entry, null)
    when 3004 then audit.ocsf_origin(entry, email, ip_address, user_agent)
      || ',"entity":{' || case
        when (entry).resource_type = 'organization'
          then coalesce('"uid":' || to_json((entry).resource_id), '"name":"organization"')
            || ',"type_id":4,"type":"Organization"'
        else audit.ocsf_resource(entry) || ',"type_id":99'
      end || '}'
      || audit.ocsf_metadata(entry, null)
    when 3005 then audit.ocsf_origin(entry, email, ip_address, user_agent)
      || ',"user":' || audit.ocsf_target(
        entry, audit.ocsf_target_id((entry).resource_type, (entry).resource_id, (entry).details), email, false
      )
      || ',"privileges":[' || to_json(coalesce(
        (entry).details -> 'changes' -> 'role' ->> 'new', (entry).details -> 'new' ->> 'role',
        (entry).details -> 'old' ->> 'role', (entry).details ->> 'role', (entry).details ->> 'permission',
        case when (entry).action like 'auditor.%' then 'auditor' else 'unspecified' end
      )) || ']'
      || audit.ocsf_metadata(entry, null)
    when 3006 then audit.ocsf_origin(entry, email, ip_address, user_agent)
      || ',"user":' || audit.ocsf_target(
        entry, audit.ocsf_target_id((entry).resource_type, (entry).resource_id, (entry).details), email, false
      )
      || ',"group":{"uid":"' || (entry).organization_id || '","type":"organization"}'
      || audit.ocsf_metadata(entry, null)
    -- These two have no place for the user agent, findings none for the address.
    when 2004 then ',"actor":{"user":'
      || audit.ocsf_user((entry).created_by, (entry).actor_type, email, (entry).details)
      || '},"finding_info":{"uid":'
      || coalesce(
        to_json((entry).resource_id), to_json((entry).organization_id || '/' || (entry).chain || '-' || (entry).seq)
      )
      || ',"title":' || to_json(coalesce((entry).details ->> 'title', (entry).details ->> 'rule', (entry).action))
      || '}'
      || audit.ocsf_metadata(entry, 'host')
      || coalesce('"ip_address":' || to_json(ip_address) || ',', '')
      || coalesce('"user_agent":' || to_json(user_agent) || ',', '')
    else audit.ocsf_origin(entry, email, ip_address, null)
      || ',"log_provider":"supabase-audit-logs","log_name":"public.audit_logs","log_type_id":2,"log_type":"Application"'
      || audit.ocsf_metadata(entry, null)
      || coalesce('"user_agent":' || to_json(user_agent) || ',', '')
  end;

comment on function audit.ocsf_members(int, public.audit_logs, text, text, text) is
  'The members of an OCSF event that its class asks for, its metadata, and the beginning of what is unmapped.';

-- The status of a finding is how far it is; of anything else, how it went. Here the event's own word is the outcome.
create or replace function audit.ocsf_status(action text, outcome text)
  returns text
  language sql
  immutable
  parallel safe
  return case
    when action in ('alert.opened', 'verification.failed')
      then '"status_id":1,"status":"New","is_alert":true,"status_code":"' || outcome || '"'
    when action = 'alert.acknowledged'
      then '"status_id":2,"status":"In Progress","is_alert":false,"status_code":"' || outcome || '"'
    when action = 'alert.resolved'
      then '"status_id":4,"status":"Resolved","is_alert":false,"status_code":"' || outcome || '"'
    when outcome = 'success' then '"status_id":1,"status":"Success","status_code":"success"'
    else '"status_id":2,"status":"Failure","status_code":"' || outcome || '"'
  end;

comment on function audit.ocsf_status(text, text) is
  'The status of an OCSF event: success or failure, or a finding''s.';

-- In three parts, and what is long last: each || copies all that stands before it.
create or replace function audit.ocsf_line(entry public.audit_logs, email text, ip_address text, user_agent text)
  returns text
  language sql
  stable
  parallel safe
  return (
      '{"time":' || (extract(epoch from (entry).created_at) * 1000000)::bigint / 1000
      || ',"timezone_offset":0,"message":"' || (entry).action || '",'
      || audit.ocsf_severity((entry).action, (entry).outcome, (entry).details) || ','
      || audit.ocsf_status((entry).action, (entry).outcome) || ','
      || audit.ocsf_classification(audit.ocsf_type_uid((entry).action, (entry).details), (entry).action)
    )
    || audit.ocsf_members(
      audit.ocsf_type_uid((entry).action, (entry).details), entry, email, ip_address, user_agent
    )
    || (
      '"chain":' || (entry).chain || ',"seq":' || (entry).seq || ',"outcome":"' || (entry).outcome
      || '","actor_type":"' || (entry).actor_type
      || coalesce('","resource_type":' || to_json((entry).resource_type) || ',"', '","')
      || coalesce('resource_id":' || to_json((entry).resource_id) || ',"', '')
      || coalesce('provider":' || to_json((entry).provider) || ',"', '')
      || coalesce('cost":"' || (entry).cost || '","', '')
      || coalesce('identity_hash":"' || encode((entry).identity_hash, 'hex') || '","', '')
      || 'prev_hash":"' || encode((entry).prev_hash, 'hex') || '","hash":"' || encode((entry).hash, 'hex')
      || '","details":' || (entry).details::text || '}}'
    );

comment on function audit.ocsf_line(public.audit_logs, text, text, text) is
  'An entry as one line of JSON, an OCSF 1.8.0 event; with e-mail, IP address and user agent where they may be shown:
select audit.ocsf_line(a, null, null, null) from public.audit_logs a.';

create or replace function audit.ocsf(
  entry public.audit_logs,
  email text default null,
  ip_address text default null,
  user_agent text default null
)
  returns jsonb
  language sql
  stable
  parallel safe
  return audit.ocsf_line(entry, email, ip_address, user_agent)::jsonb;

comment on function audit.ocsf(public.audit_logs, text, text, text) is
  'An entry as an OCSF 1.8.0 event: select audit.ocsf(a) from public.audit_logs a. For many, use audit.ocsf_line().';
