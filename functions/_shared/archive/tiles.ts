/** The files of one log in an archive. */
import { TlogError } from "../tlog/error.ts";
import { type TileId, tilePath, type TileReader } from "../tlog/tile.ts";
import type { Archive } from "./archive.ts";

/** A file of a log that must be there: missing is `root_mismatch`, for then the log is not what was sealed. */
export async function readFile(archive: Pick<Archive, "get">, folder: string, tile: TileId): Promise<Uint8Array> {
  const path = `${folder}/${tilePath(tile)}`;
  const bytes = await archive.get(path);
  if (bytes === null) {
    throw new TlogError("root_mismatch", `${path} is missing from the archive`);
  }
  return bytes;
}

/** A reader of a log's tiles, for proofs. */
export function tilesOf(archive: Pick<Archive, "get">, folder: string): TileReader {
  return (level, index, width) => readFile(archive, folder, { level, index, width });
}
