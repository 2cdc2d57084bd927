/**
 * Text of any script, made ready to draw: cleaned, cut into words, put in visual order (Unicode's bidirectional algorithm),
 * shaped, measured and broken into lines.
 *
 * Plain scripts go glyph by glyph through the font's character map, which is what makes thousands of rows affordable;
 * scripts whose letters join, stack or move are shaped by HarfBuzz. Words are shaped once and remembered.
 */
import bidiFactory, { type Bidi } from "bidi-js";
import { type Face, type FontSource, type Glyph, Library, packagesFor } from "./fonts.ts";

/** Regular, bold (Latin, Greek and Cyrillic only; other scripts stay regular) or fixed width (ASCII only). */
export type Style = "regular" | "bold" | "mono";

/** Glyphs of one font file: plain ones by their numbers, one for each character; shaped ones each with its metrics. */
export type Span = PlainSpan | { face: Face; glyphs: Glyph[] };
export type PlainSpan = { face: Face; text: string; ids: number[] };

/** What is never broken within a line, in one direction. Widths are in thousandths of the font size. */
export type Piece = {
  text: string;
  width: number;
  /** From left to right. */
  spans: Span[];
};

/** One line, its pieces from left to right. `width` is in thousandths of the font size. */
export type Line = { pieces: Piece[]; width: number };

/** Lines of a text, and whether an ellipsis stands for the rest of it. */
export type Paragraph = { lines: Line[]; shortened: boolean };

/** Measures and breaks text in the fonts that were loaded for it. */
export class Typesetter {
  /** Code points for which no font has a glyph; each is drawn as an empty box. */
  readonly missing = new Set<number>();
  readonly #faces: Faces;
  readonly #pieces = new Map<string, Map<string, Piece>>();

  /** Loads the fonts that these texts need; a text that needs others is drawn with boxes. */
  static async load(texts: Iterable<string>, source: FontSource): Promise<Typesetter> {
    return new Typesetter(await Faces.load(texts, source));
  }

  private constructor(faces: Faces) {
    this.#faces = faces;
  }

  /** The whole text in one line. */
  line(text: string, style: Style = "regular"): Line {
    return inOrder(this.#words(cleanAround(text), voiceOf(text, style)).flatMap(({ pieces }) => pieces));
  }

  /** The text in lines of at most `width` (in thousandths of the font size), in at most `most` lines. */
  wrap(text: string, style: Style, width: number, most = Infinity): Paragraph {
    // A cell may hold 100 kB: of that, only what would fit in letters of a quarter of their height is looked at.
    const bound = most * Math.max(8, Math.ceil(width / 250));
    const start = head(text, bound);
    const voice = voiceOf(start, style);
    const ellipsis = this.#piece("…", false, voice);
    const lines: Placed[][] = [];
    let line: Placed[] = [];
    let used = 0;
    let space = 0;
    const end = () => {
      lines.push(line);
      line = [];
      used = space = 0;
    };
    const put = (pieces: Placed[], wide: number) => {
      line.push(...pieces);
      used += wide;
      space = 0;
    };
    for (const word of this.#words(cleanAround(start), voice)) {
      if (lines.length > most) break;
      if (word.space) {
        line.push(...word.pieces);
        used += word.width;
        space += word.width;
        continue;
      }
      if (used + word.width > width && used - space > 0 && (word.width <= width || used > 0.7 * width)) end();
      if (used + word.width <= width) {
        put(word.pieces, word.width);
        continue;
      }
      for (const part of word.pieces.flatMap((piece) => this.#narrow(piece, width, voice))) {
        if (used + part.piece.width > width && used > 0) end();
        put([part], part.piece.width);
      }
    }
    if (line.length > 0 || lines.length === 0) lines.push(line);
    const shortened = lines.length > most || start.length < text.length;
    if (shortened) {
      lines.length = Math.min(lines.length, most);
      const last = lines.at(-1)!;
      const level = last[0]?.level ?? 0;
      let wide = last.reduce((sum, { piece }) => sum + piece.width, ellipsis.width);
      while (last.length > 0 && (wide > width || isSpace(last.at(-1)!))) {
        const { piece, level } = last.pop()!;
        wide -= piece.width;
        if (last.length > 0) continue;
        // A line of one piece keeps as much of it as there is room for.
        const [start] = this.#narrow({ piece, level }, width - ellipsis.width, voice);
        if (start !== undefined) last.push(start);
        break;
      }
      last.push({ piece: ellipsis, level });
    }
    return { lines: lines.map(inOrder), shortened };
  }

  /** A piece cut where it must be: it alone is wider than the line. */
  #narrow(placed: Placed, width: number, voice: Voice): Placed[] {
    const { piece, level } = placed;
    if (piece.width <= width) return [placed];
    const rightToLeft = level % 2 === 1;
    const characters = [...GRAPHEMES.segment(piece.text)].flatMap(({ segment }) =>
      segment.length > LONGEST_GRAPHEME ? [...segment] : [segment]
    );
    const parts: Placed[] = [];
    for (let from = 0, to: number; from < characters.length; from = to) {
      let used = 0;
      for (to = from; to < characters.length && (used <= width || to === from); to++) {
        used += this.#piece(characters[to]!, rightToLeft, voice).width;
      }
      // Letters that join may be wider together than apart.
      let part = this.#piece(characters.slice(from, to).join(""), rightToLeft, voice);
      while (part.width > width && to > from + 1) {
        to -= Math.min(to - from - 1, Math.max(1, Math.floor((to - from) * (1 - width / part.width))));
        part = this.#piece(characters.slice(from, to).join(""), rightToLeft, voice);
      }
      parts.push({ piece: part, level });
    }
    return parts;
  }

  /** Words and the spaces between them; between two words without a space a line may break too. */
  #words(text: string, voice: Voice): Word[] {
    const words: Word[] = [];
    const levels = RIGHT_TO_LEFT.test(text) ? BIDI.getEmbeddingLevels(text).levels : null;
    let at = 0;
    for (const cut of PLAIN.test(text) ? text.match(ASCII_WORDS) ?? [] : wordsOf(text)) {
      const word: Word = { pieces: [], width: 0, space: cut[0] === " " };
      for (const part of word.space ? [cut] : cut.match(PARTS) ?? [cut]) {
        for (const { text: run, level } of byLevel(part, levels, at)) {
          const shown = run.replace(ISOLATES, "");
          if (shown === "") continue;
          const piece = this.#piece(shown, level % 2 === 1, voice);
          word.pieces.push({ piece, level });
          word.width += piece.width;
        }
        at += part.length;
      }
      words.push(word);
    }
    return words;
  }

