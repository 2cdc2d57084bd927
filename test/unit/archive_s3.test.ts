// The archive in an S3 bucket: what is sent, what is refused, and a service that fails in every way.
import { Buffer } from "node:buffer";
import { request as send } from "node:http";
import { gzipSync } from "node:zlib";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ArchiveError, MAX_READ_BYTES } from "../../functions/_shared/archive/archive.ts";
import type { Patience } from "../../functions/_shared/archive/patient_fetch.ts";
import { parseS3, s3Archive } from "../../functions/_shared/archive/s3_archive.ts";
import { type Fault, type FaultyServer, startFaults } from "../support/faults.ts";
import { type S3, type S3Options, startS3 } from "../support/s3.ts";

const FOLDER = "10000000-0000-4000-8000-000000000001/2026-11";
const PATH = `${FOLDER}/tile/0/000`;
const SECRET = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const OPTIONS = { bucket: "our-archive", region: "eu-central-1", accessKeyId: "AKIAEXAMPLE", secretAccessKey: SECRET };
const PATIENCE: Patience = { attempt: 300, total: 5_000, pause: 10 };
const BYTES = new Uint8Array(8_192).map((_, at) => at * 31);

let s3: S3;
let faulty: FaultyServer;

async function start(options: Partial<S3Options> = {}): Promise<void> {
  await faulty?.stop();
  await s3?.stop();
  s3 = await startS3({ ...OPTIONS, ...options });
  faulty = await startFaults(s3.endpoint);
}
beforeEach(() => start());
afterEach(async () => {
  vi.unstubAllGlobals();
  await faulty.stop();
  await s3.stop();
});

function settings(more: object = {}): string {
  return JSON.stringify({
    endpoint: faulty.url,
    region: OPTIONS.region,
    bucket: OPTIONS.bucket,
    access_key_id: OPTIONS.accessKeyId,
    secret_access_key: SECRET,
    ...more,
  });
}

function open(more: object = {}, patience = PATIENCE) {
  return s3Archive(parseS3(settings(more)), patience);
}

async function failureOf(work: Promise<unknown>): Promise<ArchiveError> {
  const error = await work.then(() => undefined, (error: unknown) => error);
  expect(error).toBeInstanceOf(ArchiveError);
  // Whatever went wrong, and however deep one looks, no secret is in it.
  for (let at = error as Error | undefined; at instanceof Error; at = at.cause as Error | undefined) {
    expect(`${at.message} ${at.stack} ${JSON.stringify(at)}`).not.toMatch(/wJalr|AKIAEXAMPLE|Signature=/);
  }
  return error as ArchiveError;
}

