/**
 * Cosignatures of type 0x04, Ed25519 with a time: C2SP tlog-cosignature (https://c2sp.org/tlog-cosignature). One says
 * that at that time, this was the largest tree of the log that the cosigner had seen, and continued every earlier one.
 */
import { isSignedBy, SIGNATURE_BYTES, signWith } from "./ed25519.ts";
import type { SignerKey, VerifierKey } from "./key.ts";
import type { Signature, Signer, Verifier } from "./note.ts";
import { concatBytes, encodeText } from "./text.ts";

/** `time` is in seconds since 1970. */
export type Cosignature = { name: string; keyId: string; time: number };

const TIME_BYTES = 8;

export function cosignatureVerifier({ name, keyId, publicKey }: VerifierKey): Verifier {
  return {
    name,
    keyId,
    verify(text, signature) {
      const time = timeOf(signature);
      return time !== undefined && isSignedBy(publicKey, message(text, time), signature.subarray(TIME_BYTES));
    },
  };
}

/** Signs as of one time, in whole seconds. Whoever signs must have checked, and keep, what the signature says. */
export function cosigner(key: SignerKey, time: number): Signer {
  return {
    ...cosignatureVerifier(key),
    sign: (text) => concatBytes(formatTime(time), signWith(key.seed, message(text, time))),
  };
}

/** When a verified cosignature was made. */
export function cosignatureOf({ name, keyId, bytes }: Signature): Cosignature {
  return { name, keyId, time: timeOf(bytes)! };
}

function message(text: string, time: number): Uint8Array {
  return encodeText(`cosignature/v1\ntime ${time}\n${text}`);
}

function formatTime(time: number): Uint8Array {
  const bytes = new Uint8Array(TIME_BYTES);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(time));
  return bytes;
}

/** Undefined where it is no cosignature, or its time beyond what a double holds: in 285 million years. */
function timeOf(signature: Uint8Array): number | undefined {
  if (signature.length !== TIME_BYTES + SIGNATURE_BYTES) return undefined;
  const time = Number(new DataView(signature.buffer, signature.byteOffset, TIME_BYTES).getBigUint64(0));
  return Number.isSafeInteger(time) ? time : undefined;
}
