// Many writers at once: capture neither makes them wait for each other nor fails them, and no chain ever breaks.
import type pg from "pg";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { inTransaction } from "../support/acting.ts";
import { startTestCluster, type TestCluster } from "../support/cluster.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { entries, expectVerified, failure } from "../support/log.ts";

const WRITERS = 32;
let db: TestDatabase;
let watcher: pg.Client;

beforeAll(async () => {
  db = await createDatabase();
  watcher = await db.connect();
});
afterAll(() => db.drop());

const uuid = (): string => crypto.randomUUID();

function addBudget(client: pg.Client, organization: string): Promise<unknown> {
  return client.query("insert into public.budgets (organization_id) values ($1)", [organization]);
}

/** Every row of `organization` in the application has its entry, once, and no entry is without its row. */
async function expectOneEntryPerBudget(client: pg.Client, organization: string, count: number): Promise<void> {
  const { rows } = await client.query(
    `select count(b.id)::int as budgets, count(e.resource_id)::int as entries,
       count(*) filter (where b.id::text = e.resource_id)::int as pairs
     from (select * from public.budgets where organization_id = $1) b
     full join (select * from public.audit_logs where organization_id = $1 and action = 'budget.created') e
       on e.resource_id = b.id::text`,
    [organization],
  );
  expect(rows).toEqual([{ budgets: count, entries: count, pairs: count }]);
}

async function closeAll(clients: pg.Client[]): Promise<void> {
  await Promise.all(clients.map((client) => client.end()));
}

describe("32 writers", () => {
  let writers: pg.Client[];
  beforeAll(async () => {
    writers = await db.connectAll(WRITERS);
  });
  afterAll(() => closeAll(writers));

  /** Each writer does `each` transactions of two statements in one organisation; the answer is the errors. */
  async function swarm(organization: string, isolation: string, each: number): Promise<unknown[]> {
    const errors: unknown[] = [];
    await Promise.all(writers.map(async (client) => {
      for (let n = 0; n < each; n++) {
        await inTransaction(client, async () => {
          await addBudget(client, organization);
          await addBudget(client, organization);
        }, `isolation level ${isolation}`).catch((error) => errors.push(error));
      }
    }));
    return errors;
  }

  test.each(["read committed", "repeatable read"])("none fails at %s", async (isolation) => {
    const organization = uuid();
    expect(await swarm(organization, isolation, 25)).toEqual([]);
    await expectOneEntryPerBudget(watcher, organization, WRITERS * 25 * 2);
    await expectVerified(watcher);
  });

  test("at most one transaction in a thousand fails at serializable", async () => {
    const organization = uuid();
    const errors = await swarm(organization, "serializable", 100);
    expect(errors.length).toBeLessThanOrEqual(WRITERS * 100 / 1000);
    for (const error of errors) expect(error).toMatchObject({ code: "40001" });
    await expectOneEntryPerBudget(watcher, organization, (WRITERS * 100 - errors.length) * 2);
    await expectVerified(watcher);
  });

  test("two organisations in opposite orders do not deadlock", async () => {
    const [one, two] = [uuid(), uuid()];
    const done = await Promise.allSettled(writers.map(async (client, index) => {
      const order = index % 2 === 0 ? [one, two] : [two, one];
      for (let n = 0; n < 10; n++) {
        await inTransaction(client, async () => {
          for (const organization of order) await addBudget(client, organization);
        });
      }
    }));
    expect(done.filter(({ status }) => status === "rejected")).toEqual([]);
    await expectOneEntryPerBudget(watcher, one, WRITERS * 10);
    await expectOneEntryPerBudget(watcher, two, WRITERS * 10);
    await expectVerified(watcher);
  });

  test("nobody waits for an idle transaction that wrote in the same organisation", async () => {
    const organization = uuid();
    const [idle, ...others] = writers;
    await idle!.query("begin");
    await addBudget(idle!, organization);
    // All of them finish while it is still open: had one to wait, its statement_timeout would end this.
    await Promise.all(others.map((client) => addBudget(client, organization)));
    await expectOneEntryPerBudget(watcher, organization, WRITERS - 1);
    await idle!.query("commit");
    await expectOneEntryPerBudget(watcher, organization, WRITERS);
    await expectVerified(watcher);
  });

  test("each writes a chain of its own", async () => {
    const organization = uuid();
    await Promise.all(writers.map((client) => client.query("begin")));
    await Promise.all(writers.map((client) => addBudget(client, organization)));
    await Promise.all(writers.map((client) => client.query("commit")));
    const chains = (await expectVerified(watcher)).filter((chain) => chain.organization_id === organization);
    expect(chains.map((chain) => chain.entries)).toEqual(Array(WRITERS).fill("1"));
  });

  test("rolled back transactions between committed ones leave neither entry nor gap", async () => {
    const organization = uuid();
    await Promise.all(writers.map(async (client) => {
      for (const end of ["commit", "rollback", "commit", "rollback", "rollback", "commit"]) {
        await client.query("begin");
        await addBudget(client, organization);
        await client.query(end);
      }
    }));
    await expectOneEntryPerBudget(watcher, organization, WRITERS * 3);
    await expectVerified(watcher);
  });
});

