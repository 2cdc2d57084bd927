-- The sample application.
--
-- Not part of the product: it stands for the customer's app, a service through which the people of several
-- organisations send queries to LLM providers. It knows nothing of audit logs. The tables come first, then who may do
-- what, then the people and settings of a demonstration. The queries themselves are replayed by scripts/demo.
--
-- Loaded once, as `postgres`, by `supabase db push --include-seed`.

------------------------------------------------------------------------------------------------------------------------
-- Tables

create table public.organizations (
  id uuid primary key default gen_random_uuid(),
  name text not null,
  slug text not null,
  time_zone text not null default 'UTC',
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint organizations_slug_key unique (slug),
  constraint organizations_slug_form check (slug ~ '^[a-z0-9-]{2,40}$')
);

comment on table public.organizations is 'A customer of the application: the tenant that everything else belongs to.';
comment on column public.organizations.id is 'Identifies the organisation.';
comment on column public.organizations.name is 'As shown to people.';
comment on column public.organizations.slug is 'As used in addresses.';
comment on column public.organizations.time_zone is 'IANA name of the time zone in which the organisation works.';
comment on column public.organizations.created_at is 'When it signed up.';
comment on column public.organizations.updated_at is 'When its profile last changed.';

create table public.organization_members (
  organization_id uuid not null,
  user_id uuid not null,
  role text not null default 'member',
  invited_by uuid,
  created_at timestamptz not null default now(),
  constraint organization_members_pkey primary key (organization_id, user_id),
  constraint organization_members_organization_id_fkey
    foreign key (organization_id) references public.organizations (id) on delete cascade,
  constraint organization_members_user_id_fkey foreign key (user_id) references auth.users (id) on delete cascade,
  constraint organization_members_invited_by_fkey foreign key (invited_by) references auth.users (id) on delete set null,
  constraint organization_members_role_known check (role in ('admin', 'member', 'viewer'))
);

comment on table public.organization_members is 'Who belongs to which organisation, in which role.';
comment on column public.organization_members.organization_id is 'The organisation.';
comment on column public.organization_members.user_id is 'The person.';
comment on column public.organization_members.role is 'admin: everything; member: sends queries; viewer: reads.';
comment on column public.organization_members.invited_by is 'The admin who added the person; null for the founder.';
comment on column public.organization_members.created_at is 'When the person joined.';

create table public.api_keys (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  provider text not null,
  name text not null,
  key_prefix text not null,
  key_hash text not null,
  encrypted_key text not null,
  status text not null default 'active',
  created_by uuid,
  last_used_at timestamptz,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint api_keys_organization_id_fkey
    foreign key (organization_id) references public.organizations (id) on delete cascade,
  constraint api_keys_created_by_fkey foreign key (created_by) references auth.users (id) on delete set null,
  constraint api_keys_name_key unique (organization_id, provider, name),
  constraint api_keys_provider_known check (provider in ('openai', 'anthropic', 'google', 'perplexity')),
  constraint api_keys_status_known check (status in ('active', 'disabled', 'revoked'))
);

comment on table public.api_keys is 'Keys of an organisation for the LLM providers.';
comment on column public.api_keys.id is 'Identifies the key.';
comment on column public.api_keys.organization_id is 'Whose key it is.';
comment on column public.api_keys.provider is 'openai, anthropic, google or perplexity.';
comment on column public.api_keys.name is 'As shown to people.';
comment on column public.api_keys.key_prefix is 'First characters, so that people recognise it.';
comment on column public.api_keys.key_hash is 'SHA-256 of the key, in hex.';
comment on column public.api_keys.encrypted_key is 'The key, encrypted by the application.';
comment on column public.api_keys.status is 'active, disabled or revoked.';
comment on column public.api_keys.created_by is 'Who added it.';
comment on column public.api_keys.last_used_at is 'When it was last sent to the provider.';
comment on column public.api_keys.created_at is 'When it was added.';
comment on column public.api_keys.updated_at is 'When it last changed.';

