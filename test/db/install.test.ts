// The package as a stranger uses it: packed, installed from the tarball into a project of other tables, pushed and deployed
// by the real Supabase CLI (the Management API is a stand-in here), run in the runtime's version of Deno, upgraded,
// uninstalled. The project's own files are compared byte by byte.
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { cp, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseSignerKey } from "../../functions/_shared/tlog/key.ts";
import { SampleOrganization } from "../../scripts/bench/sample_archive.ts";
import { buildPackage } from "../../scripts/package/build.ts";
import { startTestCluster, type TestCluster } from "../support/cluster.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";
import { expectVerified } from "../support/log.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));
const FUNCTIONS = ["audit", "audit-ingest", "audit-jobs", "audit-viewer"];
const REF = "abcdefghijklmnopqrst";
const ACCOUNT = "0a000000-0000-4000-8000-000000000001";
const OWN_TABLES = `
  create table public.accounts (id uuid primary key default gen_random_uuid(), name text not null);
  create table public.team_members (
    account_id uuid not null references public.accounts, user_id uuid not null, role text not null default 'member',
    primary key (account_id, user_id)
  );
  create table public.channels (
    id uuid primary key default gen_random_uuid(), account_id uuid not null references public.accounts, title text
  );
  create table public.messages (
    id bigint generated always as identity primary key, channel_id uuid not null references public.channels,
    author_id uuid, author_email text, body text
  );
  create table public.feature_flags (name text primary key, enabled boolean not null default false);
  create table public.raw_events (payload jsonb);`;

/** Its own: the CLI commits a migration step by step, and roles, which other tests look at, belong to the cluster. */
let cluster: TestCluster;
let db: TestDatabase;
let client: pg.Client;
let folder: string;
/** The project of somebody else. */
let project: string;
let config: string;

beforeAll(async () => {
  cluster = await startTestCluster();
  db = await createDatabase("base", cluster.port);
  client = await db.connect();
  folder = await mkdtemp(join(tmpdir(), "audit-install-"));
  project = join(folder, "shop");
  await buildPackage(join(folder, "package"));
  await run("npm", ["pack", join(folder, "package"), "--pack-destination", folder], folder);
  const tarball = (await readdir(folder)).find((name) => name.endsWith(".tgz"))!;
  await mkdir(join(folder, "tool"));
  await writeFile(join(folder, "tool", "package.json"), "{}");
  await run("npm", ["install", "--offline", "--no-audit", join(folder, tarball)], join(folder, "tool"));
  await mkdir(project);
  await run("git", ["init", "-q"], project);
  await supabase("init");
  await mkdir(join(project, "supabase", "migrations"), { recursive: true });
  // Of a clock that was ahead: ours still comes after it.
  await writeFile(join(project, "supabase", "migrations", "20990101000000_shop.sql"), OWN_TABLES);
  config = await text("supabase/config.toml");
  await push();
});
afterAll(async () => {
  await db?.drop();
  await cluster?.remove();
  await rm(folder, { recursive: true, force: true });
});

test("the package brings no dependency and no source of ours but what runs in a project", async () => {
  const installed = await readdir(join(folder, "tool", "node_modules"));
  expect(installed.filter((name) => !name.startsWith("."))).toEqual(["supabase-audit-logs"]);
  const names = await readdir(join(folder, "tool", "node_modules", "supabase-audit-logs"));
  expect(names.sort()).toEqual(
    [
      ...["LICENSE", "README.md", "SECURITY.md", "cli.js", "functions", "keygen.js", "migration.sql", "package.json"],
      ...["restore.js", "thread.js", "verify.js"],
    ],
  );
});

test("it makes keys, verifies what they signed, in threads, and doubts what another signed", async () => {
  const [file, archive] = [join(folder, "log.key"), join(folder, "archive")];
  const made = await tool("keygen", "example.com/audit", "--out", file);
  expect(made.code).toBe(0);
  const vkey = /^example\.com\/audit\+\S+$/m.exec(made.output)![0];
  const organization = new SampleOrganization(ACCOUNT, {
    keys: [parseSignerKey((await readFile(file, "utf8")).trim(), "note")],
    async write(path, bytes) {
      await mkdir(dirname(join(archive, path)), { recursive: true });
      await writeFile(join(archive, path), bytes);
    },
  });
  // Bundles enough for threads to be begun.
  await organization.month("2026-01", 150 * 256, { interval: 1_000_000n });
  const verified = await tool("verify", archive, "--key", vkey, "--threads", "2");
  expect(verified).toMatchObject({ code: 0, output: expect.stringContaining("VERIFIED") });
  const { output: other } = await tool("keygen", "example.com/audit", "--out", join(folder, "other.key"));
  const doubted = await tool("verify", archive, "--key", /^example\.com\/audit\+\S+$/m.exec(other)![0]);
  expect(doubted.code).toBe(1);
  const { code, output } = await tool("restore", "--archive", archive);
  expect(code).toBe(2);
  expect(output).toContain("--database");
  expect((await tool("verify", "--help")).output).toContain("npx supabase-audit-logs verify [options]");
});

