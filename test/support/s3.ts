// Stand-in for an S3 service, in memory: PutObject, GetObject, DeleteObject, DeleteObjects, ListObjectsV2; path-style and
// virtual-host addresses; Object Lock as S3 has it, on versions. Every request must carry a Signature Version 4 that is
// right, computed here from Amazon's description of it and not by what signs.
import { Buffer } from "node:buffer";
import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";

export type StoredVersion = { bytes: Buffer; headers: Record<string, string> };

export type S3 = {
  endpoint: string;
  /** Versions of the bucket's objects by key, oldest first; null is a delete marker. */
  objects: Map<string, (StoredVersion | null)[]>;
  /** "PUT /bucket/key" for each request that was let in. */
  requests: string[];
  stop(): Promise<void>;
};

export type S3Options = {
  bucket: string;
  region: string;
  accessKeyId: string;
  secretAccessKey: string;
  /** The bucket was made with Object Lock. */
  locked?: boolean;
  /** How many keys a page of a list has. */
  pageSize?: number;
};

class S3Error extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string) {
    super(code);
    this.status = status;
    this.code = code;
  }
}

type Answer = { status?: number; headers?: Record<string, string>; body?: string | Buffer };
type S3Request = { method: string; url: URL; headers: Map<string, string>; body: Buffer };

