// The keys that logs are signed with, from the environment. Their name is the first part of every log's origin; each log
// is signed under its own origin, which is what witnesses and stock tools take the name of a log's key for.
import { formatVerifierKey, parseSignerKey, parseVerifierKey, renameKey, type VerifierKey } from "./tlog/key.ts";
import { noteSigner, noteVerifier, type Signer, type Verifier } from "./tlog/note.ts";

/** `signers` sign every checkpoint, each; `verifiers` are also those that signed before them. */
export type LogKeys = {
  /** `<base>` of new logs. */
  base: string;
  signers(origin: string): Signer[];
  verifiers(origin: string): Verifier[];
  /** The public keys of the signers, as they are handed out. */
  vkeys: string[];
};

/**
 * Reads signer keys (AUDIT_LOG_KEY) and the verifier keys of keys that are no longer used (AUDIT_LOG_VKEYS), separated by
 * white space. What it throws never quotes a key.
 */
export function readLogKeys(signerKeys: string, formerKeys = ""): LogKeys {
  const keys = words(signerKeys).map((key) => parseSignerKey(key, "note"));
  const former = words(formerKeys).map((key) => parseVerifierKey(key, "note"));
  const [first] = keys;
  if (first === undefined) {
    throw new Error("AUDIT_LOG_KEY holds no signer key: make one with npm run keygen.");
  }
  if (keys.some(({ name }) => name !== first.name)) {
    throw new Error("The keys of AUDIT_LOG_KEY have different names.");
  }
  return {
    base: first.name,
    signers: (origin) => keys.map((key) => noteSigner(renameKey(key, origin))),
    verifiers: (origin) => distinct([...keys, ...former]).map((key) => noteVerifier(renameKey(key, origin))),
    vkeys: keys.map(formatVerifierKey),
  };
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

function distinct(keys: VerifierKey[]): VerifierKey[] {
  return keys.filter((key, at) =>
    keys.findIndex((other) => formatVerifierKey(other) === formatVerifierKey(key)) === at
  );
}