  #piece(text: string, rightToLeft: boolean, voice: Voice): Piece {
    const key = `${voice.style}${voice.japanese}${rightToLeft}`;
    let known = this.#pieces.get(key);
    if (known === undefined) this.#pieces.set(key, known = new Map());
    let piece = known.get(text);
    if (piece === undefined) {
      piece = !rightToLeft && SIMPLE.test(text) ? this.#plain(text, voice) : this.#shaped(text, rightToLeft, voice);
      known.set(text, piece);
    }
    return piece;
  }

  #plain(text: string, voice: Voice): Piece {
    const spans: PlainSpan[] = [];
    let width = 0;
    for (const character of text) {
      const codePoint = character.codePointAt(0)!;
      const face = this.#faces.of(codePoint, voice)[0] ?? this.#faces.base(voice.style);
      const glyph = face.glyph(codePoint);
      if (glyph === 0) this.missing.add(codePoint);
      const last = spans.at(-1);
      if (last?.face === face) {
        last.text += character;
        last.ids.push(glyph);
      } else {
        spans.push({ face, text: character, ids: [glyph] });
      }
      width += face.advance(glyph);
    }
    return { text, width, spans };
  }

  #shaped(text: string, rightToLeft: boolean, voice: Voice): Piece {
    const runs: { face: Face; text: string }[] = [];
    for (const [cluster] of text.matchAll(CLUSTER)) {
      for (const run of this.#runs(cluster, voice)) {
        const last = runs.at(-1);
        if (last?.face === run.face) last.text += run.text;
        else runs.push(run);
      }
    }
    if (rightToLeft) runs.reverse();
    let width = 0;
    const spans = runs.map(({ face, text }) => {
      const glyphs = face.shape(text, rightToLeft);
      for (const glyph of glyphs) width += glyph.advance;
      return { face, glyphs };
    });
    return { text, width, spans };
  }

  /** A letter and its marks in one face where one has them all. */
  #runs(cluster: string, voice: Voice): { face: Face; text: string }[] {
    const characters = [...cluster];
    const visible = characters.filter((character) => !IGNORABLE.test(character));
    const having = visible.map((character) => this.#faces.of(character.codePointAt(0)!, voice));
    visible.forEach((character, i) => having[i]!.length === 0 && this.missing.add(character.codePointAt(0)!));
    const all = having[0]?.find((face) => having.every((faces) => faces.includes(face)));
    if (all !== undefined) return [{ face: all, text: cluster }];
    let face = having[0]?.[0] ?? this.#faces.base(voice.style);
    return characters.map((character) => {
      const at = visible.indexOf(character);
      if (at >= 0) face = having[at]![0] ?? this.#faces.base(voice.style);
      return { face, text: character };
    });
  }
}