export async function startS3(options: S3Options): Promise<S3> {
  const objects: S3["objects"] = new Map();
  const requests: string[] = [];

  const server = createServer(async (incoming, outgoing) => {
    try {
      const request = await read(incoming);
      verifySignature(request, options);
      const key = keyOf(request, options.bucket);
      requests.push(`${request.method} ${request.url.pathname}`);
      const { status = 200, headers = {}, body = "" } = answer(request, key);
      outgoing.writeHead(status, headers).end(body);
    } catch (error) {
      const { status, code } = error instanceof S3Error ? error : new S3Error(500, "InternalError");
      // As S3 does it, the message quotes what was asked for and by whom.
      const message = `${incoming.url} ${incoming.headers.authorization ?? ""}`.replaceAll("<", "&lt;");
      outgoing.writeHead(status, { "content-type": "application/xml" }).end(
        `<?xml version="1.0"?><Error><Code>${code}</Code><Message>${message}</Message></Error>`,
      );
    }
  });

  function answer({ method, url, headers, body }: S3Request, key: string): Answer {
    const action = `${method} ${key === "" ? "bucket" : "object"}`;
    const newest = objects.get(key)?.at(-1) ?? null;
    if (action === "PUT object") return put(key, headers, body);
    if (action === "GET object") {
      if (newest === null) throw new S3Error(404, "NoSuchKey");
      return { headers: newest.headers, body: newest.bytes };
    }
    if (action === "DELETE object") {
      remove(key);
      return { status: 204 };
    }
    if (action === "POST bucket" && url.searchParams.has("delete")) {
      // Required of this one, whatever the payload's own signature says.
      if (headers.get("content-md5") !== digest("md5", body).toString("base64")) {
        throw new S3Error(400, "InvalidDigest");
      }
      for (const [, name] of body.toString().matchAll(/<Object><Key>([^<]*)<\/Key><\/Object>/g)) remove(name!);
      return { body: "<DeleteResult/>" };
    }
    if (action === "GET bucket" && url.searchParams.get("list-type") === "2") return list(url.searchParams);
    throw new S3Error(501, "NotImplemented");
  }

  function put(key: string, headers: Map<string, string>, bytes: Buffer): Answer {
    const checksum = digest("sha256", bytes).toString("base64");
    const sent = headers.get("x-amz-checksum-sha256");
    if (sent !== undefined && sent !== checksum) throw new S3Error(400, "BadDigest");
    const until = headers.get("x-amz-object-lock-retain-until-date");
    if (until !== undefined) {
      if (options.locked !== true) throw new S3Error(400, "InvalidRequest");
      if (sent === undefined && headers.get("content-md5") === undefined) throw new S3Error(400, "InvalidRequest");
      if (!(Date.parse(until) > Date.now())) throw new S3Error(400, "InvalidArgument");
    }
    const kept = ["content-type", "cache-control"].concat(
      [...headers.keys()].filter((name) => /object-lock/.test(name)),
    );
    const version = {
      bytes,
      headers: Object.fromEntries(kept.flatMap((name) => headers.has(name) ? [[name, headers.get(name)!]] : [])),
    };
    objects.set(key, [...(options.locked ? objects.get(key) ?? [] : []), version]);
    const etag = `"${digest("md5", bytes).toString("hex")}"`;
    return { headers: { etag, ...(sent === undefined ? {} : { "x-amz-checksum-sha256": checksum }) } };
  }

  /** With Object Lock a bucket keeps versions: the object is hidden, not gone. */
  function remove(key: string): void {
    if (options.locked) objects.set(key, [...objects.get(key) ?? [], null]);
    else objects.delete(key);
  }

  function list(query: URLSearchParams): Answer {
    const after = Buffer.from(query.get("continuation-token") ?? "", "base64").toString();
    const size = Math.min(Number(query.get("max-keys") ?? 1_000), options.pageSize ?? 1_000);
    const keys = [...objects.keys()].filter((key) => objects.get(key)!.at(-1) !== null).filter((key) =>
      key.startsWith(query.get("prefix") ?? "") && key > after
    ).sort();
    const page = keys.slice(0, size);
    const next = keys.length > size ? Buffer.from(page.at(-1)!).toString("base64") : undefined;
    const contents = page.map((key) => `<Contents><Key>${key}</Key><Size>1</Size></Contents>`).join("");
    const token = next === undefined ? "" : `<NextContinuationToken>${next}</NextContinuationToken>`;
    return {
      headers: { "content-type": "application/xml" },
      body: `<ListBucketResult><Name>${options.bucket}</Name>${contents}${token}</ListBucketResult>`,
    };
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    endpoint: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    objects,
    requests,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function read(incoming: IncomingMessage): Promise<S3Request> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const headers = new Map(Object.entries(incoming.headers).map(([name, value]) => [name, String(value)]));
  const url = new URL(incoming.url ?? "/", `http://${headers.get("host")}`);
  return { method: incoming.method ?? "GET", url, headers, body: Buffer.concat(chunks) };
}

function keyOf({ url, headers }: S3Request, bucket: string): string {
  const path = decodeURIComponent(url.pathname).slice(1);
  if (headers.get("host")!.startsWith(`${bucket}.`)) return path;
  if (path !== bucket && !path.startsWith(`${bucket}/`)) throw new S3Error(404, "NoSuchBucket");
  return path.slice(bucket.length + 1);
}

/** "Create a signed AWS API request" in the AWS General Reference, and "Authenticating Requests" in the S3 API Reference. */
function verifySignature({ method, url, headers, body }: S3Request, options: S3Options): void {
  const [, keyId, date, region, signedHeaders, signature] =
    /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/s3\/aws4_request, ?SignedHeaders=([^,]+), ?Signature=([0-9a-f]{64})$/
      .exec(headers.get("authorization") ?? "") ?? [];
  if (signature === undefined) throw new S3Error(403, "AccessDenied");
  if (keyId !== options.accessKeyId) throw new S3Error(403, "InvalidAccessKeyId");
  if (region !== options.region) throw new S3Error(400, "AuthorizationHeaderMalformed");
  const time = headers.get("x-amz-date") ?? "";
  const [, y, mo, d, h, mi, s] = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(time) ?? [];
  const age = Date.now() - Date.UTC(Number(y), Number(mo) - 1, Number(d), Number(h), Number(mi), Number(s));
  if (!time.startsWith(date!) || !(Math.abs(age) < 900_000)) throw new S3Error(403, "RequestTimeTooSkewed");
  const names = signedHeaders!.split(";");
  // Host, and all of x-amz-*, must be signed, or who is in between could set them.
  const mustBe = ["host", ...[...headers.keys()].filter((name) => name.startsWith("x-amz-"))];
  if (!mustBe.every((name) => names.includes(name))) throw new S3Error(403, "AccessDenied");
  const payload = headers.get("x-amz-content-sha256");
  if (payload !== digest("sha256", body).toString("hex")) throw new S3Error(400, "XAmzContentSHA256Mismatch");
  const query = [...url.searchParams].map(([name, value]) => `${encode(name)}=${encode(value)}`).sort().join("&");
  const canonical = [
    method,
    decodeURIComponent(url.pathname).split("/").map(encode).join("/"),
    query,
    ...names.map((name) => `${name}:${(headers.get(name) ?? "").trim().replace(/ +/g, " ")}`),
    "",
    names.join(";"),
    payload,
  ].join("\n");
  const scope = `${date}/${region}/s3/aws4_request`;
  const toSign = ["AWS4-HMAC-SHA256", time, scope, digest("sha256", Buffer.from(canonical)).toString("hex")].join("\n");
  let key: Buffer = Buffer.from(`AWS4${options.secretAccessKey}`);
  for (const part of scope.split("/")) key = hmac(key, part);
  if (!timingSafeEqual(hmac(key, toSign), Buffer.from(signature, "hex"))) {
    throw new S3Error(403, "SignatureDoesNotMatch");
  }
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac("sha256", key).update(text).digest();
}

function digest(algorithm: string, bytes: Buffer): Buffer {
  return createHash(algorithm).update(bytes).digest();
}

/** RFC 3986: everything but unreserved characters. */
function encode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
}
