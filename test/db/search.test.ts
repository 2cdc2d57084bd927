// Searches of a generated log by people in every role find exactly what a simple reading of all its rows finds, however
// far the search index has come, while others write, and as files.
import { createHash } from "node:crypto";
import { text } from "node:stream/consumers";
import { parse } from "csv-parse/sync";
import fc from "fast-check";
import type pg from "pg";
import { to as copyTo } from "pg-copy-streams";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { entryHash, parseEntryText } from "../../functions/_shared/entry.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { inTransaction } from "../support/acting.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified, failure } from "../support/log.ts";
import {
  actAs,
  type Addresses,
  createPeople,
  exactJson,
  matches,
  ORGANIZATIONS,
  readAddresses,
  type Reader,
  READERS,
  readRows,
  type Row,
  sorted,
  type Tree,
  trees,
  visibleAddresses,
  visibleRows,
  writeEntries,
} from "./search_support.ts";

/** GENERATED_QUERIES asks for more than a quick run has, GENERATED_SEED for the same again. */
const QUERIES = Number(process.env.GENERATED_QUERIES ?? 300);
const SEED = Number(process.env.GENERATED_SEED ?? Date.now() % 2 ** 31);
const ENTRIES = 600;
const SORTS = ["-created_at", "created_at", "-cost", "cost"];

let db: TestDatabase;
let superuser: pg.Client;
let client: pg.Client;
let rows: Row[];
let addresses: Addresses;

beforeAll(async () => {
  db = await createDatabase();
  superuser = await db.connect(ADMIN);
  client = await db.connect();
  await createPeople(superuser);
  await writeEntries(superuser, ENTRIES, SEED);
  rows = await readRows(superuser);
  addresses = await readAddresses(superuser);
});
afterAll(() => db.drop());

// ---------------------------------------------------------------------------------------------- one search

type Search = { tree: Tree; reader: Reader; organization: string; sort: string; limit: number; form: string };

// deno-lint-ignore no-explicit-any -- JSON of the API; tests compare it whole or by path
async function call(name: string, request: unknown, by = client): Promise<any> {
  const { rows } = await by.query(`select audit.${name}($1) as answer`, [JSON.stringify(request)]);
  return rows[0].answer;
}

/** Runs `work` in a transaction that leaves nothing, with the session settings of some far place. */
async function undone<T>(work: () => Promise<T>): Promise<T> {
  await client.query("begin; set local timezone = 'America/St_Johns'; set local datestyle = 'SQL, DMY'");
  try {
    return await work();
  } finally {
    await client.query("rollback");
  }
}

async function expectFound({ tree, reader, organization, sort, limit, form }: Search): Promise<void> {
  await undone(async () => {
    const { rows: [{ now }] } = await client.query("select (extract(epoch from now()) * 1000000)::bigint as now");
    await actAs(client, reader);
    if (reader.access(organization) === undefined) {
      expect(await failure(call("search_page", { organization_id: organization, filter: tree }))).toMatchObject({
        code: "AUDEN",
      });
      return;
    }
    const visible = visibleRows(rows, organization, reader);
    const known = visibleAddresses(addresses, organization, reader);
    const expected = sorted(visible.filter((row) => matches(tree, row, BigInt(now), known)), sort);
    const query = form === "filter" ? undefined : (await call("convert_query", { filter: tree })).query;
    const request = {
      organization_id: organization,
      sort,
      limit,
      ...(form === "query" ? {} : { filter: tree }),
      ...(form === "filter" ? {} : { query }),
      include: ["total", "facets"],
    };

    const present = new Set(visible.map(({ shown }) => shown.name));
    const found: Record<string, unknown>[] = [];
    for (let cursor: string | null = null, first = true;; first = false) {
      const page = await call("search_page", { ...request, cursor, ...(first ? {} : { include: [] }) });
      if (first) {
        expect(page.total).toEqual({ value: expected.length, exact: true });
        expect(page.facets).toEqual(facets(expected, known));
      }
      const shown = page.entries.filter(({ name }: { name: string }) => present.has(name));
      found.push(...shown);
      expect(page.entries.length).toBeLessThanOrEqual(limit);
      expect(found.length).toBeLessThanOrEqual(present.size);
      // Oldest first, what the search itself leaves in the log comes at the end, forever.
      if (page.next === null || sort === "created_at" && shown.length === 0) break;
      expect(page.entries).toHaveLength(limit);
      cursor = page.next;
    }
    const name = ({ name }: Record<string, unknown>) => name;
    expect(found.map(name)).toEqual(expected.map(({ shown }) => name(shown)));
    expect(found).toEqual(expected.map(({ shown }) => shown));
  });
}

