// The archive in Storage, and as people read it over HTTP: who may, as what bytes, and a Storage that fails in every way.
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import { request as send } from "node:http";
import { gunzipSync, gzipSync } from "node:zlib";
import pg from "pg";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type Archive, ArchiveError, MAX_READ_BYTES } from "../../functions/_shared/archive/archive.ts";
import { encryptBundle, parseArchiveKeys } from "../../functions/_shared/archive/bundle_encryption.ts";
import type { Patience } from "../../functions/_shared/archive/patient_fetch.ts";
import { ARCHIVE_BUCKET, storageArchive } from "../../functions/_shared/archive/storage_archive.ts";
import { encodeBundle } from "../../functions/_shared/tlog/bundle.ts";
import { ADMIN } from "../../scripts/stack/postgres.ts";
import { type Fault, type FaultyServer, startFaults } from "../support/faults.ts";
import { ACME, ALICE, type Api, BETTY, BOB, OSCAR, OTHER, startApi, VERA } from "./server.ts";

const FOLDER = `${ACME}/2026-11`;
const TILE = `${FOLDER}/tile/0/000`;
const BUNDLE = `${FOLDER}/tile/entries/000.p/3`;
const CHECKPOINT = `${FOLDER}/checkpoint`;
const PATIENCE: Patience = { attempt: 1_000, total: 10_000, pause: 10 };
const hashes = new Uint8Array(8_192).map((_, at) => (at * 31) % 251);
const bundle = encodeBundle(
  [1, 2, 3].map((n) => new TextEncoder().encode(`{"entry":${n},"more":"${"x".repeat(500)}"}`)),
);
const checkpoint = new TextEncoder().encode("localhost/audit\n3\nroot\n\n— a signature\n");

let api: Api;
let faulty: FaultyServer;
let storageAdmin: pg.Client;

beforeAll(async () => {
  api = await startApi();
  faulty = await startFaults(api.url);
  storageAdmin = new pg.Client({ connectionString: api.db.url(ADMIN) });
  await storageAdmin.connect();
});
afterAll(async () => {
  await storageAdmin.end();
  await faulty.stop();
  await api.stop();
});
afterEach(() => {
  faulty.always = undefined;
  faulty.next.length = 0;
});

function open(projectUrl = api.url, patience = PATIENCE, serviceKey = api.keys.service_role_key): Archive {
  return storageArchive({ projectUrl, serviceKey, patience });
}

/** An archive whose Storage may be made to fail. */
const openFaulty = (patience = PATIENCE) => open(faulty.url, patience);

async function emptyStorage(): Promise<void> {
  await storageAdmin.query(`set storage.allow_delete_query = 'true';
     delete from storage.objects where bucket_id = '${ARCHIVE_BUCKET}';
     delete from storage.buckets where id = '${ARCHIVE_BUCKET}'`);
}

async function failureOf(work: Promise<unknown>): Promise<ArchiveError> {
  const error = await work.then(() => undefined, (error: unknown) => error);
  expect(error).toBeInstanceOf(ArchiveError);
  expect(`${(error as Error).message} ${(error as Error).stack}`).not.toContain(api.keys.service_role_key);
  return error as ArchiveError;
}

const storageSays = (statusCode: string, code: string, status = 400): Fault => ({
  status,
  headers: { "content-type": "application/json" },
  body: JSON.stringify({ statusCode, code, error: code, message: `it is ${code}` }),
});

