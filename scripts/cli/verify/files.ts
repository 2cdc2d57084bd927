/** The files of one log, wherever they are read from. */
import { MAX_READ_BYTES, maxObjectBytes } from "../../../functions/_shared/archive/archive.ts";
import { decoded } from "../../../functions/_shared/archive/decoded.ts";
import { TILE_WIDTH, tileHashes, type TileId, tilePath } from "../../../functions/_shared/tlog/tile.ts";

/**
 * Reads an object by its path in the log's folder; null where there is none. The bytes, and the memory that they are in,
 * belong to whoever asked. One that is larger than `limit` throws a
 * TlogError `too_large`. Whatever else it throws is trouble on the way, and ends the verification.
 */
export type Read = (path: string, limit: number) => Promise<Uint8Array | null>;

export class LogFiles {
  readonly #read: Read;
  /** The log's folder in the archive, like "anchor": encrypted bundles are bound to it. */
  readonly #folder: string;

  constructor(read: Read, folder: string) {
    this.#read = read;
    this.#folder = folder;
  }

  checkpoint(): Promise<Uint8Array | null> {
    return this.#open("checkpoint", maxObjectBytes("checkpoint"));
  }

  /** The hashes of a tile. */
  async tile(level: number, index: number, width: number): Promise<Uint8Array | null> {
    const limit = maxObjectBytes("tile");
    const file = await this.#partialOrFull({ level, index, width }, (path) => this.#open(path, limit));
    return file === null ? null : tileHashes(file.bytes, width);
  }

  /** A bundle as it is stored. */
  bundle(index: number, width: number): Promise<{ bytes: Uint8Array; path: string } | null> {
    return this.#partialOrFull({ level: "entries", index, width }, (path) => this.#read(path, MAX_READ_BYTES));
  }

  /** In place of a partial file its full successor will do, if the log has grown and kept that alone. */
  async #partialOrFull(tile: TileId, open: (path: string) => Promise<Uint8Array | null>) {
    for (const width of new Set([tile.width, TILE_WIDTH])) {
      const path = tilePath({ ...tile, width });
      const bytes = await open(path);
      if (bytes !== null) return { bytes, path: `${this.#folder}/${path}` };
    }
    return null;
  }

  async #open(path: string, limit: number): Promise<Uint8Array | null> {
    const bytes = await this.#read(path, limit + COMPRESSED_IN_VAIN);
    return bytes === null ? null : decoded(bytes, limit);
  }
}

/** What gzip adds to bytes that it cannot compress. */
const COMPRESSED_IN_VAIN = 1_024;