/** What else than its characters decides how a text is set. `japanese`: Han characters as they are written in Japan. */
type Voice = { style: Style; japanese: boolean };
type Placed = { piece: Piece; level: number };
type Word = { pieces: Placed[]; width: number; space: boolean };

/** The loaded faces by what they have. */
class Faces {
  readonly #base: Record<Style, Face>;
  readonly #regular = new Map<number, Face[]>();
  readonly #bold = new Map<number, Face[]>();
  /** Han characters where the text is Japanese. */
  readonly #japanese = new Map<number, Face[]>();

  static async load(texts: Iterable<string>, source: FontSource): Promise<Faces> {
    let library = LIBRARIES.get(source);
    if (library === undefined) LIBRARIES.set(source, library = new Library(source));
    const [regular, bold, mono] = await Promise.all([
      library.face("noto-sans", "latin"),
      library.face("noto-sans", "latin", 600),
      library.face("noto-sans-mono", "latin"),
    ]);
    if (regular === null || bold === null || mono === null) {
      throw new Error(
        "The fonts of PDF reports are not installed: noto-sans and noto-sans-mono of @fontsource are needed, the others " +
          "by script. They are dependencies in package.json and static_files in supabase/config.toml.",
      );
    }
    const faces = new Faces({ regular, bold, mono });
    await faces.#add(texts, library);
    return faces;
  }

  private constructor(base: Record<Style, Face>) {
    this.#base = base;
  }

  async #add(texts: Iterable<string>, library: Library): Promise<void> {
    const codePoints = new Set<number>();
    let japanese = false;
    for (const text of texts) {
      if (PLAIN.test(text)) continue;
      for (const character of cleanAround(text).replace(ISOLATES, "")) codePoints.add(character.codePointAt(0)!);
      japanese ||= KANA.test(text);
    }
    for (const codePoint of codePoints) {
      if (codePoint < 0x80) continue;
      const packages = packagesFor(codePoint, false);
      const faces = await library.facesWith(codePoint, packages);
      this.#regular.set(codePoint, faces);
      if (faces[0]?.name.startsWith("noto-sans-latin") || faces[0]?.name.startsWith("noto-sans-greek")) {
        this.#bold.set(codePoint, await library.facesWith(codePoint, packages.slice(0, 1), 600));
      }
      const inJapan = packagesFor(codePoint, true);
      if (japanese && inJapan !== packages) this.#japanese.set(codePoint, await library.facesWith(codePoint, inJapan));
    }
  }

  base(style: Style): Face {
    return this.#base[style];
  }

  /** The faces that have a code point, best first. */
  of(codePoint: number, { style, japanese }: Voice): Face[] {
    const base = this.#base[style];
    if (base.glyph(codePoint) !== 0) {
      const others = codePoint < 0x80 ? undefined : this.#regular.get(codePoint);
      return others === undefined ? [base] : [base, ...others];
    }
    const bold = style === "bold" ? this.#bold.get(codePoint) : undefined;
    const inJapan = japanese ? this.#japanese.get(codePoint) : undefined;
    return bold ?? inJapan ?? this.#regular.get(codePoint) ?? [];
  }
}

/**
 * Text as it is shown: composed (NFC), with what would be invisible or would reorder its surroundings (control characters,
 * bidirectional overrides, zero-width spaces, lone surrogates) written as JSON escapes, and towers of accents cut.
 */
export function clean(text: string): string {
  return PLAIN.test(text) ? text : cleanAround(text).replace(ISOLATES, escape);
}

/**
 * A value, cleaned, to be put among others: right-to-left text in it does not draw what stands around it into its direction,
 * which would turn "old → new" around.
 */
export function isolated(value: string): string {
  const text = clean(value);
  return RIGHT_TO_LEFT.test(text) ? `\u2068${text}\u2069` : text;
}

/** As clean(), but for the isolates of isolated(). */
function cleanAround(text: string): string {
  // Towers go first: to compose one takes the square of its height.
  return PLAIN.test(text) ? text : text.replace(TOWER, "$1…").normalize("NFC").replace(HIDDEN, escape);
}

function escape(hidden: string): string {
  return SHORT_ESCAPES.get(hidden) ??
    [...hidden].map((character) => {
      const codePoint = character.codePointAt(0)!;
      return codePoint > 0xffff ? `\\u{${codePoint.toString(16)}}` : `\\u${codePoint.toString(16).padStart(4, "0")}`;
    }).join("");
}