describe("in Storage", () => {
  beforeEach(emptyStorage);

  test("the bucket is made when something is first put there, private, and only then", async () => {
    const archive = open();
    expect(await archive.get(TILE)).toBeNull();
    expect(await archive.list(FOLDER)).toEqual([]);
    await archive.remove([TILE]);
    expect((await storageAdmin.query("select from storage.buckets where id = $1", [ARCHIVE_BUCKET])).rowCount).toBe(0);
    await archive.put(TILE, hashes, "tile");
    const { rows } = await storageAdmin.query("select public from storage.buckets where id = $1", [ARCHIVE_BUCKET]);
    expect(rows).toEqual([{ public: false }]);
    expect(await archive.get(TILE)).toEqual(hashes);
  });

  test("many who find no bucket make one", async () => {
    const paths = Array.from({ length: 8 }, (_, n) => `${FOLDER}/tile/0/00${n}`);
    await Promise.all(paths.map((path) => open().put(path, hashes, "tile")));
    expect(await open().list(FOLDER)).toEqual(paths);
  });

  test("objects have the types and cache rules of their kind", async () => {
    const archive = open();
    await archive.put(TILE, hashes, "tile");
    await archive.put(BUNDLE, bundle, "bundle");
    await archive.put(CHECKPOINT, checkpoint, "checkpoint");
    const { rows } = await storageAdmin.query(
      `select name, metadata ->> 'mimetype' as type, metadata ->> 'cacheControl' as cache, (metadata ->> 'size')::int as size
       from storage.objects where bucket_id = $1 order by name collate "C"`,
      [ARCHIVE_BUCKET],
    );
    const immutable = { type: "application/octet-stream", cache: "public, max-age=31536000, immutable" };
    expect(rows).toEqual([
      { name: CHECKPOINT, type: "text/plain; charset=utf-8", cache: "no-cache", size: checkpoint.length },
      { name: TILE, ...immutable, size: hashes.length },
      { name: BUNDLE, ...immutable, size: bundle.length },
    ]);
    expect(await archive.list(FOLDER)).toEqual([CHECKPOINT, TILE, BUNDLE]);
    expect(await archive.list(`${FOLDER}/tile`)).toEqual([TILE, BUNDLE]);
    expect(await archive.list(FOLDER.slice(0, -1))).toEqual([]);
    expect(Buffer.from((await archive.get(CHECKPOINT))!)).toEqual(Buffer.from(checkpoint));
  });

  test("putting again is no harm, and a checkpoint is written over", async () => {
    const archive = open();
    for (const _ of [1, 2]) await archive.put(TILE, hashes, "tile");
    await Promise.all([1, 2, 3, 4].map(() => archive.put(TILE, hashes, "tile")));
    expect(await archive.get(TILE)).toEqual(hashes);
    await archive.put(CHECKPOINT, checkpoint, "checkpoint");
    await archive.put(CHECKPOINT, checkpoint.slice().reverse(), "checkpoint");
    expect(await archive.get(CHECKPOINT)).toEqual(checkpoint.slice().reverse());
    expect(await archive.list(FOLDER)).toHaveLength(2);
  });

  test("more objects than a page are listed, and more than a request takes are removed", async () => {
    const archive = open();
    await archive.put(TILE, hashes, "tile");
    await storageAdmin.query(
      `insert into storage.objects (bucket_id, name, version, metadata)
       select $1, $2 || '/tile/0/000.p/' || n, gen_random_uuid()::text, '{}' from generate_series(1, 2100) n`,
      [ARCHIVE_BUCKET, FOLDER],
    );
    const paths = await archive.list(FOLDER);
    expect(new Set(paths).size).toBe(2_101);
    expect(paths).toEqual([...paths].sort());
    await archive.remove(paths.filter((path) => path !== TILE));
    expect(await archive.list(FOLDER)).toEqual([TILE]);
  });

  test("reading asks past every cache", async () => {
    const archive = openFaulty();
    await archive.put(TILE, hashes, "tile");
    faulty.requests.length = 0;
    for (const _ of [1, 2]) await archive.get(TILE);
    expect(new Set(faulty.requests).size).toBe(2);
  });

  test("the largest bundle fits; more than that is not read", async () => {
    const archive = openFaulty({ ...PATIENCE, attempt: 10_000 });
    const large = new Uint8Array(MAX_READ_BYTES - 10).fill(7);
    await archive.put(BUNDLE, large, "bundle");
    expect(Buffer.compare((await archive.get(BUNDLE))!, large)).toBe(0);
    faulty.next.push({ instead: () => Buffer.alloc(MAX_READ_BYTES + 1) });
    expect((await failureOf(archive.get(BUNDLE))).code).toBe("too_large");
    faulty.next.push({ instead: () => gzipSync(Buffer.alloc(200_000_000)), headers: { "content-encoding": "gzip" } });
    expect((await failureOf(archive.get(BUNDLE))).code).toBe("too_large");
  }, 30_000);

  test("a key that is missing or wrong is refused and not shown", async () => {
    await expect(storageArchive({ projectUrl: api.url, serviceKey: undefined }).get(TILE)).rejects.toThrow(
      "SUPABASE_SERVICE_ROLE_KEY",
    );
    const stranger = await api.token({ role: "authenticated" });
    await open().put(TILE, hashes, "tile");
    expect((await failureOf(open(api.url, PATIENCE, stranger).put(BUNDLE, bundle, "bundle"))).code).toBe("refused");
    expect(await open(api.url, PATIENCE, stranger).get(TILE)).toBeNull(); // row level security hides it
    expect((await failureOf(open(api.url, PATIENCE, "nonsense").get(TILE))).code).toBe("refused");
  });

  test("a path that leaves the bucket is never sent", async () => {
    faulty.requests.length = 0;
    const archive = openFaulty();
    for (const path of ["../audit-exports/x", `${FOLDER}/../../x`, "a//b", "a?x", "a#x", "a%2fb"]) {
      expect((await failureOf(archive.put(path, hashes, "tile"))).code).toBe("refused");
      expect((await failureOf(archive.get(path))).code).toBe("refused");
      expect((await failureOf(archive.list(path))).code).toBe("refused");
      expect((await failureOf(archive.remove([path]))).code).toBe("refused");
    }
    expect(faulty.requests).toEqual([]);
  });
});

