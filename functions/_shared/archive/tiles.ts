/** The files of one log in an archive. */
import { TlogError } from "../tlog/error.ts";
import { TILE_WIDTH, type TileId, tilePath, type TileReader } from "../tlog/tile.ts";
import type { Archive } from "./archive.ts";

/**
 * A file of a log that must be there: missing is `root_mismatch`, for then the log is not what was sealed. A partial one
 * may be gone when the full one is there, which begins with the same and is answered.
 */
export async function readFile(archive: Pick<Archive, "get">, folder: string, tile: TileId): Promise<Uint8Array> {
  const path = `${folder}/${tilePath(tile)}`;
  const bytes = await archive.get(path) ??
    (tile.width < TILE_WIDTH ? await archive.get(`${folder}/${tilePath({ ...tile, width: TILE_WIDTH })}`) : null);
  if (bytes === null) {
    throw new TlogError("root_mismatch", `${path} is missing from the archive`);
  }
  return bytes;
}

/** A reader of a log's tiles, for proofs. */
export function tilesOf(archive: Pick<Archive, "get">, folder: string): TileReader {
  return (level, index, width) => readFile(archive, folder, { level, index, width });
}
