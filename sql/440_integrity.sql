-- Verification by schedule, a little at a time, with findings; and on one line an organisation, how it stands.

create table if not exists audit.verifications (
  organization_id uuid not null,
  resume text,
  log int,
  broken int not null default 0,
  begun_at timestamptz not null default clock_timestamp(),
  ended_at timestamptz,
  was_verified boolean,
  verified_at timestamptz,
  constraint verifications_pkey primary key (organization_id)
);

comment on table audit.verifications is
  'How far the scheduled verification of each organisation is: its chains, then its logs; written by audit.continue_verification().';
comment on column audit.verifications.organization_id is 'Whose entries.';
comment on column audit.verifications.resume is 'Where audit.verify() goes on; null at the start.';
comment on column audit.verifications.log is 'The last log that was verified, 0 before the first; null while it is about the chains.';
comment on column audit.verifications.broken is 'How many chains and logs this round has found broken.';
comment on column audit.verifications.begun_at is 'When this round began.';
comment on column audit.verifications.ended_at is 'When it ended; null while it is on its way.';
comment on column audit.verifications.was_verified is 'Whether the last whole round found nothing.';
comment on column audit.verifications.verified_at is 'When the last whole round ended.';

create or replace function audit.verify_on(verification audit.verifications, most_entries bigint)
  returns audit.verifications
  language plpgsql
  set search_path = ''
as $$
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
$$;

comment on function audit.verify_on(audit.verifications, bigint) is
  'Verifies a little more of an organisation and notes what is broken: so many entries of its chains, or one log.';

create or replace function audit.continue_verification(
  most_entries bigint default 100000,
  at_most interval default '5 seconds',
  cycle interval default '1 day'
)
  returns int
  language plpgsql
  set search_path = ''
as $$
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
$$;

comment on function audit.continue_verification(bigint, interval, interval) is
  'Verifies on for a few seconds, every organisation once a cycle: its chains by audit.verify(), then its logs. What is broken
becomes a finding. Answers how many steps it took, 0 where all were verified within the cycle.';

create or replace view audit.integrity
  with (security_invoker = true)
as
  select h.organization_id,
    v.was_verified, v.verified_at,
    l.origin, l.published as size, encode(c.root, 'base64') as root,
    s.entries_read_back, s.entries_archived, s.read_back_at,
    coalesce(f.findings, 0) as open_findings
  from (
    select distinct h.organization_id from audit.heads h
  ) h
  left join audit.verifications v on v.organization_id = h.organization_id
  left join lateral (
    select sum(l.read_back) as entries_read_back, sum(l.published) as entries_archived,
      max((select max(r.ended_at) from audit.readings r where r.log = l.id)) as read_back_at,
      max(l.month) filter (where l.published > 0) as month
    from audit.logs l
    where l.organization_id = h.organization_id and l.month is not null and l.archive_deletion_began_at is null
  ) s on true
  left join audit.logs l on l.organization_id = h.organization_id and l.month = s.month
  left join audit.checkpoints c on c.log = l.id and c.size = l.published
  left join lateral (
    select count(*) as findings from audit.findings f where f.organization_id = h.organization_id and f.resolved_at is null
  ) f on true;

comment on view audit.integrity is 'How each organisation''s log stands: verification, last checkpoint, reading back of its archive, findings.';
comment on column audit.integrity.organization_id is 'Whose log; the nil UUID is the system organisation.';
comment on column audit.integrity.was_verified is 'Whether the last whole round of verification in the database found nothing; null before the first.';
comment on column audit.integrity.verified_at is 'When that round ended.';
comment on column audit.integrity.origin is 'The newest log with a checkpoint.';
comment on column audit.integrity.size is 'How many entries its checkpoint covers.';
comment on column audit.integrity.root is 'The root hash over them.';
comment on column audit.integrity.entries_read_back is 'How many entries were read back from the archive, and were the same.';
comment on column audit.integrity.entries_archived is 'Out of how many.';
comment on column audit.integrity.read_back_at is 'When a reading last reached the end of a log.';
comment on column audit.integrity.open_findings is 'What checks found and nobody has resolved.';
