// One log, read entry by entry: what is handed on is what the key has signed, or the end is an error.
import { openCheckpoint } from "../../../functions/_shared/tlog/checkpoint.ts";
import { TlogError } from "../../../functions/_shared/tlog/error.ts";
import { emptyFrontier, packFrontier, pushLeaf, treeOf } from "../../../functions/_shared/tlog/frontier.ts";
import { leafHash } from "../../../functions/_shared/tlog/hash.ts";
import type { VerifierKey } from "../../../functions/_shared/tlog/key.ts";
import { decodeText, equalBytes, formatHex } from "../../../functions/_shared/tlog/text.ts";
import { TILE_WIDTH, tileWidth } from "../../../functions/_shared/tlog/tile.ts";
import type { ArchiveKeys } from "../../../functions/_shared/archive/bundle_encryption.ts";
import { maxObjectBytes } from "../../../functions/_shared/archive/archive.ts";
import { entriesOf } from "../verify/bundle_check.ts";
import type { LogFiles } from "../verify/files.ts";
import { verifiersOf } from "../verify/log.ts";

export type LogReader = { keys: VerifierKey[]; archiveKeys: ArchiveKeys | undefined };

export type LogRead = {
  size: number;
  root: string;
  note: string;
  /** The peaks in hex; null of a log of which only the checkpoint is left. */
  frontier: string | null;
};

/** An entry in its place, and its hash in hex. */
export type SealedEntry = { index: number; bytes: Uint8Array; hash: string };

/**
 * Reads a log bundle by bundle. `known` are roots in hex that somebody remembers, by size: another one is an error. Only
 * the return vouches for what `take` was given.
 */
export async function readLog(
  { keys, archiveKeys }: LogReader,
  origin: string,
  files: LogFiles,
  take: (entries: SealedEntry[]) => Promise<void> | void,
  known = new Map<number, string>(),
): Promise<LogRead> {
  const bytes = await files.checkpoint();
  if (bytes === null) throw new TlogError("no_known_signature", `${origin} has no checkpoint`);
  const { checkpoint } = openCheckpoint(bytes, { origin, log: verifiersOf(keys, origin) });
  const { size } = checkpoint;
  const read = { size, root: formatHex(checkpoint.root), note: decodeText(bytes, maxObjectBytes("checkpoint"))! };
  if (size > 0 && await isExpired(files, tileWidth("entries", 0, size))) return { ...read, frontier: null };
  const frontier = emptyFrontier();
  for (let n = 0; n * TILE_WIDTH < size; n++) {
    const width = tileWidth("entries", n, size);
    const bundle = await files.bundle(n, width);
    if (bundle === null) throw new TlogError("root_mismatch", `bundle ${n} of ${origin} is missing`);
    const { entries, fault } = await entriesOf({ ...bundle, width, tile: null }, archiveKeys);
    if (fault !== undefined) throw new TlogError("malformed_bundle", `bundle ${n} of ${origin}: ${fault.message}`);
    const sealed: SealedEntry[] = [];
    for (const [at, entry] of entries.entries()) {
      const leaf = leafHash(entry);
      pushLeaf(frontier, leaf);
      sealed.push({ index: n * TILE_WIDTH + at, bytes: entry, hash: formatHex(leaf) });
      const root = known.get(frontier.size);
      if (root !== undefined && formatHex(treeOf(frontier).root) !== root) {
        throw new TlogError("root_mismatch", `${origin} has another history than the backup: two were signed`);
      }
    }
    await take(sealed);
  }
  if (!equalBytes(treeOf(frontier).root, checkpoint.root)) {
    throw new TlogError("root_mismatch", `the entries of ${origin} are not those that were signed`);
  }
  return { ...read, frontier: formatHex(packFrontier(frontier)) };
}

/** A log of which only the checkpoint was kept. */
async function isExpired(files: LogFiles, width: number): Promise<boolean> {
  return await files.bundle(0, width) === null && await files.tile(0, 0, width) === null;
}
