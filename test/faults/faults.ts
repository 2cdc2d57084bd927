// Faults, one kind after another, into a deployment that is at work: after each kind all that waits is done without faults,
// and then everything must be true (world.ts, check). `npm run test:faults -- --help`.
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Fault } from "../support/faults.ts";
import { openAlert } from "../support/alerting.ts";
import { writeOldChain } from "../support/old_log.ts";
import { ACME, isExpected, JOBS, limitFiles, OTHER, SCHEDULED, startWorld, type World } from "./world.ts";

const SEED = Number(process.env.SEED ?? 1);
/** How often each fault is injected, as a multiple of the short form's. */
const TIMES = Number(process.env.FAULTS ?? 1);

let world: World;
const injected: Record<string, number> = {};

beforeAll(async () => {
  console.log(`seed ${SEED}`);
  world = await startWorld(SEED);
  await world.order();
}, 300_000);
afterAll(async () => {
  const total = Object.values(injected).reduce((sum, n) => sum + n, 0);
  console.log(`\n${total} faults injected, seed ${SEED}`);
  for (const [name, n] of Object.entries(injected)) console.log(`  ${String(n).padStart(5)} ${name}`);
  await world?.end();
});

/** Injects, settles and checks. `inject` answers how many faults it were. */
function faults(name: string, inject: () => Promise<number>): void {
  test(name, async () => {
    const start = performance.now();
    injected[name] = await inject();
    expect(injected[name]).toBeGreaterThan(0);
    const settled = await world.settle();
    const seconds = ((performance.now() - start) / 1000).toFixed(1);
    console.log(`${name}: ${injected[name]} faults, ${seconds} s; then ${JSON.stringify(settled)}`);
  }, 600_000);
}

/** Until there were so many, or a bounded time is over. */
async function until(enough: () => boolean, seconds: number, step: () => Promise<unknown>): Promise<void> {
  const end = performance.now() + seconds * 1000;
  while (!enough() && performance.now() < end) await step();
}

faults("connections ended under load", () =>
  world.underLoad(async (load) => {
    const admin = await world.connect("supabase_admin");
    const goal = 300 * TIMES;
    let ended = 0;
    await until(() => ended >= goal, 60 * TIMES, async () => {
      const { rows } = await admin.query<{ pid: number }>(
        "select pid from pg_stat_activity where datname = current_database() and usename = 'postgres' and state <> 'idle' and pid <> pg_backend_pid()",
      );
      if (rows.length > 0) {
        const { rows: [row] } = await admin.query("select pg_terminate_backend($1) as done", [world.pick(rows).pid]);
        if (row.done) ended++;
      }
      await sleep(world.below(15));
    });
    await admin.end();
    expect(load.commits).toBeGreaterThan(0);
    return ended;
  }));

faults("statements out of time", async () => {
  const client = await world.connect();
  const goal = 210 * TIMES;
  let cut = 0;
  await until(() => cut >= goal, 60 * TIMES, async () => {
    try {
      await client.query(`begin; set local statement_timeout = ${1 + world.below(25)}`);
      await client.query("insert into public.budgets (organization_id) select $1 from generate_series(1, $2::int)", [
        world.pick([ACME, OTHER]),
        1 + world.below(900),
      ]);
      await client.query("commit");
    } catch (error) {
      if (!isExpected(error)) throw error;
      cut++;
      await client.query("rollback");
    }
  });
  await client.end();
  return cut;
});

faults("locks not had in time", async () => {
  const blocker = await world.connect("supabase_admin");
  const writer = await world.connect();
  await writer.query("set lock_timeout = 5");
  const goal = 160 * TIMES;
  let cut = 0;
  for (let round = 0; cut < goal; round++) {
    const what = world.pick([
      "public.audit_logs in share mode",
      "audit.heads in exclusive mode",
      "audit.identities in share mode",
    ]);
    await blocker.query(`begin; lock table ${what}`);
    for (let n = 0; n < 20; n++) {
      const inserted = writer.query("insert into public.budgets (organization_id) values ($1)", [ACME]);
      await inserted.catch((error) => {
        if (!isExpected(error)) throw error;
        cut++;
      });
    }
    await blocker.query("commit");
    expect(round).toBeLessThan(goal);
  }
  await blocker.end();
  await writer.end();
  return cut;
});

