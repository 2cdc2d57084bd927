-- The tables of an LLM application, as small as the known tables can be. Tests insert into them as postgres; the API
-- roles may do everything too, without row level security, because the tests are about the log and not about the app.

create table public.organizations (
  id uuid primary key default gen_random_uuid(),
  name text not null default 'Acme'
);

create table public.organization_members (
  organization_id uuid not null references public.organizations on delete cascade,
  user_id uuid not null,
  role text not null default 'member' check (role in ('admin', 'member', 'viewer')),
  primary key (organization_id, user_id)
);

create table public.api_keys (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations on delete cascade,
  provider text not null default 'openai',
  name text not null default 'Production',
  key_hash text,
  encrypted_key text,
  created_by uuid,
  last_used_at timestamptz
);

-- Without a foreign key: whole swarms of organisations can be written to at no cost.
create table public.budgets (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  name text not null default 'Monthly',
  "limit" numeric not null default 100,
  created_by uuid
);

create table public.llm_queries (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations on delete cascade,
  user_id uuid,
  provider text not null default 'openai',
  model text not null default 'gpt-4.1',
  query_text text not null default 'What is the answer?'
);

-- Its organisation and provider lie behind its query.
create table public.llm_responses (
  id uuid primary key default gen_random_uuid(),
  query_id uuid not null references public.llm_queries on delete cascade,
  response_text text,
  success boolean not null default true,
  error_message text,
  total_cost numeric not null default 0.001
);

create table public.integrations (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null references public.organizations on delete cascade,
  name text not null default 'Slack',
  config jsonb not null default '{}',
  secret text
);

grant all on
  public.organizations, public.organization_members, public.api_keys, public.budgets, public.llm_queries,
  public.llm_responses, public.integrations
to anon, authenticated, service_role;
