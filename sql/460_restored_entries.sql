-- Entries that retention has let go of, back from the archive for as long as somebody needs them: in a table of their own,
-- beside the log and not in it, which whoever reads all of the organisation's log reads too. `npm run restore -- --entries`
-- fills it with what it has verified; `drop table` ends it.

create or replace function audit.open_restored_entries(table_name text default 'audit.restored_entries')
  returns regclass
  language plpgsql
  set search_path = ''
as $$
declare
  v_name text[] := parse_ident(open_restored_entries.table_name);
  v_table regclass;
begin
  if cardinality(v_name) <> 2 then
    perform audit.fail('AUARG', format('%s is no table with its schema.', open_restored_entries.table_name), null,
      'For example audit.restored_entries, or public.entries_of_2024.');
  end if;
  v_table := to_regclass(open_restored_entries.table_name);
  if v_table is null then
    execute format('create table %I.%I (like public.audit_logs including comments)', v_name[1], v_name[2]);
    v_table := to_regclass(open_restored_entries.table_name);
    execute format('comment on table %s is %L', v_table, 'Entries from the archive, verified when they were restored. Not the log: drop it when it is no longer needed.');
    execute format('alter table %s add constraint %I primary key (organization_id, chain, seq)', v_table, v_name[2] || '_pkey');
    execute format('create index on %s (organization_id, created_at)', v_table);
    execute format('alter table %s enable row level security', v_table);
    execute format('revoke all on %s from public, anon, authenticated, service_role', v_table);
    execute format('grant select on %s to authenticated, service_role', v_table);
    execute format(
      $q$
        create policy "admins and auditors read their organisation's entries" on %s for select to authenticated using (
          organization_id = any (array(select audit.admin_organizations()))
          or organization_id = any (array(select audit.auditor_organizations()))
        )
      $q$, v_table
    );
  elsif coalesce(pg_catalog.obj_description(v_table, 'pg_class'), '') not like 'Entries from the archive,%' then
    perform audit.fail('AUARG', format('%s is another table.', open_restored_entries.table_name), null,
      'Name one that is not there, or one that a restore made.');
  end if;
  return v_table;
end
$$;

comment on function audit.open_restored_entries(text) is
  'The table for entries from the archive, made where it is missing: admins and auditors read those of their organisation.';

create or replace function audit.add_restored_entries(restored regclass, entries text[])
  returns bigint
  language plpgsql
  set search_path = ''
as $$
declare
  v_added bigint;
begin
  execute format(
    'insert into %s select p.* from audit.parsed_entries($1) p where p.hash = audit.hash_of(audit.entry_text(p)) on conflict do nothing',
    add_restored_entries.restored
  ) using add_restored_entries.entries;
  get diagnostics v_added = row_count;
  return v_added;
end
$$;

comment on function audit.add_restored_entries(regclass, text[]) is
  'Adds entries from the archive, by their texts; answers how many were not there yet.';
