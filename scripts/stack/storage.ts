// Stand-in for Supabase Storage under /storage/v1: buckets; upload, download, info, list, remove, signed URLs.
// Rows are in storage.buckets and storage.objects, written in the caller's role so that row level security decides;
// bytes are in one file per uploaded version. Errors are HTTP 400 with the real code in the body, as in the original.
// Not imitated: resumable uploads, the S3 endpoint, image transformation, copy and move, ranges, size limits.
import { createHash, randomUUID } from "node:crypto";
import { closeSync, createReadStream, mkdirSync, openSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import type { ReadableStream } from "node:stream/web";
import { type JWTPayload, jwtVerify, SignJWT } from "jose";
import pg from "pg";
import { inTransaction } from "./database.ts";

export type StorageOptions = {
  /** Connected as supabase_storage_admin. */
  pool: pg.Pool;
  jwtSecret: string;
  /** Folder of the files. */
  dir: string;
};

type Metadata = { eTag: string; size: number; mimetype: string; cacheControl: string; lastModified: string };
type StoredObject = {
  id: string;
  bucket_id: string;
  name: string;
  version: string;
  metadata: Metadata;
  user_metadata: object | null;
  created_at: Date;
  updated_at: Date;
  last_accessed_at: Date;
};
type Query = <R extends pg.QueryResultRow>(text: string, values?: unknown[], name?: string) => Promise<R[]>;

class StorageError extends Error {
  readonly status: number;
  readonly code: string;
  constructor(status: number, code: string, message: string) {
    super(message);
    this.status = status;
    this.code = code;
  }
}

const ROLES = ["anon", "authenticated", "service_role"];
const OBJECT_COLUMNS =
  `id, bucket_id, name, version, metadata, user_metadata, created_at, updated_at, last_accessed_at`;

export function createStorage(options: StorageOptions): (request: Request, path: string) => Promise<Response> {
  const secret = new TextEncoder().encode(options.jwtSecret);
  let newest: { token: string; claims: JWTPayload } | undefined;
  mkdirSync(options.dir, { recursive: true });

  return async (request, path) => {
    try {
      return await route(request, path);
    } catch (error) {
      const { status, code, message } = asStorageError(error);
      const body = { statusCode: String(status), code, error: code, message };
      return Response.json(body, { status: status === 500 ? 500 : 400 });
    }
  };

  async function route(request: Request, path: string): Promise<Response> {
    const [, resource = "", ...rest] = path.split("/").map(decodeURIComponent);
    if (resource === "bucket") return buckets(request, rest);
    if (resource === "object") return objects(request, rest);
    if (path === "/status") return Response.json({ status: "ok" });
    throw unknownRoute(request, path);
  }

  async function buckets(request: Request, [id, action]: string[]): Promise<Response> {
    const db = await asCaller(request);
    switch (`${request.method}${id === undefined ? "" : " :id"}${action === undefined ? "" : ` ${action}`}`) {
      case "GET":
        return Response.json(await db("select * from storage.buckets order by id"));
      case "POST": {
        const bucket = await jsonBody(request);
        const name = String(bucket.id ?? bucket.name ?? "");
        if (!isValidKey(name) || name.includes("/")) {
          throw new StorageError(400, "InvalidBucketName", "Bucket name invalid");
        }
        await db(
          `insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)
           values ($1, $1, $2, $3, $4)`,
          [name, bucket.public === true, bucket.file_size_limit ?? null, bucket.allowed_mime_types ?? null],
        );
        return Response.json({ name });
      }
      case "GET :id":
        return Response.json(await findBucket(db, id!));
      case "PUT :id": {
        const { public: isPublic } = await jsonBody(request);
        await findBucket(db, id!);
        await db("update storage.buckets set public = $2, updated_at = now() where id = $1", [id, isPublic === true]);
        return Response.json({ message: "Successfully updated" });
      }
      case "POST :id empty": {
        await findBucket(db, id!);
        await remove(db, id!, null);
        return Response.json({ message: "Successfully emptied" });
      }
      case "DELETE :id": {
        await findBucket(db, id!);
        const [used] = await db("select from storage.objects where bucket_id = $1 limit 1", [id]);
        if (used !== undefined) {
          throw new StorageError(409, "ResourceNotEmpty", "The bucket you tried to delete is not empty");
        }
        await db("delete from storage.buckets where id = $1", [id]);
        return Response.json({ message: "Successfully deleted" });
      }
    }
    throw unknownRoute(request, "/bucket");
  }

  async function objects(request: Request, parts: string[]): Promise<Response> {
    const [first = "", ...rest] = parts;
    if (first === "list") return list(request, rest.join("/"));
    if (first === "list-v2") return listAll(request, rest.join("/"));
    if (first === "sign") return sign(request, rest);
    const isRead = request.method === "GET" || request.method === "HEAD";
    if (first === "public" && isRead) return readPublic(request, rest);
    if (first === "info" && isRead) {
      const [bucket = "", ...name] = rest[0] === "authenticated" ? rest.slice(1) : rest;
      return Response.json(describe(await findObject(await asCaller(request), bucket, name.join("/"))));
    }
    const [bucket = "", ...name] = first === "authenticated" ? rest : parts;
    const key = name.join("/");
    if (isRead) return send(request, await findObject(await asCaller(request), bucket, key));
    if (request.method === "DELETE") {
      const names = key === "" ? (await jsonBody(request)).prefixes : [key];
      const removed = await remove(await asCaller(request), bucket, names as string[]);
      return Response.json(key === "" ? removed : { message: "Successfully deleted" });
    }
    if (request.method === "POST" || request.method === "PUT") return upload(request, bucket, key);
    throw unknownRoute(request, "/object");
  }

  async function upload(request: Request, bucket: string, name: string): Promise<Response> {
    if (!isValidKey(name)) throw new StorageError(400, "InvalidKey", `Invalid key: ${name}`);
    const db = await asCaller(request);
    const overwrite = request.method === "PUT" || request.headers.get("x-upsert") === "true";
    const [found] = await asOwner<{ version: string | null }>(
      `select o.version from storage.buckets b
       left join storage.objects o on o.bucket_id = b.id and o.name = $2
       where b.id = $1`,
      [bucket, name],
      "find_before_upload",
    );
    if (found === undefined) throw new StorageError(404, "NoSuchBucket", "Bucket not found");
    if (found.version !== null && !overwrite) throw duplicate();
    const version = randomUUID();
    try {
      const { metadata, userMetadata } = await receive(request, version);
      // As in the original, the earlier check is the only guard: a concurrent upload of the same name is overwritten.
      const [stored] = await db<{ id: string }>(
        `insert into storage.objects (bucket_id, name, version, metadata, user_metadata, owner, owner_id)
         values ($1, $2, $3, $4, $5, auth.uid(), auth.jwt() ->> 'sub')
         on conflict (bucket_id, name collate "C") do update
         set version = excluded.version, metadata = excluded.metadata,
           user_metadata = excluded.user_metadata, updated_at = now()
         returning id`,
        [bucket, name, version, metadata, userMetadata],
        "upload",
      );
      if (found.version !== null) await rm(fileOf(found.version), { force: true });
      return Response.json({ Key: `${bucket}/${name}`, Id: stored!.id });
    } catch (error) {
      await rm(fileOf(version), { force: true });
      throw error;
    }
  }

  /** Streams the body to disk. supabase-js sends bytes as they are, and a Blob as a form. */
  async function receive(request: Request, version: string) {
    let body: ReadableStream | null = request.body as ReadableStream | null;
    let mimetype = request.headers.get("content-type") ?? "application/octet-stream";
    let cacheControl = request.headers.get("cache-control") ?? "no-cache";
    let userMetadata: unknown = decodeMetadata(request.headers.get("x-metadata"));
    if (mimetype.startsWith("multipart/form-data")) {
      const form = await request.formData();
      const file = [...form.values()].find((value) => typeof value !== "string");
      if (file === undefined) throw new StorageError(400, "InvalidRequest", "No content provided");
      body = file.stream() as ReadableStream;
      mimetype = file.type || "application/octet-stream";
      const age = form.get("cacheControl");
      cacheControl = typeof age === "string" ? `max-age=${age}` : "no-cache";
      const sent = form.get("metadata");
      if (typeof sent === "string") userMetadata = JSON.parse(sent);
    }
    const md5 = createHash("md5");
    let size = 0;
    // Written at once: many small files come, and streams of Node and threads for them take more of the processor that
    // all stand-ins share with the database than the files themselves.
    const file = openSync(fileOf(version), "w", 0o600);
    try {
      for await (const chunk of (body ?? []) as AsyncIterable<Uint8Array>) {
        md5.update(chunk);
        size += chunk.length;
        writeFileSync(file, chunk);
      }
    } finally {
      closeSync(file);
    }
    const eTag = `"${md5.digest("hex")}"`;
    const lastModified = new Date().toISOString();
    const metadata = { eTag, size, mimetype, cacheControl, lastModified, contentLength: size, httpStatusCode: 200 };
    return { metadata, userMetadata };
  }

  async function readPublic(request: Request, [bucket = "", ...name]: string[]): Promise<Response> {
    const { rows } = await options.pool.query("select from storage.buckets where id = $1 and public", [bucket]);
    if (rows.length === 0) throw new StorageError(404, "NoSuchBucket", "Bucket not found");
    return send(request, await findObject(asOwner, bucket, name.join("/")));
  }

  async function sign(request: Request, [bucket = "", ...rest]: string[]): Promise<Response> {
    const name = rest.join("/");
    if (request.method === "POST") {
      const { expiresIn } = await jsonBody(request);
      await findObject(await asCaller(request), bucket, name);
      const now = Math.floor(Date.now() / 1000);
      const token = await new SignJWT({ url: `${bucket}/${name}`, iat: now, exp: now + Number(expiresIn) })
        .setProtectedHeader({ alg: "HS256" }).sign(secret);
      // Not encoded: supabase-js does that.
      return Response.json({ signedURL: `/object/sign/${bucket}/${name}?token=${token}` });
    }
    const token = new URL(request.url).searchParams.get("token") ?? "";
    const { payload } = await jwtVerify(token, secret).catch((error: Error) => {
      throw new StorageError(400, "InvalidJWT", error.message);
    });
    if (payload.url !== `${bucket}/${name}`) throw new StorageError(400, "InvalidSignature", "Invalid signature");
    return send(request, await findObject(asOwner, bucket, name));
  }

  /** One folder: its objects, and each folder below as an entry without id. */
  async function list(request: Request, bucket: string): Promise<Response> {
    const { prefix = "", limit = 100, offset = 0, search = "", sortBy } = await jsonBody(request) as {
      prefix?: string;
      limit?: number;
      offset?: number;
      search?: string;
      sortBy?: { column?: string; order?: string };
    };
    const db = await asCaller(request);
    const folder = prefix === "" || prefix.endsWith("/") ? prefix : `${prefix}/`;
    const column = ["name", "created_at", "updated_at"].find((known) => known === sortBy?.column) ?? "name";
    const direction = sortBy?.order === "desc" ? "desc" : "asc";
    const rows = await db<StoredObject & { entry: string; is_folder: boolean }>(
      `select distinct on (e.entry) e.entry, e.is_folder, o.*
       from storage.objects as o
       cross join lateral (
         select split_part(substr(o.name, length($2) + 1), '/', 1) as entry,
           strpos(substr(o.name, length($2) + 1), '/') > 0 as is_folder
       ) as e
       where o.bucket_id = $1 and starts_with(o.name, $2) and starts_with(lower(e.entry), lower($3))
       order by e.entry, e.is_folder`,
      [bucket, folder, search],
    );
    const entries = rows.map((row) =>
      row.is_folder
        ? { name: row.entry, id: null, updated_at: null, created_at: null, last_accessed_at: null, metadata: null }
        : {
          name: row.entry,
          id: row.id,
          updated_at: row.updated_at,
          created_at: row.created_at,
          last_accessed_at: row.last_accessed_at,
          metadata: row.metadata,
        }
    );
    const key = column as "name" | "created_at" | "updated_at";
    const sign = direction === "desc" ? -1 : 1;
    entries.sort((a, b) => sign * (Number((a[key] ?? "") > (b[key] ?? "")) - Number((a[key] ?? "") < (b[key] ?? ""))));
    return Response.json(entries.slice(offset, offset + limit));
  }

  /** Everything below a prefix, page by page; folders (with_delimiter) and orders are not imitated. */
  async function listAll(request: Request, bucket: string): Promise<Response> {
    const { prefix = "", limit = 1000, cursor } = await jsonBody(request) as {
      prefix?: string;
      limit?: number;
      cursor?: string;
    };
    const most = Math.min(limit, 1000);
    const db = await asCaller(request);
    const rows = await db<StoredObject>(
      `select ${OBJECT_COLUMNS} from storage.objects
       where bucket_id = $1 and starts_with(name, $2) and name collate "C" > $3
       order by name collate "C" limit $4`,
      [bucket, prefix, cursor === undefined ? "" : Buffer.from(cursor, "base64").toString(), most + 1],
    );
    const hasNext = rows.length > most;
    const objects = rows.slice(0, most).map(({ version: _, bucket_id: __, user_metadata: ___, ...object }) => object);
    return Response.json({
      hasNext,
      ...(hasNext ? { nextCursor: Buffer.from(objects.at(-1)!.name).toString("base64") } : {}),
      folders: [],
      objects,
    });
  }

  async function remove(db: Query, bucket: string, names: string[] | null): Promise<StoredObject[]> {
    const removed = await db<StoredObject>(
      `delete from storage.objects where bucket_id = $1 and ($2::text[] is null or name = any ($2)) returning *`,
      [bucket, names],
    );
    for (const { version } of removed) await rm(fileOf(version), { force: true });
    return removed;
  }

  function send(request: Request, object: StoredObject): Response {
    const { eTag, size, mimetype, cacheControl, lastModified } = object.metadata;
    const headers = {
      "content-type": mimetype,
      "content-length": String(size),
      "cache-control": cacheControl,
      "etag": eTag,
      "last-modified": new Date(lastModified).toUTCString(),
    };
    if (request.headers.get("if-none-match") === eTag) {
      return new Response(null, { status: 304, headers: { etag: eTag } });
    }
    if (request.method === "HEAD") return new Response(null, { headers });
    return new Response(Readable.toWeb(createReadStream(fileOf(object.version))) as BodyInit, { headers });
  }

  function fileOf(version: string): string {
    return join(options.dir, version);
  }

  /** Queries in the caller's role and with the caller's claims, each in a transaction of its own. */
  async function asCaller(request: Request): Promise<Query> {
    const bearer = /^Bearer (.+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
    if (bearer === undefined) {
      throw new StorageError(400, "InvalidRequest", `headers must have required property 'authorization'`);
    }
    const claims = await verified(bearer);
    const role = ROLES.find((known) => known === claims.role);
    if (role === undefined) throw new StorageError(403, "AccessDenied", `role "${claims.role}" does not exist`);
    const begin = `begin; set local role ${role}; set local storage.allow_delete_query = true;
      set local request.jwt.claims = ${pg.escapeLiteral(JSON.stringify(claims))}`;
    return (text, values, name) =>
      inTransaction(options.pool, async (client) => (await client.query(statement(text, values, name))).rows, begin);
  }

  /** The newest token that is good is remembered until it expires: a job sends the same with each of hundreds of files. */
  async function verified(token: string): Promise<JWTPayload> {
    if (newest?.token === token && Date.now() / 1000 < (newest.claims.exp ?? Infinity)) return newest.claims;
    const { payload: claims } = await jwtVerify(token, secret, { algorithms: ["HS256"] }).catch((error: Error) => {
      throw new StorageError(403, "AccessDenied", error.message);
    });
    newest = { token, claims };
    return claims;
  }

  async function asOwner<R extends pg.QueryResultRow>(text: string, values?: unknown[], name?: string): Promise<R[]> {
    return (await options.pool.query<R>(statement(text, values, name))).rows;
  }
}

/** Prepared once a connection where it has a name: it is asked for each of hundreds of files. */
function statement(text: string, values: unknown[] = [], name?: string): pg.QueryConfig {
  return name === undefined ? { text, values } : { name, text, values };
}

async function findBucket(db: Query, id: string): Promise<object> {
  const [bucket] = await db("select * from storage.buckets where id = $1", [id]);
  if (bucket === undefined) throw new StorageError(404, "NoSuchBucket", "Bucket not found");
  return bucket;
}

async function findObject(db: Query, bucket: string, name: string): Promise<StoredObject> {
  const [object] = await db<StoredObject>(
    `select ${OBJECT_COLUMNS} from storage.objects where bucket_id = $1 and name = $2`,
    [bucket, name],
  );
  if (object === undefined) throw new StorageError(404, "NoSuchKey", "Object not found");
  return object;
}

function describe({ metadata, user_metadata, updated_at: _, last_accessed_at: __, ...object }: StoredObject): object {
  return {
    ...object,
    size: metadata.size,
    content_type: metadata.mimetype,
    cache_control: metadata.cacheControl,
    etag: metadata.eTag,
    last_modified: metadata.lastModified,
    metadata: user_metadata,
  };
}

async function jsonBody(request: Request): Promise<Record<string, unknown>> {
  const body: unknown = await request.json().catch(() => undefined);
  if (typeof body === "object" && body !== null) return body as Record<string, unknown>;
  throw new StorageError(400, "InvalidRequest", "The body must be a JSON object");
}

function decodeMetadata(header: string | null): unknown {
  return header === null ? null : JSON.parse(Buffer.from(header, "base64").toString());
}

/** The characters that the original allows in names of buckets and objects. */
function isValidKey(name: string): boolean {
  return /^(\w|\/|!|-|\.|\*|'|\(|\)| |&|\$|@|=|;|:|\+|,|\?)+$/.test(name);
}

function duplicate(): StorageError {
  return new StorageError(409, "ResourceAlreadyExists", "The resource already exists");
}

function unknownRoute(request: Request, path: string): StorageError {
  return new StorageError(
    404,
    "NotSupported",
    `the local stand-in for Supabase Storage has no ${request.method} ${path}`,
  );
}

function asStorageError(error: unknown): StorageError {
  if (error instanceof StorageError) return error;
  const { code, message } = error as { code?: string; message: string };
  if (code === "42501") return new StorageError(403, "AccessDenied", message.replace(/ for table "\w+"$/, ""));
  if (code === "23505") return duplicate();
  return new StorageError(500, "InternalError", message);
}
