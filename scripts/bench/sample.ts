// What is written, and in whose name: one table of an LLM application, and the claims and headers that PostgREST would
// set for a signed-in user. The same in every variant.
import pg from "pg";

const USER = "6f1c9d0e-2b7a-4c55-9f57-0d3a8c1e7b42";

export const SAMPLE_TABLE = `
  create table public.llm_queries (
    id uuid primary key default gen_random_uuid(),
    organization_id uuid not null,
    user_id uuid,
    provider text,
    model text,
    query_text text,
    parameters jsonb,
    status text,
    created_at timestamptz default now()
  );
  create index on public.llm_queries (organization_id, created_at);
`;

const COLUMNS = "organization_id, user_id, provider, model, query_text, parameters, status";

/** The row's values; organisations are numbered, and `organization` is an SQL expression for the number. */
function values(organization: string): string {
  return `md5((${organization})::text)::uuid, '${USER}', 'openai', 'gpt-4o-mini', ` +
    `'Compare the revenue of the last four quarters by region and name the three largest changes.', ` +
    `'{"temperature": 0.2, "top_p": 1, "max_tokens": 1024}', 'completed'`;
}

export function insertOne(organization: string): string {
  return `insert into public.llm_queries (${COLUMNS}) values (${values(organization)})`;
}

export function insertMany(rows: number, organization: string): string {
  return `insert into public.llm_queries (${COLUMNS}) select ${values(organization)} from generate_series(1, ${rows})`;
}

const CLAIMS = {
  iss: "https://abcdefghijklmnopqrst.supabase.co/auth/v1",
  sub: USER,
  aud: "authenticated",
  exp: 1893459600,
  iat: 1893456000,
  email: "maria.fernandez@example.com",
  phone: "",
  app_metadata: { provider: "email", providers: ["email", "google"] },
  user_metadata: {
    avatar_url: "https://lh3.googleusercontent.com/a/ACg8ocJ0Tq3kP1mZx7vYb2nW5sR8uE4hD6fG9jK=s96-c",
    email: "maria.fernandez@example.com",
    email_verified: true,
    full_name: "Maria Fernandez",
    iss: "https://accounts.google.com",
    phone_verified: false,
    provider_id: "108234567890123456789",
    sub: USER,
  },
  role: "authenticated",
  aal: "aal1",
  amr: [{ method: "password", timestamp: 1893456000 }],
  session_id: "0f8fad5b-d9cb-469f-a165-70867728950e",
  is_anonymous: false,
};

const HEADERS = {
  accept: "application/json",
  "accept-encoding": "gzip, br",
  "accept-language": "en-GB,en;q=0.9,es;q=0.8",
  "accept-profile": "public",
  apikey: "sb_publishable_ACJWlzQHlZjBrEguHvfOxg_3BJgxAaH",
  "cdn-loop": "cloudflare; loops=1; subreqs=1",
  "cf-connecting-ip": "203.0.113.77",
  "cf-ew-via": "15",
  "cf-ipcountry": "ES",
  "cf-ray": "8f2b6a1d4c3e9a7b-MAD",
  "cf-visitor": '{"scheme":"https"}',
  "cf-worker": "supabase.co",
  "content-length": "312",
  "content-profile": "public",
  "content-type": "application/json",
  host: "abcdefghijklmnopqrst.supabase.co",
  origin: "https://app.example.com",
  prefer: "return=minimal",
  referer: "https://app.example.com/",
  "user-agent": "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) " +
    "Chrome/131.0.0.0 Safari/537.36",
  "x-client-info": "supabase-js-web/2.47.10",
  "x-forwarded-for": "203.0.113.77, 203.0.113.77, 10.0.12.5",
  "x-forwarded-host": "abcdefghijklmnopqrst.supabase.co",
  "x-forwarded-path": "/rest/v1/llm_queries",
  "x-forwarded-port": "443",
  "x-forwarded-proto": "https",
  "x-request-id": "7d9f3c1a-5e2b-4f68-8a90-c4b1d7e6f352",
};

/** Run by a superuser: from then on every session of role postgres starts with these claims and headers. */
export function sessionSettings(database?: string): string {
  const role = database === undefined ? "postgres" : `postgres in database ${database}`;
  return `
    alter role ${role} set "request.jwt.claims" = ${pg.escapeLiteral(JSON.stringify(CLAIMS))};
    alter role ${role} set "request.headers" = ${pg.escapeLiteral(JSON.stringify(HEADERS))};
  `;
}