describe("while Storage fails", () => {
  beforeEach(async () => {
    await emptyStorage();
    await open().put(CHECKPOINT, checkpoint, "checkpoint");
  });

  const passing: [string, Fault][] = [
    ["the connection breaks before", "before"],
    ["the connection breaks after it took effect", "after"],
    ["half of the request arrives", "half request"],
    ["half of the answer arrives", "half answer"],
    ["no answer comes", "hang"],
    ["an answer stops in the middle", "hang in the middle"],
    ["429 of the gateway", { status: 429, body: "slow down" }],
    ["429 of Storage", storageSays("429", "SlowDown", 429)],
    ["a lock, which it calls 400", storageSays("423", "ResourceLocked")],
    ["too busy, which it calls 400", storageSays("503", "SlowDown")],
    ["its database is slow, which it calls 400", storageSays("544", "DatabaseTimeout")],
    ["500", storageSays("500", "InternalError", 500)],
    ["an answer that is no JSON", { status: 502, body: "<html>Bad gateway" }],
  ];

  test.each(passing)("%s: the archive goes on", async (_, fault) => {
    const archive = openFaulty({ ...PATIENCE, attempt: 500 });
    faulty.next.push(fault);
    await archive.put(TILE, hashes, "tile");
    expect(Buffer.compare((await open().get(TILE))!, hashes)).toBe(0);
    faulty.next.push(fault);
    expect(await archive.get(TILE)).toEqual(hashes);
    faulty.next.push(fault);
    expect(await archive.list(FOLDER)).toEqual([CHECKPOINT, TILE]);
    faulty.next.push(fault);
    await archive.remove([TILE]);
    expect(await open().list(FOLDER)).toEqual([CHECKPOINT]);
    expect(faulty.next).toEqual([]);
  }, 20_000);

  test.each(passing)("%s while the bucket is made", async (_, fault) => {
    await emptyStorage();
    const archive = openFaulty({ ...PATIENCE, attempt: 500 });
    // The upload that finds no bucket, then the bucket.
    faulty.next.push({ instead: (body) => body }, fault);
    await archive.put(TILE, hashes, "tile");
    expect(Buffer.compare((await open().get(TILE))!, hashes)).toBe(0);
  }, 20_000);

  test("half an object is never read", async () => {
    faulty.always = "half request";
    const archive = openFaulty({ attempt: 300, total: 1_000, pause: 10 });
    expect((await failureOf(archive.put(TILE, hashes, "tile"))).code).toBe("unavailable");
    expect(await open().get(TILE)).toBeNull();
    await open().put(CHECKPOINT, checkpoint, "checkpoint");
    expect((await failureOf(archive.put(CHECKPOINT, hashes, "checkpoint"))).code).toBe("unavailable");
    expect(await open().get(CHECKPOINT)).toEqual(checkpoint);
  });

  test("a duplicate is fine where the bytes are the same, and a conflict where they are not", async () => {
    const duplicate = storageSays("409", "ResourceAlreadyExists");
    const archive = openFaulty();
    await open().put(TILE, hashes, "tile");
    faulty.next.push(duplicate);
    await archive.put(TILE, hashes, "tile");
    faulty.next.push(duplicate);
    expect((await failureOf(archive.put(TILE, hashes.slice().reverse(), "tile"))).code).toBe("conflict");
    faulty.next.push(duplicate);
    expect((await failureOf(archive.put(BUNDLE, bundle, "bundle"))).code).toBe("conflict");
  });

  test("what does not pass is not tried again", async () => {
    for (
      const [fault, code] of [
        [storageSays("403", "AccessDenied"), "refused"],
        [storageSays("400", "InvalidKey"), "refused"],
        [storageSays("413", "EntityTooLarge"), "too_large"],
        [{ status: 301, headers: { location: "http://127.0.0.1:1/" } }, "refused"],
      ] as [Fault, string][]
    ) {
      const archive = openFaulty();
      faulty.requests.length = 0;
      faulty.next.push(fault);
      expect((await failureOf(archive.put(TILE, hashes, "tile"))).code).toBe(code);
      expect(faulty.requests).toHaveLength(1);
    }
  });

  test("missing is null in every way that Storage says it, and nothing else is", async () => {
    const archive = openFaulty({ attempt: 300, total: 500, pause: 10 });
    for (
      const fault of [
        storageSays("404", "NoSuchKey"),
        storageSays("404", "not_found"),
        storageSays("404", "NoSuchKey", 404),
      ]
    ) {
      faulty.next.push(fault);
      expect(await archive.get(TILE)).toBeNull();
    }
    for (
      const fault of [storageSays("400", "InvalidRequest"), { status: 400, body: "?" }, { status: 401, body: "{}" }]
    ) {
      faulty.next.push(fault);
      expect((await failureOf(archive.get(TILE))).code).toBe("refused");
    }
    faulty.always = storageSays("503", "SlowDown");
    expect((await failureOf(archive.get(TILE))).code).toBe("unavailable");
  });

  test("it is asked again when it says, and given up when that is too late", async () => {
    const archive = openFaulty({ attempt: 1_000, total: 4_000, pause: 10 });
    faulty.times.length = 0;
    faulty.next.push({ status: 429, headers: { "retry-after": "1" } });
    expect(await archive.get(CHECKPOINT)).toEqual(checkpoint);
    expect(faulty.times[1]! - faulty.times[0]!).toBeGreaterThanOrEqual(1_000);
    faulty.next.push({ status: 429, headers: { "retry-after": "60" } });
    expect(await failureOf(archive.get(CHECKPOINT))).toMatchObject({ code: "unavailable", retryAfter: 60 });
    expect(faulty.times).toHaveLength(3);
  });
});

