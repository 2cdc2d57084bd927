-- Cosignatures: what may be added to a checkpoint, who has the log meanwhile, and what proves a log by the anchor log.

select audit.record(acme(), 'a.one');
select seal(), audit.anchor_checkpoints(), seal();
create temporary table anchor as select id, published as size, origin from audit.logs where month is null;

-- The text of a note
select is(audit.note_text(note), text, note) from (values
  (E'o\n1\nr\n\n— a b\n', E'o\n1\nr\n'),
  (E'o\n1\nr\n\n— a b\n— c d\n', E'o\n1\nr\n'),
  (E'o\n\nr\n\n— a b\n', E'o\n\nr\n'),
  (E'o\n1\nr\n', null),
  ('', null),
  (null, null)
) v (note, text);

-- Recording
update audit.checkpoints c set note = a.origin || E'\n' || a.size || E'\nroot\n\n— ' || a.origin || E' sig1\n— ' || a.origin || E' sig2\n'
from anchor a where c.log = a.id and c.size = a.size;
create temporary table signed as select c.note from audit.checkpoints c join anchor a on c.log = a.id and c.size = a.size;
create function pg_temp.record(note text, enough boolean default true) returns text language plpgsql as $$
begin
  perform audit.record_cosignatures(a.id, a.size, note, enough) from anchor a;
  return 'recorded';
exception when others then
  return sqlstate;
end
$$;
select is(pg_temp.record(note || E'— w1 a\n', false), 'recorded', 'a cosignature is added') from signed;
select is((select count(*) from audit.cosigned_checkpoints), 0::bigint, 'which is not enough');
select is(pg_temp.record(note || E'— w1 b\n— w2 a\n'), 'recorded', 'one is replaced, one added') from signed;
select is((select count(*) from audit.cosigned_checkpoints), 1::bigint, 'which is enough');
select is((select c.note from audit.checkpoints c join anchor a on c.log = a.id and c.size = a.size), note || E'— w1 b\n— w2 a\n', 'and kept') from signed;
select is(pg_temp.record(changed), 'AUARG', 'refused: ' || what) from signed, lateral (values
  ('another text', replace(note, 'root', 'other')),
  ('another size', regexp_replace(note, E'\n\\d+\n', E'\n999\n')),
  ('a text that is longer', replace(note, E'root\n', E'root\nmore\n')),
  ('without the log''s own signatures', regexp_replace(note, '— .*', E'— w1 b\n')),
  ('with one of them gone', regexp_replace(note, E'— \\S+ sig2\n', '')),
  ('with one of them changed', replace(note, 'sig2', 'sig3')),
  ('nothing', ''),
  ('null', null)
) v (what, changed);
select throws_ok(format('select audit.record_cosignatures(%s, %s, %L, true)', id, size + 1, note), 'P0002', null, 'no checkpoint, nothing to cosign') from anchor, signed;

-- The log to oneself
select is(audit.lease_checkpoint(id, size - 1), null, 'a checkpoint that was replaced is not published again') from anchor;
create temporary table leased as select audit.lease_checkpoint(id, size) as lease from anchor;
select isnt(lease, null, 'the newest is') from leased;
select is(audit.lease_checkpoint(id, size), null, 'by one at a time') from anchor;
update audit.logs set sequenced = sequenced + 1 where month is null;
select is(audit.claim_log('test.example/audit'), null, 'and nobody seals meanwhile');
select is(audit.record_published(id, size, lease), true, 'then the sealer goes on') from anchor, leased;
select is(audit.claim_log('test.example/audit') ->> 'folder', 'anchor', 'with the log');
select is(audit.lease_checkpoint(id, size), null, 'which nobody takes from it') from anchor;

-- Anchored
update audit.checkpoints c set note = 'of ' || c.log || ' at ' || c.size where c.note is null;
create temporary table sealed as select l.id, l.published as size from audit.logs l where l.organization_id = acme();
select is(audit.anchor_of(s.id, s.size) ->> 'entry', e.entry, 'the log''s checkpoint is in the anchor log')
from sealed s join audit.anchor_entries e on e.log = s.id;
select is(audit.anchor_of(id, 0), audit.anchor_of(id, size), 'one that covers more will do') from sealed;
select is(audit.anchor_of(id, size + 1), null, 'one that covers less will not') from sealed;
select is(audit.anchor_of(0, 0), null, 'nor is there one of a log that there is not');
select is(audit.anchor_of(s.id, s.size) ->> 'checkpoint', c.note, 'under the checkpoint that is cosigned')
from sealed s, anchor a join audit.checkpoints c on c.log = a.id and c.size = a.size;
-- The log grows, and nobody has cosigned what it is now.
select audit.record(acme(), 'a.two');
select seal(), audit.anchor_checkpoints(), seal();
update audit.checkpoints c set note = 'of ' || c.log || ' at ' || c.size where c.note is null;
select is(audit.anchor_of(s.id, s.size) ->> 'checkpoint', c.note, 'a newer one that nobody cosigned says less')
from sealed s, anchor a join audit.checkpoints c on c.log = a.id and c.size = a.size;
select is(audit.anchor_of(l.id, l.published) ->> 'checkpoint', c.note, 'but it is what there is for what came since')
from audit.logs l, audit.logs a join audit.checkpoints c on c.log = a.id and c.size = a.published
where l.organization_id = acme() and a.month is null;
select audit.record(acme(), 'a.three');
select seal(), audit.anchor_checkpoints();
select is(audit.anchor_of(l.id, l.published), null, 'an index alone proves nothing') from audit.logs l where l.organization_id = acme();
update audit.checkpoints c set note = null from sealed s where c.log = s.id and c.size = s.size;
select cmp_ok((audit.anchor_of(id, 0) ->> 'size')::bigint, '>', size, 'a checkpoint that is in no table any more proves nothing, a later one does') from sealed;
