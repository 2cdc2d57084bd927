-- What checks discover. One row a thing that is wrong, however often it is seen; each new one leaves an entry.

create table if not exists audit.findings (
  id bigint generated always as identity primary key,
  organization_id uuid not null,
  kind text not null,
  subject text not null,
  detail jsonb not null default '{}',
  first_seen_at timestamptz not null default clock_timestamp(),
  last_seen_at timestamptz not null default clock_timestamp(),
  seen bigint not null default 1,
  resolved_at timestamptz
);

comment on table audit.findings is 'What checks discovered and nobody has resolved yet, and what was resolved; written by audit.note_finding().';
comment on column audit.findings.id is 'Names the finding.';
comment on column audit.findings.organization_id is 'Whom it concerns; the nil UUID for the whole project.';
comment on column audit.findings.kind is 'What is wrong, in the words of the check: entry_altered, entries_missing, archive_damaged, …';
comment on column audit.findings.subject is 'What it was found in: an entry''s name, a log''s origin, an object''s path.';
comment on column audit.findings.detail is 'What was seen, for whoever looks into it.';
comment on column audit.findings.first_seen_at is 'When it was discovered.';
comment on column audit.findings.last_seen_at is 'When a check saw it last.';
comment on column audit.findings.seen is 'How many times.';
comment on column audit.findings.resolved_at is 'When somebody, or the check itself, found it in order again; null while it is open.';

-- One open finding a thing; the check that sees it again only counts.
create unique index if not exists findings_open_idx on audit.findings (organization_id, kind, subject) where resolved_at is null;

create or replace function audit.note_finding(organization_id uuid, kind text, subject text, detail jsonb default '{}')
  returns boolean
  language plpgsql
  set search_path = ''
as $$
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
$$;

comment on function audit.note_finding(uuid, text, text, jsonb) is
  'Notes what a check found wrong; the first time it leaves a verification.failed entry. Answers whether it is new.';

create or replace function audit.resolve_finding(organization_id uuid, kind text, subject text)
  returns boolean
  language plpgsql
  set search_path = ''
as $$
begin
  update audit.findings f set resolved_at = clock_timestamp()
  where f.organization_id = resolve_finding.organization_id and f.kind = resolve_finding.kind
    and f.subject = resolve_finding.subject and f.resolved_at is null;
  return found;
end
$$;

comment on function audit.resolve_finding(uuid, text, text) is
  'Closes a finding that is in order again; answers whether it was open. Seen again, it is a new one.';
