// Two organisations for attacks: Acme, whose people attack, and Globex, which has something of everything. What only
// Globex may know has the canary in it; what an attacker could have learnt elsewhere, as an id in a link, has not.
import { randomBytes } from "node:crypto";
import type pg from "pg";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { asUser, type Caller } from "./acting.ts";
import { ACME, GLOBEX, type SealedProject, sealedProject } from "./sealed_project.ts";

export { ACME, GLOBEX };

/** The actors of the tables of privileges, in their order. */
export const ACTORS = [
  "anon",
  "outsider",
  "admin",
  "member",
  "viewer",
  "auditor",
  "expired_auditor",
  "service_role",
  "login",
] as const;
export type Actor = typeof ACTORS[number];

/** A login role for function `audit`, as README proposes it: all it may do is to become `authenticated`. */
export const LOGIN_ROLE = "functions_login";

const PEOPLE: Partial<Record<Actor | "globex_admin" | "globex_member", string>> = {
  outsider: "a0000000-0000-4000-8000-00000000000a",
  admin: "a0000000-0000-4000-8000-00000000000b",
  member: "a0000000-0000-4000-8000-00000000000c",
  viewer: "a0000000-0000-4000-8000-00000000000d",
  auditor: "a0000000-0000-4000-8000-00000000000e",
  expired_auditor: "a0000000-0000-4000-8000-00000000000f",
  globex_admin: "b0000000-0000-4000-8000-00000000000a",
  globex_member: "b0000000-0000-4000-8000-00000000000b",
};

export type TwoTenants = {
  project: SealedProject;
  admin: pg.Client;
  canary: string;
  /** Every id of something of Globex's. */
  ids: string[];
  /** The numbers of the chains that Globex has. */
  chains: string[];
  /** The role and the claims of an actor, as settings of a transaction. */
  become(client: pg.Client, actor: Actor): Promise<unknown>;
  end(): Promise<void>;
};

export async function twoTenants(): Promise<TwoTenants> {
  const project = await sealedProject();
  const { client, db } = project;
  const admin = await db.connect(ADMIN);
  const canary = `kanari${randomBytes(6).toString("hex")}`;
  await client.query("select audit.use_membership('public.organization_members')");
  await client.query(
    `select audit.track('public.organization_members', '{"personal": ["role"]}'), audit.configure('query_text', 'true')`,
  );
  await admin.query(`
    do $$ begin
      if not exists (select from pg_roles where rolname = '${LOGIN_ROLE}') then
        create role ${LOGIN_ROLE} login noinherit;
        grant authenticated to ${LOGIN_ROLE};
      end if;
    exception when duplicate_object or unique_violation then null;
    end $$`);
  for (
    const [organization, user, role] of [
      [ACME, PEOPLE.admin, "admin"],
      [ACME, PEOPLE.member, "member"],
      [ACME, PEOPLE.viewer, "viewer"],
      [GLOBEX, PEOPLE.globex_admin, "admin"],
      [GLOBEX, PEOPLE.globex_member, "member"],
    ]
  ) {
    await client.query("insert into public.organization_members values ($1, $2, $3)", [organization, user, role]);
  }
  await client.query("select audit.grant_auditor($1, $2, now() + interval '1 day', true)", [ACME, PEOPLE.auditor]);
  await client.query(
    `insert into audit.auditors (organization_id, user_id, expires_at, sees_identities)
     values ($1, $2, now() - interval '1 second', true)`,
    [GLOBEX, PEOPLE.expired_auditor],
  );
  await fill(project, ACME, PEOPLE.admin!, "acme");
  await fill(project, GLOBEX, PEOPLE.globex_admin!, canary);

  return {
    project,
    admin,
    canary,
    ids: await idsOf(client, GLOBEX),
    chains: (await client.query<{ chain: string }>("select chain::text from audit.heads where organization_id = $1", [
      GLOBEX,
    ])).rows.map(({ chain }) => chain),
    become: (of, actor) =>
      of.query(
        `select set_config('request.jwt.claims', $1, true), set_config('request.headers', '{}', true),
           set_config('role', $2, true)`,
        [JSON.stringify(claimsOf(actor)), roleOf(actor)],
      ),
    end: () => project.end(),
  };
}

