// How long a log takes to verify, in the database and outside of it, as it grows.
import pg from "pg";
import { type ChainPosition, type KeptEntry, verifyChain } from "../../functions/_shared/entry.ts";
import { withCluster } from "./cluster.ts";
import { type Machine, readMachine } from "./machine.ts";
import { insertMany } from "./sample.ts";
import { median } from "./statistics.ts";
import { judge, type Judged, VERIFY_GOAL } from "./targets.ts";
import { makeTemplates, withClient, withDatabase } from "./variants.ts";

export type VerifyOptions = { entries: number; dir?: string; onProgress(line: string): void };

type Size = { entries: number; sql_seconds: number; typescript_seconds: number };
export type VerifyReport = { machine: Machine; sizes: Size[]; targets: Judged[] };

const CONNECTIONS = 4;
const ORGANIZATIONS = 8;
const BATCH = 5_000;
const REPEATS = 3;
const FETCH = 20_000;

export function benchVerify({ entries, dir, onProgress }: VerifyOptions): Promise<VerifyReport> {
  return withCluster("disk", dir, async (cluster) => {
    const machine = await readMachine(cluster.adminUrl());
    await makeTemplates(cluster, undefined);
    const sizes: Size[] = [];
    await withDatabase(cluster, "ours", async ({ url, adminUrl }) => {
      for (const size of [entries / 10, entries / 2, entries].map(Math.ceil)) {
        await fill(url, size);
        // What autovacuum would do soon.
        await withClient(adminUrl, (client) => client.query("vacuum analyze"));
        onProgress(`${size} entries`);
        sizes.push(await withClient(url, (client) => measure(client, onProgress)));
      }
    });
    const largest = sizes.at(-1)!;
    return { machine, sizes, targets: [judge(VERIFY_GOAL, largest.sql_seconds * 1e6 / largest.entries)] };
  });
}

/** Adds rows to the tracked table until the log has `size` entries. */
async function fill(url: string, size: number): Promise<void> {
  const present = await withClient(url, countEntries);
  const batches = Array.from(
    { length: Math.ceil((size - present) / BATCH) },
    (_, index) => insertMany(Math.min(BATCH, size - present - index * BATCH), `${1 + index % ORGANIZATIONS}`),
  );
  await Promise.all(Array.from({ length: CONNECTIONS }, () =>
    withClient(url, async (client) => {
      for (let batch = batches.pop(); batch !== undefined; batch = batches.pop()) await client.query(batch);
    })));
}

async function measure(client: pg.Client, onProgress: VerifyOptions["onProgress"]): Promise<Size> {
  const time = async (name: string, work: (client: pg.Client) => Promise<void>): Promise<number> => {
    const times: number[] = [];
    while (times.length < REPEATS) {
      const start = performance.now();
      await work(client);
      times.push((performance.now() - start) / 1000);
      onProgress(`  ${name} ${times.length}/${REPEATS}: ${times.at(-1)!.toFixed(2)} s`);
    }
    return median(times);
  };
  return {
    entries: await countEntries(client),
    sql_seconds: await time("SQL", verifyInSql),
    typescript_seconds: await time("TypeScript", verifyOutside),
  };
}

async function countEntries(client: pg.Client): Promise<number> {
  const { rows: [row] } = await client.query("select count(*)::int as entries from public.audit_logs");
  return row.entries;
}

async function verifyInSql(client: pg.Client): Promise<void> {
  const { rows } = await client.query("select * from audit.verify() where status <> 'verified'");
  if (rows.length > 0) throw new Error(`chains that do not verify:\n${JSON.stringify(rows, null, 2)}`);
}

/** As an auditor's program would: entry texts and hashes out of the database, recomputed and followed to each head. */
async function verifyOutside(client: pg.Client): Promise<void> {
  const { rows: heads } = await client.query<{ organization_id: string; chain: number; hash: string }>(
    "select organization_id, chain, encode(hash, 'hex') as hash from audit.heads where seq > 0",
  );
  for (const { organization_id, chain, hash } of heads) {
    await client.query("begin");
    await client.query(
      `declare entries no scroll cursor for
         select audit.entry_text(a) as text, encode(a.hash, 'hex') as hash from public.audit_logs a
         where a.organization_id = '${organization_id}' and a.chain = ${chain} order by a.seq`,
    );
    let end: ChainPosition | null = null;
    for (let fetched = FETCH; fetched === FETCH;) {
      const { rows } = await client.query<KeptEntry>(`fetch ${FETCH} from entries`);
      const verdict = verifyChain(rows, end);
      if (!verdict.ok) throw new Error(`chain ${chain}: ${verdict.reason} at ${verdict.seq}`);
      end = verdict.end;
      fetched = rows.length;
    }
    await client.query("commit");
    if (end?.hash !== hash) throw new Error(`chain ${chain} does not end at its head`);
  }
}
