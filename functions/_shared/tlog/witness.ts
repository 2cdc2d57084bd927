/**
 * What a log and a witness say to each other: C2SP tlog-witness (https://c2sp.org/tlog-witness), `POST
 * <submission prefix>/add-checkpoint`. Only the messages; who sends them is elsewhere.
 */
import { type Cosignature, cosignatureOf } from "./cosignature.ts";
import { TlogError } from "./error.ts";
import type { Hash } from "./hash.ts";
import {
  formatNote,
  MAX_NOTE_BYTES,
  type Note,
  parseNote,
  parseSignatures,
  type Signature,
  type Verifier,
  verifyNote,
} from "./note.ts";
import { formatPath, parsePath } from "./proof.ts";
import { decodeText, parseDecimal } from "./text.ts";

/** `old` is the size that the witness has cosigned last; the path proves that the checkpoint continues it. */
export type AddCheckpoint = { old: number; path: Hash[]; checkpoint: Note };

/** An HTTP response, as far as it matters. */
export type WitnessResponse = { status: number; contentType: string | null; body: string | Uint8Array };

/** Why a witness does not sign. After `old_size`, ask again with a proof from the size it has. */
export type WitnessAnswer =
  | { ok: true; signatures: Signature[]; cosignatures: Cosignature[] }
  | { ok: false; reason: "old_size"; size: number }
  | { ok: false; reason: "unknown_log" | "unknown_key" | "bad_request" | "inconsistent" | "unavailable" };

export const SIZE_CONTENT_TYPE = "text/x.tlog.size";

const MAX_MESSAGE_BYTES = MAX_NOTE_BYTES + 4_096;

const REASONS = {
  400: "bad_request",
  403: "unknown_key",
  404: "unknown_log",
  422: "inconsistent",
} as const;

/** The body of a request. */
export function formatAddCheckpoint({ old, path, checkpoint }: AddCheckpoint): string {
  const body = `old ${old}\n${formatPath(path)}\n${formatNote(checkpoint)}`;
  // What could not be read is not written either.
  parseAddCheckpoint(body);
  return body;
}

/** What a request says. Nothing is verified. */
export function parseAddCheckpoint(input: string | Uint8Array): AddCheckpoint {
  const body = decode(input);
  const end = body.indexOf("\n\n");
  const [first = "", ...lines] = end === -1 ? [] : body.slice(0, end).split("\n");
  const old = parseDecimal(/^old (.*)$/.exec(first)?.[1] ?? "");
  const path = parsePath(lines);
  if (old === undefined || path === undefined) throw malformed("the request does not begin with a size and a proof");
  if (old === 0 && path.length > 0) throw malformed("the request proves what needs no proof: that a log began");
  return { old, path, checkpoint: parseNote(body.slice(end + 2)) };
}

/**
 * Reads what a witness answered for a checkpoint. Its signatures are those of known keys, each verified, for
 * `withSignatures()`; an answer that says it signed but did not is an error.
 */
export function readWitnessAnswer(response: WitnessResponse, checkpoint: Note, witness: Verifier[]): WitnessAnswer {
  const { status, contentType, body } = response;
  if (status === 200) {
    const signatures = verifyNote({ text: checkpoint.text, signatures: parseSignatures(decode(body)) }, witness);
    const cosignatures = signatures.map(cosignatureOf);
    if (cosignatures.some(({ time }) => time === 0)) throw malformed("the cosignature is of no time");
    return { ok: true, signatures, cosignatures };
  }
  if (status === 409) {
    const size = parseDecimal(/^(.*)\n$/.exec(decode(body))?.[1] ?? "");
    if (contentType?.split(";")[0]?.trim() !== SIZE_CONTENT_TYPE || size === undefined) {
      throw malformed("the conflict does not say which size");
    }
    return { ok: false, reason: "old_size", size };
  }
  return { ok: false, reason: REASONS[status as keyof typeof REASONS] ?? "unavailable" };
}

function decode(input: string | Uint8Array): string {
  if (input.length > MAX_MESSAGE_BYTES) throw new TlogError("too_large", `a message of ${input.length} bytes or more`);
  const text = decodeText(input, MAX_MESSAGE_BYTES);
  if (text === undefined) throw malformed("the message is not UTF-8");
  return text;
}

function malformed(what: string): TlogError {
  return new TlogError("malformed_witness_message", what);
}
