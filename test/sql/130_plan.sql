-- From a table and options to a plan.

-- Names
create temporary table name (plural text, singular text);
insert into name values
  ('budgets', 'budget'), ('companies', 'company'), ('boxes', 'box'), ('addresses', 'address'), ('status', 'status'),
  ('news_items', 'news_item'), ('data', 'data'), ('batches', 'batch'), ('analysis', 'analysis');
select is(audit.singular(plural), singular, format('singular(%L)', plural)) from name;

select is(count(*), 7::bigint, 'seven tables of an LLM application are known') from audit.known_tables();

-- Columns
create domain public.money_amount as numeric(12, 2);
create domain public.price as public.money_amount;
create table public.parents (id uuid primary key, organization_id uuid not null, provider text, created_by uuid);
create table public.children (
  id bigint primary key, parent_id uuid references public.parents, total_cost public.price, email text, secret text,
  prompt text, updated_at timestamptz, prompt_tokens int, success boolean, gone int
);
alter table public.children drop column gone;
select results_eq(
  $$ select name, type::regtype::text from audit.columns_of('public.children') $$,
  $$ values ('id', 'bigint'), ('parent_id', 'uuid'), ('total_cost', 'numeric'), ('email', 'text'), ('secret', 'text'),
    ('prompt', 'text'), ('updated_at', 'timestamp with time zone'), ('prompt_tokens', 'integer'), ('success', 'boolean') $$,
  'columns_of() sees through domains and skips what was dropped'
);
select is(audit.found_column('public.children', '{organization_id}'), 'parent_id.organization_id', 'a column is found behind a foreign key');
select is(audit.found_column('public.children', '{id,organization_id}'), 'id', 'the table''s own column comes first');
select is(audit.found_column('public.children', '{nothing}'), null, 'what is nowhere is not found');
select is(
  audit.resolved_column('public.children', 'provider', 'parent_id.provider') - 'table_oid',
  '{"key": "parent_id", "table": "public.parents", "table_key": "id", "column": "provider"}', 'a path leads to the other table'
);
select is(audit.resolved_column('public.children', 'cost', 'total_cost'), '{"column": "total_cost"}', 'a name leads to the column');
select throws_ok(
  $$ select audit.resolved_column('public.children', 'cost', 'price') $$, 'AUOPT', null, 'a column that is nowhere is refused'
);
select throws_ok(
  $$ select audit.resolved_column('public.children', 'cost', 'email.price') $$, 'AUOPT', null, 'a path without foreign key is refused'
);

-- The plan
create function pg_temp.plan(options jsonb default '{}') returns jsonb language sql
as $$ select audit.capture_plan('public.children', options) $$;

