// A generated log and what a search of it should find: the query language's meaning in TypeScript, written from its
// description and not from the SQL, over rows that a superuser read.
import fc from "fast-check";
import type pg from "pg";

// ---------------------------------------------------------------------------------------------- people

export const ORGANIZATIONS = ["0a", "0b", "0c"].map((start) => `${start}000000-0000-4000-8000-000000000001`);
const [ACME, GLOBEX] = ORGANIZATIONS as [string, string, string];

const person = (digit: number): string => `${String(digit).repeat(8)}-0000-4000-8000-00000000000${digit}`;

/** How much of an organisation's log and of its identities somebody sees. */
export type Access = { entries: "all" | "own"; identities: "all" | "own" | "none" };
export type Reader = { name: string; role: string; sub?: string; access: (organization: string) => Access | undefined };

const ADMIN: Access = { entries: "all", identities: "all" };
const MEMBER: Access = { entries: "own", identities: "own" };
const at = (places: Record<string, Access>) => (organization: string) => places[organization];

export const READERS: Reader[] = [
  { name: "admin", sub: person(1), access: at({ [ACME]: ADMIN }) },
  { name: "member", sub: person(2), access: at({ [ACME]: MEMBER }) },
  { name: "viewer", sub: person(3), access: at({}) },
  { name: "auditor", sub: person(4), access: at({ [ACME]: { entries: "all", identities: "none" } }) },
  { name: "seeing auditor", sub: person(5), access: at({ [ACME]: ADMIN }) },
  { name: "expired auditor", sub: person(6), access: at({}) },
  { name: "stranger", sub: person(7), access: at({}) },
  { name: "member of one, admin of another", sub: person(8), access: at({ [ACME]: MEMBER, [GLOBEX]: ADMIN }) },
  // The grant wins for entries; of identities a member still sees the own.
  { name: "auditing member", sub: person(9), access: at({ [GLOBEX]: { entries: "all", identities: "own" } }) },
].map((reader) => ({ ...reader, role: "authenticated" }));
READERS.push({ name: "service", role: "service_role", access: () => ADMIN }, {
  name: "owner",
  role: "none",
  access: () => ADMIN,
});

export async function createPeople(client: pg.Client): Promise<void> {
  await client.query("insert into public.organizations (id) select unnest($1::uuid[])", [ORGANIZATIONS]);
  const member = (organization: string, digit: number, role: string) => [organization, person(digit), role];
  for (
    const values of [
      member(ACME, 1, "admin"),
      member(ACME, 2, "member"),
      member(ACME, 3, "viewer"),
      member(ACME, 8, "member"),
      member(GLOBEX, 8, "admin"),
      member(GLOBEX, 9, "member"),
    ]
  ) {
    await client.query(
      "insert into public.organization_members (organization_id, user_id, role) values ($1, $2, $3)",
      values,
    );
  }
  await client.query(
    `insert into audit.auditors (organization_id, user_id, expires_at, sees_identities) values
       ($1, $3, now() + interval '1 day', false), ($1, $4, now() + interval '1 day', true),
       ($1, $5, now() - interval '1 second', true), ($2, $6, now() + interval '1 day', false)`,
    [ACME, GLOBEX, person(4), person(5), person(6), person(9)],
  );
}

/**
 * Becomes a reader for the rest of the transaction, as PostgREST would. Without an e-mail address: the entry that each
 * search leaves would make it known, and the next search of addresses would rightly find more.
 */
export async function actAs(client: pg.Client, { role, sub }: Reader): Promise<void> {
  const claims = role === "none" ? "" : JSON.stringify({ role, sub });
  await client.query("select set_config('request.jwt.claims', $1, true), set_config('role', $2, true)", [claims, role]);
}

// ---------------------------------------------------------------------------------------------- entries

/** Personal data of an actor; `identity` of a draft is an index into the list of them. */
type Identity = {
  organization: number;
  user_id: string | null;
  email: string | null;
  ip_address: string | null;
  user_agent: string | null;
};

type Draft = {
  organization: number;
  chain: number;
  /** Microseconds after the entry before. */
  gap: number;
  action: string;
  outcome: string;
  resource_type: string | null;
  resource_id: string | null;
  created_by: string | null;
  actor_type: string;
  identity: number | null;
  provider: string | null;
  cost: string | null;
  request_id: string | null;
  /** JSON text, for numbers that JavaScript cannot write. */
  details: string;
};

