-- How the log of an organisation stands, on one page, for its admins and auditors. Of what is the whole project's they
-- learn how it is, not what it is made of: how many tables are captured whole and not which, how many receivers have the
-- newest checkpoint and not who they are, that there are findings and not what was found. Whoever runs the project has the
-- views for that. Limits are those of the default rules (605).

create or replace function audit.retention_json(organization_id uuid)
  returns jsonb
  language sql
  stable
  set search_path = ''
as $$
  select jsonb_build_object(
    'database_days', t.database_days, 'archive_days', t.archive_days,
    'chosen', coalesce(p.organization_id = retention_json.organization_id, false),
    'next', case when p.effective_at > clock_timestamp() then jsonb_build_object(
      'database_days', p.database_days, 'archive_days', p.archive_days, 'at', audit.instant_text(p.effective_at)
    ) end,
    'shorten_after', audit.setting('shorten_retention_after', retention_json.organization_id),
    'oldest_in_database', (
      select audit.instant_text(a.created_at) from public.audit_logs a
      where a.organization_id = retention_json.organization_id order by a.created_at limit 1
    ),
    'oldest_in_archive', (
      select audit.instant_text(min(l.first_at)) from audit.logs l
      where l.organization_id = retention_json.organization_id and l.published > 0 and l.archive_deletion_began_at is null
    ),
    'holds', coalesce((
      select jsonb_agg(jsonb_build_object(
        'name', h.name, 'reason', h.reason, 'placed_at', audit.instant_text(h.placed_at),
        'of', case when h.organization_id = audit.system_organization() then 'project' else 'organization' end
      ) order by h.placed_at)
      from audit.holds h
      where h.organization_id in (retention_json.organization_id, audit.system_organization()) and h.released_at is null
    ), '[]')
  )
  from audit.retention_of(retention_json.organization_id) t
  left join lateral (
    select r.* from audit.retention_periods r
    where r.organization_id in (retention_json.organization_id, audit.system_organization())
    order by r.organization_id = audit.system_organization()
    limit 1
  ) p on true
$$;

comment on function audit.retention_json(uuid) is
  'What the view audit.retention shows of one organisation, and its holds with their reasons, as the API shows them.';

create or replace function audit.status_page(request jsonb default '{}')
  returns jsonb
  language plpgsql
  stable
  security definer -- reads what each check knows on behalf of those who read all of the organisation's log
  set search_path = ''
as $$
declare
  v_organization uuid;
  v_now timestamptz := clock_timestamp();
  v_capture record;
  v_sealing record;
  v_integrity audit.integrity;
  v_begun_at timestamptz;
  v_delivery audit.delivery_health;
  v_outside jsonb;
  v_findings jsonb;
  v_of_project bigint;
