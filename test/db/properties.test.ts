// Generated tables with generated rows and changes: the log holds exactly what a simple model of the table says.
import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import type pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { entries, expectVerified } from "../support/log.ts";

/** Two halves at the same time, for two cores. GENERATED_TABLES asks for more than a quick run has: .ci/run for 1,000. */
const CASES = Number(process.env.GENERATED_TABLES ?? 300) / 2;
const ACTOR = "a11ce000-0000-4000-8000-000000000001";

let db: TestDatabase;
beforeAll(async () => {
  db = await createDatabase("product");
});
afterAll(() => db.drop());

// ---------------------------------------------------------------------------------------------- values

type Json = null | boolean | number | string | Json[] | { [key: string]: Json };
/** What a column holds: the text or array that is sent to the server, and what the log should say of it. */
type Value = { sent: unknown; logged: Json; equals: unknown } | null;

const value = (sent: unknown, logged: Json, equals: unknown = logged) => ({ sent, logged, equals });
const unicode = (maxLength: number) => fc.string({ unit: "binary", maxLength }).filter((text) => !text.includes("\0")); // no text type holds it
const instants = fc.date({ min: new Date("0001-01-01Z"), max: new Date("9999-12-31Z"), noInvalidDate: true });

/** ISO 8601 as Postgres writes it: no zeros at the end of the fraction. */
const iso = (date: Date) => date.toISOString().replace(/\.?0*Z$/, "");

/** Column types with what may stand in them. */
const TYPES: Record<string, fc.Arbitrary<Exclude<Value, null>>> = {
  "text": unicode(30).map((text) => value(text, text)),
  "varchar(40)": unicode(20).map((text) => value(text, text)),
  "int": fc.integer().map((n) => value(n, n)),
  "smallint": fc.integer({ min: -32768, max: 32767 }).map((n) => value(n, n)),
  "bigint": fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((n) =>
    value(String(n), Number.isSafeInteger(Number(n)) ? Number(n) : String(n))
  ),
  "boolean": fc.boolean().map((yes) => value(yes, yes)),
  "uuid": fc.uuid().map((id) => value(id, id)),
  "float8": fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => value(String(n), n === 0 ? 0 : n)),
  "numeric": decimals(),
  "timestamptz": instants.map((date) => value(date.toISOString(), `${iso(date)}Z`)),
  "timestamp": instants.map((date) => value(iso(date), iso(date))),
  "date": instants.map((date) => value(iso(date).slice(0, 10), iso(date).slice(0, 10))),
  "jsonb": jsonValues().map((json) => value(JSON.stringify(json), json)),
  "json": jsonValues().map((json) => value(JSON.stringify(json), json, JSON.stringify(json))),
  "text[]": fc.array(unicode(8), { maxLength: 4 }).map((texts) => value(texts, texts)),
  "int[]": fc.array(fc.integer(), { maxLength: 4 }).map((list) => value(list, list)),
  // Bytes are logged by their size and digest.
  "bytea": fc.uint8Array({ maxLength: 30 }).map((bytes) => {
    const sha256 = createHash("sha256").update(bytes).digest("hex");
    return value(Buffer.from(bytes), { cut: { bytes: bytes.length, sha256 } });
  }),
};

function decimals() {
  return fc.tuple(fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }), fc.integer({ min: 0, max: 20 })).map(
    ([mantissa, scale]) => {
      const digits = String(mantissa < 0n ? -mantissa : mantissa).padStart(scale + 1, "0");
      const whole = digits.slice(0, digits.length - scale);
      const text = (mantissa < 0n ? "-" : "") + (scale === 0 ? whole : `${whole}.${digits.slice(-scale)}`);
      const size = Math.abs(Number(text));
      const exact = scale === 0 && BigInt(whole) <= 2n ** 53n - 1n || scale <= 6 && size < 1e9 ||
        scale <= 12 && size < 1e3;
      // 1.0 and 1.00 are the same number, so an update from one to the other changes nothing.
      return value(
        text,
        exact ? (Number(text) === 0 ? 0 : Number(text)) : text,
        String(mantissa * 10n ** BigInt(20 - scale)),
      );
    },
  );
}

function jsonValues(): fc.Arbitrary<Json> {
  const { tree } = fc.letrec<{ tree: Json }>((tie) => ({
    tree: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      fc.constant(null),
      fc.boolean(),
      fc.integer(),
      fc.double({ noNaN: true, noDefaultInfinity: true }).map((n) => n === 0 ? 0 : n),
      unicode(10),
      fc.array(tie("tree"), { maxLength: 3 }),
      fc.dictionary(unicode(6), tie("tree"), { maxKeys: 3, noNullPrototype: true }),
    ),
  }));
  return tree;
}

// ---------------------------------------------------------------------------------------------- tables and changes