export type Row = {
  organization_id: string;
  chain: number;
  seq: string;
  /** Microseconds since 1970. */
  at: bigint;
  action: string;
  outcome: string;
  resource_type: string | null;
  resource_id: string | null;
  created_by: string | null;
  actor_type: string;
  identity_hash: string | null;
  provider: string | null;
  cost: string | null;
  request_id: string | null;
  details: Json;
  user_id: string | null;
  email: string | null;
  ip_address: string | null;
  user_agent: string | null;
  /** As the API should show it to one who sees identities. */
  shown: Record<string, unknown>;
  /** The words of its text, in order, each between spaces. */
  words: string;
};

const TEXTS = [
  "quarterly report",
  "Quarterly-Report 2026",
  "ÉCOLE Ünïcode straße",
  "отчёт за квартал",
  "四半期 レポート",
  "تقرير ربع سنوي",
  `she said "no"`,
  String.raw`C:\temp\new \u0041 \n`,
  "line one\nline two\ttab",
  "semi;colon's -- '; drop table x; $$ $1 %s %L",
  "100%_done*",
  "",
  "-",
  "🦕 emoji",
  "1000",
  "1000.0",
  "-5",
  "1e3",
  "true",
  "null",
  "2026-01-15T10:00:00Z",
  "a.b@example.com",
  "abcdef12-3456-4890-abcd-ef1234567890",
  "key-abcdef12-3456-4890-abcd-ef1234567890",
  "exactly-thirty-six-characters-long-x",
  "\u0001control\u007f",
  "ǅungla İstanbul",
  "x",
  "=1+1",
  "+1",
  "@home",
  "'quoted",
  'comma, quote" and\r\nreturn',
];
const NUMBERS = [
  ...["0", "1", "-5", "3.50", "1000", "1000.0", "12345678901234567890123", "1e30", "0.000001", "-0.5"],
  // Beside powers of two, near zero, and beyond what a double holds.
  ...["59999.5", "65535.99", "65536", "-65536", "0.0000000000000000001", "-0.0000000000000000002", "-1e30", "1e400"],
];
/** Of every size, with either sign. */
const number = fc.tuple(fc.integer({ min: -99_999, max: 99_999 }), fc.integer({ min: -4, max: 8 }))
  .map(([digits, zeros]) => (digits * 10 ** zeros).toFixed(Math.max(0, -zeros)));
const KEYS = ["limit", "name", "a b", "ключ", `q"uote`, "x-y", "back\\slash", "tags", "*", "new", "1", "$x", "deep"];
const USERS = [...READERS.flatMap(({ sub }) => sub ?? []), "abcdef12-3456-4890-abcd-ef1234567890"];

const text = fc.oneof(
  { weight: 6, arbitrary: fc.constantFrom(...TEXTS) },
  { weight: 1, arbitrary: fc.string({ unit: "grapheme-ascii", maxLength: 20 }) },
  { weight: 1, arbitrary: fc.array(fc.constantFrom(...TEXTS), { maxLength: 3 }).map((list) => list.join(" ")) },
);
const nullable = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { freq: 4 });

const { json } = fc.letrec<{ json: string }>((tie) => ({
  json: fc.oneof(
    { maxDepth: 3, withCrossShrink: true },
    { weight: 4, arbitrary: text.map((each) => JSON.stringify(each)) },
    { weight: 2, arbitrary: fc.constantFrom(...NUMBERS) },
    { weight: 2, arbitrary: number },
    { weight: 1, arbitrary: fc.constantFrom("true", "false", "null") },
    { weight: 2, arbitrary: fc.array(tie("json"), { maxLength: 3 }).map((list) => `[${list.join(",")}]`) },
    { weight: 3, arbitrary: members(tie("json")) },
  ),
}));

function members(value: fc.Arbitrary<string>): fc.Arbitrary<string> {
  return fc.uniqueArray(fc.tuple(fc.constantFrom(...KEYS), value), { maxLength: 3, selector: ([key]) => key })
    .map((list) => `{${list.map(([key, each]) => `${JSON.stringify(key)}:${each}`).join(",")}}`);
}

const details = fc.oneof(
  fc.constant("{}"),
  members(json),
  members(json).map((each) => `{"new":${each}}`),
  members(json).map((each) => `{"old":${each}}`),
  fc.tuple(fc.constantFrom(...KEYS), json, json).map(([key, before, after]) =>
    `{"changes":{${JSON.stringify(key)}:{"old":${before},"new":${after}}}}`
  ),
);