describe("parts of a transaction", () => {
  let client: pg.Client;
  let organization: string;
  beforeEach(async () => {
    client = await db.connect();
    organization = uuid();
  });

  const name = (value: string) =>
    client.query("insert into public.budgets (organization_id, name) values ($1, $2)", [organization, value]);
  const loggedNames = async () =>
    (await entries(client, "where organization_id = $1", [organization])).map((entry) => entry.details.new.name);

  test("what a savepoint rolled back is not in the log, what it released is", async () => {
    await client.query("begin");
    await name("before");
    await client.query("savepoint a");
    await name("rolled back");
    await client.query("savepoint b");
    await name("rolled back with the outer one");
    await client.query("release b");
    await client.query("rollback to a");
    await name("after the rollback");
    await client.query("savepoint c");
    await name("released");
    await client.query("release c");
    await name("last");
    await client.query("commit");
    expect(await loggedNames()).toEqual(["before", "after the rollback", "released", "last"]);
    await expectVerified(client);
  });

  test("a rolled back first entry does not spoil the chain that follows", async () => {
    // The head itself is created inside the savepoint, and its place remembered by the session.
    await client.query("begin");
    await client.query("savepoint a");
    await name("rolled back");
    await client.query("rollback to a");
    await name("kept");
    await client.query("commit");
    await name("after");
    expect(await loggedNames()).toEqual(["kept", "after"]);
    await expectVerified(client);
  });

  test("an exception caught in PL/pgSQL takes its entries with it", async () => {
    await client.query(`
      do $$
      begin
        for n in 1..5 loop
          begin
            insert into public.budgets (organization_id, name) values ('${organization}', 'n' || n);
            if n % 2 = 0 then raise exception 'no even numbers'; end if;
          exception when raise_exception then null;
          end;
        end loop;
      end
      $$`);
    expect(await loggedNames()).toEqual(["n1", "n3", "n5"]);
    await expectVerified(client);
  });

  test("a transaction that failed and went on in a new one keeps the chain whole", async () => {
    await name("first");
    await client.query("begin");
    await name("lost");
    expect(await failure(client.query("select 1 / 0"))).toMatchObject({ code: "22012" });
    await client.query("rollback");
    await name("second");
    expect(await loggedNames()).toEqual(["first", "second"]);
    await expectVerified(client);
  });

  test("10,000 rows in one statement and single rows before and after stand in one unbroken chain", async () => {
    await name("before");
    await client.query(
      "insert into public.budgets (organization_id, name) select $1, 'bulk ' || n from generate_series(1, 10000) n",
      [organization],
    );
    await name("after");
    const names = await loggedNames();
    expect(names.length).toBe(10_002);
    const chains = (await expectVerified(client)).filter((chain) => chain.organization_id === organization);
    expect(chains.map((chain) => chain.entries)).toEqual(["10002"]);
  });

  test("one statement for 100 organisations writes to 100 chains", async () => {
    const organizations = Array.from({ length: 100 }, uuid);
    for (let n = 0; n < 3; n++) {
      await client.query("insert into public.budgets (organization_id) select unnest($1::uuid[])", [organizations]);
    }
    const chains = (await expectVerified(client)).filter((chain) => organizations.includes(chain.organization_id));
    expect(chains.length).toBe(100);
    for (const chain of chains) expect(chain.entries).toBe("3");
  });
});