function facets(found: Row[], known: Addresses) {
  const count = (values: (string | null)[]) => {
    const counts = new Map<string, number>();
    for (const value of values) if (value !== null) counts.set(value, (counts.get(value) ?? 0) + 1);
    return [...counts].map(([value, count]) => ({ value, count }));
  };
  const frequent = (values: (string | null)[]) =>
    count(values).sort((one, other) =>
      other.count - one.count || Buffer.compare(Buffer.from(one.value), Buffer.from(other.value))
    );
  return {
    of: found.length,
    complete: true,
    action: frequent(found.map(({ action }) => action)),
    actor: frequent(found.map(({ created_by }) => created_by)).map((each) => ({
      ...each,
      email: known.some(({ user_id }) => user_id === each.value) ? expect.any(String) : null,
    })),
    provider: frequent(found.map(({ provider }) => provider)),
    day: count(found.map(({ shown }) => String(shown.created_at).slice(0, 10)))
      .sort((one, other) => one.value < other.value ? -1 : 1),
  };
}

// ---------------------------------------------------------------------------------------------- the property

const index = (portion: number) => superuser.query("select audit.index_entries($1)", [portion]);
/** As if the last third of every chain had been written since. */
const LAGGING = `
  delete from audit.search_index s using audit.search_positions p
  where s.organization_id = p.organization_id and s.chain = p.chain and s.seq > ceil(p.seq * 2 / 3.0);
  update audit.search_positions p set seq = s.seq, last_at = s.created_at
  from (select distinct on (organization_id, chain) * from audit.search_index order by organization_id, chain, seq desc) s
  where s.organization_id = p.organization_id and s.chain = p.chain`;

const STATES: [string, number, () => Promise<unknown>][] = [
  ["without an index", SEED, () => Promise.resolve()],
  ["with a part of the index of every chain", SEED + 1, () => index(20_000).then(() => superuser.query(LAGGING))],
  ["with all of the index", SEED + 2, () => index(20_000)],
  [
    "with a rebuilt part of it",
    SEED + 3,
    () => superuser.query("select audit.rebuild_search_index()").then(() => index(431)),
  ],
];

describe.sequential(`${QUERIES} searches of ${ENTRIES} generated entries, GENERATED_SEED=${SEED}`, () => {
  test.each(STATES)("%s", async (_, seed, prepare) => {
    await prepare();
    const search = fc.record({
      tree: trees(rows),
      reader: fc.constantFrom(...READERS, ...READERS.slice(0, 2), ...READERS.slice(0, 2)),
      organization: fc.constantFrom(...ORGANIZATIONS, ORGANIZATIONS[0]!, ORGANIZATIONS[0]!),
      sort: fc.constantFrom(...SORTS, "-created_at", "created_at"),
      limit: fc.constantFrom(5, 20, 20, 50, 50, 200),
      form: fc.constantFrom("filter", "query", "both"),
    });
    // Shrinking takes minutes and the seed tells it all.
    await fc.assert(fc.asyncProperty(search, expectFound), {
      numRuns: QUERIES / STATES.length,
      seed,
      endOnFailure: true,
    });
  }, 600_000);
});

// ---------------------------------------------------------------------------------------------- the order of cost

// Long lists are walked in the order of cost, where short ones are sorted.
test("by cost, pages of thousands of entries are those of a plain sort, however far the index has come", async () => {
  const large = await createDatabase();
  try {
    const admin = await large.connect(ADMIN);
    const reader = await large.connect();
    await createPeople(admin);
    await writeEntries(admin, 6_000, SEED);
    await admin.query("select audit.index_entries(20000)");
    const cases: [string, string][] = [
      ["", "true"],
      ["created:<1h", "created_at < now() - interval '1 hour'"],
      ["-provider:openai", "provider is distinct from 'openai'"],
      ["action:api_key.* outcome:success", "action like 'api_key.%' and outcome = 'success'"],
      ["cost:>0 action:a.b.c", "cost > 0 and action = 'a.b.c'"],
      ["outcome:denied request_id:req-1 chain:1040", "outcome = 'denied' and request_id = 'req-1' and chain = 1040"],
    ];
    for (const state of ["whole", "behind"]) {
      if (state === "behind") await admin.query(LAGGING);
      for (const [query, where] of cases) {
        for (const [sort, order] of [["cost", "cost"], ["-cost", "cost desc"]] as const) {
          const { rows } = await admin.query(
            `select chain || '-' || seq as name from public.audit_logs
             where organization_id = $1 and chain > 1000 and (${where})
             order by ${order} nulls last, created_at desc, chain desc, seq desc`,
            [ORGANIZATIONS[0]],
          );
          const names = await walk(reader, { sort, limit: 200, query });
          // The entries that searches leave have no cost, and chains of connections.
          expect(names.filter((name) => Number(name.split("-")[0]) > 1000)).toEqual(rows.map(({ name }) => name));
        }
      }
    }
  } finally {
    await large.drop();
  }
}, 240_000);