faults("no connection left", async () => {
  const held: pg.Client[] = [];
  let refused = 0;
  await world.underLoad(async () => {
    for (let full = false; !full;) {
      await world.connect().then((client) => held.push(client), (error) => {
        if (!isExpected(error)) throw error;
        full = true;
      });
    }
    // Ours hold what is free; every client that comes, the functions too, is told that there is no more.
    for (let n = 0; n < 40 * TIMES; n++) {
      if (n % 10 === 0 && await world.job(world.pick(JOBS)) !== 200) refused++;
      await world.connect().then((client) => held.push(client), (error) => {
        if (!isExpected(error)) throw error;
        refused++;
      });
    }
    await Promise.all(held.map((client) => client.end()));
  });
  return refused;
});

faults("Storage fails now and then", async () => {
  const kinds: Fault[] = ["before", "after", "half request", "half answer", { status: 503 }, {
    status: 500,
    body: "{}",
  }, {
    status: 429,
    headers: { "retry-after": "1" },
  }];
  const { storage } = world;
  const before = storage.requests.length;
  let planned = 0;
  for (let round = 0; round < 4 * TIMES; round++) {
    await world.order();
    storage.next = Array.from({ length: 60 }, () => {
      if (world.random() < 0.6) return undefined as unknown as Fault;
      planned++;
      return world.pick(kinds);
    });
    await Promise.all(JOBS.map((name) => world.job(name)));
    await world.later();
    await Promise.all(JOBS.map((name) => world.job(name)));
    planned -= storage.next.filter((fault) => fault !== undefined).length;
    storage.next = [];
  }
  expect(storage.requests.length).toBeGreaterThan(before);
  return planned;
});

// Every ten minutes there is something new, and everything tries again: its leases and pauses are over by then. Twenty
// minutes in the short form, the promised hour with --times 3.
faults("Storage is down for long", async () => {
  const { storage } = world;
  const before = storage.requests.length;
  const published = await world.published();
  for (let round = 0; round < 2 * TIMES; round++) {
    storage.always = round % 2 === 0 ? "before" : { status: 503 };
    await world.order();
    await Promise.all(JOBS.map((name) => world.job(name)));
    await world.later();
  }
  storage.always = undefined;
  expect(await world.published()).toBe(published);
  return storage.requests.length - before;
});

faults("receivers fail, for an hour by the pauses", async () => {
  const { receiver } = world;
  const client = await world.connect();
  for (let n = 0; n < 15; n++) await openAlert(client, { organization: ACME });
  await client.end();
  let failed = 0;
  receiver.behave = () => {
    failed++;
    return world.pick(["reset before", "reset after", { status: 500 }, { status: 503 }, {
      status: 429,
      headers: { "retry-after": "60" },
    }]);
  };
  for (let round = 0; round < 8 && failed < 120 * TIMES; round++) {
    await world.later();
    await world.job("deliver-alerts");
  }
  return failed;
});

faults("functions killed at work", async () => {
  let killed = 0;
  for (let n = 0; n < 12 * TIMES; n++) {
    await world.order();
    const name = JOBS[n % 6]!;
    await world.job("manifests"); // it runs
    const call = world.job(name).catch(() => 0);
    await sleep(world.below(250));
    if (await world.killJobs()) killed++;
    await call;
    await world.later();
  }
  return killed;
});

faults("purging killed at work", async () => {
  const organization = crypto.randomUUID();
  const admin = await world.connect("supabase_admin");
  await writeOldChain(admin, { organization, chain: 1, entries: 12_000, from: 200, to: 120 });
  for (let round = 0; round < 6; round++) {
    await world.job("seal");
    await world.later();
    await world.job("read-back");
  }
  await admin.query("select audit.set_retention($1, 90, 400)", [organization]);
  await admin.query("update audit.retention_periods set effective_at = clock_timestamp()");
  let ended = 0;
  for (let n = 0; n < 12 * TIMES; n++) {
    const purger = await world.connect();
    const { rows: [{ pid }] } = await purger.query("select pg_backend_pid() as pid");
    const purge = purger.query("select audit.purge(500)").then(() => false, (error) => {
      if (!isExpected(error)) throw error;
      return true;
    });
    await sleep(world.below(40));
    await admin.query("select pg_terminate_backend($1)", [pid]);
    if (await purge) ended++;
    await purger.end().catch(() => {});
  }
  await admin.end();
  for (let n = 0; n < 40; n++) await world.value("select audit.purge()");
  // The newest, which are not read back yet, stay.
  const left = await world.value("select count(*)::int from public.audit_logs where organization_id = $1", [
    organization,
  ]);
  expect(left).toBeLessThan(6_000);
  return ended;
});

