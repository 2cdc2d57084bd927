/**
 * Entry bundles: the entries under a level-0 tile, each after its length in 16 bits, big-endian. C2SP tlog-tiles
 * (https://c2sp.org/tlog-tiles), "Log entries".
 */
import { MAX_ENTRY_BYTES } from "../entry.ts";
import { TlogError } from "./error.ts";
import { TILE_WIDTH } from "./tile.ts";

const LENGTH_BYTES = 2;

/** What the largest bundle takes. */
export const MAX_BUNDLE_BYTES = TILE_WIDTH * (LENGTH_BYTES + MAX_ENTRY_BYTES);

export function encodeBundle(entries: Uint8Array[]): Uint8Array {
  if (entries.length < 1 || entries.length > TILE_WIDTH) {
    throw new TlogError("out_of_range", `a bundle of ${entries.length} entries`);
  }
  const bundle = new Uint8Array(entries.reduce((length, entry) => length + LENGTH_BYTES + entry.length, 0));
  let at = 0;
  for (const entry of entries) {
    if (entry.length > MAX_ENTRY_BYTES) throw new TlogError("too_large", `an entry has ${entry.length} bytes`);
    bundle[at] = entry.length >>> 8;
    bundle[at + 1] = entry.length & 0xff;
    bundle.set(entry, at + LENGTH_BYTES);
    at += LENGTH_BYTES + entry.length;
  }
  return bundle;
}

/**
 * The entries of a bundle as it was read, not copied. In place of a partial bundle its full successor will do: of that,
 * the first `width` entries.
 */
export function decodeBundle(bundle: Uint8Array, width: number): Uint8Array[] {
  if (bundle.length > MAX_BUNDLE_BYTES) throw new TlogError("too_large", `a bundle has ${bundle.length} bytes`);
  const entries: Uint8Array[] = [];
  for (let at = 0; at < bundle.length;) {
    const from = at + LENGTH_BYTES;
    if (from > bundle.length) throw malformed("ends within a length");
    at = from + bundle[from - 2]! * 256 + bundle[from - 1]!;
    if (at > bundle.length) throw malformed("ends within an entry");
    if (entries.length === TILE_WIDTH) throw malformed("holds more entries than a bundle can");
    entries.push(bundle.subarray(from, at));
  }
  if (entries.length !== width && entries.length !== TILE_WIDTH) {
    throw malformed(`holds ${entries.length} entries in place of ${width}`);
  }
  return entries.slice(0, width);
}

function malformed(what: string): TlogError {
  return new TlogError("malformed_bundle", `the bundle ${what}`);
}