/** The first code units, without half a character at the end. */
function head(text: string, length: number): string {
  if (text.length <= length) return text;
  return text.slice(0, /[\ud800-\udbff]/.test(text[length - 1]!) ? length - 1 : length);
}

/** Words of a text with other characters than ASCII, in order and without a gap. */
function wordsOf(text: string): string[] {
  return (text.match(WORDS) ?? []).flatMap((word) =>
    UNSPACED.test(word) ? [...WORD_BREAKS.segment(word)].map(({ segment }) => segment) : [word]
  );
}

/** A text cut where its bidirectional level changes. */
function byLevel(text: string, levels: Uint8Array | null, offset: number): { text: string; level: number }[] {
  if (levels === null) return [{ text, level: 0 }];
  const runs: { text: string; level: number }[] = [];
  for (let from = 0, to = 1; to <= text.length; to++) {
    const level = levels[offset + from]!;
    if (to < text.length && levels[offset + to] === level) continue;
    runs.push({ text: text.slice(from, to), level });
    from = to;
  }
  return runs;
}

/** Pieces in logical order as a line in visual order: rule L2 of UAX #9, without the spaces at its end. */
function inOrder(placed: Placed[]): Line {
  let end = placed.length;
  while (end > 0 && isSpace(placed[end - 1]!)) end--;
  const line = placed.slice(0, end);
  const highest = line.reduce((most, { level }) => Math.max(most, level), 0);
  for (let level = highest; level > 0; level--) {
    for (let from = 0; from < line.length; from++) {
      let to = from;
      while (to < line.length && line[to]!.level >= level) to++;
      if (to === from) continue;
      const turned = line.slice(from, to).reverse();
      line.splice(from, to - from, ...turned);
      from = to;
    }
  }
  return { pieces: line.map(({ piece }) => piece), width: line.reduce((sum, { piece }) => sum + piece.width, 0) };
}

function voiceOf(text: string, style: Style): Voice {
  return { style, japanese: KANA.test(text) };
}

function isSpace({ piece }: Placed): boolean {
  return piece.text[0] === " ";
}

const BIDI = (bidiFactory as unknown as () => Bidi)();
/** Fonts stay loaded between the documents that one isolate makes. */
const LIBRARIES = new WeakMap<FontSource, Library>();
const GRAPHEMES = new Intl.Segmenter("en", { granularity: "grapheme" });
const WORD_BREAKS = new Intl.Segmenter("th", { granularity: "word" });

/** In code units. Longer ones, such as endless chains of joined emoji, may be cut within. */
const LONGEST_GRAPHEME = 32;

const PLAIN = /^[\x20-\x7e]*$/;
const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufeff]|[\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;
const KANA = /[\u3041-\u30ff]/;
/** Scripts that are written without spaces between words. */
const UNSPACED = /[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]/;
const SHORT_ESCAPES = new Map([["\n", "\\n"], ["\r", "\\r"], ["\t", "\\t"]]);
/** Controls, format characters but isolates and the joiners that letters and emoji need, line separators, lone surrogates. */
const HIDDEN = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}]|(?![\u200c\u200d\u0600-\u0605\u06dd\u2068\u2069])\p{Cf}/gu;
const ISOLATES = /[\u2068\u2069]/g;
const TOWER = /(\p{M}{6})\p{M}+/gu;
/** Invisible, and drawn with whatever font its neighbours have. */
const IGNORABLE = /[\u200c\u200d\ufe00-\ufe0f]/;
const CLUSTER = /[\s\S][\p{M}\u200c\u200d\p{Emoji_Modifier}]*/gu;
/** What needs no shaping: one glyph a character, in the order of the text. */
const SIMPLE =
  /^(?:(?![\p{M}\p{Cf}\p{Regional_Indicator}\p{Emoji_Modifier}])[\p{sc=Latin}\p{sc=Greek}\p{sc=Cyrillic}\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}\p{sc=Armenian}\p{sc=Georgian}\p{sc=Ethiopic}\p{sc=Cherokee}\p{sc=Common}])*$/u;
const ASCII_WORDS = / +|[^ ]+/g;
/** Characters of Chinese, Japanese and Korean each stand alone, with the closing marks that follow them. */
const WORDS =
  /[ \u3000]+|[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\u30fc][、。，．：；？！」』）】》〉…ー]*|(?:(?![\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}])[^ \u3000])+/gu;
/** Where a word that does not fit is broken first: after punctuation. No word is longer than this lets it be. */
const PARTS = /[^/._:@,;=&?{}[\]|\\-]{0,200}[/._:@,;=&?{}[\]|\\-]{1,200}|[^/._:@,;=&?{}[\]|\\-]{1,200}/gu;
