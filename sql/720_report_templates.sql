-- Templates of reports: which controls, and for each a question and the query that answers it, in the query language, so
-- that anybody can ask it again. What is quoted from a law is marked as such; the rest is said in our words, and where
-- something is custom and not law, that is said too. A report gives evidence; whether it is enough, the reader decides.

create table if not exists audit.report_templates (
  template text not null,
  title text not null,
  framework text not null,
  about text not null,
  period text not null,
  sections text[] not null,
  constraint report_templates_pkey primary key (template)
);

comment on table audit.report_templates is 'What reports there are; filled by the product.';
comment on column audit.report_templates.template is 'Names the template.';
comment on column audit.report_templates.title is 'What stands on the cover.';
comment on column audit.report_templates.framework is 'The law or standard that it is about.';
comment on column audit.report_templates.about is 'What the report is and is not.';
comment on column audit.report_templates.period is 'The usual period: month, quarter, year; or now, for how things stand.';
comment on column audit.report_templates.sections is 'Its sections in order: controls, or what audit.report_section() knows.';

create table if not exists audit.report_controls (
  template text not null,
  n int not null,
  control text not null,
  basis text not null,
  wording text not null,
  question text not null,
  query text not null,
  exceptions text,
  exception_means text,
  of_system boolean not null default false,
  constraint report_controls_pkey primary key (template, n),
  constraint report_controls_basis_known check (basis in ('law', 'standard', 'convention'))
);

comment on table audit.report_controls is 'The controls of each template; filled by the product.';
comment on column audit.report_controls.template is 'Of which template.';
comment on column audit.report_controls.n is 'In which order.';
comment on column audit.report_controls.control is 'How the law or standard numbers it.';
comment on column audit.report_controls.basis is 'law: the text is quoted from a law. standard: a standard''s requirement in our words. convention: neither says so, auditors ask for it.';
comment on column audit.report_controls.wording is 'What it asks for.';
comment on column audit.report_controls.question is 'What is looked at.';
comment on column audit.report_controls.query is 'The population: which entries, in the query language; the period is added.';
comment on column audit.report_controls.exceptions is 'Which of these somebody should look at; null where none is an exception by itself.';
comment on column audit.report_controls.exception_means is 'What an exception is.';
comment on column audit.report_controls.of_system is 'Whether the entries are the system organisation''s: backups are the whole project''s.';

revoke all on audit.report_templates, audit.report_controls from public, anon, authenticated, service_role;

delete from audit.report_controls where true;
insert into audit.report_templates (template, title, framework, about, period, sections)
values
  ('soc2', 'SOC 2 evidence', 'AICPA Trust Services Criteria (2017, points of focus 2022)',
    'Evidence from the audit log for the criteria that a log can speak to. The criteria are told in our words, not quoted. A SOC 2 report is an independent auditor''s opinion; this is material for it, and no opinion.',
    'quarter', array['overview', 'controls', 'coverage', 'integrity']),
  ('hipaa', 'HIPAA security rule evidence', '45 CFR Part 164, Subpart C',
    'Evidence from the audit log for the safeguards that ask for recording and reviewing activity. Whether the application holds electronic protected health information, its operator knows.',
    'quarter', array['overview', 'controls', 'retention', 'coverage', 'integrity']),
  ('gdpr', 'GDPR accountability record', 'Regulation (EU) 2016/679',
    'What the audit log shows of the controller''s duties, and the record of this processing. It is no legal advice, and the log is one processing among others.',
    'quarter', array['overview', 'processing', 'controls', 'retention', 'coverage', 'integrity']),
  ('pci_dss', 'PCI DSS requirement 10 evidence', 'PCI DSS v4.0.1, Requirement 10',
    'Evidence from the audit log for logging and monitoring. The requirements are told in our words: compare them with the licensed text. Whether the application is in scope, its assessor decides.',
    'quarter', array['overview', 'controls', 'retention', 'coverage', 'integrity']),
  ('access_review', 'Access review', 'SOC 2 CC6.2 and CC6.3; ISO/IEC 27001 A.5.18 (access rights)',
    'Who has which role now, since when, granted by whom, and when they were last active. That it is done every quarter is convention. The log says since when only as far back as membership was captured.',
    'quarter', array['members', 'auditors', 'member_changes', 'coverage', 'integrity']),
  ('costs', 'Cost report', 'Internal', 'What was spent, by provider, model, person and day, added up from the entries of the period.', 'month',
    array['cost_summary', 'cost_days', 'cost_people', 'integrity']),
  ('annual', 'Annual summary', 'Internal', 'A year of the log at a glance.', 'year',
    array['overview', 'months', 'cost_summary', 'member_changes', 'retention', 'coverage', 'integrity']),
  ('incident', 'Incident file', 'Internal',
    'Everything that the log has around an entry, a person or a time, in order. What happened outside of what is captured is not in it.', 'day',
    array['overview', 'actors', 'timeline', 'coverage', 'integrity']),
  ('subject_access', 'What the audit log holds about a person', 'GDPR Art. 15 (right of access)',
    'All personal data about one person that the organisation''s audit log holds: contexts in which they acted, personal values of records about them, and entries in which they are actor or resource. Of other persons nothing is told.',
    'all', array['subject', 'subject_identities', 'subject_values', 'subject_entries', 'processing', 'retention']),
  ('attestation', 'Statement of integrity', 'Internal',
    'What was sealed and verified in the period, whether logging was on the whole time, what was found, and what was let go of. It is made by the system that it is about: checkpoints kept by others are what it can be held against.', 'month',
    array['checkpoints', 'verification', 'heartbeats', 'coverage', 'retention', 'integrity']),
  ('policies', 'Logging policies', 'NIST SP 800-92; SOC 2 CC5.3 (policies)',
    'Drafts of the policies that auditors ask for, filled in with the settings in force. Read, adapt and approve them: a policy is what an organisation decides, not what its software is set to.', 'now',
    array['policy_access', 'policy_retention', 'policy_investigation', 'policy_response'])
