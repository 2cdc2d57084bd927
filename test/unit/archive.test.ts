// Objects of the archive: their paths, their encryption and their gzip, and whatever is slightly wrong with them.
import { Buffer } from "node:buffer";
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type Archive,
  ArchiveError,
  checkPath,
  ENCRYPTION_BYTES,
  maxObjectBytes,
} from "../../functions/_shared/archive/archive.ts";
import {
  decryptBundle,
  encryptBundle,
  isEncrypted,
  parseArchiveKeys,
} from "../../functions/_shared/archive/bundle_encryption.ts";
import { decoded } from "../../functions/_shared/archive/decoded.ts";
import { encryptedBundles } from "../../functions/_shared/archive/encrypted_bundles.ts";
import { kindOf, logFolder, parseArchivePath } from "../../functions/_shared/archive/path.ts";
import { encodeBundle } from "../../functions/_shared/tlog/bundle.ts";
import { TlogError } from "../../functions/_shared/tlog/error.ts";
import { startFaults } from "../support/faults.ts";
import { startS3 } from "../support/s3.ts";

const ACME = "10000000-0000-4000-8000-000000000001";
const FOLDER = `${ACME}/2026-11`;
const PATH = `${FOLDER}/tile/entries/000.p/3`;
const KEY = Buffer.from("the key of the archive, 32 bytes").toString("base64");
const OTHER_KEY = Buffer.alloc(32, 7).toString("base64");
const keys = parseArchiveKeys(KEY);
const bundle = encodeBundle([1, 2, 3].map((n) => new TextEncoder().encode(`{"entry":${n}}`)));

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(() => undefined, (error: unknown) => error);
  expect(error).toBeInstanceOf(ArchiveError);
  return (error as ArchiveError).code;
}

/** An archive that keeps what it is given as it is. */
function inMemory(): Archive & { objects: Map<string, Uint8Array> } {
  const objects = new Map<string, Uint8Array>();
  return {
    objects,
    put: async (path, bytes) => void objects.set(path, bytes),
    get: async (path) => objects.get(path) ?? null,
    list: async (folder) => [...objects.keys()].filter((path) => path.startsWith(`${folder}/`)).sort(),
    remove: async (paths) => paths.forEach((path) => objects.delete(path)),
  };
}

describe("paths", () => {
  test("what they name", () => {
    const log = { organizationId: ACME, month: "2026-11" };
    expect(parseArchivePath(`${FOLDER}/checkpoint`)).toEqual({ log, file: "checkpoint" });
    expect(parseArchivePath(PATH)).toEqual({ log, file: { level: "entries", index: 0, width: 3 } });
    expect(parseArchivePath("anchor/tile/1/x001/234")).toEqual({
      log: "anchor",
      file: { level: 1, index: 1234, width: 256 },
    });
    expect([logFolder(log), logFolder("anchor")]).toEqual([FOLDER, "anchor"]);
    expect([`${FOLDER}/checkpoint`, PATH, `${FOLDER}/tile/0/000`].map(kindOf)).toEqual([
      "checkpoint",
      "bundle",
      "tile",
    ]);
  });

  test.each([
    "",
    "checkpoint",
    `${FOLDER}`,
    `${FOLDER}/`,
    `/${FOLDER}/checkpoint`,
    `${FOLDER}/checkpoint/`,
    `${FOLDER}/checkpoint\n`,
    `${FOLDER}/Checkpoint`,
    `${FOLDER}/checkpoint.gz`,
    `${FOLDER}//tile/0/000`,
    `${FOLDER}/tile/0/000/../001`,
    `${FOLDER}/../${ACME}/checkpoint`,
    `../${FOLDER}/checkpoint`,
    `${FOLDER}/tile/0/000%2Fp`,
    `${ACME}%2F2026-11/checkpoint`,
    `${ACME.toUpperCase().replace("1", "A")}/2026-11/checkpoint`,
    `${ACME}/2026-13/checkpoint`,
    `${ACME}/2026-1/checkpoint`,
    `${ACME}/checkpoint`,
    `anchor/2026-11/checkpoint`,
    `anchor/anchor/checkpoint`,
    `${FOLDER}/tile/64/000`,
    `${FOLDER}/tile/00/000`,
    `${FOLDER}/tile/0/0`,
    `${FOLDER}/tile/0/x000/001`,
    `${FOLDER}/tile/0/x999/x999/x999/x999/x999/999`,
    `${FOLDER}/tile/0/${"x999/".repeat(1_000)}999`,
    `${FOLDER}/tile/0/000.p/0`,
    `${FOLDER}/tile/0/000.p/256`,
    `${FOLDER}/tile/0/000.p/03`,
    `${FOLDER}/tile/data/000`,
    `x${FOLDER}/checkpoint`,
    `${FOLDER}/x/checkpoint`,
  ])("refused: %s", (path) => {
    expect(() => parseArchivePath(path)).toThrow(TlogError);
  });

  test("a path that an address would read otherwise reaches no archive", () => {
    for (
      const path of ["../other/x", "a/../b", "a/./b", "a//b", "/a", "a/", "a%2f", "a?b", "a#b", "a b", "", ".", "ä"]
    ) {
      expect(() => checkPath(path), path).toThrow(ArchiveError);
    }
    for (const path of [PATH, "anchor/checkpoint", "a.b/..c/d..", "backup/2026-11-01T00_00.age"]) checkPath(path);
  });
});