describe("init", () => {
  test("a dry run says what it would do, and does nothing", async () => {
    const before = await snapshot();
    const { done, changes, next } = await cli("init", "--dry-run");
    const { output } = await tool("init", "--dry-run", "--secrets");
    expect(done).toBe(false);
    expect(output).toContain("schedules call: ");
    expect(output, "a key that will never sign").not.toContain("vkey");
    expect(changes.length).toBeGreaterThan(100);
    expect(next).toEqual(["supabase db push", "supabase functions deploy --use-api"]);
    expect(await snapshot()).toEqual(before);
    const link = join(project, "supabase", ".temp", "project-ref");
    await mkdir(dirname(link), { recursive: true });
    await writeFile(link, REF);
    const linked = await cli("init", "--dry-run");
    await rm(link);
    expect(linked.next, "the CLI pushes to the local stack by itself").toContain("supabase db push --remote");
  });

  test.each([
    ["a function of the same name", "supabase/config.toml", () => `${config}\n[functions.audit]\nverify_jwt = true\n`],
    ["a file in its place", "supabase/functions/_audit-logs/audit/app.ts", () => "export const mine = true;\n"],
    ["settings that cannot be read", "supabase/config.toml", () => `${config}\n[functions`],
    ["tables in a form that nothing can be added to", "supabase/config.toml", () => `functions = {}\n${config}`],
  ])("%s is refused, named, and nothing is changed", async (_, path, content) => {
    const original = await text(path).catch(() => undefined);
    await mkdir(dirname(join(project, path)), { recursive: true });
    await writeFile(join(project, path), content());
    const before = await snapshot();
    const { code, output } = await tool("init", "--secrets");
    expect(code).toBe(1);
    expect(output).toContain(path);
    expect(await snapshot()).toEqual(before);
    if (original === undefined) await rm(join(project, path));
    else await writeFile(join(project, path), original);
  });

  test("it adds migration, functions, settings and secrets, and touches nothing", async () => {
    const before = await snapshot();
    const { code, output } = await tool("init", "--secrets", "--project-ref", REF, "--db-url", db.url());
    expect(output).toContain("supabase secrets set --env-file supabase/.env.local");
    expect(code).toBe(0);
    const after = await snapshot();
    for (const [path, bytes] of before) {
      if (path !== "supabase/config.toml") expect(after.get(path), path).toBe(bytes);
    }
    // Added at the end, byte for byte.
    expect((await text("supabase/config.toml")).startsWith(config)).toBe(true);
    const migrations = await readdir(join(project, "supabase", "migrations"));
    expect(migrations).toEqual(["20990101000000_shop.sql", "20990101000001_audit_logs.sql"]);
    expect(await text("supabase/migrations/20990101000001_audit_logs.sql")).toBe(
      await readFile(join(folder, "package", "migration.sql"), "utf8"),
    );
    const secrets = await stat(join(project, "supabase", ".env.local"));
    expect(secrets.mode & 0o777).toBe(0o600);
    expect((await run("git", ["check-ignore", "supabase/.env.local"], project)).trim()).toBe("supabase/.env.local");
    expect(output).not.toContain(/AUDIT_LOG_KEY="(.*)"/.exec(await text("supabase/.env.local"))![1]!);
    expect(output).not.toContain(db.url());
  });

  test("a second one has nothing to do, and keeps the secrets", async () => {
    const before = await snapshot();
    const { changes } = await cli("init", "--secrets", "--project-ref", REF);
    expect(changes).toEqual([]);
    expect(await snapshot()).toEqual(before);
  });

  test("it says for each table how to track it, or what is missing, before anything is installed", async () => {
    const { suggestions, membership } = await cli("init", "--dry-run", "--db-url", db.url());
    expect(suggestions.map(({ statement }: { statement: string | null }) => statement)).toEqual([
      `select audit.track('public.accounts', '{"organization": "id"}');`,
      "select audit.track('public.channels');",
      `select audit.track('public.feature_flags', '{"organization": "system"}');`,
      "select audit.track('public.messages');",
      null,
      "select audit.track('public.team_members');",
    ]);
    expect(suggestions[4].note).toMatch(/public\.raw_events has no primary key\. Add one/);
    expect(membership).toBe("select audit.use_membership('public.team_members', 'account_id', 'user_id', 'role');");
    const { rows } = await client.query("select from pg_namespace where nspname = 'audit'");
    expect(rows, "looking leaves nothing behind").toEqual([]);
  });
});