begin
  perform audit.check_request(request, array['organization_id']);
  v_organization := audit.requested_organization(request);
  if audit.reach(v_organization) is distinct from 'all' then
    perform audit.fail('AUDEN', 'How the log stands is for admins and auditors of the organisation.');
  end if;

  select count(distinct c.table_name) as tables, count(distinct c.table_name) filter (where not c.healthy) as broken
  into v_capture
  from audit.coverage c;
  select coalesce(sum(w.to_seq - w.from_seq + 1), 0)::bigint as waiting, min(w.since) as since, (
      select max(c.published_at) from audit.logs l join audit.checkpoints c on c.log = l.id where l.organization_id = v_organization
    ) as published_at
  into v_sealing
  from audit.waiting_chains(v_organization) w;
  select i.* into v_integrity from audit.integrity i where i.organization_id = v_organization;
  select v.begun_at into v_begun_at from audit.verifications v where v.organization_id = v_organization and v.ended_at is null;
  select d.* into v_delivery from audit.delivery_health d where d.organization_id = v_organization;
  select coalesce(jsonb_agg(to_jsonb(o) order by o.kind), '[]') into v_outside
  from (
    select o.kind, count(*) as receivers, count(*) filter (where o.behind_since < v_now - interval '1 day' or o.disabled) as behind,
      audit.instant_text(min(o.behind_since)) as behind_since, audit.instant_text(min(o.last_success)) as last_success
    from audit.outside o
    group by o.kind
  ) o;
  select coalesce(jsonb_agg(jsonb_build_object(
      'kind', f.kind, 'subject', f.subject, 'seen', f.seen,
      'first_seen_at', audit.instant_text(f.first_seen_at), 'last_seen_at', audit.instant_text(f.last_seen_at)
    ) order by f.first_seen_at desc), '[]')
  into v_findings
  from (
    select f.* from audit.findings f
    where f.organization_id = v_organization and f.resolved_at is null
    order by f.first_seen_at desc
    limit 100
  ) f;
  select count(*) into v_of_project from audit.findings f where f.organization_id = audit.system_organization() and f.resolved_at is null;

  return jsonb_build_object(
    'organization_id', v_organization,
    'at', audit.instant_text(v_now),
    'capture', jsonb_build_object(
      'state', case when v_capture.broken > 0 then 'wrong' else 'well' end,
      'tables', v_capture.tables, 'broken', v_capture.broken
    ),
    'sealing', jsonb_build_object(
      'state', case
        when v_sealing.published_at is null then 'missing' when v_sealing.since < v_now - interval '15 minutes' then 'wrong' else 'well'
      end,
      'waiting', v_sealing.waiting, 'since', audit.instant_text(v_sealing.since),
      'published_at', audit.instant_text(v_sealing.published_at),
      'origin', v_integrity.origin, 'size', v_integrity.size, 'root', v_integrity.root
    ),
    'verification', jsonb_build_object(
      'state', case
        when not v_integrity.was_verified or v_integrity.verified_at < v_now - interval '2 days' then 'wrong'
        when v_integrity.was_verified then 'well'
        else 'missing'
      end,
      'was_verified', v_integrity.was_verified, 'verified_at', audit.instant_text(v_integrity.verified_at),
      'begun_at', audit.instant_text(v_begun_at)
    ),
    'findings', jsonb_build_object(
      'state', case when v_findings = '[]' and v_of_project = 0 then 'well' else 'wrong' end,
      'open', v_findings, 'of_project', v_of_project
    ),
    'archive', jsonb_build_object(
      'state', case
        when coalesce(v_integrity.entries_archived, 0) = 0 then 'missing'
        when v_integrity.entries_read_back < v_integrity.entries_archived and v_sealing.published_at < v_now - interval '2 days'
          and coalesce(v_integrity.read_back_at < v_now - interval '2 days', true) then 'wrong'
        else 'well'
      end,
      'entries', coalesce(v_integrity.entries_archived, 0), 'read_back', coalesce(v_integrity.entries_read_back, 0),
      'read_back_at', audit.instant_text(v_integrity.read_back_at)
    ),
    'outside', jsonb_build_object(
      'state', case
        when v_outside = '[]' then 'missing'
        when exists (select from jsonb_array_elements(v_outside) o where o -> 'behind' <> '0') then 'wrong'
        else 'well'
      end,
      'kinds', v_outside
    ),
    'delivery', jsonb_build_object(
      'state', case
        when v_delivery.organization_id is null then 'missing'
        when v_delivery.disabled + v_delivery.failing + v_delivery.dead > 0 or v_delivery.oldest_due < v_now - interval '10 minutes' then 'wrong'
        else 'well'
      end,
      'channels', coalesce(v_delivery.channels, 0), 'disabled', coalesce(v_delivery.disabled, 0), 'failing', coalesce(v_delivery.failing, 0),
      'waiting', coalesce(v_delivery.waiting, 0), 'dead', coalesce(v_delivery.dead, 0),
      'oldest_due', audit.instant_text(v_delivery.oldest_due), 'succeeded_at', audit.instant_text(v_delivery.succeeded_at)
    ),
    'retention', audit.retention_json(v_organization)
  );
end
$$;

comment on function audit.status_page(jsonb) is
  'How the log of {organization_id} stands: capture, sealing, verification, findings, archive, outside, delivery, each well, wrong
or missing (not set up), and retention. For admins and auditors.';
