/**
 * TrueType font files: out of the WOFF that npm packages carry, and cut down to the glyphs that a document shows.
 * W3C WOFF 1.0; OpenType 1.9, "Font file", "glyf", "loca".
 */
import { inflate } from "./bytes.ts";

/** The tables of a font by their tags. */
export type Tables = Map<string, Uint8Array>;

/** The tables of a WOFF 1.0 file. */
export function readWoff(file: Uint8Array): Tables {
  const view = viewOf(file);
  if (file.length < 44 || view.getUint32(0) !== WOFF || view.getUint32(4) !== TRUETYPE) {
    throw new TypeError("This is not a WOFF 1.0 file with TrueType outlines.");
  }
  const tables: Tables = new Map();
  for (let i = 0; i < view.getUint16(12); i++) {
    const at = 44 + 20 * i;
    const [offset, packed, length] = [view.getUint32(at + 4), view.getUint32(at + 8), view.getUint32(at + 12)];
    const bytes = file.subarray(offset, offset + packed);
    tables.set(String.fromCharCode(...file.subarray(at, at + 4)), packed < length ? inflate(bytes) : bytes);
  }
  return tables;
}

/** A TrueType file of these tables. */
export function writeSfnt(tables: Tables): Uint8Array {
  const entries = [...tables].sort(([a], [b]) => (a < b ? -1 : 1));
  let end = 12 + 16 * entries.length;
  const file = new Uint8Array(entries.reduce((size, [, bytes]) => size + padded(bytes.length), end));
  const view = viewOf(file);
  const exponent = Math.floor(Math.log2(entries.length));
  view.setUint32(0, TRUETYPE);
  view.setUint16(4, entries.length);
  view.setUint16(6, 16 << exponent);
  view.setUint16(8, exponent);
  view.setUint16(10, 16 * entries.length - (16 << exponent));
  entries.forEach(([tag, bytes], i) => {
    const at = 12 + 16 * i;
    for (let c = 0; c < 4; c++) file[at + c] = tag.charCodeAt(c);
    file.set(bytes, end);
    view.setUint32(at + 4, checksum(view, end, padded(bytes.length)));
    view.setUint32(at + 8, end);
    view.setUint32(at + 12, bytes.length);
    end += padded(bytes.length);
  });
  return file;
}

/**
 * A font file of these tables that draws only these glyphs, and those they are composed of. Glyphs keep their numbers, so the text that
 * was set stays as it is; the others are empty.
 */
export function keepGlyphs(tables: Tables, glyphs: Iterable<number>): Uint8Array {
  const head = Uint8Array.from(tables.get("head")!);
  const loca = tables.get("loca")!;
  const glyf = tables.get("glyf")!;
  const long = viewOf(head).getInt16(INDEX_TO_LOC_FORMAT) === 1;
  const places = viewOf(loca);
  const place = (glyph: number) => long ? places.getUint32(4 * glyph) : 2 * places.getUint16(2 * glyph);
  const outline = (glyph: number) => glyf.subarray(place(glyph), place(glyph + 1));

  const kept = new Set<number>([0]);
  for (const glyph of glyphs) kept.add(glyph);
  for (const glyph of kept) for (const part of components(outline(glyph))) kept.add(part);

  const count = viewOf(tables.get("maxp")!).getUint16(4);
  const newLoca = new Uint8Array(4 * (count + 1));
  const newPlaces = viewOf(newLoca);
  const outlines: Uint8Array[] = [];
  let end = 0;
  for (let glyph = 0; glyph < count; glyph++) {
    if (kept.has(glyph)) {
      const bytes = outline(glyph);
      outlines.push(bytes);
      end += padded(bytes.length);
    }
    newPlaces.setUint32(4 * (glyph + 1), end);
  }
  const newGlyf = new Uint8Array(Math.max(end, 1));
  let at = 0;
  for (const bytes of outlines) {
    newGlyf.set(bytes, at);
    at += padded(bytes.length);
  }
  viewOf(head).setInt16(INDEX_TO_LOC_FORMAT, 1);

  return writeSfnt(new Map([...tables, ["head", head], ["loca", newLoca], ["glyf", newGlyf]]));
}

/** The glyphs that a composite glyph consists of. */
function* components(outline: Uint8Array): Generator<number> {
  if (outline.length < 10) return;
  const view = viewOf(outline);
  if (view.getInt16(0) >= 0) return;
  for (let at = 10, more = true; more;) {
    const flags = view.getUint16(at);
    yield view.getUint16(at + 2);
    at += 4 + (flags & 0x0001 ? 4 : 2) + (flags & 0x0008 ? 2 : flags & 0x0040 ? 4 : flags & 0x0080 ? 8 : 0);
    more = (flags & 0x0020) !== 0;
  }
}

function checksum(view: DataView, from: number, length: number): number {
  let sum = 0;
  for (let at = from; at < from + length; at += 4) sum = (sum + view.getUint32(at)) >>> 0;
  return sum;
}

/** Tables and outlines begin at multiples of four. */
function padded(length: number): number {
  return (length + 3) & ~3;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const WOFF = 0x774f4646;
const TRUETYPE = 0x00010000;
const INDEX_TO_LOC_FORMAT = 50;
