// Keys, notes, checkpoints, cosignatures, receipts and witness messages: against examples that others published and
// signatures that others made, and against everything that is slightly wrong.
import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Checkpoint,
  formatCheckpoint,
  openCheckpoint,
  parseCheckpoint,
} from "../../functions/_shared/tlog/checkpoint.ts";
import { cosignatureOf, cosignatureVerifier, cosigner } from "../../functions/_shared/tlog/cosignature.ts";
import { isSignedBy, newSeed, publicKeyOf, signWith } from "../../functions/_shared/tlog/ed25519.ts";
import { emptyRoot, leafHash } from "../../functions/_shared/tlog/hash.ts";
import {
  formatSignerKey,
  formatVerifierKey,
  generateKey,
  type KeyType,
  parseSignerKey,
  parseVerifierKey,
  renameKey,
  signerKey,
  verifierKey,
} from "../../functions/_shared/tlog/key.ts";
import {
  formatNote,
  formatSignatures,
  MAX_NOTE_BYTES,
  MAX_SIGNATURES,
  type Note,
  noteSigner,
  noteVerifier,
  parseNote,
  parseSignatures,
  type Signature,
  signNote,
  verifyNote,
  withSignatures,
} from "../../functions/_shared/tlog/note.ts";
import { formatOrigin, parseOrigin } from "../../functions/_shared/tlog/origin.ts";
import { formatReceipt, parseReceipt, verifyReceipt } from "../../functions/_shared/tlog/receipt.ts";
import { parseBase64, parseDecimal } from "../../functions/_shared/tlog/text.ts";
import {
  formatAddCheckpoint,
  parseAddCheckpoint,
  readWitnessAnswer,
  SIZE_CONTENT_TYPE,
} from "../../functions/_shared/tlog/witness.ts";

const bytes = (text: string) => new TextEncoder().encode(text);
const unhex = (text: string) => Uint8Array.from(Buffer.from(text, "hex"));
const hex = (value: Uint8Array) => Buffer.from(value).toString("hex");
const failing = (code: string) => expect.objectContaining({ name: "TlogError", code });
const refused = expect.objectContaining({ name: "TlogError" });

type Vectors = {
  signed: { skey: string; vkey: string; note: string };
  cosigned: { skey: string; vkey: string; note: string; index: number; receipt: string };
};
const { signed, cosigned }: Vectors = JSON.parse(
  readFileSync(new URL("../vectors/tlog.json", import.meta.url), "utf8"),
);

const ORIGIN = "example.com/audit";
const log = noteVerifier(parseVerifierKey(signed.vkey, "note"));
const witness = cosignatureVerifier(parseVerifierKey(cosigned.vkey, "cosignature"));
const witnessSeed = parseSignerKey(cosigned.skey, "note").seed;
const trust = { origin: ORIGIN, log: [log], witnesses: [witness] };

/** Each byte of a text changed, in one way each. */
function* changes(text: string): Generator<Uint8Array> {
  const original = bytes(text);
  for (let at = 0; at < original.length; at++) {
    const changed = Uint8Array.from(original);
    changed[at]! ^= 1 + (at * 37) % 255;
    yield changed;
  }
}

/** Where a text is read although it was changed: nowhere, if all is well. */
function accepted(texts: Iterable<Uint8Array>, read: (text: Uint8Array) => unknown): string[] {
  const found: string[] = [];
  for (const text of texts) {
    try {
      read(text);
      found.push(new TextDecoder().decode(text));
    } catch (error) {
      expect(error).toEqual(refused);
    }
  }
  return found;
}

