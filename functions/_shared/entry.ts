/**
 * Entries of the log outside the database, format version 1: the twin of sql/230_entry.sql and of the identity text in
 * sql/220_identities.sql. sql/FORMAT.md specifies every byte; test/vectors/entries.json, made by SQL, holds both to it.
 *
 * Nothing here reaches a network or a database, so an auditor can run it alone. Hashes are lower-case hex, as in the text.
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";

/** The columns of `public.audit_logs` that the hash is over, by their names. */
export type EntryRow = {
  organization_id: string;
  chain: number;
  seq: number;
  /** Microseconds since 1970, UTC. A double holds them until the year 2255; the column until 294276. */
  created_at: bigint;
  action: string;
  outcome: string;
  resource_type: string | null;
  resource_id: string | null;
  created_by: string | null;
  actor_type: string;
  identity_hash: string | null;
  provider: string | null;
  /** The digits PostgreSQL prints: "0.10" is not "0.1", and neither is a double. */
  cost: string | null;
  request_id: string | null;
  /** The text PostgreSQL prints, never parsed and written again: that would turn 1.0 into 1. */
  details: string;
  prev_hash: string;
};

/** The columns of `audit.identities` that a commitment is over. */
export type Identity = {
  organization_id: string;
  user_id: string | null;
  email: string | null;
  ip_address: string | null;
  user_agent: string | null;
};

/** Where a chain stands: an entry's place, time and hash. */
export type ChainPosition = {
  organization_id: string;
  chain: number;
  seq: number;
  created_at: bigint;
  hash: string;
};

/** An entry as it was kept: its text, and its hash where one was kept beside it. */
export type KeptEntry = { text: string | Uint8Array; hash?: string };

/** The kinds of break, in the words of `audit.verify()`, and two that only a text can have. */
export type Break =
  | "hash_mismatch"
  | "duplicate"
  | "gap"
  | "link_mismatch"
  | "time_reversed"
  /** Not an entry text of format version 1. */
  | "malformed"
  /** An entry of another chain than the one before it. */
  | "other_chain";

/** `end` is null for no entries. A break is a result, not an error; `seq` is where an intact entry should have stood. */
export type Verdict = { ok: true; end: ChainPosition | null } | { ok: false; seq: number; reason: Break };

/** Most bytes of an entry text: an archive bundle (C2SP tlog-tiles) prefixes each entry with its length in 16 bits. */
export const MAX_ENTRY_BYTES = 65_535;

/** `audit.entry_text()`; sql/FORMAT.md, "Entry text". */
export function entryText(row: EntryRow): string {
  return `{"v":1,"organization_id":"${row.organization_id}","chain":${row.chain},"seq":${row.seq}` +
    `,"created_at":${row.created_at},"action":${json(row.action)},"outcome":${json(row.outcome)}` +
    `,"resource_type":${json(row.resource_type)},"resource_id":${json(row.resource_id)}` +
    `,"created_by":${json(row.created_by)},"actor_type":${json(row.actor_type)}` +
    `,"identity_hash":${json(row.identity_hash)},"provider":${json(row.provider)},"cost":${json(row.cost)}` +
    `,"request_id":${json(row.request_id)},"details":${row.details},"prev_hash":"${row.prev_hash}"}`;
}

/** `audit.hash_of()`: the leaf hash of RFC 6962, section 2.1; sql/FORMAT.md, "Hash". */
export function entryHash(text: string | Uint8Array): string {
  return sha256(Uint8Array.of(0x00), text);
}

/** `audit.first_prev_hash()`: what entry 1 links to; sql/FORMAT.md, "Chains". */
export function firstPrevHash(organizationId: string, chain: number): string {
  return sha256(`supabase-audit-logs chain v1\n${organizationId}\n${chain}\n`);
}

/** `audit.identity_text()`; sql/FORMAT.md, "Identities". */
export function identityText(identity: Identity): string {
  return `{"v":1,"organization_id":"${identity.organization_id}","user_id":${json(identity.user_id)}` +
    `,"email":${json(identity.email)},"ip_address":${json(identity.ip_address)}` +
    `,"user_agent":${json(identity.user_agent)}}`;
}

/** The commitment to an identity text; sql/FORMAT.md, "Identities". */
export function identityHash(salt: Uint8Array, text: string): string {
  return sha256(Uint8Array.of(0x02), salt, text);
}

/** The commitment to the value of a column declared personal; sql/FORMAT.md, "Personal values". */
export function personalValueHash(salt: Uint8Array, value: string): string {
  return sha256(Uint8Array.of(0x02), salt, value);
}

