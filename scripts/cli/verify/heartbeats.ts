/**
 * Heartbeats: once an hour a log says how far each chain had come. So silence is the absence of events and not of the
 * log, and a chain that is left out, or ends too early, is seen.
 */
import { formatHex } from "../../../functions/_shared/tlog/text.ts";
import type { Chains } from "./chains.ts";
import { type Finding, type Ledger, plural } from "./ledger.ts";
import { type Claim, readHeartbeat } from "./month.ts";

/** A heartbeat an hour, and as much again for one that comes late. */
const LONGEST_SILENCE = 7_200_000_000n;

type OpenClaim = Claim & { at: bigint; by: string; log: string };

export class Heartbeats {
  readonly #ledger: Ledger;
  /** What each chain's last claim was: chains that rest are claimed alike every hour. */
  readonly #last = new Map<number, Claim>();
  #open: OpenClaim[] = [];
  #alive: bigint | undefined;
  #silences = 0;
  count = 0;

  constructor(ledger: Ledger) {
    this.#ledger = ledger;
  }

  /** A sign that the log was on. */
  alive(at: bigint, log: string): void {
    if (this.#alive !== undefined && at - this.#alive > LONGEST_SILENCE) {
      this.#silences++;
      if (this.#silences <= MOST_SILENCES) {
        this.#ledger.leaveOpen(
          `That ${log} was on from ${instant(this.#alive)} to ${instant(at)}: no heartbeat says so.`,
        );
      }
    }
    if (this.#alive === undefined || at > this.#alive) this.#alive = at;
  }

  /** Reads an entry of the log's own chain, in the order of the log. */
  take(text: string, log: string, index: number): void {
    const heartbeat = readHeartbeat(text);
    if (heartbeat === undefined) return;
    if (heartbeat === "malformed") {
      const message = `The entry at index ${index} is a heartbeat that cannot be read.`;
      return this.#ledger.found({ code: "heartbeat_mismatch", message, log, index });
    }
    this.count++;
    this.alive(heartbeat.at, log);
    for (const claim of heartbeat.claims) {
      const last = this.#last.get(claim.chain);
      if (last?.seq === claim.seq && last.hash === claim.hash) continue;
      this.#last.set(claim.chain, claim);
      this.#open.push({ ...claim, at: heartbeat.at, by: heartbeat.name, log });
    }
  }

  /** Compares what was claimed with the entries of the log that has been read; `chains` still remembers them. */
  compare(chains: Chains): void {
    const differing = new Map<number, { first: OpenClaim; later: number }>();
    /** How far each chain is as heartbeats saw it. */
    const agreed = new Map<number, number>();
    this.#open = this.#open.filter((claim) => {
      const { chain, seq } = claim;
      const hash = chains.hashOf(chain, seq);
      if (hash === undefined) {
        // Not yet; or not any more, because the archive begins behind it.
        const head = chains.heads.get(chain);
        return head === undefined ? chains.isWhole : seq > head.seq;
      }
      const found = differing.get(chain);
      if (formatHex(hash) === claim.hash) {
        if (found === undefined) agreed.set(chain, seq);
      } else if (found === undefined) differing.set(chain, { first: claim, later: 0 });
      else found.later++;
      return false;
    });
    for (const [chain, { first, later }] of differing) {
      this.#ledger.found(mismatch(first, later, agreed.get(chain)));
    }
  }

  /** After the last log: what was claimed, and never came. */
  end(chains: Chains): void {
    const newest = [...chains.heads.values()].map(({ at }) => BigInt(at)).reduce((a, b) => a > b ? a : b, 0n);
    const late = new Map<number, OpenClaim>();
    for (const claim of this.#open) if (newest - claim.at > LONGEST_SILENCE) late.set(claim.chain, claim);
    for (const { chain, seq, by, at, log } of late.values()) {
      const message =
        `Heartbeat ${by} of ${instant(at)} says that chain ${chain} went to ${chain}-${seq}; the archive has ` +
        `nothing of it beyond ${chain}-${chains.heads.get(chain)?.seq ?? 0}.`;
      this.#ledger.found({ code: "entries_withheld", message, log, entry: `${chain}-${seq}` });
    }
    const waiting = new Set(this.#open.map(({ chain }) => chain).filter((chain) => !late.has(chain)));
    if (waiting.size > 0) {
      this.#ledger.leaveOpen(
        `The newest entries of ${plural(waiting.size, "chain")}: heartbeats name them, and they were not sealed yet.`,
      );
    }
    if (this.#silences > MOST_SILENCES) {
      this.#ledger.leaveOpen(
        `That it was on in ${plural(this.#silences - MOST_SILENCES, "other stretch", "other stretches")}.`,
      );
    }
  }
}

const MOST_SILENCES = 20;

function mismatch({ chain, seq, by, at, log }: OpenClaim, later: number, agreed: number | undefined): Finding {
  const entry = `${chain}-${seq}`;
  const message = [`Entry ${entry} is another one than heartbeat ${by} of ${instant(at)} saw`];
  if (later > 0) message.push(`, and so are ${plural(later, "entry", "entries")} that later ones saw`);
  if (agreed !== undefined) message.push(`; ${chain}-${agreed} is as it was seen, so the change is behind it`);
  return { code: "heartbeat_mismatch", message: `${message.join("")}.`, log, entry };
}

/** Microseconds as people write them, to the second. */
export function instant(at: bigint): string {
  const milliseconds = Number(at / 1000n);
  return Math.abs(milliseconds) > 8.64e15 ? `${at} µs` : new Date(milliseconds).toISOString().replace(/\.\d+Z$/, "Z");
}