describe("pushed", () => {
  test("the migration and the Vault's secrets come by one command, and the suggestions make entries", async () => {
    const { code, output } = await tool("doctor", db.url());
    expect(code).toBe(1);
    expect(output).toContain("the audit log is not installed");
    await push();
    const { suggestions, membership } = await cli("doctor", db.url());
    for (const { statement } of suggestions) if (statement !== null) await client.query(statement);
    await client.query(membership);
    await client.query("insert into public.accounts (id, name) values ($1, 'Acme')", [ACCOUNT]);
    await client.query("insert into public.channels (id, account_id, title) values ($1, $1, 'General')", [ACCOUNT]);
    await client.query("insert into public.messages (channel_id, author_email) values ($1, 'ann@acme.example')", [
      ACCOUNT,
    ]);
    const { rows } = await client.query(
      "select action from public.audit_logs where organization_id = $1 order by created_at, seq",
      [ACCOUNT],
    );
    expect(rows.map(({ action }) => action)).toEqual(["account.created", "channel.created", "message.created"]);
    await expectVerified(client);
    const { rows: [vault] } = await client.query(
      "select decrypted_secret as url from vault.decrypted_secrets where name = 'audit_jobs_url'",
    );
    expect(vault.url).toBe(`https://${REF}.supabase.co/functions/v1/audit-jobs`);
  });

  test("pushed from a machine without the secrets, the Vault keeps them", async () => {
    const secrets = await text("supabase/.env.local");
    await rm(join(project, "supabase", ".env.local"));
    await writeFile(join(project, "supabase", "migrations", "20990101000009_later.sql"), "select 1;\n");
    await push();
    await writeFile(join(project, "supabase", ".env.local"), secrets, { mode: 0o600 });
    const { rows } = await client.query(
      "select name, decrypted_secret as value from vault.decrypted_secrets where name like 'audit_jobs_%' order by name",
    );
    expect(rows.map(({ value }) => value)).toEqual([
      /AUDIT_JOBS_SECRET="(.*)"/.exec(secrets)![1],
      `https://${REF}.supabase.co/functions/v1/audit-jobs`,
    ]);
  });
});

describe("deployed", () => {
  test("the CLI uploads all that the functions import, and that runs in the runtime's Deno with nothing else", async () => {
    const uploads = await deploy();
    expect([...uploads.keys()].sort()).toEqual(FUNCTIONS);
    const servers: ChildProcess[] = [];
    const ports = new Map<string, number>();
    try {
      for (const [name, files] of uploads) {
        const place = join(folder, "deployed", name);
        for (const [path, content] of files) {
          await mkdir(dirname(join(place, path)), { recursive: true });
          await writeFile(join(place, path), content);
        }
        // What `npm:` imports name, which the platform fetches; versions must match to the digit.
        await symlink(join(ROOT, "node_modules"), join(place, "node_modules"));
        await cp(join(ROOT, "package.json"), join(place, "package.json"));
        const { child, port } = await serve(place, name);
        servers.push(child);
        ports.set(name, port);
      }
      const page = await fetch(`http://127.0.0.1:${ports.get("audit-viewer")}/audit-viewer/`);
      expect(await page.text()).toContain("<script");
      const font = "noto-sans/files/noto-sans-latin-400-normal.woff";
      const embedded = uploads.get("audit-jobs")!.get("supabase/functions/_audit-logs/_shared/pdf/embedded.ts")!;
      const bytes = await readFile(join(ROOT, "node_modules", "@fontsource", font));
      expect(embedded.includes(`"${font}": "${bytes.toString("base64")}"`)).toBe(true);
      const gateway = await gatewayTo(ports);
      await client.query("select vault.update_secret(id, $1) from vault.secrets where name = 'audit_jobs_url'", [
        `${gateway.url}/functions/v1/audit-jobs`,
      ]);
      const { checks } = await cli("doctor", db.url());
      gateway.close();
      const state = Object.fromEntries(
        checks.map((each: { check: string; state: string }) => [each.check, each.state]),
      );
      const named = checks.filter((each: { state: string }) => each.state === "fail");
      expect(named).toEqual([]);
      for (const name of FUNCTIONS) expect(state[`function ${name}`], name).toBe("ok");
      expect(state).toMatchObject({ version: "ok", coverage: "ok", members: "ok", vault: "ok", findings: "ok" });
    } finally {
      for (const child of servers) child.kill("SIGKILL");
    }
  });

  test("no function comes near what Supabase bundles itself, 5 MB", async () => {
    for (const [name, files] of await deploy()) {
      const bytes = [...files.values()].reduce((sum, content) => sum + content.length, 0);
      expect(bytes, name).toBeLessThan(2_000_000);
    }
  });
});