create table public.budgets (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  name text not null,
  period text not null default 'monthly',
  limit_usd numeric(12, 2) not null,
  alert_thresholds int[] not null default '{50,80,100}',
  created_by uuid,
  updated_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint budgets_organization_id_fkey
    foreign key (organization_id) references public.organizations (id) on delete cascade,
  constraint budgets_created_by_fkey foreign key (created_by) references auth.users (id) on delete set null,
  constraint budgets_updated_by_fkey foreign key (updated_by) references auth.users (id) on delete set null,
  constraint budgets_name_key unique (organization_id, name),
  constraint budgets_period_known check (period in ('daily', 'weekly', 'monthly')),
  constraint budgets_limit_usd_positive check (limit_usd > 0)
);

comment on table public.budgets is 'How much an organisation means to spend.';
comment on column public.budgets.id is 'Identifies the budget.';
comment on column public.budgets.organization_id is 'Whose budget it is.';
comment on column public.budgets.name is 'As shown to people.';
comment on column public.budgets.period is 'daily, weekly or monthly.';
comment on column public.budgets.limit_usd is 'At most this many US dollars a period.';
comment on column public.budgets.alert_thresholds is 'Percentages of the limit at which the admins are told.';
comment on column public.budgets.created_by is 'Who set it up.';
comment on column public.budgets.updated_by is 'Who changed it last.';
comment on column public.budgets.created_at is 'When it was set up.';
comment on column public.budgets.updated_at is 'When it last changed.';

create table public.llm_queries (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  user_id uuid,
  api_key_id uuid,
  provider text not null,
  model text not null,
  query_text text not null,
  parameters jsonb not null default '{}',
  status text not null default 'sent',
  created_at timestamptz not null default now(),
  constraint llm_queries_organization_id_fkey
    foreign key (organization_id) references public.organizations (id) on delete cascade,
  constraint llm_queries_user_id_fkey foreign key (user_id) references auth.users (id) on delete set null,
  constraint llm_queries_api_key_id_fkey foreign key (api_key_id) references public.api_keys (id) on delete set null,
  constraint llm_queries_status_known check (status in ('sent', 'cancelled'))
);

create index llm_queries_organization_id_created_at_idx on public.llm_queries (organization_id, created_at);

comment on table public.llm_queries is 'Requests to LLM providers.';
comment on column public.llm_queries.id is 'Identifies the query.';
comment on column public.llm_queries.organization_id is 'On whose behalf it was sent.';
comment on column public.llm_queries.user_id is 'Who sent it.';
comment on column public.llm_queries.api_key_id is 'The key it was sent with.';
comment on column public.llm_queries.provider is 'openai, anthropic, google or perplexity.';
comment on column public.llm_queries.model is 'The provider''s name of the model.';
comment on column public.llm_queries.query_text is 'What was asked.';
comment on column public.llm_queries.parameters is 'Sampling parameters, as sent.';
comment on column public.llm_queries.status is 'sent or cancelled; the result is in llm_responses.';
comment on column public.llm_queries.created_at is 'When it was sent.';

create table public.llm_responses (
  id uuid primary key default gen_random_uuid(),
  query_id uuid not null,
  response_text text,
  success boolean not null,
  error_message text,
  prompt_tokens int not null default 0,
  completion_tokens int not null default 0,
  total_cost numeric(14, 8) not null default 0,
  latency_ms int,
  created_at timestamptz not null default now(),
  constraint llm_responses_query_id_fkey foreign key (query_id) references public.llm_queries (id) on delete cascade,
  constraint llm_responses_error_message_iff_failed check (success = (error_message is null))
);

create index llm_responses_query_id_idx on public.llm_responses (query_id);