describe("strict texts", () => {
  it.each(["", "00", "01", "-0", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x1", "9007199254740992", "١", "1\n"])(
    "%j is no number",
    (text) => expect(parseDecimal(text)).toBeUndefined(),
  );

  it("numbers are read to the last that a double holds", () => {
    expect(["0", "1", "10", "9007199254740991"].map(parseDecimal)).toEqual([0, 1, 10, 2 ** 53 - 1]);
  });

  it.each([
    "A",
    "AA",
    "AAA",
    "A===",
    "AA=",
    "AB==",
    "AAB=",
    "AA==\n",
    " AA==",
    "AA==AA==",
    "A-_=",
    "AA\n=",
    "====",
    "=",
  ])(
    "%j is no base64",
    (text) => expect(parseBase64(text)).toBeUndefined(),
  );

  it("base64 is read as it is written", () => {
    fc.assert(fc.property(fc.uint8Array(), (value) => {
      expect(hex(parseBase64(Buffer.from(value).toString("base64"))!)).toBe(hex(value));
    }));
  });
});

describe("Ed25519", () => {
  // RFC 8032, section 7.1, tests 1 to 3.
  it.each([
    [
      "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
      "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
      "",
      "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ],
    [
      "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
      "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
      "72",
      "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ],
    [
      "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
      "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
      "af82",
      "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ],
  ])("agrees with RFC 8032 on %s", (seed, publicKey, message, signature) => {
    expect(hex(publicKeyOf(unhex(seed)))).toBe(publicKey);
    expect(hex(signWith(unhex(seed), unhex(message)))).toBe(signature);
    expect(isSignedBy(unhex(publicKey), unhex(message), unhex(signature))).toBe(true);
    expect(isSignedBy(unhex(publicKey), unhex(`${message}00`), unhex(signature))).toBe(false);
  });

  it("takes no keys and signatures of another length, no point that is none, and no second spelling of a number", () => {
    const seed = newSeed();
    const [key, message] = [publicKeyOf(seed), bytes("m")];
    const signature = signWith(seed, message);
    expect(isSignedBy(key, message, signature.subarray(1))).toBe(false);
    expect(isSignedBy(key, message, Uint8Array.of(...signature, 0))).toBe(false);
    expect(isSignedBy(key.subarray(1), message, signature)).toBe(false);
    expect(isSignedBy(new Uint8Array(32).fill(0xff), message, signature)).toBe(false);
    const order = 2n ** 252n + 27742317777372353535851937790883648493n;
    const s = BigInt(`0x${hex(signature.slice(32).reverse())}`) + order;
    const other = unhex(s.toString(16).padStart(64, "0")).reverse();
    expect(isSignedBy(key, message, Uint8Array.of(...signature.subarray(0, 32), ...other))).toBe(false);
  });
});

describe("keys", () => {
  // C2SP signed-note; golang.org/x/mod/sumdb/note; test/vectors/tlog_generate.go with its cosigner's key.
  it.each<[string, KeyType]>([
    ["example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "note"],
    ["PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW", "note"],
    [signed.vkey, "note"],
    [cosigned.vkey, "cosignature"],
  ])("%s is read and written", (vkey, type) => {
    expect(formatVerifierKey(parseVerifierKey(vkey, type))).toBe(vkey);
    expect(() => parseVerifierKey(vkey, type === "note" ? "cosignature" : "note")).toThrow(failing("malformed_key"));
  });

  it.each([
    "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz",
    signed.skey,
    cosigned.skey,
  ])("%s is read and written", (skey) => {
    expect(formatSignerKey(parseSignerKey(skey, "note"))).toBe(skey);
  });

  it("new ones are read back, and differ", () => {
    for (const type of ["note", "cosignature"] as const) {
      const key = generateKey("example.com/new", type);
      expect(parseSignerKey(formatSignerKey(key), type)).toEqual(key);
      const { seed: _, ...open } = key;
      expect(parseVerifierKey(formatVerifierKey(key), type)).toEqual(open);
      expect(generateKey("example.com/new", type).keyId).not.toBe(key.keyId);
    }
  });

  it("under another name have another id, which whoever has the key can derive", () => {
    const key = generateKey("example.com/audit", "note");
    const renamed = renameKey(key, "example.com/audit/2026-11");
    expect(renamed).toEqual(signerKey("example.com/audit/2026-11", "note", key.seed));
    expect(renamed.keyId).not.toBe(key.keyId);
    expect(renameKey(parseVerifierKey(formatVerifierKey(key), "note"), renamed.name).keyId).toBe(renamed.keyId);
  });

  it("of a witness, by the tool that others use, are the same key with another type", () => {
    expect(formatVerifierKey(signerKey("witness.example/w1", "cosignature", witnessSeed))).toBe(cosigned.vkey);
  });

  it("with any single byte changed, are refused", () => {
    expect(accepted(changes(signed.vkey), (key) => parseVerifierKey(Buffer.from(key).toString(), "note"))).toEqual([]);
    expect(accepted(changes(signed.skey), (key) => parseSignerKey(Buffer.from(key).toString(), "note"))).toEqual([]);
  });

  it("of one type under the id of another are refused", () => {
    const [, , base64] = /^([^+]*\+[^+]*)\+(.*)$/.exec(cosigned.vkey)!;
    const asNote = verifierKey("witness.example/w1", "note", parseVerifierKey(cosigned.vkey, "cosignature").publicKey);
    const mixed = `${asNote.name}+${asNote.keyId}+${base64}`;
    expect(() => parseVerifierKey(mixed, "note")).toThrow(failing("malformed_key"));
    expect(() => parseVerifierKey(mixed, "cosignature")).toThrow(failing("malformed_key"));
  });

  const vkey = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
  it.each([
    "",
    "+",
    "++",
    vkey.slice(0, -4),
    `${vkey}\n`,
    ` ${vkey}`,
    `${vkey}AAAA`,
    vkey.replace("c74f20a3", "C74F20A3"),
    vkey.replace("c74f20a3", "c74f20a"),
    vkey.replace("PeterNeumann", ""),
    `PRIVATE+KEY+${vkey}`,
    "x".repeat(10_000),
  ])("%j is no verifier key", (text) => {
    expect(() => parseVerifierKey(text, "note")).toThrow(failing("malformed_key"));
  });

  it.each(["", "a b", "a+b", "a\u00a0b", "a\u2003b", "a\u0085b", "a\nb", "a\u0001b", "a\ud800b"])(
    "%j is no name of one",
    (name) => expect(() => verifierKey(name, "note", newSeed())).toThrow(failing("malformed_key")),
  );

  it("that are secret are in no message of an error", () => {
    const { skey } = signed;
    for (const text of [`${skey}A`, skey.replace("29b87bfc", "29b87bfd"), skey.replace("PRIVATE", "private")]) {
      expect(() => parseSignerKey(text, "note")).toThrow(
        expect.objectContaining({ message: expect.not.stringContaining(skey.slice(-20)) }),
      );
    }
    expect(() => parseSignerKey(signed.vkey, "note")).toThrow(failing("malformed_key"));
    expect(() => signerKey("a", "note", new Uint8Array(31))).toThrow(failing("malformed_key"));
    expect(() => verifierKey("a", "note", new Uint8Array(33))).toThrow(failing("malformed_key"));
  });
});

describe("notes", () => {
  // C2SP signed-note, "Example"; golang.org/x/mod/sumdb/note, example_test.go; golang.org/x/mod v0.40.0 by our generator.
  const examples: [string, string][] = [
    [
      "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k",
      "This is an example message.\n\n— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n",
    ],
    [
      "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
      "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n",
    ],
    [signed.vkey, signed.note],
  ];

  it.each(examples)("that %s signed verify", (vkey, note) => {
    const key = noteVerifier(parseVerifierKey(vkey, "note"));
    expect(verifyNote(parseNote(bytes(note)), [witness, key]).map(({ keyId }) => keyId)).toEqual([key.keyId]);
    expect(formatNote(parseNote(note))).toBe(note);
  });

  it("are signed as golang.org/x/mod signs them", async () => {
    const skey = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz";
    const [, example] = examples[1]!;
    const { text } = parseNote(example);
    const peter = noteSigner(parseSignerKey(skey, "note"));
    expect(formatNote(await signNote(text, [peter]))).toBe(example);
    // ExampleSign_add_signatures: a key of zeros, beside a signature that was there.
    const enoch = noteSigner(signerKey("EnochRoot", "note", new Uint8Array(32)));
    const both = withSignatures(parseNote(example), (await signNote(text, [enoch])).signatures);
    expect(formatNote(both)).toBe(
      `${example}— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n`,
    );
    expect(verifyNote(both, [enoch, peter])).toHaveLength(2);
  });

  it("with any single byte changed, are refused", () => {
    for (const [vkey, note] of examples) {
      const key = noteVerifier(parseVerifierKey(vkey, "note"));
      expect(accepted(changes(note), (text) => verifyNote(parseNote(text), [key]))).toEqual([]);
    }
  });

  it("with any byte too many or too few, are refused", () => {
    const cut = Array.from(bytes(signed.note), (_, at) => bytes(signed.note).filter((_, other) => other !== at));
    const grown = Array.from(
      bytes(signed.note),
      (_, at) => Uint8Array.of(...bytes(signed.note).subarray(0, at), 0x0a, ...bytes(signed.note).subarray(at)),
    );
    expect(accepted([...cut, ...grown], (text) => verifyNote(parseNote(text), [log]))).toEqual([]);
  });

  const line = signed.note.slice(signed.note.indexOf("—"));
  const text = signed.note.slice(0, signed.note.indexOf("\n\n") + 1);
  it.each([
    ["nothing", ""],
    ["no signature", `${text}\n`],
    ["no blank line", `${text}${line}`],
    ["Windows line ends", signed.note.replaceAll("\n", "\r\n")],
    ["no line feed at the end", signed.note.slice(0, -1)],
    ["a line feed more at the end", `${signed.note}\n`],
    ["a hyphen for the dash", signed.note.replace("—", "-")],
    ["a byte order mark before the dash", signed.note.replace("—", "\ufeff—")],
    ["two spaces", signed.note.replace("— ", "—  ")],
    ["a space at the end", `${signed.note.slice(0, -1)} \n`],
    ["a tab", `\t${signed.note}`],
    ["NUL", `\0${signed.note}`],
    ["half a character", `\ud83d${signed.note}`],
    ["a plus sign in a name", signed.note.replace(`— ${ORIGIN}`, "— a+b")],
    ["a space in a name", signed.note.replace(`— ${ORIGIN}`, "— a\u00a0b")],
    ["no name", signed.note.replace(`— ${ORIGIN}`, "— ")],
    ["base64 without padding", signed.note.replace("=\n", "\n").replace("=\n", "\n").replaceAll("=", "")],
    ["base64 for URLs", signed.note.replace("/KLB", "_KLB")],
    ["base64 with other spare bits", signed.note.replace(/wg=\n$/, "wh=\n")],
    ["a signature of nothing", `${text}\n— a AAAAAA==\n`],
    ["a second block of lines that are none", `${signed.note}x\n`],
  ])("with %s are no notes", (_, note) => {
    expect(note).not.toBe(signed.note);
    expect(() => parseNote(note)).toThrow(failing("malformed_note"));
  });

  it("that are not UTF-8 are no notes", () => {
    expect(() => parseNote(Uint8Array.of(0xff, ...bytes(signed.note)))).toThrow(failing("malformed_note"));
    expect(() => parseNote(Uint8Array.of(0xc0, 0x80, ...bytes(signed.note)))).toThrow(failing("malformed_note"));
  });

  it("may hold blank lines, characters of every language, and signatures of unknown types", async () => {
    const text = "Ognuno sta solo sul cuor della terra\n\n\ned è subito sera.\n🌅\n\n";
    const key = noteSigner(generateKey("quasimodo.example/salvatore", "note"));
    const unknown: Signature = { name: "новый", keyId: "01020304", bytes: new Uint8Array(2_420) };
    const note = formatNote(withSignatures(await signNote(text, [key]), [unknown]));
    expect(parseNote(note)).toEqual(parseNote(bytes(note)));
    expect(verifyNote(parseNote(note), [key])).toHaveLength(1);
    expect(parseNote(note).text).toBe(text);
  });

  it("with sixteen large signatures, or a hundred, are read; beyond, or 10 MB, refused", () => {
    const many = (count: number, length: number): Note => ({
      text: "x\n",
      signatures: Array.from({ length: count }, (_, at) => ({
        name: `w${at}`,
        keyId: "01020304",
        bytes: new Uint8Array(length),
      })),
    });
    expect(parseNote(formatNote(many(16, 5_000))).signatures).toHaveLength(16);
    expect(parseNote(formatNote(many(MAX_SIGNATURES, 1_300))).signatures).toHaveLength(MAX_SIGNATURES);
    expect(() => parseNote(formatNote(many(MAX_SIGNATURES + 1, 64)))).toThrow(failing("too_large"));
    expect(() => parseNote("x".repeat(10_000_000))).toThrow(failing("too_large"));
    expect(() => parseNote(new Uint8Array(MAX_NOTE_BYTES + 1))).toThrow(failing("too_large"));
  });

  it("need a known key; name or id alone do not make one", () => {
    const note = parseNote(signed.note);
    const nobody = failing("no_known_signature");
    expect(() => verifyNote(note, [])).toThrow(nobody);
    expect(() => verifyNote(note, [{ ...log, name: "example.com/other" }])).toThrow(nobody);
    expect(() => verifyNote(note, [{ ...log, keyId: "00000000" }])).toThrow(nobody);
    expect(() => verifyNote(note, [{ ...log, verify: () => false }])).toThrow(failing("invalid_signature"));
    expect(() => verifyNote(note, [log, { ...log }])).toThrow(failing("malformed_key"));
  });

  it("a known key that signed wrongly spoils the note, wherever its line stands", () => {
    const note = parseNote(signed.note);
    const wrong = { ...note.signatures[0]!, bytes: new Uint8Array(64) };
    for (const signatures of [[wrong], [...note.signatures, wrong], [wrong, ...note.signatures]]) {
      expect(() => verifyNote({ ...note, signatures }, [log])).toThrow(failing("invalid_signature"));
    }
  });

  it("a key counts once, however often it signed", () => {
    const note = parseNote(signed.note);
    const twice = parseNote(formatNote({ ...note, signatures: [...note.signatures, ...note.signatures] }));
    expect(verifyNote(twice, [log])).toEqual(note.signatures);
    expect(withSignatures(twice, note.signatures)).toEqual(note);
  });

  it("are never handed out with a signature that does not verify, nor of a text that is none", async () => {
    const key = noteSigner(generateKey("example.com/kms", "note"));
    const broken = { ...key, sign: async () => new Uint8Array(64) };
    await expect(signNote("text\n", [broken])).rejects.toThrow(failing("invalid_signature"));
    for (const text of ["", "text", "text\r\n", "te\0xt\n", "te\ud800xt\n"]) {
      await expect(signNote(text, [key])).rejects.toThrow(failing("malformed_note"));
    }
    await expect(signNote("text\n", [])).rejects.toThrow(failing("malformed_note"));
    const slow = { ...key, sign: async (text: string) => await key.sign(text) };
    expect(await signNote("text\n", [slow])).toEqual(await signNote("text\n", [key]));
  });
});

describe("checkpoints", () => {
  // C2SP tlog-checkpoint, the example.
  const example = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n";

  it("are read and written", () => {
    expect(parseCheckpoint(example)).toMatchObject({ origin: "example.com/behind-the-sofa", size: 20852163 });
    expect(formatCheckpoint(parseCheckpoint(example))).toBe(example);
    const extended = `${example}extension one\n2\n`;
    expect(parseCheckpoint(extended).extensions).toEqual(["extension one", "2"]);
    expect(formatCheckpoint(parseCheckpoint(extended))).toBe(extended);
  });

  it("every text that can be read is written the same", () => {
    const line = fc.string({ unit: "grapheme", minLength: 1 }).filter((text) => /^[^\p{Cc}]+$/u.test(text));
    const checkpoint = fc.record({
      origin: line,
      size: fc.maxSafeNat().filter((size) => size > 0),
      root: fc.uint8Array({ minLength: 32, maxLength: 32 }),
      extensions: fc.array(line, { maxLength: 3 }),
    });
    fc.assert(fc.property(checkpoint, (checkpoint) => {
      expect(parseCheckpoint(formatCheckpoint(checkpoint))).toEqual(checkpoint);
    }));
  });

  it.each([
    ["nothing", ""],
    ["no origin", example.replace("example.com/behind-the-sofa", "")],
    ["no root", example.split("\n").slice(0, 2).join("\n") + "\n"],
    ["no line feed at the end", example.slice(0, -1)],
    ["an empty line at the end", `${example}\n`],
    ["an empty line among extensions", `${example}a\n\nb\n`],
    ["a size with a leading zero", example.replace("20852163", "020852163")],
    ["a size below zero", example.replace("20852163", "-20852163")],
    ["a size of 2^53", example.replace("20852163", "9007199254740992")],
    ["a size in hex", example.replace("20852163", "0x20")],
    ["a size with a space", example.replace("20852163", "20852163 ")],
    ["a root cut", example.replace("CsUY", "")],
    ["a root of 33 bytes", example.replace("q2I=", "q2IA")],
    ["a root with other spare bits", example.replace("q2I=", "q2J=")],
    ["a root for URLs", example.replace("om/X", "om_X")],
    ["Windows line ends", example.replaceAll("\n", "\r\n")],
    ["no entries and another root than the empty one", example.replace("20852163", "0")],
  ])("with %s are refused", (_, text) => {
    expect(text).not.toBe(example);
    expect(() => parseCheckpoint(text)).toThrow(failing("malformed_checkpoint"));
  });

  it("that could not be read are not written", () => {
    const good: Checkpoint = { origin: ORIGIN, size: 1, root: leafHash(bytes("a")), extensions: [] };
    const bad: Partial<Checkpoint>[] = [
      { origin: "" },
      { origin: "a\nb" },
      { size: -1 },
      { size: 1.5 },
      { size: 2 ** 53 },
      { size: 0 },
      { root: good.root.subarray(1) },
      { extensions: [""] },
      { extensions: ["a\n2"] },
      { extensions: ["\0"] },
    ];
    for (const change of bad) {
      expect(() => formatCheckpoint({ ...good, ...change })).toThrow(failing("malformed_checkpoint"));
    }
    expect(formatCheckpoint({ ...good, size: 0, root: emptyRoot() })).toBe(
      `${ORIGIN}\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n`,
    );
  });

  it("that the log signed are opened, with the cosignatures of known witnesses", () => {
    const alone = openCheckpoint(signed.note, trust);
    expect(alone.checkpoint).toMatchObject({ origin: ORIGIN, size: 70_000, extensions: [] });
    expect(alone.cosignatures).toEqual([]);
    const { cosignatures, note } = openCheckpoint(bytes(cosigned.note), trust);
    expect(cosignatures).toEqual([{ name: "witness.example/w1", keyId: "773a6c12", time: expect.any(Number) }]);
    expect(formatNote(note)).toBe(cosigned.note);
    expect(openCheckpoint(cosigned.note, { origin: ORIGIN, log: [log] }).cosignatures).toEqual([]);
  });

  it("of another log, of witnesses only, and of nobody known are refused", () => {
    const open = (change: Partial<typeof trust>) => () => openCheckpoint(cosigned.note, { ...trust, ...change });
    expect(open({ origin: "example.com/other" })).toThrow(failing("wrong_origin"));
    expect(open({ log: [] })).toThrow(failing("no_known_signature"));
    expect(open({ log: [], witnesses: [] })).toThrow(failing("no_known_signature"));
  });

  it("a note that is no checkpoint is refused, though the log signed it", async () => {
    const signer = noteSigner(parseSignerKey(signed.skey, "note"));
    const note = formatNote(await signNote("hello\n", [signer]));
    expect(() => openCheckpoint(note, trust)).toThrow(failing("malformed_checkpoint"));
  });

  it("with any single byte changed, are refused", () => {
    expect(accepted(changes(signed.note), (note) => openCheckpoint(note, trust))).toEqual([]);
  });
});

describe("cosignatures", () => {
  // C2SP tlog-cosignature, the example: its time is in the text of the specification, its key is not known.
  const example = "— witness.example.com/w1 " +
    "jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n";

  it("tell their time", () => {
    expect(cosignatureOf(parseSignatures(example)[0]!)).toEqual({
      name: "witness.example.com/w1",
      keyId: "8d66cf3f",
      time: 1679315147,
    });
  });

  it("are made as github.com/transparency-dev/formats makes them", async () => {
    const [cosignature] = parseNote(cosigned.note).signatures.slice(1);
    const { time } = cosignatureOf(cosignature!);
    const signer = cosigner(signerKey("witness.example/w1", "cosignature", witnessSeed), time);
    const ours = await signNote(parseNote(cosigned.note).text, [signer]);
    expect(ours.signatures).toEqual([cosignature]);
    expect(formatNote(withSignatures(parseNote(signed.note), ours.signatures))).toBe(cosigned.note);
  });

  it("with any single byte changed, count for nothing", () => {
    const { text, signatures: [, { name, keyId, bytes: original }] } = parseNote(cosigned.note) as Note & {
      signatures: [Signature, Signature];
    };
    for (let at = 0; at < original.length; at++) {
      const changed = Uint8Array.from(original);
      changed[at]! ^= 1 + (at * 37) % 255;
      expect(witness.verify(text, changed)).toBe(false);
      const note = formatNote(withSignatures(parseNote(cosigned.note), [{ name, keyId, bytes: changed }]));
      expect(() => openCheckpoint(note, trust)).toThrow(failing("invalid_signature"));
    }
    expect(witness.verify(`${text}x\n`, original)).toBe(false);
    expect(witness.verify(text, original.subarray(1))).toBe(false);
    expect(witness.verify(text, Uint8Array.of(...original, 0))).toBe(false);
  });

  it("are no signatures of the log, nor the other way round, though made with one key", async () => {
    const key = generateKey(ORIGIN, "note");
    const asWitness = signerKey(ORIGIN, "cosignature", key.seed);
    const { text } = parseNote(signed.note);
    const [mine, theirs] = [noteSigner(key), cosigner(asWitness, 1)];
    expect(mine.verify(text, await theirs.sign(text))).toBe(false);
    expect(theirs.verify(text, await mine.sign(text))).toBe(false);
    expect(key.keyId).not.toBe(asWitness.keyId);
  });

  it("of one witness at two times count once, as of the first", async () => {
    const key = generateKey("witness.example/w2", "cosignature");
    const { text } = parseNote(signed.note);
    const [early, late] = [await signNote(text, [cosigner(key, 1)]), await signNote(text, [cosigner(key, 2)])];
    const note = { text, signatures: [...early.signatures, ...late.signatures] };
    expect(verifyNote(note, [cosignatureVerifier(key)]).map((one) => cosignatureOf(one).time)).toEqual([1]);
  });

  it("hold times to 2^53 - 1", async () => {
    const key = generateKey("witness.example/w2", "cosignature");
    for (const time of [0, 1, 2 ** 32, 2 ** 53 - 1]) {
      const note = await signNote("a\n1\nx\n", [cosigner(key, time)]);
      expect(cosignatureOf(note.signatures[0]!).time).toBe(time);
    }
    await expect(signNote("a\n", [cosigner(key, 2 ** 53)])).rejects.toThrow(failing("invalid_signature"));
  });
});

describe("receipts", () => {
  const leaf = leafHash(bytes(`entry ${cosigned.index}`));

  it("that github.com/transparency-dev/formats wrote are read, written and verified", () => {
    const receipt = parseReceipt(bytes(cosigned.receipt));
    expect(receipt).toMatchObject({ index: 12_345, extra: bytes("extra") });
    expect(receipt.path).toHaveLength(17);
    expect(formatReceipt(receipt)).toBe(cosigned.receipt);
    const verified = verifyReceipt(cosigned.receipt, leaf, trust);
    expect(verified).toMatchObject({ index: 12_345, checkpoint: { size: 70_000 } });
    expect(verified.cosignatures).toHaveLength(1);
  });

  it("without extra data, or without a path, have no such lines", async () => {
    const { extra: _, ...rest } = parseReceipt(cosigned.receipt);
    expect(formatReceipt(rest)).toBe(cosigned.receipt.replace("extra ZXh0cmE=\n", ""));
    const signer = noteSigner(parseSignerKey(signed.skey, "note"));
    const text = formatCheckpoint({ origin: ORIGIN, size: 1, root: leaf, extensions: [] });
    const single = formatReceipt({ index: 0, path: [], checkpoint: await signNote(text, [signer]) });
    expect(single).toMatch(/^c2sp\.org\/tlog-proof@v1\nindex 0\n\nexample\.com\/audit\n1\n/);
    expect(verifyReceipt(single, leaf, trust).checkpoint.size).toBe(1);
  });

  it("prove no other entry, no other place, and nothing to who trusts other keys", () => {
    const { receipt } = cosigned;
    const verify = (text: string, change: Partial<typeof trust> = {}, of = leaf) => () =>
      verifyReceipt(text, of, { ...trust, ...change });
    expect(verify(receipt, {}, leafHash(bytes("entry 12346")))).toThrow(failing("root_mismatch"));
    expect(verify(receipt.replace("index 12345", "index 12346"))).toThrow(failing("root_mismatch"));
    expect(verify(receipt.replace("index 12345", "index 70000"))).toThrow(failing("root_mismatch"));
    expect(verify(receipt, { origin: "example.com/other" })).toThrow(failing("wrong_origin"));
    expect(verify(receipt, { log: [] })).toThrow(failing("no_known_signature"));
  });

  it("with any single byte changed that anyone vouches for, are refused", () => {
    const extra = /extra [^\n]*\n/.exec(cosigned.receipt)![0];
    const without = cosigned.receipt.replace(extra, "").replace(/— witness[^\n]*\n/, "");
    expect(() => verifyReceipt(without, leaf, trust)).not.toThrow();
    expect(accepted(changes(without), (receipt) => verifyReceipt(receipt, leaf, trust))).toEqual([]);
  });

  const { receipt } = cosigned;
  it.each([
    ["nothing", ""],
    ["another version", receipt.replace("@v1", "@v2")],
    ["no index", receipt.replace("index 12345\n", "")],
    ["an index with a leading zero", receipt.replace("index ", "index 0")],
    ["an index of 2^53", receipt.replace("index 12345", "index 9007199254740992")],
    ["an index below zero", receipt.replace("index ", "index -")],
    ["two spaces", receipt.replace("index ", "index  ")],
    ["index before extra", receipt.replace(/(extra .*\n)(index .*\n)/, "$2$1")],
    ["extra data twice", receipt.replace(/(extra .*\n)/, "$1$1")],
    ["extra data that is empty", receipt.replace("ZXh0cmE=", "")],
    ["extra data that is not base64", receipt.replace("ZXh0cmE=", "ZXh0cmE")],
    ["a hash that is cut", receipt.replace("\nTgi/", "\n")],
    ["a hash of 64 bytes", receipt.replace(/index 12345\n/, `index 12345\n${"A".repeat(86)}==\n`)],
    ["64 hashes", receipt.replace(/index 12345\n/, `index 12345\n${`${"A".repeat(43)}=\n`.repeat(47)}`)],
    ["no blank line", receipt.replaceAll("\n\n", "\n")],
    ["Windows line ends", receipt.replaceAll("\n", "\r\n")],
    ["a byte order mark", `\ufeff${receipt}`],
  ])("with %s are refused", (_, text) => {
    expect(text).not.toBe(receipt);
    expect(() => parseReceipt(text)).toThrow(failing("malformed_receipt"));
  });

  it("with a checkpoint that is none, or of 10 MB, are refused", () => {
    expect(() => parseReceipt(receipt.slice(0, receipt.indexOf("—")))).toThrow(failing("malformed_note"));
    expect(() => parseReceipt("x".repeat(10_000_000))).toThrow(failing("too_large"));
    expect(() => formatReceipt({ ...parseReceipt(receipt), index: -1 })).toThrow(failing("malformed_receipt"));
    expect(() => formatReceipt({ ...parseReceipt(receipt), extra: new Uint8Array() })).toThrow(
      failing("malformed_receipt"),
    );
  });
});

describe("witness messages", () => {
  // C2SP tlog-witness, the examples of a request and of an answer.
  const request = `old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
— example.com/behind-the-sofa opLqBQsREYCgu6xQkYQwJr9fo45a62DN9EdmHXnZdXNqlcVGlCum2Wks+49/V6267UEjw6QUXTS5Rovnzv++qbSzm9Q=
`;
  const answer =
    `— witness.example/w1 CMp+6LWBU0anHGH5aNDTJkH/gj79sG+T6+iP2ThYN5krrDJbR1HDnucjL39QsZTSvVjyQLrdk3DXDqI5G2HgLatVs0pWh6Up69HVOw==
— witness.example/w1 I7rEps0pvK2UqkS2gSpVUDhrhVtQV9lgF6pRrWAvjJHjyWpW7VcE3SiOlVlbQNt64vWhO+DlkL0+UfzuOBMh9ChdMkP1vi/lCAsmlw==
— witness.example/w2 AWui8Sk55XjYLOijihBjhqEH6nS1ndDymE0a+6idX7pLcnoB+dhnz0854aLZgrrKbYKA7nC3HNJhm/kWl7oJlqU3rXXvpysAdyP3wQ==
`;

  it("of the specification are read and written", () => {
    const parsed = parseAddCheckpoint(bytes(request));
    expect(parsed.old).toBe(20852014);
    expect(parsed.path).toHaveLength(4);
    expect(parsed.checkpoint.signatures).toHaveLength(2);
    expect(formatAddCheckpoint(parsed)).toBe(request);
    expect(formatSignatures(parseSignatures(answer))).toBe(answer);
  });

  it("for a log that the witness has never seen have no proof", () => {
    const { checkpoint } = parseAddCheckpoint(request);
    expect(formatAddCheckpoint({ old: 0, path: [], checkpoint })).toMatch(/^old 0\n\nexample\.com/);
    const path = [leafHash(bytes("a"))];
    expect(() => formatAddCheckpoint({ old: 0, path, checkpoint })).toThrow(failing("malformed_witness_message"));
  });

  it.each([
    ["nothing", ""],
    ["a size with a leading zero", request.replace("old ", "old 0")],
    ["no size", request.replace("old 20852014\n", "")],
    ["another word", request.replace("old", "new")],
    ["a line that is no hash", request.replace("PlRN", "Pl")],
    ["64 hashes", request.replace("\n\n", `\n${`${"A".repeat(43)}=\n`.repeat(60)}\n`)],
    ["Windows line ends", request.replaceAll("\n", "\r\n")],
    ["a proof of a beginning", request.replace("20852014", "0")],
  ])("with %s are refused", (_, text) => {
    expect(() => parseAddCheckpoint(text)).toThrow(failing("malformed_witness_message"));
  });

  const checkpoint = parseNote(signed.note);
  const lines = cosigned.note.slice(cosigned.note.indexOf("— witness"));
  const read = (status: number, body: string | Uint8Array, contentType: string | null = null, known = [witness]) =>
    readWitnessAnswer({ status, contentType, body }, checkpoint, known);

  it("that sign give the lines of known keys, verified, and pass over the others", () => {
    const answer = read(200, bytes(`${lines}— witness.example/pq AAAAAAAA\n`));
    expect(answer).toMatchObject({ ok: true, cosignatures: [{ name: "witness.example/w1" }] });
    const { signatures } = answer as { signatures: Signature[] };
    expect(formatNote(withSignatures(checkpoint, signatures))).toBe(cosigned.note);
  });

  it("that say they sign but do not are errors", async () => {
    expect(() => read(200, "")).toThrow(failing("malformed_note"));
    expect(() => read(200, "<html>")).toThrow(failing("malformed_note"));
    expect(() => read(200, answer)).toThrow(failing("no_known_signature"));
    expect(() => read(200, lines, null, [])).toThrow(failing("no_known_signature"));
    expect(() => read(200, "x".repeat(10_000_000))).toThrow(failing("too_large"));
    expect(() => read(200, Uint8Array.of(0xff))).toThrow(failing("malformed_witness_message"));
    expect(accepted(changes(lines), (text) => read(200, text))).toEqual([]);
    const key = cosigner(signerKey("witness.example/w1", "cosignature", witnessSeed), 0);
    const timeless = formatSignatures((await signNote(checkpoint.text, [key])).signatures);
    expect(() => read(200, timeless)).toThrow(failing("malformed_witness_message"));
  });

  it("that refuse say why", () => {
    expect(read(409, "20852014\n", SIZE_CONTENT_TYPE)).toEqual({ ok: false, reason: "old_size", size: 20852014 });
    expect(read(409, "0\n", `${SIZE_CONTENT_TYPE}; charset=utf-8`)).toEqual({ ok: false, reason: "old_size", size: 0 });
    const reasons = [400, 403, 404, 422, 429, 500, 302].map((status) => read(status, "some text"));
    expect(reasons.map((answer) => !answer.ok && answer.reason)).toEqual([
      "bad_request",
      "unknown_key",
      "unknown_log",
      "inconsistent",
      "unavailable",
      "unavailable",
      "unavailable",
    ]);
  });

  it.each([
    ["20852014", SIZE_CONTENT_TYPE],
    ["020852014\n", SIZE_CONTENT_TYPE],
    ["1\n2\n", SIZE_CONTENT_TYPE],
    [
      "20852014\n",
      "text/plain",
    ],
    ["20852014\n", null],
    ["", SIZE_CONTENT_TYPE],
  ])("of a conflict with %j as %s are errors", (body, contentType) => {
    expect(() => read(409, body, contentType)).toThrow(failing("malformed_witness_message"));
  });
});

describe("origins", () => {
  const organizationId = "0193f0c4-7a5e-7cc3-9a50-2f4b1c8d9e01";

  it.each(["example.com/audit", "example.com", "abcdefgh.supabase.co/audit/log"])("below %s are read back", (base) => {
    const name = { base, organizationId, month: "2026-11" };
    expect(formatOrigin(name)).toBe(`${base}/${organizationId}/2026-11`);
    expect(parseOrigin(formatOrigin(name))).toEqual(name);
  });

  it.each([
    { base: "" },
    { base: "https://example.com" },
    { base: "example.com/" },
    { base: "/example.com" },
    { base: "example.com/a b" },
    { base: "example.com/a+b" },
    { base: "example.com/a\nb" },
    { base: "example.com/a\u0001b" },
    { base: "a".repeat(300) },
    { organizationId: organizationId.toUpperCase() },
    { organizationId: "x" },
    { month: "2026-13" },
    { month: "2026-00" },
    { month: "2026-1" },
    { month: "2026-11\n" },
    { month: "" },
  ])("of %j are refused", (change) => {
    expect(() => formatOrigin({ base: "example.com", organizationId, month: "2026-11", ...change })).toThrow(
      failing("malformed_origin"),
    );
  });
});
