// What is compared: the same application unaudited, with this product, and with supa_audit. Each is a template
// database; every run gets a fresh copy, because a log cannot be emptied and a full one would be slower than a new one.
import { readdir, readFile } from "node:fs/promises";
import pg from "pg";
import { createEventTriggers, loadBase } from "../stack/base.ts";
import { type Cluster, databaseUrl } from "../stack/postgres.ts";
import { SAMPLE_TABLE, sessionSettings } from "./sample.ts";

export const VARIANTS = ["unaudited", "ours", "supa_audit"] as const;
export type Variant = typeof VARIANTS[number];

/** A database of one variant; `url` is for role postgres, as on Supabase, `adminUrl` for the superuser. */
export type Database = { variant: Variant; url: string; adminUrl: string };

const SQL = new URL("../../sql/", import.meta.url);

/** Returns the variants that are there: supa_audit only where its SQL file is given. */
export async function makeTemplates(cluster: Cluster, supaAuditFile: string | undefined): Promise<Variant[]> {
  const variants = VARIANTS.filter((variant) => variant !== "supa_audit" || supaAuditFile !== undefined);
  for (const variant of variants) await makeTemplate(cluster, variant, supaAuditFile);
  await withClient(cluster.adminUrl(), (client) => client.query(sessionSettings()));
  return variants;
}

export async function makeTemplate(cluster: Cluster, variant: Variant, supaAuditFile?: string): Promise<void> {
  await withClient(cluster.adminUrl(), (client) => client.query(`create database template_${variant}`));
  await loadBase(cluster.adminUrl(`template_${variant}`));
  await withClient(
    databaseUrl(cluster.port, "postgres", undefined, `template_${variant}`),
    async (client) => {
      await client.query(SAMPLE_TABLE);
      if (variant === "ours") {
        await loadProduct(client);
        await client.query("select audit.track('public.llm_queries')");
      }
      if (variant === "supa_audit") await loadSupaAudit(client, supaAuditFile!);
    },
  );
  await createEventTriggers(cluster.adminUrl(`template_${variant}`));
}

/** Every run starts alike: new database, statistics known, everything written out. */
export function withDatabase<T>(
  cluster: Cluster,
  variant: Variant,
  work: (database: Database) => Promise<T>,
): Promise<T> {
  return withClient(cluster.adminUrl(), async (admin) => {
    await admin.query(`create database run template template_${variant}`);
    try {
      const adminUrl = cluster.adminUrl("run");
      await withClient(adminUrl, (client) => client.query("vacuum analyze"));
      await admin.query("checkpoint");
      return await work({ variant, url: databaseUrl(cluster.port, "postgres", undefined, "run"), adminUrl });
    } finally {
      await admin.query("drop database run with (force)");
    }
  });
}

export async function withClient<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url });
  client.on("error", () => {}); // a server that goes away fails the query in flight, or the next
  await client.connect();
  try {
    return await work(client);
  } finally {
    await client.end();
  }
}

/** The product's SQL files in the order in which they are loaded. */
export async function productSources(): Promise<{ name: string; source: string }[]> {
  const names = (await readdir(SQL)).filter((name) => name.endsWith(".sql")).sort();
  return Promise.all(names.map(async (name) => ({ name, source: await readFile(new URL(name, SQL), "utf8") })));
}

/** Loads the product into a database, or loads it anew. */
export async function loadProduct(client: pg.Client): Promise<void> {
  await client.query("begin");
  for (const { name, source } of await productSources()) {
    await client.query(source).catch((error) => {
      throw new Error(`sql/${name}: ${error.message}`, { cause: error });
    });
  }
  await client.query("commit");
}

/** Its file is the script of an extension; here it is loaded as plain SQL. */
async function loadSupaAudit(client: pg.Client, file: string): Promise<void> {
  const script = (await readFile(file, "utf8"))
    .replaceAll(/^\\echo .*$/gm, "")
    .replaceAll(/^select pg_catalog\.pg_extension_config_dump\(.*\);$/gm, "");
  await client.query("create schema if not exists audit");
  await client.query(script);
  await client.query("select audit.enable_tracking('public.llm_queries'::regclass)");
}