-- No organisation here: a response belongs to the organisation of its query, as in many applications.
comment on table public.llm_responses is 'What the providers answered.';
comment on column public.llm_responses.id is 'Identifies the response.';
comment on column public.llm_responses.query_id is 'The query it answers, and through it the organisation.';
comment on column public.llm_responses.response_text is 'The answer; null if it failed.';
comment on column public.llm_responses.success is 'Whether there is an answer.';
comment on column public.llm_responses.error_message is 'Why not; null if there is one.';
comment on column public.llm_responses.prompt_tokens is 'Tokens read by the model.';
comment on column public.llm_responses.completion_tokens is 'Tokens written by the model.';
comment on column public.llm_responses.total_cost is 'US dollars.';
comment on column public.llm_responses.latency_ms is 'From request to last token, in milliseconds.';
comment on column public.llm_responses.created_at is 'When it arrived.';

create table public.integrations (
  id uuid primary key default gen_random_uuid(),
  organization_id uuid not null,
  kind text not null,
  name text not null,
  config jsonb not null default '{}',
  secret text,
  enabled boolean not null default true,
  created_by uuid,
  created_at timestamptz not null default now(),
  updated_at timestamptz not null default now(),
  constraint integrations_organization_id_fkey
    foreign key (organization_id) references public.organizations (id) on delete cascade,
  constraint integrations_created_by_fkey foreign key (created_by) references auth.users (id) on delete set null,
  constraint integrations_name_key unique (organization_id, kind, name),
  constraint integrations_kind_known check (kind in ('slack', 'webhook', 'email'))
);

comment on table public.integrations is 'Where an organisation wants to be told things.';
comment on column public.integrations.id is 'Identifies the integration.';
comment on column public.integrations.organization_id is 'Whose integration it is.';
comment on column public.integrations.kind is 'slack, webhook or email.';
comment on column public.integrations.name is 'As shown to people.';
comment on column public.integrations.config is 'Address and options, nothing secret.';
comment on column public.integrations.secret is 'Token or signing secret.';
comment on column public.integrations.enabled is 'Whether it is in use.';
comment on column public.integrations.created_by is 'Who configured it.';
comment on column public.integrations.created_at is 'When it was configured.';
comment on column public.integrations.updated_at is 'When it last changed.';

------------------------------------------------------------------------------------------------------------------------
-- Access

-- Security definer, because a policy on organization_members that reads organization_members would call itself. The
-- policies ask once for a set, not once for every row.
create function public.my_organizations(variadic roles text[])
returns setof uuid
language sql
stable
security definer
set search_path = ''
as $$
  select m.organization_id
  from public.organization_members m
  where m.user_id = auth.uid()
    and m.role = any (my_organizations.roles)
$$;

comment on function public.my_organizations(text[]) is 'The organisations in which the caller has one of these roles.';

revoke all on function public.my_organizations(text[]) from public, anon;
grant execute on function public.my_organizations(text[]) to authenticated, service_role;

alter table public.organizations enable row level security;
alter table public.organization_members enable row level security;
alter table public.api_keys enable row level security;
alter table public.budgets enable row level security;
alter table public.llm_queries enable row level security;
alter table public.llm_responses enable row level security;
alter table public.integrations enable row level security;

-- Projects differ in what new tables grant by default; these grants are the same on all of them.
revoke all on
  public.organizations, public.organization_members, public.api_keys, public.budgets, public.llm_queries,
  public.llm_responses, public.integrations
from public, anon, authenticated, service_role;

grant select, insert, update, delete on
  public.organizations, public.organization_members, public.api_keys, public.budgets, public.llm_queries,
  public.llm_responses, public.integrations
to service_role;

grant select, update on public.organizations to authenticated;
grant select, insert, update, delete on
  public.organization_members, public.api_keys, public.budgets, public.integrations
to authenticated;
grant select, insert on public.llm_queries to authenticated;
grant select on public.llm_responses to authenticated;

create policy organizations_read on public.organizations for select to authenticated
  using (id in (select public.my_organizations('admin', 'member', 'viewer')));
create policy organizations_update on public.organizations for update to authenticated
  using (id in (select public.my_organizations('admin')));

create policy organization_members_read on public.organization_members for select to authenticated
  using (organization_id in (select public.my_organizations('admin', 'member', 'viewer')));