describe("doctor", () => {
  test.each([
    ["a guard is off", "alter table public.audit_logs disable row level security", "coverage", "fail"],
    ["the application may delete", "grant delete on public.audit_logs to service_role", "privileges", "fail"],
    [
      "a schedule is gone",
      "select cron.unschedule(jobid) from cron.job where jobname = 'audit-seal'",
      "schedules",
      "fail",
    ],
    ["the Vault has no secret", "delete from vault.secrets where name = 'audit_jobs_secret'", "vault", "fail"],
    [
      "a finding is open",
      "select audit.note_finding(audit.system_organization(), 'chain_broken', '1-1')",
      "findings",
      "fail",
    ],
    ["a table is new", "create table public.invoices (id int primary key)", "tables", "warn"],
  ])("finds that %s, and says the way out", async (_, statement, check, state) => {
    const other = await createDatabase("application", cluster.port);
    try {
      const there = await other.connect();
      await there.query("select vault.create_secret('http://127.0.0.1:1/audit-jobs', 'audit_jobs_url')");
      await there.query("select vault.create_secret('secret', 'audit_jobs_secret')");
      const of = async () => {
        const { checks } = await cli("doctor", other.url());
        return checks.filter((each: { check: string }) => each.check === check);
      };
      const whole = await of();
      await there.query(statement);
      const found = await of();
      expect(found).not.toEqual(whole);
      expect(found[0].state).toBe(state);
      expect(found[0].way_out).toBeTruthy();
    } finally {
      await other.drop();
    }
  });

  test("without a database it says so, and never the password", async () => {
    const { code, output } = await tool("doctor", "postgresql://postgres:geheim@127.0.0.1:1/postgres");
    expect(code).toBe(2);
    expect(output).toMatch(/^Error: /);
    expect(output).not.toContain("geheim");
  });
});

describe("upgrade", () => {
  test("from an older version: new migration, new functions, and what was changed by hand is named and kept", async () => {
    await pretendOlder();
    const app = "supabase/functions/_audit-logs/audit/app.ts";
    const installed = await text(app);
    await writeFile(join(project, app), `${installed}// mine\n`);
    const before = await snapshot();
    const refused = await tool("upgrade");
    expect(refused.code).toBe(1);
    expect(refused.output).toContain(app);
    expect(await snapshot()).toEqual(before);

    await writeFile(join(project, app), installed);
    const { changes, from, to, next } = await cli("upgrade");
    expect(from).toBe("0.0.9");
    expect(changes.map(({ change, path }: { change: string; path: string }) => `${change} ${path}`).sort()).toEqual([
      "create supabase/functions/_audit-logs/audit/deps.ts",
      `create supabase/migrations/20990101000010_audit_logs_${to.replaceAll(".", "_")}.sql`,
      "delete supabase/functions/_audit-logs/audit/gone.ts",
      "replace supabase/functions/_audit-logs/audit/ask.ts",
      "replace supabase/functions/_audit-logs/manifest.json",
    ]);
    expect(next).toEqual(["supabase db push", "supabase functions deploy --use-api"]);
    await push();
    await expectVerified(client);
    expect((await cli("upgrade")).changes).toEqual([]);
  });
});

