/**
 * Where a log's files are and what its tiles hold: C2SP tlog-tiles (https://c2sp.org/tlog-tiles), "Merkle Tree" and "Log
 * entries". A tile is 256 hashes wide and spans 8 levels of the tree; a partial one is the last of its level.
 */
import { TlogError } from "./error.ts";
import { HASH_BYTES } from "./hash.ts";

/** A file of the log: hashes at a level, or a bundle of entries. It is partial where `width` is below 256. */
export type TileId = { level: number | "entries"; index: number; width: number };

/** How a tile is read: from storage, a folder, memory. What it throws passes through. */
export type TileReader = (level: number, index: number, width: number) => Promise<Uint8Array>;

export const TILE_WIDTH = 256;
export const TILE_HEIGHT = 8;
const MAX_TILE_LEVEL = 63;

/** `tile/<L>/<N>[.p/<W>]` or `tile/entries/<N>[.p/<W>]`, below the log's prefix. */
export function tilePath(tile: TileId): string {
  const { level, index, width } = tile;
  if (!isTile(tile)) throw new TlogError("out_of_range", `there is no tile ${level}/${index} of width ${width}`);
  let path = threeDigits(index);
  for (let rest = Math.floor(index / 1000); rest > 0; rest = Math.floor(rest / 1000)) {
    path = `x${threeDigits(rest)}/${path}`;
  }
  return `tile/${level}/${path}${width < TILE_WIDTH ? `.p/${width}` : ""}`;
}

/** What a path names; refused where `tilePath()` would write it otherwise. */
export function parseTilePath(path: string): TileId {
  const [, level, groups, width = String(TILE_WIDTH)] =
    /^tile\/(entries|\d{1,2})\/((?:x\d{3}\/){0,5}\d{3})(?:\.p\/(\d{1,3}))?$/.exec(path) ?? [];
  if (level !== undefined && groups !== undefined) {
    const tile: TileId = {
      level: level === "entries" ? level : Number(level),
      index: Number(groups.replaceAll(/[x/]/g, "")),
      width: Number(width),
    };
    if (isTile(tile) && tilePath(tile) === path) return tile;
  }
  throw new TlogError("malformed_path", `${JSON.stringify(path.slice(0, 100))} is not the path of a tile`);
}

/** How many hashes a tile holds in a tree of this size: 256 for a full one, 0 for one that does not exist. */
export function tileWidth(level: number | "entries", index: number, size: number): number {
  const hashes = Math.floor(size / TILE_WIDTH ** (level === "entries" ? 0 : level));
  return Math.max(0, Math.min(TILE_WIDTH, hashes - index * TILE_WIDTH));
}

/** The partial tiles, and the partial bundle, that a checkpoint of this size makes mandatory. */
export function partialTiles(size: number): TileId[] {
  const tiles: TileId[] = [];
  for (let level = 0, hashes = size; hashes > 0; level++, hashes = Math.floor(hashes / TILE_WIDTH)) {
    const tile = { index: Math.floor(hashes / TILE_WIDTH), width: hashes % TILE_WIDTH };
    if (tile.width === 0) continue;
    if (level === 0) tiles.push({ level: "entries", ...tile });
    tiles.push({ level, ...tile });
  }
  return tiles;
}

/**
 * The hashes of a tile as it was read. In place of a partial tile its full successor will do, which a log may have kept
 * instead: of that, the first `width` hashes.
 */
export function tileHashes(bytes: Uint8Array, width: number): Uint8Array {
  if (bytes.length !== width * HASH_BYTES && bytes.length !== TILE_WIDTH * HASH_BYTES) {
    throw new TlogError("malformed_tile", `a tile of ${width} hashes has ${bytes.length} bytes`);
  }
  return bytes.subarray(0, width * HASH_BYTES);
}

/** A reader that asks for each tile once. It holds what it read for as long as it lives; failures it forgets. */
export function rememberTiles(read: TileReader): TileReader {
  const tiles = new Map<string, Promise<Uint8Array>>();
  return (level, index, width) => {
    const key = tilePath({ level, index, width });
    let tile = tiles.get(key);
    if (tile === undefined) {
      tile = read(level, index, width);
      tiles.set(key, tile);
      tile.catch(() => tiles.delete(key));
    }
    return tile;
  };
}

function isTile({ level, index, width }: TileId): boolean {
  return isIn(level === "entries" ? 0 : level, 0, MAX_TILE_LEVEL) && isIn(index, 0, Number.MAX_SAFE_INTEGER) &&
    isIn(width, 1, TILE_WIDTH);
}

function isIn(value: number, from: number, to: number): boolean {
  return Number.isSafeInteger(value) && value >= from && value <= to;
}

function threeDigits(index: number): string {
  return String(index % 1000).padStart(3, "0");
}