// ---------------------------------------------------------------------------------------------- files

const FORMATS = ["csv", "json", "ndjson"] as const;
type Export = { tree: Tree; reader: Reader; organization: string; limit: number; format: (typeof FORMATS)[number] };

/** A part of an export as the function "audit" makes it: counted and noted by one connection, copied by another. */
async function exportPart(copier: pg.Client, reader: Reader, request: unknown) {
  const { part, bytes } = await inTransaction(copier, async () => {
    await copier.query("set local timezone = 'Asia/Kathmandu'; set local datestyle = 'German'");
    await actAs(copier, reader);
    const { rows: [{ snapshot }] } = await copier.query("select pg_export_snapshot() as snapshot");
    const part = await inTransaction(client, async () => {
      await client.query(`set transaction snapshot '${snapshot}'`);
      await actAs(client, reader);
      return call("open_export", request);
    }, "isolation level repeatable read");
    return { part, bytes: await text(copier.query(copyTo(part.copy))) };
  }, "isolation level repeatable read read only");
  const status = await inTransaction(client, async () => {
    await actAs(client, reader);
    return call("close_export_part", {
      export: part.id,
      part: part.part,
      entries: part.entries,
      bytes: Buffer.byteLength(bytes),
      sha256: createHash("sha256").update(bytes).digest("hex"),
      complete: true,
    });
  });
  return { part, bytes, status };
}

const CSV_TEXTS = [
  "action",
  "resource_type",
  "resource_id",
  "email",
  "ip_address",
  "user_agent",
  "provider",
  "request_id",
];