select is(pg_temp.plan() - 'columns' #- '{organization,table_oid}' #- '{provider,table_oid}' #- '{actor,table_oid}', '{
  "id": ["id"], "resource": "children", "cost": {"column": "total_cost"},
  "organization": {"key": "parent_id", "table": "public.parents", "table_key": "id", "column": "organization_id"},
  "provider": {"key": "parent_id", "table": "public.parents", "table_key": "id", "column": "provider"},
  "actor": {"key": "parent_id", "table": "public.parents", "table_key": "id", "column": "created_by"},
  "outcome": {"column": "success", "failure": ["false"]},
  "actions": {"insert": "children.created", "update": "children.updated", "delete": "children.deleted"}, "update_of": {}
}', 'everything is found by inspection');
select is(pg_temp.plan() -> 'columns', '{
  "id": "record", "parent_id": "record", "total_cost": "record", "email": "personal", "secret": "mask", "prompt": "content",
  "updated_at": "ignore", "prompt_tokens": "record", "success": "record"
}', 'columns are treated by what they are called and what they are');
select is(
  pg_temp.plan('{"ignore": ["email"], "record": ["secret"], "personal": ["prompt"], "mask": ["success"]}') -> 'columns'
    @> '{"email": "ignore", "secret": "record", "prompt": "personal", "success": "mask"}', true, 'options decide otherwise'
);
select is(pg_temp.plan('{"actor": null}') ? 'actor', false, 'null takes a meaning away');
select is(pg_temp.plan('{"organization": "system"}') -> 'organization', '{"system": true}', 'rows can belong to no tenant');
select is(pg_temp.plan('{"resource": "kid"}') #>> '{actions,insert}', 'kid.created', 'actions follow the resource');
select is(
  pg_temp.plan('{"actions": {"insert": "kid.born"}, "update_of": {"email": "kid.moved"}}') @> '{"actions": {"insert": "kid.born"}, "update_of": {"email": "kid.moved"}}',
  true, 'actions can be named'
);

create temporary table wrong (options jsonb, why text);
insert into wrong values
  ('{"colour": "blue"}', 'an unknown option'), ('{"id": "id"}', 'a text for a list'), ('{"ignore": {}}', 'an object for a list'),
  ('{"resource": 1}', 'a number for a text'), ('{"actions": []}', 'a list for an object'), ('{"organization": null}', 'no organisation'),
  ('{"ignore": ["nothing"]}', 'a column that is none'), ('{"id": ["nothing"]}', 'a key that is none'),
  ('{"update_of": {"nothing": "a.b"}}', 'an update of a column that is none'), ('{"cost": "nothing"}', 'a cost that is none'),
  ('{"actor": "parent_id.nothing"}', 'an actor behind a key that is none'), ('{"actions": {"insert": "created"}}', 'an action without a dot'),
  ('{"actions": {"insert": "kid born"}}', 'an action with a space'), ('{"outcome": {"column": "nothing"}}', 'an outcome column that is none');
select throws_ok(format('select pg_temp.plan(%L)', options), 'AUOPT', null, 'refused: ' || why) from wrong;
select throws_ok($$ select pg_temp.plan('{"id": []}') $$, 'AUNPK', null, 'refused: an empty key');
select throws_ok($$ select pg_temp.plan('{"organization": "total_cost"}') $$, 'AUORG', null, 'refused: an organisation that is a number');

create table public.bare (name text, organization_id uuid);
create table public.orphans (id int primary key);
select throws_ok($$ select audit.capture_plan('public.bare', '{}') $$, 'AUNPK', null, 'a table without primary key is refused');
select lives_ok($$ select audit.capture_plan('public.bare', '{"id": ["name"]}') $$, 'unless the columns that identify a row are named');
select throws_ok($$ select audit.capture_plan('public.orphans', '{}') $$, 'AUORG', null, 'a table without organisation is refused');
select lives_ok($$ select audit.capture_plan('public.orphans', '{"organization": "system"}') $$, 'unless its rows belong to no tenant');

-- Treatments
create temporary table treated (table_name text, column_name text, type regtype, treatment text);
insert into treated values
  ('users', 'api_key', 'text', 'mask'), ('users', 'api_key_id', 'uuid', 'record'), ('users', 'key_hash', 'text', 'record'), ('users', 'key_prefix', 'text', 'record'),
  ('users', 'password', 'text', 'mask'), ('users', 'encrypted_key', 'text', 'mask'), ('users', 'refresh_token', 'varchar', 'mask'), ('users', 'otp', 'text', 'mask'),
  ('users', 'prompt_tokens', 'int4', 'record'), ('users', 'secret', 'jsonb', 'mask'), ('users', 'private_key', 'bytea', 'mask'), ('users', 'phone', 'text', 'personal'),
  ('users', 'ip_address', 'inet', 'personal'), ('users', 'email_confirmed_at', 'timestamptz', 'record'), ('users', 'updated_at', 'timestamptz', 'ignore'), ('users', 'search', 'tsvector', 'ignore'),
  ('llm_responses', 'content', 'text', 'ignore'), ('notes', 'content', 'text', 'record'), ('llm_queries', 'input', 'text', 'content'), ('notes', 'prompt', 'text', 'content'),
  ('users', 'monkey', 'text', 'record'), ('users', 'keyboard', 'text', 'record'), ('users', 'author', 'text', 'record'), ('users', 'spinner', 'text', 'record');
select is(
  audit.column_treatment(t.table_name, t.column_name, t.type, (select typcategory::text from pg_type where oid = t.type)), t.treatment,
  format('%s.%s (%s) is treated as: %s', t.table_name, t.column_name, t.type, t.treatment)
) from treated t;
