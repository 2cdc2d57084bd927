-- Partial files that a full one replaced.

create temporary table log as
  with made as (
    insert into audit.logs (organization_id, month, origin, sequenced, size, published, read_back)
    values (acme(), date '2020-01-01', 'test/acme/2020-01', 70000, 70000, 70000, 0) returning id
  )
  select id from made;
insert into audit.checkpoints (log, size, root, frontier, published_at)
  select id, size, sha256(''), '', now() - interval '1 day' from log, unnest(array[5, 256, 300, 1000, 20000, 65535, 65536, 70000]) size;

create function pg_temp.tiles() returns table (size bigint, tile text) language sql as $$
  select f.size, concat_ws('/', t ->> 'level', t ->> 'index', t ->> 'width') from audit.superseded_files() f cross join jsonb_array_elements(f.tiles) t
  where f.log = (select id from log)
$$;
create function pg_temp.trim_to(upto bigint) returns text[] language plpgsql as $$
declare
  v_tiles text[] := '{}';
begin
  update audit.logs set read_back = upto where id = (select id from log);
  for n in 1 .. 100 loop
    exit when not exists (select from audit.superseded_files() f where f.log = (select id from log));
    v_tiles := v_tiles || array(select tile from pg_temp.tiles());
    perform audit.record_trimmed(f.log, f.size) from audit.superseded_files() f where f.log = (select id from log);
  end loop;
  return array(select t from unnest(v_tiles) t order by string_to_array(t, '/')::int[]);
end
$$;
select is_empty('select * from pg_temp.tiles()', 'nothing goes that was not read back');
select is(pg_temp.trim_to(255), '{}', 'nor while no bundle is full');
select is(pg_temp.trim_to(256), array['0/0/5'], 'then what the first one replaced');
select is(pg_temp.trim_to(65535), array['0/1/44', '0/3/232', '0/78/32'], 'and later ones; the last is not full yet, nor is a tile of tiles');
select is(pg_temp.trim_to(70000), array['0/255/255', '1/0/1', '1/0/3', '1/0/78', '1/0/255'], 'which is replaced with the 65,536th entry');
select is((select trimmed from audit.logs where id = (select id from log)), 69888::bigint, 'up to the last full bundle');
select is(pg_temp.trim_to(70000), '{}', 'once');

update audit.logs set trimmed = 0 where id = (select id from log);
update audit.checkpoints set published_at = now() - interval '10 minutes' where log = (select id from log) and size > 256;
select is(pg_temp.trim_to(70000), array['0/0/5'], 'nothing that readers learned of within the hour');
update audit.checkpoints set published_at = null where log = (select id from log) and size = 256;
update audit.logs set trimmed = 0 where id = (select id from log);
select is(pg_temp.trim_to(70000), '{}', 'or not yet');
update audit.checkpoints set published_at = now() - interval '1 day' where log = (select id from log);
update audit.logs set archive_deletion_began_at = now() where id = (select id from log);
select is(pg_temp.trim_to(70000), '{}', 'nothing of an archive that goes as a whole');
select audit.record_trimmed(id, 80000) from log;
select is((select trimmed from audit.logs where id = (select id from log)), 0::bigint, 'what was not read back is not noted');
select is(said(name, 'select audit.record_trimmed(1, 1)'), '42501', name || ' may not note it') from unnest(array['anon', 'admin', 'service_role']) name;
select is(said(name, 'select audit.superseded_files()'), '42501', name || ' is not told') from unnest(array['anon', 'admin']) name;
