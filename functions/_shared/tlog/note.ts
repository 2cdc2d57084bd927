/**
 * Signed notes: C2SP signed-note (https://c2sp.org/signed-note). A text, a blank line, and signature lines. Until a
 * signature by a known key was verified, a note says nothing.
 */
import { isSignedBy, signWith } from "./ed25519.ts";
import { TlogError } from "./error.ts";
import { isKeyName, type SignerKey, type VerifierKey } from "./key.ts";
import { concatBytes, decodeText, encodeText, formatBase64, formatHex, hasControls, parseBase64 } from "./text.ts";

/** A signature line: whose it claims to be, and the bytes after the key id. */
export type Signature = { name: string; keyId: string; bytes: Uint8Array };

/** The text ends with a line feed, which belongs to what is signed. */
export type Note = { text: string; signatures: Signature[] };

/** Who can tell whether a signature of a text is theirs. */
export type Verifier = {
  name: string;
  keyId: string;
  verify(text: string, signature: Uint8Array): boolean;
};

/** Who can sign a text: a key at hand, or a service that lets none out. */
export type Signer = Verifier & { sign(text: string): Uint8Array | Promise<Uint8Array> };

/** Room for a hundred signatures, or for sixteen of the largest kind there is (ML-DSA, 5 kB). */
export const MAX_NOTE_BYTES = 262_144;
export const MAX_SIGNATURES = 100;

const KEY_ID_BYTES = 4;

/** Verifies Ed25519 signatures of type 0x01. */
export function noteVerifier({ name, keyId, publicKey }: VerifierKey): Verifier {
  return { name, keyId, verify: (text, signature) => isSignedBy(publicKey, encodeText(text), signature) };
}

/** Makes Ed25519 signatures of type 0x01. */
export function noteSigner(key: SignerKey): Signer {
  return { ...noteVerifier(key), sign: (text) => signWith(key.seed, encodeText(text)) };
}

export function formatNote({ text, signatures }: Note): string {
  return `${text}\n${formatSignatures(signatures)}`;
}

/** What the note says of itself. Nothing is verified. */
export function parseNote(input: string | Uint8Array): Note {
  if (input.length > MAX_NOTE_BYTES) throw new TlogError("too_large", `a note of ${input.length} bytes or more`);
  const note = decodeText(input, MAX_NOTE_BYTES);
  if (note === undefined) throw malformed("is not UTF-8");
  if (hasControls(note.replaceAll("\n", ""))) throw malformed("holds control characters");
  const end = note.lastIndexOf("\n\n") + 1;
  if (end === 0) throw malformed("has no blank line before its signatures");
  const parsed = { text: note.slice(0, end), signatures: parseSignatures(note.slice(end + 1)) };
  if (formatNote(parsed) !== note) throw malformed("is not as it would be written");
  return parsed;
}

/** Signature lines by themselves, as a witness answers with. */
export function formatSignatures(signatures: Signature[]): string {
  return signatures.map(({ name, keyId, bytes }) => `— ${name} ${withKeyId(keyId, bytes)}\n`).join("");
}

/** At least one line; every line ends with a line feed. */
export function parseSignatures(lines: string): Signature[] {
  if (!lines.endsWith("\n")) throw malformed("does not end with a signature line");
  const signatures = lines.slice(0, -1).split("\n");
  if (signatures.length > MAX_SIGNATURES) throw new TlogError("too_large", `${signatures.length} signatures`);
  return signatures.map((line) => {
    const [, name = "", base64 = ""] = /^— ([^ ]+) ([^ ]+)$/u.exec(line) ?? [];
    const bytes = parseBase64(base64);
    if (!isKeyName(name) || bytes === undefined || bytes.length <= KEY_ID_BYTES) {
      throw malformed(`has a line that is no signature: ${JSON.stringify(line.slice(0, 100))}`);
    }
    return { name, keyId: formatHex(bytes.subarray(0, KEY_ID_BYTES)), bytes: bytes.slice(KEY_ID_BYTES) };
  });
}

/**
 * The signatures of known keys, every one of which must verify; those of unknown keys are passed over. A key that signed
 * more than once counts once, with its first signature. At least one key must have signed.
 */
export function verifyNote({ text, signatures }: Note, known: Verifier[]): Signature[] {
  const verified = new Map<Verifier, Signature>();
  for (const signature of signatures) {
    const keys = known.filter((key) => isOf(signature, key));
    if (keys.length > 1) {
      throw new TlogError("malformed_key", `two known keys are ${signature.name}+${signature.keyId}`);
    }
    const key = keys[0];
    if (key === undefined) continue;
    if (!key.verify(text, signature.bytes)) {
      throw new TlogError("invalid_signature", `${key.name}+${key.keyId} did not sign this text`);
    }
    if (!verified.has(key)) verified.set(key, signature);
  }
  if (verified.size === 0) throw new TlogError("no_known_signature", "no known key has signed this text");
  return [...verified.values()];
}

/** The text, signed by each. A signature that its own key does not verify never leaves. */
export async function signNote(text: string, signers: Signer[]): Promise<Note> {
  const note: Note = { text, signatures: [] };
  for (const signer of signers) {
    const bytes = await signer.sign(text);
    if (!signer.verify(text, bytes)) {
      throw new TlogError("invalid_signature", `${signer.name}+${signer.keyId} signed what it does not verify`);
    }
    note.signatures.push({ name: signer.name, keyId: signer.keyId, bytes });
  }
  return parseNote(formatNote(note));
}

/** The note with more signatures, in place of those that the same keys had made. */
export function withSignatures({ text, signatures }: Note, more: Signature[]): Note {
  const kept = signatures.filter((signature) => !more.some((other) => isOf(signature, other)));
  return { text, signatures: [...kept, ...more] };
}

/** Whether a signature claims to be of this key. */
export function isOf(signature: Signature, key: { name: string; keyId: string }): boolean {
  return signature.name === key.name && signature.keyId === key.keyId;
}

function withKeyId(keyId: string, bytes: Uint8Array): string {
  const id = Uint8Array.from({ length: KEY_ID_BYTES }, (_, at) => Number.parseInt(keyId.slice(2 * at, 2 * at + 2), 16));
  return formatBase64(concatBytes(id, bytes));
}

function malformed(how: string): TlogError {
  return new TlogError("malformed_note", `the note ${how}`);
}
