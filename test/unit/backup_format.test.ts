// Backups to the byte: what is written is read again, and whatever was cut, moved, changed or put together is not.
import { createHash } from "node:crypto";
import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  BACKUP_FORMAT,
  type BackupError,
  END_SECTION,
  openBackup,
  parseBackupKeys,
  readBackup,
  sealBackup,
} from "../../functions/_shared/backup_format.ts";

const HEADER = 46;
const CHUNK = 65_536 + 16;
const KEY = Buffer.alloc(32, 7).toString("base64");
const OTHER = Buffer.alloc(32, 8).toString("base64");
const keys = parseBackupKeys(KEY);

async function* pieces(bytes: Uint8Array, size = 10_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function join_(source: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  for await (const part of source) parts.push(part.slice());
  return new Uint8Array(Buffer.concat(parts));
}

const seal = (bytes: Uint8Array, size?: number) => join_(sealBackup(keys, pieces(bytes, size)));
const open = (bytes: Uint8Array, size?: number, by = keys) => join_(openBackup(by, pieces(bytes, size)));

async function codeOf(work: Promise<unknown>): Promise<string> {
  return await work.then(() => "it was read", (error: BackupError) => error.code ?? error.message);
}

const NOISE = Buffer.concat(Array.from({ length: 10_000 }, (_, at) => createHash("sha256").update(`${at}`).digest()));
/** Bytes that do not become fewer when they are compressed. */
const noise = (length: number) => new Uint8Array(NOISE.subarray(0, length));

describe("what is written is read again", () => {
  test("of any size, in pieces of any size", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.nat(200_000),
        fc.integer({ min: 700, max: 100_000 }),
        fc.integer({ min: 700, max: 100_000 }),
        async (length, out, back) => {
          const bytes = noise(length);
          expect(Buffer.compare(await open(await seal(bytes, out), back), bytes)).toBe(0);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("also where the last chunk is just full", async () => {
    // gzip adds what it adds: looked for is the length at which one chunk is full, a byte less, and a byte more.
    let found = 0;
    for (let length = 65_480; length < 65_540 && found < 3; length++) {
      const sealed = await seal(noise(length));
      if (![-1, 0, 17].includes(sealed.length - HEADER - CHUNK)) continue;
      found++;
      expect((await open(sealed)).length).toBe(length);
    }
    expect(found).toBe(3);
  });

  test("no two backups of the same have the same bytes", async () => {
    const [one, two] = [await seal(noise(100)), await seal(noise(100))];
    expect(one.length).toBe(two.length);
    expect(Buffer.compare(one.subarray(14), two.subarray(14))).not.toBe(0);
    expect(Buffer.compare(one.subarray(0, 14), two.subarray(0, 14))).toBe(0);
  });

  test("with a key that was changed since, as long as it is given", async () => {
    const sealed = await seal(noise(100));
    const rotated = parseBackupKeys(`${OTHER}\n${KEY}`);
    expect((await open(sealed, 1000, rotated)).length).toBe(100);
    const newer = await join_(sealBackup(rotated, pieces(noise(100))));
    expect((await open(newer, 1000, parseBackupKeys(OTHER))).length).toBe(100);
    expect(await codeOf(open(newer))).toBe("unknown_key");
  });

  test("the vector in backup_format.md", async () => {
    const text = await readFile(new URL("../../functions/_shared/backup_format.md", import.meta.url), "utf8");
    const hex = [...text.matchAll(/^([0-9a-f]{16,})$/gm)].map(([, line]) => line).join("");
    const rows = [];
    for await (
      const row of readBackup(
        parseBackupKeys("dGhlIGtleSBvZiBhbGwgYmFja3VwcywgMzIgYnl0ZXM="),
        pieces(new Uint8Array(Buffer.from(hex, "hex"))),
      )
    ) {
      rows.push(row);
    }
    expect(rows).toEqual([{ section: "backup", row: `{"format": "${BACKUP_FORMAT}"}` }, {
      section: "settings",
      row: '{"name": "query_text", "value": false}',
    }, { section: END_SECTION, row: '{"rows": {"backup": 1, "settings": 1}}' }]);
  });

  test("by the runtime of the functions, and the other way round", async () => {
    const source = new URL("../../functions/_shared/backup_format.ts", import.meta.url).href;
    const sealed = Buffer.from(await seal(noise(150_000))).toString("base64");
    const program = `
      import { openBackup, parseBackupKeys, sealBackup } from ${JSON.stringify(source)};
      import { Buffer } from "node:buffer";
      const keys = parseBackupKeys(${JSON.stringify(KEY)});
      const given = new Uint8Array(Buffer.from(await new Response(Deno.stdin.readable).text(), "base64"));
      async function* once(bytes) { yield bytes; }
      const joined = async (from) => { const parts = []; for await (const part of from) parts.push(part.slice()); return Buffer.concat(parts); };
      const changed = given.slice(); changed[100_000] ^= 1;
      const refused = await joined(openBackup(keys, once(changed))).then(() => "read", (error) => error.code);
      const cut = await joined(openBackup(keys, once(given.subarray(0, ${
      HEADER + CHUNK
    })))).then(() => "read", (error) => error.code);
      const plain = await joined(openBackup(keys, once(given)));
      console.log(JSON.stringify([refused, cut, (await joined(sealBackup(keys, once(new Uint8Array(plain))))).toString("base64")]));`;
    const deno = join(dirname(createRequire(import.meta.url).resolve("deno/package.json")), "deno");
    const folder = await mkdtemp(join(tmpdir(), "audit-backup-"));
    const file = join(folder, "program.ts");
    await writeFile(file, program);
    const args = ["run", "--no-config", "--no-lock", "--allow-read", "--no-check", file];
    const running = promisify(execFile)(deno, args, { maxBuffer: 2 ** 26 });
    running.child.stdin!.end(sealed);
    const [refused, cut, back] = JSON.parse((await running).stdout);
    await rm(folder, { recursive: true });
    expect([refused, cut]).toEqual(["damaged", "cut"]);
    expect(Buffer.compare(await open(new Uint8Array(Buffer.from(back, "base64"))), noise(150_000))).toBe(0);
  });
});

describe("what is not whole is not read", () => {
  const plain = noise(300_000);

  test("any bit that is another, anywhere", async () => {
    const sealed = await seal(plain);
    await fc.assert(
      fc.asyncProperty(fc.nat(sealed.length - 1), fc.integer({ min: 0, max: 7 }), async (at, bit) => {
        const changed = sealed.slice();
        changed[at]! ^= 1 << bit;
        expect(await codeOf(open(changed))).toBe(at < 10 ? "not_a_backup" : at < 14 ? "unknown_key" : "damaged");
      }),
      { numRuns: 150 },
    );
  });

  test("cut anywhere, also between chunks, and with bytes behind its end", async () => {
    const sealed = await seal(plain);
    const chunks = Math.ceil((sealed.length - HEADER) / CHUNK);
    expect(chunks).toBe(5);
    for (let chunk = 0; chunk < chunks; chunk++) {
      expect(await codeOf(open(sealed.subarray(0, HEADER + chunk * CHUNK))), `after ${chunk} chunks`).toBe("cut");
    }
    await fc.assert(
      fc.asyncProperty(fc.nat(sealed.length - 1), async (length) => {
        expect(["cut", "damaged", "not_a_backup"]).toContain(await codeOf(open(sealed.subarray(0, length))));
      }),
      { numRuns: 100 },
    );
    for (const more of [1, 16, 17, CHUNK, CHUNK + 1]) {
      expect(await codeOf(open(new Uint8Array(Buffer.concat([sealed, noise(more)]))))).toBe("damaged");
    }
  });

  test("chunks in another order, left out, doubled, or of another backup with the same key", async () => {
    const [sealed, other] = [await seal(plain), await seal(plain)];
    const chunk = (of: Uint8Array, number: number) =>
      of.subarray(HEADER + number * CHUNK, HEADER + (number + 1) * CHUNK);
    const made = (...numbers: (number | Uint8Array)[]) =>
      new Uint8Array(
        Buffer.concat([
          sealed.subarray(0, HEADER),
          ...numbers.map((number) => typeof number === "number" ? chunk(sealed, number) : number),
        ]),
      );
    expect((await open(made(0, 1, 2, 3, 4))).length).toBe(plain.length);
    for (
      const changed of [
        made(1, 0, 2, 3, 4),
        made(0, 2, 1, 3, 4),
        made(0, 1, 3, 4),
        made(0, 1, 1, 2, 3, 4),
        made(0, 1, chunk(other, 2), 3, 4),
        made(0, 1, 2, 3, chunk(other, 4)),
        made(4),
        made(chunk(other, 0), chunk(other, 1), chunk(other, 2), chunk(other, 3), chunk(other, 4)),
      ]
    ) expect(await codeOf(open(changed))).toBe("damaged");
  });
});

describe("rows", () => {
  const lines = (text: string) => sealBackup(keys, pieces(new TextEncoder().encode(text), 7));
  const head = `"backup"\n{"format": "${BACKUP_FORMAT}"}\n`;
  const end = `"${END_SECTION}"\n{"rows": {}}\n`;
  async function read(text: string): Promise<{ section: string; row: string }[]> {
    const rows = [];
    for await (const row of readBackup(keys, lines(text))) rows.push(row);
    return rows;
  }

  test("come with their section, as they were written", async () => {
    const row = '{"big": 12345678901234567890, "text": "é\\n"}';
    expect(await read(`${head}"a"\n"b"\n${row}\n${end}`)).toContainEqual({ section: "b", row });
  });

  test.each([
    ["without its end", head, "cut"],
    ["that ends within a line", `${head}"a"\n{"x": 1`, "cut"],
    ["of another version", `"backup"\n{"format": "supabase-audit-logs backup v2"}\n${end}`, "not_a_backup"],
    ["without a header", `"settings"\n{"format": "${BACKUP_FORMAT}"}\n${end}`, "not_a_backup"],
    ["of nothing", "", "cut"],
  ])("a backup %s is refused", async (_, text, code) => {
    expect(await codeOf(read(text))).toBe(code);
  });
});

describe("keys", () => {
  test.each([
    "",
    " \n",
    "secret",
    Buffer.alloc(31).toString("base64"),
    Buffer.alloc(33).toString("base64"),
    `${KEY} nonsense`,
  ])("%j are none, and are not quoted", (text) => {
    expect(() => parseBackupKeys(text)).toThrow(expect.objectContaining({ code: "bad_key" }));
    try {
      parseBackupKeys(text);
    } catch (error) {
      for (const word of text.split(/\s+/).filter((each) => each.length > 5)) {
        expect((error as Error).message).not.toContain(word);
      }
    }
  });
});
