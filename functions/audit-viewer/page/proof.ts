// Whether an entry is proved, by the verifier of `npm run verify`, in the reader's own browser. Loaded when it is needed.
import { parseVerifierKey, renameKey } from "../../_shared/tlog/key.ts";
import { TlogError } from "../../_shared/tlog/error.ts";
import { leafHash } from "../../_shared/tlog/hash.ts";
import { noteVerifier } from "../../_shared/tlog/note.ts";
import { parseOrigin } from "../../_shared/tlog/origin.ts";
import { parseReceipt, verifyReceipt } from "../../_shared/tlog/receipt.ts";
import { encodeText, formatHex } from "../../_shared/tlog/text.ts";

export type Proof =
  | { state: "proved"; origin: string; index: number; size: number; key: string }
  | { state: "broken"; reason: string };

/**
 * Verifies the receipt against the text that is shown and the keys that the page was configured with.
 * A receipt of another organisation proves nothing here, however well it is signed.
 */
export function proveEntry(receipt: string, entryText: string, organization: string, keys: string[]): Proof {
  try {
    const { checkpoint } = parseReceipt(receipt);
    const origin = checkpoint.text.slice(0, checkpoint.text.indexOf("\n"));
    if (parseOrigin(origin).organizationId !== organization) {
      return { state: "broken", reason: `the receipt is of ${origin}` };
    }
    const log = keys.map((key) => noteVerifier(renameKey(parseVerifierKey(key, "note"), origin)));
    const { index, checkpoint: { size } } = verifyReceipt(receipt, leafHash(encodeText(entryText)), { origin, log });
    return { state: "proved", origin, index, size, key: keys.join(" ") };
  } catch (error) {
    if (error instanceof TlogError) return { state: "broken", reason: error.message };
    throw error;
  }
}

/** The hash of the text that is shown, to compare with the one that its chain has. */
export function hashOf(entryText: string): string {
  return formatHex(leafHash(encodeText(entryText)));
}
