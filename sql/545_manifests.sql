-- Signed manifests. Once an export is done and all that it could hold is sealed, its manifest is frozen to the byte, and the
-- job "manifests" signs its digest: who has the file and the public key needs nobody to know whether it was altered.

create or replace function audit.manifest_to_sign()
  returns jsonb
  language plpgsql
  set search_path = ''
as $$
#variable_conflict use_column
declare
  v_export audit.exports;
begin
  select x.* into v_export
  from audit.exports x
  where x.state = 'done' and x.manifest_note is null
    -- The checkpoint in the manifest is over every entry that the export can have.
    and audit.is_sealed(x.organization_id, x.until)
  order by x.requested_at
  limit 1
  for update skip locked;
  if v_export.id is null then
    return null;
  end if;
  update audit.exports x set manifest = coalesce(x.manifest, audit.export_manifest(x)::text)
  where x.id = v_export.id
  returning x.manifest into v_export.manifest;
  return jsonb_build_object('id', v_export.id, 'manifest', v_export.manifest);
end
$$;

comment on function audit.manifest_to_sign() is 'The manifest of an export that is done, sealed and not signed yet; null where there is none.';

create or replace function audit.record_manifest_note(export uuid, note text)
  returns void
  language sql
  set search_path = ''
as $$
  update audit.exports x set manifest_note = record_manifest_note.note
  where x.id = record_manifest_note.export and x.manifest is not null and x.manifest_note is null
$$;

comment on function audit.record_manifest_note(uuid, text) is 'Keeps the signature of an export''s manifest.';

create or replace function audit.signed_manifest(request jsonb)
  returns jsonb
  language plpgsql
  stable
  set search_path = ''
as $$
declare
  v_export audit.exports;
begin
  perform audit.check_request(request, array['export']);
  v_export := audit.find_export(audit.requested_export(request));
  if v_export.manifest_note is null then
    perform audit.fail('AUPND', 'The manifest of the export is not signed yet.', null, case
      when v_export.state = 'done' then 'Its last entries are being sealed, which takes a minute: ask again then.'
      else format('The export is %s; what is not done is not signed.', v_export.state)
    end);
  end if;
  return jsonb_build_object('manifest', v_export.manifest, 'note', v_export.manifest_note);
end
$$;

comment on function audit.signed_manifest(jsonb) is 'The manifest of an export to the byte, and its signature; AUPND while it is not signed.';
