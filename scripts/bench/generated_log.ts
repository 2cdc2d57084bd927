// A log that is as large and as uneven as a real one, made in minutes: valid entries with identities and chains that
// verify, inserted in the order of time as the writer would. The work is done in steps that can be interrupted and
// taken up again; what is done is remembered in schema `bench` of the same database.
import type pg from "pg";
import { appendStatement } from "./generated_log_entries.ts";
import {
  actorId,
  ENTRIES_PER_UNIT,
  type LogPlan,
  type LogSize,
  planLog,
  UNITS_PER_BLOCK,
} from "./generated_log_plan.ts";
import { withClient } from "./variants.ts";

export type GenerateOptions = LogSize & {
  /** Connections that work side by side. */
  workers?: number;
  onProgress(line: string): void;
};

/** Small, so that what the workers write lies side by side as it would where many connections write. */
const SLICE = 200 * UNITS_PER_BLOCK;

/**
 * Fills the log of a database that has the product (`url`: as superuser), or goes on with it. Afterwards it holds the
 * entries, `public.organization_members` their people, and the log is vacuumed and analysed.
 */
export async function generateLog(
  url: string,
  { workers = 2, onProgress, ...size }: GenerateOptions,
): Promise<LogPlan> {
  const plan = await withSession(url, (client) => begin(client, size, workers));
  await writeUnits(url, plan, workers, onProgress);
  await withSession(url, (client) => publish(client, onProgress));
  return plan;
}

/** A connection for bulk work. Nothing here is the application's own change, so capture does not follow. */
function withSession<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  return withClient(url, async (client) => {
    await client.query(
      "set event_triggers = off; set work_mem = '256MB'; set maintenance_work_mem = '512MB'; set synchronous_commit = off; " +
        "set max_parallel_maintenance_workers = 2; set enable_nestloop = off; set timezone = 'UTC'; set jit = off",
    );
    return work(client);
  });
}

function withSessions<T>(url: string, count: number, work: (clients: pg.Client[]) => Promise<T>): Promise<T> {
  const open = (clients: pg.Client[]): Promise<T> =>
    clients.length === count ? work(clients) : withSession(url, (client) => open([...clients, client]));
  return open([]);
}

async function inTransaction<T>(client: pg.Client, work: () => Promise<T>): Promise<T> {
  await client.query("begin");
  const result = await work(); // a failure ends the connection, and with it the transaction
  await client.query("commit");
  return result;
}

/** Makes the plan, its people and where the entries go, or finds them as they were made. */
async function begin(client: pg.Client, size: LogSize, workers: number): Promise<LogPlan> {
  const { rows: [present] } = await client.query("select to_regclass('bench.plan') is not null as present");
  if (present.present) {
    const { rows: [made] } = await client.query("select entries, seed, ends_at from bench.plan");
    if (Number(made.entries) !== size.entries || made.seed !== size.seed) {
      throw new Error(`this database holds another log: ${made.entries} entries from seed ${made.seed}`);
    }
    return withItsPeople(client, planLog({ ...size, end: made.ends_at }));
  }
  const plan = planLog(size);
  await inTransaction(client, async () => {
    await client.query(STRUCTURE);
    await client.query("insert into bench.plan values ($1, $2, $3)", [size.entries, size.seed, size.end]);
    await client.query("insert into bench.progress select n, $1, 0 from generate_series(0, $1::int - 1) n", [workers]);
    await client.query("select bench.make_partitions($1, $2)", [plan.start, plan.end]);
    await client.query("select bench.make_actors($1, $2, $3, $4)", [
      plan.organizations.map(({ number }) => number),
      plan.organizations.map(({ id }) => id),
      plan.organizations.map(({ actors }) => actors),
      plan.start,
    ]);
  });
  await client.query("analyze bench.actors");
  return withItsPeople(client, plan);
}

/** SQL and TypeScript must name people alike, and as they were named when a log that is found was made. */
async function withItsPeople(client: pg.Client, plan: LogPlan): Promise<LogPlan> {
  const { rows: [first] } = await client.query(
    "select user_id from bench.actors where number = 1 and rank = 1 limit 1",
  );
  if (first.user_id !== actorId(plan.organizations[0]!.id, 1)) {
    throw new Error("the people of this log are not those of its plan: make it anew, in another folder");
  }
  return plan;
}

/** Slice by slice, each by all workers at once, so that the entries come to lie in the order of time. */
async function writeUnits(
  url: string,
  plan: LogPlan,
  workers: number,
  onProgress: GenerateOptions["onProgress"],
): Promise<void> {
  const statement = { name: "append", text: appendStatement(plan, workers, "bench.audit_logs") };
  await withSessions(url, workers, async (clients) => {
    const { rows } = await clients[0]!.query<{ units: string }>(
      "select units from bench.progress where workers = $1 order by worker",
      [workers],
    );
    if (rows.length === 0) throw new Error("this log was begun by another number of connections");
    const done = rows.map(({ units }) => Number(units));
    const first = Math.min(...done);
    const start = performance.now();
    for (let from = first; from < plan.units; from += SLICE) {
      const to = Math.min(from + SLICE, plan.units);
      await Promise.all(clients.map(async (client, worker) => {
        if (done[worker]! >= to) return;
        await inTransaction(client, async () => {
          await client.query({ ...statement, values: [from, to, worker] });
          await client.query("update bench.progress set units = $2 where worker = $1", [worker, to]);
        });
      }));
      if (to === plan.units || (from - first) % (50 * SLICE) === 49 * SLICE) {
        const rate = (to - first) * ENTRIES_PER_UNIT * 1000 / (performance.now() - start);
        onProgress(`  ${Math.round(100 * to / plan.units)} % of ${plan.entries} entries, ${Math.round(rate)}/s`);
      }
    }
  });
}