describe("objects", () => {
  test("are stored with their headers, read, listed and removed", async () => {
    const archive = open();
    await archive.put(PATH, BYTES, "tile");
    await archive.put(`${FOLDER}/checkpoint`, Buffer.from("text"), "checkpoint");
    expect(s3.objects.get(PATH)!.at(-1)!.headers).toEqual({
      "content-type": "application/octet-stream",
      "cache-control": "public, max-age=31536000, immutable",
    });
    expect(s3.objects.get(`${FOLDER}/checkpoint`)!.at(-1)!.headers).toEqual({
      "content-type": "text/plain; charset=utf-8",
      "cache-control": "no-cache",
    });
    expect(await archive.get(PATH)).toEqual(BYTES);
    expect(await archive.get(`${FOLDER}/tile/0/001`)).toBeNull();
    expect(await archive.list(FOLDER)).toEqual([`${FOLDER}/checkpoint`, PATH]);
    expect(await archive.list(FOLDER.slice(0, -1))).toEqual([]);
    await archive.remove([PATH, `${FOLDER}/tile/0/001`]);
    expect(await archive.list(FOLDER)).toEqual([`${FOLDER}/checkpoint`]);
    await archive.remove([]);
  });

  test("are the same whatever their bytes are", async () => {
    const archive = open();
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 3_000 }), async (bytes) => {
        await archive.put(PATH, bytes, "tile");
        expect(Buffer.from((await archive.get(PATH))!)).toEqual(Buffer.from(bytes));
      }),
      { numRuns: 25 },
    );
  });

  test("lie below the prefix, and nobody else's are seen or removed", async () => {
    const mine = open({ prefix: "acme.prod/audit_logs" });
    const others = open({ prefix: "acme.prod/audit_logs2" });
    await mine.put(PATH, BYTES, "tile");
    await others.put(PATH, BYTES, "tile");
    expect([...s3.objects.keys()].sort()).toEqual([`acme.prod/audit_logs/${PATH}`, `acme.prod/audit_logs2/${PATH}`]);
    expect(await mine.list(FOLDER)).toEqual([PATH]);
    await mine.remove([PATH]);
    expect([...s3.objects.keys()]).toEqual([`acme.prod/audit_logs2/${PATH}`]);
  });

  test("of a large log are listed and removed page by page", async () => {
    await start({ pageSize: 7 });
    // Patient: a put that was given up on could land behind the removal.
    const archive = open({}, { attempt: 20_000, total: 60_000, pause: 10 });
    const paths = Array.from({ length: 50 }, (_, n) => `${FOLDER}/tile/0/${String(n).padStart(3, "0")}`);
    await Promise.all(paths.map((path) => archive.put(path, BYTES.subarray(0, 32), "tile")));
    expect(await archive.list(FOLDER)).toEqual(paths);
    const many = Array.from({ length: 2_001 }, (_, n) => `${FOLDER}/tile/0/x${String(n % 1_000).padStart(3, "0")}/001`);
    await archive.remove([...paths, ...many]);
    expect(s3.objects.size).toBe(0);
    expect(s3.requests.filter((request) => request.startsWith("POST"))).toHaveLength(3);
  });

  test("a path that leaves the archive is never sent", async () => {
    const archive = open();
    for (const path of ["../x", "a//b", "a?acl", "a%2e"]) {
      expect((await failureOf(archive.put(path, BYTES, "tile"))).code).toBe("refused");
      expect((await failureOf(archive.get(path))).code).toBe("refused");
      expect((await failureOf(archive.list(path))).code).toBe("refused");
      expect((await failureOf(archive.remove([PATH, path]))).code).toBe("refused");
    }
    expect(faulty.requests).toEqual([]);
  });

  test("a virtual host names the bucket in the address", async () => {
    const hosts: string[] = [];
    // No name server knows the bucket's name.
    vi.stubGlobal(
      "fetch",
      (url: URL, { method, headers, body }: { method: string; headers: Headers; body: Uint8Array }) =>
        new Promise<Response>((resolve, reject) => {
          hosts.push(url.host);
          send({
            host: "127.0.0.1",
            port: url.port,
            path: url.pathname + url.search,
            method,
            headers: { ...Object.fromEntries(headers), host: url.host },
          }, async (answer) => {
            const chunks: Buffer[] = [];
            for await (const chunk of answer) chunks.push(chunk as Buffer);
            resolve(new Response(Buffer.concat(chunks) as BodyInit, { status: answer.statusCode ?? 500 }));
          }).on("error", reject).end(body);
        }),
    );
    const archive = open({ endpoint: s3.endpoint.replace("127.0.0.1", "localhost"), style: "virtual", prefix: "p" });
    await archive.put(PATH, BYTES, "tile");
    expect(await archive.get(PATH)).toEqual(BYTES);
    expect(await archive.list(FOLDER)).toEqual([PATH]);
    expect(new Set(hosts)).toEqual(
      new Set([`our-archive.${new URL(s3.endpoint).host.replace("127.0.0.1", "localhost")}`]),
    );
    expect([...s3.objects.keys()]).toEqual([`p/${PATH}`]);
  });
});

