-- Who a person is: by id, by address, by an address that somebody else used later.
create function pg_temp.seen(person uuid, email text, organization uuid default tap.acme()) returns void language sql as $$
  select audit.identify(organization, person, email, '198.51.100.' || length(email), 'agent of ' || email)
$$;
create temporary table who as select gen_random_uuid() as ann, gen_random_uuid() as ben;
select pg_temp.seen(ann, 'Ann@acme.example'), pg_temp.seen(ann, 'shared@acme.example'), pg_temp.seen(ben, 'Shared@Acme.example'), pg_temp.seen(ben, 'ann@acme.example', globex()) from who;
select pg_temp.seen(null, 'ann@acme.example'), pg_temp.seen(null, 'nobody@acme.example');

select is(audit.find_subject(acme(), ann::text), row(acme(), ann, array['ann@acme.example'])::audit.subject, 'a user has the addresses that are theirs alone') from who;
select is(audit.find_subject(acme(), ' ANN@acme.Example '), row(acme(), ann, array['ann@acme.example'])::audit.subject, 'and is found by them') from who;
select is(audit.find_subject(globex(), 'ann@acme.example'), row(globex(), ben, array['ann@acme.example'])::audit.subject, 'in another organisation it is whoever has it there') from who;
select is(audit.find_subject(acme(), 'nobody@acme.example'), row(acme(), null, array['nobody@acme.example'])::audit.subject, 'an address that no user had stands for itself');
select throws_ok($$ select audit.find_subject(tap.acme(), 'shared@acme.example') $$, 'AUARG', 'The address was used by several persons, one after the other.');
select throws_ok(format('select audit.find_subject(tap.acme(), %L)', bad), 'AUARG') from unnest(array[null, '', 'Ann', 'a b@c', 'a@b@c', repeat('x', 320) || '@c', E'a@b\n@c', '%@%_']) bad where bad is distinct from '%@%_';
select is((select count(*) from audit.identities_of(audit.find_subject(acme(), ann::text)))::int, 3, 'contexts without a user that know the address are theirs') from who;
select is((select count(*) from audit.identities_of(audit.find_subject(acme(), ben::text)))::int, 1, 'but none of another') from who;

-- Values: about the user, of the user's own row, or the address itself.
create temporary table held as
  select audit.commit_personal(acme(), w.subject, 'thing', w.id, 'phone', w.value) ->> 'personal' as hash, w.mine
  from (
    select ann as subject, 'x' as id, '1' as value, true as mine from who union all
    select null, ann::text, '2', true from who union all
    select null, 'y', 'ANN@acme.example', true union all
    select ben, 'z', '3', false from who union all
    select null, 'z', 'shared@acme.example', false
  ) w;
select is(audit.is_value_of(v, audit.find_subject(acme(), ann::text)), h.mine, v.value || ': whose value') from held h join audit.personal_values v on v.value_hash = decode(h.hash, 'hex'), who;

-- What was looked for.
create temporary table query as
  select q, mine, decode(audit.commit_personal(acme(), null, 'audit_log', null, 'query', q) ->> 'personal', 'hex') as hash
  from (values
    ('ann@acme.example', true), ('ANN@*', true), ('mail ann@acme.example now', true), ('agent of ann*', true), ('198.51.100.16', true),
    ('ben@*', false), ('198.51.100.17', false), ('ann', false), ('shared@acme.example', true)
  ) q (q, mine);
select is(q.hash in (select audit.queries_about(audit.find_subject(acme(), ann::text), 'infinity')), q.mine, 'a search for ' || q.q) from query q, who;

-- An address in plain text, in an entry
select audit.record(acme(), 'note.written', 'note', 'n1', '{"text": "wrote to ann@acme.example"}');
select audit.record(acme(), 'note.written', 'note', 'n2', '{"text": "wrote to joann@acme.example"}');
select results_eq(
  format($$ select m from audit.plain_mentions(audit.find_subject(tap.acme(), %L)) m $$, ann),
  $$ select chain || '-' || seq from public.audit_logs where resource_id = 'n1' $$, 'is told'
) from who;
