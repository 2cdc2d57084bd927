/**
 * Checkpoints: the text that a log signs, and what it takes to believe it. C2SP tlog-checkpoint
 * (https://c2sp.org/tlog-checkpoint).
 */
import { type Cosignature, cosignatureOf } from "./cosignature.ts";
import { TlogError } from "./error.ts";
import { emptyRoot, formatHash, parseHash, type Tree } from "./hash.ts";
import { isOf, type Note, parseNote, type Verifier, verifyNote } from "./note.ts";
import { equalBytes, hasControls, parseDecimal } from "./text.ts";

/** Extension lines are opaque. We write none; a log of others may have some. */
export type Checkpoint = Tree & { origin: string; extensions: string[] };

/** What a reader believes beforehand: which log it is, and by which keys it and its witnesses sign. */
export type Trust = { origin: string; log: Verifier[]; witnesses?: Verifier[] };

/** A checkpoint that the log signed, with the cosignatures that were verified. How many are enough, the caller says. */
export type OpenedCheckpoint = { checkpoint: Checkpoint; cosignatures: Cosignature[]; note: Note };

/** The note text. */
export function formatCheckpoint({ origin, size, root, extensions }: Checkpoint): string {
  if (![origin, ...extensions].every(isLine)) throw malformed("has an origin or extension that is no line");
  const text = [origin, String(size), formatHash(root), ...extensions].map((line) => `${line}\n`).join("");
  // What could not be read is not written either.
  parseCheckpoint(text);
  return text;
}

/** The note text without signatures, which is not yet to be believed. */
export function parseCheckpoint(text: string): Checkpoint {
  const [origin = "", digits = "", base64 = "", ...rest] = text.split("\n");
  const size = parseDecimal(digits);
  const root = parseHash(base64);
  const extensions = rest.slice(0, -1);
  if (rest.at(-1) !== "") throw malformed("does not end with a line feed");
  if (![origin, ...extensions].every(isLine)) throw malformed("has a line that is empty, or holds control characters");
  if (size === undefined) throw malformed("has no size, or one of 2^53 or more");
  if (root === undefined) throw malformed("has no root hash");
  if (size === 0 && !equalBytes(root, emptyRoot())) {
    throw malformed("has a root over no entries that is not the empty one");
  }
  return { origin, size, root, extensions };
}

/** Reads a signed checkpoint: of the expected log, signed by a key of the log, with no known signature that is wrong. */
export function openCheckpoint(input: string | Uint8Array, { origin, log, witnesses = [] }: Trust): OpenedCheckpoint {
  const note = parseNote(input);
  const verified = verifyNote(note, [...log, ...witnesses]);
  if (!verified.some((signature) => log.some((key) => isOf(signature, key)))) {
    throw new TlogError("no_known_signature", "witnesses have signed this checkpoint, but no known key of the log");
  }
  const checkpoint = parseCheckpoint(note.text);
  if (checkpoint.origin !== origin) {
    throw new TlogError("wrong_origin", `the checkpoint is of ${JSON.stringify(checkpoint.origin)}, not of ${origin}`);
  }
  const cosignatures = verified.filter((signature) => witnesses.some((key) => isOf(signature, key))).map(cosignatureOf);
  return { checkpoint, cosignatures, note };
}

function isLine(line: string): boolean {
  return line !== "" && !hasControls(line) && !/\p{Surrogate}/u.test(line);
}

function malformed(how: string): TlogError {
  return new TlogError("malformed_checkpoint", `the checkpoint ${how}`);
}
