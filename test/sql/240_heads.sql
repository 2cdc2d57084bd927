-- Which chain a connection writes, and where each chain stands.

select is(audit.connection_chain(), audit.connection_chain(), 'a connection writes one chain');
select cmp_ok(audit.transaction_chain(), '>=', 0, 'with a number');
select is(audit.transaction_chain(), audit.transaction_chain(), 'and so does a transaction, where transactions can be prepared');

create function pg_temp.survives(setting text, value text) returns text language plpgsql as $$
begin
  perform set_config(setting, replace(value, '<pid>', pg_backend_pid()::text), false);
  return tap.lives_ok(
    $s$ insert into public.budgets (organization_id) values (tap.acme()) $s$, format('%s = %L costs no change of the application', setting, value)
  );
end
$$;
select pg_temp.survives(setting, value)
from (values ('audit.context'), ('audit.context_sources'), ('audit.head_' || left(tap.acme()::text, 2)), ('audit.identity_' || left(tap.acme()::text, 2))) s (setting)
cross join (values (''), (' '), ('nonsense'), ('(0,1)'), ('(4294967295,65535)'), ('(1'), ('<pid>'), ('<pid>:x:0'), ('<pid>::'), ('<pid>:99999999999:0')) v (value);
select is_empty($$ select * from audit.verify() where status <> 'verified' $$, 'and breaks no chain');

select is_empty(
  $$
    select h.organization_id, h.chain
    from audit.heads h
    left join lateral (
      select a.seq, a.hash, a.prev_hash, a.created_at from public.audit_logs a
      where a.organization_id = h.organization_id and a.chain = h.chain order by a.seq desc limit 1
    ) a on true
    where (h.seq, h.hash, h.prev_hash, h.last_at) is distinct from (a.seq, a.hash, a.prev_hash, a.created_at)
  $$,
  'every head is the last entry of its chain'
);
