// The mirror: the archive again, in a bucket that the project's owner cannot rewrite (AUDIT_S3, best with Object Lock).
// Driven by sizes alone: which files a log of a size has is known, so nothing is listed or compared. It follows sealing and
// never holds it up.
import type { Archive } from "../_shared/archive/archive.ts";
import type { Database } from "../_shared/database.ts";
import { HASH_BYTES } from "../_shared/tlog/hash.ts";
import { encodeText } from "../_shared/tlog/text.ts";
import { partialTiles, TILE_WIDTH, type TileId, tilePath } from "../_shared/tlog/tile.ts";
import {
  claimDelivery,
  type Delivery,
  DeliveryError,
  failDelivery,
  type Receiver,
  recordDelivery,
  registerReceivers,
} from "./deliveries.ts";
import type { Outside } from "./receiver_settings.ts";

/** `stored` is the archive as it is stored: what is encrypted there is encrypted in the mirror. */
export type MirrorDeps = { database: Database; stored: Archive; outside: Outside };

export type MirrorResult = { configured: false } | { configured: true; logs: number; files: number; failed: number };

/** A hosted function has 2 s of CPU and 150 s: after so many files, bytes or milliseconds no further step is begun. */
const MOST_FILES = 400;
const MOST_BYTES = 50_000_000;
const MOST_TIME = 20_000;
const LEASE = "5 minutes";
/** Entries of a step, and files at a time: the largest bundles have 16 MB. */
const STEP = 8 * TILE_WIDTH;
const AT_ONCE = 4;

/** What a run has done so far. */
type Progress = { files: number; bytes: number; start: number };

export async function mirrorArchive({ database, stored, outside }: MirrorDeps): Promise<MirrorResult> {
  const progress: Progress = { files: 0, bytes: 0, start: performance.now() };
  const mirror = outside.mirror();
  const receiver: Receiver = { kind: "mirror", name: mirror?.name ?? "", allLogs: true };
  await registerReceivers(database, ["mirror"], mirror === undefined ? [] : [receiver]);
  if (mirror === undefined) return { configured: false };
  let logs = 0;
  let failed = 0;
  while (!isSpent(progress)) {
    const delivery = await claimDelivery(database, receiver, LEASE);
    if (delivery === null) break;
    const before = delivery.copied;
    let isWhole = false;
    try {
      isWhole = await copyLog(stored, mirror.archive, delivery, progress);
    } catch (error) {
      failed++;
      if (delivery.copied > before) await recordCopied(database, delivery);
      await failDelivery(database, receiver, delivery, error);
      continue;
    }
    if (isWhole) await recordDelivery(database, delivery);
    else await recordCopied(database, delivery);
    logs += Number(isWhole);
  }
  return { configured: true, logs, files: progress.files, failed };
}

/** Copies what a log has grown by, and notes how far it came in `delivery`. Answers whether that is all of it. */
async function copyLog(stored: Archive, mirror: Archive, delivery: Delivery, progress: Progress): Promise<boolean> {
  const { folder, size, note } = delivery;
  while (delivery.copied < size) {
    const from = delivery.copied;
    const to = Math.min(size, from - from % STEP + STEP);
    await copyFiles(stored, mirror, folder, fullTiles(from, to), progress);
    delivery.copied = to;
    if (to < size && isSpent(progress)) return false;
  }
  await copyFiles(stored, mirror, folder, partialTiles(size), progress);
  // Last: who reads it finds all that it implies.
  await mirror.put(`${folder}/checkpoint`, encodeText(note), "checkpoint");
  progress.files++;
  return true;
}

/** The full tiles and bundles that a log has when it grew from one size to another, and had not before. */
export function fullTiles(from: number, to: number): TileId[] {
  const tiles: TileId[] = [];
  for (let level = 0, span = TILE_WIDTH; span <= to; level++, span *= TILE_WIDTH) {
    for (let index = Math.floor(from / span); index < Math.floor(to / span); index++) {
      tiles.push({ level, index, width: TILE_WIDTH });
      if (level === 0) {
        tiles.push({ level: "entries", index, width: TILE_WIDTH });
      }
    }
  }
  return tiles;
}

async function copyFiles(
  stored: Archive,
  mirror: Archive,
  folder: string,
  files: TileId[],
  progress: Progress,
): Promise<void> {
  for (let at = 0; at < files.length; at += AT_ONCE) {
    await Promise.all(
      files.slice(at, at + AT_ONCE).map(async (tile) => {
        const path = `${folder}/${tilePath(tile)}`;
        const bytes = await stored.get(path);
        if (bytes === null) {
          throw new DeliveryError("missing_file", { ofLog: true });
        }
        if (!isOfSize(tile, bytes)) {
          throw new DeliveryError("damaged_file", { ofLog: true });
        }
        await mirror.put(path, bytes, tile.level === "entries" ? "bundle" : "tile");
        progress.files++;
        progress.bytes += bytes.length;
      }),
    );
  }
}

/** A bundle has two bytes more than each entry; how long these are, and whether it is encrypted, it does not show. */
function isOfSize({ level, width }: TileId, { length }: Uint8Array): boolean {
  return level === "entries" ? length > 2 * width : length === width * HASH_BYTES;
}

async function recordCopied(database: Database, { lease, log, copied }: Delivery): Promise<void> {
  await database.askAsOwner({
    name: "record_copied",
    text: "select audit.record_copied($1, $2, $3)::text",
    values: [lease, log, copied],
  });
}

function isSpent({ files, bytes, start }: Progress): boolean {
  return files >= MOST_FILES || bytes >= MOST_BYTES || performance.now() - start >= MOST_TIME;
}
