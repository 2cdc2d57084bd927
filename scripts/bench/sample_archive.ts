/** Archives as sealing makes them, of entries that never were: for tests, and to measure verification. */
import { type EntryRow, entryText, firstPrevHash } from "../../functions/_shared/entry.ts";
import { formatCheckpoint } from "../../functions/_shared/tlog/checkpoint.ts";
import { appendEntry, type Edge, emptyEdge, type LogFile, partialFiles } from "../../functions/_shared/tlog/edge.ts";
import { treeOf } from "../../functions/_shared/tlog/frontier.ts";
import { formatHash, leafHash, type Tree } from "../../functions/_shared/tlog/hash.ts";
import { renameKey, type SignerKey } from "../../functions/_shared/tlog/key.ts";
import { formatNote, noteSigner, signNote } from "../../functions/_shared/tlog/note.ts";
import { encodeText, formatHex } from "../../functions/_shared/tlog/text.ts";
import { tilePath } from "../../functions/_shared/tlog/tile.ts";
import { LOG_CHAIN } from "../cli/verify/bundle_check.ts";

/** Where files go, by their path in the archive. */
export type Write = (path: string, bytes: Uint8Array) => Promise<void> | void;

export type SampleOptions = {
  /** Named like the deployment. */
  keys: SignerKey[];
  write: Write;
  /** What becomes of a row before it is hashed; whatever is changed, the chain behind it is hashed to fit. */
  change?: (row: EntryRow) => EntryRow;
  /** Characters of text in the details of each entry. */
  padding?: number;
};

const HOUR = 3_600_000_000n;
const BATCH = 20;

/** The logs of one organisation, month after month. */
export class SampleOrganization {
  readonly #id: string;
  readonly #options: SampleOptions;
  readonly #heads = new Map<number, { seq: number; hash: string }>();
  #previous: (Tree & { origin: string }) | null = null;
  #heartbeatAt = 0n;
  #now = 0n;

  constructor(organizationId: string, options: SampleOptions) {
    this.#id = organizationId;
    this.#options = options;
  }

  /**
   * Writes the log of a month: its opening, entries of `chains` chains in batches, a heartbeat an hour. `checkpoints` are
   * sizes between at which a checkpoint was published; answers the notes by size.
   */
  async month(
    month: string,
    size: number,
    { chains = 3, checkpoints = [] as number[], interval = 20_000_000n } = {},
  ): Promise<Map<number, string>> {
    const origin = `${this.#options.keys[0]!.name}/${this.#id}/${month}`;
    const log = new SampleLog(origin, `${this.#id}/${month}`, this.#options);
    const published = new Map<number, string>();
    this.#now = BigInt(Date.parse(`${month}-01T00:00:00Z`)) * 1000n;
    this.#heartbeatAt = this.#now + HOUR;
    const add = async (chain: number, row: Partial<EntryRow>) => {
      await log.append(encodeText(this.#entry(chain, row)));
      if (checkpoints.includes(log.size) || log.size === size) published.set(log.size, await log.publish());
    };
    if (size === 0) published.set(0, await log.publish());
    while (log.size < size) {
      if (log.size === 0) {
        const previous = this.#previous && { ...this.#previous, root: formatHash(this.#previous.root) };
        const details = `{"origin": ${JSON.stringify(origin)}, "previous": ${spaced(previous)}}`;
        await add(LOG_CHAIN, { action: "log.opened", resource_type: "log", resource_id: origin, details });
        continue;
      }
      for (let chain = 1; chain <= chains; chain++) {
        for (let number = 0; number < BATCH / chain && log.size < size; number++) {
          this.#now += interval;
          const text = "x".repeat(this.#options.padding ?? 10);
          await add(chain, { details: `{"new": {"text": "${text}", "number": ${log.size}}}` });
        }
      }
      if (this.#now >= this.#heartbeatAt && log.size < size) {
        this.#heartbeatAt = this.#now + HOUR;
        const heads = [...this.#heads].filter(([chain]) => chain !== LOG_CHAIN).map(([chain, { seq, hash }]) =>
          `[${chain}, ${seq}, "${hash}"]`
        );
        await add(LOG_CHAIN, {
          action: "log.heartbeat",
          resource_type: "log",
          details: `{"heads": [${heads.join(", ")}]}`,
        });
      }
    }
    this.#previous = { origin, ...log.tree };
    return published;
  }

  #entry(chain: number, row: Partial<EntryRow>): string {
    const head = this.#heads.get(chain) ?? { seq: 0, hash: firstPrevHash(this.#id, chain) };
    const { change = (same) => same } = this.#options;
    const text = entryText(
      change({
        organization_id: this.#id,
        chain,
        seq: head.seq + 1,
        created_at: this.#now,
        action: "query.executed",
        outcome: "success",
        resource_type: "query",
        resource_id: "1b4e28ba-2fa1-41d2-883f-0016d3cca427",
        created_by: "10000000-0000-4000-8000-000000000001",
        actor_type: "user",
        identity_hash: null,
        provider: "anthropic",
        cost: "0.00120",
        request_id: "req_8f14e45f",
        details: "{}",
        prev_hash: head.hash,
        ...row,
      }),
    );
    this.#heads.set(chain, { seq: head.seq + 1, hash: formatHex(leafHash(encodeText(text))) });
    return text;
  }
}

/** A log of any entries. */
export class SampleLog {
  readonly #origin: string;
  readonly #folder: string;
  readonly #options: SampleOptions;
  readonly #edge: Edge = emptyEdge();

  constructor(origin: string, folder: string, options: SampleOptions) {
    this.#origin = origin;
    this.#folder = folder;
    this.#options = options;
  }

  get size(): number {
    return this.#edge.frontier.size;
  }

  get tree(): Tree {
    return treeOf(this.#edge.frontier);
  }

  async append(entry: Uint8Array): Promise<void> {
    await this.#put(appendEntry(this.#edge, entry));
  }

  /** Writes what a checkpoint of this size makes mandatory, and the checkpoint. */
  async publish(): Promise<string> {
    await this.#put(partialFiles(this.#edge));
    const text = formatCheckpoint({ origin: this.#origin, ...this.tree, extensions: [] });
    const note = await signNote(text, this.#options.keys.map((key) => noteSigner(renameKey(key, this.#origin))));
    const checkpoint = formatNote(note);
    await this.#options.write(`${this.#folder}/checkpoint`, encodeText(checkpoint));
    return checkpoint;
  }

  async #put(files: LogFile[]): Promise<void> {
    for (const { tile, bytes } of files) await this.#options.write(`${this.#folder}/${tilePath(tile)}`, bytes);
  }
}

/** As PostgreSQL prints jsonb. */
function spaced(value: unknown): string {
  return JSON.stringify(value, null, 1).replaceAll(/\n\s*/g, " ").replaceAll("{ ", "{").replaceAll(" }", "}");
}