faults("schedules doubled, and missed before that", async () => {
  await world.order();
  const commands = (await world.value<string[]>(
    "select array_agg(command order by jobname) from cron.job where jobname like 'audit-%'",
  ))!;
  let doubled = 0;
  for (let round = 0; round < TIMES; round++) {
    for (const command of commands) {
      const clients = await Promise.all([world.connect(), world.connect(), world.connect()]);
      await Promise.all(clients.map((client) => client.query(command)));
      await Promise.all(clients.map((client) => client.end()));
      doubled += 2;
    }
    for (const name of JOBS) {
      await Promise.all([world.job(name), world.job(name), world.job(name)]);
      doubled += 2;
    }
  }
  return doubled;
});

faults("the clock jumps, also to months without a partition", async () => {
  // The server's clock cannot be set here: what a clock that was ahead leaves behind is a head whose time lies in the future.
  const admin = await world.connect("supabase_admin");
  const organization = crypto.randomUUID();
  const jumps = 20 * TIMES;
  for (let n = 0; n < jumps; n++) {
    await admin.query("insert into public.budgets (organization_id) values ($1), ($1)", [organization]);
    await admin.query(
      "update audit.heads set last_at = greatest(last_at, now()) + $2::interval where organization_id = $1",
      [
        organization,
        world.pick(["1 second", "59 minutes", "1 day", "40 days"]),
      ],
    );
    if (world.random() < 0.3) await admin.query("select audit.ensure_partitions()");
  }
  const caught = Number(await world.value("select count(*) from public.audit_logs_default"));
  await admin.query("insert into public.budgets (organization_id) values ($1)", [organization]);
  expect(
    caught +
      Number(await world.value("select count(*) from pg_inherits where inhparent = 'public.audit_logs'::regclass")),
  ).toBeGreaterThan(5);
  await admin.query("select audit.ensure_partitions()");
  await admin.end();
  return jumps;
});

faults("the server killed under load", async () => {
  let killed = 0;
  for (let n = 0; n < 6 * TIMES; n++) {
    let beside: Promise<unknown>[] = [];
    await world.underLoad(async () => {
      beside = [...JOBS.map((name) => world.job(name)), ...SCHEDULED.map((name) => world.scheduled(name))];
      for (const work of beside) work.catch(() => {}); // killed, too
      await sleep(50 + world.below(400));
      await world.cluster.kill();
      killed++;
      await world.cluster.restart();
      await sleep(100);
    });
    await Promise.allSettled(beside);
    await world.later();
  }
  return killed;
});

faults("the disk is full", async () => {
  // What files may grow to stands for the disk: the same failure at the same place, when a table or index is extended.
  await world.value("insert into public.budgets (organization_id) select $1 from generate_series(1, 25000)", [ACME]);
  const size = Number(
    await world.value(
      "select max(pg_relation_size(inhrelid)) from pg_inherits where inhparent = 'public.audit_logs'::regclass",
    ),
  );
  let full = 0;
  let client = await world.connect();
  for (let n = 0; n < 30 * TIMES; n++) {
    try {
      const { rows: [{ pid }] } = await client.query("select pg_backend_pid() as pid");
      await limitFiles(pid, Math.max(size, 17 << 20));
      for (let m = 0; m < 40; m++) {
        await client.query("insert into public.budgets (organization_id) select $1 from generate_series(1, 3000)", [
          OTHER,
        ]);
      }
      throw new Error("the disk was not full");
    } catch (error) {
      if (!/File too large|could not extend|could not write/.test((error as Error).message)) throw error;
      full++;
    }
    await client.end().catch(() => {});
    client = await world.connect();
  }
  await client.end();
  return full;
});

faults("the disk of the write-ahead log is full", async () => {
  // PostgreSQL stops all that runs (PANIC) and recovers.
  let panics = 0;
  for (let n = 0; n < 2 * TIMES; n++) {
    await world.underLoad(async () => {
      await sleep(200);
      const client = await world.connect();
      const { rows: [{ pid }] } = await client.query("select pg_backend_pid() as pid");
      await limitFiles(pid, 8192);
      await client.query("insert into public.budgets (organization_id) select $1 from generate_series(1, 200)", [ACME])
        .then(() => client.query("select pg_switch_wal()")).catch(() => panics++);
      await client.end().catch(() => {});
      await recovered();
    });
  }
  return panics;
});

/** The server answers again. */
async function recovered(): Promise<void> {
  for (let n = 0; n < 300; n++) {
    if (await world.value("select true").catch(() => false)) return;
    await sleep(100);
  }
  throw new Error("the server does not come back");
}
