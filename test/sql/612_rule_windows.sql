-- Windows that slide: what is in them at each slot, judged again where something comes late.

create function pg_temp.total(slot bigint, kind text default 'count', value text default '', hits bigint default 1) returns audit.rule_total language sql as $$
  select row('00000000-0000-4000-a000-000000000601', tap.acme(), kind, 3, 10, 1000000, null, 'g', value, slot, hits, hits, to_timestamp(slot), to_timestamp(slot), array['1-' || slot], false, null)::audit.rule_total
$$;
create function pg_temp.judged(variadic totals audit.rule_total[]) returns text language sql as $$
  select string_agg(extract(epoch from f.first_at)::bigint || '×' || f.occurrences, ' ' order by f.first_at) from unnest(audit.judge_windows(totals)) f
$$;
select is(pg_temp.judged(pg_temp.total(100), pg_temp.total(105)), null, 'two are not three');
select is(pg_temp.judged(pg_temp.total(111)), null, 'nor are three, one too late');
select is(pg_temp.judged(pg_temp.total(110)), '110×1 111×1', 'one that comes late completes what was there, and what came after');
select is(pg_temp.judged(pg_temp.total(110)), '110×1', 'what was counted is not counted again');
select is((select sum(counted) from audit.rule_windows), 3::numeric, 'which is noted');
delete from audit.rule_windows;
select is(pg_temp.judged(pg_temp.total(1, 'distinct', 'a'), pg_temp.total(2, 'distinct', 'a'), pg_temp.total(3, 'distinct', 'b')), null, 'a value that comes twice is one');
select is(pg_temp.judged(pg_temp.total(12, 'distinct', 'c')), '12×1', 'and counts from when it came last');
delete from audit.rule_windows;
select is(pg_temp.judged(pg_temp.total(5, 'sequence', 'then'), pg_temp.total(6, 'sequence', 'first', 3)), null, 'what should follow does not come before');
select is(pg_temp.judged(pg_temp.total(16, 'sequence', 'then'), pg_temp.total(17, 'sequence', 'then')), '16×1', 'it comes within the window');
insert into audit.rule_positions select organization_id, chain, seq, last_at, seq from audit.heads on conflict on constraint rule_positions_pkey do update set seq = excluded.seq, upto = excluded.seq;
select is(audit.prune_rules(), 0, 'what came just now stays for what comes with it, however old it is');
update audit.rule_windows set forget_at = forget_at - interval '61 minutes';
select is(audit.prune_rules(), 4, 'what no window reaches is forgotten');
