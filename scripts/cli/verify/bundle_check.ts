/**
 * One bundle of entries, checked for itself: what its entries hash to, whether they are entries of the organisation, and
 * how they link. Bundles do not depend on each other, so this is what runs on all processors.
 */
import { MAX_ENTRY_BYTES } from "../../../functions/_shared/entry.ts";
import { ArchiveError, maxObjectBytes } from "../../../functions/_shared/archive/archive.ts";
import { type ArchiveKeys, decryptBundle } from "../../../functions/_shared/archive/bundle_encryption.ts";
import { decoded } from "../../../functions/_shared/archive/decoded.ts";
import { decodeBundle } from "../../../functions/_shared/tlog/bundle.ts";
import { TlogError } from "../../../functions/_shared/tlog/error.ts";
import { HASH_BYTES } from "../../../functions/_shared/tlog/hash.ts";
import { decodeText, encodeText } from "../../../functions/_shared/tlog/text.ts";
import { TILE_WIDTH } from "../../../functions/_shared/tlog/tile.ts";
import { isHexOf, newScanned, ORGANIZATION_AT, scanEntry, type Scanned, type Time } from "./entry_scan.ts";
import { leafHashes, perfectRootOf, sameBytes } from "./hashing.ts";

/** The chain of the log's own entries: `audit.log_chain()`. */
export const LOG_CHAIN = 999_999_999;

export type BundleJob = {
  /** The object as it was read: perhaps gzip, perhaps encrypted. */
  bytes: Uint8Array;
  /** Where it lies in the archive; its encryption is bound to that. */
  path: string;
  /** How many entries the checkpoint wants of it. */
  width: number;
  /** The hash tile over it as it was read, to be compared; null where there is none. */
  tile: Uint8Array | null;
  /** Whose entries they are; undefined for the anchor log, whose entries are checkpoints. */
  organizationId?: string | undefined;
};

/** Entries of one chain that follow each other without fault, wherever they stand in the bundle. */
export type Segment = {
  chain: number;
  /** Of the first; the others follow. */
  seq: number;
  count: number;
  /** The first entry's `prev_hash`, in hex. */
  prevHash: string;
  firstAt: Time;
  lastAt: Time;
  /** Where the first stands in the bundle, and where the last. */
  position: number;
  lastPosition: number;
  /** Where its hashes begin in `BundleResult.hashes`. */
  hashAt: number;
};

export type BundleResult = {
  /** Leaf hashes, recomputed; fewer than wanted only beside a fault. */
  leaves: Uint8Array;
  /** The root over 256 of them. */
  root?: Uint8Array;
  segments: Segment[];
  /** The leaf hashes by segment. */
  hashes: Uint8Array;
  /** Entries that whoever asked reads itself: of the log's own chain and `log.purged`, or all of the anchor log. */
  texts: { position: number; text: string }[];
  /** Positions whose hash in the tile is another. */
  differing: number[];
  /** Positions of what is no entry text. */
  malformed: number[];
  /** Positions of entries of other organisations. */
  foreign: number[];
  /** Why it is no bundle, and up to which entry it is one. */
  fault?: { message: string; position: number };
};

export type CheckBundle = (job: BundleJob) => Promise<BundleResult>;

export async function checkBundle(job: BundleJob, keys?: ArchiveKeys): Promise<BundleResult> {
  const { entries, fault } = await entriesOf(job, keys);
  const leaves = leafHashes(entries);
  return {
    leaves,
    ...(entries.length === TILE_WIDTH ? { root: perfectRootOf(leaves) } : {}),
    differing: differingHashes(leaves, job.tile),
    ...(job.organizationId === undefined ? readTexts(entries) : readChains(entries, leaves, job.organizationId)),
    ...(fault === undefined ? {} : { fault }),
  };
}

/** The entries of a bundle, or those before the place where it breaks. */
export async function entriesOf(
  { bytes, path, width }: BundleJob,
  keys: ArchiveKeys | undefined,
): Promise<{ entries: Uint8Array[]; fault?: { message: string; position: number } }> {
  let bundle = new Uint8Array();
  try {
    // Not a Buffer: scans are faster where all arrays are of one kind.
    const object = new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.length);
    bundle = asPlain(await decryptBundle(keys, path, await decoded(object, maxObjectBytes("bundle"))));
    return { entries: decodeBundle(bundle, width) };
  } catch (error) {
    if (!(error instanceof TlogError || error instanceof ArchiveError)) throw error;
    const entries = beginning(bundle, width);
    return { entries, fault: { message: error.message, position: entries.length } };
  }
}