/** The entries of a part as the API shows them. */
const READ: Record<Export["format"], (bytes: string, expected: Row[]) => unknown[]> = {
  csv: (bytes) =>
    parse(bytes, {
      columns: true,
      relax_quotes: false,
      cast: (value, { column, quoting }) => {
        if (value === "" && !quoting) return null;
        if (CSV_TEXTS.includes(String(column))) return value.replace(/^'/, "");
        return column === "details" ? exactJson(value) : value;
      },
    }).map((row) => {
      const { details, chain, seq, ...rest } = row as Record<string, unknown>;
      return { ...rest, details, chain: Number(chain), seq: Number(seq) };
    }),
  json: (bytes) => JSON.parse(`[${bytes.slice(1)}]`),
  ndjson: (bytes, expected) =>
    bytes.split("\n").filter((line) => line !== "").map((line, n) => {
      // The bytes that were hashed, never parsed and written again.
      const start = line.indexOf(',"entry":') + ',"entry":'.length;
      const entry = line.slice(start, -1);
      const { hash, email, ip_address, user_agent } = JSON.parse(line);
      expect(entryHash(entry)).toBe(hash);
      const { chain, seq } = parseEntryText(entry)!;
      const { shown } = expected[n]!;
      return { ...shown, name: `${chain}-${seq}`, hash, email, ip_address, user_agent };
    }),
};

test("an export's parts are what the search finds, oldest first, each entry once, in every format", async () => {
  const copier = await db.connect();
  const searches = fc.record({
    tree: trees(rows),
    reader: fc.constantFrom(...READERS.filter(({ access }) => access(ORGANIZATIONS[0]!) !== undefined)),
    organization: fc.constant(ORGANIZATIONS[0]!),
    limit: fc.constantFrom(1, 10, 40, 1000),
    format: fc.constantFrom(...FORMATS),
  });
  for (const { tree, reader, organization, limit, format } of fc.sample(searches, { numRuns: 24, seed: SEED })) {
    const visible = visibleRows(await readRows(superuser), organization, reader);
    const known = visibleAddresses(await readAddresses(superuser), organization, reader);
    const narrow: Tree = limit === 1 ? { and: [tree, { field: "seq", op: "lte", value: "3" }] } : tree;
    let first: bigint | undefined;
    const found: unknown[] = [];
    const parts: unknown[] = [];
    let expected: Row[] = [];
    for (let request: unknown = { organization_id: organization, filter: narrow, format, limit };;) {
      const { rows: [{ now }] } = await client.query("select (extract(epoch from now()) * 1000000)::bigint as now");
      first ??= BigInt(now);
      expected = sorted(visible.filter((row) => matches(narrow, row, first!, known)), "created_at");
      const { part, bytes, status } = await exportPart(copier, reader, request);
      const here = READ[format](bytes, expected.slice(found.length));
      expect(here).toHaveLength(part.entries);
      const ends = [here.at(0), here.at(-1)].map((each) => (each as Row["shown"] | undefined)?.name ?? null);
      expect([part.first, part.last]).toEqual(ends);
      found.push(...here);
      parts.push({ part: part.part, entries: here.length, complete: true });
      expect(status.parts).toMatchObject(parts);
      expect(status.state).toBe(part.next === null ? "done" : "streaming");
      if (part.next === null) break;
      // Fewer, where a part ends for having looked far enough.
      expect(part.entries).toBeGreaterThan(0);
      expect(part.entries).toBeLessThanOrEqual(limit);
      request = { export: part.id, cursor: part.next, limit };
    }
    expect(found).toEqual(
      expected.map(({ shown, details, cost }) => format === "csv" ? { ...shown, details, cost } : shown),
    );
  }
}, 120_000);

// ---------------------------------------------------------------------------------------------- while others write

/** The names of all pages of a search by the admin, each page in a transaction of its own. */
async function walk(
  by: pg.Client,
  request: { sort: string; limit: number; query: string },
  between = () => Promise.resolve(),
) {
  const names: string[] = [];
  for (let cursor: string | null = null;;) {
    const page = await inTransaction(by, async () => {
      await actAs(by, READERS[0]!);
      return call("search_page", { organization_id: ORGANIZATIONS[0], ...request, cursor }, by);
    });
    names.push(...page.entries.map(({ name }: { name: string }) => name));
    if (page.next === null) return names;
    cursor = page.next;
    await between();
  }
}

async function snapshot(sort: string, where = "true"): Promise<string[]> {
  const order =
    { "created_at": "created_at, chain, seq", "-created_at": "created_at desc, chain desc, seq desc" }[sort];
  const { rows } = await superuser.query(
    `select chain || '-' || seq as name from public.audit_logs where organization_id = $1 and ${where} order by ${order}`,
    [ORGANIZATIONS[0]],
  );
  return rows.map(({ name }) => name);
}

const budget = (by: pg.Client) =>
  by.query("insert into public.budgets (organization_id) select $1 from generate_series(1, 3)", [ORGANIZATIONS[0]]);

/** Every entry is indexed once, up to every head. */
async function expectIndexed(): Promise<void> {
  const { rows } = await superuser.query(
    `select (select count(*) from audit.search_index)::int as indexed, count(s.*)::int as found, count(a.*)::int as entries,
       (select count(*) from audit.heads h full join audit.search_positions p using (organization_id, chain)
        where h.seq is distinct from p.seq)::int as behind
     from public.audit_logs a
     left join audit.search_index s using (organization_id, chain, seq, created_at)`,
  );
  const [{ entries }] = rows;
  expect(rows).toEqual([{ indexed: entries, found: entries, entries, behind: 0 }]);
}

describe.sequential("while others write", () => {
  test.each(["-created_at", "created_at"])(
    "pages by %s hold each entry once that was there at the first",
    async (sort) => {
      const writers = await db.connectAll(3);
      const query = "action:(budget.created or a.b.c or api_key.added)";
      let pages = 0;
      const present = await snapshot(sort, "action in ('budget.created', 'a.b.c', 'api_key.added')");
      const names = await walk(client, { sort, limit: 9, query }, async () => {
        if (pages++ < 15) await Promise.all([...writers.map(budget), index(50)]);
      });
      expect(new Set(names).size).toBe(names.length);
      const before = new Set(present);
      expect(names.filter((name) => before.has(name))).toEqual(present);
      // The other way round the new ones follow, as far as they have come.
      if (sort === "-created_at") expect(names).toEqual(present);
      else expect(names.length).toBeGreaterThan(present.length);
      await Promise.all(writers.map((writer) => writer.end()));
    },
  );

  test("what a slow writer commits late is found from then on, once", async () => {
    const slow = await db.connect();
    await index(20_000);
    await slow.query("begin");
    await slow.query("select * from audit.record($1, 'late.committed')", [ORGANIZATIONS[0]]);
    await budget(client);
    await index(20_000); // passes its time, but not its place
    const request = { sort: "-created_at", limit: 50, query: "action:(late.committed or late.other)" };
    expect(await walk(client, request)).toEqual([]);
    await slow.query("commit");
    const names = await snapshot("created_at", "action = 'late.committed'");
    expect(names).toHaveLength(1);
    expect(await walk(client, request)).toEqual(names);
    await index(20_000);
    await expectIndexed();
    expect(await walk(client, request)).toEqual(names);
    expect(await walk(client, { ...request, query: 'action:late.committed "committed late"' })).toEqual([]);
    expect(await walk(client, { ...request, query: 'action:late.committed "late committed"' })).toEqual(names);
    await slow.end();
  });

  test("many indexers at once index each entry once", async () => {
    await superuser.query("select audit.rebuild_search_index()");
    const indexers = await db.connectAll(4, ADMIN);
    const writer = await db.connect();
    for (let round = 0; round < 25; round++) {
      await Promise.all([...indexers.map((each) => each.query("select audit.index_entries(20)")), budget(writer)]);
    }
    await index(20_000);
    await expectIndexed();
  });

  test("an indexer that is killed leaves nothing half done", async () => {
    await superuser.query("select audit.rebuild_search_index()");
    let killed = 0;
    for (let round = 0; round < 8; round++) {
      const victim = await db.connect(ADMIN);
      victim.on("error", () => {});
      const { rows: [{ pid }] } = await victim.query("select pg_backend_pid() as pid");
      const work = victim.query("begin; select audit.index_entries(200)").then(() =>
        victim.query("select pg_sleep(20)")
      )
        .catch(() => killed++);
      await new Promise((done) => setTimeout(done, round * 8)); // before, in and after the work, never after its commit
      await superuser.query("select pg_terminate_backend($1, 5000)", [pid]);
      await work;
      const { rows } = await superuser.query("select count(*)::int from audit.search_index");
      expect(rows).toEqual([{ count: 0 }]);
    }
    expect(killed).toBe(8);
    await index(20_000);
    await expectIndexed();
  });

  test("searches stay right while the index is emptied and filled", async () => {
    const readers = await db.connectAll(2);
    const present = await snapshot("-created_at", "action = 'api_key.added'");
    let reading = true;
    const rebuild = (async () => {
      while (reading) {
        await superuser.query("select audit.rebuild_search_index()");
        for (let n = 0; n < 4; n++) await index(300);
      }
    })();
    await Promise.all(readers.map(async (reader) => {
      for (let n = 0; n < 10; n++) {
        expect(await walk(reader, { sort: "-created_at", limit: 40, query: "action:api_key.added" })).toEqual(present);
      }
    })).finally(() => {
      reading = false;
    });
    await rebuild;
    await Promise.all(readers.map((reader) => reader.end()));
  });

  test("and every chain verifies", () => expectVerified(client));

  test("whoever deletes entries that are not indexed yet keeps no others out of the index", async () => {
    await index(20_000);
    await superuser.query("select count(audit.record($1, 'word.gone')) from generate_series(1, 5)", [ORGANIZATIONS[0]]);
    const other = await db.connect();
    await other.query("select audit.record($1, 'word.kept')", [ORGANIZATIONS[0]]);
    const vandal = await db.connect(ADMIN);
    await vandal.query("set session_replication_role = replica");
    await vandal.query("alter table public.audit_logs disable trigger user");
    await vandal.query("delete from public.audit_logs where action = 'word.gone'");
    const indexed: number[] = [];
    for (let run = 0; run < 3; run++) {
      const { rows: [{ entries }] } = await superuser.query("select audit.index_entries(3) as entries");
      indexed.push(entries);
    }
    expect(indexed).toEqual([0, 1, 0]);
  });

  test("of what waits, a run takes 10,000, or a tenth, never more than 30,000", async () => {
    await index(20_000);
    // Chains whose entries are all gone show how far a run reaches.
    const reached: number[] = [];
    for (const [chain, waiting] of [[900_001, 50_000], [900_002, 160_000], [900_003, 1_000_000]]) {
      await superuser.query(
        `insert into audit.heads (organization_id, chain, seq, last_at, prev_hash, hash)
         select $1, $2, $3, clock_timestamp(), sha256('before'), sha256('last')`,
        [ORGANIZATIONS[1], chain, waiting],
      );
      const { rows: [{ entries }] } = await superuser.query("select audit.index_entries() as entries");
      expect(entries).toBe(0);
      const { rows: [{ seq }] } = await superuser.query(
        "select sum(seq) as seq from audit.search_positions where chain > 900000",
      );
      reached.push(Number(seq));
    }
    // Of 50,000; of 40,000 and 160,000; of 180,000 and 1,000,000.
    expect(reached).toEqual([10_000, 30_000, 60_000]);
  });
});
