/** What a log's entries tell of the log itself: how it was opened, that it was alive, what retention let go of. */
import { type EntryRow, parseEntryText } from "../../../functions/_shared/entry.ts";
import { parseHash, type Tree } from "../../../functions/_shared/tlog/hash.ts";
import { parseDecimal } from "../../../functions/_shared/tlog/text.ts";
import { LOG_CHAIN } from "./bundle_check.ts";

/** What entry 0 of a log says: the final checkpoint of the log before, or null in the first. */
export type Opening = { origin: string; previous: (Tree & { origin: string }) | null; at: bigint };

/** Where a chain stood. */
export type Claim = { chain: number; seq: number; hash: string };

/** Undefined where the entry does not open a log as it must. */
export function readOpening(text: string | Uint8Array): Opening | undefined {
  const row = parseEntryText(text);
  if (row?.action !== "log.opened" || row.resource_type !== "log" || row.chain !== LOG_CHAIN) return undefined;
  const { origin, previous } = detailsOf(row);
  if (typeof origin !== "string" || origin !== row.resource_id) return undefined;
  const tree = previous === null ? null : readTree(previous);
  return tree === undefined ? undefined : { origin, previous: tree, at: row.created_at };
}

/** The heads in a heartbeat; undefined where the entry is none, "malformed" where it is not as it must be. */
export function readHeartbeat(text: string): { at: bigint; name: string; claims: Claim[] } | "malformed" | undefined {
  const row = parseEntryText(text);
  if (row?.action !== "log.heartbeat" || row.chain !== LOG_CHAIN) return undefined;
  const claims = readClaims(detailsOf(row)["heads"] ?? []);
  return claims === undefined ? "malformed" : { at: row.created_at, name: nameOf(row), claims };
}

/** What retention let go of: the archive of a log, or entries of the database up to those. */
export type Purge = { name: string; log?: Tree & { origin: string }; bounds: Claim[] };

/** Undefined where the entry tells of no purge that can be read; then what is gone is missing. */
export function readPurge(text: string): Purge | undefined {
  const row = parseEntryText(text);
  if (row?.action !== "log.purged") return undefined;
  const details = detailsOf(row);
  const log = readTree(details);
  const bounds = readClaims(details["bounds"] ?? []);
  return { name: nameOf(row), bounds: bounds ?? [], ...(log === undefined ? {} : { log }) };
}

function readClaims(value: unknown): Claim[] | undefined {
  if (!Array.isArray(value)) return undefined;
  const claims = value.map((each): Claim | undefined => {
    const [chain, seq, hash] = Array.isArray(each) ? each : [];
    const isClaim = Number.isSafeInteger(chain) && Number.isSafeInteger(seq) && /^[0-9a-f]{64}$/.test(String(hash));
    return isClaim ? { chain, seq, hash } : undefined;
  });
  return claims.every((claim) => claim !== undefined) ? claims : undefined;
}

function nameOf({ chain, seq }: EntryRow): string {
  return `${chain}-${seq}`;
}

function readTree(value: unknown): (Tree & { origin: string }) | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { origin, size, root } = value as Record<string, unknown>;
  const entries = parseDecimal(String(size));
  const hash = parseHash(String(root));
  if (typeof origin !== "string" || entries === undefined || hash === undefined) return undefined;
  return { origin, size: entries, root: hash };
}

function detailsOf(row: EntryRow): Record<string, unknown> {
  return JSON.parse(row.details) as Record<string, unknown>;
}
