// `supabase db advisors`, the lints that the dashboard shows: what they find in the product is explained in advisors.json,
// and nothing else is found. Findings about the application's own tables are the application's.
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { createDatabase, type TestDatabase } from "../support/database.ts";

type Finding = { name: string; level: string; detail: string; metadata?: { name?: string; schema?: string } };

/** Of each lint that finds something: why it may, and about which objects, "bound" where their names are bound. */
type Explained = Record<string, { because: string; objects: string[] | "bound functions" }>;

const EXPLAINED: Explained = JSON.parse(await readFile(new URL("advisors.json", import.meta.url), "utf8"));
const PROGRAM = fileURLToPath(new URL("../../node_modules/.bin/supabase", import.meta.url));

let db: TestDatabase;
let home: string;

beforeAll(async () => {
  db = await createDatabase();
  home = await mkdtemp(join(tmpdir(), "audit-advisors-"));
});
afterAll(async () => {
  await rm(home, { recursive: true, force: true });
  await db.drop();
});

async function advisors(): Promise<Finding[]> {
  const { stdout } = await promisify(execFile)(
    PROGRAM,
    ["db", "advisors", `--remote=${db.url()}?sslmode=disable`, "--output-format", "json"],
    {
      cwd: home,
      env: { PATH: process.env.PATH, HOME: home, SUPABASE_TELEMETRY_DISABLED: "1", DO_NOT_TRACK: "1", NO_COLOR: "1" },
      maxBuffer: 64 << 20,
    },
  );
  return (JSON.parse(stdout) as { results: Finding[] }).results;
}

const isOurs = ({ metadata }: Finding) => metadata?.schema === "audit" || /audit/.test(metadata?.name ?? "");

test("what the advisors find in the product is explained", async () => {
  const findings = await advisors();
  const client = await db.connect();
  const { rows } = await client.query<{ name: string }>(
    `select distinct proname as name from pg_proc where prosqlbody is not null or prolang in (select oid from pg_language where lanname = 'internal')`,
  );
  const bound = new Set(rows.map(({ name }) => name));
  const unexplained = findings.filter(isOurs).filter(({ name, metadata }) => {
    const objects = EXPLAINED[name]?.objects ?? [];
    return objects === "bound functions" ? !bound.has(metadata!.name!) : !objects.includes(metadata!.name!);
  });
  expect(unexplained.map(({ name, level, detail }) => `${level} ${name}: ${detail}`)).toEqual([]);
  const found = new Set(findings.filter(isOurs).map(({ name }) => name));
  expect(Object.keys(EXPLAINED).filter((name) => !found.has(name)), "explained, but no longer found").toEqual([]);
}, 120_000);

test("the advisors would find something", async () => {
  const client = await db.connect();
  await client.query(`
    create table public.audit_open (id int); grant select on public.audit_open to anon;
    create view public.audit_owner_view as select * from public.audit_logs; grant select on public.audit_owner_view to anon`);
  try {
    const found = (await advisors()).filter(isOurs).map(({ name, metadata }) => `${name} ${metadata?.name}`);
    expect(found).toEqual(
      expect.arrayContaining(["rls_disabled_in_public audit_open", "security_definer_view audit_owner_view"]),
    );
  } finally {
    await client.query("drop view public.audit_owner_view; drop table public.audit_open");
  }
}, 120_000);