describe("uninstall", () => {
  test("the log stays, verifies, and nothing more comes into it; the project is as it was", async () => {
    const { code } = await tool("uninstall", "--drop-table", "public.audit_logs");
    expect(code).toBe(1);
    await cli("uninstall");
    expect(await text("supabase/config.toml")).toBe(config);
    expect(existsSync(join(project, "supabase", "functions", "_audit-logs"))).toBe(false);
    await push();
    const count = async () => (await client.query("select count(*)::int as n from public.audit_logs")).rows[0].n;
    const before = await count();
    expect(before).toBeGreaterThan(5);
    await client.query("update public.channels set title = 'Other'");
    await client.query("insert into auth.users (id, email) values (gen_random_uuid(), 'ann@acme.example')");
    expect(await count()).toBe(before);
    await expectVerified(client);
    const { rows } = await client.query("select jobname from cron.job where jobname like 'audit-%'");
    expect(rows).toEqual([]);
  });

  test("told twice by name, the log goes, also later, and the application works on", async () => {
    const later = await cli("uninstall", "--drop-table", "public.audit_logs", "--drop-schema", "audit", "--dry-run");
    expect(later.changes).toEqual([
      { change: "create", path: expect.stringMatching(/^supabase\/migrations\/\d+_audit_logs_dropped\.sql$/) },
    ]);
    await cli("init");
    await push();
    await cli("uninstall", "--drop-table", "public.audit_logs", "--drop-schema", "audit");
    await push();
    const { rows } = await client.query(
      `select to_regclass('public.audit_logs') as log, to_regnamespace('audit') as schema, to_regclass('public.audit_events') as view`,
    );
    expect(rows).toEqual([{ log: null, schema: null, view: null }]);
    await client.query("update public.channels set title = 'Third'");
    await client.query("insert into auth.users (id, email) values (gen_random_uuid(), 'bob@acme.example')");
  });
});

/** Makes the project one of an older version: a file was other, one was not there, one has gone since. */
async function pretendOlder(): Promise<void> {
  const functions = join(project, "supabase", "functions", "_audit-logs");
  const path = join(functions, "manifest.json");
  const manifest = JSON.parse(await readFile(path, "utf8"));
  manifest.version = "0.0.9";
  const older = "export const older = true;\n";
  const migration = `${await text("supabase/migrations/20990101000001_audit_logs.sql")}-- older\n`;
  await writeFile(join(project, "supabase", "migrations", "20990101000001_audit_logs.sql"), migration);
  manifest.migrations[0].digest = await sha256(migration);
  for (const name of ["audit/ask.ts", "audit/gone.ts"]) {
    await writeFile(join(functions, name), older);
    manifest.files[name] = await sha256(older);
  }
  delete manifest.files["audit/deps.ts"];
  await rm(join(functions, "audit", "deps.ts"));
  await writeFile(path, JSON.stringify(manifest));
}

async function sha256(content: string): Promise<string> {
  return Buffer.from(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(content))).toString("hex");
}

