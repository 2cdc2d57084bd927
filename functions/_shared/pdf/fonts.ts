/**
 * The fonts of a document: Noto, out of the @fontsource packages, each in small files by Unicode range, of which only those
 * are read that a text needs. Shaping is HarfBuzz's.
 */
import { fileURLToPath } from "node:url";
import * as hb from "harfbuzzjs";
import { readFile } from "./bytes.ts";
import { FONTS, FONTS_FOLDER } from "./embedded.ts";
import { readWoff, type Tables, writeSfnt } from "./sfnt.ts";

/**
 * Where font files come from: a path inside the @fontsource scope, such as
 * `noto-sans/files/noto-sans-latin-400-normal.woff`, to its bytes, or null where there is none.
 */
export type FontSource = (path: string) => Promise<Uint8Array | null>;

/** A font file: embedded in the code, or beside the functions, where `static_files` of supabase/config.toml has them. */
export async function fontFile(path: string): Promise<Uint8Array | null> {
  const embedded = FONTS[path];
  if (embedded !== undefined) return Uint8Array.from(atob(embedded), (character) => character.charCodeAt(0));
  try {
    return await readFile(FOLDER + path);
  } catch (error) {
    if ((error as { code?: string }).code === "ENOENT") return null;
    throw error;
  }
}

/**
 * A glyph as shaped: its number in the font file, its metrics in thousandths of the font size, and the text that it stands
 * for: that of several glyphs is with the first of them, from the left; the others have none.
 */
export type Glyph = { id: number; advance: number; dx: number; dy: number; text: string };

/** One font file, ready to measure and shape with. */
export class Face {
  /** As in the file's name: `noto-sans-latin-400-normal`. */
  readonly name: string;
  /** What drawing needs. */
  readonly tables: Tables;
  /** How many there are. */
  readonly glyphs: number;
  readonly ascent: number;
  readonly descent: number;
  /** xMin, yMin, xMax, yMax. */
  readonly box: readonly [number, number, number, number];
  readonly #font: hb.Font;
  readonly #scale: number;
  readonly #ids = new Map<number, number>();
  readonly #advances = new Map<number, number>();

