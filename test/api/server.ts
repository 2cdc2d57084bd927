// The functions as people reach them: in Deno, behind the gateway's stand-in, on a test database with an organisation,
// its people and their entries.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { SignJWT } from "jose";
import pg from "pg";
import { createFunctions } from "../../scripts/stack/functions.ts";
import { startGateway } from "../../scripts/stack/gateway.ts";
import { type Keys, makeKeys } from "../../scripts/stack/keys.ts";
import { freePort } from "../../scripts/stack/ports.ts";
import { createStorage } from "../../scripts/stack/storage.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { createDatabase, type TestDatabase } from "../support/database.ts";

export const ACME = "10000000-0000-4000-8000-000000000001";
export const OTHER = "20000000-0000-4000-8000-000000000002";
/** Administers ACME. */
export const ALICE = "a0000000-0000-4000-8000-000000000001";
/** A member of ACME. */
export const BOB = "b0000000-0000-4000-8000-000000000002";
/** A viewer of ACME. */
export const VERA = "c0000000-0000-4000-8000-000000000003";
/** Administers OTHER. */
export const OSCAR = "d0000000-0000-4000-8000-000000000004";
/** Administers both. */
export const BETTY = "e0000000-0000-4000-8000-000000000005";

export type Api = {
  db: TestDatabase;
  keys: Keys;
  /** Of the project: the gateway. */
  url: string;
  /** The `iss` of its tokens. */
  issuer: string;
  /** A token as Auth would sign it, with the claims changed that are given; undefined takes one away. */
  token(claims?: Record<string, unknown>, secret?: string): Promise<string>;
  /** A request to function `audit` by the person, by default Alice. */
  call(path: string, options?: CallOptions): Promise<Response>;
  /** Of function `audit` without the gateway, which decodes what it passes on. */
  directUrl(): Promise<string>;
  /** What a function printed. */
  output(name?: string): Promise<string>;
  stop(): Promise<void>;
};

export type CallOptions = {
  as?: string;
  method?: string;
  body?: unknown;
  headers?: Record<string, string>;
  /** Default `audit`. */
  of?: string;
  signal?: AbortSignal;
};

export type ApiOptions = {
  /** Environment variables of the functions, besides the usual ones. */
  env?: Record<string, string>;
  /** Of function `audit-jobs` alone, besides the usual ones. */
  secrets?: Record<string, string>;
  /** The port of a cluster of one's own. */
  cluster?: number;
  /** Something in front of the gateway, which the functions take for the project; answers its address. */
  inFront?: (gateway: string) => Promise<string>;
};

/** Starts the functions on a new database. They end with stop(). */
export async function startApi({ env = {}, secrets = {}, cluster, inFront }: ApiOptions = {}): Promise<Api> {
  const db = await createDatabase("application", cluster);
  await populate(db);
  const keys = await makeKeys();
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const projectUrl = await inFront?.(url) ?? url;
  const issuer = `${projectUrl}/auth/v1`;
  const folder = await mkdtemp(join(tmpdir(), "audit-api-"));
  const functions = createFunctions({
    root: fileURLToPath(new URL("../../", import.meta.url)),
    logDir: folder,
    env: {
      SUPABASE_URL: projectUrl,
      SUPABASE_ANON_KEY: keys.anon_key,
      SUPABASE_SERVICE_ROLE_KEY: keys.service_role_key,
      SUPABASE_DB_URL: db.url(),
      JWT_SECRET: keys.jwt_secret,
      AUDIT_DRAIN_SECRET: keys.drain_secret,
      ...env,
    },
    secrets: {
      "audit-jobs": { AUDIT_JOBS_SECRET: keys.jobs_secret, AUDIT_LOG_KEY: keys.log_key, ...secrets },
    },
  });
  const pool = new pg.Pool({ connectionString: db.url(ADMIN), options: "-c role=supabase_storage_admin" });
  // A server that is killed.
  pool.on("error", () => {}).on("connect", (client) => client.on("error", () => {}));
  const storage = createStorage({ pool, jwtSecret: keys.jwt_secret, dir: join(folder, "storage") });
  // Tokens are signed below.
  const noAuth = () => Promise.resolve(Response.json({ message: "not here" }, { status: 404 }));
  const gateway = await startGateway({ port, apiKeys: [keys.anon_key], auth: noAuth, storage, functions });

  const token = (claims: Record<string, unknown> = {}, secret = keys.jwt_secret): Promise<string> => {
    const now = Math.floor(Date.now() / 1000);
    const standard = {
      iss: issuer,
      aud: "authenticated",
      role: "authenticated",
      sub: ALICE,
      iat: now,
      exp: now + 3600,
    };
    return new SignJWT({ ...standard, ...claims }).setProtectedHeader({ alg: "HS256", typ: "JWT" })
      .sign(new TextEncoder().encode(secret));
  };
  const output = (name = "audit") => readFile(join(folder, `function-${name}.log`), "utf8").catch(() => "");
  return {
    db,
    keys,
    url,
    issuer,
    token,
    async call(path, { as = ALICE, method, body, headers = {}, of = "audit", signal } = {}) {
      return fetch(`${url}/functions/v1/${of}${path}`, {
        method: method ?? (body === undefined ? "GET" : "POST"),
        headers: {
          authorization: `Bearer ${await token({ sub: as, email: `${as.slice(0, 1)}@acme.example` })}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
          ...headers,
        },
        ...(body === undefined ? {} : { body: typeof body === "string" ? body : JSON.stringify(body) }),
        ...(signal === undefined ? {} : { signal }),
      });
    },
    output,
    async directUrl() {
      await fetch(`${url}/functions/v1/audit/health`).then((response) => response.text());
      return `${/Listening on (http:\/\/\S+?)\/?\s/.exec(await output())![1]}/audit`;
    },
    async stop() {
      await gateway.stop();
      await functions.stop();
      await pool.end();
      await db.drop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function populate(db: TestDatabase): Promise<void> {
  const client = await db.connect();
  await client.query(
    `insert into public.organizations (id, name) values ('${ACME}', 'Acme'), ('${OTHER}', 'Other');
     insert into public.organization_members (organization_id, user_id, role) values
       ('${ACME}', '${ALICE}', 'admin'), ('${ACME}', '${BOB}', 'member'), ('${ACME}', '${VERA}', 'viewer'),
       ('${OTHER}', '${OSCAR}', 'admin'), ('${ACME}', '${BETTY}', 'admin'), ('${OTHER}', '${BETTY}', 'admin');
     select audit.use_membership('public.organization_members');`,
  );
  await client.end();
}

/** A server that answers the same to everything, for what the functions fetch. */
export async function serve(answer: () => unknown): Promise<{ url: string; stop(): Promise<void> }> {
  const server: Server = createServer((_, response) => {
    response.setHeader("content-type", "application/json").end(JSON.stringify(answer()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => new Promise((resolve) => server.close(() => resolve())),
  };
}
