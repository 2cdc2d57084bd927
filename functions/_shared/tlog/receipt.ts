/**
 * Receipts: that one entry is in a log, to be verified without asking anyone. C2SP tlog-proof
 * (https://c2sp.org/tlog-proof); the file extension is `.tlog-proof`.
 */
import { openCheckpoint, type OpenedCheckpoint, type Trust } from "./checkpoint.ts";
import { TlogError } from "./error.ts";
import type { Hash } from "./hash.ts";
import { formatNote, MAX_NOTE_BYTES, type Note, parseNote } from "./note.ts";
import { formatPath, parsePath, verifyInclusion } from "./proof.ts";
import { decodeText, formatBase64, parseBase64, parseDecimal } from "./text.ts";

/** `extra` is for the application. Nobody has signed it. */
export type Receipt = { index: number; path: Hash[]; checkpoint: Note; extra?: Uint8Array };

/** Which entry of which tree it was. */
export type VerifiedReceipt = OpenedCheckpoint & { index: number };

const HEADER = "c2sp.org/tlog-proof@v1";

/** Room for extra data of 190 kB beside the largest checkpoint. */
const MAX_RECEIPT_BYTES = 2 * MAX_NOTE_BYTES;

export function formatReceipt({ index, path, checkpoint, extra }: Receipt): string {
  const extraLine = extra === undefined ? "" : `extra ${formatBase64(extra)}\n`;
  const receipt = `${HEADER}\n${extraLine}index ${index}\n${formatPath(path)}\n${formatNote(checkpoint)}`;
  // What could not be read is not written either.
  parseReceipt(receipt);
  return receipt;
}

/** What the receipt says. Nothing is verified. */
export function parseReceipt(input: string | Uint8Array): Receipt {
  if (input.length > MAX_RECEIPT_BYTES) throw new TlogError("too_large", `a receipt of ${input.length} bytes or more`);
  const receipt = decodeText(input, MAX_RECEIPT_BYTES);
  if (receipt === undefined) throw malformed("is not UTF-8");
  const end = receipt.indexOf("\n\n");
  if (end === -1) throw malformed("has no blank line before its checkpoint");
  const lines = receipt.slice(0, end).split("\n");
  if (lines.shift() !== HEADER) throw malformed(`does not begin with ${HEADER}`);
  const extra = lines[0]?.startsWith("extra ") ? parseExtra(lines.shift()!) : undefined;
  const index = parseDecimal(/^index (.*)$/.exec(lines.shift() ?? "")?.[1] ?? "");
  if (index === undefined) throw malformed("has no index, or one of 2^53 or more");
  const path = parsePath(lines);
  if (path === undefined) throw malformed("has a path that is not made of hashes");
  return { index, path, checkpoint: parseNote(receipt.slice(end + 2)), ...(extra === undefined ? {} : { extra }) };
}

/**
 * Verifies that the leaf is in a log that the reader trusts. The leaf comes from the entry, never from the receipt:
 * `leafHash()` of its bytes, or the hash that an entry has in its chain.
 */
export function verifyReceipt(input: string | Uint8Array, leaf: Hash, trust: Trust): VerifiedReceipt {
  const { index, path, checkpoint } = parseReceipt(input);
  const opened = openCheckpoint(formatNote(checkpoint), trust);
  if (!verifyInclusion(leaf, index, opened.checkpoint, path)) {
    throw new TlogError("root_mismatch", `the receipt does not prove this entry at ${index} of its log`);
  }
  return { ...opened, index };
}

/** Without extra data the line is left out, so it is never empty. */
function parseExtra(line: string): Uint8Array {
  const extra = parseBase64(line.slice("extra ".length));
  if (extra === undefined || extra.length === 0) throw malformed("has extra data that is not base64, or empty");
  return extra;
}

function malformed(how: string): TlogError {
  return new TlogError("malformed_receipt", `the receipt ${how}`);
}