describe("forged settings", () => {
  const GARBAGE = [
    "",
    " ",
    "garbage",
    "(0,1)",
    "(4294967295,65535)",
    "99:99",
    "::::",
    "-1:-1:-1",
    "'; drop table public.audit_logs; --",
    "é".repeat(500),
    "f".repeat(128),
    "0".repeat(64),
  ];

  /** Makes the connection believe that it writes the given chain: its context is kept in a setting that it can set. */
  const forgeChain = (client: pg.Client, chain: number) =>
    client.query(
      `select set_config('audit.context', row(
        c.created_by, c.actor_type, c.email, c.ip_address, c.user_agent, c.request_id, $1::int, c.extra
      )::audit.statement_context::text, false)
      from (select (current_setting('audit.context')::audit.statement_context).*) c`,
      [chain],
    );

  test("a forged chain of another connection cannot fork that connection's chain", async () => {
    const [honest, forger] = await db.connectAll(2) as [pg.Client, pg.Client];
    const organization = uuid();
    await addBudget(honest, organization);
    await addBudget(forger, organization);
    const { rows: [known] } = await honest.query(
      "select (current_setting('audit.context')::audit.statement_context).chain",
    );
    await forgeChain(forger, known.chain);
    for (let n = 0; n < 3; n++) {
      await addBudget(forger, organization);
      await addBudget(honest, organization);
      await expectVerified(watcher);
    }
    const { rows: [written] } = await watcher.query(
      "select count(*)::int as n from public.audit_logs where organization_id = $1 and chain = $2",
      [organization, known.chain],
    );
    expect(written.n, "the forged chain was used").toBe(7);
    await expectOneEntryPerBudget(watcher, organization, 8);
  });

  test("connections that forge one chain write it at the same time without breaking it", async () => {
    const forgers = await db.connectAll(8);
    const organization = uuid();
    await Promise.all(forgers.map(async (client) => {
      await addBudget(client, organization);
      await forgeChain(client, 777);
      for (let n = 0; n < 20; n++) await addBudget(client, organization);
    }));
    await expectOneEntryPerBudget(watcher, organization, 168);
    await expectVerified(watcher);
  });

  test("a context that is nonsense is read anew from its sources", async () => {
    const client = await db.connect();
    const organization = uuid();
    let written = await addBudget(client, organization).then(() => 1);
    for (const forged of ["", "abc", "(,,,,,,abc,)", "(,,,,,,2147483648,)", "(1,2)", "(,,,,,,-5,{)", "(,user,,,,,,)"]) {
      await client.query("select set_config('audit.context', $1, false)", [forged]);
      await addBudget(client, organization);
      written++;
      await expectVerified(watcher);
    }
    await expectOneEntryPerBudget(watcher, organization, written);
  });

  test("garbage in any audit.* setting loses no change and breaks no chain", async () => {
    const client = await db.connect();
    const organization = uuid();
    await addBudget(client, organization);
    const { rows: own } = await client.query<{ name: string }>(
      "select name from pg_settings where name like 'audit.%' union select kind || lpad(to_hex(n), 2, '0') from generate_series(0, 255) n, unnest('{audit.head_,audit.identity_}'::text[]) kind union values ('audit.context'), ('audit.context_sources')",
    );
    expect(own.length).toBeGreaterThanOrEqual(514);
    let written = 1;
    for (const garbage of GARBAGE) {
      await client.query("select set_config(name, $1, false) from unnest($2::text[]) name", [
        garbage,
        own.map((setting) => setting.name),
      ]);
      await client.query(`select set_config('request.headers', '{"user-agent":"agent"}', false)`);
      await addBudget(client, organization);
      await client.query("insert into public.budgets (organization_id) select $1 from generate_series(1, 3)", [
        organization,
      ]);
      written += 4;
      await expectVerified(watcher);
    }
    await expectOneEntryPerBudget(watcher, organization, written);
  });

  test("a head's place remembered from before a full vacuum is found again", async () => {
    const client = await db.connect();
    const admin = await db.connect("supabase_admin");
    const organization = uuid();
    await addBudget(client, organization);
    await admin.query("vacuum full audit.heads");
    await addBudget(client, organization);
    await expectOneEntryPerBudget(watcher, organization, 2);
    await expectVerified(watcher);
  });
});

