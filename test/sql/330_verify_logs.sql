-- Logs are verified in the database: trees, ranges, checkpoints and openings. (test/db/verify_logs.test.ts has the attacks.)

-- RFC 6962, section 2.1: three entries are a perfect subtree of two, and one beside it.
select is(audit.merkle_root(h order by n), sha256('\x01'::bytea || sha256('\x01ab'::bytea) || sha256('c')), 'from the smallest subtree to the largest')
from (values (0, sha256('c')), (1, sha256('\x01ab'::bytea))) s (n, h);
select is(audit.merkle_root(h), sha256('a'), 'one is its own root') from (values (sha256('a'))) s (h);

select is_empty('select * from audit.verify_logs()', 'without a log there is nothing to verify');
create temporary table claimed as select audit.claim_log('test/audit', due_now => true) as c;
select is((select status from audit.verify_log((c ->> 'log')::int)), 'pending', 'a log without a checkpoint is pending') from claimed;

-- What the function audit-jobs does, in SQL.
create temporary table leaves as
  select l.index, l.hash from claimed, audit.logs g, audit.log_leaves(g.id) l where false;
update audit.logs set size = sequenced where id = (select (c ->> 'log')::int from claimed);
insert into leaves select l.index, l.hash from claimed, audit.log_leaves((c ->> 'log')::int) l;
select is((select count(*) from leaves), (c ->> 'size')::bigint, 'every index has its leaf') from claimed;
select is_empty($$ select * from claimed, audit.log_leaves((c ->> 'log')::int) l where l.hash is distinct from l.kept_hash $$, 'which is the hash that was written');
select is(
  (select status || ' ' || finding from audit.verify_log((c ->> 'log')::int)), 'broken checkpoint_missing', 'a size without a checkpoint is found'
) from claimed;
insert into audit.checkpoints (log, size, root, frontier) select (c ->> 'log')::int, s, sha256(''), '' from claimed, generate_series(1, (c ->> 'size')::int) s;
update audit.checkpoints k set root = t.root, frontier = t.frontier from claimed, audit.log_trees((c ->> 'log')::int) t where k.log = (c ->> 'log')::int and k.size = t.size;
select is((select root from audit.checkpoints where size = 1), (select hash from leaves where index = 0), 'the root over one entry is its hash');
select is(
  (select root from audit.checkpoints where size = 2),
  (select sha256('\x01'::bytea || a.hash || b.hash) from leaves a, leaves b where a.index = 0 and b.index = 1), 'over two, the hash over both'
);
select is((select octet_length(frontier) from audit.checkpoints where size = 3), 64, 'a tree of three has two perfect subtrees');
select is((select status from audit.verify_log((c ->> 'log')::int)), 'verified', 'what the trees say is verified, signed or not') from claimed;
update audit.logs set published = size where id = (select (c ->> 'log')::int from claimed);
select is((select finding from audit.verify_log((c ->> 'log')::int)), 'checkpoint_altered', 'what readers have is signed') from claimed;
update audit.checkpoints k set note = format(E'%s\n%s\n%s\n\n— x y\n', l.origin, k.size, encode(k.root, 'base64')) from audit.logs l where l.id = k.log;
select is((select status from audit.verify_log((c ->> 'log')::int)), 'verified', 'with a note of size and root') from claimed;
select is(audit.verify_opening((c ->> 'log')::int), true, 'a first log opens without one before it') from claimed;
select is(audit.entry_at((c ->> 'log')::int, 0), concat(audit.log_chain(), '-1'), 'its first entry has its name') from claimed;
select is(audit.entry_at((c ->> 'log')::int, -1), null, 'before it there is none') from claimed;

update audit.logs set archive_deleted_at = now() where id = (select (c ->> 'log')::int from claimed);
delete from audit.log_ranges where log = (select (c ->> 'log')::int from claimed);
select is((select status from audit.verify_log((c ->> 'log')::int)), 'expired', 'a log past its retention has nothing left to verify') from claimed;

select is(said(n, 'select count(*) from audit.verify_logs()') <> '42501', n in ('owner', 'service_role'), format('%s verifies all logs or not', n))
from unnest(array['owner', 'service_role', 'admin', 'member', 'auditor', 'anon']) n;