describe("encryption", () => {
  test("is the format that README.md describes, made once more from its words with WebCrypto alone", async () => {
    const { subtle } = crypto;
    const utf8 = (text: string) => new TextEncoder().encode(text);
    const ikm = await subtle.importKey("raw", Buffer.from(KEY, "base64"), "HKDF", false, ["deriveBits"]);
    const derive = async (purpose: string, bits: number) =>
      Buffer.from(
        await subtle.deriveBits(
          { name: "HKDF", hash: "SHA-256", salt: new Uint8Array(), info: utf8(`audit-archive v1 ${purpose}`) },
          ikm,
          bits,
        ),
      );
    const macKey = await subtle.importKey("raw", await derive("nonce", 256), { name: "HMAC", hash: "SHA-256" }, false, [
      "sign",
    ]);
    const digest = Buffer.from(await subtle.digest("SHA-256", bundle as BufferSource));
    const nonce = Buffer.from(await subtle.sign("HMAC", macKey, Buffer.concat([utf8(`${PATH}\0`), digest]))).subarray(
      0,
      12,
    );
    const key = await subtle.importKey("raw", await derive("encryption", 256), "AES-GCM", false, ["encrypt"]);
    const additionalData = utf8(`AUDITENC1\n${PATH}`);
    const sealed = await subtle.encrypt({ name: "AES-GCM", iv: nonce, additionalData }, key, bundle as BufferSource);
    const expected = Buffer.concat([utf8("AUDITENC1\n"), await derive("key id", 32), nonce, Buffer.from(sealed)]);
    expect(Buffer.from(await encryptBundle(keys, PATH, bundle)).toString("hex")).toBe(expected.toString("hex"));
  });

  test("has these bytes, today and in ten years", async () => {
    const object = Buffer.from(await encryptBundle(keys, PATH, bundle)).toString("hex");
    expect(object).toBe(
      "4155444954454e43310a244a31b6aba1263fdc33a16d531c647272a675083f96e8e01f827494fc625217eb44542c521d93417705c3968795ac320083511887b7feab06b4418c174b7ca2ec52d9d2bcec9d",
    );
  });

  test("comes back, adds what it says, and tells nothing of the entries", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 5_000 }), async (bytes) => {
        const object = await encryptBundle(keys, PATH, bytes);
        expect(isEncrypted(object)).toBe(true);
        expect(object.length).toBe(bytes.length + ENCRYPTION_BYTES);
        expect(Buffer.from(await decryptBundle(keys, PATH, object))).toEqual(Buffer.from(bytes));
      }),
      { numRuns: 50 },
    );
    expect(Buffer.from(await encryptBundle(keys, PATH, bundle)).includes("entry")).toBe(false);
  });

  test("the same bundle makes the same bytes; another one, or another path, shares no nonce", async () => {
    const nonceOf = (object: Uint8Array) => Buffer.from(object.subarray(14, 26)).toString("hex");
    const object = await encryptBundle(keys, PATH, bundle);
    expect(await encryptBundle(keys, PATH, bundle)).toEqual(object);
    const other = bundle.slice();
    other[5]! ^= 1;
    const nonces = [
      object,
      await encryptBundle(keys, PATH, other),
      await encryptBundle(keys, `${FOLDER}/tile/entries/000.p/4`, bundle),
      await encryptBundle(parseArchiveKeys(OTHER_KEY), PATH, bundle),
    ].map(nonceOf);
    expect(new Set(nonces).size).toBe(4);
  });

  test("no byte can be changed, none cut off, none added", async () => {
    const object = await encryptBundle(keys, PATH, bundle);
    for (let at = 10; at < object.length; at++) {
      const changed = object.slice();
      changed[at]! ^= 0x80;
      expect(await codeOf(decryptBundle(keys, PATH, changed))).toBe("refused");
    }
    for (let length = 10; length < object.length; length++) {
      expect(await codeOf(decryptBundle(keys, PATH, object.slice(0, length)))).toBe("refused");
    }
    expect(await codeOf(decryptBundle(keys, PATH, Buffer.concat([object, Buffer.of(0)])))).toBe("refused");
  });

  test("an object is worth nothing at another place, in another month, in another organisation", async () => {
    const object = await encryptBundle(keys, PATH, bundle);
    for (
      const path of [
        PATH.replace("000", "001"),
        PATH.replace(".p/3", ""),
        PATH.replace("2026-11", "2026-12"),
        PATH.replace(ACME, ACME.replace("1", "2")),
      ]
    ) expect(await codeOf(decryptBundle(keys, path, object))).toBe("refused");
  });

  test("keys change with an overlap: the first encrypts, all decrypt", async () => {
    const both = parseArchiveKeys(`${OTHER_KEY}\n ${KEY}\n`);
    const old = await encryptBundle(keys, PATH, bundle);
    const fresh = await encryptBundle(both, PATH, bundle);
    expect(fresh).toEqual(await encryptBundle(parseArchiveKeys(OTHER_KEY), PATH, bundle));
    expect(await decryptBundle(both, PATH, old)).toEqual(bundle);
    expect(await decryptBundle(both, PATH, fresh)).toEqual(bundle);
  });

  test("without the key, it says which one is missing and where it goes", async () => {
    const object = await encryptBundle(keys, PATH, bundle);
    const id = Buffer.from(object.subarray(10, 14)).toString("hex");
    for (const known of [undefined, parseArchiveKeys(OTHER_KEY)]) {
      expect(await codeOf(decryptBundle(known, PATH, object))).toBe("refused");
      await expect(decryptBundle(known, PATH, object)).rejects.toThrow(new RegExp(`key ${id}, .*AUDIT_ARCHIVE_KEY`));
    }
  });

  test("plain bundles are read with keys and without", async () => {
    expect(await decryptBundle(keys, PATH, bundle)).toEqual(bundle);
    expect(await decryptBundle(undefined, PATH, bundle)).toEqual(bundle);
  });

  test.each([
    "",
    " \n",
    "no base64!",
    KEY.slice(0, -4),
    `${KEY.slice(0, -1)}`,
    Buffer.alloc(31).toString("base64"),
    Buffer.alloc(33).toString("base64"),
    `${KEY},${OTHER_KEY}`,
    `${KEY} ${OTHER_KEY}x`,
    Buffer.alloc(32, 255).toString("base64url"),
  ])("keys that are none are refused, and not quoted: %j", (text) => {
    const error = (() => {
      try {
        return parseArchiveKeys(text);
      } catch (error) {
        return error;
      }
    })();
    expect(error).toBeInstanceOf(ArchiveError);
    for (const word of text.split(/[\s,]+/).filter((word) => word.length > 8)) {
      expect((error as Error).message).not.toContain(word.slice(0, 8));
    }
  });
});

