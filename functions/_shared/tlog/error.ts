/** What can be wrong with what others wrote: the stable names of failures that are theirs, not ours. */
export type TlogErrorCode =
  /** Not as the format says, to the byte. */
  | "malformed_bundle"
  | "malformed_checkpoint"
  | "malformed_frontier"
  | "malformed_key"
  | "malformed_note"
  | "malformed_origin"
  | "malformed_path"
  | "malformed_policy"
  | "malformed_receipt"
  | "malformed_tile"
  | "malformed_witness_message"
  /** Longer than anything that is worth reading. */
  | "too_large"
  /** An index, size or width that the tree does not have. */
  | "out_of_range"
  /** A key that is known, and a signature that it did not make. */
  | "invalid_signature"
  /** Nothing signed by a key that is known. */
  | "no_known_signature"
  /** A checkpoint of another log. */
  | "wrong_origin"
  /** Hashes that do not lead to the root they should. */
  | "root_mismatch";

/** The one error of this folder. Anything else that is thrown here is a defect, or came from a reader that was handed in. */
export class TlogError extends Error {
  readonly code: TlogErrorCode;

  constructor(code: TlogErrorCode, message: string) {
    super(message);
    this.name = "TlogError";
    this.code = code;
  }
}