describe("Object Lock", () => {
  const lock = { mode: "COMPLIANCE", days: 400 };

  test("is set on every object, with a checksum", async () => {
    await start({ locked: true });
    await open({ lock }).put(PATH, BYTES, "tile");
    const { headers } = s3.objects.get(PATH)!.at(-1)!;
    expect(headers["x-amz-object-lock-mode"]).toBe("COMPLIANCE");
    const until = Date.parse(headers["x-amz-object-lock-retain-until-date"]!);
    expect(Math.abs(until - Date.now() - 400 * 86_400_000)).toBeLessThan(10_000);
  });

  test("keeps what was there when it is written over or removed", async () => {
    await start({ locked: true });
    const archive = open({ lock: { mode: "GOVERNANCE", days: 1 } });
    await archive.put(PATH, BYTES, "tile");
    await archive.put(PATH, new Uint8Array(32), "tile");
    await archive.remove([PATH]);
    expect(await archive.get(PATH)).toBeNull();
    expect(s3.objects.get(PATH)!.map((version) => version?.bytes.length ?? 0)).toEqual([8_192, 32, 0]);
  });

  test("that the bucket does not have is refused", async () => {
    expect(await failureOf(open({ lock }).put(PATH, BYTES, "tile"))).toMatchObject({ code: "refused" });
  });

  test("is not asked for where it is not configured", async () => {
    await start({ locked: true });
    await open().put(PATH, BYTES, "tile");
    expect(Object.keys(s3.objects.get(PATH)!.at(-1)!.headers)).toEqual(["content-type", "cache-control"]);
  });
});

describe("refused", () => {
  test.each([
    ["another secret", { secret_access_key: `${SECRET}x` }, "SignatureDoesNotMatch"],
    ["another key id", { access_key_id: "AKIAOTHER" }, "InvalidAccessKeyId"],
    ["another region", { region: "us-east-1" }, "AuthorizationHeaderMalformed"],
    ["another bucket", { bucket: "not-ours" }, "NoSuchBucket"],
  ])("%s", async (_, change, code) => {
    const archive = open(change);
    // A bucket that is missing is no missing object.
    const works = [
      () => archive.put(PATH, BYTES, "tile"),
      () => archive.get(PATH),
      () => archive.list(FOLDER),
      () => archive.remove([PATH]),
    ];
    for (const work of works) {
      const error = await failureOf(work());
      expect(error.code).toBe("refused");
      expect(error.message).toContain(code);
    }
    expect(faulty.requests).toHaveLength(4);
  });

  test("a redirect is not followed", async () => {
    faulty.always = {
      status: 307,
      headers: { location: "http://127.0.0.1:1/x" },
      body: "<Code>TemporaryRedirect</Code>",
    };
    expect((await failureOf(open().put(PATH, BYTES, "tile"))).message).toContain("307 TemporaryRedirect");
    expect(faulty.requests).toHaveLength(1);
  });

  test("an object that is too large for the service, or for anybody", async () => {
    faulty.next.push({ status: 400, body: "<Error><Code>EntityTooLarge</Code></Error>" });
    expect((await failureOf(open().put(PATH, BYTES, "tile"))).code).toBe("too_large");
    await open().put(PATH, BYTES, "tile");
    faulty.next.push({ instead: () => Buffer.alloc(MAX_READ_BYTES + 1) });
    expect((await failureOf(open({}, { attempt: 5_000, total: 9_000 }).get(PATH))).code).toBe("too_large");
    faulty.next.push({ instead: () => gzipSync(Buffer.alloc(200_000_000)), headers: { "content-encoding": "gzip" } });
    expect((await failureOf(open({}, { attempt: 5_000, total: 9_000 }).get(PATH))).code).toBe("too_large");
  });

  test("single objects that could not be removed", async () => {
    await open().put(PATH, BYTES, "tile");
    faulty.next.push({
      instead: () =>
        Buffer.from(`<DeleteResult><Error><Key>${PATH}</Key><Code>AccessDenied</Code></Error></DeleteResult>`),
    });
    expect(await failureOf(open().remove([PATH]))).toMatchObject({ code: "refused" });
  });
});