describe("gzip", () => {
  test("is taken off, and what is not gzip stays the same bytes", async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 20_000 }), async (bytes) => {
        expect(Buffer.from(await decoded(gzipSync(bytes), 20_000))).toEqual(Buffer.from(bytes));
        if (bytes[0] !== 0x1f) expect(await decoded(bytes, 20_000)).toBe(bytes);
      }),
      { numRuns: 50 },
    );
  });

  test("a tile whose first hash begins like gzip is a tile", async () => {
    const tile = new Uint8Array(8_192).map((_, at) => at * 7);
    tile.set([0x1f, 0x8b, 0x08]);
    expect(await decoded(tile, 8_192)).toBe(tile);
  });

  test("that is cut, or whose checksum is wrong, is not believed", async () => {
    const whole = gzipSync(bundle);
    for (const cut of [3, 10, 20, whole.length - 8, whole.length - 1]) {
      const part = whole.subarray(0, cut);
      expect(await decoded(part, 1_000)).toBe(part);
    }
    const changed = Buffer.from(whole);
    changed[changed.length - 6]! ^= 1;
    expect(await decoded(changed, 1_000)).toBe(changed);
  });

  test("a gigabyte that was made small is refused at the limit, at once", async () => {
    const bomb = gzipSync(Buffer.alloc(200_000_000));
    const before = process.memoryUsage().arrayBuffers;
    expect(await codeOf(decoded(bomb, maxObjectBytes("tile")))).toBe("too_large");
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(20_000_000);
  });

  test("the limit itself is allowed", async () => {
    const bytes = new Uint8Array(8_192).fill(9);
    expect(await decoded(gzipSync(bytes), 8_192)).toEqual(bytes);
    expect(await codeOf(decoded(gzipSync(bytes), 8_191))).toBe("too_large");
  });
});

