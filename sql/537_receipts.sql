-- Where an entry stands in a log, and under which checkpoint that readers have. The receipt itself (C2SP tlog-proof) is made
-- by the function audit, from the archive's tiles.

create or replace function audit.place_in_log(organization_id uuid, chain int, seq bigint)
  returns jsonb
  language sql
  stable
  security definer -- where an entry stands is told to whoever knows its name; the entry itself is not
  set search_path = ''
as $$
  select jsonb_build_object(
    'origin', l.origin, 'folder', l.organization_id || '/' || to_char(l.month, 'YYYY-MM'),
    'index', r.start + place_in_log.seq - r.from_seq, 'size', c.size, 'checkpoint', c.note
  )
  from (
    select r.log, r.start, r.from_seq, r.to_seq
    from audit.log_ranges r
    where r.organization_id = place_in_log.organization_id and r.chain = place_in_log.chain and r.from_seq <= place_in_log.seq
    order by r.from_seq desc
    limit 1
  ) r
  join audit.logs l on l.id = r.log
  join audit.checkpoints c on c.log = l.id and c.size = l.published
  where place_in_log.seq <= r.to_seq and r.start + place_in_log.seq - r.from_seq < l.published
$$;

comment on function audit.place_in_log(uuid, int, bigint) is
  'The log, index and newest checkpoint of an entry that is sealed; null while it is not.';

create or replace function audit.entry_proof(request jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_organization uuid;
  v_entry public.audit_logs;
  v_place jsonb;
begin
  perform audit.check_request(request, array['organization_id', 'name']);
  v_organization := audit.requested_organization(request);
  v_entry := audit.find_entry(v_organization, request ->> 'name');
  v_place := audit.place_in_log(v_organization, v_entry.chain, v_entry.seq);
  if v_place is null then
    perform audit.fail('AUPND', format('The entry %s is not sealed yet.', request ->> 'name'), null,
      'Sealing takes a minute: ask again then.');
  end if;
  return v_place || jsonb_build_object('hash', encode(v_entry.hash, 'hex'), 'entry_text', audit.entry_text(v_entry));
end
$$;

comment on function audit.entry_proof(jsonb) is
  'What a receipt is made of: the place of an entry that the caller may read, its newest checkpoint, hash and text. AUPND while
it is not sealed.';
