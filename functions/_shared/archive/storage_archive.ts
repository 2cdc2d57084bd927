// The archive in Supabase Storage: one private bucket, made when it is missing.
//
// Storage answers errors with HTTP 400 and says the status that it means in the body, as a text. Whether an object is
// written over it checks before it writes, so it is no lock: that is Postgres.
import type { StorageClient } from "@supabase/storage-js";
import { openStorage } from "../storage.ts";
import { equalBytes } from "../tlog/text.ts";
import { type Archive, ArchiveError, checkPath, OBJECT_HEADERS } from "./archive.ts";
import { type Patience, patientFetch } from "./patient_fetch.ts";

export const ARCHIVE_BUCKET = "audit-archive";

export type StorageArchiveOptions = {
  projectUrl: string;
  /** The project's service key; whoever is missing it reads and writes nothing. */
  serviceKey: string | undefined;
  bucket?: string;
  patience?: Patience;
};

type Failure = { status?: number | undefined; statusCode?: string | undefined; originalError?: unknown };

const MOST_AT_ONCE = 1_000;

export function storageArchive(
  { projectUrl, serviceKey, bucket: bucketName = ARCHIVE_BUCKET, patience }: StorageArchiveOptions,
): Archive {
  let opened: Promise<StorageClient> | undefined;

  function open(): Promise<StorageClient> {
    return opened ??= openStorage(projectUrl, serviceKey, patientFetch(patience, meantStatus));
  }

  async function get(path: string): Promise<Uint8Array | null> {
    checkPath(path);
    // What is read is what is stored: a cache on the way may remember what was.
    const { data, error } = await (await open()).from(bucketName).download(path, { cacheNonce: crypto.randomUUID() });
    if (error === null) return new Uint8Array(await data.arrayBuffer());
    if (statusOf(error) === 404) return null;
    throw archiveError(error, `${path} could not be read`);
  }

  return {
    get,
    async put(path, bytes, kind) {
      checkPath(path);
      const storage = await open();
      const headers = OBJECT_HEADERS[kind];
      const upload = () =>
        storage.from(bucketName).upload(path, bytes, {
          upsert: true,
          contentType: headers["content-type"],
          // Its own option for this can say no more than max-age.
          headers: { "cache-control": headers["cache-control"] },
        });
      let { error } = await upload();
      if (error !== null && statusOf(error) === 404) {
        await makeBucket(storage, bucketName);
        ({ error } = await upload());
      }
      if (error === null) return;
      if (statusOf(error) === 409) {
        const stored = await get(path);
        if (stored !== null && equalBytes(stored, bytes)) return;
      }
      throw archiveError(error, `${path} could not be written`);
    },
    async list(folder) {
      checkPath(folder);
      const bucket = (await open()).from(bucketName);
      const paths: string[] = [];
      for (let cursor: string | undefined, more = true; more;) {
        const { data, error } = await bucket.listV2({
          prefix: `${folder}/`,
          limit: MOST_AT_ONCE,
          ...(cursor === undefined ? {} : { cursor }),
        });
        if (error !== null) {
          if (statusOf(error) === 404) break;
          throw archiveError(error, `${folder} could not be listed`);
        }
        paths.push(...data.objects.map(({ name }) => name));
        cursor = data.nextCursor;
        more = data.hasNext && cursor !== undefined;
      }
      return paths.sort();
    },
    async remove(paths) {
      paths.forEach(checkPath);
      const bucket = (await open()).from(bucketName);
      for (let at = 0; at < paths.length; at += MOST_AT_ONCE) {
        const { error } = await bucket.remove(paths.slice(at, at + MOST_AT_ONCE));
        if (error !== null && statusOf(error) !== 404) {
          throw archiveError(error, "objects could not be removed");
        }
      }
    },
  };
}

async function makeBucket(storage: StorageClient, name: string): Promise<void> {
  const { error } = await storage.createBucket(name, { public: false });
  // Another may have made it meanwhile.
  if (error !== null && statusOf(error) !== 409) {
    throw archiveError(error, "the bucket could not be made");
  }
}

/** The status that Storage means, for what reads answers before supabase-js does. */
function meantStatus(status: number, body: Uint8Array): number {
  if (status !== 400) return status;
  try {
    const { statusCode } = JSON.parse(new TextDecoder().decode(body)) as { statusCode?: unknown };
    return Number(statusCode) || status;
  } catch {
    return status;
  }
}

function statusOf({ status, statusCode }: Failure): number {
  return Number(statusCode) || (status ?? 0);
}

/** Storage's own message stays inside as the cause: nobody knows what it quotes. */
function archiveError(error: Failure, what: string): ArchiveError {
  if (error.originalError instanceof ArchiveError) return error.originalError;
  const status = statusOf(error);
  const code = status === 409 ? "conflict" : status === 413 ? "too_large" : "refused";
  return new ArchiveError(code, `Storage: ${what} (status ${status}).`, { cause: error });
}
