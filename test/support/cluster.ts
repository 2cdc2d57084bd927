// A PostgreSQL cluster for tests: the Supabase base and the product, loaded once, in databases that others are cloned
// from. PG_BIN names the bin folder of another installation, so the same suite runs on another version.
import { chmod, mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { createEventTriggers, loadBase } from "../../scripts/stack/base.ts";
import { type Cluster, databaseUrl, startPostgres } from "../../scripts/stack/postgres.ts";

/** `base`: Supabase without us. `product`: and sql/*.sql. `application`: and the tables of application.sql, tracked. */
export type Template = "base" | "product" | "application";

export type TestCluster = Cluster & {
  /** Stops the server and deletes its data. */
  remove(): Promise<void>;
};

/**
 * Starts a cluster of your own, for settings that the shared one does not have; else createDatabase() is enough.
 * Commits are not flushed to disk unless the settings say `fsync: "on"`.
 */
export async function startTestCluster(settings: Record<string, string> = {}): Promise<TestCluster> {
  const folder = await mkdtemp(join(tmpdir(), "audit-test-"));
  await chmod(folder, 0o755); // as root, the server runs as another user
  const cluster = await startPostgres({
    dataDir: join(folder, "data"),
    settings: { fsync: "off", max_connections: "200", ...settings },
    ...(process.env.PG_BIN ? { bin: process.env.PG_BIN } : {}),
  });
  await loadTemplates(cluster);
  return Object.assign(cluster, {
    async remove() {
      await cluster.stop("immediate");
      await rm(folder, { recursive: true, force: true });
    },
  });
}

async function loadTemplates(cluster: Cluster): Promise<void> {
  await run(cluster.adminUrl(), ["create database base"]);
  await loadBase(cluster.adminUrl("base"));
  await run(cluster.adminUrl(), ["create database product template base owner postgres"]);
  await run(databaseUrl(cluster.port, "postgres", undefined, "product"), await productSql());
  await createEventTriggers(cluster.adminUrl("product"));
  await run(cluster.adminUrl(), ["create database application template product owner postgres"]);
  const application = await readFile(new URL("application.sql", import.meta.url), "utf8");
  await run(databaseUrl(cluster.port, "postgres", undefined, "application"), [application]);
}

/** The product's source in the order in which it is loaded, one text a file. */
export async function productSql(): Promise<string[]> {
  const folder = new URL("../../sql/", import.meta.url);
  const files = (await readdir(folder)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(files.map((name) => readFile(new URL(name, folder), "utf8")));
}

async function run(url: string, scripts: string[]): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    for (const script of scripts) await client.query(script);
  } finally {
    await client.end();
  }
}