describe("an archive with encrypted bundles", () => {
  test("encrypts bundles of organisations and nothing else", async () => {
    const memory = inMemory();
    const archive = encryptedBundles(memory, keys);
    const tile = new Uint8Array(96).fill(1);
    await archive.put(PATH, bundle, "bundle");
    await archive.put(`${FOLDER}/tile/0/000.p/3`, tile, "tile");
    await archive.put(`${FOLDER}/checkpoint`, tile, "checkpoint");
    await archive.put("anchor/tile/entries/000.p/3", bundle, "bundle");
    expect([...memory.objects].map(([path, bytes]) => [path, isEncrypted(bytes)])).toEqual([
      [PATH, true],
      [`${FOLDER}/tile/0/000.p/3`, false],
      [`${FOLDER}/checkpoint`, false],
      ["anchor/tile/entries/000.p/3", false],
    ]);
    expect(await archive.get(PATH)).toEqual(bundle);
    expect(await archive.get("anchor/tile/entries/000.p/3")).toEqual(bundle);
    expect(await archive.get(`${FOLDER}/tile/entries/001`)).toBeNull();
    expect(await archive.list(FOLDER)).toHaveLength(3);
    await archive.remove([PATH]);
    expect(await archive.get(PATH)).toBeNull();
  });

  test("without keys it encrypts nothing and refuses what is encrypted", async () => {
    const memory = inMemory();
    await encryptedBundles(memory, undefined).put(PATH, bundle, "bundle");
    expect(memory.objects.get(PATH)).toEqual(bundle);
    memory.objects.set(PATH, await encryptBundle(keys, PATH, bundle));
    expect(await codeOf(encryptedBundles(memory, undefined).get(PATH))).toBe("refused");
  });

  test("reads objects that somebody compressed, encrypted ones too, and refuses those that became a bomb", async () => {
    const memory = inMemory();
    const archive = encryptedBundles(memory, keys);
    memory.objects.set(PATH, gzipSync(await encryptBundle(keys, PATH, bundle)));
    memory.objects.set(`${FOLDER}/checkpoint`, gzipSync("a checkpoint"));
    memory.objects.set(`${FOLDER}/tile/0/000`, gzipSync(Buffer.alloc(9_000)));
    expect(await archive.get(PATH)).toEqual(bundle);
    expect(Buffer.from((await archive.get(`${FOLDER}/checkpoint`))!).toString()).toBe("a checkpoint");
    expect(await codeOf(archive.get(`${FOLDER}/tile/0/000`))).toBe("too_large");
  });

  test("two objects that were swapped are refused, not read as each other", async () => {
    const memory = inMemory();
    const archive = encryptedBundles(memory, keys);
    const second = PATH.replace("000.p/3", "001.p/3");
    await archive.put(PATH, bundle, "bundle");
    await archive.put(second, bundle.slice().reverse(), "bundle");
    const [a, b] = [memory.objects.get(PATH)!, memory.objects.get(second)!];
    memory.objects.set(PATH, b).set(second, a);
    expect(await codeOf(archive.get(PATH))).toBe("refused");
    expect(await codeOf(archive.get(second))).toBe("refused");
  });
});

test("in Deno everything is the same: the bytes, the refusals, the memory, what it survives", async () => {
  const options = { bucket: "archive", region: "eu-central-1", accessKeyId: "AK", secretAccessKey: "SK" };
  const s3 = await startS3(options);
  const faulty = await startFaults(s3.endpoint);
  const none = { instead: (body: Buffer) => body };
  // While it writes, and while it reads.
  faulty.next.push("before", "half request", "hang", none, "half answer", "hang in the middle", { status: 503 }, none);
  try {
    const here = await encryptBundle(keys, PATH, bundle);
    const child = spawn(fileURLToPath(new URL("../../node_modules/.bin/deno", import.meta.url)), [
      "run",
      "--quiet",
      "--allow-all",
      fileURLToPath(new URL("archive_in_deno.ts", import.meta.url)),
    ], { stdio: ["pipe", "pipe", "inherit"] });
    child.stdin.end(
      JSON.stringify({
        s3: JSON.stringify({
          endpoint: faulty.url,
          region: options.region,
          bucket: options.bucket,
          access_key_id: options.accessKeyId,
          secret_access_key: options.secretAccessKey,
        }),
        keys: KEY,
        path: PATH,
        bundle: Buffer.from(bundle).toString("base64"),
        bomb: gzipSync(Buffer.alloc(400_000_000)).toString("base64"),
        limit: String(maxObjectBytes("bundle")),
      }),
    );
    const there = JSON.parse(await text(child.stdout)) as Record<string, unknown>;
    expect(there).toMatchObject({
      stored: Buffer.from(here).toString("base64"),
      read: Buffer.from(bundle).toString("base64"),
      listed: [PATH],
      tampered: "refused",
      bombed: "too_large",
      gone: null,
    });
    expect(there.memory).toBeLessThan(256_000_000);
    expect(faulty.next).toEqual([]);
  } finally {
    await faulty.stop();
    await s3.stop();
  }
}, 30_000);