const identity: fc.Arbitrary<Identity> = fc.record({
  organization: fc.nat(2),
  user_id: nullable(fc.constantFrom(...USERS)),
  email: nullable(fc.constantFrom("a.b@example.com", "Ada@Example.com", "o'hara@x.io", "50%_off@x.io", "ü@x.io")),
  ip_address: nullable(fc.constantFrom("203.0.113.7", "203.0.113.70", "2001:db8::1")),
  user_agent: nullable(fc.constantFrom("curl/8.5", `Mozilla/5.0 ("odd"; \\x)`, "CURL")),
});

const draft: fc.Arbitrary<Draft> = fc.record({
  organization: fc.constantFrom(0, 0, 0, 1, 1, 2),
  // None that a connection of the test may write: slots are small numbers.
  chain: fc.constantFrom(1001, 1001, 1002, 1003, 1040),
  gap: fc.constantFrom(0, 0, 0, 1, 1, 1000, 3_600_000_000, 86_400_000_000, 86_400_000_000 * 5),
  action: fc.constantFrom(
    "api_key.added",
    "api_key.deleted",
    "budget.changed",
    "query.executed",
    "a.b.c",
    "log.searched",
  ),
  outcome: fc.constantFrom("success", "success", "failure", "denied"),
  resource_type: nullable(fc.constantFrom("api_key", "budget", "query", "odd/type", "Типъ")),
  resource_id: nullable(fc.oneof(fc.constantFrom(...USERS, "two words", "a-b-c", "1", "50%"), text)),
  created_by: nullable(fc.constantFrom(...USERS)),
  actor_type: fc.constantFrom("user", "user", "api_key", "service", "database", "system"),
  identity: nullable(fc.nat(39)),
  provider: nullable(fc.constantFrom("openai", "anthropic", "OpenAI", "open ai", "open_ai")),
  cost: nullable(
    fc.constantFrom(
      "0",
      "-1.5",
      "0.10",
      "0.1",
      "1",
      "2",
      "1000000000000000000000",
      "0.000000000000000001",
      "0.5",
      "NaN",
    ),
  ),
  request_id: nullable(fc.constantFrom("req-1", "req-2", "REQ 1", "abcdef12-3456-4890-abcd-ef1234567890")),
  details,
});

/** Writes so many entries of three organisations, over the year before now, into chains that verify. */
export async function writeEntries(superuser: pg.Client, count: number, seed: number): Promise<void> {
  const identities = fc.sample(identity, { numRuns: 40, seed });
  const drafts = fc.sample(draft, { numRuns: count, seed });
  const total = drafts.reduce((sum, { gap }) => sum + gap, 0);
  let at = BigInt(Date.now()) * 1000n - BigInt(total) - 60_000_000n;
  const positions = new Map<string, number>();
  const rows = drafts.map(({ gap, organization, ...rest }) => {
    at += BigInt(gap);
    const name = `${organization} ${rest.chain}`;
    positions.set(name, (positions.get(name) ?? 0) + 1);
    // Its own organisation's identities only.
    const who = rest.identity !== null && identities[rest.identity]!.organization === organization
      ? rest.identity
      : null;
    return {
      ...rest,
      organization_id: ORGANIZATIONS[organization],
      at: String(at),
      seq: positions.get(name),
      identity: who,
      details: rest.details.replaceAll("\\u0000", ""),
    };
  });
  const people = identities.map(({ organization, ...rest }, n) => ({
    n,
    organization_id: ORGANIZATIONS[organization],
    ...rest,
  }));
  await superuser.query(
    `with person as (
       select p.*, audit.random_salt() as salt
       from json_to_recordset($2) p (n int, organization_id uuid, user_id uuid, email text, ip_address text, user_agent text)
     ),
     hashed as materialized (
       select p.*, sha256('\\x02'::bytea || p.salt || convert_to(
         audit.identity_text(p.organization_id, p.user_id, p.email, p.ip_address, p.user_agent), 'UTF8')) as hash
       from person p
     ),
     known as (
       insert into audit.identities (organization_id, user_id, email, ip_address, user_agent, salt, identity_hash, lookup)
       select organization_id, user_id, email, ip_address, user_agent, salt, hash, '' from hashed
     ),
     entry as (
       select r.*, h.hash as identity_hash, timestamptz 'epoch' + r.at * interval '1 microsecond' as created_at,
         audit.first_prev_hash(r.organization_id, r.chain) as first_prev
       from json_to_recordset($1) r (
         organization_id uuid, chain int, seq bigint, at bigint, action text, outcome text, resource_type text,
         resource_id text, created_by uuid, actor_type text, identity int, provider text, cost numeric, request_id text,
         details text
       )
       left join hashed h on h.n = r.identity
     ),
     linked as materialized (
       select e.*, audit.chained(e.first_prev, convert_to(audit.entry_text(
         e.organization_id, e.chain, e.seq, e.created_at, e.action, e.outcome, e.resource_type, e.resource_id,
         e.created_by, e.actor_type, e.identity_hash, e.provider, e.cost, e.request_id, e.details::jsonb, null), 'UTF8')
       ) over (partition by e.organization_id, e.chain order by e.seq) as hashes
       from entry e
     ),
     head as (
       insert into audit.heads (organization_id, chain, seq, last_at, prev_hash, hash)
       select distinct on (organization_id, chain) organization_id, chain, seq, created_at,
         substring(hashes from 1 for 32), substring(hashes from 33)
       from linked order by organization_id, chain, seq desc
     )
     insert into public.audit_logs
     select organization_id, chain, seq, created_at, action, outcome, resource_type, resource_id, created_by, actor_type,
       identity_hash, provider, cost, request_id, details::jsonb, substring(hashes from 1 for 32), substring(hashes from 33)
     from linked`,
    [JSON.stringify(rows), JSON.stringify(people)],
  );
}

