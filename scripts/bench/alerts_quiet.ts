// What the default rules raise where nothing is wrong: a month of offices that go about their work, after a month from
// which the rules learned what is usual; and the trace of the demo, at the pace at which it was recorded.
import type pg from "pg";
import { cost, MODELS } from "../demo/prices.ts";
import { findTrace, readTrace } from "../demo/trace.ts";
import { makeWorkload, uuid } from "../demo/workload.ts";
import { loadBase } from "../stack/base.ts";
import { databaseUrl } from "../stack/postgres.ts";
import { withCluster } from "./cluster.ts";
import { type EntryAt, identity, writeAt } from "./entries_at.ts";
import { seededRandom } from "./random.ts";
import { loadProduct, withClient } from "./variants.ts";

export type QuietReport = {
  entries: number;
  organizationDays: number;
  /** In the month that is judged. */
  alerts: number;
  rules: { title: string; alerts: number }[];
  trace: { requests: number; hours: number; organizations: number; rules: { title: string; alerts: number }[] };
};

type Office = { id: string; zone: string; people: { id: string; identity: Uint8Array }[]; budget: string };

const OFFICES = 20;
const DAYS = 60;
const JUDGED = 30;
const ZONES = ["Europe/Berlin", "America/New_York", "Asia/Kathmandu", "Asia/Tokyo", "UTC"];
const PROVIDERS = ["openai", "anthropic", "google"];

export function benchQuiet(
  { dir, onProgress }: { dir?: string; onProgress(line: string): void },
): Promise<QuietReport> {
  return withCluster("disk", dir, async (cluster) => {
    await withClient(cluster.adminUrl(), (client) => client.query("create database quiet"));
    const adminUrl = cluster.adminUrl("quiet");
    await loadBase(adminUrl);
    await withClient(adminUrl, (client) => client.query("alter database quiet owner to postgres"));
    await withClient(databaseUrl(cluster.port, "postgres", undefined, "quiet"), loadProduct);
    return withClient(adminUrl, async (admin) => {
      const report = await measureMonths(admin, onProgress);
      return { ...report, trace: await measureTrace(admin) };
    });
  });
}

async function measureMonths(admin: pg.Client, onProgress: (line: string) => void) {
  const random = seededRandom(5);
  const offices: Office[] = [];
  for (let number = 0; number < OFFICES; number++) {
    const id = uuid(`office ${number}`);
    const zone = ZONES[number % ZONES.length]!;
    await admin.query("select audit.configure('time_zone', $1, $2)", [JSON.stringify(zone), id]);
    const people = [];
    for (let person = 0; person < 4 + Math.floor(random() * 17); person++) {
      const user = uuid(`person ${number}/${person}`);
      const email = `p${person}@office${number}.example`;
      people.push({ id: user, identity: await identity(admin, id, { user, email, ip: `198.51.100.${number}` }) });
    }
    offices.push({ id, zone, people, budget: uuid(`budget ${number}`) });
  }
  let entries = 0;
  const start = Date.UTC(new Date().getUTCFullYear(), new Date().getUTCMonth(), new Date().getUTCDate() - DAYS - 1);
  for (let day = 0; day < DAYS; day++) {
    const date = new Date(start + day * 86_400_000);
    for (const office of offices) {
      const drafts = officeDay(office, date, day, random);
      entries += drafts.length;
      await writeAt(admin, drafts);
    }
    await evaluate(admin);
    if (day % 10 === 9) onProgress(`  ${day + 1} of ${DAYS} days of ${OFFICES} offices: ${entries} entries`);
  }
  const rules = await raised(admin, new Date(start + (DAYS - JUDGED) * 86_400_000));
  const alerts = rules.reduce((sum, { alerts }) => sum + alerts, 0);
  return { entries, organizationDays: OFFICES * JUDGED, alerts, rules };
}