function roleOf(actor: Actor): string {
  if (actor === "anon" || actor === "service_role") return actor;
  return actor === "login" ? LOGIN_ROLE : "authenticated";
}

function claimsOf(actor: Actor): object {
  const sub = PEOPLE[actor];
  return { role: roleOf(actor), ...(sub === undefined ? {} : { sub, email: `${actor}@acme.example` }) };
}

/** Something in every table that has an organisation, made the way it comes there. */
async function fill(project: SealedProject, organization: string, admin: string, secret: string): Promise<void> {
  const { client, grow } = project;
  const caller: Caller = {
    sub: admin,
    email: `${secret}@mail.example`,
    headers: { "x-forwarded-for": "203.0.113.9", "user-agent": secret, "x-request-id": secret },
  };
  const ask = async (name: string, request: object) => {
    const { rows: [{ answer }] } = await client.query(`select audit.${name}($1) as answer`, [
      JSON.stringify({ organization_id: organization, ...request }),
    ]);
    return answer;
  };
  // Who is forgotten later, so that there is an erasure.
  const gone = crypto.randomUUID();
  await asUser(
    client,
    { sub: gone, email: `${secret}-gone@mail.example` },
    () => client.query("insert into public.budgets (organization_id) values ($1)", [organization]),
  );
  await asUser(client, caller, async () => {
    await client.query("insert into public.budgets (organization_id, name) values ($1, $2)", [organization, secret]);
    await client.query("insert into public.api_keys (organization_id, name, provider) values ($1, $2, 'openai')", [
      organization,
      secret,
    ]);
    await ask("create_channel", {
      kind: "webhook",
      name: secret,
      url: `https://${secret}.example.com/`,
      default: true,
    });
    await ask("create_rule", { name: secret, kind: "event", match: `action:budget.* ${secret}` });
    await ask("request_export", { format: "csv", query: secret });
    await ask("save_search", { name: secret, query: secret, shared: true });
    await ask("request_report", { template: "costs" });
    await ask("schedule_report", { template: "costs", cron: "0 6 1 * *" });
    await client.query("select audit.place_hold($1, 'Case 1', $2)", [organization, secret]);
    await client.query("select audit.search($1, $2)", [secret, organization]);
    await client.query("select audit.erase_subject($1, $2, '17(1)(b)', $3)", [
      organization,
      gone,
      secret,
    ]);
  });
  await client.query("select audit.set_retention($1, 100, 400)", [organization]);
  await client.query(
    `insert into audit.export_parts (export, part, entries, first, last, next, complete)
     select x.id, 1, 3, '1-1', '1-3', $2, true from audit.exports x where x.organization_id = $1`,
    [organization, secret],
  );
  await client.query("select audit.note_finding($1, 'entry_altered', $2, '{}')", [organization, secret]);
  await client.query(
    `select audit.raise_alert((select id from audit.rules where organization_id = $1), $1, $2, now(), $2, '{"seen": 1}', array['1-1'])`,
    [organization, secret],
  );
  await grow(3, organization);
  await client.query("select audit.index_entries(), audit.evaluate_rules()");
}

/** Of every table with an organisation and an id. */
async function idsOf(client: pg.Client, organization: string): Promise<string[]> {
  const { rows: tables } = await client.query<{ name: string }>(
    `select c.oid::regclass::text as name
     from pg_class c
     join pg_attribute o on o.attrelid = c.oid and o.attname = 'organization_id'
     join pg_attribute i on i.attrelid = c.oid and i.attname = 'id' and i.atttypid = 'uuid'::regtype
     where c.relnamespace = 'audit'::regnamespace and c.relkind = 'r'`,
  );
  const ids: string[] = [];
  for (const { name } of tables) {
    const { rows } = await client.query<{ id: string }>(`select id from ${name} where organization_id = $1`, [
      organization,
    ]);
    ids.push(...rows.map(({ id }) => id));
  }
  return ids;
}