create policy organization_members_insert on public.organization_members for insert to authenticated
  with check (organization_id in (select public.my_organizations('admin')));
create policy organization_members_update on public.organization_members for update to authenticated
  using (organization_id in (select public.my_organizations('admin')));
create policy organization_members_delete on public.organization_members for delete to authenticated
  using (organization_id in (select public.my_organizations('admin')));

create policy api_keys_read on public.api_keys for select to authenticated
  using (organization_id in (select public.my_organizations('admin', 'member', 'viewer')));
create policy api_keys_insert on public.api_keys for insert to authenticated
  with check (organization_id in (select public.my_organizations('admin')));
create policy api_keys_update on public.api_keys for update to authenticated
  using (organization_id in (select public.my_organizations('admin')));
create policy api_keys_delete on public.api_keys for delete to authenticated
  using (organization_id in (select public.my_organizations('admin')));

create policy budgets_read on public.budgets for select to authenticated
  using (organization_id in (select public.my_organizations('admin', 'member', 'viewer')));
create policy budgets_insert on public.budgets for insert to authenticated
  with check (organization_id in (select public.my_organizations('admin')));
create policy budgets_update on public.budgets for update to authenticated
  using (organization_id in (select public.my_organizations('admin')));
create policy budgets_delete on public.budgets for delete to authenticated
  using (organization_id in (select public.my_organizations('admin')));

create policy integrations_read on public.integrations for select to authenticated
  using (organization_id in (select public.my_organizations('admin')));
create policy integrations_insert on public.integrations for insert to authenticated
  with check (organization_id in (select public.my_organizations('admin')));
create policy integrations_update on public.integrations for update to authenticated
  using (organization_id in (select public.my_organizations('admin')));
create policy integrations_delete on public.integrations for delete to authenticated
  using (organization_id in (select public.my_organizations('admin')));

create policy llm_queries_read on public.llm_queries for select to authenticated
  using (organization_id in (select public.my_organizations('admin', 'member', 'viewer')));
create policy llm_queries_insert on public.llm_queries for insert to authenticated
  with check (
    user_id = (select auth.uid())
    and organization_id in (select public.my_organizations('admin', 'member'))
  );

-- Responses are written by the application's service, which bypasses row level security.
create policy llm_responses_read on public.llm_responses for select to authenticated
  using (query_id in (select q.id from public.llm_queries q));

------------------------------------------------------------------------------------------------------------------------
-- Demonstration: three organisations, thirteen people in them, and an auditor from outside.
-- Everyone's password is demo-password. Auth reads the empty tokens as text and stumbles over null.

insert into auth.users (
  id, instance_id, aud, role, email, encrypted_password, email_confirmed_at, raw_app_meta_data, raw_user_meta_data,
  confirmation_token, recovery_token, email_change_token_new, email_change, created_at, updated_at
)
select
  u.id::uuid, '00000000-0000-0000-0000-000000000000', 'authenticated', 'authenticated', u.email,
  extensions.crypt('demo-password', extensions.gen_salt('bf')), now(),
  '{"provider": "email", "providers": ["email"]}', jsonb_build_object('full_name', u.full_name),
  '', '', '', '', now(), now()