/** The row of an entry text; undefined where a single byte is not as version 1 writes it. */
export function parseEntryText(text: string | Uint8Array): EntryRow | undefined {
  const decoded = decode(text);
  const field = decoded === undefined ? undefined : ENTRY_TEXT.exec(decoded)?.groups;
  if (field === undefined) return undefined;
  const row: EntryRow = {
    organization_id: field.organization_id!,
    chain: Number(field.chain),
    seq: Number(field.seq),
    created_at: BigInt(field.created_at!),
    action: JSON.parse(field.action!),
    outcome: JSON.parse(field.outcome!),
    resource_type: JSON.parse(field.resource_type!),
    resource_id: JSON.parse(field.resource_id!),
    created_by: JSON.parse(field.created_by!),
    actor_type: JSON.parse(field.actor_type!),
    identity_hash: JSON.parse(field.identity_hash!),
    provider: JSON.parse(field.provider!),
    cost: JSON.parse(field.cost!),
    request_id: JSON.parse(field.request_id!),
    details: field.details!,
    prev_hash: field.prev_hash!,
  };
  // The pattern is meant to admit nothing else; writing it again proves it, number ranges and spellings included.
  return isJson(row.details) && Number.isSafeInteger(row.seq) && entryText(row) === decoded ? row : undefined;
}

/**
 * Follows a chain's entries in order of seq: from its first, or from the position an earlier verdict ended at. Whoever
 * knows the chain's head compares it with `end`; no sequence of entries can tell that its tail was cut.
 */
export function verifyChain(entries: Iterable<KeptEntry>, from: ChainPosition | null = null): Verdict {
  let end = from;
  for (const entry of entries) {
    const seq: number = (end?.seq ?? 0) + 1;
    const hash = entryHash(entry.text);
    if (entry.hash !== undefined && entry.hash !== hash) return { ok: false, seq, reason: "hash_mismatch" };
    const row = parseEntryText(entry.text);
    const reason = row === undefined ? "malformed" : brokenLink(end, row);
    if (reason !== undefined) return { ok: false, seq, reason };
    end = { organization_id: row!.organization_id, chain: row!.chain, seq, created_at: row!.created_at, hash };
  }
  return { ok: true, end };
}

function brokenLink(before: ChainPosition | null, row: EntryRow): Break | undefined {
  if (before !== null && (row.organization_id !== before.organization_id || row.chain !== before.chain)) {
    return "other_chain";
  }
  if (before !== null && row.seq === before.seq) return "duplicate";
  if (row.seq !== (before?.seq ?? 0) + 1) return "gap";
  if (row.prev_hash !== (before?.hash ?? firstPrevHash(row.organization_id, row.chain))) return "link_mismatch";
  if (before !== null && row.created_at < before.created_at) return "time_reversed";
  return undefined;
}

/** As PostgreSQL's to_json(): the same seven escapes, \u00xx for other control characters, all else as it is. */
function json(value: string | null): string {
  return JSON.stringify(value);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

function sha256(...parts: (string | Uint8Array)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest("hex");
}

/** Undefined where the bytes are not the UTF-8 of a text, or too many. */
function decode(text: string | Uint8Array): string | undefined {
  const bytes = typeof text === "string" ? Buffer.byteLength(text) : text.length;
  if (bytes > MAX_ENTRY_BYTES) return undefined;
  if (typeof text === "string") return /\p{Surrogate}/u.test(text) ? undefined : text;
  try {
    return UTF_8.decode(text);
  } catch {
    return undefined;
  }
}

const UTF_8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const STRING = String.raw`"(?:[^"\\\x00-\x1f]|\\["\\bfnrt]|\\u00[01][0-9a-f])*"`;
const UUID = "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}";
const HASH = "[0-9a-f]{64}";

const ENTRY_TEXT = new RegExp(
  String.raw`^\{"v":1,"organization_id":"(?<organization_id>${UUID})"` +
    String.raw`,"chain":(?<chain>0|[1-9]\d{0,9})` +
    String.raw`,"seq":(?<seq>[1-9]\d{0,15})` +
    String.raw`,"created_at":(?<created_at>0|-?[1-9]\d{0,18})` +
    String.raw`,"action":(?<action>${STRING})` +
    String.raw`,"outcome":(?<outcome>"(?:success|failure|denied)")` +
    String.raw`,"resource_type":(?<resource_type>null|${STRING})` +
    String.raw`,"resource_id":(?<resource_id>null|${STRING})` +
    String.raw`,"created_by":(?<created_by>null|"${UUID}")` +
    String.raw`,"actor_type":(?<actor_type>"(?:user|api_key|service|database|system)")` +
    String.raw`,"identity_hash":(?<identity_hash>null|"${HASH}")` +
    String.raw`,"provider":(?<provider>null|${STRING})` +
    String.raw`,"cost":(?<cost>null|"(?:-?\d+(?:\.\d+)?|NaN|-?Infinity)")` +
    String.raw`,"request_id":(?<request_id>null|${STRING})` +
    // The one line ends with prev_hash, so everything between is the details, whatever they contain.
    String.raw`,"details":(?<details>\{[^\x00-\x1f]*\})` +
    String.raw`,"prev_hash":"(?<prev_hash>${HASH})"\}$`,
);