/** The entries before the place where a bundle breaks. */
function beginning(bundle: Uint8Array, width: number): Uint8Array[] {
  const entries: Uint8Array[] = [];
  for (let at = 2; at <= bundle.length && entries.length < width;) {
    const end = at + bundle[at - 2]! * 256 + bundle[at - 1]!;
    if (end > bundle.length) break;
    entries.push(bundle.subarray(at, end));
    at = end + 2;
  }
  return entries;
}

function differingHashes(leaves: Uint8Array, tile: Uint8Array | null): number[] {
  if (tile === null || sameBytes(leaves, tile.subarray(0, leaves.length))) return [];
  const differing: number[] = [];
  for (let at = 0; at < leaves.length; at += HASH_BYTES) {
    if (!sameBytes(leaves.subarray(at, at + HASH_BYTES), tile.subarray(at, at + HASH_BYTES))) {
      differing.push(at / HASH_BYTES);
    }
  }
  return differing;
}

type Read = Pick<BundleResult, "segments" | "hashes" | "texts" | "malformed" | "foreign">;

function readTexts(entries: Uint8Array[]): Read {
  const texts = entries.map((entry, position) => ({ position, text: decodeText(entry, MAX_ENTRY_BYTES) ?? "" }));
  return { segments: [], hashes: new Uint8Array(), texts, malformed: [], foreign: [] };
}

/** Whoever puts the segments of all bundles together has followed every link: see Chains. */
function readChains(entries: Uint8Array[], leaves: Uint8Array, organizationId: string): Read {
  const read: Read = { segments: [], hashes: new Uint8Array(leaves.length), texts: [], malformed: [], foreign: [] };
  const organization = encodeText(organizationId);
  /** The segment of each chain that is not at its end. */
  const open = new Map<number, { number: number; segment: Segment }>();
  const segmentOf = new Int16Array(entries.length).fill(-1);
  for (let position = 0; position < entries.length; position++) {
    const entry = entries[position]!;
    if (!scanEntry(entry, scanned)) {
      read.malformed.push(position);
      continue;
    }
    if (!hasAt(entry, ORGANIZATION_AT, organization)) {
      read.foreign.push(position);
      continue;
    }
    const { chain, seq, createdAt, prevHashAt } = scanned;
    let last = open.get(chain);
    if (last !== undefined && follows(last.segment, scanned, entry, leaves)) {
      last.segment.count++;
      last.segment.lastAt = createdAt;
      last.segment.lastPosition = position;
    } else {
      const segment: Segment = {
        chain,
        seq,
        count: 1,
        prevHash: decodeText(entry.subarray(prevHashAt, prevHashAt + 2 * HASH_BYTES), 2 * HASH_BYTES)!,
        firstAt: createdAt,
        lastAt: createdAt,
        position,
        lastPosition: position,
        hashAt: 0,
      };
      last = { number: read.segments.push(segment) - 1, segment };
      open.set(chain, last);
    }
    segmentOf[position] = last.number;
    if (chain === LOG_CHAIN || scanned.isPurge) {
      read.texts.push({ position, text: decodeText(entry, MAX_ENTRY_BYTES)! });
    }
  }
  copyBySegment(read, leaves, segmentOf);
  return read;
}

function follows(segment: Segment, { seq, createdAt, prevHashAt }: Scanned, entry: Uint8Array, leaves: Uint8Array) {
  return seq === segment.seq + segment.count && createdAt >= segment.lastAt &&
    isHexOf(entry, prevHashAt, leaves, segment.lastPosition * HASH_BYTES);
}

/** Writes the hashes of each segment one after the other. Most stand together in the bundle, too. */
function copyBySegment({ segments, hashes }: Read, leaves: Uint8Array, segmentOf: Int16Array): void {
  let at = 0;
  for (const segment of segments) {
    segment.hashAt = at;
    at += segment.count * HASH_BYTES;
  }
  const ends = segments.map(({ hashAt }) => hashAt);
  for (let from = 0, to = 0; from < segmentOf.length; from = to) {
    const number = segmentOf[from]!;
    while (to < segmentOf.length && segmentOf[to] === number) to++;
    if (number < 0) continue;
    hashes.set(leaves.subarray(from * HASH_BYTES, to * HASH_BYTES), ends[number]);
    ends[number]! += (to - from) * HASH_BYTES;
  }
}

function hasAt(bytes: Uint8Array, at: number, expected: Uint8Array): boolean {
  for (let index = 0; index < expected.length; index++) {
    if (bytes[at + index] !== expected[index]) return false;
  }
  return true;
}

function asPlain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(bytes.buffer as ArrayBuffer, bytes.byteOffset, bytes.length);
}

const scanned = newScanned();