from (
  values
    ('10000000-0000-4000-8000-000000000001', 'katharina.weiss@nordlicht.example', 'Katharina Weiß'),
    ('10000000-0000-4000-8000-000000000002', 'mehmet.yildiz@nordlicht.example', 'Mehmet Yıldız'),
    ('10000000-0000-4000-8000-000000000003', 'zoe.lindqvist@nordlicht.example', 'Zoë Lindqvist'),
    ('10000000-0000-4000-8000-000000000004', 'jurgen.okonkwo@nordlicht.example', 'Jürgen Okonkwo'),
    ('10000000-0000-4000-8000-000000000005', 'anna.krueger@nordlicht.example', 'Anna Krüger'),
    ('20000000-0000-4000-8000-000000000001', 'misaki.sato@sakura-robotics.example', '佐藤 美咲'),
    ('20000000-0000-4000-8000-000000000002', 'ken.takahashi@sakura-robotics.example', '高橋 健'),
    ('20000000-0000-4000-8000-000000000003', 'priya.natarajan@sakura-robotics.example', 'பிரியா நடராஜன்'),
    ('20000000-0000-4000-8000-000000000004', 'linh.nguyen@sakura-robotics.example', 'Nguyễn Thùy Linh'),
    ('30000000-0000-4000-8000-000000000001', 'grace.obrien@harbor-pine.example', 'Grace O''Brien'),
    ('30000000-0000-4000-8000-000000000002', 'tomas.herrera@harbor-pine.example', 'Tomás Herrera'),
    ('30000000-0000-4000-8000-000000000003', 'chloe.dubois@harbor-pine.example', 'Chloé Dubois'),
    ('30000000-0000-4000-8000-000000000004', 'samuel.adeyemi@harbor-pine.example', 'Samuel Adéyẹmí'),
    ('90000000-0000-4000-8000-000000000001', 'ingrid.sorensen@sorensen-audit.example', 'Ingrid Sørensen')
) as u (id, email, full_name);

insert into public.organizations (id, name, slug, time_zone)
values
  ('a0000000-0000-4000-8000-000000000001', 'Nordlicht Analytics GmbH', 'nordlicht', 'Europe/Berlin'),
  ('a0000000-0000-4000-8000-000000000002', 'Sakura Robotics 株式会社', 'sakura-robotics', 'Asia/Tokyo'),
  ('a0000000-0000-4000-8000-000000000003', 'Harbor & Pine Legal', 'harbor-pine', 'America/New_York');

insert into public.organization_members (organization_id, user_id, role, invited_by)
select
  ('a0000000-0000-4000-8000-00000000000' || m.organization)::uuid,
  (m.organization || '0000000-0000-4000-8000-00000000000' || m.person)::uuid,
  m.role,
  -- Person 1 founded the organisation and invited the others.
  case when m.person > 1 then (m.organization || '0000000-0000-4000-8000-000000000001')::uuid end
from (
  values
    (1, 1, 'admin'), (1, 2, 'member'), (1, 3, 'member'), (1, 4, 'member'), (1, 5, 'viewer'),
    (2, 1, 'admin'), (2, 2, 'member'), (2, 3, 'member'), (2, 4, 'viewer'),
    (3, 1, 'admin'), (3, 2, 'member'), (3, 3, 'member'), (3, 4, 'viewer')
) as m (organization, person, role);

-- One key of each provider for each organisation, added by its founder. They are made up and open nothing.
insert into public.api_keys (organization_id, provider, name, key_prefix, key_hash, encrypted_key, created_by)
select
  m.organization_id,
  p.provider,
  'Production',
  p.prefix || left(k.rest, 4),
  encode(sha256((p.prefix || k.rest)::bytea), 'hex'),
  'v1:' || encode(extensions.gen_random_bytes(48), 'hex'),
  m.user_id
from public.organization_members m
cross join (values ('openai', 'sk-'), ('anthropic', 'sk-ant-'), ('google', 'AIza'), ('perplexity', 'pplx-'))
  as p (provider, prefix)
cross join lateral (select encode(sha256((m.organization_id || p.provider)::bytea), 'hex')) as k (rest)
where m.role = 'admin';

insert into public.budgets (organization_id, name, period, limit_usd, created_by, updated_by)
select m.organization_id, b.name, b.period, b.limit_usd, m.user_id, m.user_id
from public.organization_members m
cross join (values ('All providers', 'monthly', 500), ('Experiments', 'weekly', 40)) as b (name, period, limit_usd)
where m.role = 'admin';

insert into public.integrations (organization_id, kind, name, config, secret, created_by)
select
  m.organization_id,
  'slack',
  'Spending alerts',
  jsonb_build_object('channel', '#llm-costs'),
  encode(extensions.gen_random_bytes(24), 'hex'),
  m.user_id
from public.organization_members m
where m.role = 'admin';