/** Every file of the project but git's and the CLI's own. */
async function snapshot(): Promise<Map<string, string>> {
  const files = new Map<string, string>();
  for (const entry of await readdir(project, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name).slice(project.length + 1);
    if (entry.isFile() && !/^\.git\/|^supabase\/\.temp\//.test(path)) files.set(path, await text(path));
  }
  return files;
}

const text = (path: string): Promise<string> => readFile(join(project, path), "utf8");

/** The package's command, as it answers people. */
function tool(...args: string[]): Promise<{ code: number; output: string }> {
  return execute(join(folder, "tool", "node_modules", ".bin", "supabase-audit-logs"), args, project);
}

/** The same with --json. Exit code 2 is a failure of the test; 1 is for the caller to see. */
// deno-lint-ignore no-explicit-any -- one answer for each command
async function cli(...args: string[]): Promise<any> {
  const { code, output } = await tool(...args, "--json");
  if (code > 1) throw new Error(output);
  return JSON.parse(output);
}

async function supabase(...args: string[]): Promise<string> {
  return await run(join(ROOT, "node_modules", ".bin", "supabase"), [...args, "--yes"], project);
}

const push = (): Promise<string> => supabase("db", "push", `--remote=${db.url()}?sslmode=disable`);

async function run(program: string, args: string[], cwd: string): Promise<string> {
  const { code, output } = await execute(program, args, cwd);
  if (code !== 0) throw new Error(`${program} ${args[0]} ended with ${code}:\n${output}`);
  return output;
}

async function execute(program: string, args: string[], cwd: string): Promise<{ code: number; output: string }> {
  const { DATABASE_URL: _, ...env } = process.env;
  const child = spawn(program, args, {
    cwd,
    env: {
      ...env,
      HOME: folder,
      SUPABASE_TELEMETRY_DISABLED: "1",
      DO_NOT_TRACK: "1",
      NO_COLOR: "1",
      NO_UPDATE_NOTIFIER: "1",
      SUPABASE_ACCESS_TOKEN: `sbp_${"0123456789".repeat(4)}`,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (chunk) => output += chunk);
  const [code] = await once(child, "close");
  return { code, output };
}

/** Deploys by the CLI to a stand-in for the Management API; what it uploaded, by function and path. */
async function deploy(): Promise<Map<string, Map<string, Buffer>>> {
  const uploads = new Map<string, Map<string, Buffer>>();
  const server = createServer(async (request, response) => {
    const url = new URL(request.url!, "http://localhost");
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const slug = url.searchParams.get("slug") ?? "";
    if (url.pathname.endsWith("/functions/deploy")) {
      const form = await new Response(Buffer.concat(chunks), {
        headers: { "content-type": request.headers["content-type"]! },
      }).formData();
      const metadata = JSON.parse(String(form.get("metadata")));
      expect(metadata).toMatchObject({ verify_jwt: false, name: slug });
      const files = new Map<string, Buffer>();
      for (const part of form.getAll("file") as File[]) files.set(part.name, Buffer.from(await part.arrayBuffer()));
      expect([...files.keys()]).toContain(metadata.entrypoint_path);
      expect([...files.keys()]).toContain(metadata.import_map_path);
      uploads.set(slug, files);
    }
    response.writeHead(request.method === "POST" ? 201 : 200, { "content-type": "application/json" });
    response.end(JSON.stringify(
      request.method === "POST"
        ? { id: slug, slug, name: slug, status: "ACTIVE", version: 1, verify_jwt: false, created_at: 1, updated_at: 1 }
        : [],
    ));
  });
  const { url } = await listen(server);
  const profile = join(folder, "profile.yaml");
  await writeFile(
    profile,
    `name: stand-in\napi_url: ${url}\ndashboard_url: ${url}\nproject_host: localhost.test\n`,
  );
  try {
    await supabase("functions", "deploy", "--use-api", "--profile", profile, `--remote=${REF}`);
  } finally {
    server.close();
  }
  return uploads;
}

/** Starts a function from its uploaded files. */
async function serve(place: string, name: string): Promise<{ child: ChildProcess; port: number }> {
  const deno = join(dirname(createRequire(import.meta.url).resolve("deno/package.json")), "deno");
  const entry = join(place, "supabase", "functions", "_audit-logs", name);
  const host = join(place, "host.ts");
  await cp(join(ROOT, "scripts", "stack", "function_host.ts"), host);
  const probe = createServer();
  const { port } = await listen(probe);
  await new Promise((resolve) => probe.close(resolve));
  const secrets = Object.fromEntries(
    [...(await text("supabase/.env.local")).matchAll(/^(\w+)="(.*)"$/gm)].map(([, key, value]) => [key!, value!]),
  );
  const child = spawn(deno, [
    ...["run", "--cached-only", "--node-modules-dir=manual", "--no-lock", "--no-prompt"],
    ...["--config", join(entry, "deno.json"), "--allow-net", "--allow-env", "--allow-read", "--allow-sys"],
    ...[host, join(entry, "index.ts"), String(port)],
  ], {
    cwd: place,
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      NO_COLOR: "1",
      SUPABASE_URL: `https://${REF}.supabase.co`,
      SUPABASE_ANON_KEY: "sb_publishable_x",
      SUPABASE_DB_URL: db.url(),
      ...secrets,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) stream!.on("data", (chunk) => output += chunk);
  for (;;) {
    if (child.exitCode !== null) throw new Error(`function ${name} does not start:\n${output}`);
    const answers = await fetch(`http://127.0.0.1:${port}/${name}/none`).then(() => true, () => false);
    if (answers) return { child, port };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** As the platform's: /functions/v1/<name>/… is what the function sees as /<name>/…. */
async function gatewayTo(ports: Map<string, number>): Promise<{ url: string; close(): void }> {
  const server = createServer(async (request, response) => {
    const [, name, rest] = /^\/functions\/v1\/([\w-]+)(.*)$/.exec(request.url!)!;
    const answer = await fetch(`http://127.0.0.1:${ports.get(name!)}/${name}${rest}`, {
      method: request.method!,
      headers: { authorization: request.headers.authorization ?? "" },
    });
    response.writeHead(answer.status, { "content-type": answer.headers.get("content-type")! });
    response.end(Buffer.from(await answer.arrayBuffer()));
  });
  const { url } = await listen(server);
  return { url, close: () => server.close() };
}

async function listen(server: ReturnType<typeof createServer>): Promise<{ url: string; port: number }> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, port };
}