describe("over HTTP", () => {
  const fetchFile = (path: string, as = ALICE, headers: Record<string, string> = {}, method = "GET") =>
    api.call(`/archive/${path}`, { as, headers: { "accept-encoding": "identity", ...headers }, method });
  const bytesOf = async (response: Response) => Buffer.from(await response.arrayBuffer());
  const entries = async () =>
    (await storageAdmin.query(`select created_by, resource_id, details from public.audit_logs
       where action = 'log.exported' and resource_type = 'log' order by created_at, chain, seq`)).rows;

  beforeAll(async () => {
    await emptyStorage();
    const archive = open();
    await archive.put(TILE, hashes, "tile");
    await archive.put(BUNDLE, bundle, "bundle");
    await archive.put(CHECKPOINT, checkpoint, "checkpoint");
    await archive.put("anchor/checkpoint", checkpoint, "checkpoint");
    await archive.put("anchor/tile/entries/000.p/1", bundle, "bundle");
    await archive.put(`${OTHER}/2026-11/checkpoint`, checkpoint, "checkpoint");
  });

  test("bytes as they are stored, with the type and the cache rules of their kind", async () => {
    for (const [path, bytes] of [[TILE, hashes], [BUNDLE, bundle]] as const) {
      const response = await fetchFile(path);
      expect(response.status).toBe(200);
      expect(Buffer.compare(await bytesOf(response), bytes)).toBe(0);
      expect(response.headers.get("content-type")).toBe("application/octet-stream");
      expect(response.headers.get("cache-control")).toBe("private, max-age=31536000, immutable, no-transform");
      expect(response.headers.get("vary")).toMatch(/accept-encoding, authorization/i);
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
    }
    const response = await fetchFile(CHECKPOINT);
    expect(Buffer.compare(await bytesOf(response), checkpoint)).toBe(0);
    expect(response.headers.get("content-type")).toBe("text/plain; charset=utf-8");
    expect(response.headers.get("cache-control")).toBe("private, no-cache, no-transform");
  });

  test("who reads all of the log reads its files; others do not learn which there are", async () => {
    const client = await api.db.connect();
    const auditor = "f0000000-0000-4000-8000-000000000009";
    const expired = "f0000000-0000-4000-8000-000000000010";
    await client.query("select audit.grant_auditor($1, $2, now() + interval '1 day')", [ACME, auditor]);
    await client.query("insert into audit.auditors values ($1, $2, now() - interval '1 day')", [ACME, expired]);
    for (const file of [TILE, BUNDLE, CHECKPOINT, `${FOLDER}/tile/0/777`]) {
      const there = file.endsWith("777") ? 404 : 200;
      for (
        const [as, status] of [
          [ALICE, there],
          [BETTY, there],
          [auditor, there],
          [BOB, 403],
          [VERA, 403],
          [OSCAR, 403],
          [expired, 403],
        ] as const
      ) {
        const response = await fetchFile(file, as);
        expect([file, as, response.status]).toEqual([file, as, status]);
        if (status === 403) expect(await response.json()).toMatchObject({ code: "access_denied" });
        else await response.arrayBuffer();
      }
    }
    for (const as of [ALICE, BOB, VERA, OSCAR, auditor, expired]) {
      for (const file of ["anchor/checkpoint", "anchor/tile/entries/000.p/1"]) {
        const response = await fetchFile(file, as);
        await response.arrayBuffer();
        expect([as, response.status]).toEqual([as, 200]);
      }
    }
    expect((await fetch(`${api.url}/functions/v1/audit/archive/anchor/checkpoint`)).status).toBe(401);
    const key = await fetch(`${api.url}/functions/v1/audit/archive/${CHECKPOINT}`, {
      headers: { authorization: `Bearer ${api.keys.service_role_key}` },
    });
    expect(key.status).toBe(403);
  });

  test("reading entries leaves an entry, once an hour for each person and log; hashes leave none", async () => {
    const before = (await entries()).length;
    await fetchFile(TILE, BETTY);
    await fetchFile(CHECKPOINT, BETTY);
    expect(await entries()).toHaveLength(before);
    const second = BUNDLE.replace("2026-11", "2026-10");
    for (const path of [second, second, second, second.replace("000.p/3", "001")]) await fetchFile(path, BETTY);
    expect((await entries()).slice(before)).toEqual([{
      created_by: BETTY,
      resource_id: `${ACME}/2026-10`,
      details: { format: "archive" },
    }]);
    await fetchFile(second, ALICE);
    expect(await entries()).toHaveLength(before + 2);
  });

  test("what is missing is 404, whatever Storage calls it", async () => {
    for (
      const path of [
        `${FOLDER}/tile/0/001`,
        `${FOLDER}/tile/entries/000`,
        `${ACME}/2030-01/checkpoint`,
        "anchor/tile/0/000",
      ]
    ) {
      const response = await fetchFile(path);
      expect([path, response.status]).toEqual([path, 404]);
      expect(await response.json()).toMatchObject({ code: "not_found" });
    }
  });

  test("an address that names no file is 400 or 404, and nothing is read", async () => {
    const direct = new URL(await api.directUrl());
    const token = await api.token();
    /** As it is written: fetch() would tidy it up. */
    const ask = (path: string) =>
      new Promise<number>((resolve, reject) => {
        send({
          host: direct.hostname,
          port: direct.port,
          path: `${direct.pathname}/archive/${path}`,
          headers: { authorization: `Bearer ${token}` },
        }, (response) => {
          response.resume();
          resolve(response.statusCode ?? 0);
        }).on("error", reject).end();
      });
    expect(await ask(CHECKPOINT)).toBe(200);
    for (
      const path of [
        "",
        "checkpoint",
        FOLDER,
        `${FOLDER}/`,
        `${FOLDER}/checkpoint/`,
        `/${CHECKPOINT}`,
        CHECKPOINT.replaceAll("/", "%2F"),
        CHECKPOINT.replace("/c", "%2Fc"),
        CHECKPOINT.replace("/c", "%2fc"),
        CHECKPOINT.replace("checkpoint", "%63heckpoint"),
        CHECKPOINT.replace("/c", "//c"),
        `${FOLDER}/tile/../checkpointx`,
        `${OTHER}/../${ACME}/x`,
        `${ACME}/..%2F${OTHER}/2026-11/checkpoint`,
        `${ACME}/%2e%2e/${OTHER}/2026-11`,
        `${ACME}%00/2026-11/checkpoint`,
        `${FOLDER}/checkpoint%00`,
        `${FOLDER}/checkpoint%`,
        `${FOLDER}/tile/0/x999/x999/x999/x999/x999/999`,
        `${FOLDER}/tile/99999999999999999999/000`,
        `${FOLDER}/tile/0/000.p/999`,
        `${FOLDER}/tile/0/000.p/1e2`,
        `${FOLDER}/tile/0/${"x001/".repeat(2_000)}000`,
        "audit-exports/x/checkpoint",
        `${ACME.replace("1", "I")}/2026-11/checkpoint`,
      ]
    ) expect([400, 403, 404], path).toContain(await ask(path));
    // Another organisation's file, in whatever way it is spelled, is not hers to read.
    expect(await ask(`${ACME}/../${OTHER}/2026-11/checkpoint`)).toBe(403);
  });

  test("other methods are not taken, and HEAD has no body", async () => {
    for (const method of ["POST", "PUT", "DELETE"]) {
      const response = await fetchFile(CHECKPOINT, ALICE, {}, method);
      expect([response.status, response.headers.get("allow")]).toEqual([405, "GET"]);
    }
    const head = await fetchFile(TILE, ALICE, {}, "HEAD");
    expect([head.status, head.headers.get("content-length"), (await bytesOf(head)).length]).toEqual([200, "8192", 0]);
  });

  test("bundles are compressed for who takes it, and nothing else is", async () => {
    /** Without what fetch() does with encodings. */
    const raw = async (path: string, encodings: string) => {
      const token = await api.token();
      const { hostname, port, pathname } = new URL(await api.directUrl());
      return new Promise<{ headers: Record<string, unknown>; body: Buffer }>((resolve, reject) => {
        send({
          host: hostname,
          port,
          path: `${pathname}/archive/${path}`,
          headers: { authorization: `Bearer ${token}`, "accept-encoding": encodings },
        }, async (response) => {
          const chunks: Buffer[] = [];
          for await (const chunk of response) chunks.push(chunk as Buffer);
          resolve({ headers: response.headers, body: Buffer.concat(chunks) });
        }).on("error", reject).end();
      });
    };
    const plain = await raw(BUNDLE, "identity");
    expect(plain.headers["content-encoding"]).toBeUndefined();
    for (const encodings of ["gzip", "deflate, gzip;q=0.5", "GZIP, br"]) {
      const { headers, body } = await raw(BUNDLE, encodings);
      expect([encodings, headers["content-encoding"]]).toEqual([encodings, "gzip"]);
      expect(body.length).toBeLessThan(bundle.length);
      expect(Buffer.compare(gunzipSync(body), bundle)).toBe(0);
      expect(headers.etag).not.toBe(plain.headers.etag);
      expect(headers.vary).toMatch(/accept-encoding/i);
    }
    for (
      const [path, encodings] of [[BUNDLE, "gzip;q=0"], [BUNDLE, "br"], [TILE, "gzip"], [CHECKPOINT, "gzip"]] as const
    ) {
      expect([path, (await raw(path, encodings)).headers["content-encoding"]]).toEqual([path, undefined]);
    }
    // What is encrypted is served as it is.
    const sealed = await encryptBundle(parseArchiveKeys(Buffer.alloc(32, 1).toString("base64")), BUNDLE, bundle);
    const path = BUNDLE.replace("p/3", "p/4");
    await open().put(path, sealed, "bundle");
    const { headers, body } = await raw(path, "gzip");
    expect(headers["content-encoding"]).toBeUndefined();
    expect(Buffer.compare(body, sealed)).toBe(0);
  });

  test("a file that one has is not sent again, in its own encoding only", async () => {
    const response = await fetchFile(BUNDLE);
    await response.arrayBuffer();
    const etag = response.headers.get("etag")!;
    expect(etag).toBe(`"${createHash("sha256").update(bundle).digest("base64url")}"`);
    for (const header of [etag, `W/${etag}`, `"other", ${etag}`, "*"]) {
      const again = await fetchFile(BUNDLE, ALICE, { "if-none-match": header });
      expect([header, again.status]).toEqual([header, 304]);
      expect(again.headers.get("etag")).toBe(etag);
      expect(await again.text()).toBe("");
    }
    for (const [header, encodings] of [['"other"', "identity"], [etag, "gzip"], ["", "identity"]] as const) {
      const again = await fetchFile(BUNDLE, ALICE, { "if-none-match": header, "accept-encoding": encodings });
      await again.arrayBuffer();
      expect([header, again.status]).toEqual([header, 200]);
    }
    // Who may not read it is not told that it is unchanged.
    expect((await fetchFile(BUNDLE, BOB, { "if-none-match": etag })).status).toBe(403);
    // A checkpoint that was written over has another one.
    const first = (await fetchFile("anchor/checkpoint")).headers.get("etag")!;
    await open().put("anchor/checkpoint", hashes, "checkpoint");
    expect((await fetchFile("anchor/checkpoint", ALICE, { "if-none-match": first })).status).toBe(200);
  });
});

describe("over HTTP, while Storage is away", () => {
  test("clients are told to try again, and operators which part failed", async () => {
    // The gateway is the project; only for the tokens it stays where it is.
    const away = await startApi({ env: { SUPABASE_URL: "http://127.0.0.1:1", AUDIT_JWT_ISSUER: "here" } });
    try {
      const response = await fetch(`${away.url}/functions/v1/audit/archive/anchor/checkpoint`, {
        headers: { authorization: `Bearer ${await away.token({ iss: "here" })}` },
      });
      expect(response.status).toBe(503);
      expect(response.headers.get("retry-after")).toBe("5");
      expect(await response.json()).toMatchObject({ code: "unavailable" });
      expect(await away.output()).toContain('"name":"ArchiveError","code":"unavailable"');
      expect(await away.output()).not.toContain(away.keys.service_role_key);
    } finally {
      await away.stop();
    }
  }, 40_000);
});