on conflict (template) do update set
  title = excluded.title, framework = excluded.framework, about = excluded.about, period = excluded.period, sections = excluded.sections;

insert into audit.report_controls (template, n, control, basis, wording, question, query, exceptions, exception_means, of_system)
values
  ('soc2', 1, 'CC6.1', 'standard', 'Logical access security: software, infrastructure and architectures protect information assets from security events.',
    'Which attempts to read or change were refused?', 'outcome:denied', 'outcome:denied', 'a refused attempt', false),
  ('soc2', 2, 'CC6.1 (credentials)', 'standard', 'Credentials of infrastructure and software are managed over their life.',
    'Which API keys and tokens came, changed and went?', '(action:api_key.* or action:api_token.*)', 'actor_type:database', 'a key changed past the application', false),
  ('soc2', 3, 'CC6.2', 'standard', 'Users are registered and authorised before they get credentials; access is removed when it is no longer authorised.',
    'Who joined and who left?', '(action:member.added or action:member.removed or action:user.signed_up or action:user.deleted)', 'actor_type:database', 'membership changed past the application', false),
  ('soc2', 4, 'CC6.3', 'standard', 'Access is authorised, changed and removed by role, with least privilege and segregation of duties.',
    'Which roles and permissions changed?', '(action:member.role_changed or action:permission.* or action:auditor.*)', 'actor_type:database', 'a role changed past the application', false),
  ('soc2', 5, 'CC6.6', 'standard', 'Measures against threats from outside the system''s boundary.',
    'Which sign-ins failed?', '(action:user.login_failed or action:user.mfa_failed)', null, null, false),
  ('soc2', 6, 'CC6.8', 'standard', 'The introduction of unauthorised or malicious software is prevented, or detected and acted upon.',
    'Which integrations changed, and was capture taken off a table?', '(action:integration.* or action:capture.*)', 'action:capture.untracked', 'a table is no longer captured', false),
  ('soc2', 7, 'CC7.1', 'standard', 'Monitoring identifies changes of configuration that introduce new vulnerabilities, and susceptibility to newly discovered ones. The log speaks to the former.',
    'Which settings of the organisation and of the log changed?', '(action:organization.* or action:retention.changed or action:rule.changed or action:budget.*)', 'action:retention.changed', 'how long the log is kept was changed', false),
  ('soc2', 8, 'CC7.2', 'standard', 'Components and their operation are monitored for anomalies that point to malicious acts, natural disasters and errors; these are analysed, to decide whether they are security events.',
    'What did monitoring find?', '(action:alert.opened or action:verification.failed)', 'action:verification.failed', 'a check of the log found something', false),
  ('soc2', 9, 'CC7.3', 'standard', 'Security events are evaluated, to decide whether objectives could fail or have failed (incidents), and then acted upon.',
    'Who looked into alerts and into the log?', '(action:alert.acknowledged or action:alert.resolved or action:log.searched or action:log.viewed)', null, null, false),
  ('soc2', 10, 'CC7.4', 'standard', 'Incidents are responded to by a defined programme: understood, contained, remediated, communicated.',
    'Which alerts were resolved, and what was held for an investigation?', '(action:alert.resolved or action:hold.placed or action:hold.released)', null, null, false),
  ('soc2', 11, 'CC8.1', 'standard', 'Changes of infrastructure, data, software and procedures are authorised, designed, configured, documented, tested, approved and made. The log shows what was changed and by whom, not that it was approved.',
    'Which changes of configuration were made, and by whom?', '(action:api_key.updated or action:budget.changed or action:organization.updated or action:integration.configured or action:capture.changed)', 'actor_type:database', 'a change past the application', false),
  ('soc2', 12, 'A1.2, A1.3', 'standard', 'A1.2: backups and what recovery needs are operated, maintained and monitored. A1.3: recovery is tested.',
    'Were backups of the log made, and was one restored?', '(action:backup.made or action:backup.deleted or action:log.restored)', 'action:log.restored', 'the log was restored', true),

  ('hipaa', 1, '164.308(a)(1)(ii)(D)', 'law', '“Implement procedures to regularly review records of information system activity, such as audit logs, access reports, and security incident tracking reports.” (Required.) How often is regularly, the rule does not say.',
    'When was the log reviewed, and by whom?', '(action:log.searched or action:log.viewed or action:log.exported or action:report.generated)', null, null, false),
  ('hipaa', 2, '164.312(b)', 'law', '“Implement hardware, software, and/or procedural mechanisms that record and examine activity in information systems that contain or use electronic protected health information.” A standard without implementation specifications. It says neither what is to be recorded nor how long it is to be kept.',
    'What was recorded?', '', 'outcome:denied', 'a refused attempt', false),
  ('hipaa', 3, '164.312(c)(1)', 'law', '“Implement policies and procedures to protect electronic protected health information from improper alteration or destruction.” The rule speaks of health information, not of logs: a log that shows its own alteration is one means (164.312(c)(2), addressable, asks for mechanisms to corroborate that such information was not altered or destroyed in an unauthorised manner).',
    'What was changed or deleted, and did a check of the log find anything?', '(action:*.updated or action:*.changed or action:*.deleted or action:*.removed or action:verification.failed)', 'action:verification.failed', 'a check of the log found something', false),
  ('hipaa', 4, '164.316(b)(2)(i)', 'convention', 'The rule has documentation required by 164.316(b)(1) kept “for 6 years from the date of its creation or the date when it last was in effect, whichever is later”. That is policies and procedures, and written records of actions, activities and assessments that the rule has documented. It does not name audit logs: to keep them as long is convention.',
    'Was the period of retention changed, and what was let go of?', '(action:retention.changed or action:log.purged or action:hold.*)', 'action:retention.changed', 'how long the log is kept was changed', false),

  ('gdpr', 1, 'Art. 5(1)(f), 32(1)', 'law', 'Personal data shall be “processed in a manner that ensures appropriate security”; measures shall include, as appropriate, “the ability to ensure the ongoing confidentiality, integrity, availability and resilience of processing systems and services” and “a process for regularly testing, assessing and evaluating” them.',
    'What was refused, and what did checks find?', '(outcome:denied or action:verification.failed)', 'action:verification.failed', 'a check of the log found something', false),
  ('gdpr', 2, 'Art. 5(2)', 'law', '“The controller shall be responsible for, and be able to demonstrate compliance with, paragraph 1 (‘accountability’).”',
    'Who read the log?', '(action:log.searched or action:log.viewed or action:log.exported or action:report.generated)', null, null, false),
  ('gdpr', 3, 'Art. 15', 'law', 'The data subject shall have the right to obtain “access to the personal data”; Art. 12(3): “without undue delay and in any event within one month of receipt of the request”, which may be extended by two further months where necessary.',
    'Which requests of access were answered?', 'action:subject.accessed', null, null, false),
  ('gdpr', 4, 'Art. 17', 'law', 'The data subject shall have the right to obtain “the erasure of personal data concerning him or her without undue delay”, where a ground of Art. 17(1) applies and no exception of Art. 17(3) does.',
    'Who was erased, and where was it refused, on which ground?', '(action:subject.erased or action:subject.erasure_requested or action:subject.erasure_refused)', 'action:subject.erasure_refused', 'a refusal, whose ground stands in the entry', false),
  ('gdpr', 5, 'Art. 33', 'law', 'A personal data breach is notified to the supervisory authority “without undue delay and, where feasible, not later than 72 hours after having become aware of it”, unless it is unlikely to result in a risk to the rights and freedoms of natural persons; Art. 33(5): the controller documents any breach, notified or not. Whether an event is a breach, the controller decides.',
    'What was found that could be one, and when?', '(action:verification.failed or action:alert.opened)', 'action:verification.failed', 'a check of the log found something', false),
  ('gdpr', 6, 'Art. 5(1)(c), 25', 'law', 'Personal data shall be “adequate, relevant and limited to what is necessary in relation to the purposes for which they are processed (‘data minimisation’)”.',
    'Did what is captured change?', '(action:capture.tracked or action:capture.changed or action:capture.untracked)', null, null, false),

  ('pci_dss', 0, '10.2.1.1', 'standard', 'All individual user access to cardholder data is logged.', 'Which access to data was recorded? Reading a table leaves nothing by itself: only what the application, its functions or the platform''s logs tell.',
    '(action:api.accessed or action:data.exported or action:report.generated)', null, null, false),
  ('pci_dss', 1, '10.2.1.2', 'standard', 'All actions of anybody with administrative access are logged, interactive use of application and system accounts too.', 'What was done past the application, in the database itself?', 'actor_type:(database or service)', null, null, false),
  ('pci_dss', 2, '10.2.1.3', 'standard', 'All access to audit logs is logged.', 'Who read the log?', '(action:log.searched or action:log.viewed or action:log.exported)', null, null, false),
  ('pci_dss', 3, '10.2.1.4', 'standard', 'All invalid logical access attempts are logged.', 'What was refused?', '(outcome:denied or action:user.login_failed or action:user.mfa_failed)', 'outcome:denied', 'a refused attempt', false),
  ('pci_dss', 4, '10.2.1.5', 'standard', 'All changes of identification and authentication credentials are logged: new accounts, elevated privileges, changes, additions and deletions of accounts with administrative access.',
    'Which accounts, roles and credentials changed?', '(action:user.* or action:member.* or action:permission.* or action:api_key.* or action:api_token.*)', 'actor_type:database', 'a change past the application', false),
  ('pci_dss', 5, '10.2.1.6', 'standard', 'Initialising new audit logs, and starting, stopping and pausing existing ones, is logged.', 'Did logging begin or end anywhere?', '(action:log.opened or action:capture.*)', 'action:capture.untracked', 'a table is no longer captured', false),
  ('pci_dss', 6, '10.2.1.7', 'standard', 'Creation and deletion of system-level objects is logged.', 'What was created and deleted?', '(action:*.created or action:*.added or action:*.deleted or action:*.removed)', null, null, false),
  ('pci_dss', 7, '10.3.2, 10.3.4', 'standard', 'Audit logs are protected from modification; file integrity monitoring or change detection makes changes of them raise alerts.', 'Did a check of the log find anything?', 'action:verification.failed', 'action:verification.failed', 'a check of the log found something', false),
  ('pci_dss', 8, '10.4.1, 10.4.1.1', 'standard', 'Security events, and logs of systems with cardholder data, of critical components and of security functions, are reviewed at least once a day, by automated mechanisms.', 'When was the log reviewed, by people and by rules?', '(action:log.searched or action:log.viewed or action:alert.opened or action:alert.acknowledged)', null, null, false),
  ('pci_dss', 9, '10.5.1', 'standard', 'Audit log history is kept for at least 12 months, the most recent three months at once available.', 'Was the period changed, and what was let go of?', '(action:retention.changed or action:log.purged)', 'action:retention.changed', 'how long the log is kept was changed', false),
  ('pci_dss', 10, '10.7.2, 10.7.3', 'standard', 'Failures of critical security control systems, audit logging among them, are detected, alerted to, addressed promptly and responded to.', 'Which failures of logging were found?', '(action:verification.failed or action:capture.untracked)', 'action:verification.failed', 'a check found something', false);

create or replace function audit.report_templates_json()
  returns jsonb
  language sql
  stable
  security definer -- what reports there are is no secret
  set search_path = ''
as $$
  select jsonb_build_object('templates', jsonb_agg(jsonb_build_object(
    'template', t.template, 'title', t.title, 'framework', t.framework, 'about', t.about, 'period', t.period
  ) order by t.template))
  from audit.report_templates t
$$;

comment on function audit.report_templates_json() is 'What reports there are.';
