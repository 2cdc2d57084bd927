// Whatever function the product has, each actor calls it: refused where it has no right to, else with hostile arguments.
// A call must not answer otherwise about Globex than about an organisation that does not exist, nor change anything of
// Globex's, nor end in an error of SQL that the argument made, nor show SQL. Found in the catalogue: new functions are
// attacked by themselves. The seed is printed; SEED=… attacks again in the same way.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { seededRandom } from "../../scripts/bench/random.ts";
import { expectVerified } from "../support/log.ts";
import { ACME, type Actor, ACTORS, GLOBEX, type TwoTenants, twoTenants } from "../support/two_tenants.ts";

const SEED = Number(process.env.SEED ?? 9);
/** Calls of a function by each actor, each once about Globex and once about nobody. */
const CALLS = { definer: 16, invoker: 4 };

type Routine = {
  signature: string;
  name: string;
  types: string[];
  definer: boolean;
  immutable: boolean;
  source: string;
  executes: Partial<Record<string, boolean>>;
};

/** Invoker's functions that run or say what they are given: it is the caller's own, with the caller's own rights. */
const CALLERS_OWN = ["audit.matching", "audit.sample_matching", "audit.costs_of", "audit.fail", "audit.fail_inside"];

/** They only say in another form what they are given, so they say something else of another id. */
const TRANSLATE = ["audit.make_cursor", "audit.compile_query", "audit.compile_leaf", "audit.compile_word"];

/**
 * What a stranger may do to an organisation: be refused, which is an entry of the organisation that was asked for, and
 * at most 20 an hour.
 */
const LEAVES_A_DENIAL = "audit.record_denial";

const NOBODY = "0e000000-0000-4000-8000-00000000000e";
const HOSTILE = [
  "' or '1'='1",
  "'; drop table public.audit_logs; --",
  '"; drop schema audit cascade; --',
  "$$; select 1; $$",
  "\\'; select pg_sleep(9); --",
  "%s %I %L {} * _",
  "1-1",
  "Case 1",
  "action:*",
  "../../etc/passwd",
  "x".repeat(100_000),
];

let tenants: TwoTenants;
let routines: Routine[];
let random: () => number;

beforeAll(async () => {
  tenants = await twoTenants();
  routines = await readRoutines();
});
afterAll(() => tenants?.end());

async function readRoutines(): Promise<Routine[]> {
  const { rows } = await tenants.admin.query<Routine>(
    `select p.oid::regprocedure::text as signature, p.oid::regproc::text as name, p.prosecdef as definer, p.provolatile = 'i' as immutable,
       p.prosrc as source,
       array(select format_type(t, null) from unnest(p.proargtypes) with ordinality a (t, n) order by n)::text[] as types,
       (select jsonb_object_agg(r, has_function_privilege(r, p.oid, 'execute'))
        from unnest(array['anon', 'authenticated', 'service_role']) r) as executes
     from pg_proc p
     where p.prokind = 'f' and p.prorettype not in ('trigger'::regtype, 'event_trigger'::regtype)
       and (p.pronamespace = 'audit'::regnamespace or p.pronamespace = 'public'::regnamespace and p.proname ~ 'audit')
     order by 1`,
  );
  return rows;
}

const pick = <T>(values: readonly T[]): T => values[Math.floor(random() * values.length)]!;

/** An argument as SQL. `%ID%…` stand for Globex's: once they are themselves, once nobody's. */
async function argument(type: string, source: string): Promise<string> {
  const array = /^(.*)\[\]$/.exec(type)?.[1];
  if (array !== undefined) {
    return random() < 0.2 ? `'{}'::${type}` : `array[${await argument(array, source)}]::${type}`;
  }
  const value = await scalar(type, source);
  return value === null ? `null::${type}` : `${quote(value)}::${type}`;
}

