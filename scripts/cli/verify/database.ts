// The entries in a database beside those in a verified archive: which were changed, deleted or added there since. The one
// file of the verification that reaches a database, which is asked for entries and never believed.
import pg from "pg";
import { entryHash } from "../../../functions/_shared/entry.ts";
import { formatHex } from "../../../functions/_shared/tlog/text.ts";
import { count, type Ledger, plural } from "./ledger.ts";
import type { OrganizationVerdict } from "./organization.ts";

const FETCH = 10_000;
const MOST_NAMED = 50;

/** A row as the database shows it. */
export type Row = { chain: number; seq: number; text: string; hash: string };

/** Compares all entries of an organisation, of which all hashes must have been kept. */
export async function compareDatabase(url: string, organization: OrganizationVerdict, ledger: Ledger): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    await client.query("begin isolation level repeatable read read only");
    await client.query(`declare entries no scroll cursor for
         select a.chain, a.seq::float8 as seq, audit.entry_text(a) as text, encode(a.hash, 'hex') as hash
         from public.audit_logs a where a.organization_id = $1 order by a.chain, a.seq`.replace(
      "$1",
      pg.escapeLiteral(organization.organizationId),
    ));
    await compareRows(fetched(client), organization, ledger);
  } finally {
    await client.end();
  }
}

async function* fetched(client: pg.Client): AsyncGenerator<Row> {
  for (let more = true; more;) {
    const { rows } = await client.query<Row>(`fetch ${FETCH} from entries`);
    yield* rows;
    more = rows.length === FETCH;
  }
}

/** Rows come by chain and seq. */
export async function compareRows(
  rows: AsyncIterable<Row> | Iterable<Row>,
  { organizationId, chains, logs, purges }: Omit<OrganizationVerdict, "heartbeats">,
  ledger: Ledger,
): Promise<void> {
  const isSigned = logs.every((log) => log.isSigned || log.state === "expired");
  const archived = new Map(chains.remembered().map(({ chain, from, to }) => [chain, { from, to }]));
  const differences = new Differences(ledger);
  let equal = 0;
  let unsealed = 0;
  let older = 0;
  const seen = new Map<number, { from: number; to: number }>();
  for await (const { chain, seq, text, hash } of rows) {
    const before = seen.get(chain);
    if (before === undefined) seen.set(chain, { from: seq, to: seq });
    else {
      if (seq > before.to + 1) differences.missing(chain, before.to + 1, seq - 1);
      if (seq <= before.to) differences.note(chain, seq, "stands in the database twice");
      before.to = seq;
    }
    const range = archived.get(chain);
    if (range === undefined || seq > range.to) unsealed++;
    else if (seq < range.from) older++;
    else {
      const recomputed = entryHash(text);
      if (recomputed !== formatHex(chains.hashOf(chain, seq)!)) {
        differences.note(
          chain,
          seq,
          isSigned
            ? "was changed in the database: the archive has what was signed"
            : "is not the same in the database and in the archive, which is not proved itself",
        );
      } else if (recomputed !== hash) differences.note(chain, seq, "has another hash beside it in the database");
      else equal++;
    }
  }
  let purged = 0;
  for (const [chain, { from, to }] of archived) {
    const there = seen.get(chain);
    const gone = Math.min((there?.from ?? to + 1) - 1, to);
    // What retention lets go of, an entry of the log tells.
    const bound = Math.max(
      0,
      ...purges.flatMap(({ bounds }) => bounds.filter((each) => each.chain === chain)).map(({ seq }) => seq),
    );
    if (gone > Math.max(bound, from - 1)) differences.missing(chain, Math.max(bound + 1, from), gone);
    purged += Math.max(0, Math.min(gone, bound) - from + 1);
    if (there !== undefined && there.to < to) differences.missing(chain, there.to + 1, to);
  }
  if (differences.end(organizationId)) {
    ledger.prove(
      `The database has ${plural(equal, "entry", "entries")} of ${organizationId} exactly as the archive has them.`,
    );
  }
  if (purged > 0) {
    ledger.leaveOpen(
      `The oldest ${
        plural(purged, "entry", "entries")
      } of ${organizationId} in the database: retention let go of them, as ` + "log.purged entries say.",
    );
  }
  if (unsealed > 0) {
    ledger.leaveOpen(`${plural(unsealed, "entry", "entries")} of ${organizationId} in the database: not sealed yet.`);
  }
  if (older > 0) {
    ledger.leaveOpen(
      `${plural(older, "entry", "entries")} of ${organizationId} in the database: older than this archive.`,
    );
  }
}

/** What differs, entries of a chain that follow each other together: whoever changes one hashes the others again to fit. */
class Differences {
  readonly #ledger: Ledger;
  #count = 0;
  #run: { chain: number; from: number; to: number; what: string } | undefined;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  note(chain: number, seq: number, what: string): void {
    const run = this.#run;
    if (run?.chain === chain && run.what === what && seq === run.to + 1) run.to = seq;
    else {
      this.#flush();
      this.#run = { chain, from: seq, to: seq, what };
    }
  }

  missing(chain: number, from: number, to: number): void {
    this.#flush();
    this.#run = { chain, from, to, what: "is missing in the database" };
  }

  /** Whether there were none. */
  end(organizationId: string): boolean {
    this.#flush();
    if (this.#count > MOST_NAMED) {
      const message = `${count(this.#count - MOST_NAMED)} more stretches of ${organizationId} differ in the database.`;
      this.#ledger.found({ code: "database_differs", message });
    }
    return this.#count === 0;
  }

  #flush(): void {
    if (this.#run === undefined) return;
    const { chain, from, to, what } = this.#run;
    this.#run = undefined;
    if (++this.#count > MOST_NAMED) return;
    const entry = `${chain}-${from}`;
    const rest = from === to ? "" : ` So with ${plural(to - from, "entry", "entries")} behind it, to ${chain}-${to}.`;
    this.#ledger.found({ code: "database_differs", message: `Entry ${entry} ${what}.${rest}`, entry });
  }
}