export async function readRows(superuser: pg.Client): Promise<Row[]> {
  const { rows } = await superuser.query(
    `select a.organization_id, a.chain, a.seq, (extract(epoch from a.created_at) * 1000000)::bigint as at,
       to_char(a.created_at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') as created_at, a.action, a.outcome,
       a.resource_type, a.resource_id, a.created_by, a.actor_type, encode(a.identity_hash, 'hex') as identity_hash,
       a.provider, a.cost::text, a.request_id, a.details, a.details::text as details_text,
       encode(a.prev_hash, 'hex') as prev_hash, encode(a.hash, 'hex') as hash, i.user_id, i.email, i.ip_address, i.user_agent
     from public.audit_logs a
     left join audit.identities i on i.identity_hash = a.identity_hash`,
  );
  return rows.map(({ at, created_at, details, details_text, prev_hash, hash, ...rest }) => {
    const exact = exactJson(details_text);
    const { identity_hash: _, user_id: __, ...columns } = rest;
    const content = [
      ...[
        "action",
        "outcome",
        "resource_type",
        "resource_id",
        "created_by",
        "actor_type",
        "provider",
        "cost",
        "request_id",
      ]
        .flatMap((column) => rest[column] ?? []),
      ...flat(exact),
    ].join(" ");
    return {
      ...rest,
      at: BigInt(at),
      details: exact,
      shown: {
        ...columns,
        name: `${rest.chain}-${rest.seq}`,
        seq: Number(rest.seq),
        created_at,
        details,
        prev_hash,
        hash,
      },
      words: ` ${searchWords(content).join(" ")} `,
    };
  });
}

// ---------------------------------------------------------------------------------------------- words

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;

/** The words of a text in lower case: runs of letters and digits of any script; a UUID is one word. */
export function searchWords(content: string): string[] {
  return content.toLowerCase().split(/[^\p{L}\p{Nd}-]+/u)
    .flatMap((token) => UUID.test(token) ? [token] : token.split("-"))
    .filter((word) => word !== "");
}

// ---------------------------------------------------------------------------------------------- JSON with exact numbers

export type Json = null | boolean | string | { number: string } | Json[] | Map<string, Json>;

/** Parses JSON without passing its numbers through doubles. */
export function exactJson(source: string): Json {
  const marked = source.replace(
    /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g,
    (m) => m.startsWith('"') ? `"s${m.slice(1)}` : `"n${m}"`,
  );
  const convert = (value: unknown): Json => {
    if (typeof value === "string") return value.startsWith("s") ? value.slice(1) : { number: value.slice(1) };
    if (Array.isArray(value)) return value.map(convert);
    if (value === null || typeof value !== "object") return value as null | boolean;
    return new Map(Object.entries(value).map(([key, each]) => [key.slice(1), convert(each)]));
  };
  return convert(JSON.parse(marked));
}

/** Everything that stands in it, in order. */
function flat(value: Json): string[] {
  if (Array.isArray(value)) return value.flatMap(flat);
  if (value instanceof Map) return [...value].flatMap(([key, each]) => [key, ...flat(each)]);
  return [value !== null && typeof value === "object" ? value.number : String(value)];
}

// ---------------------------------------------------------------------------------------------- decimals

/** As PostgreSQL orders numerics: NaN is greater than all. */
export function compareDecimals(one: string, other: string): number {
  if (one === "NaN" || other === "NaN") return Number(one === "NaN") - Number(other === "NaN");
  const scaled = (decimal: string): bigint => {
    const [, sign, whole, fraction = ""] = /^([+-]?)(\d*)\.?(\d*)$/.exec(decimal)!;
    return BigInt(`${whole}${fraction.padEnd(40, "0")}`) * (sign === "-" ? -1n : 1n);
  };
  const difference = scaled(one) - scaled(other);
  return difference < 0n ? -1 : Number(difference > 0n);
}