const quote = (text: string) => `E'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
const someoneElses = () => pick(["%ORGANIZATION%", "%ORGANIZATION%", "%ID%"]);

async function scalar(type: string, source: string): Promise<string | null> {
  switch (type) {
    case "uuid":
      return pick([someoneElses(), someoneElses(), someoneElses(), ACME, "00000000-0000-0000-0000-000000000000", null]);
    case "text":
      return pick([someoneElses(), ...HOSTILE, null]);
    case "integer":
    case "smallint":
    case "bigint":
      return pick(["0", "1", "2", "-1", type === "smallint" ? "32767" : pick([...tenants.chains, "2147483647"]), null]);
    case "boolean":
      return pick(["true", "false"]);
    case "json":
    case "jsonb":
      return JSON.stringify(document(source));
    case "bytea":
      return pick(["\\x", "\\x00ff", "\\x" + "ab".repeat(1000)]);
    case "numeric":
    case "double precision":
      return pick(["0", "-1", "NaN", "1e30"]);
    case "interval":
      return pick(["1 day", "-1 day", "1000000 years"]);
    case "regclass":
      return pick(["public.audit_logs", "audit.heads", "pg_authid"]);
    case "oid":
      return "1260";
    default:
      if (/^(timestamp|date)/.test(type)) {
        return pick(["2026-01-01", "infinity", "-infinity", "0001-01-01 BC", null]);
      }
      return await row(type, source);
  }
}

/** The fields that the function's text names, each with something of Globex's or something hostile. */
function document(source: string): unknown {
  if (random() < 0.1) return pick<unknown>([null, [], "x", 1, {}, [[]], { "'": "'" }]);
  const fields = new Set(
    [...source.matchAll(/(?:->>?|\?) '(\w+)'|array\[((?:'\w+'(?:, )?)+)\]/g)]
      .flatMap(([, field, list]) => field === undefined ? list!.match(/\w+/g)! : [field]),
  );
  const usual: Record<string, unknown[]> = {
    organization_id: ["%ORGANIZATION%", "%ORGANIZATION%", ACME],
    format: ["csv"],
    template: ["costs", "soc2", "subject_access"],
    kind: ["event", "webhook", "anomaly"],
    do: ["acknowledge", "resolve", "reopen"],
    name: ["1-1", "Case 1"],
    query: ["*", "action:*", "organization:%ORGANIZATION%"],
    match: ["action:*"],
    url: ["https://x.example.com/"],
    cron: ["0 6 1 * *"],
    limit: [1, 1000],
  };
  return Object.fromEntries(
    [...fields].filter(() => random() < 0.7).map((field) => {
      if (random() < 0.7 && usual[field] !== undefined) return [field, pick(usual[field]!)];
      return [field, pick<unknown>(["%ID%", "%ID%", "%ID%", "%ORGANIZATION%", ...HOSTILE, null, -1, [], {}, true])];
    }),
  );
}

type Column = { name: string; type: string };
const columns = new Map<string, Column[]>();

async function columnsOf(type: string): Promise<Column[]> {
  if (!columns.has(type)) {
    const { rows } = await tenants.admin.query<Column>(
      `select a.attname as name, format_type(a.atttypid, null) as type
       from pg_attribute a join pg_type t on t.typrelid = a.attrelid
       where t.oid = $1::regtype and a.attnum > 0 and not a.attisdropped`,
      [type],
    );
    columns.set(type, rows);
  }
  return columns.get(type)!;
}

/** A row made up by the caller, of a table or type of the product. */
async function row(type: string, source: string): Promise<string | null> {
  const rows = await columnsOf(type);
  if (rows.length === 0) return null;
  const made: Record<string, unknown> = {};
  for (const column of rows) {
    if (column.name === "organization_id") made[column.name] = "%ORGANIZATION%";
    else if (column.type === "uuid") made[column.name] = "%ID%";
    else if (/json/.test(column.type)) made[column.name] = document(source);
    else if (!/\[\]$|\./.test(column.type)) made[column.name] = await scalar(column.type, source);
  }
  const { rows: [{ literal }] } = await tenants.admin.query(
    `select jsonb_populate_record(null::${type}, $1::jsonb)::text as literal`,
    [
      JSON.stringify(made).replaceAll("%ORGANIZATION%", "11111111-1111-4111-8111-111111111111").replaceAll(
        "%ID%",
        "22222222-2222-4222-8222-222222222222",
      ),
    ],
  );
  return (literal as string | null)?.replaceAll("11111111-1111-4111-8111-111111111111", "%ORGANIZATION%").replaceAll(
    "22222222-2222-4222-8222-222222222222",
    "%ID%",
  ) ?? null;
}

type Outcome = { said: string; code: string | undefined; error: string; touched: string[] };

/** Calls in a transaction that is rolled back; `touched` are the tables in which anything of Globex's changed. */
async function call(actor: Actor, statement: string): Promise<Outcome> {
  const { admin, become } = tenants;
  await admin.query("begin; set local statement_timeout = '10s'");
  try {
    await become(admin, actor);
    const { rows } = await admin.query({ text: statement, rowMode: "array" });
    await admin.query("reset role");
    const { rows: written } = await admin.query<{ name: string }>(
      `select relid::regclass::text as name from pg_stat_xact_user_tables
       where n_tup_ins + n_tup_upd + n_tup_del > 0 and schemaname <> 'pg_toast' order by 1`,
    );
    const touched: string[] = [];
    for (const { name } of written) if (await print(name) !== fingerprints.get(name)) touched.push(name);
    return { said: JSON.stringify(rows), code: undefined, error: "", touched };
  } catch (error) {
    const { code, message, detail = "", hint = "" } = error as Record<string, string | undefined>;
    return { said: "", code, error: [message, detail, hint].join("\n"), touched: [] };
  } finally {
    await admin.query("rollback");
  }
}

const fingerprints = new Map<string, string>();

/** Of Globex's rows; of all where a table has no organisation. */
async function print(table: string): Promise<string> {
  const { rows: [{ own }] } = await tenants.admin.query(
    "select exists (select from pg_attribute where attrelid = $1::regclass and attname = 'organization_id') as own",
    [table],
  );
  const { rows: [{ print }] } = await tenants.admin.query(
    `select coalesce(md5(string_agg(t::text, '|' order by t::text)), '') as print from ${table} t` +
      (own ? ` where organization_id = '${GLOBEX}'` : ""),
  );
  return print as string;
}

beforeAll(async () => {
  const { rows } = await tenants.admin.query<{ name: string }>(
    `select c.oid::regclass::text as name from pg_class c
     where c.relkind in ('r', 'p') and c.relnamespace in (select oid from pg_namespace where nspname in ('audit', 'public', 'vault', 'net', 'cron', 'auth', 'storage'))`,
  );
  for (const { name } of rows) fingerprints.set(name, await print(name));
});

/** Tables without an organisation that a signed-in person's call may write: what is about themselves, or their own. */
const OWN_WITHOUT_ORGANIZATION = ["audit.denials", "audit.client_rates", "audit.export_parts", "vault.secrets"];

/** What is wrong with an attack of a signed-in person; nothing where it found nothing. */
async function attack(actor: Actor, { name, types, source, immutable }: Routine): Promise<string[]> {
  const args: string[] = [];
  for (const type of types) args.push(await argument(type, source));
  const statement = (organization: string, id: string) =>
    `select * from ${name}(${args.join(", ")}) as answer`.replaceAll("%ORGANIZATION%", organization)
      .replaceAll("%ID%", id);
  const id = pick(tenants.ids);
  const theirs = await call(actor, statement(GLOBEX, id));
  const nobodys = await call(actor, statement(NOBODY, NOBODY));
  const plain = ({ said, code, error }: Outcome) =>
    [said, code, error].join(" ").replaceAll(GLOBEX, NOBODY).replaceAll(id, NOBODY)
      .replace(/\d{4}-\d\d-\d\d[T ][\d:.]+(Z|\+00(:00)?)?/g, "<time>").replace(/\\x[0-9a-f]+/g, "<bytes>")
      .replace(/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "<id>");
  const wrong: string[] = [];
  if (theirs.said.includes(tenants.canary) || theirs.error.includes(tenants.canary)) wrong.push("shows the canary");
  // That an id which nobody can guess exists may be told by how it is refused.
  const bothRefused = [theirs, nobodys].every(({ code }) => code === "AUDEN" || code === "AUNOT");
  if (
    plain(theirs) !== plain(nobodys) && !bothRefused && !immutable && ![...CALLERS_OWN, ...TRANSLATE].includes(name)
  ) {
    wrong.push(`answers ${plain(theirs).slice(0, 300)} and for nobody ${plain(nobodys).slice(0, 300)}`);
  }
  const written = theirs.touched.filter((table) => !OWN_WITHOUT_ORGANIZATION.includes(table));
  if (written.length > 0 && name !== LEAVES_A_DENIAL) wrong.push(`writes ${written}`);
  wrong.push(...badError(theirs, name));
  return wrong.map((what) => `${actor}: ${what}: ${statement(GLOBEX, id).slice(0, 600)}`);
}

/** An error that the arguments made of our SQL, that shows it, or that is none of ours to expect. */
function badError({ code, error }: Outcome, name: string): string[] {
  if (code === undefined || CALLERS_OWN.includes(name)) return [];
  const shown = `${code} ${error.slice(0, 200)}`;
  const wrong: string[] = [];
  if ((/^42/.test(code) && code !== "42501") || /^XX/.test(code)) wrong.push(`fails with ${shown}`);
  // What was said to it may be quoted.
  const own = HOSTILE.reduce((text, said) => text.replaceAll(said, ""), error);
  if (/\bselect\b.+\bfrom\b|\binsert into\b|\bPL\/pgSQL\b/is.test(own)) wrong.push(`shows SQL: ${shown}`);
  if (code === "57014") wrong.push("takes for ever");
  return wrong;
}

describe.each(ACTORS)("%s", (actor) => {
  test("calls no function without the right to", async () => {
    const { admin } = tenants;
    const role = actor === "login" ? "anon" : actor === "anon" || actor === "service_role" ? actor : "authenticated";
    const allowed: string[] = [];
    for (const { name, types, executes, signature } of routines) {
      if (executes[role]) continue;
      await admin.query("begin");
      await tenants.become(admin, actor);
      // Of what is null on its face the planner says null, where a function is strict, and asks nobody.
      const given = types.map((type, n) => `null::${type} as a${n}`).join(", ");
      const answer = await admin.query(
        `select ${name}(${types.map((_, n) => `g.a${n}`).join(", ")}) from (select ${given} offset 0) g`,
      )
        .then(() => "done", (error: { code: string }) => error.code);
      await admin.query("rollback");
      if (answer !== "42501") allowed.push(`${signature}: ${answer}`);
    }
    expect(allowed).toEqual([]);
  }, 120_000);
});

test.each(["outsider", "admin", "member", "viewer", "auditor", "expired_auditor"] as Actor[])(
  `%s attacks what signed-in people may call (seed ${SEED})`,
  async (actor) => {
    random = seededRandom(SEED);
    const wrong = new Map<string, string>();
    let calls = 0;
    for (const routine of routines.filter(({ executes }) => executes.authenticated)) {
      for (let n = 0; n < (routine.definer ? CALLS.definer : CALLS.invoker); n++) {
        calls++;
        for (const what of await attack(actor, routine)) {
          if (!wrong.has(routine.signature)) wrong.set(routine.signature, what);
        }
      }
    }
    expect([...wrong.values()]).toEqual([]);
    expect(calls).toBeGreaterThan(1000);
  },
  300_000,
);

test(`service_role changes no entry that is there, whatever it calls (seed ${SEED})`, async () => {
  random = seededRandom(SEED);
  const wrong: string[] = [];
  const { admin, become } = tenants;
  const { rows: [{ now }] } = await admin.query("select clock_timestamp()::text as now");
  const entries = async () =>
    (await admin.query(
      `select md5(string_agg(a::text, '|' order by organization_id, chain, seq)) as print
       from public.audit_logs a where created_at < $1`,
      [now],
    )).rows[0].print;
  const before = await entries();
  for (const { name, types, source } of routines.filter(({ executes }) => executes.service_role)) {
    for (let n = 0; n < CALLS.invoker; n++) {
      const args: string[] = [];
      for (const type of types) args.push(await argument(type, source));
      const statement = `select * from ${name}(${args.join(", ")}) as answer`.replaceAll("%ORGANIZATION%", GLOBEX)
        .replaceAll("%ID%", pick(tenants.ids));
      const outcome: Outcome = { said: "", code: undefined, error: "", touched: [] };
      await admin.query("begin; set local statement_timeout = '10s'");
      try {
        await become(admin, "service_role");
        await admin.query(statement);
        await admin.query("reset role");
        if (await entries() !== before) wrong.push(`changes entries: ${statement.slice(0, 300)}`);
      } catch (error) {
        const { code, message, detail = "", hint = "" } = error as Record<string, string>;
        Object.assign(outcome, { code, error: [message, detail, hint].join("\n") });
      }
      await admin.query("rollback");
      // The backend is trusted not to ask for two thousand million hashes.
      if (outcome.code === "57014") continue;
      wrong.push(...badError(outcome, name).map((what) => `${what}: ${statement.slice(0, 300)}`));
    }
  }
  expect(wrong).toEqual([]);
  await expectVerified(tenants.project.client);
}, 300_000);

describe("the attacks would find", () => {
  test.each([
    ["a leak", "select max(name) from audit.channels where organization_id = o", /canary/],
    ["a count", "select count(*)::text from audit.channels where organization_id = o", /for nobody/],
    ["an injection", "execute format('select %s::text', t) into strict r; return r", /42601|42703/],
    ["a change", "delete from audit.alerts where organization_id = o returning ''", /writes audit.alerts/],
  ])("%s", async (_, body, expected) => {
    const { admin } = tenants;
    await admin.query(
      /^execute/.test(body)
        ? `create function audit.hole(o uuid, t text) returns text language plpgsql security definer as $$ declare r text; begin ${body}; end $$`
        : `create function audit.hole(o uuid, t text) returns text language sql security definer as $$ ${body} $$`,
    );
    await admin.query(
      "alter function audit.hole owner to postgres; grant execute on function audit.hole to authenticated",
    );
    try {
      const hole = (await readRoutines()).find(({ name }) => name === "audit.hole")!;
      random = seededRandom(SEED);
      const found: string[] = [];
      for (let n = 0; n < CALLS.definer; n++) found.push(...await attack("viewer", hole));
      expect(found.join("\n")).toMatch(expected);
    } finally {
      await admin.query("drop function audit.hole");
    }
  });
});
