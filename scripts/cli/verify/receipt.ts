/**
 * Receipts: that one entry is in a log. With an archive, also that the log there is the one that the receipt is of; with
 * the anchor log's receipt of that log's checkpoint, also that whoever cosigned the anchor log has seen the entry.
 */
import { parseEntryText } from "../../../functions/_shared/entry.ts";
import { type Checkpoint, parseCheckpoint } from "../../../functions/_shared/tlog/checkpoint.ts";
import type { Cosignature } from "../../../functions/_shared/tlog/cosignature.ts";
import { TlogError } from "../../../functions/_shared/tlog/error.ts";
import { leafHash } from "../../../functions/_shared/tlog/hash.ts";
import type { VerifierKey } from "../../../functions/_shared/tlog/key.ts";
import type { Verifier } from "../../../functions/_shared/tlog/note.ts";
import { parseOrigin } from "../../../functions/_shared/tlog/origin.ts";
import { parseReceipt, type VerifiedReceipt, verifyReceipt } from "../../../functions/_shared/tlog/receipt.ts";
import { equalBytes } from "../../../functions/_shared/tlog/text.ts";
import { verifiersOf } from "./log.ts";

export type ProvedReceipt = { name: string; index: number; checkpoint: Checkpoint; cosignatures: Cosignature[] };

/** Finds the entry at an index of a log, for receipts that come without. */
export type FindEntry = (origin: string, index: number) => Promise<Uint8Array | undefined>;

/**
 * Verifies a receipt. The entry is the text that was given, else the one at its index in the archive, else what the
 * receipt has as extra data; which of them does not matter, because the receipt proves one entry only.
 */
export async function proveReceipt(
  input: Uint8Array,
  given: Uint8Array | undefined,
  find: FindEntry,
  { base, keys, witnesses }: { base: string; keys: VerifierKey[]; witnesses: Verifier[] },
): Promise<ProvedReceipt> {
  const receipt = parseReceipt(input);
  const origin = receipt.checkpoint.text.slice(0, receipt.checkpoint.text.indexOf("\n"));
  const { organizationId, base: ofDeployment } = parseOrigin(origin);
  if (ofDeployment !== base) {
    throw new TlogError("wrong_origin", `the receipt is of ${origin}, not of a log of ${base}`);
  }
  const entry = given === undefined ? await find(origin, receipt.index) ?? receipt.extra : withoutLineFeed(given);
  if (entry === undefined) {
    throw new TlogError("out_of_range", "the receipt comes without its entry: give it with --entry");
  }
  const row = parseEntryText(entry);
  if (row === undefined) {
    throw new TlogError("malformed_bundle", "what the receipt is for is no entry of format version 1");
  }
  const name = `${row.chain}-${row.seq}`;
  if (row.organization_id !== organizationId) {
    throw new TlogError(
      "wrong_origin",
      `entry ${name} is one of organisation ${row.organization_id}, not of ${origin}`,
    );
  }
  const { index, checkpoint, cosignatures } = verifyReceipt(input, leafHash(entry), {
    origin,
    log: verifiersOf(keys, origin),
    witnesses,
  });
  return { name, index, checkpoint, cosignatures };
}

/** Verifies the anchor log's receipt of the checkpoint that an entry's receipt is under. */
export function proveAnchored(
  input: Uint8Array,
  receipt: Checkpoint,
  { base, keys, witnesses }: { base: string; keys: VerifierKey[]; witnesses: Verifier[] },
): VerifiedReceipt {
  const { extra } = parseReceipt(input);
  if (extra === undefined) throw new TlogError("malformed_receipt", "it comes without the checkpoint that it is of");
  const { origin, size, root } = parseCheckpoint(new TextDecoder().decode(extra));
  if (origin !== receipt.origin || size !== receipt.size || !equalBytes(root, receipt.root)) {
    throw new TlogError(
      "wrong_origin",
      `it is of ${origin} at ${size}, and the receipt is under ${receipt.origin} at ${receipt.size}`,
    );
  }
  const anchor = `${base}/anchor`;
  return verifyReceipt(input, leafHash(extra), { origin: anchor, log: verifiersOf(keys, anchor), witnesses });
}

/** An entry text has no line feed, but editors and shells add one to files. */
function withoutLineFeed(bytes: Uint8Array): Uint8Array {
  return bytes.at(-1) === 0x0a ? bytes.subarray(0, -1) : bytes;
}