// ---------------------------------------------------------------------------------------------- queries

export type Tree =
  | { and: Tree[] }
  | { or: Tree[] }
  | { not: Tree }
  | { field: string; op: string; value?: string | string[] }
  | { text: string; prefix?: true };

const WORD_FIELDS = [
  "action",
  "outcome",
  "actor_type",
  "resource_type",
  "resource_id",
  "provider",
  "request_id",
] as const;
const IDENTITY_FIELDS = { email: "email", ip: "ip_address", user_agent: "user_agent" } as const;
const ORDERS = ["lt", "lte", "gt", "gte"] as const;

/** Random query trees whose values mostly occur in the rows. */
export function trees(rows: Row[], most = 4): fc.Arbitrary<Tree> {
  const row = fc.constantFrom(...rows);
  const valuesOf = (field: keyof Row) => [...new Set(rows.flatMap((each) => (each[field] as string | null) || []))];
  const pattern = (value: string) =>
    fc.tuple(fc.nat(value.length), fc.nat(value.length), fc.boolean()).map(([one, other, both]) => {
      const parts = [...value];
      const [from, to] = one < other ? [one, other] : [other, one];
      const literal = (list: string[]) => list.join("").replace(/[*\\]/g, "\\$&");
      return literal(parts.slice(0, from)) + "*" + literal(parts.slice(to)) + (both ? "*" : "");
    }).filter((each) => /[^*]/.test(each));
  const compare = (field: string, value: fc.Arbitrary<string>, ops: readonly string[]): fc.Arbitrary<Tree> =>
    fc.constantFrom(...ops).chain((op): fc.Arbitrary<Tree> =>
      op === "exists"
        ? fc.constant({ field, op })
        : op === "like"
        ? value.chain(pattern).map((value) => ({ field, op, value }))
        : op === "in"
        ? fc.array(value, { minLength: 1, maxLength: 3 }).map((value) => ({ field, op, value }))
        : op === "between"
        ? fc.tuple(value, value).map((value) => ({ field, op, value }))
        : value.map((value) => ({ field, op, value }))
    );

  const word = fc.constantFrom(...WORD_FIELDS).chain((field) =>
    compare(
      field,
      fc.constantFrom(...valuesOf(field)),
      ["eq", "eq", "in", "exists", "like"],
    )
  );
  const emails = [...valuesOf("email"), "ADA@EXAMPLE.COM", "nobody@x.io"];
  const actor = compare("actor", fc.constantFrom(...USERS, ...emails), ["eq", "eq", "in", "exists"]);
  const actorLike = compare("actor", fc.constantFrom(...emails), ["like"]);
  const identities = fc.constantFrom("email", "ip", "user_agent").chain((field) =>
    compare(
      field,
      fc.constantFrom(...(field === "email" ? emails : valuesOf(field === "ip" ? "ip_address" : "user_agent"))),
      ["eq", "in", "exists", "like"],
    )
  );
  const resource = compare(
    "resource",
    row.map(({ resource_type, resource_id }) => (resource_type ?? "x") + (resource_id ? `/${resource_id}` : "")),
    ["eq", "eq", "in", "exists"],
  );
  const cost = compare(
    "cost",
    fc.constantFrom("0", "-1.5", "0.1", "0.10", "+1", ".5", "2.", "1000000000000000000000", "0.000000000000000001"),
    ["eq", "in", "between", "exists", ...ORDERS],
  );
  const dates = fc.oneof(
    fc.tuple(row, fc.constantFrom(4, 7, 10)).map(([{ shown }, length]) => String(shown.created_at).slice(0, length)),
    row.map(({ shown }) => String(shown.created_at)),
    row.map(({ shown }) => String(shown.created_at).slice(0, 16)),
    row.map(({ shown }) => `${String(shown.created_at).slice(0, 23)}+05:30`),
    fc.constantFrom("30m", "24h", "7d", "30d", "8w", "3mo", "1y"),
  );
  const created = compare("created", dates, ["eq", "in", "between", "exists", ...ORDERS]);
  const place = fc.constantFrom("chain", "seq").chain((field) =>
    compare(field, row.map((each) => String(each[field as "chain" | "seq"])), [
      "eq",
      "in",
      "between",
      "exists",
      ...ORDERS,
    ])
  );
  const path = row.filter(({ details }) => paths(details).length > 0)
    .chain(({ details }) => fc.constantFrom(...paths(details)))
    .chain(([steps, found]) => {
      const bare = ["new", "old", "changes"].includes(steps[0]!) && steps.length > 1;
      const field = (bare ? steps : ["details", ...steps]).map((step, n) =>
        n === 0 || /^[a-z0-9_-]+$/i.test(step) ? step : `"${step.replace(/["\\]/g, "\\$&")}"`
      ).join(".");
      const values = fc.oneof(
        { weight: 3, arbitrary: fc.constant(scalar(found) ?? "x") },
        { weight: 1, arbitrary: fc.constantFrom(...TEXTS, ...NUMBERS) },
        { weight: 1, arbitrary: number },
      );
      return compare(field, values, ["eq", "eq", "exists", "in", "between", ...ORDERS])
        .filter((tree) => !/"-?1e\d\d/.test(JSON.stringify(tree))); // no number of the language
    });
  const pathLike = row.chain(({ details }) => {
    const found = paths(details).filter(([, value]) => typeof value === "string" && value !== "");
    return found.length === 0 ? fc.constant(undefined) : fc.constantFrom(...found);
  }).filter((each) => each !== undefined).chain(([steps, value]) =>
    compare(
      ["details", ...steps.map((step) => `"${step.replace(/["\\]/g, "\\$&")}"`)].join("."),
      fc.constant(value as string),
      ["like"],
    )
  );
  const phrase = fc.tuple(
    row,
    fc.nat(),
    fc.integer({ min: 1, max: 3 }),
    fc.nat(9),
    fc.constantFrom(" ", "-", ". ", "/"),
  )
    .map(([{ words }, start, count, cut, separator]): Tree => {
      const list = words.trim().split(" ");
      const chosen = list.slice(start % list.length, start % list.length + count);
      const last = chosen.at(-1)!;
      const joined = chosen.some((each) => each.includes("-")) ? chosen.join(" ") : chosen.join(separator);
      if (cut > 3 && last.length >= 4 && !last.includes("-")) {
        return { text: joined.slice(0, joined.length - Math.min(cut - 3, last.length - 3)), prefix: true };
      }
      return { text: cut === 0 ? joined.toUpperCase() : joined };
    });
  const leaf = fc.oneof(
    { weight: 4, arbitrary: word },
    { weight: 2, arbitrary: actor },
    { weight: 1, arbitrary: actorLike },
    { weight: 2, arbitrary: identities },
    { weight: 2, arbitrary: resource },
    { weight: 2, arbitrary: cost },
    { weight: 3, arbitrary: created },
    { weight: 1, arbitrary: place },
    { weight: 4, arbitrary: path },
    { weight: 2, arbitrary: pathLike },
    { weight: 6, arbitrary: phrase },
  );
  const { tree } = fc.letrec<{ tree: Tree }>((tie) => ({
    tree: fc.oneof(
      { maxDepth: 4, depthSize: "small", withCrossShrink: true },
      { weight: 8, arbitrary: leaf },
      { weight: 2, arbitrary: fc.array(tie("tree"), { maxLength: most }).map((and) => ({ and })) },
      { weight: 3, arbitrary: fc.array(tie("tree"), { minLength: 1, maxLength: most }).map((or) => ({ or })) },
      { weight: 2, arbitrary: tie("tree").map((not) => ({ not })) },
    ),
  }));
  // A query has at most 20 texts.
  return tree.filter((each) => JSON.stringify(each).split('{"text":').length <= 21);
}

/** Every path into details that has a name, with what stands there. */
function paths(details: Json): [string[], Json][] {
  if (Array.isArray(details)) return details.flatMap(paths);
  if (!(details instanceof Map)) return [];
  return [...details].flatMap(([key, value]): [string[], Json][] => [
    [[key], value],
    ...paths(value).map(([steps, each]): [string[], Json] => [[key, ...steps], each]),
  ]);
}

function scalar(value: Json): string | undefined {
  if (Array.isArray(value)) return value.length > 0 ? scalar(value[0]!) : undefined;
  if (value === null || value instanceof Map) return undefined;
  return typeof value === "object" ? value.number : String(value);
}

// ---------------------------------------------------------------------------------------------- the reference

/** What a reader sees of the rows: those of the organisation that are the reader's to see, with or without identities. */
export function visibleRows(rows: Row[], organization: string, reader: Reader): Row[] {
  const access = reader.access(organization)!;
  return rows
    .filter((row) =>
      row.organization_id === organization && (access.entries === "all" || row.created_by === reader.sub)
    )
    .map((row) => {
      if (access.identities === "all" || access.identities === "own" && row.user_id === reader.sub) return row;
      const nobody = { email: null, ip_address: null, user_agent: null };
      return { ...row, ...nobody, user_id: null, shown: { ...row.shown, ...nobody } };
    });
}

/** Whose e-mail addresses a reader knows, from the identities that the reader sees, whether or not an entry has them. */
export type Addresses = { organization_id: string; user_id: string; email: string }[];

export async function readAddresses(superuser: pg.Client): Promise<Addresses> {
  const { rows } = await superuser.query(
    "select organization_id, user_id, email from audit.identities where user_id is not null and email is not null",
  );
  return rows;
}

export function visibleAddresses(addresses: Addresses, organization: string, reader: Reader): Addresses {
  const { identities } = reader.access(organization)!;
  return addresses.filter((each) =>
    each.organization_id === organization &&
    (identities === "all" || identities === "own" && each.user_id === reader.sub)
  );
}

/** Whether a row matches a tree; `now` in microseconds since 1970. */
export function matches(tree: Tree, row: Row, now: bigint, addresses: Addresses): boolean {
  const inner = (each: Tree) => matches(each, row, now, addresses);
  if ("and" in tree) return tree.and.every(inner);
  if ("or" in tree) return tree.or.some(inner);
  if ("not" in tree) return !inner(tree.not);
  if ("text" in tree) {
    return row.words.includes(` ${searchWords(tree.text).join(" ")}${tree.prefix ? "" : " "}`);
  }
  const { field, op } = tree;
  const values = [tree.value ?? []].flat();
  if (field === "created") {
    return op === "in" ? values.some((v) => inTime("eq", [v], row.at, now)) : inTime(op, values, row.at, now);
  }
  if (field === "cost") return row.cost !== null && compares(op, values, (value) => compareDecimals(row.cost!, value));
  if (field === "chain" || field === "seq") {
    return compares(op, values, (value) => compareDecimals(String(row[field]), value));
  }
  if (field === "resource") {
    const whole = (value: string) => {
      const [type, ...id] = value.split("/");
      return row.resource_type === type && (id.join("/") === "" || row.resource_id === id.join("/"));
    };
    return op === "exists" ? row.resource_type !== null : values.some(whole);
  }
  if (field === "actor") {
    if (op === "exists") return row.created_by !== null;
    const has = (email: string) => equalsWord(op, [values].flat(), email.toLowerCase(), true);
    return values.includes(row.created_by ?? "") || row.email !== null && has(row.email) ||
      addresses.some(({ user_id, email }) => user_id === row.created_by && has(email));
  }
  if (field in IDENTITY_FIELDS) {
    const value = row[IDENTITY_FIELDS[field as keyof typeof IDENTITY_FIELDS]];
    return value !== null && equalsWord(op, values, value.toLowerCase(), true);
  }
  if ((WORD_FIELDS as readonly string[]).includes(field)) {
    const value = row[field as (typeof WORD_FIELDS)[number]];
    return value !== null && equalsWord(op, values, value);
  }
  return matchesPath(field, op, values, row.details);
}

function equalsWord(op: string, values: string[], value: string, fold = false): boolean {
  const folded = fold ? values.map((each) => each.toLowerCase()) : values;
  if (op === "exists") return true;
  return op === "like" ? patternOf(folded[0]!).test(value) : folded.includes(value);
}

/** `*` stands for any characters, `\` before a character for that character. */
function patternOf(pattern: string): RegExp {
  const parts = pattern.match(/\*|\\.|[^*\\]/gsu) ?? [];
  const literal = (part: string) => part.replace(/^\\(?=.)/su, "").replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
  return new RegExp(`^${parts.map((part) => part === "*" ? ".*" : literal(part)).join("")}$`, "su");
}

function compares(op: string, values: string[], compare: (value: string) => number): boolean {
  const [first, second] = values.map(compare);
  switch (op) {
    case "exists":
      return true;
    case "lt":
      return first! < 0;
    case "lte":
      return first! <= 0;
    case "gt":
      return first! > 0;
    case "gte":
      return first! >= 0;
    case "between":
      return first! >= 0 && second! <= 0;
    default:
      return values.some((value) => compare(value) === 0);
  }
}

/** A date is a stretch of time: a year, a month, a day, an instant, or everything since some time ago. */
function inTime(op: string, values: string[], at: bigint, now: bigint): boolean {
  const [first, last] = values.map((value) => stretch(value, now));
  switch (op) {
    case "exists":
      return true;
    case "lt":
      return at < first!.from;
    // Up to an age is before it: "older than a week", with or without "or just as old".
    case "lte":
      return first!.to === undefined ? at < first!.from : at < first!.to;
    case "gt":
      return first!.to === undefined ? at >= first!.from : at >= first!.to;
    case "gte":
      return at >= first!.from;
    case "between":
      return at >= first!.from && at < (last!.to ?? last!.from);
    default:
      return at >= first!.from && (first!.to === undefined || at < first!.to);
  }
}

function stretch(value: string, now: bigint): { from: bigint; to?: bigint } {
  const age = /^(\d+)(m|h|d|w|mo|y)$/.exec(value);
  if (age !== null) {
    const count = Number(age[1]);
    const minutes = { m: 1, h: 60, d: 1440, w: 10080 }[age[2]!];
    if (minutes !== undefined) return { from: now - BigInt(count * minutes) * 60_000_000n };
    const then = new Date(Number(now / 1000n));
    const day = then.getUTCDate();
    then.setUTCDate(1);
    then.setUTCMonth(then.getUTCMonth() - count * (age[2] === "y" ? 12 : 1));
    then.setUTCDate(Math.min(day, new Date(Date.UTC(then.getUTCFullYear(), then.getUTCMonth() + 1, 0)).getUTCDate()));
    return { from: BigInt(then.getTime()) * 1000n + now % 1000n };
  }
  const [year, month, day] = value.split("-").map(Number) as [number, number | undefined, number | undefined];
  const utc = (...parts: [number, number, number]) => BigInt(Date.UTC(...parts)) * 1000n;
  if (/^\d{4}$/.test(value)) return { from: utc(year, 0, 1), to: utc(year + 1, 0, 1) };
  if (/^\d{4}-\d\d$/.test(value)) return { from: utc(year, month! - 1, 1), to: utc(year, month!, 1) };
  if (/^\d{4}-\d\d-\d\d$/.test(value)) {
    return { from: utc(year, month! - 1, day!), to: utc(year, month! - 1, day! + 1) };
  }
  const [, seconds, fraction = "", zone] = /^([\dT:-]+?)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)?$/.exec(value)!;
  const from = BigInt(Date.parse(seconds! + (zone ?? "Z"))) * 1000n + BigInt(fraction.padEnd(6, "0"));
  return { from, to: from + 1n };
}