/** Moves the filled partitions into the log, which makes their indexes. */
async function publish(client: pg.Client, onProgress: GenerateOptions["onProgress"]): Promise<void> {
  const { rows: partitions } = await client.query<{ name: string }>(
    "select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid " +
      "where i.inhparent = 'bench.audit_logs'::regclass order by 1",
  );
  if (partitions.length === 0) return;
  const start = performance.now();
  for (const { name } of partitions) {
    await inTransaction(client, () => client.query("select bench.publish($1)", [name]));
    onProgress(`  ${name} is part of the log`);
  }
  await client.query("vacuum (analyze) public.audit_logs");
  await client.query("vacuum (analyze) audit.heads");
  await client.query("vacuum (analyze) audit.identities");
  await client.query("vacuum (analyze) public.organization_members");
  await client.query("checkpoint");
  onProgress(`indexes and statistics in ${((performance.now() - start) / 1000).toFixed(1)} s`);
}

const STRUCTURE = `
create schema bench;

create table bench.plan (entries bigint not null, seed int not null, ends_at timestamptz not null);
create table bench.progress (worker int primary key, workers int not null, units bigint not null);
create table bench.actors (
  number int, rank int, context int, organization_id uuid, user_id uuid, identity_hash bytea,
  primary key (number, rank, context)
);

-- Without indexes: they are made when a partition is full.
create table bench.audit_logs (like public.audit_logs) partition by range (created_at);

create function bench.make_partitions(starts_at timestamptz, ends_at timestamptz) returns void language plpgsql as $$
declare
  v_month timestamptz;
begin
  for v_month in
    select generate_series(date_trunc('month', starts_at, 'UTC'), date_trunc('month', ends_at, 'UTC'), '1 month', 'UTC')
  loop
    execute format('create table bench.audit_logs_%s partition of bench.audit_logs for values from (%L) to (%L)',
      to_char(v_month, 'YYYY_MM'), v_month, date_add(v_month, '1 month', 'UTC'));
  end loop;
end
$$;

create table if not exists public.organization_members (
  organization_id uuid not null,
  user_id uuid not null,
  role text not null,
  primary key (organization_id, user_id)
);
create index if not exists organization_members_user_id_idx on public.organization_members (user_id);
alter table public.organization_members owner to postgres;

-- Each person acts from two places; salts follow from the names, so that the log can be made again.
create function bench.make_actors(numbers int[], ids uuid[], actors int[], since timestamptz)
  returns void language sql as $$
  insert into bench.actors
  select o.number, rank, context, o.id, md5('actor ' || o.id || '/' || rank)::uuid, null
  from unnest(numbers, ids, actors) as o (number, id, actors),
    generate_series(1, o.actors) rank, generate_series(0, 1) context;

  insert into audit.identities
    (organization_id, user_id, email, ip_address, user_agent, salt, identity_hash, lookup, created_at)
  select i.organization_id, i.user_id, i.email, i.ip_address, i.user_agent, i.salt,
    sha256('\\x02'::bytea || i.salt || convert_to(
      audit.identity_text(i.organization_id, i.user_id, i.email, i.ip_address, i.user_agent), 'UTF8'
    )),
    sha256(convert_to(row(i.organization_id, i.user_id, i.email, i.ip_address, i.user_agent)::text, 'UTF8')),
    since
  from (
    select a.organization_id, a.user_id, format('person%s@organization%s.example', a.rank, a.number) as email,
      case a.context
        when 0 then format('203.0.%s.%s', a.number % 256, a.rank % 256)
        else format('2001:db8:%s::%s', to_hex(a.number), to_hex(a.rank))
      end as ip_address,
      case a.context
        when 0 then (array[
          'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36',
          'Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:142.0) Gecko/20100101 Firefox/142.0',
          'Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.3 Safari/605.1.15'
        ])[1 + a.rank % 3]
        else 'supabase-js-node/2.109.0'
      end as user_agent,
      substring(sha256(convert_to(concat(a.user_id, '/', a.context), 'UTF8')) from 1 for 16) as salt
    from bench.actors a
  ) i;

  update bench.actors a set identity_hash = i.identity_hash
  from audit.identities i
  where i.user_id = a.user_id and (i.user_agent like 'supabase-js%') = (a.context = 1);

  insert into public.organization_members
  select a.organization_id, a.user_id, case when a.rank <= 2 then 'admin' else 'member' end
  from bench.actors a
  where a.context = 0;

  select audit.use_membership('public.organization_members');
$$;

-- A month that the log already has gets the entries, any other the whole partition, in the way of
-- audit.ensure_partitions().
create function bench.publish(partition text) returns void language plpgsql as $$
declare
  v_bounds text := (
    select pg_get_expr(c.relpartbound, c.oid) from pg_class c where c.oid = format('bench.%I', partition)::regclass
  );
begin
  execute format('alter table bench.audit_logs detach partition bench.%I', partition);
  if to_regclass(format('public.%I', partition)) is not null then
    execute format('insert into public.%I select * from bench.%I', partition, partition);
    execute format('drop table bench.%I', partition);
    return;
  end if;
  execute format('alter table bench.%I set schema public', partition);
  execute format('alter table public.%I owner to postgres', partition);
  execute format('alter table public.audit_logs attach partition public.%I %s', partition, v_bounds);
  set local role postgres;
  perform audit.secure_partition(format('public.%I', partition)::regclass);
  reset role;
end
$$;
`;
