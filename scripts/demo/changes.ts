import { createHash } from "node:crypto";
import type { Client } from "pg";
import type { StackInfo, StackOrganization, StackUser } from "../stack/info.ts";
import { acting } from "./acting.ts";
import { uuid } from "./workload.ts";

interface Cast {
  organization: StackOrganization;
  admin: StackUser;
  member: StackUser;
  viewer: StackUser;
  /** Someone from another organisation who helps out for a while. */
  guest: StackUser;
}

interface Change {
  title: string;
  sql: string;
  values: (cast: Cast) => unknown[];
}

const NEW_KEY = (cast: Cast) => uuid(`key of ${cast.organization.id}`);

/** What admins do, in this order, each in a transaction of its own. */
const CHANGES: Change[] = [
  {
    title: "add an API key",
    sql: `
      insert into public.api_keys (
        id, organization_id, provider, name, key_prefix, key_hash, encrypted_key, created_by
      )
      values ($1, $2, 'anthropic', 'Evaluation', 'sk-ant-eval', $3, $4, $5)
    `,
    values: (cast) => [NEW_KEY(cast), cast.organization.id, hash("first"), `v1:${hash("sealed")}`, cast.admin.id],
  },
  {
    title: "rename it",
    sql: "update public.api_keys set name = 'Evaluation 2026', updated_at = now() where id = $1",
    values: (cast) => [NEW_KEY(cast)],
  },
  {
    title: "rotate it",
    sql: `
      update public.api_keys
      set key_prefix = 'sk-ant-next', key_hash = $2, encrypted_key = $3, updated_at = now()
      where id = $1
    `,
    values: (cast) => [NEW_KEY(cast), hash("second"), `v1:${hash("sealed again")}`],
  },
  {
    title: "delete it",
    sql: "delete from public.api_keys where id = $1",
    values: (cast) => [NEW_KEY(cast)],
  },
  {
    title: "raise a budget",
    sql: `
      update public.budgets
      set limit_usd = limit_usd * 1.5, alert_thresholds = '{50,75,90,100}', updated_by = $2, updated_at = now()
      where organization_id = $1 and name = 'All providers'
    `,
    values: (cast) => [cast.organization.id, cast.admin.id],
  },
  {
    title: "add a member",
    sql: `
      insert into public.organization_members (organization_id, user_id, role, invited_by)
      values ($1, $2, 'viewer', $3)
    `,
    values: (cast) => [cast.organization.id, cast.guest.id, cast.admin.id],
  },
  {
    title: "change the member's role",
    sql: "update public.organization_members set role = 'member' where organization_id = $1 and user_id = $2",
    values: (cast) => [cast.organization.id, cast.guest.id],
  },
  {
    title: "remove the member",
    sql: "delete from public.organization_members where organization_id = $1 and user_id = $2",
    values: (cast) => [cast.organization.id, cast.guest.id],
  },
  {
    title: "configure an integration",
    sql: `
      insert into public.integrations (organization_id, kind, name, config, secret, created_by)
      values ($1, 'webhook', 'Incidents', '{"url": "https://hooks.example/incidents"}', $2, $3)
    `,
    values: (cast) => [cast.organization.id, hash("webhook"), cast.admin.id],
  },
  {
    title: "change the organisation's profile",
    sql: "update public.organizations set slug = slug || '-hq', updated_at = now() where id = $1",
    values: (cast) => [cast.organization.id],
  },
];

/** Makes the changes that the log does not hold yet; answers one line of text for each kind. */
export async function makeChanges(client: Client, stack: StackInfo): Promise<string[]> {
  const casts = stack.organizations.map((organization) => findCast(stack, organization));
  const lines: string[] = [];
  for (const change of CHANGES) {
    let made = 0;
    for (const cast of casts) {
      // The log itself knows what was done: every change has a request id of its own.
      const requestId = uuid(`${change.title} in ${cast.organization.id}`);
      if (await isLogged(client, requestId)) continue;
      const result = await acting(client, { role: "authenticated", user: cast.admin }, requestId, () => {
        return client.query(change.sql, change.values(cast));
      });
      if (result.rowCount !== 1) throw new Error(`${cast.admin.email} could not ${change.title}`);
      made += 1;
    }
    if (made > 0) lines.push(`admins ${change.title}: ${made} organisations`);
  }
  return lines.length > 0 ? lines : ["made before"];
}