describe("what passes", () => {
  const busy = { status: 503, body: "<Error><Code>SlowDown</Code></Error>" };
  const faults: [string, Fault][] = [
    ["the connection breaks before", "before"],
    ["the connection breaks after it took effect", "after"],
    ["half of the request arrives", "half request"],
    ["half of the answer arrives", "half answer"],
    ["no answer comes", "hang"],
    ["an answer stops in the middle", "hang in the middle"],
    ["429", { status: 429 }],
    ["500", { status: 500, body: "<Error><Code>InternalError</Code></Error>" }],
    ["503", busy],
    ["an answer that is no XML", { status: 502, body: "<html>Bad gateway" }],
  ];

  test.each(faults)("%s: writing, reading, listing and removing go on", async (_, fault) => {
    const archive = open();
    faulty.next.push(fault);
    await archive.put(PATH, BYTES, "tile");
    expect(s3.objects.get(PATH)!.at(-1)!.bytes).toEqual(Buffer.from(BYTES));
    faulty.next.push(fault);
    expect(await archive.get(PATH)).toEqual(BYTES);
    faulty.next.push(fault, fault);
    expect(await archive.list(FOLDER)).toEqual([PATH]);
    faulty.next.push(fault);
    await archive.remove([PATH]);
    expect(s3.objects.size).toBe(0);
    // Every fault cost an attempt; but of the answer to a write, which has no body, there is no half.
    const harmless = fault === "half answer" || fault === "hang in the middle" ? 1 : 0;
    expect(faulty.requests).toHaveLength(9 - harmless);
  }, 20_000);

  test("half an object is never there", async () => {
    faulty.always = "half request";
    expect((await failureOf(open({}, { attempt: 200, total: 600 }).put(PATH, BYTES, "tile"))).code).toBe("unavailable");
    expect(s3.objects.size).toBe(0);
  });

  test("pauses grow, and the whole is bounded in time", async () => {
    for (const fault of ["before", "hang", busy] as Fault[]) {
      faulty.times.length = 0;
      faulty.always = fault;
      const start = performance.now();
      const error = await failureOf(open({}, { attempt: 100, total: 1_500 }).get(PATH));
      expect(error.code).toBe("unavailable");
      expect(performance.now() - start).toBeLessThan(3_000);
      expect(faulty.times.length).toBeGreaterThan(2);
      expect(faulty.times.length).toBeLessThan(8);
    }
  });

  test("a service that says when is asked then, and not before", async () => {
    await open().put(PATH, BYTES, "tile");
    faulty.times.length = 0;
    faulty.next.push({ status: 429, headers: { "retry-after": "1" } });
    expect(await open().get(PATH)).toEqual(BYTES);
    expect(faulty.times[1]! - faulty.times[0]!).toBeGreaterThanOrEqual(1_000);
    // Also where that is most of the time there is.
    faulty.next.push({ status: 429, headers: { "retry-after": "2" } });
    expect(await open({}, { ...PATIENCE, total: 3_000 }).get(PATH)).toEqual(BYTES);
    expect(faulty.times[3]! - faulty.times[2]!).toBeGreaterThanOrEqual(2_000);
    faulty.next.push({ status: 503, headers: { "retry-after": new Date(Date.now() + 2_000).toUTCString() } });
    expect(await open().get(PATH)).toEqual(BYTES);
    expect(faulty.times[5]! - faulty.times[4]!).toBeGreaterThanOrEqual(900);
  }, 20_000);

  test("a service that wants more time than there is is not waited for, and says how much", async () => {
    faulty.always = { status: 429, headers: { "retry-after": "120" } };
    const start = performance.now();
    expect(await failureOf(open().get(PATH))).toMatchObject({ code: "unavailable", retryAfter: 120 });
    expect(performance.now() - start).toBeLessThan(1_000);
    expect(faulty.requests).toHaveLength(1);
    for (const header of ["soon", "-5", ""]) {
      faulty.always = { status: 429, headers: { "retry-after": header } };
      expect((await failureOf(open({}, { attempt: 100, total: 300 }).get(PATH))).retryAfter ?? 0).toBe(0);
    }
  });

  test("a server that does not answer at all", async () => {
    await faulty.stop();
    expect((await failureOf(open({}, { attempt: 100, total: 500 }).get(PATH))).code).toBe("unavailable");
  });

  test("other bytes than were sent are noticed where the answer tells", async () => {
    faulty.next.push({ instead: (body) => body, headers: { "x-amz-checksum-sha256": "AAAA" } });
    expect((await failureOf(open().put(PATH, BYTES, "tile"))).code).toBe("conflict");
  });
});