type Column = { name: string; type: string; constraint: "" | "not null" };
type Row = { id: number; values: Value[] };
type Step =
  | { do: "insert"; rows: Row[] }
  | { do: "update"; ids: number[]; column: number; to: Value }
  | { do: "touch"; ids: number[] }
  | { do: "delete"; ids: number[] }
  | { do: "upsert"; rows: Row[] };
type Case = {
  table: string;
  columns: Column[];
  shape: "plain" | "partitioned" | "composite key";
  timeZone: string;
  steps: { step: Step; rolledBack: boolean }[];
};

/** Names of any characters; a prefix keeps them from meaning something to capture ("password", "status"). */
const names = (prefix: string) => unicode(12).map((text) => prefix + text);
const quote = (name: string) => `"${name.replaceAll('"', '""')}"`;

const cases: fc.Arbitrary<Case> = fc.uniqueArray(
  fc.record({
    name: names("v_"),
    type: fc.constantFrom(...Object.keys(TYPES)),
    constraint: fc.constantFrom<"" | "not null">("", "", "not null"),
  }),
  { minLength: 1, maxLength: 6, selector: ({ name }) => name },
).chain((columns) => {
  const valueOf = ({ type, constraint }: Column): fc.Arbitrary<Value> =>
    constraint === "not null" ? TYPES[type]! : fc.option(TYPES[type]!, { freq: 4 });
  const ids = fc.uniqueArray(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 6 });
  const rows = fc.uniqueArray(
    fc.record({ id: fc.integer({ min: 1, max: 6 }), values: fc.tuple(...columns.map(valueOf)) }),
    { minLength: 1, maxLength: 5, selector: ({ id }) => id },
  );
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 3, arbitrary: fc.record({ do: fc.constant("insert" as const), rows }) },
    {
      weight: 4,
      arbitrary: fc.nat(columns.length - 1).chain((column) =>
        fc.record({
          do: fc.constant("update" as const),
          ids,
          column: fc.constant(column),
          to: valueOf(columns[column]!),
        })
      ),
    },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("touch" as const), ids }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("delete" as const), ids }) },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("upsert" as const), rows }) },
  );
  return fc.record({
    table: names("t_"),
    columns: fc.constant(columns),
    shape: fc.constantFrom<Case["shape"]>("plain", "plain", "plain", "plain", "composite key", "partitioned"),
    timeZone: fc.constantFrom("UTC", "Asia/Kathmandu", "America/St_Johns", "Pacific/Kiritimati", "Europe/Dublin"),
    steps: fc.array(fc.record({ step, rolledBack: fc.nat(4).map((n) => n === 0) }), { minLength: 2, maxLength: 6 }),
  });
});

// ---------------------------------------------------------------------------------------------- the model

type Expected = { operation: "created" | "updated" | "deleted"; id: number; details: Json };

/** The table as a map from id to values; each step answers the entries that it should leave. */
function applyStep(rows: Map<number, Value[]>, step: Step, columns: Column[]): Expected[] {
  const known = (values: Value[]): Json =>
    Object.fromEntries(columns.flatMap(({ name }, n) => values[n] ? [[name, values[n].logged]] : []));
  const insert = ({ id, values }: Row): Expected => {
    rows.set(id, values);
    return { operation: "created", id, details: { new: known(values) } };
  };
  const update = (id: number, to: Value[]): Expected[] => {
    const from = rows.get(id)!;
    rows.set(id, to);
    const changes = columns.flatMap(({ name }, n) =>
      isDeepStrictEqual(from[n]?.equals, to[n]?.equals)
        ? []
        : [[name, { old: from[n]?.logged ?? null, new: to[n]?.logged ?? null }]]
    );
    return changes.length === 0
      ? []
      : [{ operation: "updated", id, details: { changes: Object.fromEntries(changes) } }];
  };
  const present = (ids: number[]) => ids.filter((id) => rows.has(id));

  switch (step.do) {
    case "insert":
      // ON CONFLICT DO NOTHING: rows that are there already stay as they are.
      return step.rows.filter(({ id }) => !rows.has(id)).map(insert);
    case "update":
      return present(step.ids).flatMap((id) =>
        update(id, rows.get(id)!.map((value, n) => n === step.column ? step.to : value))
      );
    case "touch":
      return [];
    case "delete":
      return present(step.ids).map((id) => {
        const details = { old: known(rows.get(id)!) };
        rows.delete(id);
        return { operation: "deleted", id, details };
      });
    case "upsert":
      return step.rows.flatMap((row) => rows.has(row.id) ? update(row.id, row.values) : [insert(row)]);
  }
}

// ---------------------------------------------------------------------------------------------- the table

