// What an archive says of itself, read before anything is put back: whom it erased, what it let go of, how far chains were.
import { Buffer } from "node:buffer";
import { type EntryRow, parseEntryText } from "../../../functions/_shared/entry.ts";
import type { SealedEntry } from "./log.ts";

/** Where a chain stood. */
export type Position = { seq: number; hash: string };

/** An entry's name and time. */
export type Place = { chain: number; seq: number; at: bigint };

export type Facts = {
  /** The last life of the log that a log.restored entry tells of; 1 without. */
  incarnation: number;
  /** The time of the oldest entry. */
  oldest: bigint | undefined;
  /** Entries subject.erased; their details as JSON. */
  erasures: { organizationId: string; at: bigint; details: string }[];
  /** The first entry of each chain that the archive has. */
  firsts: Map<string, Place>;
  /** What log.purged entries say of each chain, the furthest. */
  bounds: Map<string, Position & { stated: Place }>;
  /** The furthest that heartbeats have seen of each chain. */
  claims: Map<string, Position>;
  /** Backups that were made. */
  backups: { name: string; madeAt: string; sha256: string }[];
};

/** Whose log tells of the whole deployment: `audit.system_organization()`. */
export const SYSTEM = "00000000-0000-0000-0000-000000000000";

export function noFacts(): Facts {
  return {
    incarnation: 1,
    oldest: undefined,
    erasures: [],
    firsts: new Map(),
    bounds: new Map(),
    claims: new Map(),
    backups: [],
  };
}

export function chainKey(organizationId: string, chain: number): string {
  return `${organizationId}/${chain}`;
}

/** Notes what entries of an organisation's log tell, in their order. */
export function noteFacts(facts: Facts, organizationId: string, entries: SealedEntry[]): void {
  for (const { bytes } of entries) {
    // Everything up to the action is ASCII and stands at the beginning.
    const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.length, HEAD_BYTES)).toString("latin1");
    const [, chain, seq, at, action] = HEAD.exec(head) ?? [];
    if (chain === undefined) continue;
    const place = { chain: Number(chain), seq: Number(seq), at: BigInt(at!) };
    const key = chainKey(organizationId, place.chain);
    if (!facts.firsts.has(key)) facts.firsts.set(key, place);
    if (facts.oldest === undefined || place.at < facts.oldest) facts.oldest = place.at;
    if (!TELLING.has(action!)) continue;
    const row = parseEntryText(bytes);
    if (row !== undefined) noteEntry(facts, row, place);
  }
}

const TELLING = new Set(["subject.erased", "log.purged", "log.restored", "log.heartbeat", "backup.made"]);
const HEAD_BYTES = 300;
const HEAD = /^\{"v":1,"organization_id":"[^"]+","chain":(\d+),"seq":(\d+),"created_at":(-?\d+),"action":"([^"\\]+)"/;

function noteEntry(facts: Facts, row: EntryRow, place: Place): void {
  const { organization_id: organizationId } = row;
  const details = JSON.parse(row.details) as Record<string, unknown>;
  const isOfSystem = organizationId === SYSTEM;
  if (row.action === "subject.erased") {
    facts.erasures.push({ organizationId, at: place.at, details: row.details });
  } else if (row.action === "log.purged") {
    for (const { chain, seq, hash } of positions(details["bounds"])) {
      const before = facts.bounds.get(chainKey(organizationId, chain));
      if (before === undefined || before.seq < seq) {
        facts.bounds.set(chainKey(organizationId, chain), { seq, hash, stated: place });
      }
    }
  } else if (row.action === "log.restored" && isOfSystem) {
    const { incarnation } = details;
    if (Number.isSafeInteger(incarnation)) facts.incarnation = Math.max(facts.incarnation, incarnation as number);
  } else if (row.action === "backup.made" && isOfSystem) {
    const { made_at: madeAt, sha256 } = details;
    facts.backups.push({ name: row.resource_id ?? "", madeAt: String(madeAt), sha256: String(sha256) });
  } else if (row.action === "log.heartbeat") {
    for (const { chain, seq, hash } of positions(details["heads"])) {
      const before = facts.claims.get(chainKey(organizationId, chain));
      if (before === undefined || before.seq < seq) facts.claims.set(chainKey(organizationId, chain), { seq, hash });
    }
  }
}

/** `[[chain, seq, "<hash>"], …]`; what is not is passed over, for verification has said it. */
function positions(value: unknown): { chain: number; seq: number; hash: string }[] {
  if (!Array.isArray(value)) return [];
  return value.flatMap((each) => {
    const [chain, seq, hash] = Array.isArray(each) ? each : [];
    const isPosition = Number.isSafeInteger(chain) && Number.isSafeInteger(seq) && /^[0-9a-f]{64}$/.test(String(hash));
    return isPosition ? [{ chain, seq, hash }] : [];
  });
}