/** A step looks into the elements of an array; a comparison into its elements and into theirs. */
function matchesPath(field: string, op: string, values: string[], details: Json): boolean {
  const steps = (field.match(/"(?:[^"\\]|\\.)+"|[^."]+/gs) ?? []).map((step) =>
    step.startsWith('"') ? step.slice(1, -1).replace(/\\(.)/gs, "$1") : step
  );
  if (steps[0] === "details") steps.shift();
  let found: Json[] = [details];
  for (const step of steps) {
    found = found.flatMap((each) => Array.isArray(each) ? each : [each])
      .flatMap((each) => each instanceof Map && each.has(step) ? [each.get(step)!] : []);
  }
  if (op === "exists") return found.length > 0;
  const numbers = values.every((value) => NUMBER.test(value));
  return found.flatMap((each) => Array.isArray(each) ? each.flat() : [each]).some((value) => {
    const number = value !== null && typeof value === "object" && "number" in value ? value.number : undefined;
    if (op === "like") return typeof value === "string" && patternOf(values[0]!).test(value);
    if (op === "eq" || op === "in") {
      return values.some((each) =>
        value === each || typeof value === "boolean" && String(value) === each ||
        number !== undefined && NUMBER.test(each) && compareDecimals(number, each) === 0
      );
    }
    if (numbers) return number !== undefined && compares(op, values, (each) => compareDecimals(number, each));
    return typeof value === "string" &&
      compares(op, values, (each) => Buffer.compare(Buffer.from(value), Buffer.from(each)));
  });
}

const NUMBER = /^[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})$/;

/** The order of a list: by time or cost, then by time and name; entries without a cost come last. */
export function sorted(rows: Row[], sort: string): Row[] {
  const later = (one: Row, other: Row) =>
    one.at !== other.at
      ? (one.at < other.at ? -1 : 1)
      : one.chain - other.chain || compareDecimals(String(one.seq), String(other.seq));
  const sign = sort.startsWith("-") ? -1 : 1;
  if (!sort.endsWith("cost")) return [...rows].sort((one, other) => sign * later(one, other));
  return [...rows].sort((one, other) =>
    Number(one.cost === null) - Number(other.cost === null) ||
    (one.cost === null ? 0 : sign * compareDecimals(one.cost, other.cost!)) || -later(one, other)
  );
}