async function createTable(
  client: pg.Client,
  schema: string,
  { table, columns, shape, timeZone }: Case,
): Promise<void> {
  const definitions = columns.map(({ name, type, constraint }) => `${quote(name)} ${type} ${constraint}`);
  const key = shape === "composite key" ? "id, part" : "id";
  const partition = (n: number) =>
    `create table ${schema}.p${n} partition of ${schema}.${quote(table)} for values with (modulus 2, remainder ${n});`;
  await client.query(`
    drop schema if exists ${schema} cascade;
    create schema ${schema};
    create table ${schema}.${quote(table)} (
      id int, part text not null default 'a,"b', organization_id uuid, ${definitions.join(", ")}, primary key (${key})
    ) ${shape === "partitioned" ? `partition by hash (id); ${partition(0)} ${partition(1)}` : ";"}
    set timezone = '${timeZone}'`);
  await client.query("select audit.track($1, $2)", [
    `${schema}.${quote(table)}`,
    JSON.stringify({ resource: "odd", ...(shape === "composite key" ? {} : { ignore: ["part"] }) }),
  ]);
}

async function runStep(
  client: pg.Client,
  target: string,
  { columns, shape }: Case,
  organization: string,
  step: Step,
): Promise<void> {
  const list = columns.map(({ name }) => quote(name));
  const sent = (value: Value) => value === null ? null : value.sent;
  if (step.do === "insert" || step.do === "upsert") {
    const parameters: unknown[] = [organization];
    const tuples = step.rows.map(({ id, values }) =>
      `(${id}, $1, ${values.map((value) => `$${parameters.push(sent(value))}`).join(", ")})`
    );
    const conflict = step.do === "insert"
      ? "do nothing"
      : `(id${shape === "composite key" ? ", part" : ""}) do update set ${
        list.map((name) => `${name} = excluded.${name}`).join(", ")
      }`;
    await client.query(
      `insert into ${target} (id, organization_id, ${list.join(", ")}) values ${
        tuples.join(", ")
      } on conflict ${conflict}`,
      parameters,
    );
  } else if (step.do === "update") {
    await client.query(`update ${target} set ${list[step.column]} = $1 where id = any ($2)`, [sent(step.to), step.ids]);
  } else if (step.do === "touch") {
    await client.query(`update ${target} set ${list[0]} = ${list[0]} where id = any ($1)`, [step.ids]);
  } else await client.query(`delete from ${target} where id = any ($1)`, [step.ids]);
}

// ---------------------------------------------------------------------------------------------- the property

async function expectLogged(client: pg.Client, schema: string, each: Case): Promise<void> {
  const organization = crypto.randomUUID();
  await createTable(client, schema, each);
  let rows = new Map<number, Value[]>();
  const expected: Expected[][] = [];
  for (const { step, rolledBack } of each.steps) {
    await client.query("begin");
    await runStep(client, `${schema}.${quote(each.table)}`, each, organization, step);
    await client.query(rolledBack ? "rollback" : "commit");
    const after = new Map(rows);
    const left = applyStep(after, step, each.columns);
    if (rolledBack) continue;
    rows = after;
    expected.push(left);
  }

  const log = await entries(client, "where organization_id = $1", [organization]);
  const resourceId = (id: number) => each.shape === "composite key" ? `${id},a,"b` : String(id);
  // Within a statement the server chooses the order of rows.
  const inOrder = <T extends { resource_id: string; action: string }>(list: T[]) =>
    list.sort((a, b) => a.resource_id < b.resource_id ? -1 : 1);
  for (const left of expected) {
    const written = log.splice(0, left.length).map(({ action, resource_id, created_by, details }) => ({
      action,
      resource_id: resource_id!,
      created_by,
      details,
    }));
    expect(inOrder(written)).toEqual(inOrder(left.map(({ operation, id, details }) => ({
      action: `odd.${operation}`,
      resource_id: resourceId(id),
      created_by: ACTOR,
      details,
    }))));
  }
  expect(log).toEqual([]);
  const { rows: chains } = await client.query("select status from audit.verify($1)", [organization]);
  expect(chains).toEqual(expected.flat().length === 0 ? [] : [{ status: "verified" }]);
}

test.concurrent.each(["odd_one", "odd_two"])(
  `${CASES} generated tables are logged as the model says (%s)`,
  async (schema) => {
    const client = await db.connect();
    await client.query("select set_config('request.jwt.claims', $1, false)", [JSON.stringify({ sub: ACTOR })]);
    await fc.assert(
      fc.asyncProperty(cases, async (each) => {
        try {
          await expectLogged(client, schema, each);
        } catch (error) {
          await client.query("rollback"); // the next case starts outside a transaction
          throw error;
        }
      }),
      // A failing case is made smaller for at most this long.
      { numRuns: CASES, interruptAfterTimeLimit: 500_000, markInterruptAsFailure: true },
    );
    await expectVerified(client);
  },
  600_000,
);
