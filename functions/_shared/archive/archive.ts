/**
 * The archive: a tree of files in which the logs lie as C2SP tlog-tiles (https://c2sp.org/tlog-tiles) wants them, wherever
 * it is kept. README.md says what lies where.
 */
import { MAX_BUNDLE_BYTES } from "../tlog/bundle.ts";
import { HASH_BYTES } from "../tlog/hash.ts";
import { MAX_NOTE_BYTES } from "../tlog/note.ts";
import { TILE_WIDTH } from "../tlog/tile.ts";

/** Hashes, entries, or what is signed over them. */
export type ObjectKind = "tile" | "bundle" | "checkpoint";

/** Paths are relative, like `<organization_id>/2026-11/tile/0/000`. What fails throws an ArchiveError. */
export type Archive = {
  /** Writes an object, over one that is there. The same bytes again are no harm, so what failed may be repeated. */
  put(path: string, bytes: Uint8Array, kind: ObjectKind): Promise<void>;
  /** The bytes; null where there is no such object. */
  get(path: string): Promise<Uint8Array | null>;
  /** The paths of all objects in a folder and below it, sorted. */
  list(folder: string): Promise<string[]>;
  /** Removes objects. One that is not there is no failure. */
  remove(paths: string[]): Promise<void>;
};

export type ArchiveErrorCode =
  /** It passes: try again, after `retryAfter` seconds where they are given. */
  | "unavailable"
  /** It does not pass: a key, a right, a setting or an object is not as it must be. */
  | "refused"
  /** The path holds other bytes, and they could not be written over. */
  | "conflict"
  /** Larger than the archive takes, or than anything that belongs into it. */
  | "too_large";

export class ArchiveError extends Error {
  readonly code: ArchiveErrorCode;
  readonly retryAfter: number | undefined;

  constructor(
    code: ArchiveErrorCode,
    message: string,
    more: { retryAfter?: number | undefined; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.name = "ArchiveError";
    this.code = code;
    this.retryAfter = more.retryAfter;
  }
}

/** What an object is served with. A checkpoint changes; nothing else ever does. */
export const OBJECT_HEADERS: Record<ObjectKind, { "content-type": string; "cache-control": string }> = {
  tile: { "content-type": "application/octet-stream", "cache-control": "public, max-age=31536000, immutable" },
  bundle: { "content-type": "application/octet-stream", "cache-control": "public, max-age=31536000, immutable" },
  checkpoint: { "content-type": "text/plain; charset=utf-8", "cache-control": "no-cache" },
};

/** What encryption adds to a bundle. */
export const ENCRYPTION_BYTES = 42;

const MAX_BYTES: Record<ObjectKind, number> = {
  tile: TILE_WIDTH * HASH_BYTES,
  bundle: MAX_BUNDLE_BYTES + ENCRYPTION_BYTES,
  checkpoint: MAX_NOTE_BYTES,
};

/** The most that an object of a kind can have, not compressed. */
export function maxObjectBytes(kind: ObjectKind): number {
  return MAX_BYTES[kind];
}

/** The most that is read of any object: the largest, and what compressing it in vain adds. */
export const MAX_READ_BYTES = MAX_BYTES.bundle + 65_536;

/** Refuses a path that means another place once it is part of an address. */
export function checkPath(path: string): void {
  if (!/^(?!.*(?:^|\/)\.{0,2}(?:\/|$))[\w./-]{1,512}$/.test(path)) {
    throw new ArchiveError("refused", `${JSON.stringify(path.slice(0, 100))} is not a path of the archive.`);
  }
}
