/**
 * The chains of an organisation, followed through all its logs: every entry has its place, links to the one before it,
 * and is no older. What bundles have found within themselves is put together here.
 */
import { firstPrevHash } from "../../../functions/_shared/entry.ts";
import { HASH_BYTES } from "../../../functions/_shared/tlog/hash.ts";
import { formatHex } from "../../../functions/_shared/tlog/text.ts";
import type { Segment } from "./bundle_check.ts";
import type { Time } from "./entry_scan.ts";
import { type Finding, plural } from "./ledger.ts";

/** Where a chain stands. */
export type Head = { seq: number; hash: Uint8Array; at: Time; log: string; index: number };

/** A break, and which entries it leaves in doubt: the two that do not fit together. */
export type Break = Finding & { chain?: number; before?: { name: string; log: string; index: number } };

export class Chains {
  readonly heads = new Map<number, Head>();
  /** Chains whose beginning the archive does not have, and the first entry that it has of each. */
  readonly onTrust = new Map<number, number>();
  readonly #hashes = new Map<number, HashRow>();
  readonly #organizationId: string;
  /** Whether every chain must begin with its first entry: in a history that is there from its first log on. */
  isWhole = false;

  constructor(organizationId: string) {
    this.#organizationId = organizationId;
  }

  /** Takes the next entries of a chain in the order of the log; answers what does not fit. `hashes` is of their bundle. */
  join(segment: Segment, hashes: Uint8Array, log: string, first: number): Break | undefined {
    const { chain, seq, count, lastAt, position, lastPosition, hashAt } = segment;
    const rows = hashes.subarray(hashAt, hashAt + count * HASH_BYTES);
    const found = this.#judge(segment, log, first + position);
    const hash = rows.slice(rows.length - HASH_BYTES);
    this.heads.set(chain, { seq: seq + count - 1, hash, at: lastAt, log, index: first + lastPosition });
    let row = this.#hashes.get(chain);
    // Behind a break, which has been reported, they are remembered anew.
    if (row?.to !== seq - 1) this.#hashes.set(chain, row = new HashRow(seq));
    row.push(rows);
    return found;
  }

  /** The hash of an entry that was seen and is still remembered. */
  hashOf(chain: number, seq: number): Uint8Array | undefined {
    return this.#hashes.get(chain)?.get(seq);
  }

  /** What is remembered of each chain. */
  remembered(): { chain: number; from: number; to: number }[] {
    return [...this.#hashes].map(([chain, row]) => ({ chain, from: row.from, to: row.to }));
  }

  /** Lets go of all hashes but those of each chain's last entry: 32 bytes for each entry of a log are enough. */
  forget(): void {
    for (const [chain, { seq, hash }] of this.heads) {
      const row = new HashRow(seq);
      row.push(hash);
      this.#hashes.set(chain, row);
    }
  }

  #judge({ chain, seq, prevHash, firstAt }: Segment, log: string, index: number): Break | undefined {
    const entry = `${chain}-${seq}`;
    const at = { log, index, entry, chain };
    const head = this.heads.get(chain);
    if (head === undefined) {
      if (seq === 1) {
        if (prevHash === firstPrevHash(this.#organizationId, chain)) return undefined;
        return { code: "link_mismatch", message: `The first entry of chain ${chain} does not begin it.`, ...at };
      }
      if (!this.isWhole) {
        this.onTrust.set(chain, seq);
        return undefined;
      }
      return missing(chain, 1, seq - 1, at);
    }
    const before = { name: `${chain}-${head.seq}`, log: head.log, index: head.index };
    if (seq <= head.seq) {
      const message = `Entry ${entry} stands behind ${before.name}, where ${chain}-${head.seq + 1} should stand.`;
      return { code: "entry_repeated", message, ...at, before };
    }
    if (seq > head.seq + 1) return { ...missing(chain, head.seq + 1, seq - 1, at), before };
    if (prevHash !== formatHex(head.hash)) {
      const message = `Entry ${entry} does not link to ${before.name} as it stands: one of the two was changed.`;
      return { code: "link_mismatch", message, ...at, before };
    }
    if (firstAt < head.at) {
      return {
        code: "time_reversed",
        message: `Entry ${entry} is older than ${before.name} before it.`,
        ...at,
        before,
      };
    }
    return undefined;
  }
}

function missing(chain: number, from: number, to: number, at: Pick<Break, "log" | "index" | "entry" | "chain">): Break {
  const which = from === to ? `Entry ${chain}-${from} is` : `Entries ${chain}-${from} to ${chain}-${to} are`;
  const message = `${which} missing before ${at.entry} (${plural(to - from + 1, "entry", "entries")}).`;
  return { code: "entries_missing", message, ...at };
}

/** The hashes of consecutive entries, in memory that grows by half. */
class HashRow {
  readonly from: number;
  #rows = new Uint8Array(16 * HASH_BYTES);
  #length = 0;

  constructor(from: number) {
    this.from = from;
  }

  get to(): number {
    return this.from + this.#length / HASH_BYTES - 1;
  }

  push(rows: Uint8Array): void {
    const length = this.#length + rows.length;
    if (length > this.#rows.length) {
      const larger = new Uint8Array(Math.max(length, this.#rows.length * 1.5));
      larger.set(this.#rows.subarray(0, this.#length));
      this.#rows = larger;
    }
    this.#rows.set(rows, this.#length);
    this.#length = length;
  }

  get(seq: number): Uint8Array | undefined {
    const at = (seq - this.from) * HASH_BYTES;
    return at < 0 || at >= this.#length ? undefined : this.#rows.subarray(at, at + HASH_BYTES);
  }
}
