-- Where an entry stands in a log, and under which checkpoint that readers have. The receipt itself (C2SP tlog-proof) is made
-- by the function audit, from the archive's tiles.

create or replace function audit.place_in_log(organization_id uuid, chain int, seq bigint)
  returns jsonb
  language sql
  stable
  security definer -- whoever reads of an organisation's log is told where an entry stands; the entry itself is not shown
  set search_path = ''
as $$
  select jsonb_build_object(
    'origin', l.origin, 'folder', l.organization_id || '/' || to_char(l.month, 'YYYY-MM'),
    'index', r.start + place_in_log.seq - r.from_seq, 'size', c.size, 'checkpoint', c.note,
    'anchored', (
      select jsonb_build_object('checkpoint', a.anchor -> 'note', 'anchor', a.anchor - 'note')
      from audit.anchor_of(l.id, r.start + place_in_log.seq - r.from_seq + 1) a (anchor)
      where a.anchor is not null
    )
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
    and audit.reach(place_in_log.organization_id) is not null
$$;

comment on function audit.place_in_log(uuid, int, bigint) is
  'The log, index and newest checkpoint of an entry that is sealed, and the first checkpoint over it that the anchor log has,
with its place there; null while it is not sealed.';

create or replace function audit.is_purged(organization_id uuid, name text)
  returns boolean
  language sql
  stable
  security definer -- who reads all of a log is told up to where it was purged
  set search_path = ''
as $$
  select is_purged.name ~ '^\d{1,9}-\d{1,18}$' and audit.reach(is_purged.organization_id) is not distinct from 'all' and exists (
    select from audit.chain_bounds b
    where b.organization_id = is_purged.organization_id and b.chain = split_part(is_purged.name, '-', 1)::int
      and b.seq >= split_part(is_purged.name, '-', 2)::bigint
  )
$$;

comment on function audit.is_purged(uuid, text) is
  'Whether an entry has left the database, for who reads all of the organisation''s log; false for everybody else.';

create or replace function audit.entry_proof(request jsonb)
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
declare
  v_organization uuid;
  v_name text := request ->> 'name';
  v_entry public.audit_logs;
  v_place jsonb;
begin
  perform audit.check_request(request, array['organization_id', 'name']);
  v_organization := audit.requested_organization(request);
  if audit.is_purged(v_organization, v_name) then
    v_place := audit.place_in_log(v_organization, split_part(v_name, '-', 1)::int, split_part(v_name, '-', 2)::bigint);
    if v_place is not null then
      perform audit.read_archive(v_organization, v_place ->> 'folder', true);
      return v_place;
    end if;
  end if;
  v_entry := audit.find_entry(v_organization, v_name);
  v_place := audit.place_in_log(v_organization, v_entry.chain, v_entry.seq);
  if v_place is null then
    perform audit.fail('AUPND', format('The entry %s is not sealed yet.', v_name), null,
      'Sealing takes a minute: ask again then.');
  end if;
  return v_place || jsonb_build_object('hash', encode(v_entry.hash, 'hex'), 'entry_text', audit.entry_text(v_entry));
end
$$;

comment on function audit.entry_proof(jsonb) is
  'What a receipt is made of: the place of an entry that the caller may read, its newest checkpoint, hash and text; without
these two for one that was purged, which the archive has. AUPND while it is not sealed.';