/** What people may not do: tried as each of them, and nothing but a refusal counts. */
export async function tryForbidden(client: Client, stack: StackInfo): Promise<string[]> {
  const casts = stack.organizations.map((organization) => findCast(stack, organization));
  for (const cast of casts) {
    await expectRefusal(client, cast.member, CHANGES[0]!.sql, CHANGES[0]!.values(cast));
    await expectRefusal(client, cast.admin, "delete from public.audit_logs", []);
    expect((await readLog(client, cast.viewer)).entries === 0, `${cast.viewer.email}, a viewer, reads the log`);
  }
  const [cast] = casts;
  if (cast === undefined) return [];
  const member = await readLog(client, cast.member);
  const admin = await readLog(client, cast.admin);
  expect(member.entries === member.own, `${cast.member.email}, a member, reads entries of others`);
  expect(admin.organizations === 1, `${cast.admin.email} reads ${admin.organizations} organisations' logs`);
  return [
    "members add an API key: refused by row level security",
    "admins delete from the log: refused",
    "viewers read the log: 0 entries",
    `${cast.member.email}, member, reads the log: ${member.entries} entries, all of them their own`,
    `${cast.admin.email}, admin, reads the log: ${admin.entries} entries, all of ${cast.organization.name}`,
  ];
}

/** Lets the outside auditor read one organisation's log for 90 days. */
export async function admitAuditor(client: Client, stack: StackInfo): Promise<string> {
  const auditor = stack.users.find((user) => user.organization_id === null);
  const [organization] = stack.organizations;
  if (auditor === undefined || organization === undefined) throw new Error("the sample application has no auditor");
  const { admin } = findCast(stack, organization);
  const requestId = uuid(`admit ${auditor.id} to ${organization.id}`);
  if (!await isLogged(client, requestId)) {
    await acting(client, { role: "authenticated", user: admin }, requestId, () => {
      return client.query("select audit.grant_auditor($1, $2, now() + interval '90 days')", [
        organization.id,
        auditor.id,
      ]);
    });
  }
  const { entries, organizations } = await readLog(client, auditor);
  expect(entries > 0 && organizations === 1, `${auditor.email}, auditor, reads ${organizations} organisations' logs`);
  return `${auditor.email}, auditor for 90 days, reads the log: ${entries} entries, all of ${organization.name}`;
}

async function isLogged(client: Client, requestId: string): Promise<boolean> {
  const { rowCount } = await client.query("select from public.audit_logs where request_id = $1 limit 1", [requestId]);
  return rowCount !== 0;
}

interface Readable {
  entries: number;
  own: number;
  organizations: number;
}

/** What row level security lets this person read. */
async function readLog(client: Client, user: StackUser): Promise<Readable> {
  return await acting(client, { role: "authenticated", user }, uuid(`read as ${user.id}`), async () => {
    const { rows } = await client.query<Readable>(`
      select
        count(*)::int as entries,
        count(*) filter (where created_by = auth.uid())::int as own,
        count(distinct organization_id)::int as organizations
      from public.audit_logs
    `);
    return rows[0]!;
  });
}

function expect(condition: boolean, otherwise: string): void {
  if (!condition) throw new Error(`the demo found a fault: ${otherwise}`);
}

async function expectRefusal(client: Client, user: StackUser, sql: string, values: unknown[]): Promise<void> {
  const refused = new Set(["42501", "AUIMM", "AUDEN"]); // insufficient privilege, log immutable, access denied
  try {
    await acting(client, { role: "authenticated", user }, uuid(`refusal of ${user.id}`), () => {
      return client.query(sql, values);
    });
  } catch (error) {
    if (refused.has((error as { code?: string }).code ?? "")) return;
    throw error;
  }
  expect(false, `${user.email} was not refused: ${sql}`);
}

function findCast(stack: StackInfo, organization: StackOrganization): Cast {
  const find = (role: string) => {
    const user = stack.users.find((one) => one.organization_id === organization.id && one.role === role);
    if (user === undefined) throw new Error(`${organization.name} has no ${role}`);
    return user;
  };
  const guest = stack.users.find((one) => one.role === "member" && one.organization_id !== organization.id);
  if (guest === undefined) throw new Error("the sample application has a single organisation");
  return { organization, admin: find("admin"), member: find("member"), viewer: find("viewer"), guest };
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}