/** What the people of an office do on a day, in the order of time. */
function officeDay({ id, zone, people, budget }: Office, date: Date, day: number, random: () => number): EntryAt[] {
  const drafts: (EntryAt & { minute: number })[] = [];
  const add = (minute: number, person: Office["people"][number], entry: Partial<EntryAt> & { action: string }) => {
    const seconds = Math.floor(minute * 60);
    const clock = [seconds / 3600, seconds / 60 % 60, seconds % 60].map((n) => String(Math.floor(n)).padStart(2, "0"));
    const at = `${date.toISOString().slice(0, 10)} ${clock.join(":")} ${zone}`;
    drafts.push({ organization: id, chain: 1, at, minute, actor: person.id, identity: person.identity, ...entry });
  };
  const normal = () => Math.sqrt(-2 * Math.log(1 - random())) * Math.cos(2 * Math.PI * random());
  const admin = people[0]!;
  // Within one of some limits; the first day makes it.
  const share = 0.3 + 0.6 * Number.parseInt(budget.slice(0, 4), 16) / 65_536;
  if (day === 0) {
    const limit = Math.ceil(people.length * 22 * 0.85 * 14 * 0.02 / share * 100) / 100;
    add(480, admin, {
      action: "budget.created",
      resource: `budget/${budget}`,
      details: { new: { limit_usd: limit, period: "monthly" } },
    });
  }
  const works = date.getUTCDay() % 6 !== 0;
  for (const person of people) {
    if (random() >= (works ? 0.85 : 0.02)) continue;
    const begin = Math.max(360, 540 + 45 * normal());
    const end = Math.min(1_320, Math.max(begin + 120, 1_050 + 50 * normal()));
    // A typing error now and then, seldom two.
    const slips = random();
    for (let slip = 0; slip < (slips < 0.002 ? 2 : slips < 0.02 ? 1 : 0); slip++) {
      add(begin - 1 + slip / 4, person, {
        action: "user.login_failed",
        outcome: "failure",
        resource: `user/${person.id}`,
      });
    }
    add(begin, person, { action: "user.login", resource: `user/${person.id}` });
    if (random() < 0.5) add(begin + 2, person, { action: "settings.viewed", resource: "settings/profile" });
    const sessions = 1 + Math.floor(random() * 4);
    // One evening in 25 goes on.
    const evening = works && random() < 0.04;
    for (let session = 0; session < sessions + (evening ? 1 : 0); session++) {
      let minute = session === sessions ? 1_200 + 90 * random() : begin + 5 + (end - begin - 30) * random();
      for (let query = 0; query < 2 + 6 * random(); query++) {
        const model = MODELS[Math.floor(random() ** 2 * MODELS.length)]!;
        const provider = PROVIDERS.includes(model.provider) ? model.provider : "openai";
        const resource = `query/${uuid(`${person.id} ${day} ${session} ${query}`)}`;
        add(minute, person, { action: "query.executed", provider, resource, details: { new: { model: model.name } } });
        const price = Number(cost(model, 2_000 + Math.floor(4_000 * random()), 200 + Math.floor(1_500 * random())));
        add(minute + 0.1, person, { action: "query.completed", provider, resource, cost: price * 2 });
        minute += 0.3 + 2 * random();
      }
    }
    if (random() < 0.03) add(begin + 60, person, { action: "data.exported", resource: "report/month" });
  }
  // What an admin does once in months.
  if (works && random() < 1 / 60) {
    add(600, admin, { action: "api_key.updated", resource: "api_key/1", details: { changes: {} } });
  }
  if (works && random() < 1 / 30) {
    add(610, admin, { action: "member.added", resource: `member/${day}`, details: { new: { role: "member" } } });
  }
  if (works && random() < 1 / 60) {
    add(620, admin, { action: "budget.changed", resource: `budget/${budget}`, details: { changes: {} } });
  }
  return drafts.sort((one, other) => one.minute - other.minute).map(({ minute: _, ...entry }) => entry);
}

/** The trace is one service's hour; here a dozen people share it. */
async function measureTrace(admin: pg.Client): Promise<QuietReport["trace"]> {
  const users = Array.from({ length: 12 }, (_, number) => ({
    id: uuid(`sender ${number}`),
    email: "",
    password: "",
    role: "member",
    organization_id: uuid(`traced ${number % 3}`),
  }));
  const rows = readTrace(findTrace());
  const begin = new Date(Date.now() - 3 * 3_600_000);
  await admin.query("select audit.evaluate_rules()");
  const drafts = makeWorkload(rows, users).flatMap(({ user, requests }) =>
    requests.flatMap(({ row, queryId, model, cost, error, latencyMs }) => {
      const at = begin.getTime() + (row.time - rows[0]!.time) / 1000;
      const common = {
        organization: user.organization_id!,
        chain: 1,
        actor: user.id,
        provider: model.provider,
        resource: `query/${queryId}`,
      };
      return [
        { ...common, at: new Date(at), action: "query.executed" },
        {
          ...common,
          at: new Date(at + latencyMs),
          action: error === null ? "query.completed" : "query.failed",
          cost: Number(cost),
        },
      ];
    })
  ).sort((one, other) => one.at.getTime() - other.at.getTime());
  await writeAt(admin, drafts);
  await evaluate(admin);
  return {
    requests: rows.length,
    hours: (rows.at(-1)!.time - rows[0]!.time) / 3.6e9,
    organizations: 3,
    rules: await raised(admin, begin, [...new Set(users.map(({ organization_id }) => organization_id!))]),
  };
}

async function evaluate(admin: pg.Client): Promise<void> {
  for (let taken = 1; taken > 0;) {
    const { rows: [row] } = await admin.query<{ taken: number }>("select audit.evaluate_rules() as taken");
    taken = row!.taken;
  }
}

/** Alerts since then, but for the digests, by rule. */
async function raised(admin: pg.Client, since: Date, organizations: string[] = []) {
  const { rows } = await admin.query<{ title: string; alerts: number }>(
    `select a.title, count(*)::int as alerts
     from audit.alerts a
     join audit.rules r on r.id = a.rule_id and not r.settings ? 'digest'
     where a.first_seen_at >= $1 and (a.organization_id = any ($2) or cardinality($2) = 0)
     group by a.title order by 2 desc, 1`,
    [since, organizations],
  );
  return rows;
}