describe("AUDIT_S3", () => {
  test("takes what it needs, and defaults to path-style addresses", () => {
    expect(parseS3(settings())).toMatchObject({ bucket: "our-archive", style: "path" });
    for (
      const more of [
        { session_token: "FwoGZXIvYXdzEA==" },
        { endpoint: "https://s3.eu-central-1.amazonaws.com/" },
        { endpoint: "http://minio:9000" },
        { prefix: "a/b-c/d.e_f" },
        { style: "virtual" },
        { lock: { mode: "GOVERNANCE", days: 36_500 } },
      ]
    ) expect(() => parseS3(settings(more))).not.toThrow();
  });

  test.each<[string, string]>([
    ["", "it"],
    ["null", "it"],
    ["[]", "it"],
    [`{"secret_access_key": "${SECRET}"`, "it"],
    ["{}", "endpoint"],
    ...Object.entries({
      endpoint: [
        undefined,
        "s3.amazonaws.com",
        "ftp://x",
        "https://x/bucket",
        "https://user:pass@x",
        "https://x?a=b",
        "",
      ],
      region: [undefined, "", "EU", "a b", "x\n"],
      bucket: [undefined, "", "ab", "A-bucket", "a/b", "../x", "-abc"],
      prefix: ["", "/a", "a/", "a//b", "a/../b", "..", "a b", "x".repeat(201)],
      access_key_id: [undefined, "", "a b", "a\nb"],
      secret_access_key: [undefined, "", " ", `${SECRET}\n`, 5],
      session_token: ["", 5],
      style: ["host", null],
      lock: [{}, { mode: "COMPLIANCE" }, { mode: "legal", days: 1 }, { mode: "GOVERNANCE", days: 0 }, {
        mode: "GOVERNANCE",
        days: 1.5,
      }, { mode: "GOVERNANCE", days: 1, more: 1 }],
      secretAccessKey: [SECRET],
    }).flatMap(([name, values]) =>
      values.map((
        value,
      ): [string, string] => [
        JSON.stringify({ ...JSON.parse(settingsOf()), [name]: value }),
        name === "secretAccessKey" ? "it" : name,
      ])
    ),
  ])("refuses %s, names %s and quotes nothing", (text, name) => {
    const error = (() => {
      try {
        return parseS3(text);
      } catch (error) {
        return error as ArchiveError;
      }
    })() as ArchiveError;
    expect(error).toBeInstanceOf(ArchiveError);
    expect(error.message).toMatch(new RegExp(`^AUDIT_S3: .*\\b${name}\\b`));
    expect(`${error.message} ${error.stack} ${String(error.cause)}`).not.toContain("wJalr");
  });
});

function settingsOf(): string {
  return JSON.stringify({
    endpoint: "https://s3.example.com",
    region: OPTIONS.region,
    bucket: OPTIONS.bucket,
    access_key_id: OPTIONS.accessKeyId,
    secret_access_key: SECRET,
  });
}