describe("connections that come and go", () => {
  test("a slot used again goes on with the chain it finds", async () => {
    const organization = uuid();
    // The server hands out its slots in turn; more connections than it has slots use at least one again.
    for (let round = 0; round < 25; round++) {
      const clients = await db.connectAll(10);
      await Promise.all(clients.map((client) => addBudget(client, organization)));
      await closeAll(clients);
    }
    await expectOneEntryPerBudget(watcher, organization, 250);
    const chains = (await expectVerified(watcher)).filter((chain) => chain.organization_id === organization);
    const { rows: [server] } = await watcher.query("select current_setting('max_connections')::int as slots");
    expect(chains.length).toBeLessThanOrEqual(server.slots);
    expect(server.slots).toBeLessThan(250);
  });

  test("a pooled connection writes on after DISCARD ALL", async () => {
    const clients = await db.connectAll(4);
    const organization = uuid();
    await Promise.all(clients.map(async (client) => {
      for (let n = 0; n < 10; n++) {
        await addBudget(client, organization);
        await client.query("discard all");
      }
    }));
    await expectOneEntryPerBudget(watcher, organization, 40);
    await expectVerified(watcher);
  });
});

describe("prepared transactions", () => {
  let cluster: TestCluster;
  let own: TestDatabase;
  let client: pg.Client;
  let organization: string;

  beforeAll(async () => {
    cluster = await startTestCluster({ max_prepared_transactions: "10" });
    own = await createDatabase("application", cluster.port);
  });
  afterAll(async () => {
    await own?.drop();
    await cluster?.remove();
  });
  beforeEach(async () => {
    client = await own.connect();
    organization = uuid();
  });

  async function prepare(name: string): Promise<void> {
    await client.query("begin");
    await addBudget(client, organization);
    await client.query(`prepare transaction '${name}'`);
  }

  test.each(["commit", "rollback"])("the connection goes on writing until %s prepared", async (end) => {
    await addBudget(client, organization);
    await prepare("one");
    await addBudget(client, organization);
    await addBudget(client, organization);
    await client.query(`${end} prepared 'one'`);
    await addBudget(client, organization);
    await expectOneEntryPerBudget(client, organization, end === "commit" ? 5 : 4);
    await expectVerified(client);
  });

  test("several prepared transactions end in any order", async () => {
    for (const name of ["a", "b", "c", "d"]) await prepare(name);
    await addBudget(client, organization);
    await client.query("commit prepared 'c'");
    await client.query("rollback prepared 'a'");
    await addBudget(client, organization);
    await client.query("commit prepared 'd'");
    await client.query("commit prepared 'b'");
    await expectOneEntryPerBudget(client, organization, 5);
    await expectVerified(client);
  });

  test("a prepared transaction survives its connection, and the slot's next user does not wait for it", async () => {
    await prepare("orphan");
    await client.end();
    const clients = await own.connectAll(4);
    await Promise.all(clients.map((each) => addBudget(each, organization)));
    const [first] = clients as [pg.Client];
    await first.query("commit prepared 'orphan'");
    await expectOneEntryPerBudget(first, organization, 5);
    await expectVerified(first);
    client = first;
  });

  test("32 writers do not wait for prepared transactions", async () => {
    for (const name of ["p1", "p2", "p3"]) await prepare(name);
    const writers = await own.connectAll(WRITERS);
    const done = await Promise.allSettled(writers.map((each) => addBudget(each, organization)));
    expect(done.filter(({ status }) => status === "rejected")).toEqual([]);
    for (const name of ["p1", "p2", "p3"]) await client.query(`commit prepared '${name}'`);
    await expectOneEntryPerBudget(client, organization, WRITERS + 3);
    await expectVerified(client);
  });
});
