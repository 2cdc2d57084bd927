/**
 * How a log grows: from its right edge, entry by entry, into the files that C2SP tlog-tiles (https://c2sp.org/tlog-tiles)
 * wants. The same entries make the same bytes, however they were split into batches, so a batch may be repeated.
 */
import { encodeBundle } from "./bundle.ts";
import { TlogError } from "./error.ts";
import { emptyFrontier, type Frontier, packFrontier, pushLeaf, unpackFrontier } from "./frontier.ts";
import { HASH_BYTES, leafHash, perfectRoot } from "./hash.ts";
import { partialTiles, TILE_HEIGHT, TILE_WIDTH, tileHashes, type TileId, type TileReader } from "./tile.ts";
import { equalBytes } from "./text.ts";

/** What is not yet in a full tile or bundle: fewer than 256 hashes a level, and fewer than 256 entries. */
export type Edge = { frontier: Frontier; tiles: OpenTile[]; entries: Uint8Array[] };

type OpenTile = { bytes: Uint8Array; width: number };

/** A file of the log, never to be written with other bytes. */
export type LogFile = { tile: TileId; bytes: Uint8Array };

/** The edge of a log without entries. */
export function emptyEdge(): Edge {
  return { frontier: emptyFrontier(), tiles: [], entries: [] };
}

/**
 * The edge of a log that has entries: from its frontier, which is believed, and from its partial tiles and the entries
 * of its partial bundle, which are not. Where these are not what the frontier was made from, the error is
 * `root_mismatch`: the archive, or what the entries were read from, has changed since.
 */
export async function openEdge(frontier: Frontier, read: TileReader, entries: Uint8Array[]): Promise<Edge> {
  const { size } = frontier;
  const edge: Edge = { frontier: unpackFrontier(size, packFrontier(frontier)), tiles: [], entries: [...entries] };
  await Promise.all(
    partialTiles(size).map(async ({ level, index, width }) => {
      if (level === "entries") return;
      const bytes = new Uint8Array(TILE_WIDTH * HASH_BYTES);
      bytes.set(tileHashes(await read(level, index, width), width));
      edge.tiles[level] = { bytes, width };
    }),
  );
  for (let level = 0; level < edge.tiles.length; level++) edge.tiles[level] ??= newTile();
  checkTiles(edge);
  checkEntries(edge);
  return edge;
}

/** Adds an entry at the end, in place, and answers the files that it completes: mostly none. */
export function appendEntry(edge: Edge, entry: Uint8Array, leaf = leafHash(entry)): LogFile[] {
  const files: LogFile[] = [];
  const index = edge.frontier.size;
  edge.entries.push(entry);
  if (edge.entries.length === TILE_WIDTH) {
    files.push({ tile: fullTile("entries", index), bytes: encodeBundle(edge.entries) });
    edge.entries = [];
  }
  pushLeaf(edge.frontier, leaf, (height, root) => {
    if (height % TILE_HEIGHT !== 0) return;
    const level = height / TILE_HEIGHT;
    const tile = edge.tiles[level] ??= newTile();
    tile.bytes.set(root, tile.width++ * HASH_BYTES);
    if (tile.width < TILE_WIDTH) return;
    files.push({ tile: fullTile(level, index), bytes: tile.bytes });
    edge.tiles[level] = newTile();
  });
  return files;
}

/** The partial files that must be readable before a checkpoint of the edge's size is. */
export function partialFiles(edge: Edge): LogFile[] {
  return partialTiles(edge.frontier.size).map((tile) => ({
    tile,
    bytes: tile.level === "entries"
      ? encodeBundle(edge.entries)
      : edge.tiles[tile.level]!.bytes.slice(0, tile.width * HASH_BYTES),
  }));
}

/** The peaks of a frontier, largest first, are the perfect subtrees over its partial tiles, from the highest level. */
function checkTiles(edge: Edge): void {
  const peaks = edge.frontier.peaks.values();
  for (const [level, { bytes, width }] of [...edge.tiles.entries()].reverse()) {
    let from = 0;
    for (let count = TILE_WIDTH / 2; count >= 1; count /= 2) {
      if (width - from < count) continue;
      const peak = peaks.next().value;
      const root = perfectRoot(bytes.subarray(from * HASH_BYTES, (from + count) * HASH_BYTES));
      if (peak === undefined || !equalBytes(peak, root)) {
        throw new TlogError("root_mismatch", `the partial tile of level ${level} is not what was sealed`);
      }
      from += count;
    }
  }
}

function checkEntries({ entries, tiles: [tile = newTile()] }: Edge): void {
  if (entries.length !== tile.width) {
    throw new TlogError(
      "root_mismatch",
      `${entries.length} entries in place of the last ${tile.width} that were sealed`,
    );
  }
  entries.forEach((entry, at) => {
    if (!equalBytes(leafHash(entry), tile.bytes.subarray(at * HASH_BYTES, (at + 1) * HASH_BYTES))) {
      throw new TlogError("root_mismatch", `entry ${at} of the partial bundle is not what was sealed`);
    }
  });
}

function newTile(): OpenTile {
  return { bytes: new Uint8Array(TILE_WIDTH * HASH_BYTES), width: 0 };
}

/** The tile that the entry at this index is the last under. */
function fullTile(level: number | "entries", index: number): TileId {
  const span = TILE_WIDTH ** (level === "entries" ? 1 : level + 1);
  return { level, index: Math.floor(index / span), width: TILE_WIDTH };
}