  constructor(name: string, woff: Uint8Array) {
    this.name = name;
    const tables = readWoff(woff);
    // HarfBuzz needs no outlines, and drawing needs nothing else than those: half the memory of keeping all in both.
    const some = (tags: string[]): Tables => new Map([...tables].filter(([tag]) => tags.includes(tag)));
    this.tables = some(DRAWN);
    this.#font = new hb.Font(new hb.Face(new hb.Blob(writeSfnt(some(SHAPED)))));
    this.glyphs = tableView(this.tables, "maxp").getUint16(4);
    const head = tableView(this.tables, "head");
    const hhea = tableView(this.tables, "hhea");
    this.#scale = 1000 / head.getUint16(18);
    this.ascent = hhea.getInt16(4) * this.#scale;
    this.descent = hhea.getInt16(6) * this.#scale;
    const side = (at: number) => Math.round(head.getInt16(at) * this.#scale);
    this.box = [side(36), side(38), side(40), side(42)];
  }

  /** The glyph of a code point; 0 where the font has none. */
  glyph(codePoint: number): number {
    let glyph = this.#ids.get(codePoint);
    if (glyph === undefined) {
      glyph = this.#font.nominalGlyph(codePoint) ?? 0;
      this.#ids.set(codePoint, glyph);
    }
    return glyph;
  }

  /** How far a glyph moves the pen, in thousandths of the font size. */
  advance(glyph: number): number {
    let advance = this.#advances.get(glyph);
    if (advance === undefined) {
      advance = this.#font.glyphHAdvance(glyph) * this.#scale;
      this.#advances.set(glyph, advance);
    }
    return advance;
  }

  /** The glyphs of a text of one direction, from left to right. */
  shape(text: string, rightToLeft: boolean): Glyph[] {
    const buffer = new hb.Buffer();
    buffer.addText(text);
    buffer.guessSegmentProperties();
    buffer.setDirection(rightToLeft ? hb.Direction.RTL : hb.Direction.LTR);
    hb.shape(this.#font, buffer);
    const positions = buffer.getGlyphPositions();
    const infos = buffer.getGlyphInfos();
    const starts = [...new Set(infos.map(({ cluster }) => cluster))].sort((a, b) => a - b);
    const ends = new Map(starts.map((start, i) => [start, starts[i + 1]]));
    return infos.map(({ codepoint, cluster }, i) => {
      const { xAdvance, xOffset, yOffset } = positions[i]!;
      return {
        id: codepoint,
        advance: xAdvance * this.#scale,
        dx: xOffset * this.#scale,
        dy: yOffset * this.#scale,
        text: infos[i - 1]?.cluster === cluster ? "" : text.slice(cluster, ends.get(cluster)),
      };
    });
  }
}

/** The font files that hold a code point, best first. */
export class Library {
  readonly #source: FontSource;
  readonly #faces = new Map<string, Promise<Face | null>>();
  readonly #subsets = new Map<string, Promise<Map<number, string[]>>>();

  constructor(source: FontSource) {
    this.#source = source;
  }

  /** One file by its package, subset and weight; null where it is not installed. */
  face(font: string, subset: string, weight: 400 | 600 = 400): Promise<Face | null> {
    const name = `${font}-${subset}-${weight}-normal`;
    let face = this.#faces.get(name);
    if (face === undefined) {
      face = this.#source(`${font}/files/${name}.woff`).then((file) => file === null ? null : new Face(name, file));
      this.#faces.set(name, face);
    }
    return face;
  }

  /** The faces that have a code point, of the first of these packages that has one. */
  async facesWith(codePoint: number, packages: readonly string[], weight: 400 | 600 = 400): Promise<Face[]> {
    for (const font of packages) {
      const faces: Face[] = [];
      for (const subset of (await this.#subsetsOf(font)).get(codePoint) ?? []) {
        const face = await this.face(font, subset, weight);
        if (face !== null && face.glyph(codePoint) !== 0) faces.push(face);
      }
      if (faces.length > 0) return faces;
    }
    return [];
  }

  #subsetsOf(font: string): Promise<Map<number, string[]>> {
    let subsets = this.#subsets.get(font);
    if (subsets === undefined) {
      subsets = this.#source(`${font}/unicode.json`).then((file) => file === null ? new Map() : readSubsets(file));
      this.#subsets.set(font, subsets);
    }
    return subsets;
  }
}

/** The packages that may hold a code point, best first. `japanese`: Han characters as they are written in Japan. */
export function packagesFor(codePoint: number, japanese: boolean): readonly string[] {
  let [low, high] = [0, BLOCKS.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (BLOCKS[middle]![0] <= codePoint) low = middle;
    else high = middle - 1;
  }
  const packages = BLOCKS[low]![1];
  return packages === HAN && japanese ? HAN_IN_JAPAN : packages;
}

/**
 * The subsets that hold each code point, by unicode.json of a @fontsource package: subset → "U+0000-00FF,U+0131", where a
 * numbered subset is in brackets.
 */
function readSubsets(file: Uint8Array): Map<number, string[]> {
  const subsets = new Map<number, string[]>();
  for (const [key, ranges] of Object.entries<string>(JSON.parse(new TextDecoder().decode(file)))) {
    const subset = key.replace(/[[\]]/g, "");
    for (const range of ranges.split(",")) {
      const [first, last] = range.slice(2).split("-").map((digits) => parseInt(digits, 16));
      for (let codePoint = first!; codePoint <= (last ?? first!); codePoint++) {
        const known = subsets.get(codePoint);
        if (known === undefined) subsets.set(codePoint, [subset]);
        else known.push(subset);
      }
    }
  }
  return subsets;
}

function tableView(tables: Tables, tag: string): DataView {
  const bytes = tables.get(tag)!;
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

const FOLDER = fileURLToPath(new URL(FONTS_FOLDER, import.meta.url).href);

const SHAPED = ["GDEF", "GPOS", "GSUB", "OS/2", "cmap", "head", "hhea", "hmtx", "maxp"];
const DRAWN = ["cvt ", "fpgm", "glyf", "head", "hhea", "hmtx", "loca", "maxp", "prep"];

const NONE: readonly string[] = [];
const SANS = ["noto-sans", "noto-sans-symbols", "noto-sans-math"];
const SIGNS = ["noto-sans-symbols", "noto-sans-symbols-2", "noto-sans-math", "noto-emoji", "noto-sans-sc"];
const PICTURES = ["noto-emoji", "noto-sans-symbols-2", "noto-sans-symbols", "noto-sans-sc"];
const HAN = ["noto-sans-sc", "noto-sans-jp", "noto-sans-kr"];
const HAN_IN_JAPAN = ["noto-sans-jp", "noto-sans-sc", "noto-sans-kr"];
const HANGUL = ["noto-sans-kr"];

/** First code points of Unicode blocks and the packages from there on. A package that is not installed is passed over. */
const BLOCKS: readonly (readonly [number, readonly string[]])[] = [
  [0x0000, SANS],
  [0x0530, ["noto-sans-armenian"]],
  [0x0590, ["noto-sans-hebrew"]],
  [0x0600, ["noto-sans-arabic"]],
  [0x0700, ["noto-sans-syriac"]],
  [0x0750, ["noto-sans-arabic"]],
  [0x0780, ["noto-sans-thaana"]],
  [0x07c0, ["noto-sans-nko"]],
  [0x0800, NONE],
  [0x0860, ["noto-sans-syriac"]],
  [0x0870, ["noto-sans-arabic"]],
  [0x0900, ["noto-sans-devanagari"]],
  [0x0980, ["noto-sans-bengali"]],
  [0x0a00, ["noto-sans-gurmukhi"]],
  [0x0a80, ["noto-sans-gujarati"]],
  [0x0b00, ["noto-sans-oriya"]],
  [0x0b80, ["noto-sans-tamil"]],
  [0x0c00, ["noto-sans-telugu"]],
  [0x0c80, ["noto-sans-kannada"]],
  [0x0d00, ["noto-sans-malayalam"]],
  [0x0d80, ["noto-sans-sinhala"]],
  [0x0e00, ["noto-sans-thai"]],
  [0x0e80, ["noto-sans-lao"]],
  [0x0f00, ["noto-serif-tibetan"]],
  [0x1000, ["noto-sans-myanmar"]],
  [0x10a0, ["noto-sans-georgian"]],
  [0x1100, HANGUL],
  [0x1200, ["noto-sans-ethiopic"]],
  [0x13a0, ["noto-sans-cherokee"]],
  [0x1400, ["noto-sans-canadian-aboriginal"]],
  [0x1680, NONE],
  [0x1780, ["noto-sans-khmer"]],
  [0x1800, ["noto-sans-mongolian"]],
  [0x18b0, ["noto-sans-canadian-aboriginal"]],
  [0x1900, NONE],
  [0x19e0, ["noto-sans-khmer"]],
  [0x1a00, NONE],
  [0x1c50, ["noto-sans-ol-chiki"]],
  [0x1c80, SANS],
  [0x1c90, ["noto-sans-georgian"]],
  [0x1cc0, ["noto-sans-devanagari"]],
  [0x1d00, SANS],
  [0x2190, SIGNS],
  [0x2600, PICTURES],
  [0x27c0, SIGNS],
  [0x2c60, SANS],
  [0x2c80, NONE],
  [0x2d00, ["noto-sans-georgian"]],
  [0x2d30, ["noto-sans-tifinagh"]],
  [0x2d80, ["noto-sans-ethiopic"]],
  [0x2de0, SANS],
  [0x2e80, HAN],
  [0x3130, HANGUL],
  [0x3190, HAN],
  [0xa000, NONE],
  [0xa640, SANS],
  [0xa6a0, NONE],
  [0xa700, SANS],
  [0xa800, NONE],
  [0xa8e0, ["noto-sans-devanagari"]],
  [0xa900, NONE],
  [0xa960, HANGUL],
  [0xa980, ["noto-sans-javanese"]],
  [0xa9e0, ["noto-sans-myanmar"]],
  [0xaa00, NONE],
  [0xaa60, ["noto-sans-myanmar"]],
  [0xaa80, NONE],
  [0xab00, ["noto-sans-ethiopic"]],
  [0xab30, SANS],
  [0xab70, ["noto-sans-cherokee"]],
  [0xabc0, NONE],
  [0xac00, HANGUL],
  [0xd800, NONE],
  [0xf900, HAN],
  [0xfb00, SANS],
  [0xfb13, ["noto-sans-armenian"]],
  [0xfb1d, ["noto-sans-hebrew"]],
  [0xfb50, ["noto-sans-arabic"]],
  [0xfe00, SANS],
  [0xfe30, HAN],
  [0xfe70, ["noto-sans-arabic"]],
  [0xff00, HAN],
  [0xfff0, SANS],
  [0x10000, NONE],
  [0x1d400, ["noto-sans-math"]],
  [0x1d800, NONE],
  [0x1e900, ["noto-sans-adlam"]],
  [0x1e960, NONE],
  [0x1ee00, ["noto-sans-arabic"]],
  [0x1ef00, NONE],
  [0x1f000, PICTURES],
  [0x1fb00, SIGNS],
  [0x1fc00, NONE],
  [0x20000, HAN],
  [0x32000, NONE],
];
