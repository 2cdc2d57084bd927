-- Which path captures what, and what is missing.

create function tap.path_states(p text) returns text language sql
as $$ select string_agg(distinct state, '; ' order by state) from audit.auth_coverage where path = p $$;

select is(tap.path_states('trigger'), 'captured', 'all of Auth''s tables are captured');
select is(tap.path_states('audit_table'), 'not written', 'Auth writes no audit rows of its own by default');
select is(tap.path_states('hook'), 'not heard from today', 'hooks are told to Auth, not to the database');
select is(tap.path_states('log'), 'not heard from today', 'and so are drains');
select is((select count(*) from audit.auth_coverage where way_out is null), 7::bigint, 'what is whole needs no way out');

insert into auth.audit_log_entries (id, payload, created_at)
values (gen_random_uuid(), json_build_object('action', 'login', 'actor_id', tap.person('admin')), now());
select audit.hook_mfa_verification_attempt(json_build_object('user_id', tap.person('admin'), 'valid', false)::jsonb);
select * from audit.record_auth(array[row('log', 'user.login_failed', 'failure', now(), null, 'x@example.com', null, null, null, null, null)::audit.auth_event]);
select is(tap.path_states('audit_table') || ', ' || tap.path_states('hook') || ', ' || tap.path_states('log'), 'written, heard from today, heard from today', 'each as it is used');
insert into auth.users (id, created_at) values (tap.person('admin'), now());
insert into auth.sessions (id, user_id, created_at) values (gen_random_uuid(), tap.person('admin'), now() + interval '11 minutes');
select is(tap.path_states('audit_table'), 'not written lately', 'and when it stops');

update audit.waiting_auth_events set received_at = now() - interval '2 minutes';
select matches(tap.path_states('waiting'), '^waiting since', 'events that wait are seen');
select is((select finding from audit.coverage where table_name = 'auth.audit_log_entries'), 'events of Auth wait to be settled');
select audit.settle_waiting_auth();
select is(tap.path_states('waiting'), 'none');

-- Only its owner can take a trigger of Auth's tables off; tracking puts it back.
reset role;
select ok(not exists (select from audit.coverage where table_name like 'auth.%' and not (tracked and healthy)), 'all six are whole');
select is((select count(*) from audit.coverage where table_name like 'auth.%'), 6::bigint);
